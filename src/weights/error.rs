//! What is wrong with weights.

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
        /// Why.
        source: std::io::Error,
    },
    /// The file cannot be written.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The bytes are not what their header says, or of no known format.
    #[error("not a usable {format}: expected {what}; {advice}")]
    Format {
        /// The format.
        format: &'static str,
        /// What was expected and found.
        what: String,
        /// What to do.
        advice: &'static str,
    },
    /// A pickle asks for something that is not a tensor.
    #[error(
        "the pickle asks for `{global}`, which is no tensor (nothing was executed): if you trust its author, save \
         `model.state_dict()` with the program that wrote it"
    )]
    Global {
        /// Module and name.
        global: String,
    },
    /// A graph's node that cannot be run as a layer of a sequential network.
    #[error("node `{node}`: operator {operator} expected {what}; only sequential convolutional networks can be run")]
    Operator {
        /// The node.
        node: String,
        /// The operator.
        operator: String,
        /// What was expected and found.
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
        /// The other such operators of the graph, in words that follow a comma; nothing where there are none.
        others: String,
    },
    /// A tensor's numbers are of a kind that is not read.
    #[error(
        "tensor `{tensor}`: expected f16, bf16, f32 or f64, found {found}: save it as one of these, or leave it out where it is \
         no weight"
    )]
    DType {
        /// The tensor.
        tensor: String,
        /// Its kind.
        found: String,
    },
    /// An int8 tensor lacks scales that fit it.
    #[error(
        "tensor `{tensor}` is int8: expected {expected} finite f32 numbers in `{tensor}.scale`, one for each row, found \
         {found}: convert the original file again"
    )]
    Scales {
        /// The tensor.
        tensor: String,
        /// Its rows.
        expected: usize,
        /// What is there.
        found: String,
    },
    /// A tensor is not there.
    #[error("tensor `{tensor}` is missing, the nearest name is `{nearest}`: is this the right file for the network?")]
    Missing {
        /// The tensor.
        tensor: String,
        /// The closest name that is there.
        nearest: String,
    },
    /// A tensor that the network does not have.
    #[error(
        "tensor `{tensor}` has no place in network `{network}`{others}: save the weights without it, or choose the network that \
         has it"
    )]
    Extra {
        /// The tensor.
        tensor: String,
        /// More such tensors, in words that follow a comma; nothing where there are none.
        others: String,
        /// The network.
        network: String,
    },
    /// A tensor has another shape.
    #[error("tensor `{tensor}`: expected shape {expected:?}, found {found:?}: choose the network that fits the file")]
    Shape {
        /// The tensor.
        tensor: String,
        /// The network's shape.
        expected: Vec<usize>,
        /// The file's shape.
        found: Vec<usize>,
    },
    /// A tensor holds a NaN or an infinity.
    #[error(
        "tensor `{tensor}`: expected finite numbers, found {value} at {index}: the file is damaged or training diverged"
    )]
    NotFinite {
        /// The tensor.
        tensor: String,
        /// Flat position.
        index: usize,
        /// The number.
        value: f32,
    },
    /// The layers that a file speaks of do not fit together.
    #[error("the file's network cannot be run: {0}")]
    Network(#[from] crate::NetworkError),
    /// A batch normalisation that cannot be computed with the layer before it.
    #[error(
        "batch normalisation `{layer}`: expected {what}: export the network to ONNX, which says how its layers follow each other"
    )]
    BatchNorm {
        /// The layer.
        layer: String,
        /// What was expected and found.
        what: String,
    },
    /// No network with these tensors is known.
    #[error(
        "no network recognised: {0}; tensors do not tell how layers follow each other: give any other network than an AlexNet as \
         JSON, or take an ONNX or Caffe file of it"
    )]
    Unrecognised(String),
    /// A note in the file's metadata cannot be understood.
    #[error(
        "metadata `{key}`: expected {expected}, found `{found}`{reason}: correct the note in the file, convert the original again, or \
         give the {key} yourself"
    )]
    Metadata {
        /// The key.
        key: String,
        /// What may stand there.
        expected: String,
        /// What stands there, or its beginning.
        found: String,
        /// What is wrong with it, in parentheses after a space; nothing where that is plain.
        reason: String,
    },
    /// The preprocessing does not make the network's input of a picture.
    #[error("the preprocessing ({origin}) does not fit the network: {error}; give another in its place")]
    Preprocessing {
        /// Where it comes from.
        origin: String,
        /// What does not fit.
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
    /// The number of labels is not that of the classes.
    #[error("expected {expected} labels, one a class, found {found}: give the list that the network was trained with")]
    Labels {
        /// Classes of the network.
        expected: usize,
        /// Labels given.
        found: usize,
    },
}

impl WeightsError {
    /// What is usually to be done about a file that is not what it should be.
    pub(crate) fn malformed(format: &'static str, what: impl Into<String>) -> Self {
        Self::Format { format, what: what.into(), advice: "download or convert the file again" }
    }

    /// The same, where something better is to be done.
    pub(crate) fn advising(self, advice: &'static str) -> Self {
        match self {
            Self::Format { format, what, .. } => Self::Format { format, what, advice },
            other => other,
        }
    }

    /// That these tensors are not the network's; `None` where there are none.
    pub(crate) fn extra(mut names: impl Iterator<Item = String>, network: &str) -> Option<Self> {
        let tensor = clip(&names.next()?);
        let named: Vec<String> = names.by_ref().take(3).map(|name| format!("`{}`", clip(&name))).collect();
        let more = match names.count() {
            0 => String::new(),
            n => format!(" and {n} more"),
        };
        let others = if named.is_empty() { String::new() } else { format!(", nor have {}{more}", named.join(", ")) };
        Some(Self::Extra { tensor, others, network: network.into() })
    }
}
