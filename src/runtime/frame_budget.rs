//! One inference spread over several frames.

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

/// Progress of an inference that is spread over frames, with the cost of each layer; see [`Pipeline::encode_slice`].
///
/// A `FrameBudget` belongs to the pipeline that it was made for; make a new one after [`Pipeline::rebuild`]. A pipeline
/// works on one inference at a time, so use one `FrameBudget` per pipeline, on one thread. Two that take turns never
/// complete.
#[derive(Clone, Debug)]
pub struct FrameBudget {
    /// Cost of each step, in seconds.
    costs: Vec<f64>,
    /// Cost of the input, in seconds.
    input: f64,
    /// The next step of the inference in progress.
    next: Option<usize>,
    /// The number of the pipeline's run.
    run: u64,
    /// Whether an encoder with one of its slices was dropped.
    dropped: Arc<AtomicBool>,
}

impl FrameBudget {
    /// Uses costs measured by [`Pipeline::profile`] on the same pipeline.
    pub fn measured(times: &[LayerTime]) -> Self {
        // Every step costs something, whatever the resolution of the timestamps.
        Self::new(times.iter().map(|t| (t.ms / 1e3).max(1e-6)).collect())
    }

    /// Estimates costs, for devices without timestamps. The time of a `whole` run is divided among the layers by their
    /// arithmetic or their memory traffic, whichever is larger, at 8 operations per byte.
    pub fn modelled(pipeline: &Pipeline, whole: Duration) -> Self {
        let costs: Vec<f64> = pipeline.steps().map(|(layer, _)| cost(layer, pipeline.batch())).collect();
        let unit = whole.as_secs_f64() / costs.iter().sum::<f64>();
        Self::new(costs.iter().map(|c| c * unit).collect())
    }

    fn new(costs: Vec<f64>) -> Self {
        Self { costs, input: 0.0, next: None, run: 0, dropped: Arc::default() }
    }

    /// Sets the cost of the input for subsequent slices, as measured by [`Pipeline::profile_input`] or by the host. The
    /// default is zero. On a software adapter, a large texture can cost more than many of the layers.
    pub fn set_input_cost(&mut self, cost: Duration) {
        self.input = cost.as_secs_f64();
    }

    /// Whether the next slice begins a new inference: the last one is complete, another run of `pipeline` overwrote it,
    /// or an encoder with one of its slices was dropped.
    pub fn is_start(&self, pipeline: &Pipeline) -> bool {
        self.next.is_none() || self.run != pipeline.runs.load(Ordering::Relaxed) || self.dropped.load(Ordering::Relaxed)
    }
}

/// Stays with a slice's encoder, and notes when that is dropped.
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
    /// Records as many of the next layers into `encoder` as fit `budget`, but at least one. Returns true when the
    /// inference is complete, including the largest outputs; the next call then begins another one.
    ///
    /// When a slice begins an inference, `input` is called first, and only then. It records the input of this inference
    /// ([`Input::encode`](crate::Input::encode)). It may also call [`Pipeline::write_input`], or do nothing where the
    /// input is in place already. The cost of the input ([`FrameBudget::set_input_cost`]) counts towards the budget, so
    /// a slice may consist of the input alone.
    ///
    /// A layer is never divided: one that costs more than the budget takes a frame by itself. Only the slice with the
    /// first layer reads the input. The result is bitwise that of [`Pipeline::encode`].
    ///
    /// A pipeline has one set of activations. If another run of it began in between, or an encoder with a slice was
    /// dropped, the inference starts over, with another call of `input`. Slices must be submitted in the order in which
    /// they were recorded, so record and submit them on one thread. No other run may be submitted between the recording
    /// of a slice and its submission; this is not detected. [`Pipeline::run_top`] and its like submit immediately, so a
    /// thread that calls them while another thread records slices needs a pipeline of its own.
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
            // An input with a cost is a slice by itself where no layer is affordable beside it.
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

/// The cost of a layer, in bytes of memory traffic or their equivalent in time.
fn cost(layer: &Layer, batch: usize) -> f64 {
    let weights: usize = layer.parameters().map(|(_, shape)| shape.iter().product::<usize>()).sum();
    let bytes = 4 * (weights + batch * (layer.input.len() + layer.output.len()));
    (bytes as f64).max((2 * layer.multiply_adds() * batch as u64) as f64 / 8.0)
}
