//! What is counted, and how it reads.

use std::sync::{Arc, Mutex};

use super::client::CountingClient;
use super::*;
use crate::ceph::client::MonClient;
use crate::ceph::command::MonCommand;
use crate::ceph::command::permissions::Permission;
use crate::ceph::simulated::SimulatedCluster;
use crate::ceph::simulated::client::{Fault, SimulatedClient};
use crate::ceph::types::{Fsid, PoolName};

/// The lines that begin with a name.
fn lines(metrics: &Metrics, name: &str) -> Vec<String> {
    let text = metrics.encode().expect("a text");
    assert!(text.ends_with("# EOF\n"));
    text.lines()
        .filter(|line| line.starts_with(name))
        .map(str::to_owned)
        .collect()
}

/// Every event is in the text under its own labels.
#[test]
fn events() {
    let metrics = Metrics::new("abc");
    assert_eq!(
        lines(&metrics, "poolwright_build_info"),
        [format!(
            "poolwright_build_info{{version=\"{}\",commit=\"abc\"}} 1",
            env!("CARGO_PKG_VERSION")
        )]
    );
    let kind = Kind::CephPool;
    metrics.reconciled(kind, ReconcileOutcome::Succeeded, Duration::from_millis(2));
    metrics.reconciled(kind, ReconcileOutcome::Succeeded, Duration::from_millis(2));
    assert_eq!(
        lines(&metrics, "poolwright_reconciles_total"),
        ["poolwright_reconciles_total{kind=\"CephPool\",outcome=\"succeeded\"} 2"]
    );
    metrics.request(Operation::Update, Outcome::Failed);
    assert_eq!(
        lines(&metrics, "poolwright_requests_total"),
        ["poolwright_requests_total{operation=\"update\",outcome=\"failed\"} 1"]
    );
    metrics.round(Duration::from_millis(60));
    metrics.corrected(3);
    assert_eq!(
        lines(&metrics, "poolwright_rounds_total"),
        ["poolwright_rounds_total 1"]
    );
    assert_eq!(
        lines(&metrics, "poolwright_corrections_total"),
        ["poolwright_corrections_total 3"]
    );
    let run = metrics.run();
    assert_eq!(lines(&metrics, "poolwright_runs"), ["poolwright_runs 1"]);
    drop(run);
    assert_eq!(lines(&metrics, "poolwright_runs"), ["poolwright_runs 0"]);
}

/// Levels are asked for at each look, and absent where there are none.
#[test]
fn levels() {
    let metrics = Metrics::default();
    assert!(lines(&metrics, "poolwright_pools").is_empty());
    let pools = Arc::new(Mutex::new(vec![PoolState::InSync, PoolState::InSync]));
    let source = Arc::clone(&pools);
    metrics.pools_from(move || source.lock().expect("the pools").clone());
    pools.lock().expect("the pools").push(PoolState::Stalled);
    assert_eq!(
        lines(&metrics, "poolwright_pools"),
        [
            "poolwright_pools{state=\"in_sync\"} 2",
            "poolwright_pools{state=\"pending\"} 0",
            "poolwright_pools{state=\"stalled\"} 1",
            "poolwright_pools{state=\"drifted\"} 0",
        ]
    );
    assert!(lines(&metrics, "poolwright_leader").is_empty());
    let leads = Arc::new(Mutex::new(false));
    let source = Arc::clone(&leads);
    metrics.leader_from(move || *source.lock().expect("a flag"));
    assert_eq!(
        lines(&metrics, "poolwright_leader"),
        ["poolwright_leader 0"]
    );
    *leads.lock().expect("a flag") = true;
    assert_eq!(
        lines(&metrics, "poolwright_leader"),
        ["poolwright_leader 1"]
    );
    metrics.views_from(|| {
        let view = |name: &str, epoch, age| ViewLevel {
            connection: name.into(),
            epoch,
            age,
        };
        vec![
            view("main", Some(42), Some(Duration::from_millis(1500))),
            view("odd\"name", None, None),
        ]
    });
    assert_eq!(
        lines(&metrics, "poolwright_view"),
        [
            "poolwright_view_epoch{connection=\"main\"} 42",
            "poolwright_view_age_seconds{connection=\"main\"} 1.5",
        ]
    );
}

/// A client behind the counter is used as it is, and counted by prefix and return code.
#[tokio::test]
async fn commands() {
    let cluster = SimulatedCluster::new(&Fsid::new("f"), 3);
    let inner = Arc::new(SimulatedClient::new(
        Arc::new(Mutex::new(cluster)),
        Duration::ZERO,
    ));
    let metrics = Metrics::default();
    let client = CountingClient::new(Arc::clone(&inner) as Arc<dyn MonClient>, metrics.clone());
    assert_eq!(client.fsid(), &Fsid::new("f"));
    let deadline = Duration::from_secs(1);
    let change = MonCommand::PoolSet {
        pool: PoolName::new("none"),
        variable: "size".into(),
        value: "3".into(),
    };
    let stat = client
        .send(&MonCommand::OsdStat, deadline)
        .await
        .expect("a reply");
    assert_eq!(stat.code, 0);
    let refused = client.send(&change, deadline).await.expect("a reply");
    assert_eq!(refused.code, -2);
    inner.plan_fault("osd stat", 1, Fault::Lost);
    let short = Duration::from_millis(10);
    let lost = client.read_after_changes(&MonCommand::OsdStat, short).await;
    assert!(matches!(lost, Err(ClientError::TimedOut { .. })));
    inner.plan_fault(
        "osd pool set",
        1,
        Fault::Reply {
            code: -1,
            text: "no".into(),
        },
    );
    let alone = client.send_alone(&change, deadline).await.expect("a reply");
    assert_eq!(alone.code, -1);
    // What only asks is told apart from what is asked for.
    let probe = Permission::PoolSet.probe(PoolName::new("none"));
    let asked = client.send(&probe, deadline).await.expect("a reply");
    assert_eq!(asked.code, -2);
    let mut seen = lines(&metrics, "poolwright_commands_total");
    seen.sort();
    assert_eq!(
        seen,
        [
            "poolwright_commands_total{prefix=\"osd pool set\",code=\"-1\"} 1",
            "poolwright_commands_total{prefix=\"osd pool set\",code=\"-2\"} 1",
            "poolwright_commands_total{prefix=\"osd stat\",code=\"0\"} 1",
            "poolwright_commands_total{prefix=\"osd stat\",code=\"timed_out\"} 1",
            "poolwright_commands_total{prefix=\"probe\",code=\"-2\"} 1",
        ]
    );
}
