//! The comparison of the picture that is shown with another one: both under a divider, the map of distances, and numbers.

use alexnet_snapshots::heat_map;
use alexnet_wgpu::{Comparison, Lpips};
use eframe::egui::{
    self, Color32, CursorIcon, FontId, Rect, Role, Sense, Slider, Stroke, TextureHandle, TextureId, Ui, Vec2,
    WidgetInfo, pos2, vec2,
};

use crate::{
    app::App,
    entry::{Entry, Pixels},
    legend, look,
    views::waiting,
    worker::{Compared, PictureId},
};

/// The height of the map's scale, with its numbers.
const SCALE: f32 = 26.0;
const WHOLE: Rect = Rect { min: pos2(0.0, 0.0), max: pos2(1.0, 1.0) };

/// The state of the comparison.
pub(crate) struct Compare {
    /// The other picture, if one was chosen.
    pub with: Option<PictureId>,
    /// The pair that the worker was asked for.
    pub asked: Option<[PictureId; 2]>,
    /// Why there is no result for it.
    pub failed: Option<String>,
    /// The newest result, with its map.
    pub result: Option<([PictureId; 2], Box<Compared>, TextureHandle)>,
    /// Where the divider is: left of it the picture that is shown, right of it the other one; 0 to 1.
    divider: f32,
}

impl Default for Compare {
    fn default() -> Self {
        Self { with: None, asked: None, failed: None, result: None, divider: 0.5 }
    }
}

impl Compare {
    /// Forgets what was asked for and not answered.
    pub fn forget_question(&mut self) {
        self.failed = None;
        if !self.is_known() {
            self.asked = None;
        }
    }

    /// Forgets the result if it is about a picture that has changed.
    pub fn forget(&mut self, id: PictureId) {
        if self.asked.is_some_and(|pair| pair.contains(&id)) {
            (self.asked, self.failed, self.result) = (None, None, None);
        }
    }

    /// Whether the newest result is of the pair that was asked for.
    pub fn is_known(&self) -> bool {
        self.asked == self.result.as_ref().map(|(pair, ..)| *pair)
    }
}

impl App {
    /// Shows the comparison with that picture.
    pub(crate) fn compare_with(&mut self, id: PictureId) {
        self.compare.with = Some(id);
        self.settings.view = crate::View::Compare;
    }

    /// The picture that the one shown is compared with: the chosen one, or the next of the same size.
    pub(crate) fn other(&self) -> Option<usize> {
        let shown = self.entry()?;
        let chosen = self.entries.iter().position(|entry| Some(entry.id) == self.compare.with);
        let (before, after) = self.entries.split_at(self.selected);
        let mut others = after.iter().skip(1).chain(before);
        chosen.filter(|&index| index != self.selected).or_else(|| {
            let alike = others.find(|entry| entry.size == shown.size)?;
            self.entries.iter().position(|entry| entry.id == alike.id)
        })
    }

    pub(crate) fn compare_view(&mut self, ui: &mut Ui) {
        if self.loaded.is_none() {
            self.no_network(ui);
            return;
        }
        let other = self.other();
        let mut chosen = None;
        ui.horizontal(|ui| {
            let label = ui.label("Compare with").id;
            let name = |index: usize| look::shortened(&self.entries[index].name, 32);
            let text = other.map_or("choose a picture".into(), name);
            let choice = egui::ComboBox::from_id_salt("other").selected_text(text).show_ui(ui, |ui| {
                for (index, entry) in self.entries.iter().enumerate().filter(|(index, _)| *index != self.selected) {
                    let text = format!("{} · {}×{}", name(index), entry.size[0], entry.size[1]);
                    if ui.selectable_label(Some(index) == other, text).clicked() {
                        chosen = Some(entry.id);
                    }
                }
            });
            choice.response.labelled_by(label);
        });
        if chosen.is_some() {
            self.compare.with = chosen;
        }
        let Some(other) = other else {
            ui.label("There is no other picture of this size. Open one to compare.");
            return;
        };
        if let Some(reason) = &self.compare.failed {
            if look::failure(ui, reason) {
                self.try_again();
            }
            return;
        }
        let result = self.compare.result.as_ref().filter(|_| self.compare.is_known());
        if let Some((_, compared, _)) = result {
            numbers(ui, &compared.comparison);
        }
        let map = result.map(|(_, _, map)| map.id());
        let selected = self.selected;
        let Ok([shown, other]) = self.entries.get_disjoint_mut([selected, other]) else { return };
        ui.add_space(2.0);
        let room = ui.available_rect_before_wrap();
        let size = vec2(shown.size[0] as f32, shown.size[1] as f32);
        let [left, right] = halves(room, size);
        ui.scope_builder(egui::UiBuilder::new().max_rect(left), |ui| {
            both(ui, shown, other, &mut self.compare.divider);
        });
        ui.scope_builder(egui::UiBuilder::new().max_rect(right), |ui| match map {
            Some(map) => distances(ui, map, size),
            None => waiting(ui),
        });
        ui.advance_cursor_after_rect(room);
    }
}

/// Two halves of `room`, side by side or one above the other, whichever leaves more room for pictures of `size`.
fn halves(room: Rect, size: Vec2) -> [Rect; 2] {
    let gap = 8.0;
    let (width, height) = ((room.width() - gap) / 2.0, (room.height() - gap) / 2.0);
    let fits = |room: Vec2| (room.x / size.x).min((room.y - SCALE) / size.y);
    if fits(vec2(width, room.height())) >= fits(vec2(room.width(), height)) {
        let left = Rect::from_min_size(room.min, vec2(width, room.height()));
        [left, left.translate(vec2(width + gap, 0.0))]
    } else {
        let top = Rect::from_min_size(room.min, vec2(room.width(), height));
        [top, top.translate(vec2(0.0, height + gap))]
    }
}

