//! Lists of labels in common forms: text, JSON, and printed Python objects.

use std::{collections::BTreeMap, path::Path};

use serde_json::Value;

use crate::{failure::Failure, files};

const EXPECTED: &str = "a label on each line, optionally behind WordNet's id (n01440764 tench), or JSON: a list of \
 labels, or a \
    dict from index to label, to [id, label], or from label to index";

/// Labels in the order of the classes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Labels {
    pub names: Vec<String>,
    /// Alternative names of the classes, WordNet's ids, as used in file names. One per class, or empty.
    pub ids: Vec<String>,
}

/// The labels in a file.
pub fn read(path: &Path) -> Result<Labels, Failure> {
    let lines = files::labels(path)?;
    parse(&lines).map_err(|found| Failure::run(format!("{}: expected {EXPECTED}; found {found}", path.display())))
}

/// Parses a list; an error describes the text that was found.
fn parse(lines: &[String]) -> Result<Labels, String> {
    let first = lines.iter().map(|line| line.trim_start()).find(|line| !line.is_empty()).unwrap_or("");
    if first.starts_with(['{', '[']) {
        let text = lines.join("\n");
        let json =
            serde_json::from_str(&text).or_else(|error| serde_json::from_str(&json_of(&text)).map_err(|_| error));
        return of_json(&json.map_err(|error| format!("invalid JSON ({error})"))?);
    }
    if first.starts_with('<') {
        return Err(format!("markup that begins `{first:.20}`"));
    }
    if let Some(line) = lines.iter().position(|line| line.contains('\0')) {
        return Err(format!("a zero byte in line {}", line + 1));
    }
    let behind_ids: Option<Vec<(&str, &str)>> = lines.iter().map(|line| id_and_label(line)).collect();
    Ok(match behind_ids {
        Some(pairs) if !pairs.is_empty() => {
            let (ids, names) = pairs.into_iter().map(|(id, name)| (id.to_string(), name.to_string())).unzip();
            Labels { names, ids }
        }
        _ => Labels { names: lines.to_vec(), ids: Vec::new() },
    })
}

/// A line such as `n01440764 tench, Tinca tinca`.
fn id_and_label(line: &str) -> Option<(&str, &str)> {
    let (id, label) = line.split_once([' ', '\t'])?;
    (is_id(id) && !label.trim().is_empty()).then_some((id, label.trim()))
}

/// Whether the text is WordNet's id of a noun.
fn is_id(text: &str) -> bool {
    text.len() == 9 && text.strip_prefix('n').is_some_and(|digits| digits.bytes().all(|b| b.is_ascii_digit()))
}

fn of_json(json: &Value) -> Result<Labels, String> {
    match json {
        Value::Array(list) => entries(list.iter()),
        Value::Object(dict) => match dict.get("id2label") {
            // The form of Hugging Face's configurations.
            Some(labels @ Value::Object(_)) => of_json(labels),
            _ if dict.values().all(Value::is_u64) && !dict.is_empty() => {
                let pairs =
                    dict.iter().filter_map(|(label, index)| Some((index.as_u64()?, Value::from(label.as_str()))));
                entries(in_order(pairs)?.iter())
            }
            _ => {
                let pairs = dict.iter().map(|(index, label)| {
                    let index =
                        index.trim().parse().map_err(|_| format!("the key `{index:.40}`, which is not an index"))?;
                    Ok((index, label.clone()))
                });
                entries(in_order(pairs.collect::<Result<Vec<(u64, Value)>, String>>()?)?.iter())
            }
        },
        _ => Err("another JSON value".into()),
    }
}

/// The values of the indices from 0 on, without gaps.
fn in_order(pairs: impl IntoIterator<Item = (u64, Value)>) -> Result<Vec<Value>, String> {
    let mut twice = None;
    let mut by_index = BTreeMap::new();
    for (index, value) in pairs {
        if by_index.insert(index, value).is_some() {
            twice.get_or_insert(index);
        }
    }
    if let Some(index) = twice {
        return Err(format!("index {index} twice"));
    }
    match (0..).zip(by_index.keys()).find(|(expected, index)| expected != *index) {
        Some((expected, index)) => Err(format!("index {index} but no index {expected}")),
        None => Ok(by_index.into_values().collect()),
    }
}

/// Labels, or pairs of an id and a label.
fn entries<'a>(values: impl ExactSizeIterator<Item = &'a Value>) -> Result<Labels, String> {
    let count = values.len();
    let mut labels = Labels::default();
    for (index, value) in values.enumerate() {
        match value {
            Value::String(label) => labels.names.push(label.clone()),
            Value::Array(pair) => match pair.as_slice() {
                [Value::String(id), Value::String(label)] => {
                    labels.ids.push(id.clone());
                    labels.names.push(label.clone());
                }
                _ => return Err(format!("no [id, label] for class {index}")),
            },
            _ => return Err(format!("no label for class {index}")),
        }
    }
    if labels.ids.len() != count {
        labels.ids.clear();
    }
    Ok(labels)
}

