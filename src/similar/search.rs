//! Exact search by cosine.

use std::{cmp::Ordering, ops::Range};

/// A vector that a search found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Neighbour {
    /// Its index among the vectors.
    pub index: usize,
    /// Its cosine with the query, −1 to 1.
    pub cosine: f32,
}

impl Neighbour {
    /// The nearest first; of two at the same distance, that of the lower index.
    fn order(&self, other: &Self) -> Ordering {
        other.cosine.total_cmp(&self.cosine).then(self.index.cmp(&other.index))
    }
}

/// The `top` vectors that are nearest to `query`, nearest first, by comparison with all of them on all processor cores.
///
/// `vectors` are of the query's length, one after the other, and all of length 1, as [`crate::FeatureExtractor`] gives them.
/// A vector that is not a number is never found.
///
/// # Panics
///
/// When the length of `vectors` is not a multiple of that of `query`, or `query` is empty.
pub fn nearest(query: &[f32], vectors: &[f32], top: usize) -> Vec<Neighbour> {
    assert!(!query.is_empty() && vectors.len().is_multiple_of(query.len()), "vectors of the query's length");
    let count = vectors.len() / query.len();
    let top = top.min(count);
    let of = |rows: Range<usize>| {
        let mut found: Vec<Neighbour> = Vec::with_capacity(2 * top.min(rows.len()) + 1);
        let mut least = f32::NEG_INFINITY;
        let part = &vectors[rows.start * query.len()..rows.end * query.len()];
        for (index, vector) in rows.zip(part.chunks_exact(query.len())) {
            let cosine = dot(query, vector);
            // Not a number is not above anything.
            if cosine > least {
                found.push(Neighbour { index, cosine });
                if found.len() > 2 * top {
                    least = keep(&mut found, top);
                }
            }
        }
        keep(&mut found, top);
        found
    };
    let mut found = in_parts(count, MIN_PART, of).concat();
    keep(&mut found, top);
    found
}

/// The pairs of vectors whose cosine is at least `above`, in the order of their indices, by comparison of all with all on all
/// processor cores: 10,000 vectors of 768 numbers take 5 s on two cores, 100,000 a hundred times as long.
///
/// `progress` is called from any thread with the number of comparisons that were done since it was called last.
///
/// # Panics
///
/// When the length of `vectors` is not a multiple of `dims`, or `dims` is 0.
pub fn similar_pairs(
    vectors: &[f32],
    dims: usize,
    above: f32,
    progress: &(dyn Fn(u64) + Sync),
) -> Vec<(usize, usize, f32)> {
    assert!(dims > 0 && vectors.len().is_multiple_of(dims), "vectors of {dims} numbers");
    let count = vectors.len() / dims;
    let blocks = count.div_ceil(BLOCK);
    let rows = |block: usize| block * BLOCK..((block + 1) * BLOCK).min(count);
    let row = |index: usize| &vectors[index * dims..(index + 1) * dims];
    let of = |first: usize| {
        let mut pairs = Vec::new();
        for second in first..blocks {
            let mut compared = 0;
            // Both blocks stay in the processor's cache.
            for a in rows(first) {
                let others = rows(second).start.max(a + 1)..rows(second).end;
                compared += others.len() as u64;
                pairs.extend(others.map(|b| (a, b, dot(row(a), row(b)))).filter(|pair| pair.2 >= above));
            }
            progress(compared);
        }
        pairs
    };
    // The first blocks have the most others after them, so each thread takes one from either end.
    let folded = |part: Range<usize>| {
        let pair = |i: usize| [Some(i), (blocks - 1 - i != i).then_some(blocks - 1 - i)];
        part.flat_map(pair).flatten().flat_map(of).collect::<Vec<_>>()
    };
    let mut pairs = in_parts(blocks.div_ceil(2), 1, folded).concat();
    pairs.sort_unstable_by_key(|pair| (pair.0, pair.1));
    pairs
}

/// Vectors of a block: two blocks of 768 numbers each take 200 kB.
const BLOCK: usize = 32;

/// The least number of vectors for a thread of their own.
const MIN_PART: usize = 4096;

/// Keeps the `top` nearest, sorted, and returns the least cosine of a full list.
fn keep(found: &mut Vec<Neighbour>, top: usize) -> f32 {
    found.sort_unstable_by(Neighbour::order);
    found.truncate(top);
    if found.len() == top { found.last().map_or(f32::INFINITY, |last| last.cosine) } else { f32::NEG_INFINITY }
}

