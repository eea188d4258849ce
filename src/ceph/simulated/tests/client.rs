//! The simulated cluster behind the client's trait.

use std::sync::Mutex;
use std::time::Duration;

use super::super::client::{Fault, SimulatedClient};
use super::*;
use crate::ceph::client::{ClientError, MonClient};
use tokio::time::sleep;

const ROUND: Duration = Duration::from_secs(1);
const DEADLINE: Duration = Duration::from_secs(30);

fn client() -> SimulatedClient {
    SimulatedClient::new(Arc::new(Mutex::new(cluster())), ROUND)
}

fn timed_out(command: &'static str) -> Result<Reply, ClientError> {
    Err(ClientError::TimedOut {
        command,
        after: DEADLINE,
    })
}

/// Commands that arrive within a round time are one round, one epoch; a later one is the next.
#[tokio::test(start_paused = true)]
async fn commands_sent_together_are_one_round() {
    let client = client();
    let before = client.cluster().epoch().0;
    let commands = [
        set("p", "size", "4"),
        set("p", "min_size", "3"),
        set("x", "size", "2"),
    ];
    let (first, second, third) = tokio::join!(
        client.send(&commands[0], DEADLINE),
        client.send(&commands[1], DEADLINE),
        client.send(&commands[2], DEADLINE),
    );
    let got = [first, second, third].map(|reply| reply.map(|reply| reply.code));
    assert_eq!(got, [Ok(0), Ok(0), Ok(-2)]);
    assert_eq!(client.cluster().epoch(), Epoch(before + 1));
    let later = client.send(&set("p", "size", "3"), DEADLINE).await;
    assert_eq!(later.map(|reply| reply.code), Ok(0));
    assert_eq!(client.cluster().epoch(), Epoch(before + 2));
    assert_eq!(
        client.rounds(),
        [commands.to_vec(), vec![set("p", "size", "3")]]
    );
    assert_eq!(client.commands().get("osd pool set"), Some(&4));
    assert_eq!(client.writes(), 4);
}

/// Reads are answered at once, in the JSON of real monitors, and cost no round.
#[tokio::test(start_paused = true)]
async fn reads_are_answered_at_once() {
    let client = client();
    let began = tokio::time::Instant::now();
    let stat = client.send(&MonCommand::OsdStat, DEADLINE).await;
    let stat = stat.map(|reply| serde_json::from_slice::<serde_json::Value>(&reply.body).ok());
    let epoch = client.cluster().epoch().0;
    assert_eq!(
        stat.ok().flatten().map(|stat| stat["epoch"].as_u64()),
        Some(Some(epoch))
    );
    let dump = client.send(&MonCommand::OsdDump, DEADLINE).await;
    let map = dump.map(|reply| crate::ceph::osd_map::json::decode(&reply.body).ok());
    assert_eq!(map.ok().flatten().as_ref(), Some(client.cluster().map()));
    let dump = client.send(&MonCommand::CrushDump, DEADLINE).await;
    let crush = dump.map(|reply| crate::ceph::crush_map::json::decode(&reply.body).ok());
    assert_eq!(
        crush.ok().flatten().as_ref(),
        Some(client.cluster().crush())
    );
    assert_eq!(began.elapsed(), Duration::ZERO);
    assert_eq!((client.writes(), client.rounds().len()), (0, 0));
}

/// A command that timed out was never executed, was executed, or will be.
#[tokio::test(start_paused = true)]
async fn timeouts() {
    let size = |client: &SimulatedClient| sizes(&client.cluster(), "p").map(|sizes| sizes.0);
    let set = set("p", "size", "4");
    for (fault, at_once, later) in [
        (Fault::Lost, 3, 3),
        (Fault::ReplyLost, 4, 4),
        (Fault::Late(Duration::from_secs(40)), 3, 4),
    ] {
        let client = client();
        client.plan_fault("osd pool set", 1, fault.clone());
        assert_eq!(client.send(&set, DEADLINE).await, timed_out("osd pool set"));
        assert_eq!(size(&client), Some(at_once), "{fault:?}");
        sleep(Duration::from_secs(60)).await;
        assert_eq!(size(&client), Some(later), "{fault:?}");
        let next = client.send_alone(&set, DEADLINE).await;
        assert_eq!(next.map(|reply| reply.code), Ok(0), "only the next one");
    }
}

/// A caller who gives up takes nothing back.
#[tokio::test(start_paused = true)]
async fn a_short_deadline_does_not_cancel() {
    let client = client();
    let short = Duration::from_millis(100);
    let reply = client.send(&set("p", "size", "4"), short).await;
    assert!(reply.is_err_and(|error| error.outcome_unknown()));
    sleep(ROUND).await;
    assert_eq!(sizes(&client.cluster(), "p"), Some((4, 2)));
}

/// Codes and errors by command, and a cluster that cannot be reached.
#[tokio::test(start_paused = true)]
async fn other_faults() {
    let client = client();
    let denied = Fault::Reply {
        code: -13,
        text: "access denied".into(),
    };
    client.plan_fault("osd pool rename", 1, denied);
    client.plan_fault("osd pool", 2, Fault::Error(ClientError::Closed));
    let rename = rename("p", "q");
    let reply = client.send(&rename, DEADLINE).await;
    assert_eq!(reply.map(|reply| reply.code), Ok(-13));
    assert_eq!(
        client.send(&rename, DEADLINE).await,
        Err(ClientError::Closed)
    );
    client.clear_faults();
    client.set_unreachable(true);
    let unreachable = client.send(&MonCommand::OsdStat, DEADLINE).await;
    assert_eq!(unreachable, Err(ClientError::Unreachable(DEADLINE)));
    client.set_unreachable(false);
    let reply = client.send(&rename, DEADLINE).await;
    assert_eq!(reply.map(|reply| reply.code), Ok(0));
    assert!(client.cluster().pool("q").is_some());
    assert_eq!(client.commands().get("osd pool rename"), Some(&3));
}

/// Somebody else can come in between the plan and its round.
#[tokio::test(start_paused = true)]
async fn a_hook_runs_before_each_round() {
    let client = client();
    let mut calls = 0;
    client.before_round(move |cluster, commands| {
        calls += 1;
        assert_eq!(commands.len(), 1);
        if calls == 2 {
            cluster.round(&[rename("p", "taken")]);
        }
    });
    for expected in [0, -2] {
        let reply = client.send(&set("p", "size", "2"), DEADLINE).await;
        assert_eq!(reply.map(|reply| reply.code), Ok(expected));
    }
}

/// OSDs and manager do their part some time after a round.
#[tokio::test(start_paused = true)]
async fn a_settling_cluster_settles() {
    let cluster = Arc::new(Mutex::new(cluster()));
    let client = SimulatedClient::settling(cluster, ROUND, Duration::from_secs(2));
    let reply = client.send(&create("q"), DEADLINE).await;
    assert_eq!(reply.map(|reply| reply.code), Ok(0));
    let creating = |client: &SimulatedClient| of(&client.cluster(), "q", Pool::is_creating);
    assert_eq!(creating(&client), Some(true));
    sleep(Duration::from_secs(3)).await;
    assert_eq!(creating(&client), Some(false));
}
