//! Directories of TIFF 6.0 and BigTIFF, which EXIF uses too.

/// Tags of TIFF 6.0, sections 8 and later, and of its supplements.
pub(in crate::picture) mod tag {
    pub const WIDTH: u16 = 256;
    pub const HEIGHT: u16 = 257;
    pub const BITS: u16 = 258;
    pub const COMPRESSION: u16 = 259;
    pub const INTERPRETATION: u16 = 262;
    pub const FILL_ORDER: u16 = 266;
    pub const STRIP_OFFSETS: u16 = 273;
    pub const ORIENTATION: u16 = 274;
    pub const SAMPLES: u16 = 277;
    pub const STRIP_ROWS: u16 = 278;
    pub const STRIP_BYTES: u16 = 279;
    pub const PLANES: u16 = 284;
    pub const FAX_OPTIONS: u16 = 292;
    pub const PREDICTOR: u16 = 317;
    pub const COLOURS: u16 = 320;
    pub const TILE_WIDTH: u16 = 322;
    pub const TILE_HEIGHT: u16 = 323;
    pub const TILE_OFFSETS: u16 = 324;
    pub const TILE_BYTES: u16 = 325;
    pub const EXTRA_SAMPLES: u16 = 338;
    pub const SAMPLE_FORMAT: u16 = 339;
    pub const JPEG_TABLES: u16 = 347;
    pub const OLD_JPEG: u16 = 513;
    pub const OLD_JPEG_BYTES: u16 = 514;
    pub const YCC_WEIGHTS: u16 = 529;
    pub const YCC_SAMPLING: u16 = 530;
    pub const YCC_RANGES: u16 = 532;
    pub const XMP: u16 = 700;
}

/// The byte order of numbers.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::picture) enum Order {
    Little,
    Big,
}

impl Order {
    /// The number stored in all of `bytes`, at most eight.
    pub fn number(self, bytes: &[u8]) -> u64 {
        let add = |number: u64, &byte: &u8| number << 8 | u64::from(byte);
        match self {
            Self::Little => bytes.iter().rev().fold(0, add),
            Self::Big => bytes.iter().fold(0, add),
        }
    }
}

struct Entry<'a> {
    tag: u16,
    kind: u16,
    /// The values, as far as they are in the file.
    values: &'a [u8],
    is_cut: bool,
}

/// The first directory of a file.
pub(in crate::picture) struct Directory<'a> {
    pub order: Order,
    entries: Vec<Entry<'a>>,
    count: u64,
}

impl<'a> Directory<'a> {
    /// `None` for bytes that are not TIFF. Entries stop at the end of the file, since damaged EXIF may still have the needed
    /// ones.
    pub fn first(bytes: &'a [u8]) -> Option<Self> {
        let order = match bytes.first_chunk()? {
            b"II" => Order::Little,
            b"MM" => Order::Big,
            _ => return None,
        };
        let number = |at: usize, size: usize| Some(order.number(bytes.get(at..at.checked_add(size)?)?));
        // Counts and offsets have 4 bytes, and 8 in BigTIFF.
        let (size, first) = match number(2, 2)? {
            42 => (4, number(4, 4)?),
            43 if number(4, 2) == Some(8) => (8, number(8, 8)?),
            _ => return None,
        };
        let first = usize::try_from(first).ok()?;
        let head = if size == 8 { 8 } else { 2 };
        let count = number(first, head)?;
        let entry = |index: u64| {
            let at = first.checked_add(head)?.checked_add(usize::try_from(index).ok()?.checked_mul(4 + 2 * size)?)?;
            let (tag, kind) = (number(at, 2)? as u16, number(at + 2, 2)? as u16);
            let length = number(at + 4, size)?.saturating_mul(width(kind) as u64);
            let value = at + 4 + size;
            let start = if length <= size as u64 { value } else { usize::try_from(number(value, size)?).ok()? };
            let rest = bytes.get(start..).unwrap_or_default();
            let values = &rest[..rest.len().min(usize::try_from(length).unwrap_or(usize::MAX))];
            Some(Entry { tag, kind, values, is_cut: (values.len() as u64) < length })
        };
        Some(Self { order, entries: (0..count).map_while(entry).collect(), count })
    }

    /// Whether the file ends before all entries and, for those that describe the pixels' layout, their values.
    pub fn is_cut(&self) -> bool {
        let needed = |entry: &Entry| matches!(entry.tag, tag::WIDTH..=tag::YCC_RANGES | tag::XMP);
        self.count > self.entries.len() as u64 || self.entries.iter().any(|entry| entry.is_cut && needed(entry))
    }

    fn entry(&self, tag: u16) -> Option<&Entry<'a>> {
        self.entries.iter().find(|entry| entry.tag == tag)
    }

    /// The bytes of an entry.
    pub fn bytes(&self, tag: u16) -> &'a [u8] {
        self.entry(tag).map(|entry| entry.values).unwrap_or_default()
    }

    /// Whether the entry exists.
    pub fn has(&self, tag: u16) -> bool {
        self.entry(tag).is_some()
    }

    /// The integers of an entry; empty where it has another type, or is absent.
    pub fn numbers(&self, tag: u16) -> impl Iterator<Item = u64> {
        let entry = self.entry(tag).filter(|entry| matches!(entry.kind, 1 | 3 | 4 | 7 | 13 | 16 | 18));
        entry
            .into_iter()
            .flat_map(|entry| entry.values.chunks_exact(width(entry.kind)).map(|value| self.order.number(value)))
    }

    /// The first integer of an entry.
    pub fn number(&self, tag: u16) -> Option<u64> {
        self.numbers(tag).next()
    }

    /// The fractions of an entry.
    pub fn fractions(&self, tag: u16) -> Vec<f64> {
        let entry = self.entry(tag).filter(|entry| entry.kind == 5);
        let fraction = |value: &[u8]| {
            let [above, below] = [&value[..4], &value[4..]].map(|number| self.order.number(number) as f64);
            above / below
        };
        entry.into_iter().flat_map(|entry| entry.values.chunks_exact(8).map(fraction)).collect()
    }
}

/// The size of a value in bytes.
fn width(kind: u16) -> usize {
    match kind {
        3 | 8 => 2,
        4 | 9 | 11 | 13 => 4,
        5 | 10 | 12 | 16..=18 => 8,
        _ => 1,
    }
}
