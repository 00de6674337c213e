//! A training under way: a thread of its own learns the classes of a folder, on the device that the network runs on.

mod curve;
mod folder;
mod run;

use std::{
    io,
    panic::{self, AssertUnwindSafe},
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc::{self, Sender},
    },
    thread,
    time::Duration,
};

use alexnet_wgpu::wgpu;

use self::curve::Curve;
use crate::{
    filters::Filters,
    worker::{Adapter, SOON, broken},
};

/// What is trained.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Recipe {
    /// Two fully connected layers on the features of ImageNet's convolutions.
    #[default]
    Head,
    /// A small AlexNet from random weights.
    Whole,
}

impl Recipe {
    pub const ALL: [Self; 2] = [Self::Head, Self::Whole];

    pub fn title(self) -> &'static str {
        match self {
            Self::Head => "New classes for ImageNet's features",
            Self::Whole => "A whole network from random weights",
        }
    }

    pub fn hint(self) -> &'static str {
        match self {
            Self::Head => {
                "Keeps the convolutions that ImageNet trained and trains two layers on them: a minute for some hundreds of \
                 pictures, and the better model of few"
            }
            Self::Whole => {
                "A small AlexNet for pictures of 67×67 pixels: slower, and it needs thousands of pictures, but you see its \
                 filters change"
            }
        }
    }

    /// The usual number of epochs.
    pub fn epochs(self) -> u64 {
        match self {
            Self::Head => 20,
            Self::Whole => 30,
        }
    }
}

/// How far a training is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Looks into the folder.
    #[default]
    Looking,
    /// Waits to be started.
    Ready,
    /// So many pictures are read, and of how many.
    Reading(usize, usize),
    Training,
    /// Waits to go on.
    Stopped,
    Done,
    Failed(String),
}

impl Stage {
    /// Whether it does something.
    pub fn is_busy(&self) -> bool {
        matches!(self, Self::Looking | Self::Reading(..) | Self::Training)
    }
}

/// What was measured at the end of an epoch, or where the training was stopped.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Measured {
    /// Epochs, of which the last one may be a part.
    pub epochs: f64,
    /// Loss and accuracy of the pictures that were trained on since the last one.
    pub training: [f64; 2],
    /// Those of the pictures held back, if there are any.
    pub held: Option<[f64; 2]>,
}

/// What is known of a training.
#[derive(Clone, Debug, Default)]
pub(crate) struct Progress {
    pub stage: Stage,
    pub labels: Vec<String>,
    /// The numbers of pictures that are trained on, held back, and that cannot be read.
    pub training: usize,
    pub held: usize,
    pub unreadable: usize,
    /// Some of those held back, to try the model on.
    pub examples: Vec<PathBuf>,
    pub steps: u64,
    pub total: u64,
    pub losses: Curve,
    pub measured: Vec<Measured>,
    /// The best accuracy on the pictures held back.
    pub best: Option<f64>,
    /// The first layer's filters, where they are trained, and after how many steps.
    pub filters: Option<(u64, Filters)>,
    /// The file of the best model.
    pub saved: Option<PathBuf>,
}

enum Command {
    Start(Recipe, u64),
    GoOn,
}

/// The window's handle of a training. Dropping it stops it.
pub(crate) struct Training {
    pub folder: PathBuf,
    commands: Sender<Command>,
    shared: Arc<Shared>,
}

/// What the thread and the window share.
struct Shared {
    progress: Mutex<Progress>,
    stop: AtomicBool,
    wake: Box<dyn Fn(Duration) + Send + Sync>,
}

impl Shared {
    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes what is known, and has the window show it.
    fn tell(&self, within: Duration, change: impl FnOnce(&mut Progress)) {
        change(&mut self.progress());
        (self.wake)(within);
    }

    fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

impl Training {
    /// Looks into `folder`, then waits for [`Training::start`]. `device` and `queue` are the window's; `wake` is called with each
    /// change, and within which time the window should show it.
    pub fn spawn(
        folder: PathBuf,
        (device, queue): (wgpu::Device, wgpu::Queue),
        adapter: Adapter,
        wake: impl Fn(Duration) + Send + Sync + 'static,
    ) -> io::Result<Self> {
        let (commands, inbox) = mpsc::channel();
        let progress = Mutex::new(Progress::default());
        let shared = Arc::new(Shared { progress, stop: AtomicBool::new(false), wake: Box::new(wake) });
        let (found, told) = (folder.clone(), shared.clone());
        thread::Builder::new().name("training".into()).spawn(move || {
            let open = || crate::worker::open(&adapter, &device, &queue);
            let ended = panic::catch_unwind(AssertUnwindSafe(|| run::work(&found, open, &inbox, &told)));
            if let Err(reason) = ended.unwrap_or_else(|payload| Err(broken(&*payload))) {
                log::warn!("training: {reason}");
                told.tell(SOON, |progress| progress.stage = Stage::Failed(reason));
            }
        })?;
        Ok(Self { folder, commands, shared })
    }

    pub fn start(&self, recipe: Recipe, epochs: u64) {
        let pictures = {
            let progress = self.progress();
            progress.training + progress.held
        };
        self.command(Command::Start(recipe, epochs), Stage::Reading(0, pictures));
    }

    /// Goes on with a training that was stopped.
    pub fn go_on(&self) {
        self.command(Command::GoOn, Stage::Training);
    }

    fn command(&self, command: Command, stage: Stage) {
        self.shared.stop.store(false, Ordering::Relaxed);
        self.progress().stage = stage;
        // A thread that has ended has said so.
        let _ = self.commands.send(command);
    }

    /// Ends it after the step under way.
    pub fn stop(&self) {
        self.shared.stop.store(true, Ordering::Relaxed);
    }

    pub fn progress(&self) -> MutexGuard<'_, Progress> {
        self.shared.progress()
    }
}

impl Drop for Training {
    fn drop(&mut self) {
        self.stop();
    }
}
