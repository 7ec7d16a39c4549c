//! Statements about one row of a table, written once for both databases: SQLite runs one for each row, PostgreSQL one for many.

use super::value::Value;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColumnType {
    Id,
    Whole,
    Flag,
    Text,
    Json,
    Bytes,
}

/// The values of a row, in their order.
pub type Columns = &'static [(&'static str, ColumnType)];

/// When a statement runs among those that are sent together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Turn {
    /// What somebody else may take at the same moment.
    Key,
    /// What decides whether the others count, and what their rows refer to.
    First,
    Then,
    /// Changes rows that `Then` may just have added.
    Last,
}

#[derive(Debug)]
pub struct Bulk {
    /// `$1`, `$2`, … are the values of one row.
    pub one: String,
    /// The same, where each is an array with the values of all rows.
    pub many: String,
    pub columns: Columns,
    /// What it changes.
    pub table: &'static str,
    pub turn: Turn,
    /// How many of the first columns say which row is meant; a statement may mean a row only once. 0: each adds its own.
    pub key: usize,
    /// What is written together counts only if each of its rows was written, and comes back: it may be another one than was
    /// read, or somebody else's already.
    pub is_guarded: bool,
    /// Each row comes back: what it is known by, and its new version.
    pub tells_version: bool,
}

/// A statement with the values of one row.
#[derive(Debug, Clone)]
pub struct RowStatement {
    pub bulk: &'static Bulk,
    pub values: Vec<Value>,
}

/// PostgreSQL's version of a row: whoever changes the row in any way changes it (the transaction that has written it).
pub const ROW_VERSION: &str = "CAST(xmin AS text)";

impl Bulk {
    /// `ending`: what follows, as `ON CONFLICT …`.
    pub fn insert(table: &'static str, columns: Columns, ending: &str) -> Self {
        let (names, places) = (names(columns), listed(columns, |index, _| format!("${index}")));
        let into = format!("INSERT INTO {table} ({names})");
        Self {
            one: format!("{into} VALUES ({places}) {ending}"),
            many: format!("{into} {} {ending}", rows(columns)),
            columns,
            table,
            turn: Turn::Then,
            key: 0,
            is_guarded: false,
            tells_version: false,
        }
    }

    /// `assigned` and `condition` name the values as `{column}`, and the row's own columns as `it.column`.
    pub fn update(table: &'static str, columns: Columns, key: usize, assigned: &str, condition: &str) -> Self {
        let named = |text: &str, value: &dyn Fn(usize, &str) -> String| {
            let each = columns.iter().enumerate();
            each.fold(text.to_owned(), |text, (index, (name, _))| {
                text.replace(&format!("{{{name}}}"), &value(index + 1, name))
            })
        };
        let place = |index: usize, _: &str| format!("${index}");
        let column = |_: usize, name: &str| format!("new.{name}");
        let set = format!("UPDATE {table} AS it SET");
        Self {
            one: format!("{set} {} WHERE {}", named(assigned, &place), named(condition, &place)),
            many: format!(
                "{set} {} FROM ({}) AS new WHERE {}",
                named(assigned, &column),
                rows(columns),
                named(condition, &column)
            ),
            columns,
            table,
            turn: Turn::Last,
            key,
            is_guarded: false,
            tells_version: false,
        }
    }

    pub fn delete(table: &'static str, key: Columns) -> Self {
        Self { table, ..Self::select(&format!("DELETE FROM {table}"), key, "") }
    }

    /// Rows of those with this key. `selected` begins with the column that says whose each row is.
    pub fn select(selected: &str, key: Columns, order: &str) -> Self {
        let name = names(key);
        Self {
            one: format!("{selected} WHERE {name} = $1 {order}"),
            many: format!("{selected} WHERE {name} = ANY($1) {order}"),
            columns: key,
            table: "",
            turn: Turn::Then,
            key: 1,
            is_guarded: false,
            tells_version: false,
        }
    }

    /// For a change of which all others depend: it is made if the row has still the version that the last column names. In SQLite
    /// nobody else can have changed the row since it was read.
    pub fn of_version(self) -> Self {
        let last = self.columns.last().map_or("", |(name, _)| *name);
        let many = format!("{} AND it.xmin = CAST(new.{last} AS xid)", self.many);
        Self { many, turn: Turn::First, ..self }.telling_version("it.").guarding()
    }

