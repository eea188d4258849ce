//! Conditions: their types, every reason they can have, and how they are carried from one status to the next.
//!
//! `Ready` is the one summary. `Reconciling`, `Stalled` and `DeletionBlocked` are abnormal-true: present while they are
//! True, absent otherwise, as kstatus has it. A reason is a promise to people who write alerts: it is not renamed.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::Timestamp;

/// What a condition is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ConditionType {
    /// Ceph holds what the spec of this generation asks for; of a connection: the cluster may be used.
    Ready,
    /// Work is going on, and goes on by itself.
    Reconciling,
    /// Nothing more happens until the spec, an annotation, a grant or the cluster changes.
    Stalled,
    /// The object is deleted and its pool cannot be let go yet.
    DeletionBlocked,
}

impl ConditionType {
    /// The condition's `type`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "Ready",
            Self::Reconciling => "Reconciling",
            Self::Stalled => "Stalled",
            Self::DeletionBlocked => "DeletionBlocked",
        }
    }
}

/// Whether a condition holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ConditionStatus {
    /// It holds.
    True,
    /// It does not hold.
    False,
    /// Nobody knows yet.
    Unknown,
}

impl ConditionStatus {
    /// The condition's `status`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }
}

/// A condition as the status function decides it, before it has a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewCondition {
    /// What it is about.
    pub type_: ConditionType,
    /// Whether it holds.
    pub status: ConditionStatus,
    /// Why, in one word.
    pub reason: Reason,
    /// Why, in a sentence, and what to do about it.
    pub message: String,
}

impl NewCondition {
    /// A condition of a type, with its status, reason and message.
    #[must_use]
    pub fn new(
        type_: ConditionType,
        status: ConditionStatus,
        reason: Reason,
        message: impl Into<String>,
    ) -> Self {
        Self {
            type_,
            status,
            reason,
            message: message.into(),
        }
    }
}

/// The conditions of a status: those of `new`, in its order, each with the old `lastTransitionTime` where its status is
/// the old one's and `now` (to the second, as Kubernetes keeps it) where it is not. Conditions that are not in `new` are
/// gone. `generation` is what they were decided for.
#[must_use]
pub fn set(
    old: &[Condition],
    new: Vec<NewCondition>,
    generation: Option<i64>,
    now: &Time,
) -> Vec<Condition> {
    let now = Time(Timestamp::from_second(now.0.as_second()).unwrap_or(now.0));
    new.into_iter()
        .map(|new| {
            let before = find(old, new.type_).filter(|before| before.status == new.status.as_str());
            Condition {
                last_transition_time: before
                    .map_or_else(|| now.clone(), |before| before.last_transition_time.clone()),
                message: new.message,
                observed_generation: generation,
                reason: new.reason.as_str().to_owned(),
                status: new.status.as_str().to_owned(),
                type_: new.type_.as_str().to_owned(),
            }
        })
        .collect()
}

/// The condition of a type, if it is there.
#[must_use]
pub fn find(conditions: &[Condition], type_: ConditionType) -> Option<&Condition> {
    conditions
        .iter()
        .find(|condition| condition.type_ == type_.as_str())
}

/// Whether a condition is there and True.
#[must_use]
pub fn is_true(conditions: &[Condition], type_: ConditionType) -> bool {
    find(conditions, type_)
        .is_some_and(|condition| condition.status == ConditionStatus::True.as_str())
}

/// Defines [`Reason`] from one table: name, what it means, what to do.
macro_rules! reasons {
    ($($name:ident: $meaning:literal, $remedy:literal;)*) => {
        /// Why a condition is as it is. The name is the condition's `reason`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Reason {
            $(#[doc = $meaning] $name,)*
        }

        impl Reason {
            /// Every reason, in the order of the documentation.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// The condition's `reason`.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => stringify!($name),)* }
            }

            /// What it means, in a sentence for the documentation.
            #[must_use]
            pub fn meaning(self) -> &'static str {
                match self { $(Self::$name => $meaning,)* }
            }

            /// What to do, in a sentence for the documentation.
            #[must_use]
            pub fn remedy(self) -> &'static str {
                match self { $(Self::$name => $remedy,)* }
            }
        }
    };
}

