#!/usr/bin/env python3
"""Compares pictures with Pillow's reading of them: encodings at random, and the same with bytes overwritten.

    cargo build --example decode
    venv/bin/python tests/preprocessing/fuzz.py target/debug/examples/decode SECONDS [SEED]

Needs what make.py does. Counted are files that both read alike (at most 0.1 % of samples more than a step apart), those that are
known to be damaged, and those that only one of both reads. A file that is not damaged and differs, or a panic, is kept in the
current folder and makes the exit status 1.
"""

import collections
import io
import random
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
from make import PICTURES, SAMPLINGS, SCANS, cjpeg, encode, seen, tiff_of
from PIL import Image, ImageOps

BATCH = 40


def encoding(rng, photo):
    """A picture of some size in some way, its ending, and whether Pillow was written to read it to the bit."""
    width, height = rng.randrange(1, 90), rng.randrange(1, 90)
    left, top = rng.randrange(photo.width - width), rng.randrange(photo.height - height)
    image = photo.crop((left, top, left + width, top + height))
    way = rng.randrange(8)
    if way < 4:
        options = ["-sample", rng.choice(SAMPLINGS), "-quality", str(rng.choice([5, 50, 85, 100]))]
        options += rng.choice([[], ["-progressive"], ["-arithmetic"], ["-optimize"], ["-scans", rng.choice(list(SCANS))]])
        options += rng.choice([[], ["-restart", f"{rng.randrange(1, 9)}B"], ["-restart", "1"]])
        try:
            return cjpeg(image, *options), "jpg"
        except subprocess.CalledProcessError:
            return None
    if way == 4:
        mode = rng.choice(["L", "CMYK", "RGB"])
        return encode(image.convert(mode), "JPEG", quality=rng.randrange(1, 101), progressive=rng.random() < 0.5), "jpg"
    if way == 5:
        array = np.asarray(image)[..., : rng.choice([1, 3])]
        if rng.random() < 0.3:
            array = array.astype(np.uint16) * 256 + rng.randrange(256)
        tile = rng.choice([None, (16, 16), (32, 16)])
        order = rng.choice("<>")
        return tiff_of(array, 1 if array.shape[2] == 1 else 2, order, tile, rng.random() < 0.5, rows=rng.randrange(1, 30)), "tif"
    if way == 6:
        packing = rng.choice([None, "tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg", "group3", "group4"])
        mode = "1" if packing in ("group3", "group4") else rng.choice(["L", "RGB"])
        return encode(image.convert(mode), "TIFF", compression=packing), "tif"
    kind = rng.choice(["PNG", "GIF", "BMP", "PPM", "WEBP"])
    image = image.convert(rng.choice(["RGB", "L", "1"])) if kind != "GIF" else image.quantize(rng.randrange(2, 257))
    return encode(image, kind), kind.lower()


def overwritten(rng, data):
    data = bytearray(data)
    for _ in range(rng.choice([1, 1, 2, 5])):
        data[rng.randrange(len(data))] = rng.randrange(256)
    return bytes(data[: rng.randrange(len(data))] if rng.random() < 0.1 else data)


def pillow(data):
    try:
        image = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
        image.load()
    except Exception:
        return None
    if image.mode.startswith("I"):
        return np.repeat(np.clip((np.asarray(image).astype(np.int64) + 128) // 257, 0, 255)[..., None], 3, axis=2)
    if image.has_transparency_data:
        rgba = np.asarray(image.convert("RGBA")).astype(np.int64)
        return (rgba[..., :3] * rgba[..., 3:] + 255 * (255 - rgba[..., 3:]) + 127) // 255
    return seen(image)


def main():
    decode, seconds = Path(sys.argv[1]).resolve(), float(sys.argv[2])
    rng = random.Random(int(sys.argv[3]) if len(sys.argv) > 3 else 1)
    warnings.simplefilter("ignore")
    photo = Image.open(PICTURES / "coffee.png").convert("RGB")
    counts, wrong, end = collections.Counter(), 0, time.monotonic() + seconds
    while time.monotonic() < end:
        with tempfile.TemporaryDirectory() as folder:
            files = {}
            while len(files) < BATCH:
                if (found := encoding(rng, photo)) is None:
                    continue
                data, ending = found
                damaged = rng.random() < 0.6
                path = f"{folder}/{len(files)}.{ending}"
                files[path] = (overwritten(rng, data) if damaged else data, damaged)
                Path(path).write_bytes(files[path][0])
            run = subprocess.run([decode, *files], capture_output=True, text=True, timeout=600)
            told = dict((line.split("\t")[0], line.split("\t")[1:]) for line in run.stdout.splitlines())
            for path, (data, damaged) in files.items():
                expected = pillow(data)
                what, why = told.get(path, ["died", run.stderr[-300:]])
                kind = path.rsplit(".")[-1] + (" overwritten" if damaged else "")
                verdict = what
                if what == "read":
                    found = Path(path + ".rgb").read_bytes()
                    width, height = np.frombuffer(found[:8], "<u4")
                    found = np.frombuffer(found[8:], np.uint8).reshape(height, width, 3)
                    if expected is None:
                        verdict = "read, not by Pillow"
                    elif found.shape != expected.shape or (np.abs(found - expected.astype(int)) > 1).mean() > 1e-3:
                        verdict = "differs, damage told" if why else "differs"
                    else:
                        verdict = "alike, damage told" if why else "alike"
                elif what == "refused":
                    verdict = "refused by both" if expected is None else "refused, read by Pillow"
                bad = what == "died" or "makes its decoder fail" in why
                bad |= not damaged and (verdict.startswith(("differs", "refused")) or "told" in verdict)
                counts[kind, verdict] += 1
                if bad:
                    wrong += 1
                    name = f"differs-{wrong}.{path.rsplit('.')[-1]}"
                    Path(name).write_bytes(data)
                    print(f"{name}: {verdict} {why}", flush=True)
    for (kind, verdict), count in sorted(counts.items()):
        print(f"{count:7} {kind}: {verdict}")
    print(f"{sum(counts.values())} files, {wrong} wrong")
    sys.exit(wrong > 0)


if __name__ == "__main__":
    main()
