//! Tells what a session's monitor sees to those who have to act on it.

use std::mem;
use std::sync::Arc;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::controller::registry::nudges::Nudges;
use crate::controller::registry::{Change, Registry, Session};
use crate::monitor::{ClusterMonitor, Contact, Snapshot};

/// One who passes on what a monitor sees.
pub(super) struct Follower {
    name: String,
    closed: CancellationToken,
    monitor: ClusterMonitor,
    published: watch::Receiver<Snapshot>,
    known: Snapshot,
}

impl Follower {
    /// Takes note of what is known now, so that what comes while the session is being announced is not lost.
    pub(super) fn new(session: &Session) -> Self {
        let mut published = session.monitor.subscribe();
        let known = published.borrow_and_update().clone();
        Self {
            name: session.name.clone(),
            closed: session.closed.clone(),
            monitor: session.monitor.clone(),
            published,
            known,
        }
    }

    /// Passes on each new view and each change of contact, until the session is closed. False when the monitor ended
    /// before that: its views would stay as they are for ever.
    pub(super) async fn follow(self, registry: Registry, urgent: Arc<Nudges>) -> bool {
        let (closed, monitor) = (self.closed.clone(), self.monitor.clone());
        tokio::select! {
            biased;
            () = closed.cancelled() => true,
            () = monitor.broken() => false,
            () = self.pass_on(&registry, &urgent) => false,
        }
    }

    async fn pass_on(self, registry: &Registry, urgent: &Nudges) {
        let Self {
            name,
            closed: _,
            monitor: _,
            mut published,
            mut known,
        } = self;
        let name = &name;
        while published.changed().await.is_ok() {
            let next = published.borrow_and_update().clone();
            if let Some(view) = &next.view
                && known
                    .view
                    .as_ref()
                    .is_none_or(|old| !Arc::ptr_eq(old, view))
            {
                if known.view.is_none() {
                    urgent.add(name);
                } else {
                    registry.nudge(name);
                }
                let (old, new) = (known.view.take(), Arc::clone(view));
                registry.announce(name.clone(), Change::View { old, new });
            }
            if kind(&known.contact) != kind(&next.contact) {
                tracing::info!(connection = name, contact = ?next.contact, "contact changed");
                urgent.add(name);
                registry.announce(name.clone(), Change::Contact(next.contact.clone()));
            }
            known = next;
        }
    }
}

/// Which contact, whatever is in it: the epoch in one of them moves.
fn kind(contact: &Contact) -> mem::Discriminant<Contact> {
    mem::discriminant(contact)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::sync::broadcast::Receiver;
    use tokio::time::timeout;

    use super::*;
    use crate::ceph::types::Epoch;
    use crate::controller::registry::RegistryEvent;
    use crate::controller::registry::tests::session;

    async fn next(events: &mut Receiver<RegistryEvent>) -> Change {
        let event = timeout(Duration::from_secs(60), events.recv()).await;
        event.expect("an event").expect("an open registry").change
    }

    /// Each view comes with the one before it, contact when it is lost and when it is back, and nothing after the end.
    #[tokio::test(start_paused = true)]
    async fn passes_on_views_and_contact() {
        let (client, session) = session(1);
        let (registry, urgent) = (Registry::new(), Arc::new(Nudges::default()));
        let mut events = registry.subscribe();
        let follower = Follower::new(&session);
        let following = tokio::spawn(follower.follow(registry.clone(), urgent));

        let mut before: Option<Epoch> = None;
        for epoch in [Epoch(1), Epoch(2), Epoch(3)] {
            loop {
                match next(&mut events).await {
                    Change::View { old, new } => {
                        assert_eq!(old.map(|view| view.epoch()), before);
                        assert_eq!(new.epoch(), epoch);
                        break;
                    }
                    Change::Contact(contact) => assert_eq!(contact, Contact::Connected),
                    change @ (Change::Appeared | Change::Vanished | Change::SpecChanged) => {
                        panic!("{change:?}")
                    }
                }
            }
            before = Some(epoch);
            client.cluster().edit_map(|_| {});
        }
        client.set_unreachable(true);
        while !matches!(
            next(&mut events).await,
            Change::Contact(Contact::Lost { .. })
        ) {}
        client.set_unreachable(false);
        while !matches!(next(&mut events).await, Change::Contact(Contact::Connected)) {}

        session.closed.cancel();
        assert!(following.await.expect("the follower"));
        while events.try_recv().is_ok() {}
        client.cluster().edit_map(|_| {});
        tokio::time::sleep(Duration::from_secs(10)).await;
        assert!(events.try_recv().is_err(), "nothing after the end");
    }
}
