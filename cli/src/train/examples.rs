//! What the network gets of each picture: its features, computed once, or its pixels, read each time.

use std::{
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
};

use alexnet_wgpu::{ChannelOrder, Gpu, Picture, Preprocessing, splitmix};
use half::{f16, slice::HalfFloatSliceExt};

use super::{
    Args, Augment, Task,
    colour::{Components, Sums},
    data::Data,
    features::{self, Features, left_out},
};
use crate::{
    ahead,
    eval::Labelled,
    failure::{Failure, chain, complain, note},
    files, progress,
};

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
    /// Along which colours are moved.
    colours: Option<Components>,
}

impl Examples {
    /// Computes features, if the network gets some; they are kept in `folder`. Pictures that cannot be read are counted and left
    /// out. `None` after `stop`.
    pub fn new(
        gpu: &Gpu,
        task: &Task,
        data: &Data,
        args: &Args,
        folder: &Path,
        stop: &AtomicBool,
    ) -> Result<Option<Self>, Failure> {
        let augment = args.augment();
        let (len, preprocessing) = (task.network.input().len(), task.preprocessing);
        let set = |pictures: Vec<Labelled>, features, augment| Set {
            pictures,
            features,
            len,
            preprocessing,
            augment,
            colours: None,
        };
        let Some(trunk) = &task.trunk else {
            let read = |pictures| readable(pictures, stop);
            let (Some((training, colours)), Some((held, _))) = (read(&data.training), read(&data.held)) else {
                note("stopped before the first step: there is nothing to go on from");
                return Ok(None);
            };
            let mut training = set(training, None, augment);
            training.colours = Some(Components::of(&colours)).filter(|_| training.augment.contains(&Augment::Pca));
            return Ok(Some(Self { training, held: set(held, None, vec![]) }));
        };
        let lists = [&data.training[..], &data.held];
        let Some([training, held]) = features::compute(gpu, trunk, lists, folder, stop)? else { return Ok(None) };
        let set = |found: Features| set(found.pictures, Some(found.values), vec![]);
        Ok(Some(Self { training: set(training), held: set(held) }))
    }
}

/// Those of the pictures that can be decoded, and their colours. `None` after `stop`.
fn readable(pictures: &[Labelled], stop: &AtomicBool) -> Option<(Vec<Labelled>, Sums)> {
    let is_stopped = || stop.load(Ordering::Relaxed);
    let bar = progress::bar(pictures.len(), "pictures looked at");
    let look = |picture: &Labelled| {
        files::expect_regular(&picture.path)?;
        files::open_picture(&picture.path).map(|picture| Sums::of(&picture))
    };
    let mut colours = Sums::default();
    let readable: Vec<Labelled> = ahead::in_order(pictures, WAITING, look, |looked| {
        let told = looked.take_while(|_| !is_stopped()).filter_map(|(picture, looked)| {
            bar.inc(1);
            colours.add(&looked.map_err(|reason| bar.suspend(|| complain(&reason))).ok()?);
            Some(picture.clone())
        });
        told.collect()
    });
    bar.finish_and_clear();
    if is_stopped() {
        return None;
    }
    let unreadable = pictures.len() - readable.len();
    if unreadable > 0 {
        left_out(unreadable);
    }
    Some((readable, colours))
}

impl Set {
    /// The number of pictures.
    pub fn len(&self) -> usize {
        self.pictures.len()
    }

    /// The inputs and classes of pictures, by their indices. `draw` seeds the random changes of each. A picture that cannot be
    /// read any more is taken for zeros, and told.
    pub fn batch(&self, indices: &[usize], draw: impl Fn(usize) -> u64) -> (Vec<f32>, Vec<usize>) {
        let classes = indices.iter().map(|&index| self.pictures[index].class).collect();
        if let Some(features) = &self.features {
            let mut inputs = vec![0.0; indices.len() * self.len];
            for (&index, input) in indices.iter().zip(inputs.chunks_exact_mut(self.len)) {
                features[index * self.len..][..self.len].convert_to_f32_slice(input);
            }
            return (inputs, classes);
        }
        let draws: Vec<(usize, u64)> = indices.iter().enumerate().map(|(i, &index)| (index, draw(i))).collect();
        let read = |&(index, draw): &(usize, u64)| self.read(&self.pictures[index], draw);
        let mut inputs = Vec::with_capacity(indices.len() * self.len);
        ahead::in_order(&draws, WAITING, read, |results| {
            for (_, result) in results {
                match result {
                    Ok(input) => inputs.extend(input),
                    Err(reason) => {
                        complain(&reason);
                        inputs.resize(inputs.len() + self.len, 0.0);
                    }
                }
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
        if let Some(colours) = &self.colours {
            let Preprocessing { scale, std, channels, .. } = self.preprocessing;
            let mut moved = colours.draw(seed.rotate_left(32));
            if channels == ChannelOrder::Bgr {
                moved.reverse();
            }
            let plane = input.len() / 3;
            for ((plane, moved), std) in input.chunks_exact_mut(plane).zip(moved).zip(std) {
                let by = (255.0 * moved) as f32 * scale / std;
                plane.iter_mut().for_each(|v| *v += by);
            }
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Pictures that take long to look at do not hold up Ctrl-C.
    #[test]
    fn looking_at_pictures_can_be_stopped() {
        let pictures = [Labelled { path: "nowhere.png".into(), class: 0 }];
        assert!(readable(&pictures, &AtomicBool::new(true)).is_none());
        assert!(readable(&pictures, &AtomicBool::new(false)).is_some_and(|(readable, _)| readable.is_empty()));
    }
}
