//! Words that people give: a dangerous step passes with the token that the refusal names, once, and nothing else does.

use poolwright::api::v1alpha1::CephPool;
use serde_json::Value;

use super::steps::{PLAIN, annotation, delete, make_annotated, remove, status, token_in};
use super::support::{Case, condition};

const CONFIRM: &str = "poolwright.dev/confirm";

/// A pool of this many copies, with more in its spec.
fn copies(size: u32, more: &str) -> String {
    format!(
        "{{replicated: {{size: {size}}}, applications: [{{name: rbd}}], \
         placementGroups: {{autoscale: Disabled, count: 4}}{more}}}"
    )
}

/// Tokens that an object asks for, with what they are for.
fn asked(object: &CephPool) -> Vec<(&str, &str, &str, i64)> {
    status(object)
        .asked_tokens
        .iter()
        .map(|asked| {
            (
                asked.token.as_str(),
                asked.step.as_str(),
                asked.target.as_str(),
                asked.generation,
            )
        })
        .collect()
}

/// Tokens that were used.
fn used(object: &CephPool) -> Vec<&str> {
    let used = status(object).used_tokens.iter();
    used.map(|used| used.token.as_str()).collect()
}

/// Waits until an object is refused with another token than this one; gives the message.
async fn asks_anew(case: &Case, name: &str, reason: &str, token: &str) -> String {
    let object = case
        .until(name, "asks for another token", |object| {
            condition(object, "Stalled").is_some_and(|stalled| {
                stalled.1 == reason && stalled.2.contains(CONFIRM) && token_in(stalled.2) != token
            })
        })
        .await;
    condition(&object, "Stalled")
        .expect("just seen")
        .2
        .to_owned()
}

/// A pool of one copy is made with a person's word: the one in the message, also after another change of the manifest,
/// and only once.
#[tokio::test(flavor = "multi_thread")]
async fn one_copy_from_the_beginning() {
    let case = Case::shared("single").await;
    case.apply("a", &copies(1, "")).await;
    let message = case.stalled("a", "Unsafe").await;
    let token = token_in(&message);
    let command = format!(
        "`kubectl -n {} annotate cephpool a {CONFIRM}={token} --overwrite`",
        case.namespace
    );
    assert!(message.contains(&command), "{message}");
    let object = case.object("a").await;
    assert_eq!(asked(&object), [(token.as_str(), "size", "1", 1)]);
    // Other words do nothing.
    for wrong in ["00000000", "yes,true", "*", ""] {
        case.annotate("a", CONFIRM, Some(wrong)).await;
        case.looked("a").await;
        assert_eq!(case.stalled("a", "Unsafe").await, message);
    }
    // A later generation asks for the same, with the same token.
    case.apply("a", &copies(1, ", quota: {maxObjects: 5}"))
        .await;
    assert_eq!(case.stalled("a", "Unsafe").await, message);
    assert_eq!(
        asked(&case.object("a").await),
        [(token.as_str(), "size", "1", 1)]
    );
    assert_eq!(case.sent().await, Vec::<Value>::new());
    assert_eq!(case.pool_names().await, Vec::<String>::new());

    assert_eq!(case.as_told(&message).await, token);
    let object = case.ready("a").await;
    let pool = case.its_pool("a").await;
    assert_eq!(
        [&pool["size"], &pool["min_size"], &pool["quota_max_objects"]],
        [1, 1, 5]
    );
    assert_eq!(asked(&object), []);
    assert_eq!(used(&object), [token.as_str()]);
    assert_eq!(
        status(&object).used_tokens[0].request_id,
        status(&object).request_id.clone().expect("a request")
    );

    // The word is still there and was for that time: what others make safer stays so until it is given again.
    case.set("a", "size", "2").await;
    let anew = asks_anew(&case, "a", "Unsafe", &token).await;
    let sent = case.sent().await.len();
    case.looked("a").await;
    assert_eq!(case.its_pool("a").await["size"], 2);
    assert_eq!(case.sent().await.len(), sent);
    assert_eq!(case.stalled("a", "Unsafe").await, anew);
    case.apply("a", &copies(2, "")).await;
    let object = case.ready("a").await;
    assert_eq!(asked(&object), []);
    assert_eq!(used(&object), [token.as_str()]);
}

