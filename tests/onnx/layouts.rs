//! Equivalent dimensions and orders of the same numbers.

use alexnet_wgpu::Shape;

use crate::build::Graph;

/// Channels last, as in Keras and TensorFlow: a convolution between transpositions.
fn channels_last(input: [i64; 4]) -> Graph {
    Graph::new(input)
        .random("w", [4, 3, 3, 3])
        .node("Transpose x -> t", [("perm", [0, 3, 1, 2].into())])
        .node("Conv t, w -> c", [])
        .node("Transpose c -> u", [("perm", [0, 2, 3, 1].into())])
}

#[test]
fn channels_last_are_channels_first() {
    let input = [1, 8, 7, 3];
    assert_eq!(channels_last(input).node("Relu u -> y", []).open().unwrap().network.input(), Shape::new(3, 8, 7));
    // Elementwise operators, and back again.
    channels_last(input)
        .random("b", [4])
        .node("Add u, b -> a", [])
        .node("Relu a -> r", [])
        .node("Transpose r -> v", [("perm", [0, 3, 1, 2].into())])
        .node("MaxPool v -> y", [("kernel_shape", [2, 2].into())])
        .check();
    // A vector in the order of rows, columns, channels.
    for line in ["Reshape u, s -> f", "Flatten u -> f"] {
        let graph = channels_last(input).ints("s", [1, -1]).node(line, []).random("g", [120, 5]).random("b", [5]);
        graph.clone().node("MatMul f, g -> m", []).node("Add m, b -> y", []).check();
        graph.clone().node("Gemm f, g, b -> y", []).check();
        // Constants for each of its numbers.
        let each = graph.random("k", [120]).node("Mul f, k -> e", []).node("MatMul e, g -> y", []);
        each.check();
    }
    // Pads and averages over rows and columns in place, and a dense layer over channels.
    let pads = channels_last(input).ints("p", [0, 1, 2, 0, 0, 0, 1, 0]).node("Pad u, p -> q", []);
    pads.node("ReduceMean q -> y", [("axes", [1, 2].into()), ("keepdims", 0.into())]).check();
    let dense = channels_last(input)
        .random("d", [4, 6])
        .random("db", [6])
        .node("MatMul u, d -> m", [])
        .node("Add m, db -> a", []);
    dense.node("Relu a -> r", []).node("ReduceMax r -> y", [("axes", [1, 2].into())]).check();
    // Normalised before the transposition; the network's mean is then one per channel.
    Graph::new(input)
        .random("k", [3])
        .node("Sub x, k -> s", [])
        .random("w", [4, 3, 3, 3])
        .node("Transpose s -> t", [("perm", [0, 3, 1, 2].into())])
        .node("Conv t, w -> y", [])
        .check();
}

#[test]
fn vectors_by_every_name() {
    let maps = || Graph::new([1, 1, 8, 8]).random("w", [4, 1, 3, 3]).random("g", [144, 5]).node("Conv x, w -> c", []);
    maps().ints("s", [144]).node("Reshape c, s -> f", []).node("MatMul f, g -> y", []).check();
    maps().ints("s", [1, 1, 144]).node("Reshape c, s -> f", []).node("MatMul f, g -> y", []).check();
    maps().node("Flatten c -> f", [("axis", (-3).into())]).node("MatMul f, g -> y", []).check();
    maps().node("Flatten c -> f", [("axis", 0.into())]).node("MatMul f, g -> y", []).check();
    maps()
        .ints("s", [0, 4, 36])
        .node("Reshape c, s -> e", [])
        .node("Flatten e -> f", [])
        .node("MatMul f, g -> y", [])
        .check();
    let old = maps().opset(4).node("Reshape c -> f", [("shape", [1, 144].into())]);
    old.node("MatMul f, g -> y", []).check();
    // Averages, with their dimensions of 1 kept or removed.
    let last = |graph: Graph| graph.random("h", [4, 5]).node("MatMul f, h -> y", []).check();
    let ones = |graph: Graph| graph.ints("a", [2, 3]).node("Squeeze p, a -> f", []);
    last(ones(maps().node("GlobalAveragePool c -> p", [])));
    last(ones(maps().node("ReduceMean c -> p", [("axes", [2, 3].into())])));
    last(maps().node("ReduceMean c -> f", [("axes", [-1, -2].into()), ("keepdims", 0.into())]));
    last(maps().opset(18).ints("a", [2, 3]).node("ReduceMean c, a -> f", [("keepdims", 0.into())]));
    last(maps().node("ReduceSum c -> f", [("axes", [2, 3].into()), ("keepdims", 0.into())]));
    last(maps().node("ReduceMax c -> f", [("axes", [2, 3].into()), ("keepdims", 0.into())]));
    last(ones(maps().node("GlobalMaxPool c -> p", [])));
    // Rows first, then columns, in dimensions that become fewer.
    let rows = maps().node("ReduceMean c -> r", [("axes", [2].into()), ("keepdims", 0.into())]);
    last(rows.node("ReduceMean r -> f", [("axes", [2].into()), ("keepdims", 0.into())]));
    let together = maps().ints("s", [1, 4, 36]).node("Reshape c, s -> r", []);
    last(together.node("ReduceMean r -> f", [("axes", [2].into()), ("keepdims", 0.into())]));
}

