//! Occlusion: how a class's output falls when a patch of the input is covered.
//!
//! Zeiler and Fergus, "Visualizing and Understanding Convolutional Networks" (2014), section 4.2.

use std::ops::Range;

use crate::shape::Shape;

/// Patches a side.
pub const GRID: usize = 15;

/// The number of patches.
pub const PATCHES: usize = GRID * GRID;

/// Rows or columns that patch `at` of [`GRID`] covers of `side`: a fifth of it, around the patch's middle.
fn covered(at: usize, side: usize) -> Range<usize> {
    let middle = (2 * at + 1) * side / (2 * GRID);
    let half = side.div_ceil(10);
    middle.saturating_sub(half)..(middle + half).min(side)
}

/// The network's inputs (CHW) for the patches from `first` on, `batch` of them, row by row; what is covered is zero, which is
/// the mean that preprocessing subtracts. Past the last patch, nothing is covered.
pub fn inputs(input: &[f32], shape: Shape, first: usize, batch: usize) -> Vec<f32> {
    let mut inputs = input.repeat(batch);
    for (patch, input) in (first..PATCHES).zip(inputs.chunks_exact_mut(shape.len())) {
        let rows = covered(patch / GRID, shape.height);
        let columns = covered(patch % GRID, shape.width);
        for plane in input.chunks_exact_mut(shape.height * shape.width) {
            for row in rows.clone() {
                plane[row * shape.width..][columns.clone()].fill(0.0);
            }
        }
    }
    inputs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patches_reach_every_pixel_and_stay_inside() {
        for side in [1, 7, 28, 224, 227] {
            let mut hit = vec![false; side];
            for at in 0..GRID {
                hit[covered(at, side)].fill(true);
            }
            assert!(hit.iter().all(|&hit| hit), "{side}");
        }
    }

    #[test]
    fn a_patch_is_zero_and_the_rest_stays() {
        let shape = Shape::new(3, 30, 30);
        let input = vec![1.0; shape.len()];
        let batch = inputs(&input, shape, PATCHES - 1, 2);
        let (last, beyond) = batch.split_at(shape.len());
        assert_eq!(last[29 * 30 + 29], 0.0);
        assert_eq!(last[0], 1.0);
        assert_eq!(beyond, input);
    }
}
