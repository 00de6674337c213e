#!/usr/bin/env bash
# Times this project and the public runtimes on the same network, adapter and run, and prints tables for benches/results.
#   benches/peers/run.sh [--slow] [--batch N] [--rounds N] [ADAPTER...]
# ADAPTER: system (what Vulkan finds here), mesa25, swiftshader (Debian 12); by default all three.
# Peers come from PyPI and crates.io, into target/peers: ONNX Runtime on the processor and with WebGPU, ncnn on the
# processor and with Vulkan; with --slow also burn (wgpu), meganeura and wonnx, which build for many minutes.
#
# Medians are of N rounds (7); every round runs all of them in turn, see measure.py. THREADS (2) is for the peers on the
# processor. Time with nothing else running. Where something else must run: BOOST=1 (as root, on Linux) puts the timed
# programs in a session of their own, whose group the scheduler prefers: `nice` does not help between sessions.
# OURS is the command that is timed, by default `alexnet bench --json`. Exit 3 when the Python peers cannot be had.
set -euo pipefail
cd "$(dirname "$0")/../.."

slow='' batch=1 rounds=7 adapters=()
while [ $# -gt 0 ]; do
    case $1 in
        --slow) slow=yes ;;
        --batch) batch=$2; shift ;;
        --rounds) rounds=$2; shift ;;
        system | mesa25 | swiftshader) adapters+=("$1") ;;
        *) echo "${0##*/}: no '$1': see the top of the script" >&2; exit 2 ;;
    esac
    shift
done
[ ${#adapters[@]} -gt 0 ] || adapters=(system mesa25 swiftshader)

here=benches/peers peers=$PWD/target/peers
model=$peers/model-$batch
say() { echo "${0##*/}: $*" >&2; }

# venv NAME PACKAGE...: the two ONNX Runtimes have the same module name, so that each has its own environment.
venv() {
    [ -e "$peers/$1/done" ] && return
    say "installing ${*:2}"
    if ! python3 -m venv "$peers/$1" || ! "$peers/$1/bin/pip" install --quiet --disable-pip-version-check "${@:2}"; then
        say "they cannot be had here"
        exit 3
    fi
    touch "$peers/$1/done"
}
venv python onnx==1.23.2 onnxruntime==1.31.1 ncnn==1.0.20261020
venv python-webgpu onnxruntime-webgpu==1.27.0
[ -e "$model/input.bin" ] || "$peers/python/bin/python" $here/model.py "$model" "$batch"
for peer in ${slow:+burn meganeura wonnx}; do
    say "building $peer"
    CARGO_TARGET_DIR=$peers/cargo cargo build --quiet --release --manifest-path "$here/$peer/Cargo.toml"
done
if [ -z "${OURS-}" ]; then
    cargo build --quiet --release -p alexnet
    OURS="${CARGO_TARGET_DIR:-target}/release/alexnet bench --json --network ungrouped --batch $batch"
fi

workers=()
for peer in onnxruntime-cpu ncnn-cpu ncnn-cpu-f32 ncnn-vulkan ncnn-vulkan-f32 onnxruntime-webgpu; do
    python=$peers/python/bin/python
    [ "$peer" != onnxruntime-webgpu ] || python=$peers/python-webgpu/bin/python
    workers+=("$peer=$python $here/worker.py $peer $model $batch ${THREADS:-2}")
done
for peer in ${slow:+burn meganeura wonnx}; do workers+=("$peer=$peers/cargo/release/peer-$peer $model $batch"); done

# Without it every peer's log begins with a complaint.
export XDG_RUNTIME_DIR=${XDG_RUNTIME_DIR:-$peers}
boost=()
# shellcheck disable=SC2016 # The shell that setsid starts expands it.
[ "${BOOST-}" != 1 ] || boost=(setsid --wait bash -c 'echo -19 > /proc/self/autogroup; exec "$@"' boost)
for adapter in "${adapters[@]}"; do
    if [ "$adapter" != system ] && ! "scripts/$adapter.sh" > /dev/null; then
        say "SKIPPED: $adapter cannot be had here"
        continue
    fi
    # A subshell: each adapter's environment ends with its table.
    (
        # shellcheck source=/dev/null
        [ "$adapter" = system ] || . "target/adapters/$adapter.env"
        "${boost[@]}" python3 $here/measure.py "$adapter" "$model" "$batch" "$rounds" "$OURS" "${workers[@]}"
    )
done
