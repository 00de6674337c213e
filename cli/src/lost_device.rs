//! A device that is lost while a folder is computed: an error that tells how to go on, and a later run that computes the rest.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::{
    env, fs,
    path::Path,
    process::ExitCode,
    thread,
    time::{Duration, Instant},
};

use alexnet_wgpu::{Gpu, GpuOptions};
use clap::{Args, Command};

use crate::{classify, failure::Failure, features};

/// The arguments of a command.
fn parsed<A: Args>(arguments: &[&str]) -> A {
    let command = A::augment_args(Command::new("alexnet").no_binary_name(true));
    A::from_arg_matches(&command.get_matches_from(arguments)).unwrap()
}

fn open() -> Gpu {
    // Without the command's own cache.
    Gpu::open_blocking(&GpuOptions::default().adapter(env::var("ALEXNET_ADAPTER").ok())).unwrap()
}

/// Destroys the device as soon as `watched` holds `bytes`.
fn lose(gpu: &Gpu, watched: &Path, bytes: u64) {
    let (device, watched) = (gpu.device().clone(), watched.to_owned());
    thread::spawn(move || {
        let start = Instant::now();
        while fs::metadata(&watched).map_or(0, |file| file.len()) < bytes && start.elapsed() < Duration::from_secs(300)
        {
            thread::sleep(Duration::from_millis(1));
        }
        device.destroy();
    });
}

/// The failure of a run whose device is lost once `watched`, where its results go, holds `bytes`.
fn failure(run: impl FnOnce(Gpu) -> Result<ExitCode, Failure>, watched: &Path, bytes: u64) -> String {
    let gpu = open();
    lose(&gpu, watched, bytes);
    match run(gpu) {
        Err(Failure::Run(message)) => message,
        other => panic!("{other:?}"),
    }
}

#[test]
fn results_are_kept_and_a_later_run_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).into_os_string().into_string().unwrap();
    let pictures = path("pictures");
    fs::create_dir(&pictures).unwrap();
    for index in 0..96u8 {
        let rgb: Vec<u8> = (0..12).map(|i| index.wrapping_mul(7).wrapping_add(i * 19)).collect();
        let ppm = [&b"P6 2 2 255\n"[..], &rgb].concat();
        fs::write(folder.path().join(format!("pictures/{index:03}.ppm")), ppm).unwrap();
    }
    let tells_how = |message: &str| {
        assert!(message.starts_with("the device did not finish"), "{message}");
        assert!(message.ends_with("pictures are left; the same command with --resume goes on"), "{message}");
    };

    let labels = |output: &str, more: &[&str]| -> classify::Args {
        let arguments = ["--untuned", "--top", "2", "--output", output, &pictures];
        parsed(&[&arguments, more].concat())
    };
    let (lost, whole) = (path("lost.csv"), path("whole.csv"));
    let run = |gpu| classify::run_on(&labels(&lost, &[]), || Ok(gpu));
    tells_how(&failure(run, Path::new(&lost), 100));
    let kept = fs::read(&lost).unwrap();
    classify::run_on(&labels(&lost, &["--resume"]), || Ok(open())).unwrap();
    classify::run_on(&labels(&whole, &[]), || Ok(open())).unwrap();
    let resumed = fs::read(&lost).unwrap();
    assert!(resumed.starts_with(&kept) && kept.len() < resumed.len());
    assert_eq!(resumed, fs::read(&whole).unwrap());

    let values = |output: &str, more: &[&str]| -> features::Args {
        let arguments = ["--untuned", "--layer", "fc7", "--output", output, &pictures];
        parsed(&[&arguments, more].concat())
    };
    let (lost, whole) = (path("lost.npz"), path("whole.npz"));
    let run = |gpu| features::run_on(&values(&lost, &[]), || Ok(gpu));
    // Beyond the head of the file, and 16 pictures of 256 values.
    tells_how(&failure(run, &folder.path().join("lost.npz.part"), 16 * 256 * 4));
    assert!(!fs::exists(&lost).unwrap());
    features::run_on(&values(&lost, &["--resume"]), || Ok(open())).unwrap();
    features::run_on(&values(&whole, &[]), || Ok(open())).unwrap();
    assert_eq!(fs::read(&lost).unwrap(), fs::read(&whole).unwrap());
}
