//! The mark: it moves on, a journal that is behind a copy of it gives nothing out, and an operator goes on with it.

use super::*;
use punte::journal::JournalError;

on_both! {
    the_mark_moves_on_and_never_goes_back
    a_journal_that_is_suspended_gives_nothing_out_until_it_is_resumed
    a_journal_that_has_become_older_under_a_process_is_suspended
    a_journal_that_lacks_what_has_left_is_suspended_until_an_operator_confirms_it
    after_a_restore_everything_open_is_made_safe_once
}

async fn the_mark_moves_on_and_never_goes_back(journal: Tested) {
    let new = journal.mark().await.unwrap();
    assert!(!new.has_been_worked_with() && new.confirmed_at.is_none() && new.copied_at.is_none());
    let first = journal.advance_mark(at(9000)).await.unwrap();
    assert_eq!((first.at, &first.journal), (at(9000), &new.mark.journal));
    // A clock that was set back.
    let second = journal.advance_mark(at(1)).await.unwrap();
    assert!(second.at > first.at);
    let found = journal.mark().await.unwrap();
    assert!(found.has_been_worked_with());
    assert_eq!(found.behind(Some(&second)), None);
    let confirmed = journal.confirm_mark(at(1)).await.unwrap();
    assert!(confirmed.at > second.at);
    assert_eq!(journal.mark().await.unwrap().confirmed_at, Some(confirmed.at));
}

async fn a_journal_that_is_suspended_gives_nothing_out_until_it_is_resumed(journal: Tested) {
    let id = accepted(&journal).await;
    journal.continuity().suspend("it is older; run `punte journal restored`".into());
    assert!(
        matches!(journal.find(id).await, Err(JournalError::Suspended(why)) if why.contains("punte journal restored"))
    );
    assert!(matches!(journal.accept(&submission(), &fresh_key(), false, None).await, Err(JournalError::Suspended(_))));
    assert!(matches!(journal.advance_mark(at(9000)).await, Err(JournalError::Suspended(_))));
    assert!(matches!(journal.ping().await, Err(JournalError::Suspended(_))));
    let found = journal.mark().await.unwrap();
    journal.continuity().resume(found.mark);
    assert_eq!(state(&journal, id).await, StateName::Accepted);
}

async fn a_journal_that_has_become_older_under_a_process_is_suspended(journal: Tested) {
    let mark = journal.advance_mark(at(10)).await.unwrap();
    // What this process has seen is newer than what a standby has that takes over.
    journal.continuity().note(&Mark { at: at(9000), ..mark.clone() });
    let refused = journal.advance_mark(at(10_000)).await;
    assert!(
        matches!(&refused, Err(JournalError::Suspended(why)) if why.contains("punte journal restored")),
        "{refused:?}"
    );
    let found = journal.mark().await.unwrap();
    assert_eq!(
        (found.copied_at, found.mark.at),
        (Some(mark.at), at(9000)),
        "whoever knows less is told by the journal"
    );
}

/// Of one that has a newer mark, too, because another process has moved it on.
async fn a_journal_that_lacks_what_has_left_is_suspended_until_an_operator_confirms_it(journal: Tested) {
    journal.advance_mark(at(1)).await.unwrap();
    let ids = futures_util::future::join_all((0..100).map(|_| sending(&journal))).await;
    for id in &ids {
        journal.continuity().leaves(*id, 1, at(1));
    }
    journal.advance_mark(at(2)).await.unwrap();
    assert!(journal.continuity().suspended_because().is_none());
    for lost in [(SubmissionId::new(), 1, at(1)), (ids[0], 2, at(1)), (ids[0], 1, at(3))] {
        let (id, attempt, begun_at) = lost;
        journal.continuity().leaves(id, attempt, begun_at);
        assert!(matches!(journal.advance_mark(at(4)).await, Err(JournalError::Suspended(_))), "{lost:?}");
        assert!(journal.mark().await.unwrap().copied_at.is_some() && journal.ping().await.is_err());
        let confirmed = journal.confirm_mark(at(5)).await.unwrap();
        journal.continuity().resume(confirmed);
        journal.advance_mark(at(6)).await.unwrap();
    }
    assert_eq!(journal.continuity().suspensions(), 3);
}

/// What a standby lacks that is a moment behind: not the mark, but an attempt that has left after it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_lacks_an_attempt_is_found_out_by_a_new_session_and_suspended_by_all() {
    let schema = Schema::new();
    let [one, other]: [Tested; 2] = [Arc::new(schema.open().await), Arc::new(schema.open().await)];
    one.advance_mark(at(1)).await.unwrap();
    other.advance_mark(at(2)).await.unwrap();
    let id = sending(&one).await;
    one.continuity().leaves(id, 1, at(1));
    assert!(one.find(id).await.is_ok());
    let raw = schema.raw().await;
    let take_over = format!(
        "DELETE FROM attempts;
         UPDATE submissions SET state = 'queued', state_data = '{{\"state\":\"queued\"}}', attempts = 0, tries = 0, due_at = NULL;
         SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = '{}'",
        schema.name
    );
    raw.batch_execute(&take_over).await.unwrap();
    // Who knows less has gone on meanwhile.
    other.advance_mark(at(3)).await.unwrap();
    let begun = Event::Begun { attempt: 1, lease_until: at(60), asks_first: true };
    assert!(matches!(one.record(id, Entry::new(begun, at(4))).await, Err(JournalError::Suspended(_))));
    assert!(matches!(other.advance_mark(at(5)).await, Err(JournalError::Suspended(_))));
    schema.remove().await;
}

async fn after_a_restore_everything_open_is_made_safe_once(journal: Tested) {
    let new = |effect| Submission { effect, ..submission() };
    let mut expected = Vec::new();
    for (effect, state, in_doubt) in [
        (Effect::Once, StateName::Uncertain, true),
        (Effect::Lookup, StateName::Accepted, true),
        (Effect::Idempotent, StateName::Accepted, true),
        (Effect::Read, StateName::Accepted, false),
    ] {
        expected.push((accept(&journal, &new(effect)).await, state, in_doubt));
    }
    let parked = accept(&journal, &new(Effect::Once)).await;
    record(&journal, parked, Event::Parked { fault: fault(Code::AgencyUnknown) }, at(1)).await;
    expected.push((parked, StateName::Parked, true));
    let ended = completed(&journal).await;
    // More than one transaction takes.
    futures_util::future::join_all((0..300).map(|_| accepted(&journal))).await;
    let counted = journal.restored("operator", at(5)).await.unwrap();
    assert_eq!((counted.uncertain, counted.asked_first, counted.parked, counted.as_before), (1, 301, 1, 2));
    let timelines = async || {
        let mut all = Vec::new();
        for (id, ..) in &expected {
            all.push(journal.timeline(*id).await.unwrap());
        }
        all
    };
    let before = timelines().await;
    for (id, state, in_doubt) in &expected {
        let now = progress(&journal, *id).await;
        assert_eq!((now.state.name(), now.in_doubt), (*state, *in_doubt));
    }
    assert_eq!(state(&journal, ended).await, StateName::Completed);
    let refused = journal.record(parked, Entry::new(replay(), at(6))).await;
    assert!(matches!(refused, Err(JournalError::Forbidden(_))), "it may have been replayed since");
    // Said again, it changes nothing.
    journal.restored("operator", at(7)).await.unwrap();
    assert_eq!(timelines().await, before);
}
