//! Decoding of picture files.

use std::{
    any::Any,
    panic::{self, AssertUnwindSafe},
};
#[cfg(not(target_arch = "wasm32"))]
use std::{fs::File, io::Read, path::Path};

use image::{DynamicImage, RgbImage};

#[cfg(not(target_arch = "wasm32"))]
use super::formats::HEAD;
use super::{error::PictureError, formats::Kind, pixels::Picture};

impl Picture {
    /// Reads and decodes a picture file.
    ///
    /// # Errors
    ///
    /// [`PictureError`] gives the reason.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn open(path: impl AsRef<Path>) -> Result<Self, PictureError> {
        let path = path.as_ref();
        let read = |source| PictureError::Read { path: path.into(), source };
        let file = File::open(path).map_err(read)?;
        // An endless file (a device, a pipe) is refused by its first bytes, or once it exceeds the limit.
        let mut bytes = Vec::new();
        (&file).take(HEAD as u64).read_to_end(&mut bytes).map_err(read)?;
        let kind = Kind::recognise(&bytes)?;
        let rest = (&file).take(Self::MAX_BYTES).read_to_end(&mut bytes).map_err(read)?;
        if rest as u64 == Self::MAX_BYTES {
            return Err(PictureError::Memory { format: kind.name() });
        }
        Self::decode(&bytes)
    }

    /// Decodes the bytes of a picture file.
    ///
    /// A file that ends before its last pixel is refused. A JPEG with damage inside is decoded as far as possible, as in
    /// browsers and in Pillow; [`Picture::damage`] gives the extent.
    ///
    /// # Errors
    ///
    /// [`PictureError`] gives the reason.
    pub fn decode(bytes: &[u8]) -> Result<Self, PictureError> {
        let kind = Kind::recognise(bytes)?;
        let decoded = unpanicked(kind.name(), || kind.decode(bytes))?;
        let (width, height) = (decoded.width, decoded.height);
        Self::check_samples(width, height, 3, decoded.rgb.len())?;
        let image = RgbImage::from_raw(width, height, decoded.rgb).unwrap_or_default();
        let mut upright = DynamicImage::ImageRgb8(image);
        upright.apply_orientation(decoded.orientation);
        let (width, height) = (upright.width(), upright.height());
        Ok(Self { width, height, rgb: upright.into_rgb8().into_raw(), damage: decoded.damage })
    }
}

/// Calls `decode` and turns a panic into an error, so that no decoder can end the program. On targets that abort on a panic,
/// such as the web's, this has no effect; known faults are avoided before they are reached.
fn unpanicked<T>(format: &'static str, decode: impl FnOnce() -> Result<T, PictureError>) -> Result<T, PictureError> {
    // The data being decoded is dropped, so that it is never seen half done.
    panic::catch_unwind(AssertUnwindSafe(decode)).unwrap_or_else(|payload| {
        let payload: &dyn Any = &*payload;
        let reason = payload.downcast_ref::<String>().map(String::as_str).or_else(|| payload.downcast_ref().copied());
        let reason = reason.unwrap_or("for no reason that it gives").lines().collect::<Vec<_>>().join(" ");
        Err(PictureError::Decoder { format, reason })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decoders_panic_is_an_error() {
        let broken = |message: &'static str| unpanicked::<()>("TIFF", || panic!("{message}"));
        let error = broken("index out of\nbounds").unwrap_err();
        assert!(matches!(&error, PictureError::Decoder { format: "TIFF", reason } if reason == "index out of bounds"));
        assert!(!error.to_string().contains('\n'), "{error}");
        assert!(unpanicked("TIFF", || Ok(5)).is_ok_and(|five| five == 5));
        let passed = unpanicked::<()>("TIFF", || Err(PictureError::Empty));
        assert!(matches!(passed, Err(PictureError::Empty)));
    }
}
