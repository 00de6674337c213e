#!/usr/bin/env python3
"""Times `alexnet classify FOLDER` as a whole command, its parts alone, and Pillow with PyTorch beside it, in turns.

    python3 -m venv venv && venv/bin/pip install numpy==2.4.6 pillow==13.0.0 safetensors torch
    venv/bin/python benches/scale/pictures.py target/scale/pictures
    cargo build --release --bin alexnet --example scale-parts
    venv/bin/python benches/scale/measure.py target/scale/pictures [ROUNDS [busy]]

CSV: what ran, pictures, wall seconds, processor seconds, pictures per second, peak resident KiB, and processor seconds of other
programs meanwhile. Then the two ratios of the command's wall time: to the processor seconds of decoding and of computing alone
divided by the number of cores, and, for the first 300 pictures through the embedded network, to PyTorch's time. A run during
which other programs took more than a twentieth of the cores is repeated, at most TRIES times; with `busy` it is not. Linux only.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BUILT = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release"
WEIGHTS = BUILT.parent / "scale/ungrouped.safetensors"
CORES = os.cpu_count()
TRIES = 1 if "busy" in sys.argv else 8


def busy():
    """Processor seconds of all programs since the start of the machine."""
    user, nice, system, _, _, irq, softirq, steal = map(int, Path("/proc/stat").read_text().split("\n")[0].split()[1:9])
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def wait_until_quiet():
    """Waits until other programs take less than a twentieth of the cores for two seconds, for ten minutes at most."""
    for _ in range(300 if TRIES > 1 else 0):
        before = busy()
        time.sleep(2)
        if busy() - before < 2 * CORES / 20:
            return


def run(command):
    """Output, wall seconds, processor seconds and peak resident KiB of a command, and processor seconds of others."""
    for _ in range(TRIES):
        wait_until_quiet()
        start, before = time.perf_counter(), busy()
        child = subprocess.Popen([str(part) for part in command], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        output = child.stdout.read()
        _, status, used = os.wait4(child.pid, 0)
        if status != 0:
            sys.exit(f"{command} ended with status {status}")
        wall, processor = time.perf_counter() - start, used.ru_utime + used.ru_stime
        others = max(0.0, busy() - before - processor)
        if others < wall * CORES / 20 or TRIES == 1:
            break
        print(f"# others took {others:.1f} s of {wall * CORES:.1f} s: again", flush=True)
    return output, wall, processor, used.ru_maxrss, others


def row(what, pictures, wall, processor, others, peak=""):
    print(f"{what},{pictures},{wall:.2f},{processor:.2f},{pictures / wall:.1f},{peak},{others:.1f}", flush=True)


def part(what, *arguments):
    """A part alone: pictures, wall and processor seconds as it says itself."""
    output, *_, others = run([BUILT / "examples/scale-parts", what, *arguments])
    pictures, wall, processor = output.split()
    row(f"{what} alone{' (ungrouped)' if WEIGHTS in arguments else ''}", int(pictures), float(wall), float(processor), others)
    return float(processor)


def whole(pictures, count, weights):
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "labels.csv"
        command = [BUILT / "alexnet", "classify", pictures, "--top", "1", "--output", output, "--untuned", *weights]
        _, wall, processor, peak, others = run(command)
        rows = output.read_text().count("\n") - 1
        if rows != count:
            sys.exit(f"expected {count} rows, found {rows}")
    row(f"alexnet classify{' (ungrouped)' if weights else ''}", count, wall, processor, others, peak)
    return wall


def main():
    pictures, rounds = Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 3
    files = sorted(pictures.glob("*.jpg"))
    if not WEIGHTS.exists():
        WEIGHTS.parent.mkdir(parents=True, exist_ok=True)
        run([BUILT / "examples/scale-parts", "weights", WEIGHTS])
    print("what,pictures,wall s,processor s,pictures/s,peak KiB,others' processor s")
    bounds, beside = {"embedded": [], "ungrouped": []}, []
    with tempfile.TemporaryDirectory() as folder:
        first = Path(folder)
        for file in files[:300]:
            (first / file.name).symlink_to(file.resolve())
        for _ in range(rounds):
            for name, weights in (("embedded", []), ("ungrouped", [WEIGHTS])):
                given = ["--weights", *weights] if weights else []
                wall = whole(pictures, len(files), given)
                alone = part("decode", pictures, *weights) + part("compute", len(files), *weights)
                bounds[name].append(wall * CORES / alone)
            ours = whole(first, len(files[:300]), [])
            output, _, _, peak, others = run([sys.executable, Path(__file__).parent / "torch_classify.py", first])
            count, wall, processor = output.split()
            row("Pillow and PyTorch", int(count), float(wall), float(processor), others, peak)
            beside.append(ours / float(wall))
    for name, ratios in bounds.items():
        print(f"{name}: wall / (decoding + computing) x cores: median {statistics.median(ratios):.2f}, {min(ratios):.2f} to {max(ratios):.2f}")
    print(f"300 pictures, wall / PyTorch's: median {statistics.median(beside):.2f}, {min(beside):.2f} to {max(beside):.2f}")


main()
