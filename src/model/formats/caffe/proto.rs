//! The messages of `caffe.proto` (BVLC Caffe 1.0) that a network needs, with their field numbers. Layers and packed numbers
//! stay bytes, shared with the memory map, until they are read.

use bytes::Bytes;
use prost::Message;

#[derive(Clone, PartialEq, Message)]
pub(super) struct NetParameter {
    #[prost(string, optional, tag = "1")]
    pub name: Option<String>,
    /// [`V1LayerParameter`]s.
    #[prost(bytes = "bytes", repeated, tag = "2")]
    pub layers: Vec<Bytes>,
    #[prost(string, repeated, tag = "3")]
    pub input: Vec<String>,
    #[prost(int64, repeated, packed = "false", tag = "4")]
    pub input_dim: Vec<i64>,
    #[prost(message, repeated, tag = "8")]
    pub input_shape: Vec<BlobShape>,
    /// [`LayerParameter`]s.
    #[prost(bytes = "bytes", repeated, tag = "100")]
    pub layer: Vec<Bytes>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct BlobShape {
    #[prost(int64, repeated, tag = "1")]
    pub dim: Vec<i64>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct BlobProto {
    /// The four dimensions of old files.
    #[prost(int64, optional, tag = "1")]
    pub num: Option<i64>,
    #[prost(int64, optional, tag = "2")]
    pub channels: Option<i64>,
    #[prost(int64, optional, tag = "3")]
    pub height: Option<i64>,
    #[prost(int64, optional, tag = "4")]
    pub width: Option<i64>,
    /// Packed.
    #[prost(bytes = "bytes", repeated, tag = "5")]
    pub data: Vec<Bytes>,
    #[prost(message, optional, tag = "7")]
    pub shape: Option<BlobShape>,
    /// Packed.
    #[prost(bytes = "bytes", repeated, tag = "8")]
    pub double_data: Vec<Bytes>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct LayerParameter {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(string, tag = "2")]
    pub r#type: String,
    #[prost(string, repeated, tag = "3")]
    pub bottom: Vec<String>,
    #[prost(string, repeated, tag = "4")]
    pub top: Vec<String>,
    /// [`BlobProto`]s.
    #[prost(bytes = "bytes", repeated, tag = "7")]
    pub blobs: Vec<Bytes>,
    #[prost(message, optional, tag = "100")]
    pub transform_param: Option<TransformationParameter>,
    #[prost(message, optional, tag = "106")]
    pub convolution_param: Option<ConvolutionParameter>,
    #[prost(message, optional, tag = "107")]
    pub data_param: Option<DataParameter>,
    #[prost(message, optional, tag = "117")]
    pub inner_product_param: Option<InnerProductParameter>,
    #[prost(message, optional, tag = "118")]
    pub lrn_param: Option<LrnParameter>,
    #[prost(message, optional, tag = "119")]
    pub memory_data_param: Option<MemoryDataParameter>,
    #[prost(message, optional, tag = "121")]
    pub pooling_param: Option<PoolingParameter>,
    #[prost(message, optional, tag = "123")]
    pub relu_param: Option<ReluParameter>,
    #[prost(message, optional, tag = "140")]
    pub elu_param: Option<EluParameter>,
    #[prost(message, optional, tag = "125")]
    pub softmax_param: Option<SoftmaxParameter>,
    #[prost(message, optional, tag = "133")]
    pub reshape_param: Option<ReshapeParameter>,
    #[prost(message, optional, tag = "135")]
    pub flatten_param: Option<FlattenParameter>,
    #[prost(message, optional, tag = "139")]
    pub batch_norm_param: Option<BatchNormParameter>,
    #[prost(message, optional, tag = "141")]
    pub bias_param: Option<ScaleParameter>,
    #[prost(message, optional, tag = "142")]
    pub scale_param: Option<ScaleParameter>,
    #[prost(message, optional, tag = "143")]
    pub input_param: Option<InputParameter>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct V1LayerParameter {
    /// The layer in the format before V1.
    #[prost(bytes = "bytes", optional, tag = "1")]
    pub layer: Option<Bytes>,
    #[prost(string, repeated, tag = "2")]
    pub bottom: Vec<String>,
    #[prost(string, repeated, tag = "3")]
    pub top: Vec<String>,
    #[prost(string, tag = "4")]
    pub name: String,
    #[prost(int32, tag = "5")]
    pub r#type: i32,
    /// [`BlobProto`]s.
    #[prost(bytes = "bytes", repeated, tag = "6")]
    pub blobs: Vec<Bytes>,
    #[prost(message, optional, tag = "10")]
    pub convolution_param: Option<ConvolutionParameter>,
    #[prost(message, optional, tag = "11")]
    pub data_param: Option<DataParameter>,
    #[prost(message, optional, tag = "17")]
    pub inner_product_param: Option<InnerProductParameter>,
    #[prost(message, optional, tag = "18")]
    pub lrn_param: Option<LrnParameter>,
    #[prost(message, optional, tag = "19")]
    pub pooling_param: Option<PoolingParameter>,
    #[prost(message, optional, tag = "22")]
    pub memory_data_param: Option<MemoryDataParameter>,
    #[prost(message, optional, tag = "30")]
    pub relu_param: Option<ReluParameter>,
    #[prost(message, optional, tag = "36")]
    pub transform_param: Option<TransformationParameter>,
    #[prost(message, optional, tag = "39")]
    pub softmax_param: Option<SoftmaxParameter>,
}

impl From<V1LayerParameter> for LayerParameter {
    fn from(v1: V1LayerParameter) -> Self {
        Self {
            name: v1.name,
            r#type: v1_type(v1.r#type),
            bottom: v1.bottom,
            top: v1.top,
            blobs: v1.blobs,
            transform_param: v1.transform_param,
            convolution_param: v1.convolution_param,
            data_param: v1.data_param,
            inner_product_param: v1.inner_product_param,
            lrn_param: v1.lrn_param,
            pooling_param: v1.pooling_param,
            relu_param: v1.relu_param,
            softmax_param: v1.softmax_param,
            memory_data_param: v1.memory_data_param,
            ..Self::default()
        }
    }
}

/// The current name of a numbered type; the number where it is unknown.
fn v1_type(number: i32) -> String {
    let name = match number {
        1 => "Accuracy",
        3 => "Concat",
        4 => "Convolution",
        5 => "Data",
        6 => "Dropout",
        8 => "Flatten",
        9 => "HDF5Data",
        12 => "ImageData",
        14 => "InnerProduct",
        15 => "LRN",
        17 => "Pooling",
        18 => "ReLU",
        19 => "Sigmoid",
        20 => "Softmax",
        21 => "SoftmaxWithLoss",
        22 => "Split",
        23 => "TanH",
        24 => "WindowData",
        25 => "Eltwise",
        29 => "MemoryData",
        32 => "DummyData",
        36 => "Silence",
        39 => "Deconvolution",
        other => return format!("number {other}"),
    };
    name.into()
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct EluParameter {
    #[prost(float, optional, tag = "1", default = "1")]
    pub alpha: Option<f32>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct TransformationParameter {
    #[prost(float, optional, tag = "1")]
    pub scale: Option<f32>,
    #[prost(uint64, tag = "3")]
    pub crop_size: u64,
    #[prost(string, optional, tag = "4")]
    pub mean_file: Option<String>,
    #[prost(float, repeated, packed = "false", tag = "5")]
    pub mean_value: Vec<f32>,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct MemoryDataParameter {
    #[prost(uint64, tag = "2")]
    pub channels: u64,
    #[prost(uint64, tag = "3")]
    pub height: u64,
    #[prost(uint64, tag = "4")]
    pub width: u64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ReshapeParameter {
    #[prost(message, optional, tag = "1")]
    pub shape: Option<BlobShape>,
    #[prost(int64, optional, tag = "2")]
    pub axis: Option<i64>,
    #[prost(int64, optional, tag = "3")]
    pub num_axes: Option<i64>,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct BatchNormParameter {
    #[prost(float, optional, tag = "3")]
    pub eps: Option<f32>,
}

/// For a Scale or Bias layer.
#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct ScaleParameter {
    #[prost(int64, optional, tag = "1")]
    pub axis: Option<i64>,
}

/// Sizes are one number, or rows and columns.
#[derive(Clone, PartialEq, Message)]
pub(super) struct ConvolutionParameter {
    #[prost(uint64, tag = "1")]
    pub num_output: u64,
    #[prost(uint64, repeated, packed = "false", tag = "3")]
    pub pad: Vec<u64>,
    #[prost(uint64, repeated, packed = "false", tag = "4")]
    pub kernel_size: Vec<u64>,
    #[prost(uint64, optional, tag = "5")]
    pub group: Option<u64>,
    #[prost(uint64, repeated, packed = "false", tag = "6")]
    pub stride: Vec<u64>,
    #[prost(uint64, optional, tag = "9")]
    pub pad_h: Option<u64>,
    #[prost(uint64, optional, tag = "10")]
    pub pad_w: Option<u64>,
    #[prost(uint64, optional, tag = "11")]
    pub kernel_h: Option<u64>,
    #[prost(uint64, optional, tag = "12")]
    pub kernel_w: Option<u64>,
    #[prost(uint64, optional, tag = "13")]
    pub stride_h: Option<u64>,
    #[prost(uint64, optional, tag = "14")]
    pub stride_w: Option<u64>,
    #[prost(int64, optional, tag = "16")]
    pub axis: Option<i64>,
    #[prost(uint64, repeated, packed = "false", tag = "18")]
    pub dilation: Vec<u64>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct DataParameter {
    #[prost(float, optional, tag = "2")]
    pub scale: Option<f32>,
    #[prost(string, optional, tag = "3")]
    pub mean_file: Option<String>,
    #[prost(uint64, tag = "5")]
    pub crop_size: u64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct InnerProductParameter {
    #[prost(uint64, tag = "1")]
    pub num_output: u64,
    #[prost(int64, optional, tag = "5")]
    pub axis: Option<i64>,
    #[prost(bool, tag = "6")]
    pub transpose: bool,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct LrnParameter {
    #[prost(uint64, optional, tag = "1")]
    pub local_size: Option<u64>,
    #[prost(float, optional, tag = "2")]
    pub alpha: Option<f32>,
    #[prost(float, optional, tag = "3")]
    pub beta: Option<f32>,
    /// 0 is normalisation across channels.
    #[prost(int32, tag = "4")]
    pub norm_region: i32,
    #[prost(float, optional, tag = "5")]
    pub k: Option<f32>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct PoolingParameter {
    /// 0 is the maximum, 1 the average.
    #[prost(int32, tag = "1")]
    pub pool: i32,
    #[prost(uint64, optional, tag = "2")]
    pub kernel_size: Option<u64>,
    #[prost(uint64, optional, tag = "3")]
    pub stride: Option<u64>,
    #[prost(uint64, optional, tag = "4")]
    pub pad: Option<u64>,
    #[prost(uint64, optional, tag = "5")]
    pub kernel_h: Option<u64>,
    #[prost(uint64, optional, tag = "6")]
    pub kernel_w: Option<u64>,
    #[prost(uint64, optional, tag = "7")]
    pub stride_h: Option<u64>,
    #[prost(uint64, optional, tag = "8")]
    pub stride_w: Option<u64>,
    #[prost(uint64, optional, tag = "9")]
    pub pad_h: Option<u64>,
    #[prost(uint64, optional, tag = "10")]
    pub pad_w: Option<u64>,
    #[prost(bool, tag = "12")]
    pub global_pooling: bool,
    /// 0 rounds up, 1 down.
    #[prost(int32, tag = "13")]
    pub round_mode: i32,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ReluParameter {
    #[prost(float, tag = "1")]
    pub negative_slope: f32,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct SoftmaxParameter {
    #[prost(int64, optional, tag = "2")]
    pub axis: Option<i64>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct FlattenParameter {
    #[prost(int64, optional, tag = "1")]
    pub axis: Option<i64>,
    #[prost(int64, optional, tag = "2")]
    pub end_axis: Option<i64>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct InputParameter {
    #[prost(message, repeated, tag = "1")]
    pub shape: Vec<BlobShape>,
}
