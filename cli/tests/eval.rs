//! `alexnet eval`: counts that are known.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod common;

use std::{fs, io::Write, path::Path, process::Stdio};

use alexnet_wgpu::{Model, Picture, Resize, reference, splitmix};
use common::{Folder, Output, alexnet, fixture, picture, tiny};
use serde_json::{Value, json};

/// How many of the hundred garments the embedded model gets right, of each class.
const RIGHT: [u64; 10] = [10, 10, 8, 7, 7, 10, 9, 9, 10, 7];

/// Of the first two of each class.
const RIGHT_OF_TWO: [u64; 10] = [2, 2, 2, 2, 2, 2, 2, 1, 2, 1];

/// The first `count` of ten test pictures of Fashion-MNIST in a folder for each class, named by `name`.
fn garments(folder: &Folder, count: usize, name: impl Fn(usize) -> String) {
    let strip = Picture::open(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/garments.png")).unwrap();
    assert_eq!((strip.width(), strip.height()), (280, 280));
    for class in 0..10 {
        for column in 0..count {
            let row = |y: usize| &strip.rgb()[3 * ((class * 28 + y) * 280 + column * 28)..][..3 * 28];
            let rgb: Vec<u8> = (0..28).flat_map(|y| row(y).iter().copied()).collect();
            folder.ppm(&format!("garments/{}/{column}.ppm", name(class)), 28, 28, &rgb);
        }
    }
}

fn report(arguments: &str, files: &[&Path]) -> Value {
    serde_json::from_str(&alexnet(arguments, files).success()).unwrap()
}

fn right(report: &Value) -> Vec<u64> {
    report["classes"].as_array().unwrap().iter().map(|class| class["right"].as_u64().unwrap()).collect()
}

#[test]
fn the_embedded_model_gets_as_many_right_as_it_did() {
    let folder = Folder::new();
    let labels = Model::embedded().unwrap().labels;
    // A folder cannot be called T-shirt/top.
    garments(&folder, 10, |class| labels[class].replace('/', " "));
    let garments = folder.path("garments");
    let report = report("eval --json --batch 7", &[&garments]);
    assert_eq!(right(&report), RIGHT);
    let total: u64 = RIGHT.iter().sum();
    assert_eq!(report["top1"], json!({ "right": total, "rate": total as f64 / 100.0 }));
    assert_eq!((&report["pictures"], &report["crops"]), (&json!(100), &json!(1)));
    assert!(report["top5"]["right"].as_u64().unwrap() >= 99, "{report}");
    assert!(report["pictures_per_second"].as_f64().unwrap() > 0.0);
    // Every picture that is not right is taken for something else.
    let confusion = report["confusion"].as_array().unwrap();
    let wrong: u64 = confusion.iter().map(|pair| pair["pictures"].as_u64().unwrap()).sum();
    assert_eq!(wrong, 100 - total);

    let text = alexnet("eval", &[&garments]).success();
    assert!(text.contains(&format!("top-1   {total}.00 %  {total} of 100\n")), "{text}");
    let boots = text.lines().find(|line| line.contains("Ankle boot")).unwrap();
    let numbers: Vec<&str> = boots.split_whitespace().skip(5).collect();
    assert_eq!((numbers.len(), numbers[9]), (10, RIGHT[9].to_string().as_str()), "{boots:?}");
}

/// Pictures of which the mean of ten crops says another thing than the centre does.
#[test]
fn ten_crops_are_averaged() {
    let folder = Folder::new();
    let mut model = tiny();
    model.preprocessing.resize = Resize::Warp([26, 22]);
    let file = folder.weights("tiny.safetensors", &model.to_weights().unwrap());
    // The mean over crops of what the twin in double precision says, and by how much the largest is ahead.
    let decide = |input: &[f32]| {
        let mut mean = [0.0; 4];
        for crop in input.chunks_exact(3 * 16 * 16) {
            let crop: Vec<f64> = crop.iter().map(|&v| f64::from(v)).collect();
            let outputs = reference::run(&model.network, &model.weights, &crop).unwrap().pop().unwrap();
            mean.iter_mut().zip(outputs).for_each(|(mean, output)| *mean += output);
        }
        let mut order = [0, 1, 2, 3];
        order.sort_by(|&a, &b| mean[b].total_cmp(&mean[a]));
        (order[0], (mean[order[0]] - mean[order[1]]) / mean.iter().sum::<f64>())
    };
    let mut list = String::new();
    for seed in 0..200 {
        let noise = splitmix::uniform(seed, 3 * 9 * 9, 127.0);
        let rgb: Vec<u8> = noise.into_iter().map(|v| (v + 128.0) as u8).collect();
        let picture = Picture::from_rgb8(9, 9, rgb.clone()).unwrap();
        let (one, by) = decide(&model.preprocessing.apply(&picture).unwrap());
        let (ten, ahead) = decide(&model.preprocessing.ten_crops(&picture).unwrap());
        if one != ten && by > 0.01 && ahead > 0.01 {
            folder.ppm(&format!("{seed}.ppm"), 9, 9, &rgb);
            list += &format!("{seed}.ppm {}\n", model.labels[ten]);
        }
    }
    let pictures = list.lines().count();
    assert!(pictures >= 5, "{pictures}");
    let list = folder.file("list.txt", list);
    // Batches that do not divide the pictures.
    let right = |arguments| report(arguments, &[&file, &list])["top1"]["right"].clone();
    assert_eq!(right("eval --json --ten-crop --batch 30 --weights"), json!(pictures));
    assert_eq!(right("eval --json --ten-crop --batch 1 --weights"), json!(pictures));
    assert_eq!(right("eval --json --batch 4 --weights"), json!(0));
}

#[test]
fn lists_name_pictures_and_labels() {
    let folder = Folder::new();
    garments(&folder, 2, |class| class.to_string());
    let list = folder.file(
        "list.txt",
        "garments/9/0.ppm Ankle boot\n\ngarments/1/0.ppm\t1\r\ngarments/9/0.ppm 0\n  garments/8/0.ppm bag  \n",
    );
    let report = report("eval --json", &[&list]);
    assert_eq!((&report["pictures"], &report["top1"]["right"]), (&json!(4), &json!(3)));
    assert_eq!(report["confusion"], json!([{ "class": 0, "taken_for": 9, "pictures": 1 }]));
}

#[test]
fn what_cannot_be_read_is_counted() {
    let folder = Folder::new();
    garments(&folder, 2, |class| class.to_string());
    folder.file("garments/3/broken.png", "\x7fELF");
    folder.file("garments/4/empty.jpg", "");
    folder.file("garments/4/.hidden", "");
    folder.file("garments/readme.txt", "a file beside the folders is none of theirs");
    let output = alexnet("eval --json", &[&folder.path("garments")]);
    assert_eq!(output.code, Some(0), "{output:?}");
    let mut lines: Vec<&str> = output.stderr.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines.len(), 2, "{output:?}");
    assert!(lines[0].contains("broken.png: expected a") && lines[1].contains("empty.jpg: expected a"), "{lines:?}");
    let report: Value = serde_json::from_str(&output.stdout).unwrap();
    assert_eq!((&report["pictures"], right(&report)), (&json!(20), RIGHT_OF_TWO.to_vec()));
    let unreadable = report["unreadable"].as_array().unwrap();
    assert_eq!(unreadable.len(), 2);
    assert!(unreadable[0]["image"].as_str().unwrap().ends_with("broken.png"), "{unreadable:?}");

    let text = alexnet("eval", &[&folder.path("garments")]).stdout;
    assert!(text.contains("2 more could not be read"), "{text}");
    fs::create_dir(folder.path("none")).unwrap();
    fs::rename(folder.path("garments/4/empty.jpg"), folder.path("none/empty.jpg")).unwrap();
    let list = folder.file("list.txt", "none/empty.jpg coat\nnone/missing.png coat\n");
    let output = alexnet("eval", &[&list]);
    assert_eq!(output.code, Some(1));
    assert!(output.stderr.ends_with("alexnet: none of 2 pictures could be read\n"), "{output:?}");
}

