//! Activation functions, applied to each value of a layer's output.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// An activation function, fused into the layer that it follows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Activation {
    /// The identity.
    #[default]
    None,
    /// max(x, 0).
    Relu,
    /// min(max(x, 0), 6), as in MobileNet.
    Relu6,
    /// x for positive x, `slope` · x otherwise.
    LeakyRelu {
        /// The factor for negative values.
        slope: f32,
    },
    /// 1 / (1 + e⁻ˣ).
    Sigmoid,
    /// The hyperbolic tangent.
    Tanh,
    /// x for positive x, `alpha` · (eˣ − 1) otherwise (Clevert, Unterthiner, Hochreiter 2015).
    Elu {
        /// The negative of the limit for large negative values.
        alpha: f32,
    },
    /// [`Activation::SELU_SCALE`] times an ELU of [`Activation::SELU_ALPHA`] (Klambauer et al. 2017).
    Selu,
}

impl Activation {
    /// α of SELU.
    pub const SELU_ALPHA: f32 = 1.673_263_2;
    /// The factor of SELU.
    pub const SELU_SCALE: f32 = 1.050_701;

    /// Returns f(x).
    pub fn apply(self, x: f64) -> f64 {
        match self {
            Self::None => x,
            Self::Relu => x.max(0.0),
            Self::Relu6 => x.clamp(0.0, 6.0),
            Self::LeakyRelu { slope } => {
                if x > 0.0 {
                    x
                } else {
                    f64::from(slope) * x
                }
            }
            Self::Sigmoid => 1.0 / (1.0 + (-x).exp()),
            Self::Tanh => x.tanh(),
            Self::Elu { alpha } => {
                if x > 0.0 {
                    x
                } else {
                    f64::from(alpha) * x.exp_m1()
                }
            }
            Self::Selu => f64::from(Self::SELU_SCALE) * Self::Elu { alpha: Self::SELU_ALPHA }.apply(x),
        }
    }

    /// Returns f′(x) for y = f(x), by which it is known in a monotonic function. Where the function has a corner, it is
    /// PyTorch's.
    pub fn derivative(self, y: f64) -> f64 {
        let step = |is_positive: bool, other: f64| if is_positive { 1.0 } else { other };
        match self {
            Self::None => 1.0,
            Self::Relu => step(y > 0.0, 0.0),
            Self::Relu6 => step(y > 0.0 && y < 6.0, 0.0),
            Self::LeakyRelu { slope } => step(y > 0.0, slope.into()),
            Self::Sigmoid => y * (1.0 - y),
            Self::Tanh => 1.0 - y * y,
            Self::Elu { alpha } => step(y > 0.0, y + f64::from(alpha)),
            Self::Selu => {
                let scale = f64::from(Self::SELU_SCALE);
                if y > 0.0 { scale } else { y + scale * f64::from(Self::SELU_ALPHA) }
            }
        }
    }

    /// Returns a short name for lists; `None` for [`Activation::None`].
    pub fn name(self) -> Option<String> {
        match self {
            Self::None => None,
            Self::Relu => Some("ReLU".into()),
            Self::Relu6 => Some("ReLU6".into()),
            Self::LeakyRelu { slope } => Some(format!("leaky ReLU of {slope}")),
            Self::Sigmoid => Some("sigmoid".into()),
            Self::Tanh => Some("tanh".into()),
            Self::Elu { alpha } => Some(format!("ELU of {alpha}")),
            Self::Selu => Some("SELU".into()),
        }
    }

    /// Checks that this is a function; otherwise the error has what was expected and found.
    pub(crate) fn check(self) -> Result<(), String> {
        match self {
            Self::LeakyRelu { slope } if !slope.is_finite() => {
                Err(format!("a finite slope of a leaky ReLU, found {slope}"))
            }
            Self::Elu { alpha } if !alpha.is_finite() => Err(format!("a finite alpha of an ELU, found {alpha}")),
            _ => Ok(()),
        }
    }

    /// Whether f(x) ≥ 0 for every x.
    pub(crate) fn is_positive(self) -> bool {
        matches!(self, Self::Relu | Self::Relu6 | Self::Sigmoid)
    }

