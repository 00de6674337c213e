//! The network of a file's graph, built layer by layer: shared by the formats that contain graphs.

use std::collections::{BTreeMap, HashSet};

use super::{Budget, affine::Affine, gather};
use crate::{
    activation::Activation,
    layers::{AdaptiveAvgPool, AvgPool, Conv, Linear, MaxPool, Op},
    model::alexnet::Variant,
    network::Network,
    picture::Preprocessing,
    shape::{MAX_ACTIVATION, Shape},
    weights::Tensor,
    window::{Padding, Window},
};

/// A file's graph as a network, its tensors under the network's names, and the preprocessing in the file.
pub(crate) struct Graph {
    pub network: Network,
    pub tensors: BTreeMap<String, Tensor>,
    pub preprocessing: Option<Preprocessing>,
    /// The properties of the network and its preprocessing that the file leaves open.
    pub open: Open,
}

/// The properties that a file with a graph leaves open.
#[derive(Debug, Default)]
pub(crate) struct Open {
    /// The source of the input's size, if not the file.
    pub input: Option<String>,
    /// The other inputs that fit.
    pub doubt: Option<String>,
    /// Whether the preprocessing is only the usual one.
    pub preprocessing: bool,
    /// The source of the mean, where the file names another file of it.
    pub mean: Option<String>,
}

/// The sides of square inputs to try where a file does not give one: that of Caffe's AlexNets, which fits no other input, and
/// the usual one of all others.
pub(super) const USUAL_SIDES: [usize; 2] = [227, 224];

/// The most averages per row or column that are compared with those of an adaptive pooling.
const MAX_AVERAGES: usize = 4096;

/// The number of classes in feature maps that are made a vector regardless of the file's size: once per network, and in 4 MB
/// at most.
const FREE_CLASSES: usize = 1024;

/// The rounding of a pooling's output size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rounding {
    Floor,
    Ceil,
}

/// A chain of layers that grows at its end. Errors give the expected and the actual layer.
///
/// Constants that a graph multiplies or adds in nodes of their own, and zeros that it pads an activation with, wait for a
/// layer to be folded into. Without one, they become a 1×1 convolution.
pub(super) struct Chain {
    input: Shape,
    shape: Shape,
    flat: bool,
    layers: Vec<(String, Op)>,
    names: HashSet<String>,
    tensors: BTreeMap<String, Tensor>,
    pub budget: Budget,
    waiting: Waiting,
    /// The network's operations on its input before its first layer.
    of_input: Affine,
}

/// Pending operations on the last activation: multiplied and added, then padded.
struct Waiting {
    /// The name in the file.
    name: String,
    affine: Affine,
    padding: Padding,
    /// Whether the padding is lower than any number, rather than zeros.
    lowest: bool,
}

impl Waiting {
    fn nothing() -> Self {
        Self { name: String::new(), affine: Affine::identity(), padding: Padding::default(), lowest: false }
    }
}

fn padded(shape: Shape, p: Padding) -> Shape {
    let sum = |size: usize, before: usize, after: usize| size.saturating_add(before).saturating_add(after);
    Shape { height: sum(shape.height, p.top, p.bottom), width: sum(shape.width, p.left, p.right), ..shape }
}

fn joined(a: Padding, b: Padding) -> Padding {
    let sum = usize::saturating_add;
    Padding {
        top: sum(a.top, b.top),
        left: sum(a.left, b.left),
        bottom: sum(a.bottom, b.bottom),
        right: sum(a.right, b.right),
    }
}

const NONE: Padding = Padding { top: 0, left: 0, bottom: 0, right: 0 };

impl Chain {
    /// A chain without layers. Tensors that it creates are charged to `budget`.
    pub fn new(input: Shape, budget: Budget) -> Result<Self, String> {
        if !input.is_sensible() {
            return Err(format!("an input of 1 to {MAX_ACTIVATION} numbers (channels count in fours), found {input}"));
        }
        let (layers, names, tensors) = (Vec::new(), HashSet::new(), BTreeMap::new());
        let (waiting, of_input) = (Waiting::nothing(), Affine::identity());
        Ok(Self { input, shape: input, flat: false, layers, names, tensors, budget, waiting, of_input })
    }

