//! The proof that no kernel accesses memory outside its bindings, on which the unchecked shaders of compile.rs rest.
//!
//! Every dispatch of a plan is interpreted on the CPU, invocation by invocation, from naga's module of the shader that the
//! driver gets. Integers and conditions are computed; numbers from memory are unknown. An index that is out of bounds, or
//! that depends on an unknown number, is a finding. Arrays have the lengths that the layer needs, not those of buffers that
//! the pipeline happens to share between layers.

use std::{collections::BTreeMap, fmt};

use naga::{
    AddressSpace, ArraySize, BinaryOperator, Block, BuiltIn, CooperativeData, Expression, Function, GlobalVariable,
    Handle, ImageClass, Literal, MathFunction, Module, ScalarKind, Statement, Type, TypeInner, UnaryOperator,
    proc::{IndexableLength, TypeResolution},
    valid::FunctionInfo,
};

use super::{Shader, job::LIMIT};
use crate::{
    kernels::{
        self, Algorithm, Family, Kernel, KernelConfig, Precision, Storage, TEXTURE_WIDTH,
        binding::{X, Y},
    },
    layers::{AdaptiveAvgPool, AvgPool, BatchNorm, Conv, Linear, LocalResponseNorm, MaxPool, Op},
    lower::Inference,
    model::Variant,
    network::Network,
    program::{Algorithms, Array, Bound, Dispatch, Options, Pass, Program, Role, read, write},
    select,
    shape::Shape,
    window::{Padding, Window},
};

/// A value, as far as indices depend on it. Booleans are words of 0 and 1, signed numbers their bits.
#[derive(Clone, Debug, PartialEq)]
enum Value {
    /// A value from memory, and every float.
    Unknown,
    Word(u32),
    /// Components of a vector, or members of a struct or an array.
    Many(Vec<Value>),
    Pointer(Pointer),
}

#[derive(Clone, Debug, PartialEq)]
enum Pointer {
    Global(Handle<GlobalVariable>, Vec<u32>),
    Local(usize, Vec<u32>),
}

/// The end of a block of statements.
enum Flow {
    Next,
    Break,
    Continue,
    Return(Value),
}

/// A dispatch, and the contents of its bindings.
struct Dispatched<'a> {
    uniform: &'a [u8],
    workgroups: [u32; 3],
    /// Bytes of each buffer, or texels of each texture, by binding.
    lengths: BTreeMap<u32, u64>,
}

/// The largest indices of one dispatch.
#[derive(Debug, Default)]
struct Reach {
    /// By binding: the largest index, and the number of elements.
    bindings: BTreeMap<u32, (u64, u64)>,
    findings: Vec<String>,
}

/// The numbering of invocations: within subgroups, it may differ from that of the workgroup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lanes {
    InOrder,
    /// As far off as the largest subgroup permits.
    Last,
}

struct Walker<'a> {
    module: &'a Module,
    shader: &'a Shader,
    dispatched: &'a Dispatched<'a>,
    uniform: Value,
    reach: Reach,
}

/// An invocation of a function.
struct Frame<'a> {
    function: &'a Function,
    info: &'a FunctionInfo,
    arguments: Vec<Value>,
    locals: Vec<Value>,
    /// The expressions emitted so far.
    known: Vec<Option<Value>>,
    /// Whether it may have returned already, depending on numbers in memory.
    may_have_returned: bool,
}

/// Interprets the dispatch and returns its reach.
fn walk(dispatched: &Dispatched<'_>, shader: &Shader, lanes: Lanes) -> Reach {
    let module = &shader.module;
    let uniform = module
        .global_variables
        .iter()
        .find(|(_, v)| v.space == AddressSpace::Uniform)
        .map_or(Value::Unknown, |(_, v)| decode(module, v.ty, dispatched.uniform));
    let mut walker = Walker { module, shader, dispatched, uniform, reach: Reach::default() };
    let [width, height, depth] = module.entry_points[0].workgroup_size;
    // Every workgroup of a few along an axis; of many, the ends and the middle.
    let picks = |count: u32| -> Vec<u32> {
        let mut picks = vec![0, 1, 2, count / 3, count / 2, count.saturating_sub(2), count - 1];
        picks.retain(|&i| i < count);
        picks.sort_unstable();
        picks.dedup();
        picks
    };
    let [xs, ys, zs] = dispatched.workgroups.map(picks);
    for (&z, &y) in zs.iter().flat_map(|z| ys.iter().map(move |y| (z, y))) {
        for &x in &xs {
            for index in 0..width * height * depth {
                let local = [index % width, index / width % height, index / (width * height)];
                walker.invocation([x, y, z], local, index, [width, height, depth], lanes);
                if !walker.reach.findings.is_empty() {
                    return walker.reach;
                }
            }
        }
    }
    walker.reach
}

