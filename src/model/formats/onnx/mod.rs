//! ONNX: a protocol buffer of nodes and initializers. Nodes with constant inputs are evaluated. The others are converted to a
//! [`Network`](crate::Network), where they form a chain of its layers.

mod constant;
mod evaluate;
mod layers;
mod lrn;
mod node;
mod proto;
mod shapes;
mod tensors;
mod view;
mod walk;
mod windows;

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    path::{Path, PathBuf},
};

use bytes::Bytes;
use prost::Message;

use self::{
    constant::{Constant, Kind, MAX_RANK},
    node::Node,
    proto::{GraphProto, ModelProto, TensorProto, ValueInfoProto},
    tensors::Reader,
    view::{Axis, CHANNELS_FIRST, CHANNELS_LAST, View},
    walk::{Stopped, Walk},
};
use super::{
    Budget,
    graph::{Chain, Graph},
};
use crate::{
    network::MAX_LAYERS,
    shape::Shape,
    weights::{Weights, WeightsError},
};

/// The most nodes and initializers of a graph. Sequential networks have tens of each.
const MAX_NODES: usize = MAX_LAYERS;

/// The sides of square colour inputs that are tried, the commonest first, where a file leaves its input's size open.
/// torchvision's networks fit 227 too.
const COLOUR_SIDES: [usize; 8] = [224, 227, 32, 64, 96, 128, 256, 299];
/// The same for grey inputs: digits come first.
const GREY_SIDES: [usize; 8] = [28, 32, 64, 96, 128, 224, 227, 256];

/// The most other sizes of an input that are named.
const MAX_OTHERS: usize = 3;

/// An ONNX file.
pub(crate) struct Model {
    /// The length of the file in bytes.
    len: usize,
    /// The path of the file, which is the base of external data.
    path: Option<PathBuf>,
    /// The version of the standard operators.
    opset: i64,
    graph: GraphProto,
}

fn malformed(what: impl Into<String>) -> WeightsError {
    WeightsError::malformed("ONNX file", what)
}

fn decode<M: Message + Default>(bytes: &Bytes) -> Result<M, WeightsError> {
    M::decode(bytes.clone()).map_err(|e| malformed(format!("whole protobuf messages, found: {e}")))
}

/// Whether a file begins like ONNX, with the format's version.
pub(super) fn begins(bytes: &[u8]) -> bool {
    matches!(bytes, [0x08, 1..=64, ..])
}

/// A possible input: a picture's shape, and the graph's view of it.
struct Candidate {
    shape: Shape,
    view: View,
}

impl Model {
    /// `None` where the bytes are another kind of protocol buffer.
    pub fn read(bytes: &Bytes, path: Option<&Path>) -> Result<Option<Self>, WeightsError> {
        let model: ModelProto = decode(bytes)?;
        let (Some(graph), 1..) = (model.graph, model.ir_version) else {
            return Ok(None);
        };
        let graph: GraphProto = decode(&graph)?;
        let lists = [&graph.node, &graph.initializer, &graph.input, &graph.output];
        if lists.iter().any(|list| list.len() > MAX_NODES) {
            return Err(malformed(format!("at most {MAX_NODES} nodes, initializers, inputs and outputs each")));
        }
        let standard = model.opset_import.iter().find(|set| matches!(set.domain.as_str(), "" | "ai.onnx"));
        // Before operator sets existed there was only one.
        let opset = standard.map_or(1, |set| set.version);
        Ok(Some(Self { len: bytes.len(), path: path.map(Into::into), opset, graph }))
    }

    /// The initializers that can be weights, by name.
    pub fn weights(&self) -> Result<Weights, WeightsError> {
        let mut reader = Reader::new(self.path.as_deref());
        let mut tensors = BTreeMap::new();
        for bytes in &self.graph.initializer {
            let proto: TensorProto = decode(bytes)?;
            if let Some(tensor) = reader.constant(&proto)?.and_then(|constant| constant.tensor().ok()) {
                tensors.insert(proto.name, tensor);
            }
        }
        Ok(Weights { tensors, metadata: BTreeMap::new() })
    }

