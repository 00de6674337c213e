//! Detection of formats, their limits, and the formats that the `image` and `gif` crates decode.

use std::{
    error::Error,
    io::{self, Cursor},
};

use image::{DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader, metadata::Orientation};

use super::{
    error::PictureError,
    gif, jpeg, orientation,
    pixels::{Damage, Picture, flatten_rgba},
    tiff,
};

/// The supported formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Bmp,
    Gif,
    Jpeg,
    Png,
    Pnm,
    Tiff,
    WebP,
}

/// A picture as stored: rows of red, green and blue, before its orientation is applied.
pub(super) struct Decoded {
    pub width: u32,
    pub height: u32,
    pub rgb: Vec<u8>,
    pub orientation: Orientation,
    pub damage: Option<Damage>,
}

/// The number of bytes that identify any format.
pub(super) const HEAD: usize = 16;

impl Kind {
    /// Detects the format from the first bytes.
    pub fn recognise(bytes: &[u8]) -> Result<Self, PictureError> {
        if bytes.is_empty() {
            return Err(PictureError::Empty);
        }
        match bytes {
            [b'B', b'M', ..] => return Ok(Self::Bmp),
            [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => return Ok(Self::Gif),
            [0xFF, 0xD8, 0xFF, ..] => return Ok(Self::Jpeg),
            [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1A, b'\n', ..] => return Ok(Self::Png),
            [b'P', b'1'..=b'7', ..] => return Ok(Self::Pnm),
            [b'I', b'I', 42 | 43, 0, ..] | [b'M', b'M', 0, 42 | 43, ..] => return Ok(Self::Tiff),
            [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => return Ok(Self::WebP),
            _ => {}
        }
        let other = match bytes {
            [_, _, _, _, b'f', b't', b'y', b'p', brand @ ..] => match brand {
                [b'a', b'v', b'i', b'f' | b's', ..] => Some("AVIF"),
                [b'h', b'e', ..] | [b'm', b'i', b'f', b'1', ..] | [b'm', b's', b'f', b'1', ..] => Some("HEIC"),
                _ => None,
            },
            [0xFF, 0x0A, ..] | [0, 0, 0, 12, b'J', b'X', b'L', b' ', ..] => Some("JPEG XL"),
            [0, 0, 0, 12, b'j', b'P', b' ', b' ', ..] | [0xFF, 0x4F, 0xFF, 0x51, ..] => Some("JPEG 2000"),
            [b'8', b'B', b'P', b'S', ..] => Some("Photoshop"),
            [b'%', b'P', b'D', b'F', ..] => Some("PDF"),
            [b'<', b's', b'v', b'g', ..] | [b'<', b'?', b'x', b'm', b'l', ..] => Some("SVG"),
            [b'q', b'o', b'i', b'f', ..] => Some("QOI"),
            [0x76, 0x2F, 0x31, 0x01, ..] => Some("OpenEXR"),
            [0, 0, 1, 0, ..] => Some("icon (ICO)"),
            [b'D', b'D', b'S', b' ', ..] => Some("DDS"),
            [b'I', b'I', 0xBC, 1, ..] => Some("JPEG XR"),
            _ => None,
        };
        Err(match other {
            Some(format) => PictureError::OtherFormat { format },
            None => PictureError::NotAPicture { found: bytes[..bytes.len().min(HEAD)].escape_ascii().to_string() },
        })
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Bmp => "BMP",
            Self::Gif => "GIF",
            Self::Jpeg => "JPEG",
            Self::Png => "PNG",
            Self::Pnm => "PNM",
            Self::Tiff => "TIFF",
            Self::WebP => "WebP",
        }
    }

    /// Decodes a file of this format.
    pub fn decode(self, bytes: &[u8]) -> Result<Decoded, PictureError> {
        match self {
            Self::Jpeg => jpeg::read(bytes, self),
            Self::Tiff => tiff::read(bytes),
            Self::Gif => gif::read(bytes),
            Self::Png => self.decode_with(ImageFormat::Png, bytes, orientation::of_png(bytes)),
            Self::WebP => {
                // The missing bytes may hold the orientation, which follows the pixels. RIFF's length excludes itself and the
                // bytes before it.
                let length =
                    bytes.get(4..8).and_then(|bytes| bytes.first_chunk()).map(|&bytes| u32::from_le_bytes(bytes));
                if length.is_none_or(|length| u64::from(length) + 8 > bytes.len() as u64) {
                    return Err(PictureError::Truncated { format: self.name() });
                }
                self.decode_with(ImageFormat::WebP, bytes, orientation::of_webp(bytes))
            }
            Self::Bmp => self.decode_with(ImageFormat::Bmp, bytes, Orientation::NoTransforms),
            Self::Pnm => self.decode_with(ImageFormat::Pnm, bytes, Orientation::NoTransforms),
        }
    }

    /// Checks that a picture of this size is accepted; `bits` is the size of a decoded pixel.
    pub fn check_size(self, bytes: &[u8], width: u32, height: u32, bits: u64) -> Result<(), PictureError> {
        Picture::check_size(width, height)?;
        let most = self.most_pixels(bytes, bits);
        if u64::from(width) * u64::from(height) > most {
            return Err(PictureError::TooDense { format: self.name(), bytes: bytes.len(), most, width, height });
        }
        Ok(())
    }

    /// The most pixels that are decoded from these bytes: above [`Picture::SMALL`], the most that the format can pack.
    fn most_pixels(self, bytes: &[u8], bits: u64) -> u64 {
        let a_byte = match self {
            // Runs of at most 255 pixels in two bytes.
            Self::Bmp => 128,
            // A code of 12 bits stands for at most the longest string in a table of 4096: 1350 were measured.
            Self::Gif => 2560,
            // Progressive, one bit per block of 64; 170 were measured.
            Self::Jpeg => 512,
            // Deflate packs 1032 to 1; 4055 pixels of one bit were measured.
            Self::Png => 8 * 1032 / u64::from(png_bits(bytes).unwrap_or(1)),
            Self::Pnm => 8,
            // LZW as in GIF, per byte; a fax's empty page of 16,383² has one byte per 17,018 pixels.
            Self::Tiff => 8 * 2560 / bits.max(1),
            Self::WebP => 1024,
        };
        Picture::SMALL.max(a_byte * bytes.len() as u64)
    }

    fn decode_with(self, format: ImageFormat, bytes: &[u8], orientation: Orientation) -> Result<Decoded, PictureError> {
        let failed = |e| self.failure(e);
        let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
        let mut limits = image::Limits::no_limits();
        limits.max_alloc = Some(Picture::MAX_BYTES);
        reader.limits(limits);

        let decoder = reader.into_decoder().map_err(failed)?;
        let (width, height) = decoder.dimensions();
        self.check_size(bytes, width, height, u64::from(decoder.original_color_type().bits_per_pixel()))?;
        if decoder.total_bytes() > Picture::MAX_BYTES {
            return Err(PictureError::Memory { format: self.name() });
        }
        let image = DynamicImage::from_decoder(decoder).map_err(failed)?;
        Ok(Decoded { width, height, rgb: flatten(image), orientation, damage: None })
    }

    fn failure(self, error: ImageError) -> PictureError {
        let format = self.name();
        match error {
            ImageError::Limits(_) => PictureError::Memory { format },
            ImageError::Unsupported(e) => PictureError::Unsupported { format, reason: e.to_string() },
            e if needed_more_bytes(&e) => PictureError::Truncated { format },
            e => PictureError::Damaged { format, reason: e.to_string() },
        }
    }
}

/// The bits per pixel of a PNG, from its header: the decoder reports only those of the decoded pixels.
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

/// Whether an error's root cause is an unexpected end of input.
fn needed_more_bytes(error: &ImageError) -> bool {
    let mut next: Option<&(dyn Error + 'static)> = match error {
        // `ImageError` omits its own `io::Error` from its sources.
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

fn flatten(image: DynamicImage) -> Vec<u8> {
    if image.color().has_alpha() { flatten_rgba(image.into_rgba8().into_raw()) } else { image.into_rgb8().into_raw() }
}
