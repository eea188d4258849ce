//! The look into a pool: the proof of emptiness that its removal needs.
//!
//! Empty is a pool only when every step of [`Look::run`] came to its end and found nothing. What
//! a step finds ends the look, and so does whatever it could not read: both as an error, so that
//! nothing but the last line says [`Contents::Empty`].
//!
//! **The key** needs mon `allow r` and osd `allow r`. Narrower osd capabilities are not enough:
//! listing all namespaces of the pool takes a read without restriction to a namespace or a prefix,
//! and whether an image elsewhere keeps its data in this pool stands in the other pools. With a
//! key that may not read, nothing is proven and the sentence says so.
//!
//! **The cost**: a session of its own (15 ms, a dozen threads inside librados), three commands to a
//! monitor (`osd getmap`, `fs ls`, `df`), one listing operation for each placement group, and three
//! operations for each object that is only housekeeping. Only when nothing is found by then: three
//! operations for each other pool (four where there was a trash), as many but one for each RBD
//! namespace, one for each RBD image of the cluster, and one or two for each zone of RGW. Eight of these are under way at a time.
//! On 16 with everything on two cores: 20 ms for an empty pool among a few, 2 s with 20,000 images
//! elsewhere, 1 to 2 s for 512 placement groups.

mod facts;
mod listing;
mod rbd;
mod rgw;
mod uses;

use std::ffi::{CStr, CString};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use self::facts::Facts;
use super::ffi::{Cluster, IoContext, KeyValue};
use super::options::{self, ConnectOptions, Limits};
use super::{Library, RadosClient};
use crate::ceph::contents::Contents;
use crate::ceph::errno::ETIMEDOUT;
use crate::ceph::osd_map::{OsdMap, Pool};
use crate::ceph::types::Fsid;

/// How long an OSD has for one operation. Without a limit librados waits for ever for a placement
/// group that is not active, and since Ceph 18 also with a key without osd capabilities.
const OSD_TIMEOUT: Duration = Duration::from_secs(5);
/// Operations at once, in the part of the look that goes over other pools.
const AT_ONCE: usize = 8;
/// Keys of an object read at once; OSDs give no more than 1024.
const PAGE: u64 = 1000;

const EPERM: i32 = -1;
const ENOENT: i32 = -2;
const EACCES: i32 = -13;
const EOPNOTSUPP: i32 = -95;

/// What a step came to: an error is what ends the look.
type Looked<T = ()> = Result<T, Contents>;

/// Looks into a pool, on a thread and a session of its own. At the deadline the thread is left
/// behind: it ends after the operation it is in, and until then counts as one of the few looks
/// there may be at once. Less than twice what an OSD has for an operation is too little to name
/// a cause.
pub(super) async fn look(
    client: &RadosClient,
    pool: &Pool,
    map: &OsdMap,
    deadline: Duration,
) -> Contents {
    let end = Instant::now() + deadline;
    let seconds = deadline.as_secs_f32();
    let permit = match timeout_at(end, Arc::clone(&client.looks).acquire_owned()).await {
        Ok(Ok(permit)) => permit,
        Ok(Err(_)) => return unknown("the session with the monitors is closed"),
        Err(_) => {
            return unknown(format!(
                "other looks into pools took all of the {seconds} s there were"
            ));
        }
    };
    let stage = Arc::new(Stage::default());
    stage.set(CONNECTING);
    let order = Order {
        library: client.library,
        options: client.options.clone(),
        limits: client.limits,
        fsid: client.fsid.clone(),
        pool: pool.clone(),
        map: map.clone(),
        end,
        stage: Arc::clone(&stage),
    };
    let token = client.sessions.open();
    let (sender, receiver) = oneshot::channel();
    let spawned = thread::Builder::new()
        .name("rados-look".into())
        .spawn(move || {
            match order.connect() {
                Ok(cluster) => {
                    // Nobody listens where the deadline came first.
                    let _ = sender.send(order.run(&cluster));
                    cluster.shutdown();
                }
                Err(contents) => drop(sender.send(contents)),
            }
            drop((token, permit));
        });
    if let Err(error) = spawned {
        return unknown(format!("no thread to look with: {error}"));
    }
    match timeout_at(end, receiver).await {
        Ok(Ok(contents)) => contents,
        Ok(Err(_)) => unknown("the look broke off; the log says why"),
        Err(_) => unknown(format!(
            "{seconds} s were not enough to look everywhere; it was at: {}",
            stage.get()
        )),
    }
}

fn unknown(why: impl Into<String>) -> Contents {
    Contents::Unknown(why.into())
}

