//! The middle of the window: a layer's activation, the first filters, or time a layer. The comparison is in compare.rs, training in
//! train.rs.

use alexnet_wgpu::LayerTime;
use eframe::egui::{self, Align, Align2, Button, Layout, Role, ScrollArea, Sense, Ui, WidgetInfo, vec2};

use crate::{
    app::{App, Times},
    legend, look,
    maps::{self, Contrast},
    numbers,
    settings::View,
    tiles,
    worker::Drawn,
};

impl App {
    pub(crate) fn views(&mut self, ui: &mut Ui) {
        ui.horizontal(|ui| {
            for view in View::ALL {
                if ui.add(Button::selectable(self.settings.view == view, view.title())).clicked() {
                    self.settings.view = view;
                }
            }
        });
        ui.separator();
        match self.settings.view {
            View::Layers => self.layers_view(ui),
            View::Filters => self.filters_view(ui),
            View::Timing => self.timing_view(ui),
            View::Compare => self.compare_view(ui),
            View::Train => self.train_view(ui),
        }
    }

    /// Where there is no network (yet).
    pub(crate) fn no_network(&mut self, ui: &mut Ui) {
        if self.loading.is_some() {
            waiting(ui);
        } else if look::failure(ui, "No network is loaded.") {
            self.load(self.settings.source.clone(), self.settings.adapter.clone());
        }
    }

    fn layers_view(&mut self, ui: &mut Ui) {
        let Some(loaded) = &self.loaded else {
            self.no_network(ui);
            return;
        };
        let current = self.layer().map(str::to_string);
        let mut chosen = None;
        ui.horizontal_wrapped(|ui| {
            ui.spacing_mut().item_spacing = vec2(4.0, 4.0);
            for layer in &loaded.layers {
                if ui.add(Button::selectable(current.as_ref() == Some(&layer.name), &layer.name)).clicked() {
                    chosen = Some(layer.name.clone());
                }
            }
        });
        if let Some(layer) = chosen {
            self.settings.layer = layer;
        }
        if let Some(reason) = &self.maps_failed {
            if look::failure(ui, reason) {
                self.try_again();
            }
            return;
        }
        let new = self.maps_are_new();
        let Some((_, maps, texture)) = &self.maps else {
            waiting(ui);
            return;
        };
        let shape = maps.shape;
        let (tiles, texture) = match (&maps.drawn, texture) {
            (Drawn::Maps(_, tiles), Some(texture)) => (tiles, *texture),
            (Drawn::Maps(..), None) => return,
            (Drawn::Numbers(values), _) => {
                let what = format!("{}: {} numbers", maps.layer, shape.channels);
                let [least, most] = numbers::range(values);
                ui.horizontal(|ui| {
                    ui.label(format!("{what} between {least:.3} and {most:.3}"));
                    if !new {
                        look::busy(ui, 14.0);
                    }
                });
                numbers::view(ui, &what, values, self.labels_of(values));
                return;
            }
        };
        let what = format!("{}: {} maps of {}×{}", maps.layer, shape.channels, shape.height, shape.width);
        let contrast = &mut self.settings.contrast;
        let mut choice = |ui: &mut Ui| {
            for (this, text, hint) in [
                (Contrast::Map, "Each map", "Colours relative to the largest magnitude of each map"),
                (Contrast::Layer, "Whole layer", "Colours relative to the largest magnitude of the layer"),
            ] {
                if ui.add(Button::selectable(*contrast == this, text)).on_hover_text(hint).clicked() {
                    *contrast = this;
                }
            }
        };
        let narrow = ui.available_width() < 440.0;
        ui.horizontal(|ui| {
            ui.label(&what);
            if !new {
                look::busy(ui, 14.0);
            }
            if !narrow {
                let width = 204.0;
                ui.add_space(ui.available_width() - width);
                ui.label("Scale");
                choice(ui);
            }
        });
        if narrow {
            ui.horizontal(|ui| {
                choice(ui);
                scale_of_maps(ui);
            });
        } else {
            scale_of_maps(ui);
        }
        let name = |tile: usize| format!("{}, map {tile}", maps.layer);
        tiles::grid(ui, texture, tiles, &what, name, &mut self.chosen_map);
    }

