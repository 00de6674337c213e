//! The stack machine that a pickle is a program for.

use std::collections::HashMap;

use super::{Fault, Global, Id, Object, Pickle, Storage, Value, View, full_name, is_attack, text};

/// The most values of a pickle: a checkpoint of thousands of tensors builds tens of thousands.
const MAX_VALUES: usize = 1 << 20;

/// The highest rank of a tensor.
const MAX_RANK: usize = 8;

/// The stack machine of a pickle's opcodes.
pub(super) struct Machine<'a> {
    input: &'a [u8],
    position: usize,
    values: Vec<Value<'a>>,
    stack: Vec<Id>,
    marks: Vec<usize>,
    memo: HashMap<u32, Id>,
    /// The number of pairs copied to dicts.
    copied: usize,
}

impl<'a> Machine<'a> {
    /// A machine before the first opcode of `input`.
    pub fn new(input: &'a [u8]) -> Self {
        Self {
            input,
            position: 0,
            values: Vec::new(),
            stack: Vec::new(),
            marks: Vec::new(),
            memo: HashMap::new(),
            copied: 0,
        }
    }

    /// Runs the pickle to its end.
    pub fn run(mut self) -> Result<Pickle<'a>, Fault> {
        let root = self.steps()?;
        Ok(Pickle { values: self.values, root, len: self.position })
    }

    /// Runs the opcodes until the one that ends the pickle, and returns the outermost value.
    fn steps(&mut self) -> Result<Id, Fault> {
        loop {
            let at = self.position;
            let [opcode] = self.array()?;
            match opcode {
                // PROTO
                0x80 => {
                    let [version] = self.array()?;
                    if !(2..=5).contains(&version) {
                        return Err(format!("a pickle of protocol 2 to 5, found {version}").into());
                    }
                }
                // FRAME: its length is needed only by streams.
                0x95 => self.skip(8)?,
                // STOP
                b'.' => return self.pop(),
                b'(' => self.marks.push(self.stack.len()),
                // POP, POP_MARK
                b'0' => drop(self.pop()?),
                b'1' => drop(self.pop_mark()?),
                b'N' => self.push(Value::None)?,
                0x88 => self.push(Value::Bool(true))?,
                0x89 => self.push(Value::Bool(false))?,
                // BININT, BININT1, BININT2, LONG1, BINFLOAT
                b'J' => {
                    let v = i32::from_le_bytes(self.array()?);
                    self.push(Value::Int(v.into()))?;
                }
                b'K' => {
                    let [v] = self.array()?;
                    self.push(Value::Int(v.into()))?;
                }
                b'M' => {
                    let v = u16::from_le_bytes(self.array()?);
                    self.push(Value::Int(v.into()))?;
                }
                0x8a => {
                    let [n] = self.array()?;
                    self.push_integer(n.into())?;
                }
                // LONG4
                0x8b => {
                    let n = i32::from_le_bytes(self.array()?);
                    self.push_integer(u64::try_from(n).map_err(|_| format!("a length at {at}, found {n}"))?)?;
                }
                b'G' => {
                    self.skip(8)?;
                    self.push(Value::Float)?;
                }
                // Texts: BINUNICODE, SHORT_BINUNICODE, BINUNICODE8, and Python 2's BINSTRING, SHORT_BINSTRING.
                b'X' | b'T' => {
                    let n = u32::from_le_bytes(self.array()?);
                    self.push_text(n.into(), opcode == b'X')?;
                }
                0x8c | b'U' => {
                    let [n] = self.array()?;
                    self.push_text(n.into(), opcode == 0x8c)?;
                }
                0x8d => {
                    let n = u64::from_le_bytes(self.array()?);
                    self.push_text(n, true)?;
                }
                // BINBYTES, SHORT_BINBYTES, BINBYTES8, BYTEARRAY8
                b'B' => {
                    let n = u32::from_le_bytes(self.array()?);
                    self.push_bytes(n.into())?;
                }
                b'C' => {
                    let [n] = self.array()?;
                    self.push_bytes(n.into())?;
                }
                0x8e | 0x96 => {
                    let n = u64::from_le_bytes(self.array()?);
                    self.push_bytes(n)?;
                }
                b')' => self.push(Value::Tuple(Vec::new()))?,
                // EMPTY_LIST, EMPTY_SET
                b']' | 0x8f => self.push(Value::List(Vec::new()))?,
                b'}' => self.push(Value::Dict(Vec::new()))?,
                // TUPLE, TUPLE1, TUPLE2, TUPLE3
                b't' => {
                    let items = self.pop_mark()?;
                    self.push(Value::Tuple(items))?;
                }
                0x85..=0x87 => {
                    let mut items = vec![0; usize::from(opcode - 0x84)];
                    for item in items.iter_mut().rev() {
                        *item = self.pop()?;
                    }
                    self.push(Value::Tuple(items))?;
                }
                // FROZENSET
                0x91 => {
                    let items = self.pop_mark()?;
                    self.push(Value::List(items))?;
                }
                // DUP
                b'2' => {
                    let id = self.top_id()?;
                    self.stack.push(id);
                }
                // APPEND, APPENDS and ADDITEMS, SETITEM, SETITEMS
                b'a' => {
                    let item = self.pop()?;
                    self.append(&[item])?;
                }
                b'e' | 0x90 => {
                    let items = self.pop_mark()?;
                    self.append(&items)?;
                }
                b's' => {
                    let value = self.pop()?;
                    let key = self.pop()?;
                    self.set(&[key, value])?;
                }
                b'u' => {
                    let items = self.pop_mark()?;
                    self.set(&items)?;
                }
                // BINGET, LONG_BINGET, BINPUT, LONG_BINPUT, MEMOIZE
                b'h' => {
                    let [key] = self.array()?;
                    self.recall(key.into())?;
                }
                b'j' => {
                    let key = u32::from_le_bytes(self.array()?);
                    self.recall(key)?;
                }
                b'q' => {
                    let [key] = self.array()?;
                    self.remember(key.into())?;
                }
                b'r' => {
                    let key = u32::from_le_bytes(self.array()?);
                    self.remember(key)?;
                }
                0x94 => self.remember(self.memo.len() as u32)?,
                // GLOBAL, STACK_GLOBAL
                b'c' => {
                    let module = self.line()?;
                    let name = self.line()?;
                    self.global(module, name)?;
                }
                0x93 => {
                    let (name, module) = (self.pop()?, self.pop()?);
                    match (text(&self.values, module), text(&self.values, name)) {
                        (Some(module), Some(name)) => self.global(module, name)?,
                        _ => return Err(format!("a module and a name at {at}").into()),
                    }
                }
                // REDUCE and NEWOBJ, NEWOBJ_EX, BUILD, BINPERSID
                b'R' | 0x81 => {
                    let (arguments, function) = (self.pop()?, self.pop()?);
                    let value = self.reduce(function, arguments)?;
                    self.push(value)?;
                }
                0x92 => {
                    let (_, arguments, function) = (self.pop()?, self.pop()?, self.pop()?);
                    let value = self.reduce(function, arguments)?;
                    self.push(value)?;
                }
                b'b' => {
                    // Attributes of a dict (a state dict's versions), of a tensor (hooks), or of an object. Not needed.
                    self.pop()?;
                    self.top_id()?;
                }
                b'Q' => {
                    let id = self.pop()?;
                    let storage = self.storage(id)?;
                    self.push(storage)?;
                }
                other => return Err(format!("the opcodes of a state dict, found {other:#04x} at {at}").into()),
            }
        }
    }

    fn take(&mut self, n: usize) -> Result<&'a [u8], Fault> {
        let rest = &self.input[self.position..];
        let taken = rest.get(..n).ok_or_else(|| format!("{n} bytes at {}, found {}", self.position, rest.len()))?;
        self.position += n;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    fn skip(&mut self, n: usize) -> Result<(), Fault> {
        self.take(n).map(drop)
    }

    fn line(&mut self) -> Result<&'a str, Fault> {
        let rest = &self.input[self.position..];
        let n = rest.iter().take(256).position(|&b| b == b'\n').ok_or_else(|| "a name's end".to_string())?;
        let line = std::str::from_utf8(&rest[..n]).map_err(|_| "a name in UTF-8".to_string())?;
        self.position += n + 1;
        Ok(line)
    }

    fn push(&mut self, value: Value<'a>) -> Result<(), Fault> {
        if self.values.len() == MAX_VALUES {
            return Err(too_many());
        }
        self.stack.push(self.values.len() as Id);
        self.values.push(value);
        Ok(())
    }

    /// Pushes a text. Python 2's may be arbitrary bytes.
    fn push_text(&mut self, n: u64, unicode: bool) -> Result<(), Fault> {
        let n = usize::try_from(n).map_err(|_| "a text that fits in memory".to_string())?;
        match std::str::from_utf8(self.take(n)?) {
            Ok(text) => self.push(Value::Text(text)),
            Err(_) if unicode => Err("a text in UTF-8".to_string().into()),
            Err(_) => self.push(Value::Bytes),
        }
    }

    fn push_bytes(&mut self, n: u64) -> Result<(), Fault> {
        self.skip(usize::try_from(n).map_err(|_| "bytes that fit in memory".to_string())?)?;
        self.push(Value::Bytes)
    }

    /// Pushes an integer of `n` bytes; the value of a long one is not kept.
    fn push_integer(&mut self, n: u64) -> Result<(), Fault> {
        let bytes = self.take(usize::try_from(n).map_err(|_| "an integer that fits in memory".to_string())?)?;
        self.push(integer(bytes).map_or(Value::Float, Value::Int))
    }

    /// Pops the top of the stack above the last mark.
    fn pop(&mut self) -> Result<Id, Fault> {
        let floor = self.marks.last().copied().unwrap_or(0);
        match self.stack.pop() {
            Some(id) if self.stack.len() >= floor => Ok(id),
            _ => Err(format!("a value on the stack at {}", self.position).into()),
        }
    }

    fn pop_mark(&mut self) -> Result<Vec<Id>, Fault> {
        let mark = self.marks.pop().ok_or_else(|| format!("a mark on the stack at {}", self.position))?;
        Ok(self.stack.split_off(mark))
    }

    fn top_id(&self) -> Result<Id, Fault> {
        Ok(*self.stack.last().ok_or_else(|| format!("a value on the stack at {}", self.position))?)
    }

    fn top(&mut self) -> Result<&mut Value<'a>, Fault> {
        let id = self.top_id()?;
        Ok(&mut self.values[id as usize])
    }

    fn append(&mut self, items: &[Id]) -> Result<(), Fault> {
        match self.top()? {
            Value::List(list) => list.extend(items),
            Value::Object(_) => {}
            other => return Err(format!("a list to append to, found {}", other.describe()).into()),
        }
        Ok(())
    }

    fn set(&mut self, items: &[Id]) -> Result<(), Fault> {
        match (self.top()?, items.as_chunks()) {
            (Value::Dict(dict) | Value::Object(Object { pairs: dict, .. }), (pairs, [])) => {
                dict.extend(pairs.iter().map(|&[key, value]| (key, value)));
            }
            (other, _) => return Err(format!("a dict and pairs for it, found {}", other.describe()).into()),
        }
        Ok(())
    }

    fn remember(&mut self, key: u32) -> Result<(), Fault> {
        let id = self.top_id()?;
        self.memo.insert(key, id);
        Ok(())
    }

    fn recall(&mut self, key: u32) -> Result<(), Fault> {
        let id = *self.memo.get(&key).ok_or_else(|| format!("a value remembered as {key}"))?;
        self.stack.push(id);
        Ok(())
    }

    fn global(&mut self, module: &'a str, name: &'a str) -> Result<(), Fault> {
        if is_attack(module, name) {
            return Err(Fault::Global(full_name(module, name)));
        }
        self.push(Value::Global(Global::find(module, name)))
    }

    fn tuple(&self, id: Id) -> Result<&[Id], Fault> {
        match &self.values[id as usize] {
            Value::Tuple(items) => Ok(items),
            other => Err(format!("a tuple, found {}", other.describe()).into()),
        }
    }

    fn size(&self, id: Id) -> Result<usize, Fault> {
        match &self.values[id as usize] {
            Value::Int(v) => usize::try_from(*v).map_err(|_| format!("a size of at least 0, found {v}").into()),
            other => Err(format!("a size, found {}", other.describe()).into()),
        }
    }

    fn sizes(&self, id: Id) -> Result<Vec<usize>, Fault> {
        let items = self.tuple(id)?;
        if items.len() > MAX_RANK {
            return Err(format!("at most {MAX_RANK} dimensions, found {}", items.len()).into());
        }
        items.iter().map(|&item| self.size(item)).collect()
    }

    /// The result of a call, followed only where it builds a tensor or a dict.
    fn reduce(&mut self, function: Id, arguments: Id) -> Result<Value<'a>, Fault> {
        let arguments = self.tuple(arguments)?;
        let &Value::Global(function) = &self.values[function as usize] else {
            // Methods and results of calls are as unknown as the calls.
            return Ok(Value::Object(Object::new("", "")));
        };
        match (function, arguments) {
            (Global::Dict, []) | (Global::DefaultDict, _) => Ok(Value::Dict(Vec::new())),
            // Python 2's form: a list of pairs.
            (Global::Dict, [pairs]) => {
                let Value::List(pairs) = &self.values[*pairs as usize] else {
                    return Err("a list of pairs for an OrderedDict".to_string().into());
                };
                // The same list can be copied repeatedly.
                self.copied += pairs.len();
                if self.copied > MAX_VALUES {
                    return Err(too_many());
                }
                let pair = |&id: &Id| match &self.values[id as usize] {
                    Value::Tuple(pair) | Value::List(pair) => match **pair {
                        [key, value] => Ok((key, value)),
                        _ => Err(Fault::Malformed("pairs for an OrderedDict".into())),
                    },
                    other => Err(Fault::Malformed(format!("a pair for an OrderedDict, found {}", other.describe()))),
                };
                Ok(Value::Dict(pairs.iter().map(pair).collect::<Result<_, _>>()?))
            }
            // storage, offset, sizes, strides, and in v2 requires_grad and hooks
            (Global::RebuildTensor, [storage, offset, sizes, strides, ..]) => {
                let storage = match &self.values[*storage as usize] {
                    Value::Storage(storage) => *storage,
                    Value::Object(unknown) => return Ok(Value::Object(Object::new(unknown.module, unknown.name))),
                    _ => return Err("a tensor's storage".to_string().into()),
                };
                let (shape, strides) = (self.sizes(*sizes)?, self.sizes(*strides)?);
                if shape.len() != strides.len() {
                    return Err(format!("one stride a dimension, found {shape:?} and {strides:?}").into());
                }
                Ok(Value::Tensor(View { storage, offset: self.size(*offset)?, shape, strides }))
            }
            // data, requires_grad, hooks
            (Global::RebuildParameter, [data, ..]) => match &self.values[*data as usize] {
                Value::Tensor(view) => Ok(Value::Tensor(view.clone())),
                Value::Object(unknown) => Ok(Value::Object(Object::new(unknown.module, unknown.name))),
                other => Err(format!("a parameter's tensor, found {}", other.describe()).into()),
            },
            (Global::RebuildFromType, &[function, _, arguments, ..])
                if self.values[function as usize] == Value::Global(Global::RebuildTensor) =>
            {
                self.reduce(function, arguments)
            }
            (Global::Other(module, name), _) => Ok(Value::Object(Object::new(module, name))),
            (Global::RebuildFromType, _) => Ok(Value::Object(Object::new("torch._tensor", "_rebuild_from_type_v2"))),
            (Global::Storage(kind), _) => Ok(Value::Object(Object::new("torch", kind.name))),
            (Global::Dict | Global::RebuildTensor | Global::RebuildParameter, other) => {
                Err(format!("the arguments of a tensor or a dict, found {} of them", other.len()).into())
            }
        }
    }

    /// The storage of a persistent id: `('storage', type, key, location, numbers)`, before 1.6 optionally with a view of it,
    /// `(key, offset, numbers)`.
    fn storage(&self, id: Id) -> Result<Value<'a>, Fault> {
        let (name, kind, key, len, view) = match *self.tuple(id)? {
            [name, kind, key, _, len] => (name, kind, key, len, None),
            [name, kind, key, _, len, view] => (name, kind, key, len, Some(view)),
            _ => return Err("a storage's description".to_string().into()),
        };
        let kind = match &self.values[kind as usize] {
            Value::Global(Global::Storage(kind)) => kind,
            // A storage type that is not supported.
            Value::Global(Global::Other(module, name)) => return Ok(Value::Object(Object::new(module, name))),
            _ => return Err("a storage's type".to_string().into()),
        };
        let (Some("storage"), Some(key)) = (text(&self.values, name), text(&self.values, key)) else {
            return Err("a storage's key".to_string().into());
        };
        let storage = Storage { kind, key, len: self.size(len)?, start: 0 };
        Ok(Value::Storage(match view.map(|view| (view, &self.values[view as usize])) {
            None | Some((_, Value::None)) => storage,
            Some((view, _)) => match *self.tuple(view)? {
                [_, start, len] => Storage { start: self.size(start)?, len: self.size(len)?, ..storage },
                _ => return Err("a view of a storage".to_string().into()),
            },
        }))
    }
}

fn too_many() -> Fault {
    Fault::Malformed(format!("at most {MAX_VALUES} values, as a state dict has"))
}

/// A little-endian two's complement integer of at most 16 bytes.
fn integer(bytes: &[u8]) -> Option<i128> {
    let negative = bytes.last().is_some_and(|b| b & 0x80 != 0);
    let mut wide = [if negative { 0xff } else { 0 }; 16];
    wide.get_mut(..bytes.len())?.copy_from_slice(bytes);
    Some(i128::from_le_bytes(wide))
}
