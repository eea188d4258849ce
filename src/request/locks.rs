//! Names that a command without an answer may still use.
//!
//! A command that timed out can be executed later, when its name has come to mean another pool. So the
//! names it used stay locked for a while: nobody else of ours gives them to a pool, and the pool's own
//! run changes names only in the way that was begun.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::round::Round;
use super::work::PoolKey;
use crate::ceph::command::MonCommand;
use crate::ceph::types::{Fsid, PoolName};
use crate::ceph::view::ClusterView;

/// How long a command whose answer did not come in time may still be executed. Measured: monitors that were frozen
/// execute what is in their sockets at once when they go on, and the session is closed by then.
pub const LATE: Duration = Duration::from_secs(30);

/// The locked names of all clusters. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct NameLocks(Arc<Mutex<BTreeMap<(Fsid, PoolName), Lock>>>);

#[derive(Clone, Debug)]
struct Lock {
    /// Whose command it was.
    key: PoolKey,
    /// The command; `None` of an earlier process, whose commands are not known one by one.
    command: Option<MonCommand>,
    /// When the cluster was first seen after it: while monitors are frozen, nothing passes.
    since: Option<Instant>,
    /// Whether it was sent again: then a view that shows it executed does not tell which of the two was.
    again: bool,
}

impl NameLocks {
    /// Locks the names of a command that was not answered.
    pub fn lock(&self, fsid: &Fsid, key: &PoolKey, command: &MonCommand) {
        for name in names(command) {
            self.insert(fsid, key, name.clone(), Some(command.clone()));
        }
    }

    /// Locks a name that an earlier process may have been about to use.
    pub fn lock_name(&self, fsid: &Fsid, key: &PoolKey, name: PoolName) {
        self.insert(fsid, key, name, None);
    }

    /// The first name of a round that has to wait, and for how long.
    pub fn holds_back(
        &self,
        round: &Round,
        wish: &PoolName,
        key: &PoolKey,
        view: &ClusterView,
        now: Instant,
    ) -> Option<(PoolName, Duration)> {
        let mut locks = self.live(view, now);
        if locks.is_empty() {
            return None;
        }
        for step in &round.steps {
            let publishing = matches!(step.command, MonCommand::PoolCreate(_)).then_some(wish);
            for name in names(&step.command).into_iter().chain(publishing) {
                let Some(lock) = locks.get_mut(&(view.fsid().clone(), name.clone())) else {
                    continue;
                };
                if lock.key != *key || !lock.lets_pass(&step.command) {
                    return Some((name.clone(), lock.left(now)));
                }
                lock.again |= lock.command.as_ref() == Some(&step.command);
            }
        }
        None
    }

    /// How long it is unclear yet what a pool's own commands do to names: while one is not settled.
    pub fn unsettled(&self, key: &PoolKey, view: &ClusterView, now: Instant) -> Option<Duration> {
        let locks = self.live(view, now);
        let own = locks.iter().filter(|((fsid, _), lock)| {
            fsid == view.fsid() && lock.key == *key && lock.command.as_ref().is_none_or(gives_names)
        });
        own.map(|(_, lock)| lock.left(now)).max()
    }

