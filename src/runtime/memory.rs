//! Flat arrays of `vec4<f32>` on the device, as a storage buffer or as a texture.

#[cfg(not(target_arch = "wasm32"))]
use futures::channel::oneshot;
use wgpu::{
    BindingResource, Buffer, BufferDescriptor, BufferUsages, CommandEncoder, Device, Extent3d, Origin3d, Queue,
    TexelCopyBufferInfo, TexelCopyBufferLayout, TexelCopyTextureInfo, Texture, TextureAspect, TextureFormat,
    TextureUsages, TextureView,
};

#[cfg(not(target_arch = "wasm32"))]
use super::wait;
use crate::{
    gpu::Gpu,
    kernels::{Precision, Storage, TEXTURE_WIDTH, texture_height},
    program::{Allocation, QUAD},
};

/// Bytes per row of an activation's texture.
const ROW: u64 = TEXTURE_WIDTH as u64 * QUAD;
/// Bytes uploaded between two submissions, so that staging memory stays small.
const UPLOAD: u64 = 1 << 20;

/// A flat array of `vec4<f32>`, or of weights in quads of [`Precision::quad_bytes`].
#[derive(Clone, Debug)]
pub(crate) enum Memory {
    Buffer(Buffer),
    Texture(Texture, TextureView),
}

impl Memory {
    /// Allocates memory on `device`, filled with zeros.
    pub fn new(device: &Device, allocation: &Allocation) -> Self {
        let Allocation { label, bytes, precision, storage, written } = *allocation;
        let texture_usage = match (storage, written) {
            (Storage::StorageBuffer, _) => {
                return Self::Buffer(device.create_buffer(&BufferDescriptor {
                    label: Some(label),
                    size: bytes,
                    usage: BufferUsages::STORAGE | BufferUsages::COPY_DST | BufferUsages::COPY_SRC,
                    mapped_at_creation: false,
                }));
            }
            (Storage::StorageTexture, false) => TextureUsages::STORAGE_BINDING,
            (Storage::SampledTexture, false) => TextureUsages::TEXTURE_BINDING,
            (Storage::StorageTexture, true) => TextureUsages::STORAGE_BINDING | TextureUsages::COPY_SRC,
            (Storage::SampledTexture, true) => {
                TextureUsages::TEXTURE_BINDING | TextureUsages::STORAGE_BINDING | TextureUsages::COPY_SRC
            }
        };
        let texels = bytes.div_ceil(precision.quad_bytes());
        let texture = device.create_texture(&wgpu::TextureDescriptor {
            label: Some(label),
            size: Extent3d { width: TEXTURE_WIDTH, height: texture_height(texels) as u32, depth_or_array_layers: 1 },
            mip_level_count: 1,
            sample_count: 1,
            dimension: wgpu::TextureDimension::D2,
            format: texture_format(precision),
            usage: texture_usage | TextureUsages::COPY_DST,
            view_formats: &[],
        });
        let view = texture.create_view(&Default::default());
        Self::Texture(texture, view)
    }

    /// The maximum number of vec4s that one binding can hold on `device`.
    pub fn limit(device: &Device, storage: Storage) -> u64 {
        let limits = device.limits();
        match storage {
            Storage::StorageBuffer => limits.max_storage_buffer_binding_size.min(limits.max_buffer_size) / QUAD,
            Storage::StorageTexture | Storage::SampledTexture => {
                // A texture may have a row more than it needs.
                u64::from(TEXTURE_WIDTH) * u64::from(limits.max_texture_dimension_2d - 1)
            }
        }
    }

