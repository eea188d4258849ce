//! The parts of a status besides its conditions, and their words.

use super::*;

/// `observed` is written at first, with a change of a condition, and when it is due; not whenever it moves.
#[test]
fn observed_only_when_due() {
    let scene = Scene::after(3);
    let mut pool = scene.pool();
    let in_sync = || Standing::InSync {
        epoch: Epoch(9),
        note: None,
    };
    let look = |object: &CephPool, pool: &Pool, standing: Standing, due: bool| {
        compute(&Inputs {
            seen: Some((pool, "replicated_rule".into())),
            refresh_observed: due,
            ..inputs(object, standing)
        })
    };
    let mut object = object(1);
    object.status = Some(look(&object, &pool, in_sync(), false));
    let size =
        |status: &CephPoolStatus| status.observed.as_ref().and_then(|observed| observed.size);
    assert_eq!(object.status.as_ref().and_then(size), Some(3), "at first");
    pool.size = 5;
    assert_eq!(
        size(&look(&object, &pool, in_sync(), false)),
        Some(3),
        "not due"
    );
    assert_eq!(size(&look(&object, &pool, in_sync(), true)), Some(5), "due");
    assert_eq!(
        size(&look(&object, &pool, Standing::NotConverging, false)),
        Some(5),
        "with a condition"
    );
    let status = compute(&Inputs {
        refresh_observed: true,
        ..inputs(&object, in_sync())
    });
    assert_eq!(size(&status), Some(3), "not seen");
    // Ours of the flags only, in Ceph's words.
    pool.flags
        .extend(["noscrub", "full", "creating", "nodelete"].map(str::to_owned));
    let observed = look(&object, &pool, in_sync(), true)
        .observed
        .expect("observed");
    assert_eq!(observed.flags, ["noscrub", "nodelete"]);
    assert_eq!(observed.crush_rule.as_deref(), Some("replicated_rule"));
    assert_eq!(
        (observed.pool_type, observed.erasure_code_profile),
        (Some(PoolType::Replicated), None)
    );
}

/// What Ceph refused is told with its own words, and with what to do about each kind of refusal.
#[test]
fn rejections_in_cephs_words() {
    let mut scene = Scene::after(3);
    scene.ask(&settings::QUOTA_BYTES, 5);
    scene.ask(&settings::QUOTA_OBJECTS, 6);
    let plan = scene.plan();
    let steps = &plan.now.round.steps;
    let object = object(1);
    for (code, reason, remedy) in [
        (-22, "Rejected", "change the field"),
        (-95, "Rejected", "change the field"),
        (-1, "Blocked", "lift the guard"),
        (-34, "LimitReached", "raise the limit"),
        (
            -13,
            "PermissionDenied",
            "allow command \"osd pool set-quota\"",
        ),
    ] {
        let rejections = [rejection(&steps[0], code)];
        let status = compute(&Inputs {
            plan: Some(&plan),
            rejections: &rejections,
            ..inputs(&object, Standing::Rejected(rejections.to_vec()))
        });
        let ready = find(&status.conditions, ConditionType::Ready).expect("Ready");
        assert_eq!(ready.reason, reason);
        let words = format!("quota.maxBytes: Ceph refused 5: words for {code} (code {code})");
        assert!(
            ready.message.contains(&words) && ready.message.contains(remedy),
            "{}",
            ready.message
        );
        let reasons: Vec<&str> = status
            .pending
            .iter()
            .filter_map(|change| change.reason.as_deref())
            .collect();
        assert_eq!(
            reasons,
            [
                &format!("Ceph refused it: words for {code} (code {code})"),
                "as the manifest says"
            ]
        );
        let change = &status.pending[0];
        assert_eq!(
            (change.field.as_str(), change.desired.as_deref()),
            ("quota.maxBytes", Some("5"))
        );
        assert_eq!(change.observed.as_deref(), Some("0"));
        assert_eq!(
            change.command.as_deref(),
            Some("ceph osd pool set-quota foopool max_bytes 5")
        );
    }
}

/// All refusals are told, each with its field; the first one names the reason. They are pending too.
#[test]
fn refusals_with_their_fields() {
    let scene = Scene::after(3);
    let refusals = vec![
        refusal(Reason::Unsafe, Some("size")),
        refusal(Reason::NotGranted, None),
    ];
    let mut plan = scene.plan();
    plan.now.refusals.clone_from(&refusals);
    let object = object(1);
    let status = compute(&Inputs {
        plan: Some(&plan),
        ..inputs(&object, Standing::Refused(refusals))
    });
    let ready = find(&status.conditions, ConditionType::Ready).expect("Ready");
    assert_eq!(
        (ready.reason.as_str(), ready.message.as_str()),
        ("Unsafe", "size: because; do that; because; do that")
    );
    let pending: Vec<&str> = status
        .pending
        .iter()
        .map(|change| change.field.as_str())
        .collect();
    assert_eq!(pending, ["size", "spec"]);
}

