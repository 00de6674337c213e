//! The input of a Caffe network: from its file, from a `.prototxt`, or from the size that its weights fit. Files written by a
//! solver have data layers in place of an input, without its shape.

use super::{
    Net, blob, pair,
    proto::{LayerParameter, TransformationParameter},
    size,
    text::{self, Fields},
};
use crate::{model::formats::graph::USUAL_SIDES, shape::Shape};

/// The largest side that is tried.
const MAX_SIDE: usize = 2048;

/// The known properties of a network's input and of its preprocessing.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Input {
    /// Channels, height and width.
    pub shape: Option<Shape>,
    /// The side of the square that a data layer crops.
    pub crop: Option<usize>,
    pub scale: Option<f32>,
    /// One number per channel, or one for all.
    pub mean: Vec<f32>,
    /// The file of a mean image.
    pub mean_file: Option<String>,
    /// Whether a data layer describes the whole preprocessing.
    pub data: bool,
}

impl Input {
    /// The input according to the layers of a network.
    pub fn of(net: &Net) -> Result<Self, String> {
        let mut input = Self::default();
        let layer_shapes = net.layers.iter().filter_map(|layer| layer.input_param.as_ref()?.shape.first());
        let shape = net.net.input_shape.first().into_iter().chain(layer_shapes).map(|shape| shape.dim.as_slice());
        if let Some(dims) = shape.chain(net.net.input_dim.chunks_exact(4)).next() {
            input.shape = Some(shape_of(dims)?);
        }
        for layer in &net.layers {
            if let Some(memory) = layer.memory_data_param {
                let [channels, height, width] = [size(memory.channels)?, size(memory.height)?, size(memory.width)?];
                input.shape.get_or_insert(Shape::new(channels, height, width));
            }
            input.data |= is_data(&layer.r#type);
        }
        let transform = net.layers.iter().find_map(|layer| layer.transform_param.as_ref());
        let data = net.layers.iter().find_map(|layer| layer.data_param.as_ref());
        let crop = |crop: u64| usize::try_from(crop).ok().filter(|&crop| crop > 0);
        input.crop = transform.and_then(|t| crop(t.crop_size)).or(data.and_then(|d| crop(d.crop_size)));
        input.scale = transform.and_then(|t| t.scale).or(data.and_then(|d| d.scale));
        input.mean = transform.map_or_else(Vec::new, |t: &TransformationParameter| t.mean_value.clone());
        let file = transform.and_then(|t| t.mean_file.clone()).or(data.and_then(|d| d.mean_file.clone()));
        input.mean_file = file.filter(|file| !file.is_empty());
        Ok(input)
    }

    /// The input according to a `.prototxt`: `deploy.prototxt`, or the one that the network was trained with.
    pub fn of_text(text: &str) -> Result<Self, String> {
        let fields = text::parse(text)?;
        let layers: Vec<&Fields> = fields.messages("layer").chain(fields.messages("layers")).collect();
        let of_layers = |name: &'static str| layers.iter().flat_map(move |layer| layer.messages(name)).next();
        let mut input = Self::default();
        let of_input = of_layers("input_param").and_then(|input| input.messages("shape").next());
        let shape = fields.messages("input_shape").next().or(of_input);
        let dims: Vec<i64> = match shape {
            Some(shape) => shape.numbers("dim").collect(),
            None => fields.numbers("input_dim").take(4).collect(),
        };
        if !dims.is_empty() {
            input.shape = Some(shape_of(&dims)?);
        }
        if let Some(memory) = of_layers("memory_data_param") {
            let one = |name: &'static str| memory.numbers::<usize>(name).next();
            if let (Some(channels), Some(height), Some(width)) = (one("channels"), one("height"), one("width")) {
                input.shape.get_or_insert(Shape::new(channels, height, width));
            }
        }
        input.data = layers.iter().any(|layer| layer.scalars("type").any(|kind| is_data(kind) || is_data_v1(kind)));
        for part in
            [of_layers("transform_param"), of_layers("data_param"), of_layers("image_data_param")].into_iter().flatten()
        {
            input.crop = input.crop.or(part.numbers("crop_size").next().filter(|&crop| crop > 0));
            input.scale = input.scale.or(part.numbers("scale").next());
            if input.mean.is_empty() {
                input.mean = part.numbers("mean_value").take(4).collect();
            }
            input.mean_file = input.mean_file.take().or(part.scalars("mean_file").next().map(String::from));
        }
        Ok(input)
    }

    /// The same, with unknown properties taken from `other`.
    pub fn or(self, other: Self) -> Self {
        let says_pictures = self.data || self.scale.is_some() || !self.mean.is_empty() || self.mean_file.is_some();
        let pictures = if says_pictures {
            (self.scale, self.mean, self.mean_file, self.data)
        } else {
            (other.scale, other.mean, other.mean_file, other.data)
        };
        let (scale, mean, mean_file, data) = pictures;
        Self { shape: self.shape.or(other.shape), crop: self.crop.or(other.crop), scale, mean, mean_file, data }
    }
}

fn is_data(kind: &str) -> bool {
    matches!(kind, "Data" | "ImageData" | "MemoryData" | "WindowData")
}

fn is_data_v1(kind: &str) -> bool {
    matches!(kind, "DATA" | "IMAGE_DATA" | "MEMORY_DATA" | "WINDOW_DATA")
}

fn shape_of(dims: &[i64]) -> Result<Shape, String> {
    let sizes: Vec<usize> = dims.iter().filter_map(|&d| usize::try_from(d).ok()).take(5).collect();
    match *sizes {
        [_, channels, height, width] => Ok(Shape::new(channels, height, width)),
        // A vector.
        [_, features] => Ok(Shape::vector(features)),
        _ => Err(format!("an input of N×C×H×W, found {} dimensions", dims.len())),
    }
}

/// Possible inputs of a network, the likeliest first.
pub(super) struct Sizes {
    pub shapes: Vec<Shape>,
    /// The alternatives, where the file leaves them open.
    pub doubt: Option<String>,
}

/// A layer's effect on sizes.
#[derive(Clone, Copy)]
struct Step {
    kernel: [usize; 2],
    stride: [usize; 2],
    padding: [usize; 2],
    /// Whether the last window may extend past the end.
    ceil: bool,
    /// Whether one window covers everything.
    global: bool,
}

impl Step {
    fn of(layer: &LayerParameter) -> Option<Result<(Self, Option<usize>), String>> {
        let one = |size: Option<u64>| size.into_iter().collect::<Vec<_>>();
        match layer.r#type.as_str() {
            "Convolution" => {
                let p = layer.convolution_param.clone().unwrap_or_default();
                let step = || {
                    let kernel = pair(&p.kernel_size, p.kernel_h, p.kernel_w, None)?;
                    let stride = pair(&p.stride, p.stride_h, p.stride_w, Some(1))?;
                    let padding = pair(&p.pad, p.pad_h, p.pad_w, Some(0))?;
                    Ok((Self { kernel, stride, padding, ceil: false, global: false }, Some(size(p.num_output)?)))
                };
                Some(step())
            }
            "Pooling" => {
                let p = layer.pooling_param.clone().unwrap_or_default();
                let step = || {
                    let kernel = match p.global_pooling {
                        true => [1, 1],
                        false => pair(&one(p.kernel_size), p.kernel_h, p.kernel_w, None)?,
                    };
                    let stride = pair(&one(p.stride), p.stride_h, p.stride_w, Some(1))?;
                    let padding = pair(&one(p.pad), p.pad_h, p.pad_w, Some(0))?;
                    Ok((Self { kernel, stride, padding, ceil: p.round_mode != 1, global: p.global_pooling }, None))
                };
                Some(step())
            }
            _ => None,
        }
    }

