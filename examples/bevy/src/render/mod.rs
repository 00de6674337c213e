//! The half in Bevy's render world: cameras come in when a frame is extracted, answers go out, and in between the network
//! and the comparisons are recorded into the frame.

pub mod built;
pub mod cameras;
pub mod comparisons;
pub mod network;

use std::sync::Arc;

use alexnet_wgpu::{Gpu, wgpu};
use bevy::{
    app::SubApp,
    core_pipeline::schedule::camera_driver,
    prelude::*,
    render::{
        ExtractSchedule, Render, RenderStartup, RenderSystems,
        renderer::{RenderDevice, RenderGraph, RenderGraphSystems, RenderQueue},
    },
};

use crate::{AlexNetError, AlexNetPlugin, Classify, Features, Similar};
use cameras::Cameras;
use comparisons::Comparisons;
use network::Network;

/// How many results of a kind may be on their way: a device is seldom further behind.
const TICKETS: usize = 3;

pub fn build(plugin: AlexNetPlugin, app: &mut SubApp) {
    app.insert_resource(Settings(plugin))
        // Once for each device.
        .add_systems(RenderStartup, start)
        .add_systems(
            ExtractSchedule,
            (
                (cameras::extract::<Classify>, cameras::extract::<Features>, cameras::extract::<Similar>),
                (network::receive, comparisons::receive, comparisons::extract_failed_goldens),
                (cameras::deliver::<Classify>, cameras::deliver::<Features>, cameras::deliver::<Similar>),
            )
                .chain(),
        )
        .add_systems(Render, (network::prepare, comparisons::prepare).in_set(RenderSystems::PrepareBindGroups))
        // All cameras have drawn then, and what they recorded is submitted before what is recorded here.
        .add_systems(
            RenderGraph,
            (network::encode, comparisons::encode).after(camera_driver).in_set(RenderGraphSystems::Render),
        );
}

#[derive(Resource)]
pub struct Settings(AlexNetPlugin);

/// Bevy's device as the library sees it.
#[derive(Resource)]
pub struct Device(Result<Gpu, Arc<AlexNetError>>);

/// Begins anew on the device that Bevy has made: what was bound belongs to the device before.
fn start(mut commands: Commands, settings: Res<Settings>, device: Res<RenderDevice>, queue: Res<RenderQueue>) {
    let gpu = Gpu::from_device(device.wgpu_device().clone(), wgpu::Queue::clone(&queue));
    let gpu = gpu.map(|gpu| gpu.avoid(settings.0.blocklist.clone()));
    commands.insert_resource(Device(gpu.map_err(|error| Arc::new(error.into()))));
    commands.insert_resource(Network::default());
    commands.insert_resource(Comparisons::default());
    commands.insert_resource(Cameras::<Classify>::default());
    commands.insert_resource(Cameras::<Features>::default());
    commands.insert_resource(Cameras::<Similar>::default());
}
