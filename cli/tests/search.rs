//! `alexnet index` and `alexnet search`: what is computed, kept and found, and errors.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod common;

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    time::{Duration, Instant, SystemTime},
};

use alexnet_wgpu::{Picture, splitmix};
use serde_json::Value;

use crate::common::{Folder, Output, alexnet, embedded, picture};

const INDEX: &str = ".alexnet-index.safetensors";

/// A picture that differs from those of other seeds in its shapes and colours: discs and stripes.
fn drawn(folder: &Folder, name: &str, seed: u32, [width, height]: [usize; 2]) -> PathBuf {
    let random: Vec<f32> = splitmix::uniform(u64::from(seed), 64, 0.5).iter().map(|x| x + 0.5).collect();
    let shape = |x: f32, y: f32| {
        let stripe = ((x + (random[1] - 0.5) * 3.0 * y) / (0.03 + 0.2 * random[2])).rem_euclid(1.0) < 0.5;
        let discs = random[3..30].as_chunks::<3>().0.iter().take(1 + seed as usize % 6);
        let mut discs = discs.map(|[cx, cy, r]| (x - cx).powi(2) + (y - cy).powi(2) < (0.05 + 0.2 * r).powi(2));
        usize::from(stripe && seed.is_multiple_of(3)) + 2 * usize::from(discs.any(|inside| inside))
    };
    let rgb: Vec<u8> = (0..width * height)
        .flat_map(|i| {
            let shape = shape((i % width) as f32 / width as f32, (i / width) as f32 / height as f32);
            [0, 1, 2].map(|channel| (random[40 + 3 * shape + channel] * 255.0) as u8)
        })
        .collect();
    folder.ppm(name, width, height, &rgb)
}

/// The picture with every sample changed.
fn changed(folder: &Folder, name: &str, of: &Path, change: impl Fn(usize, u8) -> u8) -> PathBuf {
    let picture = Picture::open(of).unwrap();
    let rgb: Vec<u8> = picture.rgb().iter().enumerate().map(|(i, &sample)| change(i, sample)).collect();
    folder.ppm(name, picture.width() as usize, picture.height() as usize, &rgb)
}

/// Twelve pictures, some of them deeper.
fn gallery() -> Folder {
    let folder = Folder::new();
    for seed in 0..12 {
        let name =
            if seed % 4 == 3 { format!("pictures/deep/{seed:02}.ppm") } else { format!("pictures/{seed:02}.ppm") };
        drawn(&folder, &name, seed, [90 + 4 * seed as usize, 80]);
    }
    folder
}

