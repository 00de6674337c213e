//! The thread that owns the network: it reads weights, runs pictures and waits for the GPU, so that the window does not.
//!
//! Requests come through a channel, and of each kind only the newest counts. What takes long (an occlusion map) is done
//! in pieces, with a look at the channel after each.

use std::{
    panic::{self, AssertUnwindSafe},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{self, Receiver, Sender},
    },
    thread,
    time::{Duration, Instant},
};

use alexnet_wgpu::{
    AdapterSummary, Classifier, Gpu, GpuOptions, LayerTime, Model, Picture, Pipeline, Prediction, Preprocessing, Shape,
    wgpu::{self, util::DeviceExt},
};
use serde::{Deserialize, Serialize};

use crate::{
    filters::Filters,
    maps::{Contrast, MapPainter, Order},
    occlusion::{self, Heat},
    tiles::Tiles,
    weights::Source,
};

/// How many classes are shown.
pub const TOP: usize = 5;
/// Runs that a layer's time is the median of.
const PROFILE_RUNS: usize = 9;

/// Which picture a request or an answer is about.
pub type PictureId = u64;

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
        GpuOptions { adapter: Some(name.into()), backends: backends.map(wgpu::Backends::from) }
    }
}

/// What the worker can be asked for.
#[derive(Debug)]
pub enum Request {
    /// Read weights and put them on an adapter. Everything asked for before is dropped.
    Load(Source, Adapter),
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
    Loaded(Box<Loaded>),
    /// A model could not be loaded; the one before stays.
    NotLoaded(String),
    /// The most likely classes and how long the picture took, or why there are none.
    Classified(PictureId, Result<(Vec<Prediction>, Duration), String>),
    /// A layer's activation in a texture of the window's device.
    Maps(PictureId, Maps),
    /// An occlusion map as far as it is known.
    Heat(PictureId, Heat),
    /// The time of each layer; `None` where the device has no timestamps.
    Times(Option<Vec<LayerTime>>),
    /// All adapters.
    Adapters(Vec<AdapterSummary>),
    /// Something failed.
    Failed(String),
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
            Desk {
                painter: MapPainter::new(&device),
                device,
                queue,
                answer,
                engine: None,
                pending: Pending::default(),
            }
            .run(&inbox);
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

/// What is still to be done: of each kind the newest.
#[derive(Default)]
struct Pending {
    load: Option<(Source, Adapter)>,
    adapters: bool,
    classify: Option<(PictureId, Arc<Picture>)>,
    maps: Option<(PictureId, Arc<Picture>, String, Contrast)>,
    profile: bool,
    occlude: Option<Occlusion>,
}

struct Occlusion {
    picture: PictureId,
    input: Input,
    heat: Heat,
}

enum Input {
    Picture(Arc<Picture>),
    Ready(Vec<f32>),
}

impl Pending {
    fn add(&mut self, request: Request) {
        match request {
            Request::Load(source, adapter) => {
                *self = Self { load: Some((source, adapter)), adapters: self.adapters, ..Self::default() };
            }
            Request::Classify(id, picture) => self.classify = Some((id, picture)),
            Request::Maps(id, picture, layer, contrast) => self.maps = Some((id, picture, layer, contrast)),
            Request::Occlude(picture, pixels, class) => {
                let heat = Heat { class, probability: 0.0, drops: Vec::new() };
                self.occlude = Some(Occlusion { picture, input: Input::Picture(pixels), heat });
            }
            Request::StopOccluding => self.occlude = None,
            Request::Profile => self.profile = true,
            Request::ListAdapters => self.adapters = true,
        }
    }

    fn is_empty(&self) -> bool {
        self.load.is_none()
            && self.classify.is_none()
            && self.maps.is_none()
            && self.occlude.is_none()
            && !self.profile
            && !self.adapters
    }
}

/// A model on a device.
struct Engine {
    model: Model,
    classifier: Classifier,
    gpu: Gpu,
    adapter: Adapter,
    /// The same network for a batch of covered pictures, made when it is first needed.
    occluder: Option<Pipeline>,
}

/// The thread's own.
struct Desk {
    device: wgpu::Device,
    queue: wgpu::Queue,
    painter: MapPainter,
    answer: Answers,
    engine: Option<Engine>,
    pending: Pending,
}

impl Desk {
    fn run(mut self, inbox: &Receiver<Request>) {
        loop {
            if self.pending.is_empty() {
                // Only when the window is gone.
                let Ok(request) = inbox.recv() else { return };
                self.pending.add(request);
            }
            loop {
                match inbox.try_recv() {
                    Ok(request) => self.pending.add(request),
                    Err(mpsc::TryRecvError::Empty) => break,
                    Err(mpsc::TryRecvError::Disconnected) => return,
                }
            }
            // Whatever goes wrong with a file or a driver is a message, and the next request finds the thread alive.
            let step = panic::catch_unwind(AssertUnwindSafe(|| self.step()));
            if let Err(payload) = step {
                let text = payload.downcast_ref::<String>().map(String::as_str);
                let text = text.or(payload.downcast_ref::<&str>().copied()).unwrap_or("no reason given");
                self.answer.send(Answer::Failed(format!("this should not have happened, please report it: {text}")));
            }
        }
    }

