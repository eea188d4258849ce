//! Safety rules 9, 11, 14, 15, 16 and 17, each beside what the naive commands do. (Rule 18, how many creates are in
//! flight, needs monitors that are slow in a known way: `monitor::throttle` and the flows on the simulated cluster.)

use std::process::Stdio;

use poolwright::api::v1alpha1::CephPool;
use poolwright::ceph::command::MonCommand;
use poolwright::ceph::types::PoolName;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::{Instant, timeout};

use super::steps::{create, ready, remove, status, tag, untag};
use super::support::{Case, LIMIT, Own, World, condition, holds, run};

/// Two numbers of a pool.
fn sizes(pool: &Value) -> (i64, i64) {
    (
        pool["size"].as_i64().expect("a size"),
        pool["min_size"].as_i64().expect("a min_size"),
    )
}

/// Whether a pool has a flag.
fn has_flag(pool: &Value, flag: &str) -> bool {
    pool["flags_names"]
        .as_str()
        .unwrap_or_default()
        .split(',')
        .any(|name| name == flag)
}

/// `osd pool set` of any pool.
fn set(pool: &str, variable: &str, value: &str) -> MonCommand {
    MonCommand::PoolSet {
        pool: PoolName::new(pool),
        variable: variable.to_owned(),
        value: value.to_owned(),
    }
}

/// The values that the controller has sent for a variable, in order.
async fn sent_values(case: &Case, variable: &str) -> Vec<String> {
    let sent = case.sent().await;
    let of_it = sent.iter().filter(|command| command["var"] == variable);
    of_it
        .map(|command| command["val"].as_str().expect("a value").to_owned())
        .collect()
}

/// Rule 9: `size` makes Ceph choose `min_size` anew, so it is set and checked after; and where Ceph lands below the safe
/// value, that is corrected although nobody named it.
#[tokio::test(flavor = "multi_thread")]
async fn size_does_not_lower_min_size() {
    let case = Case::shared("sizes").await;
    // The harm: a pool by hand, with the same steps.
    let naive = case.pool_name("naive");
    case.hand(&create(&naive)).await;
    case.hand(&set(&naive, "min_size", "3")).await;
    case.hand(&set(&naive, "size", "4")).await;
    assert_eq!(
        sizes(&case.its_pool("naive").await),
        (4, 2),
        "min_size was 3"
    );
    case.hand(&set(&naive, "size", "2")).await;
    assert_eq!(
        sizes(&case.its_pool("naive").await),
        (2, 1),
        "writes that one disk loses"
    );

    let spec = |sizes: &str| {
        format!(
            "{{{sizes}, applications: [{{name: rbd}}], placementGroups: {{autoscale: Disabled, count: 4}}}}"
        )
    };
    case.apply("a", &spec("replicated: {size: 3}, minSize: 3"))
        .await;
    case.ready("a").await;
    assert_eq!(sizes(&case.its_pool("a").await), (3, 3));
    for (sizes_asked, expected) in [
        ("replicated: {size: 4}, minSize: 3", (4, 3)),
        ("replicated: {size: 3}, minSize: 2", (3, 2)),
        // Nobody names minSize any more: what it is stays, as long as that is safe.
        ("replicated: {size: 2}", (2, 2)),
        ("replicated: {size: 3}", (3, 2)),
        ("replicated: {size: 2}, minSize: 2", (2, 2)),
    ] {
        case.apply("a", &spec(sizes_asked)).await;
        case.ready("a").await;
        assert_eq!(sizes(&case.its_pool("a").await), expected, "{sizes_asked}");
    }
    // Drift of the one drags the other along.
    case.set("a", "size", "3").await;
    case.set("a", "size", "2").await;
    case.until_pool("a", "safe again", |pool| sizes(pool) == (2, 2))
        .await;
}

