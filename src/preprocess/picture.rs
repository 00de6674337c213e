//! Pictures: decoded, upright, three bytes a pixel.

use std::{
    error::Error,
    fmt,
    io::{self, Cursor},
};
#[cfg(not(target_arch = "wasm32"))]
use std::{
    fs::File,
    io::Read,
    path::{Path, PathBuf},
};

use image::{DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader, RgbImage, metadata::Orientation};

use super::{jpeg, tiff};

/// A decoded picture: rows from top to bottom, three bytes (red, green, blue) a pixel.
///
/// Whatever the file holds comes to the same: EXIF's and TIFF's orientation is applied; grey and palette
/// become colours; what is transparent lies over white; 16-bit samples are rounded to the nearest of 8 bits
/// (Pillow cuts the low byte off instead, so it can be one step darker); TIFF's float samples are taken for
/// 0…1 and clamped; CMYK and YCCK become `(255 − ink) · (255 − black) / 255`, and four-channel JPEGs are taken
/// as inverted, as Adobe and everyone since writes them; of an animation the first frame counts. Colour
/// profiles are not applied, as in Pillow and so in everything that was trained with it.
///
/// Read are BMP, GIF, JPEG, PNG, PNM, TIFF and WebP, told apart by their first bytes, not by the file's name.
///
/// A header of a few bytes can claim any number of pixels. What is decoded is at most [`Picture::MAX_PIXELS`], and beyond
/// [`Picture::SMALL`] no more than the format can pack into a file of that length: for each byte 512 pixels of a JPEG,
/// 8256 bits' worth of a PNG, 2560 pixels of a GIF, 20,480 bits' worth of a TIFF, 128 pixels of a BMP and 8 of a PNM. WebP
/// packs a picture of one colour, however large, into 40 bytes, and other drawings 400 pixels to a byte: there it is 1024.
#[derive(Clone, PartialEq, Eq)]
pub struct Picture {
    width: u32,
    height: u32,
    rgb: Vec<u8>,
}

impl fmt::Debug for Picture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Picture({}×{})", self.width, self.height)
    }
}

impl Picture {
    /// The longest side that is accepted, in pixels: JPEG's.
    pub const MAX_SIDE: u32 = 65_535;
    /// The most pixels that are accepted. A decoded picture takes three bytes for each; while it is decoded, it
    /// can take four times that.
    pub const MAX_PIXELS: u64 = 1 << 28;
    /// How many pixels are decoded whatever the length of the file.
    pub const SMALL: u64 = 1 << 24;
    /// What a decoder may allocate, and the longest file that is read: a picture of the most pixels.
    const MAX_BYTES: u64 = 3 * Self::MAX_PIXELS;

    /// Reads and decodes a picture file.
    ///
    /// # Errors
    ///
    /// [`PictureError`] says what is wrong with the file.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn open(path: impl AsRef<Path>) -> Result<Self, PictureError> {
        let path = path.as_ref();
        let read = |source| PictureError::Read { path: path.into(), source };
        let file = File::open(path).map_err(read)?;
        // An endless file (a device, a pipe) is refused by its first bytes, or where it passes the limit.
        let mut bytes = Vec::new();
        (&file).take(HEAD as u64).read_to_end(&mut bytes).map_err(read)?;
        let format = recognise(&bytes)?;
        let rest = (&file).take(Self::MAX_BYTES).read_to_end(&mut bytes).map_err(read)?;
        if rest as u64 == Self::MAX_BYTES {
            return Err(PictureError::Memory { format: name(format) });
        }
        Self::decode(&bytes)
    }

    /// Decodes the bytes of a picture file.
    ///
    /// A JPEG without its end marker is refused as cut off. One that is whole but damaged inside decodes as far
    /// as it can, as in browsers and in Pillow: the format has no checksum.
    ///
    /// # Errors
    ///
    /// [`PictureError`] says what is wrong with the bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, PictureError> {
        let format = recognise(bytes)?;
        if is_cut_off(bytes, format) {
            return Err(PictureError::Truncated { format: name(format) });
        }
        let (image, orientation) = match format {
            ImageFormat::Jpeg => jpeg::decode(bytes).map_or_else(|| decode(bytes, format), Ok)?,
            ImageFormat::Tiff => match tiff::Indexed::read(bytes)? {
                Some(indexed) => indexed.decode()?,
                None => decode(bytes, format)?,
            },
            _ => decode(bytes, format)?,
        };
        let mut upright = DynamicImage::ImageRgb8(flatten(image));
        upright.apply_orientation(orientation);
        let (width, height) = (upright.width(), upright.height());
        Self::check_size(width, height)?;
        Ok(Self { width, height, rgb: upright.into_rgb8().into_raw() })
    }

    /// A picture from its pixels: `rgb` holds red, green and blue of each, row by row from the top.
    ///
    /// # Errors
    ///
    /// [`PictureError`] for no pixels, too many, or a wrong number of bytes.
    pub fn from_rgb8(width: u32, height: u32, rgb: Vec<u8>) -> Result<Self, PictureError> {
        Self::check_samples(width, height, 3, rgb.len())?;
        Ok(Self { width, height, rgb })
    }

    /// The same with an opacity (0…255, not premultiplied) after each pixel's colours; laid over white.
    ///
    /// # Errors
    ///
    /// As [`Picture::from_rgb8`].
    pub fn from_rgba8(width: u32, height: u32, rgba: Vec<u8>) -> Result<Self, PictureError> {
        Self::check_samples(width, height, 4, rgba.len())?;
        Ok(Self { width, height, rgb: over_white(rgba) })
    }

    /// Columns.
    pub fn width(&self) -> u32 {
        self.width
    }

    /// Rows.
    pub fn height(&self) -> u32 {
        self.height
    }

    /// Red, green and blue of each pixel, row by row from the top: `height × width × 3` bytes.
    pub fn rgb(&self) -> &[u8] {
        &self.rgb
    }

    /// The grey of each pixel, in the whole numbers of Pillow's `convert("L")`.
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

    fn check_samples(width: u32, height: u32, channels: u64, found: usize) -> Result<(), PictureError> {
        Self::check_size(width, height)?;
        let expected = u64::from(width) * u64::from(height) * channels;
        if expected != found as u64 {
            return Err(PictureError::Samples { width, height, expected, found });
        }
        Ok(())
    }
}

