//! What the tests of plans and flows share: manifests, a cluster in memory, and plans as text.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use poolwright::api::v1alpha1::{CephPool, CephPoolSpec, Management};
use poolwright::api::{validate, yaml};
use poolwright::ceph::command::MonCommand;
use poolwright::ceph::osd_map::Pool;
use poolwright::ceph::simulated::SimulatedCluster;
use poolwright::ceph::types::{Fsid, PoolId, PoolName};
use poolwright::ceph::view::ClusterView;
use poolwright::request::factory::Next;
use poolwright::request::guard;
use poolwright::request::ownership::Owner;
use poolwright::request::placement::rule_field;
use poolwright::request::preview::{MAX_ROUNDS, Plan, plan};
use poolwright::request::refusal::Refusal;
use poolwright::request::registry::{ObjectType, factory};
use poolwright::request::round::{Round, Step};
use poolwright::request::wish::{Record, Wish};
use serde_json::{Value, json};

pub const FSID: &str = "7f0e0000-0000-4000-8000-000000000001";
pub const NONCE: &str = "ab12cd34";
pub const CLAIM: &str = "0c1a1e55";
/// The private name of `foopool`.
pub const PRIVATE: &str = "foopool.poolwright-new-ab12cd34";

/// A manifest that names everything this release keeps.
pub const EVERYTHING: &str = r#"
replicated: {size: 3}
minSize: 2
placementGroups: {autoscale: Disabled, count: 32, min: 16, max: 64, bias: "2.0", targetSizeRatio: "0.2", bulk: true}
quota: {maxBytes: 1Gi, maxObjects: 1000}
applications: [{name: rbd, metadata: {purpose: images, tier: gold}}]
flags: {noDelete: true, noSizeChange: true, noPgChange: true, noScrub: true, noDeepScrub: true}
"#;

/// The smallest manifest that makes a pool.
pub const SMALLEST: &str = "applications: [{name: rbd}]";

/// An empty cluster that can hold more than any test asks for.
pub fn cluster() -> SimulatedCluster {
    SimulatedCluster::new(&Fsid::new(FSID), 1_000_000)
}

pub fn owner() -> Owner {
    owner_of("foopool")
}

pub fn owner_of(name: &str) -> Owner {
    Owner {
        instance: "c9a1".into(),
        namespace: "team-a".into(),
        name: name.into(),
    }
}

/// The record of an object of which nothing is known.
pub fn fresh() -> Record {
    Record {
        claim: CLAIM.into(),
        nonce: NONCE.into(),
        ..Record::default()
    }
}

/// The fields of a spec as they are written.
pub fn fields(text: &str) -> Value {
    yaml::documents(text).unwrap().remove(0)
}

/// A valid `CephPool` team-a/foopool with these fields in its spec.
pub fn object(fields: &Value) -> CephPool {
    let mut spec =
        json!({"connectionRef": {"name": "main"}, "type": "Replicated", "replicated": {}});
    for (field, value) in fields.as_object().unwrap() {
        spec[field] = value.clone();
    }
    if spec["replicated"].is_null() {
        spec.as_object_mut().unwrap().remove("replicated");
    }
    let object = json!({
        "apiVersion": "poolwright.dev/v1alpha1",
        "kind": "CephPool",
        "metadata": {"name": "foopool", "namespace": "team-a"},
        "spec": spec,
    });
    validate::decode_pool(&object).unwrap_or_else(|problems| panic!("{object}: {problems:?}"))
}

pub fn spec(text: &str) -> CephPoolSpec {
    object(&fields(text)).spec
}

/// The wish of a spec with a record.
pub fn read(spec: &CephPoolSpec, record: Record) -> Result<Wish, Vec<Refusal>> {
    Wish::read(owner(), spec, 1, Management::Manage, record)
}

pub fn wish(text: &str, record: Record) -> Wish {
    read(&spec(text), record).expect("a wish")
}

pub fn next(wish: &Wish, view: &ClusterView) -> Next {
    factory(ObjectType::Pool).next_round(wish, view)
}

pub fn preview(wish: &Wish, view: &ClusterView) -> Plan {
    plan(factory(ObjectType::Pool), wish, view)
}

