//! Rows that are written together: rows of many operations come in, one group for each statement goes out, in the order in
//! which they are run.

use crate::journal::{
    bulk::{Bulk, ColumnType, RowStatement},
    store::Value,
};
use tokio_postgres::types::{ToSql, Type};

/// All rows of one statement.
pub struct Group {
    pub bulk: &'static Bulk,
    /// For each column the values of all rows.
    columns: Vec<Vec<Value>>,
    /// Whose each row is.
    owners: Vec<usize>,
}

/// Each with its owner.
pub fn grouped(rows: impl IntoIterator<Item = (usize, RowStatement)>) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for (owner, row) in rows {
        match groups.iter_mut().find(|group| group.takes(&row)) {
            Some(group) => group.add(owner, row.values),
            None => groups.push(Group::of_one(owner, row)),
        }
    }
    // Always the same order, so that nobody waits for whoever waits for him. Two that mean the same row stay in their own.
    groups.sort_by_key(|group| (group.bulk.turn, std::ptr::from_ref(group.bulk).addr()));
    groups
}

impl Group {
    pub fn new(bulk: &'static Bulk) -> Self {
        Self { bulk, columns: bulk.columns.iter().map(|_| Vec::new()).collect(), owners: Vec::new() }
    }

    pub fn of_one(owner: usize, row: RowStatement) -> Self {
        let mut group = Self::new(row.bulk);
        group.add(owner, row.values);
        group
    }

    pub fn add(&mut self, owner: usize, values: Vec<Value>) {
        self.owners.push(owner);
        self.columns.iter_mut().zip(values).for_each(|(column, value)| column.push(value));
    }

    fn takes(&self, row: &RowStatement) -> bool {
        std::ptr::eq(self.bulk, row.bulk) && (row.bulk.key == 0 || !self.means(row))
    }

    /// Whether it means the same row.
    fn means(&self, row: &RowStatement) -> bool {
        let key = || self.columns.iter().zip(&row.values).take(self.bulk.key);
        (0..self.owners.len()).any(|index| key().all(|(column, value)| column.get(index) == Some(value)))
    }

    pub fn parameters(&self) -> Vec<&(dyn ToSql + Sync)> {
        self.columns.iter().map(|column| column as &(dyn ToSql + Sync)).collect()
    }

    /// The same for a statement that was not prepared.
    pub fn typed_parameters(&self) -> Vec<(&(dyn ToSql + Sync), Type)> {
        let kinds = self.bulk.columns.iter().map(|(_, kind)| array_of(*kind));
        self.parameters().into_iter().zip(kinds).collect()
    }

    pub fn shares_owner_with(&self, other: &Self) -> bool {
        self.owners.iter().any(|owner| other.owners.contains(owner))
    }

    /// The owners of those rows that are not among these, which are told by their first column.
    pub fn owners_without(&self, found: &[Value]) -> Vec<usize> {
        let first = self.columns.first().into_iter().flatten();
        first.zip(&self.owners).filter(|(value, _)| !found.contains(value)).map(|(_, owner)| *owner).collect()
    }
}

fn array_of(kind: ColumnType) -> Type {
    match kind {
        ColumnType::Id => Type::UUID_ARRAY,
        ColumnType::Whole => Type::INT8_ARRAY,
        ColumnType::Flag => Type::BOOL_ARRAY,
        ColumnType::Text => Type::TEXT_ARRAY,
        ColumnType::Json => Type::JSON_ARRAY,
        ColumnType::Bytes => Type::BYTEA_ARRAY,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::{bulk::Turn, store::values};
    use std::sync::LazyLock;
    use uuid::Uuid;

    static ADD: LazyLock<Bulk> =
        LazyLock::new(|| Bulk::insert("a", &[("id", ColumnType::Id), ("at", ColumnType::Whole)], ""));
    static CHANGE: LazyLock<Bulk> = LazyLock::new(|| {
        Bulk::update("a", &[("id", ColumnType::Id), ("at", ColumnType::Whole)], 1, "at = {at}", "it.id = {id}")
    });
    static FIRST: LazyLock<Bulk> = LazyLock::new(|| Bulk::insert("b", &[("id", ColumnType::Id)], "").at(Turn::First));

    #[test]
    fn rows_of_one_statement_go_together_and_one_row_is_meant_once_in_the_order_of_its_changes() {
        let (one, two) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let rows = [
            CHANGE.row(values![one, 1_u32]),
            ADD.row(values![one, 2_u32]),
            ADD.row(values![one, 3_u32]),
            CHANGE.row(values![two, 4_u32]),
            CHANGE.row(values![one, 5_u32]),
            FIRST.row(values![two]),
        ];
        let groups = grouped(rows.into_iter().enumerate());
        let owners: Vec<_> = groups.iter().map(|group| group.owners.clone()).collect();
        assert_eq!(owners, [vec![5], vec![1, 2], vec![0, 3], vec![4]]);
        assert_eq!(groups[2].owners_without(&[Value::from(two)]), [0]);
    }
}
