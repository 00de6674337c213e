//! Many small pictures of one size in one texture, and the grid that shows them.

use alexnet_wgpu::Shape;
use eframe::egui::{
    self, Color32, EventFilter, Key, Modifiers, Pos2, Rect, Response, Role, ScrollArea, Sense, Stroke, StrokeKind,
    TextureId, Ui, WidgetInfo, pos2, vec2,
};

/// The largest side of a texture that every adapter has (WebGPU's default limit).
const MAX_SIDE: usize = 8192;

/// How a texture is divided into tiles: row by row, from the top left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tiles {
    /// How many there are.
    pub count: usize,
    /// Rows of texels of each.
    pub height: usize,
    /// Columns of texels of each.
    pub width: usize,
    /// Tiles in a row of the texture.
    pub columns: usize,
}

impl Tiles {
    /// A nearly square texture of `count` tiles; `None` where no texture is large enough.
    pub fn new(count: usize, height: usize, width: usize) -> Option<Self> {
        let ratio = height as f64 / width as f64;
        let columns = ((count as f64 * ratio).sqrt().ceil() as usize).clamp(1, count.max(1));
        let tiles = Self { count, height, width, columns };
        tiles.size().iter().all(|side| (1..=MAX_SIDE).contains(side)).then_some(tiles)
    }

    /// One tile a map of an activation.
    pub fn of(shape: Shape) -> Option<Self> {
        Self::new(shape.channels, shape.height, shape.width)
    }

    /// Columns and rows of the texture.
    pub fn size(&self) -> [usize; 2] {
        [self.columns * self.width, self.count.div_ceil(self.columns) * self.height]
    }

    /// The column and the row of a tile's first texel.
    pub fn corner(&self, tile: usize) -> [usize; 2] {
        [tile % self.columns * self.width, tile / self.columns * self.height]
    }

    /// Where a tile lies in the texture.
    fn uv(&self, tile: usize) -> Rect {
        let [width, height] = self.size().map(|side| side as f32);
        // A little short of the edges, so that no neighbour shows.
        let inset = |at: usize, len: usize| [(at * len) as f32 + 0.02, ((at + 1) * len) as f32 - 0.02];
        let [left, right] = inset(tile % self.columns, self.width);
        let [top, bottom] = inset(tile / self.columns, self.height);
        Rect::from_min_max(pos2(left / width, top / height), pos2(right / width, bottom / height))
    }

    /// The columns of a grid in `area` that shows the tiles as large as they fit, and the width of a cell.
    fn fit(&self, area: egui::Vec2, smallest: f32) -> (usize, f32) {
        let ratio = self.height as f32 / self.width as f32;
        let fits = |columns: usize| {
            let rows = self.count.div_ceil(columns) as f32;
            (area.x / columns as f32).min(area.y / rows / ratio)
        };
        let most = ((area.x / smallest) as usize).clamp(1, self.count.max(1));
        let cell = |&columns: &usize| fits(columns);
        let columns = (1..=most).max_by(|a, b| cell(a).total_cmp(&cell(b))).unwrap_or(1);
        (columns, fits(columns).clamp(smallest.min(area.x), area.x.max(1.0)))
    }
}

