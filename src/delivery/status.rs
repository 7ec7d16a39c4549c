//! Status: an answer's HTTP status that no filter has read comes in; the fault that it is goes out.
//!
//! A status is not a verdict: whoever stands between may have passed the request on before it said so. By itself it makes
//! nothing certain; it only says whether another try makes sense. adapters/README.md shows the whole table, effect by effect.

use super::Incoming;
use crate::{
    domain::{Code, Fault, Stage, Verdict},
    soap::content::charset::is_blank,
};

/// What a status speaks of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StatusClass {
    /// 2xx: it was answered, and the answer is of no use.
    Success,
    /// 3xx: never followed. A page for maintenance or a login stands behind it, or another address; a 303 even says that it
    /// was done. Be it called permanent or not, it says nothing of this request.
    Redirect,
    /// The message itself: it would be so again.
    Message,
    /// The moment, the address, the connection or the agency's own state: nothing of this request.
    NotTheRequest,
    /// Our certificate, key or token.
    Credentials,
    RateLimited,
    Unavailable,
    /// The agency, or somebody on the way, failed.
    Server,
    /// What no answer has.
    Odd,
}

impl StatusClass {
    pub fn of(status: u16) -> Self {
        match status {
            200..=299 => Self::Success,
            300..=399 => Self::Redirect,
            // What differs from one submission to the next is the body: these speak of it.
            400 | 406 | 413..=416 | 422 => Self::Message,
            401 | 403 | 407 | 495 | 496 | 511 => Self::Credentials,
            429 => Self::RateLimited,
            503 => Self::Unavailable,
            // 404 while the agency's server starts, 405 of its page for maintenance, 408, 409, 410, 421, 423 to 426, 451, and
            // whatever somebody has made up: it may be otherwise in a minute. So may it be with 411, 417, 428 and 431, which
            // are about how every request is sent.
            400..=499 => Self::NotTheRequest,
            500..=599 => Self::Server,
            _ => Self::Odd,
        }
    }

    /// Of a whole answer. A page for people comes from what stands before the agency: its 2xx is no answer, and its 400 is
    /// about the connection, such as a certificate that was not shown.
    pub fn of_answer(incoming: &Incoming) -> Self {
        match Self::of(incoming.status) {
            Self::Success if is_page(incoming) => Self::NotTheRequest,
            Self::Message if is_page(incoming) && incoming.status == 400 => Self::NotTheRequest,
            class => class,
        }
    }

    pub fn code(self) -> Code {
        match self {
            Self::Success | Self::Odd => Code::AnswerUnexpected,
            Self::Redirect => Code::AgencyRedirect,
            Self::Message => Code::AgencyClientError,
            Self::NotTheRequest => Code::AgencyNoVerdict,
            Self::Credentials => Code::CredentialsRefused,
            Self::RateLimited => Code::AgencyRateLimited,
            Self::Unavailable => Code::AgencyUnavailable,
            Self::Server => Code::AgencyServerError,
        }
    }

    /// Whether it says more than an unsigned SOAP fault beside it.
    pub fn goes_before_a_fault(self) -> bool {
        match self {
            Self::Credentials | Self::RateLimited | Self::Unavailable => true,
            Self::Success | Self::Redirect | Self::Message | Self::NotTheRequest | Self::Server | Self::Odd => false,
        }
    }
}

/// Nothing at all is often called HTML.
fn is_page(incoming: &Incoming) -> bool {
    incoming.is_html_page() && !is_blank(&incoming.body)
}

/// How far an HTTP status is trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StatusTrust {
    /// The agency signs its answers, and this one's status is not signed, or not with a word of our request.
    Unsigned,
    /// The agency does not sign.
    NeverSigned,
    /// It does not sign, and its folder says that with this status it has certainly not handled the request.
    NotHandled,
}

