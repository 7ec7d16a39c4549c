//! The folder `src` comes in; which file knows which goes out. A name is followed through `use` to the file that defines
//! it, so that a front page (`mod.rs`) that only passes a name on counts for nothing.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    fs,
    path::Path,
};

/// `["delivery", "send"]` for `src/delivery/send.rs`, `["delivery"]` for `src/delivery/mod.rs`, `[]` for `src/lib.rs`.
pub type Module = Vec<String>;

pub struct House {
    pub texts: BTreeMap<Module, String>,
    /// The files whose definitions a file uses outside of its tests.
    pub uses: BTreeMap<Module, BTreeSet<Module>>,
}

/// What the `use` lines of a file bring in: by which name, and from where.
type Imports = BTreeMap<Module, BTreeMap<String, Vec<String>>>;

impl House {
    pub fn read() -> Self {
        let mut texts = BTreeMap::new();
        collect(Path::new("src"), &mut Vec::new(), &mut texts);
        let codes: BTreeMap<_, _> = texts.iter().map(|(module, text)| (module.clone(), code(text))).collect();
        let imports: Imports =
            codes.iter().map(|(module, code)| (module.clone(), imports(module, code, &codes))).collect();
        let uses = codes.iter().map(|(module, code)| (module.clone(), uses(module, code, &codes, &imports))).collect();
        Self { texts, uses }
    }

    /// Without comments and tests, and without anything between the words that a line break could be.
    pub fn run_together(&self, module: &Module) -> String {
        code(&self.texts[module]).split_whitespace().collect()
    }

    /// Files with files below them.
    pub fn front_pages(&self) -> impl Iterator<Item = &Module> {
        let has_parts = |page: &Module| self.texts.keys().any(|it| it.len() > page.len() && it.starts_with(page));
        self.texts.keys().filter(move |page| !page.is_empty() && has_parts(page))
    }

    /// The names that a front page gives to others, though its parts define them.
    pub fn passed_on(&self, page: &Module) -> Vec<String> {
        let code = code(&self.texts[page]);
        let passing = code.split(';').filter_map(|statement| statement.split_once("pub use ")).map(|(_, tree)| tree);
        let paths = passing.flat_map(|tree| branches("", &tree.split_whitespace().collect::<Vec<_>>().join(" ")));
        paths.filter_map(|path| path.rsplit([':', ' ']).next().map(str::to_owned)).filter(|name| name != "*").collect()
    }

    /// The words of each file, those of its tests included.
    pub fn words(&self) -> BTreeMap<&Module, HashSet<&str>> {
        self.texts.iter().map(|(module, text)| (module, words(text).collect())).collect()
    }

    pub fn rooms(&self) -> BTreeSet<String> {
        self.texts.keys().filter_map(|module| module.first().cloned()).collect()
    }
}

/// The texts of all files of a folder outside of the house.
pub fn texts_in(folder: &str) -> Vec<String> {
    let mut texts = BTreeMap::new();
    collect(Path::new(folder), &mut Vec::new(), &mut texts);
    texts.into_values().collect()
}

fn collect(folder: &Path, module: &mut Module, texts: &mut BTreeMap<Module, String>) {
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let name = entry.file_name().into_string().unwrap();
        if entry.path().is_dir() {
            module.push(name);
            collect(&entry.path(), module, texts);
            module.pop();
        } else if let Some(stem) = name.strip_suffix(".rs").filter(|stem| *stem != "main") {
            let is_front_page = stem == "mod" || stem == "lib";
            let own = module.iter().cloned().chain((!is_front_page).then(|| stem.to_owned()));
            texts.insert(own.collect(), fs::read_to_string(entry.path()).unwrap());
        }
    }
}

/// Without comments, texts in quotation marks and tests.
fn code(text: &str) -> String {
    let text = text.split("#[cfg(test)]").next().unwrap_or_default();
    let lines = text.lines().map(|line| line.split("//").next().unwrap_or_default());
    lines.collect::<Vec<_>>().join("\n")
}

/// `use` statements, each with its tree of names.
fn statements(code: &str) -> impl Iterator<Item = &str> {
    code.split(';').filter_map(|statement| {
        let at = statement.rfind("use ")?;
        let before = statement[..at].lines().next_back().unwrap_or_default().trim();
        (before.is_empty() || before.starts_with("pub")).then(|| &statement[at + 4..])
    })
}

fn imports(module: &Module, code: &str, all: &BTreeMap<Module, String>) -> BTreeMap<String, Vec<String>> {
    let mut found = BTreeMap::new();
    for statement in statements(code) {
        let tree: String = statement.split_whitespace().collect::<Vec<_>>().join(" ");
        for path in branches("", &tree) {
            let (path, renamed) = path.split_once(" as ").unwrap_or((&path, ""));
            let Some(mut path) = absolute(module, path, all) else { continue };
            if path.last().is_some_and(|last| last == "self") {
                path.pop();
            }
            let last = path.last().cloned().unwrap_or_default();
            found.insert(if renamed.is_empty() { last } else { renamed.to_owned() }, path);
        }
    }
    found
}

