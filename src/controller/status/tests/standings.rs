//! Every standing, and the conditions that users expect of it.

use super::before as before_of;
use super::*;

/// One of each standing.
pub(super) fn standings() -> Vec<Standing> {
    let mut scene = Scene::after(3);
    scene.ask(&settings::QUOTA_BYTES, 5);
    let rejected = rejection(&scene.plan().now.round.steps[0], -22);
    let message = || "words".to_owned();
    vec![
        Standing::InSync {
            epoch: Epoch(9),
            note: None,
        },
        Standing::Creating,
        Standing::Working,
        Standing::Retrying {
            reason: Reason::Unreachable,
            message: message(),
        },
        Standing::Waiting {
            reason: Reason::Pending,
            message: message(),
        },
        Standing::Refused(vec![refusal(Reason::PoolExists, Some("poolName"))]),
        Standing::Rejected(vec![rejected]),
        Standing::Contested {
            field: "size".into(),
            observed: "2".into(),
            until: at(600),
        },
        Standing::NotConverging,
        Standing::Differs,
        Standing::Paused,
        Standing::DeletionBlocked {
            reason: Reason::NotEmpty,
            message: message(),
            token: None,
        },
        Standing::Deleting,
    ]
}

/// What is expected of a standing: `Ready` with its reason at first sight and later, the other conditions
/// with theirs, and what kstatus makes of it at first sight and later.
#[expect(clippy::type_complexity, reason = "a row of a table")]
fn expected(
    standing: &Standing,
) -> (
    [&'static str; 2],
    &'static str,
    &'static [(&'static str, &'static str)],
    [&'static str; 2],
) {
    const GOES_ON: [&str; 2] = ["InProgress", "InProgress"];
    const FAILED: [&str; 2] = ["Failed", "Failed"];
    match standing {
        Standing::InSync { .. } => (["True", "True"], "Reconciled", &[], ["Current", "Current"]),
        Standing::Creating | Standing::Working => (
            ["Unknown", "False"],
            "Progressing",
            &[("Reconciling", "Progressing")],
            GOES_ON,
        ),
        Standing::Retrying { .. } => (
            ["False", "False"],
            "Unreachable",
            &[("Reconciling", "ProgressingWithRetry")],
            GOES_ON,
        ),
        Standing::Waiting { .. } => (
            ["Unknown", "False"],
            "Pending",
            &[("Reconciling", "Pending")],
            GOES_ON,
        ),
        Standing::Refused(_) => (
            ["False", "False"],
            "PoolExists",
            &[("Stalled", "PoolExists")],
            FAILED,
        ),
        Standing::Rejected(_) => (
            ["False", "False"],
            "Rejected",
            &[("Stalled", "Rejected")],
            FAILED,
        ),
        Standing::Contested { .. } => (
            ["False", "False"],
            "Contested",
            &[("Stalled", "Contested")],
            FAILED,
        ),
        Standing::NotConverging => (
            ["False", "False"],
            "NotConverging",
            &[("Stalled", "NotConverging")],
            FAILED,
        ),
        Standing::Differs => (
            ["False", "False"],
            "Drifted",
            &[("Stalled", "ObserveOnly")],
            FAILED,
        ),
        // What it was before; the object before was in sync.
        Standing::Paused => (
            ["Unknown", "True"],
            "Paused",
            &[],
            ["InProgress", "Current"],
        ),
        Standing::DeletionBlocked { .. } => (
            ["False", "False"],
            "DeletionBlocked",
            &[
                ("Stalled", "DeletionBlocked"),
                ("DeletionBlocked", "NotEmpty"),
            ],
            FAILED,
        ),
        Standing::Deleting => (
            ["False", "False"],
            "Deleting",
            &[("Reconciling", "Deleting")],
            GOES_ON,
        ),
    }
}

/// What `kubectl wait`, Flux and Helm make of an object (kstatus, without the deletion).
fn kstatus(object: &CephPool, status: &CephPoolStatus) -> &'static str {
    if status.observed_generation != object.metadata.generation {
        return "InProgress";
    }
    if is_true(&status.conditions, ConditionType::Reconciling) {
        return "InProgress";
    }
    if is_true(&status.conditions, ConditionType::Stalled) {
        return "Failed";
    }
    match find(&status.conditions, ConditionType::Ready) {
        Some(ready) if ready.status == "True" => "Current",
        Some(_) => "InProgress",
        None => "Current",
    }
}

/// Every standing gives the conditions that users expect of it, at first sight and later.
#[test]
fn conditions_of_every_standing() {
    let fresh = object(1);
    let known = before(Standing::InSync {
        epoch: Epoch(9),
        note: None,
    });
    for standing in standings() {
        let (ready, reason, others, verdicts) = expected(&standing);
        for (place, object) in [&fresh, &known].into_iter().enumerate() {
            let status = compute(&inputs(object, standing.clone()));
            let what = format!("{standing:?}");
            let got: Vec<(&str, &str, &str)> = status
                .conditions
                .iter()
                .map(|condition| {
                    (
                        condition.type_.as_str(),
                        condition.status.as_str(),
                        condition.reason.as_str(),
                    )
                })
                .collect();
            let mut want = vec![("Ready", ready[place], reason)];
            want.extend(others.iter().map(|(name, reason)| (*name, "True", *reason)));
            assert_eq!(got, want, "{what}");
            assert_eq!(kstatus(object, &status), verdicts[place], "{what}");
            for condition in &status.conditions {
                assert!(
                    !condition.message.is_empty() && condition.message.len() <= 2051,
                    "{what}"
                );
                assert_eq!(
                    condition.observed_generation, status.observed_generation,
                    "{what}"
                );
                assert_eq!(
                    condition.last_transition_time.0.subsec_nanosecond(),
                    0,
                    "{what}"
                );
            }
        }
    }
}

/// The same again, later, is the same: no time moves, and nothing is written for its own sake.
#[test]
fn the_same_again_is_the_same() {
    let mut scene = Scene::after(3);
    scene.ask(&settings::QUOTA_BYTES, 5);
    let plan = scene.plan();
    let request = scene.request(Operation::Update);
    let pool = scene.pool();
    let rejections = [rejection(&plan.now.round.steps[0], -22)];
    for standing in standings() {
        let mut object = object(3);
        let mut last = None;
        for second in [0, 100, 200] {
            let mut moved = pool.clone();
            moved.placement_groups.pg_num += second;
            let status = compute(&Inputs {
                record: Some(&scene.wish.record),
                request: Some(&request),
                plan: Some(&plan),
                rejections: &rejections,
                seen: Some((&moved, "replicated_rule".into())),
                now: at(second),
                ..inputs(&object, standing.clone())
            });
            if let Some(last) = last.replace(status.clone())
                && second > 100
            {
                assert_eq!(last, status, "{standing:?}");
            }
            // The first look turns Unknown into False, which is a change.
            if matches!(
                standing,
                Standing::Retrying { .. } | Standing::InSync { .. }
            ) {
                let ready = find(&status.conditions, ConditionType::Ready).expect("Ready");
                assert_eq!(ready.last_transition_time.0.as_second(), at(0).as_second());
            }
            object.status = Some(status);
        }
    }
}

/// The time of `Ready` moves with its status and with nothing else.
#[test]
fn times_move_with_the_status() {
    let mut object = before(Standing::InSync {
        epoch: Epoch(9),
        note: None,
    });
    let mut time = |second, standing| {
        let status = compute(&Inputs {
            now: at(second),
            ..inputs(&object, standing)
        });
        let ready = find(&status.conditions, ConditionType::Ready).expect("Ready");
        let time = ready.last_transition_time.0.as_second() - at(0).as_second();
        object.status = Some(status);
        time
    };
    assert_eq!(
        time(
            10,
            Standing::InSync {
                epoch: Epoch(9),
                note: Some("more".into())
            }
        ),
        0
    );
    assert_eq!(time(20, Standing::Paused), 0);
    assert_eq!(time(30, Standing::Working), 30);
    assert_eq!(time(40, Standing::NotConverging), 30);
    assert_eq!(
        time(
            50,
            Standing::InSync {
                epoch: Epoch(9),
                note: None
            }
        ),
        50
    );
}

/// A paused object keeps what it was ready for: a newer generation is not taken for observed.
#[test]
fn paused() {
    for (standing, ready) in [
        (
            Standing::InSync {
                epoch: Epoch(9),
                note: None,
            },
            "True",
        ),
        (Standing::NotConverging, "False"),
        (Standing::Working, "Unknown"),
    ] {
        let mut object = before(standing);
        object.metadata.generation = Some(2);
        let status = compute(&inputs(&object, Standing::Paused));
        assert_eq!(status.observed_generation, Some(1));
        assert_eq!(
            status.conditions.len(),
            1,
            "neither works nor stands still for a reason of its own"
        );
        assert_eq!(status.conditions[0].status, ready);
        assert_eq!(status.conditions[0].observed_generation, Some(1));
        assert_eq!(kstatus(&object, &status), "InProgress");
    }
    let status = compute(&inputs(&object(1), Standing::Paused));
    assert_eq!(status.observed_generation, Some(-1), "never looked at");
}

/// A paused object is Ready when nothing is left to do, of whichever generation, and says else what waits.
#[test]
fn paused_with_a_plan() {
    let mut scene = Scene::after(3);
    let done = scene.plan();
    assert!(done.in_sync());
    let creating = scene.pool();
    assert!(creating.is_creating());
    let mut pool = creating.clone();
    pool.flags.remove("creating");
    let in_sync = Standing::InSync {
        epoch: Epoch(9),
        note: None,
    };
    let judge = |before: &Standing, plan: &Plan, seen: Option<&Pool>| {
        let mut object = before_of(before.clone());
        object.metadata.generation = Some(2);
        let status = compute(&Inputs {
            plan: Some(plan),
            seen: seen.map(|pool| (pool, "replicated_rule".into())),
            ..inputs(&object, Standing::Paused)
        });
        let ready = find(&status.conditions, ConditionType::Ready).expect("Ready");
        assert_eq!(ready.reason, "Paused");
        assert_eq!(ready.observed_generation, status.observed_generation);
        let verdict = kstatus(&object, &status);
        (ready.status.clone(), verdict, ready.message.clone())
    };
    for before in [&in_sync, &Standing::NotConverging, &Standing::Working] {
        let (ready, verdict, message) = judge(before, &done, Some(&pool));
        assert_eq!((ready.as_str(), verdict), ("True", "Current"), "{before:?}");
        assert!(!message.contains("waits"), "{message}");
    }
    let (ready, verdict, _) = judge(&Standing::Working, &done, Some(&creating));
    assert_eq!((ready.as_str(), verdict), ("Unknown", "InProgress"));
    scene.ask(&settings::QUOTA_BYTES, 5);
    let differs = scene.plan();
    for before in [&in_sync, &Standing::NotConverging, &Standing::Working] {
        let (ready, verdict, message) = judge(before, &differs, Some(&pool));
        assert_eq!((ready.as_str(), verdict), ("False", "InProgress"));
        let words = "remove it to go on. What waits: quota.maxBytes is 0 and should be 5";
        assert!(message.ends_with(words), "{message}");
    }
    let (ready, _, message) = judge(&in_sync, &Scene::new().plan(), None);
    assert_eq!(ready, "False");
    assert!(message.ends_with("there is no pool foopool, and it would be created"));
}
