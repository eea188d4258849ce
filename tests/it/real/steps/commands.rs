//! Commands by the names of their pools, as people send them.

use poolwright::ceph::command::{MonCommand, PoolCreate};
use poolwright::ceph::types::PoolName;

/// `osd pool create` of a name, with little in it.
pub(crate) fn create(name: &str) -> MonCommand {
    create_of(name, 2, None)
}

/// The same with so many placement groups and copies; without a number Ceph's own.
pub(crate) fn create_of(name: &str, pg_num: i64, size: Option<i64>) -> MonCommand {
    MonCommand::PoolCreate(PoolCreate {
        size,
        autoscale_mode: Some("off".to_owned()),
        ..PoolCreate::new(PoolName::new(name), pg_num)
    })
}

/// `osd pool rm` of a name.
pub(crate) fn remove(name: &str) -> MonCommand {
    MonCommand::PoolRemove {
        pool: PoolName::new(name),
    }
}

/// `osd pool rename`.
pub(crate) fn rename(from: &str, to: &str) -> MonCommand {
    MonCommand::PoolRename {
        from: PoolName::new(from),
        to: PoolName::new(to),
    }
}

/// `osd pool application enable` of a pool by its name.
pub(crate) fn enable(pool: &str, application: &str) -> MonCommand {
    MonCommand::ApplicationEnable {
        pool: PoolName::new(pool),
        application: application.to_owned(),
        confirmed: true,
    }
}

/// `osd pool application set` of a pool by its name, under `rbd`.
pub(crate) fn tag(pool: &str, key: &str, value: &str) -> MonCommand {
    MonCommand::ApplicationSet {
        pool: PoolName::new(pool),
        application: "rbd".to_owned(),
        key: key.to_owned(),
        value: value.to_owned(),
    }
}

/// `osd pool application rm` of a pool by its name, under `rbd`.
pub(crate) fn untag(pool: &str, key: &str) -> MonCommand {
    MonCommand::ApplicationRemove {
        pool: PoolName::new(pool),
        application: "rbd".to_owned(),
        key: key.to_owned(),
    }
}
