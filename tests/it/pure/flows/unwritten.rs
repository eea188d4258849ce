//! A round that could not be written down: nothing of it is remembered, and the next run begins it anew.

use poolwright::request::wish::Record;

use super::bench::*;
use super::*;

/// What is remembered of the pool, and how far its newest request is.
fn remembered(flow: &Flow) -> (Option<Record>, Option<RequestState>) {
    let work = flow.work("foopool");
    let state = work.state();
    let request = state.newest().map(|request| request.state);
    (state.record.clone(), request)
}

/// In whichever round of a creation and of a change.
#[tokio::test(start_paused = true)]
async fn nothing_of_it_is_remembered() {
    let changed = "{replicated: {size: 3}, minSize: 2, quota: {maxObjects: 7}, \
        applications: [{name: rbd, metadata: {team: storage}}]}";
    let mut failed = 0;
    for round in 1..=6 {
        let mut flow = Flow::new();
        flow.journal.on_write(move |number| {
            if number == round {
                Err(JournalError::Unavailable("gone".into()))
            } else {
                Ok(())
            }
        });
        for (text, generation) in [(SMALLEST, 1), (changed, 2)] {
            flow.hand_in("foopool", text, generation).await;
            let before = remembered(&flow);
            let written_before = flow.journal.written().len();
            flow.start("foopool", flow.access());
            flow.ended().await;
            if flow.end() == Some(RunEnd::NotRecorded("gone".into())) {
                failed += 1;
                let written = flow.journal.written();
                let begun = written.len() > written_before;
                let expected = if begun {
                    let last = written.last().map(|last| last.record.clone());
                    (last, Some(RequestState::AwaitingOsdMap))
                } else {
                    before
                };
                assert_eq!(remembered(&flow), expected, "round {round} of {text}");
                flow.journal.quiet();
                assert_eq!(
                    flow.run_generation(text, generation).await,
                    Some(RunEnd::InSync)
                );
            }
            assert_eq!(flow.end(), Some(RunEnd::InSync));
        }
    }
    assert!(failed >= 4, "{failed}");
}
