//! The IDs of requests that a caller names by a key of his own (`Idempotency-Key`). Pure.
//!
//! The ID follows from who calls and from the key, so that asking twice finds the request, on every replica and after a
//! restart, and two who ask at once cannot both reserve it.

use std::fmt::Write;
use std::time::Duration;

use jiff::Timestamp;
use kube::ResourceExt;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::api::v1alpha1::{CephRequest, RequestState};

/// How long a key means the same request.
pub const KEPT: Duration = Duration::from_secs(24 * 3600);
/// How often a key can be used again after that, while the earlier requests are still there.
const USES: u8 = 8;
/// Who reserved a request this long ago and did not go on was ended.
const ABANDONED: Duration = Duration::from_secs(30);
/// The longest key.
pub const LONGEST_KEY: usize = 255;

/// A caller's key for one change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    caller_and_key: [u8; 32],
    change: [u8; 32],
}

/// What is asked for, as far as it has to be the same when it is asked for again.
#[derive(Clone, Copy, Debug)]
pub struct Change<'a> {
    /// The method.
    pub method: &'static str,
    /// The path.
    pub path: &'a str,
    /// Whether fields of others are taken over.
    pub force: bool,
    /// The body.
    pub body: &'a Map<String, Value>,
}

/// What is known of the request of a key.
#[derive(Clone, Debug, PartialEq)]
pub enum Known<'a> {
    /// Nothing: this is the ID to reserve.
    Unused(String),
    /// It was asked for before.
    Asked(&'a CephRequest),
    /// It is being asked for at this moment.
    UnderWay(&'a CephRequest),
    /// It was reserved, and whoever did it was ended before, or just after, the change was applied.
    Abandoned(&'a CephRequest),
    /// The key was used for something else.
    Other(&'a CephRequest),
}

impl Key {
    /// The key of a caller for a change; nothing if it is no key.
    pub fn new(caller: &str, key: &str, change: Change<'_>) -> Option<Self> {
        let good = (1..=LONGEST_KEY).contains(&key.len())
            && key.chars().all(|c| c.is_ascii_graphic() || c == ' ');
        // The map of a body is sorted, so the same body has the same text.
        let body = serde_json::to_string(&sorted(change.body)).ok()?;
        good.then(|| Self {
            caller_and_key: Sha256::digest(format!("{caller}\0{key}").as_bytes()).into(),
            change: Sha256::digest(
                format!(
                    "{}\0{}\0{}\0{body}",
                    change.method, change.path, change.force
                )
                .as_bytes(),
            )
            .into(),
        })
    }

    /// The IDs that its request may have, in the order in which they are used.
    pub fn ids(&self) -> impl Iterator<Item = String> {
        (0..USES).map(|number| {
            let mut hash = Sha256::new();
            hash.update(self.caller_and_key);
            hash.update([number]);
            uuid_of(&hash.finalize())
        })
    }

    /// How the request keeps it.
    pub fn text(&self) -> String {
        format!("{}/{}", hex(&self.caller_and_key), hex(&self.change))
    }

    /// What is known of its request, among those that are there of its IDs.
    pub fn known<'a>(&self, there: &[&'a CephRequest], now: Timestamp) -> Option<Known<'a>> {
        let age = |request: &CephRequest| {
            let made = request.creation_timestamp().map_or(now, |made| made.0);
            now.duration_since(made).unsigned_abs()
        };
        let of = |id: &str| {
            there
                .iter()
                .find(|request| request.name_any() == id)
                .copied()
        };
        let never_applied = |request: &CephRequest| is_reserved(request) && is_complete(request);
        let alive = self
            .ids()
            .filter_map(|id| of(&id))
            .find(|request| age(request) < KEPT && !never_applied(request));
        let Some(request) = alive else {
            let unused = self.ids().find(|id| of(id).is_none());
            return unused.map(Known::Unused);
        };
        Some(if request.spec.idempotency_key != Some(self.text()) {
            Known::Other(request)
        } else if !is_reserved(request) {
            Known::Asked(request)
        } else if age(request) < ABANDONED {
            Known::UnderWay(request)
        } else {
            Known::Abandoned(request)
        })
    }
}

/// Whether a request was reserved, and its change not applied as far as it says.
pub fn is_reserved(request: &CephRequest) -> bool {
    request.spec.pool_ref.uid.is_empty()
}

fn is_complete(request: &CephRequest) -> bool {
    let state = request.status.as_ref().map(|status| status.state);
    state == Some(RequestState::Complete)
}

fn sorted(body: &Map<String, Value>) -> std::collections::BTreeMap<&String, &Value> {
    body.iter().collect()
}

