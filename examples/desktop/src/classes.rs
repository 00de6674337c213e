//! The most likely classes of the picture that is shown, and whether they can be trusted.

use eframe::egui::{self, Align2, RichText, Role, Sense, Stroke, StrokeKind, Ui, WidgetInfo, vec2};

use crate::{
    entry::{Classes, Entry, Known, Pixels},
    look,
    weights::Source,
    worker::{Loaded, TOP},
};

const BAR: f32 = 24.0;
/// The height of all bars.
pub(crate) const BARS: f32 = (BAR + 4.0) * TOP as f32;

/// What to do with a class.
pub(crate) enum Wish {
    /// Show the heat map that explains it.
    Explain(usize),
    /// Classify the picture once more.
    TryAgain,
}

/// The most likely classes. Where `explaining`, the class that the heat map explains stands out.
pub(crate) fn bars(ui: &mut Ui, entry: &Entry, explaining: bool) -> Option<Wish> {
    let known = match (&entry.classes, &entry.pixels) {
        (Classes::Known(known), _) => known,
        (Classes::Failed(reason), _) | (_, Pixels::Lost(reason)) => {
            return look::failure(ui, reason).then_some(Wish::TryAgain);
        }
        (Classes::Unknown | Classes::Asked, _) => {
            ui.horizontal(|ui| {
                look::busy(ui, 16.0);
                ui.label("Classifying");
            });
            return None;
        }
    };
    if known.classes.is_empty() {
        ui.label("This network gives features and names no classes.")
            .on_hover_text("Its filters and maps show what a network trained on photographs sees.");
    }
    let mut wish = None;
    for class in &known.classes {
        let (rect, response) = ui.allocate_exact_size(vec2(ui.available_width(), BAR), Sense::click());
        let chosen = entry.class() == Some(class.index);
        let number = known.number(class);
        let described = format!("{}: {number}", class.label);
        response.widget_info(|| WidgetInfo::selected(Role::Button, true, chosen && explaining, &described));
        look::bar(ui, rect, if known.probabilities { class.probability } else { 0.0 }, chosen);
        if chosen && explaining {
            let stroke = Stroke::new(2.0, ui.visuals().strong_text_color());
            ui.painter().rect_stroke(rect, 4.0, stroke, StrokeKind::Inside);
        } else if response.hovered() {
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
        let at = egui::pos2(rect.left() + 8.0, rect.center().y - galley.size().y / 2.0);
        ui.painter().galley(at, galley, colour);
        if response.clicked() {
            wish = Some(Wish::Explain(class.index));
        }
        response
            .on_hover_text(format!("{described}\nClick to see which parts of the picture speak for this class."))
            .context_menu(|ui| {
                if ui.button("Copy label").clicked() {
                    ui.ctx().copy_text(class.label.clone());
                    ui.close();
                }
            });
    }
    wish
}

/// Shows which classes the embedded model knows, whatever the picture: it can be sure of a wrong one. For any network, says that it
/// is unsure, and which weights know more classes.
pub(crate) fn doubt(ui: &mut Ui, known: &Known, loaded: &Loaded) {
    let count = loaded.labels.len();
    let unsure = known.is_unsure().then(|| "Unsure: no class reaches 50 %.".to_string());
    let knows = match loaded.source {
        Source::Embedded => Some(format!("This model knows {count} kinds of garment only.")),
        _ if unsure.is_some() && count > 0 => Some(format!("This model knows {count} classes only.")),
        _ => None,
    };
    let parts: Vec<String> = unsure.iter().cloned().chain(knows).collect();
    let Some(verdict) = parts.first().cloned() else { return };
    let mut text = parts.join(" ");
    if count < 1000 {
        text += " For ImageNet's 1000 classes, run `alexnet fetch torchvision` and choose the file under Weights.";
    }
    // Where there is little room, the picture gets it.
    let shown = if ui.available_height() < 240.0 { &verdict } else { &text };
    let colour = if unsure.is_some() { ui.visuals().warn_fg_color } else { ui.visuals().weak_text_color() };
    let shown = RichText::new(shown).small().color(colour);
    let response = ui.add(egui::Label::new(shown).wrap());
    if count <= 40 {
        text += &format!("\nIt knows: {}.", loaded.labels.join(", "));
    }
    response.on_hover_text(text);
}
