//! A simulated cluster behind [`MonClient`], for tests: with rounds, faults and counters.

use std::collections::BTreeMap;
use std::fmt;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};

use super::SimulatedCluster;
use super::reply::reply;
use crate::ceph::client::{ClientError, MonClient, Reply};
use crate::ceph::command::MonCommand;
use crate::ceph::contents::Contents;
use crate::ceph::osd_map::{OsdMap, Pool};
use crate::ceph::types::{Fsid, PoolId};

/// What goes wrong with a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It times out and is never executed.
    Lost,
    /// It is executed in its round, but the reply is lost: it times out.
    ReplyLost,
    /// It times out, and is executed in a round this much after it was sent: monitors that
    /// were frozen do so with what is in their sockets, also when the handle is closed.
    Late(Duration),
    /// The monitors answer this at once and do nothing.
    Reply {
        /// A negative errno, or 0 for a monitor that only says it did it.
        code: i32,
        /// Its sentence.
        text: String,
    },
    /// The client gives this error at once, and nothing is executed.
    Error(ClientError),
}

/// Called with the cluster and the commands of a round just before the round is executed.
type Hook = Box<dyn FnMut(&mut SimulatedCluster, &[MonCommand]) + Send>;

/// A session with a simulated cluster. Clones share rounds, faults and counters.
///
/// Commands that change something and arrive within one round time belong to one round, in
/// the order of their arrival, and are answered when it is over. Reads are answered at once.
/// Waiting is done by tokio's clock, so a test may pause it.
#[derive(Clone)]
pub struct SimulatedClient {
    shared: Arc<Shared>,
}

struct Shared {
    fsid: Fsid,
    cluster: Arc<Mutex<SimulatedCluster>>,
    round_time: Duration,
    settle_after: Option<Duration>,
    state: Mutex<State>,
    contents: Mutex<BTreeMap<PoolId, Contents>>,
}

#[derive(Default)]
struct State {
    waiting: Vec<(MonCommand, oneshot::Sender<Reply>)>,
    faults: Vec<PlannedFault>,
    unreachable: bool,
    hook: Option<Hook>,
    commands: BTreeMap<&'static str, u64>,
    rounds: Vec<Vec<MonCommand>>,
}

struct PlannedFault {
    prefix: String,
    times: usize,
    fault: Fault,
}

impl SimulatedClient {
    /// A session whose rounds take this long; a real monitor's take about a second.
    pub fn new(cluster: Arc<Mutex<SimulatedCluster>>, round_time: Duration) -> Self {
        Self::build(cluster, round_time, None)
    }

    /// The same, where OSDs and manager settle the cluster this long after each round.
    pub fn settling(
        cluster: Arc<Mutex<SimulatedCluster>>,
        round_time: Duration,
        after: Duration,
    ) -> Self {
        Self::build(cluster, round_time, Some(after))
    }

    fn build(
        cluster: Arc<Mutex<SimulatedCluster>>,
        round_time: Duration,
        settle_after: Option<Duration>,
    ) -> Self {
        let fsid = lock(&cluster).map().fsid.clone();
        Self {
            shared: Arc::new(Shared {
                fsid,
                cluster,
                round_time,
                settle_after,
                state: Mutex::default(),
                contents: Mutex::default(),
            }),
        }
    }

    /// From now on this is what a look into a pool finds; without it every pool is empty.
    pub fn set_contents(&self, pool: PoolId, contents: Contents) {
        lock(&self.shared.contents).insert(pool, contents);
    }

