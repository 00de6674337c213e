//! Comparisons of cameras' images with golden ones.

use std::sync::Arc;

use alexnet_wgpu::{Comparer, Comparison, TexturePair, Ticket};
use bevy::{
    asset::{AssetServer, LoadState},
    prelude::*,
    render::{Extract, render_asset::RenderAssets, renderer::RenderContext, texture::GpuImage},
};

use super::{Device, TICKETS, built::Built, cameras::Cameras};
use crate::{AlexNetError, Similar, Similarity};

/// The comparer on Bevy's device, from the first request on.
#[derive(Resource, Default)]
pub struct Comparisons {
    pub comparer: Option<Built<Arc<Comparer>>>,
    /// Comparisons begun so far.
    begun: u64,
}

/// A camera's image and a golden one.
pub struct Compared {
    pair: Built<TexturePair>,
    tickets: Vec<Ticket<Comparison>>,
}

/// Says which golden images will not come.
pub fn extract_failed_goldens(mut cameras: ResMut<Cameras<Similar>>, server: Extract<Option<Res<AssetServer>>>) {
    let Some(server) = &*server else { return };
    let Cameras { watched, news } = &mut *cameras;
    for (&entity, camera) in watched.iter().filter(|(_, camera)| camera.is_unseen()) {
        if let Some(LoadState::Failed(error)) = server.get_load_state(&camera.request.to) {
            news.push((entity, Some(Err(Arc::new(AlexNetError::Golden(error))))));
        }
    }
}

/// Takes the results that have come.
pub fn receive(mut cameras: ResMut<Cameras<Similar>>) {
    let Cameras { watched, news } = &mut *cameras;
    for (&entity, camera) in watched {
        let Some(Compared { tickets, .. }) = &mut camera.bound else { continue };
        tickets.retain_mut(|ticket| {
            let Some(result) = ticket.poll() else { return true };
            news.push((entity, Some(result.map(Similarity).map_err(|error| Arc::new(error.into())))));
            false
        });
    }
}

/// Prepares the comparison of each pair of images, beside the frames: shaders are compiled and weights uploaded.
pub fn prepare(
    mut comparisons: ResMut<Comparisons>,
    mut cameras: ResMut<Cameras<Similar>>,
    images: Res<RenderAssets<GpuImage>>,
    device: Res<Device>,
) {
    if cameras.watched.is_empty() {
        return;
    }
    let comparer = comparisons.comparer.get_or_insert_with(|| {
        let gpu = device.0.clone();
        Built::begin(move || Comparer::new(&gpu?).map(Arc::new).map_err(|error| Arc::new(error.into())))
    });
    let Some(comparer) = comparer.poll() else { return };
    let comparer = comparer.cloned();
    cameras.bind(&images, |_, seen| {
        let (comparer, seen) = (comparer.clone()?, seen.clone());
        let pair = move || comparer.textures(&seen.golden(), &seen.image());
        let pair = Built::begin(move || pair().map_err(|error| Arc::new(error.into())));
        Ok(Compared { pair, tickets: Vec::new() })
    });
    let Cameras { watched, news } = &mut *cameras;
    for (&entity, camera) in watched {
        if let Some(Err(error)) = camera.bound.as_mut().and_then(|compared| compared.pair.poll()) {
            news.push((entity, Some(Err(error))));
            camera.bound = None;
        }
    }
}

/// Records one camera's comparison into the frame.
pub fn encode(mut context: RenderContext, mut comparisons: ResMut<Comparisons>, mut cameras: ResMut<Cameras<Similar>>) {
    let open: usize = cameras.bound().map(|(_, compared)| compared.tickets.len()).sum();
    // The device is behind: this frame goes unseen.
    if open >= TICKETS {
        return;
    }
    let Some((entity, camera)) = cameras.next(|compared| matches!(compared.pair, Built::Ready(_))) else { return };
    comparisons.begun += 1;
    camera.turn = comparisons.begun;
    let Some(Compared { pair: Built::Ready(pair), tickets }) = &mut camera.bound else { return };
    match pair.encode(context.command_encoder()) {
        Ok(ticket) => tickets.push(ticket),
        Err(error) => cameras.news.push((entity, Some(Err(Arc::new(error.into()))))),
    }
}
