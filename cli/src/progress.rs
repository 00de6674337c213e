//! Progress of what takes long, on standard error where that is a terminal; nothing elsewhere.

use std::time::Duration;

use alexnet_wgpu::{Builder, Pipeline, PipelineError};
use indicatif::{ProgressBar, ProgressStyle};

/// Shows that `work` goes on until it is done.
pub fn while_working<T>(message: impl Into<String>, work: impl FnOnce() -> T) -> T {
    let spinner = ProgressBar::new_spinner().with_message(message.into());
    spinner.enable_steady_tick(Duration::from_millis(100));
    let done = work();
    spinner.finish_and_clear();
    done
}

/// Builds a pipeline, with a bar over the weights that are uploaded.
pub fn build(message: impl Into<String>, builder: Builder<'_>) -> Result<Pipeline, PipelineError> {
    let style = ProgressStyle::with_template("{spinner} {msg} {bar:30} {bytes} of {total_bytes}");
    let bar = ProgressBar::new(0).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar.set_message(message.into());
    bar.enable_steady_tick(Duration::from_millis(100));
    let report = |uploaded, total| {
        bar.set_length(total);
        bar.set_position(uploaded);
    };
    let pipeline = builder.progress(&report).build();
    bar.finish_and_clear();
    pipeline
}

/// A bar over steps, whose number is told later.
pub fn steps(message: &'static str) -> ProgressBar {
    let style = ProgressStyle::with_template("{msg} {bar:30} {pos} of {len}, {eta} left");
    ProgressBar::new(1).with_message(message).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

/// A bar over so many things, which are called `what`; one alone needs none.
pub fn bar(count: usize, what: &'static str) -> ProgressBar {
    if count < 2 {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{bar:30} {pos} of {len} {msg}, {eta} left");
    ProgressBar::new(count as u64).with_message(what).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

/// A bar over the bytes of a file that comes from afar.
pub fn download(name: &str) -> ProgressBar {
    let style = ProgressStyle::with_template("{msg} {bar:30} {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left");
    let bar = ProgressBar::new(0).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar.with_message(name.to_string())
}
