//! What the embedded model is made with, besides `alexnet train`: see `assets/MODEL.md`.
//!
//! `pictures FILES OUT` writes Fashion-MNIST as folders of pictures: OUT/train, OUT/val (the last 2,000 pictures to train on) and
//! OUT/test. FILES is a folder with the four files that Debian's package `dataset-fashion-mnist` brings (MIT, Zalando Research),
//! unpacked with `gunzip`. Of every fifth picture to train on, a copy has a backdrop and a colour of its own, as product photos
//! do.
//!
//! `head MODEL OUT` writes the layers after the convolutions of a trained model, in int8, with the classes in Fashion-MNIST's
//! order.

use std::{env, error::Error, fs, path::Path};

use alexnet_wgpu::{DType, Model, ModelOptions, Network, Tensor, splitmix};

const LABELS: [&str; 10] =
    ["T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"];
const SIDE: usize = 28;
/// The number of pictures that are trained on; the others of the 60,000 choose the best epoch.
const TRAINED: usize = 58_000;
/// The number of pictures of which one gets a copy.
const EVERY: usize = 5;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match &arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["pictures", files, out] => pictures(files.as_ref(), out.as_ref()),
        ["head", model, out] => head(model.as_ref(), out.as_ref()),
        _ => Err("expected `pictures FILES OUT` or `head MODEL OUT`".into()),
    }
}

fn pictures(files: &Path, out: &Path) -> Result<(), Box<dyn Error>> {
    let sets = ["train", "val", "test"].map(|set| LABELS.map(|label| out.join(set).join(folder(label))));
    for folder in sets.as_flattened() {
        fs::create_dir_all(folder)?;
    }
    for name in ["train", "t10k"] {
        let images = idx(&files.join(format!("{name}-images-idx3-ubyte")), 16)?;
        let classes = idx(&files.join(format!("{name}-labels-idx1-ubyte")), 8)?;
        for (i, (image, &class)) in images.chunks_exact(SIDE * SIDE).zip(&classes).enumerate() {
            let set = if name == "t10k" { 2 } else { usize::from(i >= TRAINED) };
            let folder = sets[set].get(usize::from(class)).ok_or("expected classes below 10")?;
            fs::write(folder.join(format!("{i:05}.pgm")), pnm(5, image))?;
            if set == 0 && i % EVERY == 0 {
                fs::write(folder.join(format!("{i:05}-photo.ppm")), pnm(6, &photo(image, i as u64)))?;
            }
        }
    }
    Ok(())
}

/// The name of a class's folder.
fn folder(label: &str) -> String {
    label.replace('/', " ")
}

fn head(model: &Path, out: &Path) -> Result<(), Box<dyn Error>> {
    let trained = Model::open(model, &ModelOptions::default())?;
    let mut weights = trained.weights.clone();
    for part in ["weight", "bias"] {
        let tensor = weights.get_mut(&format!("fc8.{part}")).ok_or("expected fc8")?;
        let (shape, values) = (tensor.shape().to_vec(), tensor.to_f32().into_owned());
        let row = |label: &&str| {
            let class =
                trained.labels.iter().position(|found| *found == folder(label)).ok_or("expected other classes")?;
            let len = values.len() / LABELS.len();
            Ok::<_, Box<dyn Error>>(values[class * len..][..len].to_vec())
        };
        let rows = LABELS.iter().map(row).collect::<Result<Vec<_>, _>>()?;
        *tensor = Tensor::from_f32(shape, rows.concat());
    }
    let layers = trained.network.layers().iter().map(|layer| (layer.name.clone(), layer.op));
    let network = Network::new("garments", trained.network.input(), layers)?;
    let labels = LABELS.map(String::from).to_vec();
    let mut whole = Model::new(network, weights, trained.preprocessing, labels)?.to_weights()?.cast(DType::I8);
    for layer in ["conv1", "conv2", "conv3", "conv4", "conv5"] {
        whole.remove(&format!("{layer}.weight"));
        whole.remove(&format!("{layer}.bias"));
    }
    Ok(whole.save(out)?)
}

/// The bytes of an IDX file after its header.
fn idx(path: &Path, header: usize) -> Result<Vec<u8>, Box<dyn Error>> {
    let bytes = fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(bytes.get(header..).ok_or_else(|| format!("{}: expected an IDX file", path.display()))?.to_vec())
}

/// A binary PGM (5) or PPM (6) file.
fn pnm(kind: u8, samples: &[u8]) -> Vec<u8> {
    [format!("P{kind} {SIDE} {SIDE} 255\n").as_bytes(), samples].concat()
}

/// The garment in another colour, light or dark, against a backdrop that is mostly light.
fn photo(image: &[u8], seed: u64) -> Vec<u8> {
    let draws: Vec<f32> = splitmix::uniform(seed, 9, 0.5).into_iter().map(|v| v + 0.5).collect();
    let backdrop = [0, 1, 2].map(|c| 1.0 - (0.1 + 0.6 * draws[0] * draws[1]) * (0.7 + 0.3 * draws[2 + c]));
    let colour = [0, 1, 2].map(|c| 0.25 + 0.75 * draws[5 + c]);
    let is_dark = draws[8] < 0.5;
    let pixel = |&v: &u8| {
        let v = f32::from(v) / 255.0;
        // The garment covers the black around it from a tenth of white on.
        let cover = (v * 10.0).min(1.0);
        let shade = if is_dark { 0.9 - 0.8 * v } else { v };
        [0, 1, 2].map(|c| (255.0 * (cover * shade * colour[c] + (1.0 - cover) * backdrop[c])).round() as u8)
    };
    image.iter().flat_map(pixel).collect()
}
