#!/usr/bin/env python3
"""Compares gradients and losses with PyTorch's, and times PyTorch's training step on the CPU.

    pytorch.py gradients FILE.safetensors NETWORK   a file of `training-step --save`; ‖error‖ / ‖gradient‖ of each parameter, in float64
    pytorch.py losses FILE.safetensors NETWORK      a file of `training-step --losses`; the losses of the same steps
    pytorch.py speed [BATCH [WIDTH [SIDE]]]         a step of `ungrouped`: float32, fused SGD, two threads

It needs torch, numpy and safetensors; nothing is installed.
"""

import statistics
import sys
import time

import numpy as np
import torch
from safetensors.torch import load_file
from torch import nn


def network(name, width=1.0, classes=1000, side=227):
    """The layers of src/model/alexnet.rs."""
    groups = 2 if name in ("caffe", "caffenet") else 1
    c = [64, 192, 384, 256, 256] if name == "torchvision" else [96, 256, 384, 384, 256]
    c = [max(1, round(n * width / groups)) * groups for n in c]
    head = [int(4096 * width)] * 2
    pool = lambda: nn.MaxPool2d(3, 2)
    norm = lambda: nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75, k=2 if name == "paper" else 1)
    after = lambda: [norm(), pool()] if name in ("caffe", "paper") else [pool(), norm()] if name == "caffenet" else [pool()]
    layers = [nn.Conv2d(3, c[0], 11, 4, padding=2 if name == "torchvision" else 0), nn.ReLU(), *after()]
    layers += [nn.Conv2d(c[0], c[1], 5, padding=2, groups=groups), nn.ReLU(), *after()]
    layers += [nn.Conv2d(c[1], c[2], 3, padding=1), nn.ReLU()]
    layers += [nn.Conv2d(c[2], c[3], 3, padding=1, groups=groups), nn.ReLU()]
    layers += [nn.Conv2d(c[3], c[4], 3, padding=1, groups=groups), nn.ReLU(), pool()]
    if name == "torchvision":
        layers += [nn.AdaptiveAvgPool2d(6)]
    layers += [nn.Flatten()]
    with torch.no_grad():
        flat = nn.Sequential(*layers)(torch.zeros(1, 3, side, side)).shape[1]
    layers += [nn.Linear(flat, head[0]), nn.ReLU(), nn.Linear(head[0], head[1]), nn.ReLU(), nn.Linear(head[1], classes)]
    return nn.Sequential(*layers)


def gradients(file, name):
    tensors = load_file(file)
    width = tensors["fc7.weight"].shape[0] / 4096
    inputs = tensors["inputs"].double()
    net = network(name, width, tensors["fc8.weight"].shape[0], inputs.shape[-1]).double()
    names = ["conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7", "fc8"]
    modules = [m for m in net if isinstance(m, (nn.Conv2d, nn.Linear))]
    for layer, module in zip(names, modules):
        module.weight.data = tensors[f"{layer}.weight"].double()
        module.bias.data = tensors[f"{layer}.bias"].double()
    loss = nn.functional.cross_entropy(net(inputs), tensors["classes"].long())
    loss.backward()
    worst = 0.0
    for layer, module in zip(names, modules):
        for part in ("weight", "bias"):
            expected = getattr(module, part).grad
            error = (tensors[f"gradient.{layer}.{part}"].double() - expected).norm() / expected.norm()
            worst = max(worst, float(error))
            print(f"{layer}.{part} {float(error):.1e}")
    print(f"{name}: loss {float(loss):.6f}, gradients off by at most {worst:.1e}")
    sys.exit(worst > 1e-5)


