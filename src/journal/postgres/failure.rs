//! What went wrong: an error of the client library comes in; words without data, and what it means for the session, go out.

use crate::{
    journal::JournalError,
    network_errors::{in_words, sources},
};
use std::{error::Error, fmt};
use tokio_postgres::error::{DbError, Severity, SqlState};

/// Why an operation failed, and what follows from it.
pub struct Failure {
    pub error: JournalError,
    pub finding: Finding,
}

/// What an error means beyond the operation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Finding {
    /// The transaction was certainly rolled back, and another one may succeed at once.
    pub is_retryable: bool,
    /// The session is of no use any more, and those that were opened before are probably of none either.
    pub ends_session: bool,
    /// Prepared statements are lost or mixed up: somebody between us and the server changes the session.
    pub loses_statements: bool,
    /// The server has no room, no disk, no time or no right for it: other changes fail as well, until that is mended.
    pub is_lasting: bool,
    /// It takes no more sessions of ours now; those that are open work on.
    pub turns_away: bool,
    /// Somebody else was sooner: a repetition finds what they have made of it.
    pub is_outdated: bool,
    /// Another session holds a row or a table for longer than was waited for.
    pub is_held: bool,
}

impl Failure {
    pub fn of(error: &tokio_postgres::Error, is_committing: bool) -> Self {
        Self { finding: Finding::of(error, is_committing), error: failed(error) }
    }

    pub fn said(text: impl fmt::Display) -> Self {
        JournalError::Unavailable(text.to_string()).into()
    }

    /// Before anything was sent.
    pub fn lost() -> Self {
        let finding = Finding { is_retryable: true, ends_session: true, ..Finding::default() };
        Self { finding, ..Self::said("the connection was lost") }
    }

    /// What was decided by a row is void, because the row has changed since it was read.
    pub fn changed_meanwhile() -> Self {
        let finding = Finding { is_retryable: true, is_outdated: true, ..Finding::default() };
        Self { finding, ..Self::said("the submission was changed by others each time before it could be changed here") }
    }

    /// With the host that it is about.
    pub fn at(self, host: &str) -> Self {
        match self.error {
            JournalError::Unavailable(text) => {
                Self { error: JournalError::Unavailable(format!("PostgreSQL at {host}: {text}")), ..self }
            }
            _ => self,
        }
    }

    /// Without the words that every such error begins with.
    pub fn text(&self) -> String {
        match &self.error {
            JournalError::Unavailable(text) => text.clone(),
            error => error.to_string(),
        }
    }
}

impl From<JournalError> for Failure {
    fn from(error: JournalError) -> Self {
        Self { error, finding: Finding::default() }
    }
}

impl Finding {
    pub fn of(error: &tokio_postgres::Error, is_committing: bool) -> Self {
        let Some(server) = error.as_db_error() else {
            // The connection broke. While committing, nobody knows on which side of the commit.
            return Self { is_retryable: !is_committing, ends_session: true, ..Self::default() };
        };
        let code = server.code();
        let is_fatal = matches!(server.parsed_severity(), Some(Severity::Fatal | Severity::Panic));
        Self::of_code(code, is_fatal, is_committing)
    }

    fn of_code(code: &SqlState, is_fatal: bool, is_committing: bool) -> Self {
        let ends_session = is_fatal || condemns(code.code());
        let is_collision = [SqlState::T_R_SERIALIZATION_FAILURE, SqlState::T_R_DEADLOCK_DETECTED].contains(code);
        let is_shutdown = [SqlState::ADMIN_SHUTDOWN, SqlState::CRASH_SHUTDOWN].contains(code);
        Self {
            is_retryable: is_collision || is_shutdown || (ends_session && !is_committing),
            ends_session,
            loses_statements: ["26000", "42P05", "34000", "08P01"].contains(&code.code()),
            is_lasting: LASTING.contains(&code.code()),
            turns_away: ["53300", "28P01", "28000"].contains(&code.code()),
            is_outdated: false,
            is_held: ["55P03", "40P01"].contains(&code.code()),
        }
    }
}

