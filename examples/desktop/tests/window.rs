//! The window without a screen: what people do in it, and what they then see.
//!
//! Pictures are drawn by Mesa's software Vulkan where there is one, and compared with `tests/snapshots/`;
//! `UPDATE_SNAPSHOTS=1` writes them anew.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use alexnet_desktop::{App, Settings, View, device_descriptor, maps::Contrast, weights::Source, worker::Adapter};
use eframe::{
    egui::{ColorImage, Event, Key, Modifiers, Rect, Theme, Vec2, pos2, vec2},
    egui_wgpu::{RenderState, RendererOptions, WgpuSetup},
};
use egui_kittest::{
    Harness, SnapshotOptions,
    kittest::Queryable,
    wgpu::{WgpuTestRenderer, create_render_state, default_wgpu_setup},
};

const SMALL: Vec2 = vec2(800.0, 600.0);

struct Window {
    app: Option<App>,
    screen: RenderState,
    settings: Settings,
}

impl Window {
    fn app(&mut self) -> &mut App {
        self.app.as_mut().unwrap()
    }
}

/// A window with the app in it.
fn window(size: Vec2, theme: Theme, settings: Settings) -> Harness<'static, Window> {
    let mut setup = default_wgpu_setup();
    if let WgpuSetup::CreateNew(new) = &mut setup {
        new.device_descriptor = Arc::new(device_descriptor);
    }
    let screen = create_render_state(setup, RendererOptions::PREDICTABLE);
    // Other drivers round a little differently, along the edges of letters first.
    let pixels = (size.x * size.y) as usize;
    let options = SnapshotOptions::new().threshold(1.5).max_failed_pixels(pixels / 500);
    let renderer = WgpuTestRenderer::from_render_state(screen.clone());
    let state = Window { app: None, screen, settings };
    let builder = Harness::builder().with_size(size).with_theme(theme).with_options(options).renderer(renderer);
    builder.build_ui_state(
        |ui, window: &mut Window| {
            let Window { app, screen, settings } = window;
            app.get_or_insert_with(|| App::new(ui.ctx(), screen.clone(), settings.clone()).unwrap()).ui(ui);
        },
        state,
    )
}

fn standard() -> Harness<'static, Window> {
    window(SMALL, Theme::Dark, Settings::default())
}

/// Shows frames until `done`.
fn wait(harness: &mut Harness<'_, Window>, what: &str, done: impl Fn(&App) -> bool) {
    let start = Instant::now();
    loop {
        harness.run_steps(2);
        if done(harness.state_mut().app()) {
            harness.run_steps(2);
            return;
        }
        let messages = harness.state_mut().app().messages().to_vec();
        assert!(start.elapsed() < Duration::from_secs(120), "{what} did not come; messages: {messages:?}");
        thread::sleep(Duration::from_millis(5));
    }
}

fn settle(harness: &mut Harness<'_, Window>) {
    wait(harness, "rest", App::is_idle);
}

fn picture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../pictures").join(name)
}

fn open(harness: &mut Harness<'_, Window>, names: &[&str]) {
    for name in names {
        harness.state_mut().app().open(picture(name));
    }
    let count = names.len();
    wait(harness, "pictures", |app| app.pictures().count() == count);
    settle(harness);
}

/// The line at the bottom names the adapter and a time.
fn snapshot(harness: &mut Harness<'_, Window>, name: &str) {
    let size = harness.ctx.content_rect().size();
    harness.mask(Rect::from_min_max(pos2(0.0, size.y - 32.0), pos2(size.x, size.y)));
    harness.snapshot(name);
}

fn shows(harness: &Harness<'_, Window>, text: &str) -> bool {
    harness.query_all_by_label_contains(text).next().is_some()
}

fn best(harness: &mut Harness<'_, Window>) -> String {
    harness.state_mut().app().classes().unwrap()[0].label.clone()
}

#[test]
fn samples_are_classified() {
    let mut harness = standard();
    settle(&mut harness);
    harness.get_by_label("Try the samples").click();
    wait(&mut harness, "samples", |app| app.pictures().count() == 6);
    settle(&mut harness);
    assert_eq!(best(&mut harness), "Ankle boot");
    // A bar a class, with its percentage.
    assert!(shows(&harness, "Ankle boot: 8"));
    assert_eq!(harness.state_mut().app().classes().unwrap().len(), 5);
}

