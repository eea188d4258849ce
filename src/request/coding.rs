//! What an erasure-coded pool is to be: its profile, its rule, and the names of those made for it.
//!
//! A profile is never changed, since Ceph would have to be forced, and pools that use it would not follow. So the ones
//! made here are called by a hash of what is in them: pools that want the same share one, and another wish is another
//! name.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};

use sha2::{Digest, Sha256};

use crate::api::quantity::Quantity;
use crate::api::v1alpha1::{CephPoolSpec, CrushSpec, ErasureCodedSpec, PoolType};
use crate::ceph::crush_map::{CrushMap, Rule, Step};
use crate::ceph::osd_map::OsdMap;
use crate::ceph::types::Release;

/// How the names of the profiles and rules made here begin; a hash of what is in them follows.
pub const MADE: &str = "poolwright-";

/// How many bytes of the hash a name shows.
const SHOWN: usize = 8;

/// Keys and values of an erasure-code profile.
pub type Keys = BTreeMap<String, String>;

/// The erasure coding that a manifest asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Coding {
    /// Where the keys of the profile come from.
    pub profile: Profile,
    /// Where the chunks go, where the manifest says so.
    pub placement: Placement,
}

/// Where the keys of a profile come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Profile {
    /// One that somebody made.
    Existing(String),
    /// One made for these.
    Made {
        /// k
        data_chunks: i64,
        /// m
        coding_chunks: i64,
        /// The plugin, where it is named.
        plugin: Option<String>,
        /// Its technique, where it is named.
        technique: Option<String>,
        /// Bytes, where they are named.
        stripe_unit: Option<i64>,
    },
}

/// Where the chunks go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Placement {
    /// The manifest does not say.
    Unsaid,
    /// As this rule says.
    Rule(String),
    /// As a rule made for these says.
    Under(Place),
}

/// The bucket to choose under, the class of devices, and the type of bucket that no two chunks share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The bucket.
    pub root: String,
    /// The class.
    pub device_class: Option<String>,
    /// The type.
    pub failure_domain: String,
}

impl Default for Place {
    /// Ceph's own choice.
    fn default() -> Self {
        Self {
            root: "default".to_owned(),
            device_class: None,
            failure_domain: "host".to_owned(),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "failureDomain {} under {}",
            self.failure_domain, self.root
        )?;
        match &self.device_class {
            Some(class) => write!(formatter, " on {class}"),
            None => Ok(()),
        }
    }
}

/// How many chunks there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chunks {
    /// k: without so many, nothing can be read.
    pub data: i64,
    /// m: so many may be lost.
    pub coding: i64,
}

impl Chunks {
    /// Those of a profile.
    pub fn of(keys: &Keys) -> Option<Self> {
        let number = |key: &str| keys.get(key)?.parse().ok();
        Some(Self {
            data: number("k")?,
            coding: number("m")?,
        })
    }

    /// With fewer than this available, one failure more would lose what is written meanwhile. Where only one may be
    /// lost at all, Ceph chooses k, and so is it here.
    pub fn safe_min_size(self) -> i64 {
        self.data + (self.coding - 1).clamp(0, 1)
    }
}

impl Coding {
    /// What a spec that has passed validation says; none of a replicated pool.
    pub fn read(spec: &CephPoolSpec) -> Option<Self> {
        let block = spec.erasure_coded.as_ref()?;
        if spec.pool_type != PoolType::ErasureCoded {
            return None;
        }
        Some(Self {
            profile: Profile::read(block),
            placement: Placement::read(spec.crush.as_ref()),
        })
    }

    /// How many chunks there are to be, where that is known.
    pub fn chunks(&self, map: &OsdMap) -> Option<Chunks> {
        match &self.profile {
            Profile::Existing(name) => Chunks::of(map.erasure_code_profiles.get(name)?),
            Profile::Made {
                data_chunks,
                coding_chunks,
                ..
            } => Some(Chunks {
                data: *data_chunks,
                coding: *coding_chunks,
            }),
        }
    }

    /// What a profile made for it says: everything on which Ceph's own choice depends on the release is said. None
    /// where an existing one is named.
    pub fn keys(&self, release: Option<Release>) -> Option<Keys> {
        let Profile::Made {
            data_chunks,
            coding_chunks,
            plugin,
            technique,
            stripe_unit,
        } = &self.profile
        else {
            return None;
        };
        // A release that this program does not know is later than those it does.
        let default = match (technique.as_deref(), release) {
            // Of these, only one plugin has each.
            (Some("cauchy"), _) => "isa",
            (Some("single" | "multiple"), _) => "shec",
            (Some(other), _) if other != "reed_sol_van" => "jerasure",
            (_, Some(release)) if release < Release::Tentacle => "jerasure",
            _ => "isa",
        };
        let plugin = plugin.as_deref().unwrap_or(default);
        let technique = technique.as_deref().unwrap_or(match plugin {
            "shec" => "multiple",
            _ => "reed_sol_van",
        });
        let mut keys = vec![
            ("k", data_chunks.to_string()),
            ("m", coding_chunks.to_string()),
            ("plugin", plugin.to_owned()),
            ("technique", technique.to_owned()),
        ];
        keys.extend(stripe_unit.map(|bytes| ("stripe_unit", bytes.to_string())));
        // A rule by name says itself where the chunks go.
        let place = match &self.placement {
            Placement::Unsaid => Some(Place::default()),
            Placement::Under(place) => Some(place.clone()),
            Placement::Rule(_) => None,
        };
        if let Some(place) = place {
            keys.push(("crush-failure-domain", place.failure_domain));
            keys.push(("crush-root", place.root));
            keys.extend(
                place
                    .device_class
                    .map(|class| ("crush-device-class", class)),
            );
        }
        let owned = |(key, value): (&str, String)| (key.to_owned(), value);
        Some(keys.into_iter().map(owned).collect())
    }
}

