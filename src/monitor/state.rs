//! What a monitor knows of its cluster, and what follows from each reply. No I/O, and the
//! time comes in as an argument.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::{Contact, MonitorSettings, NotUsable, PollError, Snapshot};
use crate::ceph::client::ClientError;
use crate::ceph::types::{Epoch, Fsid};
use crate::ceph::view::ClusterView;

/// So many polls are remembered.
const REMEMBERED_POLLS: usize = 32;
/// An epoch lower than one seen before is believed after this long: of several monitors one
/// may be behind for a moment, and a restored cluster stays behind.
const WENT_BACK_AFTER: Duration = Duration::from_secs(10);
/// A read that failed is not tried again sooner, whoever waits, nor later.
const RETRY_AFTER: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// What reading the map came to.
pub(super) enum ReadOutcome {
    /// A view.
    View(Arc<ClusterView>),
    /// The monitors gave a map that cannot be decoded; only another epoch can help.
    Undecodable(String),
    /// The monitors refused: a capability is missing.
    Refused(String),
    /// No answer. The polls tell whether contact is lost.
    Failed(ClientError),
}

#[derive(Debug)]
pub(super) struct State {
    expected: Fsid,
    view: Option<Arc<ClusterView>>,
    /// When a poll was sent whose answer was the view's epoch.
    confirmed_at: Option<Instant>,
    /// The newest answer.
    latest: Option<Epoch>,
    /// The highest epoch seen, and when.
    highest: Option<(Epoch, Instant)>,
    /// A lower epoch than the highest, and since when.
    behind: Option<(Epoch, Instant)>,
    lost: Option<(ClientError, Instant)>,
    unreadable: Option<String>,
    /// Why the map was last read as JSON, where it was.
    pub(super) by_json: Option<String>,
    other: Option<Fsid>,
    polls: VecDeque<Duration>,
    /// Epochs that are waited for, and by how many.
    awaited: BTreeMap<Epoch, usize>,
    /// Somebody asked for a view and got none.
    asked: bool,
    /// The epoch that the last read was about, whatever it came to.
    read: Option<Epoch>,
    /// The last read is to be tried again at the same epoch.
    retry: bool,
    /// When the last read ended, and what the next one is expected to take: the shorter of
    /// the last two, since one may have been slow for a reason of its own.
    last_read: Option<(Instant, Duration)>,
    /// How long the last read took.
    last_took: Option<Duration>,
}

impl State {
    pub(super) fn new(expected: Fsid) -> Self {
        Self {
            expected,
            view: None,
            confirmed_at: None,
            latest: None,
            highest: None,
            behind: None,
            lost: None,
            unreadable: None,
            by_json: None,
            other: None,
            polls: VecDeque::with_capacity(REMEMBERED_POLLS),
            awaited: BTreeMap::new(),
            asked: false,
            read: None,
            retry: false,
            last_read: None,
            last_took: None,
        }
    }

    /// Remembers how long a poll took.
    pub(super) fn note_poll(&mut self, took: Duration) {
        if self.polls.len() == REMEMBERED_POLLS {
            self.polls.pop_front();
        }
        self.polls.push_back(took);
    }

    pub(super) fn polls(&self) -> Vec<Duration> {
        self.polls.iter().copied().collect()
    }

    /// An answer to `osd stat` that was sent at `sent` and came at `now`.
    pub(super) fn on_epoch(&mut self, epoch: Epoch, sent: Instant, now: Instant) {
        self.lost = None;
        match self.highest {
            Some((highest, seen_at)) if epoch < highest => {
                // Sent before the higher one was known it is only a late answer.
                if sent >= seen_at {
                    let since = self.behind.map_or(now, |(_, since)| since);
                    self.behind = Some((epoch, since));
                    self.latest = Some(epoch);
                }
            }
            _ => {
                let seen_at = match self.highest {
                    Some((highest, seen_at)) if highest == epoch => seen_at,
                    _ => now,
                };
                self.highest = Some((epoch, seen_at));
                self.behind = None;
                self.latest = Some(epoch);
            }
        }
        if self.view.as_ref().is_some_and(|view| view.epoch() == epoch) {
            self.confirmed_at = self.confirmed_at.max(Some(sent));
        }
    }

