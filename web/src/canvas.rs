//! Canvases of the browser, copied to textures without leaving the device.

use alexnet_wgpu::{
    Gpu, Picture,
    wgpu::{
        CopyExternalImageDestInfo, CopyExternalImageSourceInfo, Extent3d, ExternalImageSource, Origin2d, Origin3d,
        PredefinedColorSpace, TexelCopyBufferLayout, Texture, TextureAspect, TextureDescriptor, TextureDimension,
        TextureFormat, TextureUsages,
    },
};
use wasm_bindgen::prelude::*;
use web_sys::OffscreenCanvas;

use crate::error;

/// Makes a texture that canvases and pictures of this size are copied to.
///
/// # Errors
///
/// The size is more than the device has.
pub fn texture(gpu: &Gpu, width: u32, height: u32) -> Result<Texture, JsError> {
    let most = gpu.device().limits().max_texture_dimension_2d;
    if width.max(height) > most || width.min(height) == 0 {
        return Err(error(format!("expected a picture of 1 to {most} pixels a side, found {width}×{height}")));
    }
    Ok(gpu.device().create_texture(&TextureDescriptor {
        label: Some("picture"),
        size: Extent3d { width, height, depth_or_array_layers: 1 },
        mip_level_count: 1,
        sample_count: 1,
        dimension: TextureDimension::D2,
        format: TextureFormat::Rgba8Unorm,
        // Browsers draw a canvas into it.
        usage: TextureUsages::TEXTURE_BINDING | TextureUsages::COPY_DST | TextureUsages::RENDER_ATTACHMENT,
        view_formats: &[],
    }))
}

/// Copies what a canvas shows now. The browser must allow it, which index.js sees to: where it throws, wgpu panics.
///
/// # Errors
///
/// The canvas has another size.
pub fn copy_canvas(gpu: &Gpu, canvas: OffscreenCanvas, texture: &Texture) -> Result<(), JsError> {
    same_size([canvas.width(), canvas.height()], texture)?;
    let source = CopyExternalImageSourceInfo {
        source: ExternalImageSource::OffscreenCanvas(canvas),
        origin: Origin2d::ZERO,
        flip_y: false,
    };
    let target = CopyExternalImageDestInfo {
        texture,
        mip_level: 0,
        origin: Origin3d::ZERO,
        aspect: TextureAspect::All,
        color_space: PredefinedColorSpace::Srgb,
        premultiplied_alpha: false,
    };
    gpu.queue().copy_external_image_to_texture(&source, target, texture.size());
    Ok(())
}

/// Copies a picture.
///
/// # Errors
///
/// The picture has another size.
pub fn copy_picture(gpu: &Gpu, picture: &Picture, texture: &Texture) -> Result<(), JsError> {
    same_size([picture.width(), picture.height()], texture)?;
    let rgba: Vec<u8> = picture.rgb().as_chunks::<3>().0.iter().flat_map(|&[r, g, b]| [r, g, b, 255]).collect();
    let layout = TexelCopyBufferLayout { offset: 0, bytes_per_row: Some(4 * texture.width()), rows_per_image: None };
    gpu.queue().write_texture(texture.as_image_copy(), &rgba, layout, texture.size());
    Ok(())
}

fn same_size(found: [u32; 2], texture: &Texture) -> Result<(), JsError> {
    let expected = [texture.width(), texture.height()];
    if found == expected {
        return Ok(());
    }
    let [[width, height], [columns, rows]] = [expected, found];
    Err(error(format!("expected a picture of {width}×{height} pixels, found {columns}×{rows}")))
}
