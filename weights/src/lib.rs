#![doc = include_str!("../README.md")]
#![no_std]

/// A safetensors file: `conv1.weight` to `conv5.weight` (OIHW) and `conv1.bias` to `conv5.bias` in f16, and
/// `lpips1.weight` to `lpips5.weight` in f32.
// A static is there once; a constant would be copied to each place that uses it.
pub static IMAGENET_TRUNK: &[u8] = include_bytes!("../imagenet-trunk-f16.safetensors");
