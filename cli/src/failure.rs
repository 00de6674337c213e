//! Failures of the command: one line on standard error, and an exit code.

use std::{
    error::Error,
    fmt::Display,
    io::{self, IsTerminal, Write},
    path::Path,
    process::ExitCode,
    sync::atomic::{AtomicBool, Ordering},
};

/// The reason why the command ends early.
#[derive(Debug)]
pub enum Failure {
    /// The arguments are invalid or do not fit together.
    Usage(String),
    /// A file, the adapter or the driver is unsuitable.
    Run(String),
    /// Standard output was closed by its reader.
    OutputClosed,
}

impl Failure {
    /// An error in the arguments.
    pub fn usage(error: impl Display) -> Self {
        Self::Usage(error.to_string())
    }

    /// Any other error, in the command's own words.
    pub fn run(error: impl Display) -> Self {
        Self::Run(error.to_string())
    }

    /// A file that could not be written.
    pub fn cannot_write(path: &Path, error: impl Display) -> Self {
        Self::run(format!("cannot write {}: {error}", path.display()))
    }

    /// clap's message about the arguments, without the usage.
    pub fn arguments(error: &clap::Error) -> Self {
        let text = error.to_string();
        let text = text.strip_prefix("error: ").unwrap_or(&text);
        let said: Vec<&str> = text.split("\n\n").filter(|part| !part.starts_with("Usage:")).map(str::trim).collect();
        Self::Usage(said.join("; ").replace("For more", "for more"))
    }

    /// A result that could not be written to standard output.
    pub fn output(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::OutputClosed,
            _ => Self::Run(format!("cannot write to standard output: {error}")),
        }
    }

    /// Prints the error and returns the exit code.
    pub fn report(self) -> ExitCode {
        let (code, message) = match self {
            Self::OutputClosed => return ExitCode::SUCCESS,
            Self::Run(message) => (1, message),
            Self::Usage(message) => (2, message),
        };
        complain(&message);
        ExitCode::from(code)
    }
}

impl<E: Error> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Run(chain(&error))
    }
}

/// Whether --quiet was given.
static QUIET: AtomicBool = AtomicBool::new(false);

/// Leaves out notes, warnings and progress from now on.
pub fn be_quiet() {
    QUIET.store(true, Ordering::Relaxed);
}

pub fn is_quiet() -> bool {
    QUIET.load(Ordering::Relaxed)
}

/// Whether somebody watches standard error, who may be told what a log would not need.
pub fn is_watched() -> bool {
    io::stderr().is_terminal() && !is_quiet()
}

/// Prints one line to standard error for somebody who watches.
pub fn tell(message: &str) {
    if is_watched() {
        let _ = writeln!(io::stderr(), "{}", printable(message));
    }
}

/// Prints a warning or a note of one line to standard error, unless --quiet was given.
pub fn note(message: &str) {
    if !is_quiet() {
        complain(message);
    }
}

/// Prints one line about an error to standard error.
pub fn complain(message: &str) {
    // Where standard error is closed, there is nowhere to report to.
    let _ = writeln!(io::stderr(), "alexnet: {}", printable(message));
}

/// An error and its causes, except those that it already names.
pub fn chain(error: &dyn Error) -> String {
    let mut message = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let text = cause.to_string();
        if !message.contains(&text) {
            message = format!("{message}: {text}");
        }
        next = cause.source();
    }
    message
}

/// The text on one line, without control characters for a terminal: names and labels are untrusted.
pub fn printable(text: &str) -> String {
    let parts = text.split(char::is_control).map(str::trim).filter(|part| !part.is_empty());
    parts.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_is_told_once() {
        #[derive(Debug, thiserror::Error)]
        #[error("a picture: {0}")]
        struct Tells(#[source] io::Error);
        #[derive(Debug, thiserror::Error)]
        #[error("a picture")]
        struct Hides(#[source] io::Error);

        assert_eq!(chain(&Tells(io::Error::other("no"))), "a picture: no");
        assert_eq!(chain(&Hides(io::Error::other("no"))), "a picture: no");
    }

    #[test]
    fn text_stays_on_one_line() {
        assert_eq!(printable("a\n  b\u{1b}[31mc\r\n"), "a b [31mc");
    }
}
