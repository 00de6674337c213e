//! The published weight files, and the places of downloaded ones.

use std::{
    fs::{File, Metadata},
    io::{self, Read},
    path::{Path, PathBuf},
};

use sha2::{Digest, Sha256};

use crate::{failure::Failure, files};

/// A weight file that its makers published.
#[derive(Debug)]
pub struct Published {
    /// The name on the command line.
    pub name: &'static str,
    /// The file's own name.
    pub file: &'static str,
    pub url: &'static str,
    /// The size in bytes.
    pub size: u64,
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
/// model zoo's README and Git LFS pointer; the readme.md of each of BVLC Caffe's models, and OpenVINO's Open Model Zoo
/// (models/public/{alexnet,caffenet}/model.yml: sizes, copies behind TLS, and SHA-256 up to release 2021.4), since the server of
/// Caffe's authors has no TLS; the file in the package lpips 0.1.4.
pub const PUBLISHED: [Published; 5] = [
    Published {
        name: "torchvision",
        file: "alexnet-owt-7be5be79.pth",
        url: "https://download.pytorch.org/models/alexnet-owt-7be5be79.pth",
        size: 244_408_911,
        checksum: Checksum("7be5be791159472b1fbf3c69796f7cb30dca7ad8466c2df70058c37116cdee02"),
        network: "torchvision",
        licence: "BSD-3-Clause",
        accuracy: Some(["56.522", "79.066"]),
    },
    Published {
        name: "onnx",
        file: "bvlcalexnet-12.onnx",
        url: "https://huggingface.co/onnxmodelzoo/legacy_models/resolve/main/validated/vision/classification/alexnet/model/bvlcalexnet-12.onnx",
        size: 243_863_787,
        checksum: Checksum("6b0da9510f27f234ee96a85dc3809dd210150fdefad87f6850f9788513216945"),
        network: "caffe",
        licence: "BSD-3-Clause",
        accuracy: Some(["54.80", "78.23"]),
    },
    Published {
        name: "caffe",
        file: "bvlc_alexnet.caffemodel",
        url: "https://storage.openvinotoolkit.org/repositories/open_model_zoo/public/2022.1/alexnet/bvlc_alexnet.caffemodel",
        size: 243_862_414,
        checksum: Checksum("4bff209a9837298157915ef50a4831a59636a6ca1a6b8ebacd990c3a5f3053e0"),
        network: "caffe",
        licence: "unrestricted",
        accuracy: Some(["57.1", "80.2"]),
    },
    Published {
        name: "caffenet",
        file: "bvlc_reference_caffenet.caffemodel",
        url: "https://storage.openvinotoolkit.org/repositories/open_model_zoo/public/2022.1/caffenet/bvlc_reference_caffenet.caffemodel",
        size: 243_862_418,
        checksum: Checksum("472d4a06035497b180636d8a82667129960371375bd10fcb6df5c6c7631f25e0"),
        network: "caffenet",
        licence: "unrestricted",
        accuracy: Some(["57.4", "80.4"]),
    },
    Published {
        name: "lpips",
        file: "alex.pth",
        url: "https://raw.githubusercontent.com/richzhang/PerceptualSimilarity/master/lpips/weights/v0.1/alex.pth",
        size: 6_009,
        checksum: Checksum("df73285e35b22355a2df87cdb6b70b343713b667eddbda73e1977e0c860835c0"),
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

    /// Whether a file at `place` has another size than the published one, which shows without reading it.
    pub fn is_damaged(&self, place: &Path) -> bool {
        let found = place.metadata().ok().filter(Metadata::is_file).map(|metadata| metadata.len());
        found.is_some_and(|found| found != self.size)
    }

    /// The place of the downloaded file, in the user's cache folder.
    pub fn place(&self) -> Result<PathBuf, Failure> {
        let folder = files::cache().ok_or_else(|| Failure::run("there is no cache folder: set HOME"))?;
        Ok(folder.join(self.file))
    }
}

/// A SHA-256 in hexadecimal digits.
#[derive(Clone, Copy, Debug)]
pub struct Checksum(pub &'static str);

impl Checksum {
    /// Compares the file's checksum; a mismatch contains the actual one.
    pub fn check(&self, path: &Path) -> io::Result<Result<(), Mismatch>> {
        let Self(expected) = self;
        let found = digits(path)?;
        Ok(if found == **expected { Ok(()) } else { Err(Mismatch { expected, found }) })
    }
}

/// The error for a wrong checksum.
#[derive(Debug)]
pub struct Mismatch {
    pub expected: &'static str,
    pub found: String,
}

fn digits(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let mut digest = Sha256::new();
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
            assert!(url.starts_with("https://"), "{name}");
            let Checksum(digits) = published.checksum;
            assert_eq!(digits.len(), 64, "{name}");
            assert!(digits.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)), "{name}");
        }
        // PyTorch's convention: the first digits in the file's name.
        let torchvision = Published::named("torchvision").unwrap();
        let Checksum(digits) = torchvision.checksum;
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
    fn checksums_are_the_standard_one() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(&file, "abc").unwrap();
        // FIPS 180-4's example.
        const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        Checksum(ABC).check(file.path()).unwrap().unwrap();
        assert_eq!(Checksum("00").check(file.path()).unwrap().unwrap_err().found, ABC);
    }
}
