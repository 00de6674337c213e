//! A render loop that classifies its own frames: on its own device, in its own encoder, with no copy through the
//! processor and no wait for a result. What an engine does, without the engine and without a window.
//!
//! ```text
//! cargo run --release --example embed [FRAMES] [small]
//! ```
//!
//! Draws 60 frames a second. Prints the frame times without the network, with it whole in every frame, and spread over frames by a
//! budget, and how much of that a slice takes. `small` is a network that fits software adapters, whose frame a single layer of
//! the embedded one would fill; it is not trained.

use std::{
    env,
    error::Error,
    thread,
    time::{Duration, Instant},
};

use alexnet_wgpu::{
    AlexNet, FrameBudget, Gpu, KernelConfig, Model, Picture, Pipeline, Resize, Shape, TextureSource, Ticket, Variant,
    train::{Init, initial_weights},
    wgpu,
};
use wgpu::{TextureFormat, TextureUsages, util::DeviceExt as _};

/// The target that the frames are drawn into.
const WIDTH: u32 = 640;
const HEIGHT: u32 = 480;
const FORMAT: TextureFormat = TextureFormat::Rgba8UnormSrgb;
/// What the network may cost in a frame where it is spread.
const BUDGET: Duration = Duration::from_millis(4);
/// From the start of a frame to that of the next one.
const FRAME: Duration = Duration::from_nanos(1_000_000_000 / 60);

/// How much of the network goes into a frame.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Load {
    Nothing,
    Whole,
    Slice,
}

fn main() -> Result<(), Box<dyn Error>> {
    let frames = env::args().nth(1).map_or(Ok(60), |n| n.parse())?;

    // The engine's device. It asks for what it needs itself, and for what the network needs.
    let model = if env::args().nth(2).is_some_and(|which| which == "small") { small()? } else { Model::embedded()? };
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle());
    let adapter = pollster::block_on(instance.request_adapter(&Default::default()))?;
    let config = KernelConfig::for_adapter(&adapter);
    let own = wgpu::Limits::default();
    let (device, queue) = pollster::block_on(adapter.request_device(&wgpu::DeviceDescriptor {
        required_features: Pipeline::required_features(config) | (adapter.features() & wgpu::Features::TIMESTAMP_QUERY),
        required_limits: Pipeline::required_limits(&model.network, 1, config)?.or_better_values_from(&own),
        ..Default::default()
    }))?;
    println!("{}", device.adapter_info().name);
    let scene = Scene::new(&device, &queue)?;

    // The network, once: compiled, uploaded, and bound to the frame that it looks at.
    let gpu = Gpu::from_device(device.clone(), queue.clone())?;
    let pipeline = Pipeline::builder(&gpu, &model.network, &model.weights).top(1).build()?;
    let input = pipeline.texture_input(&TextureSource::new(&scene.target), &model.preprocessing, 0)?;
    let mut slices = match pipeline.profile_blocking()? {
        Some(times) => FrameBudget::measured(&times),
        None => FrameBudget::modelled(&pipeline, 4 * BUDGET),
    };
    // Scaling a whole frame down takes a processor longer than many a layer.
    if let Some(cost) = pipeline.profile_input_blocking(&input)? {
        slices.set_input_cost(cost);
    }

    let mut alone = 0.0;
    for load in [Load::Nothing, Load::Whole, Load::Slice] {
        let mut open: Vec<Ticket> = Vec::new();
        let mut seen = Vec::new();
        let mut times = Vec::new();
        let mut next = Instant::now();
        for frame in 0..frames {
            thread::sleep(next.saturating_duration_since(Instant::now()));
            let start = Instant::now();
            next = start.max(next) + FRAME;
            let mut encoder = device.create_command_encoder(&Default::default());
            scene.draw(&queue, &mut encoder, frame);

            let complete = match load {
                Load::Nothing => false,
                Load::Whole => {
                    input.encode(&mut encoder);
                    pipeline.encode(&mut encoder);
                    true
                }
                // The frame that an inference begins with is the one that it is about.
                Load::Slice => {
                    pipeline.encode_slice(&mut encoder, &mut slices, BUDGET, |encoder| input.encode(encoder))
                }
            };
            if complete {
                // None is free when the device is three results behind: this frame goes unseen.
                open.extend(pipeline.ticket(&mut encoder).ok());
            }
            let submission = queue.submit([encoder.finish()]);

            // The time of a frame is the device's too.
            device.poll(wgpu::PollType::Wait { submission_index: Some(submission), timeout: None })?;
            open.retain_mut(|ticket| match ticket.poll() {
                None => true,
                Some(result) => {
                    seen.push(result);
                    false
                }
            });
            times.push(start.elapsed());
        }
        times.sort_unstable();
        let at = |percent: usize| 1e3 * times[(times.len() - 1) * percent / 100].as_secs_f64();
        print!("{load:8?} {:6.1} ms median, {:6.1} ms p95, {:6.1} ms p99", at(50), at(95), at(99));
        match load {
            Load::Nothing => alone = at(50),
            Load::Whole => {}
            Load::Slice => {
                let over = (at(99) - alone) / (1e3 * BUDGET.as_secs_f64());
                print!("; of them {over:.2} times the budget of {BUDGET:?} at p99");
            }
        }
        let count = seen.len();
        match seen.pop().transpose()? {
            Some(top) => println!("; {count} frames seen, the last is: {}", model.labels[top[0][0].index as usize]),
            None => println!(),
        }
    }
    Ok(())
}

