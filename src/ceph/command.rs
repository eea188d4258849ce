//! The commands this program sends to monitors: typed, to the JSON that goes over the
//! wire, and to the line a person would type.

mod names;
pub mod permissions;

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use self::permissions::Permission;
use super::types::{Epoch, PoolName};

/// A command for the monitors.
///
/// Numbers that monitors declare as integers go as JSON numbers, `val` goes as a
/// string, ratios as floats: monitors refuse anything else, and ignore unknown keys.
#[derive(Clone, Debug, PartialEq)]
pub enum MonCommand {
    /// `osd stat`: the epoch, at 0.3 ms.
    OsdStat,
    /// `osd getmap`: the whole OSD map as Ceph encodes it, with the CRUSH map in it.
    OsdGetMap {
        /// An epoch of the past that monitors still have; the newest where it is not said.
        epoch: Option<Epoch>,
    },
    /// `osd dump`: the whole OSD map as JSON, which costs large clusters up to a minute.
    OsdDump,
    /// `osd crush dump`: the CRUSH map as JSON.
    CrushDump,
    /// `version`: the release of the monitor that answers.
    Version,
    /// Which monitors take part.
    QuorumStatus,
    /// `config get mon KEY`: what the monitors' configuration says, or its default. A monitor's own file is not asked.
    ConfigGet {
        /// The option's name.
        key: &'static str,
    },
    /// A command of a kind that changes something, made so that it changes nothing: whether monitors deny it tells whether
    /// the user may send others of its kind.
    Probe {
        /// What is asked for.
        permission: Permission,
        /// A name that nothing has.
        nothing: PoolName,
    },
    /// `osd pool create`.
    PoolCreate(PoolCreate),
    /// `osd pool set POOL VAR VAL`.
    PoolSet {
        /// The pool's name.
        pool: PoolName,
        /// A variable of the settings table.
        variable: String,
        /// Its value as the monitor reads it.
        value: String,
    },
    /// `osd pool set-quota POOL FIELD VAL`.
    PoolSetQuota {
        /// The pool's name.
        pool: PoolName,
        /// `max_bytes` or `max_objects`.
        field: String,
        /// A decimal number; 0 takes the quota off.
        value: String,
    },
    /// `osd pool application enable POOL APP`.
    ApplicationEnable {
        /// The pool's name.
        pool: PoolName,
        /// The application.
        application: String,
        /// Monitors ask for this when the pool has another application already.
        confirmed: bool,
    },
    /// `osd pool application set POOL APP KEY VALUE`.
    ApplicationSet {
        /// The pool's name.
        pool: PoolName,
        /// The application, enabled before.
        application: String,
        /// The key.
        key: String,
        /// Its value.
        value: String,
    },
    /// `osd pool application rm POOL APP KEY`.
    ApplicationRemove {
        /// The pool's name.
        pool: PoolName,
        /// The application.
        application: String,
        /// The key.
        key: String,
    },
    /// `osd pool rename SRC DEST`.
    PoolRename {
        /// The name it has.
        from: PoolName,
        /// The name it gets.
        to: PoolName,
    },
    /// `osd pool rm`, with both confirmations. The guard lets it pass for private names only.
    PoolRemove {
        /// The pool's name.
        pool: PoolName,
    },
    /// `osd erasure-code-profile set NAME KEY=VALUE…`, never with force: a profile in use is not changed.
    ProfileSet {
        /// The profile's name.
        profile: String,
        /// Its keys and values, as `key=value`.
        values: Vec<String>,
    },
    /// `osd erasure-code-profile rm NAME`: refused while a pool uses it.
    ProfileRemove {
        /// The profile's name.
        profile: String,
    },
    /// `osd crush rule create-replicated NAME ROOT TYPE [CLASS]`.
    RuleCreateReplicated {
        /// The rule's name.
        rule: String,
        /// The bucket to choose under.
        root: String,
        /// The type of bucket that no two copies share.
        bucket_type: String,
        /// The device class.
        class: Option<String>,
    },
    /// `osd crush rule create-erasure NAME PROFILE`: what it says comes from the profile, which has to be committed.
    RuleCreateErasure {
        /// The rule's name.
        rule: String,
        /// The profile's name.
        profile: String,
    },
    /// `osd crush rule rm NAME`: refused while a pool uses it.
    RuleRemove {
        /// The rule's name.
        rule: String,
    },
}

