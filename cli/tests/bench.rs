//! `alexnet bench`, from outside.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod common;

use common::{Folder, alexnet, tiny};
use serde_json::Value;

#[test]
fn json_has_every_layer() {
    let folder = Folder::new();
    let file = folder.weights("tiny.safetensors", &tiny().to_weights().unwrap());
    let output = alexnet("bench --json --runs 3 --batch 2 --weights", &[&file]).success();
    let report: Value = serde_json::from_str(&output).unwrap();
    assert_eq!(report["network"], "tiny");
    assert_eq!(report["batch"], 2);
    assert_eq!(report["dtype"], "f32");
    assert_eq!(report["runs"], 3);
    assert!(report["min_ms"].as_f64().unwrap() > 0.0);
    assert!(report["median_ms"].as_f64() >= report["min_ms"].as_f64());
    // Adapters without timestamps report no layers.
    let layers = report["layers"].as_array().unwrap();
    if !layers.is_empty() {
        let names: Vec<&str> = layers.iter().map(|l| l["name"].as_str().unwrap()).collect();
        assert_eq!(names, ["conv1", "pool1", "fc2", "prob"]);
        assert!(layers.iter().all(|l| l["ms"].as_f64().unwrap() >= 0.0 && l["kernel"].is_string()), "{report}");
    }
}

#[test]
fn a_batch_that_is_too_large_is_refused() {
    alexnet("bench --network caffe --batch 100000", &[]).failure(1, &["expected a batch of 1 to"]);
}
