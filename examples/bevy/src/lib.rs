//! AlexNet in Bevy: a camera that draws into an image gets [`Labels`] that say what is in the image.
//!
//! ```text
//! commands.spawn((Camera2d, RenderTarget::Image(image.into()), Classify));
//! ```
//!
//! The network runs on Bevy's own device and is recorded into its frame, behind what the cameras draw: there is no second
//! device, the image is never copied to the processor, and no frame waits for the network. Labels come some frames after
//! what they are about, as results of a GPU do.
//!
//! `cargo run` in this folder shows it without a window; [`AlexNetPlugin`] is what an app adds.

mod headless;
mod render;
#[cfg(test)]
mod tests;

pub use headless::{headless, image_of};

use std::{sync::Arc, time::Duration};

use alexnet_wgpu::{
    Blocklist, Family, GpuError, InputError, KernelConfig, Model, Pipeline, PipelineError, Prediction, RunError,
    Storage, WeightsError,
};
use bevy::{
    ecs::{lifecycle::HookContext, world::DeferredWorld},
    prelude::*,
    render::{RenderApp, settings::WgpuSettings},
};

/// Gives every camera with [`Classify`] its [`Labels`].
///
/// At most one inference begins in a frame; several cameras take turns. The network is built beside the first frames, on a
/// thread of Bevy's where its feature `multi_threaded` is on, and again after Bevy has recovered from the loss of the
/// device.
#[derive(Clone)]
pub struct AlexNetPlugin {
    /// What runs.
    pub model: Arc<Model>,
    /// How many classes [`Labels`] lists.
    pub top: usize,
    /// What the network may cost the device in a frame: an inference is spread over as many frames as it takes, a layer at
    /// least in each. Without one it is whole in its frame.
    pub budget: Option<Duration>,
    /// Kernel variants to avoid since the device's driver miscompiles them, as `alexnet doctor` names them.
    pub blocklist: Blocklist,
}

impl AlexNetPlugin {
    /// The five most likely classes of `model`, without a budget, with all kernel variants.
    pub fn new(model: Model) -> Self {
        Self { model: Arc::new(model), top: 5, budget: None, blocklist: Blocklist::default() }
    }

    /// The same with the small ten-class model that the library carries.
    ///
    /// # Errors
    ///
    /// None while the library is whole.
    pub fn embedded() -> Result<Self, WeightsError> {
        Ok(Self::new(Model::embedded()?))
    }

    /// Bevy's settings with what the network needs added: for [`RenderPlugin`](bevy::render::RenderPlugin), which makes
    /// the device.
    ///
    /// What is asked for are the features and limits of the kernels that run on every adapter. With Bevy's default
    /// priority, the device has everything that its adapter has, and the library takes the kernels that suit it best.
    ///
    /// # Errors
    ///
    /// None for a network that exists.
    pub fn wgpu_settings(&self, mut settings: WgpuSettings) -> Result<WgpuSettings, PipelineError> {
        let config = KernelConfig::new(Family::WorkgroupTiled, Storage::StorageBuffer);
        let features = Pipeline::required_features(config);
        let limits = Pipeline::required_limits(&self.model.network, 1, config)?;
        settings.features |= features;
        settings.limits = settings.limits.or_better_values_from(&limits);
        settings.constrained_limits = settings.constrained_limits.map(|most| most.or_better_values_from(&limits));
        settings.disabled_features = settings.disabled_features.map(|without| without - features);
        Ok(settings)
    }
}

impl Plugin for AlexNetPlugin {
    fn build(&self, app: &mut App) {
        match app.get_sub_app_mut(RenderApp) {
            Some(app) => render::build(self.clone(), app),
            None => {
                warn!("nothing is drawn in this app, so nothing is classified: add AlexNetPlugin after RenderPlugin")
            }
        }
    }
}

/// Marks a camera whose image is to be classified: what lies in its viewport, after everything was drawn. The camera draws
/// into an image ([`RenderTarget::Image`](bevy::camera::RenderTarget)); while it is not active, nothing is done.
#[derive(Component, Clone, Copy, Debug, Default)]
#[component(on_remove = forget)]
pub struct Classify;

/// What the camera of this entity sees: the most likely class first. It changes when the result does.
#[derive(Component, Clone, Debug, PartialEq, Deref)]
pub struct Labels(pub Vec<Prediction>);

/// Why there are no [`Labels`]. It goes when the reason does, and is logged when it comes.
#[derive(Component, Clone, Debug, Deref)]
pub struct NotClassified(pub Arc<AlexNetError>);

fn forget(mut world: DeferredWorld<'_>, context: HookContext) {
    world.commands().entity(context.entity).try_remove::<(Labels, NotClassified)>();
}

/// A camera or a device on which nothing is classified.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AlexNetError {
    /// There is no image to look at.
    #[error("expected a camera that draws into an image, found {found}: give the entity a `RenderTarget::Image`")]
    Target {
        /// What the entity has.
        found: &'static str,
    },
    /// The image is not one that a network can look at.
    #[error("the camera's image cannot be classified: {0}")]
    Input(#[from] InputError),
    /// Bevy's device is too small.
    #[error(transparent)]
    Gpu(#[from] GpuError),
    /// The network cannot be built on Bevy's device.
    #[error(transparent)]
    Pipeline(#[from] PipelineError),
    /// A run gave no result.
    #[error(transparent)]
    Run(#[from] RunError),
}
