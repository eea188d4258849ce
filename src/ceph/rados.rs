//! The door to a real cluster: librados, loaded at run time.
//!
//! [`RadosClient`] keeps one session for reads, and one for commands that change something,
//! opened with the first of them. Whatever librados does, every call ends at its deadline.
//! A session is replaced after a command of unknown outcome, and after a denial.

mod contents;
mod exit;
mod ffi;
mod handle;
mod mapped;
mod options;

use std::ffi::{CStr, CString, OsStr, OsString};
use std::fmt;
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{Mutex, Semaphore, oneshot};
use tokio::time::{Instant, timeout, timeout_at};

use self::ffi::{Cluster, RawReply};
use self::handle::{Answer, Handle, Kind, Sessions, Settings, Ticket};
use super::client::{ClientError, Leave, MonClient, Reply};
use super::command::MonCommand;
use super::contents::Contents;
use super::errno::ETIMEDOUT;
use super::osd_map::{OsdMap, Pool};
use super::types::Fsid;

pub use self::ffi::Library;
pub use self::options::{ConnectOptions, Key, KeyError, Limits};

/// Names the library's file where it is not to be found by its name.
const LIBRARY_VARIABLE: &str = "POOLWRIGHT_LIBRADOS";
/// What librados is called since Ceph 0.48.
const LIBRARY_NAME: &str = "librados.so.2";
/// Reads at once on one session. More wait in line: a monitor answers one after the other.
const READS_AT_ONCE: usize = 32;
/// Sessions at once for commands sent alone: each costs a dozen threads inside librados.
const ALONE_AT_ONCE: usize = 16;
/// Looks into pools at once: each is a session, and a thread that waits for OSDs.
const LOOKS_AT_ONCE: usize = 4;
/// After this long without work a thread ends.
const IDLE_FOR: Duration = Duration::from_secs(10);
/// A session is renewed after a denial, but no more often than this.
const RENEW_AFTER: Duration = Duration::from_secs(10);
/// What the threads are called, by what they do.
const READS: &str = "rados-read";
const CHANGES: &str = "rados-change";
const ALONE: &str = "rados-alone";

/// librados, loaded by the first who asks, for as long as the process lives.
pub fn library() -> Result<&'static Library, ClientError> {
    static LOADED: OnceLock<Result<Library, String>> = OnceLock::new();
    LOADED
        .get_or_init(|| {
            let name = std::env::var_os(LIBRARY_VARIABLE)
                .filter(|name| !name.is_empty())
                .unwrap_or_else(|| OsString::from(LIBRARY_NAME));
            load(&name)
        })
        .as_ref()
        .map_err(|error| ClientError::LibraryMissing(error.clone()))
}

fn load(name: &OsStr) -> Result<Library, String> {
    Library::load(name).map_err(|error| format!("{}: {error}", name.display()))
}

/// A session with a cluster's monitors through librados.
///
/// Commands take no more than mon capabilities; a look into a pool also takes osd `allow r`.
/// Dropping it closes everything without blocking.
pub struct RadosClient {
    library: &'static Library,
    options: ConnectOptions,
    limits: Limits,
    leave: Leave,
    fsid: Fsid,
    reads: Lane,
    changes: Lane,
    alone: Semaphore,
    looks: Arc<Semaphore>,
    sessions: Sessions,
}

/// What goes through one handle at a time, and through the next when that one is retired.
struct Lane {
    settings: Settings,
    handle: Mutex<Option<Handle>>,
}

impl Lane {
    fn new(name: &'static str, most_threads: usize, handle: Option<Handle>) -> Self {
        Self {
            settings: settings(name, most_threads),
            handle: Mutex::new(handle),
        }
    }
}

const fn settings(name: &'static str, most_threads: usize) -> Settings {
    Settings {
        name,
        most_threads: if most_threads == 0 { 1 } else { most_threads },
        idle_for: IDLE_FOR,
        renew_after: RENEW_AFTER,
    }
}

