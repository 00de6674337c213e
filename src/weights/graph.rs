//! What a file's graph comes to, built layer by layer: shared by the formats that bring one.

use std::collections::BTreeMap;

use super::{Budget, Tensor, gather};
use crate::{
    alexnet::Variant,
    network::{
        AdaptiveAvgPool, Conv, Linear, MAX_ACTIVATION, MaxPool, Network, NetworkError, Op, Padding, Shape, Window,
    },
    preprocess::Preprocessing,
};

/// A file's graph as a network, its tensors under the network's names, and the preprocessing the file speaks of.
pub(crate) struct Graph {
    pub network: Network,
    pub tensors: BTreeMap<String, Tensor>,
    pub preprocessing: Option<Preprocessing>,
    /// What of the network or of its preprocessing the file leaves open.
    pub open: Open,
}

/// What a file with a graph leaves open all the same.
#[derive(Debug, Default)]
pub(crate) struct Open {
    /// Where the input's size comes from, if not from the file.
    pub input: Option<String>,
    /// Which other inputs it may have.
    pub doubt: Option<String>,
    /// Whether the preprocessing is no more than what is usual.
    pub preprocessing: bool,
}

/// The side of the square input of Caffe's AlexNets, which fits no other input, and everybody else's: what is tried where a
/// file does not say its own.
pub(super) const USUAL_SIDES: [usize; 2] = [227, 224];

/// The most averages in a row or column that are compared with those of an adaptive pooling.
const MAX_AVERAGES: usize = 4096;

/// How the output size of a pooling is rounded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rounding {
    Floor,
    Ceil,
}

/// A chain of layers that grows at its end. Errors say what a layer expected and what it found.
pub(super) struct Chain {
    input: Shape,
    shape: Shape,
    flat: bool,
    layers: Vec<(String, Op)>,
    tensors: BTreeMap<String, Tensor>,
    /// The fully connected layer whose bias may still come.
    unbiased: Option<String>,
}

impl Chain {
    pub fn new(input: Shape) -> Result<Self, String> {
        if !input.is_sensible() {
            return Err(format!("an input of 1 to {MAX_ACTIVATION} numbers (channels count in fours), found {input}"));
        }
        let (layers, tensors) = (Vec::new(), BTreeMap::new());
        Ok(Self { input, shape: input, flat: false, layers, tensors, unbiased: None })
    }

    /// The shape of the last activation.
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// Whether the last activation is a vector.
    pub fn is_flat(&self) -> bool {
        self.flat
    }

    /// Makes a vector of the last activation, in CHW order.
    pub fn flatten(&mut self) {
        self.flat = true;
    }

    pub fn push(&mut self, name: &str, op: Op) -> Result<(), String> {
        let output = op.output(self.shape).map_err(|expected| format!("{expected} (input {})", self.shape))?;
        if !output.is_sensible() {
            return Err(format!(
                "an output of at most {MAX_ACTIVATION} numbers (channels count in fours), found {output}"
            ));
        }
        self.shape = output;
        self.unbiased = None;
        self.layers.push((name.into(), op));
        Ok(())
    }

    pub fn conv(&mut self, name: &str, conv: Conv, weight: Tensor, bias: Option<Tensor>) -> Result<(), String> {
        if self.flat {
            return Err("feature maps, found a vector".into());
        }
        // Checks the groups before they divide.
        Op::Conv(conv).output(self.shape)?;
        let [kh, kw] = conv.window.kernel;
        let expected = [conv.out_channels, self.shape.channels / conv.groups, kh, kw];
        if weight.shape() != expected {
            return Err(format!("a weight of shape {expected:?}, found {:?}", weight.shape()));
        }
        self.parameters(name, conv.out_channels, weight, bias)?;
        self.push(name, Op::Conv(conv))
    }

    /// A fully connected layer; `weight` is (out, in).
    pub fn linear(&mut self, name: &str, weight: Tensor, bias: Option<Tensor>) -> Result<(), String> {
        let out_features = match *weight.shape() {
            [rows, columns] if columns == self.shape.len() => rows,
            _ => return Err(format!("a weight of {} columns, found shape {:?}", self.shape.len(), weight.shape())),
        };
        let unbiased = bias.is_none().then(|| name.to_string());
        self.parameters(name, out_features, weight, bias)?;
        self.push(name, Op::Linear(Linear::new(out_features)))?;
        self.flat = true;
        self.unbiased = unbiased;
        Ok(())
    }

