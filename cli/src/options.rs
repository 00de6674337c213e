//! Options that several subcommands share: which model, on which adapter.

use std::path::{Path, PathBuf};

use alexnet_wgpu::{Gpu, GpuOptions, Model, ModelOptions, Variant, WeightsError, wgpu::Backends};
use clap::ValueEnum;

use crate::{failure::Failure, fetch::Published};

/// Which network with which weights.
#[derive(Debug, clap::Args)]
pub struct ModelArgs {
    /// Weights: PyTorch (.pth), ONNX, Caffe or safetensors, or the name of fetched ones (`alexnet fetch` lists them);
    /// without it, the embedded model, which knows ten kinds of garment
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
        Self::new(Some(path.into()), None)
    }

    /// The model in the file at `weights`, or the embedded one.
    pub fn new(weights: Option<PathBuf>, network: Option<Variant>) -> Self {
        Self { weights, network }
    }

    /// Whether this is the model in the library.
    pub fn embedded(&self) -> bool {
        self.weights.is_none()
    }

    /// The file: the one that is named, or the fetched one of that name; none for the embedded model.
    pub fn path(&self) -> Result<Option<PathBuf>, Failure> {
        let Some(path) = &self.weights else { return Ok(None) };
        let Some(published) = path.to_str().and_then(Published::named).filter(|_| !path.exists()) else {
            return Ok(Some(path.clone()));
        };
        let (name, place) = (published.name, published.place()?);
        if place.is_file() {
            return Ok(Some(place));
        }
        Err(Failure::run(format!(
            "there is no file {name}, and the published weights are not fetched: alexnet fetch {name}"
        )))
    }

    /// The model, with `labels` in place of its own.
    pub fn open(&self, labels: Option<Vec<String>>) -> Result<Model, Failure> {
        let given = labels.is_some();
        let path = self.path()?;
        let opened = match &path {
            Some(path) => Model::open(path, &ModelOptions { variant: self.network, labels }),
            None => embedded(labels),
        };
        match (opened, path) {
            (Err(error @ WeightsError::Labels { .. }), _) if given => Err(Failure::usage(error)),
            (opened, Some(path)) => Self::named(&path, opened),
            (opened, None) => Ok(opened?),
        }
    }

    /// Errors with the name of the file, where they do not have it.
    pub fn named<T>(path: &Path, opened: Result<T, WeightsError>) -> Result<T, Failure> {
        opened.map_err(|error| match error {
            error @ (WeightsError::Read { .. } | WeightsError::Write { .. }) => error.into(),
            error => Failure::run(format_args!("{}: {error}", path.display())),
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
}

impl GpuArgs {
    /// Opens the best adapter that fits.
    pub fn open(&self) -> Result<Gpu, Failure> {
        let options = GpuOptions { adapter: self.adapter.clone(), backends: self.backend.map(Backends::from) };
        Ok(Gpu::open(&options)?)
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
