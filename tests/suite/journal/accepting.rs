//! Accepting: a submission is recorded once for each key of each office.

use super::*;
use std::collections::HashSet;

on_both! {
    what_was_accepted_is_found_as_it_was
    of_a_hundred_calls_with_one_key_exactly_one_is_new
    a_key_with_another_body_is_refused_and_records_nothing
    each_office_has_its_own_keys
    many_different_submissions_at_once_are_all_recorded
    an_unknown_submission_is_not_found
    attachments_belong_to_their_office
    however_many_add_files_at_once_they_never_overstep_what_may_lie_there
    the_journal_answers_a_ping
}

async fn what_was_accepted_is_found_as_it_was(journal: Tested) {
    let attachment = attachment();
    let submission =
        Submission { priority: Priority::Urgent, effect: Effect::Once, attachments: vec![attachment], ..submission() };
    accept(&journal, &submission).await;
    let found = journal.find(submission.id).await.unwrap().unwrap();
    assert_eq!(found.submission, submission);
    // The order of keys is the office's, too.
    assert_eq!(found.submission.data.to_string(), submission.data.to_string());
    assert_eq!(found.progress, Progress::accepted());
    assert_eq!((found.changed_at, found.erased_at), (at(0), None));
    let by = Some(Actor::Office("causeni".parse().unwrap()));
    let first = Change { at: at(0), from: None, to: StateName::Accepted, cause: "accepted".into(), by };
    assert_eq!(journal.timeline(submission.id).await.unwrap(), [first]);
}

async fn of_a_hundred_calls_with_one_key_exactly_one_is_new(journal: Tested) {
    let key = fresh_key();
    let calls = (0..100).map(|_| {
        let (journal, key) = (journal.clone(), key.clone());
        tokio::spawn(async move {
            let submission = submission();
            (submission.id, journal.accept(&submission, &key, false, None).await.unwrap())
        })
    });
    let (mut new, mut repeated) = (vec![], vec![]);
    for call in calls.collect::<Vec<_>>() {
        match call.await.unwrap() {
            (id, Acceptance::New) => new.push(id),
            (_, Acceptance::Repeated(id)) => repeated.push(id),
            (_, Acceptance::KeyReused(_)) => panic!("the body was the same"),
        }
    }
    assert_eq!((new.len(), repeated.len()), (1, 99));
    assert!(repeated.iter().all(|id| *id == new[0]));
    let all = journal.list(&Default::default(), 200).await.unwrap();
    assert_eq!(all.len(), 1);
}

async fn a_key_with_another_body_is_refused_and_records_nothing(journal: Tested) {
    let key = fresh_key();
    let first = submission();
    assert_eq!(journal.accept(&first, &key, false, None).await.unwrap(), Acceptance::New);
    let other = IdempotencyKey { body_sha256: [8; 32], ..key };
    let second = submission();
    assert_eq!(journal.accept(&second, &other, false, None).await.unwrap(), Acceptance::KeyReused(first.id));
    assert_eq!(journal.find(second.id).await.unwrap(), None);
}

async fn each_office_has_its_own_keys(journal: Tested) {
    let key = fresh_key();
    for office in ["causeni", "soroca"] {
        let submission = Submission { office: office.parse().unwrap(), ..submission() };
        assert_eq!(journal.accept(&submission, &key, false, None).await.unwrap(), Acceptance::New);
    }
}

async fn many_different_submissions_at_once_are_all_recorded(journal: Tested) {
    let calls: Vec<_> = (0..200)
        .map(|_| {
            let journal = journal.clone();
            tokio::spawn(async move { accepted(&journal).await })
        })
        .collect();
    let mut ids = HashSet::new();
    for call in calls {
        ids.insert(call.await.unwrap());
    }
    let found: HashSet<_> =
        journal.list(&Default::default(), 500).await.unwrap().iter().map(|it| it.submission.id).collect();
    assert_eq!(found, ids);
    assert_eq!(ids.len(), 200);
}

async fn an_unknown_submission_is_not_found(journal: Tested) {
    let id = SubmissionId::new();
    assert_eq!(journal.find(id).await.unwrap(), None);
    assert_eq!(journal.timeline(id).await.unwrap(), []);
    let unknown = journal.record(id, Entry::new(Event::Published, at(1))).await;
    assert!(matches!(unknown, Err(punte::journal::JournalError::NotFound(it)) if it == id));
}

async fn attachments_belong_to_their_office(journal: Tested) {
    let attachment = attachment();
    journal.add_attachment(&office(), &attachment, &AttachmentBytes::ENDLESS, at(0)).await.unwrap().unwrap();
    assert_eq!(journal.attachment(&office(), attachment.id).await.unwrap(), Some(attachment.clone()));
    assert_eq!(journal.attachment(&"soroca".parse().unwrap(), attachment.id).await.unwrap(), None);
}

async fn however_many_add_files_at_once_they_never_overstep_what_may_lie_there(journal: Tested) {
    let most = AttachmentBytes { unused: 40_000_000_000, ..AttachmentBytes::ENDLESS };
    let add = |office: &'static str, most: AttachmentBytes| {
        let journal = journal.clone();
        async move { journal.add_attachment(&office.parse().unwrap(), &attachment(), &most, at(0)).await.unwrap() }
    };
    let added = futures_util::future::join_all((0..40).map(|_| add("causeni", most))).await;
    // Five thousand million bytes each, in whole blocks.
    assert_eq!(added.iter().filter(|it| it.is_ok()).count(), 7);
    assert!(added.iter().all(|it| matches!(it, Ok(()) | Err(NoRoom::Office))), "{added:?}");
    let of_all = AttachmentBytes { all: 40_000_000_000, ..AttachmentBytes::ENDLESS };
    assert_eq!(add("soroca", of_all).await, Err(NoRoom::All));
    assert_eq!(add("soroca", most).await, Ok(()));
}

async fn the_journal_answers_a_ping(journal: Tested) {
    journal.ping().await.unwrap();
}

pub fn attachment() -> AttachmentRef {
    AttachmentRef {
        id: AttachmentId::new(),
        sha256: "ab".repeat(32),
        size_bytes: 5_000_000_000,
        media_type: "application/pdf".into(),
        name: "CANARY-NAME.pdf".into(),
    }
}
