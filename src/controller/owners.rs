//! Is the owner that a mark names still there?

use kube::{Api, Client, ResourceExt};

use super::{chain, record};
use crate::api::v1alpha1::CephPool;
use crate::ceph::types::{PoolIdentity, PoolName};
use crate::request::ownership::ForeignMark;

/// Whether the object that a mark of this control plane names is gone, or has another pool.
///
/// Asked of the API server itself, since a cache may be behind; whatever is not a clear answer counts as there.
pub(super) async fn is_gone(
    client: &Client,
    mark: &ForeignMark,
    pool: Option<&PoolIdentity>,
    name: &PoolName,
) -> bool {
    let Some((namespace, object)) = mark
        .object
        .as_deref()
        .filter(|_| mark.same_instance)
        .and_then(|object| object.split_once('/'))
    else {
        return false;
    };
    let api: Api<CephPool> = Api::namespaced(client.clone(), namespace);
    match api.get_opt(object).await {
        Ok(None) => true,
        Ok(Some(found)) => !keeps(&found, pool, name),
        Err(error) => {
            tracing::warn!(
                owner = mark.owner(),
                error = chain(&error),
                "cannot see whether the owner of a mark is there"
            );
            false
        }
    }
}

/// Whether an object may have this pool: by its annotation, and by its wish only where it has none.
fn keeps(object: &CephPool, pool: Option<&PoolIdentity>, name: &PoolName) -> bool {
    let annotated = record::annotated(object);
    let recorded = record::in_status(object);
    if pool.is_none_or(|pool| [&annotated, &recorded].contains(&&Some(pool.clone()))) {
        return true;
    }
    match annotated.or(recorded) {
        Some(_) => false,
        None => object.wanted_pool_name() == name.as_str() || object.name_any() == name.as_str(),
    }
}