/// A dict or a list printed by Python, as JSON: handles single quotes, tuples, numbers as keys, and trailing commas. Any
/// other text becomes invalid JSON.
fn json_of(python: &str) -> String {
    let mut json = String::with_capacity(python.len() + 16);
    let mut rest = python.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '\'' | '"' => {
                json.push('"');
                while let Some(inner) = rest.next() {
                    match inner {
                        end if end == c => break,
                        '"' => json += "\\\"",
                        '\\' => match rest.next() {
                            Some('\'') => json.push('\''),
                            Some(escaped) => json.extend(['\\', escaped]),
                            None => return json,
                        },
                        other => json.push(other),
                    }
                }
                json.push('"');
            }
            '(' => json.push('['),
            '}' | ']' | ')' => {
                let end = json.trim_end().len();
                if json[..end].ends_with(',') {
                    json.truncate(end - 1);
                }
                json.push(if c == ')' { ']' } else { c });
            }
            digit if digit.is_ascii_digit() => {
                let mut number = String::from(digit);
                while let Some(&next) = rest.peek().filter(|next| next.is_ascii_digit()) {
                    number.push(next);
                    rest.next();
                }
                let is_key = rest.clone().find(|c| !c.is_whitespace()) == Some(':');
                json += &if is_key { format!("\"{number}\"") } else { number };
            }
            other => json.push(other),
        }
    }
    json
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use super::*;

    fn of(text: &str) -> Result<Labels, String> {
        parse(&text.lines().map(String::from).collect::<Vec<_>>())
    }

    #[test]
    fn labels_of_many_kinds() {
        let names = |text: &str| of(text).unwrap().names;
        let expected = ["cat", "it's a dog", "eel, \"conger\""];
        for text in [
            "cat\nit's a dog\neel, \"conger\"",
            r#"["cat", "it's a dog", "eel, \"conger\""]"#,
            r#"{"0": "cat", "2": "eel, \"conger\"", "1": "it's a dog"}"#,
            r#"{"it's a dog": 1, "cat": 0, "eel, \"conger\"": 2}"#,
            r#"{"0": ["n1", "cat"], "1": ["n2", "it's a dog"], "2": ["n3", "eel, \"conger\""]}"#,
            "{\"architectures\": [],\n\"id2label\": {\"0\": \"cat\", \"1\": \"it's a dog\", \"2\": \"eel, \\\"conger\\\"\"}}",
            // As printed by Python.
            "{0: 'cat',\n 1: \"it's a dog\",\n 2: 'eel, \"conger\"',\n}",
            "['cat', 'it\\'s a dog', 'eel, \"conger\"']",
            "n02121808 cat\nn02084071 it's a dog\nn01439121\teel, \"conger\"",
        ] {
            assert_eq!(names(text), expected, "{text}");
        }
        // More than ten, whose keys as texts would sort differently.
        let many: Vec<String> = (0..12).map(|i| format!("\"{i}\": \"label {i}\"")).collect();
        assert_eq!(names(&format!("{{{}}}", many.join(", ")))[10..], ["label 10", "label 11"]);
        assert!(names("").is_empty());
    }

    #[test]
    fn ids_go_with_labels() {
        let labels = of("n01440764 tench, Tinca tinca\nn01443537 goldfish").unwrap();
        assert_eq!(labels.ids, ["n01440764", "n01443537"]);
        assert_eq!(of(r#"{"0": ["n01440764", "tench"]}"#).unwrap().ids, ["n01440764"]);
        // Ids alone are labels.
        assert_eq!(
            of("n01440764\nn01443537").unwrap(),
            Labels { names: vec!["n01440764".into(), "n01443537".into()], ids: vec![] }
        );
        assert!(of("n01440764 tench\ngoldfish").unwrap().ids.is_empty());
    }

    #[test]
    fn other_files_are_refused() {
        for (text, found) in [
            (r#"{"0": "cat", "2": "dog"}"#, "index 2 and none of 1"),
            (r#"{"cat": 0, "dog": 0}"#, "index 0 twice"),
            (r#"{"0": "cat", "x": "dog"}"#, "the key `x`, which is no index"),
            (r#"["cat", 3]"#, "no label for class 1"),
            (r#"[["a", "b", "c"]]"#, "no [id, label] for class 0"),
            ("{\"0\": \"cat\"", "begins as JSON and is none"),
            ("[[[[", "begins as JSON and is none"),
            ("<!DOCTYPE html>\n<html>", "markup that begins `<!DOCTYPE html>`"),
            ("a\nb\0c", "a zero byte in line 2"),
        ] {
            let error = of(text).unwrap_err();
            assert!(error.contains(found), "{text}: {error}");
        }
    }
}
