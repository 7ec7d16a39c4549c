//! A filter's text comes in; where it lets something decide that the agency's signature does not cover goes out.
//!
//! What it may do with `.unsigned` is to tell an operator: in the `text` of what it gives. What cannot be seen from the text
//! is found when it runs: its reading must be the same without anything unsigned.

use super::Coverage;
use jaq_core::{
    load::{
        self,
        lex::StrPart,
        parse::{BinaryOp, Def, Pattern, Term as AnyTerm},
    },
    path::Part,
};

/// The uses that are refused, each once. None in a text that is no filter: others find that out.
pub(super) fn refused_uses(source: &str, coverage: Coverage) -> Vec<Refused> {
    let Some(term) = load::parse(source, |parser| parser.term()).filter(|_| coverage.is_signed()) else {
        return Vec::new();
    };
    let mut search =
        Search { coverage, roots: Vec::new(), definitions: Vec::new(), found: Vec::new(), left: MAX_TERMS };
    search.term(&term, Place { is_root: true, tells: false });
    search.found
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    /// `.status`, which is null there.
    Status,
    /// `.unsigned`, outside of the text of a fault.
    Unsigned,
}

/// A definition is looked at wherever it is called.
const MAX_TERMS: u32 = 20_000;

type Term<'s> = AnyTerm<&'s str>;

#[derive(Clone, Copy)]
struct Place {
    /// Whether `.` is what the filter was given.
    is_root: bool,
    /// Whether what stands here is text for an operator.
    tells: bool,
}

struct Search<'t, 's> {
    coverage: Coverage,
    /// Variables that are bound to what the filter was given.
    roots: Vec<&'s str>,
    definitions: Vec<&'t Def<&'s str, Term<'s>>>,
    found: Vec<Refused>,
    left: u32,
}

impl<'t, 's> Search<'t, 's> {
    fn term(&mut self, term: &'t Term<'s>, place: Place) {
        let Some(left) = self.left.checked_sub(1) else { return };
        self.left = left;
        match term {
            Term::Id | Term::Recurse | Term::Num(_) | Term::Break(_) | Term::Var(_) => {}
            Term::Str(_, parts) => {
                self.name(literal(term), false, place);
                parts.iter().filter_map(inner).for_each(|term| self.term(term, place));
            }
            Term::Arr(inner) => inner.iter().for_each(|term| self.term(term, place)),
            Term::Obj(entries) => entries.iter().for_each(|(key, value)| {
                // `{status}` is the input's member.
                self.name(literal(key), place.is_root && value.is_none(), place);
                let tells = place.tells || literal(key) == Some("text");
                value.iter().for_each(|term| self.term(term, Place { tells, ..place }));
            }),
            Term::Neg(inner) | Term::Label(_, inner) => self.term(inner, place),
            Term::BinOp(left, operator, right) => self.operation(left, operator, right, place),
            Term::Fold(_, over, _, steps) => {
                self.term(over, place);
                steps.iter().for_each(|term| self.term(term, Place { is_root: false, ..place }));
            }
            Term::TryCatch(attempt, catch) => {
                self.term(attempt, place);
                catch.iter().for_each(|term| self.term(term, Place { is_root: false, ..place }));
            }
            Term::IfThenElse(cases, otherwise) => {
                cases.iter().for_each(|(condition, then)| {
                    self.term(condition, place);
                    self.term(then, place);
                });
                otherwise.iter().for_each(|term| self.term(term, place));
            }
            Term::Def(definitions, inner) => {
                let outer = self.definitions.len();
                self.definitions.extend(definitions);
                self.term(inner, place);
                self.definitions.truncate(outer);
            }
            Term::Call(name, arguments) => {
                let is_it = |it: &&&Def<&str, Term<'_>>| it.name == *name && it.args.len() == arguments.len();
                let body = self.definitions.iter().rfind(is_it).map(|it| &it.body);
                body.into_iter().chain(arguments).for_each(|term| self.term(term, place));
            }
            Term::Path(from, path) => {
                self.term(from, place);
                let of_root = self.is_root(from, place);
                for (at, (part, _)) in path.0.iter().enumerate() {
                    match part {
                        Part::Index(index) => {
                            self.name(literal(index), of_root && at == 0, place);
                            self.term(index, place);
                        }
                        Part::Range(low, high) => low.iter().chain(high).for_each(|term| self.term(term, place)),
                    }
                }
            }
        }
    }

