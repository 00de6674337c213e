//! Pictures on their way into the window: decoded and made small on a thread of their own.

use std::{
    fmt, fs,
    panic::{self, AssertUnwindSafe},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc::{self, Receiver, Sender},
    },
    thread,
};

use alexnet_wgpu::Picture;
use eframe::egui::ColorImage;
use image::{ImageBuffer, Rgb, imageops};

use crate::worker::{PictureId, broken};

/// The longest side that is shown; the network gets the whole picture.
pub(crate) const SHOWN: u32 = 2048;
/// Pictures that wait to be taken in: a folder is not decoded faster than the window shows it.
const WAITING: usize = 4;
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
#[derive(Clone, Debug)]
pub enum Incoming {
    /// A file, or a folder of them.
    Path(PathBuf),
    /// A file's contents and name.
    Bytes(String, Arc<[u8]>),
    /// Pixels of the clipboard.
    Pixels(Arc<ColorImage>),
}

impl Incoming {
    /// One of [`SAMPLES`].
    pub fn sample(name: &str, bytes: &[u8]) -> Self {
        Self::Bytes(name.into(), bytes.into())
    }
}

/// A picture ready to be shown and classified.
#[derive(Debug)]
pub struct Opened {
    /// What it is called.
    pub name: String,
    /// Where it came from, and can be had again from: one picture, no folder.
    pub origin: Incoming,
    /// All of it.
    pub picture: Arc<Picture>,
    /// To be shown, the largest first, each half as large as the one before: textures have no mipmaps here.
    pub shown: Vec<ColorImage>,
    /// For the strip.
    pub thumbnail: ColorImage,
}

/// What comes of opening something: a picture, or why there is none.
#[derive(Debug)]
pub struct Arrival {
    /// Which known picture it is; `None` where it is a new one.
    pub known: Option<PictureId>,
    /// The picture.
    pub result: Result<Opened, String>,
}

/// The window's end of the channels.
#[derive(Debug)]
pub struct Loader {
    incoming: Sender<(Option<PictureId>, Incoming)>,
    arrivals: Receiver<Arrival>,
    /// How many of those asked for have not come, folders counted once.
    unfinished: Arc<AtomicUsize>,
}

impl Loader {
    /// Starts the thread; `wake` is called with each picture.
    ///
    /// # Errors
    ///
    /// Where no thread can be started.
    pub fn spawn(wake: impl Fn() + Send + 'static) -> std::io::Result<Self> {
        Self::spawn_with(open, wake)
    }

    fn spawn_with(
        open: impl Fn(Incoming) -> Box<dyn Iterator<Item = Result<Opened, String>>> + Send + 'static,
        wake: impl Fn() + Send + 'static,
    ) -> std::io::Result<Self> {
        let (incoming, inbox) = mpsc::channel::<(Option<PictureId>, Incoming)>();
        let (outbox, arrivals) = mpsc::sync_channel(WAITING);
        let unfinished = Arc::<AtomicUsize>::default();
        let count = unfinished.clone();
        thread::Builder::new().name("pictures".into()).spawn(move || {
            for (known, incoming) in inbox {
                let name = incoming.to_string();
                // A decoder that panics costs one picture: the message says which, and the next one is opened.
                let caught = |payload: Box<dyn std::any::Any + Send>| Err(format!("{name}: {}", broken(&*payload)));
                let mut results = match panic::catch_unwind(AssertUnwindSafe(|| open(incoming))) {
                    Ok(results) => results,
                    Err(payload) => Box::new(std::iter::once(caught(payload))),
                };
                loop {
                    let next = panic::catch_unwind(AssertUnwindSafe(|| results.next()));
                    let (result, last) = match next {
                        Ok(None) => break,
                        Ok(Some(result)) => (result, false),
                        Err(payload) => (caught(payload), true),
                    };
                    if outbox.send(Arrival { known, result }).is_err() {
                        return;
                    }
                    wake();
                    if last {
                        break;
                    }
                }
                count.fetch_sub(1, Ordering::Relaxed);
                wake();
            }
        })?;
        Ok(Self { incoming, arrivals, unfinished })
    }

    /// Whether pictures are still to come.
    pub fn is_busy(&self) -> bool {
        self.unfinished.load(Ordering::Relaxed) > 0
    }

    fn ask(&self, known: Option<PictureId>, incoming: Incoming) {
        self.unfinished.fetch_add(1, Ordering::Relaxed);
        // The thread ends with the window only.
        let _ = self.incoming.send((known, incoming));
    }

    /// Opens a picture; it comes through [`Loader::arrival`].
    pub fn open(&self, incoming: Incoming) {
        self.ask(None, incoming);
    }

    /// Opens a picture that is known already; it comes through [`Loader::arrival`].
    pub fn open_again(&self, id: PictureId, origin: Incoming) {
        self.ask(Some(id), origin);
    }

    /// The next picture, or why there is none, if something came.
    pub fn arrival(&self) -> Option<Arrival> {
        self.arrivals.try_recv().ok()
    }
}