    /// Its rows come back, each with what it is known by.
    pub fn guarding(self) -> Self {
        Self { is_guarded: true, ..self }
    }

    /// `row`: how the statement calls it, with a dot. In SQLite a row has no version.
    pub fn telling_version(self, row: &str) -> Self {
        let first = self.columns.first().map_or("", |(name, _)| *name);
        let many = format!("{} RETURNING {row}{first}, CAST({row}xmin AS text)", self.many);
        Self { many, tells_version: true, ..self }
    }

    pub fn writes(&self) -> bool {
        !self.one.starts_with("SELECT")
    }

    pub fn at(self, turn: Turn) -> Self {
        Self { turn, ..self }
    }

    pub fn keyed(self, key: usize) -> Self {
        Self { key, ..self }
    }

    pub fn row(&'static self, values: Vec<Value>) -> RowStatement {
        RowStatement { bulk: self, values }
    }
}

fn names(columns: Columns) -> String {
    listed(columns, |_, (name, _)| name.to_owned())
}

/// The arrays as rows. `unnest` would lay a store of 16 KiB open for each of them.
fn rows(columns: Columns) -> String {
    let array = |index: usize, kind: ColumnType| format!("(CAST(${index} AS {}))", kind.array());
    let element = |index, (name, kind): (&str, ColumnType)| format!("{}[place] AS {name}", array(index, kind));
    let first = columns.first().map(|(_, kind)| array(1, *kind)).unwrap_or_default();
    format!("SELECT {} FROM generate_series(1, cardinality{first}) AS place", listed(columns, element))
}

fn listed(columns: Columns, each: impl Fn(usize, (&'static str, ColumnType)) -> String) -> String {
    let each = columns.iter().enumerate().map(|(index, column)| each(index + 1, *column));
    each.collect::<Vec<_>>().join(", ")
}

impl ColumnType {
    fn array(self) -> &'static str {
        match self {
            ColumnType::Id => "uuid[]",
            ColumnType::Whole => "bigint[]",
            ColumnType::Flag => "boolean[]",
            ColumnType::Text => "text[]",
            ColumnType::Json => "json[]",
            ColumnType::Bytes => "bytea[]",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: Columns = &[("submission", ColumnType::Id)];
    const ROW: Columns =
        &[("submission", ColumnType::Id), ("due_at", ColumnType::Whole), ("version", ColumnType::Text)];

    #[test]
    fn a_statement_about_one_row_says_the_same_about_many() {
        let insert = Bulk::insert("notes", ROW, "ON CONFLICT DO NOTHING");
        assert_eq!(
            insert.one,
            "INSERT INTO notes (submission, due_at, version) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING"
        );
        assert_eq!(
            insert.many,
            "INSERT INTO notes (submission, due_at, version) SELECT (CAST($1 AS uuid[]))[place] AS submission, \
             (CAST($2 AS bigint[]))[place] AS due_at, (CAST($3 AS text[]))[place] AS version \
             FROM generate_series(1, cardinality(CAST($1 AS uuid[]))) AS place ON CONFLICT DO NOTHING"
        );
        let delete = Bulk::delete("notes", KEY);
        assert_eq!(delete.one.trim(), "DELETE FROM notes WHERE submission = $1");
        assert_eq!(delete.many.trim(), "DELETE FROM notes WHERE submission = ANY($1)");
    }

    #[test]
    fn a_guarded_update_counts_only_for_the_version_that_was_read() {
        let update =
            Bulk::update("notes", ROW, 1, "due_at = COALESCE({due_at}, it.due_at)", "it.submission = {submission}");
        let update = update.of_version();
        assert_eq!(update.one, "UPDATE notes AS it SET due_at = COALESCE($2, it.due_at) WHERE it.submission = $1");
        assert!(update.many.ends_with(
            "AS place) AS new WHERE it.submission = new.submission \
             AND it.xmin = CAST(new.version AS xid) RETURNING it.submission, CAST(it.xmin AS text)"
        ));
        assert!(update.turn < Bulk::delete("notes", KEY).turn);
    }
}
