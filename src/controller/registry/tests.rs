//! On a simulated cluster, with the clock stopped.

use std::sync::Mutex;

use serde_json::json;

use super::*;
use crate::ceph::simulated::SimulatedCluster;
use crate::ceph::simulated::client::SimulatedClient;
use crate::monitor::MonitorSettings;

/// A simulated cluster and a session with it.
pub(in crate::controller) fn session(incarnation: u64) -> (SimulatedClient, Arc<Session>) {
    let fsid = Fsid::new("7f0e0000-0000-4000-8000-000000000001");
    let cluster = Arc::new(Mutex::new(SimulatedCluster::new(&fsid, 3)));
    let client = SimulatedClient::new(cluster, Duration::from_millis(10));
    let session = session_of(&client, incarnation);
    (client, session)
}

fn session_of(client: &SimulatedClient, incarnation: u64) -> Arc<Session> {
    let spec = json!({
        "monitors": ["192.0.2.1"],
        "keySecretRef": {"namespace": "ns", "name": "ceph"},
    });
    let client: Arc<dyn MonClient> = Arc::new(client.clone());
    let closed = CancellationToken::new();
    Arc::new(Session {
        name: "main".into(),
        spec: Arc::new(serde_json::from_value(spec).expect("a spec")),
        fsid: client.fsid().clone(),
        monitor: ClusterMonitor::start(
            Arc::clone(&client),
            MonitorSettings::default(),
            closed.clone(),
        ),
        client,
        incarnation,
        floor: Arc::default(),
        release: None,
        closed,
    })
}

fn why(reason: Reason) -> NoSession {
    NoSession {
        reason,
        message: "why".into(),
    }
}

/// Readers hear of what is new to them, and of each thing once.
#[tokio::test(start_paused = true)]
async fn events() {
    let registry = Registry::new();
    let mut events = registry.subscribe();
    let mut next = move || {
        let event = events.try_recv().ok()?;
        assert_eq!(event.connection, "main");
        Some(match event.change {
            Change::Appeared => "appeared",
            Change::Vanished => "vanished",
            Change::SpecChanged => "spec changed",
            Change::View { .. } => "view",
            Change::Contact(_) => "contact",
        })
    };
    let none = registry.session("main").expect_err("no session yet");
    assert_eq!(none.reason, Reason::ConnectionNotFound);
    assert!(none.message.contains("no ClusterConnection main"), "{none}");

    registry.refuse("main", &why(Reason::SecretNotFound));
    assert_eq!(next(), Some("vanished"));
    registry.refuse("main", &why(Reason::SecretNotFound));
    assert_eq!(next(), None, "the same as before");
    registry.refuse("main", &why(Reason::Unreachable));
    assert_eq!(next(), Some("vanished"), "another reason");
    assert_eq!(
        registry.session("main").expect_err("refused"),
        why(Reason::Unreachable)
    );

    let (client, first) = session(1);
    registry.open(Arc::clone(&first));
    assert_eq!(next(), Some("appeared"));
    registry.open(session_of(&client, 1));
    assert_eq!(next(), Some("spec changed"));
    registry.open(session_of(&client, 2));
    assert_eq!(next(), Some("appeared"));
    assert_eq!(registry.session("main").expect("a session").incarnation, 2);
    assert_eq!(registry.sessions().len(), 1);

    registry.remove("main");
    assert_eq!(next(), Some("vanished"));
    registry.remove("main");
    assert_eq!(next(), None);
    assert_eq!(
        registry.session("main").expect_err("gone").reason,
        Reason::ConnectionNotFound
    );
}

/// A view is usable while it is fresh and not behind what was recorded.
#[tokio::test(start_paused = true)]
async fn usable_views() {
    let (client, session) = session(1);
    let _cares = session.monitor.subscribe();
    session
        .monitor
        .await_epoch(Epoch(1), Duration::from_secs(1))
        .await
        .expect("the first view");
    assert_eq!(session.usable_view().expect("fresh").epoch(), Epoch(1));

    session.floor.raise(Epoch(5));
    session.floor.raise(Epoch(3));
    assert_eq!(session.floor.get(), Epoch(5));
    assert_eq!(
        session.usable_view().expect_err("behind"),
        NotUsable::WentBack {
            seen: Epoch(1),
            floor: Epoch(5)
        }
    );
    for _ in 1..5 {
        client.cluster().edit_map(|_| {});
    }
    session
        .monitor
        .await_epoch(Epoch(5), Duration::from_secs(5))
        .await
        .expect("the fifth view");
    assert_eq!(session.usable_view().expect("not behind").epoch(), Epoch(5));

    client.set_unreachable(true);
    tokio::time::sleep(Duration::from_secs(7)).await;
    assert!(matches!(
        session.usable_view(),
        Err(NotUsable::Stale { .. })
    ));
    session.closed.cancel();
}
