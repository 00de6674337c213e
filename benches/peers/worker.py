"""One Python peer: loads the network, then runs it once for each line that it reads. measure.py starts it.

    worker.py PEER FOLDER BATCH THREADS
    PEER: onnxruntime-cpu, onnxruntime-webgpu, ncnn-cpu, ncnn-cpu-f32, ncnn-vulkan, ncnn-vulkan-f32

It answers with JSON lines: first {"peer", "adapter", "first_ms", "output"} or {"error"}, then {"ms"} for each run.
first_ms is from the loaded libraries to the first result: the model read, shaders compiled, one run.
"""

import json
import sys
import time

import numpy as np


def onnxruntime(folder, pictures, threads, device):
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    gpu = device == "webgpu"
    if gpu:
        # An adapter that is refused is an error, not a run on the processor.
        options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    provider = "WebGpuExecutionProvider" if gpu else "CPUExecutionProvider"
    session = ort.InferenceSession(f"{folder}/alexnet.onnx", options, providers=[provider], enable_fallback=0)
    if session.get_providers()[0] != provider:
        raise RuntimeError(f"{provider} was not taken: {session.get_providers()}")
    name = f"ONNX Runtime {ort.__version__}" + (", WebGPU" if gpu else "")
    return name, None if gpu else f"CPU, {threads} threads", lambda: session.run(None, {"input": pictures})[0]


def ncnn(folder, pictures, threads, device):
    import ncnn

    net = ncnn.Net()
    net.opt.num_threads = threads
    name, adapter = f"ncnn {ncnn.__version__}", f"CPU, {threads} threads"
    if device.startswith("vulkan"):
        if ncnn.get_gpu_count() == 0:
            raise RuntimeError("ncnn finds no Vulkan device")
        net.opt.use_vulkan_compute = True
        net.set_vulkan_device(0)
        name, adapter = f"{name}, Vulkan", ncnn.get_gpu_info(0).device_name()
    # By default ncnn stores what it can in 16 bits.
    if device.endswith("-f32"):
        net.opt.use_fp16_packed = net.opt.use_fp16_storage = net.opt.use_fp16_arithmetic = False
        name += ", f32"
    if net.load_param(f"{folder}/alexnet.param") or net.load_model(f"{folder}/alexnet.bin"):
        raise RuntimeError("ncnn does not load the network")

    # A clone has its rows where ncnn's Vulkan code expects them; the array's own memory gives wrong results.
    inputs = [ncnn.Mat(picture).clone() for picture in pictures]

    def run():
        # ncnn knows no batches.
        outputs = []
        for picture in inputs:
            extractor = net.create_extractor()
            extractor.input("data", picture)
            status, output = extractor.extract("prob")
            if status:
                raise RuntimeError(f"ncnn's extract ends with {status}")
            outputs.append(np.array(output))
        return np.stack(outputs)

    return name, adapter, run


def main():
    peer, folder, batch, threads = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    pictures = np.fromfile(f"{folder}/input.bin", np.float32).reshape(batch, 3, 227, 227)
    library, device = peer.split("-", 1)
    __import__(library)

    def say(**values):
        print(json.dumps(values), flush=True)

    start = time.perf_counter()
    try:
        prepare = {"onnxruntime": onnxruntime, "ncnn": ncnn}[library]
        name, adapter, run = prepare(folder, pictures, threads, device)
        output = run()
    except Exception as refusal:
        say(error=str(refusal))
        raise
    first = (time.perf_counter() - start) * 1e3
    say(peer=name, adapter=adapter, first_ms=first, output=output.ravel().tolist())
    for _ in sys.stdin:
        start = time.perf_counter()
        run()
        say(ms=(time.perf_counter() - start) * 1e3)


main()
