//! The gradient of LPIPS with respect to a picture.

use super::{
    CompareError, Lpips,
    error::size_of,
    pair::{distances, layer_means, maps, reduce_maps},
};
use crate::{
    activation::{BackwardRule, Below},
    gpu::{Gpu, error_scopes::Scopes},
    kernels::{
        KernelConfig, Precision, Storage, activation_quads,
        binding::{ADDEND, BIAS, BIAS_GRADIENT, OTHERS, X, Y},
        compare::{LayerMap, lpips_gradient},
        gradients,
    },
    lower::{activation_of, lay_out, lower_forward, lower_input_gradient},
    network::Network,
    picture::{Picture, Preprocessing},
    program::{Algorithms, Array, ArrayId, Forward, Options, Pass, Program, Role, Training, read, write},
    runtime::{
        PipelineError, RunError, avoid, executable::Executable, memory::Memory, readback, requirements, to_chw,
        wait::Poller,
    },
    shape::Shape,
};

/// LPIPS of pictures against one target, with its gradient: for optimising pixels, or the parameters of a renderer or codec.
///
/// The target's features are computed once. Each run is a forward and a backward pass of AlexNet's convolutions.
///
/// ```
/// # #[cfg(feature = "imagenet")]
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use alexnet_wgpu::{Gpu, GpuOptions, Lpips, LpipsGradient, Picture};
///
/// let gpu = Gpu::open_blocking(&GpuOptions::default())?;
/// let target = Picture::from_rgb8(48, 32, (0..48 * 32 * 3).map(|i| (i % 251) as u8).collect())?;
/// let gradient = LpipsGradient::new(&gpu, &Lpips::imagenet()?, &target)?;
/// let mut pixels = vec![0.5; 3 * 32 * 48];
/// let before = gradient.run_blocking(&pixels)?;
/// pixels.iter_mut().zip(&before.gradient).for_each(|(pixel, slope)| *pixel -= 0.5 * slope);
/// assert!(gradient.run_blocking(&pixels)?.lpips < before.lpips);
/// # Ok(())
/// # }
/// # #[cfg(not(feature = "imagenet"))]
/// # fn main() {}
/// ```
#[derive(Debug)]
pub struct LpipsGradient {
    gpu: Gpu,
    program: LpipsGradientProgram,
    executable: Executable,
}

/// LPIPS of a picture and the target, with its gradient.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct LpipsSlope {
    /// LPIPS, version 0.1 with AlexNet.
    pub lpips: f32,
    /// Its parts: the mean distance after each of [`Lpips::LAYERS`].
    pub layers: [f32; 5],
    /// The derivative of `lpips` with respect to each sample, laid out as the picture is (3 × rows × columns).
    pub gradient: Vec<f32>,
}

/// The program: the trunk on one picture, distances with their gradients, and the way back to the picture.
#[derive(Debug)]
pub(crate) struct LpipsGradientProgram {
    pub program: Program,
    /// The trunk for the picture.
    pub network: Network,
    preprocessing: Preprocessing,
    pub input: ArrayId,
    pub gradient: ArrayId,
    /// vec4s: for each layer, a sum.
    pub results: ArrayId,
    pub maps: Vec<LayerMap>,
    /// The steps of the forward pass, among them those that keep the target's features.
    forward: std::ops::Range<usize>,
    keeps: Vec<usize>,
}

