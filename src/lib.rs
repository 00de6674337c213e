//! AlexNet on any GPU: image classification with wgpu and WGSL compute shaders.
//!
//! Classify an image on the machine's best adapter, with the small model embedded in the library:
//!
//! ```
//! use alexnet_wgpu::{Classifier, Gpu, GpuOptions, Model, Picture};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // The best adapter: a real GPU before a software one. A program that owns a device already uses
//! // `Gpu::from_device(device, queue)` instead.
//! let gpu = Gpu::open_blocking(&GpuOptions::default())?;
//!
//! // A network with its weights, preprocessing and labels. `Model::open(path, …)` reads a file.
//! let model = Model::embedded()?;
//!
//! // Kernels are chosen and compiled and weights are uploaded here, once.
//! let classifier = Classifier::new(&gpu, &model, 3)?;
//!
//! // One submission and one small readback per picture.
//! let picture = Picture::open("examples/pictures/ankle-boot.png")?;
//! let classes = classifier.classify_blocking(&picture)?;
//! assert_eq!(classes[0].label, "Ankle boot");
//! # Ok(())
//! # }
//! ```
//!
//! A renderer records the same work into its own command encoder, from a texture that it drew, and receives the labels
//! without blocking:
//!
//! ```
//! use alexnet_wgpu::{Gpu, Input, Model, Pipeline, RunError, TopEntry, TextureSource, Ticket, wgpu};
//!
//! /// Once, on the host's device; `camera` is a view of any render target that shaders can read.
//! fn prepare(
//!     device: wgpu::Device,
//!     queue: wgpu::Queue,
//!     camera: &wgpu::TextureView,
//! ) -> Result<(Pipeline, Input), Box<dyn std::error::Error>> {
//!     let model = Model::embedded()?;
//!     let gpu = Gpu::from_device(device, queue)?;
//!     let pipeline = Pipeline::builder(&gpu, &model.network, &model.weights).build()?;
//!     let input = pipeline.texture_input(&TextureSource::new(camera), &model.preprocessing, 0)?;
//!     Ok((pipeline, input))
//! }
//!
//! /// In every frame: this records and nothing more.
//! fn frame(pipeline: &Pipeline, input: &Input, encoder: &mut wgpu::CommandEncoder) -> Result<Ticket, RunError> {
//!     input.encode(encoder);
//!     pipeline.encode(encoder);
//!     pipeline.ticket(encoder)
//! }
//! ```
//!
//! A [`Network`] is a list of layers, [`Weights`] are named tensors, and a [`Pipeline`] is both on a device. A pipeline
//! records into your command encoder ([`Pipeline::encode`]), runs by itself ([`Pipeline::run`]) and reads any layer
//! ([`Pipeline::run_layers`]). [`Pipeline::required_limits`] returns the limits to request from a device,
//! [`Pipeline::encode_slice`] spreads a run over frames, and [`Pipeline::rebuild`] recovers from a lost device.
//! [`mod@reference`] computes the same in double precision, for checks.
//!
//! [`Comparer`] measures how alike two pictures look, and [`LpipsGradient`] tells which way pixels must change to look more alike.
//! [`FeatureExtractor`] makes a vector of each picture, and [`nearest`] finds
//! look-alikes among them.
//!
//! # Features
//!
//! All features are enabled by default. With `default-features = false`, the library runs any [`Network`] on pixels and
//! safetensors files.
//!
//! | feature | adds | dependencies |
//! | --- | --- | --- |
//! | `caffe` | Caffe's weight files | prost |
//! | `decoders` | image files: BMP, GIF, JPEG, PNG, PNM, TIFF, WebP | image, gif, fax, flate2, weezl |
//! | `doctor` | the module `doctor`, with reference vectors of 0.1 MB | none |
//! | `embedded` | `Model::embedded`: a model of ten classes, `imagenet`'s convolutions with a head of 2.4 MB | alexnet-weights |
//! | `imagenet` | AlexNet's convolutions trained on ImageNet and LPIPS's weights, 4.9 MB: `Model::imagenet_trunk`, `Comparer::new`, `FeatureExtractor::imagenet` | alexnet-weights |
//! | `onnx` | ONNX models | prost |
//! | `torch` | PyTorch's checkpoints | rawzip, flate2 |
//!
//! Of the processor time of a release build with all features (Rust 1.95, x86-64 Linux), the dependencies of `decoders` take 19 %,
//! those of `caffe`, `onnx` and `torch` 2 % together, and this crate 23 %; wgpu takes most of the rest.
//!
//! Graphics interfaces go by target instead: Metal on Apple's systems, Direct3D 12 and Vulkan on Windows, WebGPU in browsers,
//! Vulkan and OpenGL ES elsewhere. As features they would be the same for every target, since Cargo's defaults are: OpenGL
//! ES would be built on Windows too. A program can add one by depending on wgpu itself, with its feature.
#![warn(missing_docs)]
// docs.rs marks what a feature adds.
#![cfg_attr(docsrs, feature(doc_cfg))]
#![cfg_attr(
    any(
        target_arch = "wasm32",
        not(all(feature = "caffe", feature = "decoders", feature = "doctor", feature = "onnx", feature = "torch"))
    ),
    allow(
        dead_code,
        irrefutable_let_patterns,
        unused_variables,
        reason = "parts of the features that are left out, and on the web of what waits"
    )
)]

