#!/usr/bin/env python3
"""How the cost of AlexNet grows with the batch, the picture's side, the network's width and the threads, beside ONNX Runtime's CPU.

    measure.py OUT [ALEXNET]    writes OUT/growth.csv and OUT/growth.svg; ALEXNET is the command, by default target/release/alexnet

The same ONNX file with random weights goes to both, in turns; times are medians. On a software adapter, threads are LP_NUM_THREADS'.
Joules are the processor package's, from RAPL, where the system lets this program read them. It needs numpy, onnx, onnxruntime and
matplotlib; nothing is installed.
"""

import csv
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import matplotlib
import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

matplotlib.use("svg")
from matplotlib import pyplot as plt  # noqa: E402

RAPL = Path("/sys/class/powercap/intel-rapl:0/energy_uj")
BATCHES = [1, 2, 4, 8, 16, 32, 64, 128, 256]
SIDES = [63, 95, 127, 224, 319, 447, 639, 1024]
WIDTHS = [0.5, 0.75, 1, 1.5, 2]
THREADS = [1, 2]


def model(path, width=1.0, side=227, trunk=False):
    """The `ungrouped` AlexNet, or torchvision's convolutions. Returns the multiply-adds of a picture."""
    random = np.random.default_rng(1)
    nodes, tensors, last, macs = [], [], "input", 0
    channels, rows = 3, side

    def weights(name, shape):
        values = random.standard_normal(shape, np.float32) * np.float32(np.sqrt(2 / np.prod(shape[1:])))
        bias = np.zeros(shape[0], np.float32)
        tensors.extend([numpy_helper.from_array(values, f"{name}.weight"), numpy_helper.from_array(bias, f"{name}.bias")])
        return [f"{name}.weight", f"{name}.bias"]

    def node(op, name, inputs, **attributes):
        nonlocal last
        nodes.append(helper.make_node(op, inputs, [name], name=name, **attributes))
        last = name

    sizes = [64, 192, 384, 256, 256] if trunk else [96, 256, 384, 384, 256]
    windows = [(11, 4, 2 if trunk else 0), (5, 1, 2), (3, 1, 1), (3, 1, 1), (3, 1, 1)]
    for number, (outputs, (kernel, stride, padding)) in enumerate(zip(sizes, windows), 1):
        name, pool = f"conv{number}", number in (1, 2, 5)
        outputs = round(outputs * width)
        inputs = [last, *weights(name, (outputs, channels, kernel, kernel))]
        node("Conv", name, inputs, kernel_shape=[kernel] * 2, strides=[stride] * 2, pads=[padding] * 4)
        node("Relu", f"{name}.relu", [last])
        rows = (rows + 2 * padding - kernel) // stride + 1
        macs += rows * rows * outputs * channels * kernel * kernel
        channels = outputs
        if pool:
            node("MaxPool", f"{name}.pool", [last], kernel_shape=[3, 3], strides=[2, 2])
            rows = (rows - 3) // 2 + 1
    if trunk:
        # `alexnet bench` takes networks that end in a vector.
        node("GlobalAveragePool", "mean", [last])
    else:
        node("Flatten", "flat", [last], axis=1)
        length = channels * rows * rows
        for name, outputs in [("fc6", 4096), ("fc7", 4096), ("fc8", 1000)]:
            node("Gemm", name, [last, *weights(name, (outputs, length))], transB=1)
            macs += outputs * length
            length = outputs
            if name != "fc8":
                node("Relu", f"{name}.relu", [last])
        node("Softmax", "prob", [last], axis=1)
    shape = ["n", channels, 1, 1] if trunk else ["n", 1000]
    graph = helper.make_graph(
        nodes,
        "alexnet",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["n", 3, side, side])],
        [helper.make_tensor_value_info(last, TensorProto.FLOAT, shape)],
        tensors,
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return macs


def joules():
    try:
        return int(RAPL.read_text()) / 1e6
    except OSError:
        return None


def bench(command, path, batch, threads, runs):
    """The command's report, and the joules of the whole process."""
    before = joules()
    out = subprocess.run(
        [command, "bench", "--untuned", "--quiet", "--json", "--runs", str(runs), "--batch", str(batch), "--weights", path],
        env={**os.environ, "LP_NUM_THREADS": str(threads)},
        check=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ).stdout
    return json.loads(out), None if before is None else joules() - before


