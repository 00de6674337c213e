#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use super::{
    samples::{algorithms, images, networks, weights},
    *,
};
use crate::{
    gpu::Gpu,
    kernels::{Family, KernelConfig, Storage},
    layers::{Conv, Linear},
    model::AlexNet,
    network::Network,
    program::{Allocation, Options},
    reference,
    shape::Shape,
    weights::{Tensor, Weights},
};

fn wide(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&v| v.into()).collect()
}

/// The f64 twins against differences of the loss.
#[test]
fn twins_are_the_slopes_of_the_loss() {
    for network in networks() {
        let weights = weights(&network);
        let (inputs, classes) = images(&network, 2);
        let inputs = wide(&inputs);
        let loss = |weights: &Weights| {
            let (_, losses) = reference::gradients(&network, weights, &inputs, &classes).unwrap();
            losses.iter().sum::<f64>() / losses.len() as f64
        };
        let (gradients, _) = reference::gradients(&network, &weights, &inputs, &classes).unwrap();
        for (name, gradient) in &gradients {
            if name.contains("running") {
                continue;
            }
            let tensor = weights.tensor(name).unwrap();
            let norm = gradient.iter().map(|v| v * v).sum::<f64>().sqrt();
            for at in [0, gradient.len() / 3, gradient.len() - 1] {
                let moved = |by: f32| {
                    let mut values = tensor.to_f32().to_vec();
                    values[at] += by;
                    let moved = f64::from(values[at]);
                    let mut weights = weights.clone();
                    weights.insert(name.as_str(), Tensor::from_f32(tensor.shape(), values));
                    (moved, loss(&weights))
                };
                let ((a, above), (b, below)) = (moved(1e-5), moved(-1e-5));
                let slope = (above - below) / (a - b);
                let error = (slope - gradient[at]).abs();
                assert!(error < 1e-3 * norm + 1e-6, "{name} {at}: {slope} for {}", gradient[at]);
            }
        }
    }
}

/// Every kernel configuration's gradients, directly and by Winograd's algorithm, against the twins:
/// ‖error‖ / ‖gradient‖ ≤ 1e-5.
#[test]
fn gradients_are_those_of_the_twins() {
    let gpu = Gpu::for_tests();
    for network in networks() {
        let weights = weights(&network);
        let (inputs, classes) = images(&network, 5);
        let (expected, losses) = reference::gradients(&network, &weights, &wide(&inputs), &classes).unwrap();
        let pairs = |config: KernelConfig| algorithms(&network).into_iter().map(move |algorithm| (config, algorithm));
        for (config, algorithm) in gpu.kernel_configs().into_iter().flat_map(pairs) {
            if config.family == (Family::SubgroupBroadcast { lanes: 4 }) {
                continue;
            }
            let builder = Trainer::builder(&gpu, &network, &weights).batch(5).at_once(2).dropout(0.0);
            let builder = builder.kernel_config(config);
            let builder = network.layers().iter().fold(builder, |b, layer| b.algorithm(&layer.name, algorithm));
            let mut trainer = builder.build().unwrap();
            let mut report = trainer.step(&inputs, &classes, 0.0).unwrap();
            let report = trainer.wait(&mut report).unwrap();
            for (image, loss) in report.images.iter().zip(&losses) {
                assert!((f64::from(image.loss) - loss).abs() < 1e-5, "{config:?}, {algorithm:?}: {image:?} for {loss}");
            }
            for (name, gradient) in trainer.gradients().unwrap().unwrap() {
                let error = reference::relative_error(&gradient.to_f32(), &expected[&name]);
                assert!(error <= 1e-5, "{}, {config:?}, {algorithm:?}, {name}: {error:e}", network.name());
            }
        }
    }
}