    /// The binding resource for a bind group.
    pub fn binding(&self) -> BindingResource<'_> {
        match self {
            Self::Buffer(buffer) => buffer.as_entire_binding(),
            Self::Texture(_, view) => BindingResource::TextureView(view),
        }
    }

    /// Bytes on the device.
    pub fn size(&self) -> u64 {
        match self {
            Self::Buffer(buffer) => buffer.size(),
            Self::Texture(texture, _) => u64::from(texture.height()) * row_bytes(texture),
        }
    }

    /// Writes `values` from the start of the array, with the queue's next submission.
    pub fn write(&self, queue: &Queue, values: &[f32]) {
        self.write_at(queue, 0, bytemuck::cast_slice(values));
    }

    /// Writes `bytes` at `offset`, which for a texture must be the start of a row.
    fn write_at(&self, queue: &Queue, offset: u64, bytes: &[u8]) {
        let texture = match self {
            Self::Buffer(buffer) => return queue.write_buffer(buffer, offset, bytes),
            Self::Texture(texture, _) => texture,
        };
        for Piece { start, end, row, size } in pieces(texture, bytes.len() as u64) {
            queue.write_texture(
                texture_rows(texture, (offset / row_bytes(texture)) as u32 + row),
                &bytes[start as usize..end as usize],
                texture_layout(texture, 0),
                size,
            );
        }
    }

    /// Records a write of `values` from the start of the array. Unlike [`Memory::write`], it is part of the command
    /// buffer and takes effect in its order. `None` where the device has no memory for the staging buffer.
    pub fn copy_from(&self, device: &Device, encoder: &mut CommandEncoder, values: &[f32]) -> Option<()> {
        let bytes: &[u8] = bytemuck::cast_slice(values);
        let staging = device.create_buffer(&BufferDescriptor {
            label: Some("staging"),
            size: bytes.len() as u64,
            usage: BufferUsages::MAP_WRITE | BufferUsages::COPY_SRC,
            mapped_at_creation: true,
        });
        staging.get_mapped_range_mut(..).ok()?.copy_from_slice(bytes);
        staging.unmap();
        match self {
            Self::Buffer(buffer) => encoder.copy_buffer_to_buffer(&staging, 0, buffer, 0, bytes.len() as u64),
            Self::Texture(texture, _) => {
                for Piece { start, row, size, .. } in pieces(texture, bytes.len() as u64) {
                    let layout = texture_layout(texture, start);
                    let source = TexelCopyBufferInfo { buffer: &staging, layout };
                    encoder.copy_buffer_to_texture(source, texture_rows(texture, row), size);
                }
            }
        }
        Some(())
    }

    /// Size in bytes of the buffer that [`Memory::copy_to`] fills with `quads` vec4s.
    pub fn copy_size(&self, quads: u64) -> u64 {
        match self {
            Self::Buffer(_) => quads * QUAD,
            Self::Texture(..) => (quads * QUAD).next_multiple_of(ROW),
        }
    }

    /// Records a copy of the first `quads` vec4s to the start of `target`.
    pub fn copy_to(&self, encoder: &mut CommandEncoder, quads: u64, target: &Buffer) {
        match self {
            Self::Buffer(buffer) => encoder.copy_buffer_to_buffer(buffer, 0, target, 0, quads * QUAD),
            Self::Texture(texture, _) => encoder.copy_texture_to_buffer(
                texture_rows(texture, 0),
                TexelCopyBufferInfo { buffer: target, layout: texture_layout(texture, 0) },
                Extent3d {
                    width: TEXTURE_WIDTH,
                    height: quads.div_ceil(TEXTURE_WIDTH.into()) as u32,
                    depth_or_array_layers: 1,
                },
            ),
        }
    }
}

/// The texel format of weight quads in `precision`.
pub(crate) fn texture_format(precision: Precision) -> TextureFormat {
    match precision {
        Precision::F32 => TextureFormat::Rgba32Float,
        Precision::F16 => TextureFormat::Rgba16Float,
        Precision::Int8 => TextureFormat::Rgba8Snorm,
    }
}

/// A rectangle of a texture that holds part of a flat array, and the range of bytes in it.
struct Piece {
    start: u64,
    end: u64,
    row: u32,
    size: Extent3d,
}

/// The pieces of `len` bytes from the start of a row of `texture`: whole rows, then the remainder.
fn pieces(texture: &Texture, len: u64) -> impl Iterator<Item = Piece> {
    let row = row_bytes(texture);
    let whole = len / row * row;
    let rest = (len - whole) * u64::from(TEXTURE_WIDTH) / row;
    let piece = |start, end, width, height| {
        let size = Extent3d { width, height, depth_or_array_layers: 1 };
        Piece { start, end, row: (start / row) as u32, size }
    };
    let pieces = [piece(0, whole, TEXTURE_WIDTH, (whole / row) as u32), piece(whole, len, rest as u32, 1)];
    pieces.into_iter().filter(|piece| piece.start < piece.end)
}

