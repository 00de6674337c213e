//! `alexnet fetch`: download of published weights.

mod download;
mod proxy;
mod published;

use std::{
    io::{self, Write},
    process::ExitCode,
    time::Duration,
};

pub use self::published::Published;
use self::{download::Download, proxy::Named, published::PUBLISHED};
use crate::{
    failure::{Failure, printable, tell},
    progress,
    text::megabytes,
};

const EXAMPLES: &str = "\
Examples:
  alexnet fetch                        list them
  alexnet fetch torchvision            download once; resumes where it stopped
  alexnet classify dog.jpg --weights torchvision

Files are kept in the user's cache folder, once their checksum is verified. The networks were trained on ImageNet, \
whose pictures are for research only.

HTTPS_PROXY names a proxy, or ALL_PROXY if it is not set: http, https, socks4, socks4a, socks5 or socks5h. NO_PROXY \
lists the hosts to reach directly. SSL_CERT_FILE names a file of certificates (PEM) to trust instead of the built-in \
ones, for proxies that inspect TLS.

Exit codes: 0 done; 1 the file could not be fetched; 2 invalid arguments.";

/// Fetch published weights, or list them
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Name of the weights; without it, all are listed
    #[arg(value_name = "NAME", value_parser = named)]
    name: Option<&'static Published>,
    /// Only check whether the file is present and intact
    #[arg(long, requires = "name")]
    offline: bool,
    /// Seconds of a server's silence before a retry
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=3600))]
    timeout: u64,
}

fn named(name: &str) -> Result<&'static Published, String> {
    let names: Vec<&str> = PUBLISHED.iter().map(|published| published.name).collect();
    Published::named(name).ok_or_else(|| format!("expected one of {}", names.join(", ")))
}

pub fn run(args: &Args) -> Result<ExitCode, Failure> {
    let Some(published) = args.name else {
        list().map_err(Failure::output)?;
        return Ok(ExitCode::SUCCESS);
    };
    let path = published.place()?;
    let Published { name, url, size, checksum, .. } = published;
    let whole = path.is_file() && {
        let message = format!("checking {}", path.display());
        progress::while_working(message, || checksum.check(&path))?.is_ok()
    };
    if !whole && args.offline {
        let state = if path.is_file() { "is damaged" } else { "is not there" };
        return Err(Failure::run(format!("{} {state}: fetch {name} without --offline", path.display())));
    }
    if !whole {
        let download = Download {
            url,
            size: *size,
            checksum: *checksum,
            timeout: Duration::from_secs(args.timeout),
            pause: Duration::from_secs(1),
            proxy: Named::of(url).map_err(Failure::run)?,
        };
        let bar = progress::download(name);
        let done = download.to(&path, &bar);
        bar.finish_and_clear();
        done.map_err(Failure::run)?;
    }
    writeln!(io::stdout(), "{}", printable(&path.display().to_string())).map_err(Failure::output)?;
    let option = if published.accuracy.is_some() { "--weights" } else { "compare --lpips" };
    tell(&format!("{name} is ready: {option} {name} uses this file."));
    Ok(ExitCode::SUCCESS)
}

fn list() -> io::Result<()> {
    let mut out = anstream::stdout().lock();
    let bold = anstyle::Style::new().bold();
    writeln!(
        out,
        "{bold}{:12} {:12} {:>9}  {:18} {:13} here{bold:#}",
        "name", "network", "size", "top-1 / top-5", "licence"
    )?;
    for published in &PUBLISHED {
        let Published { name, network, licence, accuracy, .. } = published;
        let here = match published.place() {
            Ok(place) if published.is_damaged(&place) => "damaged",
            Ok(place) if place.is_file() => "yes",
            _ => "no",
        };
        let size = megabytes(published.size);
        let accuracy = accuracy.map_or(String::new(), |[top1, top5]| format!("{top1} / {top5} %"));
        writeln!(out, "{name:12} {network:12} {size:>9}  {accuracy:18} {licence:13} {here}",)?;
    }
    Ok(())
}
