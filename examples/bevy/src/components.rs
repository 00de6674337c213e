//! What a camera can be asked for, and the components that answer.

use std::{ops::Deref, sync::Arc};

use alexnet_wgpu::{Comparison, Prediction, Shape};
use bevy::{
    ecs::{component::Mutable, lifecycle::HookContext, world::DeferredWorld},
    prelude::*,
};

use crate::{
    AlexNetError,
    render::{
        comparisons::Compared,
        network::{Classified, Extracted},
    },
};

/// Marks a camera whose image is to be classified: what lies in its viewport, after everything was drawn. The camera
/// draws into an image ([`RenderTarget::Image`](bevy::camera::RenderTarget)); while it is not active, nothing is done.
#[derive(Component, Clone, Copy, Debug, Default, PartialEq)]
#[component(on_remove = forget::<Self>)]
pub struct Classify;

/// What the camera of this entity sees: the most likely class first. It changes when the result does.
#[derive(Component, Clone, Debug, PartialEq, Deref)]
pub struct Labels(pub Vec<Prediction>);

/// Why there are no [`Labels`]. It goes when the reason does, and is logged when it comes.
#[derive(Component, Clone, Debug, Deref)]
pub struct NotClassified(pub Arc<AlexNetError>);

/// Marks a camera whose image is to be compared with another by LPIPS: what lies in its viewport, as for [`Classify`],
/// and the whole other image, which is of the same size, at least 31×31.
///
/// Both are read as Bevy's materials read them, as linear light, and encoded as sRGB in 8 bits. So a golden image is an
/// sRGB one, as Bevy loads PNG files by default: one that was saved by
/// [`save_to_disk`](bevy::render::view::screenshot::save_to_disk) equals the image that it was saved from. While it is
/// not loaded, nothing is done. It needs [`RenderAssetUsages::RENDER_WORLD`](bevy::asset::RenderAssetUsages), which
/// images have by default.
///
/// Comparisons go on, one camera in a frame, until this is removed.
#[derive(Component, Clone, Debug, PartialEq)]
#[component(on_remove = forget::<Self>)]
pub struct Similar {
    /// The golden image.
    pub to: Handle<Image>,
}

/// How alike the camera's image and the golden one are; without a map. It changes when the result does.
#[derive(Component, Clone, Debug, PartialEq, Deref)]
pub struct Similarity(pub Comparison);

/// Why there is no [`Similarity`]. It goes when the reason does, and is logged when it comes.
#[derive(Component, Clone, Debug, Deref)]
pub struct NotCompared(pub Arc<AlexNetError>);

/// Marks a camera of whose image a layer's values are wanted, as for [`Classify`]. The network runs up to that layer.
#[derive(Component, Clone, Debug, PartialEq)]
#[component(on_remove = forget::<Self>)]
pub struct Features {
    /// The layer's name in the plugin's model, such as `pool5` or `fc7`.
    pub layer: String,
}

/// The values of a layer for the camera's image. It changes when they do.
#[derive(Component, Clone, Debug, PartialEq)]
pub struct LayerOutput {
    /// The layer's name.
    pub layer: String,
    /// The shape of the values.
    pub shape: Shape,
    /// The values, after the layer's activation function: channels, rows, columns (CHW).
    pub values: Vec<f32>,
}

/// Why there is no [`LayerOutput`]. It goes when the reason does, and is logged when it comes.
#[derive(Component, Clone, Debug, Deref)]
pub struct NotExtracted(pub Arc<AlexNetError>);

/// A component that asks for something about its camera's image.
pub trait Request: Component + Clone + PartialEq {
    /// The component with the answer.
    type Answer: Component<Mutability = Mutable> + PartialEq;
    /// The component with the reason why there is none.
    type Failure: Component + Deref<Target = Arc<AlexNetError>>;
    /// What is kept on the device for it.
    type Bound: Send + Sync + 'static;

    const FAILURE: fn(Arc<AlexNetError>) -> Self::Failure;

    /// The image that the camera's is held against.
    fn golden(&self) -> Option<&Handle<Image>> {
        None
    }
}

impl Request for Classify {
    type Answer = Labels;
    type Failure = NotClassified;
    type Bound = Classified;

    const FAILURE: fn(Arc<AlexNetError>) -> NotClassified = NotClassified;
}

impl Request for Similar {
    type Answer = Similarity;
    type Failure = NotCompared;
    type Bound = Compared;

    const FAILURE: fn(Arc<AlexNetError>) -> NotCompared = NotCompared;

    fn golden(&self) -> Option<&Handle<Image>> {
        Some(&self.to)
    }
}

impl Request for Features {
    type Answer = LayerOutput;
    type Failure = NotExtracted;
    type Bound = Extracted;

    const FAILURE: fn(Arc<AlexNetError>) -> NotExtracted = NotExtracted;
}

fn forget<R: Request>(mut world: DeferredWorld<'_>, context: HookContext) {
    world.commands().entity(context.entity).try_remove::<(R::Answer, R::Failure)>();
}
