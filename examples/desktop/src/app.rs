//! The app: what it knows.

mod answers;
mod input;
mod layout;
#[cfg(test)]
mod tests;

use std::{
    io,
    panic::{self, AssertUnwindSafe},
    path::PathBuf,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc::{self, Receiver, Sender},
    },
    thread,
    time::{Duration, Instant},
};

use alexnet_wgpu::{AdapterSummary, Comparison, LayerTime, Prediction, wgpu};
use eframe::{
    egui::{
        self, Align, CentralPanel, Color32, Context, CursorIcon, Event, Frame, Key, Layout, Margin, Modifiers, Panel,
        RichText, TextureHandle, TextureId, TextureOptions, Ui,
    },
    egui_wgpu::RenderState,
};

use crate::{
    about::Help,
    compare::Compare,
    entry::{Classes, Decoded, Entry, Pixels},
    heat::Method,
    likeness::Sorting,
    look,
    messages::Messages,
    pictures::{self, Arrival, Incoming, Loader, Opened},
    settings::{SPLIT, Settings, View},
    train::Train,
    undo::Removal,
    weights::{self, Source},
    worker::{Adapter, Answer, LoadId, Loaded, Maps, PictureId, Request, SOON, Work, Worker, megabytes},
    zoom::Zoom,
};

/// The time that a frame spends on pictures that have come.
const TAKING_IN: Duration = Duration::from_millis(8);
/// So many classes are asked for ahead: the worker does not wait for a frame between two pictures.
const AHEAD: usize = 32;
/// Decoded pictures, all together, are at most so many bytes; those not used for longest are decoded again when needed.
const PICTURE_BYTES: usize = 768 << 20;
const NOTHING_TO_PASTE: &str = "the clipboard holds no picture, nor the path of one";
/// Within which time the clipboard gives what it holds.
const CLIPBOARD_ANSWERS: Duration = Duration::from_millis(500);
/// A device that is lost sooner than this after the network came to it is not worth another try.
const WORTH_A_TRY: Duration = Duration::from_secs(20);

/// The time of each layer.
pub(crate) enum Times {
    Unknown,
    Asked,
    /// `None` where the device has no timestamps.
    Known(Option<Vec<LayerTime>>),
    Failed(String),
}

/// What a file dialog came back with.
pub(crate) enum Chosen {
    Picture(PathBuf),
    Weights(PathBuf),
    /// A folder to train on.
    Classes(PathBuf),
    /// A place to save something, and what came of that.
    Written(Result<(), String>),
    /// Nothing, at once: there is no dialog here.
    NoDialog,
}

/// What outlives a window: another one can go on with it.
#[derive(Clone, Debug, Default)]
pub struct Session {
    /// The pictures, each where it comes from.
    pub pictures: Vec<Incoming>,
    /// Which of them is shown.
    pub selected: usize,
    /// What is remembered.
    pub settings: Settings,
}

/// Everything in the window. It knows nothing of eframe but its render state, so that tests can drive it.
pub struct App {
    pub(crate) ctx: Context,
    pub(crate) screen: RenderState,
    pub(crate) worker: Worker,
    loader: Loader,
    /// A second one, for pictures that are known: they do not wait until a folder is read.
    pub(crate) reloader: Loader,
    dialogs: (Sender<Chosen>, Receiver<Chosen>),
    asking: Arc<AtomicBool>,
    /// When the clipboard was asked for, which does not answer where it holds nothing.
    pasting: Option<Instant>,
    /// When it last gave something.
    pasted: Option<Instant>,
    /// Whether V alone is down.
    v_down: bool,
    /// Errors of the window's device that no call returned.
    device_errors: Receiver<String>,
    /// Why the window's device is gone, once it is.
    lost: Arc<OnceLock<String>>,
    pub(crate) settings: Settings,
    /// What is being done to load a model.
    pub(crate) loading: Option<String>,
    load_id: LoadId,
    /// The load of that number.
    asked_load: (Source, Adapter),
    /// Those that failed since something was loaded or asked for.
    tried: Vec<(Source, Adapter)>,
    loaded_at: Instant,
    pub(crate) loaded: Option<Box<Loaded>>,
    pub(crate) entries: Vec<Entry>,
    /// What was removed from them, oldest first.
    pub(crate) removed: Vec<Removal>,
    /// Which of them is shown; in range while there are any.
    pub(crate) selected: usize,
    pub(crate) zoom: Zoom,
    /// It is to be seen in the strip.
    pub(crate) scroll_strip: bool,
    next_id: PictureId,
    /// What [`Decoded::used`] is next.
    clock: u64,
    picture_bytes: usize,
    /// Which picture is shown once there are as many, from a window before.
    to_select: Option<usize>,
    /// Whether the next picture that is new is shown: the first of those asked for last.
    show_next: bool,
    /// Those whose classes the worker was asked for.
    classifying: Vec<PictureId>,
    asked_maps: Option<(PictureId, String, crate::maps::Contrast)>,
    pub(crate) maps: Option<(PictureId, Maps, Option<TextureId>)>,
    /// Why those asked for do not come.
    pub(crate) maps_failed: Option<String>,
    pub(crate) chosen_map: Option<usize>,
    pub(crate) filters: Option<TextureHandle>,
    pub(crate) chosen_filter: Option<usize>,
    pub(crate) times: Times,
    /// Whether heat maps are wanted.
    pub(crate) heat: bool,
    asked_heat: Option<(PictureId, usize, Method)>,
    pub(crate) compare: Compare,
    pub(crate) train: Train,
    pub(crate) sorting: Option<Sorting>,
    pub(crate) adapters: Option<Vec<AdapterSummary>>,
    asked_adapters: bool,
    messages: Messages,
    pub(crate) help: Option<Help>,
}

