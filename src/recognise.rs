//! Which AlexNet a file holds: from the names and shapes of its tensors, or from its graph.

use std::{cmp::Ordering, collections::BTreeMap};

use crate::{
    alexnet::{AlexNet, Variant},
    network::{Layer, MaxPool, Network, NetworkError, Op, Window},
    weights::{Tensor, Weights, WeightsError},
};

/// The layers of an AlexNet that learn, in order.
const LEARNT: [&str; 8] = ["conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7", "fc8"];

/// An AlexNet, its tensors under its own names, and what it was recognised by.
pub(crate) struct Recognised {
    pub network: Network,
    pub tensors: BTreeMap<String, Tensor>,
    pub why: String,
    /// What the file leaves open.
    pub doubt: Option<String>,
}

/// The AlexNet that a file of tensors holds; `variant` decides where the shapes leave it open.
///
/// The tensors may have any names (conv1 …, torchvision's `features.0` …, timm's `head.fc`): eight layers of
/// a `.weight` and a `.bias`, five of them convolutions in the order of their names, and three fully connected ones,
/// which may be written as convolutions that cover their whole input.
pub(crate) fn tensors(weights: &Weights, variant: Option<Variant>) -> Result<Recognised, WeightsError> {
    let unrecognised = WeightsError::Unrecognised;
    let layers = learnt_layers(weights).map_err(|e| explain(weights, e))?;
    let mut tensors = BTreeMap::new();
    let mut names = Vec::new();
    for ((name, [weight, bias]), learnt) in layers.iter().zip(LEARNT) {
        tensors.insert(format!("{learnt}.weight"), weight.clone());
        tensors.insert(format!("{learnt}.bias"), bias.clone());
        names.push(name.as_str());
    }

    let shape = |i: usize| layers[i].1[0].shape();
    let channels = [0, 1, 2, 3, 4].map(|i| shape(i)[0]);
    let [fc6, fc7, classes] = [5, 6, 7].map(|i| shape(i)[0]);
    let grouped = shape(1)[1] != channels[0];
    let which = if names == LEARNT { String::new() } else { format!(" ({} … {})", names[0], names[7]) };
    const OR_CAFFENET: &str = "the shapes of caffenet's tensors are the same, so name it if it is that";
    let doubt = (variant.is_none() && grouped).then(|| format!("taken for caffe; {OR_CAFFENET}"));
    let (variant, why) = match variant {
        Some(variant) => (variant, "named by the caller or the file".to_string()),
        None if grouped => (Variant::Caffe, format!("conv2{which} has two groups; {OR_CAFFENET}")),
        // torchvision's conv3 has six times the filters of its conv1, the others' four times; at small widths that
        // ratio survives rounding well enough to tell 4 from 6.
        None if channels[2] > channels[0].saturating_mul(5) => {
            (Variant::Torchvision, format!("conv3{which} has about six times the filters of conv1"))
        }
        None => (Variant::Ungrouped, format!("conv2{which} has one group, conv3 about four times conv1's filters")),
    };
    let alexnet = AlexNet { variant, channels, head: [fc6, fc7], classes };
    let network = alexnet.network().map_err(|e| unrecognised(e.to_string()))?;
    Ok(Recognised { network, tensors, why, doubt })
}

