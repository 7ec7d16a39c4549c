//! The outbox: what the broker has to carry, each row in one publisher's hands at a time.

use super::*;
use punte::submissions::Submissions;
use std::collections::HashSet;

on_both! {
    a_claim_gives_all_that_the_broker_needs
    each_office_has_its_share_of_an_agencys_window_however_much_another_has_waiting
    an_agency_that_is_not_named_has_no_window
    no_row_is_claimed_twice_by_publishers_at_once
    a_claim_that_runs_out_can_be_claimed_again
    urgent_ones_come_first_then_the_oldest
    what_is_not_to_be_published_yet_is_not_claimed
    what_a_clock_that_was_ahead_has_put_there_waits_no_longer
    a_confirm_turns_accepted_into_queued_and_empties_the_outbox
    a_confirm_that_comes_after_the_worker_is_harmless
    a_confirm_does_not_speak_of_what_was_put_back_meanwhile
    what_a_worker_gives_back_before_the_confirm_waits_for_its_time_whatever_the_confirm_says
    what_the_broker_has_not_taken_can_be_claimed_again_at_once
    leaving_accepted_takes_the_row_away
    more_confirms_than_one_transaction_takes_are_all_recorded
    an_agency_whose_queue_is_full_keeps_no_other_waiting
}

async fn claim(journal: &Tested, limit: u32, now: i64) -> Vec<SubmissionId> {
    let items = journal.claim_outbox(limit, at(now), at(now + 30), &[], &Default::default()).await.unwrap();
    items.into_iter().map(|it| it.submission).collect()
}

async fn a_claim_gives_all_that_the_broker_needs(journal: Tested) {
    let submission = Submission { priority: Priority::Urgent, ..submission() };
    accept(&journal, &submission).await;
    let items = journal.claim_outbox(10, at(0), at(30), &[], &Default::default()).await.unwrap();
    let Submission { id, agency, office, priority, trace, .. } = submission;
    assert_eq!(items, [punte::journal::OutboxItem { submission: id, agency, office: Some(office), priority, trace }]);
}

async fn no_row_is_claimed_twice_by_publishers_at_once(journal: Tested) {
    let mut all = HashSet::new();
    for _ in 0..60 {
        all.insert(accepted(&journal).await);
    }
    let claims: Vec<_> = (0..12)
        .map(|_| {
            let journal = journal.clone();
            tokio::spawn(async move { claim(&journal, 7, 1).await })
        })
        .collect();
    let mut claimed = Vec::new();
    for call in claims {
        let batch = call.await.unwrap();
        assert!(batch.len() <= 7, "more than asked for");
        claimed.extend(batch);
    }
    // Publishers who met may have left rows to each other: the next claim gets them.
    claimed.extend(claim(&journal, 100, 1).await);
    assert_eq!(claimed.len(), 60);
    assert_eq!(claimed.into_iter().collect::<HashSet<_>>(), all);
}

async fn a_claim_that_runs_out_can_be_claimed_again(journal: Tested) {
    let id = accepted(&journal).await;
    assert_eq!(claim(&journal, 10, 0).await, [id]);
    assert_eq!(claim(&journal, 10, 29).await, []);
    assert_eq!(claim(&journal, 10, 30).await, [id]);
}

async fn urgent_ones_come_first_then_the_oldest(journal: Tested) {
    let mut expected = Vec::new();
    for (second, priority) in
        [(3, Priority::Ordinary), (4, Priority::Urgent), (1, Priority::Ordinary), (2, Priority::Urgent)]
    {
        let submission = Submission { priority, accepted_at: at(second), ..submission() };
        expected.push((priority == Priority::Ordinary, second, accept(&journal, &submission).await));
    }
    expected.sort();
    let expected: Vec<_> = expected.into_iter().map(|(_, _, id)| id).collect();
    assert_eq!(claim(&journal, 3, 10).await, expected[..3]);
    assert_eq!(claim(&journal, 3, 10).await, expected[3..]);
}

async fn what_is_not_to_be_published_yet_is_not_claimed(journal: Tested) {
    let id = sending(&journal).await;
    let entry = Entry { not_before: Some(at(20)), ..Entry::new(Event::PutBack { attempt: 1 }, at(2)) };
    journal.record(id, entry).await.unwrap();
    assert_eq!(claim(&journal, 10, 19).await, []);
    assert_eq!(claim(&journal, 10, 20).await, [id]);
}

