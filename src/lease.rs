//! Which of several replicas acts: the one that holds a `Lease` of `coordination.k8s.io/v1`.
//!
//! ```text
//!  Lease ◄─► Leadership::keep ─► held until ─► Leadership::holds ─► every write to the API server,
//!                │                                                  every command that changes something
//!                └─ lost: the process ends
//! ```
//!
//! As Kubernetes' own controllers do it: the holder renews every 2 s and acts no more when it could not for 10 s; the
//! others take the lease when it did not change for 15 s by their own clock. Every write of it carries the
//! resourceVersion that was read, so of two that try, one succeeds. [`candidate`] decides, this file reads and writes.
//!
//! What a lease cannot do is call back what was sent: a command of the last holder may be executed while the next one
//! is at work. That is why every command is harmless when it is late (private names, idempotent forms), with leader
//! election or without.

pub mod candidate;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::PostParams;
use kube::{Api, Client};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use self::candidate::{Action, Candidate, Draft, Loss, Moment, Record, Timing};

/// What the lease is called.
pub const NAME: &str = "poolwright";

/// How the replicas elect one of them.
#[derive(Clone, Debug, Default)]
pub struct Election {
    /// The namespace of the lease; by default the one the controller runs in.
    pub namespace: Option<String>,
    /// How long things take.
    pub timing: Timing,
}

/// The lease is lost: this process may do nothing more.
#[derive(Debug, thiserror::Error)]
#[error("lost the lease {namespace}/{NAME}, by which replicas elect the one that acts: {loss}")]
pub struct Lost {
    namespace: String,
    loss: Loss,
}

/// Whether this replica is the one that acts, at this moment. Cheap to clone; all clones are the same.
#[derive(Clone, Debug)]
pub struct Leadership(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// The name in the lease; none where there is no election.
    identity: Option<String>,
    started: Moment,
    /// Microseconds after the start; 0 when the lease is not ours.
    held_until: AtomicU64,
    gained: CancellationToken,
}

impl Leadership {
    /// Of a replica that is the only one, and always acts.
    pub fn alone() -> Self {
        let alone = Self::new(None);
        alone.hold(Duration::from_micros(u64::MAX));
        alone
    }

    /// Of a replica that acts when it has the lease. No other process ever has its name.
    pub fn candidate() -> Self {
        let pod = std::env::var("POD_NAME").ok();
        let host = || std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
        let name = pod.or_else(host).unwrap_or_default();
        let mut word = uuid::Uuid::new_v4().simple().to_string();
        word.truncate(8);
        Self::new(Some(format!("{}_{word}", name.trim())))
    }

    fn new(identity: Option<String>) -> Self {
        Self(Arc::new(Inner {
            identity,
            started: clock(),
            held_until: AtomicU64::new(0),
            gained: CancellationToken::new(),
        }))
    }

    /// Whether this replica may act at this very moment. It goes by the clock: a process that was stopped for longer
    /// than the lease is told so by its first look, before anything has been noticed.
    pub fn holds(&self) -> bool {
        let until = self.0.held_until.load(Ordering::Acquire);
        self.now() < Duration::from_micros(until)
    }

    /// Waits until this replica may act for the first time. That it may not any more ends the process.
    pub async fn gained(&self) {
        self.0.gained.cancelled().await;
    }

    /// The name in the lease; none where there is no election.
    pub fn identity(&self) -> Option<&str> {
        self.0.identity.as_deref()
    }

    fn now(&self) -> Moment {
        clock().saturating_sub(self.0.started)
    }

    fn hold(&self, until: Moment) {
        let micros = u64::try_from(until.as_micros()).unwrap_or(u64::MAX);
        self.0.held_until.store(micros, Ordering::Release);
        self.0.gained.cancel();
    }

    /// Gained or lost by a test.
    #[cfg(test)]
    pub(crate) fn set(&self, leads: bool) {
        if leads {
            self.hold(Duration::from_micros(u64::MAX));
        } else {
            self.give_up();
        }
    }

    fn give_up(&self) {
        self.0.held_until.store(0, Ordering::Release);
    }

    /// Gets the lease and keeps it until `leave`, then lets go of it, so that another takes over at once. Where there
    /// is no election, only waits for `leave`.
    ///
    /// # Errors
    ///
    /// When the lease is lost. Nothing more may be done then, and by [`Leadership::holds`] nothing more is.
    pub async fn keep(
        self,
        client: Client,
        election: Election,
        leave: CancellationToken,
    ) -> Result<(), Lost> {
        let Some(me) = self.0.identity.clone() else {
            leave.cancelled().await;
            return Ok(());
        };
        let namespace = election
            .namespace
            .unwrap_or_else(|| client.default_namespace().to_owned());
        tracing::info!(lease = %format_args!("{namespace}/{NAME}"), identity = me, "standing by for the lease");
        let mut keeper = Keeper {
            file: LeaseFile {
                api: Api::namespaced(client, &namespace),
                limit: election.timing.call_limit(),
                newest: None,
            },
            candidate: Candidate::new(me, election.timing),
            told: None,
            leadership: self.clone(),
        };
        let ended = keeper.work(&leave).await;
        self.give_up();
        ended.map_err(|loss| Lost { namespace, loss })
    }
}

