//! Every fuzz target over its committed corpus and over seeded mutants of it, on the stable compiler.
//!
//! `PUNTE_FUZZ` makes more mutants of each file, `PUNTE_FUZZ_SEED` repeats a run.

use crate::{
    allocations::{Cost, measured},
    signatures::mangle::{Form, mangle},
    targets::{TARGETS, Target},
};
use rand::{Rng, SeedableRng, rngs::StdRng};
use std::{
    collections::BTreeSet,
    fs,
    panic::catch_unwind,
    path::{Path, PathBuf},
    time::Duration,
};

const FUZZ: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fuzz");
/// Wide, because a first use compiles schemas and makes keys; and this is a debug build.
const MOST_TIME: Duration = Duration::from_secs(2);
const MOST_BYTES: usize = 64 << 20;
/// Those that start a thread, compile, or read files for each input get fewer mutants.
const SLOW: [&str; 7] = [
    "agency_toml",
    "certificate_files",
    "configuration",
    "filter_input",
    "filter_source",
    "offices",
    "template_values",
];

#[test]
fn the_readers_keep_their_promises_for_the_corpus_and_its_mutants() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seed = number("PUNTE_FUZZ_SEED").unwrap_or_else(|| rand::rng().random());
    let each = number("PUNTE_FUZZ").unwrap_or(1000);
    println!("PUNTE_FUZZ_SEED={seed}");
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    let failures: Vec<String> = std::thread::scope(|scope| {
        let running: Vec<_> = (0..threads)
            .map(|thread| {
                let own = TARGETS.iter().skip(thread).step_by(threads);
                scope.spawn(move || own.flat_map(|(name, target)| run(name, *target, seed, each)).collect::<Vec<_>>())
            })
            .collect();
        running.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    assert!(failures.is_empty(), "seed {seed}: {}", failures.join("\n"));
}

/// What went wrong, with the input that did it.
fn run(name: &str, target: Target, seed: u64, each: u64) -> Vec<String> {
    let each = if SLOW.contains(&name) { each / 10 } else { each };
    let (mut failures, mut inputs, mut most) = (Vec::new(), 0, Cost::default());
    for file in files(&Path::new(FUZZ).join("corpus").join(name)) {
        let seeded = fs::read(&file).unwrap();
        for number in 0..=each {
            let input = match number {
                0 => seeded.clone(),
                number => mutant(&seeded, seed.wrapping_add(number)),
            };
            let (outcome, cost) = measured(|| catch_unwind(|| target(&input)));
            (inputs, most) = (inputs + 1, most.most(cost));
            // The first use of a target makes what it needs.
            let is_dear = number > 0 && (cost.time > MOST_TIME || cost.bytes > MOST_BYTES);
            if outcome.is_err() || is_dear {
                failures.push(format!(
                    "{name}: {cost:?} for {:?} ({})",
                    String::from_utf8_lossy(&input),
                    file.display()
                ));
                break;
            }
        }
    }
    println!("{name}: {inputs} inputs, at most {:?} and {} KiB", most.time, most.bytes >> 10);
    failures
}

fn mutant(seeded: &[u8], seed: u64) -> Vec<u8> {
    let mut chance = StdRng::seed_from_u64(seed);
    let form = [Form::Xml, Form::Token, Form::Http][chance.random_range(0..3)];
    let form = if seeded.starts_with(b"<") { Form::Xml } else { form };
    let mut input = seeded.to_vec();
    for _ in 0..chance.random_range(1..4) {
        input = mangle(&input, form, &mut chance);
    }
    input
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let listed = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut files: Vec<_> = listed.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty(), "{} is empty", folder.display());
    files
}

#[test]
fn every_target_has_a_corpus_and_a_program_and_nothing_else_is_there() {
    let names: BTreeSet<String> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(names.len(), TARGETS.len());
    let stems = |folder: &str| -> BTreeSet<String> {
        let stem = |path: PathBuf| path.file_stem().unwrap().to_string_lossy().into_owned();
        files(&Path::new(FUZZ).join(folder)).into_iter().map(stem).collect()
    };
    assert_eq!(stems("corpus"), names);
    assert_eq!(stems("fuzz_targets"), names);
    let manifest: toml::Table = fs::read_to_string(format!("{FUZZ}/Cargo.toml")).unwrap().parse().unwrap();
    let programs: BTreeSet<String> =
        manifest["bin"].as_array().unwrap().iter().map(|bin| bin["name"].as_str().unwrap().to_owned()).collect();
    assert_eq!(programs, names);
}
