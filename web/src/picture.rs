//! Pictures in memory.

use wasm_bindgen::prelude::*;

use crate::error;

/// A decoded picture.
#[wasm_bindgen]
#[derive(Debug)]
pub struct Picture(pub(crate) alexnet_wgpu::Picture);

#[wasm_bindgen]
impl Picture {
    /// The most bytes that a file may have.
    #[wasm_bindgen(js_name = maxBytes)]
    pub fn max_bytes() -> f64 {
        alexnet_wgpu::Picture::MAX_BYTES as f64
    }

    /// Decodes the bytes of a file.
    ///
    /// # Errors
    ///
    /// They are no picture, or a broken one.
    pub fn decode(bytes: &[u8]) -> Result<Self, JsError> {
        alexnet_wgpu::Picture::decode(bytes).map(Self).map_err(error)
    }

    /// Takes red, green, blue and opacity of each pixel, as a canvas has them.
    ///
    /// # Errors
    ///
    /// There is another number of bytes.
    #[wasm_bindgen(js_name = ofPixels)]
    pub fn of_pixels(width: u32, height: u32, rgba: Vec<u8>) -> Result<Self, JsError> {
        alexnet_wgpu::Picture::from_rgba8(width, height, rgba).map(Self).map_err(error)
    }

    /// Columns.
    #[wasm_bindgen(getter)]
    pub fn width(&self) -> u32 {
        self.0.width()
    }

    /// Rows.
    #[wasm_bindgen(getter)]
    pub fn height(&self) -> u32 {
        self.0.height()
    }
}
