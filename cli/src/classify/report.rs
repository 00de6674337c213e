//! Labels as text, JSON or CSV, and what such a file holds already.

use std::{
    fs::File,
    io::{BufRead, BufReader, Write},
    time::Duration,
};

use alexnet_wgpu::{Model, Precision, Prediction};
use anstyle::Style;
use clap::ValueEnum;
use serde::{Deserialize, Serialize, de::IgnoredAny};

use super::Labelled;
#[cfg(feature = "parquet")]
use crate::spool::{self, Spool};
use crate::{
    failure::{Failure, printable},
    output::{Output, OutputArgs, csv_rows},
    pictures::Done,
    text::{name_bytes, name_hex},
};

/// The form of the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// A picture's name, and a line for each label
    Text,
    /// One JSON object per picture, one per line
    Json,
    /// A line for each label of each picture, after a line of names: image, rank from 1, index, label, probability, image_hex
    Csv,
    /// A Parquet file with the columns and rows of csv
    #[cfg(feature = "parquet")]
    Parquet,
}

/// The columns of CSV.
const COLUMNS: [&str; 6] = ["image", "rank", "index", "label", "probability", "image_hex"];

/// Labels on their way out.
pub struct Report {
    format: Format,
    to: To,
}

enum To {
    /// What grows.
    Lines(Output),
    /// Where labels wait for those of the other pictures: index and probability of each.
    #[cfg(feature = "parquet")]
    Spool(Spool, usize),
}

impl Report {
    /// Opens the output, and reads which pictures it holds already where it is to be continued.
    pub fn open(
        args: &OutputArgs,
        format: Format,
        top: usize,
        model: &Model,
        precision: Precision,
    ) -> Result<(Self, Done), Failure> {
        // As many as a picture gets.
        let top = top.min(model.network.output().len());
        #[cfg(feature = "parquet")]
        if format == Format::Parquet {
            let spool = match args.file() {
                Some(file) => {
                    let arrays = vec![("top".into(), vec![top, 2])];
                    Spool::beside(&spool::place(file), arrays, model, precision, args.resume)?
                }
                None => Spool::temporary(2 * top),
            };
            let done = spool.done();
            return Ok((Self { format, to: To::Spool(spool, top) }, done));
        }
        let _ = precision;
        let (output, done) = match (args.file(), format) {
            (None, _) => (Output::standard(), Done::default()),
            (Some(_), Format::Text) if args.resume => {
                return Err(Failure::usage(
                    "expected --format json or csv with --resume, found text, which cannot be read back",
                ));
            }
            (Some(file), Format::Json) if args.resume => {
                Output::resume(file, |file| in_json(file, model.network.name(), top))?
            }
            (Some(file), Format::Csv) if args.resume => Output::resume(file, |file| in_csv(file, top))?,
            (Some(file), _) => (Output::create(file)?, Done::default()),
        };
        Ok((Self { format, to: To::Lines(output) }, done))
    }

    /// Writes the labels of a batch.
    #[cfg_attr(
        not(feature = "parquet"),
        allow(clippy::infallible_destructuring_match, reason = "with the feature there are two kinds")
    )]
    pub fn write(&mut self, batch: &[Labelled<'_>]) -> Result<(), Failure> {
        let mut bytes = Vec::new();
        let output = match &mut self.to {
            To::Lines(output) => output,
            #[cfg(feature = "parquet")]
            To::Spool(spool, _) => {
                let values = |labelled: &Labelled<'_>| -> Vec<f32> {
                    labelled.top.iter().flat_map(|class| [class.index as f32, class.probability]).collect()
                };
                let rows: Vec<_> = batch.iter().map(|labelled| (&*labelled.item.name, values(labelled))).collect();
                return spool.add(rows.iter().map(|(name, values)| (*name, &values[..])));
            }
        };
        match self.format {
            Format::Text => {
                let colour = output.is_standard()
                    && anstream::AutoStream::choice(&std::io::stdout()) != anstream::ColorChoice::Never;
                let style = if colour { Style::new().bold() } else { Style::new() };
                batch.iter().try_for_each(|labelled| labelled.as_text(&mut bytes, style))?;
            }
            Format::Json => {
                for labelled in batch {
                    serde_json::to_writer(&mut bytes, &labelled.record(&labelled.item.name.to_string_lossy()))?;
                    bytes.push(b'\n');
                }
            }
            Format::Csv => {
                let mut csv = csv::Writer::from_writer(&mut bytes);
                if output.is_new() {
                    csv.write_record(COLUMNS)?;
                }
                batch.iter().try_for_each(|labelled| labelled.as_rows(&mut csv))?;
                csv.flush()?;
            }
            #[cfg(feature = "parquet")]
            Format::Parquet => {}
        }
        output.write(&bytes)
    }
}

