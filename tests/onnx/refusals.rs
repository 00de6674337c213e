//! Graphs that are not chains of layers: refused by name, never run as something else.

use crate::build::Graph;

fn conv() -> Graph {
    Graph::new([1, 3, 8, 8]).random("w", [4, 3, 3, 3]).node("Conv x, w -> c", [])
}

#[test]
fn unknown_operators_are_named_with_the_others() {
    let alone = conv().node("Softplus c -> y", []).refusal();
    assert!(alone.contains("node `y`: no layer computes operator Softplus;"), "{alone}");
    let more = conv()
        .node("HardSwish c -> a", [])
        .node("Softplus a -> b", [])
        .node("MaxPool b -> d", [("kernel_shape", [2, 2].into())])
        .node("Mish d -> e", [])
        .node("Softplus e -> y", [])
        .refusal();
    let expected =
        "node `a`: no layer computes operator HardSwish, nor 3 other operations of this graph: Mish, Softplus (2);";
    assert!(more.contains(expected), "{more}");
}

#[test]
fn what_no_layer_computes_is_refused() {
    let has = |graph: Graph, parts: &[&str]| {
        let message = graph.refusal();
        for part in parts {
            assert!(message.contains(part), "`{message}` without `{part}`");
        }
    };
    has(conv().node("Relu c -> r", []).node("Add r, c -> y", []), &["`y`", "Add", "`c`", "branch"]);
    has(conv().node("Concat c, c -> y", [("axis", 1.into())]), &["`y`", "Concat"]);
    has(conv().random("k", [6, 6]).node("Add c, k -> y", []), &["Add", "each channel"]);
    has(
        conv().floats("a", [], vec![5.0]).floats("b", [], vec![0.0]).node("Clip c, a, b -> y", []),
        &["Clip", "5 and 0"],
    );
    has(conv().node("Softmax c -> y", [("axis", 2.into())]), &["Softmax", "axis 2"]);
    has(conv().node("ReduceMean c -> y", [("axes", [1].into())]), &["ReduceMean", "rows and columns"]);
    has(
        conv()
            .node("Transpose c -> t", [("perm", [0, 1, 3, 2].into())])
            .node("MaxPool t -> y", [("kernel_shape", [2, 2].into())]),
        &["MaxPool", "order"],
    );
    has(
        conv().ints("s", [1, 2, 72]).node("Reshape c, s -> r", []).random("g", [72, 3]).node("MatMul r, g -> y", []),
        &["MatMul"],
    );
    has(
        conv()
            .ints("s", [1, 2, 12, 6])
            .node("Reshape c, s -> r", [])
            .node("MaxPool r -> y", [("kernel_shape", [2, 2].into())]),
        &["MaxPool"],
    );
    has(conv().ints("p", [0, 1, 0, 0, 0, 0, 0, 0]).node("Pad c, p -> y", []), &["Pad", "axis 1"]);
    has(conv().ints("p", [0, 0, 0, -1, 0, 0, 0, 0]).node("Pad c, p -> y", []), &["Pad", "-1"]);
    has(
        conv().ints("p", [0, 0, 1, 1, 0, 0, 1, 1]).node("Pad c, p -> y", [("mode", "reflect".into())]),
        &["Pad", "reflect"],
    );
    has(conv().random("k", [4, 1, 1]).node("Div k, c -> y", []), &["Div"]);
    // Pictures that are not transposed as pictures.
    let turned =
        Graph::new([1, 3, 8, 7]).node("Transpose x -> t", [("perm", [0, 1, 3, 2].into())]).random("w", [4, 3, 3, 3]);
    has(turned.node("Conv t, w -> y", []), &["Conv", "order"]);
    let mut bytes = Graph::new([1, 3, 8, 8]).random("w", [4, 3, 3, 3]).node("Conv x, w -> c", []);
    for kind in [2, 7] {
        bytes.input_type = kind;
        let name = if kind == 2 { "U8" } else { "I64" };
        has(bytes.clone(), &["input `x`", name, "floating-point"]);
    }
    has(Graph::new([1, 3, 2, 8, 8]).node("Relu x -> y", []), &["N×C×H×W", "1×3×2×8×8"]);
}

/// Small files that ask for much memory or time.
#[test]
fn hostile_constants_are_bounded() {
    let start = std::time::Instant::now();
    for line in ["ConstantOfShape big -> t", "Expand one, big -> t", "Tile one, big -> t"] {
        let graph = Graph::new([1, 3, 8, 8]).ints("big", [1 << 40, 1 << 20]).floats("one", [1, 1], vec![1.0]);
        let message = graph.node(line, []).node("Add x, t -> y", []).refusal();
        assert!(message.contains("in proportion to the file") || message.contains("lies within"), "{message}");
    }
    let range = Graph::new([1, 3, 8, 8]).index("a", 0).index("b", 1 << 40).index("d", 1);
    let message = range.node("Range a, b, d -> t", []).node("Add x, t -> y", []).refusal();
    assert!(message.contains("length"), "{message}");
    // Doubled forty times.
    let mut graph = Graph::new([1, 3, 8, 8]).floats("k0", [1], vec![1.0]);
    let lines: Vec<&'static str> =
        (0..40).map(|i| &*Box::leak(format!("Concat k{i}, k{i} -> k{}", i + 1).into_boxed_str())).collect();
    for line in lines {
        graph = graph.node(line, [("axis", 0.into())]);
    }
    let message = graph.node("Add x, k40 -> y", []).refusal();
    assert!(message.contains("in proportion to the file"), "{message}");
    // An average over everything, everywhere.
    let pool = [("kernel_shape", [1999, 1999].into()), ("pads", [999, 999, 999, 999].into())];
    let message = Graph::new([1, 4, 2000, 2000]).node("AveragePool x -> y", pool).refusal();
    assert!(message.contains("at most 274877906944"), "{message}");
    let wide =
        Graph::new([1, 3, 8, 8]).random("w", [4, 3, 2, 2]).node("Conv x, w -> y", [("dilations", [4000, 4000].into())]);
    wide.refusal();
    assert!(start.elapsed().as_secs() < 10, "{:?}", start.elapsed());
}
