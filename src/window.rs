//! The sliding window of convolutions and pooling layers.

use serde::{Deserialize, Serialize};

use crate::shape::{MAX_ACTIVATION, Shape};

/// Padding around the input, in rows and columns: zeros for a convolution, nothing for a pooling layer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Padding {
    /// Rows above.
    pub top: usize,
    /// Columns to the left.
    pub left: usize,
    /// Rows below.
    pub bottom: usize,
    /// Columns to the right.
    pub right: usize,
}

impl From<usize> for Padding {
    fn from(p: usize) -> Self {
        Self { top: p, left: p, bottom: p, right: p }
    }
}

/// The window that slides over the input in a convolution or pooling layer. Pairs are `[rows, columns]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Window {
    /// Size of the window.
    pub kernel: [usize; 2],
    /// Distance between adjacent windows.
    pub stride: [usize; 2],
    /// Padding around the input.
    #[serde(default)]
    pub padding: Padding,
    /// Distance between adjacent positions of a window; 1 for no gaps.
    #[serde(default = "neighbours")]
    pub dilation: [usize; 2],
}

fn neighbours() -> [usize; 2] {
    [1, 1]
}

impl Window {
    /// Makes a square window of side `kernel` with the given stride, without padding.
    pub const fn square(kernel: usize, stride: usize) -> Self {
        let padding = Padding { top: 0, left: 0, bottom: 0, right: 0 };
        Self { kernel: [kernel, kernel], stride: [stride, stride], padding, dilation: [1, 1] }
    }

    /// The size, and the stride if it is not 1, in words.
    pub(crate) fn describe(&self) -> String {
        let ([rows, columns], [down, right]) = (self.kernel, self.stride);
        let stride = match [down, right] {
            [1, 1] => String::new(),
            _ if down == right => format!(", stride {down}"),
            _ => format!(", stride {down}×{right}"),
        };
        let dilation = match self.dilation {
            [1, 1] => String::new(),
            [y, x] if y == x => format!(", dilation {y}"),
            [y, x] => format!(", dilation {y}×{x}"),
        };
        format!("{rows}×{columns}{stride}{dilation}")
    }

    /// Rows and columns that a window that passes [`check`](Self::check) spans: (kernel − 1) · dilation + 1.
    pub(crate) fn span(&self) -> [usize; 2] {
        [0, 1].map(|axis| (self.kernel[axis] - 1) * self.dilation[axis] + 1)
    }

    /// Rows and columns of the output: ⌊(in + padding − span) / stride⌋ + 1.
    pub(crate) fn output(&self, input: Shape) -> Result<[usize; 2], String> {
        let padded = self.padded(input)?;
        Ok([0, 1].map(|axis| (padded[axis] - self.span()[axis]) / self.stride[axis] + 1))
    }

    /// The same rounded up, without windows that would start past the input (`ceil_mode` in PyTorch and ONNX).
    pub(crate) fn output_ceil(&self, input: Shape) -> Result<[usize; 2], String> {
        let padded = self.padded(input)?;
        let ends = [input.height + self.padding.top, input.width + self.padding.left];
        Ok([0, 1].map(|axis| {
            let count = (padded[axis] - self.span()[axis]).div_ceil(self.stride[axis]) + 1;
            count.min((ends[axis] - 1) / self.stride[axis] + 1)
        }))
    }

    /// Checks the numbers that need no input. Nothing computed with a window that passes overflows.
    pub(crate) fn check(&self) -> Result<(), String> {
        let Padding { top, left, bottom, right } = self.padding;
        for (axis, name, padding) in [(0, "height", top.max(bottom)), (1, "width", left.max(right))] {
            let (kernel, stride, dilation) = (self.kernel[axis], self.stride[axis], self.dilation[axis]);
            if kernel == 0 || stride == 0 || dilation == 0 {
                return Err(format!(
                    "kernel, stride and dilation of at least 1 in {name}, found {kernel}, {stride} and {dilation}"
                ));
            }
            if kernel.max(stride).max(dilation) > MAX_ACTIVATION
                || (kernel - 1).checked_mul(dilation).is_none_or(|gaps| gaps > MAX_ACTIVATION)
            {
                return Err(format!("kernel, stride and dilation of at most {MAX_ACTIVATION} in {name}"));
            }
            if padding > MAX_ACTIVATION {
                return Err(format!("padding of at most {MAX_ACTIVATION} in {name}"));
            }
        }
        Ok(())
    }

