//! Parquet files: a column of encoded pictures as input, and tables of results as output.

use std::{
    collections::VecDeque,
    fs::File,
    io::{self, Write},
    panic::{self, AssertUnwindSafe},
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use parquet::{
    basic::{Compression, ConvertedType, LogicalType, Repetition, Type as Physical},
    column::reader::{ColumnReader, ColumnReaderImpl},
    data_type::{ByteArray, ByteArrayType, DataType, FloatType, Int32Type},
    errors::ParquetError,
    file::{
        metadata::KeyValue,
        properties::WriterProperties,
        reader::{FileReader, RowGroupReader, SerializedFileReader},
        writer::SerializedFileWriter,
    },
    schema::types::{ColumnDescriptor, PrimitiveTypeBuilder, Type, TypePtr},
};

/// Row groups that are in memory at once: reading goes from one to the next.
const GROUPS: usize = 2;

/// A column of encoded pictures.
pub struct Pictures {
    /// The column's number.
    column: usize,
    /// The first row of each group, and the number of all rows.
    begins: Vec<usize>,
    open: Mutex<Open>,
}

struct Open {
    file: SerializedFileReader<File>,
    /// The groups that were read last, each with its number; `None` is NULL.
    groups: VecDeque<(usize, Arc<Vec<Option<ByteArray>>>)>,
}

impl std::fmt::Debug for Pictures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pictures").field("column", &self.column).finish_non_exhaustive()
    }
}

impl Pictures {
    /// Opens a file, and finds the column called `name`, or the only one with pictures.
    pub fn open(path: &Path, name: Option<&str>) -> Result<Self, String> {
        let file = open(path)?;
        let named = |reason: &str| format!("{}: {reason}", path.display());
        let schema = file.metadata().file_metadata().schema_descr();
        let column = choose(schema.columns(), name).map_err(|reason| named(&reason))?;
        let mut begins = vec![0];
        for group in file.metadata().row_groups() {
            let rows =
                usize::try_from(group.num_rows()).ok().and_then(|rows| rows.checked_add(begins[begins.len() - 1]));
            begins.push(rows.ok_or_else(|| named("expected a number of rows, found a damaged file"))?);
        }
        Ok(Self { column, begins, open: Mutex::new(Open { file, groups: VecDeque::new() }) })
    }

    /// The number of rows.
    pub fn len(&self) -> usize {
        self.begins.last().copied().unwrap_or(0)
    }

    /// The bytes of the picture in a row.
    pub fn bytes(&self, row: usize) -> Result<ByteArray, String> {
        let group = self.begins.partition_point(|&begin| begin <= row).saturating_sub(1);
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let known = open.groups.iter().find(|(number, _)| *number == group).map(|(_, pictures)| pictures.clone());
        let pictures = match known {
            Some(pictures) => pictures,
            None => {
                let read = checked(|| {
                    let group = open.file.get_row_group(group)?;
                    match group.get_column_reader(self.column)? {
                        ColumnReader::ByteArrayColumnReader(reader) => values(&*group, self.column, reader),
                        _ => Err(ParquetError::General("another type of column".into())),
                    }
                });
                let pictures = Arc::new(read.map_err(|e| format!("the file is damaged: {e}"))?);
                if open.groups.len() == GROUPS {
                    open.groups.pop_front();
                }
                open.groups.push_back((group, pictures.clone()));
                pictures
            }
        };
        match pictures.get(row - self.begins[group]) {
            Some(Some(bytes)) => Ok(bytes.clone()),
            Some(None) => Err("expected a picture, found NULL".into()),
            None => Err("expected a picture, found no such row: the file is damaged".into()),
        }
    }
}

/// Opens a file. Errors name it.
fn open(path: &Path) -> Result<SerializedFileReader<File>, String> {
    let cannot = |e: io::Error| format!("cannot read {}: {e}", path.display());
    let expected = |found: &str| format!("{}: expected a Parquet file, found {found}", path.display());
    let file = File::open(path).map_err(cannot)?;
    if !file.metadata().map_err(cannot)?.is_file() {
        return Err(expected("something that is not a regular file"));
    }
    checked(|| SerializedFileReader::new(file)).map_err(|e| expected(&format!("another or a damaged one ({e})")))
}

