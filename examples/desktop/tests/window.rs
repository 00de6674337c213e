//! The window without a screen: what people do in it, and what they then see.
//!
//! Pictures are drawn by Mesa's software Vulkan where there is one, and compared with `tests/snapshots/`;
//! `UPDATE_SNAPSHOTS=1` writes them anew.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use alexnet_desktop::{App, Settings, View, device_descriptor, maps::Contrast, weights::Source, worker::Adapter};
use alexnet_wgpu::Picture;
use eframe::{
    egui::{ColorImage, Event, Key, Modifiers, Rect, Role, Theme, Vec2, pos2, vec2},
    egui_wgpu::{RenderState, RendererOptions, WgpuSetup},
    wgpu,
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
    /// The time of the longest frame, without egui's renderer.
    longest: Duration,
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
    let state = Window { app: None, screen, settings, longest: Duration::ZERO };
    let builder = Harness::builder().with_size(size).with_theme(theme).with_options(options).renderer(renderer);
    builder.build_ui_state(
        |ui, window: &mut Window| {
            let Window { app, screen, settings, longest } = window;
            let app = app.get_or_insert_with(|| App::new(ui.ctx(), screen.clone(), settings.clone()).unwrap());
            let start = Instant::now();
            app.ui(ui);
            *longest = start.elapsed().max(*longest);
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

/// Whatever is wrong with what is asked for first, there is a network, and what is remembered stays if it can.
#[test]
fn there_is_always_a_network() {
    let folder = tempfile::tempdir().unwrap();
    let [broken, good] = ["broken.safetensors", "good.safetensors"].map(|name| folder.path().join(name));
    fs::write(&broken, [0; 64]).unwrap();
    alexnet_wgpu::Model::embedded().unwrap().to_weights().unwrap().save(&good).unwrap();
    let nowhere = Adapter::Other { name: "a card that was sold".into(), backend: "vulkan".into() };
    let good = Source::File(good);
    for (source, adapter) in [(Source::Embedded, Adapter::Window), (good.clone(), Adapter::Window), (good, nowhere)] {
        let settings = Settings { source: source.clone(), adapter, ..Settings::default() };
        let mut harness = window(SMALL, Theme::Dark, settings);
        // As when it is named on the command line.
        harness.state_mut().app().open(broken.clone());
        open(&mut harness, &["bag.png"]);
        assert_eq!(best(&mut harness), "Bag");
        assert!(shows(&harness, "broken.safetensors"));
        let kept = harness.state_mut().app().settings().clone();
        assert_eq!((kept.source, kept.adapter), (source, Adapter::Window));
    }
}

#[test]
fn what_was_opened_last_is_shown() {
    let mut harness = standard();
    open(&mut harness, &["ankle-boot.png"]);
    harness.state_mut().app().open(picture("bag.png"));
    wait(&mut harness, "second picture", |app| app.pictures().count() == 2);
    settle(&mut harness);
    assert_eq!(best(&mut harness), "Bag");
}

/// What never ends is not waited for.
#[cfg(unix)]
#[test]
fn a_device_is_no_picture() {
    let mut harness = standard();
    harness.state_mut().app().open("/dev/zero".into());
    harness.state_mut().app().open(picture("bag.png"));
    wait(&mut harness, "picture", |app| app.pictures().count() == 1);
    let messages = harness.state_mut().app().messages();
    assert!(messages.len() == 1 && messages[0].starts_with("zero: expected a picture"), "{messages:?}");
}

#[test]
fn arrows_and_space_show_one_map() {
    let mut harness = standard();
    open(&mut harness, &["ankle-boot.png"]);
    assert!(shows(&harness, "conv1: "));
    // The grid is called after its layer, as the line above it is.
    let focused =
        |harness: &Harness<'_, Window>| harness.query_all_by_label_contains("conv1: ").any(|grid| grid.is_focused());
    for _ in 0..60 {
        harness.key_press(Key::Tab);
        harness.run_steps(2);
        if focused(&harness) {
            break;
        }
    }
    assert!(focused(&harness), "nothing is to be reached");
    harness.key_press(Key::ArrowRight);
    harness.run_steps(2);
    harness.key_press(Key::ArrowRight);
    harness.run_steps(2);
    harness.key_press(Key::Space);
    harness.run_steps(4);
    assert!(shows(&harness, "conv1, map 2"));
    harness.key_press(Key::Escape);
    harness.run_steps(4);
    assert!(!shows(&harness, "conv1, map 2"));
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
    // File managers copy URIs.
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a coat é.png");
    fs::copy(picture("coat.png"), &file).unwrap();
    let uri = file.display().to_string().replace('\\', "/").replace(' ', "%20").replace('é', "%C3%A9");
    let slash = if cfg!(windows) { "/" } else { "" };
    harness.event(Event::Paste(format!("file://{slash}{uri}\r\n")));
    wait(&mut harness, "pasted URI", |app| app.pictures().last() == Some("a coat é.png"));
    settle(&mut harness);
    harness.event(Event::Paste("just words".into()));
    wait(&mut harness, "message", |app| !app.messages().is_empty());
}

/// With an empty clipboard all that comes of Ctrl+V is that V is let go.
#[test]
fn nothing_to_paste_is_said_once() {
    let mut harness = standard();
    settle(&mut harness);
    let v =
        |pressed| Event::Key { key: Key::V, physical_key: None, pressed, repeat: false, modifiers: Modifiers::NONE };
    harness.event(v(true));
    harness.event(v(false));
    harness.event(Event::Paste(picture("bag.png").display().to_string()));
    harness.event(v(false));
    wait(&mut harness, "pasted path", |app| app.pictures().count() == 1);
    settle(&mut harness);
    assert_eq!(harness.state_mut().app().messages().len(), 0);
    let mut harness = standard();
    settle(&mut harness);
    harness.event(v(false));
    wait(&mut harness, "message", |app| app.messages().len() == 1);
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
fn a_hundred_files_at_once_are_opened_but_for_the_broken_one() {
    let folder = tempfile::tempdir().unwrap();
    let broken = folder.path().join("broken.png");
    fs::write(&broken, [0x89, b'P', b'N', b'G', 13, 10, 26, 10, 0, 0, 0]).unwrap();
    let mut harness = standard();
    settle(&mut harness);
    for at in 0..100 {
        let file = folder.path().join(format!("{at:03}.png"));
        fs::copy(picture(if at % 2 == 0 { "bag.png" } else { "coat.png" }), &file).unwrap();
        harness.input_mut().dropped_files.push(Arc::new(Dropped(file)));
        if at == 50 {
            harness.input_mut().dropped_files.push(Arc::new(Dropped(broken.clone())));
        }
    }
    wait(&mut harness, "dropped pictures", |app| app.pictures().count() == 100 && !app.messages().is_empty());
    settle(&mut harness);
    let messages = harness.state_mut().app().messages();
    assert!(messages.len() == 1 && messages[0].starts_with("broken.png: "), "{messages:?}");
    assert_eq!(best(&mut harness), "Bag");
    // The last one is seen in the strip, and then the first again.
    let inside = |harness: &Harness<'_, Window>, name| {
        harness.ctx.content_rect().contains_rect(harness.get_by_label(name).rect())
    };
    for (key, seen, unseen) in [(Key::End, "099.png", "000.png"), (Key::Home, "000.png", "099.png")] {
        harness.key_press(key);
        settle(&mut harness);
        // It gets there smoothly.
        harness.run_steps(60);
        assert!(inside(&harness, seen) && !inside(&harness, unseen), "{seen}");
    }
}

/// Submits, from another thread, work that keeps the GPU for one and a half seconds: no driver takes that for a hang, and
/// software Vulkan does it all within the submission. True once it is done.
fn occupy(RenderState { device, queue, .. }: RenderState) -> Arc<AtomicBool> {
    let source = "
        @group(0) @binding(0) var<storage, read_write> numbers: array<f32>;
        @compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3<u32>) {
            var x = numbers[id.x];
            for (var i = 0u; i < 1000000u; i++) { x = fract(x * 1.3 + 0.1); }
            numbers[id.x] = x;
        }";
    let module = device.create_shader_module(wgpu::ShaderModuleDescriptor {
        label: None,
        source: wgpu::ShaderSource::Wgsl(source.into()),
    });
    let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
        label: None,
        layout: None,
        module: &module,
        entry_point: None,
        compilation_options: Default::default(),
        cache: None,
    });
    let buffer = device.create_buffer(&wgpu::BufferDescriptor {
        label: None,
        size: 4 * 64 * 65535,
        usage: wgpu::BufferUsages::STORAGE,
        mapped_at_creation: false,
    });
    let group = device.create_bind_group(&wgpu::BindGroupDescriptor {
        label: None,
        layout: &pipeline.get_bind_group_layout(0),
        entries: &[wgpu::BindGroupEntry { binding: 0, resource: buffer.as_entire_binding() }],
    });
    let work = move |workgroups: u32| {
        let mut encoder = device.create_command_encoder(&Default::default());
        let mut pass = encoder.begin_compute_pass(&Default::default());
        pass.set_pipeline(&pipeline);
        pass.set_bind_group(0, &group, &[]);
        pass.dispatch_workgroups(workgroups, 1, 1);
        drop(pass);
        let start = Instant::now();
        queue.submit([encoder.finish()]);
        device.poll(wgpu::PollType::wait_indefinitely()).unwrap();
        start.elapsed().as_secs_f64()
    };
    // What is compiled at the first use.
    work(1);
    let workgroups = (16.0 * 1.5 / work(16)).clamp(16.0, 65535.0) as u32;
    let done = Arc::new(AtomicBool::new(false));
    let report = done.clone();
    thread::spawn(move || {
        let took = work(workgroups);
        println!("the GPU was busy for {took:.2} s");
        report.store(true, Ordering::Relaxed);
    });
    done
}

