//! ONNX: a protocol buffer of nodes and initializers. The nodes are walked into a [`Network`](crate::Network),
//! where they are a chain of its layers.

mod proto;

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    path::{Path, PathBuf},
};

use bytes::Bytes;
use prost::Message;

use self::proto::{
    AttributeProto, EXTERNAL, GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto, data_type,
};
use super::{
    Budget, DType, Tensor, Weights, WeightsError, clip,
    graph::{Chain, Graph, Rounding, USUAL_SIDES, transpose},
    part,
};
use crate::network::{Conv, LocalResponseNorm, LrnConvention, MAX_LAYERS, Op, Padding, Shape, Window};

/// Graphs of sequential networks have tens of nodes, and as many initializers.
const MAX_NODES: usize = MAX_LAYERS;

/// Nodes of sequential networks have a few attributes.
const MAX_ATTRIBUTES: usize = 64;

/// Shapes have a few dimensions.
const MAX_RANK: usize = 16;

/// An ONNX file.
pub(crate) struct Model {
    /// Length of the file in bytes.
    len: usize,
    /// Where the file lies, and so those that it names.
    path: Option<PathBuf>,
    /// Version of the standard's operators.
    opset: i64,
    graph: GraphProto,
}

fn malformed(what: impl Into<String>) -> WeightsError {
    WeightsError::malformed("ONNX file", what)
}

fn decode<M: Message + Default>(bytes: &Bytes) -> Result<M, WeightsError> {
    M::decode(bytes.clone()).map_err(|e| malformed(format!("whole protobuf messages, found: {e}")))
}

/// Whether a file begins as ONNX does, with the version of the format.
pub(super) fn begins(bytes: &[u8]) -> bool {
    matches!(bytes, [0x08, 1..=64, ..])
}

impl Model {
    /// `None` where the bytes are some other protocol buffer.
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
        // Before there were sets of operators there was one.
        let opset = standard.map_or(1, |set| set.version);
        Ok(Some(Self { len: bytes.len(), path: path.map(Into::into), opset, graph }))
    }

    /// The initializers that can be weights, by name.
    pub fn weights(&self) -> Result<Weights, WeightsError> {
        let mut reader = self.reader();
        let mut tensors = BTreeMap::new();
        for bytes in &self.graph.initializer {
            let proto: TensorProto = decode(bytes)?;
            if dtype(&proto).is_some() {
                tensors.insert(proto.name.clone(), reader.tensor(&proto)?);
            }
        }
        Ok(Weights { tensors, metadata: BTreeMap::new() })
    }

    /// The nodes as a network, with its tensors.
    pub fn graph(&self) -> Result<Graph, WeightsError> {
        let mut reader = self.reader();
        let mut constants = HashMap::new();
        for bytes in &self.graph.initializer {
            let proto: TensorProto = decode(bytes)?;
            constants.insert(proto.name.clone(), reader.constant(&proto)?);
        }
        let mut inputs = Vec::new();
        for bytes in &self.graph.input {
            let info: ValueInfoProto = decode(bytes)?;
            // Before version 4 of the format initializers are listed as inputs too.
            if !constants.contains_key(&info.name) {
                inputs.push(info);
            }
        }
        let [input] = inputs.as_slice() else {
            let names: Vec<&str> = inputs.iter().map(|i| i.name.as_str()).take(8).collect();
            return Err(malformed(format!("one input, a picture, found {names:?}")));
        };
        let dims: Option<Vec<Option<i64>>> = input.r#type.as_ref().and_then(|t| {
            let shape = t.tensor_type.as_ref()?.shape.as_ref()?;
            Some(shape.dim.iter().map(|d| d.dim_value.filter(|&v| v > 0)).collect())
        });
        let size = |v: i64| usize::try_from(v).map_err(|_| malformed(format!("an input that exists, found size {v}")));
        let (batch, shapes) = match dims.as_deref() {
            Some(&[batch, Some(channels), Some(height), Some(width)]) => {
                (batch, vec![Shape::new(size(channels)?, size(height)?, size(width)?)])
            }
            // torchvision's networks fit 227 too.
            None | Some([_, None | Some(3), None, None]) => {
                (None, USUAL_SIDES.iter().rev().map(|&side| Shape::new(3, side, side)).collect())
            }
            Some(other) => return Err(malformed(format!("an input of shape N×C×H×W, found {other:?}"))),
        };
        let batch = batch.unwrap_or(1);

        // Where the file leaves the size open, the first that fits the weights is it.
        let mut result = Err(malformed("an input"));
        for shape in shapes {
            let walk = Walk {
                reader: &mut reader,
                opset: self.opset,
                batch,
                constants: constants.clone(),
                used: HashSet::new(),
                chain: Chain::new(shape).map_err(malformed)?,
                current: input.name.clone(),
            };
            result = walk.run(&self.graph);
            if result.is_ok() {
                break;
            }
        }
        result
    }

    fn reader(&self) -> Reader<'_> {
        Reader { path: self.path.as_deref(), budget: Budget::new(self.len), files: HashMap::new() }
    }
}

