//! Dropout, which is the identity at inference.

use super::Operation;
use crate::{
    program::{Lowering, ProgramError},
    shape::Shape,
};

/// Dropout.
pub(super) struct Dropout;

impl Operation for Dropout {
    fn output(&self, input: Shape) -> Result<Shape, String> {
        Ok(input)
    }

    fn describe(&self) -> String {
        "dropout, the identity here".into()
    }

    fn reference(&self, _: Shape, _: Shape, x: &[f64], _: &[Vec<f64>]) -> Vec<f64> {
        x.to_vec()
    }

    fn is_identity(&self) -> bool {
        true
    }

    fn lower(&self, _: &mut Lowering<'_>) -> Result<(), ProgramError> {
        Ok(())
    }
}
