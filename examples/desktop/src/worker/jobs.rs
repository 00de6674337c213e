//! The worker's jobs: loading a model, drawing maps, comparing pictures, timing layers, heat maps.

use std::{
    env,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc,
    },
    time::{Duration, Instant},
};

use alexnet_wgpu::{
    Blocklist, Classifier, Comparer, DistanceMap, FeatureExtractor, Gpu, LayerTime, Picture, Pipeline,
    explain::{Explainer, occlusion},
    wgpu::{self, util::DeviceExt},
};

use super::{
    Adapter, Answer, Compared, Drawn, LayerSummary, Loaded, Maps, TOP,
    desk::{Desk, Engine, Explanation, Input},
    megabytes,
};
use alexnet_snapshots::heat_map;
use eframe::egui::{Color32, ColorImage};

use crate::{
    filters::Filters,
    maps::{Contrast, Order},
    pictures::SHOWN,
    weights::Source,
};

/// The pixels of pictures that a software adapter compares at once.
const SOFTWARE_TILE: usize = 512 * 512;
/// The number of runs that a layer's time is the median of.
const PROFILE_RUNS: usize = 9;
pub(super) const NO_NETWORK: &str = "no network is loaded: choose one from the weights menu";

/// The kernel variants that the environment variable ALEXNET_DENY names, as for the `alexnet` command.
fn denied() -> Result<Blocklist, String> {
    match env::var_os("ALEXNET_DENY") {
        Some(names) => names.to_string_lossy().parse().map_err(|e| format!("ALEXNET_DENY: {e}")),
        None => Ok(Blocklist::default()),
    }
}

/// The window's device, or a new one of another adapter.
pub(crate) fn open(adapter: &Adapter, device: &wgpu::Device, queue: &wgpu::Queue) -> Result<Gpu, String> {
    let gpu = match adapter {
        Adapter::Window => Gpu::from_device(device.clone(), queue.clone()),
        Adapter::Other { name, backend } => Gpu::open_blocking(&Adapter::options(name, backend)),
    };
    Ok(gpu.map_err(|e| e.to_string())?.avoid(denied()?))
}

impl Desk {
    pub(super) fn load(&mut self, source: &Source, adapter: &Adapter) -> Result<Loaded, String> {
        let start = Instant::now();
        self.answer.send(Answer::Loading(format!("Reading {source}")));
        let model = source.open().map_err(|e| e.to_string())?;
        let (gpu, lost) = match (adapter, &self.engine) {
            (_, Some(engine)) if engine.adapter == *adapter && !engine.lost.load(Ordering::Relaxed) => {
                (engine.gpu.clone(), engine.lost.clone())
            }
            (Adapter::Window, _) => (open(adapter, &self.device, &self.queue)?, Arc::default()),
            (Adapter::Other { name, .. }, _) => {
                self.answer.send(Answer::Loading(format!("Opening {name}")));
                let gpu = open(adapter, &self.device, &self.queue)?;
                let lost = Arc::new(AtomicBool::new(false));
                let report = lost.clone();
                gpu.device().set_device_lost_callback(move |reason, text| {
                    log::error!("the network's device is lost: {reason:?} {text}");
                    report.store(true, Ordering::Relaxed);
                });
                (gpu, lost)
            }
        };
        let adapter_name = format!("{} ({})", gpu.info().name, gpu.info().backend);
        let told = AtomicU64::new(u64::MAX);
        let report = |done: u64, total: u64| {
            let percent = 100 * done / total.max(1);
            if told.swap(percent, Ordering::Relaxed) != percent {
                let total = megabytes(total);
                self.answer.send(Answer::Loading(format!("Compiling kernels, uploading {total}: {percent} %")));
            }
        };
        report(0, 4 * model.network.parameter_count());
        let builder = Pipeline::builder(&gpu, &model.network, &model.weights).top(TOP).progress(&report);
        let pipeline = builder.build().map_err(|e| e.to_string())?;
        let classifier = Classifier::from_pipeline(pipeline, model.preprocessing, model.labels.clone());
        log::info!("{source} on {adapter_name} after {} ms", start.elapsed().as_millis());
        let pipeline = classifier.pipeline();
        let mut layers = Vec::new();
        for (name, _) in pipeline.kernels() {
            let layer = pipeline.network().layer(name).map_err(|e| e.to_string())?;
            layers.push(LayerSummary { name: name.into(), shape: layer.output });
        }
        let loaded = Loaded {
            source: source.clone(),
            adapter: adapter.clone(),
            adapter_name,
            network: model.network.name().into(),
            origin: model.origin.clone(),
            parameters: model.network.parameter_count(),
            device_bytes: pipeline.device_bytes(),
            preprocessing: model.preprocessing,
            labels: model.labels.clone(),
            probabilities: model.network.gives_probabilities(),
            layers,
            filters: Filters::of(&model),
        };
        self.engine = Some(Engine {
            model,
            classifier,
            gpu,
            adapter: adapter.clone(),
            lost,
            occluder: None,
            explainer: None,
            comparer: None,
            extractor: None,
        });
        Ok(loaded)
    }

