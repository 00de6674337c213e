//! A scene held against its golden image, without a window: as it is, without its light, and against the same image with
//! noise.
//!
//! ```text
//! cargo run --bin similar
//! ```

use std::{
    error::Error,
    time::{Duration, Instant},
};

use alexnet_bevy::{AlexNetPlugin, NotCompared, Shapes, Similar, Similarity, headless, image_of, with_noise};
use alexnet_wgpu::Picture;
use bevy::{app::PluginsState, prelude::*};

const GOLDEN: &str = "shapes.png";
/// For how long a comparison may fail to come.
const PATIENCE: Duration = Duration::from_secs(120);

fn main() -> Result<(), Box<dyn Error>> {
    let mut app = App::new();
    app.add_plugins(headless(AlexNetPlugin::embedded()?, default())?);
    while app.plugins_state() == PluginsState::Adding {
        std::thread::yield_now();
    }
    app.finish();
    app.cleanup();

    let golden = Picture::open(concat!(env!("CARGO_MANIFEST_DIR"), "/assets/shapes.png"))?;
    let scene = Shapes::spawn(app.world_mut(), golden.width());
    let to = app.world().resource::<AssetServer>().load(GOLDEN);
    app.world_mut().entity_mut(scene.camera).insert(Similar { to: to.clone() });
    report(&mut app, scene.camera, "the scene")?;

    let noisy = app.world_mut().resource_mut::<Assets<Image>>().add(image_of(&with_noise(&golden)?));
    app.world_mut().entity_mut(scene.camera).insert(Similar { to: noisy });
    report(&mut app, scene.camera, "against noise of ±1")?;

    app.world_mut().entity_mut(scene.camera).insert(Similar { to });
    app.world_mut().despawn(scene.light);
    report(&mut app, scene.camera, "without its light")?;
    Ok(())
}

/// Prints the camera's similarity once it has not changed for some frames.
fn report(app: &mut App, camera: Entity, what: &str) -> Result<(), Box<dyn Error>> {
    let start = Instant::now();
    let mut last: Option<Similarity> = None;
    let mut same = 0;
    while same < 20 {
        app.update();
        if let Some(error) = app.world().get::<NotCompared>(camera) {
            return Err(error.to_string().into());
        }
        if start.elapsed() > PATIENCE {
            return Err(format!("no similarity within {PATIENCE:?}").into());
        }
        let now = app.world().get::<Similarity>(camera);
        same = if now.is_some() && now == last.as_ref() { same + 1 } else { 0 };
        last = now.cloned();
    }
    if let Some(Similarity(found)) = last {
        let (lpips, psnr, most, share) = (found.lpips, found.psnr, found.max_difference, 100.0 * found.differing);
        println!(
            "{what}: LPIPS {lpips:.5}, PSNR {psnr:.1} dB, largest difference {most}, {share:.1} % of pixels differ"
        );
    }
    Ok(())
}
