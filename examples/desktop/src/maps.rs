//! Activations drawn as maps, on the GPU: from a layer's buffer to a texture.

use alexnet_wgpu::{
    Shape,
    wgpu::{self, util::DeviceExt},
};
use eframe::egui::Color32;
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

/// The colour of a number from −1 to 1, as in maps.wgsl.
pub fn colour(number: f32) -> Color32 {
    let smoothstep = |from: f32, to: f32, x: f32| {
        let t = ((x - from) / (to - from)).clamp(0.0, 1.0);
        t * t * (3.0 - 2.0 * t)
    };
    let t = number.abs().min(1.0);
    let [low, middle, high] = [(0.0, 0.55), (0.3, 0.85), (0.75, 1.05)].map(|(from, to)| smoothstep(from, to, t));
    let rgb = if number >= 0.0 { [low, middle, high + 0.35 * t * (1.0 - t)] } else { [high, middle, low] };
    let [r, g, b] = rgb.map(|share| (255.0 * share.min(1.0)).round() as u8);
    Color32::from_rgb(r, g, b)
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
        let channels = shape.channels.next_multiple_of(4);
        let (row_stride, column_stride, map_stride) = match order {
            Order::ChannelsLast => (shape.width * channels, channels, 1),
            Order::ChannelsFirst => (shape.width, 1, shape.height * shape.width),
        };
        let len = shape.height * shape.width;
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use alexnet_wgpu::{Gpu, GpuOptions};

    use super::*;
    use crate::export::read;

    #[test]
    fn the_legend_has_the_colours_of_the_maps() {
        let gpu = Gpu::open_blocking(&GpuOptions::default()).unwrap();
        let numbers: Vec<f32> = (-20..=20).map(|number| number as f32 / 20.0).collect();
        let buffer = gpu.device().create_buffer_init(&wgpu::util::BufferInitDescriptor {
            label: None,
            contents: bytemuck::cast_slice(&numbers),
            usage: wgpu::BufferUsages::STORAGE,
        });
        let mut encoder = gpu.device().create_command_encoder(&Default::default());
        let (shape, painter) = (Shape::new(1, 1, numbers.len()), MapPainter::new(gpu.device()));
        let painted = painter.paint(&mut encoder, &buffer, shape, Order::ChannelsFirst, Contrast::Map).unwrap();
        gpu.queue().submit([encoder.finish()]);
        let drawn = read(gpu.device(), gpu.queue(), painted.0.texture()).unwrap();
        assert_eq!(drawn.width() as usize, numbers.len());
        for (number, pixel) in numbers.iter().zip(drawn.pixels()) {
            let off = colour(*number).to_array().iter().zip(pixel.0).map(|(a, b)| a.abs_diff(b)).max();
            assert!(off <= Some(1), "{number}: {:?}, drawn {pixel:?}", colour(*number));
        }
    }
}
