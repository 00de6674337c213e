//! Properties of a weight file that the caller decides.

use std::str::FromStr;

use super::{
    alexnet::Variant,
    notes::{beginning, known},
};
use crate::{network::Network, picture::Preprocessing, shape::Shape, text::nearest};

/// The reason for a choice made by the caller.
pub(super) const CALLER: &str = "given by the caller";

/// Settings for properties that a file omits or gets wrong; the default takes everything from the file.
///
/// ```no_run
/// use alexnet_wgpu::{Model, ModelOptions, Variant};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let options = ModelOptions::default().variant(Variant::CaffeNet);
/// let model = Model::open("caffenet.caffemodel", &options)?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ModelOptions {
    /// The AlexNet that the weights belong to.
    pub variant: Option<Variant>,
    /// The network that the weights belong to; takes precedence over [`ModelOptions::variant`]. Tensors are matched by the
    /// names of its layers, or by order. Batch normalisations in a state dict are folded into the layers before them.
    pub network: Option<Network>,
    /// The shape of the input, for a Caffe file that omits it.
    pub input: Option<Shape>,
    /// The text of the `.prototxt` that belongs to a Caffe file without its input's shape.
    pub prototxt: Option<String>,
    /// Labels in index order.
    pub labels: Option<Vec<String>>,
    /// The preprocessing that turns pictures into the network's input.
    pub preprocessing: Option<GivenPreprocessing>,
}

impl ModelOptions {
    /// Sets the AlexNet that the weights belong to; `None` leaves it to the file.
    pub fn variant(mut self, variant: impl Into<Option<Variant>>) -> Self {
        self.variant = variant.into();
        self
    }

    /// Sets the network that the weights belong to; `None` leaves it to the file.
    pub fn network(mut self, network: impl Into<Option<Network>>) -> Self {
        self.network = network.into();
        self
    }

    /// Sets the shape of the input, for a Caffe file that omits it.
    pub fn input(mut self, input: impl Into<Option<Shape>>) -> Self {
        self.input = input.into();
        self
    }

    /// Sets the text of the `.prototxt` that belongs to a Caffe file without its input's shape.
    pub fn prototxt(mut self, prototxt: impl Into<Option<String>>) -> Self {
        self.prototxt = prototxt.into();
        self
    }

    /// Sets the labels, in index order; `None` leaves them to the file.
    pub fn labels(mut self, labels: impl Into<Option<Vec<String>>>) -> Self {
        self.labels = labels.into();
        self
    }

    /// Sets the preprocessing; `None` leaves it to the file.
    pub fn preprocessing(mut self, preprocessing: impl Into<Option<GivenPreprocessing>>) -> Self {
        self.preprocessing = preprocessing.into();
        self
    }
}

/// Preprocessing chosen by the caller, whatever a file says: that of one of the two sets of published weights, fitted to the
/// network's input, or custom values.
///
/// The text form is `torchvision`, `caffe`, or JSON as in the metadata of weight files and in the output of `alexnet info
/// --json`:
///
/// ```
/// use alexnet_wgpu::{ChannelOrder, GivenPreprocessing, Resize};
///
/// assert_eq!("caffe".parse(), Ok(GivenPreprocessing::Caffe));
/// let json = r#"{"resize": {"shorter-side": 256}, "crop": [224, 224], "channels": "bgr", "scale": 1, "mean": [104, 117, 123],
///                "std": [1, 1, 1]}"#;
/// let Ok(GivenPreprocessing::Own(own)) = json.parse() else { panic!("good JSON") };
/// assert_eq!((own.resize, own.channels), (Resize::ShorterSide(256), ChannelOrder::Bgr));
/// let error = "torchvison".parse::<GivenPreprocessing>().unwrap_err();
/// assert!(error.to_string().contains("did you mean `torchvision`"));
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum GivenPreprocessing {
    /// [`Preprocessing::torchvision`].
    Torchvision,
    /// [`Preprocessing::caffe`].
    Caffe,
    /// The file's preprocessing, or [`Preprocessing::caffe`], with these means of samples of 0…255 in the order of the
    /// channels.
    CaffeMean([f32; 3]),
    /// Custom preprocessing; its crop must be the network's input.
    Own(Preprocessing),
}