def ours(command, path, batch, threads, runs):
    report, energy = bench(command, path, batch, threads, runs)
    if energy is not None:
        # What more runs take more.
        energy = (bench(command, path, batch, threads, 3 * runs)[1] - energy) / (2 * runs)
    return report["median_ms"], energy


def theirs(path, batch, side, threads, runs):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    pictures = np.random.default_rng(2).standard_normal((batch, 3, side, side), np.float32)
    times, energy = [], []
    for _ in range(runs + 2):
        before, start = joules(), time.perf_counter()
        session.run(None, {"input": pictures})
        times.append(1e3 * (time.perf_counter() - start))
        after = joules()
        energy.append(None if before is None else after - before)
    known = [e for e in energy[2:] if e is not None]
    return statistics.median(times[2:]), statistics.median(known) if known else None


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    out = Path(sys.argv[1])
    command = sys.argv[2] if len(sys.argv) > 2 else Path(__file__).parents[2] / "target/release/alexnet"
    out.mkdir(parents=True, exist_ok=True)
    points = [("batch", b, dict(batch=b)) for b in BATCHES]
    points += [("side", s, dict(side=s, trunk=True)) for s in SIDES]
    points += [("width", w, dict(width=w)) for w in WIDTHS]
    points += [("threads", t, dict(threads=t)) for t in THREADS] + [("threads, batch 16", t, dict(threads=t, batch=16)) for t in THREADS]
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for kind, value, settings in points:
            path = f"{folder}/model.onnx"
            batch, threads, side = settings.get("batch", 1), settings.get("threads", 2), settings.get("side", 227)
            macs = model(path, settings.get("width", 1.0), side, settings.get("trunk", False))
            runs = 7 if batch <= 16 else 3
            # In turns, twice; the lesser of two medians is disturbed less.
            turns = [(ours(command, path, batch, threads, runs), theirs(path, batch, side, threads, runs)) for _ in range(2)]
            (mine, energy), (other, other_energy) = [min(found, key=lambda found: found[0]) for found in zip(*turns)]
            rows.append(
                {
                    "what": kind,
                    "value": value,
                    "multiply_adds_per_picture": macs,
                    "ms": round(mine, 2),
                    "onnxruntime_ms": round(other, 2),
                    "ratio": round(mine / other, 2),
                    "ms_per_picture": round(mine / batch, 2),
                    "gmac_per_s": round(macs * batch / mine / 1e6, 1),
                    "onnxruntime_gmac_per_s": round(macs * batch / other / 1e6, 1),
                    "joules": "" if energy is None else round(energy, 3),
                    "onnxruntime_joules": "" if other_energy is None else round(other_energy, 3),
                }
            )
            print(rows[-1], flush=True)
    with open(out / "growth.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    plot(out, rows)


def plot(out, rows):
    plt.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "growth"})
    figure, axes = plt.subplots(1, 3, figsize=(12, 3.6), constrained_layout=True)
    for axis, kind, label in zip(axes, ["batch", "side", "width"], ["Pictures", "Side of the input, convolutions only", "Width"]):
        chosen = [row for row in rows if row["what"] == kind]
        x = [row["value"] for row in chosen]
        axis.loglog(x, [row["ms"] for row in chosen], "o-", label="alexnet-wgpu, this adapter")
        axis.loglog(x, [row["onnxruntime_ms"] for row in chosen], "s-", label=f"ONNX Runtime {onnxruntime.__version__}, CPU")
        # What the multiply-adds alone would take at the highest rate that was measured.
        peak = max(row["gmac_per_s"] for row in rows)
        batch = [row["value"] if kind == "batch" else 1 for row in chosen]
        ideal = [row["multiply_adds_per_picture"] * b / peak / 1e6 for row, b in zip(chosen, batch)]
        axis.loglog(x, ideal, ":", color="gray", label=f"{peak:.0f} billion multiply-adds a second")
        axis.set_xlabel(label)
        axis.set_xticks(x, [str(v) for v in x], minor=False)
        axis.set_xticks([], minor=True)
        axis.grid(True, which="major", alpha=0.3)
    axes[0].set_ylabel("ms a run")
    axes[0].legend(fontsize="small")
    plt.savefig(out / "growth.svg", metadata={"Date": None})


if __name__ == "__main__":
    main()
