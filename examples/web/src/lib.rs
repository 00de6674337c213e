//! What page/page.js calls: the library's [`Classifier`](alexnet_wgpu::Classifier) with the embedded model, and its
//! [`Comparer`](alexnet_wgpu::Comparer).
//!
//! Everything is asynchronous and on one thread; pictures are decoded and preprocessed here too, so that a page sees the
//! same numbers as the command does.

use std::{cell::RefCell, rc::Rc};

use alexnet_snapshots::heat_map;
use alexnet_wgpu::{
    Blocklist, Gpu, GpuOptions, Model, Picture,
    doctor::{self, Case, Vectors},
    explain::{self, Explainer, Method},
};
use serde::Serialize;
use wasm_bindgen::prelude::*;

/// A model on the browser's adapter.
#[wasm_bindgen]
#[derive(Debug)]
pub struct Classifier {
    classifier: alexnet_wgpu::Classifier,
    model: Model,
    /// Made when it is first asked for.
    explainer: RefCell<Option<Rc<Explainer>>>,
}

#[derive(Serialize)]
struct Class<'a> {
    index: usize,
    label: &'a str,
    probability: f32,
}

fn error(error: impl std::fmt::Display) -> JsError {
    JsError::new(&error.to_string())
}

async fn open(deny: &str) -> Result<Gpu, JsError> {
    let blocklist: Blocklist = deny.parse().map_err(error)?;
    Ok(Gpu::open(&GpuOptions::default()).await.map_err(error)?.avoid(blocklist))
}

#[wasm_bindgen]
impl Classifier {
    /// Opens the adapter and puts the model there. `deny` names kernel variants to avoid, with commas between them.
    ///
    /// # Errors
    ///
    /// No adapter, one that is too small, or no such variant.
    pub async fn create(deny: String) -> Result<Self, JsError> {
        let gpu = open(&deny).await?;
        let model = Model::embedded().map_err(error)?;
        let classifier = alexnet_wgpu::Classifier::new(&gpu, &model, 5).map_err(error)?;
        Ok(Self { classifier, model, explainer: RefCell::default() })
    }

    /// Makes a comparer on the same device.
    ///
    /// # Errors
    ///
    /// None in a library that passes its tests.
    pub fn comparer(&self) -> Result<Comparer, JsError> {
        alexnet_wgpu::Comparer::new(self.classifier.pipeline().gpu()).map(Comparer).map_err(error)
    }

