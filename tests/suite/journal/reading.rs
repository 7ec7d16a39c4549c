//! Reading: lists, their filters and pages, and counts.

use super::*;
use punte::journal::{ListFilter, StateCount};

on_both! {
    a_list_shows_the_newest_first_and_only_what_fits_every_condition
    pages_follow_each_other_without_gap_or_repetition
    a_list_leaves_out_what_may_be_large
    a_submission_is_found_by_the_beginning_or_the_end_of_its_id
    the_deepest_answer_is_read_back
    counts_tell_how_many_of_each_agency_are_in_each_state_that_is_not_the_last
}

async fn list(journal: &Tested, filter: ListFilter) -> Vec<SubmissionId> {
    journal.list(&filter, 100).await.unwrap().into_iter().map(|it| it.submission.id).collect()
}

async fn a_list_shows_the_newest_first_and_only_what_fits_every_condition(journal: Tested) {
    let template = submission();
    let other_office: OfficeName = "soroca".parse().unwrap();
    let other_agency: AgencyName = "legal-events".parse().unwrap();
    let other_service: ServiceName = "legal-event".parse().unwrap();
    let fresh = |second| Submission { id: SubmissionId::new(), accepted_at: at(second), ..template.clone() };
    let a = accept(&journal, &fresh(30)).await;
    let b = accept(&journal, &Submission { office: other_office.clone(), ..fresh(10) }).await;
    let c = accept(&journal, &Submission { agency: other_agency.clone(), ..fresh(20) }).await;
    let d = accept(&journal, &Submission { service: other_service.clone(), ..fresh(40) }).await;
    record(&journal, d, Event::Published, at(41)).await;

    let any = ListFilter::default;
    assert_eq!(list(&journal, any()).await, [d, a, c, b]);
    assert_eq!(list(&journal, ListFilter { office: Some(other_office.clone()), ..any() }).await, [b]);
    assert_eq!(list(&journal, ListFilter { agency: Some(other_agency), ..any() }).await, [c]);
    assert_eq!(list(&journal, ListFilter { service: Some(other_service.clone()), ..any() }).await, [d]);
    assert_eq!(list(&journal, ListFilter { state: Some(StateName::Queued), ..any() }).await, [d]);
    assert_eq!(list(&journal, ListFilter { since: Some(at(20)), ..any() }).await, [d, a, c]);
    assert_eq!(list(&journal, ListFilter { before: Some(a), ..any() }).await, [c, b]);
    let all = ListFilter {
        office: Some(office()),
        agency: Some(agency()),
        service: Some(other_service),
        state: Some(StateName::Queued),
        since: Some(at(40)),
        before: None,
    };
    assert_eq!(list(&journal, all.clone()).await, [d]);
    assert_eq!(list(&journal, ListFilter { office: Some(other_office), ..all }).await, []);
}

async fn pages_follow_each_other_without_gap_or_repetition(journal: Tested) {
    // Many were accepted at the same moment: only their identifiers tell them apart.
    let mut expected = Vec::new();
    for number in 0..25 {
        let submission = Submission { accepted_at: at(number / 10), ..submission() };
        expected.push((submission.accepted_at, accept(&journal, &submission).await));
    }
    expected.sort();
    expected.reverse();
    let expected: Vec<_> = expected.into_iter().map(|(_, id)| id).collect();
    let (mut seen, mut before) = (Vec::new(), None);
    loop {
        let page = journal.list(&ListFilter { before, office: Some(office()), ..Default::default() }, 7).await.unwrap();
        let Some(last) = page.last() else { break };
        before = Some(last.submission.id);
        seen.extend(page.into_iter().map(|it| it.submission.id));
    }
    assert_eq!(seen, expected);
}

