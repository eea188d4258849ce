//! The controller ended at every place where it changes something, one after the other, and started again.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

use futures::future::join_all;
use kube::ResourceExt;
use kube::api::{DeleteParams, ListParams};
use poolwright::api::v1alpha1::{CephRequest, Operation, Outcome};
use serde_json::json;
use tokio::time::{Duration, Instant, sleep};

use super::steps;
use super::support::{Case, Controller, Own, World, condition, holds, pools_of};

/// How long one of them may take: a removal waits 30 s for what may be on its way, and 30 s more after each look that
/// could not tell whether the pool is empty.
const PATIENCE: Duration = Duration::from_secs(240);

/// What comes after the last thing that can be seen takes less.
const AFTERWARDS: Duration = Duration::from_secs(3);

/// As many as a pool made by hand has, so that none have to follow when it is adopted.
const PGS: u32 = 2;

/// What is done to a pool while the controller is ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Deed {
    Create,
    Update,
    Rename,
    Adopt,
    Delete,
}

const DEEDS: [Deed; 5] = [
    Deed::Delete,
    Deed::Adopt,
    Deed::Create,
    Deed::Update,
    Deed::Rename,
];

/// A table row: how often it was ended, and how long it took to go on.
#[derive(Debug, Default)]
struct Tally {
    tried: usize,
    longest: Duration,
}

fn spec(objects: u64) -> String {
    format!(
        "{{replicated: {{size: 2}}, minSize: 2, placementGroups: {{autoscale: Disabled, count: {PGS}}}, \
         quota: {{maxObjects: {objects}}}, flags: {{noScrub: true}}, adoptionPolicy: IfUnowned, \
         deletionPolicy: Delete, applications: [{{name: rbd, metadata: {{team: storage}}}}]}}"
    )
}

/// The pool's name while and after a deed.
fn pool_name(case: &Case, name: &str, deed: Deed) -> String {
    match deed {
        Deed::Rename => format!("{}-renamed", case.pool_name(name)),
        _ => case.pool_name(name),
    }
}

