//! Reports of comparisons: lines of text, JSON, CSV, and JUnit's XML and Markdown tables for continuous integration.

use std::{
    fmt::Write as _,
    io::{self, Write},
    path::PathBuf,
    time::Duration,
};

use alexnet_snapshots::admitting;
use clap::ValueEnum;
use serde::Serialize;

use super::thresholds::Thresholds;
use crate::{failure::printable, text::name_hex};

/// The form of a report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// One line per pair
    #[default]
    Text,
    /// One JSON object per pair, one per line
    Json,
    /// One line per pair, after a line of names
    Csv,
    /// JUnit's XML: one test case per pair
    Junit,
    /// A table for a job's summary
    Markdown,
}

/// A pair and what was found.
#[derive(Clone, Debug)]
pub struct Compared {
    pub name: String,
    pub expected: Option<PathBuf>,
    pub actual: Option<PathBuf>,
    pub thresholds: Thresholds,
    /// Or why the pair could not be compared.
    pub measured: Result<Measured, String>,
    pub took: Duration,
}

/// The numbers of a comparison.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Measured {
    pub lpips: f32,
    pub layers: [f32; 5],
    /// Of the map: the largest value and percentiles.
    pub largest: f32,
    pub p99: f32,
    pub p95: f32,
    /// None for equal pictures, where it is infinite.
    pub psnr: Option<f64>,
    pub max_difference: u8,
    pub differing: f64,
}

impl Measured {
    fn psnr_text(&self) -> String {
        self.psnr.map_or_else(|| "equal".into(), |psnr| format!("{psnr:.2} dB"))
    }
}

/// Whether pictures are alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    Alike,
    Different,
    Error,
}

/// A line of JSON or CSV.
#[derive(Serialize)]
struct Record<'a> {
    name: &'a str,
    verdict: Verdict,
    lpips: Option<f32>,
    largest: Option<f32>,
    p99: Option<f32>,
    p95: Option<f32>,
    psnr: Option<f64>,
    max_difference: Option<u8>,
    differing: Option<f64>,
    fail_above: Option<f32>,
    fail_above_local: Option<f32>,
    /// The thresholds that would have passed.
    passes_above: Option<f32>,
    passes_above_local: Option<f32>,
    error: Option<&'a str>,
    /// In JSON only.
    #[serde(skip_serializing_if = "Option::is_none")]
    layers: Option<[f32; 5]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name_hex: Option<String>,
}

impl Compared {
    pub fn verdict(&self) -> Verdict {
        match &self.measured {
            Err(_) => Verdict::Error,
            Ok(m) if self.thresholds.admit(m.lpips, m.largest) => Verdict::Alike,
            Ok(_) => Verdict::Different,
        }
    }

    fn record(&self) -> Record<'_> {
        let measured = self.measured.as_ref().ok();
        let of = |value: fn(&Measured) -> f32| measured.map(value);
        Record {
            name: &self.name,
            verdict: self.verdict(),
            lpips: of(|m| m.lpips),
            largest: of(|m| m.largest),
            p99: of(|m| m.p99),
            p95: of(|m| m.p95),
            psnr: measured.and_then(|m| m.psnr),
            max_difference: measured.map(|m| m.max_difference),
            differing: measured.map(|m| m.differing),
            fail_above: self.thresholds.lpips,
            fail_above_local: self.thresholds.local,
            passes_above: of(|m| admitting(m.lpips)),
            passes_above_local: of(|m| admitting(m.largest)),
            error: self.measured.as_ref().err().map(String::as_str),
            layers: None,
            name_hex: None,
        }
    }

    /// The same with what only JSON has.
    fn json(&self) -> Record<'_> {
        let path = self.actual.as_ref().or(self.expected.as_ref());
        let layers = self.measured.as_ref().ok().map(|m| m.layers);
        Record { layers, name_hex: path.and_then(|path| name_hex(path)), ..self.record() }
    }

    /// The thresholds that were exceeded, and those that would have passed.
    fn reason(&self) -> String {
        let measured = match &self.measured {
            Ok(measured) => measured,
            Err(reason) => return printable(reason),
        };
        let exceeded = |name: &str, value: f32, most: Option<f32>, option: &str| {
            let most = most.filter(|most| value > *most)?;
            Some(format!("{name} {value:.6} is above {most}; {option} {} would pass", admitting(value)))
        };
        let Thresholds { lpips, local } = self.thresholds;
        let reasons = [
            exceeded("LPIPS", measured.lpips, lpips, "--fail-above"),
            exceeded("the map's largest value", measured.largest, local, "--fail-above-local"),
        ];
        reasons.into_iter().flatten().collect::<Vec<_>>().join("; ")
    }

    /// One line for people. What could not be compared is told on standard error.
    fn line(&self) -> Option<String> {
        let m = self.measured.as_ref().ok()?;
        let psnr = m.psnr_text();
        let numbers = format!(
            "LPIPS {:.5}  local {:.4} (99 %: {:.4}, 95 %: {:.4})  PSNR {psnr}  largest difference {}  differing {:.2} %",
            m.lpips,
            m.largest,
            m.p99,
            m.p95,
            m.max_difference,
            100.0 * m.differing
        );
        let verdict = match (self.verdict(), self.thresholds) {
            (Verdict::Different, _) => format!("  DIFFERENT: {}", self.reason()),
            (_, Thresholds { lpips: None, local: None }) => String::new(),
            _ => "  alike".into(),
        };
        Some(format!("{}  {numbers}{verdict}", printable(&self.name)))
    }
}