#[cfg(feature = "parquet")]
impl Report {
    /// Writes the table, where all pictures are done or what is done would be lost.
    pub fn finish(self, args: &OutputArgs, labels: &[String], all: bool) -> Result<(), Failure> {
        use crate::table::{self, Column, ROWS, Values};

        let To::Spool(spool, top) = self.to else { return Ok(()) };
        spool.finish(args.file(), all, |spool, out| {
            let mut begin = 0;
            let next = || {
                let pictures = begin..(begin + ROWS.div_ceil(top)).min(spool.names.len());
                begin = pictures.end;
                if pictures.is_empty() {
                    return Ok(None);
                }
                let each =
                    |texts: Vec<String>| texts.into_iter().flat_map(|text| std::iter::repeat_n(text, top)).collect();
                let (images, hex) = spool.texts(pictures.clone());
                let classes = spool.numbers(pictures.clone(), 0..2 * top)?;
                let indices: Vec<usize> = classes.iter().step_by(2).map(|&index| index as usize).collect();
                let label = |&index: &usize| labels.get(index).cloned().unwrap_or_else(|| format!("class {index}"));
                Ok(Some(vec![
                    Column::new("image", Values::Texts(each(images))),
                    Column::new("rank", Values::Indices(pictures.flat_map(|_| 1..=top).collect())),
                    Column::new("index", Values::Indices(indices.clone())),
                    Column::new("label", Values::Texts(indices.iter().map(label).collect())),
                    Column::new("probability", Values::Numbers(classes.into_iter().skip(1).step_by(2).collect())),
                    Column::new("image_hex", Values::Texts(each(hex))),
                ]))
            };
            table::write(out, next)
        })
    }
}

impl Labelled<'_> {
    fn as_text(&self, out: &mut impl Write, style: Style) -> std::io::Result<()> {
        writeln!(out, "{style}{}{style:#}", printable(&self.item.name.to_string_lossy()))?;
        let parts = self.classifier.pipeline().network().gives_probabilities();
        for Prediction { label, probability, .. } in &self.top {
            let label = printable(label);
            if parts {
                writeln!(out, "{:7.2} %  {label}", probability * 100.0)?;
            } else {
                writeln!(out, "{probability:9.3}  {label}")?;
            }
        }
        Ok(())
    }

    fn as_rows(&self, csv: &mut csv::Writer<impl Write>) -> csv::Result<()> {
        let path = &self.item.name;
        let hex = name_hex(path).unwrap_or_default();
        (1..).zip(&self.top).try_for_each(|(rank, Prediction { index, label, probability })| {
            csv.serialize((path.to_string_lossy(), rank as usize, index, label, probability, &hex))
        })
    }

    fn record<'a>(&'a self, image: &'a str) -> Record<'a> {
        let pipeline = self.classifier.pipeline();
        let class = |p: &'a Prediction| Class { index: p.index, label: &p.label, probability: p.probability };
        Record {
            image,
            image_hex: name_hex(&self.item.name),
            network: pipeline.network().name(),
            adapter: &pipeline.gpu().info().name,
            backend: pipeline.gpu().info().backend.to_str(),
            top: self.top.iter().map(class).collect(),
            ms: Milliseconds { preprocess: milliseconds(self.preprocess), inference: milliseconds(self.inference) },
        }
    }
}

/// A line of JSON, with the fields in this order.
#[derive(Serialize)]
struct Record<'a> {
    image: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    image_hex: Option<String>,
    network: &'a str,
    adapter: &'a str,
    backend: &'a str,
    top: Vec<Class<'a>>,
    ms: Milliseconds,
}

#[derive(Serialize)]
struct Class<'a> {
    index: usize,
    label: &'a str,
    probability: f32,
}

#[derive(Serialize)]
struct Milliseconds {
    preprocess: f64,
    inference: f64,
}

/// Milliseconds, rounded to microseconds.
fn milliseconds(duration: Duration) -> f64 {
    duration.as_micros() as f64 / 1e3
}

/// What matters of a line that was written before.
#[derive(Deserialize)]
struct Before {
    image: String,
    image_hex: Option<String>,
    network: String,
    top: Vec<IgnoredAny>,
}

