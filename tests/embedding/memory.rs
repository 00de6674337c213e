use std::{env, fs, process::Command};

use rustix::process::{Resource, Rlimit, setrlimit};

use super::*;

/// Runs `body` in a process of its own, since it exhausts the memory of the whole process.
fn alone(test: &str, body: impl FnOnce()) {
    // On other devices, memory is not the process's.
    if common::gpu().info().device_type != wgpu::DeviceType::Cpu {
        return println!("not on this adapter");
    }
    const CHILD: &str = "ALEXNET_TEST_ALONE";
    if env::var_os(CHILD).is_some() {
        return body();
    }
    let said = tempfile::NamedTempFile::new().unwrap();
    let mut child = Command::new(env::current_exe().unwrap());
    child.args([test, "--exact", "--nocapture"]).env(CHILD, "1");
    let both = said.reopen().unwrap();
    let mut child = child.stdout(both.try_clone().unwrap()).stderr(both).spawn().unwrap();
    // A panic without memory may hang in the driver's threads.
    let deadline = Instant::now() + Duration::from_secs(300);
    let status = loop {
        match child.try_wait().unwrap() {
            None if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(20)),
            None => child.kill().unwrap(),
            Some(status) => break status,
        }
    };
    let said = String::from_utf8_lossy(&fs::read(said.path()).unwrap()).into_owned();
    assert!(status.success() && said.contains("1 passed"), "{status}: {said}");
}

/// Limits this process to so many more bytes.
fn leave(bytes: u64) {
    let pages: u64 = fs::read_to_string("/proc/self/statm").unwrap().split(' ').next().unwrap().parse().unwrap();
    let limit = Rlimit { current: Some(pages * rustix::param::page_size() as u64 + bytes), maximum: None };
    setrlimit(Resource::As, limit).unwrap();
}

/// A network with AlexNet's activations and few weights, and a pipeline that has run.
fn warm(network: &Network, weights: &Weights) -> (Pipeline, Vec<f32>, Vec<Vec<TopEntry>>) {
    let pipeline = Pipeline::builder(common::gpu(), network, weights).build().unwrap();
    let input = noise(network, 1);
    let top = block_on(pipeline.run_top(&input)).unwrap();
    (pipeline, input, top)
}

/// A network that does not fit in memory is an error, and existing pipelines still run.
#[test]
fn that_lacks_for_a_build() {
    alone("memory::that_lacks_for_a_build", || {
        let network = AlexNet::UNGROUPED.head(8, 8).classes(10).network().unwrap();
        let weights = Weights::random(&network, 1);
        let (pipeline, input, top) = warm(&network, &weights);
        leave(300 << 20);
        // Two activations of 300 MB and more.
        let error = Pipeline::builder(common::gpu(), &network, &weights).batch(300).build().unwrap_err();
        assert!(matches!(error, PipelineError::OutOfMemory(_)), "{error}");
        assert!(error.to_string().contains("use a smaller batch"), "{error}");
        assert_eq!(block_on(pipeline.run_top(&input)).unwrap(), top);
    });
}

/// A failed readback is an error of that run, and the next one works as before.
#[test]
fn that_lacks_for_a_run() {
    alone("memory::that_lacks_for_a_run", || {
        let network = AlexNet::UNGROUPED.head(8, 8).classes(10).network().unwrap();
        let weights = Weights::random(&network, 1);
        let (pipeline, input, top) = warm(&network, &weights);
        leave(300 << 20);
        // 1.2 MB each.
        let error = block_on(pipeline.run_layers(&input, &["conv1"; 600])).unwrap_err();
        assert!(matches!(error, RunError::OutOfMemory(_)), "{error}");
        assert!(error.to_string().contains("read fewer layers"), "{error}");
        assert_eq!(block_on(pipeline.run_top(&input)).unwrap(), top);
    });
}
