//! Comparisons with golden images.

use alexnet_snapshots::assert_similar;
use alexnet_wgpu::{CompareError, Comparer, Comparison};
use bevy::render::view::screenshot::{Screenshot, ScreenshotCaptured};

use super::*;
use crate::{NotCompared, Shapes, Similar, Similarity, render::comparisons::Comparisons, with_noise};

/// Of the golden image.
const SIDE: u32 = 256;

impl World {
    fn shapes(&mut self) -> Shapes {
        Shapes::spawn(self.app.world_mut(), SIDE)
    }

    fn compare(&mut self, camera: Entity, golden: Image) {
        let to = self.add(golden);
        self.entity(camera).insert(Similar { to });
    }

    fn similarity(&self, camera: Entity) -> Option<&Comparison> {
        self.get::<Similarity>(camera).map(|similarity| &similarity.0)
    }

    fn not_compared(&self, camera: Entity) -> Option<&AlexNetError> {
        self.get::<NotCompared>(camera).map(|error| &*error.0)
    }

    /// What a camera drew into an image.
    fn screenshot(&mut self, image: &Handle<Image>) -> Picture {
        let shot: Arc<Mutex<Option<Image>>> = Arc::default();
        let to = shot.clone();
        let keep = move |captured: On<ScreenshotCaptured>| *to.lock().unwrap() = Some(captured.image.clone());
        self.app.world_mut().spawn(Screenshot::image(image.clone())).observe(keep);
        self.until(|_| shot.lock().unwrap().is_some());
        let image = shot.lock().unwrap().take().unwrap();
        let (width, height) = (image.width(), image.height());
        Picture::from_rgb8(width, height, image.try_into_dynamic().unwrap().to_rgb8().into_raw()).unwrap()
    }

    /// What is there to see from the first whole frame on.
    fn settled(&mut self, image: &Handle<Image>) -> Picture {
        self.frames(20);
        self.screenshot(image)
    }
}

fn golden() -> Picture {
    Picture::open(concat!(env!("CARGO_MANIFEST_DIR"), "/assets/shapes.png")).unwrap()
}

/// The scene looks like its golden image on every driver: `UPDATE_SNAPSHOTS=1` makes that anew.
#[test]
fn the_scene_is_the_golden_one() {
    let mut world = world(plugin());
    let scene = world.shapes();
    let seen = world.settled(&scene.image);
    assert_similar!("assets/shapes.png", seen);
}

/// The same scene, one with noise, and one without its light: as the library compares their pictures.
#[test]
fn scenes_are_compared_as_the_library_does() {
    let mut world = world(plugin());
    let scene = world.shapes();
    let lit = world.settled(&scene.image);
    let gpu = Gpu::open_blocking(&GpuOptions::default()).unwrap();
    let comparer = Comparer::new(&gpu).unwrap();
    let check = |found: &Comparison, golden: &Picture, seen: &Picture| {
        println!("LPIPS {:.6}, PSNR {:.2} dB, largest {}", found.lpips, found.psnr, found.max_difference);
        let expected = comparer.compare_blocking(golden, seen).unwrap();
        assert!((found.lpips - expected.lpips).abs() < 1e-5, "{found:?} and {expected:?}");
        assert_eq!((found.max_difference, found.differing), (expected.max_difference, expected.differing));
        assert!(found.map.is_none());
    };

    world.compare(scene.camera, image_of(&lit));
    world.until(|world| world.similarity(scene.camera).is_some());
    let same = world.similarity(scene.camera).unwrap();
    assert_eq!((same.lpips, same.max_difference, same.psnr), (0.0, 0, f64::INFINITY));
    check(same, &lit, &lit);

    let noisy = with_noise(&lit).unwrap();
    world.compare(scene.camera, image_of(&noisy));
    world.frames(1);
    world.until(|world| world.similarity(scene.camera).is_some());
    let noise = world.similarity(scene.camera).unwrap();
    assert!(noise.lpips > 0.0 && noise.lpips < 0.01, "{noise:?}");
    assert_eq!((noise.max_difference, noise.differing), (1, 1.0));
    check(noise, &noisy, &lit);

    world.compare(scene.camera, image_of(&lit));
    world.app.world_mut().despawn(scene.light);
    let dark = world.settled(&scene.image);
    world.until(|world| world.similarity(scene.camera).is_some_and(|found| found.lpips > 0.1));
    world.frames(20);
    check(world.similarity(scene.camera).unwrap(), &lit, &dark);
    // Nobody has asked for the network.
    assert!(world.rendered::<Network>().0.is_none());
}