    /// The shape of the last activation.
    pub fn shape(&self) -> Shape {
        padded(self.shape, self.waiting.padding)
    }

    /// Reshapes the last activation to a vector, in CHW order.
    pub fn flatten(&mut self) {
        self.flat = true;
    }

    /// Reshapes the last activation to maps again: the 1×1 maps of a fully connected layer.
    pub fn unflatten(&mut self) {
        self.flat = false;
    }

    /// Whether the last activation is still the input, and nothing that depends on its shape is pending.
    pub fn is_input(&self) -> bool {
        self.layers.is_empty() && self.waiting.affine.is_by_channel(1) && self.waiting.padding == NONE
    }

    /// Replaces the input's shape by another of as many numbers, where nothing depends on it yet.
    pub fn reinterpret(&mut self, input: Shape) -> Result<(), String> {
        let fits = input.is_sensible() && input.len() == self.input.len();
        if !self.is_input() || !fits {
            return Err(format!(
                "maps of {}, found {input}: only the input can be taken for another shape",
                self.shape
            ));
        }
        (self.input, self.shape) = (input, input);
        Ok(())
    }

    pub fn push(&mut self, name: &str, op: Op) -> Result<(), String> {
        // Dropout is the identity, and averaging commutes with multiplying and adding.
        let by_channel = self.waiting.affine.is_by_channel(self.shape.channels);
        match op {
            Op::Dropout => {}
            Op::AdaptiveAvgPool(_) if by_channel && self.waiting.padding == NONE => {}
            _ => self.settle()?,
        }
        self.append(name, op)
    }

    fn append(&mut self, name: &str, op: Op) -> Result<(), String> {
        let output = op.output(self.shape).map_err(|expected| format!("{expected} (input {})", self.shape))?;
        if !output.is_sensible() {
            return Err(format!(
                "an output of at most {MAX_ACTIVATION} numbers (channels count in fours), found {output}"
            ));
        }
        self.shape = output;
        self.names.insert(name.into());
        self.layers.push((name.into(), op));
        Ok(())
    }

    pub fn conv(&mut self, name: &str, mut conv: Conv, weight: Tensor, bias: Option<Tensor>) -> Result<(), String> {
        if self.flat {
            return Err("feature maps, found a vector".into());
        }
        // Checks the groups before they divide.
        Op::Conv(conv).output(self.shape())?;
        let [kh, kw] = conv.window.kernel;
        let inputs = self.shape.channels / conv.groups;
        let expected = [conv.out_channels, inputs, kh, kw];
        if weight.shape() != expected {
            return Err(format!("a weight of shape {expected:?}, found {:?}", weight.shape()));
        }
        self.fold_back()?;
        let mut parameters = with_bias(conv.out_channels, weight, bias)?;
        if self.waiting.lowest {
            return Err("zeros around its input, found the smallest numbers".into());
        }
        let affine = &self.waiting.affine;
        let unpadded = conv.window.padding == NONE && self.waiting.padding == NONE;
        if affine.is_by_channel(self.shape.channels) && (unpadded || affine.keeps_zero()) {
            let affine = self.take_affine();
            if !affine.is_identity() {
                let [weight, bias] = &parameters;
                parameters = affine.before(weight, bias, [conv.groups, inputs], &mut self.budget)?;
            }
        } else {
            self.settle_affine()?;
        }
        conv.window.padding = joined(conv.window.padding, self.take_padding());
        self.append(name, Op::Conv(conv))?;
        self.learn(name, parameters);
        Ok(())
    }

    /// Appends a fully connected layer; `weight` is (out, in).
    pub fn linear(&mut self, name: &str, weight: Tensor, bias: Option<Tensor>) -> Result<(), String> {
        self.settle_padding()?;
        let inputs = self.shape.len();
        let out_features = match *weight.shape() {
            [rows, columns] if columns == inputs => rows,
            _ => return Err(format!("a weight of {inputs} columns, found shape {:?}", weight.shape())),
        };
        self.fold_back()?;
        let mut parameters = with_bias(out_features, weight, bias)?;
        let affine = self.take_affine();
        if !affine.is_identity() {
            let [weight, bias] = &parameters;
            parameters = affine.before(weight, bias, [1, inputs], &mut self.budget)?;
        }
        self.append(name, Op::Linear(Linear::new(out_features)))?;
        self.learn(name, parameters);
        self.flat = true;
        Ok(())
    }

