//! The half in Bevy's render world: cameras come in when a frame is extracted, labels go out, and in between the network
//! is recorded into the frame.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use alexnet_wgpu::{
    FrameBudget, Gpu, Input, Pipeline, Prediction, Preprocessing, RunError, TextureSource, Ticket, TopEntry, wgpu,
};
use bevy::{
    app::SubApp,
    asset::AssetId,
    camera::RenderTarget,
    core_pipeline::schedule::camera_driver,
    ecs::entity::EntityHashMap,
    prelude::*,
    render::{
        Extract, ExtractSchedule, MainWorld, Render, RenderStartup, RenderSystems,
        render_asset::RenderAssets,
        render_resource::TextureViewId,
        renderer::{RenderContext, RenderDevice, RenderGraph, RenderGraphSystems, RenderQueue},
        texture::GpuImage,
    },
    tasks::{AsyncComputeTaskPool, Task, futures::check_ready},
};

use crate::{AlexNetError, AlexNetPlugin, Classify, Labels, NotClassified};

/// How many results may be on their way: a device is seldom further behind.
const TICKETS: usize = 3;

pub fn build(plugin: AlexNetPlugin, app: &mut SubApp) {
    app.insert_resource(Settings(plugin))
        // Once for each device.
        .add_systems(RenderStartup, start)
        .add_systems(ExtractSchedule, (extract, deliver).chain())
        .add_systems(Render, prepare.in_set(RenderSystems::PrepareBindGroups))
        // All cameras have drawn then, and what they recorded is submitted before what is recorded here.
        .add_systems(RenderGraph, encode.after(camera_driver).in_set(RenderGraphSystems::Render));
}

#[derive(Resource)]
struct Settings(AlexNetPlugin);

#[derive(Resource)]
pub enum Network {
    Building(Task<Result<Running, AlexNetError>>),
    Ready(Box<Running>),
    Failed(Arc<AlexNetError>),
}

/// The network on Bevy's device.
pub struct Running {
    pipeline: Pipeline,
    /// What the layers cost, where there is a budget.
    budget: Option<Budget>,
    /// The camera that the inference is about that was begun last.
    camera: Entity,
    pub tickets: Vec<(Entity, Ticket)>,
}

struct Budget {
    slices: FrameBudget,
    /// Seconds that a texel of a camera's image costs.
    texel: f64,
    /// What may be spent in a frame.
    frame: Duration,
}

/// The cameras to look at, by their entities of the main world.
#[derive(Resource, Default)]
pub struct Cameras {
    pub watched: EntityHashMap<Watched>,
    failures: Vec<(Entity, Arc<AlexNetError>)>,
    /// Inferences begun so far.
    begun: u64,
}

pub struct Watched {
    /// The image that the camera draws into, or what else it has.
    target: Result<AssetId<Image>, &'static str>,
    viewport: Option<URect>,
    /// What `input` was made of, or could not be.
    source: Option<Source>,
    input: Option<Input>,
    /// Of the image, as far as it is looked at.
    texels: u32,
    /// The number of its last inference.
    turn: u64,
}

/// A view and a part of it. Bevy makes another view when an image changes.
#[derive(PartialEq)]
struct Source {
    view: Option<TextureViewId>,
    viewport: Option<URect>,
}

/// Begins to build the network on the device that Bevy has made.
fn start(mut commands: Commands, settings: Res<Settings>, device: Res<RenderDevice>, queue: Res<RenderQueue>) {
    let (plugin, device, queue) = (settings.0.clone(), device.wgpu_device().clone(), wgpu::Queue::clone(&queue));
    let task = AsyncComputeTaskPool::get().spawn(async move { run_on(&plugin, device, queue) });
    commands.insert_resource(Network::Building(task));
    // What was bound belongs to the device before.
    commands.insert_resource(Cameras::default());
}

fn run_on(plugin: &AlexNetPlugin, device: wgpu::Device, queue: wgpu::Queue) -> Result<Running, AlexNetError> {
    let gpu = Gpu::from_device(device, queue)?.avoid(plugin.blocklist.clone());
    let builder = Pipeline::builder(&gpu, &plugin.model.network, &plugin.model.weights);
    let pipeline = builder.top(plugin.top).tickets(TICKETS).build()?;
    let budget = match plugin.budget {
        Some(frame) => Some(Budget {
            slices: measure(&pipeline)?,
            texel: measure_texel(&pipeline, &plugin.model.preprocessing)?,
            frame,
        }),
        None => None,
    };
    Ok(Running { pipeline, budget, camera: Entity::PLACEHOLDER, tickets: Vec::new() })
}

