"""Writes ONNX graphs with what they compute, for the ignored test `every_case_of_a_folder` of tests/onnx: the node tests of the
onnx package, and random sequential networks in the many ways in which exporters write them, computed by ONNX Runtime.

    python scripts/onnx-cases.py DIR [--random 2000] [--seed 1]

Needs the packages onnx, onnxruntime and numpy. Each case is NAME.onnx, NAME.x (the input, f32) and NAME.y (the output), with
the shapes of both in cases.json.
"""

import argparse
import json
import pathlib
import random

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

F32 = np.float32


class Folder:
    def __init__(self, path):
        self.path, self.cases = path, {}
        path.mkdir(parents=True, exist_ok=True)

    def add(self, name, model, x, y):
        # LogSoftmax is read as a softmax.
        made = {o: n for n in model.graph.node for o in n.output}
        node = made.get(model.graph.output[0].name)
        while node is not None and node.op_type in ("Identity", "Cast", "Reshape", "Squeeze", "Unsqueeze"):
            node = made.get(node.input[0])
        if node is not None and node.op_type == "LogSoftmax":
            y = np.exp(y)
        onnx.save(model, self.path / f"{name}.onnx")
        (self.path / f"{name}.x").write_bytes(np.ascontiguousarray(x, "<f4").tobytes())
        (self.path / f"{name}.y").write_bytes(np.ascontiguousarray(y, "<f4").tobytes())
        self.cases[name] = {"input": list(x.shape), "output": list(y.shape), "operators": [n.op_type for n in model.graph.node]}

    def finish(self):
        (self.path / "cases.json").write_text(json.dumps(self.cases))


def node_tests(folder):
    """Those with one picture: further inputs become constants."""
    from onnx.backend.test.loader import load_model_tests

    for kind in ("node", "pytorch-operator", "pytorch-converted", "simple"):
        for test in load_model_tests(kind=kind):
            try:
                one_test(folder, test)
            except (TypeError, ValueError):
                pass  # Values that are no tensors.


def one_test(folder, test):
    if test.model is not None:
        model = test.model
        inputs, outputs = ([np.asarray(v) for v in values] for values in test.data_sets[0])
    else:
        path = pathlib.Path(test.model_dir)
        model = onnx.load(path / "model.onnx")

        def tensors(kind, count):
            values = []
            for i in range(count):
                tensor = onnx.TensorProto()
                tensor.ParseFromString((path / f"test_data_set_0/{kind}_{i}.pb").read_bytes())
                values.append(numpy_helper.to_array(tensor))
            return values

        files = [p.name for p in (path / "test_data_set_0").iterdir()]
        inputs, outputs = (tensors(kind, sum(f.startswith(kind) for f in files)) for kind in ("input", "output"))
    if not inputs or not outputs or inputs[0].dtype != F32 or outputs[0].dtype != F32 or inputs[0].size == 0:
        return
    given = [i for i in model.graph.input if i.name not in {c.name for c in model.graph.initializer}]
    for info, value in zip(given[1:], inputs[1:]):
        model.graph.input.remove(info)
        model.graph.initializer.append(numpy_helper.from_array(value, info.name))
    del model.graph.output[1:]
    folder.add(f"{test.kind}-{test.name}", model, inputs[0], outputs[0])


