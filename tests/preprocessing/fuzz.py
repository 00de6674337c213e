#!/usr/bin/env python3
"""Compares pictures with Pillow's reading of them: encodings at random, and the same with damage.

    cargo build --example decode
    venv/bin/python tests/preprocessing/fuzz.py target/debug/examples/decode SECONDS [SEED]

Needs what make.py does, and tiffcp (apt-get install libtiff-tools). An undamaged file must be read to within a step of the numbers
that went into it or, where its encoding loses some, of Pillow's. Of a damaged one no less may be seen than Pillow shows, and
where libjpeg warns of a JPEG, so must the reader. Files for which that is not so, and panics, are kept in the current folder and
make the exit status 1. Counted are all.
"""

import collections
import io
import os
import random
import struct
import subprocess
import sys
import tempfile
import time
import warnings
import zlib
from pathlib import Path

import numpy as np
from make import PICTURES, SAMPLINGS, SCANS, cjpeg, encode, orientation, seen, tiff_of, with_adobe_transform
from PIL import Image, ImageOps

BATCH = 60
# Samples that may be further off: what an encoding at the edge of damage has.
SLACK = 0.02


def over_white(rgb, opacity):
    rgb, opacity = rgb.astype(np.int64), opacity.astype(np.int64)
    return np.round((rgb * opacity + 255 * (255 - opacity)) / 255).astype(np.uint8)


def three(samples):
    return np.repeat(samples, 3, axis=2) if samples.shape[2] == 1 else samples


def turned(array, value):
    """An array of pixels, as an orientation of EXIF shows them."""
    return np.asarray(ImageOps.exif_transpose(with_exif(Image.fromarray(array), value)))


def with_exif(image, value):
    image.info["exif"] = orientation(value).tobytes()
    image.getexif()[0x0112] = value
    return image


# Encodings: each gives a file, its ending, and the pixels to see, or None for what Pillow sees.


def jpeg(rng, image):
    way = rng.randrange(6)
    if way < 4:
        options = ["-sample", rng.choice(SAMPLINGS), "-quality", str(rng.choice([5, 50, 85, 100]))]
        options += rng.choice([[], ["-progressive"], ["-arithmetic"], ["-optimize"], ["-scans", rng.choice(list(SCANS))]])
        options += rng.choice([[], ["-restart", f"{rng.randrange(1, 9)}B"], ["-restart", "1"]])
        options += rng.choice([[], [], [], ["-rgb"]])
        data = cjpeg(image, *options)
    else:
        mode = rng.choice(["L", "CMYK", "RGB"])
        options = {"progressive": rng.random() < 0.5, "subsampling": rng.randrange(3)}
        if rng.random() < 0.3:
            options["exif"] = orientation(rng.randrange(1, 9))
        if rng.random() < 0.3:
            options["restart_marker_blocks"] = rng.randrange(1, 9)
        data = encode(image.convert(mode), "JPEG", quality=rng.randrange(1, 101), **options)
        if mode == "CMYK" and rng.random() < 0.5:
            data = with_adobe_transform(data, rng.choice([0, 2]))
    end = rng.random()
    if end < 0.1:
        data += rng.randbytes(rng.randrange(1, 50))
    elif end < 0.2:
        data = data[:2] + b"\xff\xfe" + struct.pack(">H", 7) + b"hello" + data[2:]
    return data, "jpg", None