/// What each layer costs.
fn measure(pipeline: &Pipeline) -> Result<FrameBudget, RunError> {
    if let Some(times) = pipeline.profile_blocking()? {
        return Ok(FrameBudget::measured(&times));
    }
    // The first run may be slower than others.
    pipeline.run_top_again_blocking()?;
    let start = Instant::now();
    pipeline.run_top_again_blocking()?;
    Ok(FrameBudget::modelled(pipeline, start.elapsed()))
}

/// Seconds that a texel of the input costs; nothing where there are no timestamps.
fn measure_texel(pipeline: &Pipeline, preprocessing: &Preprocessing) -> Result<f64, AlexNetError> {
    let size = wgpu::Extent3d { width: 512, height: 512, depth_or_array_layers: 1 };
    let texture = pipeline.gpu().device().create_texture(&wgpu::TextureDescriptor {
        label: Some("measured input"),
        size,
        mip_level_count: 1,
        sample_count: 1,
        dimension: wgpu::TextureDimension::D2,
        format: wgpu::TextureFormat::Rgba8UnormSrgb,
        usage: wgpu::TextureUsages::TEXTURE_BINDING,
        view_formats: &[],
    });
    let view = texture.create_view(&Default::default());
    let input = pipeline.texture_input(&TextureSource::new(&view), preprocessing, 0)?;
    let cost = pipeline.profile_input_blocking(&input)?.unwrap_or_default();
    Ok(cost.as_secs_f64() / f64::from(size.width * size.height))
}

type Marked<'w, 's> = Query<'w, 's, (Entity, Option<&'static Camera>, Option<&'static RenderTarget>), With<Classify>>;

/// Notes where the cameras of the main world draw to, and forgets those that are gone.
fn extract(mut cameras: ResMut<Cameras>, marked: Extract<Marked<'_, '_>>) {
    let active = |camera: Option<&Camera>| camera.is_none_or(|camera| camera.is_active);
    cameras.watched.retain(|&entity, _| marked.get(entity).is_ok_and(|(_, camera, _)| active(camera)));
    for (entity, camera, target) in &marked {
        if !active(camera) {
            continue;
        }
        let target = match target.filter(|_| camera.is_some()) {
            Some(RenderTarget::Image(image)) => Ok(image.handle.id()),
            Some(RenderTarget::Window(_)) => Err("a camera for a window"),
            Some(RenderTarget::TextureView(_)) => Err("a camera for a texture view"),
            Some(RenderTarget::None { .. }) => Err("a camera that draws no colours"),
            None => Err("an entity without a camera"),
        };
        let viewport = camera.and_then(|camera| camera.viewport.as_ref()).map(|viewport| {
            let start = viewport.physical_position;
            URect::from_corners(start, start + viewport.physical_size)
        });
        let unseen = || Watched { target, viewport, source: None, input: None, texels: 0, turn: 0 };
        let watched = cameras.watched.entry(entity).or_insert_with(unseen);
        watched.target = target;
        watched.viewport = viewport;
    }
}

/// Gives the results that have come to the cameras that they are about.
fn deliver(
    mut world: ResMut<MainWorld>,
    mut cameras: ResMut<Cameras>,
    mut network: ResMut<Network>,
    settings: Res<Settings>,
) {
    for (entity, error) in cameras.failures.drain(..) {
        tell(&mut world, entity, Err(error));
    }
    let Network::Ready(running) = &mut *network else { return };
    running.tickets.retain_mut(|(entity, ticket)| {
        let Some(result) = ticket.poll() else { return true };
        let labels = result.map(|pictures| labels(&pictures[0], &settings.0.model.labels));
        tell(&mut world, *entity, labels.map_err(|error| Arc::new(error.into())));
        false
    });
}

fn labels(entries: &[TopEntry], names: &[String]) -> Labels {
    let prediction = |entry: &TopEntry| {
        let index = entry.index as usize;
        let label = names.get(index).cloned().unwrap_or_else(|| format!("class {index}"));
        Prediction { index, label, probability: entry.value }
    };
    Labels(entries.iter().map(prediction).collect())
}

