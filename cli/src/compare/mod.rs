//! `alexnet compare`: how alike pictures are.

mod pairs;
mod report;
mod thresholds;

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::mpsc,
    thread,
    time::Instant,
};

use alexnet_snapshots::heat_map;
use alexnet_wgpu::{Comparer, Comparison, Lpips, Model, ModelOptions, Picture, Weights, percentile, write_atomically};

use self::{
    pairs::Pair,
    report::{Compared, Format, Measured, Report, Verdict},
    thresholds::{Cases, Thresholds},
};
use crate::{
    failure::{Failure, chain, complain, note},
    files,
    network::NetworkArgs,
    options::{GpuArgs, ModelArgs, PreprocessingArgs},
    progress,
};

const EXAMPLES: &str = "\
Examples:
  alexnet compare expected.png actual.png
  alexnet compare golden/ renders/ --fail-above 0.02 --fail-above-local 0.3
  alexnet compare golden/ renders/ --format junit --output out.xml --map maps/

LPIPS (Zhang and others 2018, version 0.1, AlexNet) is 0 for pictures that look the same and about 0.7 for unrelated \
ones. It tells a driver's rounding (0.001) from broken content (a missing row of dots: 0.05), and is blind to uniform \
changes of colour and to tenths of a pixel: for those, look at PSNR and the largest difference. It is a mean, and \
thins out with a picture's area, so --fail-above-local looks at the largest value of the map. Pictures that must be \
equal bit by bit need no LPIPS: their largest difference is 0.

Exit codes: 0 all are alike, or no threshold is given; 1 some are different; 2 some could not be compared, or invalid \
arguments.";

/// Compare pictures as people see them: LPIPS, a map, and PSNR
///
/// Compares two files, or the files of two folders that have the same names. The pictures must have the same size.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The picture as it should be, or a folder of pictures
    #[arg(value_name = "EXPECTED")]
    expected: PathBuf,
    /// The picture to judge, or a folder of pictures with the same names
    #[arg(value_name = "ACTUAL")]
    actual: PathBuf,
    /// Exit with 1 if LPIPS is above this
    #[arg(long, value_name = "LPIPS", value_parser = threshold, allow_negative_numbers = true)]
    fail_above: Option<f32>,
    /// Exit with 1 if the largest value of the map is above this
    #[arg(long, value_name = "VALUE", value_parser = threshold, allow_negative_numbers = true)]
    fail_above_local: Option<f32>,
    /// Thresholds for single pictures, which override the others: a JSON file such as
    /// {"menu.png": {"lpips": 0.02, "local": 0.3}}
    #[arg(long, value_name = "FILE")]
    thresholds: Option<PathBuf>,
    /// Ignore the parts that are black in this picture, or in the picture of the same name in this folder: there, the
    /// expected picture's pixels are used for both
    #[arg(long, value_name = "PICTURE|FOLDER")]
    mask: Option<PathBuf>,
    /// Write the map of distances as a PNG file, with its scale; for folders, a folder of maps
    #[arg(long, value_name = "FILE.png|FOLDER")]
    map: Option<PathBuf>,
    /// The form of the report
    #[arg(long, value_enum, default_value_t, conflicts_with = "json")]
    format: Format,
    /// One JSON object per pair, one per line: name, verdict (alike, different, error), lpips, largest (of the map), p99 and
    /// p95 (its percentiles), psnr (null for equal pictures), max_difference, differing (share of pixels), fail_above,
    /// fail_above_local, passes_above and passes_above_local (thresholds that would have passed), error, layers
    #[arg(long)]
    json: bool,
    /// Write the report to a file instead of standard output
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Features in place of the built-in ones: torchvision's AlexNet (.pth or other weights), or the name of fetched ones
    #[arg(long, value_name = "FILE")]
    weights: Option<PathBuf>,
    /// LPIPS's weights of the channels in place of the built-in ones: `alex.pth` of the PyTorch package lpips, or `lpips` once
    /// `alexnet fetch lpips` got it
    #[arg(long, value_name = "FILE")]
    lpips: Option<PathBuf>,
    #[command(flatten)]
    gpu: GpuArgs,
}

fn threshold(text: &str) -> Result<f32, String> {
    match text.parse() {
        Ok(value) if (0.0..f32::INFINITY).contains(&value) => Ok(value),
        _ => Err("expected a number of at least 0".into()),
    }
}

/// The number of decoded pairs that may wait while another is compared.
const AHEAD: usize = 1;

pub fn run(args: &Args) -> Result<ExitCode, Failure> {
    match compare(args) {
        // Here, 1 says that pictures differ.
        Err(Failure::Run(message)) => {
            complain(&message);
            Ok(ExitCode::from(2))
        }
        result => result,
    }
}