#[test]
fn keys_go_through_pictures_layers_and_views() {
    let mut harness = standard();
    open(&mut harness, &["ankle-boot.png", "bag.png"]);
    harness.key_press(Key::ArrowRight);
    settle(&mut harness);
    assert_eq!(best(&mut harness), "Bag");
    // There is nothing after the last.
    harness.key_press(Key::ArrowRight);
    settle(&mut harness);
    assert_eq!(best(&mut harness), "Bag");
    harness.key_press(Key::Delete);
    settle(&mut harness);
    assert_eq!(best(&mut harness), "Ankle boot");

    assert!(shows(&harness, "conv1: "));
    harness.key_press(Key::ArrowDown);
    settle(&mut harness);
    let second = harness.state_mut().app().settings().layer.clone();
    assert_ne!(second, "conv1");
    assert!(shows(&harness, &format!("{second}: ")));
    harness.key_press(Key::ArrowUp);
    settle(&mut harness);
    assert_eq!(harness.state_mut().app().settings().layer, "conv1");

    harness.key_press(Key::Num2);
    settle(&mut harness);
    assert!(shows(&harness, "filters of"));
    harness.key_press(Key::Num3);
    settle(&mut harness);
    assert_eq!(harness.state_mut().app().settings().view, View::Timing);
}

#[test]
fn tab_and_space_press_buttons() {
    let mut harness = standard();
    settle(&mut harness);
    let focused = |harness: &Harness<'_, Window>, label: &str| harness.get_by_label(label).is_focused();
    for _ in 0..20 {
        if focused(&harness, "Try the samples") {
            break;
        }
        harness.key_press(Key::Tab);
        harness.run_steps(2);
    }
    assert!(focused(&harness, "Try the samples"));
    harness.key_press(Key::Space);
    wait(&mut harness, "samples", |app| app.pictures().count() == 6);
}

#[test]
fn what_is_no_picture_is_a_message() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("notes.png");
    fs::write(&file, "these are notes").unwrap();
    let mut harness = standard();
    harness.state_mut().app().open(file);
    wait(&mut harness, "message", |app| !app.messages().is_empty());
    assert!(shows(&harness, "notes.png"));
    harness.get_by_label("Dismiss").click();
    harness.run_steps(3);
    assert!(harness.state_mut().app().messages().is_empty());
    assert!(!shows(&harness, "notes.png"));
}

#[test]
fn weights_that_do_not_load_leave_the_model_there_was() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("broken.safetensors");
    fs::write(&file, [0; 64]).unwrap();
    let mut harness = standard();
    open(&mut harness, &["ankle-boot.png"]);
    // As when it is dropped on the window.
    harness.state_mut().app().open(file);
    wait(&mut harness, "message", |app| !app.messages().is_empty());
    assert!(shows(&harness, "broken.safetensors"));
    settle(&mut harness);
    assert_eq!(best(&mut harness), "Ankle boot");
    assert_eq!(harness.state_mut().app().settings().source, Source::Embedded);
}

#[test]
fn remembered_weights_that_are_gone_give_way_to_the_embedded() {
    let source = Source::File("gone.safetensors".into());
    let mut harness = window(SMALL, Theme::Dark, Settings { source, ..Settings::default() });
    wait(&mut harness, "message", |app| !app.messages().is_empty());
    open(&mut harness, &["bag.png"]);
    assert_eq!(best(&mut harness), "Bag");
    assert_eq!(harness.state_mut().app().settings().source, Source::Embedded);
}

#[test]
fn weights_come_from_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("mine.safetensors");
    let mut model = alexnet_wgpu::Model::embedded().unwrap();
    model.labels[9] = "Stiefelette".into();
    model.to_weights().unwrap().save(&file).unwrap();
    let mut harness = standard();
    open(&mut harness, &["ankle-boot.png"]);
    harness.state_mut().app().open(file.clone());
    settle(&mut harness);
    assert_eq!(best(&mut harness), "Stiefelette");
    assert_eq!(harness.state_mut().app().settings().source, Source::File(file));
}

#[test]
fn pasted_pixels_and_paths_are_opened() {
    let mut harness = standard();
    settle(&mut harness);
    let grey = eframe::egui::Color32::from_gray(90);
    harness.event(Event::PasteImage(Arc::new(ColorImage::filled([40, 30], grey))));
    wait(&mut harness, "pasted picture", |app| app.pictures().count() == 1);
    harness.event(Event::Paste(picture("bag.png").display().to_string()));
    wait(&mut harness, "pasted path", |app| app.pictures().count() == 2);
    settle(&mut harness);
    assert_eq!(harness.state_mut().app().pictures().collect::<Vec<_>>(), ["pasted", "bag.png"]);
    harness.event(Event::Paste("just words".into()));
    wait(&mut harness, "message", |app| !app.messages().is_empty());
}

#[derive(Debug)]
struct Dropped(PathBuf);

impl eframe::egui::DroppedFile for Dropped {
    fn path(&self) -> &Path {
        &self.0
    }

    fn bytes(&self) -> Result<Vec<u8>, String> {
        fs::read(&self.0).map_err(|e| e.to_string())
    }
}

