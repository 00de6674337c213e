//! What the worker and the decoder answer, and what they are asked for next.

use super::*;
use crate::{entry::Known, heat::Heat, worker::Drawn};

impl App {
    /// Takes in what came since the last frame: answers, pictures, files chosen.
    pub(super) fn receive(&mut self) {
        let start = Instant::now();
        self.loader.begin_frame();
        self.reloader.begin_frame();
        while let Some(arrival) = self.reloader.arrival().or_else(|| self.loader.arrival()) {
            self.arrived(arrival);
            if start.elapsed() > TAKING_IN {
                self.ctx.request_repaint();
                break;
            }
        }
        while let Ok(chosen) = self.dialogs.1.try_recv() {
            match chosen {
                Chosen::Picture(path) => self.open_picture(Incoming::Path(path)),
                Chosen::Weights(path) => self.load(Source::File(path), self.settings.adapter.clone()),
                Chosen::Classes(folder) => self.train_on(folder),
                Chosen::Written(Ok(())) => {}
                Chosen::Written(Err(message)) => self.say(message),
                Chosen::NoDialog => self.say(
                    "no file dialog could be opened (it needs a desktop portal or zenity): to open files, drop them on the \
                     window, paste a path, or name them on the command line; to save results, use the `alexnet` command"
                        .into(),
                ),
            }
        }
        while let Ok(message) = self.device_errors.try_recv() {
            self.say(message);
        }
        while let Some(answer) = self.worker.answer() {
            self.take(answer);
        }
    }

    pub(super) fn arrived(&mut self, arrival: Arrival) {
        let clock = self.tick();
        match (arrival.known, arrival.result) {
            (None, Ok(opened)) => self.add(opened, clock),
            (None, Err(message)) => self.say(message),
            (Some(id), result) => {
                let Some(entry) = self.by_id(id) else { return };
                match result {
                    Ok(opened) => {
                        let size = [opened.picture.width(), opened.picture.height()];
                        // Another picture under the same name has other classes.
                        if entry.size != size {
                            entry.size = size;
                            (entry.classes, entry.explained, entry.heat) = (Classes::Unknown, None, None);
                            entry.features = None;
                            self.compare.forget(id);
                        }
                        let Some(entry) = self.by_id(id) else { return };
                        entry.pixels = Pixels::Here(Decoded::new(opened.picture, opened.shown, clock));
                    }
                    Err(message) => {
                        entry.pixels = Pixels::Lost(message.clone());
                        self.say(message);
                    }
                }
            }
        }
    }

