//! Submissions as an operator names them: parts of ids come in, the submissions that are meant go out. A part must mean
//! exactly one; of any other it is said what it may mean, and then nothing is done with any of them.

use super::{output, print};
use crate::{
    domain::{IdPart, SubmissionId},
    journal::{JournalError, Record},
    submissions::Submissions,
};

/// How many of those that may be meant are listed.
const LISTED: usize = 10;

/// `None`: it has been said why.
pub async fn one(submissions: &Submissions, part: &IdPart) -> Result<Option<SubmissionId>, JournalError> {
    let named = all(submissions, std::slice::from_ref(part)).await?;
    Ok(named.and_then(|records| records.first().map(|record| record.submission.id)))
}

/// Each once, however often it is named, and without what may be large.
pub async fn all(submissions: &Submissions, parts: &[IdPart]) -> Result<Option<Vec<Record>>, JournalError> {
    let (mut meant, mut is_each_clear) = (Vec::<Record>::new(), true);
    for part in parts {
        // One more than are listed, so that it is known whether that is all.
        let mut found = submissions.find_named(part, LISTED as u32 + 1).await?;
        match found.len() {
            1 => meant.extend(found.pop().filter(|it| meant.iter().all(|other| !is_same(other, it)))),
            _ => {
                is_each_clear = false;
                tell(part, &found);
            }
        }
    }
    Ok(is_each_clear.then_some(meant))
}

fn is_same(one: &Record, other: &Record) -> bool {
    one.submission.id == other.submission.id
}

fn tell(part: &IdPart, found: &[Record]) {
    match part.whole() {
        Some(id) => output::aside(format_args!("punte: {}; nothing was done", JournalError::NotFound(id))),
        None if found.is_empty() => output::aside(format_args!(
            "punte: the journal knows no submission whose id begins or ends with {part}; nothing was done"
        )),
        None => {
            output::aside(format_args!(
                "punte: several submissions' ids begin or end with {part}; nothing was done. Which one is meant?"
            ));
            found.iter().take(LISTED).for_each(|record| output::aside(print::line(record)));
            if found.len() > LISTED {
                output::aside("… and more");
            }
        }
    }
}
