//! Arrays of a spool's values: NumPy's files and safetensors.

use std::{
    collections::BTreeMap,
    io::{self, Write},
};

use rawzip::ZipArchiveWriter;
use serde_json::json;

use super::layers::Wanted;
use crate::{npy, npz, spool::Spool};

/// A layer's place among the values of a picture.
fn columns(wanted: &[Wanted]) -> impl Iterator<Item = (&Wanted, std::ops::Range<usize>)> {
    wanted.iter().scan(0, |start, wanted| {
        let columns = *start..*start + wanted.len();
        *start = columns.end;
        Some((wanted, columns))
    })
}

/// The dimensions of a layer's array; those of `single` are one picture's.
fn shape(wanted: &Wanted, pictures: usize, single: bool) -> Vec<usize> {
    if single { wanted.dims.clone() } else { [&[pictures], &wanted.dims[..]].concat() }
}

/// Writes the only layer as a .npy file.
pub fn npy(out: &mut impl Write, spool: &mut Spool, wanted: &[Wanted], single: bool) -> io::Result<()> {
    for (wanted, columns) in columns(wanted) {
        npy::write_header(out, &shape(wanted, spool.names.len(), single))?;
        spool.values(columns, |bytes| out.write_all(bytes))?;
    }
    Ok(())
}

/// Writes a .npz file: `names` and an array for each layer, pictures first.
pub fn npz(out: &mut impl Write, spool: &mut Spool, wanted: &[Wanted]) -> io::Result<()> {
    let mut archive = ZipArchiveWriter::new(out);
    npz::add_names(&mut archive, spool.names.iter().map(|name| &name[..]))?;
    for (wanted, columns) in columns(wanted) {
        npz::add(&mut archive, &wanted.name, |mut out| {
            npy::write_header(&mut out, &shape(wanted, spool.names.len(), false))?;
            spool.values(columns, |bytes| out.write_all(bytes))
        })?;
    }
    archive.finish().map(drop).map_err(io::Error::other)
}

/// Writes a safetensors file: a tensor for each layer, and `names`, each with a zero byte after it, where there are several
/// pictures.
pub fn safetensors(out: &mut impl Write, spool: &mut Spool, wanted: &[Wanted], single: bool) -> io::Result<()> {
    let (mut header, mut end) = (BTreeMap::new(), 0);
    let mut entry = |name: &str, dtype: &str, shape: Vec<usize>, bytes: usize| {
        let begin = end;
        end += bytes;
        header.insert(name.to_string(), json!({ "dtype": dtype, "shape": shape, "data_offsets": [begin, end] }));
    };
    let pictures = spool.names.len();
    for wanted in wanted {
        entry(&wanted.name, "F32", shape(wanted, pictures, single), 4 * pictures * wanted.len());
    }
    let names: Vec<u8> = spool.names.iter().flat_map(|name| name.iter().copied().chain([0])).collect();
    if !single {
        entry("names", "U8", vec![names.len()], names.len());
    }
    let mut header = serde_json::to_vec(&header)?;
    // The numbers are aligned to eight bytes.
    header.resize(header.len().next_multiple_of(8), b' ');
    out.write_all(&(header.len() as u64).to_le_bytes())?;
    out.write_all(&header)?;
    for (_, columns) in columns(wanted) {
        spool.values(columns, |bytes| out.write_all(bytes))?;
    }
    if single { Ok(()) } else { out.write_all(&names) }
}

/// Writes a Parquet file: `image`, a list for each layer, and `image_hex`.
#[cfg(feature = "parquet")]
pub fn parquet(out: &mut (impl Write + Send), spool: &mut Spool, wanted: &[Wanted]) -> io::Result<()> {
    use crate::table::{self, Column, ROWS, Values};

    let mut begin = 0;
    table::write(out, || {
        let pictures = begin..(begin + ROWS).min(spool.names.len());
        begin = pictures.end;
        if pictures.is_empty() {
            return Ok(None);
        }
        let (images, hex) = spool.texts(pictures.clone());
        let mut table = vec![Column::new("image", Values::Texts(images))];
        for (wanted, columns) in columns(wanted) {
            table.push(Column::new(
                &wanted.name,
                Values::Lists(wanted.len(), spool.numbers(pictures.clone(), columns)?),
            ));
        }
        table.push(Column::new("image_hex", Values::Texts(hex)));
        Ok(Some(table))
    })
}