    fn learn(&mut self, name: &str, [weight, bias]: [Tensor; 2]) {
        self.tensors.insert(format!("{name}.weight"), weight);
        self.tensors.insert(format!("{name}.bias"), bias);
    }

    /// Multiplies and adds: factors for all numbers, per channel, or per number.
    pub fn affine(&mut self, name: &str, affine: &Affine) -> Result<(), String> {
        // The padding belongs to the activation before this is multiplied or added.
        if !affine.keeps_zero() || self.waiting.lowest {
            self.settle_padding()?;
        }
        self.waiting.affine = self.waiting.affine.then(affine);
        if self.waiting.name.is_empty() {
            self.waiting.name = name.into();
        }
        Ok(())
    }

    /// Pads the last activation with zeros, or with numbers lower than any other.
    pub fn pad(&mut self, name: &str, padding: Padding, lowest: bool) -> Result<(), String> {
        if padding == NONE {
            return Ok(());
        }
        if self.waiting.padding != NONE && self.waiting.lowest != lowest {
            self.settle_padding()?;
        }
        let both = joined(self.waiting.padding, padding);
        let shape = padded(self.shape, both);
        if !shape.is_sensible() {
            return Err(format!("at most {MAX_ACTIVATION} numbers (channels count in fours), found {shape}"));
        }
        if self.waiting.name.is_empty() {
            self.waiting.name = name.into();
        }
        (self.waiting.padding, self.waiting.lowest) = (both, lowest);
        Ok(())
    }

    fn take_affine(&mut self) -> Affine {
        let affine = std::mem::replace(&mut self.waiting.affine, Affine::identity());
        if self.layers.is_empty() && !affine.is_identity() {
            self.of_input = affine.clone();
        }
        affine
    }

    fn take_padding(&mut self) -> Padding {
        self.waiting.name.clear();
        std::mem::take(&mut self.waiting.padding)
    }

    /// Folds the pending factors into the layer before, where only dropout is in between.
    fn fold_back(&mut self) -> Result<(), String> {
        let last = self.layers.iter().rev().find(|(_, op)| !matches!(op, Op::Dropout));
        let Some((
            name,
            Op::Conv(Conv { activation: Activation::None, .. })
            | Op::Linear(Linear { activation: Activation::None, .. }),
        )) = last
        else {
            return Ok(());
        };
        if self.waiting.affine.is_identity() || !self.waiting.affine.is_by_channel(self.shape.channels) {
            return Ok(());
        }
        let keys = ["weight", "bias"].map(|kind| format!("{name}.{kind}"));
        let [Some(weight), Some(bias)] = keys.each_ref().map(|key| self.tensors.get(key)) else { return Ok(()) };
        let folded = self.waiting.affine.after(weight, bias, &mut self.budget)?;
        self.tensors.extend(keys.into_iter().zip(folded));
        self.waiting.affine = Affine::identity();
        Ok(())
    }

    /// Applies the pending factors, in the layer before or in a layer of their own.
    fn settle_affine(&mut self) -> Result<(), String> {
        self.fold_back()?;
        let affine = self.take_affine();
        if affine.is_identity() {
            return Ok(());
        }
        let name = self.waiting.name.clone();
        self.pointwise(&name, &affine, NONE)
    }

    fn settle_padding(&mut self) -> Result<(), String> {
        if self.waiting.padding == NONE {
            return Ok(());
        }
        if self.waiting.lowest {
            return Err("a max pooling behind padding with the smallest numbers".into());
        }
        self.settle_affine()?;
        let name = self.waiting.name.clone();
        let name = self.unused(&name, "pad");
        let padding = self.take_padding();
        self.pointwise(&name, &Affine::identity(), padding)
    }

