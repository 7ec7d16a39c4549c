//! The house as [`src/lib.rs`] draws it is held against the code: floors, rooms, and files.

mod source;

use source::{House, Module, circles, texts_in, words};
use std::{
    collections::{BTreeMap, HashSet},
    path::Path,
};

/// The floor of each room, from the table in `src/lib.rs`.
fn floors() -> BTreeMap<String, u32> {
    floors_in("src/lib.rs", "//! | ")
}

fn floors_in(page: &str, row: &str) -> BTreeMap<String, u32> {
    let text = std::fs::read_to_string(page).unwrap();
    let rows = text.lines().filter_map(|line| line.strip_prefix(row));
    let numbered = rows.filter_map(|row| {
        let (floor, rooms) = row.split_once(" | ")?;
        Some((floor.trim().parse::<u32>().ok()?, rooms))
    });
    let mut floors = BTreeMap::new();
    for (floor, rooms) in numbered {
        for room in rooms.split("[`").skip(1).filter_map(|rest| rest.split_once("`]")) {
            assert_eq!(floors.insert(room.0.to_owned(), floor), None, "{} stands on the map twice", room.0);
        }
    }
    floors
}

fn name(module: &Module) -> String {
    module.join("/")
}

#[test]
fn the_map_shows_every_room_and_no_other() {
    let rooms: Vec<_> = House::read().rooms().into_iter().collect();
    let drawn: Vec<_> = floors().into_keys().collect();
    assert_eq!(drawn, rooms);
    assert_eq!(floors_in("src/README.md", "| "), floors(), "src/README.md draws another map");
}

#[test]
fn no_floor_knows_a_higher_one_and_no_room_its_neighbour() {
    let floors = floors();
    let faults: Vec<_> = House::read()
        .uses
        .iter()
        .flat_map(|(from, uses)| uses.iter().map(move |to| (from, to)))
        .filter(|(from, to)| !from.is_empty() && !to.is_empty() && from[0] != to[0])
        .filter(|(from, to)| floors[&to[0]] >= floors[&from[0]])
        .map(|(from, to)| format!("{} knows {}", name(from), name(to)))
        .collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn no_files_form_a_circle() {
    let found = circles(&House::read().uses);
    let told: Vec<_> = found.iter().map(|circle| circle.iter().map(name).collect::<Vec<_>>().join(" ")).collect();
    assert!(told.is_empty(), "files that know each other, directly or by turns:\n{}", told.join("\n"));
}

#[test]
fn every_file_says_first_what_it_is_for() {
    let silent: Vec<_> = House::read()
        .texts
        .iter()
        .filter(|(_, text)| !text.starts_with("//! ") && !text.starts_with("#![doc = include_str!("))
        .map(|(module, _)| name(module))
        .collect();
    assert!(silent.is_empty(), "{silent:?}");
}

/// Files and folders that it names are its own; what it passes on from its parts, somebody outside wants.
#[test]
fn a_front_page_tells_the_truth_about_its_parts() {
    let house = House::read();
    let main_file = std::fs::read_to_string("src/main.rs").unwrap();
    let others: Vec<_> = ["tests", "benches"].into_iter().flat_map(texts_in).chain([main_file]).collect();
    let others: HashSet<_> = others.iter().flat_map(|text| words(text)).collect();
    let (said, mut lies) = (house.words(), Vec::new());
    for page in house.front_pages() {
        let page_says: String = house.texts[page].lines().filter(|line| line.starts_with("//!")).collect();
        let named = page_says.split('`').skip(1).step_by(2).filter(|name| name.ends_with(".rs") || name.ends_with('/'));
        let is_there = |part: &&str| Path::new("src").join(name(page)).join(part).exists() || Path::new(part).exists();
        lies.extend(named.filter(|part| !is_there(part)).map(|part| format!("{}: has no {part}", name(page))));
        let outside: Vec<_> = said.iter().filter(|(module, _)| !module.starts_with(page)).map(|it| it.1).collect();
        let is_wanted = |word: &str| others.contains(word) || outside.iter().any(|words| words.contains(word));
        let unwanted = house.passed_on(page).into_iter().filter(|word| !is_wanted(word));
        lies.extend(unwanted.map(|word| format!("{}: passes on {word}, which nobody outside wants", name(page))));
    }
    assert!(lies.is_empty(), "{}", lies.join("\n"));
}

/// What the journal does that is not about one or more submissions; the rooms above call it themselves.
const BESIDE_SUBMISSIONS: [&str; 15] = [
    "add_attachment",
    "advance_mark",
    "attachment",
    "attachment_bytes",
    "claim_notices",
    "confirm_mark",
    "continuity",
    "files_removed",
    "forget_attachments",
    "identity",
    "known_attachments",
    "mark",
    "ping",
    "remove_traces",
    "settle_notice",
];

#[test]
fn whatever_is_done_with_a_submission_goes_by_the_room_of_submissions() {
    let house = House::read();
    let methods = journals_methods(&house.texts[&vec!["journal".to_owned()]]);
    assert!(methods.len() > 30 && methods.iter().any(|it| it == "record"), "{methods:?}");
    let reserved: Vec<_> = methods.iter().filter(|it| !BESIDE_SUBMISSIONS.contains(&it.as_str())).collect();
    let outside = house
        .texts
        .keys()
        .filter(|module| module.first().is_some_and(|room| !["journal", "submissions"].contains(&room.as_str())));
    let mut faults = Vec::new();
    for module in outside {
        let code = house.run_together(module);
        for method in &reserved {
            for receiver in ["journal", "journal()"] {
                if code.contains(&format!("{receiver}.{method}(")) {
                    faults.push(format!("{} calls journal.{method}", name(module)));
                }
            }
        }
        // By this name it is found above.
        for (at, _) in code.match_indices("dynJournal") {
            let declared = code[..at].trim_end_matches("Arc<").trim_end_matches('&').strip_suffix(':');
            if declared.is_some_and(|declared| !declared.ends_with("journal")) {
                faults.push(format!("{} calls a journal by another name", name(module)));
            }
        }
        for statement in code.split([';', '{', '}']) {
            let (bound, value) = statement.split_once('=').unwrap_or_default();
            let value = value.trim_end_matches(".clone()").trim_end_matches(".as_ref()");
            if bound.starts_with("let") && value.ends_with("journal") && !bound.ends_with("journal") {
                faults.push(format!("{} gives the journal another name: {statement}", name(module)));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

fn journals_methods(text: &str) -> Vec<String> {
    let its = text.split_once("pub trait Journal").unwrap().1;
    let named = its.split("fn ").skip(1).filter_map(|rest| rest.split_once('('));
    named.map(|(name, _)| name.to_owned()).collect()
}
