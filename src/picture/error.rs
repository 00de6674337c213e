//! Why there is no picture.

#[cfg(not(target_arch = "wasm32"))]
use std::{io, path::PathBuf};

use super::pixels::Picture;

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
    /// Another format.
    #[error(
        "expected a BMP, GIF, JPEG, PNG, PNM, TIFF or WebP picture, found {format}, which is not read: convert it to PNG or JPEG"
    )]
    OtherFormat {
        /// The format.
        format: &'static str,
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
    /// The decoder failed at what it should have refused.
    #[error("the {format} picture makes its decoder fail ({reason}): report it, and convert it to PNG or JPEG")]
    Decoder {
        /// The format.
        format: &'static str,
        /// What the decoder said.
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
