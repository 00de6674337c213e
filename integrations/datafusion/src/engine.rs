//! A model on a device, opened when the first picture comes.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use alexnet_wgpu::{
    CompareError, Comparer, Gpu, GpuError, GpuOptions, Model, ModelOptions, Pipeline, PipelineError, Preprocessing,
    RunError, WeightsError, wgpu::DeviceType,
};
use futures::{Stream, StreamExt, TryStreamExt, future, stream};
use tokio::{
    sync::{Mutex, Semaphore},
    task,
};

/// What an [`Engine`] computes with.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct EngineOptions {
    /// The adapter, as [`GpuOptions::adapter`] selects it; the best one where `None`.
    pub adapter: Option<String>,
    /// A file of weights of any kind that the library reads; the embedded model where `None`.
    pub weights: Option<PathBuf>,
    /// Pictures in a batch; 16 on a processor and 32 on a GPU where `None`.
    pub batch: Option<usize>,
}

impl EngineOptions {
    /// Selects the adapter.
    pub fn adapter(mut self, adapter: impl Into<Option<String>>) -> Self {
        self.adapter = adapter.into();
        self
    }

    /// Sets the file of weights.
    pub fn weights(mut self, weights: impl Into<Option<PathBuf>>) -> Self {
        self.weights = weights.into();
        self
    }

    /// Sets the number of pictures in a batch.
    pub fn batch(mut self, batch: impl Into<Option<usize>>) -> Self {
        self.batch = batch.into();
        self
    }
}

/// How many pictures an [`Engine`] has seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// Pictures that are not NULL.
    pub pictures: u64,
    /// Those of them that could not be read, whose results are NULL.
    pub unreadable: u64,
    /// Pairs of readable pictures that LPIPS has no value for, since their sizes differ or are too small.
    pub incomparable: u64,
    /// Batches that the device computed.
    pub batches: u64,
}