/// A value known without a picture.
#[derive(Clone)]
enum Constant {
    Tensor(Tensor),
    /// Sizes and indices, of at most one dimension.
    Ints(Vec<i64>),
    /// Something else, of this kind; an error only where a node needs it.
    Other(i32),
}

fn dtype(proto: &TensorProto) -> Option<DType> {
    match proto.data_type {
        data_type::FLOAT => Some(DType::F32),
        data_type::FLOAT16 => Some(DType::F16),
        data_type::BFLOAT16 => Some(DType::BF16),
        data_type::DOUBLE => Some(DType::F64),
        _ => None,
    }
}

/// Turns tensor messages to tensors; files beside the model are opened once.
struct Reader<'a> {
    path: Option<&'a Path>,
    budget: Budget,
    files: HashMap<String, Bytes>,
}

impl Reader<'_> {
    fn constant(&mut self, proto: &TensorProto) -> Result<Constant, WeightsError> {
        if dtype(proto).is_some() {
            return Ok(Constant::Tensor(self.tensor(proto)?));
        }
        if proto.data_type != data_type::INT64 || proto.dims.len() > 1 {
            return Ok(Constant::Other(proto.data_type));
        }
        let ints: Vec<i64> = match &proto.raw_data {
            Some(raw) => raw.as_chunks().0.iter().map(|&b| i64::from_le_bytes(b)).collect(),
            None => proto.int64_data.clone(),
        };
        Ok(if ints.len() > MAX_RANK { Constant::Other(proto.data_type) } else { Constant::Ints(ints) })
    }

    fn tensor(&mut self, proto: &TensorProto) -> Result<Tensor, WeightsError> {
        let name = || format!("`{:.80}`", proto.name);
        let dtype = dtype(proto).ok_or_else(|| WeightsError::DType {
            tensor: proto.name.clone(),
            found: format!("ONNX data type {}", proto.data_type),
        })?;
        let shape: Option<Vec<usize>> = proto.dims.iter().map(|&d| usize::try_from(d).ok()).collect();
        let shape = shape.ok_or_else(|| malformed(format!("sizes of at least 0 in tensor {}", name())))?;
        let joined = |chunks: &[Bytes]| match chunks {
            [one] => one.clone(),
            many => many.concat().into(),
        };
        let bytes = match (dtype, &proto.raw_data) {
            _ if proto.data_location == EXTERNAL => self.external(proto)?,
            (_, Some(raw)) => raw.clone(),
            (DType::F32, None) => joined(&proto.float_data),
            (DType::F64, None) => joined(&proto.double_data),
            // Half precision travels in the low halves of integers.
            (_, None) => proto.int32_data.iter().flat_map(|&v| (v as u16).to_le_bytes()).collect(),
        };
        let found = bytes.len();
        let tensor = Tensor::new(dtype, shape, bytes).map(|tensor| tensor.named_in_file(&proto.name));
        tensor.ok_or_else(|| {
            malformed(format!("the numbers of tensor {} of shape {:?}, found {found} bytes", name(), proto.dims))
        })
    }

    /// The bytes of a tensor that lie in another file, which must lie in the model's folder. Where the model is a link, that is
    /// also the folder of the file that it leads to: a model may be opened through a link, and downloads of Hugging Face are
    /// links to files that lie together under other names.
    fn external(&mut self, proto: &TensorProto) -> Result<Bytes, WeightsError> {
        let note = |key| proto.external_data.iter().find(|e| e.key == key).map(|e| e.value.as_str());
        let number = |key| {
            let parse = |text: &str| {
                text.parse::<usize>().map_err(|_| malformed(format!("a number as external {key}, found `{text:.40}`")))
            };
            note(key).map(parse).transpose()
        };
        let location = note("location").ok_or_else(|| malformed("the location of external data"))?;
        if !self.files.contains_key(location) {
            let file = self.open(location)?;
            self.files.insert(location.into(), file);
        }
        let file = &self.files[location];
        let start = number("offset")?.unwrap_or(0);
        let end = match number("length")? {
            Some(length) => start.checked_add(length),
            None => Some(file.len()),
        };
        let bytes = end.and_then(|end| part(file, start..end));
        bytes.ok_or_else(|| {
            malformed(format!("the numbers of `{:.80}` in `{location}`, found {} bytes", proto.name, file.len()))
        })
    }

    fn open(&self, location: &str) -> Result<Bytes, WeightsError> {
        let outside = || malformed(format!("external data in the model's own folder, found `{location:.200}`"));
        let model = self.path.ok_or_else(|| {
            let what = format!("all numbers in one file, found some in `{location:.200}`");
            malformed(what).advising("open the model by its path")
        })?;
        let inside = Path::new(location).components().all(|c| matches!(c, std::path::Component::Normal(_)));
        if !inside || location.is_empty() {
            return Err(outside());
        }
        let of = |path: &Path| path.parent().map(Path::to_path_buf).unwrap_or_default();
        let folder = of(model);
        let path = folder.join(location);
        let fail = |source| WeightsError::Read { path: path.clone(), source };
        let real_folder = of(&model.canonicalize().map_err(fail)?);
        // Beside the link, or beside what it leads to.
        let real = path.canonicalize().or_else(|e| real_folder.join(location).canonicalize().map_err(|_| e));
        let real = real.map_err(fail)?;
        let here = if folder.as_os_str().is_empty() { Path::new(".") } else { &folder };
        // A link may lead out of the folders.
        if !real.starts_with(&real_folder) && !real.starts_with(here.canonicalize().map_err(fail)?) {
            return Err(outside());
        }
        Ok(super::map(&real)?.0)
    }
}

