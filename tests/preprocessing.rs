//! Pictures of every kind against Pillow and torchvision, and files that are not pictures.
//!
//! Pillow's results are in `tests/data/preprocessing`, written by `tests/preprocessing/make.py`.
#![allow(clippy::unwrap_used, reason = "a test that cannot read its data has failed")]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    fs,
    path::{Path, PathBuf},
};

use alexnet_wgpu::{ChannelOrder, Picture, PictureError, Preprocessing, PreprocessingError, Resize, Shape};
use proptest::prelude::*;
use safetensors::SafeTensors;

/// The system's allocator, with the largest block requested by each thread.
struct Watched;

thread_local! {
    static LARGEST: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: every call goes to `System` unchanged.
unsafe impl GlobalAlloc for Watched {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LARGEST.set(LARGEST.get().max(layout.size()));
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        LARGEST.set(LARGEST.get().max(layout.size()));
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        LARGEST.set(LARGEST.get().max(size));
        // SAFETY: the caller's promises are passed on.
        unsafe { System.realloc(block, layout, size) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(block, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Watched = Watched;

/// The largest block that `work` requests, in bytes.
fn largest_block<T>(work: impl FnOnce() -> T) -> (T, usize) {
    LARGEST.set(0);
    let result = work();
    (result, LARGEST.get())
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn data(name: &str) -> PathBuf {
    root().join("tests/data/preprocessing").join(name)
}

fn files(folder: &str) -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<_> = fs::read_dir(data(folder))
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap()))
        .collect();
    files.sort();
    assert!(!files.is_empty(), "no files in {folder}");
    files
}

fn largest_difference(a: &[u8], b: &[u8]) -> u8 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| a.abs_diff(*b)).max().unwrap()
}

