//! Results as files: the heat map, a layer, and the classes of all pictures.

use std::{
    io::{Cursor, Write},
    path::{Path, PathBuf},
    sync::{Arc, mpsc},
    time::Duration,
};

use alexnet_wgpu::{wgpu, write_atomically};
use eframe::egui::{ColorImage, Rect};
use image::{ImageFormat, RgbaImage, imageops};

use crate::{
    app::{App, Chosen},
    entry::{Entry, Pixels},
    heat,
    pictures::Incoming,
    worker::Drawn,
};

/// Smaller pictures are enlarged under their heat map.
const SMALLEST: usize = 448;

/// What can be saved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Export {
    /// The picture with its heat map.
    HeatMap,
    /// The layer that is shown: its maps, one of them alone, or its numbers.
    Layer,
    /// The classes of all pictures.
    Classes,
}

/// Makes a file's contents, which takes a while.
type Contents = Box<dyn FnOnce() -> Result<Vec<u8>, String> + Send>;

impl App {
    /// Whether there is such a thing to save.
    pub(crate) fn can_save(&self, what: Export) -> bool {
        match what {
            Export::HeatMap => self.heat && self.heat_progress() == Some(1.0),
            Export::Layer => self.maps.is_some() && self.maps_are_new(),
            Export::Classes => self.entries.iter().any(|entry| entry.best().is_some()),
        }
    }

    /// The usual name of such a file and what makes its contents, if there is something to save.
    pub(crate) fn contents(&self, what: Export) -> Option<(String, Contents)> {
        if !self.can_save(what) {
            return None;
        }
        match what {
            Export::HeatMap => self.heat_map(),
            Export::Layer => self.shown_layer(),
            Export::Classes => {
                let rows = self.entries.iter().flat_map(rows).collect::<Vec<_>>();
                let header = ["image", "rank", "index", "label", "probability"].map(String::from);
                Some(("classes.csv".into(), Box::new(|| csv(header, rows))))
            }
        }
    }

    fn heat_map(&self) -> Option<(String, Contents)> {
        let (entry, loaded) = (self.entry()?, self.loaded.as_ref()?);
        let (heat, _) = entry.heat.as_ref()?;
        let Pixels::Here(decoded) = &entry.pixels else { return None };
        let picture = decoded.shown.first()?.0.clone();
        let seen = heat::seen(entry.size[0], entry.size[1], &loaded.preprocessing);
        let (map, opacity) = (heat.image(), self.settings.opacity);
        let label = loaded.labels.get(heat.class).map_or("class", String::as_str);
        let contents = move || png(&covered(&picture, &map, seen, opacity));
        Some((format!("{}.png", name(entry, label)), Box::new(contents)))
    }

    fn shown_layer(&self) -> Option<(String, Contents)> {
        let entry = self.entry()?;
        let (_, maps, _) = self.maps.as_ref()?;
        match &maps.drawn {
            Drawn::Numbers(values) => {
                let labels = self.labels_of(values).unwrap_or_default();
                let label = |index| labels.get(index).cloned().unwrap_or_default();
                let rows = values.iter().enumerate();
                let rows = rows.map(|(index, value)| [index.to_string(), label(index), value.to_string()]).collect();
                let header = ["index", "label", "value"].map(String::from);
                Some((format!("{}.csv", name(entry, &maps.layer)), Box::new(|| csv(header, rows))))
            }
            Drawn::Maps(view, tiles) => {
                let tile = self.chosen_map.map(|tile| tiles.corner(tile));
                let [width, height] = [tiles.width, tiles.height];
                let of = self.chosen_map.map_or(maps.layer.clone(), |tile| format!("{} {tile}", maps.layer));
                let (view, device, queue) = (view.clone(), self.screen.device.clone(), self.screen.queue.clone());
                let contents = move || {
                    let whole = read(&device, &queue, view.texture())?;
                    png(&match tile {
                        Some([left, top]) => {
                            let [left, top, width, height] = [left, top, width, height].map(|length| length as u32);
                            imageops::crop_imm(&whole, left, top, width, height).to_image()
                        }
                        None => whole,
                    })
                };
                Some((format!("{}.png", name(entry, &of)), Box::new(contents)))
            }
        }
    }

    /// Asks where to save it, and does.
    pub(crate) fn save(&self, what: Export) {
        let Some((name, contents)) = self.contents(what) else { return };
        let ending = Path::new(&name).extension().unwrap_or_default().to_string_lossy().into_owned();
        let dialog = rfd::AsyncFileDialog::new().set_title("Save").set_file_name(&name);
        let file = dialog.add_filter(ending.to_uppercase(), &[&ending]).save_file();
        self.wait_for_dialog(move || {
            let file = pollster::block_on(file);
            Vec::from_iter(file.map(|file| Chosen::Written(write(file.path(), contents))))
        });
    }
}

/// Writes a file that is complete or not there.
pub(crate) fn write(path: &Path, contents: Contents) -> Result<(), String> {
    let bytes = contents()?;
    let written = write_atomically(path, |file| file.write_all(&bytes));
    written.map_err(|e| format!("{}: not saved: {e}", path.display()))
}

/// A name for a file about a part of a picture's results, of characters that every system takes.
fn name(entry: &Entry, part: &str) -> String {
    let stem = PathBuf::from(&entry.name).file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let plain = |c: char| if c.is_alphanumeric() || "._-".contains(c) { c } else { '-' };
    format!("{stem}-{part}").chars().map(plain).collect()
}

