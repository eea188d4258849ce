//! The state that plans start from: of a cluster, or recorded in files. Only reads are sent.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{ArgGroup, Args};
use tokio::runtime::Builder;

use crate::ceph::client::{ClientError, MonClient};
use crate::ceph::command::MonCommand;
use crate::ceph::crush_map::{self, CrushMap};
use crate::ceph::encoding;
use crate::ceph::osd_map::binary;
use crate::ceph::osd_map::json::{self, DecodeError};
use crate::ceph::rados::{ConnectOptions, Limits, RadosClient};
use crate::ceph::view::ClusterView;

/// How long the read may take: one over a slow line, of a large cluster.
const READ_LIMIT: Duration = Duration::from_secs(120);
/// How long saying good-bye may take.
const CLOSE_LIMIT: Duration = Duration::from_secs(2);

/// Where the state is.
#[derive(Debug, Args)]
#[group(skip)]
#[command(group = ArgGroup::new("cluster").required(true).args(["conf", "osd_map"]))]
pub(super) struct Source {
    /// The cluster of this ceph.conf
    #[arg(long, value_name = "CEPH_CONF")]
    conf: Option<PathBuf>,

    /// The Ceph user, whose keyring ceph.conf names
    #[arg(
        long,
        value_name = "USER",
        default_value = "admin",
        conflicts_with = "osd_map"
    )]
    user: String,

    /// A recorded OSD map: the output of ceph osd dump --format json
    #[arg(long, value_name = "DUMP")]
    osd_map: Option<PathBuf>,
}

impl Source {
    /// The state, with a CRUSH map beside that of a file.
    pub(super) fn view(&self, crush_map: Option<&Path>) -> Result<ClusterView, SourceError> {
        match (&self.conf, &self.osd_map) {
            (Some(conf), _) => cluster(conf, &self.user),
            (None, map) => files(map.as_deref(), crush_map),
        }
    }
}

/// Why there is no state to start from.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// A file cannot be read.
    #[error("cannot read {}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// What was read is not an OSD map.
    #[error("{from} is not the JSON of an OSD map (ceph osd dump --format json)")]
    OsdMap {
        /// The file, or the command.
        from: String,
        /// Why not.
        source: DecodeError,
    },
    /// The cluster's map is not one that this program reads.
    #[error(
        "the cluster's OSD map cannot be decoded; record it with ceph osd dump --format json and plan with --osd-map"
    )]
    Encoded(#[source] encoding::DecodeError),
    /// What was read is not a CRUSH map.
    #[error("{from} is not the JSON of a CRUSH map (ceph osd crush dump --format json)")]
    CrushMap {
        /// The file, or the command.
        from: String,
        /// Why not.
        source: serde_json::Error,
    },
    /// The cluster does not answer.
    #[error("cannot reach the cluster of {}", conf.display())]
    Client {
        /// The ceph.conf.
        conf: PathBuf,
        /// Why not.
        source: ClientError,
    },
    /// The monitors refuse a read.
    #[error("the monitors refuse {command:?} with code {code}: {text}")]
    Refused {
        /// The command.
        command: &'static str,
        /// A negative errno.
        code: i32,
        /// Their words.
        text: String,
    },
    /// The system gives no threads.
    #[error("cannot start")]
    Start(#[source] io::Error),
}

/// The state in files. Without a CRUSH map rules have numbers only.
fn files(osd_map: Option<&Path>, crush_map: Option<&Path>) -> Result<ClusterView, SourceError> {
    let osd_map = osd_map.unwrap_or(Path::new(""));
    let dump = read(osd_map)?;
    let rules = match crush_map {
        Some(path) => decode_crush(&read(path)?, &path.display().to_string())?,
        None => CrushMap::default(),
    };
    decode(&dump, &osd_map.display().to_string(), rules)
}

/// The state of a running cluster.
fn cluster(conf: &Path, user: &str) -> Result<ClusterView, SourceError> {
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(SourceError::Start)?;
    runtime.block_on(async {
        let options = ConnectOptions::ConfFile {
            path: conf.to_owned(),
            user: user.strip_prefix("client.").unwrap_or(user).to_owned(),
        };
        let limits = Limits {
            command_timeout: READ_LIMIT,
            ..Limits::default()
        };
        let failed = |source| SourceError::Client {
            conf: conf.to_owned(),
            source,
        };
        let client = RadosClient::connect(options, limits)
            .await
            .map_err(failed)?;
        let read = async |command: MonCommand| {
            let reply = client.send(&command, READ_LIMIT).await.map_err(failed)?;
            if reply.code < 0 {
                return Err(SourceError::Refused {
                    command: command.prefix(),
                    code: reply.code,
                    text: reply.text,
                });
            }
            Ok(reply.body)
        };
        let view = async {
            let map = read(MonCommand::OsdGetMap { epoch: None }).await?;
            let (map, crush) = binary::decode(&map).map_err(SourceError::Encoded)?;
            Ok(ClusterView::new(map, crush))
        }
        .await;
        client.close(CLOSE_LIMIT).await;
        view
    })
}

fn read(path: &Path) -> Result<Vec<u8>, SourceError> {
    fs::read(path).map_err(|source| SourceError::File {
        path: path.to_owned(),
        source,
    })
}

fn decode(dump: &[u8], from: &str, rules: CrushMap) -> Result<ClusterView, SourceError> {
    let map = json::decode(dump).map_err(|source| SourceError::OsdMap {
        from: from.to_owned(),
        source,
    })?;
    Ok(ClusterView::new(map, rules))
}

fn decode_crush(dump: &[u8], from: &str) -> Result<CrushMap, SourceError> {
    crush_map::json::decode(dump).map_err(|source| SourceError::CrushMap {
        from: from.to_owned(),
        source,
    })
}
