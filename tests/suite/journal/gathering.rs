//! Gathering, which only the PostgreSQL journal does: operations that come at the same time share transactions, and what one of
//! them meets harms no other.

use super::*;
use futures_util::future::join_all;
use punte::journal::JournalError;
use std::time::Duration;
use tokio::time::{sleep, timeout};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_comes_at_the_same_time_shares_transactions() {
    let schema = Schema::new();
    let journal: Tested = Arc::new(schema.open().await);
    let all: Vec<_> = (0..200).map(|_| submission()).collect();
    join_all(all.iter().map(|it| accept(&journal, it))).await;
    let begun = Event::Begun { attempt: 1, lease_until: at(60), asks_first: true };
    join_all(all.iter().map(|it| record(&journal, it.id, begun.clone(), at(1)))).await;
    // A row's `xmin` is the transaction that has written it.
    for table in ["attempts", "submissions", "idempotency_keys"] {
        let count = format!("SELECT count(DISTINCT CAST(xmin AS text)), count(*) FROM {table}");
        let row = schema.raw().await.query_one(&count, &[]).await.unwrap();
        let (transactions, rows): (i64, i64) = (row.get(0), row.get(1));
        assert_eq!(rows, 200, "{table}");
        assert!(transactions <= 50, "{transactions} transactions for 200 rows of {table}");
    }
    schema.remove().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_written_together_is_one_statement() {
    let schema = Schema::new();
    let journal: Tested = Arc::new(schema.open().await);
    let raw = schema.raw().await;
    // A statement has one time, whatever it changes.
    let note = "CREATE TABLE noted (xid text, at timestamptz, changed text);
        CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            INSERT INTO noted VALUES (CAST(pg_current_xact_id() AS text), statement_timestamp(), TG_TABLE_NAME);
            RETURN NULL; END $$;
        CREATE TRIGGER note AFTER INSERT ON changes FOR EACH STATEMENT EXECUTE FUNCTION note();
        CREATE TRIGGER note AFTER INSERT OR UPDATE ON submissions FOR EACH STATEMENT EXECUTE FUNCTION note();
        CREATE TRIGGER note AFTER INSERT OR UPDATE ON attempts FOR EACH STATEMENT EXECUTE FUNCTION note()";
    raw.batch_execute(note).await.unwrap();
    let all: Vec<_> = (0..100).map(|_| submission()).collect();
    let begin =
        |id| journal.record(id, Entry::new(Event::Begun { attempt: 1, lease_until: at(60), asks_first: true }, at(1)));
    let end = |id| {
        let answered = Entry::new(Event::Answered { attempt: 1, answer: answer() }, at(2));
        journal.record(id, Entry { wire: Some(wire("sent", "received")), ..answered })
    };
    let (old, new) = all.split_at(50);
    join_all(old.iter().map(|it| accept(&journal, it))).await;
    let (begun, _) =
        tokio::join!(join_all(old.iter().map(|it| begin(it.id))), join_all(new.iter().map(|it| accept(&journal, it))));
    let (ended, also_begun) =
        tokio::join!(join_all(old.iter().map(|it| end(it.id))), join_all(new.iter().map(|it| begin(it.id))));
    assert!(begun.iter().chain(&ended).chain(&also_begun).all(Result::is_ok));
    let count = "SELECT count(DISTINCT xid), count(DISTINCT (xid, at)), count(DISTINCT (xid, changed)) FROM noted";
    let row = raw.query_one(count, &[]).await.unwrap();
    let [transactions, statements, changed]: [i64; 3] = std::array::from_fn(|index| row.get(index));
    assert!((3..=60).contains(&transactions), "{transactions}");
    assert!(changed >= 2 * transactions, "{changed} by {transactions}");
    assert_eq!(statements, transactions);
    for (number, it) in all.iter().enumerate() {
        let expected = if number < 50 { StateName::Completed } else { StateName::Sending };
        assert_eq!(state(&journal, it.id).await, expected);
        assert_eq!(journal.timeline(it.id).await.unwrap().len(), if number < 50 { 3 } else { 2 });
    }
    assert_eq!(journal.attempts(all[0].id).await.unwrap()[0].wire, Some(wire("sent", "received")));
    schema.remove().await;
}

/// Of those that come at once some have come before, and two have the same key.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_has_come_before_spoils_no_other() {
    let schema = Schema::new();
    let journal: Tested = Arc::new(schema.open().await);
    let (first, used) = (submission(), fresh_key());
    assert_eq!(journal.accept(&first, &used, false, None).await.unwrap(), Acceptance::New);
    let all: Vec<_> = (0..60).map(|_| submission()).collect();
    let mut keys: Vec<_> = all.iter().map(|_| fresh_key()).collect();
    (keys[7], keys[30]) = (used.clone(), used.clone());
    keys[31] = IdempotencyKey { body_sha256: [9; 32], ..used };
    keys[41] = keys[40].clone();
    let accepting = all.iter().zip(&keys).map(|(it, key)| journal.accept(it, key, false, None));
    let outcomes: Vec<_> = join_all(accepting).await.into_iter().map(Result::unwrap).collect();
    for (number, outcome) in outcomes.iter().enumerate() {
        match number {
            7 | 30 => assert_eq!(*outcome, Acceptance::Repeated(first.id)),
            31 => assert_eq!(*outcome, Acceptance::KeyReused(first.id)),
            40 | 41 => {}
            _ => assert_eq!(*outcome, Acceptance::New, "{number}"),
        }
    }
    let pair = [(&outcomes[40], all[40].id), (&outcomes[41], all[41].id)];
    let new = pair.iter().position(|(outcome, _)| **outcome == Acceptance::New).unwrap();
    assert_eq!(*pair[1 - new].0, Acceptance::Repeated(pair[new].1));
    // Nothing of what was not new was left behind.
    let count = "SELECT count(*), (SELECT count(*) FROM changes), (SELECT count(*) FROM outbox) FROM submissions";
    let row = schema.raw().await.query_one(count, &[]).await.unwrap();
    let counts: [i64; 3] = std::array::from_fn(|index| row.get(index));
    assert_eq!(counts, [57; 3]);
    schema.remove().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_large_is_done_alone() {
    let schema = Schema::new();
    let journal: Tested = Arc::new(schema.open().await);
    let large = |_| Submission { data: json!({ "text": "x".repeat(1 << 20) }), ..submission() };
    let all: Vec<_> = (0..20).map(large).collect();
    join_all(all.iter().map(|it| accept(&journal, it))).await;
    let begun = Event::Begun { attempt: 1, lease_until: at(60), asks_first: true };
    join_all(all.iter().map(|it| record(&journal, it.id, begun.clone(), at(1)))).await;
    // Of half of them the message is large, of the others the answer, which had come packed.
    let answered = |(number, id): (usize, SubmissionId)| {
        let is_packed = number % 2 == 1;
        let received = vec![2; if is_packed { 1000 } else { 1 << 20 }];
        let wire = Some(WireRecord { sent: vec![1; 1000], received, http_status: Some(200), truncated: false });
        let answer = Answer(if is_packed { json!({ "text": "x".repeat(1 << 20) }) } else { json!({}) });
        journal.record(id, Entry { wire, ..Entry::new(Event::Answered { attempt: 1, answer }, at(2)) })
    };
    let recorded = join_all(all.iter().map(|it| it.id).enumerate().map(answered)).await;
    assert!(recorded.iter().all(Result::is_ok), "{recorded:?}");
    for table in ["idempotency_keys", "submissions"] {
        let count = format!("SELECT count(DISTINCT CAST(xmin AS text)) FROM {table}");
        let transactions: i64 = schema.raw().await.query_one(&count, &[]).await.unwrap().get(0);
        assert_eq!(transactions, 20, "{table}");
    }
    for it in &all {
        assert_eq!(journal.find(it.id).await.unwrap().unwrap().submission.data, it.data);
        assert_eq!(journal.attempts(it.id).await.unwrap()[0].wire.as_ref().unwrap().sent.len(), 1000);
    }
    schema.remove().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_cannot_be_done_spoils_no_other() {
    let schema = Schema::new();
    let journal: Tested = Arc::new(schema.open().await);
    let twice = submission();
    accept(&journal, &twice).await;
    let unknown = SubmissionId::new();
    let all: Vec<_> = (0..40).map(|number| if number == 17 { twice.clone() } else { submission() }).collect();
    let keys: Vec<_> = all.iter().map(|_| fresh_key()).collect();
    let accepting = all.iter().zip(&keys).map(|(it, key)| journal.accept(it, key, false, None));
    let (accepted, not_found) =
        tokio::join!(join_all(accepting), journal.record(unknown, Entry::new(Event::Published, at(1))));
    for (number, acceptance) in accepted.into_iter().enumerate() {
        match number {
            17 => assert!(matches!(acceptance, Err(JournalError::Corrupt(_))), "{acceptance:?}"),
            _ => assert!(matches!(acceptance, Ok(Acceptance::New)), "{number}: {acceptance:?}"),
        }
    }
    assert!(matches!(not_found, Err(JournalError::NotFound(id)) if id == unknown));
    // Nothing of it was left behind.
    assert_eq!(journal.find_key(&office(), &keys[17]).await.unwrap(), None);
    for it in &all {
        assert_eq!(journal.timeline(it.id).await.unwrap().len(), 1);
    }
    schema.remove().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_whose_row_another_session_holds_keeps_no_other_waiting() {
    let schema = Schema::new();
    let journal: Tested = Arc::new(schema.open().await);
    let all: Vec<_> = join_all((0..20).map(|_| accepted(&journal))).await;
    let holder = schema.raw().await;
    let hold = format!("BEGIN; SELECT 1 FROM submissions WHERE id = '{}' FOR UPDATE", all[3]);
    holder.batch_execute(&hold).await.unwrap();
    let held = tokio::spawn({
        let (journal, id) = (journal.clone(), all[3]);
        async move { journal.record(id, Entry::new(Event::Published, at(1))).await }
    });
    let others = all.iter().filter(|id| **id != all[3]);
    let others = join_all(others.map(|id| journal.record(*id, Entry::new(Event::Published, at(1)))));
    let done = timeout(Duration::from_secs(8), others).await.expect("the others waited for the row as well");
    assert!(done.iter().all(Result::is_ok), "{done:?}");
    assert!(!held.is_finished());
    let count = "SELECT count(DISTINCT CAST(xmin AS text)) FROM changes WHERE to_state = 'queued'";
    let transactions: i64 = schema.raw().await.query_one(count, &[]).await.unwrap().get(0);
    assert!(transactions <= 6, "the others were done apart, in {transactions} transactions");
    holder.batch_execute("COMMIT").await.unwrap();
    assert_eq!(held.await.unwrap().unwrap().entered, [StateName::Queued]);
    schema.remove().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_decided_by_a_row_that_has_changed_since_is_decided_again() {
    let schema = Schema::new();
    let journal: Tested = Arc::new(schema.open().await);
    for (state, is_allowed) in [("queued", true), ("sending", false)] {
        let id = accepted(&journal).await;
        let holder = schema.raw().await;
        let data = match state {
            "queued" => r#"{"state": "queued"}"#.to_owned(),
            _ => serde_json::to_string(&State::Sending { attempt: 1, lease_until: at(900) }).unwrap(),
        };
        let move_on =
            format!("BEGIN; UPDATE submissions SET state = '{state}', state_data = '{data}' WHERE id = '{id}'");
        holder.batch_execute(&move_on).await.unwrap();
        let cancelled = tokio::spawn({
            let journal = journal.clone();
            let event = Event::CancelledByOffice { by: office() };
            async move { journal.record(id, Entry::new(event, at(1))).await }
        });
        // It has read the row as it was, and waits for it.
        sleep(Duration::from_millis(600)).await;
        assert!(!cancelled.is_finished());
        holder.batch_execute("COMMIT").await.unwrap();
        let outcome = cancelled.await.unwrap();
        match is_allowed {
            true => assert_eq!(outcome.unwrap().entered, [StateName::Cancelled]),
            false => assert!(matches!(outcome, Err(JournalError::Forbidden(_))), "{outcome:?}"),
        }
        let timeline = journal.timeline(id).await.unwrap();
        assert_eq!(timeline.len(), if is_allowed { 2 } else { 1 });
        assert!(timeline[1..].iter().all(|change| change.from == Some(StateName::Queued)), "{timeline:?}");
    }
    schema.remove().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn operations_on_one_submission_are_done_in_the_order_in_which_they_came() {
    let schema = Schema::new();
    let journal: Tested = Arc::new(schema.open().await);
    let all: Vec<_> = join_all((0..30).map(|_| accepted(&journal))).await;
    let events = [
        Event::Published,
        Event::Begun { attempt: 1, lease_until: at(60), asks_first: true },
        Event::PutBack { attempt: 1 },
        Event::Begun { attempt: 2, lease_until: at(60), asks_first: true },
    ];
    let (journal, events) = (&journal, &events);
    let of_one = |id: SubmissionId| {
        join_all(events.iter().map(move |event| journal.record(id, Entry::new(event.clone(), at(1)))))
    };
    let recorded = join_all(all.iter().map(|id| of_one(*id))).await;
    assert!(recorded.iter().flatten().all(Result::is_ok), "{recorded:?}");
    for id in all {
        assert_eq!(journal.timeline(id).await.unwrap().len(), 5);
    }
    schema.remove().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_that_change_the_same_submissions_at_once_change_each_once() {
    let schema = Schema::new();
    let journals: [Tested; 2] = [Arc::new(schema.open().await), Arc::new(schema.open().await)];
    let all: Vec<_> = join_all((0..40).map(|_| accepted(&journals[0]))).await;
    let begin = |journal: &Tested, id| {
        let (journal, begun) = (journal.clone(), Event::Begun { attempt: 1, lease_until: at(60), asks_first: true });
        async move { journal.record(id, Entry::new(begun, at(1))).await.is_ok() }
    };
    // In opposite orders, so that each waits for what the other has.
    let first = join_all(all.iter().map(|id| begin(&journals[0], *id)));
    let second = join_all(all.iter().rev().map(|id| begin(&journals[1], *id)));
    let (first, mut second) = timeout(Duration::from_secs(20), async { tokio::join!(first, second) }).await.unwrap();
    second.reverse();
    assert!(first.iter().zip(&second).all(|(one, other)| one != other), "{first:?} {second:?}");
    for id in all {
        assert_eq!(journals[0].attempts(id).await.unwrap().len(), 1);
    }
    schema.remove().await;
}
