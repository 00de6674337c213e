//! The app: what it knows, what it asks the worker for, and where everything stands in the window.

use std::{
    io,
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{self, Receiver, Sender},
    },
    thread,
    time::{Duration, Instant},
};

use alexnet_wgpu::{AdapterSummary, LayerTime, Picture, Prediction, wgpu};
use eframe::{
    egui::{
        self, Align, CentralPanel, Color32, Context, Event, Frame, Key, Layout, Margin, Modifiers, Panel, RichText,
        TextureHandle, TextureId, TextureOptions, Ui,
    },
    egui_wgpu::RenderState,
};

use crate::{
    look,
    occlusion::Heat,
    pictures::{self, Incoming, Loader, Opened},
    settings::{Settings, View},
    weights::{self, Source},
    worker::{Adapter, Answer, Loaded, Maps, PictureId, Request, Worker, megabytes},
};

/// A picture in the strip.
pub(crate) struct Entry {
    pub id: PictureId,
    pub name: String,
    pub picture: Arc<Picture>,
    pub shown: TextureHandle,
    pub thumbnail: TextureHandle,
    /// Whether the worker was asked for its classes.
    pub asked: bool,
    /// Its classes, and how long they took.
    pub classes: Option<(Vec<Prediction>, Duration)>,
    /// The class that the heat map is to explain; the most likely where `None`.
    pub explained: Option<usize>,
    /// Its heat map, as far as it is known.
    pub heat: Option<(Heat, TextureHandle)>,
}

impl Entry {
    /// The class that the heat map is about.
    pub fn class(&self) -> Option<usize> {
        self.explained.or_else(|| Some(self.classes.as_ref()?.0.first()?.index))
    }
}

/// The time of each layer.
pub(crate) enum Times {
    Unknown,
    Asked,
    /// `None` where the device has no timestamps.
    Known(Option<Vec<LayerTime>>),
}

/// What a file dialog came back with.
enum Chosen {
    Picture(PathBuf),
    Weights(PathBuf),
}