    /// Does what comes first.
    fn step(&mut self) {
        if let Some((source, adapter)) = self.pending.load.take() {
            match self.load(&source, &adapter) {
                Ok(loaded) => self.answer.send(Answer::Loaded(Box::new(loaded))),
                Err(reason) => self.answer.send(Answer::NotLoaded(format!("{source}: {reason}"))),
            }
        } else if std::mem::take(&mut self.pending.adapters) {
            self.answer.send(Answer::Adapters(pollster::block_on(Gpu::adapters(None))));
        } else if let Some((id, picture)) = self.pending.classify.take() {
            let Some(engine) = &self.engine else { return };
            let start = Instant::now();
            let classes = pollster::block_on(engine.classifier.classify(&picture));
            let result = classes.map(|classes| (classes, start.elapsed())).map_err(|e| e.to_string());
            self.answer.send(Answer::Classified(id, result));
        } else if let Some((id, picture, layer, contrast)) = self.pending.maps.take() {
            match self.maps(&picture, layer, contrast) {
                Ok(Some(maps)) => self.answer.send(Answer::Maps(id, maps)),
                Ok(None) => {}
                Err(reason) => self.answer.send(Answer::Failed(reason)),
            }
        } else if std::mem::take(&mut self.pending.profile) {
            match self.profile() {
                Ok(times) => self.answer.send(Answer::Times(times)),
                Err(reason) => self.answer.send(Answer::Failed(reason)),
            }
        } else if let Some(mut occlusion) = self.pending.occlude.take() {
            match self.occlude(&mut occlusion) {
                Ok(()) => {
                    self.answer.send(Answer::Heat(occlusion.picture, occlusion.heat.clone()));
                    if occlusion.heat.progress() < 1.0 {
                        // wgpu resizes the window only while nothing is submitted.
                        thread::sleep(Duration::from_millis(8));
                        self.pending.occlude = Some(occlusion);
                    } else {
                        log::debug!("heat map of class {} done", occlusion.heat.class);
                    }
                }
                Err(reason) => self.answer.send(Answer::Failed(reason)),
            }
        }
    }

    fn load(&mut self, source: &Source, adapter: &Adapter) -> Result<Loaded, String> {
        let start = Instant::now();
        self.answer.send(Answer::Loading(format!("Reading {source}")));
        let model = source.open().map_err(|e| e.to_string())?;
        let gpu = match (adapter, &self.engine) {
            (_, Some(engine)) if engine.adapter == *adapter => engine.gpu.clone(),
            (Adapter::Window, _) => {
                Gpu::from_device(self.device.clone(), self.queue.clone()).map_err(|e| e.to_string())?
            }
            (Adapter::Other { name, backend }, _) => {
                self.answer.send(Answer::Loading(format!("Opening {name}")));
                Gpu::open(&Adapter::options(name, backend)).map_err(|e| e.to_string())?
            }
        };
        let adapter_name = format!("{} ({})", gpu.info().name, gpu.info().backend);
        let told = AtomicU64::new(u64::MAX);
        let report = |done: u64, total: u64| {
            let percent = 100 * done / total.max(1);
            if told.swap(percent, Ordering::Relaxed) != percent {
                let total = megabytes(total);
                self.answer.send(Answer::Loading(format!("Compiling kernels, uploading {total}: {percent} %")));
            }
        };
        report(0, 4 * model.network.parameter_count());
        let builder = Pipeline::builder(&gpu, &model.network, &model.weights).top(TOP).progress(&report);
        let pipeline = builder.build().map_err(|e| e.to_string())?;
        let classifier = Classifier::from_pipeline(pipeline, model.preprocessing, model.labels.clone());
        log::info!("{source} on {adapter_name} after {} ms", start.elapsed().as_millis());
        let pipeline = classifier.pipeline();
        let mut layers = Vec::new();
        for (name, _) in pipeline.kernels() {
            let layer = pipeline.network().layer(name).map_err(|e| e.to_string())?;
            layers.push(LayerSummary { name: name.into(), shape: layer.output });
        }
        let loaded = Loaded {
            source: source.clone(),
            adapter: adapter.clone(),
            adapter_name,
            network: model.network.name().into(),
            origin: model.origin.clone(),
            parameters: model.network.parameter_count(),
            device_bytes: pipeline.device_bytes(),
            preprocessing: model.preprocessing,
            labels: model.labels.clone(),
            layers,
            filters: Filters::of(&model),
        };
        self.engine = Some(Engine { model, classifier, gpu, adapter: adapter.clone(), occluder: None });
        Ok(loaded)
    }

