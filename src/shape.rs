//! The shape of an activation, and the limits of sizes.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Activations of a layer hold at most this many numbers for one picture, channels rounded up to fours as they lie on the
/// device; more is an error, not an allocation. (VGG's largest activation has 3.2 million; a file of a hundred bytes can
/// ask for any number.) 64 MiB of f32: with the input's copies and what Winograd keeps, a run stays well below 1 GB.
pub const MAX_ACTIVATION: usize = 1 << 24;

/// The largest tensor of a layer holds at most this many numbers (VGG-16's fc6 has 103 million).
pub const MAX_WEIGHT: usize = 1 << 30;

/// The shape of one picture's activation: channels × height × width (CHW).
///
/// A vector of n numbers, as a fully connected layer gives, is n×1×1.
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
    /// `channels` maps of `height` rows and `width` columns.
    pub const fn new(channels: usize, height: usize, width: usize) -> Self {
        Self { channels, height, width }
    }

    /// A vector of `n` numbers, n×1×1.
    pub const fn vector(n: usize) -> Self {
        Self::new(n, 1, 1)
    }

    /// How many numbers an activation of this shape holds.
    pub const fn len(&self) -> usize {
        self.channels * self.height * self.width
    }

    /// Whether an activation of this shape holds nothing.
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Channel, row and column of every number, in order.
    pub(crate) fn indices(self) -> impl Iterator<Item = (usize, usize, usize)> {
        let Self { channels, height, width } = self;
        (0..channels).flat_map(move |c| (0..height).flat_map(move |y| (0..width).map(move |x| (c, y, x))))
    }

    pub(crate) fn checked_len(&self) -> Option<usize> {
        self.channels.checked_mul(self.height)?.checked_mul(self.width)
    }

    /// Whether this is an activation: not empty, and no more than [`MAX_ACTIVATION`].
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
