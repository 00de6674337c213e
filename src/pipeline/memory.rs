//! Flat arrays of `vec4<f32>` on the device, as a storage buffer or as a texture.

use wgpu::{
    BindingResource, Buffer, BufferDescriptor, BufferUsages, CommandEncoder, Device, Extent3d, Origin3d, Queue,
    TexelCopyBufferInfo, TexelCopyBufferLayout, TexelCopyTextureInfo, Texture, TextureAspect, TextureUsages,
    TextureView,
};

use crate::{
    gpu::Gpu,
    kernels::{Storage, TEXTURE_WIDTH},
};

/// Bytes of one `vec4<f32>`.
pub(super) const QUAD: u64 = 16;
/// Bytes of a texture's row.
const ROW: u64 = TEXTURE_WIDTH as u64 * QUAD;
/// Bytes uploaded between two submissions, so that staging memory stays small.
const UPLOAD: u64 = 8 << 20;

/// A flat array of `vec4<f32>`.
#[derive(Debug)]
pub(super) enum Memory {
    Buffer(Buffer),
    Texture(Texture, TextureView),
}

impl Memory {
    /// An array of `quads` vec4s, zero.
    pub fn new(device: &Device, label: &str, quads: u64, storage: Storage, writable: bool) -> Self {
        match storage {
            Storage::Buffer => Self::Buffer(device.create_buffer(&BufferDescriptor {
                label: Some(label),
                size: quads * QUAD,
                usage: BufferUsages::STORAGE | BufferUsages::COPY_DST | BufferUsages::COPY_SRC,
                mapped_at_creation: false,
            })),
            Storage::Texture => {
                let mut usage = TextureUsages::TEXTURE_BINDING | TextureUsages::COPY_DST;
                if writable {
                    usage |= TextureUsages::STORAGE_BINDING | TextureUsages::COPY_SRC;
                }
                let texture = device.create_texture(&wgpu::TextureDescriptor {
                    label: Some(label),
                    size: Extent3d {
                        width: TEXTURE_WIDTH,
                        height: quads.div_ceil(TEXTURE_WIDTH.into()) as u32,
                        depth_or_array_layers: 1,
                    },
                    mip_level_count: 1,
                    sample_count: 1,
                    dimension: wgpu::TextureDimension::D2,
                    format: wgpu::TextureFormat::Rgba32Float,
                    usage,
                    view_formats: &[],
                });
                let view = texture.create_view(&Default::default());
                Self::Texture(texture, view)
            }
        }
    }

    /// The most vec4s that one binding can hold on `device`.
    pub fn limit(device: &Device, storage: Storage) -> u64 {
        let limits = device.limits();
        match storage {
            Storage::Buffer => limits.max_storage_buffer_binding_size.min(limits.max_buffer_size) / QUAD,
            Storage::Texture => u64::from(TEXTURE_WIDTH) * u64::from(limits.max_texture_dimension_2d),
        }
    }

    /// For a bind group.
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
            Self::Texture(texture, _) => u64::from(texture.height()) * ROW,
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
        for Piece { start, end, row, width, height } in pieces(bytes.len() as u64) {
            queue.write_texture(
                texture_rows(texture, (offset / ROW) as u32 + row),
                &bytes[start as usize..end as usize],
                TEXTURE_LAYOUT,
                Extent3d { width, height, depth_or_array_layers: 1 },
            );
        }
    }

    /// Records a write of `values` from the start of the array. Unlike [`Memory::write`] it is part of the command
    /// buffer, and comes neither earlier nor later. `None` where the device has no staging buffer for it.
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
                for Piece { start, row, width, height, .. } in pieces(bytes.len() as u64) {
                    encoder.copy_buffer_to_texture(
                        TexelCopyBufferInfo {
                            buffer: &staging,
                            layout: TexelCopyBufferLayout { offset: start, ..TEXTURE_LAYOUT },
                        },
                        texture_rows(texture, row),
                        Extent3d { width, height, depth_or_array_layers: 1 },
                    );
                }
            }
        }
        Some(())
    }

    /// Bytes of a buffer that [`Memory::copy_to`] fills with `quads` vec4s.
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
                TexelCopyBufferInfo { buffer: target, layout: TEXTURE_LAYOUT },
                Extent3d {
                    width: TEXTURE_WIDTH,
                    height: quads.div_ceil(TEXTURE_WIDTH.into()) as u32,
                    depth_or_array_layers: 1,
                },
            ),
        }
    }
}

/// A rectangle of a texture that stands for a flat array, and the bytes that it holds.
struct Piece {
    start: u64,
    end: u64,
    row: u32,
    width: u32,
    height: u32,
}

/// `len` bytes from the start of a row on: whole rows, and what is left.
fn pieces(len: u64) -> impl Iterator<Item = Piece> {
    let rows = len / ROW;
    let whole = Piece { start: 0, end: rows * ROW, row: 0, width: TEXTURE_WIDTH, height: rows as u32 };
    let rest =
        Piece { start: whole.end, end: len, row: rows as u32, width: ((len - whole.end) / QUAD) as u32, height: 1 };
    [whole, rest].into_iter().filter(|piece| piece.start < piece.end)
}

const TEXTURE_LAYOUT: TexelCopyBufferLayout =
    TexelCopyBufferLayout { offset: 0, bytes_per_row: Some(ROW as u32), rows_per_image: None };

fn texture_rows(texture: &Texture, row: u32) -> TexelCopyTextureInfo<'_> {
    let origin = Origin3d { x: 0, y: row, z: 0 };
    TexelCopyTextureInfo { texture, mip_level: 0, origin, aspect: TextureAspect::All }
}

/// A small buffer that holds `bytes` from the queue's next submission on. (wgpu's `create_buffer_init` panics where there
/// is no memory or the device is lost; here it is an error for the scope that this is called in.)
pub(super) fn filled(gpu: &Gpu, label: &str, bytes: &[u8], usage: BufferUsages) -> Buffer {
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
    device: &'a Device,
    queue: &'a Queue,
    target: &'a Memory,
    staged: Vec<f32>,
    offset: u64,
}

impl<'a> Upload<'a> {
    pub fn new(device: &'a Device, queue: &'a Queue, target: &'a Memory) -> Self {
        Self { device, queue, target, staged: Vec::new(), offset: 0 }
    }

    /// Room for the next `len` numbers.
    pub fn next(&mut self, len: usize) -> &mut [f32] {
        if (self.staged.len() * 4) as u64 >= UPLOAD {
            let whole = self.staged.len() * 4 / ROW as usize * ROW as usize / 4;
            self.flush(whole);
        }
        let start = self.staged.len();
        self.staged.resize(start + len, 0.0);
        &mut self.staged[start..]
    }

    fn flush(&mut self, count: usize) {
        self.target.write_at(self.queue, self.offset, bytemuck::cast_slice(&self.staged[..count]));
        self.offset += count as u64 * 4;
        self.staged.drain(..count);
        // Submitting and polling lets go of the staging memory.
        self.queue.submit([]);
        let _ = self.device.poll(wgpu::PollType::Poll);
    }

    /// Writes what is left.
    pub fn finish(mut self) {
        if !self.staged.is_empty() {
            self.flush(self.staged.len());
        }
    }
}
