//! Conversion of coefficients to pixels, bit-exact with libjpeg-turbo: its "islow" inverse DCT, its "fancy" upsampling.

/// The samples of one component.
pub(super) struct Plane {
    /// The columns and rows inside the picture.
    pub width: usize,
    pub height: usize,
    /// The distance between rows, in samples.
    pub stride: usize,
    pub samples: Vec<u8>,
    /// The width and height of a sample in pixels of the picture.
    pub across: usize,
    pub down: usize,
}

impl Plane {
    fn line(&self, row: usize) -> &[u8] {
        &self.samples[row.min(self.height - 1) * self.stride..][..self.width]
    }

    /// Row `y` of the picture, as many samples as fit in `out`.
    pub fn upsample(&self, y: usize, out: &mut [u8]) {
        let row = y / self.down;
        let near = self.line(row);
        // The other adjacent row of a pixel; the picture's first and last row are their own neighbours.
        let far = || self.line(if y.is_multiple_of(2) { row.saturating_sub(1) } else { row + 1 });
        match (self.across, self.down) {
            (1, 1) => out.copy_from_slice(near),
            (1, 2) => {
                let bias = if y.is_multiple_of(2) { 1 } else { 2 };
                for ((out, &near), &far) in out.iter_mut().zip(near).zip(far()) {
                    *out = ((u16::from(near) * 3 + u16::from(far) + bias) >> 2) as u8;
                }
            }
            (2, 1) if self.width > 2 => {
                between(near.iter().map(|&near| u16::from(near)), [1, 2], 2, out);
            }
            (2, 2) if self.width > 2 => {
                let sum = |(&near, &far)| u16::from(near) * 3 + u16::from(far);
                between(near.iter().zip(far()).map(sum), [8, 7], 4, out);
            }
            (across, _) => {
                for (out, &sample) in out.chunks_mut(across).zip(near) {
                    out.fill(sample);
                }
            }
        }
    }
}

/// Two pixels per number of a line: three quarters of the number and a quarter of the nearer neighbour.
fn between(line: impl Iterator<Item = u16>, [left, right]: [u16; 2], shift: u32, out: &mut [u8]) {
    let mut line = line.peekable();
    let mut before = line.peek().copied().unwrap_or(0);
    for pair in out.chunks_mut(2) {
        let own = line.next().unwrap_or(before);
        let after = line.peek().copied().unwrap_or(own);
        pair[0] = ((own * 3 + before + left) >> shift) as u8;
        if let Some(second) = pair.get_mut(1) {
            *second = ((own * 3 + after + right) >> shift) as u8;
        }
        before = own;
    }
}

/// Red, green and blue from luma and two chroma samples (JFIF).
pub(super) fn ycc(y: u8, cb: u8, cr: u8) -> [u8; 3] {
    const HALF: i32 = 1 << 15;
    let [y, cb, cr] = [i32::from(y), i32::from(cb) - 128, i32::from(cr) - 128];
    // 1.402, 0.71414, 0.34414 and 1.772 in 16 bits.
    let red = y + ((91_881 * cr + HALF) >> 16);
    let green = y + ((-22_554 * cb - 46_802 * cr + HALF) >> 16);
    let blue = y + ((116_130 * cb + HALF) >> 16);
    [red, green, blue].map(|value| value.clamp(0, 255) as u8)
}

/// The inverse DCT of a block in natural order into eight rows of eight samples.
///
/// After C. Loeffler, A. Ligtenberg and G. Moschytz (1989), with 13 bits of the constants and two more between the passes.
/// Numbers that occur only in damaged data wrap and saturate at 16 bits, as in libjpeg-turbo's vector code.
pub(super) fn idct(block: &[i16; 64], quantisation: &[u16; 64], out: &mut [u8], stride: usize) {
    let mut middle = [[0_i16; 8]; 8];
    let (rows, _) = block.as_chunks::<8>();
    let (steps, _) = quantisation.as_chunks::<8>();
    let first: [i16; 8] = std::array::from_fn(|x| rows[0][x].wrapping_mul(steps[0][x] as i16));
    if rows[1..].iter().all(|row| *row == [0; 8]) {
        middle = [first.map(|value| value << 2); 8];
    } else {
        for x in 0..8 {
            let column = std::array::from_fn(|y| rows[y][x].wrapping_mul(steps[y][x] as i16));
            for (row, value) in middle.iter_mut().zip(transform::<11>(column)) {
                row[x] = value;
            }
        }
    }
    for (row, out) in middle.into_iter().zip(out.chunks_mut(stride)) {
        for (out, value) in out.iter_mut().zip(transform::<18>(row)) {
            *out = (value.clamp(-128, 127) + 128) as u8;
        }
    }
}

/// One-dimensional transform of eight numbers, divided by 2 to the `SHIFT` and rounded.
fn transform<const SHIFT: u32>(input: [i16; 8]) -> [i16; 8] {
    let [i0, i1, i2, i3, i4, i5, i6, i7] = input.map(i32::from);
    let short = |sum: i32| i32::from(sum as i16);

    let z1 = (i2 + i6) * 4433;
    let t2 = z1 - i6 * 15_137;
    let t3 = z1 + i2 * 6270;
    let t0 = short(i0 + i4) << 13;
    let t1 = short(i0 - i4) << 13;
    let even = [t0 + t3, t1 + t2, t1 - t2, t0 - t3];

    let [z3, z4] = [short(i7 + i3), short(i5 + i1)];
    let z5 = (z3 + z4) * 9633;
    let z1 = (i7 + i1) * -7373;
    let z2 = (i5 + i3) * -20_995;
    let z3 = z3 * -16_069 + z5;
    let z4 = z4 * -3196 + z5;
    let sum = |own: i32, [a, b]: [i32; 2]| own.wrapping_add(a).wrapping_add(b);
    let odd =
        [sum(i1 * 12_299, [z1, z4]), sum(i3 * 25_172, [z2, z3]), sum(i5 * 16_819, [z2, z4]), sum(i7 * 2446, [z1, z3])];

    std::array::from_fn(|i| {
        let sum = if i < 4 { even[i].wrapping_add(odd[i]) } else { even[7 - i].wrapping_sub(odd[7 - i]) };
        (sum.wrapping_add(1 << (SHIFT - 1)) >> SHIFT).clamp(-32_768, 32_767) as i16
    })
}
