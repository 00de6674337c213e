//! `alexnet explain`: the pixels on which an answer rests.

use std::{io::Write, ops::Range, path::PathBuf, process::ExitCode};

use alexnet_wgpu::{
    Gpu, Model, Picture,
    explain::{ExplainError, Explainer, Heat, Method, Projection, Projector},
    percentile, write_atomically,
};
use clap::ValueEnum;
use serde_json::json;

use crate::{
    failure::{Failure, printable},
    files::{self, Crops},
    npy,
    options::{GpuArgs, ModelArgs},
    progress,
};

const EXAMPLES: &str = "\
Examples:
  alexnet explain shoe.jpg --output heat.png
  alexnet explain shoe.jpg --class sandal --output heat.png
  alexnet explain dog.jpg --weights torchvision --method guided --output dog.png
  alexnet explain shoe.jpg --method integrated --output heat.npy
  alexnet explain shoe.jpg --method deconvnet --layer conv3 --channel 7 \\
    --output seen.png

Exit codes: 0 done; 1 the picture, a file or the device failed; 2 invalid arguments, or no such class or layer.";

/// Show the pixels that a class rests on
///
/// Writes the part of the picture that the network sees, with a heat map over it: yellow and red for the class, blue against
/// it. Or the map's numbers, at the size of the network's input.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// A picture file
    #[arg(value_name = "IMAGE")]
    image: PathBuf,
    /// The class: its number, from 0 on, or its label; by default the most likely one
    #[arg(long, value_name = "N|LABEL")]
    class: Option<String>,
    /// How the map is made
    #[arg(long, value_name = "NAME", default_value = "grad-cam")]
    method: MethodName,
    /// The layer whose maps Grad-CAM weighs, by default the last convolution; or the layer of --channel
    #[arg(long, value_name = "NAME")]
    layer: Option<String>,
    /// Instead of explaining a class, project the strongest activation of this channel of --layer back to pixels, with --method
    /// deconvnet; `strongest` takes the channel that answers most
    #[arg(long, value_name = "N|strongest", requires = "layer")]
    channel: Option<String>,
    /// Number of gradients between black and the picture for integrated gradients
    #[arg(long, value_name = "N", default_value_t = 32)]
    steps: usize,
    /// Output file; its extension selects the format: .png, or .npy with rows × columns of float32
    #[arg(long, value_name = "FILE.png|FILE.npy")]
    output: PathBuf,
    /// Print a JSON object: image, method, class, label, score (the network's output before a softmax), output; with --channel:
    /// image, method, layer, channel, activation, row, column, rows and columns (of the picture), output
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    gpu: GpuArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum MethodName {
    /// A layer's maps, weighted with their gradients (Grad-CAM)
    GradCam,
    /// The gradient's size at each pixel
    Saliency,
    /// The same with gradients that are positive all the way (guided backpropagation)
    Guided,
    /// The same whatever the activations were (deconvnet)
    Deconvnet,
    /// Integrated gradients: each pixel's part in the score
    Integrated,
    /// How far the score falls when a patch is covered
    Occlusion,
}

impl Args {
    fn method(&self) -> Result<Method, Failure> {
        if self.layer.is_some() && self.method != MethodName::GradCam && self.channel.is_none() {
            return Err(Failure::usage(
                "--layer is for --method grad-cam, and for --channel: leave it out, or choose that method",
            ));
        }
        Ok(match self.method {
            MethodName::GradCam => Method::GradCam { layer: self.layer.clone() },
            MethodName::Saliency => Method::Saliency,
            MethodName::Guided => Method::Guided,
            MethodName::Deconvnet => Method::Deconvnet,
            MethodName::Integrated => Method::Integrated { steps: self.steps },
            MethodName::Occlusion => Method::Occlusion,
        })
    }

    /// The channel whose view is asked for; `None` is the one with the strongest activation.
    fn channel(&self) -> Result<Option<Option<usize>>, Failure> {
        let Some(channel) = &self.channel else { return Ok(None) };
        if self.method != MethodName::Deconvnet || self.class.is_some() {
            return Err(Failure::usage(
                "--channel is for --method deconvnet, without --class: leave it out, or choose that method",
            ));
        }
        match channel.as_str() {
            "strongest" => Ok(Some(None)),
            number => match number.parse() {
                Ok(number) => Ok(Some(Some(number))),
                Err(_) => Err(Failure::usage(format!(
                    "expected the number of a channel, from 0, or `strongest` as --channel, found {}",
                    printable(number)
                ))),
            },
        }
    }