fn json(output: &Output) -> Vec<Value> {
    output.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// What `alexnet index --json` says.
fn index(folder: &Path, options: &str) -> Value {
    let output = alexnet(&format!("index --json {options}"), &[folder]);
    assert_eq!(output.code, Some(0), "{output:?}");
    json(&output).remove(0)
}

/// New, changed, gone and unchanged pictures.
fn counts(report: &Value) -> [u64; 4] {
    ["new", "changed", "gone", "unchanged"].map(|count| report[count].as_u64().unwrap())
}

#[test]
fn copies_are_found() {
    let folder = gallery();
    let pictures = folder.path("pictures");
    let report = index(&pictures, "");
    assert_eq!((counts(&report), report["pictures"].as_u64()), ([12, 0, 0, 0], Some(12)));
    assert!(pictures.join(INDEX).is_file());
    for (seed, name) in [(2, "02.ppm"), (7, "deep/07.ppm"), (9, "09.ppm")] {
        // Of another size, darker, and mirrored.
        let small = drawn(&folder, "small.ppm", seed, [70, 60]);
        let dark = changed(&folder, "dark.ppm", &small, |_, sample| sample / 2 + 20);
        let rgb = Picture::open(&small).unwrap().rgb().to_vec();
        let mirrored = changed(&folder, "mirrored.ppm", &small, |i, _| {
            let (row, x, channel) = (i / 210, i / 3 % 70, i % 3);
            rgb[row * 210 + (69 - x) * 3 + channel]
        });
        let output = alexnet("search --json --top 2", &[&small, &dark, &mirrored, &pictures]);
        assert_eq!((output.code, output.stderr.as_str()), (Some(0), ""), "{output:?}");
        let lines = json(&output);
        assert_eq!(lines.len(), 3);
        for line in lines {
            assert_eq!(line["found"].as_array().unwrap().len(), 2, "{line}");
            assert_eq!(line["found"][0]["file"].as_str().unwrap(), pictures.join(name).to_str().unwrap(), "{line}");
            let [first, second] = [0, 1].map(|i| line["found"][i]["cosine"].as_f64().unwrap());
            assert!(first <= 1.00001 && first > second, "{line}");
        }
    }
    // For people: the picture, and a line for each that was found.
    let text = alexnet("search --top 3", &[&folder.path("small.ppm"), &pictures]).success();
    assert_eq!(text.lines().count(), 4, "{text}");
    // A picture of the folder is not found as its own copy, and needs no device: this adapter does not exist.
    let mut command = common::command();
    command
        .args(["search", "--json", "--adapter", "nothing-like-it"])
        .args([pictures.join("02.ppm"), pictures.clone()]);
    let output = Output::of(&mut command);
    let line = &json(&output)[0];
    assert_eq!(line["found"].as_array().unwrap().len(), 10, "{output:?}");
    assert!(!line["found"].to_string().contains("/02.ppm"), "{line}");
    let none = alexnet("search --above 1", &[&folder.path("small.ppm"), &pictures]).success();
    assert!(none.contains("nothing found"), "{none}");
}

#[test]
fn only_what_changed_is_computed() {
    let folder = gallery();
    let pictures = folder.path("pictures");
    let place = folder.path("elsewhere.safetensors");
    let option = format!("--index {}", place.display());
    folder.file("pictures/notes.txt", "no picture");
    folder.file("pictures/.hidden.ppm", "no picture");
    folder.file("pictures/broken.png", "no picture");
    let report = index(&pictures, &option);
    assert_eq!(counts(&report), [12, 0, 0, 0]);
    assert_eq!(report["unreadable"].as_array().unwrap().len(), 1, "{report}");
    assert!(report["unreadable"][0]["file"].as_str().unwrap().ends_with("broken.png"), "{report}");
    assert!(!pictures.join(INDEX).exists());
    let before = fs::read(&place).unwrap();
    let report = index(&pictures, &option);
    assert_eq!((counts(&report), report["unreadable"].as_array().unwrap().len()), ([0, 0, 0, 12], 1));
    assert!(fs::read(&place).unwrap() == before);

    // One is new, one changed, one gone; of one only the time is another.
    let copy = drawn(&folder, "pictures/deep/new.ppm", 1, [60, 60]);
    drawn(&folder, "pictures/00.ppm", 50, [60, 60]);
    fs::remove_file(pictures.join("02.ppm")).unwrap();
    File::options().append(true).open(pictures.join("04.ppm")).unwrap().set_modified(SystemTime::UNIX_EPOCH).unwrap();
    let stale = alexnet(&format!("search --json --top 1 {option}"), &[&copy, &pictures]);
    assert_eq!(stale.code, Some(0), "{stale:?}");
    assert!(stale.stderr.contains("out of date (1 new, 2 changed, 1 gone): run alexnet index "), "{stale:?}");
    assert!(stale.stdout.contains("/01.ppm"), "{stale:?}");
    assert_eq!(counts(&index(&pictures, &option)), [1, 2, 1, 9]);
    let fresh = alexnet(&format!("search --json --top 1 {option}"), &[&pictures.join("01.ppm"), &pictures]);
    assert!(fresh.stderr.is_empty() && fresh.stdout.contains("deep/new.ppm"), "{fresh:?}");
    // Everything again finds the same.
    assert_eq!(counts(&index(&pictures, &format!("--rebuild {option}"))), [12, 0, 0, 0]);
    let again = alexnet(&format!("search --json --top 1 {option}"), &[&pictures.join("01.ppm"), &pictures]);
    assert!(again.stdout.contains("deep/new.ppm"), "{again:?}");
    let before = fs::read(&place).unwrap();
    // A folder that lost all its pictures is rather a disk that is not there.
    fs::remove_dir_all(&pictures).unwrap();
    fs::create_dir(&pictures).unwrap();
    alexnet(&format!("index {option}"), &[&pictures]).failure(1, &["expected pictures in", "none"]);
    assert!(fs::read(&place).unwrap() == before);
}

#[test]
fn duplicates_are_grouped() {
    let folder = gallery();
    let pictures = folder.path("pictures");
    // Two copies of one, one of another.
    changed(&folder, "pictures/a.ppm", &pictures.join("01.ppm"), |i, sample| sample ^ (i % 2) as u8);
    changed(&folder, "pictures/deep/b.ppm", &pictures.join("01.ppm"), |_, sample| sample.saturating_add(4));
    drawn(&folder, "pictures/deep/c.ppm", 5, [200, 150]);
    index(&pictures, "");
    let output = alexnet("search --duplicates --json --above 0.97", &[&pictures]);
    let groups: Vec<Vec<String>> = json(&output)
        .iter()
        .map(|line| line["files"].as_array().unwrap().iter().map(|file| file.as_str().unwrap().into()).collect())
        .collect();
    let files = |names: &[&str]| -> Vec<String> {
        names.iter().map(|name| pictures.join(name).to_str().unwrap().into()).collect()
    };
    assert!(groups.contains(&files(&["01.ppm", "a.ppm", "deep/b.ppm"])), "{groups:?}");
    assert!(groups.contains(&files(&["05.ppm", "deep/c.ppm"])), "{groups:?}");
    let text = alexnet("search --duplicates --above 0.97", &[&pictures]).success();
    assert!(text.contains("3 pictures, cosine 0.9") && text.contains("  "), "{text}");
    let none = alexnet("search --duplicates --above 1", &[&folder.path("pictures/deep")]);
    none.failure(1, &["no index", "run alexnet index "]);
}

/// The pictures of an index.
#[cfg(unix)]
fn rows(place: &Path) -> u64 {
    let bytes = fs::read(place).unwrap();
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let header: Value = serde_json::from_slice(&bytes[8..8 + length]).unwrap();
    header["vectors"]["shape"][0].as_u64().unwrap()
}

/// What is saved survives any end, and is not computed again.
#[cfg(unix)]
#[test]
fn a_stopped_index_goes_on() {
    use std::process::{Child, Stdio};

    let folder = Folder::new();
    let pictures = folder.path("pictures");
    // Enough for some batches, and large enough to take their time.
    for seed in 0..200 {
        drawn(&folder, &format!("pictures/{seed:03}.ppm"), seed, [300, 200]);
    }
    let start = || -> Child {
        common::prepared("index --json", &[&pictures]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    // Killed at any moment, the file is whole or not there; what it has is not computed again.
    let place = pictures.join(INDEX);
    let mut kept = 0;
    for milliseconds in [0, 300] {
        let mut child = start();
        let begin = Instant::now();
        while !place.exists() && child.try_wait().unwrap().is_none() && begin.elapsed() < Duration::from_secs(60) {
            std::thread::sleep(Duration::from_millis(5));
        }
        std::thread::sleep(Duration::from_millis(milliseconds));
        let _ = child.kill();
        child.wait().unwrap();
        let entries = rows(&place);
        assert!(entries >= kept.max(16), "{entries}");
        kept = entries;
    }
    let names = fs::read_dir(&pictures).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let left: Vec<String> = names.filter(|name| !name.ends_with(".ppm") && name != INDEX).collect();
    assert!(left.iter().all(|name| name.ends_with(".part")), "{left:?}");

    // Asked to end, it saves what it has.
    let child = start();
    std::thread::sleep(Duration::from_millis(2500));
    common::send("-INT", child.id());
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    let stopped = output.status.code() == Some(130);
    let first: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(first["unchanged"].as_u64() >= Some(kept), "{first}");
    let kept = first["pictures"].as_u64().unwrap();
    assert_eq!(first["stopped"].as_bool(), Some(stopped), "{first}");
    if stopped {
        assert!(stderr.contains("pictures are left, run this again"), "{stderr}");
    } else {
        // A machine on which this takes no time.
        assert_eq!((output.status.code(), kept), (Some(0), 200), "{stderr}");
    }
    let second = index(&pictures, "");
    assert_eq!(counts(&second), [200 - kept, 0, 0, kept]);
    assert_eq!(second["pictures"].as_u64(), Some(200));
}

#[test]
fn other_files_are_no_index() {
    let folder = gallery();
    let pictures = folder.path("pictures");
    index(&pictures, "");
    let query = pictures.join("01.ppm");
    let place = folder.path("other.safetensors");
    let good = fs::read(pictures.join(INDEX)).unwrap();
    let text = String::from_utf8_lossy(&good).into_owned();
    let length = u64::from_le_bytes(good[..8].try_into().unwrap()) as usize;
    let check = |bytes: &[u8], parts: &[&str]| {
        fs::write(&place, bytes).unwrap();
        for mut command in [common::prepared("search", &[&query, &pictures]), common::prepared("index", &[&pictures])] {
            Output::of(command.arg("--index").arg(&place))
                .failure(1, &[&["other.safetensors: expected"], parts].concat());
            assert!(fs::read(&place).unwrap() == bytes);
        }
    };
    check(&fs::read(embedded()).unwrap(), &["another safetensors file", "--index"]);
    check(&fs::read(picture("coffee.png")).unwrap(), &["something else", "--index"]);
    check(b"", &["damaged", "--rebuild"]);
    for end in [7, 9, 100, length, good.len() - 1] {
        fs::write(&place, &good[..end]).unwrap();
        let output = Output::of(common::prepared("index", &[&pictures]).arg("--index").arg(&place));
        output.failure(1, &["other.safetensors: expected"]);
    }
    let with = |from: &str, to: &str| {
        assert!(text.contains(from) && from.len() == to.len(), "{from}");
        let at = good.windows(from.len()).position(|part| part == from.as_bytes()).unwrap();
        [&good[..at], to.as_bytes(), &good[at + from.len()..]].concat()
    };
    check(&with(r#"version\":1"#, r#"version\":2"#), &["version 1, found version 2", "update"]);
    let at = text.find(r#"\"weights\":\""#).unwrap() + 14;
    let mut other = good.clone();
    other[at] = if other[at] == b'0' { b'1' } else { b'0' };
    check(&other, &["expected the features", "found", "weights", "--rebuild"]);
    check(&with("01.ppm\0", "../ppm\0"), &["damaged", "names that no folder has"]);
    let mut wild = good.clone();
    // The vectors are somewhere in the file: numbers that are none.
    wild[length + 8..].fill(0xFF);
    check(&wild, &["damaged"]);
    // Everything again replaces it.
    Output::of(common::prepared("index --rebuild", &[&pictures]).arg("--index").arg(&place)).success();
    Output::of(common::prepared("search", &[&query, &pictures]).arg("--index").arg(&place)).success();
}

#[test]
fn arguments_are_checked() {
    let folder = gallery();
    let pictures = folder.path("pictures");
    let query = pictures.join("01.ppm");
    alexnet("search", &[&query, &pictures]).failure(1, &["there is no index", "run alexnet index "]);
    alexnet("search", &[&pictures]).failure(2, &["a picture and, last, a folder"]);
    alexnet("search", &[&pictures, &query]).failure(2, &["a folder as the last argument", "01.ppm"]);
    alexnet("search --duplicates", &[&query, &pictures]).failure(2, &["one folder"]);
    alexnet("search --above 2", &[&query, &pictures]).failure(2, &["from -1 to 1"]);
    alexnet("index", &[Path::new("nowhere")]).failure(2, &["expected a folder", "nowhere"]);
    alexnet("index --output vectors.csv", &[&pictures]).failure(2, &[".npz", "vectors.csv"]);
    // No picture is ever overwritten.
    let before = fs::read(&query).unwrap();
    alexnet("index --index", &[&query, &pictures]).failure(1, &["01.ppm", "expected an index"]);
    alexnet("index --rebuild --index", &[&query, &pictures]).failure(2, &["01.ppm"]);
    assert!(fs::read(&query).unwrap() == before);
    index(&pictures, "");
    alexnet("search", &[Path::new("nowhere.png"), &pictures]).failure(1, &["nowhere.png"]);
    alexnet("search", &[&folder.file("text.png", "no picture"), &pictures]).failure(1, &["text.png"]);
}

#[test]
fn vectors_are_written_for_numpy() {
    let folder = gallery();
    let pictures = folder.path("pictures");
    let output = folder.path("vectors.npz");
    Output::of(common::prepared("index --output", &[&output, &pictures]).arg("--json")).success();
    let bytes = fs::read(&output).unwrap();
    assert!(bytes.starts_with(b"PK\x03\x04"));
    let text = String::from_utf8_lossy(&bytes);
    for part in
        ["names.npy", "vectors.npy", "'descr': '<U11', 'fortran_order': False, 'shape': (12,)", "'shape': (12, "]
    {
        assert!(text.contains(part), "{part}");
    }
}

/// Names are bytes on Unix.
#[cfg(target_os = "linux")]
#[test]
fn names_may_be_any_bytes() {
    use std::{ffi::OsStr, os::unix::ffi::OsStrExt};

    let folder = gallery();
    let pictures = folder.path("pictures");
    let odd = pictures.join(OsStr::from_bytes(b"odd \xFF\n.ppm"));
    fs::copy(pictures.join("01.ppm"), &odd).unwrap();
    assert_eq!(counts(&index(&pictures, "")), [13, 0, 0, 0]);
    assert_eq!(counts(&index(&pictures, "")), [0, 0, 0, 13]);
    let line = &json(&alexnet("search --json --top 1", &[&pictures.join("01.ppm"), &pictures]))[0];
    let hex: String = odd.as_os_str().as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(line["found"][0]["file_hex"].as_str(), Some(&*hex), "{line}");
    let groups = json(&alexnet("search --json --duplicates", &[&pictures]));
    assert!(groups.iter().any(|group| group["files_hex"].to_string().contains(&hex)), "{groups:?}");
    // One line, whatever the name.
    let text = alexnet("search --top 1", &[&pictures.join("01.ppm"), &pictures]).success();
    assert_eq!(text.lines().count(), 2, "{text}");
}
