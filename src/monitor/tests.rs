//! The monitor on a cluster that does as the test says, with the clock stopped: time passes
//! only where everybody waits for it.

mod fake;

use tokio::time::{sleep, timeout};

use self::fake::Fake;
use super::*;

const SECOND: Duration = Duration::from_secs(1);
const TICK: Duration = Duration::from_millis(1);
const MAX_AGE: Duration = Duration::from_secs(5);
const FSID: &str = "11111111-2222-4333-8444-555555555555";

fn start(fake: &Arc<Fake>) -> (ClusterMonitor, CancellationToken) {
    let stop = CancellationToken::new();
    let client: Arc<dyn MonClient> = Arc::clone(fake) as _;
    (
        ClusterMonitor::start(client, MonitorSettings::default(), stop.clone()),
        stop,
    )
}

fn epoch(snapshot: &Snapshot) -> Option<u64> {
    snapshot.view.as_ref().map(|view| view.epoch().0)
}

fn usable(monitor: &ClusterMonitor) -> Result<u64, NotUsable> {
    monitor
        .usable_view(Instant::now(), MAX_AGE, Epoch(0))
        .map(|view| view.epoch().0)
}

/// Waits until the subscriber is woken; it must be within so long.
async fn woken(receiver: &mut watch::Receiver<Snapshot>, within: Duration) -> Snapshot {
    timeout(within, receiver.changed())
        .await
        .expect("woken in time")
        .expect("a monitor");
    receiver.borrow_and_update().clone()
}

/// A started monitor with its first view, and a subscriber.
async fn started(
    fake: &Arc<Fake>,
) -> (ClusterMonitor, watch::Receiver<Snapshot>, CancellationToken) {
    let (monitor, stop) = start(fake);
    let mut receiver = monitor.subscribe();
    while receiver.borrow_and_update().view.is_none() {
        receiver.changed().await.expect("a monitor");
    }
    fake.counts();
    (monitor, receiver, stop)
}

/// Subscribers are woken by a new view and by nothing else, while the confirmation moves.
#[tokio::test(start_paused = true)]
async fn wakes_on_news_only() {
    let fake = Fake::new(7);
    let (monitor, mut receiver, _stop) = started(&fake).await;
    assert_eq!(epoch(&monitor.snapshot()), Some(7));
    assert_eq!(monitor.snapshot().contact, Contact::Connected);
    let confirmed = monitor
        .snapshot()
        .confirmed_at
        .expect("confirmed by the read");

    let quiet = timeout(60 * SECOND, receiver.changed()).await;
    assert!(quiet.is_err(), "nothing happened");
    let (polls, reads) = fake.counts();
    assert!((59..=61).contains(&polls), "{polls} polls in a minute");
    assert_eq!(reads, 0);
    assert!(monitor.snapshot().confirmed_at > Some(confirmed + 58 * SECOND));
    assert_eq!(usable(&monitor), Ok(7));

    fake.inner().epoch = 8;
    assert_eq!(
        epoch(&woken(&mut receiver, SECOND + 5 * TICK).await),
        Some(8)
    );
    assert_eq!(fake.counts().1, 1);
}

/// The map is not read for nobody.
#[tokio::test(start_paused = true)]
async fn reads_when_somebody_cares() {
    let fake = Fake::new(7);
    let (monitor, _stop) = start(&fake);
    sleep(10 * SECOND).await;
    assert_eq!(fake.counts().1, 0);
    assert_eq!(monitor.snapshot().contact, Contact::Connected);
    // Asking is caring, once.
    assert_eq!(usable(&monitor), Err(NotUsable::NoView));
    sleep(5 * TICK).await;
    assert_eq!(usable(&monitor), Ok(7));
    fake.inner().epoch = 8;
    sleep(10 * SECOND).await;
    assert_eq!(fake.counts().1, 1);
    assert!(
        matches!(usable(&monitor), Err(NotUsable::Stale { .. })),
        "7 is not the newest any more"
    );
    sleep(5 * TICK).await;
    assert_eq!(usable(&monitor), Ok(8));
    // A subscriber cares for as long as it lives.
    let receiver = monitor.subscribe();
    for next in 9..12 {
        fake.inner().epoch = next;
        sleep(SECOND + 5 * TICK).await;
        assert_eq!(usable(&monitor), Ok(next));
    }
    drop(receiver);
    fake.counts();
    fake.inner().epoch = 12;
    sleep(10 * SECOND).await;
    assert_eq!(fake.counts().1, 0);
}