/// A page of the largest requests and answers would fill the memory.
async fn a_list_leaves_out_what_may_be_large(journal: Tested) {
    let id = accept(&journal, &submission()).await;
    record(&journal, id, Event::Published, at(1)).await;
    record(&journal, id, Event::Begun { attempt: 1, lease_until: at(100), asks_first: true }, at(2)).await;
    let answer = Answer(serde_json::json!({"note": "x".repeat(100_000)}));
    record(&journal, id, Event::Answered { attempt: 1, answer: answer.clone() }, at(3)).await;
    let listed = journal.list(&ListFilter::default(), 1).await.unwrap().remove(0);
    let whole = journal.find(id).await.unwrap().unwrap();
    assert_eq!(whole.progress.state, State::Completed { answer: Some(answer) });
    assert_eq!(listed.progress.state, State::Completed { answer: None });
    assert_eq!((listed.submission.data, listed.submission.subject.id.as_str()), (serde_json::Value::Null, ""));
    assert_eq!((listed.submission.id, listed.changed_at, listed.progress.attempts), (id, whole.changed_at, 1));
}

async fn a_submission_is_found_by_the_beginning_or_the_end_of_its_id(journal: Tested) {
    let ids = [
        "0199f2a4-7c11-7000-8000-00000000aaaa",
        "0199f2a4-7c11-7000-8000-00000000bbbb",
        "0199f2a4-7d00-7000-8000-0000000caaaa",
        "0199aaaa-0000-7000-8000-00000000dddd",
        // Ends and begins alike.
        "0199eeee-0000-7000-8000-00000199eeee",
    ]
    .map(|id| SubmissionId::from(id.parse::<uuid::Uuid>().unwrap()));
    for id in ids {
        accept(&journal, &Submission { id, ..submission() }).await;
    }
    let named = async |part: &str, limit| {
        let found = journal.find_named(&part.parse().unwrap(), limit).await.unwrap();
        found.iter().map(|it| ids.iter().position(|id| *id == it.submission.id).unwrap()).collect::<Vec<_>>()
    };
    let empty: [usize; 0] = [];
    for (part, expected) in [
        ("0199f2a4", &[2, 1, 0][..]),
        ("0199F2A4-7c11", &[1, 0]),
        ("0199f2a47d", &[2]),
        ("aaaa", &[2, 0]),
        ("0000-AAAA", &[0]),
        ("00000000aaaa", &[0]),
        ("8000-00000000-bbbb", &[1]),
        ("0199aaaa", &[3]),
        ("0199eeee", &[4]),
        ("0199", &[2, 1, 0, 4, 3]),
        ("0199f2a4-7c11-7000-8000-00000000aaaa", &[0]),
        ("0199f2a4-7c11-7000-8000-00000000aaab", &empty),
        // In the middle of ids.
        ("7000-8000", &empty),
        ("ffff", &empty),
    ] {
        assert_eq!(named(part, 10).await, expected, "{part}");
    }
    assert_eq!(named("0199", 2).await, [2, 1]);
    // What may be large is left out, what tells it apart is not.
    let found = journal.find_named(&"0199aaaa".parse().unwrap(), 10).await.unwrap().remove(0);
    assert_eq!((found.submission.data, found.submission.service.as_str()), (serde_json::Value::Null, "person-lookup"));
}

/// As deep as JSON from an agency, or a filter, can be.
async fn the_deepest_answer_is_read_back(journal: Tested) {
    let deepest = format!("{}\"\\u0000\"{}", "[".repeat(126), "]".repeat(126));
    let answer = Answer(serde_json::from_str(&deepest).unwrap());
    let id = accept(&journal, &submission()).await;
    record(&journal, id, Event::Published, at(1)).await;
    record(&journal, id, Event::Begun { attempt: 1, lease_until: at(100), asks_first: true }, at(2)).await;
    record(&journal, id, Event::Answered { attempt: 1, answer: answer.clone() }, at(3)).await;
    assert_eq!(journal.find(id).await.unwrap().unwrap().progress.state, State::Completed { answer: Some(answer) });
}

async fn counts_tell_how_many_of_each_agency_are_in_each_state_that_is_not_the_last(journal: Tested) {
    assert_eq!(journal.counts().await.unwrap(), []);
    completed(&journal).await;
    accepted(&journal).await;
    accepted(&journal).await;
    let other: AgencyName = "legal-events".parse().unwrap();
    accept(&journal, &Submission { agency: other.clone(), ..submission() }).await;
    let count = |agency, state, count| StateCount { agency, state, count };
    assert_eq!(
        journal.counts().await.unwrap(),
        [count(agency(), StateName::Accepted, 2), count(other, StateName::Accepted, 1)]
    );
}
