//! Training steps and gradients of layers, for the checks of shaders.

use std::collections::BTreeMap;

use super::job::{Job, LIMIT};
use crate::{
    activation::{Activation, BackwardRule},
    explain::{GradientOptions, GradientProgram},
    kernels::{Algorithm, Family, KernelConfig, Storage},
    layers::{Conv, Linear, LocalResponseNorm, MaxPool, Op},
    network::Network,
    program::{Algorithms, Options, Program, ProgramError},
    reference,
    runtime::to_chw,
    shape::Shape,
    train::{
        Optimizer, Place, SgdForm, TrainingOptions, TrainingProgram,
        samples::{algorithms, images, networks, weights},
        without_softmax,
    },
    weights::splitmix,
    window::{Padding, Window},
};

/// The families that have a backward pass, with each storage.
fn configs() -> impl Iterator<Item = KernelConfig> {
    let broadcast = |lanes| Family::SubgroupBroadcast { lanes };
    let all = [Family::WorkgroupTiled, broadcast(8)]
        .into_iter()
        .flat_map(|family| Storage::ALL.map(|storage| KernelConfig { family, storage }));
    all.chain([KernelConfig { family: broadcast(16), storage: Storage::StorageTexture }])
}

/// A pass: images, whether its gradients are added to others', and the algorithm of the convolutions.
type PassOptions = (usize, bool, Algorithm);

fn lower(
    network: &Network,
    config: KernelConfig,
    (batch, accumulates, algorithm): PassOptions,
    limit: u64,
    (optimizer, clip): (Optimizer, Option<f32>),
) -> Result<TrainingProgram, ProgramError> {
    let algorithms = &network.layers().iter().map(|layer| (layer.name.clone(), algorithm)).collect();
    let lowering = Options { config, batch, precision: Default::default(), algorithms, limit, top: 0 };
    let options = TrainingOptions {
        lowering,
        optimizer,
        weight_decay: 0.0,
        bias_rate: 1.0,
        bias_decay: 1.0,
        rates: &BTreeMap::new(),
        dropout: 0.5,
        clip,
        accumulates,
    };
    TrainingProgram::lower(network, options)
}

/// Training steps, and gradients of layers and of LPIPS, in every kernel configuration.
pub(super) fn programs() -> impl Iterator<Item = Program> {
    steps().map(|training| training.program).chain(gradients()).chain(configs().map(super::pair::gradient))
}

/// Gradients with respect to the input, by each rule.
fn gradients() -> impl Iterator<Item = Program> {
    configs().enumerate().flat_map(|(index, config)| {
        let of_network = networks().into_iter().zip(RULES.into_iter().cycle().skip(index));
        of_network.flat_map(move |(network, rule)| {
            // In a smaller binding, weights are split.
            let fits = move |limit| Some(lower_gradient(&network, config, limit, rule).ok()?.program);
            [LIMIT, 1100].into_iter().filter_map(fits).collect::<Vec<_>>()
        })
    })
}

/// All rules.
const RULES: [BackwardRule; 3] = [BackwardRule::Derivative, BackwardRule::Guided, BackwardRule::Deconvnet];

/// The gradient of the classes' scores with respect to the input, for two images.
fn lower_gradient(
    network: &Network,
    config: KernelConfig,
    limit: u64,
    rule: BackwardRule,
) -> Result<GradientProgram, ProgramError> {
    let algorithms = &Algorithms::new();
    let lowering = Options { config, batch: 2, precision: Default::default(), algorithms, limit, top: 0 };
    let of = without_softmax(network).len() - 1;
    GradientProgram::lower(network, GradientOptions { lowering, of, by: None, rule })
}

/// With gradients that are added up and clipped and without, and with each optimiser.
fn steps() -> impl Iterator<Item = TrainingProgram> {
    let optimizers = [SgdForm::Caffe, SgdForm::Torch]
        .into_iter()
        .flat_map(|form| [0.0, 0.9].map(|momentum| [false, true].map(|nesterov| (form, momentum, nesterov))))
        .flatten()
        .map(|(form, momentum, nesterov)| Optimizer::Sgd { form, momentum, nesterov })
        .chain([Optimizer::ADAMW]);
    let optimizers: Vec<Optimizer> = optimizers.collect();
    configs().enumerate().flat_map(move |(index, config)| {
        let (mut all, optimizers) = (networks(), optimizers.clone());
        // Each family, and each storage.
        if index.is_multiple_of(2) {
            all.extend(edges());
        }
        let of_network = all.into_iter().zip(optimizers.into_iter().cycle());
        of_network.flat_map(move |(network, optimizer)| {
            // In a smaller binding, weights are split.
            let blocks = [LIMIT, 1100];
            let winograd = Algorithm::Winograd { tile: 4 };
            let passes = [(1, false, Algorithm::Direct), (3, true, Algorithm::Direct), (17, false, winograd)];
            let ways = passes.into_iter().flat_map(move |pass| blocks.map(|limit| (pass, limit)));
            let fits = move |(pass, limit): (PassOptions, u64)| {
                let lowered = lower(&network, config, pass, limit, (optimizer, pass.1.then_some(1.0)));
                // A block of weights may exceed the small binding.
                assert!(lowered.is_ok() || limit < LIMIT, "{}", network.name());
                lowered.ok()
            };
            ways.filter_map(fits).collect::<Vec<_>>()
        })
    })
}

