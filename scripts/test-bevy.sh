#!/usr/bin/env bash
# The plugin of examples/bevy: no warnings, then its tests and the examples, without a window. Bevy needs a newer Rust than the
# project: the default one where it is new enough, or else rustup's stable or nightly. Nothing is installed.
#   scripts/test-bevy.sh [ARGUMENTS]     ARGUMENTS are those of `cargo test`
# Exit 3 where no such Rust is there.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh

manifest=examples/bevy/Cargo.toml
need=$(sed -n 's/^rust-version = "1\.\([0-9]*\).*/\1/p' $manifest)
export RUSTUP_AUTO_INSTALL=0
toolchain=''
for name in '' +stable +nightly; do
    # shellcheck disable=SC2086 # none is no argument
    have=$(cargo $name --version 2> /dev/null | sed -n 's/^cargo 1\.\([0-9]*\).*/\1/p' || true)
    if [ "${have:-0}" -ge "$need" ]; then
        toolchain=${name:-default}
        break
    fi
done
[ -n "$toolchain" ] || { say "Bevy needs Rust 1.$need, and none is installed: rustup update stable"; exit 3; }
say "with the $toolchain toolchain, 1.$have"

export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-target}
# on COMMAND ARGUMENT...: cargo. A nightly is called 1.N.0 while the release that is asked for may be 1.N.1.
on() {
    local command=$1
    shift
    # shellcheck disable=SC2086
    cargo ${toolchain/#default/} "$command" --manifest-path $manifest --locked --ignore-rust-version "$@"
}

# As `cargo clippy` does, but in a build: its checks would go through all of Bevy once more.
if command -v clippy-driver > /dev/null; then
    CLIPPY_ARGS=-D__CLIPPY_HACKERY__warnings__CLIPPY_HACKERY__ RUSTC_WORKSPACE_WRAPPER=clippy-driver on test --no-run
fi
on test "$@"
seen=$(on run --quiet -- 600)
echo "$seen"
grep -q "Sneaker" <<< "$seen" || die "the camera did not see the last picture"
seen=$(on run --quiet --bin similar)
echo "$seen"
grep -q "^the scene: LPIPS 0.0[01]" <<< "$seen" || die "the scene does not look like its golden image"