/// Room, memory, disk; rights and tables that are gone; locks that are held; statements that come to no end.
const LASTING: [&str; 8] = ["53100", "53200", "58030", "42501", "42P01", "3F000", "55P03", "57014"];

/// Whether another session might do what this one does not (PostgreSQL, appendix A).
fn condemns(code: &str) -> bool {
    match code {
        // A limit of the statement's own: the next one may be quicker.
        "57014" => false,
        // Plans that do not fit the table any more; memory that the session holds; settings that it has lost.
        "0A000" | "42P05" | "53200" | "55000" | "42P01" | "3F000" => true,
        // The connection, its authorisation, the state of its transaction (25006: it is read-only), statements and
        // cursors it does not know, the operator's interventions, the disk below it, faults of the server's own.
        _ => ["08", "25", "26", "28", "34", "57", "58", "XX"].iter().any(|class| code.starts_with(class)),
    }
}

/// Never what the server says of data and constraints: there its texts quote values.
fn failed(error: &tokio_postgres::Error) -> JournalError {
    let Some(server) = error.as_db_error() else {
        return JournalError::Unavailable(cause(error));
    };
    match server.constraint() {
        Some(constraint) => {
            JournalError::Corrupt(format!("SQLSTATE {}, constraint {constraint}", server.code().code()))
        }
        None => JournalError::Unavailable(words(server)),
    }
}

/// Whether it is certain by the error alone that the statement was not done. What a proxy may say that has lost the server is no
/// such error; but 08P01 is, which a proxy says without a severity that can be read.
pub fn is_refusal(error: &tokio_postgres::Error) -> bool {
    error.as_db_error().is_some_and(|server| refuses(server.code().code(), server.parsed_severity()))
}

fn refuses(code: &str, severity: Option<Severity>) -> bool {
    let is_doubtful = code == "40003" || ["080", "57P", "58", "XX"].iter().any(|class| code.starts_with(class));
    severity == Some(Severity::Error) && !is_doubtful
}

/// Whether a statement's own data are at fault: they do not become better by waiting (classes 22 and 23; a constraint is
/// told by its name).
pub fn of_data(error: &tokio_postgres::Error) -> Option<JournalError> {
    let server = error.as_db_error().filter(|server| server.constraint().is_none())?;
    let is_of_data = ["22", "23"].iter().any(|class| server.code().code().starts_with(class));
    is_of_data.then(|| JournalError::NotTaken(words(server)))
}

fn words(server: &DbError) -> String {
    let code = server.code().code();
    let mut text = format!("SQLSTATE {code}");
    if speaks_of_no_data(code) {
        text.push_str(": ");
        text.push_str(server.message());
    }
    if let Some(remedy) = remedy(code) {
        text.push_str(" (");
        text.push_str(remedy);
        text.push(')');
    }
    text
}

/// Classes of codes (PostgreSQL, appendix A) whose texts name users, tables and limits: connections, unknown features,
/// states of transactions, lost statements, authorisation, catalogues, collisions, names and rights, resources, locks,
/// the operator's interventions, the system's failures.
fn speaks_of_no_data(code: &str) -> bool {
    let classes = ["08", "0A", "25", "26", "28", "34", "3D", "3F", "40", "42", "53", "55", "57", "58"];
    classes.iter().any(|class| code.starts_with(class))
}

