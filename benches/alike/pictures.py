#!/usr/bin/env python3
"""Makes 1,000 pictures and copies of each, from what Debian 12 and PyPI packages ship.

    python3 -m venv venv && venv/bin/pip install numpy==2.4.6 pillow==13.0.0 scikit-image==0.26.0
    venv/bin/python benches/alike/pictures.py FOLDER

Writes FOLDER/base/NNNN.jpg and FOLDER/KIND/NNNN.jpg for each kind of copy. The packages are fetched with apt-get and unpacked
below FOLDER/debian; nothing is installed. The same versions of the packages give the same pictures.
"""

import random
import subprocess
import sys
from multiprocessing import Pool
from pathlib import Path

import numpy as np
import skimage
from PIL import Image, ImageEnhance, ImageOps

Image.MAX_IMAGE_PIXELS = None

PACKAGES = [
    "gimp-help-en",
    "gnome-backgrounds",
    "krita-data",
    "lomiri-wallpapers-16.04",
    "lomiri-wallpapers-20.04",
    "mate-backgrounds",
    "openclipart-png",
    "plasma-workspace-wallpapers",
    "sway-backgrounds",
    "tuxpaint-stamps-default",
    "ukui-wallpapers",
]
COUNT = 1000
# At most this many of a package: clip art would outnumber the rest.
MOST = {"openclipart-png": 250, "gimp-help-en": 170}
# The shorter side at least, the longer side at most, in pixels.
SHORTEST, LONGEST = 96, 512
ENDINGS = {".png", ".jpg", ".jpeg", ".webp"}


def unpack(folder):
    debs, root = folder / "debs", folder / "debian"
    debs.mkdir(parents=True, exist_ok=True)
    missing = [name for name in PACKAGES if not (root / name).is_dir()]
    if missing:
        subprocess.run(["apt-get", "download", "-qq", *missing], cwd=debs, check=True)
    for name in missing:
        (deb,) = debs.glob(f"{name}_*.deb")
        subprocess.run(["dpkg-deb", "-x", deb, root / name], check=True)
    found = {name: sorted(p for p in (root / name).rglob("*") if p.suffix.lower() in ENDINGS) for name in PACKAGES}
    found["scikit-image"] = sorted(p for p in (Path(skimage.__file__).parent / "data").rglob("*") if p.suffix.lower() in ENDINGS)
    # Letters and digits are hardly pictures.
    stamps = found["tuxpaint-stamps-default"]
    found["tuxpaint-stamps-default"] = [p for p in stamps if not {"alphabets", "symbols"} & set(p.parts)]
    return found


def opened(path):
    """The picture on white, no larger than LONGEST; None where it is too small or cannot be read."""
    try:
        picture = ImageOps.exif_transpose(Image.open(path)).convert("RGBA")
    except (OSError, ValueError):
        return None
    if min(picture.size) < SHORTEST:
        return None
    flat = Image.new("RGBA", picture.size, "white")
    flat.alpha_composite(picture)
    flat = flat.convert("RGB")
    flat.thumbnail((LONGEST, LONGEST), Image.LANCZOS)
    return flat if min(flat.size) >= SHORTEST else None


def small(picture):
    return np.asarray(picture.convert("L").resize((16, 16), Image.BOX), dtype=np.float32)


def base_pictures(found):
    """COUNT pictures, none of which is nearly another one: by the mean difference of their 16 by 16 grey pixels."""
    rng, taken, thumbnails = random.Random(1), [], []
    candidates = []
    for name, paths in found.items():
        paths = list(paths)
        rng.shuffle(paths)
        candidates.append((name, paths))
    # Small packages first, so that the large ones fill the rest.
    for name, paths in sorted(candidates, key=lambda entry: len(entry[1])):
        count = 0
        for path in paths:
            if len(taken) == COUNT or count == MOST.get(name, COUNT):
                break
            picture = opened(path)
            if picture is None:
                continue
            thumbnail = small(picture)
            # A picture of one colour shows nothing.
            if thumbnail.std() < 4:
                continue
            if thumbnails and np.abs(np.stack(thumbnails) - thumbnail).mean(axis=(1, 2)).min() < 6:
                continue
            taken.append(picture)
            thumbnails.append(thumbnail)
            count += 1
        print(f"{name}: {count} of {len(paths)}", flush=True)
    return taken


def resized(factor):
    def change(picture, _):
        size = [max(1, round(side * factor)) for side in picture.size]
        return picture.resize(size, Image.BICUBIC)

    return change


def cropped(share):
    """A part of this share of each side, anywhere."""

    def change(picture, rng):
        width, height = (round(side * share) for side in picture.size)
        x, y = rng.randint(0, picture.width - width), rng.randint(0, picture.height - height)
        return picture.crop((x, y, x + width, y + height))

    return change


def hue(picture, rng):
    turn = rng.choice([-1, 1]) * rng.uniform(30, 90) / 360
    hsv = np.asarray(picture.convert("HSV")).copy()
    hsv[..., 0] = (hsv[..., 0].astype(np.int32) + round(turn * 256)) % 256
    return Image.fromarray(hsv, "HSV").convert("RGB")


def brightness(picture, rng):
    return ImageEnhance.Brightness(picture).enhance(rng.choice([0.6, 1.5]))


def contrast(picture, rng):
    return ImageEnhance.Contrast(picture).enhance(rng.choice([0.5, 1.6]))


def all_at_once(picture, rng):
    picture = resized(0.5)(cropped(0.8)(picture, rng), rng)
    return brightness(picture, rng)


# Each kind: what is done, and the quality of the JPEG.
KINDS = {
    "resize-0.25": (resized(0.25), 95),
    "resize-0.5": (resized(0.5), 95),
    "resize-2": (resized(2), 90),
    "jpeg-20": (lambda picture, _: picture, 20),
    "jpeg-50": (lambda picture, _: picture, 50),
    "crop-90": (cropped(0.9), 95),
    "crop-80": (cropped(0.8), 95),
    "crop-70": (cropped(0.7), 95),
    "mirror": (lambda picture, _: ImageOps.mirror(picture), 95),
    "hue": (hue, 95),
    "brightness": (brightness, 95),
    "contrast": (contrast, 95),
    "grey": (lambda picture, _: ImageOps.grayscale(picture).convert("RGB"), 95),
    "all-at-once": (all_at_once, 40),
}


def write(job):
    folder, index = job
    picture = Image.open(folder / "base" / f"{index:04}.jpg")
    picture.load()
    for kind, (change, quality) in KINDS.items():
        # By name, so that a further kind changes no other.
        changed = change(picture, random.Random(f"{kind} {index}"))
        changed.save(folder / kind / f"{index:04}.jpg", quality=quality)


def main():
    folder = Path(sys.argv[1]).resolve()
    pictures = base_pictures(unpack(folder))
    for kind in ["base", *KINDS]:
        (folder / kind).mkdir(exist_ok=True)
    for index, picture in enumerate(pictures):
        picture.save(folder / "base" / f"{index:04}.jpg", quality=95)
    with Pool() as pool:
        pool.map(write, [(folder, index) for index in range(len(pictures))], chunksize=20)
    print(f"{len(pictures)} pictures, {len(KINDS)} copies of each")


main()