impl LpipsGradientProgram {
    /// The program for a picture of `size` (rows and columns).
    pub fn lower(lpips: &Lpips, size: [usize; 2], config: KernelConfig, limit: u64) -> Result<Self, CompareError> {
        let network = lpips.network.with_input(Shape::new(3, size[0], size[1]))?;
        let (layers, maps) = (network.layers(), maps(lpips, size)?);
        let algorithms = &Algorithms::new();
        let lowering = Options { config, batch: 1, precision: Precision::F32, algorithms, limit, top: 0 };
        let mut program = Program::default();
        // Not in rows, as inference has it: the gradient has the usual layout.
        let input =
            program.array(Array::quads("input", activation_quads(network.input()), config.storage, Role::Input));
        let buffer = |program: &mut Program, label, quads, role| {
            program.array(Array::quads(label, quads, Storage::StorageBuffer, role))
        };
        let distances = distances(&mut program, &maps);
        let results = buffer(&mut program, "results", maps.len(), Role::Output);

        let compared = |name: &str| lpips.compared.iter().position(|compared| *compared == name);
        let training = |index: usize| Training { step: None, dropout: 0.0, layer: index as u32, in_place: false };
        let (mut x, mut keeps) = (input, vec![]);
        let mut forward: Vec<Forward> = Vec::new();
        let mut targets = vec![];
        for (index, layer) in layers.iter().enumerate() {
            let passed = lower_forward(&mut program, lowering, layer, x, training(index), None)?;
            program.end_step(Pass::FORWARD, index);
            x = passed.y;
            forward.push(passed);
            if compared(&layer.name).is_some() {
                let target = buffer(&mut program, "target", activation_quads(layer.output), Role::State);
                let work = gradients::sum(1, activation_quads(layer.output), false);
                program.dispatch(&layer.name, work, &[read(X, x), write(Y, target)])?;
                keeps.push(program.steps.len());
                program.end_step(Pass::FORWARD, index);
                targets.push(target);
            }
        }
        let end_of_forward = program.steps.len();

        let mut gradient: Option<ArrayId> = None;
        for (index, layer) in layers.iter().enumerate().rev() {
            let passed = &forward[index];
            if let Some(place) = compared(&layer.name) {
                let weights = lpips.distance_weights(&mut program, place, layer.output.channels);
                let slope = Array::quads("gradient", activation_quads(layer.output), config.storage, Role::Temporary);
                let slope = program.array(slope);
                let mut bound = vec![
                    read(X, passed.y),
                    write(Y, slope),
                    read(BIAS, weights),
                    write(BIAS_GRADIENT, distances),
                    read(OTHERS, targets[place]),
                ];
                bound.extend(gradient.map(|gradient| read(ADDEND, gradient)));
                let work = lpips_gradient(maps[place], layer.output.channels.div_ceil(4), gradient.is_some());
                program.dispatch(&layer.name, work, &bound)?;
                program.end_step(Pass::DISTANCE, index);
                gradient = Some(slope);
            }
            // Layers after the last compared one change nothing.
            let Some(after) = gradient else { continue };
            let below = Below { activation: activation_of(layers, &forward, passed.x), rule: BackwardRule::Derivative };
            let passed = (passed, training(index));
            gradient = Some(lower_input_gradient(&mut program, lowering, layer, passed, (after, below))?);
            program.end_step(Pass::BACKWARD, index);
        }
        reduce_maps(&mut program, distances, &maps, results)?;
        program.end_step(Pass::REDUCTION, layers.len() - 1);
        let preprocessing = lpips.preprocessing.whole(network.input());
        let gradient = gradient.unwrap_or(input);
        let forward = 0..end_of_forward;
        Ok(Self { program, network, preprocessing, input, gradient, results, maps, forward, keeps })
    }

    /// The steps that keep the features of a target.
    pub fn target_steps(&self) -> impl Iterator<Item = usize> {
        self.forward.clone()
    }

    /// The steps of a picture.
    pub fn steps(&self) -> impl Iterator<Item = usize> {
        (0..self.program.steps.len()).filter(|step| !self.keeps.contains(step))
    }

    /// The input of samples from 0 to 1 (CHW), as the array has it.
    pub fn lay_out(&self, samples: &[f32]) -> Vec<f32> {
        let plane = samples.len() / 3;
        let [mean, std] = [self.preprocessing.mean, self.preprocessing.std];
        let input: Vec<f32> = samples.iter().enumerate().map(|(i, v)| (v - mean[i / plane]) / std[i / plane]).collect();
        lay_out(&self.program, self.input, None, self.network.input(), &input)
    }

    /// The results and the gradient as they are read.
    pub fn slope(&self, results: &[f32], gradient: &[f32]) -> LpipsSlope {
        let layers = layer_means(&self.maps, results.as_chunks().0);
        let mut gradient = to_chw(gradient, self.network.input(), 1);
        let plane = gradient.len() / 3;
        let std = self.preprocessing.std;
        gradient.iter_mut().enumerate().for_each(|(i, slope)| *slope /= std[i / plane]);
        LpipsSlope { lpips: layers.iter().sum::<f64>() as f32, layers: layers.map(|layer| layer as f32), gradient }
    }
}