/// An awaited epoch is seen within a hurried poll and a read.
#[tokio::test(start_paused = true)]
async fn awaits_an_epoch() {
    let fake = Fake::new(7);
    let (monitor, _receiver, _stop) = started(&fake).await;
    let view = monitor
        .await_epoch(Epoch(7), SECOND)
        .await
        .expect("it is there");
    assert_eq!(view.epoch(), Epoch(7));

    let waiting = tokio::spawn({
        let monitor = monitor.clone();
        async move {
            (
                monitor.await_epoch(Epoch(9), 60 * SECOND).await,
                Instant::now(),
            )
        }
    });
    sleep(3 * SECOND).await;
    let (polls, _) = fake.counts();
    assert!((100..=125).contains(&polls), "{polls} hurried polls in 3 s");
    fake.inner().epoch = 8;
    sleep(SECOND).await;
    assert!(!waiting.is_finished());
    fake.inner().epoch = 9;
    let moved = Instant::now();
    let (view, came) = waiting.await.expect("the task");
    assert_eq!(view.expect("a view").epoch(), Epoch(9));
    assert!(
        came - moved <= Duration::from_millis(30),
        "{:?}",
        came - moved
    );

    fake.counts();
    sleep(10 * SECOND).await;
    assert!(fake.counts().0 <= 11, "nobody waits any more");
    let failed = monitor
        .await_epoch(Epoch(10), 2 * SECOND)
        .await
        .expect_err("it does not come");
    assert_eq!(
        failed,
        NotUsable::TimedOut {
            awaited: Epoch(10),
            seen: Some(Epoch(9))
        }
    );
    let guard = monitor.hurry();
    fake.counts();
    sleep(SECOND).await;
    assert!(fake.counts().0 >= 35);
    drop(guard);
}

/// `read_epoch` asks at once, and what it hears counts as a poll.
#[tokio::test(start_paused = true)]
async fn reads_the_epoch() {
    let fake = Fake::new(7);
    let (monitor, mut receiver, _stop) = started(&fake).await;
    fake.inner().epoch = 8;
    assert_eq!(monitor.read_epoch().await, Ok(Epoch(8)));
    assert_eq!(
        epoch(&woken(&mut receiver, Duration::from_millis(50)).await),
        Some(8)
    );
}

/// Reads are 20 times their own duration apart, unless a run waits for what they would show.
#[tokio::test(start_paused = true)]
async fn reads_are_spaced() {
    let fake = Fake::new(100);
    let (monitor, _receiver, _stop) = started(&fake).await;
    fake.inner().read_takes = Duration::from_millis(200);
    fake.inner().epoch = 101;
    sleep(2 * SECOND).await;
    fake.counts();
    let mover = tokio::spawn({
        let fake = Arc::clone(&fake);
        async move {
            loop {
                fake.inner().epoch += 1;
                sleep(Duration::from_millis(50)).await;
            }
        }
    });
    sleep(42 * SECOND).await;
    let (_, reads) = fake.counts();
    assert!(
        (9..=11).contains(&reads),
        "{reads} reads in 42 s, one of 0.2 s every 4.2 s"
    );

    // A run that waits for an epoch to come leaves the spacing; for one that is there it does not.
    let began = Instant::now();
    for _ in 0..5 {
        let seen = monitor.read_epoch().await.expect("an epoch");
        let view = monitor
            .await_epoch(seen, 60 * SECOND)
            .await
            .expect("a view");
        assert!(view.epoch() >= seen);
    }
    assert!(began.elapsed() < 3 * SECOND, "{:?}", began.elapsed());
    mover.abort();
}

/// A cluster that does not answer: the contact is lost, the view goes stale, and all of it
/// comes back by itself.
#[tokio::test(start_paused = true)]
async fn loses_and_finds_contact() {
    let fake = Fake::new(7);
    let (monitor, mut receiver, _stop) = started(&fake).await;
    fake.inner().frozen = true;
    let lost = woken(&mut receiver, 12 * SECOND).await;
    let Contact::Lost { error, since } = &lost.contact else {
        panic!("{:?}", lost.contact)
    };
    assert!(matches!(
        error,
        ClientError::TimedOut {
            command: "osd stat",
            ..
        }
    ));
    assert!(since.elapsed() >= 10 * SECOND);
    assert_eq!(epoch(&lost), Some(7), "the view stays");
    assert!(matches!(usable(&monitor), Err(NotUsable::Stale { age }) if age >= 10 * SECOND));
    assert!(
        timeout(60 * SECOND, receiver.changed()).await.is_err(),
        "it is known"
    );
    assert!(
        monitor
            .last_polls()
            .iter()
            .rev()
            .take(3)
            .all(|poll| *poll == 10 * SECOND)
    );
    assert!(
        monitor.creates().limit() < 64,
        "slow polls slow the creates down"
    );

    fake.inner().frozen = false;
    assert_eq!(
        woken(&mut receiver, 12 * SECOND).await.contact,
        Contact::Connected
    );
    assert_eq!(usable(&monitor), Ok(7));
    sleep(20 * SECOND).await;
    assert_eq!(monitor.creates().limit(), 64);
}

