//! A [Ballista](https://datafusion.apache.org/ballista) cluster that knows the functions.
//!
//! The scheduler plans queries and the client sends them, so both know the functions by name and type. Executors compute.

use std::{net::SocketAddr, path::PathBuf, sync::Arc};

use ballista::prelude::SessionContextExt;
use ballista_core::{registry::BallistaFunctionRegistry, utils::default_session_builder};
use ballista_executor::executor_process::{ExecutorProcessConfig, start_executor_process};
use ballista_scheduler::{cluster::BallistaCluster, config::SchedulerConfig, scheduler_process::start_server};
use datafusion::{
    execution::{FunctionRegistry, SessionState},
    prelude::{SessionConfig, SessionContext},
};

use crate::{Engine, EngineOptions, functions, register};

/// Why a scheduler or an executor did not start, or ended.
pub type Error = ballista_core::error::BallistaError;

/// Options of a scheduler.
#[derive(Clone, Debug, clap::Args)]
pub struct SchedulerOptions {
    /// Address to listen at
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:50050")]
    pub bind: SocketAddr,
    /// Seconds without a heartbeat after which an executor counts as lost, and its work goes to others
    #[arg(long, value_name = "SECONDS", default_value_t = 180, value_parser = clap::value_parser!(u64).range(2..))]
    pub executor_timeout: u64,
}

/// Options of an executor.
#[derive(Clone, Debug, clap::Args)]
pub struct ExecutorOptions {
    /// Name or address of the scheduler's machine
    #[arg(long, value_name = "HOST", default_value = "127.0.0.1")]
    pub scheduler_host: String,
    /// Port of the scheduler
    #[arg(long, value_name = "PORT", default_value_t = 50050)]
    pub scheduler_port: u16,
    /// Address to listen at
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1")]
    pub bind: String,
    /// Name or address by which others reach this machine, where that is not the one to listen at
    #[arg(long, value_name = "HOST")]
    pub host: Option<String>,
    /// Port for results
    #[arg(long, value_name = "PORT", default_value_t = 50051)]
    pub port: u16,
    /// Port for tasks
    #[arg(long, value_name = "PORT", default_value_t = 50052)]
    pub grpc_port: u16,
    /// Partitions at once; each reads pictures on all cores [default: the cores]
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    pub vcores: usize,
    /// Folder for intermediate results [default: a temporary one]
    #[arg(long, value_name = "DIR")]
    pub work_dir: Option<PathBuf>,
    /// Seconds between heartbeats
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..))]
    pub heartbeat: u64,
}

/// A session with the functions.
fn session(config: SessionConfig, engine: &Arc<Engine>) -> datafusion::error::Result<SessionState> {
    let mut state = default_session_builder(config)?;
    for function in functions(engine) {
        state.register_udf(Arc::new(function))?;
    }
    Ok(state)
}

/// A client's context: what it plans is computed by the cluster of the scheduler at `url` (`df://host:port`).
///
/// # Errors
///
/// A `url` that cannot be parsed. The scheduler is first asked when a query runs.
pub async fn connect(url: &str) -> datafusion::error::Result<SessionContext> {
    // Only planned with: nothing is opened here.
    let engine = Arc::new(Engine::new(EngineOptions::default()));
    let context = SessionContext::remote(url).await?;
    register(&context, &engine);
    Ok(context)
}

/// Runs a scheduler until it fails or the process ends.
///
/// # Errors
///
/// An address that is taken, or options that contradict each other.
pub async fn schedule(options: SchedulerOptions) -> Result<(), Error> {
    let engine = Arc::new(Engine::new(EngineOptions::default()));
    let timeout = options.executor_timeout;
    let config = SchedulerConfig {
        bind_host: options.bind.ip().to_string(),
        bind_port: options.bind.port(),
        external_host: options.bind.ip().to_string(),
        executor_timeout_seconds: timeout,
        expire_dead_executor_interval_seconds: (timeout / 4).max(1),
        no_executors_grace_period_seconds: timeout,
        override_session_builder: Some(Arc::new(move |config| session(config, &engine))),
        ..SchedulerConfig::default()
    };
    let cluster = BallistaCluster::new_from_config(&config).await?;
    start_server(cluster, options.bind, Arc::new(config)).await
}

/// Runs an executor until it fails or is told to end by a signal.
///
/// # Errors
///
/// A scheduler that is not reached, or addresses that are taken.
pub async fn execute(options: ExecutorOptions, engine: Arc<Engine>) -> Result<(), Error> {
    // Ballista's own registry lacks the functions of arrays.
    let registry = BallistaFunctionRegistry::from(&session(SessionConfig::new(), &engine)?);
    let config = ExecutorProcessConfig {
        bind_host: options.bind,
        external_host: options.host,
        port: options.port,
        grpc_port: options.grpc_port,
        scheduler_host: options.scheduler_host,
        scheduler_port: options.scheduler_port,
        scheduler_connect_timeout_seconds: 30,
        vcores: options.vcores,
        work_dir: options.work_dir.map(|dir| dir.to_string_lossy().into_owned()),
        executor_heartbeat_interval_seconds: options.heartbeat,
        override_function_registry: Some(Arc::new(registry)),
        ..ExecutorProcessConfig::default()
    };
    let result = start_executor_process(Arc::new(config)).await;
    let counts = engine.counts();
    log::info!("{} pictures, {} of them unreadable, in {} batches", counts.pictures, counts.unreadable, counts.batches);
    result
}