    /// A poll that was not answered, or not with an epoch.
    pub(super) fn on_poll_error(&mut self, error: &PollError, sent: Instant) {
        match error {
            PollError::Client(error) => {
                let since = self.lost.as_ref().map_or(sent, |(_, since)| *since);
                let same = |(known, _): &(ClientError, Instant)| {
                    std::mem::discriminant(known) == std::mem::discriminant(error)
                };
                if !self.lost.as_ref().is_some_and(same) {
                    self.lost = Some((error.clone(), since));
                }
            }
            PollError::Refused { .. } | PollError::Garbled(_) => {
                self.lost = None;
                self.unreadable = Some(error.to_string());
                self.retry = true;
            }
        }
    }

    /// The end of a read of the map that began at `sent`.
    pub(super) fn on_read(&mut self, outcome: ReadOutcome, sent: Instant, now: Instant) {
        let took = now.saturating_duration_since(sent);
        self.last_read = Some((now, self.last_took.map_or(took, |before| before.min(took))));
        self.last_took = Some(took);
        self.retry = false;
        let (unreadable, read) = match outcome {
            ReadOutcome::View(view) => {
                let epoch = view.epoch();
                if *view.fsid() == self.expected {
                    if self.other.take().is_some() {
                        // The other cluster's epochs say nothing about this one.
                        self.highest = self.view.as_ref().map(|view| (view.epoch(), sent));
                        self.behind = None;
                    }
                    self.accept(view, sent, now);
                } else {
                    self.other = Some(view.fsid().clone());
                }
                (None, Some(epoch))
            }
            ReadOutcome::Undecodable(text) => (Some(text), self.latest),
            ReadOutcome::Refused(text) => {
                self.retry = true;
                (Some(text), self.latest)
            }
            ReadOutcome::Failed(_) => {
                self.retry = true;
                (self.unreadable.take(), self.read)
            }
        };
        self.unreadable = unreadable;
        self.read = read;
    }

    fn accept(&mut self, view: Arc<ClusterView>, sent: Instant, now: Instant) {
        let epoch = view.epoch();
        if self.view.as_ref().is_none_or(|known| known.epoch() < epoch) {
            self.view = Some(view);
            self.confirmed_at = None;
        }
        self.on_epoch(epoch, sent, now);
    }

    /// The newest answer of a monitor.
    pub(super) fn latest(&self) -> Option<Epoch> {
        self.latest
    }

    /// Somebody asked for a view: the map is worth a read.
    pub(super) fn ask(&mut self) {
        self.asked = true;
    }

    pub(super) fn await_epoch(&mut self, epoch: Epoch) {
        *self.awaited.entry(epoch).or_default() += 1;
    }

