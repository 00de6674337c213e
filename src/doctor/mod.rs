//! Whether a driver computes what it should: each kernel variant of each layer against the f64 twin ([`crate::reference`])
//! on random data, and whole networks against reference vectors that were computed independently of this project.
//!
//! `alexnet doctor` is this for all adapters of a machine, and the page of examples/web for a browser; a program can ask the
//! same of its own device:
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
//! let gpu = gpu.avoid(blocklist.0);
//! // And how pictures come from the host's textures and buffers.
//! let inputs = pollster::block_on(doctor::check_inputs(&gpu));
//! assert!(inputs.iter().all(doctor::InputFinding::is_right));
//! # Ok(())
//! # }
//! ```

mod examine;
mod inputs;

#[cfg(not(target_arch = "wasm32"))]
use std::time::Instant;
use std::{collections::BTreeSet, fmt, sync::OnceLock};

use safetensors::{SafeTensorError, SafeTensors};
#[cfg(target_arch = "wasm32")]
use web_time::Instant;

use crate::{
    activation::Activation,
    gpu::Gpu,
    kernels::{Algorithm, Family, Kernel, KernelConfig, Precision},
    layers::{AvgPool, BatchNorm, Conv, Linear, MaxPool},
    model::AlexNet,
    network::{Layer, Network, NetworkError},
    reference,
    runtime::Pipeline,
    select::{BlockedVariant, Blocklist},
    shape::Shape,
    weights::{DType, Tensor, Weights, WeightsError, splitmix},
    window::Window,
};

pub use inputs::{InputFinding, Source, check_inputs};

/// Kernels that compute a layer: a kernel configuration, an algorithm, how weights are held, and for how many pictures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KernelVariant {
    /// Family and storage.
    pub config: KernelConfig,
    /// How a convolution is computed.
    pub algorithm: Algorithm,
    /// How a fully connected layer's weights are held.
    pub precision: Precision,
    /// Pictures of a run: larger batches have kernels of their own.
    pub batch: usize,
}

impl KernelVariant {
    /// The kernel configuration's kernels that compute as the definition says, in f32, a picture at a time.
    pub fn direct(config: KernelConfig) -> Self {
        Self { config, algorithm: Algorithm::Direct, precision: Precision::F32, batch: 1 }
    }

    /// What keeps the planner from this variant, in whatever precision and batch.
    pub fn blocked(self) -> BlockedVariant {
        BlockedVariant::of(self.config, self.algorithm)
    }
}

/// Its name, as [`BlockedVariant`] has it; the tile or the parts; the precision where it is not f32, the batch where it is not 1.
impl fmt::Display for KernelVariant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.blocked().fmt(f)?;
        match self.algorithm {
            Algorithm::Direct => {}
            Algorithm::Winograd { tile } => write!(f, " {tile}×{tile}")?,
            Algorithm::SplitK { parts } => write!(f, " in {parts}")?,
        }
        if self.precision != Precision::F32 {
            write!(f, " {}", self.precision)?;
        }
        if self.batch == 1 { Ok(()) } else { write!(f, " batch {}", self.batch) }
    }
}

/// The layers of `networks` that compute something, each operation on each shape of input once.
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

/// Small layers of the kinds that no AlexNet has: other activation functions, dilations, groups of few channels, other poolings and
/// normalisations, and one with more rows than a dispatch has workgroups along an axis.
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
    let tall = Network::builder("tall", Shape::new(4, 70_000, 1)).max_pool("folded", MaxPool::new(1, 1)).build()?;
    Ok(distinct_layers([&small, &tall]))
}

/// One layer with random weights and inputs, and what the f64 twin makes of them.
#[derive(Clone, Debug)]
pub struct Case {
    pub(crate) network: Network,
    /// Two pictures, of which batches are made.
    inputs: [Vec<f32>; 2],
    /// One for each precision.
    twins: Vec<Twin>,
    /// What rounding errors are in proportion to: the norm of the sums of magnitudes, which cancellation leaves out of
    /// the result.
    scale: f64,
}

