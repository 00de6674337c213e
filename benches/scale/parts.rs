//! What a run over many pictures is made of, each part alone: processor seconds of decoding and preprocessing on one thread, and
//! of computing in batches of 16. And a file of full-size weights to run with.
//!
//!     cargo run --release --example scale-parts -- decode FOLDER [WEIGHTS]
//!     cargo run --release --example scale-parts -- compute PICTURES [WEIGHTS]
//!     cargo run --release --example scale-parts -- weights FILE
//!
//! The embedded model without WEIGHTS. Linux only: times are those of /proc. See measure.py.
#![allow(clippy::unwrap_used, reason = "a failure ends the benchmark")]

use std::{env, fs, hint::black_box, time::Instant};

use alexnet_wgpu::{AlexNet, Gpu, GpuOptions, Model, ModelOptions, Picture, Pipeline, Weights};

const BATCH: usize = 16;

/// Processor seconds of this process so far, of all threads.
fn processor() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    // utime and stime, in hundredths.
    fields[11..13].iter().map(|ticks| ticks.parse::<f64>().unwrap() / 100.0).sum()
}

fn model(weights: Option<&String>) -> Model {
    match weights {
        Some(file) => Model::open(file, &ModelOptions::default()).unwrap(),
        None => Model::embedded().unwrap(),
    }
}

fn main() {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let (what, argument, weights) = (arguments[0].as_str(), &arguments[1], arguments.get(2));
    match what {
        "decode" => {
            let preprocessing = model(weights).preprocessing;
            let mut files: Vec<_> = fs::read_dir(argument).unwrap().map(|entry| entry.unwrap().path()).collect();
            files.sort();
            let (start, before) = (Instant::now(), processor());
            for file in &files {
                black_box(preprocessing.apply(&Picture::open(file).unwrap()).unwrap());
            }
            report(files.len(), start, before);
        }
        "compute" => {
            let (count, model) = (argument.parse::<usize>().unwrap(), model(weights));
            let gpu = Gpu::open_blocking(&GpuOptions::default()).unwrap();
            let pipeline = Pipeline::builder(&gpu, &model.network, &model.weights).batch(BATCH).build().unwrap();
            let input = vec![0.5; model.network.input().len() * BATCH];
            pipeline.run_top_blocking(&input).unwrap();
            let (start, before) = (Instant::now(), processor());
            for _ in 0..count.div_ceil(BATCH) {
                black_box(pipeline.run_top_blocking(&input).unwrap());
            }
            report(count, start, before);
        }
        "weights" => {
            let network = AlexNet::UNGROUPED.network().unwrap();
            let weights = Weights::random(&network, 0);
            let options = ModelOptions::default().network(network);
            Model::from_weights(weights, &options).unwrap().to_weights().unwrap().save(argument).unwrap();
        }
        _ => panic!("expected decode, compute or weights, found {what}"),
    }
}

fn report(pictures: usize, start: Instant, before: f64) {
    println!("{} {:.2} {:.2}", pictures, start.elapsed().as_secs_f64(), processor() - before);
}
