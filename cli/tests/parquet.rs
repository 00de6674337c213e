//! Parquet files: pictures in, results out. `cargo test -p alexnet --features parquet --test parquet`.
#![cfg(feature = "parquet")]
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod common;

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    sync::Arc,
};

use common::{Folder, alexnet, picture, prepared};
use parquet::{
    data_type::{ByteArray, ByteArrayType, Int64Type},
    file::{
        metadata::KeyValue,
        properties::WriterProperties,
        reader::{FileReader, SerializedFileReader},
        writer::SerializedFileWriter,
    },
    record::Field,
    schema::parser::parse_message_type,
};
use serde_json::Value;

/// A file that PyArrow wrote; see data/LICENSES.md.
fn garments() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/garments.parquet")
}

/// The rows of a table that the command wrote.
fn rows(path: &Path) -> Vec<Vec<(String, Field)>> {
    let file = SerializedFileReader::new(File::open(path).unwrap()).unwrap();
    file.get_row_iter(None).unwrap().map(|row| row.unwrap().into_columns()).collect()
}

fn text(field: &Field) -> &str {
    let Field::Str(text) = field else { panic!("{field:?}") };
    text
}

#[test]
fn pictures_in_a_column_are_read() {
    let table = garments();
    let (all, name) = (alexnet("classify --json --top 1", &[&picture("bag.png"), &table]), table.to_str().unwrap());
    assert_eq!(all.code, Some(1), "{all:?}");
    let found: Vec<Value> = all.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let images: Vec<&str> = found[1..].iter().map(|line| line["image"].as_str().unwrap()).collect();
    assert_eq!(images, [0, 1, 2, 6, 7].map(|row| format!("{name}#{row}")));
    let labels: Vec<&str> = found.iter().map(|line| line["top"][0]["label"].as_str().unwrap()).collect();
    assert_eq!(labels, ["Bag", "Ankle boot", "Bag", "Trouser", "Sneaker", "T-shirt/top"]);
    let mut errors: Vec<&str> = all.stderr.lines().collect();
    errors.sort_unstable();
    assert_eq!(errors.len(), 3, "{errors:#?}");
    assert!(errors[0].ends_with("garments.parquet#3: expected a picture, found NULL"), "{errors:#?}");
    assert!(errors[1].contains("garments.parquet#4: expected a BMP") && errors[1].contains("`broken`"), "{errors:#?}");
    assert!(errors[2].ends_with("garments.parquet#5: expected a picture, found NULL"), "{errors:#?}");

    // A column of bytes alone, as this command's own tables have none: by its name, and chosen among several.
    let named = alexnet("classify --column image --json", &[&table]);
    assert_eq!(named.stdout.lines().count(), 5, "{named:?}");
}

#[test]
fn other_columns_and_other_files_are_refused() {
    let folder = Folder::new();
    let table = garments();
    for (column, message) in [
        (
            "label",
            "expected a column of encoded pictures (bytes, or a struct with bytes), found label with INT64 in \"label\"",
        ),
        ("note", "found note with BYTE_ARRAY in \"note\""),
        ("picture", "expected a column called picture, found image, label, note"),
    ] {
        alexnet(&format!("classify --column {column}"), &[&table]).failure(1, &["garments.parquet: ", message]);
    }
    let bytes = fs::read(&table).unwrap();
    for (name, bytes) in [
        ("png.parquet", fs::read(picture("bag.png")).unwrap()),
        ("empty.parquet", vec![]),
        ("cut.parquet", bytes[..bytes.len() - 7].to_vec()),
    ] {
        let file = folder.file(name, bytes);
        alexnet("classify", &[&file]).failure(1, &[name, ": "]);
    }
    alexnet("classify", &[&folder.path("none.parquet")]).failure(1, &["cannot read", "none.parquet"]);
    // Without the pages that its end tells of.
    let half = alexnet("classify", &[&folder.file("half.parquet", &bytes[bytes.len() / 2..])]);
    assert_eq!((half.code, half.stderr.lines().count()), (Some(1), 8), "{half:?}");
    assert!(half.stderr.lines().all(|line| line.contains("half.parquet#")), "{half:?}");
    // Damage anywhere is an error of the file or of a picture.
    let mut hidden = 0;
    for at in (0..bytes.len()).step_by(211) {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x5A;
        let file = folder.file("damaged.parquet", damaged);
        let output = alexnet("classify --json --top 1", &[&file]);
        assert!(matches!(output.code, Some(0 | 1)) && !output.stderr.contains("panicked"), "{at}: {output:?}");
        hidden += usize::from(output.stdout.lines().count() == 5);
    }
    assert!(hidden > 0);
}

