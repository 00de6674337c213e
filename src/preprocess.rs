//! From a picture to the network's input: decode, orient, resize, crop, normalise.

use serde::{Deserialize, Serialize};

/// How a picture becomes the network's input, in order: resize, centre crop, channel order, then
/// `(x · scale − mean) / std` for each channel with x in 0…255.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Preprocessing {
    /// How the whole picture is resized.
    pub resize: Resize,
    /// Rows and columns of the centre crop that follows.
    pub crop: [usize; 2],
    /// Which channel comes first.
    pub channels: ChannelOrder,
    /// What multiplies a sample of 0…255.
    pub scale: f32,
    /// Subtracted from each channel after `scale`, in the order of `channels`.
    pub mean: [f32; 3],
    /// Divides each channel last, in the order of `channels`.
    pub std: [f32; 3],
}

/// How a picture is resized (bilinear, antialiased when it shrinks, as Pillow and torchvision do).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Resize {
    /// The shorter side to this many pixels; the longer in proportion, rounded down.
    ShorterSide(usize),
    /// To these rows and columns, whatever the proportions.
    Warp([usize; 2]),
}

/// The order of the three colour channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ChannelOrder {
    /// Red, green, blue.
    Rgb,
    /// Blue, green, red: OpenCV's, and so Caffe's.
    Bgr,
}

impl Preprocessing {
    /// torchvision's for ImageNet: shorter side to 256, centre crop of `size`, 0…1, mean and deviation of
    /// ImageNet (`transforms._presets.ImageClassification`).
    pub const fn torchvision(size: usize) -> Self {
        Self {
            resize: Resize::ShorterSide(256),
            crop: [size, size],
            channels: ChannelOrder::Rgb,
            scale: 1.0 / 255.0,
            mean: [0.485, 0.456, 0.406],
            std: [0.229, 0.224, 0.225],
        }
    }

    /// The same with a centre crop of `height`×`width`; the picture is resized to no less than that.
    pub fn cropped(mut self, height: usize, width: usize) -> Self {
        self.crop = [height, width];
        self.resize = match self.resize {
            Resize::ShorterSide(side) => Resize::ShorterSide(side.max(height).max(width)),
            Resize::Warp([h, w]) => Resize::Warp([h.max(height), w.max(width)]),
        };
        self
    }

    /// BVLC's: warp to 256×256, centre crop of `size`, BGR in 0…255 less ILSVRC-2012's mean.
    pub const fn caffe(size: usize) -> Self {
        Self {
            resize: Resize::Warp([256, 256]),
            crop: [size, size],
            channels: ChannelOrder::Bgr,
            scale: 1.0,
            mean: [104.007, 116.669, 122.679],
            std: [1.0, 1.0, 1.0],
        }
    }
}
