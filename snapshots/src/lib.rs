#![doc = include_str!("../README.md")]
// docs.rs marks what a feature adds.
#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod heat_map;
#[cfg(all(feature = "assert", not(target_arch = "wasm32")))]
mod snapshot;

use std::io::{self, Cursor, Write};

use image::{ExtendedColorType, ImageEncoder, codecs::png::PngEncoder};

#[cfg(all(feature = "assert", not(target_arch = "wasm32")))]
pub use snapshot::{LOCAL, LPIPS, Snapshot, SnapshotError, Update, admitting};

/// Asserts that a picture looks like a golden file, whose path is relative to the package.
///
/// # Panics
///
/// With [`SnapshotError`]'s message.
#[cfg(feature = "assert")]
#[macro_export]
macro_rules! assert_similar {
    ($golden:expr, $picture:expr $(, $threshold:ident = $value:expr)* $(,)?) => {
        let golden = ::std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join($golden);
        let snapshot = $crate::Snapshot::new(golden)$(.$threshold($value))*;
        if let ::std::result::Result::Err(error) = snapshot.check(&$picture) {
            panic!("{error}");
        }
    };
}

/// Writes pixels of red, green and blue as a PNG file of a width and a height.
///
/// # Errors
///
/// Those of `out`.
pub fn write_png(rgb: &[u8], [width, height]: [u32; 2], out: &mut dyn Write) -> io::Result<()> {
    let mut png = Cursor::new(Vec::new());
    PngEncoder::new(&mut png).write_image(rgb, width, height, ExtendedColorType::Rgb8).map_err(io::Error::other)?;
    out.write_all(png.get_ref())
}

/// The programs of the guide's chapter on comparing, which are tests.
#[cfg(doctest)]
#[doc = include_str!("../../docs/guide/src/compare.md")]
mod guide {}
