#!/usr/bin/env bash
# Makes the guide's pictures anew, in docs/guide/src/pictures.
#   docs/guide/pictures.sh                 builds the command first
#   ALEXNET=FILE docs/guide/pictures.sh   with a command that is built already
set -euo pipefail
cd "$(dirname "$0")/../.."
pictures=docs/guide/src/pictures
alexnet() { if [ -n "${ALEXNET-}" ]; then "$ALEXNET" "$@"; else ./x "$@"; fi; }

# Filters and feature maps, and a picture with a defect.
mkdir -p "$pictures"
cargo run --quiet --example guide-pictures -- "$pictures"

alexnet compare examples/pictures/coffee.png "${TMPDIR:-/tmp}/guide-broken.png" --map "$pictures/compare-map.png"

for method in grad-cam occlusion; do
    alexnet explain examples/pictures/ankle-boot.png --method $method --output "$pictures/boot-$method.png"
done

# What the strongest channel of a layer saw.
for layer in conv2 conv3; do
    alexnet explain examples/pictures/chelsea.png --method deconvnet --layer $layer --channel strongest \
        --output "$pictures/seen-$layer.png"
done

# A channel of each layer.
dream() { alexnet dream --layer "$1" --channel "$2" --size "$3" --output "$pictures/dream-$1.png"; }
dream conv1 33 96
dream conv2 3 112
dream conv3 12 112
dream conv4 30 128
dream conv5 12 144

du -ck "$pictures"/* | tail -n 1