impl GivenPreprocessing {
    const NAMES: [&str; 2] = ["torchvision", "caffe"];

    /// Caffe preprocessing with the mean pixel of a mean image (`.binaryproto`) written by Caffe's `compute_image_mean`.
    ///
    /// # Errors
    ///
    /// [`WeightsError::Format`](crate::WeightsError::Format) where the bytes are not a mean image of one or three channels.
    #[cfg(feature = "caffe")]
    pub fn from_binaryproto(bytes: &[u8]) -> Result<Self, crate::WeightsError> {
        super::formats::mean_pixel(bytes).map(Self::CaffeMean)
    }

    /// The preprocessing for a network's input, and the reason for it; `own` is the file's preprocessing.
    pub(super) fn of(self, input: Shape, own: Option<Preprocessing>) -> (Preprocessing, String) {
        let fitted = |p: Preprocessing, name| (p.cropped(input.height, input.width), format!("{name}'s, {CALLER}"));
        match self {
            Self::Torchvision => fitted(Preprocessing::torchvision(input.height), "torchvision"),
            Self::Caffe => fitted(Preprocessing::caffe(input.height), "Caffe"),
            Self::CaffeMean(mean) => {
                let caffe =
                    if input.channels == 3 { Preprocessing::caffe(input.height) } else { Preprocessing::plain(input) };
                let p = own.unwrap_or(caffe.scale(1.0));
                // Means are of samples after the scale, and are subtracted from those.
                fitted(p.mean(mean.map(|mean| mean * p.scale)), "that of a picture of means, and Caffe")
            }
            Self::Own(p) => (p, CALLER.into()),
        }
    }
}

impl FromStr for GivenPreprocessing {
    type Err = UnknownPreprocessing;

    fn from_str(text: &str) -> Result<Self, UnknownPreprocessing> {
        let found = || beginning(text);
        match text.trim() {
            "torchvision" => Ok(Self::Torchvision),
            "caffe" => Ok(Self::Caffe),
            json if json.starts_with('{') => {
                let own: Preprocessing =
                    known(json).map_err(|reason| UnknownPreprocessing::Json { reason, found: found() })?;
                own.check().map_err(|e| UnknownPreprocessing::Numbers { reason: e.to_string() })?;
                Ok(Self::Own(own))
            }
            name => Err(UnknownPreprocessing::Name {
                nearest: nearest(name, Self::NAMES.into_iter()).unwrap_or_default().into(),
                found: found(),
            }),
        }
    }
}

/// An error in the text of a preprocessing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UnknownPreprocessing {
    /// The text is neither a known name nor JSON.
    #[error("unknown preprocessing `{found}`: did you mean `{nearest}`? Expected torchvision, caffe or JSON")]
    Name {
        /// The name asked for, or its beginning.
        found: String,
        /// The closest existing name.
        nearest: String,
    },
    /// The JSON is not a preprocessing.
    #[error(
        "expected preprocessing as JSON with resize, crop, channels, scale, mean and std, found `{found}` ({reason})"
    )]
    Json {
        /// The text, or its beginning.
        found: String,
        /// The reason.
        reason: String,
    },
    /// The JSON has sizes or numbers that cannot be applied to a picture.
    #[error("invalid preprocessing: {reason}")]
    Numbers {
        /// The size or number.
        reason: String,
    },
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use super::*;
    use crate::Model;

    #[test]
    fn keys_that_mean_nothing_are_refused() {
        let model = Model::embedded().unwrap();
        let own = serde_json::to_string(&model.preprocessing).unwrap();
        let own = own.replacen("\"mean\"", "\"means\":[0,0,0],\"mean\"", 1);
        assert!(own.parse::<GivenPreprocessing>().unwrap_err().to_string().contains("`means` means nothing here"));
    }
}
