//! No part of the controller ends unseen.

use std::future::pending;

use super::*;

/// Parts that all go on, except the one of this number.
fn parts(ended: usize) -> Parts {
    let mut number = 0;
    let mut part = || {
        let ends = number == ended;
        number += 1;
        tokio::spawn(async move {
            if !ends {
                pending::<()>().await;
            }
        })
    };
    Parts {
        looks: part(),
        following: part(),
        labels: part(),
        cancels: part(),
        connections: part(),
        lease: tokio::spawn(pending()),
    }
}

/// Whichever part ends, the process ends, and says which.
#[tokio::test(start_paused = true)]
async fn every_part_counts() {
    for (number, name) in [
        "looking after pools",
        "following the clusters",
        "watching namespaces",
        "watching for cancelled requests",
        "looking after connections",
    ]
    .into_iter()
    .enumerate()
    {
        let (shutdown, health) = (CancellationToken::new(), Health::new());
        let mut parts = parts(number);
        let gone_on = parts.go_on(pending(), &shutdown, &health);
        let ended = tokio::time::timeout(Duration::from_secs(60), gone_on).await;
        match ended.expect("the process ends") {
            Err(Error::Ended { part, source: None }) => assert_eq!(part, name),
            other => panic!("{name}: {other:?}"),
        }
    }
}
