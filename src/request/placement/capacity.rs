//! How many copies a CRUSH rule can place: a proof on the tree, without running CRUSH.
//!
//! It counts, step by step, the buckets that the rule can choose among: those that weigh something and have an OSD
//! that is up and in below them. The most that come out of it is an upper bound for every placement group, so that
//! what is called [`Verdict::Short`] is impossible. CRUSH itself may place fewer: it gives up after some tries, and a
//! rule of several steps chooses buckets before it looks what is below them.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use crate::ceph::crush_map::{Choice, CrushMap, Rule, Step};
use crate::ceph::osd_map::Osd;

/// Whether a rule can place so many copies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It can.
    Enough,
    /// It cannot, of no placement group.
    Short(Shortage),
    /// It may be able to: what speaks against it, in a sentence.
    Doubtful(String),
}

/// Too few places.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shortage {
    /// How many copies find a place, at most.
    pub places: usize,
    /// How many there are to be.
    pub copies: usize,
    /// What there is to choose among.
    pub found: String,
    /// How many OSDs there are to choose among, whatever they share.
    pub osds: usize,
    /// The type of bucket that no two copies share, where the rule has one.
    pub domain: Option<String>,
}

/// What a rule gives for a part of the tree: fewest and most OSDs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Range {
    least: usize,
    most: usize,
    /// Places that are taken up by what was not found, of steps that keep places.
    holes: usize,
}

/// A step that chooses.
#[derive(Clone, Copy, Debug)]
struct Choosing<'a> {
    way: Choice,
    count: i32,
    bucket_type: &'a str,
}

/// What is chosen from one bucket.
#[derive(Debug)]
struct Section<'a> {
    item: i32,
    steps: Vec<Choosing<'a>>,
}

struct Tree<'a> {
    crush: &'a CrushMap,
    osds: &'a BTreeMap<i32, Osd>,
    copies: usize,
}

/// How many of so many copies a rule can place on OSDs that are up and in.
pub fn judge(crush: &CrushMap, osds: &BTreeMap<i32, Osd>, rule: &Rule, copies: usize) -> Verdict {
    if osds.is_empty() || crush.buckets.is_empty() {
        return Verdict::Doubtful("the map does not say which OSDs there are".to_owned());
    }
    let tree = Tree {
        crush,
        osds,
        copies,
    };
    let sections = match sections(rule) {
        Ok(sections) => sections,
        Err(why) => return Verdict::Doubtful(format!("rule {} {why}", rule.name)),
    };
    let mut sum = Range::default();
    let mut seen = BTreeSet::new();
    let mut twice = false;
    for section in &sections {
        match tree.below(section.item, &section.steps) {
            Ok(range) => {
                sum.least += range.least;
                sum.most += range.most;
            }
            Err(why) => return Verdict::Doubtful(format!("rule {} {why}", rule.name)),
        }
        for osd in tree.under(section.item, 0) {
            twice |= !seen.insert(osd);
        }
    }
    if sum.most < copies && crush.tunables.choose_local_fallback_tries > 0 {
        Verdict::Doubtful(format!(
            "rule {} may place only {} of {copies} copies, but the CRUSH map has the tunable \
             choose_local_fallback_tries of very old clusters, with which what weighs nothing is chosen, too",
            rule.name, sum.most
        ))
    } else if sum.most < copies {
        let found: Vec<String> = sections.iter().map(|section| tree.found(section)).collect();
        Verdict::Short(Shortage {
            places: sum.most,
            copies,
            found: found.join("; "),
            osds: seen.len(),
            domain: domain(&sections),
        })
    } else if twice {
        Verdict::Doubtful(format!(
            "rule {} may choose the same OSD twice, since it takes the same part of the tree twice",
            rule.name
        ))
    } else if sum.least < copies {
        Verdict::Doubtful(format!(
            "rule {} may place only {} of {copies} copies of some placement groups: what it chooses first does not \
             have enough below it everywhere",
            rule.name, sum.least
        ))
    } else {
        Verdict::Enough
    }
}

/// The type of bucket of the last step that chooses, if that is not the OSDs themselves.
fn domain(sections: &[Section<'_>]) -> Option<String> {
    let last = sections.iter().filter_map(|section| section.steps.last());
    let leaves = |way| matches!(way, Choice::LeafFirstN | Choice::LeafIndep);
    last.filter(|step| leaves(step.way))
        .map(|step| step.bucket_type.to_owned())
        .next()
}

/// The parts of a rule from one `take` to its `emit`.
fn sections(rule: &Rule) -> Result<Vec<Section<'_>>, String> {
    let mut sections = Vec::new();
    let mut open: Option<Section<'_>> = None;
    for step in &rule.steps {
        match step {
            Step::Noop | Step::Set { .. } => {}
            Step::Take { item } => {
                open = Some(Section {
                    item: *item,
                    steps: Vec::new(),
                });
            }
            Step::Choose {
                way,
                count,
                bucket_type,
            } => {
                if *way == Choice::Msr {
                    return Err(
                        "chooses several OSDs a failure domain (choosemsr), which is not judged here"
                            .to_owned(),
                    );
                }
                // Of nothing, nothing is chosen.
                if let Some(section) = &mut open {
                    section.steps.push(Choosing {
                        way: *way,
                        count: *count,
                        bucket_type,
                    });
                }
            }
            Step::Emit => sections.extend(open.take()),
            Step::Unknown { step, .. } => {
                return Err(format!("has a step (number {step}) that is not known here"));
            }
        }
    }
    if rule.steps.is_empty() {
        return Err("is known by its name only".to_owned());
    }
    Ok(sections)
}