/// The nodes from the picture on: each takes what the one before it made.
struct Walk<'a, 'b> {
    reader: &'a mut Reader<'b>,
    opset: i64,
    batch: i64,
    constants: HashMap<String, Constant>,
    /// Which of them layers have: each more that has them is charged for, since each has them for itself.
    used: HashSet<String>,
    chain: Chain,
    /// The name of the last activation.
    current: String,
}

impl Walk<'_, '_> {
    fn run(mut self, graph: &GraphProto) -> Result<Graph, WeightsError> {
        for bytes in &graph.node {
            let node: NodeProto = decode(bytes)?;
            let output = node.output.first().cloned().unwrap_or_default();
            // Where nodes have no names, what they make has.
            let name = if node.name.is_empty() { output.clone() } else { node.name.clone() };
            let step = match node.domain.as_str() {
                "" | "ai.onnx" => self.node(&name, &node).map_err(|what| WeightsError::Operator {
                    node: clip(&name),
                    operator: clip(&node.op_type),
                    what,
                })?,
                domain => {
                    return Err(WeightsError::Operator {
                        node: clip(&name),
                        operator: clip(&node.op_type),
                        what: format!("to be a standard operator, found one of `{domain:.80}`"),
                    });
                }
            };
            match step {
                Step::Layer => self.current = output,
                Step::Constant(value) => drop(self.constants.insert(output, value)),
            }
        }
        let outputs = graph.output.iter().map(decode::<ValueInfoProto>).collect::<Result<Vec<_>, _>>()?;
        if !outputs.iter().any(|output| output.name == self.current) {
            return Err(malformed(format!("the graph's output to be its last node's, `{:.80}`", self.current)));
        }
        self.chain.finish(&graph.name, None).map_err(|e| malformed(e.to_string()))
    }

