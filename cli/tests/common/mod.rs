//! What the tests of the command share.
#![allow(dead_code, reason = "each test program uses its part")]
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use alexnet_wgpu::{
    Conv, GivenPreprocessing, Linear, MaxPool, Model, ModelOptions, Network, Preprocessing, Resize, Shape, Weights,
};
use tempfile::TempDir;

/// Sends a signal, such as `-INT`, by the shell's own `kill`: small systems have no program of that name.
#[cfg(unix)]
pub fn send(signal: &str, process: u32) {
    let process = process.to_string();
    assert!(Command::new("sh").args(["-c", "kill \"$0\" \"$1\"", signal, &process]).status().unwrap().success());
}

/// What the command did.
#[derive(Debug)]
pub struct Output {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Output {
    pub fn of(command: &mut Command) -> Self {
        let output = command.output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Self { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }

    /// What it printed, where all went well: nothing on standard error then, no progress either.
    #[track_caller]
    pub fn success(self) -> String {
        assert_eq!((self.code, self.stderr.as_str()), (Some(0), ""), "{self:?}");
        self.stdout
    }

    /// That it ended with `code`, and one line on standard error with all of `parts`.
    #[track_caller]
    pub fn failure(&self, code: i32, parts: &[&str]) {
        assert_eq!(self.code, Some(code), "{self:?}");
        assert_eq!(self.stderr.lines().count(), 1, "{self:?}");
        assert!(self.stderr.starts_with("alexnet: ") && self.stderr.ends_with('\n'), "{self:?}");
        assert!(!self.stderr.contains("panicked"), "{self:?}");
        for part in parts {
            assert!(self.stderr.contains(part), "expected {part:?} in {self:?}");
        }
    }
}

/// The command, in an environment without what changes its output.
pub fn command() -> Command {
    shielded(Command::new(env!("CARGO_BIN_EXE_alexnet")))
}

/// A program in that environment.
pub fn shielded(mut command: Command) -> Command {
    // Nothing that was tuned or fetched on this machine.
    command.env("XDG_CACHE_HOME", env!("CARGO_TARGET_TMPDIR")).env("HOME", env!("CARGO_TARGET_TMPDIR"));
    command.env_remove("XDG_RUNTIME_DIR").env_remove("RUST_LOG").env_remove("NO_COLOR").env_remove("CLICOLOR_FORCE");
    command.env_remove("WGPU_BACKEND").env_remove("WGPU_ADAPTER_NAME");
    command
}

/// `alexnet` with these arguments, separated by spaces, and then with `files`; where it runs something, on the adapter
/// that the environment variable `ALEXNET_ADAPTER` names.
pub fn prepared(arguments: &str, files: &[&Path]) -> Command {
    let mut command = command();
    command.args(arguments.split_whitespace()).args(files);
    if let Some(adapter) = std::env::var_os("ALEXNET_ADAPTER") {
        command.arg("--adapter").arg(adapter);
    }
    command
}

/// Runs it.
pub fn alexnet(arguments: &str, files: &[&Path]) -> Output {
    Output::of(&mut prepared(arguments, files))
}

/// A picture of examples/pictures/.
pub fn picture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/pictures").join(name)
}

/// The embedded model as a file.
pub fn embedded() -> PathBuf {
    static FILE: OnceLock<PathBuf> = OnceLock::new();
    let write = || {
        let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join("fashion-mnist.safetensors");
        Model::embedded().unwrap().to_weights().unwrap().save(&file).unwrap();
        file
    };
    FILE.get_or_init(write).clone()
}

/// A weight file that another tool wrote.
pub fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data/formats").join(name)
}

/// A folder for a test's files.
pub struct Folder(TempDir);

impl Folder {
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn file(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, bytes).unwrap();
        path
    }

    /// A picture of one colour, as PPM.
    pub fn plain_picture(&self, name: &str, width: usize, height: usize) -> PathBuf {
        self.ppm(name, width, height, &vec![128; 3 * width * height])
    }

    /// A picture, as PPM.
    pub fn ppm(&self, name: &str, width: usize, height: usize, rgb: &[u8]) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        self.file(name, [format!("P6 {width} {height} 255\n").as_bytes(), rgb].concat())
    }

    pub fn weights(&self, name: &str, weights: &Weights) -> PathBuf {
        let path = self.path(name);
        weights.save(&path).unwrap();
        path
    }

    /// The names of all files.
    pub fn names(&self) -> Vec<String> {
        let name = |entry: std::io::Result<fs::DirEntry>| entry.unwrap().file_name().into_string().unwrap();
        let mut names: Vec<_> = fs::read_dir(self.0.path()).unwrap().map(name).collect();
        names.sort();
        names
    }
}

/// A network of few numbers, with four classes.
pub fn tiny() -> Model {
    let network = Network::builder("tiny", Shape::new(3, 16, 16))
        .conv("conv1", Conv::new(6, 3).padding(1).relu())
        .max_pool("pool1", MaxPool::new(2, 2))
        .linear("fc2", Linear::new(4))
        .softmax("prob")
        .build()
        .unwrap();
    let preprocessing = Preprocessing::torchvision(16).resize(Resize::Warp([16, 16]));
    let labels = ["red", "green", "blue", "grey"].map(String::from).to_vec();
    let options = ModelOptions::default().preprocessing(GivenPreprocessing::Own(preprocessing)).labels(labels);
    model(network, options)
}

/// The network with random weights.
pub fn model(network: Network, options: ModelOptions) -> Model {
    Model::from_weights(Weights::random(&network, 1), &options.network(network)).unwrap()
}

/// Shape and numbers of an array that the command wrote.
pub fn npy(path: &Path) -> (String, Vec<f32>) {
    let bytes = fs::read(path).unwrap();
    assert!(bytes.starts_with(b"\x93NUMPY\x01\x00"));
    let length = usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    let header = std::str::from_utf8(&bytes[10..10 + length]).unwrap();
    let shape = header.strip_prefix("{'descr': '<f4', 'fortran_order': False, 'shape': ").unwrap();
    let numbers = bytes[10 + length..].as_chunks::<4>().0.iter().map(|&b| f32::from_le_bytes(b)).collect();
    (shape.split_once(", }").unwrap().0.to_string(), numbers)
}
