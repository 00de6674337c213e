//! How fast a network learns with ReLU and with tanh: the experiment of Krizhevsky, Sutskever and Hinton 2012, figure 1.
//!
//! A network of three convolutions and a fully connected layer learns with either activation function from the same random
//! weights, at several learning rates. Of each, the rate counts that gets to the target first: an error of 25 % on the training
//! images of CIFAR-10, as in the paper, or of 10 % on Fashion-MNIST's. As there, nothing regularises.
//!
//! With CIFAR-10, its binary version:
//!
//! ```text
//! cargo run --release --example relu_vs_tanh data_batch_1.bin data_batch_2.bin
//! ```
//!
//! With Fashion-MNIST, from Debian's package `dataset-fashion-mnist`:
//!
//! ```text
//! gunzip -k train-images-idx3-ubyte.gz train-labels-idx1-ubyte.gz
//! cargo run --release --example relu_vs_tanh train-images-idx3-ubyte train-labels-idx1-ubyte
//! ```
//!
//! The environment variable IMAGES limits their number. The table is CSV: pipe it into a plot.

use std::{env, error::Error, fs};

use alexnet_wgpu::{
    Activation, Conv, Gpu, GpuOptions, Linear, MaxPool, Network, Shape,
    train::{Init, Optimizer, PendingReport, Trainer, initial_weights, shuffled},
};

const RATES: [f32; 3] = [0.003, 0.01, 0.03];
const EPOCHS: usize = 20;
const BATCH: usize = 100;

/// Images in CHW order, from −1 to 1.
struct Images {
    shape: Shape,
    pixels: Vec<f32>,
    classes: Vec<usize>,
    /// The training error to get to.
    target: f64,
}

fn main() -> Result<(), Box<dyn Error>> {
    let files: Vec<String> = env::args().skip(1).collect();
    let images = read(&files)?;
    let gpu = Gpu::open_blocking(&GpuOptions::default())?;
    eprintln!("{} images of {} on {}", images.classes.len(), images.shape, gpu.info().name);
    println!("activation,rate,epoch,training_error");
    let mut fastest = Vec::new();
    for (name, activation) in [("ReLU", Activation::Relu), ("tanh", Activation::Tanh)] {
        let mut best: Option<(usize, f32)> = None;
        for rate in RATES {
            // No need to go on for longer than the fastest.
            let most = best.map_or(EPOCHS, |(epochs, _)| epochs);
            let found = train(&gpu, &images, activation, rate, most, |epoch, error| {
                println!("{name},{rate},{epoch},{error:.4}");
            })?;
            if let Some(epochs) = found.filter(|epochs| best.is_none_or(|(least, _)| *epochs < least)) {
                best = Some((epochs, rate));
            }
        }
        fastest.push((name, best));
    }
    for (name, best) in fastest {
        let target = 100.0 * images.target;
        match best {
            Some((epochs, rate)) => {
                eprintln!("{name}: a training error of {target} % after {epochs} epochs, at rate {rate}")
            }
            None => eprintln!("{name}: not at a training error of {target} % after {EPOCHS} epochs, at any rate"),
        }
    }
    Ok(())
}

/// Trains until the target, and returns the number of epochs that it took; `None` if it took more than `most`.
fn train(
    gpu: &Gpu,
    images: &Images,
    activation: Activation,
    rate: f32,
    most: usize,
    mut tell: impl FnMut(usize, f64),
) -> Result<Option<usize>, Box<dyn Error>> {
    let conv = |filters| Conv::new(filters, 5).padding(2).activation(activation);
    let network = Network::builder("four layers", images.shape)
        .conv("conv1", conv(16))
        .max_pool("pool1", MaxPool::new(3, 2))
        .conv("conv2", conv(16))
        .max_pool("pool2", MaxPool::new(3, 2))
        .conv("conv3", conv(32))
        .max_pool("pool3", MaxPool::new(3, 2))
        .linear("fc4", Linear::new(10))
        .build()?;
    let weights = initial_weights(&network, Init::Torch, 1);
    let mut trainer = Trainer::builder(gpu, &network, &weights).batch(BATCH).optimizer(Optimizer::SGD).build()?;
    let len = images.shape.len();
    for epoch in 1..=most {
        let order = shuffled(images.classes.len(), epoch as u64);
        let mut reports: Vec<PendingReport> = Vec::new();
        for step in order.chunks(BATCH) {
            let pixels = step.iter().flat_map(|&image| &images.pixels[image * len..][..len]);
            let inputs: Vec<f32> = pixels.copied().collect();
            let classes: Vec<usize> = step.iter().map(|&image| images.classes[image]).collect();
            reports.push(trainer.step(&inputs, &classes, rate)?);
        }
        // The error of an epoch is that of its steps.
        let mut wrong = 0;
        for mut report in reports {
            let report = trainer.wait(&mut report)?;
            wrong += report.images.len() - report.correct;
        }
        let error = wrong as f64 / order.len() as f64;
        tell(epoch, error);
        if error <= images.target {
            return Ok(Some(epoch));
        }
    }
    Ok(None)
}

/// Reads CIFAR-10's files of images with their classes, or Fashion-MNIST's two, of images and of classes.
fn read(files: &[String]) -> Result<Images, Box<dyn Error>> {
    let most = env::var("IMAGES").ok().map(|images| images.parse()).transpose()?.unwrap_or(usize::MAX);
    let bytes = files.iter().map(fs::read).collect::<Result<Vec<_>, _>>()?;
    let number = |byte: u8| f32::from(byte) / 127.5 - 1.0;
    let (shape, pixels, classes, target): (_, Vec<u8>, Vec<u8>, _) = match &bytes[..] {
        // IDX: a header of 16 bytes (8 for classes), then one byte a sample.
        [images, classes] if images.starts_with(&[0, 0, 8, 3]) && classes.starts_with(&[0, 0, 8, 1]) => {
            let (pixels, classes) = (images.get(16..).unwrap_or_default(), classes.get(8..).unwrap_or_default());
            (Shape::new(1, 28, 28), pixels.to_vec(), classes.to_vec(), 0.1)
        }
        [_, ..] if bytes.iter().all(|file| !file.is_empty() && file.len().is_multiple_of(1 + 3072)) => {
            let rows = || bytes.iter().flat_map(|file| file.chunks_exact(1 + 3072));
            let pixels = rows().flat_map(|row| &row[1..]).copied().collect();
            (Shape::new(3, 32, 32), pixels, rows().map(|row| row[0]).collect(), 0.25)
        }
        _ => return Err("expected CIFAR-10's data_batch files, or Fashion-MNIST's images and labels, unpacked".into()),
    };
    let count = classes.len().min(most);
    if count < BATCH || pixels.len() < count * shape.len() || classes.iter().any(|&class| class > 9) {
        return Err(format!("expected at least {BATCH} images of {shape} with classes below 10").into());
    }
    Ok(Images {
        shape,
        pixels: pixels[..count * shape.len()].iter().map(|&byte| number(byte)).collect(),
        classes: classes[..count].iter().map(|&class| class.into()).collect(),
        target,
    })
}
