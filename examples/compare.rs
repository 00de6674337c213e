//! Compares two pictures again and again, and says how long it takes: `cargo run --example compare -- A B [TIMES]`.

use std::{env, error::Error, time::Instant};

use alexnet_wgpu::{Comparer, Gpu, GpuOptions, Picture};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [a, b, times @ ..] = &arguments[..] else { return Err("expected two pictures".into()) };
    let times = times.first().map_or(Ok(5), |times| times.parse())?;
    let (a, b) = (Picture::open(a)?, Picture::open(b)?);

    let gpu = Gpu::open_blocking(&GpuOptions::default().adapter(env::var("ALEXNET_ADAPTER").ok()))?;
    let comparer = Comparer::new(&gpu)?;
    // Pipelines for pictures of this size are made at the first comparison.
    let first = comparer.compare_blocking(&a, &b)?;
    println!("LPIPS {:.6} on {}", first.lpips, gpu.info().name);

    let mut taken = Vec::new();
    for _ in 0..times {
        let start = Instant::now();
        comparer.compare_blocking(&a, &b)?;
        taken.push(start.elapsed().as_secs_f64() * 1e3);
    }
    taken.sort_by(f64::total_cmp);
    println!("{:.1} ms for a pair, the median of {times} ({:.1} at least)", taken[taken.len() / 2], taken[0]);
    Ok(())
}
