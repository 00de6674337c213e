//! A model on the browser's adapter.

use std::{cell::RefCell, collections::BTreeMap, rc::Rc};

use alexnet_wgpu::{
    ChannelOrder, Input, LayerReadback, Model, ModelOptions, Pipeline, TextureSource, Ticket,
    explain::{self, Explainer, Method},
    wgpu::{ErrorFilter, Texture},
};
use js_sys::{Float32Array, Promise};
use serde::Serialize;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::future_to_promise;
use web_sys::OffscreenCanvas;

use crate::{Device, Tensors, canvas, error, picture::Picture};

/// A model on a device.
#[wasm_bindgen]
#[derive(Debug)]
pub struct Network {
    pub(crate) model: Model,
    pub(crate) pipeline: Pipeline,
    /// By layer, each made when it is first asked for.
    readbacks: RefCell<BTreeMap<String, Rc<LayerReadback>>>,
    /// For canvases of the last size.
    frame: RefCell<Option<Frame>>,
    /// Made when it is first asked for.
    explainer: RefCell<Option<Rc<Explainer>>>,
}

/// A texture that fills the network's input.
#[derive(Debug)]
struct Frame {
    texture: Texture,
    input: Input,
}

/// What there is to know about a model, as JSON.
#[derive(Serialize)]
struct Facts<'a> {
    network: &'a str,
    labels: &'a [String],
    layers: Vec<LayerFacts<'a>>,
    /// Whether the last layer gives the probabilities of classes.
    probabilities: bool,
    /// Whether it reads canvases on the device.
    canvases: bool,
    kernels: String,
}

#[derive(Serialize)]
struct LayerFacts<'a> {
    name: &'a str,
    shape: Vec<usize>,
}

#[wasm_bindgen]
impl Network {
    /// How many results of canvases may be under way at once.
    #[wasm_bindgen(js_name = maxFrames)]
    pub fn max_frames() -> usize {
        3
    }

    /// Reads the bytes of a weight file.
    ///
    /// # Errors
    ///
    /// They are none, or the network does not fit the device.
    pub async fn read(device: &Device, bytes: Vec<u8>) -> Result<Self, JsError> {
        Self::of_model(device, Model::from_bytes(bytes, &ModelOptions::default()).map_err(error)?).await
    }

    /// Makes a model of a head and the convolutions below it.
    ///
    /// # Errors
    ///
    /// They do not fit each other, or the device.
    #[wasm_bindgen(js_name = ofHead)]
    pub async fn of_head(device: &Device, head: &Tensors, trunk: &Tensors) -> Result<Self, JsError> {
        Self::of_model(device, Model::with_trunk(head.0.clone(), &trunk.0).map_err(error)?).await
    }

    async fn of_model(device: &Device, model: Model) -> Result<Self, JsError> {
        let pipeline = Pipeline::builder(&device.0, &model.network, &model.weights).build().map_err(error)?;
        // A shader that the browser refuses is an error of the first run.
        pipeline.run(&vec![0.0; model.network.input().len()]).await.map_err(error)?;
        let (readbacks, frame, explainer) = Default::default();
        Ok(Self { model, pipeline, readbacks, frame, explainer })
    }

    /// What there is to know about it: JSON.
    ///
    /// # Errors
    ///
    /// None in a library that passes its tests.
    pub fn facts(&self) -> Result<String, JsError> {
        let Model { network, preprocessing, labels, .. } = &self.model;
        let layers = network.layers().iter();
        serde_json::to_string(&Facts {
            network: network.name(),
            labels,
            layers: layers.map(|layer| LayerFacts { name: &layer.name, shape: layer.output_dims() }).collect(),
            probabilities: network.gives_probabilities(),
            canvases: matches!(preprocessing.channels, ChannelOrder::Rgb | ChannelOrder::Bgr),
            kernels: format!("{:?}", self.pipeline.kernel_config()),
        })
        .map_err(error)
    }

