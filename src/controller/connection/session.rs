//! Sees to it that the open session is the one that the spec and the Secret ask for.
//!
//! A new client is opened beside the old one and takes its place when it is proven to reach the right cluster, so that
//! a rotated key disturbs nobody. Where it fails, the old one goes too: it is not what the spec says any more.

use std::sync::Arc;
use std::time::Duration;

use kube::runtime::reflector::ObjectRef;
use kube::{Resource, ResourceExt};
use tokio::time::{Instant, sleep};

use super::Shared;
use super::desired::{self, Desired, pinned};
use super::follow::Follower;
use super::secret::{SecretState, SecretWatch};
use super::slot::{Attempt, Live, Slot};
use super::standing::judge;
use crate::api::conditions::Reason;
use crate::api::v1alpha1::{ANNOTATION_CONFIRM, ClusterConnection};
use crate::ceph::types::{Epoch, Fsid};
use crate::controller::connection_status::{Problem, Standing};
use crate::controller::keyring;
use crate::controller::registry::{Known, NoSession, Session};
use crate::monitor::{Contact, NotUsable};
use crate::request::token::{Answer, AskedToken, Confirmations, Danger, parse};

/// A client that has not reached the monitors for so long is tried anew: an address may have come to mean another
/// host, or the key may be no more, and librados says neither.
const LOST_TOO_LONG: Duration = Duration::from_secs(30);
/// How often it is looked whether an attempt is still what is asked for.
const OUTDATED_EVERY: Duration = Duration::from_millis(200);

/// How it stands, and when to look again at the latest.
pub(super) struct Attended {
    /// How it stands.
    pub(super) standing: Standing,
    /// When the next attempt is due.
    pub(super) again: Option<Instant>,
}

impl Attended {
    fn now(standing: Standing) -> Self {
        Self {
            standing,
            again: None,
        }
    }
}

/// What the spec and the Secret ask for.
enum Wanted {
    /// A client opened with this.
    Client(Desired),
    /// That is not known yet.
    Unknown,
}

impl Shared {
    /// Makes the session what it should be, and says how it stands; nothing if what it should be changed meanwhile.
    pub(super) async fn attend(
        &self,
        connection: &ClusterConnection,
        slot: &mut Slot,
    ) -> Option<Attended> {
        let name = connection.name_any();
        let known = Known {
            spec: Arc::new(connection.spec.clone()),
            fsid: pinned(&connection.spec, &slot.status(connection))
                .or_else(|| slot.first_contact.clone()),
        };
        self.registry.tell(&name, known);
        let desired = match self.wanted(connection, slot).await {
            Ok(Wanted::Client(desired)) => desired,
            Ok(Wanted::Unknown) => return Some(Attended::now(self.before_the_key(&name, slot))),
            Err(problem) => {
                slot.attempt = None;
                self.give_up(&name, slot, &problem);
                return Some(Attended::now(Standing::Failed(problem)));
            }
        };
        let status = slot.status(connection);
        let expected = pinned(&connection.spec, &status).or_else(|| slot.first_contact.clone());
        if let (Some(live), Some(expected)) = (&slot.live, &expected)
            && live.session.fsid != *expected
        {
            // Nothing more is sent to the old cluster under a spec that names another.
            let message = "another cluster is being connected to".to_owned();
            let reason = Reason::Connecting;
            self.registry.refuse(&name, &NoSession { reason, message });
            self.retire(slot.live.take());
        }
        self.keep_spec(connection, slot);
        let accepted = accepts_older_map(connection, slot);
        if !self.registry.takes_renewal(&name)
            && !accepted
            && let Some(mut attended) = as_it_is(slot, &desired, expected.as_ref())
        {
            how_to_accept(connection, slot, &mut attended.standing);
            if matches!(attended.standing, Standing::Connected { .. }) {
                slot.attempt = None;
                self.attempts().clear(&slot.uid);
            }
            return Some(attended);
        }
        if let Some(attempt) = &slot.attempt
            && !attempt.is_of(&desired, expected.as_ref())
        {
            slot.attempt = None;
            self.attempts().clear(&slot.uid);
        }
        let outdated = self.outdated(connection, slot);
        // An attempt with what was wrong may take long, and what is right is waiting.
        let attempt = tokio::select! {
            attempt = self.connect(connection, slot, &desired, expected.as_ref()) => attempt,
            () = outdated => return None,
        };
        Some(match attempt {
            Ok(live) => {
                let session = Arc::clone(&live.session);
                let old = slot.live.replace(live);
                slot.first_contact = Some(session.fsid.clone());
                slot.attempt = None;
                self.attempts().clear(&slot.uid);
                tracing::info!(connection = name, fsid = %session.fsid, "connected");
                let follower = Follower::new(&session);
                self.registry.open(Arc::clone(&session));
                let (registry, urgent) = (self.registry.clone(), Arc::clone(&self.urgent));
                let tasks = self.tasks.clone();
                self.tasks.spawn(async move {
                    if !follower.follow(registry, urgent).await {
                        tasks.give_up();
                    }
                });
                self.retire(old);
                let mut standing = stand(&session);
                how_to_accept(connection, slot, &mut standing);
                Attended::now(standing)
            }
            Err(problem) => self.failed(&name, slot, desired, expected, problem),
        })
    }

