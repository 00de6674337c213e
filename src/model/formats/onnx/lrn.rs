//! Local response normalisation as PyTorch exports it: x / (k + α · mean of squares)^β, in several nodes.

use super::{
    node::Node,
    shapes::axis_of,
    view::{Axis, View},
};
use crate::layers::{LocalResponseNorm, LrnConvention};

/// (k + a · Σ x²)^power of the last activation x. The sum is over neighbouring channels once there is a window.
#[derive(Clone)]
pub(super) struct Squares {
    view: View,
    /// The number of the activation.
    pub of: usize,
    /// Zeros before the first channel and after the last.
    padding: [usize; 2],
    /// The number of channels that are summed.
    window: Option<usize>,
    a: f64,
    k: f64,
    power: f64,
}

impl Squares {
    /// x² of the activation with number `of`.
    pub fn new(view: View, of: usize) -> Self {
        Self { view, of, padding: [0, 0], window: None, a: 1.0, k: 0.0, power: 1.0 }
    }

    pub fn dims(&self) -> &[usize] {
        self.view.dims()
    }

    /// Applies a node to this. `number` is the value of a constant scalar input, `ints` those of sizes.
    pub fn follow(
        &self,
        node: &Node,
        opset: i64,
        number: impl Fn(usize) -> Option<f64>,
        mut ints: impl FnMut(usize, &str) -> Result<Option<Vec<i64>>, String>,
    ) -> Result<Self, String> {
        if let Some(view) = self.view.follow(node, opset, &mut ints)? {
            return Ok(Self { view, ..self.clone() });
        }
        let fail = || "a step of local response normalisation".to_string();
        let second = || number(0).or(number(1)).ok_or_else(fail);
        let mut next = self.clone();
        match node.operator.as_str() {
            "Pad" => {
                let pads = ints(1, "pads")?.ok_or("pads")?;
                next.pad(node, &pads, number(2).or(node.float("value").map(f64::from)).unwrap_or(0.0))?;
            }
            "AveragePool" => next.pool(node)?,
            "Mul" if self.power == 1.0 => (next.a, next.k) = (self.a * second()?, self.k * second()?),
            "Div" if self.power == 1.0 => {
                let divisor = number(1).ok_or_else(fail)?;
                (next.a, next.k) = (self.a / divisor, self.k / divisor);
            }
            "Add" if self.power == 1.0 => next.k += second()?,
            "Pow" => next.power *= number(1).ok_or_else(fail)?,
            "Sqrt" => next.power *= 0.5,
            "Reciprocal" => next.power = -self.power,
            _ => return Err(fail()),
        }
        Ok(next)
    }

    /// The dimension of the channels, as long as they can still be summed.
    fn channels(&self) -> Result<usize, String> {
        let plain = self.window.is_none() && self.k == 0.0 && self.power == 1.0;
        self.view
            .channels()
            .filter(|_| plain)
            .ok_or_else(|| "squares, with channels in a dimension of their own".into())
    }

    fn pad(&mut self, node: &Node, pads: &[i64], value: f64) -> Result<(), String> {
        let channels = self.channels()?;
        let rank = self.dims().len();
        let constant = node.text("mode").is_none_or(|mode| mode == b"constant");
        let others = pads.iter().enumerate().any(|(i, &pad)| i % rank != channels && pad != 0);
        if pads.len() != 2 * rank || others || !constant || value != 0.0 || self.padding != [0, 0] {
            return Err(format!("zeros before and after the channels, found pads {:?}", &pads[..pads.len().min(12)]));
        }
        let size = |pad: i64| usize::try_from(pad).ok().filter(|&pad| pad <= self.view.size(Axis::Channel));
        let sizes = [size(pads[channels]), size(pads[channels + rank])];
        let [Some(before), Some(after)] = sizes else { return Err("as few zeros as there are channels".into()) };
        self.padding = [before, after];
        self.resize(self.view.size(Axis::Channel) + before + after)
    }

    fn pool(&mut self, node: &Node) -> Result<(), String> {
        let channels = self.channels()?;
        let rank = self.dims().len();
        let kernel = node.ints("kernel_shape").unwrap_or_default();
        // The kernel's dimensions begin with the third one.
        let own = axis_of(channels as i64 - 2, rank.saturating_sub(2))?;
        let others = kernel.iter().enumerate().any(|(i, &size)| i != own && size != 1);
        let steps = [node.ints("strides"), node.ints("dilations")];
        let plain = steps.into_iter().flatten().flatten().all(|&v| v == 1);
        let unpadded = node.ints("pads").is_none_or(|pads| pads.iter().all(|&p| p == 0));
        let explicit = node.text("auto_pad").is_none_or(|auto| auto == b"NOTSET" || auto == b"VALID");
        if kernel.len() + 2 != rank || others || !plain || !unpadded || !explicit {
            return Err(format!("an average over channels alone, found kernel {:?}", &kernel[..kernel.len().min(8)]));
        }
        let total = self.view.size(Axis::Channel);
        let size = usize::try_from(kernel[own]).ok().filter(|&size| size > 0 && size <= total);
        let size = size.ok_or_else(|| format!("a window of at most {total} channels"))?;
        self.window = Some(size);
        self.a /= size as f64;
        self.resize(total - size + 1)
    }

    fn resize(&mut self, channels: usize) -> Result<(), String> {
        let [batch, _, rows, columns] =
            [Axis::Batch, Axis::Channel, Axis::Row, Axis::Column].map(|a| self.view.size(a));
        self.view = self.view.resized([batch, channels, rows, columns])?;
        Ok(())
    }

    /// The layer for x times this, or for x divided by this.
    pub fn norm(&self, divided: bool) -> Result<LocalResponseNorm, String> {
        let size = self.window.ok_or("squares that are summed over channels")?;
        let reach = [(size - 1) / 2, size / 2];
        if self.padding != reach {
            return Err(format!("a window with {reach:?} channels around its own, found {:?}", self.padding));
        }
        Ok(LocalResponseNorm {
            size,
            alpha: (self.a * size as f64) as f32,
            beta: (if divided { self.power } else { -self.power }) as f32,
            k: self.k as f32,
            convention: LrnConvention::Mean,
        })
    }
}
