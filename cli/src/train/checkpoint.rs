//! The files of a training: best.safetensors, and last.safetensors from which it goes on.

use std::path::{Path, PathBuf};

use alexnet_wgpu::{Model, Network, Weights, train::TrainerState};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::failure::Failure;

/// The key of the metadata.
const KEY: &str = "alexnet.training";
const LAST: &str = "last.safetensors";
const BEST: &str = "best.safetensors";

/// How far a training is.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Progress {
    version: u32,
    steps: u64,
    /// What must be the same to go on.
    settings: Value,
    /// The best accuracy of the pictures held back.
    pub best: Option<f64>,
    /// Epochs since then.
    pub stalled: u64,
    /// How often the plateau schedule has divided the rate.
    pub divided: u64,
    /// Steps in which the loss was that of guesses.
    pub flat: u64,
}

impl Progress {
    pub fn new(settings: Value) -> Self {
        Self { version: 1, steps: 0, settings, best: None, stalled: 0, divided: 0, flat: 0 }
    }
}

/// The file from which a training goes on.
pub fn last(folder: &Path) -> PathBuf {
    folder.join(LAST)
}

/// The model to use: the best one, once there is one.
pub fn best(folder: &Path) -> PathBuf {
    let best = folder.join(BEST);
    if best.exists() { best } else { last(folder) }
}

/// Whether a model is in `folder`.
pub fn exists(folder: &Path) -> bool {
    last(folder).exists()
}

/// Writes the model, with what a training goes on from, and without it if it is the best so far.
pub fn save(
    folder: &Path,
    model: &Model,
    state: &TrainerState,
    progress: &Progress,
    is_best: bool,
) -> Result<(), Failure> {
    let mut weights = model.to_weights()?;
    if is_best {
        weights.save(folder.join(BEST))?;
    }
    let moments = state.moments.iter().map(|(name, tensor)| (format!("{}{name}", Model::TRAINING), tensor.clone()));
    weights.extend(moments);
    let progress = Progress { steps: state.steps, ..progress.clone() };
    weights.metadata.insert(KEY.into(), serde_json::to_string(&progress)?);
    Ok(weights.save(last(folder))?)
}

/// Reads what a training goes on from.
pub fn load(folder: &Path, network: &Network, settings: &Value) -> Result<(TrainerState, Progress), Failure> {
    let path = last(folder);
    let name = path.display();
    let file = Weights::open(&path)?;
    let Some(text) = file.metadata.get(KEY) else {
        return Err(Failure::run(format!("{name}: expected a file of `alexnet train`, found another one")));
    };
    let progress: Progress =
        serde_json::from_str(text).map_err(|e| Failure::run(format!("{name}: its note about the training: {e}")))?;
    if progress.version != 1 {
        return Err(Failure::run(format!(
            "{name}: expected version 1 of the training's note, found {}",
            progress.version
        )));
    }
    if let Some(difference) = difference(&progress.settings, settings) {
        return Err(Failure::usage(format!("{name}: {difference}: go on with the options that it was begun with")));
    }
    let mut state = TrainerState::new(progress.steps);
    state.weights = file.of_network(network)?;
    for (tensor, value) in file.iter() {
        if let Some(tensor) = tensor.strip_prefix(Model::TRAINING) {
            state.moments.insert(tensor, value.clone());
        }
    }
    Ok((state, progress))
}

/// The first setting that differs.
fn difference(before: &Value, now: &Value) -> Option<String> {
    let now = now.as_object()?;
    let (key, value) = now.iter().find(|(key, value)| before.get(key.as_str()).unwrap_or(&Value::Null) != *value)?;
    let before = before.get(key.as_str()).map(ToString::to_string).unwrap_or_default();
    Some(format!("expected {key} {before}, found {value}"))
}
