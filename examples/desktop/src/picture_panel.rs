//! The picture with its heat map, its most likely classes, and the strip of all pictures.

use eframe::egui::{
    self, Align, Align2, Color32, FontId, Layout, Rect, Role, ScrollArea, Sense, Slider, Stroke, StrokeKind, Ui,
    WidgetInfo, pos2, vec2,
};

use crate::{
    app::App,
    entry::{Classes, Entry, Pixels},
    heat::{self, Method},
    look,
    worker::TOP,
};

const BAR: f32 = 24.0;
const THUMBNAIL: f32 = 56.0;
const WHOLE: Rect = Rect { min: pos2(0.0, 0.0), max: pos2(1.0, 1.0) };

impl App {
    pub(crate) fn picture_panel(&mut self, ui: &mut Ui) {
        let Some(entry) = self.entries.get_mut(self.selected) else { return };
        let mut again = false;
        let probabilities = self.loaded.as_ref().is_none_or(|loaded| loaded.probabilities);
        // From the bottom up, so that the picture gets what is left.
        let layout = ui.with_layout(Layout::bottom_up(Align::Min), |ui| {
            ui.spacing_mut().item_spacing.y = 4.0;
            let width = ui.available_width();
            let chosen =
                ui.allocate_ui_with_layout(vec2(width, (BAR + 4.0) * TOP as f32), Layout::top_down(Align::Min), |ui| {
                    bars(ui, entry, probabilities, &mut again)
                });
            let class = entry.class().filter(|_| entry.known().is_some());
            ui.add_space(2.0);
            ui.allocate_ui_with_layout(vec2(width, 26.0), Layout::left_to_right(Align::Center), |ui| {
                let toggle = ui.add_enabled(
                    class.is_some(),
                    egui::Button::selectable(self.heat, "Heat map").frame_when_inactive(true),
                );
                if toggle.on_hover_text("Which parts of the picture the class rests on (H)").clicked() {
                    self.heat = !self.heat;
                }
                if !self.heat {
                    return;
                }
                let method = &mut self.settings.method;
                let chooser = egui::ComboBox::from_id_salt("method").selected_text(method.name()).show_ui(ui, |ui| {
                    for choice in Method::ALL {
                        ui.selectable_value(method, choice, choice.name()).on_hover_text(choice.hint());
                    }
                });
                chooser.response.on_hover_text(self.settings.method.hint());
                let method = self.settings.method;
                let progress = entry.heat.as_ref().map_or(0.0, |(heat, _)| heat.progress());
                let current =
                    entry.heat.as_ref().is_some_and(|(heat, _)| Some(heat.class) == class && heat.method == method);
                if current && progress >= 1.0 {
                    ui.spacing_mut().slider_width = (ui.available_width() - 12.0).clamp(24.0, 100.0);
                    let slider = Slider::new(&mut self.settings.opacity, 0.1..=1.0).show_value(false);
                    ui.add(slider).on_hover_text("Opacity");
                } else {
                    if ui.button("Cancel").clicked() {
                        self.heat = false;
                    }
                    let progress = if current { progress } else { 0.0 };
                    ui.add(egui::ProgressBar::new(progress).show_percentage().desired_height(16.0));
                }
            });
            let [w, h] = entry.size;
            name(ui, entry);
            let seen = self.loaded.as_ref().map(|loaded| heat::seen(w, h, &loaded.preprocessing));
            picture(ui, entry, seen, self.heat, self.settings.opacity);
            chosen.inner
        });
        if let Some(class) = layout.inner {
            self.entries[self.selected].explained = Some(class);
        }
        if again {
            self.try_again();
        }
    }

