//! What an exchange with the agency is for.

use crate::domain::Effect;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// The submission goes to the agency.
    Submit,
    /// The agency is asked whether it has seen the submission's reference.
    Lookup,
}

impl Purpose {
    /// A question changes nothing, whatever it is about.
    pub fn effect(self, of_submission: Effect) -> Effect {
        match self {
            Purpose::Submit => of_submission,
            Purpose::Lookup => Effect::Read,
        }
    }
}