impl RadosClient {
    /// Connects, within `limits.connect_timeout` whatever librados does.
    pub async fn connect(
        options: ConnectOptions,
        limits: Limits,
    ) -> Result<RadosClient, ClientError> {
        let library = library()?;
        let sessions = Sessions::new();
        let reading = settings(READS, READS_AT_ONCE);
        let (session, fsid) = open(library, &options, limits).await?;
        // Nothing but reads goes through it.
        let handle = Handle::new(session, reading, Leave::always(), &sessions);
        Ok(Self {
            library,
            options,
            limits,
            leave: Leave::always(),
            fsid,
            reads: Lane::new(READS, READS_AT_ONCE, Some(handle)),
            changes: Lane::new(CHANGES, limits.max_commands_in_flight, None),
            alone: Semaphore::new(ALONE_AT_ONCE),
            looks: Arc::new(Semaphore::new(LOOKS_AT_ONCE)),
            sessions,
        })
    }

    /// The same client, which asks before each command that changes something, at the moment it is handed to librados.
    #[must_use]
    pub fn with_leave(self, leave: Leave) -> Self {
        Self { leave, ..self }
    }

    /// Closes all sessions and waits for it, at most `limit`; whether all are closed. Further
    /// calls answer [`ClientError::Closed`]; what is in flight keeps its deadline.
    pub async fn close(&self, limit: Duration) -> bool {
        self.alone.close();
        self.looks.close();
        timeout(limit, async {
            *self.reads.handle.lock().await = None;
            *self.changes.handle.lock().await = None;
            self.sessions.all_closed().await;
        })
        .await
        .is_ok()
    }

    /// How many sessions are open or being closed: one, or two with one for changes.
    pub fn open_sessions(&self) -> usize {
        self.sessions.count()
    }

    /// Sends a command through a lane. A handle that is retired before it could send is
    /// replaced, for as long as there is time.
    async fn send_through(
        &self,
        lane: &Lane,
        command: &Command,
        kind: Kind,
    ) -> Result<Answer, ClientError> {
        loop {
            let Ok(ticket) = timeout_at(command.end, self.submit(lane, command, kind)).await else {
                return Ok(Answer::NotSent);
            };
            match ticket?.wait(command.end).await {
                Answer::Retired => {}
                answer @ (Answer::Reply(_)
                | Answer::Forbidden
                | Answer::NotSent
                | Answer::TimedOut) => return Ok(answer),
            }
        }
    }

    /// Puts a command in line, after those that came before it.
    async fn submit(
        &self,
        lane: &Lane,
        command: &Command,
        kind: Kind,
    ) -> Result<Ticket, ClientError> {
        // Fair: who comes first is served first, also while the handle is being opened.
        let mut current = lane.handle.lock().await;
        if self.alone.is_closed() {
            return Err(ClientError::Closed);
        }
        if let Some(handle) = current.as_ref() {
            if let Some(ticket) = handle.submit(Arc::clone(&command.json), kind, command.came) {
                return Ok(ticket);
            }
            *current = None;
        }
        let handle = self.open_again(self.limits, lane.settings).await?;
        current
            .insert(handle)
            .submit(Arc::clone(&command.json), kind, command.came)
            .ok_or(ClientError::Closed)
    }

    /// Opens another session with the same cluster.
    async fn open_again(&self, limits: Limits, settings: Settings) -> Result<Handle, ClientError> {
        let (session, answered) = open(self.library, &self.options, limits).await?;
        let handle = Handle::new(session, settings, self.leave.clone(), &self.sessions);
        // An address may have come to mean another cluster since the first session.
        if answered != self.fsid {
            return Err(ClientError::OtherCluster {
                expected: self.fsid.clone(),
                answered,
            });
        }
        Ok(handle)
    }

    async fn send_by_itself(&self, command: &Command) -> Result<Answer, ClientError> {
        let Ok(permit) = timeout_at(command.end, self.alone.acquire()).await else {
            return Ok(Answer::NotSent);
        };
        let _permit = permit.map_err(|_| ClientError::Closed)?;
        let left = command.end.saturating_duration_since(Instant::now());
        let limits = Limits {
            connect_timeout: self.limits.connect_timeout.min(left),
            command_timeout: left,
            ..self.limits
        };
        let handle = self.open_again(limits, settings(ALONE, 1)).await?;
        let ticket = handle
            .submit(Arc::clone(&command.json), Kind::Change, command.came)
            .ok_or(ClientError::Closed)?;
        // The handle is dropped with this function, and closed with that.
        Ok(ticket.wait(command.end).await)
    }
}