/// What never ends is not waited for.
#[cfg(unix)]
#[test]
fn devices_are_no_pictures() {
    let folder = Folder::new();
    garments(&folder, 1, |class| class.to_string());
    std::os::unix::fs::symlink("/dev/zero", folder.path("garments/4/zero.png")).unwrap();
    let output = alexnet("eval --json", &[&folder.path("garments")]);
    assert_eq!(output.code, Some(0), "{output:?}");
    assert!(
        output.stderr.contains("zero.png: expected a picture, found something that is not a regular file"),
        "{output:?}"
    );
    let report: Value = serde_json::from_str(&output.stdout).unwrap();
    assert_eq!((&report["pictures"], report["unreadable"].as_array().unwrap().len()), (&json!(10), 1));
}

/// A network of a thousand classes is told by its worst mistakes.
#[test]
fn many_classes_and_labels_of_ones_own() {
    let folder = Folder::new();
    let network = alexnet_wgpu::AlexNet::TORCHVISION.width(0.05).head(4, 4).network().unwrap();
    let file = folder.weights("imagenet.safetensors", &alexnet_wgpu::Weights::random(&network, 3));
    let ids: Vec<String> = (0..1000).map(|i| format!("n{:08}", 7 * i)).collect();
    let labels = folder.file("ids.txt", ids.join("\n"));
    folder.plain_picture("one.ppm", 40, 30);
    for (class, picture) in [(3, "a"), (3, "b"), (999, "c")] {
        fs::create_dir_all(folder.path(&format!("val/{}/deeper", ids[class]))).unwrap();
        fs::copy(folder.path("one.ppm"), folder.path(&format!("val/{}/deeper/{picture}.ppm", ids[class]))).unwrap();
    }
    let arguments = [&file, Path::new("--labels"), &labels, &folder.path("val")];
    let text = alexnet("eval --network torchvision --weights", &arguments).success();
    assert!(text.contains("top-5 "), "{text}");
    let worst = text.lines().find(|line| line.contains("taken for")).unwrap();
    assert!(worst.trim_start().starts_with(&format!("2 of 2 {} taken for n", ids[3])), "{worst:?}");
}

