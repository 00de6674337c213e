//! The guide's pictures of filters and feature maps, for docs/guide/pictures.sh.
//!
//! ```text
//! cargo run --release --example guide-pictures -- docs/guide/src/pictures
//! ```

use std::{
    env,
    error::Error,
    path::{Path, PathBuf},
};

use alexnet_wgpu::{Gpu, GpuOptions, Model, Picture, Pipeline, Shape};
use image::ExtendedColorType;

/// The layers that are drawn, and the side of a number in pixels.
const LAYERS: [(&str, usize); 4] = [("conv1", 1), ("conv2", 2), ("conv3", 4), ("conv5", 4)];

fn main() -> Result<(), Box<dyn Error>> {
    let folder = PathBuf::from(env::args().nth(1).ok_or("expected a folder")?);
    let model = Model::imagenet_trunk()?;
    filters(&model)?.save(&folder.join("filters.png"))?;

    let input = model.preprocessing.apply(&Picture::open("examples/pictures/chelsea.png")?)?;
    let seen = model.preprocessing.picture(&input, model.network.input()).ok_or("no picture in colours")?;
    half(&seen).save(&folder.join("input.png"))?;

    let gpu = Gpu::open_blocking(&GpuOptions::default())?;
    let pipeline = Pipeline::builder(&gpu, &model.network, &model.weights).build()?;
    let values = pipeline.run_layers_blocking(&input, &LAYERS.map(|(name, _)| name))?;
    for ((name, scale), values) in LAYERS.iter().zip(&values) {
        maps(values, model.network.layer(name)?.output, *scale).save(&folder.join(format!("maps-{name}.png")))?;
    }

    // A render that rounds differently, and lacks a part.
    let coffee = Picture::open("examples/pictures/coffee.png")?;
    let (width, height) = (coffee.width() as usize, coffee.height() as usize);
    let mut broken = Canvas { width, height, rgb: coffee.rgb().to_vec() };
    for (i, sample) in broken.rgb.iter_mut().enumerate() {
        let (x, y) = (i / 3 % width, i / 3 / width);
        let inside = (400..440).contains(&x) && (120..160).contains(&y);
        *sample = if inside { 128 } else { sample.saturating_add((x * 7 + y * 13).is_multiple_of(3).into()) };
    }
    broken.save(&env::temp_dir().join("guide-broken.png"))
}

/// Pixels of red, green and blue.
struct Canvas {
    width: usize,
    height: usize,
    rgb: Vec<u8>,
}

impl Canvas {
    /// A grid of cells of `side` pixels with lines between them; `pixel` is the colour of a cell at a row and a column.
    fn grid(cells: usize, columns: usize, side: usize, pixel: impl Fn(usize, usize, usize) -> [u8; 3]) -> Self {
        let (pitch, rows) = (side + 2, cells.div_ceil(columns));
        let (width, height) = (columns * pitch, rows * pitch);
        let at = |i: usize| {
            let (x, y) = (i % width, i / width);
            let cell = y / pitch * columns + x / pitch;
            let inside = x % pitch < side && y % pitch < side && cell < cells;
            if inside { pixel(cell, y % pitch, x % pitch) } else { [255; 3] }
        };
        Self { width, height, rgb: (0..width * height).flat_map(at).collect() }
    }

    fn save(&self, path: &Path) -> Result<(), Box<dyn Error>> {
        let (width, height) = (self.width as u32, self.height as u32);
        let pixels = self.rgb.as_chunks::<3>().0;
        if pixels.iter().all(|[r, g, b]| r == g && g == b) {
            let grey: Vec<u8> = pixels.iter().map(|[grey, ..]| *grey).collect();
            return Ok(image::save_buffer(path, &grey, width, height, ExtendedColorType::L8)?);
        }
        Ok(image::save_buffer(path, &self.rgb, width, height, ExtendedColorType::Rgb8)?)
    }
}

/// All filters of conv1, each from its own lowest to its own highest weight.
fn filters(model: &Model) -> Result<Canvas, Box<dyn Error>> {
    let tensor = model.weights.tensor("conv1.weight")?;
    let [count, channels, side, _] = *tensor.shape() else { return Err("expected filters".into()) };
    let weights = tensor.to_f32();
    let filters: Vec<&[f32]> = weights.chunks_exact(channels * side * side).collect();
    let scale = 3;
    Ok(Canvas::grid(count, 16, scale * side, |filter, y, x| {
        let filter = filters[filter];
        let lowest = filter.iter().copied().fold(f32::INFINITY, f32::min);
        let highest = filter.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        [0, 1, 2].map(|channel| {
            let weight = filter[(channel * side + y / scale) * side + x / scale];
            (255.0 * (weight - lowest) / (highest - lowest)) as u8
        })
    }))
}

/// The 16 strongest maps of a layer in the order of their channels, each up to its own largest value.
fn maps(values: &[f32], Shape { height, width, .. }: Shape, scale: usize) -> Canvas {
    let mut maps: Vec<(usize, &[f32])> = values.chunks_exact(height * width).enumerate().collect();
    let sum = |map: &[f32]| map.iter().sum::<f32>();
    maps.sort_by(|(_, a), (_, b)| sum(b).total_cmp(&sum(a)));
    maps.truncate(16);
    maps.sort_by_key(|&(channel, _)| channel);
    Canvas::grid(maps.len(), 4, scale * width, |map, y, x| {
        let map = maps[map].1;
        let largest = map.iter().copied().fold(f32::MIN_POSITIVE, f32::max);
        [(255.0 * map[y / scale * width + x / scale] / largest) as u8; 3]
    })
}

/// A picture at half its size.
fn half(picture: &Picture) -> Canvas {
    let (width, height) = (picture.width() as usize / 2, picture.height() as usize / 2);
    let sample = |i: usize| {
        let (x, y, channel) = (i / 3 % width, i / 3 / width, i % 3);
        let at = |dy: usize, dx: usize| {
            u16::from(picture.rgb()[((2 * y + dy) * picture.width() as usize + 2 * x + dx) * 3 + channel])
        };
        ((at(0, 0) + at(0, 1) + at(1, 0) + at(1, 1) + 2) / 4) as u8
    };
    Canvas { width, height, rgb: (0..3 * width * height).map(sample).collect() }
}