/// The labels in a column: text, or numbers, which stand for the names that Hugging Face's libraries keep beside the table, where they
/// do. `None` where there is none. Errors name the file.
pub fn labels(path: &Path, name: &str) -> Result<Vec<Option<String>>, String> {
    let file = open(path)?;
    let named = |reason: &str| format!("{}: {reason}", path.display());
    let metadata = file.metadata().file_metadata();
    let columns = metadata.schema_descr().columns();
    let found = columns.iter().position(|column| column.path().parts() == [name] && column.max_rep_level() == 0);
    let Some(column) = found else {
        return Err(named(&format!("expected a column of labels called {name}, found {}", names(columns))));
    };
    let classes = metadata.key_value_metadata().and_then(|pairs| class_names(pairs, name)).unwrap_or_default();
    let class = |number: i64| match usize::try_from(number).ok().and_then(|index| classes.get(index)) {
        Some(label) => label.clone(),
        None => number.to_string(),
    };
    let mut labels = Vec::new();
    for group in 0..file.num_row_groups() {
        let values = checked(|| {
            let group = file.get_row_group(group)?;
            Ok(match group.get_column_reader(column)? {
                ColumnReader::ByteArrayColumnReader(reader) => {
                    let text = |text: ByteArray| Some(str::from_utf8(text.data()).ok()?.to_string());
                    each(values(&*group, column, reader)?, text)
                }
                ColumnReader::Int64ColumnReader(reader) => {
                    each(values(&*group, column, reader)?, |number| Some(class(number)))
                }
                ColumnReader::Int32ColumnReader(reader) => {
                    each(values(&*group, column, reader)?, |number| Some(class(number.into())))
                }
                _ => {
                    let kind = columns[column].physical_type();
                    return Err(ParquetError::General(format!(
                        "expected labels as text or whole numbers, found {name} with {kind}"
                    )));
                }
            })
        });
        labels.extend(values.map_err(|reason| named(&reason))?);
    }
    Ok(labels)
}

/// The label of each value; `None` where there is no value, or none that is a label.
fn each<T>(values: Vec<Option<T>>, label: impl Fn(T) -> Option<String>) -> Vec<Option<String>> {
    values.into_iter().map(|value| value.and_then(&label)).collect()
}

/// The names of a column's classes, as the Python package `datasets` writes them (`ClassLabel`).
fn class_names(pairs: &[KeyValue], column: &str) -> Option<Vec<String>> {
    let written = pairs.iter().find(|pair| pair.key == "huggingface")?.value.as_deref()?;
    let json: serde_json::Value = serde_json::from_str(written).ok()?;
    serde_json::from_value(json["info"]["features"][column]["names"].clone()).ok()
}

/// The names of all columns.
fn names(columns: &[Arc<ColumnDescriptor>]) -> String {
    let mut names: Vec<&str> = columns.iter().map(|column| column.path().parts()[0].as_str()).collect();
    names.dedup();
    names.join(", ")
}

/// The values of a column in a row group; `None` is NULL.
fn values<T: DataType>(
    group: &dyn RowGroupReader,
    column: usize,
    mut reader: ColumnReaderImpl<T>,
) -> Result<Vec<Option<T::T>>, ParquetError> {
    let present = group.metadata().column(column).column_descr().max_def_level();
    let mut left = usize::try_from(group.metadata().num_rows()).unwrap_or_default();
    let (mut levels, mut values) = (Vec::new(), Vec::new());
    while left > 0 {
        let (read, _, _) = reader.read_records(left, Some(&mut levels), None, &mut values)?;
        if read == 0 {
            break;
        }
        left -= read;
    }
    let mut values = values.into_iter();
    if present == 0 {
        return Ok(values.map(Some).collect());
    }
    Ok(levels.into_iter().map(|level| if level == present { values.next() } else { None }).collect())
}

/// The column of pictures: bytes, or a struct with `bytes` as Hugging Face's libraries write it.
fn choose(columns: &[Arc<ColumnDescriptor>], name: Option<&str>) -> Result<usize, String> {
    let is_picture = |column: &ColumnDescriptor| {
        let path = column.path().parts();
        let place = path.len() == 1 || (path.len() == 2 && path[1] == "bytes");
        let text =
            matches!(column.logical_type_ref(), Some(LogicalType::String | LogicalType::Json | LogicalType::Enum));
        place && !text && column.physical_type() == Physical::BYTE_ARRAY && column.max_rep_level() == 0
    };
    let fits = |column: &ColumnDescriptor| name.is_none_or(|name| column.path().parts()[0] == name);
    let found: Vec<usize> =
        (0..columns.len()).filter(|&index| fits(&columns[index]) && is_picture(&columns[index])).collect();
    let expected = "a column of encoded pictures (bytes, or a struct with bytes)";
    match (&*found, name) {
        ([column], _) => Ok(*column),
        ([], Some(name)) => match columns.iter().find(|column| fits(column)) {
            Some(column) => {
                let kind = column.physical_type();
                Err(format!("expected {expected}, found {name} with {kind} in {}", column.path()))
            }
            None => Err(format!("expected a column called {name}, found {}", names(columns))),
        },
        ([], None) => Err(format!("expected {expected}, found {}", names(columns))),
        _ => {
            let found: Vec<&str> = found.iter().map(|&index| columns[index].path().parts()[0].as_str()).collect();
            Err(format!("expected one column of pictures, found {}: choose with --column", found.join(", ")))
        }
    }
}