/// The optimisers against the same in f64, over steps in which the rate changes.
#[test]
fn parameters_move_as_the_optimisers_say() {
    let gpu = Gpu::for_tests();
    let network = Network::builder("two", Shape::new(3, 5, 5))
        .conv("conv", Conv::new(6, 3).groups(3).relu())
        .linear("fc", Linear::new(4))
        .build()
        .unwrap();
    let sgd = |form, nesterov| Optimizer::Sgd { form, momentum: 0.9, nesterov };
    let plain = Optimizer::Sgd { form: SgdForm::Torch, momentum: 0.0, nesterov: false };
    let optimizers = [
        sgd(SgdForm::Torch, false),
        sgd(SgdForm::Torch, true),
        sgd(SgdForm::Caffe, false),
        sgd(SgdForm::Caffe, true),
        plain,
        Optimizer::ADAMW,
    ];
    let (inputs, classes) = images(&network, 6);
    let decay = 0.01;
    for optimizer in optimizers {
        // The other family's kernel that updates weights at once.
        let tiled = KernelConfig { family: Family::WorkgroupTiled, storage: Storage::StorageBuffer };
        let ways =
            [(6, None, None), (4, None, None), (6, Some(0.5), None), (4, Some(0.5), None), (6, None, Some(tiled))];
        for (at_once, clip, config) in ways {
            let start = weights(&network);
            let mut builder = Trainer::builder(&gpu, &network, &start).batch(6).at_once(at_once).optimizer(optimizer);
            builder = clip.map_or(builder.clone(), |norm| builder.clip(norm));
            builder = config.map_or(builder.clone(), |config| builder.kernel_config(config));
            let mut trainer = builder.weight_decay(decay).biases(2.0, 0.0).build().unwrap();
            let mut twin = start.clone();
            let mut moments = std::collections::BTreeMap::<String, [Vec<f64>; 2]>::new();
            for (number, rate) in (1..).zip([0.05f32, 0.05, 0.01, 0.01]) {
                let mut report = trainer.step(&inputs, &classes, rate).unwrap();
                trainer.wait(&mut report).unwrap();
                let (mut gradients, _) = reference::gradients(&network, &twin, &wide(&inputs), &classes).unwrap();
                if let Some(clip) = clip {
                    let norm = gradients.values().flatten().map(|g| g * g).sum::<f64>().sqrt();
                    assert!(number > 1 || norm > 2.0 * f64::from(clip), "{norm}");
                    let factor = (f64::from(clip) / (norm + 1e-6)).min(1.0);
                    gradients.values_mut().flatten().for_each(|g| *g *= factor);
                }
                for (name, gradient) in gradients {
                    let (factor, decay) = if name.ends_with("bias") { (2.0, 0.0) } else { (1.0, f64::from(decay)) };
                    let rate = f64::from(rate) * factor;
                    let [first, second] =
                        moments.entry(name.clone()).or_insert_with(|| [(); 2].map(|()| vec![0.0; gradient.len()]));
                    let mut values = wide(&twin.tensor(&name).unwrap().to_f32());
                    for (i, g) in gradient.into_iter().enumerate() {
                        let (w, m, v) = (&mut values[i], &mut first[i], &mut second[i]);
                        match optimizer {
                            Optimizer::Sgd { form: SgdForm::Torch, momentum, nesterov } => {
                                let momentum = f64::from(momentum);
                                let g = g + decay * *w;
                                *m = momentum * *m + g;
                                *w -= rate * if nesterov { g + momentum * *m } else { *m };
                            }
                            Optimizer::Sgd { form: SgdForm::Caffe, momentum, nesterov } => {
                                let (momentum, before) = (f64::from(momentum), *m);
                                *m = momentum * before + rate * (g + decay * *w);
                                *w -= if nesterov { (1.0 + momentum) * *m - momentum * before } else { *m };
                            }
                            Optimizer::AdamW { beta1, beta2, epsilon } => {
                                let (b1, b2) = (f64::from(beta1), f64::from(beta2));
                                *m = b1 * *m + (1.0 - b1) * g;
                                *v = b2 * *v + (1.0 - b2) * g * g;
                                *w -= rate * decay * *w;
                                let (m, v) = (*m / (1.0 - b1.powi(number)), *v / (1.0 - b2.powi(number)));
                                *w -= rate * m / (v.sqrt() + f64::from(epsilon));
                            }
                        }
                    }
                    let shape = twin.tensor(&name).unwrap().shape().to_vec();
                    twin.insert(name, Tensor::from_f32(shape, values.iter().map(|&v| v as f32).collect()));
                }
            }
            let trained = trainer.weights().unwrap();
            for (name, _) in network.parameters() {
                let [found, expected, start] = [&trained, &twin, &start].map(|w| w.tensor(&name).unwrap().to_f32());
                let moved: Vec<f64> = expected.iter().zip(start.iter()).map(|(a, b)| f64::from(a - b)).collect();
                let by: Vec<f32> = found.iter().zip(start.iter()).map(|(a, b)| a - b).collect();
                let error = reference::relative_error(&by, &moved);
                assert!(
                    error < 1e-4,
                    "{optimizer:?}, {at_once} at once, clipped at {clip:?}, {config:?}, {name}: {error:e}"
                );
            }
        }
    }
}