/// Writes a report, pair by pair.
#[derive(Debug)]
pub struct Report<W: Write> {
    format: Format,
    out: W,
    /// Pairs that a whole report waits for.
    all: Vec<Compared>,
    csv_begun: bool,
}

impl<W: Write> Report<W> {
    pub fn new(format: Format, out: W) -> Self {
        Self { format, out, all: vec![], csv_begun: false }
    }

    /// Adds a pair.
    pub fn add(&mut self, compared: Compared) -> io::Result<()> {
        match self.format {
            Format::Text => {
                if let Some(line) = compared.line() {
                    writeln!(self.out, "{line}")?;
                }
            }
            Format::Json => writeln!(self.out, "{}", serde_json::to_string(&compared.json())?)?,
            Format::Csv => {
                let mut csv = csv::WriterBuilder::new().has_headers(!self.csv_begun).from_writer(&mut self.out);
                csv.serialize(compared.record()).map_err(io::Error::other)?;
                csv.flush()?;
                self.csv_begun = true;
            }
            Format::Junit | Format::Markdown => self.all.push(compared),
        }
        self.out.flush()
    }

    /// Writes what is left.
    pub fn finish(mut self) -> io::Result<()> {
        let text = match self.format {
            Format::Text | Format::Json | Format::Csv => String::new(),
            Format::Junit => junit(&self.all),
            Format::Markdown => markdown(&self.all),
        };
        self.out.write_all(text.as_bytes())?;
        self.out.flush()
    }
}

fn count(all: &[Compared], verdict: Verdict) -> usize {
    all.iter().filter(|compared| compared.verdict() == verdict).count()
}

fn junit(all: &[Compared]) -> String {
    let (failures, errors) = (count(all, Verdict::Different), count(all, Verdict::Error));
    let time: f64 = all.iter().map(|compared| compared.took.as_secs_f64()).sum();
    let mut xml = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let _ = writeln!(
        xml,
        "<testsuite name=\"alexnet compare\" tests=\"{}\" failures=\"{failures}\" errors=\"{errors}\" time=\"{time:.3}\">",
        all.len()
    );
    for compared in all {
        let (name, time) = (escaped(&compared.name), compared.took.as_secs_f64());
        let _ = write!(xml, "  <testcase classname=\"alexnet.compare\" name=\"{name}\" time=\"{time:.3}\">");
        let reason = escaped(&compared.reason());
        let _ = match compared.verdict() {
            Verdict::Alike => Ok(()),
            Verdict::Different => write!(xml, "<failure message=\"{reason}\"/>"),
            Verdict::Error => write!(xml, "<error message=\"{reason}\"/>"),
        };
        if let Some(line) = compared.line() {
            let _ = write!(xml, "<system-out>{}</system-out>", escaped(&line));
        }
        xml += "</testcase>\n";
    }
    xml + "</testsuite>\n"
}

/// Text for an attribute or the content of XML, without the characters that XML forbids.
fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for c in text.chars() {
        match c {
            '&' => escaped += "&amp;",
            '<' => escaped += "&lt;",
            '>' => escaped += "&gt;",
            '"' => escaped += "&quot;",
            '\u{fffe}' | '\u{ffff}' => {}
            c if c.is_control() => escaped.push(' '),
            c => escaped.push(c),
        }
    }
    escaped
}

fn markdown(all: &[Compared]) -> String {
    let (different, errors) = (count(all, Verdict::Different), count(all, Verdict::Error));
    let mut text = format!(
        "**{} compared: {} alike, {different} different, {errors} not comparable**\n\n",
        all.len(),
        count(all, Verdict::Alike)
    );
    text += "| picture | | LPIPS | largest of the map | 99 % | PSNR | largest difference | differing |\n";
    text += "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |\n";
    for compared in all {
        let name = printable(&compared.name).replace('|', "\\|");
        let _ = match &compared.measured {
            Err(reason) => writeln!(text, "| {name} | ⚠️ {} | | | | | | |", printable(reason).replace('|', "\\|")),
            Ok(m) => {
                let mark = if compared.verdict() == Verdict::Alike { "✅" } else { "❌" };
                let psnr = m.psnr_text();
                let differing = 100.0 * m.differing;
                writeln!(
                    text,
                    "| {name} | {mark} | {:.5} | {:.4} | {:.4} | {psnr} | {} | {differing:.2} % |",
                    m.lpips, m.largest, m.p99, m.max_difference
                )
            }
        };
    }
    let reasons = all.iter().filter(|compared| compared.verdict() == Verdict::Different);
    for compared in reasons {
        let _ = write!(text, "\n- {}: {}", printable(&compared.name), compared.reason());
    }
    if different > 0 {
        text.push('\n');
    }
    text
}
