//! Every rule here was measured on real monitors; the tests are named after the rules.

mod client;
mod creation;
mod rounds;
mod single;

use super::*;
use crate::ceph::command::PoolCreate;
use crate::ceph::osd_map::{OptionValue, PlacementGroups, PoolKind};

pub(super) fn fsid() -> Fsid {
    Fsid::new("7f0e0000-0000-4000-8000-000000000001")
}

/// Three OSDs, and a pool `p` of size 3 with 8 placement groups that has settled.
pub(super) fn cluster() -> SimulatedCluster {
    let mut cluster = SimulatedCluster::new(&fsid(), 3);
    assert_eq!(codes(&mut cluster, &[create("p")]), [0]);
    cluster.settle();
    cluster
}

pub(super) fn creation(name: &str) -> PoolCreate {
    PoolCreate {
        autoscale_mode: Some("off".into()),
        ..PoolCreate::new(PoolName::new(name), 8)
    }
}

pub(super) fn create(name: &str) -> MonCommand {
    MonCommand::PoolCreate(creation(name))
}

pub(super) fn set(pool: &str, variable: &str, value: &str) -> MonCommand {
    MonCommand::PoolSet {
        pool: PoolName::new(pool),
        variable: variable.into(),
        value: value.into(),
    }
}

pub(super) fn quota(pool: &str, field: &str, value: &str) -> MonCommand {
    MonCommand::PoolSetQuota {
        pool: PoolName::new(pool),
        field: field.into(),
        value: value.into(),
    }
}

pub(super) fn enable(pool: &str, application: &str) -> MonCommand {
    MonCommand::ApplicationEnable {
        pool: PoolName::new(pool),
        application: application.into(),
        confirmed: false,
    }
}

pub(super) fn confirmed(pool: &str, application: &str) -> MonCommand {
    MonCommand::ApplicationEnable {
        pool: PoolName::new(pool),
        application: application.into(),
        confirmed: true,
    }
}

pub(super) fn key(pool: &str, application: &str, key: &str, value: &str) -> MonCommand {
    MonCommand::ApplicationSet {
        pool: PoolName::new(pool),
        application: application.into(),
        key: key.into(),
        value: value.into(),
    }
}

pub(super) fn remove_key(pool: &str, application: &str, key: &str) -> MonCommand {
    MonCommand::ApplicationRemove {
        pool: PoolName::new(pool),
        application: application.into(),
        key: key.into(),
    }
}

pub(super) fn rename(from: &str, to: &str) -> MonCommand {
    MonCommand::PoolRename {
        from: PoolName::new(from),
        to: PoolName::new(to),
    }
}

pub(super) fn remove(pool: &str) -> MonCommand {
    MonCommand::PoolRemove {
        pool: PoolName::new(pool),
    }
}

pub(super) fn codes(cluster: &mut SimulatedCluster, commands: &[MonCommand]) -> Vec<i32> {
    let replies = cluster.round(commands);
    replies.iter().map(|reply| reply.code).collect()
}

/// The pool's `size` and `min_size`.
pub(super) fn sizes(cluster: &SimulatedCluster, pool: &str) -> Option<(i64, i64)> {
    cluster.pool(pool).map(|pool| (pool.size, pool.min_size))
}

/// Asks for a value of a pool that must be there.
pub(super) fn of<T>(
    cluster: &SimulatedCluster,
    pool: &str,
    read: impl FnOnce(&Pool) -> T,
) -> Option<T> {
    cluster.pool(pool).map(|pool| read(pool))
}

/// A dump in the monitors' shape decodes to the very map it was made from.
#[test]
fn dump_round_trips() {
    let mut cluster = cluster().with_release(Release::Tentacle);
    let commands = [
        set("p", "pg_autoscale_bias", "1.5"),
        set("p", "target_size_ratio", "0.3"),
        set("p", "compression_mode", "force"),
        set("p", "pg_num_min", "4"),
        set("p", "nodelete", "true"),
        quota("p", "max_bytes", "1024000000"),
        enable("p", "rbd"),
        create("second"),
    ];
    assert_eq!(codes(&mut cluster, &commands), [0; 8]);
    assert_eq!(codes(&mut cluster, &[key("p", "rbd", "k", "a \"b\"")]), [0]);
    cluster.edit_map(|map| {
        map.stretch_mode.enabled = true;
        map.flags.insert("noautoscale".into());
    });
    cluster.edit_pool("second", |pool| {
        pool.kind = PoolKind::Erasure;
        pool.erasure_code_profile = "ec".into();
        pool.placement_groups = PlacementGroups {
            pg_num: 1,
            pg_num_pending: 2,
            pg_num_target: 3,
            pgp_num: 4,
            pgp_num_target: 5,
        };
    });
    let dump = dump::osd_dump(cluster.map()).to_string();
    let decoded = crate::ceph::osd_map::json::decode(dump.as_bytes());
    assert_eq!(decoded.ok().as_ref(), Some(cluster.map()));
    let crush = dump::crush_dump(cluster.crush()).to_string();
    let decoded = crate::ceph::crush_map::json::decode(crush.as_bytes());
    assert_eq!(decoded.ok().as_ref(), Some(cluster.crush()));
}

/// Monitors print `4`, not `4.0`, so such an option comes back as an integer.
#[test]
fn whole_decimals_are_dumped_without_a_point() {
    let mut cluster = cluster();
    cluster.round(&[set("p", "pg_autoscale_bias", "4")]);
    let dump = dump::osd_dump(cluster.map()).to_string();
    assert!(dump.contains(r#""pg_autoscale_bias":4}"#), "{dump}");
}

/// One odd key of an application makes the dump unreadable, until the key is removed.
#[test]
fn an_odd_key_breaks_the_dump() {
    let mut cluster = cluster();
    cluster.round(&[enable("p", "rbd")]);
    let read = |cluster: &mut SimulatedCluster| {
        let replies = cluster.round(&[MonCommand::OsdDump]);
        replies
            .first()
            .is_some_and(|reply| crate::ceph::osd_map::json::decode(&reply.body).is_ok())
    };
    for odd in ["a\"b", "a\\c", "a\nb"] {
        assert_eq!(codes(&mut cluster, &[key("p", "rbd", odd, "v\"")]), [0]);
        assert!(!read(&mut cluster), "{odd:?}");
        assert_eq!(codes(&mut cluster, &[remove_key("p", "rbd", odd)]), [0]);
        assert!(read(&mut cluster), "{odd:?}");
    }
}

/// What planning sees is the cluster, and a cluster made from it goes on from there.
#[test]
fn a_cluster_continues_from_a_view() {
    let mut first = cluster();
    let mut second = SimulatedCluster::from_view(&first.view());
    let commands = [create("q"), set("p", "size", "4")];
    assert_eq!(first.round(&commands), second.round(&commands));
    assert_eq!(first.map(), second.map());
    assert_eq!(second.view().epoch(), second.epoch());
}

/// The same commands give the same cluster: nothing depends on time or chance.
#[test]
fn deterministic() {
    let mut one = cluster();
    let mut other = cluster();
    let commands = [create("a"), create("b"), set("p", "size", "2")];
    one.round(&commands);
    other.round(&commands);
    assert_eq!(one.map(), other.map());
}
