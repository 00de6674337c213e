//! The loss of each step as a curve of bounded length.

/// The largest number of points.
const MOST: usize = 2000;

/// Points of means over ever more steps: a training may have any number.
#[derive(Clone, Debug)]
pub(crate) struct Curve {
    points: Vec<[f64; 2]>,
    /// The number of steps of each point.
    each: usize,
    /// The sum of those that make no whole point yet, and their number.
    sum: [f64; 2],
    count: usize,
}

impl Default for Curve {
    fn default() -> Self {
        Self { points: Vec::new(), each: 1, sum: [0.0; 2], count: 0 }
    }
}

impl Curve {
    pub fn push(&mut self, [x, y]: [f64; 2]) {
        self.sum = [self.sum[0] + x, self.sum[1] + y];
        self.count += 1;
        if self.count < self.each {
            return;
        }
        let sum = std::mem::take(&mut self.sum);
        self.points.push(sum.map(|sum| sum / self.each as f64));
        self.count = 0;
        if self.points.len() == MOST {
            let pairs = self.points.as_chunks::<2>().0;
            self.points = pairs.iter().map(|[a, b]| [0, 1].map(|k| 0.5 * (a[k] + b[k]))).collect();
            self.each *= 2;
        }
    }

    pub fn points(&self) -> &[[f64; 2]] {
        &self.points
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_curve_keeps_its_mean() {
        let mut curve = Curve::default();
        let count = 8 * MOST;
        (0..count).for_each(|at| curve.push([at as f64, (at % 2) as f64]));
        assert!((MOST / 2..MOST).contains(&curve.points().len()));
        assert!(curve.points().iter().all(|[_, y]| *y == 0.5));
        assert!(curve.points().is_sorted_by(|a, b| a[0] < b[0]));
        assert_eq!(curve.points()[0][0], (curve.each - 1) as f64 / 2.0);
    }
}
