//! Checkpoints as written by training programs: state dicts beside other objects, with batch normalisation, of any network.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod common;

use alexnet_wgpu::{
    Activation, AlexNet, Conv, Linear, LocalResponseNorm, MaxPool, Model, ModelOptions, Network, Op, Pipeline, Shape,
    Tensor, Variant, Weights, WeightsError,
    reference::{relative_error, run, run_layer},
    splitmix,
};
use proptest::prelude::*;

/// Pickle programs, each of which leaves a value on the stack.
mod pickle {
    pub fn text(text: &str) -> Vec<u8> {
        [&b"X"[..], &(text.len() as u32).to_le_bytes(), text.as_bytes()].concat()
    }

    pub fn int(value: i32) -> Vec<u8> {
        [&b"J"[..], &value.to_le_bytes()].concat()
    }

    pub fn global(module: &str, name: &str) -> Vec<u8> {
        format!("c{module}\n{name}\n").into_bytes()
    }

    pub fn tuple(items: &[Vec<u8>]) -> Vec<u8> {
        [b"(".to_vec(), items.concat(), b"t".to_vec()].concat()
    }

    pub fn dict(pairs: &[(Vec<u8>, Vec<u8>)]) -> Vec<u8> {
        let pairs: Vec<u8> = pairs.iter().flat_map(|(key, value)| [key.clone(), value.clone()].concat()).collect();
        [b"}(".to_vec(), pairs, b"u".to_vec()].concat()
    }

    /// A dict with text keys.
    pub fn named(pairs: &[(&str, Vec<u8>)]) -> Vec<u8> {
        dict(&pairs.iter().map(|(key, value)| (text(key), value.clone())).collect::<Vec<_>>())
    }

    /// A call with arguments.
    pub fn call(module: &str, name: &str, arguments: &[Vec<u8>]) -> Vec<u8> {
        [global(module, name), tuple(arguments), b"R".to_vec()].concat()
    }

    /// An object created without arguments, with a state.
    pub fn object(module: &str, name: &str, state: &[u8]) -> Vec<u8> {
        [&global(module, name)[..], b")\x81", state, b"b"].concat()
    }
}
use pickle::{call, dict, global, int, named, object, text, tuple};

/// A file in PyTorch's legacy format, which needs no zip archive.
#[derive(Default)]
struct File {
    storages: Vec<Vec<f32>>,
}

impl File {
    /// A tensor of f32.
    fn tensor(&mut self, shape: &[usize], values: &[f32]) -> Vec<u8> {
        assert_eq!(shape.iter().product::<usize>(), values.len());
        let key = self.storages.len().to_string();
        self.storages.push(values.to_vec());
        let mut strides = vec![1; shape.len()];
        for i in (1..shape.len()).rev() {
            strides[i - 1] = strides[i] * shape[i];
        }
        let sizes = |sizes: &[usize]| tuple(&sizes.iter().map(|&size| int(size as i32)).collect::<Vec<_>>());
        let storage =
            [text("storage"), global("torch", "FloatStorage"), text(&key), text("cpu"), int(values.len() as i32)];
        let storage = [tuple(&storage), b"Q".to_vec()].concat();
        let hooks = call("collections", "OrderedDict", &[]);
        call(
            "torch._utils",
            "_rebuild_tensor_v2",
            &[storage, int(0), sizes(shape), sizes(&strides), b"\x89".to_vec(), hooks],
        )
    }

    /// An OrderedDict of these tensors, in this order, with the version attribute that PyTorch's modules add.
    fn state_dict(&mut self, tensors: &[(String, Tensor)]) -> Vec<u8> {
        let pairs: Vec<u8> = tensors
            .iter()
            .flat_map(|(name, tensor)| [text(name), self.tensor(tensor.shape(), &tensor.to_f32())].concat())
            .collect();
        let versions = named(&[("_metadata", call("collections", "OrderedDict", &[]))]);
        [call("collections", "OrderedDict", &[]), b"(".to_vec(), pairs, b"u".to_vec(), versions, b"b".to_vec()].concat()
    }

    fn bytes(&self, root: &[u8]) -> Vec<u8> {
        let keys: Vec<u8> =
            (0..self.storages.len()).flat_map(|key| [text(&key.to_string()), b"a".to_vec()].concat()).collect();
        let numbers = self.storages.iter().flat_map(|values| {
            let count = (values.len() as u64).to_le_bytes().to_vec();
            [count, values.iter().flat_map(|v| v.to_le_bytes()).collect()].concat()
        });
        let start = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.\x80\x02}.\x80\x02";
        [&start[..], root, b".\x80\x02]", &keys, b".", &numbers.collect::<Vec<u8>>()].concat()
    }
}

