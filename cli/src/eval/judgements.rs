//! What the network said of each picture, in a table that a later run goes on with.

use super::{
    pictures::Sample,
    score::{Judged, Score},
};
use crate::{
    failure::Failure,
    output::{Output, OutputArgs, csv_rows},
    text::{name_bytes, name_hex},
};

const COLUMNS: [&str; 5] = ["image", "class", "taken_for", "top5", "image_hex"];

/// The table, where one is asked for.
pub struct Judgements(Option<Output>);

impl Judgements {
    /// Opens the table. Where it is to be continued, counts what it holds in `score`, and leaves it out of `pictures`.
    pub fn open(args: &OutputArgs, score: &mut Score, pictures: &mut Vec<Sample>) -> Result<Self, Failure> {
        if !args.is_given() {
            return Ok(Self(None));
        }
        let Some(file) = args.file().filter(|_| args.ending() == "csv") else {
            return Err(Failure::usage(format!(
                "expected a file that ends in .csv as --output, found {}",
                args.name()
            )));
        };
        if !args.resume {
            return Ok(Self(Some(Output::create(file)?)));
        }
        let classes = score.classes();
        let (output, done) = Output::resume(file, |file| {
            csv_rows(file, &COLUMNS, |row| {
                let text = |column: usize| row.get(column).and_then(|text| str::from_utf8(text).ok());
                let class = |column| text(column).and_then(|class| class.parse().ok()).filter(|&class| class < classes);
                let (Some(class), Some(taken_for), Some(in_top5), Some(name)) = (
                    class(1),
                    class(2),
                    text(3).and_then(|top5| top5.parse().ok()),
                    text(0).and_then(|image| name_bytes(image, text(4))),
                ) else {
                    return Err(format!("expected a picture, and classes below {classes}, found something else"));
                };
                score.add(class, Judged { taken_for, in_top5 });
                Ok(Some(name))
            })
        })?;
        done.leave_out(pictures, |sample| &sample.item.name);
        Ok(Self(Some(output)))
    }

    /// Writes a row for each picture of a batch.
    pub fn write(&mut self, batch: &[(&Sample, Judged)]) -> Result<(), Failure> {
        let Some(output) = &mut self.0 else { return Ok(()) };
        let mut csv = csv::Writer::from_writer(vec![]);
        if output.is_new() {
            csv.write_record(COLUMNS)?;
        }
        for (Sample { item, class }, Judged { taken_for, in_top5 }) in batch {
            let image_hex = name_hex(&item.name).unwrap_or_default();
            csv.serialize((item.name.to_string_lossy(), class, taken_for, in_top5, image_hex))?;
        }
        output.write(&csv.into_inner().map_err(csv::IntoInnerError::into_error)?)
    }
}
