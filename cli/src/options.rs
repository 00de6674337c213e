//! Options shared by several subcommands: the model and the adapter.

use std::{
    env,
    path::{Path, PathBuf},
};

use alexnet_wgpu::{
    Algorithm, Arithmetic, BlockedVariant, Blocklist, Checks, GivenPreprocessing, Gpu, GpuError, GpuOptions, MAX_BATCH,
    Model, ModelOptions, Network, Op, Pipeline, PipelineBuilder, PipelineError, Precision, UnknownPreprocessing,
    Variant, Weights, WeightsError,
    wgpu::{Backends, DeviceType},
};
use clap::ValueEnum;

use crate::{
    choices,
    failure::{Failure, chain, note, tell},
    fetch::Published,
    files, labels,
    network::NetworkArgs,
    progress,
};

/// The heading of these options in the help.
pub const MODEL: &str = "Network and weights";
/// The heading of these options in the help.
pub const DEVICE: &str = "Device";

/// A network with its weights.
#[derive(Debug, clap::Args)]
pub struct ModelArgs {
    /// Weights: PyTorch (.pth), ONNX, Caffe or safetensors, or the name of fetched ones (see `alexnet fetch`); by default,
    /// the embedded model, which knows ten kinds of garment. Environment variable: ALEXNET_WEIGHTS
    #[arg(long, value_name = "FILE|NAME", env = "ALEXNET_WEIGHTS", hide_env = true, help_heading = MODEL)]
    weights: Option<PathBuf>,
    #[command(flatten)]
    network: NetworkArgs,
    #[command(flatten)]
    preprocessing: PreprocessingArgs,
}

/// The preprocessing of pictures.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct PreprocessingArgs {
    /// Preprocessing of pictures, in place of the weights' own: torchvision, caffe, a JSON file with the values, as printed
    /// by `alexnet info --json`, or Caffe's mean image (.binaryproto)
    #[arg(long, value_name = "NAME|FILE", help_heading = MODEL)]
    preprocessing: Option<PathBuf>,
}

impl PreprocessingArgs {
    /// The preprocessing, if one is given.
    pub fn given(&self) -> Result<Option<GivenPreprocessing>, Failure> {
        let Some(path) = &self.preprocessing else { return Ok(None) };
        let unknown = match path.to_string_lossy().parse() {
            Ok(given) => return Ok(Some(given)),
            Err(unknown) => unknown,
        };
        if files::ending(path) == "binaryproto" {
            let given = GivenPreprocessing::from_binaryproto(&files::bytes(path)?);
            let fail = |e| Failure::run(format_args!("{}: {e}", path.display()));
            return Ok(Some(given.map_err(fail)?));
        }
        if !path.exists() && files::ending(path) != "json" {
            return Err(Failure::usage(unknown));
        }
        let text = files::json(path)?;
        let given = text.parse().map_err(|e| {
            let hint = match e {
                UnknownPreprocessing::Json { .. } => ": `alexnet info --json` prints that of any weight file",
                _ => "",
            };
            Failure::run(format_args!("{}: {e}{hint}", path.display()))
        })?;
        Ok(Some(given))
    }
}

impl ModelArgs {
    /// The model in the file at `weights`, or the embedded one.
    pub fn new(weights: Option<PathBuf>, network: NetworkArgs, preprocessing: PreprocessingArgs) -> Self {
        Self { weights, network, preprocessing }
    }

    /// Whether this is the embedded model.
    pub fn embedded(&self) -> bool {
        self.weights.is_none()
    }

