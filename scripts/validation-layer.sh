#!/usr/bin/env bash
# The Khronos validation layer, which reports every misuse of Vulkan.
# Writes target/adapters/validation-layer.env, to be sourced before the tests, alone or after an adapter's.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh

unpack validation-layer bookworm vulkan-validationlayers
libraries=$(libraries validation-layer libVkLayer_khronos_validation.so)
# The manifest names its library without a folder.
environment validation-layer \
    "export VK_LAYER_PATH='$adapters/validation-layer/usr/share/vulkan/explicit_layer.d'" \
    "export LD_LIBRARY_PATH='$libraries'\${LD_LIBRARY_PATH:+:\$LD_LIBRARY_PATH}" \
    "export WGPU_VALIDATION=1"
