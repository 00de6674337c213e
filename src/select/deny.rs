//! Kernel variants to keep away from: what a driver gets wrong.

use std::{fmt, str::FromStr};

use crate::kernels::{Algorithm, Family, Storage, Style};

/// Kernel variants that the planner must not choose, because a driver gets them wrong. `alexnet doctor` finds them.
///
/// Written as parts joined by hyphens, each at most once: a family (`tiled` or `broadcast`), a storage (`buffer`,
/// `texture` or `sampled`), and an algorithm of convolutions (`winograd`, or `split` for [`Algorithm::SplitK`]). What has all parts is
/// denied: `broadcast` denies that family wherever it stores, `tiled-texture` one style, `winograd` the algorithm in every
/// style, `tiled-winograd` in one family.
///
/// ```
/// use alexnet_wgpu::{Denial, Denials};
///
/// let denials: Denials = "tiled-texture, winograd".parse()?;
/// assert_eq!(denials.to_string(), "tiled-texture,winograd");
/// assert!("voodoo".parse::<Denial>().is_err());
/// # Ok::<(), alexnet_wgpu::UnknownVariant>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Denial {
    broadcast: Option<bool>,
    storage: Option<Storage>,
    shortcut: Option<Shortcut>,
}

/// An algorithm that is not the definition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Shortcut {
    Winograd,
    Split,
}

impl Shortcut {
    fn of(algorithm: Algorithm) -> Option<Self> {
        match algorithm {
            Algorithm::Direct => None,
            Algorithm::Winograd { .. } => Some(Self::Winograd),
            Algorithm::SplitK { .. } => Some(Self::Split),
        }
    }
}

impl Denial {
    /// One style, or an algorithm in it; [`Algorithm::Direct`] stands for the style.
    pub fn of(style: Style, algorithm: Algorithm) -> Self {
        let (broadcast, storage) = (Some(is_broadcast(style)), Some(style.storage));
        Self { broadcast, storage, shortcut: Shortcut::of(algorithm) }
    }

    /// The same whatever the family, the storage, or both: denials of several styles in fewer words.
    pub(crate) fn wider(self) -> impl Iterator<Item = Self> {
        let (any_storage, any_family) = (Self { storage: None, ..self }, Self { broadcast: None, ..self });
        // Without a part, nothing is said.
        let both = self.shortcut.map(|_| Self { storage: None, ..any_family });
        both.into_iter().chain([any_storage, any_family])
    }

    fn fits(self, style: Style) -> bool {
        self.broadcast.is_none_or(|broadcast| broadcast == is_broadcast(style))
            && self.storage.is_none_or(|storage| storage == style.storage)
    }
}

fn is_broadcast(style: Style) -> bool {
    matches!(style.family, Family::Broadcast { .. })
}

impl fmt::Display for Denial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let family = self.broadcast.map(|broadcast| if broadcast { "broadcast" } else { "tiled" });
        let storage = self.storage.map(Storage::name);
        let shortcut = self.shortcut.map(|shortcut| match shortcut {
            Shortcut::Winograd => "winograd",
            Shortcut::Split => "split",
        });
        let parts: Vec<&str> = family.into_iter().chain(storage).chain(shortcut).collect();
        f.write_str(&parts.join("-"))
    }
}

impl FromStr for Denial {
    type Err = UnknownVariant;

    fn from_str(text: &str) -> Result<Self, UnknownVariant> {
        let unknown = || UnknownVariant { found: text.chars().take(80).collect() };
        let mut denial = Self { broadcast: None, storage: None, shortcut: None };
        for part in text.split('-') {
            let again = match part {
                "tiled" => denial.broadcast.replace(false).is_some(),
                "broadcast" => denial.broadcast.replace(true).is_some(),
                "winograd" => denial.shortcut.replace(Shortcut::Winograd).is_some(),
                "split" => denial.shortcut.replace(Shortcut::Split).is_some(),
                name => match Storage::ALL.into_iter().find(|storage| storage.name() == name) {
                    Some(storage) => denial.storage.replace(storage).is_some(),
                    None => return Err(unknown()),
                },
            };
            if again {
                return Err(unknown());
            }
        }
        Ok(denial)
    }
}