async fn what_a_clock_that_was_ahead_has_put_there_waits_no_longer(journal: Tested) {
    let id = sending(&journal).await;
    let entry = Entry { not_before: Some(at(3700)), ..Entry::new(Event::PutBack { attempt: 1 }, at(3600)) };
    journal.record(id, entry).await.unwrap();
    assert_eq!(claim(&journal, 10, 3650).await, []);
    assert_eq!(claim(&journal, 10, 20).await, [id]);
}

async fn a_confirm_turns_accepted_into_queued_and_empties_the_outbox(journal: Tested) {
    let id = accepted(&journal).await;
    claim(&journal, 10, 0).await;
    journal.published(&[id], at(1)).await.unwrap();
    assert_eq!(state(&journal, id).await, StateName::Queued);
    assert_eq!(claim(&journal, 10, 1000).await, []);
    let timeline = journal.timeline(id).await.unwrap();
    let expected = Change {
        at: at(1),
        from: Some(StateName::Accepted),
        to: StateName::Queued,
        cause: "published".into(),
        by: Some(Actor::Machine),
    };
    assert_eq!(timeline[1..], [expected]);
}

async fn a_confirm_that_comes_after_the_worker_is_harmless(journal: Tested) {
    let (begun, waiting) = (accepted(&journal).await, accepted(&journal).await);
    claim(&journal, 10, 0).await;
    let expected =
        record(&journal, begun, Event::Begun { attempt: 1, lease_until: at(60), asks_first: true }, at(1)).await;
    journal.published(&[begun, SubmissionId::new(), waiting], at(2)).await.unwrap();
    assert_eq!(progress(&journal, begun).await, expected);
    assert_eq!(journal.timeline(begun).await.unwrap().len(), 2);
    assert_eq!(state(&journal, waiting).await, StateName::Queued);
    journal.published(&[waiting], at(3)).await.unwrap();
    assert_eq!(journal.timeline(waiting).await.unwrap().len(), 2);
}

async fn a_confirm_does_not_speak_of_what_was_put_back_meanwhile(journal: Tested) {
    let id = accepted(&journal).await;
    claim(&journal, 10, 0).await;
    record(&journal, id, Event::Begun { attempt: 1, lease_until: at(60), asks_first: true }, at(1)).await;
    record(&journal, id, Event::PutBack { attempt: 1 }, at(2)).await;
    journal.published(&[id], at(3)).await.unwrap();
    assert_eq!(state(&journal, id).await, StateName::Accepted);
    assert_eq!(claim(&journal, 10, 3).await, [id]);
}

/// A message may be with its worker before the journal knows that it was published.
async fn what_a_worker_gives_back_before_the_confirm_waits_for_its_time_whatever_the_confirm_says(journal: Tested) {
    let submission = submission();
    // Published by who has accepted it, or by the relay.
    journal.accept(&submission, &fresh_key(), true, Some(at(15))).await.unwrap();
    let relayed = accepted(&journal).await;
    assert_eq!(claim(&journal, 10, 0).await, [relayed]);
    for id in [submission.id, relayed] {
        let entry = Entry { not_before: Some(at(20)), ..Entry::new(Event::GivenBack, at(1)) };
        assert_eq!(journal.record(id, entry).await.unwrap().progress, Progress::accepted());
        assert_eq!(journal.timeline(id).await.unwrap().last().unwrap().cause, "given back before an attempt");
        journal.published(&[id], at(2)).await.unwrap();
        assert_eq!(state(&journal, id).await, StateName::Accepted, "the confirm spoke of a message that is gone");
    }
    assert_eq!(claim(&journal, 10, 19).await, []);
    assert_eq!(claim(&journal, 10, 20).await.len(), 2);
    journal.published(&[submission.id, relayed], at(21)).await.unwrap();
    assert_eq!(state(&journal, relayed).await, StateName::Queued);
}

async fn what_the_broker_has_not_taken_can_be_claimed_again_at_once(journal: Tested) {
    let (first, second) = (accepted(&journal).await, accepted(&journal).await);
    claim(&journal, 10, 0).await;
    journal.unclaim_outbox(&[second]).await.unwrap();
    assert_eq!(claim(&journal, 10, 0).await, [second]);
    journal.unclaim_outbox(&[first, second, SubmissionId::new()]).await.unwrap();
    assert_eq!(claim(&journal, 10, 0).await.len(), 2);
}

async fn leaving_accepted_takes_the_row_away(journal: Tested) {
    for event in [
        Event::CancelledByOffice { by: "causeni".parse().unwrap() },
        Event::DeadlinePassed,
        Event::Parked { fault: fault(Code::TemplateFailed) },
        Event::Begun { attempt: 1, lease_until: at(60), asks_first: true },
    ] {
        let id = accepted(&journal).await;
        record(&journal, id, event, at(1)).await;
        assert_eq!(claim(&journal, 10, 100).await, []);
    }
}

