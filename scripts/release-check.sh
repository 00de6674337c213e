#!/usr/bin/env bash
# Whether this checkout can be released: its version is a day's in the changelog, nothing is uncommitted, the packages build as
# crates.io would have them, and the library's interface changes no more than its version says.
#   scripts/release-check.sh [TAG]     with the tag, such as v0.1.0, which must be of that version
# SEMVER=no leaves out the last, whose tool builds for minutes.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh

version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
[ -z "${1-}" ] || [ "$1" = "v$version" ] || die "the tag $1 is not v$version, the version in Cargo.toml"
heading=$(grep -m 1 '^## ' CHANGELOG.md)
grep -qxE "## ${version//./\\.} \([0-9]{4}-[0-9]{2}-[0-9]{2}\)" <<< "$heading" \
    || die "the changelog begins with \"$heading\", expected \"## $version (YEAR-MONTH-DAY)\""
[ -z "$(git status --porcelain)" ] || die "there are changes that are not committed"

# Each after those that it depends on; those that are published for the first time are found beside each other.
cargo publish --dry-run --workspace --locked

last=$(git describe --tags --abbrev=0 --match 'v*' --exclude "v$version" 2> /dev/null || true)
if [ -z "$last" ]; then
    echo "no release before this one: nothing to compare the interface with"
elif [ "${SEMVER-}" != no ]; then
    export PATH=$PWD/target/ci-tools/bin:$PATH
    # The newest: it must know the newest Rust's description of a library.
    command -v cargo-semver-checks > /dev/null || cargo install --quiet --locked --root target/ci-tools cargo-semver-checks
    cargo semver-checks --baseline-rev "$last" -p alexnet-wgpu -p alexnet-snapshots
fi
echo "$version can be released"
