//! The program that compares two pictures of one size.

use super::{
    CompareError, Lpips,
    tiles::{Field, Piece, Tiles, fields},
};
use crate::{
    kernels::{
        KernelConfig, Precision, RowsLayout, Storage,
        binding::{BIAS, X, Y},
        compare::{self, LayerMap, PIXEL_RUN, Part},
        reduce::Reduced,
    },
    lower::{self, input_array, lower_layer},
    network::{Network, NetworkError},
    picture::Preprocessing,
    program::{Algorithms, Array, ArrayId, Options, Pass, Program, ProgramError, Role, read, write},
    shape::Shape,
};

/// A program that compares two pictures: the trunk on a batch of both, distances after each layer, then sums and maxima.
#[derive(Debug)]
pub(crate) struct PairProgram {
    pub program: Program,
    /// The trunk for one tile.
    pub network: Network,
    pub preprocessing: Preprocessing,
    /// Rows and columns of the pictures.
    pub size: [usize; 2],
    pub tiles: Tiles,
    /// The input of a tile, whose batch is the pair.
    pub input: ArrayId,
    pub layout: RowsLayout,
    /// For each step of the forward pass, the tile that alone takes it; `None` for all tiles.
    tile_of: Vec<Option<usize>>,
    /// The layers' maps in `distances`.
    pub maps: Vec<LayerMap>,
    pub distances: ArrayId,
    /// vec4s: for each layer, the map and the pixels, a sum, a count, the largest.
    pub results: ArrayId,
}

/// How a pair is lowered.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PairOptions<'a> {
    pub config: KernelConfig,
    pub algorithms: &'a Algorithms,
    /// The maximum number of vec4s in one binding.
    pub limit: u64,
    /// The most pixels in a tile.
    pub max_pixels: usize,
}

impl PairProgram {
    /// Results in [`PairProgram::results`] after those of the layers: the largest value of the map, and the pixels.
    pub const MAP: usize = 0;
    pub const PIXELS: usize = 1;

    /// The program for pictures of `size` (rows and columns).
    pub fn lower(lpips: &Lpips, size: [usize; 2], options: PairOptions<'_>) -> Result<Self, CompareError> {
        let PairOptions { config, algorithms, limit, max_pixels } = options;
        let layers = lpips.network.layers();
        let tiles = Tiles::of(size, layers, max_pixels);
        let [height, width] = tiles.size();
        let network = lpips.network.with_input(Shape::new(3, height, width))?;
        let preprocessing = lpips.preprocessing.whole(network.input());
        let lower = Options { config, batch: 2, precision: Precision::F32, algorithms, limit, top: 0 };
        let mut program = Program::default();
        // Filled before each tile, when nothing else is in use.
        let (input, layout) = input_array(&mut program, &network, lower, Role::Temporary);
        let Some(layout) = layout else {
            let (layer, expected) =
                (layers[0].name.clone(), "a stride of whole vec4s of the picture's channels".into());
            return Err(NetworkError::Shape { layer, expected, input: network.input() }.into());
        };
        let maps = maps(lpips, size)?;
        let distances = distances(&mut program, &maps);
        let results = Array::quads("results", maps.len() + 2, Storage::StorageBuffer, Role::Output);
        let results = program.array(results);
        let runs = size[1].div_ceil(PIXEL_RUN);
        let pixels = Array::quads("pixel differences", size[0] * runs, Storage::StorageBuffer, Role::Output);
        let pixels = program.array(pixels);

        let mut lowering = PairLowering { program, tile_of: vec![] };
        let scale = [0, 1, 2].map(|channel| preprocessing.std[channel] / preprocessing.scale);
        for (tile, pieces) in tiles.iter().enumerate() {
            let [row, column] = pieces.map(|piece| piece.own.start);
            let first = pieces.map(|piece| piece.own.start - piece.start);
            let first_out = row * runs + column / PIXEL_RUN;
            let part = Part { first, size: pieces.map(|piece| piece.own.len()), first_out, out_width: runs };
            let work = compare::pixel_difference(layout, part, scale);
            lowering.program.dispatch("pixels", work, &[read(X, input), write(Y, pixels)])?;
            lowering.end_step(Pass::DISTANCE, 0, Some(tile));
        }
        let fields = [0, 1].map(|axis| fields(network.layers(), axis));
        let mut x = input;
        for (index, layer) in network.layers().iter().enumerate() {
            x = lower_layer(&mut lowering.program, lower, layer, x, (index == 0).then_some(layout))?;
            lowering.end_step(Pass::FORWARD, index, None);
            let Some(compared) = lpips.compared.iter().position(|name| *name == layer.name) else { continue };
            let weights = lpips.distance_weights(&mut lowering.program, compared, layer.output.channels);
            let bound = [read(X, x), write(Y, distances), read(BIAS, weights)];
            for (tile, pieces) in tiles.iter().enumerate() {
                let part = part_of(pieces, size, [fields[0][index], fields[1][index]], maps[compared]);
                let Shape { channels, height, width } = layer.output;
                let work = compare::lpips_distance([height, width, channels.div_ceil(4)], part);
                lowering.program.dispatch(&layer.name, work, &bound)?;
                lowering.end_step(Pass::DISTANCE, index, Some(tile));
            }
        }

        let PairLowering { mut program, tile_of } = lowering;
        reduce_maps(&mut program, distances, &maps, results)?;
        let largest = program.array(Array::quads("map", size[0] * runs, Storage::StorageBuffer, Role::Temporary));
        let work = compare::lpips_map(size, &maps);
        program.dispatch("map", work, &[read(X, distances), write(Y, largest)])?;
        for (array, result) in [(largest, Self::MAP), (pixels, Self::PIXELS)] {
            lower::reduce(
                &mut program,
                (array, (0, size[0] * runs), Reduced::Results),
                (results, maps.len() + result),
            )?;
        }
        program.end_step(Pass::REDUCTION, network.layers().len() - 1);
        Ok(Self { program, network, preprocessing, size, tiles, input, layout, tile_of, maps, distances, results })
    }

