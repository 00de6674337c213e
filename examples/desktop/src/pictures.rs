//! Pictures on their way into the window: decoded and made small on a thread of their own.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        mpsc::{self, Receiver, Sender},
    },
    thread,
};

use alexnet_wgpu::Picture;
use eframe::egui::ColorImage;
use image::{ImageBuffer, Rgb, imageops};

/// The longest side that is shown; the network gets the whole picture.
const SHOWN: u32 = 1024;
/// The longest side in the strip.
const THUMBNAIL: u32 = 96;
/// Endings of pictures' names, for what a folder holds; a file's format is told by its first bytes.
pub const EXTENSIONS: [&str; 13] =
    ["bmp", "gif", "jfif", "jpeg", "jpg", "pbm", "pgm", "png", "pnm", "ppm", "tif", "tiff", "webp"];

/// Pictures that the embedded model knows, for a first look.
pub const SAMPLES: [(&str, &[u8]); 6] = [
    ("ankle-boot.png", include_bytes!("../../pictures/ankle-boot.png")),
    ("bag.png", include_bytes!("../../pictures/bag.png")),
    ("coat.png", include_bytes!("../../pictures/coat.png")),
    ("dress.png", include_bytes!("../../pictures/dress.png")),
    ("sandal.png", include_bytes!("../../pictures/sandal.png")),
    ("t-shirt.png", include_bytes!("../../pictures/t-shirt.png")),
];

/// Where a picture comes from.
#[derive(Debug)]
pub enum Incoming {
    /// A file, or a folder of them.
    Path(PathBuf),
    /// A file's contents and name.
    Bytes(String, Arc<[u8]>),
    /// Pixels of the clipboard.
    Pixels(Arc<ColorImage>),
}

/// A picture ready to be shown and classified.
#[derive(Debug)]
pub struct Opened {
    /// What it is called.
    pub name: String,
    /// All of it.
    pub picture: Arc<Picture>,
    /// To be shown.
    pub shown: ColorImage,
    /// For the strip.
    pub thumbnail: ColorImage,
}

/// The window's end of the channels.
#[derive(Debug)]
pub struct Loader {
    incoming: Sender<Incoming>,
    opened: Receiver<Result<Opened, String>>,
}

impl Loader {
    /// Starts the thread; `wake` is called with each picture.
    ///
    /// # Errors
    ///
    /// Where no thread can be started.
    pub fn spawn(wake: impl Fn() + Send + 'static) -> std::io::Result<Self> {
        let (incoming, inbox) = mpsc::channel();
        let (outbox, opened) = mpsc::channel();
        thread::Builder::new().name("pictures".into()).spawn(move || {
            for incoming in inbox {
                for result in open(incoming) {
                    if outbox.send(result).is_err() {
                        return;
                    }
                    wake();
                }
            }
        })?;
        Ok(Self { incoming, opened })
    }

    /// Opens a picture; it comes through [`Loader::opened`].
    pub fn open(&self, incoming: Incoming) {
        // The thread ends with the window only.
        let _ = self.incoming.send(incoming);
    }

    /// The next picture, or why there is none.
    pub fn opened(&self) -> Option<Result<Opened, String>> {
        self.opened.try_recv().ok()
    }
}

fn open(incoming: Incoming) -> Box<dyn Iterator<Item = Result<Opened, String>>> {
    let one = |name: String, picture: Result<Picture, alexnet_wgpu::PictureError>| {
        let result = match picture {
            Ok(picture) => Ok(Opened::new(name, picture)),
            Err(e) => Err(format!("{name}: {e}")),
        };
        Box::new(std::iter::once(result))
    };
    match incoming {
        Incoming::Path(path) if path.is_dir() => {
            let files = files(&path);
            if files.is_empty() {
                return Box::new(std::iter::once(Err(format!("{}: no pictures in this folder", path.display()))));
            }
            Box::new(files.into_iter().flat_map(|file| open(Incoming::Path(file))))
        }
        Incoming::Path(path) => {
            let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
            one(name, Picture::open(&path))
        }
        Incoming::Bytes(name, bytes) => one(name, Picture::decode(&bytes)),
        Incoming::Pixels(image) => {
            let [width, height] = image.size.map(|side| side as u32);
            let rgba = image.pixels.iter().flat_map(|pixel| pixel.to_srgba_unmultiplied()).collect();
            one("pasted".into(), Picture::from_rgba8(width, height, rgba))
        }
    }
}

/// The pictures in a folder, by name.
fn files(folder: &Path) -> Vec<PathBuf> {
    let is_picture = |path: &PathBuf| {
        let extension = path.extension().unwrap_or_default().to_ascii_lowercase();
        EXTENSIONS.iter().any(|known| extension == *known) && path.is_file()
    };
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(is_picture).collect();
    files.sort();
    files
}

impl Opened {
    fn new(name: String, picture: Picture) -> Self {
        let whole = ImageBuffer::<Rgb<u8>, &[u8]>::from_raw(picture.width(), picture.height(), picture.rgb())
            .expect("three bytes a pixel");
        let small = |longest: u32| {
            let (width, height) = whole.dimensions();
            if width.max(height) <= longest {
                return ColorImage::from_rgb([width as usize, height as usize], whole.as_raw());
            }
            let scale = f64::from(longest) / f64::from(width.max(height));
            let [width, height] = [width, height].map(|side| ((f64::from(side) * scale) as u32).max(1));
            let small = imageops::thumbnail(&whole, width, height);
            ColorImage::from_rgb([width as usize, height as usize], small.as_raw())
        };
        let (shown, thumbnail) = (small(SHOWN), small(THUMBNAIL));
        Self { name, picture: Arc::new(picture), shown, thumbnail }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn large_pictures_are_shown_small_and_kept_whole() {
        let picture = Picture::from_rgb8(4000, 10, vec![200; 4000 * 10 * 3]).unwrap();
        let opened = Opened::new("wide".into(), picture);
        assert_eq!(opened.picture.width(), 4000);
        assert_eq!(opened.shown.size, [1024, 2]);
        assert_eq!(opened.thumbnail.size, [96, 1]);
    }

    #[test]
    fn a_folder_gives_its_pictures_and_their_errors() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("b.png"), "not a picture").unwrap();
        fs::write(folder.path().join("a.png"), SAMPLES[0].1).unwrap();
        fs::write(folder.path().join("notes.txt"), "").unwrap();
        let results: Vec<_> = open(Incoming::Path(folder.path().into())).collect();
        assert_eq!(results.len(), 2);
        assert_eq!(results[0].as_ref().unwrap().name, "a.png");
        assert!(results[1].as_ref().unwrap_err().starts_with("b.png: "));
    }

    #[test]
    fn an_empty_folder_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let results: Vec<_> = open(Incoming::Path(folder.path().into())).collect();
        assert!(results[0].as_ref().unwrap_err().contains("no pictures"));
    }
}