/// Rule 11: a bound that excludes the present number of placement groups moves that first; with autoscale Enabled the
/// number is the autoscaler's.
#[tokio::test(flavor = "multi_thread")]
async fn placement_groups_and_their_bounds() {
    let case = Case::shared("pgs").await;
    // The harm: in the order of the manifest, Ceph refuses the bound.
    let naive = case.pool_name("naive");
    case.hand(&create(&naive)).await;
    for (bound, value) in [("pg_num_min", "4"), ("pg_num_max", "1")] {
        let said = case
            .cluster()
            .try_ceph(&["osd", "pool", "set", &naive, bound, value])
            .await;
        assert!(!said.ok && said.err.contains("EINVAL"), "{said:?}");
    }

    let spec = |groups: &str| {
        format!(
            "{{replicated: {{size: 3}}, applications: [{{name: rbd}}], placementGroups: {{{groups}}}}}"
        )
    };
    let numbers = |pool: &Value| {
        let option = |name: &str| pool["options"][name].as_i64().unwrap_or(0);
        (
            pool["pg_num_target"].as_i64().unwrap_or(0),
            option("pg_num_min"),
            option("pg_num_max"),
        )
    };
    case.apply("a", &spec("autoscale: Disabled, count: 4"))
        .await;
    case.ready("a").await;
    for (groups, expected) in [
        ("autoscale: Disabled, count: 8, min: 8", (8, 8, 0)),
        ("autoscale: Disabled, count: 4, min: 2, max: 4", (4, 2, 4)),
        ("autoscale: Disabled, count: 8, min: 8, max: 8", (8, 8, 8)),
        ("autoscale: Disabled, count: 2, min: 1, max: 2", (2, 1, 2)),
        // Without a count, the bound alone moves it.
        ("autoscale: Disabled, min: 4", (4, 4, 0)),
        ("autoscale: Disabled, max: 2", (2, 0, 2)),
    ] {
        case.apply("a", &spec(groups)).await;
        case.ready("a").await;
        assert_eq!(numbers(&case.its_pool("a").await), expected, "{groups}");
    }

    // Autoscaled: the count is for the creation, and then not ours. (Numbers that the cluster's own
    // autoscaler leaves alone, should it come by: it wants 32, or `max`, and moves what is off by
    // more than a factor of three.)
    case.apply("auto", &spec("autoscale: Enabled, count: 32"))
        .await;
    case.ready("auto").await;
    assert_eq!(numbers(&case.its_pool("auto").await), (32, 0, 0));
    let before = sent_values(&case, "pg_num").await;
    case.set("auto", "pg_num", "16").await;
    let object = case.looked("auto").await;
    assert_eq!(ready(&object).0, "True", "{:?}", ready(&object));
    assert_eq!(sent_values(&case, "pg_num").await, before);
    // A bound that excludes what it is moves it there, once.
    case.apply("auto", &spec("autoscale: Enabled, count: 32, max: 8"))
        .await;
    case.ready("auto").await;
    assert_eq!(numbers(&case.its_pool("auto").await), (8, 0, 8));
    let mut moved = before.clone();
    moved.push("8".to_owned());
    assert_eq!(sent_values(&case, "pg_num").await, moved);
}

/// Rule 15: a field that somebody undoes again and again is corrected three times, then both are told apart by the
/// condition, which names the field and what it is set to.
#[tokio::test(flavor = "multi_thread")]
async fn fights_end() {
    let case = Case::shared("fight").await;
    let spec = "{replicated: {size: 3}, applications: [{name: rbd}], placementGroups: {autoscale: Disabled, count: 4}, quota: {maxObjects: 100}}";
    case.apply("a", spec).await;
    case.ready("a").await;
    let corrections = async || {
        let sent = case.sent().await;
        sent.iter()
            .filter(|command| command["field"] == "max_objects")
            .count()
            - 1
    };
    for round in 1..=3 {
        case.set("a", "max_objects", "7").await;
        case.until_pool("a", "is corrected", |pool| pool["quota_max_objects"] == 100)
            .await;
        assert_eq!(corrections().await, round);
    }
    case.set("a", "max_objects", "7").await;
    let message = case.stalled("a", "Contested").await;
    assert!(
        message.starts_with("somebody else keeps setting quota.maxObjects to 7; "),
        "{message}"
    );
    assert!(
        message.contains("take quota.maxObjects out of the manifest, or stop the other"),
        "{message}"
    );
    assert!(
        message.contains("it is corrected again after "),
        "{message}"
    );
    case.set("a", "max_objects", "8").await;
    case.wait_for("the message follows", LIMIT, async || {
        let object = case.object("a").await;
        holds(
            ready(&object).2.contains("quota.maxObjects to 8"),
            &ready(&object),
        )
    })
    .await;
    assert_eq!(corrections().await, 3);
    assert_eq!(case.its_pool("a").await["quota_max_objects"], 8);
    let object = case.object("a").await;
    let drift = status(&object).drift.as_ref().expect("it is counted");
    assert_eq!(
        (drift.corrections, drift.last_fields.as_slice()),
        (3, ["quota.maxObjects".to_owned()].as_slice())
    );
    // Corrections share one request.
    let requests = case.requests("a").await;
    assert_eq!(requests.len(), 2, "{requests:#?}");

    // The other gives in.
    case.set("a", "max_objects", "100").await;
    case.ready("a").await;
    // Or a person decides: a changed manifest, or a wish for another look, is a new start.
    case.set("a", "max_objects", "7").await;
    case.stalled("a", "Contested").await;
    case.annotate("a", "poolwright.dev/reconcile-requested-at", Some("again"))
        .await;
    case.until_pool("a", "is corrected", |pool| pool["quota_max_objects"] == 100)
        .await;
    case.ready("a").await;
}

