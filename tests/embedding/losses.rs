use super::*;

/// A device destroyed under load: every ticket completes, nothing panics or hangs, and another device works as before.
#[test]
fn tickets_end_and_a_new_device_does() {
    let model = Model::embedded().unwrap();
    let features = Pipeline::required_features(KernelConfig::for_adapter(&adapter()));
    let (device, queue) = host(features, Limits::default());
    // wgpu panics on uncaught errors, which would fail this test.
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
    // Later runs fail with the same error.
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

/// A device destroyed in the middle of an upload that waits for it: the build ends with an error.
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

/// The blocklist of the new device applies, and that of the old one does not; the builder's settings are kept.
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
