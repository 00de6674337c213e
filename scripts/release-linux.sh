#!/usr/bin/env bash
# Builds and packs the `alexnet` command for Linux as a release has it: for the C library of Debian 10 and RHEL 8, glibc 2.28,
# whatever this machine's is. Everything but that library is linked into it; Vulkan's loader is opened when it runs, which a
# program without a dynamic C library could not do.
#   scripts/release-linux.sh [TARGET]     x86_64-unknown-linux-gnu (the default) or aarch64-unknown-linux-gnu
# Zig, as the linker with that library's symbols, comes from Python's packages into target/release-tools. Prints the archive's
# path. Exit 3 where something that it needs cannot be had.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh

target=${1:-x86_64-unknown-linux-gnu} glibc=2.28
tools=$PWD/target/release-tools
lack() { say "${0##*/}: $*"; exit 3; }
command -v objdump > /dev/null || lack "this needs objdump (Debian: apt install binutils)"
if [ ! -e "$tools/done" ]; then
    python3 -m venv "$tools" || lack "no virtual environment can be made here (Debian: apt install python3-venv)"
    "$tools/bin/pip" install --quiet --disable-pip-version-check cargo-zigbuild==0.24.0 ziglang==0.15.2 >&2 \
        || lack "Zig or cargo-zigbuild cannot be installed here"
    touch "$tools/done"
fi
[ -d "$(rustc --print sysroot)/lib/rustlib/$target/lib" ] || rustup target add "$target" >&2 \
    || lack "this needs Rust's standard library for $target"

PATH=$tools/bin:$PATH cargo zigbuild --locked --profile dist -p alexnet --bin alexnet --target "$target.$glibc" >&2
program=${CARGO_TARGET_DIR:-target}/$target/dist/alexnet

# Nothing but the C library's own files, and no newer symbol of these.
needed=$(objdump -p "$program" | awk '$1 == "NEEDED" { print $2 }' | sort)
foreign=$(grep -vE '^(ld-linux-[a-z0-9-]+|lib(c|m|dl|pthread|rt))\.so\.[0-9]$' <<< "$needed" || true)
[ -z "$foreign" ] || die "the program needs more than the C library:" "$foreign"
newest=$(objdump -T "$program" | grep -oE 'GLIBC_[0-9.]+' | sort -uV | tail -n 1)
[ "$(printf 'GLIBC_%s\n%s\n' "$glibc" "$newest" | sort -V | tail -n 1)" = "GLIBC_$glibc" ] \
    || die "the program needs $newest, and may need GLIBC_$glibc at most"
say "$target: needs $(tr '\n' ' ' <<< "$needed")with symbols up to $newest"
python3 scripts/release-pack.py "$target" "$program"
