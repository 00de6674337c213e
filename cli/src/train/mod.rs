//! `alexnet train`: from a folder of class folders to a model.

mod checkpoint;
mod colour;
mod data;
mod events;
mod examples;
mod features;
mod log;
mod report;
mod session;
mod task;

use std::{path::PathBuf, process::ExitCode, time::Duration};

use alexnet_wgpu::train::{Init, Optimizer, SgdForm};
use clap::ValueEnum;

use self::{data::Data, examples::Examples, session::Session, task::Task};
use crate::{
    failure::Failure,
    network::NetworkArg,
    options::{GpuArgs, MODEL, PreprocessingArgs},
    signals,
};

const EXAMPLES: &str = "\
Examples:
  alexnet train pictures/              one folder a class: makes pictures-model/
  alexnet classify cat.jpg --weights pictures-model/best.safetensors
  alexnet train pictures/ --dry-run    look at the pictures, train nothing
  alexnet train pictures/ --resume     go on where it was stopped
  alexnet train pictures/ --recipe paper --size 67 --width 0.5

The default recipe, finetune, keeps AlexNet's convolutions as ImageNet trained them and trains what follows: two fully \
connected layers on their features, which are computed once. The other recipes train a whole network from random \
weights, or from those that --weights names.

The folder of the model gets best.safetensors (the best on the pictures held back), last.safetensors (from which \
--resume goes on), metrics.csv, and report.html: curves, what is taken for what, the worst mistakes.

Exit codes: 0 done, or stopped by Ctrl-C with the last step saved; 1 the pictures, a file or the device failed; 2 \
invalid arguments.";

/// Train a network on a folder with pictures of each class
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// A folder with a folder of pictures for each class; the folders' names are the labels
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// Pictures that are held back to measure the accuracy: a folder like DIR, or a share of DIR's (0 for none)
    #[arg(long, value_name = "DIR|FRACTION", default_value = "0.2", help_heading = "Pictures")]
    val: String,
    /// The folder of the model; by default DIR-model
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// What is trained, and how
    #[arg(long, value_name = "NAME", default_value = "finetune")]
    recipe: Recipe,
    /// Weights to start from, or the name of fetched ones: finetune takes the layers before the first fully connected one as
    /// they are, the other recipes train all of them. The last layer starts anew where the classes differ
    #[arg(long, value_name = "FILE|NAME", conflicts_with_all = ["width", "size"], help_heading = MODEL)]
    weights: Option<PathBuf>,
    /// The network that is trained from nothing, or that --weights belong to: ungrouped, paper, caffe, caffenet or torchvision,
    /// or any other as JSON (see `alexnet info --write-network`), whose last layer gets an output for each class; by default
    /// ungrouped, or the one of the weights
    #[arg(long, value_name = "NAME|FILE", help_heading = MODEL)]
    network: Option<NetworkArg>,
    /// Leave the layers up to this one as they are
    #[arg(long, value_name = "LAYER", help_heading = MODEL)]
    freeze: Option<String>,
    /// The filters of a named network and the outputs of its fc6 and fc7, as a factor of the published ones
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0, help_heading = MODEL)]
    width: f64,
    /// Side of the network's input in pixels; by default its own
    #[arg(long, value_name = "PIXELS", help_heading = MODEL)]
    size: Option<usize>,
    /// Outputs of the one or two layers before finetune's last one, as in 256 or 256,256; 0 for the last one only
    #[arg(long, value_name = "N", value_delimiter = ',', default_values_t = [256], help_heading = MODEL)]
    hidden: Vec<usize>,
    /// Passes over the pictures
    #[arg(long, value_name = "N", help_heading = "Training")]
    epochs: Option<u64>,
    /// Ends after so many steps
    #[arg(long, value_name = "N", help_heading = "Training")]
    steps: Option<u64>,
    /// Ends after so many minutes
    #[arg(long, value_name = "MINUTES", help_heading = "Training")]
    max_time: Option<f64>,
    /// Ends after so many epochs in which the pictures held back did not get better
    #[arg(long, value_name = "EPOCHS", help_heading = "Training")]
    patience: Option<u64>,
    /// Pictures in a step
    #[arg(long, value_name = "N", help_heading = "Training")]
    batch: Option<usize>,
    /// Pictures computed at once, whose gradients are added up; by default the whole batch
    #[arg(long, value_name = "N", help_heading = "Training")]
    at_once: Option<usize>,
    /// Learning rate
    #[arg(long, value_name = "RATE", help_heading = "Training")]
    lr: Option<f32>,
    /// How the learning rate changes
    #[arg(long, value_name = "NAME", help_heading = "Training")]
    schedule: Option<ScheduleName>,
    /// The optimiser
    #[arg(long, value_name = "NAME", help_heading = "Training")]
    optimizer: Option<OptimizerName>,
    /// Momentum of SGD
    #[arg(long, value_name = "SHARE", default_value_t = 0.9, help_heading = "Training")]
    momentum: f32,
    /// Weight decay
    #[arg(long, value_name = "FACTOR", help_heading = "Training")]
    weight_decay: Option<f32>,
    /// Scale the gradients down where the norm of all together is larger
    #[arg(long, value_name = "NORM", help_heading = "Training")]
    clip: Option<f32>,
    /// The probability with which dropout drops a number
    #[arg(long, value_name = "SHARE", default_value_t = 0.5, help_heading = "Training")]
    dropout: f32,
    /// Random changes of the pictures, for recipes that train a whole network; by default crop and flip, for the paper's pca too
    #[arg(long, value_name = "LIST", value_delimiter = ',', help_heading = "Pictures")]
    augment: Vec<Augment>,
    /// Give each class the same weight, however many pictures it has
    #[arg(long, help_heading = "Pictures")]
    balance: bool,
    /// Seed of all random numbers
    #[arg(long, value_name = "N", default_value_t = 0, help_heading = "Training")]
    seed: u64,
    /// The order of the pictures: random, anew in each epoch, or by path, one class after the other
    #[arg(long, value_name = "ORDER", default_value = "random", help_heading = "Pictures")]
    order: Order,
    /// Steps between two saves of last.safetensors, which is saved at the end of an epoch too
    #[arg(long, value_name = "STEPS", default_value_t = 1000)]
    save_every: u64,
    /// Go on from last.safetensors in the folder of the model
    #[arg(long)]
    resume: bool,
    /// Files of the numbers: metrics.csv, a row an epoch; event files for TensorBoard, with each step
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_values = ["csv"])]
    log: Vec<LogFile>,
    /// Only look at the pictures, and say what would be done
    #[arg(long)]
    dry_run: bool,
    /// Print a JSON object for each step and each epoch
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    preprocessing: PreprocessingArgs,
    #[command(flatten)]
    gpu: GpuArgs,
}

