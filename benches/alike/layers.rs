//! Pools every layer of the ImageNet trunk in several ways, for all pictures of a folder, to choose the features that find
//! copies of pictures: `recall.py` reads the result.
//!
//!     cargo run --example alike-layers -- FOLDER OUTPUT [SIZE] [whole|centre]
//!
//! `FOLDER` has a folder for each kind of copy, as `pictures.py` makes them. `OUTPUT` is a safetensors file with a tensor of f16
//! for each kind, `[picture, number]`; its metadata names the columns.

use std::{collections::BTreeMap, error::Error, fs, path::Path, sync::mpsc, thread};

use alexnet_wgpu::{DType, Gpu, GpuOptions, Model, Picture, Pipeline, Resize, Shape, Tensor, Weights};

const LAYERS: [&str; 6] = ["pool1", "pool2", "conv3", "conv4", "conv5", "pool5"];
const BATCH: usize = 16;

/// The ways of pooling a plane: of all of it, or of 2×2 or 3×3 cells; with the number of cells along a side.
const POOLINGS: [(&str, usize); 6] =
    [("mean", 1), ("max", 1), ("gem3", 1), ("mean2x2", 2), ("max2x2", 2), ("mean3x3", 3)];

/// Appends the pooled cells of a plane of `side` × `side` numbers, row by row.
fn pool(name: &str, cells: usize, plane: &[f32], side: usize, out: &mut Vec<f32>) {
    // Adjacent cells share the row or column between them where the side is not a multiple.
    let part = |index: usize| index * side / cells..((index + 1) * side).div_ceil(cells);
    for row in 0..cells {
        for column in 0..cells {
            let values = part(row).flat_map(|y| part(column).map(move |x| plane[y * side + x]));
            let mean = |power: i32| {
                let (sum, count) = values.clone().fold((0.0, 0), |(sum, count), x| (sum + x.powi(power), count + 1));
                sum / count as f32
            };
            out.push(match &name[..3] {
                "max" => values.fold(0.0, f32::max),
                "gem" => mean(3).cbrt(),
                _ => mean(1),
            });
        }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [folder, output, rest @ ..] = &arguments[..] else {
        return Err("usage: alike-layers FOLDER OUTPUT [SIZE] [whole|centre]".into());
    };
    let size = rest.first().map_or(Ok(224), |size| size.parse())?;
    let mut model = Model::imagenet_trunk()?;
    model.network = model.network.with_input(Shape::new(3, size, size))?;
    let whole = rest.get(1).is_none_or(|how| how == "whole");
    let resize = if whole { Resize::Warp([size, size]) } else { Resize::ShorterSide(size * 256 / 224) };
    let preprocessing = model.preprocessing.resize(resize).crop([size, size]);
    let gpu = Gpu::open_blocking(&GpuOptions::default())?;
    let pipeline = Pipeline::builder(&gpu, &model.network, &model.weights).batch(BATCH).build()?;

    let mut columns = Vec::new();
    for layer in LAYERS {
        let channels = model.network.layer(layer)?.output.channels;
        columns.extend(POOLINGS.map(|(pooling, cells)| (layer, pooling, channels * cells * cells)));
    }
    let width: usize = columns.iter().map(|column| column.2).sum();
    let mut kinds: Vec<_> = fs::read_dir(folder)?.collect::<Result<Vec<_>, _>>()?;
    kinds.sort_by_key(|kind| kind.file_name());
    let mut result = Weights::default();
    for kind in kinds {
        let name = kind.file_name().to_string_lossy().into_owned();
        if !kind.path().join("0000.jpg").is_file() {
            continue;
        }
        let start = std::time::Instant::now();
        let values = features(
            &kind.path(),
            |picture| preprocessing.apply(picture),
            |input| {
                let layers = pipeline.run_layers_blocking(input, &LAYERS)?;
                let mut pictures = vec![Vec::new(); BATCH];
                for (name, values) in LAYERS.iter().zip(&layers) {
                    let shape = model.network.layer(name)?.output;
                    for (out, planes) in pictures.iter_mut().zip(values.chunks_exact(shape.len())) {
                        for (pooling, cells) in POOLINGS {
                            let planes = planes.chunks_exact(shape.height * shape.width);
                            planes.for_each(|plane| pool(pooling, cells, plane, shape.width, out));
                        }
                    }
                }
                Ok(pictures)
            },
        )?;
        let count = values.len() / width;
        println!("{name}: {count} pictures, {:.1} per second", count as f64 / start.elapsed().as_secs_f64());
        result.insert(name, Tensor::from_f32([count, width], values).cast(DType::F16));
    }
    let columns: Vec<_> = columns.iter().map(|(layer, pooling, count)| format!("{layer} {pooling} {count}")).collect();
    result.metadata = BTreeMap::from([("columns".to_string(), columns.join(","))]);
    result.save(output)?;
    Ok(())
}

/// The features of the pictures in `folder`, sorted by name. Pictures are decoded on a thread of their own.
fn features<E: Error + Send + Sync + 'static>(
    folder: &Path,
    prepare: impl Fn(&Picture) -> Result<Vec<f32>, E> + Sync,
    run: impl Fn(&[f32]) -> Result<Vec<Vec<f32>>, Box<dyn Error>>,
) -> Result<Vec<f32>, Box<dyn Error>> {
    let mut paths: Vec<_> =
        fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>()?;
    paths.sort();
    let (send, batches) = mpsc::sync_channel(2);
    thread::scope(|scope| {
        let (paths, prepare) = (&paths, &prepare);
        scope.spawn(move || {
            for paths in paths.chunks(BATCH) {
                let inputs = paths.iter().map(|path| {
                    let picture = Picture::open(path).map_err(|e| format!("{}: {e}", path.display()))?;
                    prepare(&picture).map_err(|e| format!("{}: {e}", path.display()))
                });
                if send.send(inputs.collect::<Result<Vec<_>, _>>()).is_err() {
                    return;
                }
            }
        });
        let mut values = Vec::new();
        for inputs in batches {
            let inputs = inputs?;
            let count = inputs.len();
            let mut input = inputs.concat();
            input.resize(input.len() / count * BATCH, 0.0);
            values.extend(run(&input)?.into_iter().take(count).flatten());
        }
        Ok(values)
    })
}
