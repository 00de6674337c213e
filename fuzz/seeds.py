"""Writes the fuzzer's seeds: small files that reach every parser's corners. Needs what tests/data/formats/make.py does,
and copies some of its files.

    python fuzz/seeds.py
"""

import json
import pathlib
import shutil
import zipfile
from collections import OrderedDict

import numpy as np
import safetensors.torch
import torch

HERE = pathlib.Path(__file__).parent
FORMATS = HERE.parent / "tests/data/formats"
LEGACY = dict(_use_new_zipfile_serialization=False)


def folder(target):
    path = HERE / "seeds" / target
    path.mkdir(parents=True, exist_ok=True)
    return path


def main():
    for target, extension in [("onnx", "onnx"), ("caffe", "caffemodel"), ("torch", "pth"), ("safetensors", "safetensors")]:
        for path in FORMATS.glob(f"refused-*.{extension}"):
            shutil.copyfile(path, folder(target) / path.name)
    for name in ["open.onnx", "operators.onnx"]:
        shutil.copyfile(FORMATS / name, folder("onnx") / name)
    shutil.copyfile(FORMATS / "rounding.caffemodel", folder("caffe") / "rounding.caffemodel")

    shared = torch.arange(12.0)
    state = OrderedDict(
        [
            ("module.a", shared[:6].view(2, 3).t()),
            ("module.b", shared[6:]),
            ("module.half", torch.ones(2, 1, dtype=torch.float16)),
            ("module.brain", torch.nn.Parameter(torch.ones(1, 2, dtype=torch.bfloat16))),
            ("module.num_batches_tracked", torch.tensor(1)),
        ]
    )
    torch.save({"state_dict": state, "epoch": 1}, folder("torch") / "small.pth")
    torch.save({"net": state}, folder("torch") / "small-legacy.pth", **LEGACY)
    torch.save(state, folder("torch") / "protocol-4.pth", pickle_protocol=4)
    with zipfile.ZipFile(folder("torch") / "small.pth") as source:
        with zipfile.ZipFile(folder("torch") / "deflated.pth", "w", zipfile.ZIP_DEFLATED) as target:
            for entry in source.namelist():
                target.writestr(entry, source.read(entry))
    # What lies behind the prefix that the target puts before its bytes.
    legacy = (folder("torch") / "small-legacy.pth").read_bytes()
    system = legacy.index(b"protocol_version")
    (folder("torch") / "small-legacy-rest").write_bytes(legacy[legacy.index(b"\x80\x02}", system) :])

    network = {
        "name": "small",
        "input": {"channels": 3, "height": 4, "width": 4},
        "layers": [
            {"name": "c", "op": "conv", "out_channels": 2, "kernel": [3, 3], "stride": [1, 1], "groups": 1, "relu": True},
            {"name": "f", "op": "linear", "out_features": 2, "relu": False},
            {"name": "prob", "op": "softmax"},
        ],
    }
    tensors = {"c.weight": (2, 3, 3, 3), "c.bias": (2,), "f.weight": (2, 8), "f.bias": (2,)}
    tensors = {name: torch.ones(shape, dtype=torch.float16) for name, shape in tensors.items()}
    metadata = {"network": json.dumps(network), "labels": '["a", "b"]', "preprocessing": json.dumps(PREPROCESSING)}
    safetensors.torch.save_file(tensors, folder("safetensors") / "network.safetensors", metadata)
    for name in ["c.weight", "f.weight"]:
        tensors[name] = tensors[name].to(torch.int8)
        tensors[name + ".scale"] = torch.ones(2)
    safetensors.torch.save_file(tensors, folder("safetensors") / "int8.safetensors", metadata)
    tensors = {"x": torch.ones(2, dtype=torch.float64), "y": torch.ones(1, dtype=torch.bfloat16)}
    safetensors.torch.save_file(tensors, folder("safetensors") / "tensors.safetensors")

    # As the target expects it, in each version of the format; and what it refuses.
    array = np.arange(105, dtype="<f4").reshape(3, 7, 5)
    arrays = {"order": np.asfortranarray(array), "double": array.astype("<f8"), "shape": array[0]}
    for name, refused in arrays.items():
        np.save(folder("npy") / f"refused-{name}.npy", refused)
    for version in [1, 2, 3]:
        with open(folder("npy") / f"version-{version}.npy", "wb") as file:
            np.lib.format.write_array(file, array, (version, 0))
    for path in (HERE / "seeds").rglob("*"):
        if path.is_file():
            path.chmod(0o644)


PREPROCESSING = {
    "resize": {"warp": [8, 8]},
    "crop": [4, 4],
    "channels": "bgr",
    "scale": 1.0,
    "mean": [104.007, 116.669, 122.679],
    "std": [1.0, 1.0, 1.0],
}

if __name__ == "__main__":
    main()
