//! Mistakes of users, files and drivers: each gives a typed error with a remedy, never a panic.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod common;

use alexnet_wgpu::{
    AlexNet, Algorithm, Blocklist, Conv, Family, GivenPreprocessing, Gpu, GpuError, GpuOptions, KernelConfig,
    MAX_BATCH, MaxPool, Model, ModelOptions, Network, Pipeline, PipelineError, Precision, Preprocessing,
    PreprocessingError, ProgramError, Resize, RunError, Shape, Storage, Tensor, TuneError, Variant, Weights,
    WeightsError, wgpu,
};
use pollster::block_on;

fn tiny() -> (Network, Weights) {
    let network = AlexNet::UNGROUPED.width(0.05).head(8, 8).classes(10).network().unwrap();
    let weights = Weights::random(&network, 1);
    (network, weights)
}

/// The bytes of a file of `weights`.
fn file_of(weights: &Weights) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    weights.save(&path).unwrap();
    std::fs::read(path).unwrap()
}

fn model(weights: Weights) -> Result<Model, WeightsError> {
    Model::from_weights(weights, &ModelOptions::default())
}

#[test]
fn a_file_round_trips() {
    let (network, weights) = tiny();
    let read = model(Weights::from_bytes(file_of(&weights)).unwrap()).unwrap();
    assert_eq!(read.network, network);
    assert_eq!(read.labels.len(), 10);
    for (name, tensor) in &weights {
        assert_eq!(tensor.to_f32(), read.weights.tensor(name).unwrap().to_f32(), "{name}");
    }
    let described = Weights::from_bytes(file_of(&read.to_weights().unwrap())).unwrap();
    let again = model(described).unwrap();
    assert_eq!((again.network, again.labels, again.preprocessing), (read.network, read.labels, read.preprocessing));
}

#[test]
fn tensors_that_do_not_fit() {
    let (_, weights) = tiny();
    let mut missing = weights.clone();
    missing.remove("fc7.bias");
    assert!(matches!(model(missing), Err(WeightsError::Missing { tensor, .. }) if tensor == "fc7.bias"));

    let mut extra = weights.clone();
    extra.insert("fc9.weight", Tensor::from_f32([1], vec![0.0]));
    assert!(matches!(model(extra), Err(WeightsError::Extra { tensor, .. }) if tensor == "fc9.weight"));

    let mut misshapen = weights.clone();
    misshapen.insert("conv3.bias", Tensor::from_f32([3], vec![0.0; 3]));
    assert!(matches!(model(misshapen), Err(WeightsError::Shape { tensor, .. }) if tensor == "conv3.bias"));

    let mut flat = weights.clone();
    flat.insert("conv2.weight", Tensor::from_f32([4], vec![0.0; 4]));
    assert!(matches!(model(flat), Err(WeightsError::Unrecognised(_))));

    let mut grouped = weights;
    let options = ModelOptions::default().variant(Variant::Caffe);
    assert!(Model::from_weights(grouped.clone(), &options).is_err(), "ungrouped weights are not Caffe's");
    // A name from another program has no meaning here.
    grouped.metadata.insert("network".into(), "alexnet".into());
    assert!(model(grouped).unwrap().origin.contents.is_some_and(|contents| contents.contains("`network`")));
}

#[test]
fn weights_that_are_not_numbers() {
    let (network, mut weights) = tiny();
    let mut values = weights.tensor("fc6.weight").unwrap().to_f32().to_vec();
    values[17] = f32::NAN;
    let shape = weights.tensor("fc6.weight").unwrap().shape().to_vec();
    weights.insert("fc6.weight", Tensor::from_f32(shape, values));
    let built = Pipeline::builder(common::gpu(), &network, &weights).build();
    let error = built.unwrap_err();
    assert!(
        matches!(&error, PipelineError::Tensors(WeightsError::NotFinite { tensor, index: 17, .. }) if tensor == "fc6.weight"),
        "{error}"
    );
}

#[test]
fn files_that_are_cut_short_or_lie() {
    let file = file_of(&tiny().1);
    assert!(Weights::from_bytes(Vec::new()).is_err());
    for part in 0..16 {
        let cut = file[..file.len() * part / 16].to_vec();
        assert!(Weights::from_bytes(cut).is_err(), "{part}/16");
    }
    // A header that claims more bytes than the file, and one with such offsets.
    let mut long = file.clone();
    long[..8].copy_from_slice(&u64::MAX.to_le_bytes());
    assert!(Weights::from_bytes(long).is_err());
    let length = u64::from_le_bytes(file[..8].try_into().unwrap()) as usize;
    let header = String::from_utf8(file[8..8 + length].to_vec()).unwrap();
    for (from, to) in [("\"data_offsets\":[0,", "\"data_offsets\":[9,"), ("\"F32\"", "\"F64\""), ("{", "[")] {
        let lie = header.replacen(from, to, 1);
        assert_ne!(lie, header, "{from}");
        let bytes = [&file[..8], lie.as_bytes(), &file[8 + length..]].concat();
        assert!(Weights::from_bytes(bytes).is_err(), "{from}");
    }
    assert!(matches!(Weights::open("/nowhere/model.safetensors"), Err(WeightsError::Read { .. })));
    assert!(matches!(Weights::open(env!("CARGO_MANIFEST_DIR")), Err(WeightsError::Read { .. })));
}

