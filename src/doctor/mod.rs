//! Checks of a driver's results: each kernel variant of each layer against the f64 twin ([`crate::reference`]) on random
//! data, and whole networks against reference vectors that were computed independently of this project.
//!
//! `alexnet doctor` runs these checks on all adapters of a machine, and the npm package in web/ runs them in a browser. A
//! program can check its own device:
//!
//! ```
//! use alexnet_wgpu::{AlexNet, Gpu, GpuOptions, doctor};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let gpu = Gpu::open_blocking(&GpuOptions::default())?;
//! let network = AlexNet::UNGROUPED.width(0.1).head(20, 20).network()?;
//! let mut findings = Vec::new();
//! for layer in doctor::distinct_layers([&network]) {
//!     let case = doctor::Case::new(&layer)?;
//!     for variant in case.variants(&gpu) {
//!         findings.push(pollster::block_on(case.check(&gpu, variant)));
//!     }
//! }
//! // What to avoid on this device; nothing, on one that is right.
//! let blocklist = doctor::blocklist(&findings);
//! # assert_eq!(blocklist.to_string(), "");
//! let gpu = gpu.avoid(blocklist);
//! // And how pictures come from the host's textures and buffers.
//! let inputs = pollster::block_on(doctor::check_inputs(&gpu));
//! assert!(inputs.iter().all(doctor::InputFinding::is_right));
//! # Ok(())
//! # }
//! ```

mod case;
mod examine;
mod inputs;
#[cfg(test)]
mod tests;
mod vectors;

use std::fmt;

pub use case::{Case, Finding};
pub use inputs::{InputFinding, Source, check_inputs};
pub use vectors::{NetworkFinding, Outcome, Vectors};

use crate::{
    activation::Activation,
    kernels::{Algorithm, KernelConfig, Precision},
    layers::{AvgPool, BatchNorm, Conv, Linear, MaxPool},
    network::{Layer, Network, NetworkError},
    select::{BlockedVariant, Blocklist},
    shape::Shape,
    window::Window,
};

/// A choice of kernels for a layer: kernel configuration, algorithm, precision of the weights, and batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct KernelVariant {
    /// Family and storage.
    pub config: KernelConfig,
    /// The algorithm of convolutions.
    pub algorithm: Algorithm,
    /// The precision of a fully connected layer's weights on the device.
    pub precision: Precision,
    /// Pictures per run: larger batches have kernels of their own.
    pub batch: usize,
}

impl KernelVariant {
    /// The kernels of `config` with the direct algorithm, in f32, for one picture.
    pub fn direct(config: KernelConfig) -> Self {
        Self { config, algorithm: Algorithm::Direct, precision: Precision::F32, batch: 1 }
    }

    /// The blocklist entry that keeps the planner from this variant, in any precision and batch.
    pub fn blocked(self) -> BlockedVariant {
        BlockedVariant::of(self.config, self.algorithm)
    }
}

/// Its name as in [`BlockedVariant`]; the tile or the parts; the precision where it is not f32, the batch where it is not 1.
impl fmt::Display for KernelVariant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.blocked().fmt(f)?;
        match self.algorithm {
            Algorithm::Direct => {}
            Algorithm::DirectF32 => f.write_str(" in f32")?,
            Algorithm::Winograd { tile } => write!(f, " {tile}×{tile}")?,
            Algorithm::SplitK { parts } => write!(f, " in {parts}")?,
            Algorithm::Tile { rows, parts } => write!(f, " of {rows} rows in {parts}")?,
        }
        if self.precision != Precision::F32 {
            write!(f, " {}", self.precision)?;
        }
        if self.batch == 1 { Ok(()) } else { write!(f, " batch {}", self.batch) }
    }
}

