//! Whole networks against reference vectors that were computed in f64, independently of this project
//! (assets/reference, described in docs/networks.md).
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod common;

use alexnet_wgpu::{
    AlexNet, Algorithm, Conv, KernelConfig, Linear, MaxPool, Network, Pipeline, PipelineBuilder, Precision, Shape,
    Weights, device_bytes, reference, splitmix,
};
use pollster::block_on;
use safetensors::SafeTensors;

const SEED: u64 = 20_121_203;

/// A reference file's data of a layer: norm, and numbers at some positions.
struct Vector {
    shape: Vec<usize>,
    norm: f64,
    index: Vec<usize>,
    value: Vec<f64>,
}

fn vector(file: &SafeTensors<'_>, layer: &str) -> Vector {
    let i64s = |name: &str| -> Vec<usize> {
        let data = file.tensor(&format!("{layer}.{name}")).unwrap().data().to_vec();
        data.chunks_exact(8).map(|b| i64::from_le_bytes(b.try_into().unwrap()) as usize).collect()
    };
    Vector {
        shape: i64s("shape"),
        norm: f64s(file, &format!("{layer}.l2"))[0],
        index: i64s("index"),
        value: f64s(file, &format!("{layer}.value")),
    }
}

fn f64s(file: &SafeTensors<'_>, name: &str) -> Vec<f64> {
    let data = file.tensor(name).unwrap().data().to_vec();
    data.chunks_exact(8).map(|b| f64::from_le_bytes(b.try_into().unwrap())).collect()
}

/// The weights and input of the seed.
fn seeded(network: &Network) -> (Weights, Vec<f32>) {
    let weights = Weights::random(network, SEED);
    let input = splitmix::uniform(SEED + weights.len() as u64, network.input().len(), 2.0);
    (weights, input)
}

fn reference_file(network: &Network) -> String {
    format!("{}/assets/reference/{}-seed{SEED}.safetensors", env!("CARGO_MANIFEST_DIR"), network.name())
}

fn check(alexnet: AlexNet, configs: &[KernelConfig]) {
    let network = alexnet.network().unwrap();
    let bytes = std::fs::read(reference_file(&network)).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let (weights, input) = seeded(&network);
    let names: Vec<&str> = network
        .layers()
        .iter()
        .map(|l| l.name.as_str())
        .filter(|name| file.tensor(&format!("{name}.l2")).is_ok())
        .collect();
    assert!(names.len() >= 12, "{names:?}");
    for &config in configs {
        let start = std::time::Instant::now();
        let pipeline = Pipeline::builder(common::gpu(), &network, &weights).kernel_config(config).build().unwrap();
        let built = start.elapsed();
        let start = std::time::Instant::now();
        let activations = block_on(pipeline.run_layers(&input, &names)).unwrap();
        println!("{} {config:?}: built in {built:.2?}, ran in {:.2?}", network.name(), start.elapsed());
        for (name, activation) in names.iter().zip(&activations) {
            let expected = vector(&file, name);
            assert_eq!(network.layer(name).unwrap().output_dims(), expected.shape, "{name}");
            let norm = activation.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>().sqrt();
            let norm_error = (norm / expected.norm - 1.0).abs();
            assert!(norm_error <= 1e-5, "{name} {config:?}: norm {norm}, expected {}", expected.norm);
            let found: Vec<f32> = expected.index.iter().map(|&i| activation[i]).collect();
            let error = reference::relative_error(&found, &expected.value);
            println!("  {name:8} {error:.1e} (norm {norm_error:.1e})");
            // The positions of prob omit its peak, so an error relative to them says little: prob is compared whole below.
            assert!(error <= 1e-5 || *name == "prob", "{name} {config:?}: error {error:e}");
        }
        for name in ["fc8", "prob"] {
            let found = &activations[names.iter().position(|n| *n == name).unwrap()];
            let error = reference::relative_error(found, &f64s(&file, &format!("{name}.all")));
            println!("  {name:8} {error:.1e} whole");
            assert!(error <= 1e-5, "{name} {config:?}: {error:e}");
        }
        let probabilities = activations.last().unwrap();
        let differences = probabilities.iter().zip(f64s(&file, "prob.all")).map(|(&p, e)| (f64::from(p) - e).abs());
        let difference = differences.fold(0.0, f64::max);
        println!("  prob     {difference:.1e} largest difference");
        assert!(difference <= 1e-5, "{config:?}: {difference:e}");

        let top = &block_on(pipeline.run_top(&input)).unwrap()[0];
        let mut order: Vec<usize> = (0..probabilities.len()).collect();
        order.sort_by(|&a, &b| probabilities[b].total_cmp(&probabilities[a]));
        let found: Vec<usize> = top.iter().map(|e| e.index as usize).collect();
        assert_eq!(found, order[..5], "{config:?}");
    }
}

