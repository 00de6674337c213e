//! GIF: the first frame on its screen.

use std::io::ErrorKind;

use gif::{ColorOutput, DecodeOptions, DecodingError, MemoryLimit};
use image::metadata::Orientation;

use super::{
    error::PictureError,
    formats::{Decoded, Kind},
};

fn failure(error: DecodingError) -> PictureError {
    let format = Kind::Gif.name();
    match error {
        DecodingError::UnexpectedEof => PictureError::Truncated { format },
        DecodingError::Io(e) if e.kind() == ErrorKind::UnexpectedEof => PictureError::Truncated { format },
        DecodingError::MemoryLimit | DecodingError::OutOfMemory => PictureError::Memory { format },
        e => PictureError::Damaged { format, reason: e.to_string() },
    }
}

/// Decodes the first frame. The area around it is transparent or, as in Pillow, of the first colour.
pub(super) fn read(bytes: &[u8]) -> Result<Decoded, PictureError> {
    let mut options = DecodeOptions::new();
    options.set_color_output(ColorOutput::Indexed);
    options.set_memory_limit(MemoryLimit::Unlimited);
    let mut decoder = options.read_info(bytes).map_err(failure)?;
    let screen = [decoder.width(), decoder.height()];
    let frame = decoder.next_frame_info().map_err(failure)?;
    let frame = frame.ok_or_else(|| PictureError::Damaged { format: "GIF", reason: "no frame".into() })?;
    let [left, top, across, down] = [frame.left, frame.top, frame.width, frame.height].map(usize::from);
    let transparent = frame.transparent;
    // The screen is enlarged to contain the frame.
    let width = usize::from(screen[0]).max(left + across);
    let height = usize::from(screen[1]).max(top + down);
    let [columns, rows] = [width, height].map(|side| side as u32);
    Kind::Gif.check_size(bytes, columns, rows, 8)?;

    let mut indices = vec![0; across * down];
    decoder.read_into_buffer(&mut indices).map_err(failure)?;
    let palette = decoder.palette().unwrap_or_default();
    let colour = |index: u8| {
        if transparent == Some(index) {
            return [255; 3];
        }
        let colour = palette.get(3 * usize::from(index)..).and_then(|rest| rest.first_chunk());
        // Without a palette, indices are grey levels.
        colour.copied().unwrap_or(if palette.is_empty() { [index; 3] } else { [0; 3] })
    };
    let mut rgb = colour(transparent.unwrap_or(0)).repeat(width * height);
    for (y, line) in indices.chunks_exact(across.max(1)).enumerate() {
        let start = 3 * ((top + y) * width + left);
        for (out, &index) in rgb[start..start + 3 * across].as_chunks_mut().0.iter_mut().zip(line) {
            *out = colour(index);
        }
    }
    Ok(Decoded { width: columns, height: rows, rgb, orientation: Orientation::NoTransforms, damage: None })
}
