//! Downloads from a local server with the faults of real ones.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::{
    io::{BufRead, BufReader},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
    time::Instant,
};

use super::*;

/// Longer than any buffer between server and client.
const LENGTH: usize = 3_000_000;
/// The SHA-256 of [`bytes`], computed by another program.
const SHA256: Checksum = Checksum("ac64956bfb8b88d81f18a14627f9e7a1b5a9cdf2034344cbe78817d474154fb8");

fn bytes() -> Vec<u8> {
    (0..LENGTH as u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

/// A request: its number from 0, and its headers in lower case.
struct Request {
    number: usize,
    head: String,
}

impl Request {
    fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }

    /// The start of the requested part.
    fn start(&self) -> Option<usize> {
        self.header("range")?.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok()
    }
}

struct Server {
    url: String,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Server {
    /// Answers each connection with `answer`, and closes it.
    fn new(answer: impl Fn(&Request, &mut TcpStream) -> io::Result<()> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/file", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (seen, answer) = (requests.clone(), Arc::new(answer));
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (mut stream, seen, answer) = (stream.unwrap(), seen.clone(), answer.clone());
                thread::spawn(move || {
                    let mut head = String::new();
                    for line in BufReader::new(stream.try_clone().unwrap()).lines() {
                        match line {
                            Ok(line) if !line.is_empty() => head = head + &line.to_lowercase() + "\n",
                            _ => break,
                        }
                    }
                    let number = seen.lock().unwrap().len();
                    seen.lock().unwrap().push(head.clone());
                    // The client may leave before the end.
                    let _ = answer(&Request { number, head }, &mut stream);
                });
            }
        });
        Self { url, requests }
    }

    fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

/// Serves the whole file, or the requested part if the tag matches.
fn serve(request: &Request, stream: &mut TcpStream, tag: &str, most: usize) -> io::Result<()> {
    let bytes = bytes();
    match request.start() {
        Some(start) if request.header("if-range") == Some(tag) => {
            let (length, last) = (LENGTH - start, LENGTH - 1);
            write!(
                stream,
                "HTTP/1.1 206 Partial Content\r\nContent-Length: {length}\r\nETag: {tag}\r\n\
                 Content-Range: bytes {start}-{last}/{LENGTH}\r\n\r\n"
            )?;
            stream.write_all(&bytes[start..LENGTH.min(start + most)])
        }
        _ => {
            write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {LENGTH}\r\nETag: {tag}\r\n\r\n")?;
            stream.write_all(&bytes[..most.min(LENGTH)])
        }
    }
}