    pub(super) fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }

    pub(super) fn add(&mut self, opened: Opened, clock: u64) {
        let id = self.next_id;
        self.next_id += 1;
        self.entries.push(Entry {
            id,
            name: opened.name,
            origin: opened.origin,
            size: [opened.picture.width(), opened.picture.height()],
            pixels: Pixels::Here(Decoded::new(opened.picture, opened.shown, clock)),
            thumbnail: self.ctx.load_texture("thumbnail", opened.thumbnail, TextureOptions::LINEAR),
            classes: Classes::Unknown,
            explained: None,
            heat: None,
            features: None,
        });
        if let Some(index) = self.to_select.take_if(|index| *index < self.entries.len()) {
            self.select(index);
        } else if std::mem::take(&mut self.show_next) {
            self.select(self.entries.len() - 1);
        }
    }

    pub(super) fn take(&mut self, answer: Answer) {
        match answer {
            Answer::Loading(what) => self.loading = Some(what),
            Answer::Loaded(id, loaded) => {
                if id == self.load_id {
                    self.loading = None;
                }
                self.settings.source = loaded.source.clone();
                self.settings.adapter = loaded.adapter.clone();
                self.tried.clear();
                let largest = self.ctx.input(|input| input.max_texture_side);
                self.filters = loaded
                    .filters
                    .as_ref()
                    .filter(|filters| filters.image.size.iter().all(|&side| side <= largest))
                    .map(|filters| self.ctx.load_texture("filters", filters.image.clone(), TextureOptions::NEAREST));
                self.loaded = Some(loaded);
                self.loaded_at = Instant::now();
                self.forget_maps();
                self.chosen_map = None;
                self.chosen_filter = None;
                self.times = Times::Unknown;
                let removed = self.removed.iter_mut().flatten().map(|(_, entry)| entry);
                for entry in self.entries.iter_mut().chain(removed) {
                    (entry.classes, entry.explained, entry.heat) = (Classes::Unknown, None, None);
                }
                self.forget_questions();
            }
            Answer::Classified(id, classes, took) => {
                self.classifying.retain(|&asked| asked != id);
                let probabilities = self.loaded.as_ref().is_some_and(|loaded| loaded.probabilities);
                if let Some(entry) = self.by_id(id) {
                    entry.classes = Classes::Known(Known { classes, probabilities, took });
                }
            }
            Answer::Maps(id, maps) => {
                if self.asked_maps == Some((id, maps.layer.clone(), maps.contrast)) {
                    self.forget_maps();
                    let sampler = wgpu::SamplerDescriptor {
                        mag_filter: wgpu::FilterMode::Nearest,
                        min_filter: wgpu::FilterMode::Linear,
                        ..Default::default()
                    };
                    let texture = match &maps.drawn {
                        Drawn::Maps(view, _) => {
                            let (device, mut renderer) = (&self.screen.device, self.screen.renderer.write());
                            Some(renderer.register_native_texture_with_sampler_options(device, view, sampler))
                        }
                        Drawn::Numbers(_) => None,
                    };
                    self.maps = Some((id, maps, texture));
                }
            }
            Answer::Heat(id, heat) => {
                if self.heat && self.asked_heat == Some((id, heat.class, heat.method)) {
                    let texture = self.ctx.load_texture("heat", heat.image(), TextureOptions::LINEAR);
                    if let Some(entry) = self.by_id(id) {
                        entry.heat = Some((heat, texture));
                    }
                }
            }
            Answer::Described(id, features) => self.described(id, Ok(features)),
            Answer::Compared(pair, compared) => {
                if self.compare.asked == Some(pair) {
                    let map = self.ctx.load_texture("distances", compared.map.clone(), TextureOptions::LINEAR);
                    self.compare.result = Some((pair, compared, map));
                }
            }
            Answer::Times(times) => self.times = Times::Known(times),
            Answer::Adapters(adapters) => self.adapters = Some(adapters),
            Answer::Failed(work, reason) => self.failed(work, reason),
            Answer::AdapterLost(name) => self.adapter_lost(&name),
        }
    }

    /// Whatever failed is no longer waited for, says why, and can be asked for again.
    pub(super) fn failed(&mut self, work: Work, reason: String) {
        match work {
            Work::Load(id) => {
                if id == self.load_id {
                    self.loading = None;
                    // What was asked for before was dropped.
                    self.forget_questions();
                }
                self.messages.say_of_load(reason);
                if self.loaded.is_none() && id == self.load_id {
                    self.fall_back();
                }
            }
            Work::Classes(id) => {
                self.classifying.retain(|&asked| asked != id);
                let Some(entry) = self.by_id(id) else { return };
                entry.classes = Classes::Failed(reason.clone());
                let message = format!("{}: {reason}", entry.name);
                self.say(message);
            }
            // What is no longer wanted may fail in silence.
            Work::Maps(id, layer, contrast) => {
                if self.asked_maps == Some((id, layer, contrast)) {
                    self.maps_failed = Some(reason);
                }
            }
            Work::Heat(id, class, method) => {
                if self.asked_heat == Some((id, class, method)) {
                    self.heat = false;
                    self.say(format!("no heat map: {reason}"));
                }
            }
            Work::Features(id) => self.described(id, Err(reason)),
            Work::Comparison(pair) => {
                if self.compare.asked == Some(pair) {
                    self.compare.failed = Some(reason);
                }
            }
            Work::Times => self.times = Times::Failed(reason),
            Work::Adapters => {
                self.asked_adapters = false;
                self.say(format!("no list of adapters: {reason}"));
            }
        }
    }

    /// Puts the network on that device anew, or where that is of no use, on the window's.
    pub(super) fn adapter_lost(&mut self, name: &str) {
        self.loaded = None;
        if self.loading.is_some() {
            // Something else is on its way.
            return;
        }
        if self.loaded_at.elapsed() > WORTH_A_TRY {
            self.say(format!("{name} was lost: the network was loaded on it again"));
            self.load(self.settings.source.clone(), self.settings.adapter.clone());
        } else {
            self.say(format!("{name} was lost: the network now runs on the window's adapter"));
            self.load(self.settings.source.clone(), Adapter::Window);
        }
    }

    /// What was asked for and not answered is asked for again, if it is still wanted.
    pub(super) fn forget_questions(&mut self) {
        self.classifying.clear();
        self.asked_maps = None;
        self.maps_failed = None;
        self.asked_heat = None;
        self.compare.forget_question();
        if let Some(sorting) = &mut self.sorting {
            sorting.asked = None;
        }
        if matches!(self.times, Times::Asked) {
            self.times = Times::Unknown;
        }
        for entry in &mut self.entries {
            if matches!(entry.classes, Classes::Asked) {
                entry.classes = Classes::Unknown;
            }
        }
    }

    pub(crate) fn try_again(&mut self) {
        self.forget_questions();
        if let Some(entry) = self.entries.get_mut(self.selected) {
            if matches!(entry.classes, Classes::Failed(_)) {
                entry.classes = Classes::Unknown;
            }
            if matches!(entry.pixels, Pixels::Lost(_)) {
                entry.pixels = Pixels::Gone;
            }
        }
        if matches!(self.times, Times::Failed(_)) {
            self.times = Times::Unknown;
        }
    }

    pub(super) fn forget_maps(&mut self) {
        if let Some((_, _, Some(texture))) = self.maps.take() {
            self.screen.renderer.write().free_texture(&texture);
        }
    }

    /// Asks the worker for what is shown and not yet known, and the loader for pixels that are needed.
    pub(super) fn ask(&mut self) {
        self.selected = self.selected.min(self.entries.len().saturating_sub(1));
        let clock = self.tick();
        let other = self.other().filter(|_| self.settings.view == View::Compare);
        for (index, entry) in self.entries.iter_mut().enumerate() {
            let needed = index == self.selected || Some(index) == other;
            match &mut entry.pixels {
                Pixels::Here(decoded) if needed => decoded.used = clock,
                Pixels::Here(decoded) => {
                    // Textures are for what is on the screen.
                    for (_, texture) in &mut decoded.shown {
                        *texture = None;
                    }
                }
                pixels @ Pixels::Gone if needed => {
                    self.reloader.open_again(entry.id, entry.origin.clone());
                    *pixels = Pixels::Asked;
                }
                _ => {}
            }
        }
        // What is asked for while a model is loaded would be dropped, or be about the wrong one.
        if self.loaded.is_some() && self.loading.is_none() {
            self.ask_worker();
        }
        self.give_up_pixels();
    }

    /// Asks for classes: of the picture that is shown at once, of a few others ahead of their turn.
    fn ask_for_classes(&mut self) {
        let (before, from) = self.entries.split_at_mut(self.selected);
        let mut shown = from.iter().next().map(|entry| entry.id);
        let mut decoding = false;
        let mut gone = None;
        for entry in from.iter_mut().chain(before) {
            let is_shown = shown.take() == Some(entry.id);
            if !matches!(entry.classes, Classes::Unknown) {
                continue;
            }
            match &entry.pixels {
                Pixels::Here(decoded) if is_shown || self.classifying.len() < AHEAD => {
                    let picture = decoded.picture.clone();
                    let request = if is_shown { Request::Classify } else { Request::ClassifyAhead };
                    self.worker.ask(request(entry.id, picture));
                    entry.classes = Classes::Asked;
                    self.classifying.push(entry.id);
                }
                Pixels::Here(_) => return,
                Pixels::Asked => decoding = true,
                Pixels::Gone => gone = gone.or(Some(entry)),
                Pixels::Lost(_) => {}
            }
        }
        // One at a time, so that memory stays bounded.
        if let Some(entry) = gone.filter(|_| !decoding && self.classifying.is_empty()) {
            self.reloader.open_again(entry.id, entry.origin.clone());
            entry.pixels = Pixels::Asked;
        }
    }

    pub(super) fn ask_worker(&mut self) {
        self.ask_for_classes();
        self.ask_for_features();
        if matches!((self.settings.view, &self.times), (View::Timing, Times::Unknown)) {
            self.times = Times::Asked;
            self.worker.ask(Request::Profile);
        }
        let Some(entry) = self.entries.get(self.selected) else { return };
        let Some(picture) = entry.picture() else { return };
        if self.settings.view == View::Layers
            && let Some(layer) = self.layer()
        {
            let wanted = Some((entry.id, layer.to_string(), self.settings.contrast));
            if wanted != self.asked_maps {
                let (picture, layer, contrast) = (picture.clone(), layer.to_string(), self.settings.contrast);
                self.worker.ask(Request::Maps(entry.id, picture, layer, contrast));
                self.asked_maps = wanted;
                self.maps_failed = None;
            }
        }
        if self.settings.view == View::Compare
            && let Some(other) = self.other().map(|other| &self.entries[other])
            && let Some(pictures) = entry.picture().zip(other.picture())
        {
            let pair = [entry.id, other.id];
            if self.compare.asked != Some(pair) {
                self.worker.ask(Request::Compare(pair, [pictures.0.clone(), pictures.1.clone()]));
                (self.compare.asked, self.compare.failed) = (Some(pair), None);
            }
        }
        let entry = &self.entries[self.selected];
        let method = self.settings.method;
        let is_it = |heat: &Heat, class| heat.class == class && heat.method == method && heat.progress() >= 1.0;
        let known = |class| entry.heat.as_ref().is_some_and(|(heat, _)| is_it(heat, class));
        let wanted = entry.class().filter(|&class| self.heat && !known(class)).map(|class| (entry.id, class, method));
        if wanted != self.asked_heat {
            self.worker.ask(match (wanted, entry.picture()) {
                (Some((id, class, method)), Some(picture)) => Request::Explain(id, picture.clone(), class, method),
                _ => Request::StopExplaining,
            });
            self.asked_heat = wanted;
        }
    }

    /// Gives up decoded pixels while there are too many: of classified pictures those that were not shown for longest, of
    /// others those whose turn comes last. What is shown stays.
    pub(super) fn give_up_pixels(&mut self) {
        let mut bytes = self.decoded_bytes();
        let other = self.other().filter(|_| self.settings.view == View::Compare);
        while bytes > self.picture_bytes {
            let last = |(index, entry): &(usize, &mut Entry)| match &entry.pixels {
                Pixels::Here(decoded) if *index != self.selected && Some(*index) != other => match entry.classes {
                    Classes::Unknown => Some((1, u64::MAX - *index as u64)),
                    _ => Some((0, decoded.used)),
                },
                _ => None,
            };
            let candidates = self.entries.iter_mut().enumerate();
            let Some((_, (_, entry))) =
                candidates.filter_map(|candidate| Some((last(&candidate)?, candidate))).min_by_key(|(order, _)| *order)
            else {
                return;
            };
            if let Pixels::Here(decoded) = std::mem::replace(&mut entry.pixels, Pixels::Gone) {
                bytes -= decoded.bytes();
            }
        }
    }
}
