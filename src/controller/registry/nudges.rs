//! Names of objects that are to be looked at again, each kept once however often it is given.

use std::collections::BTreeSet;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::stream::{self, Stream, StreamExt};
use tokio::sync::Notify;

/// The names, and a bell.
#[derive(Debug, Default)]
pub(in crate::controller) struct Nudges {
    names: Mutex<BTreeSet<String>>,
    bell: Notify,
}

impl Nudges {
    /// Puts a name down.
    pub(in crate::controller) fn add(&self, name: &str) {
        self.names().insert(name.to_owned());
        self.bell.notify_one();
    }

    /// The names as they come. Those that come within `gather` of the first are given together,
    /// so that a thousand changes in a second make one look.
    pub(in crate::controller) fn stream(
        self: Arc<Self>,
        gather: Duration,
    ) -> impl Stream<Item = String> + Send + 'static {
        stream::unfold(self, move |nudges| async move {
            nudges.bell.notified().await;
            tokio::time::sleep(gather).await;
            let names = mem::take(&mut *nudges.names());
            Some((stream::iter(names), nudges))
        })
        .flatten()
    }

    fn names(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A name given often in a while comes once, and again when it is given again.
    #[tokio::test(start_paused = true)]
    async fn gathers() {
        let nudges = Arc::new(Nudges::default());
        let mut stream = Box::pin(Arc::clone(&nudges).stream(Duration::from_secs(1)));
        for name in ["b", "a", "b", "a"] {
            nudges.add(name);
        }
        assert_eq!(stream.next().await.as_deref(), Some("a"));
        assert_eq!(stream.next().await.as_deref(), Some("b"));
        nudges.add("b");
        assert_eq!(stream.next().await.as_deref(), Some("b"));
        let quiet = tokio::time::timeout(Duration::from_secs(60), stream.next()).await;
        assert!(quiet.is_err(), "nothing more");
    }
}
