//! Changing: every event leaves its trace, and a forbidden one leaves none.

use super::*;
use punte::journal::JournalError;

on_both! {
    every_event_is_recorded_in_the_order_in_which_it_happened
    a_forbidden_event_leaves_everything_as_it_was
    an_attempt_keeps_its_bytes_and_its_outcome
    an_attempt_is_begun_and_ended_in_one_change_or_not_at_all
    the_late_word_of_a_lost_worker_changes_nothing_but_its_bytes_are_kept
    a_late_answer_ends_its_attempt_again_and_loses_no_bytes
    the_same_event_from_many_workers_succeeds_once
    two_operators_who_replay_the_same_at_once_have_it_done_once_more_and_not_twice
    a_restore_is_recorded_by_each_effect_and_tells_the_office
    text_that_a_database_cannot_hold_does_no_harm
    nothing_is_begun_after_its_deadline
}

async fn nothing_is_begun_after_its_deadline(journal: Tested) {
    let begun = Event::Begun { attempt: 1, lease_until: at(9000), asks_first: true };
    for (second, is_begun) in [(3599, true), (3600, false), (4000, false)] {
        let id = accepted(&journal).await;
        let recorded = journal.record(id, Entry::new(begun.clone(), at(second))).await;
        assert_eq!(recorded.is_ok(), is_begun, "{second}");
        let expected = if is_begun { StateName::Sending } else { StateName::Accepted };
        assert_eq!(state(&journal, id).await, expected);
    }
}

async fn every_event_is_recorded_in_the_order_in_which_it_happened(journal: Tested) {
    let id = accepted(&journal).await;
    let retry_at = at(100);
    let events = [
        Event::Published,
        Event::Begun { attempt: 1, lease_until: at(60), asks_first: true },
        Event::PutBack { attempt: 1 },
        Event::Begun { attempt: 2, lease_until: at(70), asks_first: true },
        Event::RetryPlanned { attempt: 2, due_at: retry_at, fault: fault(Code::NetworkConnect) },
        Event::Requeued,
        Event::Published,
        Event::Begun { attempt: 3, lease_until: at(170), asks_first: true },
        Event::OutcomeUnknown { attempt: 3, fault: fault(Code::NetworkTimeout) },
        replay(),
        Event::Begun { attempt: 4, lease_until: at(180), asks_first: true },
        Event::TakenByAgency { attempt: 4, at: at(9) },
        Event::RefusedByAgency { attempt: 4, refusal: Refusal { code: "E7".into(), text: "no".into() } },
    ];
    let mut expected = Progress::accepted();
    for (second, event) in (1..).zip(events) {
        expected = apply(&expected, Effect::Lookup.into(), event.clone()).unwrap();
        assert_eq!(record(&journal, id, event, at(second)).await, expected);
        assert_eq!(progress(&journal, id).await, expected);
    }
    let timeline = journal.timeline(id).await.unwrap();
    let drawn: Vec<_> = timeline.iter().map(|it| format!("{} {}", it.to, it.cause)).collect();
    assert_eq!(
        drawn,
        [
            "accepted accepted",
            "queued published",
            "sending attempt 1",
            "accepted put back unsent",
            "sending attempt 2",
            "retrying network.connect",
            "accepted requeued",
            "queued published",
            "sending attempt 3",
            "uncertain network.timeout",
            "accepted replayed by operator",
            "sending attempt 4",
            "waiting taken by the agency",
            "refused agency.refused: E7",
        ]
    );
    assert!(timeline.windows(2).all(|pair| pair[1].from == Some(pair[0].to) && pair[0].at < pair[1].at));
    let outcomes: Vec<_> = journal.attempts(id).await.unwrap().into_iter().map(|it| (it.number, it.outcome)).collect();
    assert_eq!(
        outcomes,
        [
            (1, Some(AttemptOutcome::PutBack)),
            (2, Some(AttemptOutcome::Failed { fault: fault(Code::NetworkConnect) })),
            (3, Some(AttemptOutcome::Failed { fault: fault(Code::NetworkTimeout) })),
            (4, Some(AttemptOutcome::Refused { code: "E7".into() })),
        ]
    );
}

