//! Constants folded into adjacent layers: biases, normalisation, padding.

use alexnet_wgpu::{Activation, ChannelOrder, Op, Padding};

use crate::build::Graph;

fn kinds(layers: &[Op]) -> String {
    let kind = |op: &Op| match op {
        Op::Conv(c) if c.window.kernel == [1, 1] && c.groups == c.out_channels && c.groups > 1 => {
            if c.activation == Activation::Relu { "scale+relu" } else { "scale" }
        }
        Op::Conv(c) => {
            if c.activation == Activation::Relu {
                "conv+relu"
            } else {
                "conv"
            }
        }
        Op::Linear(l) => {
            if l.activation == Activation::Relu {
                "linear+relu"
            } else {
                "linear"
            }
        }
        Op::MaxPool(_) => "max",
        Op::AvgPool(_) | Op::AdaptiveAvgPool(_) => "average",
        Op::LocalResponseNorm(_) => "norm",
        Op::Softmax => "softmax",
        _ => "other",
    };
    layers.iter().map(kind).collect::<Vec<_>>().join(" ")
}

fn conv() -> Graph {
    Graph::new([1, 3, 8, 7]).random("w", [4, 3, 3, 3]).random("cb", [4]).node("Conv x, w, cb -> c", [])
}

#[test]
fn constants_behind_a_layer_go_into_it() {
    let shapes = [[1, 4, 1, 1].as_slice(), &[4, 1, 1], &[1, 1, 1], &[]];
    for shape in shapes {
        for line in
            ["Add c, k -> y", "Add k, c -> y", "Sub c, k -> y", "Sub k, c -> y", "Mul k, c -> y", "Div c, k -> y"]
        {
            let mut graph = conv().positive("k", [shape.iter().product()]).node(line, []).node("Relu y -> r", []);
            graph.initializers.last_mut().unwrap().shape = shape.to_vec();
            assert_eq!(kinds(&graph.check()), "conv+relu", "{line} {shape:?}");
        }
    }
    let linear =
        || Graph::new([1, 1, 4, 3]).random("g", [12, 5]).node("Flatten x -> f", []).node("MatMul f, g -> m", []);
    for line in ["Add m, k -> y", "Add k, m -> y", "Mul m, k -> y", "Sub k, m -> y"] {
        assert_eq!(kinds(&linear().random("k", [5]).node(line, []).check()), "linear", "{line}");
        assert_eq!(kinds(&linear().random("k", [1, 5]).node(line, []).check()), "linear", "{line}");
        assert_eq!(kinds(&linear().random("k", [1]).node(line, []).check()), "linear", "{line}");
    }
}

#[test]
fn products_with_factors() {
    let gemm = |attributes| {
        Graph::new([1, 1, 4, 3]).random("g", [12, 5]).node("Flatten x -> f", []).node("Gemm f, g, b -> y", attributes)
    };
    let factors = [("alpha", 0.5f32.into()), ("beta", 2.5f32.into())];
    assert_eq!(kinds(&gemm(factors.clone()).random("b", [5]).check()), "linear");
    assert_eq!(kinds(&gemm(factors.clone()).random("b", [1, 1]).check()), "linear");
    let unit = [("alpha", 1.0f32.into()), ("beta", 1.0f32.into())];
    for b in [gemm(unit.clone()).random("b", []), gemm(unit.clone()).random("b", [1]), gemm(unit).random("b", [1, 5])] {
        assert_eq!(kinds(&b.check()), "linear");
    }
}

fn normalised(graph: Graph, channels: usize, line: &'static str) -> Graph {
    let graph = graph.random("bs", [channels]).random("bb", [channels]).random("bm", [channels]);
    graph.positive("bv", [channels]).node(line, [("epsilon", 1e-3f32.into())])
}