fn tell(world: &mut World, entity: Entity, result: Result<Labels, Arc<AlexNetError>>) {
    // The entity, or the wish to know, may be gone by now.
    let Ok(mut camera) = world.get_entity_mut(entity) else { return };
    if !camera.contains::<Classify>() {
        return;
    }
    match result {
        Ok(labels) => {
            camera.remove::<NotClassified>();
            match camera.get_mut::<Labels>() {
                Some(mut present) => _ = present.set_if_neq(labels),
                None => _ = camera.insert(labels),
            }
        }
        Err(error) => {
            let text = error.to_string();
            if camera.get::<NotClassified>().is_none_or(|known| known.to_string() != text) {
                error!("{entity}: {text}");
                camera.remove::<Labels>().insert(NotClassified(error));
            }
        }
    }
}

/// Binds the cameras' images to the network's input, once for each image.
fn prepare(
    mut network: ResMut<Network>,
    mut cameras: ResMut<Cameras>,
    images: Res<RenderAssets<GpuImage>>,
    settings: Res<Settings>,
) {
    if let Network::Building(task) = &mut *network {
        *network = match check_ready(task) {
            Some(Ok(running)) => Network::Ready(Box::new(running)),
            Some(Err(error)) => Network::Failed(Arc::new(error)),
            None => return,
        };
    }
    let Cameras { watched, failures, .. } = &mut *cameras;
    for (&entity, camera) in watched {
        // An image that is not on the device yet will be.
        let view = match camera.target {
            Ok(image) => match images.get(image) {
                Some(image) => Ok(&image.texture_view),
                None => continue,
            },
            Err(found) => Err(AlexNetError::Target { found }),
        };
        let source = Source { view: view.as_ref().ok().map(|view| view.id()), viewport: camera.viewport };
        if camera.source.as_ref() == Some(&source) {
            continue;
        }
        let input = match &*network {
            Network::Building(_) => return,
            Network::Failed(error) => Err(error.clone()),
            Network::Ready(running) => view.map_err(Arc::new).and_then(|view| {
                let texture = view.texture();
                let whole = URect::new(0, 0, texture.width(), texture.height());
                let URect { min, max } = camera.viewport.unwrap_or(whole);
                let size = max - min;
                camera.texels = size.x.saturating_mul(size.y);
                // Whatever the format, Bevy writes linear light.
                let picture = TextureSource::new(view).linear(true).region(min.x, min.y, size.x, size.y);
                let input = running.pipeline.texture_input(&picture, &settings.0.model.preprocessing, 0);
                input.map_err(|error| Arc::new(error.into()))
            }),
        };
        camera.source = Some(source);
        camera.input = input.map_err(|error| failures.push((entity, error))).ok();
    }
}

/// Records the network, or the part of it that the budget allows, into the frame.
pub fn encode(mut context: RenderContext, mut network: ResMut<Network>, mut cameras: ResMut<Cameras>) {
    let Network::Ready(running) = &mut *network else { return };
    let Running { pipeline, budget, camera, tickets } = &mut **running;
    let Cameras { watched, failures, begun } = &mut *cameras;
    if budget.as_ref().is_none_or(|budget| budget.slices.is_start(pipeline)) {
        // The device is behind: this frame goes unseen.
        if tickets.len() == TICKETS {
            return;
        }
        let ready = watched.iter_mut().filter(|(_, camera)| camera.input.is_some());
        let Some((&entity, next)) = ready.min_by_key(|(_, camera)| camera.turn) else { return };
        *begun += 1;
        next.turn = *begun;
        *camera = entity;
        if let Some(Budget { slices, texel, .. }) = budget {
            let cost = Duration::try_from_secs_f64(*texel * f64::from(next.texels));
            slices.set_input_cost(cost.unwrap_or(Duration::MAX));
        }
    }
    let encoder = context.command_encoder();
    let input = watched.get(camera).and_then(|camera| camera.input.as_ref());
    let fill = |encoder: &mut wgpu::CommandEncoder| {
        if let Some(input) = input {
            input.encode(encoder);
        }
    };
    let complete = match budget {
        Some(Budget { slices, frame, .. }) => pipeline.encode_slice(encoder, slices, *frame, fill),
        None => {
            fill(encoder);
            pipeline.encode(encoder);
            true
        }
    };
    if complete {
        match pipeline.ticket(encoder) {
            Ok(ticket) => tickets.push((*camera, ticket)),
            Err(error) => failures.push((*camera, Arc::new(error.into()))),
        }
    }
}