    /// One node. Errors say what was expected and found.
    fn node(&mut self, name: &str, node: &NodeProto) -> Result<Step, String> {
        let inputs: Vec<&str> = node.input.iter().map(String::as_str).collect();
        let attributes = Attributes::decode(&node.attribute)?;
        if let Some(value) = self.fold(node, &attributes, &inputs)? {
            return Ok(Step::Constant(value));
        }
        let first = inputs.first().copied().unwrap_or_default();
        if first != self.current {
            return Err(format!("to take `{}`, found `{first:.80}`", self.current));
        }
        match node.op_type.as_str() {
            "Conv" => {
                let weight = self.tensor(inputs.get(1).copied())?;
                let bias = self.optional(inputs.get(2).copied())?;
                let [out_channels, _, kh, kw] = *weight.shape() else {
                    return Err(format!("a weight of four dimensions, found {:?}", weight.shape()));
                };
                let window = self.window(&attributes, Some([kh, kw]))?;
                let conv = Conv { out_channels, window, groups: attributes.size("group")?.unwrap_or(1), relu: false };
                self.chain.conv(name, conv, weight, bias)?;
            }
            "Relu" => self.chain.relu()?,
            "MaxPool" => {
                let window = self.window(&attributes, None)?;
                let rounding = match attributes.int("ceil_mode") {
                    Some(1) => Rounding::Ceil,
                    _ => Rounding::Floor,
                };
                self.chain.max_pool(name, window, rounding)?;
            }
            "AveragePool" => {
                let window = self.window(&attributes, None)?;
                self.chain.average_pool(name, window)?;
            }
            "GlobalAveragePool" => self.chain.global_average_pool(name)?,
            "LRN" => {
                let norm = LocalResponseNorm {
                    size: attributes.size("size")?.ok_or("a size")?,
                    alpha: attributes.float("alpha").unwrap_or(1e-4),
                    beta: attributes.float("beta").unwrap_or(0.75),
                    k: attributes.float("bias").unwrap_or(1.0),
                    convention: LrnConvention::Mean,
                };
                self.chain.push(name, Op::LocalResponseNorm(norm))?;
            }
            "Gemm" => {
                if attributes.int("transA").unwrap_or(0) != 0 {
                    return Err("transA of 0, found another".into());
                }
                self.flat()?;
                let mut weight = self.tensor(inputs.get(1).copied())?;
                if attributes.int("transB").unwrap_or(0) == 0 {
                    weight = transpose(&weight, &mut self.reader.budget)?;
                }
                let bias = self.optional(inputs.get(2).copied())?;
                let weight = self.scaled(weight, attributes.float("alpha"))?;
                let bias = bias.map(|bias| self.scaled(bias, attributes.float("beta"))).transpose()?;
                self.chain.linear(name, weight, bias)?;
            }
            "MatMul" => {
                self.flat()?;
                let weight = self.tensor(inputs.get(1).copied())?;
                let weight = transpose(&weight, &mut self.reader.budget)?;
                self.chain.linear(name, weight, None)?;
            }
            "Add" => {
                let bias = self.tensor(inputs.get(1).copied())?;
                self.chain.bias(bias)?;
            }
            "Dropout" => self.chain.push(name, Op::Dropout)?,
            "Identity" => {}
            // What a picture comes to is computed in f32 throughout.
            "Cast" => match attributes.int("to").and_then(|to| i32::try_from(to).ok()) {
                Some(data_type::FLOAT | data_type::FLOAT16 | data_type::BFLOAT16 | data_type::DOUBLE) => {}
                to => return Err(format!("a cast to floating-point numbers, found data type {}", to.unwrap_or(0))),
            },
            "Flatten" => match attributes.int("axis").unwrap_or(1) {
                1 | -3 => self.chain.flatten(),
                axis => return Err(format!("axis 1, found {axis}")),
            },
            "Reshape" => {
                let target = match inputs.get(1).and_then(|input| self.constants.get(*input)) {
                    Some(Constant::Ints(ints)) => ints.clone(),
                    // Before version 5 of the operators.
                    None if inputs.len() == 1 => attributes.ints("shape").map(<[i64]>::to_vec).unwrap_or_default(),
                    _ => return Err("a shape that is known without a picture".into()),
                };
                self.reshape(&target, attributes.int("allowzero") == Some(1))?;
            }
            "Softmax" => {
                let rank = if self.chain.is_flat() { 2 } else { 4 };
                let axis = attributes.int("axis").unwrap_or(if self.opset >= 13 { -1 } else { 1 });
                if axis != 1 && axis != 1 - rank {
                    return Err(format!("to go over the classes, axis 1, found axis {axis}"));
                }
                self.chain.push(name, Op::Softmax)?;
            }
            _ => return Err("to be one of a sequential network's (Conv, Relu, MaxPool, LRN, Gemm, …)".into()),
        }
        Ok(Step::Layer)
    }

