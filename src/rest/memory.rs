//! The requests in memory.
//!
//! All of them are watched while the REST API is on: some for each pool, kept for a day.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::mem;
use std::pin::pin;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use futures::StreamExt;
use kube::api::ListParams;
use kube::core::DeserializeGuard;
use kube::runtime::watcher::Event;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, ResourceExt};
use moka::future::Cache;
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;

use super::problem::Problem;
use super::shim::AWAY;
use crate::api::v1alpha1::CephRequest;
use crate::controller::chain;

/// A request as it is watched: one that does not parse must not blind us to the others.
type Guarded = DeserializeGuard<CephRequest>;

/// How long asking the API server for one request may take.
const ASK: Duration = Duration::from_secs(5);
/// How many are looked for at once for callers who name an ID that is not in memory: everybody can make one up.
const QUESTIONS: usize = 8;
/// How long it is believed that there is none of an ID.
const NONE: Duration = Duration::from_secs(1);
/// Of how many IDs that is known.
const NONES: u64 = 10_000;

/// By ID and namespace: an ID is unique, but nothing makes it so.
type ById = BTreeMap<(String, String), Arc<CephRequest>>;

/// The requests in memory. Clones share them.
#[derive(Clone)]
pub struct Requests {
    client: Client,
    known: Arc<RwLock<ById>>,
    news: watch::Receiver<u64>,
    listed: CancellationToken,
    questions: Arc<Semaphore>,
    none: Cache<String, Vec<Arc<CephRequest>>>,
}

impl fmt::Debug for Requests {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Requests").finish_non_exhaustive()
    }
}

impl Requests {
    /// Begins to watch them, until `shutdown`; the future has to be run.
    pub fn watch(
        client: Client,
        shutdown: CancellationToken,
    ) -> (Self, impl Future<Output = ()> + Send) {
        let (changes, news) = watch::channel(0);
        let requests = Self {
            client: client.clone(),
            known: Arc::default(),
            news,
            listed: CancellationToken::new(),
            questions: Arc::new(Semaphore::new(QUESTIONS)),
            none: Cache::builder()
                .max_capacity(NONES)
                .time_to_live(NONE)
                .build(),
        };
        let kept = requests.clone();
        let work = async move {
            let api = Api::<Guarded>::all(client);
            let stream = watcher(api, watcher::Config::default().any_semantic()).default_backoff();
            let mut stream = pin!(stream);
            let mut listing = ById::new();
            loop {
                let event = tokio::select! {
                    () = shutdown.cancelled() => return,
                    event = stream.next() => event,
                };
                match event {
                    Some(Ok(event)) => {
                        kept.take(event, &mut listing);
                        changes.send_modify(|count| *count += 1);
                    }
                    Some(Err(error)) => {
                        tracing::warn!(error = chain(&error), "watching CephRequests");
                    }
                    None => return,
                }
            }
        };
        (requests, work)
    }

