//! Tensor messages as constants, with numbers in the file or in external files.

use std::{
    collections::HashMap,
    path::{Component, Path, PathBuf},
};

use bytes::Bytes;

use super::{
    constant::{Constant, Kind},
    malformed,
    proto::{EXTERNAL, TensorProto},
};
use crate::weights::{WeightsError, map::map, part};

/// A reader of tensor messages; each external file is opened once.
pub(super) struct Reader<'a> {
    path: Option<&'a Path>,
    files: HashMap<String, Bytes>,
}

/// A tensor's name for error messages.
fn name(proto: &TensorProto) -> String {
    format!("`{:.80}`", proto.name)
}

fn kind(proto: &TensorProto) -> Result<Kind, String> {
    let found = || format!("numbers in tensor {}, found ONNX data type {}", name(proto), proto.data_type);
    Kind::of(proto.data_type.into()).ok_or_else(found)
}

/// A tensor with its numbers in the message.
pub(super) fn inline(proto: &TensorProto) -> Result<Constant, String> {
    if proto.data_location == EXTERNAL {
        return Err(format!("the numbers of {} in the file itself, found them in another", name(proto)));
    }
    let kind = kind(proto)?;
    let joined = |chunks: &[Bytes]| match chunks {
        [one] => one.clone(),
        many => many.concat().into(),
    };
    let bytes = match (&proto.raw_data, kind) {
        (Some(raw), _) => raw.clone(),
        (None, Kind::F32) => joined(&proto.float_data),
        (None, Kind::F64) => joined(&proto.double_data),
        (None, Kind::I64) => proto.int64_data.iter().flat_map(|v| v.to_le_bytes()).collect(),
        (None, Kind::U64) => proto.uint64_data.iter().flat_map(|v| v.to_le_bytes()).collect(),
        (None, Kind::U32) => proto.uint64_data.iter().flat_map(|&v| (v as u32).to_le_bytes()).collect(),
        // The other types are stored in the low bits of integers.
        (None, _) => match kind.size() {
            1 => proto.int32_data.iter().map(|&v| v as u8).collect(),
            2 => proto.int32_data.iter().flat_map(|&v| (v as u16).to_le_bytes()).collect(),
            _ => proto.int32_data.iter().flat_map(|v| v.to_le_bytes()).collect(),
        },
    };
    constant(proto, kind, bytes)
}

fn constant(proto: &TensorProto, kind: Kind, bytes: Bytes) -> Result<Constant, String> {
    let shape: Option<Vec<usize>> = proto.dims.iter().map(|&d| usize::try_from(d).ok()).collect();
    let shape = shape.ok_or_else(|| format!("sizes of at least 0 in tensor {}", name(proto)))?;
    let found = bytes.len();
    let own = (!proto.name.is_empty()).then_some(proto.name.as_str());
    let dims = &proto.dims[..proto.dims.len().min(8)];
    Constant::new(kind, shape, bytes, own)
        .ok_or_else(|| format!("the numbers of tensor {} of shape {dims:?}, found {found} bytes", name(proto)))
}

impl<'a> Reader<'a> {
    /// A reader for the model at `path`.
    pub fn new(path: Option<&'a Path>) -> Self {
        Self { path, files: HashMap::new() }
    }

    /// The total length of the external files.
    pub fn len(&self) -> usize {
        self.files.values().map(Bytes::len).fold(0, usize::saturating_add)
    }

    /// An initializer; `None` where it has no numeric type that is supported (strings, complex or 4-bit numbers).
    pub fn constant(&mut self, proto: &TensorProto) -> Result<Option<Constant>, WeightsError> {
        let Ok(kind) = kind(proto) else { return Ok(None) };
        let constant =
            if proto.data_location == EXTERNAL { constant(proto, kind, self.external(proto)?) } else { inline(proto) };
        constant.map(Some).map_err(malformed)
    }

    /// The bytes of a tensor in an external file, which must be in the model's folder. Where the model is a symbolic link,
    /// the folder of its target counts too: a model may be opened through a link, and downloads of Hugging Face are links to
    /// files that are stored together under other names.
    fn external(&mut self, proto: &TensorProto) -> Result<Bytes, WeightsError> {
        let note = |key| proto.external_data.iter().find(|e| e.key == key).map(|e| e.value.as_str());
        let number = |key| {
            let parse = |text: &str| {
                text.parse::<usize>().map_err(|_| malformed(format!("a number as external {key}, found `{text:.40}`")))
            };
            note(key).map(parse).transpose()
        };
        let location = note("location").ok_or_else(|| malformed("the location of external data"))?;
        if !self.files.contains_key(location) {
            let file = self.open(location)?;
            self.files.insert(location.into(), file);
        }
        let file = &self.files[location];
        let start = number("offset")?.unwrap_or(0);
        let end = match number("length")? {
            Some(length) => start.checked_add(length),
            None => Some(file.len()),
        };
        let bytes = end.and_then(|end| part(file, start..end));
        bytes.ok_or_else(|| {
            malformed(format!("the numbers of {} in `{location}`, found {} bytes", name(proto), file.len()))
        })
    }

    fn open(&self, location: &str) -> Result<Bytes, WeightsError> {
        let outside = || malformed(format!("external data in the model's own folder, found `{location:.200}`"));
        let model = self.path.ok_or_else(|| {
            let what = format!("all numbers in one file, found some in `{location:.200}`");
            malformed(what).advising("open the model by its path")
        })?;
        let inside = Path::new(location).components().all(|c| matches!(c, Component::Normal(_) | Component::CurDir));
        if !inside || location.is_empty() {
            return Err(outside());
        }
        let of = |path: &Path| path.parent().map(Path::to_path_buf).unwrap_or_default();
        let folder: PathBuf = of(model);
        let path = folder.join(location);
        let fail = |source| WeightsError::Read { path: path.clone(), source };
        let real_folder = of(&model.canonicalize().map_err(fail)?);
        // Next to the link, or next to its target.
        let real = path.canonicalize().or_else(|e| real_folder.join(location).canonicalize().map_err(|_| e));
        let real = real.map_err(fail)?;
        let here = if folder.as_os_str().is_empty() { Path::new(".") } else { &folder };
        // A link may lead out of the folders.
        if !real.starts_with(&real_folder) && !real.starts_with(here.canonicalize().map_err(fail)?) {
            return Err(outside());
        }
        Ok(map(&real)?.0)
    }
}
