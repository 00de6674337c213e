//! Blocking forms of a pipeline's runs, for programs without an executor. Each blocks the thread that calls it.

use std::time::Duration;

use super::{Input, LayerTime, Pipeline, PipelineBuilder, RunError, TopEntry, TuneError, Tuning, wait::Poller};

impl Pipeline {
    /// Blocking form of [`Pipeline::run`].
    ///
    /// # Errors
    ///
    /// As [`Pipeline::run`].
    pub fn run_blocking(&self, input: &[f32]) -> Result<Vec<f32>, RunError> {
        pollster::block_on(self.run_last(input, Poller::Caller))
    }

    /// Blocking form of [`Pipeline::run_layers`].
    ///
    /// # Errors
    ///
    /// As [`Pipeline::run_layers`].
    pub fn run_layers_blocking(&self, input: &[f32], names: &[&str]) -> Result<Vec<Vec<f32>>, RunError> {
        pollster::block_on(self.read_layers(input, names, Poller::Caller))
    }

    /// Blocking form of [`Pipeline::run_top`].
    ///
    /// # Errors
    ///
    /// As [`Pipeline::run_top`].
    pub fn run_top_blocking(&self, input: &[f32]) -> Result<Vec<Vec<TopEntry>>, RunError> {
        pollster::block_on(self.run_top_on(Some(input), Poller::Caller))
    }

    /// Blocking form of [`Pipeline::run_top_again`].
    ///
    /// # Errors
    ///
    /// As [`Pipeline::run_top_again`].
    pub fn run_top_again_blocking(&self) -> Result<Vec<Vec<TopEntry>>, RunError> {
        pollster::block_on(self.run_top_on(None, Poller::Caller))
    }

    /// Blocking form of [`Pipeline::profile`].
    ///
    /// # Errors
    ///
    /// As [`Pipeline::profile`].
    pub fn profile_blocking(&self) -> Result<Option<Vec<LayerTime>>, RunError> {
        pollster::block_on(self.profile_layers(Poller::Caller))
    }

    /// Blocking form of [`Pipeline::profile_input`].
    ///
    /// # Errors
    ///
    /// As [`Pipeline::profile_input`].
    pub fn profile_input_blocking(&self, input: &Input) -> Result<Option<Duration>, RunError> {
        pollster::block_on(self.time_input(input, Poller::Caller))
    }
}

impl PipelineBuilder<'_> {
    /// Blocking form of [`PipelineBuilder::tune`].
    ///
    /// # Errors
    ///
    /// As [`PipelineBuilder::tune`].
    pub fn tune_blocking(self, progress: impl FnMut(usize, usize)) -> Result<Tuning, TuneError> {
        pollster::block_on(self.tune(progress))
    }
}