/// The value of type `ty` that begins with `bytes`.
fn decode(module: &Module, ty: Handle<Type>, bytes: &[u8]) -> Value {
    let word = |at: usize| Value::Word(u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()));
    match &module.types[ty].inner {
        TypeInner::Scalar(scalar) if scalar.kind == ScalarKind::Float => Value::Unknown,
        TypeInner::Scalar(_) => word(0),
        TypeInner::Vector { scalar, .. } if scalar.kind == ScalarKind::Float => Value::Unknown,
        TypeInner::Vector { size, .. } => Value::Many((0..*size as usize).map(|i| word(4 * i)).collect()),
        TypeInner::Struct { members, .. } => {
            Value::Many(members.iter().map(|m| decode(module, m.ty, &bytes[m.offset as usize..])).collect())
        }
        TypeInner::Array { base, size: ArraySize::Constant(size), stride } => {
            let element = |i| decode(module, *base, &bytes[(i * stride) as usize..]);
            Value::Many((0..size.get()).map(element).collect())
        }
        other => panic!("a uniform of {other:?}"),
    }
}

impl<'a> Walker<'a> {
    fn invocation(&mut self, group: [u32; 3], local: [u32; 3], index: u32, size: [u32; 3], lanes: Lanes) {
        let vector = |values: [u32; 3]| Value::Many(values.map(Value::Word).to_vec());
        let entry = &self.module.entry_points[0];
        let arguments = entry.function.arguments.iter().map(|argument| match argument.binding {
            Some(naga::Binding::BuiltIn(BuiltIn::WorkGroupId)) => vector(group),
            Some(naga::Binding::BuiltIn(BuiltIn::LocalInvocationId)) => vector(local),
            Some(naga::Binding::BuiltIn(BuiltIn::GlobalInvocationId)) => {
                vector([0, 1, 2].map(|i| group[i] * size[i] + local[i]))
            }
            Some(naga::Binding::BuiltIn(BuiltIn::LocalInvocationIndex)) => Value::Word(index),
            Some(naga::Binding::BuiltIn(BuiltIn::SubgroupInvocationId)) => Value::Word(match lanes {
                Lanes::InOrder => index,
                Lanes::Last => 127,
            }),
            // Subgroups of 32, or one of the whole workgroup.
            Some(naga::Binding::BuiltIn(BuiltIn::SubgroupId)) => Value::Word(match lanes {
                Lanes::InOrder => index / 32,
                Lanes::Last => 0,
            }),
            Some(naga::Binding::BuiltIn(BuiltIn::NumSubgroups)) => Value::Word(match lanes {
                Lanes::InOrder => size.iter().product::<u32>().div_ceil(32),
                Lanes::Last => 1,
            }),
            ref other => panic!("{}: an argument of {other:?}", self.shader.label),
        });
        let arguments = arguments.collect();
        self.call(&entry.function, self.shader.info.get_entry_point(0), arguments);
    }

    fn call(&mut self, function: &'a Function, info: &'a FunctionInfo, arguments: Vec<Value>) -> Value {
        let mut frame = Frame {
            function,
            info,
            arguments,
            locals: vec![Value::Unknown; function.local_variables.len()],
            known: vec![None; function.expressions.len()],
            may_have_returned: false,
        };
        for (handle, local) in function.local_variables.iter() {
            let value = match local.init {
                Some(init) => self.evaluate(&mut frame, init),
                None => self.zero(local.ty),
            };
            frame.locals[handle.index()] = value;
        }
        match self.block(&mut frame, &function.body) {
            Flow::Return(value) if !frame.may_have_returned => value,
            _ => Value::Unknown,
        }
    }

    fn zero(&self, ty: Handle<Type>) -> Value {
        match &self.module.types[ty].inner {
            TypeInner::Scalar(scalar) if scalar.kind != ScalarKind::Float => Value::Word(0),
            TypeInner::Vector { size, scalar } if scalar.kind != ScalarKind::Float => {
                Value::Many(vec![Value::Word(0); *size as usize])
            }
            TypeInner::Struct { members, .. } => Value::Many(members.iter().map(|m| self.zero(m.ty)).collect()),
            TypeInner::Array { base, size: ArraySize::Constant(size), .. } => {
                Value::Many(vec![self.zero(*base); size.get() as usize])
            }
            _ => Value::Unknown,
        }
    }

    fn block(&mut self, frame: &mut Frame<'a>, block: &'a Block) -> Flow {
        for statement in block.iter() {
            match self.statement(frame, statement) {
                Flow::Next => {}
                other => return other,
            }
        }
        Flow::Next
    }

