//! Arithmetic coding (ITU-T T.81, annex D), and coefficients coded with it (F.1.4, G.1.3).

use super::{
    huffman::Bits,
    scan::{Band, natural},
};

/// The classification of numbers by size (T.81, B.2.4.3): DC differences by 2 to the `low` and the `high`, AC coefficients by
/// whether they come after `place`.
#[derive(Clone, Copy)]
pub(super) struct Conditioning {
    pub low: u8,
    pub high: u8,
    pub place: u8,
}

impl Default for Conditioning {
    fn default() -> Self {
        Self { low: 0, high: 1, place: 5 }
    }
}

/// Estimates of the probability of the less probable symbol (table D.3): itself, the place of the estimate after the more
/// probable symbol, and after the less probable one, with 128 where the two change sides. The last one never changes.
#[rustfmt::skip]
const ESTIMATES: [(u16, u8, u8); 114] = [
    (0x5a1d, 1, 129), (0x2586, 2, 14), (0x1114, 3, 16), (0x080b, 4, 18), (0x03d8, 5, 20), (0x01da, 6, 23),
    (0x00e5, 7, 25), (0x006f, 8, 28), (0x0036, 9, 30), (0x001a, 10, 33), (0x000d, 11, 35), (0x0006, 12, 9),
    (0x0003, 13, 10), (0x0001, 13, 12), (0x5a7f, 15, 143), (0x3f25, 16, 36), (0x2cf2, 17, 38), (0x207c, 18, 39),
    (0x17b9, 19, 40), (0x1182, 20, 42), (0x0cef, 21, 43), (0x09a1, 22, 45), (0x072f, 23, 46), (0x055c, 24, 48),
    (0x0406, 25, 49), (0x0303, 26, 51), (0x0240, 27, 52), (0x01b1, 28, 54), (0x0144, 29, 56), (0x00f5, 30, 57),
    (0x00b7, 31, 59), (0x008a, 32, 60), (0x0068, 33, 62), (0x004e, 34, 63), (0x003b, 35, 32), (0x002c, 9, 33),
    (0x5ae1, 37, 165), (0x484c, 38, 64), (0x3a0d, 39, 65), (0x2ef1, 40, 67), (0x261f, 41, 68), (0x1f33, 42, 69),
    (0x19a8, 43, 70), (0x1518, 44, 72), (0x1177, 45, 73), (0x0e74, 46, 74), (0x0bfb, 47, 75), (0x09f8, 48, 77),
    (0x0861, 49, 78), (0x0706, 50, 79), (0x05cd, 51, 48), (0x04de, 52, 50), (0x040f, 53, 50), (0x0363, 54, 51),
    (0x02d4, 55, 52), (0x025c, 56, 53), (0x01f8, 57, 54), (0x01a4, 58, 55), (0x0160, 59, 56), (0x0125, 60, 57),
    (0x00f6, 61, 58), (0x00cb, 62, 59), (0x00ab, 63, 61), (0x008f, 32, 61), (0x5b12, 65, 193), (0x4d04, 66, 80),
    (0x412c, 67, 81), (0x37d8, 68, 82), (0x2fe8, 69, 83), (0x293c, 70, 84), (0x2379, 71, 86), (0x1edf, 72, 87),
    (0x1aa9, 73, 87), (0x174e, 74, 72), (0x1424, 75, 72), (0x119c, 76, 74), (0x0f6b, 77, 74), (0x0d51, 78, 75),
    (0x0bb6, 79, 77), (0x0a40, 48, 77), (0x5832, 81, 208), (0x4d1c, 82, 88), (0x438e, 83, 89), (0x3bdd, 84, 90),
    (0x34ee, 85, 91), (0x2eae, 86, 92), (0x299a, 87, 93), (0x2516, 71, 86), (0x5570, 89, 216), (0x4ca9, 90, 95),
    (0x44d9, 91, 96), (0x3e22, 92, 97), (0x3824, 93, 99), (0x32b4, 94, 99), (0x2e17, 86, 93), (0x56a8, 96, 223),
    (0x4f46, 97, 101), (0x47e5, 98, 102), (0x41cf, 99, 103), (0x3c3d, 100, 104), (0x375e, 93, 99), (0x5231, 102, 105),
    (0x4c0f, 103, 106), (0x4639, 104, 107), (0x415e, 99, 103), (0x5627, 106, 233), (0x50e7, 107, 108),
    (0x4b85, 103, 109), (0x5597, 109, 110), (0x504f, 107, 111), (0x5a10, 111, 238), (0x5522, 109, 112),
    (0x59eb, 111, 240), (0x5a1d, 113, 113),
];