fn open(bytes: Vec<u8>) -> Result<Model, WeightsError> {
    Model::from_bytes(bytes, &ModelOptions::default())
}

/// A small torchvision AlexNet, and its tensors under torchvision's names.
fn small() -> (Network, Vec<(String, Tensor)>) {
    let network = AlexNet::TORCHVISION.width(0.0625).head(6, 5).classes(4).network().unwrap();
    let weights = Weights::random(&network, 1);
    (network, renamed(&weights, ["features.0", "features.3", "features.6", "features.8", "features.10"]))
}

/// The tensors of an AlexNet with its convolutions renamed.
fn renamed(weights: &Weights, convolutions: [&str; 5]) -> Vec<(String, Tensor)> {
    let own = ["conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7", "fc8"];
    let others = convolutions.into_iter().chain(["classifier.1", "classifier.4", "classifier.6"]);
    let both = |(own, other): (&str, &str)| {
        ["weight", "bias"]
            .map(|kind| (format!("{other}.{kind}"), weights.tensor(&format!("{own}.{kind}")).unwrap().clone()))
    };
    own.into_iter().zip(others).flat_map(both).collect()
}

fn same(a: &Weights, b: &Weights) -> bool {
    a.len() == b.len() && a.iter().all(|(name, tensor)| b.tensor(name).unwrap().bytes() == tensor.bytes())
}

/// Objects that training programs store beside the tensors, as Python writes them.
fn objects() -> Vec<(&'static str, Vec<u8>)> {
    let float = b"G\x3f\xf0\0\0\0\0\0\0".to_vec();
    let dtype =
        [call("numpy", "dtype", &[text("f8"), b"\x89".to_vec(), b"\x88".to_vec()]), tuple(&[int(3)]), b"b".to_vec()];
    let state = named(&[("lr", float.clone()), ("arch", text("alexnet"))]);
    vec![
        ("size", call("torch", "Size", &[tuple(&[int(3), int(224)])])),
        ("best", call("numpy._core.multiarray", "scalar", &[dtype.concat(), b"C\x04\0\0\0\0".to_vec()])),
        ("args", object("argparse", "Namespace", &state)),
        (
            "meter",
            [call("collections", "defaultdict", &[global("builtins", "list")]), text("loss"), b"]s".to_vec()].concat(),
        ),
        ("device", call("torch", "device", &[text("cuda"), int(0)])),
        ("dtype", global("torch", "float16")),
        ("path", call("pathlib", "PosixPath", &[text("/data"), text("x")])),
        ("when", call("datetime", "datetime", &[b"C\x0a0123456789".to_vec()])),
        ("set", call("builtins", "set", &[b"]".to_vec()])),
        // EMPTY_SET, ADDITEMS; FROZENSET; BYTEARRAY8; LONG4 of 20 bytes; NEWOBJ_EX.
        ("set4", [b"\x8f(".to_vec(), int(1), int(2), b"\x90".to_vec()].concat()),
        ("frozen", [b"(".to_vec(), int(1), b"\x91".to_vec()].concat()),
        ("bytes", b"\x96\x02\0\0\0\0\0\0\0ab".to_vec()),
        ("long", [b"\x8b\x14\0\0\0".to_vec(), vec![1; 20]].concat()),
        ("kwargs", [global("some.module", "Config"), b")}\x92".to_vec()].concat()),
        ("python2", b"U\x02\xff\xfe".to_vec()),
        ("twice", [int(7), b"20".to_vec()].concat()),
        ("attribute", call("builtins", "getattr", &[global("some", "Enum"), text("member")])),
        // The result of a call is called again.
        ("called", [call("functools", "partial", &[]), tuple(&[]), b"R".to_vec()].concat()),
        // Subclasses of list and dict that are filled.
        ("list", [call("some", "List", &[]), b"(".to_vec(), int(1), b"e".to_vec()].concat()),
    ]
}

