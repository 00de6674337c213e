//! The library in a host's frame: on the host's device and in its encoder, with the results that it gives alone.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod common;

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use alexnet_wgpu::{
    AlexNet, Algorithm, Blocklist, Conv, Family, FrameBudget, Gpu, Input, InputError, KernelConfig, LayerTime, Linear,
    Model, Network, Picture, Pipeline, PipelineError, Preprocessing, RunError, Shape, Storage, Tensor, TextureSource,
    TopEntry, Weights, splitmix, wgpu,
};
use pollster::block_on;
use wgpu::{BufferUsages, Features, Limits, TextureFormat, TextureUsages, util::DeviceExt as _};

/// The adapter of `common::gpu`, once more.
fn adapter() -> wgpu::Adapter {
    instance().1
}

/// An instance of the host's own, and the adapter of `common::gpu` in it.
fn instance() -> (wgpu::Instance, wgpu::Adapter) {
    let info = common::gpu().info();
    let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
    descriptor.backends = info.backend.into();
    let instance = wgpu::Instance::new(descriptor);
    let adapters = block_on(instance.enumerate_adapters(info.backend.into()));
    (instance, adapters.into_iter().find(|a| a.get_info().name == info.name).unwrap())
}

/// A device of the host's own.
fn host(required_features: Features, required_limits: Limits) -> (wgpu::Device, wgpu::Queue) {
    let descriptor = wgpu::DeviceDescriptor { required_features, required_limits, ..Default::default() };
    block_on(adapter().request_device(&descriptor)).unwrap()
}

/// One kernel configuration of each family and each storage.
fn configs() -> [KernelConfig; 3] {
    let best = KernelConfig::for_adapter(&adapter());
    [
        KernelConfig { family: Family::WorkgroupTiled, storage: Storage::StorageBuffer },
        KernelConfig { storage: Storage::StorageBuffer, ..best },
        KernelConfig { storage: Storage::StorageTexture, ..best },
    ]
}

fn tiny() -> (Network, Weights) {
    let network = AlexNet::UNGROUPED.width(0.05).head(8, 8).classes(10).network().unwrap();
    let weights = Weights::random(&network, 1);
    (network, weights)
}

/// An input that is like no other.
fn noise(network: &Network, seed: u64) -> Vec<f32> {
    splitmix::uniform(seed, network.input().len(), 0.5)
}

fn submit(gpu: &Gpu, record: impl FnOnce(&mut wgpu::CommandEncoder)) {
    let mut encoder = gpu.device().create_command_encoder(&Default::default());
    record(&mut encoder);
    gpu.queue().submit([encoder.finish()]);
}

fn wait(gpu: &Gpu) {
    gpu.device().poll(wgpu::PollType::wait_indefinitely()).unwrap();
}

/// What lies in a buffer, by way of a copy.
fn read<T: bytemuck::Pod>(gpu: &Gpu, buffer: &wgpu::Buffer) -> Vec<T> {
    let copy = gpu.device().create_buffer(&wgpu::BufferDescriptor {
        label: None,
        size: buffer.size(),
        usage: BufferUsages::COPY_DST | BufferUsages::MAP_READ,
        mapped_at_creation: false,
    });
    submit(gpu, |encoder| encoder.copy_buffer_to_buffer(buffer, 0, &copy, 0, buffer.size()));
    copy.map_async(wgpu::MapMode::Read, .., |result| result.unwrap());
    wait(gpu);
    let bytes = copy.get_mapped_range(..).unwrap();
    bytemuck::pod_collect_to_vec(&bytes)
}

/// The numbers of `input` in a buffer of the host's.
fn own_input(gpu: &Gpu, pipeline: &Pipeline, input: &[f32]) -> Input {
    let buffer = gpu.device().create_buffer_init(&wgpu::util::BufferInitDescriptor {
        label: None,
        contents: bytemuck::cast_slice(input),
        usage: BufferUsages::STORAGE,
    });
    pipeline.buffer_input(buffer.as_entire_buffer_binding()).unwrap()
}

mod requirements {
    use super::*;

    /// A device made with exactly what is asked for runs the network, and gives the bits of a larger one.
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

    /// Those that the library names are those that there are.
    #[test]
    fn every_style_is_named() {
        let gpu = common::gpu();
        let (found, expected) = (gpu.kernel_configs(), common::configs(gpu));
        assert!(found.len() == expected.len() && expected.iter().all(|config| found.contains(config)), "{found:?}");
    }

    /// The full network: its weights come in pieces of 16 MiB then.
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

    /// Everything that a pipeline can be asked for, at a batch whose activations are larger than what any device has, in
    /// both storages; and on a device for one picture, the lack is told before anything is made.
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

    /// Whatever is lacking is listed at once.
    #[test]
    fn every_shortfall_is_listed() {
        let (network, weights) = tiny();
        let tiled = KernelConfig { family: Family::WorkgroupTiled, storage: Storage::StorageBuffer };
        let limits = Pipeline::required_limits(&network, 1, tiled).unwrap();
        let (device, queue) = host(Features::empty(), limits);
        let gpu = Gpu::from_device(device, queue).unwrap();
        let config = KernelConfig { family: Family::SubgroupBroadcast { lanes: 4 }, storage: Storage::StorageBuffer };
        // conv1 alone has 5 × 55 × 55 numbers a picture.
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
}

mod inputs {
    use super::*;

    /// A network whose last activation is its input: of crops whose sides are whole fours, through a convolution that
    /// moves each number to a channel of its own, so that the input is laid out as AlexNet's.
    fn identity(side: usize, interleaved: bool) -> (Network, Weights) {
        let shape = Shape::new(3, side, side);
        if !interleaved {
            return (Network::builder("identity", shape).dropout("out").build().unwrap(), Weights::default());
        }
        let conv = Conv::new(48, 4).stride(4);
        let network = Network::builder("identity", shape).conv("out", conv).build().unwrap();
        let mut weights = Weights::default();
        let one_hot = (0..48 * 48).map(|i| if i / 48 == i % 48 { 1.0 } else { 0.0 }).collect();
        weights.tensors.insert("out.weight".into(), Tensor::from_f32([48, 3, 4, 4], one_hot));
        weights.tensors.insert("out.bias".into(), Tensor::from_f32([48], vec![0.0; 48]));
        (network, weights)
    }

    /// What lies in the input of an `identity` of one picture or more, CHW each.
    fn contents(pipeline: &Pipeline) -> Vec<Vec<f32>> {
        let Shape { height, width, .. } = pipeline.network().input();
        submit(pipeline.gpu(), |encoder| pipeline.encode(encoder));
        let found: Vec<f32> = read(pipeline.gpu(), pipeline.kept("out").unwrap());
        let interleaved = pipeline.network().output().channels == 48;
        let number = |picture: usize, c: usize, y: usize, x: usize| {
            if interleaved {
                let at = (picture * height / 4 + y / 4) * width / 4 + x / 4;
                found[48 * at + 16 * c + 4 * (y % 4) + x % 4]
            } else {
                found[4 * ((picture * height + y) * width + x) + c]
            }
        };
        let picture = |picture| {
            let all = (0..3 * height * width).map(|i| (i / (height * width), i / width % height, i % width));
            all.map(|(c, y, x)| number(picture, c, y, x)).collect()
        };
        (0..pipeline.batch()).map(picture).collect()
    }

