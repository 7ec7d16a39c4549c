//! Credential refusals: requests that an agency's server did not let in (401, 403, a fault of WS-Security) come in; whether
//! that is about our certificate, key or token, and not about one request, goes out.
//!
//! One office's clerk may not be allowed what another's is. But distinct requests of two offices, and none let in between
//! them, have only the installation in common.

use crate::domain::{OfficeName, SubmissionId};
use std::sync::{Mutex, MutexGuard, PoisonError};

#[derive(Debug, Default)]
pub struct CredentialRefusals(Mutex<Refusals>);

#[derive(Debug, Default)]
struct Refusals {
    /// Since somebody was let in.
    known: Vec<(OfficeName, SubmissionId)>,
    /// Two offices have met it, and nobody was let in since: whoever meets it now meets the same.
    is_certain: bool,
}

/// Of one office, more would only be more of the same.
const REMEMBERED: usize = 8;

impl CredentialRefusals {
    /// `true`: it is the installation that is not let in.
    pub fn refused(&self, office: &OfficeName, submission: SubmissionId) -> bool {
        let mut refusals = self.refusals();
        refusals.is_certain |= refusals.known.iter().any(|(other, known)| other != office && *known != submission);
        if refusals.known.len() < REMEMBERED && !refusals.known.iter().any(|(_, known)| *known == submission) {
            refusals.known.push((office.clone(), submission));
        }
        refusals.is_certain
    }

    /// The agency has answered somebody.
    pub fn forget(&self) {
        *self.refusals() = Refusals::default();
    }

    fn refusals(&self) -> MutexGuard<'_, Refusals> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_distinct_requests_of_two_offices_with_none_let_in_between_are_the_installations() {
        let (north, south): (OfficeName, OfficeName) = ("north".parse().unwrap(), "south".parse().unwrap());
        let refusals = CredentialRefusals::default();
        let again = SubmissionId::new();
        for _ in 0..20 {
            assert!(!refusals.refused(&north, again));
            assert!(!refusals.refused(&north, SubmissionId::new()), "one office alone");
        }
        refusals.forget();
        assert!(!refusals.refused(&south, SubmissionId::new()), "somebody was let in");
        assert!(refusals.refused(&north, again));
        assert!(refusals.refused(&south, SubmissionId::new()), "one more is enough, as long as nobody is let in");
        refusals.forget();
        assert!(!refusals.refused(&south, SubmissionId::new()), "it begins anew");
    }
}
