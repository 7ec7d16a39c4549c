//! The scheduler's questions: what is due, what is overdue, when to look again, what the broker has lost.

use super::*;
use punte::journal::{Due, Moved};

on_both! {
    what_waits_for_an_agency_is_woken_office_by_office_and_nothing_that_the_agency_asked_to_wait
    however_many_the_agency_has_asked_to_wait_they_hide_no_other
    what_may_be_woken_is_found_among_many_offices_that_have_nothing_of_the_kind
    of_the_offices_whose_submissions_wait_the_one_that_has_failed_least_is_woken_first
    a_wait_for_an_agency_keeps_its_beginning_until_something_is_heard_of_it
    what_lies_in_the_queue_of_an_agency_that_is_not_sent_to_says_once_that_it_waits
    a_retry_is_due_at_its_time_and_not_before
    an_attempt_is_due_when_its_lease_runs_out
    what_is_due_comes_soonest_first_and_no_more_than_asked
    only_what_no_worker_has_is_overdue
    the_next_time_to_look_is_the_soonest_of_all
    what_the_broker_has_lost_is_counted_and_published_again
    what_a_clock_that_was_ahead_has_planned_waits_no_longer
    voided_leases_run_out_at_once
}

fn ids(due: Vec<Due>) -> Vec<SubmissionId> {
    due.into_iter().map(|it| it.id).collect()
}

async fn retrying(journal: &Tested, due_at: Timestamp) -> SubmissionId {
    let id = sending(journal).await;
    record(journal, id, Event::RetryPlanned { attempt: 1, due_at, fault: fault(Code::NetworkConnect) }, at(2)).await;
    id
}

async fn what_lies_in_the_queue_of_an_agency_that_is_not_sent_to_says_once_that_it_waits(journal: Tested) {
    let (early, late, begun) = (accepted(&journal).await, accepted(&journal).await, sending(&journal).await);
    record(&journal, early, Event::Published, at(5)).await;
    record(&journal, late, Event::Published, at(8)).await;
    let fault = fault(Code::IdentityRefused);
    let keep = async |end| journal.keep_waiting(&agency(), at(0)..at(end), at(4), &fault, at(9)).await.unwrap();
    assert_eq!((keep(8).await, keep(8).await, keep(20).await, keep(20).await), (1, 0, 1, 0));
    for (id, waits) in [(early, Some(at(4))), (late, Some(at(4))), (begun, None)] {
        assert_eq!(progress(&journal, id).await.waiting_since, waits);
    }
    assert_eq!(state(&journal, early).await, StateName::Queued);
    let told = journal.timeline(early).await.unwrap().pop().unwrap();
    assert!(told.cause.contains(": waiting for the agency since 20"), "{told:?}");
}

async fn a_retry_is_due_at_its_time_and_not_before(journal: Tested) {
    let id = retrying(&journal, at(100)).await;
    assert_eq!(ids(journal.due(at(99), 10).await.unwrap()), []);
    let due = journal.due(at(100), 10).await.unwrap();
    let expected = Due {
        id,
        agency: agency(),
        service: "person-lookup".parse().unwrap(),
        effect: Effect::Lookup,
        progress: progress(&journal, id).await,
    };
    assert_eq!(due, [expected]);
    record(&journal, id, Event::Requeued, at(100)).await;
    assert_eq!(ids(journal.due(at(1000), 10).await.unwrap()), []);
}

async fn an_attempt_is_due_when_its_lease_runs_out(journal: Tested) {
    let id = sending(&journal).await;
    assert_eq!(ids(journal.due(at(59), 10).await.unwrap()), []);
    assert_eq!(ids(journal.due(at(60), 10).await.unwrap()), [id]);
    completed(&journal).await;
    assert_eq!(ids(journal.due(at(9000), 10).await.unwrap()), [id]);
}

async fn what_is_due_comes_soonest_first_and_no_more_than_asked(journal: Tested) {
    let late = retrying(&journal, at(300)).await;
    let soon = retrying(&journal, at(100)).await;
    let middle = retrying(&journal, at(200)).await;
    assert_eq!(ids(journal.due(at(400), 10).await.unwrap()), [soon, middle, late]);
    assert_eq!(ids(journal.due(at(400), 2).await.unwrap()), [soon, middle]);
}

