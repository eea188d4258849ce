//! Watches exactly the one Secret that a connection refers to, so that a rotated key is used at once and no other
//! Secret is ever read.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client};
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::desired::chain;
use super::tasks::Tasks;
use crate::api::v1alpha1::SecretKeyRef;
use crate::controller::registry::nudges::Nudges;

/// So long a first answer is waited for: until then nothing new can be said of the connection.
const FIRST_ANSWER: Duration = Duration::from_secs(5);

/// What is known of the Secret.
#[derive(Clone, PartialEq)]
pub(super) enum SecretState {
    /// Nothing yet.
    Pending,
    /// The API server does not let it be read, and why.
    Unreadable(String),
    /// It is not there.
    Absent,
    /// What is in it.
    Present(BTreeMap<String, ByteString>),
}

impl fmt::Debug for SecretState {
    /// Never shows what is in it.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Pending => "Pending",
            Self::Unreadable(_) => "Unreadable",
            Self::Absent => "Absent",
            Self::Present(_) => "Present(…)",
        })
    }
}

/// The watch of one Secret. Ends when it is dropped.
pub(super) struct SecretWatch {
    namespace: String,
    name: String,
    state: watch::Receiver<SecretState>,
    _stop: DropGuard,
}

impl SecretWatch {
    /// Starts watching. Each change of the content has the connection looked at.
    pub(super) fn start(
        client: Client,
        reference: &SecretKeyRef,
        connection: &str,
        changed: Arc<Nudges>,
        tasks: &Tasks,
    ) -> Self {
        let stop = CancellationToken::new();
        let (sender, state) = watch::channel(SecretState::Pending);
        let api = Api::namespaced(client, &reference.namespace);
        let name = reference.name.clone();
        let connection = connection.to_owned();
        let stopped = stop.clone();
        tasks.spawn(async move {
            let watching = keep_watching(api, &name, |next| {
                let differs = sender.send_if_modified(|state| {
                    let differs = *state != next;
                    *state = next;
                    differs
                });
                if differs {
                    changed.add(&connection);
                }
            });
            stopped.run_until_cancelled(watching).await;
        });
        Self {
            namespace: reference.namespace.clone(),
            name: reference.name.clone(),
            state,
            _stop: stop.drop_guard(),
        }
    }

    /// Whether it watches the Secret of this reference.
    pub(super) fn is_of(&self, reference: &SecretKeyRef) -> bool {
        self.namespace == reference.namespace && self.name == reference.name
    }

    /// What is known; just after the start that takes a moment, and is waited for.
    pub(super) async fn state(&mut self) -> SecretState {
        let known = self.state.wait_for(|state| *state != SecretState::Pending);
        // Late, or the watch has ended: what there is, is said.
        let _ = timeout(FIRST_ANSWER, known).await;
        self.state.borrow_and_update().clone()
    }

    /// Waits until it is not what [`Self::state`] said last.
    pub(super) fn changed(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut state = self.state.clone();
        async move {
            if state.changed().await.is_err() {
                // The watch has ended, and with it the connection's place here.
                std::future::pending::<()>().await;
            }
        }
    }
}

/// Follows the Secret for ever; the watch heals itself, with a backoff.
async fn keep_watching(api: Api<Secret>, name: &str, mut publish: impl FnMut(SecretState)) {
    // The name has been checked: it cannot carry a selector of its own.
    let only = watcher::Config::default().fields(&format!("metadata.name={name}"));
    let mut events = std::pin::pin!(watcher(api, only).default_backoff());
    let mut known = false;
    let mut listed = None;
    while let Some(event) = events.next().await {
        match event {
            Ok(Event::Init) => listed = None,
            Ok(Event::InitApply(secret)) => listed = Some(secret),
            Ok(Event::InitDone) => {
                known = true;
                publish(listed.take().map_or(SecretState::Absent, present));
            }
            Ok(Event::Apply(secret)) => {
                known = true;
                publish(present(secret));
            }
            Ok(Event::Delete(_)) => publish(SecretState::Absent),
            Err(error) => {
                let text = words(&error);
                tracing::warn!(secret = name, error = %text, "cannot watch a Secret");
                // What was read once is used for as long as nothing newer is known.
                if !known {
                    publish(SecretState::Unreadable(text));
                }
            }
        }
    }
}

/// The API server's own words where it answered, else all causes.
fn words(error: &watcher::Error) -> String {
    use watcher::Error::{
        InitialListFailed, NoResourceVersion, WatchError, WatchFailed, WatchStartFailed,
    };
    match error {
        InitialListFailed(kube::Error::Api(answer))
        | WatchStartFailed(kube::Error::Api(answer))
        | WatchFailed(kube::Error::Api(answer))
        | WatchError(answer) => answer.message.clone(),
        InitialListFailed(_) | WatchStartFailed(_) | WatchFailed(_) | NoResourceVersion => {
            chain(error)
        }
    }
}

fn present(secret: Secret) -> SecretState {
    SecretState::Present(secret.data.unwrap_or_default())
}
