//! Tiles of a picture, with enough around them that each computes the same features as the whole picture.

use std::ops::Range;

use crate::{network::Layer, window::Window};

/// The most pixels that are computed at once. A picture of 1920×1080 is whole; larger ones are computed in tiles.
pub(crate) const MAX_PIXELS: usize = 2_400_000;

/// The longest side of a tile in pixels.
const MAX_SIDE: usize = 4096;

/// The receptive field of a layer along an axis: output j depends on pixels j · stride − before to j · stride + after.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Field {
    pub stride: usize,
    before: usize,
    after: usize,
}

/// The receptive field of each layer's output along `axis`.
pub(crate) fn fields(layers: &[Layer], axis: usize) -> Vec<Field> {
    let mut field = Field { stride: 1, before: 0, after: 0 };
    let grow = |layer: &Layer| {
        if let Some(window) = layer.op.operation().window() {
            let Window { stride, padding, .. } = window;
            let (padding, reach) = ([padding.top, padding.left][axis], window.span()[axis] - 1);
            field.before += field.stride * padding;
            field.after += field.stride * reach.saturating_sub(padding);
            field.stride *= stride[axis];
        }
        field
    };
    layers.iter().map(grow).collect()
}

/// A tile along one axis, in pixels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    /// Its first pixel, a multiple of every layer's stride.
    pub start: usize,
    /// The pixels whose features are taken from this tile. Ends are multiples of the strides, or the picture's.
    pub own: Range<usize>,
}

/// The tiles of one axis: all of the same length, which is that of the picture or less.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Axis {
    pub len: usize,
    pub pieces: Vec<Piece>,
}

impl Axis {
    /// Divides `pixels` into `count` tiles for layers with these receptive fields; `None` where fewer would do, or that
    /// many do not fit.
    fn new(pixels: usize, count: usize, fields: &[Field]) -> Option<Self> {
        let whole = Piece { start: 0, own: 0..pixels };
        if count == 1 {
            return Some(Self { len: pixels, pieces: vec![whole] });
        }
        let stride = fields.iter().map(|field| field.stride).max()?;
        let before = fields.iter().map(|field| field.before).max()?.next_multiple_of(stride);
        let after = fields.iter().map(|field| field.after + 1 - field.stride).max()?;
        let overlap = (before + after).next_multiple_of(stride);
        // Tiles begin at multiples of the stride, and the last one ends with the picture. So all have the picture's length
        // modulo the stride.
        let steps = (pixels / stride).checked_sub(overlap / stride)?.div_ceil(count);
        let len = overlap + steps * stride + pixels % stride;
        let last = pixels.checked_sub(len)?;
        let starts: Vec<usize> = (0..count).map(|i| (i * steps * stride).min(last)).collect();
        if steps == 0 || starts.windows(2).any(|pair| pair[0] == pair[1]) {
            return None;
        }
        let begin = |i: usize| if i == 0 { 0 } else { starts[i] + before };
        let end = |i: usize| if i + 1 == count { pixels } else { begin(i + 1) };
        let pieces = (0..count).map(|i| Piece { start: starts[i], own: begin(i)..end(i) }).collect();
        Some(Self { len, pieces })
    }
}

/// The tiles of a picture: those of its rows and of its columns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tiles(pub [Axis; 2]);

impl Tiles {
    /// Divides a picture of `size` (rows and columns) for `layers`, into as few pixels as possible in all, with at most
    /// `max_pixels` in a tile where the receptive fields leave a choice.
    pub fn of(size: [usize; 2], layers: &[Layer], max_pixels: usize) -> Self {
        let axes = [0, 1].map(|axis| {
            let fields = fields(layers, axis);
            let divided = (1..).map_while(|count| {
                // Beyond this, tiles are mostly overlap.
                (count == 1 || size[axis] / count >= 64).then(|| Axis::new(size[axis], count, &fields))
            });
            divided.flatten().collect::<Vec<Axis>>()
        });
        let [rows, columns] = &axes;
        let pairs = rows.iter().flat_map(|y| columns.iter().map(move |x| (y, x)));
        let fits = |(y, x): &(&Axis, &Axis)| y.len * x.len <= max_pixels && y.len.max(x.len) <= MAX_SIDE;
        let cost = |(y, x): &(&Axis, &Axis)| y.len * x.len * y.pieces.len() * x.pieces.len();
        let smallest = |(y, x): &(&Axis, &Axis)| (y.len * x.len, y.len.max(x.len));
        let best = pairs.clone().filter(fits).min_by_key(cost).or_else(|| pairs.min_by_key(smallest));
        let whole = |pixels| Axis { len: pixels, pieces: vec![Piece { start: 0, own: 0..pixels }] };
        Self(best.map_or_else(|| size.map(whole), |(y, x)| [y.clone(), x.clone()]))
    }

