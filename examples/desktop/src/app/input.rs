//! Keys, dropped files and the clipboard.

use super::*;

impl App {
    /// Drops, pastes and keys.
    pub(super) fn input(&mut self) {
        let (dropped, events) = self.ctx.input(|input| (input.raw.dropped_files.clone(), input.events.clone()));
        for file in dropped {
            self.given(file.path().into());
        }
        if events.iter().any(|event| matches!(event, Event::PasteImage(_) | Event::Paste(_))) {
            self.pasting = None;
            self.pasted = Some(Instant::now());
        } else if self.pasting.take_if(|asked| asked.elapsed() > CLIPBOARD_ANSWERS).is_some() {
            self.say(NOTHING_TO_PASTE.into());
        }
        for event in events {
            match event {
                Event::PasteImage(image) => self.open_picture(Incoming::Pixels(image)),
                Event::Paste(text) => self.paste(&text),
                // Of Ctrl+V egui tells that it is let go, and a paste before that where there is something to paste.
                Event::Key { key: Key::V, pressed, .. } => {
                    let was_down = std::mem::replace(&mut self.v_down, pressed);
                    let lately = |pasted: Instant| pasted.elapsed() < 2 * CLIPBOARD_ANSWERS;
                    if !pressed && !was_down && !self.pasted.is_some_and(lately) {
                        self.say(NOTHING_TO_PASTE.into());
                    }
                }
                _ => {}
            }
        }
        let ctx = self.ctx.clone();
        let pressed = |modifiers, key| ctx.input_mut(|input| input.consume_key(modifiers, key));
        if pressed(Modifiers::COMMAND, Key::O) {
            self.ask_for_pictures();
        }
        if pressed(Modifiers::NONE, Key::F1) {
            self.help = if self.help == Some(Help::Keys) { None } else { Some(Help::Keys) };
        }
        if egui::Popup::is_any_open(&self.ctx) {
            return;
        }
        if pressed(Modifiers::COMMAND, Key::Z) {
            self.undo();
        }
        if pressed(Modifiers::NONE, Key::Delete) {
            self.remove(self.selected);
        }
        if pressed(Modifiers::NONE, Key::H) {
            self.heat = !self.heat;
        }
        for (key, view) in [Key::Num1, Key::Num2, Key::Num3, Key::Num4, Key::Num5].into_iter().zip(View::ALL) {
            if pressed(Modifiers::NONE, key) {
                self.settings.view = view;
            }
        }
        // What has the focus uses these of its own.
        if self.ctx.memory(|memory| memory.focused().is_some()) {
            return;
        }
        if pressed(Modifiers::NONE, Key::Escape) {
            self.leave();
        }
        if pressed(Modifiers::NONE, Key::ArrowRight) {
            self.select(self.selected + 1);
        }
        if pressed(Modifiers::NONE, Key::ArrowLeft) {
            self.select(self.selected.saturating_sub(1));
        }
        for (key, index) in [(Key::Home, 0), (Key::End, usize::MAX)] {
            if pressed(Modifiers::NONE, key) {
                self.select(index);
            }
        }
        let step =
            isize::from(pressed(Modifiers::NONE, Key::ArrowDown)) - isize::from(pressed(Modifiers::NONE, Key::ArrowUp));
        if step != 0
            && self.settings.view == View::Layers
            && let (Some(loaded), Some(layer)) = (&self.loaded, self.layer())
        {
            let at = loaded.layers.iter().position(|known| known.name == layer).unwrap_or_default();
            let to = at.saturating_add_signed(step).min(loaded.layers.len() - 1);
            self.settings.layer = loaded.layers[to].name.clone();
        }
    }

    /// Opens what was dropped or pasted; where training is shown, a folder is one to train on.
    fn given(&mut self, path: PathBuf) {
        if self.settings.view == View::Train && path.is_dir() {
            self.train_on(path);
        } else {
            self.open(path);
        }
    }

    /// Text is pasted as paths or file URIs, a line each: so file managers copy files.
    pub(super) fn paste(&mut self, text: &str) {
        let mut paths = 0;
        for line in text.lines() {
            let path = pasted_path(line.trim());
            if path.exists() {
                self.given(path);
                paths += 1;
            }
        }
        if paths == 0 {
            self.say(NOTHING_TO_PASTE.into());
        }
    }

    pub(crate) fn wait_for_paste(&mut self) {
        self.pasting = Some(Instant::now());
        self.ctx.request_repaint_after(CLIPBOARD_ANSWERS + Duration::from_millis(50));
    }

    /// Leaves what was entered last: help, one map alone, the heat map, a message.
    pub(super) fn leave(&mut self) {
        if self.help.is_some() {
            self.help = None;
        } else if self.settings.view == View::Layers && self.chosen_map.is_some() {
            self.chosen_map = None;
        } else if self.settings.view == View::Filters && self.chosen_filter.is_some() {
            self.chosen_filter = None;
        } else if self.settings.view == View::Train && self.train.chosen.is_some() {
            self.train.chosen = None;
        } else if self.heat {
            self.heat = false;
        } else {
            self.messages.dismiss_newest();
        }
    }
}

/// What one line of pasted text names: a path, or a file URI as file managers copy it.
pub(super) fn pasted_path(line: &str) -> PathBuf {
    let Some(encoded) = line.strip_prefix("file://") else { return line.into() };
    let encoded = encoded.strip_prefix("localhost").unwrap_or(encoded);
    // file:///C:/folder is C:/folder.
    let encoded = if cfg!(windows) { encoded.trim_start_matches('/') } else { encoded };
    let mut bytes = Vec::with_capacity(encoded.len());
    let mut rest = encoded.as_bytes();
    while let [first, tail @ ..] = rest {
        let escaped = (*first == b'%').then(|| tail.get(..2)).flatten();
        let byte = escaped.and_then(|two| u8::from_str_radix(std::str::from_utf8(two).ok()?, 16).ok());
        bytes.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { &tail[2..] } else { tail };
    }
    #[cfg(unix)]
    let path = <std::ffi::OsString as std::os::unix::ffi::OsStringExt>::from_vec(bytes);
    #[cfg(not(unix))]
    let path = String::from_utf8_lossy(&bytes).into_owned();
    PathBuf::from(path)
}
