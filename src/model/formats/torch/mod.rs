//! Files of `torch.save`: a pickle that describes tensors, and their numbers. Since PyTorch 1.6 they are in a zip archive,
//! whose uncompressed entries are used in place in the memory map; before, they follow each other.

mod checkpoint;
mod pickle;

use std::{
    collections::{BTreeMap, HashMap},
    io::Read,
};

use bytes::Bytes;

use self::{
    checkpoint::StateDict,
    pickle::{Fault, Id, Kind, Pickle, Storage, Value, View},
};
use super::{Budget, Notes, gather};
use crate::{
    text::clip,
    weights::{DType, Tensor, Weights, WeightsError, part},
};

const FORMAT: &str = "PyTorch file";

/// The advice for a pickle of something else.
const SAVE: &str = "save `model.state_dict()` with the program that wrote it";

/// The advice for an archive packed by another program.
const PACK: &str = "write it with torch.save";

/// The advice for numbers in another byte order.
const LITTLE: &str = "save it on a machine of little-endian numbers, as almost all are";

/// The largest pickle that is read, in bytes: a state dict needs less.
const MAX_PICKLE: usize = 64 << 20;

/// The number that begins the legacy format.
const LEGACY_MAGIC: i128 = 0x1950_a86a_20f9_469c_fc6c;

pub(super) fn is_zip(bytes: &[u8]) -> bool {
    bytes.starts_with(b"PK\x03\x04") || bytes.starts_with(b"PK\x05\x06")
}

pub(super) fn is_pickle(bytes: &[u8]) -> bool {
    matches!(bytes, [0x80, 2..=5, ..])
}

fn malformed(what: impl Into<String>) -> WeightsError {
    WeightsError::malformed(FORMAT, what)
}

impl From<Fault> for WeightsError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Global(global) => Self::Global { global },
            Fault::Malformed(what) => malformed(what),
        }
    }
}

pub(super) fn read_zip(bytes: &Bytes) -> Result<(Weights, Notes), WeightsError> {
    let mut budget = Budget::new(bytes.len());
    let archive = Archive::read(bytes)?;
    // `torch.save` puts everything in one folder, named after the file.
    let mut folders = archive.entries.keys().filter_map(|name| name.strip_suffix("data.pkl"));
    let folder = match (folders.next(), folders.next()) {
        (Some(folder), None) if folder.is_empty() || folder.ends_with('/') => folder.to_string(),
        _ => {
            let what = "one data.pkl in the zip archive, as torch.save writes it";
            return Err(malformed(what).advising("unpack the archive where the weights lie in it as a file"));
        }
    };
    if let Some(entry) = archive.entries.get(&format!("{folder}byteorder"))
        && archive.bytes(entry, 16, &mut budget)?.as_ref() != b"little"
    {
        return Err(malformed("little-endian numbers, found others").advising(LITTLE));
    }
    let pickle = archive.bytes(&archive.entries[&format!("{folder}data.pkl")], MAX_PICKLE, &mut budget)?;
    let pickle = Pickle::read(&pickle)?;
    state_dict(&pickle, &mut budget, |storage, budget| {
        let entry = archive.entries.get(&format!("{folder}data/{}", storage.key));
        let entry = entry.ok_or_else(|| malformed(format!("the numbers of storage {}", storage.key)))?;
        archive.bytes(entry, usize::MAX, budget)
    })
}

/// The entries of a zip archive by name.
struct Archive<'a> {
    bytes: &'a Bytes,
    zip: rawzip::ZipSliceArchive<&'a [u8]>,
    entries: BTreeMap<String, Entry>,
}

struct Entry {
    place: rawzip::ZipArchiveEntryWayfinder,
    method: rawzip::CompressionMethod,
    len: u64,
}