impl LpipsGradient {
    /// Loads LPIPS onto `gpu` for pictures of the target's size, and computes the target's features.
    ///
    /// # Errors
    ///
    /// [`CompareError::TooSmall`] for a target with a side of less than 31 pixels, and errors of a device that cannot do it. A
    /// picture is computed as a whole: a large one may not fit the device's memory.
    pub fn new(gpu: &Gpu, lpips: &Lpips, target: &Picture) -> Result<Self, CompareError> {
        let size = size_of([target.width(), target.height()])?;
        let config = avoid::backward_config(gpu, None)?;
        Self::with_config(gpu, lpips, target, size, config)
    }

    fn with_config(
        gpu: &Gpu,
        lpips: &Lpips,
        target: &Picture,
        size: [usize; 2],
        config: KernelConfig,
    ) -> Result<Self, CompareError> {
        let limit = Memory::limit(gpu.device(), config.storage);
        let program = LpipsGradientProgram::lower(lpips, size, config, limit)?;
        requirements::check_program(gpu, &program.program, config)?;
        let scopes = Scopes::push(gpu.device());
        let executable = Executable::load(gpu, &program.program, &lpips.weights, gpu.checks(), None, || ())?;
        if let Some(error) = scopes.pop_now() {
            return Err(PipelineError::from(error).into());
        }
        let gradient = Self { gpu: gpu.clone(), program, executable };
        gradient.write(&samples(target), gradient.program.target_steps())?;
        Ok(gradient)
    }

    /// Returns the rows and columns of the pictures.
    pub fn size(&self) -> [usize; 2] {
        let Shape { height, width, .. } = self.program.network.input();
        [height, width]
    }

    /// Computes LPIPS and its gradient for a picture of the target's size: samples from 0 to 1, 3 × rows × columns. Other values
    /// are taken as they are.
    ///
    /// # Errors
    ///
    /// [`RunError::Input`] for another number of samples, and errors of the device.
    pub async fn run(&self, picture: &[f32]) -> Result<LpipsSlope, RunError> {
        self.run_on(picture, Poller::Thread).await
    }

    /// Blocking form of [`LpipsGradient::run`].
    ///
    /// # Errors
    ///
    /// As [`LpipsGradient::run`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn run_blocking(&self, picture: &[f32]) -> Result<LpipsSlope, RunError> {
        pollster::block_on(self.run_on(picture, Poller::Caller))
    }

    async fn run_on(&self, picture: &[f32], poller: Poller) -> Result<LpipsSlope, RunError> {
        let LpipsGradientProgram { results, gradient, .. } = self.program;
        let expected = self.program.network.input().len();
        if picture.len() != expected {
            return Err(RunError::Input { expected, found: picture.len() });
        }
        let reading = readback::submit(&self.gpu, |encoder| {
            self.record(encoder, picture, self.program.steps())?;
            let program = (&self.executable, &self.program.program);
            Ok([results, gradient].map(|array| readback::copy(&self.gpu, encoder, program, array)).to_vec())
        });
        let mut numbers = readback::read::<f32>(&self.gpu, reading.await?, poller).await?;
        let gradient = numbers.pop().unwrap_or_default();
        Ok(self.program.slope(&numbers.pop().unwrap_or_default(), &gradient))
    }

    /// Submits steps on a picture.
    fn write(&self, picture: &[f32], steps: impl Iterator<Item = usize>) -> Result<(), CompareError> {
        let scopes = Scopes::push(self.gpu.device());
        let mut encoder = self.gpu.device().create_command_encoder(&Default::default());
        self.record(&mut encoder, picture, steps)?;
        self.gpu.queue().submit([encoder.finish()]);
        match scopes.pop_now() {
            Some(error) => Err(PipelineError::from(error).into()),
            None => Ok(()),
        }
    }

    fn record(
        &self,
        encoder: &mut wgpu::CommandEncoder,
        picture: &[f32],
        steps: impl Iterator<Item = usize>,
    ) -> Result<(), RunError> {
        let memory = self.executable.memory(self.program.input);
        let staged = memory.copy_from(self.gpu.device(), encoder, &self.program.lay_out(picture));
        staged.ok_or_else(|| RunError::Device("there is no buffer for the picture".into()))?;
        self.executable.encode(encoder, steps, None);
        Ok(())
    }
}

