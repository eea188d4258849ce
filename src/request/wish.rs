//! `Wish`: what one `CephPool` asks for, validated.
//!
//! After this nobody reads the raw spec: what a later release will do answers `Unsupported`
//! here, by name, so that no field is ever silently ignored.

use std::collections::{BTreeMap, BTreeSet};

use super::coding::{self, Coding};
use super::ownership::Owner;
use super::placement::{Placement, rule_field};
use super::refusal::Refusal;
use super::round::POOL_FIELD;
use super::token::{Answer, AskedToken, Confirmations, Danger, UsedToken};
use crate::api::conditions::Reason;
use crate::api::quantity::{Decimal, Quantity};
use crate::api::v1alpha1::{
    ANNOTATION_CONFIRM, AdoptionPolicy, AutoscaleMode, CephPoolSpec, CompressionAlgorithm,
    CompressionMode, DeletionPolicy, Management, PoolType,
};
use crate::ceph::settings::{self, Setting, Value};
use crate::ceph::types::{PoolIdentity, PoolName};

/// What one object asks for, and what is recorded of its pool.
#[derive(Clone, Debug, PartialEq)]
pub struct Wish {
    /// Whose pool it is.
    pub owner: Owner,
    /// The name it is published under.
    pub pool: PoolName,
    /// The settings that the manifest names, in the table's order. `pg_num` is apart, in `pg_count`.
    pub settings: Vec<Asked>,
    /// `placementGroups.count`: kept while autoscaling is not on, else the number at creation only.
    pub pg_count: Option<i64>,
    /// `crush`: where the copies of a replicated pool shall lie.
    pub placement: Option<Placement>,
    /// The applications that the manifest names, with their keys.
    pub applications: BTreeMap<String, BTreeMap<String, String>>,
    /// The erasure coding that it asks for; none of a replicated pool.
    pub coding: Option<Coding>,
    /// The generation of the object that it was read from; 0 where there is none.
    pub generation: i64,
    /// Whether only to look.
    pub observe: bool,
    /// Whether a pool of that name which nobody owns may be taken over.
    pub adopt: bool,
    /// Whether the pool goes with its object.
    pub remove: bool,
    /// What people have confirmed.
    pub confirmations: Confirmations,
    /// Marks whose owners are found to be gone: a pool with such a mark is nobody's.
    pub dead_marks: BTreeSet<String>,
    /// Fields that are not corrected for now, since somebody else changes them as often.
    pub left_alone: BTreeSet<String>,
    /// What is recorded of the pool.
    pub record: Record,
}

/// A setting and the value it shall have.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The row of the settings table.
    pub setting: &'static Setting,
    /// The value.
    pub value: Value,
}

impl PartialEq for Asked {
    fn eq(&self, other: &Self) -> bool {
        self.setting.variable == other.setting.variable && self.value == other.value
    }
}

/// What is written down about a pool: in the object's status and in the annotation `poolwright.dev/pool`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Record {
    /// The pool that is this object's, once it is known.
    pub identity: Option<PoolIdentity>,
    /// Whether the identity stands in the status. One that only the annotation names, which users can
    /// write, counts only together with this object's mark on the pool.
    pub identity_proven: bool,
    /// The random part of the mark. Drawn by the caller where none is recorded yet.
    pub claim: String,
    /// Whether the claim is recorded; a drawn one gives way to the one in the pool's mark.
    pub claim_recorded: bool,
    /// The random part of the private name. Drawn by the caller where none is recorded yet.
    pub nonce: String,
    /// Whether a creation was begun under this nonce and has not been published.
    pub unpublished: bool,
    /// The random part of the private name under which the pool is removed, while it is.
    pub removal: Option<String>,
    /// The pool's name when that creation or removal was begun: the manifest may have another by now.
    pub private_base: Option<PoolName>,
    /// The tokens that let their step pass and do not work again.
    pub used: Vec<UsedToken>,
    /// The fields that were applied, so that their removal can be noticed.
    pub applied: BTreeSet<String>,
}

impl Record {
    /// Whether the pool cannot have had its real name: no rename to it was ever about to be sent.
    pub fn never_published(&self) -> bool {
        self.unpublished && !self.applied.contains(POOL_FIELD)
    }
}

impl Wish {
    /// The name the pool has until it is published.
    pub fn private_name(&self) -> PoolName {
        let base = self.record.private_base.as_ref().unwrap_or(&self.pool);
        base.while_creating(&self.record.nonce)
    }

