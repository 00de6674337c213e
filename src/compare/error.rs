use crate::{
    network::NetworkError,
    program::ProgramError,
    runtime::{InputError, PipelineError, RunError},
    weights::WeightsError,
};

/// Pictures that cannot be compared, or weights that are not LPIPS's.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CompareError {
    /// The pictures differ in size.
    #[error(
        "expected pictures of the same size, found {}×{} and {}×{}: resize or crop one of them",
        expected[0], expected[1], found[0], found[1]
    )]
    Size {
        /// Width and height of the first picture.
        expected: [u32; 2],
        /// Width and height of the second picture.
        found: [u32; 2],
    },
    /// The pictures are smaller than the windows of AlexNet's layers.
    #[error(
        "expected pictures of at least {0}×{0} pixels, found {1}×{2}: LPIPS has no value for smaller ones",
        CompareError::SMALLEST, found[0], found[1]
    )]
    TooSmall {
        /// Width and height.
        found: [usize; 2],
    },
    /// The features are those of another network.
    #[error("expected the features of torchvision's AlexNet (its file of weights), found a network `{found}`")]
    Trunk {
        /// The network's name.
        found: String,
    },
    /// The weights of the channels are not LPIPS's for AlexNet.
    #[error(
        "expected LPIPS's weights for AlexNet's channels (the file `alex.pth` of the PyTorch package `lpips`): {reason}"
    )]
    Channels {
        /// What was expected and found.
        reason: String,
    },
    /// The trunk's weights are missing or unusable.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// The trunk does not fit the pictures.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// The device cannot run the comparison.
    #[error(transparent)]
    Pipeline(#[from] PipelineError),
    /// A texture cannot be read.
    #[error(transparent)]
    Input(#[from] InputError),
    /// The device did not finish.
    #[error(transparent)]
    Run(#[from] RunError),
}

impl CompareError {
    /// The shortest side of a picture in pixels: two poolings leave nothing of a shorter one.
    pub const SMALLEST: usize = 31;
}

impl From<ProgramError> for CompareError {
    fn from(error: ProgramError) -> Self {
        Self::Pipeline(error.into())
    }
}

/// The size of two pictures, rows and columns, from the width and height of each.
///
/// # Errors
///
/// [`CompareError::Size`] when they differ, [`CompareError::TooSmall`].
pub(super) fn size_of_both(expected: [u32; 2], found: [u32; 2]) -> Result<[usize; 2], CompareError> {
    if expected != found {
        return Err(CompareError::Size { expected, found });
    }
    size_of(found)
}

/// The size of a picture, rows and columns, from its width and height.
///
/// # Errors
///
/// [`CompareError::TooSmall`].
pub(super) fn size_of(found: [u32; 2]) -> Result<[usize; 2], CompareError> {
    let found = found.map(|side| side as usize);
    if found.iter().any(|&side| side < CompareError::SMALLEST) {
        return Err(CompareError::TooSmall { found });
    }
    Ok([found[1], found[0]])
}
