//! Tests that the doctor detects drivers which are made to miscompute.

use std::{collections::BTreeSet, sync::Arc};

use pollster::block_on;

use super::{case::batches, *};
use crate::{
    gpu::{Compiler, Gpu},
    kernels::{Family, Kernel, Storage},
    model::AlexNet,
    reference,
    runtime::Pipeline,
    select,
    weights::{Weights, splitmix},
};

fn network() -> Network {
    Network::builder("small", Shape::new(8, 9, 9))
        .conv("conv1", Conv::new(12, 3).padding(1).relu())
        .max_pool("pool1", MaxPool::new(3, 2))
        .linear("fc2", Linear::new(20))
        .build()
        .unwrap()
}

fn findings(gpu: &Gpu) -> Vec<Finding> {
    let cases = distinct_layers([&network()]).into_iter().map(|layer| Case::new(&layer).unwrap());
    cases.flat_map(|case| case.variants(gpu).into_iter().map(move |v| block_on(case.check(gpu, v)))).collect()
}

/// Runs the network as planned, and returns its error against the twin.
fn error(gpu: &Gpu) -> (KernelConfig, f64) {
    let network = network();
    let weights = Weights::random(&network, 3);
    let input = splitmix::uniform(4, network.input().len(), 2.0);
    let wide: Vec<f64> = input.iter().map(|&v| v.into()).collect();
    let expected = reference::run(&network, &weights, &wide).unwrap().pop().unwrap();
    let pipeline = Pipeline::builder(gpu, &network, &weights).build().unwrap();
    let found = block_on(pipeline.run(&input)).unwrap();
    (pipeline.kernel_config(), reference::relative_error(&found, &expected))
}

#[test]
fn a_driver_that_is_right_is_found_right() {
    let gpu = Gpu::for_tests();
    let findings = findings(&gpu);
    for config in gpu.kernel_configs() {
        let of = |f: &&Finding| f.variant.config == config;
        let single = findings.iter().filter(of).filter(|f| f.variant.batch == 1).count();
        // Winograd for conv1, three precisions for fc2; the tiled kernels split sums, in four and as is planned.
        assert_eq!(single, if config.family == Family::WorkgroupTiled { 8 } else { 6 }, "{config:?}");
        for precision in Precision::ALL {
            let batch = |f: &&Finding| f.layer == "fc2" && f.variant.batch > 1 && f.variant.precision == precision;
            assert!(findings.iter().filter(of).any(|f| batch(&f)), "{config:?} {precision}: {findings:?}");
        }
    }
    let wrong: Vec<&Finding> = findings.iter().filter(|f| !f.is_right()).collect();
    assert!(wrong.is_empty(), "{wrong:?}");
    assert!(findings.iter().all(|f| f.ms > 0.0));
    assert_eq!(blocklist(&findings), Blocklist::default());
    assert_eq!(wrong_precisions(&findings, &Blocklist::default()), []);
}

/// Makes the driver miscompile the shaders that `broken` picks: the values they store are a thousandth too large.
fn break_kernels(gpu: &mut Gpu, broken: impl Fn(&Kernel) -> bool + Send + Sync + 'static) {
    break_kernels_by(gpu, "1.001", broken);
}

fn break_kernels_by(gpu: &mut Gpu, factor: &'static str, broken: impl Fn(&Kernel) -> bool + Send + Sync + 'static) {
    gpu.compiler = Some(Compiler(Arc::new(move |device, kernel| {
        let source = kernel.source().unwrap();
        // `store_y` of shaders/output.wgsl.
        let wrong = source
            .replace("= value;", &format!("= value * {factor};"))
            .replace(", value);", &format!(", value * {factor});"));
        assert!(wrong != source || kernel.shader == "top_k", "{}", kernel.shader);
        let source = wgpu::ShaderSource::Wgsl(wrong.into());
        let descriptor = wgpu::ShaderModuleDescriptor { label: None, source };
        broken(kernel).then(|| device.create_shader_module(descriptor))
    })));
}

#[test]
fn a_wrong_kernel_is_found_and_avoided() {
    let (best, right) = error(&Gpu::for_tests());
    let mut gpu = Gpu::for_tests();
    assert!(right < 1e-6, "{right:e}");
    let storage = best.storage;
    let tiled = best.family == Family::WorkgroupTiled;
    let of_family = move |k: &Kernel| k.weights().is_some() && k.shader.ends_with("_tiled") == tiled;
    break_kernels(&mut gpu, move |k| of_family(k) && k.binding(3).is_some_and(|b| b.storage == storage));

    let (config, wrong) = error(&gpu);
    assert_eq!(config, best);
    assert!(wrong > 1e-4, "{wrong:e}");
    let findings = findings(&gpu);
    for finding in &findings {
        let KernelConfig { family, storage } = finding.variant.config;
        let same = (family == Family::WorkgroupTiled, storage) == (best.family == Family::WorkgroupTiled, best.storage);
        let broken = same && finding.layer != "pool1";
        assert_eq!(finding.is_right(), !broken, "{finding:?}");
    }
    let blocklist = blocklist(&findings);
    assert_eq!(blocklist.iter().collect::<Vec<_>>(), [BlockedVariant::of(best, Algorithm::Direct)]);

    let gpu = gpu.avoid(blocklist);
    let (config, error) = error(&gpu);
    assert_ne!(config, best);
    assert!(error < 1e-6, "{config:?}: {error:e}");
}

#[test]
fn a_wrong_algorithm_is_denied_alone() {
    let mut gpu = Gpu::for_tests();
    break_kernels(&mut gpu, |k| k.shader.starts_with("winograd_output"));
    let blocklist = blocklist(&findings(&gpu));
    assert_eq!(blocklist.to_string(), "winograd");
}