/// Tensors are found beside any other objects, which are not built.
#[test]
fn objects_beside_the_tensors() {
    let (network, tensors) = small();
    let expected = Weights::random(&network, 1);
    let beside = objects();
    for (name, object) in &beside {
        let mut file = File::default();
        let state = file.state_dict(&tensors);
        let model = open(file.bytes(&named(&[("epoch", int(3)), (name, object.clone()), ("state_dict", state)])));
        let model = model.unwrap_or_else(|e| panic!("{name}: {e}"));
        assert!(model.network == network && same(&model.weights, &expected), "{name}");
        assert_eq!(model.origin.doubt, None, "{name}");
        let contents = model.origin.contents.unwrap();
        assert!(contents.starts_with("`state_dict`, beside `epoch`"), "{name}: {contents}");
    }
    // All at once, among the tensors themselves and in an unknown class of dicts.
    let mut file = File::default();
    let mut pairs: Vec<(Vec<u8>, Vec<u8>)> = beside.iter().map(|(name, object)| (text(name), object.clone())).collect();
    pairs.extend(tensors.iter().map(|(name, t)| (text(name), file.tensor(t.shape(), &t.to_f32()))));
    let items: Vec<u8> = pairs.into_iter().flat_map(|(key, value)| [key, value].concat()).collect();
    let root = [call("easydict", "EasyDict", &[]), b"(".to_vec(), items, b"u".to_vec()].concat();
    let model = open(file.bytes(&root)).unwrap();
    assert!(same(&model.weights, &expected));
}

/// Tensors under one of several keys, and beside others.
#[test]
fn which_dict_is_taken() {
    let (_, tensors) = small();
    let other: Vec<(String, Tensor)> =
        tensors.iter().map(|(n, t)| (n.clone(), Tensor::from_f32(t.shape(), vec![9.0; t.to_f32().len()]))).collect();
    let nines = |model: &Model| model.weights.tensor("conv1.bias").unwrap().to_f32()[0] == 9.0;
    // Keys, each with whether its dict is the other kind; the key that is used; and whether it is that kind.
    for (keys, taken, nine) in [
        (vec![("ema_state_dict", false)], "`ema_state_dict`", false),
        (vec![("ema_state_dict", true), ("state_dict", false)], "`state_dict`, and not `ema_state_dict`", false),
        (vec![("model_ema", true), ("model", false)], "`model`, and not `model_ema`", false),
        (vec![("generator", false)], "`generator`", false),
        (vec![("shadow_params", true), ("whatever", false)], "`whatever`, and not `shadow_params`", false),
        (vec![("optimizer", true), ("ema", false)], "`ema`, beside `optimizer`", false),
        (vec![("optim_state", false), ("net", true)], "`net`, beside `optim_state`", true),
    ] {
        let mut file = File::default();
        let pairs: Vec<(&str, Vec<u8>)> =
            keys.iter().map(|&(key, nine)| (key, file.state_dict(if nine { &other } else { &tensors }))).collect();
        let model = open(file.bytes(&named(&pairs))).unwrap_or_else(|e| panic!("{keys:?}: {e}"));
        assert_eq!((model.origin.contents.as_deref(), nines(&model)), (Some(taken), nine), "{keys:?}");
    }
    // Nested deeper, and with the prefixes of parallel and compiled modules.
    let mut file = File::default();
    let prefixed: Vec<(String, Tensor)> =
        tensors.iter().map(|(n, t)| (format!("module._orig_mod.{n}"), t.clone())).collect();
    let state = file.state_dict(&prefixed);
    // An optimiser's averages have the weights' shapes, under numbers.
    let average = file.tensor(&[2, 3], &[9.0; 6]);
    let optimiser =
        named(&[("state", dict(&[(int(0), named(&[("exp_avg", average)]))])), ("param_groups", b"]".to_vec())]);
    let root = named(&[("optimizer", optimiser), ("trainer", named(&[("networks", named(&[("student", state)]))]))]);
    let bytes = file.bytes(&root);
    let model = open(bytes.clone()).unwrap();
    assert_eq!(model.origin.contents.as_deref(), Some("`trainer.networks.student`, beside `optimizer`"));
    let names: Vec<String> = Weights::from_bytes(bytes).unwrap().into_iter().map(|(name, _)| name).collect();
    assert_eq!(names[0], "classifier.1.bias");
    // A plain state dict needs no explanation.
    let mut file = File::default();
    let state = file.state_dict(&tensors);
    assert_eq!(open(file.bytes(&state)).unwrap().origin.contents, None);
}

