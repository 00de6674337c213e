//! The device shared with the network: busy, lost, or another one.

use super::*;

/// Submits, from another thread, work that keeps the GPU for one and a half seconds: no driver takes that for a hang, and
/// software Vulkan does it all within the submission. True once it is done.
fn occupy(RenderState { device, queue, .. }: RenderState) -> Arc<AtomicBool> {
    let source = "
        @group(0) @binding(0) var<storage, read_write> numbers: array<f32>;
        @compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3<u32>) {
            var x = numbers[id.x];
            for (var i = 0u; i < 1000000u; i++) { x = fract(x * 1.3 + 0.1); }
            numbers[id.x] = x;
        }";
    let module = device.create_shader_module(wgpu::ShaderModuleDescriptor {
        label: None,
        source: wgpu::ShaderSource::Wgsl(source.into()),
    });
    let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
        label: None,
        layout: None,
        module: &module,
        entry_point: None,
        compilation_options: Default::default(),
        cache: None,
    });
    let buffer = device.create_buffer(&wgpu::BufferDescriptor {
        label: None,
        size: 4 * 64 * 65535,
        usage: wgpu::BufferUsages::STORAGE,
        mapped_at_creation: false,
    });
    let group = device.create_bind_group(&wgpu::BindGroupDescriptor {
        label: None,
        layout: &pipeline.get_bind_group_layout(0),
        entries: &[wgpu::BindGroupEntry { binding: 0, resource: buffer.as_entire_binding() }],
    });
    let work = move |workgroups: u32| {
        let mut encoder = device.create_command_encoder(&Default::default());
        let mut pass = encoder.begin_compute_pass(&Default::default());
        pass.set_pipeline(&pipeline);
        pass.set_bind_group(0, &group, &[]);
        pass.dispatch_workgroups(workgroups, 1, 1);
        drop(pass);
        let start = Instant::now();
        queue.submit([encoder.finish()]);
        device.poll(wgpu::PollType::wait_indefinitely()).unwrap();
        start.elapsed().as_secs_f64()
    };
    // What is compiled at the first use.
    work(1);
    let workgroups = (16.0 * 1.5 / work(16)).clamp(16.0, 65535.0) as u32;
    let done = Arc::new(AtomicBool::new(false));
    let report = done.clone();
    thread::spawn(move || {
        let took = work(workgroups);
        println!("the GPU was busy for {took:.2} s");
        report.store(true, Ordering::Relaxed);
    });
    done
}

#[test]
fn frames_go_on_while_the_gpu_is_busy() {
    let mut harness = standard();
    open(&mut harness, &["ankle-boot.png", "coffee.png"]);
    let done = occupy(harness.state().screen.clone());
    harness.state_mut().longest = Duration::ZERO;
    let start = Instant::now();
    for key in [Key::ArrowDown, Key::ArrowRight, Key::H, Key::Num3] {
        harness.key_press(key);
        harness.run_steps(2);
    }
    harness.state_mut().app().load(Source::Embedded, Adapter::Window);
    harness.key_press(Key::Num1);
    while !done.load(Ordering::Relaxed) {
        harness.step();
    }
    let (busy, longest) = (start.elapsed(), harness.state().longest);
    println!("{longest:?} of {busy:?}");
    assert!(longest < busy / 3, "a frame took {longest:?} while the GPU was busy for {busy:?}");
    settle(&mut harness);
    assert_eq!(harness.state_mut().app().messages(), [""; 0]);
}

#[test]
fn a_window_that_lost_its_device_draws_no_more_and_leaves_its_pictures_to_another() {
    let mut harness = standard();
    harness.event(Event::PasteImage(Arc::new(ColorImage::filled([40, 30], eframe::egui::Color32::from_gray(90)))));
    wait(&mut harness, "pasted picture", |app| app.pictures().count() == 1);
    harness.state_mut().app().open(picture("bag.png"));
    wait(&mut harness, "picture", |app| app.pictures().count() == 2);
    harness.key_press(Key::ArrowRight);
    harness.key_press(Key::Num2);
    settle(&mut harness);
    assert!(harness.state_mut().app().lost().is_none() && shows(&harness, "bag.png"));

    let device = harness.state().screen.device.clone();
    device.destroy();
    // As the next submission does.
    device.poll(wgpu::PollType::Poll).unwrap();
    // The worker finds out too, and nobody panics.
    harness.key_press(Key::Num1);
    harness.run_steps(4);
    assert!(harness.state_mut().app().lost().is_some());
    assert!(!shows(&harness, "bag.png") && !shows(&harness, "Open"));
    let session = harness.state_mut().app().session();
    drop(harness);

    let mut harness = window(SMALL, Theme::Dark, session.settings.clone());
    harness.run_steps(1);
    harness.state_mut().app().resume(session);
    wait(&mut harness, "pictures", |app| app.pictures().eq(["pasted", "bag.png"]));
    settle(&mut harness);
    assert_eq!(best(&mut harness), "Bag");
    assert!(shows(&harness, "filters of"));
}

#[test]
fn another_adapter_gives_the_same_maps() {
    let mut harness = window(SMALL, Theme::Dark, Settings { contrast: Contrast::Layer, ..Settings::default() });
    open(&mut harness, &["ankle-boot.png"]);
    // Clicks leave no trace in what is drawn.
    let shared = harness.render().unwrap();
    let info = harness.state().screen.adapter.get_info();
    harness.state_mut().app().load(Source::Embedded, Adapter::other(&info));
    settle(&mut harness);
    assert_eq!(harness.state_mut().app().settings().adapter, Adapter::other(&info));
    assert_eq!(best(&mut harness), "Ankle boot");
    let apart = harness.render().unwrap();
    // The maps lie right of the picture, between the buttons and the strip.
    let differing = shared
        .enumerate_pixels()
        .filter(|(x, y, pixel)| {
            let other = apart.get_pixel(*x, *y);
            let off = pixel.0.iter().zip(other.0).any(|(a, b)| a.abs_diff(b) > 2);
            *x > 400 && (160..480).contains(y) && off
        })
        .count();
    assert_eq!(differing, 0);
}
