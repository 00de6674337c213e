//! Caffe: a protocol buffer of layers, each with its weights, in the current layout (`layer`) or in that of before 2015
//! (`layers`, V1). The layers are converted to a [`Network`](crate::Network).

mod input;
mod norm;
mod proto;
mod text;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use prost::Message;

use self::{
    input::{Input, Sizes},
    proto::{BlobProto, BlobShape, LayerParameter, NetParameter, PoolingParameter, V1LayerParameter},
};
use super::{
    Budget,
    graph::{Chain, Graph, Open, Rounding, transpose},
};
use crate::{
    activation::Activation,
    layers::{AvgPool, Conv, LocalResponseNorm, LrnConvention, Op},
    model::ModelOptions,
    network::MAX_LAYERS,
    picture::Preprocessing,
    shape::Shape,
    text::clip,
    weights::{DType, Tensor, Weights, WeightsError},
    window::{Padding, Window},
};

/// The most blobs of a layer. Those of sequential networks have a weight and a bias.
const MAX_BLOBS: usize = 16;

/// The longest mean image that is read, in bytes.
const MAX_MEAN_FILE: u64 = 64 << 20;

/// A `.caffemodel`.
pub(crate) struct Net {
    /// The length of the file in bytes.
    len: usize,
    net: NetParameter,
    /// [`NetParameter::layers`] or [`NetParameter::layer`].
    layers: Vec<LayerParameter>,
    /// The path of the file.
    path: Option<PathBuf>,
}

fn malformed(what: impl Into<String>) -> WeightsError {
    WeightsError::malformed("Caffe file", what)
}

fn decode<M: Message + Default>(bytes: &Bytes) -> Result<M, WeightsError> {
    M::decode(bytes.clone()).map_err(|e| malformed(format!("whole protobuf messages, found: {e}")))
}

/// Whether a file begins like Caffe's, with the network's name or a layer.
pub(super) fn begins(bytes: &[u8]) -> bool {
    matches!(bytes, [0x0a | 0x12, ..] | [0xa2, 0x06, ..])
}

impl Net {
    /// `None` where the bytes are another kind of protocol buffer.
    pub fn read(bytes: &Bytes, path: Option<&Path>) -> Result<Option<Self>, WeightsError> {
        let net: NetParameter = decode(bytes)?;
        let count = net.layer.len() + net.layers.len();
        if count == 0 {
            return Ok(None);
        }
        if count > MAX_LAYERS || net.input_shape.len() > MAX_LAYERS {
            let what = format!("at most {MAX_LAYERS} layers, found {count}");
            return Err(malformed(what).advising("use the file with Caffe: it is no sequential network"));
        }
        let mut layers = Vec::with_capacity(count);
        for bytes in &net.layers {
            let layer: V1LayerParameter = decode(bytes)?;
            if layer.layer.is_some() {
                let what = "layers as Caffe writes them since 2014, found older ones";
                return Err(malformed(what).advising("upgrade the file with Caffe's tools"));
            }
            layers.push(layer.into());
        }
        for bytes in &net.layer {
            layers.push(decode(bytes)?);
        }
        Ok(Some(Self { len: bytes.len(), net, layers, path: path.map(Path::to_path_buf) }))
    }

    /// The layers' first and second blobs, as weights and biases.
    pub fn weights(&self) -> Result<Weights, WeightsError> {
        let mut tensors = BTreeMap::new();
        for layer in &self.layers {
            for (bytes, kind) in layer.blobs.iter().zip(["weight", "bias"]) {
                let tensor =
                    blob(bytes).map_err(|what| malformed(format!("{what} in layer `{}`", clip(&layer.name))))?;
                tensors.insert(format!("{}.{kind}", layer.name), tensor);
            }
        }
        Ok(Weights { tensors, metadata: BTreeMap::new() })
    }

    /// The layers as a network, with its tensors.
    pub fn graph(&self, options: &ModelOptions) -> Result<Graph, WeightsError> {
        if self.layers.iter().all(|layer| layer.blobs.is_empty()) {
            let what = "layers with weights, found a description of a network without any";
            return Err(malformed(what).advising("give the .caffemodel that was trained with it"));
        }
        let own = Input::of(self).map_err(malformed_size)?;
        if let Some(shape) = options.input {
            return self.built(&[shape], own, Open { input: Some("given by the caller".into()), ..Open::default() });
        }
        if let Some(text) = &options.prototxt {
            let given = Input::of_text(text).map_err(|what| malformed_text(&what))?.or(own);
            return self.sized(given, "the .prototxt that the caller gives");
        }
        if own.shape.is_none()
            && let Some((name, Ok(text))) = self.text_beside().map(|(name, text)| (name, Input::of_text(&text)))
            && let Ok(graph) = self.sized(text.or(Input::of(self).map_err(malformed_size)?), &name)
        {
            return Ok(graph);
        }
        self.sized(own, "the file")
    }