    /// What a node makes that needs no picture: constants, and the arithmetic of shapes that exporters write
    /// around Reshape. `None` where it does need one.
    fn fold(&mut self, node: &NodeProto, attributes: &Attributes, inputs: &[&str]) -> Result<Option<Constant>, String> {
        let constant = |i: usize| inputs.get(i).and_then(|input| self.constants.get(*input));
        let ints = |i: usize| match constant(i) {
            Some(Constant::Ints(ints)) => Ok(ints),
            _ => Err("sizes that are known without a picture".to_string()),
        };
        let value = match node.op_type.as_str() {
            "Constant" => {
                if let Some(bytes) = attributes.find("value").and_then(|a| a.t.as_ref()) {
                    // Numbers in other files are for initializers.
                    let mut reader = Reader { path: None, budget: Budget::new(0), files: HashMap::new() };
                    let proto = decode(bytes).map_err(|e| e.to_string())?;
                    reader.constant(&proto).map_err(|e| e.to_string())?
                } else if let Some(value) = attributes.int("value_int") {
                    Constant::Ints(vec![value])
                } else if let Some(values) = attributes.ints("value_ints") {
                    Constant::Ints(values.to_vec())
                } else {
                    Constant::Other(0)
                }
            }
            "Shape" if inputs.first() == Some(&self.current.as_str()) => Constant::Ints(self.dims()),
            "Gather" => {
                let data = ints(0)?;
                let pick = |&i: &i64| {
                    let i = if i < 0 { i + data.len() as i64 } else { i };
                    usize::try_from(i).ok().and_then(|i| data.get(i)).copied().ok_or("an index that is there")
                };
                Constant::Ints(ints(1)?.iter().map(pick).collect::<Result<_, _>>()?)
            }
            "Concat" => {
                let parts = (0..inputs.len()).map(ints).collect::<Result<Vec<_>, _>>()?;
                if parts.iter().map(|p| p.len()).sum::<usize>() > MAX_RANK {
                    return Err(format!("a shape of at most {MAX_RANK} sizes"));
                }
                Constant::Ints(parts.into_iter().flatten().copied().collect())
            }
            "Identity" | "Unsqueeze" | "Squeeze" | "Cast" => match constant(0) {
                Some(Constant::Ints(ints)) => Constant::Ints(ints.clone()),
                Some(Constant::Tensor(tensor)) if node.op_type == "Identity" => Constant::Tensor(tensor.clone()),
                _ => return Ok(None),
            },
            "Transpose" => match (constant(0), attributes.ints("perm")) {
                (Some(Constant::Tensor(tensor)), None | Some([1, 0])) => {
                    Constant::Tensor(transpose(tensor, &mut self.reader.budget)?)
                }
                _ => return Ok(None),
            },
            _ => return Ok(None),
        };
        Ok(Some(value))
    }

