//! Pictures in SQL: labels, features and LPIPS as functions of [DataFusion](https://datafusion.apache.org).
//!
//! | function | returns |
//! | --- | --- |
//! | `alexnet_classify(picture)` | a struct of the likeliest class: `label`, `class` (its index) and `probability` |
//! | `alexnet_features(picture, layer)` | a layer's activations, CHW, as a list of 32-bit floats |
//! | `lpips(picture, picture)` | how alike two pictures of the same size look: 0 for the same, about 0.7 for unrelated ones |
//!
//! Pictures are encoded files in a column of bytes, of any format that the library reads.
//!
//! ```
//! use std::sync::Arc;
//!
//! use alexnet_datafusion::{Engine, EngineOptions, register};
//! use datafusion::prelude::SessionContext;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> datafusion::error::Result<()> {
//! let engine = Arc::new(Engine::new(EngineOptions::default()));
//! let context = SessionContext::new();
//! register(&context, &engine);
//! let query = "SELECT alexnet_classify(NULL)['label']";
//! assert_eq!(context.sql(query).await?.count().await?, 1);
//! # Ok(())
//! # }
//! ```
//!
//! The functions are asynchronous: while the device computes a batch of its own size, pictures of the next one are decoded on all
//! cores. A picture that cannot be read is NULL and counted ([`Engine::counts`]); errors of the device or of the query fail the
//! query. DataFusion collects `datafusion.execution.batch_size` rows (8,192) before it calls a function, with their pictures: set
//! fewer where they are large.
//!
//! With the feature `ballista` there are two programs, `alexnet-scheduler` and `alexnet-executor`, with which a cluster knows the
//! functions. Planning a query needs neither a device nor a model, so only executors open them.

#[cfg(feature = "ballista")]
pub mod cluster;
mod engine;
mod functions;

pub use engine::{Counts, Engine, EngineError, EngineOptions};
pub use functions::{functions, register};
