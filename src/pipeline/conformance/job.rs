//! What the pipeline would have a device do, as data: for those that run shaders without wgpu, a processor (metal.rs) and
//! Dawn (dawn.rs).

use std::{collections::BTreeMap, sync::mpsc};

use wgpu::util::DownloadBuffer;

use crate::{
    doctor::{Case, Variant},
    gpu::Gpu,
    kernels::{self, Dispatch, Kernel, Place, Precision, Storage, Style, activation_quads},
    network::Network,
    pipeline::{
        Algorithms, Entry, from_chw,
        memory::Memory,
        plan::{Parameters, Plan, rows_layout},
        to_chw,
    },
    weights::Weights,
};

/// The most vec4s of one binding that every WebGPU device has.
const LIMIT: u64 = (128 << 20) / 16;

/// The bytes of a buffer or a texture.
pub(super) struct Array {
    pub bytes: Vec<u8>,
    /// What its texels hold, where it is a texture.
    pub texture: Option<Precision>,
}

/// One dispatch, and the array in each binding.
pub(super) struct Bound {
    pub kernel: Kernel,
    pub bindings: BTreeMap<u32, usize>,
    pub workgroups: [u32; 3],
}

/// Arrays, and dispatches that read and write them one after the other.
pub(super) struct Job {
    network: Network,
    batch: usize,
    pub arrays: Vec<Array>,
    pub dispatches: Vec<Bound>,
    /// Where each layer's output is.
    layers: Vec<usize>,
    /// Where the largest outputs are.
    top: Option<usize>,
}

impl Job {
    /// The kernels that `variant` is, on the case's input.
    pub fn of_case(gpu: &Gpu, case: &Case, variant: Variant) -> Self {
        let Variant { style, algorithm, precision, batch } = variant;
        let (network, input) = (&case.network, case.input(batch));
        let algorithms = Algorithms::from([(network.name().to_string(), algorithm)]);
        let plans = Plan::all(network, &algorithms, batch, style, precision, LIMIT).unwrap();
        Self::new(gpu, network, case.weights(precision).unwrap(), &input, batch, (plans, style.storage))
    }

    /// The whole network in f32 for one picture, as it is planned where nobody chose algorithms, and its `k` largest outputs.
    pub fn of_network(gpu: &Gpu, network: &Network, weights: &Weights, input: &[f32], style: Style, k: usize) -> Self {
        let plans = Plan::all(network, &Algorithms::new(), 1, style, Precision::F32, LIMIT).unwrap();
        let mut job = Self::new(gpu, network, weights, input, 1, (plans, style.storage));
        let x = *job.layers.last().unwrap();
        let top = job.array(vec![0xff; k * size_of::<Entry>()], None);
        let dispatch = kernels::top_k(k, network.output().len(), 1, style.storage);
        job.dispatch(dispatch, BTreeMap::from([(0, x), (1, top)]));
        job.top = Some(top);
        job
    }

    /// What the plans have a device do with `batch` pictures. Weights are packed and quantised on `gpu`, which computes nothing.
    fn new(
        gpu: &Gpu,
        network: &Network,
        weights: &Weights,
        input: &[f32],
        batch: usize,
        (plans, storage): (Vec<Plan>, Storage),
    ) -> Self {
        let mut job =
            Self { network: network.clone(), batch, arrays: vec![], dispatches: vec![], layers: vec![], top: None };
        let texture = |s| (s != Storage::Buffer).then_some(Precision::F32);
        let (activation, between) = (texture(storage), storage.of_scratch().map(texture));

        let layout = rows_layout(network);
        let quads = layout.map_or(activation_quads(network.input()), |l| l.quads());
        let mut x = vec![0.0; 4 * quads * batch];
        for (picture, x) in input.chunks_exact(network.input().len()).zip(x.chunks_exact_mut(4 * quads)) {
            match layout {
                Some(layout) => layout.write(picture, x),
                None => from_chw(picture, network.input(), x),
            }
        }
        let mut x = job.array(bytemuck::cast_slice(&x).to_vec(), activation);
        for (layer, plan) in network.layers().iter().zip(plans) {
            if !plan.dispatches.is_empty() {
                // In a texture they have the same bytes.
                let parameters = plan.upload(gpu, weights, Storage::Buffer, &mut |_| {}).unwrap();
                let mut parameters = parameters.map(|parameters| Kept { parameters, arrays: BTreeMap::new() });
                // NaN until it is written.
                let mut unwritten =
                    |quads, texture| job.array(bytemuck::cast_slice(&vec![f32::NAN; 4 * quads]).to_vec(), texture);
                let y = unwritten(activation_quads(layer.output) * batch, activation);
                let scratch = [0, 1].map(|i| unwritten(plan.scratch[i], between[i]));
                for dispatch in plan.dispatches {
                    let place = |place, outer| match place {
                        Place::Layer => outer,
                        Place::Scratch(i) => scratch[i],
                    };
                    let mut bindings = BTreeMap::from([(0, place(dispatch.reads, x)), (1, place(dispatch.writes, y))]);
                    if let Some(kept) = &mut parameters {
                        kept.bind(gpu, &dispatch, &mut job, &mut bindings);
                    }
                    job.dispatch(dispatch, bindings);
                }
                x = y;
            }
            job.layers.push(x);
        }
        job
    }

