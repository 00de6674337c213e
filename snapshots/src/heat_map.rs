//! The map of distances as a picture, with its scale below. The scale is the same for all pictures.

use std::io::Write;

use alexnet_wgpu::DistanceMap;
use font8x8::{BASIC_FONTS, UnicodeFonts};

/// Rows of the scale: a bar, and numbers below it.
const BAR: usize = 12;
const NUMBERS: usize = 12;
/// The narrowest map that has room for the scale.
const WIDTH: usize = 200;
/// Numbers on the scale. The colour goes with the square root, so that small distances can be told apart; the scale is the
/// same for all pictures.
pub const TICKS: [f32; 6] = [0.0, 0.01, 0.05, 0.2, 0.5, 1.0];

/// The colour of a distance, from black over purple and orange to pale yellow: matplotlib's inferno, in which equal steps
/// look equal. Distances beyond 1 have the last colour.
pub fn colour(distance: f32) -> [u8; 3] {
    let colour = colorous::INFERNO.eval_continuous(f64::from(distance.clamp(0.0, 1.0)).sqrt());
    [colour.r, colour.g, colour.b]
}

/// Writes the map as a PNG file.
///
/// # Errors
///
/// Those of `out`.
pub fn write(map: &DistanceMap, out: &mut dyn Write) -> std::io::Result<()> {
    let (width, height) = (map.width().max(WIDTH), map.height() + BAR + NUMBERS);
    let mut rgb = vec![0; 3 * width * height];
    let values = map.values();
    for (line, values) in rgb.chunks_exact_mut(3 * width).zip(values.chunks_exact(map.width())) {
        for (pixel, &value) in line.as_chunks_mut::<3>().0.iter_mut().zip(values) {
            *pixel = colour(value);
        }
    }
    let scale = &mut rgb[3 * width * map.height()..];
    for line in scale.chunks_exact_mut(3 * width).take(BAR).skip(2) {
        for (column, pixel) in line.as_chunks_mut::<3>().0.iter_mut().enumerate() {
            *pixel = colour((column as f32 / (width - 1) as f32).powi(2));
        }
    }
    for tick in TICKS {
        let text = tick.to_string();
        let at = (tick.sqrt() * (width - 1) as f32) as usize;
        let left = at.saturating_sub(4 * text.len()).min(width - 8 * text.len());
        draw(&text, &mut scale[3 * width * (BAR + 2)..], width, left);
    }
    crate::write_png(&rgb, [width as u32, height as u32], out)
}

/// Draws a line of text in white, from column `left` on.
fn draw(text: &str, rgb: &mut [u8], width: usize, left: usize) {
    for (i, glyph) in text.chars().enumerate().filter_map(|(i, c)| Some((i, BASIC_FONTS.get(c)?))) {
        for (row, bits) in glyph.into_iter().enumerate() {
            for column in (0..8).filter(|column| bits >> column & 1 == 1) {
                rgb[3 * (row * width + left + 8 * i + column)..][..3].fill(255);
            }
        }
    }
}