/// The results of parts of `0..count`, each on a thread of its own, in order.
fn in_parts<T: Send>(count: usize, least: usize, of: impl Fn(Range<usize>) -> T + Sync) -> Vec<T> {
    #[cfg(target_arch = "wasm32")]
    let threads = 1;
    #[cfg(not(target_arch = "wasm32"))]
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(count / least.max(1)).max(1);
    let part = |i: usize| i * count / threads..(i + 1) * count / threads;
    if threads == 1 {
        return vec![of(part(0))];
    }
    std::thread::scope(|scope| {
        let of = &of;
        let running: Vec<_> = (1..threads).map(|i| scope.spawn(move || of(part(i)))).collect();
        let first = of(part(0));
        let rest = running.into_iter().map(|thread| match thread.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        });
        std::iter::once(first).chain(rest).collect()
    })
}

/// The scalar product, in 32 lanes, which the compiler turns into vector instructions.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    const LANES: usize = 32;
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
    let mut lanes = [0.0_f32; LANES];
    for (a, b) in a.iter().zip(b) {
        for i in 0..LANES {
            lanes[i] += a[i] * b[i];
        }
    }
    lanes.iter().sum::<f32>() + a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum::<f32>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::splitmix;

    /// Vectors of length 1.
    fn vectors(seed: u64, count: usize, dims: usize) -> Vec<f32> {
        let mut vectors = splitmix::uniform(seed, count * dims, 1.0);
        for vector in vectors.chunks_exact_mut(dims) {
            let norm = vector.iter().map(|x| x * x).sum::<f32>().sqrt();
            vector.iter_mut().for_each(|x| *x /= norm);
        }
        vectors
    }

    fn exact(a: &[f32], b: &[f32]) -> f64 {
        a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum()
    }

    #[test]
    fn the_nearest_are_those_of_a_sort_in_f64() {
        for (count, dims) in [(1, 3), (50, 40), (9000, 7), (9001, 33)] {
            let (all, query) = (vectors(1, count, dims), vectors(2, 1, dims));
            let mut cosines: Vec<(usize, f64)> =
                all.chunks_exact(dims).map(|vector| exact(&query, vector)).enumerate().collect();
            cosines.sort_by(|a, b| b.1.total_cmp(&a.1));
            for top in [1, 5, 100] {
                let found = nearest(&query, &all, top);
                assert_eq!(found.len(), top.min(count));
                assert!(found.is_sorted_by(|a, b| a.cosine >= b.cosine));
                for (found, (_, cosine)) in found.iter().zip(&cosines) {
                    assert!((f64::from(found.cosine) - cosine).abs() < 1e-6, "{found:?}, {cosine}");
                    let own = exact(&query, &all[found.index * dims..][..dims]);
                    assert!((own - cosine).abs() < 1e-6);
                }
            }
        }
    }

    #[test]
    fn equal_vectors_come_in_order_and_none_that_is_no_number() {
        let mut all = [1.0, 0.0].repeat(10_000);
        all[0] = f32::NAN;
        let found: Vec<usize> = nearest(&[1.0, 0.0], &all, 3).iter().map(|found| found.index).collect();
        assert_eq!(found, [1, 2, 3]);
        assert!(nearest(&[1.0, 0.0], &all, 0).is_empty() && nearest(&[1.0], &[], 5).is_empty());
        assert_eq!(nearest(&[-1.0, 0.0], &all[..6], 9).len(), 2);
        assert_eq!(nearest(&[-1.0, 0.0], &all, usize::MAX).len(), 9_999);
    }

    #[test]
    fn similar_pairs_are_all_of_them() {
        use std::sync::atomic::{AtomicU64, Ordering};

        for (count, dims) in [(0, 3), (1, 3), (31, 5), (32, 5), (33, 5), (200, 6)] {
            let all = vectors(3, count, dims);
            let row = |i: usize| &all[i * dims..(i + 1) * dims];
            let compared = AtomicU64::new(0);
            let found = similar_pairs(&all, dims, 0.5, &|more| {
                compared.fetch_add(more, Ordering::Relaxed);
            });
            let pairs = (0..count).flat_map(|a| (a + 1..count).map(move |b| (a, b)));
            let expected: Vec<_> = pairs.filter(|&(a, b)| exact(row(a), row(b)) >= 0.5).collect();
            assert_eq!(found.iter().map(|pair| (pair.0, pair.1)).collect::<Vec<_>>(), expected, "{count}");
            assert_eq!(compared.into_inner(), (count * count.saturating_sub(1) / 2) as u64);
        }
    }
}
