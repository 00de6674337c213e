//! What is shown and written while a network is trained.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    path::Path,
    time::Instant,
};

use alexnet_wgpu::train::StepReport;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use super::{LogFile, events::Events};
use crate::failure::{Failure, is_watched};

/// Progress on a terminal, lines or JSON on standard output, and files.
pub struct Log {
    bar: ProgressBar,
    json: bool,
    csv: Option<csv::Writer<File>>,
    events: Option<Events>,
    start: Instant,
    images: usize,
}

impl Log {
    pub fn new(folder: &Path, files: &[LogFile], json: bool, goes_on: bool) -> Result<Self, Failure> {
        let csv = files.contains(&LogFile::Csv).then(|| metrics(folder, goes_on)).transpose()?;
        let events = files.contains(&LogFile::Tensorboard).then(|| Events::new(folder)).transpose();
        let events = events.map_err(|e| Failure::cannot_write(&folder.join("events.out.tfevents"), e))?;
        Ok(Self { bar: ProgressBar::hidden(), json, csv, events, start: Instant::now(), images: 0 })
    }

    pub fn begin(&mut self, total: u64, done: u64) {
        if self.json || !is_watched() {
            return;
        }
        let style = ProgressStyle::with_template("{bar:30} step {pos} of {len}, {msg}, {eta} left");
        self.bar = ProgressBar::new(total).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        self.bar.set_position(done);
        self.bar.reset_eta();
    }

    pub fn step(&mut self, epoch: u64, report: &StepReport, accuracy: f64) -> Result<(), Failure> {
        self.images += report.images.len();
        self.scalars(report.step, &[("loss/step", report.loss), ("lr", report.rate.into())])?;
        if self.json {
            let (step, loss, lr) = (report.step, report.loss, report.rate);
            return line(&json!({"step": step, "epoch": epoch, "loss": loss, "lr": lr}).to_string());
        }
        let speed = self.images as f64 / self.start.elapsed().as_secs_f64().max(1e-9);
        self.bar.set_message(format!(
            "loss {:.3}, {:.1} % right, {speed:.0} pictures/s",
            report.loss,
            100.0 * accuracy
        ));
        self.bar.set_position(report.step);
        Ok(())
    }

    /// `train` and `held` are loss and accuracy.
    pub fn epoch(
        &mut self,
        epoch: u64,
        step: u64,
        [loss, accuracy]: [f64; 2],
        held: Option<[f64; 2]>,
        rate: f32,
    ) -> Result<(), Failure> {
        let seconds = self.start.elapsed().as_secs_f64();
        let held_text = |index: usize| held.map(|held| held[index].to_string()).unwrap_or_default();
        let record = [
            epoch.to_string(),
            step.to_string(),
            loss.to_string(),
            accuracy.to_string(),
            held_text(0),
            held_text(1),
            rate.to_string(),
            format!("{seconds:.3}"),
        ];
        if let Some(csv) = &mut self.csv {
            csv.write_record(record)?;
            csv.flush().map_err(|e| Failure::cannot_write(Path::new("metrics.csv"), e))?;
        }
        self.scalars(step, &[("loss/train", loss), ("accuracy/train", accuracy)])?;
        if let Some([loss, accuracy]) = held {
            self.scalars(step, &[("loss/val", loss), ("accuracy/val", accuracy)])?;
        }
        if self.json {
            let [val_loss, val_accuracy] = [0, 1].map(|index| held.map(|held| held[index]));
            let object = json!({
                "epoch": epoch, "train_loss": loss, "train_accuracy": accuracy, "val_loss": val_loss,
                "val_accuracy": val_accuracy, "lr": rate,
            });
            return line(&object.to_string());
        }
        let held = held.map_or(String::new(), |[loss, accuracy]| {
            format!("; held back: loss {loss:.3}, {:.1} % right", 100.0 * accuracy)
        });
        self.say(&format!("epoch {epoch}: loss {loss:.3}, {:.1} % right{held}", 100.0 * accuracy))
    }

    fn scalars(&mut self, step: u64, scalars: &[(&str, f64)]) -> Result<(), Failure> {
        let Some(events) = &mut self.events else { return Ok(()) };
        events.scalars(step, scalars).map_err(|e| Failure::cannot_write(Path::new("the event file"), e))
    }

    /// Prints a line for a person.
    pub fn say(&self, text: &str) -> Result<(), Failure> {
        if self.json {
            return Ok(());
        }
        self.bar.suspend(|| line(text))
    }

    pub fn end(&self) {
        self.bar.finish_and_clear();
    }
}

/// metrics.csv, after what is in it already if the training goes on.
fn metrics(folder: &Path, goes_on: bool) -> Result<csv::Writer<File>, Failure> {
    let path = folder.join("metrics.csv");
    let goes_on = goes_on && path.exists();
    let mut options = OpenOptions::new();
    options.create(true).write(true).append(goes_on).truncate(!goes_on);
    let mut csv = csv::Writer::from_writer(options.open(&path).map_err(|e| Failure::cannot_write(&path, e))?);
    if !goes_on {
        let columns = ["epoch", "step", "train_loss", "train_accuracy", "val_loss", "val_accuracy", "lr", "seconds"];
        csv.write_record(columns).map_err(|e| Failure::cannot_write(&path, e))?;
    }
    Ok(csv)
}

fn line(text: &str) -> Result<(), Failure> {
    writeln!(io::stdout(), "{text}").map_err(Failure::output)
}
