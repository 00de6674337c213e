//! What the app remembers from one start to the next.

use serde::{Deserialize, Serialize};

use crate::{heat::Method, maps::Contrast, weights::Source, worker::Adapter};

/// What the middle of the window shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum View {
    /// A layer's activation.
    #[default]
    Layers,
    /// The first layer's filters.
    Filters,
    /// Time a layer.
    Timing,
    /// The picture and another one.
    Compare,
    /// Learning the classes of a folder.
    Train,
}

impl View {
    /// All of them, in order.
    pub const ALL: [Self; 5] = [Self::Layers, Self::Filters, Self::Timing, Self::Compare, Self::Train];

    /// What its tab is called.
    pub fn title(self) -> &'static str {
        match self {
            Self::Layers => "Layers",
            Self::Filters => "Filters",
            Self::Timing => "Timing",
            Self::Compare => "Compare",
            Self::Train => "Train",
        }
    }
}

/// What the app remembers; light or dark is remembered by egui.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Settings {
    /// The weights.
    pub source: Source,
    /// Where they run.
    pub adapter: Adapter,
    /// What is shown.
    pub view: View,
    /// Of which layer.
    pub layer: String,
    /// In which contrast.
    pub contrast: Contrast,
    /// How the heat map is made.
    pub method: Method,
    /// How opaque it is, 0 to 1.
    pub opacity: f32,
    /// How much of the window's width the picture takes, 0 to 1: more pixels, larger pictures.
    pub split: f32,
}

impl Settings {
    /// These, or what is usual for numbers that were never set here: the file is anybody's to write.
    pub fn checked(self) -> Self {
        let standard = Self::default();
        let share = |found: f32, usual| if (0.0..=1.0).contains(&found) { found } else { usual };
        Self { opacity: share(self.opacity, standard.opacity), split: share(self.split, standard.split), ..self }
    }
}

/// A little less for the picture than for the maps.
pub(crate) const SPLIT: f32 = 0.38;

impl Default for Settings {
    fn default() -> Self {
        Self {
            source: Source::default(),
            adapter: Adapter::default(),
            view: View::default(),
            layer: String::new(),
            contrast: Contrast::default(),
            method: Method::default(),
            opacity: 0.75,
            split: SPLIT,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_are_none_are_not_kept() {
        let kept = Settings { opacity: 0.2, split: 0.6, ..Default::default() };
        assert_eq!(kept.clone().checked(), kept);
        for wrong in [f32::NAN, f32::INFINITY, -0.1, 7.0] {
            let found = Settings { opacity: wrong, split: wrong, layer: "conv3".into(), ..Default::default() };
            assert_eq!(found.checked(), Settings { layer: "conv3".into(), ..Default::default() });
        }
    }
}
