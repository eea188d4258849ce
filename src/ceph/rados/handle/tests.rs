//! The handle on a session that answers when the test says so.

use std::collections::HashMap;
use std::ffi::CString;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::time::sleep;

use super::*;

const SHORT: Duration = Duration::from_millis(30);
const LONG: Duration = Duration::from_secs(20);

#[derive(Clone, Default)]
struct Fake(Arc<FakeState>);

#[derive(Default)]
struct FakeState {
    inner: Mutex<FakeInner>,
    moved: Condvar,
}

#[derive(Default)]
struct FakeInner {
    sent: Vec<String>,
    sent_at: Vec<Instant>,
    answers: HashMap<String, i32>,
    closed: bool,
}

impl Fake {
    fn inner(&self) -> MutexGuard<'_, FakeInner> {
        self.0.inner.lock().expect("the fake's lock")
    }

    fn answer(&self, command: &str, code: i32) {
        self.inner().answers.insert(command.to_owned(), code);
        self.0.moved.notify_all();
    }

    async fn until(&self, what: &str, holds: impl Fn(&FakeInner) -> bool) {
        for _ in 0..1000 {
            if holds(&self.inner()) {
                return;
            }
            sleep(Duration::from_millis(5)).await;
        }
        panic!("not so within 5 s: {what}");
    }
}

impl Session for Fake {
    fn command(&self, command: &CStr) -> Option<RawReply> {
        let name = command.to_str().expect("UTF-8").to_owned();
        let mut inner = self.inner();
        if inner.closed {
            return None;
        }
        inner.sent.push(name.clone());
        inner.sent_at.push(Instant::now());
        loop {
            let code = if inner.closed {
                Some(-ETIMEDOUT)
            } else {
                inner.answers.get(&name).copied()
            };
            if let Some(code) = code {
                return Some(RawReply {
                    code,
                    text: name.into_bytes(),
                    body: Vec::new(),
                });
            }
            inner = self.0.moved.wait(inner).expect("the fake's lock");
        }
    }

    fn close(&self) {
        self.inner().closed = true;
        self.0.moved.notify_all();
    }
}

fn handle(most_threads: usize) -> (Fake, Handle, Sessions) {
    handle_with(most_threads, Leave::always())
}

fn handle_with(most_threads: usize, leave: Leave) -> (Fake, Handle, Sessions) {
    let fake = Fake::default();
    let sessions = Sessions::new();
    let settings = Settings {
        name: "test",
        most_threads,
        idle_for: Duration::from_millis(100),
        renew_after: SHORT,
    };
    let handle = Handle::new(fake.clone(), settings, leave, &sessions);
    (fake, handle, sessions)
}

fn submit(handle: &Handle, command: &str, kind: Kind) -> Ticket {
    let command = CString::new(command).expect("no zero byte");
    handle
        .submit(Arc::from(command), kind, Instant::now())
        .expect("a handle in service")
}

fn soon(wait: Duration) -> Instant {
    Instant::now() + wait
}

/// Commands are taken up in the order in which they came.
#[tokio::test]
async fn order_is_kept() {
    let (fake, handle, _) = handle(1);
    let names: Vec<String> = (0..50).map(|number| number.to_string()).collect();
    for name in &names {
        fake.answer(name, 0);
    }
    let tickets: Vec<Ticket> = names
        .iter()
        .map(|name| submit(&handle, name, Kind::Change))
        .collect();
    for ticket in tickets {
        assert!(matches!(ticket.wait(soon(LONG)).await, Answer::Reply(_)));
    }
    assert_eq!(fake.inner().sent, names);
}

