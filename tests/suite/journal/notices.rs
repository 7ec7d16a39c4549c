//! Notices: an office that asked for them is told of every end, until it has taken the news.

use super::*;
use punte::journal::{Notice, NoticeOutcome};

on_both! {
    an_end_is_noticed_if_the_office_asked_for_it
    a_notice_is_in_one_notifier_s_hands_at_a_time
    a_failed_notice_comes_again_at_its_time
    a_delivered_or_abandoned_notice_does_not_come_again
    each_end_of_a_replayed_submission_is_noticed
}

async fn claim(journal: &Tested, now: i64) -> Vec<Notice> {
    journal.claim_notices(10, at(now), at(now + 30)).await.unwrap()
}

async fn an_end_is_noticed_if_the_office_asked_for_it(journal: Tested) {
    sending(&journal).await;
    let silent = submission();
    journal.accept(&silent, &fresh_key(), false, None).await.unwrap();
    record(&journal, silent.id, Event::CancelledByOffice { by: "causeni".parse().unwrap() }, at(2)).await;
    assert_eq!(claim(&journal, 2).await, []);
    let id = completed(&journal).await;
    let notices = claim(&journal, 2).await;
    let expected = Notice {
        id: notices[0].id,
        office: office(),
        submission: id,
        state: StateName::Completed,
        happened_at: at(2),
        tries: 0,
    };
    assert_eq!(notices, [expected]);
}

async fn a_notice_is_in_one_notifier_s_hands_at_a_time(journal: Tested) {
    for _ in 0..20 {
        completed(&journal).await;
    }
    let claims = (0..6).map(|_| journal.claim_notices(5, at(3), at(33)));
    let mut claimed: Vec<_> =
        futures_util::future::join_all(claims).await.into_iter().flat_map(|it| it.unwrap()).collect();
    claimed.extend(journal.claim_notices(20, at(3), at(33)).await.unwrap());
    claimed.sort_by_key(|it| it.id);
    assert_eq!(claimed.len(), 20);
    claimed.dedup_by_key(|it| it.id);
    assert_eq!(claimed.len(), 20);
    assert_eq!(journal.claim_notices(20, at(33), at(60)).await.unwrap().len(), 20);
}

async fn a_failed_notice_comes_again_at_its_time(journal: Tested) {
    completed(&journal).await;
    let first = claim(&journal, 2).await.remove(0);
    journal.settle_notice(first.id, NoticeOutcome::RetryAt(at(50))).await.unwrap();
    assert_eq!(claim(&journal, 49).await, []);
    assert_eq!(claim(&journal, 50).await, [Notice { tries: 1, ..first }]);
}

async fn a_delivered_or_abandoned_notice_does_not_come_again(journal: Tested) {
    for outcome in [NoticeOutcome::Delivered, NoticeOutcome::GivenUp] {
        completed(&journal).await;
        let notice = claim(&journal, 2).await.remove(0);
        journal.settle_notice(notice.id, outcome).await.unwrap();
        assert_eq!(claim(&journal, 9000).await, []);
    }
}

async fn each_end_of_a_replayed_submission_is_noticed(journal: Tested) {
    let id = sending(&journal).await;
    record(&journal, id, Event::GivenUp { attempt: 1, fault: fault(Code::NetworkConnect) }, at(2)).await;
    record(&journal, id, replay(), at(3)).await;
    record(&journal, id, Event::CancelledByOffice { by: "causeni".parse().unwrap() }, at(4)).await;
    let states: Vec<_> = claim(&journal, 5).await.into_iter().map(|it| it.state).collect();
    assert_eq!(states, [StateName::Parked, StateName::Cancelled]);
}