    /// Whether f(x) ≤ f(y) for x ≤ y, so that it may be computed before a maximum as well as after.
    pub(crate) fn is_monotonic(self) -> bool {
        !matches!(self, Self::LeakyRelu { slope: factor } | Self::Elu { alpha: factor } if factor < 0.0)
    }
}

/// How a gradient passes an activation function, from its output to its input.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum BackwardRule {
    /// Multiplied by the derivative: the gradient itself.
    #[default]
    Derivative,
    /// The same where it is positive, else zero: guided backpropagation (Springenberg et al. 2015).
    Guided,
    /// Where it is positive, whatever the derivative is: the deconvnet (Zeiler, Fergus 2014).
    Deconvnet,
}

impl BackwardRule {
    /// The gradient before `activation`, whose value is `y`, from the one after it.
    pub(crate) fn apply(self, activation: Activation, gradient: f64, y: f64) -> f64 {
        match self {
            _ if activation == Activation::None => gradient,
            Self::Derivative => gradient * activation.derivative(y),
            Self::Guided => gradient.max(0.0) * activation.derivative(y),
            Self::Deconvnet => gradient.max(0.0),
        }
    }
}

/// The activation function that a gradient passes next, and how.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Below {
    pub activation: Activation,
    pub rule: BackwardRule,
}

/// The JSON form in a layer: `"relu": true` or `false`, as in files from before other functions existed, and
/// `"activation"` for any other function.
#[derive(Serialize, Deserialize)]
struct Written {
    #[serde(default)]
    relu: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    activation: Option<Activation>,
}

pub(crate) fn serialize<S: Serializer>(activation: &Activation, serializer: S) -> Result<S::Ok, S::Error> {
    let relu = *activation == Activation::Relu;
    let other = (!relu && *activation != Activation::None).then_some(*activation);
    Written { relu, activation: other }.serialize(serializer)
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Activation, D::Error> {
    let Written { relu, activation } = Written::deserialize(deserializer)?;
    match (relu, activation) {
        (false, None) => Ok(Activation::None),
        (true, None) => Ok(Activation::Relu),
        (false, Some(activation)) => match activation.check() {
            Ok(()) => Ok(activation),
            Err(expected) => Err(de::Error::custom(format!("expected {expected}"))),
        },
        (true, Some(_)) => Err(de::Error::custom("expected either `relu` or `activation`, found both")),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use super::*;
    use crate::layers::Linear;

    /// Older files say `relu`. New files say the same wherever it suffices.
    #[test]
    fn json_is_as_before_for_a_relu_and_none() {
        for (json, expected) in [
            (r#"{"out_features":2,"relu":false}"#, Activation::None),
            (r#"{"out_features":2,"relu":true}"#, Activation::Relu),
            (r#"{"out_features":2,"relu":false,"activation":"relu6"}"#, Activation::Relu6),
            (r#"{"out_features":2,"relu":false,"activation":"sigmoid"}"#, Activation::Sigmoid),
            (r#"{"out_features":2,"relu":false,"activation":"tanh"}"#, Activation::Tanh),
            (
                r#"{"out_features":2,"relu":false,"activation":{"leaky-relu":{"slope":0.25}}}"#,
                Activation::LeakyRelu { slope: 0.25 },
            ),
            (r#"{"out_features":2,"relu":false,"activation":{"elu":{"alpha":1.0}}}"#, Activation::Elu { alpha: 1.0 }),
            (r#"{"out_features":2,"relu":false,"activation":"selu"}"#, Activation::Selu),
        ] {
            let linear: Linear = serde_json::from_str(json).unwrap();
            assert_eq!(linear, Linear::new(2).activation(expected));
            assert_eq!(serde_json::to_string(&linear).unwrap(), json);
        }
        let short: Linear = serde_json::from_str(r#"{"out_features":2,"activation":"tanh"}"#).unwrap();
        assert_eq!(short.activation, Activation::Tanh);
        for wrong in ["\"relu\":true,\"activation\":\"tanh\"", "\"activation\":\"swish\""] {
            let json = format!("{{\"out_features\":2,{wrong}}}");
            assert!(serde_json::from_str::<Linear>(&json).is_err(), "{json}");
        }
    }
}
