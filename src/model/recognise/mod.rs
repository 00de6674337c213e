//! Recognition of the AlexNet in a file: from the names and shapes of its tensors, or from its graph.

mod assign;
mod names;
mod norms;

use std::collections::BTreeMap;

pub(crate) use self::assign::assign;
use self::{
    names::{natural_order, position},
    norms::{Folded, fold_norms},
};
use crate::{
    layers::{MaxPool, Op},
    model::alexnet::{AlexNet, Variant},
    network::{Layer, Network, NetworkError},
    weights::{Tensor, Weights, WeightsError},
    window::Window,
};

/// The layers of an AlexNet with weights, in order.
const LEARNT: [&str; 8] = ["conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7", "fc8"];

/// A network, its tensors under its own names, and the evidence for it.
#[derive(Debug)]
pub(crate) struct Recognised {
    pub network: Network,
    pub tensors: BTreeMap<String, Tensor>,
    pub why: String,
    /// The alternatives that the file leaves open.
    pub doubt: Option<String>,
}

/// The layers without weights between two convolutions, by the numbers in their names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Between {
    /// The names do not tell.
    Unknown,
    /// A ReLU each, and a pooling after conv1 and conv2.
    Usual,
    /// One more after conv1 and conv2.
    Norms,
    /// One more after every convolution.
    Everywhere,
    /// More than that somewhere.
    More,
}

impl Between {
    /// `norms` are the batch normalisations that were found.
    fn of(convolutions: &[&str], norms: &[String]) -> Self {
        let Some(places) = convolutions.iter().map(|name| position(name)).collect::<Option<Vec<_>>>() else {
            return Self::Unknown;
        };
        let norms: Vec<(&str, usize)> = norms.iter().filter_map(|name| position(name)).collect();
        // A ReLU and a pooling, or a ReLU.
        let usual = [2, 2, 1, 1];
        let mut more = [0; 4];
        for ((pair, usual), more) in places.windows(2).zip(usual).zip(&mut more) {
            let [(parent, first), (other, second)] = *pair else { return Self::Unknown };
            if parent != other {
                return Self::Unknown;
            }
            let found = norms.iter().filter(|(of, at)| *of == parent && (first..second).contains(at)).count();
            *more = second.saturating_sub(first).saturating_sub(1 + found) as i64 - usual;
        }
        match more {
            [0, 0, 0, 0] => Self::Usual,
            [1, 1, 0, 0] => Self::Norms,
            [1, 1, 1, 1] => Self::Everywhere,
            more if more.iter().any(|&more| more > 0) => Self::More,
            _ => Self::Unknown,
        }
    }
}

/// Recognises the AlexNet in a file of tensors; `variant` decides where the shapes leave it open. `order` is the file's order
/// of the tensors, where it has one.
///
/// The tensors may have any names (conv1 …, torchvision's `features.0` …, timm's `head.fc`). They must be eight layers of a
/// `.weight` and a `.bias`: five convolutions in the order of their names, and three fully connected layers, which may be
/// stored as convolutions over their whole input. Batch normalisations are folded into them.
pub(crate) fn tensors(
    weights: &Weights,
    order: &[String],
    variant: Option<Variant>,
) -> Result<Recognised, WeightsError> {
    let unrecognised = WeightsError::Unrecognised;
    let Folded { tensors, norms, certain } = fold_norms(weights, order)?;
    let weights = &Weights { tensors, metadata: BTreeMap::new() };
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
    let between = Between::of(&names[..5], &norms);
    let found = match variant {
        Some(variant) => Found { variant, why: "named by the caller or the file".into(), doubt: None },
        // torchvision's conv3 has six times the filters of its conv1, the others' four times; at small widths that ratio
        // survives rounding well enough to tell 4 from 6.
        None => {
            let wide = channels[2] > channels[0].saturating_mul(5);
            guess(&names, grouped, wide, between)?
        }
    };
    let Found { variant, mut why, mut doubt } = found;
    // The paper's network was computed in two groups, but most implementations have one.
    let groups = if variant == Variant::Paper && grouped { 2 } else { variant.groups() };
    let alexnet = AlexNet { variant, channels, head: [fc6, fc7], classes };
    // At full width it is the published network, whatever names a converter gave its layers.
    if alexnet == AlexNet::TORCHVISION && between == Between::Unknown {
        doubt = None;
    }
    let network = alexnet.in_groups(groups).map_err(|e| unrecognised(e.to_string()))?;
    if let (Some(first), count) = (norms.first(), norms.len()) {
        why = format!(
            "{why}; {count} batch normalisations ({first}, …) folded into the layers before them, with ε = 1e-5"
        );
        if !certain {
            let open = "the names do not tell whether the batch normalisations stand before the ReLUs, as is assumed";
            doubt = Some(doubt.map_or(open.into(), |doubt| format!("{doubt}; {open}")));
        }
    }
    Ok(Recognised { network, tensors, why, doubt })
}

/// An AlexNet, the evidence for it, and the alternatives.
struct Found {
    variant: Variant,
    why: String,
    doubt: Option<String>,
}