    fn array(&mut self, bytes: Vec<u8>, texture: Option<Precision>) -> usize {
        self.arrays.push(Array { bytes, texture });
        self.arrays.len() - 1
    }

    fn dispatch(&mut self, dispatch: Dispatch, mut bindings: BTreeMap<u32, usize>) {
        bindings.insert(2, self.array(dispatch.uniform, None));
        self.dispatches.push(Bound { kernel: dispatch.kernel, bindings, workgroups: dispatch.workgroups });
    }

    /// Those of all dispatches.
    pub fn kernels(&self) -> impl Iterator<Item = &Kernel> {
        self.dispatches.iter().map(|dispatch| &dispatch.kernel)
    }

    /// The arrays that somebody will look at once it has run.
    pub fn results(&self) -> Vec<usize> {
        let mut results = self.layers.clone();
        results.extend(self.top);
        results.dedup();
        results
    }

    /// What came out of a layer; NaN where it has not run.
    pub fn output(&self, layer: usize) -> Vec<f32> {
        let y: Vec<f32> = bytemuck::pod_collect_to_vec(&self.arrays[self.layers[layer]].bytes);
        to_chw(&y, self.network.layers()[layer].output, self.batch)
    }

    /// The classes of the largest outputs.
    pub fn top(&self) -> Vec<usize> {
        let entries: Vec<Entry> = self.top.map(|top| bytemuck::pod_collect_to_vec(&self.arrays[top].bytes)).unwrap();
        entries.iter().map(|entry| entry.index as usize).collect()
    }
}

/// A layer's parameters, each an array of the job once it is bound.
struct Kept {
    parameters: Parameters,
    arrays: BTreeMap<String, usize>,
}

impl Kept {
    /// Adds what of the parameters the dispatch reads.
    fn bind(&mut self, gpu: &Gpu, dispatch: &Dispatch, job: &mut Job, bindings: &mut BTreeMap<u32, usize>) {
        let Self { parameters, arrays } = self;
        let mut bind = |binding, key: String, buffer: &wgpu::Buffer, texture| {
            let array = arrays.entry(key).or_insert_with(|| job.array(bytes(gpu, buffer), texture));
            bindings.insert(binding, *array);
        };
        if let (Some(precision), Some(chunk)) = (dispatch.kernel.weights, dispatch.chunk) {
            let Memory::Buffer(weights) = &parameters.weights[chunk] else { panic!("weights in a texture") };
            let texture = dispatch.kernel.storage != Storage::Buffer;
            bind(3, format!("weights {chunk}"), weights, texture.then_some(precision));
            if let Some(scales) = &parameters.scales {
                bind(5, "scales".into(), scales, None);
            }
        }
        if let Some(kind) = dispatch.bias {
            bind(4, format!("bias {kind:?}"), &parameters.biases[&kind], None);
        }
    }
}

fn bytes(gpu: &Gpu, buffer: &wgpu::Buffer) -> Vec<u8> {
    let (send, receive) = mpsc::channel();
    DownloadBuffer::read_buffer(gpu.device(), gpu.queue(), &buffer.slice(..), move |bytes| {
        send.send(bytes.unwrap().to_vec()).unwrap();
    });
    gpu.device().poll(wgpu::PollType::wait_indefinitely()).unwrap();
    receive.recv().unwrap()
}
