#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use super::*;
use crate::{
    kernels::Family,
    layers::Conv,
    picture::Preprocessing,
    reference,
    train::{
        samples::{images, networks, weights},
        without_softmax,
    },
    window::{Padding, Window},
};

fn wide(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&v| v.into()).collect()
}

/// Pairs of layers whose gradient is computed: from the scores, from a layer in the middle, and by one.
fn pairs(network: &Network) -> Vec<(String, Option<String>)> {
    let layers = without_softmax(network);
    let name = |index: usize| layers[index].name.clone();
    let last = layers.len() - 1;
    vec![(name(last), None), (name(last), Some(name(last / 2))), (name(last / 2), None), (name(last), Some(name(0)))]
}

/// The f64 twin against differences of the output.
#[test]
fn the_twin_is_the_slope_of_the_output() {
    for network in networks() {
        let weights = weights(&network);
        let input = wide(&images(&network, 1).0);
        let last = without_softmax(&network).last().unwrap();
        let seed: Vec<f64> = (0..last.output.len()).map(|i| 1.0 - i as f64).collect();
        let index = network.position(&last.name).unwrap();
        let output = |input: &[f64]| {
            let outputs = reference::run(&network, &weights, input).unwrap();
            outputs[index].iter().zip(&seed).map(|(y, s)| y * s).sum::<f64>()
        };
        let layers = (last.name.as_str(), None);
        let gradient =
            reference::layer_gradient(&network, &weights, &input, layers, &seed, BackwardRule::Derivative).unwrap();
        let norm = gradient.iter().map(|v| v * v).sum::<f64>().sqrt();
        for at in [0, input.len() / 2, input.len() - 1] {
            let moved = |by: f64| {
                let mut input = input.clone();
                input[at] += by;
                output(&input)
            };
            let slope = (moved(1e-6) - moved(-1e-6)) / 2e-6;
            assert!((slope - gradient[at]).abs() < 1e-5 * norm, "{}: {slope} for {}", network.name(), gradient[at]);
        }
    }
}

/// Strides with dilation, and steps longer than the windows, whose pixels between get nothing.
fn strides() -> Network {
    let uneven = Padding { top: 0, left: 2, bottom: 1, right: 0 };
    Network::builder("strides", Shape::new(3, 21, 22))
        .conv(
            "conv1",
            Conv::new(10, 1).window(Window { dilation: [3, 1], padding: uneven, ..Window::square(3, 2) }).relu(),
        )
        .conv("conv2", Conv::new(6, 2).stride(3).relu())
        .linear("fc3", crate::Linear::new(5))
        .build()
        .unwrap()
}

/// Every kernel configuration's gradients against the twin, by each rule: ‖error‖ / ‖gradient‖ ≤ 1e-5.
#[test]
fn gradients_are_those_of_the_twin() {
    let gpu = Gpu::for_tests();
    for network in networks().into_iter().chain([strides()]) {
        let weights = weights(&network);
        let (inputs, _) = images(&network, 3);
        for config in gpu.kernel_configs() {
            if config.family == (Family::SubgroupBroadcast { lanes: 4 }) {
                continue;
            }
            for (of, by) in pairs(&network) {
                for rule in [BackwardRule::Derivative, BackwardRule::Guided, BackwardRule::Deconvnet] {
                    let builder = LayerGradient::builder(&gpu, &network, &weights).of(&of).rule(rule).batch(3);
                    let builder = builder.kernel_config(config);
                    let gradient = by.iter().fold(builder, |builder, by| builder.by(by)).build().unwrap();
                    let seeds = crate::splitmix::uniform(5, 3 * gradient.output().len(), 1.0);
                    let run = gradient.run_blocking(&inputs, &seeds).unwrap();
                    let each =
                        |values: &[f32], image: usize| wide(&values[image * values.len() / 3..][..values.len() / 3]);
                    for image in 0..3 {
                        let (input, seed) = (each(&inputs, image), each(&seeds, image));
                        let layers = (of.as_str(), by.as_deref());
                        let expected =
                            reference::layer_gradient(&network, &weights, &input, layers, &seed, rule).unwrap();
                        let found: Vec<f32> = each(&run.gradient, image).iter().map(|&v| v as f32).collect();
                        let error = reference::relative_error(&found, &expected);
                        let what = format!("{}, {config:?}, {of} by {by:?}, {rule:?}", network.name());
                        assert!(error <= 1e-5, "{what}: {error:e}");
                        let outputs = reference::run(&network, &weights, &input).unwrap();
                        let layer = |name: &str| &outputs[network.position(name).unwrap()];
                        for (values, name) in [(&run.output, Some(&of)), (&run.at, by.as_ref())] {
                            let Some(name) = name else { continue };
                            let found: Vec<f32> = each(values, image).iter().map(|&v| v as f32).collect();
                            assert!(reference::relative_error(&found, layer(name)) <= 1e-5, "{what}: {name}");
                        }
                    }
                }
            }
        }
    }
}