/// A layer's weights in a precision, and the f64 twin's outputs for them.
#[derive(Clone, Debug)]
struct Twin {
    precision: Precision,
    /// Weights that it holds exactly.
    weights: Weights,
    /// For the first picture.
    first: Vec<f64>,
    /// For the second, which batches have; computed where one runs.
    second: OnceLock<Vec<f64>>,
}

/// A batch whose fully connected layers are products with a few vectors at once, and one for which they are matrix products.
fn batches(family: Family) -> [usize; 2] {
    match family {
        Family::SubgroupBroadcast { .. } => [8, 9],
        Family::WorkgroupTiled => [16, 17],
    }
}

/// Which of the two pictures comes in place `index` of a batch. The Thue-Morse sequence: no shift of it is itself.
fn picture_at(index: usize) -> usize {
    index.count_ones() as usize % 2
}

/// What came of a check.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// The layer's name.
    pub layer: String,
    /// The kernels.
    pub variant: KernelVariant,
    /// The error, in proportion to the magnitudes that were summed; why there is none otherwise.
    pub error: Result<f64, String>,
    /// The error that rounding can explain.
    pub tolerance: f64,
    /// Milliseconds of the second run, with upload and readback.
    pub ms: f64,
}

impl Finding {
    /// Whether the variant computes what it should.
    pub fn is_right(&self) -> bool {
        self.error.as_ref().is_ok_and(|&error| error <= self.tolerance)
    }
}

fn norm(values: impl IntoIterator<Item = f64>) -> f64 {
    values.into_iter().map(|v| v * v).sum::<f64>().sqrt()
}

fn run_twin(layer: &Layer, weights: &Weights, input: impl Iterator<Item = f32>) -> Result<Vec<f64>, WeightsError> {
    reference::run_layer(layer, weights, &input.map(f64::from).collect::<Vec<_>>())
}

impl Case {
    /// Draws weights and inputs, and asks the twin.
    ///
    /// # Errors
    ///
    /// None for a layer of a network that exists.
    pub fn new(layer: &Layer) -> Result<Self, WeightsError> {
        let network = Network::new(layer.name.clone(), layer.input, [(layer.name.clone(), layer.op)])
            .map_err(|e| WeightsError::Unrecognised(e.to_string()))?;
        let weights = Weights::random(&network, 7);
        let inputs = [99, 100].map(|seed| splitmix::uniform(seed, layer.input.len(), 2.0));
        let dtypes = [(Precision::F32, DType::F32), (Precision::F16, DType::F16), (Precision::Int8, DType::I8)];
        let precisions = if layer.op.operation().has_precisions() { 3 } else { 1 };
        let mut twins = Vec::new();
        for &(precision, dtype) in &dtypes[..precisions] {
            let weights = weights.cast(dtype);
            let first = run_twin(layer, &weights, inputs[0].iter().copied())?;
            twins.push(Twin { precision, weights, first, second: OnceLock::new() });
        }
        let scale = match layer.op.operation().sums_products() {
            true => {
                let mut magnitudes = weights;
                for tensor in magnitudes.tensors.values_mut() {
                    *tensor =
                        Tensor::from_f32(tensor.shape(), tensor.to_f32().iter().map(|v| v.abs()).collect::<Vec<_>>());
                }
                norm(run_twin(layer, &magnitudes, inputs[0].iter().map(|v| v.abs()))?)
            }
            false => norm(twins[0].first.iter().copied()),
        };
        Ok(Self { network, inputs, twins, scale: scale.max(1e-30) })
    }

    fn layer(&self) -> &Layer {
        &self.network.layers()[0]
    }

    /// The input of `batch` pictures.
    pub(crate) fn input(&self, batch: usize) -> Vec<f32> {
        (0..batch).flat_map(|index| &self.inputs[picture_at(index)]).copied().collect()
    }

    /// The kernels that can compute this layer on `gpu`, denied or not: among them those that the planner picks, and where
    /// a larger batch has others, these too.
    pub fn variants(&self, gpu: &Gpu) -> Vec<KernelVariant> {
        self.variants_of(gpu.kernel_configs())
    }

    /// Those of `kernel configurations`.
    pub(crate) fn variants_of(&self, configs: impl IntoIterator<Item = KernelConfig>) -> Vec<KernelVariant> {
        configs.into_iter().flat_map(|config| self.variants_in(config)).collect()
    }