#[test]
fn what_is_no_state_dict_is_refused_by_name() {
    let (_, tensors) = small();
    let error = |root: Vec<u8>| open(File::default().bytes(&root)).unwrap_err().to_string();
    // Whole modules, and calls that are useful only to attackers, anywhere.
    let module = object("torchvision.models.alexnet", "AlexNet", &named(&[("training", b"\x89".to_vec())]));
    let message = error(module);
    assert!(message.contains("`torchvision.models.alexnet.AlexNet`") && message.contains("state_dict"), "{message}");
    for (module, name) in [
        ("os", "system"),
        ("posix", "system"),
        ("nt", "system"),
        ("subprocess", "Popen"),
        ("builtins", "eval"),
        ("__builtin__", "exec"),
        ("builtins", "__import__"),
        ("runpy", "_run_code"),
        ("importlib", "import_module"),
    ] {
        let mut file = File::default();
        let state = file.state_dict(&tensors);
        let call = call(module, name, &[text("echo never")]);
        let message = open(file.bytes(&named(&[("state_dict", state), ("x", call)]))).unwrap_err().to_string();
        assert!(
            message.contains(&format!("`{module}.{name}`")) && message.contains("nothing was executed"),
            "{message}"
        );
    }
    // A tensor of an unsupported kind must not be skipped.
    let mut file = File::default();
    let first = file.tensor(&[1], &[1.0]);
    let quantised = call("torch._utils", "_rebuild_qtensor", &[int(0)]);
    let message = open(file.bytes(&named(&[("a.bias", first), ("a.weight", quantised)]))).unwrap_err().to_string();
    assert!(message.contains("`a.weight`") && message.contains("_rebuild_qtensor"), "{message}");
    for (root, found) in [
        (named(&[("epoch", int(1)), ("history", named(&[("loss", int(1))]))]), "none but the dicts `history`"),
        (named(&[]), "found none"),
        (int(3), "a dict of tensors, found another object"),
    ] {
        let message = error(root);
        assert!(message.contains(found), "{message}");
    }
}

/// The tensors of a batch normalisation, with random numbers.
fn norm(name: &str, channels: usize, seed: u64) -> Vec<(String, Tensor)> {
    let uniform = |i: u64, bound: f32, middle: f32| {
        let values = splitmix::uniform(seed + i, channels, bound).into_iter().map(|v| v + middle).collect();
        Tensor::from_f32([channels], values)
    };
    vec![
        // Factors of both signs.
        (format!("{name}.weight"), uniform(0, 1.2, 0.3)),
        (format!("{name}.bias"), uniform(1, 0.5, 0.1)),
        (format!("{name}.running_mean"), uniform(2, 0.5, 0.0)),
        (format!("{name}.running_var"), uniform(3, 0.4, 0.5)),
    ]
}

/// The output in double precision of an AlexNet with a batch normalisation after every convolution and the first two fully
/// connected layers, computed layer by layer.
fn with_norms(network: &Network, weights: &Weights, norms: &[Vec<(String, Tensor)>], picture: &[f32]) -> Vec<f64> {
    let mut x: Vec<f64> = picture.iter().copied().map(f64::from).collect();
    let mut norms = norms.iter();
    for layer in network.layers() {
        let mut plain = layer.clone();
        let learns = match &mut plain.op {
            Op::Conv(conv) => Some(std::mem::take(&mut conv.activation) == Activation::Relu),
            Op::Linear(linear) => Some(std::mem::take(&mut linear.activation) == Activation::Relu),
            _ => None,
        };
        x = run_layer(&plain, weights, &x).unwrap();
        let Some(relu) = learns else { continue };
        if let Some(norm) = norms.next() {
            let [gamma, beta, mean, variance] = [0, 1, 2, 3].map(|i| norm[i].1.to_f32().into_owned());
            let size = layer.output.height * layer.output.width;
            for (i, v) in x.iter_mut().enumerate() {
                let c = i / size;
                let deviation = (f64::from(variance[c]) + 1e-5).sqrt();
                *v = (*v - f64::from(mean[c])) / deviation * f64::from(gamma[c]) + f64::from(beta[c]);
            }
        }
        if relu {
            x.iter_mut().for_each(|v| *v = v.max(0.0));
        }
    }
    x
}

