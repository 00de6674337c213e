//! An executor of a cluster.

use std::{path::PathBuf, process::ExitCode, sync::Arc};

use alexnet_datafusion::{
    Engine, EngineOptions,
    cluster::{self, ExecutorOptions},
};
use clap::Parser;

/// Computes alexnet_classify, alexnet_features and lpips for a Ballista cluster
#[derive(Parser)]
#[command(version)]
struct Args {
    #[command(flatten)]
    executor: ExecutorOptions,
    /// A file of weights [default: the embedded model]
    #[arg(long, value_name = "FILE", env = "ALEXNET_WEIGHTS")]
    weights: Option<PathBuf>,
    /// Part of an adapter's name, or its number [default: the best one]
    #[arg(long, value_name = "TEXT", env = "ALEXNET_ADAPTER")]
    adapter: Option<String>,
    /// Pictures per run [default: 16 on a processor, 32 on a GPU]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    batch: Option<u16>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let log = env_logger::Env::default().default_filter_or("warn,alexnet_datafusion=info");
    env_logger::Builder::from_env(log).init();
    let args = Args::parse();
    let options =
        EngineOptions::default().weights(args.weights).adapter(args.adapter).batch(args.batch.map(usize::from));
    match cluster::execute(args.executor, Arc::new(Engine::new(options))).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
