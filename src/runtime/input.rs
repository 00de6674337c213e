//! The network's input from data on the device: a texture or a storage buffer.

use std::num::NonZero;

use wgpu::{
    BindingResource, BufferBinding, BufferUsages, CommandEncoder, TextureDimension, TextureSampleType, TextureUsages,
    TextureView,
};

use super::{Pipeline, PipelineError, begin, bound_dispatch::BoundDispatch, compile, memory::Memory};
use crate::{
    gpu::{Gpu, error_scopes::Scopes},
    kernels::{
        Binding, Checks, Kernel, RowsLayout, Storage, WORKGROUP, Work, activation_quads,
        binding::{X, Y},
    },
    picture::{ChannelOrder, Preprocessing, PreprocessingError},
    program::ProgramError,
    shape::Shape,
};

/// An image in a texture, such as a camera image or a render target.
///
/// Any colour format that has at least three channels and that shaders can read as floats is supported, including
/// `rgba8unorm`, `bgra8unorm`, their sRGB variants and `rgba16float`. Values are clamped to 0…1 and rounded to 8 bits,
/// as in an image file; alpha is ignored.
#[derive(Clone, Debug)]
#[must_use]
pub struct TextureSource<'a> {
    view: &'a TextureView,
    region: [u32; 4],
    linear: bool,
}

impl<'a> TextureSource<'a> {
    /// Uses the whole texture, interpreted by its own format. The view must be two-dimensional and begin at mip level
    /// 0.
    pub fn new(view: &'a TextureView) -> Self {
        let texture = view.texture();
        let region = [0, 0, texture.width(), texture.height()];
        Self { view, region, linear: texture.format().is_srgb() }
    }

    /// Restricts the source to `width` × `height` texels, starting at column `x` and row `y`.
    pub fn region(mut self, x: u32, y: u32, width: u32, height: u32) -> Self {
        self.region = [x, y, width, height];
        self
    }

    /// Columns and rows of the region.
    pub(crate) fn size(&self) -> [u32; 2] {
        [self.region[2], self.region[3]]
    }

    /// A part of the region, from its column `x` and row `y` on.
    pub(crate) fn part(&self, x: u32, y: u32, width: u32, height: u32) -> Self {
        let [left, top, ..] = self.region;
        self.clone().region(left.saturating_add(x), top.saturating_add(y), width, height)
    }

    /// Sets whether shaders read linear light, which is then encoded as sRGB, as networks expect. The default is true
    /// for sRGB texture formats. Set it where the view's format differs from the texture's, and for `rgba16float` with
    /// linear light.
    pub fn linear(mut self, linear: bool) -> Self {
        self.linear = linear;
        self
    }
}

/// Fills a pipeline's input from data on the device; see [`Pipeline::texture_input`] and [`Pipeline::buffer_input`].
#[derive(Debug)]
pub struct Input(BoundDispatch);

impl Input {
    /// Records the input into `encoder`, as one dispatch. Call it before [`Pipeline::encode`].
    pub fn encode(&self, encoder: &mut CommandEncoder) {
        self.encode_timed(encoder, None);
    }

    pub(super) fn encode_timed(
        &self,
        encoder: &mut CommandEncoder,
        timestamp_writes: Option<wgpu::ComputePassTimestampWrites<'_>>,
    ) {
        self.0.encode(&mut begin(encoder, timestamp_writes));
    }
}

/// The uniform of shaders/texture_input.wgsl.
#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct TextureUniform {
    origin: [u32; 2],
    size: [u32; 2],
    start: [f32; 2],
    step: [f32; 2],
    offset: [u32; 2],
    filled: [u32; 2],
    crop: [u32; 2],
    first: u32,
    row_quads: u32,
    pad_left: u32,
    linear: u32,
    bgr: u32,
    padding: u32,
    scale: [f32; 4],
    bias: [f32; 4],
}

/// The kernel of [`Pipeline::texture_input`].
pub(crate) fn texture_kernel(interleaved: bool, resized: bool, storage: Storage) -> Kernel {
    // The host's texture is always sampled, whatever its format.
    Kernel::new("texture_input", [("INTERLEAVED", interleaved.into()), ("RESIZED", resized.into())])
        .with_binding(Binding::read(X, Storage::SampledTexture))
        .with_binding(Binding::write(Y, storage))
}

/// The kernel of [`Pipeline::buffer_input`].
pub(crate) fn buffer_kernel(interleaved: bool, storage: Storage) -> Kernel {
    Kernel::new("buffer_input", [("WORKGROUP", WORKGROUP), ("INTERLEAVED", interleaved.into())])
        .with_binding(Binding::read(X, Storage::StorageBuffer))
        .with_binding(Binding::write(Y, storage))
}