    /// The name the pool has while it is removed; `None` when it is not.
    pub fn removal_name(&self) -> Option<PoolName> {
        let base = self.record.private_base.as_ref().unwrap_or(&self.pool);
        let nonce = self.record.removal.as_ref()?;
        Some(base.while_removing(nonce))
    }

    /// Whether a person has confirmed a dangerous step on a pool.
    pub fn answer(&self, danger: &Danger, pool: Option<&PoolIdentity>) -> Answer {
        self.confirmations
            .answer(&self.record.used, danger, pool, self.generation)
    }

    /// The token by which a dangerous step is confirmed, if it is.
    pub fn confirmed(&self, danger: &Danger, pool: Option<&PoolIdentity>) -> Option<String> {
        match self.answer(danger, pool) {
            Answer::Confirmed(token) => Some(token),
            Answer::Needed(_) => None,
        }
    }

    /// How a person confirms: the end of the sentence that refuses.
    pub fn how_to_confirm(&self, asked: &AskedToken) -> String {
        if self.confirmations.uid.is_empty() {
            // Planned from a file: the token depends on the object.
            return "confirm it with the token that the object's condition will name".to_owned();
        }
        format!(
            "confirm it: `kubectl -n {} annotate cephpool {} {ANNOTATION_CONFIRM}={} --overwrite`",
            self.owner.namespace,
            self.owner.name,
            self.confirmations.with(&self.record.used, &asked.token)
        )
    }

    /// The value the manifest gives a setting.
    pub fn asked(&self, setting: &Setting) -> Option<&Value> {
        self.settings
            .iter()
            .find(|asked| asked.setting.variable == setting.variable)
            .map(|asked| &asked.value)
    }

    /// The wish of an object that is deleted: only its name and its record count.
    ///
    /// It needs less than [`Wish::read`], so that a bad spec cannot stand in the way of a deletion.
    pub fn for_removal(owner: Owner, pool: PoolName, generation: i64, record: Record) -> Self {
        Self {
            owner,
            pool,
            settings: Vec::new(),
            pg_count: None,
            placement: None,
            applications: BTreeMap::new(),
            coding: None,
            generation,
            observe: false,
            adopt: false,
            remove: false,
            confirmations: Confirmations::default(),
            dead_marks: BTreeSet::new(),
            left_alone: BTreeSet::new(),
            record,
        }
    }

    /// A whole number that the manifest gives.
    pub fn asked_integer(&self, setting: &Setting) -> Option<i64> {
        match self.asked(setting)? {
            Value::Integer(number) => Some(*number),
            Value::Double(_) | Value::Word(_) | Value::Flag(_) => None,
        }
    }

    /// Whether the manifest says where the copies or chunks shall lie.
    pub fn names_rule(&self) -> bool {
        let coding = self.coding.as_ref();
        let coded = coding.is_some_and(|coding| coding.placement != coding::Placement::Unsaid);
        coded || self.placement.is_some()
    }

    /// The fields that the manifest names: what `status.appliedFields` says once they are applied.
    pub fn fields(&self) -> BTreeSet<String> {
        let mut fields: BTreeSet<String> = self
            .settings
            .iter()
            .map(|asked| asked.setting.field.to_owned())
            .collect();
        if self.pg_count.is_some() {
            fields.insert(settings::PG_NUM.field.to_owned());
        }
        if self.names_rule() {
            fields.insert(settings::CRUSH_RULE.field.to_owned());
        }
        // So that the rule can be removed again when no pool has it any more.
        if let Some(Placement::Made(made)) = &self.placement {
            fields.insert(rule_field(&made.name()));
        }
        for (application, keys) in &self.applications {
            fields.insert(application_field(application));
            fields.extend(keys.keys().map(|key| key_field(application, key)));
        }
        fields
    }

