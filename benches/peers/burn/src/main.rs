//! burn with its wgpu backend as a worker of measure.py: `peer-burn FOLDER BATCH`.

#[path = "../../protocol.rs"]
mod protocol;

use std::time::Instant;

use burn::tensor::{
    Device, DeviceKind, Tensor, TensorData,
    activation::{relu, softmax},
    module::{conv2d, linear, max_pool2d},
    ops::{ConvOptions, MaxPoolOptions},
};

/// Outputs, inputs, kernel, stride, padding, whether a pooling layer follows: CONVS of model.py.
const CONVS: [(usize, usize, usize, usize, usize, bool); 5] = [
    (96, 3, 11, 4, 0, true),
    (256, 96, 5, 1, 2, true),
    (384, 256, 3, 1, 1, false),
    (384, 384, 3, 1, 1, false),
    (256, 384, 3, 1, 1, true),
];

/// Outputs, inputs: LINEARS of model.py.
const LINEARS: [(usize, usize); 3] = [(4096, 9216), (4096, 4096), (1000, 4096)];

/// Columns of a weight at most: fc6's 151 MB are more than WebGPU's default binding, so that it becomes two.
const MOST_COLUMNS: usize = 2048;

struct Model {
    convs: Vec<(Tensor<4>, Tensor<1>)>,
    /// Parts of each layer, inputs × outputs as burn wants them.
    linears: Vec<Vec<(Tensor<2>, Tensor<1>)>>,
}

impl Model {
    fn new(mut numbers: &[f32], device: &Device) -> Self {
        let mut take = |count: usize| {
            let (taken, rest) = numbers.split_at(count);
            numbers = rest;
            taken
        };
        let vector = |values: &[f32]| Tensor::from_data(TensorData::new(values.to_vec(), [values.len()]), device);
        let convs = CONVS.map(|(outputs, inputs, kernel, ..)| {
            let weight = take(outputs * inputs * kernel * kernel).to_vec();
            let weight = TensorData::new(weight, [outputs, inputs, kernel, kernel]);
            (Tensor::from_data(weight, device), vector(take(outputs)))
        });
        let linears = LINEARS.map(|(outputs, inputs)| {
            let (weight, bias) = (take(outputs * inputs), take(outputs));
            // Only fc6 is too large.
            let columns = if outputs * inputs * 4 > 128 << 20 { MOST_COLUMNS } else { outputs };
            let part = |first: usize| {
                let values = (0..inputs).flat_map(|i| (0..columns).map(move |o| weight[(first + o) * inputs + i]));
                let data = TensorData::new(values.collect::<Vec<f32>>(), [inputs, columns]);
                (Tensor::from_data(data, device), vector(&bias[first..first + columns]))
            };
            (0..outputs).step_by(columns).map(part).collect()
        });
        Self { convs: convs.into(), linears: linears.into() }
    }

    fn forward(&self, pictures: Tensor<4>) -> Tensor<2> {
        let mut x = pictures;
        for ((weight, bias), (.., stride, padding, pool)) in self.convs.iter().zip(CONVS) {
            let options = ConvOptions::new([stride; 2], [padding; 2], [1; 2], 1);
            x = relu(conv2d(x, weight.clone(), Some(bias.clone()), options));
            if pool {
                x = max_pool2d(x, MaxPoolOptions::new([3; 2]).with_stride([2; 2]));
            }
        }
        let mut x: Tensor<2> = x.flatten(1, 3);
        for (layer, parts) in self.linears.iter().enumerate() {
            let outputs = parts.iter().map(|(w, b)| linear(x.clone(), w.clone(), Some(b.clone()))).collect();
            x = Tensor::cat(outputs, 1);
            if layer < 2 {
                x = relu(x);
            }
        }
        softmax(x, 1)
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, folder, batch] = arguments.as_slice() else { panic!("expected a folder and a batch") };
    let batch: usize = batch.parse().expect("expected a number of pictures");
    let pictures = protocol::read_f32s(&format!("{folder}/input.bin"));
    let weights = protocol::read_f32s(&format!("{folder}/weights.bin"));
    let start = Instant::now();
    let device = Device::wgpu(DeviceKind::DefaultDevice);
    let model = Model::new(&weights, &device);
    drop(weights);
    let run = || {
        let input = Tensor::from_data(TensorData::new(pictures.clone(), [batch, 3, 227, 227]), &device);
        model.forward(input).try_into_vec_as().expect("no result")
    };
    protocol::serve("burn 0.22.1, wgpu", None, start, run);
}
