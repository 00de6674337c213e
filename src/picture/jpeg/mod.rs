//! JPEG decoding, bit-exact with libjpeg-turbo and so with Pillow, whose pictures networks are trained on.
//!
//! A decoder of its own, because none of those in Rust reads everything that the format allows (2026-11). zune-jpeg 0.5 shows
//! stripes where scans contain only some components, and refuses components sampled three times. jpeg-decoder 0.3 upsamples
//! differently, by up to five steps, and has no arithmetic coding. libjpeg-turbo-rs 0.9 is bit-exact in everything that it
//! reads, and refuses scans of some components, and chroma sampled more finely than luma. None reports how much of damaged
//! data it could not read.

mod arithmetic;
mod frame;
mod huffman;
mod planes;
mod scan;

pub(super) use frame::{Header, Tables, Trouble, decode};

use super::{
    error::PictureError,
    formats::{Decoded as Image, Kind},
    orientation,
    pixels::Damage,
};

/// Decodes a JPEG file, or a JPEG inside a file of another kind.
pub(super) fn read(bytes: &[u8], kind: Kind) -> Result<Image, PictureError> {
    let failed = |trouble| failure(trouble, kind);
    let header = Header::read(bytes, Tables::default()).map_err(failed)?;
    let (width, height) = (header.frame.width as u32, header.frame.height as u32);
    Kind::Jpeg.check_size(bytes, width, height, 8)?;
    let colours = header.frame.colours(&header.tables);
    let orientation = orientation::of(&header.tables.exif, &header.tables.xmp);
    let decoded = decode(bytes, header).map_err(failed)?;
    Ok(Image {
        width,
        height,
        rgb: decoded.rgb(colours),
        orientation,
        damage: Damage::of(decoded.count.lost, decoded.count.blocks),
    })
}

/// The error for a picture of some kind that contains an unreadable JPEG.
pub(super) fn failure(trouble: Trouble, kind: Kind) -> PictureError {
    let format = kind.name();
    match trouble {
        Trouble::Cut => PictureError::Truncated { format },
        Trouble::Damaged(reason) => PictureError::Damaged { format, reason: reason.into() },
        Trouble::Unsupported(reason) => PictureError::Unsupported { format, reason },
    }
}
