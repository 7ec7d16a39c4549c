//! The power is lost at any write of the SQLite journal: whatever was answered is there afterwards, and everything else is
//! whole or absent. The disk keeps what was synced, and of the rest what it likes, torn where it likes.

use super::{
    platter::{FATES, OnDisk, Unsynced, happen},
    recorder::{self, Step},
};
use crate::harness::{chance, is_long};
use jiff::{SignedDuration, Timestamp};
use punte::{
    domain::*,
    journal::{Acceptance, Entry, IdempotencyKey, Journal, JournalError, sqlite::SqliteJournal},
};
use rand::{Rng, SeedableRng, rngs::StdRng};
use serde_json::json;
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

/// Every submission goes through these states, each of which is told when the journal has answered.
const STATES: [&str; 4] = ["accepted", "queued", "sending", "completed"];

fn at(secs: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000).unwrap() + SignedDuration::from_secs(secs)
}

fn submission(number: usize) -> Submission {
    Submission {
        id: SubmissionId::new(),
        office: "causeni".parse().unwrap(),
        service: "person-lookup".parse().unwrap(),
        agency: "civil-registry".parse().unwrap(),
        effect: Effect::Lookup,
        priority: Priority::Ordinary,
        context: CallContext {
            clerk: "2000000000900".into(),
            entity: "1000000000001".into(),
            legal_basis: "Law 100/2020, art. 5".into(),
            reason: format!("Application {number}"),
        },
        subject: Subject { scheme: "idnp".into(), id: "2000000000001".into() },
        data: json!({"filling": "x".repeat(number % 7 * 900)}),
        attachments: vec![],
        accepted_at: at(0),
        expires_at: at(3600),
        trace: TraceParent::fresh(),
    }
}

fn key(number: usize) -> IdempotencyKey {
    IdempotencyKey { key: format!("key-{number}"), body_sha256: [7; 32] }
}

/// One submission's whole life; the error, and how far it came, if the journal fails.
async fn live(
    (journal, path): (&SqliteJournal, &Path),
    submission: &Submission,
    number: usize,
) -> Result<(), JournalError> {
    let told = |state: usize| recorder::tell(path, number * STATES.len() + state);
    if journal.accept(submission, &key(number), true, None).await? == Acceptance::New {
        told(0);
    }
    journal.claim_outbox(5, at(1), at(60), &[], &Default::default()).await?;
    journal.published(&[submission.id], at(1)).await?;
    told(1);
    journal
        .record(submission.id, Entry::new(Event::Begun { attempt: 1, lease_until: at(60), asks_first: true }, at(2)))
        .await?;
    told(2);
    let answered = Event::Answered { attempt: 1, answer: Answer(json!({"name": "CANARY"})) };
    let wire = WireRecord { sent: vec![1; 3000], received: vec![2; 3000], http_status: Some(200), truncated: false };
    journal.record(submission.id, Entry { wire: Some(wire), ..Entry::new(answered, at(3)) }).await?;
    told(3);
    Ok(())
}

