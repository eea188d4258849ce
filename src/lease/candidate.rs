//! What one replica does about the lease next. Pure: time comes in, as what a clock of this process shows that only
//! goes forward; no time of another machine is ever compared with it.

use std::time::Duration;

/// A time of this process: how long after some moment of its own.
pub type Moment = Duration;

/// How long things take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    duration: Duration,
    renew_deadline: Duration,
    retry: Duration,
}

impl Default for Timing {
    /// As Kubernetes' own controllers have it: 15 s, 10 s and 2 s.
    fn default() -> Self {
        Self {
            duration: Duration::from_secs(15),
            renew_deadline: Duration::from_secs(10),
            retry: Duration::from_secs(2),
        }
    }
}

impl Timing {
    /// For how long the others wait, after how long without a renewal the holder acts no more, and how often it renews.
    ///
    /// # Errors
    ///
    /// Says what does not fit together: the holder has to stop before another may begin, and one renewal may fail.
    pub fn new(
        duration: Duration,
        renew_deadline: Duration,
        retry: Duration,
    ) -> Result<Self, String> {
        let whole = duration.subsec_nanos() == 0 && i32::try_from(duration.as_secs()).is_ok();
        if !whole || duration.is_zero() {
            return Err("the lease duration must be whole seconds, at least one".to_owned());
        }
        if renew_deadline >= duration {
            return Err(format!(
                "the renew deadline ({} s) must be shorter than the lease duration ({} s), so that no two replicas act \
                 at the same time",
                renew_deadline.as_secs(),
                duration.as_secs()
            ));
        }
        if retry.is_zero() || retry * 2 > renew_deadline {
            return Err(format!(
                "the retry period ({} s) must be more than nothing and at most half of the renew deadline ({} s), so \
                 that one renewal may fail",
                retry.as_secs(),
                renew_deadline.as_secs()
            ));
        }
        Ok(Self {
            duration,
            renew_deadline,
            retry,
        })
    }

    /// How long one call to the API server may take: two fit before the deadline.
    pub fn call_limit(&self) -> Duration {
        self.renew_deadline / 2
    }
}

/// The lease as the API server has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// Its resourceVersion, another one with each write.
    pub version: String,
    /// Who holds it; nobody when empty.
    pub holder: String,
    /// For how long without a renewal, in seconds, as the holder said.
    pub seconds: Option<u32>,
    /// How often it changed hands.
    pub transitions: i32,
}

/// A lease to be written, over the version that was seen last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    /// Who holds it then.
    pub holder: String,
    /// For how long without a renewal.
    pub seconds: u32,
    /// How often it will have changed hands.
    pub transitions: i32,
    /// Whether it changes hands with this.
    pub changes_hands: bool,
}

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Read the lease.
    Look,
    /// Write it as ours.
    Acquire(Draft),
    /// Write it as ours still.
    Renew(Draft),
    /// Nothing, for so long.
    Wait(Duration),
    /// It is not surely ours any more: act no more.
    Lost(Loss),
    /// Write it as nobody's, once, and end.
    Release(Draft),
    /// End: there is nothing to release.
    Leave,
}

/// Why the lease is not surely ours any more.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Loss {
    /// It could not be renewed in time.
    #[error("it could not be renewed within {} s", .0.as_secs_f32())]
    Expired(Duration),
    /// Somebody else has it.
    #[error("{0} holds it now")]
    Taken(String),
    /// Somebody let go of it for us.
    #[error("somebody cleared its holder")]
    Cleared,
    /// Somebody deleted it.
    #[error("somebody deleted it")]
    Deleted,
}

/// A replica that wants the lease, or holds it.
#[derive(Clone, Debug)]
pub struct Candidate {
    me: String,
    timing: Timing,
    /// What was seen last, `None` inside when there was no lease, and since when it has been like this.
    seen: Option<(Option<Record>, Moment)>,
    /// What was seen is not what is there any more.
    outdated: bool,
    /// Whether somebody else was seen with it.
    contested: bool,
    /// When the next call is due.
    due: Moment,
    /// Until when it is surely ours.
    held_until: Option<Moment>,
}

impl Candidate {
    /// One that has seen nothing yet. No other replica has its name, nor has an earlier process of this one.
    pub const fn new(me: String, timing: Timing) -> Self {
        Self {
            me,
            timing,
            seen: None,
            outdated: true,
            contested: false,
            due: Duration::ZERO,
            held_until: None,
        }
    }

    /// Until when the lease is surely ours; `None` when it never was.
    pub const fn held_until(&self) -> Option<Moment> {
        self.held_until
    }

    /// The version that was seen last: a write goes over this one, or makes the lease where there was none.
    pub fn version(&self) -> Option<String> {
        let (record, _) = self.seen.as_ref()?;
        record.as_ref().map(|record| record.version.clone())
    }

