//! Views: the layout of a graph's value over an activation of the network, that is, its dimensions and which of them are
//! batch, channels, rows and columns. Reshape, Transpose and similar operators change a view and compute nothing.

use super::{
    constant::Constant,
    node::Node,
    shapes::{axis_of, broadcast, broadcast_strides, permutation, reshape, squeeze, unsqueeze, without},
};
use crate::{model::formats::Budget, shape::Shape};

/// An axis of activations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Axis {
    Batch,
    Channel,
    Row,
    Column,
}

use Axis::{Batch, Channel, Column, Row};

/// The order of the axes in ONNX.
pub(super) const CHANNELS_FIRST: [Axis; 4] = [Batch, Channel, Row, Column];
/// The order of the axes in TensorFlow.
pub(super) const CHANNELS_LAST: [Axis; 4] = [Batch, Row, Column, Channel];

#[derive(Clone, Debug, PartialEq)]
pub(super) struct View {
    /// The dimensions of the graph's value.
    dims: Vec<usize>,
    /// The order of the axes in it, the outermost first.
    order: [Axis; 4],
    /// Sizes by axis, in the order of [`CHANNELS_FIRST`].
    sizes: [usize; 4],
}

impl View {
    /// Feature maps in ONNX's layout.
    pub fn maps(batch: usize, shape: Shape) -> Self {
        let sizes = [batch, shape.channels, shape.height, shape.width];
        Self { dims: sizes.to_vec(), order: CHANNELS_FIRST, sizes }
    }

    /// Maps with their axes in another order, and other dimensions of as many numbers.
    pub fn new(dims: Vec<usize>, order: [Axis; 4], batch: usize, shape: Shape) -> Self {
        Self { dims, order, ..Self::maps(batch, shape) }
    }

    pub fn dims(&self) -> &[usize] {
        &self.dims
    }

    pub fn size(&self, axis: Axis) -> usize {
        self.sizes[axis as usize]
    }

    fn sized(&self, order: impl IntoIterator<Item = Axis>) -> Vec<usize> {
        order.into_iter().map(|axis| self.size(axis)).collect()
    }

    /// The axes longer than 1, in order.
    fn long(&self) -> impl Iterator<Item = Axis> {
        self.order.into_iter().filter(|&axis| self.size(axis) != 1)
    }

    /// The axes that each dimension covers, the outermost first; `None` where a dimension is part of an axis.
    pub fn groups(&self) -> Option<Vec<Vec<Axis>>> {
        if self.dims == self.sized(self.order) {
            return Some(self.order.map(|axis| vec![axis]).to_vec());
        }
        let mut axes = self.long();
        let mut groups = Vec::with_capacity(self.dims.len());
        for &size in &self.dims {
            let (mut group, mut product) = (Vec::new(), 1);
            while product < size {
                let axis = axes.next()?;
                product *= self.size(axis);
                group.push(axis);
            }
            if product != size {
                return None;
            }
            groups.push(group);
        }
        Some(groups)
    }

    /// The axes longer than 1 that these dimensions cover.
    pub fn axes(&self, dims: &[usize]) -> Option<Vec<Axis>> {
        let groups = self.groups()?;
        let axes = dims.iter().flat_map(|&i| groups.get(i).cloned().unwrap_or_default());
        Some(axes.filter(|&axis| self.size(axis) != 1).collect())
    }

    /// Whether this is N×C×H×W.
    pub fn is_maps(&self) -> bool {
        self.dims == self.sizes && self.is_in_order()
    }

    /// Whether the numbers are in the order of N×C×H×W, whatever the dimensions.
    pub fn is_in_order(&self) -> bool {
        self.long().collect::<Vec<_>>().is_sorted_by_key(|&axis| axis as usize)
    }

    /// The dimension that is exactly the channels.
    pub fn channels(&self) -> Option<usize> {
        self.groups()?.iter().position(|group| matches!(group.as_slice(), [Channel]))
    }

    /// The view with some axes resized, where each dimension is a single axis.
    pub fn resized(&self, sizes: [usize; 4]) -> Result<Self, String> {
        let mut view = self.clone();
        view.sizes = sizes;
        for (size, group) in view.dims.iter_mut().zip(self.groups().ok_or_else(|| self.unlike("whole axes"))?) {
            match group.as_slice() {
                [axis] => *size = sizes[*axis as usize],
                group if group.iter().all(|&axis| sizes[axis as usize] == self.size(axis)) => {}
                _ => return Err(self.unlike("channels, rows and columns apart")),
            }
        }
        Ok(view)
    }

    /// The view without dimensions of size 1.
    pub fn without(&self, dims: &[usize]) -> Self {
        Self { dims: without(&self.dims, dims), ..self.clone() }
    }

    /// The view with leading dimensions of 1, up to at least this rank.
    pub fn of_rank(&self, rank: usize) -> Self {
        let mut dims = vec![1; rank.saturating_sub(self.dims.len())];
        dims.extend(&self.dims);
        Self { dims, ..self.clone() }
    }

    /// The view of an activation of another shape, with the `reduced` dimensions set to 1.
    pub fn reduced(&self, reduced: &[usize], batch: usize, shape: Shape) -> Self {
        let one = |(i, &d): (usize, &usize)| if reduced.contains(&i) { 1 } else { d };
        Self::new(self.dims.iter().enumerate().map(one).collect(), self.order, batch, shape)
    }

