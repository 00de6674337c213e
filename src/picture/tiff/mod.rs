//! TIFF 6.0 and BigTIFF: the picture of the first directory, as libtiff shows it.
//!
//! A reader of its own, because the `tiff` crate (0.11) panics on planes in tiles, and refuses most of the kinds read here:
//! samples of two and four bits, palettes, associated opacity, reversed bit order, YCbCr.

mod chunk;
mod colour;
pub(super) mod directory;
mod fax;
mod samples;

use chunk::{Packing, Predictor};
use colour::{Alpha, Colours};
use directory::{Directory, Order, tag};

use super::{
    error::PictureError,
    formats::{Decoded, Kind},
    jpeg, orientation,
    pixels::{Damage, Picture},
};

fn damaged(reason: &str) -> PictureError {
    PictureError::Damaged { format: Kind::Tiff.name(), reason: reason.into() }
}

fn unsupported(reason: impl Into<String>) -> PictureError {
    PictureError::Unsupported { format: Kind::Tiff.name(), reason: reason.into() }
}

fn cut() -> PictureError {
    PictureError::Truncated { format: Kind::Tiff.name() }
}

/// Decodes the first picture of a file.
pub(super) fn read(bytes: &[u8]) -> Result<Decoded, PictureError> {
    let directory = Directory::first(bytes).ok_or_else(cut)?;
    if directory.is_cut() {
        return Err(cut());
    }
    let side = |tag| directory.number(tag).ok_or_else(|| damaged("a directory without a width and a height"));
    let [width, height] = [side(tag::WIDTH)?, side(tag::HEIGHT)?].map(|side| u32::try_from(side).unwrap_or(u32::MAX));
    let layout = Layout::read(&directory, width as usize, height as usize)?;
    Kind::Tiff.check_size(bytes, width, height, (layout.bits * layout.samples) as u64)?;
    let orientation = directory.number(tag::ORIENTATION).and_then(|number| number.try_into().ok());
    let orientation = orientation::of_number(orientation, directory.bytes(tag::XMP));

    if directory.number(tag::COMPRESSION) == Some(OLD_JPEG) {
        let start = directory.number(tag::OLD_JPEG).unwrap_or(0) as usize;
        let length = directory.number(tag::OLD_JPEG_BYTES).unwrap_or(u64::MAX);
        let jpeg = bytes.get(start..).unwrap_or_default();
        let jpeg = &jpeg[..jpeg.len().min(usize::try_from(length).unwrap_or(usize::MAX))];
        if !jpeg.starts_with(&[0xFF, 0xD8]) {
            return Err(unsupported("JPEG in the pieces of TIFF 6.0's first edition"));
        }
        let decoded = jpeg::read(jpeg, Kind::Tiff)?;
        return match (decoded.width, decoded.height) == (width, height) {
            true => Ok(Decoded { orientation, ..decoded }),
            false => Err(damaged("a JPEG of another size than the picture's")),
        };
    }

    let mut canvas = Canvas::new(&layout);
    for plane in 0..if layout.planar { layout.kept() } else { 1 } {
        for index in 0..layout.chunks_across() * layout.chunks_down() {
            layout.chunk(bytes, &directory, plane, index, &mut canvas)?;
        }
    }
    let rgb = layout.colours.rgb(&canvas.planes, layout.alpha);
    Ok(Decoded { width, height, rgb, orientation, damage: Damage::of(canvas.lost, canvas.blocks) })
}

/// The JPEG compression of the first TIFF 6.0.
const OLD_JPEG: u64 = 6;

/// The directory's description of samples, strips and tiles.
struct Layout {
    width: usize,
    height: usize,
    bits: usize,
    /// The number of samples per pixel.
    samples: usize,
    kind: samples::Kind,
    /// Whether each sample has strips or tiles of its own.
    planar: bool,
    colours: Colours,
    /// The meaning of the sample after the colours, for opacity.
    alpha: Alpha,
    packing: Packing,
    predictor: Predictor,
    order: Order,
    /// Whether the first pixel is in the lowest bits of a byte.
    reversed: bool,
    /// Columns and rows of a strip or tile.
    chunk: [usize; 2],
    offsets: Vec<u64>,
    lengths: Vec<u64>,
    /// The number of pixels that share a unit's two chroma samples, across and down.
    sampling: [usize; 2],
}

