//! Conversion of the nodes in order: constants are evaluated, the others become layers.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::{
    constant::Constant,
    evaluate::{self, evaluate, shape_slice},
    layers::LAYERS,
    lrn::Squares,
    malformed,
    node::Node,
    view::View,
};
use crate::{
    layers::Op,
    model::formats::{Graph, graph::Chain},
    picture::Preprocessing,
    text::clip,
    weights::{Tensor, WeightsError},
};

/// The most operators that a message lists.
const MAX_LISTED: usize = 8;

/// The state of the conversion. Each node reads the output of the one before.
pub(super) struct Walk<'a> {
    pub opset: i64,
    pub nodes: &'a [Node],
    pub constants: HashMap<String, Constant>,
    pub chain: Chain,
    pub batch: usize,
    /// The names of the last activation, each with its view.
    pub live: HashMap<String, View>,
    /// The dimensions of activations, including former ones.
    pub dims: HashMap<String, Vec<usize>>,
    pub squares: HashMap<String, Squares>,
    /// The number of the last activation.
    pub activation: usize,
    /// Tensors that layers already hold: a further layer is charged for its own copy.
    pub used: HashSet<String>,
    /// The node whose output must be the last, because nodes that read it would get other numbers than the file's.
    pub end: Option<String>,
}

/// The state of a stopped conversion, and the reason.
pub(super) struct Stopped {
    pub at: usize,
    pub error: WeightsError,
}

