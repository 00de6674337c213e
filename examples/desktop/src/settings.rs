//! What the app remembers from one start to the next.

use serde::{Deserialize, Serialize};

use crate::{maps::Contrast, weights::Source, worker::Adapter};

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
}

impl View {
    /// All of them, in order.
    pub const ALL: [Self; 3] = [Self::Layers, Self::Filters, Self::Timing];

    /// What its tab is called.
    pub fn title(self) -> &'static str {
        match self {
            Self::Layers => "Layers",
            Self::Filters => "Filters",
            Self::Timing => "Timing",
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
    /// How opaque the heat map is, 0 to 1.
    pub opacity: f32,
    /// How much of the window's width the picture takes, 0 to 1: more pixels, larger pictures.
    pub split: f32,
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
            opacity: 0.75,
            split: SPLIT,
        }
    }
}