    /// Waits until the connection or its Secret is not what it was any more, or nothing is wanted any more.
    fn outdated(
        &self,
        connection: &ClusterConnection,
        slot: &Slot,
    ) -> impl Future<Output = ()> + use<> {
        let reader = self.reader.clone();
        let reference = ObjectRef::new(&connection.name_any());
        let generation = connection.metadata.generation;
        let secret = slot.secret.as_ref().map(SecretWatch::changed);
        let shutdown = self.shutdown.clone();
        async move {
            let spec = async {
                // The store wakes nobody; a look costs nothing.
                while reader
                    .get(&reference)
                    .is_some_and(|object| object.meta().generation == generation)
                {
                    sleep(OUTDATED_EVERY).await;
                }
            };
            let key = async {
                match secret {
                    Some(changed) => changed.await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = spec => {}
                () = key => {}
                () = shutdown.cancelled() => {}
            }
        }
    }

    /// How it stands until the Secret has been read: with the session there is, if there is one.
    fn before_the_key(&self, name: &str, slot: &Slot) -> Standing {
        if let Some(live) = &slot.live {
            return stand(&live.session);
        }
        let message = "reading the Secret with the key".to_owned();
        self.registry.refuse(
            name,
            &NoSession {
                reason: Reason::Connecting,
                message: message.clone(),
            },
        );
        Standing::Connecting { message }
    }

    /// What the spec and the Secret ask for, or why that is nothing that can be tried.
    async fn wanted(
        &self,
        connection: &ClusterConnection,
        slot: &mut Slot,
    ) -> Result<Wanted, Problem> {
        slot.check(connection)?;
        let spec = &connection.spec;
        let reference = &spec.key_secret_ref;
        if !slot
            .secret
            .as_ref()
            .is_some_and(|watch| watch.is_of(reference))
        {
            slot.secret = None;
        }
        let watch = slot.secret.get_or_insert_with(|| {
            SecretWatch::start(
                self.client.clone(),
                reference,
                &connection.name_any(),
                Arc::clone(&self.urgent),
                &self.tasks,
            )
        });
        let data = match watch.state().await {
            SecretState::Pending => return Ok(Wanted::Unknown),
            SecretState::Unreadable(error) => {
                return Err(Problem::new(
                    Reason::SecretNotFound,
                    format!(
                        "Secret {}/{} cannot be read: {error}; allow the controller to list and watch it",
                        reference.namespace, reference.name
                    ),
                ));
            }
            SecretState::Absent => None,
            SecretState::Present(data) => Some(data),
        };
        let key = keyring::key_of(data.as_ref(), reference, &spec.user)?;
        Ok(Wanted::Client(Desired::new(spec, key)))
    }

    /// Hands out the same session under the present spec.
    fn keep_spec(&self, connection: &ClusterConnection, slot: &mut Slot) {
        let Some(live) = &mut slot.live else { return };
        if *live.session.spec == connection.spec {
            return;
        }
        let old = &live.session;
        live.session = Arc::new(Session {
            name: old.name.clone(),
            spec: Arc::new(connection.spec.clone()),
            fsid: old.fsid.clone(),
            client: Arc::clone(&old.client),
            monitor: old.monitor.clone(),
            incarnation: old.incarnation,
            floor: Arc::clone(&old.floor),
            release: old.release.clone(),
            closed: old.closed.clone(),
        });
        self.registry.open(Arc::clone(&live.session));
    }

    /// Notes a failed attempt, and gives up the session that is not what the spec asks for.
    fn failed(
        &self,
        name: &str,
        slot: &mut Slot,
        desired: Desired,
        pinned: Option<Fsid>,
        problem: Problem,
    ) -> Attended {
        let wait = self.attempts().failed(&slot.uid, super::jitter());
        tracing::warn!(connection = name, reason = problem.reason.as_str(), wait = ?wait, "not connected: {problem}");
        let keeps = problem.reason != Reason::FsidMismatch
            && slot
                .live
                .as_ref()
                .is_some_and(|live| live.desired == desired);
        let retry_at = Instant::now() + wait;
        if !keeps {
            self.give_up(name, slot, &problem);
        }
        slot.attempt = Some(Attempt {
            desired,
            pinned,
            problem: problem.clone(),
            retry_at,
        });
        Attended {
            standing: Standing::Failed(problem),
            again: Some(retry_at),
        }
    }

    /// Hands out no session any more, and says why.
    pub(super) fn give_up(&self, name: &str, slot: &mut Slot, problem: &Problem) {
        self.registry.refuse(
            name,
            &NoSession {
                reason: problem.reason,
                message: problem.message.clone(),
            },
        );
        self.retire(slot.live.take());
    }

    /// Ends a session in the background: what is in flight on it keeps its deadline.
    pub(super) fn retire(&self, live: Option<Live>) {
        let Some(Live {
            desired: _,
            session,
            close,
            stop,
        }) = live
        else {
            return;
        };
        drop(stop);
        drop(session);
        self.tasks.spawn(close);
    }
}

/// How it stands, if there is nothing to be tried now.
fn as_it_is(slot: &Slot, desired: &Desired, expected: Option<&Fsid>) -> Option<Attended> {
    let now = Instant::now();
    let waiting = slot
        .attempt
        .as_ref()
        .filter(|attempt| attempt.is_of(desired, expected) && now < attempt.retry_at);
    let live = slot.live.as_ref().filter(|live| {
        live.desired == *desired && expected.is_none_or(|fsid| *fsid == live.session.fsid)
    });
    let Some(live) = live else {
        return waiting.map(|attempt| Attended {
            standing: Standing::Failed(attempt.problem.clone()),
            again: Some(attempt.retry_at),
        });
    };
    let standing = stand(&live.session);
    let retry_at = match live.session.monitor.snapshot().contact {
        Contact::Lost { since, .. } => since + LOST_TOO_LONG,
        Contact::OtherCluster { .. } => now,
        Contact::Connecting
        | Contact::Connected
        | Contact::MapUnreadable { .. }
        | Contact::WentBack { .. } => return Some(Attended::now(standing)),
    };
    match waiting {
        // The attempt may have found a better reason than silence.
        Some(attempt) => Some(Attended {
            standing: Standing::Failed(attempt.problem.clone()),
            again: Some(attempt.retry_at),
        }),
        None if retry_at > now => Some(Attended {
            standing,
            again: Some(retry_at),
        }),
        None => None,
    }
}

/// The epoch that was recorded or seen before, where the map is behind it.
fn behind(slot: &Slot) -> Option<Epoch> {
    let session = &slot.live.as_ref()?.session;
    if let Contact::WentBack { had, .. } = session.monitor.snapshot().contact {
        return Some(had.max(session.floor.get()));
    }
    let usable = session
        .monitor
        .usable_view(Instant::now(), Duration::MAX, session.floor.get());
    match usable {
        Err(NotUsable::WentBack { floor, .. }) => Some(floor),
        _ => None,
    }
}

/// The token by which a person confirms that a map that went back is what it should be.
fn token(connection: &ClusterConnection, slot: &Slot, had: Epoch) -> Option<AskedToken> {
    let fsid = &slot.live.as_ref()?.session.fsid;
    let confirmations = Confirmations {
        uid: connection.uid().unwrap_or_default(),
        ..Confirmations::default()
    };
    let danger = Danger::new("epochWentBack", format!("{fsid} from {had}"));
    match confirmations.answer(&[], &danger, None, 0) {
        Answer::Needed(asked) => Some(asked),
        Answer::Confirmed(_) => None,
    }
}

/// Whether a person has confirmed that the map may be older than it was. Then the session is opened anew, and knows nothing
/// of the epochs before.
fn accepts_older_map(connection: &ClusterConnection, slot: &mut Slot) -> bool {
    let Some(had) = behind(slot) else {
        return false;
    };
    let given = connection.annotations().get(ANNOTATION_CONFIRM);
    let given = given.map(|text| parse(text)).unwrap_or_default();
    let confirmed = token(connection, slot, had).is_some_and(|asked| given.contains(&asked.token));
    if confirmed {
        tracing::warn!(
            connection = connection.name_any(),
            had = had.0,
            "the OSD map has gone back, and a person has confirmed that it may"
        );
        slot.confirmed = Some(had);
    }
    confirmed
}

/// Adds the command by which a person confirms it.
fn how_to_accept(connection: &ClusterConnection, slot: &Slot, standing: &mut Standing) {
    let Standing::Failed(problem) = standing else {
        return;
    };
    if problem.reason != Reason::EpochWentBack {
        return;
    }
    if let Some(asked) = behind(slot).and_then(|had| token(connection, slot, had)) {
        problem.message = format!(
            "{}; if it is, confirm it: `kubectl annotate clusterconnection {} {ANNOTATION_CONFIRM}={} --overwrite`",
            problem.message,
            connection.name_any(),
            asked.token
        );
    }
}

/// How it stands with an open session.
fn stand(session: &Session) -> Standing {
    let usable = session
        .monitor
        .usable_view(Instant::now(), Duration::MAX, session.floor.get());
    judge(
        &session.monitor.snapshot().contact,
        usable.err().as_ref(),
        &session.spec,
    )
}

/// How often a connection in good order is looked at without any sign of change.
pub(super) fn resync(connection: &ClusterConnection) -> Duration {
    desired::resync(&connection.spec)
}