fn compare(args: &Args) -> Result<ExitCode, Failure> {
    let pairs = pairs::of(&args.expected, &args.actual)?;
    let all = Thresholds { lpips: args.fail_above, local: args.fail_above_local };
    let cases = Cases::new(all, args.thresholds.as_deref())?;
    for name in cases.unknown(pairs.iter().map(|pair| pair.name.as_str())) {
        note(&format!("the thresholds name {name}, and there is no such pair"));
    }
    let folders = args.expected.is_dir();
    let maps = Maps::new(args.map.as_deref(), folders)?;
    let read = || pairs.iter().flat_map(|pair| pair.expected.iter().chain(&pair.actual).cloned());
    for pair in &pairs {
        if let Some(path) = maps.place(&pair.name) {
            files::keep_apart(&path, read())?;
        }
    }
    if let Some(output) = &args.output {
        files::keep_apart(output, read())?;
    }
    let lpips = lpips(args)?;

    let format = if args.json { Format::Json } else { args.format };
    let bar = progress::bar(pairs.len(), "pairs");
    let (mut different, mut errors) = (false, false);
    let (mut text, mut stdout) = (Vec::new(), anstream::stdout());
    let out: &mut dyn Write = if args.output.is_some() { &mut text } else { &mut stdout };
    let mut report = Report::new(format, out);
    thread::scope(|threads| {
        let (send, prepared) = mpsc::sync_channel(AHEAD);
        let (pairs, mask) = (&pairs, args.mask.as_deref());
        threads.spawn(move || {
            for pair in pairs {
                if send.send(pictures(pair, mask)).is_err() {
                    return;
                }
            }
        });
        // Made for the first pair that can be read, so that a mistyped name is reported at once.
        let mut comparer = None;
        for (pair, pictures) in pairs.iter().zip(prepared) {
            let start = Instant::now();
            let compared = match pictures {
                Ok([expected, actual]) => {
                    let comparer = match &comparer {
                        Some(comparer) => comparer,
                        None => comparer.insert(Comparer::with_lpips(&args.gpu.open()?, lpips.clone())),
                    };
                    comparer.compare_blocking(&expected, &actual).map_err(|e| format!("{}: {}", pair.name, chain(&e)))
                }
                Err(reason) => Err(reason),
            };
            if let Ok(comparison) = &compared {
                maps.write(&pair.name, comparison)?;
            }
            let measured = compared.as_ref().map(measured).map_err(String::clone);
            let (expected, actual) = (pair.expected.clone(), pair.actual.clone());
            let (name, thresholds, took) = (pair.name.clone(), cases.of(&pair.name), start.elapsed());
            let compared = Compared { name, expected, actual, thresholds, measured, took };
            different |= compared.verdict() == Verdict::Different;
            errors |= compared.verdict() == Verdict::Error;
            bar.suspend(|| {
                if let Err(reason) = &compared.measured {
                    complain(reason);
                }
                report.add(compared).map_err(Failure::output)
            })?;
            bar.inc(1);
        }
        Ok::<_, Failure>(())
    })?;
    report.finish().map_err(Failure::output)?;
    if let Some(path) = &args.output {
        write_atomically(path, |file| file.write_all(&text)).map_err(|e| Failure::cannot_write(path, e))?;
    }
    bar.finish_and_clear();
    Ok(ExitCode::from(if errors { 2 } else { u8::from(different) }))
}

/// The metric: the built-in weights, or those of files.
fn lpips(args: &Args) -> Result<Lpips, Failure> {
    let mut lpips = Lpips::imagenet()?;
    // A file, or the fetched one of that name.
    let path = |given: &Option<PathBuf>| {
        ModelArgs::new(given.clone(), NetworkArgs::default(), PreprocessingArgs::default()).path()
    };
    if let Some(path) = path(&args.weights)? {
        let trunk = Model::open(&path, &ModelOptions::default()).map_err(|error| match Weights::open(&path) {
            Ok(weights) if Lpips::are_channel_weights(&weights) => Failure::run(format!(
                "{}: expected the features of torchvision's AlexNet, found LPIPS's weights of channels: give them as --lpips",
                path.display()
            )),
            _ => Failure::run(format!("{}: {}", path.display(), chain(&error))),
        })?;
        lpips = lpips.with_trunk(&trunk).map_err(|e| Failure::run(format!("{}: {}", path.display(), chain(&e))))?;
    }
    if let Some(path) = path(&args.lpips)? {
        let named = |reason: String| Failure::run(format!("{}: {reason}", path.display()));
        let channels = Weights::open(&path).map_err(|e| named(chain(&e)))?;
        lpips = lpips.with_channels(&channels).map_err(|e| named(chain(&e)))?;
    }
    Ok(lpips)
}

