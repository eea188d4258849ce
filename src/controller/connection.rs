//! Keeps the sessions that `ClusterConnection` objects ask for, and says in their status how they stand.
//!
//! ```text
//!  ClusterConnection ─┐
//!  its Secret ────────┼─► attend: is the open session the one that is asked for? ─► Registry ─► pools
//!  its monitor ───────┘      │ no: open another, check the cluster, swap
//!                            └─► status, written when it says something new
//! ```
//!
//! * `desired`: the spec in the client's terms, the client's errors in a condition's terms; pure
//! * `standing`: how it stands with an open session; pure
//! * `session`: opens, swaps and gives up sessions, by `connect` and an [`Opener`]
//! * `secret`, `follow`: the watch of the one Secret, and of the session's monitor
//! * `report`: finalizer and status

mod connect;
mod desired;
mod follow;
mod open;
mod report;
mod secret;
mod session;
mod slot;
mod standing;
mod tasks;

use std::collections::HashMap;
use std::fmt;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::{FutureExt, StreamExt, stream};
use kube::core::DeserializeGuard;
use kube::runtime::controller::{Action, Config, Controller, Error as ControllerError};
use kube::runtime::events::Reporter;
use kube::runtime::reflector::{ObjectRef, Store};
use kube::runtime::{WatchStreamExt, reflector, watcher};
use kube::{Api, Client, Resource, ResourceExt};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

pub use self::desired::Desired;
pub use self::open::{Opened, Opener, RadosOpener};
use self::slot::Slot;
use self::tasks::Tasks;
use super::backoff::Backoff;
use super::connection_status::PoolUse;
use super::registry::Registry;
use super::registry::nudges::Nudges;
use crate::api::v1alpha1::ClusterConnection;
use crate::lease::Leadership;

/// Under which name the controller writes objects.
const FIELD_MANAGER: &str = "poolwright";
/// Nothing in one look takes longer: every call in it has a shorter limit of its own.
const LOOK_LIMIT: Duration = Duration::from_secs(60);
/// As soon as may be, but not in a busy loop.
const AT_ONCE: Duration = Duration::from_millis(10);
/// Changes of pools and new views are gathered for so long; everything else is acted on at once.
const GATHER: Duration = Duration::from_secs(1);
/// How often sessions of connections that are gone are looked for: the deletion itself may not have been seen.
const SWEEP: Duration = Duration::from_secs(30);
/// What closing all sessions may take in the end.
const CLOSE_LIMIT: Duration = Duration::from_secs(8);

/// A connection as it is watched: one that does not parse must not blind us to the others.
type Guarded = DeserializeGuard<ClusterConnection>;

/// The CephPools that refer to a connection of this name.
pub type PoolUses = Arc<dyn Fn(&str) -> Vec<PoolUse> + Send + Sync>;

/// What the reconciler of connections needs.
#[derive(Clone)]
pub struct ConnectionContext {
    /// The API server.
    pub client: Client,
    /// Who tells events.
    pub reporter: Reporter,
    /// Where sessions are handed out.
    pub registry: Registry,
    /// The CephPools of a connection. Has to know all of them before [`run`] is called, since a new session
    /// must not be behind the epochs they record; [`Registry::nudge`] says that they changed.
    pub pool_uses: PoolUses,
    /// Opens clients: [`RadosOpener`].
    pub opener: Arc<dyn Opener>,
    /// Whether objects are written: without it sessions and views are kept all the same, ready to be used.
    pub leadership: Leadership,
}

impl fmt::Debug for ConnectionContext {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("ConnectionContext")
            .field("registry", &self.registry)
            .finish_non_exhaustive()
    }
}

/// Why a look at a connection did not come to its end.
#[derive(Debug, thiserror::Error)]
enum Error {
    /// The API server refused.
    #[error("cannot {what}")]
    Api {
        /// What was tried.
        what: &'static str,
        /// Why not.
        #[source]
        source: kube::Error,
    },
    /// It took too long.
    #[error("the look at the connection took longer than {} s", LOOK_LIMIT.as_secs())]
    TimedOut,
    /// It panicked.
    #[error("the look at the connection panicked")]
    Panicked,
}

