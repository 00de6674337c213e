//! Layers under other operators, and patterns of exporters.

use alexnet_wgpu::{Activation, LocalResponseNorm, Model, Op, Shape, reference::run, splitmix};

use crate::build::{Attribute, Graph};

fn conv() -> Graph {
    Graph::new([1, 3, 9, 9]).random("w", [4, 3, 3, 3]).node("Conv x, w -> c", [])
}

#[test]
fn relus_are_computed_where_they_stand() {
    let pool = [("kernel_shape", [2, 2].into()), ("strides", [2, 2].into())];
    let relu = |op: &Op| matches!(op, Op::Conv(c) if c.activation == Activation::Relu);
    // It commutes with the maximum of numbers, and not with their average.
    let max = conv().node("MaxPool c -> p", pool.clone()).node("Relu p -> y", []).check();
    assert!(max.len() == 2 && relu(&max[0]));
    let average = conv().node("AveragePool c -> p", pool.clone()).node("Relu p -> y", []).check();
    assert!(!relu(&average[0]) && relu(average.last().unwrap()));
    let first = Graph::new([1, 2, 8, 8]).node("MaxPool x -> p", pool).node("Relu p -> y", []).check();
    assert_eq!(first.len(), 2);
    let norm = [("size", 3.into()), ("alpha", 0.5f32.into())];
    assert_eq!(conv().node("LRN c -> n", norm.clone()).node("Relu n -> y", []).check().len(), 3);
    assert_eq!(conv().node("Relu c -> r", []).node("LRN r -> n", norm).node("Relu n -> y", []).check().len(), 2);
    // As other operators.
    let zero = || conv().floats("z", [], vec![0.0]);
    assert!(relu(&zero().node("Clip c, z -> y", []).check()[0]));
    assert!(relu(&zero().floats("most", [], vec![3.4e38]).node("Clip c, z, most -> y", []).check()[0]));
    assert!(relu(&conv().opset(6).node("Clip c -> y", [("min", 0f32.into())]).check()[0]));
    assert!(relu(&zero().node("Max z, c -> y", []).check()[0]));
    assert!(!relu(&conv().node("Clip c -> y", []).check()[0]));
}

#[test]
fn activation_functions_are_computed_where_they_stand() {
    let pool = [("kernel_shape", [2, 2].into()), ("strides", [2, 2].into())];
    let of = |op: &Op| match op {
        Op::Conv(conv) => conv.activation,
        Op::Linear(linear) => linear.activation,
        _ => Activation::None,
    };
    let leaky = |slope: f32| [("alpha", slope.into())];
    let six = || conv().floats("z", [], vec![0.0]).floats("six", [], vec![6.0]);
    assert_eq!(of(&conv().node("Sigmoid c -> y", []).check()[0]), Activation::Sigmoid);
    assert_eq!(of(&conv().node("Tanh c -> y", []).check()[0]), Activation::Tanh);
    assert_eq!(of(&conv().node("Elu c -> y", []).check()[0]), Activation::Elu { alpha: 1.0 });
    assert_eq!(of(&conv().node("Elu c -> y", leaky(0.5)).check()[0]), Activation::Elu { alpha: 0.5 });
    assert_eq!(of(&conv().node("Selu c -> y", []).check()[0]), Activation::Selu);
    let other = conv().node("Selu c -> y", [("alpha", 1.5f32.into()), ("gamma", 0.5f32.into())]).check();
    assert_eq!(of(&other[0]), Activation::Elu { alpha: 1.5 });
    assert_eq!(of(&six().node("Clip c, z, six -> y", []).check()[0]), Activation::Relu6);
    assert_eq!(of(&conv().node("LeakyRelu c -> y", []).check()[0]), Activation::LeakyRelu { slope: 0.01 });
    // Monotonic functions commute with the maximum.
    let before = |slope| conv().node("MaxPool c -> p", pool.clone()).node("LeakyRelu p -> y", leaky(slope)).check();
    assert_eq!(before(0.25).iter().map(of).collect::<Vec<_>>()[0], Activation::LeakyRelu { slope: 0.25 });
    let after = before(-0.25);
    assert_eq!(
        (after.len(), of(&after[0]), of(&after[2])),
        (3, Activation::None, Activation::LeakyRelu { slope: -0.25 })
    );
    // Of zeros around the maps, too.
    for line in ["Sigmoid d -> y", "Tanh d -> y", "Elu d -> y"] {
        let padded = conv().ints("p", [0, 0, 1, 2, 0, 0, 2, 0]).node("Pad c, p -> d", []);
        padded.node(line, []).check();
    }
    // One after the other.
    let both = conv().node("Tanh c -> t", []).node("Sigmoid t -> y", []).check();
    assert_eq!(both.iter().map(of).collect::<Vec<_>>(), [Activation::Tanh, Activation::Sigmoid]);
    let average = conv().node("AveragePool c -> p", pool).node("Sigmoid p -> y", []).check();
    assert_eq!(of(average.last().unwrap()), Activation::Sigmoid);
}

