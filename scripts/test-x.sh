#!/usr/bin/env bash
# Tests of ./x on Linux: what it finds, what it would install and what it says. It runs in a mount namespace without
# driver manifests, and with a PATH of stand-ins for the package managers, sudo and cargo. Installs nothing. Exit 3 where no
# namespaces can be made.
set -euo pipefail
if [ "${1-}" != inside ]; then
    unshare --map-root-user --mount true || { echo "no namespaces can be made here"; exit 3; }
    exec unshare --map-root-user --mount "$0" inside
fi
x=$(cd "$(dirname "$0")/.." && pwd)/x
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
unset VK_DRIVER_FILES VK_ICD_FILENAMES VK_ADD_DRIVER_FILES XDG_CONFIG_HOME XDG_CONFIG_DIRS XDG_DATA_HOME XDG_DATA_DIRS
export HOME=$tmp/home TMP_X=$tmp CARGO_TARGET_DIR=$tmp/target
# Hidden in this namespace only.
for folder in /usr/share/vulkan /usr/local/share/vulkan /etc/vulkan /etc/xdg/vulkan; do
    if [ -d $folder ]; then mount -t tmpfs tmpfs $folder; fi
done
mkdir "$tmp/tools"
for tool in bash cat dirname env id mkdir sed touch uname; do ln -s "$(type -P $tool)" "$tmp/tools/"; done
manifest=$HOME/.local/share/vulkan/icd.d/software.json

# stub NAME [BODY]: a command that notes how it was called, then does BODY. The stubs have a folder of their own, so that
# writing one never goes through a link in tools/.
stub() {
    # shellcheck disable=SC2016 # for the stub to expand
    printf '#!/usr/bin/env bash\necho "%s $*" >> "$TMP_X/calls"\n%s\n' "$1" "${2-}" > "$tmp/stubs/$1"
    chmod +x "$tmp/stubs/$1"
}

# rust VERSION [STATUS]: a cargo of that version, whose other commands end with the status.
rust() { stub cargo "if [ \"\$1\" = --version ]; then echo 'cargo $1 (0123456789 2030-01-01)'; else exit ${2-0}; fi"; }

# fresh: a bare machine, with its loader and without a driver, root's, with a good Rust.
fresh() {
    rm -rf "${tmp:?}"/{stubs,home,target}
    mkdir -p "$tmp/stubs" "$HOME/lib"
    touch "$HOME/lib/libvulkan.so.1"
    rust 1.999.0
}

# manager NAME: a package manager whose installation brings the driver.
manager() { stub "$1" "case \$* in *install*|*-S*|*add*) mkdir -p '${manifest%/*}'; touch '$manifest' ;; esac"; }

failures=0
# expect STATUS OUTPUT CALLS [ARGUMENTS OF x]: OUTPUT is part of what it prints, CALLS all the commands that it ran.
expect() {
    local status=$1 output=$2 calls=$3 out code=0
    shift 3
    : > "$tmp/calls"
    out=$(PATH=$tmp/stubs:$tmp/tools LD_LIBRARY_PATH=$HOME/lib "$x" "$@" 2>&1) || code=$?
    if [ "$code" = "$status" ] && [[ $out == *"$output"* ]] && [ "$(grep -v '^cargo --version' "$tmp/calls")" = "$calls" ]; then
        echo "ok: $name"
    else
        printf 'FAILED: %s\n  status %s, expected %s\n  printed: %s\n  expected: %s\n  called: %s\n  expected: %s\n' \
            "$name" "$code" "$status" "$out" "$output" "$(cat "$tmp/calls")" "$calls"
        failures=$((failures + 1))
    fi
}

name="a driver that is there is left alone"
fresh; manager apt-get; mkdir -p "${manifest%/*}"; touch "$manifest"
expect 0 "a GPU driver is there" "" driver

name="a variable that names a driver"
fresh; manager apt-get
VK_DRIVER_FILES=$x expect 0 "a GPU driver is there" "" driver
name="a variable that names no file"
VK_ICD_FILENAMES=/nowhere.json expect 1 "there is no such file: /nowhere.json" "" driver

name="apt-get"
fresh; manager apt-get
expect 0 "x: env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends libvulkan1 mesa-vulkan-drivers" \
    "apt-get update -q
apt-get install -y --no-install-recommends libvulkan1 mesa-vulkan-drivers" driver
for call in "dnf install -y vulkan-loader mesa-vulkan-drivers" \
    "pacman -S --needed --noconfirm vulkan-icd-loader vulkan-swrast" \
    "zypper --non-interactive install libvulkan1 libvulkan_lvp" \
    "apk add vulkan-loader mesa-vulkan-swrast"; do
    name=${call%% *}
    fresh; manager "$name"
    expect 0 "this machine has no Vulkan driver yet" "$call" driver
done

name="an ordinary user with sudo"
fresh; manager dnf; stub id "echo 1000"; stub sudo '"$@"'
expect 0 "x: sudo dnf install -y" "id -u
sudo dnf install -y vulkan-loader mesa-vulkan-drivers
dnf install -y vulkan-loader mesa-vulkan-drivers" driver
name="an ordinary user without sudo"
fresh; manager dnf; stub id "echo 1000"
expect 1 "run \`$x driver\` as root once" "id -u" driver

name="an unknown distribution"
fresh
expect 1 "Install the Vulkan loader (libvulkan.so.1)" "" driver
name="an installation that fails"
fresh; stub apk "exit 3"
expect 1 "the installation failed" "apk add vulkan-loader mesa-vulkan-swrast" driver
name="an installation that brings no driver"
fresh; stub apk
expect 1 "no Vulkan driver is found even now" "apk add vulkan-loader mesa-vulkan-swrast" driver

name="no Rust"
fresh; manager apk; rm "$tmp/stubs/cargo"
expect 1 "get it from https://rustup.rs" "" test
name="Rust in rustup's folder only"
mkdir -p "$HOME/.cargo/bin"; rust 1.999.0; mv "$tmp/stubs/cargo" "$HOME/.cargo/bin/"
VK_DRIVER_FILES=$x expect 0 "" "cargo test --manifest-path ${x%/x}/Cargo.toml" test
name="an old Rust"
fresh; rust 1.66.0
expect 1 "or newer is needed, and this is 1.66" "" test

name="the test command"
fresh; manager apk
expect 0 "" "apk add vulkan-loader mesa-vulkan-swrast
cargo test --manifest-path ${x%/x}/Cargo.toml --test a b" test --test a b
name="classify, not built yet"
expect 0 "" "cargo run --manifest-path ${x%/x}/Cargo.toml --bin alexnet -- classify a picture.png" \
    classify "a picture.png"
name="classify, built"
mkdir -p "$tmp/target/debug"; touch "$tmp/target/debug/alexnet"
expect 0 "" "cargo run --manifest-path ${x%/x}/Cargo.toml --quiet --bin alexnet -- classify --top 3 p.png" \
    classify --top 3 p.png
name="a failing command's status"
rust 1.999.0 7
expect 7 "" "cargo run --manifest-path ${x%/x}/Cargo.toml --quiet --bin alexnet -- adapters" adapters

name="macOS needs no driver"
fresh; stub uname "echo Darwin"
expect 0 "a GPU driver is there" "uname -s" driver
name="no words"
fresh
expect 0 "./x classify IMAGE..." ""

[ $failures = 0 ] || { echo "$failures failed"; exit 1; }
