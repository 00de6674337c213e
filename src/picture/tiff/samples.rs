//! Conversion of samples of any kind to eight bits.

use half::f16;

use super::directory::Order;

/// The type of samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Unsigned: 0 is the minimum, all ones the maximum.
    Whole,
    /// Unsigned, reduced to the highest eight bits, as Pillow reduces samples premultiplied by opacity.
    High,
    /// Unchanged, for indices of a palette.
    Index,
    /// Signed. Eight bits are taken as unsigned, as in Pillow and libtiff; of sixteen, negative values are black.
    Signed,
    /// Floats: 0 is the minimum, 1 the maximum.
    Float,
}

impl Kind {
    /// The name for messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Whole | Self::High => "whole numbers",
            Self::Index => "indices of a palette",
            Self::Signed => "signed",
            Self::Float => "floating-point",
        }
    }

    /// Whether samples of this type can have this many bits.
    pub fn has(self, bits: usize) -> bool {
        match self {
            Self::Whole => matches!(bits, 1..=32),
            Self::High => bits == 16,
            Self::Index => matches!(bits, 1..=8),
            Self::Signed => matches!(bits, 8 | 16),
            Self::Float => matches!(bits, 16 | 32 | 64),
        }
    }

    /// Unpacks the samples `first`, `first + step` and so on of a packed row, until `out` is full.
    pub fn unpack(self, row: &[u8], bits: usize, order: Order, [first, step]: [usize; 2], out: &mut [u8]) {
        let places = (0..).map(|i| first + i * step);
        let number = |place: usize| match bits {
            8 => row.get(place).map_or(0, |&byte| u64::from(byte)),
            16 | 32 | 64 => row.get(place * bits / 8..(place + 1) * bits / 8).map_or(0, |bytes| order.number(bytes)),
            _ => {
                // The first sample is in the highest bits, whatever the byte order.
                let (start, end) = (place * bits, (place + 1) * bits);
                let bytes = row.get(start / 8..end.div_ceil(8)).unwrap_or_default();
                (Order::Big.number(bytes) >> ((8 - end % 8) % 8)) & ((1 << bits) - 1)
            }
        };
        let values = places.map(number);
        let most = (1_u64 << bits.min(32)) - 1;
        match self {
            Self::Index => fill(out, values.map(|value| value as u8)),
            Self::High => fill(out, values.map(|value| (value >> 8) as u8)),
            Self::Whole if bits == 8 => fill(out, values.map(|value| value as u8)),
            Self::Whole => fill(out, values.map(|value| ((value * 255 + most / 2) / most) as u8)),
            Self::Signed if bits == 8 => fill(out, values.map(|value| value as u8)),
            Self::Signed => fill(out, values.map(|value| ((i64::from(value as i16).max(0) + 128) / 257) as u8)),
            Self::Float => fill(
                out,
                values.map(|value| {
                    let value = match bits {
                        16 => f16::from_bits(value as u16).to_f64(),
                        32 => f64::from(f32::from_bits(value as u32)),
                        _ => f64::from_bits(value),
                    };
                    // The conversion turns NaN into black.
                    (value * 255.0).round_ties_even() as u8
                }),
            ),
        }
    }
}

fn fill(out: &mut [u8], values: impl Iterator<Item = u8>) {
    for (out, value) in out.iter_mut().zip(values) {
        *out = value;
    }
}