async fn a_forbidden_event_leaves_everything_as_it_was(journal: Tested) {
    let id = sending(&journal).await;
    let before =
        (journal.find(id).await.unwrap(), journal.timeline(id).await.unwrap(), journal.attempts(id).await.unwrap());
    for event in [
        Event::Published,
        Event::Requeued,
        replay(),
        Event::Begun { attempt: 2, lease_until: at(90), asks_first: true },
        Event::Answered { attempt: 2, answer: answer() },
        Event::CancelledByOffice { by: "causeni".parse().unwrap() },
    ] {
        let name = event.name();
        let refused = journal.record(id, Entry::new(event, at(5))).await;
        let Err(JournalError::Forbidden(forbidden)) = refused else { panic!("{refused:?}") };
        assert_eq!(forbidden, Forbidden { state: StateName::Sending, event: name });
    }
    let after =
        (journal.find(id).await.unwrap(), journal.timeline(id).await.unwrap(), journal.attempts(id).await.unwrap());
    assert_eq!(before, after);
}

async fn an_attempt_keeps_its_bytes_and_its_outcome(journal: Tested) {
    let id = sending(&journal).await;
    let open = journal.attempts(id).await.unwrap();
    assert_eq!((open.len(), open[0].begun_at, open[0].ended_at, &open[0].wire), (1, at(1), None, &None));
    let record = WireRecord { sent: vec![0, 255, 1], received: vec![], http_status: Some(503), truncated: true };
    let event = Event::GivenUp { attempt: 1, fault: fault(Code::AgencyUnavailable) };
    journal.record(id, Entry { wire: Some(record.clone()), ..Entry::new(event, at(2)) }).await.unwrap();
    let ended = Attempt {
        submission: id,
        number: 1,
        begun_at: at(1),
        ended_at: Some(at(2)),
        outcome: Some(AttemptOutcome::Failed { fault: fault(Code::AgencyUnavailable) }),
        wire: Some(record),
    };
    assert_eq!(journal.attempts(id).await.unwrap(), [ended]);
}

async fn an_attempt_is_begun_and_ended_in_one_change_or_not_at_all(journal: Tested) {
    let id = accepted(&journal).await;
    let entries = |attempt| {
        let begun = Event::Begun { attempt, lease_until: at(60), asks_first: true };
        let end = Event::Answered { attempt, answer: answer() };
        vec![Entry::new(begun, at(1)), Entry { wire: Some(wire("sent", "answer")), ..Entry::new(end, at(2)) }]
    };
    // Its second attempt cannot be the first to begin, and its end alone is not recorded either.
    let refused = journal.record_all(id, entries(2)).await;
    let forbidden = Forbidden { state: StateName::Accepted, event: EventName::Begun };
    assert!(matches!(&refused, Err(JournalError::Forbidden(it)) if *it == forbidden), "{refused:?}");
    assert_eq!((journal.timeline(id).await.unwrap().len(), journal.attempts(id).await.unwrap()), (1, vec![]));
    assert_eq!(journal.claim_outbox(10, at(1), at(2), &[], &Default::default()).await.unwrap().len(), 1);

    let (moved, timeline) = journal.record_whole(id, entries(1)).await.unwrap();
    assert_eq!(moved.entered, [StateName::Sending, StateName::Completed]);
    let progress = moved.progress;
    assert_eq!((progress.state.name(), progress.attempts, progress.tries), (StateName::Completed, 1, 1));
    let story: Vec<_> = timeline.iter().map(|it| (it.from, it.to, it.at)).collect();
    let begun = (Some(StateName::Accepted), StateName::Sending, at(1));
    assert_eq!(story[1..], [begun, (Some(StateName::Sending), StateName::Completed, at(2))]);
    assert_eq!(journal.find(id).await.unwrap().unwrap().progress, progress);
    let attempts = journal.attempts(id).await.unwrap();
    assert_eq!((attempts.len(), attempts[0].begun_at, attempts[0].ended_at), (1, at(1), Some(at(2))));
    assert_eq!(attempts[0].wire, Some(wire("sent", "answer")));
    assert!(journal.claim_outbox(10, at(100), at(110), &[], &Default::default()).await.unwrap().is_empty());

    // Said again, and by another worker with other bytes: it is over, and the bytes are those of the attempt.
    let mut late = entries(1);
    late[1].wire = Some(wire("other", "other"));
    assert!(matches!(journal.record_all(id, late).await, Err(JournalError::Forbidden(_))));
    assert_eq!(journal.attempts(id).await.unwrap(), attempts);

    // Nothing was sent, and nothing has come.
    let silent = accepted(&journal).await;
    let without_bytes = entries(1).into_iter().map(|entry| Entry { wire: None, ..entry }).collect();
    journal.record_all(silent, without_bytes).await.unwrap();
    let attempts = journal.attempts(silent).await.unwrap();
    assert_eq!((attempts.len(), attempts[0].ended_at, &attempts[0].wire), (1, Some(at(2)), &None));
}