/// The layout of the input on the device.
#[derive(Clone, Copy)]
pub(crate) struct Layout {
    shape: Shape,
    interleaved: bool,
    row_quads: u32,
    pad_left: u32,
}

impl Layout {
    /// The layout of a network's input, in rows where there is a [`RowsLayout`] for it.
    pub fn new(shape: Shape, rows_layout: Option<RowsLayout>) -> Self {
        match rows_layout {
            Some(rows) => {
                Self { shape, interleaved: true, row_quads: rows.row_quads as u32, pad_left: rows.pad_left() as u32 }
            }
            None => {
                let row_quads = (activation_quads(shape) / shape.height) as u32;
                Self { shape, interleaved: false, row_quads, pad_left: 0 }
            }
        }
    }

    /// The dispatch of [`Pipeline::texture_input`].
    fn texture_work(self, uniform: &[u8], resized: bool, storage: Storage) -> Result<Work, PipelineError> {
        let Shape { height, width, .. } = self.shape;
        let pixels = if self.interleaved { 4 * self.row_quads.div_ceil(3) } else { width as u32 };
        let workgroups = [pixels.div_ceil(4 * 8), (height as u32).div_ceil(8), 1];
        let work = Work::new(texture_kernel(self.interleaved, resized, storage), uniform, workgroups);
        work.folded().map_err(too_many_workgroups)
    }

    /// The dispatch of [`Pipeline::buffer_input`].
    fn buffer_work(self, uniform: &[u8], storage: Storage, batch: usize) -> Result<Work, PipelineError> {
        let workgroups = [self.row_quads.div_ceil(WORKGROUP), self.shape.height as u32, batch as u32];
        let work = Work::new(buffer_kernel(self.interleaved, storage), uniform, workgroups);
        work.folded().map_err(too_many_workgroups)
    }
}

fn too_many_workgroups(found: u128) -> PipelineError {
    ProgramError::Workgroups { layer: "input".into(), found }.into()
}

/// The kernels that fill the input of `batch` images.
///
/// # Errors
///
/// [`ProgramError::Workgroups`].
pub(super) fn kernels(layout: Layout, storage: Storage, batch: usize) -> Result<Vec<Kernel>, PipelineError> {
    let texture = (layout.shape.channels == 3).then(|| layout.texture_work(&[], true, storage)).transpose()?;
    let buffer = layout.buffer_work(&[], storage, batch)?;
    Ok(texture.into_iter().chain([buffer]).map(|work| work.kernel).collect())
}

/// Compiles them, so that no frame waits for it. Not every network is filled this way, so a kernel that does not
/// compile is reported only to a caller that asks for it.
pub(crate) fn compile_kernels(gpu: &Gpu, kernels: &[Kernel]) {
    for kernel in kernels {
        if let Err(error) = compile::compile(gpu, kernel, Checks::On) {
            log::warn!("{error}");
        }
    }
}

impl Pipeline {
    /// Prepares to fill image `picture` of the batch from a texture. One kernel resizes, crops and normalises as
    /// [`Preprocessing::apply`] does, to within 2/255 before normalisation. The texture's contents are read each time
    /// that [`Input::encode`] is submitted, so one call serves all frames of a render target. This makes a bind group
    /// and a uniform; the kernel was compiled by [`PipelineBuilder::build`](crate::PipelineBuilder::build).
    ///
    /// The texture must belong to the pipeline's device. A texture of another device of the same instance is an error;
    /// with one of another instance, wgpu panics.
    ///
    /// # Errors
    ///
    /// [`InputError`] when the texture, the region or the preprocessing do not fit.
    pub fn texture_input(
        &self,
        source: &TextureSource<'_>,
        preprocessing: &Preprocessing,
        picture: usize,
    ) -> Result<Input, InputError> {
        self.input_array().texture(source, preprocessing, picture, true)
    }