    fn variants_in(&self, config: KernelConfig) -> Vec<KernelVariant> {
        let layer = self.layer();
        let of_layer = layer.algorithms(config, layer.input_layout());
        let mut algorithms = vec![Algorithm::Direct];
        algorithms.extend(of_layer.iter().rfind(|algorithm| matches!(algorithm, Algorithm::Winograd { .. })));
        algorithms.extend(of_layer.iter().find(|&&algorithm| algorithm == Algorithm::SplitK { parts: 4 }));
        let planned = |batch| layer.algorithm(config, batch);
        if !algorithms.contains(&planned(1)) {
            algorithms.push(planned(1));
        }
        let precisions = || self.twins.iter().map(|twin| twin.precision);
        let of =
            |algorithm, batch| precisions().map(move |precision| KernelVariant { config, algorithm, precision, batch });
        let mut variants: Vec<KernelVariant> = algorithms.into_iter().flat_map(|algorithm| of(algorithm, 1)).collect();
        let kernels = |variant| examine::kernels(&self.network, variant);
        let mut seen: BTreeSet<Kernel> = variants.iter().flat_map(|&variant| kernels(variant)).collect();
        // Directly too, which is what remains where the planned algorithm is denied.
        let of_batch = |batch| [planned(batch), Algorithm::Direct].into_iter().flat_map(move |a| of(a, batch));
        for variant in batches(config.family).into_iter().flat_map(of_batch) {
            let others = kernels(variant);
            if !others.is_subset(&seen) {
                variants.push(variant);
                seen.extend(others);
            }
        }
        variants
    }

    /// The largest error that rounding explains, as in tests/layers.rs:
    /// Winograd's larger coefficients cost accuracy, and what compares numbers must not err at all.
    fn tolerance(&self, algorithm: Algorithm) -> f64 {
        match algorithm {
            _ if self.layer().op.operation().is_exact() => 0.0,
            Algorithm::Direct | Algorithm::SplitK { .. } => 2e-6,
            Algorithm::Winograd { .. } => 2e-5,
        }
    }

    fn twin(&self, precision: Precision) -> Option<&Twin> {
        self.twins.iter().find(|twin| twin.precision == precision)
    }

    /// The weights that `precision` holds exactly, where the layer has such.
    pub(crate) fn weights(&self, precision: Precision) -> Option<&Weights> {
        self.twin(precision).map(|twin| &twin.weights)
    }

    /// What the f64 twin makes of [`Case::input`].
    fn expected(&self, precision: Precision, batch: usize) -> Result<Vec<f64>, String> {
        let twin = self.twin(precision).ok_or_else(|| format!("there are no weights in {precision}"))?;
        if batch > 1 && twin.second.get().is_none() {
            let second = run_twin(self.layer(), &twin.weights, self.inputs[1].iter().copied());
            let _ = twin.second.set(second.map_err(|e| e.to_string())?);
        }
        let picture = |index| if picture_at(index) == 0 { Some(&twin.first) } else { twin.second.get() };
        Ok((0..batch).filter_map(picture).flatten().copied().collect())
    }

    /// Compares what `variant` made of [`Case::input`].
    pub(crate) fn finding(&self, variant: KernelVariant, found: Result<Vec<f32>, String>) -> Finding {
        let error = found.and_then(|found| {
            let expected = self.expected(variant.precision, variant.batch)?;
            if found.len() != expected.len() {
                return Err(format!("expected {} numbers, found {}", expected.len(), found.len()));
            }
            let scale = self.scale * (variant.batch as f64).sqrt();
            let error = norm(found.iter().zip(expected).map(|(&f, e)| f64::from(f) - e)) / scale;
            if error.is_nan() { Err("the result is not a number".into()) } else { Ok(error) }
        });
        let (layer, tolerance) = (self.layer().name.clone(), self.tolerance(variant.algorithm));
        Finding { layer, variant, error, tolerance, ms: 0.0 }
    }