def philox(counter, key):
    """Philox 4x32-10 of arrays of uint32 (shaders/dropout.wgsl)."""
    c, key = [np.asarray(v, np.uint64) for v in counter], [np.uint64(k) for k in key]
    low = np.uint64(0xFFFFFFFF)
    for _ in range(10):
        m0, m1 = c[0] * np.uint64(0xD2511F53), c[2] * np.uint64(0xCD9E8D57)
        c = [(m1 >> np.uint64(32)) ^ c[1] ^ key[0], m1 & low, (m0 >> np.uint64(32)) ^ c[3] ^ key[1], m0 & low]
        key = [(key[0] + np.uint64(0x9E3779B9)) & low, (key[1] + np.uint64(0xBB67AE85)) & low]
    return c


def mask(layer, shape, batch, number, seed):
    """What is kept, times two: [batch][channels][rows][columns]."""
    channels, height, width = shape
    quads = -(-channels // 4)
    quad, image = np.arange(height * width * quads), np.arange(batch)[:, None]
    random = philox([quad[None] + 0 * image, image + 0 * quad, number + 0 * (quad + image), layer + 0 * (quad + image)], [seed, 0])
    kept = np.stack(random, -1) >= 1 << 31
    return torch.from_numpy(2.0 * kept.reshape(batch, height, width, 4 * quads)[..., :channels].transpose(0, 3, 1, 2))


def losses(file, name):
    tensors = load_file(file)
    batch, rate, decay, seed = tensors["numbers"].tolist()
    batch = int(batch)
    inputs, classes = tensors["inputs"], tensors["classes"].long()
    net = network(name, tensors["fc7.weight"].shape[0] / 4096, tensors["fc8.weight"].shape[0], inputs.shape[-1])
    names = iter(["conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7", "fc8"])
    names = [next(names) if isinstance(m, (nn.Conv2d, nn.Linear)) else None for m in net]
    with torch.no_grad():
        for layer, module in zip(names, net):
            if layer:
                module.weight.copy_(tensors[f"{layer}.weight"])
                module.bias.copy_(tensors[f"{layer}.bias"])
    optimizer = torch.optim.SGD(net.parameters(), rate, momentum=0.9, weight_decay=decay)
    worst = [0.0, 0.0]
    for step, expected in enumerate(tensors["losses"].tolist()):
        first = step % (len(classes) // batch) * batch
        x = inputs[first : first + batch]
        for layer, module in zip(names, net):
            if f"dropout.{layer}" in tensors:
                place, *shape = [int(v) for v in tensors[f"dropout.{layer}"]]
                x = x * mask(place, shape, batch, step + 1, int(seed)).reshape(x.shape).float()
            x = module(x)
        loss = nn.functional.cross_entropy(x, classes[first : first + batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        worst[step >= 50] = max(worst[step >= 50], abs(loss.item() - expected))
    print(f"{name}: losses off by at most {worst[0]:.1e} in the first 50 steps, {worst[1]:.1e} after; the last is {loss.item():.4f}")
    sys.exit(worst[0] > 1e-3)


def speed(batch=16, width=1.0, side=227):
    torch.set_num_threads(2)
    net = network("ungrouped", width, side=side).train()
    optimizer = torch.optim.SGD(net.parameters(), 1e-4, momentum=0.9, fused=True)
    inputs, classes = torch.randn(batch, 3, side, side), torch.arange(batch)
    times = []
    for _ in range(10):
        start = time.perf_counter()
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(inputs), classes).backward()
        optimizer.step()
        times.append((time.perf_counter() - start) * 1e3)
    print(f"torch {torch.__version__}, ungrouped × {width}, {side}², batch {batch}: {statistics.median(times[1:]):.1f} ms a step")


if __name__ == "__main__":
    if sys.argv[1:2] == ["gradients"] and len(sys.argv) == 4:
        gradients(*sys.argv[2:])
    elif sys.argv[1:2] == ["losses"] and len(sys.argv) == 4:
        losses(*sys.argv[2:])
    elif sys.argv[1:2] == ["speed"]:
        convert = [int, float, int]
        speed(*[f(a) for f, a in zip(convert, sys.argv[2:])])
    else:
        sys.exit(__doc__)
