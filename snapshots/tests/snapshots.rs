//! Golden files: what passes, what fails, what is left behind.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::{fs, path::Path};

use alexnet_snapshots::{Snapshot, SnapshotError, Update, assert_similar};
use alexnet_wgpu::Picture;

/// A drawing: lines on a ground, and what `change` makes of it.
fn drawing(change: impl Fn(usize, usize, u8) -> u8) -> Picture {
    let sample = |i: usize| {
        let (x, y) = (i % 128, i / 128);
        change(x, y, if x % 16 < 2 || y % 24 < 3 || (x + y) % 40 < 2 { 30 } else { 220 })
    };
    Picture::from_rgb8(128, 96, (0..128 * 96).flat_map(|i| [sample(i); 3]).collect()).unwrap()
}

fn at(golden: &Path) -> Snapshot<'static> {
    Snapshot::new(golden).update(Update::Never)
}

#[test]
fn a_golden_file_lives_through_a_change() {
    let folder = tempfile::tempdir().unwrap();
    let golden = folder.path().join("deep/drawing.png");
    let [new, diff] = ["new.png", "diff.png"].map(|ending| golden.with_extension(ending));
    let plain = drawing(|_, _, v| v);
    let broken = drawing(|x, y, v| if (40..72).contains(&x) && (30..62).contains(&y) { 128 } else { v });

    // None yet: the picture is there to be looked at, and accepted.
    let error = at(&golden).check(&plain).unwrap_err();
    assert!(
        matches!(error, SnapshotError::Missing { .. }) && error.to_string().contains("UPDATE_SNAPSHOTS"),
        "{error}"
    );
    assert!(new.exists() && !golden.exists());
    at(&golden).update(Update::Failing).check(&plain).unwrap();
    assert!(golden.exists() && !new.exists());
    assert_eq!(Picture::open(&golden).unwrap(), plain);

    // Rounding noise passes, and leaves the file as it is.
    let before = fs::read(&golden).unwrap();
    let noisy = drawing(|x, y, v| v + ((x * 7 + y * 13) % 3 == 0) as u8);
    at(&golden).check(&noisy).unwrap();
    at(&golden).update(Update::Failing).check(&noisy).unwrap();
    assert_eq!(fs::read(&golden).unwrap(), before);
    assert!(!new.exists() && !diff.exists());

    // Broken content fails, with both files and the thresholds that would pass.
    let error = at(&golden).check(&broken).unwrap_err();
    let SnapshotError::Different { comparison, .. } = &error else { panic!("{error}") };
    assert!(comparison.lpips > 0.02 && new.exists() && diff.exists(), "{error}");
    assert_eq!(Picture::open(&new).unwrap(), broken);
    let said = error.to_string();
    let told =
        |name: &str| -> f32 { said.split(name).nth(1).unwrap().split([',', ' ']).next().unwrap().parse().unwrap() };
    at(&golden).lpips(told("lpips = ")).local(told("local = ")).check(&broken).unwrap();
    assert!(!new.exists() && !diff.exists(), "what passes leaves nothing behind");

    // Another size is a difference too.
    let small = Picture::from_rgb8(64, 64, vec![7; 64 * 64 * 3]).unwrap();
    let error = at(&golden).check(&small).unwrap_err().to_string();
    assert!(error.contains("128×96") && error.contains("64×64"), "{error}");
    assert!(new.exists() && !diff.exists());
    at(&golden).update(Update::Failing).check(&small).unwrap();
    assert_eq!(Picture::open(&golden).unwrap(), small);

    // Forced, even what passes is written.
    fs::write(&golden, before).unwrap();
    at(&golden).update(Update::All).check(&noisy).unwrap();
    assert_eq!(Picture::open(&golden).unwrap(), noisy);

    // A file that is no picture is never replaced without being asked for.
    fs::write(&golden, "text").unwrap();
    assert!(matches!(at(&golden).check(&plain), Err(SnapshotError::Golden { .. })));
    assert_eq!(fs::read(&golden).unwrap(), b"text");
}

#[test]
#[should_panic(expected = "there is no")]
fn the_macro_panics() {
    let folder = tempfile::tempdir().unwrap();
    // Not accepted, whatever the environment says: the folder is gone after the test.
    if Update::from_env() == Update::Never {
        assert_similar!(folder.path().join("none.png"), drawing(|_, _, v| v), lpips = 0.1);
    }
    panic!("there is no golden file");
}
