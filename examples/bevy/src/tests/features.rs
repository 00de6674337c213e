//! Layers' values.

use alexnet_wgpu::RunError;

use super::*;
use crate::{Features, LayerOutput, NotExtracted};

fn features(layer: &str) -> Features {
    Features { layer: layer.into() }
}

/// What the library computes for a picture.
fn expected(picture: &Picture, layer: &str) -> Vec<f32> {
    let model = Model::embedded().unwrap();
    let gpu = Gpu::open_blocking(&GpuOptions::default()).unwrap();
    let pipeline = Pipeline::builder(&gpu, &model.network, &model.weights).build().unwrap();
    let input = model.preprocessing.apply(picture).unwrap();
    pipeline.run_layers_blocking(&input, &[layer]).unwrap().remove(0)
}

/// The largest difference, as a part of the largest value.
fn difference(found: &[f32], expected: &[f32]) -> f32 {
    assert_eq!(found.len(), expected.len());
    let largest = |values: &mut dyn Iterator<Item = f32>| values.fold(0.0, |most: f32, value| most.max(value.abs()));
    largest(&mut found.iter().zip(expected).map(|(a, b)| a - b)) / largest(&mut expected.iter().copied())
}

/// Several layers, beside labels and within a budget: each the library's values for that camera.
#[test]
fn cameras_get_the_values_of_layers() {
    let layers = Model::embedded().unwrap().network.layers().iter().map(|l| l.name.clone()).collect::<Vec<_>>();
    let [first, last] = [&layers[0], &layers[layers.len() - 2]];
    for budget in [None, Some(Duration::ZERO)] {
        let mut world = world(AlexNetPlugin { budget, ..plugin() });
        let (boot, bag) = (picture("ankle-boot"), picture("bag"));
        let cameras = [(&boot, first), (&bag, first), (&bag, last)].map(|(picture, layer)| {
            let camera = world.camera(picture);
            world.entity(camera).insert(features(layer));
            (camera, layer, expected(picture, layer))
        });
        // One that is not classified: no labels come of its features.
        world.entity(cameras[2].0).remove::<Classify>();
        world.until(|world| {
            cameras.iter().all(|(camera, _, expected)| {
                let output = world.get::<LayerOutput>(*camera);
                output.is_some_and(|output| difference(&output.values, expected) < 0.02)
            })
        });
        for (camera, layer, _) in &cameras {
            let output = world.get::<LayerOutput>(*camera).unwrap();
            assert_eq!((&output.layer, output.shape.len()), (*layer, output.values.len()));
        }
        world.until(|world| world.top(cameras[0].0) == "Ankle boot" && world.top(cameras[1].0) == "Bag");
        assert!(world.labels(cameras[2].0).is_none());
    }
}

/// Another layer, none such, and none any more.
#[test]
fn layers_may_change() {
    let mut world = world(plugin());
    let camera = world.camera(&picture("coat"));
    world.entity(camera).insert(features("conv1"));
    world.until(|world| world.get::<LayerOutput>(camera).is_some());

    world.entity(camera).insert(features("conv2"));
    world.frames(1);
    assert!(world.get::<LayerOutput>(camera).is_none_or(|output| output.layer == "conv2"));
    world.until(|world| world.get::<LayerOutput>(camera).is_some());

    world.entity(camera).insert(features("conv9"));
    world.until(|world| world.get::<NotExtracted>(camera).is_some());
    let error = world.get::<NotExtracted>(camera).unwrap();
    assert!(matches!(*error.0, AlexNetError::Run(RunError::Layer(_))), "{}", error.0);
    assert!(world.get::<LayerOutput>(camera).is_none());
    world.frames(20);
    assert_eq!(logged("conv9"), 1);

    world.entity(camera).get_mut::<Features>().unwrap().layer = "conv1".into();
    world.until(|world| world.get::<LayerOutput>(camera).is_some());
    assert!(world.get::<NotExtracted>(camera).is_none());
    world.entity(camera).remove::<Features>();
    world.app.world_mut().flush();
    assert!(world.get::<LayerOutput>(camera).is_none());
    world.frames(20);
    assert!(world.get::<LayerOutput>(camera).is_none() && world.labels(camera).is_some());
}
