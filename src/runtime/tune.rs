//! Tuning: measures every way to compute each layer on an adapter, and chooses the fastest.

#[cfg(not(target_arch = "wasm32"))]
use std::time::Instant;
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use serde::{Deserialize, Serialize};
#[cfg(target_arch = "wasm32")]
use web_time::Instant;
use wgpu::DeviceType;

use super::{PipelineBuilder, PipelineError, RunError, avoid};
use crate::{
    kernels::{Algorithm, KernelConfig, RowsLayout},
    layers::Op,
    network::{Layer, Network},
    version::Version,
    weights::{Weights, splitmix},
};

/// How a network is computed: the result of [`PipelineBuilder::tune`], or written by hand.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct TunedConfig {
    #[serde(default)]
    pub(crate) version: Version,
    /// The kernels of all layers.
    #[serde(rename = "style")]
    pub config: KernelConfig,
    /// The algorithms of convolutions and fully connected layers, by their names.
    pub algorithms: BTreeMap<String, Algorithm>,
}

/// A measured way to compute one layer.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Candidate {
    /// The layer's name.
    pub layer: String,
    /// The kernel configuration.
    pub config: KernelConfig,
    /// The algorithm of the layer.
    pub algorithm: Algorithm,
    /// A short description of the kernel; of the first one where there are several.
    pub kernel: String,
    /// Milliseconds for the batch, the median of several runs.
    pub ms: f64,
}

/// The result of [`PipelineBuilder::tune`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Tuning {
    /// All measurements.
    pub candidates: Vec<Candidate>,
    /// The fastest configuration.
    pub choice: TunedConfig,
    /// Milliseconds of the fastest configuration, for the batch: the sum of its layers.
    pub ms: f64,
}

/// Number of runs that the median is taken of. The minimum is not used: some drivers' timestamps are now and then far
/// too close together.
const RUNS: usize = 5;

/// Runs that begin within this time do not count, nor does the first: an idle GPU takes this long to reach its full
/// clock.
const WARM_UP: Duration = Duration::from_millis(100);

