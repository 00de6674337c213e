//! A model on a device, opened when the first picture comes.

use std::{
    path::PathBuf,
    sync::{Arc, MutexGuard, PoisonError},
    thread,
};

use alexnet_wgpu::{
    Classifier, ClassifyError, CompareError, Comparer, Gpu, GpuError, GpuOptions, Model, ModelOptions, Pipeline,
    PipelineError, RunError, WeightsError,
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
    /// Pictures in a batch; [`Pipeline::suggested_batch`] where `None`.
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

/// Why a function failed. A picture that cannot be read is not an error.
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
    /// The device did not finish, or the network has no classes.
    #[error(transparent)]
    Classify(#[from] ClassifyError),
    /// LPIPS could not be computed.
    #[error(transparent)]
    Compare(#[from] CompareError),
    /// Decoding a picture panicked, or was cancelled.
    #[error("reading a picture did not finish: {0}")]
    Reader(#[from] task::JoinError),
}

impl EngineError {
    /// Whether the device is unusable from now on.
    fn is_device(&self) -> bool {
        let (Self::Run(error) | Self::Classify(ClassifyError::Run(error)) | Self::Compare(CompareError::Run(error))) =
            self
        else {
            return false;
        };
        matches!(error, RunError::Device(_))
    }
}

/// A model that is loaded on a device when the first picture comes. One serves all partitions of all queries of a process.
#[derive(Debug)]
pub struct Engine {
    options: EngineOptions,
    /// Without a device after it was lost, so that the next picture opens another.
    classifier: Mutex<Option<Arc<Classifier>>>,
    comparer: Mutex<Option<Arc<Comparer>>>,
    /// A permit for each core.
    readers: Arc<Semaphore>,
    counts: std::sync::Mutex<Counts>,
}

/// The model on a device.
fn open_classifier(options: &EngineOptions) -> Result<Classifier, EngineError> {
    let gpu = open_gpu(options)?;
    let model = match &options.weights {
        Some(path) => Model::open(path, &ModelOptions::default())?,
        None => Model::embedded()?,
    };
    let batch = options.batch.unwrap_or_else(|| Pipeline::suggested_batch(&gpu, &model.network));
    let pipeline = Pipeline::builder(&gpu, &model.network, &model.weights).batch(batch).top(1).build()?;
    Ok(Classifier::from_pipeline(pipeline, model.preprocessing, model.labels))
}

/// Pictures that are read at once.
fn cores() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

fn open_gpu(options: &EngineOptions) -> Result<Gpu, GpuError> {
    Gpu::open_blocking(&GpuOptions::default().adapter(options.adapter.clone()))
}

impl Engine {
    /// Makes an engine. Nothing is opened yet.
    pub fn new(options: EngineOptions) -> Self {
        Self {
            options,
            classifier: Mutex::default(),
            comparer: Mutex::default(),
            readers: Arc::new(Semaphore::new(cores())),
            counts: Default::default(),
        }
    }

    /// Returns how many pictures were seen since the engine was made.
    pub fn counts(&self) -> Counts {
        *self.counted()
    }

    fn counted(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The model on its device, which takes seconds the first time.
    pub(crate) async fn classifier(&self) -> Result<Arc<Classifier>, EngineError> {
        let mut classifier = self.classifier.lock().await;
        if let Some(classifier) = &*classifier {
            return Ok(classifier.clone());
        }
        let options = self.options.clone();
        let opened = Arc::new(task::spawn_blocking(move || open_classifier(&options)).await??);
        Ok(classifier.insert(opened).clone())
    }

    /// LPIPS on the same device.
    pub(crate) async fn comparer(&self) -> Result<Arc<Comparer>, EngineError> {
        let mut comparer = self.comparer.lock().await;
        if let Some(comparer) = &*comparer {
            return Ok(comparer.clone());
        }
        let shared = self.classifier.lock().await.as_ref().map(|classifier| classifier.pipeline().gpu().clone());
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
            .buffered(cores())
            .try_filter_map(|read| future::ready(Ok(read)))
    }

    /// Counts a picture, and whether it could be read.
    pub(crate) fn count(&self, readable: bool) {
        let mut counts = self.counted();
        counts.pictures += 1;
        counts.unreadable += u64::from(!readable);
    }

    /// Counts a pair that LPIPS has no value for.
    pub(crate) fn count_incomparable(&self) {
        self.counted().incomparable += 1;
    }

    /// Counts a batch of the device, and drops the device if it is lost.
    pub(crate) async fn finish<T>(&self, result: Result<T, EngineError>) -> Result<T, EngineError> {
        self.counted().batches += 1;
        if result.as_ref().is_err_and(EngineError::is_device) {
            *self.classifier.lock().await = None;
            *self.comparer.lock().await = None;
        }
        result
    }
}