    /// Applies all pending operations to the last activation.
    pub fn settle(&mut self) -> Result<(), String> {
        self.settle_affine()?;
        self.settle_padding()?;
        self.waiting = Waiting::nothing();
        Ok(())
    }

    /// Whether a layer has this name.
    pub fn has(&self, name: &str) -> bool {
        self.names.contains(name)
    }

    /// A name that no layer has: `name`, with a suffix where it is taken.
    pub fn unused(&self, name: &str, ending: &str) -> String {
        let more = (1..).map(|n| if n == 1 { format!("{name}_{ending}") } else { format!("{name}_{ending}{n}") });
        std::iter::once(name.to_string()).chain(more).find(|name| !self.has(name)).unwrap_or_default()
    }

    /// Appends a 1×1 convolution that computes each channel separately.
    fn pointwise(&mut self, name: &str, affine: &Affine, padding: Padding) -> Result<(), String> {
        let channels = self.shape.channels;
        if !affine.is_by_channel(channels) {
            return Err(format!(
                "constants of `{name:.80}` for each channel, or a fully connected layer behind, found one for each number"
            ));
        }
        let name = self.unused(name, "scale");
        self.budget.take(channels.saturating_mul(16))?;
        let (scale, shift) = affine.channels(channels);
        let window = Window { padding, ..Window::square(1, 1) };
        self.append(
            &name,
            Op::Conv(Conv { out_channels: channels, window, groups: channels, activation: Activation::None }),
        )?;
        let weight = Tensor::from_f32([channels, 1, 1, 1], scale);
        self.learn(&name, [weight, Tensor::from_f32([channels], shift)]);
        Ok(())
    }

    /// Appends an activation function, computed with the convolution or fully connected layer before it. Max pooling and
    /// dropout in between make no difference where the function is monotonic; a ReLU of non-negative numbers is omitted.
    /// Otherwise it becomes a layer of its own.
    pub fn activation(&mut self, name: &str, function: Activation) -> Result<(), String> {
        // Zeros around the activation stay zeros under most functions.
        if self.waiting.lowest || function.apply(0.0) != 0.0 {
            self.settle_padding()?;
        }
        self.settle_affine()?;
        if function == Activation::Relu && self.is_positive() {
            return Ok(());
        }
        let between = |op: &Op| match op {
            Op::MaxPool(_) => function.is_monotonic(),
            Op::Dropout => true,
            _ => false,
        };
        match self.layers.iter_mut().rev().find(|(_, op)| !between(op)) {
            Some((_, Op::Conv(Conv { activation, .. }) | Op::Linear(Linear { activation, .. })))
                if *activation == Activation::None =>
            {
                *activation = function;
            }
            _ => {
                self.pointwise(name, &Affine::identity(), NONE)?;
                if let Some((_, Op::Conv(conv))) = self.layers.last_mut() {
                    conv.activation = function;
                }
            }
        }
        Ok(())
    }

    /// Whether the last layer's output is never negative.
    fn is_positive(&self) -> bool {
        let same = |op: &Op| {
            matches!(
                op,
                Op::MaxPool(_) | Op::AvgPool(_) | Op::Dropout | Op::AdaptiveAvgPool(_) | Op::LocalResponseNorm(_)
            )
        };
        match self.layers.iter().rev().find(|(_, op)| !same(op)) {
            Some((_, Op::Conv(Conv { activation, .. }) | Op::Linear(Linear { activation, .. }))) => {
                activation.is_positive()
            }
            Some((_, op)) => matches!(op, Op::Softmax),
            None => false,
        }
    }

