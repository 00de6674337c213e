//! What a class rests on, as a map over the picture.

use alexnet_wgpu::{
    Preprocessing, Resize,
    explain::{self, occlusion::GRID},
    percentile,
};
use eframe::egui::{Color32, ColorImage, Rect, pos2};
use serde::{Deserialize, Serialize};

/// How a map is made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Method {
    /// How the class's probability falls when a patch is covered.
    #[default]
    Occlusion,
    /// The last convolution's maps, weighted with their gradients.
    GradCam,
    /// Guided backpropagation.
    Guided,
    /// Integrated gradients.
    Integrated,
}

impl Method {
    /// Every method, in the order of the menu.
    pub const ALL: [Self; 4] = [Self::Occlusion, Self::GradCam, Self::Guided, Self::Integrated];

    /// Its name for people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Occlusion => "Occlusion",
            Self::GradCam => "Grad-CAM",
            Self::Guided => "Guided gradients",
            Self::Integrated => "Integrated gradients",
        }
    }

    /// What it does, in a line.
    pub fn hint(self) -> &'static str {
        match self {
            Self::Occlusion => "How the class's probability falls when a patch is covered, one patch after the other",
            Self::GradCam => "The last convolution's maps, each weighted with the mean of its gradient",
            Self::Guided => "Pixels that raise the class's score through positive gradients only",
            Self::Integrated => "Each pixel's share of the class's score, summed from the mean colour to the picture",
        }
    }

    /// The library's method, where the map is made in one go.
    pub fn at_once(self) -> Option<explain::Method> {
        match self {
            Self::Occlusion => None,
            Self::GradCam => Some(explain::Method::GradCam { layer: None }),
            Self::Guided => Some(explain::Method::Guided),
            Self::Integrated => Some(explain::Method::Integrated { steps: 16 }),
        }
    }
}

/// How much each part of the picture matters to one class.
#[derive(Clone, Debug, PartialEq)]
pub struct Heat {
    /// The class.
    pub class: usize,
    /// How it is made.
    pub method: Method,
    /// The class's probability with nothing covered.
    pub probability: f32,
    /// Rows and columns.
    pub size: [usize; 2],
    /// Row by row; as many as are known by now.
    pub values: Vec<f32>,
}

impl Heat {
    /// A map of which nothing is known yet.
    pub fn new(class: usize, method: Method) -> Self {
        Self { class, method, probability: 0.0, size: [GRID, GRID], values: Vec::new() }
    }

    /// From 0 to 1.
    pub fn progress(&self) -> f32 {
        self.values.len() as f32 / self.len() as f32
    }

    fn len(&self) -> usize {
        self.size[0] * self.size[1]
    }

    /// Whether some part of the picture speaks against the class.
    pub fn is_signed(&self) -> bool {
        self.values.iter().any(|&value| value < 0.0)
    }

    /// One texel a value, in the colours of [`colour`]; transparent where it is not known.
    pub fn image(&self) -> ColorImage {
        let mut sizes: Vec<f32> = self.values.iter().map(|value| value.abs()).collect();
        let largest = match self.method {
            // Less than a twentieth all over is not worth a loud colour.
            Method::Occlusion => sizes.into_iter().fold(0.05, f32::max),
            // A few pixels are far above the rest.
            _ => percentile(&mut sizes, 0.995).unwrap_or_default().max(f32::MIN_POSITIVE),
        };
        let mut pixels: Vec<Color32> = self.values.iter().map(|value| colour(value / largest)).collect();
        pixels.resize(self.len(), Color32::TRANSPARENT);
        ColorImage::new([self.size[1], self.size[0]], pixels)
    }
}

/// The colour of a value from −1 to 1: yellow and red where the class rests on it, blue where it speaks against the class,
/// transparent where it does not matter.
pub fn colour(value: f32) -> Color32 {
    let t = value.abs().min(1.0);
    let alpha = (255.0 * t.sqrt()) as u8;
    let [r, g, b] = if value > 0.0 { [255, (t * t * 220.0) as u8, 0] } else { [30, 110, 255] };
    Color32::from_rgba_unmultiplied(r, g, b, alpha)
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
