//! The CRUSH map as this program needs it: the tree of buckets, and the rules by which data
//! finds its OSDs in it.
//!
//! [`binary`] reads the one that stands in an encoded OSD map, [`json`] reads `osd crush dump`.

pub mod binary;
pub mod json;

use std::collections::{BTreeMap, BTreeSet};

/// A cluster's CRUSH map.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CrushMap {
    /// The rules by number, as pools refer to them.
    pub rules: BTreeMap<i64, Rule>,
    /// The names of the types of buckets, such as `host`; 0 is a device.
    pub types: BTreeMap<i32, String>,
    /// The buckets by number, which is below 0. The shadow trees of device classes are among them.
    pub buckets: BTreeMap<i32, Bucket>,
    /// The devices by number, which is the OSD's.
    pub devices: BTreeMap<i32, Device>,
    /// What choosing goes by.
    pub tunables: Tunables,
}

/// A rule.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rule {
    /// Its name.
    pub name: String,
    /// Which pools may use it: 1 replicated, 3 erasure-coded, 4 and 5 the same with several OSDs
    /// a failure domain.
    pub kind: u8,
    /// What it does.
    pub steps: Vec<Step>,
}

impl Rule {
    /// The kind of a rule for replicated pools.
    pub const REPLICATED: u8 = 1;
    /// The kind of a rule for erasure-coded pools.
    pub const ERASURE: u8 = 3;
    /// Ceph's numbers of the steps by which a rule for chunks tries harder.
    const TRIES: [(u32, i32); 2] = [(9, 5), (8, 100)];

    /// Whether it says the same as another one, whatever the two are called.
    pub fn says_the_same(&self, other: &Self) -> bool {
        self.kind == other.kind && self.steps == other.steps
    }

    /// The rule that `osd crush rule create-erasure` makes: chunks below an item, no two of them in one such bucket.
    pub fn for_chunks(name: &str, item: i32, way: Choice, bucket_type: &str) -> Self {
        let tries = Self::TRIES.map(|(step, value)| Step::Set { step, value });
        let mut steps = Vec::from(tries);
        steps.extend([
            Step::Take { item },
            Step::Choose {
                way,
                count: 0,
                bucket_type: bucket_type.to_owned(),
            },
            Step::Emit,
        ]);
        Self {
            name: name.to_owned(),
            kind: Self::ERASURE,
            steps,
        }
    }

    /// A rule of which no more than the name is known.
    pub fn named(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            ..Self::default()
        }
    }
}

/// One step of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing.
    Noop,
    /// Starts at a bucket or a device.
    Take {
        /// Its number.
        item: i32,
    },
    /// Goes on to so many buckets below.
    Choose {
        /// In which way.
        way: Choice,
        /// How many; 0 is as many as the pool has copies, and below 0 so many fewer.
        count: i32,
        /// The name of their type.
        bucket_type: String,
    },
    /// What was chosen is a result.
    Emit,
    /// Sets a tunable for the rest of the rule.
    Set {
        /// Ceph's number of the step.
        step: u32,
        /// Its value.
        value: i32,
    },
    /// A step that this program does not know.
    Unknown {
        /// Ceph's number of it.
        step: u32,
        /// Its arguments.
        arguments: [i32; 2],
    },
}

/// How a step chooses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// Replicas, whose order may shift.
    FirstN,
    /// Chunks, each of which keeps its place.
    Indep,
    /// The first, down to a device under each.
    LeafFirstN,
    /// The second, down to a device under each.
    LeafIndep,
    /// Several devices a failure domain.
    Msr,
}

impl Choice {
    /// The step's name in `osd crush dump`.
    pub fn name(self) -> &'static str {
        let found = CHOICES.iter().find(|(way, ..)| *way == self);
        found.map_or("", |(.., name)| name)
    }
}

/// Ceph's numbers of the ways to choose, and their names.
const CHOICES: [(Choice, u32, &str); 5] = [
    (Choice::FirstN, 2, "choose_firstn"),
    (Choice::Indep, 3, "choose_indep"),
    (Choice::LeafFirstN, 6, "chooseleaf_firstn"),
    (Choice::LeafIndep, 7, "chooseleaf_indep"),
    (Choice::Msr, 16, "choosemsr"),
];

/// Ceph's names of steps that set a tunable. Those between 10 and 13 have none in a dump.
const SETTERS: [(u32, &str); 4] = [
    (8, "set_choose_tries"),
    (9, "set_chooseleaf_tries"),
    (14, "set_msr_descents"),
    (15, "set_msr_collision_tries"),
];

impl Step {
    /// By Ceph's numbers.
    fn from_numbers(step: u32, arguments: [i32; 2], types: &BTreeMap<i32, String>) -> Self {
        let [first, second] = arguments;
        let choice = CHOICES.iter().find(|(_, number, _)| *number == step);
        if let Some((way, ..)) = choice {
            return Self::Choose {
                way: *way,
                count: first,
                bucket_type: types.get(&second).cloned().unwrap_or_default(),
            };
        }
        match step {
            0 => Self::Noop,
            1 => Self::Take { item: first },
            4 => Self::Emit,
            8..=15 => Self::Set { step, value: first },
            _ => Self::Unknown { step, arguments },
        }
    }
}

