#!/usr/bin/env bash
# The page into target/web-page/, ready for any static web server. Exit 3 when a tool for it cannot be had here.
#   examples/web/build.sh
#   python3 -m http.server -d target/web-page     and open http://localhost:8000
set -euo pipefail
cd "$(dirname "$0")/../.."
target=${CARGO_TARGET_DIR:-target}
lack() { echo "${0##*/}: $*" >&2; exit 3; }

rustup target add wasm32-unknown-unknown > /dev/null 2>&1 || true
[ -d "$(rustc --print sysroot)/lib/rustlib/wasm32-unknown-unknown" ] \
    || lack "Rust has no target wasm32-unknown-unknown: rustup target add wasm32-unknown-unknown"

# In CI, warnings about the library for browsers are errors too.
if [ -n "${CI-}" ]; then cargo clippy --locked --target wasm32-unknown-unknown -p alexnet-web -- -D warnings; fi
cargo build --locked --profile web --target wasm32-unknown-unknown -p alexnet-web
rm -rf "$target/web-page"
cargo run --locked --quiet -p page-bindings -- "$target/wasm32-unknown-unknown/web/alexnet_web.wasm" "$target/web-page"
cp examples/web/page/* examples/pictures/{ankle-boot,bag,trouser}.png "$target/web-page/"