    /// The bias of the fully connected layer before, where the file adds it on its own.
    pub fn bias(&mut self, bias: Tensor) -> Result<(), String> {
        let name = self.unbiased.take().ok_or("a fully connected layer without bias before it")?;
        let bias = vector(bias, self.shape.len())?;
        self.tensors.insert(format!("{name}.bias"), bias);
        Ok(())
    }

    fn parameters(&mut self, name: &str, out: usize, weight: Tensor, bias: Option<Tensor>) -> Result<(), String> {
        let bias = match bias {
            Some(bias) => vector(bias, out)?,
            None => Tensor::from_f32([out], vec![0.0; out]),
        };
        self.tensors.insert(format!("{name}.weight"), weight);
        self.tensors.insert(format!("{name}.bias"), bias);
        Ok(())
    }

    /// A ReLU, computed with the convolution or fully connected layer before it. Max pooling and dropout in
    /// between change nothing, since ReLU never swaps the order of two numbers; whatever follows a ReLU without
    /// another layer of weights is never negative.
    pub fn relu(&mut self) -> Result<(), String> {
        let mut commutes = true;
        for (_, op) in self.layers.iter_mut().rev() {
            let relu = match op {
                Op::Conv(conv) => &mut conv.relu,
                Op::Linear(linear) => &mut linear.relu,
                Op::MaxPool(_) | Op::Dropout => continue,
                _ => {
                    commutes = false;
                    continue;
                }
            };
            if !*relu && !commutes {
                break;
            }
            *relu = true;
            self.unbiased = None;
            return Ok(());
        }
        Err("a convolution or fully connected layer before it".into())
    }

    /// A max pooling whose output size may be rounded up: expressed as padding below and to the right, which
    /// never wins. A window that would begin in that padding is left out, as in every framework.
    pub fn max_pool(&mut self, name: &str, mut window: Window, rounding: Rounding) -> Result<(), String> {
        if rounding == Rounding::Ceil {
            let p = window.padding;
            let after = |axis: usize, size: usize, before: usize, after: usize| {
                let (kernel, stride) = (window.kernel[axis], window.stride[axis]);
                let room = size.checked_add(before)?.checked_add(after)?.checked_sub(kernel)?;
                let mut last = room.checked_add(stride.checked_sub(1)?)? / stride;
                if last.checked_mul(stride)? >= size + before {
                    last = last.checked_sub(1)?;
                }
                Some(last.checked_mul(stride)?.checked_add(kernel)?.saturating_sub(size + before))
            };
            // Sizes that do not fit are left to the check of the window.
            let bottom = after(0, self.shape.height, p.top, p.bottom).unwrap_or(p.bottom);
            let right = after(1, self.shape.width, p.left, p.right).unwrap_or(p.right);
            window.padding = Padding { bottom, right, ..p };
        }
        self.spatial()?;
        self.push(name, Op::MaxPool(MaxPool { window }))
    }

    /// An average pooling, where its windows are those of an adaptive one.
    pub fn average_pool(&mut self, name: &str, window: Window) -> Result<(), String> {
        self.spatial()?;
        let sizes = [self.shape.height, self.shape.width];
        let mut output = [0; 2];
        for axis in 0..2 {
            let (size, kernel, stride) = (sizes[axis], window.kernel[axis], window.stride[axis]);
            let room = size.checked_sub(kernel).filter(|_| window.padding == Padding::default() && stride > 0);
            // Longer rows are no picture's, and would take long to compare.
            let out = room.map(|room| room / stride + 1).filter(|&out| out <= MAX_AVERAGES);
            let adaptive = |out: usize| {
                (0..out).all(|o| o * size / out == o * stride && ((o + 1) * size).div_ceil(out) == o * stride + kernel)
            };
            output[axis] = out.filter(|&out| adaptive(out)).ok_or_else(|| {
                format!(
                    "an average over equal parts of {size} without padding, found kernel {kernel} and stride {stride}"
                )
            })?;
        }
        self.push(name, Op::AdaptiveAvgPool(AdaptiveAvgPool { output }))
    }

    /// The average of each feature map.
    pub fn global_average_pool(&mut self, name: &str) -> Result<(), String> {
        self.spatial()?;
        self.push(name, Op::AdaptiveAvgPool(AdaptiveAvgPool { output: [1, 1] }))
    }

