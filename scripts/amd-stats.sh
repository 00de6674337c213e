#!/usr/bin/env bash
# What AMD's compiler makes of every pipeline of the GPU plan, chip by chip: registers, spills, waves, code. No GPU is
# needed: with RADV_FORCE_FAMILY, Mesa's driver RADV compiles for a chip that is not there.
#   scripts/amd-stats.sh [CHIP...]     by default: navi21 navi31 vega10
# Then the modelled time of each layer on real GPUs. Exit 1 when a pipeline spills registers or uses scratch memory, 3
# when RADV cannot be had.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh

chips=("$@")
[ $# -gt 0 ] || chips=(navi21 navi31 vega10)
cargo build --quiet --release -p shader-stats
statistics=${CARGO_TARGET_DIR:-target}/release/shader-stats
if scripts/mesa25.sh > /dev/null; then
    # The same package holds both drivers.
    # shellcheck source=/dev/null
    . "$adapters/mesa25.env"
    radv=$(echo "$adapters"/mesa25/usr/share/vulkan/icd.d/radeon_icd.*json)
else
    say "using the system's RADV"
    radv=$(echo /usr/share/vulkan/icd.d/radeon_icd.*json)
fi
[ -e "$radv" ] || { say "no RADV here: apt-get install mesa-vulkan-drivers"; exit 3; }

files=() failed=0
for chip in "${chips[@]}"; do
    file=target/shader-stats/$chip.json
    mkdir -p "${file%/*}"
    family=$chip
    # What Mesa 22 calls it.
    [ "$chip" != navi31 ] || [ "${radv#"$adapters"}" != "$radv" ] || family=gfx1100
    printf '\n### %s\n\n' "$chip"
    VK_DRIVER_FILES=$radv RADV_FORCE_FAMILY=$family "$statistics" amd "$file" || failed=$?
    [ "$failed" -le 1 ] || exit "$failed"
    files+=("$file")
done
printf '\n### Roofline\n\n'
"$statistics" roofline "${files[@]}"
exit "$failed"
