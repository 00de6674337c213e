//! AlexNet in Bevy: a camera that draws into an image gets [`Labels`] that say what is in the image, or its
//! [`Similarity`] to another image.
//!
//! ```text
//! commands.spawn((Camera2d, RenderTarget::Image(image.into()), Classify));
//! commands.spawn((Camera3d::default(), target, Similar { to: assets.load("golden.png") }));
//! ```
//!
//! | on the camera | comes | or else | what it is |
//! | --- | --- | --- | --- |
//! | [`Classify`] | [`Labels`] | [`NotClassified`] | the most likely classes |
//! | [`Features`] | [`LayerOutput`] | [`NotExtracted`] | the values of a layer |
//! | [`Similar`] | [`Similarity`] | [`NotCompared`] | LPIPS and differences between pixels |
//!
//! All of it runs on Bevy's own device and is recorded into its frame, behind what the cameras draw: there is no second
//! device, the image is never copied to the processor, and no frame waits for a result. Results come some frames after
//! what they are about, as those of a GPU do. Nothing is made on the device before a camera asks for it.
//!
//! In this folder, `cargo run` classifies and `cargo run --bin similar` compares, both without a window;
//! [`AlexNetPlugin`] is what an app adds.

mod components;
mod headless;
mod render;
mod scene;
#[cfg(test)]
mod tests;

pub use components::{
    Classify, Features, Labels, LayerOutput, NotClassified, NotCompared, NotExtracted, Similar, Similarity,
};
pub use headless::{headless, image_of, with_noise};
pub use scene::Shapes;

use std::{sync::Arc, time::Duration};

use alexnet_wgpu::{
    Blocklist, CompareError, Family, GpuError, InputError, KernelConfig, Model, Pipeline, PipelineError, RunError,
    Storage, WeightsError,
};
use bevy::{
    asset::AssetLoadError,
    prelude::*,
    render::{RenderApp, settings::WgpuSettings},
};

/// Gives every camera with [`Classify`] its [`Labels`], with [`Features`] its [`LayerOutput`], and with [`Similar`] its
/// [`Similarity`].
///
/// At most one inference and one comparison begin in a frame; several cameras take turns. What they need is built when a
/// camera first asks for it, beside the frames, on a thread of Bevy's where its feature `multi_threaded` is on, and again
/// after Bevy has recovered from the loss of the device: `model` for classes and layers, AlexNet trained on ImageNet for
/// comparisons.
#[derive(Clone)]
pub struct AlexNetPlugin {
    /// What runs; comparisons have a network of their own.
    pub model: Arc<Model>,
    /// How many classes [`Labels`] lists.
    pub top: usize,
    /// What a classification may cost the device in a frame: it is spread over as many frames as it takes, a layer at
    /// least in each. Without one it is whole in its frame, as layers' values and comparisons always are.
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
    /// priority, the device has everything that its adapter has, and the library takes the kernels that suit it best. For
    /// comparisons, WebGPU's default limits do, which Bevy's settings do not go below by default.
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

/// A camera or a device of which nothing can be said.
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
    #[error("the camera's image cannot be read: {0}")]
    Input(#[from] InputError),
    /// The golden image cannot be loaded.
    #[error("the golden image cannot be loaded: {0}")]
    Golden(Arc<AssetLoadError>),
    /// The camera's image cannot be compared with the golden one.
    #[error("the golden image and the camera's cannot be compared: {0}")]
    Compare(#[from] CompareError),
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
