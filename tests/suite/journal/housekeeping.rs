//! Housekeeping: the scheduler erases what has been kept long enough, whatever one of its steps cannot do.

use super::{accepting::attachment, *};
use punte::{
    attachments::AttachmentStore, broker::embedded::EmbeddedBroker, roles::scheduler::Scheduler, settings::Retention,
    submissions::Submissions,
};
use std::{path::Path, time::Duration};
use tokio_util::sync::CancellationToken;

const HOUR: SignedDuration = SignedDuration::from_hours(1);

on_both! {
    an_old_file_that_no_record_has_is_removed_and_others_stay
}

/// A day after everything in these tests, with everything kept for so long.
fn scheduler(journal: Tested, folder: &Path, kept: SignedDuration) -> Arc<Scheduler> {
    let schedule =
        Schedule::new(Duration::from_secs(1), Duration::from_secs(1), 1.0, 0.0, 1, Duration::from_secs(1)).unwrap();
    let clock = Arc::new(ManualClock::at(at(100_000)));
    Arc::new(Scheduler {
        submissions: Submissions::without_listeners(journal.clone(), clock.clone()),
        journal,
        broker: Arc::new(EmbeddedBroker::default()),
        adapters: Arc::default(),
        clock,
        metrics: punte::telemetry::Metrics::new(),
        retention: Retention { wire: kept, content: kept, parked: kept, keys: kept },
        housekeeping_every: Duration::from_secs(2),
        lost_after: SignedDuration::from_secs(1),
        fallback_schedule: schedule,
        attachments: AttachmentStore::open(folder).unwrap(),
        outbox_filled: Arc::default(),
    })
}

async fn tidied(journal: Tested, folder: &Path) {
    let stop = CancellationToken::new();
    let running = tokio::spawn(scheduler(journal, folder, HOUR).run(stop.clone()));
    tokio::time::sleep(Duration::from_secs(3)).await;
    stop.cancel();
    running.await.unwrap();
}

/// Written two hours ago.
async fn old_file(folder: &Path, id: AttachmentId) {
    AttachmentStore::open(folder).unwrap().begin().unwrap().keep(id).await.unwrap();
    let two_hours_ago = std::time::SystemTime::now() - Duration::from_secs(7200);
    std::fs::File::options().write(true).open(path(folder, id)).unwrap().set_modified(two_hours_ago).unwrap();
}

fn path(folder: &Path, id: AttachmentId) -> std::path::PathBuf {
    let name = id.to_string();
    folder.join(&name[name.len() - 2..]).join(name)
}

async fn an_old_file_that_no_record_has_is_removed_and_others_stay(journal: Tested) {
    let folder = tempfile::tempdir().unwrap();
    let (nobodys, arriving, recorded) = (AttachmentId::new(), AttachmentId::new(), attachment());
    old_file(folder.path(), nobodys).await;
    old_file(folder.path(), recorded.id).await;
    journal.add_attachment(&office(), &recorded, &AttachmentBytes::ENDLESS, at(99_000)).await.unwrap().unwrap();
    AttachmentStore::open(folder.path()).unwrap().begin().unwrap().keep(arriving).await.unwrap();
    tidied(journal, folder.path()).await;
    let is_there = |id| path(folder.path(), id).exists();
    assert_eq!((is_there(nobodys), is_there(arriving), is_there(recorded.id)), (false, true, true));
}

/// A new log's first change gives it its id: one page with its two heads.
const LOG_OF_ITS_ID_BYTES: u64 = 32 + 24 + 4096;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_step_that_fails_keeps_no_other_from_erasing() {
    let home = tempfile::tempdir().unwrap();
    let journal_path = home.path().join("journal.db");
    let journal: Tested = Arc::new(SqliteJournal::open(&journal_path).unwrap());
    let id = completed(&journal).await;
    let unused = attachment();
    journal.add_attachment(&office(), &unused, &AttachmentBytes::ENDLESS, at(0)).await.unwrap().unwrap();
    old_file(home.path(), unused.id).await;
    let raw = rusqlite::Connection::open(&journal_path).unwrap();
    raw.execute_batch(
        "CREATE TRIGGER no_first_step BEFORE UPDATE OF sent ON attempts WHEN NEW.submission <> OLD.submission OR \
         NOT EXISTS (SELECT 1 FROM submissions WHERE id = OLD.submission AND body IS NULL) \
         BEGIN SELECT RAISE(ABORT, 'no'); END",
    )
    .unwrap();
    tidied(journal.clone(), home.path()).await;
    assert!(journal.find(id).await.unwrap().unwrap().erased_at.is_some(), "the content");
    assert_eq!(journal.attachment(&office(), unused.id).await.unwrap(), None);
    assert!(!path(home.path(), unused.id).exists(), "the file");
    let log = std::fs::metadata(journal_path.with_extension("db-wal")).map_or(0, |log| log.len());
    assert!(log <= LOG_OF_ITS_ID_BYTES, "the traces: {log}");
}

/// As whoever was killed between the two leaves it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_erased_before_a_start_and_left_traces_leaves_none_at_the_second_look() {
    let home = tempfile::tempdir().unwrap();
    let journal: Tested = Arc::new(SqliteJournal::open(&home.path().join("journal.db")).unwrap());
    completed(&journal).await;
    assert_eq!(journal.erase_wire(at(3), at(10)).await.unwrap(), 1);
    assert!(files_with(home.path(), SENT) > 0, "there are no traces");
    let stop = CancellationToken::new();
    let running = tokio::spawn(scheduler(journal, home.path(), HOUR * 1000).run(stop.clone()));
    let begun = std::time::Instant::now();
    while files_with(home.path(), SENT) > 0 {
        assert!(begun.elapsed() < Duration::from_secs(30), "the traces are still there");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    stop.cancel();
    running.await.unwrap();
}
