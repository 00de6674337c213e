#!/usr/bin/env python3
"""Classifies a folder of pictures with Pillow and PyTorch on two threads, in batches of 16: the embedded model's network.

    venv/bin/python benches/scale/torch_classify.py FOLDER [COUNT]

Prints the number of pictures, wall seconds and processor seconds, without the start of Python and the import of PyTorch. Two
threads decode the next pictures while the network runs. It needs torch, numpy, Pillow and safetensors.
"""

import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import nn

BATCH, THREADS = 16, 2
ROOT = Path(__file__).parents[2]


def weights():
    """The embedded model's convolutions, in f16, and its head, in int8 with a scale for each row."""
    tensors = {name: t for name, t in load_file(ROOT / "weights/imagenet-trunk-f16.safetensors").items() if name.startswith("conv")}
    head = load_file(ROOT / "assets/fashion-mnist-head.safetensors")
    for name, tensor in head.items():
        if not name.endswith(".scale"):
            scale = head.get(f"{name}.scale")
            tensors[name] = tensor.float() if scale is None else tensor.float() * scale.reshape(-1, 1)
    return tensors


def network(tensors):
    conv = lambda name, **how: nn.Conv2d(*reversed(tensors[f"{name}.weight"].shape[:2]), tensors[f"{name}.weight"].shape[2], **how)
    linear = lambda name: nn.Linear(*reversed(tensors[f"{name}.weight"].shape))
    pool = lambda: nn.MaxPool2d(3, 2)
    layers = {
        "conv1": conv("conv1", stride=4, padding=2), "relu1": nn.ReLU(), "pool1": pool(),
        "conv2": conv("conv2", padding=2), "relu2": nn.ReLU(), "pool2": pool(),
        "conv3": conv("conv3", padding=1), "relu3": nn.ReLU(),
        "conv4": conv("conv4", padding=1), "relu4": nn.ReLU(),
        "conv5": conv("conv5", padding=1), "relu5": nn.ReLU(), "pool5": pool(), "flat": nn.Flatten(),
        "fc6": linear("fc6"), "relu6": nn.ReLU(), "fc7": linear("fc7"), "relu7": nn.ReLU(), "fc8": linear("fc8"),
        "prob": nn.Softmax(1),
    }
    net = nn.Sequential()
    for name, layer in layers.items():
        net.add_module(name, layer)
    net.load_state_dict({name: tensor.float() for name, tensor in tensors.items()})
    return net.eval()


def read(file):
    image = Image.open(file).convert("RGB").resize((227, 227), Image.BILINEAR)
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    return ((np.asarray(image, np.float32) / 255 - mean) / std).transpose(2, 0, 1).astype(np.float32)


def main():
    files = sorted(Path(sys.argv[1]).glob("*.jpg"))
    files = files[: int(sys.argv[2])] if len(sys.argv) > 2 else files
    torch.set_num_threads(THREADS)
    wall, processor = time.perf_counter(), time.process_time()
    net = network(weights())
    classes = []
    with torch.inference_mode(), ThreadPoolExecutor(THREADS) as threads:
        batches = [files[i : i + BATCH] for i in range(0, len(files), BATCH)]
        ahead = [threads.submit(read, file) for file in batches[0]]
        for i in range(len(batches)):
            inputs = np.stack([picture.result() for picture in ahead])
            ahead = [threads.submit(read, file) for file in batches[i + 1]] if i + 1 < len(batches) else []
            classes += net(torch.from_numpy(inputs)).argmax(1).tolist()
    print(len(classes), f"{time.perf_counter() - wall:.2f} {time.process_time() - processor:.2f}")


main()
