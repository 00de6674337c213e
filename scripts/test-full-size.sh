#!/usr/bin/env bash
# One full-size file of every format (a gigabyte and a half in all), written by the real tools and opened, checked and computed
# against what they say of it: tests/data/formats/make.py --full and the ignored test `full_size` of tests/formats.rs.
#   scripts/test-full-size.sh
# The tools go to a virtual environment under target/. The files are removed again, and when all went well the tools too: until
# then the next run would have to fetch them again. Exit 3 where they cannot be had.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh

folder=${CARGO_TARGET_DIR:-$PWD/target}/full-size
formats=tests/data/formats
lack() { say "${0##*/}: $*"; exit 3; }
command -v python3 > /dev/null || lack "there is no python3 here"
trap 'rm -rf "$folder/files"' EXIT

mkdir -p "$folder"
python3 -m venv "$folder/venv" || lack "no virtual environment can be made here (Debian, Ubuntu: apt install python3-venv)"
pip=("$folder/venv/bin/pip" install --quiet --disable-pip-version-check)
# PyTorch's own index has it without what NVIDIA's GPUs need; PyPI's for Linux brings that along, which takes gigabytes more.
"${pip[@]}" --index-url https://download.pytorch.org/whl/cpu --retries 0 torch \
    || { say "trying PyPI's torch, which is larger"; "${pip[@]}" torch; } \
    || lack "PyTorch cannot be installed here"
"${pip[@]}" -r "$formats/requirements.txt" || lack "the packages of $formats/requirements.txt cannot be installed here"

say "writing full-size files"
"$folder/venv/bin/python" "$formats/make.py" --full "$folder/files" >&2
du -h "$folder"/files/* >&2
ALEXNET_FULL_SIZE=$folder/files cargo test --test formats full_size -- --ignored --nocapture
rm -rf "$folder"
