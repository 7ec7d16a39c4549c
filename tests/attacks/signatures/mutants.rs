//! At least a hundred thousand mutants of valid answers: none is accepted with another meaning, none costs much.
//!
//! `PUNTE_MUTANTS` makes more of them, `PUNTE_MUTANTS_SEED` repeats a run.

use super::{mangle, subjects::Subject};
use crate::allocations::{Cost, measured};
use rand::{Rng, SeedableRng, rngs::StdRng};
use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

const MOST_TIME: Duration = Duration::from_millis(100);
const MOST_BYTES: usize = 16 << 20;

#[derive(Default)]
struct Tally {
    mutants: usize,
    same: usize,
    verdicts: BTreeMap<&'static str, usize>,
    most: Cost,
    /// Seeds of mutants that were accepted with another meaning, or cost too much.
    wrong: Vec<String>,
}

impl Tally {
    fn add(&mut self, other: Tally) {
        self.mutants += other.mutants;
        self.same += other.same;
        for (reason, count) in other.verdicts {
            *self.verdicts.entry(reason).or_default() += count;
        }
        self.most = self.most.most(other.most);
        self.wrong.extend(other.wrong);
    }
}

#[test]
fn no_mutant_of_a_valid_answer_is_accepted_with_another_meaning() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let total = usize::try_from(number("PUNTE_MUTANTS").unwrap_or(100_000)).unwrap();
    let seed = number("PUNTE_MUTANTS_SEED").unwrap_or_else(|| rand::rng().random());
    println!("PUNTE_MUTANTS_SEED={seed}");
    let begun = Instant::now();
    let subjects = Subject::all();
    let each = total.div_ceil(subjects.len());
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    let mut all = Tally::default();
    for (index, subject) in subjects.iter().enumerate() {
        let of_thread = |thread: usize| mutate(subject, seed ^ ((index as u64) << 56), thread, threads, each);
        let tally = std::thread::scope(|scope| {
            let running: Vec<_> = (0..threads).map(|thread| scope.spawn(move || of_thread(thread))).collect();
            let mut tally = Tally::default();
            running.into_iter().for_each(|thread| tally.add(thread.join().unwrap()));
            tally
        });
        let Tally { mutants, same, most, .. } = &tally;
        println!(
            "{}: {mutants} mutants, {same} accepted as they were signed, at most {:?} and {} KiB, {:?}",
            subject.name,
            most.time,
            most.bytes >> 10,
            tally.verdicts
        );
        assert!(*same > 0 && tally.verdicts.len() >= 5, "{}: the mutants are not various", subject.name);
        all.add(tally);
    }
    println!("{} mutants in {:?}", all.mutants, begun.elapsed());
    assert!(all.wrong.is_empty(), "seed {seed}: {}", all.wrong.join("\n"));
    assert!(all.mutants >= total);
}

fn mutate(subject: &Subject, seed: u64, thread: usize, threads: usize, count: usize) -> Tally {
    let mut tally = Tally::default();
    for number in (thread..count).step_by(threads) {
        // Each mutant has its own seed: a wrong one can be made again alone.
        let own = seed.wrapping_add(number as u64);
        let mutant = mangle::mangle(&subject.message, subject.form, &mut StdRng::seed_from_u64(own));
        let (verdict, cost) = measured(|| subject.judge(&mutant));
        tally.mutants += 1;
        tally.most = tally.most.most(cost);
        let reason = match &verdict {
            Ok(meaning) if *meaning == subject.meaning => {
                tally.same += 1;
                "accepted"
            }
            Ok(_) => {
                tally.wrong.push(format!(
                    "{} {own}: another meaning: {}",
                    subject.name,
                    String::from_utf8_lossy(&mutant)
                ));
                "another-meaning"
            }
            Err(reason) => reason,
        };
        *tally.verdicts.entry(reason).or_default() += 1;
        if cost.time > MOST_TIME || cost.bytes > MOST_BYTES {
            tally.wrong.push(format!("{} {own}: {cost:?}", subject.name));
        }
    }
    tally
}
