//! JPEG: what the `image` crate's decoder does not tell, and does otherwise than libjpeg-turbo.

use image::{DynamicImage, ImageFormat, RgbImage, metadata::Orientation};
use libjpeg_turbo_rs::{DecodeLimits, Decoder, PixelFormat};

use super::picture::{Picture, most_pixels};

/// Whether the markers of a JPEG lead to its end (ITU-T T.81, B.1.1).
pub(super) fn has_end(jpeg: &[u8]) -> bool {
    let mut at = 0;
    loop {
        // Between two markers lie entropy-coded data, where FF is followed by 00 or a restart marker.
        let Some(marker) = jpeg.get(at..).and_then(|rest| rest.iter().position(|&b| b == 0xFF)) else { return false };
        at += marker + 1;
        match jpeg.get(at) {
            None => return false,
            Some(0xD9) => return true,
            // A fill byte: the marker's code is still to come.
            Some(0xFF) => {}
            // Not followed by a segment: stuffing, TEM, restarts, start of image.
            Some(0x00 | 0x01 | 0xD0..=0xD8) => at += 1,
            // A segment, whose length counts itself. It can hold a whole JPEG: EXIF's thumbnail.
            Some(_) => match jpeg.get(at + 1..at + 3) {
                Some(&[high, low]) => at += 1 + usize::from(u16::from_be_bytes([high, low])),
                _ => return false,
            },
        }
    }
}

/// A JPEG to the bit as libjpeg-turbo decodes it, and so as Pillow does and every network has seen it; other
/// decoders round the inverse DCT and the subsampled colours otherwise, by up to ten steps at a picture's edge.
///
/// `None` for what is damaged or out of the ordinary (four channels, twelve bits, luma that is sampled more
/// than twice as finely as chroma, more pixels than so few bytes hold): that is for the `image` crate's decoder,
/// which takes more, or says what is wrong.
pub(super) fn decode(jpeg: &[u8]) -> Option<(DynamicImage, Orientation)> {
    let limits = DecodeLimits {
        max_width: Picture::MAX_SIDE as usize,
        max_height: Picture::MAX_SIDE as usize,
        max_pixels: most_pixels(jpeg, ImageFormat::Jpeg, 8).min(Picture::MAX_PIXELS),
        // Each scan of a hostile progressive JPEG costs the time of a picture.
        max_scans: 100,
        ..DecodeLimits::default()
    };
    let decoder = Decoder::new_with_limits(jpeg, limits).ok()?;

    let frame = decoder.header();
    let ordinary = match frame.components.as_slice() {
        [_] => true,
        [luma, chroma @ ..] if chroma.len() == 2 => {
            (1..=2).contains(&luma.horizontal_sampling)
                && (1..=2).contains(&luma.vertical_sampling)
                && chroma.iter().all(|c| c.horizontal_sampling == 1 && c.vertical_sampling == 1)
        }
        _ => false,
    };
    if !ordinary || frame.precision != 8 || frame.is_lossless {
        return None;
    }
    let orientation = decoder.exif_orientation().and_then(Orientation::from_exif);
    let decoded = decoder.with_output_format(PixelFormat::Rgb).decode_image().ok()?;
    let image = RgbImage::from_raw(decoded.width.try_into().ok()?, decoded.height.try_into().ok()?, decoded.data)?;
    Some((DynamicImage::ImageRgb8(image), orientation.unwrap_or(Orientation::NoTransforms)))
}
