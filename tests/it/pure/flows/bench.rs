//! A run with everything it needs: a simulated cluster, a real monitor over it, and a journal in memory.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use poolwright::api::v1alpha1::Operation;
use poolwright::ceph::client::{ClientError, MonClient, Reply};
use poolwright::ceph::command::MonCommand;
use poolwright::ceph::contents::Contents;
use poolwright::ceph::osd_map::{OsdMap, Pool};
use poolwright::ceph::simulated::SimulatedCluster;
use poolwright::ceph::simulated::client::{Fault, SimulatedClient};
use poolwright::ceph::types::{Epoch, Fsid};
use poolwright::ceph::view::ClusterView;
use poolwright::monitor::{ClusterMonitor, MonitorSettings, Snapshot};
use poolwright::request::collection::RequestCollection;
use poolwright::request::executor::{Access, Aim};
use poolwright::request::journal::{Entry, Journal, JournalError};
use poolwright::request::user_request::{Observation, UserRequest};
use poolwright::request::wish::{Record, Wish};
use poolwright::request::work::{PoolKey, PoolWork, RunEnd};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::super::support::*;

/// One proposal of the monitors.
pub const ROUND: Duration = Duration::from_secs(1);
/// What a command may take: short, since polls go on meanwhile.
pub const DEADLINE: Duration = Duration::from_secs(5);
/// What writing the status takes.
const WRITE: Duration = Duration::from_millis(5);

/// A session in which the so-manieth command that changes something goes wrong.
#[derive(Clone, Debug)]
pub struct Faulty {
    inner: SimulatedClient,
    planned: Arc<Mutex<Planned>>,
}

#[derive(Debug, Default)]
struct Planned {
    sent: usize,
    faults: BTreeMap<usize, Fault>,
}

impl Faulty {
    fn arm(&self, command: &MonCommand) {
        if command.is_mutating() {
            let mut planned = self.planned.lock().unwrap();
            let fault = planned.faults.get(&planned.sent).cloned();
            planned.sent += 1;
            if let Some(fault) = fault {
                self.inner.plan_fault(command.prefix(), 1, fault);
            }
        }
    }
}

#[async_trait]
impl MonClient for Faulty {
    fn fsid(&self) -> &Fsid {
        self.inner.fsid()
    }

    async fn send(&self, command: &MonCommand, deadline: Duration) -> Result<Reply, ClientError> {
        // A removal must not be executed late on a handle that others keep open.
        assert!(
            !matches!(command, MonCommand::PoolRemove { .. }),
            "{command:?}"
        );
        self.arm(command);
        self.inner.send(command, deadline).await
    }

    async fn send_alone(
        &self,
        command: &MonCommand,
        deadline: Duration,
    ) -> Result<Reply, ClientError> {
        assert!(
            matches!(command, MonCommand::PoolRemove { .. }),
            "{command:?}"
        );
        self.arm(command);
        self.inner.send_alone(command, deadline).await
    }

    async fn contents(&self, pool: &Pool, map: &OsdMap, deadline: Duration) -> Contents {
        self.inner.contents(pool, map, deadline).await
    }
}

/// What was written down before a round.
#[derive(Clone, Debug)]
pub struct Written {
    pub record: Record,
    pub generation: i64,
    pub request: UserRequest,
    pub lines: Vec<String>,
    /// How many commands had been sent by then.
    pub sent_before: u64,
}

type Hook = Box<dyn FnMut(usize) -> Result<(), JournalError> + Send>;

/// A journal in memory that can refuse, and during which things can happen.
pub struct Recorder {
    client: SimulatedClient,
    written: Mutex<Vec<Written>>,
    hook: Mutex<Option<Hook>>,
    /// How long a write takes.
    pub takes: Mutex<Duration>,
}

impl Recorder {
    pub fn written(&self) -> Vec<Written> {
        self.written.lock().unwrap().clone()
    }

    /// Calls `hook` with the number of the write, counted from 1, before anything is written.
    pub fn on_write(&self, hook: impl FnMut(usize) -> Result<(), JournalError> + Send + 'static) {
        *self.hook.lock().unwrap() = Some(Box::new(hook));
    }

    pub fn quiet(&self) {
        *self.hook.lock().unwrap() = None;
    }
}

