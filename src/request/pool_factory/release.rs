//! What the cluster's release does not know.

use crate::api::conditions::Reason;
use crate::ceph::settings::{Setting, Value};
use crate::ceph::types::Release;
use crate::ceph::view::ClusterView;
use crate::request::refusal::Refusal;
use crate::request::wish::Wish;

/// Fields that this cluster's release does not know. Found before anything is made for the pool.
pub(super) fn too_early(wish: &Wish, view: &ClusterView) -> Vec<Refusal> {
    let Some(release) = view.map().require_osd_release else {
        return Vec::new();
    };
    wish.settings
        .iter()
        .filter(|asked| release < asked.setting.since && asked.value != Value::Flag(false))
        .map(|asked| came_later(asked.setting, release))
        .collect()
}

/// A setting that the cluster's release does not know.
pub(super) fn came_later(setting: &Setting, release: Release) -> Refusal {
    let message = format!(
        "{} came with Ceph {}, and this cluster's require_osd_release is {release}; take the field out of the manifest, or \
         upgrade the cluster",
        setting.variable, setting.since
    );
    Refusal::new(Reason::Unsupported, Some(setting.field), message)
}
