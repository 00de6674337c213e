//! Decoding of lines in ITU-T T.4 and T.6, the coding of fax machines.

use std::convert::Infallible;

use fax::{
    BitReader,
    maps::{Mode, black, mode, white},
};

/// The coding of lines.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Coding {
    /// Runs, each line starting at a whole byte (TIFF's compression 2).
    Runs,
    /// T.4: runs and, with `two`, also differences from the line above, as a bit before each line indicates.
    Group3 { two: bool },
    /// T.6: differences from the line above.
    Group4,
}

/// A reader of the data's bits, then of zeros.
struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl BitReader for Bits<'_> {
    type Error = Infallible;

    fn peek(&self, bits: u8) -> Option<u16> {
        let byte = |i: usize| u32::from(self.bytes.get(self.at / 8 + i).copied().unwrap_or(0));
        let three = byte(0) << 16 | byte(1) << 8 | byte(2);
        let shift = 24_u32.checked_sub((self.at % 8) as u32 + u32::from(bits))?;
        Some((three >> shift & ((1 << bits) - 1)) as u16)
    }

    fn consume(&mut self, bits: u8) -> Result<(), Infallible> {
        self.at += usize::from(bits);
        Ok(())
    }

    fn bits_to_byte_boundary(&self) -> u8 {
        (8 - self.at % 8) as u8 % 8
    }
}

/// The positions in a line where the colour changes, the first from white to black.
type Changes = Vec<u32>;

fn change(line: &mut Changes, at: u32) {
    // A run of length 0 is not a change.
    if line.last() == Some(&at) {
        line.pop();
    } else {
        line.push(at);
    }
}

impl Bits<'_> {
    fn ended(&self) -> bool {
        self.at >= 8 * self.bytes.len()
    }

    /// The length of one run, of as many codes as it takes.
    fn run(&mut self, is_black: bool) -> Option<u32> {
        let mut length = 0_u32;
        loop {
            let part = u32::from(if is_black { black::decode(self) } else { white::decode(self) }?);
            length = length.checked_add(part)?;
            if part < 64 {
                return Some(length);
            }
        }
    }

    /// Skips end-of-line codes and returns their number.
    fn ends(&mut self, two: bool) -> usize {
        let mut count = 0;
        loop {
            let mut zeros = 0;
            while !self.ended() && self.peek(1) == Some(0) {
                zeros += 1;
                self.at += 1;
            }
            if zeros < 11 || self.ended() {
                self.at -= zeros;
                return count;
            }
            self.at += 1;
            count += 1;
            // The bit after a code belongs to the line, unless another code follows.
            if two && self.peek(13).is_some_and(|bits| bits & 0xFFF == 1) {
                self.at += 1;
            }
        }
    }

    fn runs(&mut self, width: u32) -> Option<Changes> {
        let (mut line, mut at, mut is_black) = (Changes::new(), 0_u32, false);
        while at < width {
            at = at.checked_add(self.run(is_black)?)?;
            change(&mut line, at.min(width));
            is_black = !is_black;
        }
        Some(line)
    }

    /// `Some(None)` at the end of all lines.
    fn differences(&mut self, width: u32, above: &Changes) -> Option<Option<Changes>> {
        let mut line = Changes::new();
        let (mut at, mut begun, mut is_black, mut index) = (0_u32, false, false, 0_usize);
        while at < width {
            // The first change above to the other colour to the right of this position.
            while index > 0 && above.get(index - 1).is_some_and(|&above| above > at) {
                index -= 1;
            }
            while above.get(index).is_some_and(|&above| if begun { above <= at } else { above < at }) {
                index += 1;
            }
            let next = index + usize::from((index % 2 == 1) != is_black);
            let [b1, b2] = [next, next + 1].map(|index| above.get(index).copied().unwrap_or(width));
            match mode::decode(self)? {
                Mode::Pass => at = b2,
                Mode::Vertical(delta) => {
                    let to = b1.checked_add_signed(i32::from(delta)).filter(|&to| to >= at && to <= width)?;
                    change(&mut line, to);
                    (at, is_black) = (to, !is_black);
                }
                Mode::Horizontal => {
                    for is_black in [is_black, !is_black] {
                        at = at.checked_add(self.run(is_black)?)?.min(width);
                        change(&mut line, at);
                    }
                }
                Mode::EOF if !begun => return Some(None),
                Mode::EOF | Mode::Extension => return None,
            }
            begun = true;
        }
        Some(Some(line))
    }
}

/// Decodes up to `rows` lines of `width` pixels, eight pixels per byte, black as ones.
pub(super) fn decode(bytes: &[u8], coding: Coding, width: usize, rows: usize) -> Vec<u8> {
    let mut bits = Bits { bytes, at: 0 };
    let stride = width.div_ceil(8);
    let mut packed = Vec::new();
    let mut above = Changes::new();
    for row in 0..rows {
        let line = match coding {
            Coding::Runs => {
                bits.at = bits.at.next_multiple_of(8);
                bits.runs(width as u32).map(Some)
            }
            Coding::Group3 { two } => {
                // Six codes end all lines.
                let ends = bits.ends(two);
                if ends >= 2 && row > 0 {
                    Some(None)
                } else if two {
                    let is_alone = bits.peek(1) == Some(1);
                    bits.at += 1;
                    if is_alone { bits.runs(width as u32).map(Some) } else { bits.differences(width as u32, &above) }
                } else {
                    bits.runs(width as u32).map(Some)
                }
            }
            Coding::Group4 => bits.differences(width as u32, &above),
        };
        match line {
            Some(Some(line)) if bits.at <= 8 * bytes.len() => above = line,
            Some(None) => {
                // White lines at the end are often omitted.
                packed.resize(stride * rows, 0);
                break;
            }
            _ => break,
        }
        let start = packed.len();
        packed.resize(start + stride, 0);
        for run in above.chunks(2) {
            let end = run.get(1).map_or(width, |&end| end as usize);
            for x in run[0] as usize..end.min(width) {
                packed[start + x / 8] |= 0x80 >> (x % 8);
            }
        }
    }
    packed
}
