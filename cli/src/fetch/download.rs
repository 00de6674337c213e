//! A download from an unreliable server: the file is complete and verified, or absent.

#[cfg(test)]
mod tests;

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Read, Write},
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use indicatif::ProgressBar;
use ureq::{
    Agent, Body, Error,
    http::{Response, StatusCode, header},
    tls::{PemItem, RootCerts, TlsConfig, parse_pem},
};

use super::{proxy::Named, published::Checksum};
use crate::{progress, text::grouped};

/// A file to download, with the timeouts.
#[derive(Clone, Debug)]
pub struct Download<'a> {
    pub url: &'a str,
    /// The size in bytes.
    pub size: u64,
    pub checksum: Checksum,
    /// The longest silence of a server.
    pub timeout: Duration,
    /// The pause after a first failure; it doubles with each one that follows at once.
    pub pause: Duration,
    /// The proxy, if any.
    pub proxy: Option<Named>,
}

/// The number of retries without progress.
const RETRIES: u32 = 4;

/// The variable in which OpenSSL's programs look for certificates too.
const CERTIFICATES: &str = "SSL_CERT_FILE";

/// The certificates in a file.
fn certificates(file: &Path) -> Result<RootCerts, String> {
    let failed =
        |reason: String| format!("{CERTIFICATES}: expected certificates (PEM) in {}: {reason}", file.display());
    let pem = fs::read(file).map_err(|e| failed(e.to_string()))?;
    let mut found = Vec::new();
    for item in parse_pem(&pem) {
        if let PemItem::Certificate(certificate) = item.map_err(|e| failed(e.to_string()))? {
            found.push(certificate);
        }
    }
    if found.is_empty() { Err(failed("found none".into())) } else { Ok(RootCerts::new_with_certs(&found)) }
}

/// The reason why a transfer ended early.
enum Stop {
    /// A retry may succeed.
    ForNow(String),
    /// The server cannot be reached; if it could before, a retry may succeed.
    Unreachable(String),
    /// A retry cannot succeed.
    ForGood(String),
}

