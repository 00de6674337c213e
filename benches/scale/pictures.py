#!/usr/bin/env python3
"""Makes JPEGs of about 640×480 that compress as photos do: smooth shades, edges, and grain.

    python3 -m venv venv && venv/bin/pip install numpy==2.4.6 pillow==13.0.0
    venv/bin/python benches/scale/pictures.py FOLDER [COUNT]      # 2000 by default; the same ones each time
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw


def picture(seed):
    random = np.random.default_rng(seed)
    width, height = int(random.integers(600, 681)), int(random.integers(450, 511))
    shades = Image.fromarray(random.integers(0, 256, (6, 8, 3), dtype=np.uint8)).resize((width, height), Image.BICUBIC)
    draw = ImageDraw.Draw(shades)
    for _ in range(24):
        x, y, w, h = random.integers(0, width), random.integers(0, height), *random.integers(10, 160, 2)
        shape = draw.ellipse if random.random() < 0.5 else draw.rectangle
        shape([x, y, x + w, y + h], fill=tuple(int(c) for c in random.integers(0, 256, 3)))
    texture = Image.fromarray(random.integers(0, 256, (height // 3, width // 3), dtype=np.uint8)).resize((width, height), Image.BILINEAR)
    grain = random.normal(0, 4, (height, width, 1)) + (np.asarray(texture, np.float32)[..., None] - 128) * 0.12
    return Image.fromarray(np.clip(np.asarray(shades, np.float32) + grain, 0, 255).astype(np.uint8))


def main():
    folder, count = Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 2000
    folder.mkdir(parents=True, exist_ok=True)
    for seed in range(count):
        picture(seed).save(folder / f"{seed:05}.jpg", quality=85)
    size = sum(file.stat().st_size for file in folder.glob("*.jpg"))
    print(f"{count} pictures, {size / count / 1000:.0f} kB each")


main()