/// What is trained, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Recipe {
    /// Two layers on ImageNet's features, by AdamW
    Finetune,
    /// Krizhevsky, Sutskever, Hinton 2012: batch 128, rate 0.01, divided by 10 where it stalls, N(0, 0.01), biases of 1
    Paper,
    /// Caffe's bvlc_alexnet: batch 256, rate 0.01, biases of 0.1 at twice the rate and without decay
    Caffe,
    /// torchvision's: batch 256, rate 0.01, divided by 10 every 30 epochs
    Torchvision,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ScheduleName {
    /// The same rate always
    Constant,
    /// Divided by 10 after each third of the steps
    Step,
    /// Divided by 10 where the pictures held back stall for three epochs
    Plateau,
    /// From the rate to 0 by half a cosine, after a twentieth of the steps in which it rises
    Cosine,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum OptimizerName {
    /// SGD with momentum in PyTorch's form
    Sgd,
    /// The same with Nesterov's momentum
    Nesterov,
    /// SGD with momentum in the form of Caffe and the paper
    CaffeSgd,
    /// AdamW
    Adamw,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Augment {
    /// A random part of the picture
    Crop,
    /// Mirrored or not
    Flip,
    /// Colours moved along the principal components of all pictures' colours, as in the paper
    Pca,
    /// No changes
    None,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Order {
    /// Anew in each epoch
    Random,
    /// By path
    Path,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum LogFile {
    /// metrics.csv
    Csv,
    /// events.out.tfevents…
    Tensorboard,
}

/// The choices of a recipe, with those of the arguments in their place.
#[derive(Clone, Debug)]
struct Plan {
    epochs: u64,
    batch: usize,
    rate: f32,
    schedule: ScheduleName,
    optimizer: Optimizer,
    weight_decay: f32,
    /// Factors of the biases' rate and decay.
    biases: [f32; 2],
    init: Init,
    /// The bias of layers whose inputs would else be negative for most pictures.
    ones: f32,
}

impl Plan {
    fn new(args: &Args) -> Self {
        let mut plan = Self {
            epochs: 90,
            batch: 128,
            rate: 0.01,
            schedule: ScheduleName::Step,
            optimizer: Optimizer::CAFFE_SGD,
            weight_decay: 5e-4,
            biases: [1.0, 1.0],
            init: Init::Normal { deviation: 0.01 },
            ones: 0.0,
        };
        match args.recipe {
            Recipe::Finetune => {
                plan = Self {
                    epochs: 20,
                    batch: 64,
                    rate: 5e-4,
                    schedule: ScheduleName::Cosine,
                    optimizer: Optimizer::ADAMW,
                    weight_decay: 0.01,
                    init: Init::Torch,
                    ..plan
                };
            }
            Recipe::Paper => plan = Self { schedule: ScheduleName::Plateau, ones: 1.0, ..plan },
            Recipe::Caffe => plan = Self { batch: 256, biases: [2.0, 0.0], ones: 0.1, ..plan },
            Recipe::Torchvision => {
                plan = Self { batch: 256, optimizer: Optimizer::SGD, weight_decay: 1e-4, init: Init::Torch, ..plan };
            }
        }
        let sgd = |form, nesterov| Optimizer::Sgd { form, momentum: args.momentum, nesterov };
        plan.optimizer = match args.optimizer {
            None => match plan.optimizer {
                Optimizer::Sgd { form, nesterov, .. } => sgd(form, nesterov),
                other => other,
            },
            Some(OptimizerName::Sgd) => sgd(SgdForm::Torch, false),
            Some(OptimizerName::Nesterov) => sgd(SgdForm::Torch, true),
            Some(OptimizerName::CaffeSgd) => sgd(SgdForm::Caffe, false),
            Some(OptimizerName::Adamw) => Optimizer::ADAMW,
        };
        plan.epochs = args.epochs.unwrap_or(plan.epochs);
        plan.batch = args.batch.unwrap_or(plan.batch);
        plan.rate = args.lr.unwrap_or(plan.rate);
        plan.schedule = args.schedule.unwrap_or(plan.schedule);
        plan.weight_decay = args.weight_decay.unwrap_or(plan.weight_decay);
        plan
    }
}

pub fn run(args: &Args) -> Result<ExitCode, Failure> {
    check(args)?;
    let plan = Plan::new(args);
    let data = Data::find(&args.folder, &args.val)?;
    data.describe(args.json)?;
    if data.training.is_empty() {
        return Err(Failure::run("expected pictures to train on, found none: hold back fewer with --val"));
    }
    let task = Task::new(args, &plan, &data.labels)?;
    if args.dry_run {
        return task.describe(args, &plan, &data);
    }
    let out = args.out();
    // Before anything takes long.
    if args.resume && !checkpoint::exists(&out) {
        return Err(Failure::run(format!(
            "{}: expected what a training goes on from, found no such file",
            checkpoint::last(&out).display()
        )));
    }
    if !args.resume && checkpoint::exists(&out) {
        return Err(Failure::run(format!(
            "{}: expected no model there, found one: go on from it with --resume, or name another folder with --out",
            out.display()
        )));
    }
    let gpu = args.gpu.open()?;
    session::builder(&gpu, args, &plan, &task, &data).check()?;
    std::fs::create_dir_all(&out).map_err(|e| Failure::run(format!("cannot make {}: {e}", out.display())))?;
    let stop = signals::stop();
    let Some(examples) = Examples::new(&gpu, &task, &data, args, &out, &stop)? else { return Ok(ExitCode::SUCCESS) };
    Session::new(args, plan, task, data, examples, (out, stop), &gpu)?.run()
}

fn check(args: &Args) -> Result<(), Failure> {
    let fail = |what: String| Err(Failure::usage(format!("expected {what}")));
    if args.batch == Some(0) || args.at_once == Some(0) {
        return fail("a batch of at least one picture, found 0".into());
    }
    if args.lr.is_some_and(|rate| !(rate > 0.0 && rate.is_finite())) {
        return fail(format!("a learning rate above 0, found {}", args.lr.unwrap_or_default()));
    }
    if !(args.width > 0.0 && args.width <= 16.0) {
        return fail(format!("a width above 0 and at most 16, found {}", args.width));
    }
    if let Some(minutes) = args.max_time.filter(|minutes| !(0.0..).contains(minutes)) {
        return fail(format!("a --max-time of at least 0 minutes, found {minutes}"));
    }
    if args.recipe == Recipe::Finetune && args.weights.is_none() && args.network.is_some() {
        return fail("--network with --weights, or with a recipe other than finetune, found neither".into());
    }
    if args.hidden.len() > 2 || args.hidden.len() == 2 && args.hidden.contains(&0) {
        return fail(format!("--hidden with one or two numbers of outputs, or 0, found {:?}", args.hidden));
    }
    if !args.folder.is_dir() {
        return Err(Failure::run(format!("{}: expected a folder, found none", args.folder.display())));
    }
    Ok(())
}

impl Args {
    /// The folder of the model.
    fn out(&self) -> PathBuf {
        self.out.clone().unwrap_or_else(|| {
            let folder = self.folder.canonicalize().unwrap_or_else(|_| self.folder.clone());
            let mut name = folder.file_name().unwrap_or_default().to_os_string();
            name.push("-model");
            self.folder.parent().map_or_else(|| PathBuf::from(&name), |parent| parent.join(&name))
        })
    }

    /// The random changes of the pictures.
    fn augment(&self) -> Vec<Augment> {
        match &self.augment[..] {
            [] if self.recipe == Recipe::Paper => vec![Augment::Crop, Augment::Flip, Augment::Pca],
            [] => vec![Augment::Crop, Augment::Flip],
            list if list.contains(&Augment::None) => vec![],
            list => list.to_vec(),
        }
    }

    fn max_time(&self) -> Option<Duration> {
        self.max_time.and_then(|minutes| Duration::try_from_secs_f64(60.0 * minutes).ok())
    }
}
