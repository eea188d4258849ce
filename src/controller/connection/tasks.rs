//! The tasks beside the looks at connections. One that panics ends all of it: without it the connections would look
//! alive, and views, or keys, would stay as they are for ever.

use std::time::Duration;

use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The tasks beside the looks. Clones share them.
#[derive(Clone, Debug, Default)]
pub(super) struct Tasks {
    tracker: TaskTracker,
    broken: CancellationToken,
}

/// Tells that the task it is in has panicked.
struct Alarm(CancellationToken);

impl Drop for Alarm {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.cancel();
        }
    }
}

impl Tasks {
    /// Begins a task.
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let alarm = Alarm(self.broken.clone());
        self.tracker.spawn(async move {
            let _alarm = alarm;
            task.await;
        });
    }

    /// Something that a task needs has ended.
    pub(super) fn give_up(&self) {
        self.broken.cancel();
    }

    /// Waits until one has panicked or was given up.
    pub(super) async fn broken(&self) {
        self.broken.cancelled().await;
    }

    /// Waits until all have ended, at most so long; whether they have.
    pub(super) async fn ended(&self, limit: Duration) -> bool {
        self.tracker.close();
        timeout(limit, self.tracker.wait()).await.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The end of a task is nothing, a panic is; and all are waited for, whatever they ended with.
    #[tokio::test]
    async fn a_panic_is_told() {
        let tasks = Tasks::default();
        tasks.spawn(async {});
        assert!(tasks.ended(Duration::from_secs(10)).await);
        assert!(!tasks.broken.is_cancelled());
        tasks.spawn(async { panic!("on purpose") });
        let told = timeout(Duration::from_secs(10), tasks.broken()).await;
        assert!(told.is_ok());
        assert!(tasks.ended(Duration::from_secs(10)).await);
    }
}
