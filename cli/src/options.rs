//! Options that several subcommands share: which model, on which adapter.

use std::{
    io::{self, IsTerminal, Write},
    path::{Path, PathBuf},
};

use alexnet_wgpu::{
    Builder, Denial, GivenPreprocessing, Gpu, GpuOptions, Model, ModelOptions, Network, Pipeline, PipelineError,
    Precision, Variant, Weights, WeightsError, wgpu::Backends,
};
use clap::ValueEnum;

use crate::{
    choices,
    failure::{Failure, chain, printable},
    fetch::Published,
    files, progress,
};

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
    #[command(flatten)]
    preprocessing: PreprocessingArgs,
}

/// How pictures become the network's input.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct PreprocessingArgs {
    /// How pictures become the network's input, in place of what the weights say: torchvision, caffe, or a JSON file with
    /// the numbers, as `alexnet info --json` prints them
    #[arg(long, value_name = "NAME|FILE.json")]
    preprocessing: Option<PathBuf>,
}

impl PreprocessingArgs {
    fn given(&self) -> Result<Option<GivenPreprocessing>, Failure> {
        let Some(path) = &self.preprocessing else { return Ok(None) };
        let unknown = match path.to_string_lossy().parse() {
            Ok(given) => return Ok(Some(given)),
            Err(unknown) => unknown,
        };
        if !path.exists() && files::ending(path) != "json" {
            return Err(Failure::usage(unknown));
        }
        let text = files::json(path)?;
        let given = text.parse().map_err(|e| Failure::run(format_args!("{}: {e}", path.display())))?;
        Ok(Some(given))
    }
}

impl ModelArgs {
    /// The model in the file at `weights`, or the embedded one.
    pub fn new(weights: Option<PathBuf>, network: Option<Variant>, preprocessing: PreprocessingArgs) -> Self {
        Self { weights, network, preprocessing }
    }

    /// Whether this is the model in the library.
    pub fn embedded(&self) -> bool {
        self.weights.is_none()
    }

    /// The file: the one that is named, or the fetched one of that name; none for the embedded model.
    pub fn path(&self) -> Result<Option<PathBuf>, Failure> {
        let Some(path) = &self.weights else { return Ok(None) };
        let name = path.to_str().unwrap_or_default();
        // A folder holds no weights, whatever it is called.
        let here = path.exists() && !path.is_dir();
        match Published::named(name) {
            Some(published) if !here => {
                let place = published.place()?;
                if published.is_damaged(&place) {
                    return Err(Failure::run(format!(
                        "{} has not the size of the published file: alexnet fetch {name}",
                        place.display()
                    )));
                }
                if place.is_file() {
                    return Ok(Some(place));
                }
                Err(Failure::run(format!(
                    "there is no file {name}, and the published weights are not fetched: alexnet fetch {name}"
                )))
            }
            None if !path.exists() && Published::nearest(name).is_some() => {
                let meant = Published::nearest(name).map_or("", |published| published.name);
                Err(Failure::run(format!(
                    "there is no file {name}: did you mean {meant}? `alexnet fetch` lists the published weights"
                )))
            }
            _ => Ok(Some(path.clone())),
        }
    }

    /// The files that are read for it.
    pub fn files(&self) -> Result<Vec<PathBuf>, Failure> {
        Ok(self.path()?.into_iter().chain(self.preprocessing.preprocessing.clone()).collect())
    }

    /// The fetched file that is meant by this name too, where the file of that name here is taken.
    fn not_taken(&self) -> Option<PathBuf> {
        let path = self.weights.as_ref()?;
        let place = Published::named(path.to_str()?)?.place().ok()?;
        (path.is_file() && place.is_file()).then_some(place)
    }

    /// The model, with the labels in a file in place of its own.
    pub fn open(&self, labels: Option<&Path>) -> Result<Model, Failure> {
        let preprocessing = self.preprocessing.given()?;
        let own_labels = labels.map(files::labels).transpose()?;
        let options = ModelOptions { variant: self.network, labels: own_labels, preprocessing };
        let path = self.path()?;
        if let Some(place) = self.not_taken().filter(|_| io::stderr().is_terminal()) {
            let (name, place) = (path.as_deref().unwrap_or(&place).display(), place.display());
            let note = format!("{name} is the file of that name here; the fetched one is {place}");
            let _ = writeln!(io::stderr(), "{}", printable(&note));
        }
        let opened = match &path {
            Some(path) => Model::open(path, &options),
            None => embedded(&options),
        };
        match (opened, labels, path) {
            (Err(error @ WeightsError::Labels { .. }), Some(labels), _) => {
                Err(Failure::usage(format_args!("{}: {error}", labels.display())))
            }
            (Err(error @ WeightsError::Preprocessing { .. }), _, _) if preprocessing.is_some() => {
                Err(Failure::usage(chain(&error)))
            }
            (opened, _, Some(path)) => {
                let model = self.named(&path, opened)?;
                if let Some(doubt) = model.origin.doubt.as_ref().filter(|_| io::stderr().is_terminal()) {
                    let _ =
                        writeln!(io::stderr(), "{}", printable(&format!("{}: {doubt} (--network)", path.display())));
                }
                Ok(model)
            }
            (opened, _, None) => Ok(opened?),
        }
    }

