//! Rule 4, the other half: pools that were there before their objects, pools whose owners are gone, pools that are
//! taken from their owners, and who waits for whom.

use kube::ResourceExt;
use poolwright::api::v1alpha1::Operation;
use serde_json::{Value, json};

use super::steps::{
    ANNOTATION, PAUSED, PLAIN, annotation, create, delete, make_with, marks, own_connection,
    status, tag, token_in,
};
use super::support::{Case, LIMIT, holds, rounds};

const CONFIRM: &str = "poolwright.dev/confirm";

/// A spec for a pool of [`create`], with this policy and more.
fn spec(policy: &str, more: &str) -> String {
    format!(
        "{{adoptionPolicy: {policy}, replicated: {{size: 3}}, applications: [{{name: rbd}}], \
         placementGroups: {{autoscale: Disabled, count: 2}}{more}}}"
    )
}

/// The same for the pool of another object.
fn spec_of(pool: &str, policy: &str, more: &str) -> String {
    spec(policy, &format!(", poolName: {pool}{more}"))
}

/// A case on the shared cluster with a connection of its own, whose grant allows these.
async fn granted(name: &str, allow: &[&str]) -> Case {
    let case = own_connection(name).await;
    allow_all_names(&case, allow).await;
    case
}

async fn allow_all_names(case: &Case, allow: &[&str]) {
    let grants = json!([{"name": "g", "namespaces": {"all": true}, "allow": allow}]);
    case.world
        .connect(case.connection(), case.cluster(), json!({"grants": grants}))
        .await;
}

/// Without what a round changes by the way, and without the mark.
fn bare(mut pool: Value) -> Value {
    for moved in ["last_change", "last_force_op_resend"] {
        pool.as_object_mut().expect("a pool").remove(moved);
    }
    for key in ["poolwright", "poolwright.object"] {
        if let Some(keys) = pool["application_metadata"]["rbd"].as_object_mut() {
            keys.remove(key);
        }
    }
    pool
}

/// The prefixes and keys of the rounds that adopted a pool.
async fn adoption_of(case: &Case, name: &str) -> Vec<Vec<String>> {
    let requests = case
        .wait_for("the request has ended", LIMIT, async || {
            let requests = case.requests(name).await;
            let ended =
                |status: &poolwright::api::v1alpha1::CephRequestStatus| status.outcome.is_some();
            let all = requests
                .iter()
                .all(|request| request.status.as_ref().is_some_and(ended));
            holds(all, &requests).map(|()| requests)
        })
        .await;
    let adopt: Vec<_> = requests
        .iter()
        .filter(|request| request.spec.operation == Operation::Adopt)
        .collect();
    let [adopt] = adopt[..] else {
        panic!("one adoption, not {requests:#?}")
    };
    let pool = case.pool_name("");
    let bare = |line: &str| {
        let words: Vec<&str> = line
            .strip_prefix("ceph osd pool ")
            .expect("a command for a pool")
            .split(' ')
            .filter(|word| !word.starts_with(&pool))
            .take(4)
            .collect();
        words.join(" ")
    };
    let rounds = rounds(adopt).into_iter().map(|round| {
        let mut lines: Vec<String> = round.into_iter().map(bare).collect();
        lines.sort();
        lines
    });
    rounds.collect()
}

const MARK: [&str; 2] = [
    "application set rbd poolwright",
    "application set rbd poolwright.object",
];

/// The four words of the round that marks.
fn words_of_mark(rounds: &[Vec<String>], at: usize) {
    let words: Vec<String> = rounds[at]
        .iter()
        .map(|line| line.split(' ').take(4).collect::<Vec<_>>().join(" "))
        .collect();
    assert_eq!(words, MARK, "{rounds:#?}");
}

