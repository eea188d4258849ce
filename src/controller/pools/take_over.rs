//! What an earlier process left, read when this one begins to act.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;
use kube::api::ListParams;
use kube::runtime::reflector::ObjectRef;
use kube::{Api, ResourceExt};

use super::{GuardedPool, Pools};
use crate::api::v1alpha1::{CephPool, CephRequest, PoolReference};
use crate::controller::{in_flight, requests};

/// How many objects are read at once.
const PAGE: u32 = 500;

impl Pools {
    /// The open requests that an earlier process left for a pool; `None` while they have not been read.
    pub fn take_left_open(&self, uid: &str) -> Option<Vec<CephRequest>> {
        let left = self.left_open.get()?;
        let mut left = left.lock().unwrap_or_else(PoisonError::into_inner);
        Some(left.remove(uid).unwrap_or_default())
    }

    /// Reads what an earlier process left: names that its commands may still use, before anything can be planned with
    /// them, and requests, of which those end that belong to objects that are gone.
    ///
    /// Where another replica acted until now, the watch may be behind what it wrote last.
    pub async fn take_over(&self, from_another: bool) -> Result<(), kube::Error> {
        let now = Timestamp::now();
        let locks = &self.collection.locks;
        if from_another {
            let all: Api<GuardedPool> = Api::all(self.client.clone());
            let mut page = ListParams::default().limit(PAGE);
            loop {
                let list = all.list(&page).await?;
                for object in list
                    .items
                    .iter()
                    .filter_map(|object| object.0.as_ref().ok())
                {
                    in_flight::lock(locks, object, now);
                }
                match list.metadata.continue_ {
                    Some(next) if !next.is_empty() => page.continue_token = Some(next),
                    _ => break,
                }
            }
        }
        for object in self.objects.state() {
            if let Ok(object) = &object.0 {
                in_flight::lock(locks, object, now);
            }
        }
        self.read_left_open().await
    }

    async fn read_left_open(&self) -> Result<(), kube::Error> {
        let mut left: HashMap<String, Vec<CephRequest>> = HashMap::new();
        for request in requests::unfinished(&self.client, None).await? {
            let pool = &request.spec.pool_ref;
            if pool.uid.is_empty() {
                // Reserved for a change that is being applied, by the REST server of any replica.
                continue;
            }
            let namespace = request.namespace().unwrap_or_default();
            if self.exists(&namespace, pool) || self.lives(&namespace, pool).await? {
                left.entry(pool.uid.clone()).or_default().push(request);
            } else {
                let now = Timestamp::now();
                requests::fail_record(&self.client, &request, requests::GONE, now).await;
            }
        }
        let _ = self.left_open.set(Mutex::new(left));
        Ok(())
    }

    fn exists(&self, namespace: &str, pool: &PoolReference) -> bool {
        let object = self
            .objects
            .get(&ObjectRef::new(&pool.name).within(namespace));
        object.is_some_and(|object| object.uid().as_deref() == Some(pool.uid.as_str()))
    }

    /// The same by the API server itself: what a replica that stood by knows may be behind.
    pub(in crate::controller) async fn lives(
        &self,
        namespace: &str,
        pool: &PoolReference,
    ) -> Result<bool, kube::Error> {
        let api: Api<CephPool> = Api::namespaced(self.client.clone(), namespace);
        let found = api.get_metadata_opt(&pool.name).await?;
        Ok(found.is_some_and(|found| found.uid().as_deref() == Some(pool.uid.as_str())))
    }
}
