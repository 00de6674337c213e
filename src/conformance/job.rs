//! Programs with the bytes of their arrays, for runners of shaders other than wgpu: a CPU (metal.rs) and Dawn (dawn.rs).

use crate::{
    compare::{Lpips, PairProgram},
    doctor::{Case, KernelVariant},
    explain::GradientProgram,
    kernels::{Kernel, KernelConfig, Precision, Storage},
    lower::Inference,
    network::Network,
    picture::Picture,
    program::{Algorithms, ArrayId, Options, Program, Role, Sink},
    runtime::{TopEntry, to_chw},
    shape::Shape,
    train::TrainingProgram,
    weights::Weights,
};

/// The largest binding that every WebGPU device supports, in vec4s.
pub(super) const LIMIT: u64 = (128 << 20) / 16;

/// A program, and the bytes of its arrays.
pub(super) struct Job {
    pub program: Program,
    pub bytes: Vec<Vec<u8>>,
    /// The arrays that are read after the run.
    pub results: Vec<usize>,
    /// Of a network: the arrays and shapes of its layers' outputs, for a batch.
    layers: Vec<(ArrayId, Shape)>,
    batch: usize,
    /// The array of the largest outputs.
    top: Option<ArrayId>,
}

/// Fills arrays from their start.
struct Fill<'a> {
    bytes: &'a mut Vec<Vec<u8>>,
    array: usize,
}

impl Sink for Fill<'_> {
    fn begin(&mut self, array: ArrayId) {
        self.array = array.0;
        self.bytes[array.0].clear();
    }

    fn push(&mut self, bytes: &[u8]) {
        self.bytes[self.array].extend_from_slice(bytes);
    }
}

impl Job {
    /// The kernels of `variant` on the case's input.
    pub fn of_case(case: &Case, variant: KernelVariant) -> Self {
        let KernelVariant { config, algorithm, precision, batch } = variant;
        let algorithms = Algorithms::from([(case.network.name().to_string(), algorithm)]);
        let options = Options { config, batch, precision, algorithms: &algorithms, limit: LIMIT, top: 0 };
        Self::new(&case.network, case.weights(precision).unwrap(), &case.input(batch), options)
    }

    /// The whole network in f32 for one picture, with the default plan, and its `top` largest outputs.
    pub fn of_network(network: &Network, weights: &Weights, input: &[f32], config: KernelConfig, top: usize) -> Self {
        let (precision, algorithms) = (Precision::F32, &Algorithms::new());
        Self::new(network, weights, input, Options { config, batch: 1, precision, algorithms, limit: LIMIT, top })
    }

    fn new(network: &Network, weights: &Weights, input: &[f32], options: Options<'_>) -> Self {
        let inference = Inference::lower(network, options).unwrap();
        let laid_out = inference.lay_out(network.input(), input);
        let Inference { program, input, layers, top, .. } = inference;
        let bytes = bytes(&program, weights, input, &laid_out);
        let shapes = network.layers().iter().map(|layer| layer.output);
        let layers: Vec<_> = layers.iter().map(|layer| layer.array).zip(shapes).collect();
        let outputs = program.arrays.iter().enumerate().filter(|(_, array)| array.role == Role::Output);
        let mut results: Vec<usize> =
            layers.iter().map(|(array, _)| array.0).chain(outputs.map(|(index, _)| index)).collect();
        results.dedup();
        Self { program, bytes, results, layers, batch: options.batch, top: top.map(|(array, _)| array) }
    }

    /// A comparison of two pictures, in one tile.
    pub fn of_pair(pair: &PairProgram, lpips: &Lpips, pictures: [&Picture; 2]) -> Self {
        let chw: Vec<f32> = pictures.iter().flat_map(|picture| pair.preprocessing.apply(picture).unwrap()).collect();
        let mut laid_out = vec![0.0; 4 * pair.program.get(pair.input).len() as usize];
        let each = laid_out.len() / 2;
        for (picture, out) in chw.chunks_exact(chw.len() / 2).zip(laid_out.chunks_exact_mut(each)) {
            pair.layout.write(picture, out);
        }
        let program = pair.program.clone();
        let mut bytes = bytes(&program, lpips.weights(), pair.input, &laid_out);
        // State is zero at first.
        bytes[pair.distances.0].fill(0);
        Self { program, bytes, results: vec![pair.results.0], layers: vec![], batch: 2, top: None }
    }