/// The samples of a picture from 0 to 1, channel by channel.
fn samples(picture: &Picture) -> Vec<f32> {
    let channel =
        |channel: usize| picture.rgb().iter().skip(channel).step_by(3).map(|&sample| f32::from(sample) / 255.0);
    (0..3).flat_map(channel).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use super::*;
    use crate::{compare::reference, kernels::Family, reference::relative_error, weights::splitmix};

    fn picture(seed: u64, [height, width]: [usize; 2]) -> Picture {
        let samples = splitmix::uniform(seed, 3 * height * width, 127.0);
        Picture::from_rgb8(width as u32, height as u32, samples.iter().map(|v| (128.0 + v) as u8).collect()).unwrap()
    }

    /// The twin against differences of LPIPS.
    #[test]
    fn the_twin_is_the_slope_of_lpips() {
        let (lpips, size) = (Lpips::random(3), [31, 36]);
        let [a, b] = [1, 2].map(|seed| samples(&picture(seed, size)).into_iter().map(f64::from).collect::<Vec<f64>>());
        let (value, gradient) = reference::gradient(&lpips, size, &a, &b).unwrap();
        let expected = reference(&lpips, &picture(1, size), &picture(2, size)).unwrap();
        assert!((value - expected.lpips).abs() < 1e-6, "{value}, {}", expected.lpips);
        let norm = gradient.iter().map(|v| v * v).sum::<f64>().sqrt();
        for at in [0, 700, 1500, 3 * 31 * 36 - 1] {
            let moved = |by: f64| {
                let mut a = a.clone();
                a[at] += by;
                reference::gradient(&lpips, size, &a, &b).unwrap().0
            };
            let slope = (moved(1e-6) - moved(-1e-6)) / 2e-6;
            assert!((slope - gradient[at]).abs() < 1e-5 * norm, "{at}: {slope} for {}", gradient[at]);
        }
    }

    /// Every kernel configuration against the twin.
    #[test]
    fn gradients_are_those_of_the_twin() {
        let gpu = Gpu::for_tests();
        let lpips = Lpips::random(4);
        for size in [[31, 45], [52, 40]] {
            let [target, b] = [3, 4].map(|seed| picture(seed, size));
            let own = samples(&b);
            let wide = |samples: &[f32]| samples.iter().map(|&v| f64::from(v)).collect::<Vec<f64>>();
            let (value, expected) = reference::gradient(&lpips, size, &wide(&own), &wide(&samples(&target))).unwrap();
            for config in gpu.kernel_configs() {
                if config.family == (Family::SubgroupBroadcast { lanes: 4 }) {
                    continue;
                }
                let gradient = LpipsGradient::with_config(&gpu, &lpips, &target, size, config).unwrap();
                let found = gradient.run_blocking(&own).unwrap();
                assert!((f64::from(found.lpips) - value).abs() < 1e-5, "{config:?}: {} for {value}", found.lpips);
                let error = relative_error(&found.gradient, &expected);
                assert!(error <= 1e-5, "{config:?}: {error:e}");
                assert_eq!(gradient.run_blocking(&own).unwrap(), found, "{config:?}");
                // At the target there is no slope.
                let at_target = gradient.run_blocking(&samples(&target)).unwrap();
                assert_eq!(at_target.lpips, 0.0, "{config:?}");
                assert!(at_target.gradient.iter().all(|&slope| slope == 0.0), "{config:?}");
            }
        }
    }

    #[test]
    fn sizes_are_checked() {
        let gpu = Gpu::for_tests();
        let lpips = Lpips::random(4);
        let small = LpipsGradient::new(&gpu, &lpips, &picture(1, [30, 40]));
        assert!(matches!(small, Err(CompareError::TooSmall { .. })), "{small:?}");
        let gradient = LpipsGradient::new(&gpu, &lpips, &picture(1, [31, 40])).unwrap();
        assert_eq!(gradient.size(), [31, 40]);
        let other = gradient.run_blocking(&[0.0; 5]);
        assert!(matches!(other, Err(RunError::Input { found: 5, .. })), "{other:?}");
    }
}
