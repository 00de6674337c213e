//! The window without a screen: what people do in it, and what they then see.
//!
//! Pictures are drawn by Mesa's software Vulkan where there is one, and compared with `tests/snapshots/`;
//! `UPDATE_SNAPSHOTS=1` writes them anew.
#![allow(clippy::unwrap_used, reason = "tests")]

mod answers;
mod device;
mod looks;
mod opening;
mod training;
mod views;
mod weights;

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
    kittest::{NodeT, Queryable},
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
