//! Handling of a weight file that is truncated while mapped: one line and an exit code, in place of death by a signal.

/// Makes a bus error end the command like any other failure. It cannot continue: the numbers to be read are gone.
pub fn explain() {
    #[cfg(unix)]
    {
        use std::io::{IsTerminal, stderr};

        use signal_hook::{consts::SIGBUS, low_level};

        const CODE: i32 = 1;
        // The terminal's current line may show progress.
        let start = if stderr().is_terminal() { "\r\x1b[K" } else { "" };
        let message = format!(
            "{start}alexnet: a weight file was cut short while it was in use, or its disk failed (bus error): run this \
             again when \
             the file is complete and stays as it is\n"
        );
        let end = move || {
            let _ = rustix::io::write(rustix::stdio::stderr(), message.as_bytes());
            low_level::exit(CODE);
        };
        // SAFETY: the action writes bytes that are there and ends the process, with functions that POSIX allows in the handler
        // of a signal (write and _exit).
        if let Err(error) = unsafe { low_level::register(SIGBUS, end) } {
            log::warn!("bus errors are not reported: {error}");
        }
    }
}