    /// Prepares to fill the whole batch from a storage buffer: `batch` preprocessed images of f32 in CHW order. The
    /// buffer's contents are read each time that [`Input::encode`] is submitted.
    ///
    /// # Errors
    ///
    /// [`InputError`] when the buffer is too small or not a storage buffer, or the device cannot bind it.
    pub fn buffer_input(&self, source: BufferBinding<'_>) -> Result<Input, InputError> {
        let shape = self.network.input();
        let expected = (self.batch() * shape.len() * size_of::<f32>()) as u64;
        let left = source.buffer.size().saturating_sub(source.offset);
        let found = source.size.map_or(left, |size| left.min(size.get()));
        if found < expected {
            return Err(InputError::Size { expected, found });
        }
        if !source.buffer.usage().contains(BufferUsages::STORAGE) {
            return Err(InputError::Usage { missing: "STORAGE" });
        }
        let InputArray { layout, .. } = self.input_array();
        let [channels, height, width] = [shape.channels, shape.height, shape.width].map(|n| n as u32);
        let uniform = [channels, height, width, layout.row_quads, layout.pad_left];
        let work = layout.buffer_work(bytemuck::cast_slice(&uniform), self.config.storage, self.batch());
        // Bind only the part that is read: the host's buffer may be larger than the device can bind.
        let source = BindingResource::Buffer(BufferBinding { size: NonZero::new(expected), ..source });
        self.input_array().prepare(&work.map_err(refused)?, source)
    }

    fn input_array(&self) -> InputArray<'_> {
        InputArray {
            gpu: &self.gpu,
            layout: Layout::new(self.network.input(), self.inference.input_layout),
            batch: self.batch(),
            storage: self.config.storage,
            memory: self.input(),
        }
    }
}

/// A network's input on the device, to be filled.
pub(crate) struct InputArray<'a> {
    pub gpu: &'a Gpu,
    pub layout: Layout,
    pub batch: usize,
    pub storage: Storage,
    pub memory: &'a Memory,
}

impl InputArray<'_> {
    /// Prepares to fill image `picture` of the batch from a texture; see [`Pipeline::texture_input`]. Where it is not
    /// `resized`, the region has the size of the input.
    pub fn texture(
        &self,
        source: &TextureSource<'_>,
        preprocessing: &Preprocessing,
        picture: usize,
        resized: bool,
    ) -> Result<Input, InputError> {
        preprocessing.check()?;
        let shape = self.layout.shape;
        let [rows, columns] = preprocessing.crop;
        if shape != Shape::new(3, rows, columns) || preprocessing.channels.count() != 3 {
            return Err(InputError::Crop { expected: shape, rows, columns });
        }
        if picture >= self.batch {
            return Err(InputError::Picture { batch: self.batch, found: picture });
        }
        let texture = source.view.texture();
        let format = texture.format();
        let float = matches!(format.sample_type(None, None), Some(TextureSampleType::Float { .. }));
        let plain = texture.dimension() == TextureDimension::D2 && texture.sample_count() == 1;
        if !float || !plain || format.components() < 3 {
            return Err(InputError::Format { found: format, samples: texture.sample_count() });
        }
        if !texture.usage().contains(TextureUsages::TEXTURE_BINDING) {
            return Err(InputError::Usage { missing: "TEXTURE_BINDING" });
        }
        let [left, top, width, height] = source.region;
        let within = |start: u32, len: u32, side| len > 0 && start.checked_add(len).is_some_and(|end| end <= side);
        if !within(left, width, texture.width()) || !within(top, height, texture.height()) {
            let size = [texture.width(), texture.height()];
            return Err(InputError::Region { found: source.region, size });
        }

        let [y, x] = preprocessing.spans(height, width);
        let both = |of: fn(&crate::picture::Span) -> f64| [of(&x), of(&y)];
        let start = both(|s| s.source[0]).map(|v| v as f32);
        let step = both(|s| (s.source[1] - s.source[0]) / s.len as f64).map(|v| v as f32);
        let layout = self.layout;
        let Layout { row_quads, pad_left, .. } = layout;
        let channels = |of: fn(&Preprocessing, usize) -> f32| {
            let [r, g, b] = [0, 1, 2].map(|channel| of(preprocessing, channel));
            [r, g, b, 0.0]
        };
        let uniform = TextureUniform {
            origin: [left, top],
            size: [width, height],
            start,
            step,
            offset: [x.offset as u32, y.offset as u32],
            filled: [x.len as u32, y.len as u32],
            crop: [columns as u32, rows as u32],
            first: (picture * rows) as u32 * row_quads,
            row_quads,
            pad_left,
            linear: source.linear.into(),
            bgr: (preprocessing.channels == ChannelOrder::Bgr).into(),
            padding: 0,
            scale: channels(|p, c| p.scale / p.std[c]),
            bias: channels(|p, c| -p.mean[c] / p.std[c]),
        };
        let work = layout.texture_work(bytemuck::bytes_of(&uniform), resized, self.storage).map_err(refused)?;
        self.prepare(&work, BindingResource::TextureView(source.view))
    }

    fn prepare(&self, work: &Work, source: BindingResource<'_>) -> Result<Input, InputError> {
        let Work { kernel, uniform, workgroups, .. } = work;
        let compiled = compile::compile(self.gpu, kernel, Checks::On).map_err(refused)?;
        let scopes = Scopes::push(self.gpu.device());
        let resources = [(X, source), (Y, self.memory.binding())];
        let dispatch = BoundDispatch::new(self.gpu, (kernel, &compiled), uniform, resources, *workgroups);
        match scopes.pop_now() {
            Some(error) => Err(refused(error.into())),
            None => Ok(Input(dispatch)),
        }
    }
}

