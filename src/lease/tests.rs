//! What a replica decides, case by case and against others, with clocks that do not agree.

use super::candidate::*;
use super::*;

const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

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

/// Each line: what happened, the time now, and what is done; leaving is a table of its own.
#[test]
fn decisions() {
    use Action::{Acquire, Look, Lost, Renew, Wait};
    use Step::{Conflict, Failed, Saw, Wrote};
    let taken = || Acquire(draft("me", 4, true));
    let renewed = || Renew(draft("me", 3, false));
    let table: Vec<(&str, Vec<Step>, u64, Action)> = vec![
        ("nothing is known", vec![], 0, Look),
        ("and nobody answers", vec![Failed(0)], 1, Wait(secs(1))),
        ("again, then", vec![Failed(0)], 2, Look),
        (
            "there is none",
            vec![Saw(0, None)],
            0,
            Acquire(draft("me", 0, true)),
        ),
        ("another was first", vec![Saw(0, None), Conflict], 0, Look),
        ("it is nobody's", vec![Saw(0, of("", 1))], 0, taken()),
        ("another has it", vec![Saw(0, of("a", 1))], 0, Wait(secs(2))),
        ("look again", vec![Saw(0, of("a", 1))], 2, Look),
        (
            "it did not move, not yet",
            vec![Saw(0, of("a", 1)), Saw(14, of("a", 1))],
            14,
            Wait(secs(1)),
        ),
        (
            "it did not move",
            vec![Saw(0, of("a", 1)), Saw(14, of("a", 1))],
            15,
            taken(),
        ),
        (
            "it moved",
            vec![Saw(0, of("a", 1)), Saw(14, of("a", 2))],
            15,
            Wait(secs(1)),
        ),
        (
            "it moved, long ago",
            vec![Saw(0, of("a", 1)), Saw(14, of("a", 2)), Saw(28, of("a", 2))],
            29,
            taken(),
        ),
        (
            "silence is no proof",
            vec![Saw(0, of("a", 1)), Failed(20)],
            22,
            Look,
        ),
        (
            "our write arrived after all",
            vec![Saw(0, None), Failed(5), Saw(7, of("me", 1))],
            7,
            Acquire(draft("me", 3, false)),
        ),
        (
            "another's was deleted",
            vec![Saw(0, of("a", 1)), Saw(2, None)],
            2,
            Wait(secs(2)),
        ),
        (
            "and stays so",
            vec![Saw(0, of("a", 1)), Saw(2, None), Saw(16, None)],
            17,
            Acquire(draft("me", 0, true)),
        ),
        ("it is ours", vec![Wrote(0)], 1, Wait(secs(1))),
        ("for longer", vec![Wrote(0)], 2, renewed()),
        ("no answer", vec![Wrote(0), Failed(5)], 6, Wait(secs(1))),
        ("no answer, look", vec![Wrote(0), Failed(5)], 7, Look),
        (
            "it had arrived",
            vec![Wrote(0), Failed(5), Saw(7, of("me", 10))],
            7,
            renewed(),
        ),
        (
            "it ends before the next try",
            vec![Wrote(0), Failed(9)],
            9,
            Wait(secs(1)),
        ),
        (
            "too late",
            vec![Wrote(0), Failed(9)],
            10,
            Lost(Loss::Expired(secs(10))),
        ),
        (
            "a look does not renew",
            vec![Wrote(0), Failed(5), Saw(9, of("me", 10))],
            10,
            Lost(Loss::Expired(secs(10))),
        ),
        ("somebody wrote it", vec![Wrote(0), Conflict], 2, Look),
        (
            "a label, say",
            vec![Wrote(0), Conflict, Saw(2, of("me", 10))],
            2,
            renewed(),
        ),
        (
            "they took it",
            vec![Wrote(0), Conflict, Saw(2, of("b", 10))],
            2,
            Lost(Loss::Taken("b".into())),
        ),
        (
            "they cleared it",
            vec![Wrote(0), Conflict, Saw(2, of("", 10))],
            2,
            Lost(Loss::Cleared),
        ),
        (
            "they deleted it",
            vec![Wrote(0), Conflict, Saw(2, None)],
            2,
            Lost(Loss::Deleted),
        ),
    ];
    for (what, steps, now, action) in table {
        assert_eq!(after(&steps).decide(secs(now), false), action, "{what}");
    }
}

