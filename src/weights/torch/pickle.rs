//! A reader of Python pickles that can build tensors and the plain containers they come in, and nothing else.
//!
//! A pickle is a program for a stack machine. This one knows the opcodes that `torch.save` writes (protocols 2
//! to 5) and the few globals of state dicts; any other global is an error that names it. Nothing is executed:
//! the "calls" it follows are those that describe a tensor's storage, shape and strides.

use std::collections::HashMap;

use super::DType;

/// A value's place in [`Pickle::values`]. Values refer to each other only so, which makes cycles harmless.
pub(super) type Id = u32;

/// What a pickle may build.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value<'a> {
    None,
    Bool(bool),
    Int(i128),
    Float,
    Text(&'a str),
    Bytes,
    Tuple(Vec<Id>),
    List(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    Global(Global),
    Storage(Storage<'a>),
    Tensor(View<'a>),
}

impl Value<'_> {
    /// What it is, for messages.
    fn describe(&self) -> &'static str {
        match self {
            Self::None => "None",
            Self::Bool(_) => "a bool",
            Self::Int(_) => "an integer",
            Self::Float => "a float",
            Self::Text(_) => "a text",
            Self::Bytes => "bytes",
            Self::Tuple(_) => "a tuple",
            Self::List(_) => "a list",
            Self::Dict(_) => "a dict",
            Self::Global(_) => "a global",
            Self::Storage(_) => "a storage",
            Self::Tensor(_) => "a tensor",
        }
    }
}

/// What the numbers of a storage are.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Kind {
    /// torch's name of the storage.
    pub name: &'static str,
    /// Bytes of one number.
    pub size: usize,
    /// Where it can be a weight.
    pub dtype: Option<DType>,
}

/// The storages of torch.
static KINDS: [Kind; 12] = {
    const fn weight(name: &'static str, dtype: DType) -> Kind {
        Kind { name, size: dtype.size(), dtype: Some(dtype) }
    }
    const fn other(name: &'static str, size: usize) -> Kind {
        Kind { name, size, dtype: None }
    }
    [
        weight("HalfStorage", DType::F16),
        weight("BFloat16Storage", DType::BF16),
        weight("FloatStorage", DType::F32),
        weight("DoubleStorage", DType::F64),
        other("BoolStorage", 1),
        other("ByteStorage", 1),
        other("CharStorage", 1),
        other("ShortStorage", 2),
        other("IntStorage", 4),
        other("LongStorage", 8),
        other("ComplexFloatStorage", 8),
        other("ComplexDoubleStorage", 16),
    ]
};

/// The names a pickle may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Global {
    OrderedDict,
    Storage(&'static Kind),
    RebuildTensor,
    RebuildParameter,
}

impl Global {
    fn find(module: &str, name: &str) -> Option<Self> {
        match (module, name) {
            ("collections", "OrderedDict") => Some(Self::OrderedDict),
            ("torch._utils", "_rebuild_tensor" | "_rebuild_tensor_v2") => Some(Self::RebuildTensor),
            ("torch._utils", "_rebuild_parameter") => Some(Self::RebuildParameter),
            ("torch", name) => KINDS.iter().find(|kind| kind.name == name).map(Self::Storage),
            _ => None,
        }
    }
}

/// Numbers that tensors are views of: they lie elsewhere in the file, under `key`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Storage<'a> {
    pub kind: &'static Kind,
    pub key: &'a str,
    /// Numbers, not bytes.
    pub len: usize,
    /// Where this storage begins in the one that lies in the file, in numbers.
    pub start: usize,
}

/// A tensor: a view of a storage. Offset and strides are in numbers.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct View<'a> {
    pub storage: Storage<'a>,
    pub offset: usize,
    pub shape: Vec<usize>,
    pub strides: Vec<usize>,
}

/// Why a pickle could not be read.
#[derive(Debug)]
pub(super) enum Fault {
    /// It asks for a name that is not a tensor's.
    Global(String),
    /// What was expected and found.
    Malformed(String),
}

impl From<String> for Fault {
    fn from(what: String) -> Self {
        Self::Malformed(what)
    }
}

/// A pickle that was read.
pub(super) struct Pickle<'a> {
    values: Vec<Value<'a>>,
    /// What it comes to.
    pub root: Id,
    /// Its length in bytes.
    pub len: usize,
}

