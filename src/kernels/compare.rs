//! Comparison of two images: shaders/lpips_distance.wgsl, lpips_gradient.wgsl, lpips_map.wgsl and pixel_difference.wgsl.

use super::{Kernel, RowsLayout, WORKGROUP, Work};

/// Pixels that an invocation reduces to one result.
pub(crate) const PIXEL_RUN: usize = 16;

/// A range of positions in a map, and its place in the whole map.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Part {
    /// The first row and column.
    pub first: [usize; 2],
    /// Rows and columns.
    pub size: [usize; 2],
    /// The index of the first position in the whole map.
    pub first_out: usize,
    /// Columns of the whole map.
    pub out_width: usize,
}

/// The uniform of lpips_distance.wgsl.
#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Distance {
    width: u32,
    quads: u32,
    image_quads: u32,
    first_row: u32,
    first_column: u32,
    columns: u32,
    first_out: u32,
    out_width: u32,
}

/// The distances between the features of two images, of `height` × `width` positions with `quads` vec4s each.
pub(crate) fn lpips_distance([height, width, quads]: [usize; 3], part: Part) -> Work {
    let [rows, columns] = part.size;
    let uniform = Distance {
        width: width as u32,
        quads: quads as u32,
        image_quads: (height * width * quads) as u32,
        first_row: part.first[0] as u32,
        first_column: part.first[1] as u32,
        columns: columns as u32,
        first_out: part.first_out as u32,
        out_width: part.out_width as u32,
    };
    let workgroups = [(columns as u32).div_ceil(WORKGROUP), rows as u32, 1];
    Work::new(Kernel::pointwise("lpips_distance"), bytemuck::bytes_of(&uniform), workgroups)
}

/// The uniform of lpips_gradient.wgsl.
#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Gradient {
    positions: u32,
    quads: u32,
    first_out: u32,
    share: f32,
}

/// The distances between the features of two images, of which `map` says where they go, and the gradient of their mean. `added`
/// is whether a gradient from the layers after it is added.
pub(crate) fn lpips_gradient(map: LayerMap, quads: usize, added: bool) -> Work {
    let positions = map.height * map.width;
    let uniform = Gradient {
        positions: positions as u32,
        quads: quads as u32,
        first_out: map.first as u32,
        share: 1.0 / positions as f32,
    };
    let mut kernel = Kernel::pointwise("lpips_gradient");
    kernel.settings.push(("ADDED", added.into()));
    Work::new(kernel, bytemuck::bytes_of(&uniform), [(positions as u32).div_ceil(WORKGROUP), 1, 1])
}

/// One layer's map of distances in the array of all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LayerMap {
    /// Index of its first value, a multiple of four.
    pub first: usize,
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
}

/// The largest values of the sum of the layers' maps, for an image of `height` × `width` pixels.
pub(crate) fn lpips_map([height, width]: [usize; 2], maps: &[LayerMap]) -> Work {
    let runs = width.div_ceil(PIXEL_RUN);
    let layers = maps.iter().flat_map(|map| [map.first, map.height, map.width, 0]);
    let uniform: Vec<u32> = [height, width, runs, 0].into_iter().chain(layers).map(|n| n as u32).collect();
    let settings = [("WORKGROUP", WORKGROUP), ("RUN", PIXEL_RUN as u32), ("LAYERS", maps.len() as u32)];
    let workgroups = [(runs as u32).div_ceil(WORKGROUP), height as u32, 1];
    Work::new(Kernel::new("lpips_map", settings), bytemuck::cast_slice(&uniform), workgroups)
}

/// The uniform of pixel_difference.wgsl.
#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Difference {
    row_quads: u32,
    image_quads: u32,
    pad_left: u32,
    first_row: u32,
    first_column: u32,
    columns: u32,
    first_out: u32,
    out_runs: u32,
    scale: [f32; 4],
}

/// The differences between samples of two images in `layout`. Columns of `part` are pixels, `out_width` and `first_out` count
/// runs of [`PIXEL_RUN`]. `scale` converts a difference of input values to one of samples.
pub(crate) fn pixel_difference(layout: RowsLayout, part: Part, scale: [f32; 3]) -> Work {
    let [rows, columns] = part.size;
    let [r, g, b] = scale;
    let uniform = Difference {
        row_quads: layout.row_quads as u32,
        image_quads: layout.quads() as u32,
        pad_left: layout.pad_left() as u32,
        first_row: part.first[0] as u32,
        first_column: part.first[1] as u32,
        columns: columns as u32,
        first_out: part.first_out as u32,
        out_runs: part.out_width as u32,
        scale: [r, g, b, 0.0],
    };
    let settings = [("WORKGROUP", WORKGROUP), ("RUN", PIXEL_RUN as u32)];
    let workgroups = [(columns.div_ceil(PIXEL_RUN) as u32).div_ceil(WORKGROUP), rows as u32, 1];
    Work::new(Kernel::new("pixel_difference", settings), bytemuck::bytes_of(&uniform), workgroups)
}
