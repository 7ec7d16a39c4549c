//! Any sequence of events leaves the journal where folding the transition table leads.

use super::*;
use proptest::{
    prelude::*,
    test_runner::{Config, TestCaseError, TestRunner},
};
use punte::journal::JournalError;

on_both! {
    any_sequence_of_events_leads_where_the_table_leads
}

/// The n-th of all events, or the n-th of those that the table allows now.
#[derive(Debug, Clone, Copy)]
struct Step {
    pick: usize,
    only_allowed: bool,
    is_unknown: bool,
    attempt_offset: i64,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = (0_usize..60, prop::bool::weighted(0.8), any::<bool>(), -1_i64..=1).prop_map(
        |(pick, only_allowed, is_unknown, attempt_offset)| Step { pick, only_allowed, is_unknown, attempt_offset },
    );
    prop::collection::vec(step, 1..25)
}

async fn any_sequence_of_events_leads_where_the_table_leads(journal: Tested) {
    let runtime = tokio::runtime::Handle::current();
    let config = Config { cases: 40, failure_persistence: None, ..Config::default() };
    let walked = tokio::task::block_in_place(|| {
        TestRunner::new(config).run(&steps(), |steps| runtime.block_on(walk(&journal, &steps)))
    });
    walked.unwrap();
}

async fn walk(journal: &Tested, steps: &[Step]) -> Result<(), TestCaseError> {
    let id = accepted(journal).await;
    let mut expected = Progress::accepted();
    let mut states = vec![StateName::Accepted];
    for (second, step) in (1..).zip(steps) {
        let event = step.event(&expected);
        let recorded = journal.record(id, Entry::new(event.clone(), at(second))).await;
        match apply(&expected, Effect::Lookup.into(), event) {
            Ok(next) => {
                prop_assert_eq!(&recorded.unwrap().progress, &next);
                states.push(next.state.name());
                expected = next;
            }
            Err(forbidden) => {
                let is_same = matches!(recorded, Err(JournalError::Forbidden(it)) if it == forbidden);
                prop_assert!(is_same);
            }
        }
    }
    prop_assert_eq!(&progress(journal, id).await, &expected);
    let timeline = journal.timeline(id).await.unwrap();
    prop_assert_eq!(timeline.iter().map(|it| it.to).collect::<Vec<_>>(), states);
    prop_assert_eq!(journal.attempts(id).await.unwrap().len(), expected.attempts as usize);
    let in_outbox = journal.claim_outbox(1000, at(9000), at(9001), &[], &Default::default()).await.unwrap();
    prop_assert_eq!(in_outbox.iter().any(|it| it.submission == id), expected.state == State::Accepted);
    let due = journal.due(at(9000), 1000).await.unwrap();
    prop_assert_eq!(due.iter().any(|it| it.id == id), expected.state.due_at().is_some());
    Ok(())
}

impl Step {
    fn event(&self, now: &Progress) -> Event {
        let mut events = self.events(now);
        if self.only_allowed {
            let allowed: Vec<_> =
                events.iter().filter(|it| apply(now, Effect::Lookup.into(), (*it).clone()).is_ok()).cloned().collect();
            events = if allowed.is_empty() { events } else { allowed };
        }
        events.swap_remove(self.pick % events.len())
    }

    fn events(&self, now: &Progress) -> Vec<Event> {
        let attempt = match self.only_allowed {
            true => now.attempts,
            false => now.attempts.saturating_add_signed(self.attempt_offset as i32),
        };
        let fault = fault(if self.is_unknown { Code::NetworkTimeout } else { Code::NetworkConnect });
        vec![
            Event::Published,
            Event::Begun { attempt: attempt + 1, lease_until: at(60), asks_first: true },
            Event::Answered { attempt, answer: answer() },
            Event::RefusedByAgency { attempt, refusal: Refusal { code: "x".into(), text: "y".into() } },
            Event::TakenByAgency { attempt, at: at(3) },
            Event::RetryPlanned { attempt, due_at: at(100), fault: fault.clone() },
            Event::GivenUp { attempt, fault: fault.clone() },
            Event::OutcomeUnknown { attempt, fault: fault.clone() },
            Event::PutBack { attempt },
            Event::LeaseVoided { attempt, at: at(4) },
            Event::Requeued,
            Event::GivenBack,
            Event::Parked { fault },
            Event::DeadlinePassed,
            Event::CancelledByOffice { by: "causeni".parse().unwrap() },
            replay(),
            Event::Resolved { by: "operator".into(), seen: attempt, finding: Finding::DidNotHappen },
            Event::Resolved { by: "operator".into(), seen: attempt, finding: Finding::Happened { answer: None } },
            Event::Resolved { by: "operator".into(), seen: attempt, finding: Finding::AskAgain },
            Event::Discarded { by: "operator".into() },
            Event::Restored { by: "operator".into() },
        ]
    }
}