    fn operation(&mut self, left: &'t Term<'s>, operator: &'t BinaryOp<&'s str>, right: &'t Term<'s>, place: Place) {
        self.term(left, place);
        let is_root = self.is_root(left, place);
        match operator {
            BinaryOp::Pipe(None) => self.term(right, Place { is_root, ..place }),
            BinaryOp::Pipe(Some(pattern)) => {
                let outer = self.roots.len();
                self.pattern(pattern, is_root, place);
                self.term(right, place);
                self.roots.truncate(outer);
            }
            _ => self.term(right, place),
        }
    }

    fn pattern(&mut self, pattern: &'t Pattern<&'s str>, is_root: bool, place: Place) {
        match pattern {
            Pattern::Var(name) if is_root => self.roots.push(name),
            Pattern::Var(_) => {}
            Pattern::Arr(items) => items.iter().for_each(|item| self.pattern(item, false, place)),
            Pattern::Obj(entries) => entries.iter().for_each(|(key, item)| {
                self.name(literal(key), is_root, place);
                self.term(key, place);
                self.pattern(item, false, place);
            }),
        }
    }

    /// Whether it gives what the filter was given.
    fn is_root(&self, term: &Term<'_>, place: Place) -> bool {
        match term {
            Term::Id => place.is_root,
            Term::Var(name) => self.roots.contains(name),
            Term::Call("select" | "values" | "objects", _) => place.is_root,
            Term::BinOp(left, BinaryOp::Pipe(None), right) => {
                self.is_root(right, Place { is_root: self.is_root(left, place), ..place })
            }
            _ => false,
        }
    }

    /// A name by which something is taken out of an object: of what the filter was given, if `of_root`.
    fn name(&mut self, name: Option<&str>, of_root: bool, place: Place) {
        let refused = match name {
            Some("status") if of_root && !self.coverage.has_status() => Refused::Status,
            Some("unsigned") if !place.tells => Refused::Unsigned,
            _ => return,
        };
        if !self.found.contains(&refused) {
            self.found.push(refused);
        }
    }
}

fn literal<'s>(term: &Term<'s>) -> Option<&'s str> {
    match term {
        Term::Str(None, parts) => match parts.as_slice() {
            [StrPart::Str(text)] => Some(text),
            _ => None,
        },
        _ => None,
    }
}

fn inner<'t, 's>(part: &'t StrPart<&'s str, Term<'s>>) -> Option<&'t Term<'s>> {
    match part {
        StrPart::Term(term) => Some(term),
        StrPart::Str(_) | StrPart::Char(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(source: &str) -> Vec<Refused> {
        refused_uses(source, Coverage::Body)
    }

    #[test]
    fn a_status_that_is_not_signed_is_found_wherever_it_is_read() {
        for source in [
            ".status",
            "if .status == 404 then {not_seen: true} else null end",
            ". as $asked | .body | if $asked.status == 404 then 1 else 2 end",
            ". as {status: $s} | $s",
            "def no: .status == 404; if no then 1 else 2 end",
            "select(.body) | .status",
            ".[\"status\"]",
            "{status}",
            "try .status catch 1",
        ] {
            assert_eq!(of(source), [Refused::Status], "{source}");
            assert_eq!(refused_uses(source, Coverage::BodyAndStatus), [], "{source}");
            assert_eq!(refused_uses(source, Coverage::Unsigned), [], "{source}");
        }
    }

    #[test]
    fn what_is_unsigned_may_be_told_and_decides_nothing() {
        for source in [
            "if .unsigned.status == 404 then {not_seen: true} else null end",
            ".unsigned as $u | if $u.status == 404 then 1 else 2 end",
            ". as {unsigned: {status: $s}} | $s",
            ".[\"unsigned\"].status",
            "getpath([\"unsigned\", \"status\"])",
            "{unsigned}",
            "def no: .unsigned.status == 404; if no then 1 else 2 end",
        ] {
            assert_eq!(of(source), [Refused::Unsigned], "{source}");
            assert_eq!(refused_uses(source, Coverage::BodyAndStatus), [Refused::Unsigned], "{source}");
        }
        assert_eq!(of("{fault: {code: \"x\", text: \"status \\(.unsigned.status)\", transient: false}}"), []);
    }

    #[test]
    fn other_things_of_that_name_are_left_alone() {
        for source in [
            ".body.status",
            ".body | .status",
            ".body as $b | $b.status",
            "{status: \"alive\"}",
            "def f: .status; .body | f",
            "[.body.list[] | .status]",
            "{answer: {status: .body.status}}",
        ] {
            assert_eq!(of(source), [], "{source}");
        }
    }
}
