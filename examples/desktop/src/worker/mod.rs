//! The thread that owns the network. It reads weights, runs pictures and waits for the GPU, so that the window does not.
//!
//! Requests come through a channel, and only the newest of each kind counts, but for classes that are asked for ahead. Long work (a
//! heat map of covered patches) is done in steps, and the channel is read after each.

mod desk;
mod jobs;

use std::{
    sync::{
        Arc,
        mpsc::{self, Receiver, Sender},
    },
    thread,
    time::Duration,
};

use alexnet_wgpu::{
    AdapterSummary, Comparison, GpuOptions, LayerTime, Picture, Prediction, Preprocessing, Shape, wgpu,
};
use eframe::egui::ColorImage;
use serde::{Deserialize, Serialize};

use self::desk::Desk;
pub(crate) use self::{desk::broken, jobs::open};
use crate::{
    filters::Filters,
    heat::{Heat, Method},
    maps::Contrast,
    tiles::Tiles,
    weights::Source,
};

/// Within which time the window takes in what is waited for: one frame. (A request for one at once is two of them.)
pub(crate) const SOON: Duration = Duration::from_millis(1);
/// Within which time it takes in one of many: where software draws, a frame costs more than a picture.
pub(crate) const LATER: Duration = Duration::from_millis(200);
/// The number of classes shown.
pub const TOP: usize = 5;
/// Identifies the picture of a request or an answer.
pub type PictureId = u64;
/// Identifies the request to load a model that an answer belongs to.
pub type LoadId = u64;

/// The device that the network runs on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Adapter {
    /// The window's own device: activations are drawn without leaving the GPU.
    #[default]
    Window,
    /// A device of its own.
    Other {
        /// The adapter's name.
        name: String,
        /// The name of its API in wgpu.
        backend: String,
    },
}

impl Adapter {
    /// The adapter with this name and API.
    pub fn other(info: &wgpu::AdapterInfo) -> Self {
        Self::Other { name: info.name.clone(), backend: info.backend.to_string() }
    }

    fn options(name: &str, backend: &str) -> GpuOptions {
        let backends = wgpu::Backend::ALL.into_iter().find(|known| known.to_string() == backend);
        GpuOptions::default().adapter(Some(name.into())).backends(backends.map(wgpu::Backends::from))
    }
}

/// A request to the worker.
#[derive(Debug)]
pub enum Request {
    /// Reads weights and uploads them to an adapter. All earlier requests are dropped without an answer.
    Load(LoadId, Source, Adapter),
    /// The most likely classes, at once.
    Classify(PictureId, Arc<Picture>),
    /// The same, for a picture whose turn is after everything else; none of these is dropped for a newer one.
    ClassifyAhead(PictureId, Arc<Picture>),
    /// A layer's activation, drawn.
    Maps(PictureId, Arc<Picture>, String, Contrast),
    /// What a class rests on.
    Explain(PictureId, Arc<Picture>, usize, Method),
    /// The differences between two pictures.
    Compare([PictureId; 2], [Arc<Picture>; 2]),
    /// A picture's features for likeness.
    Describe(PictureId, Arc<Picture>),
    /// Cancels [`Request::Explain`].
    StopExplaining,
    /// The time of each layer.
    Profile,
    /// The adapters that the network can run on.
    ListAdapters,
}

/// An answer of the worker.
#[derive(Debug)]
pub enum Answer {
    /// Progress of loading a model.
    Loading(String),
    /// A model is ready.
    Loaded(LoadId, Box<Loaded>),
    /// The most likely classes, and the time that the picture took.
    Classified(PictureId, Vec<Prediction>, Duration),
    /// A layer's activation in a texture of the window's device.
    Maps(PictureId, Maps),
    /// A heat map, possibly unfinished.
    Heat(PictureId, Heat),
    /// A picture's features for likeness, of length 1.
    Described(PictureId, Vec<f32>),
    /// The differences between two pictures.
    Compared([PictureId; 2], Box<Compared>),
    /// The time of each layer; `None` where the device has no timestamps.
    Times(Option<Vec<LayerTime>>),
    /// All adapters.
    Adapters(Vec<AdapterSummary>),
    /// A failure and its reason. If a model could not be loaded, the previous one stays.
    Failed(Work, String),
    /// The network's own device is lost, and the network with it. (The loss of the window's device is handled by the window.)
    AdapterLost(String),
}

