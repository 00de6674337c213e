#!/usr/bin/env python3
"""Writes Fashion-MNIST as folders of pictures for `alexnet train`: OUT/train with 60,000 and OUT/test with 10,000.

    fashion_mnist.py OUT [FILES]     FILES is a folder with the four .gz files, as Debian's dataset-fashion-mnist installs them
"""

import gzip
import sys
from pathlib import Path

# In the order of the labels.
CLASSES = [f"{i}-{name}" for i, name in enumerate("top trouser pullover dress coat sandal shirt sneaker bag boot".split())]
SIDE = 28

if len(sys.argv) < 2:
    sys.exit(__doc__)
out = Path(sys.argv[1])
files = Path(sys.argv[2] if len(sys.argv) > 2 else "/usr/share/datasets/fashion-mnist")
for folder, name in [("train", "train"), ("test", "t10k")]:
    pictures = gzip.decompress((files / f"{name}-images-idx3-ubyte.gz").read_bytes())[16:]
    classes = gzip.decompress((files / f"{name}-labels-idx1-ubyte.gz").read_bytes())[8:]
    for label in CLASSES:
        (out / folder / label).mkdir(parents=True, exist_ok=True)
    for i, label in enumerate(classes):
        pixels = pictures[i * SIDE * SIDE : (i + 1) * SIDE * SIDE]
        (out / folder / CLASSES[label] / f"{i:05}.pgm").write_bytes(b"P5 %d %d 255\n" % (SIDE, SIDE) + pixels)
