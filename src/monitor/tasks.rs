//! The two tasks of a monitor: one polls the epoch, one reads the map.

use std::sync::Arc;

use serde::Deserialize;
use tokio::time::{Instant, sleep_until};

use super::state::ReadOutcome;
use super::{PollError, Shared};
use crate::ceph::client::{ClientError, Reply};
use crate::ceph::command::MonCommand;
use crate::ceph::types::Epoch;
use crate::ceph::view::ClusterView;
use crate::ceph::{crush_map, osd_map};

/// Tells that the task it is in has panicked.
struct Alarm(Arc<Shared>);

impl Drop for Alarm {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.broken.cancel();
        }
    }
}

/// Polls the epoch until the monitor is stopped.
pub(super) async fn poll(shared: Arc<Shared>) {
    let _alarm = Alarm(Arc::clone(&shared));
    let stop = shared.stop.clone();
    stop.run_until_cancelled(async {
        loop {
            let sent = Instant::now();
            let answered = poll_once(&shared, sent).await;
            poll_quorum(&shared).await;
            wait_for_next(&shared, sent, answered).await;
        }
    })
    .await;
}

async fn poll_once(shared: &Shared, sent: Instant) -> bool {
    let timeout = shared.settings.poll_timeout;
    let epoch = epoch_of(shared.client.send(&MonCommand::OsdStat, timeout).await);
    let took = sent.elapsed();
    // An error that comes at once says nothing of the monitor's load.
    if epoch.is_ok() || took >= timeout {
        shared.creates.observe(took, Instant::now());
    }
    shared.update(|state, now| {
        state.note_poll(took);
        match &epoch {
            Ok(epoch) => state.on_epoch(*epoch, sent, now),
            Err(error) => state.on_poll_error(error, sent),
        }
    });
    shared.read_wanted.notify_one();
    epoch.is_ok()
}

/// While somebody wants to know.
async fn poll_quorum(shared: &Shared) {
    let sent = Instant::now();
    if !shared.quorum().is_due(sent) {
        return;
    }
    let timeout = shared.settings.poll_timeout;
    let reply = shared.client.send(&MonCommand::QuorumStatus, timeout).await;
    shared.quorum().saw(reply, sent);
}

/// Waits until the next poll is due. Only a monitor that answers is asked faster.
async fn wait_for_next(shared: &Shared, sent: Instant, answered: bool) {
    let settings = &shared.settings;
    let hurried = Instant::now() + settings.hurried_interval;
    let regular = (sent + settings.poll_interval).max(hurried);
    loop {
        let next = if answered && shared.hurried() {
            hurried
        } else {
            regular
        };
        tokio::select! {
            () = sleep_until(next) => return,
            () = shared.poll_wanted.notified() => {}
        }
    }
}

/// The epoch in a reply to `osd stat`.
pub(super) fn epoch_of(reply: Result<Reply, ClientError>) -> Result<Epoch, PollError> {
    #[derive(Deserialize)]
    struct OsdStat {
        epoch: Epoch,
    }
    let reply = reply?;
    if reply.code < 0 {
        return Err(PollError::Refused {
            code: reply.code,
            text: reply.text,
        });
    }
    serde_json::from_slice::<OsdStat>(&reply.body)
        .map(|stat| stat.epoch)
        .map_err(|error| PollError::Garbled(error.to_string()))
}

/// Reads the map when there is reason to, until the monitor is stopped.
pub(super) async fn read(shared: Arc<Shared>) {
    let _alarm = Alarm(Arc::clone(&shared));
    let stop = shared.stop.clone();
    stop.run_until_cancelled(async {
        loop {
            wait_for_reason(&shared).await;
            shared.state().begin_read();
            let sent = Instant::now();
            let outcome = match read_once(&shared).await {
                Ok(view) => ReadOutcome::View(Arc::new(view)),
                Err(outcome) => outcome,
            };
            if let ReadOutcome::Failed(error) = &outcome {
                tracing::debug!(%error, "the map was not read");
            }
            shared.update(|state, now| state.on_read(outcome, sent, now));
        }
    })
    .await;
}

async fn wait_for_reason(shared: &Shared) {
    loop {
        let subscribers = shared.published.receiver_count();
        let due = shared.state().next_read(subscribers, &shared.settings);
        match due {
            Some(due) if due <= Instant::now() => return,
            Some(due) => tokio::select! {
                () = sleep_until(due) => {}
                () = shared.read_wanted.notified() => {}
            },
            None => shared.read_wanted.notified().await,
        }
    }
}