pub fn commands(round: &Round) -> Vec<MonCommand> {
    round
        .steps
        .iter()
        .map(|step| step.command.clone())
        .collect()
}

/// One object and its cluster, without anything that waits: what a run does, in a loop.
#[derive(Clone, Debug)]
pub struct Bench {
    pub cluster: SimulatedCluster,
    pub record: Record,
}

/// What became of a wish.
#[derive(Clone, Debug, Default)]
pub struct Ran {
    pub rounds: Vec<Round>,
    /// What is left that cannot be done.
    pub refusals: Vec<Refusal>,
    /// What the cluster refused, with its words.
    pub rejected: Vec<(MonCommand, String)>,
    /// Whether the end was reached.
    pub ended: bool,
}

impl Bench {
    pub fn new() -> Self {
        Self {
            cluster: cluster(),
            record: fresh(),
        }
    }

    /// A bench whose object has its pool already.
    pub fn with(text: &str) -> Self {
        let mut bench = Self::new();
        bench.apply(text).in_sync();
        bench
    }

    pub fn pool(&self) -> &Pool {
        self.cluster.pool("foopool").expect("the pool")
    }

    /// The plan for a manifest, as text.
    pub fn plan(&self, text: &str) -> String {
        let wish = wish(text, self.record.clone());
        show(&preview(&wish, &self.cluster.view()))
    }

    pub fn apply(&mut self, text: &str) -> Ran {
        self.apply_spec(&spec(text))
    }

    /// Runs a manifest to its end, and checks what holds of every run.
    pub fn apply_spec(&mut self, spec: &CephPoolSpec) -> Ran {
        let before = self.cluster.clone();
        let foreseen = preview(
            &read(spec, self.record.clone()).expect("a wish"),
            &before.view(),
        );
        let mut ran = Ran::default();
        for _ in 0..=MAX_ROUNDS {
            let view = self.cluster.view();
            let wish = read(spec, self.record.clone()).expect("a wish");
            let answer = next(&wish, &view);
            let wish = answer.advance(wish);
            self.record = wish.record.clone();
            self.record.applied.extend(wish.fields());
            ran.refusals.clone_from(&answer.refusals);
            let steps: Vec<Step> = answer
                .round
                .steps
                .into_iter()
                .filter(|step| {
                    !ran.rejected
                        .iter()
                        .any(|(command, _)| *command == step.command)
                })
                .collect();
            if steps.is_empty() {
                ran.ended = true;
                break;
            }
            let round = Round { steps };
            let pool = answer.found.map(|found| found.identity.id);
            if let Err(objection) = guard::check(&round, &wish, &view, pool, None) {
                panic!("the guard objects: {objection}\n{}", show_round(&round));
            }
            assert_only_ours(&round, &wish, &view, pool);
            let sent = commands(&round);
            for (command, reply) in sent.iter().zip(self.cluster.round(&sent)) {
                if reply.code < 0 {
                    ran.rejected.push((command.clone(), reply.text));
                }
            }
            ran.rounds.push(round);
        }
        if ran.ended && ran.refusals.is_empty() && ran.rejected.is_empty() {
            let mut applied = read(spec, self.record.clone()).expect("a wish").fields();
            if let Some(pool) = self.cluster.pool("foopool") {
                // A rule that the manifest let go goes with the pool, and so does its profile.
                let names = [
                    self.cluster.view().rule_name(pool),
                    pool.erasure_code_profile.clone(),
                ];
                let fields = names.map(|name| rule_field(&name));
                applied.extend(
                    fields
                        .into_iter()
                        .filter(|field| self.record.applied.contains(field)),
                );
            }
            self.record.applied = applied;
        }
        if ran.rejected.is_empty() {
            let foreseen: Vec<Round> = foreseen.rounds().cloned().collect();
            assert_eq!(foreseen, ran.rounds, "what was foreseen is what is done");
        }
        ran
    }
}

impl Ran {
    /// Asserts that it ended in sync.
    #[track_caller]
    pub fn in_sync(&self) -> &Self {
        assert!(
            self.ended && self.refusals.is_empty() && self.rejected.is_empty(),
            "{}\n{:#?}",
            self.text(),
            self.rejected
        );
        self
    }

