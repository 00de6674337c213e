//! AlexNet on any GPU.
#![warn(missing_docs)]

mod alexnet;
mod classify;
mod files;
mod gpu;
mod kernels;
mod model;
mod network;
mod pipeline;
mod preprocess;
mod recognise;
pub mod reference;
mod weights;

pub use alexnet::{AlexNet, UnknownNetwork, Variant, imagenet_labels};
pub use classify::{Classifier, ClassifyError, Prediction};
pub use files::write_atomically;
pub use gpu::{AdapterSummary, Gpu, GpuError, GpuOptions, Shortfall};
pub use kernels::{Algorithm, Family, Storage, Style};
pub use model::{Model, ModelOptions, Origin};
pub use network::{
    AdaptiveAvgPool, Conv, Layer, Linear, LocalResponseNorm, LrnConvention, MaxPool, Network, NetworkBuilder,
    NetworkError, Op, Padding, Shape, Window,
};
pub use pipeline::{Builder, Checks, Entry, MAX_BATCH, Pipeline, PipelineError, PlannedDispatch, RunError, plan};
pub use preprocess::{ChannelOrder, Picture, PictureError, Preprocessing, PreprocessingError, Resize};
pub use weights::{DType, Format, Tensor, Weights, WeightsError, splitmix};
pub use wgpu;