    /// The dimensions of the last activation, with the batch.
    fn dims(&self) -> Vec<i64> {
        let shape = self.chain.shape();
        if self.chain.is_flat() {
            vec![self.batch, shape.len() as i64]
        } else {
            vec![self.batch, shape.channels as i64, shape.height as i64, shape.width as i64]
        }
    }

    /// Nothing, or a flattening.
    fn reshape(&mut self, target: &[i64], allow_zero: bool) -> Result<(), String> {
        let from = self.dims();
        let found = || format!("a flattening of {from:?}, found the shape {target:?}");
        if target.iter().filter(|&&d| d == -1).count() > 1 {
            return Err(found());
        }
        let total = from.iter().try_fold(1i64, |a, &d| a.checked_mul(d)).ok_or_else(found)?;
        let copied = |(i, &d): (usize, &i64)| if d == 0 && !allow_zero { from.get(i).copied() } else { Some(d) };
        let mut to: Vec<i64> = target.iter().enumerate().map(copied).collect::<Option<_>>().ok_or_else(found)?;
        let known = to.iter().filter(|&&d| d != -1).try_fold(1i64, |a, &d| a.checked_mul(d)).ok_or_else(found)?;
        if let Some(open) = to.iter_mut().find(|d| **d == -1) {
            *open = total.checked_div(known).ok_or_else(found)?;
        }
        let vector = [self.batch, total / self.batch.max(1)];
        if to == vector {
            self.chain.flatten();
            Ok(())
        } else if to == from {
            Ok(())
        } else {
            Err(found())
        }
    }

    fn flat(&self) -> Result<(), String> {
        if self.chain.is_flat() { Ok(()) } else { Err("a vector, found feature maps".into()) }
    }

    fn tensor(&mut self, name: Option<&str>) -> Result<Tensor, String> {
        let name = name.unwrap_or_default();
        match self.constants.get(name) {
            Some(Constant::Tensor(tensor)) => {
                if !self.used.insert(name.into()) {
                    self.reader.budget.take(4 * tensor.numbers().len())?;
                }
                Ok(tensor.clone())
            }
            Some(Constant::Other(kind)) => Err(format!("floating-point numbers, found ONNX data type {kind}")),
            _ => Err(format!("weights among the initializers, found `{name:.80}`")),
        }
    }

    fn optional(&mut self, name: Option<&str>) -> Result<Option<Tensor>, String> {
        name.filter(|name| !name.is_empty()).map(|name| self.tensor(Some(name))).transpose()
    }

    fn scaled(&mut self, tensor: Tensor, factor: Option<f32>) -> Result<Tensor, String> {
        match factor {
            None | Some(1.0) => Ok(tensor),
            Some(factor) => {
                let values = tensor.to_f32();
                self.reader.budget.take(4 * values.len())?;
                Ok(Tensor::from_f32(tensor.shape(), values.iter().map(|v| v * factor).collect()))
            }
        }
    }

