//! `alexnet help`, `completions` and `man`: what the arguments' definition can be turned into.

use std::{
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
};

use alexnet_wgpu::write_atomically;
use clap::Command;
use clap_complete::Shell;
use clap_mangen::Man;

use crate::failure::Failure;

/// Explain a command
#[derive(Debug, clap::Args)]
pub struct HelpArgs {
    /// The command; without it, all commands are listed
    #[arg(value_name = "COMMAND")]
    command: Option<String>,
}

/// Print a shell's completions of commands and options
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  alexnet completions bash > ~/.local/share/bash-completion/completions/alexnet
  alexnet completions zsh > \"${fpath[1]}/_alexnet\"
  alexnet completions fish > ~/.config/fish/completions/alexnet.fish")]
pub struct CompletionsArgs {
    /// The shell
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

/// Print the manual page, or write a page for each command
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  alexnet man | man -l -
  alexnet man ~/.local/share/man/man1")]
pub struct ManArgs {
    /// A folder for alexnet.1, alexnet-classify.1 and so on
    #[arg(value_name = "DIR")]
    folder: Option<PathBuf>,
}

/// Prints what `alexnet COMMAND --help` prints.
pub fn help(args: &HelpArgs, definition: Command) -> Result<ExitCode, Failure> {
    if let Some(name) = args.command.as_ref().filter(|name| definition.find_subcommand(name).is_none()) {
        return Err(Failure::usage(format!("there is no command {name}: `alexnet help` lists all commands")));
    }
    let words = ["alexnet"].into_iter().chain(args.command.as_deref()).chain(["--help"]);
    if let Err(help) = definition.try_get_matches_from(words) {
        help.print().map_err(Failure::output)?;
    }
    Ok(ExitCode::SUCCESS)
}

pub fn completions(args: &CompletionsArgs, mut definition: Command) -> Result<ExitCode, Failure> {
    // In memory first: the generator panics where its output is closed.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut definition, "alexnet", &mut script);
    io::stdout().lock().write_all(&script).map_err(Failure::output)?;
    Ok(ExitCode::SUCCESS)
}

pub fn man(args: &ManArgs, mut definition: Command) -> Result<ExitCode, Failure> {
    definition.build();
    let Some(folder) = &args.folder else {
        io::stdout().lock().write_all(&page(definition)?).map_err(Failure::output)?;
        return Ok(ExitCode::SUCCESS);
    };
    let write = |name: &str, command: Command| -> Result<(), Failure> {
        let path = folder.join(format!("{name}.1"));
        let page = page(command)?;
        write_atomically(&path, |file| file.write_all(&page)).map_err(|e| Failure::cannot_write(&path, e))
    };
    for command in definition.get_subcommands() {
        let name = format!("alexnet-{}", command.get_name());
        write(&name, command.clone().name(name.clone()))?;
    }
    write("alexnet", definition)?;
    writeln!(io::stdout(), "{}", folder.join("alexnet.1").display()).map_err(Failure::output)?;
    Ok(ExitCode::SUCCESS)
}

fn page(command: Command) -> Result<Vec<u8>, Failure> {
    let mut page = Vec::new();
    Man::new(command).render(&mut page)?;
    Ok(page)
}