#[test]
fn batch_normalisation_is_folded() {
    let (network, _) = small();
    let mut weights = Weights::random(&network, 1);
    // As is usual before a batch normalisation.
    for layer in ["conv2", "fc6"] {
        let bias = weights.get_mut(&format!("{layer}.bias")).unwrap();
        *bias = Tensor::from_f32(bias.shape(), vec![0.0; bias.to_f32().len()]);
    }
    let widths: Vec<usize> = ["conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7"]
        .iter()
        .map(|layer| weights.tensor(&format!("{layer}.bias")).unwrap().to_f32().len())
        .collect();
    let picture = splitmix::uniform(3, network.input().len(), 2.0);
    // The names of the modules in the order of the network: each layer, and the batch normalisation after it.
    let sequential: [&str; 15] = [
        "features.0",
        "features.1",
        "features.4",
        "features.5",
        "features.8",
        "features.9",
        "features.11",
        "features.12",
        "features.14",
        "features.15",
        "classifier.1",
        "classifier.2",
        "classifier.5",
        "classifier.6",
        "classifier.9",
    ];
    let numbered = [
        "conv1", "bn1", "conv2", "bn2", "conv3", "bn3", "conv4", "bn4", "conv5", "bn5", "fc6", "bn6", "fc7", "bn7",
        "fc8",
    ];
    let blocks = [
        "layer1.0", "layer1.1", "layer2.0", "layer2.1", "layer3.0", "layer3.1", "layer4.0", "layer4.1", "layer5.0",
        "layer5.1", "fc.1", "fc.2", "fc1.1", "fc1.2", "fc2.0",
    ];
    // Only the order tells, and only a file has one.
    let ordered = [
        "a.conv", "a.norm", "b.conv", "b.norm", "c.conv", "c.norm", "d.conv", "d.norm", "e.conv", "e.norm", "f.dense",
        "f.norm", "g.dense", "g.norm", "h.dense",
    ];
    for (names, certain) in [(sequential, true), (numbered, false), (blocks, true), (ordered, false)] {
        let norms: Vec<_> = (0..7).map(|i| norm(names[2 * i + 1], widths[i], 100 + 4 * i as u64)).collect();
        let mut tensors: Vec<(String, Tensor)> = Vec::new();
        for (i, layer) in ["conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7", "fc8"].iter().enumerate() {
            for kind in ["weight", "bias"] {
                if kind == "weight" || !["conv2", "fc6"].contains(layer) {
                    tensors.push((
                        format!("{}.{kind}", names[2 * i]),
                        weights.tensor(&format!("{layer}.{kind}")).unwrap().clone(),
                    ));
                }
            }
            tensors.extend(norms.get(i).cloned().unwrap_or_default());
        }
        let expected = with_norms(&network, &weights, &norms, &picture);
        let mut file = File::default();
        let state = file.state_dict(&tensors);
        let model = open(file.bytes(&state)).unwrap_or_else(|e| panic!("{}: {e}", names[1]));
        assert_eq!(model.network, network, "{}", names[1]);
        assert!(model.origin.network.contains("7 batch normalisations"), "{}", model.origin.network);
        assert_eq!(
            model.origin.doubt.as_deref().is_none_or(|doubt| !doubt.contains("before the ReLUs")),
            certain,
            "{}",
            names[1]
        );
        let exact: Vec<f64> = picture.iter().copied().map(f64::from).collect();
        let folded: Vec<f32> =
            run(&model.network, &model.weights, &exact).unwrap().pop().unwrap().iter().map(|&v| v as f32).collect();
        let error = relative_error(&folded, &expected);
        assert!(error < 1e-6, "{}: {error:e}", names[1]);
        let pipeline = Pipeline::builder(common::gpu(), &model.network, &model.weights).build().unwrap();
        let found = pollster::block_on(pipeline.run(&picture)).unwrap();
        let error = relative_error(&found, &expected);
        println!("{}: {error:.1e} on the device", names[1]);
        assert!(error < 1e-5, "{}: {error:e}", names[1]);

        // Without an order: the names only.
        let unordered = Model::from_weights(Weights::from_iter(tensors), &ModelOptions::default());
        match unordered {
            Ok(model) => assert_eq!((model.network, names == ordered), (network.clone(), false)),
            Err(error) => {
                assert!(names == ordered, "{}: {error}", names[1]);
                assert!(error.to_string().contains("an order that tell which layer it follows"), "{error}");
            }
        }
    }
}

