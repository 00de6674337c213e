#!/usr/bin/env bash
# Pictures against what Pillow makes of them: encodings of every kind at random, and the same with damage. Prints how many are
# read alike; undamaged ones that differ, panics, and JPEGs of which less is shown than by Pillow must be none.
#   scripts/test-pictures.sh [SECONDS [SEED]]
# The tools go to a virtual environment under target/, and are removed when all went well. Exit 3 where they cannot be had.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh

folder=${CARGO_TARGET_DIR:-$PWD/target}/picture-cases
lack() { say "${0##*/}: $*"; exit 3; }
command -v python3 > /dev/null || lack "there is no python3 here"
for tool in cjpeg djpeg tiffcp; do
    command -v $tool > /dev/null || lack "there is no $tool here (Debian, Ubuntu: apt install libjpeg-turbo-progs libtiff-tools)"
done
mkdir -p "$folder"
python3 -m venv "$folder/venv" || lack "no virtual environment can be made here (Debian, Ubuntu: apt install python3-venv)"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check pillow numpy imagecodecs \
    || lack "pillow and imagecodecs cannot be installed here"

cargo build --quiet --example decode
decode=${CARGO_TARGET_DIR:-$PWD/target}/debug/examples/decode fuzz=$PWD/tests/preprocessing/fuzz.py
cd "$folder"
venv/bin/python "$fuzz" "$decode" "${1:-60}" "${2:-1}"
rm -rf "$folder"
