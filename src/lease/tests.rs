//! What a replica decides, case by case and against others, with clocks that do not agree.

use super::candidate::*;
use super::*;

use self::Step::{Conflict, Failed, Saw, Wrote};

const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[expect(
    clippy::unnecessary_wraps,
    reason = "what a look finds is none as well"
)]
fn of(holder: &str, version: u32) -> Option<Record> {
    Some(Record {
        version: version.to_string(),
        holder: holder.to_owned(),
        seconds: Some(15),
        transitions: 3,
    })
}

fn draft(holder: &str, transitions: i32, changes_hands: bool) -> Draft {
    Draft {
        holder: holder.to_owned(),
        seconds: if holder.is_empty() { 1 } else { 15 },
        transitions,
        changes_hands,
    }
}

/// What happened to a candidate, in order.
#[derive(Clone)]
enum Step {
    Saw(u64, Option<Record>),
    Wrote(u64),
    Conflict,
    Failed(u64),
}

fn after(steps: &[Step]) -> Candidate {
    let mut candidate = Candidate::new("me".into(), Timing::default());
    for step in steps.iter().cloned() {
        match step {
            Step::Saw(now, found) => candidate.saw(secs(now), found),
            Step::Wrote(began) => candidate.wrote(secs(began), of("me", 9).unwrap()),
            Step::Conflict => candidate.conflicted(),
            Step::Failed(now) => candidate.failed(secs(now)),
        }
    }
    candidate
}

/// After these steps, at this time, this is done.
fn done(what: &str, steps: &[Step], now: u64, action: &Action) {
    assert_eq!(after(steps).decide(secs(now), false), *action, "{what}");
}

/// One that has not got it.
#[test]
fn as_a_candidate() {
    use Action::{Acquire, Look, Wait};
    let taken = Acquire(draft("me", 4, true));
    let first = Acquire(draft("me", 0, true));
    let a = |now, version| Saw(now, of("a", version));
    done("nothing is known", &[], 0, &Look);
    done("and nobody answers", &[Failed(0)], 1, &Wait(secs(1)));
    done("again, then", &[Failed(0)], 2, &Look);
    done("there is none", &[Saw(0, None)], 0, &first);
    done("another was first", &[Saw(0, None), Conflict], 0, &Look);
    done("it is nobody's", &[Saw(0, of("", 1))], 0, &taken);
    done("another has it", &[a(0, 1)], 0, &Wait(secs(2)));
    done("look again", &[a(0, 1)], 2, &Look);
    done("just before", &[a(0, 1), a(14, 1)], 14, &Wait(secs(1)));
    done("it did not move", &[a(0, 1), a(14, 1)], 15, &taken);
    done("it moved", &[a(0, 1), a(14, 2)], 15, &Wait(secs(1)));
    done("and stopped", &[a(0, 1), a(14, 2), a(28, 2)], 29, &taken);
    done("no answer is no proof", &[a(0, 1), Failed(20)], 22, &Look);
    let arrived = [Saw(0, None), Failed(5), Saw(7, of("me", 1))];
    let again = Acquire(draft("me", 3, false));
    done("our write arrived after all", &arrived, 7, &again);
    // Whoever had it may not know yet.
    let deleted = [a(0, 1), Saw(2, None)];
    done("it was deleted", &deleted, 2, &Wait(secs(2)));
    done(
        "and stays so",
        &[a(0, 1), Saw(2, None), Saw(16, None)],
        17,
        &first,
    );
}

/// A record says for how long it holds: its holder may have other settings than we.
#[test]
fn the_holders_own_duration() {
    for (seconds, expires) in [(Some(40), 40), (Some(5), 5), (None, 15)] {
        let mut record = of("a", 1);
        if let Some(record) = &mut record {
            record.seconds = seconds;
        }
        let candidate = after(&[Saw(0, record.clone()), Saw(expires - 1, record)]);
        let before = candidate.decide(secs(expires - 1), false);
        assert_eq!(before, Action::Wait(secs(1)), "{seconds:?}");
        let then = candidate.decide(secs(expires), false);
        assert_eq!(then, Action::Acquire(draft("me", 4, true)), "{seconds:?}");
    }
}

