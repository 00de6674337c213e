//! Pictures of one size compared.

use std::{cell::RefCell, rc::Rc};

use alexnet_snapshots::heat_map;
use alexnet_wgpu::{Lpips, TexturePair, TextureSource, wgpu::Texture};
use wasm_bindgen::prelude::*;
use web_sys::OffscreenCanvas;

use crate::{Device, Tensors, canvas, error, picture::Picture};

/// Compares pictures of one size.
#[wasm_bindgen]
#[derive(Debug)]
pub struct Comparer {
    comparer: alexnet_wgpu::Comparer,
    /// For textures of the last size.
    textures: RefCell<Option<Rc<Textures>>>,
}

#[derive(Debug)]
struct Textures {
    textures: [Texture; 2],
    pair: TexturePair,
}

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
    /// Columns of the map.
    pub width: usize,
    /// Rows of the map.
    pub height: usize,
    /// The map of distances, row by row.
    pub values: Vec<f32>,
    /// The same with its scale, a PNG file.
    pub png: Vec<u8>,
}

#[wasm_bindgen]
impl Comparer {
    /// Reads LPIPS's weights from the file of the trunk.
    ///
    /// # Errors
    ///
    /// The tensors are others.
    pub fn create(device: &Device, trunk: &Tensors) -> Result<Self, JsError> {
        let lpips = Lpips::from_weights(&trunk.0).map_err(error)?;
        let comparer = alexnet_wgpu::Comparer::with_lpips(&device.0, lpips);
        Ok(Self { comparer, textures: RefCell::default() })
    }

    /// Compares two pictures.
    ///
    /// # Errors
    ///
    /// They have different sizes or are too small, or the device is lost.
    pub async fn compare(&self, first: Picture, second: Picture) -> Result<Comparison, JsError> {
        Comparison::new(self.comparer.compare(&first.0, &second.0).await.map_err(error)?)
    }

    /// Makes room on the device for two pictures of this size.
    ///
    /// # Errors
    ///
    /// The device has no such room.
    pub fn resize(&self, width: u32, height: u32) -> Result<(), JsError> {
        let mut kept = self.textures.borrow_mut();
        let fits = |kept: &Rc<Textures>| [kept.textures[0].width(), kept.textures[0].height()] == [width, height];
        if kept.as_ref().is_some_and(fits) {
            return Ok(());
        }
        *kept = None;
        let gpu = self.comparer.gpu();
        let textures = [canvas::texture(gpu, width, height)?, canvas::texture(gpu, width, height)?];
        let [a, b] = [0, 1].map(|place| textures[place].create_view(&Default::default()));
        let pair = self.comparer.textures(&TextureSource::new(&a), &TextureSource::new(&b)).map_err(error)?;
        *kept = Some(Rc::new(Textures { textures, pair }));
        Ok(())
    }

    /// Copies what a canvas shows now as the first (0) or second (1) picture.
    ///
    /// # Errors
    ///
    /// The canvas has another size.
    #[wasm_bindgen(js_name = putCanvas)]
    pub fn put_canvas(&self, place: usize, canvas: OffscreenCanvas) -> Result<(), JsError> {
        canvas::copy_canvas(self.comparer.gpu(), canvas, &self.textures()?.textures[place.min(1)])
    }

    /// Copies a picture as the first (0) or second (1).
    ///
    /// # Errors
    ///
    /// The picture has another size.
    #[wasm_bindgen(js_name = putPicture)]
    pub fn put_picture(&self, place: usize, picture: &Picture) -> Result<(), JsError> {
        canvas::copy_picture(self.comparer.gpu(), &picture.0, &self.textures()?.textures[place.min(1)])
    }

    /// Compares the two that were copied.
    ///
    /// # Errors
    ///
    /// The device is lost.
    #[wasm_bindgen(js_name = compareTextures)]
    pub async fn compare_textures(&self) -> Result<Comparison, JsError> {
        Comparison::new(self.textures()?.pair.compare().await.map_err(error)?)
    }

    fn textures(&self) -> Result<Rc<Textures>, JsError> {
        self.textures.borrow().clone().ok_or_else(|| error("there are no pictures to compare"))
    }
}

impl Drop for Textures {
    /// What is submitted is computed all the same.
    fn drop(&mut self) {
        self.textures.iter().for_each(Texture::destroy);
    }
}

impl Comparison {
    fn new(found: alexnet_wgpu::Comparison) -> Result<Self, JsError> {
        let map = found.map.ok_or_else(|| error("the comparison has no map"))?;
        let mut png = Vec::new();
        heat_map::write(&map, &mut png).map_err(error)?;
        Ok(Self {
            lpips: found.lpips,
            layers: found.layers.into(),
            largest: found.largest,
            psnr: found.psnr,
            max_difference: found.max_difference,
            differing: found.differing,
            width: map.width(),
            height: map.height(),
            values: map.values().to_vec(),
            png,
        })
    }
}
