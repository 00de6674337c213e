//! Decodes pictures, for `tests/preprocessing/fuzz.py` to compare with Pillow's.
//!
//! Beside each file it writes FILE.rgb: columns and rows in four bytes each, the lowest first, then the pixels. What could not
//! be read, and what of it is damaged, is a line on standard output.

use std::{env, fs};

use alexnet_wgpu::Picture;

fn main() -> std::io::Result<()> {
    for path in env::args().skip(1) {
        match Picture::open(&path) {
            Ok(picture) => {
                let damage = picture.damage().map(|damage| damage.to_string()).unwrap_or_default();
                let [width, height] = [picture.width(), picture.height()].map(u32::to_le_bytes);
                fs::write(format!("{path}.rgb"), [&width[..], &height[..], picture.rgb()].concat())?;
                println!("{path}\tread\t{damage}");
            }
            Err(e) => println!("{path}\trefused\t{e}"),
        }
    }
    Ok(())
}