    fn take(&self, event: Event<Guarded>, listing: &mut ById) {
        let key = |object: &Guarded| (object.name_any(), object.namespace().unwrap_or_default());
        let value = |object: Guarded| {
            let mut request = object.0.ok()?;
            request.metadata.managed_fields = None;
            Some(Arc::new(request))
        };
        let known = || self.known.write().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::Init => listing.clear(),
            Event::InitApply(object) => {
                let key = key(&object);
                listing.extend(value(object).map(|value| (key, value)));
            }
            Event::InitDone => {
                *known() = mem::take(listing);
                self.listed.cancel();
            }
            Event::Apply(object) => {
                let key = key(&object);
                known().extend(value(object).map(|value| (key, value)));
            }
            Event::Delete(object) => {
                known().remove(&key(&object));
            }
        }
    }

    /// Ends when the first list is complete.
    pub async fn listed(&self) {
        self.listed.cancelled().await;
    }

    /// All of them.
    ///
    /// # Errors
    ///
    /// While they are not known yet.
    pub fn all(&self) -> Result<Vec<Arc<CephRequest>>, Problem> {
        self.those(|_, _| true)
    }

    /// Those that fit, by their namespace and themselves.
    ///
    /// # Errors
    ///
    /// While they are not known yet.
    pub fn those(
        &self,
        fits: impl Fn(&str, &CephRequest) -> bool,
    ) -> Result<Vec<Arc<CephRequest>>, Problem> {
        self.are_known()?;
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let those = known
            .iter()
            .filter(|((_, namespace), request)| fits(namespace, request));
        Ok(those.map(|(_, request)| Arc::clone(request)).collect())
    }

    /// In which namespaces there are some that fit.
    ///
    /// # Errors
    ///
    /// While they are not known yet.
    pub fn namespaces(
        &self,
        fits: impl Fn(&CephRequest) -> bool,
    ) -> Result<BTreeSet<String>, Problem> {
        self.are_known()?;
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let those = known.iter().filter(|(_, request)| fits(request));
        let namespaces: BTreeSet<&String> = those.map(|((_, namespace), _)| namespace).collect();
        Ok(namespaces.into_iter().cloned().collect())
    }

    fn are_known(&self) -> Result<(), Problem> {
        if !self.listed.is_cancelled() {
            return Err(Problem::unavailable(
                "the CephRequests are being read from the API server",
                2,
            ));
        }
        Ok(())
    }

    /// The same as [`Self::find`], for somebody of whom it is not known whether he may see any: few are looked for at
    /// once, each by one question, and one that there is not is not looked for again at once.
    ///
    /// # Errors
    ///
    /// When the API server does not answer.
    pub async fn look_up(&self, id: &str) -> Result<Vec<Arc<CephRequest>>, Problem> {
        let found = self.in_memory(id);
        if !found.is_empty() {
            return Ok(found);
        }
        let looking = async {
            let busy = || Problem::unavailable("too many requests are looked for at once", AWAY);
            let place = tokio::time::timeout(ASK, self.questions.acquire()).await;
            // It is never closed.
            let _place = place.map_err(|_| busy())?;
            self.find(id).await
        };
        let found = self.none.try_get_with(id.to_owned(), looking).await;
        let found = found.map_err(|problem: Arc<Problem>| problem.as_ref().clone())?;
        if !found.is_empty() {
            // What there is changes.
            self.none.invalidate(id).await;
        }
        Ok(found)
    }

    /// Those of an ID, in whichever namespace: one, or none. One that is not in memory may have been made a moment ago,
    /// on another replica, so the API server is asked for it.
    ///
    /// # Errors
    ///
    /// When the API server does not answer.
    pub async fn find(&self, id: &str) -> Result<Vec<Arc<CephRequest>>, Problem> {
        let found = self.in_memory(id);
        if !found.is_empty() {
            return Ok(found);
        }
        let api: Api<CephRequest> = Api::all(self.client.clone());
        let named = ListParams::default().fields(&format!("metadata.name={id}"));
        let why = match tokio::time::timeout(ASK, api.list(&named)).await {
            Ok(Ok(found)) => return Ok(found.items.into_iter().map(Arc::new).collect()),
            Ok(Err(error)) => chain(&error),
            Err(_) => format!("no answer within {} s", ASK.as_secs()),
        };
        tracing::warn!(error = why, id, "looking for a CephRequest");
        Err(Problem::unavailable("the API server does not answer", AWAY))
    }

    /// Those of an ID that are in memory.
    pub fn in_memory(&self, id: &str) -> Vec<Arc<CephRequest>> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let from = known.range((id.to_owned(), String::new())..);
        from.take_while(|((its, _), _)| its == id)
            .map(|(_, request)| Arc::clone(request))
            .collect()
    }

    /// One of them as it is now, if it is in memory.
    pub fn now(&self, request: &CephRequest) -> Option<Arc<CephRequest>> {
        let key = (request.name_any(), request.namespace().unwrap_or_default());
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known.get(&key).cloned()
    }

    /// Tells whenever one of them changed.
    pub fn news(&self) -> watch::Receiver<u64> {
        self.news.clone()
    }
}
