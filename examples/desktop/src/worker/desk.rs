//! The worker's thread: it keeps the newest request of each kind and does the most urgent first.

use std::{
    collections::VecDeque,
    panic::{self, AssertUnwindSafe},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{self, Receiver},
    },
    thread,
    time::{Duration, Instant},
};

use alexnet_wgpu::{Classifier, Comparer, FeatureExtractor, Gpu, Model, Picture, Pipeline, explain::Explainer, wgpu};

use super::{Adapter, Answer, Answers, LATER, LoadId, PictureId, Request, SOON, Work, jobs::NO_NETWORK};
use crate::{
    heat::{Heat, Method},
    maps::{Contrast, MapPainter},
    weights::Source,
};

/// The time between updates of an unfinished heat map: where software draws a large window, a frame costs more than a batch.
const BETWEEN_HEATS: Duration = Duration::from_secs(2);

/// The pending requests: the newest of each kind.
#[derive(Default)]
struct Pending {
    load: Option<(LoadId, Source, Adapter)>,
    adapters: bool,
    classify: Option<(PictureId, Arc<Picture>)>,
    maps: Option<(PictureId, Arc<Picture>, String, Contrast)>,
    compare: Option<([PictureId; 2], [Arc<Picture>; 2])>,
    describe: Option<(PictureId, Arc<Picture>)>,
    profile: bool,
    explain: Option<Explanation>,
    ahead: VecDeque<(PictureId, Arc<Picture>)>,
    /// Whether a step of the heat map was done last: it and the pictures ahead take turns.
    explained: bool,
}

pub(super) struct Explanation {
    picture: PictureId,
    pub input: Input,
    pub heat: Heat,
    /// The time of the last update to the window.
    told: Option<Instant>,
}

pub(super) enum Input {
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
            Request::ClassifyAhead(id, picture) => self.ahead.push_back((id, picture)),
            Request::Maps(id, picture, layer, contrast) => self.maps = Some((id, picture, layer, contrast)),
            Request::Explain(picture, pixels, class, method) => {
                let heat = Heat::new(class, method);
                self.explain = Some(Explanation { picture, input: Input::Picture(pixels), heat, told: None });
            }
            Request::Compare(ids, pictures) => self.compare = Some((ids, pictures)),
            Request::Describe(id, picture) => self.describe = Some((id, picture)),
            Request::StopExplaining => self.explain = None,
            Request::Profile => self.profile = true,
            Request::ListAdapters => self.adapters = true,
        }
    }

    fn is_empty(&self) -> bool {
        self.load.is_none()
            && self.classify.is_none()
            && self.maps.is_none()
            && self.compare.is_none()
            && self.describe.is_none()
            && self.explain.is_none()
            && self.ahead.is_empty()
            && !self.profile
            && !self.adapters
    }

    /// The next picture to be classified ahead, unless it is the heat map's turn.
    fn next_ahead(&mut self) -> Option<(PictureId, Arc<Picture>)> {
        if self.explain.is_some() && !self.explained { None } else { self.ahead.pop_front() }
    }
}

/// A model on a device.
pub(super) struct Engine {
    pub model: Model,
    pub classifier: Classifier,
    pub gpu: Gpu,
    pub adapter: Adapter,
    /// Whether its device is lost; never set for the window's device, which the window watches.
    pub lost: Arc<AtomicBool>,
    /// The same network for a batch of covered pictures, built when first needed.
    pub occluder: Option<Pipeline>,
    /// Heat maps by the method that was wanted last, made when first needed.
    pub explainer: Option<(Method, Explainer)>,
    /// Made when first needed.
    pub comparer: Option<Comparer>,
    /// The same.
    pub extractor: Option<FeatureExtractor>,
}

impl Engine {
    /// Whether the network ends in classes, and not in maps.
    fn has_classes(&self) -> bool {
        let output = self.model.network.output();
        output.height * output.width == 1
    }
}

