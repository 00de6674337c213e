"""Times the peers and this project on one adapter, in turns, and prints a table. run.sh starts it.

    measure.py ADAPTER FOLDER BATCH ROUNDS OURS NAME=COMMAND...

OURS prints one JSON object as `alexnet bench --json` does and exits; each other COMMAND starts a worker (see worker.py).
Every round times all of them, one at a time; the others are stopped: one polls while it waits. What a peer says is kept in FOLDER/log.
"""

import json
import math
import os
import re
import shlex
import signal
import statistics
import subprocess
import sys
import threading
import time
from queue import Empty, Queue

# Making a network may take minutes where a peer tries many kernels.
START_LIMIT, RUN_LIMIT = 900, 300
# A quick peer runs a few times a turn, the first of them not timed: it has been asleep.
QUICK_MS, QUICK_RUNS = 1000, 3

# Relative error of the last layer above which a result is no result. 16-bit weights stay far below.
WRONG = 0.05


class Refusal(Exception):
    pass


class Worker:
    def __init__(self, command, folder, log):
        self.log = open(log, "w+")
        self.process = subprocess.Popen(
            shlex.split(command), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log, text=True
        )
        self.lines = Queue()
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        for line in self.process.stdout:
            if line.startswith("{"):
                self.lines.put(json.loads(line))
        self.lines.put({"error": self.ending()})

    def ending(self):
        status = self.process.wait()
        self.log.seek(0)
        said = [line.strip() for line in self.log if line.strip()]
        how = f"ended by signal {-status}" if status < 0 else f"ended with status {status}"
        # A panic's message stands below its place.
        panics = [said[i + 1] for i, line in enumerate(said[:-1]) if "panicked at" in line]
        return ". ".join([how] + (panics or said)[-1:])

    def answer(self, limit):
        try:
            line = self.lines.get(timeout=limit)
        except Empty:
            raise Refusal(f"no answer in {limit} s") from None
        if "error" in line:
            # The place in the peer's source says nothing here.
            raise Refusal(re.sub(r"^/\S+:\d+ .* was false\. ", "", " ".join(line["error"].split())))
        return line

    def ms(self):
        self.process.stdin.write("run\n")
        self.process.stdin.flush()
        return self.answer(RUN_LIMIT)["ms"]

    def end(self):
        self.process.kill()
        self.process.wait()


class Peer:
    def __init__(self, name, command, folder):
        self.name, self.adapter, self.first, self.output, self.refusal = name, "", None, None, None
        self.times = []
        self.worker = Worker(command, folder, f"{folder}/log/{name}.txt")
        try:
            ready = self.worker.answer(START_LIMIT)
            self.name, self.first, self.output = ready["peer"], ready["first_ms"], ready["output"]
            self.adapter = ready["adapter"]
            self.worker.ms()
            self.worker.process.send_signal(signal.SIGSTOP)
        except Refusal as refusal:
            self.refuse(refusal)

    def refuse(self, refusal):
        self.refusal = str(refusal)
        self.worker.end()

    def turn(self):
        if self.refusal:
            return
        try:
            self.worker.process.send_signal(signal.SIGCONT)
            first = self.worker.ms()
            if first < QUICK_MS:
                self.times += [self.worker.ms() for _ in range(QUICK_RUNS)]
            else:
                self.times.append(first)
            self.worker.process.send_signal(signal.SIGSTOP)
        except Refusal as refusal:
            self.refuse(refusal)


class Ours:
    """A fresh process each turn, which warms up by itself."""

    def __init__(self, command, runs):
        self.command = shlex.split(command) + ["--runs", str(runs)]
        self.times, self.minimum, self.said = [], math.inf, {}

    def turn(self):
        done = subprocess.run(self.command, capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"{shlex.join(self.command)} ended with status {done.returncode}: {done.stderr.strip()[-1000:]}")
        self.said = json.loads(done.stdout)
        self.times.append(self.said["median_ms"])
        self.minimum = min(self.minimum, self.said["min_ms"])


def logits(probabilities):
    """What went into the softmax, less its mean, picture by picture."""
    numbers = []
    for start in range(0, len(probabilities), 1000):
        logs = [math.log(max(p, 1e-38)) for p in probabilities[start:start + 1000]]
        mean = statistics.fmean(logs)
        numbers += [value - mean for value in logs]
    return numbers


def relative_error(found, expected):
    found, expected = logits(found), logits(expected)
    return math.dist(found, expected) / math.hypot(*expected)


def cpu():
    """The processor and its widest vectors: software Vulkan's speed hangs on them."""
    with open("/proc/cpuinfo") as file:
        lines = dict(line.split(":", 1) for line in file.read().split("\n\n")[0].splitlines() if ":" in line)
    fields = {key.strip(): value.strip() for key, value in lines.items()}
    vectors = next((v for v in ["avx512f", "avx2", "avx"] if v in fields.get("flags", "").split()), "no AVX")
    return f"{fields.get('model name', 'unknown processor')} ({vectors}), {os.cpu_count()} cores"


def main():
    adapter, folder, batch, rounds, ours = sys.argv[1:6]
    os.makedirs(f"{folder}/log", exist_ok=True)
    load = os.getloadavg()[0]
    peers = [Peer(*argument.split("=", 1), folder) for argument in sys.argv[6:]]
    ours = Ours(ours, QUICK_RUNS)
    for _ in range(int(rounds)):
        ours.turn()
        for peer in peers:
            peer.turn()
    for peer in peers:
        peer.worker.end()

    said = ours.said
    median = statistics.median(ours.times)
    wanted = {"network": "ungrouped", "batch": int(batch)}
    if {key: said.get(key) for key in wanted} != wanted:
        sys.exit(f"expected a run of {wanted}, found {said}")
    print(f"\n**{adapter}**: {said['adapter']}. Batch {batch}, {time.strftime('%Y-%m-%d')}, {cpu()}.")
    print(f"Load average {load:.1f} before, {os.getloadavg()[0]:.1f} after (one program computes at a time).\n")
    print("| | runs on | median ms | min ms | first ms | × ours | error |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    first = f"{said['first_ms']:,.0f}" if "first_ms" in said else "–"
    print(f"| **alexnet-wgpu**, {said['dtype']} | {adapter} | {median:,.1f} | {ours.minimum:,.1f} | {first} | 1 | – |")
    # All peers have the same weights and the same picture.
    expected = next((peer.output for peer in peers if peer.output), None)
    for peer in peers:
        if peer.refusal:
            print(f"| {peer.name} | {peer.adapter or adapter} | refuses: {peer.refusal[:300].replace('|', '/')} | | | | |")
            continue
        middle = statistics.median(peer.times)
        error = 0 if peer.output is expected else relative_error(peer.output, expected)
        error = "reference" if not error else f"{error:.0e}" + (", **wrong**" if error > WRONG else "")
        runs_on = peer.adapter if (peer.adapter or "").startswith("CPU") else adapter
        print(
            f"| {peer.name} | {runs_on} | {middle:,.1f} | {min(peer.times):,.1f} | {peer.first:,.0f} "
            f"| {middle / median:.2f} | {error} |"
        )


main()
