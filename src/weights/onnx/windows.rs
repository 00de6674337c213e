//! Windows of convolutions and poolings, and weights with gaps.

use super::{node::Node, walk::Walk};
use crate::{
    network::{MAX_ACTIVATION, Padding, Window},
    weights::{Tensor, clip},
};

impl Walk<'_> {
    /// Kernel, stride and padding of a convolution (whose weight has the kernel's size) or a pooling. The kernel has the
    /// size that its dilation gives it.
    pub(super) fn window(
        &self,
        node: &Node,
        weight: Option<[usize; 2]>,
        dilations: [usize; 2],
    ) -> Result<Window, String> {
        let kernel = match (node.pair("kernel_shape")?, weight) {
            (Some(kernel), Some(weight)) if kernel != weight => {
                return Err(format!("a kernel of {weight:?} as its weight, found {kernel:?}"));
            }
            (Some(kernel), _) | (None, Some(kernel)) => kernel,
            (None, None) => return Err("a kernel_shape".into()),
        };
        let spread = |i: usize| {
            let gaps = kernel[i].checked_sub(1)?.checked_mul(dilations[i])?;
            gaps.checked_add(1).filter(|_| dilations[i] > 0)
        };
        let (Some(rows), Some(columns)) = (spread(0), spread(1)) else {
            return Err(format!("a kernel and dilations of at least 1, found {kernel:?} and {dilations:?}"));
        };
        let kernel = [rows, columns];
        let stride = node.pair("strides")?.unwrap_or([1, 1]);
        let auto_pad = node.text("auto_pad").unwrap_or(b"NOTSET");
        let padding = match auto_pad {
            b"NOTSET" | b"" => match node.ints("pads") {
                None => Padding::default(),
                Some(&[top, left, bottom, right]) => {
                    let size = |v: i64| {
                        let size = usize::try_from(v).ok().filter(|&v| v <= MAX_ACTIVATION);
                        size.ok_or_else(|| format!("pads of at least 0 and sensible size, found {v}"))
                    };
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
                    let total = total.min(MAX_ACTIVATION);
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

    /// The window of an average that counts all of it everywhere.
    pub(super) fn average(&mut self, node: &Node) -> Result<Window, String> {
        if node.pair("dilations")?.is_some_and(|d| d != [1, 1]) {
            return Err("dilations of 1, found others".into());
        }
        let window = self.window(node, None, [1, 1])?;
        let (shape, p) = (self.chain.shape(), window.padding);
        if p != Padding::default() && !node.flag("count_include_pad") {
            return Err(format!("to count its padding (count_include_pad) or to have none, found {p:?}"));
        }
        let rest = |size: usize, axis: usize| {
            let room = size.checked_sub(window.kernel[axis])?;
            room.checked_rem(window.stride[axis])
        };
        let sizes = [shape.height + p.top + p.bottom, shape.width + p.left + p.right];
        if node.flag("ceil_mode") && (rest(sizes[0], 0) != Some(0) || rest(sizes[1], 1) != Some(0)) {
            return Err(format!("windows that fit into {shape}, found some beyond it (ceil_mode)"));
        }
        Ok(window)
    }

    /// A weight with zeros between its numbers.
    pub(super) fn dilated(
        &mut self,
        weight: &Tensor,
        kernel: [usize; 2],
        dilations: [usize; 2],
    ) -> Result<Tensor, String> {
        let [out, inputs, kh, kw] = *weight.shape() else { return Err("a weight of four dimensions".into()) };
        let shape = [out, inputs, kernel[0], kernel[1]];
        let count = shape.iter().try_fold(4usize, |a, &d| a.checked_mul(d));
        self.chain.budget.take(count.unwrap_or(usize::MAX))?;
        let mut values = vec![0.0; shape.iter().product()];
        for (i, &v) in weight.to_f32().iter().enumerate() {
            let (plane, y, x) = (i / (kh * kw), i / kw % kh, i % kw);
            values[(plane * kernel[0] + y * dilations[0]) * kernel[1] + x * dilations[1]] = v;
        }
        Ok(Tensor::from_f32(shape, values))
    }
}
