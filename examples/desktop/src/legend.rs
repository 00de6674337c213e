//! Scales of colours, with what their ends stand for.

use eframe::egui::{self, Align2, Color32, Mesh, Rect, Role, Sense, Ui, WidgetInfo, pos2, vec2};

/// A scale as wide as `ui`: `colour` maps −1 … 1 to colours, or 0 … 1 where it has no negative side.
pub(crate) fn scale(ui: &mut Ui, ends: [&str; 2], signed: bool, colour: impl Fn(f32) -> Color32) -> egui::Response {
    let (rect, response) = ui.allocate_exact_size(vec2(ui.available_width(), 14.0), Sense::hover());
    let described = format!("Colours from {} to {}", ends[0], ends[1]);
    response.widget_info(|| WidgetInfo::labeled(Role::Image, true, &described));
    let font = egui::TextStyle::Small.resolve(ui.style());
    let text = ui.visuals().text_color();
    let painter = ui.painter().with_clip_rect(rect.intersect(ui.clip_rect()));
    let left = painter.text(rect.left_center(), Align2::LEFT_CENTER, ends[0], font.clone(), text).right();
    let right = painter.text(rect.right_center(), Align2::RIGHT_CENTER, ends[1], font, text).left();
    let bar = Rect::from_min_max(pos2(left + 6.0, rect.top() + 2.0), pos2(right - 6.0, rect.bottom() - 2.0));
    if bar.is_positive() {
        gradient(&painter, bar, |share| colour(if signed { 2.0 * share - 1.0 } else { share }));
    }
    response
}

/// Paints a bar in colours of 0 … 1, from left to right.
pub(crate) fn gradient(painter: &egui::Painter, bar: Rect, colour: impl Fn(f32) -> Color32) {
    let mut mesh = Mesh::default();
    let steps = 64;
    for step in 0..=steps {
        let share = step as f32 / steps as f32;
        let colour = colour(share);
        let x = bar.left() + share * bar.width();
        for y in [bar.top(), bar.bottom()] {
            mesh.colored_vertex(pos2(x, y), colour);
        }
        if step > 0 {
            let last = 2 * step as u32;
            mesh.add_triangle(last - 2, last - 1, last);
            mesh.add_triangle(last - 1, last, last + 1);
        }
    }
    painter.add(mesh);
}
