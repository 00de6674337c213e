//! report.html: what a training did, on one page without other files.

use std::{io, path::Path};

use alexnet_wgpu::{Network, Op, Preprocessing, Resize, Tensor, Weights, train::ImageResult, write_atomically};
use base64::{Engine, prelude::BASE64_STANDARD};
use minijinja::{AutoEscape, Environment};
use serde::Serialize;

use crate::{
    eval::{Confused, Judged, Labelled, Score},
    failure::Failure,
    files,
};

/// The largest number of classes whose confusions are a table.
const TABLE: usize = 30;
/// Pairs of classes that are listed.
const CONFUSIONS: usize = 10;
/// Mistakes that are shown.
const MISTAKES: usize = 24;
/// The side of a shown picture in pixels.
const SIDE: usize = 128;
/// Magnification of a filter.
const ZOOM: usize = 4;

/// What a training did.
pub struct Report<'a> {
    pub title: String,
    /// Names and values for the page's head.
    pub facts: Vec<(String, String)>,
    pub labels: &'a [String],
    /// The pictures held back, and the results of those of an epoch.
    pub held: Option<(u64, &'a [Labelled], &'a [ImageResult])>,
    pub network: &'a Network,
    pub before: &'a Weights,
    pub after: &'a Weights,
}

#[derive(Serialize)]
struct Page {
    title: String,
    facts: Vec<(String, String)>,
    curves: Vec<Curve>,
    labels: Vec<String>,
    held: Option<String>,
    matrix: Vec<Row>,
    confusions: Vec<String>,
    mistakes: Vec<Mistake>,
    filters: Option<Filters>,
}

#[derive(Serialize)]
struct Curve {
    title: &'static str,
    low: String,
    high: String,
    epochs: usize,
    lines: Vec<Line>,
}

#[derive(Serialize)]
struct Line {
    kind: &'static str,
    /// As SVG has them.
    points: String,
}

#[derive(Serialize)]
struct Row {
    label: String,
    cells: Vec<Cell>,
    right: String,
}

#[derive(Serialize)]
struct Cell {
    count: u64,
    share: String,
    colour: &'static str,
}

#[derive(Serialize)]
struct Mistake {
    image: String,
    label: String,
    predicted: String,
    probability: String,
    path: String,
}

#[derive(Serialize)]
struct Filters {
    layer: String,
    before: String,
    after: String,
}

impl Report<'_> {
    /// Writes report.html beside metrics.csv, whose numbers it draws.
    pub fn write(self, folder: &Path) -> Result<(), Failure> {
        let path = folder.join("report.html");
        let mut templates = Environment::new();
        templates.set_auto_escape_callback(|_| AutoEscape::Html);
        let html = templates
            .render_str(include_str!("report.html"), self.page(folder))
            .map_err(|e| Failure::cannot_write(&path, e))?;
        write_atomically(&path, |file| io::Write::write_all(file, html.as_bytes()))
            .map_err(|e| Failure::cannot_write(&path, e))
    }

    fn page(self, folder: &Path) -> Page {
        let mut page = Page {
            title: self.title.clone(),
            facts: self.facts.clone(),
            curves: curves(&folder.join("metrics.csv")),
            labels: self.labels.to_vec(),
            held: None,
            matrix: vec![],
            confusions: vec![],
            mistakes: vec![],
            filters: self.filters(),
        };
        if let Some((epoch, pictures, results)) = self.held {
            let score = score(results, self.labels.len());
            let (right, all) = (score.top1(), score.pictures());
            page.held = Some(format!("{right} of {all} are right ({}), after epoch {epoch}.", percent(right, all)));
            if self.labels.len() <= TABLE {
                page.matrix =
                    (self.labels.iter().enumerate()).map(|(class, label)| row(&score, class, label)).collect();
            }
            page.confusions = confusions(&score, self.labels);
            page.mistakes = mistakes(pictures, results, self.labels);
        }
        page
    }

    /// The filters of a first convolution that sees colours.
    fn filters(&self) -> Option<Filters> {
        let layer = self.network.layers().first().filter(|layer| matches!(layer.op, Op::Conv(_)))?;
        let name = format!("{}.weight", layer.name);
        let drawn = |weights: &Weights| draw(weights.tensor(&name).ok()?);
        Some(Filters { layer: layer.name.clone(), before: drawn(self.before)?, after: drawn(self.after)? })
    }
}

