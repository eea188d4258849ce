//! How the REST API bears up: a thousand reads a second for half a minute, while the controller makes changes, and then two
//! hundred changes at once of twenty pools.
//!
//! Run it with `make bench-rest`, which starts what it needs. All calls are by public programs (`hey`, `curl`), over TLS,
//! with a token that the API server knows; everything, Ceph and Kubernetes included, shares the machine.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::similar_names,
    clippy::format_push_string,
    clippy::cast_precision_loss,
    dead_code,
    unused_imports,
    unreachable_pub,
    missing_docs,
    reason = "it shares what starts clusters with the tests, and prints for a person"
)]

#[path = "../tests/it/real"]
mod real {
    pub(crate) mod support;
}

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use futures::future::join_all;
use k8s_openapi::api::rbac::v1::ClusterRoleBinding;
use kube::Api;
use serde_json::{Value, json};
use tokio::process::Command;
use tokio::task::JoinHandle;
use tokio::time::{Duration, Instant, MissedTickBehavior, interval, sleep};

use self::real::support::{Case, Own, World, apply, run, token, variable};

const POOLS: usize = 20;
/// Each of four kinds of reads.
const READS: usize = 250;
/// Who reads, each at its own connection.
const READERS: usize = 10;
const LENGTH: Duration = Duration::from_secs(30);

/// A server's certificate for this machine, its own issuer.
async fn certificate(dir: &Path) {
    let mut make = Command::new("openssl");
    make.args(["req", "-x509", "-newkey", "ec", "-pkeyopt"])
        .args(["ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"])
        .args(["-subj", "/CN=localhost", "-addext"])
        .arg("subjectAltName=DNS:localhost")
        .arg("-keyout")
        .arg(dir.join("tls.key"))
        .arg("-out")
        .arg(dir.join("tls.crt"));
    run(&mut make, None).await.expect("a certificate");
}

/// A caller who may do everything.
async fn admin(case: &Case) -> String {
    let name = format!("bench-{}", case.namespace);
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": name},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"kind": "ServiceAccount", "name": "bench", "namespace": case.namespace}],
    });
    let token = token(&case.client, &case.namespace, "bench", &[]).await;
    let bindings: Api<ClusterRoleBinding> = Api::all(case.client.clone());
    apply(&bindings, &name, &binding).await.expect("a binding");
    token
}

/// The API as it is called.
struct Server {
    dir: PathBuf,
    url: String,
    token: String,
}

impl Server {
    /// One call; the status and the body.
    async fn call(&self, method: &str, path: &str, body: Option<&Value>) -> (u16, Value) {
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--show-error", "--max-time", "90"])
            .args(["--noproxy", "*", "--cacert"])
            .arg(self.dir.join("tls.crt"))
            .args(["--header", &format!("Authorization: Bearer {}", self.token)])
            .args(["--request", method, "--write-out", "\n%{http_code}"]);
        if let Some(body) = body {
            curl.args(["--header", "Content-Type: application/json", "--data"])
                .arg(body.to_string());
        }
        curl.arg(format!("{}{path}", self.url));
        let said = run(&mut curl, None).await.expect("an answer");
        let (body, status) = said.rsplit_once('\n').expect("a status");
        (
            status.parse().expect("a number"),
            serde_json::from_str(body).unwrap_or_default(),
        )
    }

    /// Reads of one path at a steady pace; how long each took, in seconds, and with which status it ended.
    async fn reads(&self, path: &str) -> Vec<(f64, u16)> {
        let mut hey = Command::new("hey");
        hey.args(["-o", "csv", "-z", &format!("{}s", LENGTH.as_secs())])
            .args(["-c", &READERS.to_string(), "-q"])
            .arg((READS / READERS).to_string())
            .args(["-H", &format!("Authorization: Bearer {}", self.token)])
            .arg(format!("{}{path}", self.url))
            .kill_on_drop(true);
        let ended = hey.output().await.expect("hey (its Debian package) runs");
        assert!(ended.status.success(), "{ended:?}");
        let table = String::from_utf8(ended.stdout).expect("text");
        let mut lines = table.lines();
        let head: Vec<&str> = lines.next().expect("a header").split(',').collect();
        let column = |name: &str| head.iter().position(|&found| found == name).expect(name);
        let (took, status) = (column("response-time"), column("status-code"));
        let cells = lines.map(|line| line.split(',').collect::<Vec<_>>());
        cells
            .map(|cells| (cells[took].parse().unwrap(), cells[status].parse().unwrap()))
            .collect()
    }
}

/// How many changes the controller has sent.
async fn sent(case: &Case) -> u64 {
    let commands = case.world.commands().await;
    let changes = (commands.iter()).filter(|(prefix, _)| {
        prefix.starts_with("osd pool") || prefix.starts_with("osd crush rule")
    });
    changes.map(|(_, count)| count).sum()
}