#[test]
fn batch_normalisation_that_cannot_be_folded_is_refused() {
    let (_, tensors) = small();
    let error = |name: &str, channels: usize| {
        let mut weights: Weights = tensors.iter().cloned().collect();
        weights.extend(norm(name, channels, 1));
        Model::from_weights(weights, &ModelOptions::default()).unwrap_err().to_string()
    };
    let channels = tensors[0].1.shape()[0];
    assert!(error("features.1", channels + 1).contains("numbers for the"), "{}", error("features.1", channels + 1));
    // After the ReLU.
    let behind = error("features.2", channels);
    assert!(behind.contains("`features.2`") && behind.contains("learns nothing behind `features.0`"), "{behind}");
    assert!(behind.contains("ONNX"), "{behind}");
    assert!(error("input_norm", 3).contains("found neither"), "{}", error("input_norm", 3));
}

/// Layers without tensors are inferred from the numbers in the names of a `Sequential`.
#[test]
fn names_tell_what_stands_between() {
    let ungrouped = AlexNet::UNGROUPED.width(0.05).head(6, 5).classes(4);
    let of = |alexnet: AlexNet, places: [usize; 5], variant: Option<Variant>| {
        let weights = Weights::random(&alexnet.network().unwrap(), 1);
        let names = places.map(|place| format!("features.{place}"));
        let weights = Weights::from_iter(renamed(&weights, names.each_ref().map(String::as_str)));
        Model::from_weights(weights, &ModelOptions::default().variant(variant))
    };
    // conv, ReLU, norm, pool, conv, ReLU, norm, pool, conv, …
    let paper = of(ungrouped, [0, 4, 8, 10, 12], None).unwrap();
    assert_eq!(paper.network, AlexNet { variant: Variant::Paper, ..ungrouped }.network().unwrap());
    assert!(
        matches!(paper.network.layer("norm1").unwrap().op, Op::LocalResponseNorm(norm) if norm == LocalResponseNorm::TORCH_PAPER)
    );
    assert!(paper.origin.doubt.is_some() && paper.origin.preprocessing_guessed);
    // Without room for normalisations, only the size of the input is unknown.
    let plain = of(ungrouped, [0, 3, 6, 8, 10], None).unwrap();
    assert_eq!(plain.network.name(), "ungrouped");
    assert!(plain.origin.doubt.unwrap().contains("any size of the input"));
    // A missing batch normalisation is reported; the caller can overrule this.
    let error = of(AlexNet::TORCHVISION.width(0.05), [0, 4, 8, 11, 14], None).unwrap_err().to_string();
    assert!(error.contains("features.0, features.4") && error.contains("batch normalisation"), "{error}");
    let named = of(AlexNet::TORCHVISION.width(0.05), [0, 4, 8, 11, 14], Some(Variant::Torchvision)).unwrap();
    assert_eq!((named.network.name(), named.origin.doubt), ("torchvision", None));
    assert!(of(ungrouped, [0, 6, 9, 11, 13], None).unwrap_err().to_string().contains("layers that no AlexNet has"));
    // torchvision's own names are beyond doubt.
    assert_eq!(of(AlexNet::TORCHVISION.width(0.05), [0, 3, 6, 8, 10], None).unwrap().origin.doubt, None);
    // Names without numbers give no evidence.
    let unnamed =
        Model::from_weights(Weights::random(&ungrouped.network().unwrap(), 1), &ModelOptions::default()).unwrap();
    assert!(unnamed.origin.doubt.unwrap().contains("paper"));
    // In two groups it could also be the paper's.
    let grouped = AlexNet::CAFFE.width(0.05).head(6, 5).classes(4);
    let paper = of(grouped, [0, 4, 8, 10, 12], Some(Variant::Paper)).unwrap();
    assert!(matches!(paper.network.layer("conv2").unwrap().op, Op::Conv(conv) if conv.groups == 2));
    assert_eq!(paper.network.layer("norm1").unwrap().op, Op::LocalResponseNorm(LocalResponseNorm::TORCH_PAPER));
    assert!(of(grouped, [0, 4, 8, 10, 12], None).unwrap().origin.doubt.unwrap().contains("caffenet"));
}