/// A texture or buffer that cannot be a network's input.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InputError {
    /// The preprocessing cannot be applied.
    #[error(transparent)]
    Preprocessing(#[from] PreprocessingError),
    /// The preprocessing does not produce the network's input shape.
    #[error("expected preprocessing to the network's input of {expected}, found a crop to 3×{rows}×{columns}")]
    Crop {
        /// The network's input.
        expected: Shape,
        /// Rows of the crop.
        rows: usize,
        /// Columns of the crop.
        columns: usize,
    },
    /// The batch has no image with this index.
    #[error("expected an image index of 0 to {}, found {found}: build the pipeline with a larger batch", batch - 1)]
    Picture {
        /// The batch size.
        batch: usize,
        /// The requested index.
        found: usize,
    },
    /// Shaders cannot read colours from the texture.
    #[error(
        "expected a two-dimensional texture of one sample and three float channels or more, found {found:?} of {samples} \
         samples: resolve or convert it first"
    )]
    Format {
        /// The texture's format.
        found: wgpu::TextureFormat,
        /// The number of samples per texel.
        samples: u32,
    },
    /// The texture or buffer lacks a usage.
    #[error("expected the usage {missing}: add it where the texture or buffer is made")]
    Usage {
        /// The missing usage.
        missing: &'static str,
    },
    /// The region is empty or exceeds the texture.
    #[error("expected a region within {}×{} texels, found {}×{} at {}, {}", size[0], size[1], found[2], found[3], found[0], found[1])]
    Region {
        /// Column, row, width and height.
        found: [u32; 4],
        /// The texture's width and height.
        size: [u32; 2],
    },
    /// The buffer is too small.
    #[error("expected at least {expected} bytes (batch × channels × height × width of f32), found {found}")]
    Size {
        /// Bytes that the batch needs.
        expected: u64,
        /// Bytes in the binding.
        found: u64,
    },
    /// The device has too little memory.
    #[error("the device has too little memory for a kernel and its uniform: {0}; free other memory of the device")]
    OutOfMemory(String),
    /// The device rejected the texture or buffer.
    #[error("the device refused: {0}; is the texture or buffer of the pipeline's device?")]
    Device(String),
}

fn refused(error: PipelineError) -> InputError {
    match error {
        PipelineError::OutOfMemory(what) => InputError::OutOfMemory(what),
        PipelineError::Device(what) => InputError::Device(what),
        other => InputError::Device(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use super::*;
    use crate::{layers::Conv, network::Network, runtime::memory, weights::Weights};

    /// Binding the first texture or buffer in a frame compiles nothing, in either layout.
    #[test]
    fn kernels_are_compiled_before_the_first_frame() {
        let gpu = Gpu::for_tests();
        let networks = [
            Network::builder("rows", Shape::new(3, 8, 8)).conv("conv1", Conv::new(4, 4).stride(4)).build().unwrap(),
            Network::builder("quads", Shape::new(3, 8, 8)).dropout("out").build().unwrap(),
        ];
        for (network, interleaved) in networks.iter().zip([true, false]) {
            let pipeline = Pipeline::builder(&gpu, network, &Weights::random(network, 1)).build().unwrap();
            assert_eq!(pipeline.input_array().layout.interleaved, interleaved);
            let texture = gpu.device().create_texture(&wgpu::TextureDescriptor {
                label: None,
                size: wgpu::Extent3d { width: 9, height: 9, depth_or_array_layers: 1 },
                mip_level_count: 1,
                sample_count: 1,
                dimension: TextureDimension::D2,
                format: wgpu::TextureFormat::Rgba8Unorm,
                usage: TextureUsages::TEXTURE_BINDING,
                view_formats: &[],
            });
            let view = texture.create_view(&Default::default());
            let buffer = memory::filled(&gpu, "numbers", &[0; 4 * 3 * 8 * 8], BufferUsages::STORAGE);
            let compiled = gpu.compiled().len();
            pipeline.texture_input(&TextureSource::new(&view), &Preprocessing::torchvision(8), 0).unwrap();
            pipeline.buffer_input(buffer.as_entire_buffer_binding()).unwrap();
            assert_eq!(gpu.compiled().len(), compiled);
        }
    }
}
