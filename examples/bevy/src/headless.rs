//! Bevy without a window.

use alexnet_wgpu::{Picture, PictureError, PipelineError};
use bevy::{
    app::PluginGroupBuilder,
    asset::RenderAssetUsages,
    prelude::*,
    render::{
        RenderPlugin,
        render_resource::{Extent3d, TextureDimension, TextureFormat},
        settings::WgpuSettings,
    },
    window::ExitCondition,
};

use crate::AlexNetPlugin;

/// Bevy's plugins without a window, with a device that does for `plugin`, and with it.
///
/// # Errors
///
/// As [`AlexNetPlugin::wgpu_settings`].
pub fn headless(plugin: AlexNetPlugin, settings: WgpuSettings) -> Result<PluginGroupBuilder, PipelineError> {
    let render_creation = plugin.wgpu_settings(settings)?.into();
    let no_window = WindowPlugin { primary_window: None, exit_condition: ExitCondition::DontExit, ..default() };
    // Frames are whole from the first on, without shapes whose shader is not compiled yet.
    let render = RenderPlugin { render_creation, synchronous_pipeline_compilation: true, ..default() };
    Ok(DefaultPlugins.set(ImagePlugin::default_nearest()).set(no_window).set(render).add(plugin))
}

/// A picture as an image that sprites show.
pub fn image_of(picture: &Picture) -> Image {
    let size = Extent3d { width: picture.width(), height: picture.height(), depth_or_array_layers: 1 };
    let rgba = picture.rgb().chunks_exact(3).flat_map(|rgb| [rgb[0], rgb[1], rgb[2], 255]).collect();
    Image::new(size, TextureDimension::D2, rgba, TextureFormat::Rgba8UnormSrgb, RenderAssetUsages::default())
}

/// The picture with every sample one level brighter or darker, by turns that follow no pattern.
///
/// # Errors
///
/// None for a picture that exists.
pub fn with_noise(picture: &Picture) -> Result<Picture, PictureError> {
    // A multiplicative hash; its upper bits are even.
    let up = |i: usize| (i as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40 & 1 == 1;
    let noisy = |(i, &level): (usize, &u8)| match (level, up(i)) {
        (0, _) => 1,
        (u8::MAX, _) => u8::MAX - 1,
        (level, true) => level + 1,
        (level, false) => level - 1,
    };
    Picture::from_rgb8(picture.width(), picture.height(), picture.rgb().iter().enumerate().map(noisy).collect())
}