impl Deed {
    fn done(self) -> &'static str {
        match self {
            Self::Create => "created",
            Self::Update => "changed",
            Self::Rename => "renamed",
            Self::Adopt => "adopted",
            Self::Delete => "removed with its object",
        }
    }

    fn operation(self) -> Operation {
        match self {
            Self::Create => Operation::Create,
            Self::Update => Operation::Update,
            Self::Rename => Operation::Rename,
            Self::Adopt => Operation::Adopt,
            Self::Delete => Operation::Delete,
        }
    }

    /// What has to be there before it, while an undisturbed controller runs.
    async fn prepare(self, case: &Case, names: &[String]) {
        match self {
            Self::Create => {}
            Self::Adopt => {
                for name in names {
                    let pool = case.pool_name(name);
                    case.hand(&steps::create(&pool)).await;
                    case.hand(&steps::enable(&pool, "rbd")).await;
                }
            }
            Self::Update | Self::Rename | Self::Delete => {
                let spec = spec(100);
                join_all(names.iter().map(|name| case.apply(name, &spec))).await;
                for name in names {
                    case.ready(name).await;
                }
            }
        }
    }

    async fn begin(self, case: &Case, name: &str) {
        match self {
            Self::Create | Self::Adopt => {
                case.apply(name, &spec(100)).await;
            }
            Self::Update => {
                case.apply(name, &spec(200)).await;
            }
            Self::Rename => {
                let renamed = pool_name(case, name, self);
                let spec = spec(100).replacen('{', &format!("{{poolName: {renamed}, "), 1);
                case.apply(name, &spec).await;
            }
            Self::Delete => {
                case.pools()
                    .delete(name, &DeleteParams::default())
                    .await
                    .expect("it is deleted");
            }
        }
    }

    /// Whether its object shows that it is done.
    async fn is_done(self, case: &Case, name: &str) -> bool {
        let object = case.pools().get_opt(name).await.expect("an answer");
        let Some(object) = object else {
            return self == Self::Delete;
        };
        let Some(status) = &object.status else {
            return false;
        };
        status.observed_generation == object.metadata.generation
            && condition(&object, "Ready").is_some_and(|ready| ready.0 == "True")
            && self != Self::Delete
    }

    /// Waits until it is done, and looks whether everything is as if nothing had happened.
    async fn check(self, case: &Case, name: &str, before: Option<i64>, point: &str) {
        if self == Self::Delete {
            case.wait_for("the object is gone", PATIENCE, async || {
                let found = case.pools().get_opt(name).await;
                let found = found.map_err(|error| error.to_string())?;
                holds(found.is_none(), &found.and_then(|found| found.status))
            })
            .await;
        } else {
            let object = case.ready(name).await;
            let status = object.status.expect("a status");
            assert_eq!(status.observed_generation, object.metadata.generation);
        }
        let wanted = pool_name(case, name, self);
        let dump = case.dump().await;
        let prefix = case.pool_name(name);
        let of_it = |pool: &str| {
            pool.strip_prefix(prefix.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '-']))
        };
        let pools: Vec<_> = pools_of(&dump)
            .filter(|pool| pool["pool_name"].as_str().is_some_and(of_it))
            .collect();
        if self == Self::Delete {
            assert!(pools.is_empty(), "{point}: {pools:#?}");
        } else {
            let [pool] = pools.as_slice() else {
                panic!("{point}: not one pool: {pools:#?}");
            };
            assert_eq!(pool["pool_name"], json!(wanted), "{point}");
            if let Some(id) = before {
                assert_eq!(pool["pool"], json!(id), "{point}: another pool");
            }
            let objects = if self == Self::Update { 200 } else { 100 };
            assert_eq!(pool["quota_max_objects"], json!(objects), "{point}");
            assert_eq!(pool["min_size"], json!(2), "{point}");
            let keys = &pool["application_metadata"]["rbd"];
            assert_eq!(keys["team"], json!("storage"), "{point}");
            let owner = format!("{}/{name}", case.namespace);
            assert_eq!(keys["poolwright.object"], json!(owner), "{point}");
        }
        let requests: Vec<CephRequest> = requests_of(case, name, self.operation()).await;
        assert_eq!(requests.len(), 1, "{point}: {requests:#?}");
        let status = requests[0].status.clone().unwrap_or_default();
        assert_eq!(
            status.outcome,
            Some(Outcome::Succeeded),
            "{point}: {requests:#?}"
        );
    }
}

async fn requests_of(case: &Case, name: &str, operation: Operation) -> Vec<CephRequest> {
    let api: kube::Api<CephRequest> = kube::Api::namespaced(case.client.clone(), &case.namespace);
    let all = api.list(&ListParams::default()).await.expect("requests");
    let ours = |request: &CephRequest| {
        request.spec.pool_ref.name == name && request.spec.operation == operation
    };
    all.items.into_iter().filter(ours).collect()
}

async fn pool_id(case: &Case, name: &str) -> Option<i64> {
    case.ceph_pool(name).await?["pool"].as_i64()
}

/// Waits until the controller has ended at its point; `false` when all is done, and it has not come by.
async fn comes_to(case: &Case, controller: &Controller, deed: Deed, name: &str) -> bool {
    let began = Instant::now();
    let mut done: Option<Instant> = None;
    loop {
        if controller.ended().is_some() {
            return true;
        }
        assert!(
            began.elapsed() < PATIENCE,
            "{deed:?} of {name} is neither interrupted nor done"
        );
        if !deed.is_done(case, name).await {
            done = None;
        } else if done.get_or_insert_with(Instant::now).elapsed() > AFTERWARDS {
            return false;
        }
        sleep(Duration::from_millis(20)).await;
    }
}

