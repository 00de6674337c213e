//! Evaluation of nodes with constant inputs: weights that the graph computes, and the arithmetic of sizes that exporters
//! write around Reshape.

use super::{
    constant::{Constant, Kind, Numbers, strides},
    node::Node,
    shapes::{
        Odometer, axis_of, broadcast, broadcast_strides, index, legacy_broadcast, permutation, reduced_axes, reshape,
        sizes, squeeze, unsqueeze, without,
    },
};
use crate::model::formats::Budget;

/// The operators that [`evaluate`] supports.
pub(super) const OPERATORS: &[&str] = &[
    "Abs",
    "Add",
    "And",
    "Cast",
    "CastLike",
    "Ceil",
    "Concat",
    "Constant",
    "ConstantOfShape",
    "DequantizeLinear",
    "Div",
    "Dropout",
    "Equal",
    "Exp",
    "Expand",
    "Flatten",
    "Floor",
    "Gather",
    "Greater",
    "GreaterOrEqual",
    "Identity",
    "Less",
    "LessOrEqual",
    "Log",
    "Max",
    "Min",
    "Mod",
    "Mul",
    "Neg",
    "Not",
    "Or",
    "Pow",
    "Range",
    "Reciprocal",
    "ReduceL2",
    "ReduceMax",
    "ReduceMean",
    "ReduceMin",
    "ReduceProd",
    "ReduceSum",
    "ReduceSumSquare",
    "Reshape",
    "Shape",
    "Size",
    "Slice",
    "Split",
    "Sqrt",
    "Squeeze",
    "Sub",
    "Tile",
    "Transpose",
    "Unsqueeze",
    "Where",
];

/// Evaluates a node and returns its outputs in order. `inputs` are in the node's order, `None` where one is absent.
///
/// Errors give the expected and the actual inputs; `budget` bounds memory and time.
pub(super) fn evaluate(
    node: &Node,
    inputs: &[Option<&Constant>],
    opset: i64,
    budget: &mut Budget,
) -> Result<Vec<Constant>, String> {
    Evaluation { node, inputs, opset, budget }.run()
}

struct Evaluation<'a> {
    node: &'a Node,
    inputs: &'a [Option<&'a Constant>],
    opset: i64,
    budget: &'a mut Budget,
}

