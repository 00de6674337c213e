//! The path from a picture to the network's input: decode, orient, resize, crop, normalise.

#[cfg(feature = "decoders")]
mod decode;
mod error;
#[cfg(feature = "decoders")]
mod formats;
#[cfg(feature = "decoders")]
mod gif;
#[cfg(feature = "decoders")]
mod jpeg;
#[cfg(feature = "decoders")]
mod orientation;
mod pixels;
#[cfg(feature = "decoders")]
mod tiff;

use fast_image_resize::{
    FilterType, PixelTrait, ResizeAlg, ResizeOptions, Resizer,
    images::{Image, ImageRef, TypedImage, TypedImageRef},
    pixels::{U8, U8x3},
};
use serde::{Deserialize, Serialize};

pub use error::PictureError;
pub use pixels::{Damage, Picture};

use crate::{shape::Shape, version::Version};

/// The conversion of a picture to the network's input. The steps in order: resize, centre crop, channel order, then `(x ·
/// scale − mean) / std` for each channel with x in 0…255.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Preprocessing {
    #[serde(default)]
    version: Version,
    /// The resizing of the whole picture.
    pub resize: Resize,
    /// Rows and columns of the centre crop that follows.
    pub crop: [usize; 2],
    /// The order of the channels.
    pub channels: ChannelOrder,
    /// The factor for samples of 0…255.
    pub scale: f32,
    /// Subtracted from each channel after scaling, in the order of `channels`.
    pub mean: [f32; 3],
    /// Divisor of each channel, applied last, in the order of `channels`.
    pub std: [f32; 3],
}

/// A resizing method (bilinear, antialiased when shrinking, as in Pillow and torchvision).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Resize {
    /// Resizes the shorter side to this many pixels, and the longer in proportion, rounded down.
    ShorterSide(usize),
    /// Resizes to these rows and columns, ignoring the proportions.
    Warp([usize; 2]),
}

/// The channels of the network's input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ChannelOrder {
    /// Red, green, blue.
    Rgb,
    /// Blue, green, red: the order of OpenCV, and so of Caffe.
    Bgr,
    /// One channel of grey, `0.299 · red + 0.587 · green + 0.114 · blue`, as in Pillow's `convert("L")` and torchvision's
    /// `Grayscale`. Only the first mean and deviation are used.
    Grey,
    /// A number of channels that no picture has. No preprocessing exists for it: such a network takes a ready input.
    Other(usize),
}

impl ChannelOrder {
    /// The number of channels.
    pub const fn count(self) -> usize {
        match self {
            Self::Rgb | Self::Bgr => 3,
            Self::Grey => 1,
            Self::Other(count) => count,
        }
    }
}

impl Preprocessing {
    /// Makes a preprocessing of red, green and blue in 0…1: `resize`, then the centre crop of `[rows, columns]`.
    pub const fn new(resize: Resize, crop: [usize; 2]) -> Self {
        Self {
            version: Version,
            resize,
            crop,
            channels: ChannelOrder::Rgb,
            scale: 1.0 / 255.0,
            mean: [0.0; 3],
            std: [1.0; 3],
        }
    }

    /// Sets the resizing of the whole picture.
    pub const fn resize(mut self, resize: Resize) -> Self {
        self.resize = resize;
        self
    }

    /// Sets the rows and columns of the centre crop. [`Preprocessing::cropped`] fits the resizing to it as well.
    pub const fn crop(mut self, crop: [usize; 2]) -> Self {
        self.crop = crop;
        self
    }

    /// Sets the order of the channels.
    pub const fn channels(mut self, channels: ChannelOrder) -> Self {
        self.channels = channels;
        self
    }

    /// Sets the factor for samples of 0…255.
    pub const fn scale(mut self, scale: f32) -> Self {
        self.scale = scale;
        self
    }

    /// Sets the mean of each channel, subtracted after scaling.
    pub const fn mean(mut self, mean: [f32; 3]) -> Self {
        self.mean = mean;
        self
    }

    /// Sets the divisor of each channel.
    pub const fn std(mut self, std: [f32; 3]) -> Self {
        self.std = std;
        self
    }

    /// torchvision's preprocessing for ImageNet: shorter side to 256, centre crop of `size`, 0…1, mean and deviation of
    /// ImageNet (`transforms._presets.ImageClassification`).
    pub const fn torchvision(size: usize) -> Self {
        Self {
            version: Version,
            resize: Resize::ShorterSide(256),
            crop: [size, size],
            channels: ChannelOrder::Rgb,
            scale: 1.0 / 255.0,
            mean: [0.485, 0.456, 0.406],
            std: [0.229, 0.224, 0.225],
        }
    }