    /// The number of the class, if one is given.
    fn class(&self, labels: &[String], classes: usize) -> Result<Option<usize>, Failure> {
        let Some(class) = &self.class else { return Ok(None) };
        let by_label = || labels.iter().position(|label| label.to_lowercase() == class.to_lowercase());
        let found = class.parse().ok().filter(|&class: &usize| class < classes).or_else(by_label);
        let unknown = || {
            let last = classes.saturating_sub(1);
            let class = printable(class);
            Failure::usage(format!("expected a class of 0 to {last} or a label of the model, found {class}"))
        };
        found.map(Some).ok_or_else(unknown)
    }
}

pub fn run(args: &Args) -> Result<ExitCode, Failure> {
    let (method, channel) = (args.method()?, args.channel()?);
    let is_png = match files::ending(&args.output).as_str() {
        "png" => true,
        "npy" => false,
        _ => {
            let found = args.output.display();
            return Err(Failure::usage(format!("expected an output that ends in .png or .npy, found {found}")));
        }
    };
    files::keep_apart(&args.output, args.model.files()?.into_iter().chain([args.image.clone()]))?;
    let model = args.model.open(None)?;
    args.model.warn(&model, true);
    let class = args.class(&model.labels, model.network.output().len())?;
    let reading = format!("reading {}", printable(&args.image.to_string_lossy()));
    let input = progress::while_working(reading, || files::picture(&args.image, &model.preprocessing, Crops::One))
        .map_err(Failure::run)?;

    let gpu = args.gpu.open()?;
    let message = format!("uploading {} to {}", model.network.name(), gpu.info().name);
    if let (Some(channel), Some(layer)) = (channel, &args.layer) {
        return project(args, is_png, (&gpu, &model, message), (layer, channel), &input);
    }
    let explainer = progress::while_working(message, || {
        Explainer::new(&gpu, &model.network, &model.weights, method).map_err(failure)
    })?;
    let class = match class {
        Some(class) => class,
        None => largest(&explainer.scores_blocking(&input)?),
    };
    let explanation = progress::while_working("computing the map", || explainer.explain_blocking(&input, class))?;
    let heat = &explanation.heat;
    let seen = model.preprocessing.picture(&input, model.network.input());
    write_atomically(&args.output, |file| match is_png {
        true => {
            let size = [heat.width, heat.height].map(|side| side as u32);
            alexnet_snapshots::write_png(&painted(heat, seen.as_ref()), size, file)
        }
        false => npy::write(file, &[heat.height, heat.width], &heat.values),
    })
    .map_err(|e| Failure::cannot_write(&args.output, e))?;
    print(args, &model, class, explanation.score)?;
    Ok(ExitCode::SUCCESS)
}

fn failure(error: ExplainError) -> Failure {
    match error {
        ExplainError::Option { .. } | ExplainError::Network(_) => Failure::usage(error),
        error => error.into(),
    }
}

/// Writes what a channel saw: as a picture, the part that it reaches, and the same part of the picture beside it.
fn project(
    args: &Args,
    is_png: bool,
    (gpu, model, message): (&Gpu, &Model, String),
    (layer, channel): (&str, Option<usize>),
    input: &[f32],
) -> Result<ExitCode, Failure> {
    let Model { network, weights, preprocessing, .. } = model;
    let projection = progress::while_working(message, || {
        let projector = Projector::new(gpu, network, weights, preprocessing, layer)?;
        projector.project_blocking(input, channel)
    })
    .map_err(failure)?;
    let Projection { channel, activation, position: [row, column], .. } = projection;
    let shape = network.input();
    let seen = preprocessing.picture(input, shape);
    write_atomically(&args.output, |file| match is_png {
        true => {
            // The projector takes networks for pictures only.
            let pictures = [&projection.picture, seen.as_ref().unwrap_or(&projection.picture)];
            let (pixels, size) = side_by_side(pictures, &projection.rows, &projection.columns);
            alexnet_snapshots::write_png(&pixels, size, file)
        }
        false => npy::write(file, &[shape.channels, shape.height, shape.width], &projection.values),
    })
    .map_err(|e| Failure::cannot_write(&args.output, e))?;
    let (image, output) = (args.image.to_string_lossy(), args.output.to_string_lossy());
    let mut out = anstream::stdout().lock();
    let [rows, columns] = [&projection.rows, &projection.columns].map(|range| [range.start, range.end]);
    let written = if args.json {
        let line = json!({
            "image": image, "method": "deconvnet", "layer": layer, "channel": channel, "activation": activation,
            "row": row, "column": column, "rows": rows, "columns": columns, "output": output,
        });
        writeln!(out, "{line}")
    } else {
        let (layer, output) = (printable(layer), printable(&output));
        writeln!(out, "{layer}, channel {channel}, {activation:.2} in row {row}, column {column}: {output}")
    };
    written.map_err(Failure::output)?;
    Ok(ExitCode::SUCCESS)
}