#[async_trait]
impl Journal for Recorder {
    async fn before_round(&self, entry: Entry<'_>) -> Result<(), JournalError> {
        let number = self.written().len() + 1;
        let hook = self.hook.lock().unwrap().take();
        if let Some(mut hook) = hook {
            let verdict = hook(number);
            self.hook.lock().unwrap().get_or_insert(hook);
            verdict?;
        }
        let takes = *self.takes.lock().unwrap();
        sleep(takes).await;
        self.written.lock().unwrap().push(Written {
            record: entry.wish.record.clone(),
            generation: entry.wish.generation,
            request: entry.request.clone(),
            lines: entry
                .round
                .steps
                .iter()
                .map(|step| step.command.to_line())
                .collect(),
            sent_before: self.client.writes(),
        });
        Ok(())
    }
}

/// One process with its session.
pub struct Flow {
    pub client: SimulatedClient,
    pub monitor: ClusterMonitor,
    pub collection: RequestCollection,
    pub journal: Arc<Recorder>,
    pub stop: CancellationToken,
    faulty: Faulty,
    ended: mpsc::UnboundedReceiver<PoolKey>,
    /// While somebody listens the map is read whenever it has moved.
    _listener: watch::Receiver<Snapshot>,
    _stop_monitor: DropGuard,
}

pub fn key_of(name: &str) -> PoolKey {
    PoolKey {
        namespace: "team-a".into(),
        name: name.into(),
        uid: format!("uid-{name}"),
    }
}

impl Flow {
    pub fn new() -> Self {
        Self::over(cluster())
    }

    pub fn over(cluster: SimulatedCluster) -> Self {
        let cluster = Arc::new(Mutex::new(cluster));
        Self::with(SimulatedClient::settling(cluster, ROUND, 5 * ROUND))
    }

    fn with(client: SimulatedClient) -> Self {
        let faulty = Faulty {
            inner: client.clone(),
            planned: Arc::default(),
        };
        let stop_monitor = CancellationToken::new();
        let monitor = ClusterMonitor::start(
            Arc::new(faulty.clone()),
            MonitorSettings::default(),
            stop_monitor.clone(),
        );
        let (sender, ended) = mpsc::unbounded_channel();
        let stop = CancellationToken::new();
        Self {
            journal: Arc::new(Recorder {
                client: client.clone(),
                written: Mutex::default(),
                hook: Mutex::default(),
                takes: Mutex::new(WRITE),
            }),
            collection: RequestCollection::new(sender, stop.clone()),
            client,
            _listener: monitor.subscribe(),
            monitor,
            stop,
            faulty,
            ended,
            _stop_monitor: stop_monitor.drop_guard(),
        }
    }

    /// Another process on the same cluster, which knows what was written down last.
    pub fn restarted(&self) -> Self {
        let next = Self::with(self.client.clone());
        if let Some(last) = self.journal.written().pop() {
            next.work("foopool").state().record = Some(last.record);
        }
        next
    }

    /// The command of this number, counted from 0, goes wrong.
    pub fn fault(&self, command: usize, fault: Fault) {
        self.faulty
            .planned
            .lock()
            .unwrap()
            .faults
            .insert(command, fault);
    }

