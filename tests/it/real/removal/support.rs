//! What the tests of removals work with.

use std::process::Stdio;
use std::sync::Arc;

use poolwright::api::v1alpha1::{CephRequest, Operation};
use poolwright::ceph::contents::Contents;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::OnceCell;
use tokio::time::{Duration, timeout};

use crate::real::steps::slow;
pub(super) use crate::real::steps::{RECONCILE, gone, rados};
use crate::real::support::{CAPS, Case, Ceph, LIMIT, World, condition};

/// A blocked deletion looks again at least every 30 s.
pub(super) const GONE: Duration = Duration::from_secs(45);

/// A connection that grants everything, whose user may also look into pools.
async fn connect(world: &World, name: &str, ceph: &Ceph, more: Value) {
    let mut spec = json!({"grants": [{"name": "all", "namespaces": {"all": true},
        "allow": ["Create", "Update", "Adopt", "Rename", "Delete", "TakeOver"]}]});
    if let (Some(spec), Value::Object(more)) = (spec.as_object_mut(), more) {
        spec.extend(more);
    }
    world.connect(name, ceph, spec).await;
    let user = format!("client.poolwright-{name}");
    ceph.ceph(&["auth", "caps", &user, "mon", CAPS, "osd", "allow r"])
        .await;
}

/// A case on the shared cluster.
pub(super) async fn case(name: &str) -> Case {
    static CONNECTED: OnceCell<()> = OnceCell::const_new();
    let world = World::shared().await;
    let connected = || async {
        let world = World::shared().await;
        connect(&world, "removal", &Ceph::shared(), json!({})).await;
    };
    CONNECTED.get_or_init(connected).await;
    Case::with_connection(
        world,
        &format!("removal-{name}"),
        "removal",
        Arc::new(Ceph::shared()),
    )
    .await
}

/// A case on the shared cluster whose monitors take a second for each round.
pub(super) async fn slow_case(name: &str) -> Case {
    static CONNECTED: OnceCell<()> = OnceCell::const_new();
    let (world, ceph) = slow().await;
    let connected = || async {
        let (world, ceph) = slow().await;
        connect(&world, "slow-removal", &ceph, json!({})).await;
    };
    CONNECTED.get_or_init(connected).await;
    Case::with_connection(world, &format!("removal-{name}"), "slow-removal", ceph).await
}

/// A case with a connection of its own, and that connection's name.
pub(super) async fn case_on(name: &str, ceph: Ceph, more: Value) -> (Case, String) {
    let world = World::shared().await;
    let connection = format!("removal-{name}");
    let case = case_over(world, &connection, Arc::new(ceph), more).await;
    (case, connection)
}

/// A case with a connection of its own, in a world.
pub(super) async fn case_over(world: Arc<World>, name: &str, ceph: Arc<Ceph>, more: Value) -> Case {
    connect(&world, name, &ceph, more).await;
    Case::with_connection(world, name, name, ceph).await
}

/// Deletes an object.
pub(super) async fn delete(case: &Case, name: &str) {
    case.begin_deletion(name).await;
}

/// Waits until a deletion is blocked for this reason; gives the message.
pub(super) async fn blocked(case: &Case, name: &str, reason: &str) -> String {
    let object = case
        .until(name, &format!("DeletionBlocked {reason}"), |object| {
            condition(object, "DeletionBlocked").is_some_and(|found| found.1 == reason)
        })
        .await;
    let (_, reason, message) = condition(&object, "Ready").expect("Ready");
    assert_eq!(reason, "DeletionBlocked");
    message.to_owned()
}

/// Waits until it is written down that a pool is about to get its private name.
pub(super) async fn begun(case: &Case, name: &str) {
    case.until(name, "the removal has begun", |object| {
        let request = object
            .status
            .as_ref()
            .and_then(|status| status.request.as_ref());
        let nonce = request.and_then(|request| request.nonce.as_deref());
        nonce.is_some_and(|nonce| nonce.starts_with("del-"))
    })
    .await;
}

/// Waits until a pool has its private name; gives that.
pub(super) async fn renamed(case: &Case) -> String {
    let private = |name: &String| name.contains(".poolwright-del-");
    case.wait_for("a private name", LIMIT, async || {
        let names = case.pool_names().await;
        names
            .iter()
            .find(|name| private(name))
            .cloned()
            .ok_or_else(|| format!("{names:?}"))
    })
    .await
}