    /// Runs the layer twice and compares the second result.
    pub async fn check(&self, gpu: &Gpu, variant: KernelVariant) -> Finding {
        let mut ms = 0.0;
        let run = async {
            let weights = self
                .weights(variant.precision)
                .ok_or_else(|| format!("there are no weights in {}", variant.precision))?;
            let pipeline = Pipeline::builder(gpu, &self.network, weights)
                .kernel_config(variant.config)
                .algorithm(self.network.name(), variant.algorithm)
                .precision(variant.precision)
                .batch(variant.batch)
                .build()
                .map_err(|e| e.to_string())?;
            let input = self.input(variant.batch);
            pipeline.run(&input).await.map_err(|e| e.to_string())?;
            let begin = Instant::now();
            let found = pipeline.run(&input).await.map_err(|e| e.to_string())?;
            ms = begin.elapsed().as_secs_f64() * 1e3;
            Ok(found)
        };
        let found = run.await;
        Finding { ms, ..self.finding(variant, found) }
    }
}

/// The fewest blocklist that keep the planner from every variant that is wrong in f32.
pub fn blocklist(findings: &[Finding]) -> Blocklist {
    let findings: Vec<&Finding> = findings.iter().filter(|f| f.variant.precision == Precision::F32).collect();
    let denies = |blocked: BlockedVariant, variant: KernelVariant| {
        let blocklist = Blocklist(vec![blocked]);
        blocklist.blocks(variant.config) || blocklist.blocks_algorithm(variant.config, variant.algorithm)
    };
    let wrong = |variant: KernelVariant| findings.iter().any(|f| f.variant == variant && !f.is_right());
    // All that a blocked names is wrong.
    let just = |blocked: BlockedVariant| {
        let named = |f: &&&Finding| Blocklist(vec![blocked]).blocks_algorithm(f.variant.config, f.variant.algorithm);
        findings.iter().filter(named).all(|f| wrong(f.variant))
    };
    let mut blocklist = Blocklist::default();
    // Kernel configurations come first: where one is blocked, its algorithms need not be.
    let direct = |f: &&&Finding| f.variant.algorithm == Algorithm::Direct;
    for finding in findings.iter().filter(direct).chain(findings.iter().filter(|f| !direct(f))) {
        let Finding { variant, .. } = finding;
        if !finding.is_right() && !blocklist.0.iter().any(|&d| denies(d, *variant)) {
            let blocked = variant.blocked();
            blocklist.0.push(blocked.wider().find(|&wider| just(wider)).unwrap_or(blocked));
        }
    }
    blocklist
}

/// The precisions below f32 that are wrong in a kernel configuration that `blocklist` leaves. Who stays with f32 needs no more blocklist.
pub fn wrong_precisions(findings: &[Finding], blocklist: &Blocklist) -> Vec<Precision> {
    let wrong = |precision: &Precision| {
        let of = |f: &&Finding| f.variant.precision == *precision && !blocklist.blocks(f.variant.config);
        findings.iter().filter(of).any(|f| !f.is_right())
    };
    [Precision::F16, Precision::Int8].into_iter().filter(wrong).collect()
}

/// A network whose activations for seeded weights and input are known in f64: docs/networks.md describes them.
#[derive(Clone, Copy, Debug)]
pub struct Vectors {
    alexnet: AlexNet,
    file: &'static [u8],
}

/// The seed of the vectors' weights and input.
const SEED: u64 = 20_121_203;

/// How a whole network fared.
#[derive(Clone, Debug, PartialEq)]
pub struct NetworkFinding {
    /// The network's name.
    pub network: String,
    /// The kernel configuration that the planner chose, and the errors; why there are none otherwise.
    pub outcome: Result<Outcome, String>,
    /// Milliseconds of the second run, with upload and readback.
    pub ms: f64,
}

/// How far a whole network is from its reference vectors. Errors are relative to the norm.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// The kernels.
    pub config: KernelConfig,
    /// The layer with the largest error among those whose vectors are known.
    pub worst_layer: String,
    /// That error.
    pub worst: f64,
    /// The error of fc8, before the softmax.
    pub fc8: f64,
    /// Whether the five most likely classes are the right ones, in order.
    pub top: bool,
}

impl NetworkFinding {
    /// Largest error of a layer that is right.
    pub const TOLERANCE: f64 = 1e-5;

