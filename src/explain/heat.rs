//! A number for each pixel that a network sees.

/// How much each pixel of a network's input matters to a class.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Heat {
    /// Pixels in a column.
    pub height: usize,
    /// Pixels in a row.
    pub width: usize,
    /// Row by row. Above zero where a pixel speaks for the class; below zero, where the method tells, against it.
    pub values: Vec<f32>,
}

impl Heat {
    /// The largest magnitude.
    pub fn largest(&self) -> f32 {
        self.values.iter().fold(0.0, |largest, value| largest.max(value.abs()))
    }

    /// Resizes it by bilinear interpolation between the middles of its pixels.
    pub(super) fn resized(&self, height: usize, width: usize) -> Self {
        let place = |at: usize, from: usize, to: usize| {
            let at = ((at as f32 + 0.5) * from as f32 / to as f32 - 0.5).clamp(0.0, (from - 1) as f32);
            let before = at as usize;
            (before, (before + 1).min(from - 1), at.fract())
        };
        let mut values = Vec::with_capacity(height * width);
        for y in 0..height {
            let (top, bottom, down) = place(y, self.height, height);
            for x in 0..width {
                let (left, right, along) = place(x, self.width, width);
                let row = |y: usize| {
                    let row = &self.values[y * self.width..];
                    row[left] + (row[right] - row[left]) * along
                };
                values.push(row(top) + (row(bottom) - row(top)) * down);
            }
        }
        Self { height, width, values }
    }
}
