//! Programs that are more than a chain of layers: several inputs and outputs, state, and a pass after the forward one.

use wgpu::{BufferUsages, util::DownloadBuffer};

use super::*;
use crate::{
    kernels::{
        Access, Kernel, Storage, WORKGROUP, Work,
        binding::{X, Y},
    },
    layers::Conv,
    lower::Inference,
    network::Network,
    program::{Algorithms, Array, Bound, Options, Pass, Role, read, write},
    reference,
    runtime::{memory, to_chw},
    shape::Shape,
};

/// The second array of the shaders beside this file.
const Z: u32 = 6;
const QUADS: usize = 70;

/// A dispatch of a shader beside this file.
fn work(shader: &'static str, quads: usize) -> Work {
    let uniform = [quads as u32];
    let workgroups = [quads.div_ceil(WORKGROUP as usize) as u32, 1, 1];
    Work::new(Kernel::pointwise(shader), bytemuck::cast_slice(&uniform), workgroups)
}

fn array(program: &mut Program, role: Role) -> ArrayId {
    program.array(Array::quads("test", QUADS, Storage::StorageBuffer, role))
}

fn load(gpu: &Gpu, program: &Program) -> Executable {
    Executable::load(gpu, program, &Weights::default(), Checks::default(), None, || ()).unwrap()
}

/// Values that differ from array to array.
fn numbers(seed: usize) -> Vec<f32> {
    (0..4 * QUADS).map(|i| ((i * 7 + seed * 13) % 31) as f32 - 15.0).collect()
}

/// Runs all steps `times` times.
fn run(gpu: &Gpu, executable: &Executable, times: usize) {
    for _ in 0..times {
        let mut encoder = gpu.device().create_command_encoder(&Default::default());
        executable.encode(&mut encoder, 0..executable.steps.len(), None);
        gpu.queue().submit([encoder.finish()]);
    }
}

fn read_back(gpu: &Gpu, memory: &Memory, quads: usize) -> Vec<f32> {
    let target = memory::filled(
        gpu,
        "read",
        &vec![0; memory.copy_size(quads as u64) as usize],
        BufferUsages::COPY_SRC | BufferUsages::COPY_DST,
    );
    let mut encoder = gpu.device().create_command_encoder(&Default::default());
    memory.copy_to(&mut encoder, quads as u64, &target);
    gpu.queue().submit([encoder.finish()]);
    let (send, receive) = std::sync::mpsc::channel();
    DownloadBuffer::read_buffer(gpu.device(), gpu.queue(), &target.slice(..), move |bytes| {
        send.send(bytes.unwrap().to_vec()).unwrap();
    });
    gpu.device().poll(wgpu::PollType::wait_indefinitely()).unwrap();
    let mut numbers: Vec<f32> = bytemuck::pod_collect_to_vec(&receive.recv().unwrap());
    numbers.truncate(4 * quads);
    numbers
}

#[test]
fn two_inputs_and_two_outputs() {
    let gpu = Gpu::for_tests();
    let mut program = Program::default();
    let [a, b] = [(); 2].map(|()| array(&mut program, Role::Input));
    let sum = array(&mut program, Role::Temporary);
    let [double, square] = [(); 2].map(|()| array(&mut program, Role::Output));
    program.dispatch("test", work("test_add", QUADS), &[read(X, a), write(Y, sum), read(Z, b)]).unwrap();
    program.dispatch("test", work("test_split", QUADS), &[read(X, sum), write(Y, double), write(Z, square)]).unwrap();
    program.end_step(Pass::FORWARD, 0);
    let executable = load(&gpu, &program);
    for (seed, array) in [a, b].into_iter().enumerate() {
        executable.memory(array).write(gpu.queue(), &numbers(seed));
    }
    run(&gpu, &executable, 1);
    let sums = || numbers(0).into_iter().zip(numbers(1)).map(|(a, b)| a + b);
    let found = |array| read_back(&gpu, executable.memory(array), QUADS);
    assert_eq!(found(double), sums().map(|v| 2.0 * v).collect::<Vec<_>>());
    assert_eq!(found(square), sums().map(|v| v * v).collect::<Vec<_>>());
}