    fn statement(&mut self, frame: &mut Frame<'a>, statement: &'a Statement) -> Flow {
        match statement {
            Statement::Emit(range) => {
                for handle in range.clone() {
                    let value = self.compute(frame, handle);
                    frame.known[handle.index()] = Some(value);
                }
            }
            Statement::Block(block) => return self.block(frame, block),
            Statement::If { condition, accept, reject } => match self.evaluate(frame, *condition) {
                Value::Word(0) => return self.block(frame, reject),
                Value::Word(_) => return self.block(frame, accept),
                _ => {
                    // Either may happen.
                    let before = frame.locals.clone();
                    let accepted = self.block(frame, accept);
                    let after = std::mem::replace(&mut frame.locals, before);
                    let rejected = self.block(frame, reject);
                    match (accepted, rejected) {
                        (Flow::Next, Flow::Next) => {
                            for (local, other) in frame.locals.iter_mut().zip(after) {
                                if *local != other {
                                    *local = Value::Unknown;
                                }
                            }
                        }
                        // Where one returns, the other continues, and the function's result is unknown.
                        (Flow::Return(_), Flow::Return(_)) => return Flow::Return(Value::Unknown),
                        (Flow::Return(_), Flow::Next) => frame.may_have_returned = true,
                        (Flow::Next, Flow::Return(_)) => {
                            frame.locals = after;
                            frame.may_have_returned = true;
                        }
                        _ => self.find("a loop's end depends on numbers in memory"),
                    }
                }
            },
            Statement::Switch { .. } => panic!("{}: a switch", self.shader.label),
            Statement::Loop { body, continuing, break_if } => loop {
                match self.block(frame, body) {
                    Flow::Next | Flow::Continue => {}
                    Flow::Break => break,
                    other => return other,
                }
                if matches!(self.block(frame, continuing), Flow::Break) {
                    break;
                }
                if let Some(condition) = break_if {
                    match self.evaluate(frame, *condition) {
                        Value::Word(0) => {}
                        Value::Word(_) => break,
                        _ => {
                            self.find("a loop's end depends on numbers in memory");
                            break;
                        }
                    }
                }
                if !self.reach.findings.is_empty() {
                    break;
                }
            },
            Statement::Break => return Flow::Break,
            Statement::Continue => return Flow::Continue,
            Statement::Return { value } => {
                let value = value.map_or(Value::Unknown, |value| self.evaluate(frame, value));
                return Flow::Return(value);
            }
            Statement::ControlBarrier(_) | Statement::MemoryBarrier(_) => {}
            Statement::Store { pointer, value } => {
                let value = self.evaluate(frame, *value);
                if let Value::Pointer(Pointer::Local(local, path)) = self.evaluate(frame, *pointer) {
                    let mut place = &mut frame.locals[local];
                    for &index in &path {
                        match place {
                            Value::Many(values) => place = &mut values[index as usize],
                            // A component of a vector of floats.
                            _ => return Flow::Next,
                        }
                    }
                    *place = value;
                }
            }
            Statement::ImageStore { image, coordinate, .. } => self.texel(frame, *image, *coordinate),
            Statement::Call { function, arguments, result } => {
                let arguments = arguments.iter().map(|&argument| self.evaluate(frame, argument)).collect();
                let value = self.call(&self.module.functions[*function], &self.shader.info[*function], arguments);
                if let Some(result) = result {
                    frame.known[result.index()] = Some(value);
                }
            }
            Statement::CooperativeStore { target, data } => self.matrix(frame, *target, data),
            Statement::SubgroupGather { result, .. } => frame.known[result.index()] = Some(Value::Unknown),
            other => panic!("{}: {other:?}", self.shader.label),
        }
        Flow::Next
    }

    fn find(&mut self, what: impl fmt::Display) {
        self.reach.findings.push(format!("{}: {what}", self.shader.label));
    }

    /// The value of an expression that was emitted, or needs no emitting.
    fn evaluate(&mut self, frame: &mut Frame<'a>, handle: Handle<Expression>) -> Value {
        match &frame.known[handle.index()] {
            Some(value) => value.clone(),
            None => self.compute(frame, handle),
        }
    }