/// The pictures in lines of JSON, and the length of the whole lines.
fn in_json(file: &File, network: &str, top: usize) -> Result<(Done, u64), String> {
    let (mut done, mut whole) = (Done::default(), 0);
    let mut lines = BufReader::new(file);
    let mut line = Vec::new();
    for number in 1.. {
        line.clear();
        lines.read_until(b'\n', &mut line).map_err(|e| e.to_string())?;
        if line.last() != Some(&b'\n') {
            break;
        }
        let unlike = |what: &str| format!("line {number}: expected JSON as `alexnet classify` writes it, found {what}");
        let before: Before = serde_json::from_slice(&line).map_err(|e| unlike(&e.to_string()))?;
        if before.network != network {
            return Err(format!("line {number}: expected labels of {network}, found those of {}", before.network));
        }
        if before.top.len() != top {
            return Err(format!("line {number}: expected {top} labels per picture, found {}", before.top.len()));
        }
        done.add(name_bytes(&before.image, before.image_hex.as_deref()).ok_or_else(|| unlike("no name"))?);
        whole += line.len() as u64;
    }
    Ok((done, whole))
}

/// The pictures in rows of CSV, and the length up to the last one whose rows are all there.
fn in_csv(file: &File, top: usize) -> Result<(Done, u64), String> {
    let mut rank = 0;
    csv_rows(file, &COLUMNS, |row| {
        rank += 1;
        let found = || row.get(1).and_then(|rank| str::from_utf8(rank).ok()).unwrap_or("something else");
        if found() != rank.to_string() {
            return Err(format!("expected {top} labels per picture, and here number {rank}, found {}", found()));
        }
        if rank < top {
            return Ok(None);
        }
        rank = 0;
        let text = |column| row.get(column).and_then(|text| str::from_utf8(text).ok());
        let name = text(0).and_then(|image| name_bytes(image, text(5)));
        name.map(Some).ok_or_else(|| "expected a picture's name, found something else".into())
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use super::*;

    fn file(text: &str) -> File {
        use std::io::Seek;
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file.rewind().unwrap();
        file
    }

    /// Wherever a file is cut, what is whole stays and the rest goes.
    fn every_cut(text: &str, ends: &[usize], read: impl Fn(&File) -> Result<(Done, u64), String>) {
        for cut in 0..=text.len() {
            let (done, whole) = read(&file(&text[..cut])).unwrap_or_else(|e| panic!("{cut}: {e}"));
            let expected = ends.iter().copied().filter(|&end| end <= cut).max().unwrap_or(0);
            assert_eq!(whole as usize, expected, "{cut}");
            let mut names = Done::default();
            let count = ends.iter().filter(|&&end| end <= cut).count();
            (1..count).for_each(|i| names.add(["", "a\nb", "c,\"d\"", "a\nb"][i].into()));
            assert_eq!(done, names, "{cut}");
        }
    }

    #[test]
    fn json_is_read_up_to_its_last_whole_line() {
        let line = |image: &str| {
            format!("{}\n", serde_json::json!({ "image": image, "network": "tiny", "top": [0, 1], "ms": 3 }))
        };
        let lines = [line("a\nb"), line("c,\"d\""), line("a\nb")];
        let ends: Vec<usize> = (0..=3).map(|n| lines[..n].concat().len()).collect();
        every_cut(&lines.concat(), &ends, |file| in_json(file, "tiny", 2));
        for (text, network, top, message) in [
            (&*lines[0], "other", 2, "line 1: expected labels of other, found those of tiny"),
            (&*lines[0], "tiny", 3, "line 1: expected 3 labels per picture, found 2"),
            ("image,rank\n", "tiny", 2, "line 1: expected JSON as `alexnet classify` writes it"),
        ] {
            let error = in_json(&file(text), network, top).unwrap_err();
            assert!(error.contains(message), "{error}");
        }
    }

    #[test]
    fn csv_is_read_up_to_the_last_picture_with_all_rows() {
        let mut csv = csv::Writer::from_writer(vec![]);
        let mut ends = vec![];
        csv.write_record(COLUMNS).unwrap();
        for name in ["", "a\nb", "c,\"d\"", "a\nb"] {
            if !name.is_empty() {
                for rank in ["1", "2"] {
                    csv.write_record([name, rank, "7", "a \"label\",\nof two lines", "0.5", ""]).unwrap();
                }
            }
            csv.flush().unwrap();
            ends.push(csv.get_ref().len());
        }
        let text = String::from_utf8(csv.into_inner().unwrap()).unwrap();
        every_cut(&text, &ends, |file| in_csv(file, 2));
        let error = in_csv(&file(&text), 3).unwrap_err();
        assert!(error.contains("line 8: expected 3 labels per picture, and here number 3, found 1"), "{error}");
        let error = in_csv(&file("a,b\n1,2\n"), 3).unwrap_err();
        assert!(error.contains("expected a table with the columns image, rank"), "{error}");
    }
}
