//! ONNX operators in double precision, by the standard's definitions: the tests' oracle, independent of the library.

use std::collections::HashMap;

use crate::build::{Graph, Node};

/// A dense array in row-major order. Integers are stored as floating-point numbers too.
#[derive(Clone, Debug, PartialEq)]
pub struct Array {
    pub shape: Vec<usize>,
    pub values: Vec<f64>,
}

/// All indices of a shape, the last dimension fastest.
fn indices(shape: &[usize]) -> impl Iterator<Item = Vec<usize>> {
    let shape = shape.to_vec();
    (0..shape.iter().product::<usize>()).map(move |mut i| {
        let mut index = vec![0; shape.len()];
        for axis in (0..shape.len()).rev() {
            index[axis] = i % shape[axis];
            i /= shape[axis];
        }
        index
    })
}

impl Array {
    fn new(shape: Vec<usize>, at: impl FnMut(Vec<usize>) -> f64) -> Self {
        let values = indices(&shape).map(at).collect();
        Self { shape, values }
    }

    fn at(&self, index: &[usize]) -> f64 {
        self.values[self.shape.iter().zip(index).fold(0, |a, (&d, &i)| a * d + i)]
    }

    /// The element at an index of a shape that this is broadcast to.
    fn broadcast(&self, index: &[usize]) -> f64 {
        let own: Vec<usize> = index[index.len() - self.shape.len()..]
            .iter()
            .zip(&self.shape)
            .map(|(&i, &d)| if d == 1 { 0 } else { i })
            .collect();
        self.at(&own)
    }

    fn ints(&self) -> Vec<i64> {
        self.values.iter().map(|&v| v as i64).collect()
    }

    fn with(&self, shape: Vec<usize>) -> Self {
        assert_eq!(shape.iter().product::<usize>(), self.values.len(), "a shape of as many numbers");
        Self { shape, values: self.values.clone() }
    }
}

fn axis(a: i64, rank: usize) -> usize {
    (if a < 0 { a + rank as i64 } else { a }) as usize
}

/// Computes every value of the graph, by name.
pub fn interpret(graph: &Graph, x: Array) -> HashMap<String, Array> {
    let mut values: HashMap<String, Array> = HashMap::from([("x".to_string(), x)]);
    for i in &graph.initializers {
        values.insert(i.name.clone(), Array { shape: i.shape.clone(), values: i.values.clone() });
    }
    for node in &graph.nodes {
        let inputs: Vec<Option<&Array>> = node.inputs.iter().map(|name| values.get(name)).collect();
        for (name, input) in node.inputs.iter().zip(&inputs) {
            assert!(name.is_empty() || input.is_some(), "{} reads `{name}`, which nothing makes", node.op);
        }
        let results = operator(node, &inputs, graph.opset);
        values.extend(node.outputs.iter().cloned().zip(results));
    }
    values
}