    /// The nodes as a network, with its tensors.
    pub fn graph(&self) -> Result<Graph, WeightsError> {
        let mut reader = Reader::new(self.path.as_deref());
        let mut constants = HashMap::new();
        for bytes in &self.graph.initializer {
            let proto: TensorProto = decode(bytes)?;
            if let Some(constant) = reader.constant(&proto)? {
                constants.insert(proto.name, constant);
            }
        }
        let outputs: Vec<String> =
            self.graph.output.iter().map(|o| decode::<ValueInfoProto>(o).map(|o| o.name)).collect::<Result<_, _>>()?;
        let (nodes, read) = self.nodes(&outputs)?;
        let input = self.input(&constants, &read)?;
        let mut furthest: Option<Stopped> = None;
        let mut found: Option<Graph> = None;
        let mut others: Vec<String> = Vec::new();
        for Candidate { shape, view } in candidates(&input)? {
            let budget = Budget::new(self.len.saturating_add(reader.len()));
            let walk = Walk {
                opset: self.opset,
                nodes: &nodes,
                constants: constants.clone(),
                chain: Chain::new(shape, budget).map_err(malformed)?,
                batch: view.size(Axis::Batch),
                dims: HashMap::from([(input.name.clone(), view.dims().to_vec())]),
                live: HashMap::from([(input.name.clone(), view)]),
                squares: HashMap::new(),
                activation: 0,
                used: HashSet::new(),
                end: None,
            };
            match walk.run(&self.graph.name, &outputs) {
                Ok(graph) if !has_open_size(&input) => return Ok(graph),
                // Networks without fully connected layers fit any size.
                Ok(graph) => match &found {
                    None => found = Some(graph),
                    Some(first) if first.network.input() == shape => {}
                    Some(_) => others.push(shape.to_string()),
                },
                Err(stopped) if furthest.as_ref().is_none_or(|f| f.at < stopped.at) => furthest = Some(stopped),
                Err(_) => {}
            }
            if others.len() == MAX_OTHERS {
                break;
            }
        }
        let Some(mut graph) = found else {
            return Err(furthest.map_or_else(|| malformed("an input"), |stopped| stopped.error));
        };
        graph.open.input = Some("the first usual one that fits, as the file leaves it open".into());
        if !others.is_empty() {
            let (input, others) = (graph.network.input(), others.join(", "));
            graph.open.doubt =
                Some(format!("its input is taken for {input}, as the file leaves it open; {others} fit too"));
        }
        Ok(graph)
    }

    /// The nodes that the outputs depend on, and the names that those read.
    fn nodes(&self, outputs: &[String]) -> Result<(Vec<Node>, HashSet<String>), WeightsError> {
        let mut read: HashSet<String> = outputs.iter().cloned().collect();
        let mut nodes = Vec::new();
        for bytes in self.graph.node.iter().rev() {
            let node = Node::decode(bytes)?;
            if node.outputs.iter().any(|output| read.contains(output)) {
                read.extend(node.used_inputs().map(str::to_string));
                nodes.push(node);
            }
        }
        nodes.reverse();
        Ok((nodes, read))
    }

    /// The only input that is not an initializer and is read by a node.
    fn input(
        &self,
        constants: &HashMap<String, Constant>,
        read: &HashSet<String>,
    ) -> Result<ValueInfoProto, WeightsError> {
        let mut inputs = Vec::new();
        for bytes in &self.graph.input {
            let info: ValueInfoProto = decode(bytes)?;
            // Before version 4 of the format, initializers are listed as inputs too.
            if !constants.contains_key(&info.name) && read.contains(&info.name) {
                inputs.push(info);
            }
        }
        let names: Vec<&str> = inputs.iter().map(|i| i.name.as_str()).take(8).collect();
        let fail = malformed(format!("one input, a picture, found {names:?}"));
        match inputs.len() {
            1 => inputs.pop().ok_or(fail),
            _ => Err(fail),
        }
    }
}

/// Whether the file leaves the size of its picture open.
fn has_open_size(input: &ValueInfoProto) -> bool {
    let shape = input.r#type.as_ref().and_then(|t| t.tensor_type.as_ref()?.shape.as_ref());
    let open = |d: &proto::Dimension| d.dim_value.is_none_or(|v| v <= 0);
    // Whatever the first dimension is, it is no side.
    shape.is_none_or(|shape| shape.dim.len() > 2 && shape.dim.iter().skip(1).any(open))
}

