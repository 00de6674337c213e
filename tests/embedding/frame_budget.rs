use super::*;

/// Layers are measured in a host's frame too, after a draw: some drivers then write timestamps later.
#[test]
fn are_measured_where_something_is_drawn() {
    let gpu = common::gpu();
    let model = Model::embedded().unwrap();
    // Layers that take longer than the wait of a thread for a core that other tests use.
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
    // Lower quartiles: other tests run meanwhile, which adds to any layer, and a timestamp that is late is charged to the wrong one.
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
        times[times.len() / 4]
    };
    for (long, short) in [("conv1", "pool1"), ("conv3", "pool2"), ("conv5", "pool5"), ("conv2", "prob")] {
        assert!(of(long) > 2.0 * of(short), "{long} {} ms, {short} {} ms", of(long), of(short));
    }
}

/// An inference spread over frames has bitwise the same outputs as one in a single frame.
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

/// A pipeline with its input, and the expected result.
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

/// An inference that another run overwrote starts again, as does one whose encoder was dropped.
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

    // A FrameBudget of another pipeline has no progress on this one: it starts again too.
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

/// The input's cost counts in the budget; where no layer fits beside it, the input is a slice of its own.
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
