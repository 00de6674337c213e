//! The view that trains a network on a folder of pictures: what is found there, curves, filters, and the model that comes of it.

use std::path::PathBuf;

use eframe::egui::{DragValue, ProgressBar, RichText, Role, TextureHandle, TextureOptions, Ui, WidgetInfo};
use egui_plot::{Corner, Legend, Line, Plot};

use crate::{
    app::{App, Chosen},
    look, tiles,
    tiles::Tiles,
    training::{Measured, Progress, Recipe, Stage, Training},
    weights::Source,
};

/// The epochs that can be asked for.
const EPOCHS: std::ops::RangeInclusive<u64> = 1..=1000;
/// Classes that are listed.
const LISTED: usize = 12;

/// The state of the view.
#[derive(Default)]
pub(crate) struct Train {
    training: Option<Training>,
    recipe: Recipe,
    /// The number of epochs, where another one than the recipe's is wanted.
    epochs: Option<u64>,
    /// The filters that are shown, and after how many steps they were so.
    filters: Option<(u64, TextureHandle, Tiles)>,
    /// The filter that is shown alone.
    pub chosen: Option<usize>,
}

impl Train {
    /// Whether a training is under way.
    pub fn is_busy(&self) -> bool {
        self.training.as_ref().is_some_and(|training| training.progress().stage.is_busy())
    }

    fn epochs(&self) -> u64 {
        self.epochs.unwrap_or(self.recipe.epochs())
    }
}

/// What a click asks for.
enum Wish {
    ChooseFolder,
    Start,
    Stop,
    GoOn,
    /// The same folder once more.
    Again,
    Try(PathBuf, Vec<PathBuf>),
}

impl App {
    /// Looks into a folder to train on.
    pub fn train_on(&mut self, folder: PathBuf) {
        let ctx = self.ctx.clone();
        let screen = (self.screen.device.clone(), self.screen.queue.clone());
        let wake = move |within| ctx.request_repaint_after(within);
        match Training::spawn(folder, screen, self.settings.adapter.clone(), wake) {
            Ok(training) => {
                self.train = Train { training: Some(training), recipe: self.train.recipe, ..Train::default() }
            }
            Err(error) => self.say(format!("no training could be started: {error}")),
        }
    }

    /// Whether a training takes steps.
    pub fn is_training(&self) -> bool {
        self.train.training.as_ref().is_some_and(|training| training.progress().stage == Stage::Training)
    }

    fn choose_classes(&self) {
        let folder =
            rfd::AsyncFileDialog::new().set_title("A folder with a folder of pictures for each class").pick_folder();
        self.wait_for_dialog(move || {
            pollster::block_on(folder).into_iter().map(|folder| Chosen::Classes(folder.path().into())).collect()
        });
    }

    pub(crate) fn train_view(&mut self, ui: &mut Ui) {
        let wish = match &self.train.training {
            None => {
                ui.label(
                    "A network learns your own classes from a folder that has a folder of pictures for each class.",
                );
                ui.add_space(4.0);
                ui.label("Drop it here, or choose it.");
                ui.add_space(4.0);
                ui.button("Choose folder…").clicked().then_some(Wish::ChooseFolder)
            }
            Some(training) => {
                let largest = ui.input(|input| input.max_texture_side);
                let (folder, mut progress) = (training.folder.clone(), training.progress());
                if let Some((steps, filters)) = progress.filters.take()
                    && filters.image.size.iter().all(|&side| side <= largest)
                {
                    let texture = ui.load_texture("trained filters", filters.image, TextureOptions::NEAREST);
                    self.train.filters = Some((steps, texture, filters.tiles));
                }
                // The thread is not held up while the view is drawn.
                let known = progress.clone();
                drop(progress);
                ui.horizontal_wrapped(|ui| {
                    let name = folder.file_name().unwrap_or(folder.as_os_str()).to_string_lossy().into_owned();
                    ui.strong(look::shortened(&name, 40)).on_hover_text(folder.display().to_string());
                    ui.label(summary(&known));
                });
                show(ui, &mut self.train, &known)
            }
        };
        match (wish, &self.train.training) {
            (Some(Wish::ChooseFolder), _) => self.choose_classes(),
            (Some(Wish::Start), Some(training)) => training.start(self.train.recipe, self.train.epochs()),
            (Some(Wish::Stop), Some(training)) => training.stop(),
            (Some(Wish::GoOn), Some(training)) => training.go_on(),
            (Some(Wish::Again), Some(training)) => self.train_on(training.folder.clone()),
            (Some(Wish::Try(model, examples)), _) => {
                self.load(Source::File(model), self.settings.adapter.clone());
                if self.entries.is_empty() {
                    examples.into_iter().for_each(|path| self.open(path));
                }
                self.settings.view = crate::View::Layers;
            }
            _ => {}
        }
    }
}

