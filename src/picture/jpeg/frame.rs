//! The segments of a JPEG (T.81, annex B), and its picture.

use super::{
    arithmetic::{Conditioning, Places},
    huffman::{Bits, END, Huffman, Kind, Marker, next_marker},
    planes::{Plane, idct, ycc},
    scan::{self, Band, Codes, Coefficients, Count, Part, natural},
};

/// The reason why a JPEG cannot be decoded.
#[derive(Debug)]
pub(in crate::picture) enum Trouble {
    /// The file ends too early.
    Cut,
    Damaged(&'static str),
    Unsupported(String),
}

/// The coding of a frame, from its marker.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::picture) struct Coding {
    pub progressive: bool,
    pub arithmetic: bool,
}

/// A component in the frame's header.
#[derive(Clone, Copy)]
pub(in crate::picture) struct Component {
    pub id: u8,
    /// The sampling factors.
    pub h: usize,
    pub v: usize,
    table: usize,
}

/// The frame's header.
pub(in crate::picture) struct Frame {
    pub coding: Coding,
    pub width: usize,
    pub height: usize,
    pub components: Vec<Component>,
}

/// The colour space of the components.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::picture) enum Colours {
    Grey,
    Rgb,
    Ycc,
    /// Inverted, as Adobe and later programs write it.
    Cmyk,
    Ycck,
}

/// Tables, and other segments before the frame or between its scans.
#[derive(Default)]
pub(in crate::picture) struct Tables {
    quantisation: [Option<[u16; 64]>; 4],
    /// `Some(None)` for an invalid table, which is an error only where it is used.
    dc: [Option<Option<Huffman>>; 4],
    ac: [Option<Option<Huffman>>; 4],
    conditioning: [[Conditioning; 16]; 2],
    restart_interval: usize,
    pub jfif: bool,
    /// Adobe's code of the colour transform.
    pub adobe: Option<u8>,
    pub exif: Vec<u8>,
    pub xmp: Vec<u8>,
}

/// The file up to its first scan.
pub(in crate::picture) struct Header {
    pub frame: Frame,
    pub tables: Tables,
    /// The offset after the marker of the first scan.
    at: usize,
    /// Bytes that belong to no segment.
    stray: usize,
}

fn number(bytes: &[u8], at: usize) -> Option<usize> {
    bytes.get(at..)?.first_chunk().map(|&pair| usize::from(u16::from_be_bytes(pair)))
}

/// The segment of the marker `code` that begins at `at`, without its length.
fn segment(bytes: &[u8], at: usize, code: u8) -> Result<&[u8], Trouble> {
    match number(bytes, at).ok_or(Trouble::Cut)? {
        length @ 2.. => bytes.get(at + 2..at + length).ok_or(Trouble::Cut),
        // A comment or a program's data.
        _ if matches!(code, 0xE0..=0xFE) => Ok(&[]),
        _ => Err(Trouble::Damaged("a segment of no length")),
    }
}

impl Header {
    /// Reads up to the first scan; `tables` come from another stream, as in TIFF.
    pub fn read(bytes: &[u8], mut tables: Tables) -> Result<Self, Trouble> {
        let mut frame = None;
        let (mut at, mut stray) = (2, 0);
        loop {
            let marker = next_marker(bytes, at).ok_or(Trouble::Cut)?;
            let code = marker.code;
            at = marker.end;
            stray += marker.stray;
            match code {
                0x01 | 0xD0..=0xD8 => continue,
                END => return Err(Trouble::Damaged("an end before its first scan")),
                0xDA => {
                    let frame = frame.ok_or(Trouble::Damaged("a scan before its frame"))?;
                    return Ok(Self { frame, tables, at, stray });
                }
                _ => {}
            }
            let body = segment(bytes, at, code)?;
            at += 2 + body.len();
            match code {
                0xC0..=0xC3 | 0xC5..=0xC7 | 0xC9..=0xCB | 0xCD..=0xCF => {
                    if frame.is_some() {
                        return Err(Trouble::Damaged("two frames"));
                    }
                    frame = Some(Frame::read(code, body)?);
                }
                _ => tables.read(code, body)?,
            }
        }
    }
}

