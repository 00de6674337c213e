//! The part of a picture that is shown enlarged.

use eframe::egui::{Pos2, Rect, Vec2, vec2};

use crate::worker::PictureId;

/// How many times a picture can be enlarged.
const MOST: f32 = 40.0;

/// The zoom of one picture; another one starts unzoomed.
pub(crate) struct Zoom {
    of: Option<PictureId>,
    factor: f32,
    /// The point in the middle, in 0…1 of the picture's width and height.
    centre: Vec2,
}

impl Default for Zoom {
    fn default() -> Self {
        Self { of: None, factor: 1.0, centre: vec2(0.5, 0.5) }
    }
}

impl Zoom {
    /// Goes back to the whole picture where it is another one.
    pub fn is_of(&mut self, picture: PictureId) {
        if self.of != Some(picture) {
            *self = Self { of: Some(picture), ..Self::default() };
        }
    }

    /// Shows the whole picture.
    pub fn reset(&mut self) {
        *self = Self { of: self.of, ..Self::default() };
    }

    /// Whether only a part is shown.
    pub fn is_zoomed(&self) -> bool {
        self.factor > 1.0
    }

    /// Where the picture is, of which `fitted` is the place when all of it is shown in `area`.
    pub fn place(&self, area: Rect, fitted: Rect) -> Rect {
        let size = fitted.size() * self.factor;
        Rect::from_min_size(area.center() - self.centre * size, size)
    }

    /// Enlarges by `times`; what is at `pointer` stays there.
    pub fn zoom(&mut self, area: Rect, fitted: Rect, pointer: Pos2, times: f32) {
        let before = self.place(area, fitted);
        let at = (pointer - before.min) / before.size();
        self.factor = (self.factor * times).clamp(1.0, MOST);
        let size = fitted.size() * self.factor;
        self.centre = at - (pointer - area.center()) / size;
        self.keep_inside(area, size);
    }

    /// Moves the picture by `delta` points.
    pub fn pan(&mut self, area: Rect, fitted: Rect, delta: Vec2) {
        let size = fitted.size() * self.factor;
        self.centre -= delta / size;
        self.keep_inside(area, size);
    }

    /// Leaves no room empty that the picture could fill.
    fn keep_inside(&mut self, area: Rect, size: Vec2) {
        let bound = |centre: f32, room: f32, length: f32| {
            let half = (0.5 * room / length).min(0.5);
            centre.clamp(half, 1.0 - half)
        };
        self.centre = vec2(bound(self.centre.x, area.width(), size.x), bound(self.centre.y, area.height(), size.y));
    }
}

/// The place of a picture of `size` that is as large as it fits in `area`.
pub(crate) fn fit(area: Rect, size: Vec2) -> Rect {
    let size = size * (area.width() / size.x).min(area.height() / size.y);
    Rect::from_center_size(area.center(), size)
}

#[cfg(test)]
mod tests {
    use eframe::egui::pos2;

    use super::*;

    #[test]
    fn what_is_under_the_pointer_stays_there() {
        let area = Rect::from_min_size(pos2(10.0, 20.0), vec2(400.0, 300.0));
        let fitted = fit(area, vec2(200.0, 100.0));
        assert_eq!(fitted.size(), vec2(400.0, 200.0));
        let mut zoom = Zoom::default();
        assert_eq!(zoom.place(area, fitted), fitted);
        let pointer = pos2(110.0, 170.0);
        let at = |zoom: &Zoom| (pointer - zoom.place(area, fitted).min) / zoom.place(area, fitted).size();
        let before = at(&zoom);
        zoom.zoom(area, fitted, pointer, 3.0);
        assert!(zoom.is_zoomed() && (at(&zoom) - before).length() < 1e-4);
        // It fills the area, however far it is pushed.
        zoom.pan(area, fitted, vec2(1e5, -1e5));
        let place = zoom.place(area, fitted);
        assert!((place.left() - area.left()).abs() < 1e-2 && (place.bottom() - area.bottom()).abs() < 1e-2, "{place}");
        zoom.zoom(area, fitted, pointer, 1e-3);
        assert!(!zoom.is_zoomed() && (zoom.place(area, fitted).min - fitted.min).length() < 1e-2);
        // Another picture is shown whole.
        zoom.is_of(1);
        zoom.zoom(area, fitted, pointer, 2.0);
        zoom.is_of(1);
        assert!(zoom.is_zoomed());
        zoom.is_of(2);
        assert!(!zoom.is_zoomed());
    }
}