async fn only_what_no_worker_has_is_overdue(journal: Tested) {
    let waiting_for_broker = accepted(&journal).await;
    let queued = accepted(&journal).await;
    record(&journal, queued, Event::Published, at(1)).await;
    let retrying = retrying(&journal, at(100)).await;
    let waiting = sending(&journal).await;
    record(&journal, waiting, Event::TakenByAgency { attempt: 1, at: at(2) }, at(2)).await;
    sending(&journal).await;
    completed(&journal).await;
    let parked = accepted(&journal).await;
    record(&journal, parked, Event::Parked { fault: fault(Code::TemplateFailed) }, at(2)).await;
    assert_eq!(ids(journal.overdue(at(3599), 10).await.unwrap()), []);
    let mut overdue = ids(journal.overdue(at(3600), 10).await.unwrap());
    overdue.sort();
    let mut expected = [waiting_for_broker, queued, retrying, waiting];
    expected.sort();
    assert_eq!(overdue, expected);
    assert_eq!(journal.overdue(at(3600), 3).await.unwrap().len(), 3);
}

async fn the_next_time_to_look_is_the_soonest_of_all(journal: Tested) {
    assert_eq!(journal.next_due().await.unwrap(), None);
    completed(&journal).await;
    assert_eq!(journal.next_due().await.unwrap(), None);
    let id = accepted(&journal).await;
    assert_eq!(journal.next_due().await.unwrap(), Some(at(0)));
    journal.claim_outbox(1, at(0), at(30), &[], &Default::default()).await.unwrap();
    assert_eq!(journal.next_due().await.unwrap(), Some(at(30)));
    journal.published(&[id], at(1)).await.unwrap();
    assert_eq!(journal.next_due().await.unwrap(), Some(at(3600)));
    record(&journal, id, Event::Begun { attempt: 1, lease_until: at(60), asks_first: true }, at(2)).await;
    assert_eq!(journal.next_due().await.unwrap(), Some(at(60)));
    let entry = Entry { not_before: Some(at(45)), ..Entry::new(Event::PutBack { attempt: 1 }, at(3)) };
    journal.record(id, entry).await.unwrap();
    assert_eq!(journal.next_due().await.unwrap(), Some(at(45)));
    record(&journal, id, Event::CancelledByOffice { by: "causeni".parse().unwrap() }, at(4)).await;
    assert_eq!(journal.next_due().await.unwrap(), None);
}

async fn what_the_broker_has_lost_is_counted_and_published_again(journal: Tested) {
    let (old, young) = (accepted(&journal).await, accepted(&journal).await);
    let elsewhere = accept(&journal, &Submission { agency: "legal-events".parse().unwrap(), ..submission() }).await;
    for (id, second) in [(old, 10), (young, 20), (elsewhere, 10)] {
        record(&journal, id, Event::Published, at(second)).await;
    }
    assert_eq!(journal.queued_since(&agency(), at(10)).await.unwrap(), 0);
    assert_eq!(journal.queued_since(&agency(), at(20)).await.unwrap(), 1);
    assert_eq!(journal.requeue(&agency(), at(20), at(30), u32::MAX).await.unwrap().len(), 1);
    assert_eq!(state(&journal, old).await, StateName::Accepted);
    assert_eq!(state(&journal, young).await, StateName::Queued);
    assert_eq!(state(&journal, elsewhere).await, StateName::Queued);
    assert_eq!(journal.timeline(old).await.unwrap()[2].cause, "requeued");
    let items = journal.claim_outbox(10, at(30), at(60), &[], &Default::default()).await.unwrap();
    assert_eq!(items.iter().map(|it| it.submission).collect::<Vec<_>>(), [old]);
}

async fn what_a_clock_that_was_ahead_has_planned_waits_no_longer(journal: Tested) {
    let (queued, as_planned) = (accepted(&journal).await, accepted(&journal).await);
    record(&journal, queued, Event::Published, at(3600)).await;
    record(&journal, as_planned, Event::Published, at(10)).await;
    let retrying = sending(&journal).await;
    let (attempt, due_at) = (1, at(3660));
    let planned = Event::RetryPlanned { attempt, due_at, fault: fault(Code::NetworkConnect) };
    record(&journal, retrying, planned, at(3600)).await;
    let under_way = accepted(&journal).await;
    record(&journal, under_way, Event::Begun { attempt, lease_until: at(3660), asks_first: true }, at(3599)).await;
    assert_eq!(journal.requeue_ahead(&agency(), at(70), at(10)).await.unwrap().len(), 2);
    assert_eq!(journal.requeue_ahead(&agency(), at(70), at(10)).await.unwrap().len(), 0);
    for (id, expected) in [
        (queued, StateName::Accepted),
        (retrying, StateName::Accepted),
        (as_planned, StateName::Queued),
        (under_way, StateName::Sending),
    ] {
        assert_eq!(state(&journal, id).await, expected);
    }
    let items = journal.claim_outbox(10, at(10), at(60), &[], &Default::default()).await.unwrap();
    assert_eq!(items.len(), 2);
}

