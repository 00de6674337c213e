//! Programs with the bytes of their arrays, for runners of shaders other than wgpu: a CPU (metal.rs) and Dawn (dawn.rs).

use crate::{
    doctor::{Case, KernelVariant},
    kernels::{Kernel, KernelConfig, Precision, Storage},
    lower::Inference,
    network::Network,
    program::{Algorithms, ArrayId, Options, Role, Sink},
    runtime::{TopEntry, to_chw},
    weights::Weights,
};

/// The largest binding that every WebGPU device supports, in vec4s.
pub(super) const LIMIT: u64 = (128 << 20) / 16;

/// A network's program, and the bytes of its arrays.
pub(super) struct Job {
    network: Network,
    batch: usize,
    pub inference: Inference,
    pub bytes: Vec<Vec<u8>>,
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
        let batch = options.batch;
        let inference = Inference::lower(network, options).unwrap();
        // NaN until it is written.
        let mut bytes: Vec<Vec<u8>> =
            inference.program.arrays.iter().map(|array| vec![0xff; array.bytes as usize]).collect();
        bytes[inference.input.0] = bytemuck::cast_slice(&inference.lay_out(network.input(), input)).to_vec();
        let mut fill = Fill { bytes: &mut bytes, array: 0 };
        for parameter in &inference.program.parameters {
            parameter.pack(weights, &mut fill).unwrap();
        }
        for (array, bytes) in inference.program.arrays.iter().zip(&bytes) {
            assert_eq!(array.bytes, bytes.len() as u64, "{array:?}");
        }
        Self { network: network.clone(), batch, inference, bytes }
    }

    /// The precision of an array's texels, where it is a texture.
    pub fn texture(&self, array: ArrayId) -> Option<Precision> {
        let array = self.inference.program.get(array);
        (array.storage != Storage::StorageBuffer).then_some(array.precision)
    }

    /// The kernels of all dispatches.
    pub fn kernels(&self) -> impl Iterator<Item = &Kernel> {
        self.inference.program.dispatches.iter().map(|dispatch| &dispatch.kernel)
    }

    /// The arrays that are read after the run.
    pub fn results(&self) -> Vec<usize> {
        let layers = self.inference.layers.iter().map(|layer| layer.array.0);
        let outputs = self.inference.program.arrays.iter().enumerate().filter(|(_, array)| array.role == Role::Output);
        let mut results: Vec<usize> = layers.chain(outputs.map(|(index, _)| index)).collect();
        results.dedup();
        results
    }

    /// The output of a layer; NaN where it has not run.
    pub fn output(&self, layer: usize) -> Vec<f32> {
        let y: Vec<f32> = bytemuck::pod_collect_to_vec(&self.bytes[self.inference.layers[layer].array.0]);
        to_chw(&y, self.network.layers()[layer].output, self.batch)
    }

    /// The classes of the largest outputs.
    pub fn top(&self) -> Vec<usize> {
        let (top, _) = self.inference.top.unwrap();
        let entries: Vec<TopEntry> = bytemuck::pod_collect_to_vec(&self.bytes[top.0]);
        entries.iter().map(|entry| entry.index as usize).collect()
    }
}