    /// The view with its last dimension as the channels, in another number.
    pub fn with_last(&self, channels: usize, batch: usize, shape: Shape) -> Self {
        let mut view = Self::new(self.dims.clone(), self.order, batch, shape);
        if let Some(last) = view.dims.last_mut() {
            *last = channels;
        }
        view
    }

    /// The stride of each axis in an array of `strides` over the dimensions, in the order of [`CHANNELS_FIRST`].
    pub fn strides(&self, array: &[usize]) -> Result<[usize; 4], String> {
        let groups = self.groups().ok_or_else(|| self.unlike("whole channels, rows and columns in each dimension"))?;
        let mut strides = [0; 4];
        for (group, &stride) in groups.iter().zip(array) {
            let inner = super::constant::strides(&self.sized(group.iter().copied()));
            for (&axis, inner) in group.iter().zip(inner) {
                strides[axis as usize] = inner.saturating_mul(stride);
            }
        }
        Ok(strides)
    }

    /// The elements of a constant operand of arithmetic: one, one per channel, or one per number of an activation.
    pub fn factors(&self, constant: &Constant, budget: &mut Budget) -> Result<Vec<f64>, String> {
        if let Some(value) = constant.scalar() {
            return Ok(vec![value]);
        }
        let common = broadcast(&self.dims, constant.shape())?;
        let missing = common.len() - self.dims.len();
        if common[..missing].iter().any(|&d| d != 1) || common[missing..] != self.dims {
            return Err(format!("a constant that fits into {:?}, found shape {:?}", self.dims, constant.shape()));
        }
        let array = broadcast_strides(constant.shape(), &common);
        let [batch, c, y, x] = self.strides(&array[missing..])?;
        if batch != 0 && self.size(Batch) != 1 {
            return Err("the same constant for each picture, found one for each".into());
        }
        let values = constant.floats(budget)?;
        let [_, channels, rows, columns] = self.sizes;
        let one_each = (y == 0 || rows == 1) && (x == 0 || columns == 1);
        let count = if one_each { channels } else { channels * rows * columns };
        budget.take(count.saturating_mul(8))?;
        if one_each {
            return Ok((0..channels).map(|i| values[i * c]).collect());
        }
        let plane = |i: usize| (0..rows).flat_map(move |j| (0..columns).map(move |k| i * c + j * y + k * x));
        let all: Vec<f64> = (0..channels).flat_map(plane).map(|at| values[at]).collect();
        // An array that is constant within each channel.
        let first = |plane: &[f64]| plane.first().copied().filter(|first| plane.iter().all(|v| v == first));
        let each: Option<Vec<f64>> = all.chunks(rows * columns).map(first).collect();
        Ok(each.unwrap_or(all))
    }

    fn unlike(&self, expected: &str) -> String {
        let name = |axis: Axis| match axis {
            Batch => "N",
            Channel => "C",
            Row => "H",
            Column => "W",
        };
        let order: Vec<&str> = self.order.into_iter().map(name).collect();
        format!("{expected}, found {:?} over {} of {:?}", self.dims, order.join("×"), self.sized(self.order))
    }

    /// The view after a node that moves no numbers; `None` for any other operator.
    pub fn follow(
        &self,
        node: &Node,
        opset: i64,
        mut ints: impl FnMut(usize, &str) -> Result<Option<Vec<i64>>, String>,
    ) -> Result<Option<Self>, String> {
        let with = |dims| Ok(Some(Self { dims, ..self.clone() }));
        match node.operator.as_str() {
            "Identity" => Ok(Some(self.clone())),
            "Concat" if node.inputs.len() == 1 => Ok(Some(self.clone())),
            "Flatten" => {
                let axis = node.int("axis").unwrap_or(1);
                let rank = self.dims.len();
                let axis = if axis == rank as i64 { rank } else { axis_of(axis, rank)? };
                let product = |part: &[usize]| part.iter().product();
                with(vec![product(&self.dims[..axis]), product(&self.dims[axis..])])
            }
            "Reshape" => {
                // Before version 5 of the operators it is an attribute.
                let target = ints(1, "shape")?.ok_or("a shape")?;
                with(reshape(&target, &self.dims, opset >= 14 && node.flag("allowzero"))?)
            }
            "Squeeze" => with(squeeze(&self.dims, ints(1, "axes")?.as_deref())?),
            "Unsqueeze" => with(unsqueeze(&self.dims, &ints(1, "axes")?.ok_or("axes")?)?),
            "Transpose" => {
                let perm = permutation(node.ints("perm"), self.dims.len())?;
                let groups = self.groups().ok_or_else(|| self.unlike("whole channels, rows and columns to turn"))?;
                let mut order: Vec<Axis> = perm.iter().flat_map(|&i| groups[i].iter().copied()).collect();
                // Axes of length 1 fit anywhere.
                order.extend(CHANNELS_FIRST.into_iter().filter(|axis| !order.contains(axis)).collect::<Vec<_>>());
                let order = order.try_into().map_err(|_| self.unlike("four axes"))?;
                let dims = perm.iter().map(|&i| self.dims[i]).collect();
                Ok(Some(Self { dims, order, sizes: self.sizes }))
            }
            _ => Ok(None),
        }
    }

    /// The strides of a weight's inputs, which are along one dimension of `self`, by axis; `stride` is that of neighbours.
    pub fn columns(&self, dim: usize, stride: usize) -> Result<[usize; 4], String> {
        let mut array = vec![0; self.dims.len()];
        if let Some(own) = array.get_mut(dim) {
            *own = stride;
        }
        self.strides(&array)
    }
}
