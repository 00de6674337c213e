//! Bad pictures, weights, labels and arguments: one line on standard error, the right exit code, nothing lost.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod common;

use std::{fs, path::Path};

use alexnet_wgpu::{Tensor, Weights};
use common::{Folder, Output, alexnet, picture, prepared, tiny};

#[test]
fn bad_pictures() {
    let folder = Folder::new();
    let png = fs::read(picture("bag.png")).unwrap();
    // The header of a PNG with its checksum: 60,000 × 60,000 pixels of 8-bit RGB.
    let bomb: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR\0\0\xea\x60\0\0\xea\x60\x08\x02\0\0\0\x0f\xb0\xe2\x15\
        \0\0\0\x0cIDAT\x78\x9c\x63\x60\xa0\x3d\0\0\0\x64\0\x01\x86\x64\x3c\x35\0\0\0\0IEND\xae\x42\x60\x82";
    let cases: [(&str, &[u8], &str); 5] = [
        ("empty.png", b"", "expected a picture, found an empty file"),
        ("truncated.png", &png[..png.len() / 2], "the PNG picture is cut off before its end"),
        ("header.png", &png[..20], "the PNG picture is cut off before its end"),
        ("text.jpg", b"Dear Sir or Madam,\nplease", r"found bytes that begin `Dear Sir or Mada`"),
        ("bomb.png", bomb, "found 60000×60000"),
    ];
    for (name, bytes, message) in cases {
        let path = folder.file(name, bytes);
        let output = alexnet("classify", &[&path]);
        output.failure(1, &[message]);
        assert_eq!(output.stdout, "");
    }
    alexnet("classify", &[&folder.path("missing.png")]).failure(1, &["missing.png", "(os error 2)"]);
    let none = Folder::new();
    alexnet("classify", &[&none.path("")]).failure(1, &["expected pictures, found none"]);
}

#[test]
#[cfg(unix)]
fn a_name_of_two_lines_is_told_on_one() {
    let folder = Folder::new();
    let path = folder.file("line\nbreak\u{1b}[2J.png", "");
    alexnet("classify", &[&path]).failure(1, &["line break [2J.png: expected a picture"]);
}

#[test]
fn several_bad_pictures_have_a_line_each() {
    let folder = Folder::new();
    let (first, second) = (folder.file("first.png", ""), folder.file("second.png", "x"));
    let output = alexnet("classify", &[&first, &second]);
    assert_eq!(output.code, Some(1), "{output:?}");
    let lines: Vec<&str> = output.stderr.lines().collect();
    assert_eq!(lines.len(), 2, "{output:?}");
    assert!(lines[0].contains("first.png: ") && lines[1].contains("second.png: "), "{output:?}");
}

/// Letters and words of the messages themselves.
#[test]
fn a_short_name_is_told_too() {
    let folder = Folder::new();
    let names = ["p", "e", "a", "c", "t", "file", "picture"];
    for name in names {
        folder.file(name, "");
    }
    let output = Output::of(prepared("classify", &names.map(Path::new)).current_dir(folder.path("")));
    assert_eq!((output.code, output.stderr.lines().count()), (Some(1), names.len()), "{output:?}");
    for (line, name) in output.stderr.lines().zip(names) {
        assert!(line.starts_with(&format!("alexnet: {name}: expected a picture, found")), "{output:?}");
    }
    let output = Output::of(prepared("features --layer fc7 --output x.npy e", &[]).current_dir(folder.path("")));
    output.failure(1, &["alexnet: e: expected a picture"]);
}

/// The tiny model's file after a change.
fn changed(folder: &Folder, change: impl FnOnce(&mut Weights)) -> std::path::PathBuf {
    let mut weights = tiny().to_weights().unwrap();
    change(&mut weights);
    folder.weights("changed.safetensors", &weights)
}

#[track_caller]
fn refused(weights: &Path, parts: &[&str]) {
    let output = alexnet("classify --weights", &[weights, &picture("bag.png")]);
    output.failure(1, parts);
    assert_eq!(output.stdout, "");
}

