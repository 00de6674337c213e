use super::*;

/// A device with exactly the required features and limits runs the network, with bitwise the same results as a larger one.
#[test]
fn are_enough() {
    let (network, weights) = tiny();
    let input = noise(&network, 1);
    for config in configs() {
        let limits = Pipeline::required_limits(&network, 1, config).unwrap();
        let (device, queue) = host(Pipeline::required_features(config), limits);
        let gpu = Gpu::from_device(device, queue).unwrap();
        let build = |gpu| Pipeline::builder(gpu, &network, &weights).kernel_config(config).build().unwrap();
        let [found, expected] = [&gpu, common::gpu()].map(|gpu| block_on(build(gpu).run(&input)).unwrap());
        assert_eq!(found, expected, "{config:?}");
    }
    assert_eq!(
        KernelConfig::for_adapter(&adapter()),
        Pipeline::builder(common::gpu(), &network, &weights).build().unwrap().kernel_config()
    );
}

/// The device's list of kernel configurations is complete, and has no others.
#[test]
fn every_style_is_named() {
    let gpu = common::gpu();
    let (found, expected) = (gpu.kernel_configs(), common::configs(gpu));
    assert!(found.len() == expected.len() && expected.iter().all(|config| found.contains(config)), "{found:?}");
}

/// The full network, whose weights are then split into pieces of 16 MiB.
#[test]
fn are_enough_for_large_layers() {
    let network = Network::builder("wide", Shape::vector(9216)).linear("fc6", Linear::new(4096)).build().unwrap();
    let weights = Weights::random(&network, 1);
    let config = KernelConfig::for_adapter(&adapter());
    let limits = Pipeline::required_limits(&network, 1, config).unwrap();
    assert!(limits.max_storage_buffer_binding_size < 32 << 20);
    let (device, queue) = host(Pipeline::required_features(config), limits);
    let gpu = Gpu::from_device(device, queue).unwrap();
    let input = noise(&network, 1);
    let build = |gpu| Pipeline::builder(gpu, &network, &weights).kernel_config(config).build().unwrap();
    let [found, expected] = [&gpu, common::gpu()].map(|gpu| block_on(build(gpu).run(&input)).unwrap());
    assert_eq!(found, expected);
}

/// All options of a pipeline, with a batch whose activations exceed every device, in both storages; on a device for one
/// picture, the shortage is reported before anything is allocated.
#[test]
fn are_enough_for_large_batches() {
    let network = Network::builder("conv1", Shape::new(3, 227, 227))
        .conv("conv1", Conv::new(96, 4).stride(4))
        .adaptive_avg_pool("pool", 1, 1)
        .linear("fc", Linear::new(8))
        .build()
        .unwrap();
    let weights = Weights::random(&network, 1);
    const BATCH: usize = 32;
    let input: Vec<f32> = (0..BATCH as u64).flat_map(|seed| noise(&network, seed)).collect();
    let device = |batch, config| {
        let limits = Pipeline::required_limits(&network, batch, config).unwrap();
        let (device, queue) = host(Pipeline::required_features(config), limits);
        Gpu::from_device(device, queue).unwrap()
    };
    for config in configs() {
        let build = |gpu: &Gpu| {
            let builder = Pipeline::builder(gpu, &network, &weights).kernel_config(config).batch(BATCH);
            builder.keep("conv1").build()
        };
        let [found, expected] = [&device(BATCH, config), common::gpu()].map(|gpu| {
            let pipeline = build(gpu).unwrap();
            let layers = block_on(pipeline.run_layers(&input, &["conv1", "fc"])).unwrap();
            let top = block_on(pipeline.run_top(&input)).unwrap();
            let own = own_input(gpu, &pipeline, &input);
            submit(gpu, |encoder| {
                own.encode(encoder);
                pipeline.encode(encoder);
            });
            assert_eq!(read::<TopEntry>(gpu, pipeline.top_buffer().unwrap()), top.concat());
            (layers, top, read::<u32>(gpu, pipeline.kept("conv1").unwrap()))
        });
        assert!(found == expected, "{config:?}");
        assert_eq!(found.0[0].len(), BATCH * 96 * 56 * 56);

        let error = build(&device(1, config)).unwrap_err();
        let PipelineError::Requirements { shortfalls, .. } = &error else { panic!("{error}") };
        let lacking = shortfalls.iter().find(|s| s.limit == "maxBufferSize").expect("the buffers are too small");
        assert_eq!(lacking.needed, Pipeline::required_limits(&network, BATCH, config).unwrap().max_buffer_size);
    }
}

/// All missing requirements are listed at once.
#[test]
fn every_shortfall_is_listed() {
    let (network, weights) = tiny();
    let tiled = KernelConfig::new(Family::WorkgroupTiled, Storage::StorageBuffer);
    let limits = Pipeline::required_limits(&network, 1, tiled).unwrap();
    let (device, queue) = host(Features::empty(), limits);
    let gpu = Gpu::from_device(device, queue).unwrap();
    let config = KernelConfig::new(Family::SubgroupBroadcast { lanes: 4 }, Storage::StorageBuffer);
    // conv1 alone has 5 × 55 × 55 numbers per picture.
    let builder = Pipeline::builder(&gpu, &network, &weights).kernel_config(config).batch(1024);
    let error = builder.algorithm("conv1", Algorithm::Direct).build().unwrap_err();
    let PipelineError::Requirements { features, shortfalls, .. } = &error else { panic!("{error}") };
    assert_eq!(*features, Features::SUBGROUP);
    let names: Vec<&str> = shortfalls.iter().map(|s| s.limit).collect();
    assert_eq!(names, ["maxBufferSize", "maxStorageBufferBindingSize"]);
    let needed = Pipeline::required_limits(&network, 1024, config).unwrap().max_buffer_size;
    let text = error.to_string();
    assert!(text.contains("SUBGROUP") && text.contains(&format!("maxBufferSize of at least {needed}")), "{text}");
}