/// A picture's classes, with the columns that the `alexnet` command writes.
fn rows(entry: &Entry) -> Vec<[String; 5]> {
    let image = match &entry.origin {
        Incoming::Path(path) => path.display().to_string(),
        _ => entry.name.clone(),
    };
    let classes = entry.known().map(|known| known.classes.iter()).into_iter().flatten();
    let rows = (1..).zip(classes).map(|(rank, class)| {
        let [rank, index, probability] = [rank.to_string(), class.index.to_string(), class.probability.to_string()];
        [image.clone(), rank, index, class.label.clone(), probability]
    });
    rows.collect()
}

fn csv<const N: usize>(header: [String; N], rows: Vec<[String; N]>) -> Result<Vec<u8>, String> {
    let mut csv = csv::Writer::from_writer(Vec::new());
    for row in std::iter::once(header).chain(rows) {
        csv.write_record(row).map_err(|e| e.to_string())?;
    }
    csv.into_inner().map_err(|e| e.to_string())
}

fn png(image: &RgbaImage) -> Result<Vec<u8>, String> {
    let mut bytes = Cursor::new(Vec::new());
    image.write_to(&mut bytes, ImageFormat::Png).map_err(|e| e.to_string())?;
    Ok(bytes.into_inner())
}

fn rgba(image: &ColorImage) -> RgbaImage {
    let [width, height] = image.size.map(|side| side as u32);
    let pixels = image.pixels.iter().flat_map(|pixel| pixel.to_srgba_unmultiplied()).collect();
    RgbaImage::from_raw(width, height, pixels).expect("four bytes a pixel")
}

/// The picture with the map over the part that the network has seen.
fn covered(picture: &Arc<ColorImage>, map: &ColorImage, seen: Rect, opacity: f32) -> RgbaImage {
    let mut below = rgba(picture);
    let factor = (SMALLEST / picture.size[0].max(picture.size[1]).max(1)).max(1) as u32;
    if factor > 1 {
        let [width, height] = [below.width(), below.height()].map(|side| side * factor);
        below = imageops::resize(&below, width, height, imageops::FilterType::Nearest);
    }
    let (width, height) = (below.width() as f32, below.height() as f32);
    let [across, down] = [seen.width() * width, seen.height() * height].map(|side| (side.round() as u32).max(1));
    let mut map = imageops::resize(&rgba(map), across, down, imageops::FilterType::Triangle);
    for pixel in map.pixels_mut() {
        pixel.0[3] = (f32::from(pixel.0[3]) * opacity) as u8;
    }
    let [left, top] = [seen.left() * width, seen.top() * height].map(|side| side.round() as i64);
    imageops::overlay(&mut below, &map, left, top);
    below
}

/// A texture's pixels.
pub(crate) fn read(device: &wgpu::Device, queue: &wgpu::Queue, texture: &wgpu::Texture) -> Result<RgbaImage, String> {
    let (width, height) = (texture.width(), texture.height());
    let stride = (4 * width).next_multiple_of(wgpu::COPY_BYTES_PER_ROW_ALIGNMENT);
    let buffer = device.create_buffer(&wgpu::BufferDescriptor {
        label: Some("saved maps"),
        size: u64::from(stride) * u64::from(height),
        usage: wgpu::BufferUsages::COPY_DST | wgpu::BufferUsages::MAP_READ,
        mapped_at_creation: false,
    });
    let mut encoder = device.create_command_encoder(&Default::default());
    let layout = wgpu::TexelCopyBufferLayout { offset: 0, bytes_per_row: Some(stride), rows_per_image: None };
    let to = wgpu::TexelCopyBufferInfo { buffer: &buffer, layout };
    encoder.copy_texture_to_buffer(texture.as_image_copy(), to, texture.size());
    queue.submit([encoder.finish()]);
    let (send, mapped) = mpsc::channel();
    buffer.map_async(wgpu::MapMode::Read, .., move |result| {
        let _ = send.send(result);
    });
    // By polling: while a thread waits inside wgpu, no other thread can present a frame.
    loop {
        device.poll(wgpu::PollType::Poll).map_err(|e| e.to_string())?;
        match mapped.recv_timeout(Duration::from_millis(1)) {
            Ok(result) => break result.map_err(|e| e.to_string())?,
            Err(mpsc::RecvTimeoutError::Timeout) => {}
            Err(mpsc::RecvTimeoutError::Disconnected) => return Err("the device was lost".into()),
        }
    }
    let bytes = buffer.get_mapped_range(..).map_err(|e| e.to_string())?;
    let pixels = bytes.chunks(stride as usize).flat_map(|row| &row[..4 * width as usize]).copied().collect();
    RgbaImage::from_raw(width, height, pixels).ok_or_else(|| "the texture has no four bytes a pixel".into())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use eframe::egui::{Color32, pos2};

    use super::*;

    #[test]
    fn the_map_covers_what_the_network_has_seen() {
        let picture = Arc::new(ColorImage::filled([40, 20], Color32::BLACK));
        let map = ColorImage::filled([4, 4], Color32::RED);
        let seen = Rect::from_min_max(pos2(0.25, 0.0), pos2(0.75, 1.0));
        let image = covered(&picture, &map, seen, 0.5);
        assert_eq!((image.width(), image.height()), (440, 220));
        let red = |x, y| image.get_pixel(x, y).0[0];
        assert_eq!((red(100, 110), red(340, 110)), (0, 0));
        assert!((120..=130).contains(&red(120, 5)) && (120..=130).contains(&red(320, 215)));
    }
}