#[test]
fn weights_with_wrong_tensors() {
    let folder = Folder::new();
    let file = changed(&folder, |w| drop(w.remove("fc2.bias")));
    refused(&file, &["tensor `fc2.bias` is missing", "nearest name is `"]);
    let file = changed(&folder, |w| drop(w.insert("fc9.bias", Tensor::from_f32([1], vec![0.0]))));
    refused(&file, &["tensor `fc9.bias` is not part of network `tiny`"]);
    let file = changed(&folder, |w| drop(w.insert("fc2.bias", Tensor::from_f32([5], vec![0.0; 5]))));
    refused(&file, &["tensor `fc2.bias`: expected shape [4], found [5]"]);
    let values = vec![0.0, f32::NAN, 0.0, 0.0];
    let file = changed(&folder, |w| drop(w.insert("fc2.bias", Tensor::from_f32([4], values))));
    let finite = "changed.safetensors: tensor `fc2.bias`: expected finite numbers, found NaN at 1";
    refused(&file, &[finite]);
    for command in ["bench --runs 1 --weights", "tune --dry-run --weights"] {
        alexnet(command, &[&file]).failure(1, &[finite]);
    }
    let file = changed(&folder, |w| drop(w.metadata.insert("labels".into(), "[\"red\"]".into())));
    refused(&file, &["expected 4 labels, one per class, found 1"]);
    let file = changed(&folder, |w| drop(w.metadata.insert("network".into(), "alexnot".into())));
    refused(&file, &["no network recognised", "the note `network` says `alexnot`"]);
}

#[test]
fn weight_files_that_are_none() {
    let folder = Folder::new();
    let whole = fs::read(changed(&folder, |_| ())).unwrap();
    let lie = |header: &str| [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &[0; 16]].concat();
    let cases: [Vec<u8>; 8] = [
        vec![],
        b"PK\x03\x04 an archive".to_vec(),
        whole[..whole.len() - 1].to_vec(),
        whole[..100].to_vec(),
        [&u64::MAX.to_le_bytes()[..], &whole[8..]].concat(),
        lie(r#"{"a":{"dtype":"F32","shape":[4],"data_offsets":[0,1600]}}"#),
        lie(r#"{"a":{"dtype":"F32","shape":[4],"data_offsets":[8,0]}}"#),
        lie(r#"{"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,16]}}"#),
    ];
    for (i, bytes) in cases.into_iter().enumerate() {
        let file = folder.file(&format!("{i}.safetensors"), bytes);
        refused(&file, &["not a usable "]);
    }
    refused(&folder.path("missing.safetensors"), &["cannot read weights from", "missing.safetensors"]);
    refused(&folder.path(""), &["cannot read weights from"]);
}

#[test]
fn a_network_that_the_weights_do_not_fit() {
    let folder = Folder::new();
    let file = changed(&folder, |_| ());
    let output = alexnet("classify --network caffe --weights", &[&file, &picture("bag.png")]);
    output.failure(1, &["no network recognised", "found 1 and 1 in 4 tensors"]);
}

#[test]
fn bad_labels() {
    let folder = Folder::new();
    let bag = picture("bag.png");
    let three = folder.file("three.txt", "a\nb\nc\n");
    alexnet("classify --labels", &[&three, &bag])
        .failure(2, &["three.txt: expected 10 labels, one per class, found 3"]);
    let weights = folder.weights("tiny.safetensors", &tiny().to_weights().unwrap());
    alexnet("classify --labels", &[&three, "--weights".as_ref(), &weights, &bag])
        .failure(2, &["three.txt: expected 4 labels, one per class, found 3"]);
    // A blank line at the end is no label, one between labels is.
    let blank = folder.file("blank.txt", "a\n\nb\nc\n\n \n\r\n");
    alexnet("classify --labels", &[&blank, "--weights".as_ref(), &weights, &bag]).success();
    alexnet("classify --labels", &[&blank, &bag])
        .failure(2, &["blank.txt: expected 10 labels, one per class, found 4"]);
    let empty = folder.file("empty.txt", "");
    alexnet("classify --labels", &[&empty, &bag]).failure(2, &["expected 10 labels, one per class, found 0"]);
    let latin1 = folder.file("latin1.txt", b"coat\nd\xe9bardeur\n");
    alexnet("classify --labels", &[&latin1, &bag]).failure(1, &["latin1.txt: line 2 is not UTF-8"]);
    alexnet("classify --labels", &[&folder.path("missing.txt"), &bag]).failure(1, &["cannot read", "missing.txt"]);
}

#[test]
fn bad_arguments() {
    let bag = picture("bag.png");
    alexnet("classify", &[]).failure(2, &["<IMAGE>", "'--help'"]);
    alexnet("classify --top 0", &[&bag]).failure(2, &["--top", "at least 1"]);
    alexnet("classify --top -3", &[&bag]).failure(2, &["'-3'", "--top", "at least 1"]);
    alexnet("classify --top many", &[&bag]).failure(2, &["--top", "at least 1"]);
    alexnet("classify --colour", &[&bag]).failure(2, &["'--colour'"]);
    alexnet("classify --network caffe", &[&bag]).failure(2, &["--weights"]);
    alexnet("classify --weights x --network cafe", &[&bag]).failure(2, &["`cafe`", "did you mean `caffe`?"]);
    alexnet("clasify", &[&bag]).failure(2, &["'clasify'", "'classify'"]);
}