/// Loss and accuracy by epoch, of metrics.csv.
fn curves(path: &Path) -> Vec<Curve> {
    let Ok(mut metrics) = csv::Reader::from_path(path) else { return vec![] };
    let rows: Vec<csv::StringRecord> = metrics.records().filter_map(Result::ok).collect();
    let column = |index: usize| -> Vec<f64> {
        rows.iter().map(|row| row.get(index).and_then(|text| text.parse().ok()).unwrap_or(f64::NAN)).collect()
    };
    let curve = |title, [train, held]: [usize; 2], top: Option<f64>| {
        let all = [column(train), column(held)];
        let known = all.iter().flatten().copied().filter(|value| value.is_finite());
        let high = top.unwrap_or_else(|| known.fold(0.0, f64::max)).max(1e-9);
        let line = |(kind, values): (&'static str, &Vec<f64>)| Line { kind, points: points(values, high) };
        let lines = ["train", "held"].into_iter().zip(&all).map(line).collect();
        let percent =
            |value: f64| if top.is_some() { format!("{:.0} %", 100.0 * value) } else { format!("{value:.2}") };
        Curve { title, low: percent(0.0), high: percent(high), epochs: rows.len(), lines }
    };
    if rows.len() < 2 {
        return vec![];
    }
    vec![curve("loss (cross-entropy)", [2, 4], None), curve("share that is right", [3, 5], Some(1.0))]
}

/// Of a line from 0 to `high` in the plot's frame.
fn points(values: &[f64], high: f64) -> String {
    let place = |(index, value): (usize, &f64)| {
        let x = 44.0 + 366.0 * index as f64 / (values.len() - 1).max(1) as f64;
        format!("{x:.1},{:.1}", 210.0 - 200.0 * value / high)
    };
    let known = values.iter().enumerate().filter(|(_, value)| value.is_finite());
    known.map(place).collect::<Vec<_>>().join(" ")
}

/// How often each class got each answer.
fn score(results: &[ImageResult], classes: usize) -> Score {
    let mut score = Score::new(classes);
    for &ImageResult { class, predicted, .. } in results {
        // Only the first answer is known.
        score.add(class, Judged { taken_for: predicted, in_top5: predicted == class });
    }
    score
}

fn row(score: &Score, class: usize, label: &str) -> Row {
    let all = score.of(class);
    let cell = |answer| {
        let count = score.count(class, answer);
        let share = count as f64 / all.max(1) as f64;
        let colour = if answer == class { "43 123 214" } else { "224 60 29" };
        Cell { count, share: if count == 0 { String::new() } else { format!("{:.2}", 0.7 * share) }, colour }
    };
    let cells = (0..score.classes()).map(cell).collect();
    Row { label: label.into(), cells, right: percent(score.count(class, class), all) }
}

fn confusions(score: &Score, labels: &[String]) -> Vec<String> {
    let text = |&Confused { class, taken_for, pictures }: &Confused| {
        format!("{} for {}: {pictures} of {}", labels[class], labels[taken_for], score.of(class))
    };
    score.confused().iter().take(CONFUSIONS).map(text).collect()
}

/// The pictures of which the network was surest that they are something else.
fn mistakes(pictures: &[Labelled], results: &[ImageResult], labels: &[String]) -> Vec<Mistake> {
    let wrong = pictures.iter().zip(results).filter(|(_, result)| result.predicted != result.class);
    let mut wrong: Vec<(&Labelled, &ImageResult)> = wrong.collect();
    wrong.sort_by(|a, b| b.1.loss.total_cmp(&a.1.loss));
    let shown = wrong.into_iter().filter_map(|(picture, result)| {
        Some(Mistake {
            image: thumbnail(&picture.path)?,
            label: labels[result.class].clone(),
            predicted: labels[result.predicted].clone(),
            probability: format!("{:.1} %", 100.0 * result.probability),
            path: picture.path.to_string_lossy().into_owned(),
        })
    });
    shown.take(MISTAKES).collect()
}

/// The middle of a picture.
fn thumbnail(path: &Path) -> Option<String> {
    let input =
        files::picture(path, &Preprocessing::new(Resize::ShorterSide(SIDE), [SIDE; 2]), files::Crops::One).ok()?;
    let plane = SIDE * SIDE;
    let byte = |at: usize, channel: usize| (255.0 * input[channel * plane + at]).round() as u8;
    let rgb: Vec<u8> = (0..plane).flat_map(|at| [0, 1, 2].map(|channel| byte(at, channel))).collect();
    png(&rgb, [SIDE, SIDE])
}

/// The filters of three channels, each from its smallest number in black to its largest in white.
fn draw(filters: &Tensor) -> Option<String> {
    let &[count, 3, height, width] = filters.shape() else { return None };
    let values = filters.to_f32();
    let columns = (count as f64).sqrt().ceil() as usize * 3 / 2;
    let [h, w] = [height, width].map(|side| ZOOM * side + 2);
    let (rows, plane) = (count.div_ceil(columns), height * width);
    let mut rgb = vec![128; 3 * rows * h * columns * w];
    for (index, filter) in values.chunks_exact(3 * plane).enumerate() {
        let (low, high) = filter.iter().fold((f32::MAX, f32::MIN), |(low, high), &v| (low.min(v), high.max(v)));
        let scale = 255.0 / (high - low).max(f32::MIN_POSITIVE);
        for (y, x) in (0..ZOOM * height).flat_map(|y| (0..ZOOM * width).map(move |x| (y, x))) {
            let at = (index / columns * h + y) * columns * w + index % columns * w + x;
            for (channel, byte) in rgb[3 * at..][..3].iter_mut().enumerate() {
                *byte = ((filter[channel * plane + y / ZOOM * width + x / ZOOM] - low) * scale) as u8;
            }
        }
    }
    png(&rgb, [columns * w, rows * h])
}

/// A picture within the page.
fn png(rgb: &[u8], size: [usize; 2]) -> Option<String> {
    let mut png = Vec::new();
    alexnet_snapshots::write_png(rgb, size.map(|side| side as u32), &mut png).ok()?;
    Some(format!("data:image/png;base64,{}", BASE64_STANDARD.encode(png)))
}

fn percent(part: u64, whole: u64) -> String {
    format!("{:.1} %", 100.0 * part as f64 / whole.max(1) as f64)
}