impl Tree<'_> {
    /// What these steps give below an item.
    fn below(&self, item: i32, steps: &[Choosing<'_>]) -> Result<Range, String> {
        let Some((step, rest)) = steps.split_first() else {
            if item < 0 {
                return Err("ends at buckets instead of OSDs".to_owned());
            }
            return Ok(exactly(usize::from(self.is_usable(item))));
        };
        let Some(kind) = self.crush.type_named(step.bucket_type) else {
            return Err("chooses buckets of a type that the map does not have".to_owned());
        };
        let wanted = self.wanted(step.count);
        if item >= 0 {
            // Nothing is below an OSD.
            return Ok(exactly(0));
        }
        let keeps_places = matches!(step.way, Choice::Indep | Choice::LeafIndep);
        let leaf = matches!(step.way, Choice::LeafFirstN | Choice::LeafIndep);
        if kind == 0 || leaf {
            // Those without an OSD that can be used are tried in vain, and others in their place.
            let usable = self.under(item, kind).len().min(wanted);
            let range = match rest {
                [] => exactly(usable),
                // Nothing is below the OSDs that were chosen.
                _ => exactly(0),
            };
            return Ok(Range {
                holes: if keeps_places { wanted - usable } else { 0 },
                ..range
            });
        }
        // Buckets are chosen by their weight, whatever is below them.
        let mut parts = Vec::new();
        for bucket in self.weighing(item, kind) {
            parts.push(self.below(bucket, rest)?);
        }
        parts.sort_by_key(|part| part.least);
        let least = self.filled(parts.iter().take(wanted), |part| part.least);
        parts.sort_by_key(|part| std::cmp::Reverse(part.most));
        let most = parts.iter().take(wanted).map(|part| part.most).sum();
        Ok(Range {
            least,
            most: self.copies.min(most),
            holes: 0,
        })
    }

    /// How many copies come out when each part takes its places in turn.
    fn filled<'part>(
        &self,
        parts: impl Iterator<Item = &'part Range>,
        of: impl Fn(&Range) -> usize,
    ) -> usize {
        let mut left = self.copies;
        let mut filled = 0;
        for part in parts {
            let places = (of(part) + part.holes).min(left);
            filled += of(part).min(places);
            left -= places;
        }
        filled
    }

    /// How many a step chooses: 0 is as many as there are copies, and below 0 so many fewer.
    fn wanted(&self, count: i32) -> usize {
        let number = usize::try_from(count.unsigned_abs()).unwrap_or(usize::MAX);
        if count > 0 {
            number.min(self.copies)
        } else {
            self.copies.saturating_sub(number)
        }
    }

    /// The buckets or OSDs of a type below an item on which data can be now.
    fn under(&self, item: i32, kind: i32) -> BTreeSet<i32> {
        let all = self.weighing(item, kind).into_iter();
        all.filter(|found| self.has_usable(*found)).collect()
    }

    fn has_usable(&self, item: i32) -> bool {
        if item >= 0 {
            return self.is_usable(item);
        }
        let osds = self.weighing(item, 0);
        osds.into_iter().any(|osd| self.is_usable(osd))
    }

    /// Those of a type below an item to which a way of weights above 0 leads.
    fn weighing(&self, item: i32, kind: i32) -> BTreeSet<i32> {
        let mut found = BTreeSet::new();
        let mut seen = BTreeSet::new();
        let mut next = vec![item];
        // A device that is taken itself.
        if item >= 0 && kind == 0 {
            found.insert(item);
        }
        while let Some(item) = next.pop() {
            let Some(bucket) = self.crush.buckets.get(&item).filter(|_| seen.insert(item)) else {
                continue;
            };
            for below in bucket.items.iter().filter(|below| below.weight > 0) {
                let its_kind = if below.id >= 0 {
                    Some(0)
                } else {
                    let bucket = self.crush.buckets.get(&below.id);
                    bucket.map(|bucket| bucket.kind)
                };
                if its_kind == Some(kind) {
                    found.insert(below.id);
                } else {
                    next.push(below.id);
                }
            }
        }
        found
    }

    fn is_usable(&self, osd: i32) -> bool {
        let osd = self.osds.get(&osd);
        osd.is_some_and(|osd| osd.up && osd.is_in())
    }

    /// What there is to choose among, such as `below default there are only 2 of type host
    /// with an OSD of class ssd that is up and in`.
    fn found(&self, section: &Section<'_>) -> String {
        let bucket = self.crush.buckets.get(&section.item);
        let name = bucket.map_or_else(
            || format!("osd.{}", section.item),
            |bucket| bucket.name.clone(),
        );
        let (name, class) = match bucket.and_then(|bucket| bucket.shadow_of()) {
            Some((node, class)) => (node.to_owned(), format!(" of class {class}")),
            None => (name, String::new()),
        };
        let mut counts: Vec<String> = Vec::new();
        for step in &section.steps {
            let Some(kind) = self.crush.type_named(step.bucket_type) else {
                continue;
            };
            let text = match (self.under(section.item, kind).len(), kind) {
                (0, 0) => format!("is no OSD{class} that is up and in"),
                (1, 0) => format!("is only 1 OSD{class} that is up and in"),
                (number, 0) => format!("are only {number} OSDs{class} that are up and in"),
                (number, _) => {
                    let number = match number {
                        0 => "is none".to_owned(),
                        1 => "is only 1".to_owned(),
                        _ => format!("are only {number}"),
                    };
                    format!(
                        "{number} of type {} with an OSD{class} that is up and in",
                        step.bucket_type
                    )
                }
            };
            if !counts.contains(&text) {
                counts.push(text);
            }
        }
        format!("below {name} there {}", counts.join(", and there "))
    }
}

const fn exactly(number: usize) -> Range {
    Range {
        least: number,
        most: number,
        holes: 0,
    }
}
