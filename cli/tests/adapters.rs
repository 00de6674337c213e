//! `alexnet adapters`, and what happens without one.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod common;

use common::{Output, alexnet, command, picture};
use serde_json::Value;

#[test]
fn adapters_are_listed_the_best_first() {
    let text = Output::of(command().arg("adapters")).success();
    let json = Output::of(command().args(["adapters", "--json"])).success();
    let records: Vec<Value> = json.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(!records.is_empty());
    let picked: Vec<bool> = records.iter().map(|record| record["picked"].is_string()).collect();
    assert!(picked[0] && !picked[1..].contains(&true), "{json}");
    for record in &records {
        let name = record["name"].as_str().unwrap();
        assert!(text.contains(name), "{name} in {text}");
        assert!(["vulkan", "metal", "dx12", "gl"].contains(&record["backend"].as_str().unwrap()));
        assert!(record["driver"].is_string() && record["driverInfo"].is_string());
        assert!(
            ["discrete", "integrated", "virtual", "software", "unknown"].contains(&record["type"].as_str().unwrap())
        );
        assert!(record["limits"]["maxStorageBufferBindingSize"].as_u64().unwrap() > 0);
        assert!(record["features"]["f16"].is_boolean() && record["features"]["timestamps"].is_boolean());
    }
    assert_eq!(text.matches("\n  picked").count(), 1, "{text}");
}

#[test]
fn the_picked_adapter_is_the_one_that_runs() {
    let json = Output::of(command().args(["adapters", "--json"])).success();
    let picked: Value = serde_json::from_str(json.lines().next().unwrap()).unwrap();
    let mut classify = command();
    let run = Output::of(classify.args(["classify", "--json"]).arg(picture("bag.png"))).success();
    let run: Value = serde_json::from_str(&run).unwrap();
    assert_eq!((&run["adapter"], &run["backend"]), (&picked["name"], &picked["backend"]));
}

/// By its place in the list, or what the environment says; an argument goes before that.
#[test]
fn adapters_are_chosen_by_index_and_environment() {
    let json = Output::of(command().args(["adapters", "--json"])).success();
    let records: Vec<Value> = json.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let last = records.last().unwrap();
    assert_eq!(last["index"], serde_json::json!(records.len() - 1));
    let run = |arguments: &[&str], variables: &[(&str, &str)]| {
        Output::of(
            command()
                .args(["classify", "--json"])
                .args(arguments)
                .arg(picture("bag.png"))
                .env_remove("ALEXNET_ADAPTER")
                .envs(variables.iter().copied()),
        )
    };
    let of = |output: Output| -> [Value; 2] {
        let json: Value = serde_json::from_str(&output.success()).unwrap();
        ["adapter", "backend"].map(|key| json[key].clone())
    };
    let [name, backend] = ["name", "backend"].map(|key| last[key].as_str().unwrap());
    let expected = [name, backend].map(|text| serde_json::json!(text));
    let index = (records.len() - 1).to_string();
    assert_eq!(of(run(&["--adapter", &index], &[])), expected);
    // By UUID, where Vulkan is that new.
    for record in &records {
        if let Some(uuid) = record["uuid"].as_str() {
            assert_eq!((uuid.len(), uuid.matches('-').count()), (36, 4), "{uuid}");
            let expected = ["name", "backend"].map(|key| record[key].clone());
            assert_eq!(of(run(&["--adapter", &uuid.to_uppercase()], &[])), expected);
        }
        assert!(record["backend"] == "vulkan" || record["uuid"].is_null(), "{record}");
    }
    assert_eq!(of(run(&[], &[("WGPU_ADAPTER_NAME", name), ("WGPU_BACKEND", backend)])), expected);
    assert_eq!(of(run(&["--adapter", &index], &[("WGPU_ADAPTER_NAME", "Voodoo 2")])), expected);
    run(&[], &[("WGPU_ADAPTER_NAME", "Voodoo 2")]).failure(1, &["named `Voodoo 2`"]);
    // The command's own variable takes precedence.
    run(&[], &[("WGPU_ADAPTER_NAME", name), ("ALEXNET_ADAPTER", "Voodoo 3")]).failure(1, &["named `Voodoo 3`"]);
    let chosen = [("WGPU_ADAPTER_NAME", "Voodoo 2"), ("ALEXNET_ADAPTER", name), ("WGPU_BACKEND", backend)];
    assert_eq!(of(run(&[], &chosen)), expected);
    run(&[], &[("WGPU_BACKEND", "glide")]).failure(2, &["WGPU_BACKEND", "vulkan", "`glide`"]);
    // `adapters` tells which it would be.
    let json = Output::of(command().args(["adapters", "--json"]).env("WGPU_ADAPTER_NAME", &index)).success();
    let picked: Vec<bool> =
        json.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["picked"].is_string()).collect();
    assert_eq!(picked.iter().rposition(|&picked| picked), Some(records.len() - 1), "{json}");
    assert_eq!(picked.iter().filter(|&&picked| picked).count(), 1, "{json}");
}