impl Frame {
    fn read(code: u8, body: &[u8]) -> Result<Self, Trouble> {
        let unsupported = |what: &str| Err(Trouble::Unsupported(what.into()));
        let coding = match code {
            0xC0 | 0xC1 => Coding { progressive: false, arithmetic: false },
            0xC2 => Coding { progressive: true, arithmetic: false },
            0xC9 => Coding { progressive: false, arithmetic: true },
            0xCA => Coding { progressive: true, arithmetic: true },
            0xC3 | 0xCB => return unsupported("lossless"),
            _ => return unsupported("hierarchical"),
        };
        let cut = Trouble::Damaged("a frame's header that is too short");
        let (Some(&[bits]), Some(height), Some(width), Some(&count)) =
            (body.first_chunk(), number(body, 1), number(body, 3), body.get(5))
        else {
            return Err(cut);
        };
        if bits != 8 {
            return Err(Trouble::Unsupported(format!("{bits} bits a sample")));
        }
        if !matches!(count, 1 | 3 | 4) {
            return Err(Trouble::Unsupported(format!("{count} components")));
        }
        let components = body[6..].as_chunks().0;
        let Some(components) = components.get(..usize::from(count)) else { return Err(cut) };
        let component = |&[id, sampling, table]: &[u8; 3]| Component {
            id,
            h: usize::from(sampling >> 4),
            v: usize::from(sampling & 15),
            table: usize::from(table & 3),
        };
        let components: Vec<_> = components.iter().map(component).collect();
        if components.iter().any(|c| !(1..=4).contains(&c.h) || !(1..=4).contains(&c.v)) {
            return Err(Trouble::Damaged("components sampled less than once or more than four times"));
        }
        let frame = Self { coding, width, height, components };
        let [h, v] = frame.finest();
        if frame.components.iter().any(|c| h % c.h != 0 || v % c.v != 0) {
            return unsupported("components of which one is sampled no whole number of times as finely as another");
        }
        Ok(frame)
    }

    /// The largest sampling factors across and down.
    fn finest(&self) -> [usize; 2] {
        let finest = |of: fn(&Component) -> usize| self.components.iter().map(of).max().unwrap_or(1);
        [finest(|c| c.h), finest(|c| c.v)]
    }

    fn coefficients(&self, component: &Component) -> Coefficients {
        let [h, v] = self.finest();
        let [across, down] = [(self.width * component.h).div_ceil(8 * h), (self.height * component.v).div_ceil(8 * v)];
        let stride = across.next_multiple_of(component.h);
        let blocks = vec![[0_i16; 64]; stride * down.next_multiple_of(component.v)];
        Coefficients { across, down, stride, blocks }
    }

    /// The colour space, by libjpeg's rules.
    pub fn colours(&self, tables: &Tables) -> Colours {
        match (self.components.as_slice(), tables.adobe) {
            ([_], _) => Colours::Grey,
            ([_, _, _], _) if tables.jfif => Colours::Ycc,
            ([_, _, _], Some(0)) => Colours::Rgb,
            ([_, _, _], Some(_)) => Colours::Ycc,
            ([a, b, c], None) if [a.id, b.id, c.id] == *b"RGB" => Colours::Rgb,
            ([_, _, _], None) => Colours::Ycc,
            (_, None | Some(0)) => Colours::Cmyk,
            _ => Colours::Ycck,
        }
    }
}

impl Tables {
    /// The tables of a stream without a picture.
    pub fn of(bytes: &[u8]) -> Result<Self, Trouble> {
        let (mut tables, mut at) = (Self::default(), 2);
        while let Some(Marker { code, end, .. }) = next_marker(bytes, at).filter(|marker| marker.code != END) {
            let body = segment(bytes, end, code)?;
            at = end + 2 + body.len();
            tables.read(code, body)?;
        }
        Ok(tables)
    }

