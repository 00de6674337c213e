//! Bits of entropy-coded data, and the Huffman codes in them (ITU-T T.81, annexes C and F).

/// A reader of bits up to the next marker, then of endless zeros.
pub(super) struct Bits<'a> {
    bytes: &'a [u8],
    /// The offset of the next byte.
    pub at: usize,
    /// The marker that ended the data; it is before `at`.
    pub marker: Option<u8>,
    /// Whether more bits were requested than there are.
    pub exhausted: bool,
    /// Whether the file ends where a marker should be.
    pub cut: bool,
    /// Whether more bytes were requested than the file has.
    pub starved: bool,
    /// The next bits, from the highest; zeros after them.
    buffer: u64,
    left: u32,
}

/// The end-of-image marker, which is assumed where the file ends without it.
pub(super) const END: u8 = 0xD9;

impl<'a> Bits<'a> {
    pub fn new(bytes: &'a [u8], at: usize) -> Self {
        Self { bytes, at, marker: None, exhausted: false, cut: false, starved: false, buffer: 0, left: 0 }
    }

    fn fill(&mut self) {
        while self.left <= 56 && self.marker.is_none() {
            let Some(&byte) = self.bytes.get(self.at) else {
                (self.marker, self.cut) = (Some(END), true);
                return;
            };
            self.at += 1;
            if byte == 0xFF {
                // Any number of fill bytes may precede a marker's code; a zero stands for FF itself.
                while self.bytes.get(self.at) == Some(&0xFF) {
                    self.at += 1;
                }
                let Some(&code) = self.bytes.get(self.at) else {
                    (self.marker, self.cut) = (Some(END), true);
                    return;
                };
                self.at += 1;
                if code != 0 {
                    self.marker = Some(code);
                    return;
                }
            }
            self.buffer |= u64::from(byte) << (56 - self.left);
            self.left += 8;
        }
    }

    /// The next byte, for data without Huffman codes; zeros after the last.
    pub fn byte(&mut self) -> u8 {
        if self.left < 8 {
            self.fill();
            self.starved |= self.left < 8 && self.cut;
        }
        let byte = (self.buffer >> 56) as u8;
        self.buffer <<= 8;
        self.left = self.left.saturating_sub(8);
        byte
    }

    fn skip(&mut self, count: u32) {
        if count > self.left {
            self.exhausted = true;
            (self.buffer, self.left) = (0, 0);
        } else {
            self.buffer <<= count;
            self.left -= count;
        }
    }

    /// The next bits, at most 16, as a number.
    pub fn take(&mut self, count: u32) -> i32 {
        if count == 0 {
            return 0;
        }
        if self.left < count {
            self.fill();
        }
        let value = (self.buffer >> (64 - count)) as i32;
        self.skip(count);
        value
    }

    /// The next bits as a difference or coefficient (T.81, F.2.2.1).
    pub fn signed(&mut self, count: u32) -> i32 {
        let value = self.take(count);
        if count > 0 && value < 1 << (count - 1) { value - (1 << count) + 1 } else { value }
    }

    /// The symbol of the next code. `None` for an invalid code, of which 17 bits are skipped, as in libjpeg.
    pub fn symbol(&mut self, table: &Huffman) -> Option<u8> {
        if self.left < 17 {
            self.fill();
        }
        let (length, symbol) = table.short[(self.buffer >> 56) as usize];
        if length > 0 {
            self.skip(u32::from(length));
            return Some(symbol);
        }
        for length in 9..=16 {
            let code = (self.buffer >> (64 - length)) as i32;
            let (last, offset) = table.long[length - 9];
            if code <= last {
                self.skip(length as u32);
                return table.symbols.get((code + offset) as usize).copied();
            }
        }
        self.skip(17);
        None
    }

    /// Drops the bits before the next marker. Returns the number of whole bytes that were left.
    pub fn skip_to_marker(&mut self) -> usize {
        let mut skipped = 0;
        loop {
            skipped += (self.left / 8) as usize;
            (self.buffer, self.left) = (0, 0);
            if self.marker.is_some() {
                return skipped;
            }
            self.fill();
        }
    }
}

