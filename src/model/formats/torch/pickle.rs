//! A reader of Python pickles that builds tensors and the plain containers around them.
//!
//! A pickle is a program for a stack machine. This reader supports the opcodes that Python writes in protocols 2 to 5 and the
//! few globals of state dicts. Nothing is executed: the only "calls" it follows describe a tensor's storage, shape and
//! strides. Any other call yields an [`Object`] of which only the class is known. Names that are useful only to attackers are
//! errors.

mod machine;

use self::machine::Machine;
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
        Machine::new(input).run()
    }
}

/// A global's full name, shortened for messages.
pub(super) fn full_name(module: &str, name: &str) -> String {
    format!("{module:.80}.{name:.80}").chars().filter(|c| !c.is_control()).take(120).collect()
}

fn text<'a>(values: &[Value<'a>], id: Id) -> Option<&'a str> {
    match values[id as usize] {
        Value::Text(text) => Some(text),
        _ => None,
    }
}
