#!/usr/bin/env bash
# The page into target/web-page/, ready for any static web server. Exit 3 when a tool for it cannot be had here.
#   examples/web/build.sh
#   python3 -m http.server -d target/web-page     and open http://localhost:8000
set -euo pipefail
cd "$(dirname "$0")/../.."
target=${CARGO_TARGET_DIR:-target}
tools=$target/web-tools
lack() { echo "${0##*/}: $*" >&2; exit 3; }

rustup target add wasm32-unknown-unknown > /dev/null 2>&1 || true
[ -d "$(rustc --print sysroot)/lib/rustlib/wasm32-unknown-unknown" ] \
    || lack "Rust has no target wasm32-unknown-unknown: rustup target add wasm32-unknown-unknown"
# The program and the crate speak to each other in a format of each version's own.
version=$(sed -n '/^name = "wasm-bindgen"$/{n;s/version = "\(.*\)"/\1/p}' Cargo.lock)
if [ "$("$tools/bin/wasm-bindgen" --version 2> /dev/null)" != "wasm-bindgen $version" ]; then
    cargo install --quiet --root "$tools" wasm-bindgen-cli --version "$version" --bin wasm-bindgen \
        || lack "wasm-bindgen-cli $version does not install"
fi

# In CI, warnings about the library for browsers are errors too.
if [ -n "${CI-}" ]; then cargo clippy --locked --target wasm32-unknown-unknown -p alexnet-web -- -D warnings; fi
cargo build --locked --profile web --target wasm32-unknown-unknown -p alexnet-web
rm -rf "$target/web-page"
"$tools/bin/wasm-bindgen" --target web --no-typescript --out-dir "$target/web-page" \
    "$target/wasm32-unknown-unknown/web/alexnet_web.wasm"
cp examples/web/page/* "$target/web-page/"
# Fetched by the page when it compares.
cp weights/imagenet-trunk-f16.safetensors "$target/web-page/imagenet.safetensors"