#[test]
fn frames_go_on_while_the_gpu_is_busy() {
    let mut harness = standard();
    open(&mut harness, &["ankle-boot.png", "coffee.png"]);
    let done = occupy(harness.state().screen.clone());
    harness.state_mut().longest = Duration::ZERO;
    let start = Instant::now();
    for key in [Key::ArrowDown, Key::ArrowRight, Key::H, Key::Num3] {
        harness.key_press(key);
        harness.run_steps(2);
    }
    harness.state_mut().app().load(Source::Embedded, Adapter::Window);
    harness.key_press(Key::Num1);
    while !done.load(Ordering::Relaxed) {
        harness.step();
    }
    let (busy, longest) = (start.elapsed(), harness.state().longest);
    println!("{longest:?} of {busy:?}");
    assert!(longest < busy / 3, "a frame took {longest:?} while the GPU was busy for {busy:?}");
    settle(&mut harness);
    assert_eq!(harness.state_mut().app().messages(), [""; 0]);
}

#[test]
fn a_window_that_lost_its_device_draws_no_more_and_leaves_its_pictures_to_another() {
    let mut harness = standard();
    harness.event(Event::PasteImage(Arc::new(ColorImage::filled([40, 30], eframe::egui::Color32::from_gray(90)))));
    wait(&mut harness, "pasted picture", |app| app.pictures().count() == 1);
    harness.state_mut().app().open(picture("bag.png"));
    wait(&mut harness, "picture", |app| app.pictures().count() == 2);
    harness.key_press(Key::ArrowRight);
    harness.key_press(Key::Num2);
    settle(&mut harness);
    assert!(harness.state_mut().app().lost().is_none() && shows(&harness, "bag.png"));

    let device = harness.state().screen.device.clone();
    device.destroy();
    // As the next submission does.
    device.poll(wgpu::PollType::Poll).unwrap();
    // The worker finds out too, and nobody panics.
    harness.key_press(Key::Num1);
    harness.run_steps(4);
    assert!(harness.state_mut().app().lost().is_some());
    assert!(!shows(&harness, "bag.png") && !shows(&harness, "Open"));
    let session = harness.state_mut().app().session();
    drop(harness);

    let mut harness = window(SMALL, Theme::Dark, session.settings.clone());
    harness.run_steps(1);
    harness.state_mut().app().resume(session);
    wait(&mut harness, "pictures", |app| app.pictures().eq(["pasted", "bag.png"]));
    settle(&mut harness);
    assert_eq!(best(&mut harness), "Bag");
    assert!(shows(&harness, "filters of"));
}

