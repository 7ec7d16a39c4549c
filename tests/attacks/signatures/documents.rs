//! A seed comes in; a document rich in what canonicalization is about goes out, and which of its subtrees to take.

use rand::{Rng, SeedableRng, rngs::StdRng, seq::IndexedRandom};

pub struct Document {
    pub text: String,
    /// The attribute `i` of the subtree's root.
    pub apex: usize,
    pub prefixes: Vec<&'static str>,
}

pub struct Generator {
    chance: StdRng,
    text: String,
    elements: usize,
}

/// Which namespace a prefix is bound to here; the empty prefix is the default namespace.
type Scope = Vec<(&'static str, &'static str)>;

const PREFIXES: [&str; 5] = ["", "p", "q", "r", "xs"];
/// Without `&`: libxml2 writes it in a namespace's name as it is, against C14N section 2.3; ours is escaped.
const NAMESPACES: [&str; 5] = ["urn:1", "urn:2", "urn:a'b", "http://example/?a=1;b='2'", "urn:isbn:%C3%A9"];
/// A bare carriage return never stands beside a reference: the guard refuses that.
const TEXTS: [&str; 16] = [
    "text",
    " ",
    "\n  ",
    "\r\n",
    "\r.",
    "\t",
    "&#13;",
    "&#xA;",
    "&#9;",
    "&lt;&amp;&gt;",
    "]]&gt;",
    "'\"",
    "\u{E9}\u{416}",
    "\u{1F600}",
    "\u{85}\u{2028}",
    "&#x10FFFF;",
];
const VALUES: [&str; 12] = [
    "1",
    "",
    " a  b ",
    "&#10;",
    "&#13;&#10;",
    "&#9;",
    "\n\t\r\n",
    "&lt;&gt;&amp;",
    "&quot;'",
    "\u{E9}",
    "\u{1F600}",
    "&#x7F;",
];

impl Generator {
    pub fn new(seed: u64) -> Self {
        Self { chance: StdRng::seed_from_u64(seed), text: String::new(), elements: 0 }
    }

    pub fn document(mut self) -> Document {
        if self.chance.random_bool(0.2) {
            self.text.push_str("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<!-- before --><?before it?>");
        }
        self.element(&Scope::new(), 0);
        if self.chance.random_bool(0.2) {
            self.text.push_str("\n<!-- behind -->");
        }
        let apex = if self.chance.random_bool(0.3) { 0 } else { self.chance.random_range(0..self.elements) };
        let listable = ["#default", "p", "q", "r", "xs", "xml", "nobody"];
        let listed = if self.chance.random_bool(0.5) { 0 } else { self.chance.random_range(1..4) };
        let prefixes = listable.choose_multiple(&mut self.chance, listed).copied().collect();
        Document { text: self.text, apex, prefixes }
    }

    fn element(&mut self, outer: &Scope, depth: usize) {
        let (scope, declarations) = self.declarations(outer);
        let prefix = *self.bound(&scope).choose(&mut self.chance).unwrap_or(&"");
        let local = *["e", "f", "Body", "x-1", "\u{E9}"].choose(&mut self.chance).unwrap();
        let name = qualified(prefix, local);
        let index = self.elements;
        self.elements += 1;
        let mut attributes = self.attributes(&scope);
        attributes.push(format!("i=\"{index}\""));
        attributes.extend(declarations);
        // In any order, and with any white space between.
        let mut written = String::new();
        while !attributes.is_empty() {
            let at = self.chance.random_range(0..attributes.len());
            written.push_str([" ", "\n", " \t"].choose(&mut self.chance).unwrap());
            written.push_str(&attributes.remove(at));
        }
        self.text.push_str(&format!("<{name}{written}"));
        if self.chance.random_bool(0.2) {
            return self.text.push_str("/>");
        }
        self.text.push('>');
        self.content(&scope, depth);
        self.text.push_str(&format!("</{name}{}>", [" ", ""].choose(&mut self.chance).unwrap()));
    }

    fn content(&mut self, scope: &Scope, depth: usize) {
        for _ in 0..self.chance.random_range(0..5) {
            match self.chance.random_range(0..10) {
                0..=4 if depth < 6 && self.elements < 40 => self.element(scope, depth + 1),
                5 => self.text.push_str("<!-- comment --><!---->"),
                6 => self.text.push_str(
                    ["<?target  data ?>", "<?target?>", "<?t a=\"&lt;\"?>"].choose(&mut self.chance).unwrap(),
                ),
                7 => self.text.push_str(
                    ["<![CDATA[<raw> & \"]]>", "<![CDATA[]]>", "<![CDATA[\r\n]]>"].choose(&mut self.chance).unwrap(),
                ),
                _ => self.text.push_str(TEXTS.choose(&mut self.chance).unwrap()),
            }
        }
    }

    /// Declared, declared anew, declared again as it was, or undeclared, which only the default namespace can be.
    fn declarations(&mut self, outer: &Scope) -> (Scope, Vec<String>) {
        let (mut scope, mut written) = (outer.clone(), Vec::new());
        let count = self.chance.random_range(0..4);
        let chosen: Vec<_> = PREFIXES.choose_multiple(&mut self.chance, count).copied().collect();
        for prefix in chosen {
            let undeclares = prefix.is_empty() && self.chance.random_bool(0.4);
            let uri = if undeclares { "" } else { NAMESPACES.choose(&mut self.chance).unwrap() };
            scope.retain(|(bound, _)| *bound != prefix);
            scope.push((prefix, uri));
            let name = if prefix.is_empty() { "xmlns".to_owned() } else { format!("xmlns:{prefix}") };
            written.push(format!("{name}=\"{uri}\""));
        }
        (scope, written)
    }

    fn bound(&self, scope: &Scope) -> Vec<&'static str> {
        std::iter::once("").chain(scope.iter().map(|(prefix, _)| *prefix)).collect()
    }

    /// No two with the same expanded name.
    fn attributes(&mut self, scope: &Scope) -> Vec<String> {
        let (mut names, mut written) = (Vec::new(), Vec::new());
        for _ in 0..self.chance.random_range(0..5) {
            let (prefix, local) = match self.chance.random_bool(0.15) {
                true => ("xml", *["lang", "space", "base"].choose(&mut self.chance).unwrap()),
                false => {
                    let prefix = *self.bound(scope).choose(&mut self.chance).unwrap_or(&"");
                    (prefix, *["a", "b", "Id", "z-1"].choose(&mut self.chance).unwrap())
                }
            };
            let namespace = match prefix {
                "" | "xml" => prefix,
                prefix => scope.iter().find(|(bound, _)| *bound == prefix).map_or("", |(_, uri)| uri),
            };
            if names.contains(&(namespace, local)) {
                continue;
            }
            names.push((namespace, local));
            let value = if local == "space" { "preserve" } else { VALUES.choose(&mut self.chance).unwrap() };
            written.push(format!("{}=\"{value}\"", qualified(prefix, local)));
        }
        written
    }
}

fn qualified(prefix: &str, local: &str) -> String {
    if prefix.is_empty() { local.to_owned() } else { format!("{prefix}:{local}") }
}