/// The place of a picture in what is left of `ui`, with room for a line below it.
fn place(ui: &Ui, size: Vec2) -> Rect {
    let room = ui.available_rect_before_wrap();
    let area = (room.size() - vec2(0.0, SCALE)).max(vec2(40.0, 40.0));
    let size = size * (area.x / size.x).min(area.y / size.y);
    Rect::from_min_size(pos2(room.center().x - size.x / 2.0, room.top()), size)
}

/// Both pictures in one place, with a divider between them.
fn both(ui: &mut Ui, shown: &mut Entry, other: &mut Entry, divider: &mut f32) {
    let rect = place(ui, vec2(shown.size[0] as f32, shown.size[1] as f32));
    let response = ui.allocate_rect(rect, Sense::click_and_drag()).on_hover_cursor(CursorIcon::ResizeHorizontal);
    if let Some(pointer) = response.interact_pointer_pos() {
        *divider = ((pointer.x - rect.left()) / rect.width()).clamp(0.0, 1.0);
    }
    let text = format!("left: {}, right: {}", shown.name, other.name);
    response.widget_info(|| WidgetInfo::labeled(Role::Image, true, &text));
    let x = rect.left() + *divider * rect.width();
    let longest = rect.size().max_elem() * ui.pixels_per_point();
    let sides =
        [Rect::from_min_max(rect.min, pos2(x, rect.bottom())), Rect::from_min_max(pos2(x, rect.top()), rect.max)];
    for (entry, side) in [shown, other].into_iter().zip(sides) {
        let texture = texture(ui, entry, longest);
        let clip = side.intersect(ui.clip_rect());
        ui.painter().with_clip_rect(clip).image(texture, rect, WHOLE, Color32::WHITE);
    }
    ui.painter().vline(x, rect.y_range(), Stroke::new(3.0, Color32::BLACK));
    ui.painter().vline(x, rect.y_range(), Stroke::new(1.0, Color32::WHITE));
    let below = Rect::from_min_size(rect.left_bottom() + vec2(0.0, 4.0), vec2(rect.width(), SCALE - 4.0));
    ui.scope_builder(egui::UiBuilder::new().max_rect(below), |ui| {
        ui.spacing_mut().slider_width = below.width() - 16.0;
        let slider = ui.add(Slider::new(divider, 0.0..=1.0).show_value(false));
        slider.widget_info(|| WidgetInfo::slider(true, f64::from(*divider), "Divider"));
        slider.on_hover_text(text);
    });
}

fn texture(ui: &Ui, entry: &mut Entry, longest: f32) -> TextureId {
    match &mut entry.pixels {
        Pixels::Here(decoded) => decoded.texture(ui.ctx(), longest),
        // Coarse until the pixels come.
        Pixels::Gone | Pixels::Asked | Pixels::Lost(_) => entry.thumbnail.id(),
    }
}

/// The map of distances with its scale.
fn distances(ui: &mut Ui, map: TextureId, size: Vec2) {
    let rect = place(ui, size);
    let response = ui.allocate_rect(rect, Sense::hover());
    response.widget_info(|| WidgetInfo::labeled(Role::Image, true, "map of distances"));
    let painter = ui.painter();
    painter.image(map, rect, WHOLE, Color32::WHITE);
    let bar = Rect::from_min_size(rect.left_bottom() + vec2(0.0, 4.0), vec2(rect.width(), 8.0));
    legend::gradient(painter, bar, |share| {
        let [r, g, b] = heat_map::colour(share * share);
        Color32::from_rgb(r, g, b)
    });
    let mut free = bar.left();
    for tick in heat_map::TICKS {
        let galley = painter.layout_no_wrap(tick.to_string(), FontId::proportional(10.0), ui.visuals().text_color());
        let width = galley.size().x;
        let x = bar.left() + tick.sqrt() * bar.width();
        let left = (x - width / 2.0).clamp(bar.left(), (bar.right() - width).max(bar.left()));
        // A narrow scale has room for some of them.
        if left >= free {
            painter.galley(pos2(left, bar.bottom() + 1.0), galley, ui.visuals().text_color());
            free = left + width + 4.0;
        }
    }
}

/// The numbers of a comparison, each with its meaning when the pointer is on it.
fn numbers(ui: &mut Ui, comparison: &Comparison) {
    let psnr = if comparison.psnr.is_finite() { format!("{:.1} dB", comparison.psnr) } else { "∞".into() };
    let layers: Vec<String> =
        Lpips::LAYERS.iter().zip(comparison.layers).map(|(layer, value)| format!("{layer}: {value:.4}")).collect();
    let parts = format!(
        "How different the pictures look to a network: 0 is equal, about 0.7 unrelated. Its parts:\n{}",
        layers.join("\n")
    );
    ui.horizontal_wrapped(|ui| {
        ui.spacing_mut().item_spacing.x = 18.0;
        for (name, value, hint) in [
            ("LPIPS", format!("{:.4}", comparison.lpips), parts.as_str()),
            ("Largest distance", format!("{:.4}", comparison.largest), "The largest value of the map"),
            ("PSNR", psnr, "Peak signal-to-noise ratio of the pixels"),
            (
                "Largest pixel difference",
                comparison.max_difference.to_string(),
                "The largest difference between two samples, 0 to 255",
            ),
            ("Differing pixels", format!("{:.2} %", 100.0 * comparison.differing), "The share of pixels that differ"),
        ] {
            let text = format!("{name} {value}");
            // A number stays with its name where the line ends.
            let response = ui.add(egui::Label::new(egui::RichText::new(&text).strong()).extend());
            response.widget_info(|| WidgetInfo::labeled(Role::Label, true, &text));
            response.on_hover_text(hint);
        }
    });
}
