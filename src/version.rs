//! The version of JSON that is kept in files: networks, preprocessing and tuned configurations.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

/// The version of JSON that is written.
const VERSION: u64 = 1;

/// The field `version` of JSON, which is [`VERSION`]. JSON without one is of version 1; one of another version is an error.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Version;

impl Version {
    /// Checks the field's value.
    ///
    /// # Errors
    ///
    /// A message for another version.
    pub fn check(value: &Value) -> Result<Self, String> {
        match value.as_u64() {
            Some(VERSION) => Ok(Self),
            Some(newer) if newer > VERSION => {
                Err(format!("version {newer}, where this version of the library reads {VERSION}: update the library"))
            }
            _ => Err(format!("expected `version` to be {VERSION}, found {value:.40}")),
        }
    }
}

impl Serialize for Version {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        VERSION.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Version {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::check(&Value::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use crate::{GivenPreprocessing, Network, Preprocessing, TunedConfig};

    /// JSON as it was written before it had a version.
    const NETWORK: &str = r#"{"name": "tiny", "input": {"channels": 1, "height": 8, "width": 8}, "layers": [
        {"name": "conv1", "op": "conv", "out_channels": 4, "kernel": [3, 3], "stride": [1, 1], "groups": 1, "relu": true}]}"#;
    const PREPROCESSING: &str = r#"{"resize":{"shorter-side":256},"crop":[224,224],"channels":"rgb","scale":0.003921569,
        "mean":[0.485,0.456,0.406],"std":[0.229,0.224,0.225]}"#;
    const TUNED: &str = r#"{"style":{"family":{"broadcast":{"lanes":8}},"storage":"texture"},
        "algorithms":{"conv2":{"winograd":{"tile":4}},"conv1":"direct"}}"#;

    /// Reads JSON without a version, then as it is written again, then with other versions.
    fn check<T: PartialEq + std::fmt::Debug>(
        json: &str,
        read: impl Fn(&str) -> Result<T, String>,
        write: impl Fn(&T) -> String,
    ) {
        let value = read(json).unwrap();
        let written = write(&value);
        assert_eq!(read(&written).as_ref(), Ok(&value));
        assert!(written.contains(r#""version":1"#), "{written}");
        let first = read(&json.replacen('{', r#"{"version": 1, "#, 1));
        assert_eq!(first, Ok(value));
        let newer = read(&json.replacen('{', r#"{"version": 2, "#, 1)).unwrap_err();
        assert!(newer.contains("version 2, where this version of the library reads 1: update the library"), "{newer}");
        for wrong in ["0", "-1", "1.5", "\"1\"", "null"] {
            let error = read(&json.replacen('{', &format!(r#"{{"version": {wrong}, "#), 1)).unwrap_err();
            assert!(error.contains(&format!("expected `version` to be 1, found {wrong}")), "{error}");
        }
    }

    #[test]
    fn json_of_this_version_and_without_one() {
        let text = |value: serde_json::Result<String>| value.unwrap();
        let network = |json: &str| Network::from_json(json).map_err(|e| e.to_string());
        check(NETWORK, network, |network| text(network.to_json()));
        check(
            NETWORK,
            |json| serde_json::from_str::<Network>(json).map_err(|e| e.to_string()),
            |n| text(serde_json::to_string(n)),
        );
        let given = |json: &str| match json.parse() {
            Ok(GivenPreprocessing::Own(own)) => Ok(own),
            Ok(other) => Err(format!("{other:?}")),
            Err(e) => Err(e.to_string()),
        };
        check(PREPROCESSING, given, |p: &Preprocessing| text(serde_json::to_string(p)));
        assert_eq!(given(PREPROCESSING), Ok(Preprocessing::torchvision(224)));
        let tuned = |json: &str| serde_json::from_str::<TunedConfig>(json).map_err(|e| e.to_string());
        check(TUNED, tuned, |tuned| text(serde_json::to_string(tuned)));
        assert_eq!(tuned(TUNED).unwrap().algorithms.len(), 2);
    }

    /// What only a newer version writes is reported as that, wherever it stands.
    #[test]
    fn newer_json_is_not_called_a_mistake() {
        let newer = NETWORK.replace("conv\"", "deconv\"").replacen("}]}", "}], \"version\": 2}", 1);
        let error = Network::from_json(&newer).unwrap_err();
        assert!(error.reason.starts_with("version 2"), "{error}");
    }
}
