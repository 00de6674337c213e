//! The cameras to look at, and what is said of them.

use std::sync::Arc;

use alexnet_wgpu::TextureSource;
use bevy::{
    asset::AssetId,
    camera::RenderTarget,
    ecs::entity::EntityHashMap,
    prelude::*,
    render::{Extract, MainWorld, render_asset::RenderAssets, render_resource::TextureView, texture::GpuImage},
};

use crate::{AlexNetError, components::Request};

/// The cameras with a request, by their entities of the main world.
#[derive(Resource)]
pub struct Cameras<R: Request> {
    pub watched: EntityHashMap<Watched<R>>,
    /// What is to be told.
    pub news: Vec<(Entity, News<R>)>,
}

/// An answer, or why there is none, or that neither holds any more.
type News<R> = Option<Result<<R as Request>::Answer, Arc<AlexNetError>>>;

pub struct Watched<R: Request> {
    pub request: R,
    /// The image that the camera draws into, or what else it has.
    target: Result<AssetId<Image>, &'static str>,
    viewport: Option<URect>,
    /// What `bound` was made of, or could not be.
    seen: Option<Result<Seen, &'static str>>,
    pub bound: Option<R::Bound>,
    /// The number of its last run.
    pub turn: u64,
}

/// What is looked at.
#[derive(Clone)]
pub struct Seen {
    view: TextureView,
    region: URect,
    /// The camera's own where no other is asked for.
    golden: TextureView,
}

impl Seen {
    /// The part of the camera's image.
    pub fn image(&self) -> TextureSource<'_> {
        let (start, size) = (self.region.min, self.region.size());
        // Whatever the format, Bevy writes linear light.
        TextureSource::new(&self.view).linear(true).region(start.x, start.y, size.x, size.y)
    }

    /// The golden image; whatever its format, Bevy's materials would take it for linear light too.
    pub fn golden(&self) -> TextureSource<'_> {
        TextureSource::new(&self.golden).linear(true)
    }

    /// Of the camera's image.
    pub fn texels(&self) -> u32 {
        let size = self.region.size();
        size.x.saturating_mul(size.y)
    }
}

/// Bevy makes another view when an image changes.
impl PartialEq for Seen {
    fn eq(&self, other: &Self) -> bool {
        let ids = |seen: &Self| [&seen.view, &seen.golden].map(TextureView::id);
        ids(self) == ids(other) && self.region == other.region
    }
}

impl<R: Request> Default for Cameras<R> {
    fn default() -> Self {
        Self { watched: default(), news: default() }
    }
}

impl<R: Request> Cameras<R> {
    /// Prepares what has changed: by `make`, once for each image. An image that is not on the device yet will be.
    pub fn bind(
        &mut self,
        images: &RenderAssets<GpuImage>,
        mut make: impl FnMut(&R, &Seen) -> Result<R::Bound, Arc<AlexNetError>>,
    ) {
        for (&entity, camera) in &mut self.watched {
            let Some(seen) = camera.look(images) else { continue };
            if camera.seen.as_ref() == Some(&seen) {
                continue;
            }
            let bound = match &seen {
                Ok(seen) => make(&camera.request, seen),
                &Err(found) => Err(Arc::new(AlexNetError::Target { found })),
            };
            camera.seen = Some(seen);
            camera.bound = bound.map_err(|error| self.news.push((entity, Some(Err(error))))).ok();
        }
    }

    /// The camera whose turn it is, of those for which `ready` holds.
    pub fn next(&mut self, ready: impl Fn(&R::Bound) -> bool) -> Option<(Entity, &mut Watched<R>)> {
        let ready = |camera: &Watched<R>| camera.bound.as_ref().is_some_and(&ready);
        let cameras = self.watched.iter_mut().filter(|(_, camera)| ready(camera));
        cameras.min_by_key(|(_, camera)| camera.turn).map(|(&entity, camera)| (entity, camera))
    }

    /// What is bound, by camera.
    pub fn bound(&mut self) -> impl Iterator<Item = (Entity, &mut R::Bound)> {
        self.watched.iter_mut().filter_map(|(&entity, camera)| Some((entity, camera.bound.as_mut()?)))
    }
}

impl<R: Request> Watched<R> {
    /// What there is to see; `None` before it is on the device.
    fn look(&self, images: &RenderAssets<GpuImage>) -> Option<Result<Seen, &'static str>> {
        let view = match self.target {
            Ok(image) => images.get(image)?.texture_view.clone(),
            Err(found) => return Some(Err(found)),
        };
        let golden = match self.request.golden() {
            Some(golden) => images.get(golden)?.texture_view.clone(),
            None => view.clone(),
        };
        let texture = view.texture();
        let whole = URect::new(0, 0, texture.width(), texture.height());
        Some(Ok(Seen { region: self.viewport.unwrap_or(whole), view, golden }))
    }

    /// Whether it waits for an image.
    pub fn is_unseen(&self) -> bool {
        self.seen.is_none()
    }
}

type Marked<'w, 's, R> = Query<'w, 's, (Entity, &'static R, Option<&'static Camera>, Option<&'static RenderTarget>)>;

/// Notes where the cameras of the main world draw to, and forgets those that are gone.
pub fn extract<R: Request>(mut cameras: ResMut<Cameras<R>>, marked: Extract<Marked<'_, '_, R>>) {
    let Cameras { watched, news } = &mut *cameras;
    let active = |camera: Option<&Camera>| camera.is_none_or(|camera| camera.is_active);
    watched.retain(|&entity, _| marked.get(entity).is_ok_and(|(_, _, camera, _)| active(camera)));
    for (entity, request, camera, target) in &marked {
        if !active(camera) {
            continue;
        }
        let target = match target.filter(|_| camera.is_some()) {
            Some(RenderTarget::Image(image)) => Ok(image.handle.id()),
            Some(RenderTarget::Window(_)) => Err("a camera for a window"),
            Some(RenderTarget::TextureView(_)) => Err("a camera for a texture view"),
            Some(RenderTarget::None { .. }) => Err("a camera that draws no colours"),
            None => Err("an entity without a camera"),
        };
        let viewport = camera.and_then(|camera| camera.viewport.as_ref()).map(|viewport| {
            let start = viewport.physical_position;
            URect::from_corners(start, start + viewport.physical_size)
        });
        let unseen = || Watched { request: request.clone(), target, viewport, seen: None, bound: None, turn: 0 };
        let known = watched.entry(entity).or_insert_with(unseen);
        known.target = target;
        known.viewport = viewport;
        if known.request != *request {
            *known = unseen();
            news.push((entity, None));
        }
    }
}

/// Gives the news to the cameras that they are about.
pub fn deliver<R: Request>(mut world: ResMut<MainWorld>, mut cameras: ResMut<Cameras<R>>) {
    for (entity, news) in cameras.news.drain(..) {
        // The entity, or the wish to know, may be gone by now.
        let Ok(mut camera) = world.get_entity_mut(entity) else { continue };
        if !camera.contains::<R>() {
            continue;
        }
        match news {
            Some(Ok(answer)) => {
                camera.remove::<R::Failure>();
                match camera.get_mut::<R::Answer>() {
                    Some(mut present) => _ = present.set_if_neq(answer),
                    None => _ = camera.insert(answer),
                }
            }
            Some(Err(error)) => {
                let text = error.to_string();
                if camera.get::<R::Failure>().is_none_or(|known| known.to_string() != text) {
                    error!("{entity}: {text}");
                    camera.remove::<R::Answer>().insert(R::FAILURE(error));
                }
            }
            None => _ = camera.remove::<(R::Answer, R::Failure)>(),
        }
    }
}
