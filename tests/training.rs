//! Promises of a trainer: memory that does not grow, and a lost device that is an error.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod common;

use std::sync::{Mutex, PoisonError};

use alexnet_wgpu::{
    Conv, Gpu, GpuOptions, Linear, MaxPool, Network, Shape, Weights, splitmix,
    train::{Init, TrainError, Trainer, TrainerBuilder, initial_weights},
};

/// One test at a time: they share this process's memory, which is measured.
static ALONE: Mutex<()> = Mutex::new(());

fn network() -> Network {
    Network::builder("small", Shape::new(3, 12, 12))
        .conv("conv1", Conv::new(8, 3).padding(1).relu())
        .max_pool("pool1", MaxPool::new(2, 2))
        .dropout("drop1")
        .linear("fc2", Linear::new(5))
        .softmax("prob")
        .build()
        .unwrap()
}

fn builder<'a>(gpu: &'a Gpu, network: &'a Network, weights: &'a Weights) -> TrainerBuilder<'a> {
    Trainer::builder(gpu, network, weights).batch(6).at_once(4).seed(3)
}

/// Images and classes of a step.
fn examples(network: &Network, step: u64) -> (Vec<f32>, Vec<usize>) {
    (splitmix::uniform(step, 6 * network.input().len(), 1.0), (0..6).map(|i| (i + step as usize) % 5).collect())
}

/// Bytes of this process in memory.
#[cfg(target_os = "linux")]
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/statm").unwrap();
    4096 * status.split(' ').nth(1).unwrap().parse::<u64>().unwrap()
}

/// A thousand steps whose reports are taken late.
#[cfg(target_os = "linux")]
#[test]
fn memory_does_not_grow() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let gpu = common::gpu();
    let network = network();
    let weights = initial_weights(&network, Init::He, 1);
    let mut trainer = builder(gpu, &network, &weights).build().unwrap();
    let bytes = trainer.device_bytes();
    let mut before = 0;
    for step in 0..1200 {
        let (inputs, classes) = examples(&network, step);
        let mut report = trainer.step(&inputs, &classes, 0.01).unwrap();
        if step % 50 == 49 {
            assert!(trainer.wait(&mut report).unwrap().loss.is_finite());
        }
        if step == 199 {
            before = resident();
        }
    }
    let grown = resident().saturating_sub(before);
    assert_eq!(trainer.device_bytes(), bytes);
    assert!(grown < 6 << 20, "{grown} bytes in 1000 steps");
}

/// On a lost device, steps are errors; from the last state, the training goes on elsewhere as if nothing had happened.
#[test]
fn a_lost_device_is_an_error_and_a_state_goes_on() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let open = || {
        let options = GpuOptions::default().adapter(std::env::var("ALEXNET_ADAPTER").ok());
        Gpu::open_blocking(&options).unwrap()
    };
    let network = network();
    let weights = initial_weights(&network, Init::He, 1);
    let steps = |trainer: &mut Trainer, steps: std::ops::Range<u64>| -> Result<(), TrainError> {
        for step in steps {
            let (inputs, classes) = examples(&network, step);
            let mut report = trainer.step(&inputs, &classes, 0.05)?;
            trainer.wait(&mut report)?;
        }
        Ok(())
    };
    let lost = open();
    let mut trainer = builder(&lost, &network, &weights).build().unwrap();
    steps(&mut trainer, 0..3).unwrap();
    let state = trainer.state().unwrap();
    lost.device().destroy();
    for _ in 0..10 {
        assert!(steps(&mut trainer, 3..5).is_err());
    }
    assert!(trainer.weights().is_err() && trainer.state().is_err());

    let gpu = open();
    let mut resumed = builder(&gpu, &network, &weights).resume(&state).build().unwrap();
    steps(&mut resumed, 3..6).unwrap();
    let mut whole = builder(&gpu, &network, &weights).build().unwrap();
    steps(&mut whole, 0..6).unwrap();
    let [resumed, whole] = [resumed, whole].map(|trainer| trainer.weights().unwrap());
    for (name, tensor) in whole.iter() {
        assert_eq!(tensor.to_f32(), resumed.tensor(name).unwrap().to_f32(), "{name}");
    }
}
