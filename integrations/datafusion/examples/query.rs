//! Asks a Parquet file or a folder of them, as the table `pictures`, in this process or on a cluster.
//!
//!     cargo run --example query -- data.parquet "SELECT alexnet_classify(image['bytes'])['label'] AS label, count(*) FROM pictures GROUP BY label"
//!     cargo run --features ballista --example query -- data.parquet "SELECT …" df://127.0.0.1:50050

use std::sync::Arc;

use alexnet_datafusion::{Engine, EngineOptions, register};
use datafusion::prelude::{ParquetReadOptions, SessionContext};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [table, query, cluster @ ..] = &arguments[..] else {
        return Err("expected a Parquet file and a query, and optionally a cluster's address".into());
    };
    let context = match cluster {
        [] => {
            let context = SessionContext::new();
            register(&context, &Arc::new(Engine::new(EngineOptions::default())));
            context
        }
        #[cfg(feature = "ballista")]
        [url] => alexnet_datafusion::cluster::connect(url).await?,
        _ => return Err("expected at most one cluster; the feature `ballista` adds clusters".into()),
    };
    context.register_parquet("pictures", table, ParquetReadOptions::default()).await?;
    context.sql(query).await?.show().await?;
    Ok(())
}
