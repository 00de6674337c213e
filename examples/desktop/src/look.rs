//! How things look: sizes, roundings and the two colours of bars, in light and dark.

use std::time::Duration;

use eframe::egui::{
    Color32, Context, CornerRadius, FontId, Rect, Sense, Stroke, StrokeKind, TextStyle, Theme, Ui, Vec2, Visuals, vec2,
};

/// Sets both themes.
pub fn apply(ctx: &Context) {
    for theme in [Theme::Dark, Theme::Light] {
        ctx.style_mut_of(theme, |style| {
            style.spacing.item_spacing = vec2(8.0, 6.0);
            style.spacing.button_padding = vec2(9.0, 4.0);
            style.spacing.interact_size.y = 24.0;
            style.text_styles.insert(TextStyle::Small, FontId::proportional(11.0));
            let visuals = &mut style.visuals;
            let accent = accent(visuals);
            visuals.selection.bg_fill = accent;
            visuals.selection.stroke = Stroke::new(1.0, Color32::WHITE);
            visuals.hyperlink_color = accent;
            let text = if theme == Theme::Dark { Color32::from_gray(222) } else { Color32::from_gray(30) };
            visuals.widgets.noninteractive.fg_stroke.color = text;
            visuals.widgets.inactive.fg_stroke.color = text;
            for widget in [
                &mut visuals.widgets.noninteractive,
                &mut visuals.widgets.inactive,
                &mut visuals.widgets.hovered,
                &mut visuals.widgets.active,
                &mut visuals.widgets.open,
            ] {
                widget.corner_radius = CornerRadius::same(5);
            }
            match theme {
                Theme::Dark => {
                    visuals.panel_fill = Color32::from_gray(24);
                    visuals.extreme_bg_color = Color32::from_gray(14);
                }
                Theme::Light => {
                    visuals.panel_fill = Color32::from_gray(247);
                    visuals.extreme_bg_color = Color32::WHITE;
                }
            }
        });
    }
}

/// The colour of what matters.
pub fn accent(visuals: &Visuals) -> Color32 {
    if visuals.dark_mode { Color32::from_rgb(38, 110, 190) } else { Color32::from_rgb(30, 110, 200) }
}

/// Paints a bar that is filled to `fraction`, in the colours of what is `chosen` or not.
pub fn bar(ui: &Ui, rect: Rect, fraction: f32, chosen: bool) {
    let visuals = ui.visuals();
    let radius = CornerRadius::same(4);
    let painter = ui.painter();
    painter.rect_filled(rect, radius, visuals.widgets.noninteractive.bg_stroke.color.gamma_multiply(0.45));
    let accent = accent(visuals);
    let fill = match (visuals.dark_mode, chosen) {
        (_, true) if visuals.dark_mode => accent,
        (_, true) => accent.gamma_multiply(0.55),
        (true, false) => accent.gamma_multiply(0.55),
        (false, false) => accent.gamma_multiply(0.32),
    };
    let mut filled = rect;
    filled.set_width(rect.width() * fraction.clamp(0.0, 1.0));
    painter.with_clip_rect(filled).rect_filled(rect, radius, fill);
}

/// Paints a line around what has the keyboard's focus.
pub fn focus(ui: &Ui, rect: Rect) {
    let stroke = Stroke::new(1.5, ui.visuals().strong_text_color());
    ui.painter().rect_stroke(rect, CornerRadius::same(4), stroke, StrokeKind::Inside);
}

/// A sign that something is under way. It moves a few times a second only: frames cost what is waited for.
pub fn busy(ui: &mut Ui, size: f32) {
    let (rect, _) = ui.allocate_exact_size(vec2(size, size), Sense::hover());
    let (dots, a_second) = (8, 6.0);
    let now = (ui.input(|input| input.time) * a_second) as usize % dots;
    for dot in 0..dots {
        let angle = dot as f32 / dots as f32 * std::f32::consts::TAU;
        let at = rect.center() + Vec2::angled(angle) * size * 0.4;
        let age = (now + dots - dot) % dots;
        let colour = ui.visuals().text_color().gamma_multiply(1.0 - age as f32 / dots as f32);
        ui.painter().circle_filled(at, size * 0.09, colour);
    }
    ui.ctx().request_repaint_after(Duration::from_secs_f64(1.0 / a_second));
}

/// Why something is not there; whether it is to be tried again.
pub fn failure(ui: &mut Ui, reason: &str) -> bool {
    ui.label(reason);
    ui.button("Try again").clicked()
}

/// At most `length` characters, the middle left out.
pub fn shortened(text: &str, length: usize) -> String {
    let characters: Vec<char> = text.chars().collect();
    if characters.len() <= length {
        return text.into();
    }
    let end = length / 3;
    let start = length - end - 1;
    let tail = &characters[characters.len() - end..];
    characters[..start].iter().chain(&['…']).chain(tail).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_names_keep_their_ends() {
        assert_eq!(shortened("alexnet", 7), "alexnet");
        let short = shortened("alexnet-owt-7be5be79-with-a-long-name.pth", 16);
        assert_eq!(short, "alexnet-ow…e.pth");
        assert_eq!(short.chars().count(), 16);
    }
}