impl Download<'_> {
    /// Downloads the file to `path`. A partial download is kept next to `path`, and the next call resumes it.
    pub fn to(&self, path: &Path, bar: &ProgressBar) -> Result<(), String> {
        // A link is kept: its target is written. Anything but a regular file is not replaced.
        let path = &fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
        let part = Part::of(path);
        let folder = path.parent().unwrap_or(Path::new(""));
        fs::create_dir_all(folder).map_err(|e| format!("cannot make {}: {e}", folder.display()))?;
        for path in [path, &part.path, &part.tag, &part.lock] {
            if path.symlink_metadata().is_ok_and(|found| !found.is_file()) {
                return Err(format!(
                    "expected a regular file or nothing at {}, found something else: remove it",
                    path.display()
                ));
            }
        }
        let _lock = part.lock()?;
        let tls = match std::env::var_os(CERTIFICATES) {
            Some(file) => TlsConfig::builder().root_certs(certificates(Path::new(&file))?).build(),
            None => TlsConfig::default(),
        };
        let agent = Agent::config_builder()
            .tls_config(tls)
            .http_status_as_error(false)
            // Nobody leads from TLS to a place without.
            .https_only(self.url.starts_with("https:"))
            .proxy(self.proxy.as_ref().map(|named| named.proxy.clone()))
            .timeout_connect(Some(self.timeout))
            .timeout_recv_response(Some(self.timeout))
            .timeout_per_read(Some(self.timeout))
            .user_agent(concat!("alexnet/", env!("CARGO_PKG_VERSION")))
            .build()
            .new_agent();
        let (mut failures, mut reached) = (0, false);
        loop {
            let before = part.len();
            match self.transfer(&agent, &part, bar) {
                Ok(()) => break,
                Err(Stop::ForGood(reason)) => return Err(format!("{}: {reason}", self.way())),
                Err(Stop::Unreachable(reason)) if !reached => return Err(format!("{}: {reason}", self.way())),
                Err(Stop::ForNow(reason) | Stop::Unreachable(reason)) => {
                    reached = true;
                    failures = if part.len() > before { 1 } else { failures + 1 };
                    if failures > RETRIES {
                        let way = self.way();
                        let onward = if part.len() > 0 { ", the download resumes" } else { "" };
                        return Err(format!("{way}: {reason}: try again later{onward}"));
                    }
                    thread::sleep(self.pause * (1 << (failures - 1)));
                }
            }
        }
        self.keep(&part, path)
    }

    /// The URL, and the proxy if there is one.
    fn way(&self) -> String {
        match &self.proxy {
            Some(named) => format!("{} through {named}", self.url),
            None => self.url.to_string(),
        }
    }

    /// Sends one request and handles the response.
    fn transfer(&self, agent: &Agent, part: &Part, bar: &ProgressBar) -> Result<(), Stop> {
        let mut have = part.len();
        if have == self.size {
            return Ok(());
        }
        let tag = part.tag();
        if tag.is_none() || have > self.size {
            // The rest may belong to another version of the file.
            have = 0;
        }
        let mut request = agent.get(self.url);
        if let (1.., Some(tag)) = (have, tag) {
            request = request.header(header::RANGE, format!("bytes={have}-")).header(header::IF_RANGE, tag);
        }
        let response = request.call().map_err(|e| self.stop(e))?;

        let text = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
        let length = text(header::CONTENT_LENGTH).and_then(|length| length.parse::<u64>().ok());
        let announced = match response.status() {
            StatusCode::OK => {
                have = 0;
                length
            }
            StatusCode::PARTIAL_CONTENT => {
                let range = text(header::CONTENT_RANGE).and_then(content_range);
                let Some((start, total)) = range.filter(|(start, _)| *start == have) else {
                    part.remove();
                    return Err(Stop::ForNow("the server sent another part than was asked for".into()));
                };
                total.or(length.and_then(|length| start.checked_add(length)))
            }
            StatusCode::RANGE_NOT_SATISFIABLE => {
                part.remove();
                return Err(Stop::ForNow("the server has no such part".into()));
            }
            status => {
                let reason = format!("the server answered {status}");
                let may_pass = status.is_server_error()
                    || [StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_MANY_REQUESTS].contains(&status);
                return Err(if may_pass { Stop::ForNow(reason) } else { Stop::ForGood(reason) });
            }
        };
        if let Some(announced) = announced.filter(|announced| *announced != self.size) {
            let [size, announced] = [self.size, announced].map(grouped);
            return Err(Stop::ForGood(format!(
                "expected {size} bytes, the server has {announced}: the file there has changed"
            )));
        }
        part.write_tag(&response, have > 0).map_err(|e| part.failed(e))?;
        self.receive(response, part, have, bar)
    }

    /// Appends the body to the first `have` bytes.
    fn receive(&self, response: Response<Body>, part: &Part, mut have: u64, bar: &ProgressBar) -> Result<(), Stop> {
        let mut file = part.open(have).map_err(|e| part.failed(e))?;
        progress::downloading(bar, self.size, have);
        let mut body = response.into_body().into_reader();
        let mut buffer = vec![0; 1 << 16];
        loop {
            let count = match body.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => count,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => {
                    let reason = match Error::from(e) {
                        Error::Timeout(_) => format!("no data for {:?}", self.timeout),
                        e => format!("the connection broke ({e})"),
                    };
                    return Err(Stop::ForNow(format!("{reason} after {} bytes", grouped(have))));
                }
            };
            have += count as u64;
            if have > self.size {
                drop(file);
                part.remove();
                return Err(Stop::ForGood("the server sends more bytes than the file has".into()));
            }
            file.write_all(&buffer[..count]).map_err(|e| part.failed(e))?;
            bar.set_position(have);
        }
        file.sync_all().map_err(|e| part.failed(e))?;
        if have < self.size {
            let [have, size] = [have, self.size].map(grouped);
            return Err(Stop::ForNow(format!("the server stopped after {have} of {size} bytes")));
        }
        Ok(())
    }

    fn stop(&self, error: Error) -> Stop {
        match error {
            Error::Timeout(_) => Stop::ForNow(format!("no answer within {:?}", self.timeout)),
            Error::Protocol(_) => Stop::ForNow(format!("invalid answer ({error})")),
            Error::ConnectProxyFailed(reason) => {
                // ureq formats the reason as `403/403`.
                let reason = reason.split('/').next().unwrap_or_default();
                Stop::Unreachable(format!("the proxy refused the connection ({reason}): {}", self.hint()))
            }
            Error::Io(_) if error.to_string().contains("certificate") => Stop::Unreachable(format!(
                "no trusted connection ({error}): behind a proxy that inspects TLS, set {CERTIFICATES} to a file with its \
                 certificate (PEM)"
            )),
            Error::Io(_) | Error::ConnectionFailed | Error::HostNotFound => {
                Stop::Unreachable(format!("no connection ({error}): {}", self.hint()))
            }
            error => Stop::ForGood(error.to_string()),
        }
    }

    /// Advice for a failed connection.
    fn hint(&self) -> String {
        match &self.proxy {
            Some(named) => format!("check {}, and whether that proxy allows this connection", named.variable),
            None => format!("check the network; behind a proxy, set {}", Named::VARIABLES[0]),
        }
    }

    /// Verifies the whole file and moves it into place; a file with a wrong checksum is deleted.
    fn keep(&self, part: &Part, path: &Path) -> Result<(), String> {
        let failed = |e: io::Error| format!("cannot keep {}: {e}", path.display());
        if let Err(mismatch) = self.checksum.check(&part.path).map_err(failed)? {
            part.remove();
            return Err(format!(
                "{}: expected a file with the checksum {}, received {}: it is damaged or another file, and was deleted",
                self.way(),
                mismatch.expected,
                mismatch.found
            ));
        }
        fs::rename(&part.path, path).map_err(failed)?;
        part.remove();
        Ok(())
    }
}

