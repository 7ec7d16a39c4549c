//! Messages from other times, and times that are no times.

use super::{Case, honest, piece, replaced, signed};
use crate::pki::now;
use jiff::{SignedDuration, Timestamp};

pub fn cases() -> Vec<Case> {
    let at = |created: i64, expires: i64| {
        signed(|forgery| {
            forgery.created = now() + SignedDuration::from_secs(created);
            forgery.expires = now() + SignedDuration::from_secs(expires);
        })
    };
    let text = honest();
    let expires = piece(&text, "<wsu:Expires>", "</wsu:Expires>");
    let created = piece(&text, "<wsu:Created>", "</wsu:Created>");
    let mut cases = vec![
        Case::new("from-the-future", "from-the-future", at(61, 120)),
        Case::new("from-the-far-future", "from-the-future", at(86_400 * 365 * 50, 86_400 * 365 * 60)),
        Case::new("expired", "stale", at(-120, -61)),
        Case::new("expired-before-it-was-created", "stale", at(0, -61)),
        Case::new("too-old-but-not-expired", "stale", at(-361, 86_400)),
        Case::new("very-old", "stale", at(-86_400 * 365 * 20, 86_400)),
        Case::new("created-at-the-beginning-of-time", "stale", signed(|forgery| forgery.created = Timestamp::MIN)),
        Case::new("expires-is-removed", "digest-mismatch", replaced(&text, expires, "")),
        Case::new("created-is-removed", "digest-mismatch", replaced(&text, created, "")),
        Case::new("a-second-created", "digest-mismatch", replaced(&text, created, &created.repeat(2))),
        Case::new("created-is-edited", "digest-mismatch", replaced(&text, "<wsu:Created>20", "<wsu:Created>21")),
        Case::new("expires-is-prolonged", "digest-mismatch", replaced(&text, "<wsu:Expires>20", "<wsu:Expires>21")),
    ];
    for (name, timestamp, expected) in [
        (
            "never-expires-and-is-old",
            format!("<wsu:Created>{}</wsu:Created>", now() - SignedDuration::from_secs(361)),
            "stale",
        ),
        ("was-never-created", expires.to_owned(), "shape"),
        ("created-twice", format!("{created}{created}{expires}"), "shape"),
        ("expires-twice", format!("{created}{expires}{expires}"), "shape"),
        ("empty", String::new(), "shape"),
        ("created-is-empty", format!("<wsu:Created></wsu:Created>{expires}"), "time-format"),
        ("created-has-no-zone", format!("<wsu:Created>2026-01-01T00:00:00</wsu:Created>{expires}"), "time-format"),
        ("created-is-a-word", format!("<wsu:Created>now</wsu:Created>{expires}"), "time-format"),
        ("created-is-a-number", format!("<wsu:Created>1767225600</wsu:Created>{expires}"), "time-format"),
        ("created-is-no-day", format!("<wsu:Created>2026-02-30T00:00:00Z</wsu:Created>{expires}"), "time-format"),
        (
            "created-has-a-year-of-five-digits",
            format!("<wsu:Created>12026-01-01T00:00:00Z</wsu:Created>{expires}"),
            "time-format",
        ),
        ("times-of-another-namespace", format!("{created}{expires}").replace("wsu:", "s:"), "shape"),
        ("times-in-a-wrapper", format!("<w>{created}{expires}</w>"), "shape"),
    ] {
        cases.push(Case::new(name, expected, with_timestamp(&timestamp)));
    }
    cases
}

/// Signed by the agency, with a Timestamp as careless as that.
fn with_timestamp(inside: &str) -> String {
    signed(|forgery| forgery.timestamp = Some(inside.to_owned()))
}
