#!/usr/bin/env bash
# Has the compiler check the library for the systems whose backends this one cannot build: Metal and DX12.
# Nothing is linked, so that no tools of those systems are needed.
#   scripts/check-targets.sh [TARGET...]     by default: aarch64-apple-darwin x86_64-pc-windows-gnu
# Exit 3 where one that was named, or all of them, cannot be had, by rustup or otherwise.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh

targets=("$@") named=$#
[ $# -gt 0 ] || targets=(aarch64-apple-darwin x86_64-pc-windows-gnu)
# Warnings fail: what only one system compiles is not seen by the others' clippy.
export RUSTFLAGS="-D warnings"
checked=0
for target in "${targets[@]}"; do
    if ! rustup target add "$target" > /dev/null 2>&1 && [ ! -d "$(rustc --print sysroot)/lib/rustlib/$target/lib" ]; then
        say "SKIPPED: Rust's libraries for $target cannot be had here: rustup target add $target"
        continue
    fi
    cargo check --quiet --target "$target" -p alexnet-wgpu
    echo "$target: the library is well typed"
    checked=$((checked + 1))
done
[ "$checked" -gt 0 ] && [ "$named" -le "$checked" ] || exit 3
