//! Whatever is on record and whatever the cluster holds: a run ends, the last look before a round never disagrees with
//! the plan, and nothing happens to a pool that is not the object's.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use poolwright::api::v1alpha1::Operation;
use poolwright::ceph::contents::Contents;
use poolwright::ceph::osd_map::Pool;
use poolwright::ceph::types::{CreateTime, PoolId, PoolIdentity, PoolName};
use poolwright::request::executor::{Access, Aim};
use poolwright::request::round::POOL_FIELD;
use poolwright::request::user_request::UserRequest;
use poolwright::request::wish::{Record, Wish};
use poolwright::request::work::RunEnd;
use proptest::prelude::*;
use proptest::sample::select;

use super::bench::*;
use crate::pure::support::*;

/// The name under which `foopool` is removed.
const AWAY: &str = "foopool.poolwright-del-dd11dd11";
/// A private name of which nothing is recorded.
const STRANGE: &str = "foopool.poolwright-new-ffffffff";
const NAMES: [&str; 5] = ["foopool", "barpool", PRIVATE, AWAY, STRANGE];
/// A claim of this very object that it did not make.
const OTHER_CLAIM: &str = "0ther000";

/// What is enabled on a pool, and whose mark it carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Marked {
    Bare,
    Unmarked,
    Ours,
    OtherClaim,
    Living,
    Dead,
    Several,
}

impl Marked {
    fn marks(self) -> Vec<(&'static str, Option<String>)> {
        let living = "other/1a2b3c4d/0123456789abcdef".to_owned();
        match self {
            Self::Bare => Vec::new(),
            Self::Unmarked => vec![("rbd", None)],
            Self::Ours => vec![("rbd", Some(owner().mark(CLAIM)))],
            Self::OtherClaim => vec![("rbd", Some(owner().mark(OTHER_CLAIM)))],
            Self::Living => vec![("rbd", Some(living))],
            Self::Dead => vec![("rbd", Some(dead()))],
            Self::Several => vec![("rbd", Some(dead())), ("cephfs", Some(living))],
        }
    }
}

fn dead() -> String {
    owner_of("gone").mark("dead0000")
}

