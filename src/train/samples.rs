//! Small networks, weights and images for tests of training.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use super::{Init, initial_weights, without_softmax};
use crate::{
    activation::Activation,
    kernels::Algorithm,
    layers::{AvgPool, BatchNorm, Conv, Linear, LocalResponseNorm, MaxPool},
    network::Network,
    shape::Shape,
    weights::{Tensor, Weights, splitmix},
    window::{Padding, Window},
};

/// Every layer that has a backward pass, with odd shapes, groups, and channels that are no multiple of four.
pub fn networks() -> Vec<Network> {
    let alexnet = Network::builder("small AlexNet", Shape::new(3, 35, 31))
        .conv("conv1", Conv::new(8, 7).stride(4).padding(2).relu())
        .local_response_norm("norm1", LocalResponseNorm { alpha: 0.3, ..LocalResponseNorm::PAPER })
        .max_pool("pool1", MaxPool::new(3, 2))
        .conv("conv2", Conv::new(12, 3).padding(1).groups(2).relu())
        .linear("fc3", Linear::new(10).relu())
        .dropout("drop3")
        .linear("fc4", Linear::new(5))
        .softmax("prob");
    let odd = Network::builder("odd", Shape::new(5, 9, 11))
        .conv("conv1", Conv::new(6, 3).padding(1).activation(Activation::Tanh))
        .avg_pool("pool1", AvgPool::new(3, 2).padding(1))
        .conv("conv2", Conv::new(9, 2).groups(3).activation(Activation::Sigmoid))
        .batch_norm("norm2", BatchNorm::new(1e-5).activation(Activation::LeakyRelu { slope: 0.1 }))
        .adaptive_avg_pool("pool2", 2, 3)
        .linear("fc3", Linear::new(7).activation(Activation::Elu { alpha: 1.0 }))
        .linear("fc4", Linear::new(3));
    let strided = Network::builder("strided", Shape::new(4, 12, 10))
        .conv("conv1", Conv::new(7, 1).activation(Activation::Selu))
        .conv("conv2", Conv::new(6, 3).stride(2).padding(1).activation(Activation::Relu6))
        .conv("conv3", Conv::new(40, 2).window(Window { dilation: [2, 1], ..Window::square(2, 1) }).relu())
        .max_pool("pool3", MaxPool::new(2, 1))
        .local_response_norm("norm3", LocalResponseNorm { size: 4, beta: 0.6, ..LocalResponseNorm::TORCH_PAPER })
        .linear("fc4", Linear::new(2));
    // All positions of kernels are adjacent, as Winograd's algorithm needs.
    let adjacent = Network::builder("adjacent", Shape::new(6, 9, 11))
        .conv("conv1", Conv::new(8, 3).padding(1).activation(Activation::Tanh))
        .conv("conv2", Conv::new(64, 5).padding(Padding { top: 1, left: 2, bottom: 3, right: 4 }).groups(2).relu())
        .max_pool("pool2", MaxPool::new(2, 2))
        .conv("conv3", Conv::new(37, 3).padding(1).activation(Activation::Sigmoid))
        .conv("conv4", Conv::new(10, 2).relu())
        .linear("fc5", Linear::new(3));
    [alexnet, odd, strided, adjacent].into_iter().map(|builder| builder.build().unwrap()).collect()
}

/// The algorithms by which the network's convolutions can be trained.
pub fn algorithms(network: &Network) -> Vec<Algorithm> {
    let winograd = (network.name() == "adjacent").then_some(Algorithm::Winograd { tile: 4 });
    [Algorithm::Direct].into_iter().chain(winograd).collect()
}

/// Weights whose activations neither vanish nor grow.
pub fn weights(network: &Network) -> Weights {
    let mut weights = initial_weights(network, Init::He, 3);
    for (index, (name, tensor)) in weights.clone().iter().enumerate() {
        if tensor.shape().len() == 1 {
            let len = tensor.shape()[0];
            let values = splitmix::uniform(index as u64, len, 0.4);
            let values = if name.ends_with("var") { values.iter().map(|v| v + 0.7).collect() } else { values };
            weights.insert(name, Tensor::from_f32([len], values));
        }
    }
    weights
}

pub fn images(network: &Network, count: usize) -> (Vec<f32>, Vec<usize>) {
    let classes = without_softmax(network).last().unwrap().output.len();
    (splitmix::uniform(11, count * network.input().len(), 1.0), (0..count).map(|i| (i * 7 + 1) % classes).collect())
}
