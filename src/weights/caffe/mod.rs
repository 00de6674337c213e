//! Caffe: a protocol buffer of layers, each with its weights, in the layout of today (`layer`) or that of before
//! 2015 (`layers`, V1). The layers are walked into a [`Network`](crate::Network).

mod proto;

use std::collections::BTreeMap;

use bytes::Bytes;
use prost::Message;

use self::proto::{BlobProto, BlobShape, LayerParameter, NetParameter, PoolingParameter, V1LayerParameter};
use super::{
    Budget, DType, Tensor, Weights, WeightsError, clip,
    graph::{Chain, Graph, Rounding, USUAL_SIDES, transpose},
};
use crate::{
    network::{Conv, LocalResponseNorm, LrnConvention, MAX_LAYERS, Op, Padding, Shape, Window},
    preprocess::Preprocessing,
};

/// Layers of sequential networks have a weight and a bias.
const MAX_BLOBS: usize = 16;

/// A `.caffemodel`.
pub(crate) struct Net {
    /// Length of the file in bytes.
    len: usize,
    net: NetParameter,
    /// [`NetParameter::layers`] or [`NetParameter::layer`].
    layers: Vec<LayerParameter>,
}

fn malformed(what: impl Into<String>) -> WeightsError {
    WeightsError::malformed("Caffe file", what)
}

fn decode<M: Message + Default>(bytes: &Bytes) -> Result<M, WeightsError> {
    M::decode(bytes.clone()).map_err(|e| malformed(format!("whole protobuf messages, found: {e}")))
}

/// Whether a file begins as Caffe's do, with the network's name or a layer.
pub(super) fn begins(bytes: &[u8]) -> bool {
    matches!(bytes, [0x0a | 0x12, ..] | [0xa2, 0x06, ..])
}