    /// The same with a centre crop of `height`×`width`; the picture is resized to at least that size.
    pub fn cropped(mut self, height: usize, width: usize) -> Self {
        self.crop = [height, width];
        self.resize = match self.resize {
            Resize::ShorterSide(side) => Resize::ShorterSide(side.max(height).max(width)),
            Resize::Warp([h, w]) => Resize::Warp([h.max(height), w.max(width)]),
        };
        self
    }

    /// The same without a crop: the whole picture is scaled to the network's input, ignoring the proportions.
    pub(crate) fn whole(self, input: Shape) -> Self {
        let size = [input.height, input.width];
        Self { resize: Resize::Warp(size), crop: size, ..self }
    }

    /// The default for a network of any number of channels: 0…1, and the shorter side resized to the crop's longer one.
    pub(crate) fn plain(input: Shape) -> Self {
        let channels = match input.channels {
            1 => ChannelOrder::Grey,
            3 => ChannelOrder::Rgb,
            other => ChannelOrder::Other(other),
        };
        Self::new(Resize::ShorterSide(1), [1, 1]).channels(channels).cropped(input.height, input.width)
    }

    /// BVLC's preprocessing: warp to 256×256, centre crop of `size`, BGR in 0…255 minus the mean of ILSVRC-2012.
    pub const fn caffe(size: usize) -> Self {
        Self {
            version: Version,
            resize: Resize::Warp([256, 256]),
            crop: [size, size],
            channels: ChannelOrder::Bgr,
            scale: 1.0,
            mean: [104.007, 116.669, 122.679],
            std: [1.0, 1.0, 1.0],
        }
    }

    /// The largest side that a picture may be resized or cropped to, in pixels.
    pub const MAX_SIDE: usize = 4096;

    /// Checks that [`Preprocessing::apply`] can use these values: sizes of 1 to [`Preprocessing::MAX_SIDE`], a scale, mean
    /// and deviation that turn 0…255 into finite numbers, and channels that a picture has.
    ///
    /// # Errors
    ///
    /// [`PreprocessingError`] names the invalid value.
    pub fn check(&self) -> Result<(), PreprocessingError> {
        let [rows, columns] = match self.resize {
            Resize::ShorterSide(size) => [size, size],
            Resize::Warp(size) => size,
        };
        for (what, found) in [("resize", rows), ("resize", columns), ("crop", self.crop[0]), ("crop", self.crop[1])] {
            if !(1..=Self::MAX_SIDE).contains(&found) {
                return Err(PreprocessingError::Side { what, found });
            }
        }
        for channel in 0..3 {
            let [low, high] = [0, 255].map(|sample| self.value(channel, sample));
            if !low.is_finite() || !high.is_finite() {
                return Err(PreprocessingError::NotFinite {
                    channel,
                    scale: self.scale,
                    mean: self.mean[channel],
                    std: self.std[channel],
                });
            }
        }
        match self.channels {
            ChannelOrder::Other(expected) => Err(PreprocessingError::Channels { expected }),
            _ => Ok(()),
        }
    }

    /// The shape that a picture is converted to.
    pub(crate) fn shape(&self) -> Shape {
        Shape::new(self.channels.count(), self.crop[0], self.crop[1])
    }

    /// Converts a picture to the network's input: `3 × crop rows × crop columns` numbers (`1 ×` for grey) in CHW order.
    ///
    /// Resizing matches Pillow's `resize(…, BILINEAR)` to within one step of 8 bits; only the cropped part is computed. Sizes
    /// and offsets are torchvision's (`Resize`, `CenterCrop`): the longer side is rounded down, an odd margin is halved to
    /// the even number, and a picture smaller than the crop is padded with black.
    ///
    /// # Errors
    ///
    /// As [`Preprocessing::check`].
    pub fn apply(&self, picture: &Picture) -> Result<Vec<f32>, PreprocessingError> {
        self.check()?;
        Ok(self.crop_at(picture, [Place::Centre; 2]))
    }