/// The distinct computing layers of `networks`: each operation on each input shape once.
pub fn distinct_layers<'a>(networks: impl IntoIterator<Item = &'a Network>) -> Vec<Layer> {
    let mut distinct: Vec<Layer> = Vec::new();
    for layer in networks.into_iter().flat_map(Network::layers) {
        let known = distinct.iter().any(|l| l.op == layer.op && l.input == layer.input);
        if !known && !layer.op.operation().is_identity() {
            distinct.push(layer.clone());
        }
    }
    distinct
}

/// Small layers of kinds that no AlexNet has: other activation functions, dilations, groups of few channels, other poolings
/// and normalisations, and one with more rows than a dispatch has workgroups along an axis.
pub fn further_layers() -> Result<Vec<Layer>, NetworkError> {
    let dilated = MaxPool { window: Window { dilation: [2, 1], ..Window::square(2, 1) } };
    let small = Network::builder("further", Shape::new(12, 14, 13))
        .conv("dilated", Conv::new(20, 3).dilation(2).padding(2).activation(Activation::Sigmoid))
        .conv("depthwise", Conv::new(20, 3).groups(20).padding(1).activation(Activation::LeakyRelu { slope: 0.1 }))
        .batch_norm("batch_norm", BatchNorm::new(1e-5).activation(Activation::Relu6))
        .avg_pool("avg_pool", AvgPool::new(3, 2).padding(1).ceil(true))
        .max_pool("dilated_pool", dilated)
        .linear("fc", Linear::new(30).activation(Activation::Tanh))
        .build()?;
    let exponential = Network::builder("exponential", Shape::new(5, 7, 6))
        .conv("elu", Conv::new(9, 3).activation(Activation::Elu { alpha: 0.7 }))
        .conv("selu", Conv::new(10, 1).activation(Activation::Selu))
        .softmax("softmax")
        .build()?;
    let tall = Network::builder("tall", Shape::new(4, 70_000, 1)).max_pool("folded", MaxPool::new(1, 1)).build()?;
    Ok(distinct_layers([&small, &exponential, &tall]))
}

/// The shortest blocklist that covers every variant that is wrong in f32.
pub fn blocklist(findings: &[Finding]) -> Blocklist {
    let findings: Vec<&Finding> = findings.iter().filter(|f| f.variant.precision == Precision::F32).collect();
    let blocks = |blocked: BlockedVariant, variant: KernelVariant| {
        let blocklist = Blocklist::from_iter([blocked]);
        blocklist.blocks(variant.config) || blocklist.blocks_algorithm(variant.config, variant.algorithm)
    };
    let wrong = |variant: KernelVariant| findings.iter().any(|f| f.variant == variant && !f.is_right());
    // Every variant that an entry covers is wrong.
    let just = |blocked: BlockedVariant| {
        let named =
            |f: &&&Finding| Blocklist::from_iter([blocked]).blocks_algorithm(f.variant.config, f.variant.algorithm);
        findings.iter().filter(named).all(|f| wrong(f.variant))
    };
    let mut blocklist = Blocklist::default();
    // Kernel configurations come first: where one is blocked, its algorithms need no entries.
    let direct = |f: &&&Finding| f.variant.algorithm == Algorithm::Direct;
    for finding in findings.iter().filter(direct).chain(findings.iter().filter(|f| !direct(f))) {
        let Finding { variant, .. } = finding;
        if !finding.is_right() && !blocklist.iter().any(|blocked| blocks(blocked, *variant)) {
            let blocked = variant.blocked();
            blocklist.extend([blocked.wider().find(|&wider| just(wider)).unwrap_or(blocked)]);
        }
    }
    blocklist
}

/// The precisions below f32 that are wrong in a kernel configuration that `blocklist` permits. In f32, nothing more needs to
/// be blocked.
pub fn wrong_precisions(findings: &[Finding], blocklist: &Blocklist) -> Vec<Precision> {
    let wrong = |precision: &Precision| {
        let of = |f: &&Finding| f.variant.precision == *precision && !blocklist.blocks(f.variant.config);
        findings.iter().filter(of).any(|f| !f.is_right())
    };
    [Precision::F16, Precision::Int8].into_iter().filter(wrong).collect()
}
