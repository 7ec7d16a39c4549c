//! What an operation does to the world (its effect) and how soon it is wanted (its priority).

use serde::{Deserialize, Serialize};

/// What a repeated delivery does at the agency, and so what the worker may do when an answer is unknown. The least harmful
/// one is the least.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Effect {
    /// Changes nothing: send again.
    Read,
    /// The agency recognises our reference: send again with the same reference.
    Idempotent,
    /// The agency can be asked by our reference: ask first, then decide.
    Lookup,
    /// Neither: an unknown outcome goes in front of an operator.
    Once,
}

impl Effect {
    pub const ALL: [Effect; 4] = [Effect::Read, Effect::Idempotent, Effect::Lookup, Effect::Once];

    pub fn as_str(self) -> &'static str {
        match self {
            Effect::Read => "read",
            Effect::Idempotent => "idempotent",
            Effect::Lookup => "lookup",
            Effect::Once => "once",
        }
    }
}

/// Urgent submissions overtake ordinary ones of the same agency.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Priority {
    #[default]
    Ordinary,
    Urgent,
}

impl Priority {
    pub const ALL: [Priority; 2] = [Priority::Ordinary, Priority::Urgent];

    pub fn as_str(self) -> &'static str {
        match self {
            Priority::Ordinary => "ordinary",
            Priority::Urgent => "urgent",
        }
    }
}
