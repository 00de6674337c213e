//! A scheduler and two executors as processes of this machine, one of which is killed under way.
#![cfg(feature = "ballista")]
#![allow(clippy::unwrap_used, reason = "tests")]

use std::{
    fs::{self, File},
    io::{BufRead, BufReader},
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use alexnet_datafusion::{Engine, EngineOptions, cluster, register};
use datafusion::{
    arrow::{
        array::{ArrayRef, BinaryArray, Int64Array, RecordBatch},
        util::pretty::pretty_format_batches,
    },
    parquet::arrow::ArrowWriter,
    prelude::{ParquetReadOptions, SessionContext},
};

const FILES: usize = 6;
const ROWS: usize = 24;

/// Ends a process with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Starts an executor, and counts the lines that tell of a finished call of a function.
fn executor(scheduler: u16) -> (Running, Arc<AtomicUsize>) {
    let [port, grpc_port] = [free_port(), free_port()].map(|port| port.to_string());
    let mut child = Command::new(env!("CARGO_BIN_EXE_alexnet-executor"))
        .args(["--scheduler-port", &scheduler.to_string(), "--port", &port, "--grpc-port", &grpc_port])
        .args(["--heartbeat", "1", "--vcores", "1", "--batch", "8"])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let calls = Arc::new(AtomicUsize::new(0));
    let (counter, lines) = (calls.clone(), BufReader::new(child.stderr.take().unwrap()).lines());
    thread::spawn(move || {
        for line in lines.map_while(Result::ok) {
            counter.fetch_add(usize::from(line.contains("alexnet_classify: ")), Ordering::Relaxed);
            eprintln!("{line}");
        }
    });
    (Running(child), calls)
}

/// A picture in the format PPM, another one for each number.
fn pixmap(number: usize) -> Vec<u8> {
    let mut bytes = b"P6 40 40 255\n".to_vec();
    bytes.extend((0..3 * 40 * 40).map(|index| (index * (number + 3) / 7 + index / 120 * number) as u8));
    bytes
}

/// Files of pictures that are numbered from `first` on, each with a NULL and a picture that cannot be read.
fn write(folder: &Path, first: usize) {
    fs::create_dir(folder).unwrap();
    for file in 0..FILES {
        let numbers = || (0..ROWS).map(|row| file * ROWS + row);
        let ids = Int64Array::from_iter_values(numbers().map(|number| number as i64));
        let picture = |number: usize| match number % ROWS {
            5 => None,
            9 => Some(b"no picture".to_vec()),
            _ => Some(pixmap(first + number)),
        };
        let column: BinaryArray = numbers().map(picture).collect();
        let columns: [(&str, ArrayRef); 2] = [("id", Arc::new(ids)), ("picture", Arc::new(column))];
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let target = File::create(folder.join(format!("{file}.parquet"))).unwrap();
        let mut writer = ArrowWriter::try_new(target, batch.schema(), None).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
    }
}

const QUERIES: [&str; 3] = [
    // Every row, so that a lost or a doubled one shows.
    "SELECT id, alexnet_classify(picture)['label'] AS label FROM pictures ORDER BY id",
    "SELECT label, count(*) AS pictures, count(DISTINCT id) AS ids FROM
     (SELECT id, alexnet_classify(picture)['label'] AS label FROM pictures) GROUP BY label ORDER BY label",
    "SELECT id, array_length(alexnet_features(picture, 'fc6')) AS numbers FROM pictures WHERE id < 20 ORDER BY id",
];

async fn ask(context: &SessionContext, query: &str) -> String {
    let batches = context.sql(query).await.unwrap().collect().await.unwrap();
    pretty_format_batches(&batches).unwrap().to_string()
}

/// The folder as the table `pictures`.
async fn register_pictures(context: &SessionContext, folder: &Path) {
    let _ = context.deregister_table("pictures");
    context.register_parquet("pictures", folder.to_str().unwrap(), ParquetReadOptions::default()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_answers_as_one_process_does_and_a_killed_executor_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let [pictures, others] = ["pictures", "others"].map(|name| folder.path().join(name));
    write(&pictures, 0);
    write(&others, 1000);

    let local = SessionContext::new();
    register(&local, &Arc::new(Engine::new(EngineOptions::default().batch(8))));
    register_pictures(&local, &pictures).await;
    let mut expected = Vec::new();
    for query in QUERIES {
        expected.push(ask(&local, query).await);
    }
    // A row for each picture, between the lines of the table.
    assert_eq!(expected[0].lines().count(), FILES * ROWS + 4, "{}", expected[0]);
    register_pictures(&local, &others).await;
    let expected_of_others = ask(&local, QUERIES[0]).await;

    let port = free_port();
    let bind = format!("127.0.0.1:{port}");
    let scheduler = Command::new(env!("CARGO_BIN_EXE_alexnet-scheduler"))
        .args(["--bind", &bind, "--executor-timeout", "5"])
        .spawn()
        .unwrap();
    let _scheduler = Running(scheduler);
    let start = Instant::now();
    while TcpStream::connect(&bind).is_err() {
        assert!(start.elapsed() < Duration::from_secs(60), "the scheduler does not listen");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let (first, _) = executor(port);
    let (mut second, calls) = executor(port);

    let context = cluster::connect(&format!("df://{bind}")).await.unwrap();
    register_pictures(&context, &pictures).await;
    for (query, expected) in QUERIES.iter().zip(&expected) {
        assert_eq!(&ask(&context, query).await, expected);
    }

    // One of them is killed once it has computed something of the next query, of pictures that are new to it.
    register_pictures(&context, &others).await;
    let before = calls.load(Ordering::Relaxed);
    let asked = tokio::spawn({
        let context = context.clone();
        async move { ask(&context, QUERIES[0]).await }
    });
    let start = Instant::now();
    while calls.load(Ordering::Relaxed) == before {
        assert!(!asked.is_finished(), "the second executor had nothing to do");
        assert!(start.elapsed() < Duration::from_secs(120));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    second.0.kill().unwrap();
    assert!(!asked.is_finished(), "the query ended before the executor was killed");
    assert_eq!(asked.await.unwrap(), expected_of_others);

    // What is left of the cluster goes on.
    register_pictures(&context, &pictures).await;
    assert_eq!(ask(&context, QUERIES[1]).await, expected[1]);
    drop(first);
}