impl<'a> Archive<'a> {
    fn read(bytes: &'a Bytes) -> Result<Self, WeightsError> {
        let fail = |e: rawzip::Error| malformed(format!("a whole zip archive, found: {e}"));
        let zip = rawzip::ZipArchive::from_slice(bytes.as_ref()).map_err(fail)?;
        let mut entries = BTreeMap::new();
        let mut iterator = zip.entries();
        while let Some(header) = iterator.next_entry().map_err(fail)? {
            let path = header.file_path();
            let name = std::str::from_utf8(path.as_ref());
            let name = name.map_err(|_| malformed("names in UTF-8 in the zip archive").advising(PACK))?;
            let entry = Entry {
                place: header.wayfinder(),
                method: header.compression_method(),
                len: header.uncompressed_size_hint(),
            };
            if header.flags().is_encrypted() || entries.insert(name.to_string(), entry).is_some() {
                let what = format!("one entry `{name:.80}` in the zip archive, and that not encrypted");
                return Err(malformed(what).advising(PACK));
            }
        }
        Ok(Self { bytes, zip, entries })
    }

    /// An entry's bytes, at most `limit`: borrowed where it is stored, inflated where it is compressed.
    fn bytes(&self, entry: &Entry, limit: usize, budget: &mut Budget) -> Result<Bytes, WeightsError> {
        let fail = |e: rawzip::Error| malformed(format!("a whole zip entry, found: {e}"));
        let found = self.zip.get_entry(entry.place).map_err(fail)?;
        let len = usize::try_from(entry.len).ok().filter(|&len| len <= limit);
        let len = len.ok_or_else(|| malformed(format!("a zip entry of at most {limit} bytes, found {}", entry.len)))?;
        match entry.method {
            rawzip::CompressionMethod::STORE => {
                let (start, end) = found.compressed_data_range();
                let stored = part(self.bytes, start as usize..end as usize).filter(|stored| stored.len() == len);
                stored.ok_or_else(|| malformed(format!("a stored zip entry of {len} bytes")))
            }
            rawzip::CompressionMethod::DEFLATE => {
                // Deflate packs at most 1032 to 1: nothing is allocated for a larger claim.
                if len / 1032 > found.data().len() {
                    return Err(malformed(format!("{len} bytes in a zip entry, found far fewer")));
                }
                budget.take(len).map_err(malformed)?;
                let mut unpacked = Vec::with_capacity(len);
                let reader = found.verifying_reader(flate2::read::DeflateDecoder::new(found.data()));
                match reader.take(len as u64 + 1).read_to_end(&mut unpacked) {
                    Ok(n) if n == len => Ok(unpacked.into()),
                    Ok(_) => Err(malformed(format!("{len} bytes in a zip entry, found another number"))),
                    Err(e) => Err(malformed(format!("a compressed zip entry: {e}"))),
                }
            }
            other => {
                let what = format!("stored or deflated zip entries, found {other}");
                Err(malformed(what).advising(PACK))
            }
        }
    }
}

pub(super) fn read_legacy(bytes: &Bytes) -> Result<(Weights, Notes), WeightsError> {
    fn next<'a>(rest: &mut &'a [u8]) -> Result<Pickle<'a>, WeightsError> {
        let pickle = Pickle::read(rest)?;
        *rest = &rest[pickle.len..];
        Ok(pickle)
    }
    let mut rest: &[u8] = bytes;
    let magic = next(&mut rest)?;
    if *magic.get(magic.root) != Value::Int(LEGACY_MAGIC) {
        return Err(malformed("a pickle that torch.save wrote, found another").advising(SAVE));
    }
    let version = next(&mut rest)?;
    if *version.get(version.root) != Value::Int(1001) {
        return Err(malformed("version 1001 of the legacy format"));
    }
    let system = next(&mut rest)?;
    if lookup(&system, system.root, "little_endian").map(|id| system.get(id)) == Some(&Value::Bool(false)) {
        return Err(malformed("little-endian numbers, found others").advising(LITTLE));
    }
    let pickle = next(&mut rest)?;
    let keys = next(&mut rest)?;
    let Value::List(ids) = keys.get(keys.root) else {
        return Err(malformed("the list of storages"));
    };

    // The numbers of the storages follow in the order of the list, each after its count; only the pickle has their types.
    let kinds: HashMap<&str, &Kind> = pickle.storages().map(|storage| (storage.key, storage.kind)).collect();
    let mut places = HashMap::new();
    let mut at = bytes.len() - rest.len();
    for &id in ids {
        let key = keys.text(id).ok_or_else(|| malformed("a storage's key"))?;
        let whole = || malformed(format!("the numbers of storage {key:.40}"));
        let count = bytes.get(at..).and_then(|rest| rest.first_chunk()).map(|b| u64::from_le_bytes(*b));
        let count = count.and_then(|n| usize::try_from(n).ok()).ok_or_else(whole)?;
        let len = kinds.get(key).and_then(|kind| count.checked_mul(kind.size)).ok_or_else(whole)?;
        let start = at + 8;
        let end = start.checked_add(len).filter(|&end| end <= bytes.len()).ok_or_else(whole)?;
        places.insert(key, start..end);
        at = end;
    }
    let mut budget = Budget::new(bytes.len());
    state_dict(&pickle, &mut budget, |storage, _| {
        let place = places.get(storage.key).and_then(|place| part(bytes, place.clone()));
        place.ok_or_else(|| malformed(format!("the numbers of storage {:.40}", storage.key)))
    })
}

