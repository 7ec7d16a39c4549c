//! The house as [`src/lib.rs`] draws it is held against the code: floors, rooms, and files.

mod source;

use source::{House, Module, circles};
use std::collections::BTreeMap;

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
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

fn journals_methods(text: &str) -> Vec<String> {
    let its = text.split_once("pub trait Journal").unwrap().1;
    let named = its.split("fn ").skip(1).filter_map(|rest| rest.split_once('('));
    named.map(|(name, _)| name.to_owned()).collect()
}
