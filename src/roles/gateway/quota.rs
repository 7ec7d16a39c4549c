//! How many bytes of files may be stored: what the journal has and what is arriving come in; a share of the quota, or a
//! refusal, goes out. Uploads beside each other count each other, so that many at once get no more than one by one.

use crate::{
    domain::{Code, OfficeName},
    http_server::Problem,
    journal::{AttachmentBytes, BLOCK_BYTES, Journal, NoRoom},
    settings::AttachmentSettings,
};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

/// This process's uploads. What arrives at another gateway at the same moment is not seen before the journal has it, which
/// counts once more as it adds a file.
#[derive(Default)]
pub struct Quota(Mutex<HashMap<OfficeName, Uploads>>);

/// Of one office.
#[derive(Default, Clone, Copy)]
struct Uploads {
    /// Taken up by files that are still arriving.
    arriving: u64,
    /// Of files that the journal has got from this process; it only grows.
    kept: u64,
}

/// An upload's share. Dropping it gives back what did not become a file.
pub struct Share {
    quota: Arc<Quota>,
    office: OfficeName,
    /// How much may lie there.
    pub most: AttachmentBytes,
    /// In the journal, when it was asked.
    stored: AttachmentBytes,
    /// All that this process had kept by then, of this office and of all.
    kept_before: (u64, u64),
    /// Of the file, so far.
    written: u64,
    /// What they take on the disk.
    bytes: u64,
}

impl Share {
    /// The journal is asked after the uploads were looked at: what is kept in between counts twice rather than not at all.
    pub async fn begin(
        quota: &Arc<Quota>,
        journal: &dyn Journal,
        settings: &AttachmentSettings,
        office: &OfficeName,
    ) -> Result<Self, Problem> {
        let most = AttachmentBytes {
            unused: settings.max_unused_bytes_per_office,
            office: settings.max_stored_bytes_per_office,
            all: settings.max_stored_bytes,
        };
        let kept_before = quota.sums(office, |it| it.kept);
        let stored = journal.attachment_bytes(office).await?;
        let share =
            Self { quota: quota.clone(), office: office.clone(), most, stored, kept_before, written: 0, bytes: 0 };
        share.check()?;
        Ok(share)
    }

    /// Before so many more bytes are written.
    pub fn grow(&mut self, more: u64) -> Result<(), Problem> {
        self.written += more;
        let bytes = self.written.next_multiple_of(BLOCK_BYTES);
        self.quota.change(&self.office, |it| it.arriving += bytes - self.bytes);
        self.bytes = bytes;
        self.check()
    }

    /// The journal has the file.
    pub fn keep(mut self) {
        let bytes = std::mem::take(&mut self.bytes);
        self.quota.change(&self.office, |it| {
            it.arriving = it.arriving.saturating_sub(bytes);
            it.kept += bytes;
        });
    }

    fn check(&self) -> Result<(), Problem> {
        let (office, all) = self.quota.sums(&self.office, |it| it.arriving + it.kept);
        let office = office.saturating_sub(self.kept_before.0);
        let all = all.saturating_sub(self.kept_before.1);
        self.stored.check(office, all, &self.most).map_err(problem)
    }
}

/// As the office is told of it.
pub fn problem(no_room: NoRoom) -> Problem {
    match no_room {
        NoRoom::Office => Code::AttachmentQuota.into(),
        NoRoom::All => {
            tracing::warn!(
                "files take as much room as gateway.attachments.max_stored_bytes allows; uploads are refused"
            );
            Code::Overloaded.into()
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        if self.bytes > 0 {
            self.quota.change(&self.office, |it| it.arriving = it.arriving.saturating_sub(self.bytes));
        }
    }
}

impl Quota {
    fn change(&self, office: &OfficeName, change: impl FnOnce(&mut Uploads)) {
        let mut uploads = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        change(uploads.entry(office.clone()).or_default());
    }

    /// Of this office, and of all.
    fn sums(&self, office: &OfficeName, of: impl Fn(&Uploads) -> u64) -> (u64, u64) {
        let uploads = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        (uploads.get(office).map_or(0, &of), uploads.values().map(&of).sum())
    }
}