/// AlexNet at half width for pictures of 67×67, with random weights.
fn small() -> Result<Model, Box<dyn Error>> {
    let network = AlexNet::UNGROUPED.width(0.5).head(512, 512).classes(10).network()?;
    let network = network.with_input(Shape::new(3, 67, 67))?;
    let weights = initial_weights(&network, Init::He, 1);
    let preprocessing = Variant::Ungrouped.preprocessing().resize(Resize::ShorterSide(76)).cropped(67, 67);
    Ok(Model::new(network, weights, preprocessing, (0..10).map(|class| format!("class {class}")).collect())?)
}

/// A picture that comes nearer and goes away, drawn by a render pipeline.
struct Scene {
    target: wgpu::TextureView,
    pipeline: wgpu::RenderPipeline,
    bind_group: wgpu::BindGroup,
    zoom: wgpu::Buffer,
}

impl Scene {
    fn new(device: &wgpu::Device, queue: &wgpu::Queue) -> Result<Self, Box<dyn Error>> {
        let picture = Picture::decode(include_bytes!("pictures/ankle-boot.png"))?;
        let rgba: Vec<u8> = picture.rgb().chunks_exact(3).flat_map(|rgb| [rgb[0], rgb[1], rgb[2], 255]).collect();
        let texture = |width, height, usage| wgpu::TextureDescriptor {
            label: None,
            size: wgpu::Extent3d { width, height, depth_or_array_layers: 1 },
            mip_level_count: 1,
            sample_count: 1,
            dimension: wgpu::TextureDimension::D2,
            format: FORMAT,
            usage,
            view_formats: &[],
        };
        let descriptor = texture(picture.width(), picture.height(), TextureUsages::TEXTURE_BINDING);
        let sprite =
            device.create_texture_with_data(queue, &descriptor, wgpu::util::TextureDataOrder::LayerMajor, &rgba);
        // What the network reads must be a texture that shaders can bind.
        let usage = TextureUsages::RENDER_ATTACHMENT | TextureUsages::TEXTURE_BINDING;
        let target = device.create_texture(&texture(WIDTH, HEIGHT, usage)).create_view(&Default::default());

        let module = device.create_shader_module(wgpu::ShaderModuleDescriptor {
            label: None,
            source: wgpu::ShaderSource::Wgsl(SHADER.into()),
        });
        let pipeline = device.create_render_pipeline(&wgpu::RenderPipelineDescriptor {
            label: None,
            layout: None,
            vertex: wgpu::VertexState {
                module: &module,
                entry_point: None,
                compilation_options: Default::default(),
                buffers: &[],
            },
            primitive: Default::default(),
            depth_stencil: None,
            multisample: Default::default(),
            fragment: Some(wgpu::FragmentState {
                module: &module,
                entry_point: None,
                compilation_options: Default::default(),
                targets: &[Some(FORMAT.into())],
            }),
            multiview_mask: None,
            cache: None,
        });
        let zoom = device.create_buffer(&wgpu::BufferDescriptor {
            label: None,
            size: 4,
            usage: wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        let sampler = device
            .create_sampler(&wgpu::SamplerDescriptor { mag_filter: wgpu::FilterMode::Linear, ..Default::default() });
        let view = sprite.create_view(&Default::default());
        let bind_group = device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: None,
            layout: &pipeline.get_bind_group_layout(0),
            entries: &[
                wgpu::BindGroupEntry { binding: 0, resource: zoom.as_entire_binding() },
                wgpu::BindGroupEntry { binding: 1, resource: wgpu::BindingResource::TextureView(&view) },
                wgpu::BindGroupEntry { binding: 2, resource: wgpu::BindingResource::Sampler(&sampler) },
            ],
        });
        Ok(Self { target, pipeline, bind_group, zoom })
    }

    fn draw(&self, queue: &wgpu::Queue, encoder: &mut wgpu::CommandEncoder, frame: u32) {
        let zoom = 1.05 + 0.05 * (frame as f32 / 10.0).sin();
        queue.write_buffer(&self.zoom, 0, &zoom.to_le_bytes());
        let mut pass = encoder.begin_render_pass(&wgpu::RenderPassDescriptor {
            color_attachments: &[Some(wgpu::RenderPassColorAttachment {
                view: &self.target,
                depth_slice: None,
                resolve_target: None,
                ops: wgpu::Operations { load: wgpu::LoadOp::Clear(wgpu::Color::BLACK), store: wgpu::StoreOp::Store },
            })],
            ..Default::default()
        });
        pass.set_pipeline(&self.pipeline);
        pass.set_bind_group(0, &self.bind_group, &[]);
        pass.draw(0..3, 0..1);
    }
}

/// One triangle over the whole target, and the picture in the middle of it.
const SHADER: &str = "
struct Corner {
  @builtin(position) position: vec4f,
  @location(0) at: vec2f,
}

@group(0) @binding(0) var<uniform> zoom: f32;
@group(0) @binding(1) var sprite: texture_2d<f32>;
@group(0) @binding(2) var linear: sampler;

@vertex fn vertex(@builtin(vertex_index) i: u32) -> Corner {
  let at = vec2f(f32(i & 1u), f32(i >> 1u)) * 4.0 - 1.0;
  return Corner(vec4f(at, 0.0, 1.0), at);
}

@fragment fn fragment(corner: Corner) -> @location(0) vec4f {
  let at = corner.at * vec2f(4.0 / 3.0, -1.0) * zoom * 0.5 + 0.5;
  let colour = textureSampleLevel(sprite, linear, at, 0.0);
  return select(vec4f(0.0, 0.0, 0.0, 1.0), colour, all(at >= vec2f(0.0)) && all(at <= vec2f(1.0)));
}
";
