//! The bar at the top: pictures, weights, adapters, theme and help.

use alexnet_wgpu::wgpu::DeviceType;
use eframe::egui::{self, Align, Button, Layout, RichText, ScrollArea, ThemePreference, Ui, ViewportCommand};

use crate::{
    about::Help,
    app::App,
    entry::Entry,
    export::Export,
    look,
    weights::{self, Source},
    worker::Adapter,
};

impl App {
    pub(crate) fn menus(&mut self, ui: &mut Ui) {
        egui::MenuBar::new().ui(ui, |ui| {
            if ui.button("Open").on_hover_text("Open pictures (Ctrl+O)").clicked() {
                self.ask_for_pictures();
            }
            if ui.button("Paste").on_hover_text("Paste a picture or the path of one (Ctrl+V)").clicked() {
                self.wait_for_paste();
                ui.send_viewport_cmd(ViewportCommand::RequestPaste);
            }
            ui.menu_button("Pictures", |ui| self.pictures_menu(ui));
            ui.separator();
            // As much of the names as there is room for.
            let room = ((ui.available_width() - 290.0) / 14.4).clamp(8.0, 40.0) as usize;
            let weights = format!("Weights: {}", look::shortened(&self.settings.source.to_string(), room));
            ui.menu_button(weights, |ui| self.weights_menu(ui));
            let adapter = match &self.settings.adapter {
                Adapter::Window => "the window's",
                Adapter::Other { name, .. } => name,
            };
            let adapter = format!("Adapter: {}", look::shortened(adapter, room));
            ui.menu_button(adapter, |ui| self.adapter_menu(ui));
            ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
                ui.menu_button("Help", |ui| {
                    for (text, help) in [("Keys (F1)", Help::Keys), ("About", Help::About)] {
                        if ui.button(text).clicked() {
                            self.help = Some(help);
                            ui.close();
                        }
                    }
                });
                ui.menu_button("Theme", theme_menu);
            });
        });
    }

    fn pictures_menu(&mut self, ui: &mut Ui) {
        let entry = |ui: &mut Ui, possible: bool, text: &str| {
            let clicked = ui.add_enabled(possible, Button::new(text)).clicked();
            if clicked {
                ui.close();
            }
            clicked
        };
        let any = !self.entries.is_empty();
        if entry(ui, !self.removed.is_empty(), "Undo removal (Ctrl+Z)") {
            self.undo();
        }
        if entry(ui, any, "Remove picture (Delete)") {
            self.remove(self.selected);
        }
        if entry(ui, any, "Remove all pictures") {
            self.remove_all();
        }
        ui.separator();
        let label = self.entry().and_then(Entry::best).map(|best| best.label.clone());
        if entry(ui, label.is_some(), "Copy label") {
            ui.ctx().copy_text(label.unwrap_or_default());
        }
        ui.separator();
        for (what, text) in [
            (Export::HeatMap, "Save heat map…"),
            (Export::Layer, "Save layer…"),
            (Export::Classes, "Save classes of all pictures…"),
        ] {
            if entry(ui, self.can_save(what), text) {
                self.save(what);
            }
        }
    }

    fn weights_menu(&mut self, ui: &mut Ui) {
        let mut choice = None;
        let mut entry = |ui: &mut Ui, source: Source, current: &Source| {
            if ui.add(Button::selectable(source == *current, source.to_string())).clicked() {
                choice = Some(source);
            }
        };
        let current = &self.settings.source;
        entry(ui, Source::Embedded, current);
        entry(ui, Source::ImageNet, current);
        let folder = weights::cache_folder();
        let fetched = folder.as_deref().map(weights::files).unwrap_or_default();
        if let Source::File(path) = current
            && !fetched.contains(path)
        {
            entry(ui, current.clone(), current);
        }
        ui.separator();
        ui.label(RichText::new("Downloaded").small().weak());
        ScrollArea::vertical().max_height(300.0).show(ui, |ui| {
            for path in &fetched {
                entry(ui, Source::File(path.clone()), current);
            }
        });
        if fetched.is_empty() {
            let place = folder.map(|folder| folder.display().to_string()).unwrap_or_default();
            ui.small("None yet: run `alexnet fetch torchvision`").on_hover_text(format!("The folder is {place}"));
        }
        ui.separator();
        if ui
            .button("Open weights…")
            .on_hover_text("A file of PyTorch, ONNX, Caffe or safetensors; you can also drop it on the window")
            .clicked()
        {
            self.ask_for_weights();
            ui.close();
        }
        if let Some(source) = choice {
            self.load(source, self.settings.adapter.clone());
            ui.close();
        }
    }

    fn adapter_menu(&mut self, ui: &mut Ui) {
        ui.set_min_width(300.0);
        self.list_adapters();
        let mut choice = None;
        let shared = ui.add(Button::selectable(self.settings.adapter == Adapter::Window, "The window's adapter"));
        if shared
            .on_hover_text("The window and the network share one device: layers are drawn without a copy")
            .clicked()
        {
            choice = Some(Adapter::Window);
        }
        ui.separator();
        ui.label(RichText::new("Separate device").small().weak());
        match &self.adapters {
            None => {
                ui.horizontal(|ui| {
                    look::busy(ui, 16.0);
                    ui.label("Looking for adapters");
                });
            }
            Some(adapters) => {
                for adapter in adapters {
                    let kind = match adapter.info.device_type {
                        DeviceType::DiscreteGpu => "discrete",
                        DeviceType::IntegratedGpu => "integrated",
                        DeviceType::VirtualGpu => "virtual",
                        DeviceType::Cpu => "software",
                        DeviceType::Other => "other",
                    };
                    let text = format!("{} ({}, {kind})", adapter.info.name, adapter.info.backend);
                    let this = Adapter::other(&adapter.info);
                    let button = Button::selectable(self.settings.adapter == this, text);
                    let response = ui.add_enabled(adapter.shortfalls.is_empty(), button);
                    let lacks: Vec<String> = adapter.shortfalls.iter().map(ToString::to_string).collect();
                    if response.on_disabled_hover_text(format!("It lacks {}", lacks.join("; "))).clicked() {
                        choice = Some(this);
                    }
                }
            }
        }
        if let Some(adapter) = choice {
            self.load(self.settings.source.clone(), adapter);
            ui.close();
        }
    }
}

fn theme_menu(ui: &mut Ui) {
    let current = ui.ctx().options(|options| options.theme_preference);
    for (theme, name) in
        [(ThemePreference::System, "As the system"), (ThemePreference::Light, "Light"), (ThemePreference::Dark, "Dark")]
    {
        if ui.add(Button::selectable(current == theme, name)).clicked() {
            ui.ctx().set_theme(theme);
            ui.close();
        }
    }
}
