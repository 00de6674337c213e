//! The app: what it knows, what it asks the worker for, and where everything stands in the window.

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

use alexnet_wgpu::{AdapterSummary, LayerTime, Prediction, wgpu};
use eframe::{
    egui::{
        self, Align, CentralPanel, Color32, Context, CursorIcon, Event, Frame, Key, Layout, Margin, Modifiers, Panel,
        RichText, TextureHandle, TextureId, TextureOptions, Ui,
    },
    egui_wgpu::RenderState,
};

use crate::{
    entry::{Classes, Decoded, Entry, Pixels},
    look,
    messages::Messages,
    pictures::{self, Arrival, Incoming, Loader, Opened},
    settings::{SPLIT, Settings, View},
    weights::{self, Source},
    worker::{Adapter, Answer, LoadId, Loaded, Maps, PictureId, Request, Work, Worker, megabytes},
};

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
enum Chosen {
    Picture(PathBuf),
    Weights(PathBuf),
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
    ctx: Context,
    screen: RenderState,
    worker: Worker,
    loader: Loader,
    /// A second one, for pictures that are known: they do not wait until a folder is read.
    reloader: Loader,
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
    /// Which of them is shown; in range while there are any.
    pub(crate) selected: usize,
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
    classifying: Option<PictureId>,
    asked_maps: Option<(PictureId, String, crate::maps::Contrast)>,
    pub(crate) maps: Option<(PictureId, Maps, TextureId)>,
    /// Why those asked for do not come.
    pub(crate) maps_failed: Option<String>,
    pub(crate) chosen_map: Option<usize>,
    pub(crate) filters: Option<TextureHandle>,
    pub(crate) chosen_filter: Option<usize>,
    pub(crate) times: Times,
    /// Whether heat maps are wanted.
    pub(crate) heat: bool,
    asked_heat: Option<(PictureId, usize)>,
    pub(crate) adapters: Option<Vec<AdapterSummary>>,
    asked_adapters: bool,
    messages: Messages,
    pub(crate) help: bool,
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
            // One frame; a request for one at once is two of them.
            move || ctx.request_repaint_after(Duration::from_millis(1))
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
            wake_for_loss();
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
            wake_for_error();
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
            selected: 0,
            scroll_strip: false,
            next_id: 0,
            clock: 0,
            picture_bytes: PICTURE_BYTES,
            to_select: None,
            show_next: false,
            classifying: None,
            asked_maps: None,
            maps: None,
            maps_failed: None,
            chosen_map: None,
            filters: None,
            chosen_filter: None,
            times: Times::Unknown,
            heat: false,
            asked_heat: None,
            adapters: None,
            asked_adapters: false,
            messages: Messages::default(),
            help: false,
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
        self.entries.get(self.selected)?.known()
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
            && !self.loader.is_busy()
            && !matches!(self.times, Times::Asked)
            && (!self.heat || self.asked_heat.is_none() || self.heat_progress() == Some(1.0))
    }

    /// Whether the maps are those that were asked for last.
    pub(crate) fn maps_are_new(&self) -> bool {
        let shown = self.maps.as_ref().map(|(id, maps, _)| (*id, maps.layer.as_str(), maps.contrast));
        shown == self.asked_maps.as_ref().map(|(id, layer, contrast)| (*id, layer.as_str(), *contrast))
    }

    /// The names of the pictures in the strip.
    pub fn pictures(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().map(|entry| entry.name.as_str())
    }

    /// How much of the heat map is known, 0 to 1, of the picture that is shown and the class that is chosen.
    pub fn heat_progress(&self) -> Option<f32> {
        let entry = self.entry()?;
        let (heat, _) = entry.heat.as_ref()?;
        (Some(heat.class) == entry.class()).then(|| heat.progress())
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

    fn wait_for_dialog(&self, wait: impl FnOnce() -> Vec<Chosen> + Send + 'static) {
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

    /// Takes in what came since the last frame: answers, pictures, files chosen.
    fn receive(&mut self) {
        // One a frame: making textures of many takes a while.
        if let Some(arrival) = self.reloader.arrival().or_else(|| self.loader.arrival()) {
            self.arrived(arrival);
            self.ctx.request_repaint();
        }
        while let Ok(chosen) = self.dialogs.1.try_recv() {
            match chosen {
                Chosen::Picture(path) => self.open_picture(Incoming::Path(path)),
                Chosen::Weights(path) => self.load(Source::File(path), self.settings.adapter.clone()),
                Chosen::NoDialog => self.say(
                    "no file dialog could be opened (it needs a desktop portal or zenity): drop files on the window, paste \
                     a path, or name them on the command line"
                        .into(),
                ),
            }
        }
        while let Ok(message) = self.device_errors.try_recv() {
            self.say(message);
        }
        while let Some(answer) = self.worker.answer() {
            self.take(answer);
        }
    }

    fn arrived(&mut self, arrival: Arrival) {
        let clock = self.tick();
        match (arrival.known, arrival.result) {
            (None, Ok(opened)) => self.add(opened, clock),
            (None, Err(message)) => self.say(message),
            (Some(id), result) => {
                let Some(entry) = self.by_id(id) else { return };
                match result {
                    Ok(opened) => {
                        let size = [opened.picture.width(), opened.picture.height()];
                        // Another picture under the same name has other classes.
                        if entry.size != size {
                            entry.size = size;
                            (entry.classes, entry.explained, entry.heat) = (Classes::Unknown, None, None);
                        }
                        entry.pixels = Pixels::Here(Decoded::new(opened.picture, opened.shown, clock));
                    }
                    Err(message) => {
                        entry.pixels = Pixels::Lost(message.clone());
                        self.say(message);
                    }
                }
            }
        }
    }

    fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }

    fn add(&mut self, opened: Opened, clock: u64) {
        let id = self.next_id;
        self.next_id += 1;
        self.entries.push(Entry {
            id,
            name: opened.name,
            origin: opened.origin,
            size: [opened.picture.width(), opened.picture.height()],
            pixels: Pixels::Here(Decoded::new(opened.picture, opened.shown, clock)),
            thumbnail: self.ctx.load_texture("thumbnail", opened.thumbnail, TextureOptions::LINEAR),
            classes: Classes::Unknown,
            explained: None,
            heat: None,
        });
        if let Some(index) = self.to_select.take_if(|index| *index < self.entries.len()) {
            self.select(index);
        } else if std::mem::take(&mut self.show_next) {
            self.select(self.entries.len() - 1);
        }
    }

    fn take(&mut self, answer: Answer) {
        match answer {
            Answer::Loading(what) => self.loading = Some(what),
            Answer::Loaded(id, loaded) => {
                if id == self.load_id {
                    self.loading = None;
                }
                self.settings.source = loaded.source.clone();
                self.settings.adapter = loaded.adapter.clone();
                self.tried.clear();
                let largest = self.ctx.input(|input| input.max_texture_side);
                self.filters = loaded
                    .filters
                    .as_ref()
                    .filter(|filters| filters.image.size.iter().all(|&side| side <= largest))
                    .map(|filters| self.ctx.load_texture("filters", filters.image.clone(), TextureOptions::NEAREST));
                self.loaded = Some(loaded);
                self.loaded_at = Instant::now();
                self.forget_maps();
                self.chosen_map = None;
                self.chosen_filter = None;
                self.times = Times::Unknown;
                for entry in &mut self.entries {
                    (entry.classes, entry.explained, entry.heat) = (Classes::Unknown, None, None);
                }
                self.forget_questions();
            }
            Answer::Classified(id, classes, took) => {
                self.classifying = self.classifying.filter(|&asked| asked != id);
                if let Some(entry) = self.by_id(id) {
                    entry.classes = Classes::Known(classes, took);
                }
            }
            Answer::Maps(id, maps) => {
                if self.asked_maps == Some((id, maps.layer.clone(), maps.contrast)) {
                    self.forget_maps();
                    let sampler = wgpu::SamplerDescriptor {
                        mag_filter: wgpu::FilterMode::Nearest,
                        min_filter: wgpu::FilterMode::Linear,
                        ..Default::default()
                    };
                    let mut renderer = self.screen.renderer.write();
                    let device = &self.screen.device;
                    let texture = renderer.register_native_texture_with_sampler_options(device, &maps.view, sampler);
                    drop(renderer);
                    self.maps = Some((id, maps, texture));
                }
            }
            Answer::Heat(id, heat) => {
                if self.heat && self.asked_heat == Some((id, heat.class)) {
                    let texture = self.ctx.load_texture("heat", heat.image(), TextureOptions::LINEAR);
                    if let Some(entry) = self.by_id(id) {
                        entry.heat = Some((heat, texture));
                    }
                }
            }
            Answer::Times(times) => self.times = Times::Known(times),
            Answer::Adapters(adapters) => self.adapters = Some(adapters),
            Answer::Failed(work, reason) => self.failed(work, reason),
            Answer::AdapterLost(name) => self.adapter_lost(&name),
        }
    }

    /// Whatever failed is no longer waited for, says why, and can be asked for again.
    fn failed(&mut self, work: Work, reason: String) {
        match work {
            Work::Load(id) => {
                if id == self.load_id {
                    self.loading = None;
                    // What was asked for before was dropped.
                    self.forget_questions();
                }
                self.say(reason);
                if self.loaded.is_none() && id == self.load_id {
                    self.fall_back();
                }
            }
            Work::Classes(id) => {
                self.classifying = self.classifying.filter(|&asked| asked != id);
                let Some(entry) = self.by_id(id) else { return };
                entry.classes = Classes::Failed(reason.clone());
                let message = format!("{}: {reason}", entry.name);
                self.say(message);
            }
            // What is no longer wanted may fail in silence.
            Work::Maps(id, layer, contrast) => {
                if self.asked_maps == Some((id, layer, contrast)) {
                    self.maps_failed = Some(reason);
                }
            }
            Work::Heat(id, class) => {
                if self.asked_heat == Some((id, class)) {
                    self.heat = false;
                    self.say(format!("no heat map: {reason}"));
                }
            }
            Work::Times => self.times = Times::Failed(reason),
            Work::Adapters => {
                self.asked_adapters = false;
                self.say(format!("no list of adapters: {reason}"));
            }
        }
    }

    /// Puts the network on that device anew, or where that is of no use, on the window's.
    fn adapter_lost(&mut self, name: &str) {
        self.loaded = None;
        if self.loading.is_some() {
            // Something else is on its way.
            return;
        }
        if self.loaded_at.elapsed() > WORTH_A_TRY {
            self.say(format!("{name} was lost; the network was put on it anew"));
            self.load(self.settings.source.clone(), self.settings.adapter.clone());
        } else {
            self.say(format!("{name} was lost; the network runs on the window's adapter now"));
            self.load(self.settings.source.clone(), Adapter::Window);
        }
    }

    /// What was asked for and not answered is asked for again, if it is still wanted.
    fn forget_questions(&mut self) {
        self.classifying = None;
        self.asked_maps = None;
        self.maps_failed = None;
        self.asked_heat = None;
        if matches!(self.times, Times::Asked) {
            self.times = Times::Unknown;
        }
        for entry in &mut self.entries {
            if matches!(entry.classes, Classes::Asked) {
                entry.classes = Classes::Unknown;
            }
        }
    }

    pub(crate) fn try_again(&mut self) {
        self.forget_questions();
        if let Some(entry) = self.entries.get_mut(self.selected) {
            if matches!(entry.classes, Classes::Failed(_)) {
                entry.classes = Classes::Unknown;
            }
            if matches!(entry.pixels, Pixels::Lost(_)) {
                entry.pixels = Pixels::Gone;
            }
        }
        if matches!(self.times, Times::Failed(_)) {
            self.times = Times::Unknown;
        }
    }

    fn forget_maps(&mut self) {
        if let Some((_, _, texture)) = self.maps.take() {
            self.screen.renderer.write().free_texture(&texture);
        }
    }

    /// Asks the worker for what is shown and not yet known, and the loader for pixels that are needed.
    fn ask(&mut self) {
        self.selected = self.selected.min(self.entries.len().saturating_sub(1));
        let clock = self.tick();
        for (index, entry) in self.entries.iter_mut().enumerate() {
            match &mut entry.pixels {
                Pixels::Here(decoded) if index == self.selected => decoded.used = clock,
                Pixels::Here(decoded) => {
                    // Textures are for what is on the screen.
                    for (_, texture) in &mut decoded.shown {
                        *texture = None;
                    }
                }
                pixels @ Pixels::Gone if index == self.selected => {
                    self.reloader.open_again(entry.id, entry.origin.clone());
                    *pixels = Pixels::Asked;
                }
                _ => {}
            }
        }
        // What is asked for while a model is loaded would be dropped, or be about the wrong one.
        if self.loaded.is_some() && self.loading.is_none() {
            self.ask_worker();
        }
        self.give_up_pixels();
    }

    fn ask_worker(&mut self) {
        if self.classifying.is_none() {
            // The picture that is shown comes first, then those that are decoded.
            let (before, from) = self.entries.split_at_mut(self.selected);
            let mut unknown: Vec<_> =
                from.iter_mut().chain(before).filter(|entry| matches!(entry.classes, Classes::Unknown)).collect();
            if let Some(entry) = unknown.iter_mut().find(|entry| entry.picture().is_some()) {
                if let Some(picture) = entry.picture().cloned() {
                    entry.classes = Classes::Asked;
                    self.classifying = Some(entry.id);
                    self.worker.ask(Request::Classify(entry.id, picture));
                }
            } else if unknown.iter().all(|entry| !matches!(entry.pixels, Pixels::Asked))
                && let Some(entry) = unknown.iter_mut().find(|entry| matches!(entry.pixels, Pixels::Gone))
            {
                self.reloader.open_again(entry.id, entry.origin.clone());
                entry.pixels = Pixels::Asked;
            }
        }
        if matches!((self.settings.view, &self.times), (View::Timing, Times::Unknown)) {
            self.times = Times::Asked;
            self.worker.ask(Request::Profile);
        }
        let Some(entry) = self.entries.get(self.selected) else { return };
        let Some(picture) = entry.picture() else { return };
        if self.settings.view == View::Layers
            && let Some(layer) = self.layer()
        {
            let wanted = Some((entry.id, layer.to_string(), self.settings.contrast));
            if wanted != self.asked_maps {
                let (picture, layer, contrast) = (picture.clone(), layer.to_string(), self.settings.contrast);
                self.worker.ask(Request::Maps(entry.id, picture, layer, contrast));
                self.asked_maps = wanted;
                self.maps_failed = None;
            }
        }
        let entry = &self.entries[self.selected];
        let known = |class| entry.heat.as_ref().is_some_and(|(heat, _)| heat.class == class && heat.progress() >= 1.0);
        let wanted = entry.class().filter(|&class| self.heat && !known(class)).map(|class| (entry.id, class));
        if wanted != self.asked_heat {
            self.worker.ask(match (wanted, entry.picture()) {
                (Some((id, class)), Some(picture)) => Request::Occlude(id, picture.clone(), class),
                _ => Request::StopOccluding,
            });
            self.asked_heat = wanted;
        }
    }

    /// Gives up decoded pixels while there are too many: of classified pictures those that were not shown for longest, of
    /// others those whose turn comes last. What is shown stays.
    fn give_up_pixels(&mut self) {
        let mut bytes = self.decoded_bytes();
        while bytes > self.picture_bytes {
            let last = |(index, entry): &(usize, &mut Entry)| match &entry.pixels {
                Pixels::Here(decoded) if *index != self.selected => match entry.classes {
                    Classes::Unknown => Some((1, u64::MAX - *index as u64)),
                    _ => Some((0, decoded.used)),
                },
                _ => None,
            };
            let candidates = self.entries.iter_mut().enumerate();
            let Some((_, (_, entry))) =
                candidates.filter_map(|candidate| Some((last(&candidate)?, candidate))).min_by_key(|(order, _)| *order)
            else {
                return;
            };
            if let Pixels::Here(decoded) = std::mem::replace(&mut entry.pixels, Pixels::Gone) {
                bytes -= decoded.bytes();
            }
        }
    }

    pub(crate) fn measure_again(&mut self) {
        self.times = Times::Unknown;
    }

    /// Shows another picture.
    pub(crate) fn select(&mut self, index: usize) {
        self.selected = index.min(self.entries.len().saturating_sub(1));
        self.scroll_strip = true;
    }

    pub(crate) fn remove(&mut self, index: usize) {
        if index < self.entries.len() {
            self.entries.remove(index);
            self.select(self.selected - usize::from(self.selected > index));
        }
    }

    /// Drops, pastes and keys.
    fn input(&mut self) {
        let (dropped, events) = self.ctx.input(|input| (input.raw.dropped_files.clone(), input.events.clone()));
        for file in dropped {
            self.open(file.path().into());
        }
        if events.iter().any(|event| matches!(event, Event::PasteImage(_) | Event::Paste(_))) {
            self.pasting = None;
            self.pasted = Some(Instant::now());
        } else if self.pasting.take_if(|asked| asked.elapsed() > CLIPBOARD_ANSWERS).is_some() {
            self.say(NOTHING_TO_PASTE.into());
        }
        for event in events {
            match event {
                Event::PasteImage(image) => self.open_picture(Incoming::Pixels(image)),
                Event::Paste(text) => self.paste(&text),
                // Of Ctrl+V egui tells that it is let go, and a paste before that where there is something to paste.
                Event::Key { key: Key::V, pressed, .. } => {
                    let was_down = std::mem::replace(&mut self.v_down, pressed);
                    let lately = |pasted: Instant| pasted.elapsed() < 2 * CLIPBOARD_ANSWERS;
                    if !pressed && !was_down && !self.pasted.is_some_and(lately) {
                        self.say(NOTHING_TO_PASTE.into());
                    }
                }
                _ => {}
            }
        }
        let ctx = self.ctx.clone();
        let pressed = |modifiers, key| ctx.input_mut(|input| input.consume_key(modifiers, key));
        if pressed(Modifiers::COMMAND, Key::O) {
            self.ask_for_pictures();
        }
        if pressed(Modifiers::NONE, Key::F1) {
            self.help = !self.help;
        }
        if egui::Popup::is_any_open(&self.ctx) {
            return;
        }
        if pressed(Modifiers::NONE, Key::Delete) {
            self.remove(self.selected);
        }
        if pressed(Modifiers::NONE, Key::H) {
            self.heat = !self.heat;
        }
        for (key, view) in [Key::Num1, Key::Num2, Key::Num3].into_iter().zip(View::ALL) {
            if pressed(Modifiers::NONE, key) {
                self.settings.view = view;
            }
        }
        // What has the focus uses these of its own.
        if self.ctx.memory(|memory| memory.focused().is_some()) {
            return;
        }
        if pressed(Modifiers::NONE, Key::Escape) {
            self.leave();
        }
        if pressed(Modifiers::NONE, Key::ArrowRight) {
            self.select(self.selected + 1);
        }
        if pressed(Modifiers::NONE, Key::ArrowLeft) {
            self.select(self.selected.saturating_sub(1));
        }
        for (key, index) in [(Key::Home, 0), (Key::End, usize::MAX)] {
            if pressed(Modifiers::NONE, key) {
                self.select(index);
            }
        }
        let step =
            isize::from(pressed(Modifiers::NONE, Key::ArrowDown)) - isize::from(pressed(Modifiers::NONE, Key::ArrowUp));
        if step != 0
            && self.settings.view == View::Layers
            && let (Some(loaded), Some(layer)) = (&self.loaded, self.layer())
        {
            let at = loaded.layers.iter().position(|known| known.name == layer).unwrap_or_default();
            let to = at.saturating_add_signed(step).min(loaded.layers.len() - 1);
            self.settings.layer = loaded.layers[to].name.clone();
        }
    }

    /// Text is pasted as paths or file URIs, a line each: so file managers copy files.
    fn paste(&mut self, text: &str) {
        let mut paths = 0;
        for line in text.lines() {
            let path = pasted_path(line.trim());
            if path.exists() {
                self.open(path);
                paths += 1;
            }
        }
        if paths == 0 {
            self.say(NOTHING_TO_PASTE.into());
        }
    }

    pub(crate) fn wait_for_paste(&mut self) {
        self.pasting = Some(Instant::now());
        self.ctx.request_repaint_after(CLIPBOARD_ANSWERS + Duration::from_millis(50));
    }

    /// Leaves what was entered last: help, one map alone, the heat map, a message.
    fn leave(&mut self) {
        if self.help {
            self.help = false;
        } else if self.settings.view == View::Layers && self.chosen_map.is_some() {
            self.chosen_map = None;
        } else if self.settings.view == View::Filters && self.chosen_filter.is_some() {
            self.chosen_filter = None;
        } else if self.heat {
            self.heat = false;
        } else {
            self.messages.dismiss_newest();
        }
    }

    /// A frame: takes in what came, shows everything, and asks for what is missing.
    pub fn ui(&mut self, ui: &mut Ui) {
        if self.lost().is_some() {
            // What is drawn with a lost device ends in a panic of the renderer's.
            return;
        }
        self.receive();
        self.input();

        let margin = Margin::symmetric(10, 6);
        let frame = Frame::new().inner_margin(margin).fill(ui.visuals().panel_fill);
        Panel::top("menus").frame(frame).show(ui, |ui| self.menus(ui));
        if !self.messages.all().is_empty() {
            Panel::top("messages").frame(frame).show_separator_line(false).show(ui, |ui| self.messages.show(ui));
        }
        Panel::bottom("status")
            .frame(Frame { inner_margin: Margin::symmetric(10, 3), ..frame })
            .show(ui, |ui| self.status(ui));
        if self.entries.is_empty() {
            CentralPanel::default().frame(frame).show(ui, |ui| self.welcome(ui));
        } else {
            Panel::bottom("strip").frame(frame).show(ui, |ui| self.strip(ui));
            // A panel of egui's would keep its width in points whatever becomes of the window.
            let whole = ui.available_rect_before_wrap();
            let width = whole.width();
            let narrowest = 280.0f32.min(width * 0.5);
            let frame = Frame { inner_margin: Margin::same(10), ..frame };
            Panel::left("picture")
                .frame(frame)
                .resizable(false)
                .exact_size((width * self.settings.split).clamp(narrowest, (width * 0.7).max(narrowest)))
                .show(ui, |ui| self.picture_panel(ui));
            let edge = ui.available_rect_before_wrap().left();
            CentralPanel::default().frame(frame).show(ui, |ui| self.views(ui));
            let handle = egui::Rect::from_x_y_ranges(edge - 4.0..=edge + 4.0, whole.y_range());
            self.move_split(ui, whole, handle);
        }
        self.help_window(ui);
        if self.ctx.input(|input| !input.raw.hovered_files.is_empty()) {
            let rect = self.ctx.content_rect();
            let painter = ui.ctx().layer_painter(egui::LayerId::new(egui::Order::Foreground, egui::Id::unique("drop")));
            painter.rect_filled(rect, 0.0, Color32::from_black_alpha(190));
            let font = egui::FontId::proportional(28.0);
            painter.text(rect.center(), egui::Align2::CENTER_CENTER, "Drop to open", font, Color32::WHITE);
        }

        self.ask();
    }

    /// The edge between the picture and what is right of it: it can be dragged, and goes back with a double click.
    fn move_split(&mut self, ui: &mut Ui, whole: egui::Rect, handle: egui::Rect) {
        let sense = egui::Sense::CLICK | egui::Sense::DRAG;
        let response =
            ui.interact(handle, ui.scope_id().with("split"), sense).on_hover_cursor(CursorIcon::ResizeHorizontal);
        if response.hovered() || response.dragged() {
            let stroke = ui.style().interact(&response).fg_stroke;
            ui.painter().vline(handle.center().x, whole.y_range(), stroke);
        }
        if response.double_clicked() {
            self.settings.split = SPLIT;
        } else if response.dragged()
            && let Some(pointer) = response.interact_pointer_pos()
        {
            self.settings.split = ((pointer.x - whole.left()) / whole.width()).clamp(0.2, 0.7);
        }
    }

    fn status(&self, ui: &mut Ui) {
        ui.horizontal(|ui| {
            if let Some(loading) = &self.loading {
                look::busy(ui, 14.0);
                ui.small(format!("{loading}…"));
                return;
            }
            if self.loader.is_busy() {
                look::busy(ui, 14.0);
                ui.small("Opening pictures…");
            }
            let Some(loaded) = &self.loaded else { return };
            ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
                if let Some(Classes::Known(_, took)) = self.entry().map(|entry| &entry.classes) {
                    ui.small(format!("{:.0} ms", took.as_secs_f64() * 1e3))
                        .on_hover_text("From the decoded picture to its classes");
                }
                ui.with_layout(Layout::left_to_right(Align::Center), |ui| {
                    let text = format!(
                        "{} · {:.1} M parameters · {} · {}",
                        loaded.network,
                        loaded.parameters as f64 / 1e6,
                        megabytes(loaded.device_bytes),
                        loaded.adapter_name
                    );
                    ui.add(egui::Label::new(RichText::new(text).small()).truncate()).on_hover_text(format!(
                        "Network: {}\nPreprocessing: {}\nLabels: {}",
                        loaded.origin.network, loaded.origin.preprocessing, loaded.origin.labels
                    ));
                });
            });
        });
    }

    fn welcome(&mut self, ui: &mut Ui) {
        ui.vertical_centered(|ui| {
            ui.add_space((ui.available_height() / 2.0 - 90.0).max(0.0));
            ui.heading("See what AlexNet sees");
            ui.label("Drop pictures here, paste one, or open some.");
            ui.add_space(8.0);
            ui.allocate_ui_with_layout(egui::vec2(216.0, 30.0), Layout::left_to_right(Align::Center), |ui| {
                if ui.button("Open pictures").clicked() {
                    self.ask_for_pictures();
                }
                if ui.button("Try the samples").clicked() {
                    self.open_samples();
                }
            });
        });
    }
}

