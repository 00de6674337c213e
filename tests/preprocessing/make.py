#!/usr/bin/env python3
"""Makes tests/data/preprocessing: small pictures of every kind, and what Pillow makes of them.

    apt-get install libjpeg-turbo-progs
    python3 -m venv venv && venv/bin/pip install pillow numpy imagecodecs
    venv/bin/python tests/preprocessing/make.py

What it writes is committed, so that `cargo test --test preprocessing` needs no Python:

- kinds/: one small picture for each kind of file, cut from examples/pictures/coffee.png.
- kinds.safetensors: for each of them, under its file name, the RGB bytes (rows, columns, 3) that a reader
  should see: Pillow's `open`, `exif_transpose`, laid over white, `convert("RGB")`. Kinds that Pillow does not
  read at full depth are computed with NumPy from the numbers that went into the file.
- damaged/ and damaged.safetensors: JPEGs of which something is lost, and as much as libjpeg recovers.
- sizes.safetensors: noise of odd sizes (`noise/ROWSxCOLUMNS`) and the network's input for it
  (`torchvision/ROWSxCOLUMNS/RESIZE/CROP` and `caffe/…`), computed line for line as torchvision's PIL path does.
- unread/: kinds of files that are not read, and say so.
- bombs/: files of a few bytes that claim billions of pixels, or (dense.*) as many as are read at all.
- dense/: large pictures of one colour, which really are that small.
- photos/: the photographs of examples/pictures as RGB after resize and crop, before normalising.
"""

import io
import json
import random
import struct
import subprocess
import tempfile
import zlib
from pathlib import Path

import imagecodecs
import numpy as np
import PIL
from PIL import Image, ImageFile, ImageOps

ROOT = Path(__file__).resolve().parents[2]
PICTURES = ROOT / "examples/pictures"
DATA = ROOT / "tests/data/preprocessing"
MEAN = np.array([0.485, 0.456, 0.406], np.float32)
STD = np.array([0.229, 0.224, 0.225], np.float32)
CAFFE_MEAN = np.array([104.007, 116.669, 122.679], np.float32)


def safetensors(path, tensors):
    names = {np.dtype(np.uint8): "U8", np.dtype(np.float32): "F32"}
    header, data = {"__metadata__": {"pillow": PIL.__version__, "numpy": np.__version__}}, b""
    for name, array in sorted(tensors.items()):
        array = np.ascontiguousarray(array)
        start, data = len(data), data + array.tobytes()
        header[name] = {"dtype": names[array.dtype], "shape": array.shape, "data_offsets": [start, len(data)]}
    header = json.dumps(header).encode()
    header += b" " * (-len(header) % 8)
    path.write_bytes(struct.pack("<Q", len(header)) + header + data)


# torchvision.transforms.functional on PIL images: resize, center_crop, to_tensor and normalize.


def resize(image, size):
    """An int: the shorter side, as `transforms.Resize(size)`; a pair: rows and columns."""
    if isinstance(size, int):
        w, h = image.size
        short, long = (w, h) if w <= h else (h, w)
        new_short, new_long = size, int(size * long / short)
        new_w, new_h = (new_short, new_long) if w <= h else (new_long, new_short)
        size = [new_h, new_w]
    return image.resize(tuple(size[::-1]), Image.BILINEAR)


def center_crop(image, crop_height, crop_width):
    image_width, image_height = image.size
    if crop_width > image_width or crop_height > image_height:
        padding_ltrb = (
            (crop_width - image_width) // 2 if crop_width > image_width else 0,
            (crop_height - image_height) // 2 if crop_height > image_height else 0,
            (crop_width - image_width + 1) // 2 if crop_width > image_width else 0,
            (crop_height - image_height + 1) // 2 if crop_height > image_height else 0,
        )
        image = ImageOps.expand(image, border=padding_ltrb, fill=0)
        image_width, image_height = image.size
    crop_top = int(round((image_height - crop_height) / 2.0))
    crop_left = int(round((image_width - crop_width) / 2.0))
    return image.crop((crop_left, crop_top, crop_left + crop_width, crop_top + crop_height))


def torchvision(image):
    chw = np.asarray(image).transpose(2, 0, 1).astype(np.float32) / np.float32(255)
    return (chw - MEAN[:, None, None]) / STD[:, None, None]


def caffe(image):
    bgr = np.asarray(image).transpose(2, 0, 1)[::-1].astype(np.float32)
    return bgr - CAFFE_MEAN[:, None, None]


# Kinds of files that Pillow does not write.


def png(array, colour_type, depth, chunks=()):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows, columns = array.shape[:2]
    lines = b"".join(b"\0" + row.astype(f">u{depth // 8}").tobytes() for row in array)
    header = struct.pack(">IIBBBBB", columns, rows, depth, colour_type, 0, 0, 0)
    body = b"".join(chunk(kind, data) for kind, data in chunks)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + body + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")


def tiff(array, sample_format):
    """Uncompressed RGB, one strip, little-endian."""
    rows, columns, channels = array.shape
    data = array.astype(array.dtype.newbyteorder("<")).tobytes()
    bits = array.dtype.itemsize * 8
    tags = [
        (256, 3, [columns]), (257, 3, [rows]), (258, 3, [bits] * channels), (259, 3, [1]), (262, 3, [2]),
        (273, 4, [8]), (277, 3, [channels]), (278, 3, [rows]), (279, 4, [len(data)]), (339, 3, [sample_format] * channels),
    ]  # fmt: skip
    at = 8 + len(data)
    extra_at = at + 2 + 12 * len(tags) + 4
    entries, extra = b"", b""
    for tag, kind, values in tags:
        value = struct.pack("<" + {3: "H", 4: "I"}[kind] * len(values), *values)
        if len(value) > 4:
            value, extra = struct.pack("<I", extra_at + len(extra)), extra + value
        entries += struct.pack("<HHI", tag, kind, len(values)) + value.ljust(4, b"\0")
    return b"II*\0" + struct.pack("<I", at) + data + struct.pack("<H", len(tags)) + entries + b"\0" * 4 + extra