    /// The `.prototxt` next to the file, if there is one.
    fn text_beside(&self) -> Option<(String, String)> {
        let path = self.path.as_deref()?;
        let names = [path.with_extension("prototxt"), path.with_file_name("deploy.prototxt")];
        names.into_iter().find_map(|path| {
            let small =
                std::fs::metadata(&path).is_ok_and(|found| found.is_file() && found.len() <= text::MAX_TEXT as u64);
            let text = small.then(|| std::fs::read_to_string(&path).ok()).flatten()?;
            Some((path.file_name()?.to_string_lossy().into_owned(), text))
        })
    }

    /// The network with the known input, or with one that its weights fit.
    fn sized(&self, input: Input, from: &str) -> Result<Graph, WeightsError> {
        match input.shape {
            Some(shape) => {
                let from = (from != "the file").then(|| format!("that of {from}"));
                self.built(&[shape], input, Open { input: from, ..Open::default() })
            }
            None => {
                let Sizes { shapes, doubt } = input::fitting(self, input.crop).map_err(malformed_size)?;
                let from = (input.crop.is_none()).then(|| "the one that its weights fit".into());
                self.built(&shapes, input, Open { input: from, doubt, ..Open::default() })
            }
        }
    }

    /// The network with the first of several inputs that it can be built with.
    fn built(&self, shapes: &[Shape], mut input: Input, open: Open) -> Result<Graph, WeightsError> {
        let guessed = !input.data && input.mean.is_empty() && input.scale.is_none();
        let mut open = Open { preprocessing: guessed, ..open };
        if let Some(file) = input.mean_file.as_deref().filter(|_| input.mean.is_empty()) {
            let (told, mean) = self.mean_beside(file);
            open.preprocessing = mean.is_none();
            open.mean = Some(told);
            input.mean =
                mean.map_or_else(Vec::new, |mean| if mean == [mean[0]; 3] { vec![mean[0]] } else { mean.into() });
        }
        let mut result = Err(malformed("an input"));
        for &shape in shapes {
            let walked = self.walk(shape, &input);
            // The first is the likeliest, so its error is the most useful.
            match walked {
                Ok(graph) => return Ok(Graph { open, ..graph }),
                Err(error) if shape == shapes[0] => result = Err(error),
                Err(_) => {}
            }
        }
        result
    }

    /// The mean of each channel of the mean image `file`, which is looked for in the folder of the network's file, and a
    /// sentence about it.
    fn mean_beside(&self, file: &str) -> (String, Option<[f32; 3]>) {
        let name = file.rsplit(['/', '\\']).next().unwrap_or(file);
        let path =
            self.path.as_deref().filter(|_| !name.is_empty() && name != "..").map(|own| own.with_file_name(name));
        let small = |path: &PathBuf| std::fs::metadata(path).is_ok_and(|m| m.is_file() && m.len() <= MAX_MEAN_FILE);
        let name = clip(name);
        let Some(bytes) = path.filter(small).and_then(|path| std::fs::read(path).ok()) else {
            return (format!("the mean is a guess, since its mean image `{name}` is not beside it"), None);
        };
        match mean_pixel(&bytes) {
            Ok(mean) => (format!("the mean of each channel is that of `{name}` beside it"), Some(mean)),
            Err(error) => (format!("the mean is a guess, since `{name}` beside it cannot be read ({error})"), None),
        }
    }

    /// The preprocessing of the data layer: BGR resized beforehand, or grey; with its mean and scale if it has them.
    fn preprocessing(&self, shape: Shape, input: &Input) -> Preprocessing {
        let mut p = match shape.channels {
            3 => Preprocessing::caffe(shape.height).cropped(shape.height, shape.width),
            _ => Preprocessing::plain(shape).scale(1.0),
        };
        match *input.mean {
            [mean] if mean.is_finite() => p.mean = [mean; 3],
            [b, g, r] if shape.channels == 3 && b.is_finite() && g.is_finite() && r.is_finite() => p.mean = [b, g, r],
            // A data layer without a mean subtracts none.
            [] if input.data && input.mean_file.is_none() => p.mean = [0.0; 3],
            _ => {}
        }
        if let Some(scale) = input.scale.filter(|s| s.is_finite() && *s > 0.0) {
            // Caffe subtracts the mean first.
            p.scale = scale;
            p.mean = p.mean.map(|mean| mean * scale);
        }
        p
    }

