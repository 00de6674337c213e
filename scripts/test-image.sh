#!/usr/bin/env bash
# The container image of docker/Dockerfile, made without Docker: its steps run in a root of Debian, and its command classifies and
# compares in what comes of them. Prints the size, and fails above 250 MB.
#   scripts/test-image.sh ARCHIVE     a release's for this machine's processor
# For root, with debootstrap, which it installs from Debian's or Ubuntu's packages. Exit 3 where these are not there.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh

archive=$1 images=$adapters/images most=250000000
lack() { say "${0##*/}: $*"; exit 3; }
[ "$(id -u)" = 0 ] || lack "this needs root"
# What it mounts goes with it.
if [ "${2-}" != inside ]; then
    unshare --mount true || lack "no namespaces can be made here"
    exec unshare --mount "$0" "$archive" inside
fi

# Each instruction on a line.
instructions=$(sed '/^#/d; /^$/d' docker/Dockerfile | sed -e ':a' -e '/\\$/N; s/ *\\\n */ /; ta')

case $(uname -m) in
    x86_64) TARGETARCH=amd64 ;;
    aarch64) TARGETARCH=arm64 ;;
    *) lack "there is no image for $(uname -m)" ;;
esac
context=$(mktemp -d)
trap 'rm -rf "$context"' EXIT
mkdir "$context/$TARGETARCH"
tar -xzf "$archive" --strip-components 1 -C "$context/$TARGETARCH"

# Stages are folders by their names; the last has none.
rm -rf "$images"
mkdir -p "$images"
while read -r instruction arguments; do
    case $instruction in
        FROM)
            read -r from _ stage <<< "$arguments"
            folder=$images/${stage:-last} environment=(PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin)
            workdir=/ user=0:0 entry=()
            case $from in
                scratch) mkdir "$folder" ;;
                debian:*-slim)
                    from=${from#debian:}
                    debian "${from%-slim}" "$folder" || exit 3
                    lend "$folder"
                    ;;
                *) die "$from is an image that this script does not know" ;;
            esac
            ;;
        ARG) ;;
        RUN) chroot "$folder" env -i "${environment[@]}" DEBIAN_FRONTEND=noninteractive sh -c "$arguments" >&2 ;;
        COPY)
            source=$context
            case $arguments in
                --from=*)
                    source=$images/${arguments#--from=} && source=${source%% *}
                    arguments=${arguments#* }
                    ;;
            esac
            read -r from to <<< "${arguments//\$\{TARGETARCH\}/$TARGETARCH}"
            mkdir -p "$folder$to"
            cp -a "$source/${from#/}." "$folder$to"
            ;;
        ENV) read -ra variables <<< "$arguments" && environment+=("${variables[@]}") ;;
        WORKDIR) workdir=$arguments && mkdir -p "$folder$workdir" ;;
        USER) user=$arguments ;;
        ENTRYPOINT) read -ra entry < <(python3 -c 'import json, sys; print(*json.loads(sys.argv[1]))' "$arguments") ;;
        *) die "$instruction is an instruction that this script does not know" ;;
    esac
done <<< "$instructions"
size=$(du -s --apparent-size --block-size=1 "$folder" | cut -f 1)

# run ARGUMENTS...: as `docker run IMAGE ARGUMENTS...`.
run() { chroot --userspec="$user" "$folder" /bin/env -i "${environment[@]}" sh -c "cd $workdir && exec \"\$@\"" sh "${entry[@]}" "$@"; }
lend "$folder"
mount --bind examples/pictures "$folder$workdir"
run --version
run adapters
run classify ankle-boot.png | tee "$context/classes"
grep -q "Ankle boot" "$context/classes" || die "the boot was not seen to be one"
run compare --fail-above 0 coffee.png coffee.png
echo "the image has $size bytes: $((size / 1000000)) MB"
[ "$size" -le $most ] || die "an image may have $most bytes"
