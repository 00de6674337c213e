//! The map of distances between two pictures.

use crate::kernels::compare::LayerMap;

/// LPIPS at every pixel: the distances of each layer, resized bilinearly to the pictures' size, and summed.
#[derive(Clone, Debug, PartialEq)]
pub struct DistanceMap {
    size: [usize; 2],
    /// Rows, columns and values of each layer's map.
    layers: Vec<([usize; 2], Vec<f32>)>,
}

impl DistanceMap {
    /// The layers' maps in `distances`, for pictures of `size`.
    pub(super) fn new(size: [usize; 2], maps: &[LayerMap], distances: &[f32]) -> Self {
        let layer = |&LayerMap { first, height, width }: &LayerMap| {
            ([height, width], distances[first..][..height * width].to_vec())
        };
        Self { size, layers: maps.iter().map(layer).collect() }
    }

    /// Returns the width in pixels, that of the pictures.
    pub fn width(&self) -> usize {
        self.size[1]
    }

    /// Returns the height in pixels, that of the pictures.
    pub fn height(&self) -> usize {
        self.size[0]
    }

    /// Returns the distances of a layer, as it has them: rows, columns, and values row by row. `index` counts
    /// [`Lpips::LAYERS`](crate::Lpips::LAYERS).
    pub fn layer(&self, index: usize) -> Option<([usize; 2], &[f32])> {
        self.layers.get(index).map(|(size, values)| (*size, values.as_slice()))
    }

    /// Computes the value at every pixel, row by row from the top.
    pub fn values(&self) -> Vec<f32> {
        let [height, width] = self.size;
        let mut map = vec![0.0; height * width];
        self.layers.iter().for_each(|(size, values)| add_resized(values, *size, &mut map, self.size));
        map
    }
}

/// Adds a map of `size`, rows and columns, to one of another size, resized bilinearly between the middles of its pixels.
pub(crate) fn add_resized(map: &[f32], size: [usize; 2], to: &mut [f32], [height, width]: [usize; 2]) {
    let [rows, columns] = size;
    let across: Vec<Between> = (0..width).map(|x| Between::new(x, width, columns)).collect();
    let mut line = vec![0.0; columns];
    for (y, out) in to.chunks_exact_mut(width).enumerate() {
        let Between { low, high, weight } = Between::new(y, height, rows);
        let [above, below] = [low, high].map(|row| &map[row * columns..][..columns]);
        for ((value, above), below) in line.iter_mut().zip(above).zip(below) {
            *value = above + (below - above) * weight;
        }
        for (value, &Between { low, high, weight }) in out.iter_mut().zip(&across) {
            *value += line[low] + (line[high] - line[low]) * weight;
        }
    }
}

/// The positions before and after a pixel's centre, and the weight of the latter, as in shaders/lpips_map.wgsl.
struct Between {
    low: usize,
    high: usize,
    weight: f32,
}

impl Between {
    /// For pixel `i` of `pixels`, among `positions` that cover the same length.
    fn new(i: usize, pixels: usize, positions: usize) -> Self {
        let at = ((2 * i + 1) * positions).saturating_sub(pixels);
        let low = (at / (2 * pixels)).min(positions - 1);
        let weight = (at - low * 2 * pixels) as f32 / (2 * pixels) as f32;
        Self { low, high: (low + 1).min(positions - 1), weight }
    }
}

/// The value below which a share of `values` lies: `percentile(&mut values, 0.95)` is the 95th percentile, by the nearest
/// rank. Sorts the values in part. `None` where there are none.
pub fn percentile(values: &mut [f32], share: f64) -> Option<f32> {
    let rank = (share * values.len() as f64).ceil() as usize;
    let index = rank.clamp(1, values.len().max(1)) - 1;
    (!values.is_empty()).then(|| *values.select_nth_unstable_by(index, f32::total_cmp).1)
}
