//! The fair queue: deliveries come in as the broker gives them, and go out fairly: each office in its turn, its urgent ones first.

use crate::{
    broker::Delivery,
    domain::{OfficeName, Priority},
};
use std::collections::{HashMap, VecDeque};

/// The office whose delivery it is. `None`: nobody knows.
pub type Owner = Option<OfficeName>;

/// What a consumer has taken from its queues and not begun.
#[derive(Default)]
pub struct FairQueue {
    offices: HashMap<Owner, OfficeQueue>,
    size: usize,
    /// The turn of the office that was served last. A newcomer starts here, so that it cannot claim turns it did not use.
    turn: u64,
    arrived: u64,
}

/// One office's deliveries.
#[derive(Default)]
struct OfficeQueue {
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

impl FairQueue {
    pub fn put(&mut self, delivery: Delivery) {
        let (owner, priority) = match &delivery.item {
            Ok(item) => (item.office.clone(), item.priority),
            Err(_) => (None, Priority::Ordinary),
        };
        let queue = self.offices.entry(owner).or_default();
        if queue.is_empty() {
            queue.turn = queue.turn.max(self.turn);
        }
        let of_priority = match priority {
            Priority::Urgent => &mut queue.urgent,
            Priority::Ordinary => &mut queue.ordinary,
        };
        of_priority.push_back((self.arrived, delivery));
        self.arrived += 1;
        self.size += 1;
    }

    pub fn len(&self) -> usize {
        self.size
    }

    /// The next of an office that may go: of those with the least rank the one whose turn it is; between offices whose turn
    /// is the same an urgent one first, then the one that came first.
    pub fn next<R: Ord>(&mut self, rank: impl Fn(&Owner, Standing) -> Option<R>) -> Option<(Owner, Delivery)> {
        let ranked = self.offices.iter().filter_map(|(owner, queue)| {
            let (is_ordinary, arrived) = queue.first()?;
            Some(((rank(owner, queue.standing())?, queue.turn, is_ordinary, arrived), owner))
        });
        let owner = ranked.min_by(|(left, _), (right, _)| left.cmp(right))?.1.clone();
        let queue = self.offices.get_mut(&owner)?;
        let (_, delivery) = queue.urgent.pop_front().or_else(|| queue.ordinary.pop_front())?;
        self.size -= 1;
        self.turn = self.turn.max(queue.turn);
        queue.turn += 1;
        queue.under_way += 1;
        Some((owner, delivery))
    }

    /// One that `next` has given out is over.
    pub fn ended(&mut self, owner: &Owner, has_failed: Option<bool>) {
        let Some(queue) = self.offices.get_mut(owner) else { return };
        queue.under_way = queue.under_way.saturating_sub(1);
        match has_failed {
            Some(true) => queue.failures = queue.failures.saturating_add(1),
            Some(false) => queue.failures = 0,
            None => {}
        }
        if queue.is_empty() && queue.under_way == 0 && queue.failures == 0 && queue.turn <= self.turn {
            self.offices.remove(owner);
        }
    }

    /// Whether there is anything of such an office.
    pub fn has(&self, is_meant: impl Fn(&Owner) -> bool) -> bool {
        self.offices.iter().any(|(owner, queue)| !queue.is_empty() && is_meant(owner))
    }

    /// All of these offices.
    pub fn take(&mut self, is_meant: impl Fn(&Owner) -> bool) -> Vec<Delivery> {
        let mut taken = Vec::new();
        for (_, queue) in self.offices.iter_mut().filter(|(owner, _)| is_meant(owner)) {
            taken.extend(queue.urgent.drain(..).chain(queue.ordinary.drain(..)).map(|(_, delivery)| delivery));
        }
        self.size -= taken.len();
        taken
    }
}

impl OfficeQueue {
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
    fn served(queue: &mut FairQueue, count: usize) -> Vec<String> {
        let next = |queue: &mut FairQueue| queue.next(|_, _| Some(())).map(|(owner, _)| owner.unwrap().to_string());
        (0..count).map_while(|_| next(queue)).collect()
    }

    #[test]
    fn a_single_request_is_next_however_many_wait_of_another_office() {
        let mut queue = FairQueue::default();
        (0..1000).for_each(|_| queue.put(delivery("flooder", Priority::Ordinary)));
        served(&mut queue, 50);
        queue.put(delivery("quiet", Priority::Ordinary));
        assert!(served(&mut queue, 2).contains(&"quiet".to_owned()));
    }

    #[test]
    fn a_flood_of_urgent_ones_keeps_no_other_office_waiting() {
        let mut queue = FairQueue::default();
        (0..1000).for_each(|_| queue.put(delivery("flooder", Priority::Urgent)));
        served(&mut queue, 50);
        queue.put(delivery("quiet", Priority::Ordinary));
        assert!(served(&mut queue, 2).contains(&"quiet".to_owned()));
    }

    #[test]
    fn offices_take_turns_and_an_urgent_one_goes_before_ordinary_ones_in_the_same_turn() {
        let mut queue = FairQueue::default();
        for office in ["one", "one", "two", "two"] {
            queue.put(delivery(office, Priority::Ordinary));
        }
        queue.put(delivery("three", Priority::Urgent));
        queue.put(delivery("two", Priority::Urgent));
        assert_eq!(served(&mut queue, 9), ["three", "two", "one", "one", "two", "two"]);
        assert_eq!(queue.len(), 0);
    }

    #[test]
    fn what_is_taken_out_is_of_the_offices_that_are_meant() {
        let mut queue = FairQueue::default();
        queue.put(delivery("one", Priority::Ordinary));
        queue.put(delivery("two", Priority::Urgent));
        assert_eq!(queue.take(|owner| owner.as_ref().is_some_and(|it| it.as_str() == "one")).len(), 1);
        assert_eq!((queue.len(), served(&mut queue, 2)), (1, vec!["two".to_owned()]));
    }
}
