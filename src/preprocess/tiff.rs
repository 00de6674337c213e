//! TIFF with palettes, which the `image` crate's decoder refuses: as grey ones they are read, and their samples are indices.

use image::{DynamicImage, ImageFormat, RgbImage, metadata::Orientation};

use super::picture::{Picture, PictureError, decode};

/// Tags of TIFF 6.0, section 8.
mod tag {
    pub const WIDTH: u16 = 256;
    pub const BITS: u16 = 258;
    pub const INTERPRETATION: u16 = 262;
    pub const COLOURS: u16 = 320;
    pub const TILE_WIDTH: u16 = 322;
}

/// A TIFF's bytes, and which way round its numbers are.
struct Tiff<'a> {
    bytes: &'a [u8],
    little: bool,
}

impl Tiff<'_> {
    fn short(&self, at: usize) -> Option<u16> {
        let bytes = *self.bytes.get(at..)?.first_chunk()?;
        Some(if self.little { u16::from_le_bytes(bytes) } else { u16::from_be_bytes(bytes) })
    }

    fn long(&self, at: usize) -> Option<u32> {
        let bytes = *self.bytes.get(at..)?.first_chunk()?;
        Some(if self.little { u32::from_le_bytes(bytes) } else { u32::from_be_bytes(bytes) })
    }

    /// Where the entry of a tag begins in the first directory: tag, type, count, value or where it lies.
    fn entry(&self, tag: u16) -> Option<usize> {
        let directory = self.long(4)? as usize;
        let count = self.short(directory)?;
        (0..usize::from(count)).map(|i| directory + 2 + 12 * i).find(|&at| self.short(at) == Some(tag))
    }

    /// The one SHORT or LONG of an entry.
    fn number(&self, entry: usize) -> Option<u32> {
        match (self.short(entry + 2)?, self.long(entry + 4)?) {
            (3, 1) => self.short(entry + 8).map(u32::from),
            (4, 1) => self.long(entry + 8),
            _ => None,
        }
    }

    /// Writes another number to an entry of a copy of the bytes. It is no larger than the one that is there.
    fn set(&self, copy: &mut [u8], entry: usize, number: u32) {
        let bytes = match (self.short(entry + 2), self.little) {
            (Some(3), true) => (number as u16).to_le_bytes().to_vec(),
            (Some(3), false) => (number as u16).to_be_bytes().to_vec(),
            (_, true) => number.to_le_bytes().to_vec(),
            (_, false) => number.to_be_bytes().to_vec(),
        };
        copy[entry + 8..][..bytes.len()].copy_from_slice(&bytes);
    }
}

/// A picture of indices.
pub(super) struct Indexed {
    /// The file as a grey picture. Indices of 2 and 4 bits, which the decoder does not unpack, lie in samples of 8.
    grey: Vec<u8>,
    width: u32,
    bits: u32,
    colours: Vec<[u8; 3]>,
}

impl Indexed {
    /// `None` where the first picture of the file has no palette, or one that cannot be understood.
    pub fn read(bytes: &[u8]) -> Result<Option<Self>, PictureError> {
        match Self::find(bytes) {
            // The palette lies behind the end.
            Some(indexed) if indexed.colours.len() < 1 << indexed.bits => {
                Err(PictureError::Truncated { format: "TIFF" })
            }
            indexed => Ok(indexed),
        }
    }

    /// The colours end where the file does.
    fn find(bytes: &[u8]) -> Option<Self> {
        let little = bytes.starts_with(b"II*\0");
        if !little && !bytes.starts_with(b"MM\0*") {
            return None;
        }
        let tiff = Tiff { bytes, little };
        let interpretation = tiff.entry(tag::INTERPRETATION).filter(|&entry| tiff.number(entry) == Some(3))?;
        let width_entry = tiff.entry(tag::WIDTH)?;
        let width = tiff.number(width_entry)?;
        let bits_entry = tiff.entry(tag::BITS);
        // Where the file is silent, it is a bit.
        let bits = bits_entry.map_or(Some(1), |entry| tiff.number(entry)).filter(|bits| [1, 2, 4, 8].contains(bits))?;

        // All reds, then all greens and all blues, of 16 bits each.
        let colours = tiff.entry(tag::COLOURS)?;
        let count = 1 << bits;
        if tiff.short(colours + 2) != Some(3) || tiff.long(colours + 4)? as usize != 3 * count {
            return None;
        }
        let start = tiff.long(colours + 8)? as usize;
        let sample = |i: usize| tiff.short(start.checked_add(2 * i)?).map(|sample| (sample >> 8) as u8);
        let colour = |i: usize| Some([sample(i)?, sample(count + i)?, sample(2 * count + i)?]);
        let colours = (0..count).map_while(colour).collect();

        let mut grey = bytes.to_vec();
        // Black is zero.
        tiff.set(&mut grey, interpretation, 1);
        if let (2 | 4, Some(bits_entry)) = (bits, bits_entry) {
            // Rows and tiles begin at whole bytes.
            let packed = |pixels: u32| (u64::from(pixels) * u64::from(bits)).div_ceil(8) as u32;
            tiff.set(&mut grey, width_entry, packed(width));
            if let Some(entry) = tiff.entry(tag::TILE_WIDTH) {
                tiff.set(&mut grey, entry, packed(tiff.number(entry)?));
            }
            // Eight is larger than what is there, and fits as well.
            tiff.set(&mut grey, bits_entry, 8);
        }
        Some(Self { grey, width, bits, colours })
    }

    /// The colours.
    pub fn decode(self) -> Result<(DynamicImage, Orientation), PictureError> {
        let Self { grey, width, bits, colours } = self;
        let (image, orientation) = decode(&grey, ImageFormat::Tiff)?;
        let DynamicImage::ImageLuma8(samples) = image else {
            let reason = "a palette with more than an index for a pixel".into();
            return Err(PictureError::Unsupported { format: "TIFF", reason });
        };
        let height = samples.height();
        Picture::check_size(width, height)?;
        let row = samples.width().max(1) as usize;
        let mut rgb = Vec::with_capacity(3 * width as usize * height as usize);
        for samples in samples.as_raw().chunks_exact(row) {
            match bits {
                // Of single bits the decoder has made black and white.
                1 => rgb.extend(samples.iter().flat_map(|&sample| colours[usize::from(sample >> 7)])),
                8 => rgb.extend(samples.iter().flat_map(|&sample| colours[usize::from(sample)])),
                _ => {
                    // The first pixel in the highest bits.
                    let index = |at: u32| {
                        let shift = 8 - bits - at * bits % 8;
                        usize::from(samples[(at * bits / 8) as usize] >> shift) & (colours.len() - 1)
                    };
                    rgb.extend((0..width).flat_map(|at| colours[index(at)]));
                }
            }
        }
        let image = RgbImage::from_raw(width, height, rgb);
        let image = image.ok_or(PictureError::Truncated { format: "TIFF" })?;
        Ok((DynamicImage::ImageRgb8(image), orientation))
    }
}