fn operator(node: &Node, inputs: &[Option<&Array>], opset: i64) -> Vec<Array> {
    let input = |i: usize| inputs[i].unwrap();
    let optional = |i: usize| inputs.get(i).copied().flatten();
    let ints = |i: usize, name: &str| optional(i).map(Array::ints).or(node.ints(name));
    let map =
        |f: &dyn Fn(f64) -> f64| Array { values: input(0).values.iter().map(|&v| f(v)).collect(), ..input(0).clone() };
    let one = match node.op {
        "Constant" => {
            let value = node.tensor("value").unwrap();
            Array { shape: value.shape.clone(), values: value.values.clone() }
        }
        "ConstantOfShape" => {
            let value = node.tensor("value").map_or(0.0, |v| v.values[0]);
            Array::new(input(0).ints().iter().map(|&d| d as usize).collect(), |_| value)
        }
        "Identity" | "Dropout" | "Cast" => input(0).clone(),
        "Relu" => map(&|v| v.max(0.0)),
        "LeakyRelu" => {
            let slope = f64::from(node.float("alpha").map_or(0.01f32, |alpha| alpha as f32));
            map(&|v| if v > 0.0 { v } else { slope * v })
        }
        "Sigmoid" => map(&|v| 1.0 / (1.0 + (-v).exp())),
        "Tanh" => map(&f64::tanh),
        "Elu" | "Selu" => {
            let (alpha, gamma) = if node.op == "Elu" { (1.0, 1.0) } else { (1.673_263_2, 1.050_701) };
            let number = |name, or: f32| node.float(name).map_or(f64::from(or), |v| f64::from(v as f32));
            let (alpha, gamma) = (number("alpha", alpha), number("gamma", gamma));
            map(&|v| gamma * if v > 0.0 { v } else { alpha * v.exp_m1() })
        }
        "Min" => {
            let bound = optional(1).unwrap().values[0];
            map(&|v| v.min(bound))
        }
        "Neg" => map(&|v| -v),
        "Sqrt" => map(&f64::sqrt),
        "Clip" => {
            let bound = |i, name, or| optional(i).map(|a| a.values[0]).or(node.float(name)).unwrap_or(or);
            let (least, most) = (bound(1, "min", f64::NEG_INFINITY), bound(2, "max", f64::INFINITY));
            map(&|v| v.clamp(least, most))
        }
        "Shape" => {
            let dims: Vec<f64> = input(0).shape.iter().map(|&d| d as f64).collect();
            let rank = dims.len();
            let end = node.int("end").map_or(rank, |e| axis(e, rank).min(rank));
            let part = dims[axis(node.int("start").unwrap_or(0), rank)..end].to_vec();
            Array { shape: vec![part.len()], values: part }
        }
        "Conv" => conv(node, input(0), input(1), optional(2)),
        "MaxPool" | "AveragePool" => pool(node, input(0)),
        "GlobalAveragePool" => reduce(input(0), &[2, 3], true, "Mean"),
        "GlobalMaxPool" => reduce(input(0), &[2, 3], true, "Max"),
        op if op.starts_with("Reduce") => {
            let rank = input(0).shape.len();
            let axes: Vec<usize> = match ints(1, "axes") {
                Some(axes) => axes.iter().map(|&a| axis(a, rank)).collect(),
                None => (0..rank).collect(),
            };
            reduce(input(0), &axes, node.int("keepdims") != Some(0), &op["Reduce".len()..])
        }
        "BatchNormalization" => {
            let epsilon = node.float("epsilon").unwrap_or(1e-5);
            let x = input(0);
            let [s, b, m, v] = [1, 2, 3, 4].map(input);
            Array::new(x.shape.clone(), |i| {
                let c = &i[1..2];
                (x.at(&i) - m.at(c)) / (v.at(c) + epsilon).sqrt() * s.at(c) + b.at(c)
            })
        }
        "Gemm" => {
            let turned = |a: &Array| Array::new(vec![a.shape[1], a.shape[0]], |i| a.at(&[i[1], i[0]]));
            let b = if node.int("transB") == Some(1) { turned(input(1)) } else { input(1).clone() };
            let product = matmul(input(0), &b);
            let (alpha, beta) = (node.float("alpha").unwrap_or(1.0), node.float("beta").unwrap_or(1.0));
            Array::new(product.shape.clone(), |i| {
                alpha * product.at(&i) + optional(2).map_or(0.0, |c| beta * c.broadcast(&i))
            })
        }
        "MatMul" => matmul(input(0), input(1)),
        "LRN" => {
            let x = input(0);
            let size = node.int("size").unwrap();
            let [alpha, beta, k] =
                [("alpha", 1e-4), ("beta", 0.75), ("bias", 1.0)].map(|(n, d)| node.float(n).unwrap_or(d));
            Array::new(x.shape.clone(), |i| {
                let c = i[1] as i64;
                let from = (c - (size - 1) / 2).max(0);
                let to = (c + size / 2).min(x.shape[1] as i64 - 1);
                let squares: f64 = (from..=to).map(|j| x.at(&[i[0], j as usize, i[2], i[3]]).powi(2)).sum();
                x.at(&i) / (k + alpha / size as f64 * squares).powf(beta)
            })
        }
        "Flatten" => {
            let shape = &input(0).shape;
            let at = node.int("axis").map_or(1, |a| axis(a, shape.len()));
            input(0).with(vec![shape[..at].iter().product(), shape[at..].iter().product()])
        }
        "Reshape" => {
            let (x, target) = (input(0), ints(1, "shape").unwrap());
            let mut shape: Vec<usize> =
                target.iter().enumerate().map(|(i, &d)| if d == 0 { x.shape[i] } else { d.max(1) as usize }).collect();
            if let Some(open) = target.iter().position(|&d| d == -1) {
                shape[open] = x.values.len() / shape.iter().product::<usize>();
            }
            x.with(shape)
        }
        "Squeeze" => {
            let x = input(0);
            let axes = ints(1, "axes").map(|axes| axes.iter().map(|&a| axis(a, x.shape.len())).collect::<Vec<_>>());
            let gone = |i: usize| axes.as_ref().map_or(x.shape[i] == 1, |axes| axes.contains(&i));
            x.with((0..x.shape.len()).filter(|&i| !gone(i)).map(|i| x.shape[i]).collect())
        }
        "Unsqueeze" => {
            let axes = ints(1, "axes").unwrap();
            let rank = input(0).shape.len() + axes.len();
            let mut shape = input(0).shape.clone();
            let mut axes: Vec<usize> = axes.iter().map(|&a| axis(a, rank)).collect();
            axes.sort_unstable();
            axes.into_iter().for_each(|a| shape.insert(a, 1));
            input(0).with(shape)
        }
        "Transpose" => {
            let x = input(0);
            let perm = node
                .ints("perm")
                .map_or((0..x.shape.len()).rev().collect(), |p| p.iter().map(|&a| a as usize).collect::<Vec<_>>());
            Array::new(perm.iter().map(|&p| x.shape[p]).collect(), |i| {
                let mut index = vec![0; i.len()];
                perm.iter().zip(&i).for_each(|(&p, &i)| index[p] = i);
                x.at(&index)
            })
        }
        "Concat" => {
            let along = axis(node.int("axis").unwrap(), input(0).shape.len());
            let mut shape = input(0).shape.clone();
            shape[along] = inputs.iter().map(|a| a.unwrap().shape[along]).sum();
            Array::new(shape, |mut i| {
                for part in inputs.iter().flatten() {
                    if i[along] < part.shape[along] {
                        return part.at(&i);
                    }
                    i[along] -= part.shape[along];
                }
                unreachable!()
            })
        }
        "Gather" => {
            let (x, which) = (input(0), input(1));
            let along = axis(node.int("axis").unwrap_or(0), x.shape.len());
            let shape = [&x.shape[..along], &which.shape, &x.shape[along + 1..]].concat();
            Array::new(shape, |i| {
                let (outer, rest) = i.split_at(along);
                let (picked, inner) = rest.split_at(which.shape.len());
                let at = axis(which.at(picked) as i64, x.shape[along]);
                x.at(&[outer, &[at], inner].concat())
            })
        }
        "Slice" => {
            let x = input(0);
            let (starts, ends) = (ints(1, "starts").unwrap(), ints(2, "ends").unwrap());
            let axes = ints(3, "axes").unwrap_or((0..starts.len() as i64).collect());
            let steps = ints(4, "steps").unwrap_or(vec![1; starts.len()]);
            let mut picked: Vec<Vec<usize>> = x.shape.iter().map(|&d| (0..d).collect()).collect();
            for (i, &a) in axes.iter().enumerate() {
                let a = axis(a, x.shape.len());
                let size = x.shape[a] as i64;
                let wrap = |v: i64| if v < 0 { v + size } else { v };
                let mut at = wrap(starts[i]).clamp(0, size - i64::from(steps[i] < 0));
                let end = wrap(ends[i]).clamp(-1, size);
                picked[a].clear();
                while if steps[i] > 0 { at < end } else { at > end } {
                    picked[a].push(at as usize);
                    at += steps[i];
                }
            }
            Array::new(picked.iter().map(Vec::len).collect(), |i| {
                x.at(&i.iter().zip(&picked).map(|(&i, p)| p[i]).collect::<Vec<_>>())
            })
        }
        "Expand" => {
            let target: Vec<usize> = input(1).ints().iter().map(|&d| d as usize).collect();
            binary(input(0), &Array::new(target, |_| 1.0), |a, b| a * b)
        }
        "Range" => {
            let [start, limit, delta] = [0, 1, 2].map(|i| input(i).values[0]);
            let count = ((limit - start) / delta).ceil().max(0.0) as usize;
            Array::new(vec![count], |i| start + i[0] as f64 * delta)
        }
        "Softmax" | "LogSoftmax" => {
            let x = input(0);
            let rank = x.shape.len();
            let first = axis(node.int("axis").unwrap_or(if opset >= 13 { -1 } else { 1 }), rank);
            let over = if opset >= 13 { first..first + 1 } else { first..rank };
            let sums = reduce(
                &Array { values: x.values.iter().map(|v| v.exp()).collect(), ..x.clone() },
                &over.collect::<Vec<_>>(),
                true,
                "Sum",
            );
            Array::new(x.shape.clone(), |i| {
                let log = x.at(&i) - sums.broadcast(&i).ln();
                if node.op == "Softmax" { log.exp() } else { log }
            })
        }
        "Pad" => {
            let x = input(0);
            let pads = ints(1, "pads").unwrap();
            let rank = x.shape.len();
            let value = optional(2).map(|a| a.values[0]).or(node.float("value")).unwrap_or(0.0);
            let axes: Vec<usize> = match ints(3, "axes") {
                Some(axes) => axes.iter().map(|&a| axis(a, rank)).collect(),
                None => (0..rank).collect(),
            };
            let (mut before, mut after) = (vec![0; rank], vec![0; rank]);
            for (i, &a) in axes.iter().enumerate() {
                (before[a], after[a]) = (pads[i] as usize, pads[i + axes.len()] as usize);
            }
            let shape = (0..rank).map(|a| x.shape[a] + before[a] + after[a]).collect();
            Array::new(shape, |i| {
                let inside: Option<Vec<usize>> =
                    (0..rank).map(|a| i[a].checked_sub(before[a]).filter(|&j| j < x.shape[a])).collect();
                inside.map_or(value, |i| x.at(&i))
            })
        }
        op => {
            let f: fn(f64, f64) -> f64 = match op {
                "Add" | "Sum" => |a, b| a + b,
                "Sub" => |a, b| a - b,
                "Mul" => |a, b| a * b,
                "Div" => |a, b| a / b,
                "Pow" => f64::powf,
                "Max" => f64::max,
                other => panic!("{other} is not interpreted"),
            };
            let mut second = input(1).clone();
            if opset < 7
                && let Some(a) = node.int("axis")
            {
                second.shape.resize(input(0).shape.len() - a as usize, 1);
            }
            binary(input(0), &second, f)
        }
    };
    vec![one]
}

