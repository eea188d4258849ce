//! A cluster that does as a test says.

use async_trait::async_trait;
use tokio::time::sleep;

use super::*;
use crate::ceph::client::Reply;
use crate::ceph::contents::Contents;
use crate::ceph::crush_map::CrushMap;
use crate::ceph::osd_map::{OsdMap, Pool, binary, json};

#[derive(Debug)]
pub(super) struct Fake {
    fsid: Fsid,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) epoch: u64,
    pub(super) answering: Fsid,
    /// Answers nobody: calls end at their deadline.
    pub(super) frozen: bool,
    /// Refuses every read of the map.
    pub(super) refuses: bool,
    /// Gives maps that are none.
    pub(super) garbled: bool,
    /// Encodes the map as this program does not know it.
    pub(super) foreign: bool,
    pub(super) read_takes: Duration,
    pub(super) poll_takes: Duration,
    pub(super) polls: usize,
    pub(super) reads: usize,
}

impl Inner {
    fn dump(&self) -> String {
        format!(
            r#"{{"epoch":{},"fsid":"{}","pools":[]}}"#,
            self.epoch, self.answering
        )
    }

    fn encoded(&self) -> Vec<u8> {
        let map = json::decode(self.dump().as_bytes()).expect("a map");
        binary::encode(&map, &CrushMap::default())
    }
}

impl Fake {
    pub(super) fn new(epoch: u64) -> Arc<Self> {
        Arc::new(Self {
            fsid: Fsid::new(FSID),
            inner: Mutex::new(Inner {
                epoch,
                answering: Fsid::new(FSID),
                frozen: false,
                refuses: false,
                garbled: false,
                foreign: false,
                read_takes: TICK,
                poll_takes: Duration::ZERO,
                polls: 0,
                reads: 0,
            }),
        })
    }

    pub(super) fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("the fake's lock")
    }

    /// The polls and the reads since the last look.
    pub(super) fn counts(&self) -> (usize, usize) {
        let mut inner = self.inner();
        (
            std::mem::take(&mut inner.polls),
            std::mem::take(&mut inner.reads),
        )
    }
}

#[async_trait]
impl MonClient for Fake {
    fn fsid(&self) -> &Fsid {
        &self.fsid
    }

    async fn send(&self, command: &MonCommand, deadline: Duration) -> Result<Reply, ClientError> {
        let (frozen, takes) = {
            let mut inner = self.inner();
            let takes = if *command == MonCommand::OsdStat {
                inner.polls += 1;
                inner.poll_takes
            } else {
                inner.reads += usize::from(*command == MonCommand::OsdGetMap { epoch: None });
                inner.read_takes
            };
            (inner.frozen, takes)
        };
        if frozen {
            sleep(deadline).await;
            return Err(ClientError::TimedOut {
                command: command.prefix(),
                after: deadline,
            });
        }
        sleep(takes).await;
        let inner = self.inner();
        let reply = |code: i32, body: String| Reply {
            code,
            text: "words".into(),
            body: body.into(),
        };
        Ok(match command {
            MonCommand::OsdStat => reply(0, format!(r#"{{"epoch":{},"num_osds":0}}"#, inner.epoch)),
            _ if inner.refuses => reply(-13, String::new()),
            MonCommand::OsdGetMap { .. } if inner.garbled || inner.foreign => Reply {
                body: b"\x09\x09 from a release to come".into(),
                ..reply(0, String::new())
            },
            MonCommand::OsdGetMap { .. } => Reply {
                body: inner.encoded(),
                ..reply(0, String::new())
            },
            MonCommand::OsdDump if inner.garbled => reply(0, "{\"a\": \"b\"c\"}".into()),
            MonCommand::OsdDump => reply(0, inner.dump()),
            MonCommand::CrushDump => reply(0, r#"{"rules":[]}"#.into()),
            other => panic!("a monitor sends no {other:?}"),
        })
    }

    async fn send_alone(&self, command: &MonCommand, _: Duration) -> Result<Reply, ClientError> {
        panic!("a monitor sends no {command:?}")
    }

    async fn contents(&self, pool: &Pool, _: &OsdMap, _: Duration) -> Contents {
        panic!("a monitor does not look into {}", pool.name)
    }
}
