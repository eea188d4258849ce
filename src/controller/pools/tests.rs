//! What is kept in memory about objects, and forgotten.

use kube::Config;
use kube::runtime::reflector;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::api::v1alpha1::{CephRequestSpec, Operation, PoolReference};

/// Nobody listens where the API server should be.
fn pools() -> Pools {
    let config = Config::new("http://127.0.0.1:9".parse().expect("an address"));
    let (ended, _) = mpsc::unbounded_channel();
    Pools::new(
        Client::try_from(config).expect("a client"),
        Registry::new(),
        RequestCollection::new(ended, CancellationToken::new()),
        reflector::store().0,
        reflector::store().0,
        "c9a1".into(),
        Reporter::from("poolwright"),
        Metrics::default(),
    )
}

fn object(name: &str, uid: &str) -> Arc<CephPool> {
    let mut object = CephPool::default();
    object.metadata.namespace = Some("team-a".into());
    object.metadata.name = Some(name.into());
    object.metadata.uid = Some(uid.into());
    Arc::new(object)
}

/// An object that was made again under its name takes nothing over from the one before, which is not kept either.
#[tokio::test]
async fn made_again() {
    let pools = pools();
    let other = object("fo", "other");
    let longer = object("foopool2", "longer");
    let (first, second) = (object("foopool", "first"), object("foopool", "second"));
    let request = CephRequest::new(
        "r",
        CephRequestSpec {
            pool_ref: PoolReference::default(),
            connection: "main".into(),
            operation: Operation::Update,
            changed_fields: Vec::new(),
            desired: BTreeMap::new(),
            reason: None,
            requested_by: None,
            requested_at: None,
            idempotency_key: None,
            retry_of: None,
        },
    );
    let left = HashMap::from([("first".to_owned(), vec![request])]);
    pools.left_open.set(Mutex::new(left)).expect("once");
    for object in [&other, &longer, &first, &second] {
        let key = key(object.as_ref());
        pools.entry(&key, object).side().failures = 3;
        pools.collection.pool(&key);
    }
    // One that was cancelled and never looked at.
    pools
        .collection
        .pool(&key(object("foopool", "zeroth").as_ref()));
    pools.forget("team-a", "foopool", Some("second"));
    let kept: Vec<String> = pools.entries().keys().map(|key| key.uid.clone()).collect();
    assert_eq!(kept, ["other", "second", "longer"]);
    let work = pools.collection.of_name("team-a", "foopool");
    assert_eq!(work, [key(second.as_ref())]);
    assert_eq!(pools.take_left_open("first"), Some(Vec::new()));
    assert_eq!(
        pools.entry(&key(second.as_ref()), &second).side().failures,
        3
    );
    pools.forget("team-a", "foopool", None);
    assert_eq!(pools.entries().len(), 2);
    assert_eq!(pools.collection.of_name("team-a", "foopool"), []);
    assert_eq!(pools.collection.of_name("team-a", "fo").len(), 1);
}
