#!/usr/bin/env bash
# Mesa 25's software Vulkan (lavapipe) out of Debian 12's backports, beside the system's Mesa 22.3.
# Writes target/adapters/mesa25.env, to be sourced before a program that is to run on it.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh

unpack mesa25 bookworm-backports mesa-vulkan-drivers libdrm2
libraries=$(libraries mesa25 libvulkan_lvp.so)
# The manifest names its library without a folder, and the new libdrm must come before the system's.
environment mesa25 "export VK_DRIVER_FILES='$(echo "$adapters"/mesa25/usr/share/vulkan/icd.d/lvp_icd.*json)'" \
    "export LD_LIBRARY_PATH='$libraries'\${LD_LIBRARY_PATH:+:\$LD_LIBRARY_PATH}" \
    "export ALEXNET_ADAPTER='Mesa 25'"
