//! The row layout of a network's input, for a strided first convolution.

use super::Convolution;
use crate::{
    shape::Shape,
    window::{Padding, Window},
};

/// A network's input with its three channels interleaved, not padded to four. A kernel row is then contiguous and is
/// read as one position of `kernel_quads`. The usual layout takes one position per pixel, with a quarter of every quad
/// wasted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RowsLayout {
    channels: usize,
    pub height: usize,
    width: usize,
    /// The convolution's window.
    pub window: Window,
    /// Quads between the starts of adjacent windows.
    pub step_quads: usize,
    /// Quads per kernel row.
    pub kernel_quads: usize,
    /// Quads per row, a multiple of `step_quads`.
    pub row_quads: usize,
}

impl RowsLayout {
    /// The layout for a network that begins with `conv`; `None` where windows would not start at whole quads.
    pub fn of(conv: Convolution, input: Shape, output: Shape) -> Option<Self> {
        let Shape { channels, height, width } = input;
        let window = conv.window;
        let step = channels * window.stride[1];
        if conv.groups != 1 || window.dilation != [1, 1] || channels.is_multiple_of(4) || !step.is_multiple_of(4) {
            return None;
        }
        let step_quads = step / 4;
        let kernel_quads = (channels * window.kernel[1]).div_ceil(4);
        let pixels = channels * (window.padding.left + width);
        let needed = ((output.width - 1) * step_quads + kernel_quads).max(pixels.div_ceil(4));
        let row_quads = needed.next_multiple_of(step_quads);
        Some(Self { channels, height, width, window, step_quads, kernel_quads, row_quads })
    }

    /// vec4s per image.
    pub fn quads(&self) -> usize {
        self.height * self.row_quads
    }

    /// Zero pixels before each row.
    pub fn pad_left(&self) -> usize {
        self.window.padding.left
    }

    /// The offset of channel `channel` of kernel column `kx` in its row.
    pub fn in_row(&self, kx: usize, channel: usize) -> usize {
        kx * self.channels + channel
    }

    /// Writes `picture` (CHW) to `out`, which is zero on entry and has four values per quad.
    pub fn write(&self, picture: &[f32], out: &mut [f32]) {
        for (c, plane) in picture.chunks_exact(self.height * self.width).enumerate() {
            for (row, out) in plane.chunks_exact(self.width).zip(out.chunks_exact_mut(self.row_quads * 4)) {
                let pixels = out.chunks_exact_mut(self.channels).skip(self.pad_left());
                for (&value, pixel) in row.iter().zip(pixels) {
                    pixel[c] = value;
                }
            }
        }
    }

    /// Rows and columns of the kernel in cells.
    fn kernel_cells(&self) -> [usize; 2] {
        [self.window.kernel[0].div_ceil(self.window.stride[0]), self.kernel_quads.div_ceil(self.step_quads)]
    }

    /// The equivalent convolution of cells without stride, with its input. A cell has as many rows and columns of the
    /// input as the stride, and is treated as one pixel with channels [row][quad][4].
    pub fn convolution_of_cells(&self, conv: Convolution, output: Shape) -> (Convolution, Shape) {
        let kernel = self.kernel_cells();
        let window = Window { kernel, stride: [1, 1], padding: Padding::default(), ..self.window };
        let channels = self.window.stride[0] * self.step_quads * 4;
        let input = Shape::new(channels, output.height + kernel[0] - 1, output.width + kernel[1] - 1);
        (Convolution { window, ..conv }, input)
    }

    /// The weights (OIHW) of [`RowsLayout::convolution_of_cells`], made from those of the convolution.
    pub fn weights_of_cells(&self, weight: &[f32]) -> Vec<f32> {
        let [kh, kw] = self.window.kernel;
        let (cell_rows, cell_row) = (self.window.stride[0], self.step_quads * 4);
        let cells = self.kernel_cells();
        let (filter, planes) = (self.channels * kh * kw, cell_rows * cell_row * cells[0] * cells[1]);
        let mut out = vec![0.0; weight.len() / filter * planes];
        for (filter, out) in weight.chunks_exact(filter).zip(out.chunks_exact_mut(planes)) {
            for (i, &value) in filter.iter().enumerate() {
                let (channel, ky, x) = (i / (kh * kw), i / kw % kh, i % kw);
                let x = self.in_row(x, channel);
                let plane = ky % cell_rows * cell_row + x % cell_row;
                out[(plane * cells[0] + ky / cell_rows) * cells[1] + x / cell_row] = value;
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use super::*;
    use crate::activation::Activation;

    /// The convolution of cells, with its weights, equals the convolution.
    #[test]
    fn cells_convolve_as_the_strided_window() {
        let window = Window::square(11, 4);
        let conv = Convolution { out_channels: 2, window, groups: 1, activation: Activation::None };
        let (input, output) = (Shape::new(3, 23, 19), Shape::new(2, 4, 3));
        let layout = RowsLayout::of(conv, input, output).unwrap();
        let numbers = |count: usize| (0..count).map(|i| ((i * 7919) % 23) as f32 - 11.0).collect::<Vec<_>>();
        let (picture, weight) = (numbers(input.len()), numbers(2 * 3 * 11 * 11));
        let mut rows = vec![0.0; layout.quads() * 4];
        layout.write(&picture, &mut rows);
        let (cells, shape) = layout.convolution_of_cells(conv, output);
        assert_eq!((cells.window.kernel, shape), ([3, 3], Shape::new(48, 6, 5)));
        let of_cells = layout.weights_of_cells(&weight);
        for (o, y, x) in (0..2).flat_map(|o| (0..4).flat_map(move |y| (0..3).map(move |x| (o, y, x)))) {
            let mut expected = 0.0;
            for (c, ky, kx) in (0..3).flat_map(|c| (0..11).flat_map(move |y| (0..11).map(move |x| (c, y, x)))) {
                let value = picture[(c * 23 + 4 * y + ky) * 19 + 4 * x + kx];
                expected += value * weight[((o * 3 + c) * 11 + ky) * 11 + kx];
            }
            let mut found = 0.0;
            for (i, cy, cx) in (0..48).flat_map(|i| (0..3).flat_map(move |y| (0..3).map(move |x| (i, y, x)))) {
                // Rows beyond the image count as zeros.
                let row = 4 * (y + cy) + i / 12;
                let value = rows.get(row * layout.row_quads * 4 + 12 * (x + cx) + i % 12).copied().unwrap_or(0.0);
                found += value * of_cells[((o * 48 + i) * 3 + cy) * 3 + cx];
            }
            assert_eq!(found, expected, "output {o}, {y}, {x}");
        }
    }
}