impl App {
    /// An app that shares `screen`'s device with the network, and starts to load the weights of `settings`.
    ///
    /// # Errors
    ///
    /// Where no thread can be started.
    pub fn new(ctx: &Context, screen: RenderState, settings: Settings) -> io::Result<Self> {
        look::apply(ctx);
        let wake = |ctx: &Context| {
            let ctx = ctx.clone();
            move |within| ctx.request_repaint_after(within)
        };
        // By default, wgpu ends the program on such an error.
        let (report, device_errors) = mpsc::channel();
        let lost = Arc::new(OnceLock::new());
        let report_lost = lost.clone();
        let (wake_for_error, wake_for_loss) = (wake(ctx), wake(ctx));
        screen.device.set_device_lost_callback(move |reason, text| {
            let text = if text.is_empty() { format!("{reason:?}") } else { text };
            log::warn!("the window's device is lost: {text}");
            let _ = report_lost.set(text);
            wake_for_loss(SOON);
        });
        let resize_refused = Mutex::new(None::<Instant>);
        screen.device.on_uncaptured_error(Arc::new(move |error: wgpu::Error| {
            let text = error.to_string().split_whitespace().collect::<Vec<_>>().join(" ");
            // wgpu does not resize a window while another thread submits. What is drawn until the next try has the wrong
            // size and is refused too.
            let mut refused = resize_refused.lock().unwrap_or_else(PoisonError::into_inner);
            if text.contains("reconfiguring the Surface") {
                *refused = Some(Instant::now());
            }
            if refused.is_some_and(|at| at.elapsed() < Duration::from_secs(1)) {
                log::debug!("{text}");
            } else {
                log::error!("{text}");
                let _ = report.send(format!("the graphics device refused something: {text}"));
            }
            wake_for_error(SOON);
        }));
        let worker = Worker::spawn(screen.device.clone(), screen.queue.clone(), wake(ctx))?;
        let asked_load = (settings.source.clone(), settings.adapter.clone());
        worker.ask(Request::Load(0, asked_load.0.clone(), asked_load.1.clone()));
        Ok(Self {
            ctx: ctx.clone(),
            screen,
            worker,
            loader: Loader::spawn(wake(ctx))?,
            reloader: Loader::spawn(wake(ctx))?,
            dialogs: mpsc::channel(),
            asking: Arc::default(),
            pasting: None,
            pasted: None,
            v_down: false,
            device_errors,
            lost,
            settings,
            loading: Some("Starting".into()),
            load_id: 0,
            asked_load,
            tried: Vec::new(),
            loaded_at: Instant::now(),
            loaded: None,
            entries: Vec::new(),
            removed: Vec::new(),
            selected: 0,
            zoom: Zoom::default(),
            scroll_strip: false,
            next_id: 0,
            clock: 0,
            picture_bytes: PICTURE_BYTES,
            to_select: None,
            show_next: false,
            classifying: Vec::new(),
            asked_maps: None,
            maps: None,
            maps_failed: None,
            chosen_map: None,
            filters: None,
            chosen_filter: None,
            times: Times::Unknown,
            heat: false,
            asked_heat: None,
            compare: Compare::default(),
            train: Train::default(),
            sorting: None,
            adapters: None,
            asked_adapters: false,
            messages: Messages::default(),
            help: None,
        })
    }

