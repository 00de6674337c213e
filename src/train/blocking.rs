//! What a [`Trainer`] does that waits for the device: measurements, parameters, states.

use std::collections::BTreeMap;

use super::{
    PassTime, PendingReport, StepReport, TrainError, Trainer, TrainerState,
    program::{Master, Place},
    without_softmax,
};
use crate::{
    program::{ArrayId, Step},
    runtime::{
        RunError,
        profile::intervals,
        readback,
        ticket::Reserved,
        wait::{self, Poller},
    },
    weights::{Tensor, Weights},
};

impl Trainer {
    /// Waits for a report.
    ///
    /// # Errors
    ///
    /// Errors of the device.
    pub fn wait(&self, pending: &mut PendingReport) -> Result<StepReport, TrainError> {
        loop {
            if let Some(report) = pending.poll() {
                return Ok(report?);
            }
            self.settle()?;
        }
    }

    /// Computes loss and classes of images without dropout, with the parameters as they are. `inputs` are as for
    /// [`Trainer::step`], of any number.
    ///
    /// # Errors
    ///
    /// As [`Trainer::step`].
    pub fn evaluate(&mut self, inputs: &[f32], classes: &[usize]) -> Result<StepReport, TrainError> {
        self.check(inputs, classes)?;
        let len = self.network.input().len();
        let mut pending = PendingReport::new(0, 0.0, classes);
        for (pass, classes) in classes.chunks(self.at_once).enumerate() {
            let first = pass * self.at_once;
            self.write(&inputs[first * len..][..classes.len() * len], classes, 0.0);
            self.write_step(first, 0.0, false);
            pending.passes.push(self.submit(false, 0..self.program.evaluation)?);
        }
        self.wait(&mut pending)
    }

    /// Takes a step with the images that were written last and a learning rate of 0, and measures each layer of each pass
    /// with timestamps. `None` where the device has no timestamps. Momentum and AdamW's moments change.
    ///
    /// # Errors
    ///
    /// Errors of the device.
    pub fn profile(&mut self) -> Result<Option<Vec<PassTime>>, TrainError> {
        self.write_step(0, 0.0, true);
        let steps = &self.program.program.steps;
        // The first step is computed twice, because the first pass is not measured.
        let times = intervals(&self.gpu, Poller::Caller, 1 + steps.len(), |encoder, pass, writes| {
            let step = pass.saturating_sub(1);
            self.executable.encode(encoder, step..step + 1, Some(writes));
        });
        let Some(times) = pollster::block_on(times)? else { return Ok(None) };
        let layers = without_softmax(&self.network);
        let time = |(step, ms): (&Step, f64)| PassTime {
            pass: step.pass.0,
            layer: layers[step.layer].name.clone(),
            kernel: self.program.program.dispatches_of(step).first().map_or(String::new(), |d| d.kernel.label()),
            ms,
        };
        Ok(Some(steps.iter().zip(times).map(time).collect()))
    }

    /// Reads all parameters of the network, trained or not.
    ///
    /// # Errors
    ///
    /// Errors of the device.
    pub fn weights(&self) -> Result<Weights, TrainError> {
        let mut weights = self.weights.clone();
        let arrays = self.program.masters.iter().map(|master| (master.tensor.clone(), master, master.array));
        for (name, tensor) in self.read(arrays)? {
            weights.insert(name, tensor);
        }
        Ok(weights)
    }

    /// Reads what a training goes on from ([`resume`](super::TrainerBuilder::resume)): steps that are taken after it are the same, bit for
    /// bit, on one adapter.
    ///
    /// # Errors
    ///
    /// Errors of the device.
    pub fn state(&self) -> Result<TrainerState, TrainError> {
        let moments = self.program.masters.iter().flat_map(|master| {
            let name = |index: usize| format!("{}.moment{}", master.tensor, index + 1);
            master.moments.iter().enumerate().map(move |(index, &array)| (name(index), master, array))
        });
        let mut read = Weights::default();
        for (name, tensor) in self.read(moments)? {
            read.insert(name, tensor);
        }
        Ok(TrainerState { steps: self.steps, weights: self.weights()?, moments: read })
    }

    /// Reads the gradients of the last step, by the names of the parameters. `None` where a step is computed at once
    /// ([`at_once`](super::TrainerBuilder::at_once)): gradients are then used and overwritten layer by layer.
    ///
    /// # Errors
    ///
    /// Errors of the device.
    pub fn gradients(&self) -> Result<Option<BTreeMap<String, Tensor>>, TrainError> {
        if self.at_once == self.batch {
            return Ok(None);
        }
        let masters = self.program.masters.iter();
        let gradients = masters.filter_map(|master| Some((master.tensor.clone(), master, master.gradient?)));
        Ok(Some(self.read(gradients)?))
    }

    /// Reads arrays that are laid out as parameters; several may have parts of one tensor.
    fn read<'m>(
        &self,
        arrays: impl Iterator<Item = (String, &'m Master, ArrayId)>,
    ) -> Result<BTreeMap<String, Tensor>, TrainError> {
        let shapes: BTreeMap<String, Vec<usize>> = self.network.parameters().collect();
        let mut values: BTreeMap<String, (Vec<usize>, Vec<f32>)> = BTreeMap::new();
        for (name, master, array) in arrays {
            let packed = self.read_array(array)?;
            let shape = &shapes[&master.tensor];
            let (_, out) = values.entry(name).or_insert_with(|| (shape.clone(), vec![0.0; shape.iter().product()]));
            match &master.place {
                Place::Weight(packing, blocks) => packing.unpack(blocks.clone(), &packed, out),
                Place::Bias(packing) => *out = packing.unpack_columns(&packed),
            }
        }
        Ok(values.into_iter().map(|(name, (shape, values))| (name, Tensor::from_f32(shape, values))).collect())
    }

    fn read_array(&self, array: ArrayId) -> Result<Vec<f32>, TrainError> {
        let gpu = &self.gpu;
        let read = async {
            let reading = readback::submit(gpu, |encoder| {
                Ok(vec![readback::copy(gpu, encoder, (&self.executable, &self.program.program), array)])
            });
            readback::read(gpu, reading.await?, Poller::Caller).await
        };
        Ok(pollster::block_on(read)?.into_iter().next().unwrap_or_default())
    }

    /// Waits until the device has done everything that was submitted.
    fn settle(&self) -> Result<(), TrainError> {
        let (send, done) = futures::channel::oneshot::channel();
        self.gpu.queue().on_submitted_work_done(move || _ = send.send(()));
        let device = |reason: String| TrainError::Run(RunError::Device(reason));
        match wait::wait(self.gpu.device(), done) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(device("the device was lost".into())),
            Err(error) => Err(device(error.to_string())),
        }
    }

    /// Takes a free readback buffer, and waits for one while all are taken.
    pub(super) fn reserve(&self) -> Result<Reserved<Vec<[f32; 4]>>, TrainError> {
        loop {
            match self.ring.reserve() {
                Ok(reserved) => return Ok(reserved),
                // Those under way come before this one.
                Err(RunError::Busy { .. }) => self.settle()?,
                Err(error) => return Err(error.into()),
            }
        }
    }
}