/// Reads the map, with the CRUSH map in it, as Ceph encodes it; as JSON only where that cannot
/// be decoded.
async fn read_once(shared: &Shared) -> Result<ClusterView, ReadOutcome> {
    let map = body(shared, &MonCommand::OsdGetMap { epoch: None }).await?;
    let decoded = decode(move || osd_map::binary::decode(&map).map_err(|error| sentence(&error)));
    match decoded.await {
        Ok((osd, crush)) => {
            shared.state().by_json = None;
            Ok(ClusterView::new(osd, crush))
        }
        Err(error) => by_json(shared, error).await,
    }
}

/// The way that is left, which costs the monitors of a large cluster dear. The CRUSH map is read
/// last: it may be newer than the OSD map by a change made in between, never older. That change
/// moves the epoch, so it is read again soon.
async fn by_json(shared: &Shared, error: String) -> Result<ClusterView, ReadOutcome> {
    if shared.state().by_json.as_ref() != Some(&error) {
        tracing::warn!(
            fsid = %shared.client.fsid(),
            %error,
            "the encoded OSD map cannot be decoded; it is read as JSON, which costs the monitors more"
        );
    }
    let osd = body(shared, &MonCommand::OsdDump).await?;
    let crush = body(shared, &MonCommand::CrushDump).await?;
    let decoded = decode(move || {
        let osd = osd_map::json::decode(&osd).map_err(|error| sentence(&error))?;
        let crush = crush_map::json::decode(&crush)
            .map_err(|error| format!("osd crush dump is not valid JSON: {error}"))?;
        Ok(ClusterView::new(osd, crush))
    })
    .await;
    let decoded = decoded.map_err(|also| ReadOutcome::Undecodable(format!("{error}; {also}")));
    shared.state().by_json = Some(error);
    decoded
}

/// Megabytes: not on the threads that serve everybody.
async fn decode<T: Send + 'static>(
    decode: impl FnOnce() -> Result<T, String> + Send + 'static,
) -> Result<T, String> {
    let decoded = tokio::task::spawn_blocking(decode).await;
    decoded.unwrap_or_else(|error| Err(error.to_string()))
}

async fn body(shared: &Shared, command: &MonCommand) -> Result<Vec<u8>, ReadOutcome> {
    let reply = shared
        .client
        .send(command, shared.settings.read_timeout)
        .await
        .map_err(ReadOutcome::Failed)?;
    if reply.code < 0 {
        return Err(ReadOutcome::Refused(format!(
            "{} was refused with code {}: {}",
            command.prefix(),
            reply.code,
            reply.text
        )));
    }
    Ok(reply.body)
}

/// An error with its causes, in one line.
fn sentence(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use async_trait::async_trait;
    use tokio::time::timeout;
    use tokio_util::sync::CancellationToken;

    use crate::ceph::client::{ClientError, MonClient, Reply};
    use crate::ceph::command::MonCommand;
    use crate::ceph::contents::Contents;
    use crate::ceph::osd_map::{OsdMap, Pool};
    use crate::ceph::types::Fsid;
    use crate::monitor::{ClusterMonitor, MonitorSettings};

    #[derive(Debug)]
    struct Panicking(Fsid);

    #[async_trait]
    impl MonClient for Panicking {
        fn fsid(&self) -> &Fsid {
            &self.0
        }

        async fn send(&self, _: &MonCommand, _: Duration) -> Result<Reply, ClientError> {
            panic!("on purpose")
        }

        async fn send_alone(&self, _: &MonCommand, _: Duration) -> Result<Reply, ClientError> {
            panic!("on purpose")
        }

        async fn contents(&self, _: &Pool, _: &OsdMap, _: Duration) -> Contents {
            panic!("on purpose")
        }
    }

    /// Whoever needs the views learns that there are no more.
    #[tokio::test]
    async fn a_panic_is_told() {
        let client = std::sync::Arc::new(Panicking(Fsid::new("f")));
        let stop = CancellationToken::new();
        let monitor = ClusterMonitor::start(client, MonitorSettings::default(), stop.clone());
        let told = timeout(Duration::from_secs(10), monitor.broken()).await;
        assert!(told.is_ok());
        stop.cancel();
    }
}
