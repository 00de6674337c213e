//! `alexnet fetch`: the command around the download, which has tests of its own.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
#![cfg(target_os = "linux")]

mod common;

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
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

/// A proxy on this machine that refuses every tunnel. Its requests.
fn proxy() -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let requests = Arc::new(Mutex::new(Vec::new()));
    let seen = requests.clone();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let mut head = String::new();
            while reader.read_line(&mut head).unwrap_or(0) > 2 {}
            seen.lock().unwrap().push(head.lines().next().unwrap_or_default().to_string());
            let _ = stream.write_all(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n");
        }
    });
    (url, requests)
}

/// A small Caffe model in the cache in place of the published one, and as long: the rest is a field that no reader knows.
fn caffenet(folder: &Folder) {
    fs::create_dir_all(folder.path("cache/alexnet-wgpu")).unwrap();
    let mut bytes = fs::read(fixture("v2.caffemodel")).unwrap();
    // Protobuf's tag of field 1000, bytes that follow their length, which has four bytes itself.
    bytes.extend([0xC2, 0x3E]);
    let whole = 243_862_418;
    let rest = whole - bytes.len() - 4;
    bytes.extend([0, 7, 14, 21].map(|shift| (rest >> shift) as u8 & 0x7F | if shift < 21 { 0x80 } else { 0 }));
    let path = folder.path("cache/alexnet-wgpu/bvlc_reference_caffenet.caffemodel");
    fs::write(&path, bytes).unwrap();
    fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(whole as u64).unwrap();
}

#[test]
fn the_list_says_what_is_there() {
    let folder = Folder::new();
    let text = Output::of(&mut with_cache(&folder, "fetch")).success();
    assert_eq!(text.lines().count(), 6, "{text}");
    let torchvision = text.lines().find(|line| line.starts_with("torchvision ")).unwrap();
    assert!(torchvision.contains("244.4 MB") && torchvision.contains("56.522 / 79.066 %"), "{torchvision}");
    assert!(
        text.lines().skip(1).all(|line| line.ends_with(" no") && (line.contains(" MB ") || line.starts_with("lpips "))),
        "{text}"
    );
    assert!(!folder.path("cache").exists(), "looking makes no folders");

    caffenet(&folder);
    let text = Output::of(&mut with_cache(&folder, "fetch")).success();
    assert!(text.lines().any(|line| line.starts_with("caffenet ") && line.ends_with(" yes")), "{text}");
}

