//! Perceptual comparison of two pictures: LPIPS with AlexNet's features, and differences between pixels.

mod error;
mod gradient;
mod lpips;
mod map;
mod pair;
mod reference;
mod textures;
mod tiles;

use futures::lock::Mutex;
use wgpu::{Extent3d, Origin3d, TexelCopyBufferLayout, TexelCopyTextureInfo, TextureAspect, TextureUsages};

pub use error::CompareError;
use error::size_of_both;
#[cfg(all(test, feature = "doctor"))]
pub(crate) use gradient::LpipsGradientProgram;
pub use gradient::{LpipsGradient, LpipsSlope};
pub use lpips::Lpips;
pub(crate) use map::add_resized;
pub use map::{DistanceMap, percentile};
pub(crate) use pair::{PairOptions, PairProgram};
pub use reference::{ReferenceComparison, reference};
pub use textures::TexturePair;
#[cfg(all(test, feature = "doctor"))]
pub(crate) use tiles::MAX_PIXELS;

use crate::{
    gpu::{Gpu, error_scopes::Scopes},
    kernels::{Arithmetic, compare::LayerMap},
    picture::Picture,
    program::Algorithms,
    runtime::{
        Input, PipelineError, RunError, TextureSource, avoid,
        executable::Executable,
        input::{self, InputArray, Layout},
        memory::Memory,
        readback::{self, Reading},
        requirements,
        wait::Poller,
    },
};

/// The number of sizes whose pipelines a [`Comparer`] keeps.
const SIZES: usize = 3;

/// Compares pictures on a device.
///
/// The pipelines of the last few picture sizes are kept. Large pictures are computed in tiles, so that memory on the device
/// stays below 400 MB.
///
/// ```
/// # #[cfg(feature = "imagenet")]
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use alexnet_wgpu::{Comparer, Gpu, GpuOptions, Picture};
///
/// let comparer = Comparer::new(&Gpu::open_blocking(&GpuOptions::default())?)?;
/// let grey = |level| Picture::from_rgb8(64, 64, vec![level; 64 * 64 * 3]);
/// let comparison = comparer.compare_blocking(&grey(100)?, &grey(103)?)?;
/// assert!(comparison.lpips < 0.01 && comparison.max_difference == 3);
/// # Ok(())
/// # }
/// # #[cfg(not(feature = "imagenet"))]
/// # fn main() {}
/// ```
#[derive(Debug)]
pub struct Comparer {
    gpu: Gpu,
    lpips: Lpips,
    /// The last one was used last.
    pairs: Mutex<Vec<Pair>>,
    max_pixels: usize,
}

/// The result of a comparison.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Comparison {
    /// LPIPS, version 0.1 with AlexNet: 0 for pictures that look the same, about 0.7 for unrelated ones.
    pub lpips: f32,
    /// The parts of `lpips`: the mean distance after each of [`Lpips::LAYERS`].
    pub layers: [f32; 5],
    /// The largest value of the map. A mean thins out with a picture's area, this does not.
    pub largest: f32,
    /// Peak signal-to-noise ratio of the 8-bit samples in decibels; infinite for equal pictures.
    pub psnr: f64,
    /// The largest difference between two samples, 0 to 255.
    pub max_difference: u8,
    /// The share of pixels that differ, 0 to 1.
    pub differing: f64,
    /// The map of distances; `None` in the results of [`TexturePair::encode`].
    pub map: Option<DistanceMap>,
}

impl Comparer {
    /// Makes a comparer with the weights of the crate `alexnet-weights`, which were trained on ImageNet.
    ///
    /// # Errors
    ///
    /// None in a library that passes its tests.
    #[cfg(feature = "imagenet")]
    pub fn new(gpu: &Gpu) -> Result<Self, CompareError> {
        Ok(Self::with_lpips(gpu, Lpips::imagenet()?))
    }

    /// Makes a comparer with other weights.
    pub fn with_lpips(gpu: &Gpu, lpips: Lpips) -> Self {
        Self { gpu: gpu.clone(), lpips, pairs: Mutex::default(), max_pixels: tiles::MAX_PIXELS }
    }

    /// Sets the largest number of pixels that are computed at once. The default is 2.4 million, a little more than 1920×1080.
    pub fn tile_pixels(mut self, pixels: usize) -> Self {
        self.max_pixels = pixels;
        self
    }

    /// Returns the device.
    pub fn gpu(&self) -> &Gpu {
        &self.gpu
    }

    /// Compares two pictures of the same size. The order does not matter. On one adapter the result is always the same, bit
    /// for bit.
    ///
    /// # Errors
    ///
    /// [`CompareError::Size`] when the sizes differ, [`CompareError::TooSmall`] when a side is shorter than 31 pixels, and
    /// errors of the device.
    pub async fn compare(&self, a: &Picture, b: &Picture) -> Result<Comparison, CompareError> {
        self.compare_on(a, b, Poller::Thread).await
    }