def palette_tiff(image, bits, order, tile=None):
    """An uncompressed picture of indices of so many bits, "<" little-endian or ">"."""
    indices = np.asarray(image)
    rows, columns = indices.shape
    whole = tile or (rows, columns)
    padded = np.zeros((-(-rows // whole[0]) * whole[0], -(-columns // whole[1]) * whole[1]), np.uint8)
    padded[:rows, :columns] = indices

    def pack(block):
        digits = np.unpackbits(block[..., None], axis=2)[..., 8 - bits :]
        return np.packbits(digits.reshape(len(block), -1), axis=1).tobytes()

    tops, lefts = range(0, rows, whole[0]), range(0, columns, whole[1])
    blocks = [pack(padded[top : top + whole[0], left : left + whole[1]]) for top in tops for left in lefts]
    table = np.zeros((3, 1 << bits), np.uint16)
    used = np.array(image.getpalette(), np.uint16).reshape(-1, 3)[: 1 << bits].T
    table[:, : used.shape[1]] = used * 257
    starts = [8 + sum(map(len, blocks[:i])) for i in range(len(blocks))]
    places, sizes = [(4, starts), (4, [len(block) for block in blocks])]
    tags = {256: (3, [columns]), 257: (3, [rows]), 258: (3, [bits]), 259: (3, [1]), 262: (3, [3]), 277: (3, [1])}
    tags |= {320: (3, table.ravel().tolist())}
    if tile:
        tags |= {322: (3, [tile[1]]), 323: (3, [tile[0]]), 324: places, 325: sizes}
    else:
        tags |= {273: places, 278: (3, [rows]), 279: sizes}
    at = 8 + sum(map(len, blocks))
    at += at % 2
    extra_at = at + 2 + 12 * len(tags) + 4
    entries, extra = b"", b""
    for tag, (kind, values) in sorted(tags.items()):
        value = struct.pack(order + {3: "H", 4: "I"}[kind] * len(values), *values)
        if len(value) > 4:
            value, extra = struct.pack(order + "I", extra_at + len(extra)), extra + value
        entries += struct.pack(order + "HHI", tag, kind, len(values)) + value.ljust(4, b"\0")
    start = {"<": b"II*\0", ">": b"MM\0*"}[order] + struct.pack(order + "I", at)
    data = (start + b"".join(blocks)).ljust(at, b"\0")
    return data + struct.pack(order + "H", len(tags)) + entries + b"\0" * 4 + extra


# Which components are sampled how finely, and how a scan brings what of them.
SAMPLINGS = [
    "1x1,1x1,1x1", "2x1,1x1,1x1", "1x2,1x1,1x1", "2x2,1x1,1x1", "4x1,1x1,1x1", "1x4,1x1,1x1", "4x2,1x1,1x1", "2x4,1x1,1x1",
    "3x1,1x1,1x1", "1x3,1x1,1x1", "3x2,1x1,1x1", "2x2,2x1,1x2", "2x2,1x2,1x2", "2x2,2x1,2x1", "2x1,1x1,2x1", "4x1,2x1,1x1",
    "1x1,2x2,1x1", "1x1,2x1,1x2", "2x1,2x2,1x1", "1x2,2x1,1x1", "1x1,3x1,1x1", "1x1,1x1,2x2", "1x1,1x1,4x2", "3x1,3x1,1x1",
]  # fmt: skip
SCANS = {
    "each": "0;1;2;",
    "luma": "0;1 2;",
    "two": "0 1;2;",
    "crossed": "0 2;1;",
    "progressive": "0: 0-0,0,0;1: 0-0,0,0;2: 0-0,0,0;0: 1-63,0,0;1: 1-63,0,0;2: 1-63,0,0;",
    "refined": "0 1: 0-0,0,1;2: 0-0,0,1;0: 1-5,0,2;2: 1-63,0,1;1: 1-63,0,1;0: 6-63,0,2;0: 1-63,2,1;0 1 2: 0-0,1,0;"
    "2: 1-63,1,0;1: 1-63,1,0;0: 1-63,1,0;",
}
WAYS = [
    ["-restart", "1B"], ["-progressive"], ["-arithmetic"], ["-scans", "each"], ["-scans", "luma"], ["-scans", "two"],
    ["-scans", "crossed", "-restart", "2B"], ["-scans", "progressive"], ["-scans", "refined"], ["-arithmetic", "-progressive"],
    ["-arithmetic", "-scans", "two", "-restart", "1"],
]  # fmt: skip


def cjpeg(image, *options):
    """What libjpeg-turbo's own program writes; `-scans` takes a name of SCANS."""
    options = list(options)
    with tempfile.NamedTemporaryFile("w", suffix=".scans") as script:
        if "-scans" in options:
            at = options.index("-scans") + 1
            script.write(SCANS[options[at]].replace(";", ";\n"))
            script.flush()
            options[at] = script.name
        run = subprocess.run(["cjpeg", "-quality", "85", *options], input=encode(image, "PPM"), capture_output=True, check=True)
    return run.stdout


def legal_jpegs(rgb, grey, cmyk):
    """Each sampling with two ways of bringing it, and each way of telling colours."""
    files = {}
    for index, sampling in enumerate(SAMPLINGS):
        for way in [WAYS[index % len(WAYS)], WAYS[(3 * index + 5) % len(WAYS)]]:
            name = f"jpeg-{sampling}-{'-'.join(way)}".replace("--", "-").replace(",", "-")
            files[name] = cjpeg(rgb, "-sample", sampling, *way)
    for sampling in ["1x1", "2x2", "1x1,2x2,1x1"]:
        adobe = cjpeg(rgb, "-rgb", "-sample", sampling)
        files[f"jpeg-adobe-rgb-{sampling.replace(',', '-')}"] = adobe
        files[f"jpeg-ids-rgb-{sampling.replace(',', '-')}"] = without_adobe(adobe)
    whole = cjpeg(rgb, "-sample", "2x2", "-restart", "1B")
    frame, end = whole.index(b"\xff\xc0"), len(whole) - 2
    files |= {
        "jpeg-adobe-ycc": with_adobe_transform(without_jfif(cjpeg(rgb, "-rgb")), 1),
        "jpeg-grey-2x2": cjpeg(grey, "-grayscale", "-sample", "2x2"),
        "jpeg-tables-of-16-bits": cjpeg(rgb, "-quality", "2"),
        "jpeg-cmyk-420": encode(cmyk, "JPEG", quality=90, subsampling=2),
        "jpeg-ycck-420": with_adobe_transform(encode(cmyk, "JPEG", quality=90, subsampling=2), 2),
        "jpeg-ycck-progressive": with_adobe_transform(encode(cmyk, "JPEG", quality=90, progressive=True), 2),
        "jpeg-no-end": whole[:end],
        "jpeg-telephone": whole[:end] + b"\0\0\1\x0a\x0e\0\0\0Image_UTC_Data1234567890\x23\0\0\0SEFT",
        "jpeg-trailing": whole + b"\0\xff\xd8 and more",
        "jpeg-junk": whole[:20] + b"\0\xff\0\x03\x20" + whole[20:],
        "jpeg-fill": whole[:frame] + b"\xff" * 7 + whole[frame:end] + b"\xff" * 5 + whole[end:],
        "jpeg-broken-exif": whole[:2] + b"\xff\xe1" + struct.pack(">H", 2 + len(BROKEN_EXIF)) + BROKEN_EXIF + whole[2:],
        "jpeg-xmp6": whole[:2] + b"\xff\xe1" + struct.pack(">H", 2 + len(XMP_SEGMENT)) + XMP_SEGMENT + whole[2:],
    }  # fmt: skip
    return {f"{name}.jpg": data for name, data in files.items()}


XMP = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description '
    b'rdf:about="" xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6"/></rdf:RDF></x:xmpmeta>'
)
XMP_SEGMENT = b"http://ns.adobe.com/xap/1.0/\0" + XMP
# Two entries, of which the file has one.
BROKEN_EXIF = b"Exif\0\0MM\0*\0\0\0\x08\0\x02" + struct.pack(">HHIHH", 274, 3, 1, 6, 0) + b"\1\x0f"


def damaged_jpegs(photo):
    """Bytes of the scans overwritten, so that libjpeg says so and goes on."""
    rng, files = random.Random(19), {}
    image = photo.crop((100, 80, 164, 128))
    ways = [[], ["-restart", "2B"], ["-restart", "1"], ["-progressive"], ["-scans", "luma"], ["-scans", "refined"]]
    ways += [["-arithmetic", *way] for way in ([], ["-restart", "2B"], ["-restart", "1"], ["-progressive"])]
    for index, way in enumerate(ways):
        whole = cjpeg(image, "-sample", "2x2" if index % 2 else "2x1", *way)
        count = 0
        while count < 2:
            data = bytearray(whole)
            scan = data.index(b"\xff\xda") + 14
            for _ in range(rng.choice([1, 3])):
                data[rng.randrange(scan, len(data) - 2)] = rng.randrange(256)
            if "-arithmetic" in way and "-progressive" not in way and count == 1:
                data[-2] = 0xBC  # No end marker: two more bytes of data, which Pillow may not need.
            told = subprocess.run(["djpeg", "-outfile", "/dev/null"], input=bytes(data), capture_output=True).stderr
            if not told.startswith(b"Corrupt JPEG data"):
                continue
            try:
                seen = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
            except OSError:
                continue
            files[f"{'-'.join(way).strip('-').replace('--', '-') or 'plain'}-{count}.jpg"] = (bytes(data), seen)
            count += 1
    return files


def without_jfif(jpeg):
    at = jpeg.find(b"\xff\xe0")
    return jpeg if at < 0 else jpeg[:at] + jpeg[at + 2 + struct.unpack_from(">H", jpeg, at + 2)[0] :]


def without_adobe(jpeg):
    at = jpeg.index(b"\xff\xee")
    return jpeg[:at] + jpeg[at + 2 + struct.unpack_from(">H", jpeg, at + 2)[0] :]


def with_adobe_transform(jpeg, transform):
    at = jpeg.index(b"\xff\xee") + 4 + 11
    return jpeg[:at] + bytes([transform]) + jpeg[at + 1 :]


def encode(image, kind, **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def orientation(value):
    exif = Image.Exif()
    exif[0x0112] = value
    return exif


def kinds():
    """File name → bytes, and, where it is not Pillow's reading of them, the RGB bytes to expect."""
    photo = Image.open(PICTURES / "coffee.png").convert("RGB")
    rgb = photo.crop((180, 120, 209, 139))  # 29 × 19: no multiple of a JPEG block
    grey = rgb.convert("L")
    rows, columns = np.mgrid[: rgb.height, : rgb.width]
    alpha = Image.fromarray(((rows * 13 + columns * 29) % 256).astype(np.uint8))
    rgba = rgb.copy()
    rgba.putalpha(alpha)
    grey_alpha = Image.merge("LA", (grey, alpha))
    palette = rgb.quantize(40)
    rng = np.random.default_rng(1)
    low = rng.integers(0, 256, (rgb.height, rgb.width, 4), np.uint16)
    deep = np.dstack([np.asarray(rgb), np.asarray(alpha)]).astype(np.uint16) * 256 + low

    def eight(samples):
        return np.round(samples / 257.0).astype(np.uint8)

    def over_white(samples):
        eights = eight(samples).astype(np.int64)
        colours, opacity = eights[..., :-1], eights[..., -1:]
        return np.round((colours * opacity + 255 * (255 - opacity)) / 255).astype(np.uint8)

    def three(samples):
        return np.repeat(samples, 3, axis=2)

    floats = (np.asarray(rgb) / 255.0 * 1.5 - 0.25).astype(np.float32)
    ycck = np.dstack([np.asarray(rgb.convert("YCbCr")), 255 - np.asarray(alpha) // 2])
    cmyk = rgb.convert("CMYK")
    cmyk = Image.merge("CMYK", (*cmyk.split()[:3], alpha.point(lambda v: v // 2)))

    png16 = {
        "png-grey16": (png(deep[..., :1], 0, 16), three(eight(deep[..., :1]))),
        "png-rgb16": (png(deep[..., :3], 2, 16), eight(deep[..., :3])),
        "png-grey-alpha16": (png(deep[..., [0, 3]], 4, 16), three(over_white(deep[..., [0, 3]]))),
        "png-rgba16": (png(deep, 6, 16), over_white(deep)),
    }
    files = {f"{name}.png": (data, seen) for name, (data, seen) in png16.items()}
    files |= {
        "tiff-rgb16.tif": (tiff(deep[..., :3], 1), eight(deep[..., :3])),
        "tiff-float.tif": (tiff(floats, 3), np.round(np.clip(floats, 0, 1) * 255).astype(np.uint8)),
        "pnm-rgb16.ppm": (b"P6 29 19 65535\n" + deep[..., :3].astype(">u2").tobytes(), eight(deep[..., :3])),
        "tiff-grey16.tif": (encode(Image.fromarray(deep[..., 0]), "TIFF"), three(eight(deep[..., :1]))),
    }
    clear = {"transparency": 5}
    plain = {
        "png-rgb.png": encode(rgb, "PNG"),
        "png-rgba.png": encode(rgba, "PNG"),
        "png-grey.png": encode(grey, "PNG"),
        "png-grey-alpha.png": encode(grey_alpha, "PNG"),
        "png-bilevel.png": encode(grey.convert("1"), "PNG"),
        "png-palette.png": encode(palette, "PNG"),
        "png-palette2.png": encode(rgb.quantize(4), "PNG", bits=2),
        "png-palette-clear.png": encode(palette, "PNG", **clear),
        "png-rgb-clear.png": encode(rgb, "PNG", transparency=rgb.getpixel((3, 3))),
        "png-animated.png": encode(rgb, "PNG", save_all=True, append_images=[rgb.transpose(Image.ROTATE_180)]),
        "png-exif6.png": encode(rgb, "PNG", exif=orientation(6)),
        "jpeg-444.jpg": encode(rgb, "JPEG", quality=90, subsampling=0),
        "jpeg-422.jpg": encode(rgb, "JPEG", quality=90, subsampling=1),
        "jpeg-420.jpg": encode(rgb, "JPEG", quality=90, subsampling=2),
        "jpeg-progressive.jpg": encode(rgb, "JPEG", quality=90, progressive=True),
        "jpeg-restarts.jpg": encode(rgb, "JPEG", quality=90, restart_marker_blocks=1),
        "jpeg-grey.jpg": encode(grey, "JPEG", quality=90),
        "jpeg-rgb.jpg": encode(rgb, "JPEG", quality=90, keep_rgb=True),
        "jpeg-cmyk.jpg": encode(cmyk, "JPEG", quality=90),
        "jpeg-cmyk-plain.jpg": without_adobe(encode(cmyk, "JPEG", quality=90)),
        # Pillow stores four channels inverted, hence the complement.
        "jpeg-ycck.jpg": with_adobe_transform(encode(Image.fromarray(255 - ycck, "CMYK"), "JPEG", quality=90), 2),
        "gif.gif": encode(palette, "GIF"),
        "gif-clear.gif": encode(palette, "GIF", **clear),
        "gif-animated.gif": encode(palette, "GIF", save_all=True, append_images=[palette.transpose(Image.ROTATE_180)]),
        "bmp-rgb.bmp": encode(rgb, "BMP"),
        "bmp-palette.bmp": encode(palette, "BMP"),
        "bmp-bilevel.bmp": encode(grey.convert("1"), "BMP"),
        "tiff-rgb.tif": encode(rgb, "TIFF"),
        "tiff-rgba.tif": encode(rgba, "TIFF"),
        "tiff-grey-lzw.tif": encode(grey, "TIFF", compression="tiff_lzw"),
        "tiff-rgb-deflate.tif": encode(rgb, "TIFF", compression="tiff_adobe_deflate"),
        "tiff-bilevel-fax.tif": encode(grey.convert("1"), "TIFF", compression="group4"),
        "tiff-cmyk.tif": encode(cmyk, "TIFF"),
        "tiff-exif6.tif": encode(rgb, "TIFF", tiffinfo={274: 6}),
        "tiff-palette.tif": encode(palette, "TIFF"),
        "tiff-palette-lzw.tif": encode(palette, "TIFF", compression="tiff_lzw", tiffinfo={274: 6}),
        "tiff-palette1.tif": palette_tiff(rgb.quantize(2), 1, "<"),
        "tiff-palette2.tif": palette_tiff(rgb.quantize(4), 2, "<"),
        "tiff-palette4.tif": palette_tiff(rgb.quantize(13), 4, ">"),
        "tiff-palette4-tiles.tif": palette_tiff(rgb.quantize(16), 4, "<", tile=(16, 16)),
        "webp-lossy.webp": encode(rgb, "WEBP", quality=90),
        "webp-lossy-alpha.webp": encode(rgba, "WEBP", quality=90),
        "webp-lossless.webp": encode(rgb, "WEBP", lossless=True),
        "webp-lossless-alpha.webp": encode(rgba, "WEBP", lossless=True, exact=True),
        "webp-animated.webp": encode(rgb, "WEBP", lossless=True, save_all=True, append_images=[rgb.transpose(Image.ROTATE_180)]),
        "webp-exif6.webp": encode(rgb, "WEBP", lossless=True, exif=orientation(6)),
        "pnm-rgb.ppm": encode(rgb, "PPM"),
        "pnm-grey.pgm": encode(grey, "PPM"),
        "pnm-bilevel.pbm": encode(grey.convert("1"), "PPM"),
        "pnm-ascii.ppm": b"P3 29 19 255\n" + " ".join(map(str, np.asarray(rgb).ravel())).encode() + b"\n",
    }  # fmt: skip
    plain |= legal_jpegs(rgb, grey, cmyk) | oriented(rgb)
    for value in range(1, 9):
        plain[f"jpeg-exif{value}.jpg"] = encode(rgb, "JPEG", quality=90, exif=orientation(value))
    for name, data in plain.items():
        # Nothing of the picture is missing, which Pillow does not see.
        ImageFile.LOAD_TRUNCATED_IMAGES = name in ("jpeg-no-end.jpg", "jpeg-telephone.jpg")
        image = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
        if image.has_transparency_data:
            image = image.convert("RGBA")
            over = Image.new("RGB", image.size, "white")
            over.paste(image, mask=image.getchannel("A"))
            image = over
        files[name] = (data, seen(image))
    return files | tiffs(rgb, alpha, deep, floats)


def seen(image):
    """The bytes of an image without transparency. Pillow's CMYK loses more than rounding does."""
    if image.mode != "CMYK":
        return np.asarray(image.convert("RGB"))
    paper = 255 - np.asarray(image).astype(np.uint32)
    return ((paper[..., :3] * paper[..., 3:] + 127) // 255).astype(np.uint8)


def oriented(rgb):
    """Every place in which an orientation can stand."""
    exif = orientation(6).tobytes()
    bare = exif.removeprefix(b"Exif\0\0")
    digits = bare.hex().encode()
    lines = b"\n".join(digits[at : at + 72] for at in range(0, len(digits), 72))
    profile = b"\nexif\n%8d\n" % len(bare) + lines + b"\n"
    samples = np.asarray(rgb)
    keyed = b"Raw profile type exif\0"
    text = b"XML:com.adobe.xmp\0\0\0\0\0" + XMP
    packed = b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(XMP)
    element = XMP.replace(b' tiff:Orientation="6"/>', b"><tiff:Orientation>8</tiff:Orientation></rdf:Description>")
    webp = encode(rgb, "WEBP", lossless=True, exif=orientation(6))
    at = webp.index(b"EXIF") + 8
    prefixed = bytearray(webp)
    if webp[at : at + 6] != b"Exif\0\0":
        prefixed[at:at] = b"Exif\0\0"
        struct.pack_into("<I", prefixed, at - 4, struct.unpack_from("<I", webp, at - 4)[0] + 6)
        struct.pack_into("<I", prefixed, 4, len(prefixed) - 8)
    return {
        "png-profile6.png": png(samples, 2, 8, [(b"zTXt", keyed + b"\0" + zlib.compress(profile))]),
        "png-profile6-plain.png": png(samples, 2, 8, [(b"tEXt", keyed + profile)]),
        "png-xmp6.png": png(samples, 2, 8, [(b"iTXt", text)]),
        "png-xmp6-packed.png": png(samples, 2, 8, [(b"iTXt", packed)]),
        "png-xmp8-element.png": png(samples, 2, 8, [(b"iTXt", text.replace(XMP, element))]),
        "png-gamma.png": png(samples, 2, 8, [(b"gAMA", struct.pack(">I", 100000))]),
        "webp-exif6-prefixed.webp": bytes(prefixed),
        "webp-xmp6.webp": encode(rgb, "WEBP", lossless=True, xmp=XMP),
        "gif-small-frame.gif": small_frame(False),
        "gif-small-frame-clear.gif": small_frame(True),
    }


def small_frame(clear):
    """A frame of 3 × 2 pixels on a screen of 7 × 5."""
    colours = bytes([10, 200, 30, 250, 10, 20, 40, 50, 240, 0, 0, 0])
    control = b"!\xf9\4\1\0\0\2\0" if clear else b""
    # Codes of three bits: clear, six pixels with a clear in between, end.
    codes = [4, 1, 2, 4, 3, 1, 4, 2, 1, 5]
    bits = sum(code << 3 * at for at, code in enumerate(codes))
    data = bits.to_bytes(-(-3 * len(codes) // 8), "little")
    frame = b"," + struct.pack("<HHHHB", 2, 1, 3, 2, 0) + bytes([2, len(data)]) + data + b"\0"
    return b"GIF89a" + struct.pack("<HHBBB", 7, 5, 0xF1, 1, 0) + colours + control + frame + b";"


TIFF_SIZES = {1: "B", 2: "B", 3: "H", 4: "I", 5: "I", 7: "B", 16: "Q"}


def write_tiff(tags, blocks, order="<", big=False, tiled=False):
    """A file of packed strips or tiles; `tags` are (type, values) by number."""
    place = "Q" if big else "I"
    start = 16 if big else 8
    starts = [start + sum(map(len, blocks[:at])) for at in range(len(blocks))]
    kind = 16 if big else 4
    tags = dict(tags) | {324 if tiled else 273: (kind, starts), 325 if tiled else 279: (kind, list(map(len, blocks)))}
    at = start + sum(map(len, blocks))
    at += at % 2
    inline = 8 if big else 4
    extra_at = at + (8 + 20 * len(tags) + 8 if big else 2 + 12 * len(tags) + 4)
    entries, extra = b"", b""
    for tag, (kind, values) in sorted(tags.items()):
        values = list(values)
        value = struct.pack(order + TIFF_SIZES[kind] * len(values), *values)
        count = len(values) // 2 if kind == 5 else len(values)
        if len(value) > inline:
            value, extra = struct.pack(order + place, extra_at + len(extra)), extra + value
        entries += struct.pack(order + "HH" + place, tag, kind, count) + value.ljust(inline, b"\0")
    mark = {"<": b"II", ">": b"MM"}[order]
    head = mark + (struct.pack(order + "HHHQ", 43, 8, 0, at) if big else struct.pack(order + "HI", 42, at))
    count = struct.pack(order + ("Q" if big else "H"), len(tags))
    return (head + b"".join(blocks)).ljust(at, b"\0") + count + entries + b"\0" * inline + extra


def tiff_of(array, interpretation, order="<", tile=None, planar=False, pack=bytes, rows=None, **more):
    """Whole samples or floats of an array of rows, columns and samples, in strips of `rows` or in tiles."""
    height, width, samples = array.shape
    bits = array.dtype.itemsize * 8
    layers = [array[..., at : at + 1] for at in range(samples)] if planar else [array]
    step = tile or (rows or height, width)
    blocks = []
    for layer in layers:
        for top in range(0, height, step[0]):
            for left in range(0, width, step[1]):
                part = layer[top : top + step[0], left : left + step[1]]
                if tile:
                    wide = ((0, step[0] - part.shape[0]), (0, step[1] - part.shape[1]), (0, 0))
                    part = np.pad(part, wide, mode="edge")
                blocks.append(pack(part.astype(part.dtype.newbyteorder(order)).tobytes()))
    tags = {256: (3, [width]), 257: (3, [height]), 258: (3, [bits] * samples), 259: (3, [1]), 262: (3, [interpretation])}
    tags |= {277: (3, [samples]), 284: (3, [2 if planar else 1])}
    tags |= {322: (3, [tile[1]]), 323: (3, [tile[0]])} if tile else {278: (3, [step[0]])}
    tags |= {int(tag[1:]): value for tag, value in more.pop("tags", {}).items()}
    return write_tiff(tags, blocks, order, tiled=bool(tile), **more)


def packed_tiff(samples, bits, interpretation, reverse=False, colours=None):
    """One sample a pixel, of fewer than eight bits or of twelve."""
    digits = (samples[..., None] >> np.arange(bits - 1, -1, -1)) & 1
    data = np.packbits(digits.reshape(len(samples), -1).astype(np.uint8), axis=1).tobytes()
    if reverse:
        data = bytes(int(f"{byte:08b}"[::-1], 2) for byte in data)
    tags = {256: (3, [samples.shape[1]]), 257: (3, [len(samples)]), 258: (3, [bits]), 259: (3, [1]), 262: (3, [interpretation])}
    tags |= {266: (3, [2 if reverse else 1]), 277: (3, [1])}
    if colours is not None:
        tags[320] = (3, colours)
    return write_tiff(tags, [data])


def tiffs(rgb, alpha, deep, floats):
    """Kinds of TIFF, with what their numbers mean."""
    eight = np.asarray(rgb)
    opacity = np.asarray(alpha)[..., None]
    straight = np.dstack([eight, opacity])
    associated = np.dstack([(eight.astype(np.uint32) * opacity + 127) // 255, opacity]).astype(np.uint8)
    over = np.round((eight * opacity.astype(np.int64) + 255 * (255 - opacity.astype(np.int64))) / 255).astype(np.uint8)
    grey = eight[..., 1:2]
    three = np.repeat(grey, 3, axis=2)
    deep_rgb, deep_seen = deep[..., :3], np.round(deep[..., :3] / 257.0).astype(np.uint8)
    floats_seen = np.round(np.clip(floats, 0, 1) * 255).astype(np.uint8)
    lzw, deflate, packbits = imagecodecs.lzw_encode, zlib.compress, imagecodecs.packbits_encode

    def compressed(number, **tags):
        return {"t259": (3, [number])} | tags

    def scaled(bits):
        return grey.astype(np.uint16)[..., 0] >> (8 - bits) if bits < 8 else (grey.astype(np.uint16)[..., 0] << 4) + 5

    def as_eight(samples, bits):
        return np.repeat(np.round(samples[..., None] * 255.0 / (2**bits - 1)).astype(np.uint8), 3, axis=2)

    def differences(array, axis=1):
        return np.concatenate([array[:, :1], np.diff(array, axis=axis)], axis=axis).astype(array.dtype)

    def float_predicted(array):
        height, width, samples = array.shape
        big = array.astype(">f4").tobytes()
        bytes_ = np.frombuffer(big, np.uint8).reshape(height, width * samples, 4).transpose(0, 2, 1).reshape(height, -1)
        left = np.pad(bytes_, ((0, 0), (samples, 0)))[:, : bytes_.shape[1]]
        return (bytes_ - left).astype(np.uint8)

    files = {
        "associated": (tiff_of(associated, 2, tags={"t338": (3, [1])}), over),
        "straight-not-said": (tiff_of(straight, 2), over),
        "extra-unspecified": (tiff_of(straight, 2, tags={"t338": (3, [0])}), eight),
        "extra-two": (tiff_of(np.dstack([straight, opacity]), 2, tags={"t338": (3, [2, 0])}), over),
        "associated16": (
            tiff_of(associated.astype(np.uint16) * 257, 2, ">", tags={"t338": (3, [1])}), over),
        "grey-alpha": (tiff_of(np.dstack([grey, opacity]), 1, tags={"t338": (3, [2])}), over_grey(grey, opacity)),
        "planar": (tiff_of(eight, 2, planar=True, rows=7), eight),
        "planar-tiles": (tiff_of(eight, 2, tile=(16, 16), planar=True), eight),
        "planar-tiles16": (tiff_of(deep_rgb, 2, ">", tile=(16, 16), planar=True), deep_seen),
        "planar-tiles-lzw": (tiff_of(eight, 2, tile=(16, 16), planar=True, pack=lzw, tags=compressed(5)), eight),
        "planar-alpha": (tiff_of(associated, 2, planar=True, rows=5, tags={"t338": (3, [1])}), over),
        "tiles": (tiff_of(eight, 2, tile=(16, 32)), eight),
        "tiles-deflate": (tiff_of(eight, 2, tile=(16, 16), pack=deflate, tags=compressed(8)), eight),
        "packbits": (tiff_of(eight, 2, rows=4, pack=packbits, tags=compressed(32773)), eight),
        "big": (tiff_of(eight, 2, big=True), eight),
        "big-endian-big": (tiff_of(deep_rgb, 2, ">", rows=3, big=True), deep_seen),
        "white-is-zero": (tiff_of(255 - grey, 0), three),
        "white-is-zero16": (tiff_of(65535 - deep[..., :1], 0), np.repeat(deep_seen[..., :1], 3, axis=2)),
        "fill-order": (
            tiff_of(eight, 2, rows=6, pack=lambda data: bytes(int(f"{byte:08b}"[::-1], 2) for byte in lzw(data)),
                    tags=compressed(5, t266=(3, [2]))), eight),
        "grey2": (packed_tiff(scaled(2), 2, 1), as_eight(scaled(2), 2)),
        "grey2-reversed": (packed_tiff(scaled(2), 2, 1, reverse=True), as_eight(scaled(2), 2)),
        "grey4": (packed_tiff(scaled(4), 4, 1), as_eight(scaled(4), 4)),
        "grey4-white-is-zero": (packed_tiff(15 - scaled(4), 4, 0), as_eight(scaled(4), 4)),
        "grey6": (packed_tiff(scaled(6), 6, 1), as_eight(scaled(6), 6)),
        "grey12": (packed_tiff(scaled(12), 12, 1), as_eight(scaled(12), 12)),
        "bilevel-reversed": (packed_tiff(scaled(1), 1, 1, reverse=True), as_eight(scaled(1), 1)),
        "palette-of-bytes": (
            packed_tiff(scaled(4), 4, 3, colours=[*range(16), *range(0, 160, 10), *range(255, 95, -10)]),
            np.dstack([scaled(4), scaled(4) * 10, 255 - scaled(4) * 10]).astype(np.uint8)),
        "whole32": (tiff_of(deep[..., :1].astype(np.uint32) << 16, 1), np.repeat(
            np.round(deep[..., :1].astype(np.float64) * 65536 / (2**32 - 1) * 255).astype(np.uint8), 3, axis=2)),
        "signed16": (
            tiff_of((deep[..., :1].astype(np.int32) - 32768).astype(np.int16), 1, tags={"t339": (3, [2])}),
            np.repeat((np.clip(deep[..., :1].astype(np.int64) - 32768, 0, None) + 128) // 257, 3, axis=2).astype(np.uint8)),
        "signed8": (tiff_of(grey, 1, tags={"t339": (3, [2])}), three),
        "float-grey": (
            tiff_of(floats[..., :1], 1, tags={"t339": (3, [3])}), np.repeat(floats_seen[..., :1], 3, axis=2)),
        "float64": (
            tiff_of(floats[..., :1].astype(np.float64), 1, ">", tags={"t339": (3, [3])}),
            np.repeat(floats_seen[..., :1], 3, axis=2)),
        "float16": (
            tiff_of(floats.astype(np.float16), 2, tags={"t339": (3, [3] * 3)}),
            np.round(np.clip(floats.astype(np.float16).astype(np.float64), 0, 1) * 255).astype(np.uint8)),
        "float-predicted": (
            predicted(float_predicted(floats), 32, 3, 3, 3), floats_seen),
        "differences": (predicted(differences(eight), 8, 3, 2), eight),
        "differences16": (predicted(differences(deep_rgb), 16, 3, 2), deep_seen),
        "cut-tiles": (cut_tiles(eight), eight),
        "no-lengths": (tiff_of(eight, 2).replace(struct.pack("<HHI", 279, 4, 1), struct.pack("<HHI", 65279, 4, 1)), eight),
    }
    files |= fax_tiffs(grey[..., 0] > 110) | ycc_tiffs(rgb)
    for name, kind in [("xmp6", XMP)]:
        data = tiff_of(eight, 2, tags={"t700": (1, kind)})
        files[name] = (data, np.rot90(eight, -1))
    return {f"tiff-{name}.tif": found for name, found in files.items()}


def over_grey(grey, opacity):
    laid = np.round((grey * opacity.astype(np.int64) + 255 * (255 - opacity.astype(np.int64))) / 255)
    return np.repeat(laid.astype(np.uint8), 3, axis=2)


def predicted(array, bits, samples, predictor, sample_format=1):
    """Rows of samples or of bytes that a predictor has gone over, deflated."""
    height = len(array)
    width = 29
    data = zlib.compress(np.ascontiguousarray(array).tobytes())
    tags = {256: (3, [width]), 257: (3, [height]), 258: (3, [bits] * samples), 259: (3, [8]), 262: (3, [2]), 277: (3, [samples])}
    tags |= {278: (3, [height]), 317: (3, [predictor]), 339: (3, [sample_format] * samples)}
    return write_tiff(tags, [data])


def cut_tiles(array):
    """Tiles of 16 rows of which the last ones end with the picture."""
    height, width, _ = array.shape
    blocks = []
    for top in range(0, height, 16):
        for left in range(0, width, 16):
            part = array[top : top + 16, left : left + 16]
            part = np.pad(part, ((0, 0), (0, 16 - part.shape[1]), (0, 0)))
            blocks.append(part.tobytes())
    tags = {256: (3, [width]), 257: (3, [height]), 258: (3, [8] * 3), 259: (3, [1]), 262: (3, [2]), 277: (3, [3])}
    return write_tiff(tags | {322: (3, [16]), 323: (3, [16])}, blocks, tiled=True)


def fax_tiffs(white):
    """A page in each way of fax that libtiff writes, and in the plain one that it reads."""
    seen = np.repeat(np.where(white, 255, 0).astype(np.uint8)[..., None], 3, axis=2)
    image = Image.fromarray(white)
    files = {}
    for name in ["group3", "group4", "tiff_ccitt"]:
        files[f"fax-{name}"] = (encode(image, "TIFF", compression=name), seen)
    for name, options in [("two", 1), ("filled", 4), ("two-filled", 5)]:
        files[f"fax-{name}"] = (encode(image, "TIFF", compression="group3", tiffinfo={292: options}), seen)
    return files


def ycc_tiffs(rgb):
    """Differences of colour for each pixel, and for several; and JPEG."""
    ycc = np.asarray(rgb.convert("YCbCr"))
    files = {"ycc": tiff_of(ycc, 6, tags={"t530": (3, [1, 1])})}
    for h, v in [(2, 1), (2, 2), (4, 2)]:
        height, width, _ = ycc.shape
        padded = np.pad(ycc, ((0, -height % v), (0, -width % h), (0, 0)), mode="edge")
        units = padded.reshape(padded.shape[0] // v, v, padded.shape[1] // h, h, 3).transpose(0, 2, 1, 3, 4)
        units = units.reshape(units.shape[0], units.shape[1], v * h, 3)
        data = np.concatenate([units[..., 0], units[..., :1, 1], units[..., :1, 2]], axis=2).tobytes()
        data = imagecodecs.lzw_encode(data)
        tags = {256: (3, [width]), 257: (3, [height]), 258: (3, [8] * 3), 259: (3, [5]), 262: (3, [6]), 277: (3, [3])}
        files[f"ycc-{h}x{v}"] = write_tiff(tags | {530: (3, [h, v])}, [data])
    files["jpeg"] = encode(rgb, "TIFF", compression="jpeg", quality=90)
    files["jpeg-grey"] = encode(rgb.convert("L"), "TIFF", compression="jpeg", quality=90)
    files["jpeg-rgb"] = jpeg_tiff(rgb, 2, cjpeg(rgb, "-rgb"))
    files["jpeg-420-tiles"] = jpeg_tiff(rgb, 6, tile=16)
    return {name: (data, seen(Image.open(io.BytesIO(data)))) for name, data in files.items()}


def jpeg_tiff(rgb, interpretation, whole=None, tile=None):
    width, height = rgb.size
    if tile:
        corners = [(left, top) for top in range(0, height, tile) for left in range(0, width, tile)]
        blocks = [cjpeg(rgb.crop((x, y, x + tile, y + tile)), "-sample", "2x2") for x, y in corners]
    else:
        blocks = [whole]
    tags = {256: (3, [width]), 257: (3, [height]), 258: (3, [8] * 3), 259: (3, [7]), 262: (3, [interpretation]), 277: (3, [3])}
    tags |= {322: (3, [tile]), 323: (3, [tile]), 530: (3, [2, 2])} if tile else {278: (3, [height])}
    return write_tiff(tags, blocks, tiled=bool(tile))


def sizes():
    rng = np.random.default_rng(2)
    tensors = {}
    for rows, columns in [(1, 1), (1, 40), (40, 1), (5, 7), (10, 10), (20, 33), (33, 20), (31, 90), (2, 300)]:
        noise = rng.integers(0, 256, (rows, columns, 3), np.uint8)
        tensors[f"noise/{rows}x{columns}"] = noise
        image = Image.fromarray(noise)
        size = 10
        # Margins of 1 and 3 are halved to 0 and 2; a crop of 13 has black around it.
        for crop in (10, 9, 7, 13):
            name = f"{rows}x{columns}/{size}/{crop}"
            tensors[f"torchvision/{name}"] = torchvision(center_crop(resize(image, size), crop, crop))
            tensors[f"caffe/{name}"] = caffe(center_crop(resize(image, [size, size]), crop, crop))
    return tensors


def bombs():
    """Headers that claim far more pixels than the file holds."""
    huge = struct.pack("<HH", 60000, 60000)
    line = np.zeros((1, 1, 3), np.uint8)
    header = struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0)
    whole = png(line, 2, 8)
    claim = b"IHDR" + header
    jpeg = encode(Image.fromarray(line), "JPEG")
    frame = jpeg.index(b"\xff\xc0") + 5
    # VP8X: flags, three reserved bytes, 24 bits each of the canvas' width − 1 and height − 1.
    canvas = b"VP8X" + struct.pack("<I", 10) + b"\0" * 4 + struct.pack("<I", 59999)[:3] * 2
    webp = b"WEBP" + canvas + encode(Image.fromarray(line), "WEBP", lossless=True)[12:]
    tif = tiff(line, 1)
    for tag in (256, 257, 278):  # columns, rows, and all of them in one strip
        entry = struct.pack("<HHIHH", tag, 3, 1, 1, 0)
        tif = tif.replace(entry, entry[:8] + struct.pack("<HH", 60000, 0))
    colours = b"\x80\0\0\0\0\0\xff\xff\xff"  # a global table of two
    gif = b"GIF89a" + huge + colours + b",\0\0\0\0" + huge + b"\0\2\2L\1\0;"
    return {
        "bomb.png": whole[:8] + whole[8:12] + claim + struct.pack(">I", zlib.crc32(claim)) + whole[33:],
        "bomb.jpg": jpeg[:frame] + struct.pack(">HH", 60000, 60000) + jpeg[frame + 4 :],
        "bomb.gif": gif,
        # The screen is small, the frame is not.
        "bomb-frame.gif": gif[:6] + b"\1\0\1\0" + gif[10:],
        "bomb.bmp": b"BM" + struct.pack("<IIIIiiHHIIiiII", 58, 0, 54, 40, 60000, 60000, 1, 24, 0, 0, 0, 0, 0, 0) + b"\0" * 4,
        "bomb.tif": tif,
        "bomb.webp": b"RIFF" + struct.pack("<I", len(webp)) + webp,
        "bomb.ppm": b"P6 60000 60000 255\n\0\0\0",
    }  # fmt: skip


def dense_bombs():
    """As large as WebP can be, 268 million pixels, in files that hold a few."""
    side = 16383
    image = Image.new("RGB", (8, 8), (1, 2, 3))
    names = {"jpg": "JPEG", "progressive.jpg": "JPEG", "png": "PNG", "bmp": "BMP", "webp": "WEBP", "lossy.webp": "WEBP"}
    names |= {"tif": "TIFF"}
    options = {"progressive.jpg": {"progressive": True}, "webp": {"lossless": True}, "tif": {"compression": "tiff_lzw"}}
    files = {name: bytearray(encode(image, kind, **options.get(name, {}))) for name, kind in names.items()}
    for name, marker in [("jpg", b"\xff\xc0"), ("progressive.jpg", b"\xff\xc2")]:
        at = files[name].index(marker) + 5
        files[name][at : at + 4] = struct.pack(">HH", side, side)
    files["png"][16:24] = struct.pack(">II", side, side)
    files["png"][29:33] = struct.pack(">I", zlib.crc32(files["png"][12:29]))
    files["bmp"][18:26] = struct.pack("<ii", side, side)
    at = files["webp"].index(b"VP8L") + 9
    (bits,) = struct.unpack_from("<I", files["webp"], at)
    struct.pack_into("<I", files["webp"], at, bits & ~0xFFFFFFF | side - 1 | side - 1 << 14)
    at = files["lossy.webp"].index(b"\x9d\x01\x2a") + 3
    files["lossy.webp"][at : at + 4] = struct.pack("<HH", side, side)
    (directory,) = struct.unpack_from("<I", files["tif"], 4)
    (count,) = struct.unpack_from("<H", files["tif"], directory)
    for entry in range(directory + 2, directory + 2 + 12 * count, 12):
        if struct.unpack_from("<H", files["tif"], entry)[0] in (256, 257, 278):
            struct.pack_into("<HII", files["tif"], entry + 2, 4, 1, side)
    size = struct.pack("<HH", side, side)
    files["gif"] = b"GIF89a" + size + b"\x80\0\0\0\0\0\xff\xff\xff,\0\0\0\0" + size + b"\0\2\2L\1\0;"
    files["ppm"] = b"P6 16383 16383 255\n\0\0\0"
    return {f"dense.{name}": bytes(data) for name, data in files.items()}


def dense():
    """As many pixels as a format packs into few bytes: large, and of one colour."""
    size = (8192, 4096)
    return {
        "white.png": encode(Image.new("1", size, 1), "PNG"),
        "white.gif": encode(Image.new("P", size, 0), "GIF"),
        "white.tif": encode(Image.new("1", size, 1), "TIFF", compression="group4"),
    }


def photos():
    # As telephones write them: colours at half the resolution.
    Image.open(PICTURES / "coffee.png").convert("RGB").save(DATA / "photos/coffee-420.jpg", quality=85, subsampling=2)
    for path, how, size, crop in [
        (PICTURES / "chelsea.png", "torchvision", 256, 224),
        (PICTURES / "chelsea.png", "torchvision", 256, 227),
        (PICTURES / "chelsea.png", "caffe", [256, 256], 227),
        (PICTURES / "coffee.png", "torchvision", 256, 227),
        (PICTURES / "coffee.png", "caffe", [256, 256], 227),
        (PICTURES / "rocket.jpg", "torchvision", 256, 227),
        (PICTURES / "rocket.jpg", "caffe", [256, 256], 227),
        (DATA / "photos/coffee-420.jpg", "torchvision", 256, 227),
    ]:
        cropped = center_crop(resize(Image.open(path).convert("RGB"), size), crop, crop)
        cropped.save(DATA / f"photos/{path.stem}-{how}-{crop}.png", optimize=True)


def main():
    for folder in ("kinds", "damaged", "photos", "bombs", "dense", "unread"):
        (DATA / folder).mkdir(parents=True, exist_ok=True)
    files = kinds()
    for name, (data, _) in files.items():
        (DATA / "kinds" / name).write_bytes(data)
    safetensors(DATA / "kinds.safetensors", {name: seen for name, (_, seen) in files.items()})
    safetensors(DATA / "sizes.safetensors", sizes())
    for name, data in (bombs() | dense_bombs()).items():
        (DATA / "bombs" / name).write_bytes(data)
    for name, data in dense().items():
        (DATA / "dense" / name).write_bytes(data)
    photos()
    photo = Image.open(PICTURES / "coffee.png").convert("RGB")
    damaged = damaged_jpegs(photo)
    for name, (data, _) in damaged.items():
        (DATA / "damaged" / name).write_bytes(data)
    safetensors(DATA / "damaged.safetensors", {name: seen for name, (_, seen) in damaged.items()})
    Image.new("LAB", (4, 3)).save(DATA / "unread/tiff-lab.tif")
    grey = np.zeros((2, 3, 1), np.uint8)
    for name, tags in [("zstandard", {"t259": (3, [50000])}), ("complex", {"t339": (3, [5])}), ("raw", {"t262": (3, [32803])})]:
        (DATA / f"unread/tiff-{name}.tif").write_bytes(tiff_of(grey, 1, tags=tags))
    lossless = imagecodecs.ljpeg_encode(np.zeros((8, 8, 1), np.uint8))
    (DATA / "unread/jpeg-lossless.jpg").write_bytes(lossless)


if __name__ == "__main__":
    main()
