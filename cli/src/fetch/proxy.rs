//! The proxy of downloads, from the environment.

use std::{env, ffi::OsString, fmt};

use ureq::Proxy;

/// A proxy, and the environment variable that names it.
#[derive(Clone, Debug)]
pub struct Named {
    pub proxy: Proxy,
    pub variable: &'static str,
}

impl Named {
    /// The variables that can name a proxy: all URLs are https.
    pub const VARIABLES: [&'static str; 4] = ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"];

    /// The proxy for `url`; `None` where the environment names none, or excludes the URL's host.
    pub fn of(url: &str) -> Result<Option<Self>, String> {
        Self::choose(url, |name| env::var_os(name))
    }

    /// The first variable that is set and not empty decides.
    fn choose(url: &str, variable: impl Fn(&str) -> Option<OsString>) -> Result<Option<Self>, String> {
        let set = |name: &&'static str| Some((*name, variable(name).filter(|value| !value.is_empty())?));
        let Some((name, value)) = Self::VARIABLES.iter().find_map(set) else { return Ok(None) };
        let proxy = value.to_str().map(str::trim).and_then(|text| Proxy::new(text).ok()).ok_or_else(|| {
            format!(
                "the environment variable {name}: expected a proxy such as http://localhost:3128 or \
                 socks5h://localhost:1080, found `{}`: correct it, or unset it to go without",
                without_password(&value.to_string_lossy())
            )
        })?;
        let skipped = ["NO_PROXY", "no_proxy"].iter().find_map(set).map(|(_, value)| value).unwrap_or_default();
        let proxy = skipping(&proxy, &skipped.to_string_lossy()).map_err(|e| format!("NO_PROXY: {e}"))?;
        let direct = url.parse().is_ok_and(|url| proxy.is_no_proxy(&url));
        Ok((!direct).then_some(Self { proxy, variable: name }))
    }
}

/// The proxy without user name and password.
impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { proxy, variable } = self;
        let scheme = proxy.protocol().to_string().to_lowercase();
        write!(f, "{variable}'s {scheme}://{}:{}", proxy.host(), proxy.port())
    }
}

/// The same proxy, except for the hosts in `list` and their subdomains.
fn skipping(proxy: &Proxy, list: &str) -> Result<Proxy, ureq::Error> {
    let mut builder =
        Proxy::builder(proxy.protocol()).host(proxy.host()).port(proxy.port()).resolve_target(proxy.resolve_target());
    if let Some(name) = proxy.username() {
        builder = builder.username(name);
    }
    if let Some(password) = proxy.password() {
        builder = builder.password(password);
    }
    for host in list.split([',', ' ']).filter(|host| !host.is_empty()) {
        builder = builder.no_proxy(host);
        if !host.starts_with(['*', '.']) {
            builder = builder.no_proxy(&format!(".{host}"));
        }
    }
    builder.build()
}

/// The password is before the last @.
fn without_password(value: &str) -> String {
    match value.rsplit_once('@') {
        Some((_, host)) => format!("…@{host}"),
        None => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use super::*;

    const URL: &str = "https://download.pytorch.org/models/a.pth";

    fn choose(set: &[(&str, &str)]) -> Result<Option<String>, String> {
        let variable = |name: &str| Some(set.iter().find(|(other, _)| *other == name)?.1.into());
        Ok(Named::choose(URL, variable)?.map(|named| named.to_string()))
    }

    #[test]
    fn the_first_that_is_set_decides() {
        let all = [("ALL_PROXY", "socks5h://all"), ("HTTP_PROXY", "http://plain:1"), ("HTTPS_PROXY", "http://tls:2")];
        let chosen = |set: &[(&str, &str)]| choose(set).unwrap();
        assert_eq!(chosen(&all).unwrap(), "HTTPS_PROXY's http://tls:2");
        assert_eq!(chosen(&all[..2]).unwrap(), "ALL_PROXY's socks5h://all:1080");
        assert_eq!(chosen(&all[1..2]), None);
        // Without a scheme it is http; lower-case variables count; an empty one does not.
        let set = [("HTTPS_PROXY", ""), ("https_proxy", "there:3128")];
        assert_eq!(chosen(&set).unwrap(), "https_proxy's http://there:3128");
        assert_eq!(chosen(&set[..1]), None);
    }

    #[test]
    fn hosts_are_taken_out() {
        for (list, direct) in [
            ("", false),
            ("localhost,pytorch.org", true),
            ("localhost, .pytorch.org", true),
            ("*.pytorch.org", true),
            ("Download.PyTorch.org", true),
            ("*", true),
            ("torch.org", false),
            ("models.download.pytorch.org", false),
        ] {
            let chosen = choose(&[("ALL_PROXY", "http://user:word@there"), ("NO_PROXY", list)]).unwrap();
            assert_eq!(chosen.is_none(), direct, "{list}");
            assert_eq!(chosen.as_deref().unwrap_or("ALL_PROXY's http://there:80"), "ALL_PROXY's http://there:80");
        }
    }

    #[test]
    fn who_uses_it_is_told_to_the_proxy_alone() {
        let set = |name: &str| (name == "ALL_PROXY").then(|| "socks5://me:p%40ss@there:99".into());
        let named = Named::choose(URL, set).unwrap().unwrap();
        assert_eq!(named.to_string(), "ALL_PROXY's socks5://there:99");
        assert_eq!((named.proxy.username(), named.proxy.password()), (Some("me"), Some("p@ss")));
        assert!(named.proxy.resolve_target(), "socks5 looks names up here, socks5h there");
    }

    #[test]
    fn what_is_no_proxy_is_an_error() {
        for (value, found) in
            [("ftp://there", "`ftp://there`"), ("http://", "`http://`"), ("quic://me:secret@there:1", "`…@there:1`")]
        {
            // A usable one for all schemes does not replace it.
            let error = choose(&[("HTTPS_PROXY", value), ("ALL_PROXY", "http://there")]).unwrap_err();
            assert!(error.contains("HTTPS_PROXY") && error.contains(found), "{error}");
            assert!(!error.contains("secret"), "{error}");
            assert_eq!(choose(&[("HTTP_PROXY", value)]), Ok(None), "it is not for this URL");
        }
    }
}