/// What the operator can do about it.
fn remedy(code: &str) -> Option<&'static str> {
    Some(match code {
        "25006" => "the server is a standby or set to read-only: name the primary, or all hosts, in the journal's URL",
        "28P01" => "mend the user or the password of the journal's URL, or its passfile",
        "28000" => "pg_hba.conf must let this user in from this machine",
        "3D000" => "create the database, or mend its name in the journal's URL",
        "3F000" | "42P01" => {
            "the schema or its tables are not there, or the user has no right to them: mend search_path in the journal's \
             URL, or GRANT CREATE, USAGE ON SCHEMA to the user"
        }
        "42501" => {
            "the journal's user must own its tables, or be granted all on them; and CREATE, USAGE on their schema"
        }
        "53100" => "the disk of the server is full: make room",
        "53300" => "raise the server's max_connections, or the user's CONNECTION LIMIT: each process opens up to 16",
        "55P03" => "another session holds the rows or tables: look at pg_locks",
        "57014" => "the server is too slow, or locked: look at pg_stat_activity",
        "57P03" => "the server is starting, stopping or recovering: wait",
        _ => return None,
    })
}

/// What the client library says is only looked at: it is told in words of ours.
fn cause(error: &tokio_postgres::Error) -> String {
    let network = sources(error).find(|source| source.is::<std::io::Error>());
    let said = std::iter::successors(Some(error as &dyn Error), |&error| error.source()).last();
    let said = said.map_or_else(String::new, ToString::to_string);
    match (said.as_str(), network) {
        ("password missing", _) => {
            "the server asks for a password, and there is none: write it into a file that [journal] passfile names, or \
             into the URL in a file that url_file names"
                .into()
        }
        ("unsupported authentication method" | "unsupported SASL mechanism", _) => {
            "the server asks for a kind of authentication other than a password (SCRAM-SHA-256, MD5): change pg_hba.conf"
                .into()
        }
        ("server does not support TLS", _) => {
            "the server speaks no TLS: set ssl = on there, or sslmode=disable in the URL if you must".into()
        }
        ("database does not allow writes", _) => {
            "the server takes no writes: it is a standby or set to read-only; name the primary, or all hosts, in the \
             journal's URL"
                .into()
        }
        (_, Some(network)) => format!("the connection failed: {}", in_words(network)),
        _ => "the connection was closed or cannot be made".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(code: &str, is_committing: bool) -> Finding {
        Finding::of_code(&SqlState::from_code(code), false, is_committing)
    }

    #[test]
    fn a_session_ends_with_every_code_that_condemns_it_and_with_no_other() {
        for code in [
            "08000", "08003", "08006", "08P01", "0A000", "25001", "25006", "25P02", "25P03", "26000", "28000", "28P01",
            "34000", "42P05", "42P01", "53200", "55000", "57P01", "57P02", "57P03", "57P04", "57P05", "58030", "58P01",
            "XX000", "XX001", "XX002",
        ] {
            assert!(finding(code, false).ends_session && finding(code, false).is_retryable, "{code}");
        }
        for code in ["23505", "22001", "40001", "40P01", "42501", "53100", "53300", "55P03", "57014"] {
            assert!(!finding(code, false).ends_session, "{code}");
        }
    }

    #[test]
    fn what_may_be_committed_is_not_repeated_unless_the_server_says_that_it_is_not() {
        for code in ["40001", "40P01", "57P01", "57P02"] {
            assert!(finding(code, true).is_retryable, "{code}");
        }
        for code in ["08006", "25006", "57P03", "XX000", "53100"] {
            assert!(!finding(code, true).is_retryable, "{code}");
        }
    }

    #[test]
    fn only_a_server_that_goes_on_and_knows_what_it_has_done_refuses() {
        for code in ["22012", "22021", "23505", "40001", "40P01", "53100", "55P03", "57014", "42P01", "26000", "08P01"]
        {
            assert!(refuses(code, Some(Severity::Error)), "{code}");
            assert!(!refuses(code, Some(Severity::Fatal)) && !refuses(code, None), "{code}");
        }
        for code in ["08006", "40003", "57P01", "58030", "XX000"] {
            assert!(!refuses(code, Some(Severity::Error)), "{code}");
        }
    }

    #[test]
    fn an_error_that_the_server_calls_fatal_ends_the_session_whatever_its_code() {
        assert!(Finding::of_code(&SqlState::from_code("23505"), true, false).ends_session);
    }
}