/// Several [`Denial`]s; written with commas or spaces between them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Denials(pub Vec<Denial>);

impl Denials {
    /// What the environment variable `ALEXNET_DENY` says; none where it is not set.
    ///
    /// # Errors
    ///
    /// [`UnknownVariant`] names what is no variant.
    pub fn from_env() -> Result<Self, UnknownVariant> {
        std::env::var_os("ALEXNET_DENY").map_or_else(|| Ok(Self::default()), |v| v.to_string_lossy().parse())
    }

    /// What either denies.
    pub(crate) fn and(&self, others: &Self) -> Self {
        Self(self.0.iter().chain(&others.0).copied().collect())
    }

    /// Whether every kernel of `style` is denied.
    pub fn style(&self, style: Style) -> bool {
        self.algorithm(style, Algorithm::Direct)
    }

    /// Whether `algorithm` by itself is denied in `style`; of [`Algorithm::Direct`], whether the style is.
    pub fn algorithm(&self, style: Style, algorithm: Algorithm) -> bool {
        let shortcut = Shortcut::of(algorithm);
        self.0.iter().any(|denial| denial.shortcut == shortcut && denial.fits(style))
    }
}

impl fmt::Display for Denials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&all.join(","))
    }
}

impl FromStr for Denials {
    type Err = UnknownVariant;

    fn from_str(text: &str) -> Result<Self, UnknownVariant> {
        let names = text.split([',', ' ']).filter(|name| !name.is_empty());
        names.map(str::parse).collect::<Result<_, _>>().map(Self)
    }
}

/// A name that is no variant's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected a kernel variant (tiled or broadcast, buffer, texture or sampled, winograd or split, or several of them joined by \
     hyphens, such as tiled-texture), found `{found}`"
)]
pub struct UnknownVariant {
    /// The name.
    pub found: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    const TILED: Style = Style { family: Family::Tiled, storage: Storage::Buffer };
    const BROADCAST: Style = Style { family: Family::Broadcast { lanes: 8 }, storage: Storage::Texture };

    #[test]
    fn names_deny_what_has_all_their_parts() {
        for (names, tiled, broadcast, tiled_winograd, broadcast_winograd) in [
            ("", false, false, false, false),
            ("tiled", true, false, false, false),
            ("texture", false, true, false, false),
            ("broadcast-texture", false, true, false, false),
            ("tiled-texture broadcast-buffer", false, false, false, false),
            ("winograd", false, false, true, true),
            ("buffer-winograd", false, false, true, false),
            ("broadcast, tiled-buffer-winograd", false, true, true, false),
        ] {
            let denials: Denials = names.parse().unwrap();
            assert_eq!([denials.style(TILED), denials.style(BROADCAST)], [tiled, broadcast], "{names}");
            let winograd = Algorithm::Winograd { tile: 4 };
            let found = [TILED, BROADCAST].map(|style| denials.algorithm(style, winograd));
            assert_eq!(found, [tiled_winograd, broadcast_winograd], "{names}");
            assert!(!denials.algorithm(TILED, Algorithm::SplitK { parts: 2 }), "{names}");
            assert_eq!(denials.to_string().parse::<Denials>().unwrap(), denials);
        }
    }

    #[test]
    fn other_names_are_refused() {
        for name in [
            "voodoo",
            "tiled-tiled",
            "tiled-broadcast",
            "buffer-texture",
            "texture-sampled",
            "-",
            "winograd-",
            "winograd-split",
            "Tiled",
        ] {
            let error = name.parse::<Denials>().unwrap_err().to_string();
            assert!(error.contains(&format!("found `{name}`")), "{error}");
        }
    }
}