/// Any bounds, between factors that the layers before and behind take.
#[test]
fn clips_of_any_bounds() {
    let bounds = |least, most| conv().floats("a", [], vec![least]).floats("b", [], vec![most]);
    for (least, most) in [(0.0, 1.0), (-1.0, 1.0), (0.25, 5.0), (-3.0, -0.125)] {
        bounds(least, most).node("Clip c, a, b -> y", []).check();
        let before = bounds(least, most).random("v", [5, 4, 2, 2]).node("Clip c, a, b -> r", []);
        assert_eq!(before.node("Conv r, v -> y", []).check().len(), 2);
    }
    bounds(0.0, 0.5).node("Clip c, _, b -> y", []).check();
    bounds(-0.25, 0.0).node("Clip c, a -> y", []).check();
    bounds(-0.25, 0.5).node("Max a, c -> m", []).node("Min m, b -> y", []).check();
    assert_eq!(conv().opset(6).node("Clip c -> y", [("max", 0.5f32.into())]).check().len(), 2);
}

/// Over the channels of each pixel, wherever the graph has them.
#[test]
fn softmax_over_maps() {
    for (line, opset) in [("Softmax c -> y", 17), ("LogSoftmax c -> y", 13)] {
        let layers = conv().opset(opset).node(line, [("axis", 1.into())]).check();
        assert_eq!((layers.len(), layers.last().unwrap()), (2, &Op::Softmax));
    }
    let turned = || conv().node("Transpose c -> t", [("perm", [0, 2, 3, 1].into())]);
    for axis in [-1, 3] {
        let back = |graph: Graph| graph.node("Transpose s -> y", [("perm", [0, 3, 1, 2].into())]);
        assert_eq!(back(turned().node("Softmax t -> s", [("axis", axis.into())])).check().len(), 2);
        // Before version 13 over everything from the axis on.
        let old = turned().opset(11).node("Softmax t -> s", [("axis", axis.into())]);
        assert_eq!(back(old).check().len(), 2);
    }
    conv().opset(11).node("Softmax c -> y", []).check();
    // Followed by other layers, and of one channel.
    let behind = conv().node("Softmax c -> s", [("axis", 1.into())]).random("v", [3, 4, 1, 1]);
    behind.node("Conv s, v -> y", []).check();
    let one = Graph::new([1, 3, 9, 9]).random("w", [1, 3, 3, 3]).node("Conv x, w -> c", []);
    one.node("Softmax c -> y", [("axis", 1.into())]).check();
}

/// Probabilities of their own get no softmax; a single output becomes two classes.
#[test]
fn ends_with_sigmoids_and_single_outputs() {
    let end = |classes| Graph::new([1, 3, 3, 3]).random("w", [classes, 3, 3, 3]).node("Conv x, w -> c", []);
    let many = end(5).node("Flatten c -> f", []).node("Sigmoid f -> y", []).open().unwrap();
    assert_eq!(many.network.layers().len(), 1);
    assert!(many.network.gives_probabilities());
    let picture: Vec<f64> = splitmix::uniform(4, 27, 1.0).into_iter().map(f64::from).collect();
    let logit = |model: &Model| run(&model.network, &model.weights, &picture).unwrap();
    for sigmoid in [false, true] {
        let graph = end(1).node("Flatten c -> f", []);
        let model = if sigmoid { graph.node("Sigmoid f -> y", []) } else { graph }.open().unwrap();
        let outputs = logit(&model);
        let first = outputs[0][0];
        let p = if sigmoid { first } else { 1.0 / (1.0 + (-first).exp()) };
        assert!((0.01..0.99).contains(&p), "{p}");
        assert_eq!(model.network.output(), Shape::vector(2));
        assert!(model.network.gives_probabilities() && model.origin.network.contains("two classes"));
        let last = outputs.last().unwrap();
        assert!((last[0] - (1.0 - p)).abs() < 1e-12 && (last[1] - p).abs() < 1e-12, "{last:?} for {p}");
    }
    // The file's own softmax of one is what it is, and told.
    let one = end(1).node("Flatten c -> f", []).node("Softmax f -> y", []).open().unwrap();
    assert_eq!(logit(&one).last().unwrap(), &[1.0]);
    assert!(one.origin.doubt.unwrap().contains("1 for every picture"));
}