/// The journal as it is found after the loss: opened by the program itself, then looked at past it.
fn check(path: &Path, ids: &[SubmissionId], told: &BTreeMap<usize, usize>, what: &str) -> usize {
    drop(SqliteJournal::open(path).unwrap_or_else(|error| panic!("{what}: it cannot be opened: {error}")));
    let raw = rusqlite::Connection::open(path).unwrap();
    let sound: String = raw.query_row("PRAGMA integrity_check", (), |row| row.get(0)).unwrap();
    assert_eq!(sound, "ok", "{what}");
    let count = |sql: &str| raw.query_row(sql, (), |row| row.get::<_, u32>(0)).unwrap();
    for (table, column) in [
        ("idempotency_keys", "submission"),
        ("outbox", "submission"),
        ("changes", "submission"),
        ("attempts", "submission"),
    ] {
        let orphans = format!("SELECT count(*) FROM {table} WHERE {column} NOT IN (SELECT id FROM submissions)");
        assert_eq!(count(&orphans), 0, "{what}: {table} speaks of submissions that are not there");
    }
    let sql = "SELECT state, (SELECT count(*) FROM idempotency_keys WHERE submission = s.id), \
               (SELECT count(*) FROM outbox WHERE submission = s.id), (SELECT count(*) FROM changes WHERE submission = s.id), \
               (SELECT count(*) FROM attempts WHERE submission = s.id), \
               (SELECT count(*) FROM attempts WHERE submission = s.id AND length(sent) = 3000 AND outcome IS NOT NULL), \
               (SELECT count(*) FROM notices WHERE submission = s.id) FROM submissions s WHERE id = ?";
    let mut found = 0;
    for (number, id) in ids.iter().enumerate() {
        let row = raw.query_row(sql, [id.to_string()], |row| {
            let counts = (1..7).map(|column| row.get::<_, u32>(column)).collect::<Result<Vec<_>, _>>()?;
            Ok((row.get::<_, String>(0)?, counts))
        });
        let Ok((state, counts)) = row else {
            assert!(!told.contains_key(&number), "{what}: {id} was answered and is lost");
            continue;
        };
        found += 1;
        let rank = STATES.iter().position(|it| *it == state).unwrap();
        if let Some(told) = told.get(&number) {
            assert!(rank >= *told, "{what}: {id} was told to be {} and is {state}", STATES[*told]);
        }
        let step = |from: usize| u32::from(rank >= from);
        let whole = [1, u32::from(rank == 0), rank as u32 + 1, step(2), step(3), step(3)];
        assert_eq!(counts, whole, "{what}: {id} is {state}, and not whole");
    }
    found
}

/// Which submission was told to be in which state.
fn told_by(step: &Step) -> Option<(usize, usize)> {
    if let Step::Told(number) = step { Some((number / STATES.len(), number % STATES.len())) } else { None }
}

/// Files as they would be found, by their names.
fn lay_out(disk: &BTreeMap<PathBuf, OnDisk>, to: &Path, fate: Unsynced, random: &mut StdRng) {
    for (file, on_disk) in disk {
        std::fs::write(to.join(file.file_name().unwrap()), on_disk.after_power_loss(fate, random)).unwrap();
    }
}