/// A marker, and its place in the file.
pub(super) struct Marker {
    pub code: u8,
    /// The offset after it.
    pub end: usize,
    /// The bytes skipped before it, other than fill bytes.
    pub stray: usize,
}

/// The first marker at or after `at`.
pub(super) fn next_marker(bytes: &[u8], mut at: usize) -> Option<Marker> {
    let mut stray = 0;
    loop {
        let skipped = bytes.get(at..)?.iter().position(|&byte| byte == 0xFF)?;
        at += skipped;
        at += bytes[at..].iter().position(|&byte| byte != 0xFF)?;
        at += 1;
        stray += skipped;
        match bytes[at - 1] {
            0 => stray += 2,
            code => return Some(Marker { code, end: at, stray }),
        }
    }
}

/// What a table's codes are for.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    Dc,
    Ac,
}

/// Runs of zeros and lengths, by code (T.81, tables K.5 and K.6).
#[rustfmt::skip]
const AC_LUMA: [u8; 162] = [
    0x01, 0x02, 0x03, 0x00, 0x04, 0x11, 0x05, 0x12, 0x21, 0x31, 0x41, 0x06, 0x13, 0x51, 0x61, 0x07, 0x22, 0x71, 0x14,
    0x32, 0x81, 0x91, 0xA1, 0x08, 0x23, 0x42, 0xB1, 0xC1, 0x15, 0x52, 0xD1, 0xF0, 0x24, 0x33, 0x62, 0x72, 0x82, 0x09,
    0x0A, 0x16, 0x17, 0x18, 0x19, 0x1A, 0x25, 0x26, 0x27, 0x28, 0x29, 0x2A, 0x34, 0x35, 0x36, 0x37, 0x38, 0x39, 0x3A,
    0x43, 0x44, 0x45, 0x46, 0x47, 0x48, 0x49, 0x4A, 0x53, 0x54, 0x55, 0x56, 0x57, 0x58, 0x59, 0x5A, 0x63, 0x64, 0x65,
    0x66, 0x67, 0x68, 0x69, 0x6A, 0x73, 0x74, 0x75, 0x76, 0x77, 0x78, 0x79, 0x7A, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88,
    0x89, 0x8A, 0x92, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99, 0x9A, 0xA2, 0xA3, 0xA4, 0xA5, 0xA6, 0xA7, 0xA8, 0xA9,
    0xAA, 0xB2, 0xB3, 0xB4, 0xB5, 0xB6, 0xB7, 0xB8, 0xB9, 0xBA, 0xC2, 0xC3, 0xC4, 0xC5, 0xC6, 0xC7, 0xC8, 0xC9, 0xCA,
    0xD2, 0xD3, 0xD4, 0xD5, 0xD6, 0xD7, 0xD8, 0xD9, 0xDA, 0xE1, 0xE2, 0xE3, 0xE4, 0xE5, 0xE6, 0xE7, 0xE8, 0xE9, 0xEA,
    0xF1, 0xF2, 0xF3, 0xF4, 0xF5, 0xF6, 0xF7, 0xF8, 0xF9, 0xFA,
];
#[rustfmt::skip]
const AC_CHROMA: [u8; 162] = [
    0x00, 0x01, 0x02, 0x03, 0x11, 0x04, 0x05, 0x21, 0x31, 0x06, 0x12, 0x41, 0x51, 0x07, 0x61, 0x71, 0x13, 0x22, 0x32,
    0x81, 0x08, 0x14, 0x42, 0x91, 0xA1, 0xB1, 0xC1, 0x09, 0x23, 0x33, 0x52, 0xF0, 0x15, 0x62, 0x72, 0xD1, 0x0A, 0x16,
    0x24, 0x34, 0xE1, 0x25, 0xF1, 0x17, 0x18, 0x19, 0x1A, 0x26, 0x27, 0x28, 0x29, 0x2A, 0x35, 0x36, 0x37, 0x38, 0x39,
    0x3A, 0x43, 0x44, 0x45, 0x46, 0x47, 0x48, 0x49, 0x4A, 0x53, 0x54, 0x55, 0x56, 0x57, 0x58, 0x59, 0x5A, 0x63, 0x64,
    0x65, 0x66, 0x67, 0x68, 0x69, 0x6A, 0x73, 0x74, 0x75, 0x76, 0x77, 0x78, 0x79, 0x7A, 0x82, 0x83, 0x84, 0x85, 0x86,
    0x87, 0x88, 0x89, 0x8A, 0x92, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99, 0x9A, 0xA2, 0xA3, 0xA4, 0xA5, 0xA6, 0xA7,
    0xA8, 0xA9, 0xAA, 0xB2, 0xB3, 0xB4, 0xB5, 0xB6, 0xB7, 0xB8, 0xB9, 0xBA, 0xC2, 0xC3, 0xC4, 0xC5, 0xC6, 0xC7, 0xC8,
    0xC9, 0xCA, 0xD2, 0xD3, 0xD4, 0xD5, 0xD6, 0xD7, 0xD8, 0xD9, 0xDA, 0xE2, 0xE3, 0xE4, 0xE5, 0xE6, 0xE7, 0xE8, 0xE9,
    0xEA, 0xF2, 0xF3, 0xF4, 0xF5, 0xF6, 0xF7, 0xF8, 0xF9, 0xFA,
];