#[test]
fn dropped_files_are_opened() {
    let mut harness = standard();
    settle(&mut harness);
    harness.input_mut().dropped_files.push(Arc::new(Dropped(picture("coat.png"))));
    wait(&mut harness, "dropped picture", |app| app.pictures().count() == 1);
    settle(&mut harness);
    assert_eq!(harness.state_mut().app().pictures().collect::<Vec<_>>(), ["coat.png"]);
}

#[test]
fn another_adapter_gives_the_same_maps() {
    let mut harness = window(SMALL, Theme::Dark, Settings { contrast: Contrast::Layer, ..Settings::default() });
    open(&mut harness, &["ankle-boot.png"]);
    // Clicks leave no trace in what is drawn.
    let shared = harness.render().unwrap();
    let info = harness.state().screen.adapter.get_info();
    harness.state_mut().app().load(Source::Embedded, Adapter::other(&info));
    settle(&mut harness);
    assert_eq!(harness.state_mut().app().settings().adapter, Adapter::other(&info));
    assert_eq!(best(&mut harness), "Ankle boot");
    let apart = harness.render().unwrap();
    // The maps lie right of the picture, between the buttons and the strip.
    let differing = shared
        .enumerate_pixels()
        .filter(|(x, y, pixel)| {
            let other = apart.get_pixel(*x, *y);
            let off = pixel.0.iter().zip(other.0).any(|(a, b)| a.abs_diff(b) > 2);
            *x > 400 && (160..480).contains(y) && off
        })
        .count();
    assert_eq!(differing, 0);
}

#[test]
fn a_heat_map_comes_and_can_be_cancelled() {
    let mut harness = standard();
    open(&mut harness, &["ankle-boot.png"]);
    harness.get_by_label("Heat map").click();
    harness.run_steps(4);
    harness.get_by_label("Cancel").click();
    harness.run_steps(4);
    assert!(harness.query_by_label("Cancel").is_none());

    harness.key_press(Key::H);
    wait(&mut harness, "heat map", |app| app.heat_progress() == Some(1.0));
    assert!(harness.query_by_label("Cancel").is_none());
    // Another class has another one.
    harness.get_by_label_contains("Sneaker: ").click();
    harness.run_steps(4);
    settle(&mut harness);
    assert_eq!(harness.state_mut().app().heat_progress(), Some(1.0));
    snapshot(&mut harness, "heat");
}

#[test]
fn times_are_shown_where_there_are_timestamps() {
    let mut harness = window(SMALL, Theme::Dark, Settings { view: View::Timing, ..Settings::default() });
    open(&mut harness, &["ankle-boot.png"]);
    let timestamps = eframe::wgpu::Features::TIMESTAMP_QUERY;
    let expected =
        if harness.state().screen.device.features().contains(timestamps) { "conv1: " } else { "cannot time" };
    assert!(shows(&harness, expected));
}

#[test]
fn settings_come_back() {
    let before = Settings { view: View::Filters, layer: "conv3".into(), opacity: 0.4, ..Settings::default() };
    let mut harness = window(SMALL, Theme::Dark, before.clone());
    open(&mut harness, &["bag.png"]);
    assert_eq!(*harness.state_mut().app().settings(), before);
    assert!(shows(&harness, "filters of"));
    harness.key_press(Key::Num1);
    settle(&mut harness);
    assert!(shows(&harness, "conv3: "));
}

#[test]
fn a_map_is_shown_alone_and_left_again() {
    let mut harness = standard();
    open(&mut harness, &["ankle-boot.png"]);
    let maps = harness
        .get_all_by_label_contains("conv1: 48 maps")
        .map(|node| node.rect())
        .max_by(|a, b| a.area().total_cmp(&b.area()));
    let corner = maps.unwrap().min + vec2(8.0, 8.0);
    harness.hover_at(corner);
    harness.drag_at(corner);
    harness.drop_at(corner);
    harness.run_steps(4);
    assert!(harness.query_by_label("All").is_some());
    harness.event_modifiers(
        Event::Key { key: Key::Escape, physical_key: None, pressed: true, repeat: false, modifiers: Modifiers::NONE },
        Modifiers::NONE,
    );
    harness.run_steps(3);
    assert!(harness.query_by_label("All").is_none());
}

#[test]
fn it_looks_as_it_should() {
    let mut results = egui_kittest::SnapshotResults::new();
    for (name, size, theme) in
        [("dark", SMALL, Theme::Dark), ("light", SMALL, Theme::Light), ("narrow", vec2(640.0, 480.0), Theme::Dark)]
    {
        let mut harness = window(size, theme, Settings::default());
        open(&mut harness, &["ankle-boot.png", "coffee.png"]);
        snapshot(&mut harness, name);
        results.extend_harness(&mut harness);
    }
    let mut harness = window(SMALL, Theme::Light, Settings::default());
    settle(&mut harness);
    snapshot(&mut harness, "welcome");
    results.extend_harness(&mut harness);
}
