//! The names of a state dict's tensors: their grouping into modules, and the modules' order.

use std::{cmp::Ordering, collections::HashMap};

use crate::weights::{Tensor, Weights};

/// The tensors that share a name up to the last dot, as those of a PyTorch module do.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Module<'a> {
    pub name: &'a str,
    pub weight: Option<&'a Tensor>,
    pub bias: Option<&'a Tensor>,
    /// For a batch normalisation.
    pub mean: Option<&'a Tensor>,
    pub variance: Option<&'a Tensor>,
}

impl<'a> Module<'a> {
    /// Whether this is a convolution or a fully connected layer.
    pub fn is_layer(&self) -> bool {
        !self.is_norm() && self.weight.is_some_and(|weight| matches!(weight.shape().len(), 2 | 4))
    }

    /// Whether this is a batch normalisation.
    pub fn is_norm(&self) -> bool {
        self.mean.is_some() && self.variance.is_some()
    }

    /// The number of outputs.
    pub fn rows(&self) -> usize {
        self.weight.and_then(|weight| weight.shape().first().copied()).unwrap_or(0)
    }

    /// The parts of a name that ends in a number: the parent module, and the index in it.
    pub fn position(&self) -> Option<(&'a str, usize)> {
        position(self.name)
    }
}

/// The parts of a name that ends in a number.
pub(super) fn position(name: &str) -> Option<(&str, usize)> {
    let (parent, last) = name.rsplit_once('.').unwrap_or(("", name));
    Some((parent, last.parse().ok()?))
}

/// The modules in the order of `order`, the file's own order of its tensors, or by name where it has none.
pub(super) fn modules<'a>(weights: &'a Weights, order: &[String]) -> Vec<Module<'a>> {
    let places: HashMap<&str, usize> = order.iter().enumerate().map(|(place, name)| (name.as_str(), place)).collect();
    let mut modules: HashMap<&str, (usize, Module<'a>)> = HashMap::new();
    for (name, tensor) in &weights.tensors {
        let Some((module, kind)) = name.rsplit_once('.') else { continue };
        let (place, found) =
            modules.entry(module).or_insert((usize::MAX, Module { name: module, ..Module::default() }));
        *place = places.get(name.as_str()).copied().unwrap_or(usize::MAX).min(*place);
        match kind {
            "weight" => found.weight = Some(tensor),
            "bias" => found.bias = Some(tensor),
            "running_mean" => found.mean = Some(tensor),
            "running_var" => found.variance = Some(tensor),
            _ => {}
        }
    }
    let mut modules: Vec<(usize, Module<'a>)> = modules.into_values().collect();
    modules.sort_by(|(a, m), (b, n)| a.cmp(b).then_with(|| natural_order(m.name, n.name)));
    modules.into_iter().map(|(_, module)| module).collect()
}

/// The numbers in a name: the same for `conv1` and `bn1`.
pub(super) fn numbers(name: &str) -> Vec<&str> {
    name.split(|c: char| !c.is_ascii_digit()).filter(|digits| !digits.is_empty()).collect()
}

/// Natural order of names: numbers in them by value, so that `features.10` is after `features.3`.
pub(super) fn natural_order(a: &str, b: &str) -> Ordering {
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
    fn numbers_of_names() {
        assert_eq!(numbers("layer2.bn10"), ["2", "10"]);
        assert_eq!(position("features.12"), Some(("features", 12)));
        assert_eq!(position("3"), Some(("", 3)));
        assert_eq!(position("features.conv1"), None);
    }
}
