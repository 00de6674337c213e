//! Shapes of activations, and limits on sizes.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The maximum number of values in a layer's activation per image, with channels rounded up to a multiple of four as on
/// the device. More is an error rather than an allocation: a file of a hundred bytes can ask for any number. (VGG's
/// largest activation has 3.2 million values.) The limit is 64 MiB of f32; with the copies of the input and Winograd's
/// scratch arrays, a run stays well below 1 GB.
pub const MAX_ACTIVATION: usize = 1 << 24;

/// The maximum number of values in a layer's tensor (VGG-16's fc6 has 103 million).
pub const MAX_WEIGHT: usize = 1 << 30;

/// The shape of an activation per image: channels × height × width (CHW).
///
/// A vector of n values, such as the output of a fully connected layer, is n×1×1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Shape {
    /// Channels (feature maps).
    pub channels: usize,
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
}

impl Shape {
    /// Makes the shape of `channels` maps with `height` rows and `width` columns.
    pub const fn new(channels: usize, height: usize, width: usize) -> Self {
        Self { channels, height, width }
    }

    /// Makes the shape of a vector of `n` values, n×1×1.
    pub const fn vector(n: usize) -> Self {
        Self::new(n, 1, 1)
    }

    /// Returns the number of values in an activation of this shape.
    pub const fn len(&self) -> usize {
        self.channels * self.height * self.width
    }

    /// Whether an activation of this shape is empty.
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Channel, row and column of every value, in order.
    pub(crate) fn indices(self) -> impl Iterator<Item = (usize, usize, usize)> {
        let Self { channels, height, width } = self;
        (0..channels).flat_map(move |c| (0..height).flat_map(move |y| (0..width).map(move |x| (c, y, x))))
    }

    pub(crate) fn checked_len(&self) -> Option<usize> {
        self.channels.checked_mul(self.height)?.checked_mul(self.width)
    }

    /// Whether this can be an activation: not empty, and at most [`MAX_ACTIVATION`].
    pub(crate) fn is_sensible(&self) -> bool {
        let padded = self.channels.checked_next_multiple_of(4).map(|channels| Self { channels, ..*self });
        matches!(padded.and_then(|shape| shape.checked_len()), Some(1..=MAX_ACTIVATION))
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}×{}×{}", self.channels, self.height, self.width)
    }
}
