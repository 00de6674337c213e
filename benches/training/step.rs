//! The time of a training step and of its parts, beside the forward pass of the same network by direct kernels.
//!
//! ```text
//! cargo run --example training-step -- [NETWORK] [BATCH] [WIDTH] [SIDE]
//! cargo run --example training-step -- NETWORK BATCH WIDTH SIDE --save FILE.safetensors
//! cargo run --example training-step -- NETWORK BATCH WIDTH SIDE --losses FILE.safetensors
//! ```
//!
//! With `--save`, the parameters, the images, their classes and the gradients of a step without dropout go to a file, for
//! pytorch.py to compare with. With `--losses`, it is the losses of a hundred steps with dropout.

use std::{
    env,
    error::Error,
    time::{Duration, Instant},
};

use alexnet_wgpu::{
    Algorithm, Gpu, GpuOptions, Network, Op, Pipeline, Shape, Tensor, Variant, Weights, splitmix,
    train::{Init, Optimizer, Trainer, initial_weights},
};

/// Steps that are counted.
const RUNS: usize = 9;
/// Steps whose losses are compared, the batches from which they take turns, and how they learn.
const STEPS: usize = 100;
const BATCHES: usize = 4;
const RATE: f32 = 0.01;
const WEIGHT_DECAY: f32 = 5e-4;
const SEED: u64 = 7;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let (arguments, save) = match arguments.split_last() {
        Some((file, [arguments @ .., option])) if ["--save", "--losses"].contains(&option.as_str()) => {
            (arguments.to_vec(), Some((option.clone(), file.clone())))
        }
        _ => (arguments, None),
    };
    let argument = |index: usize, default: &str| arguments.get(index).cloned().unwrap_or(default.into());
    let variant: Variant = argument(0, "ungrouped").parse()?;
    let (batch, width): (usize, f64) = (argument(1, "16").parse()?, argument(2, "1").parse()?);
    let side: usize = argument(3, &variant.input_size().to_string()).parse()?;
    let alexnet = variant.standard().width(width);
    let network = alexnet.head((4096.0 * width) as usize, (4096.0 * width) as usize).network()?;
    let layers = network.layers().iter().map(|layer| (layer.name.clone(), layer.op));
    let network = Network::new(network.name(), Shape::new(3, side, side), layers)?;
    let weights = initial_weights(&network, Init::Torch, 1);
    let gpu = Gpu::open_blocking(&GpuOptions::default())?;
    let inputs = splitmix::uniform(1, batch * network.input().len(), 1.0);
    let classes: Vec<usize> = (0..batch).map(|image| image * 37 % 1000).collect();
    match save {
        Some((option, file)) if option == "--save" => {
            return save_gradients(&gpu, &network, &weights, &inputs, &classes, &file);
        }
        Some((_, file)) => return save_losses(&gpu, &network, &weights, batch, &file),
        None => {}
    }

    let mut forward = Pipeline::builder(&gpu, &network, &weights).batch(batch).top(1);
    for layer in network.layers() {
        if layer.op.parameters(layer.input).len() == 2 {
            forward = forward.algorithm(&layer.name, Algorithm::Direct);
        }
    }
    let forward = forward.build()?;
    let mut trainer = Trainer::builder(&gpu, &network, &weights).batch(batch).optimizer(Optimizer::SGD).build()?;
    forward.write_input(&inputs)?;
    let (mut forwards, mut steps) = (Vec::new(), Vec::new());
    for _ in 0..=RUNS {
        let start = Instant::now();
        forward.run_top_again_blocking()?;
        forwards.push(start.elapsed());
        let start = Instant::now();
        let mut report = trainer.step(&inputs, &classes, 1e-4)?;
        trainer.wait(&mut report)?;
        steps.push(start.elapsed());
    }
    let median = |times: &mut Vec<Duration>| {
        // The first run still compiles on some drivers.
        times.remove(0);
        times.sort();
        times[times.len() / 2].as_secs_f64() * 1e3
    };
    let (forward, step) = (median(&mut forwards), median(&mut steps));
    println!(
        "{variant} × {width}, {side}², batch {batch} on {}: forward {forward:.1} ms, step {step:.1} ms, {:.2} times",
        gpu.info().name,
        step / forward
    );
    println!(
        "{:.1} MB on the device, {:.1} MB of parameters",
        trainer.device_bytes() as f64 / 1e6,
        4e-6 * network.parameter_count() as f64
    );
    for time in trainer.profile()?.unwrap_or_default() {
        println!("  {:9} {:8} {:9.2} ms  {}", time.pass, time.layer, time.ms, time.kernel);
    }
    Ok(())
}

