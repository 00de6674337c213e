"""Writes the weight files of tests/formats.rs with the tools that people have them from: PyTorch, the onnx package,
the safetensors package, and Caffe's protocol buffers.

    python -m venv venv && venv/bin/pip install -r requirements.txt
    venv/bin/python make.py               # the committed files, beside this script
    venv/bin/python make.py --full DIR    # one full-size file a format, for the ignored test `full_size`

Weights and pictures are SplitMix64's, as `Weights::random` draws them. expected.json holds what PyTorch (float64) or
ONNX Runtime (float32) computes from each file: the numbers before the softmax.
"""

import argparse
import json
import os
import pathlib
import struct
import subprocess
import sys
import tempfile
import zipfile
from collections import OrderedDict

import numpy as np
import onnx
import onnxruntime
import safetensors.torch
import torch
import torch.nn.functional as F
from onnx import TensorProto, helper, numpy_helper
from torch import nn

HERE = pathlib.Path(__file__).parent
SEED = 1
CLASSES = 10


def uniform(seed, n, bound):
    """n numbers in ±bound: the top 24 bits of SplitMix64's outputs."""
    state = np.arange(1, n + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(seed)
    z = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    z ^= z >> np.uint64(31)
    unit = (z >> np.uint64(40)).astype(np.float32) * np.float32(2**-23) - np.float32(1)
    return unit * np.float32(bound)


class Alex:
    """An AlexNet: its sizes, and its tensors by the names conv1 … fc8."""

    def __init__(self, variant, channels, head=(8, 8), classes=CLASSES, side=None):
        self.variant, self.channels, self.head, self.classes = variant, channels, head, classes
        self.groups = 2 if variant in ("caffe", "caffenet") else 1
        self.side = side or (224 if variant == "torchvision" else 227)
        ins = [3, *channels[:4]]
        kernels = [11, 5, 3, 3, 3]
        groups = [1, self.groups, 1, self.groups, self.groups]
        shapes = [(f"conv{i + 1}", (channels[i], ins[i] // groups[i], k, k)) for i, k in enumerate(kernels)]
        rows = [*head, classes]
        columns = [channels[4] * 36, *head]
        shapes += [(f"fc{i + 6}", (rows[i], columns[i])) for i in range(3)]
        self.tensors = OrderedDict()
        seed = SEED
        for name, shape in shapes:
            bound = np.float32(np.sqrt(6.0 / np.prod(shape[1:])))
            self.tensors[f"{name}.weight"] = uniform(seed, int(np.prod(shape)), bound).reshape(shape)
            self.tensors[f"{name}.bias"] = uniform(seed + 1, shape[0], 0.1)
            seed += 2
        self.conv_groups = groups

    def logits(self, tensors=None):
        """What PyTorch computes in float64 from `tensors`, the network's own if not given."""
        t = {k: torch.as_tensor(np.array(v, dtype=np.float64)) for k, v in (tensors or self.tensors).items()}
        x = torch.as_tensor(picture(3, self.side).astype(np.float64))
        lrn = lambda x: F.local_response_norm(x, 5, alpha=1e-4, beta=0.75, k=1.0)
        # The zoo's 224 gives 54 rows after conv1; rounding up is what its padding does.
        pool = lambda x: F.max_pool2d(x, 3, 2, ceil_mode=self.variant in ("caffe", "caffenet"))
        strides, pads = [4, 1, 1, 1, 1], [2 if self.variant == "torchvision" else 0, 2, 1, 1, 1]
        for i in range(5):
            w, b = t[f"conv{i + 1}.weight"], t[f"conv{i + 1}.bias"]
            x = F.relu(F.conv2d(x, w, b, strides[i], pads[i], groups=self.conv_groups[i]))
            if i < 2 and self.variant == "caffe":
                x = lrn(x)
            if i in (0, 1, 4):
                x = pool(x)
            if i < 2 and self.variant == "caffenet":
                x = lrn(x)
        x = x.flatten(1)
        for i in (6, 7, 8):
            x = F.linear(x, t[f"fc{i}.weight"], t[f"fc{i}.bias"])
            x = F.relu(x) if i < 8 else x
        return x


SMALL = {
    "torchvision": lambda: Alex("torchvision", [2, 6, 12, 8, 4]),
    "ungrouped": lambda: Alex("ungrouped", [3, 8, 12, 12, 4]),
    "caffe": lambda: Alex("caffe", [4, 8, 12, 12, 8]),
    "caffe224": lambda: Alex("caffe", [4, 8, 12, 12, 8], side=224),
    "caffenet": lambda: Alex("caffenet", [4, 8, 12, 12, 8]),
}
FULL = {
    "torchvision": lambda: Alex("torchvision", [64, 192, 384, 256, 256], (4096, 4096), 1000),
    "ungrouped": lambda: Alex("ungrouped", [96, 256, 384, 384, 256], (4096, 4096), 1000),
    "caffe": lambda: Alex("caffe", [96, 256, 384, 384, 256], (4096, 4096), 1000),
    "caffe224": lambda: Alex("caffe", [96, 256, 384, 384, 256], (4096, 4096), 1000, side=224),
    "caffenet": lambda: Alex("caffenet", [96, 256, 384, 384, 256], (4096, 4096), 1000),
}


def picture(channels, side):
    """The input, as the network sees it."""
    return uniform(SEED + 16, channels * side * side, 2.0).reshape(1, channels, side, side)


class Writer:
    """Puts files in a folder and notes what they hold."""

    def __init__(self, folder):
        self.folder, self.expected = folder, {}

    def path(self, name):
        return str(self.folder / name)

    def note(self, name, network, input_shape, logits, **more):
        logits = np.asarray(logits, dtype=np.float64).reshape(-1)
        # Eight digits are beyond what the tests ask for, and keep the file small.
        logits = [float(f"{v:.9g}") for v in logits]
        self.expected[name] = {"network": network, "input": list(input_shape), "logits": logits, **more}

    def alex(self, name, alex, tensors=None, dtype="f32", **more):
        self.note(name, alex.variant, (3, alex.side, alex.side), alex.logits(tensors), dtype=dtype, **more)

    def finish(self):
        text = ",\n".join(f"{json.dumps(k)}: {json.dumps(v)}" for k, v in sorted(self.expected.items()))
        (self.folder / "expected.json").write_text("{\n" + text + "\n}\n")
        for path in self.folder.iterdir():
            path.chmod(0o644)


# PyTorch and safetensors

FEATURES = dict(zip(["conv1", "conv2", "conv3", "conv4", "conv5"], [0, 3, 6, 8, 10]))
CLASSIFIER = dict(zip(["fc6", "fc7", "fc8"], [1, 4, 6]))


def torchvision_name(name):
    layer, kind = name.split(".")
    return f"features.{FEATURES[layer]}.{kind}" if layer in FEATURES else f"classifier.{CLASSIFIER[layer]}.{kind}"


class TorchvisionAlexNet(nn.Module):
    """torchvision's module, at any width; `flatten` is how the features become a vector."""

    def __init__(self, alex, flatten):
        super().__init__()
        c, (fc6, fc7), relu = alex.channels, alex.head, lambda: nn.ReLU(inplace=True)
        self.features = nn.Sequential(
            *[nn.Conv2d(3, c[0], 11, 4, 2), relu(), nn.MaxPool2d(3, 2)],
            *[nn.Conv2d(c[0], c[1], 5, padding=2), relu(), nn.MaxPool2d(3, 2)],
            *[nn.Conv2d(c[1], c[2], 3, padding=1), relu()],
            *[nn.Conv2d(c[2], c[3], 3, padding=1), relu()],
            *[nn.Conv2d(c[3], c[4], 3, padding=1), relu(), nn.MaxPool2d(3, 2)],
        )
        self.avgpool = nn.AdaptiveAvgPool2d((6, 6))
        self.classifier = nn.Sequential(
            *[nn.Dropout(), nn.Linear(c[4] * 36, fc6), relu()],
            *[nn.Dropout(), nn.Linear(fc6, fc7), relu(), nn.Linear(fc7, alex.classes)],
        )
        self.flatten = flatten
        self.load_state_dict({torchvision_name(k): torch.as_tensor(v) for k, v in alex.tensors.items()})
        self.eval()

    def forward(self, x):
        return self.classifier(self.flatten(self.avgpool(self.features(x))))


class Malice:
    def __reduce__(self):
        return os.system, ("echo this must never be executed",)


def write_torch(out, alex, full=False):
    model = TorchvisionAlexNet(alex, lambda x: torch.flatten(x, 1))
    state = model.state_dict()
    save, legacy = torch.save, dict(_use_new_zipfile_serialization=False)
    save(state, out.path("torchvision.pth"))
    save(state, out.path("torchvision-legacy.pth"), **legacy)
    for name in ["torchvision.pth", "torchvision-legacy.pth"]:
        out.alex(name, alex)
    safetensors.torch.save_file(state, out.path("torchvision.safetensors"))
    out.alex("torchvision.safetensors", alex)
    if full:
        return

    # As training programs save: DataParallel's names, counters, the optimiser's state, a tensor beside the state dict.
    parallel = nn.DataParallel(model)
    optimiser = torch.optim.SGD(parallel.parameters(), 0.01, momentum=0.9)
    checkpoint = {
        "epoch": 90,
        "arch": "alexnet",
        "best_acc1": torch.tensor(56.5),
        "optimizer": optimiser.state_dict(),
        "loss": 6.9,
        "state_dict": parallel.state_dict(),
    }
    save(checkpoint, out.path("checkpoint.pth"))
    out.alex("checkpoint.pth", alex)
    # Parameters rather than tensors, deeper down, in a newer pickle, and a counter as batch normalisation has.
    parameters = OrderedDict(model.named_parameters())
    parameters["features.1.num_batches_tracked"] = torch.tensor(7)
    save({"model": {"model_state_dict": parameters}}, out.path("parameters.pt"), pickle_protocol=4)
    out.alex("parameters.pt", alex)
    save({"net": parameters}, out.path("parameters-legacy.pt"), **legacy)
    out.alex("parameters-legacy.pt", alex)

    # Views: all biases in one storage, convolutions as channels-last, fully connected layers as transposes.
    biases = torch.cat([v for k, v in state.items() if k.endswith("bias")])
    views, at = OrderedDict(), 0
    for k, v in state.items():
        if v.ndim == 4:
            views[k] = v.contiguous(memory_format=torch.channels_last)
        elif v.ndim == 2:
            views[k] = v.t().contiguous().t()
        else:
            views[k] = biases[at : at + len(v)]
            at += len(v)
    assert not any(v.is_contiguous() for v in views.values() if v.ndim > 1 and v.shape[1] > 1)
    save(views, out.path("views.pth"))
    out.alex("views.pth", alex)
    save(views, out.path("views-legacy.pth"), **legacy)
    out.alex("views-legacy.pth", alex)

    for name, dtype, short in [("half", torch.float16, "f16"), ("bfloat16", torch.bfloat16, "bf16")]:
        rounded = {k: torch.as_tensor(v).to(dtype) for k, v in alex.tensors.items()}
        save(OrderedDict((torchvision_name(k), v) for k, v in rounded.items()), out.path(f"{name}.pth"))
        out.alex(f"{name}.pth", alex, {k: v.double().numpy() for k, v in rounded.items()}, dtype=short)
    save({k: v.double() for k, v in state.items()}, out.path("double-legacy.pth"), **legacy)
    out.alex("double-legacy.pth", alex, dtype="f64")

    # As an archiver packs it again.
    with zipfile.ZipFile(out.path("torchvision.pth")) as source, zipfile.ZipFile(
        out.path("deflated.pth"), "w", zipfile.ZIP_DEFLATED
    ) as target:
        for entry in source.namelist():
            target.writestr(entry, source.read(entry))
    out.alex("deflated.pth", alex)

    # A head as timm writes VGG's: convolutions over the whole input, and names that do not sort.
    names = {"fc6": "pre_logits.fc1", "fc7": "pre_logits.fc2", "fc8": "head.fc"}
    timm = {}
    for k, v in alex.tensors.items():
        layer, kind = k.split(".")
        if layer in names and kind == "weight" and layer != "fc8":
            v = v.reshape(v.shape[0], -1, 6, 6) if layer == "fc6" else v.reshape(*v.shape, 1, 1)
        timm[f"{names[layer]}.{kind}" if layer in names else torchvision_name(k)] = torch.as_tensor(v)
    safetensors.torch.save_file(timm, out.path("timm.safetensors"))
    out.alex("timm.safetensors", alex)

    # What must be refused.
    save({"state_dict": {"fc8.bias": state["classifier.6.bias"]}, "x": Malice()}, out.path("refused-malice.pth"))
    save(Malice(), out.path("refused-malice-legacy.pth"), **legacy)
    save(nn.Linear(1, 1), out.path("refused-module.pth"))
    save({"fc8.weight": torch.ones(2, 2, dtype=torch.int64)}, out.path("refused-integers.pth"))
    save({"epoch": 90}, out.path("refused-empty.pth"))
    torch.jit.script(nn.Linear(1, 1)).save(out.path("refused-script.pt"))


# ONNX


def run_onnx(path, side):
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: picture(3, side)})[0]


def onnx_alex(alex, opset, encode, softmax, flatten="reshape", listed_inputs=False, node_names=False):
    """As the model zoo's: one initializer a tensor (`encode` writes it), poolings padded so that 224 ends in 6×6."""
    nodes, initializers = [], []
    current = "data_0"

    def node(op, *more, **attributes):
        nonlocal current
        output = f"{op.lower()}{len(nodes)}_1"
        nodes.append(
            helper.make_node(op, [current, *more], [output], name=f"n{len(nodes)}" if node_names else "", **attributes)
        )
        current = output

    def parameters(name):
        for kind in ("weight", "bias"):
            initializers.append(encode(f"{name}_{kind[0]}_0", alex.tensors[f"{name}.{kind}"]))
        return f"{name}_w_0", f"{name}_b_0"

    def pool(size):
        extra = 1 if (size - 3) % 2 else 0
        node("MaxPool", kernel_shape=[3, 3], strides=[2, 2], pads=[0, 0, extra, extra])
        return (size + extra - 3) // 2 + 1

    def lrn():
        node("LRN", size=5, alpha=9.999999747378752e-05, beta=0.75, bias=1.0)

    torchvision = alex.variant == "torchvision"
    size = (alex.side + (4 if torchvision else 0) - 11) // 4 + 1
    strides, pads, kernels = [4, 1, 1, 1, 1], [2 if torchvision else 0, 2, 1, 1, 1], [11, 5, 3, 3, 3]
    for i in range(5):
        node(
            "Conv",
            *parameters(f"conv{i + 1}"),
            group=alex.conv_groups[i],
            kernel_shape=[kernels[i]] * 2,
            pads=[pads[i]] * 4,
            strides=[strides[i]] * 2,
        )
        node("Relu")
        if i < 2 and alex.variant == "caffe":
            lrn()
        if i in (0, 1, 4):
            size = pool(size)
        if i < 2 and alex.variant == "caffenet":
            lrn()
    assert size == 6
    columns = alex.channels[4] * 36
    if flatten == "reshape":
        initializers.append(numpy_helper.from_array(np.array([1, columns], np.int64), "OC2_DUMMY_1"))
        node("Reshape", "OC2_DUMMY_1")
    elif flatten == "attribute":
        node("Reshape", shape=[1, columns])
    else:
        node("Flatten", axis=1)
    for i in (6, 7, 8):
        node("Gemm", *parameters(f"fc{i}"), transB=1, **({"broadcast": 1} if opset < 7 else {}))
        if i < 8:
            node("Relu")
            ratio = {"ratio": 0.5} if opset < 12 else {}
            node("Dropout", **ratio, **({"is_test": 1} if opset < 7 else {}))
    logits = current
    if softmax:
        node("Softmax", axis=1)
    kind = initializers[0].data_type
    inputs = [helper.make_tensor_value_info("data_0", kind, [1, 3, alex.side, alex.side])]
    if listed_inputs:
        inputs += [helper.make_tensor_value_info(t.name, t.data_type, list(t.dims)) for t in initializers]
    outputs = [helper.make_tensor_value_info(current, kind, [1, alex.classes])]
    graph = helper.make_graph(nodes, "bvlc_alexnet", inputs, outputs, initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], producer_name="onnx-caffe2")
    model.ir_version = 3 if listed_inputs else 8
    return model, logits


def raw(name, array, dtype=np.float32):
    return numpy_helper.from_array(array.astype(dtype), name)


def typed(name, array, kind=TensorProto.FLOAT):
    return helper.make_tensor(name, kind, list(array.shape), array.reshape(-1).tolist())


def write_onnx(out, sizes, full=False):
    def with_softmax(model, logits):
        """ONNX Runtime's result before the softmax."""
        del model.graph.output[:]
        model.graph.output.extend([helper.make_tensor_value_info(logits, TensorProto.FLOAT, None)])
        return model

    alex = sizes["caffe224"]()
    model, logits = onnx_alex(alex, 9, raw, softmax=True, listed_inputs=True)
    if not full:
        onnx.checker.check_model(model)
    onnx.save(model, out.path("zoo.onnx"))
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/logits.onnx"
        onnx.save(with_softmax(model, logits), path)
        out.note("zoo.onnx", "caffe", (3, 224, 224), run_onnx(path, 224), dtype="f32")
    if full:
        return

    alex = sizes["caffenet"]()
    model, logits = onnx_alex(alex, 7, typed, softmax=True, flatten="flatten", node_names=True)
    onnx.checker.check_model(model)
    onnx.save(model, out.path("typed.onnx"))
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/logits.onnx"
        onnx.save(with_softmax(model, logits), path)
        out.note("typed.onnx", "caffenet", (3, 227, 227), run_onnx(path, 227), dtype="f32")

    # The first operators, which ONNX Runtime no longer runs.
    alex = sizes["caffe"]()
    model, _ = onnx_alex(alex, 3, raw, softmax=True, flatten="attribute", listed_inputs=True)
    onnx.checker.check_model(model)
    onnx.save(model, out.path("opset3.onnx"))
    out.alex("opset3.onnx", alex)

    # Numbers in a file beside it, without a softmax.
    alex = sizes["ungrouped"]()
    model, _ = onnx_alex(alex, 13, raw, softmax=False, flatten="flatten")
    pathlib.Path(out.path("external.onnx.bin")).unlink(missing_ok=True)
    onnx.save(
        model,
        out.path("external.onnx"),
        save_as_external_data=True,
        location="external.onnx.bin",
        size_threshold=0,
        convert_attribute=False,
    )
    out.note("external.onnx", "ungrouped", (3, 227, 227), run_onnx(out.path("external.onnx"), 227), dtype="f32")

    # Half precision, raw and in integers; double precision, typed. ONNX Runtime would compute in half precision too.
    alex = sizes["torchvision"]()
    half = {k: v.astype(np.float16) for k, v in alex.tensors.items()}
    mixed = lambda name, array: (
        raw(name, array, np.float16) if "conv" in name else typed(name, array.astype(np.float16), TensorProto.FLOAT16)
    )
    model, _ = onnx_alex(alex, 13, mixed, softmax=False, flatten="flatten")
    onnx.checker.check_model(model)
    assert any(t.int32_data for t in model.graph.initializer) and any(t.raw_data for t in model.graph.initializer)
    onnx.save(model, out.path("half.onnx"))
    out.alex("half.onnx", alex, half, dtype="f16")
    model, _ = onnx_alex(alex, 13, lambda n, a: typed(n, a.astype(np.float64), TensorProto.DOUBLE), softmax=False)
    assert all(t.double_data for t in model.graph.initializer if t.data_type == TensorProto.DOUBLE)
    onnx.save(model, out.path("double.onnx"))
    out.alex("double.onnx", alex, dtype="f64")

    # PyTorch's two exporters; the batch is open in the first, whose flattening is then computed from shapes.
    module = TorchvisionAlexNet(alex, lambda x: x.view(x.size(0), -1))
    args = (module, torch.as_tensor(picture(3, 224)))
    axes = dict(input_names=["input"], dynamic_axes={"input": {0: "batch"}})
    torch.onnx.export(*args, out.path("exported.onnx"), dynamo=False, **axes)
    assert "Shape" in [n.op_type for n in onnx.load(out.path("exported.onnx")).graph.node]
    out.note("exported.onnx", "torchvision", (3, 224, 224), run_onnx(out.path("exported.onnx"), 224), dtype="f32")
    torch.onnx.export(*args, out.path("dynamo.onnx"), dynamo=True)
    slim = onnx.load(out.path("dynamo.onnx"), load_external_data=False)
    for node in slim.graph.node:
        # Stack traces with this machine's paths.
        del node.metadata_props[:]
    del slim.graph.value_info[:]
    del slim.graph.metadata_props[:]
    onnx.save(slim, out.path("dynamo.onnx"))
    out.note("dynamo.onnx", "torchvision", (3, 224, 224), run_onnx(out.path("dynamo.onnx"), 224), dtype="f32")

    write_small_onnx(out)


def write_small_onnx(out):
    """Networks that are no AlexNet: what the operators can be told, and what must be refused."""

    def weights(seed, *shape):
        bound = np.sqrt(6.0 / np.prod(shape[1:])) if len(shape) > 1 else 0.1
        return uniform(seed, int(np.prod(shape)), bound).reshape(shape)

    def save(name, nodes, initializers, side, outputs=("y",), rank=2, dims=None):
        tensors = [numpy_helper.from_array(np.asarray(v), k) for k, v in initializers.items()]
        graph = helper.make_graph(
            nodes,
            "small",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, dims or [1, 3, side, side])],
            [helper.make_tensor_value_info(o, TensorProto.FLOAT, list("nchw")[:rank]) for o in outputs],
            tensors,
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
        model.ir_version = 8
        onnx.checker.check_model(model)
        onnx.save(model, out.path(name))

    make = helper.make_node
    constant = make("Constant", [], ["bias"], value=numpy_helper.from_array(weights(6, 7)))
    nodes = [
        make("Conv", ["x", "w1", "b1"], ["c1"], "c1", auto_pad="SAME_UPPER", kernel_shape=[5, 4], strides=[2, 3]),
        make("Relu", ["c1"], ["r1"], "r1"),
        make("LRN", ["r1"], ["l1"], "l1", size=3, alpha=0.5, beta=0.6, bias=1.5),
        make("MaxPool", ["l1"], ["p1"], "p1", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 0, 0, 1], ceil_mode=1),
        make("Conv", ["p1", "w2"], ["c2"], "c2", auto_pad="SAME_LOWER", kernel_shape=[2, 2], group=2),
        make("MaxPool", ["c2"], ["p2"], "p2", kernel_shape=[2, 2], strides=[2, 2]),
        # After the pooling: the same as before it.
        make("Relu", ["p2"], ["r2"], "r2"),
        make("AveragePool", ["r2"], ["a2"], "a2", kernel_shape=[2, 3], strides=[2, 3]),
        make("Identity", ["a2"], ["i2"], "i2"),
        make("Flatten", ["i2"], ["f2"], "f2"),
        make("MatMul", ["f2", "w3"], ["m3"], "m3"),
        constant,
        make("Add", ["m3", "bias"], ["a3"], "a3"),
        make("Relu", ["a3"], ["r3"], "r3"),
        make("Transpose", ["w4"], ["w4t"], "w4t", perm=[1, 0]),
        make("Gemm", ["r3", "w4t", "b4"], ["y"], "y", transB=0, alpha=0.5, beta=2.0),
    ]
    initializers = {
        "w1": weights(1, 4, 3, 5, 4),
        "b1": weights(2, 4),
        "w2": weights(3, 6, 2, 2, 2),
        "w3": weights(4, 12, 7),
        "w4": weights(5, 5, 7),
        "b4": weights(7, 5),
    }
    save("operators.onnx", nodes, initializers, 33)
    out.note("operators.onnx", "small", (3, 33, 33), run_onnx(out.path("operators.onnx"), 33), dtype="f32")

    # The input's size is open, and global pooling fits any.
    nodes = [
        make("Conv", ["x", "w1", "b1"], ["c1"], "c1", kernel_shape=[5, 4]),
        make("Relu", ["c1"], ["r1"], "r1"),
        make("GlobalAveragePool", ["r1"], ["g1"], "g1"),
        make("Reshape", ["g1", "to"], ["f1"], "f1"),
        make("Gemm", ["f1", "w2"], ["g2"], "g2", transB=1),
        make("Softmax", ["g2"], ["y"], "y"),
    ]
    initializers = {"w1": weights(1, 4, 3, 5, 4), "b1": weights(2, 4), "w2": weights(3, 5, 4)}
    initializers["to"] = np.array([0, -1], np.int64)
    save("open.onnx", nodes, initializers, None, outputs=("g2", "y"), dims=["n", 3, "h", "w"])
    out.note("open.onnx", "small", (3, 224, 224), run_onnx(out.path("open.onnx"), 224), dtype="f32")

    # torchvision's layers, which fit 227 too, with casts as converters leave them and two dropouts in a row.
    nodes, initializers, current = [make("Cast", ["x"], ["x0"], "in", to=TensorProto.FLOAT)], {}, "x0"
    alex = SMALL["torchvision"]()
    for i, (kernel, stride, pad) in enumerate([(11, 4, 2), (5, 1, 2), (3, 1, 1), (3, 1, 1), (3, 1, 1)]):
        w, b, c, r, m = (f"{kind}{i}" for kind in "wbcrm")
        initializers[w], initializers[b] = (alex.tensors[f"conv{i + 1}.{kind}"] for kind in ("weight", "bias"))
        sizes = {"kernel_shape": [kernel] * 2, "strides": [stride] * 2, "pads": [pad] * 4}
        nodes += [make("Conv", [current, w, b], [c], c, **sizes), make("Relu", [c], [r], r)]
        current = r
        if i in (0, 1, 4):
            nodes.append(make("MaxPool", [r], [m], m, kernel_shape=[3, 3], strides=[2, 2]))
            current = m
    nodes += [make("Dropout", [current], ["d0"], "d0"), make("Flatten", ["d0"], ["f"], "f")]
    nodes += [make("Dropout", ["f"], ["d1"], "d1")]
    current = "d1"
    for i in (6, 7, 8):
        w, b, g, r = (f"{kind}{i}" for kind in "wbgr")
        initializers[w], initializers[b] = (alex.tensors[f"fc{i}.{kind}"] for kind in ("weight", "bias"))
        nodes.append(make("Gemm", [current, w, b], [g], g, transB=1))
        current = g
        if i < 8:
            nodes.append(make("Relu", [g], [r], r))
            current = r
    nodes += [make("Cast", [current], ["l"], "out", to=TensorProto.FLOAT), make("Softmax", ["l"], ["y"], "y")]
    save("open-alexnet.onnx", nodes, initializers, None, outputs=("l", "y"), dims=["n", 3, "h", "w"])
    logits = run_onnx(out.path("open-alexnet.onnx"), 224)
    out.note("open-alexnet.onnx", "torchvision", (3, 224, 224), logits, dtype="f32")

    # One matrix that is to be seventy.
    nodes, current = [make("Flatten", ["x"], ["f"], "f")], "f"
    for i in range(70):
        nodes.append(make("Gemm", [current, "w"], [f"g{i}"]))
        current = f"g{i}"
    save("refused-shared.onnx", nodes, {"w": weights(1, 75, 75)}, 5, outputs=(current,))

    conv = make("Conv", ["x", "w"], ["c"], "c", kernel_shape=[1, 1])
    one = {"w": weights(1, 3, 3, 1, 1)}
    refused = {
        "hardmax": ([conv, make("Hardmax", ["c"], ["y"], "squash")], one),
        "branch": ([conv, make("Relu", ["c"], ["r"], "r"), make("Add", ["r", "x"], ["y"], "shortcut")], one),
        "nan": ([conv, make("LRN", ["c"], ["y"], "lrn", size=3, alpha=float("nan"))], one),
        "softmax": ([conv, make("Softmax", ["c"], ["y"], "columns")], one),
    }
    for name, (nodes, initializers) in refused.items():
        save(f"refused-{name}.onnx", nodes, initializers, 8, rank=4)

    # A few bytes that ask for fifty million classes.
    info = helper.make_tensor_value_info
    values = info("x", TensorProto.FLOAT, [1, 3, 4096, 4096]), info("y", TensorProto.FLOAT, None)
    graph = helper.make_graph([make("Dropout", ["x"], ["y"], None)], "g", [values[0]], [values[1]])
    onnx.save(helper.make_model(graph), out.path("refused-bomb.onnx"))
    bomb = {"name": "bomb", "input": {"channels": 3, "height": 4096, "width": 4096}}
    bomb["layers"] = [{"name": "d", "op": "dropout"}]
    whole = {"resize": {"warp": [4096, 4096]}, "crop": [4096, 4096], "channels": "rgb", "scale": 1}
    whole |= {"mean": [0, 0, 0], "std": [1, 1, 1]}
    notes = {"network": json.dumps(bomb), "preprocessing": json.dumps(whole)}
    safetensors.torch.save_file({}, out.path("refused-bomb.safetensors"), notes)


