//! Pipelines with cooperative matrices on devices that have none: another shader computes the same (test_cooperative.wgsl), so
//! that all but the kernel itself runs as it would on a GPU that has them.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use pollster::block_on;

use super::narrow_layers;
use crate::{
    doctor::Case,
    gpu::{Compiler, Gpu},
    kernels::{Algorithm, Arithmetic, Kernel, KernelConfig, Precision},
    model::{AlexNet, Model},
    picture::Picture,
    reference,
    runtime::{Pipeline, PipelineError},
    select,
    weights::{Weights, splitmix},
};

/// A device that stands in for one with the matrices of `config`, and how many of their kernels it has compiled.
fn stand_in(config: KernelConfig) -> (Gpu, Arc<AtomicUsize>) {
    let mut gpu = Gpu::for_tests();
    let compiled = Arc::new(AtomicUsize::new(0));
    let count = compiled.clone();
    gpu.compiler = Some(Compiler(Arc::new(move |device, kernel| {
        if kernel.shader != "gemm_cooperative" {
            return None;
        }
        count.fetch_add(1, Ordering::Relaxed);
        let source = Kernel { shader: "test_cooperative", ..kernel.clone() }.source().unwrap();
        let source = wgpu::ShaderSource::Wgsl(source.into());
        Some(device.create_shader_module(wgpu::ShaderModuleDescriptor { label: None, source }))
    })));
    (gpu.with_matrices_of(config), compiled)
}

#[test]
fn every_layer_is_right() {
    for config in select::matrix_configs() {
        let (gpu, compiled) = stand_in(config);
        for layer in narrow_layers() {
            let case = Case::new(&layer).unwrap();
            for variant in case.variants_of([config]) {
                let finding = block_on(case.check(&gpu, variant));
                // The twin rounds operands as the shader does.
                let error = finding.error.clone().unwrap();
                assert!(error < 3e-6, "{variant} of {}: {error:e}", layer.name);
            }
        }
        assert!(compiled.load(Ordering::Relaxed) > 10);
    }
}

/// They are used where they are asked for and allowed, and a tuned choice may leave single layers out.
#[test]
fn fast_networks_use_them() {
    let config = select::matrix_configs().last().unwrap();
    let (gpu, compiled) = stand_in(config);
    let network = AlexNet::CAFFE.width(0.25).head(64, 64).classes(30).network().unwrap();
    let weights = Weights::random(&network, 3);
    let builder = || Pipeline::builder(&gpu, &network, &weights).batch(5);
    let input = splitmix::uniform(5, 5 * network.input().len(), 2.0);
    let run = |pipeline: &Pipeline| block_on(pipeline.run_layers(&input, &["fc8"])).unwrap().remove(0);
    let pictures = input.chunks_exact(network.input().len()).map(|picture| {
        let picture: Vec<f64> = picture.iter().map(|&v| v.into()).collect();
        reference::run(&network, &weights, &picture).unwrap().swap_remove(network.position("fc8").unwrap())
    });
    let expected: Vec<f64> = pictures.flatten().collect();

    let exact = builder().build().unwrap();
    assert_ne!(exact.kernel_config(), config);
    assert_eq!(compiled.load(Ordering::Relaxed), 0);
    assert!(reference::relative_error(&run(&exact), &expected) < 1e-5);

    for precision in Precision::ALL {
        let fast = builder().arithmetic(Arithmetic::Fast).precision(precision).build().unwrap();
        assert_eq!(fast.kernel_config(), config);
        let error = reference::relative_error(&run(&fast), &expected);
        let most = if precision == Precision::Int8 { 2e-2 } else { 2e-3 };
        println!("{precision}: {error:.1e}");
        assert!(error > 1e-5 && error < most, "{precision}: {error:e}");
    }
    let before = compiled.load(Ordering::Relaxed);
    assert!(before > 5, "{before}");

    let layers = network.layers().iter().map(|layer| layer.name.clone());
    let f32_layers = layers.fold(builder().arithmetic(Arithmetic::Fast), |b, l| b.algorithm(l, Algorithm::DirectF32));
    assert!(reference::relative_error(&run(&f32_layers.build().unwrap()), &expected) < 1e-5);
    assert_eq!(compiled.load(Ordering::Relaxed), before);

    let denied = builder().arithmetic(Arithmetic::Fast).avoid("cooperative".parse().unwrap()).build().unwrap();
    assert_ne!(denied.kernel_config(), config);
}

#[test]
fn other_devices_compute_exactly() {
    let gpu = Gpu::for_tests();
    let network = AlexNet::UNGROUPED.width(0.1).head(8, 8).classes(3).network().unwrap();
    let weights = Weights::random(&network, 0);
    let builder = || Pipeline::builder(&gpu, &network, &weights);
    let exact = builder().build().unwrap().kernel_config();
    assert_eq!(builder().arithmetic(Arithmetic::Fast).build().unwrap().kernel_config(), exact);
    let config = select::matrix_configs().next().unwrap();
    let error = builder().kernel_config(config).build().unwrap_err();
    assert!(matches!(error, PipelineError::Requirements { .. }), "{error}");
}

/// The embedded model gives pictures the same names. ALEXNET_PICTURES=FOLDER names more pictures than those of examples/.
#[cfg(all(feature = "decoders", feature = "embedded"))]
#[test]
fn fast_arithmetic_keeps_the_names() {
    let config = select::matrix_configs().last().unwrap();
    let (gpu, _) = stand_in(config);
    let folder = std::env::var("ALEXNET_PICTURES").unwrap_or("examples/pictures".into());
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let model = Model::embedded().unwrap();
    let pictures: Vec<_> = files.iter().filter_map(|file| Picture::open(file).ok()).collect();
    let inputs: Vec<f32> = pictures.iter().flat_map(|p| model.preprocessing.apply(p).unwrap()).collect();
    assert!(pictures.len() >= 8);
    const BATCH: usize = 8;
    let names = |arithmetic| {
        let builder = Pipeline::builder(&gpu, &model.network, &model.weights).batch(BATCH).arithmetic(arithmetic);
        let pipeline = builder.build().unwrap();
        let batches = inputs.chunks_exact(BATCH * model.network.input().len());
        let tops = batches.flat_map(|batch| block_on(pipeline.run_top(batch)).unwrap());
        tops.map(|top| top[0].index).collect::<Vec<_>>()
    };
    let (exact, fast) = (names(Arithmetic::Exact), names(Arithmetic::Fast));
    let same = exact.iter().zip(&fast).filter(|(a, b)| a == b).count();
    println!("{same} of {} the same", exact.len());
    assert!(same * 100 >= exact.len() * 99, "{exact:?} {fast:?}");
}
