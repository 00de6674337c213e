//! Decoding of one scan of a JPEG: coefficients of one or several components, block by block (T.81, annexes F and G).
//!
//! Damaged data is handled as in libjpeg, so that the same blocks are recovered.

use super::{
    arithmetic::{Arithmetic, Places},
    huffman::{Bits, Huffman},
};

/// Coefficients of one component, by blocks, in natural order.
pub(super) struct Coefficients {
    /// Blocks per row, per column, and per row including padding blocks of the last interleaved unit.
    pub across: usize,
    pub down: usize,
    pub stride: usize,
    pub blocks: Vec<[i16; 64]>,
}

/// The coefficients and bits that a scan contains.
#[derive(Clone, Copy)]
pub(super) struct Band {
    pub progressive: bool,
    /// The first and the last coefficient in zigzag order.
    pub start: usize,
    pub end: usize,
    /// The lowest bit in an earlier scan, or 0, and the lowest bit in this one.
    pub high: u8,
    pub low: u8,
}

/// A component's part in a scan.
pub(super) struct Part<'a> {
    pub coefficients: &'a mut Coefficients,
    /// Blocks of an interleaved unit.
    pub h: usize,
    pub v: usize,
    pub codes: Codes<'a>,
}

/// A part's tables.
pub(super) enum Codes<'a> {
    Huffman { dc: Option<&'a Huffman>, ac: Option<&'a Huffman> },
    Arithmetic(Places),
}

/// The number of blocks in a scan, and of those after damage.
#[derive(Clone, Copy, Default)]
pub(in crate::picture) struct Count {
    pub blocks: u64,
    pub lost: u64,
}

/// The index of a coefficient by its index in zigzag order. Damaged data runs past the end.
const NATURAL: [u8; 64 + 16] = [
    0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5, 12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13, 6, 7, 14, 21,
    28, 35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51, 58, 59, 52, 45, 38, 31, 39, 46, 53, 60, 61, 54,
    47, 55, 62, 63, 63, 63, 63, 63, 63, 63, 63, 63, 63, 63, 63, 63, 63, 63, 63, 63,
];

/// The index of the coefficient at `at` in zigzag order.
pub(super) fn natural(at: usize) -> usize {
    usize::from(NATURAL[at.min(79)])
}

struct State {
    /// Each part's last DC coefficient.
    dc: Vec<i32>,
    /// The number of blocks without further coefficients in this band.
    empty: u32,
    /// Whether a code was invalid, or coefficients did not fit the block.
    damaged: bool,
    arithmetic: Option<Box<Arithmetic>>,
}

/// Reads a scan up to the marker after it.
pub(super) fn read(bits: &mut Bits, parts: &mut [Part], band: Band, restart_interval: usize) -> Count {
    let interleaved = parts.len() > 1;
    let (across, down) = match parts {
        // A single component is stored block by block, without padding blocks.
        [part] => (part.coefficients.across, part.coefficients.down),
        _ => {
            let part = &parts[0];
            (part.coefficients.across.div_ceil(part.h), part.coefficients.down.div_ceil(part.v))
        }
    };
    let in_unit = if interleaved { parts.iter().map(|part| (part.h * part.v) as u64).sum() } else { 1 };
    let units = across * down;
    let interval = if restart_interval == 0 { units } else { restart_interval };
    let mut lost = 0;
    let mut expected = 0;
    let mut first = 0;
    // Whether the scan's data ended before its last interval.
    let mut ended = false;
    while first < units {
        let last = (first + interval).min(units);
        let arithmetic = matches!(parts, [Part { codes: Codes::Arithmetic(_), .. }, ..]);
        // Its decoder starts afresh, whatever there is to read.
        bits.exhausted &= !arithmetic;
        let arithmetic = arithmetic.then(|| Box::new(Arithmetic::new(parts.len())));
        let mut state = State { dc: vec![0; parts.len()], empty: 0, damaged: false, arithmetic };
        let mut good = if ended { first } else { last };
        // There may be no data between two markers.
        for unit in first..last {
            if bits.exhausted {
                good = good.min(unit);
                break;
            }
            let (row, column) = (unit / across, unit % across);
            for (index, part) in parts.iter_mut().enumerate() {
                if !interleaved {
                    state.block(bits, part, index, row * part.coefficients.stride + column, band);
                    continue;
                }
                for y in row * part.v..(row + 1) * part.v {
                    for x in column * part.h..(column + 1) * part.h {
                        state.block(bits, part, index, y * part.coefficients.stride + x, band);
                    }
                }
            }
            if bits.exhausted || state.damaged {
                good = good.min(unit);
            }
        }
        let skipped = bits.skip_to_marker();
        if skipped > 0 && good == last && (!bits.cut || state.arithmetic.is_some()) {
            // Data is left over, so something in the interval was misread. Padding that phones write in place of the end is
            // not data; they do not write arithmetic codes.
            good = first;
        }
        if last < units {
            let in_order = restart(bits, expected);
            expected = (expected + 1) % 8;
            ended = bits.marker.is_some();
            if !in_order && good == last {
                good = first;
            }
        }
        lost += (last - good) as u64 * in_unit;
        first = last;
    }
    Count { blocks: units as u64 * in_unit, lost }
}