/// A run of fewer images than the batch, and lengths that do not fit.
#[test]
fn lengths_are_checked() {
    let gpu = Gpu::for_tests();
    let network = networks().remove(1);
    let weights = weights(&network);
    let gradient = LayerGradient::builder(&gpu, &network, &weights).batch(2).build().unwrap();
    let (inputs, _) = images(&network, 3);
    let one = network.input().len();
    let run = gradient.run_blocking(&inputs[..one], &[1.0, 0.0, 0.0]).unwrap();
    assert_eq!([run.output.len(), run.at.len(), run.gradient.len()], [3, 0, one]);
    assert_eq!(gradient.outputs_blocking(&inputs[..one]).unwrap(), run.output);
    for (inputs, seeds) in [(&inputs[..], 9), (&inputs[..one + 1], 3), (&inputs[..0], 0), (&inputs[..one], 6)] {
        let found = gradient.run_blocking(inputs, &vec![0.0; seeds]);
        assert!(matches!(found, Err(RunError::Input { .. })), "{found:?}");
    }
    let backwards = LayerGradient::builder(&gpu, &network, &weights).of("pool1").by("fc3").build();
    assert!(matches!(backwards, Err(ExplainError::Option { .. })), "{backwards:?}");
    let missing = LayerGradient::builder(&gpu, &network, &weights).of("conv9").build();
    assert!(matches!(missing, Err(ExplainError::Network(_))), "{missing:?}");
}

/// Each method against its formula, on the twins.
#[test]
fn methods_are_their_formulas() {
    let gpu = Gpu::for_tests();
    let network = networks().remove(0);
    let weights = weights(&network);
    let input = images(&network, 1).0;
    let (shape, class) = (network.input(), 3);
    let pixels = shape.height * shape.width;
    let seed: Vec<f64> = (0..5).map(|i| f64::from(u8::from(i == class))).collect();
    let twin = |input: &[f64], by, rule| {
        reference::layer_gradient(&network, &weights, input, ("fc4", by), &seed, rule).unwrap()
    };
    let score = |input: &[f64]| reference::run(&network, &weights, input).unwrap()[6][class];
    let explain = |method| {
        let explainer = Explainer::new(&gpu, &network, &weights, method).unwrap();
        let explanation = explainer.explain_blocking(&input, class).unwrap();
        assert!((f64::from(explanation.score) - score(&wide(&input))).abs() < 1e-5);
        assert!(matches!(explainer.explain_blocking(&input, 5), Err(ExplainError::Option { .. })));
        assert_eq!((explanation.heat.height, explanation.heat.width), (shape.height, shape.width));
        explanation.heat
    };
    assert_eq!(network.layers()[6].name, "fc4");

    for (method, rule) in [
        (Method::Saliency, BackwardRule::Derivative),
        (Method::Guided, BackwardRule::Guided),
        (Method::Deconvnet, BackwardRule::Deconvnet),
    ] {
        let gradient = twin(&wide(&input), None, rule);
        let expected: Vec<f64> =
            (0..pixels).map(|i| (0..3).map(|c| gradient[c * pixels + i].abs()).fold(0.0, f64::max)).collect();
        assert!(reference::relative_error(&explain(method).values, &expected) < 1e-5);
    }

    // The last convolution's maps are 4×3.
    let gradient = twin(&wide(&input), Some("conv2"), BackwardRule::Derivative);
    let maps = &reference::run(&network, &weights, &wide(&input)).unwrap()[3];
    let Shape { height, width, .. } = network.layers()[3].output;
    let mut cam = vec![0.0; height * width];
    for (map, gradient) in maps.chunks_exact(cam.len()).zip(gradient.chunks_exact(height * width)) {
        let weight = gradient.iter().sum::<f64>() / gradient.len() as f64;
        cam.iter_mut().zip(map).for_each(|(sum, v)| *sum += weight * v);
    }
    let values = cam.iter().map(|v| v.max(0.0) as f32).collect();
    let expected = Heat { height, width, values }.resized(shape.height, shape.width);
    let found = explain(Method::GradCam { layer: None });
    assert!(found.largest() > 0.0);
    assert!(reference::relative_error(&found.values, &wide(&expected.values)) < 1e-5);

    // What integrated gradients give to the pixels is what the input adds to the score.
    let heat = explain(Method::Integrated { steps: 300 });
    let sum: f64 = wide(&heat.values).iter().sum();
    let added = score(&wide(&input)) - score(&vec![0.0; shape.len()]);
    assert!((sum - added).abs() < 0.01 * added.abs(), "{sum} for {added}");

    let heat = explain(Method::Occlusion);
    let covered = occlusion::inputs(&input, shape, occlusion::PATCHES / 2, 1);
    let middle = heat.values[shape.height / 2 * shape.width + shape.width / 2];
    let expected = score(&wide(&input)) - score(&wide(&covered));
    assert!((f64::from(middle) - expected).abs() < 1e-4, "{middle} for {expected}");
}