    pub fn text(&self) -> String {
        let mut text = show_rounds(self.rounds.iter());
        text.push_str(&show_refusals(&self.refusals));
        if !self.ended {
            text.push_str("and no end\n");
        }
        text
    }

    /// The commands of all rounds, a line of dashes between two rounds.
    pub fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for (at, round) in self.rounds.iter().enumerate() {
            if at > 0 {
                lines.push("--".to_owned());
            }
            lines.extend(round.steps.iter().map(|step| step.command.to_line()));
        }
        lines
    }
}

/// No command names a pool that is not the object's: every name means its pool, or nothing yet.
pub fn assert_only_ours(round: &Round, wish: &Wish, view: &ClusterView, pool: Option<PoolId>) {
    let private = wish.private_name();
    for step in &round.steps {
        for name in step.command.pools() {
            let means = view.pool_named(name).map(|found| found.id);
            assert!(
                (*name == private || *name == wish.pool) && (means.is_none() || means == pool),
                "{} for pool {pool:?}",
                step.command.to_line()
            );
        }
        if let MonCommand::PoolRemove { pool } = &step.command {
            assert!(
                *pool == private && wish.record.unpublished,
                "{}",
                step.command.to_line()
            );
        }
    }
}

/// A pool that somebody else made.
pub fn foreign(cluster: &mut SimulatedCluster, name: &str) -> PoolId {
    let create = MonCommand::PoolCreate(poolwright::ceph::command::PoolCreate::new(
        PoolName::new(name),
        8,
    ));
    cluster.round(&[create]);
    cluster.settle();
    cluster.pool(name).expect("the foreign pool").id
}

/// A plan as a person would read it: rounds of `ceph` lines with their reasons, then what is refused.
pub fn show(plan: &Plan) -> String {
    let mut text = show_rounds(plan.rounds());
    text.push_str(&show_refusals(&plan.now.refusals));
    if text.is_empty() {
        text.push_str("in sync\n");
    }
    if !plan.converges {
        text.push_str("and no end\n");
    }
    text
}

fn show_rounds<'a>(rounds: impl Iterator<Item = &'a Round>) -> String {
    let mut text = String::new();
    for (at, round) in rounds.enumerate() {
        let _ = write!(text, "round {}\n{}", at + 1, show_round(round));
    }
    text
}

pub fn show_round(round: &Round) -> String {
    let mut text = String::new();
    for step in &round.steps {
        let last = if step.last { " (last)" } else { "" };
        let _ = writeln!(text, "  {}{last}", step.command.to_line());
        let _ = writeln!(
            text,
            "      {}: {} -> {}; {}",
            step.field, step.observed, step.desired, step.reason
        );
    }
    text
}

pub fn show_refusals(refusals: &[Refusal]) -> String {
    let mut text = String::new();
    for refusal in refusals {
        let field = refusal.field.as_deref().unwrap_or("(all)");
        let message = refusal
            .message
            .replace(env!("CARGO_PKG_VERSION"), "VERSION");
        let _ = writeln!(
            text,
            "refused {} {field}\n      {message}",
            refusal.reason.as_str()
        );
    }
    text
}

/// The fields as a set.
pub fn set(fields: &[&str]) -> BTreeSet<String> {
    fields.iter().map(|field| (*field).to_owned()).collect()
}

/// A bench whose object has its pool, settled, and changed by somebody.
pub fn after(text: &str, edit: impl FnOnce(&mut Pool)) -> Bench {
    let mut bench = Bench::with(text);
    bench.cluster.settle();
    bench.cluster.edit_pool("foopool", edit);
    bench
}

/// A bench whose object has begun to make its pool, and is so many rounds on.
pub fn begun(text: &str, rounds: usize) -> Bench {
    let mut bench = Bench::new();
    for _ in 0..rounds {
        let wish = wish(text, bench.record.clone());
        let answer = next(&wish, &bench.cluster.view());
        bench.record = answer.advance(wish).record;
        bench.cluster.round(&commands(&answer.round));
    }
    bench
}
