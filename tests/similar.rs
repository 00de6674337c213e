//! Features for look-alikes: against the f64 reference, and the time of a search.
#![cfg(feature = "imagenet")]
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod common;

use std::time::Instant;

use alexnet_wgpu::{
    FeatureError, FeatureExtractor, FeatureSpec, Model, Network, Picture, PooledLayer, Pooling, RunError, nearest,
    reference, similar_pairs, splitmix,
};

/// Every layer's activation in f64.
fn activations(model: &Model, input: &[f32]) -> Vec<Vec<f64>> {
    let input: Vec<f64> = input.iter().map(|&x| f64::from(x)).collect();
    reference::run(&model.network, &model.weights, &input).unwrap()
}

/// The vector of a picture in f64.
fn exact(model: &Model, spec: &FeatureSpec, activations: &[Vec<f64>]) -> Vec<f64> {
    let normalised = |values: Vec<f64>| -> Vec<f64> {
        let norm = values.iter().map(|x| x * x).sum::<f64>().sqrt();
        values.into_iter().map(|x| x / norm).collect()
    };
    let layer = |pooled: &PooledLayer| {
        let index = model.network.layers().iter().position(|layer| layer.name == pooled.layer).unwrap();
        let shape = model.network.layers()[index].output;
        let (height, width) = (shape.height, shape.width);
        let band = |map: &[f64], i: usize| {
            map[i * height / spec.bands * width..((i + 1) * height).div_ceil(spec.bands) * width].to_vec()
        };
        let maps = activations[index].chunks_exact(height * width);
        let maps = maps.flat_map(|map| (0..spec.bands).map(|i| band(map, i)).collect::<Vec<_>>());
        let number = |map: Vec<f64>| {
            let power = |p: f64| (map.iter().map(|x| x.max(0.0).powf(p)).sum::<f64>() / map.len() as f64).powf(1.0 / p);
            let value = match pooled.pooling {
                Pooling::Mean => map.iter().sum::<f64>() / map.len() as f64,
                Pooling::Max => map.iter().copied().fold(f64::NEG_INFINITY, f64::max),
                Pooling::GeneralizedMean(p) => power(f64::from(p)),
                other => panic!("{other}"),
            };
            if spec.root { value.max(0.0).sqrt() } else { value }
        };
        normalised(maps.map(number).collect())
    };
    normalised(spec.layers.iter().flat_map(layer).collect())
}

fn noise(seed: u64) -> Picture {
    let rgb = splitmix::uniform(seed, 3 * 90 * 70, 128.0).iter().map(|x| (x + 128.0) as u8).collect();
    Picture::from_rgb8(90, 70, rgb).unwrap()
}

#[test]
fn features_are_those_of_the_reference() {
    let mut model = FeatureSpec::imagenet_model().unwrap();
    let small = FeatureSpec::new([
        PooledLayer::new("conv3", Pooling::Mean),
        PooledLayer::new("pool1", Pooling::Max),
        PooledLayer::new("conv2", Pooling::GeneralizedMean(3.0)),
        PooledLayer::new("conv4", Pooling::GeneralizedMean(2.5)),
    ]);
    let prepare = |seed| model.preprocessing.apply(&noise(seed)).unwrap();
    let pictures: Vec<Vec<f32>> = (0..2).map(prepare).collect();
    let expected: Vec<_> = pictures.iter().map(|picture| activations(&model, picture)).collect();
    for spec in [FeatureSpec::default(), small.clone(), small.clone().root(true), small.bands(4)] {
        let extractor = FeatureExtractor::new(common::gpu(), &model, &spec, 3).unwrap();
        assert_eq!(extractor.preprocess(&noise(0)).unwrap(), pictures[0]);
        let found = extractor.extract_blocking(&pictures.concat()).unwrap();
        assert_eq!(found.len(), 2 * extractor.dims());
        for (expected, found) in expected.iter().zip(found.chunks_exact(extractor.dims())) {
            let error = reference::relative_error(found, &exact(&model, &spec, expected));
            assert!(error < 2e-6, "{spec:?}: {error:.1e}");
        }
        // Fewer pictures: the same vectors.
        let fewer = extractor.extract_blocking(&pictures[0]).unwrap();
        assert_eq!(fewer, found[..extractor.dims()]);
        for wrong in [0, 1, pictures[0].len() * 4] {
            let error = extractor.extract_blocking(&vec![0.0; wrong]).unwrap_err();
            assert!(matches!(error, RunError::Input { .. }), "{error}");
        }
    }
    for (spec, part) in [
        (FeatureSpec::new([]), "at least one layer"),
        (FeatureSpec::default().bands(0), "1 to 64 bands, found 0"),
        (FeatureSpec::new([PooledLayer::new("conv9", Pooling::Mean)]), "conv9"),
        (FeatureSpec::new([PooledLayer::new("conv2", Pooling::GeneralizedMean(0.5))]), "exponent of at least 1"),
    ] {
        let error: FeatureError = FeatureExtractor::new(common::gpu(), &model, &spec, 1).unwrap_err();
        assert!(error.to_string().contains(part), "{error}");
    }
    // The specification is kept in files.
    let json = serde_json::to_string(&FeatureSpec::default()).unwrap();
    assert_eq!(serde_json::from_str::<FeatureSpec>(&json).unwrap(), FeatureSpec::default());
    // A network of another input.
    let shape = alexnet_wgpu::Shape::new(3, 96, 128);
    model.network = Network::with_input(&model.network, shape).unwrap();
    let spec = FeatureSpec::default();
    let extractor = FeatureExtractor::new(common::gpu(), &model, &spec, 1).unwrap();
    let input = splitmix::uniform(9, shape.len(), 2.0);
    let error = reference::relative_error(
        &extractor.extract_blocking(&input).unwrap(),
        &exact(&model, &spec, &activations(&model, &input)),
    );
    assert!(error < 2e-6, "{error:.1e}");
}