fn something(what: impl Into<String>) -> Contents {
    Contents::Something(what.into())
}

/// Where a look begins.
const CONNECTING: &str = "connecting to the monitors";

/// What the look is at, for the sentence of one that took too long.
#[derive(Debug, Default)]
struct Stage(Mutex<String>);

impl Stage {
    fn set(&self, what: &str) {
        let mut stage = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        what.clone_into(&mut stage);
    }

    fn get(&self) -> String {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// What the thread needs.
struct Order {
    library: &'static Library,
    options: ConnectOptions,
    limits: Limits,
    fsid: Fsid,
    pool: Pool,
    map: OsdMap,
    end: Instant,
    stage: Arc<Stage>,
}

impl Order {
    fn connect(&self) -> Looked<Arc<Cluster>> {
        self.stage.set(CONNECTING);
        let left = self.end.saturating_duration_since(Instant::now());
        let limits = Limits {
            connect_timeout: self.limits.connect_timeout.min(left),
            command_timeout: self.limits.command_timeout.min(left),
            ..self.limits
        };
        let further = [("rados_osd_op_timeout", options::seconds(OSD_TIMEOUT))];
        let (cluster, answered) = options::connect(self.library, &self.options, &limits, &further)
            .map_err(|error| unknown(error.to_string()))?;
        if answered != self.fsid {
            cluster.shutdown();
            return Err(unknown(format!(
                "the monitors answer for cluster {answered}, not for {}",
                self.fsid
            )));
        }
        Ok(cluster)
    }

    fn run(&self, cluster: &Cluster) -> Contents {
        let look = Look {
            order: self,
            cluster,
            pool: &self.pool,
        };
        match look.run() {
            Ok(()) => Contents::Empty,
            Err(contents) => contents,
        }
    }
}

/// A look under way.
struct Look<'a> {
    order: &'a Order,
    cluster: &'a Cluster,
    pool: &'a Pool,
}

impl Look<'_> {
    /// All of it: cheap questions that name the user of the pool first, then what is in it, then
    /// who else may mean it.
    fn run(&self) -> Looked {
        self.begin("the OSD map")?;
        let facts = self.facts()?;
        self.begin("the file systems")?;
        self.file_systems()?;
        self.begin("the objects of the pool")?;
        let housekeeping = self.objects()?;
        self.begin("the figures of ceph df")?;
        self.figures(housekeeping)?;
        self.begin("the RBD images of other pools")?;
        self.images_elsewhere(&facts)?;
        self.begin("the zones of RGW")?;
        self.zones(&facts)?;
        // What was listed must have been this pool's: where there is no pool, nothing is listed.
        self.exists()
    }

    fn begin(&self, what: &str) -> Looked {
        self.order.stage.set(what);
        self.in_time()
    }

    /// To be asked before each operation, which may take a while itself.
    fn in_time(&self) -> Looked {
        if Instant::now() < self.order.end {
            Ok(())
        } else {
            Err(unknown(format!(
                "there was no time to look everywhere; it was at: {}",
                self.order.stage.get()
            )))
        }
    }

    /// Asks a monitor. For reads that only this look needs, so they are not commands of the door.
    fn ask(&self, prefix: &str) -> Looked<Vec<u8>> {
        self.in_time()?;
        let command = serde_json::json!({"prefix": prefix, "format": "json"}).to_string();
        let reply = CString::new(command)
            .ok()
            .and_then(|command| self.cluster.mon_command(&command))
            .ok_or_else(|| unknown("the session with the monitors is closed"))?;
        match reply.code {
            0 => Ok(reply.body),
            EACCES => Err(unknown(format!(
                "the monitors deny \"{prefix}\" to {}: its key needs mon \"allow r\"",
                self.user()
            ))),
            code if code == -ETIMEDOUT => {
                Err(unknown(format!("the monitors did not answer \"{prefix}\"")))
            }
            code => Err(unknown(format!(
                "the monitors answer \"{prefix}\" with {}: {}",
                options::reason(code),
                String::from_utf8_lossy(&reply.text)
            ))),
        }
    }

    /// Fails unless the session's own map has the pool: a listing of a pool that is not there, or
    /// not yet, ends at once as that of an empty one does.
    fn exists(&self) -> Looked {
        match self.cluster.pool_name(self.pool.id.0) {
            Ok(_) => Ok(()),
            Err(ENOENT) => Err(unknown(format!(
                "pool {} is not in the newest map",
                self.pool.id
            ))),
            Err(code) => Err(self.unreadable("the session's OSD map", code)),
        }
    }

