//! The published weight files, and the places of downloaded ones.

use std::{
    fs::{File, Metadata},
    io::{self, Read},
    path::{Path, PathBuf},
};

use alexnet_wgpu::Variant;
use sha1::Sha1;
use sha2::{Digest, Sha256};

use crate::{failure::Failure, files, text::megabytes};

/// A weight file that its makers published.
#[derive(Debug)]
pub struct Published {
    /// The name on the command line.
    pub name: &'static str,
    /// The file's own name.
    pub file: &'static str,
    pub url: &'static str,
    /// The size in bytes, where the makers give it.
    pub size: Option<u64>,
    pub checksum: Checksum,
    /// The network recognised in the file, or the one that has to be given with it.
    pub network: &'static str,
    pub licence: &'static str,
    /// Top-1 and top-5 accuracy on ILSVRC-2012's validation pictures in percent, according to the makers, of networks that
    /// classify.
    pub accuracy: Option<[&'static str; 2]>,
}

/// All files that can be fetched. The networks were trained on ImageNet's pictures, which are for research only.
///
/// Sources of the numbers: torchvision's `AlexNet_Weights` (the file's name has the first digits of its SHA-256); the ONNX
/// model zoo's README and Git LFS pointer; the readme.md of each of BVLC Caffe's models; the file in the package lpips 0.1.4.
pub const PUBLISHED: [Published; 5] = [
    Published {
        name: "torchvision",
        file: "alexnet-owt-7be5be79.pth",
        url: "https://download.pytorch.org/models/alexnet-owt-7be5be79.pth",
        size: Some(244_408_911),
        checksum: Checksum::Sha256("7be5be791159472b1fbf3c69796f7cb30dca7ad8466c2df70058c37116cdee02"),
        network: "torchvision",
        licence: "BSD-3-Clause",
        accuracy: Some(["56.522", "79.066"]),
    },
    Published {
        name: "onnx",
        file: "bvlcalexnet-12.onnx",
        url: "https://huggingface.co/onnxmodelzoo/legacy_models/resolve/main/validated/vision/classification/alexnet/model/bvlcalexnet-12.onnx",
        size: Some(243_863_787),
        checksum: Checksum::Sha256("6b0da9510f27f234ee96a85dc3809dd210150fdefad87f6850f9788513216945"),
        network: "caffe",
        licence: "BSD-3-Clause",
        accuracy: Some(["54.80", "78.23"]),
    },
    Published {
        name: "caffe",
        file: "bvlc_alexnet.caffemodel",
        url: "http://dl.caffe.berkeleyvision.org/bvlc_alexnet.caffemodel",
        size: None,
        checksum: Checksum::Sha1("9116a64c0fbe4459d18f4bb6b56d647b63920377"),
        network: "caffe",
        licence: "unrestricted",
        accuracy: Some(["57.1", "80.2"]),
    },
    Published {
        name: "caffenet",
        file: "bvlc_reference_caffenet.caffemodel",
        url: "http://dl.caffe.berkeleyvision.org/bvlc_reference_caffenet.caffemodel",
        size: None,
        checksum: Checksum::Sha1("4c8d77deb20ea792f84eb5e6d0a11ca0a8660a46"),
        network: "caffenet",
        licence: "unrestricted",
        accuracy: Some(["57.4", "80.4"]),
    },
    Published {
        name: "lpips",
        file: "alex.pth",
        url: "https://raw.githubusercontent.com/richzhang/PerceptualSimilarity/master/lpips/weights/v0.1/alex.pth",
        size: Some(6009),
        checksum: Checksum::Sha256("df73285e35b22355a2df87cdb6b70b343713b667eddbda73e1977e0c860835c0"),
        network: "LPIPS",
        licence: "BSD-2-Clause",
        accuracy: None,
    },
];

impl Published {
    /// The file called `name`.
    pub fn named(name: &str) -> Option<&'static Self> {
        PUBLISHED.iter().find(|published| published.name == name)
    }