    /// Kernel, stride and padding of a convolution (whose weight has the kernel's size) or a pooling.
    fn window(&self, attributes: &Attributes, weight: Option<[usize; 2]>) -> Result<Window, String> {
        let kernel = match (attributes.pair("kernel_shape")?, weight) {
            (Some(kernel), Some(weight)) if kernel != weight => {
                return Err(format!("a kernel of {weight:?} as its weight, found {kernel:?}"));
            }
            (Some(kernel), _) | (None, Some(kernel)) => kernel,
            (None, None) => return Err("a kernel_shape".into()),
        };
        let stride = attributes.pair("strides")?.unwrap_or([1, 1]);
        if attributes.pair("dilations")?.is_some_and(|d| d != [1, 1]) {
            return Err("dilations of 1, found others".into());
        }
        let auto_pad = attributes.find("auto_pad").map_or(&b"NOTSET"[..], |a| &a.s);
        let padding = match auto_pad {
            b"NOTSET" | b"" => match attributes.ints("pads") {
                None => Padding::default(),
                Some(&[top, left, bottom, right]) => {
                    let size = |v: i64| usize::try_from(v).map_err(|_| format!("pads of at least 0, found {v}"));
                    Padding { top: size(top)?, left: size(left)?, bottom: size(bottom)?, right: size(right)? }
                }
                Some(other) => return Err(format!("four pads, found {}", other.len())),
            },
            b"VALID" => Padding::default(),
            b"SAME_UPPER" | b"SAME_LOWER" => {
                let shape = self.chain.shape();
                let upper = auto_pad == b"SAME_UPPER";
                // As many windows as strides begin in the input; an odd row goes to the named end.
                let pads = |size: usize, kernel: usize, stride: usize| {
                    let steps = size.div_ceil(stride.max(1)).saturating_sub(1);
                    let total = steps.saturating_mul(stride).saturating_add(kernel).saturating_sub(size);
                    let (small, large) = (total / 2, total - total / 2);
                    if upper { (small, large) } else { (large, small) }
                };
                let (top, bottom) = pads(shape.height, kernel[0], stride[0]);
                let (left, right) = pads(shape.width, kernel[1], stride[1]);
                Padding { top, left, bottom, right }
            }
            other => return Err(format!("a known auto_pad, found `{}`", clip(&String::from_utf8_lossy(other)))),
        };
        Ok(Window { kernel, stride, padding })
    }
}

/// What a node comes to.
enum Step {
    /// Its output is the new activation.
    Layer,
    /// Its output is known without a picture.
    Constant(Constant),
}

struct Attributes(Vec<AttributeProto>);

impl Attributes {
    fn decode(attributes: &[Bytes]) -> Result<Self, String> {
        if attributes.len() > MAX_ATTRIBUTES {
            return Err(format!("at most {MAX_ATTRIBUTES} attributes, found {}", attributes.len()));
        }
        attributes.iter().map(decode).collect::<Result<_, _>>().map(Self).map_err(|e| e.to_string())
    }

    fn find(&self, name: &str) -> Option<&AttributeProto> {
        self.0.iter().find(|a| a.name == name)
    }

    fn int(&self, name: &str) -> Option<i64> {
        self.find(name).map(|a| a.i.unwrap_or(0))
    }

    fn float(&self, name: &str) -> Option<f32> {
        self.find(name).map(|a| a.f.unwrap_or(0.0))
    }

    fn ints(&self, name: &str) -> Option<&[i64]> {
        self.find(name).map(|a| a.ints.as_slice())
    }

    fn size(&self, name: &str) -> Result<Option<usize>, String> {
        let size = |v: i64| usize::try_from(v).map_err(|_| format!("{name} of at least 0, found {v}"));
        self.int(name).map(size).transpose()
    }

    /// Rows and columns.
    fn pair(&self, name: &str) -> Result<Option<[usize; 2]>, String> {
        match self.ints(name) {
            None => Ok(None),
            Some(&[rows, columns]) => match (usize::try_from(rows), usize::try_from(columns)) {
                (Ok(rows), Ok(columns)) => Ok(Some([rows, columns])),
                _ => Err(format!("{name} of at least 0, found {rows} and {columns}")),
            },
            Some(other) => Err(format!("{name} of rows and columns, found {} numbers", other.len())),
        }
    }
}
