//! How the command fails: one line on standard error, and an exit code.

use std::{
    error::Error,
    fmt::Display,
    io::{self, Write},
    process::ExitCode,
};

/// Why the command ends before it is done.
#[derive(Debug)]
pub enum Failure {
    /// The arguments ask for something that does not exist or does not fit.
    Usage(String),
    /// A file, the adapter or the driver is not what it takes.
    Run(String),
    /// Nobody reads standard output any more.
    OutputClosed,
}

impl Failure {
    /// A mistake in the arguments.
    pub fn usage(error: impl Display) -> Self {
        Self::Usage(error.to_string())
    }

    /// Anything else, in the command's own words.
    pub fn run(error: impl Display) -> Self {
        Self::Run(error.to_string())
    }

    /// What clap says of the arguments, without its outline of the usage.
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

    /// Says what went wrong, and with which code to exit.
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

/// One line on standard error.
pub fn complain(message: &str) {
    // Nothing is left to tell where standard error is closed.
    let _ = writeln!(io::stderr(), "alexnet: {}", printable(message));
}

/// An error and its causes, as far as it does not name them itself.
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

/// The text on one line, without what would steer a terminal: names and labels come from anywhere.
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
