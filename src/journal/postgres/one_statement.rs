//! Groups of rows come in; the text of one statement that writes all of them goes out. It is a transaction by itself, so that
//! neither its beginning nor its end has to be told.
//!
//! Together with arrays that are read by place (`bulk.rs`) this brings 1.1 × the requests a second at 16 waiting clients, and takes
//! a fifth of PostgreSQL's processor time away at 16 and 64 (`cargo bench --features jemalloc --bench road -- postgres --rival
//! PATH`).

use super::bulk_rows::Group;
use std::fmt::Write;
use tokio_postgres::error::SqlState;

/// What it fails with if a guarded row does not come back.
pub const OUTDATED: SqlState = SqlState::DIVISION_BY_ZERO;

/// Which statements it is made of, by their addresses.
pub type Parts = Vec<usize>;

/// `None`: one of them may mean a row that another one means, and they do not see what the other has made of it.
pub fn parts(groups: &[Group]) -> Option<Parts> {
    let may_mean_the_same =
        |one: &Group, other: &Group| one.bulk.table == other.bulk.table && one.shares_owner_with(other);
    let is_alone = |(index, group): (usize, &Group)| {
        let others: &[Group] = groups.get(index + 1..).unwrap_or_default();
        !others.iter().any(|other| std::ptr::eq(other.bulk, group.bulk) || may_mean_the_same(group, other))
    };
    let are_alone = groups.iter().enumerate().all(is_alone);
    are_alone.then(|| groups.iter().map(|group| std::ptr::from_ref(group.bulk).addr()).collect())
}

/// It tells the version of the rows that it has written. What guards them is written first, and in this order.
pub fn sql(groups: &[Group]) -> String {
    let (mut parts, mut versions, mut guards) = (Vec::new(), Vec::new(), Vec::new());
    let mut place = 0;
    for (index, Group { bulk, .. }) in groups.iter().enumerate() {
        if bulk.tells_version {
            parts.push(format!("part_{index} (known_by, version) AS ({})", renumbered(&bulk.many, place)));
            versions.push(format!("(SELECT max(version) FROM part_{index})"));
        } else {
            parts.push(format!("part_{index} AS ({})", renumbered(&bulk.many, place)));
        }
        if bulk.is_guarded {
            guards.push(format!("(SELECT count(*) FROM part_{index}) = cardinality(${})", place + 1));
        }
        place += bulk.columns.len();
    }
    let version = match versions.is_empty() {
        true => "CAST(NULL AS text)".to_owned(),
        false => format!("COALESCE({})", versions.join(", ")),
    };
    let guard = match guards.is_empty() {
        true => "1".to_owned(),
        false => format!("1 / CASE WHEN {} THEN 1 ELSE 0 END", guards.join(" AND ")),
    };
    format!("WITH {} SELECT {guard}, {version}", parts.join(", "))
}

/// With its `$1` after so many that came before.
fn renumbered(sql: &str, before: usize) -> String {
    let mut pieces = sql.split('$');
    let mut text = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let digits = piece.len() - piece.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (number, rest) = piece.split_at(digits);
        let number: usize = number.parse().unwrap_or_default();
        // Writing into text does not fail.
        let _ = write!(text, "${}{rest}", number + before);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::{
        bulk::{Bulk, ColumnType, Columns},
        store::{Value, values},
    };
    use std::sync::LazyLock;
    use uuid::Uuid;

    const KEY: Columns = &[("id", ColumnType::Id)];
    const ROW: Columns = &[("id", ColumnType::Id), ("at", ColumnType::Whole), ("version", ColumnType::Text)];

    static CHANGE: LazyLock<Bulk> =
        LazyLock::new(|| Bulk::update("a", ROW, 1, "at = {at}", "it.id = {id}").of_version());
    static ADD: LazyLock<Bulk> = LazyLock::new(|| Bulk::insert("b", KEY, ""));
    static REMOVE: LazyLock<Bulk> = LazyLock::new(|| Bulk::delete("b", KEY));

    fn group(bulk: &'static Bulk, owner: usize, values: Vec<Value>) -> Group {
        Group::of_one(owner, bulk.row(values))
    }

    #[test]
    fn several_statements_are_one_that_fails_if_a_guarded_row_does_not_come_back() {
        let id = Uuid::from_u128(1);
        let groups = [group(&ADD, 0, values![id]), group(&CHANGE, 0, values![id, 2_u32, "3"])];
        assert_eq!(parts(&groups).map(|parts| parts.len()), Some(2));
        let text = sql(&groups);
        assert_eq!(
            text.split_whitespace().collect::<Vec<_>>().join(" "),
            "WITH part_0 AS (INSERT INTO b (id) SELECT (CAST($1 AS uuid[]))[place] AS id \
             FROM generate_series(1, cardinality(CAST($1 AS uuid[]))) AS place ), \
             part_1 (known_by, version) AS (UPDATE a AS it SET at = new.at \
             FROM (SELECT (CAST($2 AS uuid[]))[place] AS id, (CAST($3 AS bigint[]))[place] AS at, \
             (CAST($4 AS text[]))[place] AS version FROM generate_series(1, cardinality(CAST($2 AS uuid[]))) AS place) AS new \
             WHERE it.id = new.id AND it.xmin = CAST(new.version AS xid) RETURNING it.id, CAST(it.xmin AS text)) \
             SELECT 1 / CASE WHEN (SELECT count(*) FROM part_1) = cardinality($2) THEN 1 ELSE 0 END, \
             COALESCE((SELECT max(version) FROM part_1))"
        );
    }

    #[test]
    fn what_may_mean_the_same_row_is_not_one_statement() {
        let id = Uuid::from_u128(1);
        let (added, removed) = (|owner| group(&ADD, owner, values![id]), |owner| group(&REMOVE, owner, values![id]));
        assert!(parts(&[added(0), removed(1)]).is_some(), "of two operations, which are about different submissions");
        assert!(parts(&[added(0), removed(0)]).is_none());
        assert!(parts(&[added(0), added(1)]).is_none());
    }
}