async fn the_late_word_of_a_lost_worker_changes_nothing_but_its_bytes_are_kept(journal: Tested) {
    let id = sending(&journal).await;
    let lost = Event::RetryPlanned { attempt: 1, due_at: at(100), fault: fault(Code::Interrupted) };
    let expected = record(&journal, id, lost, at(61)).await;
    let late = |sent: &str, answer| Entry {
        wire: Some(wire(sent, "answer")),
        ..Entry::new(Event::Answered { attempt: 1, answer }, at(62))
    };
    assert!(matches!(journal.record(id, late("first", answer())).await, Err(JournalError::Forbidden(_))));
    // What is kept already is not overwritten by whoever comes still later.
    assert!(matches!(journal.record(id, late("second", answer())).await, Err(JournalError::Forbidden(_))));
    assert_eq!(progress(&journal, id).await, expected);
    let attempts = journal.attempts(id).await.unwrap();
    assert_eq!(attempts[0].wire, Some(wire("first", "answer")));
    assert_eq!(attempts[0].ended_at, Some(at(61)));
    assert_eq!(attempts[0].outcome, Some(AttemptOutcome::Failed { fault: fault(Code::Interrupted) }));
}

async fn a_late_answer_ends_its_attempt_again_and_loses_no_bytes(journal: Tested) {
    let id = sending(&journal).await;
    let unknown = Event::OutcomeUnknown { attempt: 1, fault: fault(Code::NetworkTimeout) };
    let sent = WireRecord { sent: b"request".to_vec(), http_status: Some(504), ..Default::default() };
    journal.record(id, Entry { wire: Some(sent), ..Entry::new(unknown, at(2)) }).await.unwrap();
    let answered = Event::Answered { attempt: 1, answer: answer() };
    let received = WireRecord { received: b"answer".to_vec(), ..Default::default() };
    journal.record(id, Entry { wire: Some(received), ..Entry::new(answered, at(9)) }).await.unwrap();
    let attempts = journal.attempts(id).await.unwrap();
    assert_eq!(attempts[0].outcome, Some(AttemptOutcome::Answered));
    assert_eq!(attempts[0].ended_at, Some(at(9)));
    assert_eq!(attempts[0].wire, Some(WireRecord { http_status: Some(504), ..wire("request", "answer") }));
    // A late answer without bytes leaves those that are there.
    let id = sending(&journal).await;
    let unknown = Event::OutcomeUnknown { attempt: 1, fault: fault(Code::NetworkTimeout) };
    journal.record(id, Entry { wire: Some(wire("request", "")), ..Entry::new(unknown, at(2)) }).await.unwrap();
    record(&journal, id, Event::Answered { attempt: 1, answer: answer() }, at(9)).await;
    assert_eq!(journal.attempts(id).await.unwrap()[0].wire, Some(wire("request", "")));
}

