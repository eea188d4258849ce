//! What a round has left of both clusters, field by field.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::Arc;

use poolwright::ceph::client::Reply;
use poolwright::ceph::command::MonCommand;
use poolwright::ceph::osd_map::{OsdMap, Pool};
use poolwright::ceph::simulated::SimulatedCluster;
use poolwright::ceph::types::{CreateTime, PoolId};

/// What came of a round in the simulated cluster.
pub(super) struct Outcome {
    pub(super) replies: Vec<Reply>,
    pub(super) cluster: SimulatedCluster,
}

/// What differs, as text; nothing when nothing does.
pub(super) fn compare(
    commands: &[MonCommand],
    outcome: &Outcome,
    replies: &[Reply],
    map: &OsdMap,
) -> String {
    let mut wrong = String::new();
    for ((command, ours), real) in commands.iter().zip(&outcome.replies).zip(replies) {
        let mark = if ours.code == real.code { ' ' } else { '!' };
        let _ = writeln!(
            wrong,
            "{mark} {}\n      real {} {:?}\n      ours {} {:?}",
            command.to_line(),
            real.code,
            real.text,
            ours.code,
            ours.text
        );
    }
    let before = wrong.len();
    let epoch = outcome.cluster.epoch().0;
    if epoch != map.epoch.0 {
        let _ = writeln!(wrong, "! epoch: real {}, ours {epoch}", map.epoch);
    }
    let ours = &outcome.cluster.map().pools;
    let ids: BTreeSet<&PoolId> = map.pools.keys().chain(ours.keys()).collect();
    for id in ids {
        let (real, ours) = (map.pools.get(id).map(timeless), ours.get(id).map(timeless));
        if real != ours {
            let _ = writeln!(
                wrong,
                "! pool {id}:{}",
                unlike(&format!("{real:#?}"), &format!("{ours:#?}"))
            );
        }
    }
    let codes = |replies: &[Reply]| replies.iter().map(|reply| reply.code).collect::<Vec<_>>();
    if wrong.len() == before && codes(&outcome.replies) == codes(replies) {
        wrong.clear();
    }
    wrong
}

/// The lines in which two printed values differ.
fn unlike(real: &str, ours: &str) -> String {
    let mut text = String::new();
    if real.lines().count() < 3 || ours.lines().count() < 3 {
        let _ = write!(text, " real {real}, ours {ours}");
        return text;
    }
    let only = |a: &str, b: &str| -> Vec<String> {
        let there: Vec<&str> = b.lines().collect();
        a.lines()
            .filter(|line| !there.contains(line))
            .map(|line| line.trim().to_owned())
            .collect()
    };
    let _ = write!(
        text,
        "\n      real {:?}\n      ours {:?}",
        only(real, ours),
        only(ours, real)
    );
    text
}

/// A pool without what a clock has given it.
fn timeless(pool: &Arc<Pool>) -> Pool {
    Pool {
        create_time: CreateTime(0),
        ..(**pool).clone()
    }
}