/// What is ours is let go of, once, and nothing else is.
#[test]
fn leaving() {
    use Step::{Conflict, Failed, Saw, Wrote};
    let ours = Action::Release(draft("", 3, true));
    let table: Vec<(&str, Vec<Step>, u64, Action)> = vec![
        ("never had it", vec![], 0, Action::Leave),
        ("another has it", vec![Saw(0, of("a", 1))], 1, Action::Leave),
        ("it is ours", vec![Wrote(0)], 1, ours.clone()),
        (
            "perhaps over an older version",
            vec![Wrote(0), Failed(5)],
            6,
            ours,
        ),
        (
            "another took it",
            vec![Wrote(0), Conflict, Saw(2, of("b", 10))],
            2,
            Action::Leave,
        ),
        ("it has expired", vec![Wrote(0)], 10, Action::Leave),
    ];
    for (what, steps, now, action) in table {
        assert_eq!(after(&steps).decide(secs(now), true), action, "{what}");
    }
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
    clock: Duration,
    /// Gets its answer at this time, if it gets one; the call began at the other.
    call: Option<(Duration, Duration, Answer)>,
    busy_until: Duration,
}

enum Answer {
    Read(Option<Record>),
    Written(Record),
    Conflict,
    None,
}

/// Three replicas whose clocks differ by hours, an API server that loses requests and answers, processes that stand
/// still for longer than the lease: no two ever hold it at once, and somebody mostly does.
#[test]
fn never_two_at_once() {
    let (mut held, mut total, mut hands) = (0_u32, 0_u32, 0);
    for seed in 0..40 {
        let mut random = Random(seed);
        let mut server: Option<Record> = None;
        let mut version = 0_u32;
        let mut names = 0;
        let mut fresh = |random: &mut Random| {
            names += 1;
            Replica {
                candidate: Candidate::new(format!("r{names}"), Timing::default()),
                clock: secs(random.up_to(100_000)),
                call: None,
                busy_until: Duration::ZERO,
            }
        };
        let mut replicas: Vec<Replica> = (0..3).map(|_| fresh(&mut random)).collect();
        let step = Duration::from_millis(100);
        let mut now = Duration::ZERO;
        while now < secs(1_000) {
            now += step;
            for index in 0..replicas.len() {
                let replica = &mut replicas[index];
                if now < replica.busy_until {
                    continue;
                }
                if random.up_to(2_000) == 0 {
                    // It stands still, with or without a call under way.
                    replica.busy_until = now + secs(random.up_to(40));
                    continue;
                }
                let own = replica.clock + now;
                if let Some((due, began, answer)) = replica.call.take() {
                    if now < due {
                        replica.call = Some((due, began, answer));
                        continue;
                    }
                    match answer {
                        Answer::Read(found) => replica.candidate.saw(own, found),
                        Answer::Written(record) => replica.candidate.wrote(began, record),
                        Answer::Conflict => replica.candidate.conflicted(),
                        Answer::None => replica.candidate.failed(own),
                    }
                }
                let action = replica.candidate.decide(own, false);
                let draft = match action {
                    Action::Lost(_) => {
                        // The process ends, and another comes.
                        replicas[index] = fresh(&mut random);
                        continue;
                    }
                    Action::Look => None,
                    Action::Acquire(draft) | Action::Renew(draft) => Some(draft),
                    Action::Wait(_) => continue,
                    Action::Release(_) | Action::Leave => unreachable!("nobody leaves"),
                };
                let fate = random.up_to(20);
                let answer = match draft {
                    _ if fate == 0 => Answer::None,
                    None => Answer::Read(server.clone()),
                    Some(draft) => {
                        let over = replica.candidate.version();
                        if over == server.as_ref().map(|record| record.version.clone()) {
                            version += 1;
                            hands += i32::from(draft.changes_hands);
                            let record = Record {
                                version: version.to_string(),
                                holder: draft.holder,
                                seconds: Some(draft.seconds),
                                transitions: draft.transitions,
                            };
                            server = Some(record.clone());
                            // Executed, whether its answer comes or not.
                            if fate == 1 {
                                Answer::None
                            } else {
                                Answer::Written(record)
                            }
                        } else {
                            Answer::Conflict
                        }
                    }
                };
                let takes = Duration::from_millis(random.up_to(4_000));
                let takes = if random.up_to(3) == 0 { takes } else { step };
                replica.call = Some((now + takes, own, answer));
            }
            let holding = replicas.iter().filter(|replica| {
                let until = replica.candidate.held_until();
                until.is_some_and(|until| replica.clock + now < until)
            });
            let holding = holding.count();
            assert!(holding <= 1, "seed {seed}, at {now:?}");
            held += u32::from(holding == 1);
            total += 1;
        }
    }
    assert!(held * 10 > total * 7, "held for {held} of {total}");
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
