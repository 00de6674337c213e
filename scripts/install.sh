#!/bin/sh
# Installs the `alexnet` command of a release on Linux or macOS:
#   curl -fsSL https://github.com/alexnet-wgpu/alexnet-wgpu/releases/latest/download/install.sh | sh
# It downloads one archive, compares its SHA-256 with the one beside it, and puts one program into a folder. To be set before `sh`:
#   ALEXNET_VERSION       the release, such as 0.1.0; by default the one that this file belongs to
#   ALEXNET_INSTALL_DIR   the folder; by default ~/.local/bin
#   ALEXNET_FROM          the place of the release's files, such as a mirror; ALEXNET_VERSION must be set then
set -eu

# The release writes its version here.
of_release=

say() { printf 'install.sh: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

# get URL FILE
get() {
    if command -v curl > /dev/null; then
        curl -fsSL --retry 3 -o "$2" "$1"
    elif command -v wget > /dev/null; then
        wget -qO "$2" "$1"
    else
        die "this needs curl or wget"
    fi || die "cannot download $1"
}

# In a function, so that nothing runs where only the beginning of this file arrived.
main() {
    version=${ALEXNET_VERSION:-$of_release}
    [ -n "$version" ] || die "set ALEXNET_VERSION: this file belongs to no release"
    version=${version#v}
    folder=${ALEXNET_INSTALL_DIR:-${HOME:?}/.local/bin}
    from=${ALEXNET_FROM:-https://github.com/alexnet-wgpu/alexnet-wgpu/releases/download/v$version}

    system=$(uname -s) machine=$(uname -m)
    case $system-$machine in
        Linux-x86_64 | Linux-amd64) target=x86_64-unknown-linux-gnu ;;
        Linux-aarch64 | Linux-arm64) target=aarch64-unknown-linux-gnu ;;
        Darwin-*) target=universal-apple-darwin ;;
        *) die "there is no program for $system on $machine: with Rust, \`cargo install alexnet\` makes one" ;;
    esac
    if [ "$system" = Linux ] && ldd --version 2>&1 | grep -qi musl; then
        die "the program needs glibc, and this system has musl: with Rust, \`cargo install alexnet\` makes one"
    fi

    name=alexnet-$version-$target
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    get "$from/$name.tar.gz" "$work/$name.tar.gz"
    get "$from/$name.tar.gz.sha256" "$work/expected"
    if command -v sha256sum > /dev/null; then
        found=$(sha256sum "$work/$name.tar.gz")
    else
        found=$(shasum -a 256 "$work/$name.tar.gz")
    fi
    expected=$(cut -d ' ' -f 1 "$work/expected")
    [ "${found%% *}" = "$expected" ] || die "$name.tar.gz is damaged: expected the SHA-256 $expected, found ${found%% *}"

    tar -xzf "$work/$name.tar.gz" -C "$work"
    mkdir -p "$folder"
    # Renamed into place: a program that runs meanwhile goes on.
    cp "$work/$name/alexnet" "$folder/.alexnet.new"
    chmod 755 "$folder/.alexnet.new"
    mv -f "$folder/.alexnet.new" "$folder/alexnet"
    "$folder/alexnet" --version > /dev/null || die "the program is at $folder/alexnet, but does not start here"
    say "alexnet $version is at $folder/alexnet"
    case :$PATH: in
        *:"$folder":*) ;;
        *) say "$folder is not on your PATH" ;;
    esac
    if ! "$folder/alexnet" adapters > /dev/null 2>&1; then
        say "no GPU driver was found; \`alexnet adapters\` says what to install"
    fi
}

main "$@"