    fn probe(side: usize, interleaved: bool, config: Option<KernelConfig>, batch: usize) -> Pipeline {
        let (network, weights) = identity(side, interleaved);
        let mut builder = Pipeline::builder(common::gpu(), &network, &weights).keep("out").batch(batch);
        if let Some(config) = config {
            builder = builder.kernel_config(config);
        }
        builder.build().unwrap()
    }

    /// Edges, ramps and noise.
    fn picture(width: u32, height: u32) -> Vec<u8> {
        let noise = splitmix::uniform(1, (width * height) as usize, 127.5);
        let pixel = |i: u32| {
            let (x, y) = (i % width, i / width);
            [(255 * x / width) as u8, if (x / 3 + y / 5) % 2 == 0 { 250 } else { 5 }, (noise[i as usize] + 127.5) as u8]
        };
        (0..width * height).flat_map(pixel).collect()
    }

    fn texture(
        format: TextureFormat,
        [width, height]: [u32; 2],
        bytes: &[u8],
        view: TextureFormat,
    ) -> wgpu::TextureView {
        let descriptor = wgpu::TextureDescriptor {
            label: None,
            size: wgpu::Extent3d { width, height, depth_or_array_layers: 1 },
            mip_level_count: 1,
            sample_count: 1,
            dimension: wgpu::TextureDimension::D2,
            format,
            usage: TextureUsages::TEXTURE_BINDING | TextureUsages::COPY_DST,
            view_formats: &[view],
        };
        let (gpu, order) = (common::gpu(), wgpu::util::TextureDataOrder::LayerMajor);
        let texture = gpu.device().create_texture_with_data(gpu.queue(), &descriptor, order, bytes);
        texture.create_view(&wgpu::TextureViewDescriptor { format: Some(view), ..Default::default() })
    }

    /// A picture as the texels of `format`. Alpha is anything.
    fn texels(format: TextureFormat, rgb: &[u8]) -> Vec<u8> {
        let half = |sample: u8| half::f16::from_f32(f32::from(sample) / 255.0).to_le_bytes();
        let pixel = |rgb: &[u8]| match format {
            TextureFormat::Bgra8Unorm | TextureFormat::Bgra8UnormSrgb => vec![rgb[2], rgb[1], rgb[0], 7],
            TextureFormat::Rgba16Float => [rgb[0], rgb[1], rgb[2], 99].map(half).concat(),
            _ => vec![rgb[0], rgb[1], rgb[2], 200],
        };
        rgb.chunks_exact(3).flat_map(pixel).collect()
    }

    fn fill(pipeline: &Pipeline, input: &Input) -> Vec<Vec<f32>> {
        submit(pipeline.gpu(), |encoder| input.encode(encoder));
        contents(pipeline)
    }

    /// The largest difference in steps of 8 bits.
    fn difference(preprocessing: &Preprocessing, found: &[f32], expected: &[f32]) -> f32 {
        let plane = found.len() / 3;
        assert_eq!(found.len(), expected.len());
        let steps = |i: usize| preprocessing.std[i / plane] / preprocessing.scale;
        (0..found.len()).map(|i| (found[i] - expected[i]).abs() * steps(i)).fold(0.0, f32::max)
    }

    const FORMATS: [TextureFormat; 5] = [
        TextureFormat::Rgba8Unorm,
        TextureFormat::Rgba8UnormSrgb,
        TextureFormat::Bgra8Unorm,
        TextureFormat::Bgra8UnormSrgb,
        TextureFormat::Rgba16Float,
    ];

    /// Every format and many sizes, within 2/255 of the same picture's preprocessing on the processor; and the formats
    /// among themselves to the bit.
    #[test]
    fn textures_are_preprocessed_as_pictures() {
        let mut largest = 0.0_f32;
        for preprocessing in [Preprocessing::torchvision(224), Preprocessing::caffe(228)] {
            let pipeline = probe(preprocessing.crop[0], true, None, 1);
            for size @ [width, height] in [[640, 480], [61, 200], [256, 256], [1920, 1080], [3, 5], [1, 1], [300, 7]] {
                let rgb = picture(width, height);
                let expected = preprocessing.apply(&Picture::from_rgb8(width, height, rgb.clone()).unwrap()).unwrap();
                let mut first: Option<Vec<f32>> = None;
                for format in FORMATS {
                    let view = texture(format, size, &texels(format, &rgb), format);
                    let input = pipeline.texture_input(&TextureSource::new(&view), &preprocessing, 0).unwrap();
                    let found = fill(&pipeline, &input).remove(0);
                    let difference = difference(&preprocessing, &found, &expected);
                    assert!(difference < 2.001, "{format:?} {size:?}: {difference} of 255");
                    largest = largest.max(difference);
                    assert!(
                        *first.get_or_insert(found.clone()) == found,
                        "{format:?} {size:?} differs from rgba8unorm"
                    );
                }
            }
        }
        println!("largest difference: {largest:.2} of 255");
    }

    /// In every kernel configuration, in both layouts, and with zeros before the rows.
    #[test]
    fn every_layout() {
        let preprocessing = Preprocessing::torchvision(64);
        let rgb = picture(200, 120);
        let expected = preprocessing.apply(&Picture::from_rgb8(200, 120, rgb.clone()).unwrap()).unwrap();
        let format = TextureFormat::Rgba8Unorm;
        let view = texture(format, [200, 120], &texels(format, &rgb), format);
        for config in common::configs(common::gpu()) {
            for interleaved in [false, true] {
                let pipeline = probe(64, interleaved, Some(config), 2);
                // The other picture of the batch stays as it is.
                pipeline.write_input(&vec![0.25; 2 * 3 * 64 * 64]).unwrap();
                let input = pipeline.texture_input(&TextureSource::new(&view), &preprocessing, 1).unwrap();
                let found = fill(&pipeline, &input);
                assert!(difference(&preprocessing, &found[1], &expected) < 2.001, "{config:?} {interleaved}");
                assert!(found[0].iter().all(|&v| v == 0.25), "{config:?} {interleaved}");
            }
        }
        // Padding makes conv1's rows begin with zeros: torchvision's network, against the written input.
        let network = AlexNet::TORCHVISION.width(0.1).head(8, 8).classes(10).network().unwrap();
        let weights = Weights::random(&network, 1);
        let pipeline = Pipeline::builder(common::gpu(), &network, &weights).keep("conv1").build().unwrap();
        let preprocessing = Preprocessing::torchvision(224);
        let input = pipeline.texture_input(&TextureSource::new(&view), &preprocessing, 0).unwrap();
        submit(pipeline.gpu(), |encoder| {
            input.encode(encoder);
            pipeline.encode(encoder);
        });
        let shape = network.layer("conv1").unwrap().output;
        let kept = || {
            let mut numbers: Vec<f32> = read(pipeline.gpu(), pipeline.kept("conv1").unwrap());
            // Where it was in a texture, whole rows of it are copied.
            numbers.truncate(shape.height * shape.width * shape.channels.next_multiple_of(4));
            numbers
        };
        let found = kept();
        let written = probe(224, true, None, 1);
        let same = written.texture_input(&TextureSource::new(&view), &preprocessing, 0).unwrap();
        pipeline.write_input(&fill(&written, &same)[0]).unwrap();
        submit(pipeline.gpu(), |encoder| pipeline.encode(encoder));
        assert!(found == kept());
    }