/// Before the first answer it is connecting, or lost with a reason.
#[tokio::test(start_paused = true)]
async fn never_connected() {
    let fake = Fake::new(7);
    fake.inner().frozen = true;
    let (monitor, stop) = start(&fake);
    assert_eq!(monitor.snapshot().contact, Contact::Connecting);
    assert_eq!(usable(&monitor), Err(NotUsable::NoView));
    sleep(11 * SECOND).await;
    assert!(matches!(monitor.snapshot().contact, Contact::Lost { .. }));
    let waiting = tokio::spawn({
        let monitor = monitor.clone();
        async move { monitor.await_epoch(Epoch(1), 60 * SECOND).await }
    });
    sleep(SECOND).await;
    stop.cancel();
    assert_eq!(
        waiting.await.expect("the task").expect_err("none"),
        NotUsable::Stopped
    );
}

/// A map that does not decode is a condition: the last view stays for reading and is not
/// acted on; it is not read again before it has changed.
#[tokio::test(start_paused = true)]
async fn unreadable_map() {
    let fake = Fake::new(7);
    let (monitor, mut receiver, _stop) = started(&fake).await;
    fake.inner().garbled = true;
    fake.inner().epoch = 8;
    let snapshot = woken(&mut receiver, 2 * SECOND).await;
    assert!(
        matches!(&snapshot.contact, Contact::MapUnreadable { error } if error.contains("osd dump"))
    );
    assert_eq!(epoch(&snapshot), Some(7));
    assert!(matches!(usable(&monitor), Err(NotUsable::Unreadable(_))));
    let failed = monitor.await_epoch(Epoch(8), SECOND).await;
    assert!(matches!(failed, Err(NotUsable::Unreadable(_))));
    sleep(600 * SECOND).await;
    assert_eq!(fake.counts().1, 1);
    fake.inner().garbled = false;
    fake.inner().epoch = 9;
    let snapshot = woken(&mut receiver, 2 * SECOND).await;
    assert_eq!(
        (epoch(&snapshot), snapshot.contact),
        (Some(9), Contact::Connected)
    );
    assert_eq!(usable(&monitor), Ok(9));
}

/// A map that only its JSON can be read of is read so, and it is told; as soon as the encoded one
/// can be decoded, that is read again.
#[tokio::test(start_paused = true)]
async fn a_foreign_encoding_is_read_by_json() {
    let fake = Fake::new(7);
    let (monitor, mut receiver, _stop) = started(&fake).await;
    assert_eq!(monitor.read_by_json(), None);
    fake.inner().foreign = true;
    fake.inner().epoch = 8;
    let snapshot = woken(&mut receiver, 2 * SECOND).await;
    assert_eq!(
        (epoch(&snapshot), snapshot.contact),
        (Some(8), Contact::Connected)
    );
    assert_eq!(usable(&monitor), Ok(8));
    let why = monitor.read_by_json().expect("it is told");
    assert!(why.contains("asks for a reader of version 9"), "{why}");
    fake.inner().foreign = false;
    fake.inner().epoch = 9;
    let snapshot = woken(&mut receiver, 2 * SECOND).await;
    assert_eq!(epoch(&snapshot), Some(9));
    assert_eq!(monitor.read_by_json(), None);
}

/// A missing capability is tried again: giving it does not move the epoch.
#[tokio::test(start_paused = true)]
async fn refused_map() {
    let fake = Fake::new(7);
    fake.inner().refuses = true;
    let (monitor, _stop) = start(&fake);
    let mut receiver = monitor.subscribe();
    sleep(10 * SECOND).await;
    let snapshot = receiver.borrow_and_update().clone();
    assert!(matches!(snapshot.contact, Contact::MapUnreadable { error } if error.contains("-13")));
    assert!(fake.counts().1 <= 11, "no more than one a second");
    fake.inner().refuses = false;
    assert_eq!(
        woken(&mut receiver, 2 * SECOND).await.contact,
        Contact::Connected
    );
    assert_eq!(usable(&monitor), Ok(7));
}