    /// Reads a spec that has passed validation.
    ///
    /// # Errors
    ///
    /// `InvalidSpec` for a value that validation should have refused.
    pub fn read(
        owner: Owner,
        spec: &CephPoolSpec,
        generation: i64,
        connection: Management,
        record: Record,
    ) -> Result<Self, Vec<Refusal>> {
        let name = spec.pool_name.as_deref().unwrap_or(&owner.name);
        Ok(Self {
            pool: PoolName::new(name),
            settings: asked(spec)?,
            pg_count: spec
                .placement_groups
                .as_ref()
                .and_then(|groups| groups.count)
                .map(i64::from),
            placement: spec
                .crush
                .as_ref()
                .filter(|_| spec.pool_type == PoolType::Replicated)
                .and_then(Placement::of),
            applications: spec
                .applications
                .iter()
                .map(|application| {
                    let keys = application
                        .metadata
                        .iter()
                        .map(|(key, value)| (key.clone(), value.0.clone()));
                    (application.name.clone(), keys.collect())
                })
                .collect(),
            coding: Coding::read(spec),
            generation,
            observe: spec.management == Management::Observe || connection == Management::Observe,
            adopt: spec.adoption_policy == AdoptionPolicy::IfUnowned,
            remove: spec.deletion_policy == DeletionPolicy::Delete,
            confirmations: Confirmations::default(),
            dead_marks: BTreeSet::new(),
            left_alone: BTreeSet::new(),
            owner,
            record,
        })
    }
}

/// What statuses and plans call an application.
pub fn application_field(application: &str) -> String {
    format!("applications[{application}]")
}

/// What they call a key of its metadata.
pub fn key_field(application: &str, key: &str) -> String {
    format!("applications[{application}].metadata[{key}]")
}

/// The reverse of [`key_field`]: application and key.
pub fn parse_key_field(field: &str) -> Option<(&str, &str)> {
    field
        .strip_prefix("applications[")?
        .strip_suffix(']')?
        .split_once("].metadata[")
}

/// The settings that a spec names, in the table's order.
fn asked(spec: &CephPoolSpec) -> Result<Vec<Asked>, Vec<Refusal>> {
    let mut asked = Asking::default();
    asked.integer(
        &settings::SIZE,
        spec.replicated.as_ref().and_then(|block| block.size),
    );
    asked.integer(&settings::MIN_SIZE, spec.min_size);
    if let Some(groups) = &spec.placement_groups {
        asked.add(
            &settings::AUTOSCALE_MODE,
            groups
                .autoscale
                .map(|mode| Value::Word(autoscale_word(mode).to_owned())),
        );
        asked.integer(&settings::PG_NUM_MIN, groups.min);
        asked.integer(&settings::PG_NUM_MAX, groups.max);
        asked.decimal(&settings::BIAS, groups.bias.as_ref());
        asked.bytes(
            &settings::TARGET_SIZE_BYTES,
            groups.target_size_bytes.as_ref(),
        );
        asked.decimal(
            &settings::TARGET_SIZE_RATIO,
            groups.target_size_ratio.as_ref(),
        );
        asked.flag(&settings::BULK, groups.bulk);
    }
    if let Some(coded) = &spec.erasure_coded {
        asked.flag(&settings::EC_OVERWRITES, coded.overwrites);
        asked.flag(&settings::EC_OPTIMIZATIONS, coded.optimizations);
    }
    if let Some(quota) = &spec.quota {
        asked.bytes(&settings::QUOTA_BYTES, quota.max_bytes.as_ref());
        asked.add(
            &settings::QUOTA_OBJECTS,
            quota.max_objects.map(Value::Integer),
        );
    }
    if let Some(compression) = &spec.compression {
        let word = |word: &'static str| Value::Word(word.to_owned());
        asked.add(
            &settings::COMPRESSION_MODE,
            compression.mode.map(|mode| word(compression_mode(mode))),
        );
        asked.add(
            &settings::COMPRESSION_ALGORITHM,
            compression
                .algorithm
                .map(|algorithm| word(compression_algorithm(algorithm))),
        );
        asked.decimal(
            &settings::COMPRESSION_REQUIRED_RATIO,
            compression.required_ratio.as_ref(),
        );
        asked.bytes(
            &settings::COMPRESSION_MIN_BLOB_SIZE,
            compression.min_blob_size.as_ref(),
        );
        asked.bytes(
            &settings::COMPRESSION_MAX_BLOB_SIZE,
            compression.max_blob_size.as_ref(),
        );
    }
    for (name, value) in &spec.parameters {
        asked.parameter(name, &value.0);
    }
    if let Some(flags) = &spec.flags {
        asked.flag(&settings::NO_SCRUB_FLAG, flags.no_scrub);
        asked.flag(&settings::NO_DEEP_SCRUB_FLAG, flags.no_deep_scrub);
        asked.flag(&settings::FAST_READ, flags.fast_read);
        asked.flag(&settings::NO_SIZE_CHANGE_FLAG, flags.no_size_change);
        asked.flag(&settings::NO_PG_CHANGE_FLAG, flags.no_pg_change);
        asked.flag(&settings::NO_DELETE_FLAG, flags.no_delete);
    }
    if asked.wrong.is_empty() {
        asked
            .settings
            .sort_by_key(|asked| settings::place(asked.setting));
        Ok(asked.settings)
    } else {
        Err(asked.wrong)
    }
}