/// A pool that nobody marked: refused until the manifest says that it may be taken; then one round, the mark alone,
/// before anything else.
#[tokio::test(flavor = "multi_thread")]
async fn an_unmarked_pool() {
    let case = Case::shared("adopt").await;
    let before = case.by_hand("a").await;
    case.hand(&tag(&case.pool_name("a"), "their", "key")).await;
    let before_key = case.its_pool("a").await;
    case.apply("a", &spec("Never", ", quota: {maxObjects: 7}"))
        .await;
    let message = case.stalled("a", "PoolExists").await;
    assert!(
        message.contains("or set adoptionPolicy: IfUnowned to take it over with what is in it"),
        "{message}"
    );
    case.looked("a").await;
    assert_eq!(case.its_pool("a").await, before_key);
    assert_eq!(case.sent().await, Vec::<Value>::new());

    // As the message says.
    case.apply(
        "a",
        &spec(
            "IfUnowned",
            ", quota: {maxObjects: 7}, flags: {noScrub: true}",
        ),
    )
    .await;
    let object = case.ready("a").await;
    assert_eq!(status(&object).pool_id, before["pool"].as_i64());
    assert!(
        status(&object)
            .applied_fields
            .contains(&"quota.maxObjects".to_owned())
    );
    let pool = case.its_pool("a").await;
    assert_eq!(marks(&pool).1, Some(format!("{}/a", case.namespace)));
    assert_eq!(pool["application_metadata"]["rbd"]["their"], "key");
    let sent = adoption_of(&case, "a").await;
    words_of_mark(&sent, 0);
    assert_eq!(
        sent[1],
        ["set noscrub true", "set-quota max_objects 7"],
        "{sent:#?}"
    );
    assert_eq!(sent.len(), 2);
    // What the monitors say: nothing came before the mark.
    let keys: Vec<bool> = case
        .sent()
        .await
        .iter()
        .map(|command| command["prefix"] == "osd pool application set")
        .collect();
    assert_eq!(keys, [true, true, false, false]);

    // Where all is as declared already it is one round.
    let before = case.by_hand("b").await;
    case.apply("b", &spec("IfUnowned", "")).await;
    case.ready("b").await;
    let sent = adoption_of(&case, "b").await;
    words_of_mark(&sent, 0);
    assert_eq!(sent.len(), 1, "{sent:#?}");
    assert_eq!(bare(case.its_pool("b").await), bare(before));
}

/// A pool without an application can carry no mark: one is enabled first where the manifest names one.
#[tokio::test(flavor = "multi_thread")]
async fn without_an_application() {
    let case = Case::shared("bare").await;
    case.hand(&create(&case.pool_name("a"))).await;
    let before = case.made("a").await;
    case.seen().await;
    case.apply(
        "a",
        "{adoptionPolicy: IfUnowned, replicated: {size: 3}, quota: {maxObjects: 7}}",
    )
    .await;
    let message = case.stalled("a", "InvalidSpec").await;
    assert!(
        message.contains(
            "has no application, which carries the mark of its owner; add one to spec.applications"
        ),
        "{message}"
    );
    case.looked("a").await;
    assert_eq!(case.its_pool("a").await, before);
    case.apply("a", &spec("IfUnowned", ", quota: {maxObjects: 7}"))
        .await;
    case.ready("a").await;
    let sent = adoption_of(&case, "a").await;
    assert_eq!(sent[0], ["application enable rbd"], "{sent:#?}");
    words_of_mark(&sent, 1);
    assert_eq!(sent[2], ["set-quota max_objects 7"]);
    assert_eq!(sent.len(), 3);
}

/// Without the verb nothing is sent.
#[tokio::test(flavor = "multi_thread")]
async fn adoption_takes_a_grant() {
    let case = granted("adoptable", &["Create", "Update", "Rename", "TakeOver"]).await;
    let before = case.by_hand("a").await;
    case.apply("a", &spec("IfUnowned", "")).await;
    let message = case.stalled("a", "NotGranted").await;
    assert!(message.contains("no grant allows Adopt"), "{message}");
    case.looked("a").await;
    assert_eq!(case.its_pool("a").await, before);
    assert_eq!(case.sent().await, Vec::<Value>::new());
    // To adopt is not to change.
    allow_all_names(&case, &["Adopt"]).await;
    case.ready("a").await;
    case.apply("a", &spec("IfUnowned", ", quota: {maxObjects: 7}"))
        .await;
    let message = case.stalled("a", "NotGranted").await;
    assert!(message.contains("no grant allows Update"), "{message}");
    assert_eq!(case.its_pool("a").await["quota_max_objects"], 0);
}

