//! Hand: deliveries come in as the broker gives them, and go out fairly: each office in its turn, its urgent ones first.

use crate::{
    broker::Delivery,
    domain::{OfficeName, Priority},
};
use std::collections::{HashMap, VecDeque};

/// `None`: nobody knows whose it is.
pub type Whom = Option<OfficeName>;

/// What a consumer has taken from its queues and not begun.
#[derive(Default)]
pub struct Hand {
    offices: HashMap<Whom, OfficeLine>,
    size: usize,
    /// The turn of the office that was served last. A newcomer starts here, so that it cannot claim turns it did not use.
    turn: u64,
    arrived: u64,
}

/// One office's deliveries.
#[derive(Default)]
struct OfficeLine {
    urgent: VecDeque<(u64, Delivery)>,
    ordinary: VecDeque<(u64, Delivery)>,
    /// The turn in which this office is served next; the lowest goes first.
    turn: u64,
    under_way: u32,
    /// In a row, of the sort that speaks of the agency's health.
    failures: u32,
}

/// How an office stands, for the choice of the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    pub under_way: u32,
    pub failures: u32,
}

impl Hand {
    pub fn put(&mut self, delivery: Delivery) {
        let (whom, priority) = match &delivery.item {
            Ok(item) => (item.office.clone(), item.priority),
            Err(_) => (None, Priority::Ordinary),
        };
        let connection = self.offices.entry(whom).or_default();
        if connection.is_empty() {
            connection.turn = connection.turn.max(self.turn);
        }
        let queue = match priority {
            Priority::Urgent => &mut connection.urgent,
            Priority::Ordinary => &mut connection.ordinary,
        };
        queue.push_back((self.arrived, delivery));
        self.arrived += 1;
        self.size += 1;
    }

    pub fn len(&self) -> usize {
        self.size
    }

    pub fn is_empty(&self) -> bool {
        self.size == 0
    }

    /// The next of an office that may go: of those with the least rank the one whose turn it is; between offices whose turn
    /// is the same an urgent one first, then the one that came first.
    pub fn next<R: Ord>(&mut self, rank: impl Fn(&Whom, Standing) -> Option<R>) -> Option<(Whom, Delivery)> {
        let ranked = self.offices.iter().filter_map(|(whom, connection)| {
            let (is_ordinary, arrived) = connection.first()?;
            Some(((rank(whom, connection.standing())?, connection.turn, is_ordinary, arrived), whom))
        });
        let whom = ranked.min_by(|(left, _), (right, _)| left.cmp(right))?.1.clone();
        let connection = self.offices.get_mut(&whom)?;
        let (_, delivery) = connection.urgent.pop_front().or_else(|| connection.ordinary.pop_front())?;
        self.size -= 1;
        self.turn = self.turn.max(connection.turn);
        connection.turn += 1;
        connection.under_way += 1;
        Some((whom, delivery))
    }

    /// One that `next` has given out is over.
    pub fn ended(&mut self, whom: &Whom, has_failed: Option<bool>) {
        let Some(connection) = self.offices.get_mut(whom) else { return };
        connection.under_way = connection.under_way.saturating_sub(1);
        match has_failed {
            Some(true) => connection.failures = connection.failures.saturating_add(1),
            Some(false) => connection.failures = 0,
            None => {}
        }
        if connection.is_empty()
            && connection.under_way == 0
            && connection.failures == 0
            && connection.turn <= self.turn
        {
            self.offices.remove(whom);
        }
    }

    /// Whether there is anything of such an office.
    pub fn has(&self, is_meant: impl Fn(&Whom) -> bool) -> bool {
        self.offices.iter().any(|(whom, connection)| !connection.is_empty() && is_meant(whom))
    }

    /// All of these offices.
    pub fn take(&mut self, is_meant: impl Fn(&Whom) -> bool) -> Vec<Delivery> {
        let mut taken = Vec::new();
        for (_, connection) in self.offices.iter_mut().filter(|(whom, _)| is_meant(whom)) {
            taken
                .extend(connection.urgent.drain(..).chain(connection.ordinary.drain(..)).map(|(_, delivery)| delivery));
        }
        self.size -= taken.len();
        taken
    }
}

impl OfficeLine {
    fn is_empty(&self) -> bool {
        self.urgent.is_empty() && self.ordinary.is_empty()
    }

    fn first(&self) -> Option<(bool, u64)> {
        let urgent = self.urgent.front().map(|(arrived, _)| (false, *arrived));
        urgent.or_else(|| self.ordinary.front().map(|(arrived, _)| (true, *arrived)))
    }

    fn standing(&self) -> Standing {
        Standing { under_way: self.under_way, failures: self.failures }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        broker::{BrokerError, Settle, WorkItem},
        domain::{SubmissionId, TraceParent},
    };

    struct Nobody;

    #[async_trait::async_trait]
    impl Settle for Nobody {
        async fn ack(self: Box<Self>) -> Result<(), BrokerError> {
            Ok(())
        }

        async fn reject(self: Box<Self>) -> Result<(), BrokerError> {
            Ok(())
        }
    }

    fn delivery(office: &str, priority: Priority) -> Delivery {
        let item = WorkItem {
            submission: SubmissionId::new(),
            agency: "civil-registry".parse().unwrap(),
            office: office.parse().ok(),
            priority,
            trace: TraceParent::fresh(),
        };
        Delivery { item: Ok(item), redeliveries: 0, settle: Box::new(Nobody) }
    }

    /// The offices in the order in which they are served.
    fn served(hand: &mut Hand, count: usize) -> Vec<String> {
        let next = |hand: &mut Hand| hand.next(|_, _| Some(())).map(|(whom, _)| whom.unwrap().to_string());
        (0..count).map_while(|_| next(hand)).collect()
    }

    #[test]
    fn a_single_request_is_next_however_many_wait_of_another_office() {
        let mut hand = Hand::default();
        (0..1000).for_each(|_| hand.put(delivery("flooder", Priority::Ordinary)));
        served(&mut hand, 50);
        hand.put(delivery("quiet", Priority::Ordinary));
        assert!(served(&mut hand, 2).contains(&"quiet".to_owned()));
    }

    #[test]
    fn a_flood_of_urgent_ones_keeps_no_other_office_waiting() {
        let mut hand = Hand::default();
        (0..1000).for_each(|_| hand.put(delivery("flooder", Priority::Urgent)));
        served(&mut hand, 50);
        hand.put(delivery("quiet", Priority::Ordinary));
        assert!(served(&mut hand, 2).contains(&"quiet".to_owned()));
    }

    #[test]
    fn offices_take_turns_and_an_urgent_one_goes_before_ordinary_ones_in_the_same_turn() {
        let mut hand = Hand::default();
        for office in ["one", "one", "two", "two"] {
            hand.put(delivery(office, Priority::Ordinary));
        }
        hand.put(delivery("three", Priority::Urgent));
        hand.put(delivery("two", Priority::Urgent));
        assert_eq!(served(&mut hand, 9), ["three", "two", "one", "one", "two", "two"]);
        assert!(hand.is_empty());
    }

    #[test]
    fn what_is_taken_out_is_of_the_offices_that_are_meant() {
        let mut hand = Hand::default();
        hand.put(delivery("one", Priority::Ordinary));
        hand.put(delivery("two", Priority::Urgent));
        assert_eq!(hand.take(|whom| whom.as_ref().is_some_and(|it| it.as_str() == "one")).len(), 1);
        assert_eq!((hand.len(), served(&mut hand, 2)), (1, vec!["two".to_owned()]));
    }
}