#[test]
fn fetched_weights_go_by_their_name() {
    let folder = Folder::new();
    caffenet(&folder);
    let chelsea = picture("chelsea.png");
    let mut command = with_cache(&folder, "classify --json --preprocessing caffe --weights caffenet");
    if let Some(adapter) = std::env::var_os("ALEXNET_ADAPTER") {
        command.arg("--adapter").arg(adapter);
    }
    let found = Output::of(command.arg(&chelsea)).success();
    let expected =
        alexnet("classify --json --preprocessing caffe --weights", &[&fixture("v2.caffemodel"), &chelsea]).success();
    let top = |line: &str| line.split("\"top\":").nth(1).unwrap().split("\"ms\"").next().unwrap().to_string();
    assert_eq!(top(&found), top(&expected));
    // A folder of that name holds no weights.
    fs::create_dir(folder.path("caffenet")).unwrap();
    fs::create_dir(folder.path("onnx")).unwrap();
    let info = |name: &str| {
        let mut command = with_cache(&folder, &format!("info {name}"));
        Output::of(command.current_dir(folder.path("")))
    };
    assert!(info("caffenet").success().contains("bvlc_reference_caffenet.caffemodel"));
    info("onnx").failure(1, &["there is no file onnx", "alexnet fetch onnx"]);
    // A file of that name is nearer, and it is said which was taken.
    fs::remove_dir(folder.path("caffenet")).unwrap();
    fs::write(folder.path("caffenet"), "no weights").unwrap();
    let which = ["caffenet: not a usable weight file", "file of that name here", "bvlc_reference_caffenet.caffemodel"];
    info("caffenet").failure(1, &which);
    let spelt_out = info("./caffenet");
    spelt_out.failure(1, &["caffenet: not a usable weight file"]);
    assert!(!spelt_out.stderr.contains("bvlc_reference"), "nothing else can be meant: {spelt_out:?}");

    // What is not whole is not taken.
    fs::copy(fixture("torchvision.pth"), folder.path("cache/alexnet-wgpu/alexnet-owt-7be5be79.pth")).unwrap();
    info("torchvision").failure(1, &["not have the size of the published file", "alexnet fetch torchvision"]);
    let list = Output::of(&mut with_cache(&folder, "fetch")).success();
    assert!(list.lines().any(|line| line.starts_with("torchvision ") && line.ends_with(" damaged")), "{list}");

    info("torchvison").failure(1, &["there is no file torchvison: did you mean torchvision?", "alexnet fetch"]);
    info("torchvison.pth").failure(1, &["cannot read weights from torchvison.pth"]);
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

/// A SOCKS5 proxy on this machine that refuses by its rules. The hosts and ports that it was asked for.
fn socks() -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let requests = Arc::new(Mutex::new(Vec::new()));
    let seen = requests.clone();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            // RFC 1928: version 5, one method: nobody has to say who they are.
            let mut greeting = [0; 3];
            reader.read_exact(&mut greeting).unwrap();
            assert_eq!(greeting, [5, 1, 0]);
            stream.write_all(&[5, 0]).unwrap();
            // Version, connect, reserved, a domain's name with its length.
            let mut request = [0; 5];
            reader.read_exact(&mut request).unwrap();
            assert_eq!(request[..4], [5, 1, 0, 3]);
            let mut target = vec![0; usize::from(request[4]) + 2];
            reader.read_exact(&mut target).unwrap();
            let (host, port) = target.split_at(target.len() - 2);
            let port = u16::from_be_bytes(port.try_into().unwrap());
            seen.lock().unwrap().push(format!("{}:{port}", str::from_utf8(host).unwrap()));
            stream.write_all(&[5, 2, 0, 1, 0, 0, 0, 0, 0, 0]).unwrap();
        }
    });
    (address, requests)
}

#[test]
fn socks_proxies_are_asked() {
    let folder = Folder::new();
    let (address, requests) = socks();
    let mut command = with_cache(&folder, "fetch torchvision");
    let output = Output::of(command.env("HTTPS_PROXY", format!("socks5h://{address}")));
    output.failure(
        1,
        &[
            &format!("through HTTPS_PROXY's socks5h://{address}: no connection ("),
            "connection not allowed by ruleset",
            "check HTTPS_PROXY",
        ],
    );
    assert_eq!(*requests.lock().unwrap(), ["download.pytorch.org:443"]);
}

#[test]
fn a_proxy_that_does_not_serve_is_named() {
    let folder = Folder::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let nobody = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let (refuses, requests) = proxy();
    let cases = [
        (&nobody, "no connection (io: Connection refused"),
        (&refuses, "the proxy refused the connection (proxy server responded 403"),
    ];
    for (url, reason) in cases {
        // Who uses a proxy is no one else's business.
        let value = url.replace("//", "//me:secret@");
        let mut command = with_cache(&folder, "fetch torchvision");
        let output = Output::of(command.env("https_proxy", value).env("HTTP_PROXY", "http://127.0.0.1:1"));
        output.failure(1, &[&format!(".pth through https_proxy's {url}: {reason}"), "check https_proxy"]);
        assert!(!output.stderr.contains("secret"), "{output:?}");
    }
    assert_eq!(requests.lock().unwrap()[0], "CONNECT download.pytorch.org:443 HTTP/1.1");
}

#[test]
fn a_proxy_that_is_none_is_not_passed_by() {
    let folder = Folder::new();
    for (name, value) in [("ALL_PROXY", "socks6://127.0.0.1:1"), ("HTTPS_PROXY", "ftp://127.0.0.1")] {
        let mut command = with_cache(&folder, "fetch caffe");
        let parts = [&format!("the environment variable {name}: expected a proxy"), value, "unset it"];
        Output::of(command.env(name, value)).failure(1, &parts);
    }
}