    /// The activation of a layer for a picture.
    ///
    /// # Errors
    ///
    /// There is no such layer, the network takes no pictures, or the device is lost.
    pub async fn layer(&self, picture: Picture, layer: String) -> Result<Vec<f32>, JsError> {
        let input = self.model.preprocessing.apply(&picture.0).map_err(error)?;
        let mut layers = self.pipeline.run_layers(&input, &[&layer]).await.map_err(error)?;
        Ok(layers.pop().unwrap_or_default())
    }

    /// The activation of a layer for what a canvas shows now: a promise of a Float32Array. All that it takes is recorded and
    /// submitted before this returns, so that the canvas may be drawn anew.
    ///
    /// # Errors
    ///
    /// There is no such layer, the network does not read canvases, or more than [`Network::max_frames`] are under way.
    #[wasm_bindgen(js_name = layerOfCanvas)]
    pub fn layer_of_canvas(&self, canvas: OffscreenCanvas, layer: &str) -> Result<Promise, JsError> {
        let device = self.pipeline.gpu().device();
        let scopes = [ErrorFilter::OutOfMemory, ErrorFilter::Validation].map(|filter| device.push_error_scope(filter));
        let ticket = self.submit(canvas, layer);
        let [memory, validation] = scopes;
        let (validation, memory) = (validation.pop(), memory.pop());
        let ticket = ticket?;
        Ok(future_to_promise(async move {
            let values = ticket.await;
            if let Some(found) = validation.await.or(memory.await) {
                return Err(error(found).into());
            }
            Ok(Float32Array::from(&values.map_err(error)?[..]).into())
        }))
    }

    fn submit(&self, canvas: OffscreenCanvas, layer: &str) -> Result<Ticket<Vec<f32>>, JsError> {
        let gpu = self.pipeline.gpu();
        let readback = self.readback(layer)?;
        let mut frame = self.frame.borrow_mut();
        let size = [canvas.width(), canvas.height()];
        let frame = match frame.take().filter(|frame| [frame.texture.width(), frame.texture.height()] == size) {
            Some(kept) => frame.insert(kept),
            None => {
                let texture = canvas::texture(gpu, size[0], size[1])?;
                let view = texture.create_view(&Default::default());
                let source = TextureSource::new(&view);
                let input = self.pipeline.texture_input(&source, &self.model.preprocessing, 0).map_err(error)?;
                frame.insert(Frame { texture, input })
            }
        };
        canvas::copy_canvas(gpu, canvas, &frame.texture)?;
        let mut encoder = gpu.device().create_command_encoder(&Default::default());
        frame.input.encode(&mut encoder);
        let ticket = self.pipeline.encode_layer(&mut encoder, &readback).map_err(error)?;
        gpu.queue().submit([encoder.finish()]);
        Ok(ticket)
    }

    fn readback(&self, layer: &str) -> Result<Rc<LayerReadback>, JsError> {
        let mut readbacks = self.readbacks.borrow_mut();
        if let Some(made) = readbacks.get(layer) {
            return Ok(made.clone());
        }
        let made = Rc::new(self.pipeline.layer_readback(layer, Self::max_frames()).map_err(error)?);
        readbacks.insert(layer.into(), made.clone());
        Ok(made)
    }

    /// The parts of a picture on which a class rests, by Grad-CAM.
    ///
    /// # Errors
    ///
    /// There is no such class, the network has none, or the device is lost.
    pub async fn explain(&self, picture: Picture, class: usize) -> Result<Heat, JsError> {
        let input = self.model.preprocessing.apply(&picture.0).map_err(error)?;
        let known = self.explainer.borrow().clone();
        let explainer = match known {
            Some(explainer) => explainer,
            None => {
                let Model { network, weights, .. } = &self.model;
                let method = Method::GradCam { layer: None };
                let made = Explainer::new(self.pipeline.gpu(), network, weights, method).map_err(error)?;
                self.explainer.borrow_mut().insert(Rc::new(made)).clone()
            }
        };
        let explain::Heat { width, height, values, .. } = explainer.explain(&input, class).await.map_err(error)?.heat;
        Ok(Heat { width, height, values })
    }
}

impl Drop for Frame {
    /// What is submitted is computed all the same.
    fn drop(&mut self) {
        self.texture.destroy();
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
    /// Row by row; they cover what the network sees of the picture.
    pub values: Vec<f32>,
}
