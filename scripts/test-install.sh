#!/usr/bin/env bash
# Tests of what a release has beside its archives (release-files.sh), on one of a stand-in for the program: that install.sh installs
# it, and that the formula names it. Installs nothing outside a temporary folder.
# Exit 3 where there is no curl.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh

command -v curl > /dev/null || { say "this needs curl"; exit 3; }
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
mkdir -p "$tmp"/{release,tools,home}
for target in x86_64-unknown-linux-gnu aarch64-unknown-linux-gnu universal-apple-darwin; do
    name=alexnet-9.8.7-$target
    mkdir "$tmp/$name"
    # shellcheck disable=SC2016 # for the program to expand
    printf '#!/bin/sh\necho "alexnet 9.8.7, %s"\n[ "$1" != adapters ]\n' "$target" > "$tmp/$name/alexnet"
    chmod +x "$tmp/$name/alexnet"
    tar -czf "$tmp/release/$name.tar.gz" -C "$tmp" "$name"
    (cd "$tmp/release" && sha256sum "$name.tar.gz" > "$name.tar.gz.sha256")
done
# shellcheck disable=SC2016 # for the stub to expand
printf '#!/bin/sh\n[ "$1" = -s ] && echo "$SYSTEM" || echo "$MACHINE"\n' > "$tmp/tools/uname"
chmod +x "$tmp/tools/uname"

failures=0
# expect STATUS TEXT [SYSTEM MACHINE [FILE]]: what install.sh, the release's or another, does on that system.
expect() {
    local status=$1 text=$2 file=${5:-release/install.sh} out code=0
    rm -rf "$tmp/home/bin"
    out=$(env -i PATH="$tmp/tools:$PATH" HOME="$tmp/home" SYSTEM="${3:-Linux}" MACHINE="${4:-x86_64}" \
        ALEXNET_INSTALL_DIR="$tmp/home/bin" ALEXNET_FROM="file://$tmp/release" sh < "$tmp/$file" 2>&1) || code=$?
    if [ "$code" = "$status" ] && [[ $out == *"$text"* ]]; then
        echo "ok: $text"
    else
        printf 'FAILED: status %s, expected %s\n  printed: %s\n  expected: %s\n' "$code" "$status" "$out" "$text"
        failures=$((failures + 1))
    fi
}
# installed [TEXT]: that program is there, or none.
installed() {
    [ "$([ ! -e "$tmp/home/bin/alexnet" ] || "$tmp/home/bin/alexnet")" = "${1-}" ] || { echo "FAILED: ${1:-something} is installed"; failures=$((failures + 1)); }
}

cp scripts/install.sh "$tmp"
expect 1 "this file belongs to no release" Linux x86_64 install.sh
scripts/release-files.sh 9.8.7 "$tmp/release"
(cd "$tmp/release" && sha256sum --quiet -c SHA256SUMS)
expect 0 "alexnet 9.8.7 is at $tmp/home/bin/alexnet"
installed "alexnet 9.8.7, x86_64-unknown-linux-gnu"
expect 0 "is not on your PATH"
expect 0 "no GPU driver was found"
expect 0 "is at" Linux aarch64
installed "alexnet 9.8.7, aarch64-unknown-linux-gnu"
expect 0 "is at" Darwin arm64
installed "alexnet 9.8.7, universal-apple-darwin"
expect 1 "there is no program for FreeBSD on amd64" FreeBSD amd64
# Cut off after any of its lines, it does nothing.
rm -rf "$tmp/home/bin"
for lines in $(seq $(($(wc -l < "$tmp/release/install.sh") - 1))); do
    head -n "$lines" "$tmp/release/install.sh" | env -i PATH="$PATH" HOME="$tmp/home" ALEXNET_FROM="file://$tmp/release" \
        ALEXNET_INSTALL_DIR="$tmp/home/bin" sh > /dev/null 2>&1 || true
done
installed
# formula_has TEXT
formula_has() { grep -qF "$1" "$tmp/release/alexnet.rb" || { echo "FAILED: the formula lacks $1"; failures=$((failures + 1)); }; }
for file in "$tmp"/release/*.tar.gz; do
    formula_has "/v9.8.7/${file##*/}\""
    formula_has "\"$(sha256sum < "$file" | cut -d ' ' -f 1)\""
done
! command -v ruby > /dev/null || ruby -c "$tmp/release/alexnet.rb"
echo damage >> "$tmp/release/alexnet-9.8.7-x86_64-unknown-linux-gnu.tar.gz"
expect 1 "is damaged: expected the SHA-256"
installed
rm "$tmp"/release/*.tar.gz
expect 1 "cannot download file://"
installed
[ $failures = 0 ] || die "$failures failed"