#[test]
fn labels_of_the_wrong_count() {
    let options = ModelOptions::default().labels(vec!["one".into()]);
    let error = Model::from_weights(tiny().1, &options).unwrap_err();
    assert_eq!(
        error.to_string(),
        "expected 10 labels, one per class, found 1: pass the list that the network was trained with"
    );
}

/// The caller's preprocessing takes precedence over the file's, and is saved in the new file.
#[test]
fn preprocessing_that_the_caller_gives() {
    let mut weights = tiny().1;
    weights.metadata.insert("network".into(), "ungrouped".into());
    weights.metadata.insert("preprocessing".into(), "no JSON".into());
    let error = model(weights.clone()).unwrap_err().to_string();
    assert!(error.contains("this project's preprocessing as JSON, found `no JSON` (expected"), "{error}");
    let with = |given: &str| {
        let preprocessing = Some(given.parse().unwrap());
        Model::from_weights(weights.clone(), &ModelOptions::default().preprocessing(preprocessing))
    };

    let caffe = with("caffe").unwrap();
    assert_eq!(caffe.preprocessing, Preprocessing::caffe(227));
    assert_eq!(caffe.origin.preprocessing, "Caffe's, given by the caller");
    assert_eq!(with("torchvision").unwrap().preprocessing, Preprocessing::torchvision(227));

    let own = Preprocessing::torchvision(227).resize(Resize::Warp([240, 230])).mean([0.5; 3]);
    let converted = with(&serde_json::to_string(&own).unwrap()).unwrap().to_weights().unwrap();
    let read = model(converted).unwrap();
    assert_eq!((read.preprocessing, &*read.origin.preprocessing), (own, "the file's metadata"));

    let error = with(&serde_json::to_string(&Preprocessing::caffe(224)).unwrap()).unwrap_err();
    assert!(matches!(&error, WeightsError::Preprocessing { error: PreprocessingError::Input { .. }, .. }), "{error}");
    assert_eq!(
        error.to_string(),
        "the preprocessing (given by the caller) does not fit the network: expected preprocessing to the network's input of \
         3×227×227, found one to 3×224×224; pass another"
    );

    let unknown = |text: &str| text.parse::<GivenPreprocessing>().unwrap_err().to_string();
    assert!(unknown("caffee").contains("`caffee`: did you mean `caffe`?"));
    assert!(unknown(r#"{"crop": [1, 1]}"#).contains("(missing field `resize`"));
    let zero = own.std([1.0, 0.0, 1.0]);
    assert!(unknown(&serde_json::to_string(&zero).unwrap()).contains("found 0.003921569, 0.5 and 0 in channel 1"));
}

/// Errors quote invalid metadata and list the valid values.
#[test]
fn metadata_that_means_nothing() {
    let with = |key: &str, note: &str| {
        let mut weights = tiny().1;
        weights.metadata.insert("network".into(), "ungrouped".into());
        weights.metadata.insert(key.into(), note.into());
        model(weights).unwrap_err().to_string()
    };
    let misspelt = tiny().0.to_json().unwrap().replacen("\"stride\"", "\"strides\"", 1);
    let error = with("network", &misspelt);
    assert!(error.starts_with("metadata `network`: expected a network as JSON, found `{\"version\":1,"), "{error}");
    assert!(
        error.ends_with("correct the metadata, convert the original file again, or pass the network yourself"),
        "{error}"
    );
    let zero = r#"{"name":"n","input":{"channels":3,"height":0,"width":1},"layers":[]}"#;
    assert!(with("network", zero).contains("}` (expected an input of 1 to "), "{}", with("network", zero));
    let preprocessing = Preprocessing::torchvision(227).std([0.0, 1.0, 1.0]);
    assert_eq!(
        with("preprocessing", &serde_json::to_string(&preprocessing).unwrap()),
        "the preprocessing (the file's metadata) does not fit the network: expected scale, mean and std that keep samples \
         finite, found 0.003921569, 0.485 and 0 in channel 0; pass another"
    );
    assert!(
        with("labels", r#"{"0": "a"}"#).contains(r#"a JSON list of strings, found `{"0": "a"}` (invalid type: map"#)
    );
}

#[test]
fn outputs_that_cannot_be_written() {
    let weights = tiny().1;
    let nowhere = std::path::Path::new("/nowhere/model.safetensors");
    assert!(matches!(weights.save(nowhere), Err(WeightsError::Write { .. })));
    // The existing file stays, and no temporary file is left.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("kept");
    std::fs::create_dir(&path).unwrap();
    assert!(weights.save(&path).is_err());
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn builders_and_runs_refuse_nonsense() {
    let (network, weights) = tiny();
    let builder = || Pipeline::builder(common::gpu(), &network, &weights);
    for batch in [0, MAX_BATCH + 1] {
        assert!(matches!(builder().batch(batch).build(), Err(PipelineError::Program(ProgramError::Batch { .. }))));
        for family in
            [Family::WorkgroupTiled, Family::SubgroupBroadcast { lanes: 4 }, Family::SubgroupBroadcast { lanes: 8 }]
        {
            let config = KernelConfig::new(family, Storage::StorageBuffer);
            let limits = Pipeline::required_limits(&network, batch, config);
            assert!(matches!(limits, Err(PipelineError::Program(ProgramError::Batch { .. }))), "{config:?}");
            let planned = alexnet_wgpu::plan(&network, batch, config, Precision::F32);
            assert!(matches!(planned, Err(PipelineError::Program(ProgramError::Batch { .. }))), "{config:?}");
        }
    }
    let misspelt = builder().algorithm("cnv1", Algorithm::Direct).build().unwrap_err();
    assert!(misspelt.to_string().contains("did you mean `conv1`?"), "{misspelt}");
    // A tile without an algorithm: the layer is computed directly.
    builder().algorithm("conv2", Algorithm::Winograd { tile: usize::MAX }).build().unwrap();
    let wide = KernelConfig::new(Family::SubgroupBroadcast { lanes: 128 }, Storage::StorageBuffer);
    assert!(matches!(builder().kernel_config(wide).build(), Err(PipelineError::KernelConfig { .. })));

    // Kernels that there are on no device, in a plan too.
    for family in [
        Family::SubgroupBroadcast { lanes: 0 },
        Family::CooperativeMatrix { size: 0, lanes: 32 },
        Family::CooperativeMatrix { size: 16, lanes: 0 },
        Family::CooperativeMatrix { size: 32, lanes: u32::MAX },
    ] {
        let config = KernelConfig::new(family, Storage::StorageBuffer);
        assert!(
            matches!(builder().kernel_config(config).build(), Err(PipelineError::KernelConfig { .. })),
            "{family:?}"
        );
        let planned = alexnet_wgpu::plan(&network, 1, config, Precision::F32);
        assert!(matches!(planned, Err(PipelineError::KernelConfig { .. })), "{family:?}");
    }

    let pipeline = builder().build().unwrap();
    assert!(matches!(block_on(pipeline.run(&[0.0; 3])), Err(RunError::Input { .. })));
    let input = vec![0.0; network.input().len()];
    let error = block_on(pipeline.run_layers(&input, &["pool4"])).unwrap_err();
    assert!(error.to_string().contains("did you mean `pool"), "{error}");

    let maps = Network::builder("maps", Shape::new(3, 4, 4)).dropout("d").build().unwrap();
    let pipeline = Pipeline::builder(common::gpu(), &maps, &Weights::default()).build().unwrap();
    assert!(matches!(block_on(pipeline.run_top(&[0.0; 48])), Err(RunError::NotAVector { .. })));
}

/// Denied variants are neither measured nor chosen.
#[test]
fn tuning_keeps_to_what_is_not_denied() {
    let network = Network::builder("n", Shape::new(3, 9, 9)).conv("conv1", Conv::new(4, 3)).build().unwrap();
    let weights = Weights::random(&network, 1);
    let gpu = common::gpu();
    let builder = |names: &str| {
        let blocklist: Blocklist = names.parse().unwrap();
        blocklist
            .into_iter()
            .fold(Pipeline::builder(gpu, &network, &weights), |builder, blocked| builder.avoid(blocked))
    };
    match block_on(builder("broadcast, texture, sampled, winograd").tune(|_, _| {})) {
        Ok(tuning) => {
            let tiled = KernelConfig::new(Family::WorkgroupTiled, Storage::StorageBuffer);
            assert!(tuning.candidates.iter().all(|c| c.config == tiled), "{:?}", tuning.candidates);
            let winograd = |a: &Algorithm| matches!(a, Algorithm::Winograd { .. });
            assert!(!tuning.candidates.iter().any(|c| winograd(&c.algorithm)), "{:?}", tuning.candidates);
            assert_eq!(tuning.choice.config, tiled);
            assert!(!tuning.choice.algorithms.values().any(winograd), "{:?}", tuning.choice);
        }
        Err(TuneError::NoTimestamps) => println!("skipped: the device has no timestamps"),
        Err(error) => panic!("{error}"),
    }
    let error = block_on(builder("broadcast, tiled").tune(|_, _| {})).unwrap_err();
    assert!(matches!(error, TuneError::Pipeline(PipelineError::Blocked { .. })), "{error}");
}

/// A plan made without a device fits one with WebGPU's default limits, or is an error.
#[test]
fn plans_fit_the_default_limits() {
    let tiled = KernelConfig::new(Family::WorkgroupTiled, Storage::StorageBuffer);
    let plan = |network: &Network, batch| alexnet_wgpu::plan(network, batch, tiled, Precision::F32);
    // More rows than a dispatch has workgroups along an axis.
    let tall = Network::builder("tall", Shape::new(1, 70_000, 1)).max_pool("pool", MaxPool::new(1, 1)).build().unwrap();
    let dispatches = plan(&tall, 3).unwrap();
    let all: u64 = dispatches[0].workgroups.iter().map(|&n| u64::from(n)).product();
    assert!(
        dispatches[0].workgroups.iter().all(|&n| n <= 65_535) && all >= 3 * 70_000,
        "{:?}",
        dispatches[0].workgroups
    );
    // An activation of 64 MiB for each of three pictures, where a binding has 128.
    let large =
        Network::builder("large", Shape::new(4, 2048, 2048)).max_pool("pool", MaxPool::new(1, 1)).build().unwrap();
    assert!(plan(&large, 2).is_ok());
    let error = plan(&large, 3).unwrap_err();
    let text = error.to_string();
    assert!(text.starts_with("a device with WebGPU's default limits is too small"), "{text}");
    assert!(matches!(error, PipelineError::Requirements { .. }));
}

/// Groups of one channel are not expanded with zeros: 131 kB of weights take about as much on the device.
#[test]
fn groups_take_the_memory_of_their_weights() {
    let channels = 16_382;
    for (groups, factor) in [(channels, 4), (channels / 2, 16)] {
        let conv = Conv::new(channels, 1).groups(groups);
        let network = Network::builder("depthwise", Shape::new(channels, 1, 1)).conv("conv", conv).build().unwrap();
        let weights = Weights::random(&network, 1);
        let pipeline = Pipeline::builder(common::gpu(), &network, &weights).build().unwrap();
        let activations = 3 * 4 * channels as u64;
        let bound = (factor * 4 * network.parameter_count()).max(1 << 18) + activations;
        assert!(pipeline.device_bytes() <= bound, "{} bytes for {groups} groups", pipeline.device_bytes());
    }
}

#[test]
fn adapters_that_are_not_there() {
    let options = GpuOptions::default().adapter(Some("no such adapter".into()));
    let error = Gpu::open_blocking(&options).unwrap_err();
    assert!(matches!(error, GpuError::NoAdapter { .. }));
    let text = error.to_string();
    assert!(text.contains("no such adapter") && text.contains("choose one of them"), "{text}");
    // No machine has both Metal and DirectX.
    let foreign = if cfg!(target_vendor = "apple") { wgpu::Backends::DX12 } else { wgpu::Backends::METAL };
    assert!(Gpu::open_blocking(&GpuOptions::default().backends(Some(foreign))).is_err());
}

/// A host's device that was made with limits below WebGPU's defaults.
#[test]
fn devices_that_are_too_small() {
    let info = common::gpu().info();
    let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
    descriptor.backends = info.backend.into();
    let instance = wgpu::Instance::new(descriptor);
    let adapters = block_on(instance.enumerate_adapters(info.backend.into()));
    let adapter = adapters.into_iter().find(|a| a.get_info().name == info.name).unwrap();
    let required_limits = wgpu::Limits {
        max_storage_buffers_per_shader_stage: 2,
        max_compute_invocations_per_workgroup: 32,
        ..wgpu::Limits::downlevel_defaults()
    };
    let device = adapter.request_device(&wgpu::DeviceDescriptor { required_limits, ..Default::default() });
    let (device, queue) = block_on(device).unwrap();
    let error = Gpu::from_device(device, queue).unwrap_err();
    let GpuError::BelowLimits { shortfalls, .. } = &error else { panic!("{error}") };
    let names: Vec<&str> = shortfalls.iter().map(|s| s.limit).collect();
    assert!(names.contains(&"maxStorageBuffersPerShaderStage"), "{names:?}");
    assert!(names.contains(&"maxComputeInvocationsPerWorkgroup"), "{names:?}");
}