/// What is only observed is told as it is now: what a later round sets again is no difference.
#[test]
fn differences_as_they_are_now() {
    let mut scene = Scene::after(3);
    scene.ask(&settings::SIZE, 2);
    scene.ask(&settings::MIN_SIZE, 2);
    let (plan, pool) = (scene.plan(), scene.pool());
    assert_eq!(plan.rounds().count(), 2);
    let object = object(1);
    let status = compute(&Inputs {
        plan: Some(&plan),
        seen: Some((&pool, "r".into())),
        ..inputs(&object, Standing::Differs)
    });
    let ready = find(&status.conditions, ConditionType::Ready).expect("Ready");
    assert_eq!(ready.message, "only observed: size is 3 and should be 2");
    assert_eq!(status.pending.len(), 2);
}

/// A long message ends at a character, and `pending` is bounded.
#[test]
fn long_texts_are_cut() {
    let long = Refusal::new(Reason::Blocked, None, format!("x{}", "é".repeat(5000)));
    let mut plan = Scene::after(3).plan();
    plan.now.refusals = vec![long.clone(); 100];
    let object = object(1);
    let status = compute(&Inputs {
        plan: Some(&plan),
        ..inputs(&object, Standing::Refused(vec![long]))
    });
    let message = &status.conditions[0].message;
    assert!(
        message.len() <= 2048 + '…'.len_utf8() && message.ends_with("é…"),
        "{}",
        message.len()
    );
    assert_eq!(status.pending.len(), 64);
}

/// The request is told as it is about to be: state, round, epoch and percent; an old one stays.
#[test]
fn requests() {
    let mut scene = Scene::after(3);
    scene.ask(&settings::QUOTA_BYTES, 5);
    let mut request = scene.request(Operation::Update);
    let mut object = object(1);
    let told = |object: &CephPool, request: Option<&UserRequest>| {
        let status = compute(&Inputs {
            request,
            ..inputs(object, Standing::Working)
        });
        (status.request_id, status.observed_osd_epoch, status.request)
    };
    request.submit(1);
    let (id, epoch, now) = told(&object, Some(&request));
    let now = now.expect("a request");
    assert_eq!((id.as_deref(), epoch), (Some("id-1"), None));
    assert_eq!(
        (now.state, now.round, now.percent),
        (RequestState::Submitted, Some(1), Some(0))
    );
    assert_eq!(now.headline, "Updating pool foopool: quota.maxBytes");
    assert_eq!(now.nonce, None, "it is published");
    request.answered(SentRound {
        commands: Vec::new(),
        epoch: Some(Epoch(12)),
    });
    let (_, _, now) = told(&object, Some(&request));
    let now = now.expect("a request");
    assert_eq!(
        (now.state, now.round, now.awaited_epoch),
        (RequestState::AwaitingOsdMap, Some(2), Some(12))
    );
    request.succeed(Epoch(13), at(7));
    let (_, epoch, now) = told(&object, Some(&request));
    let done = now.clone().expect("a request");
    assert_eq!(
        (epoch, done.state, done.round, done.percent),
        (Some(13), RequestState::Complete, Some(1), Some(100))
    );
    object.status = Some(CephPoolStatus {
        request: now.clone(),
        request_id: Some("id-1".into()),
        ..CephPoolStatus::default()
    });
    let (id, _, still) = told(&object, None);
    assert_eq!((id.as_deref(), still), (Some("id-1"), now));
}

/// The epoch is that of the last change; of an object that never changed anything, of its first look.
#[test]
fn observed_epoch() {
    let mut object = object(1);
    for seen in [9, 10, 11] {
        let status = compute(&inputs(
            &object,
            Standing::InSync {
                epoch: Epoch(seen),
                note: None,
            },
        ));
        assert_eq!(
            status.observed_osd_epoch,
            Some(9),
            "no write for the epoch's sake"
        );
        object.status = Some(status);
    }
}

/// Corrections are counted and told once.
#[test]
fn drift_is_counted() {
    let mut object = object(1);
    for count in 1..=2 {
        let corrected = Some((BTreeSet::from(["size".to_owned()]), at(count)));
        object.status = Some(compute(&Inputs {
            corrected,
            ..inputs(&object, Standing::Working)
        }));
        let again = compute(&inputs(&object, Standing::Working)).drift;
        assert_eq!(
            again,
            object
                .status
                .as_ref()
                .and_then(|status| status.drift.clone())
        );
        let drift = again.expect("drift");
        assert_eq!(
            (drift.corrections, drift.last_fields),
            (count, vec!["size".to_owned()])
        );
        assert_eq!(
            drift.last_corrected_at.map(|time| time.0.as_second()),
            Some(at(count).as_second())
        );
    }
}

