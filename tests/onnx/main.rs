//! ONNX graphs of sequential networks: for any exporter's patterns, the network computes the same as the nodes.
//!
//! Each test builds a graph in memory, opens it as a model, and compares the network's output with `interpret.rs`, which runs
//! the nodes one by one in double precision.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod build;
#[path = "../common/mod.rs"]
mod common;
mod interpret;
#[path = "../../src/model/formats/onnx/proto.rs"]
#[allow(dead_code, reason = "the library reads more than the tests write")]
mod proto;

mod cases;
mod constants;
mod device;
mod folding;
mod layouts;
mod refusals;
mod structure;