    /// Appends a max pooling whose output size may be rounded up: expressed as padding below and to the right that never
    /// wins. A window that would begin in that padding is omitted, as in every framework.
    pub fn max_pool(&mut self, name: &str, mut window: Window, rounding: Rounding) -> Result<(), String> {
        self.spatial()?;
        self.settle_affine()?;
        let wins_nothing = |padding: Padding, kernel: [usize; 2]| {
            padding.top.max(padding.bottom) < kernel[0] && padding.left.max(padding.right) < kernel[1]
        };
        window.check()?;
        let span = window.span();
        let together = joined(window.padding, self.waiting.padding);
        // Zeros are no larger than any non-negative number.
        let same = (self.waiting.lowest || self.is_positive()) && wins_nothing(together, span);
        if !same {
            self.settle_padding()?;
        }
        if rounding == Rounding::Ceil {
            let p = window.padding;
            let shape = self.shape();
            let after = |axis: usize, size: usize, before: usize, after: usize| {
                let (kernel, stride) = (span[axis], window.stride[axis]);
                let room = size.checked_add(before)?.checked_add(after)?.checked_sub(kernel)?;
                let mut last = room.checked_add(stride.checked_sub(1)?)? / stride;
                if last.checked_mul(stride)? >= size + before {
                    last = last.checked_sub(1)?;
                }
                Some(last.checked_mul(stride)?.checked_add(kernel)?.saturating_sub(size + before))
            };
            // Sizes that do not fit are left to the check of the window.
            let bottom = after(0, shape.height, p.top, p.bottom).unwrap_or(p.bottom);
            let right = after(1, shape.width, p.left, p.right).unwrap_or(p.right);
            window.padding = Padding { bottom, right, ..p };
        }
        window.padding = joined(window.padding, self.take_padding());
        self.append(name, Op::MaxPool(MaxPool { window }))?;
        self.waiting = Waiting::nothing();
        Ok(())
    }

    /// Appends an average pooling over windows: as an adaptive one where it equals one.
    pub fn average_pool(&mut self, name: &str, mut pool: AvgPool) -> Result<(), String> {
        self.spatial()?;
        if self.waiting.padding == NONE
            && let Some(output) = self.adaptive(&pool)
        {
            return self.push(name, Op::AdaptiveAvgPool(AdaptiveAvgPool { output }));
        }
        // Zeros around an unpadded input, or zeros that count in the average, act as the pooling's own padding.
        let joins = !self.waiting.lowest && !pool.ceil && (pool.count_padding || pool.window.padding == NONE);
        let counts = joins && self.waiting.padding != NONE || pool.count_padding && pool.window.padding != NONE;
        let affine = &self.waiting.affine;
        if !affine.is_by_channel(self.shape.channels) || counts && !affine.keeps_zero() {
            self.settle_affine()?;
        }
        if !joins {
            self.settle_padding()?;
        } else if self.waiting.padding != NONE {
            pool.window.padding = joined(pool.window.padding, self.take_padding());
            pool.count_padding = true;
        }
        self.append(name, Op::AvgPool(pool))
    }

    /// The output size of the adaptive pooling that averages over the same windows.
    fn adaptive(&self, pool: &AvgPool) -> Option<[usize; 2]> {
        let window = pool.window;
        let rounded = pool.ceil && window.output(self.shape).ok()? != window.output_ceil(self.shape).ok()?;
        if rounded || window.dilation != [1, 1] {
            return None;
        }
        let sizes = [self.shape.height, self.shape.width];
        let mut output = [0; 2];
        for axis in 0..2 {
            let (size, kernel, stride) = (sizes[axis], window.kernel[axis], window.stride[axis]);
            let room = size.checked_sub(kernel).filter(|_| window.padding == NONE && stride > 0 && kernel > 0)?;
            let out = room / stride + 1;
            let same = |o: usize| o * size / out == o * stride && ((o + 1) * size).div_ceil(out) == o * stride + kernel;
            // No picture has longer rows, and comparing them would take long.
            if out > MAX_AVERAGES || !(0..out).all(same) {
                return None;
            }
            output[axis] = out;
        }
        Some(output)
    }

    /// Appends the average of each feature map.
    pub fn global_average_pool(&mut self, name: &str) -> Result<(), String> {
        self.spatial()?;
        self.push(name, Op::AdaptiveAvgPool(AdaptiveAvgPool { output: [1, 1] }))
    }