/// A lower epoch for a moment is a monitor that lags; for longer it is a restored cluster. The
/// view is not replaced by an older one.
#[tokio::test(start_paused = true)]
async fn epoch_goes_back() {
    let fake = Fake::new(100);
    let (monitor, mut receiver, _stop) = started(&fake).await;
    fake.inner().epoch = 99;
    sleep(SECOND + 5 * TICK).await;
    assert!(
        matches!(usable(&monitor), Err(NotUsable::Stale { .. })),
        "not acted on in doubt"
    );
    let view = monitor
        .await_epoch(Epoch(100), SECOND)
        .await
        .expect("it is there");
    assert_eq!(view.epoch(), Epoch(100));
    fake.inner().epoch = 100;
    assert!(timeout(10 * SECOND, receiver.changed()).await.is_err());
    assert_eq!(usable(&monitor), Ok(100));

    fake.inner().epoch = 50;
    let snapshot = woken(&mut receiver, 15 * SECOND).await;
    assert_eq!(
        snapshot.contact,
        Contact::WentBack {
            seen: Epoch(50),
            had: Epoch(100)
        }
    );
    assert_eq!(epoch(&snapshot), Some(100));
    assert_eq!(
        usable(&monitor),
        Err(NotUsable::WentBack {
            seen: Epoch(50),
            floor: Epoch(100)
        })
    );
    assert!(monitor.await_epoch(Epoch(50), SECOND).await.is_err());
    fake.inner().epoch = 101;
    let snapshot = woken(&mut receiver, 15 * SECOND).await;
    assert_eq!(snapshot.contact, Contact::Connected);
    sleep(SECOND).await;
    assert_eq!(usable(&monitor), Ok(101));
}

/// A floor from an earlier life of the program counts like an epoch seen.
#[tokio::test(start_paused = true)]
async fn floor() {
    let fake = Fake::new(100);
    let (monitor, _receiver, _stop) = started(&fake).await;
    let view = |floor| {
        monitor
            .usable_view(Instant::now(), MAX_AGE, Epoch(floor))
            .map(|view| view.epoch())
    };
    assert_eq!(view(100), Ok(Epoch(100)));
    assert_eq!(
        view(101),
        Err(NotUsable::WentBack {
            seen: Epoch(100),
            floor: Epoch(101)
        })
    );
}

/// Another cluster behind the same addresses: its map is not taken for ours, whatever its
/// epoch, and the right one is taken up again when it answers.
#[tokio::test(start_paused = true)]
async fn other_cluster() {
    let other = Fsid::new("99999999-2222-4333-8444-555555555555");
    for its_epoch in [3, 400] {
        let fake = Fake::new(100);
        let (monitor, mut receiver, _stop) = started(&fake).await;
        fake.inner().answering = other.clone();
        fake.inner().epoch = its_epoch;
        let snapshot = woken(&mut receiver, 5 * SECOND).await;
        let expected = Fsid::new(FSID);
        assert_eq!(
            snapshot.contact,
            Contact::OtherCluster {
                seen: other.clone(),
                expected
            }
        );
        assert_eq!(epoch(&snapshot), Some(100));
        assert!(matches!(
            usable(&monitor),
            Err(NotUsable::OtherCluster { .. })
        ));
        fake.inner().answering = Fsid::new(FSID);
        fake.inner().epoch = 101;
        let snapshot = woken(&mut receiver, 5 * SECOND).await;
        assert_eq!(
            (epoch(&snapshot), snapshot.contact),
            (Some(101), Contact::Connected)
        );
        assert_eq!(usable(&monitor), Ok(101));
    }
}

/// A slow poll confirms what was when it was sent, not when its answer came.
#[tokio::test(start_paused = true)]
async fn slow_polls_confirm_the_past() {
    let fake = Fake::new(7);
    let (monitor, _receiver, _stop) = started(&fake).await;
    fake.inner().poll_takes = 6 * SECOND;
    sleep(60 * SECOND).await;
    let age = monitor
        .snapshot()
        .confirmed_at
        .expect("confirmed")
        .elapsed();
    assert!(age >= 6 * SECOND, "{age:?}");
    assert!(matches!(usable(&monitor), Err(NotUsable::Stale { .. })));
    assert_eq!(monitor.snapshot().contact, Contact::Connected);
}