/// Which steps the power is lost before: some of each sort, since those of one sort are much alike.
fn moments(steps: &[Step], of_a_sort: usize, random: &mut StdRng) -> Vec<usize> {
    let mut sorts: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (number, step) in steps.iter().enumerate() {
        let ending = |file: &Path| file.to_string_lossy().rsplit('.').next().unwrap().to_owned();
        let sort = match step {
            Step::Write { file, at: 0, .. } => format!("beginning of {}", ending(file)),
            Step::Write { file, .. } => format!("write to {}", ending(file)),
            Step::Truncate { file, .. } => format!("truncation of {}", ending(file)),
            Step::Sync { file } => format!("sync of {}", ending(file)),
            Step::Delete { file } => format!("deletion of {}", ending(file)),
            Step::Told(_) => "answer".into(),
        };
        sorts.entry(sort).or_default().push(number);
    }
    let mut chosen = Vec::new();
    for (sort, numbers) in sorts {
        println!("{sort}: {}", numbers.len());
        chosen.extend((0..of_a_sort.min(numbers.len())).map(|_| numbers[random.random_range(0..numbers.len())]));
    }
    chosen.sort_unstable();
    chosen.dedup();
    chosen
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_answered_is_there_after_the_power_is_lost_at_any_write() {
    let home = tempfile::tempdir().unwrap();
    recorder::begin(home.path());
    let path = home.path().join("journal.db");
    let journal = Arc::new(SqliteJournal::open(&path).unwrap());
    let lives: Vec<_> = (0..320).map(submission).collect();
    let ids: Vec<_> = lives.iter().map(|submission| submission.id).collect();
    // Eight at once, as offices are, so that commits carry several.
    for (begin, together) in (0..).step_by(8).zip(lives.chunks(8)) {
        let together = (begin..).zip(together).map(|(number, submission)| live((&journal, &path), submission, number));
        for lived in futures_util::future::join_all(together).await {
            lived.unwrap();
        }
    }
    let steps = recorder::recorded(home.path());
    let mut random = chance();
    let moments = moments(&steps, if is_long() { 2_000 } else { 25 }, &mut random);
    let (mut disk, mut told, mut losses) = (BTreeMap::<PathBuf, OnDisk>::new(), BTreeMap::new(), 0);
    let mut next = moments.iter().copied().peekable();
    for (number, step) in steps.iter().enumerate() {
        if next.next_if_eq(&number).is_some() {
            for fate in FATES {
                lose_power(&disk, &ids, &told, fate, &mut random, &format!("step {number}, {fate:?} of the rest"));
                losses += 1;
            }
        }
        happen(step, &mut disk, true);
        told.extend(told_by(step));
    }
    assert_eq!(told.len(), ids.len());
    println!("power lost {losses} times in {} writes and syncs: nothing lost, nothing half", steps.len());
    a_disk_that_syncs_nothing_is_found_out(&steps, &ids);
}

fn lose_power(
    disk: &BTreeMap<PathBuf, OnDisk>,
    ids: &[SubmissionId],
    told: &BTreeMap<usize, usize>,
    fate: Unsynced,
    random: &mut StdRng,
    what: &str,
) {
    let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    lay_out(disk, folder.path(), fate, random);
    check(&folder.path().join("journal.db"), ids, told, what);
}

/// The same log with syncs left out after its first half: the check must see what is lost then.
fn a_disk_that_syncs_nothing_is_found_out(steps: &[Step], ids: &[SubmissionId]) {
    let (mut disk, mut told) = (BTreeMap::new(), BTreeMap::new());
    for (number, step) in steps.iter().enumerate() {
        happen(step, &mut disk, number < steps.len() / 2);
        told.extend(told_by(step));
    }
    let mut random = StdRng::seed_from_u64(1);
    let lose = || lose_power(&disk, ids, &told, Unsynced::Nothing, &mut random, "without syncs");
    let found_out = std::panic::catch_unwind(std::panic::AssertUnwindSafe(lose));
    assert!(found_out.is_err(), "the check sees nothing");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_is_full_at_any_write_refuses_and_keeps_what_was_answered() {
    let rounds = if is_long() { 2_000 } else { 60 };
    let mut random = chance();
    let (mut refused, mut answered) = (0, 0);
    let home = tempfile::tempdir().unwrap();
    recorder::begin(home.path());
    let path = home.path().join("journal.db");
    let journal = SqliteJournal::open(&path).unwrap();
    for round in 0..rounds {
        let submissions = [submission(round), submission(round + 1)];
        recorder::leave_room_for(home.path(), random.random_range(0..1_500_000));
        let numbers = [2 * round, 2 * round + 1];
        let lived = futures_util::future::join_all(
            numbers.iter().zip(&submissions).map(|(number, submission)| live((&journal, &path), submission, *number)),
        )
        .await;
        recorder::leave_room_for(home.path(), i64::MAX);
        for ((number, submission), lived) in numbers.iter().zip(&submissions).zip(lived) {
            let Err(error) = lived else {
                answered += 1;
                continue;
            };
            refused += 1;
            assert!(matches!(error, JournalError::Unavailable(_)), "{error:?}");
            // The same again, as an office would with its key: it goes on where it was.
            let again = journal.accept(submission, &key(*number), true, None).await.unwrap();
            assert!(!matches!(again, Acceptance::KeyReused(_)));
            let progress = journal.find(submission.id).await.unwrap().unwrap().progress;
            assert!(STATES.contains(&progress.state.name().as_str()));
        }
    }
    let told: BTreeMap<_, _> = recorder::recorded(home.path()).iter().filter_map(told_by).collect();
    assert!(refused > 0 && answered > 0, "{refused} refused, {answered} answered");
    let raw = rusqlite::Connection::open(&path).unwrap();
    for (number, state) in told {
        let sql = "SELECT s.state FROM submissions s JOIN idempotency_keys k ON k.submission = s.id WHERE k.key = ?";
        let found: String = raw.query_row(sql, [format!("key-{number}")], |row| row.get(0)).unwrap();
        assert!(STATES.iter().position(|it| *it == found).unwrap() >= state, "{number} was {state}, is {found}");
    }
    println!("disk full at {rounds} random writes: {refused} refused, {answered} done, nothing answered was lost");
}