/// The points that a deed comes by, as the controller lists them.
async fn points(case: &Case, deed: Deed) -> Vec<String> {
    let name = format!("{deed:?}").to_lowercase();
    deed.prepare(case, std::slice::from_ref(&name)).await;
    case.world.kill_controller();
    let file = std::env::temp_dir().join(format!("{}-{name}.points", case.namespace));
    let before = pool_id(case, &name).await;
    let controller = case
        .world
        .armed_controller(&format!("list={}", file.display()))
        .await;
    deed.begin(case, &name).await;
    deed.check(case, &name, before, "undisturbed").await;
    sleep(AFTERWARDS).await;
    controller.kill();
    let listed = std::fs::read_to_string(&file).expect("the points are listed");
    let _ = std::fs::remove_file(&file);
    let points: BTreeSet<String> = listed
        .lines()
        .filter(|point| !point.contains("clusterconnections"))
        .map(str::to_owned)
        .collect();
    points.into_iter().collect()
}

/// Must show: the table of fail points. Killed at each, before and after every call that changes something during create,
/// update, rename, adopt and delete: one pool, right settings, no private name left, one request a change.
#[tokio::test(flavor = "multi_thread")]
async fn ended_at_every_point() {
    let world = World::own(Own {
        connection: json!({"grants": [{"name": "all", "namespaces": {"all": true},
            "allow": ["Create", "Update", "Adopt", "Rename", "Delete"]}]}),
        ..Own::default()
    })
    .await;
    let case = Case::new(world, "points").await;
    // The proof that a pool is empty reads its objects.
    case.world
        .ceph()
        .ceph(&[
            "auth",
            "caps",
            "client.poolwright-main",
            "mon",
            "allow *",
            "osd",
            "allow r",
        ])
        .await;
    let mut table = String::from(
        "| while a pool is | points tried | survived | lost or doubled | longest time to recover |\n|---|---|---|---|---|\n",
    );
    for deed in DEEDS {
        case.world.kill_controller();
        case.world.start_controller().await;
        let points = points(&case, deed).await;
        assert!(points.len() >= 8, "{deed:?}: {points:#?}");
        case.world.start_controller().await;
        let names: Vec<String> = (0..points.len())
            .map(|number| format!("{}{number:02}", format!("{deed:?}").to_lowercase()))
            .collect();
        deed.prepare(&case, &names).await;
        case.world.kill_controller();
        let mut tally = Tally::default();
        let mut missed = Vec::new();
        for (name, point) in names.iter().zip(&points) {
            let before = pool_id(&case, name).await;
            let controller = case.world.armed_controller(point).await;
            deed.begin(&case, name).await;
            let came = comes_to(&case, &controller, deed, name).await;
            drop(controller);
            let again = Instant::now();
            case.world.start_controller().await;
            let what = format!("{deed:?}, ended {point}");
            deed.check(&case, name, before, &what).await;
            if came {
                tally.tried += 1;
                tally.longest = tally.longest.max(again.elapsed());
            } else {
                missed.push(point.as_str());
            }
            case.world.kill_controller();
        }
        println!(
            "{deed:?}: {} points, {:.1} s at most; this time there was no {missed:?}",
            tally.tried,
            tally.longest.as_secs_f64()
        );
        // How often the same is written depends on the time the rounds take; what is written does not.
        for point in missed {
            let repeated = point.rsplit_once('#').is_some_and(|(_, time)| time != "1");
            assert!(repeated, "{deed:?} never came to {point}");
        }
        let _ = writeln!(
            table,
            "| {} | {} | {} | 0 | {:.1} s |",
            deed.done(),
            tally.tried,
            tally.tried,
            tally.longest.as_secs_f64()
        );
    }
    if std::env::var("POOLWRIGHT_WRITE_DOCS").is_ok_and(|value| value == "1") {
        let text = format!(
            "# Fail points\n\nWritten by `POOLWRIGHT_WRITE_DOCS=1 make test ARGS=failpoints`. A debug build of the controller \
             has a point before and after every call to Ceph and to the API server that changes something. It is ended at \
             each of them, without a chance to clean up, and started again; then there has to be one pool with the right \
             settings under its real name, no private name, and one request for the change.\n\n{table}"
        );
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/fail-points.md");
        std::fs::write(path, text).expect("docs/fail-points.md");
    }
    let pools: Vec<String> = case
        .pools()
        .list(&ListParams::default())
        .await
        .expect("pools")
        .items
        .iter()
        .map(ResourceExt::name_any)
        .collect();
    println!("{table}\n{} objects are left", pools.len());
}