/// The arguments of `osd pool create`. What is `None` is Ceph's to choose.
#[derive(Clone, Debug, PartialEq)]
pub struct PoolCreate {
    /// The name it is created under.
    pub pool: PoolName,
    /// Always sent, since releases choose differently without it.
    pub pg_num: i64,
    /// Copies.
    pub size: Option<i64>,
    /// `on`, `off` or `warn`.
    pub autoscale_mode: Option<String>,
    /// The autoscaler's lower bound.
    pub pg_num_min: Option<i64>,
    /// Its upper bound.
    pub pg_num_max: Option<i64>,
    /// Whether the autoscaler starts with many placement groups.
    pub bulk: Option<bool>,
    /// Bytes the pool is expected to hold.
    pub target_size_bytes: Option<i64>,
    /// Its expected share of the cluster.
    pub target_size_ratio: Option<f64>,
    /// The erasure-code profile; the pool is erasure-coded where there is one, and replicated where there is none.
    pub profile: Option<String>,
    /// The CRUSH rule by name. Without one a new erasure-coded pool gets a rule that is called as it is.
    pub rule: Option<String>,
}

impl MonCommand {
    /// The command's name, as capabilities and metrics name it.
    pub const fn prefix(&self) -> &'static str {
        match self {
            Self::OsdStat => "osd stat",
            Self::OsdGetMap { .. } => "osd getmap",
            Self::OsdDump => "osd dump",
            Self::CrushDump => "osd crush dump",
            Self::Version => "version",
            Self::ConfigGet { .. } => "config get",
            Self::QuorumStatus => "quorum_status",
            Self::Probe { permission, .. } => permission.command(),
            Self::PoolCreate(_) => "osd pool create",
            Self::PoolSet { .. } => "osd pool set",
            Self::PoolSetQuota { .. } => "osd pool set-quota",
            Self::ApplicationEnable { .. } => "osd pool application enable",
            Self::ApplicationSet { .. } => "osd pool application set",
            Self::ApplicationRemove { .. } => "osd pool application rm",
            Self::PoolRename { .. } => "osd pool rename",
            Self::PoolRemove { .. } => "osd pool rm",
            Self::ProfileSet { .. } => "osd erasure-code-profile set",
            Self::ProfileRemove { .. } => "osd erasure-code-profile rm",
            Self::RuleCreateReplicated { .. } => "osd crush rule create-replicated",
            Self::RuleCreateErasure { .. } => "osd crush rule create-erasure",
            Self::RuleRemove { .. } => "osd crush rule rm",
        }
    }

    /// Whether it may change the cluster.
    pub const fn is_mutating(&self) -> bool {
        match self {
            Self::OsdStat
            | Self::OsdGetMap { .. }
            | Self::OsdDump
            | Self::CrushDump
            | Self::Version
            | Self::ConfigGet { .. }
            | Self::QuorumStatus
            | Self::Probe { .. } => false,
            Self::PoolCreate(_)
            | Self::PoolSet { .. }
            | Self::PoolSetQuota { .. }
            | Self::ApplicationEnable { .. }
            | Self::ApplicationSet { .. }
            | Self::ApplicationRemove { .. }
            | Self::PoolRename { .. }
            | Self::PoolRemove { .. }
            | Self::ProfileSet { .. }
            | Self::ProfileRemove { .. }
            | Self::RuleCreateReplicated { .. }
            | Self::RuleCreateErasure { .. }
            | Self::RuleRemove { .. } => true,
        }
    }

    /// The JSON object that goes to the monitor.
    pub fn to_json(&self) -> Value {
        let mut object = Map::new();
        object.insert("prefix".into(), self.prefix().into());
        for (key, value) in self.arguments() {
            object.insert(key.into(), value);
        }
        // The encoded map has no other format.
        if !self.is_mutating() && !matches!(self, Self::OsdGetMap { .. }) {
            object.insert("format".into(), "json".into());
        }
        Value::Object(object)
    }

    /// The line a person would type, quoted for a POSIX shell.
    pub fn to_line(&self) -> String {
        let mut line = format!("ceph {}", self.prefix());
        for (key, value) in self.arguments() {
            // The tool takes these two as options; everything else by position or as --key.
            match (self, key, value) {
                (_, key, Value::Bool(true)) if key.starts_with("yes_i_really") => {
                    let _ = write!(line, " --{}", key.replace('_', "-"));
                }
                (Self::ProfileSet { .. }, "profile", Value::Array(values)) => {
                    for value in values {
                        let _ = write!(line, " {}", shell_word(&plain(&value)));
                    }
                }
                (Self::PoolCreate(_), "pool" | "pg_num", value)
                | (
                    Self::PoolSet { .. }
                    | Self::PoolSetQuota { .. }
                    | Self::ApplicationEnable { .. }
                    | Self::ApplicationSet { .. }
                    | Self::ApplicationRemove { .. }
                    | Self::PoolRename { .. }
                    | Self::PoolRemove { .. }
                    | Self::ProfileSet { .. }
                    | Self::ProfileRemove { .. }
                    | Self::RuleCreateReplicated { .. }
                    | Self::RuleCreateErasure { .. }
                    | Self::RuleRemove { .. }
                    | Self::OsdStat
                    | Self::OsdGetMap { .. }
                    | Self::OsdDump
                    | Self::CrushDump
                    | Self::Version
                    | Self::ConfigGet { .. }
                    | Self::QuorumStatus
                    | Self::Probe { .. },
                    _,
                    value,
                ) => {
                    let _ = write!(line, " {}", shell_word(&plain(&value)));
                }
                (Self::PoolCreate(create), "pool_type", _) if create.profile.is_none() => {}
                // The tool takes a word behind a flag for the next argument.
                (Self::PoolCreate(_), key, Value::Bool(on)) => {
                    if on {
                        let _ = write!(line, " --{key}");
                    }
                }
                (Self::PoolCreate(_), key, value) => {
                    let _ = write!(line, " --{key} {}", shell_word(&plain(&value)));
                }
            }
        }
        line
    }

    /// Whether it leaves a pool that is there with one copy of everything.
    pub fn leaves_one_copy(&self) -> bool {
        matches!(self, Self::PoolSet { variable, value, .. } if is_single_copy(variable, value))
    }

    /// The arguments in the order of Ceph's signature.
    fn arguments(&self) -> Vec<(&'static str, Value)> {
        match self {
            Self::OsdStat
            | Self::OsdDump
            | Self::CrushDump
            | Self::Version
            | Self::QuorumStatus => Vec::new(),
            Self::ConfigGet { key } => vec![("who", json!("mon")), ("key", json!(key))],
            Self::Probe {
                permission,
                nothing,
            } => without_confirmations(&permission.harmless(nothing)),
            Self::OsdGetMap { epoch } => epoch
                .map(|epoch| ("epoch", json!(epoch)))
                .into_iter()
                .collect(),
            Self::PoolCreate(create) => create.arguments(),
            Self::PoolSet {
                pool,
                variable,
                value,
            } => {
                let mut arguments = vec![
                    ("pool", json!(pool)),
                    ("var", json!(variable)),
                    ("val", json!(value)),
                ];
                // Monitors want to be told twice. It is only sent when a person has confirmed it.
                if is_single_copy(variable, value) {
                    arguments.push(("yes_i_really_mean_it", json!(true)));
                }
                arguments
            }
            Self::PoolSetQuota { pool, field, value } => vec![
                ("pool", json!(pool)),
                ("field", json!(field)),
                ("val", json!(value)),
            ],
            Self::ApplicationEnable {
                pool,
                application,
                confirmed,
            } => {
                let mut arguments = vec![("pool", json!(pool)), ("app", json!(application))];
                if *confirmed {
                    arguments.push(("yes_i_really_mean_it", json!(true)));
                }
                arguments
            }
            Self::ApplicationSet {
                pool,
                application,
                key,
                value,
            } => vec![
                ("pool", json!(pool)),
                ("app", json!(application)),
                ("key", json!(key)),
                ("value", json!(value)),
            ],
            Self::ApplicationRemove {
                pool,
                application,
                key,
            } => vec![
                ("pool", json!(pool)),
                ("app", json!(application)),
                ("key", json!(key)),
            ],
            Self::PoolRename { from, to } => {
                vec![("srcpool", json!(from)), ("destpool", json!(to))]
            }
            Self::PoolRemove { pool } => vec![
                ("pool", json!(pool)),
                ("pool2", json!(pool)),
                ("yes_i_really_really_mean_it", json!(true)),
            ],
            Self::ProfileSet { profile, values } => {
                vec![("name", json!(profile)), ("profile", json!(values))]
            }
            Self::ProfileRemove { profile } => vec![("name", json!(profile))],
            Self::RuleCreateReplicated {
                rule,
                root,
                bucket_type,
                class,
            } => {
                let mut arguments = vec![
                    ("name", json!(rule)),
                    ("root", json!(root)),
                    ("type", json!(bucket_type)),
                ];
                arguments.extend(class.as_ref().map(|class| ("class", json!(class))));
                arguments
            }
            Self::RuleCreateErasure { rule, profile } => {
                vec![("name", json!(rule)), ("profile", json!(profile))]
            }
            Self::RuleRemove { rule } => vec![("name", json!(rule))],
        }
    }
}