#[test]
fn heat_is_resized_between_the_middles() {
    let heat = Heat { height: 1, width: 2, values: vec![0.0, 4.0] };
    assert_eq!(heat.resized(2, 4).values, [0.0, 1.0, 3.0, 4.0, 0.0, 1.0, 3.0, 4.0]);
    assert_eq!(heat.resized(1, 2), heat);
}

#[test]
fn networks_without_classes_or_maps_are_refused() {
    let gpu = Gpu::for_tests();
    let maps = Network::builder("maps", Shape::new(3, 8, 8)).conv("conv1", Conv::new(4, 3)).build().unwrap();
    let explainer = Explainer::new(&gpu, &maps, &weights(&maps), Method::Saliency);
    assert!(matches!(explainer, Err(ExplainError::Option { .. })), "{explainer:?}");
    let vector = Network::builder("vector", Shape::vector(3)).linear("fc", crate::Linear::new(2)).build().unwrap();
    for layer in [None, Some("fc".to_string())] {
        let explainer = Explainer::new(&gpu, &vector, &weights(&vector), Method::GradCam { layer });
        assert!(matches!(explainer, Err(ExplainError::Option { .. })), "{explainer:?}");
    }
    for steps in [0, MAX_BATCH + 1] {
        let explainer = Explainer::new(&gpu, &vector, &weights(&vector), Method::Integrated { steps });
        assert!(matches!(explainer, Err(ExplainError::Option { .. })), "{explainer:?}");
    }
}

/// A dream makes the channel louder, and is the same for the same seed.
#[test]
fn dreams_please_their_channel() {
    let gpu = Gpu::for_tests();
    let network = networks().remove(0);
    let weights = weights(&network);
    let preprocessing = crate::Preprocessing::torchvision(35);
    for (layer, channel) in [("conv1", 5), ("conv2", 3), ("fc4", 2)] {
        let dreamer = Dreamer::new(&gpu, &network, &weights, &preprocessing, layer, channel).unwrap();
        let dream = dreamer.dream_blocking(20, 7, |_| ()).unwrap();
        assert!(dream.after > dream.before + 0.5 * dream.before.abs(), "{layer}: {dream:?}");
        assert_eq!([dream.picture.width(), dream.picture.height()], [31, 35]);
        assert_eq!(dreamer.dream_blocking(20, 7, |_| ()).unwrap(), dream);
        assert_ne!(dreamer.dream_blocking(20, 8, |_| ()).unwrap().picture, dream.picture);
        let none = Dreamer::new(&gpu, &network, &weights, &preprocessing, layer, 99);
        assert!(matches!(none, Err(ExplainError::Option { .. })), "{none:?}");
    }
}