impl Net {
    /// `None` where the bytes are some other protocol buffer.
    pub fn read(bytes: &Bytes) -> Result<Option<Self>, WeightsError> {
        let net: NetParameter = decode(bytes)?;
        let count = net.layer.len() + net.layers.len();
        if count == 0 {
            return Ok(None);
        }
        if count > MAX_LAYERS || net.input_shape.len() > MAX_LAYERS {
            return Err(malformed(format!("at most {MAX_LAYERS} layers, found {count}")));
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
        Ok(Some(Self { len: bytes.len(), net, layers }))
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
    pub fn graph(&self) -> Result<Graph, WeightsError> {
        if self.layers.iter().all(|layer| layer.blobs.is_empty()) {
            return Err(malformed("layers with weights, found a description of a network without any"));
        }
        // Where the file leaves the size open, the first that fits the weights is it.
        let mut result = Err(malformed("an input"));
        for shape in self.inputs()? {
            result = self.walk(shape);
            if result.is_ok() {
                break;
            }
        }
        result
    }

    /// The shapes that the input may have.
    fn inputs(&self) -> Result<Vec<Shape>, WeightsError> {
        let layer_shapes = self.layers.iter().filter_map(|layer| layer.input_param.as_ref()?.shape.first());
        let shape = self.net.input_shape.first().into_iter().chain(layer_shapes).map(|shape| shape.dim.as_slice());
        let dims = shape.chain(self.net.input_dim.chunks_exact(4)).next();
        if let Some(dims) = dims {
            let sizes: Vec<usize> = dims.iter().filter_map(|&d| usize::try_from(d).ok()).take(5).collect();
            return match *sizes {
                [_, channels, height, width] => Ok(vec![Shape::new(channels, height, width)]),
                _ => Err(malformed(format!("an input of N×C×H×W, found {} dimensions", dims.len()))),
            };
        }
        let crop = self.layers.iter().find_map(|layer| {
            let transform = layer.transform_param.as_ref().map_or(0, |t| t.crop_size);
            let data = layer.data_param.as_ref().map_or(0, |d| d.crop_size);
            usize::try_from(transform.max(data)).ok().filter(|&crop| crop > 0)
        });
        let sides = crop.map_or(USUAL_SIDES.to_vec(), |side| vec![side]);
        Ok(sides.into_iter().map(|side| Shape::new(3, side, side)).collect())
    }

    /// How the data layer made its pictures: BGR resized beforehand, or grey; mean and scale if it says them.
    fn preprocessing(&self, input: Shape) -> Preprocessing {
        let mut p = match input.channels {
            3 => Preprocessing::caffe(input.height).cropped(input.height, input.width),
            _ => Preprocessing { scale: 1.0, ..Preprocessing::plain(input) },
        };
        let transform = self.layers.iter().find_map(|layer| layer.transform_param.as_ref());
        let data = self.layers.iter().find_map(|layer| layer.data_param.as_ref());
        let mean = transform.map_or(&[][..], |t| &t.mean_value);
        match *mean {
            [mean] if mean.is_finite() => p.mean = [mean; 3],
            [b, g, r] if input.channels == 3 && b.is_finite() && g.is_finite() && r.is_finite() => p.mean = [b, g, r],
            _ => {}
        }
        let scale = transform.and_then(|t| t.scale).or(data.and_then(|d| d.scale));
        if let Some(scale) = scale.filter(|s| s.is_finite() && *s > 0.0) {
            // Caffe subtracts the mean first.
            p.scale = scale;
            p.mean = p.mean.map(|mean| mean * scale);
        }
        p
    }

    fn walk(&self, input: Shape) -> Result<Graph, WeightsError> {
        let mut budget = Budget::new(self.len);
        let mut chain = Chain::new(input, Budget::new(self.len)).map_err(malformed)?;
        // The names of the last activation: Caffe's splits give it several.
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
                // Measure the output, and change nothing.
                "Accuracy" | "Silence" => continue,
                // Makes copies of the labels too.
                "Split" if layer.bottom.first().is_some_and(|bottom| !current.contains(&bottom.as_str())) => continue,
                _ => {}
            }
            let bottom = layer.bottom.first().map(String::as_str).unwrap_or_default();
            // The first layer of a net without a data layer takes the picture.
            if current.is_empty() {
                current.push(bottom);
            }
            if !current.contains(&bottom) {
                return Err(fail(format!("to take `{}`, found `{bottom:.80}`", current.first().unwrap_or(&""))));
            }
            if layer.r#type != "Split" {
                self.layer(&mut chain, layer, &mut budget).map_err(fail)?;
            }
            current = layer.top.iter().map(String::as_str).collect();
        }
        let name = self.net.name.as_deref().unwrap_or_default();
        chain.finish(name, Some(self.preprocessing(input))).map_err(malformed)
    }

    /// One layer. Errors say what was expected and found.
    fn layer(&self, chain: &mut Chain, layer: &LayerParameter, budget: &mut Budget) -> Result<(), String> {
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
                if p.dilation.iter().any(|&d| d != 1) {
                    return Err("dilation of 1, found another".into());
                }
                if p.axis.is_some_and(|axis| axis != 1) {
                    return Err("channels in axis 1, found another".into());
                }
                let kernel = pair(&p.kernel_size, p.kernel_h, p.kernel_w, None)?;
                let stride = pair(&p.stride, p.stride_h, p.stride_w, Some(1))?;
                let [top, left] = pair(&p.pad, p.pad_h, p.pad_w, Some(0))?;
                let padding = Padding { top, left, bottom: top, right: left };
                let window = Window { kernel, stride, padding };
                let (out_channels, groups) = (size(p.num_output)?, size(p.group.unwrap_or(1))?);
                let mut blobs = blobs()?.into_iter();
                let weight = blobs.next().ok_or("a weight, found none: is this a trained network?")?;
                chain.conv(name, Conv { out_channels, window, groups, relu: false }, weight, blobs.next())
            }
            "InnerProduct" => {
                let p = layer.inner_product_param.clone().unwrap_or_default();
                if p.axis.is_some_and(|axis| axis != 1) {
                    return Err("inputs from axis 1 on, found another".into());
                }
                let mut blobs = blobs()?.into_iter();
                let weight = blobs.next().ok_or("a weight, found none: is this a trained network?")?;
                // Old files write four dimensions, of which the first two are 1.
                let shape = match *weight.shape() {
                    [1, 1, a, b] | [a, b] => [a, b],
                    ref other => return Err(format!("a matrix as weight, found shape {other:?}")),
                };
                let mut weight = weight.reshaped(shape).ok_or("a matrix as weight")?;
                if p.transpose {
                    weight = transpose(&weight, budget)?;
                }
                if weight.shape()[0] != size(p.num_output)? {
                    return Err(format!("a weight of {} outputs, found shape {:?}", p.num_output, weight.shape()));
                }
                chain.linear(name, weight, blobs.next())
            }
            "ReLU" => match layer.relu_param.as_ref().map_or(0.0, |p| p.negative_slope) {
                0.0 => chain.relu(name),
                slope => Err(format!("a negative_slope of 0, found {slope}")),
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
            "Softmax" | "SoftmaxWithLoss" => {
                if layer.softmax_param.as_ref().and_then(|p| p.axis).is_some_and(|axis| axis != 1) {
                    return Err("to go over the classes, axis 1, found another".into());
                }
                chain.softmax(name)
            }
            _ => Err("to be one of a sequential network's (Convolution, ReLU, Pooling, LRN, InnerProduct, …)".into()),
        }
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
    let window = Window { kernel, stride, padding: Padding { top, left, bottom: top, right: left } };
    match p.pool {
        0 => {
            let rounding = if p.round_mode == 1 { Rounding::Floor } else { Rounding::Ceil };
            chain.max_pool(name, window, rounding)
        }
        1 => chain.average_pool(name, window),
        other => Err(format!("the maximum or the average, found method {other}")),
    }
}

fn size(v: u64) -> Result<usize, String> {
    usize::try_from(v).map_err(|_| format!("a size, found {v}"))
}

/// Rows and columns: each on its own, or one or two numbers for both.
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

/// A blob's numbers, in the shape that the file gives them.
fn blob(bytes: &Bytes) -> Result<Tensor, String> {
    let blob: BlobProto = decode(bytes).map_err(|e| e.to_string())?;
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