impl fmt::Display for Incoming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => f.write_str(&path.file_name().unwrap_or(path.as_os_str()).to_string_lossy()),
            Self::Bytes(name, _) => f.write_str(name),
            Self::Pixels(_) => f.write_str("pasted"),
        }
    }
}

fn open(incoming: Incoming) -> Box<dyn Iterator<Item = Result<Opened, String>>> {
    if let Incoming::Path(path) = &incoming
        && path.is_dir()
    {
        let files = files(path);
        if files.is_empty() {
            return Box::new(std::iter::once(Err(format!("{}: no pictures in this folder", path.display()))));
        }
        return Box::new(files.into_iter().map(|file| open_one(Incoming::Path(file))));
    }
    Box::new(std::iter::once_with(|| open_one(incoming)))
}

fn open_one(origin: Incoming) -> Result<Opened, String> {
    // Of a pipe or a device nobody knows whether anything ever comes.
    if let Incoming::Path(path) = &origin
        && path.metadata().is_ok_and(|found| !found.is_file())
    {
        return Err(format!("{origin}: expected a picture's file or a folder, found neither: save it to a file first"));
    }
    let picture = match &origin {
        Incoming::Path(path) => Picture::open(path),
        Incoming::Bytes(_, bytes) => Picture::decode(bytes),
        Incoming::Pixels(image) => {
            let [width, height] = image.size.map(|side| side as u32);
            let rgba = image.pixels.iter().flat_map(|pixel| pixel.to_srgba_unmultiplied()).collect();
            Picture::from_rgba8(width, height, rgba)
        }
    };
    let picture = picture.map_err(|e| format!("{origin}: {e}"))?;
    Ok(Opened::new(origin, picture))
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
    fn new(origin: Incoming, picture: Picture) -> Self {
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
        let longest = whole.width().max(whole.height());
        let mut shown = vec![small(SHOWN)];
        shown.extend([SHOWN / 2, SHOWN / 4].into_iter().filter(|&side| side < longest).map(small));
        let thumbnail = small(THUMBNAIL);
        Self { name: origin.to_string(), origin, picture: Arc::new(picture), shown, thumbnail }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn large_pictures_are_shown_small_and_kept_whole() {
        let picture = Picture::from_rgb8(4000, 10, vec![200; 4000 * 10 * 3]).unwrap();
        let opened = Opened::new(Incoming::Path("folder/wide.png".into()), picture);
        assert_eq!(opened.name, "wide.png");
        assert_eq!(opened.picture.width(), 4000);
        assert_eq!(opened.shown.iter().map(|image| image.size).collect::<Vec<_>>(), [[2048, 5], [1024, 2], [512, 1]]);
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

    /// What a thread gives for what it is asked for.
    fn arrivals(loader: &Loader, count: usize) -> Vec<Arrival> {
        let timeout = std::time::Duration::from_secs(60);
        (0..count).map(|_| loader.arrivals.recv_timeout(timeout).unwrap()).collect()
    }

    #[test]
    fn a_decoder_that_panics_is_a_message_and_the_next_picture_comes() {
        let decode = |incoming: Incoming| {
            let panics = matches!(&incoming, Incoming::Bytes(name, _) if name == "evil.png");
            assert!(!panics, "index out of bounds");
            open(incoming)
        };
        let loader = Loader::spawn_with(decode, || ()).unwrap();
        loader.open_again(7, Incoming::Bytes("evil.png".into(), [].into()));
        loader.open(Incoming::Bytes("good.png".into(), SAMPLES[0].1.into()));
        let came = arrivals(&loader, 2);
        let message = came[0].result.as_ref().unwrap_err();
        assert!(message.starts_with("evil.png: ") && message.contains("index out of bounds"), "{message}");
        assert_eq!(came[0].known, Some(7));
        assert_eq!(came[1].result.as_ref().unwrap().name, "good.png");
    }

    #[test]
    fn a_folder_is_not_decoded_faster_than_it_is_taken_in() {
        let folder = tempfile::tempdir().unwrap();
        for at in 0..3 * WAITING {
            fs::write(folder.path().join(format!("{at:02}.png")), SAMPLES[0].1).unwrap();
        }
        let decoded = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let count = decoded.clone();
        let decode = move |incoming| -> Box<dyn Iterator<Item = _>> {
            let count = count.clone();
            Box::new(open(incoming).inspect(move |_| {
                count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            }))
        };
        let loader = Loader::spawn_with(decode, || ()).unwrap();
        loader.open(Incoming::Path(folder.path().into()));
        thread::sleep(std::time::Duration::from_millis(300));
        let ahead = decoded.load(std::sync::atomic::Ordering::Relaxed);
        assert!(ahead <= WAITING + 1, "{ahead} pictures wait in memory");
        assert_eq!(arrivals(&loader, 3 * WAITING).len(), 3 * WAITING);
    }
}
