//! The window. `alexnet-desktop [PICTURE, FOLDER or WEIGHTS]...`

use std::{path::PathBuf, process::ExitCode, sync::Arc, time::Instant};

use alexnet_desktop::{App, Settings, device_descriptor};
use eframe::{
    egui::{self, ViewportBuilder},
    egui_wgpu::{WgpuConfiguration, WgpuSetup, WgpuSetupCreateNew},
};

/// The app in a window of eframe's.
struct Window {
    app: App,
    start: Instant,
    shown: bool,
    classified: bool,
}

impl eframe::App for Window {
    fn ui(&mut self, ui: &mut egui::Ui, _frame: &mut eframe::Frame) {
        self.app.ui(ui);
        let elapsed = self.start.elapsed().as_millis();
        if !std::mem::replace(&mut self.shown, true) {
            log::info!("first frame after {elapsed} ms");
        }
        if !self.classified && self.app.classes().is_some() {
            self.classified = true;
            log::info!("first classes after {elapsed} ms");
        }
    }

    fn save(&mut self, storage: &mut dyn eframe::Storage) {
        eframe::set_value(storage, eframe::APP_KEY, self.app.settings());
    }
}

fn main() -> ExitCode {
    let start = Instant::now();
    env_logger::init();
    let paths: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let setup = WgpuSetupCreateNew {
        device_descriptor: Arc::new(device_descriptor),
        ..WgpuSetupCreateNew::without_display_handle()
    };
    let options = eframe::NativeOptions {
        viewport: ViewportBuilder::default()
            .with_title("AlexNet")
            .with_app_id("alexnet-desktop")
            .with_inner_size([1100.0, 760.0])
            .with_min_inner_size([640.0, 480.0])
            .with_drag_and_drop(true),
        wgpu_options: WgpuConfiguration { wgpu_setup: WgpuSetup::CreateNew(setup), ..Default::default() },
        ..Default::default()
    };
    let create = move |context: &eframe::CreationContext<'_>| -> Result<Box<dyn eframe::App>, _> {
        let screen = context.wgpu_render_state.clone().ok_or("the window is not drawn by wgpu")?;
        let remembered = context.storage.and_then(|storage| eframe::get_value::<Settings>(storage, eframe::APP_KEY));
        let mut app = App::new(&context.egui_ctx, screen, remembered.unwrap_or_default())?;
        for path in paths {
            app.open(path);
        }
        Ok(Box::new(Window { app, start, shown: false, classified: false }))
    };
    match eframe::run_native("alexnet-wgpu", options, Box::new(create)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!(
                "alexnet-desktop: no window: {e}; it needs a display, and a GPU driver or Mesa's software Vulkan"
            );
            ExitCode::FAILURE
        }
    }
}
