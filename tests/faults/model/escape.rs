//! Escape: from every world that can be reached, does an ordinary course of things lead on? Whoever is stuck is shown.
//!
//! A checker of paths cannot say this where circles are possible, so the whole graph is drawn and walked backwards.

use super::{
    moves::{Model, Move},
    scheduler,
    world::World,
};
use punte::domain::StateName;
use std::collections::HashMap;

/// The worlds that can be reached, and from where the ordinary moves come.
pub struct Graph {
    worlds: Vec<World>,
    before: Vec<Vec<(u32, Move)>>,
}

impl Graph {
    pub fn of(model: &Model) -> Self {
        let mut numbers = HashMap::new();
        let mut graph = Self { worlds: vec![], before: vec![] };
        for world in stateright::Model::init_states(model) {
            graph.number(&mut numbers, world);
        }
        let mut next = 0;
        while next < graph.worlds.len() {
            let world = graph.worlds[next].clone();
            for (it, after) in stateright::Model::next_steps(model, &world) {
                let number = graph.number(&mut numbers, after);
                if Model::is_ordinary(it) {
                    graph.before[number as usize].push((next as u32, it));
                }
            }
            next += 1;
        }
        graph
    }

    fn number(&mut self, numbers: &mut HashMap<World, u32>, world: World) -> u32 {
        *numbers.entry(world).or_insert_with_key(|world| {
            self.worlds.push(world.clone());
            self.before.push(vec![]);
            self.worlds.len() as u32 - 1
        })
    }

    pub fn size(&self) -> usize {
        self.worlds.len()
    }

    /// Without the help of any person, everything ends or comes before an operator.
    pub fn without_end(&self) -> Vec<&World> {
        self.stuck(World::is_settled, |_| true)
    }

    /// The same, and it is no deadline that ends it: what only a deadline would end has been lost on the way.
    pub fn lost_on_the_way(&self) -> Vec<&World> {
        let passes = Move::Scheduler(scheduler::Move::DeadlinePasses);
        self.stuck(
            |world| world.deadline_passed || world.is_settled() || world.state() == StateName::Waiting,
            |it| it != passes,
        )
    }

    fn stuck(&self, is_good: impl Fn(&World) -> bool, is_taken: impl Fn(Move) -> bool) -> Vec<&World> {
        let mut escapes: Vec<bool> = self.worlds.iter().map(is_good).collect();
        let mut pending: Vec<usize> = (0..self.worlds.len()).filter(|number| escapes[*number]).collect();
        while let Some(number) = pending.pop() {
            for (before, it) in &self.before[number] {
                if is_taken(*it) && !std::mem::replace(&mut escapes[*before as usize], true) {
                    pending.push(*before as usize);
                }
            }
        }
        self.worlds.iter().zip(escapes).filter(|(_, escapes)| !escapes).map(|(world, _)| world).collect()
    }
}
