//! A picture in the strip: its pixels, its classes, its heat map, each as far as it is there.

use std::{sync::Arc, time::Duration};

use alexnet_wgpu::{Picture, Prediction};
use eframe::egui::{ColorImage, Context, ImageData, TextureHandle, TextureId, TextureOptions};

use crate::{heat::Heat, pictures::Incoming, worker::PictureId};

/// A picture in the strip.
pub(crate) struct Entry {
    pub id: PictureId,
    pub name: String,
    /// Where it is decoded from again.
    pub origin: Incoming,
    pub size: [u32; 2],
    pub pixels: Pixels,
    pub thumbnail: TextureHandle,
    pub classes: Classes,
    /// The class that the heat map is to explain; the most likely where `None`.
    pub explained: Option<usize>,
    /// Its heat map, as far as it is known.
    pub heat: Option<(Heat, TextureHandle)>,
    /// Its features for likeness, of length 1.
    pub features: Option<Vec<f32>>,
}

/// A picture's decoded pixels.
pub(crate) enum Pixels {
    Here(Decoded),
    /// Given up for memory.
    Gone,
    /// The loader was asked for them.
    Asked,
    /// They cannot be had again.
    Lost(String),
}

/// They, as they are needed.
pub(crate) struct Decoded {
    pub picture: Arc<Picture>,
    /// As [`Opened::shown`](crate::pictures::Opened::shown), with textures of what is on the screen.
    pub shown: Vec<(Arc<ColorImage>, Option<TextureHandle>)>,
    /// When it was last needed, in ever higher numbers.
    pub used: u64,
}

impl Decoded {
    pub fn new(picture: Arc<Picture>, shown: Vec<ColorImage>, used: u64) -> Self {
        Self { picture, shown: shown.into_iter().map(|image| (Arc::new(image), None)).collect(), used }
    }

    /// Bytes of its pixels.
    pub fn bytes(&self) -> usize {
        let shown = self.shown.iter().map(|(image, _)| 4 * image.pixels.len()).sum::<usize>();
        self.picture.rgb().len() + shown
    }

    /// The texture for an area of `longest` pixels: the smallest that is no coarser.
    pub fn texture(&mut self, ctx: &Context, longest: f32) -> TextureId {
        let fine = self.shown.iter().rposition(|(image, _)| image.size.iter().any(|&side| side as f32 >= longest));
        let (image, texture) = &mut self.shown[fine.unwrap_or(0)];
        let texture = texture.get_or_insert_with(|| {
            // Single pixels of small pictures stay visible.
            let crisp = image.size.iter().all(|&side| side <= 64);
            let options = if crisp { TextureOptions::NEAREST } else { TextureOptions::LINEAR };
            ctx.load_texture("picture", ImageData::Color(image.clone()), options)
        });
        texture.id()
    }
}

/// What is known of a picture's classes.
pub(crate) enum Classes {
    Unknown,
    Asked,
    Known(Known),
    Failed(String),
}

/// A network's answer for a picture.
pub(crate) struct Known {
    /// The most likely classes; none where the network names none.
    pub classes: Vec<Prediction>,
    /// Whether the classes' numbers are probabilities; else they are scores of any size.
    pub probabilities: bool,
    /// The time from the decoded picture to the classes.
    pub took: Duration,
}

impl Known {
    /// Whether all other classes together are more likely than the first one.
    pub fn is_unsure(&self) -> bool {
        self.probabilities && self.classes.first().is_some_and(|class| class.probability < 0.5)
    }

    /// A class's number as text.
    pub fn number(&self, class: &Prediction) -> String {
        if self.probabilities {
            format!("{:.1} %", 100.0 * class.probability)
        } else {
            format!("{:.3}", class.probability)
        }
    }
}

impl Entry {
    /// The network's answer, once it is known.
    pub fn known(&self) -> Option<&Known> {
        match &self.classes {
            Classes::Known(known) => Some(known),
            _ => None,
        }
    }

    /// The most likely class, once it is known and where there is one.
    pub fn best(&self) -> Option<&Prediction> {
        self.known()?.classes.first()
    }

    /// The class that the heat map is about.
    pub fn class(&self) -> Option<usize> {
        self.explained.or_else(|| Some(self.best()?.index))
    }

    /// Its decoded picture, while it is here.
    pub fn picture(&self) -> Option<&Arc<Picture>> {
        match &self.pixels {
            Pixels::Here(decoded) => Some(&decoded.picture),
            _ => None,
        }
    }
}