#[test]
fn everything_has_its_place_in_small_and_large_windows() {
    let mut harness = standard();
    open(&mut harness, &["coffee.png", "bag.png", "coat.png"]);
    for (size, scale, least) in [
        (SMALL, 1.0, 0.3),
        (vec2(3840.0, 2160.0), 1.0, 0.6),
        (vec2(1920.0, 1080.0), 2.0, 0.5),
        (vec2(640.0, 480.0), 1.0, 0.15),
    ] {
        harness.set_pixels_per_point(scale).step();
        harness.set_size(size);
        harness.run_steps(4);
        settle(&mut harness);
        let whole = Rect::from_min_size(pos2(0.0, 0.0), size);
        let rects = |role| harness.query_all_by_role(role).map(|node| node.rect()).collect::<Vec<_>>();
        let buttons = rects(Role::Button);
        assert!(buttons.len() > 20, "{size}: {} buttons", buttons.len());
        for (at, button) in buttons.iter().enumerate() {
            assert!(whole.contains_rect(*button), "{size}: {button}");
            let over = buttons[..at].iter().find(|other| other.shrink(1.0).intersects(button.shrink(1.0)));
            assert!(over.is_none(), "{size}: {button} lies over {over:?}");
        }
        // The picture and the maps take most of the window, whatever its size.
        let [shown, maps] = ["coffee.png: ", "conv1: 48 maps"].map(|name| {
            let nodes = harness.query_all_by(|node| {
                node.role() == Role::Image && node.label().is_some_and(|label| label.contains(name))
            });
            let rects: Vec<_> = nodes.map(|node| node.rect()).collect();
            assert!(rects.len() == 1 && whole.contains_rect(rects[0]), "{size}: {name} {rects:?}");
            rects[0]
        });
        let width = shown.width() / size.x;
        assert!((0.3..0.5).contains(&width), "{size}: the picture takes {width} of the width");
        let share = (shown.area() + maps.area()) / whole.area();
        assert!(share > least, "{size}: picture and maps take {share} of the window");
    }
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
    // By gradients.
    for method in ["Grad-CAM", "Guided gradients", "Integrated gradients"] {
        let shown = harness.state_mut().app().settings().method.name();
        harness.get_by_value(shown).click();
        harness.run_steps(4);
        harness.get_by_label(method).click();
        harness.run_steps(4);
        settle(&mut harness);
        let app = harness.state_mut().app();
        assert_eq!((app.settings().method.name(), app.heat_progress()), (method, Some(1.0)));
        assert!(app.messages().is_empty(), "{:?}", app.messages());
        if method == "Grad-CAM" {
            snapshot(&mut harness, "grad-cam");
        }
    }
}

