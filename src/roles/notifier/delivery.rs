//! One notice comes in; it is told to its office, and what became of that is settled in the journal.

use super::{
    state::NotifierState,
    webhook_client::{PostError, Posted, WebhookClient},
};
use crate::{
    domain::{Code, State, later, redact_for_display},
    failpoints::{self, Failpoint},
    journal::{Journal, Notice, NoticeOutcome},
    telemetry::{Metrics, WebhookEnd},
};
use jiff::SignedDuration;
use serde_json::json;
use std::{sync::Arc, time::Duration};

pub(super) async fn deliver(state: &NotifierState, client: &WebhookClient, notice: &Notice) {
    let body = match body_of(state, notice).await {
        Ok(body) => body,
        Err(error) => {
            tracing::warn!(%error, notice = %notice.id, "a notice could not be written");
            return settle(state, notice, again(state, notice, None)).await;
        }
    };
    failpoints::hit(Failpoint::NotifierClaimed);
    let posted = client.post(&notice.id.to_string(), state.clock.now(), body).await;
    failpoints::hit(Failpoint::NotifierPosted);
    let outcome = match posted {
        Ok(Posted::Taken) => NoticeOutcome::Delivered,
        Ok(Posted::Gone) => NoticeOutcome::GivenUp,
        Ok(Posted::NotTaken { retry_after, .. }) => again(state, notice, retry_after),
        Err(_) => again(state, notice, None),
    };
    report(notice, &posted, &outcome);
    settle(state, notice, outcome).await;
    failpoints::hit(Failpoint::NotifierSettled);
}

pub(super) async fn give_up(journal: &Arc<dyn Journal>, metrics: &Metrics, notice: &Notice) {
    tracing::warn!(notice = %notice.id, office = %notice.office, "the office has no webhook any more");
    metrics.webhook(WebhookEnd::GivenUp);
    if let Err(error) = journal.settle_notice(notice.id, NoticeOutcome::GivenUp).await {
        tracing::warn!(%error, notice = %notice.id, "a notice could not be settled");
    }
}

/// No personal data: the office fetches the answer itself, with its certificate.
async fn body_of(state: &NotifierState, notice: &Notice) -> Result<Vec<u8>, crate::journal::JournalError> {
    let record = state.submissions.find(notice.submission).await?;
    let submission = record.as_ref().map(|record| &record.submission);
    let service = submission.map(|it| it.service.as_str());
    let agency = submission.map(|it| it.agency.as_str());
    let mut body = json!({
        "type": format!("submission.{}", notice.state),
        "timestamp": notice.happened_at,
        "data": {
            "id": notice.submission,
            "service": service,
            "agency": agency,
            "state": notice.state,
        },
    });
    // What is told is the state of then; what is added speaks of the state as it is now.
    if let Some(record) = record.filter(|record| record.progress.state.name() == notice.state) {
        if record.progress.may_have_happened(record.submission.effect) {
            body["data"]["in_doubt"] = json!(true);
        }
        if record.progress.state == (State::Completed { answer: None }) && record.erased_at.is_none() {
            body["data"]["answer_missing"] = json!(true);
        }
    }
    Ok(body.to_string().into_bytes())
}

fn again(state: &NotifierState, notice: &Notice, retry_after: Option<Duration>) -> NoticeOutcome {
    let Some(wait) = state.schedule.wait_after(notice.tries + 1, retry_after) else {
        return NoticeOutcome::GivenUp;
    };
    let wait = SignedDuration::try_from(wait).unwrap_or(SignedDuration::MAX);
    NoticeOutcome::RetryAt(later(state.clock.now(), wait))
}

fn report(notice: &Notice, posted: &Result<Posted, PostError>, outcome: &NoticeOutcome) {
    let code = match posted {
        Err(PostError::Address(_)) => Code::WebhookAddress,
        _ => Code::WebhookFailed,
    };
    let why = match posted {
        Ok(Posted::Taken) => return tracing::debug!(notice = %notice.id, office = %notice.office, "delivered"),
        Ok(Posted::Gone) => "410: the webhook is gone".to_owned(),
        Ok(Posted::NotTaken { status, .. }) => format!("HTTP status {status}"),
        Err(error) => redact_for_display(&error.to_string(), 300),
    };
    let is_over = *outcome == NoticeOutcome::GivenUp;
    tracing::warn!(%code, why, is_over, tries = notice.tries + 1, notice = %notice.id, office = %notice.office,
        "a webhook did not take its notice");
}

async fn settle(state: &NotifierState, notice: &Notice, outcome: NoticeOutcome) {
    state.metrics.webhook(match outcome {
        NoticeOutcome::Delivered => WebhookEnd::Delivered,
        NoticeOutcome::RetryAt(_) => WebhookEnd::Retried,
        NoticeOutcome::GivenUp => WebhookEnd::GivenUp,
    });
    if let Err(error) = state.journal.settle_notice(notice.id, outcome).await {
        // Its lease runs out, and it is delivered again: the receiver knows repeats by the id.
        tracing::warn!(%error, notice = %notice.id, "a notice could not be settled");
    }
}
