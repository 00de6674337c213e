//! A layer whose output is a vector: a labelled bar for each number where they are few, a chart where they are many.

use eframe::egui::{self, Align2, Color32, Mesh, Rect, Role, ScrollArea, Sense, TextStyle, Ui, WidgetInfo, pos2, vec2};

use crate::{look, tiles::walk};

/// So many numbers, and no more, get a line each.
const LINES: usize = 64;
const LINE: f32 = 22.0;
/// The width of a bar in the chart, and the least height of a row of it.
const BAR: f32 = 3.0;
const ROW: f32 = 40.0;

/// Shows the numbers of a layer; `labels` are those of its numbers, where they have some.
pub(crate) fn view(ui: &mut Ui, what: &str, values: &[f32], labels: Option<&[String]>) {
    let scroll = ScrollArea::vertical().auto_shrink(false).id_salt(what);
    if values.len() <= LINES {
        scroll.show(ui, |ui| lines(ui, values, labels));
    } else {
        scroll.show(ui, |ui| chart(ui, what, values, labels));
    }
}

/// What a number is called: its index, and its label where it has one.
fn name(index: usize, labels: Option<&[String]>) -> String {
    match labels.and_then(|labels| labels.get(index)) {
        Some(label) => format!("{index} {label}"),
        None => index.to_string(),
    }
}

/// The smallest and the largest of the finite numbers and 0.
pub(crate) fn range(values: &[f32]) -> [f32; 2] {
    let (least, most) = values
        .iter()
        .filter(|value| value.is_finite())
        .fold((0.0f32, 0.0f32), |(least, most), &value| (least.min(value), most.max(value)));
    if most > least { [least, most] } else { [least, least + 1.0] }
}

/// Where a number lies in its range, 0 to 1.
fn share(value: f32, [least, most]: [f32; 2]) -> f32 {
    let share = (value - least) / (most - least);
    if share.is_nan() { 0.0 } else { share.clamp(0.0, 1.0) }
}

fn colour(ui: &Ui, value: f32) -> Color32 {
    if value < 0.0 { ui.visuals().text_color().gamma_multiply(0.5) } else { look::accent(ui.visuals()) }
}

fn lines(ui: &mut Ui, values: &[f32], labels: Option<&[String]>) {
    let range = range(values);
    let font = TextStyle::Body.resolve(ui.style());
    let text = ui.visuals().text_color();
    ui.spacing_mut().item_spacing.y = 4.0;
    for (index, &value) in values.iter().enumerate() {
        let (rect, response) = ui.allocate_exact_size(vec2(ui.available_width(), LINE), Sense::hover());
        let described = format!("{}: {value:.4}", name(index, labels));
        response.widget_info(|| WidgetInfo::labeled(Role::Label, true, &described));
        let left = rect.width() * if labels.is_some() { 0.32 } else { 0.1 };
        let bar = Rect::from_min_max(rect.min + vec2(left, 2.0), rect.max - vec2(72.0, 2.0));
        let painter = ui.painter();
        painter.rect_filled(bar, 3.0, ui.visuals().extreme_bg_color);
        let x = |value| bar.left() + share(value, range) * bar.width();
        let (zero, end) = (x(0.0), x(value));
        let filled = Rect::from_x_y_ranges(zero.min(end)..=zero.max(end), bar.y_range());
        painter.rect_filled(filled, 3.0, colour(ui, value));
        let mut job = egui::text::LayoutJob::simple_singleline(name(index, labels), font.clone(), text);
        job.wrap = egui::text::TextWrapping::truncate_at_width(left - 8.0);
        let galley = ui.fonts_mut(|fonts| fonts.layout_job(job));
        painter.galley(pos2(rect.left(), rect.center().y - galley.size().y / 2.0), galley, text);
        painter.text(rect.right_center(), Align2::RIGHT_CENTER, format!("{value:.4}"), font.clone(), text);
        response.on_hover_text(described);
    }
}

