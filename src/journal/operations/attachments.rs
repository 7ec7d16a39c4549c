//! Attachments: one that was uploaded comes in and is recorded if there is room for it; found, counted and forgotten ones go
//! out.

use super::{Access, CHUNK_ROWS, Operation, outbox::id_list};
use crate::domain::{AttachmentId, AttachmentRef, OfficeName};
use crate::journal::{
    AttachmentBytes, BLOCK_BYTES, JournalError, NoRoom, rows,
    store::{Row, Store, statement, values},
};
use jiff::Timestamp;

pub struct AddAttachment {
    pub office: OfficeName,
    pub attachment: AttachmentRef,
    pub most: AttachmentBytes,
    pub now: Timestamp,
}

impl Operation for AddAttachment {
    type Output = Result<(), NoRoom>;
    const ACCESS: Access = Access::Write;

    async fn run<S: Store>(&self, store: &mut S) -> Result<Self::Output, JournalError> {
        store.script(S::IN_TURN).await?;
        let lies = SumAttachmentBytes { office: self.office.clone() }.run(store).await?;
        let more = self.attachment.size_bytes.next_multiple_of(BLOCK_BYTES);
        if let Err(no_room) = lies.check(more, more, &self.most) {
            return Ok(Err(no_room));
        }
        let AttachmentRef { id, sha256, size_bytes, media_type, name } = &self.attachment;
        let insert = statement(
            "INSERT INTO attachments (id, office, sha256, size_bytes, media_type, name, uploaded_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7)",
            values![
                *id,
                self.office.as_str(),
                sha256.as_str(),
                *size_bytes,
                media_type.as_str(),
                name.as_str(),
                self.now
            ],
        );
        store.execute(vec![insert]).await.map(|_| Ok(()))
    }
}

pub struct SumAttachmentBytes {
    pub office: OfficeName,
}

impl Operation for SumAttachmentBytes {
    type Output = AttachmentBytes;
    const ACCESS: Access = Access::Read;

    async fn run<S: Store>(&self, store: &mut S) -> Result<AttachmentBytes, JournalError> {
        let sum = format!(
            "SELECT CAST(coalesce(sum((size_bytes + {BLOCK_BYTES} - 1) / {BLOCK_BYTES} * {BLOCK_BYTES}), 0) AS bigint) \
             FROM attachments"
        );
        let unused = "NOT EXISTS (SELECT 1 FROM attachment_uses WHERE attachment = attachments.id)";
        let sql = format!("SELECT ({sum} WHERE office = $1 AND {unused}), ({sum} WHERE office = $1), ({sum})");
        let summed = store.query(statement(sql, values![self.office.as_str()])).await?;
        let Some(mut row) = summed.into_iter().next() else { return Ok(AttachmentBytes::default()) };
        Ok(AttachmentBytes { unused: row.whole()?, office: row.whole()?, all: row.whole()? })
    }
}

pub struct FindAttachment {
    pub office: OfficeName,
    pub id: AttachmentId,
}

impl Operation for FindAttachment {
    type Output = Option<AttachmentRef>;
    const ACCESS: Access = Access::Read;

    async fn run<S: Store>(&self, store: &mut S) -> Result<Option<AttachmentRef>, JournalError> {
        let sql = "SELECT id, sha256, size_bytes, media_type, name FROM attachments WHERE id = $1 AND office = $2";
        let found = store.query(statement(sql, values![self.id, self.office.as_str()])).await?;
        found.into_iter().next().map(rows::attachment).transpose()
    }
}

/// At most [`CHUNK_ROWS`]; how many there were. Their files are noted as [`ForgottenFiles`].
pub struct ForgetAttachments {
    pub before: Timestamp,
}

impl Operation for ForgetAttachments {
    type Output = u64;
    const ACCESS: Access = Access::Write;

    async fn run<S: Store>(&self, store: &mut S) -> Result<u64, JournalError> {
        let sql = "DELETE FROM attachments WHERE id IN (SELECT id FROM attachments WHERE uploaded_at < $1 AND NOT EXISTS \
                   (SELECT 1 FROM attachment_uses WHERE attachment = attachments.id) ORDER BY uploaded_at LIMIT $2) \
                   RETURNING id";
        let mut forgotten = store.query(statement(sql, values![self.before, CHUNK_ROWS])).await?;
        let forgotten: Vec<AttachmentId> = forgotten.iter_mut().map(Row::id).collect::<Result<_, _>>()?;
        let count = forgotten.len() as u64;
        let note = "INSERT INTO forgotten_files (attachment) VALUES ($1) ON CONFLICT DO NOTHING";
        store.execute(forgotten.into_iter().map(|id| statement(note, values![id])).collect()).await?;
        Ok(count)
    }
}

/// Attachments that are forgotten and whose files were not reported to be removed.
pub struct ForgottenFiles;

impl Operation for ForgottenFiles {
    type Output = Vec<AttachmentId>;
    const ACCESS: Access = Access::Read;

    async fn run<S: Store>(&self, store: &mut S) -> Result<Vec<AttachmentId>, JournalError> {
        let mut files = store.query(statement("SELECT attachment FROM forgotten_files", vec![])).await?;
        files.iter_mut().map(Row::id).collect()
    }
}

/// Those of them that the journal has.
pub struct KnownAttachments {
    pub ids: Vec<AttachmentId>,
}

impl Operation for KnownAttachments {
    type Output = Vec<AttachmentId>;
    const ACCESS: Access = Access::Read;

    async fn run<S: Store>(&self, store: &mut S) -> Result<Vec<AttachmentId>, JournalError> {
        let sql = format!("SELECT id FROM attachments WHERE id IN ({})", S::IDS);
        let mut known = store.query(statement(sql, values![id_list(&self.ids)])).await?;
        known.iter_mut().map(Row::id).collect()
    }
}

pub struct FilesRemoved {
    pub ids: Vec<AttachmentId>,
}

impl Operation for FilesRemoved {
    type Output = ();
    const ACCESS: Access = Access::Write;

    async fn run<S: Store>(&self, store: &mut S) -> Result<(), JournalError> {
        let sql = "DELETE FROM forgotten_files WHERE attachment = $1";
        store.execute(self.ids.iter().map(|id| statement(sql, values![*id])).collect()).await.map(|_| ())
    }
}