/// What is in the folder.
fn summary(known: &Progress) -> String {
    let Progress { labels, training, held, unreadable, .. } = known;
    if labels.is_empty() {
        return String::new();
    }
    let mut text = format!("{} classes, {training} pictures to train on, {held} held back", labels.len());
    if *unreadable > 0 {
        text += &format!(", {unreadable} unreadable");
    }
    text
}

/// All below the line about the folder.
fn show(ui: &mut Ui, train: &mut Train, known: &Progress) -> Option<Wish> {
    let mut wish = None;
    match &known.stage {
        Stage::Looking => {
            ui.horizontal(|ui| {
                look::busy(ui, 16.0);
                ui.label("Looking into the folder");
            });
        }
        Stage::Ready => wish = ready(ui, train, known),
        Stage::Reading(done, of) => {
            ui.horizontal(|ui| {
                if ui.button("Stop").clicked() {
                    wish = Some(Wish::Stop);
                }
                let text = format!("Reading picture {done} of {of}");
                let share = *done as f32 / (*of).max(1) as f32;
                ui.add(ProgressBar::new(share).text(text));
            });
        }
        Stage::Training => {
            ui.horizontal(|ui| {
                if ui.button("Stop").on_hover_text("Stop after this step and save the model").clicked() {
                    wish = Some(Wish::Stop);
                }
                let share = known.steps as f32 / known.total.max(1) as f32;
                ui.add(ProgressBar::new(share).text(format!("Step {} of {}", known.steps, known.total)));
            });
        }
        Stage::Stopped | Stage::Done | Stage::Failed(_) => wish = ended(ui, known),
    }
    if !known.losses.points().is_empty() {
        curves(ui, known, train.filters.is_some());
        filters(ui, train);
    }
    wish
}

/// What can be chosen before the start.
fn ready(ui: &mut Ui, train: &mut Train, known: &Progress) -> Option<Wish> {
    let mut listed: Vec<String> = known.labels.iter().take(LISTED).map(|label| look::shortened(label, 24)).collect();
    if known.labels.len() > LISTED {
        listed.push(format!("and {} more", known.labels.len() - LISTED));
    }
    ui.label(RichText::new(listed.join(", ")).weak());
    ui.add_space(6.0);
    for recipe in Recipe::ALL {
        if ui.radio(train.recipe == recipe, recipe.title()).on_hover_text(recipe.hint()).clicked() {
            (train.recipe, train.epochs) = (recipe, None);
        }
    }
    ui.label(RichText::new(train.recipe.hint()).small().weak());
    ui.add_space(4.0);
    let mut wish = None;
    ui.horizontal(|ui| {
        let label = ui.label("Epochs").on_hover_text("How often the network sees each picture").id;
        let mut epochs = train.epochs();
        if ui.add(DragValue::new(&mut epochs).range(EPOCHS)).labelled_by(label).changed() {
            train.epochs = Some(epochs);
        }
    });
    ui.add_space(4.0);
    ui.horizontal(|ui| {
        if ui.button(RichText::new("Start training").strong()).clicked() {
            wish = Some(Wish::Start);
        }
        if ui.button("Another folder…").clicked() {
            wish = Some(Wish::ChooseFolder);
        }
    });
    wish
}