/// Skips the expected restart marker, or moves to a position where reading can continue without it (libjpeg's
/// `jpeg_resync_to_restart`). Returns whether it was there.
fn restart(bits: &mut Bits, expected: u8) -> bool {
    let mut in_order = true;
    loop {
        let ahead = match bits.marker {
            // Not a valid marker.
            Some(..0xC0) => 7,
            Some(code @ 0xD0..=0xD7) => (code - 0xD0).wrapping_sub(expected) % 8,
            // The scan's end, whose missing intervals are counted as they come.
            _ => return in_order,
        };
        in_order &= ahead == 0;
        match ahead {
            // A marker after the lost one: the interval is empty.
            1 | 2 => return false,
            // A marker to skip.
            6 | 7 => {
                bits.marker = None;
                bits.skip_to_marker();
            }
            // The expected marker, or one so far off that it is taken for it.
            _ => {
                bits.marker = None;
                bits.exhausted = false;
                return in_order;
            }
        }
    }
}

impl State {
    fn symbol(&mut self, bits: &mut Bits, table: Option<&Huffman>) -> u8 {
        let symbol = table.and_then(|table| bits.symbol(table));
        self.damaged |= symbol.is_none();
        symbol.unwrap_or(0)
    }

    fn block(&mut self, bits: &mut Bits, part: &mut Part, index: usize, place: usize, band: Band) {
        let Some(block) = part.coefficients.blocks.get_mut(place) else { return };
        let (dc, ac) = match (&part.codes, &mut self.arithmetic) {
            (&Codes::Huffman { dc, ac }, _) => (dc, ac),
            (&Codes::Arithmetic(places), Some(arithmetic)) => {
                return arithmetic.block(bits, block, index, places, band);
            }
            (Codes::Arithmetic(_), None) => return,
        };
        match band {
            Band { progressive: false, .. } => self.sequential(bits, block, index, dc, ac),
            Band { start: 0, high: 0, .. } => {
                let dc = self.dc(bits, index, dc);
                block[0] = (dc << band.low) as i16;
            }
            Band { start: 0, .. } => block[0] |= (bits.take(1) << band.low) as i16,
            Band { high: 0, .. } => self.first(bits, block, ac, band),
            _ => self.refine(bits, block, ac, band),
        }
    }

    fn dc(&mut self, bits: &mut Bits, index: usize, table: Option<&Huffman>) -> i32 {
        let length = self.symbol(bits, table);
        let difference = bits.signed(u32::from(length.min(15)));
        self.dc[index] = self.dc[index].wrapping_add(difference);
        self.dc[index]
    }

    fn sequential(
        &mut self,
        bits: &mut Bits,
        block: &mut [i16; 64],
        index: usize,
        dc: Option<&Huffman>,
        ac: Option<&Huffman>,
    ) {
        block[0] = self.dc(bits, index, dc) as i16;
        let mut at = 1;
        while at < 64 {
            let symbol = self.symbol(bits, ac);
            let (zeros, length) = (usize::from(symbol >> 4), symbol & 15);
            if length > 0 {
                at += zeros;
                self.damaged |= at > 63;
                block[natural(at)] = bits.signed(u32::from(length)) as i16;
            } else if zeros == 15 {
                at += 15;
            } else {
                break;
            }
            at += 1;
        }
    }

    /// The number of blocks, including this one, without further coefficients.
    fn run(&mut self, bits: &mut Bits, length: u8) {
        self.empty = (1 << length) + bits.take(u32::from(length)) as u32;
    }

    fn first(&mut self, bits: &mut Bits, block: &mut [i16; 64], table: Option<&Huffman>, band: Band) {
        let mut at = band.start;
        while self.empty == 0 && at <= band.end {
            let symbol = self.symbol(bits, table);
            let (zeros, length) = (symbol >> 4, symbol & 15);
            if length > 0 {
                at += usize::from(zeros);
                self.damaged |= at > band.end;
                block[natural(at)] = (bits.signed(u32::from(length)) << band.low) as i16;
            } else if zeros == 15 {
                at += 15;
            } else {
                self.run(bits, zeros);
            }
            at += 1;
        }
        self.empty = self.empty.saturating_sub(1);
    }

    fn refine(&mut self, bits: &mut Bits, block: &mut [i16; 64], table: Option<&Huffman>, band: Band) {
        let bit = 1_i16 << band.low;
        let refined = |bits: &mut Bits, coefficient: &mut i16| {
            if bits.take(1) != 0 && *coefficient & bit == 0 {
                *coefficient = coefficient.wrapping_add(if *coefficient >= 0 { bit } else { -bit });
            }
        };
        let mut at = band.start;
        while self.empty == 0 && at <= band.end {
            let symbol = self.symbol(bits, table);
            let (mut zeros, length) = (symbol >> 4, symbol & 15);
            let mut new = 0;
            if length > 0 {
                self.damaged |= length != 1;
                new = if bits.take(1) != 0 { bit } else { -bit };
            } else if zeros != 15 {
                self.run(bits, zeros);
                break;
            }
            while at <= band.end {
                let coefficient = &mut block[natural(at)];
                if *coefficient != 0 {
                    refined(bits, coefficient);
                } else if zeros == 0 {
                    break;
                } else {
                    zeros -= 1;
                }
                at += 1;
            }
            if new != 0 {
                self.damaged |= at > band.end;
                block[natural(at)] = new;
            }
            at += 1;
        }
        if self.empty > 0 {
            for at in at..=band.end {
                let coefficient = &mut block[natural(at)];
                if *coefficient != 0 {
                    refined(bits, coefficient);
                }
            }
            self.empty -= 1;
        }
    }
}
