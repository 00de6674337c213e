//! The five published AlexNets as data: layers, preprocessing, labels.
//!
//! Sources: Krizhevsky, Sutskever, Hinton 2012; BVLC's `bvlc_alexnet` and `bvlc_reference_caffenet` (`train_val.prototxt`);
//! torchvision's `models/alexnet.py` (Krizhevsky 2014, "One weird trick").

use std::{fmt, str::FromStr};

use crate::{
    layers::{Conv, Linear, LocalResponseNorm, MaxPool},
    network::{Network, NetworkError},
    picture::Preprocessing,
    shape::Shape,
    text::nearest,
};

/// A variant of AlexNet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Variant {
    /// One column, no groups, no normalisation, 227×227: this project's default.
    Ungrouped,
    /// [`Variant::Ungrouped`] with the paper's normalisation before pooling, as PyTorch programs write it
    /// ([`LocalResponseNorm::TORCH_PAPER`]).
    Paper,
    /// BVLC AlexNet: two groups in conv2, conv4 and conv5; normalisation before pooling.
    Caffe,
    /// BVLC CaffeNet: as [`Variant::Caffe`] with normalisation after pooling.
    CaffeNet,
    /// torchvision's AlexNet: fewer filters, 224×224 with padding, adaptive average pooling.
    Torchvision,
}

impl Variant {
    /// All variants.
    pub const ALL: [Self; 5] = [Self::Ungrouped, Self::Paper, Self::Caffe, Self::CaffeNet, Self::Torchvision];

    /// The name used on the command line and in files.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ungrouped => "ungrouped",
            Self::Paper => "paper",
            Self::Caffe => "caffe",
            Self::CaffeNet => "caffenet",
            Self::Torchvision => "torchvision",
        }
    }

    /// The network at its published size.
    pub const fn standard(self) -> AlexNet {
        match self {
            Self::Ungrouped => AlexNet::UNGROUPED,
            Self::Paper => AlexNet::PAPER,
            Self::Caffe => AlexNet::CAFFE,
            Self::CaffeNet => AlexNet::CAFFENET,
            Self::Torchvision => AlexNet::TORCHVISION,
        }
    }

    /// Side of the square input in pixels.
    pub const fn input_size(self) -> usize {
        match self {
            Self::Torchvision => 224,
            _ => 227,
        }
    }

    /// Groups in conv2, conv4 and conv5.
    pub const fn groups(self) -> usize {
        match self {
            Self::Caffe | Self::CaffeNet => 2,
            Self::Ungrouped | Self::Paper | Self::Torchvision => 1,
        }
    }

    /// The preprocessing of its published weights.
    pub const fn preprocessing(self) -> Preprocessing {
        match self {
            Self::Ungrouped | Self::Paper | Self::Torchvision => Preprocessing::torchvision(self.input_size()),
            Self::Caffe | Self::CaffeNet => Preprocessing::caffe(self.input_size()),
        }
    }
}

impl fmt::Display for Variant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Variant {
    type Err = UnknownNetwork;
    fn from_str(s: &str) -> Result<Self, UnknownNetwork> {
        Self::ALL.into_iter().find(|v| v.name() == s).ok_or_else(|| UnknownNetwork {
            found: s.into(),
            nearest: nearest(s, Self::ALL.iter().map(|v| v.name())).unwrap_or_default().into(),
        })
    }
}

/// The error for an unknown variant's name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "unknown network `{found}`: did you mean `{nearest}`? Expected ungrouped, paper, caffe, caffenet or torchvision"
)]
pub struct UnknownNetwork {
    /// The name asked for.
    pub found: String,
    /// The closest existing name.
    pub nearest: String,
}

/// An AlexNet of any size: a [`Variant`] and its layer sizes.
///
/// ```
/// use alexnet_wgpu::AlexNet;
///
/// let network = AlexNet::UNGROUPED.width(0.5).head(256, 256).classes(10).network()?;
/// assert_eq!(network.layer("conv1")?.output.channels, 48);
/// # Ok::<(), alexnet_wgpu::NetworkError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AlexNet {
    /// The variant, which sets the order of the layers.
    pub variant: Variant,
    /// Filters of conv1 to conv5.
    pub channels: [usize; 5],
    /// Outputs of fc6 and fc7.
    pub head: [usize; 2],
    /// Outputs of fc8.
    pub classes: usize,
}

impl AlexNet {
    /// The project's default: 62,378,344 parameters.
    pub const UNGROUPED: Self =
        Self { variant: Variant::Ungrouped, channels: [96, 256, 384, 384, 256], head: [4096, 4096], classes: 1000 };
    /// [`AlexNet::UNGROUPED`] with the paper's normalisation.
    pub const PAPER: Self = Self { variant: Variant::Paper, ..Self::UNGROUPED };
    /// BVLC AlexNet: 60,965,224 parameters.
    pub const CAFFE: Self = Self { variant: Variant::Caffe, ..Self::UNGROUPED };
    /// BVLC CaffeNet: 60,965,224 parameters.
    pub const CAFFENET: Self = Self { variant: Variant::CaffeNet, ..Self::UNGROUPED };
    /// torchvision's AlexNet: 61,100,840 parameters.
    pub const TORCHVISION: Self =
        Self { variant: Variant::Torchvision, channels: [64, 192, 384, 256, 256], head: [4096, 4096], classes: 1000 };

    /// The same network with `factor` times as many filters, rounded to a multiple of the groups, at least one per group.
    pub fn width(mut self, factor: f64) -> Self {
        let groups = self.variant.groups();
        for c in &mut self.channels {
            *c = (((*c as f64 * factor / groups as f64).round() as usize) * groups).max(groups);
        }
        self
    }