    /// Appends a softmax over all numbers of the last activation.
    pub fn softmax(&mut self, name: &str) -> Result<(), String> {
        self.settle()?;
        let count = self.shape.len();
        if self.shape.height * self.shape.width != 1 {
            // Only a fully connected layer makes maps a vector, here one with the identity as weight.
            if count > FREE_CLASSES {
                self.budget.take(count.saturating_mul(count).saturating_mul(4))?;
            }
            let mut identity = vec![0.0; count * count];
            identity.iter_mut().step_by(count + 1).for_each(|v| *v = 1.0);
            let flatten = self.unused(&format!("{name}_flatten"), "again");
            self.linear(&flatten, Tensor::from_f32([count, count], identity), None)?;
        }
        self.append(name, Op::Softmax)
    }

    /// Appends a softmax over the channels of each pixel; over all numbers of a vector.
    pub fn channel_softmax(&mut self, name: &str) -> Result<(), String> {
        if self.flat { self.softmax(name) } else { self.push(name, Op::Softmax) }
    }

    fn spatial(&self) -> Result<(), String> {
        if self.flat { Err("feature maps, found a vector".into()) } else { Ok(()) }
    }

    /// The network's operations on its input before its first layer.
    pub fn of_input(&self) -> &Affine {
        &self.of_input
    }

    /// The shape of the input.
    pub fn input(&self) -> Shape {
        self.input
    }

    /// Returns the network, with a softmax over its classes even where the file leaves it to the program.
    pub fn finish(mut self, name: &str, preprocessing: Option<Preprocessing>) -> Result<Graph, String> {
        self.settle()?;
        let classes = self.shape.height * self.shape.width == 1 && self.shape.channels > 1;
        let last = self.layers.iter().rev().find(|(_, op)| !matches!(op, Op::Dropout));
        let probabilities = last.is_some_and(|(_, op)| op.gives_probabilities());
        if classes && !probabilities {
            let name = self.unused(if self.has("prob") { "softmax" } else { "prob" }, "end");
            self.layers.push((name, Op::Softmax));
        }
        // An AlexNet's name would claim that the network is that AlexNet, which is not known here.
        let name = if name.is_empty() || name.parse::<Variant>().is_ok() { "network" } else { name };
        let network =
            Network::new(name, self.input, self.layers).map_err(|e| format!("a network that fits together: {e}"))?;
        Ok(Graph { network, tensors: self.tensors, preprocessing, open: Open::default() })
    }
}

/// A layer's weight with its bias; zeros where the file has no bias.
fn with_bias(out: usize, weight: Tensor, bias: Option<Tensor>) -> Result<[Tensor; 2], String> {
    let bias = match bias {
        Some(bias) => vector(bias, out)?,
        None => Tensor::from_f32([out], vec![0.0; out]),
    };
    Ok([weight, bias])
}

/// A bias, whose shape may have dimensions of 1 besides that of the outputs.
fn vector(bias: Tensor, out: usize) -> Result<Tensor, String> {
    bias.reshaped([out]).ok_or_else(|| format!("a bias of {out} numbers, found shape {:?}", bias.shape()))
}

