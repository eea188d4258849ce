//! The rules of a `CephRequest`.

use super::texts::is_uuid;
use super::{Rule, text};

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
                    .is_some_and(|name| {
                        is_uuid(name, Some('4')) && !name.contains(|c: char| c.is_ascii_uppercase())
                    })
            },
        ),
        Rule::change(
            "spec",
            "self == oldSelf",
            "a request cannot be changed: change the CephPool, which makes a new request",
            |old, new| old == new,
        ),
    ]
}
