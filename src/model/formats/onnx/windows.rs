//! Windows of convolutions and poolings.

use super::{node::Node, walk::Walk};
use crate::{
    shape::MAX_ACTIVATION,
    text::clip,
    window::{Padding, Window},
};

impl Walk<'_> {
    /// The window of a convolution (whose weight has the kernel's size) or a pooling.
    pub(super) fn window(&self, node: &Node, weight: Option<[usize; 2]>) -> Result<Window, String> {
        let dilation = node.pair("dilations")?.unwrap_or([1, 1]);
        let kernel = match (node.pair("kernel_shape")?, weight) {
            (Some(kernel), Some(weight)) if kernel != weight => {
                return Err(format!("a kernel of {weight:?} as its weight, found {kernel:?}"));
            }
            (Some(kernel), _) | (None, Some(kernel)) => kernel,
            (None, None) => return Err("a kernel_shape".into()),
        };
        let stride = node.pair("strides")?.unwrap_or([1, 1]);
        let window = Window { kernel, stride, dilation, padding: Padding::default() };
        window.check()?;
        let span = window.span();
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
                let pads = |size: usize, span: usize, stride: usize| {
                    let steps = size.div_ceil(stride).saturating_sub(1);
                    let total = steps.saturating_mul(stride).saturating_add(span).saturating_sub(size);
                    let total = total.min(MAX_ACTIVATION);
                    let (small, large) = (total / 2, total - total / 2);
                    if upper { (small, large) } else { (large, small) }
                };
                let (top, bottom) = pads(shape.height, span[0], stride[0]);
                let (left, right) = pads(shape.width, span[1], stride[1]);
                Padding { top, left, bottom, right }
            }
            other => return Err(format!("a known auto_pad, found `{}`", clip(&String::from_utf8_lossy(other)))),
        };
        Ok(Window { padding, ..window })
    }
}