    /// What is to be remembered.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// What another window needs to go on.
    pub fn session(&self) -> Session {
        let pictures = self.entries.iter().map(|entry| entry.origin.clone()).collect();
        Session { pictures, selected: self.selected, settings: self.settings.clone() }
    }

    /// Goes on with the pictures of a window before.
    pub fn resume(&mut self, session: Session) {
        for picture in session.pictures {
            self.loader.open(picture);
        }
        self.to_select = Some(session.selected);
    }

    /// Why the window's device is gone: then nothing can be drawn, and this app neither shows nor does anything more.
    pub fn lost(&self) -> Option<&str> {
        self.lost.get().map(String::as_str)
    }

    /// Lets decoded pictures take so many bytes.
    pub fn set_picture_bytes(&mut self, bytes: usize) {
        self.picture_bytes = bytes;
    }

    /// What decoded pictures take, in bytes.
    pub fn decoded_bytes(&self) -> usize {
        let decoded = self.entries.iter().filter_map(|entry| match &entry.pixels {
            Pixels::Here(decoded) => Some(decoded.bytes()),
            _ => None,
        });
        decoded.sum()
    }

    /// The most likely classes of the picture that is shown, once they are known.
    pub fn classes(&self) -> Option<&[Prediction]> {
        Some(&self.entry()?.known()?.classes)
    }

    /// Whether nothing is under way.
    pub fn is_idle(&self) -> bool {
        self.loading.is_none()
            && self.entries.iter().all(|entry| match entry.pixels {
                Pixels::Lost(_) => true,
                Pixels::Asked => false,
                Pixels::Here(_) | Pixels::Gone => matches!(entry.classes, Classes::Known(..) | Classes::Failed(_)),
            })
            && (self.entries.is_empty()
                || self.asked_maps.is_none()
                || self.maps_failed.is_some()
                || self.maps_are_new())
            && self.loader.progress().is_none()
            && !matches!(self.times, Times::Asked)
            && self.sorting.is_none()
            && !self.train.is_busy()
            && (self.compare.asked.is_none() || self.compare.failed.is_some() || self.compare.is_known())
            && (!self.heat || self.asked_heat.is_none() || self.heat_progress() == Some(1.0))
    }

    /// Whether the maps are those that were asked for last.
    pub(crate) fn maps_are_new(&self) -> bool {
        let shown = self.maps.as_ref().map(|(id, maps, _)| (*id, maps.layer.as_str(), maps.contrast));
        shown == self.asked_maps.as_ref().map(|(id, layer, contrast)| (*id, layer.as_str(), *contrast))
    }

    /// The differences between the picture that is shown and the other one, once they are known.
    pub fn comparison(&self) -> Option<&Comparison> {
        let (_, compared, _) = self.compare.result.as_ref().filter(|_| self.compare.is_known())?;
        Some(&compared.comparison)
    }

    /// The names of the pictures in the strip.
    pub fn pictures(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().map(|entry| entry.name.as_str())
    }

    /// How much of the heat map is known, 0 to 1, of the picture that is shown and the class that is chosen.
    pub fn heat_progress(&self) -> Option<f32> {
        let entry = self.entry()?;
        let (heat, _) = entry.heat.as_ref()?;
        let is_wanted = (Some(heat.class), heat.method) == (entry.class(), self.settings.method);
        is_wanted.then(|| heat.progress())
    }

    /// The messages that are shown.
    pub fn messages(&self) -> &[String] {
        self.messages.all()
    }

    /// Opens a picture, a folder of them, or a weight file.
    pub fn open(&mut self, path: PathBuf) {
        if weights::is_weights(&path) {
            self.load(Source::File(path), self.settings.adapter.clone());
        } else {
            self.open_picture(Incoming::Path(path));
        }
    }

    fn open_picture(&mut self, picture: Incoming) {
        self.show_next = true;
        self.loader.open(picture);
    }

    /// Opens the pictures that come with the app.
    pub fn open_samples(&mut self) {
        for (name, bytes) in pictures::SAMPLES {
            self.open_picture(Incoming::sample(name, bytes));
        }
    }

