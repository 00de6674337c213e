//! Graphs built by the tests, their files, and the comparison of a file's network with its nodes.

use alexnet_wgpu::{Model, ModelOptions, Op, WeightsError, reference::run, splitmix};
use prost::Message;

use crate::{
    interpret::{Array, interpret},
    proto,
};

/// The value of an attribute.
#[derive(Clone)]
pub enum Attribute {
    Int(i64),
    Float(f32),
    Ints(Vec<i64>),
    Text(&'static str),
    Tensor(Initializer),
}

impl From<i64> for Attribute {
    fn from(v: i64) -> Self {
        Self::Int(v)
    }
}

impl From<f32> for Attribute {
    fn from(v: f32) -> Self {
        Self::Float(v)
    }
}

impl<const N: usize> From<[i64; N]> for Attribute {
    fn from(v: [i64; N]) -> Self {
        Self::Ints(v.to_vec())
    }
}

impl From<&'static str> for Attribute {
    fn from(v: &'static str) -> Self {
        Self::Text(v)
    }
}

/// A node.
#[derive(Clone)]
pub struct Node {
    pub op: &'static str,
    pub inputs: Vec<String>,
    pub outputs: Vec<String>,
    pub attributes: Vec<(&'static str, Attribute)>,
}

impl Node {
    pub fn ints(&self, name: &str) -> Option<Vec<i64>> {
        match self.attributes.iter().find(|(n, _)| *n == name) {
            Some((_, Attribute::Ints(v))) => Some(v.clone()),
            _ => None,
        }
    }

    pub fn int(&self, name: &str) -> Option<i64> {
        match self.attributes.iter().find(|(n, _)| *n == name) {
            Some((_, Attribute::Int(v))) => Some(*v),
            _ => None,
        }
    }

    pub fn float(&self, name: &str) -> Option<f64> {
        match self.attributes.iter().find(|(n, _)| *n == name) {
            Some((_, Attribute::Float(v))) => Some(f64::from(*v)),
            _ => None,
        }
    }

    pub fn text(&self, name: &str) -> Option<&'static str> {
        match self.attributes.iter().find(|(n, _)| *n == name) {
            Some((_, Attribute::Text(v))) => Some(v),
            _ => None,
        }
    }

    pub fn tensor(&self, name: &str) -> Option<&Initializer> {
        match self.attributes.iter().find(|(n, _)| *n == name) {
            Some((_, Attribute::Tensor(v))) => Some(v),
            _ => None,
        }
    }
}

/// Numbers of f32 or i64.
#[derive(Clone)]
pub struct Initializer {
    pub name: String,
    pub shape: Vec<usize>,
    pub values: Vec<f64>,
    pub whole: bool,
}

/// A graph of one input `x` and one output, that of its last node.
#[derive(Clone)]
pub struct Graph {
    pub opset: i64,
    /// Negative sizes are left open.
    pub input: Vec<i64>,
    pub input_type: i32,
    pub nodes: Vec<Node>,
    pub initializers: Vec<Initializer>,
    pub outputs: Vec<String>,
}

impl Graph {
    pub fn new<const N: usize>(input: [i64; N]) -> Self {
        let (nodes, initializers, outputs) = (Vec::new(), Vec::new(), Vec::new());
        Self { opset: 17, input: input.to_vec(), input_type: 1, nodes, initializers, outputs }
    }

    pub fn opset(mut self, opset: i64) -> Self {
        self.opset = opset;
        self
    }