fn binary(a: &Array, b: &Array, f: impl Fn(f64, f64) -> f64) -> Array {
    let rank = a.shape.len().max(b.shape.len());
    let size = |x: &Array, i: usize| (i + x.shape.len()).checked_sub(rank).map_or(1, |i| x.shape[i]);
    Array::new((0..rank).map(|i| size(a, i).max(size(b, i))).collect(), |i| f(a.broadcast(&i), b.broadcast(&i)))
}

fn matmul(a: &Array, b: &Array) -> Array {
    let [inner, columns] = b.shape[..] else { panic!("a matrix") };
    let rows = [&a.shape[..a.shape.len() - 1], &[columns]].concat();
    assert_eq!(a.shape.last(), Some(&inner));
    Array::new(rows, |i| {
        let (outer, column) = i.split_at(i.len() - 1);
        (0..inner).map(|k| a.at(&[outer, &[k]].concat()) * b.at(&[k, column[0]])).sum()
    })
}

fn reduce(x: &Array, axes: &[usize], keep: bool, what: &str) -> Array {
    let kept: Vec<usize> = x.shape.iter().enumerate().map(|(i, &d)| if axes.contains(&i) { 1 } else { d }).collect();
    let start = match what {
        "Max" => f64::NEG_INFINITY,
        "Prod" => 1.0,
        _ => 0.0,
    };
    let mut result = Array::new(kept.clone(), |_| start);
    for (index, &v) in indices(&x.shape).zip(&x.values) {
        let at = index.iter().zip(&kept).fold(0, |a, (&i, &d)| a * d + if d == 1 { 0 } else { i });
        result.values[at] = match what {
            "Max" => result.values[at].max(v),
            "Prod" => result.values[at] * v,
            "SumSquare" | "L2" => result.values[at] + v * v,
            _ => result.values[at] + v,
        };
    }
    let count = (x.values.len() / result.values.len()) as f64;
    match what {
        "Mean" => result.values.iter_mut().for_each(|v| *v /= count),
        "L2" => result.values.iter_mut().for_each(|v| *v = v.sqrt()),
        _ => {}
    }
    if !keep {
        result.shape = kept.iter().enumerate().filter(|(i, _)| !axes.contains(i)).map(|(_, &d)| d).collect();
    }
    result
}