/// Our own annotation counts before Flux's, and what was handled is not forgotten.
#[test]
fn tokens() {
    let mut object = object(1);
    let handled =
        |object: &CephPool| compute(&inputs(object, Standing::Working)).last_handled_reconcile_at;
    assert_eq!(handled(&object), None);
    object
        .annotations_mut()
        .insert(ANNOTATION_FLUX_REQUESTED_AT.into(), "flux".into());
    assert_eq!(handled(&object).as_deref(), Some("flux"));
    object
        .annotations_mut()
        .insert(ANNOTATION_RECONCILE_REQUESTED_AT.into(), "ours".into());
    assert_eq!(handled(&object).as_deref(), Some("ours"));
    object.status = Some(compute(&inputs(&object, Standing::Working)));
    object.annotations_mut().clear();
    assert_eq!(handled(&object).as_deref(), Some("ours"));
}

/// What a status says of a pool is enough to go on with it in another process, at every step of its creation.
#[test]
fn the_record_survives() {
    for rounds in 0..=3 {
        let mut scene = Scene::after(rounds);
        scene.wish.record.applied = scene.wish.fields();
        let record = scene.wish.record.clone();
        // What is written down before the next round is sent.
        assert_eq!(
            (record.unpublished, record.identity.is_some()),
            (rounds < 3, rounds > 0)
        );
        let request = scene.request(Operation::Create);
        let mut object = object(1);
        let status = compute(&Inputs {
            record: Some(&record),
            request: Some(&request),
            ..inputs(&object, Standing::Working)
        });
        assert_eq!(status.pool_id.is_some(), rounds > 0);
        assert_eq!(status.pool_name.as_deref(), Some("foopool"));
        object.status = Some(status);
        if let Some(annotation) = record::annotation(&record) {
            object
                .annotations_mut()
                .insert(ANNOTATION_POOL.into(), annotation);
        }
        let fresh = Fresh {
            nonce: "new".into(),
            claim: "new".into(),
        };
        let read = record::from_object(&object, fresh);
        assert_eq!(
            (&read.identity, read.identity_proven),
            (&record.identity, record.identity_proven)
        );
        assert_eq!(
            (read.unpublished, &read.private_base),
            (record.unpublished, &record.private_base)
        );
        assert_eq!(read.applied, record.applied);
        if record.unpublished {
            assert_eq!(read.nonce, record.nonce);
        }
        if record.claim_recorded {
            assert_eq!((read.claim, read.claim_recorded), (record.claim, true));
        }
    }
}

/// An identity that only the annotation names, which users can write, does not get into the status.
#[test]
fn only_proven_identities() {
    let scene = Scene::after(3);
    let record = Record {
        identity_proven: false,
        ..scene.wish.record.clone()
    };
    let object = object(1);
    let status = compute(&Inputs {
        record: Some(&record),
        ..inputs(&object, Standing::Working)
    });
    assert_eq!(
        (status.pool_id, status.fsid, status.pool_create_time),
        (None, None, None)
    );
}

/// A token is told while it is asked for, and kept while it was given or used and the step is not done: or a later
/// generation would ask for another one.
#[test]
fn asked_tokens() {
    let asked = |token: &str, step: &str| AskedToken {
        token: token.into(),
        step: step.into(),
        target: "1".into(),
        generation: 1,
    };
    let unsafe_size = || {
        let refusal = Refusal::new(Reason::Unsafe, Some("size"), "no");
        refusal.asking(asked("aaaa", "size"))
    };
    let planned = Plan {
        now: Next::refused(unsafe_size()),
        ..Plan::default()
    };
    let mut object = object(1);
    object.status = Some(compute(&Inputs {
        plan: Some(&planned),
        ..inputs(&object, Standing::Refused(vec![unsafe_size()]))
    }));
    let tokens = |status: &CephPoolStatus| -> Vec<String> {
        let asked = status.asked_tokens.iter();
        asked.map(|asked| asked.token.clone()).collect()
    };
    assert_eq!(tokens(object.status.as_ref().expect("a status")), ["aaaa"]);
    let empty = Plan::default();
    let passing = || Standing::Retrying {
        reason: Reason::Unreachable,
        message: "no answer".into(),
    };
    let not_granted = || Refusal::new(Reason::NotGranted, None, "no grant");
    let with_plan = |object: &CephPool, record: Option<&Record>| {
        tokens(&compute(&Inputs {
            plan: Some(&empty),
            record,
            ..inputs(object, passing())
        }))
    };
    // Nobody asks any more.
    assert_eq!(with_plan(&object, None), Vec::<String>::new());
    // It is not known whether anybody does.
    for standing in [Standing::Working, Standing::Refused(vec![not_granted()])] {
        assert_eq!(tokens(&compute(&inputs(&object, standing))), ["aaaa"]);
    }
    // It was used, for a step that may not be done yet.
    let record = Record {
        used: vec![crate::request::token::UsedToken {
            token: "aaaa".into(),
            request: "r".into(),
        }],
        ..Record::default()
    };
    assert_eq!(with_plan(&object, Some(&record)), ["aaaa"]);
    // It was given.
    object
        .annotations_mut()
        .insert(ANNOTATION_CONFIRM.into(), "bbbb,aaaa".into());
    assert_eq!(with_plan(&object, None), ["aaaa"]);
    // What is asked for now stands beside it, once.
    let both = Plan {
        now: Next {
            refusals: vec![
                unsafe_size(),
                Refusal::new(Reason::Unsafe, None, "no").asking(asked("cccc", "minSize")),
            ],
            ..Next::default()
        },
        ..Plan::default()
    };
    let told = compute(&Inputs {
        plan: Some(&both),
        ..inputs(&object, passing())
    });
    assert_eq!(tokens(&told), ["aaaa", "cccc"]);
    // All is done.
    let in_sync = Standing::InSync {
        epoch: Epoch(9),
        note: None,
    };
    assert_eq!(
        tokens(&compute(&inputs(&object, in_sync))),
        Vec::<String>::new()
    );
}

