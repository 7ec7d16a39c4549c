//! What the PostgreSQL journal knows without reading: it spares a reading, and is never taken for the truth.

use super::*;
use punte::journal::JournalError;

fn begun(attempt: u32) -> Event {
    Event::Begun { attempt, lease_until: at(60), asks_first: true }
}

fn answered(attempt: u32) -> Event {
    Event::Answered { attempt, answer: Answer(serde_json::json!({ "number": attempt })) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_this_process_has_written_is_not_read_again() {
    let schema = Schema::new();
    let journal: Tested = Arc::new(schema.open().await);
    let submission = submission();
    accept(&journal, &submission).await;
    // Nobody does this: it shows who has read.
    schema.raw().await.batch_execute("UPDATE changes SET cause = 'read'").await.unwrap();
    let begun = Entry::new(begun(1), at(1));
    let (_, timeline) = journal.record_whole(submission.id, vec![begun]).await.unwrap();
    let ended = Entry::new(answered(1), at(2));
    let (_, to_its_end) = journal.record_whole(submission.id, vec![ended]).await.unwrap();
    assert_eq!(to_its_end[..2], timeline);
    assert_eq!(timeline[0].cause, "accepted");
    let another: Tested = Arc::new(schema.open().await);
    assert_eq!(another.timeline(submission.id).await.unwrap()[0].cause, "read");
    schema.remove().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_known_is_what_is_read() {
    let schema = Schema::new();
    let (journal, another): (Tested, Tested) = (Arc::new(schema.open().await), Arc::new(schema.open().await));
    let submission = submission();
    accept(&journal, &submission).await;
    let put_back = Event::PutBack { attempt: 1 };
    for (second, event) in (1..).zip([Event::Published, begun(1), put_back, Event::Published, begun(2), answered(2)]) {
        let entry = Entry::new(event, at(second));
        let (moved, timeline) = journal.record_whole(submission.id, vec![entry]).await.unwrap();
        let (record, read) = another.find_whole(submission.id).await.unwrap().unwrap();
        assert_eq!((record.progress, read), (moved.progress, timeline));
        let Submission { id, office, agency, service, trace, .. } = record.submission;
        assert_eq!(
            (id, office, agency, service, trace),
            (moved.submission, moved.office, moved.agency, moved.service, moved.trace)
        );
    }
    schema.remove().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_another_process_has_changed_since_is_decided_by_what_is_there() {
    let schema = Schema::new();
    let (journal, another): (Tested, Tested) = (Arc::new(schema.open().await), Arc::new(schema.open().await));
    // By what is known it is permitted, by what is there forbidden: an attempt would be begun twice.
    let id = accepted(&journal).await;
    record(&another, id, begun(1), at(1)).await;
    let again = journal.record(id, Entry::new(begun(1), at(2))).await;
    assert!(matches!(again, Err(JournalError::Forbidden(_))), "{again:?}");
    assert_eq!(journal.attempts(id).await.unwrap().len(), 1);
    // By what is known it is forbidden, by what is there permitted.
    let id = accepted(&journal).await;
    record(&another, id, begun(1), at(1)).await;
    let answered = journal.record_whole(id, vec![Entry::new(answered(1), at(2))]).await.unwrap();
    assert_eq!(answered.0.entered, [StateName::Completed]);
    assert_eq!(answered.1, another.timeline(id).await.unwrap());
    // It is as it was, but its row has been written since.
    let id = accepted(&journal).await;
    let touch = format!("UPDATE submissions SET changed_at = changed_at WHERE id = '{id}'");
    schema.raw().await.batch_execute(&touch).await.unwrap();
    record(&journal, id, begun(1), at(1)).await;
    assert_eq!(another.timeline(id).await.unwrap().len(), 2);
    schema.remove().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_accepted_in_a_transaction_that_was_rolled_back_is_not_known() {
    let schema = Schema::new();
    let journal: Tested = Arc::new(schema.open().await);
    let raw = schema.raw().await;
    let refuse = "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no'; END $$; \
                  CREATE CONSTRAINT TRIGGER refuse AFTER INSERT ON submissions DEFERRABLE INITIALLY DEFERRED \
                  FOR EACH ROW EXECUTE FUNCTION refuse()";
    raw.batch_execute(refuse).await.unwrap();
    let submission = submission();
    assert!(journal.accept(&submission, &fresh_key(), false, None).await.is_err());
    let recorded = journal.record(submission.id, Entry::new(begun(1), at(1))).await;
    assert!(matches!(recorded, Err(JournalError::NotFound(_))), "{recorded:?}");
    schema.remove().await;
}