/// Rule 17: flags that lock are lifted for a change and set again at the end, when nothing is under way any more;
/// those that somebody else has set are respected and named.
#[tokio::test(flavor = "multi_thread")]
async fn locks() {
    let case = Case::shared("locks").await;
    // The harm: with its lock on, a pool under creation could not be removed again.
    let naive = case.pool_name("naive");
    case.hand(&create(&naive)).await;
    case.hand(&set(&naive, "nodelete", "true")).await;
    let said = case
        .cluster()
        .try_ceph(&[
            "osd",
            "pool",
            "rm",
            &naive,
            &naive,
            "--yes-i-really-really-mean-it",
        ])
        .await;
    assert!(!said.ok && said.err.contains("EPERM"), "{said:?}");

    let spec = |size: u8, count: u8, flags: &str| {
        format!(
            "{{replicated: {{size: {size}}}, applications: [{{name: rbd}}], placementGroups: {{autoscale: Disabled, count: {count}}}{flags}}}"
        )
    };
    let all = ", flags: {noSizeChange: true, noPgChange: true, noDelete: true}";
    case.apply("a", &spec(3, 4, all)).await;
    case.ready("a").await;
    let locked = |pool: &Value| {
        ["nosizechange", "nopgchange", "nodelete"]
            .iter()
            .all(|flag| has_flag(pool, flag))
    };
    assert!(locked(&case.its_pool("a").await));
    let nodelete: Vec<Value> = case
        .sent()
        .await
        .into_iter()
        .filter(|command| command["var"] == "nodelete")
        .collect();
    let names: Vec<&Value> = nodelete.iter().map(|command| &command["pool"]).collect();
    assert_eq!(
        names,
        [&case.pool_name("a")],
        "never under the private name"
    );

    case.apply("a", &spec(2, 8, all)).await;
    case.ready("a").await;
    // The manager moves the placement groups, which nopgchange would keep it from.
    let pool = case
        .until_pool(
            "a",
            "is locked again, with its placement groups where they should be",
            |pool| {
                let done = ["pg_num", "pg_placement_num"]
                    .iter()
                    .all(|number| pool[number] == 8);
                done && locked(pool)
            },
        )
        .await;
    assert_eq!(sizes(&pool), (2, 2));
    case.ready("a").await;
    let change = case.requests("a").await.pop().expect("a request");
    case.wait_for("the request has ended", LIMIT, async || {
        let change = case
            .requests("a")
            .await
            .into_iter()
            .find(|request| request.metadata.name == change.metadata.name);
        let outcome = change
            .and_then(|change| change.status)
            .and_then(|status| status.outcome);
        holds(
            outcome == Some(poolwright::api::v1alpha1::Outcome::Succeeded),
            &outcome,
        )
    })
    .await;

    // Somebody else's.
    case.apply("b", &spec(3, 4, "")).await;
    case.ready("b").await;
    for (flag, size, count, begins) in [
        ("nosizechange", 2, 4, "size is 3 and 2 is asked for"),
        (
            "nopgchange",
            3,
            8,
            "placementGroups.count: pg_num is 4 and 8 is asked for",
        ),
    ] {
        case.set("b", flag, "true").await;
        case.seen().await;
        case.apply(
            "b",
            &spec(size, count, &format!(", quota: {{maxObjects: {size}}}")),
        )
        .await;
        let message = case.stalled("b", "Blocked").await;
        assert!(message.starts_with(begins), "{message}");
        let remedy = format!(
            "take it off with `ceph osd pool set {} {flag} false`, or name it in spec.flags",
            case.pool_name("b")
        );
        assert!(message.contains(&remedy), "{message}");
        let pool = case.its_pool("b").await;
        assert_eq!(
            (sizes(&pool), &pool["pg_num_target"]),
            ((3, 2), &json!(4)),
            "{flag}"
        );
        assert_eq!(pool["quota_max_objects"], size, "the rest is applied");
        assert!(has_flag(&pool, flag), "it stays");
        case.set("b", flag, "false").await;
        case.ready("b").await;
        let pool = case.its_pool("b").await;
        assert_eq!(
            (sizes(&pool), &pool["pg_num_target"]),
            ((i64::from(size), 2), &json!(count)),
            "{flag}"
        );
        case.apply("b", &spec(3, 4, "")).await;
        case.ready("b").await;
    }
}

