//! What the network gets of each picture: its features, computed once, or its pixels, read each time.

use std::{num::NonZero, sync::mpsc, thread};

use alexnet_wgpu::{Gpu, Picture, Pipeline, Preprocessing, splitmix};
use half::f16;

use super::{Args, Augment, Task, data::Data};
use crate::{
    eval::Labelled,
    failure::{Failure, chain, complain},
    files, progress,
};

/// Pictures whose features are computed at once.
const BATCH: usize = 16;
/// Preprocessed pictures that wait for the device.
const WAITING: usize = 64;

/// The examples of a training.
pub struct Examples {
    pub training: Set,
    pub held: Set,
}

/// Pictures that can be read.
pub struct Set {
    pub pictures: Vec<Labelled>,
    /// Their features, one after the other, where the network gets features.
    features: Option<Vec<f16>>,
    /// The length of one's input.
    len: usize,
    preprocessing: Preprocessing,
    augment: Vec<Augment>,
}

impl Examples {
    /// Computes features, if the network gets some. Pictures that cannot be read are counted and left out.
    pub fn new(gpu: &Gpu, task: &Task, data: &Data, args: &Args) -> Result<Self, Failure> {
        let augment = if args.augment.contains(&Augment::None) { vec![] } else { args.augment.clone() };
        let (len, preprocessing) = (task.network.input().len(), task.preprocessing);
        let set = |pictures: Vec<Labelled>, features, augment| Set { pictures, features, len, preprocessing, augment };
        let Some(trunk) = &task.trunk else {
            let readable = |pictures: &[Labelled]| readable(pictures);
            return Ok(Self {
                training: set(readable(&data.training), None, augment),
                held: set(readable(&data.held), None, vec![]),
            });
        };
        let message = format!("uploading ImageNet's features to {}", gpu.info().name);
        let builder = Pipeline::builder(gpu, &trunk.network, &trunk.weights).batch(BATCH);
        let pipeline = progress::build(message, builder)?;
        let bar = progress::bar(data.training.len() + data.held.len(), "features of pictures");
        let mut unreadable = 0;
        let mut compute = |pictures: &[Labelled]| features(&pipeline, pictures, &preprocessing, &bar, &mut unreadable);
        let (training, held) = (compute(&data.training)?, compute(&data.held)?);
        bar.finish_and_clear();
        if unreadable > 0 {
            left_out(unreadable);
        }
        Ok(Self { training: set(training.0, Some(training.1), vec![]), held: set(held.0, Some(held.1), vec![]) })
    }
}

/// Features of all pictures that can be read, in order.
fn features(
    pipeline: &Pipeline,
    pictures: &[Labelled],
    preprocessing: &Preprocessing,
    bar: &indicatif::ProgressBar,
    unreadable: &mut usize,
) -> Result<(Vec<Labelled>, Vec<f16>), Failure> {
    let len = pipeline.network().output().len();
    let input = pipeline.network().input().len();
    let threads = thread::available_parallelism().map_or(2, NonZero::get);
    let (mut read, mut features) = (Vec::new(), Vec::with_capacity(pictures.len() * len));
    thread::scope(|scope| {
        // Each thread reads every so many-th picture; they are taken in turns, so that the order stays.
        let readers: Vec<mpsc::Receiver<Result<Vec<f32>, String>>> = (0..threads)
            .map(|first| {
                let (send, inputs) = mpsc::sync_channel(WAITING / threads + 1);
                scope.spawn(move || {
                    for picture in pictures.iter().skip(first).step_by(threads) {
                        // Nobody waits after an error of the device.
                        if send.send(files::picture(&picture.path, preprocessing, files::Crops::One)).is_err() {
                            return;
                        }
                    }
                });
                inputs
            })
            .collect();
        let mut batch: Vec<f32> = Vec::with_capacity(BATCH * input);
        let mut run = |batch: &mut Vec<f32>| -> Result<(), Failure> {
            let count = batch.len() / input;
            batch.resize(BATCH * input, 0.0);
            let outputs = pipeline.run_blocking(batch)?;
            features.extend(outputs[..count * len].iter().map(|&v| f16::from_f32(v)));
            batch.clear();
            Ok(())
        };
        for (index, picture) in pictures.iter().enumerate() {
            match readers[index % threads].recv() {
                Ok(Ok(input)) => {
                    batch.extend(input);
                    read.push(picture.clone());
                }
                Ok(Err(reason)) => {
                    complain(&reason);
                    *unreadable += 1;
                }
                Err(_) => break,
            }
            if batch.len() == BATCH * input {
                run(&mut batch)?;
            }
            bar.inc(1);
        }
        if !batch.is_empty() {
            run(&mut batch)?;
        }
        Ok::<_, Failure>(())
    })?;
    Ok((read, features))
}

