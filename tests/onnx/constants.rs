//! Constant parts of graphs are evaluated, in all forms that exporters write.

use alexnet_wgpu::Op;

use crate::build::{Attribute, Graph, Initializer};

fn value(values: &[i64]) -> Attribute {
    let values: Vec<f64> = values.iter().map(|&v| v as f64).collect();
    Attribute::Tensor(Initializer { name: String::new(), shape: vec![values.len()], values, whole: true })
}

/// A convolution of 1×8×8 to 4×6×6 maps `r`, to be followed by other nodes.
fn maps(input: [i64; 4]) -> Graph {
    let graph = Graph::new(input).random("w", [4, 1, 3, 3]).random("g", [5, 144]);
    graph.node("Conv x, w -> c", []).node("Relu c -> r", [])
}

fn gemm(graph: Graph) -> Graph {
    graph.node("Gemm f, g -> y", [("transB", 1.into())])
}

#[test]
fn shapes_of_any_activation() {
    for batch in [1, -1] {
        let input = [batch, 1, 8, 8];
        // Sizes of the input, after other layers; a part of them; one by index.
        gemm(
            maps(input)
                .node("Shape x -> s", [])
                .index("zero", 0)
                .node("Gather s, zero -> b", [("axis", 0.into())])
                .ints("z1", [0])
                .node("Unsqueeze b, z1 -> b1", [])
                .ints("m1", [-1])
                .node("Concat b1, m1 -> t", [("axis", 0.into())])
                .node("Reshape r, t -> f", []),
        )
        .check();
        gemm(
            maps(input)
                .node("Shape x -> s", [("start", 0.into()), ("end", 1.into())])
                .ints("m1", [-1])
                .node("Concat s, m1 -> t", [("axis", 0.into())])
                .node("Reshape r, t -> f", [("allowzero", 1.into())]),
        )
        .check();
        // Channels times rows times columns, by a product.
        gemm(
            maps(input)
                .node("Shape r -> s", [])
                .ints("from", [1])
                .ints("to", [9])
                .node("Slice s, from, to -> sizes", [])
                .node("ReduceProd sizes -> p", [("keepdims", 1.into())])
                .ints("one", [1])
                .node("Concat one, p -> t", [("axis", 0.into())])
                .node("Reshape r, t -> f", []),
        )
        .check();
    }
}

#[test]
fn constants_by_every_way() {
    let constant = |graph: Graph, shape: &[i64]| graph.node("Constant -> t", [("value", value(shape))]);
    gemm(constant(maps([1, 1, 8, 8]), &[1, 144]).node("Reshape r, t -> f", [])).check();
    gemm(constant(maps([1, 1, 8, 8]), &[0, -1]).node("Identity t -> u", []).node("Reshape r, u -> f", [])).check();
    // Integer arithmetic, with every sign.
    gemm(
        maps([1, 1, 8, 8])
            .node("Constant -> a", [("value", value(&[7, 289]))])
            .node("Constant -> b", [("value", value(&[6, 145]))])
            .node("Sub a, b -> t", [])
            .node("Reshape r, t -> f", []),
    )
    .check();
    gemm(
        maps([1, 1, 8, 8])
            .node("Constant -> n", [("value", value(&[2]))])
            .node("ConstantOfShape n -> t0", [("value", value(&[-1]))])
            .ints("m", [-1, 1])
            .node("Mul t0, m -> t", [])
            .node("Reshape r, t -> f", []),
    )
    .check();
    // A step backwards: [-1, 1] of [1, -1].
    gemm(
        maps([1, 1, 8, 8])
            .ints("back", [-1, 1])
            .ints("from", [1])
            .ints("to", [-9])
            .ints("axes", [0])
            .ints("step", [-1])
            .node("Slice back, from, to, axes, step -> t", [])
            .node("Reshape r, t -> f", []),
    )
    .check();
    // Constants with a picture's type that follow no layer: [0, 1, 2] gathered.
    gemm(
        maps([1, 1, 8, 8])
            .index("i0", 0)
            .index("i2", 2)
            .index("i1", 1)
            .node("Range i0, i2, i1 -> range", [])
            .ints("sizes", [1, 144, 9])
            .node("Gather sizes, range -> t", [])
            .node("Reshape r, t -> f", []),
    )
    .check();
}

#[test]
fn weights_that_the_graph_computes() {
    // CNTK's form: four dimensions, reshaped.
    Graph::new([1, 1, 8, 8])
        .random("w", [4, 1, 3, 3])
        .random("g4", [4, 6, 6, 5])
        .ints("gs", [144, 5])
        .ints("fs", [1, 144])
        .random("b", [1, 5])
        .node("Reshape g4, gs -> g2", [])
        .node("Conv x, w -> c", [])
        .node("Reshape c, fs -> f", [])
        .node("MatMul f, g2 -> mm", [])
        .node("Add mm, b -> y", [])
        .check();
    // TensorFlow's form: rows, columns, inputs, outputs, transposed.
    Graph::new([1, 2, 7, 6])
        .random("hwio", [3, 2, 2, 5])
        .node("Transpose hwio -> w", [("perm", [3, 2, 0, 1].into())])
        .node("Conv x, w -> c", [])
        .check();
    // Weight normalisation: g · v / ‖v‖.
    let layers = Graph::new([1, 2, 6, 6])
        .random("v", [4, 2, 3, 3])
        .positive("g", [4, 1, 1, 1])
        .node("ReduceL2 v -> n", [("axes", [1, 2, 3].into())])
        .node("Div v, n -> u", [])
        .node("Mul u, g -> w", [])
        .node("Conv x, w -> c", [])
        .check();
    assert!(matches!(layers[..], [Op::Conv(_)]));
    // A weight of one number, expanded, and a cast weight.
    Graph::new([1, 2, 6, 6])
        .floats("one", [1, 1, 1, 1], vec![0.25])
        .ints("s", [3, 2, 2, 2])
        .node("Expand one, s -> w0", [])
        .node("Cast w0 -> w", [("to", 1.into())])
        .node("Conv x, w -> c", [])
        .check();
}