    fn filters_view(&mut self, ui: &mut Ui) {
        let Some(loaded) = &self.loaded else {
            self.no_network(ui);
            return;
        };
        let (Some(filters), Some(texture)) = (&loaded.filters, &self.filters) else {
            ui.label(
                "The first layer of this network does not take colours, so its filters cannot be shown as pictures.",
            );
            return;
        };
        let tiles = filters.tiles;
        let what = format!("{}: {} filters of {}×{} pixels", filters.layer, tiles.count, tiles.height, tiles.width);
        ui.label(&what).on_hover_text("Grey is 0. Each filter is stretched to the full range of brightness.");
        let name = |tile: usize| format!("{}, filter {tile}", filters.layer);
        tiles::grid(ui, texture.id(), &tiles, &what, name, &mut self.chosen_filter);
    }

    fn timing_view(&mut self, ui: &mut Ui) {
        let times = match &self.times {
            Times::Known(Some(times)) => times,
            Times::Known(None) => {
                ui.label("This adapter cannot time layers: it has no timestamps.");
                return;
            }
            Times::Failed(reason) => {
                if look::failure(ui, reason) {
                    self.try_again();
                }
                return;
            }
            Times::Unknown | Times::Asked => {
                if self.loaded.is_some() {
                    waiting(ui);
                } else {
                    self.no_network(ui);
                }
                return;
            }
        };
        let total: f64 = times.iter().map(|time| time.ms).sum();
        let mut again = false;
        ui.horizontal(|ui| {
            ui.label(format!("All layers: {total:.2} ms for one picture (median)"));
            ui.with_layout(Layout::right_to_left(Align::Center), |ui| again = ui.button("Measure again").clicked());
        });
        ui.add_space(4.0);
        ScrollArea::vertical().auto_shrink(false).show(ui, |ui| time_bars(ui, times, total));
        if again {
            self.measure_again();
        }
    }
}

/// The meaning of the maps' colours.
fn scale_of_maps(ui: &mut Ui) {
    legend::scale(ui, ["Negative", "Positive"], true, maps::colour)
        .on_hover_text("Black is 0. The ends are the largest magnitude of each map, or of the whole layer.");
}

pub(crate) fn waiting(ui: &mut Ui) {
    ui.add_space(24.0);
    ui.vertical_centered(|ui| look::busy(ui, 36.0));
}

/// A bar a layer, the longest filling the width.
fn time_bars(ui: &mut Ui, times: &[LayerTime], total: f64) {
    let longest = times.iter().map(|time| time.ms).fold(f64::MIN_POSITIVE, f64::max);
    let height = (ui.available_height() / times.len().max(1) as f32 - 4.0).clamp(20.0, 40.0);
    let font = egui::TextStyle::Body.resolve(ui.style());
    let colour = ui.visuals().text_color();
    ui.spacing_mut().item_spacing.y = 4.0;
    for time in times {
        let (rect, response) = ui.allocate_exact_size(vec2(ui.available_width(), height), Sense::hover());
        let described = format!("{}: {:.2} ms", time.layer, time.ms);
        response.widget_info(|| WidgetInfo::labeled(Role::Label, true, &described));
        let mut bar = rect;
        bar.min.x += 80.0;
        bar.max.x -= 80.0;
        look::bar(ui, bar, (time.ms / longest) as f32, true);
        let painter = ui.painter();
        painter.text(rect.left_center(), Align2::LEFT_CENTER, &time.layer, font.clone(), colour);
        let number = format!("{:.2} ms", time.ms);
        painter.text(rect.right_center(), Align2::RIGHT_CENTER, number, font.clone(), colour);
        let share = 100.0 * time.ms / total.max(f64::MIN_POSITIVE);
        response.on_hover_text(format!("{share:.1} % of the time of all layers\n{}", time.kernel));
    }
}
