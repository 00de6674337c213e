//! Errors of reading pictures.

#[cfg(not(target_arch = "wasm32"))]
use std::{io, path::PathBuf};

use super::pixels::Picture;

/// The reason why a [`Picture`] cannot be read or made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PictureError {
    /// The file cannot be opened or read.
    #[cfg(not(target_arch = "wasm32"))]
    #[error("cannot read a picture from {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The file is empty.
    #[error("expected a picture, found an empty file: copy or download it again")]
    Empty,
    /// The first bytes match no supported format.
    #[error(
        "expected a BMP, GIF, JPEG, PNG, PNM, TIFF or WebP picture, found bytes that begin `{found}`: convert it to one \
         of these"
    )]
    NotAPicture {
        /// The first bytes, escaped where they are not printable ASCII.
        found: String,
    },
    /// A format that is not supported.
    #[error(
        "expected a BMP, GIF, JPEG, PNG, PNM, TIFF or WebP picture, found {format}, which is not supported: convert it to \
         PNG or JPEG"
    )]
    OtherFormat {
        /// The format.
        format: &'static str,
    },
    /// An unsupported kind of a supported format.
    #[error("this kind of {format} picture is not supported ({reason}): convert it to PNG or JPEG")]
    Unsupported {
        /// The format.
        format: &'static str,
        /// The unsupported property.
        reason: String,
    },
    /// The file ends before its last pixel.
    #[error("the {format} picture is cut off before its end: copy or download it again")]
    Truncated {
        /// The format.
        format: &'static str,
    },
    /// The bytes violate the format.
    #[error("the {format} picture is damaged ({reason}): copy or download it again")]
    Damaged {
        /// The format.
        format: &'static str,
        /// The expected or the actual content.
        reason: String,
    },
    /// The decoder panicked instead of returning an error.
    #[error(
        "the decoder of the {format} picture failed ({reason}): please report it, and convert the picture to PNG or JPEG"
    )]
    Decoder {
        /// The format.
        format: &'static str,
        /// The decoder's message.
        reason: String,
    },
    /// More pixels, or a longer side, than the limit.
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
        /// The length of the file.
        bytes: usize,
        /// The most pixels that are decoded from a file of this length.
        most: u64,
        /// Columns.
        width: u32,
        /// Rows.
        height: u32,
    },
    /// Decoding would exceed the memory limit.
    #[error(
        "expected a {format} picture that needs at most {} MiB to decode, found more: make it smaller, or convert it to 8 \
         bits per sample",
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
    /// The number of bytes does not match the number of pixels.
    #[error("expected {expected} bytes for {width}×{height} pixels, found {found}: pass every channel of every pixel")]
    Samples {
        /// Columns.
        width: u32,
        /// Rows.
        height: u32,
        /// The number of bytes for these pixels.
        expected: u64,
        /// The number of bytes given.
        found: usize,
    },
}
