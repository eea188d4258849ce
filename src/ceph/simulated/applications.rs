//! `osd pool application enable`, `set` and `rm`.

use super::pending::Pending;
use super::reply::{Accepted, Answer, EINVAL, ENOENT, EPERM, Refusal, refuse};
use crate::ceph::command::MonCommand;
use crate::ceph::osd_map::Pool;
use crate::ceph::types::PoolName;

/// Applications of a pool.
const MAX_APPLICATIONS: usize = 4;
/// Keys of an application.
const MAX_KEYS: usize = 64;
/// Bytes of a key, a value or an application's name.
const MAX_LENGTH: usize = 128;

impl Pending<'_> {
    /// Monitors check these twice: first against the committed pool, where an error is
    /// answered and nothing to do ends it, then against the pending one.
    pub(super) fn application(&mut self, command: &MonCommand) -> Answer {
        let Some(name) = command.pools().first().copied() else {
            return refuse(EINVAL, "no pool");
        };
        let id = self.known(name)?;
        let mut committed = self.committed_pool(id)?.clone();
        if let nothing @ Accepted::Nothing(_) = apply(&mut committed, name, command)? {
            return Ok(nothing);
        }
        let mut pool = self.pending_pool(id)?.clone();
        let text = match apply(&mut pool, name, command)? {
            Accepted::Proposed(text) => {
                self.changes.pools.insert(id, pool);
                text
            }
            // It waits for the proposal that is on its way.
            Accepted::Nothing(text) => text,
        };
        Ok(Accepted::Proposed(text))
    }
}

fn apply(pool: &mut Pool, name: &PoolName, command: &MonCommand) -> Answer {
    match command {
        MonCommand::ApplicationEnable {
            application,
            confirmed,
            ..
        } => enable(pool, name, application, *confirmed),
        MonCommand::ApplicationSet {
            application,
            key,
            value,
            ..
        } => set(pool, name, application, key, value),
        MonCommand::ApplicationRemove {
            application, key, ..
        } => remove(pool, name, application, key),
        _ => refuse(EINVAL, "command not known"),
    }
}

fn enable(pool: &mut Pool, name: &PoolName, application: &str, confirmed: bool) -> Answer {
    if application.is_empty() {
        return refuse(EINVAL, "application name must be provided");
    }
    let exists = pool.applications.contains_key(application);
    if !exists && !pool.applications.is_empty() && !confirmed {
        return refuse(
            EPERM,
            format!(
                "Are you SURE? Pool '{name}' already has an enabled application; \
                 pass --yes-i-really-mean-it to proceed anyway"
            ),
        );
    }
    if !exists && pool.applications.len() >= MAX_APPLICATIONS {
        return refuse(
            EINVAL,
            format!("too many enabled applications on pool '{name}'; max {MAX_APPLICATIONS}"),
        );
    }
    short("application name", application, application)?;
    pool.applications.entry(application.to_owned()).or_default();
    Ok(Accepted::Proposed(format!(
        "enabled application '{application}' on pool '{name}'"
    )))
}

fn set(pool: &mut Pool, name: &PoolName, application: &str, key: &str, value: &str) -> Answer {
    not_all("key", key)?;
    not_all("value", value)?;
    let Some(keys) = pool.applications.get_mut(application) else {
        return not_enabled(name, application);
    };
    if key.is_empty() {
        return refuse(EINVAL, "key must be provided");
    }
    if !keys.contains_key(key) && keys.len() >= MAX_KEYS {
        return refuse(
            EINVAL,
            format!(
                "too many keys set for application '{application}' on pool '{name}'; max {MAX_KEYS}"
            ),
        );
    }
    // For a key that is too long they name the application.
    short("key", key, application)?;
    short("value", value, value)?;
    keys.insert(key.to_owned(), value.to_owned());
    Ok(Accepted::Proposed(format!(
        "set application '{application}' key '{key}' to '{value}' on pool '{name}'"
    )))
}

fn remove(pool: &mut Pool, name: &PoolName, application: &str, key: &str) -> Answer {
    not_all("key", key)?;
    let Some(keys) = pool.applications.get_mut(application) else {
        return not_enabled(name, application);
    };
    if keys.remove(key).is_none() {
        return Ok(Accepted::Nothing(format!(
            "application '{application}' on pool '{name}' does not have key '{key}'"
        )));
    }
    Ok(Accepted::Proposed(format!(
        "removed application '{application}' key '{key}' on pool '{name}'"
    )))
}

fn not_enabled(name: &PoolName, application: &str) -> Answer {
    refuse(
        ENOENT,
        format!("application '{application}' is not enabled on pool '{name}'"),
    )
}

/// `all` has a meaning of its own in the command that reads.
fn not_all(what: &str, word: &str) -> Result<(), Refusal> {
    if word == "all" {
        return refuse(EINVAL, format!("{what} cannot be 'all'"));
    }
    Ok(())
}

fn short(what: &str, word: &str, named: &str) -> Result<(), Refusal> {
    if word.len() > MAX_LENGTH {
        return refuse(
            EINVAL,
            format!("{what} '{named}' too long; max length {MAX_LENGTH}"),
        );
    }
    Ok(())
}
