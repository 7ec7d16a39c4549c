//! Retention: what is old loses its bytes and its content; its story stays.

use super::{accepting::attachment, *};
use punte::journal::{JournalError, ListFilter};

on_both! {
    wire_bytes_are_erased_by_age
    wire_bytes_of_one_submission_are_erased_alone
    content_is_erased_from_what_has_ended_and_its_story_stays
    a_refusal_loses_its_words_and_keeps_its_code
    nothing_open_is_erased
    what_waits_too_long_for_an_operator_loses_its_content_and_can_only_be_discarded
    more_than_one_transaction_takes_is_erased_too
    a_forgotten_key_can_be_used_again
    attachments_are_forgotten_once_nobody_uses_them
}

async fn wire_bytes_are_erased_by_age(journal: Tested) {
    let id = completed(&journal).await;
    assert_eq!(journal.erase_wire(at(2), at(10)).await.unwrap(), 0);
    assert!(journal.attempts(id).await.unwrap()[0].wire.is_some());
    assert_eq!(journal.erase_wire(at(3), at(10)).await.unwrap(), 1);
    assert_eq!(journal.erase_wire(at(3), at(11)).await.unwrap(), 0);
    let attempt = journal.attempts(id).await.unwrap().remove(0);
    assert_eq!((attempt.wire, attempt.outcome), (None, Some(AttemptOutcome::Answered)));
    assert_eq!(progress(&journal, id).await.state, State::Completed { answer: Some(answer()) });
}

async fn wire_bytes_of_one_submission_are_erased_alone(journal: Tested) {
    let (one, other) = (completed(&journal).await, completed(&journal).await);
    assert_eq!(journal.erase_wire_of(one, at(10)).await.unwrap(), 1);
    assert_eq!(journal.attempts(one).await.unwrap()[0].wire, None);
    assert!(journal.attempts(other).await.unwrap()[0].wire.is_some());
}

async fn content_is_erased_from_what_has_ended_and_its_story_stays(journal: Tested) {
    let before = Submission { attachments: vec![attachment()], ..submission() };
    let id = accept(&journal, &before).await;
    record(&journal, id, Event::Begun { attempt: 1, lease_until: at(60), asks_first: true }, at(1)).await;
    let answered = Event::Answered { attempt: 1, answer: answer() };
    journal.record(id, Entry { wire: Some(wire("CANARY", "CANARY")), ..Entry::new(answered, at(2)) }).await.unwrap();
    let timeline = journal.timeline(id).await.unwrap();
    assert_eq!(journal.erase_content(at(2), at(10)).await.unwrap(), 0);
    assert_eq!(journal.erase_content(at(3), at(10)).await.unwrap(), 1);
    assert_eq!(journal.erase_content(at(3), at(11)).await.unwrap(), 0);

    let after = journal.find(id).await.unwrap().unwrap();
    assert_eq!((after.erased_at, after.changed_at), (Some(at(10)), at(2)));
    let everything = format!(
        "{}{}{:?}",
        serde_json::to_string(&after.submission).unwrap(),
        serde_json::to_string(&after.progress).unwrap(),
        journal.attempts(id).await.unwrap()
    );
    assert!(!everything.contains("CANARY"), "{everything}");
    assert_eq!(journal.attempts(id).await.unwrap()[0].wire, None);
    assert_eq!(after.submission.data, serde_json::Value::Null);
    assert_eq!(after.submission.attachments, []);
    let blank =
        |it: &Submission| (it.office.clone(), it.service.clone(), it.agency.clone(), it.accepted_at, it.expires_at);
    assert_eq!(blank(&after.submission), blank(&before));
    assert_eq!(after.progress.state.name(), StateName::Completed);
    assert_eq!(journal.timeline(id).await.unwrap(), timeline);
    // A worker that was taken for dead must not bring its bytes back.
    let late = Entry { wire: Some(wire("CANARY", "")), ..Entry::new(Event::PutBack { attempt: 1 }, at(20)) };
    assert!(journal.record(id, late).await.is_err());
    assert_eq!(journal.attempts(id).await.unwrap()[0].wire, None);
}

async fn a_refusal_loses_its_words_and_keeps_its_code(journal: Tested) {
    let id = sending(&journal).await;
    let refusal = Refusal { code: "E7".into(), text: "CANARY has died".into() };
    record(&journal, id, Event::RefusedByAgency { attempt: 1, refusal }, at(2)).await;
    journal.erase_content(at(3), at(10)).await.unwrap();
    let expected = State::Refused { refusal: Refusal { code: "E7".into(), text: String::new() } };
    assert_eq!(progress(&journal, id).await.state, expected);
}

async fn nothing_open_is_erased(journal: Tested) {
    let open = [accepted(&journal).await, sending(&journal).await];
    let parked = sending(&journal).await;
    record(&journal, parked, Event::GivenUp { attempt: 1, fault: fault(Code::NetworkConnect) }, at(2)).await;
    assert_eq!(journal.erase_content(at(9000), at(9000)).await.unwrap(), 0);
    for id in open.into_iter().chain([parked]) {
        let found = journal.find(id).await.unwrap().unwrap();
        assert_eq!((found.submission.subject.id.as_str(), found.erased_at), ("CANARY-SUBJECT", None));
    }
}