/// What one line of pasted text names: a path, or a file URI as file managers copy it.
fn pasted_path(line: &str) -> PathBuf {
    let Some(encoded) = line.strip_prefix("file://") else { return line.into() };
    let encoded = encoded.strip_prefix("localhost").unwrap_or(encoded);
    // file:///C:/folder is C:/folder.
    let encoded = if cfg!(windows) { encoded.trim_start_matches('/') } else { encoded };
    let mut bytes = Vec::with_capacity(encoded.len());
    let mut rest = encoded.as_bytes();
    while let [first, tail @ ..] = rest {
        let escaped = (*first == b'%').then(|| tail.get(..2)).flatten();
        let byte = escaped.and_then(|two| u8::from_str_radix(std::str::from_utf8(two).ok()?, 16).ok());
        bytes.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { &tail[2..] } else { tail };
    }
    #[cfg(unix)]
    let path = <std::ffi::OsString as std::os::unix::ffi::OsStringExt>::from_vec(bytes);
    #[cfg(not(unix))]
    let path = String::from_utf8_lossy(&bytes).into_owned();
    PathBuf::from(path)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use eframe::egui_wgpu::{RendererOptions, WgpuSetup};
    use egui_kittest::{
        Harness,
        kittest::Queryable,
        wgpu::{create_render_state, default_wgpu_setup},
    };

    use super::*;

    /// The samples in a window, classified.
    fn window() -> Harness<'static, Option<App>> {
        let mut setup = default_wgpu_setup();
        if let WgpuSetup::CreateNew(new) = &mut setup {
            new.device_descriptor = Arc::new(crate::device_descriptor);
        }
        let screen = create_render_state(setup, RendererOptions::PREDICTABLE);
        let show = move |ui: &mut Ui, app: &mut Option<App>| {
            app.get_or_insert_with(|| App::new(ui.ctx(), screen.clone(), Settings::default()).unwrap()).ui(ui);
        };
        let mut harness = Harness::builder().with_size([800.0, 600.0]).build_ui_state(show, None);
        app(&mut harness).open_samples();
        rest(&mut harness, |app| app.entries.len() == pictures::SAMPLES.len());
        harness
    }

    fn app<'a>(harness: &'a mut Harness<'_, Option<App>>) -> &'a mut App {
        harness.state_mut().as_mut().unwrap()
    }

    fn rest(harness: &mut Harness<'_, Option<App>>, done: impl Fn(&App) -> bool) {
        let start = Instant::now();
        loop {
            harness.run_steps(2);
            let app = app(harness);
            if app.is_idle() && done(app) {
                break;
            }
            assert!(start.elapsed() < Duration::from_secs(120), "no rest; messages: {:?}", app.messages());
            thread::sleep(Duration::from_millis(5));
        }
        harness.run_steps(2);
    }

    fn shows(harness: &Harness<'_, Option<App>>, text: &str) -> bool {
        harness.query_all_by_label_contains(text).next().is_some()
    }

    #[test]
    fn maps_that_failed_say_so_and_can_be_tried_again() {
        let mut harness = window();
        let (id, layer, contrast) = app(&mut harness).asked_maps.clone().unwrap();
        // What is not shown any more may fail in silence.
        app(&mut harness).take(Answer::Failed(Work::Maps(id, "prob".into(), contrast), "no such layer".into()));
        harness.run_steps(2);
        assert!(!shows(&harness, "no such layer"));
        app(&mut harness).take(Answer::Failed(Work::Maps(id, layer, contrast), "too large".into()));
        rest(&mut harness, |_| true);
        assert!(shows(&harness, "too large"));
        harness.get_by_label("Try again").click();
        rest(&mut harness, App::maps_are_new);
        assert!(!shows(&harness, "too large") && shows(&harness, "48 maps"));
    }

    #[test]
    fn classes_that_failed_say_so_and_can_be_tried_again() {
        let mut harness = window();
        let this = app(&mut harness);
        let id = this.entries[0].id;
        this.entries[0].classes = Classes::Asked;
        this.classifying = Some(id);
        this.take(Answer::Failed(Work::Classes(id), "no memory".into()));
        rest(&mut harness, |app| app.messages() == ["ankle-boot.png: no memory"]);
        assert!(shows(&harness, "no memory") && shows(&harness, "Try again"));
        harness.get_by_label("Try again").click();
        rest(&mut harness, |app| app.classes().is_some());
    }

    #[test]
    fn times_that_failed_are_not_taken_for_an_adapter_without_timestamps() {
        let mut harness = window();
        let this = app(&mut harness);
        this.settings.view = View::Timing;
        this.times = Times::Asked;
        this.take(Answer::Failed(Work::Times, "no memory".into()));
        rest(&mut harness, |_| true);
        assert!(shows(&harness, "no memory") && !shows(&harness, "cannot time"));
        harness.get_by_label("Try again").click();
        rest(&mut harness, |app| matches!(app.times, Times::Known(_)));
    }

    #[test]
    fn a_heat_map_that_failed_is_no_longer_waited_for() {
        let mut harness = window();
        let this = app(&mut harness);
        let wanted = (this.entries[0].id, this.entries[0].class().unwrap());
        (this.heat, this.asked_heat) = (true, Some(wanted));
        this.take(Answer::Failed(Work::Heat(wanted.0, wanted.1), "no memory".into()));
        rest(&mut harness, |app| !app.heat && app.messages() == ["no heat map: no memory"]);
    }

    #[test]
    fn a_load_that_broke_down_is_no_longer_waited_for_unless_another_one_is_on_its_way() {
        let mut harness = window();
        let this = app(&mut harness);
        (this.loading, this.load_id) = (Some("Loading x".into()), 7);
        this.take(Answer::Failed(Work::Load(6), "older: broken".into()));
        assert!(this.loading.is_some());
        this.take(Answer::Failed(Work::Load(7), "x: broken".into()));
        assert!(this.loading.is_none());
        rest(&mut harness, |app| app.messages().len() == 2 && app.classes().is_some());
    }

    #[test]
    fn a_network_whose_adapter_is_lost_moves() {
        let mut harness = window();
        app(&mut harness).adapter_lost("This GPU");
        rest(&mut harness, |app| app.loaded.is_some() && app.classes().is_some());
        assert!(shows(&harness, "This GPU was lost"));
    }

    #[test]
    fn pictures_beyond_the_bound_are_decoded_again_when_they_are_shown() {
        let mut harness = window();
        let all = app(&mut harness).decoded_bytes();
        let here = |app: &App| -> Vec<usize> {
            let entries = app.entries.iter().enumerate();
            entries.filter(|(_, entry)| entry.picture().is_some()).map(|(index, _)| index).collect()
        };
        app(&mut harness).set_picture_bytes(all / 2);
        rest(&mut harness, |_| true);
        assert_eq!(here(app(&mut harness)), [0, 4, 5], "the last three of the strip were needed last");
        assert!(app(&mut harness).decoded_bytes() <= all / 2);
        app(&mut harness).select(2);
        rest(&mut harness, |app| here(app).contains(&2));
        assert!(app(&mut harness).decoded_bytes() <= all / 2);

        // Other weights need all of them again, one after the other.
        app(&mut harness).set_picture_bytes(1);
        app(&mut harness).load(Source::Embedded, Adapter::Window);
        rest(&mut harness, |app| app.entries.iter().all(|entry| entry.known().is_some()));
        assert_eq!(here(app(&mut harness)), [2], "what is shown stays");
    }

    #[test]
    fn a_picture_whose_file_is_gone_is_a_message_and_can_be_tried_again() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("coat.png");
        std::fs::write(&file, pictures::SAMPLES[2].1).unwrap();
        let mut harness = window();
        app(&mut harness).open(file.clone());
        rest(&mut harness, |app| app.entries.len() == pictures::SAMPLES.len() + 1);
        app(&mut harness).select(0);
        app(&mut harness).set_picture_bytes(1);
        rest(&mut harness, |_| true);
        std::fs::remove_file(&file).unwrap();
        app(&mut harness).load(Source::Embedded, Adapter::Window);
        app(&mut harness).select(usize::MAX);
        rest(&mut harness, |app| app.messages().len() == 1);
        assert!(shows(&harness, "coat.png: ") && app(&mut harness).classes().is_none());
        std::fs::write(&file, pictures::SAMPLES[2].1).unwrap();
        harness.get_by_label("Try again").click();
        rest(&mut harness, |app| app.classes().is_some());
    }

    #[test]
    fn file_uris_are_paths() {
        let path = |line| pasted_path(line).to_string_lossy().replace('\\', "/");
        assert_eq!(path("/home/me/a b.png"), "/home/me/a b.png");
        assert_eq!(path("100%25 wool.png"), "100%25 wool.png");
        let root = if cfg!(windows) { "" } else { "/" };
        assert_eq!(path("file:///home/me/a%20b%C3%A9.png"), format!("{root}home/me/a bé.png"));
        assert_eq!(path("file://localhost/a%2.png%"), format!("{root}a%2.png%"));
    }
}
