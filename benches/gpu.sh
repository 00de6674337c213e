#!/usr/bin/env bash
# What is to be measured on a GPU, in less than eight minutes: whether it is right, and times with f32 operands and with
# cooperative matrices, in turns, beside PyTorch's.
#   benches/gpu.sh OUT [ALEXNET]    writes OUT/*; ALEXNET is the command, by default target/release/alexnet
# Steps that fail or take too long leave what they wrote, and the last line names them.
set -uo pipefail
cd "$(dirname "$0")/.."

out=$1 alexnet=${2:-target/release/alexnet} failed=()
mkdir -p "$out"

# step NAME SECONDS COMMAND...: its output in OUT/NAME.
step() {
    echo "$1"
    timeout "$2" "${@:3}" > "$out/$1" 2> "$out/$1.log" || failed+=("$1")
}

rounds() {
    local round batch precision
    for round in 1 2 3 4 5 6 7; do
        for batch in 1 16 64 256; do
            for precision in exact fast; do
                echo "{\"round\": $round, \"precision\": \"$precision\", \"bench\": $(
                    "$alexnet" bench --quiet --untuned --json --runs 51 --batch "$batch" --precision "$precision"
                )}" || return
            done
        done
    done
}
export -f rounds
export alexnet

step adapters 20 "$alexnet" adapters
step doctor 120 "$alexnet" doctor --quiet
step rounds.jsonl 150 bash -c rounds
for batch in 1 64; do
    step "tune-$batch.json" 60 "$alexnet" tune --dry-run --json --batch "$batch" --precision fast
done
step pytorch 90 python3 benches/peers/pytorch.py
echo "done, except: ${failed[*]:-none}"
