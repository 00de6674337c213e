//! Search for the state dict in a checkpoint, which training programs store beside epochs, optimisers and averages.

use std::collections::{HashSet, VecDeque};

use super::{
    SAVE, malformed,
    pickle::{Id, Pickle, Value, full_name},
};
use crate::text::clip;
use crate::weights::WeightsError;

/// The usual keys of the state dict, the likeliest first.
const NAMES: [&str; 10] = [
    "state_dict",
    "model_state_dict",
    "model",
    "net",
    "network",
    "module",
    "weights",
    "params",
    "model_state",
    "parameters",
];

/// The maximum depth of state dicts.
const MAX_DEPTH: usize = 8;

/// The most dicts and other entries that are examined: checkpoints have tens.
const MAX_DICTS: usize = 4096;

/// A dict of tensors.
pub(super) struct StateDict<'p> {
    pub pairs: &'p [(Id, Id)],
    /// The name of the dict, where the file has others or further content.
    pub part: Option<String>,
}

/// A dict that may be the state dict.
struct Candidate {
    id: Id,
    path: Vec<String>,
    /// Whether it has a layer's `.weight`, rather than just any tensor.
    layers: bool,
}

impl Candidate {
    /// The rank: lower is likelier.
    fn rank(&self) -> (bool, usize) {
        let rank = match self.path.last() {
            Some(name) => NAMES.iter().position(|known| known == name).unwrap_or_else(|| {
                let average = ["ema", "average", "shadow", "swa"].iter().any(|word| name.to_lowercase().contains(word));
                NAMES.len() + if average { 2 } else { 1 }
            }),
            None => NAMES.len(),
        };
        (!self.layers, rank)
    }

    fn name(&self) -> String {
        self.path.join(".")
    }
}

/// Finds the state dict of a checkpoint.
pub(super) fn find<'p>(pickle: &'p Pickle<'_>) -> Result<StateDict<'p>, WeightsError> {
    let (candidates, beside) = candidates(pickle);
    let best = candidates.iter().min_by_key(|candidate| candidate.rank());
    let Some((best, pairs)) = best.and_then(|best| Some((best, pickle.pairs(best.id)?))) else {
        return Err(nothing(pickle));
    };
    let others: Vec<String> =
        candidates.iter().filter(|c| c.id != best.id && c.layers).map(|c| code(&c.name())).collect();
    let part = match (best.path.is_empty(), others.is_empty()) {
        (true, true) => None,
        (true, false) => Some(format!("the file's own tensors, and not those of {}", some(others))),
        (false, false) => Some(format!("`{}`, and not {}", clip(&best.name()), some(others))),
        (false, true) if beside.is_empty() => Some(format!("`{}`", clip(&best.name()))),
        (false, true) => Some(format!("`{}`, beside {}", clip(&best.name()), some(beside))),
    };
    Ok(StateDict { pairs, part })
}

/// All dicts with tensors that can be reached by text keys, and the other keys of the outermost.
fn candidates(pickle: &Pickle<'_>) -> (Vec<Candidate>, Vec<String>) {
    let mut candidates = Vec::new();
    let mut beside = Vec::new();
    let mut seen = HashSet::from([pickle.root]);
    let mut waiting = VecDeque::from([(pickle.root, Vec::new())]);
    while let Some((id, path)) = waiting.pop_front() {
        let Some(pairs) = pickle.pairs(id) else { continue };
        let mut tensors = false;
        let mut layers = false;
        for &(key, value) in pairs {
            let Some(name) = pickle.text(key) else { continue };
            match pickle.get(value) {
                Value::Tensor(view) => {
                    tensors = true;
                    layers |= name.ends_with(".weight") && view.shape.len() > 1;
                }
                Value::Dict(_) | Value::Object(_) => {
                    // An optimiser's state has the shapes of the weights, but is not the weights.
                    let optimiser = name.to_lowercase().contains("optim");
                    let room = path.len() < MAX_DEPTH && seen.len() < MAX_DICTS;
                    if pickle.pairs(value).is_some() && !optimiser && room && seen.insert(value) {
                        let mut path = path.clone();
                        path.push(clip(name));
                        waiting.push_back((value, path));
                    } else if path.is_empty() && beside.len() < MAX_DICTS {
                        beside.push(code(name));
                    }
                }
                _ if path.is_empty() && beside.len() < MAX_DICTS => beside.push(code(name)),
                _ => {}
            }
        }
        if tensors {
            candidates.push(Candidate { id, path, layers });
        }
    }
    (candidates, beside)
}

/// The error for a checkpoint without a state dict, with the keys found.
fn nothing(pickle: &Pickle<'_>) -> WeightsError {
    match pickle.get(pickle.root) {
        Value::Dict(pairs) => {
            let dicts =
                pairs.iter().filter(|(_, value)| matches!(pickle.get(*value), Value::Dict(pairs) if !pairs.is_empty()));
            let dicts: Vec<String> = dicts.filter_map(|(key, _)| pickle.text(*key)).map(code).collect();
            let found = if dicts.is_empty() { "none".into() } else { format!("none but the dicts {}", some(dicts)) };
            malformed(format!("a state dict with tensors, found {found}")).advising(SAVE)
        }
        Value::Object(object) if !object.module.is_empty() => {
            WeightsError::Global { global: full_name(object.module, object.name) }
        }
        _ => malformed("a dict of tensors, found another object").advising(SAVE),
    }
}

fn code(name: &str) -> String {
    format!("`{}`", clip(name))
}

/// The first of several names, for error messages.
fn some(mut names: Vec<String>) -> String {
    const MOST: usize = 8;
    let more = names.len().saturating_sub(MOST);
    names.truncate(MOST);
    names.join(", ") + &if more > 0 { format!(" and {more} more") } else { String::new() }
}