/// What all looks share.
struct Shared {
    client: Client,
    reporter: Reporter,
    registry: Registry,
    pool_uses: PoolUses,
    opener: Arc<dyn Opener>,
    leadership: Leadership,
    reader: Store<Guarded>,
    shutdown: CancellationToken,
    urgent: Arc<Nudges>,
    tasks: Tasks,
    incarnations: AtomicU64,
    slots: Mutex<HashMap<String, Arc<tokio::sync::Mutex<Slot>>>>,
    attempts: Mutex<Backoff>,
    errors: Mutex<Backoff>,
}

/// Looks after all connections until `shutdown`, then closes their sessions.
///
/// Cancel it when the pools' runs have ended: they need the sessions. That it returns earlier is a fault.
pub async fn run(context: ConnectionContext, shutdown: CancellationToken) {
    let ConnectionContext {
        client,
        reporter,
        registry,
        pool_uses,
        opener,
        leadership,
    } = context;
    let (reader, writer) = reflector::store::<Guarded>();
    let shared = Arc::new(Shared {
        client: client.clone(),
        reporter,
        registry,
        pool_uses,
        opener,
        leadership,
        reader: reader.clone(),
        shutdown: shutdown.clone(),
        urgent: Arc::default(),
        tasks: Tasks::default(),
        incarnations: AtomicU64::new(1),
        slots: Mutex::default(),
        attempts: Mutex::default(),
        errors: Mutex::default(),
    });
    let watch = watcher(
        Api::<Guarded>::all(client),
        watcher::Config::default().any_semantic(),
    )
    .modify(|object| object.managed_fields_mut().clear());
    // Deletions too: a connection without a finalizer is simply gone.
    let touched = reflector(writer, watch).default_backoff().touched_objects();
    let triggers = stream::select(
        Arc::clone(&shared.urgent).stream(Duration::ZERO),
        shared.registry.nudges().stream(GATHER),
    );
    let results = Controller::for_stream(touched, reader)
        .with_config(Config::default())
        .reconcile_on(triggers.map(|name| ObjectRef::new(&name)))
        .graceful_shutdown_on(shutdown.cancelled_owned())
        .run(
            reconcile,
            |object, _, shared| again_after_error(&object, &shared),
            Arc::clone(&shared),
        );
    let mut results = pin!(results);
    let mut gained = pin!(shared.leadership.gained().fuse());
    let mut sweep = interval(SWEEP);
    sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            result = results.next() => match result {
                Some(Ok((connection, action))) => tracing::debug!(%connection, ?action, "looked at"),
                Some(Err(ControllerError::ObjectNotFound(connection))) => {
                    shared.forget_if_gone(&connection.name);
                }
                Some(Err(error)) => {
                    tracing::warn!(error = desired::chain(&error), "looking after connections");
                }
                None => break,
            },
            _ = sweep.tick() => for name in shared.names() {
                shared.forget_if_gone(&name);
            },
            // Half of it would look alive.
            () = shared.tasks.broken() => {
                tracing::error!("a task of the connections has ended with a panic");
                return;
            }
            // What was only looked at until now is written.
            () = &mut gained => for object in shared.reader.state() {
                shared.urgent.add(&object.name_any());
            },
        }
    }
    shared.close_all().await;
}

/// One look at one connection. Neither a panic nor a hanging call ends more than this look.
async fn reconcile(object: Arc<Guarded>, shared: Arc<Shared>) -> Result<Action, Error> {
    let look = timeout(LOOK_LIMIT, shared.look(&object));
    let action = match AssertUnwindSafe(look).catch_unwind().await {
        Ok(Ok(result)) => result?,
        Ok(Err(_)) => return Err(Error::TimedOut),
        Err(_) => return Err(Error::Panicked),
    };
    shared.errors().clear(&uid(object.as_ref()));
    Ok(action)
}

fn again_after_error(object: &Guarded, shared: &Shared) -> Action {
    Action::requeue(shared.errors().failed(&uid(object), jitter()))
}

