//! What a class rests on: how its probability falls when a patch of the picture is covered.
//!
//! Zeiler and Fergus, "Visualizing and Understanding Convolutional Networks" (2014), section 4.2.

use alexnet_wgpu::{
    Preprocessing, Resize,
    explain::occlusion::{GRID, PATCHES},
};
use eframe::egui::{Color32, ColorImage, Rect, pos2};

/// How much each patch matters to one class.
#[derive(Clone, Debug, PartialEq)]
pub struct Heat {
    /// The class.
    pub class: usize,
    /// Its probability with nothing covered.
    pub probability: f32,
    /// How much less it is with a patch covered, row by row; as many as are known by now.
    pub drops: Vec<f32>,
}

impl Heat {
    /// From 0 to 1.
    pub fn progress(&self) -> f32 {
        self.drops.len() as f32 / PATCHES as f32
    }

    /// One texel a patch: yellow and red where the class rests on it, blue where it speaks against the class,
    /// transparent where it does not matter or is not known.
    pub fn image(&self) -> ColorImage {
        // Less than a twentieth all over is not worth a loud colour.
        let largest = self.drops.iter().fold(0.05f32, |largest, drop| largest.max(drop.abs()));
        let colour = |&drop: &f32| {
            let t = (drop.abs() / largest).min(1.0);
            let alpha = (255.0 * t.sqrt()) as u8;
            let [r, g, b] = if drop > 0.0 { [255, (t * t * 220.0) as u8, 0] } else { [30, 110, 255] };
            Color32::from_rgba_unmultiplied(r, g, b, alpha)
        };
        let mut pixels: Vec<Color32> = self.drops.iter().map(colour).collect();
        pixels.resize(PATCHES, Color32::TRANSPARENT);
        ColorImage::new([GRID, GRID], pixels)
    }
}

/// The part of a picture that the network sees, in 0…1 of its width and height; it reaches beyond where the picture
/// is smaller than the crop.
pub fn seen(width: u32, height: u32, preprocessing: &Preprocessing) -> Rect {
    let [crop_height, crop_width] = preprocessing.crop.map(|side| side as f32);
    let (width, height) = (width as f32, height as f32);
    let [rows, columns] = match preprocessing.resize {
        Resize::ShorterSide(side) => [height, width].map(|length| length * side as f32 / width.min(height)),
        Resize::Warp([rows, columns]) => [rows as f32, columns as f32],
    };
    let (x, y) = (0.5 * crop_width / columns, 0.5 * crop_height / rows);
    Rect::from_min_max(pos2(0.5 - x, 0.5 - y), pos2(0.5 + x, 0.5 + y))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn torchvision_sees_the_middle_square() {
        let seen = seen(512, 256, &Preprocessing::torchvision(224));
        assert!((seen.width() - 224.0 / 512.0).abs() < 1e-6);
        assert!((seen.height() - 224.0 / 256.0).abs() < 1e-6);
        assert!((seen.center() - pos2(0.5, 0.5)).length() < 1e-6);
    }
}
