//! The `alexnet` command: pictures in, labels or features out, on any GPU.

mod adapters;
mod ahead;
mod bench;
mod bus_error;
mod choices;
mod classify;
mod compare;
mod convert;
mod doctor;
mod dream;
mod eval;
mod explain;
mod failure;
mod features;
mod fetch;
mod files;
mod index;
mod info;
mod labels;
mod network;
mod npy;
mod npz;
mod options;
mod output;
mod pictures;
mod progress;
mod roofline;
mod search;
mod signals;
mod spool;
#[cfg(feature = "parquet")]
mod table;
mod text;
mod train;
mod tune;

use std::{env, path::Path, process::ExitCode};

use clap::{Parser, Subcommand, error::ErrorKind};

use crate::failure::Failure;

const FOOTER: &str = "\
Examples:
  alexnet classify shoe.jpg                                classify a picture
  alexnet compare expected.png actual.png                  measure how alike two pictures are
  alexnet train pictures/                                  your own classes, from a folder for each
  alexnet index photos/                                    make a folder of pictures searchable
  alexnet search shoe.jpg photos/                          find look-alikes of a picture
  alexnet explain shoe.jpg --output heat.png               the pixels that a class rests on
  alexnet dream --layer conv5 --channel 12 --output d.png  the picture that a channel answers to most
  alexnet features shoe.jpg --layer fc7 --output shoe.npy  write a layer's activation
  alexnet adapters                                         list the adapters
  alexnet bench                                            measure the speed
  alexnet doctor                                           test the drivers
  alexnet tune                                             choose the fastest kernels for this machine
  alexnet info alexnet.pth                                 describe a weight file
  alexnet convert alexnet.pth alexnet.safetensors          one file with network, preprocessing and labels
  alexnet eval pictures/                                   measure the accuracy
  alexnet fetch                                            list the published weights

`alexnet COMMAND --help` lists the options of a command.
RUST_LOG=warn (or info, debug) prints the graphics library's log.";

/// AlexNet on any GPU: classifies pictures and reads any layer
#[derive(Debug, Parser)]
#[command(name = "alexnet", version, after_help = FOOTER)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Classify(classify::Args),
    Compare(compare::Args),
    Explain(explain::Args),
    Dream(dream::Args),
    Features(features::Args),
    Index(index::Args),
    Search(search::Args),
    Adapters(adapters::Args),
    Bench(bench::Args),
    Doctor(doctor::Args),
    Tune(tune::Args),
    Info(info::Args),
    Convert(convert::Args),
    Eval(eval::Args),
    Train(train::Args),
    Fetch(fetch::Args),
}

impl Command {
    fn run(&self) -> Result<ExitCode, Failure> {
        match self {
            Self::Classify(args) => classify::run(args),
            Self::Compare(args) => compare::run(args),
            Self::Explain(args) => explain::run(args),
            Self::Dream(args) => dream::run(args),
            Self::Features(args) => features::run(args),
            Self::Index(args) => index::run(args),
            Self::Search(args) => search::run(args),
            Self::Adapters(args) => adapters::run(args),
            Self::Bench(args) => bench::run(args),
            Self::Doctor(args) => doctor::run(args),
            Self::Tune(args) => tune::run(args),
            Self::Info(args) => info::run(args),
            Self::Convert(args) => convert::run(args),
            Self::Eval(args) => eval::run(args),
            Self::Train(args) => train::run(args),
            Self::Fetch(args) => fetch::run(args),
        }
    }
}

fn main() -> ExitCode {
    quiet_wayland();
    bus_error::explain();
    // Drivers log errors of mere attempts; the user gets the one that matters.
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("off")).init();
    let result = match Cli::try_parse() {
        Ok(cli) => cli.command.run(),
        Err(asked_for)
            if !asked_for.use_stderr() || asked_for.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand =>
        {
            asked_for.exit()
        }
        Err(error) => Err(Failure::arguments(&error)),
    };
    result.unwrap_or_else(Failure::report)
}

/// Silences libwayland. Mesa's Vulkan layer that orders GPUs looks for a Wayland display, and libwayland complains on
/// standard error where XDG_RUNTIME_DIR is not a folder, as on servers and in containers. In a folder without a display it
/// keeps quiet.
fn quiet_wayland() {
    const FOLDER: &str = "XDG_RUNTIME_DIR";
    let named = env::var_os(FOLDER).is_some_and(|folder| Path::new(&folder).is_absolute());
    if cfg!(target_os = "linux") && !named {
        // SAFETY: first in `main`, while no other thread is there to read the environment.
        unsafe { env::set_var(FOLDER, "/") };
    }
}
