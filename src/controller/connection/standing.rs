//! How it stands with an open session, in the terms of a condition. Pure.
//!
//! The sentences hold nothing that moves by itself, such as the present epoch: each change of a sentence is a write.

use super::desired::{other_cluster, problem_of};
use crate::api::conditions::Reason;
use crate::api::v1alpha1::{ClusterConnectionSpec, Management};
use crate::ceph::types::Epoch;
use crate::controller::connection_status::{Problem, Standing};
use crate::monitor::{Contact, NotUsable};

/// Judges a session by its monitor's contact and, if there is one, by what keeps the newest view from being used apart
/// from its age.
pub(super) fn judge(
    contact: &Contact,
    hindrance: Option<&NotUsable>,
    spec: &ClusterConnectionSpec,
) -> Standing {
    match contact {
        Contact::Lost { error, since: _ } => Standing::Failed(problem_of(error, spec)),
        Contact::OtherCluster { seen, expected } => {
            Standing::Failed(other_cluster(expected, seen, spec))
        }
        Contact::WentBack { seen: _, had } => Standing::Failed(went_back(*had)),
        Contact::MapUnreadable { error } => Standing::Failed(unreadable(error)),
        Contact::Connecting => Standing::Connecting {
            message: "the session is open; waiting for the monitors' first answer".to_owned(),
        },
        Contact::Connected => match hindrance {
            None | Some(NotUsable::Stale { .. } | NotUsable::TimedOut { .. }) => {
                Standing::Connected {
                    user: spec.user.clone(),
                    observe_only: spec.management == Management::Observe,
                }
            }
            Some(NotUsable::NoView | NotUsable::Stopped) => Standing::Connecting {
                message: "the monitors answer; reading the OSD map".to_owned(),
            },
            Some(NotUsable::WentBack { seen: _, floor }) => Standing::Failed(went_back(*floor)),
            Some(NotUsable::Unreadable(error)) => Standing::Failed(unreadable(error)),
            Some(NotUsable::OtherCluster { seen, expected }) => {
                Standing::Failed(other_cluster(expected, seen, spec))
            }
        },
    }
}

fn went_back(had: Epoch) -> Problem {
    Problem::new(
        Reason::EpochWentBack,
        format!(
            "the cluster's OSD map is behind epoch {had}, which was seen before, as after a restored backup; nothing is \
             sent. Make sure that the cluster is what it should be"
        ),
    )
}

fn unreadable(error: &str) -> Problem {
    Problem::new(
        Reason::MapUnreadable,
        format!(
            "the cluster's maps cannot be read: {error}; nothing is sent. If the Ceph user lacks a capability, give it \
             `mon 'allow r'` at least; otherwise report it with the release of the cluster"
        ),
    )
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;

    use super::*;
    use crate::ceph::client::ClientError;
    use crate::ceph::types::Fsid;

    fn spec() -> ClusterConnectionSpec {
        serde_json::from_value(serde_json::json!({
            "monitors": ["192.0.2.11"],
            "keySecretRef": {"namespace": "ns", "name": "ceph"},
        }))
        .expect("a spec")
    }

    /// Each way in which a session can be unwell has its own reason.
    #[test]
    fn every_contact_has_its_reason() {
        let lost = Contact::Lost {
            error: ClientError::TimedOut {
                command: "osd stat",
                after: Duration::from_secs(10),
            },
            since: Instant::now(),
        };
        let (seen, expected) = (Fsid::new("b"), Fsid::new("a"));
        let table = [
            (lost, None, Reason::Unreachable),
            (
                Contact::OtherCluster { seen, expected },
                None,
                Reason::FsidMismatch,
            ),
            (
                Contact::WentBack {
                    seen: Epoch(3),
                    had: Epoch(9),
                },
                None,
                Reason::EpochWentBack,
            ),
            (
                Contact::Connected,
                Some(NotUsable::WentBack {
                    seen: Epoch(3),
                    floor: Epoch(9),
                }),
                Reason::EpochWentBack,
            ),
            (
                Contact::MapUnreadable { error: "x".into() },
                None,
                Reason::MapUnreadable,
            ),
            (
                Contact::Connected,
                Some(NotUsable::Unreadable("x".into())),
                Reason::MapUnreadable,
            ),
        ];
        for (contact, hindrance, reason) in table {
            match judge(&contact, hindrance.as_ref(), &spec()) {
                Standing::Failed(problem) => {
                    assert_eq!(problem.reason, reason, "{}", problem.message);
                }
                standing @ (Standing::Connecting { .. } | Standing::Connected { .. }) => {
                    panic!("{contact:?} is {standing:?}")
                }
            }
        }
    }

    /// A view that is a little old is no condition: monitors elect a leader now and then.
    #[test]
    fn age_alone_is_no_failure() {
        let connected = Standing::Connected {
            user: "poolwright".into(),
            observe_only: false,
        };
        let stale = NotUsable::Stale {
            age: Duration::from_secs(6),
        };
        for hindrance in [None, Some(&stale)] {
            assert_eq!(judge(&Contact::Connected, hindrance, &spec()), connected);
        }
        let observe = ClusterConnectionSpec {
            management: Management::Observe,
            ..spec()
        };
        assert_eq!(
            judge(&Contact::Connected, None, &observe),
            Standing::Connected {
                user: "poolwright".into(),
                observe_only: true
            }
        );
    }

    /// Before the first map nothing has failed.
    #[test]
    fn first_contact() {
        for (contact, hindrance) in [
            (Contact::Connecting, None),
            (Contact::Connected, Some(NotUsable::NoView)),
        ] {
            let standing = judge(&contact, hindrance.as_ref(), &spec());
            assert!(
                matches!(standing, Standing::Connecting { .. }),
                "{standing:?}"
            );
        }
    }
}