#[test]
fn windows_of_every_kind() {
    let pool = |op: &'static str, attributes: [(&'static str, Attribute); 3]| conv().node(op, attributes).check();
    let kernel = || ("kernel_shape", [3, 2].into());
    pool("AveragePool c -> y", [kernel(), ("strides", [2, 3].into()), ("pads", [0, 0, 0, 0].into())]);
    pool("AveragePool c -> y", [kernel(), ("pads", [1, 0, 2, 1].into()), ("count_include_pad", 1.into())]);
    pool("MaxPool c -> y", [kernel(), ("strides", [2, 3].into()), ("pads", [1, 0, 2, 1].into())]);
    pool("MaxPool c -> y", [kernel(), ("strides", [4, 4].into()), ("ceil_mode", 1.into())]);
    let whole = pool(
        "AveragePool c -> y",
        [("kernel_shape", [7, 7].into()), ("strides", [1, 1].into()), ("ceil_mode", 1.into())],
    );
    assert!(matches!(whole[1], Op::AdaptiveAvgPool(_)));
    let odd = conv().node("AveragePool c -> y", [("kernel_shape", [2, 2].into()), ("strides", [2, 2].into())]);
    odd.check();
    for (auto, stride) in [("SAME_UPPER", 2), ("SAME_LOWER", 2), ("SAME_UPPER", 1), ("VALID", 3)] {
        let strides = ("strides", [stride, stride].into());
        let graph = Graph::new([1, 3, 9, 8]).random("w", [4, 3, 4, 3]);
        graph.clone().node("Conv x, w -> y", [("auto_pad", auto.into()), strides.clone()]).check();
        graph.node("MaxPool x -> y", [kernel(), ("auto_pad", auto.into()), strides]).check();
    }
    // Dilated, with padding beyond the kernel.
    let dilated =
        Graph::new([1, 3, 9, 8]).random("w", [4, 3, 3, 2]).node("Conv x, w -> y", [("dilations", [2, 3].into())]);
    dilated.check();
    let far = Graph::new([1, 3, 5, 4]).random("w", [4, 3, 1, 1]).random("b", [4]);
    far.node("Conv x, w, b -> y", [("pads", [2, 1, 0, 3].into())]).check();
}

/// As exported by torch.onnx from torch.nn.LocalResponseNorm, with an open batch or without.
#[test]
fn normalisation_in_parts_is_recognised() {
    let parts = |divide: bool| {
        let graph = conv()
            .node("Relu c -> r", [])
            .node("Mul r, r -> s", [])
            .ints("five", [1, 1, 4, 7, 7])
            .node("Reshape s, five -> v", [])
            .ints("p", [0, 0, 1, 0, 0, 0, 0, 1, 0, 0])
            .node("Pad v, p -> q", [("mode", "constant".into())])
            .node("AveragePool q -> a", [("kernel_shape", [3, 1, 1].into()), ("strides", [1, 1, 1].into())])
            .ints("one", [1])
            .node("Squeeze a, one -> b", [])
            .floats("alpha", [], vec![0.3])
            .floats("k", [], vec![2.0])
            .floats("beta", [], vec![if divide { 0.75 } else { -0.75 }])
            .node("Mul b, alpha -> m", [])
            .node("Add m, k -> n", [])
            .node("Pow n, beta -> d", []);
        graph.node(if divide { "Div r, d -> y" } else { "Mul r, d -> y" }, [])
    };
    for divide in [true, false] {
        let layers = parts(divide).check();
        let [Op::Conv(_), Op::LocalResponseNorm(norm)] = layers[..] else { panic!("{layers:?}") };
        let expected = LocalResponseNorm { size: 3, alpha: 0.3, beta: 0.75, k: 2.0, ..LocalResponseNorm::CAFFE };
        assert_eq!(norm, expected);
    }
    // With an earlier activation it is not a normalisation.
    let mut graph = parts(true);
    let last = graph.nodes.len() - 1;
    graph.nodes[last].inputs[0] = "w2".into();
    graph.nodes.insert(2, graph.nodes[1].clone());
    (graph.nodes[2].op, graph.nodes[2].inputs, graph.nodes[2].outputs) = ("Neg", vec!["r".into()], vec!["w2".into()]);
    assert!(graph.refusal().contains("Mul"), "{}", graph.refusal());
}

#[test]
fn ends_of_every_kind() {
    // Maps, and their flattened vector.
    conv().check();
    conv().node("Flatten c -> y", []).check();
    conv().node("Flatten c -> f", []).node("Softmax f -> y", [("axis", 1.into())]).check();
    let logits = || conv().node("Flatten c -> f", []).random("g", [196, 5]).node("MatMul f, g -> l", []);
    for line in ["Softmax l -> y", "LogSoftmax l -> y"] {
        for (opset, axis) in [(17, 1), (17, -1), (9, 1)] {
            let layers = logits().opset(opset).node(line, [("axis", axis.into())]).check();
            assert!(matches!(layers.last(), Some(Op::Softmax)));
        }
    }
    logits().node("LogSoftmax l -> m", []).node("Identity m -> y", []).check();
    let refused = logits().node("LogSoftmax l -> m", []).node("Neg m -> y", []).refusal();
    assert!(refused.contains("LogSoftmax"), "{refused}");
    // Nodes that no output depends on are ignored.
    let mut graph = logits().node("Sigmoid l -> s", []);
    graph.outputs = vec!["l".into()];
    assert!(graph.open().is_ok());
}

#[test]
fn old_broadcasts_begin_at_their_axis() {
    // Maps of 4×4×4: a bias for each channel would also fit the columns.
    let graph = Graph::new([1, 3, 6, 6]).opset(6).random("w", [4, 3, 3, 3]).random("b", [4]).node("Conv x, w -> c", []);
    graph.clone().node("Add c, b -> y", [("broadcast", 1.into()), ("axis", 1.into())]).check();
    // A constant per column fits no layer.
    let columns = graph.node("Add c, b -> y", [("broadcast", 1.into()), ("axis", 3.into())]).refusal();
    assert!(columns.contains("for each channel"), "{columns}");
}