    /// The named file, or the fetched file of that name; `None` for the embedded model.
    pub fn path(&self) -> Result<Option<PathBuf>, Failure> {
        let Some(path) = &self.weights else { return Ok(None) };
        let name = path.to_str().unwrap_or_default();
        // A folder holds no weights, whatever its name.
        let here = path.exists() && !path.is_dir();
        match Published::named(name) {
            Some(published) if !here => {
                let place = published.place()?;
                if published.is_damaged(&place) {
                    return Err(Failure::run(format!(
                        "{} does not have the size of the published file: run alexnet fetch {name}",
                        place.display()
                    )));
                }
                if place.is_file() {
                    return Ok(Some(place));
                }
                Err(Failure::run(format!(
                    "there is no file {name}, and the published weights are not downloaded yet: run alexnet fetch {name}"
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

    /// The files that are read for the model.
    pub fn files(&self) -> Result<Vec<PathBuf>, Failure> {
        let given = self.preprocessing.preprocessing.clone().into_iter().chain(self.network.file());
        Ok(self.path()?.into_iter().chain(given).collect())
    }

    /// The fetched file of the same name, where a local file takes precedence.
    fn not_taken(&self) -> Option<PathBuf> {
        let path = self.weights.as_ref()?;
        let place = Published::named(path.to_str()?)?.place().ok()?;
        (path.is_file() && place.is_file()).then_some(place)
    }

    /// The model, with labels from a file in place of its own.
    pub fn open(&self, labels_file: Option<&Path>) -> Result<Model, Failure> {
        let preprocessing = self.preprocessing.given()?;
        let own_labels = labels_file.map(|path| Ok::<_, Failure>(labels::read(path)?.names)).transpose()?;
        let mut options = ModelOptions::default().labels(own_labels).preprocessing(preprocessing);
        if self.embedded() && !self.network.is_empty() {
            return Err(Failure::usage("--network and --input-size are for the weights that --weights names"));
        }
        self.network.apply(&mut options)?;
        let path = self.path()?;
        if let Some(place) = self.not_taken() {
            let (name, place) = (path.as_deref().unwrap_or(&place).display(), place.display());
            tell(&format!("{name} is the file of that name here; the fetched one is {place}"));
        }
        let opened = match &path {
            Some(path) => Model::open(path, &options),
            None => embedded(&options),
        };
        match (opened, labels_file, path) {
            (Err(error @ WeightsError::Labels { .. }), Some(labels), _) => {
                Err(Failure::usage(format_args!("{}: {error}", labels.display())))
            }
            (Err(error @ WeightsError::Preprocessing { .. }), _, _) if preprocessing.is_some() => {
                Err(Failure::usage(chain(&error)))
            }
            (opened, _, Some(path)) => self.named(&path, opened),
            (opened, _, None) => Ok(opened?),
        }
    }

    /// Prints a line on standard error about the guessed parts of the network, and of its preprocessing where `pictures` go
    /// through it.
    pub fn warn(&self, model: &Model, pictures: bool) {
        let Some(path) = &self.weights else { return };
        let mut guessed: Vec<String> =
            model.origin.doubt.iter().map(|doubt| format!("{doubt} (choose with --network)")).collect();
        if pictures && model.origin.preprocessing_guessed {
            let how = &model.origin.preprocessing;
            guessed.push(format!("the preprocessing is a guess: {how} (choose with --preprocessing)"));
        }
        if !guessed.is_empty() {
            note(&format!("{}: {}", path.display(), guessed.join("; ")));
        }
    }

    /// Adds the name of the file to a pipeline's errors, where the file is the cause.
    pub fn built<T>(&self, built: Result<T, PipelineError>) -> Result<T, Failure> {
        match (built, self.path()?) {
            (Err(PipelineError::Tensors(error)), Some(path)) => self.named(&path, Err(error)),
            (built, _) => Ok(built?),
        }
    }

    /// Adds the name of the file to errors that lack it.
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

/// The precision and the kernels of a network.
#[derive(Debug, clap::Args)]
pub struct ComputeArgs {
    /// Type of the fully connected layers' weights on the device: f32, f16 or int8
    #[arg(long, value_name = "TYPE", default_value_t, help_heading = DEVICE)]
    dtype: Precision,
    /// How exactly products are computed: exact, or fast, which rounds their operands to f16 where the GPU has cooperative
    /// matrices
    #[arg(long, value_name = "HOW", default_value_t, help_heading = DEVICE)]
    precision: Arithmetic,
    /// Use the library's default choices, ignoring those of `alexnet tune`
    #[arg(long, help_heading = DEVICE)]
    untuned: bool,
}

impl ComputeArgs {
    /// A pipeline builder, with the choices of `alexnet tune` where there are any.
    pub fn builder<'a>(
        &self,
        gpu: &'a Gpu,
        network: &'a Network,
        weights: &'a Weights,
        batch: usize,
    ) -> PipelineBuilder<'a> {
        self.builder_for(gpu, network, weights, batch, usize::MAX)
    }

    /// As [`ComputeArgs::builder`], for so many pictures. For few on a processor, it leaves out Winograd's kernels: the driver
    /// takes half a second to compile them, and they save a few milliseconds a picture.
    pub fn builder_for<'a>(
        &self,
        gpu: &'a Gpu,
        network: &'a Network,
        weights: &'a Weights,
        batch: usize,
        pictures: usize,
    ) -> PipelineBuilder<'a> {
        const FEW: usize = 16;
        let builder = Pipeline::builder(gpu, network, weights).batch(batch);
        let builder = builder.precision(self.dtype).arithmetic(self.precision);
        // A tuned choice may have been denied since.
        let untuned = self.untuned || !gpu.blocklist().is_empty();
        let tuned = if untuned { None } else { choices::load(gpu, network, batch, self.dtype, self.precision) };
        let convolutions = network.layers().iter().filter(|layer| matches!(layer.op, Op::Conv(_)));
        match tuned {
            Some(mut tuned) => {
                // Of a network that is computed in part only.
                tuned.algorithms.retain(|layer, _| network.layer(layer).is_ok());
                builder.tuned(&tuned)
            }
            None if pictures <= FEW && gpu.info().device_type == DeviceType::Cpu => {
                convolutions.fold(builder, |builder, layer| builder.algorithm(layer.name.clone(), Algorithm::Direct))
            }
            None => builder,
        }
    }

    /// Opens the best adapter that fits.
    pub fn open(&self, gpu: &GpuArgs) -> Result<Gpu, Failure> {
        gpu.open_for(self.precision)
    }

    /// The precision of the fully connected layers' weights.
    pub fn precision(&self) -> Precision {
        self.dtype
    }
}

/// The size of a batch.
#[derive(Debug, clap::Args)]
pub struct BatchArgs {
    /// Pictures per run [default: 16 on a processor, 32 on a GPU, fewer for few pictures and for networks of very large
    /// activations]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=MAX_BATCH as i64), help_heading = DEVICE)]
    batch: Option<u16>,
}

impl BatchArgs {
    /// The largest default batch.
    const MOST: usize = 32;

    /// The size of a batch for so many pictures, so that the last one has about as many as the others.
    pub fn of(&self, gpu: &Gpu, network: &Network, pictures: usize) -> usize {
        if let Some(batch) = self.batch {
            return batch.into();
        }
        let most = Pipeline::suggested_batch(gpu, network);
        pictures.div_ceil(pictures.div_ceil(most).max(1)).max(1)
    }

    /// How many pictures to read ahead of the device.
    pub fn waiting(&self) -> usize {
        self.batch.map_or(Self::MOST, usize::from)
    }
}

/// The network and batch to measure.
#[derive(Debug, clap::Args)]
pub struct MeasuredArgs {
    /// Measure this network with random weights: ungrouped, paper, caffe, caffenet or torchvision
    #[arg(long, value_name = "NAME", default_value = "ungrouped", conflicts_with = "weights", help_heading = MODEL)]
    network: Variant,
    /// Measure the network of this file, with its weights
    #[arg(long, value_name = "FILE", help_heading = MODEL)]
    weights: Option<PathBuf>,
    /// Pictures per run
    #[arg(long, value_name = "N", default_value_t = 1, help_heading = MODEL)]
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

    /// Adds the name of the file to a pipeline's errors, where the file is the cause.
    pub fn built<T>(&self, built: Result<T, PipelineError>) -> Result<T, Failure> {
        self.model().built(built)
    }

    fn model(&self) -> ModelArgs {
        ModelArgs::new(self.weights.clone(), NetworkArgs::default(), PreprocessingArgs::default())
    }
}

/// A choice of adapters.
#[derive(Debug, Default, clap::Args)]
pub struct AdapterArgs {
    /// Only an adapter whose name, driver, PCI address or UUID contains TEXT (case-insensitive), or the one of this index;
    /// see `alexnet adapters`. Environment variables: ALEXNET_ADAPTER, WGPU_ADAPTER_NAME
    #[arg(long, value_name = "TEXT|INDEX", help_heading = DEVICE)]
    adapter: Option<String>,
    /// Only an adapter of this graphics API. Environment variable: WGPU_BACKEND
    #[arg(long, value_name = "NAME", help_heading = DEVICE)]
    backend: Option<Backend>,
}

impl AdapterArgs {
    /// The options from the arguments or, without them, from the environment.
    pub fn options(&self) -> Result<GpuOptions, Failure> {
        let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        let backends = match (self.backend, variable("WGPU_BACKEND")) {
            (Some(backend), _) => Some(backend.into()),
            (None, Some(names)) => match Backends::from_comma_list(&names) {
                none if none.is_empty() => {
                    let expected =
                        "WGPU_BACKEND: expected one or more of vulkan, metal, dx12 and gl with commas between them";
                    return Err(Failure::usage(format!("{expected}, found `{names}`")));
                }
                some => Some(some),
            },
            (None, None) => None,
        };
        Ok(GpuOptions::default()
            .adapter(
                self.adapter.clone().or_else(|| variable("ALEXNET_ADAPTER")).or_else(|| variable("WGPU_ADAPTER_NAME")),
            )
            .backends(backends))
    }
}

/// An adapter with the kernel variants to avoid.
#[derive(Debug, clap::Args)]
pub struct GpuArgs {
    #[command(flatten)]
    choice: AdapterArgs,
    /// Avoid a kernel variant that the driver gets wrong, as named by `alexnet doctor`; separate several with commas.
    /// Environment variable: ALEXNET_DENY
    #[arg(long, value_name = "VARIANT", value_delimiter = ',', help_heading = DEVICE)]
    deny: Vec<BlockedVariant>,
}

impl GpuArgs {
    /// Opens the best adapter that fits.
    pub fn open(&self) -> Result<Gpu, Failure> {
        self.open_for(Arithmetic::Exact)
    }

    /// Opens the best adapter that fits, with what `arithmetic` needs where the adapter has it.
    pub fn open_for(&self, arithmetic: Arithmetic) -> Result<Gpu, Failure> {
        let options = self.choice.options()?.cooperative_matrices(arithmetic == Arithmetic::Fast);
        let gpu = as_told(open(&options)?)?.avoid(self.deny.iter().copied());
        Ok(match files::cache() {
            // SAFETY: a folder of this command in the user's own cache.
            Some(folder) => unsafe { gpu.keep_pipelines(&folder.join("pipelines")) },
            None => gpu,
        })
    }
}

/// Opens an adapter; where there is none, the error says how to install a driver.
pub fn open(options: &GpuOptions) -> Result<Gpu, Failure> {
    Gpu::open_blocking(options).map_err(|error| match &error {
        GpuError::NoAdapter { found, .. } if found.is_empty() => Failure::run(format!(
            "{error} (Debian and Ubuntu: apt install mesa-vulkan-drivers; Fedora: dnf install mesa-vulkan-drivers)"
        )),
        GpuError::NoAdapter { .. } => Failure::run(format!("{error}; `alexnet adapters` lists them")),
        _ => error.into(),
    })
}

/// Applies the environment to a device: ALEXNET_DENY names kernel variants to avoid, and ALEXNET_SHADER_CHECKS=1 makes
/// shaders check every index.
pub fn as_told(gpu: Gpu) -> Result<Gpu, Failure> {
    let deny: Blocklist = match env::var_os("ALEXNET_DENY") {
        Some(names) => names.to_string_lossy().parse().map_err(|e| Failure::run(format!("ALEXNET_DENY: {e}")))?,
        None => Blocklist::default(),
    };
    let checks = env::var_os("ALEXNET_SHADER_CHECKS").is_some_and(|value| value == "1");
    Ok(gpu.avoid(deny).with_checks(if checks { Checks::On } else { Checks::Off }))
}

/// A graphics API.
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
