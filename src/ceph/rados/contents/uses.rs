//! What the monitors know of a pool's use: file systems, and the figures of `ceph df`.
//!
//! Neither is more than a witness against emptiness. The figures come from the manager some
//! seconds late, and for ever stay as they are where no manager runs.

use serde::Deserialize;

use super::{Look, Looked, something, unknown};

#[derive(Deserialize)]
struct FileSystem {
    name: String,
    metadata_pool_id: i64,
    data_pool_ids: Vec<i64>,
}

#[derive(Deserialize)]
struct Figures {
    pools: Vec<PoolFigures>,
}

#[derive(Deserialize)]
struct PoolFigures {
    id: i64,
    stats: Stats,
}

#[derive(Deserialize)]
struct Stats {
    objects: u64,
    stored: u64,
}

impl Look<'_> {
    /// Fails when a file system has the pool, also one that never ran.
    pub(super) fn file_systems(&self) -> Looked {
        let systems: Vec<FileSystem> = serde_json::from_slice(&self.ask("fs ls")?)
            .map_err(|error| unknown(format!("the list of file systems is odd: {error}")))?;
        match system_with(&systems, self.pool.id.0) {
            Some(what) => Err(something(what)),
            None => Ok(()),
        }
    }

    /// Fails when more objects are counted than the `listed` ones, or bytes without any.
    pub(super) fn figures(&self, listed: usize) -> Looked {
        let figures: Figures = serde_json::from_slice(&self.ask("df")?)
            .map_err(|error| unknown(format!("the figures of ceph df are odd: {error}")))?;
        let figures = figures.pools.iter().find(|pool| pool.id == self.pool.id.0);
        let figures = figures.ok_or_else(|| {
            unknown("ceph df has no figures for the pool: the manager gives them some seconds after its creation")
        })?;
        match disagreement(&figures.stats, listed) {
            Some(what) => Err(something(what)),
            None => Ok(()),
        }
    }
}

fn system_with(systems: &[FileSystem], pool: i64) -> Option<String> {
    systems.iter().find_map(|system| {
        if system.metadata_pool_id == pool {
            Some(format!(
                "it is the metadata pool of file system {:?}",
                system.name
            ))
        } else if system.data_pool_ids.contains(&pool) {
            Some(format!(
                "it is a data pool of file system {:?}",
                system.name
            ))
        } else {
            None
        }
    })
}

fn disagreement(stats: &Stats, listed: usize) -> Option<String> {
    let listed = u64::try_from(listed).unwrap_or(u64::MAX);
    let bytes_from_nothing = listed == 0 && stats.stored > 0;
    (stats.objects > listed || bytes_from_nothing).then(|| {
        format!(
            "ceph df counts {} objects and {} bytes in it, the list of its objects has {listed}: either its figures are some seconds old, or snapshots hold what is not listed",
            stats.objects, stats.stored
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pools are known by number, in both parts they can play.
    #[test]
    fn file_systems_have_pools() {
        let text = r#"[{"name":"f1","metadata_pool":"m","metadata_pool_id":7,"data_pool_ids":[8,9],"data_pools":["d","e"]}]"#;
        let systems: Vec<FileSystem> = serde_json::from_str(text).expect("fs ls");
        let says = |pool| system_with(&systems, pool).unwrap_or_default();
        assert_eq!(says(7), "it is the metadata pool of file system \"f1\"");
        assert_eq!(says(9), "it is a data pool of file system \"f1\"");
        assert_eq!(says(1), "");
    }

    /// Figures can only speak against emptiness; housekeeping objects have some bytes.
    #[test]
    fn figures_disagree() {
        let disagree =
            |objects, stored, listed| disagreement(&Stats { objects, stored }, listed).is_some();
        assert!(disagree(1, 0, 0));
        assert!(disagree(0, 1, 0));
        assert!(disagree(3, 19, 2));
        assert!(!disagree(0, 0, 0));
        assert!(!disagree(2, 19, 2));
        assert!(!disagree(0, 0, 2));
    }
}