/// Samples of eight bits, with one plane per kept sample of a pixel.
struct Canvas {
    planes: Vec<Vec<u8>>,
    /// The number of lost JPEG blocks, and of all; or of strips or tiles.
    lost: u64,
    blocks: u64,
}

impl Canvas {
    fn new(layout: &Layout) -> Self {
        let planes = vec![vec![0; layout.width * layout.height]; layout.kept()];
        Self { planes, lost: 0, blocks: 0 }
    }
}

impl Layout {
    fn read(directory: &Directory, width: usize, height: usize) -> Result<Self, PictureError> {
        let number = |tag, default| directory.number(tag).unwrap_or(default);
        let samples = number(tag::SAMPLES, 1) as usize;
        let planar = number(tag::PLANES, 1) == 2 && samples > 1;
        let mut depths = directory.numbers(tag::BITS).take(samples);
        let bits = depths.next().unwrap_or(1) as usize;
        if depths.any(|other| other as usize != bits) {
            return Err(unsupported("samples of different depths"));
        }
        if !(1..=64).contains(&samples) {
            return Err(unsupported(format!("{samples} samples a pixel")));
        }
        let packing = match number(tag::COMPRESSION, 1) {
            1 => Packing::None,
            2 => Packing::Fax(fax::Coding::Runs),
            3 => match number(tag::FAX_OPTIONS, 0) {
                options if options & 2 != 0 => return Err(unsupported("a fax with parts that are not compressed")),
                options => Packing::Fax(fax::Coding::Group3 { two: options & 1 != 0 }),
            },
            4 => Packing::Fax(fax::Coding::Group4),
            5 => Packing::Lzw,
            OLD_JPEG | 7 => Packing::Jpeg,
            8 | 32_946 => Packing::Deflate,
            32_773 => Packing::PackBits,
            other => return Err(unsupported(compression(other))),
        };
        let interpretation = directory.number(tag::INTERPRETATION).unwrap_or(if samples >= 3 { 2 } else { 0 });
        let sampling = directory.numbers(tag::YCC_SAMPLING).map(|number| number as usize).collect::<Vec<_>>();
        let sampling = match sampling[..] {
            [h @ 1..=4, v @ 1..=4, ..] => [h, v],
            _ => [2, 2],
        };
        let mut colours = Colours::read(directory, interpretation, bits, samples)?;
        let mut sampling = if matches!(colours, Colours::Ycc { .. }) { sampling } else { [1, 1] };
        if packing == Packing::Jpeg {
            sampling = [1, 1];
            if !planar && matches!(colours, Colours::Ycc { .. }) {
                colours = Colours::JpegYcc;
            }
        }
        let count = colours.count();
        if samples < count {
            return Err(damaged("fewer samples than colours"));
        }
        let alpha = match (samples > count, directory.number(tag::EXTRA_SAMPLES)) {
            (false, _) | (true, Some(0)) => Alpha::None,
            (true, Some(1)) => Alpha::Associated,
            (true, Some(_)) => Alpha::Straight,
            // Some programs omit the meaning of the fourth sample.
            (true, None) => {
                if count == 3 {
                    Alpha::Straight
                } else {
                    Alpha::None
                }
            }
        };
        let kind = match number(tag::SAMPLE_FORMAT, 1) {
            _ if matches!(colours, Colours::Palette(_)) => samples::Kind::Index,
            1 | 4 if bits == 16 && alpha == Alpha::Associated => samples::Kind::High,
            1 | 4 => samples::Kind::Whole,
            2 => samples::Kind::Signed,
            3 => samples::Kind::Float,
            _ => return Err(unsupported("samples of complex numbers")),
        };
        let fits = match packing {
            Packing::Jpeg => bits == 8,
            Packing::Fax(_) => bits == 1 && samples == 1,
            _ => kind.has(bits) && (sampling == [1, 1] || (bits == 8 && !planar)),
        };
        if !fits {
            return Err(unsupported(format!("samples of {bits} bits, {}", kind.name())));
        }
        let predictor = match number(tag::PREDICTOR, 1) {
            2 if matches!(packing, Packing::Lzw | Packing::Deflate) => Predictor::Difference,
            3 if matches!(packing, Packing::Lzw | Packing::Deflate) => Predictor::Float,
            _ => Predictor::None,
        };
        if predictor != Predictor::None && (!matches!(bits, 8 | 16 | 32 | 64) || sampling != [1, 1]) {
            return Err(unsupported(format!("differences of samples of {bits} bits")));
        }

        let tiled = directory.has(tag::TILE_WIDTH) && directory.has(tag::TILE_OFFSETS);
        let side = |tag, whole: usize| number(tag, whole as u64) as usize;
        let (chunk, offsets, lengths) = if tiled {
            let chunk = [side(tag::TILE_WIDTH, 0), side(tag::TILE_HEIGHT, 0)];
            (chunk, tag::TILE_OFFSETS, tag::TILE_BYTES)
        } else {
            let rows = side(tag::STRIP_ROWS, height).min(height);
            ([width, if rows == 0 { height } else { rows }], tag::STRIP_OFFSETS, tag::STRIP_BYTES)
        };
        if chunk.contains(&0) {
            return Err(damaged("tiles without a size"));
        }
        Ok(Self {
            width,
            height,
            bits,
            samples,
            kind,
            planar,
            colours,
            alpha,
            packing,
            predictor,
            order: directory.order,
            reversed: number(tag::FILL_ORDER, 1) == 2,
            chunk,
            offsets: directory.numbers(offsets).collect(),
            lengths: directory.numbers(lengths).collect(),
            sampling,
        })
    }