/// A part of each picture, enlarged without smoothing where it is small, with a gap between.
fn side_by_side(pictures: [&Picture; 2], rows: &Range<usize>, columns: &Range<usize>) -> (Vec<u8>, [u32; 2]) {
    const SMALLEST: usize = 224;
    const GAP: usize = 8;
    let whole = |range: &Range<usize>, side: u32| if range.is_empty() { 0..side as usize } else { range.clone() };
    let (rows, columns) = (whole(rows, pictures[0].height()), whole(columns, pictures[0].width()));
    let factor = SMALLEST.div_ceil(rows.len().max(columns.len()));
    let [height, width] = [rows.len(), columns.len()].map(|side| side * factor);
    let mut rgb = Vec::with_capacity(3 * height * (2 * width + GAP));
    for row in 0..height {
        for (index, picture) in pictures.into_iter().enumerate() {
            rgb.resize(rgb.len() + 3 * GAP * index, 255);
            let line = (rows.start + row / factor) * picture.width() as usize;
            for column in 0..width {
                let at = 3 * (line + columns.start + column / factor);
                rgb.extend_from_slice(&picture.rgb()[at..at + 3]);
            }
        }
    }
    (rgb, [2 * width + GAP, height].map(|side| side as u32))
}

fn print(args: &Args, model: &Model, class: usize, score: f32) -> Result<(), Failure> {
    let label = model.labels.get(class).cloned().unwrap_or_else(|| format!("class {class}"));
    let mut out = anstream::stdout().lock();
    let (image, output) = (args.image.to_string_lossy(), args.output.to_string_lossy());
    let written = if args.json {
        let method = args.method.to_possible_value().map(|value| value.get_name().to_string());
        let line = json!({
            "image": image, "method": method, "class": class, "label": label, "score": score, "output": output,
        });
        writeln!(out, "{line}")
    } else {
        writeln!(out, "{}, score {score:.2}: {}", printable(&label), printable(&output))
    };
    written.map_err(Failure::output)
}

fn largest(scores: &[f32]) -> usize {
    (0..scores.len()).fold(0, |best, class| if scores[class] > scores[best] { class } else { best })
}

/// The picture in grey, with the map over it.
fn painted(heat: &Heat, picture: Option<&Picture>) -> Vec<u8> {
    // A few outliers of a saliency map are far above the rest.
    let mut sizes: Vec<f32> = heat.values.iter().map(|value| value.abs()).collect();
    let largest = percentile(&mut sizes, 0.995).unwrap_or_default().max(f32::MIN_POSITIVE);
    let pixel = |(&value, rgb): (&f32, &[u8; 3])| {
        let [r, g, b] = rgb.map(f32::from);
        let grey = 0.6 * (0.299 * r + 0.587 * g + 0.114 * b);
        let t = (value.abs() / largest).min(1.0);
        let paint = if value > 0.0 { [255.0, 230.0 * t * t, 0.0] } else { [30.0, 110.0, 255.0] };
        let share = 0.9 * t;
        paint.map(|paint| (grey + (paint - grey) * share) as u8)
    };
    let pixels = picture.map_or(&[][..], |picture| picture.rgb().as_chunks::<3>().0);
    heat.values.iter().zip(pixels).flat_map(pixel).collect()
}
