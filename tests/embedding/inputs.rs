use super::*;

/// A network whose last activation is its input. For crops whose sides are multiples of four, a convolution moves each number
/// to a channel of its own, so that the input is laid out as AlexNet's.
fn identity(side: usize, interleaved: bool) -> (Network, Weights) {
    let shape = Shape::new(3, side, side);
    if !interleaved {
        return (Network::builder("identity", shape).dropout("out").build().unwrap(), Weights::default());
    }
    let conv = Conv::new(48, 4).stride(4);
    let network = Network::builder("identity", shape).conv("out", conv).build().unwrap();
    let mut weights = Weights::default();
    let one_hot = (0..48 * 48).map(|i| if i / 48 == i % 48 { 1.0 } else { 0.0 }).collect();
    weights.insert("out.weight", Tensor::from_f32([48, 3, 4, 4], one_hot));
    weights.insert("out.bias", Tensor::from_f32([48], vec![0.0; 48]));
    (network, weights)
}

/// The input of an `identity` of one or more pictures, in CHW order each.
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

fn texture(format: TextureFormat, [width, height]: [u32; 2], bytes: &[u8], view: TextureFormat) -> wgpu::TextureView {
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

/// A picture as the texels of `format`, with arbitrary alpha.
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

/// Every format and many sizes are within 2/255 of the same picture's preprocessing on the CPU; the formats agree bit by bit.
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
                assert!(*first.get_or_insert(found.clone()) == found, "{format:?} {size:?} differs from rgba8unorm");
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
        // Where the input is in a texture, whole rows are copied.
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

/// A part of a texture gives the same as a picture of that part: nothing around it shows.
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

/// Numbers in a storage buffer become the input, bit by bit.
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

            // The host's numbers begin at an offset in its buffer.
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

/// The host's buffer may be larger than the device's largest binding: only the part that is read counts.
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
    let bad = good.std([0.0; 3]);
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
    // An offset that violates the device's alignment.
    let storage = buffer(1 << 20, BufferUsages::STORAGE);
    let binding = wgpu::BufferBinding { buffer: &storage, offset: 4, size: None };
    assert!(matches!(pipeline.buffer_input(binding).unwrap_err(), InputError::Device(_)));
}
