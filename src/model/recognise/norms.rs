//! Folding of a state dict's batch normalisations into the layers before them.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::names::{Module, modules, numbers};
use crate::model::formats::{BatchNorm, fold};
use crate::weights::{Tensor, Weights, WeightsError};

/// Tensors with the batch normalisations folded in.
pub(super) struct Folded {
    pub tensors: BTreeMap<String, Tensor>,
    /// The names of the batch normalisations.
    pub norms: Vec<String>,
    /// Whether each layer is certain from the name alone, rather than from the modules' order as well.
    pub certain: bool,
}

/// Folds every batch normalisation into the layer that it follows.
///
/// A state dict contains the modules, not their connections. In a `Sequential`, the numbers of the modules give the one
/// directly before; elsewhere the numbers in the names do (`conv1`, `bn1`), or the file's order.
pub(super) fn fold_norms(weights: &Weights, order: &[String]) -> Result<Folded, WeightsError> {
    let modules = modules(weights, order);
    let mut folded = Folded { tensors: BTreeMap::new(), norms: Vec::new(), certain: true };
    let index = Index::new(&modules, !order.is_empty());
    let mut taken = HashSet::new();
    let mut changed: BTreeMap<String, Tensor> = BTreeMap::new();
    for (place, norm) in modules.iter().enumerate().filter(|(_, module)| module.is_norm()) {
        let fail = |what: String| WeightsError::BatchNorm { layer: norm.name.into(), what };
        let (layer, certain) = index.layer_before(place).map_err(fail)?;
        if !taken.insert(layer.name) {
            return Err(fail(format!("a layer of its own, found `{}`, which another follows", layer.name)));
        }
        let Some(weight) = layer.weight else { continue };
        let [weight, bias] = fold(&batch_norm(norm), weight, layer.bias).map_err(fail)?;
        changed.insert(format!("{}.weight", layer.name), weight);
        changed.insert(format!("{}.bias", layer.name), bias);
        folded.norms.push(norm.name.into());
        folded.certain &= certain;
    }
    let names: HashSet<&str> = folded.norms.iter().map(String::as_str).collect();
    let of_norm = |name: &str| name.rsplit_once('.').is_some_and(|(module, _)| names.contains(module));
    folded.tensors =
        weights.tensors.iter().filter(|(name, _)| !of_norm(name)).map(|(n, t)| (n.clone(), t.clone())).collect();
    folded.tensors.extend(changed);
    Ok(folded)
}

fn batch_norm(norm: &Module<'_>) -> BatchNorm {
    let numbers = |tensor: Option<&Tensor>| tensor.map(Tensor::to_f64);
    BatchNorm {
        mean: numbers(norm.mean).unwrap_or_default(),
        variance: numbers(norm.variance).unwrap_or_default(),
        scale: numbers(norm.weight),
        shift: numbers(norm.bias),
        epsilon: BatchNorm::EPSILON,
    }
}

/// Lookup of modules by parts of their names.
struct Index<'a> {
    modules: &'a [Module<'a>],
    /// By parent module and index in it.
    numbered: HashMap<&'a str, BTreeMap<usize, usize>>,
    /// Layers by the numbers in their names and by their outputs; `None` where there are several.
    alike: HashMap<(Vec<&'a str>, usize), Option<usize>>,
    /// Whether the modules are in the file's order.
    ordered: bool,
}

impl<'a> Index<'a> {
    fn new(modules: &'a [Module<'a>], ordered: bool) -> Self {
        let mut index = Self { modules, numbered: HashMap::new(), alike: HashMap::new(), ordered };
        for (place, module) in modules.iter().enumerate() {
            if let Some((parent, number)) = module.position() {
                index.numbered.entry(parent).or_default().insert(number, place);
            }
            if module.is_layer() {
                let alike = index.alike.entry((numbers(module.name), module.rows()));
                alike.and_modify(|other| *other = None).or_insert(Some(place));
            }
        }
        index
    }

    /// The layer that the batch normalisation at `place` follows, and whether its name gives it.
    fn layer_before(&self, place: usize) -> Result<(&Module<'a>, bool), String> {
        let norm = &self.modules[place];
        let siblings = norm.position().and_then(|(parent, number)| Some((self.numbered.get(parent)?, number)));
        if let Some((&number, &before)) = siblings.and_then(|(all, number)| all.range(..number).next_back()) {
            let directly = siblings.is_some_and(|(_, own)| number + 1 == own);
            let module = &self.modules[before];
            let found = match (directly, module.is_layer()) {
                (true, true) => return Ok((module, true)),
                (true, false) => format!("`{}`", module.name),
                (false, _) => format!("something that learns nothing behind `{}`, a ReLU or a pooling", module.name),
            };
            return Err(format!("a convolution or fully connected layer directly before it, found {found}"));
        }
        let own = numbers(norm.name);
        let channels = norm.mean.map_or(0, |mean| mean.numbers().len());
        if !own.is_empty()
            && let Some(&Some(layer)) = self.alike.get(&(own, channels))
        {
            return Ok((&self.modules[layer], false));
        }
        match place.checked_sub(1).map(|before| &self.modules[before]) {
            Some(layer) if self.ordered && layer.is_layer() => Ok((layer, false)),
            Some(_) => Err("names or an order that tell which layer it follows, found neither".into()),
            None => Err("a convolution or fully connected layer before it, found none".into()),
        }
    }
}
