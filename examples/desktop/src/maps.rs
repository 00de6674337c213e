//! Activations drawn as maps, on the GPU: from a layer's buffer to a texture.

use alexnet_wgpu::{
    Shape,
    wgpu::{self, util::DeviceExt},
};
use serde::{Deserialize, Serialize};

use crate::tiles::Tiles;

/// What a map's brightest spot stands for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Contrast {
    /// The largest number of the map.
    #[default]
    Map,
    /// The largest number of the layer.
    Layer,
}

/// How an activation lies in its buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// `[row][column][channel]`, the channels padded to whole fours: as `Pipeline::encode_layers` copies it.
    ChannelsLast,
    /// `[channel][row][column]`: as `Pipeline::run_layers` reads it.
    ChannelsFirst,
}

/// Draws activations.
#[derive(Debug)]
pub struct MapPainter {
    device: wgpu::Device,
    layout: wgpu::BindGroupLayout,
    find_peaks: wgpu::ComputePipeline,
    draw: wgpu::ComputePipeline,
}

impl MapPainter {
    /// Compiles the two passes.
    pub fn new(device: &wgpu::Device) -> Self {
        let module = device.create_shader_module(wgpu::include_wgsl!("maps.wgsl"));
        let buffer = |binding, ty| wgpu::BindGroupLayoutEntry {
            binding,
            visibility: wgpu::ShaderStages::COMPUTE,
            ty: wgpu::BindingType::Buffer { ty, has_dynamic_offset: false, min_binding_size: None },
            count: None,
        };
        let picture = wgpu::BindingType::StorageTexture {
            access: wgpu::StorageTextureAccess::WriteOnly,
            format: wgpu::TextureFormat::Rgba8Unorm,
            view_dimension: wgpu::TextureViewDimension::D2,
        };
        let layout = device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
            label: Some("maps"),
            entries: &[
                buffer(0, wgpu::BufferBindingType::Storage { read_only: true }),
                buffer(1, wgpu::BufferBindingType::Storage { read_only: false }),
                buffer(2, wgpu::BufferBindingType::Uniform),
                wgpu::BindGroupLayoutEntry {
                    binding: 3,
                    visibility: wgpu::ShaderStages::COMPUTE,
                    ty: picture,
                    count: None,
                },
            ],
        });
        let pipeline_layout = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
            label: Some("maps"),
            bind_group_layouts: &[Some(&layout)],
            ..Default::default()
        });
        let pipeline = |entry_point| {
            device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
                label: Some(entry_point),
                layout: Some(&pipeline_layout),
                module: &module,
                entry_point: Some(entry_point),
                compilation_options: Default::default(),
                cache: None,
            })
        };
        Self { device: device.clone(), find_peaks: pipeline("find_peaks"), draw: pipeline("draw"), layout }
    }

    /// Records the drawing of the activation in `values`, of which there is one picture; `None` where no texture is
    /// large enough for all maps.
    pub fn paint(
        &self,
        encoder: &mut wgpu::CommandEncoder,
        values: &wgpu::Buffer,
        shape: Shape,
        order: Order,
        contrast: Contrast,
    ) -> Option<(wgpu::TextureView, Tiles)> {
        let largest = self.device.limits().max_texture_dimension_2d as usize;
        let tiles = Tiles::of(shape).filter(|tiles| tiles.size().iter().all(|&side| side <= largest))?;
        let vector = shape.height * shape.width == 1;
        let channels = shape.channels.next_multiple_of(4);
        let (row_stride, column_stride, map_stride) = match order {
            _ if vector => (tiles.width, 1, 0),
            Order::ChannelsLast => (shape.width * channels, channels, 1),
            Order::ChannelsFirst => (shape.width, 1, shape.height * shape.width),
        };
        let len = if vector { shape.channels } else { shape.height * shape.width };
        let own_scale = usize::from(contrast == Contrast::Map);
        // Padded to whole vec4s, as uniforms are.
        let uniform = [
            tiles.width,
            tiles.height,
            tiles.count,
            tiles.columns,
            row_stride,
            column_stride,
            map_stride,
            len,
            own_scale,
            0,
            0,
            0,
        ];
        let uniform = uniform.map(|number| number as u32);
        let uniform = self.device.create_buffer_init(&wgpu::util::BufferInitDescriptor {
            label: Some("maps"),
            contents: bytemuck::cast_slice(&uniform),
            usage: wgpu::BufferUsages::UNIFORM,
        });
        // New buffers are zero, and so is the least peak.
        let peaks = self.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("peaks"),
            size: 4 * (tiles.count as u64 + 1),
            usage: wgpu::BufferUsages::STORAGE,
            mapped_at_creation: false,
        });
        let [width, height] = tiles.size().map(|side| side as u32);
        let texture = self.device.create_texture(&wgpu::TextureDescriptor {
            label: Some("maps"),
            size: wgpu::Extent3d { width, height, depth_or_array_layers: 1 },
            mip_level_count: 1,
            sample_count: 1,
            dimension: wgpu::TextureDimension::D2,
            format: wgpu::TextureFormat::Rgba8Unorm,
            usage: wgpu::TextureUsages::STORAGE_BINDING
                | wgpu::TextureUsages::TEXTURE_BINDING
                | wgpu::TextureUsages::COPY_SRC,
            view_formats: &[],
        });
        let view = texture.create_view(&Default::default());
        let entry = |binding, resource| wgpu::BindGroupEntry { binding, resource };
        let bind_group = self.device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: Some("maps"),
            layout: &self.layout,
            entries: &[
                entry(0, values.as_entire_binding()),
                entry(1, peaks.as_entire_binding()),
                entry(2, uniform.as_entire_binding()),
                entry(3, wgpu::BindingResource::TextureView(&view)),
            ],
        });
        let mut pass = encoder.begin_compute_pass(&Default::default());
        pass.set_bind_group(0, &bind_group, &[]);
        pass.set_pipeline(&self.find_peaks);
        pass.dispatch_workgroups(tiles.count as u32, 1, 1);
        pass.set_pipeline(&self.draw);
        pass.dispatch_workgroups(width.div_ceil(8), height.div_ceil(8), 1);
        drop(pass);
        Some((view, tiles))
    }
}