impl Walk<'_> {
    /// The graph's network, which ends in one of `outputs`.
    pub fn run(mut self, name: &str, outputs: &[String]) -> Result<Graph, Stopped> {
        let nodes = self.nodes;
        for (at, node) in nodes.iter().enumerate() {
            self.step(node).map_err(|stop| {
                let (node, operator) = (clip(&node.name), clip(&node.operator));
                let error = match stop {
                    Stop::Operator(what) => WeightsError::Operator { node, operator, what },
                    Stop::Unknown => WeightsError::UnknownOperator { node, operator, others: self.unknown(at) },
                };
                Stopped { at, error }
            })?;
        }
        let fail = |what: String| Stopped { at: nodes.len(), error: malformed(what) };
        let Some(view) = outputs.iter().find_map(|output| self.live.get(output)) else {
            let last = nodes.last().map_or("", |node| &node.name);
            return Err(fail(format!("the graph's output to be its last node's, `{last:.80}`")));
        };
        // Maps may have their dimensions in any order; classes are ordered.
        if view.dims().len() != 4 && !view.is_in_order() {
            return Err(fail("an output in the order of channels, rows and columns, found another".into()));
        }
        if let (Err(what), Some(last)) = (self.chain.settle(), nodes.last()) {
            let (node, operator) = (clip(&last.name), clip(&last.operator));
            return Err(Stopped { at: nodes.len(), error: WeightsError::Operator { node, operator, what } });
        }
        let preprocessing = self.preprocessing();
        self.chain.finish(name, preprocessing).map_err(fail)
    }

    /// The preprocessing where the network normalises its input itself: samples from 0 to 1, or to 255 if it divides by or
    /// subtracts numbers of that range.
    fn preprocessing(&self) -> Option<Preprocessing> {
        let (input, affine) = (self.chain.input(), self.chain.of_input());
        let usual = match input.channels {
            1 => Preprocessing::plain(input),
            3 => Preprocessing::torchvision(input.height),
            _ => return None,
        };
        if affine.is_identity() {
            return None;
        }
        let largest = |factors: &[f64]| factors.iter().fold(0.0, |a: f64, v| a.max(v.abs()));
        let whole = largest(&affine.scale) <= 1.0 / 16.0 || largest(&affine.shift) >= 16.0;
        let scale = if whole { 1.0 } else { 1.0 / 255.0 };
        Some(usual.scale(scale).mean([0.0; 3]).std([1.0; 3]))
    }

    fn step(&mut self, node: &Node) -> Result<(), Stop> {
        if !node.domain.is_empty() {
            return Err(Stop::Unknown);
        }
        if node.used_inputs().all(|input| self.constants.contains_key(input)) {
            if !evaluate::OPERATORS.contains(&node.operator.as_str()) {
                return Err(Stop::Unknown);
            }
            let inputs: Vec<Option<&Constant>> = node.inputs.iter().map(|input| self.constants.get(input)).collect();
            let values = evaluate(node, &inputs, self.opset, &mut self.chain.budget)?;
            self.constants.extend(node.outputs.iter().cloned().zip(values));
            return Ok(());
        }
        let output = node.outputs.first().cloned().unwrap_or_default();
        if let ("Shape" | "Size", Some(dims)) = (node.operator.as_str(), self.dims.get(node.input(0))) {
            let sizes: Vec<i64> = dims.iter().map(|&d| i64::try_from(d).unwrap_or(i64::MAX)).collect();
            let value = match node.operator.as_str() {
                "Shape" => shape_slice(node, &sizes),
                _ => Constant::ints(&[sizes.iter().fold(1, |a: i64, &d| a.saturating_mul(d))]).reshaped(vec![])?,
            };
            self.constants.insert(output, value);
            return Ok(());
        }
        if !LAYERS.contains(&node.operator.as_str()) {
            return Err(Stop::Unknown);
        }
        if self.normalise(node, &output)? {
            return Ok(());
        }
        let Some(view) = node.used_inputs().find_map(|input| self.live.get(input)).cloned() else {
            return Err(self.astray(node, node.input(0)));
        };
        let view = self.layer(node, &view)?;
        self.dims.insert(output.clone(), view.dims().to_vec());
        self.live.insert(output, view);
        Ok(())
    }

    /// The error for a node with an input other than the last activation and constants.
    pub fn astray(&self, node: &Node, found: &str) -> Stop {
        let mut live: Vec<&String> = self.live.keys().collect();
        live.sort();
        let last = live.first().map_or("", |name| name.as_str());
        if self.dims.contains_key(found) && found != last {
            return Stop::Operator(format!(
                "to take `{last:.80}`, which the layer before it makes, found `{found:.80}` of an earlier one (a branch)"
            ));
        }
        let input = node.used_inputs().find(|input| !self.constants.contains_key(*input)).unwrap_or(found);
        Stop::Operator(format!("to take `{last:.80}` and constants, found `{input:.80}`"))
    }

    /// Tries a node as a step of an exported local response normalisation, and returns whether it is one.
    fn normalise(&mut self, node: &Node, output: &str) -> Result<bool, Stop> {
        let [first, second] = [node.input(0), node.input(1)];
        let number = |i: usize| self.constants.get(node.input(i)).and_then(Constant::scalar);
        let squared = match node.operator.as_str() {
            "Mul" => first == second,
            "Pow" => number(1) == Some(2.0),
            _ => false,
        };
        if squared && let Some(view) = self.live.get(first) {
            let squares = Squares::new(view.clone(), self.activation);
            self.dims.insert(output.into(), squares.dims().to_vec());
            self.squares.insert(output.into(), squares);
            return Ok(true);
        }
        let divided = node.operator == "Div";
        let pair = match (self.live.get(first), self.squares.get(second)) {
            (None, None) if !divided => self.live.get(second).zip(self.squares.get(first)),
            (view, squares) => view.zip(squares),
        };
        if let ("Mul" | "Div", Some((view, squares))) = (node.operator.as_str(), pair) {
            if squares.of != self.activation || squares.dims() != view.dims() {
                return Err(Stop::Operator("squares of what they normalise".into()));
            }
            let (norm, view) = (squares.norm(divided)?, view.clone());
            let name = self.name(node);
            self.chain.push(&name, Op::LocalResponseNorm(norm))?;
            self.replace(output, view);
            return Ok(true);
        }
        let Some(squares) = self.squares.get(first).or(self.squares.get(second)) else { return Ok(false) };
        let (constants, budget) = (&self.constants, &mut self.chain.budget);
        let next = squares.follow(node, self.opset, number, |i, attribute| match node.input(i) {
            "" => Ok(node.ints(attribute).map(<[i64]>::to_vec)),
            input => constants.get(input).ok_or("sizes that are known without a picture")?.to_ints(budget).map(Some),
        })?;
        self.dims.insert(output.into(), next.dims().to_vec());
        self.squares.insert(output.into(), next);
        Ok(true)
    }

    /// Replaces the last activation.
    pub fn replace(&mut self, output: &str, view: View) {
        self.activation += 1;
        self.live.clear();
        self.dims.insert(output.into(), view.dims().to_vec());
        self.live.insert(output.into(), view);
    }

    /// The name of a node's layer: its own or, where that is taken, that of its output.
    pub fn name(&self, node: &Node) -> String {
        let output = node.outputs.first().map_or("", String::as_str);
        self.chain.unused(if self.chain.has(&node.name) { output } else { &node.name }, "again")
    }

    /// The weights in an input.
    pub fn weights(&mut self, input: &str) -> Result<Constant, String> {
        let constant = self
            .constants
            .get(input)
            .ok_or_else(|| format!("weights that are known without a picture, found `{input:.80}`"))?;
        // Names the type in an error, where it is not a type of weights.
        constant.tensor()?;
        if !self.used.insert(input.into()) {
            self.chain.budget.take(4 * constant.len())?;
        }
        Ok(constant.clone())
    }

    pub fn optional(&mut self, input: &str) -> Result<Option<Tensor>, String> {
        if input.is_empty() { Ok(None) } else { self.weights(input)?.tensor().map(Some) }
    }

    /// Integers that newer operators take as an input, and older ones as an attribute.
    pub fn ints(&mut self, node: &Node, i: usize, attribute: &str) -> Result<Option<Vec<i64>>, String> {
        match node.input(i) {
            "" => Ok(node.ints(attribute).map(<[i64]>::to_vec)),
            input => {
                let constant = self.constants.get(input).ok_or("sizes that are known without a picture")?;
                constant.to_ints(&mut self.chain.budget).map(Some)
            }
        }
    }

    /// The unsupported operators other than the one at `at`, as text that follows the first one's.
    fn unknown(&self, at: usize) -> String {
        let moving = self.live.keys().chain(self.dims.keys()).chain(self.squares.keys());
        let mut moving: HashSet<&str> = moving.map(String::as_str).collect();
        let mut found: BTreeMap<String, usize> = BTreeMap::new();
        for (i, node) in self.nodes.iter().enumerate().skip(at) {
            let moves = node.used_inputs().any(|input| moving.contains(input));
            let operators = if moves { LAYERS } else { evaluate::OPERATORS };
            let sizes = matches!(node.operator.as_str(), "Shape" | "Size");
            if i > at && !sizes && (!node.domain.is_empty() || !operators.contains(&node.operator.as_str())) {
                *found.entry(clip(&node.operator)).or_default() += 1;
            }
            if moves && !sizes {
                moving.extend(node.outputs.iter().map(String::as_str));
            }
        }
        let total: usize = found.values().sum();
        if total == 0 {
            return String::new();
        }
        let name =
            |(operator, &n): (&String, &usize)| if n == 1 { operator.clone() } else { format!("{operator} ({n})") };
        let names: Vec<String> = found.iter().take(MAX_LISTED).map(name).collect();
        let more = if found.len() > MAX_LISTED { ", …" } else { "" };
        let noun = if total == 1 { "operation" } else { "operations" };
        format!(", nor {total} other {noun} of this graph: {}{more}", names.join(", "))
    }
}

/// The reason why a node is not converted.
pub(super) enum Stop {
    /// The expected and the actual operator.
    Operator(String),
    /// The operator is not supported.
    Unknown,
}

impl<T: Into<String>> From<T> for Stop {
    fn from(what: T) -> Self {
        Self::Operator(what.into())
    }
}