/// The start of a part, and the length of the whole: `bytes 5-9/10` or `bytes 5-9/*`.
fn content_range(text: &str) -> Option<(u64, Option<u64>)> {
    let (range, total) = text.trim().strip_prefix("bytes ")?.split_once('/')?;
    let (start, _) = range.split_once('-')?;
    let total = if total == "*" { None } else { Some(total.parse().ok()?) };
    Some((start.parse().ok()?, total))
}

/// A partial download, with the server's tag of the whole file.
struct Part {
    path: PathBuf,
    tag: PathBuf,
    lock: PathBuf,
}

/// A lock held by the only program that writes to a part.
struct Lock<'a> {
    part: &'a Part,
    _file: File,
}

impl Drop for Lock<'_> {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.part.lock);
    }
}

impl Part {
    fn of(path: &Path) -> Self {
        let beside = |ending: &str| {
            let mut name = path.file_name().unwrap_or_default().to_os_string();
            name.push(ending);
            path.with_file_name(name)
        };
        Self { path: beside(".part"), tag: beside(".part.tag"), lock: beside(".part.lock") }
    }

    /// Prevents other programs from writing to it while the returned lock is held.
    fn lock(&self) -> Result<Lock<'_>, String> {
        let failed = |e: io::Error| format!("cannot write {}: {e}", self.lock.display());
        let file = OpenOptions::new().create(true).append(true).open(&self.lock).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => Ok(Lock { part: self, _file: file }),
            Err(TryLockError::WouldBlock) => {
                Err(format!("another program is fetching to {}: wait until it is done", self.path.display()))
            }
            Err(TryLockError::Error(e)) => Err(failed(e)),
        }
    }

    fn len(&self) -> u64 {
        self.path.metadata().map_or(0, |metadata| metadata.len())
    }

    fn tag(&self) -> Option<String> {
        let tag = fs::read_to_string(&self.tag).ok()?;
        header::HeaderValue::from_str(&tag).ok()?;
        Some(tag).filter(|tag| !tag.is_empty())
    }

    /// Stores the server's validator of the file: only a strong one, which changes with every byte (RFC 9110, 13.1.5).
    fn write_tag(&self, response: &Response<Body>, same: bool) -> io::Result<()> {
        if same {
            return Ok(());
        }
        let text = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
        let strong = text(header::ETAG).filter(|tag| !tag.starts_with("W/"));
        fs::write(&self.tag, strong.or_else(|| text(header::LAST_MODIFIED)).unwrap_or_default())
    }

    /// Opens the file for appending to its first `have` bytes.
    fn open(&self, have: u64) -> io::Result<File> {
        let file = OpenOptions::new().create(true).append(true).open(&self.path)?;
        file.set_len(have)?;
        Ok(file)
    }

    fn remove(&self) {
        let _ = fs::remove_file(&self.path);
        let _ = fs::remove_file(&self.tag);
    }

    fn failed(&self, error: io::Error) -> Stop {
        Stop::ForGood(format!("cannot write {}: {error}", self.path.display()))
    }
}