/// The one that has it.
#[test]
fn as_the_holder() {
    use Action::{Look, Lost, Renew, Wait};
    let renewed = Renew(draft("me", 3, false));
    let late = Lost(Loss::Expired(secs(10)));
    let me = |now| Saw(now, of("me", 10));
    done("it is ours", &[Wrote(0)], 1, &Wait(secs(1)));
    done("for longer", &[Wrote(0)], 2, &renewed);
    done("no answer", &[Wrote(0), Failed(5)], 6, &Wait(secs(1)));
    done("look then", &[Wrote(0), Failed(5)], 7, &Look);
    done("it had arrived", &[Wrote(0), Failed(5), me(7)], 7, &renewed);
    done(
        "the end comes first",
        &[Wrote(0), Failed(9)],
        9,
        &Wait(secs(1)),
    );
    done("too late", &[Wrote(0), Failed(9)], 10, &late);
    done(
        "a look is no renewal",
        &[Wrote(0), Failed(5), me(9)],
        10,
        &late,
    );
    done("somebody wrote it", &[Wrote(0), Conflict], 1, &Look);
    done("a label, say", &[Wrote(0), Conflict, me(1)], 1, &renewed);
    for (holder, loss) in [("b", Loss::Taken("b".into())), ("", Loss::Cleared)] {
        let steps = [Wrote(0), Conflict, Saw(1, of(holder, 10))];
        done("it is not ours", &steps, 1, &Lost(loss));
    }
    let deleted = [Wrote(0), Failed(1), Saw(3, None)];
    done("it is not there", &deleted, 3, &Lost(Loss::Deleted));
}

/// What is ours is let go of, and nothing else is.
#[test]
fn leaving() {
    let ends = |what: &str, steps: &[Step], now, action: Action| {
        assert_eq!(after(steps).decide(secs(now), true), action, "{what}");
    };
    let ours = || Action::Release(draft("", 3, true));
    ends("never had it", &[], 0, Action::Leave);
    let other = [Saw(0, of("a", 1))];
    ends("another has it", &other, 1, Action::Leave);
    ends("it is ours", &[Wrote(0)], 1, ours());
    ends("perhaps it moved", &[Wrote(0), Failed(5)], 6, ours());
    let taken = [Wrote(0), Conflict, Saw(2, of("b", 10))];
    ends("another took it", &taken, 2, Action::Leave);
    ends("it has expired", &[Wrote(0)], 10, Action::Leave);
}

/// Times that would let two act at once, or one without a second try, are refused.
#[test]
fn timings() {
    let of = |a, b, c| Timing::new(secs(a), secs(b), secs(c));
    assert_eq!(of(15, 10, 2), Ok(Timing::default()));
    assert!(of(3, 2, 1).is_ok());
    for (duration, deadline, retry, why) in [
        (10, 10, 2, "shorter than the lease duration"),
        (0, 0, 0, "whole seconds"),
        (15, 10, 6, "one renewal may fail"),
        (15, 10, 0, "more than nothing"),
    ] {
        let error = of(duration, deadline, retry).unwrap_err();
        assert!(error.contains(why), "{error}");
    }
    assert!(Timing::new(Duration::from_millis(2500), secs(2), secs(1)).is_err());
}

/// `SplitMix64`.
struct Random(u64);

impl Random {
    fn up_to(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (word ^ (word >> 31)) % limit
    }
}

/// A replica with a clock of its own, and a call of it that is under way.
struct Replica {
    candidate: Candidate,
    ahead: Duration,
    rate: f64,
    /// When its answer comes, when it began by the replica's own clock, and the answer.
    call: Option<(Duration, Moment, Answer)>,
    stands_until: Duration,
}

enum Answer {
    Read(Option<Record>),
    Written(Record),
    Conflict,
    None,
}

impl Replica {
    fn new(name: u32, random: &mut Random) -> Self {
        Self {
            candidate: Candidate::new(format!("r{name}"), Timing::default()),
            ahead: secs(random.up_to(100_000)),
            rate: if random.up_to(2) == 0 { 0.9 } else { 1.1 },
            call: None,
            stands_until: Duration::ZERO,
        }
    }

    fn clock(&self, now: Duration) -> Moment {
        self.ahead + now.mul_f64(self.rate)
    }

    fn holds(&self, now: Duration) -> bool {
        let until = self.candidate.held_until();
        until.is_some_and(|until| self.clock(now) < until)
    }