fn left_out(count: usize) {
    let what = if count == 1 {
        "1 picture could not be read, and is".into()
    } else {
        format!("{count} pictures could not be read, and are")
    };
    complain(&format!("{what} left out"));
}

/// Those of the pictures that can be decoded.
fn readable(pictures: &[Labelled]) -> Vec<Labelled> {
    let bar = progress::bar(pictures.len(), "pictures looked at");
    let threads = thread::available_parallelism().map_or(2, NonZero::get);
    let size = pictures.len().div_ceil(threads).max(1);
    let looked: Vec<Option<Labelled>> = thread::scope(|scope| {
        let parts: Vec<_> = pictures
            .chunks(size)
            .map(|part| {
                let bar = &bar;
                scope.spawn(move || {
                    let look = |picture: &Labelled| {
                        bar.inc(1);
                        match files::open_picture(&picture.path) {
                            Ok(_) => Some(picture.clone()),
                            Err(reason) => {
                                complain(&reason);
                                None
                            }
                        }
                    };
                    part.iter().map(look).collect::<Vec<_>>()
                })
            })
            .collect();
        parts.into_iter().flat_map(|part| part.join().unwrap_or_default()).collect()
    });
    bar.finish_and_clear();
    let unreadable = looked.iter().filter(|picture| picture.is_none()).count();
    if unreadable > 0 {
        left_out(unreadable);
    }
    looked.into_iter().flatten().collect()
}

impl Set {
    /// The number of pictures.
    pub fn len(&self) -> usize {
        self.pictures.len()
    }

    /// The inputs and classes of pictures, by their indices. `draw` seeds the random changes of each. A picture that cannot be
    /// read any more is taken for zeros, and told.
    pub fn batch(&self, indices: &[usize], draw: impl Fn(usize) -> u64 + Sync) -> (Vec<f32>, Vec<usize>) {
        let classes = indices.iter().map(|&index| self.pictures[index].class).collect();
        if let Some(features) = &self.features {
            let input = |&index: &usize| features[index * self.len..][..self.len].iter().map(|v| v.to_f32());
            return (indices.iter().flat_map(input).collect(), classes);
        }
        let mut inputs = vec![0.0; indices.len() * self.len];
        let threads = thread::available_parallelism().map_or(2, NonZero::get);
        let size = indices.len().div_ceil(threads).max(1);
        thread::scope(|scope| {
            let parts = inputs.chunks_mut(size * self.len).zip(indices.chunks(size)).enumerate();
            for (part, (inputs, indices)) in parts {
                let draw = &draw;
                scope.spawn(move || {
                    for (i, (&index, input)) in indices.iter().zip(inputs.chunks_exact_mut(self.len)).enumerate() {
                        match self.read(&self.pictures[index], draw(part * size + i)) {
                            Ok(values) => input.copy_from_slice(&values),
                            Err(reason) => complain(&reason),
                        }
                    }
                });
            }
        });
        (inputs, classes)
    }

    /// A picture's input, changed at random.
    fn read(&self, picture: &Labelled, seed: u64) -> Result<Vec<f32>, String> {
        let name = picture.path.display();
        let decoded = files::open_picture(&picture.path)?;
        let [a, b, c] = <[f32; 3]>::try_from(splitmix::uniform(seed, 3, 0.5)).unwrap_or_default().map(|v| v + 0.5);
        let decoded = if self.augment.contains(&Augment::Crop) { crop(&decoded, [a, b]) } else { Some(decoded) };
        let decoded = decoded.ok_or_else(|| format!("{name}: it is too small"))?;
        let mut input = self.preprocessing.apply(&decoded).map_err(|e| format!("{name}: {}", chain(&e)))?;
        if self.augment.contains(&Augment::Flip) && c < 0.5 {
            let width = self.preprocessing.crop[1];
            input.chunks_exact_mut(width).for_each(<[f32]>::reverse);
        }
        Ok(input)
    }
}

/// Nine tenths of the picture's sides, from a place at random.
fn crop(picture: &Picture, [a, b]: [f32; 2]) -> Option<Picture> {
    let (width, height) = (picture.width() as usize, picture.height() as usize);
    let [w, h] = [width, height].map(|side| (side * 9).div_ceil(10).max(1));
    let left = ((width - w + 1) as f32 * a) as usize;
    let top = ((height - h + 1) as f32 * b) as usize;
    let rows = picture.rgb().chunks_exact(3 * width).skip(top.min(height - h)).take(h);
    let left = left.min(width - w);
    let rgb = rows.flat_map(|row| row[3 * left..][..3 * w].iter().copied()).collect();
    Picture::from_rgb8(w as u32, h as u32, rgb).ok()
}
