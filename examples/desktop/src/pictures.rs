//! Pictures on their way into the window: decoded and made small on a thread of their own.

use std::{
    collections::VecDeque,
    fmt, fs,
    panic::{self, AssertUnwindSafe},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc::{self, Receiver, Sender, TrySendError},
    },
    thread,
    time::Duration,
};

use alexnet_wgpu::Picture;
use eframe::egui::ColorImage;
use image::{ImageBuffer, Rgb, RgbImage, imageops};

use crate::worker::{LATER, PictureId, SOON, broken};

/// The longest side that is shown; the network gets the whole picture.
pub(crate) const SHOWN: u32 = 2048;
/// Pictures that wait to be taken in: a folder is not decoded faster than the window shows it.
const WAITING: usize = 4;
/// The longest side in the strip.
const THUMBNAIL: u32 = 96;
/// Endings of pictures' names, for what a folder holds; a file's format is told by its first bytes.
pub const EXTENSIONS: [&str; 13] =
    ["bmp", "gif", "jfif", "jpeg", "jpg", "pbm", "pgm", "png", "pnm", "ppm", "tif", "tiff", "webp"];

/// Pictures that the embedded model names rightly, for a first look.
pub const SAMPLES: [(&str, &[u8]); 6] = [
    ("ankle-boot.png", include_bytes!("../../pictures/ankle-boot.png")),
    ("bag.png", include_bytes!("../../pictures/bag.png")),
    ("dress.png", include_bytes!("../../pictures/dress.png")),
    ("sandal.png", include_bytes!("../../pictures/sandal.png")),
    ("t-shirt.png", include_bytes!("../../pictures/t-shirt.png")),
    ("trouser.png", include_bytes!("../../pictures/trouser.png")),
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
    incoming: Sender<Item>,
    arrivals: Receiver<Arrival>,
    counts: Arc<Counts>,
}

/// How far the loader is.
#[derive(Debug, Default)]
struct Counts {
    /// How many pictures were asked for since there were none to wait for; a folder is one until it was looked into.
    asked: AtomicUsize,
    /// How many of these have come.
    come: AtomicUsize,
}

/// Something to open, and which known picture it is.
type Item = (Option<PictureId>, Incoming);

impl Loader {
    /// Starts the thread; `wake` is called with each picture, and within which time the window should take it in.
    ///
    /// # Errors
    ///
    /// Where no thread can be started.
    pub fn spawn(wake: impl Fn(Duration) + Send + 'static) -> std::io::Result<Self> {
        Self::spawn_with(open, wake)
    }

    fn spawn_with(
        open: impl Fn(Incoming) -> Result<Opened, String> + Copy + Send + 'static,
        wake: impl Fn(Duration) + Send + 'static,
    ) -> std::io::Result<Self> {
        let (incoming, inbox) = mpsc::channel::<Item>();
        let (outbox, arrivals) = mpsc::sync_channel(WAITING);
        let counts = Arc::<Counts>::default();
        let count = counts.clone();
        let at_once = at_once();
        thread::Builder::new().name("pictures".into()).spawn(move || {
            let (mut items, mut under_way) = (VecDeque::<Item>::new(), VecDeque::new());
            loop {
                if items.is_empty() && under_way.is_empty() {
                    // Only when the window is gone.
                    let Ok(item) = inbox.recv() else { return };
                    items.push_back(item);
                }
                items.extend(inbox.try_iter());
                while under_way.len() < at_once
                    && let Some((known, incoming)) = items.pop_front()
                {
                    match folder(&incoming) {
                        Some(files) if !files.is_empty() => {
                            count.asked.fetch_add(files.len() - 1, Ordering::Relaxed);
                            for file in files.into_iter().rev() {
                                items.push_front((known, Incoming::Path(file)));
                            }
                        }
                        _ => under_way.push_back((known, decode(incoming, open))),
                    }
                }
                // In the order in which they were asked for.
                let Some((known, result)) = under_way.pop_front() else { continue };
                let result = result.recv().unwrap_or_else(|_| Err("no thread could be started".into()));
                let arrival = match outbox.try_send(Arrival { known, result }) {
                    Ok(()) => None,
                    Err(TrySendError::Full(arrival)) => Some(arrival),
                    Err(TrySendError::Disconnected(_)) => return,
                };
                if let Some(arrival) = arrival {
                    wake(SOON);
                    if outbox.send(arrival).is_err() {
                        return;
                    }
                }
                let come = 1 + count.come.fetch_add(1, Ordering::Relaxed);
                let last = come == count.asked.load(Ordering::Relaxed);
                wake(if come == 1 || last { SOON } else { LATER });
            }
        })?;
        Ok(Self { incoming, arrivals, counts })
    }

    /// How many pictures have come, and of how many, while some are still to come.
    pub fn progress(&self) -> Option<(usize, usize)> {
        let [come, asked] = [&self.counts.come, &self.counts.asked].map(|count| count.load(Ordering::Relaxed));
        (come < asked).then_some((come, asked))
    }

    /// Counts anew where everything has come. Each frame begins with it, so that all that is asked for in one counts together,
    /// however fast the first of it comes.
    pub fn begin_frame(&self) {
        if self.progress().is_none() {
            self.counts.asked.store(0, Ordering::Relaxed);
            self.counts.come.store(0, Ordering::Relaxed);
        }
    }

