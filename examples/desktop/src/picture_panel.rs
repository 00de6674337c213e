//! The picture with its heat map, over its most likely classes.

use eframe::egui::{self, Align, Color32, Layout, Rect, Role, Sense, Slider, Ui, WidgetInfo, pos2, vec2};

use crate::{
    app::App,
    classes::{self, Wish},
    entry::{Entry, Pixels},
    heat::{self, Heat, Method},
    legend, look,
    zoom::{self, Zoom},
};

const WHOLE: Rect = Rect { min: pos2(0.0, 0.0), max: pos2(1.0, 1.0) };

impl App {
    pub(crate) fn picture_panel(&mut self, ui: &mut Ui) {
        let position = match self.entries.len() {
            0 | 1 => String::new(),
            count => format!(" · {} of {count}", self.selected + 1),
        };
        let Some(entry) = self.entries.get_mut(self.selected) else { return };
        // From the bottom up, so that the picture gets what is left.
        let layout = ui.with_layout(Layout::bottom_up(Align::Min), |ui| {
            ui.spacing_mut().item_spacing.y = 4.0;
            let width = ui.available_width();
            let bars = Layout::top_down(Align::Min);
            let wish =
                ui.allocate_ui_with_layout(vec2(width, classes::BARS), bars, |ui| classes::bars(ui, entry, self.heat));
            if let Some((known, loaded)) = entry.known().zip(self.loaded.as_ref()) {
                classes::doubt(ui, known, loaded);
            }
            let class = entry.class().filter(|_| entry.known().is_some());
            ui.add_space(2.0);
            let method = self.settings.method;
            let shown = entry.heat.as_ref().map(|(heat, _)| heat).filter(|_| self.heat);
            let shown = shown.filter(|heat| Some(heat.class) == class && heat.method == method);
            let progress = shown.map_or(0.0, Heat::progress);
            if let Some(heat) = shown.filter(|_| progress >= 1.0) {
                let ends = if heat.is_signed() {
                    ["Against the class", "For the class"]
                } else {
                    ["No influence", "For the class"]
                };
                legend::scale(ui, ends, heat.is_signed(), heat::colour).on_hover_text(method.hint());
            }
            ui.allocate_ui_with_layout(vec2(width, 26.0), Layout::left_to_right(Align::Center), |ui| {
                let toggle = ui.add_enabled(
                    class.is_some(),
                    egui::Button::selectable(self.heat, "Heat map").frame_when_inactive(true),
                );
                if toggle.on_hover_text("Show which parts of the picture the class depends on (H)").clicked() {
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
                if progress >= 1.0 {
                    if ui.available_width() > 120.0 {
                        ui.label("Opacity");
                    }
                    ui.spacing_mut().slider_width = (ui.available_width() - 12.0).clamp(24.0, 100.0);
                    let slider = ui.add(Slider::new(&mut self.settings.opacity, 0.1..=1.0).show_value(false));
                    let opacity = f64::from(self.settings.opacity);
                    slider.widget_info(|| WidgetInfo::slider(true, opacity, "Opacity of the heat map"));
                    slider.on_hover_text("Opacity of the heat map");
                } else {
                    if ui.button("Cancel").clicked() {
                        self.heat = false;
                    }
                    ui.add(egui::ProgressBar::new(progress).show_percentage().desired_height(16.0));
                }
            });
            let [w, h] = entry.size;
            name(ui, entry, &position);
            let seen = self.loaded.as_ref().map(|loaded| heat::seen(w, h, &loaded.preprocessing));
            picture(ui, entry, &mut self.zoom, seen, self.heat, self.settings.opacity);
            wish.inner
        });
        match layout.inner {
            Some(Wish::Explain(class)) => {
                self.entries[self.selected].explained = Some(class);
                self.heat = true;
            }
            Some(Wish::TryAgain) => self.try_again(),
            None => {}
        }
    }
}

/// The picture's name, size and position in the strip; where there is no room, the middle of the name is left out.
fn name(ui: &mut Ui, entry: &Entry, position: &str) {
    let [w, h] = entry.size;
    let whole = format!("{} · {w}×{h}{position}", entry.name);
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
        text = format!("{} · {w}×{h}{position}", look::shortened(&entry.name, characters));
    }
    ui.add(egui::Label::new(egui::RichText::new(text).small()).truncate()).on_hover_text(whole);
}

/// The picture, as large as it fits or enlarged: what the network does not see is darker, what the class rests on is coloured.
fn picture(ui: &mut Ui, entry: &mut Entry, zoom: &mut Zoom, seen: Option<Rect>, heat: bool, opacity: f32) {
    let area = ui.available_size().max(vec2(40.0, 40.0));
    let (area, response) = ui.allocate_exact_size(area, Sense::click_and_drag());
    let fitted = zoom::fit(area, vec2(entry.size[0] as f32, entry.size[1] as f32));
    zoom.is_of(entry.id);
    if let Some(pointer) = response.hover_pos() {
        let (pinched, scrolled) = ui.input(|input| (input.zoom_delta(), input.smooth_scroll_delta().y));
        let times = pinched * (scrolled / 200.0).exp();
        if times != 1.0 {
            zoom.zoom(area, fitted, pointer, times);
        }
    }
    if response.double_clicked() {
        zoom.reset();
    }
    zoom.pan(area, fitted, response.drag_delta());
    if zoom.is_zoomed() {
        response.clone().on_hover_cursor(egui::CursorIcon::Grab);
    }
    let rect = zoom.place(area, fitted);
    let text = entry.best().map_or_else(|| entry.name.clone(), |class| format!("{}: {}", entry.name, class.label));
    response.widget_info(|| WidgetInfo::labeled(Role::Image, true, &text));
    let painter = ui.painter().with_clip_rect(rect.intersect(area).intersect(ui.clip_rect()));
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