    /// The same network with `fc6` and `fc7` outputs in the head.
    pub const fn head(mut self, fc6: usize, fc7: usize) -> Self {
        self.head = [fc6, fc7];
        self
    }

    /// The same network with `n` classes.
    pub const fn classes(mut self, n: usize) -> Self {
        self.classes = n;
        self
    }

    /// The network, layer by layer.
    ///
    /// # Errors
    ///
    /// [`NetworkError`] where the sizes do not fit, such as channels that are not divisible by the groups.
    pub fn network(&self) -> Result<Network, NetworkError> {
        self.in_groups(self.variant.groups())
    }

    /// The same network with another number of groups in conv2, conv4 and conv5.
    pub(crate) fn in_groups(&self, groups: usize) -> Result<Network, NetworkError> {
        let Self { variant, channels: c, head, classes } = *self;
        let side = variant.input_size();
        let norm = match variant {
            Variant::Paper => LocalResponseNorm::TORCH_PAPER,
            _ => LocalResponseNorm::CAFFE,
        };
        let pool = MaxPool::new(3, 2);
        let conv1 = match variant {
            Variant::Torchvision => Conv::new(c[0], 11).stride(4).padding(2).relu(),
            _ => Conv::new(c[0], 11).stride(4).relu(),
        };

        let mut net = Network::builder(variant.name(), Shape::new(3, side, side)).conv("conv1", conv1);
        net = match variant {
            Variant::Caffe | Variant::Paper => net.local_response_norm("norm1", norm).max_pool("pool1", pool),
            Variant::CaffeNet => net.max_pool("pool1", pool).local_response_norm("norm1", norm),
            Variant::Ungrouped | Variant::Torchvision => net.max_pool("pool1", pool),
        };
        net = net.conv("conv2", Conv::new(c[1], 5).padding(2).groups(groups).relu());
        net = match variant {
            Variant::Caffe | Variant::Paper => net.local_response_norm("norm2", norm).max_pool("pool2", pool),
            Variant::CaffeNet => net.max_pool("pool2", pool).local_response_norm("norm2", norm),
            Variant::Ungrouped | Variant::Torchvision => net.max_pool("pool2", pool),
        };
        net = net
            .conv("conv3", Conv::new(c[2], 3).padding(1).relu())
            .conv("conv4", Conv::new(c[3], 3).padding(1).groups(groups).relu())
            .conv("conv5", Conv::new(c[4], 3).padding(1).groups(groups).relu())
            .max_pool("pool5", pool);
        let (fc6, fc7) = (Linear::new(head[0]).relu(), Linear::new(head[1]).relu());
        net = match variant {
            Variant::Caffe | Variant::CaffeNet => {
                net.linear("fc6", fc6).dropout("drop6").linear("fc7", fc7).dropout("drop7")
            }
            Variant::Ungrouped | Variant::Paper => {
                net.dropout("drop5").linear("fc6", fc6).dropout("drop6").linear("fc7", fc7)
            }
            Variant::Torchvision => net
                .adaptive_avg_pool("avgpool", 6, 6)
                .dropout("drop5")
                .linear("fc6", fc6)
                .dropout("drop6")
                .linear("fc7", fc7),
        };
        net.linear("fc8", Linear::new(classes)).softmax("prob").build()
    }
}

/// The 1,000 labels of ImageNet (ILSVRC-2012) in index order, as torchvision lists them.
///
/// From torchvision's `_IMAGENET_CATEGORIES` (BSD-3-Clause, see `assets/LICENSES.md`).
pub fn imagenet_labels() -> Vec<String> {
    include_str!("../../assets/imagenet-labels.txt").lines().map(String::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_the_published_ones() {
        let cases = [
            (AlexNet::UNGROUPED, 62_378_344, 1_076_634_144 + 58_621_952, [55, 27, 27, 13, 13, 13, 13, 6]),
            (AlexNet::PAPER, 62_378_344, 1_076_634_144 + 58_621_952, [55, 27, 27, 13, 13, 13, 13, 6]),
            (AlexNet::CAFFE, 60_965_224, 665_784_864 + 58_621_952, [55, 27, 27, 13, 13, 13, 13, 6]),
            (AlexNet::CAFFENET, 60_965_224, 665_784_864 + 58_621_952, [55, 27, 27, 13, 13, 13, 13, 6]),
            (AlexNet::TORCHVISION, 61_100_840, 655_566_528 + 58_621_952, [55, 27, 27, 13, 13, 13, 13, 6]),
        ];
        for (alexnet, parameters, multiply_adds, maps) in cases {
            let net = alexnet.network().unwrap();
            assert_eq!(net.parameter_count(), parameters, "{}", net.name());
            assert_eq!(net.multiply_adds(), multiply_adds, "{}", net.name());
            let names = ["conv1", "pool1", "conv2", "pool2", "conv3", "conv4", "conv5", "pool5"];
            for (name, size) in names.into_iter().zip(maps) {
                let shape = net.layer(name).unwrap().output;
                assert_eq!((shape.height, shape.width), (size, size), "{} {name}", net.name());
            }
        }
    }

    #[test]
    fn labels_are_complete_and_unique() {
        let labels = imagenet_labels();
        assert_eq!(labels.len(), 1000);
        assert_eq!(labels[967], "espresso");
        let unique: std::collections::BTreeSet<_> = labels.iter().collect();
        assert_eq!(unique.len(), 1000);
    }
}