    fn walk(&self, shape: Shape, input: &Input) -> Result<Graph, WeightsError> {
        let mut chain = Chain::new(shape, Budget::new(self.len)).map_err(malformed_size)?;
        // The names of the last activation: Caffe's Split layers give it several.
        let mut current: Vec<&str> = self.net.input.iter().take(1).map(String::as_str).collect();
        for layer in &self.layers {
            let fail =
                |what: String| WeightsError::Operator { node: clip(&layer.name), operator: clip(&layer.r#type), what };
            match layer.r#type.as_str() {
                "Input" | "Data" | "ImageData" | "MemoryData" | "HDF5Data" | "WindowData" | "DummyData" => {
                    if current.is_empty() {
                        current.extend(layer.top.first().map(String::as_str));
                    }
                    continue;
                }
                // Layers that measure the output and change nothing.
                "Accuracy" | "Silence" => continue,
                // A Split may copy the labels too.
                "Split" if layer.bottom.first().is_some_and(|bottom| !current.contains(&bottom.as_str())) => continue,
                _ => {}
            }
            let bottom = layer.bottom.first().map(String::as_str).unwrap_or_default();
            // The first layer of a net without a data layer reads the picture.
            if current.is_empty() {
                current.push(bottom);
            }
            if !current.contains(&bottom) {
                return Err(fail(format!("to take `{}`, found `{bottom:.80}`", current.first().unwrap_or(&""))));
            }
            current = layer.top.iter().map(String::as_str).collect();
            if layer.r#type != "Split" {
                self.layer(&mut chain, layer).map_err(fail)?;
            }
        }
        let name = self.net.name.as_deref().unwrap_or_default();
        chain.finish(name, Some(self.preprocessing(shape, input))).map_err(malformed)
    }

