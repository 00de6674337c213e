//! Metadata of this project's weight files: versioned JSON in which unknown keys are errors.

use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::{
    layers::Op,
    network::{Layer, Network},
    version::Version,
    weights::WeightsError,
};

/// The metadata keys of this project's safetensors files.
pub(crate) mod key {
    /// An AlexNet's name, or the whole network as JSON.
    pub const NETWORK: &str = "network";
    /// [`crate::Preprocessing`] as JSON.
    pub const PREPROCESSING: &str = "preprocessing";
    /// A JSON list of strings.
    pub const LABELS: &str = "labels";
}

/// The error for text that is not a network's JSON.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a network as JSON with its name, input and layers, found `{found}` ({reason})")]
pub struct UnknownNetworkJson {
    /// The text, or its beginning.
    pub found: String,
    /// The reason.
    pub reason: String,
}

impl Network {
    /// The network as JSON, in the form of weight files' metadata: one layer per line.
    ///
    /// # Errors
    ///
    /// None for a valid network.
    pub fn to_json(&self) -> Result<String, serde_json::Error> {
        #[derive(Serialize)]
        struct Line<'a> {
            name: &'a str,
            #[serde(flatten)]
            op: &'a Op,
        }
        let line = |layer: &Layer| serde_json::to_string(&Line { name: &layer.name, op: &layer.op });
        let layers = self.layers().iter().map(line).collect::<Result<Vec<_>, _>>()?.join(",\n");
        let (name, input) = (serde_json::to_string(self.name())?, serde_json::to_string(&self.input())?);
        let version = serde_json::to_string(&Version)?;
        Ok(format!("{{\"version\":{version},\"name\":{name},\"input\":{input},\"layers\":[\n{layers}\n]}}"))
    }

    /// Reads network JSON, written by [`Network::to_json`] or by hand: `name`, `input` and `layers`, and `version` where it
    /// is not the first.
    ///
    /// ```
    /// use alexnet_wgpu::{Network, Shape};
    ///
    /// let json = r#"{"version": 1, "name": "tiny", "input": {"channels": 1, "height": 8, "width": 8}, "layers": [
    ///     {"name": "conv1", "op": "conv", "out_channels": 4, "kernel": [3, 3], "stride": [1, 1], "groups": 1, "relu": true},
    ///     {"name": "fc2", "op": "linear", "out_features": 10, "relu": false}]}"#;
    /// let network = Network::from_json(json)?;
    /// assert_eq!(network.output(), Shape::vector(10));
    /// # Ok::<(), alexnet_wgpu::UnknownNetworkJson>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`UnknownNetworkJson`] names the part that is unknown or does not fit.
    pub fn from_json(json: &str) -> Result<Self, UnknownNetworkJson> {
        known(json).map_err(|reason| UnknownNetworkJson { found: beginning(json), reason })
    }
}

/// Whether a note is in this project's form of a network, valid or not.
pub(crate) fn is_network(note: &str) -> bool {
    let json: Option<Value> = serde_json::from_str(note).ok();
    json.is_some_and(|json| json.get("layers").is_some() && json.get("input").is_some())
}

/// An error for an invalid metadata entry.
pub(crate) fn metadata(key: &str, expected: &str, found: &str, reason: Option<String>) -> WeightsError {
    let reason = reason.map(|reason| format!(" ({reason})")).unwrap_or_default();
    WeightsError::Metadata { key: key.into(), expected: expected.into(), found: beginning(found), reason }
}

/// The beginning of a text, for error messages.
pub(crate) fn beginning(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(80).collect()
}

/// Parses JSON and refuses unknown keys: a misspelt one would silently change the result.
pub(crate) fn known<T: Serialize + DeserializeOwned>(json: &str) -> Result<T, String> {
    let given: Value = serde_json::from_str(json).map_err(|e| e.to_string())?;
    // First, since a newer version may have keys and values that are unknown here.
    given.get("version").map_or(Ok(Version), Version::check)?;
    // Parsed from the text, for the line and column in messages.
    let understood: T = serde_json::from_str(json).map_err(|e| e.to_string())?;
    let again = serde_json::to_value(&understood).map_err(|e| e.to_string())?;
    unknown_key(&given, &again).map_or(Ok(understood), |key| Err(format!("`{key:.40}` means nothing here")))
}

/// A key in `given` that is not in `understood`.
fn unknown_key<'a>(given: &'a Value, understood: &Value) -> Option<&'a str> {
    match (given, understood) {
        (Value::Object(given), Value::Object(understood)) => given.iter().find_map(|(key, value)| {
            understood.get(key).map_or(Some(key.as_str()), |understood| unknown_key(value, understood))
        }),
        (Value::Array(given), Value::Array(understood)) => {
            given.iter().zip(understood).find_map(|(given, understood)| unknown_key(given, understood))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use super::*;
    use crate::AlexNet;

    #[test]
    fn keys_that_mean_nothing_are_refused() {
        let network = AlexNet::PAPER.network().unwrap();
        let json = network.to_json().unwrap();
        assert_eq!(Network::from_json(&json).unwrap(), network);
        let misspelt = json.replacen("\"padding\"", "\"pad\"", 1);
        assert_ne!(misspelt, json);
        let further = json.replacen("\"stride\"", "\"dilate\":[2,2],\"stride\"", 1);
        for (json, key) in [(misspelt, "pad"), (further, "dilate")] {
            let error = Network::from_json(&json).unwrap_err();
            assert_eq!(error.reason, format!("`{key}` means nothing here"));
        }
    }

    #[test]
    fn notes_of_this_project() {
        assert!(is_network(r#"{"name": "n", "input": {}, "layers": 3}"#));
        for other in ["timm/alexnet", r#"{"arch": "alexnet"}"#, "[]", ""] {
            assert!(!is_network(other), "{other}");
        }
    }
}
