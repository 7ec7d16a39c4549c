//! Shares: what each office has under way with an agency, as this process has accepted it and heard of it, comes in; whether
//! one more may go to the broker at once goes out.

use crate::{
    broker::Announcement,
    domain::{AgencyName, OfficeName, StateName, Submission, SubmissionId},
    journal::Windows,
};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{sync::broadcast, time::Instant};
use tokio_util::sync::CancellationToken;

/// One to each [`Dispatch`](super::Dispatch), which holds it, as does the task that hears the broker's announcements.
pub(super) struct Shares {
    /// How many submissions of each agency may be under way at once. Loaded at the start, and never changed.
    windows: Windows,
    /// Locked for a moment when a submission is accepted, and when one is over.
    under_way: Mutex<UnderWay>,
}

struct UnderWay {
    /// Of each agency and office, with the time at which it was accepted.
    offices: HashMap<AgencyName, HashMap<OfficeName, HashMap<SubmissionId, Instant>>>,
    /// When those that were under way for too long were last forgotten.
    swept_at: Instant,
}

/// Announcements may be lost. Whatever has been under way for so long stands in nobody's way.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(60);
const SWEEP_EVERY: Duration = Duration::from_secs(1);

impl Shares {
    pub fn new(windows: Windows) -> Self {
        let under_way = UnderWay { offices: HashMap::new(), swept_at: Instant::now() };
        Self { windows, under_way: Mutex::new(under_way) }
    }

    /// Hears what is over, until the process stops.
    pub async fn listen(
        self: Arc<Self>,
        mut announcements: broadcast::Receiver<Announcement>,
        stop: CancellationToken,
    ) {
        loop {
            let heard = tokio::select! {
                () = stop.cancelled() => return,
                heard = announcements.recv() => heard,
            };
            match heard {
                Ok(told) if is_over(told.state) => self.over(&told.agency, &told.office, told.submission),
                Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => return,
            }
        }
    }

    /// Counts it, and says whether its office has less than its share under way. If no other
    /// office has anything under way, one office may fill the whole window.
    pub fn admit(&self, submission: &Submission, now: Instant) -> bool {
        let Submission { id, agency, office, .. } = submission;
        let mut under_way = self.under_way();
        if now.saturating_duration_since(under_way.swept_at) >= SWEEP_EVERY {
            under_way.sweep(now);
        }
        let offices = under_way.offices.entry(agency.clone()).or_default();
        let own = offices.entry(office.clone()).or_default();
        let before = u32::try_from(own.len()).unwrap_or(u32::MAX);
        own.insert(*id, now);
        let share = self.windows.share(agency, offices.len());
        share.is_none_or(|share| before < share)
    }

    pub fn over(&self, agency: &AgencyName, office: &OfficeName, id: SubmissionId) {
        let mut under_way = self.under_way();
        let Some(offices) = under_way.offices.get_mut(agency) else { return };
        let Some(own) = offices.get_mut(office) else { return };
        own.remove(&id);
        if own.is_empty() {
            offices.remove(office);
        }
    }

    fn under_way(&self) -> MutexGuard<'_, UnderWay> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl UnderWay {
    fn sweep(&mut self, now: Instant) {
        self.swept_at = now;
        for offices in self.offices.values_mut() {
            offices.retain(|_, own| {
                own.retain(|_, at| now.saturating_duration_since(*at) < FORGOTTEN_AFTER);
                !own.is_empty()
            });
        }
    }
}

fn is_over(state: StateName) -> bool {
    !matches!(state, StateName::Accepted | StateName::Queued | StateName::Sending)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{CallContext, Effect, Priority, Subject, TraceParent};
    use jiff::Timestamp;

    fn of(office: &str) -> Submission {
        let text = String::new;
        Submission {
            id: SubmissionId::new(),
            office: office.parse().unwrap(),
            service: "person-lookup".parse().unwrap(),
            agency: "civil-registry".parse().unwrap(),
            effect: Effect::Read,
            priority: Priority::Ordinary,
            context: CallContext { clerk: text(), entity: text(), legal_basis: text(), reason: text() },
            subject: Subject { scheme: text(), id: text() },
            data: serde_json::Value::Null,
            attachments: vec![],
            accepted_at: Timestamp::UNIX_EPOCH,
            expires_at: Timestamp::UNIX_EPOCH,
            trace: TraceParent::fresh(),
        }
    }

    #[test]
    fn an_office_alone_has_the_whole_window_and_another_one_always_has_its_share() {
        let shares = Shares::new([("civil-registry".parse().unwrap(), 4)].into_iter().collect());
        let now = Instant::now();
        let flood: Vec<_> = (0..9).map(|_| of("flooder")).collect();
        let admitted = flood.iter().filter(|it| shares.admit(it, now)).count();
        assert_eq!(admitted, 4);
        assert!(shares.admit(&of("quiet"), now) && shares.admit(&of("quiet"), now) && !shares.admit(&of("quiet"), now));
        flood[..8].iter().for_each(|it| shares.over(&it.agency, &it.office, it.id));
        assert!(shares.admit(&of("flooder"), now), "one of two is under way");
        assert!(!shares.admit(&of("flooder"), now));
    }

    #[test]
    fn what_nobody_has_heard_of_for_long_stands_in_nobodys_way() {
        let shares = Shares::new([("civil-registry".parse().unwrap(), 1)].into_iter().collect());
        let now = Instant::now();
        assert!(shares.admit(&of("office"), now) && !shares.admit(&of("office"), now));
        assert!(shares.admit(&of("office"), now + FORGOTTEN_AFTER));
    }
}
