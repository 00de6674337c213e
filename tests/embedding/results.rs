use super::*;

fn same(found: &[Vec<TopEntry>], expected: &[Vec<TopEntry>]) {
    assert_eq!(found, expected);
}

/// Nothing runs until the host submits, the host's callbacks are kept, and poll, callback and future then give the library's
/// own results.
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
    // Callbacks set before and after the result is ready.
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
    // Awaiting, while another thread polls the device.
    let ticket = submit_ticket().unwrap();
    std::thread::scope(|threads| {
        threads.spawn(|| {
            std::thread::sleep(Duration::from_millis(50));
            wait(gpu);
        });
        same(&block_on(ticket).unwrap(), &expected);
    });
    // Two tickets at once, and no third one.
    let mut open = [submit_ticket().unwrap(), submit_ticket().unwrap()];
    assert!(matches!(submit_ticket(), Err(RunError::Busy { tickets: 2 })));
    wait(gpu);
    for ticket in &mut open {
        same(&ticket.poll().unwrap().unwrap(), &expected);
    }
    // Dropped tickets are returned, before and after they were ready.
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
    // The host's own callback is still in place.
    gpu.device().destroy();
    let _ = gpu.device().poll(wgpu::PollType::wait_indefinitely());
    assert_eq!((errors.load(Ordering::Relaxed), lost.load(Ordering::Relaxed)), (0, 1));
}

/// Any layer comes by ticket, in CHW order, from every kernel configuration; the host's frame is neither waited for nor held up
/// by open tickets.
#[test]
fn layers_come_by_ticket() {
    let (network, weights) = tiny();
    let gpu = common::gpu();
    let inputs = [noise(&network, 1), noise(&network, 2)].concat();
    for config in configs() {
        let pipeline = Pipeline::builder(gpu, &network, &weights).kernel_config(config).batch(2).build().unwrap();
        for name in ["conv1", "pool5", "fc7", "prob"] {
            let expected = block_on(pipeline.run_layers(&inputs, &[name])).unwrap().remove(0);
            let readback = pipeline.layer_readback(name, 2).unwrap();
            assert_eq!(readback.shape(), network.layer(name).unwrap().output);
            pipeline.write_input(&inputs).unwrap();
            let mut tickets = Vec::new();
            submit(gpu, |encoder| {
                tickets.extend([(); 2].map(|()| pipeline.encode_layer(encoder, &readback).unwrap()));
                let third = pipeline.encode_layer(encoder, &readback);
                assert!(matches!(third, Err(RunError::Busy { tickets: 2 })));
            });
            wait(gpu);
            for mut ticket in tickets {
                assert!(ticket.poll().unwrap().unwrap() == expected, "{config:?}: {name}");
                assert!(ticket.poll().is_none());
            }
            submit(gpu, |encoder| drop(pipeline.encode_layer(encoder, &readback).unwrap()));
        }
        let error = pipeline.layer_readback("conv9", 1).unwrap_err();
        assert!(matches!(error, RunError::Layer(_)), "{error}");
    }
}

/// A frame allocates nothing: recording adds no wgpu object and no device memory, not even temporarily, and a hundred frames
/// leave nothing behind.
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
        // Only some backends report their memory; all report objects.
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
        // wgpu allocates its own objects in the first frames.
        if i >= 4 {
            let settled = settled.get_or_insert_with(count);
            assert!(after == *settled, "frame {i}: {settled:?} became {after:?}");
        }
    }
}

/// Outputs of NaN are an error of the ticket, which is then free again.
#[test]
fn that_are_not_numbers() {
    let (network, mut weights) = tiny();
    let gpu = common::gpu();
    // Sums that overflow: ∞ less ∞ in the softmax.
    let overflow = |name: &str, value| {
        Tensor::from_f32(
            weights.tensor(name).unwrap().shape(),
            vec![value; weights.tensor(name).unwrap().to_f32().len()],
        )
    };
    let [bias, weight] = [overflow("fc7.bias", 1e3), overflow("fc8.weight", 3e38)];
    weights.insert("fc7.bias", bias);
    weights.insert("fc8.weight", weight);
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

/// A host's shader binds the buffers that a run leaves on the device.
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

/// The library's own runs leave the same activations as a host's, whichever layers they read.
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

    // A host that records some layers has the activations kept up to them.
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