    /// A part of a texture is as a picture of that part: nothing around it shows.
    #[test]
    fn regions_and_views() {
        let preprocessing = Preprocessing::torchvision(224);
        let pipeline = probe(224, true, None, 1);
        let (rgb, [x, y, width, height]) = (picture(300, 200), [50, 20, 240, 170]);
        let rows = rgb.chunks_exact(900).skip(y).take(height);
        let cut: Vec<u8> = rows.flat_map(|row| &row[3 * x..3 * (x + width)]).copied().collect();
        let expected = preprocessing.apply(&Picture::from_rgb8(width as u32, height as u32, cut).unwrap()).unwrap();
        let (unorm, srgb) = (TextureFormat::Rgba8Unorm, TextureFormat::Rgba8UnormSrgb);
        for (format, as_view) in [(unorm, unorm), (unorm, srgb), (srgb, unorm)] {
            let view = texture(format, [300, 200], &texels(format, &rgb), as_view);
            let source = TextureSource::new(&view).region(50, 20, 240, 170).linear(as_view == srgb);
            let input = pipeline.texture_input(&source, &preprocessing, 0).unwrap();
            let found = fill(&pipeline, &input).remove(0);
            assert!(difference(&preprocessing, &found, &expected) < 2.001, "{format:?} seen as {as_view:?}");
        }
    }

    /// Numbers in a storage buffer are the input, to the bit.
    #[test]
    fn buffers() {
        let gpu = common::gpu();
        for config in common::configs(gpu) {
            for (interleaved, channels) in [(true, 3), (false, 3), (false, 5), (false, 8)] {
                let (network, weights) = match channels {
                    3 => identity(16, interleaved),
                    _ => {
                        let network = Network::builder("identity", Shape::new(channels, 16, 16)).dropout("out");
                        (network.build().unwrap(), Weights::default())
                    }
                };
                let builder = Pipeline::builder(gpu, &network, &weights).keep("out").batch(2).kernel_config(config);
                let pipeline = builder.build().unwrap();
                let numbers = [noise(&network, 1), noise(&network, 2)].concat();
                pipeline.write_input(&numbers).unwrap();
                submit(gpu, |encoder| pipeline.encode(encoder));
                let written: Vec<f32> = read(gpu, pipeline.kept("out").unwrap());
                pipeline.write_input(&vec![9.0; numbers.len()]).unwrap();

                // The host's numbers begin somewhere in its buffer.
                let contents = [vec![7.0; 64], numbers].concat();
                let buffer = gpu.device().create_buffer_init(&wgpu::util::BufferInitDescriptor {
                    label: None,
                    contents: bytemuck::cast_slice(&contents),
                    usage: BufferUsages::STORAGE,
                });
                let binding = wgpu::BufferBinding { buffer: &buffer, offset: 256, size: None };
                let input = pipeline.buffer_input(binding).unwrap();
                submit(gpu, |encoder| {
                    input.encode(encoder);
                    pipeline.encode(encoder);
                });
                assert!(written == read::<f32>(gpu, pipeline.kept("out").unwrap()), "{config:?} {channels}");
            }
        }
    }

    /// The host's buffer may be larger than what the device binds: only what is read counts.
    /// More rows than a dispatch has workgroups along an axis.
    #[test]
    fn tall_buffers() {
        let network = Network::builder("tall", Shape::new(1, 70_000, 1)).dropout("out").build().unwrap();
        let pipeline = Pipeline::builder(common::gpu(), &network, &Weights::default()).keep("out").build().unwrap();
        let numbers = noise(&network, 1);
        let input = own_input(common::gpu(), &pipeline, &numbers);
        submit(common::gpu(), |encoder| {
            input.encode(encoder);
            pipeline.encode(encoder);
        });
        let found: Vec<f32> = read(common::gpu(), pipeline.kept("out").unwrap());
        assert!(found.iter().step_by(4).take(70_000).copied().eq(numbers));
    }

    #[test]
    fn large_buffers() {
        let limits = Limits { max_storage_buffer_binding_size: 16 << 20, ..Limits::default() };
        let (device, queue) = host(Features::empty(), limits);
        let gpu = Gpu::from_device(device, queue).unwrap();
        let (network, weights) = identity(16, false);
        let pipeline = Pipeline::builder(&gpu, &network, &weights).keep("out").build().unwrap();
        let buffer = gpu.device().create_buffer(&wgpu::BufferDescriptor {
            label: None,
            size: 20 << 20,
            usage: BufferUsages::STORAGE | BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        let numbers = noise(&network, 1);
        gpu.queue().write_buffer(&buffer, 0, bytemuck::cast_slice(&numbers));
        let input = pipeline.buffer_input(buffer.as_entire_buffer_binding()).unwrap();
        assert!(fill(&pipeline, &input)[0] == numbers);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let pipeline = probe(64, true, None, 1);
        let format = TextureFormat::Rgba8Unorm;
        let view = texture(format, [8, 8], &[0; 256], format);
        let source = TextureSource::new(&view);
        let good = Preprocessing::torchvision(64);
        let refused = |source: &TextureSource<'_>, preprocessing: &Preprocessing, picture| {
            pipeline.texture_input(source, preprocessing, picture).unwrap_err()
        };
        assert!(matches!(refused(&source, &good, 1), InputError::Picture { batch: 1, found: 1 }));
        assert!(matches!(refused(&source, &Preprocessing::torchvision(63), 0), InputError::Crop { rows: 63, .. }));
        let bad = Preprocessing { std: [0.0; 3], ..good };
        assert!(matches!(refused(&source, &bad, 0), InputError::Preprocessing(_)));
        for [x, y, width, height] in [[0, 0, 9, 8], [0, 0, 8, 0], [1, 0, 8, 8], [0, u32::MAX, 1, 2]] {
            let error = refused(&source.clone().region(x, y, width, height), &good, 0);
            assert!(matches!(error, InputError::Region { size: [8, 8], .. }), "{error}");
        }
        let format = TextureFormat::Rgba8Uint;
        let integers = texture(format, [8, 8], &[0; 256], format);
        let error = refused(&TextureSource::new(&integers), &good, 0);
        assert!(matches!(error, InputError::Format { found: TextureFormat::Rgba8Uint, .. }), "{error}");

        let buffer = |size, usage| {
            let descriptor = wgpu::BufferDescriptor { label: None, size, usage, mapped_at_creation: false };
            common::gpu().device().create_buffer(&descriptor)
        };
        let small = buffer(1024, BufferUsages::STORAGE);
        let error = pipeline.buffer_input(small.as_entire_buffer_binding()).unwrap_err();
        assert!(matches!(error, InputError::Size { expected: 49152, found: 1024 }), "{error}");
        let vertices = buffer(1 << 20, BufferUsages::VERTEX);
        let error = pipeline.buffer_input(vertices.as_entire_buffer_binding()).unwrap_err();
        assert!(matches!(error, InputError::Usage { missing: "STORAGE" }), "{error}");
        // An offset that the device does not bind.
        let storage = buffer(1 << 20, BufferUsages::STORAGE);
        let binding = wgpu::BufferBinding { buffer: &storage, offset: 4, size: None };
        assert!(matches!(pipeline.buffer_input(binding).unwrap_err(), InputError::Device(_)));
    }
}

mod results {
    use super::*;