    /// Appends one layer. Errors give the expected and the actual layer.
    fn layer(&self, chain: &mut Chain, layer: &LayerParameter) -> Result<(), String> {
        let name = layer.name.as_str();
        let blobs = || -> Result<Vec<Tensor>, String> {
            if layer.blobs.len() > MAX_BLOBS {
                return Err(format!("a weight and a bias, found {} blobs", layer.blobs.len()));
            }
            layer.blobs.iter().map(blob).collect()
        };
        match layer.r#type.as_str() {
            "Convolution" => {
                let p = layer.convolution_param.clone().unwrap_or_default();
                if p.axis.is_some_and(|axis| axis != 1) {
                    return Err("channels in axis 1, found another".into());
                }
                let kernel = pair(&p.kernel_size, p.kernel_h, p.kernel_w, None)?;
                let stride = pair(&p.stride, p.stride_h, p.stride_w, Some(1))?;
                let [top, left] = pair(&p.pad, p.pad_h, p.pad_w, Some(0))?;
                let padding = Padding { top, left, bottom: top, right: left };
                let dilation = pair(&p.dilation, None, None, Some(1))?;
                let window = Window { kernel, stride, padding, dilation };
                let (out_channels, groups) = (size(p.num_output)?, size(p.group.unwrap_or(1))?);
                let mut blobs = blobs()?.into_iter();
                let weight = blobs.next().ok_or("a weight, found none: is this a trained network?")?;
                chain.conv(
                    name,
                    Conv { out_channels, window, groups, activation: Activation::None },
                    weight,
                    blobs.next(),
                )
            }
            "InnerProduct" => {
                let p = layer.inner_product_param.clone().unwrap_or_default();
                if p.axis.is_some_and(|axis| axis != 1) {
                    return Err("inputs from axis 1 on, found another".into());
                }
                let mut blobs = blobs()?.into_iter();
                let weight = blobs.next().ok_or("a weight, found none: is this a trained network?")?;
                // Old files have four dimensions, of which the first two are 1.
                let shape = match *weight.shape() {
                    [1, 1, a, b] | [a, b] => [a, b],
                    ref other => return Err(format!("a matrix as weight, found shape {other:?}")),
                };
                let mut weight = weight.reshaped(shape).ok_or("a matrix as weight")?;
                if p.transpose {
                    weight = transpose(&weight, &mut chain.budget)?;
                }
                if weight.shape()[0] != size(p.num_output)? {
                    return Err(format!("a weight of {} outputs, found shape {:?}", p.num_output, weight.shape()));
                }
                chain.linear(name, weight, blobs.next())
            }
            "Sigmoid" => chain.activation(name, Activation::Sigmoid),
            "TanH" => chain.activation(name, Activation::Tanh),
            "ELU" => match layer.elu_param.as_ref().map_or(1.0, |p| p.alpha()) {
                alpha if alpha.is_finite() => chain.activation(name, Activation::Elu { alpha }),
                alpha => Err(format!("a finite alpha, found {alpha}")),
            },
            "ReLU" => match layer.relu_param.as_ref().map_or(0.0, |p| p.negative_slope) {
                0.0 => chain.activation(name, Activation::Relu),
                slope if slope.is_finite() => chain.activation(name, Activation::LeakyRelu { slope }),
                slope => Err(format!("a finite negative_slope, found {slope}")),
            },
            "Pooling" => pool(chain, name, &layer.pooling_param.clone().unwrap_or_default()),
            "LRN" => {
                let p = layer.lrn_param.clone().unwrap_or_default();
                if p.norm_region != 0 {
                    return Err("normalisation across channels, found within a channel".into());
                }
                let norm = LocalResponseNorm {
                    size: size(p.local_size.unwrap_or(5))?,
                    alpha: p.alpha.unwrap_or(1.0),
                    beta: p.beta.unwrap_or(0.75),
                    k: p.k.unwrap_or(1.0),
                    convention: LrnConvention::Mean,
                };
                chain.push(name, Op::LocalResponseNorm(norm))
            }
            "Dropout" => chain.push(name, Op::Dropout),
            "Flatten" => {
                let p = layer.flatten_param.clone().unwrap_or_default();
                if p.axis.is_some_and(|a| a != 1) || p.end_axis.is_some_and(|a| a != -1 && a != 3) {
                    return Err("to flatten from axis 1 on, found another".into());
                }
                chain.flatten();
                Ok(())
            }
            "Reshape" => {
                let p = layer.reshape_param.clone().unwrap_or_default();
                let dims = p.shape.unwrap_or_default().dim;
                let shape = chain.shape();
                let same = |d: i64, size: usize| d == 0 || usize::try_from(d) == Ok(size);
                match *dims {
                    _ if p.axis.is_some_and(|axis| axis != 0) || p.num_axes.is_some_and(|axes| axes != -1) => {
                        Err("axis 0 and all axes from there, found others".into())
                    }
                    // A vector, after the batch dimension.
                    [_, rest] if rest == -1 || same(rest, shape.len()) => {
                        chain.flatten();
                        Ok(())
                    }
                    [_, c, h, w] if same(c, shape.channels) && same(h, shape.height) && same(w, shape.width) => Ok(()),
                    _ => Err(format!("to make a vector of {shape} or to leave it, found {dims:?}")),
                }
            }
            "BatchNorm" | "Scale" | "Bias" => {
                let affine = norm::affine(layer, chain.shape().channels)?;
                chain.affine(name, &affine)
            }
            "SigmoidCrossEntropyLoss" => chain.activation(name, Activation::Sigmoid),
            "Softmax" | "SoftmaxWithLoss" => {
                if layer.softmax_param.as_ref().and_then(|p| p.axis).is_some_and(|axis| axis != 1) {
                    return Err("to go over the classes, axis 1, found another".into());
                }
                chain.channel_softmax(name)
            }
            _ => Err("to be one of a sequential network's (Convolution, ReLU, Pooling, LRN, InnerProduct, …)".into()),
        }
    }
}

/// Whether bytes are a mean image: a blob of four dimensions in place of a network.
pub(super) fn is_mean_image(bytes: &[u8]) -> bool {
    matches!(bytes, [0x08 | 0x2a, ..]) && mean_pixel(bytes).is_ok()
}

