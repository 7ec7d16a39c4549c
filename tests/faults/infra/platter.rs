//! A disk that loses power: recorded steps come in, a file as it may be found afterwards goes out.

use super::recorder::Step;
use rand::{Rng, rngs::StdRng};
use std::{collections::BTreeMap, path::PathBuf};

/// What the disk has done with what was written and not synced when the power went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Unsynced {
    Nothing,
    All,
    Some,
    /// Some, and of one of them only some sectors.
    Torn,
    /// The files have grown, and their new pages are empty.
    Zeroed,
}

pub const FATES: [Unsynced; 5] = [Unsynced::Nothing, Unsynced::All, Unsynced::Some, Unsynced::Torn, Unsynced::Zeroed];
const SECTOR: usize = 512;

/// One file: what is certainly there, and what has been asked for since.
#[derive(Default)]
pub struct OnDisk {
    synced: Vec<u8>,
    pending: Vec<Step>,
}

impl OnDisk {
    pub fn after_power_loss(&self, fate: Unsynced, random: &mut StdRng) -> Vec<u8> {
        let mut image = self.synced.clone();
        let torn = random.random_range(0..self.pending.len().max(1));
        for (number, step) in self.pending.iter().enumerate() {
            match fate {
                Unsynced::Nothing => {}
                Unsynced::All => apply(&mut image, step),
                Unsynced::Some if random.random_bool(0.5) => apply(&mut image, step),
                Unsynced::Torn if number == torn => tear(&mut image, step, random),
                Unsynced::Torn if random.random_bool(0.7) => apply(&mut image, step),
                Unsynced::Zeroed => grow(&mut image, step),
                Unsynced::Some | Unsynced::Torn => {}
            }
        }
        image
    }
}

fn apply(image: &mut Vec<u8>, step: &Step) {
    match step {
        Step::Write { at, bytes, .. } => {
            grow(image, step);
            image[*at..at + bytes.len()].copy_from_slice(bytes);
        }
        Step::Truncate { size, .. } => image.resize(*size, 0),
        Step::Sync { .. } | Step::Delete { .. } | Step::Told(_) => {}
    }
}

fn grow(image: &mut Vec<u8>, step: &Step) {
    if let Step::Write { at, bytes, .. } = step {
        let end = at + bytes.len();
        image.resize(image.len().max(end), 0);
    }
}

fn tear(image: &mut Vec<u8>, step: &Step, random: &mut StdRng) {
    let Step::Write { at, bytes, .. } = step else { return apply(image, step) };
    grow(image, step);
    for (number, sector) in bytes.chunks(SECTOR).enumerate() {
        if random.random_bool(0.5) {
            let begin = at + number * SECTOR;
            image[begin..begin + sector.len()].copy_from_slice(sector);
        }
    }
}

/// One step of the log. `syncs`: whether the disk does what it is told.
pub fn happen(step: &Step, disk: &mut BTreeMap<PathBuf, OnDisk>, syncs: bool) {
    match step {
        Step::Write { file, .. } | Step::Truncate { file, .. } => {
            disk.entry(file.clone()).or_default().pending.push(step.clone());
        }
        Step::Sync { file } if syncs => {
            let on_disk = disk.entry(file.clone()).or_default();
            let pending = std::mem::take(&mut on_disk.pending);
            pending.iter().for_each(|step| apply(&mut on_disk.synced, step));
        }
        Step::Delete { file } => drop(disk.remove(file)),
        Step::Sync { .. } | Step::Told(_) => {}
    }
}