    /// The steps of a tile, in order.
    pub fn steps_of(&self, tile: usize) -> impl Iterator<Item = usize> {
        let takes = move |&(_, of): &(usize, &Option<usize>)| of.is_none_or(|of| of == tile);
        self.tile_of.iter().enumerate().filter(takes).map(|(step, _)| step)
    }

    /// The steps after the tiles: sums and maxima.
    pub fn reductions(&self) -> std::ops::Range<usize> {
        self.tile_of.len()..self.program.steps.len()
    }
}

/// A program whose steps may belong to one tile.
struct PairLowering {
    program: Program,
    tile_of: Vec<Option<usize>>,
}

impl PairLowering {
    fn end_step(&mut self, pass: Pass, layer: usize, tile: Option<usize>) {
        self.program.end_step(pass, layer);
        self.tile_of.resize(self.program.steps.len(), tile);
    }
}

/// The array of the layers' maps.
pub(super) fn distances(program: &mut Program, maps: &[LayerMap]) -> ArrayId {
    let values: usize = maps.last().map_or(0, |map| map.first + (map.height * map.width).next_multiple_of(4));
    // Values between the maps stay zero.
    program.array(Array::quads("distances", values / 4, Storage::StorageBuffer, Role::State))
}

/// Adds the sum and the largest value of each layer's map, to the first of `results`.
pub(super) fn reduce_maps(
    program: &mut Program,
    distances: ArrayId,
    maps: &[LayerMap],
    results: ArrayId,
) -> Result<(), ProgramError> {
    for (index, map) in maps.iter().enumerate() {
        let quads = (map.first / 4, (map.height * map.width).div_ceil(4));
        lower::reduce(program, (distances, quads, Reduced::Scalars), (results, index))?;
    }
    Ok(())
}

/// The mean distance of each layer, of the results that [`reduce_maps`] leaves.
pub(super) fn layer_means(maps: &[LayerMap], results: &[[f32; 4]]) -> [f64; 5] {
    std::array::from_fn(|index| {
        let sum = results.get(index).copied().unwrap_or_default()[0];
        f64::from(sum) / (maps[index].height * maps[index].width) as f64
    })
}

/// The part of a layer's map that a tile computes, of a picture of `size`.
fn part_of(pieces: [&Piece; 2], size: [usize; 2], fields: [Field; 2], map: LayerMap) -> Part {
    let positions = [map.height, map.width];
    // The first position in the tile and in the whole map, and their number.
    let [y, x] = [0, 1].map(|axis| {
        let (Piece { start, own }, stride) = (pieces[axis], fields[axis].stride);
        let begin = own.start / stride;
        let end = if own.end == size[axis] { positions[axis] } else { own.end / stride };
        (begin - start / stride, begin, end - begin)
    });
    let first_out = map.first + y.1 * map.width + x.1;
    Part { first: [y.0, x.0], size: [y.2, x.2], first_out, out_width: map.width }
}

/// The compared layers' maps, in order.
pub(super) fn maps(lpips: &Lpips, size: [usize; 2]) -> Result<Vec<LayerMap>, NetworkError> {
    let mut shape = Shape::new(3, size[0], size[1]);
    let mut maps: Vec<LayerMap> = Vec::new();
    for layer in lpips.network.layers() {
        let fail = |expected| NetworkError::Shape { layer: layer.name.clone(), expected, input: shape };
        shape = layer.op.output(shape).map_err(fail)?;
        if lpips.compared.contains(&layer.name.as_str()) {
            let first = maps.last().map_or(0, |map| map.first + (map.height * map.width).next_multiple_of(4));
            maps.push(LayerMap { first, height: shape.height, width: shape.width });
        }
    }
    Ok(maps)
}