/// What came of a training.
fn ended(ui: &mut Ui, known: &Progress) -> Option<Wish> {
    let mut wish = None;
    if let Stage::Failed(reason) = &known.stage {
        ui.label(RichText::new(reason).color(ui.visuals().error_fg_color));
    }
    if let Some(file) = &known.saved {
        let how_good = match known.best {
            Some(best) => format!("The best model names {:.1} % of the pictures held back.", 100.0 * best),
            None => "The model is saved. No pictures were held back to measure it.".into(),
        };
        let place = file.parent().and_then(|folder| folder.file_name()).unwrap_or_default().to_string_lossy();
        ui.label(format!("{how_good} It is in {}/best.safetensors.", look::shortened(&place, 40)))
            .on_hover_text(file.display().to_string());
    }
    ui.horizontal_wrapped(|ui| {
        let mut button = |text: &str, hint: &str, made: Wish| {
            if ui.button(text).on_hover_text(hint).clicked() {
                wish = Some(made);
            }
        };
        if let Some(file) = &known.saved {
            let made = Wish::Try(file.clone(), known.examples.clone());
            button("Try it", "Classify pictures with this model", made);
        }
        if known.stage == Stage::Stopped {
            button("Go on", "Go on where it was stopped", Wish::GoOn);
        }
        button("Train again", "Train on this folder anew, in another way", Wish::Again);
        button("Another folder…", "Train on other pictures", Wish::ChooseFolder);
    });
    wish
}

/// Loss and accuracy by epoch, side by side.
fn curves(ui: &mut Ui, known: &Progress, with_filters: bool) {
    ui.add_space(4.0);
    let room = ui.available_size();
    let height = if with_filters { (room.y * 0.42).clamp(110.0, 260.0) } else { room.y.clamp(110.0, 420.0) };
    let height = height - 20.0;
    let accent = look::accent(ui.visuals());
    let (weak, strong) = (ui.visuals().weak_text_color().gamma_multiply(0.5), ui.visuals().warn_fg_color);
    let of = |value: fn(&Measured) -> Option<f64>| -> Vec<[f64; 2]> {
        known.measured.iter().filter_map(|measured| Some([measured.epochs, value(measured)?])).collect()
    };
    let percent = |value: Vec<[f64; 2]>| value.into_iter().map(|[x, y]| [x, 100.0 * y]).collect::<Vec<_>>();
    let (trained, held) = ("Trained on", "Held back");
    let loss = vec![
        Line::new("Each step", known.losses.points().to_vec()).color(weak).width(1.0),
        Line::new(trained, of(|measured| Some(measured.training[0]))).color(accent).width(2.0),
        Line::new(held, of(|measured| Some(measured.held?[0]))).color(strong).width(2.0),
    ];
    let accuracy = vec![
        Line::new(trained, percent(of(|measured| Some(measured.training[1])))).color(accent).width(2.0),
        Line::new(held, percent(of(|measured| Some(measured.held?[1])))).color(strong).width(2.0),
    ];
    // Where the curves end up is the other corner.
    let legends = [Corner::RightTop, Corner::RightBottom].map(|corner| Legend::default().position(corner));
    ui.columns(2, |columns| {
        for (((ui, lines), title), legend) in
            columns.iter_mut().zip([loss, accuracy]).zip(["Loss by epoch", "Per cent right by epoch"]).zip(legends)
        {
            ui.label(RichText::new(title).small().weak());
            let plot = Plot::new(title).height(height).legend(legend).include_y(0.0);
            let plot = plot.allow_drag(false).allow_zoom(false).allow_scroll(false).allow_boxed_zoom(false);
            let shown = plot.show(ui, |plot| lines.into_iter().for_each(|line| plot.line(line)));
            shown.response.widget_info(|| WidgetInfo::labeled(Role::Image, true, title));
        }
    });
}

/// The first layer's filters as they were last.
fn filters(ui: &mut Ui, train: &mut Train) {
    let Some((steps, texture, tiles)) = &train.filters else { return };
    let what = format!("{} filters of the first layer after step {steps}", tiles.count);
    ui.label(RichText::new(&what).small().weak());
    let name = |tile: usize| format!("filter {tile}");
    tiles::grid(ui, texture.id(), tiles, "trained filters", name, &mut train.chosen);
}
