//! What is proven of rules on small trees.

use super::*;
use crate::ceph::crush_map::{Bucket, Device, Item};

const TYPES: [(i32, &str); 5] = [
    (0, "osd"),
    (1, "host"),
    (3, "rack"),
    (8, "datacenter"),
    (11, "root"),
];

/// A tree and its OSDs.
struct Bed {
    crush: CrushMap,
    osds: BTreeMap<i32, Osd>,
}

/// A tree from lines such as `default root: a b=0`, what is below first: a number is an OSD, and `=` gives a weight.
fn bed(lines: &[&str]) -> Bed {
    let mut crush = CrushMap {
        types: TYPES.map(|(kind, name)| (kind, name.to_owned())).into(),
        ..CrushMap::default()
    };
    let mut osds = BTreeMap::new();
    for (place, line) in (1..).zip(lines) {
        let (head, items) = line.split_once(':').expect("a colon");
        let (name, kind) = head.split_once(' ').expect("a type");
        let mut below = Vec::new();
        for word in items.split_whitespace() {
            let (word, weight) = word.split_once('=').unwrap_or((word, "1"));
            let weight: u32 = weight.parse().expect("a weight");
            let named = || crush.bucket_named(word).expect("a bucket");
            let id = word.parse().unwrap_or_else(|_| named());
            below.push(Item {
                id,
                weight: weight * Osd::FULL_WEIGHT,
            });
            if id >= 0 {
                osds.insert(id, UP);
                let name = format!("osd.{id}");
                crush.devices.insert(id, Device { name, class: None });
            }
        }
        let bucket = Bucket {
            name: name.to_owned(),
            kind: crush.type_named(kind).expect("a type"),
            weight: below.iter().map(|item| item.weight).sum(),
            items: below,
        };
        crush.buckets.insert(-place, bucket);
    }
    Bed { crush, osds }
}

const UP: Osd = Osd {
    up: true,
    weight: Osd::FULL_WEIGHT,
};

impl Bed {
    /// A rule from lines such as `take default`, `chooseleaf firstn 0 host`, `emit`.
    fn rule(&self, steps: &[&str]) -> Rule {
        let step = |line: &&str| match line.split(' ').collect::<Vec<_>>().as_slice() {
            ["take", name] => Step::Take {
                item: name
                    .parse()
                    .unwrap_or_else(|_| self.crush.bucket_named(name).expect("a bucket")),
            },
            ["emit"] => Step::Emit,
            ["tries", value] => Step::Set {
                step: 9,
                value: value.parse().expect("a number"),
            },
            ["odd"] => Step::Unknown {
                step: 99,
                arguments: [0, 0],
            },
            [verb, mode, count, kind] => Step::Choose {
                way: match (*verb, *mode) {
                    ("choose", "firstn") => Choice::FirstN,
                    ("choose", _) => Choice::Indep,
                    ("chooseleaf", "firstn") => Choice::LeafFirstN,
                    ("chooseleaf", _) => Choice::LeafIndep,
                    _ => Choice::Msr,
                },
                count: count.parse().expect("a number"),
                bucket_type: (*kind).to_owned(),
            },
            _ => panic!("{line}"),
        };
        Rule {
            kind: 1,
            steps: steps.iter().map(step).collect(),
            ..Rule::named("r")
        }
    }

    /// The verdict in a few characters: `=`, `N/M` or `?`.
    fn says(&self, steps: &[&str], copies: usize) -> String {
        match judge(&self.crush, &self.osds, &self.rule(steps), copies) {
            Verdict::Enough => "=".to_owned(),
            Verdict::Short(shortage) => format!("{}/{}", shortage.places, shortage.copies),
            Verdict::Doubtful(_) => "?".to_owned(),
        }
    }

    /// The same of a rule with one step below the root.
    fn one(&self, step: &str, copies: usize) -> String {
        self.says(&["take default", step, "emit"], copies)
    }
}

const HOSTS: [&str; 4] = [
    "a host: 0 1",
    "b host: 2 3",
    "c host: 4",
    "default root: a b c",
];
const BY_HOST: &str = "chooseleaf firstn 0 host";

/// As many copies as there are buckets of the failure domain with an OSD.
#[test]
fn failure_domains() {
    let bed = bed(&HOSTS);
    assert_eq!(bed.one(BY_HOST, 3), "=");
    assert_eq!(bed.one(BY_HOST, 4), "3/4");
    assert_eq!(bed.one("choose firstn 0 osd", 5), "=");
    assert_eq!(bed.one("choose firstn 0 osd", 6), "5/6");
    assert_eq!(bed.one("chooseleaf firstn 0 osd", 6), "5/6");
    assert_eq!(
        bed.one("chooseleaf firstn 0 rack", 1),
        "0/1",
        "there is none"
    );
    assert_eq!(
        bed.says(&["take b", "choose firstn 0 osd", "emit"], 3),
        "2/3"
    );
    assert_eq!(bed.says(&["take 4", "emit"], 1), "=");
    assert_eq!(bed.says(&["take 4", "emit"], 2), "1/2");
}