    /// The picture that an input of `shape` was made of, as the network sees it: numbers in CHW order back to samples of 0 to 255.
    /// `None` where there are other numbers or channels.
    pub fn picture(&self, input: &[f32], shape: Shape) -> Option<Picture> {
        let Shape { channels, height, width } = shape;
        if input.len() != shape.len() || channels != self.channels.count() {
            return None;
        }
        let place = |colour: usize| match self.channels {
            ChannelOrder::Rgb => Some(colour),
            ChannelOrder::Bgr => Some(2 - colour),
            ChannelOrder::Grey => Some(0),
            ChannelOrder::Other(_) => None,
        };
        let mut rgb = vec![0; 3 * height * width];
        for colour in 0..3 {
            let c = place(colour)?;
            let plane = &input[c * height * width..][..height * width];
            for (sample, v) in rgb.iter_mut().skip(colour).step_by(3).zip(plane) {
                *sample = ((v * self.std[c] + self.mean[c]) / self.scale).round().clamp(0.0, 255.0) as u8;
            }
        }
        Picture::from_rgb8(width as u32, height as u32, rgb).ok()
    }

    /// Converts a picture to the ten crops over which Krizhevsky, Sutskever and Hinton (2012) average a network's
    /// probabilities: the resized picture's top left, top right, bottom left and bottom right corners and its centre, then
    /// the same five mirrored left to right. The crops follow each other, each in the form of [`Preprocessing::apply`].
    ///
    /// # Errors
    ///
    /// As [`Preprocessing::check`].
    pub fn ten_crops(&self, picture: &Picture) -> Result<Vec<f32>, PreprocessingError> {
        use Place::{Centre, End, Start};
        self.check()?;
        let places = [[Start, Start], [Start, End], [End, Start], [End, End], [Centre, Centre]];
        let mut crops: Vec<f32> = places.into_iter().flat_map(|place| self.crop_at(picture, place)).collect();
        let five = crops.len();
        crops.extend_from_within(..);
        crops[five..].chunks_exact_mut(self.crop[1]).for_each(<[f32]>::reverse);
        Ok(crops)
    }

    /// The crop at `place` in rows and columns.
    fn crop_at(&self, picture: &Picture, place: [Place; 2]) -> Vec<f32> {
        let [y, x] = self.spans_at(picture.height(), picture.width(), place);
        let grey = (self.channels == ChannelOrder::Grey).then(|| picture.grey());
        let samples = match &grey {
            Some(grey) => resize::<U8>(picture, grey, &y, &x),
            None => resize::<U8x3>(picture, picture.rgb(), &y, &x),
        };

        let (plane, count) = (self.crop[0] * self.crop[1], self.channels.count());
        let mut input = Vec::with_capacity(count * plane);
        for channel in 0..count {
            let from = if self.channels == ChannelOrder::Bgr { 2 - channel } else { channel };
            let values: [f32; 256] = std::array::from_fn(|sample| self.value(channel, sample as u8));
            input.resize((channel + 1) * plane, values[0]);
            let rows = input[channel * plane..].chunks_exact_mut(self.crop[1]).skip(y.offset);
            for (row, samples) in rows.zip(samples.chunks_exact(count * x.len)) {
                for (value, sample) in row[x.offset..].iter_mut().zip(samples.chunks_exact(count)) {
                    *value = values[usize::from(sample[from])];
                }
            }
        }
        input
    }

    /// The part of a picture's rows and columns that the centre crop keeps.
    pub(crate) fn spans(&self, height: u32, width: u32) -> [Span; 2] {
        self.spans_at(height, width, [Place::Centre; 2])
    }

    /// The part of a picture's rows and columns that the crop at `place` keeps.
    fn spans_at(&self, height: u32, width: u32, place: [Place; 2]) -> [Span; 2] {
        let [height, width] = [height, width].map(|side| side as usize);
        let [rows, columns] = match self.resize {
            Resize::ShorterSide(size) => {
                let shorter = width.min(height);
                // torchvision computes the quotient in floating point and truncates; for numbers of this size
                // that is the whole quotient.
                [height, width].map(|side| (size as u64 * side as u64 / shorter as u64) as usize)
            }
            Resize::Warp(size) => size,
        };
        let y = Span::new(height, rows, self.crop[0], place[0]);
        let x = Span::new(width, columns, self.crop[1], place[1]);
        [y, x]
    }

    /// The input value for a sample.
    fn value(&self, channel: usize, sample: u8) -> f32 {
        (f32::from(sample) * self.scale - self.mean[channel]) / self.std[channel]
    }
}