    fn inner(&self, frame: &Frame<'a>, handle: Handle<Expression>) -> &'a TypeInner {
        match &frame.info[handle].ty {
            TypeResolution::Handle(ty) => &self.module.types[*ty].inner,
            TypeResolution::Value(inner) => inner,
        }
    }

    fn kind(&self, frame: &Frame<'a>, handle: Handle<Expression>) -> Option<ScalarKind> {
        self.inner(frame, handle).scalar_kind()
    }

    fn compute(&mut self, frame: &mut Frame<'a>, handle: Handle<Expression>) -> Value {
        let function = frame.function;
        match &function.expressions[handle] {
            Expression::ImageLoad { image, coordinate, .. } => {
                self.texel(frame, *image, *coordinate);
                Value::Unknown
            }
            Expression::CooperativeLoad { data, .. } => {
                self.matrix(frame, handle, data);
                Value::Unknown
            }
            Expression::Access { base, index } if matches!(self.inner(frame, *base), TypeInner::Vector { .. }) => {
                let (base_value, index) = (self.evaluate(frame, *base), self.evaluate(frame, *index));
                let TypeInner::Vector { size, .. } = self.inner(frame, *base) else { return Value::Unknown };
                match (base_value, index) {
                    (_, Value::Word(i)) if i >= *size as u32 => {
                        self.find(format!("component {i} of a vector"));
                        Value::Unknown
                    }
                    (Value::Many(values), Value::Word(i)) => values[i as usize].clone(),
                    (_, Value::Word(_)) => Value::Unknown,
                    _ => {
                        self.find("a vector's component depends on numbers in memory");
                        Value::Unknown
                    }
                }
            }
            // Floats are never indices, so nothing needs to be known about them.
            _ if self.kind(frame, handle) == Some(ScalarKind::Float)
                && self.inner(frame, handle).pointer_space().is_none() =>
            {
                Value::Unknown
            }
            Expression::Literal(literal) => scalar(*literal),
            Expression::Constant(constant) => self.constant(self.module.constants[*constant].init),
            Expression::ZeroValue(ty) => self.zero(*ty),
            Expression::Compose { ty, components } => {
                let flat = matches!(self.module.types[*ty].inner, TypeInner::Vector { .. });
                let mut all = Vec::new();
                for &component in components {
                    match self.evaluate(frame, component) {
                        Value::Many(values) if flat => all.extend(values),
                        value => all.push(value),
                    }
                }
                Value::Many(all)
            }
            Expression::Access { base, index } => {
                let index = self.evaluate(frame, *index);
                self.access(frame, *base, index)
            }
            Expression::AccessIndex { base, index } => self.access(frame, *base, Value::Word(*index)),
            Expression::Splat { size, value } => Value::Many(vec![self.evaluate(frame, *value); *size as usize]),
            Expression::Swizzle { size, vector, pattern } => match self.evaluate(frame, *vector) {
                Value::Many(values) => {
                    Value::Many(pattern[..*size as usize].iter().map(|&c| values[c as usize].clone()).collect())
                }
                _ => Value::Unknown,
            },
            Expression::FunctionArgument(index) => frame.arguments[*index as usize].clone(),
            Expression::GlobalVariable(variable) => Value::Pointer(Pointer::Global(*variable, vec![])),
            Expression::LocalVariable(variable) => Value::Pointer(Pointer::Local(variable.index(), vec![])),
            Expression::Load { pointer } => match self.evaluate(frame, *pointer) {
                Value::Pointer(Pointer::Global(variable, path))
                    if self.module.global_variables[variable].space == AddressSpace::Uniform =>
                {
                    follow(&self.uniform, &path)
                }
                Value::Pointer(Pointer::Local(local, path)) => follow(&frame.locals[local], &path),
                _ => Value::Unknown,
            },
            Expression::Unary { op, expr } => {
                let kind = self.kind(frame, *expr);
                map(self.evaluate(frame, *expr), |v| match (op, kind) {
                    (UnaryOperator::Negate, _) => v.wrapping_neg(),
                    (UnaryOperator::LogicalNot, _) => u32::from(v == 0),
                    (UnaryOperator::BitwiseNot, _) => !v,
                })
            }
            Expression::Binary { op, left, right } => {
                let signed = self.kind(frame, *left) == Some(ScalarKind::Sint);
                let (left, right) = (self.evaluate(frame, *left), self.evaluate(frame, *right));
                self.binary(*op, signed, left, right)
            }
            Expression::Select { condition, accept, reject } => {
                let condition = self.evaluate(frame, *condition);
                let (accept, reject) = (self.evaluate(frame, *accept), self.evaluate(frame, *reject));
                select(condition, accept, reject)
            }
            Expression::Math { fun, arg, arg1: Some(second), .. } => {
                let signed = self.kind(frame, *arg) == Some(ScalarKind::Sint);
                let (first, second) = (self.evaluate(frame, *arg), self.evaluate(frame, *second));
                let smaller = self.binary(BinaryOperator::Less, signed, first.clone(), second.clone());
                match fun {
                    MathFunction::Min => select(smaller, first, second),
                    MathFunction::Max => select(smaller, second, first),
                    _ => Value::Unknown,
                }
            }
            // u32 and i32 are the same bits; a float is unknown, and none of these shaders converts to bool.
            Expression::As { expr, .. } => self.evaluate(frame, *expr),
            _ => Value::Unknown,
        }
    }

    fn constant(&self, handle: Handle<Expression>) -> Value {
        match &self.module.global_expressions[handle] {
            Expression::Literal(literal) => scalar(*literal),
            Expression::Constant(constant) => self.constant(self.module.constants[*constant].init),
            _ => Value::Unknown,
        }
    }

    fn binary(&mut self, op: BinaryOperator, signed: bool, left: Value, right: Value) -> Value {
        let (a, b) = match (left, right) {
            (Value::Many(a), b) => {
                let pairs = a.into_iter().enumerate().map(|(i, a)| match &b {
                    Value::Many(b) => (a, b[i].clone()),
                    b => (a, b.clone()),
                });
                let pairs: Vec<_> = pairs.collect();
                return Value::Many(pairs.into_iter().map(|(a, b)| self.binary(op, signed, a, b)).collect());
            }
            (a, Value::Many(b)) => {
                return Value::Many(b.into_iter().map(|b| self.binary(op, signed, a.clone(), b)).collect());
            }
            (Value::Word(a), Value::Word(b)) => (a, b),
            (Value::Word(known), _) | (_, Value::Word(known)) => {
                // One known operand may decide the result.
                return match (op, known) {
                    (BinaryOperator::LogicalAnd | BinaryOperator::And | BinaryOperator::Multiply, 0) => Value::Word(0),
                    (BinaryOperator::LogicalOr, 1) => Value::Word(1),
                    _ => Value::Unknown,
                };
            }
            _ => return Value::Unknown,
        };
        let (sa, sb) = (a as i32, b as i32);
        let less = if signed { sa < sb } else { a < b };
        let more = if signed { sa > sb } else { a > b };
        let word = match op {
            BinaryOperator::Add => a.wrapping_add(b),
            BinaryOperator::Subtract => a.wrapping_sub(b),
            BinaryOperator::Multiply => a.wrapping_mul(b),
            BinaryOperator::Divide | BinaryOperator::Modulo if b == 0 => {
                self.find("a division by zero");
                0
            }
            BinaryOperator::Divide if signed => sa.wrapping_div(sb) as u32,
            BinaryOperator::Modulo if signed => sa.wrapping_rem(sb) as u32,
            BinaryOperator::Divide => a / b,
            BinaryOperator::Modulo => a % b,
            BinaryOperator::Equal => (a == b).into(),
            BinaryOperator::NotEqual => (a != b).into(),
            BinaryOperator::Less => less.into(),
            BinaryOperator::LessEqual => (!more).into(),
            BinaryOperator::Greater => more.into(),
            BinaryOperator::GreaterEqual => (!less).into(),
            BinaryOperator::And | BinaryOperator::LogicalAnd => a & b,
            BinaryOperator::ExclusiveOr => a ^ b,
            BinaryOperator::InclusiveOr | BinaryOperator::LogicalOr => a | b,
            BinaryOperator::ShiftLeft => a.wrapping_shl(b),
            BinaryOperator::ShiftRight if signed => sa.wrapping_shr(b) as u32,
            BinaryOperator::ShiftRight => a.wrapping_shr(b),
        };
        Value::Word(word)
    }

    /// A part of `base`: for a pointer, the pointer to the part, which must be within its array.
    fn access(&mut self, frame: &mut Frame<'a>, base: Handle<Expression>, index: Value) -> Value {
        match self.evaluate(frame, base) {
            Value::Pointer(Pointer::Global(variable, mut path)) => {
                let Value::Word(index) = index else {
                    self.find(format!("an index into {} depends on numbers in memory", self.name(variable)));
                    return Value::Unknown;
                };
                if path.is_empty() {
                    self.check(variable, index);
                }
                path.push(index);
                Value::Pointer(Pointer::Global(variable, path))
            }
            Value::Pointer(Pointer::Local(local, mut path)) => {
                let Value::Word(index) = index else {
                    self.find("an index into a variable depends on numbers in memory");
                    return Value::Unknown;
                };
                if let Value::Many(values) = follow(&frame.locals[local], &path)
                    && index as usize >= values.len()
                {
                    self.find(format!("index {index} of {} values of a variable", values.len()));
                    return Value::Unknown;
                }
                path.push(index);
                Value::Pointer(Pointer::Local(local, path))
            }
            Value::Many(values) => match index {
                Value::Word(index) => values[index as usize].clone(),
                _ => Value::Unknown,
            },
            _ => Value::Unknown,
        }
    }

    fn name(&self, variable: Handle<GlobalVariable>) -> String {
        self.module.global_variables[variable].name.clone().unwrap_or_default()
    }

    /// Checks that element `index` of an array exists.
    fn check(&mut self, variable: Handle<GlobalVariable>, index: u32) {
        let global = &self.module.global_variables[variable];
        match &self.module.types[global.ty].inner {
            inner @ TypeInner::Array { stride, .. } => {
                let count = match (inner.indexable_length_resolved(self.module), &global.binding) {
                    (Ok(IndexableLength::Known(count)), _) => u64::from(count),
                    (_, Some(binding)) => self.dispatched.lengths[&binding.binding] / u64::from(*stride),
                    (length, None) => panic!("{}: {} has {length:?}", self.shader.label, self.name(variable)),
                };
                self.within(variable, index.into(), count);
            }
            // A uniform's members are constants of the shader.
            TypeInner::Struct { .. } => {}
            other => panic!("{}: a global {other:?}", self.shader.label),
        }
    }

    fn within(&mut self, variable: Handle<GlobalVariable>, index: u64, count: u64) {
        if let Some(binding) = &self.module.global_variables[variable].binding {
            let reached = self.reach.bindings.entry(binding.binding).or_insert((0, count));
            reached.0 = reached.0.max(index);
        }
        if index >= count {
            self.find(format!("index {index} of {count} in {}", self.name(variable)));
        }
    }

    /// Checks that all elements of a cooperative matrix exist, whose type is that of `matrix`.
    fn matrix(&mut self, frame: &mut Frame<'a>, matrix: Handle<Expression>, data: &CooperativeData) {
        let &TypeInner::CooperativeMatrix { columns, rows, .. } = self.inner(frame, matrix) else {
            panic!("{}: a cooperative matrix of another type", self.shader.label)
        };
        assert_eq!(columns, rows, "{}", self.shader.label);
        let last = rows as u32 - 1;
        match (self.evaluate(frame, data.pointer), self.evaluate(frame, data.stride)) {
            (Value::Pointer(Pointer::Global(variable, path)), Value::Word(stride)) if path.len() == 1 => {
                self.check(variable, path[0] + last * stride + last);
            }
            other => self.find(format!("a cooperative matrix at {other:?}")),
        }
    }

    /// Checks that a texel exists; textures are flat arrays in rows.
    fn texel(&mut self, frame: &mut Frame<'a>, image: Handle<Expression>, coordinate: Handle<Expression>) {
        let Value::Pointer(Pointer::Global(variable, _)) = self.evaluate(frame, image) else {
            panic!("{}: an image that is no variable", self.shader.label)
        };
        let global = &self.module.global_variables[variable];
        assert!(
            matches!(
                self.module.types[global.ty].inner,
                TypeInner::Image { class: ImageClass::Storage { .. } | ImageClass::Sampled { .. }, .. }
            ),
            "{}",
            self.shader.label
        );
        let binding = global.binding.as_ref().map_or(0, |b| b.binding);
        match self.evaluate(frame, coordinate) {
            Value::Many(at) => match at[..] {
                [Value::Word(x), Value::Word(y)] if x < TEXTURE_WIDTH => {
                    let index = u64::from(y) * u64::from(TEXTURE_WIDTH) + u64::from(x);
                    self.within(variable, index, self.dispatched.lengths[&binding]);
                }
                _ => self.find(format!("texel {at:?} of {}", self.name(variable))),
            },
            other => self.find(format!("texel {other:?} of {}", self.name(variable))),
        }
    }
}

fn scalar(literal: Literal) -> Value {
    match literal {
        Literal::U32(v) => Value::Word(v),
        Literal::I32(v) => Value::Word(v as u32),
        Literal::Bool(v) => Value::Word(v.into()),
        _ => Value::Unknown,
    }
}

fn follow(value: &Value, path: &[u32]) -> Value {
    let part = path.iter().try_fold(value, |value, &index| match value {
        Value::Many(values) => values.get(index as usize),
        _ => None,
    });
    part.cloned().unwrap_or(Value::Unknown)
}

fn map(value: Value, of: impl Fn(u32) -> u32 + Copy) -> Value {
    match value {
        Value::Word(word) => Value::Word(of(word)),
        Value::Many(values) => Value::Many(values.into_iter().map(|v| map(v, of)).collect()),
        other => other,
    }
}

fn select(condition: Value, accept: Value, reject: Value) -> Value {
    match condition {
        Value::Word(0) => reject,
        Value::Word(_) => accept,
        Value::Many(conditions) => {
            let part = |value: &Value, i: usize| match value {
                Value::Many(values) => values[i].clone(),
                other => other.clone(),
            };
            let parts = conditions.into_iter().enumerate();
            Value::Many(parts.map(|(i, c)| select(c, part(&accept, i), part(&reject, i))).collect())
        }
        _ if accept == reject => accept,
        _ => Value::Unknown,
    }
}

/// A network of one layer, its algorithm and precision, and the batch.
struct Walk {
    network: Network,
    config: KernelConfig,
    algorithm: Option<Algorithm>,
    precision: Precision,
    batch: usize,
}

impl fmt::Display for Walk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { network, config, algorithm, precision, batch } = self;
        let layer = &network.layers()[0];
        write!(f, "{:?} of {}, {config:?} {algorithm:?} {precision}, batch {batch}", layer.op, layer.input)
    }
}

