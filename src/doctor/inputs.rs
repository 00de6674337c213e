//! Checks of input from a host's textures and buffers against input from memory.

use std::{collections::BTreeSet, fmt};

use wgpu::{TextureFormat, TextureUsages, util::DeviceExt as _};

use crate::{
    gpu::Gpu,
    kernels::{Algorithm, Family, KernelConfig, Storage},
    layers::Conv,
    network::Network,
    picture::{ChannelOrder, Picture, Preprocessing, Resize},
    runtime::{Pipeline, TextureSource},
    select::BlockedVariant,
    shape::Shape,
    weights::{Tensor, Weights, splitmix},
};

/// The source of a host's picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Source {
    /// A texture: [`Pipeline::texture_input`] resizes, crops and normalises it.
    Texture,
    /// A storage buffer with the network's input: [`Pipeline::buffer_input`].
    Buffer,
}

impl Source {
    /// Both sources.
    pub const ALL: [Self; 2] = [Self::Texture, Self::Buffer];
}

/// The result of filling a network's input.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct InputFinding {
    /// The source of the picture.
    pub source: Source,
    /// The network's kernel configuration.
    pub config: KernelConfig,
    /// Whether the network begins as AlexNet does, with a convolution whose input channels are interleaved.
    pub interleaved: bool,
    /// The largest difference to the same picture from memory, relative to the range of a picture's samples, or the reason
    /// why there is none.
    pub error: Result<f64, String>,
    /// The largest difference that rounding explains.
    pub tolerance: f64,
}

impl InputFinding {
    /// Whether the network's input is right.
    pub fn is_right(&self) -> bool {
        self.error.as_ref().is_ok_and(|&error| error <= self.tolerance)
    }
}

/// The source, the layout and the kernels.
impl fmt::Display for InputFinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let source = match self.source {
            Source::Texture => "texture",
            Source::Buffer => "buffer",
        };
        let layout = if self.interleaved { "interleaved" } else { "padded" };
        write!(f, "input from a {source}, {layout} {}", BlockedVariant::of(self.config, Algorithm::Direct))
    }
}

/// Rows and columns of the input; a multiple of the identity's stride.
const SIDE: usize = 16;
const STRIDE: usize = 4;

/// The preprocessing, with every step that a kernel takes. All channels have one deviation, so that a difference in any
/// channel is the same fraction of a sample.
const PREPROCESSING: Preprocessing = Preprocessing::new(Resize::ShorterSide(SIDE + 5), [SIDE, SIDE])
    .channels(ChannelOrder::Bgr)
    .mean([0.485, 0.456, 0.406])
    .std([0.25; 3]);

/// A network whose output is its input, or each number of the input in a channel of its own.
fn identity(interleaved: bool) -> Result<(Network, Weights), String> {
    let builder = Network::builder("identity", Shape::new(3, SIDE, SIDE));
    if !interleaved {
        return Ok((builder.dropout("out").build().map_err(|e| e.to_string())?, Weights::default()));
    }
    let channels = 3 * STRIDE * STRIDE;
    let network = builder.conv("out", Conv::new(channels, STRIDE).stride(STRIDE)).build().map_err(|e| e.to_string())?;
    let one_hot = (0..channels * channels).map(|i| f32::from(u8::from(i / channels == i % channels))).collect();
    let mut weights = Weights::default();
    weights.tensors.insert("out.weight".into(), Tensor::from_f32([channels, 3, STRIDE, STRIDE], one_hot));
    weights.tensors.insert("out.bias".into(), Tensor::from_f32([channels], vec![0.0; channels]));
    Ok((network, weights))
}

/// Fills a network's input from a texture and from a buffer, in each storage that `gpu` has and in each layout, and compares
/// the input with that of the same picture by [`Preprocessing::apply`].
pub async fn check_inputs(gpu: &Gpu) -> Vec<InputFinding> {
    let mut findings = Vec::new();
    let storages: BTreeSet<Storage> = gpu.kernel_configs().into_iter().map(|config| config.storage).collect();
    for storage in storages {
        let config = KernelConfig { family: Family::WorkgroupTiled, storage };
        for (interleaved, source) in [false, true].into_iter().flat_map(|i| Source::ALL.map(|s| (i, s))) {
            // Rows and columns are resized one after the other, each rounded to 8 bits.
            let tolerance = if source == Source::Texture { 2.001 / 255.0 } else { 0.0 };
            let error = difference(gpu, config, interleaved, source).await;
            findings.push(InputFinding { source, config, interleaved, error, tolerance });
        }
    }
    findings
}

async fn difference(gpu: &Gpu, config: KernelConfig, interleaved: bool, source: Source) -> Result<f64, String> {
    let [width, height] = [37, 29];
    let noise = splitmix::uniform(5, (3 * width * height) as usize, 127.0);
    let rgb: Vec<u8> = noise.iter().map(|sample| (sample + 127.5) as u8).collect();
    let rgba: Vec<u8> = rgb.as_chunks().0.iter().flat_map(|&[r, g, b]| [r, g, b, 99]).collect();
    let picture = Picture::from_rgb8(width, height, rgb).map_err(|e| e.to_string())?;
    let numbers = PREPROCESSING.apply(&picture).map_err(|e| e.to_string())?;

    let (network, weights) = identity(interleaved)?;
    let pipeline = Pipeline::builder(gpu, &network, &weights)
        .kernel_config(config)
        .algorithm("out", Algorithm::Direct)
        .build()
        .map_err(|e| e.to_string())?;
    let expected = pipeline.run(&numbers).await.map_err(|e| e.to_string())?;
    // None of these may remain.
    pipeline.write_input(&vec![9.0; numbers.len()]).map_err(|e| e.to_string())?;
    let input = match source {
        Source::Texture => {
            let descriptor = wgpu::TextureDescriptor {
                label: Some("picture"),
                size: wgpu::Extent3d { width, height, depth_or_array_layers: 1 },
                mip_level_count: 1,
                sample_count: 1,
                dimension: wgpu::TextureDimension::D2,
                format: TextureFormat::Rgba8Unorm,
                usage: TextureUsages::TEXTURE_BINDING | TextureUsages::COPY_DST,
                view_formats: &[],
            };
            let order = wgpu::util::TextureDataOrder::LayerMajor;
            let texture = gpu.device().create_texture_with_data(gpu.queue(), &descriptor, order, &rgba);
            let view = texture.create_view(&Default::default());
            pipeline.texture_input(&TextureSource::new(&view), &PREPROCESSING, 0)
        }
        Source::Buffer => {
            let buffer = gpu.device().create_buffer_init(&wgpu::util::BufferInitDescriptor {
                label: Some("picture"),
                contents: bytemuck::cast_slice(&numbers),
                usage: wgpu::BufferUsages::STORAGE,
            });
            pipeline.buffer_input(buffer.as_entire_buffer_binding())
        }
    };
    let found = pipeline.run_from(&input.map_err(|e| e.to_string())?).await.map_err(|e| e.to_string())?;
    if found.len() != expected.len() {
        return Err(format!("expected {} numbers, found {}", expected.len(), found.len()));
    }
    let range = f64::from(255.0 * PREPROCESSING.scale / PREPROCESSING.std[0]);
    let differences = found.iter().zip(&expected).map(|(&f, &e)| (f64::from(f) - f64::from(e)).abs() / range);
    // A NaN counts as the worst.
    differences.max_by(f64::total_cmp).filter(|d| !d.is_nan()).ok_or_else(|| "the result is not a number".into())
}
