//! An agency that lets nobody of this installation in waits as a whole: what finds that out, how long it is waited between two
//! looks, and what it costs the submissions.

use super::moments::{STAYS, hasty, town_with_raw_agency, until, with_probe};
use crate::{
    raw_agency::{Act, End, RawAgency, Say, When},
    town::Town,
};
use std::time::{Duration, Instant};

const FORBIDDEN: &str = "HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n";
const UNWELL: &str = "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n";
const WELL: &str = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
const HALTED: &str = "agency_halted{agency=\"civil-registry\"} 1";

fn answers(agency: &RawAgency, say: Say) {
    agency.acts(Act { when: When::AfterRequest, says: vec![say], end: End::Stay });
}

async fn is_halted(town: &Town) -> bool {
    town.operations("/metrics").await.contains(HALTED)
}

#[tokio::test(flavor = "multi_thread")]
async fn one_refusal_is_enough_where_the_declared_probe_meets_the_same_and_none_where_it_does_not() {
    let slow =
        |agency: &str, text: String| with_probe(agency, text).replace("cooldown_secs = 0.1", "cooldown_secs = 1");
    let (town, agency) = town_with_raw_agency(&rustls::version::TLS13, slow).await;
    answers(&agency, Say::Http(FORBIDDEN));
    agency.says_of_its_health(WELL);
    let id = town.post("person-lookup").await;
    town.ends(&id, "parked").await;
    assert!(!is_halted(&town).await, "one office's requests alone have halted the agency, whose probe is well");
    agency.says_of_its_health(UNWELL);
    let id = town.post("person-lookup").await;
    town.ends(&id, "parked").await;
    tokio::time::sleep(Duration::from_millis(2500)).await;
    assert!(!is_halted(&town).await, "that its probe fails for a moment has halted the agency");
    agency.says_of_its_health(FORBIDDEN);
    town.post("person-lookup").await;
    until(async || is_halted(&town).await).await;
    let waiting = town.post("person-lookup").await;
    let ready = town.operations("/healthz/ready").await;
    assert!(ready.contains("the probe GET /registry/health was answered with 403"), "{ready}");
    // Looks go on, and find the same.
    let (requests, begun) = (agency.requests(), Instant::now());
    while begun.elapsed() < Duration::from_secs(2) {
        assert!(is_halted(&town).await, "it goes on although its probe fails");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(agency.requests(), requests, "something was sent while the agency is halted");
    answers(&agency, STAYS);
    agency.says_of_its_health(WELL);
    town.until(&waiting, &super::moments::ENDS).await;
    assert!(agency.requests() > requests && !is_halted(&town).await);
    town.leave().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_probe_each_look_costs_one_submission_an_attempt_and_none_a_try_at_growing_distances() {
    let (mut town, agency) = town_with_raw_agency(&rustls::version::TLS13, |agency, text| {
        hasty(agency, text).replace("cooldown_secs = 0.1", "cooldown_secs = 0.5")
    })
    .await;
    answers(&agency, Say::Http(FORBIDDEN));
    // Whoever meets it before anybody knows that it is everybody's may use up his tries.
    town.post("person-lookup").await;
    town.office = town.stage.client("shkoder").unwrap();
    until(async || agency.requests() > 0).await;
    let mut ids = vec![town.post("person-lookup").await];
    until(async || is_halted(&town).await).await;
    for _ in 0..3 {
        ids.push(town.post("person-lookup").await);
    }
    // With two tries a submission, tries that count would end them all.
    let (mut last, mut distances, begun) = (agency.requests(), Vec::new(), Instant::now());
    let mut since = begun;
    while begun.elapsed() < Duration::from_secs(12) {
        let now = agency.requests();
        assert!(now <= last + 1, "a look has cost {} attempts", now - last);
        if now > last {
            distances.push(since.elapsed());
            (last, since) = (now, Instant::now());
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    println!("looks came after {distances:?}");
    assert!((2..=6).contains(&distances.len()), "{distances:?}");
    assert!(distances.last().unwrap() > &(distances[0] * 3 / 2), "they do not grow: {distances:?}");
    let journal = &town.stage.process().unwrap().journal;
    for id in &ids {
        let progress = journal.find(id.parse().unwrap()).await.unwrap().unwrap().progress;
        assert!(!progress.state.name().is_settled(), "{:?}", progress.state.name());
        assert!(progress.tries <= 1, "tries were used up: {progress:?}");
    }
    answers(&agency, STAYS);
    until(async || agency.requests() >= last + 4).await;
    town.leave().await;
}