    pub(super) fn maps(&mut self, picture: &Picture, layer: String, contrast: Contrast) -> Result<Maps, String> {
        let engine = self.engine.as_ref().ok_or(NO_NETWORK)?;
        let painter = self.painter.get_or_insert_with(|| (self.make_painter)(&self.device));
        let pipeline = engine.classifier.pipeline();
        let shape = pipeline.network().layer(&layer).map_err(|e| e.to_string())?.output;
        let input = engine.classifier.preprocess(picture).map_err(|e| e.to_string())?;
        if shape.height * shape.width == 1 {
            let run = pipeline.run_layers_blocking(&input, &[&layer]).map_err(|e| e.to_string())?;
            return Ok(Maps { layer, contrast, shape, drawn: Drawn::Numbers(run.concat()) });
        }
        let mut encoder = self.device.create_command_encoder(&Default::default());
        let (buffer, order) = match engine.adapter {
            Adapter::Window => {
                let buffer = self.device.create_buffer(&wgpu::BufferDescriptor {
                    label: Some("activation"),
                    size: pipeline.activation_bytes(&layer).map_err(|e| e.to_string())?,
                    usage: wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_DST,
                    mapped_at_creation: false,
                });
                pipeline.write_input(&input).map_err(|e| e.to_string())?;
                pipeline.encode_layers(&mut encoder, &[(&layer, &buffer)]).map_err(|e| e.to_string())?;
                (buffer, Order::ChannelsLast)
            }
            // Devices share nothing: what another one computed comes through memory.
            Adapter::Other { .. } => {
                let run = pipeline.run_layers_blocking(&input, &[&layer]).map_err(|e| e.to_string())?;
                let buffer = self.device.create_buffer_init(&wgpu::util::BufferInitDescriptor {
                    label: Some("activation"),
                    contents: bytemuck::cast_slice(&run.concat()),
                    usage: wgpu::BufferUsages::STORAGE,
                });
                (buffer, Order::ChannelsFirst)
            }
        };
        let Some((view, tiles)) = painter.paint(&mut encoder, &buffer, shape, order, contrast) else {
            return Err(format!("{layer}: {shape} does not fit in one texture"));
        };
        self.queue.submit([encoder.finish()]);
        // The window's next frame comes after this on the queue anyhow; waiting keeps more than one from queueing up.
        wait(&self.device, &self.queue)?;
        log::debug!("{layer} drawn");
        Ok(Maps { layer, contrast, shape, drawn: Drawn::Maps(view, tiles) })
    }

    pub(super) fn compare(&mut self, pictures: &[Arc<Picture>; 2]) -> Result<Compared, String> {
        let engine = self.engine.as_mut().ok_or(NO_NETWORK)?;
        let comparer = match &engine.comparer {
            Some(comparer) => comparer,
            None => {
                let comparer = Comparer::new(&engine.gpu).map_err(|e| e.to_string())?;
                // A frame of the window waits for the tile before it.
                let software = engine.gpu.info().device_type == wgpu::DeviceType::Cpu;
                engine.comparer.insert(if software { comparer.tile_pixels(SOFTWARE_TILE) } else { comparer })
            }
        };
        let [a, b] = pictures;
        let comparison = comparer.compare_blocking(a, b).map_err(|e| e.to_string())?;
        let map = draw(comparison.map.as_ref().ok_or("there is no map")?);
        Ok(Compared { comparison, map })
    }

    pub(super) fn describe(&mut self, picture: &Picture) -> Result<Vec<f32>, String> {
        let engine = self.engine.as_mut().ok_or(NO_NETWORK)?;
        let extractor = match &engine.extractor {
            Some(extractor) => extractor,
            None => {
                let extractor = FeatureExtractor::imagenet(&engine.gpu, 1).map_err(|e| e.to_string())?;
                engine.extractor.insert(extractor)
            }
        };
        let input = extractor.preprocess(picture).map_err(|e| e.to_string())?;
        extractor.extract_blocking(&input).map_err(|e| e.to_string())
    }