/// A request that failed, without its data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Work {
    /// [`Request::Load`]
    Load(LoadId),
    /// [`Request::Classify`]
    Classes(PictureId),
    /// [`Request::Maps`]
    Maps(PictureId, String, Contrast),
    /// [`Request::Explain`]
    Heat(PictureId, usize, Method),
    /// [`Request::Describe`]
    Features(PictureId),
    /// [`Request::Compare`]
    Comparison([PictureId; 2]),
    /// [`Request::Profile`]
    Times,
    /// [`Request::ListAdapters`]
    Adapters,
}

/// A model that is ready.
#[derive(Debug)]
pub struct Loaded {
    /// The source of its weights.
    pub source: Source,
    /// The device that it runs on.
    pub adapter: Adapter,
    /// The adapter's name and API.
    pub adapter_name: String,
    /// The network's name.
    pub network: String,
    /// The sources of its parts.
    pub origin: alexnet_wgpu::Origin,
    /// The number of its parameters.
    pub parameters: u64,
    /// Bytes on the device.
    pub device_bytes: u64,
    /// The conversion of a picture to its input.
    pub preprocessing: Preprocessing,
    /// Its classes.
    pub labels: Vec<String>,
    /// Whether its outputs are probabilities.
    pub probabilities: bool,
    /// Its layers that compute something.
    pub layers: Vec<LayerSummary>,
    /// The filters of its first layer, if they can be shown as pictures.
    pub filters: Option<Filters>,
}

/// A layer that computes something.
#[derive(Clone, Debug, PartialEq)]
pub struct LayerSummary {
    /// Its name.
    pub name: String,
    /// The shape of its output.
    pub shape: Shape,
}

/// A layer's activation, to be shown.
#[derive(Clone, Debug)]
pub struct Maps {
    /// The layer.
    pub layer: String,
    /// The scale of the brightness.
    pub contrast: Contrast,
    /// The shape of its output.
    pub shape: Shape,
    /// What is shown of it.
    pub drawn: Drawn,
}

/// What is shown of an activation.
#[derive(Clone, Debug)]
pub enum Drawn {
    /// Its maps, drawn on the window's device, and where each is.
    Maps(wgpu::TextureView, Tiles),
    /// The numbers of a vector.
    Numbers(Vec<f32>),
}

/// The differences between two pictures.
#[derive(Clone, Debug)]
pub struct Compared {
    /// LPIPS and the differences between pixels.
    pub comparison: Comparison,
    /// The map of distances, drawn.
    pub map: ColorImage,
}

/// The window's handle of the worker.
#[derive(Debug)]
pub struct Worker {
    requests: Sender<Request>,
    answers: Receiver<Answer>,
}

impl Worker {
    /// Starts the thread; `wake` is called with each answer, and within which time the window should take it in.
    ///
    /// # Errors
    ///
    /// Where no thread can be started.
    pub fn spawn(
        device: wgpu::Device,
        queue: wgpu::Queue,
        wake: impl Fn(Duration) + Send + Sync + 'static,
    ) -> std::io::Result<Self> {
        let (requests, inbox) = mpsc::channel();
        let (outbox, answers) = mpsc::channel();
        thread::Builder::new().name("network".into()).spawn(move || {
            let answer = Answers { outbox, wake: Box::new(wake) };
            Desk::new(device, queue, answer).run(&inbox);
        })?;
        Ok(Self { requests, answers })
    }

    /// Sends a request; [`Worker::answer`] returns the answer.
    pub fn ask(&self, request: Request) {
        // The thread ends with the window only.
        let _ = self.requests.send(request);
    }

    /// The next answer, if there is one.
    pub fn answer(&self) -> Option<Answer> {
        self.answers.try_recv().ok()
    }
}

struct Answers {
    outbox: Sender<Answer>,
    wake: Box<dyn Fn(Duration) + Send + Sync>,
}

impl Answers {
    fn send(&self, answer: Answer) {
        self.send_within(answer, SOON);
    }

    fn send_within(&self, answer: Answer, within: Duration) {
        let _ = self.outbox.send(answer);
        (self.wake)(within);
    }
}

/// A number of bytes as text.
pub fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}