    /// The size of the output, and whether its windows cover the input to the end.
    fn output(&self, side: usize, axis: usize) -> Option<(usize, bool)> {
        if self.global {
            return Some((1, true));
        }
        let (kernel, stride, padding) = (self.kernel[axis], self.stride[axis], self.padding[axis]);
        let room = side.checked_add(padding.checked_mul(2)?)?.checked_sub(kernel)?;
        let exact = room.checked_rem(stride)? == 0;
        let mut last = if self.ceil { room.div_ceil(stride) } else { room / stride };
        if self.ceil && last.checked_mul(stride)? >= side + padding {
            last = last.checked_sub(1)?;
        }
        Some((last.checked_add(1)?, exact))
    }
}

/// The input sizes that fit the weights of a network whose file does not give its input: those that fill the first fully
/// connected layer, with those first where no layer leaves a remainder.
pub(super) fn fitting(net: &Net, crop: Option<usize>) -> Result<Sizes, String> {
    let mut steps = Vec::new();
    let mut channels = None;
    let mut maps = None;
    let mut columns = None;
    for layer in &net.layers {
        if layer.r#type == "InnerProduct" {
            let weight = layer.blobs.first().map(blob).transpose()?;
            let transposed = layer.inner_product_param.as_ref().is_some_and(|p| p.transpose);
            columns = weight.and_then(|w| w.shape().iter().rev().nth(usize::from(transposed)).copied());
            break;
        }
        let Some(step) = Step::of(layer) else { continue };
        let (step, out) = step?;
        if layer.r#type == "Convolution" && channels.is_none() {
            let groups = size(layer.convolution_param.as_ref().and_then(|p| p.group).unwrap_or(1))?;
            let weight = layer.blobs.first().map(blob).transpose()?;
            channels = weight.and_then(|w| w.shape().get(1).copied()).and_then(|inputs| inputs.checked_mul(groups));
        }
        maps = out.or(maps);
        steps.push(step);
    }
    let channels = match (channels, columns) {
        (Some(channels), _) => channels,
        // A network of only fully connected layers.
        (None, Some(columns)) => return Ok(vectors(columns)),
        (None, None) => 3,
    };
    if let Some(side) = crop {
        return Ok(Sizes { shapes: vec![Shape::new(channels, side, side)], doubt: None });
    }
    let filled = columns.zip(maps).filter(|_| !steps.iter().any(|step| step.global));
    let Some((columns, maps)) = filled else {
        let shapes = USUAL_SIDES.map(|side| Shape::new(channels, side, side)).to_vec();
        return Ok(Sizes { shapes, doubt: Some("its weights fit an input of any size".into()) });
    };
    let mut exact = Vec::new();
    let mut rounded = Vec::new();
    for side in 1..=MAX_SIDE {
        let walk = |axis: usize| {
            steps.iter().try_fold((side, true), |(side, exact), step| {
                let (side, fits) = step.output(side, axis)?;
                Some((side, exact && fits))
            })
        };
        let (Some((height, tall)), Some((width, wide))) = (walk(0), walk(1)) else { continue };
        let found = maps.checked_mul(height).and_then(|n| n.checked_mul(width));
        match found {
            Some(found) if found == columns => if tall && wide { &mut exact } else { &mut rounded }.push(side),
            // Larger inputs never have smaller outputs.
            Some(found) if found < columns => {}
            _ => break,
        }
    }
    let usual = |side: &usize| !USUAL_SIDES.contains(side);
    let sure = exact.len() == 1;
    exact.sort_by_key(usual);
    rounded.sort_by_key(usual);
    let sides: Vec<usize> = exact.into_iter().chain(rounded).collect();
    let Some(first) = sides.first() else {
        return Err(format!(
            "an input whose size the file says, or a square one that {columns} inputs of the first fully connected layer fit: \
             give its size"
        ));
    };
    let others: Vec<String> = sides.iter().skip(1).take(4).map(|side| format!("{side}×{side}")).collect();
    let doubt = (!sure && !others.is_empty())
        .then(|| format!("taken for one of {first}×{first}; its weights also fit an input of {}", others.join(", ")));
    Ok(Sizes { shapes: sides.into_iter().take(8).map(|side| Shape::new(channels, side, side)).collect(), doubt })
}

/// Inputs of `count` numbers: a square grey or colour picture, or else a vector.
fn vectors(count: usize) -> Sizes {
    let squares = [1, 3].into_iter().filter(|channels| count.is_multiple_of(*channels)).filter_map(|channels| {
        let side = (count / channels).isqrt();
        (side > 1 && channels * side * side == count).then(|| Shape::new(channels, side, side))
    });
    let mut shapes: Vec<Shape> = squares.collect();
    let doubt = shapes.first().map(|shape| format!("{count} inputs are taken for a picture of {shape}"));
    shapes.push(Shape::vector(count));
    Sizes { shapes, doubt }
}
