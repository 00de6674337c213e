#!/usr/bin/env python3
"""Compares gradients and losses with PyTorch's, and times PyTorch's training step on the CPU.

    pytorch.py gradients FILE.safetensors NETWORK   a file of `training-step --save`; ‖error‖ / ‖gradient‖ of each parameter, in float64
    pytorch.py losses FILE.safetensors NETWORK      a file of `training-step --losses`; the losses of the same steps
    pytorch.py speed [BATCH [WIDTH [SIDE]]]         a step of `ungrouped`: float32, fused SGD, two threads
    pytorch.py finetune TRAIN VAL                   what `alexnet train TRAIN --val VAL` does, over three seeds

It needs torch, numpy, Pillow and safetensors; nothing is installed.
"""

import statistics
import sys
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image
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


def pictures(folder, classes):
    """Pictures of class folders as torchvision preprocesses them: shorter side 256, the middle 224x224, normalised."""
    mean, std = np.float32([0.485, 0.456, 0.406]), np.float32([0.229, 0.224, 0.225])
    for label, name in enumerate(classes):
        for path in sorted((Path(folder) / name).iterdir()):
            picture = Image.open(path).convert("RGB")
            scale = 256 / min(picture.size)
            picture = picture.resize([int(side * scale) for side in picture.size], Image.Resampling.BILINEAR)
            left, top = [round((side - 224) / 2) for side in picture.size]
            pixels = np.asarray(picture.crop((left, top, left + 224, top + 224)), np.float32) / 255
            yield (pixels - mean) / std, label


def finetune(train, val):
    torch.set_num_threads(2)
    start = time.perf_counter()
    classes = sorted(folder.name for folder in Path(train).iterdir())
    tensors = load_file(Path(__file__).parents[2] / "weights/imagenet-trunk-f16.safetensors")
    layers = [m for m in network("torchvision")]
    trunk = nn.Sequential(*layers[: layers.index(next(m for m in layers if isinstance(m, nn.AdaptiveAvgPool2d)))], nn.Flatten())
    for number, module in enumerate((m for m in trunk if isinstance(m, nn.Conv2d)), 1):
        module.weight.data = tensors[f"conv{number}.weight"].float()
        module.bias.data = tensors[f"conv{number}.bias"].float()
    sets = []
    for folder in (train, val):
        features, labels, waiting = [], [], []
        with torch.no_grad():
            for pixels, label in pictures(folder, classes):
                waiting.append(pixels.transpose(2, 0, 1))
                labels.append(label)
                if len(waiting) == 16:
                    features.append(trunk(torch.from_numpy(np.stack(waiting))))
                    waiting = []
            if waiting:
                features.append(trunk(torch.from_numpy(np.stack(waiting))))
        sets.append((torch.cat(features), torch.tensor(labels)))
    print(f"features of {sum(len(labels) for _, labels in sets)} pictures: {time.perf_counter() - start:.0f} s")
    # The recipe `finetune` of cli/src/train/mod.rs.
    batch, epochs, rate = 64, 20, 5e-4
    (x, y), (val_x, val_y) = sets
    steps = epochs * -(-len(y) // batch)
    rise = max(1.0, steps / 20)
    for seed in range(3):
        start = time.perf_counter()
        torch.manual_seed(seed)
        head = nn.Sequential(
            nn.Dropout(), nn.Linear(x.shape[1], 256), nn.ReLU(), nn.Dropout(), nn.Linear(256, len(classes))
        )
        optimizer = torch.optim.AdamW(head.parameters(), rate, weight_decay=0.01)
        shape = lambda k: (k + 1) / rise if k + 1 < rise else 0.5 * (1 + np.cos(np.pi * (k + 1 - rise) / (steps - rise + 1)))
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, shape)
        best = []
        for epoch in range(epochs):
            head.train()
            for indices in torch.randperm(len(y)).split(batch):
                loss = nn.functional.cross_entropy(head(x[indices]), y[indices])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
            head.eval()
            with torch.no_grad():
                best.append(float((head(val_x).argmax(1) == val_y).float().mean()))
        print(f"seed {seed}: {100 * max(best):.2f} % best, {100 * best[-1]:.2f} % last, {time.perf_counter() - start:.0f} s")


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
    elif sys.argv[1:2] == ["finetune"] and len(sys.argv) == 4:
        finetune(*sys.argv[2:])
    elif sys.argv[1:2] == ["speed"]:
        convert = [int, float, int]
        speed(*[f(a) for f, a in zip(convert, sys.argv[2:])])
    else:
        sys.exit(__doc__)
