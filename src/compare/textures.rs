//! Comparison of two textures of a host, in its frame.

use wgpu::CommandEncoder;

use super::{CompareError, Comparer, Comparison, Loaded, size_of_both};
use crate::{
    gpu::{Gpu, error_scopes::Scopes},
    runtime::{Input, PipelineError, RunError, TextureSource, Ticket, readback, ticket::Ring, wait::Poller},
};

/// The number of results that may be under way.
const TICKETS: usize = 3;

/// Two textures of a host, compared whenever the host says; see [`Comparer::textures`].
#[derive(Debug)]
pub struct TexturePair {
    gpu: Gpu,
    loaded: Loaded,
    /// Of each tile.
    inputs: Vec<[Input; 2]>,
    ring: Ring<Comparison>,
}

impl Comparer {
    /// Prepares to compare two textures, or regions of them, of the same size. This makes everything that is needed on the
    /// device; [`TexturePair::encode`] then only records. Textures are read as
    /// [`Pipeline::texture_input`](crate::Pipeline::texture_input) reads them: rounded to 8 bits, without alpha.
    ///
    /// # Errors
    ///
    /// As [`Comparer::compare`], and [`CompareError::Input`] when shaders cannot read a texture.
    pub fn textures(&self, a: &TextureSource<'_>, b: &TextureSource<'_>) -> Result<TexturePair, CompareError> {
        let loaded = self.load(size_of_both(a.size(), b.size())?)?;
        let [height, width] = loaded.program.tiles.size().map(|side| side as u32);
        let scopes = Scopes::push(self.gpu.device());
        let mut inputs = Vec::new();
        for pieces in loaded.program.tiles.iter() {
            let [row, column] = pieces.map(|piece| piece.start as u32);
            let input = |source: &TextureSource<'_>, picture| {
                let part = source.part(column, row, width, height);
                loaded.input(&self.gpu).texture(&part, &loaded.program.preprocessing, picture, false)
            };
            inputs.push([input(a, 0)?, input(b, 1)?]);
        }
        let (size, maps) = (loaded.program.size, loaded.program.maps.clone());
        let decode = move |bytes: &[u8]| Ok(Comparison::new(size, &maps, &bytemuck::pod_collect_to_vec(bytes)));
        let ring = Ring::new(self.gpu.device(), TICKETS, loaded.buffers()?[0].size(), decode);
        match scopes.pop_now() {
            Some(error) => Err(PipelineError::from(error).into()),
            None => Ok(TexturePair { gpu: self.gpu.clone(), loaded, inputs, ring }),
        }
    }
}

impl TexturePair {
    /// Records a comparison of the textures' contents into `encoder`, and returns a ticket for its result, which has no map.
    /// Nothing is made on the device, submitted or waited for.
    ///
    /// # Errors
    ///
    /// [`RunError::Busy`] when three tickets are open. Nothing is recorded then.
    pub fn encode(&self, encoder: &mut CommandEncoder) -> Result<Ticket<Comparison>, RunError> {
        let [results, _] = self.loaded.buffers()?;
        // Before anything is recorded: all tickets may be open.
        let reserved = self.ring.reserve()?;
        self.encode_tiles(encoder);
        self.loaded.encode_reductions(encoder);
        Ok(reserved.ticket(encoder, results))
    }

    /// Compares the textures' contents by a submission of its own. The result has its map.
    ///
    /// # Errors
    ///
    /// Errors of the device.
    pub async fn compare(&self) -> Result<Comparison, CompareError> {
        self.compare_on(Poller::Thread).await
    }

    /// Blocking form of [`TexturePair::compare`].
    ///
    /// # Errors
    ///
    /// As [`TexturePair::compare`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn compare_blocking(&self) -> Result<Comparison, CompareError> {
        pollster::block_on(self.compare_on(Poller::Caller))
    }

    async fn compare_on(&self, poller: Poller) -> Result<Comparison, CompareError> {
        let reading = readback::submit(&self.gpu, |encoder| {
            self.encode_tiles(encoder);
            self.loaded.encode_results(&self.gpu, encoder)
        });
        self.loaded.read(&self.gpu, reading.await?, poller).await
    }

    /// Records the tiles.
    fn encode_tiles(&self, encoder: &mut CommandEncoder) {
        for (tile, inputs) in self.inputs.iter().enumerate() {
            inputs.iter().for_each(|input| input.encode(encoder));
            self.loaded.encode_tile(encoder, tile);
        }
    }
}
