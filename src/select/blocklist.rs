//! Blocklist of miscompiled kernel variants.

use std::{fmt, str::FromStr};

use crate::kernels::{Algorithm, Family, KernelConfig, Storage};

/// A set of kernel variants that the planner must not choose because a driver miscompiles them. `alexnet doctor` finds
/// them.
///
/// It is written as parts joined by hyphens, each at most once: a family (`tiled`, `broadcast` or `cooperative`), a storage (`buffer`,
/// `texture` or `sampled`), and an algorithm of convolutions (`winograd`, `split` for [`Algorithm::SplitK`], or `tile` for [`Algorithm::Tile`]).
/// Variants that match all parts are blocked: `broadcast` blocks that family with every storage, `tiled-texture` blocks
/// one kernel configuration, `winograd` blocks the algorithm in every kernel configuration, and `tiled-winograd` blocks
/// it in one family.
///
/// ```
/// use alexnet_wgpu::{BlockedVariant, Blocklist};
///
/// let blocklist: Blocklist = "tiled-texture, winograd".parse()?;
/// assert_eq!(blocklist.to_string(), "tiled-texture,winograd");
/// assert!("voodoo".parse::<BlockedVariant>().is_err());
/// # Ok::<(), alexnet_wgpu::UnknownVariant>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BlockedVariant {
    family: Option<FamilyName>,
    storage: Option<Storage>,
    shortcut: Option<Shortcut>,
}

/// A family, whatever the number of lanes or the size of matrices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum FamilyName {
    Tiled,
    Broadcast,
    Cooperative,
}

impl FamilyName {
    const ALL: [Self; 3] = [Self::Tiled, Self::Broadcast, Self::Cooperative];

    fn of(family: Family) -> Self {
        match family {
            Family::WorkgroupTiled => Self::Tiled,
            Family::SubgroupBroadcast { .. } => Self::Broadcast,
            Family::CooperativeMatrix { .. } => Self::Cooperative,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Tiled => "tiled",
            Self::Broadcast => "broadcast",
            Self::Cooperative => "cooperative",
        }
    }
}

/// An algorithm other than the direct one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Shortcut {
    Winograd,
    Split,
    Tile,
}

impl Shortcut {
    fn of(algorithm: Algorithm) -> Option<Self> {
        match algorithm {
            Algorithm::Direct | Algorithm::DirectF32 => None,
            Algorithm::Winograd { .. } => Some(Self::Winograd),
            Algorithm::SplitK { .. } => Some(Self::Split),
            Algorithm::Tile { .. } => Some(Self::Tile),
        }
    }
}

impl BlockedVariant {
    /// Returns the variant for one kernel configuration, or for an algorithm in it; [`Algorithm::Direct`] stands for
    /// the kernel configuration.
    pub fn of(config: KernelConfig, algorithm: Algorithm) -> Self {
        let (family, storage) = (Some(FamilyName::of(config.family)), Some(config.storage));
        Self { family, storage, shortcut: Shortcut::of(algorithm) }
    }

    /// The variant without its family, its storage, or both, which covers several kernel configurations.
    pub(crate) fn wider(self) -> impl Iterator<Item = Self> {
        let (any_storage, any_family) = (Self { storage: None, ..self }, Self { family: None, ..self });
        // At least one part must remain.
        let both = self.shortcut.map(|_| Self { storage: None, ..any_family });
        both.into_iter().chain([any_storage, any_family])
    }

    fn fits(self, config: KernelConfig) -> bool {
        self.family.is_none_or(|family| family == FamilyName::of(config.family))
            && self.storage.is_none_or(|storage| storage == config.storage)
    }
}

impl fmt::Display for BlockedVariant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let family = self.family.map(FamilyName::name);
        let storage = self.storage.map(Storage::name);
        let shortcut = self.shortcut.map(|shortcut| match shortcut {
            Shortcut::Winograd => "winograd",
            Shortcut::Split => "split",
            Shortcut::Tile => "tile",
        });
        let parts: Vec<&str> = family.into_iter().chain(storage).chain(shortcut).collect();
        f.write_str(&parts.join("-"))
    }
}

impl FromStr for BlockedVariant {
    type Err = UnknownVariant;