/// Which pool is recorded as the object's.
#[derive(Clone, Copy, Debug)]
enum Known {
    Nothing,
    Pool(&'static str),
    Gone,
    /// One of the same number that was made at another time.
    Replaced(&'static str),
}

#[derive(Clone, Debug)]
struct State {
    pools: BTreeMap<&'static str, (Marked, bool)>,
    known: Known,
    proven: bool,
    claimed: bool,
    /// Of a creation or a removal that was begun, the nonce.
    begun: Option<&'static str>,
    published: bool,
    wanted: &'static str,
    adopt: bool,
    remove: bool,
    /// Whether a person confirms whatever is asked.
    confirms: bool,
    aim: Aim,
}

fn any_state() -> impl Strategy<Value = State> {
    let marked = || {
        select(vec![
            Marked::Bare,
            Marked::Unmarked,
            Marked::Ours,
            Marked::Ours,
            Marked::OtherClaim,
            Marked::Living,
            Marked::Dead,
            Marked::Several,
        ])
    };
    let pool = || proptest::option::of((marked(), any::<bool>()));
    let pools = proptest::array::uniform5(pool()).prop_map(|found| {
        let named = NAMES.into_iter().zip(found);
        named
            .filter_map(|(name, pool)| Some((name, pool?)))
            .collect::<BTreeMap<_, _>>()
    });
    let known = prop_oneof![
        2 => Just(Known::Nothing),
        6 => select(NAMES.to_vec()).prop_map(Known::Pool),
        1 => Just(Known::Gone),
        1 => select(NAMES.to_vec()).prop_map(Known::Replaced),
    ];
    let flags = proptest::array::uniform6(any::<bool>());
    let begun = select(vec![None, Some(NONCE), Some("dd11dd11")]);
    let aim = select(vec![Aim::Keep, Aim::Keep, Aim::Discard, Aim::Remove]);
    let wanted = select(vec!["foopool", "foopool", "barpool"]);
    (pools, known, flags, begun, wanted, aim).prop_map(
        |(
            pools,
            known,
            [proven, claimed, published, adopt, remove, confirms],
            begun,
            wanted,
            aim,
        )| State {
            pools,
            known,
            proven,
            claimed,
            // Which of the two an object that is deleted comes to depends on whether its pool was ever published.
            begun: match aim {
                Aim::Keep => begun,
                Aim::Discard => Some(NONCE),
                Aim::Remove => begun.filter(|nonce| *nonce != NONCE),
            },
            published,
            wanted,
            adopt,
            remove,
            confirms,
            aim,
        },
    )
}

impl State {
    fn flow(&self) -> Flow {
        let mut cluster = cluster();
        for (name, (marked, _)) in &self.pools {
            foreign(&mut cluster, name);
            cluster.edit_pool(name, |pool| {
                for (application, mark) in marked.marks() {
                    let mark = mark.map(|mark| ("poolwright".to_owned(), mark));
                    pool.applications
                        .insert(application.into(), mark.into_iter().collect());
                }
            });
        }
        let flow = Flow::over(cluster);
        for (name, (_, empty)) in &self.pools {
            let id = flow.cluster().pool(name).expect("a pool").id;
            if !empty {
                let contents = Contents::Something("an object".into());
                flow.client.set_contents(id, contents);
            }
        }
        flow.work("foopool").state().record = Some(self.record(&flow));
        flow
    }

    fn record(&self, flow: &Flow) -> Record {
        let cluster = flow.cluster();
        let of = |name| cluster.pool(name).map(|pool| cluster.map().identity(pool));
        let another = |identity: PoolIdentity| PoolIdentity {
            create_time: CreateTime(5),
            ..identity
        };
        let identity = match self.known {
            Known::Nothing => None,
            Known::Pool(name) => of(name),
            Known::Gone => of("foopool")
                .or_else(|| of("barpool"))
                .map(|there| PoolIdentity {
                    id: PoolId(99),
                    ..there
                }),
            Known::Replaced(name) => of(name).map(another),
        };
        let known = identity.is_some();
        let unpublished = self.begun == Some(NONCE);
        let removal = self.begun.filter(|_| !unpublished && known);
        let applied = if self.published && (known || unpublished) {
            set(&[POOL_FIELD])
        } else {
            set(&[])
        };
        Record {
            identity_proven: known && self.proven,
            claim_recorded: known && self.claimed,
            unpublished,
            removal: removal.map(str::to_owned),
            private_base: (unpublished || removal.is_some()).then(|| PoolName::new("foopool")),
            applied,
            identity,
            ..fresh()
        }
    }

    fn wish(&self, record: Record) -> Wish {
        let mut wish = match self.aim {
            Aim::Keep => wish(SMALLEST, record),
            _ => Wish::for_removal(owner(), PoolName::new(self.wanted), 1, record),
        };
        wish.pool = PoolName::new(self.wanted);
        wish.adopt = self.adopt;
        wish.remove = self.remove;
        wish.dead_marks.insert(dead());
        wish.confirmations.uid = "a-uid".into();
        wish
    }

    /// Runs until nothing more happens, as a controller does. Gives how each run ended.
    async fn run(&self, flow: &mut Flow) -> Vec<RunEnd> {
        let mut ends = Vec::new();
        let mut given = std::collections::BTreeSet::new();
        for _ in 0..8 {
            assert!(flow.view().await.is_some());
            let work = flow.work("foopool");
            {
                let mut state = work.state();
                let record = state.record.clone().expect("a record");
                let mut wish = self.wish(record);
                wish.confirmations.given.clone_from(&given);
                if state.requests.is_empty() {
                    let plan = preview(&wish, &flow.cluster().view());
                    let now = Timestamp::now();
                    let (id, operation) = ("request".into(), Operation::Update);
                    let request = UserRequest::new(id, operation, 1, &wish, &plan, now);
                    state.requests.push(request);
                }
                state.wish = Some(Arc::new(wish));
            }
            let access = Access {
                aim: self.aim,
                ..flow.access()
            };
            flow.start("foopool", access);
            flow.ended().await;
            let end = flow.end().expect("an end");
            let asked = match &end {
                RunEnd::Refused(refusals) if self.confirms => refusals
                    .iter()
                    .filter_map(|refusal| Some(refusal.token.as_ref()?.token.clone()))
                    .filter(|token| !given.contains(token))
                    .collect(),
                _ => Vec::new(),
            };
            ends.push(end);
            if asked.is_empty() {
                break;
            }
            given.extend(asked);
        }
        ends
    }

    /// What may become of a pool, by what is on record and on the pool: read off the rules, and not off the program.
    fn may(&self, record: &Record, name: &str, pool: &Pool, identity: &PoolIdentity) -> May {
        let (marked, empty) = self.pools[name];
        let recorded = record.identity.as_ref();
        let is_recorded = recorded == Some(identity);
        // The recorded one is none of those that are there, or one that was never used and goes if the name is taken.
        let discarded = matches!(self.known, Known::Pool(PRIVATE)) && record.unpublished;
        let gone = !matches!(self.known, Known::Pool(name) if self.pools.contains_key(name));
        let private = record.unpublished && name == PRIVATE && (gone || is_recorded);
        let by_name = (gone || discarded) && name == self.wanted;
        let others = match marked {
            Marked::Living | Marked::Several => true,
            Marked::Dead => !self.adopt,
            Marked::OtherClaim => record.claim_recorded,
            Marked::Bare | Marked::Unmarked | Marked::Ours => false,
        };
        let carries = matches!(marked, Marked::Ours | Marked::OtherClaim);
        let proven = carries || record.identity_proven || private;
        let ours = (is_recorded && proven) || private || (by_name && carries);
        let adopted = (is_recorded || by_name) && self.adopt && name == self.wanted;
        let touch = self.confirms && name == self.wanted && marked != Marked::Several
            || !others && (ours || adopted);
        let never_used =
            private && !matches!(marked, Marked::Living | Marked::Several | Marked::Dead);
        May {
            change: touch,
            go: !others
                && ours
                && (never_used
                    || self.aim == Aim::Remove && self.remove && (empty || self.confirms)),
            // Whatever has our private name in a removal may get its own back.
            rename: record.removal.is_some() && name == AWAY && pool.name.is_private(),
        }
    }
}

#[derive(Debug)]
struct May {
    change: bool,
    go: bool,
    rename: bool,
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_of_others_is_touched(state in any_state()) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .unwrap();
        let (record, before, after, ends) = runtime.block_on(async {
            let mut flow = state.flow();
            let record = flow.work("foopool").state().record.clone().unwrap();
            let pools = |flow: &Flow| flow.cluster().map().pools.clone();
            let before = pools(&flow);
            let ends = state.run(&mut flow).await;
            (record, before, pools(&flow), ends)
        });
        for end in &ends {
            prop_assert!(
                matches!(end, RunEnd::InSync | RunEnd::Refused(_)),
                "{:#?}\n{:#?}", ends, record
            );
        }
        let fsid = poolwright::ceph::types::Fsid::new(FSID);
        for (id, pool) in &before {
            let identity = PoolIdentity { fsid: fsid.clone(), id: *id, create_time: pool.create_time };
            let may = state.may(&record, pool.name.as_str(), pool, &identity);
            match after.get(id) {
                None => prop_assert!(may.go, "{} is gone: {:?}\n{:#?}\n{:#?}", pool.name, may, ends, record),
                Some(now) if now == pool || may.change => {}
                Some(now) => {
                    let mut renamed = (**now).clone();
                    renamed.name = pool.name.clone();
                    renamed.last_change = pool.last_change;
                    prop_assert!(
                        may.rename && renamed == **pool,
                        "{} is {:#?}\n{:?}\n{:#?}\n{:#?}", pool.name, now, may, ends, record
                    );
                }
            }
        }
    }
}
