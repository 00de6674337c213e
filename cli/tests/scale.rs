//! Many pictures at once: where they come from, runs that end early, and what a later run makes of what is there.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod common;

use std::{
    collections::BTreeMap,
    fs,
    io::{Read, Write},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use alexnet_wgpu::{Picture, reference, splitmix};
use common::{Folder, Output, prepared, tiny};
use rawzip::ZipArchive;
use serde_json::Value;

/// A folder with the tiny model and `count` small pictures that differ.
fn gallery(count: usize) -> Folder {
    let folder = Folder::new();
    folder.weights("tiny.safetensors", &tiny().to_weights().unwrap());
    (0..count).for_each(|i| drop(noise(&folder, &format!("pictures/{i:04}.ppm"), i as u64)));
    folder
}

fn noise(folder: &Folder, name: &str, seed: u64) -> PathBuf {
    let rgb: Vec<u8> = splitmix::uniform(seed, 3 * 20 * 16, 127.0).into_iter().map(|v| (v + 128.0) as u8).collect();
    folder.ppm(name, 20, 16, &rgb)
}

/// `alexnet` with these arguments and the tiny model, in the folder.
fn tiny_command(folder: &Folder, arguments: &str) -> Command {
    let mut command = prepared(arguments, &[]);
    command.args(["--weights", "tiny.safetensors"]).current_dir(folder.path(""));
    command
}

fn run(folder: &Folder, arguments: &str) -> Output {
    Output::of(&mut tiny_command(folder, arguments))
}

/// The same with something on standard input.
fn run_with(folder: &Folder, arguments: &str, input: &[u8]) -> Output {
    let mut command = tiny_command(folder, arguments);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    let output = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Output { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

/// The pictures in lines of JSON.
fn images(lines: &str) -> Vec<String> {
    let record = |line: &str| serde_json::from_str::<Value>(line).unwrap()["image"].as_str().unwrap().to_string();
    lines.lines().map(record).collect()
}

/// An array in a .npz file: shape and numbers.
fn npz(path: &Path) -> BTreeMap<String, (String, Vec<u8>)> {
    let bytes = fs::read(path).unwrap();
    let archive = ZipArchive::from_slice(&bytes).unwrap();
    let mut arrays = BTreeMap::new();
    for entry in archive.entries() {
        let entry = entry.unwrap();
        let name = String::from_utf8(entry.file_path().as_bytes().to_vec()).unwrap();
        let content = archive.get_entry(entry.wayfinder()).unwrap().data();
        let length = usize::from(u16::from_le_bytes([content[8], content[9]]));
        let header = str::from_utf8(&content[10..10 + length]).unwrap();
        let (_, shape) = header.split_once("'shape': ").unwrap();
        let shape = shape.split_once(", }").unwrap().0.to_string();
        arrays.insert(name.strip_suffix(".npy").unwrap().to_string(), (shape, content[10 + length..].to_vec()));
    }
    arrays
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks::<4>().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect()
}

/// Texts of four bytes a character.
fn texts((shape, bytes): &(String, Vec<u8>)) -> Vec<String> {
    let count: usize = shape.trim_matches(['(', ',', ')']).parse().unwrap();
    let text =
        |bytes: &[u8]| bytes.as_chunks().0.iter().filter_map(|&c| char::from_u32(u32::from_le_bytes(c))).collect();
    bytes
        .chunks(bytes.len() / count)
        .map(|bytes| {
            let text: String = text(bytes);
            text.trim_end_matches('\0').into()
        })
        .collect()
}

#[test]
fn pictures_come_from_everywhere_in_a_stable_order() {
    let folder = gallery(4);
    for (i, name) in
        ["more/b.ppm", "more/a/z.ppm", "more/c.txt.ppm", "more/.hidden.ppm", "more/.h/x.ppm"].iter().enumerate()
    {
        noise(&folder, name, 50 + i as u64);
    }
    folder.file("more/notes.txt", "no picture");
    folder.file("list.txt", "\u{feff}pictures/0003.ppm\r\n\nmore/a\n  spaced.ppm\nmore/b.ppm");
    noise(&folder, "  spaced.ppm", 70);
    folder.file("zeros", "pictures/0001.ppm\0line\nbreak.ppm\0");
    noise(&folder, "line\nbreak.ppm", 71);

    let more = ["more/a/z.ppm", "more/b.ppm", "more/c.txt.ppm"];
    let pictures = ["pictures/0000.ppm", "pictures/0001.ppm", "pictures/0002.ppm", "pictures/0003.ppm"];
    let list = ["pictures/0003.ppm", "more/a/z.ppm", "  spaced.ppm", "more/b.ppm"];
    let cases: [(&str, Vec<&str>); 8] = [
        ("more", more.to_vec()),
        (
            "pictures/0002.ppm more/b.ppm pictures/0002.ppm",
            vec!["pictures/0002.ppm", "more/b.ppm", "pictures/0002.ppm"],
        ),
        ("pictures/*.ppm", pictures.to_vec()),
        ("**/0001.p?m more/[ab]*", vec!["pictures/0001.ppm", "more/a/z.ppm", "more/b.ppm"]),
        ("--from list.txt", list.to_vec()),
        ("--from zeros -0", vec!["pictures/0001.ppm", "line\nbreak.ppm"]),
        ("more --from list.txt pictures", [&more[..], &pictures, &list].concat()),
        ("--from list.txt --from list.txt", [list, list].concat()),
    ];
    for (arguments, expected) in cases {
        let output = run(&folder, &format!("classify --json {arguments}"));
        assert_eq!((output.code, output.stderr.as_str()), (Some(0), ""), "{arguments}: {output:?}");
        assert_eq!(images(&output.stdout), expected, "{arguments}");
    }

    // Standard input: a picture, and a list.
    let bytes = fs::read(folder.path("pictures/0002.ppm")).unwrap();
    let output = run_with(&folder, "classify --json pictures/0001.ppm - more", &bytes);
    assert_eq!(images(&output.stdout), [&["pictures/0001.ppm", "-"], &more[..]].concat(), "{output:?}");
    let label = |line: &str| serde_json::from_str::<Value>(line).unwrap()["top"].clone();
    let same = run(&folder, "classify --json pictures/0002.ppm").stdout;
    let alone = run_with(&folder, "classify --json -", &bytes).stdout;
    assert_eq!(label(&alone), label(&same));
    let output = run_with(&folder, "classify --json --from - -0", b"more/b.ppm\0pictures/0000.ppm");
    assert_eq!(images(&output.stdout), ["more/b.ppm", "pictures/0000.ppm"], "{output:?}");
    run_with(&folder, "classify - --from -", b"").failure(2, &["standard input can be read once, found - 2 times"]);
    run_with(&folder, "classify -", b"no picture").failure(1, &["-: expected a BMP", "no picture"]);
}

#[test]
fn batches_of_any_size_say_the_same() {
    let folder = gallery(35);
    let tops = |arguments: &str| {
        let output = run(&folder, &format!("classify --json {arguments}"));
        assert_eq!((output.code, output.stderr.as_str()), (Some(0), ""), "{output:?}");
        let records: Vec<Value> = output.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let number = |value: &Value| value.as_f64().unwrap();
        let top = |record: &Value| {
            let top = record["top"].as_array().unwrap().iter();
            top.map(|class| (number(&class["index"]) as usize, number(&class["probability"])))
                .collect::<BTreeMap<_, _>>()
        };
        records.iter().map(top).collect::<Vec<_>>()
    };
    let alone = tops("--batch 1 pictures");
    assert_eq!(alone.len(), 35);
    // One by one, uneven last batches, one batch that is not full, and the default.
    for batch in ["--batch 2", "--batch 16", "--batch 64", ""] {
        for (found, expected) in tops(&format!("{batch} pictures")).iter().zip(&alone) {
            for (class, probability) in expected {
                assert!((found[class] - probability).abs() < 1e-5, "{batch}: {found:?} for {expected:?}");
            }
        }
    }
    run(&folder, "classify --batch 0 pictures").failure(2, &["--batch"]);
}

#[test]
fn what_cannot_be_read_is_told_and_counted() {
    let folder = gallery(40);
    fs::create_dir(folder.path("empty")).unwrap();
    folder.file("pictures/0007.ppm", "P6 20 16 255\nshort");
    let mut list: String = (0..40).map(|i| format!("pictures/{i:04}.ppm\n")).collect();
    (0..8).for_each(|i| list += &format!("missing/{i}.ppm\n"));
    folder.file("list.txt", list);
    let output = run(&folder, "classify --json empty nothing/*.ppm --from list.txt pictures/0000.ppm");
    assert_eq!((output.code, output.stdout.lines().count()), (Some(1), 40), "{output:?}");
    let lines: Vec<&str> = output.stderr.lines().collect();
    assert_eq!(lines.len(), 12, "{lines:#?}");
    assert!(lines[0].contains("empty: expected pictures, found none"), "{lines:#?}");
    assert!(lines[1].contains("nothing/*.ppm: expected pictures, found no file that matches"), "{lines:#?}");
    assert!(lines[2].contains("pictures/0007.ppm: the PNM picture is cut off"), "{lines:#?}");
    assert!(lines[3..11].iter().all(|line| line.contains("missing/") && line.contains("os error 2")), "{lines:#?}");
    assert_eq!(lines[11], "alexnet: 11 of 51 pictures failed");

    run(&folder, "classify --from missing.txt").failure(1, &["cannot read missing.txt"]);
    folder.file("none.txt", "\n\r\n");
    run(&folder, "classify --from none.txt").failure(1, &["none.txt: expected names of pictures, found none"]);
    run(&folder, "classify a***b").failure(2, &["a***b", "wildcards"]);
}

/// Bytes that are no UTF-8, and the same name twice.
#[test]
#[cfg(target_os = "linux")]
fn names_may_be_any_bytes() {
    use std::{ffi::OsStr, os::unix::ffi::OsStrExt};

    let folder = gallery(3);
    let odd = Path::new(OsStr::from_bytes(b"pictures/\xff,\"x\"\n.ppm"));
    fs::copy(folder.path("pictures/0000.ppm"), folder.path("").join(odd)).unwrap();
    let hex: String = odd.as_os_str().as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    folder.file("list", b"pictures/\xff,\"x\"\n.ppm\0pictures/0001.ppm\0pictures/\xff,\"x\"\n.ppm\0");
    let four = "classify pictures --from list -0 --top 2";
    // The odd name is three of seven pictures, each with one line of JSON or two of CSV.
    for (output, count) in [("labels.jsonl", 3), ("labels.csv", 6)] {
        let whole = format!("{four} --output {output}");
        assert_eq!(run(&folder, &whole).success(), "");
        let written = fs::read_to_string(folder.path(output)).unwrap();
        assert_eq!(written.matches(&hex).count(), count);
        // Nothing is left to do, and of a file that was cut only what is missing.
        run(&folder, &format!("{whole} --resume --adapter none-such")).success();
        assert_eq!(fs::read_to_string(folder.path(output)).unwrap(), written);
        folder.file(output, &written[..written.len() - 3]);
        run(&folder, &format!("{whole} --resume")).success();
        let again = fs::read_to_string(folder.path(output)).unwrap();
        assert_eq!(again.matches(&hex).count(), count);
        assert_eq!(again.matches("0001.ppm").count(), written.matches("0001.ppm").count());
    }
    run(&folder, "features pictures --from list -0 --layer fc2 --output f.npz").success();
    let arrays = npz(&folder.path("f.npz"));
    assert_eq!(arrays["fc2"].0, "(7, 4)");
    let rows = floats(&arrays["fc2"].1);
    assert!(rows[12..16] == rows[16..20] && rows[12..16] == rows[24..28] && rows[..4] == rows[12..16], "{rows:?}");
}

/// Several layers, before and after their activation functions, in every form.
#[test]
fn features_of_many_pictures_in_every_form() {
    let folder = gallery(19);
    let model = tiny();
    let expected = |index: usize| -> Vec<Vec<f64>> {
        let picture = Picture::open(folder.path(&format!("pictures/{index:04}.ppm"))).unwrap();
        let input: Vec<f64> = model.preprocessing.apply(&picture).unwrap().into_iter().map(f64::from).collect();
        reference::run(&model.network, &model.weights, &input).unwrap()
    };
    let layers = "features pictures --layer pool1 --layer conv1:pre --layer conv1 --layer fc2";
    assert_eq!(run(&folder, &format!("{layers} --output f.npz")).success(), "");
    let arrays = npz(&folder.path("f.npz"));
    assert_eq!(arrays.keys().collect::<Vec<_>>(), ["conv1", "conv1:pre", "fc2", "names", "pool1"]);
    let names: Vec<String> = (0..19).map(|i| format!("pictures/{i:04}.ppm")).collect();
    assert_eq!(texts(&arrays["names"]), names);
    for (name, shape) in
        [("pool1", "(19, 6, 8, 8)"), ("conv1", "(19, 6, 16, 16)"), ("conv1:pre", "(19, 6, 16, 16)"), ("fc2", "(19, 4)")]
    {
        assert_eq!(arrays[name].0, shape);
        let rows = floats(&arrays[name].1);
        let rows: Vec<&[f32]> = rows.chunks(rows.len() / 19).collect();
        for (i, row) in rows.iter().enumerate() {
            let layers = expected(i);
            match name {
                "pool1" => assert!(reference::relative_error(row, &layers[1]) < 1e-5),
                "conv1" => assert!(reference::relative_error(row, &layers[0]) < 1e-5),
                "fc2" => assert!(reference::relative_error(row, &layers[2]) < 1e-5),
                _ => {
                    let after: Vec<f32> = row.iter().map(|value| value.max(0.0)).collect();
                    assert!(row.iter().any(|&value| value < 0.0));
                    assert!(reference::relative_error(&after, &layers[0]) < 1e-5);
                }
            }
        }
    }

    // The same numbers in the other forms, to a file and to standard output.
    assert_eq!(run(&folder, &format!("{layers} --output f.safetensors")).success(), "");
    let bytes = fs::read(folder.path("f.safetensors")).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    for name in ["pool1", "conv1", "conv1:pre", "fc2"] {
        assert!(file.tensor(name).unwrap().data() == arrays[name].1, "{name}");
    }
    assert_eq!(file.tensor("fc2").unwrap().shape(), [19, 4]);
    let zeros: String = names.iter().map(|name| format!("{name}\0")).collect();
    assert_eq!(file.tensor("names").unwrap().data(), zeros.as_bytes());
    for form in ["npz", "safetensors"] {
        let output = tiny_command(&folder, &format!("{layers} --format {form}")).output().unwrap();
        assert!(
            output.status.success() && output.stdout == fs::read(folder.path(&format!("f.{form}"))).unwrap(),
            "{form}"
        );
    }
    assert_eq!(run(&folder, "features pictures --layer fc2 --output f.npy").success(), "");
    let array = fs::read(folder.path("f.npy")).unwrap();
    assert!(array[128..] == arrays["fc2"].1, "{} bytes", array.len());
    assert!(str::from_utf8(&array[10..128]).unwrap().contains("'shape': (19, 4)"));
    let table = run(&folder, "features pictures --layer fc2 --layer prob --format csv").success();
    let lines: Vec<Vec<&str>> = table.lines().map(|line| line.split(',').collect()).collect();
    let columns = ["image", "fc2.0", "fc2.1", "fc2.2", "fc2.3", "prob.0", "prob.1", "prob.2", "prob.3", "image_hex"];
    assert_eq!((lines.len(), &lines[0][..]), (20, &columns[..]));
    for ((line, name), row) in lines[1..].iter().zip(&names).zip(floats(&arrays["fc2"].1).chunks(4)) {
        assert_eq!((line[0], line[9]), (name.as_str(), ""));
        assert_eq!(line[1..5].iter().map(|value| value.parse::<f32>().unwrap()).collect::<Vec<_>>(), row);
    }
    assert!(folder.names().iter().all(|name| !name.ends_with(".part")), "{:?}", folder.names());

    // Half the precision in the fully connected layers only.
    let half = "features pictures --layer pool1 --layer fc2 --dtype f16 --untuned --output half.npz";
    assert_eq!(run(&folder, half).success(), "");
    let half = npz(&folder.path("half.npz"));
    assert!(half["pool1"] == arrays["pool1"] && half["fc2"] != arrays["fc2"]);
    let exact: Vec<f64> = floats(&arrays["fc2"].1).into_iter().map(f64::from).collect();
    assert!(reference::relative_error(&floats(&half["fc2"].1), &exact) < 2e-3);

    // One picture in a folder is an array of one; a picture that is named is none.
    fs::create_dir(folder.path("one")).unwrap();
    fs::copy(folder.path("pictures/0000.ppm"), folder.path("one/0000.ppm")).unwrap();
    for (pictures, shape, tensors) in
        [("one", vec![1, 6, 8, 8], 2), ("one/*", vec![1, 6, 8, 8], 2), ("one/0000.ppm", vec![6, 8, 8], 1)]
    {
        run(&folder, &format!("features {pictures} --layer pool1 --output one.safetensors")).success();
        let bytes = fs::read(folder.path("one.safetensors")).unwrap();
        let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        assert_eq!((file.tensor("pool1").unwrap().shape(), file.len()), (&shape[..], tensors));
    }
}

#[test]
fn features_that_cannot_be_written_that_way() {
    let folder = gallery(2);
    for (arguments, message) in [
        (
            "pictures --layer fc2",
            "expected --format, or an --output that ends in .npy, .npz, .safetensors or .csv, found none",
        ),
        ("pictures --layer fc2 --layer prob --output f.npy", "expected one layer for a .npy file, found 2"),
        ("pictures --layer fc2 --layer fc2 --output f.npz", "expected each layer once, found fc2 twice"),
        ("pictures --layer fc2:pre --output f.npz", "layer fc2 has no activation function: leave out :pre"),
        ("pictures --layer fc2 --output - --format csv --resume", "expected a file as --output with --resume, found -"),
        ("pictures --layer fc2 --format csv --resume", "--output"),
        ("--input x.npy pictures --layer fc2 --output f.npy", "cannot be used with"),
        ("--layer fc2 --output f.npy", "expected pictures, found none"),
    ] {
        run(&folder, &format!("features {arguments}")).failure(2, &[message]);
    }
    fs::create_dir(folder.path("f.npz")).unwrap();
    run(&folder, "features pictures --layer fc2 --output f.npz").failure(1, &["cannot write f.npz", "found a folder"]);
    run(&folder, "classify pictures --output labels.txt --resume").failure(2, &["--format json or csv with --resume"]);
    assert_eq!(folder.names(), ["f.npz", "pictures", "tiny.safetensors"]);
}

/// A child that is ended with the test.
struct Running(std::process::Child);

impl Running {
    fn start(folder: &Folder, arguments: &str) -> Self {
        let mut command = tiny_command(folder, arguments);
        Self(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap())
    }

    /// Whether it has ended before `file` was longer than `length`.
    fn has_ended_before(&mut self, file: &Path, length: u64) -> bool {
        loop {
            if self.0.try_wait().unwrap().is_some() {
                return true;
            }
            if fs::metadata(file).is_ok_and(|file| file.len() > length) {
                return false;
            }
            thread::sleep(Duration::from_millis(1));
        }
    }

    fn end(mut self) -> Output {
        let read = |from: &mut dyn Read| {
            let mut text = String::new();
            from.read_to_string(&mut text).unwrap();
            text
        };
        let (stdout, stderr) = (read(self.0.stdout.as_mut().unwrap()), read(self.0.stderr.as_mut().unwrap()));
        Output { code: self.0.wait().unwrap().code(), stdout, stderr }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The longest part of a file that ends in a whole line.
fn whole_lines(file: &Path) -> String {
    let text = String::from_utf8(fs::read(file).unwrap_or_default()).unwrap();
    text[..text.rfind('\n').map_or(0, |end| end + 1)].to_string()
}

/// Killed at ten random moments: what is there stays, to the byte, and nothing is there twice.
#[test]
fn killed_runs_go_on() {
    let folder = gallery(400);
    folder.file("pictures/0111.ppm", "broken");
    // Small batches, and each picture three times, so that there is much to interrupt.
    let runs = [
        ("classify --top 3 pictures pictures pictures --batch 1", "labels.jsonl", "labels.jsonl"),
        ("classify --top 3 pictures pictures pictures --batch 1", "labels.csv", "labels.csv"),
        ("features --layer conv1 --layer fc2 pictures pictures pictures --batch 1", "f.npz", "f.npz.part"),
        ("features --layer fc2 --layer prob pictures pictures pictures --batch 1", "f.csv", "f.csv"),
    ];
    let seed = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos() as u64;
    println!("seed {seed}");
    for (arguments, output, growing) in runs {
        let growing = folder.path(growing);
        let at_once = run(&folder, &format!("{arguments} --output whole-{output}"));
        assert_eq!(at_once.code, Some(1), "{at_once:?}");
        assert!(at_once.stderr.contains("0111.ppm"), "{at_once:?}");
        let resumed = format!("{arguments} --output {output} --resume");
        let (mut kills, mut before) = (0, Vec::new());
        for delay in splitmix::uniform(seed, 10, 15.0) {
            let length = fs::metadata(&growing).map_or(0, |file| file.len());
            let mut running = Running::start(&folder, &resumed);
            if running.has_ended_before(&growing, length) {
                break;
            }
            thread::sleep(Duration::from_micros((1000.0 * (delay + 15.0)) as u64));
            running.0.kill().unwrap();
            running.0.wait().unwrap();
            kills += 1;
            let now = fs::read(&growing).unwrap_or_default();
            // What was whole before this run is there; the last line or picture may have been cut.
            if output.ends_with("npz") {
                assert!(now.is_empty() || now.len() >= before.len().saturating_sub(10_000));
            } else {
                assert!(now.starts_with(&before), "{output}: {} bytes, then {}", before.len(), now.len());
                before = whole_lines(&growing).into_bytes();
                // Of several rows of a picture the last may be missing.
                if output == "labels.csv" {
                    let rows = before.iter().filter(|&&byte| byte == b'\n').count() - 1;
                    let begin = |text: &[u8]| {
                        text[..text.len() - 1].iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1)
                    };
                    (0..rows % 3).for_each(|_| before.truncate(begin(&before)));
                }
            }
        }
        assert!(kills >= 3, "{output}: {kills} kills only");
        let last = run(&folder, &resumed);
        assert!(last.code == Some(1) && last.stderr.lines().count() == 3, "{last:?}");
        let whole = folder.path(&format!("whole-{output}"));
        if output.ends_with("jsonl") {
            let written = fs::read_to_string(folder.path(output)).unwrap();
            assert!(written.as_bytes().starts_with(&before), "what was written was written again");
            let same = |text: &str| -> Vec<Value> {
                let line = |line| {
                    let mut line: Value = serde_json::from_str(line).unwrap();
                    line.as_object_mut().unwrap().remove("ms");
                    line
                };
                text.lines().map(line).collect()
            };
            assert_eq!(same(&written), same(&fs::read_to_string(whole).unwrap()));
            assert_eq!(written.lines().count(), 3 * 399);
        } else {
            assert!(fs::read(folder.path(output)).unwrap() == fs::read(whole).unwrap(), "{output}");
        }
        assert!(!folder.path(&format!("{output}.part")).exists());
    }
    // A finished output is left as it is.
    let again = run(
        &folder,
        "features --layer conv1 --layer fc2 pictures pictures pictures --output f.npz --resume --adapter none-such",
    );
    assert_eq!(again.code, Some(0), "{again:?}");
    assert!(again.stderr.contains("f.npz is complete, and stays as it is"), "{again:?}");
}

/// Ctrl-C, and what a supervisor sends.
#[test]
#[cfg(unix)]
fn stopped_runs_keep_what_is_done() {
    const COUNT: usize = 3000;
    let folder = gallery(500);
    // So many that the signal comes before the last.
    let pictures = "pictures pictures pictures pictures pictures pictures --batch 1";
    for (arguments, output, growing, signal) in [
        ("classify --top 2", "labels.csv", "labels.csv", "-INT"),
        ("classify", "labels.jsonl", "labels.jsonl", "-TERM"),
        ("features --layer conv1 --layer fc2", "f.npz", "f.npz.part", "-TERM"),
    ] {
        let growing = folder.path(growing);
        let command = format!("{arguments} {pictures} --output {output}");
        let mut running = Running::start(&folder, &command);
        assert!(!running.has_ended_before(&growing, 1000), "{output}: nothing to stop");
        common::send(signal, running.0.id());
        let stopped = running.end();
        stopped.failure(130, &["stopped: ", " pictures are left; the same command with --resume goes on"]);
        let left: usize = stopped.stderr.split(' ').nth(2).unwrap().replace(',', "").parse().unwrap();
        assert!((1..COUNT).contains(&left), "{stopped:?}");
        if output.ends_with("npz") {
            assert!(!folder.path(output).exists());
        } else {
            let text = fs::read_to_string(&growing).unwrap();
            assert!(text.ends_with('\n'));
            let lines = if output.ends_with("csv") { 1 + 2 * (COUNT - left) } else { COUNT - left };
            assert_eq!(text.lines().count(), lines);
        }
        // Other options do not go on with it.
        let other =
            if output.ends_with("npz") { command.replace("conv1", "pool1") } else { format!("{command} --top 3") };
        let other = run(&folder, &format!("{} --resume", other.replace("--top 2 ", "")));
        other.failure(1, &["expected", "found", "leave out --resume to begin again"]);
        run(&folder, &format!("{command} --resume")).success();
        let count = match output {
            "labels.csv" => (fs::read_to_string(&growing).unwrap().lines().count() - 1) / 2,
            "labels.jsonl" => fs::read_to_string(&growing).unwrap().lines().count(),
            _ => texts(&npz(&folder.path(output))["names"]).len(),
        };
        assert_eq!(count, COUNT);
    }
    // Without a file, what is done is on standard output.
    let mut running = Running::start(&folder, "classify --json pictures pictures pictures --batch 1");
    let mut first = [0; 100];
    running.0.stdout.as_mut().unwrap().read_exact(&mut first).unwrap();
    common::send("-INT", running.0.id());
    let stopped = running.end();
    assert!(stopped.code == Some(130) && stopped.stdout.ends_with("}\n"), "{stopped:?}");
}

/// The command waits for the first picture, a pipe, while others go away.
#[test]
#[cfg(unix)]
fn files_that_vanish_and_outputs_in_use() {
    let folder = gallery(200);
    assert!(Command::new("mkfifo").arg(folder.path("pipe")).status().unwrap().success());
    for (command, output) in [("classify", "labels.jsonl"), ("features --layer fc2", "f.npz")] {
        let arguments = format!("{command} pipe pictures --output {output}");
        let running = Running::start(&folder, &arguments);
        // Opened by its reader, when all names are known; the thread that waits reads no others.
        let mut pipe = fs::OpenOptions::new().write(true).open(folder.path("pipe")).unwrap();
        let threads = thread::available_parallelism().map_or(1, usize::from);
        let gone = format!("pictures/{:04}.ppm", 100 / threads * threads - 1);
        fs::rename(folder.path(&gone), folder.path("away.ppm")).unwrap();
        let second = run(&folder, &format!("{command} pictures/0000.ppm pictures/0001.ppm --output {output}"));
        second.failure(1, &[output, "another process writes to it"]);
        pipe.write_all(&fs::read(folder.path("pictures/0150.ppm")).unwrap()).unwrap();
        drop(pipe);
        let done = running.end();
        done.failure(1, &[&gone, "os error 2"]);
        let names = match output {
            "f.npz" => texts(&npz(&folder.path(output))["names"]),
            _ => images(&fs::read_to_string(folder.path(output)).unwrap()),
        };
        assert_eq!((names.len(), names[0].as_str()), (200, "pipe"));
        fs::rename(folder.path("away.ppm"), folder.path(&gone)).unwrap();
    }
}

/// A disk that takes nothing, and one that is full in the middle.
#[test]
#[cfg(target_os = "linux")]
fn full_disks() {
    let folder = gallery(300);
    for arguments in
        ["classify pictures --format csv", "classify pictures --json", "features --layer fc2 pictures --format csv"]
    {
        run(&folder, &format!("{arguments} --output /dev/full")).failure(1, &["cannot write /dev/full: No space left"]);
    }
    run(&folder, "features --layer fc2 pictures --format npz --output /dev/full")
        .failure(1, &["cannot write /dev/full: No space left"]);
    for form in ["npy", "npz", "safetensors", "csv"] {
        let full = fs::File::options().write(true).open("/dev/full").unwrap();
        let mut command = tiny_command(&folder, &format!("features --layer fc2 pictures --format {form}"));
        Output::of(command.stdout(full)).failure(1, &["cannot write to standard output: No space left"]);
    }
    // A limit of 16 blocks for a file, of 512 or of 1024 bytes, stands for a full disk.
    for (arguments, output, growing) in [
        ("classify pictures --batch 4", "labels.jsonl", "labels.jsonl"),
        ("classify pictures --batch 4", "labels.csv", "labels.csv"),
        ("features --layer conv1 pictures --batch 1", "f.npz", "f.npz.part"),
    ] {
        let mut limited = Command::new("sh");
        let whole = tiny_command(&folder, &format!("{arguments} --output {output}"));
        limited
            .args(["-c", "trap '' XFSZ; ulimit -f 16; exec \"$@\"", "sh"])
            .arg(whole.get_program())
            .args(whole.get_args());
        limited.current_dir(folder.path(""));
        for (name, value) in whole.get_envs() {
            match value {
                Some(value) => limited.env(name, value),
                None => limited.env_remove(name),
            };
        }
        let growing = folder.path(growing);
        Output::of(&mut limited)
            .failure(1, &["cannot write", growing.file_name().unwrap().to_str().unwrap(), "File too large"]);
        let left = fs::read(&growing).unwrap();
        assert!(left.len() <= 16 << 10 && left.len() > 1000 || output == "f.npz", "{} bytes", left.len());
        if output != "f.npz" {
            assert_eq!(left.last(), Some(&b'\n'));
        }
        run(&folder, &format!("{arguments} --output {output} --resume")).success();
        if output != "f.npz" {
            assert!(fs::read(&growing).unwrap().starts_with(&left));
        }
        assert!(folder.path(output).exists() && !folder.path("f.npz.part").exists());
    }
}
