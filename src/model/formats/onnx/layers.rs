//! Conversion of a node that reads the last activation: to a layer, to factors folded into a layer, or to a new view.

use super::{
    constant::{Constant, Kind, Numbers},
    node::Node,
    shapes::{axis_of, legacy_broadcast, reduced_axes},
    view::{Axis, CHANNELS_FIRST, CHANNELS_LAST, View},
    walk::{Stop, Walk},
};
use crate::{
    activation::Activation,
    layers::{AdaptiveAvgPool, AvgPool, Conv, LocalResponseNorm, LrnConvention, Op},
    model::formats::{affine::Affine, graph::Rounding},
    shape::Shape,
    text::clip,
    weights::Tensor,
    window::{Padding, Window},
};

/// The operators that [`Walk::layer`] supports.
pub(super) const LAYERS: &[&str] = &[
    "Add",
    "AveragePool",
    "BatchNormalization",
    "Cast",
    "Clip",
    "Concat",
    "Conv",
    "Div",
    "Dropout",
    "Elu",
    "Flatten",
    "Gemm",
    "GlobalAveragePool",
    "GlobalMaxPool",
    "Identity",
    "LRN",
    "LeakyRelu",
    "LogSoftmax",
    "MatMul",
    "Max",
    "MaxPool",
    "Min",
    "Mul",
    "Neg",
    "Pad",
    "Pow",
    "Reciprocal",
    "ReduceMax",
    "ReduceMean",
    "ReduceSum",
    "Relu",
    "Reshape",
    "Selu",
    "Sigmoid",
    "Softmax",
    "Sqrt",
    "Squeeze",
    "Sub",
    "Sum",
    "Tanh",
    "Transpose",
    "Unsqueeze",
];

/// Bounds beyond these do not clip anything.
const UNBOUNDED: f64 = 3e38;

/// A number of a node's attribute, with its default.
fn finite(node: &Node, attribute: &str, default: f32) -> Result<f32, String> {
    let found = node.float(attribute).unwrap_or(default);
    if found.is_finite() { Ok(found) } else { Err(format!("a finite {attribute}, found {found}")) }
}

