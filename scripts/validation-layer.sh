#!/usr/bin/env bash
# The Khronos validation layer out of Debian 12's Chromium: its own package's is older than the SPIR-V that wgpu makes.
# Writes target/adapters/validation-layer.env, to be sourced alone or after an adapter's.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh

unpack swiftshader bookworm chromium-common
libraries=$(libraries swiftshader libVkLayer_khronos_validation.so)
# Chromium makes the layer's manifest as it runs.
mkdir -p "$adapters/validation-layer"
cat > "$adapters/validation-layer/VkLayer_khronos_validation.json" <<EOF
{
  "file_format_version": "1.2.0",
  "layer": {
    "name": "VK_LAYER_KHRONOS_validation",
    "type": "GLOBAL",
    "library_path": "$libraries/libVkLayer_khronos_validation.so",
    "api_version": "1.4.300",
    "implementation_version": "1",
    "description": "Khronos validation layer",
    "instance_extensions": [
      { "name": "VK_EXT_debug_report", "spec_version": "9" },
      { "name": "VK_EXT_debug_utils", "spec_version": "1" },
      { "name": "VK_EXT_validation_features", "spec_version": "2" },
      { "name": "VK_EXT_layer_settings", "spec_version": "2" }
    ]
  }
}
EOF
# Without WGPU_DEBUG, wgpu does not pass on what the layer says.
environment validation-layer "export VK_LAYER_PATH='$adapters/validation-layer'" "export WGPU_VALIDATION=1" \
    "export WGPU_DEBUG=1"