#[test]
fn two_pictures_are_compared() {
    let mut harness = standard();
    open(&mut harness, &["coffee.png", "chelsea.png"]);
    let coffee = Picture::open(picture("coffee.png")).unwrap();
    let size = [coffee.width() as usize, coffee.height() as usize];
    let mut image = ColorImage::from_rgb(size, coffee.rgb());
    harness.event(Event::PasteImage(Arc::new(image.clone())));
    for row in 100..200 {
        image.pixels[row * size[0] + 200..][..100].fill(eframe::egui::Color32::BLACK);
    }
    harness.event(Event::PasteImage(Arc::new(image)));
    wait(&mut harness, "pasted pictures", |app| app.pictures().count() == 4);
    harness.key_press(Key::Home);
    harness.key_press(Key::Num4);
    settle(&mut harness);
    // The next picture of the same size is the same one.
    let comparison = harness.state_mut().app().comparison().unwrap().clone();
    assert_eq!((comparison.lpips, comparison.max_difference), (0.0, 0));
    assert!(shows(&harness, "LPIPS 0.0000") && shows(&harness, "map of distances"));
    assert!(shows(&harness, "left: coffee.png, right: pasted"));

    harness.key_press(Key::End);
    settle(&mut harness);
    let comparison = harness.state_mut().app().comparison().unwrap().clone();
    assert!(comparison.lpips > 0.01 && comparison.differing > 0.03, "{comparison:?}");
    assert!(shows(&harness, "left: pasted, right: coffee.png"));
    snapshot(&mut harness, "compare");

    // Another size is an answer, not a wait.
    harness.key_press(Key::Home);
    harness.key_press(Key::ArrowRight);
    settle(&mut harness);
    assert!(shows(&harness, "no other picture of this size"));
    harness.get_by_role(Role::ComboBox).click();
    harness.run_steps(3);
    harness.get_by_label("coffee.png · 600×400").click();
    harness.run_steps(3);
    settle(&mut harness);
    assert!(shows(&harness, "expected pictures of the same size, found 451×300 and 600×400"));
    assert_eq!(harness.state_mut().app().messages(), [""; 0]);
}

#[test]
fn the_strip_is_sorted_by_likeness() {
    let mut harness = standard();
    open(&mut harness, &["coffee.png", "trouser.png", "chelsea.png", "dress.png"]);
    harness.get_by_label("trouser.png").click_secondary();
    harness.run_steps(3);
    harness.get_by_label("Sort by likeness to this one").click();
    harness.run_steps(3);
    settle(&mut harness);
    let names: Vec<String> = harness.state_mut().app().pictures().map(String::from).collect();
    // A garment on black is more like another one than a photograph is.
    assert_eq!(names[..2], ["trouser.png", "dress.png"], "{names:?}");
    assert_eq!(harness.state_mut().app().messages(), [""; 0]);
}

#[test]
fn the_trunk_shows_maps_and_names_no_classes() {
    let mut harness = window(SMALL, Theme::Dark, Settings { source: Source::ImageNet, ..Settings::default() });
    open(&mut harness, &["coffee.png"]);
    assert!(shows(&harness, "names no classes") && shows(&harness, "conv1: 64 maps of 55×55"));
    harness.key_press(Key::Num2);
    settle(&mut harness);
    assert!(shows(&harness, "conv1: 64 filters of 11×11 pixels"));
    assert_eq!(harness.state_mut().app().messages(), [""; 0]);
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
