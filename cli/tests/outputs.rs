//! Outputs: what they may replace, and what comes of a file that changes while it is read.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod common;

use std::{
    fs::{self, OpenOptions},
    io::Write,
    os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
};

use alexnet_wgpu::{Linear, ModelOptions, Network, Shape};
use common::{Folder, Output, alexnet, command, model, picture, prepared, tiny};

fn pipe(path: &Path) {
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
}

/// What comes out of a pipe that something is written to.
fn read(path: &Path) -> thread::JoinHandle<Vec<u8>> {
    let path = path.to_path_buf();
    thread::spawn(move || fs::read(path).unwrap())
}

type Writer = Box<dyn Fn(&Path) -> Command>;

/// Both commands that write to a file of the user's, with the ending of their output.
fn writers(folder: &Folder) -> Vec<(&'static str, Writer)> {
    let weights = folder.weights("tiny.safetensors", &tiny().to_weights().unwrap());
    let features = {
        let weights = weights.clone();
        move |output: &Path| {
            let files: [&Path; 4] = [&weights, "--output".as_ref(), output, &picture("bag.png")];
            prepared("features --layer pool1 --weights", &files)
        }
    };
    let convert = move |output: &Path| {
        let mut convert = command();
        convert.arg("convert").arg(&weights).arg(output);
        convert
    };
    vec![("npy", Box::new(features)), ("safetensors", Box::new(convert))]
}

#[test]
fn pipes_and_devices_are_written_into() {
    let folder = Folder::new();
    for (ending, writer) in writers(&folder) {
        let plain = folder.path(&format!("plain.{ending}"));
        Output::of(&mut writer(&plain)).success();
        let expected = fs::read(&plain).unwrap();
        assert!(expected.len() > 1000);

        let fifo = folder.path(&format!("fifo.{ending}"));
        pipe(&fifo);
        let link = folder.path(&format!("link.{ending}"));
        symlink(&fifo, &link).unwrap();
        for output in [&fifo, &link] {
            let reader = read(&fifo);
            Output::of(&mut writer(output)).success();
            assert!(reader.join().unwrap() == expected, "{}", output.display());
            assert!(fs::metadata(&fifo).unwrap().file_type().is_fifo());
        }

        // Into standard output: a pipe, and an open file.
        let stdout = folder.path(&format!("stdout.{ending}"));
        symlink("/dev/stdout", &stdout).unwrap();
        assert!(writer(&stdout).output().unwrap().stdout == expected);
        let file = folder.path("redirected");
        let redirected = fs::File::create(&file).unwrap();
        assert!(writer(&stdout).stdout(redirected).status().unwrap().success());
        assert!(fs::read(&file).unwrap() == expected);
        assert!(stdout.is_symlink());

        // A device of the test's own, which only root can make, and not everywhere.
        let device = folder.path(&format!("device.{ending}"));
        let made = Command::new("mknod").arg(&device).args(["c", "1", "3"]).output();
        let usable = |device: &PathBuf| OpenOptions::new().append(true).open(device).is_ok();
        if made.is_ok_and(|made| made.status.success()) && usable(&device) {
            let link = folder.path(&format!("to-device.{ending}"));
            symlink(&device, &link).unwrap();
            for output in [&device, &link] {
                Output::of(&mut writer(output)).success();
                assert!(fs::metadata(&device).unwrap().file_type().is_char_device());
            }
        }
        // One of the system's, which root could replace.
        let null = folder.path(&format!("null.{ending}"));
        symlink("/dev/null", &null).unwrap();
        if !can_write(Path::new("/dev")) {
            Output::of(&mut writer(&null)).success();
        }

        let socket = folder.path(&format!("socket.{ending}"));
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        Output::of(&mut writer(&socket)).failure(1, &["cannot write", "found a socket"]);
        assert!(fs::metadata(&socket).unwrap().file_type().is_socket());
    }
    assert!(folder.names().iter().all(|name| !name.ends_with(".part")), "{:?}", folder.names());
}

/// Whether the user may make files in a folder.
fn can_write(folder: &Path) -> bool {
    Command::new("test").arg("-w").arg(folder).status().unwrap().success()
}

#[test]
fn files_that_are_replaced_keep_their_permissions() {
    let folder = Folder::new();
    for (ending, writer) in writers(&folder) {
        let file = folder.file(&format!("file.{ending}"), "old");
        let link = folder.path(&format!("link.{ending}"));
        symlink(file.file_name().unwrap(), &link).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
        // Only root can give it away.
        let _ = std::os::unix::fs::chown(&file, Some(12345), Some(54321));
        let before = fs::metadata(&file).unwrap();
        Output::of(&mut writer(&link)).success();
        let after = fs::metadata(&file).unwrap();
        assert!(link.is_symlink() && after.len() > 1000);
        assert_eq!((after.mode(), after.uid(), after.gid()), (before.mode(), before.uid(), before.gid()));
    }
}