#[test]
fn folders_that_are_no_class() {
    let folder = Folder::new();
    folder.plain_picture("garments/scarf/a.ppm", 28, 28);
    let garments = folder.path("garments");
    alexnet("eval", &[&garments])
        .failure(2, &["scarf is neither a label of the model (T-shirt/top, Trouser, Pullover, …)"]);
    fs::rename(garments.join("scarf"), garments.join("10")).unwrap();
    alexnet("eval", &[&garments]).failure(2, &["nor an index below 10"]);
    let list = folder.file("list.txt", "a.png coat\nb.png scarf\n");
    alexnet("eval", &[&list]).failure(2, &["list.txt: line 2: the end of `b.png scarf` is neither a label"]);
    fs::create_dir(folder.path("empty")).unwrap();
    alexnet("eval", &[&folder.path("empty")]).failure(1, &["expected pictures in folders of classes, found none"]);
    // What people try first.
    folder.plain_picture("flat/a.ppm", 28, 28);
    folder.plain_picture("flat/b.ppm", 28, 28);
    alexnet("eval", &[&folder.path("flat")])
        .failure(1, &["flat: expected", "found 2 files and no such folder", "for each class"]);
    for picture in [picture("bag.png"), folder.path("flat/a.ppm")] {
        alexnet("eval", &[&picture]).failure(1, &["expected a folder", "found a picture", "alexnet classify"]);
    }
    let empty = folder.file("empty.txt", "\n \n");
    alexnet("eval", &[&empty]).failure(1, &["empty.txt: expected a picture and its label on each line, found none"]);
    alexnet("eval", &[&folder.path("missing")]).failure(1, &["missing", "os error 2"]);
    alexnet("eval --batch 0", &[&garments]).failure(2, &["--batch"]);
    alexnet("eval --weights", &[&fixture("refused-hardmax.onnx"), &garments]).failure(1, &["Hardmax"]);
}

