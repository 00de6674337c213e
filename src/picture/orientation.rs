//! A picture's orientation, from its metadata.

use std::io::Read;

use flate2::read::ZlibDecoder;
use image::metadata::Orientation;

use super::tiff::directory::{Directory, tag};

/// The orientation from EXIF data or, without one there, from an XMP packet; by default, as stored.
///
/// Damaged metadata counts as absent: it is no reason to refuse the pixels.
pub(super) fn of(exif: &[u8], xmp: &[u8]) -> Orientation {
    of_number(from_exif(exif), xmp)
}

/// The orientation from an EXIF number or, without one, from an XMP packet.
pub(super) fn of_number(number: Option<u8>, xmp: &[u8]) -> Orientation {
    number.or_else(|| from_xmp(xmp)).and_then(Orientation::from_exif).unwrap_or(Orientation::NoTransforms)
}

/// The number in EXIF data, which is a TIFF without pixels; some programs write the prefix of JPEG's segment before it.
fn from_exif(exif: &[u8]) -> Option<u8> {
    let exif = exif.strip_prefix(b"Exif\0\0").unwrap_or(exif);
    Directory::first(exif)?.number(tag::ORIENTATION)?.try_into().ok()
}

/// The number of `tiff:Orientation`, as an attribute or an element.
fn from_xmp(xmp: &[u8]) -> Option<u8> {
    const NAME: &[u8] = b"tiff:Orientation";
    let at = xmp.windows(NAME.len()).position(|window| window == NAME)?;
    let rest = &xmp[at + NAME.len()..];
    let rest = rest.strip_prefix(b"=\"").or_else(|| rest.strip_prefix(b">"))?;
    rest.first().filter(|digit| digit.is_ascii_digit()).map(|digit| digit - b'0')
}

/// A PNG's orientation: from `eXIf`, from the profile that ImageMagick writes as text, or from XMP.
pub(super) fn of_png(png: &[u8]) -> Orientation {
    let (mut exif, mut profile, mut xmp) = (Vec::new(), Vec::new(), Vec::new());
    let mut rest = png.get(8..).unwrap_or_default();
    while let Some((length, after)) = rest.split_first_chunk() {
        let length = u32::from_be_bytes(*length) as usize;
        let Some((kind, after)) = after.split_first_chunk::<4>() else { break };
        let Some((body, after)) = after.split_at_checked(length) else { break };
        match kind {
            b"eXIf" => exif = body.to_vec(),
            b"tEXt" | b"zTXt" => {
                if let Some(text) = ["exif", "APP1"].iter().find_map(|name| profile_text(body, kind == b"zTXt", name)) {
                    profile = text;
                }
            }
            b"iTXt" => {
                if let Some(text) = xmp_text(body) {
                    xmp = text;
                }
            }
            _ => {}
        }
        // The decoder checks the checksum.
        rest = after.get(4..).unwrap_or_default();
    }
    of(if exif.is_empty() { &profile } else { &exif }, &xmp)
}

/// A limit above the size of any orientation data, and small enough to inflate in vain.
const MOST: u64 = 1 << 20;

fn inflate(bytes: &[u8]) -> Vec<u8> {
    let mut inflated = Vec::new();
    // The data before any damage is enough.
    let _ = ZlibDecoder::new(bytes).take(MOST).read_to_end(&mut inflated);
    inflated
}

/// The bytes of a text named `Raw profile type …`: a name, their number, and their hexadecimal digits, in lines.
fn profile_text(body: &[u8], compressed: bool, name: &str) -> Option<Vec<u8>> {
    let rest = body.strip_prefix(b"Raw profile type ")?.strip_prefix(name.as_bytes())?.strip_prefix(b"\0")?;
    let text = if compressed { inflate(rest.get(1..)?) } else { rest.to_vec() };
    let mut lines = text.split(|&byte| byte == b'\n').skip_while(|line| line.is_empty());
    let digits: Vec<u8> =
        lines.by_ref().skip(2).flatten().filter_map(|&digit| (digit as char).to_digit(16)).map(|d| d as u8).collect();
    Some(digits.as_chunks().0.iter().map(|[high, low]| high << 4 | low).collect())
}

/// The text under XMP's keyword, after a compression flag, its method, a language and a translated keyword.
fn xmp_text(body: &[u8]) -> Option<Vec<u8>> {
    let (&[compressed, _], rest) = body.strip_prefix(b"XML:com.adobe.xmp\0")?.split_first_chunk()?;
    let text = rest.splitn(3, |&byte| byte == 0).nth(2)?;
    Some(if compressed == 0 { text.to_vec() } else { inflate(text) })
}

/// A WebP's orientation, from its chunks `EXIF` and `XMP `.
pub(super) fn of_webp(webp: &[u8]) -> Orientation {
    let (mut exif, mut xmp) = (&[][..], &[][..]);
    let mut rest = webp.get(12..).unwrap_or_default();
    while let Some((&[a, b, c, d, sizes @ ..], after)) = rest.split_first_chunk::<8>() {
        let length = u32::from_le_bytes(sizes) as usize;
        let body = &after[..length.min(after.len())];
        match &[a, b, c, d] {
            b"EXIF" => exif = body,
            b"XMP " => xmp = body,
            _ => {}
        }
        // Chunks begin at even offsets.
        rest = after.get(length.saturating_add(length % 2)..).unwrap_or_default();
    }
    of(exif, xmp)
}