impl PipelineBuilder<'_> {
    /// Uses the kernel configuration and algorithms of `tuned`.
    pub fn tuned(mut self, tuned: &TunedConfig) -> Self {
        self.settings.algorithms.extend(tuned.algorithms.clone());
        self.kernel_config(tuned.config)
    }

    /// Measures every kernel configuration that the adapter can run, with every algorithm that suits each layer,
    /// at this batch size and precision, on random images. Blocked variants are skipped
    /// ([`Gpu::avoid`](crate::Gpu::avoid), [`PipelineBuilder::avoid`]). This takes seconds to minutes. `progress` is
    /// called with the number of measurements done and the total. Variants that the adapter cannot run are left out,
    /// and logged.
    ///
    /// # Errors
    ///
    /// [`TuneError`] when the device has no timestamps, everything is blocked, or nothing runs.
    pub async fn tune(self, mut progress: impl FnMut(usize, usize)) -> Result<Tuning, TuneError> {
        let blocked = self.gpu.blocklist().and(&self.settings.blocklist);
        let configs: Vec<KernelConfig> =
            self.gpu.kernel_configs().into_iter().filter(|&config| !blocked.blocks(config)).collect();
        if configs.is_empty() {
            return Err(PipelineError::Blocked { blocklist: blocked }.into());
        }
        let layers = || layers_and_layouts(self.network);
        let has_choice = |(layer, layout)| configs.iter().any(|&config| self.choices(layer, config, layout).len() > 1);
        let chosen: BTreeSet<&str> =
            layers().filter(|&l| has_choice(l)).map(|(layer, _)| layer.name.as_str()).collect();
        let (part, its_weights) = self.up_to_last_of(&chosen)?;
        let mut measurements = Vec::new();
        for &config in &configs {
            measurements.push((config, Algorithm::Direct));
            let mut algorithms: Vec<Algorithm> =
                layers().flat_map(|(layer, layout)| self.choices(layer, config, layout)).collect();
            algorithms.sort();
            algorithms.dedup();
            // The other layers are computed directly, which is measured already.
            algorithms.retain(|&a| a != Algorithm::Direct && !blocked.blocks_algorithm(config, a));
            measurements.extend(algorithms.into_iter().map(|a| (config, a)));
        }
        let mut candidates = Vec::new();
        let mut refusal = None;
        for (done, &(config, algorithm)) in measurements.iter().enumerate() {
            progress(done, measurements.len());
            // Layers without a choice are measured once per kernel configuration.
            let (network, weights) = match &part {
                Some(network) if algorithm != Algorithm::Direct => (network, &its_weights),
                _ => (self.network, self.weights),
            };
            match (PipelineBuilder { network, weights, ..self.clone() }).measure(config, algorithm).await {
                Ok(found) => candidates.extend(found),
                Err(TuneError::NoTimestamps) => return Err(TuneError::NoTimestamps),
                Err(error) => {
                    log::warn!("{config:?} {algorithm:?}: {error}");
                    refusal = refusal.or(Some(error));
                }
            }
        }
        progress(measurements.len(), measurements.len());
        match quickest(self.network, &chosen, &candidates) {
            Some((choice, ms)) => Ok(Tuning { candidates, choice, ms }),
            None => Err(refusal.unwrap_or(TuneError::NoTimestamps)),
        }
    }

    /// The algorithms to measure for `layer`. On a processor, those for GPUs are left out.
    fn choices(&self, layer: &Layer, config: KernelConfig, layout: Option<RowsLayout>) -> Vec<Algorithm> {
        let mut algorithms = layer.algorithms(config, layout);
        if self.gpu.info().device_type == DeviceType::Cpu {
            algorithms.retain(|algorithm| !matches!(algorithm, Algorithm::Tile { .. }));
            if matches!(layer.op, Op::Linear(_)) {
                algorithms.clear();
            }
        }
        algorithms
    }

    /// The network up to the last layer of `chosen`, with its weights; `None` where there is none.
    fn up_to_last_of(&self, chosen: &BTreeSet<&str>) -> Result<(Option<Network>, Weights), PipelineError> {
        let layers = self.network.layers();
        let Some(last) = layers.iter().rposition(|layer| chosen.contains(layer.name.as_str())) else {
            return Ok((None, self.weights.clone()));
        };
        let network = Network::new(
            self.network.name(),
            self.network.input(),
            layers[..=last].iter().map(|layer| (layer.name.clone(), layer.op)),
        );
        let mut weights = self.weights.clone();
        let names: Vec<_> = layers[last + 1..].iter().map(|l| format!("{}.", l.name)).collect();
        weights.tensors.retain(|tensor, _| !names.iter().any(|name| tensor.starts_with(name)));
        let network = network.map_err(|e| PipelineError::Device(e.to_string()))?;
        Ok((Some(network), weights))
    }

    /// Measures every layer, with `algorithm` for the convolutions that it applies to.
    async fn measure(self, config: KernelConfig, algorithm: Algorithm) -> Result<Vec<Candidate>, TuneError> {
        let network = self.network;
        let mut builder = self.kernel_config(config);
        // The named layers may come after the last convolution.
        builder.settings.keep.clear();
        builder.settings.algorithms.clear();
        let blocklist = builder.gpu.blocklist().and(&builder.settings.blocklist);
        for (layer, layout) in layers_and_layouts(network) {
            let algorithm = match builder.choices(layer, config, layout) {
                algorithms if algorithms.len() < 2 => {
                    avoid::allowed_algorithm(config, layer, builder.settings.batch, &blocklist)
                }
                algorithms if algorithms.contains(&algorithm) => algorithm,
                _ => Algorithm::Direct,
            };
            builder.settings.algorithms.insert(layer.name.clone(), algorithm);
        }
        let algorithms = builder.settings.algorithms.clone();
        let pipeline = builder.build()?;
        pipeline.write_input(&splitmix::uniform(1, network.input().len() * pipeline.batch(), 2.0))?;
        let start = Instant::now();
        loop {
            pipeline.profile().await?.ok_or(TuneError::NoTimestamps)?;
            if start.elapsed() >= WARM_UP {
                break;
            }
        }
        let mut runs = Vec::new();
        for _ in 0..RUNS {
            runs.push(pipeline.profile().await?.ok_or(TuneError::NoTimestamps)?);
        }
        let candidate = |(i, time): (usize, &super::LayerTime)| {
            let mut times: Vec<f64> = runs.iter().map(|layers| layers[i].ms).collect();
            times.sort_by(f64::total_cmp);
            Candidate {
                layer: time.layer.clone(),
                config,
                algorithm: algorithms[&time.layer],
                kernel: time.kernel.clone(),
                ms: times[RUNS / 2],
            }
        };
        let applies = |c: &Candidate| algorithm == Algorithm::Direct || c.algorithm == algorithm;
        Ok(runs[0].iter().enumerate().map(candidate).filter(applies).collect())
    }
}