    /// Rows and columns of the padded input, which are at least those of a window.
    fn padded(&self, input: Shape) -> Result<[usize; 2], String> {
        self.check()?;
        let padding = self.padding;
        let axes = [
            ("height", input.height, padding.top, padding.bottom),
            ("width", input.width, padding.left, padding.right),
        ];
        let mut all = [0; 2];
        for (axis, (name, size, before, after)) in axes.into_iter().enumerate() {
            let (padded, span) = (size + before + after, self.span()[axis]);
            if padded < span {
                return Err(format!("a padded {name} of at least {span}, found {padded}"));
            }
            all[axis] = padded;
        }
        Ok(all)
    }

    /// Checks that every window covers some of the input, for an output of this many rows and columns.
    pub(crate) fn reaches_input(&self, input: Shape, output: [usize; 2]) -> Result<(), String> {
        let p = self.padding;
        let axes = [("height", input.height, p.top, p.bottom), ("width", input.width, p.left, p.right)];
        for (axis, (name, size, before, after)) in axes.into_iter().enumerate() {
            let span = self.span()[axis];
            if before.max(after) >= span {
                return Err(format!(
                    "padding smaller than the kernel in {name} ({span}), found {before} before and {after} after"
                ));
            }
            // With dilation, a window may skip all of a small input.
            let misses = |o: usize| {
                let (start, dilation) = (o * self.stride[axis], self.dilation[axis]);
                start + before.saturating_sub(start).next_multiple_of(dilation) >= before + size
            };
            if self.dilation[axis] > 1 && (0..output[axis]).any(misses) {
                return Err(format!("a dilation with which every window meets the input in {name}"));
            }
        }
        Ok(())
    }

    /// The rows of the input that the window of output row `oy` covers, each with its row in the kernel.
    pub(crate) fn rows(&self, oy: usize, input: Shape) -> impl Iterator<Item = (usize, usize)> + Clone {
        self.positions(0, oy, self.padding.top, input.height)
    }

    /// The same for output column `ox`.
    pub(crate) fn columns(&self, ox: usize, input: Shape) -> impl Iterator<Item = (usize, usize)> + Clone {
        self.positions(1, ox, self.padding.left, input.width)
    }

    /// The positions `o · stride − before + (0..kernel) · dilation` that lie in the input, along `axis`.
    fn positions(
        &self,
        axis: usize,
        o: usize,
        before: usize,
        size: usize,
    ) -> impl Iterator<Item = (usize, usize)> + Clone {
        let (start, dilation) = (o * self.stride[axis], self.dilation[axis]);
        let position = move |k: usize| Some(((start + k * dilation).checked_sub(before)?, k));
        (0..self.kernel[axis]).filter_map(position).filter(move |&(position, _)| position < size)
    }

    /// The numbers of `x` (CHW) in channel `c` that the window of output row `oy` and column `ox` covers.
    pub(crate) fn values(
        &self,
        x: &[f64],
        input: Shape,
        (c, oy, ox): (usize, usize, usize),
    ) -> impl Iterator<Item = f64> {
        let columns = self.columns(ox, input);
        let rows = self.rows(oy, input).map(move |(iy, _)| &x[(c * input.height + iy) * input.width..]);
        rows.flat_map(move |row| columns.clone().map(|(ix, _)| row[ix]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_that_is_wrong_on_one_axis_is_refused() {
        let good = Window::square(3, 2);
        let input = Shape::new(1, 9, 9);
        assert_eq!(good.output(input), Ok([4, 4]));
        for axis in [0, 1] {
            for wrong in [0, MAX_ACTIVATION + 1, usize::MAX] {
                let with = |change: fn(&mut Window) -> &mut [usize; 2]| {
                    let mut window = good;
                    change(&mut window)[axis] = wrong;
                    window
                };
                for window in [with(|w| &mut w.kernel), with(|w| &mut w.stride), with(|w| &mut w.dilation)] {
                    let expected = ["height", "width"][axis];
                    assert!(window.output(input).unwrap_err().contains(expected), "{window:?}");
                    assert!(window.output_ceil(input).unwrap_err().contains(expected), "{window:?}");
                }
            }
            let mut window = good;
            (window.kernel[axis], window.dilation[axis]) = (MAX_ACTIVATION, MAX_ACTIVATION);
            assert!(window.output(input).is_err(), "{window:?}");
        }
        let none = Padding::default();
        let huge = usize::MAX;
        for padding in [
            Padding { top: huge, ..none },
            Padding { left: huge, ..none },
            Padding { bottom: huge, ..none },
            Padding { right: huge, ..none },
        ] {
            let window = Window { padding, ..good };
            assert!(window.output(input).unwrap_err().contains("padding"), "{window:?}");
        }
    }
}