    fn same(found: &[Vec<TopEntry>], expected: &[Vec<TopEntry>]) {
        assert_eq!(found, expected);
    }

    /// Nothing happens until the host submits, nothing of the host's callbacks is touched, and then poll, callback and
    /// future give what the library alone gives.
    #[test]
    fn come_by_ticket() {
        let (network, weights) = tiny();
        let (device, queue) = host(Features::empty(), Limits::default());
        let errors = Arc::new(AtomicUsize::new(0));
        let count = errors.clone();
        device.on_uncaptured_error(Arc::new(move |error| {
            eprintln!("{error}");
            count.fetch_add(1, Ordering::Relaxed);
        }));
        let lost = Arc::new(AtomicUsize::new(0));
        let count = lost.clone();
        device.set_device_lost_callback(move |_, _| {
            count.fetch_add(1, Ordering::Relaxed);
        });
        let gpu = &Gpu::from_device(device, queue).unwrap();
        let pipeline = Pipeline::builder(gpu, &network, &weights).batch(2).top(3).tickets(2).build().unwrap();
        let input = [noise(&network, 1), noise(&network, 2)].concat();
        let expected = block_on(pipeline.run_top(&input)).unwrap();
        assert_eq!((expected.len(), expected[0].len()), (2, 3));
        assert_ne!(expected[0], expected[1]);

        // Another input, recorded and not submitted: the first one's outputs stay.
        pipeline.write_input(&vec![0.0; input.len()]).unwrap();
        let mut encoder = gpu.device().create_command_encoder(&Default::default());
        pipeline.encode(&mut encoder);
        let mut ticket = pipeline.ticket(&mut encoder).unwrap();
        assert!(ticket.poll().is_none());
        let entries: Vec<TopEntry> = read(gpu, pipeline.top_buffer().unwrap());
        assert_eq!(entries, expected.concat());
        drop(encoder);
        assert!(matches!(ticket.poll(), Some(Err(RunError::NotSubmitted))));
        assert!(ticket.poll().is_none());

        pipeline.write_input(&input).unwrap();
        let submit_ticket = || {
            let mut ticket = None;
            submit(gpu, |encoder| {
                pipeline.encode(encoder);
                ticket = Some(pipeline.ticket(encoder));
            });
            ticket.unwrap()
        };
        // Polling.
        let mut ticket = submit_ticket().unwrap();
        wait(gpu);
        same(&ticket.poll().unwrap().unwrap(), &expected);
        // Calling back, before the result has come and after.
        let results: Arc<Mutex<Vec<Vec<Vec<TopEntry>>>>> = Arc::default();
        let push = |results: &Arc<Mutex<Vec<_>>>| {
            let results = results.clone();
            move |result: Result<Vec<Vec<TopEntry>>, RunError>| results.lock().unwrap().push(result.unwrap())
        };
        submit_ticket().unwrap().on_ready(push(&results));
        wait(gpu);
        assert_eq!(results.lock().unwrap().len(), 1);
        let late = submit_ticket().unwrap();
        wait(gpu);
        late.on_ready(push(&results));
        assert_eq!(results.lock().unwrap().len(), 2);
        for result in results.lock().unwrap().iter() {
            same(result, &expected);
        }
        // Awaiting: some other thread polls the device.
        let ticket = submit_ticket().unwrap();
        std::thread::scope(|threads| {
            threads.spawn(|| {
                std::thread::sleep(Duration::from_millis(50));
                wait(gpu);
            });
            same(&block_on(ticket).unwrap(), &expected);
        });
        // Two at once, and no third one.
        let mut open = [submit_ticket().unwrap(), submit_ticket().unwrap()];
        assert!(matches!(submit_ticket(), Err(RunError::Busy { tickets: 2 })));
        wait(gpu);
        for ticket in &mut open {
            same(&ticket.poll().unwrap().unwrap(), &expected);
        }
        // Dropped ones come back, before and after they were ready.
        for early in [true, false] {
            let dropped = submit_ticket().unwrap();
            if early {
                drop(dropped);
                wait(gpu);
            } else {
                wait(gpu);
                drop(dropped);
            }
        }
        let _both = [submit_ticket().unwrap(), submit_ticket().unwrap()];
        wait(gpu);
        assert_eq!((errors.load(Ordering::Relaxed), lost.load(Ordering::Relaxed)), (0, 0));
        // The host's own callback is still the one that is called.
        gpu.device().destroy();
        let _ = gpu.device().poll(wgpu::PollType::wait_indefinitely());
        assert_eq!((errors.load(Ordering::Relaxed), lost.load(Ordering::Relaxed)), (0, 1));
    }

    /// A frame makes nothing: while it is recorded, no object is added to wgpu's and no memory to the device's, not even
    /// for as long as it runs; and a hundred frames leave nothing behind.
    #[test]
    fn cost_no_allocation() {
        let (network, weights) = tiny();
        let (instance, adapter) = instance();
        let config = KernelConfig::for_adapter(&adapter);
        let descriptor =
            wgpu::DeviceDescriptor { required_features: Pipeline::required_features(config), ..Default::default() };
        let (device, queue) = block_on(adapter.request_device(&descriptor)).unwrap();
        let gpu = &Gpu::from_device(device, queue).unwrap();
        let pipeline = Pipeline::builder(gpu, &network, &weights).keep("conv3").tickets(1).build().unwrap();
        let frame = gpu.device().create_texture(&wgpu::TextureDescriptor {
            label: None,
            size: wgpu::Extent3d { width: 64, height: 48, depth_or_array_layers: 1 },
            mip_level_count: 1,
            sample_count: 1,
            dimension: wgpu::TextureDimension::D2,
            format: TextureFormat::Rgba8Unorm,
            usage: TextureUsages::TEXTURE_BINDING,
            view_formats: &[],
        });
        let view = frame.create_view(&Default::default());
        let preprocessing = Preprocessing::torchvision(227);
        let input = pipeline.texture_input(&TextureSource::new(&view), &preprocessing, 0).unwrap();
        let mut slices = FrameBudget::modelled(&pipeline, Duration::from_secs(1));

        let count = || {
            // Only some backends know what memory they gave; all have the objects.
            let memory = gpu.device().generate_allocator_report().map(|report| {
                let mut all: Vec<_> = report.allocations.into_iter().map(|a| (a.name, a.offset, a.size)).collect();
                all.sort();
                all
            });
            (instance.generate_report().unwrap(), memory)
        };
        let mut settled = None;
        for i in 0..100 {
            let mut encoder = gpu.device().create_command_encoder(&Default::default());
            let before = count();
            if i % 2 == 0 {
                input.encode(&mut encoder);
                pipeline.encode(&mut encoder);
            } else {
                let fill = |encoder: &mut wgpu::CommandEncoder| input.encode(encoder);
                while !pipeline.encode_slice(&mut encoder, &mut slices, Duration::from_millis(200), fill) {}
            }
            let mut ticket = pipeline.ticket(&mut encoder).unwrap();
            assert!(count() == before, "frame {i}: {before:?} became {:?}", count());
            gpu.queue().submit([encoder.finish()]);
            wait(gpu);
            ticket.poll().unwrap().unwrap();
            let after = count();
            // wgpu has its own to make in the first frames.
            if i >= 4 {
                let settled = settled.get_or_insert_with(count);
                assert!(after == *settled, "frame {i}: {settled:?} became {after:?}");
            }
        }
    }