    /// Rows and columns of a tile.
    pub fn size(&self) -> [usize; 2] {
        [self.0[0].len, self.0[1].len]
    }

    /// Every tile: its pieces of rows and of columns.
    pub fn iter(&self) -> impl Iterator<Item = [&Piece; 2]> {
        let [rows, columns] = &self.0;
        rows.pieces.iter().flat_map(|y| columns.pieces.iter().map(move |x| [y, x]))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use super::*;
    use crate::{model::AlexNet, shape::Shape};

    fn layers() -> Vec<Layer> {
        AlexNet::TORCHVISION.network().unwrap().up_to("conv5").unwrap().layers().to_vec()
    }

    #[test]
    fn receptive_fields_are_those_of_alexnet() {
        let fields = fields(&layers(), 0);
        // conv1, pool1, conv2, pool2, conv3, conv4, conv5.
        let expected = [(4, 2, 8), (8, 2, 16), (8, 18, 32), (16, 18, 48), (16, 34, 64), (16, 50, 80), (16, 66, 96)];
        assert_eq!(fields, expected.map(|(stride, before, after)| Field { stride, before, after }));
    }

    /// Every pixel belongs to one tile, which has all that its features depend on.
    #[test]
    fn tiles_cover_the_picture_and_reach_far_enough() {
        let layers = layers();
        let trunk = AlexNet::TORCHVISION.network().unwrap().up_to("conv5").unwrap();
        for (size, max_pixels) in [
            ([31, 31], MAX_PIXELS),
            ([1080, 1920], MAX_PIXELS),
            ([2160, 3840], MAX_PIXELS),
            ([4320, 7680], MAX_PIXELS),
            ([40, 60_000], MAX_PIXELS),
            ([20_001, 10_003], MAX_PIXELS),
            ([500, 700], 100_000),
            ([333, 1000], 90_000),
        ] {
            let tiles = Tiles::of(size, &layers, max_pixels);
            let [height, width] = tiles.size();
            assert!(height * width <= max_pixels && height.max(width) <= MAX_SIDE, "{size:?}: {height}×{width}");
            for (axis, Axis { len, pieces }) in tiles.0.iter().enumerate() {
                let mut at = 0;
                for Piece { start, own } in pieces {
                    assert_eq!(own.start, at);
                    at = own.end;
                    assert!(start + len <= size[axis]);
                    let tile = trunk.with_input(Shape::new(3, height, width)).unwrap();
                    for (field, layer) in fields(&layers, axis).iter().zip(tile.layers()) {
                        let Field { stride, before, after } = *field;
                        let [first, end] = [own.start, own.end].map(|at| (at - start) / stride);
                        assert_eq!(start % stride, 0);
                        // What lies outside the picture is padding, whole or in tiles.
                        assert!(own.start == 0 || first * stride >= before, "{size:?}");
                        let within = own.end == size[axis] || (end - 1) * stride + after < *len;
                        assert!(within, "{size:?}: {own:?} of {start}+{len}, {}", layer.name);
                        assert!(own.end == size[axis] || end <= [layer.output.height, layer.output.width][axis]);
                    }
                }
                assert_eq!(at, size[axis]);
            }
        }
    }

    #[test]
    fn a_picture_of_full_hd_is_whole_and_larger_ones_waste_little() {
        let whole = Tiles::of([1080, 1920], &layers(), MAX_PIXELS);
        assert_eq!(whole.size(), [1080, 1920]);
        for size in [[2160, 3840], [4320, 7680]] {
            let tiles = Tiles::of(size, &layers(), MAX_PIXELS);
            let computed = tiles.iter().count() * tiles.size().iter().product::<usize>();
            let ratio = computed as f64 / (size[0] * size[1]) as f64;
            assert!(ratio < 1.3, "{size:?}: {ratio}");
        }
    }
}