impl<'a> Pickle<'a> {
    pub fn get(&self, id: Id) -> &Value<'a> {
        &self.values[id as usize]
    }

    /// Every storage that is spoken of.
    pub fn storages(&self) -> impl Iterator<Item = &Storage<'a>> {
        self.values.iter().filter_map(|value| match value {
            Value::Storage(storage) => Some(storage),
            _ => None,
        })
    }

    /// The text that a value is.
    pub fn text(&self, id: Id) -> Option<&'a str> {
        text(&self.values, id)
    }

    /// Reads the pickle that `input` begins with.
    pub fn read(input: &'a [u8]) -> Result<Self, Fault> {
        let mut machine = Machine {
            input,
            position: 0,
            values: Vec::new(),
            stack: Vec::new(),
            marks: Vec::new(),
            memo: HashMap::new(),
            copied: 0,
        };
        let root = machine.run()?;
        Ok(Self { values: machine.values, root, len: machine.position })
    }
}

/// A checkpoint of thousands of tensors builds tens of thousands of values.
const MAX_VALUES: usize = 1 << 20;

/// No tensor that is read has more dimensions.
const MAX_RANK: usize = 8;

struct Machine<'a> {
    input: &'a [u8],
    position: usize,
    values: Vec<Value<'a>>,
    stack: Vec<Id>,
    marks: Vec<usize>,
    memo: HashMap<u32, Id>,
    /// Pairs that were copied to dicts.
    copied: usize,
}

impl<'a> Machine<'a> {
    fn run(&mut self) -> Result<Id, Fault> {
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
                // FRAME: its length is of use to streams only.
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
                    let v = integer(self.take(n.into())?).ok_or_else(|| format!("an integer of {n} bytes at {at}"))?;
                    self.push(Value::Int(v))?;
                }
                b'G' => {
                    self.skip(8)?;
                    self.push(Value::Float)?;
                }
                // Texts: BINUNICODE, SHORT_BINUNICODE, BINUNICODE8, and Python 2's BINSTRING, SHORT_BINSTRING.
                b'X' | b'T' => {
                    let n = u32::from_le_bytes(self.array()?);
                    self.push_text(n.into())?;
                }
                0x8c | b'U' => {
                    let [n] = self.array()?;
                    self.push_text(n.into())?;
                }
                0x8d => {
                    let n = u64::from_le_bytes(self.array()?);
                    self.push_text(n)?;
                }
                // BINBYTES, SHORT_BINBYTES
                b'B' => {
                    let n = u32::from_le_bytes(self.array()?);
                    self.skip(n as usize)?;
                    self.push(Value::Bytes)?;
                }
                b'C' => {
                    let [n] = self.array()?;
                    self.skip(n.into())?;
                    self.push(Value::Bytes)?;
                }
                b')' => self.push(Value::Tuple(Vec::new()))?,
                b']' => self.push(Value::List(Vec::new()))?,
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
                // APPEND, APPENDS, SETITEM, SETITEMS
                b'a' => {
                    let item = self.pop()?;
                    self.append(&[item])?;
                }
                b'e' => {
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
                // REDUCE, BUILD, BINPERSID
                b'R' => {
                    let (arguments, function) = (self.pop()?, self.pop()?);
                    let value = self.reduce(function, arguments)?;
                    self.push(value)?;
                }
                b'b' => {
                    // Attributes of a dict (a state dict's versions) or of a tensor (hooks): not needed.
                    self.pop()?;
                    match self.top()? {
                        Value::Dict(_) | Value::Tensor(_) => {}
                        other => {
                            return Err(format!("attributes of a dict or a tensor, found {}", other.describe()).into());
                        }
                    }
                }
                b'Q' => {
                    let id = self.pop()?;
                    let storage = self.storage(id)?;
                    self.push(Value::Storage(storage))?;
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

    fn push_text(&mut self, n: u64) -> Result<(), Fault> {
        let n = usize::try_from(n).map_err(|_| "a text that fits in memory".to_string())?;
        let text = std::str::from_utf8(self.take(n)?).map_err(|_| "a text in UTF-8".to_string())?;
        self.push(Value::Text(text))
    }

    /// The top of the stack above the last mark.
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
            other => return Err(format!("a list to append to, found {}", other.describe()).into()),
        }
        Ok(())
    }