/// Interprets every dispatch and returns their number.
fn walk_all(walk: &Walk, shaders: &mut BTreeMap<Kernel, Shader>) -> Result<usize, String> {
    let Walk { network, config, algorithm, precision, batch } = walk;
    let algorithms: Algorithms =
        network.layers().iter().filter_map(|l| Some((l.name.clone(), (*algorithm)?))).collect();
    let (config, precision, batch) = (*config, *precision, *batch);
    let options = Options { config, batch, precision, algorithms: &algorithms, limit: LIMIT, top: 5 };
    let program = Inference::lower(network, options).map_err(|e| e.to_string())?.program;
    for dispatch in &program.dispatches {
        let shader = shaders.entry(dispatch.kernel.clone()).or_insert_with(|| Shader::new(&dispatch.kernel));
        walk_dispatch(&program, dispatch, shader).map_err(|finding| format!("{walk}: {finding}"))?;
    }
    Ok(program.dispatches.len())
}

fn walk_dispatch(program: &Program, dispatch: &Dispatch, shader: &Shader) -> Result<(), String> {
    let length = |bound: &Bound| {
        let array = program.get(bound.array);
        (bound.number, if array.storage == Storage::StorageBuffer { array.bytes } else { array.len() })
    };
    let lengths = dispatch.bound.iter().map(length).collect();
    let dispatched = Dispatched { uniform: &dispatch.uniform, workgroups: dispatch.workgroups, lengths };
    let lanes =
        if dispatch.kernel.features().is_empty() { &[Lanes::InOrder][..] } else { &[Lanes::InOrder, Lanes::Last] };
    for &lanes in lanes {
        let reach = walk(&dispatched, shader, lanes);
        if let Some(finding) = reach.findings.first() {
            return Err(format!("{finding} ({:?})", reach.bindings));
        }
    }
    Ok(())
}

