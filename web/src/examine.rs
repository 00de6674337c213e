//! Whether a browser computes what it should.

use alexnet_wgpu::doctor::{self, Case, Vectors};
use serde::Serialize;
use wasm_bindgen::prelude::*;

use crate::{error, network::Network};

/// One check of [`Network::examine`].
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

impl Check {
    fn new(name: String, right: bool, found: Result<f64, String>) -> Self {
        Self { name, right, error: found.as_ref().ok().copied(), worst_error: None, top5: None, failure: found.err() }
    }
}

#[wasm_bindgen]
impl Network {
    /// Whether the browser computes what it should, as `alexnet doctor` has it: JSON, an object with an array of `layers`
    /// (each kernel variant of each layer of this network, against the same in double precision), one of `inputs`
    /// (pictures in textures and buffers, against the same in memory) and one of `networks`
    /// (whole AlexNets, against reference vectors).
    ///
    /// # Errors
    ///
    /// A layer cannot be examined.
    pub async fn examine(&self) -> Result<String, JsError> {
        let gpu = self.pipeline.gpu();
        let (mut layers, mut inputs, mut networks) = (Vec::new(), Vec::new(), Vec::new());
        for layer in doctor::distinct_layers([&self.model.network]) {
            let case = Case::new(&layer).map_err(error)?;
            // Batches take minutes more, on the processor that the page has to itself.
            for variant in case.variants(gpu).into_iter().filter(|variant| variant.batch == 1) {
                let found = case.check(gpu, variant).await;
                layers.push(Check::new(format!("{} {variant}", found.layer), found.is_right(), found.error));
            }
        }
        for found in doctor::check_inputs(gpu).await {
            inputs.push(Check::new(found.to_string(), found.is_right(), found.error));
        }
        for vectors in Vectors::ALL {
            let found = vectors.check(gpu).await;
            let outcome = found.outcome.as_ref().ok();
            let kernels = outcome.map(|o| format!(" {}", doctor::KernelVariant::direct(o.config))).unwrap_or_default();
            networks.push(Check {
                worst_error: outcome.map(|o| o.worst),
                top5: outcome.map(|o| o.top),
                ..Check::new(
                    format!("{}{kernels}", found.network),
                    found.is_right(),
                    found.outcome.clone().map(|o| o.fc8),
                )
            });
        }
        serde_json::to_string(&serde_json::json!({ "layers": layers, "inputs": inputs, "networks": networks }))
            .map_err(error)
    }
}
