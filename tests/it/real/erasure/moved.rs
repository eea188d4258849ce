//! Chunks that shall lie elsewhere: another rule for a pool that is there, with a person's word.

use super::{case, coded, made_for, rados, there};
use crate::real::steps::{delete, status};
use crate::real::support::{Case, LIMIT, rounds};

const BLOCK: &str = "dataChunks: 2, codingChunks: 1, technique: reed_sol_van, stripeUnit: 32Ki";

/// A pool whose chunks lie on OSDs of this class, where one is named.
fn on(crush: &str) -> String {
    coded(BLOCK, ", deletionPolicy: Delete").replace("crush: {failureDomain: osd}", crush)
}

/// Waits until all data is where it shall be: what moves holds up what else is to move.
async fn arrived(case: &Case) {
    case.wait_for("all data has arrived", LIMIT * 2, async || {
        let dump = case.dump().await;
        let moving = dump["pg_temp"].as_array().expect("a list");
        if moving.is_empty() {
            Ok(())
        } else {
            Err(format!("{moving:?}"))
        }
    })
    .await;
}

/// A class of its own for another rule, which waits for a person's word; then the pool has it, with its data, and its
/// profile is as it was. What was made for it goes with it.
#[tokio::test(flavor = "multi_thread")]
async fn with_a_persons_word() {
    let case = case("moved").await;
    let classes = case
        .ceph(&["osd", "crush", "class", "ls", "-f", "json"])
        .await;
    let classes: Vec<String> = serde_json::from_str(&classes).expect("JSON");
    let [class] = classes.as_slice() else {
        panic!("{classes:?}")
    };
    let anywhere = on("crush: {failureDomain: osd}");
    case.apply("a", &anywhere).await;
    case.ready("a").await;
    let (profile, first) = made_for(&case, "a").await;
    let name = case.pool_name("a");
    let put = ["-p", &name, "put", "words", "-"];
    rados(&case, &put, Some("some words")).await;

    // Where there is no place for them, nothing is sent.
    let before = case.sent().await.len();
    case.apply("a", &on("crush: {failureDomain: host}")).await;
    let message = case.stalled("a", "CannotPlace").await;
    assert!(message.contains("can place 1 of 3 chunks"), "{message}");
    // Elsewhere it waits.
    let of_class = on(&format!(
        "crush: {{failureDomain: osd, deviceClass: {class}}}"
    ));
    case.apply("a", &of_class).await;
    let message = case.stalled("a", "Unsafe").await;
    let words = [
        format!("has the CRUSH rule {first}; with poolwright-"),
        format!("(failureDomain osd under default on {class}) its data would move"),
    ];
    for words in words {
        assert!(message.contains(&words), "{message}");
    }
    case.looked("a").await;
    assert_eq!(case.sent().await.len(), before, "nothing was sent");
    arrived(&case).await;
    let token = case.as_told(&message).await;
    let object = case.ready("a").await;
    let used = &status(&object).used_tokens;
    assert_eq!(used.last().map(|used| used.token.as_str()), Some(&*token));
    let (same, second) = made_for(&case, "a").await;
    assert_eq!(same, profile, "no pool changes its profile");
    assert_ne!(second, first);
    let dump = case.ceph(&["osd", "crush", "rule", "dump", &second]).await;
    assert!(dump.contains(&format!("default~{class}")), "{dump}");
    let get = ["-p", &name, "get", "words", "-"];
    assert_eq!(rados(&case, &get, None).await, "some words");
    // The rule that nobody has any more has gone, the pool's own profile has not.
    assert_eq!(there(&case, &first).await, (true, false));
    assert_eq!(there(&case, &second).await, (true, true));
    let requests = case.requests("a").await;
    let sent = rounds(requests.last().expect("a request"));
    let begin = [
        format!("ceph osd erasure-code-profile set {second} "),
        format!("ceph osd crush rule create-erasure {second} {second}"),
        format!("ceph osd pool set {name} crush_rule {second}"),
        format!("ceph osd crush rule rm {first}"),
    ];
    assert_eq!(sent.len(), begin.len(), "{sent:?}");
    for (round, begin) in sent.iter().zip(&begin) {
        assert!(
            matches!(round.as_slice(), [line] if line.starts_with(begin)),
            "{sent:?}"
        );
    }

    // The same again costs nothing.
    let before = case.sent().await.len();
    case.apply("a", &of_class).await;
    case.looked("a").await;
    assert_eq!(case.sent().await.len(), before);

    // By hand somewhere else: to put it back moves the data, too.
    let theirs = format!("{name}-theirs");
    case.ceph(&["osd", "crush", "rule", "create-erasure", &theirs, &profile])
        .await;
    case.set("a", "crush_rule", &theirs).await;
    let message = case.stalled("a", "Unsafe").await;
    assert!(
        message.contains(&format!("has the CRUSH rule {theirs}")),
        "{message}"
    );
    // Which is as good by its name, and then everything of ours but the profile has gone.
    case.apply("a", &on(&format!("crush: {{rule: {theirs}}}")))
        .await;
    case.ready("a").await;
    assert_eq!(there(&case, &second).await, (false, false));
    arrived(&case).await;
    case.apply("a", &of_class).await;
    let message = case.stalled("a", "Unsafe").await;
    case.as_told(&message).await;
    case.ready("a").await;
    assert_eq!(
        made_for(&case, "a").await,
        (profile.clone(), second.clone())
    );
    assert_eq!(rados(&case, &get, None).await, "some words");

    // It goes with both profiles, and with its rule. Somebody's rule stays.
    rados(&case, &["-p", &name, "rm", "words"], None).await;
    delete(&case, "a").await;
    assert_eq!(there(&case, &profile).await, (false, false));
    assert_eq!(there(&case, &second).await, (false, false));
    assert!(there(&case, &theirs).await.1);
}
