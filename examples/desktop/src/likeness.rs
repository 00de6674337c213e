//! The strip in the order of the pictures' likeness to one of them.

use crate::{
    app::App,
    entry::{Entry, Pixels},
    worker::{PictureId, Request},
};

/// A sort under way, whose features are computed picture by picture.
pub(crate) struct Sorting {
    /// The picture that comes first.
    by: PictureId,
    /// The one that the worker was asked for.
    pub asked: Option<PictureId>,
}

impl App {
    /// Sorts the strip by likeness to that picture once the features of all are known, or stops sorting.
    pub(crate) fn sort_by(&mut self, id: Option<PictureId>) {
        self.sorting = id.map(|by| Sorting { by, asked: None });
    }

    /// How much of a sort is done, 0 to 1, if one is under way.
    pub(crate) fn sorted_share(&self) -> Option<f32> {
        self.sorting.as_ref()?;
        let known = self.entries.iter().filter(|entry| entry.features.is_some()).count();
        Some(known as f32 / self.entries.len().max(1) as f32)
    }

    /// Asks for what a sort lacks, or finishes it.
    pub(crate) fn ask_for_features(&mut self) {
        let Some(Sorting { by, asked }) = self.sorting else { return };
        if asked.is_some() {
            return;
        }
        let lacks = |entry: &&mut Entry| entry.features.is_none() && !matches!(entry.pixels, Pixels::Lost(_));
        let mut lacking = self.entries.iter_mut().filter(lacks).peekable();
        if lacking.peek().is_none() {
            self.sort(by);
            return;
        }
        let mut gone = None;
        for entry in lacking {
            match &entry.pixels {
                Pixels::Here(decoded) => {
                    self.worker.ask(Request::Describe(entry.id, decoded.picture.clone()));
                    self.sorting = Some(Sorting { by, asked: Some(entry.id) });
                    return;
                }
                // One after the other, so that memory stays bounded.
                Pixels::Asked => return,
                Pixels::Gone => gone = gone.or(Some(entry)),
                Pixels::Lost(_) => {}
            }
        }
        if let Some(entry) = gone {
            self.reloader.open_again(entry.id, entry.origin.clone());
            entry.pixels = Pixels::Asked;
        }
    }

    /// Takes a picture's features, or why there are none, which ends the sort.
    pub(crate) fn described(&mut self, id: PictureId, found: Result<Vec<f32>, String>) {
        if let Some(sorting) = &mut self.sorting {
            sorting.asked = sorting.asked.filter(|&asked| asked != id);
        }
        match found {
            Ok(features) => {
                if let Some(entry) = self.entries.iter_mut().find(|entry| entry.id == id) {
                    entry.features = Some(features);
                }
            }
            Err(reason) => {
                self.sorting = None;
                self.say(format!("not sorted by likeness: {reason}"));
            }
        }
    }

    fn sort(&mut self, by: PictureId) {
        self.sorting = None;
        let shown = self.entries.get(self.selected).map(|entry| entry.id);
        let Some(first) = self.entries.iter().find(|entry| entry.id == by).and_then(|entry| entry.features.clone())
        else {
            return;
        };
        // Pictures that cannot be read come last.
        let likeness = |entry: &Entry| match &entry.features {
            Some(features) => first.iter().zip(features).map(|(a, b)| a * b).sum(),
            None => f32::NEG_INFINITY,
        };
        self.entries.sort_by(|a, b| (b.id == by).cmp(&(a.id == by)).then(likeness(b).total_cmp(&likeness(a))));
        let selected = self.entries.iter().position(|entry| Some(entry.id) == shown);
        self.select(selected.unwrap_or_default());
    }
}
