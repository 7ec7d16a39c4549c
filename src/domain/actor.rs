//! Who has changed something: Punte by itself, an office, or an operator.

use super::OfficeName;
use std::{fmt, str::FromStr};

/// It is written and read as one line of text: `machine`, `office causeni`, `operator A. Operator, ticket 4711`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Actor {
    Machine,
    /// Which clerk there has asked stands in the submission's call context and is erased with it: a timeline, which stays,
    /// holds no personal number.
    Office(OfficeName),
    /// As the operator's command was told.
    Operator(String),
}

impl fmt::Display for Actor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Actor::Machine => formatter.write_str("machine"),
            Actor::Office(name) => write!(formatter, "office {name}"),
            Actor::Operator(name) => write!(formatter, "operator {name}"),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is neither the machine nor an office or an operator")]
pub struct NoActor;

impl FromStr for Actor {
    type Err = NoActor;

    fn from_str(text: &str) -> Result<Self, NoActor> {
        match text.split_once(' ') {
            None if text == "machine" => Ok(Actor::Machine),
            Some(("office", name)) => name.parse().map(Actor::Office).map_err(|_| NoActor),
            Some(("operator", name)) => Ok(Actor::Operator(name.to_owned())),
            _ => Err(NoActor),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_actor_comes_back_as_it_was_written() {
        let office = Actor::Office("causeni".parse().unwrap());
        for actor in [Actor::Machine, office, Actor::Operator("office causeni".into()), Actor::Operator(String::new())]
        {
            assert_eq!(actor.to_string().parse(), Ok(actor));
        }
        for text in ["", "machine gun", "office Not A Name", "clerk jane"] {
            assert_eq!(text.parse::<Actor>(), Err(NoActor), "{text}");
        }
    }
}
