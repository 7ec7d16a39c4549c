//! Suspicion: requests that an agency's server did not let in (401, 403, a fault of WS-Security) come in; whether that is
//! about our certificate, key or token, and not about one request, goes out.
//!
//! One office's clerk may not be allowed what another's is. But distinct requests of two offices, and none let in between
//! them, have only the installation in common.

use crate::domain::{OfficeName, SubmissionId};
use std::sync::{Mutex, MutexGuard, PoisonError};

#[derive(Debug, Default)]
pub struct Suspicion(Mutex<Vec<(OfficeName, SubmissionId)>>);

/// Of one office, more would only be more of the same.
const REMEMBERED: usize = 8;

impl Suspicion {
    /// `true`: it is the installation that is not let in. The count begins anew then.
    pub fn refused(&self, office: &OfficeName, submission: SubmissionId) -> bool {
        let mut refused = self.refusals();
        let is_certain = refused.iter().any(|(other, known)| other != office && *known != submission);
        if is_certain {
            refused.clear();
        } else if refused.len() < REMEMBERED && !refused.iter().any(|(_, known)| *known == submission) {
            refused.push((office.clone(), submission));
        }
        is_certain
    }

    /// The agency has answered somebody.
    pub fn let_in(&self) {
        self.refusals().clear();
    }

    fn refusals(&self) -> MutexGuard<'_, Vec<(OfficeName, SubmissionId)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_distinct_requests_of_two_offices_with_none_let_in_between_are_the_installations() {
        let (north, south): (OfficeName, OfficeName) = ("north".parse().unwrap(), "south".parse().unwrap());
        let suspicion = Suspicion::default();
        let again = SubmissionId::new();
        for _ in 0..20 {
            assert!(!suspicion.refused(&north, again));
            assert!(!suspicion.refused(&north, SubmissionId::new()), "one office alone");
        }
        suspicion.let_in();
        assert!(!suspicion.refused(&south, SubmissionId::new()), "somebody was let in");
        assert!(suspicion.refused(&north, again));
        assert!(!suspicion.refused(&south, SubmissionId::new()), "it begins anew");
    }
}
