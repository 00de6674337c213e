//! Checks of whole networks against reference vectors.

#[cfg(not(target_arch = "wasm32"))]
use std::time::Instant;

use safetensors::{SafeTensorError, SafeTensors};
#[cfg(target_arch = "wasm32")]
use web_time::Instant;

use super::case::norm;
use crate::{
    gpu::Gpu,
    kernels::KernelConfig,
    model::AlexNet,
    network::{Layer, Network},
    reference,
    runtime::Pipeline,
    weights::{Weights, splitmix},
};

/// A network with known f64 activations for seeded weights and input (see docs/networks.md).
#[derive(Clone, Copy, Debug)]
pub struct Vectors {
    alexnet: AlexNet,
    file: &'static [u8],
}

/// The seed of the vectors' weights and input.
const SEED: u64 = 20_121_203;

/// The result of checking a whole network.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct NetworkFinding {
    /// The network's name.
    pub network: String,
    /// The kernel configuration that the planner chose and the errors, or the reason why there are none.
    pub outcome: Result<Outcome, String>,
    /// Duration of the second run in milliseconds, with upload and readback.
    pub ms: f64,
}

/// The errors of a whole network against its reference vectors, relative to the norm.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Outcome {
    /// The kernels.
    pub config: KernelConfig,
    /// The layer with the largest error among those with known vectors.
    pub worst_layer: String,
    /// The error of that layer.
    pub worst: f64,
    /// The error of fc8, before the softmax.
    pub fc8: f64,
    /// Whether the five most likely classes are right, in order.
    pub top: bool,
}

impl NetworkFinding {
    /// The largest error of a correct layer.
    pub const TOLERANCE: f64 = 1e-5;

    /// Whether the network's result is right.
    pub fn is_right(&self) -> bool {
        let right = |o: &Outcome| o.top && o.fc8 <= Self::TOLERANCE && o.worst <= Self::TOLERANCE;
        self.outcome.as_ref().is_ok_and(right)
    }
}

impl Vectors {
    /// The reference vectors embedded in the library.
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

    /// The AlexNet that they belong to.
    pub fn alexnet(&self) -> AlexNet {
        self.alexnet
    }

    /// Runs the network as planned on `gpu`, twice, and compares the second results.
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

    /// The weights and the input that the vectors belong to.
    pub(crate) fn question(&self, network: &Network) -> (Weights, Vec<f32>) {
        let weights = Weights::random(network, SEED);
        let input = splitmix::uniform(SEED + weights.tensors.len() as u64, network.input().len(), 2.0);
        (weights, input)
    }

    /// The layers with known vectors.
    pub(crate) fn known_layers<'n>(&self, network: &'n Network) -> Result<Vec<&'n str>, SafeTensorError> {
        let file = SafeTensors::deserialize(self.file)?;
        let known = |l: &&Layer| file.tensor(&format!("{}.value", l.name)).is_ok();
        Ok(network.layers().iter().filter(known).map(|l| l.name.as_str()).collect())
    }

    /// Compares the activations of the layers `names`, and the five most likely classes.
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