#[test]
fn batch_normalisation_goes_into_its_neighbour() {
    let line = "BatchNormalization c, bs, bb, bm, bv -> n";
    assert_eq!(kinds(&normalised(conv(), 4, line).node("Relu n -> r", []).check()), "conv+relu");
    // After a ReLU, before a convolution with padding and without.
    let behind = || normalised(conv().node("Relu c -> d", []), 4, "BatchNormalization d, bs, bb, bm, bv -> n");
    let second = behind().random("v", [4, 2, 3, 3]).random("vb", [4]);
    let groups = second.clone().node("Conv n, v, vb -> y", [("group", 2.into())]);
    assert_eq!(kinds(&groups.check()), "conv+relu conv");
    let padded = second.node("Conv n, v, vb -> y", [("group", 2.into()), ("pads", [1, 0, 1, 0].into())]);
    assert_eq!(kinds(&padded.check()), "conv+relu scale conv");
    // Before a fully connected layer, over maps and over the flattened vector.
    let linear = |g: Graph| g.random("g", [120, 3]).node("MatMul f, g -> y", []);
    assert_eq!(kinds(&linear(behind().node("Flatten n -> f", [])).check()), "conv+relu linear");
    let vector = normalised(
        conv().node("Relu c -> d", []).node("Flatten d -> e", []),
        120,
        "BatchNormalization e, bs, bb, bm, bv -> f",
    );
    assert_eq!(kinds(&linear(vector).check()), "conv+relu linear");
    // Between two, after pooling, and first of all.
    let pooled = conv().node("MaxPool c -> p", [("kernel_shape", [2, 2].into())]);
    let pooled = normalised(pooled, 4, "BatchNormalization p, bs, bb, bm, bv -> n").node("Relu n -> r", []);
    assert_eq!(kinds(&pooled.check()), "conv max scale+relu");
    let averaged =
        normalised(conv().node("GlobalAveragePool c -> p", []), 4, "BatchNormalization p, bs, bb, bm, bv -> n");
    let averaged = averaged.node("Flatten n -> f", []).random("g", [4, 3]).node("MatMul f, g -> y", []);
    assert_eq!(kinds(&averaged.check()), "conv average linear");
    let first = normalised(Graph::new([1, 3, 8, 7]), 3, "BatchNormalization x, bs, bb, bm, bv -> n");
    assert_eq!(kinds(&first.clone().random("w", [4, 3, 3, 3]).node("Conv n, w -> y", []).check()), "conv");
    assert_eq!(kinds(&first.node("Relu n -> y", []).check()), "scale+relu");
    // Of a vector, after its ReLU.
    let vector = Graph::new([1, 6]).random("g", [6, 5]).node("MatMul x, g -> m", []).node("Relu m -> r", []);
    let vector = normalised(vector, 5, "BatchNormalization r, bs, bb, bm, bv -> n");
    assert_eq!(kinds(&vector.clone().check()), "linear+relu scale");
    assert_eq!(kinds(&vector.random("h", [5, 2]).node("MatMul n, h -> y", []).check()), "linear+relu linear");
}

#[test]
fn normalisation_of_the_picture() {
    let mean = vec![0.485, 0.456, 0.406];
    let inside = |line: &'static str| {
        Graph::new([1, 3, 16, 16])
            .floats("m", [1, 3, 1, 1], mean.clone())
            .floats("s", [1, 3, 1, 1], vec![0.229, 0.224, 0.225])
            .node("Sub x, m -> a", [])
            .node("Div a, s -> b", [])
            .random("w", [4, 3, 3, 3])
            .node(line, [("pads", [1, 1, 1, 1].into())])
            .node("GlobalAveragePool c -> p", [])
            .node("Flatten p -> y", [])
    };
    let graph = inside("Conv b, w -> c");
    assert_eq!(kinds(&graph.check()), "scale conv average");
    let p = graph.open().unwrap().preprocessing;
    assert_eq!((p.mean, p.std, p.channels), ([0.0; 3], [1.0; 3], ChannelOrder::Rgb));
    assert!((p.scale - 1.0 / 255.0).abs() < 1e-9, "pictures of 0 to 1");
    // A grey input too, which is divided in the graph.
    let grey =
        Graph::new([1, 1, 28, 28]).floats("k", [], vec![255.0]).node("Div x, k -> a", []).random("w", [4, 1, 3, 3]);
    let grey = grey.node("Conv a, w -> c", []).node("GlobalAveragePool c -> p", []).node("Flatten p -> y", []);
    let p = grey.open().unwrap().preprocessing;
    assert_eq!((p.scale, p.channels), (1.0, ChannelOrder::Grey));
    // From 0 to 255.
    for line in ["Mul x, k -> a", "Sub x, k -> a"] {
        let factor = if line.starts_with("Mul") { 1.0 / 255.0 } else { 117.0 };
        let graph = Graph::new([1, 3, 16, 16]).floats("k", [], vec![factor]).node(line, []).random("w", [4, 3, 3, 3]);
        let graph = graph.node("Conv a, w -> c", []).node("GlobalAveragePool c -> p", []).node("Flatten p -> y", []);
        assert_eq!(kinds(&graph.check()), "conv average");
        assert_eq!(graph.open().unwrap().preprocessing.scale, 1.0, "{line}");
    }
}