/// Whether a setting leaves one copy of everything.
fn is_single_copy(variable: &str, value: &str) -> bool {
    variable == "size" && value == "1"
}

impl PoolCreate {
    /// A pool of which no more is said than it takes.
    pub const fn new(pool: PoolName, pg_num: i64) -> Self {
        Self {
            pool,
            pg_num,
            size: None,
            autoscale_mode: None,
            pg_num_min: None,
            pg_num_max: None,
            bulk: None,
            target_size_bytes: None,
            target_size_ratio: None,
            profile: None,
            rule: None,
        }
    }

    fn arguments(&self) -> Vec<(&'static str, Value)> {
        let mut arguments = vec![
            ("pool", json!(self.pool)),
            ("pg_num", json!(self.pg_num)),
            (
                "pool_type",
                json!(if self.profile.is_some() {
                    "erasure"
                } else {
                    "replicated"
                }),
            ),
        ];
        let optional = [
            (
                "erasure_code_profile",
                self.profile.as_deref().map(Value::from),
            ),
            ("rule", self.rule.as_deref().map(Value::from)),
            ("size", self.size.map(Value::from)),
            (
                "autoscale_mode",
                self.autoscale_mode.as_deref().map(Value::from),
            ),
            ("pg_num_min", self.pg_num_min.map(Value::from)),
            ("pg_num_max", self.pg_num_max.map(Value::from)),
            ("bulk", self.bulk.map(Value::from)),
            ("target_size_bytes", self.target_size_bytes.map(Value::from)),
            // A float on the wire, also when whole: monitors refuse an integer here.
            ("target_size_ratio", self.target_size_ratio.map(Value::from)),
        ];
        arguments.extend(
            optional
                .into_iter()
                .filter_map(|(key, value)| value.map(|value| (key, value))),
        );
        arguments
    }
}

