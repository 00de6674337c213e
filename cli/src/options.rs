//! Options that several subcommands share: which model, on which adapter.

use std::path::{Path, PathBuf};

use alexnet_wgpu::{Denial, Gpu, GpuOptions, Model, ModelOptions, Variant, WeightsError, wgpu::Backends};
use clap::ValueEnum;

use crate::failure::Failure;

/// Which network with which weights.
#[derive(Debug, clap::Args)]
pub struct ModelArgs {
    /// Weights: PyTorch (.pth), ONNX, Caffe or safetensors; without it, the embedded model, which knows ten kinds of
    /// garment
    #[arg(long, value_name = "FILE")]
    weights: Option<PathBuf>,
    /// The network that the weights are for: ungrouped, caffe, caffenet or torchvision; without it, the one that
    /// the file names or that its tensors' shapes tell
    #[arg(long, value_name = "NAME", requires = "weights")]
    network: Option<Variant>,
}

impl ModelArgs {
    /// The model in the file at `path`, with what the file says of it.
    pub fn of(path: &Path) -> Self {
        Self { weights: Some(path.into()), network: None }
    }

    /// Whether this is the model in the library.
    pub fn embedded(&self) -> bool {
        self.weights.is_none()
    }

    /// The model, with `labels` in place of its own.
    pub fn open(&self, labels: Option<Vec<String>>) -> Result<Model, Failure> {
        let given = labels.is_some();
        let model = match &self.weights {
            Some(path) => Model::open(path, &ModelOptions { variant: self.network, labels }),
            None => embedded(labels),
        };
        model.map_err(|error| match error {
            WeightsError::Labels { .. } if given => Failure::usage(error),
            error @ (WeightsError::Read { .. } | WeightsError::Write { .. }) => error.into(),
            error => match &self.weights {
                Some(path) => Failure::run(format_args!("{}: {error}", path.display())),
                None => error.into(),
            },
        })
    }
}

fn embedded(labels: Option<Vec<String>>) -> Result<Model, WeightsError> {
    let mut model = Model::embedded()?;
    if let Some(labels) = labels {
        if labels.len() != model.labels.len() {
            return Err(WeightsError::Labels { expected: model.labels.len(), found: labels.len() });
        }
        model.labels = labels;
    }
    Ok(model)
}

/// Which adapter.
#[derive(Debug, clap::Args)]
pub struct GpuArgs {
    /// Only an adapter whose name or driver contains TEXT, in any case; `alexnet adapters` lists them
    #[arg(long, value_name = "TEXT")]
    adapter: Option<String>,
    /// Only an adapter of this graphics interface
    #[arg(long, value_name = "NAME")]
    backend: Option<Backend>,
    /// Keep away from a kernel variant that the driver gets wrong, as `alexnet doctor` names it; also several, with
    /// commas between them. The environment variable ALEXNET_DENY says the same
    #[arg(long, value_name = "VARIANT", value_delimiter = ',')]
    deny: Vec<Denial>,
}

impl GpuArgs {
    /// Opens the best adapter that fits.
    pub fn open(&self) -> Result<Gpu, Failure> {
        let options = GpuOptions { adapter: self.adapter.clone(), backends: self.backend.map(Backends::from) };
        Ok(Gpu::open(&options)?.deny(self.deny.iter().copied()))
    }
}

/// A graphics interface.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Backend {
    Vulkan,
    Metal,
    Dx12,
    Gl,
}

impl From<Backend> for Backends {
    fn from(backend: Backend) -> Self {
        match backend {
            Backend::Vulkan => Self::VULKAN,
            Backend::Metal => Self::METAL,
            Backend::Dx12 => Self::DX12,
            Backend::Gl => Self::GL,
        }
    }
}