    /// Whether the network computes what it should.
    pub fn is_right(&self) -> bool {
        let right = |o: &Outcome| o.top && o.fc8 <= Self::TOLERANCE && o.worst <= Self::TOLERANCE;
        self.outcome.as_ref().is_ok_and(right)
    }
}

impl Vectors {
    /// Those that the library carries.
    pub const ALL: [Self; 3] = [
        Self {
            alexnet: AlexNet::UNGROUPED,
            file: include_bytes!("../../assets/reference/ungrouped-seed20121203.safetensors"),
        },
        Self { alexnet: AlexNet::CAFFE, file: include_bytes!("../../assets/reference/caffe-seed20121203.safetensors") },
        Self {
            alexnet: AlexNet::TORCHVISION,
            file: include_bytes!("../../assets/reference/torchvision-seed20121203.safetensors"),
        },
    ];

    /// Which AlexNet they are for.
    pub fn alexnet(&self) -> AlexNet {
        self.alexnet
    }

    /// Runs the network as it is planned on `gpu`, twice, and compares the second results.
    pub async fn check(&self, gpu: &Gpu) -> NetworkFinding {
        let mut ms = 0.0;
        let outcome = self.compare(gpu, &mut ms).await.map_err(|e| e.to_string());
        NetworkFinding { network: self.alexnet.variant.name().into(), outcome, ms }
    }

    async fn compare(&self, gpu: &Gpu, ms: &mut f64) -> Result<Outcome, Box<dyn std::error::Error>> {
        let network = self.alexnet.network()?;
        let (weights, input) = self.question(&network);
        let names = self.known_layers(&network)?;

        let pipeline = Pipeline::builder(gpu, &network, &weights).build()?;
        pipeline.run_top(&input).await?;
        let begin = Instant::now();
        let top = pipeline.run_top(&input).await?;
        *ms = begin.elapsed().as_secs_f64() * 1e3;
        let activations = pipeline.run_layers(&input, &names).await?;
        let top: Vec<usize> = top.iter().flatten().map(|e| e.index as usize).collect();
        self.outcome(pipeline.kernel_config(), &names, &activations, &top)
    }

    /// The weights and the input that the vectors are for.
    pub(crate) fn question(&self, network: &Network) -> (Weights, Vec<f32>) {
        let weights = Weights::random(network, SEED);
        let input = splitmix::uniform(SEED + weights.tensors.len() as u64, network.input().len(), 2.0);
        (weights, input)
    }

