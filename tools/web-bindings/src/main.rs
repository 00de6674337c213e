//! Writes the JavaScript bindings of a WebAssembly file: `web-bindings FILE.wasm FOLDER`.

use std::{env, process::ExitCode};

use wasm_bindgen_cli_support::Bindgen;

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [wasm, folder] = arguments.as_slice() else {
        eprintln!("usage: web-bindings FILE.wasm FOLDER");
        return ExitCode::from(2);
    };
    let written =
        Bindgen::new().input_path(wasm).typescript(false).web(true).and_then(|bindgen| bindgen.generate(folder));
    match written {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("web-bindings: {wasm}: {error:#}");
            ExitCode::FAILURE
        }
    }
}