impl Step {
    /// Ceph's numbers.
    fn to_numbers(&self, types: &BTreeMap<i32, String>) -> (u32, [i32; 2]) {
        match self {
            Self::Noop => (0, [0, 0]),
            Self::Take { item } => (1, [*item, 0]),
            Self::Emit => (4, [0, 0]),
            Self::Choose {
                way,
                count,
                bucket_type,
            } => {
                let number = CHOICES.iter().find(|(known, ..)| known == way);
                let kind = types.iter().find(|(_, name)| *name == bucket_type);
                (
                    number.map_or(0, |(_, number, _)| *number),
                    [*count, kind.map_or(0, |(kind, _)| *kind)],
                )
            }
            Self::Set { step, value } => (*step, [*value, 0]),
            Self::Unknown { step, arguments } => (*step, *arguments),
        }
    }
}

/// A node of the tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bucket {
    /// Its name; in the shadow tree of a device class that of the node, `~` and the class.
    pub name: String,
    /// The number of its type.
    pub kind: i32,
    /// Its weight, of 65536.
    pub weight: u32,
    /// What is below it.
    pub items: Vec<Item>,
}

impl Bucket {
    /// The node and the class, if it stands in the shadow tree of a device class.
    pub fn shadow_of(&self) -> Option<(&str, &str)> {
        self.name.split_once('~')
    }
}

/// A bucket or a device below a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Item {
    /// Its number: a device's is not below 0.
    pub id: i32,
    /// Its weight, of 65536.
    pub weight: u32,
}

/// A device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// Its name.
    pub name: String,
    /// Its class, such as `ssd`.
    pub class: Option<String>,
}

impl Device {
    /// What dumps call a number that no device has.
    fn is_gap(&self, id: i32) -> bool {
        self.class.is_none() && self.name.strip_prefix("device") == Some(id.to_string().as_str())
    }
}

/// What choosing goes by. Those that came with releases after 18 are left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tunables {
    /// `choose_local_tries`.
    pub choose_local_tries: u32,
    /// `choose_local_fallback_tries`.
    pub choose_local_fallback_tries: u32,
    /// `choose_total_tries`.
    pub choose_total_tries: u32,
    /// `chooseleaf_descend_once`.
    pub chooseleaf_descend_once: u32,
    /// `chooseleaf_vary_r`.
    pub chooseleaf_vary_r: u32,
    /// `chooseleaf_stable`.
    pub chooseleaf_stable: u32,
    /// `straw_calc_version`.
    pub straw_calc_version: u32,
    /// `allowed_bucket_algs`.
    pub allowed_bucket_algs: u32,
}

impl CrushMap {
    /// A rule's name by its number.
    pub fn rule_name(&self, rule: i64) -> Option<&str> {
        self.rules.get(&rule).map(|rule| rule.name.as_str())
    }

    /// A rule's number by its name.
    pub fn rule_named(&self, name: &str) -> Option<i64> {
        let found = self.rules.iter().find(|(_, rule)| rule.name == name);
        found.map(|(number, _)| *number)
    }
}

/// What a rule that shall be made names and the map has not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoSuch {
    /// The bucket to choose under.
    Root,
    /// The type of bucket.
    Type,
    /// The device class.
    Class,
}

impl CrushMap {
    /// A bucket's number by its name.
    pub fn bucket_named(&self, name: &str) -> Option<i32> {
        let found = self.buckets.iter().find(|(_, bucket)| bucket.name == name);
        found.map(|(number, _)| *number)
    }

    /// The number of a type of buckets.
    pub fn type_named(&self, name: &str) -> Option<i32> {
        let found = self.types.iter().find(|(_, known)| *known == name);
        found.map(|(number, _)| *number)
    }

    /// The device classes that devices have.
    pub fn classes(&self) -> BTreeSet<&str> {
        let devices = self.devices.values();
        devices
            .filter_map(|device| device.class.as_deref())
            .collect()
    }

    /// The rule that `osd crush rule create-replicated NAME ROOT TYPE [CLASS]` makes of this map.
    ///
    /// # Errors
    ///
    /// What is not in the map.
    pub fn replicated_rule(
        &self,
        name: &str,
        root: &str,
        bucket_type: &str,
        class: Option<&str>,
    ) -> Result<Rule, NoSuch> {
        let (item, number) = self.start(root, bucket_type, class)?;
        // Ceph chooses OSDs at once where they are the failure domain.
        let way = if number == 0 {
            Choice::FirstN
        } else {
            Choice::LeafFirstN
        };
        let choose = Step::Choose {
            way,
            count: 0,
            bucket_type: bucket_type.to_owned(),
        };
        Ok(Rule {
            name: name.to_owned(),
            kind: Rule::REPLICATED,
            steps: vec![Step::Take { item }, choose, Step::Emit],
        })
    }

    /// The rule that `osd crush rule create-erasure` makes of this map, from a profile of a plugin that leaves that to
    /// Ceph, with one OSD a failure domain.
    ///
    /// # Errors
    ///
    /// What is not in the map.
    pub fn erasure_rule(
        &self,
        name: &str,
        root: &str,
        bucket_type: &str,
        class: Option<&str>,
    ) -> Result<Rule, NoSuch> {
        let (item, number) = self.start(root, bucket_type, class)?;
        let way = if number == 0 {
            Choice::Indep
        } else {
            Choice::LeafIndep
        };
        Ok(Rule::for_chunks(name, item, way, bucket_type))
    }

    /// Where a rule begins to choose, and the number of the type that it chooses.
    fn start(
        &self,
        root: &str,
        bucket_type: &str,
        class: Option<&str>,
    ) -> Result<(i32, i32), NoSuch> {
        let number = self.type_named(bucket_type).ok_or(NoSuch::Type)?;
        let item = self.bucket_named(root).ok_or(NoSuch::Root)?;
        let Some(class) = class else {
            return Ok((item, number));
        };
        let of_class = self.bucket_named(&format!("{root}~{class}"));
        Ok((of_class.ok_or(NoSuch::Class)?, number))
    }
}