/// As many threads as commands, no more than allowed, and none when there is nothing to do.
#[tokio::test]
async fn threads_come_and_go() {
    let (fake, handle, _) = handle(20);
    let tickets: Vec<Ticket> = (0..30)
        .map(|number| submit(&handle, &number.to_string(), Kind::Change))
        .collect();
    fake.until("20 are inside", |inner| inner.sent.len() == 20)
        .await;
    assert_eq!(handle.0.state().threads, 20);
    for number in 0..30 {
        fake.answer(&number.to_string(), 0);
    }
    for ticket in tickets {
        assert!(matches!(ticket.wait(soon(LONG)).await, Answer::Reply(_)));
    }
    fake.until("the threads are gone", |_| handle.0.state().threads == 0)
        .await;
    // One command needs one thread, also when others have just gone.
    fake.answer("next", 0);
    assert!(matches!(
        submit(&handle, "next", Kind::Change).wait(soon(LONG)).await,
        Answer::Reply(_)
    ));
    assert_eq!(handle.0.state().threads, 1);
}

/// Rule 16: after a timeout the handle takes no new commands, and is closed when all that is
/// inside has returned.
#[tokio::test]
async fn a_timeout_retires_and_closes() {
    let (fake, handle, sessions) = handle(8);
    let other = submit(&handle, "other", Kind::Change);
    let late = submit(&handle, "late", Kind::Change);
    fake.until("both are inside", |inner| inner.sent.len() == 2)
        .await;
    assert!(matches!(late.wait(soon(SHORT)).await, Answer::TimedOut));
    assert!(
        handle
            .submit(Arc::from(c"new"), Kind::Change, Instant::now())
            .is_none()
    );
    fake.answer("other", 0);
    assert!(matches!(other.wait(soon(LONG)).await, Answer::Reply(_)));
    sleep(SHORT).await;
    assert!(!fake.inner().closed, "the late command is still inside");
    fake.answer("late", -ETIMEDOUT);
    fake.until("it is closed", |inner| inner.closed).await;
    drop(handle);
    tokio::time::timeout(LONG, sessions.all_closed())
        .await
        .expect("the session is gone");
}

/// A reply of -110 is a timeout too, and so is a caller that has gone away.
#[tokio::test]
async fn unknown_outcomes_retire() {
    let (fake, first, _) = handle(8);
    fake.answer("timed out inside", -ETIMEDOUT);
    let answer = submit(&first, "timed out inside", Kind::Change)
        .wait(soon(LONG))
        .await;
    assert!(matches!(answer, Answer::Reply(RawReply { code: -110, .. })));
    assert!(
        first
            .submit(Arc::from(c"new"), Kind::Change, Instant::now())
            .is_none()
    );

    let (fake, second, _) = handle(8);
    let dropped = submit(&second, "dropped", Kind::Change);
    fake.until("it is inside", |inner| inner.sent.len() == 1)
        .await;
    drop(dropped);
    fake.answer("dropped", 0);
    assert!(
        second
            .submit(Arc::from(c"new"), Kind::Change, Instant::now())
            .is_none()
    );
    fake.until("it is closed", |inner| inner.closed).await;
}

/// What waits for a thread when its handle is retired was not sent, and never is.
#[tokio::test]
async fn what_was_queued_is_not_sent() {
    let (fake, handle, _) = handle(1);
    let late = submit(&handle, "late", Kind::Change);
    let impatient = submit(&handle, "impatient", Kind::Change);
    let queued = submit(&handle, "queued", Kind::Change);
    fake.until("one is inside", |inner| inner.sent.len() == 1)
        .await;
    assert!(matches!(impatient.wait(soon(SHORT)).await, Answer::NotSent));
    assert!(matches!(late.wait(soon(SHORT)).await, Answer::TimedOut));
    assert!(matches!(queued.wait(soon(LONG)).await, Answer::Retired));
    fake.answer("late", 0);
    fake.until("it is closed", |inner| inner.closed).await;
    sleep(SHORT).await;
    assert_eq!(fake.inner().sent, ["late"]);
}

/// A read that times out harms nobody: the handle goes on.
#[tokio::test]
async fn reads_do_not_retire() {
    let (fake, handle, sessions) = handle(2);
    let late = submit(&handle, "late", Kind::Read);
    assert!(matches!(late.wait(soon(SHORT)).await, Answer::TimedOut));
    fake.answer("next", 0);
    assert!(matches!(
        submit(&handle, "next", Kind::Read).wait(soon(LONG)).await,
        Answer::Reply(_)
    ));
    fake.answer("late", 0);
    drop(handle);
    tokio::time::timeout(LONG, sessions.all_closed())
        .await
        .expect("the session is gone");
    assert!(fake.inner().closed);
}