/// A table of Huffman codes.
#[derive(Clone)]
pub(super) struct Huffman {
    /// By the next eight bits: the length of the code at their start, and its symbol; 0 for a longer code.
    short: Box<[(u8, u8); 256]>,
    /// For lengths 9 to 16: the last code, or −1, and the offset from a code to the index of its symbol.
    long: [(i32, i32); 8],
    symbols: Vec<u8>,
}

impl Huffman {
    /// Builds a table from the number of codes of each length from 1 to 16, and their symbols. `None` where no such code
    /// exists.
    pub fn new(counts: &[u8; 16], symbols: &[u8]) -> Option<Self> {
        let mut table = Self { short: Box::new([(0, 0); 256]), long: [(-1, 0); 8], symbols: symbols.to_vec() };
        let (mut code, mut place) = (0_usize, 0_usize);
        for length in 1..=16_usize {
            let count = usize::from(counts[length - 1]);
            if code + count > 1 << length {
                return None;
            }
            if length > 8 && count > 0 {
                table.long[length - 9] = ((code + count - 1) as i32, place as i32 - code as i32);
            }
            for &symbol in symbols.get(place..place + count)? {
                if length <= 8 {
                    let width = 1 << (8 - length);
                    table.short[code * width..][..width].fill((length as u8, symbol));
                }
                code += 1;
            }
            place += count;
            code <<= 1;
        }
        Some(table)
    }

    /// The tables that are used where a file has none, as in frames of Motion JPEG (T.81, annex K.3): for luma or chroma.
    pub fn usual(kind: Kind, chroma: bool) -> Option<Self> {
        const LENGTHS: [u8; 12] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11];
        match (kind, chroma) {
            (Kind::Dc, false) => Self::new(&[0, 1, 5, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0], &LENGTHS),
            (Kind::Dc, true) => Self::new(&[0, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0], &LENGTHS),
            (Kind::Ac, false) => Self::new(&[0, 2, 1, 3, 3, 2, 4, 3, 5, 5, 4, 4, 0, 0, 1, 0x7D], &AC_LUMA),
            (Kind::Ac, true) => Self::new(&[0, 2, 1, 2, 4, 4, 3, 4, 7, 5, 4, 4, 0, 1, 2, 0x77], &AC_CHROMA),
        }
    }

    /// Whether all symbols are valid lengths of DC differences.
    pub fn is_dc(&self) -> bool {
        self.symbols.iter().all(|&symbol| symbol <= 15)
    }
}