#[test]
fn a_wrong_precision_is_named_and_denies_nothing() {
    let mut gpu = Gpu::for_tests();
    let best = error(&gpu).0;
    break_kernels(&mut gpu, |k| k.weights() == Some(Precision::Int8));
    let findings = findings(&gpu);
    for finding in &findings {
        assert_eq!(finding.is_right(), finding.variant.precision != Precision::Int8, "{finding:?}");
    }
    let none = blocklist(&findings);
    assert_eq!(none, Blocklist::default());
    assert_eq!(wrong_precisions(&findings, &none), [Precision::Int8]);
    let (config, error) = error(&gpu);
    assert!(config == best && error < 1e-6, "f32 is as it was: {config:?}, {error:e}");
}

/// Kernels used only by larger batches are run too.
#[test]
fn a_kernel_of_batches_is_found_wrong() {
    let mut gpu = Gpu::for_tests();
    // f16 is for fully connected layers, which are products with a vector otherwise.
    break_kernels(&mut gpu, |k| k.shader == "gemm_tiled" && k.weights() == Some(Precision::F16));
    let findings = findings(&gpu);
    let wrong: Vec<KernelVariant> = findings.iter().filter(|f| !f.is_right()).map(|f| f.variant).collect();
    let of_batches =
        |v: &KernelVariant| v.batch == 17 && v.precision == Precision::F16 && v.config.family == Family::WorkgroupTiled;
    // With the sums split, and directly.
    assert!(wrong.len() == 2 * Storage::ALL.len() && wrong.iter().all(of_batches), "{wrong:?}");
    assert_eq!(wrong_precisions(&findings, &blocklist(&findings)), [Precision::F16]);
}

/// A kernel that gives each picture its neighbour's numbers is not right.
#[test]
fn batches_that_are_mixed_up_are_found_wrong() {
    let case = Case::new(&network().layers()[2]).unwrap();
    let variant = KernelVariant { batch: 8, ..KernelVariant::direct(Gpu::for_tests().kernel_configs()[0]) };
    let mut outputs: Vec<f32> = case.expected(variant).unwrap().into_iter().map(|v| v as f32).collect();
    assert!(case.finding(variant, Ok(outputs.clone())).is_right());
    for shift in 1..8 {
        outputs.rotate_left(20);
        assert!(!case.finding(variant, Ok(outputs.clone())).is_right(), "{shift}");
    }
}

/// The planner's choices for a layer, for one picture and for batches, are among the variants run, on any adapter.
#[test]
fn what_is_planned_is_checked() {
    let networks = [AlexNet::CAFFE, AlexNet::TORCHVISION, AlexNet::UNGROUPED]
        .map(|a| a.width(0.1).head(20, 20).classes(10).network().unwrap());
    let (mut tiles, mut parts) = (BTreeSet::new(), BTreeSet::new());
    for layer in distinct_layers(&networks) {
        let case = Case::new(&layer).unwrap();
        for config in select::all_configs() {
            let variants = case.variants_of([config]);
            let run: BTreeSet<Kernel> = variants.iter().flat_map(|&v| examine::kernels(&case.network, v)).collect();
            let batches = [1, 8, 9].into_iter().chain(batches(config.family).iter().copied());
            for (batch, precision) in batches.flat_map(|b| Precision::ALL.map(|p| (b, p))) {
                if case.weights(precision).is_none() {
                    continue;
                }
                let algorithm = layer.algorithm(config, batch);
                match algorithm {
                    Algorithm::Winograd { tile } => {
                        tiles.insert(tile);
                    }
                    Algorithm::SplitK { parts: n } => {
                        parts.insert(n);
                    }
                    Algorithm::Direct | Algorithm::DirectF32 | Algorithm::Tile { .. } => {}
                }
                let planned = KernelVariant { config, algorithm, precision, batch };
                assert!(batch > 1 || variants.contains(&planned), "{}: {planned}: {variants:?}", layer.name);
                let missing = examine::kernels(&case.network, planned);
                assert!(missing.is_subset(&run), "{}: {planned}: {missing:?}", layer.name);
            }
        }
    }
    assert!(tiles.len() + parts.len() > 1, "{tiles:?} {parts:?}: the planner picks nothing");
}

#[test]
fn inputs_that_are_wrong_are_found() {
    let right = block_on(check_inputs(&Gpu::for_tests()));
    assert!(right.len() == 4 * Storage::ALL.len() && right.iter().all(InputFinding::is_right), "{right:?}");
    let mut gpu = Gpu::for_tests();
    break_kernels_by(&mut gpu, "1.1", |k| k.shader == "texture_input" && k.settings.contains(&("INTERLEAVED", 1)));
    for finding in block_on(check_inputs(&gpu)) {
        let broken = finding.source == Source::Texture && finding.interleaved;
        assert_eq!(finding.is_right(), !broken, "{finding}: {:?}", finding.error);
    }
    let mut gpu = Gpu::for_tests();
    break_kernels(&mut gpu, |k| k.shader == "buffer_input");
    for finding in block_on(check_inputs(&gpu)) {
        assert_eq!(finding.is_right(), finding.source == Source::Texture, "{finding}: {:?}", finding.error);
    }
}

#[test]
fn what_no_style_computes_leaves_nothing() {
    let mut gpu = Gpu::for_tests();
    break_kernels(&mut gpu, |k| k.shader == "max_pool");
    let blocklist = blocklist(&findings(&gpu));
    let network = network();
    let weights = Weights::random(&network, 3);
    let gpu = gpu.avoid(blocklist);
    let error = Pipeline::builder(&gpu, &network, &weights).build().unwrap_err();
    assert!(matches!(error, crate::PipelineError::Blocked { .. }), "{error}");
}