    fn ask(&self, known: Option<PictureId>, incoming: Incoming) {
        self.counts.asked.fetch_add(1, Ordering::Relaxed);
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

/// How many pictures are decoded at once: large ones take hundreds of megabytes.
pub(crate) fn at_once() -> usize {
    thread::available_parallelism().map_or(1, |cores| cores.get().min(4))
}

/// Decodes on a thread of its own. A decoder that panics costs one picture: the message says which.
fn decode(
    incoming: Incoming,
    open: impl Fn(Incoming) -> Result<Opened, String> + Send + 'static,
) -> Receiver<Result<Opened, String>> {
    let (send, result) = mpsc::channel();
    // Where no thread starts, the sender is dropped.
    let _ = thread::Builder::new().name("decoder".into()).spawn(move || {
        let name = incoming.to_string();
        let opened = panic::catch_unwind(AssertUnwindSafe(|| open(incoming)));
        let _ = send.send(opened.unwrap_or_else(|payload| Err(format!("{name}: {}", broken(&*payload)))));
    });
    result
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

/// The pictures in a folder; `None` where it is none.
fn folder(incoming: &Incoming) -> Option<Vec<PathBuf>> {
    match incoming {
        Incoming::Path(path) if path.is_dir() => Some(files(path)),
        _ => None,
    }
}

fn open(origin: Incoming) -> Result<Opened, String> {
    if let Incoming::Path(path) = &origin
        && path.is_dir()
    {
        return Err(format!("{}: no pictures in this folder", path.display()));
    }
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
pub(crate) fn files(folder: &Path) -> Vec<PathBuf> {
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
        let (width, height) = (picture.width(), picture.height());
        let whole = ImageBuffer::<Rgb<u8>, &[u8]>::from_raw(width, height, picture.rgb()).expect("three bytes a pixel");
        let sides = |longest: u32| {
            let scale = (f64::from(longest) / f64::from(width.max(height))).min(1.0);
            [width, height].map(|side| ((f64::from(side) * scale) as u32).max(1))
        };
        let colours = |size: [u32; 2], rgb: &[u8]| ColorImage::from_rgb(size.map(|side| side as usize), rgb);
        let mut shown = Vec::new();
        // Each is made of the one before, which has a quarter of the pixels.
        let mut last: Option<RgbImage> = None;
        for longest in [SHOWN, SHOWN / 2, SHOWN / 4, THUMBNAIL] {
            let [w, h] = sides(longest);
            let same = last.as_ref().map_or((width, height), RgbImage::dimensions) == (w, h);
            if !same {
                last = Some(match &last {
                    Some(last) => imageops::thumbnail(last, w, h),
                    None => imageops::thumbnail(&whole, w, h),
                });
            } else if !shown.is_empty() {
                continue;
            }
            shown.push(colours([w, h], last.as_ref().map_or(picture.rgb(), |last| last.as_raw())));
        }
        // The smallest is for the strip; a picture that is as small is shown by the same pixels.
        let thumbnail = if shown.len() > 1 { shown.pop() } else { shown.first().cloned() };
        let thumbnail = thumbnail.unwrap_or_default();
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

    /// What a thread gives for what it is asked for.
    fn arrivals(loader: &Loader, count: usize) -> Vec<Arrival> {
        let timeout = Duration::from_secs(60);
        (0..count).map(|_| loader.arrivals.recv_timeout(timeout).unwrap()).collect()
    }

    #[test]
    fn a_folder_gives_its_pictures_and_their_errors() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("b.png"), "not a picture").unwrap();
        fs::write(folder.path().join("a.png"), SAMPLES[0].1).unwrap();
        fs::write(folder.path().join("notes.txt"), "").unwrap();
        let loader = Loader::spawn(|_| ()).unwrap();
        loader.open(Incoming::Path(folder.path().into()));
        loader.open(Incoming::sample("c.png", SAMPLES[1].1));
        let came = arrivals(&loader, 3);
        assert_eq!(came[0].result.as_ref().unwrap().name, "a.png");
        assert!(came[1].result.as_ref().unwrap_err().starts_with("b.png: "));
        assert_eq!(came[2].result.as_ref().unwrap().name, "c.png");
    }

    #[test]
    fn an_empty_folder_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let loader = Loader::spawn(|_| ()).unwrap();
        loader.open(Incoming::Path(folder.path().into()));
        assert!(arrivals(&loader, 1)[0].result.as_ref().unwrap_err().contains("no pictures"));
    }

    #[test]
    fn a_decoder_that_panics_is_a_message_and_the_next_picture_comes() {
        let evil = |incoming: Incoming| {
            let panics = matches!(&incoming, Incoming::Bytes(name, _) if name == "evil.png");
            assert!(!panics, "index out of bounds");
            open(incoming)
        };
        let loader = Loader::spawn_with(evil, |_| ()).unwrap();
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
        static DECODED: AtomicUsize = AtomicUsize::new(0);
        let folder = tempfile::tempdir().unwrap();
        let count = 3 * (WAITING + at_once());
        for at in 0..count {
            fs::write(folder.path().join(format!("{at:02}.png")), SAMPLES[0].1).unwrap();
        }
        let counted = |incoming| {
            DECODED.fetch_add(1, Ordering::Relaxed);
            open(incoming)
        };
        let loader = Loader::spawn_with(counted, |_| ()).unwrap();
        loader.open(Incoming::Path(folder.path().into()));
        thread::sleep(Duration::from_millis(300));
        let ahead = DECODED.load(Ordering::Relaxed);
        assert!(ahead <= WAITING + at_once() + 1, "{ahead} pictures wait in memory");
        assert_eq!(loader.progress(), Some((WAITING, count)));
        assert_eq!(arrivals(&loader, count).len(), count);
    }
}
