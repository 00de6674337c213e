//! How the learning rate changes, and the order of the pictures.

use crate::weights::splitmix;

/// How the learning rate changes over a training.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Schedule {
    /// The same rate always.
    Constant,
    /// Divided by 10 after each third of the steps.
    Step,
    /// From the rate to 0 by half a cosine (Loshchilov, Hutter 2017, "SGDR: stochastic gradient descent with warm restarts",
    /// without restarts), after a twentieth of the steps in which it rises linearly.
    Cosine,
}

impl Schedule {
    /// The factor of the learning rate for step `step` of `steps`, which counts from 0.
    pub fn factor(self, step: u64, steps: u64) -> f64 {
        match self {
            Self::Constant => 1.0,
            Self::Step => 0.1f64.powi((3.0 * step as f64 / steps.max(1) as f64) as i32),
            Self::Cosine => {
                let (step, steps) = (step as f64 + 1.0, steps as f64);
                let rise = (steps / 20.0).max(1.0);
                if step < rise {
                    return step / rise;
                }
                0.5 * (1.0 + (std::f64::consts::PI * (step - rise) / (steps - rise + 1.0)).cos())
            }
        }
    }
}

/// The numbers below `len` in random order (Fisher and Yates's shuffle). The same seed gives the same order.
pub fn shuffled(len: usize, seed: u64) -> Vec<usize> {
    let mut order: Vec<usize> = (0..len).collect();
    let draws = splitmix::uniform(seed, len, 0.5);
    for last in (1..len).rev() {
        let other = ((f64::from(draws[last]) + 0.5) * (last + 1) as f64) as usize;
        order.swap(last, other.min(last));
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schedules_rise_and_fall() {
        let factors = |schedule: Schedule| (0..100).map(|step| schedule.factor(step, 100)).collect::<Vec<_>>();
        assert!(factors(Schedule::Constant).iter().all(|&factor| factor == 1.0));
        let step = factors(Schedule::Step);
        assert_eq!([step[0], step[33], step[99]], [1.0, 1.0, 0.1f64.powi(2)]);
        assert!((step[34] - 0.1).abs() < 1e-12);
        let cosine = factors(Schedule::Cosine);
        assert_eq!([cosine[0], cosine[4]], [0.2, 1.0]);
        assert!(cosine[4..].is_sorted_by(|a, b| a > b) && cosine[99] > 0.0 && cosine[99] < 1e-3);
        // A training of one step takes it.
        assert_eq!(Schedule::Cosine.factor(0, 1), 1.0);
    }

    #[test]
    fn each_number_is_there_once() {
        let order = shuffled(1000, 5);
        assert_eq!(order, shuffled(1000, 5));
        assert_ne!(order, shuffled(1000, 6));
        let mut sorted = order.clone();
        sorted.sort_unstable();
        assert!(sorted.iter().copied().eq(0..1000));
        // Few stay where they were.
        assert!(order.iter().enumerate().filter(|&(at, &number)| at == number).count() < 10);
        assert_eq!(shuffled(0, 1), [0usize; 0]);
    }
}
