//! What the command says about itself, and the options that every command has.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod common;

use std::{env, fs, path::Path, process::Command};

use common::{Folder, Output, alexnet, command, picture, prepared, tiny};

/// The commands, as the help lists them.
fn commands() -> Vec<String> {
    let help = alexnet("help", &[]).success();
    let listed =
        help.lines().filter(|line| line.starts_with("  ") && line.chars().nth(2).unwrap().is_ascii_lowercase());
    let mut names: Vec<String> = listed.map(|line| line.split_whitespace().next().unwrap().to_string()).collect();
    names.retain(|name| name != "alexnet");
    names
}

/// UPDATE_SNAPSHOTS=1 writes the files anew.
#[test]
fn help_is_as_in_the_files_and_fits_a_terminal() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/help");
    let mut names = commands();
    assert!(names.len() > 15 && names.contains(&"classify".to_string()), "{names:?}");
    names.push(String::new());
    for name in &names {
        // Features that are off by default change the help.
        if cfg!(feature = "parquet") && ["classify", "features", "eval"].contains(&name.as_str()) {
            continue;
        }
        let help = Output::of(prepared(&format!("help {name}"), &[]).env("COLUMNS", "80")).success();
        let wide: Vec<&str> = help.lines().filter(|line| line.chars().count() > 80).collect();
        assert!(wide.is_empty(), "{name}: {wide:#?}");
        let file = golden.join(format!("{}.txt", if name.is_empty() { "alexnet" } else { name }));
        if env::var_os("UPDATE_SNAPSHOTS").is_some() {
            fs::create_dir_all(&golden).unwrap();
            fs::write(&file, &help).unwrap();
        }
        let expected = fs::read_to_string(&file).unwrap_or_default().replace("\r\n", "\n");
        assert!(help == expected, "{} is out of date: UPDATE_SNAPSHOTS=1 writes it anew\n{help}", file.display());
    }
}

#[test]
fn help_is_found_where_people_look_for_it() {
    let alone = command().output().unwrap();
    assert_eq!(alone.status.code(), Some(2));
    let shown = String::from_utf8(alone.stderr).unwrap();
    assert!(["classify", "train", "compare"].iter().all(|name| shown.contains(&format!("alexnet {name} "))), "{shown}");
    let whole = alexnet("--help", &[]).success();
    assert!(whole.contains("Pictures:") && whole.contains("Examples:"), "{whole}");
    assert!(alexnet("help --help", &[]).success().contains("Usage: alexnet help"));
    assert_eq!(alexnet("help eval", &[]).success(), alexnet("eval --help", &[]).success());
    alexnet("help clasify", &[]).failure(2, &["there is no command clasify", "alexnet help"]);
}

#[test]
fn shells_complete_commands_and_options() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = alexnet(&format!("completions {shell}"), &[]).success();
        assert!(commands().iter().all(|name| script.contains(name.as_str())), "{shell}");
    }
    alexnet("completions csh", &[]).failure(2, &["'csh'", "zsh"]);
    // Where there is a bash, it is asked.
    let folder = Folder::new();
    let script = folder.file("alexnet.bash", alexnet("completions bash", &[]).success());
    let complete = |words: &str| {
        let ask = r#"source "$1"; COMP_WORDS=(${2}); COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); _alexnet alexnet "${COMP_WORDS[-1]}" "${COMP_WORDS[-2]}"; echo "${COMPREPLY[*]}""#;
        Command::new("bash").args(["-c", ask, "bash"]).arg(&script).arg(words).output()
    };
    let Ok(found) = complete("alexnet cl") else { return };
    assert_eq!(String::from_utf8_lossy(&found.stdout).trim(), "classify", "{found:?}");
    let found = complete("alexnet compare --fail-above-").unwrap();
    assert_eq!(String::from_utf8_lossy(&found.stdout).trim(), "--fail-above-local", "{found:?}");
}

#[test]
fn manual_pages() {
    let folder = Folder::new();
    alexnet("man", &[&folder.path("")]).success();
    let pages = folder.names();
    assert!(commands().iter().all(|name| pages.contains(&format!("alexnet-{name}.1"))), "{pages:?}");
    let page = alexnet("man", &[]).success();
    assert_eq!(page, fs::read_to_string(folder.path("alexnet.1")).unwrap());
    assert!(page.contains(".TH alexnet 1") && page.contains("alexnet\\-classify"), "{page}");
    alexnet("man", &[&folder.path("nowhere")]).failure(1, &["cannot write", "nowhere"]);
}

#[test]
fn quiet_leaves_out_warnings_but_no_errors() {
    let folder = Folder::new();
    let damaged = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data/preprocessing/damaged/plain-0.jpg");
    let told = |arguments: &str, file: &Path| {
        let output = prepared(arguments, &[file]).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    assert!(told("classify", &damaged).1.contains("damaged"));
    for arguments in ["classify --quiet", "classify -q", "-q classify"] {
        assert_eq!(told(arguments, &damaged), (Some(0), String::new()), "{arguments}");
    }
    let (code, error) = told("-q classify", &folder.path("missing.png"));
    assert!(code == Some(1) && error.contains("missing.png"), "{error}");
}

#[test]
fn colours_only_where_they_are_wanted() {
    let coloured = |arguments: &str| alexnet(arguments, &[]).success().contains('\u{1b}');
    // Standard output is no terminal here.
    assert!(!coloured("info") && !coloured("classify --help"));
    assert!(coloured("info --color always") && coloured("--color=always classify --help"));
    assert!(!coloured("info --color never"));
    alexnet("info --color sometimes", &[]).failure(2, &["'sometimes'", "always"]);
}

#[test]
fn weights_from_the_environment() {
    let folder = Folder::new();
    let file = folder.weights("tiny.safetensors", &tiny().to_weights().unwrap());
    let bag = picture("bag.png");
    let classify = |arguments: &str, variable: &Path| {
        Output::of(prepared(&format!("classify --json {arguments}"), &[&bag]).env("ALEXNET_WEIGHTS", variable))
    };
    assert!(classify("", &file).success().contains(r#""network":"tiny""#));
    let other = folder.path("missing.pth");
    classify("", &other).failure(1, &["missing.pth"]);
    let both = Output::of(prepared("classify --json --weights", &[&file, &bag]).env("ALEXNET_WEIGHTS", &other));
    assert!(both.success().contains(r#""network":"tiny""#));
}