    /// Reads a segment if it is needed.
    pub fn read(&mut self, code: u8, body: &[u8]) -> Result<(), Trouble> {
        match code {
            0xC4 => self.read_huffman(body).ok_or(Trouble::Damaged("a Huffman table that is none")),
            0xCC => self.read_conditioning(body).ok_or(Trouble::Damaged("arithmetic conditioning that is none")),
            0xDB => self.read_quantisation(body).ok_or(Trouble::Damaged("a quantisation table that is none")),
            0xDD => {
                self.restart_interval = number(body, 0).ok_or(Trouble::Damaged("a restart interval that is none"))?;
                Ok(())
            }
            0xE0 => {
                self.jfif |= body.starts_with(b"JFIF\0") && body.len() >= 14;
                Ok(())
            }
            0xE1 => {
                if let Some(exif) = body.strip_prefix(b"Exif\0") {
                    // Data too long for one segment continues in the next.
                    self.exif.extend_from_slice(exif.get(1..).unwrap_or_default());
                } else if let Some(xmp) = body.strip_prefix(b"http://ns.adobe.com/xap/1.0/\0") {
                    self.xmp = xmp.to_vec();
                }
                Ok(())
            }
            0xEE => {
                if let Some(transform) = body.strip_prefix(b"Adobe").and_then(|body| body.get(6)) {
                    self.adobe = Some(*transform);
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Adds the usual Huffman tables where the file has none, as libjpeg does.
    fn complete(&mut self) {
        for (kind, tables) in [(Kind::Dc, &mut self.dc), (Kind::Ac, &mut self.ac)] {
            for (table, chroma) in tables.iter_mut().zip([false, true]) {
                table.get_or_insert_with(|| Huffman::usual(kind, chroma));
            }
        }
    }

    fn read_huffman(&mut self, mut body: &[u8]) -> Option<()> {
        while let Some((&place, rest)) = body.split_first() {
            let (counts, rest) = rest.split_first_chunk::<16>()?;
            let count = counts.iter().map(|&count| usize::from(count)).sum();
            let (symbols, rest) = rest.split_at_checked(count)?;
            let tables = if place & 0x10 == 0 { &mut self.dc } else { &mut self.ac };
            *tables.get_mut(usize::from(place & 15))? = Some(Huffman::new(counts, symbols));
            body = rest;
        }
        Some(())
    }

    fn read_conditioning(&mut self, body: &[u8]) -> Option<()> {
        for &[place, value] in body.as_chunks().0 {
            let conditioning = self.conditioning.get_mut(usize::from(place >> 4))?.get_mut(usize::from(place & 15))?;
            if place >> 4 == 0 {
                (conditioning.low, conditioning.high) = (value & 15, value >> 4);
            } else {
                conditioning.place = value;
            }
        }
        Some(())
    }

    fn read_quantisation(&mut self, mut body: &[u8]) -> Option<()> {
        while let Some((&place, rest)) = body.split_first() {
            let size = if place >> 4 == 0 { 1 } else { 2 };
            let (numbers, rest) = rest.split_at_checked(64 * size)?;
            let table = self.quantisation.get_mut(usize::from(place & 15))?.insert([0; 64]);
            for (at, number) in numbers.chunks_exact(size).enumerate() {
                table[natural(at)] = number.iter().fold(0, |number, &byte| number << 8 | u16::from(byte));
            }
            body = rest;
        }
        Some(())
    }
}

/// The state of a component while scans are read.
struct Channel {
    component: Component,
    coefficients: Coefficients,
    /// The table in force at the start of its first scan.
    quantisation: Option<[u16; 64]>,
    /// The bit down to which each coefficient has been read, or −1.
    precision: [i8; 64],
}

/// The components' samples.
pub(in crate::picture) struct Decoded {
    planes: Vec<Plane>,
    width: usize,
    height: usize,
    pub count: Count,
}

/// The most scans that are read, more than any encoder writes. Each scan of a malicious picture costs the time of a whole
/// one.
const MOST_SCANS: usize = 100;

/// Decodes the scans of a file.
pub(in crate::picture) fn decode(bytes: &[u8], header: Header) -> Result<Decoded, Trouble> {
    let Header { frame, mut tables, mut at, mut stray } = header;
    if !frame.coding.progressive && !frame.coding.arithmetic {
        tables.complete();
    }
    let channel = |&component: &Component| Channel {
        component,
        coefficients: frame.coefficients(&component),
        quantisation: None,
        precision: [-1; 64],
    };
    let mut channels: Vec<_> = frame.components.iter().map(channel).collect();
    let mut count = Count::default();
    let mut scans = 0;
    let mut cut = false;
    loop {
        let body = segment(bytes, at, 0xDA)?;
        scans += 1;
        if scans > MOST_SCANS {
            return Err(Trouble::Unsupported(format!("more than {MOST_SCANS} scans")));
        }
        let mut bits = Bits::new(bytes, at + 2 + body.len());
        let read = read_scan(&mut bits, body, frame.coding, &mut channels, &tables)?;
        count.blocks += read.blocks;
        count.lost += read.lost;
        at = bits.at;
        // All in one scan: anything after it is not part of the picture.
        let whole = !frame.coding.progressive && usize::from(body[0]) == channels.len();
        if bits.cut {
            // Arithmetic coding does not mark the end of its data, and omits zeros there.
            let short = if frame.coding.arithmetic { bits.starved } else { bits.exhausted };
            cut = short || (!whole && !complete(&channels));
            break;
        }
        let mut marker = bits.marker;
        // Unless intervals are left over.
        if whole && !matches!(marker, Some(0xD0..=0xD7)) {
            break;
        }
        loop {
            match marker {
                Some(END | 0xDA) => break,
                None | Some(0x01 | 0xD0..=0xD8) => {}
                _ if whole => break,
                Some(0xC0..=0xC3 | 0xC5..=0xC7 | 0xC9..=0xCB | 0xCD..=0xCF) => {
                    return Err(Trouble::Damaged("two frames"));
                }
                Some(code) => {
                    let body = segment(bytes, at, code)?;
                    at += 2 + body.len();
                    tables.read(code, body)?;
                }
            }
            let Some(next) = next_marker(bytes, at) else {
                cut = !whole && !complete(&channels);
                marker = None;
                break;
            };
            stray += next.stray;
            (marker, at) = (Some(next.code), next.end);
        }
        if whole || marker != Some(0xDA) {
            break;
        }
    }
    if cut {
        return Err(Trouble::Cut);
    }
    if stray > 0 {
        // At least a segment, perhaps a scan.
        count.lost += 1;
    }
    let [h, v] = frame.finest();
    let planes = channels.into_iter().map(|channel| {
        if channel.quantisation.is_none() || stray > 0 && !channel.is_complete() {
            // A missing scan.
            let blocks = (channel.coefficients.across * channel.coefficients.down) as u64;
            count.blocks += blocks;
            count.lost += blocks;
        }
        channel.plane(&frame, [h, v])
    });
    let planes = planes.collect();
    Ok(Decoded { planes, width: frame.width, height: frame.height, count })
}

/// Whether all bits of all coefficients have been read.
fn complete(channels: &[Channel]) -> bool {
    channels.iter().all(Channel::is_complete)
}

fn read_scan(
    bits: &mut Bits,
    body: &[u8],
    coding: Coding,
    channels: &mut [Channel],
    tables: &Tables,
) -> Result<Count, Trouble> {
    let damaged = Trouble::Damaged("a scan's header that is none");
    let progressive = coding.progressive;
    let Some((&count, rest)) = body.split_first() else { return Err(damaged) };
    let Some((chosen, &[start, end, bit, ..])) = rest.split_at_checked(2 * usize::from(count)) else {
        return Err(damaged);
    };
    let (start, end, high, low) = if progressive { (start, end, bit >> 4, bit & 15) } else { (0, 63, 0, 0) };
    let fits = match (start, end) {
        (0, 0) => true,
        (0, _) => !progressive,
        _ => start <= end && end < 64 && count == 1,
    };
    if !fits || low > 13 || (high > 0 && high != low + 1) {
        return Err(damaged);
    }
    let band = Band { progressive, start: usize::from(start), end: usize::from(end), high, low };

    // In the order of the scan, with the indices of its tables.
    let chosen = chosen.as_chunks::<2>().0;
    let mut parts: Vec<(usize, Part)> = Vec::new();
    for channel in channels {
        let Some(order) = chosen.iter().position(|[id, _]| *id == channel.component.id) else { continue };
        let places = [chosen[order][1] >> 4, chosen[order][1] & 15].map(usize::from);
        let codes = if coding.arithmetic {
            let conditioning = std::array::from_fn(|kind| tables.conditioning[kind][places[kind]]);
            Codes::Arithmetic(Places { dc: places[0], ac: places[1], conditioning })
        } else {
            let dc = tables.dc.get(places[0]).and_then(|table| table.as_ref()?.as_ref()).filter(|table| table.is_dc());
            let ac = tables.ac.get(places[1]).and_then(|table| table.as_ref()?.as_ref());
            let needs_dc = start == 0 && high == 0;
            if (needs_dc && dc.is_none()) || (end > 0 && ac.is_none()) {
                return Err(Trouble::Damaged("a scan without its Huffman table"));
            }
            Codes::Huffman { dc, ac }
        };
        if channel.quantisation.is_none() {
            channel.quantisation = tables.quantisation[channel.component.table];
            if channel.quantisation.is_none() {
                return Err(Trouble::Damaged("a scan without its quantisation table"));
            }
        }
        channel.precision[band.start..=band.end].fill(low as i8);
        let Component { h, v, .. } = channel.component;
        parts.push((order, Part { coefficients: &mut channel.coefficients, h, v, codes }));
    }
    if parts.is_empty() || parts.len() != chosen.len() {
        return Err(Trouble::Damaged("a scan of components that the frame lacks"));
    }
    parts.sort_by_key(|(order, _)| *order);
    let mut parts: Vec<Part> = parts.into_iter().map(|(_, part)| part).collect();
    Ok(scan::read(bits, &mut parts, band, tables.restart_interval))
}

impl Channel {
    /// Whether all bits of all its coefficients have been read.
    fn is_complete(&self) -> bool {
        self.precision.iter().all(|&bit| bit == 0)
    }

    fn plane(self, frame: &Frame, [h, v]: [usize; 2]) -> Plane {
        let Coefficients { across, down, stride, blocks } = self.coefficients;
        let line = 8 * across;
        let mut samples = vec![0; line * 8 * down];
        let quantisation = self.quantisation.unwrap_or([0; 64]);
        for (blocks, rows) in blocks.chunks_exact(stride).zip(samples.chunks_exact_mut(8 * line)) {
            for (x, block) in blocks[..across].iter().enumerate() {
                idct(block, &quantisation, &mut rows[8 * x..], line);
            }
        }
        Plane {
            width: (frame.width * self.component.h).div_ceil(h),
            height: (frame.height * self.component.v).div_ceil(v),
            stride: line,
            samples,
            across: h / self.component.h,
            down: v / self.component.v,
        }
    }
}

impl Decoded {
    /// The samples as stored, pixel by pixel, or with luma and chroma converted to red, green and blue.
    pub fn interleaved(&self, ycc_to_rgb: bool) -> Vec<u8> {
        if ycc_to_rgb && self.planes.len() == 3 {
            return self.rgb(Colours::Ycc);
        }
        let count = self.planes.len();
        let mut samples = vec![0; count * self.width * self.height];
        let mut row = vec![0; self.width];
        for (y, out) in samples.chunks_exact_mut(count * self.width).enumerate() {
            for (index, plane) in self.planes.iter().enumerate() {
                plane.upsample(y, &mut row);
                for (out, &sample) in out[index..].iter_mut().step_by(count).zip(&row) {
                    *out = sample;
                }
            }
        }
        samples
    }

    /// The pixels as red, green and blue.
    pub fn rgb(&self, colours: Colours) -> Vec<u8> {
        let mut rgb = vec![0; 3 * self.width * self.height];
        let mut rows = vec![vec![0; self.width]; self.planes.len()];
        for (y, out) in rgb.chunks_exact_mut(3 * self.width).enumerate() {
            for (plane, row) in self.planes.iter().zip(&mut rows) {
                plane.upsample(y, row);
            }
            let out = out.as_chunks_mut().0;
            match (colours, rows.as_slice()) {
                (Colours::Rgb, [r, g, b]) => {
                    out.iter_mut().zip(r).zip(g).zip(b).for_each(|(((out, &r), &g), &b)| *out = [r, g, b]);
                }
                (Colours::Ycc, [y, cb, cr]) => {
                    out.iter_mut().zip(y).zip(cb).zip(cr).for_each(|(((out, &y), &cb), &cr)| *out = ycc(y, cb, cr));
                }
                (Colours::Cmyk | Colours::Ycck, [c, m, y, k]) => {
                    for ((((out, &c), &m), &y), &k) in out.iter_mut().zip(c).zip(m).zip(y).zip(k) {
                        // The colours of YCCK are those of the ink.
                        let paper =
                            if colours == Colours::Ycck { ycc(c, m, y).map(|ink| 255 - ink) } else { [c, m, y] };
                        *out = paper.map(|value| ((u16::from(value) * u16::from(k) + 127) / 255) as u8);
                    }
                }
                (_, rows) => {
                    out.iter_mut().zip(rows.iter().flatten()).for_each(|(out, &grey)| *out = [grey; 3]);
                }
            }
        }
        rgb
    }
}
