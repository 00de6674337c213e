//! The first convolution's filters as small colour pictures.

use alexnet_wgpu::{ChannelOrder, Model, Op};
use eframe::egui::{Color32, ColorImage};

use crate::tiles::Tiles;

/// Filters that look at colours.
#[derive(Clone, Debug)]
pub struct Filters {
    /// Whose they are.
    pub layer: String,
    /// One a tile.
    pub tiles: Tiles,
    /// The tiles.
    pub image: ColorImage,
}

impl Filters {
    /// Those of the model's first layer; `None` where that is no convolution of three channels.
    ///
    /// Each filter fills the range of colours; zero is the middle grey.
    pub fn of(model: &Model) -> Option<Self> {
        let layer = model.network.layers().first()?;
        let Op::Conv(conv) = layer.op else { return None };
        let tensor = model.weights.tensor(&format!("{}.weight", layer.name)).ok()?;
        let &[count, 3, height, width] = tensor.shape() else { return None };
        if conv.groups != 1 {
            return None;
        }
        let tiles = Tiles::new(count, height, width)?;
        let weights = tensor.to_f32();
        let mut image = ColorImage::filled(tiles.size(), Color32::TRANSPARENT);
        let stride = image.width();
        for (tile, filter) in weights.chunks_exact(3 * height * width).enumerate() {
            let largest = filter.iter().fold(f32::MIN_POSITIVE, |largest, weight| largest.max(weight.abs()));
            let (top, left) = (tile / tiles.columns * height, tile % tiles.columns * width);
            for at in 0..height * width {
                let mut rgb = [0, 1, 2].map(|channel| {
                    let weight = filter[channel * height * width + at];
                    (127.5 + 127.5 * weight / largest).round() as u8
                });
                if model.preprocessing.channels == ChannelOrder::Bgr {
                    rgb.reverse();
                }
                let [r, g, b] = rgb;
                image.pixels[(top + at / width) * stride + left + at % width] = Color32::from_rgb(r, g, b);
            }
        }
        Some(Self { layer: layer.name.clone(), tiles, image })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_embedded_model_has_colour_filters() {
        let model = Model::embedded().expect("embedded");
        let filters = Filters::of(&model).expect("conv1");
        assert_eq!(filters.layer, "conv1");
        let tensor = model.weights.tensor("conv1.weight").expect("there");
        assert_eq!([filters.tiles.count, 3, filters.tiles.height, filters.tiles.width], tensor.shape());
        // Every filter reaches the end of the scale.
        let weights = tensor.to_f32();
        let bright = |pixel: &Color32| pixel.to_array()[..3].iter().any(|&sample| sample == 0 || sample == 255);
        assert!(filters.image.pixels.iter().filter(|pixel| bright(pixel)).count() >= filters.tiles.count);
        assert!(weights.iter().any(|&weight| weight < 0.0));
    }
}