/// Every kind of file decodes to Pillow's RGB bytes: exactly, except where decoders differ.
#[test]
fn kinds_of_files() {
    let expected = fs::read(data("kinds.safetensors")).unwrap();
    let expected = SafeTensors::deserialize(&expected).unwrap();
    let kinds = files("kinds");
    assert_eq!(kinds.len(), expected.len());
    let mut wrong = Vec::new();
    for (name, bytes) in kinds {
        let expected = expected.tensor(&name).unwrap();
        let steps = match name.as_str() {
            // Pillow and libtiff round in between.
            name if name.starts_with("tiff-ycc") => 1,
            // The colours were rounded when premultiplied.
            name if name.starts_with("tiff-associated") || name == "tiff-planar-alpha.tif" => 1,
            _ => 0,
        };
        match Picture::decode(&bytes) {
            Ok(picture) => {
                let shape = [picture.height() as usize, picture.width() as usize, 3];
                if shape != expected.shape() {
                    wrong.push(format!("{name}: {shape:?}, expected {:?}", expected.shape()));
                } else {
                    let difference = largest_difference(picture.rgb(), expected.data());
                    // Bytes between two segments may have been one.
                    let damaged = name == "jpeg-junk.jpg";
                    if difference > steps || picture.damage().is_some() != damaged {
                        let damage = picture.damage();
                        wrong.push(format!("{name}: {difference} steps from Pillow, expected {steps}; {damage:?}"));
                    }
                }
            }
            Err(e) => wrong.push(format!("{name}: {e}")),
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// The segments of a JPEG up to its first scan: their code, and where they begin and end.
fn segments(jpeg: &[u8]) -> Vec<(u8, std::ops::Range<usize>)> {
    let mut found = Vec::new();
    let mut at = 2;
    while jpeg[at + 1] != 0xDA {
        let end = at + 2 + usize::from(u16::from_be_bytes([jpeg[at + 2], jpeg[at + 3]]));
        found.push((jpeg[at + 1], at..end));
        at = end;
    }
    found
}

/// Frames of Motion JPEG have no Huffman tables.
#[test]
fn jpegs_without_huffman_tables_have_the_usual_ones() {
    for kind in ["jpeg-420.jpg", "jpeg-grey.jpg", "jpeg-restarts.jpg"] {
        let whole = fs::read(data("kinds").join(kind)).unwrap();
        let mut without = whole.clone();
        let tables: Vec<_> = segments(&whole).into_iter().filter(|(code, _)| *code == 0xC4).collect();
        assert!(!tables.is_empty());
        for (_, range) in tables.into_iter().rev() {
            without.drain(range);
        }
        assert!(Picture::decode(&without).unwrap() == Picture::decode(&whole).unwrap(), "{kind}");
    }
    // A progressive one always has its own.
    let mut progressive = fs::read(data("kinds/jpeg-progressive.jpg")).unwrap();
    let tables: Vec<_> = segments(&progressive).into_iter().filter(|(code, _)| *code == 0xC4).collect();
    for (_, range) in tables.into_iter().rev() {
        progressive.drain(range);
    }
    assert!(Picture::decode(&progressive).unwrap_err().to_string().contains("Huffman"));
}

/// As libjpeg warns of: the picture may be whole, but something is missing.
#[test]
fn lost_segments_and_markers_of_jpegs_are_told() {
    let read = |name: &str| fs::read(data("kinds").join(name)).unwrap();
    let told = |jpeg: &[u8]| Picture::decode(jpeg).unwrap().damage().is_some();
    // A segment without its marker.
    let adobe = read("jpeg-adobe-rgb-1x1.jpg");
    let (_, range) = segments(&adobe).into_iter().find(|(code, _)| *code == 0xEE).unwrap();
    let mut lost = adobe.clone();
    lost[range.start + 1] = 0;
    assert!(!told(&adobe) && told(&lost));
    // A scan without its marker.
    let progressive = read("jpeg-progressive.jpg");
    let last = progressive.windows(2).rposition(|pair| pair == [0xFF, 0xDA]).unwrap();
    let mut lost = progressive.clone();
    lost[last] = 0;
    assert!(Picture::decode(&lost).unwrap().damage().unwrap().share() > 0.01);
    // Restart markers: another number, none, and more than there are intervals.
    let restarts = read("jpeg-restarts.jpg");
    let markers = |jpeg: &[u8]| -> Vec<usize> {
        let pairs = jpeg.windows(2).enumerate();
        pairs.filter(|(_, pair)| pair[0] == 0xFF && (0xD0..=0xD7).contains(&pair[1])).map(|(at, _)| at).collect()
    };
    for code in [0x57, 0xD5] {
        let mut lost = restarts.clone();
        lost[markers(&restarts)[1] + 1] = code;
        assert!(told(&lost), "{code:x}");
    }
    let (_, interval) = segments(&restarts).into_iter().find(|(code, _)| *code == 0xDD).unwrap();
    let mut more = restarts.clone();
    more[interval.end - 1] = 200;
    assert!(told(&more));
    // A comment of no length is none.
    let mut empty = restarts.clone();
    empty.splice(2..2, [0xFF, 0xFE, 0, 0]);
    assert!(!told(&empty) && Picture::decode(&empty).unwrap() == Picture::decode(&restarts).unwrap());
}

/// A damaged JPEG is decoded as far as libjpeg recovers it, and its damage is reported.
#[test]
fn damaged_jpegs() {
    let expected = fs::read(data("damaged.safetensors")).unwrap();
    let expected = SafeTensors::deserialize(&expected).unwrap();
    for (name, bytes) in files("damaged") {
        let expected = expected.tensor(&name).unwrap();
        let picture = Picture::decode(&bytes).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(largest_difference(picture.rgb(), expected.data()), 0, "{name}");
        let damage = picture.damage().unwrap_or_else(|| panic!("{name}: damage that is not told"));
        assert!(damage.share() > 0.0 && damage.share() <= 1.0, "{name}: {damage:?}");
        assert!(damage.to_string().contains('%'), "{damage}");
    }
    // One of 24 restart intervals is lost: 4 of 96 luma blocks, and the same share of the others.
    let whole = fs::read(data("damaged/restart-2B-0.jpg")).unwrap();
    let share = Picture::decode(&whole).unwrap().damage().unwrap().share();
    assert!(share < 0.3, "{share}");
}

/// The crop at `top` and `left`, by plain indices into the whole resized picture.
fn cut(preprocessing: &Preprocessing, picture: &Picture, resized: [usize; 2], corner: [usize; 2]) -> Vec<f32> {
    let whole = preprocessing.resize(Resize::Warp(resized)).crop(resized);
    let whole = whole.apply(picture).unwrap();
    let [rows, columns] = preprocessing.crop;
    let at = |channel, row, column| whole[(channel * resized[0] + corner[0] + row) * resized[1] + corner[1] + column];
    let pixels = (0..rows).flat_map(|row| (0..columns).map(move |column| (row, column)));
    let pixels: Vec<_> = pixels.collect();
    (0..3).flat_map(|channel| pixels.iter().map(move |&(row, column)| at(channel, row, column))).collect()
}

/// Four corners and the centre, each also mirrored, equal crops of the whole resized picture.
#[test]
fn ten_crops_are_cut_from_the_resized_picture() {
    let (width, height) = (301, 200);
    let samples = (0..u64::from(width * height * 3)).map(|i| ((i * i / 7 + i) % 251) as u8).collect();
    let picture = Picture::from_rgb8(width, height, samples).unwrap();
    let torchvision = Preprocessing::torchvision(51).resize(Resize::ShorterSide(64));
    let caffe = Preprocessing::caffe(55).resize(Resize::Warp([70, 60]));
    let oblong = torchvision.crop([40, 57]);
    // Resized sizes, and offsets of the centre with ties to even.
    let cases = [(torchvision, [64, 96], [6, 22]), (caffe, [70, 60], [8, 2]), (oblong, [64, 96], [12, 20])];
    for (preprocessing, resized, centre) in cases {
        let [rows, columns] = preprocessing.crop;
        let (bottom, right) = (resized[0] - rows, resized[1] - columns);
        let corners = [[0, 0], [0, right], [bottom, 0], [bottom, right], centre];
        let found = preprocessing.ten_crops(&picture).unwrap();
        let crops: Vec<&[f32]> = found.chunks_exact(3 * rows * columns).collect();
        assert_eq!(crops.len(), 10);
        assert_eq!(crops[4], preprocessing.apply(&picture).unwrap());
        // One step of 8 bits in any channel, where only a part is resized.
        let step = preprocessing.std.map(|deviation| preprocessing.scale / deviation);
        for (index, corner) in corners.into_iter().enumerate() {
            let expected = cut(&preprocessing, &picture, resized, corner);
            let mut steps = 0;
            for (i, (f, e)) in crops[index].iter().zip(&expected).enumerate() {
                let difference = (f - e).abs() / step[i / (rows * columns)];
                assert!(difference < 1.01, "crop {index} at {i}: {f}, expected {e}");
                steps += usize::from(difference > 0.5);
            }
            assert!(steps * 100 < expected.len(), "crop {index}: {steps} of {} differ", expected.len());
            for (i, e) in crops[index].iter().enumerate() {
                let (row, column) = (i / columns, i % columns);
                assert_eq!(crops[index + 5][row * columns + columns - 1 - column], *e, "crop {index} mirrored at {i}");
            }
        }
    }
    // A picture smaller than the crop is in the middle of each, however it is resized.
    let small = caffe.resize(Resize::Warp([20, 20]));
    let found = small.ten_crops(&picture).unwrap();
    let crops: Vec<&[f32]> = found.chunks_exact(3 * 55 * 55).collect();
    assert!(crops[..5].iter().all(|crop| *crop == crops[0]));
    let wrong = caffe.crop([0, 5]);
    assert!(matches!(wrong.ten_crops(&picture), Err(PreprocessingError::Side { what: "crop", found: 0 })));
}

/// torchvision's and Caffe's complete pipelines over odd sizes and crops.
#[test]
fn odd_sizes() {
    let bytes = fs::read(data("sizes.safetensors")).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let mut cases = 0;
    for name in tensors.names() {
        let parts: Vec<&str> = name.split('/').collect();
        let [pipeline, size, resize, crop] = parts[..] else { continue };
        let noise = tensors.tensor(&format!("noise/{size}")).unwrap();
        let picture =
            Picture::from_rgb8(noise.shape()[1] as u32, noise.shape()[0] as u32, noise.data().to_vec()).unwrap();
        let (resize, crop): (usize, usize) = (resize.parse().unwrap(), crop.parse().unwrap());
        let preprocessing = match pipeline {
            "torchvision" => Preprocessing::torchvision(crop).resize(Resize::ShorterSide(resize)),
            _ => Preprocessing::caffe(crop).resize(Resize::Warp([resize, resize])),
        };
        let expected = tensors.tensor(name).unwrap();
        let expected = expected.data().chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap()));
        let found = preprocessing.apply(&picture).unwrap();
        assert_eq!(found.len(), expected.len(), "{name}");
        for (i, (found, expected)) in found.iter().zip(expected).enumerate() {
            let step = 255.0 * preprocessing.scale / 255.0 / preprocessing.std[i / (crop * crop)];
            assert!((found - expected).abs() <= 1.001 * step, "{name} [{i}]: {found}, expected {expected}");
        }
        cases += 1;
    }
    assert_eq!(cases, 72);
}

/// Photographs, from the file to the crop, are within one step of 8 bits (1/255) of Pillow, and nearly all of their samples
/// are equal.
#[test]
fn photographs() {
    let [chelsea, coffee, rocket] =
        ["chelsea.png", "coffee.png", "rocket.jpg"].map(|name| root().join("examples/pictures").join(name));
    for (photo, preprocessing, expected) in [
        (&chelsea, Preprocessing::torchvision(227), "chelsea-torchvision-227.png"),
        (&chelsea, Preprocessing::torchvision(224), "chelsea-torchvision-224.png"),
        (&chelsea, Preprocessing::caffe(227), "chelsea-caffe-227.png"),
        (&coffee, Preprocessing::torchvision(227), "coffee-torchvision-227.png"),
        (&coffee, Preprocessing::caffe(227), "coffee-caffe-227.png"),
        (&rocket, Preprocessing::torchvision(227), "rocket-torchvision-227.png"),
        (&rocket, Preprocessing::caffe(227), "rocket-caffe-227.png"),
        // With chroma at half the resolution, as written by phones.
        (&data("photos/coffee-420.jpg"), Preprocessing::torchvision(227), "coffee-420-torchvision-227.png"),
    ] {
        let picture = Picture::open(photo).unwrap();
        let expected_crop = Picture::open(data("photos").join(expected)).unwrap();
        // The same pipeline with nothing after the crop.
        let samples = preprocessing.channels(ChannelOrder::Rgb).scale(1.0).mean([0.0; 3]).std([1.0; 3]);
        let planes = samples.apply(&picture).unwrap();
        let plane = planes.len() / 3;
        let found: Vec<u8> = (0..planes.len()).map(|i| planes[i % 3 * plane + i / 3] as u8).collect();
        assert!(largest_difference(&found, expected_crop.rgb()) <= 1, "{expected}");
        let same = found.iter().zip(expected_crop.rgb()).filter(|(a, b)| a == b).count();
        assert!(same * 1000 >= found.len() * 995, "{expected}: only {same} of {} are the same", found.len());

        // With normalisation: each number is computed from its sample, in the network's order.
        let input = preprocessing.apply(&picture).unwrap();
        for (i, value) in input.iter().enumerate() {
            let (channel, at) = (i / plane, i % plane);
            let from = if preprocessing.channels == ChannelOrder::Bgr { 2 - channel } else { channel };
            let sample = f64::from(planes[from * plane + at]);
            let scaled = if preprocessing.scale == 1.0 { sample } else { sample / 255.0 };
            let exact = (scaled - f64::from(preprocessing.mean[channel])) / f64::from(preprocessing.std[channel]);
            assert!((f64::from(*value) - exact).abs() <= 1e-6 * exact.abs().max(1.0), "{expected} [{i}]");
        }
    }
}

/// One channel matches Pillow's `convert("L")`, resized like any other.
#[test]
fn grey() {
    let samples: Vec<u8> = (0..3 * 37 * 29_u32).map(|i| (i * i / 5 + 7 * i) as u8).collect();
    let picture = Picture::from_rgb8(37, 29, samples.clone()).unwrap();
    let plain = Preprocessing::new(Resize::Warp([29, 37]), [29, 37])
        .channels(ChannelOrder::Grey)
        .scale(1.0)
        .mean([3.0, f32::NAN, f32::NAN])
        .std([2.0, 0.0, 0.0]);
    assert!(plain.check().is_err(), "numbers of channels that are not there are checked too");
    let plain = plain.mean([3.0; 3]).std([2.0; 3]);
    let luma: Vec<u8> = samples
        .chunks_exact(3)
        .map(|p| ((u32::from(p[0]) * 19595 + u32::from(p[1]) * 38470 + u32::from(p[2]) * 7471 + 32768) >> 16) as u8)
        .collect();
    let found = plain.apply(&picture).unwrap();
    assert_eq!(found, luma.iter().map(|&l| (f32::from(l) - 3.0) / 2.0).collect::<Vec<_>>());

    // A grey picture: the same as each of its channels, at any size.
    let grey = Picture::from_rgb8(37, 29, luma.iter().flat_map(|&l| [l; 3]).collect()).unwrap();
    let small = plain.resize(Resize::ShorterSide(16)).crop([13, 15]);
    let one = small.apply(&grey).unwrap();
    let three = small.channels(ChannelOrder::Rgb).apply(&grey).unwrap();
    assert_eq!((one.len(), &one[..]), (13 * 15, &three[..13 * 15]));
    assert_eq!(small.ten_crops(&grey).unwrap().len(), 10 * 13 * 15);

    let four = plain.channels(ChannelOrder::Other(4));
    assert_eq!(four.apply(&grey), Err(PreprocessingError::Channels { expected: 4 }));
    assert!(four.ten_crops(&grey).unwrap_err().to_string().contains("takes 4 channels"));
}

/// Pictures of one pixel, and very long and thin ones, work and take little memory.
#[test]
fn extreme_proportions() {
    let colour = [10, 120, 250];
    for (width, height) in [(1, 1), (10_000, 1), (1, 10_000), (Picture::MAX_SIDE, 1), (1, Picture::MAX_SIDE)] {
        let picture = Picture::from_rgb8(width, height, colour.repeat((width * height) as usize)).unwrap();
        for preprocessing in [Preprocessing::torchvision(224), Preprocessing::caffe(227)] {
            let (input, largest) = largest_block(|| preprocessing.apply(&picture).unwrap());
            assert!(largest < 50 << 20, "{picture:?}: a block of {largest} bytes");
            let plane = preprocessing.crop[0] * preprocessing.crop[1];
            assert_eq!(input.len(), 3 * plane);
            for (channel, values) in input.chunks_exact(plane).enumerate() {
                let from = if preprocessing.channels == ChannelOrder::Bgr { 2 - channel } else { channel };
                let scaled = f32::from(colour[from]) * preprocessing.scale;
                let expected = (scaled - preprocessing.mean[channel]) / preprocessing.std[channel];
                assert!(values.iter().all(|v| *v == expected), "{picture:?}: channel {channel}");
            }
        }
    }
    assert!(matches!(
        Picture::from_rgb8(Picture::MAX_SIDE + 1, 1, vec![0; 3 * 65_536]),
        Err(PictureError::TooLarge { width: 65_536, height: 1 })
    ));
}

/// A tiny file that claims a large picture is refused before memory is allocated for it.
#[test]
fn bombs() {
    for (name, bytes) in files("bombs") {
        assert!(bytes.len() < 2000, "{name} is no bomb");
        let (result, largest) = largest_block(|| Picture::decode(&bytes));
        let error = result.expect_err(&name);
        match name.as_str() {
            _ if name.starts_with("dense.") => {
                let as_claimed = matches!(error, PictureError::TooDense { bytes: found, most: Picture::SMALL,
                    width: 16_383, height: 16_383, .. } if found == bytes.len());
                assert!(as_claimed, "{name}: {error}");
            }
            _ => assert!(matches!(error, PictureError::TooLarge { width: 60_000, height: 60_000 }), "{name}: {error}"),
        }
        assert!(largest < 1 << 20, "{name}: a block of {largest} bytes");
    }
}

/// Large pictures of one colour are valid at a tiny size, where the format packs them well.
#[test]
fn pictures_of_one_colour() {
    for (name, bytes) in files("dense") {
        let (picture, largest) = largest_block(|| Picture::decode(&bytes));
        let picture = picture.unwrap_or_else(|e| panic!("{name}: {e}"));
        let pixels = u64::from(picture.width()) * u64::from(picture.height());
        assert!(pixels >= 2 * Picture::SMALL && pixels > 1024 * bytes.len() as u64, "{name}: {picture:?}");
        // As many as the picture itself has, or an opacity more.
        assert!(largest as u64 <= 4 * pixels, "{name}: a block of {largest} bytes for {pixels} pixels");
        let first = &picture.rgb()[..3];
        assert!(picture.rgb().chunks_exact(3).all(|pixel| pixel == first), "{name}");
    }
}

/// A truncated file is an error, unless every pixel is still there.
#[test]
fn cut_off_files() {
    let mut truncated = 0;
    for (name, bytes) in files("kinds") {
        let whole = Picture::decode(&bytes).unwrap();
        // Every length near the headers and the end, and some between.
        let lengths = (0..bytes.len()).filter(|len| *len < 100 || len + 50 > bytes.len() || len % 11 == 0);
        for len in lengths {
            match Picture::decode(&bytes[..len]) {
                // Nothing shows how many digits an ASCII number had.
                Ok(_) if name == "pnm-ascii.ppm" => assert!(len + 3 >= bytes.len(), "{name}: {len} bytes"),
                Ok(picture) => assert!(picture == whole, "{name}: the first {len} of {} bytes differ", bytes.len()),
                Err(PictureError::Empty) => assert_eq!(len, 0),
                Err(PictureError::NotAPicture { .. }) => assert!(len < 16, "{name}: {len} bytes"),
                Err(PictureError::Truncated { .. }) => truncated += 1,
                Err(PictureError::Damaged { .. }) => {}
                Err(e) => panic!("{name}: the first {len} bytes: {e}"),
            }
        }
    }
    assert!(truncated > 10_000, "{truncated}");
}

#[test]
fn not_a_picture() {
    let folder = tempfile::tempdir().unwrap();
    let missing = Picture::open(folder.path().join("missing.png")).unwrap_err();
    assert!(matches!(missing, PictureError::Read { .. }), "{missing}");
    assert!(missing.to_string().contains("missing.png"));
    let directory = Picture::open(folder.path()).unwrap_err();
    assert!(matches!(directory, PictureError::Read { .. }), "{directory}");

    let file = folder.path().join("a.png");
    for (bytes, expected) in [
        (&b""[..], "found an empty file"),
        (b"Hello, this is text.", "begin `Hello, this is t`"),
        (b"\0\0\0\x1cftypavif", "found AVIF, which is not supported: convert it"),
        (b"\0\0\0\x18ftypheic", "found HEIC, which is not supported: convert it"),
        (b"\0\0\0\x18ftypmif1", "found HEIC"),
        (b"\xff\x0a\xfa\x1f", "found JPEG XL"),
        (b"\0\0\0\x0cJXL \r\n\x87\n", "found JPEG XL"),
        (b"qoif\0\0\0\x01\0\0\0\x01", "found QOI"),
        (b"\x89PNG\r\n\x1a\n", "PNG picture is cut off"),
        (b"\xff\xd8\xff", "JPEG picture is cut off"),
        (b"\xff\xd8\xff\xd9", "JPEG picture is damaged"),
        (b"P6 0 5 255\n", "found 0×5"),
    ] {
        fs::write(&file, bytes).unwrap();
        let error = Picture::open(&file).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
        assert!(!error.contains('\n'), "{error}");
    }
    for (name, bytes) in files("unread") {
        let error = Picture::decode(&bytes).unwrap_err();
        let kind = match name.as_str() {
            "jpeg-lossless.jpg" => "JPEG picture is not supported (lossless)",
            "tiff-complex.tif" => "TIFF picture is not supported (samples of complex numbers)",
            "tiff-lab.tif" => "TIFF picture is not supported (L*a*b* colours)",
            "tiff-raw.tif" => "TIFF picture is not supported (a camera's raw samples)",
            _ => "TIFF picture is not supported (compressed by Zstandard)",
        };
        assert!(error.to_string().contains(kind), "{name}: {error}");
    }
    // The first bytes decide the format, not the name.
    fs::copy(root().join("examples/pictures/rocket.jpg"), &file).unwrap();
    assert_eq!(Picture::open(&file).unwrap().width(), 640);
}

#[test]
fn pictures_from_pixels() {
    let rgb = Picture::from_rgb8(2, 1, vec![1, 2, 3, 4, 5, 6]).unwrap();
    assert_eq!((rgb.width(), rgb.height(), rgb.rgb()), (2, 1, &[1, 2, 3, 4, 5, 6][..]));
    let clear = Picture::from_rgba8(1, 3, vec![7, 8, 9, 255, 7, 8, 9, 0, 0, 100, 200, 51]).unwrap();
    assert_eq!(clear.rgb(), [7, 8, 9, 255, 255, 255, 204, 224, 244]);
    assert!(matches!(
        Picture::from_rgb8(2, 2, vec![0; 11]),
        Err(PictureError::Samples { width: 2, height: 2, expected: 12, found: 11 })
    ));
    assert!(matches!(Picture::from_rgba8(0, 2, vec![]), Err(PictureError::NoPixels { width: 0, height: 2 })));
    assert!(matches!(Picture::from_rgba8(60_000, 60_000, vec![]), Err(PictureError::TooLarge { .. })));
}

#[test]
fn hostile_preprocessing() {
    let good = Preprocessing::torchvision(224);
    assert_eq!(good.check(), Ok(()));
    assert_eq!(Preprocessing::caffe(227).check(), Ok(()));
    let picture = Picture::from_rgb8(1, 1, vec![0; 3]).unwrap();
    for (bad, expected) in [
        (good.crop([224, 0]), "expected a crop of 1 to 4096 pixels a side, found 0"),
        (good.crop([usize::MAX, 1]), "expected a crop"),
        (good.resize(Resize::ShorterSide(0)), "expected a resize"),
        (good.resize(Resize::Warp([1, 5000])), "found 5000"),
        (good.std([1.0, 0.0, 1.0]), "in channel 1"),
        (good.std([1.0, 1.0, 1e-45]), "in channel 2"),
        (good.mean([f32::NAN, 0.0, 0.0]), "found 0.003921569, NaN and 0.229 in channel 0"),
        (good.scale(f32::INFINITY), "found inf"),
    ] {
        let error = bad.check().unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
        match bad.apply(&picture) {
            Err(applied) => assert_eq!(applied.to_string(), error.to_string()),
            Ok(_) => panic!("applied: {error}"),
        }
    }
    let side = good.crop([9999, 1]).check();
    assert_eq!(side, Err(PreprocessingError::Side { what: "crop", found: 9999 }));
}

fn kind() -> impl Strategy<Value = (String, Vec<u8>)> {
    proptest::sample::select(files("kinds"))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, failure_persistence: None, ..ProptestConfig::default() })]

    /// Damaged files never panic, and never take much memory for their size.
    #[test]
    fn damaged_files(
        (name, mut bytes) in kind(),
        // Headers decide most: half of the damage goes to the first bytes.
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<bool>(), any::<u8>()), 1..6),
        cut in prop::option::weighted(0.2, any::<prop::sample::Index>()),
    ) {
        for (at, early, byte) in damage {
            let within = if early { bytes.len().min(100) } else { bytes.len() };
            bytes[at.index(within)] = byte;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        if let Ok(picture) = Picture::decode(&bytes) {
            let pixels = u64::from(picture.width()) * u64::from(picture.height());
            prop_assert!((1..=Picture::MAX_PIXELS).contains(&pixels), "{name}");
            prop_assert_eq!(picture.rgb().len() as u64, 3 * pixels, "{}", name);
        }
    }

    /// Any picture through any preprocessing gives as many numbers as the crop has, all finite.
    #[test]
    fn any_sizes(
        width in 1..400_u32,
        height in 1..400_u32,
        rows in 1..70_usize,
        columns in 1..70_usize,
        crop in [1..70_usize, 1..70_usize],
        warp: bool,
    ) {
        let picture = Picture::from_rgb8(width, height, vec![200; (width * height * 3) as usize]).unwrap();
        let resize = if warp { Resize::Warp([rows, columns]) } else { Resize::ShorterSide(rows) };
        let input = Preprocessing::torchvision(1).resize(resize).crop(crop).apply(&picture).unwrap();
        prop_assert_eq!(input.len(), 3 * crop[0] * crop[1]);
        // Grey stays grey: kernels sum to one everywhere, and only the margin is black.
        let grey = (200.0 / 255.0 - 0.485) / 0.229_f32;
        let black = -0.485 / 0.229_f32;
        prop_assert!(input[..crop[0] * crop[1]].iter().all(|v| (v - grey).abs() < 1e-5 || (v - black).abs() < 1e-5));
        let [middle_row, middle_column] = [(crop[0] - 1) / 2, (crop[1] - 1) / 2];
        prop_assert!((input[middle_row * crop[1] + middle_column] - grey).abs() < 1e-5);
    }
}