/// The rules that need a cluster which may be broken for a while, one after the other.
#[tokio::test(flavor = "multi_thread")]
async fn on_a_cluster_of_its_own() {
    let world = World::own(Own {
        ceph: vec![("OSDS", "2")],
        ..Own::default()
    })
    .await;
    // No answer after two seconds is a time-out.
    world
        .connect(
            "main",
            world.ceph(),
            json!({"client": {"commandTimeout": "2s"}}),
        )
        .await;
    let case = Case::new(world, "alone").await;
    a_key_that_breaks_the_dump(&case).await;
    late_commands(&case).await;
    late_commands_and_a_restart(&case).await;
    a_lost_status_and_a_restart(&case).await;
}

/// What a pool of size 2 is asked to be.
const SMALL: &str = "{replicated: {size: 2}, applications: [{name: rbd}], placementGroups: {autoscale: Disabled, count: 2}}";

/// Rule 14: a quote in a key makes the JSON of the map invalid for everybody. Our objects cannot have one; somebody
/// else's does not keep us from our work, which leaves it alone.
async fn a_key_that_breaks_the_dump(case: &Case) {
    case.apply("a", SMALL).await;
    case.ready("a").await;
    let refused = case
        .try_apply(
            "b",
            r#"{replicated: {size: 2}, applications: [{name: rbd, metadata: {'a"b': c}}]}"#,
        )
        .await;
    assert!(refused.is_err(), "our schema refuses it");
    let name = case.pool_name("a");
    case.hand(&tag(&name, "a\"b", "c")).await;
    // The harm.
    let broken = async || {
        let reply = case.hand(&MonCommand::OsdDump).await;
        serde_json::from_slice::<Value>(&reply.body).is_err()
    };
    assert!(broken().await, "invalid JSON for everybody");

    case.apply("a", &SMALL.replace("size: 2", "size: 3")).await;
    case.ready("a").await;
    assert!(broken().await, "somebody else's key was left alone");
    case.hand(&untag(&name, "a\"b")).await;
    assert_eq!(case.its_pool("a").await["size"], 3);
}

/// Freezes or thaws the monitor.
async fn monitor(case: &Case, action: &str) {
    let script = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/env/ceph-cluster.sh");
    let said = run(
        Command::new(script).arg(action).arg(case.cluster().dir()),
        None,
    )
    .await;
    said.expect(action);
}

/// A tool as many are: librados with its own time limit, and what was not answered counts as failed.
struct Naive {
    _child: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
}

impl Naive {
    const SCRIPT: &str = "
import rados, sys
cluster = rados.Rados(conffile=sys.argv[1], conf={'rados_mon_op_timeout': '1'})
cluster.connect()
for line in sys.stdin:
    print(cluster.mon_command(line, b'')[0], flush=True)
";

    fn start(case: &Case) -> Self {
        let mut child = Command::new(Self::python())
            .args(["-c", Self::SCRIPT])
            .arg(case.cluster().conf())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("python3 with the bindings that Ceph's own client uses");
        Self {
            input: child.stdin.take().expect("its input"),
            output: BufReader::new(child.stdout.take().expect("its output")).lines(),
            _child: child,
        }
    }

    /// The Python that has Ceph's bindings: the one that `ceph` itself runs with.
    fn python() -> String {
        let path = std::env::var("PATH").unwrap_or_default();
        let ceph = std::env::split_paths(&path)
            .map(|folder| folder.join("ceph"))
            .find(|file| file.exists());
        let text = std::fs::read_to_string(ceph.expect("ceph")).expect("a script");
        let first = text.lines().next().and_then(|line| line.strip_prefix("#!"));
        let interpreter = first.and_then(|first| first.split_whitespace().next());
        interpreter.expect("its interpreter").to_owned()
    }

    /// Sends a command; the code it gets.
    async fn send(&mut self, command: &MonCommand) -> i32 {
        let line = format!("{}\n", command.to_json());
        self.input
            .write_all(line.as_bytes())
            .await
            .expect("it reads");
        let answer = timeout(LIMIT, self.output.next_line())
            .await
            .expect("an answer in time");
        answer
            .expect("text")
            .expect("a line")
            .parse()
            .expect("a number")
    }
}

