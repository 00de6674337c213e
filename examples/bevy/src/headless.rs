//! Bevy without a window.

use alexnet_wgpu::{Picture, PipelineError};
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
    let render = RenderPlugin { render_creation, ..default() };
    Ok(DefaultPlugins.set(ImagePlugin::default_nearest()).set(no_window).set(render).add(plugin))
}

/// A picture as an image that sprites show.
pub fn image_of(picture: &Picture) -> Image {
    let size = Extent3d { width: picture.width(), height: picture.height(), depth_or_array_layers: 1 };
    let rgba = picture.rgb().chunks_exact(3).flat_map(|rgb| [rgb[0], rgb[1], rgb[2], 255]).collect();
    Image::new(size, TextureDimension::D2, rgba, TextureFormat::Rgba8UnormSrgb, RenderAssetUsages::default())
}