/// Calls `read`, and turns a panic into an error: the file may hold anything.
fn checked<T>(read: impl FnOnce() -> Result<T, ParquetError>) -> Result<T, String> {
    match panic::catch_unwind(AssertUnwindSafe(read)) {
        Ok(read) => read.map_err(|e| e.to_string().lines().next().unwrap_or_default().to_string()),
        Err(_) => Err("nothing that can be read".into()),
    }
}

/// A column of results, or a part of it.
pub struct Column {
    pub name: String,
    pub values: Values,
}

/// The values of a column, none of which is NULL.
pub enum Values {
    Texts(Vec<String>),
    Indices(Vec<usize>),
    Numbers(Vec<f32>),
    /// Lists of that length each, one after the other.
    Lists(usize, Vec<f32>),
}

/// Rows of a row group.
pub const ROWS: usize = 1024;

/// Writes a table. `next` gives the columns of one row group after the other, the same ones each time.
pub fn write(out: impl Write + Send, mut next: impl FnMut() -> io::Result<Option<Vec<Column>>>) -> io::Result<()> {
    let Some(mut columns) = next()? else { return Ok(()) };
    let fields = columns.iter().map(Column::schema).collect::<Result<_, _>>().map_err(io::Error::other)?;
    let schema = Type::group_type_builder("schema").with_fields(fields).build().map_err(io::Error::other)?;
    let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
    let mut file = SerializedFileWriter::new(out, Arc::new(schema), Arc::new(properties))?;
    loop {
        let mut group = file.next_row_group()?;
        for column in columns {
            let Some(mut writer) = group.next_column()? else { break };
            match column.values {
                Values::Texts(texts) => {
                    let texts: Vec<ByteArray> =
                        texts.into_iter().map(|text| ByteArray::from(text.into_bytes())).collect();
                    writer.typed::<ByteArrayType>().write_batch(&texts, None, None)?
                }
                Values::Indices(numbers) => {
                    let numbers: Vec<i32> = numbers.into_iter().map(|number| number as i32).collect();
                    writer.typed::<Int32Type>().write_batch(&numbers, None, None)?
                }
                Values::Numbers(numbers) => writer.typed::<FloatType>().write_batch(&numbers, None, None)?,
                Values::Lists(length, numbers) => {
                    let begins: Vec<i16> = (0..numbers.len()).map(|i| i16::from(i % length != 0)).collect();
                    let present = vec![1; numbers.len()];
                    writer.typed::<FloatType>().write_batch(&numbers, Some(&present), Some(&begins))?
                }
            };
            writer.close()?;
        }
        group.close()?;
        match next()? {
            Some(more) => columns = more,
            None => break,
        }
    }
    file.close()?;
    Ok(())
}

impl Column {
    pub fn new(name: &str, values: Values) -> Self {
        Self { name: name.into(), values }
    }

    fn schema(&self) -> Result<TypePtr, ParquetError> {
        fn primitive(name: &str, kind: Physical) -> PrimitiveTypeBuilder<'_> {
            Type::primitive_type_builder(name, kind).with_repetition(Repetition::REQUIRED)
        }
        let field = match &self.values {
            Values::Texts(_) => {
                primitive(&self.name, Physical::BYTE_ARRAY).with_logical_type(Some(LogicalType::String)).build()?
            }
            Values::Indices(_) => primitive(&self.name, Physical::INT32).build()?,
            Values::Numbers(_) => primitive(&self.name, Physical::FLOAT).build()?,
            Values::Lists(..) => {
                let element = Arc::new(primitive("element", Physical::FLOAT).build()?);
                let list =
                    Type::group_type_builder("list").with_repetition(Repetition::REPEATED).with_fields(vec![element]);
                Type::group_type_builder(&self.name)
                    .with_repetition(Repetition::REQUIRED)
                    .with_logical_type(Some(LogicalType::List))
                    .with_converted_type(ConvertedType::LIST)
                    .with_fields(vec![Arc::new(list.build()?)])
                    .build()?
            }
        };
        Ok(Arc::new(field))
    }
}