/// The mean of each channel of a mean image; a single channel is repeated three times.
pub(crate) fn mean_pixel(bytes: &[u8]) -> Result<[f32; 3], WeightsError> {
    let fail = |what: String| {
        WeightsError::malformed("Caffe picture of means", what)
            .advising("give the .binaryproto that compute_image_mean wrote")
    };
    let tensor = blob(&Bytes::copy_from_slice(bytes)).map_err(fail)?;
    let (channels, pixels) = match *tensor.shape() {
        [1, channels @ (1 | 3), height, width] | [channels @ (1 | 3), height, width] => (channels, height * width),
        ref other => return Err(fail(format!("one picture of one or three channels, found the shape {other:?}"))),
    };
    let mean = |numbers: &[f64]| (numbers.iter().sum::<f64>() / pixels as f64) as f32;
    let means: Vec<f32> = tensor.to_f64().chunks_exact(pixels.max(1)).map(mean).collect();
    match means[..] {
        _ if pixels == 0 || means.iter().any(|mean| !mean.is_finite()) => {
            Err(fail("finite numbers, found others".into()))
        }
        [grey] if channels == 1 => Ok([grey; 3]),
        [b, g, r] => Ok([b, g, r]),
        _ => Err(fail("a number for each pixel".into())),
    }
}

fn pool(chain: &mut Chain, name: &str, p: &PoolingParameter) -> Result<(), String> {
    let shape = chain.shape();
    let one = |size: Option<u64>| size.into_iter().collect::<Vec<_>>();
    let kernel = if p.global_pooling {
        [shape.height, shape.width]
    } else {
        pair(&one(p.kernel_size), p.kernel_h, p.kernel_w, None)?
    };
    let stride = pair(&one(p.stride), p.stride_h, p.stride_w, Some(1))?;
    let [top, left] = pair(&one(p.pad), p.pad_h, p.pad_w, Some(0))?;
    let window =
        Window { kernel, stride, padding: Padding { top, left, bottom: top, right: left }, ..Window::square(1, 1) };
    let ceil = p.round_mode != 1;
    match p.pool {
        0 => chain.max_pool(name, window, if ceil { Rounding::Ceil } else { Rounding::Floor }),
        // Padding counts, and numbers past it do not (pooling_layer.cpp).
        1 => chain.average_pool(name, AvgPool::new(1, 1).window(window).count_padding(true).ceil(ceil)),
        other => Err(format!("the maximum or the average, found method {other}")),
    }
}

fn malformed_size(what: String) -> WeightsError {
    malformed(what).advising("give the input's size, or the .prototxt that goes with the file")
}

fn malformed_text(what: &str) -> WeightsError {
    WeightsError::malformed("Caffe .prototxt", what)
        .advising("give the deploy.prototxt or train_val.prototxt of the network")
}

fn size(v: u64) -> Result<usize, String> {
    usize::try_from(v).map_err(|_| format!("a size, found {v}"))
}

/// Rows and columns: separately, or as one or two numbers for both.
fn pair(both: &[u64], rows: Option<u64>, columns: Option<u64>, default: Option<u64>) -> Result<[usize; 2], String> {
    let [r, c] = match *both {
        [] => [default, default],
        [one] => [Some(one); 2],
        [r, c] => [Some(r), Some(c)],
        _ => return Err(format!("rows and columns, found {} sizes", both.len())),
    };
    let axis = |own: Option<u64>, both: Option<u64>| size(own.or(both).ok_or("a kernel_size")?);
    Ok([axis(rows, r)?, axis(columns, c)?])
}

/// A blob as a tensor of the file's shape.
fn blob(bytes: &Bytes) -> Result<Tensor, String> {
    let blob = BlobProto::decode(bytes.clone()).map_err(|e| format!("a blob of numbers, found: {e}"))?;
    let dims = match &blob.shape {
        Some(BlobShape { dim }) => dim.clone(),
        None => [blob.num, blob.channels, blob.height, blob.width].map(Option::unwrap_or_default).to_vec(),
    };
    let (dtype, chunks) = if blob.data.is_empty() && !blob.double_data.is_empty() {
        (DType::F64, blob.double_data)
    } else {
        (DType::F32, blob.data)
    };
    let bytes = match chunks.as_slice() {
        [one] => one.clone(),
        many => many.concat().into(),
    };
    let shape: Option<Vec<usize>> = dims.iter().map(|&d| usize::try_from(d).ok()).collect();
    let found = bytes.len() / dtype.size();
    shape
        .and_then(|shape| Tensor::new(dtype, shape, bytes))
        .ok_or_else(|| format!("as many numbers as the shape {:?} takes, found {found}", &dims[..dims.len().min(8)]))
}