/// That a request was cancelled stands in the status as long as the cancel holds: a later process goes by it.
#[test]
fn a_cancel_that_holds_no_more_is_taken_back() {
    use crate::request::user_request::{CANCEL_LIFTED, CANCELLED};
    let mut object = object(3);
    object.status = Some(CephPoolStatus {
        request: Some(PoolRequestStatus {
            generation: 3,
            error: Some(CANCELLED.into()),
            ..PoolRequestStatus::default()
        }),
        ..CephPoolStatus::default()
    });
    let error = |object: &CephPool, cancel_lifted: bool| {
        let status = compute(&Inputs {
            cancel_lifted,
            ..inputs(object, Standing::Paused)
        });
        status.request.and_then(|request| request.error)
    };
    assert_eq!(error(&object, false).as_deref(), Some(CANCELLED));
    assert_eq!(error(&object, true).as_deref(), Some(CANCEL_LIFTED));
    // Of an earlier generation it is history.
    object.metadata.generation = Some(4);
    assert_eq!(error(&object, true).as_deref(), Some(CANCELLED));
}

/// A pool at its quota is Ready, and says that nothing can be written to it; the cluster's own fullness is another thing.
#[test]
fn a_pool_at_its_quota_says_so() {
    let mut pool = Scene::after(3).pool();
    for (flags, said) in [
        (&[][..], false),
        (&["full"], false),
        (&["full", "full_quota"], true),
    ] {
        pool.flags = flags.iter().map(|&flag| flag.to_owned()).collect();
        let object = object(1);
        let in_sync = Standing::InSync {
            epoch: Epoch(9),
            note: Some("beside".into()),
        };
        let status = compute(&Inputs {
            seen: Some((&pool, "replicated_rule".into())),
            ..inputs(&object, in_sync)
        });
        let ready = find(&status.conditions, ConditionType::Ready).expect("Ready");
        assert_eq!(
            (ready.status.as_str(), ready.reason.as_str()),
            ("True", "Reconciled")
        );
        let message = if said {
            "pool foopool is as declared; the pool is at its quota, so Ceph stops all writes to it (flag full_quota): \
             raise spec.quota or delete data; beside"
        } else {
            "pool foopool is as declared; beside"
        };
        assert_eq!(ready.message, message, "{flags:?}");
    }
}

/// What becomes of the pool is said, not left open.
#[test]
fn what_a_deletion_does() {
    let says = |object: &CephPool, record: Record| {
        let status = compute(&Inputs {
            record: Some(&record),
            ..inputs(object, Standing::Deleting)
        });
        let ready = find(&status.conditions, ConditionType::Ready).expect("Ready");
        ready.message.clone()
    };
    let mut object = object(1);
    let kept = says(&object, Record::default());
    assert!(kept.contains("stays in Ceph"), "{kept}");
    let given_back = Record {
        removal: Some("ab12".into()),
        ..Record::default()
    };
    let back = says(&object, given_back);
    assert!(back.contains("given its name back"), "{back}");
    let unfinished = Record {
        unpublished: true,
        ..Record::default()
    };
    let unfinished = says(&object, unfinished);
    assert!(unfinished.contains("unfinished pool"), "{unfinished}");
    object.spec.deletion_policy = crate::api::v1alpha1::DeletionPolicy::Delete;
    let removed = says(&object, Record::default());
    assert!(removed.contains("is being removed"), "{removed}");
}
