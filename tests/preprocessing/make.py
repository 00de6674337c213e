#!/usr/bin/env python3
"""Makes tests/data/preprocessing: small pictures of every kind, and what Pillow makes of them.

    python3 -m venv venv && venv/bin/pip install pillow numpy
    venv/bin/python tests/preprocessing/make.py

What it writes is committed, so that `cargo test --test preprocessing` needs no Python:

- kinds/: one small picture for each kind of file, cut from examples/pictures/coffee.png.
- kinds.safetensors: for each of them, under its file name, the RGB bytes (rows, columns, 3) that a reader
  should see: Pillow's `open`, `exif_transpose`, laid over white, `convert("RGB")`. Kinds that Pillow does not
  read at full depth are computed with NumPy from the numbers that went into the file.
- sizes.safetensors: noise of odd sizes (`noise/ROWSxCOLUMNS`) and the network's input for it
  (`torchvision/ROWSxCOLUMNS/RESIZE/CROP` and `caffe/…`), computed line for line as torchvision's PIL path does.
- unread/: a kind of file that is not read, and says so.
- bombs/: files of a few bytes that claim billions of pixels, or (dense.*) as many as are read at all.
- dense/: large pictures of one colour, which really are that small.
- photos/: the photographs of examples/pictures as RGB after resize and crop, before normalising.
"""

import io
import json
import struct
import zlib
from pathlib import Path

import numpy as np
import PIL
from PIL import Image, ImageOps

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
    for value in range(1, 9):
        plain[f"jpeg-exif{value}.jpg"] = encode(rgb, "JPEG", quality=90, exif=orientation(value))
    for name, data in plain.items():
        image = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
        if image.has_transparency_data:
            image = image.convert("RGBA")
            over = Image.new("RGB", image.size, "white")
            over.paste(image, mask=image.getchannel("A"))
            image = over
        files[name] = (data, np.asarray(image.convert("RGB")))
    return files


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
    for folder in ("kinds", "photos", "bombs", "dense", "unread"):
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
    Image.new("LAB", (4, 3)).save(DATA / "unread/tiff-lab.tif")


if __name__ == "__main__":
    main()
