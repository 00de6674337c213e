//! Arithmetic of dimensions, as ONNX defines it.

use super::{
    constant::{Constant, MAX_RANK, strides},
    node::Node,
};

/// Sizes, which must not be negative.
pub(super) fn sizes(values: &[i64]) -> Result<Vec<usize>, String> {
    values.iter().map(|&v| usize::try_from(v).map_err(|_| format!("sizes of at least 0, found {v}"))).collect()
}

/// An index, counted from the end where it is negative.
pub(super) fn index(i: i64, size: usize) -> Result<usize, String> {
    let wrapped = if i < 0 { i.checked_add(size as i64) } else { Some(i) };
    let wrapped = wrapped.and_then(|i| usize::try_from(i).ok()).filter(|&i| i < size);
    wrapped.ok_or_else(|| format!("an index below {size}, found {i}"))
}

/// An axis, counted from the end where it is negative.
pub(super) fn axis_of(axis: i64, rank: usize) -> Result<usize, String> {
    index(axis, rank).map_err(|_| format!("an axis of {rank} dimensions, found {axis}"))
}

/// The axes of a reduction. Without any named, all axes, or none if the node says so.
pub(super) fn reduced_axes(node: &Node, axes: Option<&[i64]>, rank: usize) -> Result<Vec<usize>, String> {
    match axes {
        None | Some([]) if node.flag("noop_with_empty_axes") => Ok(vec![]),
        None | Some([]) => Ok((0..rank).collect()),
        Some(axes) if axes.len() > MAX_RANK => Err(format!("at most {MAX_RANK} axes, found {}", axes.len())),
        Some(axes) => axes.iter().map(|&axis| axis_of(axis, rank)).collect(),
    }
}

/// The dimensions without those at `axes`.
pub(super) fn without(dims: &[usize], axes: &[usize]) -> Vec<usize> {
    dims.iter().enumerate().filter(|(i, _)| !axes.contains(i)).map(|(_, &d)| d).collect()
}

/// The order of a transposition; reversed by default.
pub(super) fn permutation(perm: Option<&[i64]>, rank: usize) -> Result<Vec<usize>, String> {
    let perm = match perm {
        None => (0..rank).rev().collect(),
        Some(perm) => perm.iter().map(|&axis| axis_of(axis, rank)).collect::<Result<Vec<_>, _>>()?,
    };
    let mut sorted = perm.clone();
    sorted.sort_unstable();
    if sorted.iter().copied().eq(0..rank) { Ok(perm) } else { Err(format!("an order of {rank} axes, found {perm:?}")) }
}

/// The result of reshaping `from` to `target`: 0 copies a size, -1 takes the remainder.
pub(super) fn reshape(target: &[i64], from: &[usize], allow_zero: bool) -> Result<Vec<usize>, String> {
    if target.len() > MAX_RANK {
        return Err(format!("a shape of at most {MAX_RANK} dimensions, found {}", target.len()));
    }
    let fail = || format!("a shape of the numbers of {from:?}, found {target:?}");
    let total = from.iter().try_fold(1usize, |a, &d| a.checked_mul(d)).ok_or_else(fail)?;
    let copied = |(i, &d): (usize, &i64)| match d {
        0 if !allow_zero => from.get(i).copied(),
        -1 => Some(1),
        d => usize::try_from(d).ok(),
    };
    let mut to: Vec<usize> = target.iter().enumerate().map(copied).collect::<Option<_>>().ok_or_else(fail)?;
    let known = to.iter().try_fold(1usize, |a, &d| a.checked_mul(d)).ok_or_else(fail)?;
    let mut open = target.iter().zip(&mut to).filter(|(d, _)| **d == -1);
    if let Some((_, size)) = open.next() {
        *size = total.checked_div(known).ok_or_else(fail)?;
    }
    let fits = open.next().is_none() && to.iter().try_fold(1usize, |a, &d| a.checked_mul(d)) == Some(total);
    if fits { Ok(to) } else { Err(fail()) }
}