impl Shared {
    async fn look(&self, object: &Guarded) -> Result<Action, Error> {
        let name = object.name_any();
        let slot = self.slot(&name, &uid(object));
        let mut slot = slot.lock().await;
        if slot.uid != uid(object) {
            self.end(&mut slot);
            *slot = Slot::new(uid(object), Instant::now());
        }
        let uses = (self.pool_uses)(&name);
        let held = uses.iter().any(|pool| pool.has_finalizer);
        if object.meta().deletion_timestamp.is_some() && !held {
            // Whatever the spec says: what cannot be read must be deletable too.
            self.registry.remove(&name);
            self.end(&mut slot);
            self.release(object.meta(), &mut slot).await?;
            return Ok(Action::await_change());
        }
        let held_for_now = self.keep_finalizer(object.meta(), &mut slot, held).await?;
        let connection = match &object.0 {
            Ok(connection) => connection,
            Err(invalid) => return self.report_unparsable(&name, invalid, &mut slot).await,
        };
        let slot = &mut *slot;
        let Some(attended) = self.attend(connection, slot).await else {
            return Ok(Action::requeue(AT_ONCE));
        };
        let report = self
            .report(connection, slot, &attended.standing, &uses)
            .await?;
        let resync = session::resync(connection).mul_f64(1.0 - 0.1 * jitter());
        let now = Instant::now();
        let next = [attended.again, held_for_now, report]
            .into_iter()
            .flatten()
            .min();
        let wait = next.map_or(resync, |next| {
            next.saturating_duration_since(now).min(resync)
        });
        Ok(Action::requeue(wait.max(AT_ONCE)))
    }

    /// The slot of a connection, made when it is first asked for.
    fn slot(&self, name: &str, uid: &str) -> Arc<tokio::sync::Mutex<Slot>> {
        let mut slots = self.slots();
        let slot = slots.entry(name.to_owned()).or_insert_with(|| {
            Arc::new(tokio::sync::Mutex::new(Slot::new(
                uid.to_owned(),
                Instant::now(),
            )))
        });
        Arc::clone(slot)
    }

    /// Ends what was kept for a connection that is no more. One that is just being looked at waits for the next sweep.
    fn forget_if_gone(&self, name: &str) {
        if self.reader.get(&ObjectRef::new(name)).is_some() {
            return;
        }
        let mut slots = self.slots();
        if let Some(slot) = slots.get(name).map(Arc::clone)
            && let Ok(mut slot) = slot.try_lock()
        {
            slots.remove(name);
            self.registry.remove(name);
            self.end(&mut slot);
        }
    }

    /// Ends the session and the watch of the Secret, and forgets the failures.
    fn end(&self, slot: &mut Slot) {
        self.retire(slot.live.take());
        slot.secret = None;
        slot.attempt = None;
        self.attempts().clear(&slot.uid);
        self.errors().clear(&slot.uid);
    }

    /// Ends everything.
    async fn close_all(&self) {
        for name in self.names() {
            let Some(slot) = self.slots().remove(&name) else {
                continue;
            };
            self.registry.remove(&name);
            self.end(&mut *slot.lock().await);
        }
        if !self.tasks.ended(CLOSE_LIMIT).await {
            tracing::warn!("not all sessions with monitors closed in time");
        }
    }

    fn names(&self) -> Vec<String> {
        self.slots().keys().cloned().collect()
    }

    fn slots(&self) -> MutexGuard<'_, HashMap<String, Arc<tokio::sync::Mutex<Slot>>>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn attempts(&self) -> MutexGuard<'_, Backoff> {
        self.attempts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn errors(&self) -> MutexGuard<'_, Backoff> {
        self.errors.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn uid(object: &Guarded) -> String {
    object.meta().uid.clone().unwrap_or_default()
}

/// A random number from 0 to 1.
fn jitter() -> f64 {
    let (random, _) = uuid::Uuid::new_v4().as_u64_pair();
    let bits = u32::try_from(random >> 32).unwrap_or_default();
    f64::from(bits) / f64::from(u32::MAX)
}