/// The value of a dict's key; the last one where the key is repeated.
fn lookup(pickle: &Pickle<'_>, dict: Id, key: &str) -> Option<Id> {
    match pickle.get(dict) {
        Value::Dict(pairs) => pairs.iter().rev().find(|(k, _)| pickle.text(*k) == Some(key)).map(|(_, value)| *value),
        _ => None,
    }
}

/// Prefixes that programs put before every name: DataParallel, and compiled modules.
const PREFIXES: [&str; 2] = ["module.", "_orig_mod."];

/// The tensors of a checkpoint's state dict. `numbers` returns the bytes of a storage.
fn state_dict<'a>(
    pickle: &Pickle<'a>,
    budget: &mut Budget,
    mut numbers: impl FnMut(&Storage<'a>, &mut Budget) -> Result<Bytes, WeightsError>,
) -> Result<(Weights, Notes), WeightsError> {
    let StateDict { pairs, part } = checkpoint::find(pickle)?;
    let mut views: BTreeMap<&str, &View<'a>> = BTreeMap::new();
    let mut order = Vec::new();
    for &(key, value) in pairs {
        match (pickle.text(key), pickle.get(value)) {
            (Some(name), Value::Tensor(view)) => {
                let twice = views.insert(name, view).is_some();
                order.extend((!twice).then_some(name));
            }
            // Sparse and quantised tensors, for example: skipping them would compute something else.
            (Some(name), Value::Object(object)) if object.is_tensor() => {
                let found = format!("what `{}` makes", pickle::full_name(object.module, object.name));
                return Err(WeightsError::DType { tensor: clip(name), found });
            }
            _ => {}
        }
    }
    let mut prefix = String::new();
    while let Some(more) = PREFIXES.iter().find(|more| {
        let longer = format!("{prefix}{more}");
        !order.is_empty() && order.iter().all(|name| name.starts_with(&longer))
    }) {
        prefix += more;
    }

    let mut storages: HashMap<&str, Bytes> = HashMap::new();
    let mut tensors = BTreeMap::new();
    for (name, view) in views {
        let name = name.strip_prefix(&prefix).unwrap_or(name);
        let Some(dtype) = view.storage.kind.dtype else {
            // A counter of batches in batch normalisation, not needed for inference.
            if name.ends_with("num_batches_tracked") {
                continue;
            }
            return Err(WeightsError::DType { tensor: name.into(), found: view.storage.kind.name.into() });
        };
        let storage = &view.storage;
        if !storages.contains_key(storage.key) {
            storages.insert(storage.key, numbers(storage, budget)?);
        }
        let tensor = view_of(&storages[storage.key], dtype, view, budget)
            .map_err(|what| malformed(format!("{what} in tensor `{name:.80}`")))?;
        tensors.insert(name.to_string(), tensor);
    }
    let order = order.into_iter().map(|name| name.strip_prefix(&prefix).unwrap_or(name).to_string()).collect();
    Ok((Weights { tensors, metadata: BTreeMap::new() }, Notes { order, part }))
}

fn view_of(numbers: &Bytes, dtype: DType, view: &View<'_>, budget: &mut Budget) -> Result<Tensor, String> {
    let Storage { start, len, .. } = view.storage;
    let byte = |number: usize| number.checked_mul(dtype.size());
    let range = byte(start).zip(start.checked_add(len).and_then(byte));
    let numbers = range.and_then(|(start, end)| part(numbers, start..end)).ok_or("a whole storage")?;
    gather(dtype, view.shape.clone(), &view.strides, view.offset, &numbers, budget)
}