    /// The locks that still count, as a view shows.
    fn live(
        &self,
        view: &ClusterView,
        now: Instant,
    ) -> MutexGuard<'_, BTreeMap<(Fsid, PoolName), Lock>> {
        let mut locks = self.locks();
        locks.retain(|(fsid, _), lock| {
            if fsid != view.fsid() {
                return true;
            }
            lock.since.get_or_insert(now);
            !lock.left(now).is_zero() && !lock.settled(view)
        });
        locks
    }

    fn insert(&self, fsid: &Fsid, key: &PoolKey, name: PoolName, command: Option<MonCommand>) {
        let mut locks = self.locks();
        let name = (fsid.clone(), name);
        let before = locks.get(&name);
        let gives = |command: &Option<MonCommand>| command.as_ref().is_none_or(gives_names);
        if before.is_some_and(|lock| gives(&lock.command)) && !gives(&command) {
            // A late setting is the lesser trouble: what is on its way to change names stays known.
            return;
        }
        let lock = Lock {
            again: before.is_some_and(|lock| lock.command.is_some() && lock.command == command),
            key: key.clone(),
            command,
            since: None,
        };
        locks.insert(name, lock);
    }

    fn locks(&self) -> MutexGuard<'_, BTreeMap<(Fsid, PoolName), Lock>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lock {
    fn left(&self, now: Instant) -> Duration {
        let since = self.since.unwrap_or(now);
        (since + LATE).saturating_duration_since(now)
    }

    /// Whether the pool's own run may send this meanwhile: what was begun does the same when it is sent again. A name
    /// is not removed while a rename to it may come late, and bring another pool.
    fn lets_pass(&self, command: &MonCommand) -> bool {
        match &self.command {
            None => !matches!(command, MonCommand::PoolRemove { .. }),
            Some(sent) => !gives_names(command) || !gives_names(sent) || sent == command,
        }
    }

    /// Whether a view shows that the command was executed, so that it will not be any more.
    fn settled(&self, view: &ClusterView) -> bool {
        match &self.command {
            Some(MonCommand::PoolCreate(create)) => view.pool_named(&create.pool).is_some(),
            _ if self.again => false,
            Some(MonCommand::PoolRename { from, to }) => {
                view.pool_named(from).is_none() && view.pool_named(to).is_some()
            }
            Some(MonCommand::PoolRemove { pool }) => view.pool_named(pool).is_none(),
            // A setting is the same before and after, as far as a view can tell.
            _ => false,
        }
    }
}

/// Whether a command gives a pool a name or takes one away.
fn gives_names(command: &MonCommand) -> bool {
    matches!(
        command,
        MonCommand::PoolCreate(_) | MonCommand::PoolRename { .. } | MonCommand::PoolRemove { .. }
    )
}

