//! A scene for comparisons.

use bevy::{
    camera::RenderTarget,
    core_pipeline::tonemapping::{DebandDither, Tonemapping},
    prelude::*,
    render::render_resource::TextureFormat,
};

/// Shapes under a light.
pub struct Shapes {
    /// The camera; it draws into an image.
    pub camera: Entity,
    /// What it draws into, RGBA in sRGB.
    pub image: Handle<Image>,
    /// The light, without which there is little to see.
    pub light: Entity,
}

impl Shapes {
    /// Adds the scene to a world with [`Camera3d`]'s plugins. The image is `side` texels wide and high.
    pub fn spawn(world: &mut World, side: u32) -> Self {
        let shapes = [
            (Mesh::from(Plane3d::new(Vec3::Y, Vec2::splat(6.0))), Color::srgb(0.75, 0.72, 0.65), Vec3::ZERO),
            (Cuboid::from_length(1.4).into(), Color::srgb(0.8, 0.25, 0.2), Vec3::new(-1.5, 0.7, 0.4)),
            (Sphere::new(0.9).into(), Color::srgb(0.2, 0.45, 0.85), Vec3::new(0.4, 0.9, -0.8)),
            (Torus::new(0.4, 0.9).into(), Color::srgb(0.3, 0.7, 0.3), Vec3::new(1.5, 0.25, 1.2)),
        ];
        for (mesh, color, at) in shapes {
            let mesh = world.resource_mut::<Assets<Mesh>>().add(mesh);
            let material = world.resource_mut::<Assets<StandardMaterial>>().add(color);
            world.spawn((Mesh3d(mesh), MeshMaterial3d(material), Transform::from_translation(at)));
        }
        let light = DirectionalLight { illuminance: 3000.0, ..default() };
        let light = world.spawn((light, Transform::from_xyz(-3.0, 5.0, 4.0).looking_at(Vec3::ZERO, Vec3::Y))).id();
        let image = Image::new_target_texture(side, side, TextureFormat::Rgba8UnormSrgb, None);
        let image = world.resource_mut::<Assets<Image>>().add(image);
        let view = Transform::from_xyz(0.3, 3.6, 6.6).looking_at(Vec3::new(0.0, 0.5, 0.0), Vec3::Y);
        let target = RenderTarget::Image(image.clone().into());
        // The default needs a table of Bevy's feature `tonemapping_luts`.
        let camera =
            world.spawn((Camera3d::default(), Tonemapping::AcesFitted, DebandDither::Disabled, target, view)).id();
        Self { camera, image, light }
    }
}
