//! The disk below the SQLite journal is full, or cannot be written: offices are told to come again, what is under way waits,
//! and all goes on when there is room.

use super::trial::Trial;
use crate::harness::{ProcessCluster, is_long};
use std::{
    fs::File,
    io::Write,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};
use tokio::time::sleep;

/// A file system of some megabytes, in memory.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    /// `None`, and the reason printed, where nothing may be mounted.
    fn mounted() -> Option<Self> {
        let home = tempfile::tempdir().unwrap();
        let mount = Command::new("mount").args(["-t", "tmpfs", "-o", "size=64m", "none"]).arg(home.path()).output();
        match mount {
            Ok(output) if output.status.success() => Some(Self(home)),
            Ok(output) => {
                println!("skipped: nothing can be mounted here: {}", String::from_utf8_lossy(&output.stderr).trim());
                None
            }
            Err(error) => {
                println!("skipped: there is no mount: {error}");
                None
            }
        }
    }

    fn filler(&self) -> PathBuf {
        self.0.path().join("filler")
    }

    /// Takes all the room there is, to the last page.
    fn fill(&self) {
        let mut file = File::options().create(true).append(true).open(self.filler()).unwrap();
        for size in [1 << 20, 1 << 12] {
            while file.write_all(&vec![0; size]).is_ok() {}
        }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(self.0.path()).output();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_refuses_new_work_and_everything_goes_on_when_there_is_room() {
    let Some(disk) = SmallDisk::mounted() else { return };
    let url = format!("sqlite:{}/journal.db", disk.0.path().display());
    let mut trial = Trial::begin("full disk", &[&[]], |plan| plan.journal_url = Some(url)).await;
    for _ in 0..if is_long() { 10 } else { 2 } {
        disk.fill();
        trial.is_refused().await;
        trial.is_not_ready_because_of_the_journal().await;
        // What was being sent when it became full has its outcome by now, and nowhere to put it.
        sleep(Duration::from_secs(2)).await;
        disk.fill();
        trial.blow("full, then with room again", async { std::fs::remove_file(disk.filler()).unwrap() }).await;
        trial.is_ready().await;
    }
    trial.end().await;
}

/// `false`, and the reason printed, where files cannot be made unchangeable.
fn make_unchangeable(files: &[PathBuf], wanted: bool) -> bool {
    let flag = if wanted { "+i" } else { "-i" };
    let output = Command::new("chattr").arg(flag).args(files).output();
    let is_done = output.as_ref().is_ok_and(|output| output.status.success());
    if !is_done {
        println!("skipped: chattr {flag} does not work here: {output:?}");
    }
    is_done
}

/// Takes the protection away whatever happens, or the folder could not be removed.
struct Protected(Vec<PathBuf>);

impl Drop for Protected {
    fn drop(&mut self) {
        make_unchangeable(&self.0, false);
    }
}

fn files_of(cluster: &ProcessCluster) -> Vec<PathBuf> {
    let data: PathBuf = cluster.stack.folder.path().join("data");
    ["journal.db", "journal.db-wal"].map(|file| Path::new(&data).join(file)).to_vec()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_journal_that_cannot_be_written_refuses_new_work_and_everything_goes_on_when_it_can() {
    let mut trial = Trial::begin("read-only disk", &[&[]], |_| {}).await;
    for _ in 0..if is_long() { 10 } else { 2 } {
        let files = files_of(&trial.cluster);
        if !make_unchangeable(&files, true) {
            break;
        }
        let protected = Protected(files);
        trial.is_refused().await;
        trial.is_not_ready_because_of_the_journal().await;
        sleep(Duration::from_secs(2)).await;
        trial.blow("read-only, then writable again", async { drop(protected) }).await;
        trial.is_ready().await;
    }
    trial.end().await;
}
