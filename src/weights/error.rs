//! Errors of weights and weight files.

use std::path::PathBuf;

use crate::text::clip;

/// A weight file that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WeightsError {
    /// The file cannot be opened or read.
    #[error("cannot read weights from {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// The file cannot be written.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// The bytes contradict their header, or are of no known format.
    #[error("not a usable {format}: expected {what}; {advice}")]
    Format {
        /// The format.
        format: &'static str,
        /// The expected and the actual content.
        what: String,
        /// The remedy.
        advice: &'static str,
    },
    /// A pickle asks for something that is not a tensor.
    #[error(
        "the pickle contains `{global}`, which is not a tensor (nothing was executed): if you trust its author, save \
         `model.state_dict()` with the program that wrote it"
    )]
    Global {
        /// The global's module and name.
        global: String,
    },
    /// A graph's node that cannot be run as a layer of a sequential network.
    #[error("node `{node}`: operator {operator} expected {what}; only sequential convolutional networks can be run")]
    Operator {
        /// The node.
        node: String,
        /// The operator.
        operator: String,
        /// The expected and the actual operator or attribute.
        what: String,
    },
    /// A graph's node whose operator no layer computes.
    #[error(
        "node `{node}`: no layer computes operator {operator}{others}; docs/networks.md lists those that are: export the \
         network with them alone"
    )]
    UnknownOperator {
        /// The node.
        node: String,
        /// The operator.
        operator: String,
        /// The graph's other such operators, as text that follows a comma; empty where there are none.
        others: String,
    },
    /// A tensor has an unsupported data type.
    #[error(
        "tensor `{tensor}`: expected f16, bf16, f32 or f64, found {found}: save it as one of these, or remove it if it is \
         not a weight"
    )]
    DType {
        /// The tensor.
        tensor: String,
        /// Its data type.
        found: String,
    },
    /// An int8 tensor has no scales, or the wrong number.
    #[error(
        "tensor `{tensor}` is int8: expected {expected} finite f32 numbers in `{tensor}.scale`, one for each row, found \
         {found}: convert the original file again"
    )]
    Scales {
        /// The tensor.
        tensor: String,
        /// The number of its rows.
        expected: usize,
        /// The scales found.
        found: String,
    },
    /// A tensor is missing.
    #[error("tensor `{tensor}` is missing, the nearest name is `{nearest}`: is this the right file for the network?")]
    Missing {
        /// The tensor.
        tensor: String,
        /// The closest existing name.
        nearest: String,
    },
    /// A tensor that the network does not have.
    #[error(
        "tensor `{tensor}` is not part of network `{network}`{others}: remove it from the file, or choose the network \
         that has it"
    )]
    Extra {
        /// The tensor.
        tensor: String,
        /// More such tensors, as text that follows a comma; empty where there are none.
        others: String,
        /// The network.
        network: String,
    },
    /// A tensor has another shape.
    #[error("tensor `{tensor}`: expected shape {expected:?}, found {found:?}: choose the network that fits the file")]
    Shape {
        /// The tensor.
        tensor: String,
        /// The shape that the network requires.
        expected: Vec<usize>,
        /// The shape in the file.
        found: Vec<usize>,
    },
    /// A tensor holds a NaN or an infinity.
    #[error(
        "tensor `{tensor}`: expected finite numbers, found {value} at {index}: the file is damaged or training diverged"
    )]
    NotFinite {
        /// The tensor.
        tensor: String,
        /// The flat index.
        index: usize,
        /// The value.
        value: f32,
    },
    /// The layers described by a file do not fit together.
    #[error("the file's network cannot be run: {0}")]
    Network(#[from] crate::NetworkError),
    /// A batch normalisation cannot be computed with the layer before it.
    #[error(
        "batch normalisation `{layer}`: expected {what}: export the network to ONNX, which records the order of its layers"
    )]
    BatchNorm {
        /// The layer.
        layer: String,
        /// The expected and the actual parameters.
        what: String,
    },
    /// The tensors match no known network.
    #[error(
        "no network recognised: {0}; tensors do not record the order of layers: describe a network other than an AlexNet \
         as JSON, or use an ONNX or Caffe file"
    )]
    Unrecognised(String),
    /// An entry of the file's metadata is invalid.
    #[error(
        "metadata `{key}`: expected {expected}, found `{found}`{reason}: correct the metadata, convert the original file \
         again, or pass the {key} yourself"
    )]
    Metadata {
        /// The key.
        key: String,
        /// The valid values.
        expected: String,
        /// The actual value, or its beginning.
        found: String,
        /// The reason, in parentheses after a space; empty where it is obvious.
        reason: String,
    },
    /// The preprocessing does not produce the network's input.
    #[error("the preprocessing ({origin}) does not fit the network: {error}; pass another")]
    Preprocessing {
        /// The source of the preprocessing.
        origin: String,
        /// The mismatch.
        #[source]
        error: crate::PreprocessingError,
    },
    /// The network's output is too long for a list of classes.
    #[error(
        "expected a network that ends in maps or a vector of at most {} classes, found an output of {output}: export the \
         network with its classifier",
        crate::Model::MAX_CLASSES
    )]
    Classes {
        /// The output's shape.
        output: crate::Shape,
    },
    /// The network begins with a fully connected layer.
    #[error(
        "network `{network}`: expected layers before the first fully connected one, found none: choose weights of a \
         convolutional network"
    )]
    NoFeatures {
        /// The network.
        network: String,
    },
    /// The number of labels differs from the number of classes.
    #[error(
        "expected {expected} labels, one per class, found {found}: pass the list that the network was trained with"
    )]
    Labels {
        /// The number of the network's classes.
        expected: usize,
        /// The number of labels given.
        found: usize,
    },
}

impl WeightsError {
    /// An error for a malformed file, with the usual advice.
    pub(crate) fn malformed(format: &'static str, what: impl Into<String>) -> Self {
        Self::Format { format, what: what.into(), advice: "download or convert the file again" }
    }

    /// The same error with more specific advice.
    pub(crate) fn advising(self, advice: &'static str) -> Self {
        match self {
            Self::Format { format, what, .. } => Self::Format { format, what, advice },
            other => other,
        }
    }

    /// The error for tensors that are not the network's; `None` where there are none.
    pub(crate) fn extra(mut names: impl Iterator<Item = String>, network: &str) -> Option<Self> {
        let tensor = clip(&names.next()?);
        let named: Vec<String> = names.by_ref().take(3).map(|name| format!("`{}`", clip(&name))).collect();
        let more = match names.count() {
            0 => String::new(),
            n => format!(" and {n} more"),
        };
        let others = if named.is_empty() { String::new() } else { format!(", nor are {}{more}", named.join(", ")) };
        Some(Self::Extra { tensor, others, network: network.into() })
    }
}