    /// The cluster, to look at or to change behind the client's back.
    pub fn cluster(&self) -> MutexGuard<'_, SimulatedCluster> {
        lock(&self.shared.cluster)
    }

    /// The next `times` commands whose prefix begins with `prefix` go wrong; faults for the
    /// same command are used up in the order in which they were planned.
    pub fn plan_fault(&self, prefix: impl Into<String>, times: usize, fault: Fault) {
        self.state().faults.push(PlannedFault {
            prefix: prefix.into(),
            times,
            fault,
        });
    }

    /// Takes back every planned fault.
    pub fn clear_faults(&self) {
        self.state().faults.clear();
    }

    /// While set, no command reaches a monitor: each ends at its deadline as unreachable.
    pub fn set_unreachable(&self, unreachable: bool) {
        self.state().unreachable = unreachable;
    }

    /// Calls `hook` before each round, with the cluster as it is then and the round's commands.
    pub fn before_round(
        &self,
        hook: impl FnMut(&mut SimulatedCluster, &[MonCommand]) + Send + 'static,
    ) {
        self.state().hook = Some(Box::new(hook));
    }

    /// How many commands were sent, by prefix, those that went wrong included.
    pub fn commands(&self) -> BTreeMap<&'static str, u64> {
        self.state().commands.clone()
    }

    /// How many commands that change something were sent.
    pub fn writes(&self) -> u64 {
        let reads = ["osd stat", "osd getmap", "osd dump", "osd crush dump"];
        let commands = self.commands();
        let writes = commands
            .iter()
            .filter(|(prefix, _)| !reads.contains(*prefix));
        writes.map(|(_, count)| count).sum()
    }

    /// The rounds that were executed, with their commands in order.
    pub fn rounds(&self) -> Vec<Vec<MonCommand>> {
        self.state().rounds.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.shared.state)
    }

    async fn ask(&self, command: &MonCommand, deadline: Duration) -> Result<Reply, ClientError> {
        let (fault, unreachable) = self.state().arrival(command);
        let timed_out = ClientError::TimedOut {
            command: command.prefix(),
            after: deadline,
        };
        if unreachable {
            sleep(deadline).await;
            return Err(ClientError::Unreachable(deadline));
        }
        match fault {
            Some(Fault::Reply { code, text }) => return Ok(reply(code, text, Vec::new())),
            Some(Fault::Error(error)) => return Err(error),
            Some(Fault::Lost) => {
                sleep(deadline).await;
                return Err(timed_out);
            }
            Some(Fault::ReplyLost) => {
                drop(self.enqueue(command.clone()));
                sleep(deadline).await;
                return Err(timed_out);
            }
            Some(Fault::Late(delay)) => {
                let (late, command) = (self.clone(), command.clone());
                tokio::spawn(async move {
                    sleep(delay).await;
                    drop(late.enqueue(command));
                });
                sleep(deadline).await;
                return Err(timed_out);
            }
            None => {}
        }
        if !command.is_mutating() {
            let mut replies = self.cluster().round(std::slice::from_ref(command));
            return replies.pop().ok_or(ClientError::Closed);
        }
        match timeout(deadline, self.enqueue(command.clone())).await {
            Ok(reply) => reply.map_err(|_| ClientError::Closed),
            Err(_) => Err(timed_out),
        }
    }

    /// Hands a command to the round that gathers; the first one starts a round. It is a task
    /// of its own, so that a caller who gives up takes nothing back, as on a real cluster.
    fn enqueue(&self, command: MonCommand) -> oneshot::Receiver<Reply> {
        let (sender, receiver) = oneshot::channel();
        let mut state = self.state();
        state.waiting.push((command, sender));
        if state.waiting.len() == 1 {
            let client = self.clone();
            tokio::spawn(async move {
                sleep(client.shared.round_time).await;
                client.execute();
                if let Some(after) = client.shared.settle_after {
                    sleep(after).await;
                    client.cluster().settle();
                }
            });
        }
        receiver
    }

    fn execute(&self) {
        let (waiting, hook) = {
            let mut state = self.state();
            (mem::take(&mut state.waiting), state.hook.take())
        };
        let (commands, senders): (Vec<_>, Vec<_>) = waiting.into_iter().unzip();
        let replies = {
            let mut cluster = self.cluster();
            // Not called under the state's lock: it may use the client.
            if let Some(mut hook) = hook {
                hook(&mut cluster, &commands);
                self.state().hook.get_or_insert(hook);
            }
            cluster.round(&commands)
        };
        self.state().rounds.push(commands);
        for (sender, reply) in senders.into_iter().zip(replies) {
            // Nobody listens any more where the caller has given up.
            let _ = sender.send(reply);
        }
    }
}

impl State {
    /// Counts a command, and says what goes wrong with it.
    fn arrival(&mut self, command: &MonCommand) -> (Option<Fault>, bool) {
        let prefix = command.prefix();
        let count = self.commands.entry(prefix).or_default();
        *count = count.saturating_add(1);
        if self.unreachable {
            return (None, true);
        }
        let planned = self
            .faults
            .iter_mut()
            .find(|planned| planned.times > 0 && prefix.starts_with(&planned.prefix));
        let fault = planned.map(|planned| {
            planned.times -= 1;
            planned.fault.clone()
        });
        (fault, false)
    }
}

impl fmt::Debug for SimulatedClient {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("SimulatedClient")
            .field("fsid", &self.shared.fsid)
            .field("round_time", &self.shared.round_time)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl MonClient for SimulatedClient {
    fn fsid(&self) -> &Fsid {
        &self.shared.fsid
    }

    async fn send(&self, command: &MonCommand, deadline: Duration) -> Result<Reply, ClientError> {
        self.ask(command, deadline).await
    }

    async fn send_alone(
        &self,
        command: &MonCommand,
        deadline: Duration,
    ) -> Result<Reply, ClientError> {
        self.ask(command, deadline).await
    }

    async fn contents(&self, pool: &Pool, _: &OsdMap, _: Duration) -> Contents {
        let contents = lock(&self.shared.contents);
        contents.get(&pool.id).cloned().unwrap_or(Contents::Empty)
    }
}

/// A panic in another test's thread does not make the cluster unusable.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