impl<'a> Evaluation<'a> {
    fn run(&mut self) -> Result<Vec<Constant>, String> {
        let node = self.node;
        let one = match node.operator.as_str() {
            "Constant" => self.constant()?,
            "Identity" | "Dropout" => self.input(0)?.clone(),
            "ConstantOfShape" => self.constant_of_shape()?,
            "Shape" => {
                let dims: Vec<i64> = self.input(0)?.shape().iter().map(|&d| d as i64).collect();
                shape_slice(node, &dims)
            }
            "Size" => scalar(self.input(0)?.len() as i64)?,
            "Cast" => {
                let kind = Kind::of(node.int("to").unwrap_or(0)).ok_or("a cast to a type of numbers")?;
                self.cast(kind)?
            }
            "CastLike" => {
                let kind = self.input(1)?.kind();
                self.cast(kind)?
            }
            "Reshape" => {
                let target = self.ints(1, "shape")?.ok_or("a shape")?;
                let x = self.input(0)?;
                let shape = reshape(&target, x.shape(), node.flag("allowzero"))?;
                x.reshaped(shape)?
            }
            "Flatten" => {
                let x = self.input(0)?;
                let axis = node.int("axis").unwrap_or(1);
                let axis =
                    if axis == x.shape().len() as i64 { x.shape().len() } else { axis_of(axis, x.shape().len())? };
                let product = |part: &[usize]| part.iter().product::<usize>();
                x.reshaped(vec![product(&x.shape()[..axis]), product(&x.shape()[axis..])])?
            }
            "Squeeze" => {
                let axes = self.ints(1, "axes")?;
                let x = self.input(0)?;
                x.reshaped(squeeze(x.shape(), axes.as_deref())?)?
            }
            "Unsqueeze" => {
                let axes = self.ints(1, "axes")?.ok_or("axes")?;
                let x = self.input(0)?;
                x.reshaped(unsqueeze(x.shape(), &axes)?)?
            }
            "Transpose" => {
                let x = self.input(0)?;
                let perm = permutation(node.ints("perm"), x.shape().len())?;
                let (shape, old) = (x.shape(), x.strides());
                let turned = perm.iter().map(|&i| shape[i]).collect();
                let strides: Vec<usize> = perm.iter().map(|&i| old[i]).collect();
                x.strided(turned, &strides, 0, self.budget)?
            }
            "Gather" => self.gather()?,
            "Slice" => self.slice()?,
            "Split" => return self.split(),
            "Concat" => {
                let parts = (0..self.inputs.len()).map(|i| self.input(i)).collect::<Result<Vec<_>, _>>()?;
                let axis = axis_of(node.int("axis").unwrap_or(1), parts.first().map_or(0, |p| p.shape().len()))?;
                Constant::concat(&parts, axis, self.budget)?
            }
            "Expand" => {
                let target = sizes(&self.ints(1, "shape")?.ok_or("a shape")?)?;
                let x = self.input(0)?;
                let shape = broadcast(x.shape(), &target)?;
                let strides = broadcast_strides(x.shape(), &shape);
                x.strided(shape, &strides, 0, self.budget)?
            }
            "Tile" => {
                let repeats = sizes(&self.ints(1, "repeats")?.ok_or("repeats")?)?;
                let mut x = self.input(0)?.clone();
                for (axis, &n) in repeats.iter().enumerate().take(x.shape().len()) {
                    self.budget.take(n.saturating_mul(std::mem::size_of::<&Constant>()))?;
                    x = Constant::concat(&vec![&x; n], axis, self.budget)?;
                }
                x
            }
            "Range" => self.range()?,
            "Where" => {
                let [condition, a, b] = [self.input(0)?, self.input(1)?, self.input(2)?];
                let shape = broadcast(&broadcast(condition.shape(), a.shape())?, b.shape())?;
                self.afford(&shape)?;
                let at = |x: &Constant| Odometer::new(&shape, broadcast_strides(x.shape(), &shape));
                let places = at(condition).zip(at(a).zip(at(b)));
                let condition = condition.to_ints(self.budget)?;
                let numbers = match (a.numbers(self.budget)?, b.numbers(self.budget)?) {
                    (Numbers::Floats(a), Numbers::Floats(b)) => {
                        Numbers::Floats(places.map(|(c, (i, j))| if condition[c] != 0 { a[i] } else { b[j] }).collect())
                    }
                    (Numbers::Ints(a), Numbers::Ints(b)) => {
                        Numbers::Ints(places.map(|(c, (i, j))| if condition[c] != 0 { a[i] } else { b[j] }).collect())
                    }
                    _ => return Err("two values of one type".into()),
                };
                Constant::from_numbers(a.kind(), shape, &numbers, self.budget)?
            }
            "DequantizeLinear" => self.dequantize()?,
            operator if operator.starts_with("Reduce") => self.reduce()?,
            "Abs" | "Ceil" | "Exp" | "Floor" | "Log" | "Neg" | "Not" | "Reciprocal" | "Sqrt" => self.unary()?,
            _ => self.binary()?,
        };
        Ok(vec![one])
    }

