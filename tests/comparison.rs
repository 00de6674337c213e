//! Comparison of pictures: LPIPS against reference values and the f64 twin, and what every comparison must keep to.
#![cfg(feature = "imagenet")]
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod common;

use std::{env, fs, path::Path, sync::OnceLock};

use alexnet_wgpu::{
    AlexNet, CompareError, Comparer, Comparison, Lpips, Model, ModelOptions, Picture, Pipeline, Shape, Tensor,
    TextureSource, Weights, compare_reference, percentile, reference, splitmix, wgpu,
};
use pollster::block_on;

fn comparer() -> &'static Comparer {
    static COMPARER: OnceLock<Comparer> = OnceLock::new();
    COMPARER.get_or_init(|| Comparer::new(common::gpu()).unwrap())
}

fn picture(name: &str) -> Picture {
    Picture::open(format!("{}/examples/pictures/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

/// Rows and columns `from` to `to` of a picture.
fn crop(picture: &Picture, [top, bottom]: [usize; 2], [left, right]: [usize; 2]) -> Picture {
    let rows = picture.rgb().chunks_exact(3 * picture.width() as usize).take(bottom).skip(top);
    let rgb = rows.flat_map(|row| row[3 * left..3 * right].to_vec()).collect();
    Picture::from_rgb8((right - left) as u32, (bottom - top) as u32, rgb).unwrap()
}

/// The same picture with other samples.
fn with(picture: &Picture, change: impl FnOnce(&mut Vec<u8>)) -> Picture {
    let mut rgb = picture.rgb().to_vec();
    change(&mut rgb);
    Picture::from_rgb8(picture.width(), picture.height(), rgb).unwrap()
}

/// A picture of noise in coarse and fine squares.
fn noise(seed: u64, [height, width]: [usize; 2]) -> Picture {
    let coarse = splitmix::uniform(seed, (height / 16 + 1) * (width / 16 + 1) * 3, 100.0);
    let fine = splitmix::uniform(seed + 1, height * width * 3, 28.0);
    let sample = |i: usize| {
        let (y, x, c) = (i / 3 / width, i / 3 % width, i % 3);
        (128.0 + coarse[(y / 16 * (width / 16 + 1) + x / 16) * 3 + c] + fine[i]) as u8
    };
    let rgb = (0..height * width * 3).map(sample).collect();
    Picture::from_rgb8(width as u32, height as u32, rgb).unwrap()
}

fn compare(a: &Picture, b: &Picture) -> Comparison {
    comparer().compare_blocking(a, b).unwrap()
}

/// A pair, its LPIPS and the parts of the layers, computed in float64 by PyTorch with the f16 weights of `alexnet-weights`, and
/// the largest distance of each layer.
type Case = (&'static str, [Picture; 2], f64, [f64; 5], [f64; 5]);

fn cases() -> Vec<Case> {
    let [chelsea, coffee, rocket] = ["chelsea.png", "coffee.png", "rocket.jpg"].map(picture);
    let cleared = with(&coffee, |rgb| rgb.iter_mut().for_each(|v| *v &= 0b1110_0000));
    let width = rocket.width() as usize;
    let mirrored = with(&rocket, |rgb| {
        for row in rgb.chunks_exact_mut(3 * width) {
            let pixels: Vec<[u8; 3]> = row.as_chunks().0.iter().rev().copied().collect();
            row.copy_from_slice(pixels.as_flattened());
        }
    });
    let squared = with(&chelsea, |rgb| {
        for (y, x) in (100..103).flat_map(|y| (100..103).map(move |x| (y, x))) {
            rgb[(y * 451 + x) * 3..][..3].fill(0);
        }
    });
    vec![
        (
            "moved by a pixel",
            [crop(&chelsea, [0, 299], [0, 450]), crop(&chelsea, [1, 300], [1, 451])],
            0.028147437350471566,
            [
                0.0041445027712693865,
                0.005707298599454673,
                0.007663162590294981,
                0.005916709210639866,
                0.004715764178812659,
            ],
            [0.188604169199369, 0.05111125105838386, 0.07344198429620497, 0.028110137450796727, 0.026577810330939325],
        ),
        (
            "the low five bits cleared",
            [coffee.clone(), cleared],
            0.10767752375388394,
            [
                0.0061964601601500885,
                0.026858900340997412,
                0.027065499983246658,
                0.025688983415862832,
                0.021867679853626948,
            ],
            [0.1127390026435417, 0.29668138486165224, 0.269574753137962, 0.23031388894219096, 0.1797442181837401],
        ),
        (
            "mirrored",
            [rocket, mirrored],
            0.2791233142303222,
            [0.0162348953376044, 0.07644942772778296, 0.06472877898210562, 0.08571074166167544, 0.03599947052115377],
            [0.31090772347423307, 0.4772259005974612, 0.3157285499393854, 0.3090404261251601, 0.1637552888936458],
        ),
        (
            "the smallest size",
            [crop(&chelsea, [0, 31], [0, 31]), crop(&coffee, [0, 31], [0, 31])],
            0.3209044783684623,
            [0.07708500853040413, 0.06479275333361988, 0.06527301427287463, 0.047303676707772496, 0.06645002552379115],
            [0.11923888394929114, 0.13058430500696405, 0.06527301427287463, 0.047303676707772496, 0.06645002552379115],
        ),
        (
            "a black square",
            [chelsea, squared],
            0.008934968760573887,
            [
                3.4062010417166614e-05,
                0.0008423871715232146,
                0.0027125057374233798,
                0.0029879552165080706,
                0.0023580586247020563,
            ],
            [0.11955867065839412, 0.13342235643273495, 0.18964367362878576, 0.15984432584679872, 0.1042065230213331],
        ),
    ]
}

/// Writes the pairs as PPM files, and their values, to the folder that ALEXNET_PAIRS names: for tests of other programs.
fn keep(folder: &Path) {
    fs::create_dir_all(folder).unwrap();
    let mut values = Vec::new();
    for (index, (name, pictures, lpips, layers, _)) in cases().into_iter().enumerate() {
        for (which, picture) in ["a", "b"].into_iter().zip(pictures) {
            let mut ppm = format!("P6 {} {} 255\n", picture.width(), picture.height()).into_bytes();
            ppm.extend(picture.rgb());
            fs::write(folder.join(format!("{index}-{which}.ppm")), ppm).unwrap();
        }
        values.push(serde_json::json!({"name": name, "lpips": lpips, "layers": layers}));
    }
    fs::write(folder.join("pairs.json"), serde_json::to_vec(&values).unwrap()).unwrap();
}

/// 1e-5 is the bar for each number.
#[test]
fn lpips_is_that_of_pytorch() {
    if let Some(folder) = env::var_os("ALEXNET_PAIRS") {
        keep(Path::new(&folder));
    }
    for (name, [a, b], lpips, layers, largest) in cases() {
        let found = compare(&a, &b);
        let map = found.map.as_ref().unwrap();
        println!("{name}: {} for {lpips}, off by {:.1e}", found.lpips, f64::from(found.lpips) - lpips);
        assert!((f64::from(found.lpips) - lpips).abs() < 1e-5, "{name}: {} for {lpips}", found.lpips);
        for (index, (layer, largest)) in layers.into_iter().zip(largest).enumerate() {
            assert!((f64::from(found.layers[index]) - layer).abs() < 1e-5, "{name}: {:?} for {layers:?}", found.layers);
            let most = map.layer(index).unwrap().1.iter().copied().fold(0.0, f32::max);
            assert!((f64::from(most) - largest).abs() < 1e-5, "{name}: {most} for {largest} in layer {index}");
        }
        // Symmetric, and the same again, bit for bit.
        let swapped = compare(&b, &a);
        assert_eq!(found.lpips.to_bits(), swapped.lpips.to_bits());
        assert_eq!(found, swapped);
        let same = compare(&a, &a);
        assert_eq!((same.lpips, same.layers, same.largest), (0.0, [0.0; 5], 0.0), "{name}");
        assert_eq!((same.psnr, same.max_difference, same.differing), (f64::INFINITY, 0, 0.0));
    }
}

/// Odd sizes, whole and in tiles, against the twin in f64.
#[test]
fn maps_are_those_of_the_twin() {
    let lpips = Lpips::imagenet().unwrap();
    for (seed, size, tile_pixels) in [(1, [33, 47], None), (2, [31, 200], None), (3, [215, 331], Some(250 * 200))] {
        let [a, b] = [noise(seed, size), noise(seed + 10, size)];
        let expected = compare_reference(&lpips, &a, &b).unwrap();
        let mut comparer = Comparer::new(common::gpu()).unwrap();
        if let Some(pixels) = tile_pixels {
            comparer = comparer.tile_pixels(pixels);
        }
        let found = comparer.compare_blocking(&a, &b).unwrap();
        assert!((f64::from(found.lpips) - expected.lpips).abs() < 1e-6, "{size:?}: {} {}", found.lpips, expected.lpips);
        for (found, expected) in found.layers.iter().zip(expected.layers) {
            assert!((f64::from(*found) - expected).abs() < 1e-6, "{size:?}");
        }
        let map = found.map.unwrap();
        assert_eq!([map.height(), map.width()], size);
        let values = map.values();
        let worst = values.iter().zip(&expected.map).map(|(&f, e)| (f64::from(f) - e).abs()).fold(0.0, f64::max);
        assert!(worst < 5e-6, "{size:?}: {worst:e}");
        let largest = values.iter().copied().fold(0.0, f32::max);
        assert!((found.largest - largest).abs() < 1e-6, "{} {largest}", found.largest);
        // The mean of the map is nearly LPIPS, but not quite: positions at the edges count for more pixels.
        let mean = values.iter().map(|&v| f64::from(v)).sum::<f64>() / values.len() as f64;
        assert!((mean - expected.lpips).abs() < 0.1 * expected.lpips, "{mean} {}", expected.lpips);
    }
}

/// Tiles give the same numbers as the whole.
#[test]
fn tiles_are_the_whole() {
    for (size, tile_pixels) in [([500, 700], 100_000), ([333, 1000], 90_000), ([180, 900], 60_000)] {
        let [a, b] = [noise(5, size), noise(6, size)];
        let whole = compare(&a, &b);
        let tiled = Comparer::new(common::gpu()).unwrap().tile_pixels(tile_pixels);
        let tiled = tiled.compare_blocking(&a, &b).unwrap();
        let means = |c: &Comparison| -> Vec<f32> { c.layers.iter().copied().chain([c.lpips]).collect() };
        for (whole, tiled) in means(&whole).iter().zip(means(&tiled)) {
            assert!((whole - tiled).abs() < 1e-6, "{size:?}: {whole} {tiled}");
        }
        // Values at one place, not means: Winograd's tiles lie elsewhere.
        assert!((whole.largest - tiled.largest).abs() < 3e-6, "{size:?}: {} {}", whole.largest, tiled.largest);
        let values = |c: &Comparison| c.map.as_ref().unwrap().values();
        let worst = values(&whole).iter().zip(values(&tiled)).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(worst < 5e-6, "{size:?}: {worst:e}");
        assert_eq!((whole.psnr, whole.max_difference), (tiled.psnr, tiled.max_difference));
        assert!((whole.differing - tiled.differing).abs() < 1e-9);
    }
}

/// PSNR, the largest difference and the share of pixels that differ are those of the samples.
#[test]
fn pixels_are_compared_sample_by_sample() {
    let a = noise(7, [57, 83]);
    let b = with(&a, |rgb| {
        for (i, value) in rgb.iter_mut().enumerate().filter(|(i, _)| i % 37 == 5) {
            *value = value.wrapping_add(1 + (i % 11) as u8);
        }
        rgb[0] ^= 0x80;
    });
    let found = compare(&a, &b);
    let differences: Vec<f64> = a.rgb().iter().zip(b.rgb()).map(|(&a, &b)| f64::from(a.abs_diff(b))).collect();
    let mean_square = differences.iter().map(|d| d * d).sum::<f64>() / differences.len() as f64;
    let psnr = 10.0 * (255.0 * 255.0 / mean_square).log10();
    assert!((found.psnr - psnr).abs() < 1e-4, "{} {psnr}", found.psnr);
    assert_eq!(f64::from(found.max_difference), differences.iter().copied().fold(0.0, f64::max));
    let differing = differences.chunks(3).filter(|pixel| pixel.iter().any(|d| *d > 0.0)).count();
    assert!((found.differing - differing as f64 / (57.0 * 83.0)).abs() < 1e-9);
}

#[test]
fn pictures_that_cannot_be_compared_are_errors() {
    let [small, wide, tall] = [[30, 64], [64, 65], [65, 64]].map(|size| noise(8, size));
    let error = comparer().compare_blocking(&small, &small).unwrap_err();
    assert!(matches!(error, CompareError::TooSmall { found: [64, 30] }), "{error}");
    assert!(error.to_string().contains("31×31") && error.to_string().contains("64×30"), "{error}");
    let error = comparer().compare_blocking(&wide, &tall).unwrap_err();
    assert!(error.to_string().contains("65×64") && error.to_string().contains("64×65"), "{error}");
}

#[test]
fn a_percentile_is_the_nearest_rank() {
    let values: Vec<f32> = (0..100).map(|i| ((i * 37) % 100) as f32).collect();
    let of = |share| percentile(&mut values.clone(), share);
    assert_eq!([of(0.95), of(0.99), of(1.0), of(0.0)], [94.0, 98.0, 99.0, 0.0].map(Some));
    assert_eq!(percentile(&mut [], 0.5), None);
}

/// A host's textures of several formats, whole and as regions, in its own encoder.
#[test]
fn textures_are_compared_in_a_frame() {
    let gpu = common::gpu();
    let size = [90, 131];
    let [a, b] = [noise(20, size), noise(21, size)];
    let expected = compare(&a, &b);
    for (format, margin, tile_pixels) in [
        (wgpu::TextureFormat::Rgba8Unorm, 0, None),
        (wgpu::TextureFormat::Bgra8Unorm, 5, None),
        (wgpu::TextureFormat::Rgba8Unorm, 3, Some(1)),
    ] {
        let [a, b] = [&a, &b].map(|picture| texture(picture, format, margin).create_view(&Default::default()));
        let [a, b] = [&a, &b].map(|view| TextureSource::new(view).region(margin, margin, 131, 90));
        let mut comparer = Comparer::new(gpu).unwrap();
        if let Some(pixels) = tile_pixels {
            comparer = comparer.tile_pixels(pixels);
        }
        let pair = comparer.textures(&a, &b).unwrap();
        for _ in 0..2 {
            let mut encoder = gpu.device().create_command_encoder(&Default::default());
            let ticket = pair.encode(&mut encoder).unwrap();
            gpu.queue().submit([encoder.finish()]);
            gpu.device().poll(wgpu::PollType::wait_indefinitely()).unwrap();
            let found = block_on(ticket).unwrap();
            assert!((found.lpips - expected.lpips).abs() < 1e-6, "{format:?}: {} {}", found.lpips, expected.lpips);
            assert!((found.largest - expected.largest).abs() < 1e-6);
            assert_eq!((found.max_difference, found.differing), (expected.max_difference, expected.differing));
            assert_eq!(found.map, None);
        }
        let found = pair.compare_blocking().unwrap();
        assert!((found.lpips - expected.lpips).abs() < 1e-6, "{format:?}: {} {}", found.lpips, expected.lpips);
        let [found, expected] = [&found, &expected].map(|comparison| comparison.map.as_ref().unwrap());
        assert_eq!([found.width(), found.height()], [131, 90]);
        for (found, expected) in found.values().iter().zip(expected.values()) {
            assert!((found - expected).abs() < 1e-6, "{format:?}: {found} {expected}");
        }
    }
}

/// A texture with `picture` and a margin around it.
fn texture(picture: &Picture, format: wgpu::TextureFormat, margin: u32) -> wgpu::Texture {
    let gpu = common::gpu();
    let (width, height) = (picture.width(), picture.height());
    let texture = gpu.device().create_texture(&wgpu::TextureDescriptor {
        label: None,
        size: wgpu::Extent3d { width: width + 2 * margin, height: height + 2 * margin, depth_or_array_layers: 1 },
        mip_level_count: 1,
        sample_count: 1,
        dimension: wgpu::TextureDimension::D2,
        format,
        usage: wgpu::TextureUsages::TEXTURE_BINDING | wgpu::TextureUsages::COPY_DST,
        view_formats: &[],
    });
    let bgr = format == wgpu::TextureFormat::Bgra8Unorm;
    let pixel = |rgb: &[u8; 3]| if bgr { [rgb[2], rgb[1], rgb[0], 7] } else { [rgb[0], rgb[1], rgb[2], 7] };
    let bytes: Vec<u8> = picture.rgb().as_chunks().0.iter().flat_map(pixel).collect();
    gpu.queue().write_texture(
        wgpu::TexelCopyTextureInfo {
            texture: &texture,
            mip_level: 0,
            origin: wgpu::Origin3d { x: margin, y: margin, z: 0 },
            aspect: wgpu::TextureAspect::All,
        },
        &bytes,
        wgpu::TexelCopyBufferLayout { offset: 0, bytes_per_row: Some(4 * width), rows_per_image: None },
        wgpu::Extent3d { width, height, depth_or_array_layers: 1 },
    );
    texture
}

/// Files that people have: torchvision's tensors and those of the PyTorch package lpips, whose shapes are 1×C×1×1.
#[test]
fn other_weights_are_recognised_and_checked() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/weights/imagenet-trunk-f16.safetensors");
    let trunk = Weights::open(file).unwrap();
    let network = AlexNet::TORCHVISION.head(4, 4).classes(3).network().unwrap();
    let mut weights = Weights::random(&network, 1);
    let mut channels = Weights::default();
    for (index, layer) in Lpips::LAYERS.into_iter().enumerate() {
        for part in ["weight", "bias"] {
            let name = format!("{layer}.{part}");
            weights.insert(name.clone(), trunk.tensor(&name).unwrap().clone());
        }
        let values = trunk.tensor(&format!("lpips{}.weight", index + 1)).unwrap().to_f32().into_owned();
        channels.insert(format!("lin{index}.model.1.weight"), Tensor::from_f32([1, values.len(), 1, 1], values));
    }
    assert!(Lpips::are_channel_weights(&channels) && !Lpips::are_channel_weights(&weights));
    let model = Model::from_weights(weights, &ModelOptions::default()).unwrap();
    let lpips = Lpips::new(&model, &channels).unwrap();
    let [a, b] = [noise(30, [40, 50]), noise(31, [40, 50])];
    let found = Comparer::with_lpips(common::gpu(), lpips.clone()).compare_blocking(&a, &b).unwrap();
    assert_eq!(found, compare(&a, &b));

    // Another network, and channels of another one.
    let ungrouped = AlexNet::UNGROUPED.width(0.25).head(8, 8).classes(10).network().unwrap();
    let other = Model::from_weights(Weights::random(&ungrouped, 1), &ModelOptions::default()).unwrap();
    let error = lpips.with_trunk(&other).unwrap_err();
    assert!(matches!(error, CompareError::Trunk { .. }), "{error}");
    let mut vgg = Weights::default();
    for (index, count) in [64, 128, 256, 512, 512].into_iter().enumerate() {
        vgg.insert(format!("lin{index}.model.1.weight"), Tensor::from_f32([1, count, 1, 1], vec![0.1; count]));
    }
    let error = lpips.with_channels(&vgg).unwrap_err().to_string();
    assert!(error.contains("192") && error.contains("128"), "{error}");
    let error = lpips.with_channels(&other.weights).unwrap_err().to_string();
    assert!(error.contains("lin0.model.1.weight"), "{error}");
}

/// The trunk is a model too, for any size of picture.
#[test]
fn the_trunk_gives_features() {
    let model = Model::imagenet_trunk().unwrap();
    let network = model.network.with_input(Shape::new(3, 97, 130)).unwrap();
    let input = splitmix::uniform(3, network.input().len(), 2.0);
    let pipeline = Pipeline::builder(common::gpu(), &network, &model.weights).build().unwrap();
    let found = pipeline.run_layers_blocking(&input, &["conv5", "pool5"]).unwrap();
    let input: Vec<f64> = input.iter().map(|&v| f64::from(v)).collect();
    let expected = reference::run(&network, &model.weights, &input).unwrap();
    for (name, found) in ["conv5", "pool5"].into_iter().zip(found) {
        let index = network.layers().iter().position(|layer| layer.name == name).unwrap();
        let error = reference::relative_error(&found, &expected[index]);
        assert!(error < 1e-5, "{name}: {error:e}");
    }
}
