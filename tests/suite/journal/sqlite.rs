//! What only the SQLite journal promises: one file, group commit, several handles, nothing lost when it is killed.

use super::*;
use punte::journal::{
    JournalError,
    sqlite::{back_up, put_in_place, try_own},
};
use std::{
    io::{BufRead, BufReader},
    os::unix::fs::{MetadataExt, PermissionsExt, chown},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

const CHILD_JOURNAL: &str = "PUNTE_TEST_CHILD_JOURNAL";

fn file() -> (PathBuf, tempfile::TempDir) {
    let home = tempfile::tempdir().unwrap();
    (home.path().join("made/here/journal.db"), home)
}

fn open(path: &Path) -> Tested {
    Arc::new(SqliteJournal::open(path).unwrap())
}

#[tokio::test]
async fn what_was_accepted_survives_closing_and_opening() {
    let (path, _home) = file();
    let journal = open(&path);
    let submission = submission();
    let key = fresh_key();
    journal.accept(&submission, &key, false, None).await.unwrap();
    drop(journal);
    let journal = open(&path);
    assert_eq!(journal.find(submission.id).await.unwrap().unwrap().submission, submission);
    let again = journal.accept(&super::submission(), &key, false, None).await.unwrap();
    assert_eq!(again, Acceptance::Repeated(submission.id));
}

#[tokio::test]
async fn closing_ends_what_was_handed_in_and_closes_the_file() {
    let (path, _home) = file();
    let journal = SqliteJournal::open(&path).unwrap();
    let submission = submission();
    journal.accept(&submission, &fresh_key(), false, None).await.unwrap();
    journal.close().await;
    // The last connection that closes folds the log into the file.
    assert!(!path.with_extension("db-wal").exists());
    assert!(open(&path).find(submission.id).await.unwrap().is_some());
}

#[tokio::test]
async fn the_file_is_this_user_s_alone() {
    let (path, _home) = file();
    let journal = open(&path);
    accepted(&journal).await;
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(path.parent().unwrap()), 0o700);
    assert_eq!(mode(&path), 0o600);
    assert_eq!(mode(&path.with_extension("db-wal")), 0o600);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_that_wait_together_are_committed_together() {
    let (path, _home) = file();
    let journal = Arc::new(SqliteJournal::open(&path).unwrap());
    let before = journal.writer_counts();
    let tested: Tested = journal.clone();
    futures_util::future::join_all((0..500).map(|_| accepted(&tested))).await;
    let after = journal.writer_counts();
    assert_eq!(after.commands - before.commands, 500);
    assert!(after.commits - before.commits < 100, "{} commits", after.commits - before.commits);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_begins_again_while_writing_goes_on() {
    let (path, _home) = file();
    let journal = open(&path);
    let (written, log) = (AtomicU64::new(0), path.with_extension("db-wal"));
    let longest = AtomicU64::new(0);
    let writing = (0..16).map(|_| async {
        while written.fetch_add(1, Ordering::Relaxed) < 1500 {
            let large = Submission { data: json!({"filling": "x".repeat(100_000)}), ..submission() };
            accept(&journal, &large).await;
            longest.fetch_max(log.metadata().unwrap().len(), Ordering::Relaxed);
        }
    });
    futures_util::future::join_all(writing).await;
    // 150 MB went through it.
    let longest_bytes = longest.into_inner();
    assert!((16 << 20..64 << 20).contains(&longest_bytes), "it was up to {longest_bytes} bytes long");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_that_fails_does_not_spoil_its_batch() {
    let (journal, _home) = on_sqlite();
    let calls = (0..100).map(|number| {
        let journal = journal.clone();
        async move {
            let id = accepted(&journal).await;
            // Every second one asks for the impossible.
            let event = if number % 2 == 0 { Event::Published } else { replay() };
            (number, id, journal.record(id, Entry::new(event, at(1))).await)
        }
    });
    for (number, id, outcome) in futures_util::future::join_all(calls).await {
        assert_eq!(outcome.is_ok(), number % 2 == 0);
        let expected = if number % 2 == 0 { StateName::Queued } else { StateName::Accepted };
        assert_eq!(state(&journal, id).await, expected);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_that_fails_half_way_is_undone_alone() {
    let (journal, _home) = on_sqlite();
    let twice = submission();
    accept(&journal, &twice).await;
    // The same identifier again breaks a rule of the schema, after its key was written.
    let calls = (0..60).map(|number| {
        let (journal, key) = (journal.clone(), fresh_key());
        let submission = if number % 10 == 5 { twice.clone() } else { submission() };
        async move { (number, key.clone(), journal.accept(&submission, &key, false, None).await) }
    });
    for (number, key, outcome) in futures_util::future::join_all(calls).await {
        if number % 10 == 5 {
            assert!(matches!(outcome, Err(JournalError::Corrupt(_))), "{outcome:?}");
            assert_eq!(
                journal.accept(&submission(), &key, false, None).await.unwrap(),
                Acceptance::New,
                "its key was kept"
            );
        } else {
            assert_eq!(outcome.unwrap(), Acceptance::New);
            assert!(matches!(journal.accept(&submission(), &key, false, None).await.unwrap(), Acceptance::Repeated(_)));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_handles_on_one_file_both_write() {
    let (path, _home) = file();
    let journals = [open(&path), open(&path)];
    let calls = (0..100).map(|number| accepted(&journals[number % 2]));
    let ids = futures_util::future::join_all(calls).await;
    for (number, id) in ids.iter().enumerate() {
        assert!(journals[(number + 1) % 2].find(*id).await.unwrap().is_some());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_who_open_a_new_file_at_once_all_get_it() {
    let (path, _home) = file();
    let opened: Vec<_> = (0..8)
        .map(|_| {
            let path = path.clone();
            std::thread::spawn(move || SqliteJournal::open(&path).map(|_| ()))
        })
        .collect();
    for thread in opened {
        thread.join().unwrap().unwrap();
    }
}

#[tokio::test]
async fn a_file_of_a_newer_program_is_refused() {
    let (path, _home) = file();
    drop(open(&path));
    let raw = rusqlite::Connection::open(&path).unwrap();
    raw.execute("INSERT INTO schema_version (version, applied_at) VALUES (99, 0)", ()).unwrap();
    let Err(JournalError::Corrupt(why)) = SqliteJournal::open(&path) else { panic!("opened") };
    assert!(why.contains("newer"), "{why}");
}

#[tokio::test]
async fn an_error_shows_nothing_of_a_row_that_cannot_be_read() {
    let (path, _home) = file();
    let journal = open(&path);
    let id = accepted(&journal).await;
    let raw = rusqlite::Connection::open(&path).unwrap();
    raw.execute(r#"UPDATE submissions SET body = '{"context": "CANARY"}'"#, ()).unwrap();
    let error = journal.find(id).await.unwrap_err();
    assert!(matches!(error, JournalError::Corrupt(_)));
    assert!(!format!("{error} {error:?}").contains("CANARY"), "{error:?}");
}

#[tokio::test]
async fn a_file_that_is_no_journal_is_refused() {
    let (path, _home) = file();
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, "this is no database, but it is long enough to be read as the head of one".repeat(20))
        .unwrap();
    let refused = || match SqliteJournal::open(&path) {
        Err(JournalError::Incomplete(why)) if why.contains(path.to_str().unwrap()) => why,
        Err(error) => panic!("{error:?}"),
        Ok(_) => panic!("opened"),
    };
    assert!(refused().contains("no file of SQLite's"), "{}", refused());
    std::fs::remove_file(&path).unwrap();
    let others = rusqlite::Connection::open(&path).unwrap();
    others.execute_batch("CREATE TABLE submissions (x); CREATE TABLE schema_version (version)").unwrap();
    drop(others);
    assert!(refused().contains("another program's database"), "{}", refused());
}

#[test]
fn only_one_owns_the_file_at_a_time() {
    let (path, _home) = file();
    let ownership = try_own(&path).unwrap();
    assert!(ownership.is_some());
    assert!(try_own(&path).unwrap().is_none());
    drop(ownership);
    assert!(try_own(&path).unwrap().is_some());
}

#[tokio::test]
async fn the_scheduler_s_questions_find_their_indexes() {
    let (path, _home) = file();
    drop(open(&path));
    let raw = rusqlite::Connection::open(&path).unwrap();
    for (sql, index) in [
        ("SELECT id FROM submissions WHERE due_at <= 1 ORDER BY due_at, id LIMIT 5", "submissions_due"),
        (
            "SELECT id FROM submissions WHERE (state = 'accepted' OR state = 'queued' OR state = 'retrying' OR \
             state = 'waiting') AND expires_at <= 1 ORDER BY expires_at, id LIMIT 5",
            "submissions_open",
        ),
        (
            "SELECT count(*) FROM submissions WHERE agency = 'a' AND state = 'queued' AND changed_at < 1",
            "submissions_of_agency",
        ),
        (
            "SELECT agency, state, count(*) FROM submissions GROUP BY agency, state",
            "COVERING INDEX submissions_of_agency",
        ),
        (
            "SELECT id FROM submissions WHERE office = 'a' ORDER BY accepted_at DESC, id DESC LIMIT 5",
            "submissions_of_office",
        ),
        // What an operator names by the beginning of its id, and by the end.
        (
            "SELECT * FROM submissions WHERE id BETWEEN 'a' AND 'b' ORDER BY id DESC LIMIT 11",
            "SEARCH submissions USING INDEX sqlite_autoindex_submissions_1 (id>? AND id<?)",
        ),
        (
            "SELECT id FROM submissions WHERE CAST(id AS text) LIKE '%a' ORDER BY id DESC LIMIT 11",
            "COVERING INDEX sqlite_autoindex_submissions_1",
        ),
    ] {
        let plan: Vec<String> = raw
            .prepare(&format!("EXPLAIN QUERY PLAN {sql}"))
            .and_then(|mut it| it.query_map((), |row| row.get(3))?.collect())
            .unwrap();
        assert!(plan[0].contains(index), "{sql}: {plan:?}");
    }
}

/// Of all sizes, so that pages are filled, split and put together again, and erased by one handle beside another.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_erased_is_in_no_file_of_the_journal() {
    const CANARY: &str = "CANARY-4f1d";
    let (path, home) = file();
    let (journal, beside) = (open(&path), open(&path));
    let canaries = |bytes: usize| format!("{CANARY} ").repeat(bytes / 12 + 1);
    let lives = (0..400_usize).map(|number| {
        let journal = journal.clone();
        async move {
            let subject = Subject { scheme: "idnp".into(), id: CANARY.into() };
            let data = json!({ "a": canaries(number * 7919 % 9000) });
            let context = CallContext { clerk: CANARY.into(), ..submission().context };
            let id = accept(&journal, &Submission { subject, data, context, ..submission() }).await;
            record(&journal, id, Event::Begun { attempt: 1, lease_until: at(60), asks_first: true }, at(1)).await;
            let end = match number % 3 {
                0 => Event::GivenUp { attempt: 1, fault: fault(Code::NetworkConnect) },
                1 => Event::RefusedByAgency { attempt: 1, refusal: Refusal { code: "x".into(), text: canaries(50) } },
                _ => Event::Answered { attempt: 1, answer: Answer(json!({ "b": canaries(number * 131 % 3000) })) },
            };
            let bytes = wire(&canaries(number * 17 % 7000), &canaries(number * 257 % 5000));
            journal.record(id, Entry { wire: Some(bytes), ..Entry::new(end, at(2)) }).await.unwrap();
        }
    });
    futures_util::future::join_all(lives).await;
    assert!(files_with(home.path(), CANARY) > 0, "there is nothing to erase");
    assert!(beside.erase_wire(at(3), at(9)).await.unwrap() > 0);
    assert!(beside.erase_content(at(3), at(9)).await.unwrap() > 0);
    assert!(beside.erase_parked(at(3), at(9)).await.unwrap() > 0);
    beside.remove_traces().await.unwrap();
    assert_eq!(files_with(home.path(), CANARY), 0);
}

/// In how many files of this folder and below a text stands.
pub(crate) fn files_with(folder: &Path, text: &str) -> usize {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let number = entries.map(|path| match path.is_dir() {
        true => files_with(&path, text),
        false => {
            let bytes = std::fs::read(&path).unwrap();
            let found = bytes.windows(text.len()).filter(|it| *it == text.as_bytes()).count();
            if found > 0 {
                println!("{}: {found} times", path.display());
            }
            usize::from(found > 0)
        }
    });
    number.sum()
}

/// The child is this test itself, started anew with the path of a journal in its environment.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_was_answered_is_there_after_kill_9() {
    if let Some(path) = std::env::var_os(CHILD_JOURNAL) {
        return accept_until_killed(Path::new(&path)).await;
    }
    let (path, _home) = file();
    for _ in 0..3 {
        let answered = answered_before_kill_9(&path);
        let journal = open(&path);
        for id in answered {
            assert!(journal.find(id).await.unwrap().is_some(), "{id} was answered and is lost");
        }
    }
}

fn answered_before_kill_9(path: &Path) -> Vec<SubmissionId> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "journal::sqlite::whatever_was_answered_is_there_after_kill_9", "--nocapture"])
        .env(CHILD_JOURNAL, path)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let deadline = Instant::now() + Duration::from_secs(30);
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let mut ids = lines.filter_map(|line| line.strip_prefix("accepted ")?.parse::<SubmissionId>().ok());
    let mut answered: Vec<_> = ids.by_ref().take_while(|_| Instant::now() < deadline).take(200).collect();
    // In the middle of its work: it never stops by itself.
    child.kill().unwrap();
    child.wait().unwrap();
    answered.extend(ids);
    assert!(answered.len() >= 200, "the child accepted only {}", answered.len());
    answered
}

async fn accept_until_killed(path: &Path) {
    let journal = open(path);
    let workers = (0..8).map(|_| async {
        loop {
            let id = accepted(&journal).await;
            println!("accepted {id}");
        }
    });
    futures_util::future::join_all(workers).await;
}

#[tokio::test]
async fn a_change_makes_no_temporary_table() {
    let (path, _home) = file();
    drop(open(&path));
    let raw = rusqlite::Connection::open(&path).unwrap();
    let steps: Vec<String> = raw
        .prepare("EXPLAIN UPDATE submissions SET state = 'x', due_at = 1, changed_at = 1 WHERE id = 'y'")
        .and_then(|mut it| it.query_map((), |row| row.get(1))?.collect())
        .unwrap();
    assert!(steps.iter().any(|step| step == "IdxInsert"), "{steps:?}");
    assert!(!steps.iter().any(|step| step == "OpenEphemeral"), "{steps:?}");
}

/// `cp journal.db` while a process has it open: what was accepted is in the log, which stays behind.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_of_a_running_journal_without_its_log_is_refused_in_words() {
    let (path, home) = file();
    let journal = open(&path);
    let id = accepted(&journal).await;
    let copy = home.path().join("copy.db");
    std::fs::copy(&path, &copy).unwrap();
    for opened in [SqliteJournal::open(&copy), SqliteJournal::open_for_command(&copy)] {
        let Err(JournalError::Incomplete(why)) = opened else { panic!("it was opened") };
        assert!(why.contains("punte journal restore") && why.contains("-wal"), "{why}");
    }
    // Looking at it has not made it whole.
    assert!(matches!(SqliteJournal::open(&copy), Err(JournalError::Incomplete(_))));
    // With its log it is whole, also after a kill.
    std::fs::copy(path.with_extension("db-wal"), copy.with_extension("db-wal")).unwrap();
    assert!(open(&copy).find(id).await.unwrap().is_some());
    // What an older release left of a running journal is a head without any table.
    let empty = home.path().join("empty.db");
    let raw = rusqlite::Connection::open(&empty).unwrap();
    raw.execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE submissions (id TEXT);").unwrap();
    let head = home.path().join("head.db");
    std::fs::copy(&empty, &head).unwrap();
    assert_eq!(head.metadata().unwrap().len(), 4096);
    assert!(matches!(SqliteJournal::open(&head), Err(JournalError::Incomplete(_))));
    // An operator says that it is all there is.
    let lost = home.path().join("lost.db");
    std::fs::copy(&path, &lost).unwrap();
    assert!(SqliteJournal::open(&lost).is_err());
    drop(SqliteJournal::open_without_log(&lost).unwrap());
    assert!(SqliteJournal::open(&lost).is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_journal_that_was_closed_in_order_or_killed_is_whole() {
    let (path, home) = file();
    drop(open(&path));
    drop(open(&path));
    let cold = home.path().join("cold.db");
    std::fs::copy(&path, &cold).unwrap();
    drop(open(&cold));
    // Killed: the log stays. A command closes the file for it.
    let copies = ["killed.db", "commanded.db"].map(|name| home.path().join(name));
    let journal = open(&path);
    let id = accepted(&journal).await;
    for copy in &copies {
        std::fs::copy(&path, copy).unwrap();
        std::fs::copy(path.with_extension("db-wal"), copy.with_extension("db-wal")).unwrap();
    }
    assert!(open(&copies[0]).find(id).await.unwrap().is_some());
    assert!(SqliteJournal::open_for_command(&copies[1]).unwrap().find(id).await.unwrap().is_some());
    assert!(!copies[1].with_extension("db-wal").exists());
    assert!(open(&copies[1]).find(id).await.unwrap().is_some());
    // A command beside the one who works leaves it as it is.
    let _owned = try_own(&path).unwrap();
    drop(SqliteJournal::open_for_command(&path).unwrap());
    std::fs::copy(&path, home.path().join("late.db")).unwrap();
    assert!(matches!(SqliteJournal::open(&home.path().join("late.db")), Err(JournalError::Incomplete(_))));
}

/// What `sqlite3` does when somebody has used it on the journal of a process that was killed.
fn looked_at_by_another_program(path: &Path) {
    let raw = rusqlite::Connection::open(path).unwrap();
    raw.query_row("SELECT count(*) FROM submissions", (), |row| row.get::<_, u32>(0)).unwrap();
    drop(raw);
    assert!(!path.with_extension("db-wal").exists(), "the log was not put into the file");
}

/// The journal as it is left behind when its process is killed now, or with less than that.
fn left_behind(path: &Path, name: &str, ends: &[&str]) -> PathBuf {
    let copy = path.with_file_name(name);
    for end in ends {
        std::fs::copy(path.with_extension(format!("db{end}")), copy.with_extension(format!("db{end}"))).unwrap();
    }
    copy
}

const ALL_OF_IT: [&str; 3] = ["", "-wal", "-log-id"];
const ALL_BUT_THE_LOG: [&str; 2] = ["", "-log-id"];

/// So much that parts of the log go into the file, more than once.
async fn accept_much(journal: &Tested) {
    for _ in 0..4 {
        let large = json!({ "text": "x".repeat(600_000) });
        let accepted = (0..10).map(|_| {
            let large = Submission { data: large.clone(), ..submission() };
            async move { accept(journal, &large).await }
        });
        futures_util::future::join_all(accepted).await;
    }
}

/// A log that has begun stays the newest for longer than any rest of one waits.
async fn until_no_more_goes_into(path: &Path) {
    let noted = || std::fs::read(path.with_extension("db-log-id")).unwrap();
    let begun = Instant::now();
    loop {
        let before = noted();
        tokio::time::sleep(Duration::from_millis(1500)).await;
        if !before.is_empty() && before == noted() {
            return;
        }
        assert!(begun.elapsed() < Duration::from_secs(30), "no new log begins");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_journal_into_which_another_program_has_put_all_of_its_log_is_whole() {
    let (path, _home) = file();
    let journal = open(&path);
    let first = accepted(&journal).await;
    let early = left_behind(&path, "early.db", &ALL_OF_IT);
    accept_much(&journal).await;
    until_no_more_goes_into(&path).await;
    let last = accepted(&journal).await;
    let late = left_behind(&path, "late.db", &ALL_OF_IT);
    let erased = {
        completed(&journal).await;
        assert_eq!(journal.erase_wire(at(3), at(10)).await.unwrap(), 1);
        left_behind(&path, "erased.db", &ALL_OF_IT)
    };
    for (killed, newest) in [(&early, first), (&late, last), (&erased, last)] {
        looked_at_by_another_program(killed);
        looked_at_by_another_program(killed);
        assert!(
            SqliteJournal::open_for_command(killed).unwrap().find(newest).await.unwrap().is_some(),
            "{}",
            killed.display()
        );
        assert!(open(killed).find(newest).await.unwrap().is_some(), "{}", killed.display());
    }
    // Such a file is whole only as long as no more was done with the journal.
    let killed = left_behind(&path, "again.db", &ALL_OF_IT);
    looked_at_by_another_program(&killed);
    let kept = std::fs::read(&killed).unwrap();
    let journal = open(&killed);
    accepted(&journal).await;
    let lost = left_behind(&killed, "lost.db", &ALL_BUT_THE_LOG);
    assert!(matches!(SqliteJournal::open(&lost), Err(JournalError::Incomplete(_))));
    std::fs::write(&lost, kept).unwrap();
    assert!(matches!(SqliteJournal::open(&lost), Err(JournalError::Incomplete(_))), "an older one was put back");
    // Nor is a copy that such a program has made meanwhile, and that is put in the journal's place.
    let copy = killed.with_file_name("copy.db");
    let raw = rusqlite::Connection::open(&killed).unwrap();
    raw.execute("VACUUM INTO ?1", [copy.to_str().unwrap()]).unwrap();
    std::fs::copy(&copy, &lost).unwrap();
    assert!(matches!(SqliteJournal::open(&lost), Err(JournalError::Incomplete(_))), "a copy was put in its place");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_journal_whose_log_is_lost_is_refused_however_much_of_it_was_in_the_file_already() {
    let (path, _home) = file();
    let journal = open(&path);
    let _owned = try_own(&path).unwrap();
    let erases = async |journal: &Tested| {
        completed(journal).await;
        assert_eq!(journal.erase_content(at(3), at(9)).await.unwrap(), 1);
    };
    for round in 0..6 {
        match round % 4 {
            0 => drop(accepted(&journal).await),
            1 => accept_much(&journal).await,
            2 => erases(&(Arc::new(SqliteJournal::open_for_command(&path).unwrap()) as Tested)).await,
            _ => erases(&journal).await,
        }
        tokio::time::sleep(Duration::from_millis(round % 5 * 400)).await;
        let lost = left_behind(&path, "lost.db", &ALL_BUT_THE_LOG);
        for opened in [SqliteJournal::open(&lost), SqliteJournal::open_for_command(&lost)] {
            assert!(matches!(opened, Err(JournalError::Incomplete(_))), "round {round}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_of_a_running_journal_is_whole_and_says_that_it_is_one() {
    let (path, home) = file();
    let journal = open(&path);
    let backup = home.path().join("backup.db");
    let before = accepted(&journal).await;
    let writing = (0..200).map(|_| accepted(&journal));
    let taking = tokio::task::spawn_blocking({
        let (path, backup) = (path.clone(), backup.clone());
        move || back_up(&path, &backup)
    });
    futures_util::future::join_all(writing).await;
    taking.await.unwrap().unwrap();
    let after = accepted(&journal).await;
    assert_eq!(backup.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let Err(error) = back_up(&path, &backup) else { panic!("it was written over") };
    assert!(error.to_string().contains("exists already"), "{error}");

    let owned = try_own(&path).unwrap();
    let Err(error) = put_in_place(&backup, &path) else { panic!("a process has it open") };
    assert!(error.to_string().contains("stop it first"), "{error}");
    drop((journal, owned));
    // Whoever may do so restores for the user that runs Punte.
    let is_root = home.path().metadata().unwrap().uid() == 0;
    let owner = if is_root { 65_534 } else { path.metadata().unwrap().uid() };
    chown(&path, Some(owner), None).unwrap();
    let aside = put_in_place(&backup, &path).unwrap().unwrap();
    for given in [path.clone(), path.with_extension("db.lock")] {
        assert_eq!(given.metadata().unwrap().uid(), owner, "{}", given.display());
    }
    let journal = open(&path);
    assert!(journal.find(before).await.unwrap().is_some());
    assert!(journal.find(after).await.unwrap().is_none());
    assert!(matches!(journal.mark().await.unwrap().behind(None), Some(Behind::Backup { .. })));
    journal.confirm_mark(at(9000)).await.unwrap();
    assert_eq!(journal.mark().await.unwrap().behind(None), None);
    assert!(open(&aside).find(after).await.unwrap().is_some(), "what was there is not kept");
    // A journal whose process was killed keeps its log.
    let killed = home.path().join("killed.db");
    std::fs::copy(&path, &killed).unwrap();
    std::fs::copy(path.with_extension("db-wal"), killed.with_extension("db-wal")).unwrap();
    back_up(&killed, &home.path().join("of-killed.db")).unwrap();
    assert!(open(&killed).find(before).await.unwrap().is_some());
    // The backup itself can be put in place again, and what is no journal cannot.
    drop(journal);
    put_in_place(&backup, &path).unwrap();
    let other = home.path().join("other.db");
    rusqlite::Connection::open(&other).unwrap().execute_batch("CREATE TABLE a (b)").unwrap();
    std::fs::write(home.path().join("text.db"), "no database").unwrap();
    for wrong in [other, home.path().join("text.db"), home.path().join("nowhere.db")] {
        assert!(put_in_place(&wrong, &path).is_err(), "{}", wrong.display());
    }
    assert!(open(&path).find(before).await.unwrap().is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_journal_whose_file_or_log_is_taken_away_while_it_is_open_takes_nothing_more_and_says_so() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("journal.db");
    let journal: Tested = Arc::new(SqliteJournal::open(&path).unwrap());
    let id = accepted(&journal).await;
    for file in ["journal.db", "journal.db-wal"] {
        let (file, aside) = (home.path().join(file), home.path().join("aside"));
        std::fs::rename(&file, &aside).unwrap();
        // A copy is no longer what is open.
        for copied in [false, true] {
            if copied {
                std::fs::copy(&aside, &file).unwrap();
            }
            let refused = journal.accept(&submission(), &fresh_key(), false, None).await.unwrap_err().to_string();
            let unready = journal.ping().await.unwrap_err().to_string();
            for why in [refused, unready] {
                assert!(why.contains(file.to_str().unwrap()) && why.contains("removed, moved or replaced"), "{why}");
            }
        }
        std::fs::rename(&aside, &file).unwrap();
        journal.ping().await.unwrap();
    }
    assert_eq!(state(&journal, id).await, StateName::Accepted);
    std::fs::remove_file(&path).unwrap();
    drop(journal);
    assert!(!path.exists(), "a new one was made in its place");
}
