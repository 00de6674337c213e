"""Writes the `ungrouped` AlexNet (227×227, no groups, no normalisation) with random weights, for every peer.

    model.py FOLDER BATCH

weights.bin    all tensors one after the other, f32, in the order of LAYERS: weight (OIHW or output × input), bias
input.bin      BATCH pictures, CHW
alexnet.onnx   with weights.bin as its data: for ONNX Runtime
wonnx.onnx     as wonnx takes it: in one file, matrices transposed, fc6 as two layers (151 MB are more than it binds)
alexnet.param  and alexnet.bin: for ncnn
"""

import sys
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper

# name, outputs, inputs, kernel, stride, padding, whether a 3×3 max pooling of stride 2 follows
CONVS = [
    ("conv1", 96, 3, 11, 4, 0, True),
    ("conv2", 256, 96, 5, 1, 2, True),
    ("conv3", 384, 256, 3, 1, 1, False),
    ("conv4", 384, 384, 3, 1, 1, False),
    ("conv5", 256, 384, 3, 1, 1, True),
]
# name, outputs, inputs
LINEARS = [("fc6", 4096, 9216), ("fc7", 4096, 4096), ("fc8", 1000, 4096)]


def make_tensors():
    """He et al. 2015: activations neither vanish nor grow, so that no peer computes with denormals. The last layer's are
    a tenth of that, so that every probability can be compared."""
    random = np.random.default_rng(20121203)
    shapes = [(n, (o, i, k, k)) for n, o, i, k, *_ in CONVS] + [(n, (o, i)) for n, o, i in LINEARS]
    tensors = {}
    for name, shape in shapes:
        fan_in = np.prod(shape[1:])
        scale = np.float32(np.sqrt(2 / fan_in) * (0.1 if name == "fc8" else 1))
        tensors[f"{name}.weight"] = random.standard_normal(shape, np.float32) * scale
        tensors[f"{name}.bias"] = random.standard_normal(shape[0], np.float32) * np.float32(0.1)
    return tensors


def make_onnx(tensors, batch, initializer, for_wonnx):
    nodes, initializers, last = [], [], "input"

    def tensor(name, values=None):
        initializers.append(initializer(name, tensors[name] if values is None else values))
        return name

    def node(op, name, inputs, **attributes):
        nonlocal last
        nodes.append(helper.make_node(op, inputs, [name], name=name, **attributes))
        last = name

    for name, _, _, kernel, stride, padding, pool in CONVS:
        inputs = [last, tensor(f"{name}.weight"), tensor(f"{name}.bias")]
        node("Conv", name, inputs, kernel_shape=[kernel] * 2, strides=[stride] * 2, pads=[padding] * 4)
        node("Relu", f"{name}.relu", [last])
        if pool:
            node("MaxPool", f"{name}.pool", [last], kernel_shape=[3, 3], strides=[2, 2])
    node("Flatten", "flat", [last], axis=1)
    for name, outputs, _ in LINEARS:
        if for_wonnx:
            flat, parts = last, 2 if name == "fc6" else 1
            weights, biases = (np.split(tensors[f"{name}.{kind}"], parts) for kind in ["weight", "bias"])
            for part in range(parts):
                weight = tensor(f"{name}.{part}.weight", weights[part].T)
                node("Gemm", f"{name}.{part}", [flat, weight, tensor(f"{name}.{part}.bias", biases[part])])
            if parts > 1:
                node("Concat", name, [f"{name}.{part}" for part in range(parts)], axis=1)
        else:
            node("Gemm", name, [last, tensor(f"{name}.weight"), tensor(f"{name}.bias")], transB=1)
        if name != "fc8":
            node("Relu", f"{name}.relu", [last])
    node("Softmax", "prob", [last], axis=1)

    inputs = [helper.make_tensor_value_info("input", TensorProto.FLOAT, [batch, 3, 227, 227])]
    outputs = [helper.make_tensor_value_info("prob", TensorProto.FLOAT, [batch, 1000])]
    graph = helper.make_graph(nodes, "ungrouped", inputs, outputs, initializers)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    # wonnx wants the shape of every value.
    return onnx.shape_inference.infer_shapes(made)


def write_ncnn(folder, tensors):
    lines, blobs, last = [], 1, "data"

    def layer(kind, name, parameters):
        nonlocal blobs, last
        lines.append(f"{kind} {name} 1 1 {last} {name} {parameters}")
        blobs, last = blobs + 1, name

    with open(folder / "alexnet.bin", "wb") as data:
        def weights(name):
            # Tag 0: f32 follow.
            data.write(b"\0\0\0\0" + tensors[f"{name}.weight"].tobytes() + tensors[f"{name}.bias"].tobytes())

        for name, outputs, inputs, kernel, stride, padding, pool in CONVS:
            size = outputs * inputs * kernel * kernel
            layer("Convolution", name, f"0={outputs} 1={kernel} 3={stride} 4={padding} 5=1 6={size} 9=1")
            weights(name)
            if pool:
                layer("Pooling", f"{name}.pool", "0=0 1=3 2=2 5=1")
        for name, outputs, inputs in LINEARS:
            layer("InnerProduct", name, f"0={outputs} 1=1 2={outputs * inputs} 9={int(name != 'fc8')}")
            weights(name)
    layer("Softmax", "prob", "0=0 1=1")
    head = ["7767517", f"{len(lines) + 1} {blobs}", "Input data 0 1 data 0=227 1=227 2=3"]
    (folder / "alexnet.param").write_text("\n".join(head + lines) + "\n")


def main():
    folder, batch = Path(sys.argv[1]), int(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    tensors = make_tensors()

    offsets, offset = {}, 0
    with open(folder / "weights.bin", "wb") as data:
        for name, values in tensors.items():
            offsets[name] = offset
            offset += data.write(values.tobytes())

    def external(name, values):
        made = TensorProto(name=name, dims=values.shape, data_type=TensorProto.FLOAT)
        made.data_location = TensorProto.EXTERNAL
        for key, value in [("location", "weights.bin"), ("offset", offsets[name]), ("length", values.nbytes)]:
            made.external_data.add(key=key, value=str(value))
        return made

    def inside(name, values):
        return helper.make_tensor(name, TensorProto.FLOAT, values.shape, values.tobytes(), raw=True)

    onnx.save(make_onnx(tensors, batch, external, for_wonnx=False), folder / "alexnet.onnx")
    onnx.save(make_onnx(tensors, batch, inside, for_wonnx=True), folder / "wonnx.onnx")
    write_ncnn(folder, tensors)
    np.random.default_rng(1).standard_normal((batch, 3, 227, 227), np.float32).tofile(folder / "input.bin")


main()
