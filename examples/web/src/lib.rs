//! What page/page.js calls: the library's [`Classifier`](alexnet_wgpu::Classifier) with the embedded model.
//!
//! Everything is asynchronous and on one thread; pictures are decoded and preprocessed here too, so that a page sees the
//! same numbers as the command does.

use alexnet_wgpu::{Denials, Gpu, GpuOptions, Model, Picture};
use serde::Serialize;
use wasm_bindgen::prelude::*;

/// A model on the browser's adapter.
#[wasm_bindgen]
#[derive(Debug)]
pub struct Classifier(alexnet_wgpu::Classifier);

#[derive(Serialize)]
struct Class<'a> {
    index: usize,
    label: &'a str,
    probability: f32,
}

fn error(error: impl std::fmt::Display) -> JsError {
    JsError::new(&error.to_string())
}

#[wasm_bindgen]
impl Classifier {
    /// Opens the adapter and puts the model there. `deny` names kernel variants to avoid, with commas between them.
    ///
    /// # Errors
    ///
    /// No adapter, one that is too small, or no such variant.
    pub async fn create(deny: String) -> Result<Self, JsError> {
        let denials: Denials = deny.parse().map_err(error)?;
        let gpu = Gpu::new(&GpuOptions::default()).await.map_err(error)?.deny(denials.0);
        let model = Model::embedded().map_err(error)?;
        alexnet_wgpu::Classifier::new(&gpu, &model, 5).map(Self).map_err(error)
    }

    /// Which kernels run.
    pub fn kernels(&self) -> String {
        format!("{:?}", self.0.pipeline().style())
    }

    /// What the bytes of a picture file show: JSON, an array of objects with index, label and probability.
    ///
    /// # Errors
    ///
    /// No picture, or the device is lost.
    #[wasm_bindgen(js_name = classifyFile)]
    pub async fn classify_file(&self, bytes: Vec<u8>) -> Result<String, JsError> {
        self.classify(&Picture::decode(&bytes).map_err(error)?).await
    }

    /// The same for pixels: red, green, blue and opacity of each, as a canvas has them.
    ///
    /// # Errors
    ///
    /// A wrong number of bytes, or the device is lost.
    #[wasm_bindgen(js_name = classifyPixels)]
    pub async fn classify_pixels(&self, width: u32, height: u32, rgba: Vec<u8>) -> Result<String, JsError> {
        self.classify(&Picture::from_rgba8(width, height, rgba).map_err(error)?).await
    }

    async fn classify(&self, picture: &Picture) -> Result<String, JsError> {
        let predictions = self.0.classify(picture).await.map_err(error)?;
        let classes: Vec<Class<'_>> =
            predictions.iter().map(|p| Class { index: p.index, label: &p.label, probability: p.probability }).collect();
        serde_json::to_string(&classes).map_err(error)
    }
}
