//! Decompression of strips and tiles to samples.

use std::io::Read;

use flate2::read::ZlibDecoder;
use weezl::{BitOrder, LzwStatus, decode::Decoder as Lzw};

use super::{directory::Order, fax};

/// The compression of the bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Packing {
    None,
    Fax(fax::Coding),
    Lzw,
    Deflate,
    PackBits,
    Jpeg,
}

/// Decompresses at most `most` bytes, up to the end of the data or to damage. A line of a fax has `width` pixels.
pub(super) fn unpack(bytes: &[u8], packing: Packing, width: usize, most: usize) -> Vec<u8> {
    match packing {
        Packing::None | Packing::Jpeg => bytes[..bytes.len().min(most)].to_vec(),
        Packing::Fax(coding) => {
            let mut lines = fax::decode(bytes, coding, width, most / width.div_ceil(8).max(1));
            lines.truncate(most);
            lines
        }
        Packing::Lzw => lzw(bytes, most),
        Packing::Deflate => {
            let mut unpacked = Vec::new();
            // The data before any damage is kept.
            let _ = ZlibDecoder::new(bytes).take(most as u64).read_to_end(&mut unpacked);
            unpacked
        }
        Packing::PackBits => pack_bits(bytes, most),
    }
}

fn lzw(bytes: &[u8], most: usize) -> Vec<u8> {
    // Before TIFF 5.0, codes began at the lowest bit, and their length did not grow one code early.
    let old = matches!(bytes, [0, second, ..] if second & 1 == 1);
    let mut decoder = if old { Lzw::new(BitOrder::Lsb, 8) } else { Lzw::with_tiff_size_switch(BitOrder::Msb, 8) };
    let (mut unpacked, mut rest) = (Vec::new(), bytes);
    while unpacked.len() < most {
        let start = unpacked.len();
        unpacked.resize(most.min(start + (1 << 16)), 0);
        let result = decoder.decode_bytes(rest, &mut unpacked[start..]);
        unpacked.truncate(start + result.consumed_out);
        rest = &rest[result.consumed_in..];
        let stuck = result.consumed_in == 0 && result.consumed_out == 0;
        if stuck || !matches!(result.status, Ok(LzwStatus::Ok)) {
            break;
        }
    }
    unpacked
}

fn pack_bits(mut bytes: &[u8], most: usize) -> Vec<u8> {
    let mut unpacked = Vec::new();
    while let Some((&head, rest)) = bytes.split_first() {
        if unpacked.len() >= most {
            break;
        }
        bytes = match head {
            0..=127 => {
                let (literal, rest) = rest.split_at(rest.len().min(usize::from(head) + 1));
                unpacked.extend_from_slice(literal);
                rest
            }
            128 => rest,
            129.. => {
                let Some((&byte, rest)) = rest.split_first() else { break };
                unpacked.resize(unpacked.len() + 257 - usize::from(head), byte);
                rest
            }
        };
    }
    unpacked.truncate(most);
    unpacked
}

/// The predictor that was applied to each row before compression.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Predictor {
    None,
    /// Differences from the pixel to the left.
    Difference,
    /// Differences of bytes, with all first bytes of a row before all second ones and so on (Adobe's technical note 3).
    Float,
}

/// Undoes the predictor of a row of samples of `size` bytes, with `samples` of them per pixel.
pub(super) fn undo(row: &mut [u8], predictor: Predictor, size: usize, samples: usize, order: Order) {
    match predictor {
        Predictor::None => {}
        Predictor::Difference => {
            for at in (size * samples..(row.len() + 1).saturating_sub(size)).step_by(size) {
                let left = order.number(&row[at - size * samples..][..size]);
                let sum = order.number(&row[at..][..size]).wrapping_add(left);
                let bytes = &mut row[at..at + size];
                bytes.copy_from_slice(&sum.to_be_bytes()[8 - size..]);
                if order == Order::Little {
                    bytes.reverse();
                }
            }
        }
        Predictor::Float => {
            for at in samples..row.len() {
                row[at] = row[at].wrapping_add(row[at - samples]);
            }
            let count = row.len() / size;
            let bytes = row.to_vec();
            for (index, value) in row.chunks_exact_mut(size).enumerate() {
                for (byte, value) in value.iter_mut().enumerate() {
                    let place = if order == Order::Little { size - 1 - byte } else { byte };
                    *value = bytes[place * count + index];
                }
            }
        }
    }
}
