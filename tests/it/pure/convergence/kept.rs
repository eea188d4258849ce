//! What is to be kept is not deleted, whatever state its pool is in.

use poolwright::ceph::command::MonCommand;
use poolwright::ceph::contents::Contents;
use poolwright::ceph::types::{PoolId, PoolName};
use poolwright::request::guard;
use poolwright::request::pool_factory::{Proof, removal_round};
use poolwright::request::preview::MAX_ROUNDS;
use poolwright::request::wish::Wish;
use proptest::prelude::*;

use super::any::{any_edit, any_safe_spec};
use super::{Bench, among_others, commands, foreign, others, owner, settled, show_round};

const AWAY: &str = "foopool.poolwright-del-9f9f9f9f";

/// An object with a pool that is deleted under `Retain`.
fn leaving(bench: &Bench) -> Wish {
    let mut record = bench.record.clone();
    record.nonce = "9f9f9f9f".into();
    let mut wish = Wish::for_removal(owner(), PoolName::new("foopool"), 2, record);
    wish.remove = false;
    wish
}

/// The name that a pool has now.
fn name_of(bench: &Bench, id: PoolId) -> PoolName {
    bench.cluster.map().pools[&id].name.clone()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    /// Nothing is deleted under `Retain`: not a pool that is in place, not one whose removal had gone as far as
    /// its private name, and not one that was looked into and found empty.
    #[test]
    fn nothing_is_deleted_under_retain(
        spec in any_safe_spec(),
        edits in proptest::collection::vec(any_edit(), 0..6),
        (away, taken, empty) in any::<(bool, bool, bool)>(),
    ) {
        let mut bench = among_others();
        settled(&mut bench, &spec)?;
        prop_assume!(bench.cluster.pool("foopool").is_some());
        let id = bench.pool().id;
        bench.cluster.settle();
        for edit in edits {
            bench.cluster.round(&[edit]);
        }
        let mut wish = leaving(&bench);
        if away {
            let (from, to) = (PoolName::new("foopool"), PoolName::new(AWAY));
            bench.cluster.round(&[MonCommand::PoolRename { from, to }]);
            wish.record.removal = Some("9f9f9f9f".into());
            wish.record.private_base = Some(PoolName::new("foopool"));
            if taken {
                foreign(&mut bench.cluster, "foopool");
            }
        }
        let before = others(&bench, Some(id));
        let mut rejected: Vec<MonCommand> = Vec::new();
        let mut ended = false;
        for _ in 0..=MAX_ROUNDS {
            let view = bench.cluster.view();
            let proof = empty.then(|| Proof {
                pool: wish.record.identity.clone().unwrap(),
                name: name_of(&bench, id),
                contents: Contents::Empty,
            });
            let next = removal_round(&wish, &view, proof.as_ref(), None);
            wish = next.advance(wish);
            let found = next.found.as_ref().map(|found| found.identity.id);
            prop_assert_eq!(guard::check(&next.round, &wish, &view, found, proof.as_ref()), Ok(()));
            let mut sent = commands(&next.round);
            for command in &sent {
                let deletes = matches!(command, MonCommand::PoolRemove { .. });
                let ours = command.pools().into_iter().all(|name| {
                    view.pool_named(name).is_none_or(|pool| pool.id == id)
                });
                prop_assert!(!deletes && ours, "{}", show_round(&next.round));
            }
            sent.retain(|command| !rejected.contains(command));
            if sent.is_empty() {
                ended = true;
                break;
            }
            let replies = bench.cluster.round(&sent);
            let refused = sent.into_iter().zip(replies).filter(|(_, reply)| reply.code < 0);
            rejected.extend(refused.map(|(command, _)| command));
        }
        prop_assert!(ended && rejected.is_empty(), "{rejected:?}");
        let name = name_of(&bench, id);
        let back = !away || !taken;
        prop_assert_eq!(name.as_str() == "foopool", back, "{}", name);
        prop_assert_eq!(others(&bench, Some(id)), before);
    }
}
