//! A filter's text comes in; the name of a definition that calls itself goes out, if there is one.
//!
//! How deep such a definition goes may be up to what an agency sends, and a stack that ends takes the whole process along.
//! The language's own `recurse`, `..`, `walk`, `reduce`, `until` and `while` do the same work on bounded ground.

use jaq_core::{
    load::{
        self,
        lex::StrPart,
        parse::{BinaryOp, Def, Pattern, Term},
    },
    path::Part,
};

/// `None` also for a text that is no filter: others find that out.
pub fn recursive_definition(source: &str) -> Option<String> {
    let term = load::parse(source, |parser| parser.term())?;
    let mut search = Search { open: Vec::new(), found: None };
    search.term(&term);
    search.found.map(str::to_owned)
}

struct Search<'s> {
    /// The definitions that are being walked through, by name and number of arguments.
    open: Vec<(&'s str, usize)>,
    found: Option<&'s str>,
}

impl<'s> Search<'s> {
    fn definition(&mut self, definition: &Def<&'s str>) {
        // An argument may have the name of an outer definition, and then stands for itself.
        let arguments = definition.args.len();
        let hidden: Vec<_> = self.open.iter().copied().filter(|it| !definition.args.contains(&it.0)).collect();
        let outer = std::mem::replace(&mut self.open, hidden);
        self.open.push((definition.name, arguments));
        self.term(&definition.body);
        self.open = outer;
    }

    fn term(&mut self, term: &Term<&'s str>) {
        match term {
            Term::Id | Term::Recurse | Term::Num(_) | Term::Break(_) | Term::Var(_) => {}
            Term::Str(_, parts) => parts.iter().for_each(|part| {
                if let StrPart::Term(term) = part {
                    self.term(term);
                }
            }),
            Term::Arr(inner) => inner.iter().for_each(|term| self.term(term)),
            Term::Obj(entries) => entries.iter().for_each(|(key, value)| {
                self.term(key);
                value.iter().for_each(|term| self.term(term));
            }),
            Term::Neg(inner) | Term::Label(_, inner) => self.term(inner),
            Term::BinOp(left, operator, right) => {
                self.term(left);
                if let BinaryOp::Pipe(Some(pattern)) = operator {
                    self.pattern(pattern);
                }
                self.term(right);
            }
            Term::Fold(_, over, pattern, steps) => {
                self.term(over);
                self.pattern(pattern);
                steps.iter().for_each(|term| self.term(term));
            }
            Term::TryCatch(attempt, catch) => {
                self.term(attempt);
                catch.iter().for_each(|term| self.term(term));
            }
            Term::IfThenElse(cases, otherwise) => {
                cases.iter().for_each(|(condition, then)| {
                    self.term(condition);
                    self.term(then);
                });
                otherwise.iter().for_each(|term| self.term(term));
            }
            Term::Def(definitions, inner) => {
                definitions.iter().for_each(|definition| self.definition(definition));
                self.term(inner);
            }
            Term::Call(name, arguments) => {
                if self.open.contains(&(*name, arguments.len())) {
                    self.found.get_or_insert(name);
                }
                arguments.iter().for_each(|term| self.term(term));
            }
            Term::Path(from, path) => {
                self.term(from);
                path.0.iter().for_each(|(part, _)| self.part(part));
            }
        }
    }

    fn part(&mut self, part: &Part<Term<&'s str>>) {
        match part {
            Part::Index(index) => self.term(index),
            Part::Range(from, to) => from.iter().chain(to).for_each(|term| self.term(term)),
        }
    }

    fn pattern(&mut self, pattern: &Pattern<&'s str>) {
        match pattern {
            Pattern::Var(_) => {}
            Pattern::Arr(items) => items.iter().for_each(|item| self.pattern(item)),
            Pattern::Obj(entries) => entries.iter().for_each(|(key, item)| {
                self.term(key);
                self.pattern(item);
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_definition_that_calls_itself_is_found_wherever_the_call_stands() {
        for source in [
            "def f: f; f",
            "def f: if . > 0 then 1 + (. - 1 | f) else 0 end; f",
            "def f(g): [.[] | f(g)]; f(.)",
            "def f: def g: f; g; f",
            "def f: {a: f}; f",
            "def f: \"\\(f)\"; f",
            "def f: .[f]; f",
            "def f: reduce .[] as $x (0; f); f",
            "def f: try f catch .; f",
            "def f: . as {(f): $x} | $x; f",
            "def g(x): x; def f: g(f); f",
            "def f: -f; f",
            ".a | (def f: .a, f; f)",
        ] {
            assert_eq!(recursive_definition(source).as_deref(), Some("f"), "{source}");
        }
    }

    #[test]
    fn what_only_has_the_same_name_is_no_recursion() {
        for source in [
            "def answer: {answer: .answer, b: \"answer\"}; answer",
            "def f(x): x; def f: f(.); f",
            "def f: def g(f): f; g(.); f",
            "def f: 1; f | f",
            "def f: ..; f | walk(f)",
            "1",
        ] {
            assert_eq!(recursive_definition(source), None, "{source}");
        }
    }
}
