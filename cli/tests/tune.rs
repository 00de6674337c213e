//! `alexnet tune`, from outside.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod common;

use common::{Folder, command, tiny};
use serde_json::Value;

/// What was found is kept, and used by the next command until it is told not to.
#[test]
fn the_next_command_uses_what_was_found() {
    let folder = Folder::new();
    let weights = folder.weights("tiny.safetensors", &tiny().to_weights().unwrap());
    let run = |arguments: &str| -> Value {
        let mut command = command();
        command.args(arguments.split_whitespace()).arg("--weights").arg(&weights);
        command.env("XDG_CACHE_HOME", folder.path("cache")).env("HOME", folder.path("home"));
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    };
    run("tune --json --dry-run");
    let find = || walk(&folder.path("")).into_iter().find(|p| p.ends_with("choices.json"));
    assert_eq!(find(), None);

    let report = run("tune --json");
    let candidates = report["candidates"].as_array().unwrap();
    let of_conv1 = candidates.iter().filter(|c| c["layer"] == "conv1").count();
    assert!(of_conv1 >= 4, "{report}");
    assert!(candidates.iter().all(|c| c["ms"].as_f64().unwrap() >= 0.0), "{report}");

    // Another choice in its place, which is the tests' to know.
    let place = find().unwrap();
    let mut kept: Value = serde_json::from_slice(&std::fs::read(&place).unwrap()).unwrap();
    kept[0]["choice"]["style"] = serde_json::json!({"family": "tiled", "storage": "buffer"});
    kept[0]["choice"]["algorithms"] = serde_json::json!({"conv1": {"split_k": {"parts": 2}}});
    std::fs::write(&place, kept.to_string()).unwrap();
    let kernel = |report: &Value| report["layers"][0]["kernel"].as_str().unwrap().to_string();
    let tuned = kernel(&run("bench --json --runs 1"));
    assert!(tuned.contains("gemm_tiled") && tuned.contains("splits=2"), "{tuned}");
    let untuned = kernel(&run("bench --json --runs 1 --untuned"));
    assert!(!untuned.contains("splits=2"), "{untuned}");
    // Choices are for a batch: another has none.
    let other = kernel(&run("bench --json --runs 1 --batch 2"));
    assert!(!other.contains("splits=2"), "{other}");

    std::fs::write(&place, "not JSON").unwrap();
    assert_eq!(kernel(&run("bench --json --runs 1")), untuned);
}

fn walk(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()) {
        if entry.is_dir() { found.extend(walk(&entry)) } else { found.push(entry) }
    }
    found
}