/// Shows the tiles in a grid that fills `ui`; the one under the pointer larger. `name` says what tile `i` is, and
/// `chosen` is the one that is shown alone, changed by a click; by keyboard, arrows go from tile to tile where the grid has
/// the focus.
pub fn grid(
    ui: &mut Ui,
    texture: TextureId,
    tiles: &Tiles,
    what: &str,
    name: impl Fn(usize) -> String,
    chosen: &mut Option<usize>,
) -> Response {
    *chosen = chosen.filter(|&tile| tile < tiles.count && tiles.count > 1);
    let area = ui.available_size();
    if let Some(tile) = *chosen {
        let size = fitted(tiles, area - vec2(0.0, 28.0));
        ui.horizontal(|ui| {
            if ui.button("All").on_hover_text("Back to all of them (Esc)").clicked() {
                *chosen = None;
            }
            ui.label(name(tile));
        });
        let (rect, response) = ui.allocate_exact_size(size, Sense::click());
        ui.painter().image(texture, rect, tiles.uv(tile), Color32::WHITE);
        response.widget_info(|| WidgetInfo::labeled(Role::Image, true, name(tile)));
        if response.clicked() {
            *chosen = None;
        }
        return response;
    }
    let scroll = ScrollArea::vertical().auto_shrink(false).id_salt(what);
    scroll
        .show(ui, |ui| {
            let (columns, cell) = tiles.fit(area - vec2(ui.spacing().scroll.bar_width, 2.0), 20.0);
            let cell = vec2(cell, cell * tiles.height as f32 / tiles.width as f32);
            let rows = tiles.count.div_ceil(columns);
            let (rect, response) =
                ui.allocate_exact_size(vec2(cell.x * columns as f32, cell.y * rows as f32), Sense::click());
            response.widget_info(|| WidgetInfo::labeled(Role::Image, true, what));
            let gap = if tiles.count > 1 { (cell.x * 0.04).clamp(1.0, 4.0) } else { 0.0 };
            let place = |tile: usize| {
                let corner = rect.min + vec2((tile % columns) as f32 * cell.x, (tile / columns) as f32 * cell.y);
                Rect::from_min_size(corner, cell).shrink(gap / 2.0)
            };
            for tile in 0..tiles.count {
                let cell = place(tile);
                if ui.is_rect_visible(cell) {
                    ui.painter().image(texture, cell, tiles.uv(tile), Color32::WHITE);
                }
            }
            let at = |pointer: Pos2| {
                let column = ((pointer.x - rect.left()) / cell.x) as usize;
                let row = ((pointer.y - rect.top()) / cell.y) as usize;
                Some(row * columns + column).filter(|&tile| column < columns && tile < tiles.count)
            };
            if tiles.count == 1 {
                return response;
            }
            let pointed = response.hover_pos().and_then(at);
            let focused = if response.has_focus() { Some(walk(ui, &response, columns, tiles.count)) } else { None };
            if let Some((tile, true)) = focused {
                ui.scroll_to_rect(place(tile), None);
            }
            let Some(tile) = pointed.or(focused.map(|(tile, _)| tile)) else { return response };
            let stroke = Stroke::new(2.0, ui.visuals().selection.bg_fill);
            ui.painter().rect_stroke(place(tile), 0.0, stroke, StrokeKind::Outside);
            if response.clicked() {
                *chosen = Some(tile);
            }
            response.on_hover_ui_at_pointer(|ui| {
                ui.label(name(tile));
                let (rect, _) = ui.allocate_exact_size(fitted(tiles, vec2(240.0, 240.0)), Sense::hover());
                ui.painter().image(texture, rect, tiles.uv(tile), Color32::WHITE);
            })
        })
        .inner
}

/// Which tile of a grid with the focus the keyboard is at, and whether that has changed.
pub(crate) fn walk(ui: &Ui, grid: &Response, columns: usize, count: usize) -> (usize, bool) {
    let arrows = EventFilter { horizontal_arrows: true, vertical_arrows: true, ..Default::default() };
    ui.memory_mut(|memory| memory.set_focus_lock_filter(grid.id, arrows));
    let before = ui.data(|data| data.get_temp::<usize>(grid.id));
    let mut tile = before.unwrap_or(0).min(count - 1);
    let steps = [
        (Key::ArrowRight, 1),
        (Key::ArrowLeft, -1),
        (Key::ArrowDown, columns as isize),
        (Key::ArrowUp, -(columns as isize)),
    ];
    for (key, step) in steps {
        for _ in 0..ui.input_mut(|input| input.count_and_consume_key(Modifiers::NONE, key)) {
            tile = tile.checked_add_signed(step).filter(|&to| to < count).unwrap_or(tile);
        }
    }
    ui.data_mut(|data| data.insert_temp(grid.id, tile));
    (tile, before != Some(tile))
}

/// The size of one tile as large as it fits.
fn fitted(tiles: &Tiles, area: egui::Vec2) -> egui::Vec2 {
    let size = vec2(tiles.width as f32, tiles.height as f32);
    size * (area.x / size.x).min(area.y / size.y).max(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn textures_are_nearly_square_and_hold_all_tiles() {
        let conv1 = Tiles::of(Shape::new(96, 55, 55)).expect("fits");
        assert_eq!(conv1.columns, 10);
        assert_eq!(conv1.size(), [550, 550]);
        assert_eq!(Tiles::new(4096, 500, 500), None);
    }

    #[test]
    fn a_grid_fills_its_area() {
        let tiles = Tiles::new(96, 55, 55).expect("fits");
        let (columns, cell) = tiles.fit(vec2(1200.0, 800.0), 20.0);
        assert_eq!(columns, 12);
        assert!((cell - 100.0).abs() < 1e-3);
        // Too small for all: cells keep their least size, and the grid scrolls.
        let (columns, cell) = tiles.fit(vec2(60.0, 40.0), 20.0);
        assert_eq!((columns, cell), (3, 20.0));
    }
}
