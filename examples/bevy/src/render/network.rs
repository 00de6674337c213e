//! The network on Bevy's device: labels, and layers' values.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use alexnet_wgpu::{
    FrameBudget, Gpu, Input, LayerReadback, Pipeline, Prediction, Preprocessing, RunError, TextureSource, Ticket,
    TopEntry, wgpu,
};
use bevy::{
    prelude::*,
    render::{render_asset::RenderAssets, renderer::RenderContext, texture::GpuImage},
};

use super::{Device, Settings, TICKETS, built::Built, cameras::Cameras};
use crate::{AlexNetError, AlexNetPlugin, Classify, Features, Labels, LayerOutput};

/// The network, from the first request on.
#[derive(Resource, Default)]
pub struct Network(pub Option<Built<Running>>);

/// The network on Bevy's device.
pub struct Running {
    pipeline: Pipeline,
    /// What the layers cost, where there is a budget.
    budget: Option<Budget>,
    /// The camera that the classification is about that was begun last.
    camera: Entity,
    pub tickets: Vec<(Entity, Ticket)>,
    /// Inferences begun so far.
    begun: u64,
}

struct Budget {
    slices: FrameBudget,
    /// Seconds that a texel of a camera's image costs.
    texel: f64,
    /// What may be spent in a frame.
    frame: Duration,
}

/// An image to classify.
pub struct Classified {
    input: Input,
    /// Of the image, as far as it is looked at.
    texels: u32,
}

/// An image whose values in a layer are wanted.
pub struct Extracted {
    layer: String,
    input: Input,
    readback: LayerReadback,
    tickets: Vec<Ticket<Vec<f32>>>,
}

fn run_on(plugin: &AlexNetPlugin, gpu: &Gpu) -> Result<Running, AlexNetError> {
    let builder = Pipeline::builder(gpu, &plugin.model.network, &plugin.model.weights);
    let pipeline = builder.top(plugin.top).tickets(TICKETS).build()?;
    let budget = match plugin.budget {
        Some(frame) => Some(Budget {
            slices: measure(&pipeline)?,
            texel: measure_texel(&pipeline, &plugin.model.preprocessing)?,
            frame,
        }),
        None => None,
    };
    Ok(Running { pipeline, budget, camera: Entity::PLACEHOLDER, tickets: Vec::new(), begun: 0 })
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

/// Takes the results that have come.
pub fn receive(
    mut network: ResMut<Network>,
    mut classified: ResMut<Cameras<Classify>>,
    mut extracted: ResMut<Cameras<Features>>,
    settings: Res<Settings>,
) {
    let Some(Built::Ready(running)) = &mut network.0 else { return };
    running.tickets.retain_mut(|(entity, ticket)| {
        let Some(result) = ticket.poll() else { return true };
        let labels = result.map(|pictures| labels(&pictures[0], &settings.0.model.labels));
        classified.news.push((*entity, Some(labels.map_err(|error| Arc::new(error.into())))));
        false
    });
    let Cameras { watched, news } = &mut *extracted;
    for (&entity, camera) in watched {
        let Some(Extracted { layer, readback, tickets, .. }) = &mut camera.bound else { continue };
        tickets.retain_mut(|ticket| {
            let Some(result) = ticket.poll() else { return true };
            let output = result.map(|values| LayerOutput { layer: layer.clone(), shape: readback.shape(), values });
            news.push((entity, Some(output.map_err(|error| Arc::new(error.into())))));
            false
        });
    }
}

fn labels(entries: &[TopEntry], names: &[String]) -> Labels {
    let prediction = |entry: &TopEntry| {
        let index = entry.index as usize;
        let label = names.get(index).cloned().unwrap_or_else(|| format!("class {index}"));
        Prediction { index, label, probability: entry.value }
    };
    Labels(entries.iter().map(prediction).collect())
}

/// Binds the cameras' images to the network's input.
pub fn prepare(
    mut network: ResMut<Network>,
    mut classified: ResMut<Cameras<Classify>>,
    mut extracted: ResMut<Cameras<Features>>,
    images: Res<RenderAssets<GpuImage>>,
    (settings, device): (Res<Settings>, Res<Device>),
) {
    if classified.watched.is_empty() && extracted.watched.is_empty() {
        return;
    }
    let network = network.0.get_or_insert_with(|| {
        let (plugin, gpu) = (settings.0.clone(), device.0.clone());
        Built::begin(move || run_on(&plugin, &gpu?).map_err(Arc::new))
    });
    let Some(running) = network.poll() else { return };
    let pipeline = running.map(|running| &running.pipeline);
    let preprocessing = &settings.0.model.preprocessing;
    classified.bind(&images, |_, seen| {
        let input = pipeline.clone()?.texture_input(&seen.image(), preprocessing, 0);
        let classified = |input| Classified { input, texels: seen.texels() };
        input.map(classified).map_err(|error| Arc::new(error.into()))
    });
    extracted.bind(&images, |Features { layer }, seen| {
        let pipeline = pipeline.clone()?;
        let extracted = || -> Result<Extracted, AlexNetError> {
            let readback = pipeline.layer_readback(layer, TICKETS)?;
            let input = pipeline.texture_input(&seen.image(), preprocessing, 0)?;
            Ok(Extracted { layer: layer.clone(), input, readback, tickets: Vec::new() })
        };
        extracted().map_err(Arc::new)
    });
}

/// Records the network, or the part of it that the budget allows, into the frame.
pub fn encode(
    mut context: RenderContext,
    mut network: ResMut<Network>,
    mut classified: ResMut<Cameras<Classify>>,
    mut extracted: ResMut<Cameras<Features>>,
) {
    let Some(Built::Ready(running)) = &mut network.0 else { return };
    let Running { pipeline, budget, camera, tickets, begun } = &mut **running;
    if budget.as_ref().is_none_or(|budget| budget.slices.is_start(pipeline)) {
        // Where the device is behind, frames go unseen.
        let open: usize = extracted.bound().map(|(_, extracted)| extracted.tickets.len()).sum();
        let classify = classified.next(|_| tickets.len() < TICKETS);
        let extract = extracted.next(|_| open < TICKETS);
        let turn = classify.as_ref().map_or(u64::MAX, |(_, camera)| camera.turn);
        *begun += 1;
        if let Some((entity, next)) = extract.filter(|(_, camera)| camera.turn < turn) {
            next.turn = *begun;
            let Some(Extracted { input, readback, tickets, .. }) = &mut next.bound else { return };
            let encoder = context.command_encoder();
            input.encode(encoder);
            match pipeline.encode_layer(encoder, readback) {
                Ok(ticket) => tickets.push(ticket),
                Err(error) => extracted.news.push((entity, Some(Err(Arc::new(error.into()))))),
            }
            return;
        }
        let Some((entity, next)) = classify else { return };
        next.turn = *begun;
        *camera = entity;
        if let (Some(Budget { slices, texel, .. }), Some(Classified { texels, .. })) = (&mut *budget, &next.bound) {
            let cost = Duration::try_from_secs_f64(*texel * f64::from(*texels));
            slices.set_input_cost(cost.unwrap_or(Duration::MAX));
        }
    }
    let encoder = context.command_encoder();
    let input = classified.watched.get(camera).and_then(|camera| camera.bound.as_ref());
    let fill = |encoder: &mut wgpu::CommandEncoder| {
        if let Some(Classified { input, .. }) = input {
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
            Err(error) => classified.news.push((*camera, Some(Err(Arc::new(error.into()))))),
        }
    }
}