/// An estimate's place in the table, and in the highest bit the more probable symbol.
type Estimate = u8;

/// The decoder of binary decisions.
struct Coder {
    code: u32,
    interval: u32,
    /// Unused bits of `code`; negative before the first two bytes.
    shift: i32,
}

impl Coder {
    fn decide(&mut self, estimate: &mut Estimate, bits: &mut Bits) -> bool {
        while self.interval < 0x8000 {
            self.shift -= 1;
            if self.shift < 0 {
                self.code = self.code << 8 | u32::from(bits.byte());
                self.shift += 8;
                if self.shift < 0 {
                    self.shift += 1;
                    if self.shift == 0 {
                        // Two bytes have been read. The interval becomes 10000.
                        self.interval = 0x8000;
                    }
                }
            }
            self.interval <<= 1;
        }
        let (probability, after_more, after_less) = ESTIMATES[usize::from(*estimate & 0x7F)];
        let probability = u32::from(probability);
        let symbol = *estimate & 0x80;
        self.interval -= probability;
        let threshold = self.interval << self.shift;
        let less = if self.code >= threshold {
            self.code -= threshold;
            let exchanged = self.interval < probability;
            self.interval = probability;
            !exchanged
        } else if self.interval < 0x8000 {
            self.interval < probability
        } else {
            return symbol != 0;
        };
        *estimate = symbol ^ if less { after_less } else { after_more };
        less != (symbol != 0)
    }
}

/// Places of a part's tables, and their conditioning.
#[derive(Clone, Copy)]
pub(super) struct Places {
    pub dc: usize,
    pub ac: usize,
    pub conditioning: [Conditioning; 2],
}

/// A number that is out of range, or a coefficient after the block's last.
struct Overflow;

/// The adaptive state since the last restart.
pub(super) struct Arithmetic {
    coder: Coder,
    dc: [[Estimate; 64]; 16],
    ac: [[Estimate; 256]; 16],
    even: Estimate,
    /// Each part's last DC coefficient, and the start of the estimates for its next difference.
    last: Vec<(i32, usize)>,
}

impl Arithmetic {
    pub fn new(parts: usize) -> Self {
        let coder = Coder { code: 0, interval: 0, shift: -16 };
        Self { coder, dc: [[0; 64]; 16], ac: [[0; 256]; 16], even: 113, last: vec![(0, 0); parts] }
    }

    /// Decodes a block of a scan's part. After invalid data, nothing is read until the next restart.
    pub fn block(&mut self, bits: &mut Bits, block: &mut [i16; 64], index: usize, places: Places, band: Band) {
        if bits.exhausted {
            return;
        }
        let result = match band {
            Band { progressive: false, .. } => self.dc(bits, index, places).and_then(|dc| {
                block[0] = dc as i16;
                self.ac(bits, block, places, Band { start: 1, ..band })
            }),
            Band { start: 0, high: 0, .. } => self.dc(bits, index, places).map(|dc| block[0] = (dc << band.low) as i16),
            Band { start: 0, .. } => {
                block[0] |= i16::from(self.coder.decide(&mut self.even, bits)) << band.low;
                Ok(())
            }
            Band { high: 0, .. } => self.ac(bits, block, places, band),
            _ => self.refine(bits, block, places, band),
        };
        bits.exhausted |= result.is_err();
    }

