//! A number for each pixel that a network sees.

use crate::compare::add_resized;

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
        let mut values = vec![0.0; height * width];
        add_resized(&self.values, [self.height, self.width], &mut values, [height, width]);
        Self { height, width, values }
    }
}