    pub(crate) fn strip(&mut self, ui: &mut Ui) {
        let mut selected = None;
        let mut removed = None;
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
                        (Classes::Known(classes, _), _) => classes.first().map_or("", |class| &class.label),
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
                        if ui.button("Remove").clicked() {
                            removed = Some(index);
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
    }
}

/// What the picture is called and how large it is; where there is no room, the middle of the name is left out.
fn name(ui: &mut Ui, entry: &Entry) {
    let [w, h] = entry.size;
    let whole = format!("{} · {w}×{h}", entry.name);
    let font = egui::TextStyle::Small.resolve(ui.style());
    let width = |text: &str| {
        let galley = ui.fonts_mut(|fonts| fonts.layout_no_wrap(text.into(), font.clone(), Color32::WHITE));
        galley.size().x
    };
    let room = ui.available_width();
    let mut text = whole.clone();
    let mut characters = entry.name.chars().count();
    while width(&text) > room && characters > 8 {
        // Letters differ in width: at most a few steps.
        let fits = (characters as f32 * (room / width(&text))) as usize;
        characters = fits.clamp(8, characters - 1);
        text = format!("{} · {w}×{h}", look::shortened(&entry.name, characters));
    }
    ui.add(egui::Label::new(egui::RichText::new(text).small()).truncate()).on_hover_text(whole);
}

/// The picture as large as it fits: what the network does not see is darker, what the class rests on is coloured.
fn picture(ui: &mut Ui, entry: &mut Entry, seen: Option<Rect>, heat: bool, opacity: f32) {
    let area = ui.available_size().max(vec2(40.0, 40.0));
    let (area, response) = ui.allocate_exact_size(area, Sense::hover());
    let size = vec2(entry.size[0] as f32, entry.size[1] as f32);
    let size = size * (area.width() / size.x).min(area.height() / size.y);
    // At the top, over what belongs to it.
    let rect = Rect::from_center_size(area.center(), size);
    let classes = entry.known().and_then(|classes| classes.first());
    let text = classes.map_or_else(|| entry.name.clone(), |class| format!("{}: {}", entry.name, class.label));
    response.widget_info(|| WidgetInfo::labeled(Role::Image, true, &text));
    let painter = ui.painter().with_clip_rect(rect.intersect(ui.clip_rect()));
    let texture = match &mut entry.pixels {
        Pixels::Here(decoded) => decoded.texture(ui.ctx(), rect.size().max_elem() * ui.pixels_per_point()),
        // Coarse until the pixels come.
        Pixels::Gone | Pixels::Asked | Pixels::Lost(_) => entry.thumbnail.id(),
    };
    painter.image(texture, rect, WHOLE, Color32::WHITE);
    let Some(seen) = seen else { return };
    let at = |point: egui::Pos2| rect.min + point.to_vec2() * rect.size();
    let seen = Rect::from_min_max(at(seen.min), at(seen.max));
    if heat && let Some((_, texture)) = &entry.heat {
        painter.image(texture.id(), seen, WHOLE, Color32::WHITE.gamma_multiply(opacity));
    }
    let shade = Color32::from_black_alpha(110);
    let inside = seen.intersect(rect);
    for outside in [
        Rect::from_min_max(rect.min, pos2(inside.left(), rect.bottom())),
        Rect::from_min_max(pos2(inside.right(), rect.top()), rect.max),
        Rect::from_min_max(pos2(inside.left(), rect.top()), pos2(inside.right(), inside.top())),
        Rect::from_min_max(pos2(inside.left(), inside.bottom()), pos2(inside.right(), rect.bottom())),
    ] {
        if outside.is_positive() {
            painter.rect_filled(outside, 0.0, shade);
        }
    }
}

/// The most likely classes; a click on one, given back, makes it the one to be explained. Outputs that are no
/// `probabilities` are shown as they are.
fn bars(ui: &mut Ui, entry: &Entry, probabilities: bool, again: &mut bool) -> Option<usize> {
    let classes = match (&entry.classes, &entry.pixels) {
        (Classes::Known(classes, _), _) if classes.is_empty() => {
            ui.label("This network gives features and names no classes.")
                .on_hover_text("Its filters and maps show what a network that has seen the world sees.");
            return None;
        }
        (Classes::Known(classes, _), _) => classes,
        (Classes::Failed(reason), _) | (_, Pixels::Lost(reason)) => {
            *again = look::failure(ui, reason);
            return None;
        }
        (Classes::Unknown | Classes::Asked, _) => {
            ui.horizontal(|ui| {
                look::busy(ui, 16.0);
                ui.label("Looking at it");
            });
            return None;
        }
    };
    let mut clicked = None;
    for class in classes {
        let (rect, response) = ui.allocate_exact_size(vec2(ui.available_width(), BAR), Sense::click());
        let chosen = entry.class() == Some(class.index);
        let (number, length) = match probabilities {
            true => (format!("{:.1} %", 100.0 * class.probability), class.probability),
            false => (format!("{:.3}", class.probability), 0.0),
        };
        let described = format!("{}: {number}", class.label);
        response.widget_info(|| WidgetInfo::selected(Role::Button, true, chosen, &described));
        look::bar(ui, rect, length, chosen);
        if response.hovered() {
            ui.painter().rect_stroke(rect, 4.0, ui.visuals().widgets.hovered.bg_stroke, StrokeKind::Inside);
        }
        if response.has_focus() {
            look::focus(ui, rect);
        }
        let colour = ui.visuals().text_color();
        let font = egui::TextStyle::Body.resolve(ui.style());
        let right = rect.right_center() - vec2(8.0, 0.0);
        let number = ui.painter().text(right, Align2::RIGHT_CENTER, number, font.clone(), colour);
        let mut job = egui::text::LayoutJob::simple_singleline(class.label.clone(), font, colour);
        job.wrap = egui::text::TextWrapping::truncate_at_width(number.left() - rect.left() - 16.0);
        let galley = ui.fonts_mut(|fonts| fonts.layout_job(job));
        let at = pos2(rect.left() + 8.0, rect.center().y - galley.size().y / 2.0);
        ui.painter().galley(at, galley, colour);
        if response.clicked() {
            clicked = Some(class.index);
        }
        response.on_hover_text(format!("{}\nThe heat map explains the class that is chosen here.", class.label));
    }
    clicked
}
