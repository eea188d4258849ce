//! Names that a command without an answer may still use.
//!
//! A command that timed out can be executed later, when its name has come to mean another pool. So the
//! names it used stay locked for a while: nobody else of ours gives them to a pool, and the pool's own
//! run changes names only in the way that was begun. What an earlier process left on its way is locked before anything is
//! planned, whatever has become of the object whose command it was.
//!
//! One of several monitors can be frozen for hours and execute then what is in its sockets, also what another one has
//! answered since. So the time of a command that it may have counts only while all monitors take part.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::round::Round;
use super::work::PoolKey;
use crate::ceph::command::MonCommand;
use crate::ceph::types::{Fsid, PoolName};
use crate::ceph::view::ClusterView;
use crate::monitor::quorum::Quorum;

/// How long a command whose answer did not come in time may still be executed. Measured: monitors that were frozen
/// execute what is in their sockets at once when they go on, and the session is closed by then.
pub const LATE: Duration = Duration::from_secs(30);
/// An answer that took longer may be another monitor's: sessions that break, and leaders that are lost, have what is not
/// answered sent again, and the first copy may still be executed.
/// A leader is taken for lost after ten seconds, and a session after the half minute of `mon_client_ping_timeout`.
const SLOW: Duration = Duration::from_secs(5);

/// The locked names of all clusters. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct NameLocks(Arc<Mutex<Locks>>);

#[derive(Debug, Default)]
struct Locks {
    names: BTreeMap<(Fsid, PoolName), Lock>,
    /// Names that an earlier process used in a cluster that is not recorded: locked in each, when it is first seen.
    everywhere: Vec<(PoolKey, PoolName)>,
    /// The clusters in which they are locked.
    seen: BTreeSet<Fsid>,
    /// What is known of their monitors, where it matters.
    quorums: BTreeMap<Fsid, Quorum>,
}

#[derive(Clone, Debug)]
struct Lock {
    /// Whose commands they were. Where there are two, neither goes on.
    keys: BTreeSet<PoolKey>,
    /// The command; `None` of an earlier process, whose commands are not known one by one, and where there are several.
    command: Option<MonCommand>,
    /// When the cluster was first seen after it: while monitors are frozen, nothing passes.
    since: Option<Instant>,
    /// Whether it was sent again: then a view that shows it executed does not tell which of the two was.
    again: bool,
    /// Whether a monitor that does not take part may have it. What an earlier process left is not known to be there at all.
    held: bool,
}

impl NameLocks {
    /// Locks the names of a command that was not answered.
    pub fn lock(&self, fsid: &Fsid, key: &PoolKey, command: &MonCommand) {
        self.lock_names(fsid, key, command, harms_twice(command));
    }

    /// Locks the names of a command that is recorded as the next one of an earlier process: at most that one was sent.
    pub fn lock_recorded(&self, fsid: &Fsid, key: &PoolKey, command: &MonCommand) {
        self.lock_names(fsid, key, command, false);
    }

    /// Locks the names of a command that was answered after so long that there may be two of it, where a second one does
    /// harm.
    pub fn answered(&self, fsid: &Fsid, key: &PoolKey, command: &MonCommand, took: Duration) {
        if took >= SLOW && harms_twice(command) {
            self.lock_names(fsid, key, command, true);
        }
    }

    fn lock_names(&self, fsid: &Fsid, key: &PoolKey, command: &MonCommand, again: bool) {
        let mut locks = self.locks();
        for name in names(command) {
            locks.insert(fsid, key, name, Some(command), again);
        }
    }

    /// Whether it matters which monitors of a cluster take part.
    pub fn want_quorum(&self, fsid: &Fsid) -> bool {
        let locks = self.locks();
        locks
            .names
            .iter()
            .any(|((of, _), lock)| of == fsid && lock.held)
    }

    /// Takes note of that.
    pub fn saw_quorum(&self, fsid: &Fsid, quorum: Quorum) {
        self.locks().quorums.insert(fsid.clone(), quorum);
    }

    /// The monitors that may still have a command.
    pub fn missing(&self, fsid: &Fsid) -> Vec<String> {
        let locks = self.locks();
        (locks.quorums.get(fsid)).map_or_else(Vec::new, |quorum| quorum.missing.clone())
    }

    /// Locks a name that an earlier process may have been about to use, in every cluster where it is not known in which.
    pub fn lock_name(&self, fsid: Option<&Fsid>, key: &PoolKey, name: &PoolName) {
        let mut locks = self.locks();
        if let Some(fsid) = fsid {
            locks.insert(fsid, key, name, None, false);
            return;
        }
        for fsid in locks.seen.clone() {
            locks.insert(&fsid, key, name, None, false);
        }
        locks.everywhere.push((key.clone(), name.clone()));
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
        if locks.names.is_empty() {
            return None;
        }
        let quorum = locks.quorums.get(view.fsid()).cloned();
        for step in &round.steps {
            let publishing = matches!(step.command, MonCommand::PoolCreate(_)).then_some(wish);
            for name in names(&step.command).into_iter().chain(publishing) {
                let Some(lock) = locks.names.get_mut(&(view.fsid().clone(), name.clone())) else {
                    continue;
                };
                if !lock.is_of(key) || !lock.lets_pass(&step.command) {
                    return Some((name.clone(), lock.left(quorum.as_ref(), now)));
                }
                lock.again |= lock.command.as_ref() == Some(&step.command);
            }
        }
        None
    }