/// A refusal for want of a capability retires a handle, for changes or for reads, unless it is
/// new: another session may have the capability.
#[tokio::test]
async fn denials_renew() {
    for kind in [Kind::Read, Kind::Change] {
        let (fake, handle, _) = handle(8);
        fake.answer("denied", -EACCES);
        let denied = submit(&handle, "denied", kind).wait(soon(LONG)).await;
        assert!(matches!(denied, Answer::Reply(RawReply { code: -13, .. })));
        let other = submit(&handle, "other", kind);
        sleep(SHORT).await;
        assert!(matches!(
            submit(&handle, "denied", kind).wait(soon(LONG)).await,
            Answer::Reply(_)
        ));
        assert!(
            handle
                .submit(Arc::from(c"new"), kind, Instant::now())
                .is_none()
        );
        fake.answer("other", 0);
        assert!(matches!(other.wait(soon(LONG)).await, Answer::Reply(_)));
        fake.until("it is closed", |inner| inner.closed).await;
    }
}

/// A command that came milliseconds after another is sent as much later, also when both had
/// to wait; what came long after is not held up.
#[tokio::test]
async fn distance_is_kept() {
    let (fake, handle, _) = handle(8);
    let now = Instant::now();
    let ms = Duration::from_millis;
    let came = [now - ms(900), now - ms(20), now - ms(15), now - ms(7)];
    let mut tickets = Vec::new();
    for (number, came) in came.into_iter().enumerate() {
        let command = CString::new(number.to_string()).expect("no zero byte");
        fake.answer(&number.to_string(), 0);
        tickets.push(
            handle
                .submit(Arc::from(command), Kind::Change, came)
                .expect("it"),
        );
    }
    for ticket in tickets {
        assert!(matches!(ticket.wait(soon(LONG)).await, Answer::Reply(_)));
    }
    let inner = fake.inner();
    assert_eq!(inner.sent, ["0", "1", "2", "3"]);
    let distance = |a: usize, b: usize| inner.sent_at[b] - inner.sent_at[a];
    assert!(distance(0, 1) >= ms(6), "{:?}", distance(0, 1));
    assert!(distance(1, 2) >= ms(2), "{:?}", distance(1, 2));
    assert!(distance(2, 3) >= ms(4), "{:?}", distance(2, 3));
    assert!(distance(0, 3) < ms(500), "{:?}", distance(0, 3));
}

/// What waits in line is not sent when the leave is gone by its turn; nobody is told that it may have been, reads go on,
/// and so does everything when the leave is back.
#[tokio::test]
async fn leave_is_asked_for_when_the_line_is_left() {
    let given = Arc::new(AtomicBool::new(true));
    let asked = Arc::clone(&given);
    let leave = Leave::while_it_holds(move || asked.load(Ordering::SeqCst));
    let (fake, handle, _) = handle_with(1, leave);
    for name in ["change", "read", "third"] {
        fake.answer(name, 0);
    }
    let first = submit(&handle, "first", Kind::Change);
    let change = submit(&handle, "change", Kind::Change);
    let read = submit(&handle, "read", Kind::Read);
    fake.until("the first is inside", |inner| inner.sent == ["first"])
        .await;
    given.store(false, Ordering::SeqCst);
    // What is inside cannot be called back.
    fake.answer("first", 0);
    assert!(matches!(first.wait(soon(LONG)).await, Answer::Reply(_)));
    assert!(matches!(change.wait(soon(LONG)).await, Answer::Forbidden));
    assert!(matches!(read.wait(soon(LONG)).await, Answer::Reply(_)));
    assert_eq!(fake.inner().sent, ["first", "read"]);
    given.store(true, Ordering::SeqCst);
    let third = submit(&handle, "third", Kind::Change);
    assert!(matches!(third.wait(soon(LONG)).await, Answer::Reply(_)));
}
