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
#[cfg(test)]
mod lost_device;
mod manual;
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

use std::{
    env,
    io::{self, Write},
    path::Path,
    process::ExitCode,
};

use clap::{ColorChoice, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::failure::Failure;

/// What most people come for, shown where no command is given.
const FIRST_STEPS: &str = "\
AlexNet on any GPU

  alexnet classify shoe.jpg              say what is in a picture
  alexnet train pictures/                learn your own classes, from a folder for each
  alexnet compare before.png after.png   measure how alike two pictures look

`alexnet help` lists all commands, `alexnet help COMMAND` explains one.";

const FOOTER: &str = "\
Examples:
  alexnet classify shoe.jpg
  alexnet train pictures/
  alexnet classify cat.jpg --weights pictures-model/best.safetensors
  alexnet compare expected.png actual.png

`alexnet help COMMAND` explains a command and lists its options. RUST_LOG=warn (or info, debug) prints the graphics \
library's log.";

/// The commands by what they are for, as the help lists them.
const GROUPS: [(&str, &[&str]); 5] = [
    ("Pictures", &["classify", "compare", "features", "index", "search"]),
    ("Your own classes", &["train", "eval"]),
    ("Inside the network", &["explain", "dream"]),
    ("Weights", &["fetch", "info", "convert"]),
    ("This machine", &["adapters", "bench", "tune", "doctor", "completions", "man"]),
];

/// AlexNet on any GPU: classifies and compares pictures, learns classes, and reads any layer
#[derive(Debug, Parser)]
#[command(name = "alexnet", version, after_help = FOOTER, disable_help_subcommand = true)]
struct Cli {
    /// Show no progress, notes or warnings; errors are still reported
    #[arg(long, short, global = true, display_order = 900)]
    quiet: bool,
    /// When to use colours: auto, always or never
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto", hide_default_value = true)]
    #[arg(hide_possible_values = true, display_order = 901)]
    color: ColorChoice,
    #[command(subcommand)]
    command: Command,
}

impl Cli {
    /// The arguments' definition, with the commands in groups.
    fn definition() -> clap::Command {
        let definition = Self::command();
        let about = |name: &&str| {
            let about = definition.find_subcommand(name).and_then(clap::Command::get_about);
            format!("  {name:11}  {}\n", about.map(ToString::to_string).unwrap_or_default())
        };
        let group = |&(title, names): &(&str, &[&str])| {
            let lines: String = names.iter().map(about).collect();
            format!("{title}:\n{lines}\n")
        };
        let groups: String = GROUPS.iter().map(group).collect();
        definition.help_template(format!(
            "{{about-with-newline}}\n{{usage-heading}} {{usage}}\n\n{groups}{{options}}{{after-help}}"
        ))
    }
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
    Completions(manual::CompletionsArgs),
    Man(manual::ManArgs),
    Help(manual::HelpArgs),
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
            Self::Completions(args) => manual::completions(args, Cli::definition()),
            Self::Man(args) => manual::man(args, Cli::definition()),
            Self::Help(args) => manual::help(args, Cli::definition()),
        }
    }
}

fn main() -> ExitCode {
    quiet_wayland();
    bus_error::explain();
    // Drivers log errors of mere attempts; the user gets the one that matters.
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("off")).init();
    if env::args_os().len() < 2 {
        // Where standard error is closed, there is nowhere to show them.
        let _ = writeln!(io::stderr(), "{FIRST_STEPS}");
        return ExitCode::from(2);
    }
    let color = color();
    color_of_output(color).write_global();
    let parsed = Cli::definition().color(color).try_get_matches().and_then(|found| Cli::from_arg_matches(&found));
    let result = match parsed {
        Ok(cli) => {
            if cli.quiet {
                failure::be_quiet();
            }
            cli.command.run()
        }
        Err(asked_for) if !asked_for.use_stderr() => asked_for.exit(),
        Err(error) => Err(Failure::arguments(&error)),
    };
    result.unwrap_or_else(Failure::report)
}

/// The value of --color, which is also wanted for messages about arguments that do not parse.
fn color() -> ColorChoice {
    let arguments: Vec<_> = env::args_os().collect();
    let after = arguments.windows(2).find(|pair| pair[0] == "--color").and_then(|pair| pair[1].to_str());
    let joined = || arguments.iter().find_map(|argument| argument.to_str()?.strip_prefix("--color="));
    after.or_else(joined).and_then(|value| value.parse().ok()).unwrap_or_default()
}

fn color_of_output(choice: ColorChoice) -> anstream::ColorChoice {
    match choice {
        ColorChoice::Auto => anstream::ColorChoice::Auto,
        ColorChoice::Always => anstream::ColorChoice::Always,
        ColorChoice::Never => anstream::ColorChoice::Never,
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_is_in_a_group() {
        let definition = Cli::definition();
        let mut commands: Vec<&str> = definition.get_subcommands().map(clap::Command::get_name).collect();
        commands.retain(|name| *name != "help");
        let mut grouped: Vec<&str> = GROUPS.iter().flat_map(|(_, names)| names.iter().copied()).collect();
        commands.sort_unstable();
        grouped.sort_unstable();
        assert_eq!(commands, grouped);
    }
}