    /// Adds a node `OP A, B -> C`; a bare `_` is an absent input.
    pub fn node<const N: usize>(mut self, line: &'static str, attributes: [(&'static str, Attribute); N]) -> Self {
        let (left, right) = line.split_once(" -> ").expect("an arrow");
        let (op, inputs) = left.split_once(' ').unwrap_or((left, ""));
        let list = |text: &str| -> Vec<String> {
            let name = |t: &str| if t == "_" { String::new() } else { t.to_string() };
            text.split(',').map(str::trim).filter(|t| !t.is_empty()).map(name).collect()
        };
        self.nodes.push(Node { op, inputs: list(inputs), outputs: list(right), attributes: attributes.to_vec() });
        self
    }

    /// Adds weights, reproducible and of either sign.
    pub fn random<const N: usize>(self, name: &str, shape: [usize; N]) -> Self {
        let seed = name.bytes().fold(7u64, |a, b| a.wrapping_mul(31).wrapping_add(u64::from(b)));
        let values = splitmix::uniform(seed, shape.iter().product(), 0.7).into_iter().map(f64::from).collect();
        self.floats(name, shape, values)
    }

    /// Adds numbers of 0.5 to 1.5, as for variances.
    pub fn positive<const N: usize>(self, name: &str, shape: [usize; N]) -> Self {
        let values =
            splitmix::uniform(77, shape.iter().product(), 0.5).into_iter().map(|v| f64::from(v + 1.0)).collect();
        self.floats(name, shape, values)
    }

    pub fn floats<const N: usize>(mut self, name: &str, shape: [usize; N], values: Vec<f64>) -> Self {
        let values = values.into_iter().map(|v| f64::from(v as f32)).collect();
        self.initializers.push(Initializer { name: name.into(), shape: shape.to_vec(), values, whole: false });
        self
    }

    pub fn ints<const N: usize>(mut self, name: &str, values: [i64; N]) -> Self {
        let values = values.iter().map(|&v| v as f64).collect();
        self.initializers.push(Initializer { name: name.into(), shape: vec![N], values, whole: true });
        self
    }

    /// Adds an integer scalar.
    pub fn index(mut self, name: &str, value: i64) -> Self {
        self.initializers.push(Initializer {
            name: name.into(),
            shape: vec![],
            values: vec![value as f64],
            whole: true,
        });
        self
    }

    pub fn bytes(&self) -> Vec<u8> {
        let info = |name: &str, dims: &[i64]| {
            let dim = dims.iter().map(|&d| proto::Dimension { dim_value: (d >= 0).then_some(d) }).collect();
            let shape = Some(proto::TensorShapeProto { dim });
            let tensor_type = Some(proto::TensorTypeProto { elem_type: self.input_type, shape });
            proto::ValueInfoProto { name: name.into(), r#type: Some(proto::TypeProto { tensor_type }) }
        };
        let last = self.nodes.last().and_then(|n| n.outputs.first().cloned()).into_iter().collect();
        let outputs = if self.outputs.is_empty() { last } else { self.outputs.clone() };
        let graph = proto::GraphProto {
            node: self.nodes.iter().map(|node| encode(&node_proto(node))).collect(),
            name: "g".into(),
            initializer: self.initializers.iter().map(|i| encode(&tensor_proto(i))).collect(),
            input: vec![encode(&info("x", &self.input))],
            output: outputs.iter().map(|name| encode(&info(name, &[]))).collect(),
        };
        let set = proto::OperatorSetId { domain: String::new(), version: self.opset };
        let model = proto::ModelProto { ir_version: 8, graph: Some(encode(&graph)), opset_import: vec![set] };
        model.encode_to_vec()
    }

    pub fn open(&self) -> Result<Model, WeightsError> {
        Model::from_bytes(self.bytes(), &ModelOptions::default())
    }

    /// The error message for the graph.
    pub fn refusal(&self) -> String {
        match self.open() {
            Ok(model) => panic!("taken: {:?}", model.network.layers().iter().map(|l| l.op).collect::<Vec<_>>()),
            Err(e) => e.to_string(),
        }
    }

    /// Opens the graph, and compares its network's output with that of its nodes. Returns the layers, without the softmax
    /// that every network gets.
    pub fn check(&self) -> Vec<Op> {
        let model = self.open().unwrap_or_else(|e| panic!("{e}"));
        let input = model.network.input();
        let picture: Vec<f64> = splitmix::uniform(5, input.len(), 2.0).into_iter().map(f64::from).collect();
        // The picture in the order of the graph's input.
        let mut dims: Vec<usize> = self.input.iter().map(|&d| usize::try_from(d).unwrap_or(0)).collect();
        let channels_last =
            dims.len() == 4 && dims[3] == input.channels && dims[1] == input.height && dims[1] != input.channels;
        let [c, h, w] = [input.channels, input.height, input.width];
        let mut given = picture.clone();
        if channels_last {
            let at = |i: usize| picture[(i % c) * h * w + i / c];
            given = (0..picture.len()).map(at).collect();
        }
        for (i, d) in dims.iter_mut().enumerate() {
            if *d == 0 {
                let rank = self.input.len();
                *d = if i == 0 { 1 } else { [c, h, w][i + 3 - rank] };
            }
        }
        let values = interpret(self, Array { shape: dims, values: given });
        let output = &self.nodes.last().unwrap().outputs[0];
        let last = self
            .nodes
            .iter()
            .rfind(|n| !["Identity", "Cast", "Reshape", "Squeeze", "Transpose"].contains(&n.op))
            .unwrap()
            .op;
        let mut expected = values[output].values.clone();
        if last == "LogSoftmax" {
            // The network reads it as a softmax.
            expected.iter_mut().for_each(|v| *v = v.exp());
        }
        let activations = run(&model.network, &model.weights, &picture).unwrap();
        let layers = model.network.layers();
        let own = match last {
            "Softmax" | "LogSoftmax" => layers.len(),
            _ if matches!(layers.last().unwrap().op, Op::Softmax) => layers.len() - 1,
            _ => layers.len(),
        };
        let found = &activations[own - 1];
        assert_eq!(found.len(), expected.len(), "{:?}", layers.iter().map(|l| l.op).collect::<Vec<_>>());
        let largest = expected.iter().fold(1e-3, |a: f64, v| a.max(v.abs()));
        for (i, (f, e)) in found.iter().zip(&expected).enumerate() {
            assert!((f - e).abs() < 2e-6 * largest, "{i}: {f}, expected {e} (of {largest})");
        }
        layers[..own].iter().map(|l| l.op).collect()
    }
}

