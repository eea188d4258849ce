//! The rules that need a cluster which may be broken for a while: a dump that nobody can read, monitors that answer
//! late, and a controller that is killed meanwhile.

use std::process::Stdio;

use kube::ResourceExt;
use poolwright::ceph::command::MonCommand;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::{Instant, timeout};

use crate::real::steps::{ANNOTATION, SMALL, annotation, create, remove, status, tag, untag};
use crate::real::support::{Case, LIMIT, Own, World, holds};

/// The rules that need a cluster which may be broken for a while, one after the other.
#[tokio::test(flavor = "multi_thread")]
async fn on_a_cluster_of_its_own() {
    let world = World::own(Own {
        ceph: vec![("OSDS", "3")],
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
    case.cluster().monitor("pause-mon").await;
    // Ours, with the monitor frozen when its create is sent; recorded while the last answer is still a fresh one.
    case.apply("late", SMALL).await;
    case.begun("late").await;
    // The harm: -110 twice, and both are done.
    for command in [remove(&naive[0]), create(&naive[1])] {
        assert_eq!(tool.send(&command).await, -110, "ETIMEDOUT");
    }
    let object = case.until_says("late", "Unreachable").await;
    let recorded = status(&object).request.clone().expect("a request");
    assert!(
        recorded.nonce.is_some(),
        "it was recorded before it was sent: {recorded:#?}"
    );
    case.cluster().monitor("resume-mon").await;
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
    case.cluster().monitor("pause-mon").await;
    case.apply("later", SMALL).await;
    case.begun("later").await;
    case.world.kill_controller();
    case.world.start_controller().await;
    case.cluster().monitor("resume-mon").await;
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
    let before = case.ready("a").await;
    let sent = case.sent().await.len();
    for both in [false, true] {
        case.world.kill_controller();
        case.lose_status("a").await;
        if both {
            case.annotate("a", ANNOTATION, None).await;
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
                object.annotations().contains_key(ANNOTATION)
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
