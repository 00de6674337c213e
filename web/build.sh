#!/usr/bin/env bash
# The npm package into target/web-package/, ready for `npm pack`. Exit 3 when a tool for it cannot be had here.
#   web/build.sh
set -euo pipefail
cd "$(dirname "$0")/.."
target=${CARGO_TARGET_DIR:-target}
package=$target/web-package
lack() { echo "${0##*/}: $*" >&2; exit 3; }

rustup target add wasm32-unknown-unknown > /dev/null 2>&1 || true
[ -d "$(rustc --print sysroot)/lib/rustlib/wasm32-unknown-unknown" ] \
    || lack "Rust has no target wasm32-unknown-unknown: rustup target add wasm32-unknown-unknown"
command -v python3 > /dev/null || lack "no Python here, which gathers the licences"

# In CI, warnings about the library for browsers are errors too.
if [ -n "${CI-}" ]; then cargo clippy --locked --target wasm32-unknown-unknown -p alexnet-web -- -D warnings; fi
cargo build --locked --profile web --target wasm32-unknown-unknown -p alexnet-web
rm -rf "$package"
cargo run --locked --quiet -p web-bindings -- "$target/wasm32-unknown-unknown/web/alexnet_web.wasm" "$package"

head=assets/fashion-mnist-head.safetensors trunk=weights/imagenet-trunk-f16.safetensors
cp web/index.js web/index.d.ts web/README.md LICENSE-MIT LICENSE-APACHE $head $trunk "$package/"
# Of the weights, and of what is linked into the WebAssembly.
cat assets/LICENSES.md weights/LICENSE-* > "$package/LICENSES-WEIGHTS.md"
scripts/release-notices.py wasm32-unknown-unknown alexnet-web > "$package/THIRD-PARTY.txt"
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
sed "s/\"version\": \"0.0.0\"/\"version\": \"$version\"/" web/package.json > "$package/package.json"
bytes() { wc -c < "$1" | tr -d ' '; }
cat > "$package/sizes.js" << JS
// The bytes of the files that are fetched, which a compressed response does not tell.
export const sizes = { wasm: $(bytes "$package/alexnet_web_bg.wasm"), head: $(bytes $head), trunk: $(bytes $trunk) };
JS
