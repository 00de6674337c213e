//! What index.js calls: the library in a browser.
//!
//! Everything is asynchronous and on one thread, of a page or a worker. Files are decoded and preprocessed here, so that a page
//! sees the same numbers as the command does; canvases are copied on the device.
#![cfg(target_arch = "wasm32")]

mod canvas;
mod comparer;
mod examine;
mod network;
mod picture;

use alexnet_wgpu::{Blocklist, Gpu, GpuOptions, Weights};
use wasm_bindgen::prelude::*;

fn error(error: impl std::fmt::Display) -> JsError {
    JsError::new(&error.to_string())
}

/// The browser's adapter.
#[wasm_bindgen]
#[derive(Debug)]
pub struct Device(Gpu);

#[wasm_bindgen]
impl Device {
    /// Opens the adapter. `deny` names kernel variants to avoid, with commas between them.
    ///
    /// # Errors
    ///
    /// No adapter, one that is too small, or no such variant.
    pub async fn open(deny: String) -> Result<Self, JsError> {
        let blocklist: Blocklist = deny.parse().map_err(error)?;
        Ok(Self(Gpu::open(&GpuOptions::default()).await.map_err(error)?.avoid(blocklist)))
    }

    /// Gives back its memory at once. What is still computed on it fails.
    pub fn destroy(&self) {
        self.0.device().destroy();
    }
}

/// The tensors of a safetensors file.
#[wasm_bindgen]
#[derive(Debug)]
pub struct Tensors(Weights);

#[wasm_bindgen]
impl Tensors {
    /// Reads the bytes of a file.
    ///
    /// # Errors
    ///
    /// They are none.
    pub fn read(bytes: Vec<u8>) -> Result<Self, JsError> {
        Weights::from_bytes(bytes).map(Self).map_err(error)
    }
}