    /// The file that `name` may be a misspelling of.
    pub fn nearest(name: &str) -> Option<&'static Self> {
        let name = name.to_lowercase();
        let distance = |published: &Self| strsim::damerau_levenshtein(&name, published.name);
        let nearest = PUBLISHED.iter().min_by_key(|published| distance(published))?;
        // Up to a third of the letters may be wrong.
        Some(nearest).filter(|published| 3 * distance(published) <= published.name.len())
    }

    /// The approximate size of the file, where its makers do not give it: the network's numbers as f32.
    pub fn estimate(&self) -> Option<String> {
        let network = self.network.parse::<Variant>().ok()?.standard().network().ok()?;
        Some(format!("~{}", megabytes(4 * network.parameter_count())))
    }

    /// Whether a file at `place` has another size than the published one, which shows without reading it.
    pub fn is_damaged(&self, place: &Path) -> bool {
        let found = place.metadata().ok().filter(Metadata::is_file).map(|metadata| metadata.len());
        found.is_some_and(|found| self.size.is_some_and(|size| size != found))
    }

    /// The place of the downloaded file, in the user's cache folder.
    pub fn place(&self) -> Result<PathBuf, Failure> {
        let folder = files::cache().ok_or_else(|| Failure::run("there is no cache folder: set HOME"))?;
        Ok(folder.join(self.file))
    }
}

/// A checksum in hexadecimal digits.
#[derive(Clone, Copy, Debug)]
pub enum Checksum {
    Sha1(&'static str),
    Sha256(&'static str),
}

impl Checksum {
    /// Compares the file's checksum; a mismatch contains the actual one.
    pub fn check(&self, path: &Path) -> io::Result<Result<(), Mismatch>> {
        let (expected, found) = match self {
            Self::Sha1(expected) => (expected, digits::<Sha1>(path)?),
            Self::Sha256(expected) => (expected, digits::<Sha256>(path)?),
        };
        Ok(if found == **expected { Ok(()) } else { Err(Mismatch { expected, found }) })
    }
}

/// The error for a wrong checksum.
#[derive(Debug)]
pub struct Mismatch {
    pub expected: &'static str,
    pub found: String,
}

fn digits<D: Digest>(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let mut digest = D::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect()),
            count => digest.update(&buffer[..count]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_order() {
        for (index, published) in PUBLISHED.iter().enumerate() {
            let Published { name, file, url, .. } = published;
            assert!(url.ends_with(&format!("/{file}")), "{name}");
            assert!(PUBLISHED[..index].iter().all(|other| other.name != *name && other.file != *file), "{name}");
            let (digits, length) = match published.checksum {
                Checksum::Sha1(digits) => (digits, 40),
                Checksum::Sha256(digits) => (digits, 64),
            };
            assert_eq!(digits.len(), length, "{name}");
            assert!(digits.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)), "{name}");
        }
        // PyTorch's convention: the first digits in the file's name.
        let torchvision = Published::named("torchvision").unwrap();
        let Checksum::Sha256(digits) = torchvision.checksum else { panic!("{torchvision:?}") };
        assert!(torchvision.file.contains(&digits[..8]));
    }

    #[test]
    fn misspelt_names_are_understood() {
        for (name, meant) in [
            ("torchvison", Some("torchvision")),
            ("Torchvision", Some("torchvision")),
            ("cafe", Some("caffe")),
            ("cafenet", Some("caffenet")),
            ("onx", Some("onnx")),
            ("x", None),
            ("alexnet.pth", None),
            ("", None),
        ] {
            assert_eq!(Published::nearest(name).map(|published| published.name), meant, "{name}");
        }
    }

    #[test]
    fn checksums_are_the_standard_ones() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(&file, "abc").unwrap();
        // FIPS 180-4's examples.
        let sha1 = Checksum::Sha1("a9993e364706816aba3e25717850c26c9cd0d89d");
        let sha256 = Checksum::Sha256("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        for checksum in [sha1, sha256] {
            checksum.check(file.path()).unwrap().unwrap();
        }
        let mismatch = Checksum::Sha1("00").check(file.path()).unwrap().unwrap_err();
        assert_eq!(mismatch.found, "a9993e364706816aba3e25717850c26c9cd0d89d");
    }
}