/// Ops, their input and the batch, at shapes that are prone to wrong indices.
fn edges() -> Vec<(Op, Shape, usize)> {
    let mut all = Vec::new();
    // Equal kernel and input, strides beyond the kernel, first layers in rows.
    for (channels, side, stride) in
        [(3, 5, 4), (3, 8, 12), (2, 3, 6), (1, 4, 8), (3, 1, 4), (1, 3, 4), (3, 8, 4), (5, 3, 1)]
    {
        for batch in [1, 2, 9, 17] {
            let window = Window::square(side, stride);
            let conv = Conv { window, ..Conv::new(6, side) };
            all.push((Op::Conv(conv), Shape::new(channels, side, side), batch));
            all.push((Op::Conv(conv), Shape::new(channels, side + 3, side + 5), batch));
        }
    }
    let uneven = Padding { top: 0, left: 2, bottom: 1, right: 0 };
    let cells = Window { kernel: [5, 11], stride: [2, 4], padding: uneven, dilation: [1, 1] };
    for (conv, input) in [
        (Conv::new(1, 1), Shape::new(1, 1, 1)),
        (Conv::new(5, 3).padding(1), Shape::new(3, 1, 1)),
        (Conv::new(33, 3).padding(1), Shape::new(9, 7, 6)),
        (Conv::new(8, 3).groups(8).padding(1), Shape::new(8, 6, 7)),
        (Conv::new(5, 3).groups(5), Shape::new(5, 6, 7)),
        (Conv::new(14, 3).groups(7), Shape::new(21, 5, 5)),
        (Conv::new(64, 3).groups(2).padding(1), Shape::new(32, 6, 5)),
        (Conv::new(24, 11).stride(4), Shape::new(3, 23, 19)),
        (Conv::new(9, 11).stride(4).padding(2), Shape::new(3, 22, 18)),
        (Conv { window: cells, ..Conv::new(5, 1) }, Shape::new(1, 23, 18)),
        (Conv::new(70, 5).padding(2), Shape::new(8, 9, 11)),
        (Conv::new(12, 1), Shape::new(130, 3, 3)),
    ] {
        all.extend([1, 3].map(|batch| (Op::Conv(conv), input, batch)));
    }
    for batch in [1, 2, 3, 8, 9, 16, 17] {
        all.push((Op::Linear(Linear::new(10)), Shape::new(5, 3, 2), batch));
        all.push((Op::Linear(Linear::new(131)), Shape::vector(77), batch));
    }
    let gaps = |kernel, stride: usize, dilation: [usize; 2], padding: Padding| Window {
        dilation,
        padding,
        ..Window::square(kernel, stride)
    };
    for (window, input) in [
        (gaps(3, 1, [2, 2], 2.into()), Shape::new(8, 9, 7)),
        (gaps(3, 2, [3, 1], uneven), Shape::new(3, 9, 8)),
        (gaps(2, 1, [4, 5], Padding::default()), Shape::new(5, 5, 6)),
    ] {
        for batch in [1, 3] {
            let conv = Conv { window, ..Conv::new(10, 1) };
            all.push((Op::Conv(conv), input, batch));
            all.push((
                Op::Conv(Conv { out_channels: 3 * input.channels, ..conv.groups(input.channels) }),
                input,
                batch,
            ));
            all.push((Op::MaxPool(MaxPool { window }), input, batch));
            for (count, ceil) in [(false, true), (true, false), (true, true)] {
                all.push((
                    Op::AvgPool(AvgPool::new(1, 1).window(window).count_padding(count).ceil(ceil)),
                    input,
                    batch,
                ));
            }
        }
    }
    all.push((Op::BatchNorm(BatchNorm::new(1e-5)), Shape::new(7, 5, 3), 2));
    let max = |pool| Op::MaxPool(pool);
    let average = |h, w| Op::AdaptiveAvgPool(AdaptiveAvgPool { output: [h, w] });
    all.extend([
        (max(MaxPool::new(1, 1)), Shape::new(1, 1, 1), 1),
        (max(MaxPool::new(3, 2)), Shape::new(5, 13, 13), 3),
        (max(MaxPool::new(3, 2).padding(Padding { top: 0, left: 0, bottom: 1, right: 2 })), Shape::new(7, 12, 10), 1),
        (max(MaxPool::new(2, 3).padding(1)), Shape::new(4, 9, 9), 2),
        (average(6, 6), Shape::new(6, 13, 7), 2),
        (average(3, 5), Shape::new(3, 2, 2), 1),
        (average(1, 1), Shape::new(10, 7, 5), 1),
        // Folded dispatches, and products beyond 32 bits.
        (max(MaxPool::new(1, 1)), Shape::new(3, 70_000, 2), 2),
        (average(66_000, 1), Shape::new(1, 70_000, 1), 1),
        (Op::Conv(Conv::new(4, 1).groups(4)), Shape::new(4, 70_000, 1), 2),
        (Op::Conv(Conv::new(1, 1)), Shape::new(1, 2000, 2000), 1),
        (Op::LocalResponseNorm(LocalResponseNorm::PAPER), Shape::new(5, 3, 2), 2),
        (Op::LocalResponseNorm(LocalResponseNorm { size: 9, ..LocalResponseNorm::CAFFE }), Shape::new(48, 3, 2), 2),
        (Op::Softmax, Shape::vector(10), 3),
        (Op::Softmax, Shape::vector(257), 2),
        (Op::Softmax, Shape::new(7, 5, 3), 2),
        (Op::Softmax, Shape::new(1, 300, 250), 1),
    ]);
    all
}