/// The state of the worker's thread.
pub(super) struct Desk {
    pub device: wgpu::Device,
    pub queue: wgpu::Queue,
    /// Made when first needed, so that its failure is a message.
    pub painter: Option<MapPainter>,
    pub make_painter: fn(&wgpu::Device) -> MapPainter,
    pub answer: Answers,
    pub engine: Option<Engine>,
    pending: Pending,
    /// The current work.
    doing: Option<Work>,
}

impl Desk {
    pub fn new(device: wgpu::Device, queue: wgpu::Queue, answer: Answers) -> Self {
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

    pub fn run(mut self, inbox: &Receiver<Request>) {
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

    /// Does the most urgent work. A failure, or a panic, is a message; the thread goes on.
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

    fn classify(&mut self, id: PictureId, picture: &Picture, within: Duration) -> Result<(), String> {
        self.doing = Some(Work::Classes(id));
        let engine = self.engine.as_ref().ok_or(NO_NETWORK)?;
        let start = Instant::now();
        let classes = match engine.has_classes() {
            true => engine.classifier.classify_blocking(picture).map_err(|e| e.to_string())?,
            false => Vec::new(),
        };
        self.answer.send_within(Answer::Classified(id, classes, start.elapsed()), within);
        Ok(())
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
            self.classify(id, &picture, SOON)?;
        } else if let Some((id, picture, layer, contrast)) = self.pending.maps.take() {
            self.doing = Some(Work::Maps(id, layer.clone(), contrast));
            let maps = self.maps(&picture, layer, contrast)?;
            self.answer.send(Answer::Maps(id, maps));
        } else if let Some((ids, pictures)) = self.pending.compare.take() {
            self.doing = Some(Work::Comparison(ids));
            let compared = self.compare(&pictures)?;
            self.answer.send(Answer::Compared(ids, Box::new(compared)));
        } else if let Some((id, picture)) = self.pending.describe.take() {
            self.doing = Some(Work::Features(id));
            let features = self.describe(&picture)?;
            self.answer.send(Answer::Described(id, features));
        } else if std::mem::take(&mut self.pending.profile) {
            self.doing = Some(Work::Times);
            let times = self.profile()?;
            self.answer.send(Answer::Times(times));
        } else if let Some((id, picture)) = self.pending.next_ahead() {
            self.pending.explained = false;
            self.classify(id, &picture, if self.pending.ahead.is_empty() { SOON } else { LATER })?;
        } else if let Some(mut explanation) = self.pending.explain.take() {
            self.pending.explained = true;
            let (picture, heat) = (explanation.picture, &explanation.heat);
            self.doing = Some(Work::Heat(picture, heat.class, heat.method));
            self.explain(&mut explanation)?;
            let done = explanation.heat.progress() >= 1.0;
            if done || explanation.told.is_none_or(|told| told.elapsed() > BETWEEN_HEATS) {
                explanation.told = Some(Instant::now());
                self.answer.send(Answer::Heat(picture, explanation.heat.clone()));
            }
            if !done {
                // wgpu resizes the window only while nothing is submitted.
                thread::sleep(Duration::from_millis(8));
                self.pending.explain = Some(explanation);
            } else {
                log::debug!("heat map of class {} done", explanation.heat.class);
            }
        }
        Ok(())
    }
}

/// The message of a panic.
pub(crate) fn broken(payload: &(dyn std::any::Any + Send)) -> String {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    let text = text.or(payload.downcast_ref::<&str>().copied()).unwrap_or("no reason given");
    format!("this should not have happened, please report it: {text}")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use alexnet_wgpu::GpuOptions;

    use super::*;

    fn desk() -> (Desk, Receiver<Answer>) {
        let gpu = Gpu::open_blocking(&GpuOptions::default()).unwrap();
        let (outbox, answers) = mpsc::channel();
        let answer = Answers { outbox, wake: Box::new(|_| ()) };
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
