//! The windows of the help menu: the keys, and what this program is.

use eframe::egui::{self, Align2, Grid, Ui};

use crate::{app::App, worker::megabytes};

/// The keys and what they do.
const KEYS: [(&str, &str); 14] = [
    ("Ctrl O", "Open pictures"),
    ("Ctrl V", "Paste a picture or a path"),
    ("Left, Right", "Previous picture, next picture"),
    ("Home, End", "First picture, last picture"),
    ("Up, Down", "Previous layer, next layer"),
    ("1, 2, 3, 4, 5", "Layers, filters, timing, comparison, training"),
    ("H", "Show or hide the heat map"),
    ("Delete", "Remove the picture"),
    ("Ctrl Z", "Bring removed pictures back"),
    ("Tab, Space", "Go to the next button, press it"),
    ("Arrows, Space", "In the feature maps: go to the next one, show it alone"),
    ("Esc", "Close what was opened last: one map, the heat map, a message"),
    ("Ctrl +, Ctrl −", "Enlarge or shrink everything (Ctrl 0: normal size)"),
    ("F1", "Show these keys"),
];

/// The window of the help menu that is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Help {
    Keys,
    About,
}

impl App {
    pub(crate) fn help_window(&mut self, ui: &mut Ui) {
        let Some(help) = self.help else { return };
        let title = match help {
            Help::Keys => "Keys",
            Help::About => "About",
        };
        let mut open = true;
        let window = egui::Window::new(title).open(&mut open).collapsible(false).resizable(false);
        window.anchor(Align2::CENTER_CENTER, [0.0, 0.0]).show(ui.ctx(), |ui| match help {
            Help::Keys => {
                Grid::new("keys").num_columns(2).spacing([24.0, 6.0]).show(ui, |ui| {
                    for (key, what) in KEYS {
                        ui.strong(key);
                        ui.label(what);
                        ui.end_row();
                    }
                });
            }
            Help::About => self.about(ui),
        });
        if !open {
            self.help = None;
        }
    }

    fn about(&self, ui: &mut Ui) {
        let screen = self.screen.adapter.get_info();
        let mut rows = vec![
            ("Version", format!("alexnet-desktop {}", env!("CARGO_PKG_VERSION"))),
            ("Licence", env!("CARGO_PKG_LICENSE").replace(" OR ", " or ")),
            ("Window's adapter", format!("{} ({})", screen.name, screen.backend)),
            ("Driver", format!("{} {}", screen.driver, screen.driver_info)),
        ];
        if let Some(loaded) = &self.loaded {
            let millions = loaded.parameters as f64 / 1e6;
            let model = format!("{}: {millions:.1} M parameters, {}", loaded.network, megabytes(loaded.device_bytes));
            rows.extend([
                ("Network's adapter", loaded.adapter_name.clone()),
                ("Weights", loaded.source.to_string()),
                ("Model", model),
                ("Network", loaded.origin.network.to_string()),
                ("Preprocessing", loaded.origin.preprocessing.to_string()),
                ("Labels", format!("{} ({})", loaded.labels.len(), loaded.origin.labels)),
            ]);
        }
        ui.set_max_width(520.0);
        Grid::new("about").num_columns(2).spacing([24.0, 6.0]).show(ui, |ui| {
            for (name, value) in rows {
                ui.strong(name);
                ui.add(egui::Label::new(value).wrap());
                ui.end_row();
            }
        });
        ui.hyperlink_to("Source code", env!("CARGO_PKG_REPOSITORY"));
    }
}