/// A function could not compute. Pictures that cannot be read are no error.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// No device.
    #[error(transparent)]
    Gpu(#[from] GpuError),
    /// The file of weights cannot be used.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// The device cannot run the network.
    #[error(transparent)]
    Pipeline(#[from] PipelineError),
    /// The device did not finish, or there is no such layer.
    #[error(transparent)]
    Run(#[from] RunError),
    /// LPIPS could not be computed.
    #[error(transparent)]
    Compare(#[from] CompareError),
    /// A thread that decodes pictures ended.
    #[error("reading a picture did not finish: {0}")]
    Reader(#[from] task::JoinError),
}

impl EngineError {
    /// Whether the device is unusable from now on.
    fn is_device(&self) -> bool {
        matches!(self, Self::Run(RunError::Device(_)) | Self::Compare(CompareError::Run(RunError::Device(_))))
    }
}

/// A model that is loaded on a device when the first picture comes. One serves all partitions of all queries of a process.
#[derive(Debug)]
pub struct Engine {
    options: EngineOptions,
    /// Without a device after it was lost, so that the next picture opens another.
    loaded: Mutex<Option<Arc<Loaded>>>,
    comparer: Mutex<Option<Arc<Comparer>>>,
    /// A permit for each core.
    readers: Arc<Semaphore>,
    pictures: AtomicU64,
    unreadable: AtomicU64,
    incomparable: AtomicU64,
    batches: AtomicU64,
}

/// A model on a device.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub pipeline: Pipeline,
    pub preprocessing: Preprocessing,
    labels: Vec<String>,
}

impl Loaded {
    fn open(options: &EngineOptions) -> Result<Self, EngineError> {
        let gpu = open_gpu(options)?;
        let model = match &options.weights {
            Some(path) => Model::open(path, &ModelOptions::default())?,
            None => Model::embedded()?,
        };
        let fits_adapter = if gpu.info().device_type == DeviceType::Cpu { 16 } else { 32 };
        let pipeline = Pipeline::builder(&gpu, &model.network, &model.weights)
            .batch(options.batch.unwrap_or(fits_adapter))
            .top(1)
            .build()?;
        Ok(Self { pipeline, preprocessing: model.preprocessing, labels: model.labels })
    }

    /// The label of a class.
    pub fn label(&self, class: u32) -> String {
        let known = usize::try_from(class).ok().and_then(|index| self.labels.get(index));
        known.cloned().unwrap_or_else(|| format!("class {class}"))
    }

    /// One batch of inputs (CHW each), filled up with zeros.
    pub fn batch(&self, inputs: &[Vec<f32>]) -> Vec<f32> {
        let mut batch = inputs.concat();
        batch.resize(self.pipeline.batch() * self.pipeline.network().input().len(), 0.0);
        batch
    }
}

fn open_gpu(options: &EngineOptions) -> Result<Gpu, GpuError> {
    Gpu::open_blocking(&GpuOptions::default().adapter(options.adapter.clone()))
}

impl Engine {
    /// Makes an engine. Nothing is opened yet.
    pub fn new(options: EngineOptions) -> Self {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        Self {
            options,
            loaded: Mutex::default(),
            comparer: Mutex::default(),
            readers: Arc::new(Semaphore::new(cores)),
            pictures: AtomicU64::new(0),
            unreadable: AtomicU64::new(0),
            incomparable: AtomicU64::new(0),
            batches: AtomicU64::new(0),
        }
    }

    /// Returns how many pictures were seen since the engine was made.
    pub fn counts(&self) -> Counts {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counts {
            pictures: count(&self.pictures),
            unreadable: count(&self.unreadable),
            incomparable: count(&self.incomparable),
            batches: count(&self.batches),
        }
    }

    /// The model on its device, which takes seconds the first time.
    pub(crate) async fn loaded(&self) -> Result<Arc<Loaded>, EngineError> {
        let mut loaded = self.loaded.lock().await;
        if let Some(loaded) = &*loaded {
            return Ok(loaded.clone());
        }
        let options = self.options.clone();
        let opened = Arc::new(task::spawn_blocking(move || Loaded::open(&options)).await??);
        Ok(loaded.insert(opened).clone())
    }

    /// LPIPS on the same device.
    pub(crate) async fn comparer(&self) -> Result<Arc<Comparer>, EngineError> {
        let mut comparer = self.comparer.lock().await;
        if let Some(comparer) = &*comparer {
            return Ok(comparer.clone());
        }
        let shared = self.loaded.lock().await.as_ref().map(|loaded| loaded.pipeline.gpu().clone());
        let options = self.options.clone();
        let open = move || {
            let gpu = shared.map_or_else(|| open_gpu(&options), Ok)?;
            Ok::<_, EngineError>(Arc::new(Comparer::new(&gpu)?))
        };
        let opened = task::spawn_blocking(open).await??;
        Ok(comparer.insert(opened).clone())
    }

    /// Reads each row on its own thread, as many at once as there are cores, and gives those that can be read, in order.
    /// `read` counts those that cannot.
    pub(crate) fn read<R: Send + 'static>(
        &self,
        rows: usize,
        read: impl Fn(usize) -> Option<R> + Clone + Send + 'static,
    ) -> impl Stream<Item = Result<(usize, R), EngineError>> + Send {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let readers = self.readers.clone();
        stream::iter(0..rows)
            .map(move |row| {
                let (readers, read) = (readers.clone(), read.clone());
                async move {
                    // Never closed. Given back as soon as the row is read, also where nobody asks for it yet.
                    let permit = readers.acquire_owned().await;
                    let read = move || {
                        let _permit = permit;
                        read(row)
                    };
                    Ok(task::spawn_blocking(read).await?.map(|value| (row, value)))
                }
            })
            .buffered(cores)
            .try_filter_map(|read| future::ready(Ok(read)))
    }

    /// Counts a picture, and whether it could be read.
    pub(crate) fn count(&self, readable: bool) {
        self.pictures.fetch_add(1, Ordering::Relaxed);
        self.unreadable.fetch_add(u64::from(!readable), Ordering::Relaxed);
    }

    /// Counts a pair that LPIPS has no value for.
    pub(crate) fn count_incomparable(&self) {
        self.incomparable.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a batch of the device, and drops the device if it is lost.
    pub(crate) async fn finish<T>(&self, result: Result<T, EngineError>) -> Result<T, EngineError> {
        self.batches.fetch_add(1, Ordering::Relaxed);
        if result.as_ref().is_err_and(EngineError::is_device) {
            *self.loaded.lock().await = None;
            *self.comparer.lock().await = None;
        }
        result
    }
}
