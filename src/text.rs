//! Texts from files and users, for messages.

/// The maximum number of names to compare with.
const MOST_NAMES: usize = 4096;

/// The member of `names` with the smallest edit distance to `name`, for messages. Names come from files, and a
/// comparison takes memory and time in the product of their lengths, so only the first characters of the first few
/// thousand are compared.
pub(crate) fn nearest<'a>(name: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let start = |name: &str| name.chars().take(64).collect::<String>().to_lowercase();
    let name = start(name);
    names.take(MOST_NAMES).min_by_key(|other| strsim::damerau_levenshtein(&start(other), &name))
}

/// A text from a file, shortened for a message.
pub(crate) fn clip(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(80).collect()
}