/// Why there is no [`Picture`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PictureError {
    /// The file cannot be opened or read.
    #[cfg(not(target_arch = "wasm32"))]
    #[error("cannot read a picture from {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// There are no bytes.
    #[error("expected a picture, found an empty file: copy or download it again")]
    Empty,
    /// The bytes begin like no format that is read.
    #[error(
        "expected a BMP, GIF, JPEG, PNG, PNM, TIFF or WebP picture, found bytes that begin `{found}`: convert it to one of these"
    )]
    NotAPicture {
        /// The first bytes, escaped where they are not printable ASCII.
        found: String,
    },
    /// A rare kind of a known format.
    #[error("this kind of {format} picture is not read ({reason}): convert it to PNG or JPEG")]
    Unsupported {
        /// The format.
        format: &'static str,
        /// What is not read.
        reason: String,
    },
    /// The file ends before its last pixel.
    #[error("the {format} picture is cut off before its end: copy or download it again")]
    Truncated {
        /// The format.
        format: &'static str,
    },
    /// The bytes are not what the format prescribes.
    #[error("the {format} picture is damaged ({reason}): copy or download it again")]
    Damaged {
        /// The format.
        format: &'static str,
        /// What was expected or found.
        reason: String,
    },
    /// More pixels, or longer sides, than are accepted.
    #[error(
        "expected a picture of at most {} pixels with sides of at most {}, found {width}×{height}: make it smaller",
        Picture::MAX_PIXELS,
        Picture::MAX_SIDE
    )]
    TooLarge {
        /// Columns.
        width: u32,
        /// Rows.
        height: u32,
    },
    /// More pixels than the format can pack into a file of this length.
    #[error(
        "expected at most {most} pixels in a {format} picture of {bytes} bytes, found {width}×{height}: copy or download it \
         again, make it smaller, or convert it to PNG"
    )]
    TooDense {
        /// The format.
        format: &'static str,
        /// Length of the file.
        bytes: usize,
        /// How many pixels are decoded of so many bytes.
        most: u64,
        /// Columns.
        width: u32,
        /// Rows.
        height: u32,
    },
    /// Decoding would take too much memory.
    #[error(
        "expected a {format} picture that needs at most {} MiB to decode, found more: make it smaller, or convert it to 8 bits a sample",
        Picture::MAX_BYTES >> 20
    )]
    Memory {
        /// The format.
        format: &'static str,
    },
    /// A side is zero.
    #[error("expected a picture of at least one pixel, found {width}×{height}")]
    NoPixels {
        /// Columns.
        width: u32,
        /// Rows.
        height: u32,
    },
    /// The number of bytes is not that of the pixels.
    #[error("expected {expected} bytes for {width}×{height} pixels, found {found}: give every channel of every pixel")]
    Samples {
        /// Columns.
        width: u32,
        /// Rows.
        height: u32,
        /// Bytes of so many pixels.
        expected: u64,
        /// Bytes given.
        found: usize,
    },
}

/// Bytes that tell every format.
const HEAD: usize = 16;

fn recognise(bytes: &[u8]) -> Result<ImageFormat, PictureError> {
    if bytes.is_empty() {
        return Err(PictureError::Empty);
    }
    match image::guess_format(bytes) {
        Ok(format) if format.reading_enabled() => Ok(format),
        _ => Err(PictureError::NotAPicture { found: bytes[..bytes.len().min(HEAD)].escape_ascii().to_string() }),
    }
}

fn name(format: ImageFormat) -> &'static str {
    match format {
        ImageFormat::Bmp => "BMP",
        ImageFormat::Gif => "GIF",
        ImageFormat::Jpeg => "JPEG",
        ImageFormat::Png => "PNG",
        ImageFormat::Pnm => "PNM",
        ImageFormat::Tiff => "TIFF",
        ImageFormat::WebP => "WebP",
        _ => "unknown",
    }
}