pub fn fault_of_status(incoming: &Incoming, trust: StatusTrust) -> Fault {
    let (status, code) = (incoming.status, StatusClass::of_answer(incoming).code());
    let page = if is_page(incoming) { " with a page for people" } else { "" };
    let fault = |how: &str| Fault::new(code, Stage::Read, format!("HTTP status {status}{page}{how}"));
    match trust {
        StatusTrust::Unsigned => fault(", unsigned"),
        StatusTrust::NeverSigned => fault(""),
        StatusTrust::NotHandled => Fault { verdict: Verdict::Retry, ..fault(": not handled") },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        adapter::{DeclaredMoment, NotHandled},
        delivery::{Case, send, settle},
        domain::{Effect, Event, Schedule},
        http_client::{ExchangeFailure, SendFailure},
    };
    use http::{HeaderMap, HeaderValue, header};
    use jiff::{SignedDuration, Timestamp};
    use std::time::Duration;

    const ALL: [StatusClass; 9] = [
        StatusClass::Success,
        StatusClass::Redirect,
        StatusClass::Message,
        StatusClass::NotTheRequest,
        StatusClass::Credentials,
        StatusClass::RateLimited,
        StatusClass::Unavailable,
        StatusClass::Server,
        StatusClass::Odd,
    ];

    fn answer(status: u16) -> Incoming {
        Incoming { status, headers: HeaderMap::new(), body: "x".into() }
    }

    fn page(status: u16) -> Incoming {
        let headers =
            HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static("Text/HTML; charset=utf-8"))]);
        Incoming { headers, ..answer(status) }
    }

    /// What production does with a fault, in a few words.
    fn follows(fault: Fault, effect: Effect, is_halted: bool) -> &'static str {
        let secs = Duration::from_secs;
        let schedule = Schedule::new(secs(1), secs(1), 1.0, 0.0, 3, secs(1)).unwrap();
        let now = Timestamp::UNIX_EPOCH;
        let (attempt, tries, schedule, pause) = (1, 1, &schedule, SignedDuration::ZERO);
        let case = Case { effect, attempt, tries, schedule, now, waiting_since: None, is_halted, pause };
        let progress = crate::domain::Progress::accepted();
        let sending = crate::domain::State::Sending { attempt: 1, lease_until: Timestamp::UNIX_EPOCH };
        let progress = crate::domain::Progress { state: sending, attempts: 1, tries: 1, ..progress };
        let event = settle(Err(fault), case);
        let after = crate::domain::apply(&progress, effect.into(), event.clone()).unwrap();
        match event {
            Event::RetryPlanned { .. } if after.is_to_be_asked_about(effect) => "asked, then again",
            Event::RetryPlanned { .. } if after.in_doubt => "again, in doubt",
            Event::RetryPlanned { .. } => "again",
            Event::Deferred { .. } if after.is_to_be_asked_about(effect) => "waits, then asked",
            Event::Deferred { .. } if after.in_doubt => "waits, in doubt",
            Event::Deferred { .. } => "waits",
            Event::GivenUp { .. } if after.in_doubt => "parked, in doubt",
            Event::GivenUp { .. } => "parked",
            Event::OutcomeUnknown { .. } => "uncertain",
            other => panic!("{other:?}"),
        }
    }

    fn is_sent_again(fault: Fault, effect: Effect) -> bool {
        ["again", "waits"].contains(&follows(fault, effect, false))
    }

    fn row(what: &str, fault: &Fault) -> String {
        // By then the agency is halted for everybody.
        let is_halted = fault.code == Code::IdentityRefusedLate;
        let cells = Effect::ALL.map(|effect| follows(fault.clone(), effect, is_halted));
        format!("| {what} | `{}` | {} |\n", fault.code, cells.join(" | "))
    }

    fn statuses(class: StatusClass) -> String {
        match class {
            StatusClass::NotTheRequest => return "every other 4xx, such as 404, 405, 408, 409, 410, 425".to_owned(),
            StatusClass::Server => return "every other 5xx".to_owned(),
            _ => {}
        }
        let mut spans: Vec<(u16, u16)> = Vec::new();
        for status in (100..=599).filter(|status| StatusClass::of(*status) == class) {
            match spans.last_mut() {
                Some((_, last)) if *last + 1 == status => *last = status,
                _ => spans.push((status, status)),
            }
        }
        let text = |(first, last): &(u16, u16)| match first == last {
            true => first.to_string(),
            false => format!("{first}–{last}"),
        };
        spans.iter().map(text).collect::<Vec<_>>().join(", ")
    }

    /// The table as adapters/README.md shows it: what production does, row by row.
    fn table() -> String {
        let fault = |code| Fault::new(code, Stage::Read, "");
        let with = |verdict, code| Fault { verdict, ..fault(code) };
        let mut text = "| what came | code | `read` | `idempotent` | `lookup` | `once` |\n".to_owned();
        text += "| --- | --- | --- | --- | --- | --- |\n";
        text += &row("no connection, or no secure one", &fault(Code::NetworkConnect));
        text += &row("nothing in time", &fault(Code::NetworkTimeout));
        text += &row("a connection that breaks", &fault(Code::NetworkReset));
        for class in ALL {
            let shown = (100..=599).find(|status| StatusClass::of(*status) == class).unwrap();
            text += &row(&statuses(class), &fault_of_status(&answer(shown), StatusTrust::Unsigned));
        }
        text += &row(
            "a page for people (`text/html`) with 2xx or 400",
            &fault_of_status(&page(200), StatusTrust::Unsigned),
        );
        text += &row("503 in the folder's `not_handled`", &fault_of_status(&answer(503), StatusTrust::NotHandled));
        let alert = || SendFailure::Unknown(ExchangeFailure::OurCertificateFirst("x".into()));
        let (nothing, declared) = (NotHandled::default(), NotHandled::of_moments(DeclaredMoment::ALL));
        text += &row("our certificate is refused after the request", &send::fault(alert(), &nothing));
        let name = "the same, first on its connection, with `\"certificate-alert\"` in the folder's `not_handled`";
        text += &row(name, &send::fault(alert(), &declared));
        text += &row("a SOAP fault that blames the request", &fault(Code::AgencySoapClientFault));
        text += &row("another SOAP fault", &fault(Code::AgencySoapServerFault));
        text += &row("the filter: `transient: true`, bound", &fault(Code::AgencyFaultTransient));
        text += &row("the filter: `transient: true`, not bound", &with(Verdict::Unknown, Code::AgencyFaultTransient));
        text += &row("the filter: `transient: false`, bound", &fault(Code::AgencyFault));
        text += &row("the filter: `transient: false`, not bound", &with(Verdict::DoNotRetryInDoubt, Code::AgencyFault));
        text
    }

    #[test]
    fn the_table_of_the_readme_is_what_is_done() {
        let readme = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/adapters/README.md")).unwrap();
        assert!(readme.contains(&table()), "adapters/README.md does not have this table:\n{}", table());
    }

    #[test]
    fn no_status_by_itself_makes_anything_certain_but_for_what_the_folder_declares() {
        for status in 0..=999 {
            for trust in [StatusTrust::Unsigned, StatusTrust::NeverSigned] {
                let fault = fault_of_status(&answer(status), trust);
                assert!(fault.verdict.leaves_doubt(), "{status}");
                assert!(!is_sent_again(fault.clone(), Effect::Once), "{status}");
                let blames_the_request = StatusClass::of(status) == StatusClass::Message;
                assert_eq!(follows(fault, Effect::Read, false) == "parked", blames_the_request, "{status}");
            }
            let declared = fault_of_status(&answer(status), StatusTrust::NotHandled);
            assert!(Effect::ALL.iter().all(|effect| is_sent_again(declared.clone(), *effect)), "{status}");
        }
    }

    #[test]
    fn a_page_for_people_is_no_answer_and_its_400_is_no_word_about_the_message() {
        for (incoming, expected) in [
            (page(200), "waits"),
            (page(204), "waits"),
            (page(400), "waits"),
            (Incoming { body: "\u{feff}\n<!DOCTYPE HTML><title>Back soon".into(), ..answer(200) }, "waits"),
            (Incoming { body: "<HTML>".into(), ..answer(400) }, "waits"),
            (answer(400), "parked"),
            (page(413), "parked"),
            (Incoming { body: "".into(), ..page(400) }, "parked"),
        ] {
            let fault = fault_of_status(&incoming, StatusTrust::Unsigned);
            assert_eq!(follows(fault.clone(), Effect::Read, false), expected, "{fault}");
            assert!(!is_sent_again(fault, Effect::Once), "{}", incoming.status);
        }
    }
}