/// VGG-11 (Simonyan, Zisserman 2014, configuration A) at a quarter of its width, through the same builder.
#[test]
fn vgg_11_matches_the_twin() {
    let mut builder = Network::builder("vgg11", Shape::new(3, 224, 224));
    let blocks: [&[usize]; 5] = [&[16], &[32], &[64, 64], &[128, 128], &[128, 128]];
    for (block, filters) in blocks.into_iter().enumerate() {
        for (i, &out) in filters.iter().enumerate() {
            builder = builder.conv(format!("conv{}_{}", block + 1, i + 1), Conv::new(out, 3).padding(1).relu());
        }
        builder = builder.max_pool(format!("pool{}", block + 1), MaxPool::new(2, 2));
    }
    let network = builder
        .linear("fc6", Linear::new(512).relu())
        .dropout("drop6")
        .linear("fc7", Linear::new(512).relu())
        .dropout("drop7")
        .linear("fc8", Linear::new(1000))
        .softmax("prob")
        .build()
        .unwrap();
    let (weights, input) = seeded(&network);
    let expected =
        reference::run(&network, &weights, &input.iter().map(|&v| f64::from(v)).collect::<Vec<_>>()).unwrap();
    let pipeline = Pipeline::builder(common::gpu(), &network, &weights).build().unwrap();
    let names: Vec<&str> = network.layers().iter().map(|l| l.name.as_str()).collect();
    let found = block_on(pipeline.run_layers(&input, &names)).unwrap();
    for ((name, found), expected) in names.iter().zip(&found).zip(&expected) {
        let error = reference::relative_error(found, expected);
        assert!(error <= 1e-5, "{name}: {error:e}");
    }
}

/// A batch gives each picture the same result as a run of its own: bit by bit with the same algorithms, and up to rounding
/// where a batch has others.
#[test]
fn batches_repeat_single_pictures() {
    let network = AlexNet::CAFFENET.width(0.25).head(100, 50).classes(20).network().unwrap();
    let (weights, first) = seeded(&network);
    let pictures: Vec<Vec<f32>> =
        (0..3).map(|i| splitmix::uniform(i, network.input().len(), 2.0)).chain([first]).collect();
    let layers = |builder: PipelineBuilder<'_>, input: &[f32], name: &str| {
        block_on(builder.build().unwrap().run_layers(input, &[name])).unwrap().remove(0)
    };
    let builder = |batch| Pipeline::builder(common::gpu(), &network, &weights).batch(batch);
    let directly = |batch: usize, input: &[f32]| {
        let names = network.layers().iter().map(|l| l.name.clone());
        layers(names.fold(builder(batch), |b, name| b.algorithm(name, Algorithm::Direct)), input, "pool5")
    };
    let alone: Vec<f32> = pictures.iter().flat_map(|p| directly(1, p)).collect();
    assert!(directly(4, &pictures.concat()) == alone);

    let run = |batch: usize, input: &[f32], name: &str| layers(builder(batch), input, name);
    // The fully connected layers may use another kernel for a batch, with another order of summation.
    let alone: Vec<f64> = pictures.iter().flat_map(|p| run(1, p, "fc8")).map(f64::from).collect();
    assert!(reference::relative_error(&run(4, &pictures.concat(), "fc8"), &alone) < 1e-6);
}