async fn what_waits_too_long_for_an_operator_loses_its_content_and_can_only_be_discarded(journal: Tested) {
    let before = Submission { attachments: vec![attachment()], ..submission() };
    let (parked, uncertain) = (accept(&journal, &before).await, sending(&journal).await);
    record(&journal, parked, Event::Begun { attempt: 1, lease_until: at(60), asks_first: true }, at(1)).await;
    for (id, event) in [
        (parked, Event::GivenUp { attempt: 1, fault: fault(Code::NetworkConnect) }),
        (uncertain, Event::OutcomeUnknown { attempt: 1, fault: fault(Code::NetworkReset) }),
    ] {
        let entry = Entry { wire: Some(wire("CANARY", "CANARY")), ..Entry::new(event, at(2)) };
        journal.record(id, entry).await.unwrap();
    }
    assert_eq!(journal.erase_parked(at(2), at(10)).await.unwrap(), 0);
    assert_eq!(journal.erase_parked(at(3), at(10)).await.unwrap(), 2);
    assert_eq!(journal.erase_parked(at(3), at(11)).await.unwrap(), 0);
    for (id, state, code) in
        [(parked, StateName::Parked, Code::NetworkConnect), (uncertain, StateName::Uncertain, Code::NetworkReset)]
    {
        let found = journal.find(id).await.unwrap().unwrap();
        assert_eq!((found.progress.state.name(), found.erased_at), (state, Some(at(10))));
        assert_eq!(found.progress.state.fault().unwrap().code, code);
        let everything =
            format!("{}{:?}", serde_json::to_string(&found.submission).unwrap(), journal.attempts(id).await.unwrap());
        assert!(
            !everything.contains("CANARY") && journal.attempts(id).await.unwrap()[0].wire.is_none(),
            "{everything}"
        );
        for accepts_repeat in [None, Some(1)] {
            let replayed = Event::Replayed { by: "operator".into(), accepts_repeat };
            let refused = journal.record(id, Entry::new(replayed, at(12))).await;
            assert!(matches!(refused, Err(JournalError::Forbidden(_))), "{refused:?}");
        }
        assert!(journal.list(&ListFilter { state: Some(state), ..ListFilter::default() }, 9).await.unwrap().len() == 1);
        record(&journal, id, Event::Discarded { by: "operator".into() }, at(13)).await;
    }
    // A late answer is content again, and is erased in its time.
    let late = sending(&journal).await;
    record(&journal, late, Event::OutcomeUnknown { attempt: 1, fault: fault(Code::NetworkReset) }, at(2)).await;
    journal.erase_parked(at(3), at(10)).await.unwrap();
    record(&journal, late, Event::Answered { attempt: 1, answer: answer() }, at(14)).await;
    assert_eq!(journal.find(late).await.unwrap().unwrap().erased_at, None);
    assert_eq!(journal.erase_content(at(15), at(20)).await.unwrap(), 1, "only the late one was not erased yet");
    assert_eq!(progress(&journal, late).await.state, State::Completed { answer: None });
}

async fn more_than_one_transaction_takes_is_erased_too(journal: Tested) {
    futures_util::future::join_all((0..300).map(|_| completed(&journal))).await;
    assert_eq!(journal.erase_wire(at(3), at(10)).await.unwrap(), 300);
    assert_eq!(journal.erase_content(at(3), at(10)).await.unwrap(), 300);
}

async fn a_forgotten_key_can_be_used_again(journal: Tested) {
    let key = fresh_key();
    journal.accept(&submission(), &key, false, None).await.unwrap();
    assert_eq!(journal.forget_keys(at(0)).await.unwrap(), 0);
    assert!(matches!(journal.accept(&submission(), &key, false, None).await.unwrap(), Acceptance::Repeated(_)));
    assert_eq!(journal.forget_keys(at(1)).await.unwrap(), 1);
    assert_eq!(journal.accept(&submission(), &key, false, None).await.unwrap(), Acceptance::New);
}

async fn attachments_are_forgotten_once_nobody_uses_them(journal: Tested) {
    let (used, unused, young) = (attachment(), attachment(), attachment());
    for (attachment, second) in [(&used, 0), (&unused, 0), (&young, 50)] {
        journal.add_attachment(&office(), attachment, &AttachmentBytes::ENDLESS, at(second)).await.unwrap().unwrap();
    }
    // In whole blocks.
    assert_eq!(journal.attachment_bytes(&office()).await.unwrap().unused, 15_000_010_752);
    let id = accept(&journal, &Submission { attachments: vec![used.clone()], ..submission() }).await;
    assert_eq!(journal.attachment_bytes(&office()).await.unwrap().unused, 10_000_007_168);
    let all = journal.attachment_bytes(&office()).await.unwrap();
    assert_eq!((all.office, all.all), (15_000_010_752, 15_000_010_752));
    assert_eq!(journal.attachment_bytes(&"soroca".parse().unwrap()).await.unwrap().office, 0);
    assert_eq!(journal.forget_attachments(at(50)).await.unwrap(), [unused.id]);
    // Whoever was to remove its file has died before.
    assert_eq!(journal.forget_attachments(at(50)).await.unwrap(), [unused.id]);
    journal.files_removed(&[unused.id]).await.unwrap();
    assert_eq!(journal.attachment(&office(), unused.id).await.unwrap(), None);
    record(&journal, id, Event::CancelledByOffice { by: "causeni".parse().unwrap() }, at(2)).await;
    assert_eq!(journal.forget_attachments(at(50)).await.unwrap(), []);
    journal.erase_content(at(3), at(10)).await.unwrap();
    assert_eq!(journal.forget_attachments(at(50)).await.unwrap(), [used.id]);
    assert_eq!(journal.attachment(&office(), young.id).await.unwrap(), Some(young));
}