async fn voided_leases_run_out_at_once(journal: Tested) {
    let in_outbox = accepted(&journal).await;
    journal.claim_outbox(10, at(0), at(9000), &[], &Default::default()).await.unwrap();
    let (first, second) = (sending(&journal).await, sending(&journal).await);
    let retrying = retrying(&journal, at(100)).await;
    assert_eq!(journal.void_leases(at(5)).await.unwrap().len(), 2);
    let due = ids(journal.due(at(5), 10).await.unwrap());
    assert!(due.len() == 2 && due.contains(&first) && due.contains(&second));
    assert_eq!(progress(&journal, first).await.state, State::Sending { attempt: 1, lease_until: at(5) });
    let told = journal.timeline(first).await.unwrap().pop().unwrap();
    assert_eq!((told.at, told.to, told.cause.as_str()), (at(5), StateName::Sending, "its process has ended"));
    assert_eq!(journal.attempts(first).await.unwrap().len(), 1);
    assert_eq!(progress(&journal, retrying).await.state.due_at(), Some(at(100)));
    let items = journal.claim_outbox(10, at(5), at(60), &[], &Default::default()).await.unwrap();
    assert_eq!(items.iter().map(|it| it.submission).collect::<Vec<_>>(), [in_outbox]);
}

/// An attempt that has found nobody there at this second.
async fn waits(journal: &Tested, office: &str, second: i64, fault: Fault) -> SubmissionId {
    let submission = Submission { office: office.parse().unwrap(), ..submission() };
    let id = accept(journal, &submission).await;
    record(journal, id, Event::Begun { attempt: 1, lease_until: at(60), asks_first: true }, at(second)).await;
    let event = Event::Deferred { attempt: 1, due_at: at(1000), since: at(second), fault };
    record(journal, id, event, at(second)).await;
    id
}

/// Whose, of what has waited since before 40.
async fn woken(journal: &Tested, limit: u32) -> Vec<OfficeName> {
    whose(journal.wake(&agency(), at(40), at(60), limit, &Default::default()).await.unwrap())
}

fn whose(woken: Vec<Moved>) -> Vec<OfficeName> {
    woken.into_iter().map(|moved| moved.office).collect()
}

async fn of_the_offices_whose_submissions_wait_the_one_that_has_failed_least_is_woken_first(journal: Tested) {
    let office = |name: &str| name.parse::<OfficeName>().unwrap();
    let away = || fault(Code::NetworkConnect);
    for second in 0..9 {
        waits(&journal, "failing", second, away()).await;
    }
    waits(&journal, "lucky", 20, away()).await;
    for second in [30, 31] {
        waits(&journal, "good", second, away()).await;
    }
    let failures = [(office("failing"), 5), (office("lucky"), 1)].into();
    let wake = async |limit| whose(journal.wake(&agency(), at(40), at(60), limit, &failures).await.unwrap());
    assert_eq!(wake(1).await, [office("good")]);
    assert_eq!(wake(4).await, ["good", "lucky", "failing", "failing"].map(office));
    assert_eq!(wake(1).await, [office("failing")]);
}

