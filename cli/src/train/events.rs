//! TensorBoard's event files: records of protobuf messages, each with checksums.
//!
//! The framing is TensorFlow's record format; the fields are those of `event.proto` and `summary.proto`.

use std::{
    fs::File,
    io::{self, Write},
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

use prost::Message;

#[derive(Clone, PartialEq, Message)]
struct Event {
    #[prost(double, tag = "1")]
    wall_time: f64,
    #[prost(int64, tag = "2")]
    step: i64,
    #[prost(string, optional, tag = "3")]
    file_version: Option<String>,
    #[prost(message, optional, tag = "5")]
    summary: Option<Summary>,
}

#[derive(Clone, PartialEq, Message)]
struct Summary {
    #[prost(message, repeated, tag = "1")]
    value: Vec<Scalar>,
}

#[derive(Clone, PartialEq, Message)]
struct Scalar {
    #[prost(string, tag = "1")]
    tag: String,
    #[prost(float, optional, tag = "2")]
    simple_value: Option<f32>,
}

/// An event file.
pub struct Events {
    file: File,
}

impl Events {
    /// Begins a file of its own in `folder`, as each start of a training does; TensorBoard shows them as one.
    pub fn new(folder: &Path) -> io::Result<Self> {
        let seconds = now() as u64;
        let file = (0..).find_map(|number: u32| {
            let path = folder.join(format!("events.out.tfevents.{seconds}.alexnet.{number}"));
            match File::create_new(path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => None,
                created => Some(created),
            }
        });
        let mut events = Self { file: file.ok_or(io::ErrorKind::AlreadyExists)?? };
        events.write(0, Some("brain.Event:2".into()), None)?;
        Ok(events)
    }

    /// Adds numbers of a step.
    pub fn scalars(&mut self, step: u64, scalars: &[(&str, f64)]) -> io::Result<()> {
        let scalar = |&(tag, value): &(&str, f64)| Scalar { tag: tag.into(), simple_value: Some(value as f32) };
        let summary = Summary { value: scalars.iter().map(scalar).collect() };
        self.write(step, None, Some(summary))
    }

    fn write(&mut self, step: u64, file_version: Option<String>, summary: Option<Summary>) -> io::Result<()> {
        let event = Event { wall_time: now(), step: step as i64, file_version, summary };
        self.file.write_all(&record(&event.encode_to_vec()))
    }
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |time| time.as_secs_f64())
}

/// Length, its checksum, the bytes, and theirs.
fn record(bytes: &[u8]) -> Vec<u8> {
    let length = (bytes.len() as u64).to_le_bytes();
    let checksums = [&length[..], bytes].map(|bytes| masked(crc32c::crc32c(bytes)).to_le_bytes());
    [&length[..], &checksums[0], bytes, &checksums[1]].concat()
}

/// Checksums are turned and moved, so that those of data with checksums stay good.
fn masked(checksum: u32) -> u32 {
    checksum.rotate_right(15).wrapping_add(0xa282_ead8)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Against the beginning of the files that TensorFlow writes.
    #[test]
    fn records_are_tensorflows() {
        let event = Event { wall_time: 1.0, step: 0, file_version: Some("brain.Event:2".into()), summary: None };
        let bytes = event.encode_to_vec();
        assert_eq!(bytes, b"\x09\x00\x00\x00\x00\x00\x00\xf0\x3f\x1a\x0dbrain.Event:2");
        let record = record(&bytes);
        assert_eq!(record[..12], *b"\x18\0\0\0\0\0\0\0\xa3\x7fK\"");
        assert_eq!(record.len(), 8 + 4 + 24 + 4);
    }
}