    fn spatial(&self) -> Result<(), String> {
        if self.flat { Err("feature maps, found a vector".into()) } else { Ok(()) }
    }

    /// The network, with a softmax at its end also where the file leaves it to the program.
    pub fn finish(mut self, name: &str, preprocessing: Option<Preprocessing>) -> Result<Graph, NetworkError> {
        let vector = self.shape.height * self.shape.width == 1;
        if vector && !matches!(self.layers.last(), Some((_, Op::Softmax))) {
            let taken = self.layers.iter().any(|(name, _)| name == "prob");
            self.layers.push((if taken { "softmax" } else { "prob" }.into(), Op::Softmax));
        }
        // A name that is an AlexNet's says that it is that AlexNet, which is not known here.
        let name = if name.is_empty() || name.parse::<Variant>().is_ok() { "network" } else { name };
        let network = Network::new(name, self.input, self.layers)?;
        Ok(Graph { network, tensors: self.tensors, preprocessing, open: Open::default() })
    }
}

/// A bias, whose shape may have dimensions of 1 besides the outputs.
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

    fn side(chain: &Chain) -> usize {
        chain.shape().height
    }

    /// PyTorch's `pooling_output_shape` and Caffe's `PoolingLayer::Reshape`.
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
                    let mut chain = Chain::new(Shape::new(1, size, size)).unwrap();
                    let window = Window { padding: padding.into(), ..Window::square(kernel, stride) };
                    chain.max_pool("p", window, rounding).unwrap();
                    assert_eq!(side(&chain), expected, "{size}, kernel {kernel}, stride {stride}, padding {padding}");
                }
            }
        }
    }

    #[test]
    fn averages_are_adaptive_ones_or_refused() {
        // Of 7 in windows of 3: rows 0–2, 2–4, 4–6, as an adaptive pooling to 3 takes them.
        for (size, kernel, stride, expected) in [
            (6, 1, 1, Some(6)),
            (6, 3, 3, Some(2)),
            (7, 3, 2, Some(3)),
            (6, 6, 1, Some(1)),
            (6, 3, 1, None),
            (7, 3, 3, None),
        ] {
            let mut chain = Chain::new(Shape::new(1, size, size)).unwrap();
            let result = chain.average_pool("a", Window::square(kernel, stride));
            assert_eq!(result.is_ok().then(|| side(&chain)), expected, "{size}, kernel {kernel}, stride {stride}");
        }
    }

    fn conv(chain: &mut Chain) {
        let weight = Tensor::from_f32([2, 1, 1, 1], vec![1.0; 2]);
        chain.conv("c", Conv::new(2, 1), weight, None).unwrap();
    }

    fn relu(chain: &Chain) -> bool {
        chain.layers.iter().any(|(_, op)| matches!(op, Op::Conv(conv) if conv.relu))
    }

    #[test]
    fn a_relu_joins_the_layer_before_it() {
        let norm = Op::LocalResponseNorm(crate::LocalResponseNorm::CAFFE);
        let mut chain = Chain::new(Shape::new(1, 4, 4)).unwrap();
        assert!(chain.relu().is_err(), "no layer yet");
        conv(&mut chain);
        chain.max_pool("p", Window::square(2, 2), Rounding::Floor).unwrap();
        chain.push("d", Op::Dropout).unwrap();
        chain.relu().unwrap();
        assert!(relu(&chain));
        chain.push("n", norm).unwrap();
        chain.relu().unwrap();

        let mut chain = Chain::new(Shape::new(1, 4, 4)).unwrap();
        conv(&mut chain);
        chain.push("n", norm).unwrap();
        assert!(chain.relu().is_err(), "normalisation sees negative numbers");
        assert!(!relu(&chain));
    }

    #[test]
    fn a_bias_comes_once() {
        let mut chain = Chain::new(Shape::vector(3)).unwrap();
        chain.linear("f", Tensor::from_f32([2, 3], vec![0.0; 6]), None).unwrap();
        assert!(chain.bias(Tensor::from_f32([3], vec![1.0; 3])).is_err(), "of another size");
        chain.linear("g", Tensor::from_f32([2, 2], vec![0.0; 4]), None).unwrap();
        chain.bias(Tensor::from_f32([1, 2], vec![1.0; 2])).unwrap();
        assert!(chain.bias(Tensor::from_f32([2], vec![1.0; 2])).is_err(), "twice");
        assert_eq!(*chain.tensors["g.bias"].to_f32(), [1.0, 1.0]);
    }
}