/// A golden file that Bevy loads; nothing is said before it is there. Another that is not there is an error, once.
#[test]
fn golden_images_are_loaded() {
    let mut world = world(plugin());
    let scene = world.shapes();
    let load = |world: &World, name: &'static str| world.app.world().resource::<AssetServer>().load(name);
    let to = load(&world, "no-such.png");
    world.entity(scene.camera).insert(Similar { to });
    world.until(|world| world.not_compared(scene.camera).is_some());
    assert!(matches!(world.not_compared(scene.camera), Some(AlexNetError::Golden(_))));
    world.frames(20);
    assert_eq!(logged("the golden image cannot be loaded"), 1);

    let to = load(&world, "shapes.png");
    world.entity(scene.camera).insert(Similar { to });
    world.until(|world| world.similarity(scene.camera).is_some_and(|found| found.lpips < 0.02));
    assert!(world.not_compared(scene.camera).is_none());

    // An image that never comes is waited for.
    let to = world.app.world().resource::<Assets<Image>>().reserve_handle();
    world.entity(scene.camera).insert(Similar { to });
    world.frames(20);
    assert!(world.similarity(scene.camera).is_none() && world.not_compared(scene.camera).is_none());
}

/// Cameras for images of several formats, with viewports, take turns; what they draw is the golden picture to within the
/// rounding of its format.
#[test]
fn several_cameras_take_turns() {
    let mut world = world(plugin());
    let scene = world.shapes();
    world.compare(scene.camera, image_of(&golden()));
    let shown = golden();
    let flat = [TextureFormat::Rgba8UnormSrgb, TextureFormat::Bgra8Unorm, TextureFormat::Rgba16Float].map(|format| {
        let camera = world.camera_into(&shown, Image::new_target_texture(300, 280, format, None));
        let viewport =
            Viewport { physical_position: UVec2::new(30, 12), physical_size: UVec2::splat(SIDE), ..default() };
        world.entity(camera).remove::<Classify>();
        world.entity(camera).get_mut::<Camera>().unwrap().viewport = Some(viewport);
        world.compare(camera, image_of(&shown));
        (format, camera)
    });
    world.until(|world| flat.iter().all(|&(_, camera)| world.similarity(camera).is_some()));
    world.frames(40);
    for (format, camera) in flat {
        let found = world.similarity(camera).unwrap();
        println!("{format:?}: {found:?}");
        // Linear light in 8 bits leaves few of the dark levels.
        match format {
            TextureFormat::Bgra8Unorm => assert!(found.lpips < 0.05 && found.max_difference < 16, "{found:?}"),
            _ => assert!(found.lpips == 0.0 && found.max_difference == 0, "{format:?}: {found:?}"),
        }
    }
    assert!(world.similarity(scene.camera).unwrap().lpips < 0.02);
}