fn save_gradients(
    gpu: &Gpu,
    network: &Network,
    weights: &Weights,
    inputs: &[f32],
    classes: &[usize],
    file: &str,
) -> Result<(), Box<dyn Error>> {
    let batch = classes.len();
    let trainer = Trainer::builder(gpu, network, weights).batch(batch).at_once(batch.div_ceil(2)).dropout(0.0);
    let mut trainer = trainer.build()?;
    let mut report = trainer.step(inputs, classes, 0.0)?;
    println!("loss {}", trainer.wait(&mut report)?.loss);
    let mut all = with_images(weights, network, inputs, classes);
    for (name, gradient) in trainer.gradients()?.ok_or("a batch of at least two images keeps gradients")? {
        all.insert(format!("gradient.{name}"), gradient);
    }
    Ok(all.save(file)?)
}

fn save_losses(
    gpu: &Gpu,
    network: &Network,
    weights: &Weights,
    batch: usize,
    file: &str,
) -> Result<(), Box<dyn Error>> {
    let len = network.input().len();
    let inputs = splitmix::uniform(2, BATCHES * batch * len, 1.0);
    let classes: Vec<usize> = (0..BATCHES * batch).map(|image| image * 37 % 1000).collect();
    let trainer = Trainer::builder(gpu, network, weights).batch(batch).optimizer(Optimizer::SGD);
    let mut trainer = trainer.weight_decay(WEIGHT_DECAY).dropout(0.5).seed(SEED).build()?;
    let mut losses = Vec::new();
    for step in 0..STEPS {
        let first = step % BATCHES * batch;
        let mut report = trainer.step(&inputs[first * len..][..batch * len], &classes[first..][..batch], RATE)?;
        losses.push(trainer.wait(&mut report)?.loss as f32);
    }
    println!("losses from {} to {}", losses[0], losses[STEPS - 1]);
    let mut all = with_images(weights, network, &inputs, &classes);
    all.insert("losses", Tensor::from_f32([STEPS], losses));
    let numbers = [batch as f32, RATE, WEIGHT_DECAY, SEED as f32];
    all.insert("numbers", Tensor::from_f32([numbers.len()], numbers.to_vec()));
    // Where numbers are dropped: the layer's index and shape, under the name of the layer that reads what is left.
    for (index, pair) in network.layers().windows(2).enumerate().filter(|(_, pair)| pair[0].op == Op::Dropout) {
        let Shape { channels, height, width, .. } = pair[0].input;
        let place = [index, channels, height, width].map(|v| v as f32);
        all.insert(format!("dropout.{}", pair[1].name), Tensor::from_f32([4], place.to_vec()));
    }
    Ok(all.save(file)?)
}

fn with_images(weights: &Weights, network: &Network, inputs: &[f32], classes: &[usize]) -> Weights {
    let mut all = weights.clone();
    let Shape { channels, height, width, .. } = network.input();
    all.insert("inputs", Tensor::from_f32([classes.len(), channels, height, width], inputs.to_vec()));
    all.insert("classes", Tensor::from_f32([classes.len()], classes.iter().map(|&class| class as f32).collect()));
    all
}