    /// Blocking form of [`Comparer::compare`].
    ///
    /// # Errors
    ///
    /// As [`Comparer::compare`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn compare_blocking(&self, a: &Picture, b: &Picture) -> Result<Comparison, CompareError> {
        pollster::block_on(self.compare_on(a, b, Poller::Caller))
    }

    async fn compare_on(&self, a: &Picture, b: &Picture, poller: Poller) -> Result<Comparison, CompareError> {
        let size = size_of_both([a.width(), a.height()], [b.width(), b.height()])?;
        // Comparisons of one size share their memory, so they take turns.
        let mut pairs = self.pairs.lock().await;
        let kept = pairs.iter().position(|pair| pair.loaded.program.size == size);
        let pair = match kept {
            Some(index) => pairs.remove(index),
            None => Pair::new(self, size)?,
        };
        if pairs.len() == SIZES {
            pairs.remove(0);
        }
        let compared = pair.compare(&self.gpu, [a, b], poller).await;
        pairs.push(pair);
        compared
    }

    /// The program for pictures of `size`, on the device.
    fn load(&self, size: [usize; 2]) -> Result<Loaded, CompareError> {
        let (gpu, lpips) = (&self.gpu, &self.lpips);
        let blocklist = gpu.blocklist();
        let config = avoid::allowed_config(gpu, blocklist, Arithmetic::Exact)?;
        let mut algorithms = Algorithms::new();
        avoid::avoid_algorithms(&lpips.network, config, 2, blocklist, &mut algorithms);
        let limit = Memory::limit(gpu.device(), config.storage);
        let options = PairOptions { config, algorithms: &algorithms, limit, max_pixels: self.max_pixels };
        let program = PairProgram::lower(lpips, size, options)?;
        requirements::check_program(gpu, &program.program, config)?;
        let scopes = Scopes::push(gpu.device());
        let kernel = input::texture_kernel(true, false, config.storage);
        let compile_further = || input::compile_kernels(gpu, &[kernel]);
        let executable = Executable::load(gpu, &program.program, &lpips.weights, gpu.checks(), None, compile_further)?;
        match scopes.pop_now() {
            Some(error) => Err(PipelineError::from(error).into()),
            None => Ok(Loaded { program, executable }),
        }
    }
}

/// A program for pairs of one size, on a device.
#[derive(Debug)]
struct Loaded {
    program: PairProgram,
    executable: Executable,
}

impl Loaded {
    /// The input of a tile.
    fn input<'a>(&'a self, gpu: &'a Gpu) -> InputArray<'a> {
        let PairProgram { program, network, input, layout, .. } = &self.program;
        InputArray {
            gpu,
            layout: Layout::new(network.input(), Some(*layout)),
            batch: 2,
            storage: program.get(*input).storage,
            memory: self.executable.memory(*input),
        }
    }

    /// Records a tile, whose input is in place.
    fn encode_tile(&self, encoder: &mut wgpu::CommandEncoder, tile: usize) {
        self.executable.encode(encoder, self.program.steps_of(tile), None);
    }

    /// Records the sums and maxima of all tiles.
    fn encode_reductions(&self, encoder: &mut wgpu::CommandEncoder) {
        self.executable.encode(encoder, self.program.reductions(), None);
    }

    /// Records the sums and maxima of all tiles, and copies of the results and distances to the buffers that it returns.
    fn encode_results(&self, gpu: &Gpu, encoder: &mut wgpu::CommandEncoder) -> Result<Vec<wgpu::Buffer>, RunError> {
        self.encode_reductions(encoder);
        let copy = |from: &wgpu::Buffer| {
            let to = readback::buffer(gpu, from.size());
            encoder.copy_buffer_to_buffer(from, 0, &to, 0, from.size());
            to
        };
        Ok(self.buffers()?.map(copy).into())
    }

    /// Reads these copies as a comparison with its map.
    async fn read(&self, gpu: &Gpu, reading: Vec<Reading>, poller: Poller) -> Result<Comparison, CompareError> {
        let PairProgram { size, ref maps, .. } = self.program;
        let read: Vec<Vec<f32>> = readback::read(gpu, reading, poller).await?;
        let [results, distances] = &read[..] else {
            return Err(RunError::Device("there is no result".into()).into());
        };
        let map = Some(DistanceMap::new(size, maps, distances));
        Ok(Comparison { map, ..Comparison::new(size, maps, results) })
    }

    /// The buffers of the results and of the distances.
    fn buffers(&self) -> Result<[&wgpu::Buffer; 2], RunError> {
        let PairProgram { results, distances, .. } = self.program;
        match [results, distances].map(|array| self.executable.memory(array)) {
            [Memory::Buffer(results), Memory::Buffer(distances)] => Ok([results, distances]),
            _ => Err(RunError::Device("the results are in no buffer".into())),
        }
    }
}

