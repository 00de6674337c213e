#!/usr/bin/env python3
"""Compares gradients with PyTorch's autograd in float64, and times PyTorch's training step on the CPU.

    pytorch.py gradients FILE.safetensors NETWORK   a file of `training-step --save`; ‖error‖ / ‖gradient‖ of each parameter
    pytorch.py speed [BATCH [WIDTH [SIDE]]]         a step of `ungrouped`: float32, fused SGD, two threads

It needs torch, numpy and safetensors; nothing is installed.
"""

import statistics
import sys
import time

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
    elif sys.argv[1:2] == ["speed"]:
        convert = [int, float, int]
        speed(*[f(a) for f, a in zip(convert, sys.argv[2:])])
    else:
        sys.exit(__doc__)
