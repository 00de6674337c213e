//! Decoded, upright pictures with three bytes per pixel.

use std::fmt;

use super::error::PictureError;

/// A decoded picture: rows from top to bottom, three bytes per pixel (red, green, blue).
///
/// All formats are converted to this form. Orientation is applied, from EXIF, XMP, TIFF tags, and ImageMagick's text in PNG.
/// Grey and palette pictures become colour; transparent pixels are laid over white; 16-bit samples are rounded to the nearest
/// 8-bit value (Pillow truncates instead, so it can be one step darker); TIFF's float samples are taken as 0…1 and clamped;
/// CMYK and YCCK become `(255 − ink) · (255 − black) / 255`, and four-channel JPEGs are taken as inverted, as Adobe and later
/// programs write them; of an animation, the first frame is used. Colour profiles and gamma are not applied, as in Pillow
/// and so in every network trained with it.
///
/// Supported formats are BMP, GIF, JPEG, PNG, PNM, TIFF and WebP, detected from their first bytes rather than the file's
/// name. JPEG: all kinds of 8 bits per sample except lossless and hierarchical ones. TIFF and BigTIFF: the first picture, in
/// strips, tiles or planes, with unsigned, signed, float or palette samples, uncompressed or compressed by LZW, Deflate,
/// PackBits, fax or JPEG. Errors name unsupported formats and kinds.
///
/// A header of a few bytes can claim any number of pixels. The limit is [`Picture::MAX_PIXELS`] and, above
/// [`Picture::SMALL`], the most that the format can pack into a file of that length. Per byte, that is 512 pixels of a JPEG,
/// 8256 bits of a PNG's data, 2560 pixels of a GIF, 20,480 bits of a TIFF's data, 128 pixels of a BMP and 8 of a PNM. WebP
/// packs a picture of one colour, however large, into 40 bytes, and other drawings at 400 pixels per byte: its limit is 1024.
#[derive(Clone, PartialEq, Eq)]
pub struct Picture {
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) rgb: Vec<u8>,
    pub(super) damage: Option<Damage>,
}

/// The extent of damage to a picture's data. The damaged pixels are missing or guessed.
///
/// An estimate: a format without checksums reveals only some damage, and often only after the damaged place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Damage {
    lost: u64,
    of: u64,
}

impl Damage {
    /// `None` where nothing is lost.
    pub(super) fn of(lost: u64, of: u64) -> Option<Self> {
        (lost > 0).then_some(Self { lost, of })
    }

    /// The damaged share, from 0 to 1.
    pub fn share(&self) -> f64 {
        self.lost as f64 / self.of.max(self.lost) as f64
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (100.0 * self.share()).round() {
            ..1.0 => f.write_str("less than 1 % of the picture's data is damaged"),
            percent => write!(f, "about {percent} % of the picture's data is damaged"),
        }
    }
}

impl fmt::Debug for Picture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Picture({}×{})", self.width, self.height)
    }
}

impl Picture {
    /// The longest supported side in pixels, which is JPEG's limit.
    pub const MAX_SIDE: u32 = 65_535;
    /// The largest supported number of pixels: a quarter in WebAssembly, whose memory ends at 4 GB. A decoded picture takes three
    /// bytes per pixel; decoding can take four times that.
    pub const MAX_PIXELS: u64 = if cfg!(target_arch = "wasm32") { 1 << 26 } else { 1 << 28 };
    /// The number of pixels that are decoded regardless of the file's length.
    pub const SMALL: u64 = 1 << 24;
    /// The limit of a file's length and of a decoder's allocations, in bytes: a picture of the most pixels.
    pub const MAX_BYTES: u64 = 3 * Self::MAX_PIXELS;

    /// Creates a picture from its pixels: `rgb` holds red, green and blue of each, row by row from the top.
    ///
    /// # Errors
    ///
    /// [`PictureError`] if there are no pixels, too many, or the number of bytes does not match.
    pub fn from_rgb8(width: u32, height: u32, rgb: Vec<u8>) -> Result<Self, PictureError> {
        Self::check_samples(width, height, 3, rgb.len())?;
        Ok(Self { width, height, rgb, damage: None })
    }

    /// Creates a picture from pixels with an opacity (0…255, not premultiplied) after the colours of each; laid over white.
    ///
    /// # Errors
    ///
    /// As [`Picture::from_rgb8`].
    pub fn from_rgba8(width: u32, height: u32, rgba: Vec<u8>) -> Result<Self, PictureError> {
        Self::check_samples(width, height, 4, rgba.len())?;
        Ok(Self { width, height, rgb: flatten_rgba(rgba), damage: None })
    }

    /// The number of columns.
    pub fn width(&self) -> u32 {
        self.width
    }

    /// The number of rows.
    pub fn height(&self) -> u32 {
        self.height
    }

    /// Red, green and blue of each pixel, row by row from the top: `height × width × 3` bytes.
    pub fn rgb(&self) -> &[u8] {
        &self.rgb
    }

    /// The extent of damage to the file's data, where the picture was decoded in spite of it.
    pub fn damage(&self) -> Option<Damage> {
        self.damage
    }

    /// The grey of each pixel, in the integer arithmetic of Pillow's `convert("L")`.
    pub(super) fn grey(&self) -> Vec<u8> {
        let (pixels, _) = self.rgb.as_chunks::<3>();
        let grey = |&[r, g, b]: &[u8; 3]| {
            let [r, g, b] = [r, g, b].map(u32::from);
            ((19_595 * r + 38_470 * g + 7_471 * b + (1 << 15)) >> 16) as u8
        };
        pixels.iter().map(grey).collect()
    }

    pub(super) fn check_size(width: u32, height: u32) -> Result<(), PictureError> {
        if width == 0 || height == 0 {
            return Err(PictureError::NoPixels { width, height });
        }
        if width.max(height) > Self::MAX_SIDE || u64::from(width) * u64::from(height) > Self::MAX_PIXELS {
            return Err(PictureError::TooLarge { width, height });
        }
        Ok(())
    }

    pub(super) fn check_samples(width: u32, height: u32, channels: u64, found: usize) -> Result<(), PictureError> {
        Self::check_size(width, height)?;
        let expected = u64::from(width) * u64::from(height) * channels;
        if expected != found as u64 {
            return Err(PictureError::Samples { width, height, expected, found });
        }
        Ok(())
    }
}

/// Red, green and blue over white, in place.
pub(super) fn flatten_rgba(mut rgba: Vec<u8>) -> Vec<u8> {
    let pixels = rgba.len() / 4;
    for i in 0..pixels {
        let [r, g, b, opacity] = std::array::from_fn(|c| rgba[4 * i + c]);
        rgba[3 * i..3 * i + 3].copy_from_slice(&over_white([r, g, b], opacity));
    }
    rgba.truncate(3 * pixels);
    rgba.shrink_to_fit();
    rgba
}

/// `colour · opacity + white · (1 − opacity)`, rounded to nearest.
pub(super) fn over_white(colour: [u8; 3], opacity: u8) -> [u8; 3] {
    let opacity = u32::from(opacity);
    colour.map(|value| ((u32::from(value) * opacity + 255 * (255 - opacity) + 127) / 255) as u8)
}
