#!/usr/bin/env python3
"""Recall of copies among 1,000 pictures, for features of `layers.rs` or of `alexnet index --output`.

    venv/bin/python benches/alike/recall.py features.safetensors [SPEC...]
    venv/bin/python benches/alike/recall.py FOLDER           # of KIND.npz, as `alexnet index KIND --output KIND.npz` writes them

Prints CSV: recall@1 and @5 of each kind of copy in percent, the mean over the kinds, and two figures for a threshold: the
99.9th percentile of the cosines of different pictures, and the share of copies above it. A SPEC is layers and poolings such as
`conv3:mean+conv5:gem3`, with `,root` after it for the square roots of all numbers before they are normalised. `bands2` are
the two rows of cells of `mean2x2`, each over the whole width, `bands3` the three of `mean3x3`, and `bandsmax2` those of `max2x2`. `sides3` are the cells of `mean3x3`, left and right averaged.
"""

import json
import struct
import sys
from pathlib import Path

import numpy as np


def safetensors(path):
    with open(path, "rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
        start = 8 + length
        columns = header.pop("__metadata__")["columns"].split(",")
        tensors = {}
        for name, entry in header.items():
            begin, end = entry["data_offsets"]
            file.seek(start + begin)
            tensors[name] = np.frombuffer(file.read(end - begin), dtype="<f2").reshape(entry["shape"])
    places, at = {}, 0
    for column in columns:
        layer, pooling, count = column.split()
        places[f"{layer}:{pooling}"] = slice(at, at + int(count))
        at += int(count)
    return tensors, places


def numbers(table, places, part):
    layer, pooling = part.split(":")
    if not pooling.startswith(("bands", "sides")):
        return table[:, places[part]].astype(np.float32)
    side = int(pooling[-1])
    kind = "max" if "max" in pooling else "mean"
    cells = table[:, places[f"{layer}:{kind}{side}x{side}"]].astype(np.float32).reshape(len(table), -1, side, side)
    if pooling.startswith("sides"):
        return np.stack([cells[..., [0, 2]].mean(axis=3), cells[..., 1]], axis=3).reshape(len(table), -1)
    return (cells.max(axis=3) if kind == "max" else cells.mean(axis=3)).reshape(len(table), -1)


def normalised(values):
    return values / np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-12)


def features(table, places, spec):
    parts, *options = spec.split(",")
    pieces = []
    for part in parts.split("+"):
        values = numbers(table, places, part)
        if "root" in options:
            values = np.sqrt(np.maximum(values, 0))
        pieces.append(normalised(values))
    return normalised(np.concatenate(pieces, axis=1))


def npz(folder):
    tables = {}
    for path in sorted(Path(folder).glob("*.npz")):
        loaded = np.load(path)
        order = np.argsort(loaded["names"])
        tables[path.stem] = loaded["vectors"][order].astype(np.float32)
    return tables


def report(name, tables, kinds):
    base = tables["base"]
    among = base @ base.T
    limit = np.quantile(among[np.triu_indices(len(base), 1)], 0.999)
    cells, firsts, fives, above = [], [], [], []
    for kind in kinds:
        cosines = tables[kind] @ base.T
        own = np.diagonal(cosines)
        # How many other pictures are nearer than the one that this is a copy of.
        rank = (cosines > own[:, None]).sum(axis=1)
        first, five = 100 * (rank < 1).mean(), 100 * (rank < 5).mean()
        firsts.append(first), fives.append(five), above.append((own > limit).mean() * 100)
        cells += [f"{first:.1f}", f"{five:.1f}"]
    width = base.shape[1]
    means = [f"{np.mean(values):.2f}" for values in (firsts, fives)]
    print(",".join([name.replace(",", " "), str(width), *means, f"{limit:.4f}", f"{np.mean(above):.1f}", *cells]), flush=True)


def main():
    source, *specs = sys.argv[1:]
    if Path(source).is_dir():
        tables = npz(source)
        kinds = [kind for kind in tables if kind != "base"]
    else:
        tensors, places = safetensors(source)
        kinds = [kind for kind in tensors if kind != "base"]
    header = ["features", "dims", "mean@1", "mean@5", "cosine999", "above999"]
    print(",".join(header + [f"{kind}{at}" for kind in kinds for at in ("@1", "@5")]))
    if Path(source).is_dir():
        return report("alexnet index", tables, kinds)
    for spec in specs or [f"{place}{option}" for place in places for option in ("", ",root")]:
        report(spec, {kind: features(table, places, spec) for kind, table in tensors.items()}, kinds)


main()