async fn the_same_event_from_many_workers_succeeds_once(journal: Tested) {
    let id = accepted(&journal).await;
    let calls: Vec<_> = (0..20)
        .map(|_| {
            let journal = journal.clone();
            let begun = Event::Begun { attempt: 1, lease_until: at(60), asks_first: true };
            tokio::spawn(async move { journal.record(id, Entry::new(begun, at(1))).await })
        })
        .collect();
    let mut done = 0;
    for call in calls {
        match call.await.unwrap() {
            Ok(_) => done += 1,
            Err(error) => assert!(matches!(error, JournalError::Forbidden(_)), "{error}"),
        }
    }
    assert_eq!(done, 1);
    assert_eq!(journal.attempts(id).await.unwrap().len(), 1);
}

/// Each has read it before the other decides.
async fn two_operators_who_replay_the_same_at_once_have_it_done_once_more_and_not_twice(journal: Tested) {
    let id = accept(&journal, &Submission { effect: Effect::Once, ..submission() }).await;
    for attempt in 1..4 {
        record(&journal, id, Event::Begun { attempt, lease_until: at(60), asks_first: true }, at(1)).await;
        record(&journal, id, Event::OutcomeUnknown { attempt, fault: fault(Code::NetworkReset) }, at(2)).await;
        let replayed = |accepts_repeat| {
            let journal = journal.clone();
            let event = Event::Replayed { by: "operator".into(), accepts_repeat };
            tokio::spawn(async move { journal.record(id, Entry::new(event, at(3))).await })
        };
        assert!(replayed(None).await.unwrap().is_err(), "nobody has accepted a repetition");
        assert!(replayed(Some(attempt - 1)).await.unwrap().is_err(), "what was accepted was another repetition");
        let both: Vec<_> = (0..2).map(|_| replayed(Some(attempt))).collect();
        let mut done = 0;
        for call in both {
            done += usize::from(call.await.unwrap().is_ok());
        }
        assert_eq!(done, 1);
    }
}

async fn a_restore_is_recorded_by_each_effect_and_tells_the_office(journal: Tested) {
    let restored = || Event::Restored { by: "operator".into() };
    for (effect, expected) in [(Effect::Once, StateName::Uncertain), (Effect::Lookup, StateName::Sending)] {
        let id = accept(&journal, &Submission { effect, ..submission() }).await;
        record(&journal, id, Event::Begun { attempt: 1, lease_until: at(60), asks_first: true }, at(1)).await;
        let after = record(&journal, id, restored(), at(2)).await;
        assert_eq!((after.state.name(), after.in_doubt), (expected, true));
        let last = journal.timeline(id).await.unwrap().pop().unwrap();
        assert_eq!((last.to, last.cause.as_str()), (expected, "journal restored, by operator"));
        let ended = journal.attempts(id).await.unwrap()[0].outcome.is_some();
        assert_eq!(ended, effect == Effect::Once);
    }
    let notices = journal.claim_notices(9, at(3), at(4)).await.unwrap();
    assert_eq!(notices.iter().map(|it| it.state).collect::<Vec<_>>(), [StateName::Uncertain]);
    let read = accept(&journal, &Submission { effect: Effect::Read, ..submission() }).await;
    assert!(journal.record(read, Entry::new(restored(), at(2))).await.is_err());
}

async fn text_that_a_database_cannot_hold_does_no_harm(journal: Tested) {
    let id = sending(&journal).await;
    let refusal = Refusal { code: "E\0".into(), text: "no\0".into() };
    let progress = record(&journal, id, Event::RefusedByAgency { attempt: 1, refusal }, at(2)).await;
    assert_eq!(super::progress(&journal, id).await, progress);
    assert_eq!(journal.timeline(id).await.unwrap()[2].cause, "agency.refused: E\u{fffd}");
}