    pub(super) fn stop_awaiting(&mut self, epoch: Epoch) {
        if let Some(count) = self.awaited.get_mut(&epoch) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.awaited.remove(&epoch);
            }
        }
    }

    /// When the map should be read next; `None` while there is no reason to.
    pub(super) fn next_read(
        &self,
        subscribers: usize,
        settings: &MonitorSettings,
    ) -> Option<Instant> {
        let latest = self.latest?;
        let known = self.view.as_ref().map(|view| view.epoch());
        let moved = known != Some(latest) && self.read != Some(latest);
        let cares = subscribers > 0 || !self.awaited.is_empty() || self.asked;
        if self.lost.is_some() || !cares || !(moved || self.retry) {
            return None;
        }
        let Some((ended, took)) = self.last_read else {
            return self.highest.map(|(_, seen_at)| seen_at);
        };
        if self.retry {
            let (least, most) = RETRY_AFTER;
            return Some(
                ended
                    + took
                        .saturating_mul(settings.read_spacing)
                        .clamp(least, most),
            );
        }
        // A run waits for an epoch that is there: its cost comes second. The pause of one
        // read's length leaves the monitor half its time for others.
        let urgent = self
            .awaited
            .keys()
            .any(|awaited| *awaited <= latest && known.is_none_or(|known| known < *awaited));
        let spacing = if urgent || known.is_none() {
            1
        } else {
            settings.read_spacing
        };
        Some(ended + took.saturating_mul(spacing))
    }

    pub(super) fn begin_read(&mut self) {
        self.asked = false;
    }

    /// The view that reaches an awaited epoch. What this depends on wakes subscribers, who
    /// may be waiting for it.
    pub(super) fn reached(&self, epoch: Epoch, now: Instant) -> Option<Arc<ClusterView>> {
        if self.went_back(now).is_some() || self.other.is_some() {
            return None;
        }
        self.view.clone().filter(|view| view.epoch() >= epoch)
    }

    /// Why an awaited epoch did not come.
    pub(super) fn not_reached(&self, epoch: Epoch, now: Instant) -> NotUsable {
        self.hindrance(now).unwrap_or(NotUsable::TimedOut {
            awaited: epoch,
            seen: self.latest,
        })
    }

    /// The view, if it may be acted on.
    pub(super) fn usable(
        &self,
        now: Instant,
        max_age: Duration,
        floor: Epoch,
    ) -> Result<Arc<ClusterView>, NotUsable> {
        if let Some(hindrance) = self.hindrance(now) {
            return Err(hindrance);
        }
        let view = self.view.as_ref().ok_or(NotUsable::NoView)?;
        let age = self
            .confirmed_at
            .map_or(Duration::MAX, |at| now.saturating_duration_since(at));
        if view.epoch() < floor {
            return Err(match self.highest {
                // It has got there; only the map is not read yet.
                Some((highest, _)) if highest >= floor => NotUsable::Stale { age },
                _ => NotUsable::WentBack {
                    seen: view.epoch(),
                    floor,
                },
            });
        }
        if age > max_age || self.behind.is_some() {
            return Err(NotUsable::Stale { age });
        }
        Ok(Arc::clone(view))
    }

    fn hindrance(&self, now: Instant) -> Option<NotUsable> {
        if let Some(seen) = &self.other {
            return Some(NotUsable::OtherCluster {
                seen: seen.clone(),
                expected: self.expected.clone(),
            });
        }
        if let Some((seen, floor)) = self.went_back(now) {
            return Some(NotUsable::WentBack { seen, floor });
        }
        self.unreadable.clone().map(NotUsable::Unreadable)
    }

    /// The lower epoch and the highest, when it has been so for long enough.
    fn went_back(&self, now: Instant) -> Option<(Epoch, Epoch)> {
        let (seen, since) = self.behind?;
        let (had, _) = self.highest?;
        (now.saturating_duration_since(since) >= WENT_BACK_AFTER).then_some((seen, had))
    }

    /// All of it as others see it.
    pub(super) fn snapshot(&self, now: Instant) -> Snapshot {
        Snapshot {
            view: self.view.clone(),
            confirmed_at: self.confirmed_at,
            contact: self.contact(now),
        }
    }

    fn contact(&self, now: Instant) -> Contact {
        if let Some((error, since)) = &self.lost {
            return Contact::Lost {
                error: error.clone(),
                since: *since,
            };
        }
        if let Some(seen) = &self.other {
            return Contact::OtherCluster {
                seen: seen.clone(),
                expected: self.expected.clone(),
            };
        }
        if let Some((seen, had)) = self.went_back(now) {
            return Contact::WentBack { seen, had };
        }
        if let Some(error) = &self.unreadable {
            return Contact::MapUnreadable {
                error: error.clone(),
            };
        }
        match self.latest {
            Some(_) => Contact::Connected,
            None => Contact::Connecting,
        }
    }
}
