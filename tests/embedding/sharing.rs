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

/// One network from several threads: each gets the result of its own input, by running and by recording.
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