fn encode(message: &impl Message) -> bytes::Bytes {
    message.encode_to_vec().into()
}

fn tensor_proto(i: &Initializer) -> proto::TensorProto {
    let raw: Vec<u8> = if i.whole {
        i.values.iter().flat_map(|&v| (v as i64).to_le_bytes()).collect()
    } else {
        i.values.iter().flat_map(|&v| (v as f32).to_le_bytes()).collect()
    };
    proto::TensorProto {
        dims: i.shape.iter().map(|&d| d as i64).collect(),
        data_type: if i.whole { 7 } else { 1 },
        name: i.name.clone(),
        raw_data: Some(raw.into()),
        ..Default::default()
    }
}

fn node_proto(node: &Node) -> proto::NodeProto {
    let attribute = |(name, value): &(&str, Attribute)| {
        let mut a = proto::AttributeProto { name: (*name).into(), ..Default::default() };
        match value {
            Attribute::Int(v) => a.i = Some(*v),
            Attribute::Float(v) => a.f = Some(*v),
            Attribute::Ints(v) => a.ints = v.clone(),
            Attribute::Text(v) => a.s = v.as_bytes().into(),
            Attribute::Tensor(v) => a.t = Some(encode(&tensor_proto(v))),
        }
        encode(&a)
    };
    proto::NodeProto {
        input: node.inputs.clone(),
        output: node.outputs.clone(),
        name: String::new(),
        op_type: node.op.into(),
        attribute: node.attributes.iter().map(attribute).collect(),
        domain: String::new(),
    }
}