class Maker:
    """A random sequential network, node by node. `dims` are those of the graph's value, `order` which of them are what."""

    def __init__(self, rng, numbers):
        self.rng, self.numbers = rng, numbers
        self.nodes, self.constants, self.count = [], [], 0
        self.opset = rng.choice([7, 9, 11, 13, 17, 18, 20])
        self.last, self.dims = "x", [1, rng.choice([1, 2, 3, 4]), rng.randint(6, 13), rng.randint(6, 13)]
        self.nhwc = False
        self.log = False

    def name(self):
        self.count += 1
        return f"v{self.count}"

    def constant(self, value):
        name = self.name()
        value = np.asarray(value)
        how = self.rng.random()
        if how < 0.7 or value.size == 0:
            self.constants.append(numpy_helper.from_array(value, name))
        elif how < 0.85:
            tensor = numpy_helper.from_array(value, name + "t")
            self.nodes.append(helper.make_node("Constant", [], [name], value=tensor))
        elif how < 0.95 and value.ndim > 0:
            flat = self.name()
            self.constants.append(numpy_helper.from_array(value.reshape(-1), flat))
            shape = self.name()
            self.constants.append(numpy_helper.from_array(np.array(value.shape, np.int64), shape))
            self.nodes.append(helper.make_node("Reshape", [flat, shape], [name]))
        else:
            inner = self.name()
            self.constants.append(numpy_helper.from_array(value, inner))
            self.nodes.append(helper.make_node("Identity", [inner], [name]))
        return name

    def floats(self, *shape, positive=False):
        v = self.numbers.uniform(-1, 1, shape).astype(F32)
        return self.constant((np.abs(v) + F32(0.5)).astype(F32) if positive else v)

    def ints(self, *values):
        return self.constant(np.array(values, np.int64))

    def add(self, op, inputs, dims, **attributes):
        out = self.name()
        self.nodes.append(helper.make_node(op, inputs, [out], **attributes))
        self.last, self.dims = out, list(dims)

    # Sizes of maps, wherever they stand.
    def sizes(self):
        n, a, b, c = self.dims
        return (n, c, a, b) if self.nhwc else (n, a, b, c)

    def placed(self, n, c, h, w):
        return [n, h, w, c] if self.nhwc else [n, c, h, w]

    def channel_shape(self, c):
        return self.rng.choice([[1, 1, 1, c], [1, 1, c], [c]]) if self.nhwc else self.rng.choice([[1, c, 1, 1], [c, 1, 1]])

    def to_nchw(self):
        if self.nhwc:
            n, c, h, w = self.sizes()
            self.nhwc = False
            self.add("Transpose", [self.last], [n, c, h, w], perm=[0, 3, 1, 2])

    def turn(self):
        n, c, h, w = self.sizes()
        self.to_nchw()
        self.nhwc = True
        self.add("Transpose", [self.last], [n, h, w, c], perm=[0, 2, 3, 1])

    def window(self, h, w):
        k = [self.rng.randint(1, min(3, h)), self.rng.randint(1, min(3, w))]
        s = [self.rng.randint(1, 2), self.rng.randint(1, 2)]
        return k, s

    def conv(self):
        self.to_nchw()
        n, c, h, w = self.dims
        k, s = self.window(h, w)
        groups = self.rng.choice([g for g in (1, 1, 2, c) if c % g == 0])
        out = groups * self.rng.randint(1, 3)
        attributes = {"strides": s, "group": groups}
        d = [1, 1]
        if self.rng.random() < 0.2:
            d = [self.rng.randint(1, 2), self.rng.randint(1, 2)]
            attributes["dilations"] = d
        e = [(k[i] - 1) * d[i] + 1 for i in range(2)]
        if e[0] > h or e[1] > w:
            return
        auto = self.rng.choice(["", "", "pads", "SAME_UPPER", "SAME_LOWER", "VALID"])
        p = [0, 0, 0, 0]
        if auto == "pads":
            p = [self.rng.randint(0, 3) for _ in range(4)]
            attributes["pads"] = p
        elif auto and d == [1, 1]:
            attributes["auto_pad"] = auto
        if auto.startswith("SAME") and d == [1, 1]:
            oh, ow = -(-h // s[0]), -(-w // s[1])
        else:
            oh, ow = (h + p[0] + p[2] - e[0]) // s[0] + 1, (w + p[1] + p[3] - e[1]) // s[1] + 1
        inputs = [self.last, self.floats(out, c // groups, *k)] + ([self.floats(out)] if self.rng.random() < 0.6 else [])
        self.add("Conv", inputs, [n, out, oh, ow], **attributes)

    def pool(self):
        self.to_nchw()
        n, c, h, w = self.dims
        k, s = self.window(h, w)
        op = self.rng.choice(["MaxPool", "AveragePool"])
        attributes = {"kernel_shape": k, "strides": s}
        p = [0, 0, 0, 0]
        if self.rng.random() < 0.4:
            p = [self.rng.randint(0, k[0] - 1), self.rng.randint(0, k[1] - 1), self.rng.randint(0, k[0] - 1), self.rng.randint(0, k[1] - 1)]
            attributes["pads"] = p
        if op == "AveragePool" and self.rng.random() < 0.6:
            attributes["count_include_pad"] = 1
        if self.opset >= 10 and self.rng.random() < 0.2:
            attributes["ceil_mode"] = 1
        self.add(op, [self.last], [n, c, None, None], **attributes)
        self.measure()

    def measure(self):
        """The dimensions, as ONNX Runtime has them."""
        self.dims = list(self.run(np.zeros(self.input_dims(), F32)).shape)

    def input_dims(self):
        return self.start

    def model(self):
        graph = helper.make_graph(
            self.nodes,
            "random",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, self.start)],
            [helper.make_tensor_value_info(self.last, TensorProto.FLOAT, None)],
            self.constants,
        )
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=8)

    def run(self, x):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.log_severity_level = 4
        session = onnxruntime.InferenceSession(self.model().SerializeToString(), options, providers=["CPUExecutionProvider"])
        return session.run(None, {"x": x})[0]

    def pointwise(self):
        rank = len(self.dims)
        activations = ["Relu", "LeakyRelu", "Elu", "Selu", "Sigmoid", "Tanh"]
        op = self.rng.choice(["Add", "Sub", "Mul", "Div", "Neg", "Clip", "Identity", "Max", "Min", "Dropout", "Cast", *activations])
        if op == "Clip":
            least, most = self.rng.choice([(0, None), (0, 6), (-1, 1), (None, 0.5), (0.25, 2)])
            if self.opset >= 11:
                bounds = [self.constant(np.array(v, F32)) if v is not None else "" for v in (least, most)]
                return self.add(op, [self.last, *bounds], self.dims)
            bounds = {"min": least, "max": most}
            return self.add(op, [self.last], self.dims, **{k: float(v) for k, v in bounds.items() if v is not None})
        if op in ("Max", "Min"):
            if self.opset < 8:
                return None
            return self.add(op, [self.last, self.constant(np.array(self.rng.choice([0, 0.5, -1]), F32))], self.dims)
        if op in ("LeakyRelu", "Elu") and self.rng.random() < 0.5:
            return self.add(op, [self.last], self.dims, alpha=self.rng.uniform(0.05, 1.5))
        if op == "Selu" and self.rng.random() < 0.3:
            return self.add(op, [self.last], self.dims, alpha=1.5, gamma=0.75)
        if op == "Cast":
            return self.add(op, [self.last], self.dims, to=TensorProto.FLOAT)
        if op in ("Neg", "Identity", "Dropout", *activations):
            return self.add(op, [self.last], self.dims)
        if rank == 4:
            shape = self.rng.choice([self.channel_shape(self.sizes()[1]), [], [1], self.dims if self.rng.random() < 0.2 else []])
        else:
            shape = self.rng.choice([[self.dims[-1]], [1] * (rank - 1) + [self.dims[-1]], [], [1]])
        value = self.floats(*shape, positive=op == "Div")
        inputs = [self.last, value]
        if op != "Div" and self.rng.random() < 0.4:
            inputs.reverse()
        return self.add(op, inputs, self.dims)

    def norm(self):
        if len(self.dims) == 4:
            self.to_nchw()
        elif len(self.dims) != 2:
            return
        c = self.dims[1]
        inputs = [self.last, self.floats(c), self.floats(c), self.floats(c), self.floats(c, positive=True)]
        self.add("BatchNormalization", inputs, self.dims, epsilon=self.rng.choice([1e-5, 1e-3]))

    def lrn(self):
        self.to_nchw()
        attributes = dict(size=self.rng.choice([1, 3, 5]), alpha=self.rng.uniform(0.01, 1), beta=0.75, bias=self.rng.choice([1.0, 2.0]))
        if self.rng.random() < 0.5:
            return self.add("LRN", [self.last], self.dims, **attributes)
        # In PyTorch's parts.
        n, c, h, w = self.dims
        size, x, dims = attributes["size"], self.last, self.dims
        self.add("Mul", [x, x], dims)
        self.add("Reshape", [self.last, self.ints(n, 1, c, h, w)], [n, 1, c, h, w])
        pads = [0, 0, size // 2, 0, 0, 0, 0, (size - 1) // 2, 0, 0]
        if self.opset >= 11:
            self.add("Pad", [self.last, self.ints(*pads)], dims)
        else:
            self.add("Pad", [self.last], dims, pads=pads)
        self.add("AveragePool", [self.last], dims, kernel_shape=[size, 1, 1], strides=[1, 1, 1])
        self.add("Reshape", [self.last, self.ints(n, c, h, w)], dims)
        self.add("Mul", [self.last, self.constant(np.array(attributes["alpha"], F32))], dims)
        self.add("Add", [self.last, self.constant(np.array(attributes["bias"], F32))], dims)
        self.add("Pow", [self.last, self.constant(np.array(attributes["beta"], F32))], dims)
        return self.add("Div", [x, self.last], dims)

    def pad(self):
        n, c, h, w = self.sizes()
        p = [self.rng.randint(0, 3) for _ in range(4)]
        pads = self.placed(0, 0, p[0], p[1]) + self.placed(0, 0, p[2], p[3])
        dims = self.placed(n, c, h + p[0] + p[2], w + p[1] + p[3])
        value = self.rng.choice([0.0, 0.0, 0.0, 0.5, -3.4e38])
        if self.opset >= 11:
            inputs = [self.last, self.ints(*pads)] + ([self.constant(np.array(value, F32))] if value else [])
            return self.add("Pad", inputs, dims)
        return self.add("Pad", [self.last], dims, pads=pads, value=value)

    def reduce(self, keep):
        n, c, h, w = self.sizes()
        axes = self.rng.choice([[1, 2], [-3, -2]] if self.nhwc else [[2, 3], [-1, -2]])
        op = self.rng.choice(["ReduceMean", "ReduceMax", "ReduceSum"])
        dims = self.placed(n, c, 1, 1) if keep else [n, c]
        as_input = self.opset >= 18 or (op == "ReduceSum" and self.opset >= 13)
        if as_input:
            self.add(op, [self.last, self.ints(*axes)], dims, keepdims=int(keep))
        else:
            self.add(op, [self.last], dims, axes=axes, keepdims=int(keep))

    def globally(self):
        self.to_nchw()
        n, c, _, _ = self.dims
        self.add(self.rng.choice(["GlobalAveragePool", "GlobalMaxPool"]), [self.last], [n, c, 1, 1])

    def flatten(self):
        n, rest = self.dims[0], int(np.prod(self.dims[1:]))
        how = self.rng.randint(0, 4)
        if how == 0:
            self.add("Flatten", [self.last], [n, rest], axis=1)
        elif how == 1:
            self.add("Reshape", [self.last, self.ints(*self.rng.choice([(0, -1), (n, -1), (-1, rest), (n, rest)]))], [n, rest])
        elif how == 2:
            x, start = self.last, self.rng.choice([self.last, "x"])
            self.add("Shape", [start], [4])
            self.add("Gather", [self.last, self.constant(np.array(0, np.int64))], [], axis=0)
            if self.opset >= 13:
                self.add("Unsqueeze", [self.last, self.ints(0)], [1])
            else:
                self.add("Unsqueeze", [self.last], [1], axes=[0])
            self.add("Concat", [self.last, self.ints(-1)], [2], axis=0)
            self.add("Reshape", [x, self.last], [n, rest])
        elif how == 3 and n == 1 and self.rng.random() < 0.5:
            self.add("Reshape", [self.last, self.ints(-1)], [rest])
        elif self.dims[2:] == [1, 1]:
            if self.opset >= 13:
                self.add("Squeeze", [self.last, self.ints(2, 3)], [n, rest])
            else:
                self.add("Squeeze", [self.last], [n, rest], axes=[2, 3])
        else:
            self.add("Reshape", [self.last, self.ints(n, rest)], [n, rest])
        self.nhwc = False

    def dense(self):
        inputs, outputs = self.dims[-1], self.rng.randint(2, 7)
        dims = self.dims[:-1] + [outputs]
        if len(self.dims) == 2 and self.rng.random() < 0.5:
            trans = self.rng.randint(0, 1)
            weight = self.floats(outputs, inputs) if trans else self.floats(inputs, outputs)
            attributes = {"transB": trans}
            if self.rng.random() < 0.3:
                attributes |= {"alpha": 0.5, "beta": 1.5}
            bias = [self.floats(*self.rng.choice([[outputs], [1, outputs], [1], []]))] if self.rng.random() < 0.7 or self.opset < 11 else []
            self.add("Gemm", [self.last, weight] + bias, dims, **attributes)
        else:
            self.add("MatMul", [self.last, self.floats(inputs, outputs)], dims)

    def make(self):
        rng = self.rng
        kind = rng.random()
        if kind < 0.2:
            n, c, h, w = self.dims
            self.nhwc, self.dims = True, [n, h, w, c]
        elif kind < 0.3:
            n, c, h, w = self.dims
            self.start, self.dims = [n, c * h * w], [n, c * h * w]
            self.add("Reshape", [self.last, self.ints(-1, c, h, w)], [n, c, h, w])
        if not hasattr(self, "start"):
            self.start = list(self.dims)
        for _ in range(rng.randint(1, 6)):
            step = rng.choice([self.conv, self.conv, self.pool, self.pointwise, self.pointwise, self.norm, self.lrn, self.pad, self.turn])
            step()
        end = rng.random()
        if end < 0.15:
            self.reduce(True)
        elif end < 0.3:
            self.reduce(False)
        elif end < 0.45:
            self.globally()
        if len(self.dims) == 4 and rng.random() < 0.8:
            self.flatten()
        if len(self.dims) < 4 or (self.nhwc and rng.random() < 0.5):
            for _ in range(rng.randint(0, 3)):
                rng.choice([self.dense, self.dense, self.pointwise, self.norm])()
        if rng.random() < 0.4:
            op = rng.choice(["Softmax", "LogSoftmax"])
            axes = [1, -1] if len(self.dims) != 4 else [3 if self.nhwc else 1]
            self.add(op, [self.last], self.dims, axis=rng.choice(axes) if len(self.dims) > 1 else 0)


def random_networks(folder, count, seed):
    made = 0
    while made < count:
        seed += 1
        maker = Maker(random.Random(seed), np.random.default_rng(seed))
        try:
            maker.make()
            x = np.random.default_rng(seed).uniform(-1, 1, maker.start).astype(F32)
            y = maker.run(x)
        except Exception:
            continue  # A graph that is none.
        if y.size == 0 or not np.isfinite(y).all():
            continue
        folder.add(f"random-{seed}", maker.model(), x, y)
        made += 1


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--random", type=int, default=2000, metavar="N", help="how many random networks")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    folder = Folder(arguments.folder)
    node_tests(folder)
    random_networks(folder, arguments.random, arguments.seed)
    folder.finish()


if __name__ == "__main__":
    main()