    pub fn cluster(&self) -> MutexGuard<'_, SimulatedCluster> {
        self.client.cluster()
    }

    pub fn access(&self) -> Access {
        Access {
            client: Arc::new(self.faulty.clone()),
            monitor: self.monitor.clone(),
            floor: Epoch(0),
            command_timeout: DEADLINE,
            aim: Aim::Keep,
            locks: self.collection.locks.clone(),
            moves: self.collection.moves.clone(),
        }
    }

    pub fn work(&self, name: &str) -> Arc<PoolWork> {
        self.collection.pool(&key_of(name))
    }

    pub fn end(&self) -> Option<RunEnd> {
        self.work("foopool").state().end.clone()
    }

    /// The newest view, as soon as there is one that may be acted on.
    pub async fn view(&self) -> Option<Arc<ClusterView>> {
        for _ in 0..200 {
            let usable = self
                .monitor
                .usable_view(Instant::now(), Duration::from_secs(5), Epoch(0));
            if let Ok(view) = usable {
                return Some(view);
            }
            sleep(Duration::from_millis(10)).await;
        }
        None
    }

    /// Hands in a wish as a reconcile does, and opens its request.
    pub async fn hand_in(&self, name: &str, text: &str, generation: i64) {
        let work = self.work(name);
        let record = {
            let state = work.state();
            state.record.clone().unwrap_or_else(fresh)
        };
        let mut wish = wish(text, record);
        wish.owner = owner_of(name);
        wish.pool = poolwright::ceph::types::PoolName::new(name);
        wish.generation = generation;
        let view = self.view().await;
        let mut state = work.state();
        let changed = state
            .wish
            .as_ref()
            .is_none_or(|before| before.generation != generation);
        if changed {
            state.rejections.clear();
        }
        if let Some(view) = view {
            let plan = preview(&wish, &view);
            let known = state
                .requests
                .iter()
                .any(|request| request.generation == generation && !request.is_complete());
            if !known && !plan.in_sync() {
                let operation = match &plan.now.found {
                    Some(found) if found.published => Operation::Update,
                    _ => Operation::Create,
                };
                let id = format!("request-{}", state.requests.len() + 1);
                state.requests.push(UserRequest::new(
                    id,
                    operation,
                    generation,
                    &wish,
                    &plan,
                    Timestamp::now(),
                ));
            }
        }
        state.wish = Some(Arc::new(wish));
    }

    pub fn start(&self, name: &str, access: Access) {
        self.collection
            .start(&key_of(name), access, Arc::clone(&self.journal) as _);
    }

    /// Waits until a run has ended; nothing takes longer than ten minutes.
    pub async fn ended(&mut self) -> PoolKey {
        let ended = tokio::time::timeout(Duration::from_secs(600), self.ended.recv()).await;
        ended.expect("a run that ends").expect("a collection")
    }

    /// One run towards a manifest.
    pub async fn run(&mut self, text: &str) -> Option<RunEnd> {
        self.run_generation(text, 1).await
    }

    pub async fn run_generation(&mut self, text: &str, generation: i64) -> Option<RunEnd> {
        self.hand_in("foopool", text, generation).await;
        self.start("foopool", self.access());
        self.ended().await;
        self.end()
    }

    /// Runs until one ends for another reason than that the cluster is away, as a controller does.
    pub async fn settle(&mut self, text: &str) -> Option<RunEnd> {
        for _ in 0..12 {
            let end = self.run(text).await;
            if !matches!(
                end,
                Some(RunEnd::Away(_) | RunEnd::Later(_) | RunEnd::NotRecorded(_)) | None
            ) {
                self.observe(text).await;
                return end;
            }
            sleep(Duration::from_secs(2)).await;
        }
        self.end()
    }

    /// Shows the newest view to the requests, as a reconcile does.
    pub async fn observe(&self, text: &str) {
        let view = self.view().await.expect("a view");
        let work = self.work("foopool");
        let mut state = work.state();
        let record = state.record.clone().unwrap_or_else(fresh);
        let wish: Wish = wish(text, record);
        let plan = preview(&wish, &view);
        let pool = plan
            .now
            .found
            .as_ref()
            .and_then(|found| view.pool(found.identity.id))
            .cloned();
        let generation = state.wish.as_ref().map_or(1, |wish| wish.generation);
        state.observe(
            Observation {
                plan: &plan,
                wish: &wish,
                generation,
                newest: None,
                pool: pool.as_deref(),
                epoch: view.epoch(),
            },
            Timestamp::now(),
        );
    }

    /// The names of all pools.
    pub fn names(&self) -> Vec<String> {
        let cluster = self.cluster();
        let pools = cluster.map().pools.values();
        pools.map(|pool| pool.name.to_string()).collect()
    }

    /// Asserts that there is one pool, `foopool`, as a manifest says.
    #[track_caller]
    pub fn holds(&self, text: &str, what: &str) {
        assert_eq!(self.names(), ["foopool"], "{what}");
        let cluster = self.cluster();
        let pool = cluster.pool("foopool").unwrap();
        let wrong = super::super::convergence::wrong(&fields(text), pool);
        assert_eq!(wrong, [""; 0], "{what}");
    }
}
