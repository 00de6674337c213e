//! The runs of a pipeline for programs without an executor: each waits in the thread that calls it.

use std::time::Duration;

use super::{Input, LayerTime, Pipeline, PipelineBuilder, RunError, TopEntry, TuneError, Tuning, wait::Poller};

impl Pipeline {
    /// [`Pipeline::run`], waiting.
    ///
    /// # Errors
    ///
    /// As [`Pipeline::run`].
    pub fn run_blocking(&self, input: &[f32]) -> Result<Vec<f32>, RunError> {
        pollster::block_on(self.run_last(input, Poller::Caller))
    }

    /// [`Pipeline::run_layers`], waiting.
    ///
    /// # Errors
    ///
    /// As [`Pipeline::run_layers`].
    pub fn run_layers_blocking(&self, input: &[f32], names: &[&str]) -> Result<Vec<Vec<f32>>, RunError> {
        pollster::block_on(self.read_layers(input, names, Poller::Caller))
    }

    /// [`Pipeline::run_top`], waiting.
    ///
    /// # Errors
    ///
    /// As [`Pipeline::run_top`].
    pub fn run_top_blocking(&self, input: &[f32]) -> Result<Vec<Vec<TopEntry>>, RunError> {
        pollster::block_on(self.run_top_on(Some(input), Poller::Caller))
    }

    /// [`Pipeline::run_top_again`], waiting.
    ///
    /// # Errors
    ///
    /// As [`Pipeline::run_top_again`].
    pub fn run_top_again_blocking(&self) -> Result<Vec<Vec<TopEntry>>, RunError> {
        pollster::block_on(self.run_top_on(None, Poller::Caller))
    }

    /// [`Pipeline::profile`], waiting.
    ///
    /// # Errors
    ///
    /// As [`Pipeline::profile`].
    pub fn profile_blocking(&self) -> Result<Option<Vec<LayerTime>>, RunError> {
        pollster::block_on(self.profile_layers(Poller::Caller))
    }

    /// [`Pipeline::profile_input`], waiting.
    ///
    /// # Errors
    ///
    /// As [`Pipeline::profile_input`].
    pub fn profile_input_blocking(&self, input: &Input) -> Result<Option<Duration>, RunError> {
        pollster::block_on(self.time_input(input, Poller::Caller))
    }
}

impl PipelineBuilder<'_> {
    /// [`PipelineBuilder::tune`], waiting.
    ///
    /// # Errors
    ///
    /// As [`PipelineBuilder::tune`].
    pub fn tune_blocking(self, progress: impl FnMut(usize, usize)) -> Result<Tuning, TuneError> {
        pollster::block_on(self.tune(progress))
    }
}
