//! The scheduler of a cluster.

use std::process::ExitCode;

use alexnet_datafusion::cluster::{self, SchedulerOptions};
use clap::Parser;

/// Plans queries with alexnet_classify, alexnet_features and lpips for a Ballista cluster
#[derive(Parser)]
#[command(version)]
struct Args {
    #[command(flatten)]
    scheduler: SchedulerOptions,
}

#[tokio::main]
async fn main() -> ExitCode {
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("warn")).init();
    match cluster::schedule(Args::parse().scheduler).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
