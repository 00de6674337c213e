//! Conversion of a TIFF's samples to colours.

use super::{
    damaged,
    directory::{Directory, tag},
    unsupported,
};
use crate::picture::{error::PictureError, pixels::over_white};

/// The colour space of a pixel's samples.
pub(super) enum Colours {
    Grey {
        inverted: bool,
    },
    Rgb,
    Palette(Vec<[u8; 3]>),
    Cmyk,
    /// The weights of red, green and blue in luma, and the black and white levels of luma and both chroma samples.
    Ycc {
        weights: [f64; 3],
        ranges: [f64; 6],
    },
    /// The same, already converted to red, green and blue by JPEG's decoder.
    JpegYcc,
}

/// The meaning of the sample after the colours.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Alpha {
    None,
    /// Opacity, with the colours premultiplied.
    Associated,
    /// Opacity, with the colours not premultiplied.
    Straight,
}

impl Colours {
    pub fn read(directory: &Directory, interpretation: u64, bits: usize, samples: usize) -> Result<Self, PictureError> {
        let float = directory.number(tag::SAMPLE_FORMAT) == Some(3);
        Ok(match interpretation {
            // Floats have no maximum to invert at.
            0 => Self::Grey { inverted: !float },
            1 => Self::Grey { inverted: false },
            2 => Self::Rgb,
            3 => Self::palette(directory, bits)?,
            5 => Self::Cmyk,
            6 if samples < 3 => Self::Grey { inverted: false },
            6 => {
                let weights = directory.fractions(tag::YCC_WEIGHTS);
                let weights = weights.try_into().ok().filter(|weights: &[f64; 3]| weights[1] > 0.0);
                let ranges = directory.fractions(tag::YCC_RANGES).try_into().ok();
                Self::Ycc {
                    weights: weights.unwrap_or([0.299, 0.587, 0.114]),
                    ranges: ranges.unwrap_or([0.0, 255.0, 128.0, 255.0, 128.0, 255.0]),
                }
            }
            4 => return Err(unsupported("a mask of transparency")),
            8..=10 => return Err(unsupported("L*a*b* colours")),
            32_803 | 34_892 => return Err(unsupported("a camera's raw samples")),
            32_844 | 32_845 => return Err(unsupported("logarithms of luminance")),
            other => return Err(unsupported(format!("photometric interpretation {other}"))),
        })
    }

    /// All reds, then all greens and all blues, of 16 bits each.
    fn palette(directory: &Directory, bits: usize) -> Result<Self, PictureError> {
        if bits > 8 {
            return Err(unsupported(format!("a palette of {bits} bits")));
        }
        let numbers: Vec<u64> = directory.numbers(tag::COLOURS).collect();
        let count = 1 << bits;
        let (Some(red), Some(green), Some(blue)) =
            (numbers.get(..count), numbers.get(count..2 * count), numbers.get(2 * count..3 * count))
        else {
            return Err(damaged("a palette of too few colours"));
        };
        // Some programs write eight bits; like libtiff, this tells from all entries.
        let shift = if numbers.iter().all(|&number| number < 256) { 0 } else { 8 };
        let colour = |((&r, &g), &b)| [r, g, b].map(|number: u64| (number >> shift) as u8);
        Ok(Self::Palette(red.iter().zip(green).zip(blue).map(colour).collect()))
    }

    /// The number of samples per pixel.
    pub fn count(&self) -> usize {
        match self {
            Self::Grey { .. } | Self::Palette(_) => 1,
            Self::Rgb | Self::Ycc { .. } | Self::JpegYcc => 3,
            Self::Cmyk => 4,
        }
    }

    fn colour(&self, sample: impl Fn(usize) -> u8) -> [u8; 3] {
        match self {
            Self::Grey { inverted: false } => [sample(0); 3],
            Self::Grey { inverted: true } => [255 - sample(0); 3],
            Self::Rgb | Self::JpegYcc => [0, 1, 2].map(sample),
            Self::Palette(colours) => colours.get(usize::from(sample(0))).copied().unwrap_or_default(),
            Self::Cmyk => {
                let paper = 255 - u16::from(sample(3));
                [0, 1, 2].map(|ink| (((255 - u16::from(sample(ink))) * paper + 127) / 255) as u8)
            }
            Self::Ycc { weights: [red, green, blue], ranges } => {
                let code = |at: usize, scale: f64| {
                    let [low, high] = [ranges[2 * at], ranges[2 * at + 1]];
                    (f64::from(sample(at)) - low) * scale / if high == low { 1.0 } else { high - low }
                };
                let [y, cb, cr] = [code(0, 255.0), code(1, 127.0), code(2, 127.0)];
                let [r, b] = [y + cr * (2.0 - 2.0 * red), y + cb * (2.0 - 2.0 * blue)];
                let g = (y - red * r - blue * b) / green;
                [r, g, b].map(|value| value.round() as u8)
            }
        }
    }

    /// Red, green and blue over white, from one plane per sample.
    pub fn rgb(&self, planes: &[Vec<u8>], alpha: Alpha) -> Vec<u8> {
        let pixels = planes.first().map_or(0, Vec::len);
        let over = |pixel: usize| {
            let colour = self.colour(|sample| planes[sample][pixel]);
            let opacity = || planes[self.count()][pixel];
            match alpha {
                Alpha::None => colour,
                Alpha::Straight => over_white(colour, opacity()),
                Alpha::Associated => {
                    // Unpremultiplied and multiplied again with Pillow's rounding.
                    let opacity = u16::from(opacity());
                    let divided = colour.map(|value| (255 * u16::from(value) / opacity.max(1)).min(255) as u8);
                    over_white(divided, opacity as u8)
                }
            }
        };
        (0..pixels).flat_map(over).collect()
    }
}

/// Luma and both chroma samples of each pixel, from units in which `h × v` pixels share the chroma samples.
pub(super) fn spread(units: &[u8], [h, v]: [usize; 2], width: usize, rows: usize) -> Vec<u8> {
    let size = h * v + 2;
    let line = width.div_ceil(h) * size;
    let mut spread = Vec::with_capacity(3 * width * rows);
    for y in 0..rows {
        for x in 0..width {
            let unit = &units[y / v * line + x / h * size..][..size];
            spread.extend([unit[y % v * h + x % h], unit[h * v], unit[h * v + 1]]);
        }
    }
    spread
}
