//! Counts of right predictions and of mistakes.

use std::{cmp::Reverse, collections::BTreeMap};

use serde::Serialize;

/// Counts over classified pictures.
pub struct Score {
    /// By class and predicted class.
    counts: BTreeMap<(usize, usize), u64>,
    /// By class.
    of: Vec<u64>,
    top5: u64,
}

/// A mistake and its count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Confused {
    pub class: usize,
    pub taken_for: usize,
    pub pictures: u64,
}

/// What a network says of a picture whose class is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Judged {
    /// The class of the largest output.
    pub taken_for: usize,
    /// Whether its own class is among the five largest.
    pub in_top5: bool,
}

impl Judged {
    /// The judgement of a picture of `class` with the network's `outputs`; of equal ones, the first ranks higher.
    pub fn new(class: usize, outputs: &[f64]) -> Result<Self, &'static str> {
        if outputs.iter().any(|output| output.is_nan()) {
            return Err("the network's outputs are not numbers: check its weights for very large values");
        }
        let larger =
            |(index, output): (usize, &f64)| *output > outputs[class] || (*output == outputs[class] && index < class);
        let ahead = outputs.iter().enumerate().filter(|&entry| larger(entry)).count();
        let taken_for = (0..outputs.len()).reduce(|a, b| if outputs[b] > outputs[a] { b } else { a }).unwrap_or(0);
        Ok(Self { taken_for, in_top5: ahead < 5 })
    }
}

impl Score {
    pub fn new(classes: usize) -> Self {
        Self { counts: BTreeMap::new(), of: vec![0; classes], top5: 0 }
    }

    /// Counts a picture of `class`.
    pub fn add(&mut self, class: usize, judged: Judged) {
        *self.counts.entry((class, judged.taken_for)).or_default() += 1;
        self.of[class] += 1;
        self.top5 += u64::from(judged.in_top5);
    }

    /// The number of classes.
    pub fn classes(&self) -> usize {
        self.of.len()
    }

    pub fn pictures(&self) -> u64 {
        self.of.iter().sum()
    }

    /// The number of pictures of a class.
    pub fn of(&self, class: usize) -> u64 {
        self.of[class]
    }

    /// The number of pictures of `class` that were predicted as `taken_for`, which may be the same.
    pub fn count(&self, class: usize, taken_for: usize) -> u64 {
        self.counts.get(&(class, taken_for)).copied().unwrap_or(0)
    }

    pub fn top1(&self) -> u64 {
        (0..self.of.len()).map(|class| self.count(class, class)).sum()
    }

    pub fn top5(&self) -> u64 {
        self.top5
    }

    /// All mistakes, the most frequent first.
    pub fn confused(&self) -> Vec<Confused> {
        let wrong = self.counts.iter().filter(|((class, taken_for), _)| class != taken_for);
        let mut confused: Vec<Confused> =
            wrong.map(|(&(class, taken_for), &pictures)| Confused { class, taken_for, pictures }).collect();
        confused.sort_by_key(|c| (Reverse(c.pictures), c.class, c.taken_for));
        confused
    }
}

/// The mean of the crops' probabilities: the outputs themselves where they are `probabilities`, otherwise their softmax.
pub fn mean(outputs: &[f32], classes: usize, probabilities: bool) -> Vec<f64> {
    let mut mean = vec![0.0; classes];
    let crops = outputs.len() / classes;
    for crop in outputs.chunks_exact(classes) {
        let largest = crop.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let probability =
            |output: f32| if probabilities { f64::from(output) } else { f64::from(output - largest).exp() };
        let total: f64 = if probabilities { 1.0 } else { crop.iter().map(|&output| probability(output)).sum() };
        for (mean, &output) in mean.iter_mut().zip(crop) {
            *mean += probability(output) / total / crops as f64;
        }
    }
    mean
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_are_counted_by_rank() {
        let mut score = Score::new(7);
        let outputs = [0.0, 0.5, 0.1, 0.1, 0.2, 0.1, 0.0];
        for class in [1, 4, 5, 6, 6, 0] {
            score.add(class, Judged::new(class, &outputs).unwrap());
        }
        assert_eq!((score.pictures(), score.top1()), (6, 1));
        // Class 5 is fifth of seven, after those of equal output before it; 0 and 6 come last.
        assert_eq!(score.top5(), 3);
        assert_eq!((score.of(6), score.count(6, 1), score.count(6, 6)), (2, 2, 0));
        let first = Confused { class: 6, taken_for: 1, pictures: 2 };
        assert_eq!(score.confused()[0], first);
        assert_eq!(score.confused().len(), 4);
        assert!(Judged::new(0, &[f64::NAN; 7]).is_err());
    }

    #[test]
    fn crops_are_averaged_as_probabilities() {
        let outputs = [0.5f32, 0.25, 0.25, 1.0, 0.0, 0.0];
        assert_eq!(mean(&outputs, 3, true), [0.75, 0.125, 0.125]);
        // Each crop has the same weight, however large its outputs.
        let logits = [100.0f32, 0.0, 0.0, 2f32.ln(), 0.0, 0.0];
        let found = mean(&logits, 3, false);
        for (found, expected) in found.iter().zip([0.75, 0.125, 0.125]) {
            assert!((found - expected).abs() < 1e-7, "{found} for {expected}");
        }
    }
}
