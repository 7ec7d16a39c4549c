//! What the members of a batch ask comes in one by one; sorted by its kind, so that it can be asked together, it goes out.

use super::{
    bulk_rows::{Group, grouped},
    member_store::Asked,
};
use crate::journal::{
    bulk::RowStatement,
    store::{Row, Statement},
};
use tokio::sync::oneshot;

/// What members ask, kind by kind.
#[derive(Default)]
pub struct Questions {
    /// Lookups, and then what is written.
    pub groups: Vec<Group>,
    pub asked: Vec<AskedRows>,
    pub written: Vec<oneshot::Sender<Option<String>>>,
    pub queries: Vec<(Statement, oneshot::Sender<Vec<Row>>)>,
    pub executes: Vec<(Vec<Statement>, oneshot::Sender<u64>)>,
    /// Who may have written something when this was answered.
    pub writers: Vec<usize>,
}

/// Which of the lookups a member has asked.
pub struct AskedRows {
    pub member: usize,
    pub lookups: Vec<usize>,
    pub answer: oneshot::Sender<Vec<Vec<Row>>>,
}

impl Questions {
    pub fn of(all: Vec<(usize, Asked)>) -> Self {
        let (mut questions, mut rows) = (Self::default(), Vec::new());
        for (member, asked) in all {
            questions.writers.extend(asked.writes().then_some(member));
            match asked {
                Asked::Query(statement, answer) => questions.queries.push((statement, answer)),
                Asked::Execute(statements, answer) => questions.executes.push((statements, answer)),
                Asked::Write(written, answer) => {
                    rows.extend(written.into_iter().map(|row| (member, row)));
                    questions.written.push(answer);
                }
                Asked::RowsOf(asked, answer) => {
                    let lookups = asked.into_iter().map(|asked| questions.look_up(member, asked)).collect();
                    questions.asked.push(AskedRows { member, lookups, answer });
                }
            }
        }
        questions.groups.extend(grouped(rows));
        questions
    }

    fn look_up(&mut self, member: usize, asked: RowStatement) -> usize {
        let known = self.groups.iter().position(|group| std::ptr::eq(group.bulk, asked.bulk));
        let lookup = known.unwrap_or_else(|| {
            self.groups.push(Group::new(asked.bulk));
            self.groups.len() - 1
        });
        self.groups[lookup].add(member, asked.values);
        lookup
    }

    pub fn is_empty(&self) -> bool {
        let Self { asked, written, queries, executes, .. } = self;
        asked.is_empty() && written.is_empty() && queries.is_empty() && executes.is_empty()
    }

    /// All that is left to write, if nobody asks anything else.
    pub fn only_writes(&self) -> Option<&[Group]> {
        let Self { groups, asked, queries, executes, .. } = self;
        (asked.is_empty() && queries.is_empty() && executes.is_empty()).then_some(groups)
    }

    pub fn are_written(self, version: Option<&str>) {
        for answer in self.written {
            // A member that is gone needs no answer.
            let _ = answer.send(version.map(ToOwned::to_owned));
        }
    }
}