    /// Errors of a pipeline with the name of the file, where it is the file's fault.
    pub fn built<T>(&self, built: Result<T, PipelineError>) -> Result<T, Failure> {
        match (built, self.path()?) {
            (Err(PipelineError::Tensors(error)), Some(path)) => self.named(&path, Err(error)),
            (built, _) => Ok(built?),
        }
    }

    /// Errors with the name of the file, where they do not have it.
    pub fn named<T>(&self, path: &Path, opened: Result<T, WeightsError>) -> Result<T, Failure> {
        opened.map_err(|error| {
            let mut message = match &error {
                WeightsError::Read { .. } | WeightsError::Write { .. } => chain(&error),
                error => format!("{}: {error}", path.display()),
            };
            if let Some(place) = self.not_taken() {
                message += &format!(" (this is the file of that name here; the fetched one is {})", place.display());
            }
            Failure::Run(message)
        })
    }
}

fn embedded(options: &ModelOptions) -> Result<Model, WeightsError> {
    let model = Model::embedded()?;
    if options.labels.is_none() && options.preprocessing.is_none() {
        return Ok(model);
    }
    let format = model.origin.format;
    let mut model = Model::from_weights(model.weights, options)?;
    model.origin.format = format;
    Ok(model)
}

/// How a network is computed.
#[derive(Debug, clap::Args)]
pub struct ComputeArgs {
    /// How the fully connected layers' weights are held on the device: f32, f16 or int8
    #[arg(long, value_name = "TYPE", default_value_t)]
    dtype: Precision,
    /// Compute as the library chooses, whatever `alexnet tune` found
    #[arg(long)]
    untuned: bool,
}

impl ComputeArgs {
    /// A pipeline in the making, tuned where it was.
    pub fn builder<'a>(&self, gpu: &'a Gpu, network: &'a Network, weights: &'a Weights, batch: usize) -> Builder<'a> {
        let builder = Pipeline::builder(gpu, network, weights).batch(batch).precision(self.dtype);
        // What was tuned may have been denied since.
        let untuned = self.untuned || !gpu.denials().0.is_empty();
        let tuned = if untuned { None } else { choices::load(gpu, network, batch, self.dtype) };
        match tuned {
            Some(choice) => builder.choice(&choice),
            None => builder,
        }
    }

    /// How the fully connected layers' weights are held.
    pub fn precision(&self) -> Precision {
        self.dtype
    }
}

/// What is measured.
#[derive(Debug, clap::Args)]
pub struct MeasuredArgs {
    /// Measure this network with random weights: ungrouped, caffe, caffenet or torchvision
    #[arg(long, value_name = "NAME", default_value = "ungrouped", conflicts_with = "weights")]
    network: Variant,
    /// Measure the network of this file, with its weights
    #[arg(long, value_name = "FILE")]
    weights: Option<PathBuf>,
    /// Pictures a run
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub batch: usize,
}

impl MeasuredArgs {
    /// The network and its weights.
    pub fn open(&self) -> Result<(Network, Weights), Failure> {
        if self.weights.is_some() {
            let model = self.model().open(None)?;
            return Ok((model.network, model.weights));
        }
        let network = self.network.standard().network()?;
        let weights = progress::while_working("making random weights", || Weights::random(&network, 0));
        Ok((network, weights))
    }

    /// Errors of a pipeline with the name of the file, where it is the file's fault.
    pub fn built<T>(&self, built: Result<T, PipelineError>) -> Result<T, Failure> {
        self.model().built(built)
    }

    fn model(&self) -> ModelArgs {
        ModelArgs::new(self.weights.clone(), None, PreprocessingArgs::default())
    }
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
        let gpu = Gpu::open(&options)?.deny(self.deny.iter().copied());
        Ok(match files::cache() {
            // SAFETY: a folder of this command in the user's own cache.
            Some(folder) => unsafe { gpu.keep_pipelines(&folder.join("pipelines")) },
            None => gpu,
        })
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
