//! The program without a window: its arguments, and what it says where no window can be opened.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::process::{Command, Output};

fn run(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_alexnet-desktop"));
    for variable in ["DISPLAY", "WAYLAND_DISPLAY", "WAYLAND_SOCKET", "RUST_LOG"] {
        command.env_remove(variable);
    }
    command.args(arguments).output().unwrap()
}

#[test]
fn help_and_version_are_printed() {
    for (argument, expected) in [("--help", "Usage: alexnet-desktop"), ("--version", env!("CARGO_PKG_VERSION"))] {
        let output = run(&[argument]);
        assert!(output.status.success(), "{output:?}");
        assert!(String::from_utf8(output.stdout).unwrap().contains(expected), "{argument}");
    }
    let output = run(&["--colour"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8(output.stderr).unwrap().contains("--colour"));
}

#[cfg(target_os = "linux")]
#[test]
fn without_a_display_one_line_says_so() {
    let output = run(&[]);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.starts_with("alexnet-desktop: expected a display") && said.contains("found none"), "{said}");
    assert!(said.lines().count() == 1 && !said.contains(".rs"), "{said}");
}
