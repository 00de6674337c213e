//! A camera that looks at one picture after the other, without a window, and says what it sees.
//!
//! ```text
//! cargo run [FRAMES]
//! ```

use std::{env, error::Error, time::Duration};

use alexnet_bevy::{AlexNetPlugin, Classify, Labels, headless, image_of};
use alexnet_wgpu::Picture;
use bevy::{
    app::ScheduleRunnerPlugin, camera::RenderTarget, diagnostic::FrameCount, image::ImageSampler, prelude::*,
    render::render_resource::TextureFormat,
};

const PICTURES: [&[u8]; 4] = [
    include_bytes!("../../pictures/ankle-boot.png"),
    include_bytes!("../../pictures/trouser.png"),
    include_bytes!("../../pictures/bag.png"),
    include_bytes!("../../pictures/sneaker.png"),
];
/// What the camera sees is this wide and high.
const SIDE: u32 = 256;

#[derive(Resource)]
struct Frames(u32);

fn main() -> Result<AppExit, Box<dyn Error>> {
    let frames = env::args().nth(1).map_or(Ok(240), |n| n.parse())?;
    let pictures = PICTURES.iter().map(|bytes| Picture::decode(bytes)).collect::<Result<Vec<_>, _>>()?;
    // An inference is spread over the frames that it takes at 4 ms each.
    let plugin = AlexNetPlugin { budget: Some(Duration::from_millis(4)), ..AlexNetPlugin::embedded()? };
    let plugins = headless(plugin, default())?;
    let mut app = App::new();
    app.add_plugins((plugins, ScheduleRunnerPlugin::run_loop(Duration::from_secs(1) / 60)))
        .insert_resource(Frames(frames))
        .add_systems(Startup, move |commands: Commands, images: ResMut<Assets<Image>>| {
            set_up(commands, images, &pictures);
        })
        .add_systems(Update, (look, say, end));
    Ok(app.run())
}

/// The pictures in a row, and a camera above it that draws into an image.
fn set_up(mut commands: Commands, mut images: ResMut<Assets<Image>>, pictures: &[Picture]) {
    for (i, picture) in pictures.iter().enumerate() {
        // Linear filtering: enlarged by nearest neighbour, the model takes the sneaker for a sandal.
        let image = Image { sampler: ImageSampler::linear(), ..image_of(picture) };
        let sprite = Sprite { image: images.add(image), custom_size: Some(Vec2::splat(SIDE as f32)), ..default() };
        commands.spawn((sprite, Transform::from_xyz((i * SIDE as usize) as f32, 0.0, 0.0)));
    }
    let image = images.add(Image::new_target_texture(SIDE, SIDE, TextureFormat::Rgba8UnormSrgb, None));
    commands.spawn((Camera2d, RenderTarget::Image(image.into()), Classify));
}

/// Goes from picture to picture.
fn look(frame: Res<FrameCount>, frames: Res<Frames>, mut camera: Single<&mut Transform, With<Camera2d>>) {
    let picture = frame.0 * PICTURES.len() as u32 / frames.0.max(1);
    camera.translation.x = (picture * SIDE) as f32;
}

fn say(frame: Res<FrameCount>, seen: Query<&Labels, Changed<Labels>>, mut said: Local<String>) {
    for labels in &seen {
        if let Some(first) = labels.first().filter(|first| first.label != *said) {
            println!("frame {}: {} ({:.0} %)", frame.0, first.label, 100.0 * first.probability);
            said.clone_from(&first.label);
        }
    }
}

fn end(frame: Res<FrameCount>, frames: Res<Frames>, mut exit: MessageWriter<AppExit>) {
    if frame.0 >= frames.0 {
        exit.write(AppExit::Success);
    }
}
