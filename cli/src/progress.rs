//! Progress of long operations on standard error, where that is a terminal; nothing elsewhere.

use std::{fmt::Write, time::Duration};

use alexnet_wgpu::{Pipeline, PipelineBuilder, PipelineError};
use indicatif::{HumanDuration, ProgressBar, ProgressState, ProgressStyle};

use crate::failure::is_quiet;

/// Shows a spinner until `work` is done.
pub fn while_working<T>(message: impl Into<String>, work: impl FnOnce() -> T) -> T {
    let spinner = waiting(message);
    let done = work();
    spinner.finish_and_clear();
    done
}

/// Builds a pipeline, with a bar for the upload of the weights.
pub fn build(message: impl Into<String>, builder: PipelineBuilder<'_>) -> Result<Pipeline, PipelineError> {
    let bar = waiting(message);
    let report = |uploaded, total| {
        sized(&bar, total, UPLOAD);
        bar.set_position(uploaded);
    };
    let pipeline = builder.progress(&report).build();
    bar.finish_and_clear();
    pipeline
}

const UPLOAD: &str = "{spinner} {msg} {bar:30} {bytes} of {total_bytes}";
const COUNT: &str = "{bar:30} {pos} of {len} {msg}, {per_sec:1}{left}";
const STEPS: &str = "{msg} {bar:30} {pos} of {len}{left}";
const DOWNLOAD: &str = "{msg} {bar:30} {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left";

/// The bar, unless --quiet was given.
fn shown(bar: ProgressBar) -> ProgressBar {
    if is_quiet() { ProgressBar::hidden() } else { bar }
}

/// Shows an operation of unknown size: a bar without a length would look full.
fn waiting(message: impl Into<String>) -> ProgressBar {
    let bar = shown(ProgressBar::new_spinner()).with_message(message.into());
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}

/// Turns a [`waiting`] bar into one with a length, once the size is known.
fn sized(bar: &ProgressBar, total: u64, template: &str) {
    if total > 0 && bar.length() != Some(total) {
        bar.set_length(total);
        bar.set_style(config(template));
    }
}

fn config(template: &str) -> ProgressStyle {
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    style.with_key("left", |state: &ProgressState, out: &mut dyn Write| {
        if let Some(left) = left(state.elapsed(), state.pos(), state.len().unwrap_or(0)) {
            let _ = write!(out, ", {} left", HumanDuration(left));
        }
    })
}

/// The time that is left if what comes takes as long as what is done. The first ones say little: many take no time, or compile.
fn left(elapsed: Duration, done: u64, of: u64) -> Option<Duration> {
    let says_something = elapsed >= Duration::from_secs(2) && 20 * done >= of && done > 0;
    says_something.then(|| elapsed.mul_f64(of.saturating_sub(done) as f64 / done as f64))
}

/// A bar over steps, whose number is set later.
pub fn steps(message: &'static str) -> ProgressBar {
    shown(ProgressBar::new(1)).with_message(message).with_style(config(STEPS))
}

/// A bar over `count` things, called `what`; a single one needs no bar.
pub fn bar(count: usize, what: &'static str) -> ProgressBar {
    if count < 2 {
        return ProgressBar::hidden();
    }
    shown(ProgressBar::new(count as u64)).with_message(what).with_style(config(COUNT))
}

/// A bar over the bytes of a download.
pub fn download(name: &str) -> ProgressBar {
    waiting(name)
}

/// Sets the total number of bytes, and the number already present.
pub fn downloading(bar: &ProgressBar, total: u64, have: u64) {
    sized(bar, total, DOWNLOAD);
    bar.set_position(have);
    bar.reset_eta();
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use std::{
        io,
        sync::{Arc, Mutex},
    };

    use indicatif::{ProgressDrawTarget, TermLike};

    use super::*;

    /// Stores the lines that are written to it.
    #[derive(Clone, Debug, Default)]
    struct Terminal(Arc<Mutex<String>>);

    impl TermLike for Terminal {
        fn width(&self) -> u16 {
            120
        }
        fn move_cursor_up(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn move_cursor_down(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn move_cursor_right(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn move_cursor_left(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn write_line(&self, line: &str) -> io::Result<()> {
            self.write_str(line)
        }
        fn write_str(&self, text: &str) -> io::Result<()> {
            self.0.lock().unwrap().push_str(text);
            Ok(())
        }
        fn clear_line(&self) -> io::Result<()> {
            Ok(())
        }
        fn flush(&self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn the_time_left_is_told_once_it_is_known() {
        let left = |seconds, done, of| left(Duration::from_secs(seconds), done, of).map(|left| left.as_secs());
        assert_eq!([left(1, 50, 100), left(60, 0, 100), left(60, 4, 100)], [None; 3]);
        assert_eq!([left(60, 5, 100), left(60, 50, 100), left(60, 100, 100)], [Some(1140), Some(60), Some(0)]);
        assert_eq!(left(60, 3, 2), Some(0));
    }

    #[test]
    fn nothing_is_full_before_it_began() {
        let terminal = Terminal::default();
        let bar = waiting("putting it there");
        bar.disable_steady_tick();
        bar.set_draw_target(ProgressDrawTarget::term_like(Box::new(terminal.clone())));
        let shown = || {
            bar.force_draw();
            std::mem::take(&mut *terminal.0.lock().unwrap())
        };
        let first = shown();
        assert!(first.contains("putting it there") && !first.contains('█'), "{first:?}");
        // Nothing to upload yet, then a quarter done.
        sized(&bar, 0, UPLOAD);
        assert!(!shown().contains('█'));
        sized(&bar, 1 << 30, UPLOAD);
        bar.set_position(1 << 28);
        let quarter = shown();
        assert!(quarter.contains("256.00 MiB of 1.00 GiB"), "{quarter:?}");
        let last = quarter.rsplit("putting").next().unwrap();
        assert!((7..=8).contains(&last.matches('█').count()), "{quarter:?}");

        downloading(&bar, 1 << 30, 1 << 29);
        let half = shown();
        let last = half.rsplit("putting").next().unwrap();
        assert!(last.contains("512.00 MiB") && last.contains('█'), "{half:?}");
    }
}