/// The layout of `texture`'s rows in memory, from `offset` on.
fn texture_layout(texture: &Texture, offset: u64) -> TexelCopyBufferLayout {
    TexelCopyBufferLayout { offset, bytes_per_row: Some(row_bytes(texture) as u32), rows_per_image: None }
}

/// Bytes per row of `texture`.
fn row_bytes(texture: &Texture) -> u64 {
    u64::from(TEXTURE_WIDTH) * u64::from(texture.format().block_copy_size(None).unwrap_or(QUAD as u32))
}

fn texture_rows(texture: &Texture, row: u32) -> TexelCopyTextureInfo<'_> {
    let origin = Origin3d { x: 0, y: row, z: 0 };
    TexelCopyTextureInfo { texture, mip_level: 0, origin, aspect: TextureAspect::All }
}

/// A small buffer that holds `bytes` from the queue's next submission on. (wgpu's `create_buffer_init` panics when
/// there is no memory or the device is lost; here that is an error for the surrounding error scope.)
pub(crate) fn filled(gpu: &Gpu, label: &str, bytes: &[u8], usage: BufferUsages) -> Buffer {
    let buffer = gpu.device().create_buffer(&BufferDescriptor {
        label: Some(label),
        size: bytes.len() as u64,
        usage: usage | BufferUsages::COPY_DST,
        mapped_at_creation: false,
    });
    gpu.queue().write_buffer(&buffer, 0, bytes);
    buffer
}

/// Fills a [`Memory`] from front to back in pieces, holding only a few megabytes at a time.
pub(super) struct Upload<'a> {
    gpu: &'a Gpu,
    target: Memory,
    /// Less than a row, held back until the row is complete.
    staged: Vec<u8>,
    /// Bytes written.
    offset: u64,
    /// Bytes written at the last submission.
    submitted: u64,
    /// Signalled when the copy before the last one is done.
    #[cfg(not(target_arch = "wasm32"))]
    last: Option<oneshot::Receiver<()>>,
}

impl<'a> Upload<'a> {
    pub fn new(gpu: &'a Gpu, target: Memory) -> Self {
        Self {
            gpu,
            target,
            staged: Vec::with_capacity(ROW as usize),
            offset: 0,
            submitted: 0,
            #[cfg(not(target_arch = "wasm32"))]
            last: None,
        }
    }

    /// Appends bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        // ROW is a multiple of the row size of every texture format used.
        let started = if self.staged.is_empty() { 0 } else { ROW as usize - self.staged.len() };
        let (end_of_row, bytes) = bytes.split_at(started.min(bytes.len()));
        self.staged.extend_from_slice(end_of_row);
        if self.staged.len() == ROW as usize {
            self.write_staged();
        }
        let (rows, rest) = bytes.split_at(bytes.len() / ROW as usize * ROW as usize);
        self.write(rows);
        self.staged.extend_from_slice(rest);
        if self.offset - self.submitted >= UPLOAD {
            self.submit();
        }
    }

    fn write(&mut self, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.target.write_at(self.gpu.queue(), self.offset, bytes);
            self.offset += bytes.len() as u64;
        }
    }

    fn write_staged(&mut self) {
        let mut staged = std::mem::take(&mut self.staged);
        self.write(&staged);
        staged.clear();
        self.staged = staged;
    }

    fn submit(&mut self) {
        self.submitted = self.offset;
        // Staging memory is freed when its copy is done. Waiting for the copy before the last one lets the next be
        // packed meanwhile.
        self.gpu.queue().submit([]);
        #[cfg(not(target_arch = "wasm32"))]
        {
            let (send, done) = oneshot::channel();
            self.gpu.queue().on_submitted_work_done(move || _ = send.send(()));
            if let Some(last) = self.last.replace(done) {
                // The error scopes report a lost device.
                let _ = wait::wait(self.gpu.device(), last);
            }
        }
    }

    /// Writes the remainder.
    pub fn finish(mut self) {
        self.write_staged();
        if self.offset > self.submitted {
            self.submit();
        }
    }
}