#[test]
fn dead_channels_are_counted() {
    let gpu = Gpu::for_tests();
    let network = networks().remove(0);
    let mut start = weights(&network);
    // One channel of conv1 and three outputs of fc3 get no input that is positive.
    for (name, dead) in [("conv1.bias", &[2][..]), ("fc3.bias", &[0, 5, 9])] {
        let mut bias = start.tensor(name).unwrap().to_f32().to_vec();
        dead.iter().for_each(|&channel| bias[channel] = -1e3);
        start.insert(name, Tensor::from_f32([bias.len()], bias));
    }
    let (inputs, classes) = images(&network, 5);
    // What the f64 reference finds of the other channels.
    let mut alive = std::collections::BTreeMap::<String, Vec<bool>>::new();
    for input in inputs.chunks(network.input().len()) {
        for (layer, output) in network.layers().iter().zip(reference::run(&network, &start, &wide(input)).unwrap()) {
            let alive = alive.entry(layer.name.clone()).or_insert_with(|| vec![false; layer.output.channels]);
            for (alive, map) in alive.iter_mut().zip(output.chunks(layer.output.height * layer.output.width)) {
                *alive |= map.iter().any(|&value| value > 0.0);
            }
        }
    }
    let mut trainer = Trainer::builder(&gpu, &network, &start).batch(4).at_once(3).build().unwrap();
    let found = trainer.dead_channels(&inputs).unwrap();
    assert_eq!(found.iter().map(|found| &*found.layer).collect::<Vec<_>>(), ["conv1", "conv2", "fc3"]);
    for DeadChannels { layer, dead, channels } in &found {
        let alive = &alive[layer];
        assert_eq!((*dead, *channels), (alive.iter().filter(|alive| !**alive).count(), alive.len()), "{layer}");
    }
    assert!(found[0].dead >= 1 && found[0].dead < 8 && found[2].dead >= 3 && found[2].dead < 10, "{found:?}");
    // A step afterwards is as without.
    let mut report = trainer.step(&inputs[..4 * network.input().len()], &classes[..4], 0.1).unwrap();
    assert!(trainer.wait(&mut report).unwrap().loss.is_finite());
}

/// N + M steps are N steps, a state, and M steps, bit for bit; dropout too.
#[test]
fn a_training_that_goes_on_is_the_same() {
    let gpu = Gpu::for_tests();
    let network = networks().remove(0);
    let start = weights(&network);
    let (inputs, classes) = images(&network, 4);
    let builder = |weights| Trainer::builder(&gpu, &network, weights).batch(4).at_once(3).seed(9).weight_decay(1e-3);
    let run = |trainer: &mut Trainer, steps| {
        for _ in 0..steps {
            let mut report = trainer.step(&inputs, &classes, 0.01).unwrap();
            trainer.wait(&mut report).unwrap();
        }
    };
    let mut whole = builder(&start).build().unwrap();
    run(&mut whole, 5);
    let mut first = builder(&start).build().unwrap();
    run(&mut first, 2);
    let state = first.state().unwrap();
    let mut second = builder(&start).resume(&state).build().unwrap();
    run(&mut second, 3);
    assert_eq!((whole.steps(), second.steps()), (5, 5));
    let [a, b] = [whole, second].map(|trainer| trainer.weights().unwrap());
    for (name, tensor) in a.iter() {
        assert_eq!(tensor.to_f32(), b.tensor(name).unwrap().to_f32(), "{name}");
    }
}

