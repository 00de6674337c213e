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
    /// The next bits, from the highest; zeros after them.
    buffer: u64,
    left: u32,
}

/// The end-of-image marker, which is assumed where the file ends without it.
pub(super) const END: u8 = 0xD9;

impl<'a> Bits<'a> {
    pub fn new(bytes: &'a [u8], at: usize) -> Self {
        Self { bytes, at, marker: None, exhausted: false, cut: false, buffer: 0, left: 0 }
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

/// The code of the first marker at or after `at`, and the offset after it.
pub(super) fn next_marker(bytes: &[u8], mut at: usize) -> Option<(u8, usize)> {
    loop {
        at += bytes.get(at..)?.iter().position(|&byte| byte == 0xFF)?;
        at += bytes[at..].iter().position(|&byte| byte != 0xFF)?;
        at += 1;
        if bytes[at - 1] != 0 {
            return Some((bytes[at - 1], at));
        }
    }
}

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

    /// Whether all symbols are valid lengths of DC differences.
    pub fn is_dc(&self) -> bool {
        self.symbols.iter().all(|&symbol| symbol <= 15)
    }
}
