//! `osd crush rule create-replicated` and `osd crush rule rm`.

use super::pending::Pending;
use super::reply::{Accepted, Answer, EBUSY, EINVAL, ENOENT, refuse};
use crate::ceph::crush_map::NoSuch;

impl Pending<'_> {
    /// Of a name that is there, nothing more is looked at.
    pub(super) fn create_rule(
        &mut self,
        name: &str,
        root: &str,
        bucket_type: &str,
        class: Option<&str>,
    ) -> Answer {
        let mut pending = self.changes.rules.values().flatten();
        if self.crush().rule_named(name).is_some() || pending.any(|rule| rule.name == name) {
            return Ok(Accepted::Nothing(format!("rule {name} already exists")));
        }
        let rule = match self.crush().replicated_rule(name, root, bucket_type, class) {
            Ok(rule) => rule,
            Err(NoSuch::Root) => {
                return refuse(ENOENT, format!("root item {root} does not exist"));
            }
            Err(NoSuch::Type) => return refuse(EINVAL, format!("unknown type {bucket_type}")),
            Err(NoSuch::Class) => {
                let class = class.unwrap_or_default();
                return refuse(EINVAL, format!("device class {class} does not exist"));
            }
        };
        self.add_rule(rule);
        Ok(Accepted::Proposed(String::new()))
    }

    /// Refused while a pool has it, as committed.
    pub(super) fn remove_rule(&mut self, name: &str) -> Answer {
        let Some(number) = self.crush().rule_named(name) else {
            return Ok(Accepted::Nothing(format!("rule {name} does not exist")));
        };
        if self.uses_rule(number) {
            return refuse(EBUSY, format!("crush rule {name} ({number}) is in use"));
        }
        self.changes.rules.insert(number, None);
        Ok(Accepted::Proposed(String::new()))
    }
}