/// The layers, each with the layout of its input.
fn layers_and_layouts(network: &Network) -> impl Iterator<Item = (&Layer, Option<RowsLayout>)> {
    let first = |index| network.layers().first().filter(|_| index == 0).and_then(Layer::input_layout);
    network.layers().iter().enumerate().map(move |(index, layer)| (layer, first(index)))
}

/// The kernel configuration with the lowest total time, each layer computed by its best algorithm. Only kernel
/// configurations with all layers count. `chosen` are the layers that are measured with several algorithms.
fn quickest(network: &Network, chosen: &BTreeSet<&str>, candidates: &[Candidate]) -> Option<(TunedConfig, f64)> {
    let mut best: Option<(TunedConfig, f64)> = None;
    let mut configs: Vec<KernelConfig> = Vec::new();
    let measures_all = |c: &&Candidate| c.algorithm == Algorithm::Direct || !chosen.contains(c.layer.as_str());
    for candidate in candidates.iter().filter(measures_all) {
        if !configs.contains(&candidate.config) {
            configs.push(candidate.config);
        }
    }
    for config in configs {
        let mut algorithms = BTreeMap::new();
        let mut sum = 0.0;
        for layer in network.layers() {
            let of_layer = candidates.iter().filter(|c| c.config == config && c.layer == layer.name);
            // Layers that compute nothing have no time.
            if let Some(least) = of_layer.min_by(|a, b| a.ms.total_cmp(&b.ms)) {
                sum += least.ms;
                if chosen.contains(layer.name.as_str()) {
                    algorithms.insert(layer.name.clone(), least.algorithm);
                }
            }
        }
        if best.as_ref().is_none_or(|(_, ms)| sum < *ms) {
            best = Some((TunedConfig { version: Version, config, algorithms }, sum));
        }
    }
    best
}

/// A network that could not be tuned.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TuneError {
    /// Layers cannot be measured one by one.
    #[error("the device has no timestamps, so that layers cannot be measured; the built-in choice stays")]
    NoTimestamps,
    /// The pipeline cannot be built.
    #[error(transparent)]
    Pipeline(#[from] PipelineError),
    /// A run failed.
    #[error(transparent)]
    Run(#[from] RunError),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        kernels::{Family, Storage},
        layers::{Conv, Linear},
        shape::Shape,
    };

    #[test]
    fn the_quickest_kernel_configuration_has_each_layer_at_its_best() {
        let network = Network::builder("n", Shape::new(4, 8, 8))
            .conv("conv1", Conv::new(4, 3))
            .linear("fc", Linear::new(2))
            .build()
            .unwrap();
        let configs = Storage::ALL.map(|storage| KernelConfig { family: Family::WorkgroupTiled, storage });
        let winograd = Algorithm::Winograd { tile: 2 };
        let candidate = |config: usize, layer: &str, algorithm, ms| Candidate {
            layer: layer.into(),
            config: configs[config],
            algorithm,
            kernel: String::new(),
            ms,
        };
        let candidates = [
            candidate(0, "conv1", Algorithm::Direct, 5.0),
            candidate(0, "conv1", winograd, 2.0),
            candidate(0, "fc", Algorithm::Direct, 4.0),
            candidate(1, "conv1", Algorithm::Direct, 4.0),
            candidate(1, "fc", Algorithm::Direct, 3.0),
        ];
        let (choice, ms) = quickest(&network, &["conv1"].into(), &candidates).unwrap();
        assert_eq!(
            choice,
            TunedConfig { version: Version, config: configs[0], algorithms: [("conv1".to_string(), winograd)].into() }
        );
        assert_eq!(ms, 6.0);
        assert!(quickest(&network, &["conv1"].into(), &[]).is_none());
    }
}