/// Dropout against masks made of the same random numbers: a dropped number is as one whose weights are zero.
#[test]
fn dropout_drops_in_both_passes() {
    let gpu = Gpu::for_tests();
    let builder = || Network::builder("dropout", Shape::vector(6)).linear("fc1", Linear::new(10).relu());
    let network = builder().dropout("drop").linear("fc2", Linear::new(3)).build().unwrap();
    let without = builder().linear("fc2", Linear::new(3)).build().unwrap();
    let weights = weights(&network);
    let (inputs, classes) = images(&network, 2);
    let (seed, probability) = (0x1234_5678_9abc_u64, 0.3);
    let mut trainer =
        Trainer::builder(&gpu, &network, &weights).batch(2).at_once(1).dropout(probability).seed(seed).build().unwrap();
    for step in 1..=2 {
        let mut report = trainer.step(&inputs, &classes, 0.0).unwrap();
        let report = trainer.wait(&mut report).unwrap();
        let mut sums = std::collections::BTreeMap::<String, Vec<f64>>::new();
        let mut dropped = 0;
        for (image, &class) in classes.iter().enumerate() {
            let factor = |unit: usize| {
                let counter = [unit as u32 / 4, image as u32, step, 1];
                let random = random::philox(counter, [seed as u32, (seed >> 32) as u32])[unit % 4];
                let keeps = f64::from(random) >= f64::from(probability) * 2f64.powi(32) - 1.0;
                if keeps { 1.0 / (1.0 - probability) } else { 0.0 }
            };
            let factors: Vec<f32> = (0..10).map(factor).collect();
            dropped += factors.iter().filter(|factor| **factor == 0.0).count();
            let mut masked = weights.clone();
            let fc2 = weights.tensor("fc2.weight").unwrap().to_f32().to_vec();
            let values = fc2.iter().zip(factors.iter().cycle()).map(|(w, factor)| w * factor).collect();
            masked.insert("fc2.weight", Tensor::from_f32([3, 10], values));
            let input = wide(&inputs[6 * image..][..6]);
            let (gradients, losses) = reference::gradients(&without, &masked, &input, &[class]).unwrap();
            assert!((losses[0] - f64::from(report.images[image].loss)).abs() < 1e-5, "step {step}: {losses:?}");
            for (name, mut gradient) in gradients {
                if name == "fc2.weight" {
                    gradient.iter_mut().zip(factors.iter().cycle()).for_each(|(v, &factor)| *v *= f64::from(factor));
                }
                let sum = sums.entry(name).or_insert_with(|| vec![0.0; gradient.len()]);
                sum.iter_mut().zip(gradient).for_each(|(sum, v)| *sum += v / 2.0);
            }
        }
        assert!((1..15).contains(&dropped), "{dropped} of 20 are dropped");
        for (name, gradient) in trainer.gradients().unwrap().unwrap() {
            let error = reference::relative_error(&gradient.to_f32(), &sums[&name]);
            assert!(error <= 1e-5, "step {step}, {name}: {error:e}");
        }
    }
    // Without dropout, as it is measured.
    let measured = trainer.evaluate(&inputs, &classes).unwrap();
    let (_, losses) = reference::gradients(&without, &weights, &wide(&inputs), &classes).unwrap();
    for (image, loss) in measured.images.iter().zip(losses) {
        assert!((f64::from(image.loss) - loss).abs() < 1e-5);
    }
}

/// Parameters in each storage, their momentum, the largest layer's gradient, and what is kept of each image.
#[test]
fn memory_is_planned() {
    let network = AlexNet::UNGROUPED.network().unwrap();
    let bytes = |storage, accumulates| {
        let config = KernelConfig { family: Family::SubgroupBroadcast { lanes: 8 }, storage };
        let (algorithms, limit) = (&Default::default(), (128 << 20) / 16);
        let lowering = Options { config, batch: 16, precision: Default::default(), algorithms, limit, top: 0 };
        let options = TrainingOptions {
            lowering,
            optimizer: Optimizer::SGD,
            weight_decay: 0.0,
            bias_rate: 1.0,
            bias_decay: 1.0,
            rates: &Default::default(),
            dropout: 0.5,
            clip: None,
            accumulates,
        };
        let program = TrainingProgram::lower(&network, options).unwrap().program;
        program.plan_memory().allocations.iter().map(Allocation::device_bytes).sum::<u64>() as f64 / 1e6
    };
    let parameters = 4e-6 * network.parameter_count() as f64;
    let kept: usize = network.layers().iter().map(|layer| layer.output.len()).sum();
    let sum = 3.0 * parameters + 16.0 * 4e-6 * kept as f64;
    let found = [bytes(Storage::StorageBuffer, false), bytes(Storage::StorageBuffer, true)];
    let textures = bytes(Storage::StorageTexture, false);
    println!("{found:.0?} MB in buffers, {textures:.0} in textures; the sum is {sum:.0}");
    assert!(found.iter().all(|found| *found < 1.15 * sum), "{found:?}, {sum}");
    // Without gradients of the fully connected layers, which are a fourth.
    assert!(found[0] < 0.8 * sum, "{found:?}, {sum}");
    // A second copy of the parameters, which kernels read.
    assert!(textures < 1.15 * (sum + parameters), "{textures}, {sum}");
}