/// The weight and bias of the five convolutions and the three fully connected layers, in order, with their names.
fn learnt_layers(weights: &Weights) -> Result<Vec<(String, [Tensor; 2])>, WeightsError> {
    // Where every layer is there under its own name, whatever else is there is none.
    let own_names = LEARNT.map(|layer| [format!("{layer}.weight"), format!("{layer}.bias")]);
    let all_own = own_names.as_flattened().iter().all(|name| weights.tensors.contains_key(name));
    let mut convolutions = Vec::new();
    let mut connected = Vec::new();
    let mut without_bias = None;
    let mut unlike = None;
    for (name, weight) in &weights.tensors {
        let Some(layer) = name.strip_suffix(".weight") else { continue };
        if all_own && !LEARNT.contains(&layer) {
            continue;
        }
        let bias_name = format!("{layer}.bias");
        let Some(bias) = weights.tensors.get(&bias_name) else {
            without_bias.get_or_insert(bias_name);
            continue;
        };
        let bias = bias.clone().named_in_file(&bias_name);
        let weight = weight.clone().named_in_file(name);
        match *weight.shape() {
            // A fully connected layer may be written as the convolution that it is on its whole input.
            [rows, channels, 6, 6] | [rows, channels, 1, 1] => {
                let side = weight.shape()[2];
                let weight = weight.reshaped([rows, channels.saturating_mul(side * side)]);
                let weight = weight.ok_or_else(|| WeightsError::Unrecognised(format!("`{name}` is too large")))?;
                connected.push((layer.to_string(), [weight, bias]));
            }
            [_, _] => connected.push((layer.to_string(), [weight, bias])),
            [_, _, _, _] => convolutions.push((layer.to_string(), [weight, bias])),
            ref shape => {
                unlike.get_or_insert_with(|| {
                    let found = format!("`{name}` is {shape:?}, neither a convolution's nor a fully connected layer's");
                    WeightsError::Unrecognised(found)
                });
            }
        }
    }
    if convolutions.len() != 5 || connected.len() != 3 {
        // What is nearest to a name is found by comparing it with all: once.
        let without_bias = without_bias.and_then(|name| weights.tensor(&name).err());
        return Err(without_bias.or(unlike).unwrap_or_else(|| {
            WeightsError::Unrecognised(format!(
                "an AlexNet has 5 convolutions and 3 fully connected layers, each a weight and a bias, and nothing else; \
                 found {} and {} in {} tensors ({})",
                convolutions.len(),
                connected.len(),
                weights.tensors.len(),
                some_names(weights),
            ))
        }));
    }
    let is_learnt = |name: &String| {
        let layer = name.strip_suffix(".weight").or(name.strip_suffix(".bias"));
        layer.is_some_and(|layer| convolutions.iter().chain(&connected).any(|(learnt, _)| learnt == layer))
    };
    let extra = weights.tensors.keys().filter(|name| !is_learnt(name)).cloned();
    if let Some(error) = WeightsError::extra(extra, "AlexNet") {
        return Err(error);
    }
    let by_name = |a: &(String, _), b: &(String, _)| natural_order(&a.0, &b.0);
    convolutions.sort_by(by_name);
    connected.sort_by(by_name);
    // Heads have names of many kinds, so that their order is that in which one's outputs are the next one's inputs.
    const ORDERS: [[usize; 3]; 6] = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];
    let chained = |order: &[usize; 3]| {
        let [a, b, c] = order.map(|i| connected[i].1[0].shape());
        a[1].is_multiple_of(convolutions[4].1[0].shape()[0].max(1)) && b[1] == a[0] && c[1] == b[0]
    };
    let order = ORDERS.iter().find(|order| chained(order)).unwrap_or(&ORDERS[0]);
    convolutions.extend(order.map(|i| connected[i].clone()));
    Ok(convolutions)
}

/// What is wrong with tensors that are no AlexNet's, where some have an AlexNet's names: which one is missing.
fn explain(weights: &Weights, error: WeightsError) -> WeightsError {
    let names = LEARNT.iter().flat_map(|layer| [format!("{layer}.weight"), format!("{layer}.bias")]);
    let (there, missing): (Vec<String>, Vec<String>) = names.partition(|name| weights.tensors.contains_key(name));
    match missing.first().map(|name| weights.tensor(name)) {
        Some(Err(missing)) if !there.is_empty() => missing,
        _ => error,
    }
}

fn some_names(weights: &Weights) -> String {
    let names: Vec<&str> = weights.tensors.keys().take(4).map(String::as_str).collect();
    let more = if weights.tensors.len() > names.len() { ", …" } else { "" };
    names.join(", ") + more
}

/// Orders names as people do: numbers in them by value, so that `features.10` is after `features.3`.
fn natural_order(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a, b);
    loop {
        let digits = |s: &str| s.len() - s.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (da, db) = (digits(a), digits(b));
        if da > 0 && db > 0 {
            let (na, nb) = (a[..da].trim_start_matches('0'), b[..db].trim_start_matches('0'));
            let order = na.len().cmp(&nb.len()).then_with(|| na.cmp(nb));
            if order != Ordering::Equal {
                return order;
            }
            (a, b) = (&a[da..], &b[db..]);
            continue;
        }
        let (mut ca, mut cb) = (a.chars(), b.chars());
        match (ca.next(), cb.next()) {
            (Some(x), Some(y)) if x == y => (a, b) = (ca.as_str(), cb.as_str()),
            (x, y) => return x.cmp(&y),
        }
    }
}