/// Collects what a spec names, and what cannot be read in it.
#[derive(Default)]
struct Asking {
    settings: Vec<Asked>,
    wrong: Vec<Refusal>,
}

impl Asking {
    fn add(&mut self, setting: &'static Setting, value: Option<Value>) {
        self.settings
            .extend(value.map(|value| Asked { setting, value }));
    }

    fn integer(&mut self, setting: &'static Setting, value: Option<i32>) {
        self.add(setting, value.map(|value| Value::Integer(value.into())));
    }

    fn flag(&mut self, setting: &'static Setting, value: Option<bool>) {
        self.add(setting, value.map(Value::Flag));
    }

    fn bytes(&mut self, setting: &'static Setting, value: Option<&Quantity>) {
        let Some(value) = value else { return };
        match value.bytes() {
            Some(bytes) => self.add(setting, Some(Value::Integer(bytes))),
            None => self.unreadable(setting, &value.to_string()),
        }
    }

    fn decimal(&mut self, setting: &'static Setting, value: Option<&Decimal>) {
        let Some(value) = value else { return };
        match value.value() {
            Some(number) => self.add(setting, Some(Value::Double(number))),
            None => self.unreadable(setting, &value.to_string()),
        }
    }

    /// A variable by its own name, which the API server has judged by the same table.
    fn parameter(&mut self, name: &str, text: &str) {
        let row = settings::parameters().find(|row| row.variable == name);
        let message = match row {
            Some(row) => match row.kind.parse(text) {
                Some(value) => return self.add(row, Some(value)),
                None => format!("{name} takes {}, not {text:?}", row.kind),
            },
            None => unknown_parameter(name),
        };
        let field = row.map_or("parameters", |row| row.field);
        self.wrong
            .push(Refusal::new(Reason::InvalidSpec, Some(field), message));
    }

    fn unreadable(&mut self, setting: &Setting, text: &str) {
        self.wrong.push(Refusal::new(
            Reason::InvalidSpec,
            Some(setting.field),
            format!("{text:?} is not a number that {} can have", setting.field),
        ));
    }
}

/// Why there is no such parameter, and which one may be meant.
fn unknown_parameter(name: &str) -> String {
    if let Some(why) = settings::not_set(name) {
        return format!("{name} is not set by Poolwright: {why}");
    }
    if let Some(row) = settings::of_variable(name) {
        return format!(
            "{name} is set by spec.{}, not by spec.parameters",
            row.field
        );
    }
    let known = settings::parameters().map(|row| row.variable);
    match settings::nearest(name, known) {
        Some(near) => format!("there is no parameter {name}; perhaps {near} is meant"),
        None => format!("there is no parameter {name}; docs/settings.md lists them"),
    }
}

/// What Ceph calls a compression mode.
const fn compression_mode(mode: CompressionMode) -> &'static str {
    match mode {
        CompressionMode::None => "none",
        CompressionMode::Passive => "passive",
        CompressionMode::Aggressive => "aggressive",
        CompressionMode::Force => "force",
    }
}

/// What Ceph calls an algorithm.
const fn compression_algorithm(algorithm: CompressionAlgorithm) -> &'static str {
    match algorithm {
        CompressionAlgorithm::Lz4 => "lz4",
        CompressionAlgorithm::Snappy => "snappy",
        CompressionAlgorithm::Zlib => "zlib",
        CompressionAlgorithm::Zstd => "zstd",
        CompressionAlgorithm::None => "none",
    }
}

/// What Ceph calls a mode.
const fn autoscale_word(mode: AutoscaleMode) -> &'static str {
    match mode {
        AutoscaleMode::Enabled => "on",
        AutoscaleMode::Disabled => "off",
        AutoscaleMode::Warn => "warn",
    }
}