async fn dump(case: &Case) -> Value {
    let said = case.ceph(&["osd", "dump", "-f", "json"]).await;
    serde_json::from_str(&said).expect("JSON")
}

/// A thousand reads a second, beside a controller that carries out three changes a second.
async fn reads(server: &Server, case: &Case, fsid: &str, pools: &[i64], request: &str) {
    let paths = [
        format!("/cluster/{fsid}/pool/{}", pools[0]),
        format!("/cluster/{fsid}/pool"),
        format!("/request/{request}"),
        format!("/cluster/{fsid}/request?page_size=20"),
    ];
    let before = sent(case).await;
    let (kinds, changed) = tokio::join!(
        join_all(paths.iter().map(|path| server.reads(path))),
        async {
            let mut ticks = interval(Duration::from_millis(333));
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            let (began, mut changed) = (Instant::now(), 0);
            while began.elapsed() < LENGTH {
                ticks.tick().await;
                let pool = pools[changed % POOLS];
                let body = json!({"quota_max_objects": 1000 + changed});
                let path = format!("/cluster/{fsid}/pool/{pool}");
                let (status, said) = server.call("PATCH", &path, Some(&body)).await;
                assert_eq!(status, 202, "{said}");
                changed += 1;
            }
            changed
        },
    );
    let sent = sent(case).await - before;
    println!(
        "`GET` over TLS at {} a second for {} s, beside {changed} changes ({sent} commands); in ms:\n",
        4 * READS,
        LENGTH.as_secs()
    );
    println!("| what | answers | a second | not 200 | half | 90 of 100 | 99 of 100 | all |");
    println!("|---|---|---|---|---|---|---|---|");
    let mut all = Vec::new();
    for (path, kind) in paths.iter().zip(kinds) {
        let named = path.replace(fsid, "{fsid}").replace(request, "{id}");
        println!("{}", line(&format!("`{named}`"), &kind));
        all.extend(kind);
    }
    println!("{}", line("all", &all));
}

fn line(what: &str, answers: &[(f64, u16)]) -> String {
    let mut took: Vec<f64> = answers.iter().map(|(took, _)| *took).collect();
    took.sort_by(f64::total_cmp);
    let bad = answers.iter().filter(|(_, status)| *status != 200).count();
    let rate = took.len() as f64 / LENGTH.as_secs_f64();
    let mut text = format!("| {what} | {} | {rate:.0} | {bad} |", took.len());
    for part in [500, 900, 990, 1000] {
        let at = took[(took.len() - 1) * part / 1000] * 1e3;
        let _ = write!(text, " {at:.1} |");
    }
    text
}

/// All calls, as curl reads them.
fn config(server: &Server, fsid: &str, calls: &[(i64, &Value)]) -> String {
    let mut config = String::new();
    for (at, (pool, body)) in calls.iter().enumerate() {
        let more = if at == 0 { "" } else { "next\n" };
        let _ = write!(
            config,
            "{more}url = \"{}/cluster/{fsid}/pool/{pool}\"\nrequest = PATCH\nsilent\nshow-error\nmax-time = 90\n\
             noproxy = \"*\"\ncacert = \"{}\"\nheader = \"Authorization: Bearer {}\"\n\
             header = \"Content-Type: application/json\"\ndata = {:?}\noutput = \"{}\"\n\
             write-out = \"%{{http_code}} %{{time_total}}\\n\"\n",
            server.url,
            server.dir.join("tls.crt").display(),
            server.token,
            body.to_string(),
            server.dir.join(format!("answer-{at}")).display(),
        );
    }
    config
}