impl Walk<'_> {
    /// Converts a node that reads the last activation through `view`, and returns the view of its output.
    pub(super) fn layer(&mut self, node: &Node, view: &View) -> Result<View, Stop> {
        let view = &self.whole(node, view)?;
        let (opset, constants, budget) = (self.opset, &self.constants, &mut self.chain.budget);
        let follow = view.follow(node, opset, |i, attribute| match node.input(i) {
            "" => Ok(node.ints(attribute).map(<[i64]>::to_vec)),
            input => constants.get(input).ok_or("sizes that are known without a picture")?.to_ints(budget).map(Some),
        });
        if self.live.contains_key(node.input(0))
            && let Some(view) = follow?
        {
            return Ok(view);
        }
        if let Some(end) = &self.end {
            return Err(format!("to come before LogSoftmax `{end:.80}`, which is read as a softmax").into());
        }
        let arithmetic = matches!(node.operator.as_str(), "Add" | "Sub" | "Mul" | "Div" | "Max" | "Min" | "Sum");
        if !arithmetic && !self.live.contains_key(node.input(0)) {
            return Err(self.astray(node, node.input(0)));
        }
        let name = self.name(node);
        let name = name.as_str();
        let view = match node.operator.as_str() {
            "Conv" => self.conv(name, node, view)?,
            "Relu" => {
                self.chain.activation(name, Activation::Relu)?;
                view.clone()
            }
            "LeakyRelu" => {
                let slope = finite(node, "alpha", 0.01)?;
                self.chain.activation(name, Activation::LeakyRelu { slope })?;
                view.clone()
            }
            "Elu" => {
                let alpha = finite(node, "alpha", 1.0)?;
                self.chain.activation(name, Activation::Elu { alpha })?;
                view.clone()
            }
            "Selu" => {
                self.selu(name, node)?;
                view.clone()
            }
            "Sigmoid" => {
                self.chain.activation(name, Activation::Sigmoid)?;
                view.clone()
            }
            "Tanh" => {
                self.chain.activation(name, Activation::Tanh)?;
                view.clone()
            }
            "Clip" => {
                let bounds = self.bounds(node)?;
                self.clip(name, bounds)?;
                view.clone()
            }
            "MaxPool" => {
                self.maps(view)?;
                let window = self.window(node, None)?;
                let rounding = if node.flag("ceil_mode") { Rounding::Ceil } else { Rounding::Floor };
                self.chain.max_pool(name, window, rounding)?;
                View::maps(self.batch, self.chain.shape())
            }
            "AveragePool" => {
                self.maps(view)?;
                let pool = AvgPool::new(1, 1)
                    .window(self.window(node, None)?)
                    .count_padding(node.flag("count_include_pad"))
                    .ceil(node.flag("ceil_mode"));
                self.chain.average_pool(name, pool)?;
                View::maps(self.batch, self.chain.shape())
            }
            "GlobalAveragePool" => {
                self.maps(view)?;
                self.chain.global_average_pool(name)?;
                View::maps(self.batch, self.chain.shape())
            }
            "GlobalMaxPool" => {
                self.maps(view)?;
                self.maximum(name, [true, true])?;
                View::maps(self.batch, self.chain.shape())
            }
            "LRN" => {
                self.maps(view)?;
                let norm = LocalResponseNorm {
                    size: node.size("size")?.ok_or("a size")?,
                    alpha: node.float("alpha").unwrap_or(1e-4),
                    beta: node.float("beta").unwrap_or(0.75),
                    k: node.float("bias").unwrap_or(1.0),
                    convention: LrnConvention::Mean,
                };
                self.chain.push(name, Op::LocalResponseNorm(norm))?;
                view.clone()
            }
            "BatchNormalization" => {
                self.batch_normalization(name, node, view)?;
                view.clone()
            }
            "Gemm" => self.gemm(name, node, view)?,
            "MatMul" => {
                let weight = self.weights(node.input(1))?;
                let [inputs, outputs] = *weight.shape() else {
                    return Err(format!("a matrix, found shape {:?}", weight.shape()).into());
                };
                self.dense(name, view, &weight, [inputs, outputs], [outputs, 1], None)?
            }
            "Add" | "Sum" | "Sub" | "Mul" | "Div" => self.arithmetic(name, node, view)?,
            "Neg" => {
                self.chain.affine(name, &Affine { scale: vec![-1.0], ..Affine::identity() })?;
                view.clone()
            }
            "Max" | "Min" => {
                let others = node.used_inputs().filter_map(|input| self.constants.get(input));
                let others: Vec<f64> = others.filter_map(Constant::scalar).collect();
                match (node.inputs.len(), others.as_slice(), node.operator.as_str()) {
                    (2, &[least], "Max") => self.clip(name, [least, f64::INFINITY])?,
                    (2, &[most], _) => self.clip(name, [f64::NEG_INFINITY, most])?,
                    _ => return Err("a number beside its input".into()),
                }
                view.clone()
            }
            "Pad" => self.pad(name, node, view)?,
            "ReduceMean" | "ReduceMax" | "ReduceSum" => self.reduce(name, node, view)?,
            "Dropout" => {
                let training = self.constants.get(node.input(2)).and_then(Constant::scalar);
                if training.is_some_and(|v| v != 0.0) {
                    return Err("to be exported for inference, found training mode".into());
                }
                self.chain.push(name, Op::Dropout)?;
                // The same numbers under another name.
                return Ok(view.clone());
            }
            // Everything that depends on the picture is computed in f32 throughout.
            "Cast" => {
                let to = node.int("to").unwrap_or(0);
                if Kind::of(to).and_then(Kind::dtype).is_none() {
                    return Err(format!("a cast to floating-point numbers, found data type {to}").into());
                }
                return Ok(view.clone());
            }
            "Softmax" | "LogSoftmax" => self.softmax(name, node, view)?,
            _ => return Err(Stop::Unknown),
        };
        self.activation += 1;
        self.live.clear();
        Ok(view)
    }

    /// The view of an input that is a vector in the file, and a picture for the node that follows.
    fn whole(&mut self, node: &Node, view: &View) -> Result<View, String> {
        let &[batch, a, b, c] = view.dims() else { return Ok(view.clone()) };
        if view.groups().is_some() || !view.is_in_order() || batch != self.batch || !self.chain.is_input() {
            return Ok(view.clone());
        }
        // With one channel, the last dimension may as well be the first.
        let (shape, order) = match node.operator.as_str() {
            "Transpose" if c == 1 => (Shape::new(c, a, b), CHANNELS_LAST),
            "Identity" | "Flatten" | "Reshape" | "Squeeze" | "Unsqueeze" | "Transpose" => return Ok(view.clone()),
            _ => (Shape::new(a, b, c), CHANNELS_FIRST),
        };
        self.chain.reinterpret(shape)?;
        Ok(View::new(view.dims().to_vec(), order, batch, shape))
    }

    /// Ensures that the last activation is N×C×H×W.
    fn maps(&mut self, view: &View) -> Result<(), String> {
        self.chain.unflatten();
        if view.is_maps() {
            return Ok(());
        }
        match view.dims().len() {
            4 => Err(format!("maps N×C×H×W, found {:?} in another order", view.dims())),
            rank => Err(format!("maps N×C×H×W, found {rank} dimensions")),
        }
    }

    fn conv(&mut self, name: &str, node: &Node, view: &View) -> Result<View, String> {
        self.maps(view)?;
        let weight = self.weights(node.input(1))?.tensor()?;
        let bias = self.optional(node.input(2))?;
        let [out_channels, _, kh, kw] = *weight.shape() else {
            return Err(format!("a weight of four dimensions, found {:?}", weight.shape()));
        };
        let window = self.window(node, Some([kh, kw]))?;
        let conv =
            Conv { out_channels, window, groups: node.size("group")?.unwrap_or(1), activation: Activation::None };
        self.chain.conv(name, conv, weight, bias)?;
        Ok(View::maps(self.batch, self.chain.shape()))
    }

    /// Appends a SELU. One of other constants is an ELU times a factor.
    fn selu(&mut self, name: &str, node: &Node) -> Result<(), String> {
        let (alpha, gamma) =
            (finite(node, "alpha", Activation::SELU_ALPHA)?, finite(node, "gamma", Activation::SELU_SCALE)?);
        let close = |found: f32, usual: f32| (found - usual).abs() <= 2.0 * f32::EPSILON * usual;
        if close(alpha, Activation::SELU_ALPHA) && close(gamma, Activation::SELU_SCALE) {
            return self.chain.activation(name, Activation::Selu);
        }
        self.chain.activation(name, Activation::Elu { alpha })?;
        self.chain.affine(name, &Affine { scale: vec![gamma.into()], ..Affine::identity() })
    }

    fn bounds(&mut self, node: &Node) -> Result<[f64; 2], String> {
        let mut bounds = [f64::NEG_INFINITY, f64::INFINITY];
        for (i, (bound, attribute)) in bounds.iter_mut().zip(["min", "max"]).enumerate() {
            match node.input(i + 1) {
                "" => *bound = node.float(attribute).map_or(*bound, f64::from),
                input => {
                    let value = self.constants.get(input).and_then(Constant::scalar);
                    *bound = value.ok_or_else(|| format!("a number as {attribute}"))?;
                }
            }
        }
        Ok(bounds)
    }

    /// Appends a ReLU or ReLU6, between factors that move its bounds to these.
    fn clip(&mut self, name: &str, [least, most]: [f64; 2]) -> Result<(), String> {
        let affine = |scale: f64, shift: f64| Affine { scale: vec![scale], shift: vec![shift] };
        let (function, before, after) = match (least > -UNBOUNDED, most < UNBOUNDED) {
            (false, false) => return Ok(()),
            (true, false) => (Activation::Relu, affine(1.0, -least), affine(1.0, least)),
            (false, true) => (Activation::Relu, affine(-1.0, most), affine(-1.0, most)),
            (true, true) if least < most => {
                let unit = (most - least) / 6.0;
                (Activation::Relu6, affine(unit.recip(), -least / unit), affine(unit, least))
            }
            (true, true) => return Err(format!("bounds in order, found {least} and {most}")),
        };
        // Factors of one and zero change nothing.
        self.chain.affine(name, &before)?;
        self.chain.activation(name, function)?;
        self.chain.affine(name, &after)
    }

    /// Appends the maximum of each row, column or map.
    fn maximum(&mut self, name: &str, [rows, columns]: [bool; 2]) -> Result<(), String> {
        let shape = self.chain.shape();
        let kernel = [if rows { shape.height } else { 1 }, if columns { shape.width } else { 1 }];
        let window = Window { kernel, ..Window::square(1, 1) };
        self.chain.max_pool(name, window, Rounding::Floor)
    }

    fn batch_normalization(&mut self, name: &str, node: &Node, view: &View) -> Result<(), String> {
        if node.flag("training_mode") || node.int("spatial") == Some(0) {
            return Err("to be exported for inference, with one mean for each channel".into());
        }
        let mut parameters = Vec::new();
        for i in 1..5 {
            let constant = self.weights(node.input(i))?;
            parameters.push(constant.floats(&mut self.chain.budget)?);
        }
        let [scale, bias, mean, variance] = parameters.as_slice() else { return Err("four parameters".into()) };
        let channels = view.dims().get(1).copied().unwrap_or(1);
        if parameters.iter().any(|p| p.len() != channels) {
            return Err(format!("{channels} numbers in each parameter, found {:?}", scale.len()));
        }
        let epsilon = f64::from(node.float("epsilon").unwrap_or(1e-5));
        let factors: Vec<f64> = scale.iter().zip(variance).map(|(s, v)| s / (v + epsilon).sqrt()).collect();
        let shifts = bias.iter().zip(mean).zip(&factors).map(|((b, m), f)| b - m * f).collect();
        let shape: Vec<usize> = (1..view.dims().len().max(2)).map(|i| if i == 1 { channels } else { 1 }).collect();
        let mut along = |values| -> Result<Vec<f64>, String> {
            let budget = &mut self.chain.budget;
            let constant = Constant::from_numbers(Kind::F64, shape.clone(), &Numbers::Floats(values), budget)?;
            view.factors(&constant, budget)
        };
        let affine = Affine { scale: along(factors)?, shift: along(shifts)? };
        self.chain.affine(name, &affine)
    }

    fn gemm(&mut self, name: &str, node: &Node, view: &View) -> Result<View, String> {
        if node.flag("transA") {
            return Err("transA of 0, found another".into());
        }
        if view.dims().len() != 2 {
            return Err(format!("a vector, found {:?}", view.dims()));
        }
        let weight = self.weights(node.input(1))?;
        let (sizes, strides) = match (weight.shape(), node.flag("transB")) {
            (&[inputs, outputs], false) => ([inputs, outputs], [outputs, 1]),
            (&[outputs, inputs], true) => ([inputs, outputs], [1, inputs]),
            (other, _) => return Err(format!("a matrix, found shape {other:?}")),
        };
        let [alpha, beta] = ["alpha", "beta"].map(|factor| f64::from(node.float(factor).unwrap_or(1.0)));
        let bias = match node.input(2) {
            "" => None,
            input => Some(self.weights(input)?),
        };
        let plain = |bias: &Constant| bias.len() == sizes[1] && bias.shape().last() == Some(&sizes[1]);
        if alpha == 1.0 && beta == 1.0 && bias.as_ref().is_none_or(plain) {
            let bias = bias.map(|bias| bias.tensor()).transpose()?;
            return self.dense(name, view, &weight, sizes, strides, bias);
        }
        let view = self.dense(name, view, &weight, sizes, strides, None)?;
        let shift = match bias {
            Some(bias) => view.factors(&bias, &mut self.chain.budget)?.into_iter().map(|v| v * beta).collect(),
            None => vec![0.0],
        };
        self.chain.affine(name, &Affine { scale: vec![alpha], shift })?;
        Ok(view)
    }

    /// Appends a product with a matrix over the last dimension: a fully connected layer, or a 1×1 convolution where the last
    /// dimension is the channels of maps.
    fn dense(
        &mut self,
        name: &str,
        view: &View,
        weight: &Constant,
        [inputs, outputs]: [usize; 2],
        [input_stride, output_stride]: [usize; 2],
        bias: Option<Tensor>,
    ) -> Result<View, String> {
        let dims = view.dims();
        let last = dims.len().checked_sub(1).ok_or("a vector, found a number")?;
        if dims[last] != inputs {
            return Err(format!("a weight of {} rows, found shape {:?}", dims[last], weight.shape()));
        }
        let found = || format!("a vector or channels in the last dimension, found {dims:?}");
        let outer = view.axes(&(0..last).collect::<Vec<_>>()).ok_or_else(found)?;
        let [_, c, y, x] = view.columns(last, input_stride)?;
        let shape = self.chain.shape();
        let budget = &mut self.chain.budget;
        if outer.iter().all(|&axis| axis == Axis::Batch) {
            let sizes = vec![outputs, shape.channels, shape.height, shape.width];
            let weight = weight.strided(sizes, &[output_stride, c, y, x], 0, budget)?;
            let weight = weight.reshaped(vec![outputs, inputs])?.tensor()?;
            self.chain.linear(name, weight, bias)?;
            let dims = [&dims[..last], &[outputs]].concat();
            return Ok(View::new(dims, CHANNELS_FIRST, self.batch, self.chain.shape()));
        }
        let channels_alone = view.axes(&[last]).is_some_and(|axes| axes.iter().all(|&axis| axis == Axis::Channel));
        if !channels_alone || outer.contains(&Axis::Channel) {
            return Err(found());
        }
        let sizes = vec![outputs, shape.channels, 1, 1];
        let weight = weight.strided(sizes, &[output_stride, c, 0, 0], 0, budget)?.tensor()?;
        self.chain.unflatten();
        self.chain.conv(name, Conv::new(outputs, 1), weight, bias)?;
        Ok(view.with_last(outputs, self.batch, self.chain.shape()))
    }

    /// Appends arithmetic with a constant.
    fn arithmetic(&mut self, name: &str, node: &Node, view: &View) -> Result<View, Stop> {
        let [first, second] = [0, 1].map(|i| self.constants.get(node.input(i)));
        let reversed = first.is_some();
        let Some(constant) = first.or(second).filter(|_| node.inputs.len() == 2) else {
            let other = node.used_inputs().find(|input| !self.live.contains_key(*input));
            return Err(self.astray(node, other.unwrap_or(node.input(1))));
        };
        constant.tensor()?;
        let constant =
            if reversed { constant.clone() } else { legacy_broadcast(node, self.opset, view.dims().len(), constant)? };
        let factors = view.factors(&constant, &mut self.chain.budget)?;
        let negative = |factors: Vec<f64>| factors.into_iter().map(|v| -v).collect();
        let affine = match (node.operator.as_str(), reversed) {
            ("Add" | "Sum", _) => Affine { shift: factors, ..Affine::identity() },
            ("Sub", false) => Affine { shift: negative(factors), ..Affine::identity() },
            ("Sub", true) => Affine { scale: vec![-1.0], shift: factors },
            ("Mul", _) => Affine { scale: factors, ..Affine::identity() },
            ("Div", false) => Affine { scale: factors.into_iter().map(f64::recip).collect(), ..Affine::identity() },
            _ => return Err("to divide by a constant, found a constant that is divided".into()),
        };
        self.chain.affine(name, &affine)?;
        Ok(view.of_rank(constant.shape().len()))
    }

    fn pad(&mut self, name: &str, node: &Node, view: &View) -> Result<View, String> {
        let attribute = if node.has("paddings") { "paddings" } else { "pads" };
        let pads = self.ints(node, 1, attribute)?.ok_or("pads")?;
        let rank = view.dims().len();
        let axes = match self.ints(node, 3, "axes")? {
            Some(axes) => axes.iter().map(|&axis| axis_of(axis, rank)).collect::<Result<Vec<_>, _>>()?,
            None => (0..rank).collect(),
        };
        if pads.len() != 2 * axes.len() {
            return Err(format!("{} pads, found {}", 2 * axes.len(), pads.len()));
        }
        if pads.iter().all(|&pad| pad == 0) {
            return Ok(view.clone());
        }
        let mode = node.text("mode").unwrap_or(b"constant");
        if mode != b"constant" {
            return Err(format!("mode constant, found `{}`", clip(&String::from_utf8_lossy(mode))));
        }
        let value = match node.input(2) {
            "" => f64::from(node.float("value").unwrap_or(0.0)),
            input => self.constants.get(input).and_then(Constant::scalar).ok_or("a number to pad with")?,
        };
        let groups = view.groups().ok_or_else(|| format!("rows and columns apart, found {:?}", view.dims()))?;
        let mut padding = Padding::default();
        for (i, &axis) in axes.iter().enumerate() {
            let [before, after] = [pads[i], pads[i + axes.len()]]
                .map(|pad| usize::try_from(pad).map_err(|_| format!("pads of at least 0, found {pad}")));
            let [before, after] = [before?, after?];
            match groups[axis].as_slice() {
                _ if before == 0 && after == 0 => {}
                [Axis::Row] => (padding.top, padding.bottom) = (before, after),
                [Axis::Column] => (padding.left, padding.right) = (before, after),
                _ => return Err(format!("pads around rows and columns, found some around axis {axis}")),
            }
        }
        let lowest = value <= -UNBOUNDED;
        // Padding with another number is zero padding of the activation less that number.
        let constant = if lowest { 0.0 } else { value };
        self.chain.affine(name, &Affine { shift: vec![-constant], ..Affine::identity() })?;
        self.chain.pad(name, padding, lowest)?;
        if constant != 0.0 {
            self.chain.affine(name, &Affine { shift: vec![constant], ..Affine::identity() })?;
        }
        self.resized(view)
    }

    /// The view of the last activation after its rows and columns have changed.
    fn resized(&self, view: &View) -> Result<View, String> {
        let shape = self.chain.shape();
        view.resized([self.batch, shape.channels, shape.height, shape.width])
    }

    fn reduce(&mut self, name: &str, node: &Node, view: &View) -> Result<View, String> {
        let axes = self.ints(node, 1, "axes")?;
        let reduced = reduced_axes(node, axes.as_deref(), view.dims().len())?;
        let long = view.axes(&reduced).ok_or("rows and columns apart")?;
        let [rows, columns] = [Axis::Row, Axis::Column].map(|axis| long.contains(&axis));
        if usize::from(rows) + usize::from(columns) != long.len() {
            return Err(format!("to go over rows and columns, found axes {reduced:?} of {:?}", view.dims()));
        }
        let shape = self.chain.shape();
        if rows || columns {
            self.chain.unflatten();
            let output = [if rows { 1 } else { shape.height }, if columns { 1 } else { shape.width }];
            match node.operator.as_str() {
                "ReduceMax" => self.maximum(name, [rows, columns])?,
                _ => self.chain.push(name, Op::AdaptiveAvgPool(AdaptiveAvgPool { output }))?,
            }
            if node.operator == "ReduceSum" {
                let count = shape.height * shape.width / (output[0] * output[1]);
                self.chain.affine(name, &Affine { scale: vec![count as f64], ..Affine::identity() })?;
            }
        }
        let view = view.reduced(&reduced, self.batch, self.chain.shape());
        Ok(if node.int("keepdims").unwrap_or(1) != 0 { view } else { view.without(&reduced) })
    }

    /// Marks a LogSoftmax as the end: it is computed as a softmax.
    fn end_in(&mut self, node: &Node) {
        if node.operator == "LogSoftmax" {
            self.end = Some(node.name.clone());
        }
    }

    fn softmax(&mut self, name: &str, node: &Node, view: &View) -> Result<View, String> {
        let rank = view.dims().len();
        let axis = node.int("axis").unwrap_or(if self.opset >= 13 { -1 } else { 1 });
        let first = axis_of(axis, rank)?;
        // Before version 13 it applied to all dimensions from the axis on.
        let over: Vec<usize> = if self.opset >= 13 { vec![first] } else { (first..rank).collect() };
        let rest: Vec<usize> = (0..rank).filter(|i| !over.contains(i)).collect();
        let expected = "classes in a dimension of their own";
        let (inside, outside) = (view.axes(&over).ok_or(expected)?, view.axes(&rest).ok_or(expected)?);
        let of_channels = inside == [Axis::Channel] || inside.is_empty() && self.chain.shape().channels == 1;
        if of_channels {
            self.chain.channel_softmax(name)?;
            self.end_in(node);
            return Ok(view.clone());
        }
        if !outside.iter().all(|&axis| axis == Axis::Batch) || !view.is_in_order() {
            return Err(format!("to go over the channels or all numbers, found axis {axis} of {:?}", view.dims()));
        }
        self.chain.softmax(name)?;
        self.end_in(node);
        Ok(View::new(view.dims().to_vec(), CHANNELS_FIRST, self.batch, self.chain.shape()))
    }
}