    pub(super) fn profile(&self) -> Result<Option<Vec<LayerTime>>, String> {
        let engine = self.engine.as_ref().ok_or(NO_NETWORK)?;
        let mut runs = Vec::new();
        for _ in 0..PROFILE_RUNS {
            match engine.classifier.pipeline().profile_blocking().map_err(|e| e.to_string())? {
                Some(times) => runs.push(times),
                None => return Ok(None),
            }
        }
        let mut median = runs.first().cloned().unwrap_or_default();
        for (layer, time) in median.iter_mut().enumerate() {
            let mut all: Vec<f64> = runs.iter().map(|run| run[layer].ms).collect();
            all.sort_by(f64::total_cmp);
            time.ms = all[all.len() / 2];
        }
        Ok(Some(median))
    }

    /// A heat map, or one batch of it.
    pub(super) fn explain(&mut self, explanation: &mut Explanation) -> Result<(), String> {
        let engine = self.engine.as_mut().ok_or(NO_NETWORK)?;
        let heat = &mut explanation.heat;
        let input = match &explanation.input {
            Input::Ready(input) => input,
            Input::Picture(picture) => {
                let input = engine.classifier.preprocess(picture).map_err(|e| e.to_string())?;
                let outputs = engine.classifier.pipeline().run_blocking(&input).map_err(|e| e.to_string())?;
                heat.probability = outputs.get(heat.class).copied().unwrap_or_default();
                explanation.input = Input::Ready(input);
                return Ok(());
            }
        };
        if let Some(method) = heat.method.at_once() {
            let explainer = match &engine.explainer {
                Some((made_for, explainer)) if *made_for == heat.method => explainer,
                _ => {
                    let (network, weights) = (&engine.model.network, &engine.model.weights);
                    let made = Explainer::new(&engine.gpu, network, weights, method).map_err(|e| e.to_string())?;
                    &engine.explainer.insert((heat.method, made)).1
                }
            };
            let explained = explainer.explain_blocking(input, heat.class).map_err(|e| e.to_string())?.heat;
            (heat.size, heat.values) = ([explained.height, explained.width], explained.values);
            return Ok(());
        }
        let occluder = match &engine.occluder {
            Some(occluder) => occluder,
            None => {
                // A frame of the window waits for the batch before it.
                let batch = if engine.gpu.info().device_type == wgpu::DeviceType::Cpu { 3 } else { 15 };
                let builder = Pipeline::builder(&engine.gpu, &engine.model.network, &engine.model.weights);
                engine.occluder.insert(builder.batch(batch).build().map_err(|e| e.to_string())?)
            }
        };
        let network = occluder.network();
        let inputs = occlusion::inputs(input, network.input(), heat.values.len(), occluder.batch());
        let outputs = occluder.run_blocking(&inputs).map_err(|e| e.to_string())?;
        let left = occlusion::PATCHES - heat.values.len();
        for output in outputs.chunks_exact(network.output().len()).take(left) {
            let probability = output.get(heat.class).copied().unwrap_or_default();
            heat.values.push(heat.probability - probability);
        }
        Ok(())
    }
}

/// The map in colours, no larger than pictures are shown: of a square of pixels the largest distance.
fn draw(map: &DistanceMap) -> ColorImage {
    let [width, height] = [map.width(), map.height()];
    let step = width.max(height).div_ceil(SHOWN as usize);
    let values = map.values();
    let size = [width.div_ceil(step), height.div_ceil(step)];
    let mut pixels = Vec::with_capacity(size[0] * size[1]);
    for rows in values.chunks(step * width) {
        for left in (0..width).step_by(step) {
            let square = rows.chunks(width).flat_map(|row| &row[left..(left + step).min(width)]);
            let [r, g, b] = heat_map::colour(square.fold(0.0, |largest: f32, &distance| largest.max(distance)));
            pixels.push(Color32::from_rgb(r, g, b));
        }
    }
    ColorImage::new(size, pixels)
}

/// Waits for all submitted work by polling: while a thread waits inside wgpu, no other thread can present a frame.
fn wait(device: &wgpu::Device, queue: &wgpu::Queue) -> Result<(), String> {
    let (send, done) = mpsc::channel();
    queue.on_submitted_work_done(move || {
        let _ = send.send(());
    });
    loop {
        device.poll(wgpu::PollType::Poll).map_err(|e| e.to_string())?;
        match done.recv_timeout(Duration::from_micros(500)) {
            Ok(()) => return Ok(()),
            Err(mpsc::RecvTimeoutError::Timeout) => {}
            Err(mpsc::RecvTimeoutError::Disconnected) => return Err("the device was lost".into()),
        }
    }
}