impl Network {
    /// The AlexNet that this network is, whatever its layers are called: the same convolutions, poolings,
    /// normalisations and fully connected layers in the same order. The size of the input and the padding of the
    /// poolings may differ (the ONNX model zoo's AlexNet takes 224×224 and pads its poolings); dropout, the final
    /// softmax and an adaptive average pooling that changes nothing need not be there.
    pub fn alexnet(&self) -> Option<AlexNet> {
        let mut channels = Vec::new();
        let mut outputs = Vec::new();
        for layer in self.layers() {
            match layer.op {
                Op::Conv(conv) => channels.push(conv.out_channels),
                Op::Linear(linear) => outputs.push(linear.out_features),
                _ => {}
            }
        }
        let (channels, [fc6, fc7, classes]) = (channels.try_into().ok()?, outputs.try_into().ok()?);
        let found = essence(self);
        Variant::ALL.into_iter().find_map(|variant| {
            let alexnet = AlexNet { variant, channels, head: [fc6, fc7], classes };
            let network = alexnet.network().ok()?;
            (essence(&network) == found).then_some(alexnet)
        })
    }
}

/// What a network computes, apart from sizes that its input decides.
fn essence(network: &Network) -> Vec<Op> {
    let ops = network.layers().iter().filter_map(|layer: &Layer| match layer.op {
        Op::Dropout | Op::Softmax => None,
        Op::AdaptiveAvgPool(_) if layer.input == layer.output => None,
        Op::MaxPool(pool) => Some(Op::MaxPool(MaxPool { window: Window { padding: 0.into(), ..pool.window } })),
        op => Some(op),
    });
    ops.collect()
}

/// A network that is an AlexNet, under an AlexNet's name and its layers' names.
pub(crate) fn graph(network: &Network, tensors: &BTreeMap<String, Tensor>) -> Result<Option<Recognised>, NetworkError> {
    let Some(AlexNet { variant, .. }) = network.alexnet() else { return Ok(None) };
    let mut learnt = LEARNT.iter();
    let mut number = 0;
    let mut layers = Vec::new();
    let mut renamed = BTreeMap::new();
    for layer in network.layers() {
        let name = match layer.op {
            Op::Conv(_) | Op::Linear(_) => {
                number += 1;
                learnt.next().map_or_else(|| layer.name.clone(), |name| (*name).into())
            }
            Op::MaxPool(_) => format!("pool{number}"),
            Op::LocalResponseNorm(_) => format!("norm{number}"),
            Op::Dropout => format!("drop{number}"),
            Op::AdaptiveAvgPool(_) => "avgpool".into(),
            Op::Softmax => "prob".into(),
        };
        // Two of a kind between the same layers.
        let taken = |name: &str| layers.iter().any(|(other, _): &(String, Op)| other == name);
        let another = || (2..).map(|n| format!("{name}_{n}")).find(|name| !taken(name)).unwrap_or_default();
        let name = if taken(&name) { another() } else { name };
        for kind in ["weight", "bias"] {
            if let Some(tensor) = tensors.get(&format!("{}.{kind}", layer.name)) {
                let in_file = format!("{}.{kind}", layer.name);
                renamed.insert(format!("{name}.{kind}"), tensor.clone().named_in_file(&in_file));
            }
        }
        layers.push((name, layer.op));
    }
    let network = Network::new(variant.name(), network.input(), layers)?;
    let why = format!("the file's layers are those of {variant}");
    Ok(Some(Recognised { network, tensors: renamed, why, doubt: None }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_ordered_by_their_numbers() {
        let mut names = vec!["features.10", "features.3", "features.03b", "features.0", "conv10", "conv9", "features"];
        names.sort_by(|a, b| natural_order(a, b));
        assert_eq!(names, ["conv9", "conv10", "features", "features.0", "features.3", "features.03b", "features.10"]);
    }

    #[test]
    fn each_variant_recognises_itself_at_any_width() {
        for variant in Variant::ALL {
            for width in [1.0, 0.25] {
                let alexnet = variant.standard().width(width).classes(10);
                assert_eq!(alexnet.network().unwrap().alexnet(), Some(alexnet));
            }
        }
    }

    /// Names are compared for the one message that there is, not for each layer.
    #[test]
    fn many_layers_without_bias_are_refused_at_once() {
        let empty = Tensor::from_f32([0], vec![]);
        let many = (0..20_000).map(|i| (format!("layer{i}.weight"), empty.clone())).collect();
        let start = std::time::Instant::now();
        let error = tensors(&Weights { tensors: many, metadata: BTreeMap::new() }, None).err().unwrap();
        assert!(error.to_string().contains("layer0.bias"), "{error}");
        assert!(start.elapsed().as_secs() < 5, "{:?}", start.elapsed());
    }

    #[test]
    fn another_network_is_no_alexnet() {
        let lenet =
            Network::builder("lenet", crate::Shape::new(3, 28, 28)).conv("c", crate::Conv::new(6, 5)).build().unwrap();
        assert_eq!(lenet.alexnet(), None);
    }
}