    /// Which kernels run.
    pub fn kernels(&self) -> String {
        format!("{:?}", self.classifier.pipeline().kernel_config())
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

    /// The parts of a picture file on which a class rests, by Grad-CAM.
    ///
    /// # Errors
    ///
    /// No picture, no such class, or the device is lost.
    pub async fn explain(&self, bytes: Vec<u8>, class: usize) -> Result<Heat, JsError> {
        let input = self.model.preprocessing.apply(&Picture::decode(&bytes).map_err(error)?).map_err(error)?;
        let known = self.explainer.borrow().clone();
        let explainer = match known {
            Some(explainer) => explainer,
            None => {
                let Model { network, weights, .. } = &self.model;
                let method = Method::GradCam { layer: None };
                let made = Explainer::new(self.classifier.pipeline().gpu(), network, weights, method).map_err(error)?;
                self.explainer.borrow_mut().insert(Rc::new(made)).clone()
            }
        };
        let explain::Heat { width, height, values, .. } = explainer.explain(&input, class).await.map_err(error)?.heat;
        Ok(Heat { width, height, values })
    }

    async fn classify(&self, picture: &Picture) -> Result<String, JsError> {
        let predictions = self.classifier.classify(picture).await.map_err(error)?;
        let classes: Vec<Class<'_>> =
            predictions.iter().map(|p| Class { index: p.index, label: &p.label, probability: p.probability }).collect();
        serde_json::to_string(&classes).map_err(error)
    }
}

/// How much each part of a picture speaks for a class.
#[wasm_bindgen(getter_with_clone)]
#[derive(Debug)]
pub struct Heat {
    /// Numbers in a row.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// Row by row; they cover the whole picture.
    pub values: Vec<f32>,
}

/// Compares pictures of one size.
#[wasm_bindgen]
#[derive(Debug)]
pub struct Comparer(alexnet_wgpu::Comparer);

/// The differences between two pictures.
#[wasm_bindgen(getter_with_clone)]
#[derive(Debug)]
pub struct Comparison {
    /// LPIPS: 0 for pictures that look the same, about 0.7 for unrelated ones.
    pub lpips: f32,
    /// Its parts, after each of AlexNet's five convolutions.
    pub layers: Vec<f32>,
    /// The largest value of the map.
    pub largest: f32,
    /// Peak signal-to-noise ratio in decibels; infinite for equal pictures.
    pub psnr: f64,
    /// The largest difference between two samples, 0 to 255.
    #[wasm_bindgen(js_name = maxDifference)]
    pub max_difference: u8,
    /// The share of pixels that differ, 0 to 1.
    pub differing: f64,
    /// The map of distances with its scale, a PNG file.
    pub map: Vec<u8>,
}

#[wasm_bindgen]
impl Comparer {
    /// Compares the bytes of two picture files.
    ///
    /// # Errors
    ///
    /// No pictures, different sizes, pictures that are too small, or the device is lost.
    pub async fn compare(&self, first: Vec<u8>, second: Vec<u8>) -> Result<Comparison, JsError> {
        let [first, second] = [first, second].map(|bytes| Picture::decode(&bytes));
        let (first, second) = (first.map_err(error)?, second.map_err(error)?);
        let found = self.0.compare(&first, &second).await.map_err(error)?;
        let mut map = Vec::new();
        if let Some(values) = &found.map {
            heat_map::write(values, &mut map).map_err(error)?;
        }
        Ok(Comparison {
            lpips: found.lpips,
            layers: found.layers.into(),
            largest: found.largest,
            psnr: found.psnr,
            max_difference: found.max_difference,
            differing: found.differing,
            map,
        })
    }
}

/// One check of [`examine`].
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Check {
    /// The layer and its kernels, or the network and its kernels.
    name: String,
    right: bool,
    /// Of a layer; of a network's fc8.
    error: Option<f64>,
    /// Of the network's worst layer.
    worst_error: Option<f64>,
    /// Whether the five most likely classes are the right ones.
    top5: Option<bool>,
    failure: Option<String>,
}

/// Whether the browser computes what it should, as `alexnet doctor` has it: JSON, an object with an array of `layers`
/// (each kernel variant of each layer of the embedded network, against the same in double precision), one of `inputs`
/// (pictures in textures and buffers, against the same in memory) and one of `networks`
/// (whole AlexNets, against reference vectors).
///
/// # Errors
///
/// No adapter, one that is too small, or no such variant in `deny`.
#[wasm_bindgen]
pub async fn examine(deny: String) -> Result<String, JsError> {
    let gpu = open(&deny).await?;
    let (mut layers, mut inputs, mut networks) = (Vec::new(), Vec::new(), Vec::new());
    for layer in doctor::distinct_layers([&Model::embedded().map_err(error)?.network]) {
        let case = Case::new(&layer).map_err(error)?;
        // Batches take minutes more, on the processor that the page has to itself.
        for variant in case.variants(&gpu).into_iter().filter(|variant| variant.batch == 1) {
            let found = case.check(&gpu, variant).await;
            layers.push(Check {
                name: format!("{} {variant}", found.layer),
                right: found.is_right(),
                error: found.error.as_ref().ok().copied(),
                worst_error: None,
                top5: None,
                failure: found.error.err(),
            });
        }
    }
    for found in doctor::check_inputs(&gpu).await {
        inputs.push(Check {
            name: found.to_string(),
            right: found.is_right(),
            error: found.error.as_ref().ok().copied(),
            worst_error: None,
            top5: None,
            failure: found.error.err(),
        });
    }
    for vectors in Vectors::ALL {
        let found = vectors.check(&gpu).await;
        let outcome = found.outcome.as_ref().ok();
        let kernels = outcome.map(|o| format!(" {}", doctor::KernelVariant::direct(o.config))).unwrap_or_default();
        networks.push(Check {
            name: format!("{}{kernels}", found.network),
            right: found.is_right(),
            error: outcome.map(|o| o.fc8),
            worst_error: outcome.map(|o| o.worst),
            top5: outcome.map(|o| o.top),
            failure: found.outcome.err(),
        });
    }
    serde_json::to_string(&serde_json::json!({ "layers": layers, "inputs": inputs, "networks": networks }))
        .map_err(error)
}