/// Ten changes of each pool at once, by as many calls of curl as there are.
async fn changes(server: &Server, case: &Case, fsid: &str, pools: &[i64]) {
    let bodies = [
        json!({"quota_max_objects": 11}),
        json!({"quota_max_bytes": 22_000_000}),
        json!({"pg_autoscale_mode": "warn"}),
        json!({"min_size": 1}),
        json!({"size": 2}),
        json!({"crush_rule": "replicated_rule"}),
        json!({"application": "cephfs"}),
        json!({"application": "rgw"}),
        json!({"quota_max_objects": 11}),
        json!({"quota_max_bytes": 22_000_000}),
    ];
    let before = sent(case).await;
    let calls: Vec<(i64, &Value)> = (pools.iter())
        .flat_map(|&pool| bodies.iter().map(move |body| (pool, body)))
        .collect();
    let config = config(server, fsid, &calls);
    let calls = calls.len();
    let file = server.dir.join("changes");
    std::fs::write(&file, config).expect("written");
    let mut curl = Command::new("curl");
    curl.args([
        "--parallel",
        "--parallel-immediate",
        "--parallel-max",
        "200",
        "--config",
    ])
    .arg(&file);
    let began = Instant::now();
    let said = run(&mut curl, None).await.expect("answers");
    let answered = began.elapsed();
    let (mut took, mut statuses) = (Vec::new(), BTreeMap::<&str, usize>::new());
    for line in said.lines() {
        let (status, time) = line.split_once(' ').expect("two words");
        took.push(time.parse::<f64>().expect("seconds"));
        *statuses.entry(status).or_default() += 1;
    }
    took.sort_by(f64::total_cmp);
    let mut requests = BTreeMap::new();
    for at in 0..calls {
        let body = std::fs::read(server.dir.join(format!("answer-{at}"))).unwrap_or_default();
        let said: Value = serde_json::from_slice(&body).unwrap_or_default();
        if let Some(id) = said["request_id"].as_str() {
            *requests.entry(id.to_owned()).or_insert(0) += 1;
        }
    }
    let mut failed = 0;
    for id in requests.keys() {
        let (_, said) = server
            .call("GET", &format!("/request/{id}?wait=60s"), None)
            .await;
        failed += usize::from(said["state"] != "complete" || said["error"] != false);
    }
    let complete = began.elapsed();
    let dump = dump(case).await;
    let wrong = pools.iter().filter(|&&id| {
        let mut all = dump["pools"].as_array().expect("pools").iter();
        let pool = all.find(|pool| pool["pool"] == id).expect("the pool");
        let shown = [
            "quota_max_objects",
            "quota_max_bytes",
            "pg_autoscale_mode",
            "size",
            "min_size",
        ];
        let shown: Vec<&Value> = shown.iter().map(|&name| &pool[name]).collect();
        let applications = pool["application_metadata"]
            .as_object()
            .expect("applications");
        let named: Vec<&str> = applications.keys().map(String::as_str).collect();
        json!(shown) != json!([11, 22_000_000, "warn", 2, 1]) || named != ["cephfs", "rbd", "rgw"]
    });
    let wrong = wrong.count();
    let sent = sent(case).await - before;
    println!(
        "\n{calls} `PATCH` of {} pools at once, over TLS:\n",
        pools.len()
    );
    println!(
        "- answers by status: {statuses:?} (304: it was so already), all within {answered:.1?}; half within {:.2} s",
        took[took.len() / 2]
    );
    println!(
        "- requests: {} of as many IDs, {} of them twice, {failed} failed; all complete after {complete:.1?} with {sent} commands",
        requests.len(),
        requests.values().filter(|&&times| times > 1).count()
    );
    println!("- pools that do not show all ten in the end: {wrong}");
    assert!(failed == 0 && wrong == 0, "something was lost");
    assert!(
        statuses
            .keys()
            .all(|status| ["202", "304"].contains(status)),
        "{statuses:?}"
    );
}

#[tokio::main]
async fn main() {
    let dir = PathBuf::from(variable("POOLWRIGHT_TEST_DIR")).join("bench-rest");
    std::fs::create_dir_all(&dir).expect("a folder");
    certificate(&dir).await;
    let own = Own {
        rest: vec![
            format!("--rest-tls-cert={}", dir.join("tls.crt").display()),
            format!("--rest-tls-key={}", dir.join("tls.key").display()),
        ],
        env: vec![("RUST_LOG".into(), "info".into())],
        ..Own::default()
    };
    let world = World::own(own).await;
    let case = Case::new(world, "bench").await;
    let port = case.world.running().expect("it runs").rest().port();
    let server = Server {
        dir,
        url: format!("https://localhost:{port}/api/v2"),
        token: admin(&case).await,
    };
    let fsid = case.ceph(&["fsid"]).await.trim().to_owned();
    let mut pools = Vec::new();
    let mut request = String::new();
    for at in 0..POOLS {
        let body = json!({"name": format!("bench-{at}"), "pg_num": 1, "namespace": case.namespace});
        let (status, said) = server
            .call("POST", &format!("/cluster/{fsid}/pool"), Some(&body))
            .await;
        assert_eq!(status, 202, "{said}");
        said["request_id"]
            .as_str()
            .expect("an ID")
            .clone_into(&mut request);
        let path = format!("/request/{request}?wait=60s");
        let (_, said) = server.call("GET", &path, None).await;
        assert_eq!(
            (&said["state"], &said["error"]),
            (&json!("complete"), &json!(false)),
            "{said}"
        );
        let dump = dump(&case).await;
        let mut all = dump["pools"].as_array().expect("pools").iter();
        let pool = all.find(|pool| pool["pool_name"] == format!("bench-{at}"));
        let pool = pool.expect("the pool");
        pools.push(pool["pool"].as_i64().expect("an id"));
    }
    reads(&server, &case, &fsid, &pools, &request).await;
    changes(&server, &case, &fsid, &pools).await;
}