/// The transpose of a matrix.
pub(super) fn transpose(tensor: &Tensor, budget: &mut Budget) -> Result<Tensor, String> {
    match *tensor.shape() {
        [rows, columns] => {
            let turned = gather(tensor.dtype(), vec![columns, rows], &[1, columns], 0, &tensor.bytes, budget)?;
            Ok(Tensor { alias: tensor.alias.clone(), ..turned })
        }
        _ => Err(format!("a matrix, found shape {:?}", tensor.shape())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chain(size: usize) -> Chain {
        Chain::new(Shape::new(1, size, size), Budget::new(0)).unwrap()
    }

    fn side(chain: &Chain) -> usize {
        chain.shape().height
    }

    /// Compared with PyTorch's `pooling_output_shape` and Caffe's `PoolingLayer::Reshape`.
    #[test]
    fn poolings_are_rounded_as_the_frameworks_do() {
        for (size, kernel, stride) in
            (1usize..24).flat_map(|n| (1..6).flat_map(move |k| (1..6).map(move |s| (n, k, s))))
        {
            for padding in 0..=kernel / 2 {
                let Some(room) = (size + 2 * padding).checked_sub(kernel) else { continue };
                let floor = room / stride + 1;
                let mut ceil = room.div_ceil(stride) + 1;
                if (ceil - 1) * stride >= size + padding {
                    ceil -= 1;
                }
                for (rounding, expected) in [(Rounding::Floor, floor), (Rounding::Ceil, ceil)] {
                    let mut chain = chain(size);
                    let window = Window { padding: padding.into(), ..Window::square(kernel, stride) };
                    chain.max_pool("p", window, rounding).unwrap();
                    assert_eq!(side(&chain), expected, "{size}, kernel {kernel}, stride {stride}, padding {padding}");
                }
            }
        }
    }

    #[test]
    fn averages_are_adaptive_ones_where_they_can_be() {
        // 7 in windows of 3: rows 0–2, 2–4, 4–6, the windows of an adaptive pooling to 3.
        for (size, kernel, stride, expected) in [
            (6, 1, 1, Some(6)),
            (6, 3, 3, Some(2)),
            (7, 3, 2, Some(3)),
            (6, 6, 1, Some(1)),
            (6, 3, 1, None),
            (7, 3, 3, None),
        ] {
            let mut chain = chain(size);
            chain.average_pool("a", AvgPool::new(kernel, stride)).unwrap();
            let adaptive = matches!(chain.layers[..], [(_, Op::AdaptiveAvgPool(_))]);
            assert_eq!(adaptive.then(|| side(&chain)), expected, "{size}, kernel {kernel}, stride {stride}");
            assert_eq!(side(&chain), (size - kernel) / stride + 1);
        }
    }

    fn conv(chain: &mut Chain) {
        let weight = Tensor::from_f32([2, 1, 1, 1], vec![1.0; 2]);
        chain.conv("c", Conv::new(2, 1), weight, None).unwrap();
    }

    fn relu(chain: &Chain) -> bool {
        chain.layers.iter().any(|(_, op)| matches!(op, Op::Conv(conv) if conv.activation == Activation::Relu))
    }

    #[test]
    fn a_relu_joins_the_layer_before_it() {
        let norm = Op::LocalResponseNorm(crate::LocalResponseNorm::CAFFE);
        let mut chain = chain(4);
        conv(&mut chain);
        chain.max_pool("p", Window::square(2, 2), Rounding::Floor).unwrap();
        chain.push("d", Op::Dropout).unwrap();
        chain.activation("r", Activation::Relu).unwrap();
        assert!(relu(&chain));
        chain.push("n", norm).unwrap();
        chain.activation("again", Activation::Relu).unwrap();
        assert_eq!(chain.layers.len(), 4, "what is not negative stays");
    }

    #[test]
    fn a_relu_has_a_layer_of_its_own_elsewhere() {
        let mut first = chain(4);
        first.activation("r", Activation::Relu).unwrap();
        assert!(first.layers.len() == 1 && relu(&first));

        let mut chain = chain(4);
        conv(&mut chain);
        chain.push("n", Op::LocalResponseNorm(crate::LocalResponseNorm::CAFFE)).unwrap();
        chain.activation("r", Activation::Relu).unwrap();
        let relus: Vec<bool> = chain
            .layers
            .iter()
            .map(|(_, op)| matches!(op, Op::Conv(conv) if conv.activation == Activation::Relu))
            .collect();
        assert_eq!(relus, [false, false, true], "normalisation sees negative numbers");
    }

    /// All additions to a layer are folded into its bias.
    #[test]
    fn biases_add_up() {
        let mut chain = Chain::new(Shape::vector(3), Budget::new(0)).unwrap();
        chain.linear("f", Tensor::from_f32([2, 3], vec![0.0; 6]), None).unwrap();
        for shift in [vec![1.0], vec![0.5, -0.5]] {
            chain.affine("b", &Affine { shift, ..Affine::identity() }).unwrap();
        }
        chain.settle().unwrap();
        assert_eq!(*chain.tensors["f.bias"].to_f32(), [1.5, 0.5]);
        assert_eq!(chain.layers.len(), 1);
    }
}
