//! The thread that owns the network: it reads weights, runs pictures and waits for the GPU, so that the window does not.
//!
//! Requests come through a channel, and of each kind only the newest counts. What takes long (an occlusion map) is done
//! in pieces, with a look at the channel after each.

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

use alexnet_wgpu::{AdapterSummary, GpuOptions, LayerTime, Picture, Prediction, Preprocessing, Shape, wgpu};
use serde::{Deserialize, Serialize};

use self::desk::Desk;
pub(crate) use self::desk::broken;
use crate::{filters::Filters, maps::Contrast, occlusion::Heat, tiles::Tiles, weights::Source};

/// How many classes are shown.
pub const TOP: usize = 5;
/// Which picture a request or an answer is about.
pub type PictureId = u64;
/// Which of several requests to load a model an answer is about.
pub type LoadId = u64;

/// Where the network runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Adapter {
    /// On the window's own device: what the network computes is drawn without leaving the GPU.
    #[default]
    Window,
    /// On a device of its own.
    Other {
        /// The adapter's name.
        name: String,
        /// Its API, as wgpu calls it.
        backend: String,
    },
}

impl Adapter {
    /// An adapter by what it says of itself.
    pub fn other(info: &wgpu::AdapterInfo) -> Self {
        Self::Other { name: info.name.clone(), backend: info.backend.to_string() }
    }

    fn options(name: &str, backend: &str) -> GpuOptions {
        let backends = wgpu::Backend::ALL.into_iter().find(|known| known.to_string() == backend);
        GpuOptions::default().adapter(Some(name.into())).backends(backends.map(wgpu::Backends::from))
    }
}

/// What the worker can be asked for.
#[derive(Debug)]
pub enum Request {
    /// Read weights and put them on an adapter. Everything asked for before is dropped, without an answer.
    Load(LoadId, Source, Adapter),
    /// The most likely classes.
    Classify(PictureId, Arc<Picture>),
    /// A layer's activation, drawn.
    Maps(PictureId, Arc<Picture>, String, Contrast),
    /// How a class's probability falls when patches are covered.
    Occlude(PictureId, Arc<Picture>, usize),
    /// No more of that.
    StopOccluding,
    /// The time of each layer.
    Profile,
    /// What the network could run on.
    ListAdapters,
}

/// What the worker answers.
#[derive(Debug)]
pub enum Answer {
    /// What is being done to load a model.
    Loading(String),
    /// A model is ready.
    Loaded(LoadId, Box<Loaded>),
    /// The most likely classes and how long the picture took.
    Classified(PictureId, Vec<Prediction>, Duration),
    /// A layer's activation in a texture of the window's device.
    Maps(PictureId, Maps),
    /// An occlusion map as far as it is known.
    Heat(PictureId, Heat),
    /// The time of each layer; `None` where the device has no timestamps.
    Times(Option<Vec<LayerTime>>),
    /// All adapters.
    Adapters(Vec<AdapterSummary>),
    /// Something failed, and why. Where it is a model that could not be loaded, the one before stays.
    Failed(Work, String),
    /// The network's own device is gone, and the network with it. (The window's device tells the window itself.)
    AdapterLost(String),
}

/// What can fail: a request, as far as it takes to know it again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Work {
    /// [`Request::Load`]
    Load(LoadId),
    /// [`Request::Classify`]
    Classes(PictureId),
    /// [`Request::Maps`]
    Maps(PictureId, String, Contrast),
    /// [`Request::Occlude`]
    Heat(PictureId, usize),
    /// [`Request::Profile`]
    Times,
    /// [`Request::ListAdapters`]
    Adapters,
}

/// A model that is ready.
#[derive(Debug)]
pub struct Loaded {
    /// Where it comes from.
    pub source: Source,
    /// Where it runs.
    pub adapter: Adapter,
    /// That adapter in words.
    pub adapter_name: String,
    /// The network's name.
    pub network: String,
    /// How its parts were decided on.
    pub origin: alexnet_wgpu::Origin,
    /// Numbers that it learned.
    pub parameters: u64,
    /// Bytes on the device.
    pub device_bytes: u64,
    /// How pictures become its input.
    pub preprocessing: Preprocessing,
    /// Its classes.
    pub labels: Vec<String>,
    /// Its layers, those that compute something.
    pub layers: Vec<LayerSummary>,
    /// Its first filters, where they can be seen.
    pub filters: Option<Filters>,
}

/// A layer that computes something.
#[derive(Clone, Debug, PartialEq)]
pub struct LayerSummary {
    /// Its name.
    pub name: String,
    /// Its output.
    pub shape: Shape,
}

/// A layer's activation, drawn.
#[derive(Clone, Debug)]
pub struct Maps {
    /// The layer.
    pub layer: String,
    /// What the brightest spots stand for.
    pub contrast: Contrast,
    /// Its output.
    pub shape: Shape,
    /// The picture, on the window's device.
    pub view: wgpu::TextureView,
    /// How it is divided.
    pub tiles: Tiles,
}

/// The window's end of the channels.
#[derive(Debug)]
pub struct Worker {
    requests: Sender<Request>,
    answers: Receiver<Answer>,
}

impl Worker {
    /// Starts the thread; `wake` is called with each answer.
    ///
    /// # Errors
    ///
    /// Where no thread can be started.
    pub fn spawn(
        device: wgpu::Device,
        queue: wgpu::Queue,
        wake: impl Fn() + Send + Sync + 'static,
    ) -> std::io::Result<Self> {
        let (requests, inbox) = mpsc::channel();
        let (outbox, answers) = mpsc::channel();
        thread::Builder::new().name("network".into()).spawn(move || {
            let answer = Answers { outbox, wake: Box::new(wake) };
            Desk::new(device, queue, answer).run(&inbox);
        })?;
        Ok(Self { requests, answers })
    }

    /// Asks for something; the answer comes through [`Worker::answer`].
    pub fn ask(&self, request: Request) {
        // The thread ends with the window only.
        let _ = self.requests.send(request);
    }

    /// The next answer, if one is there.
    pub fn answer(&self) -> Option<Answer> {
        self.answers.try_recv().ok()
    }
}

struct Answers {
    outbox: Sender<Answer>,
    wake: Box<dyn Fn() + Send + Sync>,
}

impl Answers {
    fn send(&self, answer: Answer) {
        let _ = self.outbox.send(answer);
        (self.wake)();
    }
}

/// Bytes for people.
pub fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}
