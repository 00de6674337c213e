//! JPEG, to the bit as libjpeg-turbo decodes it, and so as Pillow does and every network has seen it.
//!
//! This is a decoder of its own because none of those in Rust reads all that the format allows (2026-11). zune-jpeg 0.5 shows
//! stripes where scans hold some of the components, and refuses components sampled three times. jpeg-decoder 0.3
//! upsamples otherwise, by up to five steps, and has no arithmetic coding. libjpeg-turbo-rs 0.9 is right to the bit in what it
//! reads, and declines scans of some components, and colours that are sampled more finely than luma. None says how much of
//! damaged data it could not read.

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

/// Decodes a file, or one that lies in a file of some other kind.
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

/// Why a picture of some kind that holds a JPEG cannot be read.
pub(super) fn failure(trouble: Trouble, kind: Kind) -> PictureError {
    let format = kind.name();
    match trouble {
        Trouble::Cut => PictureError::Truncated { format },
        Trouble::Damaged(reason) => PictureError::Damaged { format, reason: reason.into() },
        Trouble::Unsupported(reason) => PictureError::Unsupported { format, reason },
    }
}