fn names(command: &MonCommand) -> Vec<&PoolName> {
    match command {
        MonCommand::PoolRename { from, to } => vec![from, to],
        command => command.pools(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ceph::command::PoolCreate;
    use crate::ceph::simulated::SimulatedCluster;
    use crate::request::round::Step;

    fn key(name: &str) -> PoolKey {
        PoolKey {
            namespace: "n".into(),
            name: name.into(),
            uid: name.into(),
        }
    }

    fn name(text: &str) -> PoolName {
        PoolName::new(text)
    }

    fn create(pool: &str) -> MonCommand {
        MonCommand::PoolCreate(PoolCreate {
            pool: name(pool),
            pg_num: 8,
            size: None,
            autoscale_mode: None,
            pg_num_min: None,
            pg_num_max: None,
            bulk: None,
            target_size_bytes: None,
            target_size_ratio: None,
            profile: None,
            rule: None,
        })
    }

    fn rename(from: &str, to: &str) -> MonCommand {
        MonCommand::PoolRename {
            from: name(from),
            to: name(to),
        }
    }

    fn remove(pool: &str) -> MonCommand {
        MonCommand::PoolRemove { pool: name(pool) }
    }

    fn quota(pool: &str) -> MonCommand {
        MonCommand::PoolSetQuota {
            pool: name(pool),
            field: "max_bytes".into(),
            value: "2".into(),
        }
    }

    fn round(command: &MonCommand) -> Round {
        Round {
            steps: vec![Step {
                command: command.clone(),
                field: String::new(),
                desired: String::new(),
                observed: String::new(),
                reason: String::new(),
                last: false,
                token: None,
            }],
        }
    }

    /// A cluster of these pools.
    fn cluster(pools: &[&str]) -> SimulatedCluster {
        let mut cluster = SimulatedCluster::new(&Fsid::new("f"), 100);
        for pool in pools {
            cluster.round(&[create(pool)]);
        }
        cluster
    }

    const PRIVATE: &str = "foo.poolwright-new-ab12";

    /// What was not answered, what is to be sent, and the name that another object and the same one wait for.
    #[test]
    fn who_waits() {
        let present = ["foo", "bar"];
        let sent = rename("foo", "new");
        for (sent, next, wish, other, own) in [
            // What was begun goes on.
            (&sent, rename("foo", "new"), "new", Some("foo"), None),
            // Another way with the same names waits, whoever it is.
            (
                &sent,
                rename("foo", "else"),
                "else",
                Some("foo"),
                Some("foo"),
            ),
            (&sent, rename("new", "foo"), "foo", Some("new"), Some("new")),
            (&sent, rename("bar", "new"), "new", Some("new"), Some("new")),
            (&sent, remove("foo"), "foo", Some("foo"), Some("foo")),
            // A pool that is to get a locked name in the end is not begun.
            (&sent, create(PRIVATE), "new", Some("new"), Some("new")),
            (&sent, create(PRIVATE), "other", None, None),
            // Settings change no names: of the pool itself they go on.
            (&sent, quota("foo"), "foo", Some("foo"), None),
            (&sent, quota("bar"), "bar", None, None),
            // A late setting is one of the pool's own, and would land on whatever has the name.
            (&quota("foo"), quota("foo"), "foo", Some("foo"), None),
            (
                &quota("foo"),
                rename("foo", "new"),
                "new",
                Some("foo"),
                None,
            ),
            (
                &quota("foo"),
                rename("bar", "foo"),
                "foo",
                Some("foo"),
                None,
            ),
            (
                &remove("foo"),
                create(PRIVATE),
                "foo",
                Some("foo"),
                Some("foo"),
            ),
            (&remove("foo"), remove("foo"), "foo", Some("foo"), None),
        ] {
            let cluster = cluster(&present);
            let now = Instant::now();
            let locks = NameLocks::default();
            locks.lock(&Fsid::new("f"), &key("a"), sent);
            for (who, expected) in [("b", other), ("a", own)] {
                let held =
                    locks.holds_back(&round(&next), &name(wish), &key(who), &cluster.view(), now);
                let what = format!("{} after {} by {who}", next.to_line(), sent.to_line());
                assert_eq!(held, expected.map(|held| (name(held), LATE)), "{what}");
            }
        }
    }

    /// A lock ends with its time, and sooner when a view shows that the command was executed.
    #[test]
    fn until_when() {
        let waits = |locks: &NameLocks, cluster: &SimulatedCluster, pool: &str, now: Instant| {
            let round = round(&quota(pool));
            let held = locks.holds_back(&round, &name(pool), &key("b"), &cluster.view(), now);
            held.map(|(_, wait)| wait)
        };
        let now = Instant::now();
        let second = Duration::from_secs(1);
        let before = cluster(&["foo"]);
        for (sent, after) in [
            (rename("foo", "new"), Some(cluster(&["new"]))),
            (remove("foo"), Some(cluster(&["bar"]))),
            (create(PRIVATE), Some(cluster(&["foo", PRIVATE]))),
            (quota("foo"), None),
        ] {
            let pool = match &sent {
                MonCommand::PoolCreate(_) => PRIVATE,
                _ => "foo",
            };
            let locks = NameLocks::default();
            locks.lock(&Fsid::new("f"), &key("a"), &sent);
            let what = sent.to_line();
            assert_eq!(waits(&locks, &before, pool, now), Some(LATE), "{what}");
            let later = now + LATE - second;
            assert_eq!(waits(&locks, &before, pool, later), Some(second), "{what}");
            if let Some(after) = after {
                assert_eq!(waits(&locks, &after, pool, now), None, "{what}");
                // It is settled for good, and not only while it looks so.
                assert_eq!(waits(&locks, &before, pool, now), None, "{what}");
            } else {
                assert_eq!(waits(&locks, &before, pool, now + LATE), None, "{what}");
            }
        }
    }

    /// What an earlier process was about to do is not known: its object goes on, the others wait. Another cluster has
    /// other names.
    #[test]
    fn earlier_processes_and_other_clusters() {
        let cluster = cluster(&["foo"]);
        let now = Instant::now();
        let locks = NameLocks::default();
        locks.lock_name(&Fsid::new("f"), &key("a"), name("foo"));
        let held = |who: &str, command: &MonCommand| {
            let round = round(command);
            locks.holds_back(&round, &name("foo"), &key(who), &cluster.view(), now)
        };
        for command in [quota("foo"), rename("foo", "new"), create(PRIVATE)] {
            assert_eq!(held("a", &command), None);
            assert_eq!(held("b", &command), Some((name("foo"), LATE)));
        }
        let elsewhere = NameLocks::default();
        elsewhere.lock_name(&Fsid::new("g"), &key("a"), name("foo"));
        let round = round(&quota("foo"));
        let held = elsewhere.holds_back(&round, &name("foo"), &key("b"), &cluster.view(), now);
        assert_eq!(held, None);
    }
}
