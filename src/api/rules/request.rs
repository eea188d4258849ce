//! The rules of a `CephRequest`.

use super::{Rule, has, is_request_id, text};

/// Every rule.
pub(super) fn rules() -> Vec<Rule> {
    vec![
        Rule::new(
            "",
            "self.metadata.name.matches('^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}$')",
            "the name of a CephRequest is its request ID, a UUID of version 4 in lower case",
            |object| {
                object
                    .get("metadata")
                    .and_then(|metadata| text(metadata, "name"))
                    .is_some_and(is_request_id)
            },
        ),
        Rule::change(
            "spec",
            "self == oldSelf || oldSelf.poolRef.uid == '' || (!has(oldSelf.requestedBy) && self.poolRef == \
             oldSelf.poolRef && self.connection == oldSelf.connection && self.operation == oldSelf.operation)",
            "a request cannot be changed: change the CephPool, which makes a new request",
            |old, new| {
                let same = |field: &str| old.get(field) == new.get(field);
                let reserved = old.get("poolRef").and_then(|pool| text(pool, "uid")) == Some("");
                // Who asked for it is known to the REST shim; the controller may have been faster.
                let unnamed = !has(old, "requestedBy");
                old == new
                    || reserved
                    || (unnamed && ["poolRef", "connection", "operation"].into_iter().all(same))
            },
        ),
    ]
}