/// The dimensions without those of size 1 at `axes`, or without all of size 1.
pub(super) fn squeeze(dims: &[usize], axes: Option<&[i64]>) -> Result<Vec<usize>, String> {
    let Some(axes) = axes else { return Ok(dims.iter().copied().filter(|&d| d != 1).collect()) };
    let axes = axes.iter().map(|&axis| axis_of(axis, dims.len())).collect::<Result<Vec<_>, _>>()?;
    match axes.iter().find(|&&axis| dims[axis] != 1) {
        Some(axis) => Err(format!("dimensions of 1 to leave out, found {} in axis {axis}", dims[*axis])),
        None => Ok(without(dims, &axes)),
    }
}

/// The dimensions with 1 inserted at `axes` of the result.
pub(super) fn unsqueeze(dims: &[usize], axes: &[i64]) -> Result<Vec<usize>, String> {
    let rank = dims.len() + axes.len();
    if rank > MAX_RANK {
        return Err(format!("a shape of at most {MAX_RANK} dimensions, found {rank}"));
    }
    let axes = axes.iter().map(|&axis| axis_of(axis, rank)).collect::<Result<Vec<_>, _>>()?;
    let mut rest = dims.iter().copied();
    let shape: Vec<usize> = (0..rank).map_while(|i| if axes.contains(&i) { Some(1) } else { rest.next() }).collect();
    // An axis may be repeated.
    if shape.len() == rank { Ok(shape) } else { Err(format!("axes that differ, found {axes:?}")) }
}

/// The shape of the second operand of arithmetic, whose first operand has `rank` dimensions. Before version 7 of the
/// operators, it is broadcast only on request, and from a given axis on.
pub(super) fn legacy_broadcast(node: &Node, opset: i64, rank: usize, second: &Constant) -> Result<Constant, String> {
    if opset >= 7 || second.len() == 1 || !node.flag("broadcast") {
        return Ok(second.clone());
    }
    let Some(axis) = node.int("axis") else { return Ok(second.clone()) };
    let axis = axis_of(axis, rank)?;
    let mut shape = second.shape().to_vec();
    shape.resize(shape.len().max(rank - axis), 1);
    second.reshaped(shape)
}

/// The broadcast shape of two operands.
pub(super) fn broadcast(a: &[usize], b: &[usize]) -> Result<Vec<usize>, String> {
    let rank = a.len().max(b.len());
    let size = |shape: &[usize], i: usize| (i + shape.len()).checked_sub(rank).map_or(1, |i| shape[i]);
    let common = |i| match (size(a, i), size(b, i)) {
        (1, n) | (n, 1) => Ok(n),
        (m, n) if m == n => Ok(n),
        _ => Err(format!("shapes that go together, found {a:?} and {b:?}")),
    };
    (0..rank).map(common).collect()
}

/// The strides of a contiguous array of `shape`, broadcast to the shape `to`.
pub(super) fn broadcast_strides(shape: &[usize], to: &[usize]) -> Vec<usize> {
    let own = strides(shape);
    let missing = to.len().saturating_sub(shape.len());
    let stride = |i: usize| i.checked_sub(missing).map_or(0, |i| if shape[i] == 1 { 0 } else { own[i] });
    (0..to.len()).map(stride).collect()
}

/// The positions in a strided array, the last dimension fastest.
pub(super) struct Odometer {
    shape: Vec<usize>,
    strides: Vec<usize>,
    index: Vec<usize>,
    next: Option<usize>,
}

impl Odometer {
    pub fn new(shape: &[usize], strides: Vec<usize>) -> Self {
        let next = (!shape.contains(&0)).then_some(0);
        Self { shape: shape.to_vec(), strides, index: vec![0; shape.len()], next }
    }
}

impl Iterator for Odometer {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        let here = self.next?;
        let mut at = here;
        self.next = None;
        for axis in (0..self.shape.len()).rev() {
            self.index[axis] += 1;
            at += self.strides[axis];
            if self.index[axis] < self.shape[axis] {
                self.next = Some(at);
                break;
            }
            at -= self.strides[axis] * self.shape[axis];
            self.index[axis] = 0;
        }
        Some(here)
    }
}
