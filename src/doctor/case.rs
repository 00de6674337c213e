//! Checks of one layer against its f64 twin.

#[cfg(not(target_arch = "wasm32"))]
use std::time::Instant;
use std::{collections::BTreeSet, sync::OnceLock};

#[cfg(target_arch = "wasm32")]
use web_time::Instant;
use wgpu::DeviceType;

use super::{KernelVariant, examine};
use crate::{
    gpu::Gpu,
    kernels::{Algorithm, Family, Kernel, KernelConfig, Precision},
    network::{Layer, Network},
    reference,
    runtime::Pipeline,
    weights::{DType, Tensor, Weights, WeightsError, splitmix},
};

/// A layer with random weights and inputs, and the f64 twin's outputs for them.
#[derive(Clone, Debug)]
pub struct Case {
    pub(crate) network: Network,
    /// The two pictures that batches consist of.
    inputs: [Vec<f32>; 2],
    /// One per precision.
    twins: Vec<Twin>,
    /// The scale of rounding errors: the norm of the sums of magnitudes, which unlike the result are free of cancellation.
    scale: f64,
}

/// A layer's weights in a precision, and the f64 twin's outputs for them.
#[derive(Clone, Debug)]
struct Twin {
    precision: Precision,
    /// Weights that the precision represents exactly.
    weights: Weights,
    /// For the first picture.
    first: Vec<f64>,
    /// For the second, used in batches; computed when first needed.
    second: OnceLock<Vec<f64>>,
    /// For both with operands in f16; computed when first needed.
    fast: OnceLock<[Vec<f64>; 2]>,
}

/// Batches whose fully connected layers are products with a few vectors at once, and ones whose fully connected layers are
/// matrix products.
pub(super) fn batches(family: Family) -> &'static [usize] {
    match family {
        Family::SubgroupBroadcast { .. } => &[8, 9],
        Family::WorkgroupTiled => &[16, 17],
        // A tile of each size.
        Family::CooperativeMatrix { .. } => &[5, 17, 33],
    }
}

/// The picture, of the two, at place `index` of a batch. The Thue-Morse sequence: no shift of it is itself.
pub(super) fn picture_at(index: usize) -> usize {
    index.count_ones() as usize % 2
}

/// The result of a check.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Finding {
    /// The layer's name.
    pub layer: String,
    /// The kernels.
    pub variant: KernelVariant,
    /// The error relative to the magnitudes that were summed, or the reason why there is none.
    pub error: Result<f64, String>,
    /// The largest error that rounding explains.
    pub tolerance: f64,
    /// Duration of the second run in milliseconds, with upload and readback.
    pub ms: f64,
}

impl Finding {
    /// Whether the variant's result is right.
    pub fn is_right(&self) -> bool {
        self.error.as_ref().is_ok_and(|&error| error <= self.tolerance)
    }
}

pub(super) fn norm(values: impl IntoIterator<Item = f64>) -> f64 {
    values.into_iter().map(|v| v * v).sum::<f64>().sqrt()
}

fn run_twin(layer: &Layer, weights: &Weights, input: impl Iterator<Item = f32>) -> Result<Vec<f64>, WeightsError> {
    reference::run_layer(layer, weights, &input.map(f64::from).collect::<Vec<_>>())
}

impl Case {
    /// Draws weights and inputs, and computes the f64 twin's outputs.
    ///
    /// # Errors
    ///
    /// None for a layer of a valid network.
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
            twins.push(Twin { precision, weights, first, second: OnceLock::new(), fast: OnceLock::new() });
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

    /// The variants that can compute this layer on `gpu`, blocked or not. They include those that the planner and the tuner
    /// pick, and those that only larger batches use.
    pub fn variants(&self, gpu: &Gpu) -> Vec<KernelVariant> {
        let mut variants = self.variants_of(gpu.kernel_configs());
        if gpu.info().device_type == DeviceType::Cpu {
            variants.retain(|variant| !matches!(variant.algorithm, Algorithm::Tile { .. }));
        }
        variants
    }

    /// The variants of `configs`.
    pub(crate) fn variants_of(&self, configs: impl IntoIterator<Item = KernelConfig>) -> Vec<KernelVariant> {
        configs.into_iter().flat_map(|config| self.variants_in(config)).collect()
    }

