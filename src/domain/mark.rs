//! The mark: how far an installation has come. It stands in the journal and outside of it, so that a journal that has gone
//! back in time is known by the copies that have not.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// What is copied to outside of the journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mark {
    /// Which journal: the same for a copy of it.
    pub journal: String,
    /// Moves on with what is sent, at the latest a second after it. It is the time, but never goes back.
    pub at: Timestamp,
}

/// What the journal itself says of the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournalMark {
    pub mark: Mark,
    /// When an operator has said that its earlier state is what there is now.
    pub confirmed_at: Option<Timestamp>,
    /// It is a copy of that moment: a backup, or a standby that knew less when it took over.
    pub copied_at: Option<Timestamp>,
}

/// Why a journal is not the one that an installation has worked with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Behind {
    Backup {
        copied_at: Timestamp,
    },
    Older {
        at: Timestamp,
        done_until: Timestamp,
    },
    Another {
        ours: String,
        theirs: String,
    },
    /// A copy is there and may say that the journal is an older one.
    Unreadable {
        why: String,
    },
    /// It has been worked with, and nothing is left that knows how far.
    NoCopy {
        until: Timestamp,
    },
}

impl JournalMark {
    /// A new journal's mark is the moment at which it was made, and that is its name, too.
    pub fn has_been_worked_with(&self) -> bool {
        i64::from_str_radix(&self.mark.journal, 16).is_ok_and(|made_at| made_at < self.mark.at.as_microsecond())
    }

    /// `None`: it has everything that its copy knows of, or an operator has confirmed it since.
    pub fn behind(&self, copy: Option<&Mark>) -> Option<Behind> {
        if let Some(copied_at) = self.copied_at {
            return Some(Behind::Backup { copied_at });
        }
        let copy = copy.filter(|copy| self.confirmed_at.is_none_or(|confirmed_at| confirmed_at <= copy.at))?;
        if copy.journal != self.mark.journal {
            return Some(Behind::Another { ours: copy.journal.clone(), theirs: self.mark.journal.clone() });
        }
        (self.mark.at < copy.at).then_some(Behind::Older { at: self.mark.at, done_until: copy.at })
    }
}

impl Behind {
    /// `place`: where the copy was found.
    pub fn in_words(&self, place: &str) -> String {
        let what = match self {
            Behind::Backup { copied_at } => {
                format!(
                    "the journal is a copy of the state at {copied_at} (a backup, or a standby that knew less when it took \
                     over), and more may have been sent since"
                )
            }
            Behind::Older { at, done_until } => format!(
                "the journal is older than what this installation has done: it ends at {at}, and {place} knows of what was \
                 sent until {done_until}"
            ),
            Behind::Another { ours, theirs } => format!(
                "the journal is another one ({theirs}) than the one that {place} belongs to ({ours}): it is new, it is a \
                 copy of another installation's, or the folder is, which each installation must have for itself ([folders] data)"
            ),
            Behind::Unreadable { why } => {
                format!(
                    "{place}, the copy of the journal's mark, cannot be read ({why}), and may say that the journal is older"
                )
            }
            Behind::NoCopy { until } => format!(
                "the journal has been worked with until {until}, and no copy of its mark is left, neither {place} nor in the \
                 broker: it may be an older one, or a copy of another installation's"
            ),
        };
        let mend = match self {
            Behind::Backup { .. } | Behind::Older { .. } | Behind::Another { .. } => "Put the right journal in place",
            Behind::Unreadable { .. } => "Mend it (its rights, its place)",
            Behind::NoCopy { .. } => "Put it back, or name the folder that has it in [folders] data",
        };
        format!(
            "{what}. Nothing is sent and nothing is accepted. {mend}; or, if this journal is what there is now, run `punte \
             journal restored`: what may have been sent since is then never sent again by machine"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn mark(journal: &str, second: i64) -> Mark {
        Mark { journal: journal.into(), at: at(second) }
    }

    fn journal(second: i64, confirmed: Option<i64>) -> JournalMark {
        JournalMark { mark: mark("a", second), confirmed_at: confirmed.map(at), copied_at: None }
    }

    #[test]
    fn a_journal_that_ends_before_its_copy_is_behind_until_an_operator_confirms_it() {
        assert_eq!(journal(5, None).behind(None), None);
        assert_eq!(journal(5, None).behind(Some(&mark("a", 5))), None);
        let older = Behind::Older { at: at(5), done_until: at(6) };
        assert_eq!(journal(5, None).behind(Some(&mark("a", 6))), Some(older.clone()));
        // What was confirmed before is no word about what was sent since.
        assert_eq!(journal(5, Some(4)).behind(Some(&mark("a", 6))), Some(older));
        assert_eq!(journal(7, Some(7)).behind(Some(&mark("a", 6))), None);
    }

    #[test]
    fn another_journal_and_a_backup_are_told_apart_from_an_older_state() {
        let another = Behind::Another { ours: "b".into(), theirs: "a".into() };
        assert_eq!(journal(9, None).behind(Some(&mark("b", 6))), Some(another));
        assert_eq!(journal(9, Some(9)).behind(Some(&mark("b", 6))), None);
        let backup = JournalMark { copied_at: Some(at(3)), ..journal(9, None) };
        for copy in [None, Some(&mark("a", 1))] {
            assert_eq!(backup.behind(copy), Some(Behind::Backup { copied_at: at(3) }));
        }
        let lost = [Behind::Unreadable { why: "it is empty".into() }, Behind::NoCopy { until: at(5) }].map(Some);
        for behind in lost.into_iter().chain([backup.behind(None), journal(5, None).behind(Some(&mark("a", 6)))]) {
            assert!(behind.unwrap().in_words("the broker").contains("`punte journal restored`"));
        }
    }
}