/// Everything in the window. It knows nothing of eframe but its render state, so that tests can drive it.
pub struct App {
    ctx: Context,
    screen: RenderState,
    worker: Worker,
    loader: Loader,
    dialogs: (Sender<Chosen>, Receiver<Chosen>),
    /// Errors of the window's device that no call returned.
    device_errors: Receiver<String>,
    pub(crate) settings: Settings,
    /// What is being done to load a model.
    pub(crate) loading: Option<String>,
    pub(crate) loaded: Option<Box<Loaded>>,
    pub(crate) entries: Vec<Entry>,
    /// Which of them is shown; in range while there are any.
    pub(crate) selected: usize,
    next_id: PictureId,
    classifying: Option<PictureId>,
    asked_maps: Option<(PictureId, String, crate::maps::Contrast)>,
    pub(crate) maps: Option<(Maps, TextureId)>,
    pub(crate) chosen_map: Option<usize>,
    pub(crate) filters: Option<TextureHandle>,
    pub(crate) chosen_filter: Option<usize>,
    pub(crate) times: Times,
    /// Whether heat maps are wanted.
    pub(crate) heat: bool,
    asked_heat: Option<(PictureId, usize)>,
    pub(crate) adapters: Option<Vec<AdapterSummary>>,
    asked_adapters: bool,
    messages: Vec<String>,
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
            move || ctx.request_repaint()
        };
        // By default, wgpu ends the program on such an error.
        let (report, device_errors) = mpsc::channel();
        let wake_for_error = wake(ctx);
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
        worker.ask(Request::Load(settings.source.clone(), settings.adapter.clone()));
        Ok(Self {
            ctx: ctx.clone(),
            screen,
            worker,
            loader: Loader::spawn(wake(ctx))?,
            dialogs: mpsc::channel(),
            device_errors,
            settings,
            loading: Some("Starting".into()),
            loaded: None,
            entries: Vec::new(),
            selected: 0,
            next_id: 0,
            classifying: None,
            asked_maps: None,
            maps: None,
            chosen_map: None,
            filters: None,
            chosen_filter: None,
            times: Times::Unknown,
            heat: false,
            asked_heat: None,
            adapters: None,
            asked_adapters: false,
            messages: Vec::new(),
            help: false,
        })
    }

    /// What is to be remembered.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The most likely classes of the picture that is shown, once they are known.
    pub fn classes(&self) -> Option<&[Prediction]> {
        Some(&self.entries.get(self.selected)?.classes.as_ref()?.0)
    }

    /// Whether nothing is under way.
    pub fn is_idle(&self) -> bool {
        self.loading.is_none()
            && self.entries.iter().all(|entry| entry.classes.is_some())
            && self.asked_maps.as_ref().is_none_or(|(_, layer, contrast)| {
                self.maps.as_ref().is_some_and(|(maps, _)| maps.layer == *layer && maps.contrast == *contrast)
            })
            && !matches!(self.times, Times::Asked)
            && (!self.heat || self.entries.is_empty() || self.heat_progress() == Some(1.0))
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
        &self.messages
    }

    /// Opens a picture, a folder of them, or a weight file.
    pub fn open(&mut self, path: PathBuf) {
        if weights::is_weights(&path) {
            self.load(Source::File(path), self.settings.adapter.clone());
        } else {
            self.loader.open(Incoming::Path(path));
        }
    }

    /// Opens the pictures that come with the app.
    pub fn open_samples(&mut self) {
        for (name, bytes) in pictures::SAMPLES {
            self.loader.open(Incoming::Bytes(name.into(), bytes.into()));
        }
    }

    /// Puts other weights on an adapter.
    pub fn load(&mut self, source: Source, adapter: Adapter) {
        self.loading = Some(format!("Loading {source}"));
        self.worker.ask(Request::Load(source, adapter));
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
        let (chosen, ctx) = (self.dialogs.0.clone(), self.ctx.clone());
        thread::spawn(move || {
            for file in wait() {
                let _ = chosen.send(file);
            }
            ctx.request_repaint();
        });
    }

    fn say(&mut self, message: String) {
        if !self.messages.contains(&message) {
            self.messages.push(message);
        }
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
        while let Some(opened) = self.loader.opened() {
            match opened {
                Ok(opened) => self.add(opened),
                Err(message) => self.say(message),
            }
        }
        while let Ok(chosen) = self.dialogs.1.try_recv() {
            match chosen {
                Chosen::Picture(path) => self.loader.open(Incoming::Path(path)),
                Chosen::Weights(path) => self.load(Source::File(path), self.settings.adapter.clone()),
            }
        }
        while let Ok(message) = self.device_errors.try_recv() {
            self.say(message);
        }
        while let Some(answer) = self.worker.answer() {
            self.take(answer);
        }
    }

    fn add(&mut self, opened: Opened) {
        let id = self.next_id;
        self.next_id += 1;
        // Single pixels of small pictures stay visible.
        let crisp = opened.shown.size.iter().all(|&side| side <= 64);
        let options = if crisp { TextureOptions::NEAREST } else { TextureOptions::LINEAR };
        self.entries.push(Entry {
            id,
            name: opened.name,
            picture: opened.picture,
            shown: self.ctx.load_texture("picture", opened.shown, options),
            thumbnail: self.ctx.load_texture("thumbnail", opened.thumbnail, TextureOptions::LINEAR),
            asked: false,
            classes: None,
            explained: None,
            heat: None,
        });
    }

    fn take(&mut self, answer: Answer) {
        match answer {
            Answer::Loading(what) => self.loading = Some(what),
            Answer::Loaded(loaded) => {
                self.loading = None;
                self.settings.source = loaded.source.clone();
                self.settings.adapter = loaded.adapter.clone();
                self.filters = loaded
                    .filters
                    .as_ref()
                    .map(|filters| self.ctx.load_texture("filters", filters.image.clone(), TextureOptions::NEAREST));
                self.loaded = Some(loaded);
                self.forget_maps();
                self.asked_maps = None;
                self.asked_heat = None;
                self.chosen_map = None;
                self.chosen_filter = None;
                self.classifying = None;
                self.times = Times::Unknown;
                for entry in &mut self.entries {
                    (entry.asked, entry.classes, entry.explained, entry.heat) = (false, None, None, None);
                }
            }
            Answer::NotLoaded(message) => {
                self.loading = None;
                self.say(message);
                // There is always a network to look at.
                let standard = Settings::default();
                if self.loaded.is_none() && self.settings.source != standard.source {
                    self.settings.source = standard.source.clone();
                    self.load(standard.source, self.settings.adapter.clone());
                } else if self.loaded.is_none() && self.settings.adapter != standard.adapter {
                    self.settings.adapter = standard.adapter.clone();
                    self.load(standard.source, standard.adapter);
                }
            }
            Answer::Classified(id, result) => {
                self.classifying = None;
                match result {
                    Ok(classes) => {
                        if let Some(entry) = self.by_id(id) {
                            entry.classes = Some(classes);
                        }
                    }
                    Err(message) => self.say(message),
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
                    self.maps = Some((maps, texture));
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
            Answer::Failed(message) => {
                self.classifying = None;
                if matches!(self.times, Times::Asked) {
                    self.times = Times::Known(None);
                }
                self.say(message);
            }
        }
    }

    fn forget_maps(&mut self) {
        if let Some((_, texture)) = self.maps.take() {
            self.screen.renderer.write().free_texture(&texture);
        }
    }

    /// Asks the worker for what is shown and not yet known.
    fn ask(&mut self) {
        self.selected = self.selected.min(self.entries.len().saturating_sub(1));
        if self.loaded.is_none() {
            return;
        }
        if self.classifying.is_none() {
            // The picture that is shown comes first.
            let unknown = |entry: &&mut Entry| !entry.asked;
            let (before, from) = self.entries.split_at_mut(self.selected);
            if let Some(entry) = from.iter_mut().chain(before).find(unknown) {
                entry.asked = true;
                self.classifying = Some(entry.id);
                self.worker.ask(Request::Classify(entry.id, entry.picture.clone()));
            }
        }
        if matches!((self.settings.view, &self.times), (View::Timing, Times::Unknown)) {
            self.times = Times::Asked;
            self.worker.ask(Request::Profile);
        }
        let Some(entry) = self.entries.get(self.selected) else { return };
        if self.settings.view == View::Layers
            && let Some(layer) = self.layer()
        {
            let wanted = Some((entry.id, layer.to_string(), self.settings.contrast));
            if wanted != self.asked_maps {
                let (picture, layer, contrast) = (entry.picture.clone(), layer.to_string(), self.settings.contrast);
                self.worker.ask(Request::Maps(entry.id, picture, layer, contrast));
                self.asked_maps = wanted;
            }
        }
        let known = |class| entry.heat.as_ref().is_some_and(|(heat, _)| heat.class == class && heat.progress() >= 1.0);
        let wanted = entry.class().filter(|&class| self.heat && !known(class)).map(|class| (entry.id, class));
        if wanted != self.asked_heat {
            self.worker.ask(match wanted {
                Some((id, class)) => Request::Occlude(id, entry.picture.clone(), class),
                None => Request::StopOccluding,
            });
            self.asked_heat = wanted;
        }
    }

    pub(crate) fn measure_again(&mut self) {
        self.times = Times::Unknown;
    }

    /// Shows another picture.
    pub(crate) fn select(&mut self, index: usize) {
        self.selected = index.min(self.entries.len().saturating_sub(1));
    }

    pub(crate) fn remove(&mut self, index: usize) {
        if index < self.entries.len() {
            self.entries.remove(index);
            if self.selected > index {
                self.selected -= 1;
            }
        }
    }

    /// Drops, pastes and keys.
    fn input(&mut self) {
        let (dropped, events) = self.ctx.input(|input| (input.raw.dropped_files.clone(), input.events.clone()));
        for file in dropped {
            self.open(file.path().into());
        }
        for event in events {
            match event {
                Event::PasteImage(image) => self.loader.open(Incoming::Pixels(image)),
                Event::Paste(text) => self.paste(&text),
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
        // What has the focus uses keys of its own.
        if self.ctx.memory(|memory| memory.focused().is_some()) || egui::Popup::is_any_open(&self.ctx) {
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
            let path = PathBuf::from(line.trim().strip_prefix("file://").unwrap_or(line.trim()));
            if path.exists() {
                self.open(path);
                paths += 1;
            }
        }
        if paths == 0 {
            self.say("the clipboard holds no picture, nor the path of one".into());
        }
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
            self.messages.pop();
        }
    }

    /// A frame: takes in what came, shows everything, and asks for what is missing.
    pub fn ui(&mut self, ui: &mut Ui) {
        self.receive();
        self.input();

        let margin = Margin::symmetric(10, 6);
        let frame = Frame::new().inner_margin(margin).fill(ui.visuals().panel_fill);
        Panel::top("menus").frame(frame).show(ui, |ui| self.menus(ui));
        if !self.messages.is_empty() {
            Panel::top("messages").frame(frame).show_separator_line(false).show(ui, |ui| self.show_messages(ui));
        }
        Panel::bottom("status")
            .frame(Frame { inner_margin: Margin::symmetric(10, 3), ..frame })
            .show(ui, |ui| self.status(ui));
        if self.entries.is_empty() {
            CentralPanel::default().frame(frame).show(ui, |ui| self.welcome(ui));
        } else {
            Panel::bottom("strip").frame(frame).show(ui, |ui| self.strip(ui));
            let width = ui.available_width();
            Panel::left("picture")
                .frame(Frame { inner_margin: Margin::same(10), ..frame })
                .resizable(true)
                .default_size((width * 0.38).clamp(280.0, 1100.0))
                .size_range(220.0..=width * 0.6)
                .show(ui, |ui| self.picture_panel(ui));
            CentralPanel::default()
                .frame(Frame { inner_margin: Margin::same(10), ..frame })
                .show(ui, |ui| self.views(ui));
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

    fn show_messages(&mut self, ui: &mut Ui) {
        let mut dismissed = None;
        let (fill, text) = if ui.visuals().dark_mode {
            (Color32::from_rgb(88, 28, 28), Color32::from_rgb(255, 225, 220))
        } else {
            (Color32::from_rgb(253, 226, 222), Color32::from_rgb(110, 15, 15))
        };
        egui::ScrollArea::vertical().max_height(120.0).min_scrolled_height(120.0).auto_shrink([false, true]).show(
            ui,
            |ui| {
                for (index, message) in self.messages.iter().enumerate() {
                    Frame::new().fill(fill).corner_radius(5).inner_margin(Margin::symmetric(10, 4)).show(ui, |ui| {
                        ui.horizontal(|ui| {
                            let room = egui::vec2((ui.available_width() - 90.0).max(80.0), 0.0);
                            ui.allocate_ui_with_layout(room, Layout::top_down(Align::Min), |ui| {
                                ui.set_width(room.x);
                                ui.add(egui::Label::new(RichText::new(message).color(text)).wrap());
                            });
                            if ui.button("Dismiss").clicked() {
                                dismissed = Some(index);
                            }
                        });
                    });
                }
            },
        );
        if let Some(index) = dismissed {
            self.messages.remove(index);
        }
    }

    fn status(&self, ui: &mut Ui) {
        ui.horizontal(|ui| {
            if let Some(loading) = &self.loading {
                look::busy(ui, 14.0);
                ui.small(format!("{loading}…"));
                return;
            }
            let Some(loaded) = &self.loaded else { return };
            ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
                if let Some((_, took)) = self.entry().and_then(|entry| entry.classes.as_ref()) {
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
