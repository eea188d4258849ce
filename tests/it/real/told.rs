//! What people are told by events, besides what stands in conditions: values that do nothing, writes that Ceph stops, and
//! what becomes of connections.

use kube::Api;
use kube::api::{Patch, PatchParams};
use poolwright::api::v1alpha1::{
    ANNOTATION_CANCEL, ANNOTATION_CONFIRM, ANNOTATION_PAUSED, ClusterConnection,
};
use serde_json::{Value, json};

use super::steps::{PLAIN, WRONG_KEY, own_connection};
use super::support::{Case, LIMIT, condition, holds};

/// The type, reason and note of each event on an object, in the namespace where its events are.
async fn events(case: &Case, namespace: Option<&str>, object: &str) -> Vec<[String; 3]> {
    let selector = format!("involvedObject.name={object}");
    let mut args = vec!["get", "events", "--field-selector", &selector, "-o", "json"];
    args.extend(namespace.into_iter().flat_map(|name| ["-n", name]));
    let list = case.kubectl(&args).await;
    let list: Value = serde_json::from_str(&list).expect("JSON");
    let items = list["items"].as_array().cloned().unwrap_or_default();
    let word = |event: &Value, key: &str| event[key].as_str().unwrap_or_default().to_owned();
    items
        .iter()
        .map(|event| ["type", "reason", "message"].map(|key| word(event, key)))
        .collect()
}

/// Waits for a warning with these words, and gives how many there are.
async fn warned(case: &Case, object: &str, reason: &str, words: &str) -> usize {
    case.wait_for(&format!("{object}: {words}"), LIMIT, async || {
        let all = events(case, None, object).await;
        let found = all
            .iter()
            .filter(|[type_, of, note]| type_ == "Warning" && of == reason && note.contains(words));
        match found.count() {
            0 => Err(format!("{all:#?}")),
            count => Ok(count),
        }
    })
    .await
}

/// A value that does nothing is answered with a warning, once: nobody waits for what it seems to ask for.
#[tokio::test(flavor = "multi_thread")]
async fn values_that_do_nothing() {
    const IGNORED: &str = "AnnotationIgnored";
    let case = Case::shared("ignored").await;
    case.apply("a", PLAIN).await;
    case.ready("a").await;

    case.annotate("a", ANNOTATION_PAUSED, Some("yes")).await;
    let words = "poolwright.dev/paused has to be \"true\"; \"yes\" does nothing";
    warned(&case, "a", IGNORED, words).await;
    case.annotate("a", ANNOTATION_PAUSED, None).await;

    case.apply("a", &PLAIN.replace("size: 3", "size: 1")).await;
    let message = case.stalled("a", "Unsafe").await;
    let asked = case
        .object("a")
        .await
        .status
        .expect("a status")
        .asked_tokens;
    let asked = &asked[0].token;
    assert!(
        message.contains(asked) && message.contains("so size is not set to 1"),
        "{message}"
    );
    case.annotate("a", ANNOTATION_CONFIRM, Some("deadbeef"))
        .await;
    let words = format!("poolwright.dev/confirm: deadbeef is not the token asked for ({asked})");
    warned(&case, "a", IGNORED, &words).await;
    case.looked("a").await;
    case.looked("a").await;
    assert_eq!(warned(&case, "a", IGNORED, &words).await, 1, "once");

    let ended = &case.requests("a").await[0];
    let ended = ended.metadata.name.as_deref().expect("a name");
    for (value, words) in [
        ("yes", "has to be \"true\"; \"yes\" does nothing"),
        ("true", "the request has ended before"),
    ] {
        let annotation = format!("{ANNOTATION_CANCEL}={value}");
        case.kubectl(&["annotate", "--overwrite", "creq", ended, &annotation])
            .await;
        warned(&case, ended, IGNORED, words).await;
    }
}

/// A quota below what is stored stops all writes some seconds later: the pool is as declared, and says so.
#[tokio::test(flavor = "multi_thread")]
async fn a_pool_at_its_quota() {
    let case = Case::shared("atquota").await;
    case.apply("a", PLAIN).await;
    case.ready("a").await;
    let name = case.pool_name("a");
    for object in ["one", "two", "three"] {
        let done = tokio::process::Command::new("rados")
            .arg("-c")
            .arg(case.cluster().conf())
            .args(["-p", &name, "create", object])
            .status()
            .await;
        assert!(done.is_ok_and(|status| status.success()), "rados create");
    }
    let with = |objects: u8| {
        PLAIN.replace(
            "{replicated",
            &format!("{{quota: {{maxObjects: {objects}}}, replicated"),
        )
    };
    let says = |object: &poolwright::api::v1alpha1::CephPool| {
        condition(object, "Ready").is_some_and(|(status, _, words)| {
            status == "True" && words.contains("at its quota") && words.contains("full_quota")
        })
    };
    case.apply("a", &with(2)).await;
    case.until("a", "says that it is at its quota", says).await;
    warned(&case, "a", "AtQuota", "raise spec.quota or delete data").await;
    case.looked("a").await;
    assert_eq!(
        warned(&case, "a", "AtQuota", "raise spec.quota").await,
        1,
        "once"
    );
    case.apply("a", &with(9)).await;
    case.until("a", "can be written to again", |object| !says(object))
        .await;
    case.ready("a").await;
}

/// A connection that cannot be used any more, and one that can be again, say so by an event each.
#[tokio::test(flavor = "multi_thread")]
async fn connections() {
    let case = own_connection("told").await;
    case.world.connect("told", case.cluster(), json!({})).await;
    case.apply("a", PLAIN).await;
    case.ready("a").await;
    let name = case.connection().to_owned();
    let api: Api<ClusterConnection> = Api::all(case.client.clone());
    let spec = api.get(&name).await.expect("the connection").spec;
    let good = &spec.key_secret_ref;
    case.world
        .secret(&case.client, "told-wrong", WRONG_KEY)
        .await;
    let refer = async |secret: &str| {
        let patch = json!({"spec": {"keySecretRef": {"name": secret}}});
        let parameters = PatchParams::default();
        api.patch(&name, &parameters, &Patch::Merge(patch))
            .await
            .expect("the connection is changed");
    };
    let told = async |wanted: &[(&str, &str)]| {
        case.wait_for(&format!("{wanted:?}"), LIMIT, async || {
            let all = events(&case, Some("default"), &name).await;
            let has = |(type_, reason): &(&str, &str)| {
                all.iter()
                    .filter(|[of, why, _]| of == type_ && why == reason)
                    .count()
            };
            let counts: Vec<usize> = wanted.iter().map(has).collect();
            holds(counts.iter().all(|count| *count > 0), &all).map(|()| counts)
        })
        .await
    };
    assert_eq!(told(&[("Normal", "Connected")]).await, [1]);
    refer("told-wrong").await;
    told(&[("Warning", "AuthenticationFailed")]).await;
    refer("told-none").await;
    told(&[("Warning", "SecretNotFound")]).await;
    refer(&good.name).await;
    case.wait_for("the recovery is told", LIMIT, async || {
        let counts = told(&[("Normal", "Connected")]).await;
        holds(counts == [2], &counts)
    })
    .await;
}