#[async_trait]
impl MonClient for RadosClient {
    fn fsid(&self) -> &Fsid {
        &self.fsid
    }

    async fn send(&self, command: &MonCommand, deadline: Duration) -> Result<Reply, ClientError> {
        let sent = Command::new(command, deadline)?;
        let (lane, kind) = if command.is_mutating() {
            (&self.changes, Kind::Change)
        } else {
            (&self.reads, Kind::Read)
        };
        sent.conclude(self.send_through(lane, &sent, kind).await?)
    }

    async fn read_after_changes(
        &self,
        command: &MonCommand,
        deadline: Duration,
    ) -> Result<Reply, ClientError> {
        if command.is_mutating() {
            return self.send(command, deadline).await;
        }
        let sent = Command::new(command, deadline)?;
        let Ok(changes) = timeout_at(sent.end, self.changes.handle.lock()).await else {
            return sent.conclude(Answer::NotSent);
        };
        // Before the first change any session will do.
        let lane = if changes.is_some() {
            &self.changes
        } else {
            &self.reads
        };
        drop(changes);
        sent.conclude(self.send_through(lane, &sent, Kind::Read).await?)
    }

    async fn send_alone(
        &self,
        command: &MonCommand,
        deadline: Duration,
    ) -> Result<Reply, ClientError> {
        let sent = Command::new(command, deadline)?;
        sent.conclude(self.send_by_itself(&sent).await?)
    }

    async fn contents(&self, pool: &Pool, map: &OsdMap, deadline: Duration) -> Contents {
        contents::look(self, pool, map, deadline).await
    }
}

impl fmt::Debug for RadosClient {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("RadosClient")
            .field("fsid", &self.fsid)
            .field("options", &self.options)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

/// A command as librados takes it, with its time.
struct Command {
    prefix: &'static str,
    json: Arc<CStr>,
    came: Instant,
    end: Instant,
}

impl Command {
    fn new(command: &MonCommand, deadline: Duration) -> Result<Self, ClientError> {
        // JSON writes a zero byte as \u0000, so this cannot fail.
        let json = CString::new(command.to_json().to_string())
            .map_err(|_| ClientError::InvalidConfiguration("a zero byte in a command".into()))?;
        let came = Instant::now();
        Ok(Self {
            prefix: command.prefix(),
            json: Arc::from(json),
            came,
            end: came + deadline,
        })
    }

    /// Says in the client's terms how it ended.
    fn conclude(&self, answer: Answer) -> Result<Reply, ClientError> {
        let after = self.came.elapsed();
        let command = self.prefix;
        match answer {
            Answer::Reply(RawReply { code, .. }) if code == -ETIMEDOUT => {
                Err(ClientError::TimedOut { command, after })
            }
            Answer::Reply(RawReply { code, text, body }) => Ok(Reply {
                code,
                text: String::from_utf8_lossy(&text).into_owned(),
                body,
            }),
            Answer::Retired => Err(ClientError::Closed),
            Answer::Forbidden => Err(ClientError::NotLeading { command }),
            Answer::NotSent => Err(ClientError::NotSent { command, after }),
            Answer::TimedOut => Err(ClientError::TimedOut { command, after }),
        }
    }
}

/// Opens a session on a thread of its own. When that takes too long the thread is left
/// behind, and closes what it may still get.
async fn open(
    library: &'static Library,
    options: &ConnectOptions,
    limits: Limits,
) -> Result<(Arc<Cluster>, Fsid), ClientError> {
    let (sender, receiver) = oneshot::channel();
    let thread_options = options.clone();
    thread::Builder::new()
        .name("rados-connect".into())
        .spawn(move || {
            // Unheard, the cluster comes back from `send` and is closed by its drop.
            let _ = sender.send(options::connect(library, &thread_options, &limits, &[]));
        })
        .map_err(|error| ClientError::InvalidConfiguration(format!("no thread: {error}")))?;
    match timeout(limits.connect_timeout, receiver).await {
        Ok(Ok(connected)) => connected,
        Ok(Err(_)) | Err(_) => Err(ClientError::Unreachable(limits.connect_timeout)),
    }
}