/// Waits until a new pool can be proven empty, so that its removal begins at once.
pub(super) async fn has_figures(case: &Case, pool: &str) {
    use poolwright::ceph::client::MonClient;
    let client = case.cluster().connect().await;
    case.wait_for("the pool can be looked into", LIMIT, async || {
        let map = poolwright::ceph::osd_map::json::decode(case.dump().await.to_string().as_bytes())
            .map_err(|error| error.to_string())?;
        let pool = map
            .pool_named(&poolwright::ceph::types::PoolName::new(pool))
            .ok_or("no pool")?;
        match client.contents(pool, &map, Duration::from_secs(20)).await {
            Contents::Empty => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
}

/// The command between backticks that begins and goes on so.
pub(super) fn command_in<'a>(message: &'a str, begins: &str, has: &str) -> &'a str {
    message
        .split('`')
        .find(|part| part.starts_with(begins) && part.contains(has))
        .unwrap_or_else(|| panic!("no command {begins}… {has} in {message}"))
}

/// The one request for a deletion.
pub(super) async fn delete_request(case: &Case, name: &str) -> CephRequest {
    let mut all = case.requests(name).await;
    all.retain(|request| request.spec.operation == Operation::Delete);
    assert_eq!(all.len(), 1, "{all:#?}");
    all.remove(0)
}

/// What each round of a removal does: the verb of its one command.
pub(super) fn verbs<'a>(rounds: &[Vec<&'a str>]) -> Vec<&'a str> {
    rounds
        .iter()
        .filter_map(|round| round[0].split(' ').nth(3))
        .collect()
}

/// A monitor that is frozen until this is dropped.
pub(super) struct Frozen(String);

impl Frozen {
    /// Freezes a monitor of a cluster of one's own.
    pub(super) fn mon(ceph: &Ceph, id: &str) -> Self {
        let path = ceph.dir().join(format!("run/mon.{id}.pid"));
        let pid = std::fs::read_to_string(path).expect("the monitor's pid");
        let frozen = Self(pid.trim().to_owned());
        frozen.signal("-STOP");
        frozen
    }

    fn signal(&self, signal: &str) {
        let done = std::process::Command::new("kill")
            .args([signal, &self.0])
            .status();
        assert!(
            done.is_ok_and(|status| status.success()),
            "kill {signal} {}",
            self.0
        );
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        let _ = std::process::Command::new("kill")
            .args(["-CONT", &self.0])
            .status();
    }
}

/// A client that has opened a pool, and goes on with it whatever it is called.
pub(super) struct Client {
    _child: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
}

const SCRIPT: &str = r#"
import rados, sys
cluster = rados.Rados(conffile=sys.argv[1])
cluster.connect()
pool = cluster.open_ioctx(sys.argv[2])
print("open", flush=True)
for line in sys.stdin:
    words = line.split()
    if words[0] == "write":
        pool.write_full(words[1], words[2].encode())
        print("written", flush=True)
    else:
        print(pool.read(words[1]).decode(), flush=True)
"#;

impl Client {
    /// Opens a pool.
    pub(super) async fn open(ceph: &Ceph, pool: &str) -> Self {
        // Ceph's bindings belong to the system's Python.
        let mut child = Command::new("/usr/bin/python3")
            .args(["-c", SCRIPT])
            .arg(ceph.conf())
            .arg(pool)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("python3 with the rados bindings");
        let input = child.stdin.take().expect("its input");
        let output = BufReader::new(child.stdout.take().expect("its output")).lines();
        let mut client = Self {
            _child: child,
            input,
            output,
        };
        assert_eq!(client.answer().await, "open");
        client
    }

    pub(super) async fn write(&mut self, object: &str, text: &str) {
        self.say(&format!("write {object} {text}\n")).await;
        assert_eq!(self.answer().await, "written");
    }

    pub(super) async fn read(&mut self, object: &str) -> String {
        self.say(&format!("read {object}\n")).await;
        self.answer().await
    }

    async fn say(&mut self, line: &str) {
        self.input
            .write_all(line.as_bytes())
            .await
            .expect("it listens");
    }

    async fn answer(&mut self) -> String {
        let line = timeout(LIMIT, self.output.next_line())
            .await
            .expect("an answer");
        line.expect("a pipe").expect("a line")
    }
}
