//! The command `run`: what it takes and how it ends.

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

use super::*;

/// How the controller of a test behaves.
#[derive(Clone, Copy)]
enum Behaviour {
    /// Ends so long after it is told to.
    Ends(Duration),
    /// Ends by itself.
    Early,
    /// Fails by itself.
    Fails,
    /// Panics by itself.
    Panics,
}

/// Supervises such a controller beside a server, under signals at these times.
async fn supervised(behaviour: Behaviour, signals: &[Duration]) -> Result<(), RunError> {
    let shutdown = CancellationToken::new();
    let stop_serving = CancellationToken::new();
    let told = shutdown.clone();
    let controller = tokio::spawn(async move {
        match behaviour {
            Behaviour::Ends(after) => {
                told.cancelled().await;
                sleep(after).await;
                Ok(())
            }
            Behaviour::Early => Ok(()),
            Behaviour::Fails => Err(controller::Error::InstanceId("a/b".into())),
            Behaviour::Panics => panic!("a fault"),
        }
    });
    let served_until = stop_serving.clone();
    let server = tokio::spawn(async move {
        served_until.cancelled().await;
        Ok(())
    });
    let (sender, mut receiver) = mpsc::unbounded_channel();
    for after in signals.iter().copied() {
        let sender = sender.clone();
        tokio::spawn(async move {
            sleep(after).await;
            let _ = sender.send(());
        });
    }
    let _open = sender;
    let health = Health::new();
    let parts = Parts {
        controller,
        server: Some(server),
        rest: None,
        shutdown: shutdown.clone(),
        stop_serving: stop_serving.clone(),
        health: health.clone(),
    };
    let ended = parts
        .supervise(async || {
            receiver.recv().await;
        })
        .await;
    assert!(shutdown.is_cancelled() && stop_serving.is_cancelled());
    assert_eq!(
        health.waiting(),
        ["shutdown"],
        "nobody may take it for ready"
    );
    ended
}

const SECOND: Duration = Duration::from_secs(1);

/// A signal ends everything in order, and what takes a while is waited for.
#[tokio::test(start_paused = true)]
async fn a_signal_ends_it() {
    let began = Instant::now();
    let ended = supervised(Behaviour::Ends(20 * SECOND), &[SECOND]).await;
    assert!(ended.is_ok());
    assert_eq!(began.elapsed().as_secs(), 21);
}

/// What takes too long is given up, and a second signal ends it at once.
#[tokio::test(start_paused = true)]
async fn it_ends_whatever_happens() {
    let began = Instant::now();
    let ended = supervised(Behaviour::Ends(100 * SECOND), &[SECOND]).await;
    assert!(matches!(ended, Err(RunError::DrainedTooLong)));
    assert_eq!(began.elapsed().as_secs(), 26);

    let ended = supervised(Behaviour::Ends(100 * SECOND), &[SECOND, 2 * SECOND]).await;
    assert!(matches!(ended, Err(RunError::Forced)));
}

/// A part that ends by itself ends the process, with its own error.
#[tokio::test(start_paused = true)]
async fn half_a_controller_is_none() {
    let ended = supervised(Behaviour::Early, &[]).await;
    assert!(matches!(ended, Err(RunError::Early("controller"))));
    let ended = supervised(Behaviour::Panics, &[]).await;
    assert!(matches!(
        ended,
        Err(RunError::Panicked {
            part: "controller",
            ..
        })
    ));
    let error = supervised(Behaviour::Fails, &[]).await.err();
    let said = error.map(|error| chain(&error)).unwrap_or_default();
    assert!(
        said.starts_with("the controller ended: instance ID \"a/b\""),
        "{said}"
    );
}

/// IDs that can stand in a mark, and those that cannot.
#[test]
fn instance_ids() {
    for good in ["cli", "5e7e8a4e-5d0a-4f1a-8a35-0d9a2a4f3c11", "east.1_b"] {
        assert_eq!(instance_id(good).as_deref(), Ok(good));
    }
    for bad in ["", "a/b", "a b", "ä", &"a".repeat(64)] {
        assert!(instance_id(bad).is_err(), "{bad:?}");
    }
}