/// Strides, dilations, and pads before and after, of a convolution or pooling of this kernel.
fn window(node: &Node, x: &Array, kernel: &[usize]) -> [Vec<usize>; 4] {
    let rank = kernel.len();
    let sizes = |name: &str| node.ints(name).map(|v| v.iter().map(|&v| v as usize).collect::<Vec<_>>());
    let strides = sizes("strides").unwrap_or(vec![1; rank]);
    let dilations = sizes("dilations").unwrap_or(vec![1; rank]);
    let mut pads = sizes("pads").unwrap_or(vec![0; 2 * rank]);
    if let Some(auto @ ("SAME_UPPER" | "SAME_LOWER")) = node.text("auto_pad") {
        for i in 0..rank {
            let out = x.shape[i + 2].div_ceil(strides[i]);
            let total = ((out - 1) * strides[i] + (kernel[i] - 1) * dilations[i] + 1).saturating_sub(x.shape[i + 2]);
            let small = total / 2;
            (pads[i], pads[i + rank]) =
                if auto == "SAME_UPPER" { (small, total - small) } else { (total - small, small) };
        }
    }
    let after = pads.split_off(rank);
    [strides, dilations, pads, after]
}

fn conv(node: &Node, x: &Array, w: &Array, bias: Option<&Array>) -> Array {
    let [strides, dilations, before, after] = window(node, x, &w.shape[2..]);
    let groups = node.int("group").unwrap_or(1) as usize;
    let out: Vec<usize> = (0..w.shape.len() - 2)
        .map(|i| (x.shape[i + 2] + before[i] + after[i] - (w.shape[i + 2] - 1) * dilations[i] - 1) / strides[i] + 1)
        .collect();
    Array::new([&[x.shape[0], w.shape[0]], &out[..]].concat(), |o| {
        let group = o[1] / (w.shape[0] / groups);
        let mut sum = bias.map_or(0.0, |b| b.values[o[1]]);
        for k in indices(&w.shape[1..]) {
            let place: Option<Vec<usize>> = (0..k.len() - 1)
                .map(|i| {
                    let at = o[i + 2] * strides[i] + k[i + 1] * dilations[i];
                    at.checked_sub(before[i]).filter(|&p| p < x.shape[i + 2])
                })
                .collect();
            if let Some(place) = place {
                let channel = group * w.shape[1] + k[0];
                sum += x.at(&[&[o[0], channel], &place[..]].concat()) * w.at(&[&[o[1]], &k[..]].concat());
            }
        }
        sum
    })
}

