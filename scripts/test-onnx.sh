#!/usr/bin/env bash
# ONNX graphs against what ONNX Runtime computes: the node tests of the onnx package, and random sequential networks in the ways in
# which exporters write them. Prints how many are right, refused and wrong; wrong must be none.
#   scripts/test-onnx.sh [--random 2000] [--seed 1]
# The tools go to a virtual environment under target/, and are removed when all went well. Exit 3 where they cannot be had.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh

folder=${CARGO_TARGET_DIR:-$PWD/target}/onnx-cases
lack() { say "${0##*/}: $*"; exit 3; }
command -v python3 > /dev/null || lack "there is no python3 here"
mkdir -p "$folder"
python3 -m venv "$folder/venv" || lack "no virtual environment can be made here (Debian, Ubuntu: apt install python3-venv)"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check onnx onnxruntime numpy \
    || lack "onnx and onnxruntime cannot be installed here"

say "writing graphs"
"$folder/venv/bin/python" -W ignore scripts/onnx-cases.py "$folder/files" "$@" >&2
ALEXNET_ONNX_CASES=$folder/files cargo test --test onnx every_case_of_a_folder -- --ignored --nocapture
rm -rf "$folder"