#[test]
fn state_stays_from_run_to_run() {
    let gpu = Gpu::for_tests();
    let mut program = Program::default();
    let (x, state) = (array(&mut program, Role::Input), array(&mut program, Role::State));
    let update = Bound { number: Y, access: Access::ReadWrite, array: state };
    program.dispatch("test", work("test_accumulate", QUADS), &[read(X, x), update]).unwrap();
    program.end_step(Pass("update"), 0);
    let executable = load(&gpu, &program);
    executable.memory(x).write(gpu.queue(), &numbers(0));
    run(&gpu, &executable, 3);
    let expected: Vec<f32> = numbers(0).into_iter().map(|v| 3.0 * v).collect();
    assert_eq!(read_back(&gpu, executable.memory(state), QUADS), expected);
}

/// A pass over the results of a network's forward pass, with every kernel configuration's arrays and shared memory.
#[test]
fn a_pass_follows_the_forward_one() {
    let gpu = Gpu::for_tests();
    let network = Network::builder("two", Shape::new(3, 9, 9))
        .conv("conv1", Conv::new(8, 3).relu())
        .conv("conv2", Conv::new(6, 3))
        .build()
        .unwrap();
    let weights = Weights::random(&network, 5);
    let picture: Vec<f32> = (0..network.input().len()).map(|i| ((i * 5) % 17) as f32 / 8.0 - 1.0).collect();
    let twin = reference::run(&network, &weights, &picture.iter().map(|&v| v.into()).collect::<Vec<_>>()).unwrap();
    for config in gpu.kernel_configs() {
        let limit = Memory::limit(gpu.device(), config.storage);
        let (precision, algorithms) = (Default::default(), &Algorithms::new());
        let options = Options { config, batch: 1, precision, algorithms, limit, top: 0 };
        let inference = Inference::lower(&network, options).unwrap();
        let x = inference.lay_out(network.input(), &picture);
        let Inference { mut program, input, layers, .. } = inference;
        // The output of the first layer is read again later, so the second must not overwrite it.
        let [first, second] = [layers[0].array, layers[1].array];
        let quads = program.get(first).len() as usize;
        let z = program.array(Array::quads("loss", quads, Storage::StorageBuffer, Role::Output));
        let double = program.array(Array::quads("loss", quads, config.storage, Role::Temporary));
        program.dispatch("test", work("test_split", quads), &[read(X, first), write(Y, double), write(Z, z)]).unwrap();
        program.end_step(Pass("backward"), 0);
        let plan = program.plan_memory();
        assert_ne!(plan.of(first), plan.of(second));

        let executable = Executable::load(&gpu, &program, &weights, Checks::default(), None, || ()).unwrap();
        executable.memory(input).write(gpu.queue(), &x);
        run(&gpu, &executable, 1);
        let squares = to_chw(&read_back(&gpu, executable.memory(z), quads), network.layers()[0].output, 1);
        let expected: Vec<f64> = twin[0].iter().map(|v| v * v).collect();
        let error = reference::relative_error(&squares, &expected);
        assert!(error < 1e-6, "{config:?}: {error:e}");
    }
}

#[test]
fn memory_is_shared_where_lives_do_not_overlap() {
    let mut program = Program::default();
    let chain: Vec<ArrayId> = [40, 30, 50, 20, 60]
        .map(|quads| program.array(Array::quads("chain", quads, Storage::StorageBuffer, Role::Temporary)))
        .into();
    let (input, output) = (array(&mut program, Role::Input), array(&mut program, Role::Output));
    let all: Vec<ArrayId> = [input].into_iter().chain(chain.clone()).chain([output]).collect();
    for (step, pair) in all.windows(2).enumerate() {
        program.dispatch("test", work("test_add", 1), &[read(X, pair[0]), write(Y, pair[1]), read(Z, input)]).unwrap();
        program.end_step(Pass::FORWARD, step);
    }
    let plan = program.plan_memory();
    // Two allocations in turn, each as large as its largest array.
    let temporaries: Vec<u64> =
        plan.allocations.iter().filter(|a| a.label == "chain").map(|allocation| allocation.bytes / 16).collect();
    assert_eq!(temporaries, [60, 30]);
    for (a, b) in chain.iter().zip(&chain[1..]) {
        assert_ne!(plan.of(*a), plan.of(*b));
    }
    assert!(chain.iter().all(|&array| ![plan.of(input), plan.of(output)].contains(&plan.of(array))));
}