# Caffe


def caffe_messages():
    """The classes of caffe.proto."""
    with tempfile.TemporaryDirectory() as folder:
        arguments = [f"-I{HERE}", f"--python_out={folder}", str(HERE / "caffe.proto")]
        subprocess.run([sys.executable, "-m", "grpc_tools.protoc", *arguments], check=True)
        sys.path.insert(0, folder)
        import caffe_pb2

        return caffe_pb2


def fill(blob, array, four=False, double=False):
    (blob.double_data if double else blob.data).extend(array.reshape(-1).tolist())
    if four:
        blob.num, blob.channels, blob.height, blob.width = (1,) * (4 - array.ndim) + array.shape
    else:
        blob.shape.dim.extend(array.shape)


def caffe_alex(pb, alex, v1):
    """BVLC's train_val.prototxt as a snapshot holds it (V1), or its deploy.prototxt (V2), with weights."""
    net = pb.NetParameter(name="AlexNet" if alex.variant == "caffe" else "CaffeNet")
    kinds = pb.V1LayerParameter
    layers = net.layers if v1 else net.layer

    def layer(name, kind, number, bottom, top):
        made = layers.add(name=name, type=number if v1 else kind)
        made.bottom.extend(bottom)
        made.top.extend(top)
        return made

    def learn(made, name):
        for i, kind in enumerate(("weight", "bias")):
            fill(made.blobs.add(), alex.tensors[f"{name}.{kind}"], four=v1, double=not v1 and name == "conv3")
        if v1:
            made.blobs_lr.extend([1, 2])
            made.weight_decay.extend([1, 0])
            # Snapshots may carry the gradients.
            if name == "fc8":
                made.blobs[0].diff.extend(made.blobs[0].data)

    if v1:
        data = layer("data", "Data", kinds.DATA, [], ["data", "label"])
        data.data_param.source, data.data_param.batch_size = "ilsvrc12_train_lmdb", 256
        data.transform_param.mirror, data.transform_param.crop_size = True, alex.side
        data.transform_param.mean_value.extend([104, 117, 123])
        layer("label_data_1_split", "Split", kinds.SPLIT, ["label"], ["label_0", "label_1"])
    else:
        data = layer("data", "Input", None, [], ["data"])
        data.input_param.shape.add().dim.extend([10, 3, alex.side, alex.side])
    current = "data"

    def norm(i):
        nonlocal current
        made = layer(f"norm{i}", "LRN", kinds.LRN, [current], [f"norm{i}"])
        made.lrn_param.local_size, made.lrn_param.alpha, made.lrn_param.beta = 5, 1e-4, 0.75
        current = f"norm{i}"

    def pool(i):
        nonlocal current
        made = layer(f"pool{i}", "Pooling", kinds.POOLING, [current], [f"pool{i}"])
        made.pooling_param.pool = pb.PoolingParameter.MAX
        made.pooling_param.kernel_size, made.pooling_param.stride = 3, 2
        current = f"pool{i}"

    kernels, strides, pads = [11, 5, 3, 3, 3], [4, 1, 1, 1, 1], [0, 2, 1, 1, 1]
    for i in range(1, 6):
        made = layer(f"conv{i}", "Convolution", kinds.CONVOLUTION, [current], [f"conv{i}"])
        p = made.convolution_param
        p.num_output = alex.channels[i - 1]
        p.kernel_size.append(kernels[i - 1])
        if pads[i - 1]:
            p.pad.append(pads[i - 1])
        if strides[i - 1] > 1:
            p.stride.append(strides[i - 1])
        if alex.conv_groups[i - 1] > 1:
            p.group = alex.conv_groups[i - 1]
        learn(made, f"conv{i}")
        current = f"conv{i}"
        layer(f"relu{i}", "ReLU", kinds.RELU, [current], [current])
        steps = {"caffe": [norm, pool], "caffenet": [pool, norm]}[alex.variant] if i < 3 else [pool] if i == 5 else []
        for step in steps:
            step(i)
    for i in (6, 7, 8):
        made = layer(f"fc{i}", "InnerProduct", kinds.INNER_PRODUCT, [current], [f"fc{i}"])
        made.inner_product_param.num_output = alex.tensors[f"fc{i}.bias"].shape[0]
        learn(made, f"fc{i}")
        current = f"fc{i}"
        if i < 8:
            layer(f"relu{i}", "ReLU", kinds.RELU, [current], [current])
            layer(f"drop{i}", "Dropout", kinds.DROPOUT, [current], [current]).dropout_param.dropout_ratio = 0.5
    if v1:
        layer("fc8_fc8_0_split", "Split", kinds.SPLIT, ["fc8"], ["fc8_0", "fc8_1"])
        layer("accuracy", "Accuracy", kinds.ACCURACY, ["fc8_0", "label_0"], ["accuracy"])
        layer("loss", "SoftmaxWithLoss", kinds.SOFTMAX_LOSS, ["fc8_1", "label_1"], ["loss"])
    else:
        layer("prob", "Softmax", None, ["fc8"], ["prob"])
    return net