    /// Outputs that are not numbers are an error of the ticket, which is free again.
    #[test]
    fn that_are_not_numbers() {
        let (network, mut weights) = tiny();
        let gpu = common::gpu();
        // Sums that overflow: ∞ less ∞ in the softmax.
        let overflow = |name: &str, value| {
            Tensor::from_f32(weights.tensors[name].shape(), vec![value; weights.tensors[name].to_f32().len()])
        };
        let [bias, weight] = [overflow("fc7.bias", 1e3), overflow("fc8.weight", 3e38)];
        weights.tensors.insert("fc7.bias".into(), bias);
        weights.tensors.insert("fc8.weight".into(), weight);
        let pipeline = Pipeline::builder(gpu, &network, &weights).tickets(1).build().unwrap();
        for _ in 0..2 {
            submit(gpu, |encoder| {
                pipeline.encode(encoder);
                let ticket = pipeline.ticket(encoder).unwrap();
                ticket.on_ready(|result| assert!(matches!(result, Err(RunError::NotANumber))));
            });
            wait(gpu);
        }
    }

    /// A shader of the host binds what a run leaves on the device.
    #[test]
    fn stay_on_the_device() {
        let (network, weights) = tiny();
        let gpu = common::gpu();
        let input = noise(&network, 3);
        for config in configs() {
            let builder = Pipeline::builder(gpu, &network, &weights).kernel_config(config).keep("conv3").keep("fc7");
            let pipeline = builder.build().unwrap();
            let layers = block_on(pipeline.run_layers(&input, &["conv3", "fc7"])).unwrap();
            let expected = block_on(pipeline.run_top(&input)).unwrap();

            let module = gpu.device().create_shader_module(wgpu::ShaderModuleDescriptor {
                label: None,
                source: wgpu::ShaderSource::Wgsl(
                    "struct TopEntry { index: u32, value: f32 }
                     @group(0) @binding(0) var<storage, read> top: array<TopEntry>;
                     @group(0) @binding(1) var<storage, read> conv3: array<vec4f>;
                     @group(0) @binding(2) var<storage, read> fc7: array<vec4f>;
                     @group(0) @binding(3) var<storage, read_write> out: array<f32>;
                     @compute @workgroup_size(1) fn main() {
                       out[0] = f32(top[1].index);
                       out[1] = top[1].value;
                       out[2] = conv3[1].y;
                       out[3] = fc7[1].z;
                     }"
                    .into(),
                ),
            });
            let shader = gpu.device().create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
                label: None,
                layout: None,
                module: &module,
                entry_point: None,
                compilation_options: Default::default(),
                cache: None,
            });
            let out = gpu.device().create_buffer(&wgpu::BufferDescriptor {
                label: None,
                size: 16,
                usage: BufferUsages::STORAGE | BufferUsages::COPY_SRC,
                mapped_at_creation: false,
            });
            let [conv3, fc7] = ["conv3", "fc7"].map(|name| pipeline.kept(name).unwrap());
            let buffers = [pipeline.top_buffer().unwrap(), conv3, fc7, &out];
            let entries: Vec<_> = (0..)
                .zip(buffers)
                .map(|(binding, buffer)| wgpu::BindGroupEntry { binding, resource: buffer.as_entire_binding() })
                .collect();
            let group = gpu.device().create_bind_group(&wgpu::BindGroupDescriptor {
                label: None,
                layout: &shader.get_bind_group_layout(0),
                entries: &entries,
            });
            submit(gpu, |encoder| {
                pipeline.encode(encoder);
                let mut pass = encoder.begin_compute_pass(&Default::default());
                pass.set_pipeline(&shader);
                pass.set_bind_group(0, &group, &[]);
                pass.dispatch_workgroups(1, 1, 1);
            });
            // Channels last: the second quad of conv3 is channels 4 to 7 of the first pixel.
            let plane = network.layer("conv3").unwrap().output;
            let conv3 = layers[0][5 * plane.height * plane.width];
            let second = expected[0][1];
            assert_eq!(read::<f32>(gpu, &out), [second.index as f32, second.value, conv3, layers[1][6]], "{config:?}");
        }
        let error = Pipeline::builder(gpu, &network, &weights).keep("conv9").build().unwrap_err();
        assert!(matches!(error, PipelineError::Layer(_)), "{error}");
    }

