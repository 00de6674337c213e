//! Features of graphs that this project's own networks lack: the device against double precision.

use alexnet_wgpu::{
    Pipeline,
    reference::{relative_error, run},
    splitmix,
};

use crate::{build::Graph, common};

#[test]
fn the_device_computes_the_same() {
    let far = [("pads", [2, 1, 3, 4].into())];
    let conv = |channels: usize| {
        let graph = Graph::new([1, 3, 12, 11]).random("w", [channels, 3, 1, 1]).random("b", [channels]);
        graph.node("Conv x, w, b -> c", far.clone())
    };
    let graphs = [
        // Padding beyond the kernel, and around each channel separately.
        conv(4),
        conv(5).ints("p", [0, 0, 1, 2, 0, 0, 3, 0]).node("Pad c, p -> q", []).node("Relu q -> y", []),
        // Factors before padding, averages of odd windows, ReLUs after them.
        conv(6)
            .node("Relu c -> r", [])
            .random("k", [1, 6, 1, 1])
            .node("Add r, k -> a", [])
            .random("v", [8, 3, 3, 3])
            .node("Conv a, v -> d", [("group", 2.into()), ("pads", [1, 1, 1, 1].into())])
            .node("AveragePool d -> e", [("kernel_shape", [3, 2].into()), ("strides", [2, 2].into())])
            .node("Relu e -> y", []),
        Graph::new([1, 3, 12, 11])
            .random("w", [7, 3, 3, 2])
            .node(
                "Conv x, w -> c",
                [("dilations", [2, 3].into()), ("pads", [3, 3, 3, 3].into()), ("strides", [2, 2].into())],
            )
            .node("Neg c -> n", [])
            .node("Flatten n -> f", [])
            .node("Softmax f -> y", [("axis", 1.into())]),
    ];
    for (i, graph) in graphs.iter().enumerate() {
        let model = graph.open().unwrap();
        let input = splitmix::uniform(3, model.network.input().len(), 2.0);
        let pipeline = Pipeline::builder(common::gpu(), &model.network, &model.weights).build().unwrap();
        let found = pollster::block_on(pipeline.run(&input)).unwrap();
        let exact: Vec<f64> = input.iter().map(|&v| f64::from(v)).collect();
        let expected = run(&model.network, &model.weights, &exact).unwrap().pop().unwrap();
        let error = relative_error(&found, &expected);
        assert!(error < 1e-5, "{i}: error {error:e}");
    }
}