/// Pictures of one size, uploaded tile by tile.
#[derive(Debug)]
struct Pair {
    loaded: Loaded,
    textures: [wgpu::Texture; 2],
    inputs: [Input; 2],
}

impl Pair {
    fn new(comparer: &Comparer, size: [usize; 2]) -> Result<Self, CompareError> {
        let (gpu, loaded) = (&comparer.gpu, comparer.load(size)?);
        let [height, width] = loaded.program.tiles.size();
        let texture = |_| {
            gpu.device().create_texture(&wgpu::TextureDescriptor {
                label: Some("picture"),
                size: Extent3d { width: width as u32, height: height as u32, depth_or_array_layers: 1 },
                mip_level_count: 1,
                sample_count: 1,
                dimension: wgpu::TextureDimension::D2,
                format: wgpu::TextureFormat::Rgba8Unorm,
                usage: TextureUsages::TEXTURE_BINDING | TextureUsages::COPY_DST,
                view_formats: &[],
            })
        };
        let scopes = Scopes::push(gpu.device());
        let textures = [0, 1].map(texture);
        let [a, b] = [0, 1].map(|picture| {
            let view = textures[picture].create_view(&Default::default());
            loaded.input(gpu).texture(&TextureSource::new(&view), &loaded.program.preprocessing, picture, false)
        });
        let inputs = [a?, b?];
        match scopes.pop_now() {
            Some(error) => Err(PipelineError::from(error).into()),
            None => Ok(Self { loaded, textures, inputs }),
        }
    }

    async fn compare(&self, gpu: &Gpu, pictures: [&Picture; 2], poller: Poller) -> Result<Comparison, CompareError> {
        let Self { loaded, textures, inputs } = self;
        let tiles: Vec<[usize; 2]> =
            loaded.program.tiles.iter().map(|pieces| pieces.map(|piece| piece.start)).collect();
        for (tile, &start) in tiles.iter().enumerate() {
            let last = tile + 1 == tiles.len();
            let reading = readback::submit(gpu, |encoder| {
                for (picture, texture) in pictures.iter().zip(textures) {
                    write(gpu, picture, start, texture);
                }
                inputs.iter().for_each(|input| input.encode(encoder));
                loaded.encode_tile(encoder, tile);
                if last { loaded.encode_results(gpu, encoder) } else { Ok(vec![]) }
            });
            let reading = reading.await?;
            if last {
                return loaded.read(gpu, reading, poller).await;
            }
            // Only one tile's copy of the pictures is in flight.
            readback::done(gpu, poller).await?;
        }
        Err(RunError::Device("there is no result".into()).into())
    }
}

/// Writes the part of `picture` that begins at row and column `start` to `texture`, with the queue's next submission.
fn write(gpu: &Gpu, picture: &Picture, start: [usize; 2], texture: &wgpu::Texture) {
    let [row, column] = start;
    let (width, height) = (texture.width() as usize, texture.height() as usize);
    let mut rgba = Vec::with_capacity(4 * width * height);
    for line in picture.rgb().chunks_exact(3 * picture.width() as usize).skip(row).take(height) {
        for pixel in line[3 * column..][..3 * width].as_chunks::<3>().0 {
            rgba.extend([pixel[0], pixel[1], pixel[2], 255]);
        }
    }
    gpu.queue().write_texture(
        TexelCopyTextureInfo { texture, mip_level: 0, origin: Origin3d::ZERO, aspect: TextureAspect::All },
        &rgba,
        TexelCopyBufferLayout { offset: 0, bytes_per_row: Some(4 * width as u32), rows_per_image: None },
        texture.size(),
    );
}

impl Comparison {
    /// Reads a program's results: vec4s of a sum, a count and the largest.
    pub(crate) fn new(size: [usize; 2], maps: &[LayerMap], results: &[f32]) -> Self {
        let results = results.as_chunks::<4>().0;
        let result = |index: usize| results.get(index).copied().unwrap_or_default();
        let layers = pair::layer_means(maps, results);
        let [height, width] = size.map(|side| side as f64);
        let [squares, differing, largest, _] = result(maps.len() + PairProgram::PIXELS).map(f64::from);
        let mean_square = squares / (3.0 * height * width);
        Self {
            lpips: layers.iter().sum::<f64>() as f32,
            layers: layers.map(|layer| layer as f32),
            largest: result(maps.len() + PairProgram::MAP)[2],
            psnr: 10.0 * (255.0 * 255.0 / mean_square).log10(),
            max_difference: largest as u8,
            differing: differing / (height * width),
            map: None,
        }
    }
}