    /// The number of kept samples per pixel: those of the colours, and opacity.
    fn kept(&self) -> usize {
        self.colours.count() + usize::from(self.alpha != Alpha::None)
    }

    fn chunks_across(&self) -> usize {
        self.width.div_ceil(self.chunk[0])
    }

    fn chunks_down(&self) -> usize {
        self.height.div_ceil(self.chunk[1])
    }

    /// Draws a strip or tile of a plane.
    fn chunk(
        &self,
        bytes: &[u8],
        directory: &Directory,
        plane: usize,
        index: usize,
        canvas: &mut Canvas,
    ) -> Result<(), PictureError> {
        let [left, top] = [index % self.chunks_across() * self.chunk[0], index / self.chunks_across() * self.chunk[1]];
        let [columns, rows] = [self.chunk[0].min(self.width - left), self.chunk[1].min(self.height - top)];
        let place = plane * self.chunks_across() * self.chunks_down() + index;
        let &start = self.offsets.get(place).ok_or_else(|| damaged("fewer strips or tiles than its size takes"))?;
        let rest = usize::try_from(start).ok().and_then(|start| bytes.get(start..)).ok_or_else(cut)?;
        // Some programs omit the length.
        let length = self.lengths.get(place).copied().filter(|&length| length > 0);
        let length = length.map(|length| usize::try_from(length).unwrap_or(usize::MAX));
        let is_cut = length.is_some_and(|length| length > rest.len());
        let packed = &rest[..rest.len().min(length.unwrap_or(usize::MAX))];
        let few = || if is_cut { cut() } else { damaged("a strip or tile of too few bytes") };

        let samples = if self.planar { 1 } else { self.samples };
        let (unpacked, stride) = if self.packing == Packing::Jpeg {
            let (samples, stride) = self.jpeg(packed, directory, samples, [columns, rows], canvas)?;
            if is_cut && canvas.lost > 0 {
                return Err(cut());
            }
            (samples, stride)
        } else {
            // Chroma samples follow the pixels that share them.
            let [h, v] = self.sampling;
            let (line, lines) = if self.sampling == [1, 1] {
                ((self.chunk[0] * samples * self.bits).div_ceil(8), rows)
            } else {
                (self.chunk[0].div_ceil(h) * (h * v + 2), rows.div_ceil(v))
            };
            let visible = if self.sampling == [1, 1] {
                (columns * samples * self.bits).div_ceil(8)
            } else {
                columns.div_ceil(h) * (h * v + 2)
            };
            let most = line.saturating_mul(lines);
            let whole = self.width * self.height * self.samples * self.bits.div_ceil(8);
            if most > (Picture::SMALL as usize).max(4 * whole) {
                return Err(unsupported("tiles far larger than the picture"));
            }
            let unpack = |packed: &[u8]| {
                if !self.reversed {
                    return chunk::unpack(packed, self.packing, self.chunk[0], most);
                }
                let part = &packed[..packed.len().min(most.saturating_mul(2) + 1024)];
                let turned: Vec<u8> = part.iter().map(|byte| byte.reverse_bits()).collect();
                chunk::unpack(&turned, self.packing, self.chunk[0], most)
            };
            let mut unpacked = unpack(packed);
            canvas.blocks += 1;
            // Data outside of the picture may be missing.
            let needed = line * (lines - 1) + visible;
            if unpacked.len() < needed && self.packing == Packing::None && !is_cut {
                // What matters is where the data begins, as for libtiff.
                unpacked = unpack(rest);
                canvas.lost += 1;
            }
            if unpacked.len() < needed {
                return Err(few());
            }
            unpacked.resize(most, 0);
            if self.predictor != Predictor::None {
                for row in unpacked.chunks_exact_mut(line) {
                    chunk::undo(row, self.predictor, self.bits / 8, samples, self.order);
                }
            }
            match self.sampling {
                [1, 1] => (unpacked, line),
                sampling => (colour::spread(&unpacked, sampling, self.chunk[0], rows), 3 * self.chunk[0]),
            }
        };

        let (first, step) = if self.planar { (plane, 1) } else { (0, samples) };
        let drawn = if self.planar { 1 } else { self.kept() };
        for (y, row) in unpacked.chunks(stride).take(rows).enumerate() {
            let start = (top + y) * self.width + left;
            for sample in 0..drawn {
                let out = &mut canvas.planes[first + sample][start..start + columns];
                self.kind.unpack(row, self.bits, self.order, [sample, step], out);
            }
        }
        Ok(())
    }