    fn set(&mut self, items: &[Id]) -> Result<(), Fault> {
        match (self.top()?, items.as_chunks()) {
            (Value::Dict(dict), (pairs, [])) => dict.extend(pairs.iter().map(|&[key, value]| (key, value))),
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

    fn global(&mut self, module: &str, name: &str) -> Result<(), Fault> {
        let global = Global::find(module, name).ok_or_else(|| {
            let full: String = format!("{module}.{name}").chars().filter(|c| !c.is_control()).take(120).collect();
            Fault::Global(full)
        })?;
        self.push(Value::Global(global))
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

    /// The result of the call of a known global.
    fn reduce(&mut self, function: Id, arguments: Id) -> Result<Value<'a>, Fault> {
        let arguments = self.tuple(arguments)?;
        match (&self.values[function as usize], arguments) {
            (Value::Global(Global::OrderedDict), []) => Ok(Value::Dict(Vec::new())),
            // Python 2's: a list of pairs.
            (Value::Global(Global::OrderedDict), [pairs]) => {
                let Value::List(pairs) = &self.values[*pairs as usize] else {
                    return Err("a list of pairs for an OrderedDict".to_string().into());
                };
                // The same list can be copied again and again.
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
            (Value::Global(Global::RebuildTensor), [storage, offset, sizes, strides, ..]) => {
                let Value::Storage(storage) = self.values[*storage as usize] else {
                    return Err("a tensor's storage".to_string().into());
                };
                let (shape, strides) = (self.sizes(*sizes)?, self.sizes(*strides)?);
                if shape.len() != strides.len() {
                    return Err(format!("one stride a dimension, found {shape:?} and {strides:?}").into());
                }
                Ok(Value::Tensor(View { storage, offset: self.size(*offset)?, shape, strides }))
            }
            // data, requires_grad, hooks
            (Value::Global(Global::RebuildParameter), [data, ..]) => match &self.values[*data as usize] {
                Value::Tensor(view) => Ok(Value::Tensor(view.clone())),
                other => Err(format!("a parameter's tensor, found {}", other.describe()).into()),
            },
            (function, _) => Err(format!("a call that builds a tensor, found {}", function.describe()).into()),
        }
    }

    /// The storage that a persistent id names: `('storage', type, key, location, numbers)`, and before 1.6
    /// perhaps a view of it, `(key, offset, numbers)`.
    fn storage(&self, id: Id) -> Result<Storage<'a>, Fault> {
        let (name, kind, key, len, view) = match *self.tuple(id)? {
            [name, kind, key, _, len] => (name, kind, key, len, None),
            [name, kind, key, _, len, view] => (name, kind, key, len, Some(view)),
            _ => return Err("a storage's description".to_string().into()),
        };
        let (Some("storage"), Value::Global(Global::Storage(kind)), Some(key)) =
            (text(&self.values, name), &self.values[kind as usize], text(&self.values, key))
        else {
            return Err("a storage's type and key".to_string().into());
        };
        let storage = Storage { kind, key, len: self.size(len)?, start: 0 };
        match view.map(|view| (view, &self.values[view as usize])) {
            None | Some((_, Value::None)) => Ok(storage),
            Some((view, _)) => match *self.tuple(view)? {
                [_, start, len] => Ok(Storage { start: self.size(start)?, len: self.size(len)?, ..storage }),
                _ => Err("a view of a storage".to_string().into()),
            },
        }
    }
}

fn too_many() -> Fault {
    Fault::Malformed(format!("at most {MAX_VALUES} values, as a state dict has"))
}

fn text<'a>(values: &[Value<'a>], id: Id) -> Option<&'a str> {
    match values[id as usize] {
        Value::Text(text) => Some(text),
        _ => None,
    }
}

/// A little-endian two's complement integer of at most 16 bytes.
fn integer(bytes: &[u8]) -> Option<i128> {
    let negative = bytes.last().is_some_and(|b| b & 0x80 != 0);
    let mut wide = [if negative { 0xff } else { 0 }; 16];
    wide.get_mut(..bytes.len())?.copy_from_slice(bytes);
    Some(i128::from_le_bytes(wide))
}
