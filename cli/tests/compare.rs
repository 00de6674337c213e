//! `alexnet compare`: numbers, thresholds, folders, reports, maps and errors.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod common;

use std::{fs, path::Path};

use serde_json::Value;

use crate::common::{Folder, Output, alexnet, command, embedded, fixture, picture};

/// A picture of `width` × `height` pixels with stripes; `change` is added to every 7th sample.
fn striped(folder: &Folder, name: &str, [width, height]: [usize; 2], change: u8) -> std::path::PathBuf {
    let sample = |i: usize| {
        ((i / 3 / 4 % 2 * 90 + i / 3 / width * 2 % 60) as u8).wrapping_add(if i.is_multiple_of(7) { change } else { 0 })
    };
    let rgb: Vec<u8> = (0..3 * width * height).map(sample).collect();
    folder.ppm(name, width, height, &rgb)
}

fn lines(output: &Output) -> Vec<Value> {
    output.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn two_pictures_are_one_line() {
    let coffee = picture("coffee.png");
    let same = alexnet("compare", &[&coffee, &coffee]).success();
    assert!(same.starts_with("coffee.png  LPIPS 0.00000  local 0.0000"), "{same}");
    assert!(same.contains("PSNR equal") && same.lines().count() == 1, "{same}");

    let folder = Folder::new();
    let [a, b] = [0, 40].map(|change| striped(&folder, &format!("{change}.ppm"), [64, 48], change));
    let output = alexnet("compare --json", &[&a, &b]);
    let [line] = &lines(&output)[..] else { panic!("{output:?}") };
    assert_eq!((output.code, line["verdict"].as_str()), (Some(0), Some("alike")));
    assert_eq!((line["name"].as_str(), line["max_difference"].as_u64()), (Some("40.ppm"), Some(40)));
    let lpips = line["lpips"].as_f64().unwrap();
    let layers: f64 = line["layers"].as_array().unwrap().iter().map(|layer| layer.as_f64().unwrap()).sum();
    assert!(lpips > 0.001 && (lpips - layers).abs() < 1e-6, "{line}");
    // The same in either order.
    assert_eq!(lines(&alexnet("compare --json", &[&b, &a]))[0]["lpips"], line["lpips"]);
}

/// The threshold that is told passes, and one below it does not.
#[test]
fn thresholds_decide() {
    let folder = Folder::new();
    let [a, b] = [0, 40].map(|change| striped(&folder, &format!("{change}.ppm"), [64, 48], change));
    let refused = alexnet("compare --fail-above 0.0001 --fail-above-local 0.001", &[&a, &b]);
    assert_eq!((refused.code, refused.stderr.as_str()), (Some(1), ""), "{refused:?}");
    assert!(refused.stdout.contains("DIFFERENT"), "{refused:?}");
    let told = |option: &str| -> f32 {
        let rest = refused.stdout.split(&format!("{option} ")).nth(1).unwrap();
        rest.split_whitespace().next().unwrap().parse().unwrap()
    };
    let (lpips, local) = (told("--fail-above"), told("--fail-above-local"));
    let passed = alexnet(&format!("compare --fail-above {lpips} --fail-above-local {local}"), &[&a, &b]).success();
    assert!(passed.trim_end().ends_with("alike"), "{passed}");
    for just_below in [format!("--fail-above {}", lpips * 0.99), format!("--fail-above-local {}", local * 0.99)] {
        assert_eq!(alexnet(&format!("compare {just_below}"), &[&a, &b]).code, Some(1));
    }
    alexnet("compare --fail-above -1", &[&a, &b]).failure(2, &["-1", "at least 0"]);

    // A file's thresholds go before the others, by name.
    let file = folder.file("thresholds.json", r#"{"40.ppm": {"lpips": 9}, "gone.png": {"local": 1}}"#);
    let output = alexnet("compare --fail-above 0.0001 --thresholds", &[&file, &a, &b]);
    assert_eq!(output.code, Some(0), "{output:?}");
    assert!(output.stderr.contains("gone.png") && output.stderr.lines().count() == 1, "{output:?}");
    for wrong in [r#"{"40.ppm": {"lips": 9}}"#, "[1]", r#"{"40.ppm": {"lpips": -1}}"#] {
        let file = folder.file("wrong.json", wrong);
        alexnet("compare --thresholds", &[&file, &a, &b]).failure(2, &["wrong.json", "expected"]);
    }
}

#[test]
fn what_cannot_be_compared_is_told() {
    let folder = Folder::new();
    let [small, wide, tall] =
        [[30, 64], [64, 50], [50, 64]].map(|size| striped(&folder, &format!("{}x{}.ppm", size[0], size[1]), size, 0));
    alexnet("compare", &[&wide, &tall]).failure(2, &["64×50", "50×64"]);
    alexnet("compare", &[&small, &small]).failure(2, &["31×31", "30×64"]);
    let text = folder.file("text.png", "no picture");
    alexnet("compare", &[&wide, &text]).failure(2, &["text.png"]);
    alexnet("compare", &[&wide, Path::new("nowhere.png")]).failure(2, &["nowhere.png"]);
    alexnet("compare", &[&wide, &folder.path(".")]).failure(2, &["two pictures or two folders"]);
    let empty = Folder::new();
    alexnet("compare", &[&empty.path("."), &empty.path(".")]).failure(2, &["expected pictures", "none"]);
    alexnet("compare --map map.jpg", &[&wide, &wide]).failure(2, &["--map", ".png"]);
    let no_adapter = Output::of(command().args(["compare", "--adapter", "nothing-like-it"]).args([&wide, &wide]));
    no_adapter.failure(2, &["nothing-like-it"]);
    // An input is never overwritten.
    let before = fs::read(&wide).unwrap();
    alexnet("compare --output", &[&wide, &wide, &wide]).failure(2, &["64x50.ppm"]);
    assert_eq!(fs::read(&wide).unwrap(), before);
}

#[test]
fn weights_of_other_networks_are_refused() {
    let coffee = picture("coffee.png");
    alexnet("compare --weights", &[&fixture("zoo.onnx"), &coffee, &coffee])
        .failure(2, &["zoo.onnx", "torchvision's AlexNet"]);
    alexnet("compare --lpips", &[&embedded(), &coffee, &coffee]).failure(2, &["fashion-mnist", "alex.pth"]);
    let trunk = Path::new(env!("CARGO_MANIFEST_DIR")).join("../weights/imagenet-trunk-f16.safetensors");
    let folder = Folder::new();
    let b = striped(&folder, "b.ppm", [64, 48], 40);
    let a = striped(&folder, "a.ppm", [64, 48], 0);
    let own = alexnet("compare", &[&a, &b]).success();
    assert_eq!(alexnet("compare --lpips", &[&trunk, &a, &b]).success(), own);
    alexnet("compare --weights", &[&fixture("no-such-file.pth"), &a, &b]).failure(2, &["no-such-file.pth"]);
}

/// Two folders, with a picture that only one of them has, a broken one, and one of another size.
fn folders() -> Folder {
    let folder = Folder::new();
    for (name, size, change) in [
        ("expected/a.ppm", [64, 48], 0),
        ("actual/a.ppm", [64, 48], 0),
        ("expected/deep/b.ppm", [64, 48], 0),
        ("actual/deep/b.ppm", [64, 48], 60),
        ("expected/c.ppm", [64, 48], 0),
        ("actual/c.ppm", [48, 64], 0),
        ("expected/d.ppm", [64, 48], 0),
        ("actual/e.ppm", [64, 48], 0),
    ] {
        striped(&folder, name, size, change);
    }
    folder.file("expected/f.png", "broken");
    folder.file("actual/f.png", "broken");
    folder.file("expected/notes.txt", "no picture");
    folder
}

#[test]
fn folders_are_compared_by_name() {
    let folder = folders();
    let [expected, actual] = ["expected", "actual"].map(|name| folder.path(name));
    let output = alexnet("compare --json --fail-above 0.0005", &[&expected, &actual]);
    assert_eq!(output.code, Some(2), "{output:?}");
    let found: Vec<(String, String)> = lines(&output)
        .iter()
        .map(|line| (line["name"].as_str().unwrap().into(), line["verdict"].as_str().unwrap().into()))
        .collect();
    let all = [
        ("a.ppm", "alike"),
        ("c.ppm", "error"),
        ("d.ppm", "error"),
        ("deep/b.ppm", "different"),
        ("e.ppm", "error"),
        ("f.png", "error"),
    ];
    assert_eq!(found, all.map(|(name, verdict)| (name.to_string(), verdict.to_string())));
    // One line on standard error for each that could not be compared.
    assert_eq!(output.stderr.lines().count(), 4, "{output:?}");
    for part in [
        "c.ppm: expected pictures of the same size",
        "d.ppm",
        "none in the second",
        "e.ppm",
        "none in the first",
        "f.png",
    ] {
        assert!(output.stderr.contains(part), "{part}: {output:?}");
    }
}

#[test]
fn reports_are_for_machines() {
    let folder = folders();
    let [expected, actual, report, maps] = ["expected", "actual", "report", "maps"].map(|name| folder.path(name));
    let run = |format: &str| {
        let arguments = format!("compare --fail-above 0.0005 --format {format}");
        let output =
            alexnet(&arguments, &[Path::new("--output"), &report, Path::new("--map"), &maps, &expected, &actual]);
        assert_eq!((output.code, output.stdout.as_str()), (Some(2), ""), "{output:?}");
        fs::read_to_string(&report).unwrap()
    };
    let junit = run("junit");
    assert!(junit.contains(r#"tests="6" failures="1" errors="4""#), "{junit}");
    assert!(junit.contains(r#"name="deep/b.ppm""#) && junit.contains("<failure message=\"LPIPS "), "{junit}");
    assert_eq!(junit.matches("<testcase").count(), junit.matches("</testcase>").count());
    let csv = run("csv");
    assert_eq!(csv.lines().count(), 7, "{csv}");
    assert!(csv.starts_with("name,verdict,lpips,largest,p99,p95,psnr,max_difference,differing,"), "{csv}");
    let columns: Vec<usize> = csv.lines().map(|line| line.split(',').count()).collect();
    assert!(columns.iter().all(|&count| count >= columns[0]), "{csv}");
    let markdown = run("markdown");
    assert!(markdown.starts_with("**6 compared: 1 alike, 1 different, 4 not comparable**"), "{markdown}");
    assert!(markdown.contains("| deep/b.ppm | ❌ |"), "{markdown}");
    // Maps of what could be compared, with a scale below.
    let map = alexnet_wgpu::Picture::open(maps.join("deep/b.ppm.png")).unwrap();
    assert!(map.width() >= 64 && map.height() > 48, "{map:?}");
    assert!(maps.join("a.ppm.png").is_file() && !maps.join("c.ppm.png").exists());
    // Equal pictures have a black map.
    let black = alexnet_wgpu::Picture::open(maps.join("a.ppm.png")).unwrap();
    assert!(black.rgb()[..3 * 64].iter().all(|&sample| sample < 5));
}

#[test]
fn masked_parts_are_not_compared() {
    let folder = Folder::new();
    let [width, height] = [64, 48];
    let a = striped(&folder, "a.ppm", [width, height], 0);
    let mut rgb = alexnet_wgpu::Picture::open(&a).unwrap().rgb().to_vec();
    rgb[..3 * width * 20].fill(255);
    let b = folder.ppm("b.ppm", width, height, &rgb);
    let mask: Vec<u8> = (0..3 * width * height).map(|i| if i / 3 / width < 20 { 0 } else { 255 }).collect();
    let mask = folder.ppm("mask.ppm", width, height, &mask);
    assert_eq!(alexnet("compare --fail-above 0", &[&a, &b]).code, Some(1));
    let masked = alexnet("compare --fail-above 0 --mask", &[&mask, &a, &b]).success();
    assert!(masked.contains("PSNR equal"), "{masked}");
    let wrong = folder.plain_picture("wrong.ppm", 10, 10);
    alexnet("compare --mask", &[&wrong, &a, &b]).failure(2, &["wrong.ppm", "64×48", "10×10"]);
}

/// The script of the GitHub Action: the summary, the maps, the verdict and the exit code.
#[cfg(unix)]
#[test]
fn the_action_writes_a_summary() {
    let folder = folders();
    let work = Folder::new();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/compare-action.sh");
    let bin = Path::new(env!("CARGO_BIN_EXE_alexnet")).parent().unwrap();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    for (expected, actual, code, verdict) in [
        ("expected", "actual", 2, "error"),
        ("expected/deep", "actual/deep", 1, "different"),
        ("expected", "expected", 2, "error"),
        ("expected/a.ppm", "actual/a.ppm", 0, "alike"),
    ] {
        let mut command = std::process::Command::new("bash");
        command.arg(&script).env("PATH", &path).env("RUNNER_TEMP", work.path("."));
        command.env("EXPECTED", folder.path(expected)).env("ACTUAL", folder.path(actual)).env("FAIL_ABOVE", "0.0005");
        command.env("GITHUB_OUTPUT", work.file("output", "")).env("GITHUB_STEP_SUMMARY", work.file("summary", ""));
        command.env_remove("XDG_RUNTIME_DIR");
        if let Some(adapter) = std::env::var_os("ALEXNET_ADAPTER") {
            command.env("WGPU_ADAPTER_NAME", adapter);
        }
        let output = Output::of(&mut command);
        assert_eq!(output.code, Some(code), "{output:?}");
        let read = |name: &str| fs::read_to_string(work.path(name)).unwrap();
        assert_eq!(read("output"), format!("verdict={verdict}\n"));
        assert!(read("summary").contains(" compared: ") && read("summary") == output.stdout, "{output:?}");
        assert!(fs::read_dir(work.path("alexnet-maps")).unwrap().count() > 0);
    }
}