    fn from_str(text: &str) -> Result<Self, UnknownVariant> {
        let unknown = || UnknownVariant { found: text.chars().take(80).collect() };
        let mut blocked = Self { family: None, storage: None, shortcut: None };
        for part in text.split('-') {
            let again = match part {
                "winograd" => blocked.shortcut.replace(Shortcut::Winograd).is_some(),
                "split" => blocked.shortcut.replace(Shortcut::Split).is_some(),
                "tile" => blocked.shortcut.replace(Shortcut::Tile).is_some(),
                name => {
                    let family = FamilyName::ALL.into_iter().find(|family| family.name() == name);
                    let storage = Storage::ALL.into_iter().find(|storage| storage.name() == name);
                    match (family, storage) {
                        (Some(family), _) => blocked.family.replace(family).is_some(),
                        (None, Some(storage)) => blocked.storage.replace(storage).is_some(),
                        (None, None) => return Err(unknown()),
                    }
                }
            };
            if again {
                return Err(unknown());
            }
        }
        Ok(blocked)
    }
}

/// A list of [`BlockedVariant`]s, separated by commas or spaces when written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Blocklist(Vec<BlockedVariant>);

impl FromIterator<BlockedVariant> for Blocklist {
    fn from_iter<I: IntoIterator<Item = BlockedVariant>>(variants: I) -> Self {
        Self(variants.into_iter().collect())
    }
}

impl Extend<BlockedVariant> for Blocklist {
    fn extend<I: IntoIterator<Item = BlockedVariant>>(&mut self, variants: I) {
        self.0.extend(variants);
    }
}

impl IntoIterator for Blocklist {
    type Item = BlockedVariant;
    type IntoIter = std::vec::IntoIter<BlockedVariant>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl Blocklist {
    /// Returns the variants, in the order in which they were added.
    pub fn iter(&self) -> impl Iterator<Item = BlockedVariant> {
        self.0.iter().copied()
    }

    /// Whether the list is empty.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The union of both lists.
    pub(crate) fn and(&self, others: &Self) -> Self {
        Self(self.0.iter().chain(&others.0).copied().collect())
    }

    /// Whether every kernel of `config` is blocked.
    pub fn blocks(&self, config: KernelConfig) -> bool {
        self.blocks_algorithm(config, Algorithm::Direct)
    }

    /// Whether `algorithm` itself is blocked in `config`. For [`Algorithm::Direct`], whether the kernel configuration
    /// is.
    pub fn blocks_algorithm(&self, config: KernelConfig, algorithm: Algorithm) -> bool {
        let shortcut = Shortcut::of(algorithm);
        self.0.iter().any(|blocked| blocked.shortcut == shortcut && blocked.fits(config))
    }
}

impl fmt::Display for Blocklist {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&all.join(","))
    }
}

impl FromStr for Blocklist {
    type Err = UnknownVariant;

    fn from_str(text: &str) -> Result<Self, UnknownVariant> {
        let names = text.split([',', ' ']).filter(|name| !name.is_empty());
        names.map(str::parse).collect::<Result<_, _>>().map(Self)
    }
}

/// A name that does not denote a variant.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected a kernel variant (tiled, broadcast or cooperative, buffer, texture or sampled, winograd, split or tile, or several of them joined by \
     hyphens, such as tiled-texture), found `{found}`"
)]
pub struct UnknownVariant {
    /// The name.
    pub found: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    const TILED: KernelConfig = KernelConfig { family: Family::WorkgroupTiled, storage: Storage::StorageBuffer };
    const BROADCAST: KernelConfig =
        KernelConfig { family: Family::SubgroupBroadcast { lanes: 8 }, storage: Storage::StorageTexture };

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
            ("cooperative", false, false, false, false),
        ] {
            let blocklist: Blocklist = names.parse().unwrap();
            assert_eq!([blocklist.blocks(TILED), blocklist.blocks(BROADCAST)], [tiled, broadcast], "{names}");
            let winograd = Algorithm::Winograd { tile: 4 };
            let found = [TILED, BROADCAST].map(|config| blocklist.blocks_algorithm(config, winograd));
            assert_eq!(found, [tiled_winograd, broadcast_winograd], "{names}");
            assert!(!blocklist.blocks_algorithm(TILED, Algorithm::SplitK { parts: 2 }), "{names}");
            assert_eq!(blocklist.to_string().parse::<Blocklist>().unwrap(), blocklist);
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
            let error = name.parse::<Blocklist>().unwrap_err().to_string();
            assert!(error.contains(&format!("found `{name}`")), "{error}");
        }
    }
}
