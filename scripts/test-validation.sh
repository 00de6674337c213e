#!/usr/bin/env bash
# Runs every layer in every kernel configuration, and whole networks, under the Khronos validation layer, which must report nothing.
#   scripts/test-validation.sh [ARGUMENTS OF CARGO TEST]
# Exit 3 where the layer cannot be had.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh

scripts/validation-layer.sh > /dev/null || exit 3
# shellcheck source=/dev/null
. "$adapters/validation-layer.env"
log=$adapters/validation.log
[ $# -gt 0 ] || set -- --test layers --test networks
# The loader says which layers it puts in; what the layer says comes as log records of wgpu's.
VK_LOADER_DEBUG=layer RUST_LOG=warn cargo test "$@" -- --nocapture > "$log" 2>&1 || { tail -n 40 "$log"; exit 1; }
grep "^test result" "$log"
# wgpu goes on without the layer where it does not load.
grep -qi "insert.*layer.*VK_LAYER_KHRONOS_validation" "$log" || die "the layer was not loaded; see $log"
if grep -E "VALIDATION|VUID-|Validation (Error|Warning)" "$log" | sort | uniq -c | sort -rn | head -n 20 | grep .; then
    die "the layer complains; see $log"
fi
echo "the validation layer was loaded and reported nothing"