/// A decoded pair.
fn pictures(pair: &Pair, mask: Option<&Path>) -> Result<[Picture; 2], String> {
    let Pair { name, expected, actual } = pair;
    let open = |path: &Option<PathBuf>, which: &str, other: &str| match path {
        Some(path) => files::open_picture(path),
        None => Err(format!(
            "{name}: expected a picture of this name in both folders, found none in the {which}, one in the {other}"
        )),
    };
    let expected = open(expected, "first", "second")?;
    let mut actual = open(actual, "second", "first")?;
    if let Some(mask) = mask {
        let path = if mask.is_dir() { mask.join(name) } else { mask.to_path_buf() };
        // In a folder, pictures without a mask are compared whole.
        if !mask.is_dir() || path.exists() {
            let mask = files::open_picture(&path)?;
            actual = masked(&expected, &actual, &mask).map_err(|reason| format!("{}: {reason}", path.display()))?;
        }
    }
    Ok([expected, actual])
}

/// `actual`, with the pixels of `expected` where `mask` is black.
fn masked(expected: &Picture, actual: &Picture, mask: &Picture) -> Result<Picture, String> {
    let size = |picture: &Picture| (picture.width(), picture.height());
    if size(expected) != size(actual) {
        // Said by the comparison.
        return Ok(actual.clone());
    }
    if size(mask) != size(actual) {
        let ((width, height), (found_width, found_height)) = (size(actual), size(mask));
        return Err(format!("expected a mask of {width}×{height} pixels, found {found_width}×{found_height}"));
    }
    let mut rgb = actual.rgb().to_vec();
    let pixels = rgb.as_chunks_mut::<3>().0.iter_mut();
    for ((pixel, expected), mask) in pixels.zip(expected.rgb().as_chunks().0).zip(mask.rgb().as_chunks::<3>().0) {
        if mask.iter().map(|&sample| u32::from(sample)).sum::<u32>() < 3 * 128 {
            *pixel = *expected;
        }
    }
    Picture::from_rgb8(actual.width(), actual.height(), rgb).map_err(|e| e.to_string())
}

fn measured(comparison: &Comparison) -> Measured {
    let mut values = comparison.map.as_ref().map(|map| map.values()).unwrap_or_default();
    let [p95, p99] = [0.95, 0.99].map(|share| percentile(&mut values, share).unwrap_or_default());
    Measured {
        lpips: comparison.lpips,
        layers: comparison.layers,
        largest: comparison.largest,
        p99,
        p95,
        psnr: comparison.psnr.is_finite().then_some(comparison.psnr),
        max_difference: comparison.max_difference,
        differing: comparison.differing,
    }
}

/// Where maps are written.
enum Maps {
    None,
    File(PathBuf),
    Folder(PathBuf),
}

impl Maps {
    fn new(path: Option<&Path>, folders: bool) -> Result<Self, Failure> {
        match path {
            None => Ok(Self::None),
            Some(path) if folders => match path.exists() && !path.is_dir() {
                true => Err(Failure::usage(format!("--map: expected a folder, found the file {}", path.display()))),
                false => Ok(Self::Folder(path.into())),
            },
            Some(path) => match files::ending(path).as_str() {
                "png" => Ok(Self::File(path.into())),
                _ => Err(Failure::usage(format!("--map: expected a file that ends in .png, found {}", path.display()))),
            },
        }
    }

    /// The file of a pair's map.
    fn place(&self, name: &str) -> Option<PathBuf> {
        match self {
            Self::None => None,
            Self::File(path) => Some(path.clone()),
            Self::Folder(folder) if name.to_lowercase().ends_with(".png") => Some(folder.join(name)),
            // Pictures that differ in their endings only have maps of their own.
            Self::Folder(folder) => Some(folder.join(format!("{name}.png"))),
        }
    }

    fn write(&self, name: &str, comparison: &Comparison) -> Result<(), Failure> {
        let (Some(path), Some(map)) = (self.place(name), &comparison.map) else { return Ok(()) };
        let folder = match self {
            Self::Folder(_) => path.parent().map_or(Ok(()), std::fs::create_dir_all),
            _ => Ok(()),
        };
        folder
            .and_then(|()| write_atomically(&path, |file| heat_map::write(map, file)))
            .map_err(|e: io::Error| Failure::cannot_write(&path, e))
    }
}