/// Downloads from `server`; returns the result and the folder.
fn fetch(server: &Server, change: impl FnOnce(&mut Download<'_>)) -> (Result<(), String>, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let result = fetch_to(&folder.path().join("cache/file"), server, change);
    (result, folder)
}

fn fetch_to(path: &Path, server: &Server, change: impl FnOnce(&mut Download<'_>)) -> Result<(), String> {
    let mut download = Download {
        url: &server.url,
        size: LENGTH as u64,
        checksum: SHA256,
        timeout: Duration::from_secs(20),
        pause: Duration::from_millis(1),
        proxy: None,
    };
    change(&mut download);
    download.to(path, &ProgressBar::hidden())
}

fn names(folder: &tempfile::TempDir) -> Vec<String> {
    let entries = fs::read_dir(folder.path().join("cache")).unwrap();
    let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[track_caller]
fn is_whole(result: &Result<(), String>, folder: &tempfile::TempDir) {
    assert_eq!(*result, Ok(()));
    assert_eq!(names(folder), ["file"], "nothing is left beside it");
    assert!(fs::read(folder.path().join("cache/file")).unwrap() == bytes());
}

#[track_caller]
fn failed(result: &Result<(), String>, part: &str) {
    let message = result.as_ref().unwrap_err();
    assert!(message.contains(part), "expected {part:?} in {message:?}");
}

#[test]
fn a_file_arrives() {
    let server = Server::new(|request, stream| serve(request, stream, "\"1\"", LENGTH));
    let (result, folder) = fetch(&server, |_| ());
    is_whole(&result, &folder);
    assert_eq!(server.requests().len(), 1);
    assert!(server.requests()[0].contains("user-agent: alexnet/"), "{:?}", server.requests());
    assert!(!server.requests()[0].contains("range: "), "{:?}", server.requests());
    // The same from a server that tells no length.
    let chunks = Server::new(|_, stream| {
        write!(stream, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{LENGTH:x}\r\n")?;
        stream.write_all(&bytes())?;
        write!(stream, "\r\n0\r\n\r\n")
    });
    let (result, folder) = fetch(&chunks, |_| ());
    is_whole(&result, &folder);
}

/// A link to a file that was downloaded elsewhere is kept; a pipe, a folder and dangling links are left alone.
#[cfg(unix)]
#[test]
fn what_is_no_file_is_not_replaced() {
    use std::os::unix::fs::symlink;

    let server = Server::new(|request, stream| serve(request, stream, "\"1\"", LENGTH));
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::create_dir(at("elsewhere")).unwrap();
    fs::write(at("elsewhere/file"), "damaged").unwrap();
    symlink("elsewhere/file", at("link")).unwrap();
    fetch_to(&at("link"), &server, |_| {}).unwrap();
    assert!(at("link").is_symlink() && fs::read(at("elsewhere/file")).unwrap() == bytes());
    assert_eq!(server.requests().len(), 1);

    assert!(std::process::Command::new("mkfifo").args([at("pipe"), at("a.part")]).status().unwrap().success());
    fs::create_dir(at("folder")).unwrap();
    symlink("nowhere", at("dangling")).unwrap();
    symlink("victim", at("b.part")).unwrap();
    for (name, found) in
        [("pipe", "pipe"), ("folder", "folder"), ("dangling", "dangling"), ("a", "a.part"), ("b", "b.part")]
    {
        let result = fetch_to(&at(name), &server, |_| {});
        failed(&result, &format!("{found}, found something else"));
    }
    assert!(!at("victim").exists() && at("dangling").is_symlink());
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn two_do_not_write_to_one_file() {
    let server = Server::new(|request, stream| serve(request, stream, "\"1\"", LENGTH));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    let part = Part::of(&path);
    let lock = part.lock().unwrap();
    failed(&fetch_to(&path, &server, |_| ()), "another program is fetching");
    assert!(server.requests().is_empty());
    drop(lock);
    fetch_to(&path, &server, |_| ()).unwrap();
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "the file alone");
}

#[test]
fn what_is_cut_off_goes_on_where_it_stopped() {
    let server = Server::new(|request, stream| serve(request, stream, "\"1\"", LENGTH / 7));
    let (result, folder) = fetch(&server, |_| ());
    is_whole(&result, &folder);
    let requests = server.requests();
    assert_eq!(requests.len(), 8, "seven sevenths and what rounding left");
    assert!(requests[1].contains(&format!("range: bytes={}-", LENGTH / 7)), "{requests:?}");
    assert!(requests[1].contains("if-range: \"1\""), "{requests:?}");
}

#[test]
fn a_later_call_goes_on() {
    // Half of the file, then silence for the whole first call.
    let server = Server::new(|request, stream| match request.number {
        0 => serve(request, stream, "\"1\"", LENGTH / 2),
        1..=4 => Ok(()),
        _ => serve(request, stream, "\"1\"", LENGTH),
    });
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cache/file");
    failed(&fetch_to(&path, &server, |_| ()), "the download resumes");
    assert_eq!(names(&folder), ["file.part", "file.part.tag"]);
    assert_eq!(server.requests().len(), 5);
    is_whole(&fetch_to(&path, &server, |_| ()), &folder);
    assert!(server.requests()[5].contains(&format!("range: bytes={}-", LENGTH / 2)));
}

#[test]
fn a_file_that_changed_meanwhile_begins_anew() {
    let server = Server::new(|request, stream| {
        let tag = if request.number == 0 { "\"old\"" } else { "\"new\"" };
        if request.number == 0 {
            write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {LENGTH}\r\nETag: {tag}\r\n\r\n")?;
            return stream.write_all(&vec![7; LENGTH / 2]);
        }
        serve(request, stream, tag, LENGTH)
    });
    let (result, folder) = fetch(&server, |_| ());
    is_whole(&result, &folder);
    assert!(server.requests()[1].contains("if-range: \"old\""));
}

#[test]
fn a_server_without_ranges_sends_all_again() {
    for header in ["ETag: \"1\"", "ETag: W/\"1\"", "Server: old"] {
        let server = Server::new(move |request, stream| {
            write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {LENGTH}\r\n{header}\r\n\r\n")?;
            stream.write_all(&bytes()[..if request.number == 0 { LENGTH / 2 } else { LENGTH }])
        });
        let (result, folder) = fetch(&server, |_| ());
        is_whole(&result, &folder);
        // Only a strong validator can request the rest.
        assert_eq!(server.requests()[1].contains("range: "), header == "ETag: \"1\"", "{header}");
    }
}

#[test]
fn another_part_than_was_asked_for_is_not_taken() {
    let server = Server::new(|request, stream| match (request.number, request.start()) {
        (1, Some(start)) => {
            let (start, last) = (start - 1, LENGTH - 1);
            let length = LENGTH - start;
            write!(
                stream,
                "HTTP/1.1 206 Partial Content\r\nContent-Length: {length}\r\n\
                 Content-Range: bytes {start}-{last}/{LENGTH}\r\n\r\n"
            )?;
            stream.write_all(&bytes()[start..])
        }
        _ => serve(request, stream, "\"1\"", if request.number == 0 { LENGTH / 2 } else { LENGTH }),
    });
    let (result, folder) = fetch(&server, |_| ());
    is_whole(&result, &folder);
    assert!(!server.requests()[2].contains("range: "), "what was there is not trusted any more");
}

#[test]
fn other_bytes_are_refused() {
    let server = Server::new(|_, stream| {
        write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {LENGTH}\r\nETag: \"1\"\r\n\r\n")?;
        let mut wrong = bytes();
        wrong[LENGTH / 2] ^= 1;
        stream.write_all(&wrong)
    });
    let (result, folder) = fetch(&server, |_| ());
    failed(
        &result,
        "expected a file with the checksum ac64956bfb8b88d81f18a14627f9e7a1b5a9cdf2034344cbe78817d474154fb8, received ",
    );
    assert_eq!(names(&folder), [""; 0]);
}

#[test]
fn lengths_that_are_not_the_files() {
    for (told, sent) in [(LENGTH + 10, LENGTH + 10), (LENGTH - 10, LENGTH - 10), (5, LENGTH)] {
        let server = Server::new(move |_, stream| {
            write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {told}\r\n\r\n")?;
            stream.write_all(&vec![0; sent])
        });
        let (result, folder) = fetch(&server, |_| ());
        failed(&result, "expected 3,000,000 bytes, the server has ");
        assert_eq!(names(&folder), [""; 0], "nothing was taken");
    }
    // A body shorter than its length.
    let server = Server::new(|_, stream| {
        write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {LENGTH}\r\n\r\n")?;
        stream.write_all(&bytes()[..LENGTH - 10])
    });
    let (result, _folder) = fetch(&server, |_| ());
    failed(&result, "after 2,999,990 bytes");
    assert_eq!(server.requests().len(), 5, "and not for ever");
    // A body larger than the file, without a length.
    let server = Server::new(|_, stream| {
        write!(stream, "HTTP/1.1 200 OK\r\n\r\n")?;
        stream.write_all(&vec![0; LENGTH + 1])
    });
    let (result, folder) = fetch(&server, |_| ());
    failed(&result, "the server sends more bytes than the file has");
    assert_eq!(names(&folder), [""; 0]);
}

#[test]
fn a_silent_server_is_left() {
    let quick = |download: &mut Download<'_>| download.timeout = Duration::from_millis(300);
    let stop = || thread::sleep(Duration::from_secs(30));
    // Before the answer, and in the middle of it.
    let server = Server::new(move |_, _| {
        stop();
        Ok(())
    });
    let start = Instant::now();
    let (result, _folder) = fetch(&server, quick);
    failed(&result, "no answer within 300ms");
    let server = Server::new(move |_, stream| {
        write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {LENGTH}\r\nETag: \"1\"\r\n\r\n")?;
        stream.write_all(&bytes()[..1000])?;
        stop();
        Ok(())
    });
    let (result, folder) = fetch(&server, quick);
    failed(&result, "no data for 300ms after 1,000 bytes");
    assert_eq!(names(&folder), ["file.part", "file.part.tag"]);
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
    // A server that is slow but never silent for the timeout is waited for.
    let server = Server::new(|request, stream| {
        if request.number > 0 {
            return Ok(());
        }
        write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {LENGTH}\r\n\r\n")?;
        for piece in bytes().chunks(LENGTH / 6) {
            stream.write_all(piece)?;
            thread::sleep(Duration::from_millis(200));
        }
        Ok(())
    });
    let (result, folder) = fetch(&server, |download| download.timeout = Duration::from_secs(1));
    is_whole(&result, &folder);
}

#[test]
fn answers_that_are_no_file() {
    for (status, requests, part) in [
        ("404 Not Found", 1, "the server answered 404 Not Found"),
        ("403 Forbidden", 1, "the server answered 403 Forbidden"),
        ("500 Internal Server Error", 5, "the server answered 500 Internal Server Error: try again later"),
        ("429 Too Many Requests", 5, "the server answered 429 Too Many Requests: try again later"),
    ] {
        let server = Server::new(move |_, stream| write!(stream, "HTTP/1.1 {status}\r\nContent-Length: 2\r\n\r\nno"));
        let (result, folder) = fetch(&server, |_| ());
        failed(&result, part);
        failed(&result, &server.url);
        assert_eq!(server.requests().len(), requests, "{status}");
        assert_eq!(names(&folder), [""; 0]);
    }
    // Temporary failures.
    let server = Server::new(|request, stream| match request.number {
        0 => write!(stream, "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"),
        1 => write!(stream, "no HTTP at all\r\n\r\n"),
        _ => serve(request, stream, "\"1\"", LENGTH),
    });
    let (result, folder) = fetch(&server, |_| ());
    is_whole(&result, &folder);
    // A part that the server no longer has.
    let server = Server::new(|request, stream| match request.number {
        0 => serve(request, stream, "\"1\"", LENGTH / 2),
        1 => write!(stream, "HTTP/1.1 416 Range Not Satisfiable\r\nContent-Length: 0\r\n\r\n"),
        _ => serve(request, stream, "\"1\"", LENGTH),
    });
    let (result, folder) = fetch(&server, |_| ());
    is_whole(&result, &folder);
}

#[test]
fn nobody_listens() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/file", listener.local_addr().unwrap());
    drop(listener);
    let server = Server { url, requests: Arc::default() };
    failed(&fetch(&server, |_| ()).0, "no connection");
    let server = Server { url: "http://nowhere.invalid/file".into(), requests: Arc::default() };
    failed(&fetch(&server, |_| ()).0, "no connection");
}

#[test]
fn ranges_are_read_as_they_are_written() {
    assert_eq!(content_range("bytes 5-9/10"), Some((5, Some(10))));
    assert_eq!(content_range("bytes 5-9/*"), Some((5, None)));
    for text in ["", "bytes", "bytes */10", "5-9/10", "bytes 5-9", "bytes x-9/10", "bytes 5-9/x"] {
        assert_eq!(content_range(text), None, "{text}");
    }
}
