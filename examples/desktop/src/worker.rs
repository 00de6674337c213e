//! The thread that owns the network: it reads weights, runs pictures and waits for the GPU, so that the window does not.
//!
//! Requests come through a channel, and of each kind only the newest counts. What takes long (an occlusion map) is done
//! in pieces, with a look at the channel after each.

use std::{
    panic::{self, AssertUnwindSafe},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
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
/// How often an unfinished heat map is shown: where software draws a large window, a frame costs more than a batch.
const BETWEEN_HEATS: Duration = Duration::from_secs(2);

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
    /// Whether its outputs are probabilities.
    pub probabilities: bool,
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

/// What is still to be done: of each kind the newest.
#[derive(Default)]
struct Pending {
    load: Option<(LoadId, Source, Adapter)>,
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
    /// When the window heard of it last.
    told: Option<Instant>,
}

enum Input {
    Picture(Arc<Picture>),
    Ready(Vec<f32>),
}

impl Pending {
    fn add(&mut self, request: Request) {
        match request {
            Request::Load(id, source, adapter) => {
                *self = Self { load: Some((id, source, adapter)), adapters: self.adapters, ..Self::default() };
            }
            Request::Classify(id, picture) => self.classify = Some((id, picture)),
            Request::Maps(id, picture, layer, contrast) => self.maps = Some((id, picture, layer, contrast)),
            Request::Occlude(picture, pixels, class) => {
                let heat = Heat { class, probability: 0.0, drops: Vec::new() };
                self.occlude = Some(Occlusion { picture, input: Input::Picture(pixels), heat, told: None });
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
    /// Whether its device is gone; never set for the window's, which the window watches.
    lost: Arc<AtomicBool>,
    /// The same network for a batch of covered pictures, made when it is first needed.
    occluder: Option<Pipeline>,
}

/// The thread's own.
struct Desk {
    device: wgpu::Device,
    queue: wgpu::Queue,
    /// Made when it is first needed: whatever goes wrong then is a message.
    painter: Option<MapPainter>,
    make_painter: fn(&wgpu::Device) -> MapPainter,
    answer: Answers,
    engine: Option<Engine>,
    pending: Pending,
    /// What is being done.
    doing: Option<Work>,
}

impl Desk {
    fn new(device: wgpu::Device, queue: wgpu::Queue, answer: Answers) -> Self {
        Self {
            device,
            queue,
            painter: None,
            make_painter: MapPainter::new,
            answer,
            engine: None,
            pending: Pending::default(),
            doing: None,
        }
    }

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
            self.step();
        }
    }

    /// Does what comes first. Whatever goes wrong with a file or a driver is a message, and the next request finds the thread
    /// alive.
    fn step(&mut self) {
        let result =
            panic::catch_unwind(AssertUnwindSafe(|| self.work())).unwrap_or_else(|payload| Err(broken(&*payload)));
        let work = self.doing.take();
        if let (Err(reason), Some(work)) = (result, work) {
            log::warn!("{work:?}: {reason}");
            self.answer.send(Answer::Failed(work, reason));
            // A device that is gone says so when it is asked.
            if let Some(engine) = &self.engine {
                let _ = engine.gpu.device().poll(wgpu::PollType::Poll);
            }
        }
        if let Some(engine) = self.engine.take_if(|engine| engine.lost.load(Ordering::Relaxed)) {
            self.answer.send(Answer::AdapterLost(engine.gpu.info().name.clone()));
        }
    }

    fn work(&mut self) -> Result<(), String> {
        if let Some((id, source, adapter)) = self.pending.load.take() {
            self.doing = Some(Work::Load(id));
            let loaded = self.load(&source, &adapter).map_err(|reason| format!("{source}: {reason}"))?;
            self.answer.send(Answer::Loaded(id, Box::new(loaded)));
        } else if std::mem::take(&mut self.pending.adapters) {
            self.doing = Some(Work::Adapters);
            self.answer.send(Answer::Adapters(Gpu::adapters_blocking(None)));
        } else if let Some((id, picture)) = self.pending.classify.take() {
            self.doing = Some(Work::Classes(id));
            let engine = self.engine.as_ref().ok_or(NO_NETWORK)?;
            let start = Instant::now();
            let classes = engine.classifier.classify_blocking(&picture).map_err(|e| e.to_string())?;
            self.answer.send(Answer::Classified(id, classes, start.elapsed()));
        } else if let Some((id, picture, layer, contrast)) = self.pending.maps.take() {
            self.doing = Some(Work::Maps(id, layer.clone(), contrast));
            let maps = self.maps(&picture, layer, contrast)?;
            self.answer.send(Answer::Maps(id, maps));
        } else if std::mem::take(&mut self.pending.profile) {
            self.doing = Some(Work::Times);
            let times = self.profile()?;
            self.answer.send(Answer::Times(times));
        } else if let Some(mut occlusion) = self.pending.occlude.take() {
            self.doing = Some(Work::Heat(occlusion.picture, occlusion.heat.class));
            self.occlude(&mut occlusion)?;
            let done = occlusion.heat.progress() >= 1.0;
            if done || occlusion.told.is_none_or(|told| told.elapsed() > BETWEEN_HEATS) {
                occlusion.told = Some(Instant::now());
                self.answer.send(Answer::Heat(occlusion.picture, occlusion.heat.clone()));
            }
            if !done {
                // wgpu resizes the window only while nothing is submitted.
                thread::sleep(Duration::from_millis(8));
                self.pending.occlude = Some(occlusion);
            } else {
                log::debug!("heat map of class {} done", occlusion.heat.class);
            }
        }
        Ok(())
    }

    fn load(&mut self, source: &Source, adapter: &Adapter) -> Result<Loaded, String> {
        let start = Instant::now();
        self.answer.send(Answer::Loading(format!("Reading {source}")));
        let model = source.open().map_err(|e| e.to_string())?;
        let (gpu, lost) = match (adapter, &self.engine) {
            (_, Some(engine)) if engine.adapter == *adapter && !engine.lost.load(Ordering::Relaxed) => {
                (engine.gpu.clone(), engine.lost.clone())
            }
            (Adapter::Window, _) => {
                let gpu = Gpu::from_device(self.device.clone(), self.queue.clone()).map_err(|e| e.to_string())?;
                (gpu, Arc::default())
            }
            (Adapter::Other { name, backend }, _) => {
                self.answer.send(Answer::Loading(format!("Opening {name}")));
                let gpu = Gpu::open_blocking(&Adapter::options(name, backend)).map_err(|e| e.to_string())?;
                let lost = Arc::new(AtomicBool::new(false));
                let report = lost.clone();
                gpu.device().set_device_lost_callback(move |reason, text| {
                    log::error!("the network's device is lost: {reason:?} {text}");
                    report.store(true, Ordering::Relaxed);
                });
                (gpu, lost)
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
            probabilities: model.network.gives_probabilities(),
            layers,
            filters: Filters::of(&model),
        };
        self.engine = Some(Engine { model, classifier, gpu, adapter: adapter.clone(), lost, occluder: None });
        Ok(loaded)
    }

    fn maps(&mut self, picture: &Picture, layer: String, contrast: Contrast) -> Result<Maps, String> {
        let engine = self.engine.as_ref().ok_or(NO_NETWORK)?;
        let painter = self.painter.get_or_insert_with(|| (self.make_painter)(&self.device));
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
                let run = pipeline.run_layers_blocking(&input, &[&layer]).map_err(|e| e.to_string())?;
                let buffer = self.device.create_buffer_init(&wgpu::util::BufferInitDescriptor {
                    label: Some("activation"),
                    contents: bytemuck::cast_slice(&run.concat()),
                    usage: wgpu::BufferUsages::STORAGE,
                });
                (buffer, Order::ChannelsFirst)
            }
        };
        let Some((view, tiles)) = painter.paint(&mut encoder, &buffer, shape, order, contrast) else {
            return Err(format!("{layer}: {shape} does not fit in one texture"));
        };
        self.queue.submit([encoder.finish()]);
        // The window's next frame comes after this on the queue anyhow; waiting keeps more than one from queueing up.
        wait(&self.device, &self.queue)?;
        log::debug!("{layer} drawn");
        Ok(Maps { layer, contrast, shape, view, tiles })
    }

    fn profile(&self) -> Result<Option<Vec<LayerTime>>, String> {
        let engine = self.engine.as_ref().ok_or(NO_NETWORK)?;
        let mut runs = Vec::new();
        for _ in 0..PROFILE_RUNS {
            match engine.classifier.pipeline().profile_blocking().map_err(|e| e.to_string())? {
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
        let engine = self.engine.as_mut().ok_or(NO_NETWORK)?;
        let heat = &mut occlusion.heat;
        let input = match &occlusion.input {
            Input::Ready(input) => input,
            Input::Picture(picture) => {
                let input = engine.classifier.preprocess(picture).map_err(|e| e.to_string())?;
                let outputs = engine.classifier.pipeline().run_blocking(&input).map_err(|e| e.to_string())?;
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
        let outputs = occluder.run_blocking(&inputs).map_err(|e| e.to_string())?;
        let left = Heat::PATCHES - heat.drops.len();
        for output in outputs.chunks_exact(network.output().len()).take(left) {
            let probability = output.get(heat.class).copied().unwrap_or_default();
            heat.drops.push(heat.probability - probability);
        }
        Ok(())
    }
}

const NO_NETWORK: &str = "no network is loaded: choose one from the weights menu";

/// What a panic said, as a message.
pub(crate) fn broken(payload: &(dyn std::any::Any + Send)) -> String {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    let text = text.or(payload.downcast_ref::<&str>().copied()).unwrap_or("no reason given");
    format!("this should not have happened, please report it: {text}")
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn desk() -> (Desk, Receiver<Answer>) {
        let gpu = Gpu::open_blocking(&GpuOptions::default()).unwrap();
        let (outbox, answers) = mpsc::channel();
        let answer = Answers { outbox, wake: Box::new(|| ()) };
        (Desk::new(gpu.device().clone(), gpu.queue().clone(), answer), answers)
    }

    fn picture() -> Arc<Picture> {
        Arc::new(Picture::decode(crate::pictures::SAMPLES[0].1).unwrap())
    }

    /// Does one thing and gives its last answer.
    fn ask(desk: &mut Desk, answers: &Receiver<Answer>, request: Request) -> Answer {
        desk.pending.add(request);
        desk.step();
        answers.try_iter().last().unwrap()
    }

    #[test]
    fn a_panic_is_an_answer_that_says_what_failed() {
        let (mut desk, answers) = desk();
        desk.make_painter = |_| panic!("no such pipeline");
        let loaded = ask(&mut desk, &answers, Request::Load(1, Source::Embedded, Adapter::Window));
        assert!(matches!(loaded, Answer::Loaded(1, _)), "{loaded:?}");
        let maps = Request::Maps(7, picture(), "conv1".into(), Contrast::Map);
        let Answer::Failed(work, reason) = ask(&mut desk, &answers, maps) else { panic!("no failure") };
        assert_eq!(work, Work::Maps(7, "conv1".into(), Contrast::Map));
        assert!(reason.contains("no such pipeline"), "{reason}");
        // And the thread goes on.
        desk.make_painter = MapPainter::new;
        let maps = ask(&mut desk, &answers, Request::Maps(7, picture(), "conv1".into(), Contrast::Map));
        assert!(matches!(maps, Answer::Maps(7, _)), "{maps:?}");
    }

    #[test]
    fn what_is_asked_without_a_network_is_answered() {
        let (mut desk, answers) = desk();
        let answer = ask(&mut desk, &answers, Request::Profile);
        assert!(matches!(answer, Answer::Failed(Work::Times, _)), "{answer:?}");
    }

    #[test]
    fn a_lost_device_is_told_and_opened_anew() {
        let (mut desk, answers) = desk();
        let adapter = Adapter::other(Gpu::from_device(desk.device.clone(), desk.queue.clone()).unwrap().info());
        let load = |id| Request::Load(id, Source::Embedded, adapter.clone());
        assert!(matches!(ask(&mut desk, &answers, load(1)), Answer::Loaded(1, _)));
        desk.engine.as_ref().unwrap().gpu.device().destroy();
        desk.pending.add(Request::Classify(3, picture()));
        desk.step();
        let told: Vec<Answer> = answers.try_iter().collect();
        assert!(matches!(told[..], [Answer::Failed(Work::Classes(3), _), Answer::AdapterLost(_)]), "{told:?}");
        assert!(matches!(ask(&mut desk, &answers, load(2)), Answer::Loaded(2, _)));
        let classes = ask(&mut desk, &answers, Request::Classify(3, picture()));
        assert!(matches!(classes, Answer::Classified(3, ..)), "{classes:?}");
    }
}
