//! Groups of look-alikes: pictures that are joined by pairs above a cosine.

use std::{collections::BTreeMap, io::Write, path::Path, process::ExitCode};

use alexnet_wgpu::similar_pairs;
use serde::Serialize;

use crate::{
    failure::{Failure, printable},
    index::file::{Features, Index},
    progress,
    text::{grouped, name_hex},
};

/// The default threshold: 52 of 499,500 pairs of different pictures are above it, nearly all of them series of icons and edited
/// photos, and 76 % of the copies (`benches/results/2026-11-29-epyc-alike`).
pub const ABOVE: f32 = 0.9;

/// A group, with names in order.
#[derive(Debug, PartialEq)]
struct Group {
    rows: Vec<usize>,
    /// The least cosine of the pairs that join it.
    cosine: f32,
}

/// Joins the pairs: whoever is like one of a group belongs to it. Groups are in the order of their first rows.
fn groups(count: usize, pairs: &[(usize, usize, f32)]) -> Vec<Group> {
    let mut parents: Vec<usize> = (0..count).collect();
    fn root(parents: &mut [usize], mut row: usize) -> usize {
        while parents[row] != row {
            parents[row] = parents[parents[row]];
            row = parents[row];
        }
        row
    }
    for &(a, b, _) in pairs {
        let (a, b) = (root(&mut parents, a), root(&mut parents, b));
        // The first row is the root.
        parents[a.max(b)] = a.min(b);
    }
    let mut groups: BTreeMap<usize, Group> = BTreeMap::new();
    for &(a, b, cosine) in pairs {
        let group = groups.entry(root(&mut parents, a)).or_insert(Group { rows: vec![], cosine: f32::INFINITY });
        group.rows.extend([a, b]);
        group.cosine = group.cosine.min(cosine);
    }
    for group in groups.values_mut() {
        group.rows.sort_unstable();
        group.rows.dedup();
    }
    groups.into_values().collect()
}

#[derive(Serialize)]
struct Line {
    cosine: f32,
    files: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    files_hex: Vec<String>,
}

/// Prints the groups of an index.
pub fn print(
    out: &mut impl Write,
    index: &Index,
    features: &Features,
    folder: &Path,
    above: f32,
    json: bool,
) -> Result<ExitCode, Failure> {
    let count = index.len();
    // Comparisons take seconds from some thousand pictures on.
    let bar = progress::bar(if count > 5000 { count * count.saturating_sub(1) / 2 } else { 0 }, "comparisons");
    let pairs = similar_pairs(&index.vectors, features.dims, above, &|compared| bar.inc(compared));
    bar.finish_and_clear();
    let groups = groups(count, &pairs);
    for group in &groups {
        let paths: Vec<_> = group.rows.iter().map(|&row| index.names[row].path(folder)).collect();
        let files: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
        if json {
            // All of them, in the same order, where one cannot be JSON text.
            let hex: Vec<_> = paths.iter().map(|path| name_hex(path)).collect();
            let files_hex = if hex.iter().all(Option::is_none) { vec![] } else { hex };
            let files_hex = files_hex.into_iter().map(Option::unwrap_or_default).collect();
            let line = serde_json::to_string(&Line { cosine: group.cosine, files, files_hex })?;
            writeln!(out, "{line}").map_err(Failure::output)?;
            continue;
        }
        writeln!(out, "{} pictures, cosine {:.4}", grouped(files.len() as u64), group.cosine)
            .map_err(Failure::output)?;
        for file in files {
            writeln!(out, "  {}", printable(&file)).map_err(Failure::output)?;
        }
    }
    if !json && groups.is_empty() {
        let count = grouped(count as u64);
        writeln!(out, "no look-alikes among {count} pictures, with a cosine of at least {above}")
            .map_err(Failure::output)?;
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_joined_by_any_pair() {
        assert!(groups(3, &[]).is_empty());
        let found = groups(7, &[(0, 5, 0.98), (1, 2, 0.99), (4, 5, 0.97), (4, 6, 0.96)]);
        let expected = [(vec![0, 4, 5, 6], 0.96), (vec![1, 2], 0.99)];
        assert_eq!(found, expected.map(|(rows, cosine)| Group { rows, cosine }));
    }
}