#[test]
fn inputs_of_other_dimensions() {
    let input = |graph: &Graph| graph.open().unwrap().network.input();
    // A vector.
    let mlp = Graph::new([1, 12]).random("g", [12, 5]).node("MatMul x, g -> y", []);
    mlp.check();
    assert_eq!(input(&mlp), Shape::vector(12));
    // Open batches, and vectors that are pictures.
    let picture = |graph: Graph| graph.random("w", [4, 1, 3, 3]).node("Conv p, w -> y", []);
    let vector = picture(Graph::new([-1, 63]).ints("s", [-1, 1, 9, 7]).node("Reshape x, s -> p", []));
    vector.check();
    assert_eq!(input(&vector), Shape::new(1, 9, 7));
    let last = Graph::new([1, 63]).ints("s", [-1, 9, 7, 1]).node("Reshape x, s -> q", []);
    picture(last.node("Transpose q -> p", [("perm", [0, 3, 1, 2].into())])).check();
    // Without a batch dimension, and without channels.
    let batch = picture(Graph::new([1, 9, 7]).ints("a", [0]).node("Unsqueeze x, a -> p", []));
    batch.check();
    assert_eq!(input(&batch), Shape::new(1, 9, 7));
    let channels = picture(Graph::new([-1, 9, 7]).ints("a", [1]).node("Unsqueeze x, a -> p", []));
    channels.check();
    assert_eq!(input(&channels), Shape::new(1, 9, 7));
    let colour = Graph::new([3, 9, 7]).ints("a", [0]).node("Unsqueeze x, a -> p", []).random("v", [4, 3, 3, 3]);
    let colour = colour.node("Conv p, v -> y", []);
    colour.check();
    assert_eq!(input(&colour), Shape::new(3, 9, 7));
}

#[test]
fn open_sizes_are_the_likeliest_that_fit() {
    let input = |graph: Graph| graph.open().unwrap().network.input();
    let maps = |dims: [i64; 4], channels: usize| {
        let graph = Graph::new(dims).random("w", [4, channels, 3, 3]).node("Conv x, w -> c", []);
        graph.node("GlobalAveragePool c -> p", []).node("Flatten p -> y", [])
    };
    assert_eq!(input(maps([-1, 3, -1, -1], 3)), Shape::new(3, 224, 224));
    assert_eq!(input(maps([-1, 1, -1, -1], 1)), Shape::new(1, 28, 28));
    assert_eq!(input(maps([-1, -1, -1, -1], 1)), Shape::new(1, 28, 28));
    assert_eq!(input(maps([1, 3, 48, -1], 3)), Shape::new(3, 48, 48));
    // That others fit too is told.
    let open = maps([-1, 3, -1, -1], 3).open().unwrap().origin;
    assert!(open.network.contains("the file leaves it open"), "{}", open.network);
    assert!(open.doubt.unwrap().contains("3×227×227, 3×32×32, 3×64×64 fit too"));
    assert_eq!(maps([-1, 3, 48, 48], 3).open().unwrap().origin.doubt, None);
    // A fully connected layer decides.
    let linear = |dims: [i64; 4], channels: usize, side: usize| {
        let graph = Graph::new(dims).random("w", [2, channels, 3, 3]).node("Conv x, w -> c", []);
        let inputs = 2 * (side - 2) * (side - 2);
        graph.node("Flatten c -> f", []).random("g", [inputs, 2]).node("MatMul f, g -> y", [])
    };
    assert_eq!(input(linear([-1, 3, -1, -1], 3, 32)), Shape::new(3, 32, 32));
    assert_eq!(linear([-1, 3, -1, -1], 3, 32).open().unwrap().origin.doubt, None);
    assert_eq!(input(linear([-1, 1, -1, -1], 1, 32)), Shape::new(1, 32, 32));
    let last =
        Graph::new([-1, -1, -1, 3]).node("Transpose x -> t", [("perm", [0, 3, 1, 2].into())]).random("w", [2, 3, 3, 3]);
    let last = last.node("Conv t, w -> c", []).node("GlobalAveragePool c -> p", []).node("Flatten p -> y", []);
    assert_eq!(input(last), Shape::new(3, 224, 224));
}