/// Folders, pictures in class folders, patterns, lists of either kind and standard input.
#[test]
fn labelled_pictures_come_from_everywhere() {
    let folder = Folder::new();
    garments(&folder, 2, |class| class.to_string());
    let run = |arguments: &str, input: &[u8]| {
        let mut command = common::prepared(&format!("eval --json {arguments}"), &[]);
        command.current_dir(folder.path("")).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(input).unwrap();
        let output = child.wait_with_output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Output { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    };
    // A list of its own folder, and lists of the current one.
    folder.file("garments/own.txt", "9/0.ppm Ankle boot\n1/0.ppm\t1\n");
    folder.file("list.txt", "garments/9/0.ppm 9\ngarments/1/0.ppm\n");
    let names = b"garments/9/0.ppm\0garments/8/1.ppm 8\0";
    for (arguments, input, pictures, right) in [
        ("garments garments", &b""[..], 40, 2 * RIGHT_OF_TWO.iter().sum::<u64>()),
        ("garments/9/0.ppm garments/1/1.ppm", b"", 2, 2),
        ("garments/[19]/*.ppm", b"", 4, RIGHT_OF_TWO[1] + RIGHT_OF_TWO[9]),
        ("garments/own.txt", b"", 2, 2),
        ("--from list.txt garments/8/0.ppm", b"", 3, 3),
        ("--from - -0", names, 2, 2),
        ("--from -", b"garments/9/0.ppm\ngarments/9/0.ppm bag\n", 2, 1),
    ] {
        let output = run(arguments, input);
        assert_eq!((output.code, output.stderr.as_str()), (Some(0), ""), "{arguments}: {output:?}");
        let report: Value = serde_json::from_str(&output.stdout).unwrap();
        let found = (report["pictures"].as_u64().unwrap(), report["top1"]["right"].as_u64().unwrap());
        assert_eq!(found, (pictures, right), "{arguments}");
    }
    run("garments/9/[ab].ppm", b"").failure(1, &["garments/9/[ab].ppm: expected pictures, found no file that matches"]);
    run("--from -", b"garments/9/0.ppm scarf\n").failure(2, &["-: line 1: the end of `garments/9/0.ppm scarf`"]);
    run("--from -", b"").failure(1, &["expected pictures with their labels, found none"]);
    run("", b"").failure(2, &["expected pictures, found none"]);
}

/// A table of judgements, of which a part is there already.
#[test]
fn judgements_are_kept() {
    let folder = Folder::new();
    garments(&folder, 10, |class| class.to_string());
    let garments = folder.path("garments");
    let table = folder.path("judged.csv");
    let judged = |resume: &str| report(&format!("eval --json {resume} --output"), &[&table, &garments]);
    let whole = judged("");
    assert_eq!(right(&whole), RIGHT);
    let text = fs::read_to_string(&table).unwrap();
    assert_eq!(text.lines().count(), 101);
    assert!(text.starts_with("image,class,taken_for,top5,image_hex\n"), "{text}");
    let wrong = text.lines().skip(1).filter(|line| line.split(',').nth(1) != line.split(',').nth(2)).count() as u64;
    assert_eq!(wrong, 100 - RIGHT.iter().sum::<u64>());
    for cut in [0, 10, 37, text.len() / 2, text.len() - 1, text.len()] {
        fs::write(&table, &text[..cut]).unwrap();
        let resumed = judged("--resume");
        assert_eq!((right(&resumed), &resumed["confusion"]), (RIGHT.to_vec(), &whole["confusion"]), "{cut}");
        assert_eq!(resumed["top5"], whole["top5"]);
        assert_eq!(fs::read_to_string(&table).unwrap(), text, "{cut}");
    }
    for (found, message) in [
        ("image,class\n", "expected a table with the columns image, class, taken_for, top5, image_hex"),
        ("image,class,taken_for,top5,image_hex\na,11,0,true,\n", "line 2: expected a picture, and classes below 10"),
        ("image,class,taken_for,top5,image_hex\na,1,0,true\nb,1,0,true,\n", "line 2: expected 5 columns, found 4"),
    ] {
        fs::write(&table, found).unwrap();
        alexnet("eval --resume --output", &[&table, &garments])
            .failure(1, &["judged.csv: ", message, "leave out --resume"]);
        assert_eq!(fs::read_to_string(&table).unwrap(), found);
    }
    alexnet("eval --output judged.json", &[&garments]).failure(2, &["expected a file that ends in .csv as --output"]);
}
