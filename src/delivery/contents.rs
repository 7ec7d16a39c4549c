//! Contents of attachments: a submission comes in; a permit for the memory of its attachments goes out, and then what is in
//! them, in base64. There are so many permits that memory is bounded, however many submissions are on their way.

use crate::{
    attachments::{AttachmentError, AttachmentStore},
    domain::{AgencyName, AttachmentId, Code, Fault, Stage, Submission},
    journal::Record,
};
use base64::{Engine, engine::general_purpose::STANDARD};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How much of attachments may be in memory at once, over all agencies.
///
/// One agency gets half of it, so that a slow one does not hold up all others. A submission that is larger than all there
/// is has it alone.
pub struct Contents {
    store: AttachmentStore,
    /// How much there is in all, in units of [`UNIT_BYTES`].
    places: u32,
    /// One permit to each unit. Requests hold them until they have been sent.
    whole: Arc<Semaphore>,
    /// The same of each agency's half. An agency's is made when its first attachment is read, and stays.
    agencies: Mutex<HashMap<AgencyName, Arc<Semaphore>>>,
}

/// Comes back when it is dropped.
pub(super) struct Held {
    _agency: OwnedSemaphorePermit,
    _whole: OwnedSemaphorePermit,
}

/// What is in one attachment.
pub(super) type Base64 = Arc<str>;

const UNIT_BYTES: u64 = 1024;
/// As uploaded. On its way a byte is there up to eight times: encoded, in the message, in what is signed, and sealed.
const MAX_BYTES: u64 = 32 << 20;

impl Contents {
    pub fn new(store: AttachmentStore) -> Self {
        Self::with_room_for(MAX_BYTES, store)
    }

    fn with_room_for(bytes: u64, store: AttachmentStore) -> Self {
        let places = units(bytes);
        Self { store, places, whole: Arc::new(Semaphore::new(places as usize)), agencies: Mutex::default() }
    }

    /// Waits until there is room for all that is attached.
    pub(super) async fn place(&self, record: &Record) -> Held {
        let Submission { agency, attachments, .. } = &record.submission;
        self.room_for(agency, attachments.iter().map(|it| it.size_bytes).sum()).await
    }

    async fn room_for(&self, agency: &AgencyName, bytes: u64) -> Held {
        let (share, wanted) = (self.share(), units(bytes));
        let of_agency = {
            let mut agencies = self.agencies.lock().unwrap_or_else(PoisonError::into_inner);
            agencies.entry(agency.clone()).or_insert_with(|| Arc::new(Semaphore::new(share as usize))).clone()
        };
        // In this order, so that what waits for its own agency takes nothing from others.
        let _agency = taken(of_agency, wanted.min(share)).await;
        let _whole = taken(self.whole.clone(), wanted.min(self.places)).await;
        Held { _agency, _whole }
    }

    fn share(&self) -> u32 {
        self.places.div_ceil(2)
    }

    /// One after another, so that only one is there twice.
    pub(super) async fn read(&self, submission: &Submission) -> Result<Vec<Base64>, Fault> {
        let mut contents = Vec::with_capacity(submission.attachments.len());
        for attachment in &submission.attachments {
            let bytes = self.store.read(attachment).await.map_err(|error| lost(attachment.id, &error))?;
            contents.push(STANDARD.encode(bytes).into());
        }
        Ok(contents)
    }
}

/// The identifier is our own, and is told whole, also where its digits would look like a person's number.
fn lost(id: AttachmentId, error: &AttachmentError) -> Fault {
    let fault = Fault::new(Code::AttachmentLost, Stage::Transform, error);
    Fault { detail: format!("attachment {id}: {}", fault.detail), ..fault }
}

fn units(bytes: u64) -> u32 {
    u32::try_from(bytes.div_ceil(UNIT_BYTES)).unwrap_or(u32::MAX)
}

async fn taken(places: Arc<Semaphore>, count: u32) -> OwnedSemaphorePermit {
    match places.clone().acquire_many_owned(count).await {
        Ok(permit) => permit,
        // Nobody closes these.
        Err(_) => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    fn with_room_for(bytes: u64) -> Contents {
        let folder = tempfile::tempdir().unwrap();
        Contents::with_room_for(bytes, AttachmentStore::open(folder.path()).unwrap())
    }

    fn agency(name: &str) -> AgencyName {
        name.parse().unwrap()
    }

    #[test]
    fn an_attachment_that_is_lost_is_told_by_its_whole_identifier() {
        let id = "01234567-1234-7123-8123-123456789012";
        let fault = lost(id.parse().unwrap(), &AttachmentError::Changed);
        assert_eq!(fault.detail, format!("attachment {id}: the attachment's bytes are not those that were uploaded"));
    }

    #[test]
    fn no_more_is_in_memory_at_once_than_there_is_room_for() {
        let contents = with_room_for(8 << 20);
        let now = |name, bytes| contents.room_for(&agency(name), bytes).now_or_never();
        let held = [now("a", 3 << 20), now("b", 3 << 20)];
        assert!(held.iter().all(Option::is_some));
        assert!(now("c", 3 << 20).is_none());
        let small = now("c", 2 << 20);
        assert!(small.is_some() && now("d", 1).is_none());
        drop(held);
        assert!(now("d", 3 << 20).is_some());
    }

    #[test]
    fn one_agency_has_no_more_than_half() {
        let contents = with_room_for(8 << 20);
        let now = |name, bytes| contents.room_for(&agency(name), bytes).now_or_never();
        let held = now("a", 3 << 20);
        assert!(held.is_some() && now("a", 2 << 20).is_none());
        assert!(now("b", 4 << 20).is_some());
        drop(held);
        assert!(now("a", 2 << 20).is_some());
    }

    #[test]
    fn what_is_larger_than_all_room_goes_alone() {
        let contents = with_room_for(8 << 20);
        let now = |name, bytes| contents.room_for(&agency(name), bytes).now_or_never();
        let held = now("a", 100 << 20);
        assert!(held.is_some());
        assert!(now("a", 1).is_none() && now("b", 1).is_none());
        drop(held);
        assert!(now("b", 1).is_some());
    }
}