def png(rng, image):
    rgb = np.asarray(image).astype(np.uint16)
    height, width = rgb.shape[:2]
    colour = rng.choice([0, 2, 3, 4, 6])
    depth = rng.choice({0: [1, 2, 4, 8, 16], 3: [1, 2, 4, 8]}.get(colour, [8, 16]))
    most = (1 << depth) - 1
    grey = rgb[..., 1:2]
    noise = np.frombuffer(rng.randbytes(2 * height * width), "<u2").reshape(height, width, 1)
    samples = {0: grey, 3: grey, 2: rgb, 4: np.dstack([grey, noise & 255]), 6: np.dstack([rgb, noise & 255])}[colour]
    samples = samples * 257 ^ (noise & 255) if depth == 16 else samples >> (8 - depth)
    chunks = []
    if colour == 3:
        palette = np.frombuffer(rng.randbytes(3 * (most + 1)), np.uint8).reshape(-1, 3)
        opacity = np.frombuffer(rng.randbytes(rng.randrange(most + 2)), np.uint8)
        chunks.append((b"PLTE", palette.tobytes()))
        if len(opacity):
            chunks.append((b"tRNS", opacity.tobytes()))
        opacity = np.concatenate([opacity, np.full(most + 1 - len(opacity), 255, np.uint8)])
        expected = over_white(palette[samples[..., 0]], opacity[samples])
    else:
        eight = np.round(samples * 255.0 / most).astype(np.uint8)
        expected = eight
        if colour in (4, 6):
            expected = over_white(eight[..., :-1], eight[..., -1:])
        elif rng.random() < 0.3:
            key = samples[rng.randrange(height), rng.randrange(width)]
            chunks.append((b"tRNS", key.astype(">u2").tobytes()))
            expected = np.where((samples == key).all(axis=2, keepdims=True), 255, eight).astype(np.uint8)
        expected = three(expected)
    if rng.random() < 0.2:
        value = rng.randrange(1, 9)
        chunks.append((b"eXIf", orientation(value).tobytes().removeprefix(b"Exif\0\0")))
        expected = turned(expected, value)

    def rows(part):
        if part.size == 0:
            return b""
        part_height, part_width, channels = part.shape
        if depth == 16:
            lines = part.astype(">u2").view(np.uint8).reshape(part_height, -1)
        elif depth == 8:
            lines = part.astype(np.uint8).reshape(part_height, -1)
        else:
            digits = (part[..., 0, None] >> np.arange(depth - 1, -1, -1)) & 1
            lines = np.packbits(digits.reshape(part_height, -1).astype(np.uint8), axis=1)
        step = max(1, channels * depth // 8)
        data, above = b"", np.zeros(lines.shape[1], np.int32)
        for line in lines.astype(np.int32):
            left, upper_left = np.zeros_like(line), np.zeros_like(line)
            left[step:], upper_left[step:] = line[:-step], above[:-step]
            a, b, c = np.abs(above - upper_left), np.abs(left - upper_left), np.abs(left + above - 2 * upper_left)
            paeth = np.where((a <= b) & (a <= c), left, np.where(b <= c, above, upper_left))
            kind = rng.randrange(5)
            data += bytes([kind]) + ((line - [0 * line, left, above, (left + above) // 2, paeth][kind]) % 256).astype(np.uint8).tobytes()
            above = line
        return data

    interlaced = rng.random() < 0.4
    passes = [(0, 8, 0, 8), (0, 8, 4, 8), (4, 8, 0, 4), (0, 4, 2, 4), (2, 4, 0, 2), (0, 2, 1, 2), (1, 2, 0, 1)]
    parts = [samples[y::dy, x::dx] for y, dy, x, dx in passes] if interlaced else [samples]
    packed = zlib.compress(b"".join(map(rows, parts)), rng.randrange(10))
    cut = rng.randrange(len(packed))

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, int(interlaced))
    body = [(b"IHDR", header), *chunks, (b"IDAT", packed[:cut]), (b"IDAT", packed[cut:]), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in body), "png", expected


def tiff(rng, image):
    """Arrays of whole samples, of one and two bytes, with and without opacity."""
    array = np.asarray(image)[..., : rng.choice([1, 3])]
    tags, expected = {}, three(array)
    interpretation = 1 if array.shape[2] == 1 else 2
    if rng.random() < 0.3:
        opacity = np.frombuffer(rng.randbytes(array.shape[0] * array.shape[1]), np.uint8).reshape(*array.shape[:2], 1)
        kind = rng.choice([1, 2])
        if kind == 1:
            array = np.round(array * (opacity / 255.0)).astype(np.uint8)
            expected = three(array.astype(np.int64) + 255 - opacity).clip(0, 255).astype(np.uint8)
        else:
            expected = three(over_white(array, opacity))
        array, tags = np.dstack([array, opacity]), {"t338": (3, [kind])}
    if interpretation == 1 and not tags and rng.random() < 0.2:
        array, interpretation = 255 - array, 0
    if rng.random() < 0.3:
        array = array.astype(np.uint16) * 257
    if rng.random() < 0.1:
        value = rng.randrange(1, 9)
        tags["t274"], expected = (3, [value]), turned(expected, value)
    tile = rng.choice([None, (16, 16), (32, 16)])
    options = {"planar": rng.random() < 0.5, "rows": rng.randrange(1, 30), "big": rng.random() < 0.2, "tags": tags}
    return tiff_of(array, interpretation, rng.choice("<>"), tile, **options), "tif", expected


def libtiff(rng, image):
    """What libtiff's own program makes of a file."""
    mode = rng.choice(["1", "L", "RGB", "RGB", "RGBA", "CMYK", "P"])
    image = image.convert("RGB").quantize(rng.randrange(2, 257)) if mode == "P" else image.convert(mode)
    if mode == "RGBA":
        image.putalpha(image.getchannel("G"))
    packings = ["none", "lzw", "zip", "packbits"] + {"1": ["g3", "g3:2d", "g3:fill", "g4"], "RGB": ["jpeg", "jpeg:r"], "L": ["jpeg"]}.get(mode, [])
    packings += ["lzw:2", "zip:2"] if mode in ("L", "RGB", "RGBA", "CMYK") else []
    packing = rng.choice(packings)
    options = ["-c", packing, "-p", rng.choice(["contig", "contig", "separate"]), "-f", rng.choice(["lsb2msb", "msb2lsb"])]
    options += [rng.choice(["-B", "-L"])] + (["-8"] if rng.random() < 0.3 else [])
    if rng.random() < 0.4:
        options += ["-t", "-w", str(16 * rng.randrange(1, 4)), "-l", str(16 * rng.randrange(1, 4))]
    else:
        options += ["-s", "-r", str(8 * rng.randrange(1, 8) if "jpeg" in packing else rng.randrange(1, 60))]
    with tempfile.TemporaryDirectory() as folder:
        image.save(f"{folder}/a.tif")
        subprocess.run(["tiffcp", *options, f"{folder}/a.tif", f"{folder}/b.tif"], check=True, capture_output=True)
        data = Path(f"{folder}/b.tif").read_bytes()
    if "jpeg" in packing:
        return data, "tif", None
    return data, "tif", flat(image)


def bmp(rng, image):
    """Depths and packings that Pillow does not write, and those that it does."""
    way = rng.randrange(4)
    rgb = np.asarray(image)
    height, width = rgb.shape[:2]
    top_down = rng.random() < 0.3
    order = slice(None) if top_down else slice(None, None, -1)

    def file(bits, compression, table, rows):
        at = 14 + 40 + len(table)
        size = struct.pack("<IiiHHIIiiII", 40, width, -height if top_down else height, 1, bits, compression, len(rows), 2835, 2835, 0, 0)
        return b"BM" + struct.pack("<IHHI", at + len(rows), 0, 0, at) + size + table + rows, "bmp"

    def padded(lines):
        return b"".join(line.tobytes() + bytes(-len(line.tobytes()) % 4) for line in lines[order])

    if way == 0:
        return encode(image.convert(rng.choice(["RGB", "L", "1", "P", "RGBA"])), "BMP"), "bmp", None
    if way == 1:
        bits = rng.choice([1, 4, 8])
        indices = (rgb[..., 1] >> (8 - bits)).astype(np.uint8)
        colours = np.frombuffer(rng.randbytes(4 << bits), np.uint8).reshape(-1, 4)
        digits = (indices[..., None] >> np.arange(bits - 1, -1, -1)) & 1
        lines = np.packbits(digits.reshape(height, -1), axis=1)
        return *file(bits, 0, colours.tobytes(), padded(lines)), colours[indices][..., 2::-1]
    if way == 2:
        green = rng.choice([5, 6])
        five = [(rgb[..., i] >> (8 - bits)).astype(np.uint16) for i, bits in enumerate([5, green, 5])]
        pixels = five[0] << (5 + green) | five[1] << 5 | five[2]
        table = struct.pack("<III", 0xF800, 0x7E0, 0x1F) if green == 6 else b""
        return *file(16, 3 if table else 0, table, padded(pixels.astype("<u2"))), None
    indices = rgb[..., 1] >> 4
    colours = np.frombuffer(rng.randbytes(4 * 16), np.uint8).reshape(-1, 4)
    top_down, order, rows = False, slice(None, None, -1), b""
    for line in indices[::-1]:
        at = 0
        while at < width:
            run = 1
            while at + run < width and run < 255 and line[at + run] == line[at]:
                run += 1
            rows += bytes([run, line[at]])
            at += run
        rows += b"\0\0"
    table = colours.tobytes() + bytes(4 * 240)
    return *file(8, 1, table, rows + b"\0\1"), colours[indices][..., 2::-1]


def pnm(rng, image):
    rgb = np.asarray(image)
    grey, text = rng.random() < 0.5, rng.random() < 0.5
    height, width = rgb.shape[:2]
    if rng.random() < 0.2:
        bits = (rgb[..., 1] > 110).astype(np.uint8)
        data = " ".join(map(str, bits.ravel())).encode() if text else np.packbits(bits, axis=1).tobytes()
        return b"P%d\n# a comment\n%d %d\n" % (1 if text else 4, width, height) + data, "pbm", three(255 - 255 * bits[..., None])
    most = rng.choice([1, 15, 100, 255, 256, 1023, 65535])
    samples = np.round((rgb[..., 1:2] if grey else rgb) / 255.0 * most).astype(np.uint16)
    data = " ".join(map(str, samples.ravel())).encode() if text else samples.astype(">u2" if most > 255 else "u1").tobytes()
    number = (2 if grey else 3) + (0 if text else 3)
    return b"P%d %d %d\n%d\n" % (number, width, height, most) + data, "ppm", three(np.round(samples * 255.0 / most).astype(np.uint8))


def webp(rng, image):
    options = {"lossless": rng.random() < 0.5, "quality": rng.randrange(1, 101), "method": rng.randrange(7)}
    if rng.random() < 0.3:
        image = image.convert("RGBA")
        image.putalpha(image.getchannel("G"))
        options["exact"] = True
    if rng.random() < 0.3:
        options["exif"] = orientation(rng.randrange(1, 9))
    return encode(image, "WEBP", **options), "webp", None


def gif(rng, image):
    options = {"interlace": rng.randrange(2)}
    if rng.random() < 0.3:
        options["transparency"] = rng.randrange(4)
    return encode(image.quantize(rng.randrange(4, 257)), "GIF", **options), "gif", None


ENCODINGS = [jpeg, jpeg, jpeg, jpeg, png, png, tiff, libtiff, bmp, pnm, webp, gif]


def encoding(rng, photo):
    width, height = rng.randrange(1, 90), rng.randrange(1, 90)
    left, top = rng.randrange(photo.width - width), rng.randrange(photo.height - height)
    image = photo.crop((left, top, left + width, top + height))
    try:
        return rng.choice(ENCODINGS)(rng, image)
    except (subprocess.CalledProcessError, OSError):
        return None  # What the encoder cannot do.


def damaged(rng, data):
    data = bytearray(data)
    way = rng.randrange(10)
    at = rng.randrange(len(data))
    if way == 0:
        return bytes(data[:at])
    if way == 1:
        return bytes(data[:at] + data[at + rng.randrange(1, 20) :])
    if way == 2:
        return bytes(data[:at] + rng.randbytes(rng.randrange(1, 20)) + data[at:])
    if way == 3:
        run = rng.randrange(1, 60)
        data[at : at + run] = bytes(len(data[at : at + run]))
        return bytes(data)
    for _ in range(rng.choice([1, 1, 2, 5])):
        data[rng.randrange(len(data))] = rng.randrange(256)
    return bytes(data)


def flat(image):
    """An image of Pillow's as the pixels to see."""
    if image.mode.startswith("I"):
        return np.repeat(np.clip((np.asarray(image).astype(np.int64) + 128) // 257, 0, 255)[..., None], 3, axis=2)
    if image.has_transparency_data or image.mode == "RGBa":
        rgba = np.asarray(image.convert("RGBA"))
        return over_white(rgba[..., :3], rgba[..., 3:])
    return seen(image)


def pillow(data):
    try:
        image = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
        image.load()
        return flat(image)
    except Exception:
        return None


def shown(found, expected, steps=1):
    """The share of the expected samples that are there."""
    if found is None or found.shape != expected.shape:
        return 0.0
    return (np.abs(found.astype(int) - expected) <= steps).mean()


def libjpeg_warns(data):
    told = subprocess.run(["djpeg", "-outfile", "/dev/null"], input=data, capture_output=True).stderr
    return b"Corrupt JPEG data" in told or b"Premature end" in told


def judge(data, ending, expected, is_damaged, what, why, found):
    """What came of a file, and whether it is right."""
    if what == "died" or "makes its decoder fail" in why:
        return what, False
    theirs = pillow(data) if is_damaged or expected is None else None
    if not is_damaged:
        if expected is None:
            expected = theirs
        if expected is None:
            return f"{what}, not by Pillow", True
        if what != "read":
            return "refused", False
        right = shown(found, expected) >= 1 - 1e-3
        return ("right" if right else "differs") + (", damage told" if why else ""), right and not why
    if expected is None:
        return f"damaged: {what}", True
    # libjpeg smooths blocks of which only a part was read.
    ours, theirs = shown(found, expected, 16), shown(theirs, expected, 16)
    less = ours < theirs - SLACK
    silent = ending == "jpg" and what == "read" and not why and ours < 1 - SLACK and libjpeg_warns(data)
    told = what if what != "read" else "told" if why else "whole" if shown(found, expected) > 1 - 1e-3 else "not told"
    verdict = f"damaged: {told}"
    if less:
        return f"{verdict}, less than Pillow", ending != "jpg"
    if silent:
        return f"{verdict}, though libjpeg warns", False
    return verdict, True


def main():
    decode, seconds = Path(sys.argv[1]).resolve(), float(sys.argv[2])
    rng = random.Random(int(sys.argv[3]) if len(sys.argv) > 3 else 1)
    warnings.simplefilter("ignore")
    # libtiff's complaints about damaged files.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    photo = Image.open(PICTURES / "coffee.png").convert("RGB")
    counts, wrong, end = collections.Counter(), 0, time.monotonic() + seconds
    while time.monotonic() < end:
        with tempfile.TemporaryDirectory() as folder:
            files = {}
            while len(files) < BATCH:
                if (made := encoding(rng, photo)) is None:
                    continue
                data, ending, expected = made
                is_damaged = rng.random() < 0.5
                if is_damaged:
                    expected, data = (pillow(data) if expected is None else expected), damaged(rng, data)
                path = f"{folder}/{len(files)}.{ending}"
                files[path] = (data, ending, expected, is_damaged)
                Path(path).write_bytes(data)
            run = subprocess.run([decode, *files], capture_output=True, text=True, timeout=600)
            told = {line.split("\t")[0]: line.split("\t")[1:] for line in run.stdout.splitlines()}
            for path, (data, ending, expected, is_damaged) in files.items():
                what, why = told.get(path, ["died", run.stderr[-300:]])
                found = None
                if what == "read":
                    bytes_ = Path(path + ".rgb").read_bytes()
                    width, height = np.frombuffer(bytes_[:8], "<u4")
                    found = np.frombuffer(bytes_[8:], np.uint8).reshape(height, width, 3)
                verdict, right = judge(data, ending, expected, is_damaged, what, why, found)
                counts[ending, verdict] += 1
                if not right:
                    wrong += 1
                    name = f"differs-{wrong}.{ending}"
                    Path(name).write_bytes(data)
                    print(f"{name}: {verdict} {why}", flush=True)
    for (kind, verdict), count in sorted(counts.items()):
        print(f"{count:7} {kind}: {verdict}")
    print(f"{sum(counts.values())} files, {wrong} wrong")
    sys.exit(wrong > 0)


if __name__ == "__main__":
    main()