#[test]
fn pads_go_into_the_next_layer() {
    let pads = |g: Graph, line| g.ints("p", [0, 0, 1, 2, 0, 0, 3, 0]).node(line, []);
    let picture = || Graph::new([1, 3, 8, 7]);
    let layers = pads(picture(), "Pad x, p -> q")
        .random("w", [4, 3, 3, 3])
        .node("Conv q, w -> y", [("pads", [0, 1, 0, 1].into())])
        .check();
    let Op::Conv(layer) = layers[0] else { panic!("{layers:?}") };
    assert_eq!(layer.window.padding, Padding { top: 1, left: 3, bottom: 3, right: 1 });
    // Zeros win no maximum of non-negative numbers, but do win others.
    let pool = [("kernel_shape", [4, 3].into()), ("strides", [2, 2].into())];
    let relu = conv().node("Relu c -> d", []);
    assert_eq!(kinds(&pads(relu, "Pad d, p -> q").node("MaxPool q -> y", pool.clone()).check()), "conv+relu max");
    assert_eq!(kinds(&pads(conv(), "Pad c, p -> q").node("MaxPool q -> y", pool.clone()).check()), "conv scale max");
    let ceil = [("kernel_shape", [4, 3].into()), ("strides", [3, 2].into()), ("ceil_mode", 1.into())];
    let relu = conv().node("Relu c -> d", []);
    pads(relu, "Pad d, p -> q").node("MaxPool q -> y", ceil).check();
    // The lowest number never wins.
    let lowest = conv().ints("p", [0, 0, 1, 2, 0, 0, 3, 0]).floats("v", [], vec![-3.4028e38]);
    let lowest = lowest.node("Pad c, p, v -> q", []).node("MaxPool q -> y", pool.clone());
    assert_eq!(kinds(&lowest.check()), "conv max");
    // Other numbers, other followers, two pads, and layers in between.
    let ones = conv().ints("p", [0, 0, 1, 2, 0, 0, 3, 0]).floats("v", [], vec![0.75]);
    ones.node("Pad c, p, v -> q", []).random("v2", [2, 4, 2, 2]).node("Conv q, v2 -> y", []).check();
    pads(conv(), "Pad c, p -> q").node("Relu q -> r", []).node("GlobalAveragePool r -> y", []).check();
    pads(conv(), "Pad c, p -> q").random("k", [1, 4, 1, 1]).node("Add q, k -> y", []).check();
    pads(conv(), "Pad c, p -> q").random("k", [1, 4, 1, 1]).node("Mul q, k -> r", []).node("Relu r -> y", []).check();
    pads(pads(picture(), "Pad x, p -> q"), "Pad q, p -> r")
        .random("w", [4, 3, 3, 3])
        .node("Conv r, w -> y", [])
        .check();
    pads(conv(), "Pad c, p -> q").node("Flatten q -> f", []).random("g", [280, 2]).node("MatMul f, g -> y", []).check();
    pads(conv(), "Pad c, p -> q").node("AveragePool q -> y", [("kernel_shape", [2, 2].into())]).check();
    // Of rows and columns only, with named axes; and as an attribute.
    let named = conv().ints("p", [1, 2, 3, 0]).ints("a", [2, -1]).node("Pad c, p, _, a -> q", []);
    named.node("GlobalAveragePool q -> y", []).check();
    let old = conv().opset(2).node("Pad c -> q", [("pads", [0, 0, 1, 2, 0, 0, 3, 0].into())]);
    old.node("GlobalAveragePool q -> y", []).check();
}

#[test]
fn pads_of_nothing_are_nothing() {
    let graph = conv().ints("p", [0; 8]).node("Pad c, p -> q", []).node("Relu q -> y", []);
    assert_eq!(kinds(&graph.check()), "conv+relu");
}

/// Dilated windows, with padding that counts or does not, and beyond the padding.
#[test]
fn poolings_of_every_kind() {
    let kernel = ("kernel_shape", [3, 2].into());
    let pads = ("pads", [1, 1, 2, 0].into());
    let strides = ("strides", [2, 3].into());
    for count in [0, 1] {
        for ceil in [0, 1] {
            let rounding = [("count_include_pad", count.into()), ("ceil_mode", ceil.into())];
            let [count, ceil] = rounding;
            let all = [kernel.clone(), pads.clone(), strides.clone(), count.clone(), ceil.clone()];
            assert_eq!(kinds(&conv().node("AveragePool c -> y", all).check()), "conv average");
            let gaps = [kernel.clone(), ("dilations", [2, 3].into()), pads.clone(), count, ceil.clone()];
            conv().node("AveragePool c -> y", gaps).check();
            let gaps = [kernel.clone(), ("dilations", [2, 3].into()), pads.clone(), ceil];
            assert_eq!(kinds(&conv().node("MaxPool c -> y", gaps).check()), "conv max");
        }
        // An addition before the pooling shows in padding that counts.
        let count = [kernel.clone(), pads.clone(), ("count_include_pad", count.into())];
        let shifted = Graph::new([1, 3, 8, 7]).random("k", [1, 3, 1, 1]).node("Add x, k -> s", []);
        shifted.node("AveragePool s -> y", count).check();
    }
}