    /// How long it is unclear yet what a pool's own commands do to names: while one is not settled.
    pub fn unsettled(&self, key: &PoolKey, view: &ClusterView, now: Instant) -> Option<Duration> {
        let locks = self.live(view, now);
        let own = locks.names.iter().filter(|((fsid, _), lock)| {
            fsid == view.fsid() && lock.keys.contains(key) && lock.gives_names()
        });
        let quorum = locks.quorums.get(view.fsid());
        own.map(|(_, lock)| lock.left(quorum, now)).max()
    }

    /// The locks that still count, as a view shows.
    fn live(&self, view: &ClusterView, now: Instant) -> MutexGuard<'_, Locks> {
        let mut locks = self.locks();
        if locks.seen.insert(view.fsid().clone()) {
            for (key, name) in locks.everywhere.clone() {
                locks.insert(view.fsid(), &key, &name, None, false);
            }
        }
        let quorum = locks.quorums.get(view.fsid()).cloned();
        locks.names.retain(|(fsid, _), lock| {
            if fsid != view.fsid() {
                return true;
            }
            lock.since.get_or_insert(now);
            !lock.left(quorum.as_ref(), now).is_zero() && !lock.settled(view)
        });
        let wanted = (locks.names.iter()).any(|((fsid, _), lock)| fsid == view.fsid() && lock.held);
        if !wanted {
            locks.quorums.remove(view.fsid());
        }
        locks
    }

    fn locks(&self) -> MutexGuard<'_, Locks> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Locks {
    fn insert(
        &mut self,
        fsid: &Fsid,
        key: &PoolKey,
        name: &PoolName,
        command: Option<&MonCommand>,
        again: bool,
    ) {
        let mut lock = Lock {
            keys: BTreeSet::from([key.clone()]),
            command: command.cloned(),
            since: None,
            again,
            held: command.is_some(),
        };
        let name = (fsid.clone(), name.clone());
        if let Some(before) = self.names.get(&name)
            && before.gives_names()
        {
            if !lock.gives_names() {
                // A late setting is the lesser trouble: what is on its way to change names stays known.
                return;
            }
            lock.again |= lock.command.is_some() && lock.command == before.command;
            lock.held |= before.held;
            if !before.is_of(key) {
                // Each of two may be executed, and in any order.
                lock.keys.extend(before.keys.iter().cloned());
                lock.command = None;
                lock.again = false;
            }
        }
        self.names.insert(name, lock);
    }
}

impl Lock {
    /// Whether nobody else's command may come.
    fn is_of(&self, key: &PoolKey) -> bool {
        self.keys.iter().all(|own| own == key)
    }

    fn gives_names(&self) -> bool {
        self.command.as_ref().is_none_or(gives_names)
    }

    fn left(&self, quorum: Option<&Quorum>, now: Instant) -> Duration {
        let mut since = self.since.unwrap_or(now);
        if let Some(quorum) = quorum.filter(|_| self.held) {
            since = since.max(quorum.whole_since.unwrap_or(now));
        }
        (since + LATE).saturating_duration_since(now)
    }

    /// Whether the pool's own run may send this meanwhile: what was begun does the same when it is sent again. A name
    /// is not removed while a rename to it may come late, and bring another pool. A pool gets its name back from the private
    /// one at once: nobody could use it meanwhile, and a late rename only takes it once more.
    fn lets_pass(&self, command: &MonCommand) -> bool {
        match &self.command {
            None => !matches!(command, MonCommand::PoolRemove { .. }),
            Some(sent) => {
                let same = sent == command || gives_back(command, sent);
                !gives_names(command) || !gives_names(sent) || same
            }
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

/// Whether a second copy of a command, executed late, does harm: a rename takes the name away from whichever pool has it
/// then. Of other commands it does nothing, or means a private name.
fn harms_twice(command: &MonCommand) -> bool {
    matches!(command, MonCommand::PoolRename { from, .. } if !from.is_private())
}

/// Whether a rename gives back the name that another one took away for a private one.
fn gives_back(command: &MonCommand, sent: &MonCommand) -> bool {
    match (command, sent) {
        (
            MonCommand::PoolRename { from, to },
            MonCommand::PoolRename {
                from: name,
                to: private,
            },
        ) => private.is_private() && (from, to) == (private, name),
        _ => false,
    }
}

fn names(command: &MonCommand) -> Vec<&PoolName> {
    match command {
        MonCommand::PoolRename { from, to } => vec![from, to],
        command => command.pools(),
    }
}

#[cfg(test)]
mod tests;
