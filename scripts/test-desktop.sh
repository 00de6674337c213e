#!/usr/bin/env bash
# The desktop app in a real window, on an X server without a screen: it must open and name the picture within seconds, take
# keys, be alive and without errors afterwards, and (in debug builds, which can lose their device) come back from a lost device.
#   scripts/test-desktop.sh [PICTURE.png]     keeps a screenshot there
# SIZE=1920x1080 and PROFILE=release change what runs. Exit 3 where no X server can be had.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh

size=${SIZE:-1100x760} profile=${PROFILE:-dev}
has_tools() { command -v Xvfb && command -v xdotool && command -v import; } > /dev/null
if ! has_tools && [ "$(id -u)" -eq 0 ] && command -v apt-get > /dev/null; then
    { apt-get update -q; apt-get install -y --no-install-recommends xvfb xdotool imagemagick; } >&2 || true
fi
has_tools || { say "this needs Xvfb, xdotool and ImageMagick (Debian, Ubuntu: apt install xvfb xdotool imagemagick)"; exit 3; }

# With the tests, since what they need would change what else is built.
cargo build --profile "$profile" -p alexnet-desktop --bins --tests
program=${CARGO_TARGET_DIR:-target}/${profile/dev/debug}/alexnet-desktop
folder=$(mktemp -d)
server='' app=''
stop() {
    [ -n "$app" ] || return 0
    # A process that took over goes first.
    pkill -P "$app" || true
    kill "$app" 2> /dev/null || true
    wait "$app" 2> /dev/null || true
    app=''
}
cleanup() {
    stop
    [ -z "$server" ] || kill "$server" 2> /dev/null || true
    rm -rf "$folder"
}
trap cleanup EXIT

# It stays when its last window goes, for the next one.
Xvfb -displayfd 3 -noreset -screen 0 "${size}x24" -nolisten tcp 3> "$folder/display" 2> "$folder/server.log" &
server=$!
for _ in $(seq 100); do
    [ ! -s "$folder/display" ] || break
    sleep 0.1
done
[ -s "$folder/display" ] || { cat "$folder/server.log" >&2; die "Xvfb did not start"; }
DISPLAY=:$(cat "$folder/display")
export DISPLAY

# start [NAME=VALUE]...: with nothing remembered and nobody's settings touched.
start() {
    stop
    : > "$folder/log"
    env -u WAYLAND_DISPLAY XDG_DATA_HOME="$folder" RUST_LOG=warn,alexnet_desktop=debug RUST_BACKTRACE=1 "$@" \
        "$program" examples/pictures/{ankle-boot,bag,dress,sandal,sneaker,t-shirt,trouser,coffee}.png \
        2> "$folder/log" &
    app=$!
}

# logged TEXT [TIMES]: waits until the app has said so.
logged() {
    for _ in $(seq 900); do
        if [ "$(grep -c "$1" "$folder/log")" -ge "${2:-1}" ]; then return; fi
        kill -0 "$app" 2> /dev/null || { cat "$folder/log" >&2; die "the app ended"; }
        sleep 0.1
    done
    cat "$folder/log" >&2
    die "not within 90 s: $1"
}

start
logged "first frame"
# Processor time, since the machine may be doing other things; what the worker used by now is in it.
cpu=$(awk '{ print ($14 + $15) * 10 }' "/proc/$app/stat")
window=$(xdotool search --sync --onlyvisible --name '^AlexNet$' | head -n 1)
xdotool windowmove "$window" 0 0 windowsize "$window" "${size%x*}" "${size#*x}" windowfocus "$window"
# No pointer over the maps, which would show one larger.
xdotool mousemove 2 2
logged "first classes"
grep -oE "(first|[^ ]+ \(embedded\)) .* ms" "$folder/log"
echo "processor time by then: $cpu ms"
[ "$cpu" -le 2000 ] || die "the first frame took more than 2 s of processor time"

# The next layer and back, then the heat map, each seen to have come.
before=$folder/before.png
logged "conv1 drawn"
xdotool key Down
logged "pool1 drawn"
sleep 1
import -window root "$before"
xdotool key Up key h
logged "heat map of class 9 done"
sleep 1
import -window root "$folder/after.png"
kill -0 "$app" || { cat "$folder/log" >&2; die "the app ended"; }
if grep -E "ERROR|panicked" "$folder/log" >&2; then die "the app reports errors"; fi
for picture in "$before" "$folder/after.png"; do
    colours=$(identify -format %k "$picture")
    [ "$colours" -gt 500 ] || die "$picture has $colours colours: nothing is drawn"
done
differing=$(compare -metric AE "$before" "$folder/after.png" null: 2>&1 || true)
echo "the heat map changed $differing pixels"
# Millions are told as 2.67297e+06.
[ "$(LC_ALL=C printf %.0f "$differing")" -gt 1000 ] || die "the keys did nothing"
grep -o "longest frame.*" "$folder/log" | tail -n 1
[ $# -eq 0 ] || convert "$folder/after.png" -strip -dither FloydSteinberg -colors 256 -define png:compression-level=9 "PNG8:$1"

[ "$profile" = dev ] || exit 0
# Between two frames, and amid one, which egui's renderer ends with a panic: another process takes over then.
for when in "6000" "6000 amid"; do
    start ALEXNET_DESKTOP_LOSE_DEVICE="$when"
    logged "opened anew"
    logged "first classes" 2
    # Its message takes room above the picture.
    sleep 1
    import -window root "$folder/anew.png"
    echo "a device lost after $when ms: $(grep -c panicked "$folder/log") panics, and a window with $(identify -format %k "$folder/anew.png") colours"
done