/// All families, storages, algorithms and precisions on every edge case: no index is out of bounds, whatever an invocation's
/// lane. Every seventh combination by default; all of them with `ALEXNET_ALL_BOUNDS=1`.
#[test]
fn no_kernel_reaches_past_its_bindings() {
    let mut walks = Vec::new();
    for (op, input, batch) in edges() {
        let network = Network::new("one layer", input, [("layer".to_string(), op)]).unwrap();
        for config in select::all_configs() {
            let winograd = [2, 3, 4].map(|tile| Some(Algorithm::Winograd { tile }));
            let split = [2, 3, 16].map(|parts| Some(Algorithm::SplitK { parts }));
            let tiles = [(16, 1), (32, 3), (128, 2)].map(|(rows, parts)| Some(Algorithm::Tile { rows, parts }));
            let algorithms: Vec<_> = match op {
                Op::Conv(_) => {
                    [None, Some(Algorithm::Direct)].into_iter().chain(winograd).chain(split).chain(tiles).collect()
                }
                Op::Linear(_) => [None].into_iter().chain(split).chain(tiles).collect(),
                _ => vec![None],
            };
            let precisions = if matches!(op, Op::Linear(_)) { &Precision::ALL[..] } else { &[Precision::F32] };
            for (algorithm, &precision) in algorithms.iter().flat_map(|&a| precisions.iter().map(move |p| (a, p))) {
                walks.push(Walk { network: network.clone(), config, algorithm, precision, batch });
            }
        }
    }
    if std::env::var_os("ALEXNET_ALL_BOUNDS").is_none() {
        // Coprime to the numbers of kernel configurations and algorithms, so that each meets each.
        walks = walks.into_iter().step_by(7).collect();
    }
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let walked: usize = std::thread::scope(|scope| {
        let walks = &walks;
        let workers: Vec<_> = (0..threads)
            .map(|thread| {
                scope.spawn(move || {
                    let mut shaders = BTreeMap::new();
                    let of_thread = walks.iter().skip(thread).step_by(threads);
                    of_thread.map(|walk| walk_all(walk, &mut shaders).unwrap_or_else(|e| panic!("{e}"))).sum::<usize>()
                })
            })
            .collect();
        workers.into_iter().map(|worker| worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))).sum()
    });
    println!("{} layers and ways to compute them, {walked} dispatches", walks.len());
    assert!(walked > 1000, "{walked}");
}