/// `a::{b, c::d}` is `a::b` and `a::c::d`.
fn branches(prefix: &str, tree: &str) -> Vec<String> {
    let (mut depth, mut from, mut parts) = (0, 0, Vec::new());
    for (at, character) in tree.char_indices() {
        match character {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&tree[from..at]);
                from = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&tree[from..]);
    let expand = |part: &str| match part.split_once('{') {
        Some((head, rest)) => branches(&format!("{prefix}{head}"), rest.trim().strip_suffix('}').unwrap_or(rest)),
        None => vec![format!("{prefix}{part}")],
    };
    parts.into_iter().map(str::trim).filter(|part| !part.is_empty()).flat_map(expand).collect()
}

/// From the crate's root; `None` for what is another crate's.
fn absolute(module: &Module, path: &str, all: &BTreeMap<Module, String>) -> Option<Vec<String>> {
    let mut names: Vec<_> = path.split("::").map(|name| name.trim().to_owned()).collect();
    let mut base = module.clone();
    match names.first()?.as_str() {
        "crate" => base.clear(),
        "self" => {}
        "super" => {
            while names.get(1).is_some_and(|next| next == "super") {
                base.pop();
                names.remove(0);
            }
            base.pop();
        }
        first => {
            let child: Module = module.iter().cloned().chain([first.to_owned()]).collect();
            return all.contains_key(&child).then(|| module.iter().cloned().chain(names).collect());
        }
    }
    Some(base.into_iter().chain(names.into_iter().skip(1)).collect())
}

/// The file that defines what the path names.
fn definer(path: &[String], all: &BTreeMap<Module, String>, imports: &Imports) -> Module {
    let mut path = path.to_vec();
    for _ in 0..16 {
        let depth = (0..=path.len()).rev().find(|depth| all.contains_key(&path[..*depth])).unwrap_or_default();
        let Some(name) = path.get(depth) else { break };
        let passed_on = imports.get(&path[..depth]).and_then(|own| own.get(name));
        match passed_on.filter(|to| to[..] != path[..=depth]) {
            Some(to) => path = to.iter().chain(&path[depth + 1..]).cloned().collect(),
            None => break,
        }
    }
    let depth = (0..=path.len()).rev().find(|depth| all.contains_key(&path[..*depth])).unwrap_or_default();
    path[..depth].to_vec()
}

fn uses(module: &Module, code: &str, all: &BTreeMap<Module, String>, imports: &Imports) -> BTreeSet<Module> {
    let is_front_page = all.keys().any(|other| other.len() > module.len() && other.starts_with(module));
    let rest = without_uses(code);
    let mut found = BTreeSet::new();
    for (name, path) in &imports[module] {
        // A front page that only passes a name on does not use it; a module's name is used where something of it is.
        if !all.contains_key(path) && (!is_front_page || has_word(&rest, name)) {
            found.insert(definer(path, all, imports));
        }
    }
    for path in paths(&rest) {
        let first = path.split("::").next().unwrap_or_default();
        let named = match imports[module].get(first) {
            Some(imported) => {
                Some(imported.iter().cloned().chain(path.split("::").skip(1).map(str::to_owned)).collect())
            }
            None => absolute(module, path, all),
        };
        found.extend(named.map(|path: Vec<String>| definer(&path, all, imports)));
    }
    found.remove(module);
    found
}

fn without_uses(code: &str) -> String {
    statements(code).fold(code.to_owned(), |code, statement| code.replace(&format!("use {statement};"), ""))
}

pub fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|it: char| !it.is_alphanumeric() && it != '_')
}

fn has_word(text: &str, word: &str) -> bool {
    words(text).any(|it| it == word)
}

/// Everything of the form `a::b`.
fn paths(code: &str) -> impl Iterator<Item = &str> {
    let belongs = |it: char| it.is_alphanumeric() || it == '_' || it == ':';
    code.split(move |it: char| !belongs(it)).filter(|path| path.contains("::")).map(|path| path.trim_matches(':'))
}

/// Files that reach themselves, together with those on the way (Tarjan's strongly connected components).
pub fn circles(uses: &BTreeMap<Module, BTreeSet<Module>>) -> Vec<Vec<Module>> {
    let mut search =
        Search { uses, order: BTreeMap::new(), lowest: BTreeMap::new(), open: Vec::new(), found: Vec::new() };
    for module in uses.keys() {
        if !search.order.contains_key(module) {
            search.visit(module);
        }
    }
    search.found
}

struct Search<'a> {
    uses: &'a BTreeMap<Module, BTreeSet<Module>>,
    order: BTreeMap<&'a Module, usize>,
    lowest: BTreeMap<&'a Module, usize>,
    open: Vec<&'a Module>,
    found: Vec<Vec<Module>>,
}

impl<'a> Search<'a> {
    fn visit(&mut self, module: &'a Module) {
        let number = self.order.len();
        self.order.insert(module, number);
        self.lowest.insert(module, number);
        self.open.push(module);
        for next in &self.uses[module] {
            if !self.order.contains_key(next) {
                self.visit(next);
                self.lower(module, self.lowest[next]);
            } else if self.open.contains(&next) {
                self.lower(module, self.order[next]);
            }
        }
        if self.lowest[module] == number {
            let at = self.open.iter().position(|it| *it == module).unwrap();
            let circle = self.open.split_off(at);
            if circle.len() > 1 {
                self.found.push(circle.into_iter().cloned().collect());
            }
        }
    }

    fn lower(&mut self, module: &'a Module, to: usize) {
        let lowest = self.lowest.get_mut(module).unwrap();
        *lowest = to.min(*lowest);
    }
}