/// Images that cannot be compared say why, once, and disturb nobody; what was mended is compared.
#[test]
fn unsuitable_images_say_why() {
    let mut world = world(plugin());
    let boot = picture("ankle-boot");
    let target = |side, format| Image::new_target_texture(side, side, format, None);
    let srgb = TextureFormat::Rgba8UnormSrgb;
    let [small, sizes, grey] = [
        (target(30, srgb), target(30, srgb)),
        (target(40, srgb), target(41, srgb)),
        (target(40, srgb), target(40, TextureFormat::Rg8Unorm)),
    ]
    .map(|(target, golden)| {
        let camera = world.camera_into(&boot, target);
        world.compare(camera, golden);
        camera
    });
    let colourless = RenderTarget::None { size: UVec2::splat(SIDE) };
    let colourless = world.app.world_mut().spawn((Camera2d, colourless)).id();
    world.compare(colourless, image_of(&golden()));
    let cameras = [small, sizes, grey, colourless];
    world.until(|world| cameras.iter().all(|&camera| world.not_compared(camera).is_some()));
    world.frames(20);
    let reason = |camera| match world.not_compared(camera) {
        Some(AlexNetError::Compare(error)) => error,
        other => panic!("{other:?}"),
    };
    assert!(matches!(reason(small), CompareError::TooSmall { found: [30, 30] }));
    assert!(matches!(reason(sizes), CompareError::Size { expected: [41, 41], found: [40, 40] }));
    let format = |error: &CompareError| {
        matches!(error, CompareError::Input(InputError::Format { found: TextureFormat::Rg8Unorm, .. }))
    };
    assert!(format(reason(grey)));
    assert!(matches!(world.not_compared(colourless), Some(AlexNetError::Target { .. })));
    for text in ["found 30×30", "found 41×41 and 40×40", "found Rg8Unorm", "draws no colours"] {
        assert_eq!(logged(text), 1, "{text}");
    }
    // They are classified all the same.
    world.until(|world| [small, sizes, grey].iter().all(|&camera| world.top(camera) == "Ankle boot"));

    let target = world.add(target(41, srgb));
    world.entity(sizes).insert(RenderTarget::Image(target.into()));
    world.until(|world| world.similarity(sizes).is_some());
    assert!(world.not_compared(sizes).is_none());
}

/// What is no longer asked for is forgotten, and goes on where it is asked for again.
#[test]
fn removed_requests_leave_nothing() {
    let mut world = world(plugin());
    let scene = world.shapes();
    world.compare(scene.camera, image_of(&golden()));
    world.until(|world| world.similarity(scene.camera).is_some());
    world.entity(scene.camera).remove::<Similar>();
    world.app.world_mut().flush();
    assert!(world.similarity(scene.camera).is_none());
    world.frames(1);
    assert_eq!(world.rendered::<Cameras<Similar>>().watched.len(), 0);
    world.frames(20);
    assert!(world.similarity(scene.camera).is_none());
    world.compare(scene.camera, image_of(&golden()));
    world.until(|world| world.similarity(scene.camera).is_some());

    // A golden image that changes in place is another.
    let to = world.get::<Similar>(scene.camera).unwrap().to.clone();
    let noisy = image_of(&with_noise(&golden()).unwrap());
    *world.app.world_mut().resource_mut::<Assets<Image>>().get_mut(&to).unwrap() = noisy;
    world.until(|world| world.similarity(scene.camera).is_some_and(|found| found.max_difference >= 1));
}

/// Comparisons follow Bevy to another device, and classifications that nobody wants are not begun.
#[test]
fn comparisons_recover_from_lost_devices() {
    let mut world = world(plugin());
    let grey = Color::srgb_u8(200, 200, 200);
    let target = world.add(Image::new_target_texture(40, 40, TextureFormat::Rgba8UnormSrgb, None));
    let camera = world.plain_camera(grey, target);
    let level = |level| image_of(&Picture::from_rgb8(40, 40, vec![level; 3 * 40 * 40]).unwrap());
    world.compare(camera, level(198));
    let right = |world: &World| world.similarity(camera).is_some_and(|found| found.max_difference == 2);
    world.until(right);
    world.lose_device();
    world.entity(camera).remove::<Similarity>();
    world.until(right);
    assert!(world.not_compared(camera).is_none());
    assert!(world.rendered::<Comparisons>().comparer.is_some());
}