/// The reason why a [`Preprocessing`] cannot be applied.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum PreprocessingError {
    /// A size is zero or too large.
    #[error("expected a {what} of 1 to {} pixels a side, found {found}", Preprocessing::MAX_SIDE)]
    Side {
        /// `resize` or `crop`.
        what: &'static str,
        /// The size in pixels.
        found: usize,
    },
    /// No picture has this number of channels.
    #[error(
        "the network takes {expected} channels, and a picture has three, or one as grey: pass numbers as its input instead"
    )]
    Channels {
        /// The network's channels.
        expected: usize,
    },
    /// The preprocessing does not produce the shape of the network's input.
    #[error("expected preprocessing to the network's input of {expected}, found one to {found}")]
    Input {
        /// The network's input.
        expected: Shape,
        /// The shape that the preprocessing produces.
        found: Shape,
    },
    /// Samples would become NaN or infinite.
    #[error(
        "expected scale, mean and std that keep samples finite, found {scale}, {mean} and {std} in channel {channel}"
    )]
    NotFinite {
        /// The channel, in the preprocessing's order.
        channel: usize,
        /// The scale.
        scale: f32,
        /// The channel's mean.
        mean: f32,
        /// The channel's deviation.
        std: f32,
    },
}

/// The position of a crop along an axis of the resized picture.
#[derive(Clone, Copy)]
enum Place {
    Start,
    Centre,
    End,
}

/// The part of the picture that one axis of the crop keeps.
pub(crate) struct Span {
    /// Its start and end in the picture, in pixels.
    pub source: [f64; 2],
    /// The number of the crop's pixels that it fills.
    pub len: usize,
    /// The number of the crop's pixels before it.
    pub offset: usize,
}

impl Span {
    /// `crop` pixels of `side` pixels resized to `resized`.
    fn new(side: usize, resized: usize, crop: usize, place: Place) -> Self {
        let len = crop.min(resized);
        let margin = resized - len;
        let start = match place {
            Place::Start => 0,
            Place::Centre => (margin as f64 / 2.0).round_ties_even() as usize,
            Place::End => margin,
        };
        // Products first: they are integers, so that the picture's edge is exact.
        let source = [start, start + len].map(|at| (at as f64 * side as f64) / resized as f64);
        Self { source, len, offset: (crop - len) / 2 }
    }

    /// The first of the picture's pixels within reach of the bilinear kernels, and the one after the last.
    fn support(&self, side: u32) -> [u32; 2] {
        let [start, end] = self.source;
        let scale = (end - start) / self.len as f64;
        // Measured from the centre of the outermost kernel. A kernel is two pixels wide, of the larger of the two sizes.
        let reach = scale.max(1.0) - scale / 2.0;
        [(start - reach).floor().max(0.0) as u32, ((end + reach).ceil() as u32).min(side)]
    }
}

/// Resizes `samples` of `picture` to `y.len × x.len` pixels.
///
/// Columns first and then rows, each rounded to 8 bits, as in Pillow: the other order differs by one step in every fifth
/// sample.
///
/// Generic over the pixel type: a runtime value would compile the resizer for all of its dozen pixel types, which would be
/// most of this crate's build time.
fn resize<P: PixelTrait>(picture: &Picture, samples: &[u8], y: &Span, x: &Span) -> Vec<u8> {
    let kind = P::pixel_type();
    let [top, bottom] = y.support(picture.height());
    let rows = bottom - top;
    let mut narrow = Image::new(x.len as u32, rows, kind);
    let mut resized = Image::new(x.len as u32, y.len as u32, kind);
    let bilinear = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Bilinear));
    let columns = bilinear.crop(x.source[0], f64::from(top), x.source[1] - x.source[0], f64::from(rows));
    let lines = bilinear.crop(0.0, y.source[0] - f64::from(top), x.len as f64, y.source[1] - y.source[0]);
    let mut resizer = Resizer::new();
    let source = ImageRef::new(picture.width(), picture.height(), samples, kind).expect("the picture's samples");
    let mut step = |source: Option<TypedImageRef<'_, P>>, to: Option<TypedImage<'_, P>>, options| {
        let (source, mut to) = source.zip(to).expect("images of the kind");
        resizer.resize_typed(&source, &mut to, options).expect("a span within the picture");
    };
    step(source.typed_image(), narrow.typed_image_mut(), &columns);
    step(narrow.typed_image(), resized.typed_image_mut(), &lines);
    resized.into_vec()
}
