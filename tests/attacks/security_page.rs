//! SECURITY.md names a test for each threat: each is really there, is run, and does not skip.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    process::Command,
    time::SystemTime,
};

fn project() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// What cannot be tested because it is not there. Nothing else may have a dash for its test.
const WITHOUT_A_TEST: [&str; 1] = ["formulas in exported tables"];

/// The last column of every table whose head ends with `test`; an empty one is a dash.
fn named(page: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut is_table = false;
    for line in page.lines() {
        let cells: Vec<_> = line.split('|').map(str::trim).collect();
        is_table = line.starts_with('|') && (is_table || cells.iter().rev().nth(1) == Some(&"test"));
        if !is_table {
            continue;
        }
        let [_, threat, _, _, last, _] = cells[..] else { panic!("a row has not four cells: {line}") };
        match last.strip_prefix('`').and_then(|name| name.strip_suffix('`')) {
            Some(name) => names.push(name.to_owned()),
            None => {
                let is_head = matches!((threat, last), ("threat", "test") | ("---", "---"));
                let is_excused = last == "–" && WITHOUT_A_TEST.contains(&threat);
                assert!(is_head || is_excused, "no test is named in {line}");
            }
        }
    }
    names
}

/// The newest test program of that name, built beside this one.
fn program(name: &str) -> PathBuf {
    let this = std::env::current_exe().unwrap();
    if name == "attacks" {
        return this;
    }
    let is_program = |path: &PathBuf| {
        let file = path.file_name().unwrap().to_string_lossy().into_owned();
        let hash = file.strip_prefix(name).and_then(|rest| rest.strip_prefix('-'));
        hash.is_some_and(|hash| hash.len() == 16 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()))
    };
    let entries = std::fs::read_dir(this.parent().unwrap()).unwrap().map(|entry| entry.unwrap().path());
    let mut built: Vec<_> = entries.filter(is_program).collect();
    built.sort_by_key(|path| path.metadata().and_then(|it| it.modified()).unwrap_or(SystemTime::UNIX_EPOCH));
    // The binary has its library's name, and no tests.
    let newest = built.into_iter().rev().find(|path| !listed(path, &[]).is_empty());
    newest.unwrap_or_else(|| panic!("the test program {name} is not built: start the tests with tests/run"))
}

fn listed(program: &Path, more: &[&str]) -> BTreeSet<String> {
    let done = Command::new(program).args(["--list", "--format", "terse"]).args(more).output().unwrap();
    let text = String::from_utf8_lossy(&done.stdout).into_owned();
    text.lines().filter_map(|line| line.strip_suffix(": test")).map(str::to_owned).collect()
}

/// The text of the test itself.
fn source(program: &str, path: &str) -> String {
    let root = if program == "punte" { project().join("src") } else { project().join("tests").join(program) };
    let parts: Vec<_> = path.split("::").collect();
    let (name, modules) = parts.split_last().unwrap();
    let modules: Vec<_> = modules.iter().filter(|module| **module != "tests").collect();
    let stem = modules.iter().fold(root, |path, module| path.join(module));
    let file = [stem.with_extension("rs"), stem.join("mod.rs")].into_iter().find(|file| file.is_file());
    let text = std::fs::read_to_string(file.unwrap_or_else(|| panic!("{program}::{path} has no file"))).unwrap();
    let begin = text
        .find(&format!("fn {name}("))
        .unwrap_or_else(|| panic!("{program}::{path} is not written where its path says"));
    let rest = &text[begin..];
    rest[..rest.find("\n}\n").map_or(rest.len(), |end| end + 2)].to_owned()
}

#[test]
fn every_test_that_the_page_names_is_there_and_is_run() {
    let page = std::fs::read_to_string(project().join("SECURITY.md")).unwrap();
    let names = named(&page);
    assert!(names.len() >= 60, "only {} tests are named", names.len());
    for threat in WITHOUT_A_TEST {
        assert!(page.contains(&format!("| {threat} |")), "{threat} is no longer on the page");
    }
    let mut programs = BTreeMap::new();
    let mut wrong = Vec::new();
    for name in &names {
        let (program_name, path) = name.split_once("::").unwrap();
        let (all, ignored) = programs.entry(program_name.to_owned()).or_insert_with(|| {
            let program = program(program_name);
            (listed(&program, &[]), listed(&program, &["--ignored"]))
        });
        if !all.contains(path) || ignored.contains(path) {
            wrong.push(format!("{name} is missing or ignored"));
        } else if source(program_name, path).to_lowercase().contains("skip") {
            wrong.push(format!("{name} may be skipped"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    println!("{} tests are named in SECURITY.md, in {:?}", names.len(), programs.keys());
}

#[test]
fn a_page_that_names_what_is_not_there_would_be_noticed() {
    assert_eq!(named(&with_row("| a | b | c | `attacks::none::at_all` |")), ["attacks::none::at_all"]);
    assert!(!listed(&program("attacks"), &[]).contains("none::at_all"));
    assert!(
        listed(&program("attacks"), &[]).contains("security_page::every_test_that_the_page_names_is_there_and_is_run")
    );
}

fn with_row(row: &str) -> String {
    format!("| threat | control | secure default | test |\n| --- | --- | --- | --- |\n{row}\n")
}

#[test]
fn only_what_is_excused_may_have_no_test() {
    assert!(named(&with_row("| formulas in exported tables | b | c | – |")).is_empty());
}

#[test]
#[should_panic(expected = "no test is named in | a | b | c | – |")]
fn a_dash_for_a_test_would_be_noticed() {
    named(&with_row("| a | b | c | – |"));
}

#[test]
#[should_panic(expected = "a row has not four cells: | a | b or | c | d | `attacks::none::at_all` |")]
fn a_row_with_a_cell_too_many_would_be_noticed() {
    named(&with_row("| a | b or | c | d | `attacks::none::at_all` |"));
}

#[test]
fn the_gate_holds_the_dependencies_against_their_rules() {
    let gate = std::fs::read_to_string(project().join(".ci/run")).unwrap();
    assert!(gate.contains("tests/dependencies"), "{gate}");
    let rules = std::fs::read_to_string(project().join("deny.toml")).unwrap();
    for unwanted in ["openssl-sys", "ring", "rsa"] {
        assert!(rules.contains(&format!("\"{unwanted}\"")), "{unwanted} is not banned");
    }
}