/// Out, down and unknown OSDs hold nothing; a host with one that is left does.
#[test]
fn osds() {
    let mut bed = bed(&HOSTS);
    bed.osds.insert(0, Osd { weight: 0, ..UP });
    assert_eq!(bed.one(BY_HOST, 3), "=");
    bed.osds.insert(1, Osd { up: false, ..UP });
    assert_eq!(bed.one(BY_HOST, 3), "2/3");
    bed.osds.insert(1, Osd { weight: 1, ..UP });
    assert_eq!(bed.one(BY_HOST, 3), "=", "a little is in");
    bed.osds.remove(&4);
    assert_eq!(bed.one(BY_HOST, 3), "2/3");
}

/// What weighs nothing, or has nothing below it, is not there.
#[test]
fn weights() {
    let root = "default root: a b c";
    let empty = bed(&["a host: 0", "b host: 1", "c host:", root]);
    assert_eq!(empty.one(BY_HOST, 3), "2/3");
    let weightless = bed(&["a host: 0", "b host: 1", "c host: 2=0", root]);
    assert_eq!(weightless.one(BY_HOST, 3), "2/3");
    let cut = bed(&[
        "a host: 0",
        "b host: 1",
        "c host: 2",
        "default root: a b c=0",
    ]);
    assert_eq!(cut.one(BY_HOST, 3), "2/3");
}

/// The count of a step: as many as there are copies, so many, or so many fewer.
#[test]
fn counts() {
    let bed = bed(&HOSTS);
    for (count, says) in [
        ("0", "="),
        ("3", "="),
        ("7", "="),
        ("2", "2/3"),
        ("-1", "2/3"),
        ("-3", "0/3"),
    ] {
        let step = format!("chooseleaf firstn {count} host");
        assert_eq!(bed.one(&step, 3), says, "{count}");
    }
    assert_eq!(bed.one("chooseleaf indep 0 host", 4), "3/4");
    assert_eq!(
        bed.says(&["take default", "tries 5", BY_HOST, "emit"], 3),
        "="
    );
}

const SITES: [&str; 9] = [
    "a host: 0",
    "b host: 1",
    "c host: 2",
    "d host: 3",
    "e host: 4",
    "east datacenter: a b",
    "west datacenter: c d",
    "far datacenter: e",
    "default root: east west far",
];

/// What is chosen first may have too little below it.
#[test]
fn several_steps() {
    let mut bed = bed(&SITES);
    let two = |first, second| ["take default", first, second, "emit"];
    let pairs = two("choose firstn 2 datacenter", "chooseleaf firstn 2 host");
    assert_eq!(bed.says(&pairs, 3), "=", "whichever two are chosen");
    assert_eq!(bed.says(&pairs, 4), "?", "not where the far one is chosen");
    assert_eq!(bed.says(&pairs, 5), "4/5");
    let each = two("choose firstn 0 datacenter", "chooseleaf firstn 1 host");
    assert_eq!(bed.says(&each, 3), "=");
    assert_eq!(bed.says(&each, 4), "3/4");
    let keeps = two("choose indep 2 datacenter", "chooseleaf indep 2 host");
    assert_eq!(bed.says(&keeps, 3), "?", "a place that is kept is lost");
    // A site without an OSD that can be used is chosen all the same.
    bed.osds.remove(&4);
    assert_eq!(bed.says(&each, 3), "2/3");
    assert_eq!(bed.says(&pairs, 4), "?");
}

/// Several parts of the tree, one after the other.
#[test]
fn several_takes() {
    let bed = bed(&SITES);
    let rule = |first, second| {
        let (one, rest) = ("chooseleaf firstn 1 host", "chooseleaf firstn -1 host");
        ["emit", first, one, "emit", second, rest, "emit"]
    };
    let apart = rule("take east", "take west");
    assert_eq!(bed.says(&apart, 3), "=");
    assert_eq!(bed.says(&apart, 4), "3/4");
    let within = rule("take east", "take default");
    assert_eq!(bed.says(&within, 3), "?", "the same OSD may come twice");
    assert_eq!(bed.says(&within, 7), "6/7");
}

/// What is not known is not refused.
#[test]
fn doubts() {
    let mut bed = bed(&HOSTS);
    assert_eq!(bed.one("odd", 9), "?");
    assert_eq!(bed.one("choosemsr firstn 0 host", 9), "?");
    assert_eq!(bed.one("choose firstn 0 host", 9), "?", "no OSDs come out");
    assert_eq!(bed.one("choose firstn 0 hall", 9), "?");
    assert_eq!(bed.says(&[], 9), "?", "of a recorded map, the name only");
    bed.osds.clear();
    assert_eq!(bed.one(BY_HOST, 9), "?", "a recorded map without OSDs");
}

/// A person reads where there is what, of which class.
#[test]
fn the_sentence() {
    let bed = bed(&["a~ssd host: 0", "default~ssd root: a~ssd"]);
    let rule = bed.rule(&["take default~ssd", BY_HOST, "emit"]);
    let Verdict::Short(shortage) = judge(&bed.crush, &bed.osds, &rule, 2) else {
        panic!("there is one host");
    };
    assert_eq!(
        shortage.found,
        "below default there is only 1 of type host with an OSD of class ssd that is up and in"
    );
}