/// Weights of other shapes, missing ones, and kernels that the adapter cannot run; what belongs to later layers is not needed.
#[test]
fn what_does_not_fit_is_an_error() {
    let gpu = Gpu::for_tests();
    let network = networks().remove(0);
    let right = weights(&network);
    let conv1 = right.of_network(&network.up_to("pool1").unwrap()).unwrap();
    assert!(LayerGradient::builder(&gpu, &network, &conv1).of("pool1").build().is_ok());
    let missing = LayerGradient::builder(&gpu, &network, &conv1).build();
    assert!(matches!(missing, Err(ExplainError::Pipeline(PipelineError::Tensors(_)))), "{missing:?}");
    for (name, shape) in [("conv2.weight", vec![12, 4, 3, 1]), ("conv1.bias", vec![7]), ("fc4.weight", vec![5, 9])] {
        let mut wrong = right.clone();
        wrong.insert(name, crate::Tensor::from_f32(shape.clone(), vec![0.5; shape.iter().product()]));
        let gradient = LayerGradient::builder(&gpu, &network, &wrong).build();
        assert!(matches!(gradient, Err(ExplainError::Pipeline(PipelineError::Tensors(_)))), "{name}: {gradient:?}");
    }
    let config = crate::KernelConfig::new(Family::SubgroupBroadcast { lanes: 5 }, crate::Storage::StorageBuffer);
    let gradient = LayerGradient::builder(&gpu, &network, &right).kernel_config(config).build();
    assert!(matches!(gradient, Err(ExplainError::Pipeline(PipelineError::KernelConfig { .. }))), "{gradient:?}");
    let trainer = crate::train::Trainer::builder(&gpu, &network, &right).kernel_config(config).build();
    let refused = |error: &crate::train::TrainError| {
        matches!(error, crate::train::TrainError::Pipeline(PipelineError::KernelConfig { .. }))
    };
    assert!(trainer.as_ref().is_err_and(refused), "{trainer:?}");
}

/// A projection is the twin's deconvnet gradient of the strongest activation alone, and stays within what that sees.
#[test]
fn projections_are_those_of_the_twin() {
    let gpu = Gpu::for_tests();
    let network = networks().remove(0);
    let weights = weights(&network);
    let input = images(&network, 1).0;
    let shape = network.input();
    let preprocessing = Preprocessing::plain(shape);
    let outputs = reference::run(&network, &weights, &wide(&input)).unwrap();
    for layer in network.layers().iter().filter(|layer| layer.output.height > 1) {
        let projector = Projector::new(&gpu, &network, &weights, &preprocessing, &layer.name).unwrap();
        let activations = &outputs[network.position(&layer.name).unwrap()];
        let map = layer.output.height * layer.output.width;
        assert_eq!(projector.channels(), activations.len() / map);
        let strongest_of = |mut range: std::ops::Range<usize>| {
            let first = range.next().unwrap();
            range.fold(first, |best, at| if activations[at] > activations[best] { at } else { best })
        };
        let all = strongest_of(0..activations.len());
        for channel in [None, Some(all / map), Some(projector.channels() - 1)] {
            let found = projector.project_blocking(&input, channel).unwrap();
            let expected = channel.map_or(all, |channel| strongest_of(channel * map..(channel + 1) * map));
            let [row, column] = found.position;
            assert_eq!(found.channel * map + row * layer.output.width + column, expected);
            assert!((f64::from(found.activation) - activations[expected]).abs() <= 1e-5 * activations[expected].abs());
            let mut seed = vec![0.0; activations.len()];
            seed[expected] = activations[expected];
            let (layers, rule) = ((layer.name.as_str(), None), BackwardRule::Deconvnet);
            let twin = reference::layer_gradient(&network, &weights, &wide(&input), layers, &seed, rule).unwrap();
            if twin.iter().any(|v| *v != 0.0) {
                assert!(reference::relative_error(&found.values, &twin) <= 1e-5, "{}", layer.name);
            } else {
                assert!(found.values.iter().all(|v| *v == 0.0) && found.rows.is_empty());
            }
            for (at, v) in found.values.iter().enumerate().filter(|(_, v)| **v != 0.0) {
                let (row, column) = (at / shape.width % shape.height, at % shape.width);
                assert!(found.rows.contains(&row) && found.columns.contains(&column), "{v} at {row}, {column}");
            }
            assert_eq!(
                [found.picture.width(), found.picture.height()].map(|n| n as usize),
                [shape.width, shape.height]
            );
        }
        let beyond = projector.project_blocking(&input, Some(projector.channels()));
        assert!(matches!(beyond, Err(ExplainError::Option { .. })), "{beyond:?}");
    }
    let vector = network.layers().iter().find(|layer| layer.output.height == 1).unwrap();
    let refused = Projector::new(&gpu, &network, &weights, &preprocessing, &vector.name);
    assert!(matches!(refused, Err(ExplainError::Option { .. })), "{refused:?}");
}