/// Networks of one layer and a fully connected one, at shapes that are prone to wrong indices.
fn edges() -> Vec<Network> {
    let uneven = Padding { top: 0, left: 2, bottom: 1, right: 0 };
    let gaps = Window { dilation: [3, 1], padding: uneven, ..Window::square(3, 2) };
    let ops = [
        (Op::Conv(Conv::new(6, 8).stride(4)), Shape::new(3, 8, 8)),
        (Op::Conv(Conv::new(6, 3).stride(12)), Shape::new(3, 14, 15)),
        (Op::Conv(Conv::new(5, 3).padding(1)), Shape::new(3, 1, 1)),
        (Op::Conv(Conv::new(14, 3).groups(7)), Shape::new(21, 5, 5)),
        (Op::Conv(Conv::new(64, 3).groups(2).padding(1)), Shape::new(32, 6, 5)),
        (Op::Conv(Conv::new(130, 5).padding(uneven)), Shape::new(10, 6, 5)),
        (Op::Conv(Conv::new(10, 1).window(gaps)), Shape::new(3, 9, 8)),
        (Op::Conv(Conv::new(12, 1).activation(Activation::Elu { alpha: 0.5 })), Shape::new(130, 3, 3)),
        (
            Op::MaxPool(MaxPool::new(3, 2).padding(Padding { top: 0, left: 0, bottom: 1, right: 2 })),
            Shape::new(7, 12, 10),
        ),
        (Op::MaxPool(MaxPool { window: gaps }), Shape::new(3, 9, 8)),
        (Op::LocalResponseNorm(LocalResponseNorm { size: 9, ..LocalResponseNorm::CAFFE }), Shape::new(48, 3, 2)),
        (Op::Linear(Linear::new(200)), Shape::new(5, 3, 2)),
        (Op::Softmax, Shape::new(7, 5, 3)),
    ];
    let network = |(op, input): (Op, Shape)| {
        let first = ("conv0".to_string(), Op::Conv(Conv::new(input.channels, 1).relu()));
        let layers =
            [first, ("layer".into(), op), ("drop".into(), Op::Dropout), ("fc".into(), Op::Linear(Linear::new(9)))];
        Network::new("edge", input, layers).unwrap()
    };
    ops.into_iter().map(network).collect()
}

/// The gradients of small networks in several kernel configurations: what `run` computes, against the f64 twins.
pub(super) fn check(configs: impl IntoIterator<Item = KernelConfig>, mut run: impl FnMut(Job) -> Result<Job, String>) {
    for config in configs {
        for network in networks() {
            let weights = weights(&network);
            let (inputs, classes) = images(&network, 2);
            let wide: Vec<f64> = inputs.iter().map(|&v| v.into()).collect();
            let (expected, _) = reference::gradients(&network, &weights, &wide, &classes).unwrap();
            for algorithm in algorithms(&network) {
                let training = lower(&network, config, (2, true, algorithm), LIMIT, (Optimizer::SGD, None)).unwrap();
                let job = Job::of_training(&training, &network, &weights, &inputs, &classes);
                let job = run(job).unwrap_or_else(|e| panic!("{config:?}: {e}"));
                let shapes: BTreeMap<String, Vec<usize>> = network.parameters().collect();
                for master in &training.masters {
                    let (mut found, packed) =
                        (vec![0.0; shapes[&master.tensor].iter().product()], job.read(master.gradient.unwrap()));
                    match &master.place {
                        Place::Weight(packing, blocks) => packing.unpack(blocks.clone(), &packed, &mut found),
                        Place::Bias(packing) => found = packing.unpack_columns(&packed),
                    }
                    let error = reference::relative_error(&found, &expected[&master.tensor]);
                    let of = format!("{config:?}, {algorithm:?}: {} of {}", master.tensor, network.name());
                    println!("{of}: {error:.1e}");
                    assert!(error <= 1e-5, "{of}: {error:e}");
                }
            }
            for rule in RULES {
                let gradient = lower_gradient(&network, config, LIMIT, rule).unwrap();
                let seeds = splitmix::uniform(5, 2 * gradient.of.shape.len(), 1.0);
                let job = Job::of_gradient(&gradient, &weights, &inputs, &seeds);
                let job = run(job).unwrap_or_else(|e| panic!("{config:?}: {e}"));
                let found = to_chw(&job.read(gradient.gradient.array), network.input(), 2);
                let of = network.layers()[without_softmax(&network).len() - 1].name.as_str();
                let each =
                    |values: &[f32], image: usize| values.chunks_exact(values.len() / 2).nth(image).unwrap().to_vec();
                let wide = |values: Vec<f32>| values.into_iter().map(f64::from).collect::<Vec<_>>();
                for image in 0..2 {
                    let (input, seed) = (wide(each(&inputs, image)), wide(each(&seeds, image)));
                    let expected =
                        reference::layer_gradient(&network, &weights, &input, (of, None), &seed, rule).unwrap();
                    let error = reference::relative_error(&each(&found, image), &expected);
                    assert!(error <= 1e-5, "{config:?}, {rule:?}: the input of {}: {error:e}", network.name());
                }
            }
        }
    }
}