/// Whole networks as planned on GPUs and on software adapters.
#[test]
fn no_kernel_of_a_whole_network_reaches_past_its_bindings() {
    let mut shaders = BTreeMap::new();
    for variant in [Variant::Ungrouped, Variant::Caffe] {
        for (family, storage) in [
            (Family::WorkgroupTiled, Storage::StorageBuffer),
            (Family::SubgroupBroadcast { lanes: 8 }, Storage::StorageTexture),
            (Family::SubgroupBroadcast { lanes: 4 }, Storage::SampledTexture),
            (Family::CooperativeMatrix { size: 16, lanes: 32 }, Storage::StorageBuffer),
        ] {
            for batch in [1, 5] {
                let network = variant.standard().width(0.25).head(256, 256).network().unwrap();
                let config = KernelConfig { family, storage };
                let walk = Walk { network, config, algorithm: None, precision: Precision::F32, batch };
                walk_all(&walk, &mut shaders).unwrap();
            }
        }
    }
}

/// The kernels of training steps. Every fifth program by default; all of them with `ALEXNET_ALL_BOUNDS=1`.
#[test]
fn training_reaches_no_further_than_its_bindings() {
    let mut shaders = BTreeMap::new();
    let mut walked = 0;
    // Coprime to the numbers of kernel configurations and of ways to lower a network.
    let step = if std::env::var_os("ALEXNET_ALL_BOUNDS").is_some() { 1 } else { 5 };
    for program in super::training::programs().step_by(step) {
        for step in &program.steps {
            for dispatch in program.dispatches_of(step) {
                let shader = shaders.entry(dispatch.kernel.clone()).or_insert_with(|| Shader::new(&dispatch.kernel));
                walk_dispatch(&program, dispatch, shader).unwrap();
                walked += 1;
            }
        }
    }
    assert!(walked > 500, "{walked}");
}

/// The kernels of the largest outputs.
#[test]
fn top_k_reaches_no_further_than_its_bindings() {
    for (family, storage) in [Family::WorkgroupTiled, Family::SubgroupBroadcast { lanes: 8 }]
        .into_iter()
        .flat_map(|family| Storage::ALL.map(|storage| (family, storage)))
    {
        for (k, classes, batch) in [(1, 1usize, 1), (5, 10, 2), (5, 1000, 3), (257, 257, 1)] {
            let mut program = Program::default();
            let x = Array::quads("x", classes.div_ceil(4) * batch, storage, Role::Input);
            let y =
                Array { bytes: (8 * k * batch) as u64, ..Array::quads("y", 0, Storage::StorageBuffer, Role::Output) };
            let (x, y) = (program.array(x), program.array(y));
            program
                .dispatch(
                    "top",
                    kernels::top_k(KernelConfig { family, storage }, k, classes, batch),
                    &[read(X, x), write(Y, y)],
                )
                .unwrap();
            let dispatch = &program.dispatches[0];
            walk_dispatch(&program, dispatch, &Shader::new(&dispatch.kernel)).unwrap();
        }
    }
}

/// The kernels of comparisons, whole and in tiles; those of the trunk are walked above.
#[test]
fn comparisons_reach_no_further_than_their_bindings() {
    let mut shaders = BTreeMap::new();
    let mut walked = 0;
    for storage in Storage::ALL {
        for pair in super::pair::programs(KernelConfig { family: Family::WorkgroupTiled, storage }) {
            for step in pair.program.steps.iter().filter(|step| step.pass != Pass::FORWARD) {
                for dispatch in pair.program.dispatches_of(step) {
                    let shader =
                        shaders.entry(dispatch.kernel.clone()).or_insert_with(|| Shader::new(&dispatch.kernel));
                    walk_dispatch(&pair.program, dispatch, shader).unwrap();
                    walked += 1;
                }
            }
        }
    }
    assert!(walked > 100, "{walked}");
}