/// Rows of narrow bars, each row beginning with the index of its first bar.
fn chart(ui: &mut Ui, what: &str, values: &[f32], labels: Option<&[String]>) {
    let font = TextStyle::Small.resolve(ui.style());
    let text = ui.visuals().text_color();
    let margin = 8.0 + 6.0 * values.len().to_string().len() as f32;
    let columns = (((ui.available_width() - margin) / BAR) as usize).clamp(1, values.len());
    let rows = values.len().div_ceil(columns);
    let height = (ui.available_height() / rows as f32 - 1.0).clamp(ROW, 160.0);
    let size = vec2(margin + columns as f32 * BAR, height * rows as f32);
    let (rect, response) = ui.allocate_exact_size(size, Sense::click());
    response.widget_info(|| WidgetInfo::labeled(Role::Image, true, what));
    let range = range(values);
    let place = |index: usize| {
        let corner = vec2(margin + (index % columns) as f32 * BAR, (index / columns) as f32 * height);
        Rect::from_min_size(rect.min + corner, vec2(BAR, height)).shrink2(vec2(0.0, 3.0))
    };
    let mut mesh = Mesh::default();
    for row in 0..rows {
        let first = place(row * columns);
        let end = place(((row + 1) * columns).min(values.len()) - 1);
        if !ui.is_rect_visible(first.union(end)) {
            continue;
        }
        let at = pos2(first.left() - 6.0, first.bottom());
        ui.painter().text(at, Align2::RIGHT_BOTTOM, row * columns, font.clone(), text);
        ui.painter().rect_filled(first.union(end), 0.0, ui.visuals().extreme_bg_color);
        for (index, &value) in values.iter().enumerate().skip(row * columns).take(columns) {
            let bar = place(index);
            let y = |value| bar.bottom() - share(value, range) * bar.height();
            let (zero, end) = (y(0.0), y(value));
            let filled = Rect::from_x_y_ranges(bar.left()..=bar.right() - 0.5, zero.min(end)..=zero.max(end));
            mesh.add_colored_rect(filled, colour(ui, value));
        }
    }
    ui.painter().add(mesh);
    let at = |pointer: egui::Pos2| {
        let offset = pointer - rect.min - vec2(margin, 0.0);
        let column = (offset.x >= 0.0).then_some((offset.x / BAR) as usize).filter(|&column| column < columns)?;
        Some((offset.y / height) as usize * columns + column).filter(|&index| index < values.len())
    };
    let pointed = response.hover_pos().and_then(at);
    let focused = response.has_focus().then(|| walk(ui, &response, columns, values.len()));
    if let Some((index, true)) = focused {
        ui.scroll_to_rect(place(index), None);
    }
    let Some(index) = pointed.or(focused.map(|(index, _)| index)) else { return };
    let outline = egui::Stroke::new(1.0, ui.visuals().strong_text_color());
    ui.painter().rect_stroke(place(index), 0.0, outline, egui::StrokeKind::Outside);
    let described = format!("{}: {:.4}", name(index, labels), values[index]);
    // A keyboard has no pointer to show it at.
    if pointed.is_none() {
        let at = place(index).right_top();
        ui.painter().text(at, Align2::LEFT_TOP, described, font, text);
    } else {
        response.on_hover_text_at_pointer(described);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_begin_at_zero() {
        assert_eq!(range(&[0.5, 2.0]), [0.0, 2.0]);
        assert_eq!(range(&[-3.0, -1.0]), [-3.0, 0.0]);
        assert_eq!(range(&[0.0, 0.0]), [0.0, 1.0]);
        assert_eq!(share(-1.0, [-3.0, 1.0]), 0.5);
        // What overflowed in the network is drawn all the same.
        assert_eq!(range(&[f32::NAN, f32::INFINITY, 2.0]), [0.0, 2.0]);
        assert_eq!([f32::NAN, f32::INFINITY, f32::NEG_INFINITY].map(|value| share(value, [0.0, 2.0])), [0.0, 1.0, 0.0]);
        assert_eq!(name(2, Some(&["a".into(), "b".into()])), "2");
        assert_eq!(name(1, Some(&["a".into(), "b".into()])), "1 b");
    }
}