    fn input(&self, i: usize) -> Result<&'a Constant, String> {
        self.inputs.get(i).copied().flatten().ok_or_else(|| format!("an input {i}"))
    }

    /// Integers that newer operators take as an input, and older ones as an attribute.
    fn ints(&mut self, i: usize, attribute: &str) -> Result<Option<Vec<i64>>, String> {
        match self.inputs.get(i).copied().flatten() {
            Some(constant) => constant.to_ints(self.budget).map(Some),
            None => Ok(self.node.ints(attribute).map(<[i64]>::to_vec)),
        }
    }

    /// Charges the budget for an array before it is allocated.
    fn afford(&mut self, shape: &[usize]) -> Result<(), String> {
        let count = shape.iter().try_fold(8usize, |a, &d| a.checked_mul(d));
        self.budget.take(count.ok_or("tensors in proportion to the file, found far larger ones")?)
    }

    fn constant(&mut self) -> Result<Constant, String> {
        let node = self.node;
        if let Some(value) = node.constant("value")? {
            return Ok(value);
        }
        if let Some(value) = node.int("value_int") {
            return scalar(value);
        }
        if let Some(values) = node.ints("value_ints") {
            return Ok(Constant::ints(values));
        }
        let (shape, values) = match (node.float("value_float"), node.floats("value_floats")) {
            (Some(value), _) => (vec![], vec![f64::from(value)]),
            (None, Some(values)) => (vec![values.len()], values.iter().map(|&v| f64::from(v)).collect()),
            _ => return Err("numbers, found another value".into()),
        };
        Constant::from_numbers(Kind::F32, shape, &Numbers::Floats(values), self.budget)
    }

    fn constant_of_shape(&mut self) -> Result<Constant, String> {
        let shape = sizes(&self.input(0)?.to_ints(self.budget)?)?;
        let value = match self.node.constant("value")? {
            Some(value) if value.len() == 1 => value.reshaped(vec![])?,
            Some(_) => return Err("one number as value".into()),
            None => Constant::from_numbers(Kind::F32, vec![], &Numbers::Floats(vec![0.0]), self.budget)?,
        };
        let strides = vec![0; shape.len()];
        value.strided(shape, &strides, 0, self.budget)
    }

    fn cast(&mut self, kind: Kind) -> Result<Constant, String> {
        let x = self.input(0)?;
        if x.kind() == kind {
            return Ok(x.clone());
        }
        let numbers = x.numbers(self.budget)?;
        Constant::from_numbers(kind, x.shape().to_vec(), &numbers, self.budget)
    }

    fn gather(&mut self) -> Result<Constant, String> {
        let (x, indices) = (self.input(0)?, self.input(1)?);
        let axis = axis_of(self.node.int("axis").unwrap_or(0), x.shape().len())?;
        let size = x.shape()[axis];
        let wrapped = indices.to_ints(self.budget)?.into_iter().map(|i| index(i, size));
        let picked = x.take(axis, &wrapped.collect::<Result<Vec<_>, _>>()?, self.budget)?;
        let shape = [&x.shape()[..axis], indices.shape(), &x.shape()[axis + 1..]].concat();
        picked.reshaped(shape)
    }

    fn slice(&mut self) -> Result<Constant, String> {
        let starts = self.ints(1, "starts")?.ok_or("starts")?;
        let ends = self.ints(2, "ends")?.ok_or("ends")?;
        let axes = self.ints(3, "axes")?.unwrap_or_else(|| (0..starts.len() as i64).collect());
        let steps = self.ints(4, "steps")?.unwrap_or_else(|| vec![1; starts.len()]);
        if ends.len() != starts.len() || axes.len() != starts.len() || steps.len() != starts.len() {
            return Err("as many ends, axes and steps as starts".into());
        }
        let mut x = self.input(0)?.clone();
        for (i, &axis) in axes.iter().enumerate() {
            let axis = axis_of(axis, x.shape().len())?;
            let size = x.shape()[axis] as i64;
            let (start, end, step) = (starts[i], ends[i], steps[i]);
            let wrap = |v: i64| if v < 0 { v.saturating_add(size) } else { v };
            let bounds = if step > 0 { (0, size) } else { (-1, size - 1) };
            let (start, end) =
                (wrap(start).clamp(bounds.0.max(0), bounds.1.max(0)), wrap(end).clamp(bounds.0, bounds.1));
            self.budget.take(8 * size as usize)?;
            let picked: Vec<usize> = match step {
                0 => return Err("steps other than 0".into()),
                1.. => (start..end).step_by(step.unsigned_abs() as usize).map(|i| i as usize).collect(),
                _ => {
                    let backwards = (end + 1..=start).rev().filter(|_| size > 0);
                    backwards.step_by(step.unsigned_abs() as usize).map(|i| i as usize).collect()
                }
            };
            x = x.take(axis, &picked, self.budget)?;
        }
        Ok(x)
    }

    fn split(&mut self) -> Result<Vec<Constant>, String> {
        let x = self.input(0)?;
        let axis = axis_of(self.node.int("axis").unwrap_or(0), x.shape().len())?;
        let size = x.shape()[axis];
        let count = self.node.outputs.len().max(1);
        let lengths = match self.ints(1, "split")? {
            Some(lengths) => sizes(&lengths)?,
            None => {
                let chunk = size.div_ceil(count);
                (0..count).map(|i| chunk.min(size.saturating_sub(i * chunk))).collect()
            }
        };
        let mut at = 0usize;
        let mut parts = Vec::new();
        for length in lengths {
            let end = at.checked_add(length).filter(|&end| end <= size).ok_or("parts within the whole")?;
            parts.push(x.take(axis, &(at..end).collect::<Vec<_>>(), self.budget)?);
            at = end;
        }
        Ok(parts)
    }

    fn range(&mut self) -> Result<Constant, String> {
        let [start, limit, delta] = [self.input(0)?, self.input(1)?, self.input(2)?];
        let number = |x: &Constant| x.scalar().ok_or("a number each as start, limit and delta");
        let (first, step) = (number(start)?, number(delta)?);
        let count = ((number(limit)? - first) / step).ceil().max(0.0);
        if count.is_nan() || count > 1e9 {
            return Err("a range of sensible length".into());
        }
        let count = count as usize;
        self.afford(&[count])?;
        let values: Vec<f64> = (0..count).map(|i| first + i as f64 * step).collect();
        Constant::from_numbers(start.kind(), vec![count], &Numbers::Floats(values), self.budget)
    }

    /// (x − zero point) · scale, where both have one number, or one per index of an axis.
    fn dequantize(&mut self) -> Result<Constant, String> {
        let (x, scale) = (self.input(0)?, self.input(1)?);
        let along = |parameter: &Constant| -> Result<Constant, String> {
            if parameter.len() == 1 {
                return parameter.reshaped(vec![]);
            }
            let axis = axis_of(self.node.int("axis").unwrap_or(1), x.shape().len())?;
            let mut shape = vec![1; x.shape().len()];
            shape[axis] = x.shape()[axis];
            parameter.reshaped(shape)
        };
        let scale = along(scale)?;
        let zero = self.inputs.get(2).copied().flatten().map(along).transpose()?;
        let (sx, ss) = (x.shape(), broadcast_strides(scale.shape(), x.shape()));
        let (Numbers::Ints(numbers), scales) = (x.numbers(self.budget)?, scale.floats(self.budget)?) else {
            return Err("whole numbers".into());
        };
        let zeros = match &zero {
            Some(zero) => zero.to_ints(self.budget)?,
            None => vec![0],
        };
        let sz = broadcast_strides(zero.as_ref().map_or(&[], |z| z.shape()), sx);
        self.afford(sx)?;
        let places = Odometer::new(sx, ss).zip(Odometer::new(sx, sz));
        let values = numbers.iter().zip(places).map(|(&v, (s, z))| v.saturating_sub(zeros[z]) as f64 * scales[s]);
        let numbers = Numbers::Floats(values.collect());
        Constant::from_numbers(Kind::F32, sx.to_vec(), &numbers, self.budget)
    }

    fn reduce(&mut self) -> Result<Constant, String> {
        let axes = self.ints(1, "axes")?;
        let x = self.input(0)?;
        let rank = x.shape().len();
        let axes = reduced_axes(self.node, axes.as_deref(), rank)?;
        let keep = self.node.int("keepdims").unwrap_or(1) != 0;
        // The place of each number: strides of the result, 0 along reduced axes.
        let kept: Vec<usize> =
            x.shape().iter().enumerate().map(|(i, &d)| if axes.contains(&i) { 1 } else { d }).collect();
        let strides: Vec<usize> =
            strides(&kept).into_iter().enumerate().map(|(i, s)| if axes.contains(&i) { 0 } else { s }).collect();
        self.afford(&kept)?;
        let count: usize = kept.iter().product();
        let each = x.len().checked_div(count).unwrap_or(0);
        let places = Odometer::new(x.shape(), strides);
        let operator = &self.node.operator["Reduce".len()..];
        let numbers = match (x.numbers(self.budget)?, operator) {
            (_, "Max" | "Min" | "Mean") if each == 0 => return Err("something to reduce".into()),
            (Numbers::Floats(values), _) => {
                let (start, step): (f64, fn(f64, f64) -> f64) = match operator {
                    "Sum" | "Mean" => (0.0, |a, v| a + v),
                    "SumSquare" | "L2" => (0.0, |a, v| a + v * v),
                    "Prod" => (1.0, |a, v| a * v),
                    "Max" => (f64::NEG_INFINITY, f64::max),
                    "Min" => (f64::INFINITY, f64::min),
                    _ => return Err(UNKNOWN.into()),
                };
                let mut sums = vec![start; count];
                values.iter().zip(places).for_each(|(&v, at)| sums[at] = step(sums[at], v));
                match operator {
                    "Mean" => sums.iter_mut().for_each(|v| *v /= each as f64),
                    "L2" => sums.iter_mut().for_each(|v| *v = v.sqrt()),
                    _ => {}
                }
                Numbers::Floats(sums)
            }
            (Numbers::Ints(values), _) => {
                let (start, step): (i64, fn(i64, i64) -> i64) = match operator {
                    "Sum" | "Mean" => (0, i64::wrapping_add),
                    "Prod" => (1, i64::wrapping_mul),
                    "Max" => (i64::MIN, |a, v| a.max(v)),
                    "Min" => (i64::MAX, |a, v| a.min(v)),
                    _ => return Err("floating-point numbers".into()),
                };
                let mut sums = vec![start; count];
                values.iter().zip(places).for_each(|(&v, at)| sums[at] = step(sums[at], v));
                if operator == "Mean" {
                    sums.iter_mut().for_each(|v| *v /= each as i64);
                }
                Numbers::Ints(sums)
            }
        };
        let shape = if keep { kept } else { without(&kept, &axes) };
        Constant::from_numbers(x.kind(), shape, &numbers, self.budget)
    }

    fn unary(&mut self) -> Result<Constant, String> {
        let x = self.input(0)?;
        self.afford(x.shape())?;
        let numbers = match (x.numbers(self.budget)?, self.node.operator.as_str()) {
            (Numbers::Floats(values), operator) => {
                let f: fn(f64) -> f64 = match operator {
                    "Abs" => f64::abs,
                    "Ceil" => f64::ceil,
                    "Exp" => f64::exp,
                    "Floor" => f64::floor,
                    "Log" => f64::ln,
                    "Neg" => |v| -v,
                    "Reciprocal" => f64::recip,
                    "Sqrt" => f64::sqrt,
                    _ => return Err("a Boolean".into()),
                };
                Numbers::Floats(values.into_iter().map(f).collect())
            }
            (Numbers::Ints(values), operator) => {
                let f: fn(i64) -> i64 = match operator {
                    "Abs" => i64::saturating_abs,
                    "Neg" => i64::saturating_neg,
                    "Not" => |v| i64::from(v == 0),
                    _ => return Err("floating-point numbers".into()),
                };
                Numbers::Ints(values.into_iter().map(f).collect())
            }
        };
        Constant::from_numbers(x.kind(), x.shape().to_vec(), &numbers, self.budget)
    }

    fn binary(&mut self) -> Result<Constant, String> {
        let first = self.input(0)?;
        if self.inputs.len() == 1 && matches!(self.node.operator.as_str(), "Max" | "Min") {
            return Ok(first.clone());
        }
        if self.inputs.len() > 2 {
            return Err(format!("two inputs, found {}", self.inputs.len()));
        }
        let second = legacy_broadcast(self.node, self.opset, first.shape().len(), self.input(1)?)?;
        let shape = broadcast(first.shape(), second.shape())?;
        self.afford(&shape)?;
        let places = Odometer::new(&shape, broadcast_strides(first.shape(), &shape))
            .zip(Odometer::new(&shape, broadcast_strides(second.shape(), &shape)));
        let operator = self.node.operator.as_str();
        let (a, b) = (first.numbers(self.budget)?, second.numbers(self.budget)?);
        let compared: Option<fn(f64, f64) -> bool> = match operator {
            "Equal" => Some(|a, b| a == b),
            "Less" => Some(|a, b| a < b),
            "LessOrEqual" => Some(|a, b| a <= b),
            "Greater" => Some(|a, b| a > b),
            "GreaterOrEqual" => Some(|a, b| a >= b),
            "And" => Some(|a, b| a != 0.0 && b != 0.0),
            "Or" => Some(|a, b| a != 0.0 || b != 0.0),
            _ => None,
        };
        if let Some(compare) = compared {
            let floats = |numbers| match numbers {
                Numbers::Floats(values) => values,
                Numbers::Ints(values) => values.into_iter().map(|v| v as f64).collect(),
            };
            let (a, b) = (floats(a), floats(b));
            let numbers = Numbers::Ints(places.map(|(i, j)| i64::from(compare(a[i], b[j]))).collect());
            return Constant::from_numbers(Kind::Bool, shape, &numbers, self.budget);
        }
        let (numbers, kind) = match (a, b) {
            (Numbers::Floats(a), b) => {
                let b = match b {
                    Numbers::Floats(b) => b,
                    // The exponent of a power may be an integer.
                    Numbers::Ints(b) => b.into_iter().map(|v| v as f64).collect(),
                };
                let f: fn(f64, f64) -> f64 = match operator {
                    "Add" => |a, b| a + b,
                    "Sub" => |a, b| a - b,
                    "Mul" => |a, b| a * b,
                    "Div" => |a, b| a / b,
                    "Pow" => f64::powf,
                    "Max" => f64::max,
                    "Min" => f64::min,
                    _ => return Err(UNKNOWN.into()),
                };
                // Half precision is for storage: results computed from it stay f32.
                let kind = if first.kind() == Kind::F64 { Kind::F64 } else { Kind::F32 };
                (Numbers::Floats(places.map(|(i, j)| f(a[i], b[j])).collect()), kind)
            }
            (Numbers::Ints(a), Numbers::Ints(b)) => {
                let f: fn(i64, i64) -> Option<i64> = match operator {
                    "Add" => i64::checked_add,
                    "Sub" => i64::checked_sub,
                    "Mul" => i64::checked_mul,
                    "Div" => i64::checked_div,
                    "Mod" => i64::checked_rem_euclid,
                    "Pow" => |a, b| a.checked_pow(u32::try_from(b).ok()?),
                    "Max" => |a, b| Some(a.max(b)),
                    "Min" => |a, b| Some(a.min(b)),
                    _ => return Err(UNKNOWN.into()),
                };
                let values: Option<Vec<i64>> = places.map(|(i, j)| f(a[i], b[j])).collect();
                (Numbers::Ints(values.ok_or("whole numbers that can be computed")?), first.kind())
            }
            (Numbers::Ints(_), Numbers::Floats(_)) => return Err("two values of one type".into()),
        };
        Constant::from_numbers(kind, shape, &numbers, self.budget)
    }
}

const UNKNOWN: &str = "an operator that can be computed without a picture";

fn scalar(value: i64) -> Result<Constant, String> {
    Constant::ints(&[value]).reshaped(vec![])
}

/// The range of dimensions that a `Shape` node selects.
pub(super) fn shape_slice(node: &Node, dims: &[i64]) -> Constant {
    let rank = dims.len() as i64;
    let clamp = |v: i64| (if v < 0 { v.saturating_add(rank) } else { v }).clamp(0, rank) as usize;
    let (start, end) = (clamp(node.int("start").unwrap_or(0)), clamp(node.int("end").unwrap_or(rank)));
    Constant::ints(dims.get(start..end).unwrap_or_default())
}
