//! The results of `alexnet tune`, kept in a file for later runs.

use std::{io::Write, path::PathBuf};

use alexnet_wgpu::{Arithmetic, Gpu, Network, Precision, TunedConfig, write_atomically};
use serde::{Deserialize, Serialize};

use crate::{failure::Failure, files};

/// A choice and the conditions of its measurement.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Tuned {
    #[serde(flatten)]
    key: Key,
    pub choice: TunedConfig,
    /// Milliseconds per batch.
    ms: f64,
}

/// The conditions under which a choice applies: other drivers and versions may prefer other kernels.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Key {
    adapter: String,
    backend: String,
    driver: String,
    network: String,
    batch: usize,
    dtype: String,
    /// Whether operands may be rounded to f16.
    #[serde(default)]
    fast: bool,
}

impl Key {
    fn new(gpu: &Gpu, network: &Network, batch: usize, precision: Precision, arithmetic: Arithmetic) -> Self {
        let info = gpu.info();
        Self {
            adapter: info.name.clone(),
            backend: info.backend.to_string(),
            driver: format!("{} {}", info.driver, info.driver_info),
            network: network.name().into(),
            batch,
            dtype: precision.to_string(),
            fast: arithmetic == Arithmetic::Fast,
        }
    }
}

/// The file of the choices; `None` where the system has no such folder.
pub fn place() -> Option<PathBuf> {
    Some(files::cache()?.join("choices.json"))
}

/// The choice for this adapter, network, batch and precision. An unreadable file counts as empty, since `alexnet tune` can
/// write it again.
pub fn load(
    gpu: &Gpu,
    network: &Network,
    batch: usize,
    precision: Precision,
    arithmetic: Arithmetic,
) -> Option<TunedConfig> {
    let key = Key::new(gpu, network, batch, precision, arithmetic);
    all().into_iter().find(|tuned| tuned.key == key).map(|tuned| tuned.choice)
}

/// Stores `choice`, replacing an earlier one.
pub fn store(
    gpu: &Gpu,
    network: &Network,
    batch: usize,
    precision: Precision,
    arithmetic: Arithmetic,
    choice: &TunedConfig,
    ms: f64,
) -> Result<PathBuf, Failure> {
    let place = place().ok_or_else(|| Failure::run("there is no cache folder: set HOME"))?;
    let key = Key::new(gpu, network, batch, precision, arithmetic);
    let mut kept: Vec<Tuned> = all().into_iter().filter(|tuned| tuned.key != key).collect();
    kept.push(Tuned { key, choice: choice.clone(), ms });
    let cannot = |error: std::io::Error| Failure::cannot_write(&place, error);
    if let Some(folder) = place.parent() {
        std::fs::create_dir_all(folder).map_err(cannot)?;
    }
    let text = serde_json::to_vec_pretty(&kept)?;
    write_atomically(&place, |file| file.write_all(&text)).map_err(cannot)?;
    Ok(place)
}

fn all() -> Vec<Tuned> {
    let Some(text) = place().and_then(|place| std::fs::read(place).ok()) else { return Vec::new() };
    serde_json::from_slice(&text).unwrap_or_else(|error| {
        log::warn!("choices.json: {error}");
        Vec::new()
    })
}