async fn what_waits_for_an_agency_is_woken_office_by_office_and_nothing_that_the_agency_asked_to_wait(journal: Tested) {
    let asked = fault(Code::AgencyUnavailable).with_retry_after(Some(std::time::Duration::from_secs(900)));
    let patient = waits(&journal, "one", 1, asked).await;
    let away = || fault(Code::NetworkConnect);
    let first = waits(&journal, "one", 2, away()).await;
    let second = waits(&journal, "one", 3, away()).await;
    let others = waits(&journal, "two", 4, away()).await;
    let late = waits(&journal, "two", 50, away()).await;
    let retry = sending(&journal).await;
    let planned = Event::RetryPlanned { attempt: 1, due_at: at(1000), fault: fault(Code::NetworkTimeout) };
    record(&journal, retry, planned, at(5)).await;
    let wake = async |limit| woken(&journal, limit).await.len();
    assert_eq!(wake(2).await, 2);
    assert_eq!(
        (state(&journal, first).await, state(&journal, others).await),
        (StateName::Accepted, StateName::Accepted)
    );
    assert_eq!(state(&journal, second).await, StateName::Retrying);
    assert_eq!((wake(9).await, wake(9).await), (1, 0));
    assert_eq!(state(&journal, second).await, StateName::Accepted);
    for id in [patient, late, retry] {
        assert_eq!(state(&journal, id).await, StateName::Retrying);
    }
    assert!(progress(&journal, first).await.waiting_since.is_some());
}

async fn however_many_the_agency_has_asked_to_wait_they_hide_no_other(journal: Tested) {
    for _ in 0..70 {
        let asked = fault(Code::AgencyUnavailable).with_retry_after(Some(std::time::Duration::from_secs(900)));
        waits(&journal, "one", 1, asked).await;
    }
    let away = waits(&journal, "one", 2, fault(Code::NetworkConnect)).await;
    // Asked to wait at first, and away afterwards; and the other way round.
    let asked = || fault(Code::AgencyUnavailable).with_retry_after(Some(std::time::Duration::from_secs(900)));
    let (then_away, then_asked) =
        (waits(&journal, "two", 3, asked()).await, waits(&journal, "two", 3, fault(Code::NetworkConnect)).await);
    for (id, fault) in [(then_away, fault(Code::NetworkConnect)), (then_asked, asked())] {
        record(&journal, id, Event::Requeued, at(4)).await;
        record(&journal, id, Event::Begun { attempt: 2, lease_until: at(60), asks_first: true }, at(5)).await;
        record(&journal, id, Event::Deferred { attempt: 2, due_at: at(1000), since: at(5), fault }, at(6)).await;
    }
    assert_eq!(woken(&journal, 9).await.len(), 2);
    for (id, expected) in
        [(away, StateName::Accepted), (then_away, StateName::Accepted), (then_asked, StateName::Retrying)]
    {
        assert_eq!(state(&journal, id).await, expected);
    }
}

async fn what_may_be_woken_is_found_among_many_offices_that_have_nothing_of_the_kind(journal: Tested) {
    for number in 0..80 {
        waits(&journal, &format!("office-{number}"), 50, fault(Code::NetworkConnect)).await;
    }
    let early = waits(&journal, "office-41", 2, fault(Code::NetworkConnect)).await;
    assert_eq!(woken(&journal, 1).await.len(), 1);
    assert_eq!(state(&journal, early).await, StateName::Accepted);
    assert_eq!(woken(&journal, 1).await.len(), 0);
}

async fn a_wait_for_an_agency_keeps_its_beginning_until_something_is_heard_of_it(journal: Tested) {
    let id = waits(&journal, "one", 2, fault(Code::NetworkConnect)).await;
    assert_eq!((progress(&journal, id).await.tries, progress(&journal, id).await.attempts), (0, 1));
    record(&journal, id, Event::Requeued, at(10)).await;
    record(&journal, id, Event::Published, at(11)).await;
    let away = fault(Code::AgencyAway);
    record(&journal, id, Event::HeldBack { due_at: at(1000), since: at(9), fault: away }, at(12)).await;
    let found = journal.find(id).await.unwrap().unwrap();
    assert_eq!((found.progress.waiting_since, found.progress.tries), (Some(at(2)), 0));
    let told = journal.timeline(id).await.unwrap().pop().unwrap();
    assert!(told.cause.starts_with("agency.away: waiting for the agency since 20"), "{told:?}");
    record(&journal, id, Event::Requeued, at(20)).await;
    record(&journal, id, Event::Begun { attempt: 2, lease_until: at(60), asks_first: true }, at(21)).await;
    assert_eq!(progress(&journal, id).await.waiting_since, Some(at(2)));
    record(&journal, id, Event::Answered { attempt: 2, answer: answer() }, at(22)).await;
    assert_eq!(progress(&journal, id).await.waiting_since, None);
}