#[test]
fn results_are_written_as_tables() {
    let folder = Folder::new();
    let names = ["bag.png", "ankle-boot.png", "coat.png", "dress.png"];
    let pictures = names.map(picture);
    let mut files: Vec<&Path> = pictures.iter().map(AsRef::as_ref).collect();
    let (labels, features) = (folder.path("labels.parquet"), folder.path("features.parquet"));
    let csv = alexnet("classify --format csv --top 3", &files).success();
    files.insert(0, &labels);
    assert_eq!(alexnet("classify --top 3 --output", &files).success(), "");
    let table = rows(&labels);
    let mut lines = csv::Reader::from_reader(csv.as_bytes());
    let columns: Vec<String> = lines.headers().unwrap().iter().map(String::from).collect();
    assert_eq!(table[0].iter().map(|(name, _)| name).collect::<Vec<_>>(), columns.iter().collect::<Vec<_>>());
    let lines: Vec<csv::StringRecord> = lines.records().map(Result::unwrap).collect();
    assert_eq!((table.len(), lines.len()), (12, 12));
    for (row, line) in table.iter().zip(&lines) {
        assert_eq!([text(&row[0].1), text(&row[3].1), text(&row[5].1)], [&line[0], &line[3], ""]);
        let number = |field: usize| match row[field].1 {
            Field::Int(number) => f64::from(number),
            Field::Float(number) => f64::from(number),
            ref other => panic!("{other:?}"),
        };
        for field in [1, 2, 4] {
            assert!((number(field) - line[field].parse::<f64>().unwrap()).abs() < 1e-6, "{row:?} and {line:?}");
        }
    }

    files[0] = &features;
    assert_eq!(alexnet("features --layer fc6:pre --layer prob --output", &files).success(), "");
    let table = rows(&features);
    assert_eq!(table.len(), 4);
    for (row, line) in table.iter().zip(lines.chunks(3)) {
        let columns: Vec<&str> = row.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(columns, ["image", "fc6:pre", "prob", "image_hex"]);
        let list = |field: usize| -> Vec<f32> {
            let Field::ListInternal(list) = &row[field].1 else { panic!("{row:?}") };
            list.elements()
                .iter()
                .map(|value| if let Field::Float(value) = value { *value } else { panic!() })
                .collect()
        };
        let (before, probabilities) = (list(1), list(2));
        assert_eq!((before.len(), probabilities.len(), text(&row[0].1)), (256, 10, &line[0][0]));
        assert!(before.iter().any(|&value| value < 0.0));
        let index: usize = line[0][2].parse().unwrap();
        assert!((probabilities[index] - line[0][4].parse::<f32>().unwrap()).abs() < 1e-5);
    }

    // Complete outputs stay; other options need a new one.
    let mut resumed = prepared("classify --top 3 --resume --output", &files);
    let output = common::Output::of(resumed.args(["--adapter", "none-such"]));
    assert!(output.code == Some(0) && output.stderr.contains("is complete, and stays as it is"), "{output:?}");
    assert!(folder.names().iter().all(|name| !name.ends_with(".part")));
}