/// The possible inputs, the likeliest first.
fn candidates(input: &ValueInfoProto) -> Result<Vec<Candidate>, WeightsError> {
    let tensor = input.r#type.as_ref().and_then(|t| t.tensor_type.as_ref());
    if let Some(kind) = tensor.and_then(|t| Kind::of(t.elem_type.into())).filter(|kind| kind.dtype().is_none()) {
        let what = format!("an input `{:.80}` of floating-point numbers, found {kind:?}", input.name);
        return Err(malformed(what).advising("export the network from where its pictures are floating-point numbers"));
    }
    let dims: Option<Vec<Option<usize>>> = tensor.and_then(|t| t.shape.as_ref()).map(|shape| {
        let size = |d: &proto::Dimension| d.dim_value.and_then(|v| usize::try_from(v).ok()).filter(|&v| v > 0);
        shape.dim.iter().take(MAX_RANK).map(size).collect()
    });
    let dims = dims.unwrap_or_else(|| vec![None; 4]);
    let few = |channels: Option<usize>| matches!(channels, Some(1 | 3 | 4));
    let mut found = Vec::new();
    match *dims.as_slice() {
        [batch, a, b, c] => {
            let batch = batch.unwrap_or(1);
            let mut orders = vec![([a, b, c], CHANNELS_FIRST), ([c, a, b], CHANNELS_LAST)];
            // The layout of Keras and TensorFlow.
            if few(c) && !few(a) {
                orders.reverse();
            }
            for (sizes, order) in orders {
                for shape in shapes(sizes) {
                    let dims = if order == CHANNELS_FIRST {
                        vec![batch, shape.channels, shape.height, shape.width]
                    } else {
                        vec![batch, shape.height, shape.width, shape.channels]
                    };
                    found.push(Candidate { shape, view: View::new(dims, order, batch, shape) });
                }
            }
        }
        // A picture without a batch dimension, or a batch of one channel.
        [a, b, c] => {
            for shape in shapes([a.or(Some(1)), b, c]) {
                let dims = vec![shape.channels, shape.height, shape.width];
                found.push(Candidate { shape, view: View::new(dims, CHANNELS_FIRST, 1, shape) });
            }
            for shape in shapes([Some(1), b, c]) {
                let batch = a.unwrap_or(1);
                let dims = vec![batch, shape.height, shape.width];
                found.push(Candidate { shape, view: View::new(dims, CHANNELS_FIRST, batch, shape) });
            }
            for shape in shapes([c, a, b]).into_iter().filter(|_| few(c)) {
                let dims = vec![shape.height, shape.width, shape.channels];
                found.push(Candidate { shape, view: View::new(dims, CHANNELS_LAST, 1, shape) });
            }
            if few(c) && !few(a) {
                found.rotate_right(1);
            }
        }
        [batch, Some(size)] => {
            let (batch, shape) = (batch.unwrap_or(1), Shape::vector(size));
            found.push(Candidate { shape, view: View::new(vec![batch, size], CHANNELS_FIRST, batch, shape) });
        }
        [Some(size)] => {
            let shape = Shape::vector(size);
            found.push(Candidate { shape, view: View::new(vec![size], CHANNELS_FIRST, 1, shape) });
        }
        _ => {
            let shown: Vec<String> = dims.iter().map(|d| d.map_or("?".into(), |d| d.to_string())).collect();
            let what = format!("an input `{:.80}` of N×C×H×W, found {}", input.name, shown.join("×"));
            return Err(malformed(what).advising("export the network with a picture of one size as its input"));
        }
    }
    Ok(found)
}

/// The shapes of pictures that match the known sizes.
fn shapes([channels, height, width]: [Option<usize>; 3]) -> Vec<Shape> {
    let of = |channels: usize, sides: &[usize]| -> Vec<Shape> {
        match (height, width) {
            (Some(height), Some(width)) => vec![Shape::new(channels, height, width)],
            (Some(side), None) | (None, Some(side)) => vec![Shape::new(channels, side, side)],
            (None, None) => sides.iter().map(|&side| Shape::new(channels, side, side)).collect(),
        }
    };
    match channels {
        None => [of(3, &COLOUR_SIDES), of(1, &GREY_SIDES)].concat(),
        Some(1) => of(1, &GREY_SIDES),
        Some(channels) => of(channels, &COLOUR_SIDES),
    }
}
