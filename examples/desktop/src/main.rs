//! The window, and its arguments.

use std::{
    env,
    ffi::OsString,
    panic::{self, AssertUnwindSafe},
    path::{self, PathBuf},
    process::{Command, ExitCode},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use alexnet_desktop::{
    App, Session, Settings, device_descriptor,
    pictures::{Incoming, SAMPLES},
};
use clap::Parser;
use eframe::{
    egui::{self, ViewportBuilder},
    egui_wgpu::{WgpuConfiguration, WgpuSetup, WgpuSetupCreateNew},
    wgpu,
};
use serde::{Deserialize, Serialize};

/// What a program is told that takes over, a [`Handed`] as JSON; its arguments are the pictures.
const TAKES_OVER: &str = "ALEXNET_DESKTOP_TAKES_OVER";
/// What an argument of such a program begins with that is one of the samples; those that are files are whole paths.
const SAMPLE: &str = "sample:";
/// In debug builds, for tests: after how many milliseconds the first window's device is destroyed ("6000"), or destroyed
/// amid a frame, which egui's renderer does not survive ("6000 amid").
const LOSE_DEVICE: &str = "ALEXNET_DESKTOP_LOSE_DEVICE";
/// A window that breaks down sooner than this is not opened anew.
const WORTH_A_TRY: Duration = Duration::from_secs(5);

/// See what AlexNet sees: the classes of pictures, every layer's feature maps, and heat maps
#[derive(Parser)]
#[command(version)]
struct Args {
    /// Pictures, folders of pictures, or a weight file
    #[arg(value_name = "FILE")]
    paths: Vec<PathBuf>,
}

/// What a window that broke down leaves to the next one.
#[derive(Default)]
struct Left {
    session: Session,
    /// Why its device was lost, where it was.
    lost: Option<String>,
}

/// What a program that takes over goes on with, but for the pictures.
#[derive(Serialize, Deserialize)]
struct Handed {
    reason: String,
    selected: usize,
    settings: Settings,
}

/// The app in a window of eframe's.
struct Window {
    app: App,
    device: wgpu::Device,
    start: Instant,
    shown: bool,
    classified: bool,
    longest: f32,
    lose: Option<Lose>,
    left: Arc<Mutex<Left>>,
}

/// What [`LOSE_DEVICE`] asks for.
struct Lose {
    device: wgpu::Device,
    at: Instant,
    amid: bool,
}

impl Lose {
    fn asked(device: &wgpu::Device) -> Option<Self> {
        let asked = env::var(LOSE_DEVICE).ok().filter(|_| cfg!(debug_assertions))?;
        let (after, amid) = asked.strip_suffix(" amid").map_or((asked.as_str(), false), |after| (after, true));
        Some(Self { device: device.clone(), at: Instant::now() + Duration::from_millis(after.parse().ok()?), amid })
    }
}

impl eframe::App for Window {
    fn ui(&mut self, ui: &mut egui::Ui, frame: &mut eframe::Frame) {
        let lose = self.lose.take_if(|lose| Instant::now() > lose.at);
        if let Some(Lose { device, amid: false, .. }) = &lose {
            device.destroy();
            // Tells the app.
            let _ = device.poll(wgpu::PollType::Poll);
        } else if let Some(lose) = &self.lose {
            ui.ctx().request_repaint_after(lose.at.saturating_duration_since(Instant::now()));
        }
        self.app.ui(ui);
        if let Some(Lose { device, amid: true, .. }) = &lose {
            device.destroy();
        }
        if self.app.lost().is_some() {
            // Nothing can be drawn any more: `main` opens another window, with another device.
            ui.send_viewport_cmd(egui::ViewportCommand::Close);
            return;
        }
        let elapsed = self.start.elapsed().as_millis();
        if !std::mem::replace(&mut self.shown, true) {
            log::info!("first frame after {elapsed} ms");
        } else if let Some(took) = frame.info().cpu_usage.filter(|&took| took > self.longest) {
            // Everything but the wait for the screen.
            self.longest = took;
            log::debug!("longest frame: {:.1} ms", 1e3 * took);
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

impl Drop for Window {
    fn drop(&mut self) {
        // What ended the window may be the loss of its device, of which nobody was told yet.
        let _ = panic::catch_unwind(AssertUnwindSafe(|| self.device.poll(wgpu::PollType::Poll)));
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        *left = Left { session: self.app.session(), lost: self.app.lost().map(str::to_string) };
    }
}

/// Shows a window until it is closed. `before` is what the window before left, and why it broke down.
fn show(
    start: Instant,
    paths: &[PathBuf],
    before: Option<(Session, String)>,
    left: &Arc<Mutex<Left>>,
) -> eframe::Result {
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
    let (paths, left) = (paths.to_vec(), left.clone());
    let create = move |context: &eframe::CreationContext<'_>| -> Result<Box<dyn eframe::App>, _> {
        let screen = context.wgpu_render_state.clone().ok_or("the window is not drawn by wgpu")?;
        let device = screen.device.clone();
        let lose = if before.is_none() { Lose::asked(&device) } else { None };
        let remembered = context.storage.and_then(|storage| eframe::get_value::<Settings>(storage, eframe::APP_KEY));
        let settings = before.as_ref().map(|(session, _)| session.settings.clone()).or(remembered).unwrap_or_default();
        let mut app = App::new(&context.egui_ctx, screen, settings.checked())?;
        if let Some((session, reason)) = before {
            app.say(reason);
            app.resume(session);
        } else {
            for path in paths {
                app.open(path);
            }
        }
        Ok(Box::new(Window { app, device, start, shown: false, classified: false, longest: 0.0, lose, left }))
    };
    eframe::run_native("alexnet-wgpu", options, Box::new(create))
}

/// Says that there is no display, without winit's paths of source files; then there are no dialogs either.
fn no_display(error: &dyn std::error::Error) -> ExitCode {
    log::debug!("{error}");
    eprintln!(
        "alexnet-desktop: expected a display to open a window on, found none: start this program in a desktop session (there, \
         DISPLAY or WAYLAND_DISPLAY is set), or use the `alexnet` command, which needs no display"
    );
    ExitCode::FAILURE
}

/// Says something for the last time, where there is no window to say it in.
fn give_up(reason: &str) -> ExitCode {
    eprintln!("alexnet-desktop: {reason}");
    let dialog = rfd::MessageDialog::new().set_level(rfd::MessageLevel::Error).set_title("AlexNet");
    let _ = panic::catch_unwind(AssertUnwindSafe(|| dialog.set_description(reason).show()));
    ExitCode::FAILURE
}

/// Goes on with a session in another process, until that ends: winit's event loop does not survive a panic.
fn take_over(session: Session, mut reason: String) -> std::io::Result<ExitCode> {
    let argument = |picture: &Incoming| match picture {
        Incoming::Path(path) => path::absolute(path).map(OsString::from).ok(),
        Incoming::Bytes(name, _) => Some(format!("{SAMPLE}{name}").into()),
        Incoming::Pixels(_) => None,
    };
    let arguments: Vec<Option<OsString>> = session.pictures.iter().map(argument).collect();
    if arguments.contains(&None) {
        reason += "; pasted pictures are gone, paste them again";
    }
    let selected = arguments.iter().take(session.selected).flatten().count();
    let handed = serde_json::to_string(&Handed { reason, selected, settings: session.settings })?;
    let mut command = Command::new(env::current_exe()?);
    command.arg("--").args(arguments.into_iter().flatten()).env(TAKES_OVER, handed).env_remove(LOSE_DEVICE);
    Ok(if command.status()?.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What [`take_over`] gave this program, with its arguments, if it did.
fn taken_over(arguments: &[PathBuf]) -> Option<(Session, String)> {
    let Handed { reason, selected, settings } = serde_json::from_str(&env::var(TAKES_OVER).ok()?).ok()?;
    let picture = |argument: &PathBuf| {
        let sample = argument.to_str().and_then(|argument| argument.strip_prefix(SAMPLE));
        let known = SAMPLES.iter().find(|(name, _)| Some(*name) == sample);
        known.map_or_else(|| Incoming::Path(argument.clone()), |(name, bytes)| Incoming::sample(name, bytes))
    };
    Some((Session { pictures: arguments.iter().map(picture).collect(), selected, settings }, reason))
}

fn main() -> ExitCode {
    let mut start = Instant::now();
    let Args { paths } = Args::parse();
    env_logger::init();
    let mut before = taken_over(&paths);
    loop {
        let left = Arc::<Mutex<Left>>::default();
        let shown = panic::catch_unwind(AssertUnwindSafe(|| show(start, &paths, before.take(), &left)));
        let left = std::mem::take(&mut *left.lock().unwrap_or_else(PoisonError::into_inner));
        let (why, advice) = match (&shown, left.lost) {
            (_, Some(reason)) => (
                format!("the graphics device was lost ({reason})"),
                "if that happens again, choose another adapter or smaller weights, or look for a newer driver",
            ),
            (Ok(Ok(())), None) => return ExitCode::SUCCESS,
            (Ok(Err(eframe::Error::Winit(error))), None) => return no_display(error),
            (Ok(Err(eframe::Error::WinitEventLoop(error))), None) => return no_display(error),
            (Ok(Err(error)), None) => {
                return give_up(&format!(
                    "no window: {error}; it needs a GPU driver, or Mesa's software Vulkan, that can draw a window"
                ));
            }
            (Err(_), None) => (
                "the window broke down".into(),
                "this should not have happened, please report it with what the terminal says",
            ),
        };
        if start.elapsed() < WORTH_A_TRY {
            return give_up(&format!("{why} right after the start; {advice}"));
        }
        let reason = format!("{why}, so this window was opened anew; {advice}");
        log::warn!("{reason}");
        if shown.is_err() {
            return take_over(left.session, reason)
                .unwrap_or_else(|e| give_up(&format!("{why}, and it could not be opened anew: {e}; {advice}")));
        }
        start = Instant::now();
        before = Some((left.session, reason));
    }
}