    /// The samples of a strip or tile compressed as JPEG, and their number per row.
    fn jpeg(
        &self,
        packed: &[u8],
        directory: &Directory,
        samples: usize,
        [columns, rows]: [usize; 2],
        canvas: &mut Canvas,
    ) -> Result<(Vec<u8>, usize), PictureError> {
        let failed = |trouble| jpeg::failure(trouble, Kind::Tiff);
        let tables = jpeg::Tables::of(directory.bytes(tag::JPEG_TABLES)).map_err(failed)?;
        let header = jpeg::Header::read(packed, tables).map_err(failed)?;
        let frame = &header.frame;
        if frame.components.len() != samples {
            return Err(damaged("a JPEG of another number of colours than the picture's"));
        }
        let fits = (columns..=self.chunk[0]).contains(&frame.width) && (rows..=self.chunk[1]).contains(&frame.height);
        if !fits {
            return Err(damaged("a JPEG of another size than its strip or tile"));
        }
        let stride = frame.width * samples;
        let decoded = jpeg::decode(packed, header).map_err(failed)?;
        canvas.lost += decoded.count.lost;
        canvas.blocks += decoded.count.blocks;
        Ok((decoded.interleaved(matches!(self.colours, Colours::JpegYcc)), stride))
    }
}

fn compression(number: u64) -> String {
    let name = match number {
        34_925 => "LZMA",
        34_887 => "LERC",
        34_712 => "JPEG 2000",
        50_000 => "Zstandard",
        50_001 => "WebP",
        50_002 | 52_546 => "JPEG XL",
        32_809 => "ThunderScan",
        32_909 => "PixarLog",
        34_676 | 34_677 => "SGI Log",
        other => return format!("compression {other}"),
    };
    format!("compressed by {name}")
}