    /// A training step without dropout, whose gradients are kept.
    pub fn of_training(
        training: &TrainingProgram,
        network: &Network,
        weights: &Weights,
        inputs: &[f32],
        classes: &[usize],
    ) -> Self {
        let program = training.program.clone();
        let laid_out = training.lay_out(network.input(), inputs);
        let mut bytes = bytes(&program, weights, training.input, &laid_out);
        for (array, bytes) in program.arrays.iter().zip(&mut bytes) {
            // State is zero at first, and so is what differs from step to step.
            if array.role == Role::State {
                bytes.fill(0);
            }
        }
        bytes[training.step.0].fill(0);
        let rows: Vec<[f32; 4]> =
            classes.iter().map(|&class| [class as f32, 1.0 / classes.len() as f32, 0.0, 0.0]).collect();
        bytes[training.targets.0] = bytemuck::cast_slice(&rows).to_vec();
        let results = training.masters.iter().filter_map(|master| Some(master.gradient?.0)).collect();
        Self { program, bytes, results, layers: vec![], batch: classes.len(), top: None }
    }

    /// The gradient of a layer for as many images as its batch.
    pub fn of_gradient(gradient: &GradientProgram, weights: &Weights, inputs: &[f32], seeds: &[f32]) -> Self {
        let program = gradient.program.clone();
        let mut bytes = bytes(&program, weights, gradient.input.array, &gradient.lay_out(gradient.input, inputs));
        let seeds = gradient.lay_out(gradient.seed, seeds);
        bytes[gradient.seed.array.0] = bytemuck::cast_slice(&seeds).to_vec();
        let results = vec![gradient.gradient.array.0];
        Self { program, bytes, results, layers: vec![], batch: gradient.batch, top: None }
    }

    /// The precision of an array's texels, where it is a texture.
    pub fn texture(&self, array: ArrayId) -> Option<Precision> {
        let array = self.program.get(array);
        (array.storage != Storage::StorageBuffer).then_some(array.precision)
    }

    /// The kernels of all dispatches.
    pub fn kernels(&self) -> impl Iterator<Item = &Kernel> {
        self.program.dispatches.iter().map(|dispatch| &dispatch.kernel)
    }

    /// The output of a layer; NaN where it has not run.
    pub fn output(&self, layer: usize) -> Vec<f32> {
        let (array, shape) = self.layers[layer];
        to_chw(&self.read(array), shape, self.batch)
    }

    /// The classes of the largest outputs.
    pub fn top(&self) -> Vec<usize> {
        let entries: Vec<TopEntry> = bytemuck::pod_collect_to_vec(&self.bytes[self.top.unwrap().0]);
        entries.iter().map(|entry| entry.index as usize).collect()
    }

    /// The values of an array.
    pub fn read(&self, array: ArrayId) -> Vec<f32> {
        bytemuck::pod_collect_to_vec(&self.bytes[array.0])
    }
}

/// The arrays' bytes before a run: NaN until they are written, but for the input and the parameters.
fn bytes(program: &Program, weights: &Weights, input: ArrayId, laid_out: &[f32]) -> Vec<Vec<u8>> {
    let mut bytes: Vec<Vec<u8>> = program.arrays.iter().map(|array| vec![0xff; array.bytes as usize]).collect();
    bytes[input.0] = bytemuck::cast_slice(laid_out).to_vec();
    let mut fill = Fill { bytes: &mut bytes, array: 0 };
    for parameter in &program.parameters {
        parameter.pack(weights, &mut fill).unwrap();
    }
    for (array, bytes) in program.arrays.iter().zip(&bytes) {
        assert_eq!(array.bytes, bytes.len() as u64, "{array:?}");
    }
    bytes
}