mod activation;
mod classify;
mod compare;
#[cfg(all(test, feature = "doctor"))]
mod conformance;
#[cfg(feature = "doctor")]
pub mod doctor;
pub mod explain;
#[cfg(not(target_arch = "wasm32"))]
mod files;
mod gpu;
mod kernels;
mod layers;
mod lower;
mod model;
mod network;
mod picture;
mod program;
pub mod reference;
mod runtime;
mod select;
mod shape;
mod similar;
mod text;
pub mod train;
mod version;
mod weights;
mod window;

pub use activation::Activation;
pub use classify::{Classifier, ClassifyError, Prediction};
pub use compare::{
    CompareError, Comparer, Comparison, DistanceMap, Lpips, LpipsGradient, LpipsSlope, ReferenceComparison,
    TexturePair, percentile, reference as compare_reference,
};
#[cfg(not(target_arch = "wasm32"))]
pub use files::write_atomically;
pub use gpu::{AdapterSummary, Gpu, GpuError, GpuOptions, Shortfall};
pub use kernels::{
    Algorithm, Arithmetic, Checks, Family, KernelConfig, Precision, Storage, UnknownArithmetic, UnknownPrecision,
};
pub use layers::{AdaptiveAvgPool, AvgPool, BatchNorm, Conv, Linear, LocalResponseNorm, LrnConvention, MaxPool, Op};
pub use model::{
    AlexNet, Format, GivenPreprocessing, Model, ModelOptions, Origin, UnknownNetwork, UnknownNetworkJson,
    UnknownPreprocessing, Variant, imagenet_labels,
};
pub use network::{Layer, Network, NetworkBuilder, NetworkError};
pub use picture::{ChannelOrder, Damage, Picture, PictureError, Preprocessing, PreprocessingError, Resize};
pub use program::{MAX_BATCH, ProgramError};
#[cfg(not(target_arch = "wasm32"))]
pub use runtime::Roofline;
pub use runtime::{
    Candidate, FrameBudget, Input, InputError, LayerReadback, LayerTime, Pipeline, PipelineBuilder, PipelineError,
    PlannedDispatch, RunError, TextureSource, Ticket, TopEntry, TuneError, TunedConfig, Tuning, device_bytes, plan,
};
pub use select::{BlockedVariant, Blocklist, UnknownVariant};
pub use shape::Shape;
pub use similar::{
    FeatureError, FeatureExtractor, FeatureSpec, Neighbour, PooledLayer, Pooling, nearest, similar_pairs,
};
pub use weights::{DType, Tensor, Weights, WeightsError, splitmix};
pub use wgpu;
pub use window::{Padding, Window};

/// The programs of the guide, which are tests.
#[cfg(doctest)]
mod guide {
    #[doc = include_str!("../docs/guide/src/first.md")]
    mod first {}
    #[doc = include_str!("../docs/guide/src/weights.md")]
    mod weights {}
    #[doc = include_str!("../docs/guide/src/frame.md")]
    mod frame {}
    #[doc = include_str!("../docs/guide/src/train.md")]
    mod train {}
    #[doc = include_str!("../docs/guide/src/inside.md")]
    mod inside {}
    #[doc = include_str!("../docs/guide/src/browser.md")]
    mod browser {}
    #[doc = include_str!("../docs/guide/src/many.md")]
    mod many {}
    #[doc = include_str!("../docs/guide/src/alexnet.md")]
    mod alexnet {}
    #[doc = include_str!("../docs/guide/src/kernels.md")]
    mod kernels {}
}