/// A softmax of a single number is always 1.
#[test]
fn one_output_is_two_classes() {
    let network = AlexNet::TORCHVISION.width(0.0625).head(6, 5).classes(1).network().unwrap();
    let model = Model::from_weights(Weights::random(&network, 5), &ModelOptions::default()).unwrap();
    assert_eq!((model.labels.len(), model.network.output()), (2, Shape::vector(2)));
    assert!(model.origin.network.contains("sigmoid"), "{}", model.origin.network);
    let picture = splitmix::uniform(1, network.input().len(), 2.0);
    let exact: Vec<f64> = picture.iter().copied().map(f64::from).collect();
    let logit = run(&network, &Weights::random(&network, 5), &exact).unwrap().iter().rev().nth(1).unwrap()[0];
    let p = 1.0 / (1.0 + (-logit).exp());
    let pipeline = Pipeline::builder(common::gpu(), &model.network, &model.weights).build().unwrap();
    let found = pollster::block_on(pipeline.run(&picture)).unwrap();
    assert!((0.01..0.99).contains(&p), "a picture that tells something: {p}");
    for (found, expected) in found.iter().zip([1.0 - p, p]) {
        assert!((f64::from(*found) - expected).abs() < 1e-6, "{found} for {expected}");
    }
    // Saved and opened again, the result is the same.
    let again = Model::from_weights(model.to_weights().unwrap(), &ModelOptions::default()).unwrap();
    assert_eq!((again.network, again.labels), (model.network, model.labels));
}

/// LeNet under any names, with its layers given as JSON.
#[test]
fn any_network_as_json() {
    let lenet = |names: [&str; 4]| {
        Network::builder("lenet", Shape::new(1, 28, 28))
            .conv(names[0], Conv::new(6, 5).padding(2).relu())
            .max_pool("p1", MaxPool::new(2, 2))
            .conv(names[1], Conv::new(8, 5).relu())
            .max_pool("p2", MaxPool::new(2, 2))
            .linear(names[2], Linear::new(12).relu())
            .linear(names[3], Linear::new(10))
            .softmax("prob")
            .build()
            .unwrap()
    };
    let network = lenet(["features.0", "features.3", "classifier.0", "classifier.2"]);
    let weights = Weights::random(&network, 1);
    let tensors: Vec<(String, Tensor)> =
        network.parameters().map(|(n, _)| (n.clone(), weights.tensor(&n).unwrap().clone())).collect();
    let error = Model::from_weights(weights.clone(), &ModelOptions::default()).unwrap_err().to_string();
    assert!(error.contains("found 2 and 2 in 8 tensors") && error.contains("as JSON"), "{error}");

    let with = |tensors: &[(String, Tensor)], network: &Network| {
        let mut file = File::default();
        let state = file.state_dict(tensors);
        let json = network.to_json().unwrap();
        let network = Some(Network::from_json(&json).unwrap());
        Model::from_bytes(file.bytes(&state), &ModelOptions::default().network(network))
    };
    let model = with(&tensors, &network).unwrap();
    assert!(model.network == network && same(&model.weights, &weights));
    assert!(model.origin.network.contains("by the names of its layers"), "{}", model.origin.network);
    // Under other names, tensors are matched by their order in the file, not by the order of the names.
    let other = lenet(["z", "y", "x", "w"]);
    let model = with(&tensors, &other).unwrap();
    for (from, to) in [("features.0", "z"), ("features.3", "y"), ("classifier.0", "x"), ("classifier.2", "w")] {
        let key = |name: &str| format!("{name}.weight");
        assert_eq!(model.weights.tensor(&key(to)).unwrap().bytes(), weights.tensor(&key(from)).unwrap().bytes());
    }
    assert!(model.origin.network.contains("in their order"), "{}", model.origin.network);

    // Biases of other shapes or none, a fully connected layer as a convolution, batch normalisation and its counter.
    let mut changed = tensors.clone();
    for (name, tensor) in &mut changed {
        let shape: Vec<usize> = match name.as_str() {
            "features.3.bias" => vec![1, 1, 1, 8],
            "classifier.0.weight" => vec![12, 8, 5, 5],
            _ => continue,
        };
        *tensor = Tensor::from_f32(shape, tensor.to_f32().into_owned());
    }
    let without: Vec<(String, Tensor)> =
        changed.iter().filter(|(name, _)| name != "features.0.bias").cloned().collect();
    let model = with(&without, &network).unwrap();
    assert!(model.weights.tensor("features.0.bias").unwrap().to_f32().iter().all(|&v| v == 0.0));
    assert_eq!(model.weights.tensor("features.3.bias").unwrap().shape(), [8]);
    assert_eq!(model.weights.tensor("classifier.0.weight").unwrap().shape(), [12, 200]);
    let mut normed = changed.clone();
    normed.extend(norm("features.1", 6, 3));
    let model = with(&normed, &network).unwrap();
    assert!(model.origin.network.contains("1 batch normalisations"), "{}", model.origin.network);
    assert_ne!(
        model.weights.tensor("features.0.weight").unwrap().bytes(),
        weights.tensor("features.0.weight").unwrap().bytes()
    );

    // Errors use the file's names.
    let mut wrong = tensors.clone();
    wrong[2].1 = Tensor::from_f32([8, 6, 3, 3], vec![0.0; 432]);
    let error = with(&wrong, &network).unwrap_err().to_string();
    assert!(error.contains("`features.3.weight`: expected shape [8, 6, 5, 5], found [8, 6, 3, 3]"), "{error}");
    let mut more = tensors.clone();
    more.push(("extra".into(), Tensor::from_f32([1], vec![1.0])));
    assert!(with(&more, &network).unwrap_err().to_string().contains("`extra` has no place"));
    let fewer = &tensors[..6];
    assert!(with(fewer, &network).unwrap_err().to_string().contains("`classifier.2.weight` is missing"));
}

