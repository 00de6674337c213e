//! AlexNet on any GPU.
#![warn(missing_docs)]

mod alexnet;
mod files;
mod model;
mod network;
mod preprocess;
mod recognise;
pub mod reference;
mod weights;

pub use alexnet::{AlexNet, UnknownNetwork, Variant, imagenet_labels};
pub use files::write_atomically;
pub use model::{Model, ModelOptions, Origin};
pub use network::{
    AdaptiveAvgPool, Conv, Layer, Linear, LocalResponseNorm, LrnConvention, MaxPool, Network, NetworkBuilder,
    NetworkError, Op, Padding, Shape, Window,
};
pub use preprocess::{ChannelOrder, Preprocessing, Resize};
pub use weights::{DType, Format, Tensor, Weights, WeightsError, splitmix};
pub use wgpu;