    /// Who held it when it was seen last.
    pub fn holder(&self) -> Option<&str> {
        let holder = &self.seen.as_ref()?.0.as_ref()?.holder;
        (!holder.is_empty()).then_some(holder.as_str())
    }

    /// The lease was read: another version than before has been there only from now on, whatever times stand in it.
    pub fn saw(&mut self, now: Moment, found: Option<Record>) {
        let version = |record: &Option<Record>| record.as_ref().map(|found| found.version.clone());
        let since = match &self.seen {
            Some((before, since)) if version(before) == version(&found) => *since,
            _ => now,
        };
        self.contested |= found
            .as_ref()
            .is_some_and(|found| !found.holder.is_empty() && found.holder != self.me);
        self.seen = Some((found, since));
        self.outdated = false;
        // A holder that looks has missed a renewal.
        self.due = match self.held_until {
            Some(_) => now,
            None => now + self.timing.retry,
        };
    }

    /// The lease was written as ours by a call that began at `began`. Nobody saw it earlier than that, so nobody takes
    /// it before the lease duration after that has gone; we stop at the renew deadline.
    pub fn wrote(&mut self, began: Moment, written: Record) {
        self.seen = Some((Some(written), began));
        self.outdated = false;
        self.due = began + self.timing.retry;
        self.held_until = Some(began + self.timing.renew_deadline);
    }

    /// A write was refused, since somebody else wrote first: look at once.
    pub const fn conflicted(&mut self) {
        self.outdated = true;
        self.due = Duration::ZERO;
    }

    /// A call failed, or was not answered: a write may have been executed, so look before the next one.
    pub fn failed(&mut self, now: Moment) {
        self.outdated = true;
        self.due = now + self.timing.retry;
    }

    /// What to do next. `leaving` when the replica has ended all for which it needs the lease.
    pub fn decide(&self, now: Moment, leaving: bool) -> Action {
        match self.held_until.map(|until| (until, self.loss(now, until))) {
            None | Some((_, Some(_))) if leaving => Action::Leave,
            Some((_, None)) if leaving => Action::Release(self.draft("", 1)),
            Some((_, Some(loss))) => Action::Lost(loss),
            _ if now < self.due && self.takeable().is_none_or(|from| now < from) => {
                let until = self.held_until.into_iter().chain(self.takeable());
                let next = until.fold(self.due, Duration::min);
                Action::Wait(next.saturating_sub(now))
            }
            _ if self.outdated => Action::Look,
            Some(_) => Action::Renew(self.ours()),
            None if self.takeable().is_some_and(|from| now >= from) => Action::Acquire(self.ours()),
            None => Action::Look,
        }
    }

    /// From when on we may take it; `None` while it is ours, or while it is not known who has it.
    fn takeable(&self) -> Option<Moment> {
        let (record, since) = self.seen.as_ref()?;
        if self.outdated || self.held_until.is_some() {
            return None;
        }
        let own = self.timing.duration;
        Some(match record {
            // One that was deleted may still be held by somebody who does not know yet.
            None if self.contested => *since + own,
            None => *since,
            Some(found) if found.holder.is_empty() || found.holder == self.me => *since,
            Some(found) => {
                let said = found.seconds.map(|said| Duration::from_secs(said.into()));
                *since + said.unwrap_or(own)
            }
        })
    }

    fn loss(&self, now: Moment, until: Moment) -> Option<Loss> {
        if now >= until {
            return Some(Loss::Expired(self.timing.renew_deadline));
        }
        match self.seen.as_ref().and_then(|(record, _)| record.as_ref()) {
            Some(record) if record.holder == self.me => None,
            Some(record) if record.holder.is_empty() => Some(Loss::Cleared),
            Some(record) => Some(Loss::Taken(record.holder.clone())),
            None => Some(Loss::Deleted),
        }
    }

    fn ours(&self) -> Draft {
        let seconds = u32::try_from(self.timing.duration.as_secs()).unwrap_or(u32::MAX);
        self.draft(&self.me, seconds)
    }

    fn draft(&self, holder: &str, seconds: u32) -> Draft {
        let before = self.seen.as_ref().and_then(|(record, _)| record.as_ref());
        // As client-go counts: the first holder is no transition, and letting go is none.
        let changes_hands = before.is_none_or(|before| before.holder != holder);
        let transitions = before.map_or(0, |before| before.transitions);
        let counts = before.is_some() && changes_hands && !holder.is_empty();
        Draft {
            holder: holder.to_owned(),
            seconds,
            transitions: transitions.saturating_add(counts.into()),
            changes_hands,
        }
    }
}