/// A JSON scalar without the quotes of JSON.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Quotes a word for a POSIX shell where it needs it.
pub fn shell_word(word: &str) -> String {
    let safe = |c: char| c.is_ascii_alphanumeric() || "_-./:=+@%,".contains(c);
    if !word.is_empty() && word.chars().all(safe) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// Without the confirmations of a removal monitors remove nothing, whatever it is called.
fn without_confirmations(command: &MonCommand) -> Vec<(&'static str, Value)> {
    let mut arguments = command.arguments();
    arguments.retain(|(key, _)| *key != "pool2" && !key.starts_with("yes_i_really"));
    arguments
}

#[cfg(test)]
mod tests {
    use super::*;

    fn create() -> MonCommand {
        MonCommand::PoolCreate(PoolCreate {
            pool: PoolName::new("a b"),
            pg_num: 8,
            size: Some(3),
            autoscale_mode: Some("off".into()),
            pg_num_min: None,
            pg_num_max: None,
            bulk: Some(true),
            target_size_bytes: None,
            target_size_ratio: Some(1.0),
            profile: None,
            rule: None,
        })
    }

    /// Monitors refuse integers for ratios and strings for booleans.
    #[test]
    fn json_types_are_the_monitors_own() {
        assert_eq!(
            create().to_json().to_string(),
            r#"{"autoscale_mode":"off","bulk":true,"pg_num":8,"pool":"a b","pool_type":"replicated","prefix":"osd pool create","size":3,"target_size_ratio":1.0}"#
        );
        let quota = MonCommand::PoolSetQuota {
            pool: PoolName::new("p"),
            field: "max_bytes".into(),
            value: "5".into(),
        };
        assert_eq!(quota.to_json()["val"], json!("5"));
    }

    /// The encoded map has no format, and an epoch is a number.
    #[test]
    fn an_encoded_map_of_an_epoch() {
        let newest = MonCommand::OsdGetMap { epoch: None };
        assert_eq!(newest.to_json().to_string(), r#"{"prefix":"osd getmap"}"#);
        let epoch = Some(Epoch(7));
        let old = MonCommand::OsdGetMap { epoch };
        assert_eq!(
            old.to_json().to_string(),
            r#"{"epoch":7,"prefix":"osd getmap"}"#
        );
        assert_eq!(old.to_line(), "ceph osd getmap 7");
    }

    /// What is printed can be pasted into a shell.
    #[test]
    fn lines_can_be_pasted() {
        assert_eq!(
            create().to_line(),
            "ceph osd pool create 'a b' 8 --size 3 --autoscale_mode off --bulk --target_size_ratio 1.0"
        );
        let remove = MonCommand::PoolRemove {
            pool: PoolName::new("it's"),
        };
        assert_eq!(
            remove.to_line(),
            r"ceph osd pool rm 'it'\''s' 'it'\''s' --yes-i-really-really-mean-it"
        );
    }
}