fn pool(node: &Node, x: &Array) -> Array {
    let kernel: Vec<usize> = node.ints("kernel_shape").unwrap().iter().map(|&v| v as usize).collect();
    let [strides, dilations, before, after] = window(node, x, &kernel);
    let out: Vec<usize> = (0..kernel.len())
        .map(|i| {
            let room = x.shape[i + 2] + before[i] + after[i] - (kernel[i] - 1) * dilations[i] - 1;
            let ceil = node.int("ceil_mode") == Some(1);
            let mut last = if ceil { room.div_ceil(strides[i]) } else { room / strides[i] };
            // No window begins past the input.
            if last * strides[i] >= x.shape[i + 2] + before[i] {
                last -= 1;
            }
            last + 1
        })
        .collect();
    Array::new([&x.shape[..2], &out[..]].concat(), |o| {
        let (mut inside, mut all) = (Vec::new(), 0);
        for k in indices(&kernel) {
            let at: Vec<usize> = (0..k.len()).map(|i| o[i + 2] * strides[i] + k[i] * dilations[i]).collect();
            // Padding counts, and numbers past it do not.
            all += usize::from((0..k.len()).all(|i| at[i] < before[i] + x.shape[i + 2] + after[i]));
            let place: Option<Vec<usize>> =
                (0..k.len()).map(|i| at[i].checked_sub(before[i]).filter(|&p| p < x.shape[i + 2])).collect();
            inside.extend(place.map(|p| x.at(&[&o[..2], &p[..]].concat())));
        }
        if node.op == "MaxPool" {
            return inside.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        }
        let count = if node.int("count_include_pad") == Some(1) { all } else { inside.len() };
        inside.iter().sum::<f64>() / count as f64
    })
}