async fn more_confirms_than_one_transaction_takes_are_all_recorded(journal: Tested) {
    let ids = futures_util::future::join_all((0..300).map(|_| accepted(&journal))).await;
    assert_eq!(claim(&journal, 1000, 0).await.len(), 300);
    journal.published(&ids, at(1)).await.unwrap();
    assert_eq!(journal.queued_since(&agency(), at(2)).await.unwrap(), 300);
    let mut requeued = 0;
    while let piece @ 1.. = journal.requeue(&agency(), at(2), at(3), u32::MAX).await.unwrap().len() {
        assert!(piece <= 256, "others get their turn");
        requeued += piece;
    }
    assert_eq!(requeued, 300);
    assert_eq!(claim(&journal, 1000, 3).await.len(), 300);
}

async fn an_agency_whose_queue_is_full_keeps_no_other_waiting(journal: Tested) {
    use punte::{
        adapter::load_adapters,
        broker::{
            Broker,
            embedded::{EmbeddedBroker, EmbeddedSettings},
        },
        catalogue::Catalogue,
        roles::scheduler::Relay,
        settings::ConfigFaults,
    };
    use std::{collections::BTreeMap, path::Path};
    let other: AgencyName = "legal-events".parse().unwrap();
    let broker = Arc::new(EmbeddedBroker::start(EmbeddedSettings { capacity: 10, ..Default::default() }));
    broker.declare(&[agency(), other.clone()]).await.unwrap();
    for _ in 0..300 {
        accepted(&journal).await;
    }
    let late = Submission { agency: other.clone(), accepted_at: at(1), ..submission() };
    accept(&journal, &late).await;
    let clock = Arc::new(ManualClock::at(at(2)));
    let mut faults = ConfigFaults::default();
    let project = Path::new(env!("CARGO_MANIFEST_DIR"));
    let catalogue = Catalogue::load(&project.join("schemas/services"), &mut faults);
    let adapters = load_adapters(&project.join("adapters"), &catalogue, &BTreeMap::new(), &mut faults);
    let relay = Relay {
        submissions: Submissions::without_listeners(journal.clone(), clock.clone()),
        broker: broker.clone(),
        adapters: Arc::new(adapters),
        clock,
        log_once: Default::default(),
    };
    assert_eq!(relay.drain().await.unwrap().published, 11);
    assert_eq!(broker.depth(&other).await.unwrap().ready, 1);
    assert_eq!(state(&journal, late.id).await, StateName::Queued);
    assert_eq!(claim(&journal, 1000, 2).await.len(), 290, "they are nobody's again");
}

fn window(size: u32) -> punte::journal::Windows {
    [(agency(), size)].into_iter().collect()
}

async fn each_office_has_its_share_of_an_agencys_window_however_much_another_has_waiting(journal: Tested) {
    let of = |office: &str| Submission { office: office.parse().unwrap(), ..submission() };
    for _ in 0..20 {
        accept(&journal, &of("flooder")).await;
    }
    let claim = async || journal.claim_outbox(100, at(1), at(30), &[], &window(6)).await.unwrap();
    let first: Vec<_> = claim().await.into_iter().map(|it| it.submission).collect();
    assert_eq!(first.len(), 6, "it is alone, and has all of it");
    journal.published(&first, at(2)).await.unwrap();
    assert!(claim().await.is_empty(), "its window is full");
    for _ in 0..20 {
        accept(&journal, &of("quiet")).await;
    }
    let claimed = claim().await;
    assert_eq!(claimed.len(), 3);
    assert!(claimed.iter().all(|it| it.office.as_ref().is_some_and(|office| office.as_str() == "quiet")));
    // One of the first that has ended makes no room: there are two now.
    record(&journal, first[0], Event::Begun { attempt: 1, lease_until: at(60), asks_first: true }, at(3)).await;
    record(&journal, first[0], Event::Answered { attempt: 1, answer: answer() }, at(4)).await;
    journal.published(&claimed.iter().map(|it| it.submission).collect::<Vec<_>>(), at(5)).await.unwrap();
    assert!(claim().await.is_empty());
}

async fn an_agency_that_is_not_named_has_no_window(journal: Tested) {
    for _ in 0..20 {
        accepted(&journal).await;
    }
    assert_eq!(journal.claim_outbox(100, at(1), at(30), &[], &Default::default()).await.unwrap().len(), 20);
}
