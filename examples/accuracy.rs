//! Measures the embedded model on the 10,000 test pictures of Fashion-MNIST.
//!
//! Debian's package `dataset-fashion-mnist` brings the two files (MIT, Zalando Research):
//!
//! ```text
//! gunzip -k t10k-images-idx3-ubyte.gz t10k-labels-idx1-ubyte.gz
//! cargo run --release --example accuracy t10k-images-idx3-ubyte t10k-labels-idx1-ubyte
//! ```

use std::{env, error::Error, fs};

use alexnet_wgpu::{Classifier, Gpu, GpuOptions, Model, Picture, Pipeline};

const BATCH: usize = 16;

fn main() -> Result<(), Box<dyn Error>> {
    let [images, labels] = [1, 2].map(|i| env::args().nth(i).ok_or("expected two files: images and labels"));
    // IDX: a header of 16 bytes (8 for labels), then one byte a sample.
    let (images, labels) = (fs::read(images?)?, fs::read(labels?)?);
    let images = images.get(16..).ok_or("the images are cut short")?;
    let labels = labels.get(8..).ok_or("the labels are cut short")?;

    let model = Model::embedded()?;
    let gpu = Gpu::open_blocking(&GpuOptions::default())?;
    let pipeline = Pipeline::builder(&gpu, &model.network, &model.weights).batch(BATCH).top(1).build()?;
    let classifier = Classifier::from_pipeline(pipeline, model.preprocessing, model.labels.clone());

    let mut confusion = vec![[0u32; 10]; 10];
    for (images, labels) in images.chunks(28 * 28 * BATCH).zip(labels.chunks(BATCH)) {
        let mut batch = Vec::new();
        for image in images.chunks_exact(28 * 28) {
            let picture = Picture::from_rgb8(28, 28, image.iter().flat_map(|&v| [v; 3]).collect())?;
            batch.extend(classifier.preprocess(&picture)?);
        }
        batch.resize(model.network.input().len() * BATCH, 0.0);
        let predictions = classifier.classify_input_blocking(&batch)?;
        for (&label, top) in labels.iter().zip(predictions) {
            confusion[usize::from(label)][top[0].index] += 1;
        }
    }
    let correct: u32 = (0..10).map(|i| confusion[i][i]).sum();
    let total: u32 = confusion.iter().flatten().sum();
    println!("{correct} of {total} right, {:.2} %", 100.0 * f64::from(correct) / f64::from(total));
    for (label, row) in model.labels.iter().zip(&confusion) {
        println!("{label:12} {row:?}");
    }
    Ok(())
}