#[test]
fn labels_in_a_column_are_judged() {
    let (folder, table) = (Folder::new(), garments());
    let judged = folder.path("judged.csv");
    let report = alexnet("eval --json --output", &[&judged, &table]);
    let json: Value = serde_json::from_str(&report.stdout).unwrap();
    assert_eq!((json["pictures"].as_u64(), json["unreadable"].as_array().unwrap().len()), (Some(5), 3), "{report:?}");
    assert_eq!(json["top1"]["right"], 5, "{report:?}");
    let mut lines = csv::Reader::from_path(&judged).unwrap();
    let lines: Vec<csv::StringRecord> = lines.records().map(Result::unwrap).collect();
    let images: Vec<&str> = lines.iter().map(|line| line[0].rsplit('#').next().unwrap()).collect();
    assert_eq!(images, ["0", "1", "2", "6", "7"]);

    // Text, and names that the file keeps for its numbers.
    let named = folder.path("named.parquet");
    let names = r#"{"info":{"features":{"kind":{"names":["Bag","Coat","Ankle boot"],"_type":"ClassLabel"}}}}"#;
    labelled(&named, names, &[("ankle-boot.png", Some(2), "Ankle boot"), ("bag.png", Some(0), "bag")]);
    for column in ["kind", "text"] {
        let output = alexnet(&format!("eval --json --label-column {column}"), &[&named]).success();
        let json: Value = serde_json::from_str(&output).unwrap();
        assert_eq!(
            (json["pictures"].as_u64(), json["top1"]["right"].as_u64()),
            (Some(2), Some(2)),
            "{column}: {output}"
        );
    }

    let bad = folder.path("bad.parquet");
    labelled(&bad, names, &[("bag.png", Some(0), "Bag"), ("bag.png", None, "scarf")]);
    let output = alexnet("eval --json --label-column kind", &[&bad]).stdout;
    let json: Value = serde_json::from_str(&output).unwrap();
    assert_eq!((json["pictures"].as_u64(), json["top1"]["right"].as_u64()), (Some(1), Some(1)), "{output}");
    let reason = json["unreadable"][0]["reason"].as_str().unwrap();
    assert!(reason.ends_with("bad.parquet#1: expected a label in kind, found none"), "{output}");
    // Bytes that are no text.
    let none = alexnet("eval --label-column picture", &[&bad]);
    assert_eq!(none.code, Some(1), "{none:?}");
    assert!(none.stderr.ends_with("none of 2 pictures could be read\n"), "{none:?}");
    for (arguments, code, message) in [
        ("eval", 1, "bad.parquet: expected a column of labels called label, found picture, kind, text"),
        ("eval --label-column text", 2, "bad.parquet#1: `scarf` is neither a label of the model"),
    ] {
        alexnet(arguments, &[&bad]).failure(code, &[message]);
    }
}

/// Writes a table of pictures, each with a class as a number and as text, and metadata of the Python package `datasets`.
fn labelled(path: &Path, names: &str, rows: &[(&str, Option<i64>, &str)]) {
    let schema = "message schema { required binary picture; optional int64 kind; required binary text (STRING); }";
    let properties = WriterProperties::builder()
        .set_key_value_metadata(Some(vec![KeyValue::new("huggingface".to_string(), names.to_string())]))
        .build();
    let schema = Arc::new(parse_message_type(schema).unwrap());
    let mut file = SerializedFileWriter::new(File::create(path).unwrap(), schema, Arc::new(properties)).unwrap();
    let mut group = file.next_row_group().unwrap();
    let pictures: Vec<ByteArray> = rows.iter().map(|row| fs::read(picture(row.0)).unwrap().into()).collect();
    let texts: Vec<ByteArray> = rows.iter().map(|row| row.2.into()).collect();
    let numbers: Vec<i64> = rows.iter().filter_map(|row| row.1).collect();
    let present: Vec<i16> = rows.iter().map(|row| row.1.is_some().into()).collect();
    let mut column = group.next_column().unwrap().unwrap();
    column.typed::<ByteArrayType>().write_batch(&pictures, None, None).unwrap();
    column.close().unwrap();
    let mut column = group.next_column().unwrap().unwrap();
    column.typed::<Int64Type>().write_batch(&numbers, Some(&present), None).unwrap();
    column.close().unwrap();
    let mut column = group.next_column().unwrap().unwrap();
    column.typed::<ByteArrayType>().write_batch(&texts, None, None).unwrap();
    column.close().unwrap();
    group.close().unwrap();
    file.close().unwrap();
}
