//! Pictures removed from the strip, and brought back.

use crate::{
    app::App,
    entry::{Classes, Entry, Pixels},
};

/// Removals that can be undone; older ones are forgotten.
const MOST: usize = 50;

/// Pictures removed at once, each with its place, in the order of the strip.
pub(crate) type Removal = Vec<(usize, Entry)>;

impl App {
    /// Removes a picture, if it is there.
    pub(crate) fn remove(&mut self, index: usize) {
        if index < self.entries.len() {
            let entry = self.entries.remove(index);
            self.keep(vec![(index, entry)]);
            self.select(self.selected - usize::from(self.selected > index));
        }
    }

    /// Removes all pictures.
    pub(crate) fn remove_all(&mut self) {
        if !self.entries.is_empty() {
            let all = self.entries.drain(..).enumerate().collect();
            self.keep(all);
            self.select(0);
        }
    }

    fn keep(&mut self, mut removal: Removal) {
        for (_, entry) in &mut removal {
            // They are decoded again when needed.
            if !matches!(entry.pixels, Pixels::Lost(_)) {
                entry.pixels = Pixels::Gone;
            }
            if matches!(entry.classes, Classes::Asked) {
                entry.classes = Classes::Unknown;
            }
        }
        self.removed.push(removal);
        let many = self.removed.len().saturating_sub(MOST);
        self.removed.drain(..many);
    }

    /// Brings back what was removed last.
    pub(crate) fn undo(&mut self) {
        let Some(removal) = self.removed.pop() else { return };
        let first = removal.first().map(|&(index, _)| index);
        for (index, entry) in removal {
            self.entries.insert(index.min(self.entries.len()), entry);
        }
        self.select(first.unwrap_or_default());
    }
}