reasons! {
    // In order, and on the way there.
    Reconciled: "The pool is in the declared state.", "Nothing.";
    Connected: "The cluster is reached and may be used.", "Nothing.";
    Pending: "The work has not begun: it waits for its turn, for the connection, or for a first look at the cluster.", "Wait; the message says for what.";
    Progressing: "Commands are being sent, or the OSD map that shows their effect is awaited.", "Wait.";
    ProgressingWithRetry: "Something failed that is likely to work later; it is tried again by itself, ever more slowly.", "Wait; if it goes on, look at the message.";
    Connecting: "The first contact with the cluster is being made.", "Wait.";
    Deleting: "The object is deleted and its pool is being let go or removed.", "Wait.";
    // Told not to act.
    Paused: "The annotation poolwright.dev/paused is \"true\": nothing is sent.", "Remove the annotation to go on.";
    ObserveOnly: "The pool differs from the spec, and management: Observe keeps it from being changed.", "Set management: Manage, or change the spec or the pool.";
    Drifted: "The pool differs from the spec; status.pending lists how.", "Look at status.pending.";
    Cancelled: "The request was cancelled: nothing more is sent for this generation.", "Change the spec, or set poolwright.dev/reconcile-requested-at, to try again.";
    // The object.
    InvalidSpec: "The spec contradicts itself or names something that does not exist.", "Change the field that the message names.";
    Unsupported: "The cluster's release, or this version of Poolwright, cannot do what a field asks for.", "Take the field out, or upgrade what the message names.";
    ConnectionNotFound: "There is no ClusterConnection of the name.", "Create it, or correct connectionRef.name.";
    NotGranted: "No grant of the connection covers this namespace, pool name and operation.", "Ask the owner of the ClusterConnection for a grant.";
    Conflict: "An older CephPool claims the same pool.", "Delete one of the two objects, or give one another poolName.";
    Unsafe: "The change could cost data: a single copy, minSize below the safe value, or data that would move.", "Choose a safe value.";
    // The pool.
    PoolExists: "A pool of this name exists that this object did not make.", "Choose another poolName.";
    PoolMissing: "The pool that this object kept is gone; it is never silently made again.", "Find out who removed it; the message says how to have a new, empty pool.";
    PoolReplaced: "The pool of this name is another one than before.", "Find out who replaced it; then delete the object, or restore the pool.";
    OwnedByAnother: "The pool carries the mark of another owner.", "Leave it to its owner, or choose another poolName.";
    Contested: "Somebody else keeps changing a field that is declared here.", "Find out who (the message names the field), and let one of the two manage it.";
    NotConverging: "After the longest allowed number of rounds there was still something to do.", "Look at status.pending and the request's commands; report it.";
    StretchMode: "The cluster is in stretch mode, where the monitors set size, min_size and rule.", "Take these fields out of the spec.";
    Blocked: "A flag of the pool or a setting of the cluster forbids the change.", "Lift what the message names, or take the field out.";
    CannotPlace: "The CRUSH rule cannot place so many copies or chunks.", "Choose a smaller size, another failure domain, or add hosts or OSDs.";
    NotEmpty: "Something is in the pool, or something else in the cluster uses it.", "Remove what the message names, or confirm with the token in it that it may be lost.";
    NotProven: "It could not be seen whether the pool is empty.", "Do what the message says; it is looked at again by itself.";
    DeletionBlocked: "The object is deleted, and its pool can neither be removed nor let go.", "Do what the message says, or set deletionPolicy: Retain to keep the pool.";
    // Ceph's answers.
    Rejected: "Ceph refused a command; the message has its words.", "Change the field that the message names.";
    PermissionDenied: "The Ceph user is not allowed to send a command. On a ClusterConnection that is Ready: one that its grants or CephPools need, and nothing else waits for it.", "Give it the capability that the message names; `poolwright permissions` prints the whole line.";
    LimitReached: "A limit of the cluster, such as placement groups per OSD, does not allow it.", "Ask for less, raise the limit, or add OSDs.";
    // The cluster.
    Unreachable: "No monitor answers.", "Check spec.monitors, the network and the cluster.";
    AuthenticationFailed: "The monitors refuse the user or its key; Ceph does not say which.", "Check spec.user and the Secret.";
    SecretNotFound: "The Secret, or the entry in it, is not there.", "Create it, or correct spec.keySecretRef.";
    InvalidConfiguration: "The Ceph client does not accept the monitors, the key or an option.", "Correct what the message names.";
    LibraryMissing: "librados could not be loaded.", "Install librados2 where the controller runs.";
    FsidMismatch: "Another cluster answers than the one this connection belongs to; nothing is sent to it.", "Correct spec.monitors; for a new cluster make a new ClusterConnection.";
    EpochWentBack: "The cluster's OSD map is older than one seen before, as after a restored backup; nothing is sent.", "Make sure the cluster is what it should be; work goes on when its epochs have passed the recorded one.";
    MapUnreadable: "The OSD map could not be decoded; nothing is sent.", "Upgrade Poolwright, or report the release of the cluster.";
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A quarter of a second past a second.
    const fn past(second: i64) -> Time {
        Time(Timestamp::constant(second, 250_000_000))
    }

    fn ready(status: ConditionStatus, reason: Reason) -> NewCondition {
        NewCondition::new(ConditionType::Ready, status, reason, "why")
    }

    /// The time, reason and generation of Ready.
    fn summary(conditions: &[Condition]) -> Option<(Timestamp, &str, Option<i64>)> {
        let ready = find(conditions, ConditionType::Ready)?;
        Some((
            ready.last_transition_time.0,
            &ready.reason,
            ready.observed_generation,
        ))
    }

    /// The time moves with the status and with nothing else; conditions that are left out are gone.
    #[test]
    fn the_time_is_that_of_the_last_change_of_status() {
        let second = |second| Timestamp::constant(second, 0);
        let working = NewCondition::new(
            ConditionType::Reconciling,
            ConditionStatus::True,
            Reason::Progressing,
            "1 of 3",
        );
        let progressing = ready(ConditionStatus::False, Reason::Progressing);
        let first = set(&[], vec![progressing, working], Some(1), &past(10));
        assert_eq!(first.len(), 2);
        assert!(is_true(&first, ConditionType::Reconciling));

        let later = set(
            &first,
            vec![ready(ConditionStatus::False, Reason::Rejected)],
            Some(2),
            &past(20),
        );
        assert_eq!(summary(&later), Some((second(10), "Rejected", Some(2))));
        assert!(find(&later, ConditionType::Reconciling).is_none());

        let done = vec![ready(ConditionStatus::True, Reason::Reconciled)];
        let last = set(&later, done.clone(), Some(2), &past(30));
        assert_eq!(summary(&last), Some((second(30), "Reconciled", Some(2))));
        assert_eq!(set(&last, done, Some(2), &past(40)), last);
    }

    /// Reasons fit Kubernetes' pattern for them and say what they mean and what to do.
    #[test]
    fn every_reason_is_documented() {
        for reason in Reason::ALL {
            let name = reason.as_str();
            assert!(
                name.starts_with(|c: char| c.is_ascii_uppercase())
                    && name.chars().all(|c| c.is_ascii_alphanumeric())
            );
            assert!(
                reason.meaning().ends_with('.') && reason.remedy().ends_with('.'),
                "{name}"
            );
        }
    }
}