    /// The library's own runs leave what a host's do, whichever layers they read.
    #[test]
    fn are_left_by_every_run() {
        let (network, weights) = tiny();
        let gpu = common::gpu();
        let inputs = [1, 2, 3].map(|seed| noise(&network, seed));
        let pipeline = || {
            let builder = Pipeline::builder(gpu, &network, &weights).keep("conv2").keep("fc7");
            builder.build().unwrap()
        };
        let left = |pipeline: &Pipeline| {
            let [conv2, fc7] = ["conv2", "fc7"].map(|name| read::<f32>(gpu, pipeline.kept(name).unwrap()));
            (conv2, fc7, read::<TopEntry>(gpu, pipeline.top_buffer().unwrap()))
        };
        let expected = inputs.each_ref().map(|input| {
            let pipeline = pipeline();
            pipeline.write_input(input).unwrap();
            submit(gpu, |encoder| pipeline.encode(encoder));
            left(&pipeline)
        });
        let pipeline = pipeline();
        block_on(pipeline.run(&inputs[0])).unwrap();
        assert!(left(&pipeline) == expected[0]);
        block_on(pipeline.run_layers(&inputs[1], &["conv1"])).unwrap();
        assert!(left(&pipeline) == expected[1]);
        block_on(pipeline.run_layers(&inputs[2], &["prob", "conv2", "conv2"])).unwrap();
        assert!(left(&pipeline) == expected[2]);

        // A host that records some layers has those that are kept up to them.
        let layer = gpu.device().create_buffer(&wgpu::BufferDescriptor {
            label: None,
            size: pipeline.activation_bytes("conv3").unwrap(),
            usage: BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        pipeline.write_input(&inputs[0]).unwrap();
        submit(gpu, |encoder| pipeline.encode_layers(encoder, &[("conv3", &layer)]).unwrap());
        let (conv2, fc7, top) = left(&pipeline);
        assert!(conv2 == expected[0].0 && fc7 == expected[2].1 && top == expected[2].2);
    }
}

mod slices {
    use super::*;

    /// However an inference is spread over frames, its outputs are bitwise those of one go.
    /// As a host's frames do: with a picture drawn before, some drivers note the time later.
    #[test]
    fn are_measured_where_something_is_drawn() {
        let gpu = common::gpu();
        let model = Model::embedded().unwrap();
        // Layers that take longer than a thread waits for a processor that other tests use.
        let batch = 32;
        let pipeline = Pipeline::builder(gpu, &model.network, &model.weights).batch(batch).build().unwrap();
        pipeline.write_input(&noise(&model.network, 1).repeat(batch)).unwrap();
        let target = gpu.device().create_texture(&wgpu::TextureDescriptor {
            label: None,
            size: wgpu::Extent3d { width: 64, height: 64, depth_or_array_layers: 1 },
            mip_level_count: 1,
            sample_count: 1,
            dimension: wgpu::TextureDimension::D2,
            format: TextureFormat::Rgba8Unorm,
            usage: TextureUsages::RENDER_ATTACHMENT,
            view_formats: &[],
        });
        let view = target.create_view(&Default::default());
        submit(gpu, |encoder| {
            let attachment = wgpu::RenderPassColorAttachment {
                view: &view,
                depth_slice: None,
                resolve_target: None,
                ops: wgpu::Operations { load: wgpu::LoadOp::Clear(wgpu::Color::RED), store: wgpu::StoreOp::Store },
            };
            drop(encoder.begin_render_pass(&wgpu::RenderPassDescriptor {
                color_attachments: &[Some(attachment)],
                ..Default::default()
            }));
        });
        // Medians: other tests compute meanwhile, and an end that is noted late is taken from the layer after it.
        let mut runs: Vec<Vec<LayerTime>> = Vec::new();
        for _ in 0..9 {
            let start = Instant::now();
            let Some(times) = block_on(pipeline.profile()).unwrap() else { return };
            let took = start.elapsed().as_secs_f64() * 1e3;
            assert!(times.iter().all(|time| time.ms <= took), "of {took} ms: {times:?}");
            runs.push(times);
        }
        let of = |layer: &str| {
            let time = |run: &Vec<LayerTime>| run.iter().find(|time| time.layer == layer).unwrap().ms;
            let mut times: Vec<f64> = runs.iter().map(time).collect();
            times.sort_by(f64::total_cmp);
            times[times.len() / 2]
        };
        for (long, short) in [("conv1", "pool1"), ("conv3", "pool2"), ("conv5", "pool5"), ("fc6", "prob")] {
            assert!(of(long) > 2.0 * of(short), "{long} {} ms, {short} {} ms", of(long), of(short));
        }
    }

    #[test]
    fn give_the_same_bits() {
        let gpu = common::gpu();
        let model = Model::embedded().unwrap();
        let pipeline = Pipeline::builder(gpu, &model.network, &model.weights).keep("conv4").build().unwrap();
        let inputs = [noise(&model.network, 1), noise(&model.network, 2)];
        let outputs = || {
            let top: Vec<u32> = read(gpu, pipeline.top_buffer().unwrap());
            (top, read::<u32>(gpu, pipeline.kept("conv4").unwrap()))
        };
        let expected = inputs.each_ref().map(|input| {
            pipeline.write_input(input).unwrap();
            submit(gpu, |encoder| pipeline.encode(encoder));
            outputs()
        });
        assert_ne!(expected[0], expected[1]);

        let layers = pipeline.kernels().count();
        let measured = block_on(pipeline.profile()).unwrap().map(|times| FrameBudget::measured(&times));
        let modelled = FrameBudget::modelled(&pipeline, Duration::from_millis(40));
        let mut counts = Vec::new();
        for mut slices in [modelled].into_iter().chain(measured) {
            for (budget, number) in [(0.0, 0), (0.5, 1), (8.0, 0), (15.0, 1), (1e6, 0)] {
                pipeline.write_input(&inputs[number]).unwrap();
                let mut frames = 0;
                loop {
                    assert_eq!(slices.is_start(&pipeline), frames == 0);
                    let (mut complete, mut begun) = (false, 0);
                    let budget = Duration::from_secs_f64(budget / 1e3);
                    submit(gpu, |encoder| {
                        complete = pipeline.encode_slice(encoder, &mut slices, budget, |_| begun += 1);
                    });
                    assert_eq!(begun, usize::from(frames == 0));
                    frames += 1;
                    // From the second frame on, the next input may be written already.
                    pipeline.write_input(&inputs[1 - number]).unwrap();
                    if complete {
                        break;
                    }
                }
                assert!(outputs() == expected[number], "{budget} ms in {frames} frames");
                counts.push(frames);
            }
            let last: Vec<usize> = counts[counts.len() - 5..].to_vec();
            assert_eq!((last[0], last[4]), (layers, 1), "one layer a frame, and all in one");
        }
        // 40 ms at 8 ms a frame: more than one, and fewer than there are layers.
        assert!((3..layers).contains(&counts[2]), "{counts:?}");
        println!("frames: {counts:?}");
    }

    /// A pipeline, what fills its input, and what comes of that.
    struct Watched {
        pipeline: Pipeline,
        own: Input,
        expected: Vec<Vec<TopEntry>>,
    }

    impl Watched {
        fn new(gpu: &Gpu, network: &Network, weights: &Weights) -> Self {
            let pipeline = Pipeline::builder(gpu, network, weights).build().unwrap();
            let input = noise(network, 1);
            let expected = block_on(pipeline.run_top(&input)).unwrap();
            let own = own_input(gpu, &pipeline, &input);
            Self { pipeline, own, expected }
        }
    }

    /// What another run wrote over is begun anew, and what an encoder took with it that was dropped.
    #[test]
    fn are_begun_anew_after_another_run() {
        let gpu = common::gpu();
        let (network, weights) = tiny();
        let Watched { pipeline, own, expected } = Watched::new(gpu, &network, &weights);
        let record = |encoder: &mut wgpu::CommandEncoder, slices: &mut FrameBudget| {
            pipeline.encode_slice(encoder, slices, Duration::ZERO, |encoder| own.encode(encoder))
        };
        let slice = |slices: &mut FrameBudget| {
            let mut complete = false;
            submit(gpu, |encoder| complete = record(encoder, slices));
            complete
        };
        let mut slices = FrameBudget::modelled(&pipeline, Duration::from_secs(1));
        let mut after = |other: &dyn Fn(&mut FrameBudget)| {
            for _ in 0..3 {
                assert!(!slice(&mut slices));
            }
            assert!(!slices.is_start(&pipeline));
            other(&mut slices);
            assert!(slices.is_start(&pipeline));
            let mut frames = 1;
            while !slice(&mut slices) {
                frames += 1;
            }
            assert_eq!(frames, pipeline.kernels().count());
            assert_eq!(read::<TopEntry>(gpu, pipeline.top_buffer().unwrap()), expected[0]);
        };
        // The other run leaves its own picture in the input.
        after(&|_| assert_ne!(block_on(pipeline.run_top(&noise(&network, 2))).unwrap(), expected));
        after(&|slices| _ = record(&mut gpu.device().create_command_encoder(&Default::default()), slices));
        if gpu.device().features().contains(Features::TIMESTAMP_QUERY) {
            after(&|_| _ = block_on(pipeline.profile()).unwrap().unwrap());
            let other = own_input(gpu, &pipeline, &noise(&network, 2));
            after(&|_| _ = block_on(pipeline.profile_input(&other)).unwrap().unwrap());
        }

        // FrameBudget that come from another pipeline have nothing of this one: they begin anew too.
        let another = Pipeline::builder(gpu, &network, &weights).build().unwrap();
        let mut slices = FrameBudget::modelled(&another, Duration::from_secs(1));
        for pipeline in [&pipeline, &another] {
            block_on(pipeline.run_top(&noise(&network, 2))).unwrap();
        }
        submit(gpu, |encoder| {
            another.encode_slice(encoder, &mut slices, Duration::ZERO, |_| {});
        });
        assert!(slices.is_start(&pipeline) && !slices.is_start(&another));
    }

    /// An input that costs something is of the budget, and where no layer fits beside it a slice by itself.
    #[test]
    fn count_the_input() {
        let gpu = common::gpu();
        let (network, weights) = tiny();
        let Watched { pipeline, own, expected } = Watched::new(gpu, &network, &weights);
        block_on(pipeline.run_top(&noise(&network, 2))).unwrap();
        if let Some(cost) = block_on(pipeline.profile_input(&own)).unwrap() {
            assert!(cost > Duration::ZERO && cost < Duration::from_secs(10), "{cost:?}");
        }
        let layers = pipeline.kernels().count();
        let second = Duration::from_secs(1);
        for (budget, frames) in [(Duration::ZERO, 1 + layers), (second, 2), (3 * second, 1)] {
            let mut slices = FrameBudget::modelled(&pipeline, second / 2);
            slices.set_input_cost(second);
            let mut begun = Vec::new();
            for frame in 0..frames {
                let mut complete = false;
                submit(gpu, |encoder| {
                    complete = pipeline.encode_slice(encoder, &mut slices, budget, |encoder| {
                        own.encode(encoder);
                        begun.push(frame);
                    });
                });
                assert_eq!(complete, frame + 1 == frames, "frame {frame} of {frames}");
            }
            assert_eq!(begun, [0]);
            assert_eq!(read::<TopEntry>(gpu, pipeline.top_buffer().unwrap()), expected[0]);
        }
    }
}

mod losses {
    use super::*;

    /// A device that is destroyed under load: every ticket comes to its end, nothing panics or hangs, and on another
    /// device everything is as before.
    #[test]
    fn tickets_end_and_a_new_device_does() {
        let model = Model::embedded().unwrap();
        let features = Pipeline::required_features(KernelConfig::for_adapter(&adapter()));
        let (device, queue) = host(features, Limits::default());
        // wgpu panics on what nobody catches: this test fails then.
        let gpu = Gpu::from_device(device.clone(), queue).unwrap();
        let pipeline = Pipeline::builder(&gpu, &model.network, &model.weights).tickets(8).build().unwrap();
        let input = noise(&model.network, 1);
        let expected = block_on(pipeline.run_top(&input)).unwrap();

        let ended = Arc::new(Mutex::new((0, 0)));
        let mut tickets = Vec::new();
        for i in 0..8 {
            submit(&gpu, |encoder| {
                pipeline.encode(encoder);
                let ticket = pipeline.ticket(encoder).unwrap();
                if i % 2 == 0 {
                    tickets.push(ticket);
                } else {
                    let ended = ended.clone();
                    ticket.on_ready(move |result| match result {
                        Ok(_) => ended.lock().unwrap().0 += 1,
                        Err(RunError::Device(_)) => ended.lock().unwrap().1 += 1,
                        Err(e) => panic!("{e}"),
                    });
                }
            });
        }
        let mut unsubmitted = gpu.device().create_command_encoder(&Default::default());
        pipeline.encode(&mut unsubmitted);
        device.destroy();
        gpu.queue().submit([unsubmitted.finish()]);

        let deadline = Instant::now() + Duration::from_secs(60);
        let mut open = tickets.len();
        while open > 0 || {
            let (done, failed) = *ended.lock().unwrap();
            done + failed < 4
        } {
            let _ = device.poll(wgpu::PollType::Poll);
            for ticket in &mut tickets {
                match ticket.poll() {
                    None => continue,
                    Some(Ok(entries)) => assert_eq!(entries, expected),
                    Some(Err(RunError::Device(_))) => {}
                    Some(Err(e)) => panic!("{e}"),
                }
                open -= 1;
            }
            assert!(Instant::now() < deadline, "{open} tickets hang");
        }
        println!("callbacks with a result and without: {:?}", ended.lock().unwrap());
        // What comes after it fails with the same error.
        assert!(matches!(block_on(pipeline.run_top(&input)), Err(RunError::Device(_))));
        let mut encoder = device.create_command_encoder(&Default::default());
        pipeline.encode(&mut encoder);
        let result = pipeline.ticket(&mut encoder).and_then(|ticket| {
            gpu.queue().submit([encoder.finish()]);
            let _ = device.poll(wgpu::PollType::Poll);
            block_on(ticket)
        });
        assert!(matches!(result, Err(RunError::Device(_))), "{result:?}");
        assert!(Pipeline::builder(&gpu, &model.network, &model.weights).build().is_err());

        let (device, queue) = host(features, Limits::default());
        let again = pipeline.rebuild(&Gpu::from_device(device, queue).unwrap()).unwrap();
        drop(pipeline);
        assert_eq!(block_on(again.run_top(&input)).unwrap(), expected);
    }

    /// A device that is destroyed in the middle of an upload, which waits for it: the build ends, and with an error.
    #[test]
    fn uploads_end_with_their_device() {
        let network = Network::builder("wide", Shape::vector(9216)).linear("fc6", Linear::new(4096)).build().unwrap();
        let weights = Weights::random(&network, 1);
        let config = KernelConfig::for_adapter(&adapter());
        let (device, queue) = host(Pipeline::required_features(config), Limits::default());
        let gpu = Gpu::from_device(device.clone(), queue).unwrap();
        let progress = |done, total| {
            if done > total / 3 {
                device.destroy();
            }
        };
        let error = Pipeline::builder(&gpu, &network, &weights).progress(&progress).build().unwrap_err();
        assert!(matches!(error, PipelineError::Device(_)), "{error}");
    }

    /// What is denied on the new device counts there, and nothing that was denied on the old one; what the builder was
    /// told stays.
    #[test]
    fn a_new_device_has_its_own_denials() {
        let (network, weights) = tiny();
        let deny = |names: &str| common::gpu().clone().avoid(names.parse::<Blocklist>().unwrap());
        let storage = |pipeline: &Pipeline| pipeline.kernel_config().storage;
        let [texture, buffer, neither] = ["texture", "buffer", ""].map(deny);
        let builder = |gpu| Pipeline::builder(gpu, &network, &weights);
        let pipeline = builder(&texture).build().unwrap();
        assert_eq!(storage(&pipeline), Storage::StorageBuffer);
        assert_eq!(storage(&pipeline.rebuild(&buffer).unwrap()), Storage::StorageTexture);

        let told = ["buffer", "sampled"].into_iter().fold(builder(&neither), |b, name| b.avoid(name.parse().unwrap()));
        let told = told.build().unwrap();
        assert_eq!(storage(&told.rebuild(&neither).unwrap()), Storage::StorageTexture);
        assert!(matches!(told.rebuild(&texture), Err(PipelineError::Blocked { .. })));
    }
}

mod sharing {
    use super::*;

    /// Several networks on one device, in one command buffer.
    #[test]
    fn networks_share_a_device() {
        let gpu = common::gpu();
        let networks = [AlexNet::UNGROUPED, AlexNet::CAFFE, AlexNet::TORCHVISION]
            .map(|net| net.width(0.1).head(16, 16).classes(12).network().unwrap());
        let pipelines: Vec<(Pipeline, Vec<Vec<TopEntry>>)> = networks
            .iter()
            .map(|network| {
                let pipeline = Pipeline::builder(gpu, network, &Weights::random(network, 5)).build().unwrap();
                let expected = block_on(pipeline.run_top(&noise(network, 1))).unwrap();
                (pipeline, expected)
            })
            .collect();
        let mut tickets = Vec::new();
        submit(gpu, |encoder| {
            for (pipeline, _) in &pipelines {
                pipeline.encode(encoder);
                tickets.push(pipeline.ticket(encoder).unwrap());
            }
        });
        wait(gpu);
        for (ticket, (_, expected)) in tickets.iter_mut().zip(&pipelines) {
            assert_eq!(ticket.poll().unwrap().unwrap(), *expected);
        }
    }

    /// One network from several threads: each gets what belongs to its own input, by running and by recording.
    #[test]
    fn threads_share_a_network() {
        let gpu = common::gpu();
        let (network, weights) = tiny();
        let pipeline = &Pipeline::builder(gpu, &network, &weights).tickets(4).build().unwrap();
        let inputs: Vec<Vec<f32>> = (0..4).map(|seed| noise(&network, seed)).collect();
        let expected: Vec<_> = inputs.iter().map(|input| block_on(pipeline.run_top(input)).unwrap()).collect();
        std::thread::scope(|threads| {
            for (input, expected) in inputs.iter().zip(&expected) {
                threads.spawn(move || {
                    let buffer = gpu.device().create_buffer_init(&wgpu::util::BufferInitDescriptor {
                        label: None,
                        contents: bytemuck::cast_slice(input),
                        usage: BufferUsages::STORAGE,
                    });
                    let own = pipeline.buffer_input(buffer.as_entire_buffer_binding()).unwrap();
                    for round in 0..10 {
                        let found = if round % 2 == 0 {
                            block_on(pipeline.run_top(input)).unwrap()
                        } else {
                            let mut ticket = None;
                            submit(gpu, |encoder| {
                                own.encode(encoder);
                                pipeline.encode(encoder);
                                ticket = Some(pipeline.ticket(encoder).unwrap());
                            });
                            wait(gpu);
                            block_on(ticket.unwrap()).unwrap()
                        };
                        assert_eq!(found, *expected, "round {round}");
                    }
                });
            }
        });
    }
}

#[cfg(target_os = "linux")]
mod memory {
    use std::{env, fs, process::Command};

    use rustix::process::{Resource, Rlimit, setrlimit};

    use super::*;

    /// Runs `body` in a process of its own, since it takes the memory away from everything in it.
    fn alone(test: &str, body: impl FnOnce()) {
        // Elsewhere a device's memory is not the process's.
        if common::gpu().info().device_type != wgpu::DeviceType::Cpu {
            return println!("not on this adapter");
        }
        const CHILD: &str = "ALEXNET_TEST_ALONE";
        if env::var_os(CHILD).is_some() {
            return body();
        }
        let said = tempfile::NamedTempFile::new().unwrap();
        let mut child = Command::new(env::current_exe().unwrap());
        child.args([test, "--exact", "--nocapture"]).env(CHILD, "1");
        let both = said.reopen().unwrap();
        let mut child = child.stdout(both.try_clone().unwrap()).stderr(both).spawn().unwrap();
        // A panic where there is no memory may hang in the driver's threads.
        let deadline = Instant::now() + Duration::from_secs(300);
        let status = loop {
            match child.try_wait().unwrap() {
                None if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(20)),
                None => child.kill().unwrap(),
                Some(status) => break status,
            }
        };
        let said = String::from_utf8_lossy(&fs::read(said.path()).unwrap()).into_owned();
        assert!(status.success() && said.contains("1 passed"), "{status}: {said}");
    }

    /// From now on, this process gets so many bytes and no more.
    fn leave(bytes: u64) {
        let pages: u64 = fs::read_to_string("/proc/self/statm").unwrap().split(' ').next().unwrap().parse().unwrap();
        let limit = Rlimit { current: Some(pages * rustix::param::page_size() as u64 + bytes), maximum: None };
        setrlimit(Resource::As, limit).unwrap();
    }

    /// The network whose activations are AlexNet's and whose weights are few, and a pipeline that has run.
    fn warm(network: &Network, weights: &Weights) -> (Pipeline, Vec<f32>, Vec<Vec<TopEntry>>) {
        let pipeline = Pipeline::builder(common::gpu(), network, weights).build().unwrap();
        let input = noise(network, 1);
        let top = block_on(pipeline.run_top(&input)).unwrap();
        (pipeline, input, top)
    }

    /// A network that has no place is an error, and what was there before runs on.
    #[test]
    fn that_lacks_for_a_build() {
        alone("memory::that_lacks_for_a_build", || {
            let network = AlexNet::UNGROUPED.head(8, 8).classes(10).network().unwrap();
            let weights = Weights::random(&network, 1);
            let (pipeline, input, top) = warm(&network, &weights);
            leave(300 << 20);
            // Two activations of 300 MB and more.
            let error = Pipeline::builder(common::gpu(), &network, &weights).batch(300).build().unwrap_err();
            assert!(matches!(error, PipelineError::OutOfMemory(_)), "{error}");
            assert!(error.to_string().contains("use a smaller batch"), "{error}");
            assert_eq!(block_on(pipeline.run_top(&input)).unwrap(), top);
        });
    }

    /// What a run cannot read is an error of the run, and the next one is as before.
    #[test]
    fn that_lacks_for_a_run() {
        alone("memory::that_lacks_for_a_run", || {
            let network = AlexNet::UNGROUPED.head(8, 8).classes(10).network().unwrap();
            let weights = Weights::random(&network, 1);
            let (pipeline, input, top) = warm(&network, &weights);
            leave(300 << 20);
            // 1.2 MB each.
            let error = block_on(pipeline.run_layers(&input, &["conv1"; 600])).unwrap_err();
            assert!(matches!(error, RunError::OutOfMemory(_)), "{error}");
            assert!(error.to_string().contains("read fewer layers"), "{error}");
            assert_eq!(block_on(pipeline.run_top(&input)).unwrap(), top);
        });
    }
}
