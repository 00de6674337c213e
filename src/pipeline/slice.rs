//! One inference over several frames.

use std::{sync::atomic::Ordering, time::Duration};

use wgpu::CommandEncoder;

use super::{LayerTime, Pipeline};
use crate::network::Layer;

/// How far an inference has come that is spread over frames, and what each layer costs; see
/// [`Pipeline::encode_slice`].
///
/// It belongs to the pipeline that it was made for: after [`Pipeline::rebuild`], make it anew. A pipeline works on one
/// inference at a time, so use one of these with it, on one thread: of two in turns, neither comes to its end.
#[derive(Clone, Debug)]
pub struct Slices {
    /// Seconds of each step.
    costs: Vec<f64>,
    /// The step that comes next.
    next: usize,
    /// Which run of the pipeline this is.
    run: u64,
}

impl Slices {
    /// With costs that were measured by [`Pipeline::profile`] of the same pipeline.
    pub fn measured(times: &[LayerTime]) -> Self {
        // Nothing is free, whatever the resolution of the timestamps.
        Self { costs: times.iter().map(|t| (t.ms / 1e3).max(1e-6)).collect(), next: 0, run: 0 }
    }

    /// Where nothing can be measured: with the time that a whole run takes, shared out to the layers by their
    /// arithmetic or the memory that they touch, whichever is more, at 8 operations a byte.
    pub fn modelled(pipeline: &Pipeline, whole: Duration) -> Self {
        let layers = pipeline.network.layers();
        let costs: Vec<f64> = pipeline.steps.iter().map(|s| cost(&layers[s.layer], pipeline.batch())).collect();
        let unit = whole.as_secs_f64() / costs.iter().sum::<f64>();
        Self { costs: costs.iter().map(|c| c * unit).collect(), next: 0, run: 0 }
    }

    /// Whether the next slice begins a new inference: the last one is complete, or another run of `pipeline` has written
    /// over what there was of it.
    pub fn is_start(&self, pipeline: &Pipeline) -> bool {
        self.next == 0 || self.run != pipeline.runs.load(Ordering::Relaxed)
    }
}

impl Pipeline {
    /// Records as many of the next layers into `encoder` as cost no more than `budget`, but one at least; true when the
    /// inference is complete, the largest outputs with it. The next call then begins another one.
    ///
    /// Where a slice begins an inference, and then only, `input` is called first: what it records
    /// ([`Input::encode`](crate::Input::encode)) is what the inference is about. It may also call
    /// [`Pipeline::write_input`], or do nothing where the input lies there already.
    ///
    /// A layer is never divided: one that costs more than the budget takes a frame by itself. The input is read by the
    /// first slice only, and the result is bitwise that of [`Pipeline::encode`]. A pipeline has one set of
    /// activations: where another run of it began in between, the inference begins anew, with another call of `input`.
    /// Slices take effect in the order in which they were recorded: one thread records them, and submits them so.
    pub fn encode_slice(
        &self,
        encoder: &mut CommandEncoder,
        slices: &mut Slices,
        budget: Duration,
        input: impl FnOnce(&mut CommandEncoder),
    ) -> bool {
        if slices.is_start(self) {
            input(encoder);
            slices.next = 0;
            slices.run = self.begin_run();
        }
        let mut left = budget.as_secs_f64();
        let affordable = |cost: &&f64| {
            left -= **cost;
            left >= 0.0
        };
        let rest = slices.costs.get(slices.next..).unwrap_or_default();
        let count = rest.iter().take_while(affordable).count().max(1);
        let end = (slices.next + count).min(self.steps.len());
        self.encode_kept(encoder, slices.next..end);
        slices.next = end;
        let complete = end == self.steps.len();
        if complete {
            self.encode_top(encoder);
            slices.next = 0;
        }
        complete
    }
}

/// What a layer costs, in bytes or what takes as long.
fn cost(layer: &Layer, batch: usize) -> f64 {
    let weights: usize = layer.parameters().map(|(_, shape)| shape.iter().product::<usize>()).sum();
    let bytes = 4 * (weights + batch * (layer.input.len() + layer.output.len()));
    (bytes as f64).max((2 * layer.multiply_adds() * batch as u64) as f64 / 8.0)
}
