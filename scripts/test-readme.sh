#!/usr/bin/env bash
# README.md as a stranger follows it on a bare Debian 12: its shell commands, in order and as they stand.
#   scripts/test-readme.sh             with Rust: `./x` builds the command and runs the tests, which run the guide's commands
#   scripts/test-readme.sh ARCHIVE     without Rust: a release's program for this machine, and the lines that need no more
# For root. What is left out is named with its reason. Exit 3 where the root cannot be made.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh

lack() { say "${0##*/}: $*"; exit 3; }
[ "$(id -u)" = 0 ] || lack "this needs root"
# What it mounts goes with it.
if [ "${1-}" != --inside ]; then
    unshare --mount true || lack "no namespaces can be made here"
    exec unshare --mount "$0" --inside "$@"
fi
archive=${2-} root=$adapters/stranger${2:+-release}
path=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
variables=(HOME=/root DEBIAN_FRONTEND=noninteractive)

rm -rf "$root"
debian bookworm "$root" || exit 3
lend "$root"
# inside COMMAND: a line of a shell in the clone, as a user's.
inside() {
    chroot "$root" env -i "${variables[@]}" PATH="$path" bash -c "cd /root/alexnet-wgpu && $1" < /dev/null
}

git clone --quiet --no-hardlinks . "$root/root/alexnet-wgpu"
if [ -n "$archive" ]; then
    mkdir "$root/opt/alexnet"
    tar -xzf "$archive" --strip-components 1 -C "$root/opt/alexnet"
    path=/opt/alexnet:$path
    # What docs/releasing.md tells those who have no driver.
    inside 'apt-get -q update && apt-get -qy --no-install-recommends install mesa-vulkan-drivers libvulkan1' >&2
else
    # What rustup asks for, and what it brings: this machine's own toolchain, and the sources that it has fetched.
    inside 'apt-get -q update && apt-get -qy --no-install-recommends install gcc libc6-dev curl ca-certificates' >&2
    mkdir -p "$root/opt/rust" "$root/root/.cargo/registry"
    mount --bind "$(rustc --print sysroot)" "$root/opt/rust"
    mount --bind "${CARGO_HOME:-$HOME/.cargo}/registry" "$root/root/.cargo/registry"
    path=/root/.cargo/bin:/root/alexnet-wgpu/target/debug:/opt/rust/bin:$path
    variables+=(CARGO_NET_OFFLINE=true)
fi

# The reader's own files.
# shellcheck disable=SC2016 # the shell there expands it
inside '
    mkdir -p photos pictures/{striped,plain} golden renders
    cp examples/pictures/*.{png,jpg} photos/
    for name in shoe photo dog; do cp examples/pictures/rocket.jpg $name.jpg; done
    cp examples/desktop/tests/snapshots/light.png expected.png
    cp examples/desktop/tests/snapshots/dark.png actual.png
    cp examples/pictures/coffee.png golden/menu.png
    cp examples/pictures/coffee.png renders/menu.png
    for i in a b c d e f g h; do
        { printf "P5 64 64 255\n"; head -c 4096 /dev/zero | tr "\0" $i; } > pictures/plain/$i.pgm
        { printf "P5 64 64 255\n"; for y in $(seq 32); do head -c 64 /dev/zero; head -c 64 /dev/zero | tr "\0" $i; done; } \
            > pictures/striped/$i.pgm
    done'

# left_out LINE: the reason why a line is not run, or nothing.
left_out() {
    case $1 in
        *alexnet-owt-* | *bvlc_alexnet* | *alexnet.safetensors*) echo "weights of ImageNet are not here" ;;
        'alexnet fetch '*) echo "it downloads weights of 244 MB" ;;
        'cargo add --git '*) echo "it needs GitHub" ;;
        examples/web/build.sh*) echo "a server that does not end: the step page" ;;
        *alexnet-desktop*) echo "a window: scripts/test-desktop.sh" ;;
        ./x\ * | cargo\ *) [ -z "$archive" ] || echo "it needs Rust" ;;
    esac
}

ran=0
while IFS= read -r line; do
    line=$(sed -E 's/ +#.*//' <<< "$line")
    [ -n "$line" ] || continue
    reason=$(left_out "$line")
    if [ -n "$reason" ]; then
        echo "LEFT OUT: $line: $reason"
        continue
    fi
    echo "\$ $line"
    start=$SECONDS
    inside "$line" 2>&1 | tail -n 12 || die "this line of README.md failed: $line"
    echo "($((SECONDS - start)) s)"
    ran=$((ran + 1))
done < <(awk '/^```sh$/ { on = 1; next } /^```/ { on = 0 } on' README.md)
[ $ran -ge 12 ] || die "only $ran lines of README.md ran"
echo "$ran lines of README.md passed"