/// Rule 16: what was not answered may still be executed. Naive tools take it for failed.
async fn late_commands(case: &Case) {
    let naive = [case.pool_name("naive-old"), case.pool_name("naive-new")];
    let mut tool = Naive::start(case);
    assert_eq!(tool.send(&create(&naive[0])).await, 0);
    monitor(case, "pause-mon").await;
    // The harm: -110 twice, and both are done.
    for command in [remove(&naive[0]), create(&naive[1])] {
        assert_eq!(tool.send(&command).await, -110, "ETIMEDOUT");
    }
    // Ours, with the monitor frozen when its create is sent.
    case.apply("late", SMALL).await;
    let object = case
        .until("late", "says that nobody answers", |object| {
            condition(object, "Ready").is_some_and(|ready| ready.1 == "Unreachable")
        })
        .await;
    let recorded = status(&object).request.clone().expect("a request");
    assert!(
        recorded.nonce.is_some(),
        "it was recorded before it was sent: {recorded:#?}"
    );
    monitor(case, "resume-mon").await;
    case.wait_for("the naive commands are executed", LIMIT, async || {
        let names = case.pool_names().await;
        holds(
            !names.contains(&naive[0]) && names.contains(&naive[1]),
            &names,
        )
    })
    .await;
    let object = case.ready("late").await;
    assert_eq!(
        status(&object).request_id,
        Some(recorded.id),
        "the same request, to its end"
    );
    case.hand(&remove(&naive[1])).await;
    one_pool(case, "late").await;
}

/// The same with the controller killed and started again while the monitor is frozen.
async fn late_commands_and_a_restart(case: &Case) {
    monitor(case, "pause-mon").await;
    case.apply("later", SMALL).await;
    case.until("later", "recorded its creation", |object| {
        let request = object
            .status
            .as_ref()
            .and_then(|status| status.request.as_ref());
        request.is_some_and(|request| request.nonce.is_some())
    })
    .await;
    case.world.kill_controller();
    case.world.start_controller().await;
    monitor(case, "resume-mon").await;
    case.ready("later").await;
    one_pool(case, "later").await;
    let requests = case.requests("later").await;
    assert_eq!(requests.len(), 1, "{requests:#?}");
}

/// One pool of this object, under its real name, and nothing under a private one.
async fn one_pool(case: &Case, name: &str) {
    let names = case.pool_names().await;
    let of_it: Vec<&String> = names
        .iter()
        .filter(|pool| pool.starts_with(&case.pool_name(name)))
        .collect();
    assert_eq!(of_it, [&case.pool_name(name)]);
    assert!(
        !names.iter().any(|name| name.contains(".poolwright-")),
        "{names:?}"
    );
    let made: Vec<Value> = case
        .sent()
        .await
        .into_iter()
        .filter(|command| command["prefix"] == "osd pool create")
        .filter(|command| command["pool"].to_string().contains(&case.pool_name(name)))
        .collect();
    let mut names: Vec<String> = made
        .iter()
        .map(|command| command["pool"].to_string())
        .collect();
    names.dedup();
    assert_eq!(names.len(), 1, "never under a second name: {made:?}");
}

/// Rule 4: status and memory lost, the annotation and the mark are enough; and so is the mark alone.
async fn a_lost_status_and_a_restart(case: &Case) {
    let annotation = |object: &CephPool| {
        object
            .metadata
            .annotations
            .as_ref()
            .and_then(|all| all.get("poolwright.dev/pool").cloned())
    };
    let before = case.ready("a").await;
    let sent = case.sent().await.len();
    for both in [false, true] {
        case.world.kill_controller();
        let patch = r#"[{"op": "remove", "path": "/status"}]"#;
        case.kubectl(&[
            "patch",
            "cpool",
            "a",
            "--subresource=status",
            "--type=json",
            "-p",
            patch,
        ])
        .await;
        if both {
            case.annotate("a", "poolwright.dev/pool", None).await;
        }
        let began = Instant::now();
        case.world.start_controller().await;
        let after = case.ready("a").await;
        println!("status rebuilt {:?} after the start", began.elapsed());
        assert_eq!(status(&after).pool_id, status(&before).pool_id);
        assert_eq!(
            status(&after).applied_fields,
            status(&before).applied_fields
        );
        let after = case
            .until("a", "has its annotation", |object| {
                annotation(object).is_some()
            })
            .await;
        assert_eq!(annotation(&after), annotation(&before));
    }
    assert_eq!(case.sent().await.len(), sent);
    // And drift is still noticed.
    case.set("a", "size", "2").await;
    case.until_pool("a", "is corrected", |pool| pool["size"] == 3)
        .await;
}