/// An input back to the picture that the network sees.
#[test]
fn an_input_is_the_picture_that_is_seen() {
    let (width, height) = (20, 12);
    let rgb: Vec<u8> = (0..3 * width * height).map(|i| (i * 7 % 256) as u8).collect();
    let picture = Picture::from_rgb8(width as u32, height as u32, rgb.clone()).unwrap();
    let size = [height, width];
    let shape = Shape::new(3, height, width);
    for channels in [ChannelOrder::Rgb, ChannelOrder::Bgr] {
        let preprocessing =
            Preprocessing::new(Resize::Warp(size), size).channels(channels).mean([0.2, 0.4, 0.1]).std([0.5, 0.3, 0.25]);
        let input = preprocessing.apply(&picture).unwrap();
        assert_eq!(preprocessing.picture(&input, shape), Some(picture.clone()));
        assert_eq!(preprocessing.picture(&input, Shape::new(1, height, width)), None);
        assert_eq!(preprocessing.picture(&input[1..], shape), None);
    }
    let grey = Preprocessing::new(Resize::Warp(size), size).channels(ChannelOrder::Grey);
    let seen = grey.picture(&vec![0.6; height * width], Shape::new(1, height, width)).unwrap();
    assert_eq!(seen.rgb(), vec![153; 3 * height * width]);
}