    fn open(&self, pool: i64, name: &str) -> Looked<IoContext<'_>> {
        self.in_time()?;
        self.cluster
            .io_context(pool)
            .map_err(|code| self.unreadable(&format!("pool \"{name}\""), code))
    }

    /// Another pool; `None` when it has gone since the map was read: what was in it is gone too,
    /// and its number never comes back.
    fn open_other(&self, pool: i64, name: &str) -> Looked<Option<IoContext<'_>>> {
        self.in_time()?;
        match self.cluster.io_context(pool) {
            Ok(io) => Ok(Some(io)),
            Err(ENOENT) if self.cluster.pool_name(pool) == Err(ENOENT) => Ok(None),
            Err(code) => Err(self.unreadable(&format!("pool \"{name}\""), code)),
        }
    }

    /// All keys of an object that begin with `prefix`, and their values; `None` when there is no
    /// such object. `what` says whose they are.
    fn entries(
        &self,
        io: &IoContext<'_>,
        what: &str,
        object: &CStr,
        prefix: &CStr,
    ) -> Looked<Option<Vec<KeyValue>>> {
        let mut all: Vec<KeyValue> = Vec::new();
        let mut after = CString::default();
        loop {
            self.in_time()?;
            let (page, more) = match io.omap(object, &after, prefix, PAGE) {
                Ok(page) => page,
                Err(ENOENT) => return Ok(None),
                Err(code) => return Err(self.unreadable(what, code)),
            };
            let last = page.last().map(|(key, _)| key.clone());
            all.extend(page);
            let Some(last) = last.filter(|_| more) else {
                if more {
                    return Err(unknown(format!("{what} could not be read to the end")));
                }
                return Ok(Some(all));
            };
            after = CString::new(last)
                .ok()
                .filter(|last| *last > after)
                .ok_or_else(|| unknown(format!("{what} could not be read to the end")))?;
        }
    }

    /// Why something could not be read, and what would help.
    fn unreadable(&self, what: &str, code: i32) -> Contents {
        let user = self.user();
        unknown(match code {
            EPERM | EACCES => format!(
                "{what} may not be read by {user}: its key needs osd \"allow r\", without a pool, namespace or prefix"
            ),
            code if code == -ETIMEDOUT => format!(
                "{what} could not be read within {} s: there may be placement groups that are not active (see ceph pg dump_stuck), or the key of {user} lacks osd \"allow r\"",
                OSD_TIMEOUT.as_secs()
            ),
            code => format!("{what} could not be read: {}", options::reason(code)),
        })
    }

    fn user(&self) -> String {
        self.order.options.entity()
    }
}

/// Does the same for each item, several at a time, until one ends the look.
fn each<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> Looked<R> + Sync) -> Looked<Vec<R>> {
    let (next, ended) = (AtomicUsize::new(0), AtomicBool::new(false));
    let worker = || {
        let mut results = Vec::new();
        while !ended.load(Ordering::Relaxed)
            && let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed))
        {
            let result = work(item);
            ended.fetch_or(result.is_err(), Ordering::Relaxed);
            results.push(result);
        }
        results
    };
    let results = thread::scope(|scope| {
        let helpers: Vec<_> = (1..AT_ONCE.min(items.len()))
            .map_while(|_| {
                let helper = thread::Builder::new().name("rados-look".into());
                helper.spawn_scoped(scope, worker).ok()
            })
            .collect();
        let mut results = worker();
        for helper in helpers {
            match helper.join() {
                Ok(part) => results.extend(part),
                Err(_) => results.push(Err(unknown("the look broke off; the log says why"))),
            }
        }
        results
    });
    // What was found says more than what could not be read.
    let found = |result: &Looked<R>| matches!(result, Err(Contents::Something(_)));
    let (found, rest): (Vec<_>, Vec<_>) = results.into_iter().partition(found);
    found.into_iter().chain(rest).collect()
}

/// A name as a sentence shows it.
fn shown(name: &[u8]) -> String {
    const LONGEST: usize = 80;
    let name = String::from_utf8_lossy(name);
    let cut: String = name.chars().take(LONGEST).collect();
    let dots = if cut.len() < name.len() { "…" } else { "" };
    format!("{:?}", format!("{cut}{dots}"))
}

/// A name as librados takes it.
fn c_name(name: &[u8]) -> Looked<CString> {
    CString::new(name).map_err(|_| {
        unknown(format!(
            "the name {} has a zero byte, which librados does not take",
            shown(name)
        ))
    })
}
