//! `alexnet fetch`: the command around the download, which has tests of its own.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
#![cfg(target_os = "linux")]

mod common;

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    net::TcpListener,
    process::Command,
    sync::{Arc, Mutex},
    thread,
};

use common::{Folder, Output, alexnet, command, fixture, picture};

/// The command with a cache folder of its own, and no proxy but those it is given.
fn with_cache(folder: &Folder, arguments: &str) -> Command {
    let mut command = command();
    command.args(arguments.split_whitespace()).env("XDG_CACHE_HOME", folder.path("cache"));
    for name in ["ALL_PROXY", "HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY"] {
        command.env_remove(name).env_remove(name.to_lowercase());
    }
    command
}

/// A proxy on this machine that answers every tunnel itself, with the status line and body given. Its requests.
fn proxy(answer: &'static str) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let requests = Arc::new(Mutex::new(Vec::new()));
    let seen = requests.clone();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            // First the tunnel, then the request in it.
            for answer in ["HTTP/1.1 200 Connected\r\n\r\n", answer] {
                let mut head = String::new();
                while reader.read_line(&mut head).unwrap() > 2 {}
                seen.lock().unwrap().push(head.lines().next().unwrap_or_default().to_string());
                let _ = stream.write_all(answer.as_bytes());
            }
        }
    });
    (url, requests)
}

#[test]
fn the_list_says_what_is_there() {
    let folder = Folder::new();
    let text = Output::of(&mut with_cache(&folder, "fetch")).success();
    assert_eq!(text.lines().count(), 5, "{text}");
    let torchvision = text.lines().find(|line| line.starts_with("torchvision ")).unwrap();
    assert!(torchvision.contains("244.4 MB") && torchvision.contains("56.522 / 79.066 %"), "{torchvision}");
    assert!(text.lines().skip(1).all(|line| line.ends_with(" no")), "{text}");
    assert!(!folder.path("cache").exists(), "looking makes no folders");

    fs::create_dir_all(folder.path("cache/alexnet-wgpu")).unwrap();
    fs::copy(fixture("v2.caffemodel"), folder.path("cache/alexnet-wgpu/bvlc_reference_caffenet.caffemodel")).unwrap();
    let text = Output::of(&mut with_cache(&folder, "fetch")).success();
    assert!(text.lines().any(|line| line.starts_with("caffenet ") && line.ends_with(" yes")), "{text}");
}

#[test]
fn fetched_weights_go_by_their_name() {
    let folder = Folder::new();
    fs::create_dir_all(folder.path("cache/alexnet-wgpu")).unwrap();
    fs::copy(fixture("torchvision.pth"), folder.path("cache/alexnet-wgpu/alexnet-owt-7be5be79.pth")).unwrap();
    let chelsea = picture("chelsea.png");
    let mut command = with_cache(&folder, "classify --json --weights torchvision");
    if let Some(adapter) = std::env::var_os("ALEXNET_ADAPTER") {
        command.arg("--adapter").arg(adapter);
    }
    let found = Output::of(command.arg(&chelsea)).success();
    let expected = alexnet("classify --json --weights", &[&fixture("torchvision.pth"), &chelsea]).success();
    let top = |line: &str| line.split("\"top\":").nth(1).unwrap().split("\"ms\"").next().unwrap().to_string();
    assert_eq!(top(&found), top(&expected));
    // A file of that name is nearer.
    fs::write(folder.path("torchvision"), "no weights").unwrap();
    let mut command = with_cache(&folder, "info torchvision");
    Output::of(command.current_dir(folder.path(""))).failure(1, &["torchvision: not a usable weight file"]);

    Output::of(&mut with_cache(&folder, "info onnx")).failure(1, &["there is no file onnx", "alexnet fetch onnx"]);
}

#[test]
fn offline_only_looks() {
    let folder = Folder::new();
    let offline = || Output::of(&mut with_cache(&folder, "fetch torchvision --offline"));
    offline().failure(1, &["alexnet-owt-7be5be79.pth is not there: fetch torchvision without --offline"]);
    assert!(!folder.path("cache").exists());
    fs::create_dir_all(folder.path("cache/alexnet-wgpu")).unwrap();
    fs::copy(fixture("torchvision.pth"), folder.path("cache/alexnet-wgpu/alexnet-owt-7be5be79.pth")).unwrap();
    offline().failure(1, &["alexnet-owt-7be5be79.pth is damaged"]);
    let mut command = with_cache(&folder, "fetch --offline");
    Output::of(&mut command).failure(2, &["NAME"]);
    Output::of(&mut with_cache(&folder, "fetch vgg")).failure(2, &["torchvision, onnx, caffe, caffenet"]);
}

#[test]
fn proxies_of_the_environment_are_asked() {
    let folder = Folder::new();
    let (url, requests) = proxy("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    let mut command = with_cache(&folder, "fetch caffe");
    let output = Output::of(command.env("HTTP_PROXY", &url));
    output
        .failure(1, &["http://dl.caffe.berkeleyvision.org/bvlc_alexnet.caffemodel: the server answered 404 Not Found"]);
    let requests = requests.lock().unwrap().clone();
    assert_eq!(requests, ["CONNECT dl.caffe.berkeleyvision.org:80 HTTP/1.1", "GET /bvlc_alexnet.caffemodel HTTP/1.1"]);
}

#[test]
fn what_is_not_the_published_file_does_not_stay() {
    let folder = Folder::new();
    let (url, _) = proxy("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello");
    let mut command = with_cache(&folder, "fetch caffe");
    let output = Output::of(command.env("ALL_PROXY", &url));
    // SHA-1 of `hello`.
    output.failure(1, &["9116a64c0fbe4459d18f4bb6b56d647b63920377", "aaf4c61ddcc5e8a2dabede0f3b482cd9aea9434d"]);
    assert_eq!(fs::read_dir(folder.path("cache/alexnet-wgpu")).unwrap().count(), 0);
}