impl Profile {
    fn read(block: &ErasureCodedSpec) -> Self {
        match &block.profile {
            Some(name) => Self::Existing(name.clone()),
            None => Self::Made {
                data_chunks: block.data_chunks.unwrap_or_default().into(),
                coding_chunks: block.coding_chunks.unwrap_or_default().into(),
                plugin: block.plugin.clone(),
                technique: block.technique.clone(),
                stripe_unit: block.stripe_unit.as_ref().and_then(Quantity::bytes),
            },
        }
    }
}

impl Placement {
    fn read(crush: Option<&CrushSpec>) -> Self {
        let Some(crush) = crush else {
            return Self::Unsaid;
        };
        match (&crush.rule, &crush.failure_domain) {
            (Some(rule), _) => Self::Rule(rule.clone()),
            (None, Some(domain)) => Self::Under(Place {
                root: crush.root.clone().unwrap_or(Place::default().root),
                device_class: crush.device_class.clone(),
                failure_domain: domain.clone(),
            }),
            (None, None) => Self::Unsaid,
        }
    }
}

/// The name of a profile with these keys, and of the rule made from it.
pub fn profile_name(keys: &Keys) -> String {
    address("profile", keys)
}

/// The name of the rule made from a profile: that of a profile of ours, and else one that says what is in it.
pub fn rule_name(profile: &str, keys: &Keys) -> String {
    if profile.starts_with(MADE) {
        return profile.to_owned();
    }
    address(profile, keys)
}

/// Whether a profile of ours still says what its name does. Ceph adds keys of its own, and those of the tree also where
/// none were said, since a rule was named.
pub fn says_its_name(name: &str, present: &Keys) -> bool {
    let ours = |(key, value): (&String, &String)| {
        let value = match key.as_str() {
            "k" | "m" | "plugin" | "technique" => value.clone(),
            "crush-failure-domain" | "crush-root" | "crush-device-class" if !value.is_empty() => {
                value.clone()
            }
            "stripe_unit" => bytes(value)?.to_string(),
            _ => return None,
        };
        Some((key.clone(), value))
    };
    let mut keys: Keys = present.iter().filter_map(ours).collect();
    if profile_name(&keys) == name {
        return true;
    }
    keys.retain(|key, _| !key.starts_with("crush-"));
    profile_name(&keys) == name
}

/// The same for the same, and for nothing else.
fn address(kind: &str, keys: &Keys) -> String {
    // Lengths first, so that no two lists of parts are one text.
    let mut text = format!("{}:{kind}", kind.len());
    for (key, value) in keys {
        let _ = write!(text, "{}:{key}{}:{value}", key.len(), value.len());
    }
    let digest = Sha256::digest(text);
    let mut name = MADE.to_owned();
    for byte in digest.iter().take(SHOWN) {
        let _ = write!(name, "{byte:02x}");
    }
    name
}

/// The keys as the command takes them.
pub fn values(keys: &Keys) -> Vec<String> {
    keys.iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect()
}

/// The keys that a command sets.
pub fn parse_values(values: &[String]) -> Keys {
    values
        .iter()
        .filter_map(|value| value.split_once('='))
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

/// The keys in which a profile is not as it is asked for, with what it has. Ceph adds keys of its own, and says an
/// empty word for what is not said.
pub fn differing<'a>(asked: &'a Keys, present: &'a Keys) -> Vec<(&'a str, &'a str, &'a str)> {
    asked
        .iter()
        .filter_map(|(key, asked)| {
            let present = present.get(key).map_or("", String::as_str);
            let same = present == asked
                || (key == "stripe_unit"
                    && bytes(present).is_some_and(|n| bytes(asked) == Some(n)));
            (!same).then_some((key.as_str(), asked.as_str(), present))
        })
        .collect()
}

/// A number of bytes as profiles have it, where `K` is 1024.
fn bytes(text: &str) -> Option<i64> {
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let unit = match text.strip_prefix(digits)? {
        "" | "B" => 1,
        "K" | "Ki" | "KiB" | "KB" | "k" => 1 << 10,
        "M" | "Mi" | "MiB" | "MB" => 1 << 20,
        _ => return None,
    };
    digits.parse::<i64>().ok()?.checked_mul(unit)
}

/// Where a profile says that the chunks go.
pub fn place_of_profile(keys: &Keys) -> Place {
    let said = |key: &str| keys.get(key).filter(|value| !value.is_empty()).cloned();
    let default = Place::default();
    Place {
        root: said("crush-root").unwrap_or(default.root),
        device_class: said("crush-device-class"),
        failure_domain: said("crush-failure-domain").unwrap_or(default.failure_domain),
    }
}

/// Where a rule puts the chunks; none where it is not of the simple form that Ceph makes.
pub fn place_of_rule(rule: &Rule, crush: &CrushMap) -> Option<Place> {
    let mut taken = rule.steps.iter().filter_map(|step| match step {
        Step::Take { item } => crush.buckets.get(item),
        _ => None,
    });
    let mut chosen = rule.steps.iter().filter_map(|step| match step {
        Step::Choose { bucket_type, .. } => Some(bucket_type),
        _ => None,
    });
    let (bucket, domain) = (taken.next()?, chosen.next()?);
    if taken.next().is_some() || chosen.next().is_some() {
        return None;
    }
    let (root, class) = match bucket.shadow_of() {
        Some((root, class)) => (root, Some(class)),
        None => (bucket.name.as_str(), None),
    };
    Some(Place {
        root: root.to_owned(),
        device_class: class.map(str::to_owned),
        failure_domain: domain.clone(),
    })
}
