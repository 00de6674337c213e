//! A reader of Python pickles that builds tensors and the plain containers around them.
//!
//! A pickle is a program for a stack machine. This reader supports the opcodes that Python writes in protocols 2 to 5 and the
//! few globals of state dicts. Nothing is executed: the only "calls" it follows describe a tensor's storage, shape and
//! strides. Any other call yields an [`Object`] of which only the class is known. Names that are useful only to attackers are
//! errors.

use std::collections::HashMap;

use crate::weights::DType;

/// A value's index in [`Pickle::values`]. Values refer to each other only by index, which makes cycles harmless.
pub(super) type Id = u32;

/// A value that a pickle may build.
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
    Global(Global<'a>),
    Object(Object<'a>),
    Storage(Storage<'a>),
    Tensor(View<'a>),
}

/// The result of calling an unknown global, which is not called.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Object<'a> {
    /// The global's module.
    pub module: &'a str,
    /// The global's name.
    pub name: &'a str,
    /// The pairs that were set on it, as on a dict.
    pub pairs: Vec<(Id, Id)>,
}

impl<'a> Object<'a> {
    fn new(module: &'a str, name: &'a str) -> Self {
        Self { module, name, pairs: Vec::new() }
    }

    /// Whether this is a tensor of an unsupported kind.
    pub fn is_tensor(&self) -> bool {
        let torchs = self.module == "torch" || self.module.starts_with("torch.");
        torchs && (self.name.starts_with("_rebuild") || self.name.ends_with("Storage"))
    }
}

impl Value<'_> {
    /// A description for error messages.
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
            Self::Object(_) => "an object",
            Self::Storage(_) => "a storage",
            Self::Tensor(_) => "a tensor",
        }
    }
}

/// The type of a storage's numbers.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Kind {
    /// torch's name of the storage type.
    pub name: &'static str,
    /// The size of one number in bytes.
    pub size: usize,
    /// The type as a weight's; `None` where weights cannot have it.
    pub dtype: Option<DType>,
}

/// torch's storage types.
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

/// A global that a pickle refers to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Global<'a> {
    /// A dict, empty or from pairs.
    Dict,
    /// An empty dict, whatever its arguments.
    DefaultDict,
    Storage(&'static Kind),
    RebuildTensor,
    RebuildParameter,
    /// Calls another global with arguments: `func, type, args, state`.
    RebuildFromType,
    /// Anything else: module and name.
    Other(&'a str, &'a str),
}

impl<'a> Global<'a> {
    fn find(module: &'a str, name: &'a str) -> Self {
        match (module, name) {
            ("collections", "OrderedDict") | ("builtins" | "__builtin__", "dict") => Self::Dict,
            ("collections", "defaultdict") => Self::DefaultDict,
            ("torch._utils", "_rebuild_tensor" | "_rebuild_tensor_v2") => Self::RebuildTensor,
            ("torch._utils", "_rebuild_parameter" | "_rebuild_parameter_with_state") => Self::RebuildParameter,
            ("torch._tensor", "_rebuild_from_type_v2") => Self::RebuildFromType,
            ("torch", _) => {
                let kind = KINDS.iter().find(|kind| kind.name == name);
                kind.map_or(Self::Other(module, name), Self::Storage)
            }
            _ => Self::Other(module, name),
        }
    }
}

/// Whether a name is useful in a checkpoint only for running code where Python loads it.
fn is_attack(module: &str, name: &str) -> bool {
    const MODULES: [&str; 12] = [
        "os",
        "posix",
        "nt",
        "subprocess",
        "_posixsubprocess",
        "pty",
        "shutil",
        "socket",
        "runpy",
        "ctypes",
        "webbrowser",
        "importlib",
    ];
    const FUNCTIONS: [&str; 8] = ["eval", "exec", "execfile", "compile", "__import__", "open", "input", "breakpoint"];
    let package = module.split('.').next().unwrap_or(module);
    // `builtins.open` and similar, under each of its names.
    let builtin = matches!(module, "builtins" | "__builtin__" | "__builtins__" | "io" | "_io");
    MODULES.contains(&package) || (builtin && FUNCTIONS.contains(&name))
}

/// The numbers that tensors are views of, stored elsewhere in the file under `key`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Storage<'a> {
    pub kind: &'static Kind,
    pub key: &'a str,
    /// The length in numbers.
    pub len: usize,
    /// The offset of this storage in the one stored in the file, in numbers.
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

/// The reason why a pickle cannot be read.
#[derive(Debug)]
pub(super) enum Fault {
    /// A name that only an attack needs.
    Global(String),
    /// The expected and the actual content.
    Malformed(String),
}

impl From<String> for Fault {
    fn from(what: String) -> Self {
        Self::Malformed(what)
    }
}

/// A pickle's values.
pub(super) struct Pickle<'a> {
    values: Vec<Value<'a>>,
    /// The outermost value.
    pub root: Id,
    /// The pickle's length in bytes.
    pub len: usize,
}

impl<'a> Pickle<'a> {
    pub fn get(&self, id: Id) -> &Value<'a> {
        &self.values[id as usize]
    }

    /// The pairs of a dict, or those set on an object as on a dict.
    pub fn pairs(&self, id: Id) -> Option<&[(Id, Id)]> {
        match self.get(id) {
            Value::Dict(pairs) => Some(pairs),
            Value::Object(object) if !object.pairs.is_empty() => Some(&object.pairs),
            _ => None,
        }
    }

    /// All storages that the pickle refers to.
    pub fn storages(&self) -> impl Iterator<Item = &Storage<'a>> {
        self.values.iter().filter_map(|value| match value {
            Value::Storage(storage) => Some(storage),
            _ => None,
        })
    }

    /// The text of a value.
    pub fn text(&self, id: Id) -> Option<&'a str> {
        text(&self.values, id)
    }

    /// Reads the pickle at the start of `input`.
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

/// The most values of a pickle: a checkpoint of thousands of tensors builds tens of thousands.
const MAX_VALUES: usize = 1 << 20;

/// The highest rank of a tensor.
const MAX_RANK: usize = 8;

struct Machine<'a> {
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

/// A global's full name, shortened for messages.
pub(super) fn full_name(module: &str, name: &str) -> String {
    format!("{module:.80}.{name:.80}").chars().filter(|c| !c.is_control()).take(120).collect()
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
