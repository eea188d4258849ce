//! `poolwright export`: manifests for the pools that a cluster has.

mod manifest;

use std::collections::BTreeSet;
use std::io;

use clap::Args;

use super::source::{Source, SourceError};
use super::{FAILED, OK, Streams, complain, print};
use crate::api::yaml;
use crate::ceph::types::PoolName;

/// Write CephPool manifests for the pools that a cluster has
///
/// Applied as they are, they adopt the pools and change nothing else: each names every setting that its pool has, and
/// plan of them shows no more than the marks. What cannot be declared is left out, or the pool is, and is said so on
/// standard error. The exit code is 1 when a pool that was asked for by name is not there or was left out.
#[derive(Debug, Args)]
pub struct Arguments {
    #[command(flatten)]
    source: Source,

    /// Only this pool; may be repeated
    #[arg(long, value_name = "POOL")]
    pool: Vec<String>,

    /// The ClusterConnection that the manifests name
    #[arg(long, value_name = "NAME", default_value = "main")]
    connection: String,

    /// The namespace of the CephPools; without it the manifests name none
    #[arg(short, long, value_name = "NAMESPACE")]
    namespace: Option<String>,
}

/// Why there are no manifests.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The cluster's state cannot be had.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// A manifest has no YAML.
    #[error("the manifests cannot be written as YAML")]
    Yaml(#[from] yaml::Error),
    /// Nothing can be printed.
    #[error("cannot write the output")]
    Output(#[from] io::Error),
}

/// Prints the manifests, and says what was left out.
pub fn execute(arguments: &Arguments, streams: &mut Streams<'_>) -> Result<u8, ExportError> {
    let view = arguments.source.view(None)?;
    let mut code = OK;
    let asked: BTreeSet<&str> = arguments.pool.iter().map(String::as_str).collect();
    for name in &asked {
        if view.pool_named(&PoolName::new(*name)).is_none() {
            complain(streams.err, &format!("pool {name}: there is no such pool"));
            code = FAILED;
        }
    }
    let target = manifest::Target {
        connection: &arguments.connection,
        namespace: arguments.namespace.as_deref(),
    };
    let mut taken = BTreeSet::new();
    let mut text = String::new();
    for pool in view.map().pools.values() {
        let name = pool.name.as_str();
        if !asked.is_empty() && !asked.contains(name) {
            continue;
        }
        match manifest::of_pool(
            pool,
            view.crush().rule_name(pool.crush_rule),
            &target,
            &mut taken,
        ) {
            Ok(exported) => {
                for note in &exported.notes {
                    complain(streams.err, &format!("pool {name}: {note}"));
                }
                if !text.is_empty() {
                    text.push_str("---\n");
                }
                text.push_str(&yaml::write(&exported.manifest)?);
            }
            Err(why) => {
                complain(streams.err, &format!("pool {name}: left out: {why}"));
                if asked.contains(name) {
                    code = FAILED;
                }
            }
        }
    }
    print(streams.out, &text)?;
    Ok(code)
}
