//! Moves the pixels of a grey picture until it looks like a target to LPIPS: gradient descent by Adam, as renderers and codecs are
//! optimised. The result shows what LPIPS sees: edges and textures, and little of the colours and of fine noise. For
//! pictures that people look at, add the squared difference of the pixels.
//!
//! ```text
//! cargo run --release --example lpips_target examples/pictures/coffee.png out.ppm 200
//! ```

use std::{env, error::Error, fs};

use alexnet_wgpu::{Gpu, GpuOptions, Lpips, LpipsGradient, Picture, Preprocessing, Resize, Shape};

const SIDE: usize = 128;
const RATE: f32 = 0.02;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [target, out, steps @ ..] = &arguments[..] else { return Err("expected a target and an output file".into()) };
    let steps: i32 = steps.first().map_or(Ok(100), |steps| steps.parse())?;

    let (small, shape) = (Preprocessing::new(Resize::Warp([SIDE; 2]), [SIDE; 2]), Shape::new(3, SIDE, SIDE));
    let target =
        small.picture(&small.apply(&Picture::open(target)?)?, shape).ok_or("expected a picture of three channels")?;

    let gpu = Gpu::open_blocking(&GpuOptions::default())?;
    let lpips = LpipsGradient::new(&gpu, &Lpips::imagenet()?, &target)?;
    let mut pixels = vec![0.5; shape.len()];
    // Kingma and Ba 2014.
    let (mut mean, mut square) = (vec![0.0; pixels.len()], vec![0.0; pixels.len()]);
    for step in 1..=steps {
        let found = lpips.run_blocking(&pixels)?;
        if step == 1 || step % 10 == 0 {
            println!("step {step}: LPIPS {:.4}", found.lpips);
        }
        let [bias1, bias2] = [0.9f32, 0.999].map(|beta| 1.0 - beta.powi(step));
        for (i, slope) in found.gradient.into_iter().enumerate() {
            mean[i] = 0.9 * mean[i] + 0.1 * slope;
            square[i] = 0.999 * square[i] + 0.001 * slope * slope;
            let by = mean[i] / bias1 / ((square[i] / bias2).sqrt() + 1e-12);
            pixels[i] = (pixels[i] - RATE * by).clamp(0.0, 1.0);
        }
    }

    let picture = small.picture(&pixels, shape).ok_or("expected three channels")?;
    let ppm = [format!("P6 {SIDE} {SIDE} 255\n").into_bytes(), picture.rgb().to_vec()].concat();
    Ok(fs::write(out, ppm)?)
}
