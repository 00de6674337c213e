//! What went wrong, in the window until it is dismissed.

use eframe::egui::{self, Align, Color32, Frame, Layout, Margin, RichText, Ui};

/// Messages that are kept; the oldest give way.
const MOST: usize = 30;

/// Messages, oldest first.
#[derive(Default)]
pub(crate) struct Messages {
    all: Vec<String>,
    /// Those among them that say why a model was not loaded.
    loads: Vec<String>,
    /// The newest one is to be seen.
    scroll: bool,
}

impl Messages {
    /// One more, unless it is there already.
    pub fn say(&mut self, message: String) {
        if !self.all.contains(&message) {
            self.all.push(message);
            self.scroll = true;
        }
        let many = self.all.len().saturating_sub(MOST);
        self.all.drain(..many);
    }

    /// Why a model was not loaded: of interest until another one is asked for.
    pub fn say_of_load(&mut self, message: String) {
        self.loads.push(message.clone());
        self.say(message);
    }

    /// Dismisses what was said of models that were not loaded.
    pub fn dismiss_loads(&mut self) {
        let loads = std::mem::take(&mut self.loads);
        self.all.retain(|message| !loads.contains(message));
    }

    pub fn all(&self) -> &[String] {
        &self.all
    }

    pub fn dismiss_newest(&mut self) {
        self.all.pop();
    }

    /// All of them, with what dismisses them.
    pub fn show(&mut self, ui: &mut Ui) {
        let (mut dismissed, mut all) = (None, false);
        let newest = std::mem::take(&mut self.scroll).then(|| self.all.len().saturating_sub(1));
        let (fill, text) = if ui.visuals().dark_mode {
            (Color32::from_rgb(88, 28, 28), Color32::from_rgb(255, 225, 220))
        } else {
            (Color32::from_rgb(253, 226, 222), Color32::from_rgb(110, 15, 15))
        };
        if self.all.len() > 1 {
            ui.horizontal(|ui| {
                ui.label(format!("{} messages", self.all.len()));
                ui.with_layout(Layout::right_to_left(Align::Center), |ui| all = ui.button("Dismiss all").clicked());
            });
        }
        egui::ScrollArea::vertical().max_height(120.0).min_scrolled_height(120.0).auto_shrink([false, true]).show(
            ui,
            |ui| {
                for (index, message) in self.all.iter().enumerate() {
                    let frame = Frame::new().fill(fill).corner_radius(5).inner_margin(Margin::symmetric(10, 4));
                    let shown = frame.show(ui, |ui| {
                        ui.horizontal(|ui| {
                            let room = egui::vec2((ui.available_width() - 90.0).max(80.0), 0.0);
                            ui.allocate_ui_with_layout(room, Layout::top_down(Align::Min), |ui| {
                                ui.set_width(room.x);
                                ui.add(egui::Label::new(RichText::new(message).color(text)).wrap());
                            });
                            if ui.button("Dismiss").clicked() {
                                dismissed = Some(index);
                            }
                        });
                    });
                    if newest == Some(index) {
                        shown.response.scroll_to_me(None);
                    }
                }
            },
        );
        if let Some(index) = dismissed {
            self.all.remove(index);
        }
        if all {
            self.all.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_do_not_pile_up_without_end() {
        let mut messages = Messages::default();
        for at in 0..200 {
            messages.say(format!("message {at}"));
            messages.say(format!("message {at}"));
        }
        assert_eq!(messages.all().len(), MOST);
        assert_eq!(messages.all().last().map(String::as_str), Some("message 199"));
    }
}