/// Somebody else's mark: not a byte changes. With the grant and a person's word it is taken, and only that one.
#[tokio::test(flavor = "multi_thread")]
async fn somebody_elses_pool() {
    let case = granted("theirs", &["Create", "Update", "Adopt"]).await;
    let pool = case.pool_name("a");
    case.by_hand("a").await;
    case.mark_of_another("a").await;
    let before = case.its_pool("a").await;
    case.seen().await;
    let untouched = async || {
        case.looked("a").await;
        assert_eq!(case.its_pool("a").await, before);
        assert_eq!(case.sent().await, Vec::<Value>::new());
    };
    case.apply("a", &spec("Never", "")).await;
    let message = case.stalled("a", "OwnedByAnother").await;
    assert!(
        message.contains("the mark of their/pool, so nothing is sent to it")
            && !message.contains("kubectl"),
        "{message}"
    );
    untouched().await;
    case.apply("a", &spec("IfUnowned", ", quota: {maxObjects: 7}"))
        .await;
    let message = case.stalled("a", "OwnedByAnother").await;
    untouched().await;
    // A wrong word does nothing.
    case.annotate("a", CONFIRM, Some("00000000,yes")).await;
    untouched().await;
    assert_eq!(case.stalled("a", "OwnedByAnother").await, message);
    // Nor does the right one without the grant, and it stays right.
    let token = case.as_told(&message).await;
    let denied = case.stalled("a", "NotGranted").await;
    assert!(denied.contains("no grant allows TakeOver"), "{denied}");
    untouched().await;
    case.apply("a", &spec("IfUnowned", ", quota: {maxObjects: 8}"))
        .await;
    case.stalled("a", "NotGranted").await;
    untouched().await;
    allow_all_names(&case, &["Create", "Update", "TakeOver"]).await;
    let object = case.ready("a").await;
    let taken = case.its_pool("a").await;
    assert_eq!(taken["quota_max_objects"], 8);
    assert_eq!(marks(&taken).1, Some(format!("{}/a", case.namespace)));
    let sent = adoption_of(&case, "a").await;
    words_of_mark(&sent, 0);
    let used: Vec<&str> = status(&object)
        .used_tokens
        .iter()
        .map(|used| used.token.as_str())
        .collect();
    assert_eq!(used, [token.as_str()]);
    assert_eq!(status(&object).asked_tokens, []);

    // They come back: the word was for one time.
    case.hand(&tag(&pool, "poolwright", "another-cluster/12ab/34cd"))
        .await;
    let again = case.stalled("a", "OwnedByAnother").await;
    assert_ne!(token_in(&again), token);
    assert_eq!(
        marks(&case.its_pool("a").await).0.as_deref(),
        Some("another-cluster/12ab/34cd")
    );
}

/// An owner that is gone, or that has another pool, stands in nobody's way; one that is there does.
#[tokio::test(flavor = "multi_thread")]
async fn the_owner_is_gone() {
    let case = Case::shared("heirs").await;
    case.apply("a", PLAIN).await;
    case.ready("a").await;
    let pool = case.pool_name("a");
    let first = case.its_pool("a").await;
    let of = |policy: &str| spec_of(&pool, policy, "").replace("count: 2", "count: 4");
    case.a_second_after("a").await;
    case.apply("heir", &of("IfUnowned")).await;
    let message = case.stalled("heir", "OwnedByAnother").await;
    assert!(
        message.contains(&format!("the mark of {}/a,", case.namespace)),
        "{message}"
    );
    case.apply("heir", &of("Never")).await;
    case.stalled("heir", "OwnedByAnother").await;
    case.looked("heir").await;
    assert_eq!(case.its_pool("a").await, first);

    delete(&case, "a").await;
    let message = case.stalled("heir", "PoolExists").await;
    assert!(
        message.contains(&format!(
            "carries the mark of {}/a, which is gone",
            case.namespace
        )),
        "{message}"
    );
    assert_eq!(case.its_pool("a").await, first);
    case.apply("heir", &of("IfUnowned")).await;
    case.ready("heir").await;
    let sent = adoption_of(&case, "heir").await;
    words_of_mark(&sent, 0);
    assert_eq!(sent.len(), 1, "{sent:#?}");
    let second = case.its_pool("a").await;
    assert_eq!(marks(&second).1, Some(format!("{}/heir", case.namespace)));
    assert_eq!(bare(second.clone()), bare(first));

    // Made again, the first owner has lost it.
    case.apply("a", PLAIN).await;
    let message = case.stalled("a", "OwnedByAnother").await;
    assert!(
        message.contains(&format!("the mark of {}/heir", case.namespace)),
        "{message}"
    );
    delete(&case, "a").await;

    // An object of that name with another pool is not the owner.
    delete(&case, "heir").await;
    case.apply("heir", PLAIN).await;
    case.ready("heir").await;
    case.until("heir", "has its annotation", |object| {
        object.annotations().contains_key(ANNOTATION)
    })
    .await;
    case.apply("a", &of("IfUnowned")).await;
    case.ready("a").await;
    let third = case.its_pool("a").await;
    assert_eq!(marks(&third).1, Some(format!("{}/a", case.namespace)));

    // Where it has none, what it wishes for decides.
    delete(&case, "a").await;
    make_with(&case, "a", PLAIN, PAUSED, "true").await;
    case.a_second_after("a").await;
    case.apply("late", &of("IfUnowned")).await;
    case.stalled("late", "OwnedByAnother").await;
    case.looked("late").await;
    assert_eq!(case.its_pool("a").await, third);
    case.apply("a", &spec_of(&case.pool_name("other"), "Never", ""))
        .await;
    case.looked("late").await;
    case.ready("late").await;
    let fourth = case.its_pool("a").await;
    assert_eq!(marks(&fourth).1, Some(format!("{}/late", case.namespace)));
}