/// The likeliest AlexNet; an error where a layer is missing that every AlexNet has.
fn guess(names: &[&str], grouped: bool, wide: bool, between: Between) -> Result<Found, WeightsError> {
    let which = if *names == LEARNT { String::new() } else { format!(" ({} … {})", names[0], names[7]) };
    let found = |variant: Variant, why: String, doubt: Option<&str>| {
        Ok(Found { variant, why, doubt: doubt.map(|doubt| format!("taken for {variant}; {doubt}")) })
    };
    const NO_NORMS: &str = "the tensors of paper, which normalises between its layers, have the same shapes, and any size of the input and \
         padding of conv1 fits them";
    let room = format!("the numbers in their names ({}) leave room for", names[..5].join(", "));
    match (between, grouped, wide) {
        (Between::Everywhere, ..) => Err(WeightsError::Unrecognised(format!(
            "{room} another layer behind every convolution, as batch normalisation is: save the state dict with it, so that it \
             is computed, or name the network if nothing is missing"
        ))),
        (Between::More, ..) | (Between::Norms, _, true) => Err(WeightsError::Unrecognised(format!(
            "{room} layers that no AlexNet has: give the network as JSON, or name the AlexNet if it is one"
        ))),
        (Between::Norms, false, false) => found(
            Variant::Paper,
            format!("conv2{which} has one group, and the names leave room for a normalisation behind conv1 and conv2"),
            Some(
                "the names tell that something which learns nothing follows conv1 and conv2, and not that it is the paper's \
                 normalisation before pooling",
            ),
        ),
        (_, true, _) => found(
            Variant::Caffe,
            format!("conv2{which} has two groups; {OR_CAFFENET}"),
            Some("the shapes of the tensors of caffenet, and of paper in two groups, are the same"),
        ),
        (_, false, true) => found(
            Variant::Torchvision,
            format!("conv3{which} has about six times the filters of conv1"),
            (between != Between::Usual).then_some("its names do not tell whether other layers stand between"),
        ),
        (between, false, false) => found(
            Variant::Ungrouped,
            format!("conv2{which} has one group, conv3 about four times conv1's filters"),
            Some(match between {
                Between::Usual => "any size of the input and padding of conv1 fits its tensors",
                _ => NO_NORMS,
            }),
        ),
    }
}

const OR_CAFFENET: &str = "the shapes of caffenet's tensors are the same, so name it if it is that";

/// The weight and bias of the five convolutions and the three fully connected layers, in order, with their names.
fn learnt_layers(weights: &Weights) -> Result<Vec<(String, [Tensor; 2])>, WeightsError> {
    // Where every layer is present under its own name, no other tensor is a layer.
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
        let weight = weight.clone().named_in_file(name);
        // 1×1×1×C, as some converters write it.
        let rows = weight.shape().first().copied().unwrap_or(0);
        let bias = bias.reshaped([rows]).unwrap_or_else(|| bias.clone()).named_in_file(&bias_name);
        match *weight.shape() {
            // A fully connected layer may be stored as the equivalent convolution over its whole input.
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
        // The nearest name is found by comparing all names, so only once.
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
    // Heads have many kinds of names, so their order is the one in which each one's outputs match the next one's inputs.
    const ORDERS: [[usize; 3]; 6] = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];
    let chained = |order: &[usize; 3]| {
        let [a, b, c] = order.map(|i| connected[i].1[0].shape());
        a[1].is_multiple_of(convolutions[4].1[0].shape()[0].max(1)) && b[1] == a[0] && c[1] == b[0]
    };
    let order = ORDERS.iter().find(|order| chained(order)).unwrap_or(&ORDERS[0]);
    convolutions.extend(order.map(|i| connected[i].clone()));
    Ok(convolutions)
}

/// The error for tensors that are no AlexNet's: where some have an AlexNet's names, the missing one.
fn explain(weights: &Weights, error: WeightsError) -> WeightsError {
    let names = LEARNT.iter().flat_map(|layer| [format!("{layer}.weight"), format!("{layer}.bias")]);
    let (there, missing): (Vec<String>, Vec<String>) = names.partition(|name| weights.tensors.contains_key(name));
    match missing.first().map(|name| weights.tensor(name)) {
        // With fewer, it is another network that has such names too.
        Some(Err(missing)) if there.len() >= LEARNT.len() => missing,
        _ => error,
    }
}

fn some_names(weights: &Weights) -> String {
    let names: Vec<&str> = weights.tensors.keys().take(4).map(String::as_str).collect();
    let more = if weights.tensors.len() > names.len() { ", …" } else { "" };
    names.join(", ") + more
}

impl Network {
    /// The AlexNet that this network is equal to, whatever the names of its layers: the same convolutions, poolings,
    /// normalisations and fully connected layers in the same order. The size of the input and the padding of the poolings may
    /// differ (the ONNX model zoo's AlexNet takes 224×224 and pads its poolings). Dropout, the final softmax and an adaptive
    /// average pooling that changes nothing are optional.
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

/// A network's computing layers, without the sizes that its input decides.
fn essence(network: &Network) -> Vec<Op> {
    let ops = network.layers().iter().filter_map(|layer: &Layer| match layer.op {
        Op::Dropout | Op::Softmax => None,
        Op::AdaptiveAvgPool(_) if layer.input == layer.output => None,
        Op::MaxPool(pool) => Some(Op::MaxPool(MaxPool { window: Window { padding: 0.into(), ..pool.window } })),
        op => Some(op),
    });
    ops.collect()
}

/// Renames a network that is an AlexNet, and its layers and tensors, to an AlexNet's names.
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
            // No AlexNet has others.
            _ => layer.name.clone(),
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
    fn each_variant_recognises_itself_at_any_width() {
        for variant in Variant::ALL {
            for width in [1.0, 0.25] {
                let alexnet = variant.standard().width(width).classes(10);
                assert_eq!(alexnet.network().unwrap().alexnet(), Some(alexnet));
            }
        }
    }

    /// Names are compared for the single error message, not for each layer.
    #[test]
    fn many_layers_without_bias_are_refused_at_once() {
        let empty = Tensor::from_f32([0], vec![]);
        let many = (0..20_000).map(|i| (format!("layer{i}.weight"), empty.clone())).collect();
        let start = std::time::Instant::now();
        let error = tensors(&Weights { tensors: many, metadata: BTreeMap::new() }, &[], None).err().unwrap();
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