    fn dc(&mut self, bits: &mut Bits, index: usize, places: Places) -> Result<i32, Overflow> {
        let table = &mut self.dc[places.dc];
        let mut decide = |at: usize| self.coder.decide(&mut table[at], bits);
        let (value, context) = &mut self.last[index];
        let start = *context;
        *context = 0;
        if !decide(start) {
            return Ok(*value);
        }
        let negative = decide(start + 1);
        let mut at = start + 2 + usize::from(negative);
        let mut size = i32::from(decide(at));
        if size != 0 {
            at = 20;
            while decide(at) {
                size <<= 1;
                at += 1;
                if size == 0x8000 {
                    return Err(Overflow);
                }
            }
        }
        let Conditioning { low, high, .. } = places.conditioning[0];
        if size >= (1 << low) >> 1 {
            *context = if size > (1 << high) >> 1 { 12 } else { 4 } + if negative { 4 } else { 0 };
        }
        let difference = magnitude(size, || decide(at + 14));
        *value = i32::from(value.wrapping_add(if negative { -difference } else { difference }) as i16);
        Ok(*value)
    }

    fn ac(&mut self, bits: &mut Bits, block: &mut [i16; 64], places: Places, band: Band) -> Result<(), Overflow> {
        let table = &mut self.ac[places.ac];
        let mut decide = |estimate: &mut Estimate| self.coder.decide(estimate, bits);
        let mut place = band.start;
        while place <= band.end {
            let mut at = 3 * (place - 1);
            if decide(&mut table[at]) {
                break;
            }
            while !decide(&mut table[at + 1]) {
                at += 3;
                place += 1;
                if place > band.end {
                    return Err(Overflow);
                }
            }
            let negative = decide(&mut self.even);
            at += 2;
            let mut size = i32::from(decide(&mut table[at]));
            if size != 0 && decide(&mut table[at]) {
                size <<= 1;
                at = if place <= usize::from(places.conditioning[1].place) { 189 } else { 217 };
                while decide(&mut table[at]) {
                    size <<= 1;
                    at += 1;
                    if size == 0x8000 {
                        return Err(Overflow);
                    }
                }
            }
            let value = magnitude(size, || decide(&mut table[at + 14]));
            block[natural(place)] = ((if negative { -value } else { value }) << band.low) as i16;
            place += 1;
        }
        Ok(())
    }

    fn refine(&mut self, bits: &mut Bits, block: &mut [i16; 64], places: Places, band: Band) -> Result<(), Overflow> {
        let table = &mut self.ac[places.ac];
        let mut decide = |estimate: &mut Estimate| self.coder.decide(estimate, bits);
        let bit = 1_i16 << band.low;
        // The last coefficient from earlier scans.
        let last = (1..=band.end).rev().find(|&place| block[natural(place)] != 0).unwrap_or(0);
        let mut place = band.start;
        while place <= band.end {
            if place > last && decide(&mut table[3 * (place - 1)]) {
                break;
            }
            loop {
                let at = 3 * (place - 1);
                let coefficient = &mut block[natural(place)];
                if *coefficient != 0 {
                    if decide(&mut table[at + 2]) {
                        *coefficient = coefficient.wrapping_add(if *coefficient < 0 { -bit } else { bit });
                    }
                    break;
                }
                if decide(&mut table[at + 1]) {
                    *coefficient = if decide(&mut self.even) { -bit } else { bit };
                    break;
                }
                place += 1;
                if place > band.end {
                    return Err(Overflow);
                }
            }
            place += 1;
        }
        Ok(())
    }
}

/// One more than the number whose highest bit is `size` and whose others are decided from the highest down.
fn magnitude(size: i32, mut decide: impl FnMut() -> bool) -> i32 {
    let (mut value, mut bit) = (size, size >> 1);
    while bit != 0 {
        if decide() {
            value |= bit;
        }
        bit >>= 1;
    }
    value + 1
}