    /// The layers that there are vectors of.
    pub(crate) fn known_layers<'n>(&self, network: &'n Network) -> Result<Vec<&'n str>, SafeTensorError> {
        let file = SafeTensors::deserialize(self.file)?;
        let known = |l: &&Layer| file.tensor(&format!("{}.value", l.name)).is_ok();
        Ok(network.layers().iter().filter(known).map(|l| l.name.as_str()).collect())
    }

    /// Compares the activations of the layers called `names`, and the five most likely classes.
    pub(crate) fn outcome(
        &self,
        config: KernelConfig,
        names: &[&str],
        activations: &[Vec<f32>],
        top: &[usize],
    ) -> Result<Outcome, Box<dyn std::error::Error>> {
        let file = SafeTensors::deserialize(self.file)?;
        let numbers = |name: &str| -> Result<Vec<[u8; 8]>, SafeTensorError> {
            Ok(file.tensor(name)?.data().as_chunks().0.to_vec())
        };
        let f64s = |name: &str| -> Result<Vec<f64>, SafeTensorError> {
            Ok(numbers(name)?.into_iter().map(f64::from_le_bytes).collect())
        };

        let mut outcome = Outcome { config, worst_layer: String::new(), worst: 0.0, fc8: f64::NAN, top: false };
        for (name, activation) in names.iter().zip(activations) {
            let error = match file.tensor(&format!("{name}.all")) {
                Ok(_) => reference::relative_error(activation, &f64s(&format!("{name}.all"))?),
                Err(_) => {
                    let at = |i: [u8; 8]| activation.get(u64::from_le_bytes(i) as usize).copied().unwrap_or(f32::NAN);
                    let found: Vec<f32> = numbers(&format!("{name}.index"))?.into_iter().map(at).collect();
                    let expected = f64s(&format!("{name}.l2"))?;
                    let norm = norm(activation.iter().map(|&v| f64::from(v)));
                    let error = reference::relative_error(&found, &f64s(&format!("{name}.value"))?);
                    error.max((norm / expected.first().copied().unwrap_or(f64::NAN) - 1.0).abs())
                }
            };
            // A NaN counts as the worst.
            if error.is_nan() || error > outcome.worst {
                (outcome.worst_layer, outcome.worst) = (name.to_string(), error);
            }
            if *name == "fc8" {
                outcome.fc8 = error;
            }
        }
        let probabilities = f64s("prob.all")?;
        let mut order: Vec<usize> = (0..probabilities.len()).collect();
        order.sort_by(|&a, &b| probabilities[b].total_cmp(&probabilities[a]));
        outcome.top = order.get(..5) == Some(top);
        Ok(outcome)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use pollster::block_on;

    use super::*;
    use crate::{
        gpu::{Compiler, GpuOptions},
        kernels::{Kernel, Storage},
        layers::{Conv, Linear, MaxPool},
        shape::Shape,
    };

    fn gpu() -> Gpu {
        Gpu::open_blocking(&GpuOptions { adapter: std::env::var("ALEXNET_ADAPTER").ok(), backends: None }).unwrap()
    }

    fn network() -> Network {
        Network::builder("small", Shape::new(8, 9, 9))
            .conv("conv1", Conv::new(12, 3).padding(1).relu())
            .max_pool("pool1", MaxPool::new(3, 2))
            .linear("fc2", Linear::new(20))
            .build()
            .unwrap()
    }

    fn findings(gpu: &Gpu) -> Vec<Finding> {
        let cases = distinct_layers([&network()]).into_iter().map(|layer| Case::new(&layer).unwrap());
        cases.flat_map(|case| case.variants(gpu).into_iter().map(move |v| block_on(case.check(gpu, v)))).collect()
    }

    /// Runs the network as planned, and its error against the twin.
    fn error(gpu: &Gpu) -> (KernelConfig, f64) {
        let network = network();
        let weights = Weights::random(&network, 3);
        let input = splitmix::uniform(4, network.input().len(), 2.0);
        let wide: Vec<f64> = input.iter().map(|&v| v.into()).collect();
        let expected = reference::run(&network, &weights, &wide).unwrap().pop().unwrap();
        let pipeline = Pipeline::builder(gpu, &network, &weights).build().unwrap();
        let found = block_on(pipeline.run(&input)).unwrap();
        (pipeline.kernel_config(), reference::relative_error(&found, &expected))
    }

    #[test]
    fn a_driver_that_is_right_is_found_right() {
        let gpu = gpu();
        let findings = findings(&gpu);
        for config in gpu.kernel_configs() {
            let of = |f: &&Finding| f.variant.config == config;
            let single = findings.iter().filter(of).filter(|f| f.variant.batch == 1).count();
            // Winograd for conv1, three precisions for fc2; the tiled kernels split sums, in four and as is planned.
            assert_eq!(single, if config.family == Family::WorkgroupTiled { 8 } else { 6 }, "{config:?}");
            for precision in Precision::ALL {
                let batch = |f: &&Finding| f.layer == "fc2" && f.variant.batch > 1 && f.variant.precision == precision;
                assert!(findings.iter().filter(of).any(|f| batch(&f)), "{config:?} {precision}: {findings:?}");
            }
        }
        let wrong: Vec<&Finding> = findings.iter().filter(|f| !f.is_right()).collect();
        assert!(wrong.is_empty(), "{wrong:?}");
        assert!(findings.iter().all(|f| f.ms > 0.0));
        assert_eq!(blocklist(&findings), Blocklist::default());
        assert_eq!(wrong_precisions(&findings, &Blocklist::default()), []);
    }

    /// Has the driver miscompile the shaders that `broken` picks: what they store is a thousandth too large.
    fn break_kernels(gpu: &mut Gpu, broken: impl Fn(&Kernel) -> bool + Send + Sync + 'static) {
        break_kernels_by(gpu, "1.001", broken);
    }

    fn break_kernels_by(gpu: &mut Gpu, factor: &'static str, broken: impl Fn(&Kernel) -> bool + Send + Sync + 'static) {
        gpu.compiler = Some(Compiler(Arc::new(move |device, kernel| {
            let source = kernel.source().unwrap();
            // `store_y` of shaders/output.wgsl.
            let wrong = source
                .replace("= value;", &format!("= value * {factor};"))
                .replace(", value);", &format!(", value * {factor});"));
            assert!(wrong != source || kernel.shader == "top_k", "{}", kernel.shader);
            let source = wgpu::ShaderSource::Wgsl(wrong.into());
            let descriptor = wgpu::ShaderModuleDescriptor { label: None, source };
            broken(kernel).then(|| device.create_shader_module(descriptor))
        })));
    }

    #[test]
    fn a_wrong_kernel_is_found_and_avoided() {
        let (best, right) = error(&gpu());
        let mut gpu = gpu();
        assert!(right < 1e-6, "{right:e}");
        let storage = best.storage;
        let tiled = best.family == Family::WorkgroupTiled;
        let of_family = move |k: &Kernel| k.weights().is_some() && k.shader.ends_with("_tiled") == tiled;
        break_kernels(&mut gpu, move |k| of_family(k) && k.binding(3).is_some_and(|b| b.storage == storage));

        let (config, wrong) = error(&gpu);
        assert_eq!(config, best);
        assert!(wrong > 1e-4, "{wrong:e}");
        let findings = findings(&gpu);
        for finding in &findings {
            let KernelConfig { family, storage } = finding.variant.config;
            let same =
                (family == Family::WorkgroupTiled, storage) == (best.family == Family::WorkgroupTiled, best.storage);
            let broken = same && finding.layer != "pool1";
            assert_eq!(finding.is_right(), !broken, "{finding:?}");
        }
        let blocklist = blocklist(&findings);
        assert_eq!(blocklist.0, [BlockedVariant::of(best, Algorithm::Direct)]);

        let gpu = gpu.avoid(blocklist.0);
        let (config, error) = error(&gpu);
        assert_ne!(config, best);
        assert!(error < 1e-6, "{config:?}: {error:e}");
    }

    #[test]
    fn a_wrong_algorithm_is_denied_alone() {
        let mut gpu = gpu();
        break_kernels(&mut gpu, |k| k.shader.starts_with("winograd_output"));
        let blocklist = blocklist(&findings(&gpu));
        assert_eq!(blocklist.to_string(), "winograd");
    }

    #[test]
    fn a_wrong_precision_is_named_and_denies_nothing() {
        let mut gpu = gpu();
        let best = error(&gpu).0;
        break_kernels(&mut gpu, |k| k.weights() == Some(Precision::Int8));
        let findings = findings(&gpu);
        for finding in &findings {
            assert_eq!(finding.is_right(), finding.variant.precision != Precision::Int8, "{finding:?}");
        }
        let none = blocklist(&findings);
        assert_eq!(none, Blocklist::default());
        assert_eq!(wrong_precisions(&findings, &none), [Precision::Int8]);
        let (config, error) = error(&gpu);
        assert!(config == best && error < 1e-6, "f32 is as it was: {config:?}, {error:e}");
    }

    /// Kernels that only larger batches have are run too.
    #[test]
    fn a_kernel_of_batches_is_found_wrong() {
        let mut gpu = gpu();
        // f16 is for fully connected layers, which have products with a vector otherwise.
        break_kernels(&mut gpu, |k| k.shader == "gemm_tiled" && k.weights() == Some(Precision::F16));
        let findings = findings(&gpu);
        let wrong: Vec<KernelVariant> = findings.iter().filter(|f| !f.is_right()).map(|f| f.variant).collect();
        let of_batches = |v: &KernelVariant| {
            v.batch == 17 && v.precision == Precision::F16 && v.config.family == Family::WorkgroupTiled
        };
        // With the sums split, and directly.
        assert!(wrong.len() == 2 * Storage::ALL.len() && wrong.iter().all(of_batches), "{wrong:?}");
        assert_eq!(wrong_precisions(&findings, &blocklist(&findings)), [Precision::F16]);
    }

    /// A kernel that gives each picture its neighbour's numbers is not right.
    #[test]
    fn batches_that_are_mixed_up_are_found_wrong() {
        let case = Case::new(&network().layers()[2]).unwrap();
        let variant = KernelVariant { batch: 8, ..KernelVariant::direct(gpu().kernel_configs()[0]) };
        let mut outputs: Vec<f32> = case.expected(Precision::F32, 8).unwrap().into_iter().map(|v| v as f32).collect();
        assert!(case.finding(variant, Ok(outputs.clone())).is_right());
        for shift in 1..8 {
            outputs.rotate_left(20);
            assert!(!case.finding(variant, Ok(outputs.clone())).is_right(), "{shift}");
        }
    }

    /// What the planner picks for a layer, for one picture and for batches, is among what is run, whatever the adapter.
    #[test]
    fn what_is_planned_is_checked() {
        let families =
            [Family::WorkgroupTiled].into_iter().chain([4, 8, 16].map(|lanes| Family::SubgroupBroadcast { lanes }));
        let configs = families.flat_map(|family| Storage::ALL.map(|storage| KernelConfig { family, storage }));
        let networks = [AlexNet::CAFFE, AlexNet::TORCHVISION, AlexNet::UNGROUPED]
            .map(|a| a.width(0.1).head(20, 20).classes(10).network().unwrap());
        let (mut tiles, mut parts) = (BTreeSet::new(), BTreeSet::new());
        for layer in distinct_layers(&networks) {
            let case = Case::new(&layer).unwrap();
            for config in configs.clone() {
                let variants = case.variants_of([config]);
                let run: BTreeSet<Kernel> = variants.iter().flat_map(|&v| examine::kernels(&case.network, v)).collect();
                let batches = [1, 8, 9].into_iter().chain(batches(config.family));
                for (batch, precision) in batches.flat_map(|b| Precision::ALL.map(|p| (b, p))) {
                    if case.weights(precision).is_none() {
                        continue;
                    }
                    let algorithm = layer.algorithm(config, batch);
                    match algorithm {
                        Algorithm::Winograd { tile } => {
                            tiles.insert(tile);
                        }
                        Algorithm::SplitK { parts: n } => {
                            parts.insert(n);
                        }
                        Algorithm::Direct => {}
                    }
                    let planned = KernelVariant { config, algorithm, precision, batch };
                    assert!(batch > 1 || variants.contains(&planned), "{}: {planned}: {variants:?}", layer.name);
                    let missing = examine::kernels(&case.network, planned);
                    assert!(missing.is_subset(&run), "{}: {planned}: {missing:?}", layer.name);
                }
            }
        }
        assert!(tiles.len() + parts.len() > 1, "{tiles:?} {parts:?}: the planner picks nothing");
    }

    #[test]
    fn inputs_that_are_wrong_are_found() {
        let right = block_on(check_inputs(&gpu()));
        assert!(right.len() == 4 * Storage::ALL.len() && right.iter().all(InputFinding::is_right), "{right:?}");
        let mut gpu = gpu();
        break_kernels_by(&mut gpu, "1.1", |k| k.shader == "texture_input" && k.settings.contains(&("INTERLEAVED", 1)));
        for finding in block_on(check_inputs(&gpu)) {
            let broken = finding.source == Source::Texture && finding.interleaved;
            assert_eq!(finding.is_right(), !broken, "{finding}: {:?}", finding.error);
        }
        let mut gpu = self::gpu();
        break_kernels(&mut gpu, |k| k.shader == "buffer_input");
        for finding in block_on(check_inputs(&gpu)) {
            assert_eq!(finding.is_right(), finding.source == Source::Texture, "{finding}: {:?}", finding.error);
        }
    }

    #[test]
    fn what_no_style_computes_leaves_nothing() {
        let mut gpu = gpu();
        break_kernels(&mut gpu, |k| k.shader == "max_pool");
        let blocklist = blocklist(&findings(&gpu));
        let network = network();
        let weights = Weights::random(&network, 3);
        let gpu = gpu.avoid(blocklist.0);
        let error = Pipeline::builder(&gpu, &network, &weights).build().unwrap_err();
        assert!(matches!(error, crate::PipelineError::Blocked { .. }), "{error}");
    }
}