fn failure(format: ImageFormat, error: ImageError) -> PictureError {
    let format = name(format);
    match error {
        ImageError::Limits(_) => PictureError::Memory { format },
        ImageError::Unsupported(e) => PictureError::Unsupported { format, reason: e.to_string() },
        e if needed_more_bytes(&e) => PictureError::Truncated { format },
        e => PictureError::Damaged { format, reason: e.to_string() },
    }
}

/// Whether an end of input lies at the root of an error.
fn needed_more_bytes(error: &ImageError) -> bool {
    let mut next: Option<&(dyn Error + 'static)> = match error {
        // `ImageError` passes over its own `io::Error` when asked for a source.
        ImageError::IoError(e) => Some(e),
        e => e.source(),
    };
    while let Some(error) = next {
        if error.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == io::ErrorKind::UnexpectedEof) {
            return true;
        }
        next = error.source();
    }
    false
}

/// Whether a file ends too early, for the formats whose decoders may not notice.
fn is_cut_off(bytes: &[u8], format: ImageFormat) -> bool {
    match format {
        // Decoders paint grey over what is missing.
        ImageFormat::Jpeg => !jpeg::has_end(bytes),
        // What is missing may be the orientation, which follows the pixels. RIFF counts what comes after the count.
        ImageFormat::WebP => match bytes.get(4..8) {
            Some(&[a, b, c, d]) => u64::from(u32::from_le_bytes([a, b, c, d])) + 8 > bytes.len() as u64,
            _ => true,
        },
        _ => false,
    }
}

/// How many pixels are decoded of a file of these bytes: beyond [`Picture::SMALL`], what the format can pack at best.
/// `bits` are those of a pixel, decoded.
pub(super) fn most_pixels(bytes: &[u8], format: ImageFormat, bits: u16) -> u64 {
    let a_byte = match format {
        // Runs of at most 255 pixels in two bytes.
        ImageFormat::Bmp => 128,
        // A code of 12 bits says as many as the longest string of a table of 4096: measured are 1350.
        ImageFormat::Gif => 2560,
        // Progressive, a bit for a block of 64; measured are 170.
        ImageFormat::Jpeg => 512,
        // Deflate packs 1032 to 1; measured are 4055 pixels of a bit each.
        ImageFormat::Png => 8 * 1032 / u64::from(png_bits(bytes).unwrap_or(1)),
        ImageFormat::Pnm => 8,
        // LZW as GIF's, by bytes; a fax's empty page of 16,383² took a byte for 17,018 pixels.
        ImageFormat::Tiff => 8 * 2560 / u64::from(bits.max(1)),
        _ => 1024,
    };
    Picture::SMALL.max(a_byte * bytes.len() as u64)
}

/// Bits of a pixel in a PNG, from its header: the decoder tells only what it unpacks them to.
fn png_bits(png: &[u8]) -> Option<u16> {
    let &[depth, colour] = png.get(24..)?.first_chunk()?;
    let samples = match colour {
        2 => 3,
        4 => 2,
        6 => 4,
        _ => 1,
    };
    Some(u16::from(depth.max(1)) * samples)
}

/// Any format, by the `image` crate.
pub(super) fn decode(bytes: &[u8], format: ImageFormat) -> Result<(DynamicImage, Orientation), PictureError> {
    let failed = |e| failure(format, e);
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    let mut limits = image::Limits::no_limits();
    limits.max_alloc = Some(Picture::MAX_BYTES);
    reader.limits(limits);

    let mut decoder = reader.into_decoder().map_err(failed)?;
    let (width, height) = decoder.dimensions();
    Picture::check_size(width, height)?;
    let most = most_pixels(bytes, format, decoder.original_color_type().bits_per_pixel());
    if u64::from(width) * u64::from(height) > most {
        return Err(PictureError::TooDense { format: name(format), bytes: bytes.len(), most, width, height });
    }
    if decoder.total_bytes() > Picture::MAX_BYTES {
        return Err(PictureError::Memory { format: name(format) });
    }
    // Damaged metadata is no reason to refuse the pixels.
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let image = DynamicImage::from_decoder(decoder).map_err(failed)?;
    Ok((image, orientation))
}

fn flatten(image: DynamicImage) -> RgbImage {
    if !image.color().has_alpha() {
        return image.into_rgb8();
    }
    let (width, height) = (image.width(), image.height());
    let rgb = over_white(image.into_rgba8().into_raw());
    RgbImage::from_raw(width, height, rgb).unwrap_or_default()
}

/// `colour · opacity + white · (1 − opacity)`, rounded to nearest, in place.
fn over_white(mut rgba: Vec<u8>) -> Vec<u8> {
    let pixels = rgba.len() / 4;
    for i in 0..pixels {
        let opacity = u32::from(rgba[4 * i + 3]);
        for c in 0..3 {
            let colour = u32::from(rgba[4 * i + c]);
            rgba[3 * i + c] = ((colour * opacity + 255 * (255 - opacity) + 127) / 255) as u8;
        }
    }
    rgba.truncate(3 * pixels);
    rgba.shrink_to_fit();
    rgba
}