/// The same on a pool that is there. Ceph may refuse it all the same, in its own words, and the word stays good until
/// it is done.
#[tokio::test(flavor = "multi_thread")]
async fn one_copy_later() {
    let case = Case::shared("fewer").await;
    let allow = async |allowed: &str| {
        let set = [
            "tell",
            "mon.a",
            "config",
            "set",
            "mon_allow_pool_size_one",
            allowed,
        ];
        case.ceph(&set).await;
    };
    case.apply("a", PLAIN).await;
    case.ready("a").await;
    allow("false").await;
    case.apply("a", &copies(1, "")).await;
    let message = case.stalled("a", "Unsafe").await;
    let token = case.as_told(&message).await;
    let refused = case.stalled("a", "Blocked").await;
    assert!(
        refused.contains("configuring pool size as 1 is disabled by default"),
        "{refused}"
    );
    assert_eq!(case.its_pool("a").await["size"], 3);
    // The generation moves on, and what was confirmed stays so.
    allow("true").await;
    case.apply("a", &copies(1, ", quota: {maxObjects: 5}"))
        .await;
    let object = case.ready("a").await;
    allow("false").await;
    let pool = case.its_pool("a").await;
    assert_eq!(
        [&pool["size"], &pool["min_size"], &pool["quota_max_objects"]],
        [1, 1, 5]
    );
    assert_eq!(used(&object), [token.as_str()]);
    assert_eq!(asked(&object), []);
    case.set("a", "size", "3").await;
    asks_anew(&case, "a", "Unsafe", &token).await;
    assert_eq!(case.its_pool("a").await["size"], 3);
}

/// Writes that one OSD acknowledges: at creation and later; of two dangers each takes its own word.
#[tokio::test(flavor = "multi_thread")]
async fn low_min_size() {
    let case = Case::shared("low").await;
    case.apply("new", &copies(2, ", minSize: 1")).await;
    case.apply("a", PLAIN).await;
    case.ready("a").await;
    case.apply("a", &copies(3, ", minSize: 1")).await;
    let mut tokens = Vec::new();
    for (name, size) in [("new", 2), ("a", 3)] {
        let message = case.stalled(name, "Unsafe").await;
        assert_eq!(asked(&case.object(name).await)[0].1, "minSize");
        tokens.push(case.as_told(&message).await);
        let object = case.ready(name).await;
        let pool = case.its_pool(name).await;
        assert_eq!([&pool["size"], &pool["min_size"]], [size, 1]);
        assert_eq!(used(&object), [tokens.last().expect("one").as_str()]);
    }
    assert_ne!(tokens[0], tokens[1]);
    case.set("a", "min_size", "2").await;
    asks_anew(&case, "a", "Unsafe", &tokens[1]).await;
    assert_eq!(case.its_pool("a").await["min_size"], 2);
}

/// A token is for one object: another one's does nothing, whatever else they have in common.
#[tokio::test(flavor = "multi_thread")]
async fn tokens_of_others() {
    let case = Case::shared("borrowed").await;
    for name in ["a", "b"] {
        case.apply(name, &copies(1, "")).await;
    }
    let [first, second] = [
        case.stalled("a", "Unsafe").await,
        case.stalled("b", "Unsafe").await,
    ];
    let token = token_in(&first);
    assert_ne!(token_in(&second), token);
    case.annotate("b", CONFIRM, Some(&token)).await;
    case.looked("b").await;
    assert_eq!(case.stalled("b", "Unsafe").await, second);
    // Nor that of an object that had the name before.
    case.as_told(&first).await;
    case.ready("a").await;
    delete(&case, "a").await;
    case.hand(&remove(&case.pool_name("a"))).await;
    case.seen().await;
    super::steps::make_with(&case, "a", &copies(1, ""), CONFIRM, &token).await;
    let message = case.stalled("a", "Unsafe").await;
    assert_ne!(token_in(&message), token);
    assert_eq!(case.pool_names().await, Vec::<String>::new());
}

/// Rule 2: a pool that is gone is made again with a person's word, as another pool, and once.
#[tokio::test(flavor = "multi_thread")]
async fn made_again() {
    let case = Case::shared("again").await;
    case.apply("a", PLAIN).await;
    let object = case.ready("a").await;
    let first = status(&object).pool_id.expect("an id");
    case.hand(&remove(&case.pool_name("a"))).await;
    let message = case.stalled("a", "PoolMissing").await;
    assert!(
        message.contains("To have a new, empty pool, confirm it: "),
        "{message}"
    );
    let token = case.as_told(&message).await;
    let object = case.ready("a").await;
    let second = status(&object).pool_id.expect("an id");
    assert_ne!(first, second);
    assert_eq!(case.its_pool("a").await["pool"].as_i64(), Some(second));
    assert_eq!(case.pool_names().await, [case.pool_name("a")]);
    assert_eq!(used(&object), [token.as_str()]);
    let object = case
        .until("a", "has its new identity", |object| {
            annotation(object).contains(&format!("/{second}/"))
        })
        .await;

    // The word was for that pool.
    case.hand(&remove(&case.pool_name("a"))).await;
    let anew = asks_anew(&case, "a", "PoolMissing", &token).await;
    assert!(anew.contains(&format!("(id {second}) is gone")), "{anew}");
    case.looked("a").await;
    assert_eq!(case.pool_names().await, Vec::<String>::new());

    // An annotation that anybody can write is worth the same: it is asked, and nothing else happens.
    let identity = annotation(&object);
    delete(&case, "a").await;
    make_annotated(&case, "a", PLAIN, &identity).await;
    let message = case.stalled("a", "PoolMissing").await;
    case.as_told(&message).await;
    let object = case.ready("a").await;
    assert_ne!(status(&object).pool_id, Some(second));
}