#[test]
fn no_output_replaces_an_input() {
    let folder = Folder::new();
    let weights = folder.weights("in.safetensors", &tiny().to_weights().unwrap());
    let labels = folder.file("labels.safetensors", "a\nb\nc\nd\n");
    let preprocessing = folder.file("given.safetensors", serde_json::to_string(&tiny().preprocessing).unwrap());
    let image = folder.path("image.npy");
    fs::copy(picture("bag.png"), &image).unwrap();
    let mut header = "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 16, 16), }".to_string();
    header += &" ".repeat(117 - header.len());
    let tensor = [b"\x93NUMPY\x01\x00\x76\x00", header.as_bytes(), b"\n", &[0; 4 * 3 * 16 * 16]].concat();
    let tensor = folder.file("tensor.npy", tensor);
    let files = [&weights, &labels, &preprocessing, &image, &tensor];
    let bytes: Vec<Vec<u8>> = files.iter().map(|file| fs::read(file).unwrap()).collect();

    // By its own name, by another of the same file, and through a link.
    let names = |file: &Path| {
        let ending = file.extension().unwrap().to_str().unwrap();
        let [hard, soft] = ["hard", "soft"].map(|name| folder.path(&format!("{name}.{ending}")));
        for name in [&hard, &soft] {
            let _ = fs::remove_file(name);
        }
        fs::hard_link(file, &hard).unwrap();
        symlink(file, &soft).unwrap();
        let around = folder.path("../").join(folder.path("").file_name().unwrap()).join(file.file_name().unwrap());
        [file.to_path_buf(), hard, soft, around]
    };
    let refused = |output: Output| output.failure(2, &["expected an output beside the inputs", "which is the input"]);
    let flag = |name: &'static str| Path::new(name);
    let bag = picture("bag.png");
    for output in names(&weights) {
        refused(Output::of(command().arg("convert").args([&weights, &output])));
        let files = [&weights, flag("--output"), &output, &bag];
        refused(alexnet("features --layer pool1 --weights", &files));
    }
    for output in names(&labels) {
        refused(Output::of(command().arg("convert").args([&weights, &output]).arg("--labels").arg(&labels)));
    }
    for output in names(&preprocessing) {
        let mut convert = command();
        refused(Output::of(
            convert.arg("convert").args([&weights, &output]).arg("--preprocessing").arg(&preprocessing),
        ));
    }
    for output in names(&image) {
        let files = [&weights, flag("--output"), &output, &image];
        refused(alexnet("features --layer pool1 --weights", &files));
    }
    for output in names(&tensor) {
        let files = [&weights, flag("--output"), &output, flag("--input"), &tensor];
        refused(alexnet("features --layer pool1 --weights", &files));
    }
    for (file, bytes) in files.iter().zip(&bytes) {
        assert!(fs::read(file).unwrap() == *bytes, "{}", file.display());
    }
    // A copy is another file.
    let copy = folder.path("copy.safetensors");
    fs::copy(&weights, &copy).unwrap();
    Output::of(command().arg("convert").args([&weights, &copy])).success();
}

#[test]
fn the_same_input_makes_the_same_bytes() {
    let folder = Folder::new();
    let mut model = tiny();
    for i in 0..20 {
        model.weights.metadata.insert(format!("note {i}"), i.to_string());
    }
    let weights = folder.weights("tiny.safetensors", &model.to_weights().unwrap());
    for dtype in ["f32", "f16", "int8"] {
        let outputs = [0, 1, 2].map(|i| {
            let output = folder.path(&format!("{i}.safetensors"));
            Output::of(command().arg("convert").args([&weights, &output]).args(["--dtype", dtype])).success();
            fs::read(output).unwrap()
        });
        assert!(outputs[0] == outputs[1] && outputs[0] == outputs[2], "{dtype}");
    }
}

/// The command has mapped its weights when it opens the pipe that its input comes from; then they vanish.
#[test]
fn weights_that_are_cut_short_while_they_are_used() {
    let folder = Folder::new();
    let network = Network::builder("large", Shape::new(3, 16, 16)).linear("fc1", Linear::new(12_000)).build().unwrap();
    let model = model(network, ModelOptions::default());
    let weights = folder.weights("large.safetensors", &model.to_weights().unwrap());
    let length = fs::metadata(&weights).unwrap().len();
    assert!(length > 32 << 20, "large enough to be mapped");
    let input = folder.path("input.npy");
    pipe(&input);
    let output = folder.path("output.npy");
    let mut header = "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 16, 16), }".to_string();
    header += &" ".repeat(117 - header.len());
    let tensor = [b"\x93NUMPY\x01\x00\x76\x00", header.as_bytes(), b"\n", &[0; 4 * 3 * 16 * 16]].concat();

    for cut in [false, true] {
        let files: [&Path; 5] = [&weights, "--input".as_ref(), &input, "--output".as_ref(), &output];
        let mut features = prepared("features --layer fc1 --weights", &files);
        let features = features.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut writer = OpenOptions::new().write(true).open(&input).unwrap();
        if cut {
            OpenOptions::new().write(true).open(&weights).unwrap().set_len(length / 2).unwrap();
        }
        writer.write_all(&tensor).unwrap();
        drop(writer);
        let done = features.wait_with_output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        let done = Output { code: done.status.code(), stdout: text(done.stdout), stderr: text(done.stderr) };
        if cut {
            done.failure(1, &["a weight file was cut short while it was in use", "(bus error)", "complete"]);
        } else {
            done.success();
            assert_eq!(fs::metadata(&output).unwrap().len(), 128 + 4 * 12_000);
            fs::remove_file(&output).unwrap();
        }
    }
    assert_eq!(folder.names(), ["input.npy", "large.safetensors"]);
}