/// The kernel configuration that the library chooses, to test whole networks in reasonable time; tests/layers.rs covers all.
fn chosen() -> [KernelConfig; 1] {
    let network = AlexNet::UNGROUPED.width(0.1).head(8, 8).network().unwrap();
    let weights = Weights::random(&network, 0);
    [Pipeline::builder(common::gpu(), &network, &weights).build().unwrap().kernel_config()]
}

/// With f16 and int8 weights in the fully connected layers, outputs stay close to the reference.
#[test]
fn lower_precisions_stay_close() {
    let network = AlexNet::UNGROUPED.network().unwrap();
    let (weights, input) = seeded(&network);
    let bytes = std::fs::read(reference_file(&network)).unwrap();
    let expected = f64s(&SafeTensors::deserialize(&bytes).unwrap(), "fc8.all");
    for (precision, most) in [(Precision::F16, 2e-3), (Precision::Int8, 2e-2)] {
        let pipeline = Pipeline::builder(common::gpu(), &network, &weights).precision(precision).build().unwrap();
        let outputs = block_on(pipeline.run_layers(&input, &["fc8"])).unwrap().remove(0);
        let error = reference::relative_error(&outputs, &expected);
        println!("{precision}: fc8 {error:.1e}, {:.1} MB on the device", pipeline.device_bytes() as f64 / 1e6);
        assert!(error <= most, "{precision}: {error:e}");
    }
}

/// With the operands of products in f16, outputs stay close to the reference.
#[test]
fn fast_arithmetic_stays_close() {
    for alexnet in [AlexNet::UNGROUPED, AlexNet::CAFFE, AlexNet::TORCHVISION] {
        let network = alexnet.network().unwrap();
        let (weights, input) = seeded(&network);
        let bytes = std::fs::read(reference_file(&network)).unwrap();
        let expected = f64s(&SafeTensors::deserialize(&bytes).unwrap(), "fc8.all");
        let input: Vec<f64> = input.into_iter().map(f64::from).collect();
        let activations = reference::run_fast(&network, &weights, &input).unwrap();
        let fc8: Vec<f32> = activations[network.layers().iter().position(|l| l.name == "fc8").unwrap()]
            .iter()
            .map(|&v| v as f32)
            .collect();
        let error = reference::relative_error(&fc8, &expected);
        println!("{}: fc8 {error:.1e}", network.name());
        assert!(error <= 2e-3, "{}: {error:e}", network.name());
    }
}

/// The bytes said without a device are those of a pipeline, with every kernel configuration that runs here.
#[test]
fn device_bytes_are_known_without_a_device() {
    let network = AlexNet::CAFFENET.width(0.1).head(100, 50).network().unwrap();
    let weights = Weights::random(&network, 0);
    for config in common::configs(common::gpu()) {
        for (batch, precision) in [(1, Precision::F32), (3, Precision::F16), (2, Precision::Int8)] {
            let said = device_bytes(&network, batch, config, precision).unwrap();
            let builder = Pipeline::builder(common::gpu(), &network, &weights).kernel_config(config);
            let pipeline = builder.batch(batch).precision(precision).build().unwrap();
            assert_eq!(pipeline.device_bytes(), said, "{config:?}, {batch}, {precision}");
        }
    }
}

#[test]
fn ungrouped_matches_the_reference() {
    check(AlexNet::UNGROUPED, &chosen());
}

#[test]
fn caffe_matches_the_reference() {
    check(AlexNet::CAFFE, &chosen());
}

#[test]
fn torchvision_matches_the_reference() {
    check(AlexNet::TORCHVISION, &chosen());
}
