//! Apps without a window, on whatever adapter Bevy finds: a GPU, or Mesa's software Vulkan.

mod features;
mod similar;

use std::{
    io,
    sync::{
        Arc, Mutex, MutexGuard, Once, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use alexnet_wgpu::{
    Classifier, Gpu, GpuOptions, InputError, Model, Picture, Pipeline, PipelineError, Prediction, wgpu,
};
use bevy::{
    app::{PluginsState, TerminalCtrlCHandlerPlugin},
    asset::RenderAssetUsages,
    camera::{RenderTarget, Viewport, visibility::RenderLayers},
    log::{LogPlugin, tracing_subscriber},
    prelude::*,
    render::{
        RenderApp,
        error_handler::{ErrorType, RenderErrorHandler, RenderErrorPolicy},
        pipelined_rendering::PipelinedRenderingPlugin,
        render_resource::{TextureFormat, TextureUsages},
        renderer::{RenderDevice, RenderGraph, RenderGraphSystems, RenderQueue},
        settings::{WgpuSettings, WgpuSettingsPriority},
    },
};

use crate::{
    AlexNetError, AlexNetPlugin, Classify, Labels, NotClassified, headless, image_of,
    render::{
        built::Built,
        cameras::Cameras,
        network::{self, Network, Running},
    },
};

const PATIENCE: Duration = Duration::from_secs(120);

/// An app that is updated by hand, alone on the machine: its frames are timed.
struct World {
    app: App,
    layers: usize,
    _alone: MutexGuard<'static, ()>,
}

fn world(plugin: AlexNetPlugin) -> World {
    with(plugin, default(), false)
}

fn with(plugin: AlexNetPlugin, settings: WgpuSettings, pipelined: bool) -> World {
    static ALONE: Mutex<()> = Mutex::new(());
    let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    listen();
    let mut plugins =
        headless(plugin, settings).unwrap().disable::<LogPlugin>().disable::<TerminalCtrlCHandlerPlugin>();
    if !pipelined {
        // The render world can be looked into then.
        plugins = plugins.disable::<PipelinedRenderingPlugin>();
    }
    let mut app = App::new();
    app.add_plugins(plugins);
    while app.plugins_state() == PluginsState::Adding {
        std::thread::yield_now();
    }
    app.finish();
    app.cleanup();
    World { app, layers: 0, _alone: alone }
}

impl World {
    fn add(&mut self, image: Image) -> Handle<Image> {
        self.app.world_mut().resource_mut::<Assets<Image>>().add(image)
    }

    /// A camera before which there is nothing but a picture, texel on texel: into an image of that size.
    fn camera(&mut self, picture: &Picture) -> Entity {
        let target = Image::new_target_texture(picture.width(), picture.height(), TextureFormat::Rgba8UnormSrgb, None);
        self.camera_into(picture, target)
    }

    fn camera_into(&mut self, picture: &Picture, target: Image) -> Entity {
        self.layers += 1;
        let layer = RenderLayers::layer(self.layers);
        let [shown, target] = [image_of(picture), target].map(|image| self.add(image));
        let world = self.app.world_mut();
        world.spawn((Sprite::from_image(shown), layer.clone()));
        let order = self.layers as isize;
        world.spawn((Camera2d, Camera { order, ..default() }, RenderTarget::Image(target.into()), layer, Classify)).id()
    }

    /// A camera that sees nothing but a colour: sprites of Bevy 0.20.1 do not survive a recovery.
    fn plain_camera(&mut self, color: Color, target: Handle<Image>) -> Entity {
        let camera = Camera { clear_color: ClearColorConfig::Custom(color), ..default() };
        self.app.world_mut().spawn((Camera2d, camera, RenderTarget::Image(target.into()))).id()
    }

    /// Loses the device, and waits until Bevy has made another.
    fn lose_device(&mut self) {
        static RECOVERED: AtomicBool = AtomicBool::new(false);
        RECOVERED.store(false, Ordering::Relaxed);
        self.app.world_mut().insert_resource(RenderErrorHandler(|error, _, _| {
            assert_eq!(error.ty, ErrorType::DeviceLost);
            RECOVERED.store(true, Ordering::Relaxed);
            RenderErrorPolicy::Recover(default())
        }));
        let lost = self.app.world().resource::<RenderDevice>().wgpu_device().clone();
        lost.destroy();
        // wgpu says so in a poll after the last work is done, and Bevy's frames do not poll a device that is lost.
        self.until(|_| {
            let _ = lost.poll(wgpu::PollType::Poll);
            RECOVERED.load(Ordering::Relaxed)
        });
        // Two frames later the other device is there, and with it a new beginning.
        self.frames(3);
    }

    fn labels(&self, camera: Entity) -> Option<&Labels> {
        self.app.world().get(camera)
    }

    /// The most likely class.
    fn top(&self, camera: Entity) -> &str {
        self.labels(camera).map_or("nothing", |labels| &labels[0].label)
    }

    fn error(&self, camera: Entity) -> Option<&AlexNetError> {
        self.get::<NotClassified>(camera).map(|error| &*error.0)
    }

    fn get<C: Component>(&self, entity: Entity) -> Option<&C> {
        self.app.world().get(entity)
    }

    fn entity(&mut self, entity: Entity) -> EntityWorldMut<'_> {
        self.app.world_mut().entity_mut(entity)
    }

    /// Frames until `there` holds.
    fn until(&mut self, there: impl Fn(&Self) -> bool) -> usize {
        let start = Instant::now();
        let mut frames = 0;
        while !there(self) {
            assert!(start.elapsed() < PATIENCE, "not within {frames} frames and {PATIENCE:?}");
            self.app.update();
            frames += 1;
        }
        frames
    }

    fn frames(&mut self, count: usize) {
        for _ in 0..count {
            self.app.update();
        }
    }

    /// A resource of the render world.
    fn rendered<R: Resource>(&self) -> &R {
        self.app.sub_app(RenderApp).world().resource()
    }

    fn watched(&self) -> usize {
        self.rendered::<Cameras<Classify>>().watched.len()
    }

    /// The network, once it is built.
    fn running(&self) -> Option<&Running> {
        match &self.rendered::<Network>().0 {
            Some(Built::Ready(running)) => Some(running),
            _ => None,
        }
    }
}

fn picture(name: &str) -> Picture {
    Picture::open(format!("{}/../pictures/{name}.png", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

fn plugin() -> AlexNetPlugin {
    AlexNetPlugin::embedded().unwrap()
}

/// What the library says of a picture, as `alexnet classify` does.
fn expected(picture: &Picture) -> Vec<Prediction> {
    let gpu = Gpu::open_blocking(&GpuOptions::default()).unwrap();
    let classifier = Classifier::new(&gpu, &Model::embedded().unwrap(), 5).unwrap();
    classifier.classify_blocking(picture).unwrap()
}

/// All that was logged as an error.
static LOGGED: Mutex<Vec<u8>> = Mutex::new(Vec::new());

struct Log;

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        LOGGED.lock().unwrap().extend(bytes);
        io::stderr().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn listen() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let subscriber = tracing_subscriber::fmt().with_max_level(bevy::log::Level::ERROR).with_ansi(false);
        subscriber.with_writer(|| Log).init();
    });
}

fn logged(text: &str) -> usize {
    String::from_utf8_lossy(&LOGGED.lock().unwrap()).matches(text).count()
}

/// Several cameras, each with labels of its own image: the classes of the library, as likely to within what the kernel
/// that reads textures may differ by.
#[test]
fn cameras_get_the_labels_of_the_library() {
    let names = ["ankle-boot", "bag", "trouser"];
    let mut world = world(plugin());
    let cameras = names.map(|name| world.camera(&picture(name)));
    let seen = names.map(|name| expected(&picture(name)));
    assert_eq!(seen.each_ref().map(|s| s[0].label.as_str()), ["Ankle boot", "Bag", "Trouser"]);
    world.until(|world| cameras.iter().zip(&seen).all(|(&camera, seen)| world.top(camera) == seen[0].label));
    // The frames before the sprites' shader was compiled are through.
    world.frames(20);
    for (&camera, seen) in cameras.iter().zip(&seen) {
        let labels = world.labels(camera).unwrap();
        assert_eq!(labels.len(), 5);
        assert_eq!(labels[0].index, seen[0].index);
        let difference = (labels[0].probability - seen[0].probability).abs();
        assert!(difference < 0.01, "{:?} and {:?}", labels[0], seen[0]);
    }

    // Another picture before the same camera.
    let other = image_of(&picture("t-shirt"));
    let other = world.add(other);
    let mut sprites = world.app.world_mut().query::<&mut Sprite>();
    for mut sprite in sprites.iter_mut(world.app.world_mut()) {
        sprite.image = other.clone();
    }
    world.until(|world| cameras.iter().all(|&camera| world.top(camera) == "T-shirt/top"));
}

/// What lies beside the viewport is not looked at.
#[test]
fn viewports() {
    let mut world = world(plugin());
    let boot = picture("ankle-boot");
    let target = Image::new_target_texture(200, 100, TextureFormat::Bgra8Unorm, None);
    let camera = world.camera_into(&boot, target);
    let viewport = Viewport { physical_position: UVec2::new(150, 40), physical_size: UVec2::new(28, 28), ..default() };
    world.app.world_mut().get_mut::<Camera>(camera).unwrap().viewport = Some(viewport);
    let seen = expected(&boot);
    world.until(|world| world.top(camera) == seen[0].label);
    world.frames(20);
    let first = &world.labels(camera).unwrap()[0];
    assert!((first.probability - seen[0].probability).abs() < 0.01, "{first:?} and {:?}", seen[0]);
}

/// Spread over frames, one layer in each, it is the same to the bit; and so it is where Bevy draws beside the next frame.
#[test]
fn budgets_and_pipelined_rendering_change_nothing() {
    let coat = picture("coat");
    let labels = |plugin, pipelined| {
        let mut world = with(plugin, default(), pipelined);
        let camera = world.camera(&coat);
        let top = expected(&coat)[0].label.clone();
        world.until(|world| world.top(camera) == top);
        // An inference that began before the first whole frame may still be on its way.
        world.frames(100);
        world.labels(camera).unwrap().clone()
    };
    let whole = labels(plugin(), false);
    assert_eq!(labels(AlexNetPlugin { budget: Some(Duration::ZERO), ..plugin() }, false), whole);
    assert_eq!(labels(AlexNetPlugin { budget: Some(Duration::from_secs(1)), ..plugin() }, true), whole);
}

/// While the device is busy for long, the plugin's part of a frame goes through at once.
#[test]
fn no_frame_waits_for_the_device() {
    let mut world = world(plugin());
    let camera = world.camera(&picture("sandal"));
    world.until(|world| world.top(camera) == "Sandal");
    world.frames(20);

    // The whole frame is no measure: with lavapipe, each submission waits within the driver for the one before.
    let recorded: Arc<Mutex<Vec<Instant>>> = Arc::default();
    let note = recorded.clone();
    let note = move || note.lock().unwrap().push(Instant::now());
    let render_app = world.app.sub_app_mut(RenderApp);
    render_app.add_systems(RenderGraph, note.after(network::encode).before(RenderGraphSystems::Submit));

    let main = world.app.world();
    let device = main.resource::<RenderDevice>().wgpu_device().clone();
    let queue = wgpu::Queue::clone(main.resource::<RenderQueue>());
    let model = Model::embedded().unwrap();
    let gpu = Gpu::from_device(device.clone(), queue.clone()).unwrap();
    let load = Pipeline::builder(&gpu, &model.network, &model.weights).build().unwrap();
    // As much as takes this device a second or two.
    let start = Instant::now();
    load.run_top_again_blocking().unwrap();
    let runs = (1.5 / start.elapsed().as_secs_f64()).ceil() as usize;
    let mut encoder = device.create_command_encoder(&default());
    (0..runs).for_each(|_| load.encode(&mut encoder));

    let done = Arc::new(Mutex::new(None));
    let tell = done.clone();
    let start = Instant::now();
    queue.submit([encoder.finish()]);
    queue.on_submitted_work_done(move || *tell.lock().unwrap() = Some(Instant::now()));
    world.until(|_| done.lock().unwrap().is_some());
    let busy = done.lock().unwrap().unwrap() - start;
    let recorded: Vec<Duration> = recorded.lock().unwrap().iter().map(|&at| at - start).collect();
    println!("the device was busy for {busy:?}; frames were recorded after {recorded:?}");
    assert!(busy > Duration::from_millis(300), "the device was busy for {busy:?} only");
    assert!(recorded[0] < busy / 2, "busy for {busy:?}, recorded after {recorded:?}");
    assert!(
        world.running().is_some_and(|running| !running.tickets.is_empty()),
        "a result that is on its way was waited for"
    );
    world.frames(20);
    assert_eq!(world.top(camera), "Sandal");
}

/// A camera that is gone, or is not to be classified any more, leaves nothing behind.
#[test]
fn what_is_gone_is_forgotten() {
    let mut world = world(plugin());
    let [gone, unmarked, asleep] = ["dress", "shirt", "sneaker"].map(|name| world.camera(&picture(name)));
    world.until(|world| [gone, unmarked, asleep].iter().all(|&camera| world.labels(camera).is_some()));
    assert_eq!(world.watched(), 3);

    let main = world.app.world_mut();
    main.despawn(gone);
    main.entity_mut(unmarked).remove::<Classify>();
    main.flush();
    assert!(main.get::<Labels>(unmarked).is_none());
    main.get_mut::<Camera>(asleep).unwrap().is_active = false;
    world.frames(1);
    assert_eq!(world.watched(), 0);
    // Results that were on their way come to nobody.
    world.until(|world| world.running().is_some_and(|running| running.tickets.is_empty()));
    assert!(world.labels(unmarked).is_none());

    // And it begins again.
    world.app.world_mut().entity_mut(unmarked).insert(Classify);
    world.until(|world| world.labels(unmarked).is_some());
}

/// What cannot be classified says why, once, and disturbs nobody; what was mended is classified.
#[test]
fn unsuitable_cameras_say_why() {
    let mut world = world(plugin());
    let boot = picture("ankle-boot");
    let good = world.camera(&boot);
    let grey = world.camera_into(&boot, Image::new_target_texture(28, 28, TextureFormat::R8Unorm, None));
    let mut unbound = Image::new_target_texture(28, 28, TextureFormat::Rgba8UnormSrgb, None);
    unbound.texture_descriptor.usage -= TextureUsages::TEXTURE_BINDING;
    unbound.asset_usage = RenderAssetUsages::RENDER_WORLD;
    let unbound = world.camera_into(&boot, unbound);
    let window = world.app.world_mut().spawn((Camera2d, Classify)).id();
    let bare = world.app.world_mut().spawn(Classify).id();

    world.until(|world| {
        [grey, unbound, window, bare].iter().all(|&camera| world.error(camera).is_some())
            && world.top(good) == "Ankle boot"
    });
    world.frames(20);
    for camera in [grey, unbound, window, bare] {
        assert!(world.labels(camera).is_none());
    }
    let format = |error: Option<&AlexNetError>| {
        matches!(error, Some(AlexNetError::Input(InputError::Format { found: TextureFormat::R8Unorm, .. })))
    };
    assert!(format(world.error(grey)));
    assert!(matches!(
        world.error(unbound),
        Some(AlexNetError::Input(InputError::Usage { missing: "TEXTURE_BINDING" }))
    ));
    assert!(matches!(world.error(window), Some(AlexNetError::Target { found: "a camera for a window" })));
    assert!(matches!(world.error(bare), Some(AlexNetError::Target { found: "an entity without a camera" })));
    for text in ["found R8Unorm", "expected the usage TEXTURE_BINDING", "a camera for a window", "without a camera"] {
        assert_eq!(logged(text), 1, "{text}");
    }

    let target = Image::new_target_texture(28, 28, TextureFormat::Rgba16Float, None);
    let target = world.add(target);
    world.app.world_mut().entity_mut(grey).insert(RenderTarget::Image(target.into()));
    world.until(|world| world.top(grey) == "Ankle boot");
    assert!(world.error(grey).is_none());
}

/// A network that cannot be built is an error of every camera.
#[test]
fn broken_networks_say_why() {
    let mut model = Model::embedded().unwrap();
    model.weights.remove("conv1.weight");
    let mut world = world(AlexNetPlugin::new(model));
    let camera = world.camera(&picture("bag"));
    world.until(|world| world.error(camera).is_some());
    let error = world.error(camera).unwrap();
    assert!(matches!(error, AlexNetError::Pipeline(PipelineError::Tensors(_))), "{error}");
}

/// The app's blocklist reaches the choice of kernels.
#[test]
fn blocked_kernels_are_not_used() {
    let mut world = world(AlexNetPlugin { blocklist: "tiled,broadcast".parse().unwrap(), ..plugin() });
    let camera = world.camera(&picture("bag"));
    world.until(|world| world.error(camera).is_some());
    let error = world.error(camera).unwrap();
    assert!(matches!(error, AlexNetError::Pipeline(PipelineError::Blocked { .. })), "{error}");
}

/// When Bevy makes another device, the network follows it.
#[test]
fn lost_devices_are_recovered_from() {
    let mut world = world(plugin());
    let grey = Picture::from_rgb8(28, 28, vec![200; 3 * 28 * 28]).unwrap();
    let target = world.add(Image::new_target_texture(28, 28, TextureFormat::Rgba8UnormSrgb, None));
    let camera = world.plain_camera(Color::srgb_u8(200, 200, 200), target);
    world.entity(camera).insert(Classify);
    let seen = expected(&grey);
    let right = |world: &World| {
        let first = world.labels(camera).and_then(|labels| labels.first());
        first
            .is_some_and(|first| first.index == seen[0].index && (first.probability - seen[0].probability).abs() < 0.01)
    };
    world.until(right);
    world.lose_device();
    world.entity(camera).remove::<Labels>();
    world.until(right);
    assert!(world.error(camera).is_none());
}

/// A device that has no more than WebGPU promises and what is asked for.
#[test]
fn least_devices_are_enough() {
    let settings = WgpuSettings { priority: WgpuSettingsPriority::WebGPU, ..default() };
    let mut world = with(plugin(), settings, false);
    let features = world.app.world().resource::<RenderDevice>().features();
    assert!(!features.contains(wgpu::Features::SUBGROUP));
    let camera = world.camera(&picture("trouser"));
    world.until(|world| world.top(camera) == "Trouser");
}

/// Limits that a host has lowered are raised to what is needed, and no further.
#[test]
fn limits_are_asked_for() {
    let plugin = plugin();
    let low = wgpu::Limits::downlevel_webgl2_defaults();
    let settings = WgpuSettings { limits: low.clone(), constrained_limits: Some(low.clone()), ..default() };
    let asked = plugin.wgpu_settings(settings).unwrap();
    for limits in [asked.limits, asked.constrained_limits.unwrap()] {
        assert!(limits.max_storage_buffers_per_shader_stage > low.max_storage_buffers_per_shader_stage);
        assert!(limits.max_compute_invocations_per_workgroup > low.max_compute_invocations_per_workgroup);
        assert_eq!(limits.max_texture_dimension_2d, low.max_texture_dimension_2d);
    }
}
