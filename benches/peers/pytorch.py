#!/usr/bin/env python3
"""Times PyTorch on a CUDA GPU with the same network and input size, for comparison with this project: in f32 without TF32, in
f32 with it, and in f16 with channels last.

    pytorch.py [BATCH...]     by default 1 16 64 256

It needs torch, on a machine with an NVIDIA GPU; nothing is installed. Milliseconds are medians of 50 runs (and the least),
input on the device, the most likely class read back: as Python calls layer by layer, and as a CUDA graph, which it starts at
once. benches/gpu.sh times this project beside it.
"""

import statistics
import sys
import time

try:
    import torch
except ImportError:
    sys.exit("pytorch.py: there is no torch here: pip install torch")
from torch import nn

RUNS = 50


def make_network():
    """`ungrouped`: see model.py, which needs packages that this does not."""
    pool = lambda: nn.MaxPool2d(3, 2)
    return nn.Sequential(
        nn.Conv2d(3, 96, 11, 4), nn.ReLU(), pool(),
        nn.Conv2d(96, 256, 5, padding=2), nn.ReLU(), pool(),
        nn.Conv2d(256, 384, 3, padding=1), nn.ReLU(),
        nn.Conv2d(384, 384, 3, padding=1), nn.ReLU(),
        nn.Conv2d(384, 256, 3, padding=1), nn.ReLU(), pool(),
        nn.Flatten(), nn.Linear(9216, 4096), nn.ReLU(), nn.Linear(4096, 4096), nn.ReLU(), nn.Linear(4096, 1000),
        nn.Softmax(1),
    ).cuda().eval()


def measure(run):
    times = []
    for _ in range(RUNS):
        start = time.perf_counter()
        run().cpu()
        times.append((time.perf_counter() - start) * 1e3)
    return f"{statistics.median(times):.3f} ({min(times):.3f})"


def main():
    if not torch.cuda.is_available():
        sys.exit("pytorch.py: expected a CUDA GPU, found none")
    torch.backends.cudnn.benchmark = True
    print(f"torch {torch.__version__}, {torch.cuda.get_device_name(0)}")
    for precision in ["f32", "tf32", "f16"]:
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = precision == "tf32"
        time_batches(precision)


def time_batches(precision):
    network, form = make_network(), {"device": "cuda"}
    if precision == "f16":
        network = network.half().to(memory_format=torch.channels_last)
        form["dtype"] = torch.half
    with torch.inference_mode():
        for batch in [int(a) for a in sys.argv[1:]] or [1, 16, 64, 256]:
            pictures = torch.randn(batch, 3, 227, 227, **form)
            if precision == "f16":
                pictures = pictures.to(memory_format=torch.channels_last)
            classify = lambda: network(pictures).argmax(1)
            stream = torch.cuda.Stream()
            with torch.cuda.stream(stream):
                for _ in range(10):
                    classify()
            stream.synchronize()
            eager = measure(classify)
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                classes = classify()
            print(f"{precision}, batch {batch}: {eager} ms by layers, {measure(lambda: graph.replay() or classes)} ms as a graph")


if __name__ == "__main__":
    main()
