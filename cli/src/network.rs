//! `--network` and `--input-size`: the network that weights belong to.

use std::{
    path::{Path, PathBuf},
    str::FromStr,
};

use alexnet_wgpu::{ModelOptions, Network, Shape, Variant};

use crate::{failure::Failure, files, options::MODEL};

/// The network that weights belong to, where their file does not give it.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct NetworkArgs {
    /// The network of the weights: ungrouped, paper, caffe, caffenet or torchvision; or any other as JSON, as written by
    /// `alexnet info --write-network`; or the .prototxt of a Caffe file. By default, the one named in the file or recognised
    /// from its tensors' shapes
    #[arg(long, value_name = "NAME|FILE", help_heading = MODEL)]
    network: Option<NetworkArg>,
    /// The network's input, channels × height × width, for a Caffe file without it
    #[arg(long, value_name = "CxHxW", value_parser = size, help_heading = MODEL)]
    input_size: Option<Shape>,
}

/// An AlexNet's name, or a file.
#[derive(Clone, Debug)]
pub enum NetworkArg {
    Named(Variant),
    File(PathBuf),
}

impl FromStr for NetworkArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let path = Path::new(text);
        match text.parse() {
            Ok(variant) => Ok(Self::Named(variant)),
            Err(_) if matches!(&*files::ending(path), "json" | "prototxt") || path.is_file() => {
                Ok(Self::File(path.into()))
            }
            Err(unknown) => Err(format!("{unknown}, and any other in a file (.json, .prototxt)")),
        }
    }
}

fn size(text: &str) -> Result<Shape, String> {
    let sizes: Option<Vec<usize>> = text.split(['x', 'X', '×']).map(|size| size.trim().parse().ok()).collect();
    match sizes.as_deref() {
        Some(&[channels, height, width]) => Ok(Shape::new(channels, height, width)),
        _ => Err("expected channels, height and width, such as 3x227x227".into()),
    }
}

impl NetworkArg {
    /// The network, where no weights say more about it.
    pub fn network(&self) -> Result<Network, Failure> {
        match self {
            Self::Named(variant) => Ok(variant.standard().network()?),
            Self::File(path) if files::ending(path) == "prototxt" => {
                let path = path.display();
                Err(Failure::usage(format!(
                    "expected a network as JSON, found {path}: `alexnet info --write-network` writes it"
                )))
            }
            Self::File(path) => {
                let network = Network::from_json(&files::network(path)?);
                network.map_err(|e| Failure::run(format!("{}: {e}", path.display())))
            }
        }
    }
}

impl NetworkArgs {
    /// The network as --network names it.
    pub fn of(network: Option<NetworkArg>) -> Self {
        Self { network, input_size: None }
    }

    /// The file of the network, if it is not given by name.
    pub fn file(&self) -> Option<PathBuf> {
        match &self.network {
            Some(NetworkArg::File(path)) => Some(path.clone()),
            _ => None,
        }
    }

    /// Whether neither option is given.
    pub fn is_empty(&self) -> bool {
        self.network.is_none() && self.input_size.is_none()
    }

    /// Sets the network in `options`.
    pub fn apply(&self, options: &mut ModelOptions) -> Result<(), Failure> {
        options.input = self.input_size;
        match &self.network {
            None => {}
            Some(NetworkArg::Named(variant)) => options.variant = Some(*variant),
            Some(NetworkArg::File(path)) if files::ending(path) == "prototxt" => {
                options.prototxt = Some(files::network(path)?)
            }
            Some(file) => options.network = Some(file.network()?),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_names() {
        assert_eq!(size("1x28x28"), Ok(Shape::new(1, 28, 28)));
        assert_eq!(size("3×227×224"), Ok(Shape::new(3, 227, 224)));
        for wrong in ["28", "28x28", "3x-1x2", "axbxc", "1x2x3x4"] {
            assert!(size(wrong).is_err(), "{wrong}");
        }
        assert!(matches!("paper".parse(), Ok(NetworkArg::Named(Variant::Paper))));
        assert!(matches!("there/is/none.json".parse(), Ok(NetworkArg::File(_))));
        let error = "papr".parse::<NetworkArg>().map(drop).map_err(|e| e.contains("did you mean `paper`"));
        assert_eq!(error, Err(true));
    }
}