    fn hears(&mut self, now: Moment, began: Moment, answer: Answer) {
        match answer {
            Answer::Read(found) => self.candidate.saw(now, found),
            Answer::Written(record) => self.candidate.wrote(began, record),
            Answer::Conflict => self.candidate.conflicted(),
            Answer::None => self.candidate.failed(now),
        }
    }
}

/// An API server that loses requests and answers.
#[derive(Default)]
struct Server {
    lease: Option<Record>,
    writes: u32,
    hands: u32,
}

impl Server {
    fn answer(&mut self, draft: Option<Draft>, over: Option<&str>, random: &mut Random) -> Answer {
        let fate = random.up_to(20);
        let version = self.lease.as_ref().map(|lease| lease.version.clone());
        match draft {
            _ if fate == 0 => Answer::None,
            None => Answer::Read(self.lease.clone()),
            Some(_) if over != version.as_deref() => Answer::Conflict,
            Some(draft) => {
                self.writes += 1;
                self.hands += u32::from(draft.changes_hands);
                let lease = Record {
                    version: self.writes.to_string(),
                    holder: draft.holder,
                    seconds: Some(draft.seconds),
                    transitions: draft.transitions,
                };
                self.lease = Some(lease.clone());
                // Executed, whether its answer comes or not.
                if fate == 1 {
                    Answer::None
                } else {
                    Answer::Written(lease)
                }
            }
        }
    }
}

/// Three replicas whose clocks differ by hours and go wrong by a tenth, an API server that loses requests and answers,
/// processes that stand still for longer than the lease: no two ever hold it at once, and one mostly does.
#[test]
fn never_two_at_once() {
    let step = Duration::from_millis(100);
    let (mut held, mut steps, mut hands) = (0_u32, 0_u32, 0);
    for seed in 0..40 {
        let mut random = Random(seed);
        let mut server = Server::default();
        let mut names = 3;
        let mut replicas: Vec<Replica> = (0..names)
            .map(|name| Replica::new(name, &mut random))
            .collect();
        let mut now = Duration::ZERO;
        while now < secs(1_000) {
            now += step;
            for replica in &mut replicas {
                if now < replica.stands_until {
                    continue;
                }
                if random.up_to(2_000) == 0 {
                    // With or without a call under way.
                    replica.stands_until = now + secs(random.up_to(40));
                    continue;
                }
                let clock = replica.clock(now);
                match replica.call.take() {
                    Some(call) if now < call.0 => {
                        replica.call = Some(call);
                        continue;
                    }
                    Some((_, began, answer)) => replica.hears(clock, began, answer),
                    None => {}
                }
                let draft = match replica.candidate.decide(clock, false) {
                    Action::Lost(_) => {
                        // The process ends, and another comes.
                        names += 1;
                        *replica = Replica::new(names, &mut random);
                        continue;
                    }
                    Action::Look => None,
                    Action::Acquire(draft) | Action::Renew(draft) => Some(draft),
                    Action::Wait(_) => continue,
                    Action::Release(_) | Action::Leave => unreachable!("nobody leaves"),
                };
                let answer =
                    server.answer(draft, replica.candidate.version().as_deref(), &mut random);
                let slow = random.up_to(3) == 0;
                let takes = if slow { random.up_to(4_000) } else { 100 };
                let due = now + Duration::from_millis(takes);
                replica.call = Some((due, clock, answer));
            }
            let holding = replicas.iter().filter(|replica| replica.holds(now)).count();
            assert!(holding <= 1, "seed {seed}, at {now:?}");
            held += u32::from(holding == 1);
            steps += 1;
        }
        hands += server.hands;
    }
    assert!(held * 10 > steps * 7, "held for {held} of {steps}");
    assert!(hands > 100, "it changed hands {hands} times");
}

/// It goes by the clock alone: what was held is not held any more when its time has come, noticed or not.
#[test]
fn holding() {
    let candidate = Leadership::candidate();
    assert!(!candidate.holds());
    candidate.hold(candidate.now() + secs(60));
    assert!(candidate.holds());
    candidate.hold(candidate.now());
    assert!(!candidate.holds());
    candidate.hold(candidate.now() + secs(60));
    candidate.give_up();
    assert!(!candidate.holds());
    assert!(Leadership::alone().holds());
    assert_ne!(candidate.identity(), Leadership::candidate().identity());
    assert_eq!(Leadership::alone().identity(), None);
}