    fn variants_in(&self, config: KernelConfig) -> Vec<KernelVariant> {
        let layer = self.layer();
        let of_layer = layer.algorithms(config, layer.input_layout());
        let planned = |batch| layer.algorithm(config, batch);
        let precisions = || self.twins.iter().map(|twin| twin.precision);
        let of =
            |algorithm, batch| precisions().map(move |precision| KernelVariant { config, algorithm, precision, batch });
        let kernels = |variant| examine::kernels(&self.network, variant);
        let mut variants: Vec<KernelVariant> = of(Algorithm::Direct, 1).collect();
        if planned(1) != Algorithm::Direct {
            variants.extend(of(planned(1), 1));
        }
        let mut seen: BTreeSet<Kernel> = variants.iter().flat_map(|&variant| kernels(variant)).collect();

        // The largest tile of Winograd, one number of parts, and a workgroup tile of each number of rows.
        let winograd = of_layer.iter().rfind(|algorithm| matches!(algorithm, Algorithm::Winograd { .. }));
        let split = of_layer.iter().find(|&&algorithm| algorithm == Algorithm::SplitK { parts: 4 });
        let mut tiles: Vec<&Algorithm> = of_layer.iter().filter(|a| matches!(a, Algorithm::Tile { .. })).collect();
        tiles.dedup_by_key(|tile| tile.tile_rows());
        let others = winograd.into_iter().chain(split).chain(tiles);
        // With f32 operands, the kernels are those of another configuration.
        let others = others.filter(|a| config == config.exact() || !matches!(a, Algorithm::Winograd { .. }));
        // The direct algorithm of batches too, which remains where the planned one is blocked.
        let of_batch = |batch| [planned(batch), Algorithm::Direct].into_iter().flat_map(move |a| of(a, batch));
        let of_batches = batches(config.family).iter().copied().flat_map(of_batch);
        for variant in others.flat_map(|&algorithm| of(algorithm, 1)).chain(of_batches) {
            let of_variant = kernels(variant);
            if !of_variant.is_subset(&seen) {
                variants.push(variant);
                seen.extend(of_variant);
            }
        }
        variants
    }

    /// Whether `variant` rounds the operands of its products to f16.
    fn is_fast(&self, variant: KernelVariant) -> bool {
        matches!(variant.config.family, Family::CooperativeMatrix { .. })
            && examine::kernels(&self.network, variant).iter().any(|kernel| kernel.shader == "gemm_cooperative")
    }

    /// The largest error that rounding explains, as in tests/layers.rs: Winograd's larger coefficients cost accuracy, and
    /// operations that only compare numbers must be exact. A GPU may round to f16 towards zero, and so may its matrix units
    /// round their sums.
    fn tolerance(&self, variant: KernelVariant) -> f64 {
        match variant.algorithm {
            _ if self.layer().op.operation().is_exact() => 0.0,
            _ if self.is_fast(variant) => 1e-3,
            Algorithm::Direct | Algorithm::DirectF32 | Algorithm::SplitK { .. } | Algorithm::Tile { .. } => 2e-6,
            Algorithm::Winograd { .. } => 2e-5,
        }
    }

    fn twin(&self, precision: Precision) -> Option<&Twin> {
        self.twins.iter().find(|twin| twin.precision == precision)
    }

    /// The weights that `precision` represents exactly, where the layer has such.
    pub(crate) fn weights(&self, precision: Precision) -> Option<&Weights> {
        self.twin(precision).map(|twin| &twin.weights)
    }

    /// The f64 twin's output for [`Case::input`].
    pub(super) fn expected(&self, variant: KernelVariant) -> Result<Vec<f64>, String> {
        let KernelVariant { precision, batch, .. } = variant;
        let twin = self.twin(precision).ok_or_else(|| format!("there are no weights in {precision}"))?;
        if self.is_fast(variant) {
            if twin.fast.get().is_none() {
                let run = |input: &Vec<f32>| {
                    let input: Vec<f64> = input.iter().map(|&v| v.into()).collect();
                    reference::run_layer_fast(self.layer(), &twin.weights, &input).map_err(|e| e.to_string())
                };
                let _ = twin.fast.set([run(&self.inputs[0])?, run(&self.inputs[1])?]);
            }
            let picture = |index| twin.fast.get().map(|both| &both[picture_at(index)]);
            return Ok((0..batch).filter_map(picture).flatten().copied().collect());
        }
        if batch > 1 && twin.second.get().is_none() {
            let second = run_twin(self.layer(), &twin.weights, self.inputs[1].iter().copied());
            let _ = twin.second.set(second.map_err(|e| e.to_string())?);
        }
        let picture = |index| if picture_at(index) == 0 { Some(&twin.first) } else { twin.second.get() };
        Ok((0..batch).filter_map(picture).flatten().copied().collect())
    }

    /// Compares the output of `variant` for [`Case::input`] with the twin's.
    pub(crate) fn finding(&self, variant: KernelVariant, found: Result<Vec<f32>, String>) -> Finding {
        let error = found.and_then(|found| {
            let expected = self.expected(variant)?;
            if found.len() != expected.len() {
                return Err(format!("expected {} numbers, found {}", expected.len(), found.len()));
            }
            let scale = self.scale * (variant.batch as f64).sqrt();
            let error = norm(found.iter().zip(expected).map(|(&f, e)| f64::from(f) - e)) / scale;
            if error.is_nan() { Err("the result is not a number".into()) } else { Ok(error) }
        });
        let (layer, tolerance) = (self.layer().name.clone(), self.tolerance(variant));
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
