//! Thresholds: those of the command line, and those of single cases in a file.

use std::{collections::BTreeMap, path::Path};

use serde::Deserialize;

use crate::{failure::Failure, files};

/// The largest values that count as alike; `None` is any.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Thresholds {
    /// LPIPS.
    pub lpips: Option<f32>,
    /// The largest value of the map.
    pub local: Option<f32>,
}

impl Thresholds {
    /// Whether a pair with these values counts as alike.
    pub fn admit(self, lpips: f32, local: f32) -> bool {
        self.lpips.is_none_or(|most| lpips <= most) && self.local.is_none_or(|most| local <= most)
    }

    /// These, with `others` where these have none.
    fn or(self, others: Self) -> Self {
        Self { lpips: self.lpips.or(others.lpips), local: self.local.or(others.local) }
    }
}

/// A file of thresholds by name.
#[derive(Debug, Default)]
pub struct Cases {
    all: Thresholds,
    by_name: BTreeMap<String, Thresholds>,
}

impl Cases {
    /// Those of the command line, and of a JSON file.
    pub fn new(all: Thresholds, file: Option<&Path>) -> Result<Self, Failure> {
        let Some(path) = file else { return Ok(Self { all, by_name: BTreeMap::new() }) };
        let by_name: BTreeMap<String, Thresholds> = serde_json::from_str(&files::json(path)?).map_err(|e| {
            let form = r#"expected JSON like {"menu.png": {"lpips": 0.02, "local": 0.3}}"#;
            Failure::run(format!("{}: {form}: {e}", path.display()))
        })?;
        let values = by_name.iter().flat_map(|(name, of)| [of.lpips, of.local].map(|value| (name, value)));
        for (name, value) in values {
            if let Some(value) = value.filter(|value| !(0.0..f32::INFINITY).contains(value)) {
                let path = path.display();
                return Err(Failure::run(format!(
                    "{path}: expected thresholds of at least 0, found {value} for {name}"
                )));
            }
        }
        Ok(Self { all, by_name })
    }

    /// The thresholds of the pair called `name`.
    pub fn of(&self, name: &str) -> Thresholds {
        self.by_name.get(name).copied().unwrap_or_default().or(self.all)
    }

    /// Names in the file that are none of `names`.
    pub fn unknown<'a>(&'a self, names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
        let names: std::collections::BTreeSet<&str> = names.collect();
        self.by_name.keys().map(String::as_str).filter(|name| !names.contains(name)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_case_goes_before_the_command_line() {
        let all = Thresholds { lpips: Some(0.1), local: Some(0.5) };
        let by_name = BTreeMap::from([("a".to_string(), Thresholds { lpips: Some(0.2), local: None })]);
        let cases = Cases { all, by_name };
        assert_eq!(cases.of("a"), Thresholds { lpips: Some(0.2), local: Some(0.5) });
        assert_eq!(cases.of("b"), all);
        assert_eq!(cases.unknown(["b"].into_iter()), ["a"]);
        assert!(all.admit(0.1, 0.5) && !all.admit(0.11, 0.0) && !all.admit(0.0, 0.51));
        assert!(Thresholds::default().admit(9.0, 9.0));
    }
}
