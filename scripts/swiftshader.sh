#!/usr/bin/env bash
# SwiftShader, Google's software Vulkan, out of Debian 12's Chromium.
# Writes target/adapters/swiftshader.env, to be sourced before a program that is to run on it.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh

unpack swiftshader bookworm chromium-common
libraries=$(libraries swiftshader libvk_swiftshader.so)
# The manifest names the library beside it.
environment swiftshader "export VK_DRIVER_FILES='$libraries/vk_swiftshader_icd.json'" \
    "export ALEXNET_ADAPTER=SwiftShader"
