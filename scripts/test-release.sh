#!/usr/bin/env bash
# A release's archive: its checksum is right, it is the version of Cargo.toml, and the command in it starts, classifies and
# compares.
#   scripts/test-release.sh ARCHIVE            on this system
#   scripts/test-release.sh --bare ARCHIVE     in a root with nothing but Debian 12's C library, Vulkan loader and Mesa's drivers
# Bare, it prints sizes and times too. Exit 3 where that root cannot be made.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh

if [ "$1" = --bare ]; then
    unshare --map-root-user --mount true || { say "no namespaces can be made here"; exit 3; }
    (unpack --whole bare bookworm libc6 libvulkan1 mesa-vulkan-drivers) || exit 3
    exec unshare --map-root-user --mount "$0" --inside "$2"
fi
bare=''
[ "$1" != --inside ] || { bare=$adapters/bare && shift; }
archive=$1
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

sum=$(cut -d ' ' -f 1 "$archive.sha256")
if command -v sha256sum > /dev/null; then found=$(sha256sum "$archive"); else found=$(shasum -a 256 "$archive"); fi
[ "${found%% *}" = "$sum" ] || die "$archive has another checksum than $archive.sha256 says"
case $archive in
    *.zip) unzip -q "$archive" -d "$folder" ;;
    *) tar -xzf "$archive" -C "$folder" ;;
esac
top=$(echo "$folder"/*)
[ "${top##*/}" = "$(basename "$archive" | sed -E 's/\.(zip|tar\.gz)$//')" ] || die "the archive has another folder than its name: $top"
for file in README.md CHANGELOG.md LICENSE-APACHE LICENSE-MIT THIRD-PARTY.txt; do
    [ -s "$top/$file" ] || die "$file is not in the archive"
done
cp -R examples/pictures "$folder/pictures"
cp examples/desktop/tests/snapshots/{light,dark}.png "$folder/pictures"
program=$top/alexnet pictures=$folder/pictures
[ -e "$program" ] || program=$program.exe
run=("$program")
if [ -n "$bare" ]; then
    # Of the machine there are its processes and devices, as in a container. Without XDG_CACHE_HOME, Mesa looks for the user's home
    # in a list of users, of which there is none, and compiles shaders anew at each start.
    rm -rf "$bare/tmp"
    mkdir -p "$bare"/{proc,dev,tmp,alexnet}
    mount --rbind /proc "$bare/proc"
    mount --rbind /dev "$bare/dev"
    mount --bind "$folder" "$bare/alexnet"
    pictures=/alexnet/pictures
    run=(env -i HOME=/tmp/home XDG_CACHE_HOME=/tmp/cache "$(type -P chroot)" "$bare" "/alexnet/${top##*/}/alexnet")
fi

alexnet() { "${run[@]}" "$@"; }
[ "$(alexnet --version)" = "alexnet $version" ] || die "\`alexnet --version\` says $(alexnet --version), expected $version"
alexnet adapters
begin=${EPOCHREALTIME-}
alexnet classify "$pictures/ankle-boot.png" | tee "$folder/classes"
first=${EPOCHREALTIME-}
grep -q "Ankle boot" "$folder/classes" || die "the boot was not seen to be one"
alexnet compare --fail-above 0 "$pictures/coffee.png" "$pictures/coffee.png" || die "a picture differs from itself"
status=0
alexnet compare --fail-above 0.02 "$pictures/light.png" "$pictures/dark.png" || status=$?
[ $status = 1 ] || die "a light and a dark window: expected status 1, found $status"

# milliseconds COUNT ARGUMENTS...: the command's time, the median and the least.
milliseconds() {
    local count=$1 start
    shift
    for _ in $(seq "$count"); do
        start=${EPOCHREALTIME/[.,]/}
        alexnet "$@" > /dev/null
        echo $((${EPOCHREALTIME/[.,]/} - start))
    done | sort -n | awk '{ t[NR] = $1 / 1000 } END { printf "%.1f ms (%.1f)", t[int((NR + 1) / 2)], t[1] }'
}
if [ -n "$bare" ]; then
    echo "the archive has $(wc -c < "$archive") bytes, the program $(wc -c < "$program")"
    echo "it classified its first picture in $(((${first/[.,]/} - ${begin/[.,]/}) / 1000)) ms: the driver compiled the shaders"
    echo "it starts in $(milliseconds 21 --version), and classifies in $(milliseconds 11 classify "$pictures/ankle-boot.png"): medians (minima)"
fi
echo "$archive: passed"