    fn maps(&self, picture: &Picture, layer: String, contrast: Contrast) -> Result<Option<Maps>, String> {
        let Some(engine) = &self.engine else { return Ok(None) };
        let pipeline = engine.classifier.pipeline();
        let shape = pipeline.network().layer(&layer).map_err(|e| e.to_string())?.output;
        let input = engine.classifier.preprocess(picture).map_err(|e| e.to_string())?;
        let mut encoder = self.device.create_command_encoder(&Default::default());
        let (buffer, order) = match engine.adapter {
            Adapter::Window => {
                let buffer = self.device.create_buffer(&wgpu::BufferDescriptor {
                    label: Some("activation"),
                    size: pipeline.activation_bytes(&layer).map_err(|e| e.to_string())?,
                    usage: wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_DST,
                    mapped_at_creation: false,
                });
                pipeline.write_input(&input).map_err(|e| e.to_string())?;
                pipeline.encode_layers(&mut encoder, &[(&layer, &buffer)]).map_err(|e| e.to_string())?;
                (buffer, Order::ChannelsLast)
            }
            // Devices share nothing: what another one computed comes through memory.
            Adapter::Other { .. } => {
                let run = pollster::block_on(pipeline.run_layers(&input, &[&layer])).map_err(|e| e.to_string())?;
                let buffer = self.device.create_buffer_init(&wgpu::util::BufferInitDescriptor {
                    label: Some("activation"),
                    contents: bytemuck::cast_slice(&run.concat()),
                    usage: wgpu::BufferUsages::STORAGE,
                });
                (buffer, Order::ChannelsFirst)
            }
        };
        let Some((view, tiles)) = self.painter.paint(&mut encoder, &buffer, shape, order, contrast) else {
            return Err(format!("{layer}: {shape} does not fit in one texture"));
        };
        self.queue.submit([encoder.finish()]);
        // The window's next frame comes after this on the queue anyhow; waiting keeps more than one from queueing up.
        wait(&self.device, &self.queue)?;
        log::debug!("{layer} drawn");
        Ok(Some(Maps { layer, contrast, shape, view, tiles }))
    }

    fn profile(&self) -> Result<Option<Vec<LayerTime>>, String> {
        let Some(engine) = &self.engine else { return Ok(None) };
        let mut runs = Vec::new();
        for _ in 0..PROFILE_RUNS {
            match pollster::block_on(engine.classifier.pipeline().profile()).map_err(|e| e.to_string())? {
                Some(times) => runs.push(times),
                None => return Ok(None),
            }
        }
        let mut median = runs.first().cloned().unwrap_or_default();
        for (layer, time) in median.iter_mut().enumerate() {
            let mut all: Vec<f64> = runs.iter().map(|run| run[layer].ms).collect();
            all.sort_by(f64::total_cmp);
            time.ms = all[all.len() / 2];
        }
        Ok(Some(median))
    }

    /// One batch of an occlusion map.
    fn occlude(&mut self, occlusion: &mut Occlusion) -> Result<(), String> {
        let Some(engine) = &mut self.engine else { return Ok(()) };
        let heat = &mut occlusion.heat;
        let input = match &occlusion.input {
            Input::Ready(input) => input,
            Input::Picture(picture) => {
                let input = engine.classifier.preprocess(picture).map_err(|e| e.to_string())?;
                let outputs =
                    pollster::block_on(engine.classifier.pipeline().run(&input)).map_err(|e| e.to_string())?;
                heat.probability = outputs.get(heat.class).copied().unwrap_or_default();
                occlusion.input = Input::Ready(input);
                return Ok(());
            }
        };
        let occluder = match &engine.occluder {
            Some(occluder) => occluder,
            None => {
                // A frame of the window waits for the batch before it.
                let batch = if engine.gpu.info().device_type == wgpu::DeviceType::Cpu { 3 } else { 15 };
                let builder = Pipeline::builder(&engine.gpu, &engine.model.network, &engine.model.weights);
                engine.occluder.insert(builder.batch(batch).build().map_err(|e| e.to_string())?)
            }
        };
        let network = occluder.network();
        let inputs = occlusion::inputs(input, network.input(), heat.drops.len(), occluder.batch());
        let outputs = pollster::block_on(occluder.run(&inputs)).map_err(|e| e.to_string())?;
        let left = Heat::PATCHES - heat.drops.len();
        for output in outputs.chunks_exact(network.output().len()).take(left) {
            let probability = output.get(heat.class).copied().unwrap_or_default();
            heat.drops.push(heat.probability - probability);
        }
        Ok(())
    }
}

/// Waits until all that was submitted is done, by asking now and then: while a thread waits inside wgpu, no other one can
/// present a frame.
fn wait(device: &wgpu::Device, queue: &wgpu::Queue) -> Result<(), String> {
    let (send, done) = mpsc::channel();
    queue.on_submitted_work_done(move || {
        let _ = send.send(());
    });
    loop {
        device.poll(wgpu::PollType::Poll).map_err(|e| e.to_string())?;
        match done.recv_timeout(Duration::from_micros(500)) {
            Ok(()) => return Ok(()),
            Err(mpsc::RecvTimeoutError::Timeout) => {}
            Err(mpsc::RecvTimeoutError::Disconnected) => return Err("the device was lost".into()),
        }
    }
}

/// Bytes for people.
pub fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}