#[test]
fn an_adapter_of_no_such_name_is_an_error() {
    let mut classify = command();
    let output = Output::of(classify.args(["classify", "--adapter", "Voodoo 2"]).arg(picture("bag.png")));
    output.failure(1, &["no GPU adapter named `Voodoo 2`", "found ", "`alexnet adapters` lists"]);
    assert_eq!(output.stdout, "");
    // There is a driver; another would not help.
    assert!(!output.stderr.contains("install"), "{output:?}");
}

#[test]
#[cfg(target_os = "linux")]
fn a_backend_that_is_not_here_is_told_from_no_driver() {
    let json = Output::of(command().args(["adapters", "--json"])).success();
    let output = Output::of(command().args(["classify", "--backend", "metal"]).arg(picture("bag.png")));
    output.failure(1, &["no GPU adapter for metal; found ", "`alexnet adapters` lists"]);
    for line in json.lines() {
        let adapter: Value = serde_json::from_str(line).unwrap();
        let name = format!("{} ({})", adapter["name"].as_str().unwrap(), adapter["backend"].as_str().unwrap());
        assert!(output.stderr.contains(&name), "{name} in {output:?}");
    }
}

#[test]
fn a_backend_of_no_such_name_is_a_mistake_of_usage() {
    alexnet("classify --backend glide", &[&picture("bag.png")])
        .failure(2, &["'glide'", "--backend", "vulkan, metal, dx12, gl"]);
}

/// The command where neither Vulkan nor EGL finds a driver.
#[cfg(target_os = "linux")]
fn without_drivers() -> std::process::Command {
    let mut command = command();
    for variable in ["VK_DRIVER_FILES", "VK_ICD_FILENAMES", "__EGL_VENDOR_LIBRARY_FILENAMES"] {
        command.env(variable, "/nonexistent");
    }
    command.env_remove("VK_ADD_DRIVER_FILES");
    command
}

#[test]
#[cfg(target_os = "linux")]
fn no_adapter_at_all_is_an_error() {
    let how = ["install a graphics driver", "apt install mesa-vulkan-drivers"];
    Output::of(without_drivers().args(["classify", "--backend", "vulkan"]).arg(picture("bag.png"))).failure(1, &how);
    Output::of(without_drivers().args(["adapters", "--json"])).failure(1, &how);
    Output::of(without_drivers().arg("adapters")).failure(1, &how);
}

#[test]
#[cfg(target_os = "linux")]
fn a_bad_picture_is_told_without_an_adapter() {
    let output = Output::of(without_drivers().args(["classify", "missing.png"]));
    output.failure(1, &["missing.png: No such file"]);
    assert_eq!(output.stderr.matches("missing.png").count(), 1);
}