    /// Puts other weights on an adapter.
    pub fn load(&mut self, source: Source, adapter: Adapter) {
        self.tried.clear();
        self.messages.dismiss_loads();
        self.ask_for((source, adapter));
    }

    fn ask_for(&mut self, load: (Source, Adapter)) {
        self.loading = Some(format!("Loading {}", load.0));
        self.load_id += 1;
        self.asked_load = load.clone();
        self.worker.ask(Request::Load(self.load_id, load.0, load.1));
    }

    /// There is always a network to look at: what is remembered, that on the window's adapter where its own is gone, or the
    /// embedded one.
    fn fall_back(&mut self) {
        self.tried.push(self.asked_load.clone());
        let remembered =
            [&self.settings.adapter, &Adapter::Window].map(|at| (self.settings.source.clone(), at.clone()));
        let embedded = [&self.settings.adapter, &Adapter::Window].map(|at| (Source::Embedded, at.clone()));
        if let Some(next) = remembered.into_iter().chain(embedded).find(|load| !self.tried.contains(load)) {
            self.ask_for(next);
        }
    }

    pub(crate) fn list_adapters(&mut self) {
        if !std::mem::replace(&mut self.asked_adapters, true) {
            self.worker.ask(Request::ListAdapters);
        }
    }

    /// Asks which pictures to open; the answer comes in a later frame.
    pub(crate) fn ask_for_pictures(&self) {
        let dialog =
            rfd::AsyncFileDialog::new().set_title("Open pictures").add_filter("Pictures", &pictures::EXTENSIONS);
        let files = dialog.add_filter("All files", &["*"]).pick_files();
        self.wait_for_dialog(move || {
            let files = pollster::block_on(files).unwrap_or_default();
            files.into_iter().map(|file| Chosen::Picture(file.path().into())).collect()
        });
    }

    /// Asks which weights to load; the answer comes in a later frame.
    pub(crate) fn ask_for_weights(&self) {
        let dialog = rfd::AsyncFileDialog::new().set_title("Open weights").add_filter("Weights", &weights::EXTENSIONS);
        let file = dialog.add_filter("All files", &["*"]).pick_file();
        self.wait_for_dialog(move || {
            pollster::block_on(file).into_iter().map(|file| Chosen::Weights(file.path().into())).collect()
        });
    }

    pub(crate) fn wait_for_dialog(&self, wait: impl FnOnce() -> Vec<Chosen> + Send + 'static) {
        // One at a time.
        if self.asking.swap(true, Ordering::Relaxed) {
            return;
        }
        let (chosen, ctx, asking) = (self.dialogs.0.clone(), self.ctx.clone(), self.asking.clone());
        thread::spawn(move || {
            let start = Instant::now();
            let mut files = panic::catch_unwind(AssertUnwindSafe(wait)).unwrap_or_default();
            // Nobody is that fast: there is neither a portal nor a program that asks.
            if files.is_empty() && start.elapsed() < Duration::from_millis(150) {
                files.push(Chosen::NoDialog);
            }
            for file in files {
                let _ = chosen.send(file);
            }
            asking.store(false, Ordering::Relaxed);
            ctx.request_repaint();
        });
    }

    /// Shows a message until it is dismissed.
    pub fn say(&mut self, message: String) {
        self.messages.say(message);
    }

    /// The picture that is shown.
    pub(crate) fn entry(&self) -> Option<&Entry> {
        self.entries.get(self.selected)
    }

    fn by_id(&mut self, id: PictureId) -> Option<&mut Entry> {
        self.entries.iter_mut().find(|entry| entry.id == id)
    }

    /// The layer that is shown: the one remembered, or the first.
    pub(crate) fn layer(&self) -> Option<&str> {
        let layers = &self.loaded.as_ref()?.layers;
        let remembered = layers.iter().find(|layer| layer.name == self.settings.layer);
        Some(&remembered.or(layers.first())?.name)
    }

    /// The labels of a layer's numbers, where they are the classes'.
    pub(crate) fn labels_of(&self, values: &[f32]) -> Option<&[String]> {
        let labels = &self.loaded.as_ref()?.labels;
        (labels.len() == values.len()).then_some(labels)
    }

    pub(crate) fn measure_again(&mut self) {
        self.times = Times::Unknown;
    }

    /// Shows another picture.
    pub(crate) fn select(&mut self, index: usize) {
        self.selected = index.min(self.entries.len().saturating_sub(1));
        self.scroll_strip = true;
    }
}
