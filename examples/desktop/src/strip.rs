//! The strip of all pictures.

use eframe::egui::{
    self, Color32, FontId, Rect, Role, ScrollArea, Sense, Stroke, StrokeKind, Ui, WidgetInfo, pos2, vec2,
};

use crate::{
    app::App,
    entry::{Classes, Pixels},
    look,
};

const THUMBNAIL: f32 = 56.0;
const WHOLE: Rect = Rect { min: pos2(0.0, 0.0), max: pos2(1.0, 1.0) };

impl App {
    pub(crate) fn strip(&mut self, ui: &mut Ui) {
        let mut selected = None;
        let (mut removed, mut all) = (None, false);
        let mut compared = None;
        let mut sorted_by = None;
        let scroll_here = std::mem::take(&mut self.scroll_strip);
        let scroll = ScrollArea::horizontal().auto_shrink([false, true]);
        scroll.show(ui, |ui| {
            ui.horizontal(|ui| {
                for (index, entry) in self.entries.iter().enumerate() {
                    let (rect, response) =
                        ui.allocate_exact_size(vec2(THUMBNAIL + 24.0, THUMBNAIL + 18.0), Sense::click());
                    let chosen = index == self.selected;
                    response.widget_info(|| WidgetInfo::selected(Role::Button, true, chosen, &entry.name));
                    let visuals = ui.style().interact_selectable(&response, chosen);
                    if chosen || response.hovered() {
                        ui.painter().rect_filled(rect, 5.0, visuals.weak_bg_fill.gamma_multiply(0.6));
                    }
                    let size = entry.thumbnail.size_vec2();
                    let size = size * (THUMBNAIL / size.max_elem());
                    let middle = pos2(rect.center().x, rect.top() + 2.0 + THUMBNAIL / 2.0);
                    let place = Rect::from_center_size(middle, size);
                    ui.painter().image(entry.thumbnail.id(), place, WHOLE, Color32::WHITE);
                    if chosen {
                        let stroke = Stroke::new(2.0, look::accent(ui.visuals()));
                        ui.painter().rect_stroke(place, 2.0, stroke, StrokeKind::Outside);
                    }
                    let text = match (&entry.classes, &entry.pixels) {
                        (Classes::Known(known), _) if known.is_unsure() => "unsure",
                        (Classes::Known(known), _) => known.classes.first().map_or("", |class| &class.label),
                        (Classes::Failed(_), _) | (_, Pixels::Lost(_)) => "failed",
                        (Classes::Unknown | Classes::Asked, _) => "…",
                    };
                    let font = FontId::proportional(11.0);
                    let mut job =
                        egui::text::LayoutJob::simple_singleline(text.into(), font, ui.visuals().text_color());
                    job.wrap = egui::text::TextWrapping::truncate_at_width(rect.width() - 4.0);
                    let galley = ui.fonts_mut(|fonts| fonts.layout_job(job));
                    let at = pos2(rect.center().x - galley.size().x / 2.0, rect.bottom() - galley.size().y - 1.0);
                    ui.painter().galley(at, galley, ui.visuals().text_color());
                    if response.has_focus() {
                        look::focus(ui, rect);
                    }
                    if response.clicked() || response.gained_focus() {
                        selected = Some(index);
                    }
                    if chosen && scroll_here {
                        response.scroll_to_me(None);
                    }
                    response.on_hover_text(&entry.name).context_menu(|ui| {
                        if !chosen && ui.button("Compare with the picture shown").clicked() {
                            compared = Some(entry.id);
                            ui.close();
                        }
                        if ui.button("Sort by likeness to this one").clicked() {
                            sorted_by = Some(entry.id);
                            ui.close();
                        }
                        if ui.button("Remove picture").clicked() {
                            removed = Some(index);
                            ui.close();
                        }
                        if ui.button("Remove all pictures").clicked() {
                            all = true;
                            ui.close();
                        }
                    });
                }
            });
        });
        if let Some(index) = selected {
            self.select(index);
        }
        if sorted_by.is_some() {
            self.sort_by(sorted_by);
        }
        if let Some(id) = compared {
            self.compare_with(id);
        }
        if let Some(index) = removed {
            self.remove(index);
        }
        if all {
            self.remove_all();
        }
    }
}