/// The clock that goes on while the machine sleeps: a lease runs out meanwhile, and what wakes up must know. (That of
/// [`std::time::Instant`] stands still then.)
fn clock() -> Moment {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    Duration::new(
        u64::try_from(now.tv_sec).unwrap_or_default(),
        u32::try_from(now.tv_nsec).unwrap_or_default(),
    )
}

/// The loop around the decisions.
struct Keeper {
    leadership: Leadership,
    candidate: Candidate,
    file: LeaseFile,
    /// The holder that the log told of last.
    told: Option<String>,
}

impl Keeper {
    async fn work(&mut self, leave: &CancellationToken) -> Result<(), Loss> {
        loop {
            let now = self.leadership.now();
            match self.candidate.decide(now, leave.is_cancelled()) {
                Action::Wait(pause) => tokio::select! {
                    () = sleep(pause) => {}
                    () = leave.cancelled() => {}
                },
                Action::Look => match self.file.read().await {
                    Ok(found) => self.candidate.saw(self.leadership.now(), found),
                    Err(failure) => self.failed(&failure),
                },
                Action::Acquire(draft) | Action::Renew(draft) => {
                    match self.file.write(draft).await {
                        Ok(written) => self.candidate.wrote(now, written),
                        Err(failure) => self.failed(&failure),
                    }
                    if let Some(until) = self.candidate.held_until() {
                        self.leadership.hold(until);
                    }
                }
                Action::Release(draft) => {
                    // First nothing is done any more, then the lease is let go of.
                    self.leadership.give_up();
                    match self.file.write(draft).await {
                        Ok(_) => tracing::info!("let go of the lease"),
                        Err(failure) => tracing::warn!(
                            %failure,
                            "cannot let go of the lease; another replica takes it when it has expired"
                        ),
                    }
                    return Ok(());
                }
                Action::Leave => return Ok(()),
                Action::Lost(loss) => return Err(loss),
            }
            self.tell();
        }
    }

    fn failed(&mut self, failure: &Failure) {
        if let Failure::Conflict = failure {
            self.candidate.conflicted();
            return;
        }
        tracing::warn!(%failure, "cannot read or write the lease; trying again");
        self.candidate.failed(self.leadership.now());
    }

    /// Says who acts, when it is another one than before.
    fn tell(&mut self) {
        let holder = self.candidate.holder();
        if holder == self.told.as_deref() {
            return;
        }
        match holder {
            Some(holder) if self.leadership.identity() == Some(holder) => {
                tracing::info!(leader = holder, "this replica leads");
            }
            Some(holder) => tracing::info!(leader = holder, "another replica leads"),
            None => tracing::info!("no replica leads"),
        }
        self.told = holder.map(str::to_owned);
    }
}

/// Why the lease was not read or written.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("somebody else wrote it first")]
    Conflict,
    #[error("the API server did not answer")]
    NoAnswer,
    #[error(transparent)]
    Api(Box<kube::Error>),
}

impl From<kube::Error> for Failure {
    fn from(error: kube::Error) -> Self {
        match error {
            kube::Error::Api(answer) if answer.is_conflict() => Self::Conflict,
            error => Self::Api(Box::new(error)),
        }
    }
}

/// The lease at the API server.
struct LeaseFile {
    api: Api<Lease>,
    limit: Duration,
    newest: Option<Lease>,
}

impl LeaseFile {
    async fn read(&mut self) -> Result<Option<Record>, Failure> {
        let found = timeout(self.limit, self.api.get_opt(NAME)).await;
        self.newest = found.map_err(|_| Failure::NoAnswer)??;
        Ok(self.newest.as_ref().map(record))
    }

    /// Writes it over the version that was seen last, or makes it where there was none.
    async fn write(&mut self, draft: Draft) -> Result<Record, Failure> {
        let written = timeout(self.limit, self.put(draft)).await;
        let lease = written.map_err(|_| Failure::NoAnswer)??;
        let record = record(&lease);
        self.newest = Some(lease);
        Ok(record)
    }

    async fn put(&self, draft: Draft) -> Result<Lease, kube::Error> {
        let now = MicroTime(Timestamp::now());
        let parameters = PostParams {
            field_manager: Some(NAME.to_owned()),
            ..PostParams::default()
        };
        let before = self.newest.as_ref().and_then(|lease| lease.spec.as_ref());
        let acquired = before.and_then(|before| before.acquire_time.clone());
        let spec = LeaseSpec {
            acquire_time: acquired
                .filter(|_| !draft.changes_hands)
                .or_else(|| Some(now.clone())),
            renew_time: Some(now),
            lease_duration_seconds: i32::try_from(draft.seconds).ok(),
            lease_transitions: Some(draft.transitions),
            holder_identity: Some(draft.holder),
            ..before.cloned().unwrap_or_default()
        };
        let mut lease = self.newest.clone().unwrap_or_default();
        lease.spec = Some(spec);
        lease.metadata.name = Some(NAME.to_owned());
        lease.metadata.managed_fields = None;
        if self.newest.is_some() {
            self.api.replace(NAME, &parameters, &lease).await
        } else {
            self.api.create(&parameters, &lease).await
        }
    }
}

fn record(lease: &Lease) -> Record {
    let spec = lease.spec.clone().unwrap_or_default();
    Record {
        version: lease.metadata.resource_version.clone().unwrap_or_default(),
        holder: spec.holder_identity.unwrap_or_default(),
        seconds: spec
            .lease_duration_seconds
            .and_then(|seconds| u32::try_from(seconds).ok()),
        transitions: spec.lease_transitions.unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests;