#[test]
fn biases_with_dimensions_of_one() {
    let (network, mut tensors) = small();
    for (name, tensor) in &mut tensors {
        if name.ends_with(".bias") {
            let count = tensor.to_f32().len();
            *tensor = Tensor::from_f32([1, 1, 1, count], tensor.to_f32().into_owned());
        }
    }
    let weights = Weights::from_iter(tensors);
    let model = Model::from_weights(weights, &ModelOptions::default()).unwrap();
    assert!(same(&model.weights, &Weights::random(&network, 1)));
}

/// The example of the documentation opens.
#[test]
fn the_documented_network() {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/networks.md")).unwrap();
    let json = text.split_once("```json\n").unwrap().1.split_once("```").unwrap().0;
    let network = Network::from_json(json).unwrap();
    assert_eq!((network.name(), network.layer("pool2").unwrap().output), ("lenet", Shape::new(16, 5, 5)));
    assert_eq!(Network::from_json(&network.to_json().unwrap()).unwrap(), network);
}

/// A checkpoint with every kind of object known here, a state dict with batch normalisation, and another one.
fn rich() -> Vec<u8> {
    let mut file = File::default();
    let tiny = |name: &str, shape: &[usize]| {
        let values = splitmix::uniform(1, shape.iter().product(), 1.0);
        (name.to_string(), Tensor::from_f32(shape, values))
    };
    let mut tensors = vec![tiny("0.weight", &[2, 1, 3, 3])];
    tensors.extend(norm("1", 2, 1));
    tensors.extend([tiny("4.weight", &[3, 8]), tiny("4.bias", &[1, 1, 1, 3])]);
    let (state, other) = (file.state_dict(&tensors), file.state_dict(&tensors[..1]));
    let mut pairs = objects();
    pairs.extend([("model_ema", other), ("net", state)]);
    file.bytes(&named(&pairs))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, failure_persistence: None, ..ProptestConfig::default() })]

    /// Random bytes replaced, removed or repeated give an error or tensors, quickly.
    #[test]
    fn damaged_checkpoints_do_no_harm(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..4), 1..6),
    ) {
        thread_local! {
            static FILE: Vec<u8> = rich();
        }
        let mut bytes = FILE.with(Clone::clone);
        for (at, value, kind) in changes {
            let at = at.index(bytes.len());
            match kind {
                0 => drop(bytes.remove(at)),
                1 => bytes.insert(at, value),
                _ => bytes[at] = value,
            }
        }
        let start = std::time::Instant::now();
        let network = Network::builder("n", Shape::new(1, 6, 6))
            .conv("0", Conv::new(2, 3).relu())
            .max_pool("3", MaxPool::new(2, 2))
            .linear("4", Linear::new(3))
            .build()
            .unwrap();
        let options = ModelOptions::default().network(network);
        if let Ok(model) = Model::from_bytes(bytes.clone(), &options) {
            prop_assert!(model.weights.check(&model.network).is_ok());
        }
        drop(open(bytes));
        prop_assert!(start.elapsed().as_secs() < 5);
    }
}

#[test]
fn the_rich_checkpoint_opens() {
    let network = Network::builder("n", Shape::new(1, 6, 6))
        .conv("0", Conv::new(2, 3).relu())
        .max_pool("3", MaxPool::new(2, 2))
        .linear("4", Linear::new(3))
        .build()
        .unwrap();
    let options = ModelOptions::default().network(network);
    let model = Model::from_bytes(rich(), &options).unwrap();
    assert!(model.origin.contents.unwrap().starts_with("`net`, and not `model_ema`"));
}
