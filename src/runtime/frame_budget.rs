//! One inference over several frames.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use wgpu::CommandEncoder;

use super::{LayerTime, Pipeline};
use crate::network::Layer;

/// How far an inference has come that is spread over frames, and what each layer costs; see
/// [`Pipeline::encode_slice`].
///
/// It belongs to the pipeline that it was made for: after [`Pipeline::rebuild`], make it anew. A pipeline works on one
/// inference at a time, so use one of these with it, on one thread: of two in turns, neither comes to its end.
#[derive(Clone, Debug)]
pub struct FrameBudget {
    /// Seconds of each step.
    costs: Vec<f64>,
    /// Seconds of the input.
    input: f64,
    /// The step that comes next in the inference that was begun.
    next: Option<usize>,
    /// Which run of the pipeline this is.
    run: u64,
    /// Whether an encoder with a slice of it was dropped.
    dropped: Arc<AtomicBool>,
}

impl FrameBudget {
    /// With costs that were measured by [`Pipeline::profile`] of the same pipeline.
    pub fn measured(times: &[LayerTime]) -> Self {
        // Nothing is free, whatever the resolution of the timestamps.
        Self::new(times.iter().map(|t| (t.ms / 1e3).max(1e-6)).collect())
    }

    /// Where nothing can be measured: with the time that a whole run takes, shared out to the layers by their
    /// arithmetic or the memory that they touch, whichever is more, at 8 operations a byte.
    pub fn modelled(pipeline: &Pipeline, whole: Duration) -> Self {
        let costs: Vec<f64> = pipeline.steps().map(|(layer, _)| cost(layer, pipeline.batch())).collect();
        let unit = whole.as_secs_f64() / costs.iter().sum::<f64>();
        Self::new(costs.iter().map(|c| c * unit).collect())
    }

    fn new(costs: Vec<f64>) -> Self {
        Self { costs, input: 0.0, next: None, run: 0, dropped: Arc::default() }
    }

    /// Says what the input costs from now on that slices are given: as [`Pipeline::profile_input`] or the host measured it;
    /// nothing unless it is said. A large texture on an adapter that is a processor costs more than many a layer.
    pub fn set_input_cost(&mut self, cost: Duration) {
        self.input = cost.as_secs_f64();
    }

    /// Whether the next slice begins a new inference: the last one is complete, another run of `pipeline` has written
    /// over what there was of it, or an encoder with a slice of it was dropped.
    pub fn is_start(&self, pipeline: &Pipeline) -> bool {
        self.next.is_none() || self.run != pipeline.runs.load(Ordering::Relaxed) || self.dropped.load(Ordering::Relaxed)
    }
}

/// Goes with a slice's encoder, and notes if that is dropped.
struct Recorded {
    dropped: Arc<AtomicBool>,
    submitted: bool,
}

impl Recorded {
    fn submitted(mut self) {
        self.submitted = true;
    }
}

impl Drop for Recorded {
    fn drop(&mut self) {
        if !self.submitted {
            self.dropped.store(true, Ordering::Relaxed);
        }
    }
}

impl Pipeline {
    /// Records as many of the next layers into `encoder` as cost no more than `budget`, but one at least; true when the
    /// inference is complete, the largest outputs with it. The next call then begins another one.
    ///
    /// Where a slice begins an inference, and then only, `input` is called first: what it records
    /// ([`Input::encode`](crate::Input::encode)) is what the inference is about. It may also call
    /// [`Pipeline::write_input`], or do nothing where the input lies there already. What it costs
    /// ([`FrameBudget::set_input_cost`]) is of the budget too: a slice may be the input alone.
    ///
    /// A layer is never divided: one that costs more than the budget takes a frame by itself. The input is read by the
    /// slice with the first layer only, and the result is bitwise that of [`Pipeline::encode`].
    ///
    /// A pipeline has one set of activations: where another run of it began in between, or an encoder with a slice was dropped,
    /// the inference begins anew, with another call of `input`. FrameBudget take effect in the order in which they were
    /// recorded: one thread records them, and submits them so. No other run may be submitted between the recording of a slice
    /// and its submission, which nothing would notice: [`Pipeline::run_top`] and its like submit at once, so that a thread
    /// that calls them while another one records slices needs a pipeline of its own.
    pub fn encode_slice(
        &self,
        encoder: &mut CommandEncoder,
        slices: &mut FrameBudget,
        budget: Duration,
        input: impl FnOnce(&mut CommandEncoder),
    ) -> bool {
        let mut left = budget.as_secs_f64();
        let mut least = 1;
        if slices.is_start(self) {
            input(encoder);
            left -= slices.input;
            // An input that costs something is a slice where no layer is affordable beside it.
            least = usize::from(slices.input <= 0.0);
            slices.next = Some(0);
            slices.run = self.begin_run();
            slices.dropped = Arc::default();
        }
        let next = slices.next.unwrap_or_default();
        let affordable = |cost: &&f64| {
            left -= **cost;
            left >= 0.0
        };
        let rest = slices.costs.get(next..).unwrap_or_default();
        let count = rest.iter().take_while(affordable).count().max(least);
        let end = (next + count).min(self.inference.forward);
        self.encode_kept(encoder, next..end);
        let complete = end == self.inference.forward;
        slices.next = (!complete).then_some(end);
        if complete {
            self.encode_top(encoder);
        }
        let recorded = Recorded { dropped: slices.dropped.clone(), submitted: false };
        encoder.on_submitted_work_done(move || recorded.submitted());
        complete
    }
}

/// What a layer costs, in bytes or what takes as long.
fn cost(layer: &Layer, batch: usize) -> f64 {
    let weights: usize = layer.parameters().map(|(_, shape)| shape.iter().product::<usize>()).sum();
    let bytes = 4 * (weights + batch * (layer.input.len() + layer.output.len()));
    (bytes as f64).max((2 * layer.multiply_adds() * batch as u64) as f64 / 8.0)
}
