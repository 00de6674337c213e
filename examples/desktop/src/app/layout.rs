//! Where everything stands in the window.

use super::*;

impl App {
    /// A frame: takes in what came, shows everything, and asks for what is missing.
    pub fn ui(&mut self, ui: &mut Ui) {
        if self.lost().is_some() {
            // What is drawn with a lost device ends in a panic of the renderer's.
            return;
        }
        self.receive();
        self.input();

        let margin = Margin::symmetric(10, 6);
        let frame = Frame::new().inner_margin(margin).fill(ui.visuals().panel_fill);
        Panel::top("menus").frame(frame).show(ui, |ui| self.menus(ui));
        if !self.messages.all().is_empty() {
            Panel::top("messages").frame(frame).show_separator_line(false).show(ui, |ui| self.messages.show(ui));
        }
        Panel::bottom("status")
            .frame(Frame { inner_margin: Margin::symmetric(10, 3), ..frame })
            .show(ui, |ui| self.status(ui));
        if self.entries.is_empty() && self.settings.view == View::Train {
            CentralPanel::default().frame(frame).show(ui, |ui| self.views(ui));
        } else if self.entries.is_empty() {
            CentralPanel::default().frame(frame).show(ui, |ui| self.welcome(ui));
        } else {
            Panel::bottom("strip").frame(frame).show(ui, |ui| self.strip(ui));
            // A panel of egui's would keep its width in points whatever becomes of the window.
            let whole = ui.available_rect_before_wrap();
            let width = whole.width();
            let narrowest = 280.0f32.min(width * 0.5);
            let frame = Frame { inner_margin: Margin::same(10), ..frame };
            Panel::left("picture")
                .frame(frame)
                .resizable(false)
                .exact_size((width * self.settings.split).clamp(narrowest, (width * 0.7).max(narrowest)))
                .show(ui, |ui| self.picture_panel(ui));
            let edge = ui.available_rect_before_wrap().left();
            CentralPanel::default().frame(frame).show(ui, |ui| self.views(ui));
            let handle = egui::Rect::from_x_y_ranges(edge - 4.0..=edge + 4.0, whole.y_range());
            self.move_split(ui, whole, handle);
        }
        self.help_window(ui);
        if self.ctx.input(|input| !input.raw.hovered_files.is_empty()) {
            let rect = self.ctx.content_rect();
            let painter = ui.ctx().layer_painter(egui::LayerId::new(egui::Order::Foreground, egui::Id::unique("drop")));
            painter.rect_filled(rect, 0.0, Color32::from_black_alpha(190));
            let font = egui::FontId::proportional(28.0);
            painter.text(rect.center(), egui::Align2::CENTER_CENTER, "Drop to open", font, Color32::WHITE);
        }

        self.ask();
    }

    /// The edge between the picture and what is right of it: it can be dragged, and goes back with a double click.
    pub(super) fn move_split(&mut self, ui: &mut Ui, whole: egui::Rect, handle: egui::Rect) {
        let sense = egui::Sense::CLICK | egui::Sense::DRAG;
        let response =
            ui.interact(handle, ui.scope_id().with("split"), sense).on_hover_cursor(CursorIcon::ResizeHorizontal);
        if response.hovered() || response.dragged() {
            let stroke = ui.style().interact(&response).fg_stroke;
            ui.painter().vline(handle.center().x, whole.y_range(), stroke);
        }
        if response.double_clicked() {
            self.settings.split = SPLIT;
        } else if response.dragged()
            && let Some(pointer) = response.interact_pointer_pos()
        {
            self.settings.split = ((pointer.x - whole.left()) / whole.width()).clamp(0.2, 0.7);
        }
    }

    pub(super) fn status(&self, ui: &mut Ui) {
        ui.horizontal(|ui| {
            if let Some(loading) = &self.loading {
                look::busy(ui, 14.0);
                ui.small(format!("{loading}…"));
                return;
            }
            if let Some((come, of)) = self.loader.progress() {
                look::busy(ui, 14.0);
                ui.small(format!("Opening {} of {of}", (come + 1).min(of)));
            } else if let Some((known, of)) = self.classified() {
                look::busy(ui, 14.0);
                ui.small(format!("Classifying {} of {of}", (known + 1).min(of)));
            }
            if let Some(known) = self.sorted_share() {
                look::busy(ui, 14.0);
                ui.small(format!("Sorting by likeness: {:.0} %", 100.0 * known));
            }
            let Some(loaded) = &self.loaded else { return };
            ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
                if let Some(known) = self.entry().and_then(Entry::known) {
                    ui.small(format!("Classified in {:.0} ms", known.took.as_secs_f64() * 1e3))
                        .on_hover_text("The time from the decoded picture to its classes");
                }
                ui.with_layout(Layout::left_to_right(Align::Center), |ui| {
                    let text = format!(
                        "{} · {:.1} M parameters · {} · {}",
                        loaded.network,
                        loaded.parameters as f64 / 1e6,
                        megabytes(loaded.device_bytes),
                        loaded.adapter_name
                    );
                    ui.add(egui::Label::new(RichText::new(text).small()).truncate()).on_hover_text(format!(
                        "Network: {}\nPreprocessing: {}\nLabels: {}",
                        loaded.origin.network, loaded.origin.preprocessing, loaded.origin.labels
                    ));
                });
            });
        });
    }

    /// How many pictures are classified, and of how many, while there are some to come.
    fn classified(&self) -> Option<(usize, usize)> {
        let waiting = |entry: &&Entry| matches!(entry.classes, Classes::Unknown | Classes::Asked);
        let waiting = self.entries.iter().filter(waiting).count();
        // A single one says so itself.
        (self.loaded.is_some() && waiting > 1).then_some((self.entries.len() - waiting, self.entries.len()))
    }

    pub(super) fn welcome(&mut self, ui: &mut Ui) {
        ui.vertical_centered(|ui| {
            ui.add_space((ui.available_height() / 2.0 - 90.0).max(0.0));
            ui.heading("See what AlexNet sees");
            ui.label("Drop pictures here, paste one, or open some.");
            ui.add_space(8.0);
            ui.allocate_ui_with_layout(egui::vec2(352.0, 30.0), Layout::left_to_right(Align::Center), |ui| {
                if ui.button("Open pictures").clicked() {
                    self.ask_for_pictures();
                }
                if ui.button("Try the samples").clicked() {
                    self.open_samples();
                }
                if ui.button("Train on your own").clicked() {
                    self.settings.view = View::Train;
                }
            });
        });
    }
}