def write_caffe(out, sizes, full=False):
    pb = caffe_messages()

    def save(name, net):
        pathlib.Path(out.path(name)).write_bytes(net.SerializeToString())

    alex = sizes["caffe"]()
    save("v1.caffemodel", caffe_alex(pb, alex, v1=True))
    out.alex("v1.caffemodel", alex)
    alex = sizes["caffenet"]()
    net = caffe_alex(pb, alex, v1=False)
    save("v2.caffemodel", net)
    out.alex("v2.caffemodel", alex)
    if full:
        return
    # Without its input layer, as nets are that were saved from a part of another.
    del net.layer[0]
    save("no-input.caffemodel", net)
    out.alex("no-input.caffemodel", alex)

    # Rounding up, with and without padding, a bias less, and a head of another kind.
    net = pb.NetParameter(name="small", input=["x"], input_dim=[1, 3, 31, 30])
    w1, w2 = uniform(1, 4 * 3 * 9, 0.5).reshape(4, 3, 3, 3), uniform(2, 5 * 4, 0.5).reshape(4, 5)
    conv = net.layer.add(name="c1", type="Convolution", bottom=["x"], top=["c1"])
    conv.convolution_param.num_output, conv.convolution_param.bias_term = 4, False
    conv.convolution_param.kernel_size.extend([3, 3])
    conv.convolution_param.stride.extend([1, 2])
    conv.convolution_param.pad.extend([0, 1])
    fill(conv.blobs.add(), w1)
    net.layer.add(name="r1", type="ReLU", bottom=["c1"], top=["c1"])
    for i, (kernel, stride, pad) in enumerate([(2, 2, 1), (3, 2, 0), (2, 3, 1)]):
        pool = net.layer.add(name=f"p{i}", type="Pooling", bottom=["c1" if i == 0 else f"p{i - 1}"], top=[f"p{i}"])
        pool.pooling_param.kernel_size, pool.pooling_param.stride, pool.pooling_param.pad = kernel, stride, pad
    average = net.layer.add(name="mean", type="Pooling", bottom=["p2"], top=["mean"])
    average.pooling_param.pool, average.pooling_param.global_pooling = pb.PoolingParameter.AVE, True
    head = net.layer.add(name="head", type="InnerProduct", bottom=["mean"], top=["head"])
    head.inner_product_param.num_output, head.inner_product_param.transpose = 5, True
    head.inner_product_param.bias_term = False
    fill(head.blobs.add(), w2)
    save("rounding.caffemodel", net)
    x = torch.as_tensor(uniform(SEED + 16, 3 * 31 * 30, 2.0).reshape(1, 3, 31, 30).astype(np.float64))
    x = F.relu(F.conv2d(x, torch.as_tensor(w1).double(), None, (1, 2), (0, 1)))
    for kernel, stride, pad in [(2, 2, 1), (3, 2, 0), (2, 3, 1)]:
        x = F.max_pool2d(x, kernel, stride, pad, ceil_mode=True)
    logits = x.mean((2, 3)) @ torch.as_tensor(w2).double()
    out.note("rounding.caffemodel", "small", (3, 31, 30), logits, dtype="f32")

    # What must be refused.
    save("refused-eltwise.caffemodel", pb.NetParameter(name="s", layer=[net.layer[0], pb.LayerParameter(
        name="squash", type="Eltwise", bottom=["c1"], top=["c1"])]))
    net = caffe_alex(pb, sizes["caffe"](), v1=False)
    for layer in net.layer:
        del layer.blobs[:]
    save("refused-untrained.caffemodel", net)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", type=pathlib.Path, metavar="DIR", help="write full-size files to this folder")
    arguments = parser.parse_args()
    full = arguments.full is not None
    out, sizes = Writer(arguments.full or HERE), FULL if full else SMALL
    out.folder.mkdir(parents=True, exist_ok=True)
    write_torch(out, sizes["torchvision"](), full)
    write_onnx(out, sizes, full)
    write_caffe(out, sizes, full)
    out.finish()


if __name__ == "__main__":
    main()
