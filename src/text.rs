//! Texts of files and people in messages.

/// The most names that one is compared with.
const MOST_NAMES: usize = 4096;

/// The member of `names` closest to `name` in edits, for messages. Names come from files, and to compare two takes memory and
/// time in the product of their lengths: the first characters of the first few thousand must do.
pub(crate) fn nearest<'a>(name: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let start = |name: &str| name.chars().take(64).collect::<String>().to_lowercase();
    let name = start(name);
    names.take(MOST_NAMES).min_by_key(|other| strsim::damerau_levenshtein(&start(other), &name))
}

/// A text of a file, short enough for a message.
pub(crate) fn clip(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(80).collect()
}