/// A copy is nearer than anything else, and a picture is its own nearest.
#[test]
fn look_alikes_have_a_large_cosine() {
    let extractor = FeatureExtractor::imagenet(common::gpu(), 4).unwrap();
    let open = |name: &str| Picture::open(format!("{}/examples/pictures/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap();
    let pictures = ["chelsea.png", "coffee.png", "rocket.jpg", "ankle-boot.png"].map(open);
    let inputs: Vec<f32> = pictures.iter().flat_map(|picture| extractor.preprocess(picture).unwrap()).collect();
    let vectors = extractor.extract_blocking(&inputs).unwrap();
    for (index, picture) in pictures.iter().enumerate() {
        let dark = picture.rgb().iter().map(|&sample| (f32::from(sample) * 0.7) as u8 + 10).collect();
        let dark = Picture::from_rgb8(picture.width(), picture.height(), dark).unwrap();
        let query = extractor.extract_blocking(&extractor.preprocess(&dark).unwrap()).unwrap();
        let found = nearest(&query, &vectors, 2);
        assert_eq!(found[0].index, index, "{found:?}");
        assert!(found[0].cosine > found[1].cosine + 0.1, "{found:?}");
        let own = nearest(&vectors[index * extractor.dims()..][..extractor.dims()], &vectors, 1)[0];
        assert!(own.index == index && (own.cosine - 1.0).abs() < 1e-5, "{own:?}");
    }
}

/// By name, since it takes time and memory: 100,000 vectors, as `docs/testing.md` says.
#[test]
#[ignore = "a measurement"]
fn the_time_of_a_search() {
    let dims = FeatureExtractor::imagenet(common::gpu(), 1).unwrap().dims();
    let count = 100_000;
    let vectors: Vec<f32> = splitmix::uniform(1, count * dims, 1.0 / (dims as f32).sqrt());
    let mut times = Vec::new();
    for seed in 0..21 {
        let query = splitmix::uniform(seed + 2, dims, 1.0);
        let start = Instant::now();
        let found = nearest(&query, &vectors, 10);
        times.push(start.elapsed().as_secs_f64() * 1e3);
        assert_eq!(found.len(), 10);
    }
    times.sort_by(f64::total_cmp);
    println!("{count} vectors of {dims} numbers: {:.1} ms, at least {:.1}", times[10], times[0]);
    let (few, start) = (10_000, Instant::now());
    let pairs = similar_pairs(&vectors[..few * dims], dims, 2.0, &|_| {}).len();
    println!("all pairs of {few}: {:.1} s, {pairs} found", start.elapsed().as_secs_f64());
    assert!(times[10] <= 50.0, "{times:?}");
}