/// Bytes as hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Into a text it never fails.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// A UUID of version 4 out of a hash.
fn uuid_of(hash: &[u8]) -> String {
    let mut digits: Vec<char> = hex(hash).chars().take(32).collect();
    let set = |digits: &mut Vec<char>, at: usize, to: char| {
        if let Some(digit) = digits.get_mut(at) {
            *digit = to;
        }
    };
    set(&mut digits, 12, '4');
    // The variant: 8, 9, a or b.
    let variant = digits
        .get(16)
        .and_then(|digit| digit.to_digit(16))
        .unwrap_or_default();
    set(
        &mut digits,
        16,
        char::from_digit(8 + variant % 4, 16).unwrap_or('8'),
    );
    let mut text = String::new();
    for (at, digit) in digits.into_iter().enumerate() {
        if [8, 12, 16, 20].contains(&at) {
            text.push('-');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use serde_json::json;

    use super::*;
    use crate::api::rules::is_request_id;

    fn change(body: &Value) -> Change<'_> {
        Change {
            method: "PATCH",
            path: "/api/v2/cluster/f/pool/7",
            force: false,
            body: body.as_object().expect("an object"),
        }
    }

    fn key(body: &Value) -> Key {
        Key::new("anna", "k1", change(body)).expect("a key")
    }

    fn request(id: &str, key: &Key, hours: i64, uid: &str) -> CephRequest {
        serde_json::from_value(json!({
            "apiVersion": "poolwright.dev/v1alpha1", "kind": "CephRequest",
            "metadata": {"name": id, "creationTimestamp": Time(now() - jiff::SignedDuration::from_hours(hours))},
            "spec": {"poolRef": {"name": "foo", "uid": uid, "generation": 1}, "connection": "main",
                "operation": "Update", "idempotencyKey": key.text()},
        }))
        .expect("a CephRequest")
    }

    fn now() -> Timestamp {
        Timestamp::from_second(1_700_000_000).expect("a time")
    }

    /// The IDs are UUIDs of version 4, the same for the same caller and key, and others for others.
    #[test]
    fn ids_follow_from_caller_and_key() {
        let body = json!({"size": 3});
        let ids: Vec<String> = key(&body).ids().collect();
        assert!(ids.iter().all(|id| is_request_id(id)), "{ids:?}");
        assert_eq!(ids, key(&json!({"size": 2})).ids().collect::<Vec<_>>());
        let other = Key::new("bert", "k1", change(&body)).expect("a key");
        assert_ne!(ids, other.ids().collect::<Vec<_>>());
        assert_eq!(
            ids.iter().collect::<std::collections::BTreeSet<_>>().len(),
            ids.len()
        );
        for bad in ["", "ä", "a\nb", &"x".repeat(256)] {
            assert_eq!(Key::new("anna", bad, change(&body)), None, "{bad:?}");
        }
    }

    /// The same key finds the request for a day; with another body it is a fault; after a day it is free again.
    #[test]
    fn what_a_key_means() {
        let (body, other) = (json!({"size": 3}), json!({"size": 2}));
        let key = key(&body);
        let ids: Vec<String> = key.ids().collect();
        assert_eq!(key.known(&[], now()), Some(Known::Unused(ids[0].clone())));
        let asked = request(&ids[0], &key, 1, "u");
        assert_eq!(key.known(&[&asked], now()), Some(Known::Asked(&asked)));
        let wrong = super::tests::key(&other);
        assert_eq!(wrong.known(&[&asked], now()), Some(Known::Other(&asked)));
        let old = request(&ids[0], &key, 25, "u");
        assert_eq!(
            key.known(&[&old], now()),
            Some(Known::Unused(ids[1].clone()))
        );
        let again = request(&ids[1], &key, 2, "u");
        assert_eq!(
            key.known(&[&old, &again], now()),
            Some(Known::Asked(&again))
        );
        // The first was removed meanwhile.
        assert_eq!(key.known(&[&again], now()), Some(Known::Asked(&again)));
        let reserved = request(&ids[0], &key, 0, "");
        assert_eq!(
            key.known(&[&reserved], now()),
            Some(Known::UnderWay(&reserved))
        );
        let mut left = request(&ids[0], &key, 1, "");
        assert_eq!(key.known(&[&left], now()), Some(Known::Abandoned(&left)));
        left.status = Some(crate::api::v1alpha1::CephRequestStatus {
            state: RequestState::Complete,
            ..Default::default()
        });
        assert_eq!(
            key.known(&[&left], now()),
            Some(Known::Unused(ids[1].clone()))
        );
    }
}