/// Two objects wish for one pool: the older one has it, the other says so, and has it when the older is gone.
#[tokio::test(flavor = "multi_thread")]
async fn the_older_one_wins() {
    let case = Case::shared("ages").await;
    let name = case.pool_name("absent");
    let small = spec_of(&name, "Never", "");
    make_with(&case, "old", &small, PAUSED, "true").await;
    case.a_second_after("old").await;
    case.apply("young", &small).await;
    let message = case.stalled("young", "Conflict").await;
    let sentence = format!(
        "the older CephPool {}/old wishes for pool {name} of the same cluster, too; delete one of the two",
        case.namespace
    );
    assert!(message.contains(&sentence), "{message}");
    case.looked("young").await;
    assert_eq!(case.pool_names().await, Vec::<String>::new());
    delete(&case, "old").await;
    case.ready("young").await;

    // Also of a pool that is there and nobody's.
    let before = case.by_hand("found").await;
    let found = spec_of(&case.pool_name("found"), "IfUnowned", "");
    make_with(&case, "first", &found, PAUSED, "true").await;
    case.a_second_after("first").await;
    case.apply("second", &found).await;
    case.stalled("second", "Conflict").await;
    case.looked("second").await;
    assert_eq!(case.its_pool("found").await, before);
    case.annotate("first", PAUSED, None).await;
    case.ready("first").await;
    let message = case.stalled("second", "OwnedByAnother").await;
    assert!(
        message.contains(&format!("the mark of {}/first", case.namespace)),
        "{message}"
    );
    delete(&case, "first").await;
    case.ready("second").await;
    assert_eq!(
        marks(&case.its_pool("found").await).1,
        Some(format!("{}/second", case.namespace))
    );
}

/// Who only looks claims nothing, and nobody's claim stands in the way of looking.
#[tokio::test(flavor = "multi_thread")]
async fn observers_claim_nothing() {
    let case = Case::shared("observers").await;
    let name = case.pool_name("a");
    let looks = spec_of(&name, "IfUnowned", ", management: Observe");
    case.apply("before", &looks).await;
    case.stalled("before", "ObserveOnly").await;
    case.a_second_after("before").await;
    case.apply("a", &spec("Never", "")).await;
    case.ready("a").await;
    case.apply("after", &looks).await;
    for observer in ["before", "after"] {
        let object = case.ready(observer).await;
        assert!(!object.annotations().contains_key(ANNOTATION));
        assert!(object.finalizers().is_empty());
    }
    let pool = case.its_pool("a").await;
    assert_eq!(marks(&pool).1, Some(format!("{}/a", case.namespace)));
    for observer in ["before", "after"] {
        delete(&case, observer).await;
    }
    case.looked("a").await;
    assert_eq!(case.its_pool("a").await, pool);
    case.ready("a").await;
}

/// A restored backup has neither status nor annotation: with the mark all of it is there again, without a command.
#[tokio::test(flavor = "multi_thread")]
async fn a_backup_is_restored() {
    let case = Case::shared("backup").await;
    case.by_hand("a").await;
    case.apply("a", &spec("IfUnowned", ", quota: {maxObjects: 7}"))
        .await;
    case.ready("a").await;
    let before = case
        .until("a", "has its annotation", |object| {
            object.annotations().contains_key(ANNOTATION)
        })
        .await;
    let pool = case.its_pool("a").await;
    let sent = case.sent().await.len();
    delete(&case, "a").await;
    // Also with a policy that would not adopt: it is its own.
    case.apply("a", &spec("Never", ", quota: {maxObjects: 7}"))
        .await;
    case.ready("a").await;
    let after = case
        .until("a", "has its annotation", |object| {
            object.annotations().contains_key(ANNOTATION)
        })
        .await;
    assert_eq!(annotation(&after), annotation(&before));
    assert_eq!(status(&after).pool_id, status(&before).pool_id);
    assert_eq!(
        status(&after).applied_fields,
        status(&before).applied_fields
    );
    assert_eq!(case.its_pool("a").await, pool);
    assert_eq!(case.sent().await.len(), sent);
}
