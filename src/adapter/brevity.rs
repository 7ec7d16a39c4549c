//! A filter's text comes in; whether it is brief goes out: whether its steps and what it makes are bounded by the size of
//! its input alone, and so few that a thread that serves the network may run it.
//!
//! Counted is from above and without running anything: each term's outputs, their bytes and the steps up to them, as so
//! much and so much more for each byte of its input. A term of which this does not know how much it makes, or whose
//! outputs multiply with each other, is not brief: it is run on a thread of its own, in the time that filters have.

use jaq_core::{
    load::{
        self,
        lex::StrPart,
        parse::{BinaryOp, Def, Pattern, Term as AnyTerm},
    },
    ops::Math,
    path::Part,
};
use std::cell::Cell;

/// Of the largest input that counts, as [`text_bytes`](super::jq_values::text_bytes) counts.
pub const BRIEF_BYTES: usize = 16 << 10;
/// A step takes about 50 ns. Items are counted as if each took a byte, and take two at least.
const MAX_STEPS: u64 = 400_000;
const MAX_OUTPUT_BYTES: u64 = 1 << 20;
/// Terms that are looked at. A definition is looked at wherever it is called.
const MAX_TERMS: u32 = 4_000;
/// What a character may become in JSON.
const ESCAPED_BYTES: u64 = 6;
/// `true`, `null`, a number.
const SCALAR_BYTES: u64 = 10;

pub fn is_brief(source: &str) -> bool {
    let Some(term) = load::parse(source, |parser| parser.term()) else { return false };
    let most = BRIEF_BYTES as u64;
    let made = Count { left_terms: Cell::new(MAX_TERMS) }.term(&term, Place { names: None, most });
    made.is_some_and(|it| it.steps.of(most) <= MAX_STEPS && it.bytes.of(most) <= MAX_OUTPUT_BYTES)
}

type Term<'a> = AnyTerm<&'a str>;

/// So much, and so much more for each byte of the input.
#[derive(Clone, Copy)]
struct Linear {
    fixed: u64,
    per_byte: u64,
}

/// What a term makes of one input, at the most.
#[derive(Clone, Copy)]
struct Made {
    outputs: Linear,
    /// Of all outputs together.
    bytes: Linear,
    steps: Linear,
}

/// What names mean, innermost first.
type Names<'a> = Option<&'a Named<'a>>;

/// Where a term stands.
#[derive(Clone, Copy)]
struct Place<'a> {
    names: Names<'a>,
    /// The most bytes that an input there has.
    most: u64,
}

struct Named<'a> {
    name: &'a str,
    meaning: Meaning<'a>,
    outer: Names<'a>,
}

enum Meaning<'a> {
    /// A variable of so many bytes.
    Variable(u64),
    Definition(&'a Def<&'a str, Term<'a>>),
    /// An argument, which means what it does where it is given.
    Argument(&'a Term<'a>, Names<'a>),
}

struct Count {
    left_terms: Cell<u32>,
}

impl Linear {
    const ZERO: Self = Self { fixed: 0, per_byte: 0 };
    const INPUT: Self = Self { fixed: 0, per_byte: 1 };

    fn fixed(fixed: u64) -> Self {
        Self { fixed, per_byte: 0 }
    }

    fn plus(self, other: Self) -> Self {
        let Self { fixed, per_byte } = other;
        Self { fixed: self.fixed.saturating_add(fixed), per_byte: self.per_byte.saturating_add(per_byte) }
    }

    fn times(self, factor: u64) -> Self {
        Self { fixed: self.fixed.saturating_mul(factor), per_byte: self.per_byte.saturating_mul(factor) }
    }

    fn or(self, other: Self) -> Self {
        Self { fixed: self.fixed.max(other.fixed), per_byte: self.per_byte.max(other.per_byte) }
    }

    fn of(self, input_bytes: u64) -> u64 {
        self.fixed.saturating_add(self.per_byte.saturating_mul(input_bytes))
    }
}

impl Made {
    const INPUT: Self = Self::one(Linear::INPUT);

    const fn one(bytes: Linear) -> Self {
        Self { outputs: Linear { fixed: 1, per_byte: 0 }, bytes, steps: Linear { fixed: 1, per_byte: 0 } }
    }

    fn scalar() -> Self {
        Self::one(Linear::fixed(SCALAR_BYTES))
    }

    /// `None`: more than one output, which would multiply with others.
    fn single(self) -> Option<Self> {
        (self.outputs.fixed <= 1 && self.outputs.per_byte == 0).then_some(self)
    }

    /// Of all outputs as inputs of something else.
    fn sum(self, of_each: Linear) -> Linear {
        self.outputs.times(of_each.fixed).plus(self.bytes.times(of_each.per_byte))
    }

    fn piped(self, next: Self) -> Self {
        Self {
            outputs: self.sum(next.outputs),
            bytes: self.sum(next.bytes),
            steps: self.steps.plus(self.sum(next.steps)),
        }
    }

    fn after(self, steps: Linear) -> Self {
        Self { steps: self.steps.plus(steps), ..self }
    }

    /// The outputs of both.
    fn beside(self, other: Self) -> Self {
        let (outputs, bytes) = (self.outputs.plus(other.outputs), self.bytes.plus(other.bytes));
        Self { outputs, bytes, steps: self.steps.plus(other.steps) }
    }

    /// The outputs of the one or of the other.
    fn or(self, other: Self) -> Self {
        let (outputs, bytes) = (self.outputs.or(other.outputs), self.bytes.or(other.bytes));
        Self { outputs, bytes, steps: self.steps.or(other.steps) }
    }

    /// One output of all bytes.
    fn gathered(self) -> Self {
        Self { outputs: Linear::fixed(1), bytes: self.bytes.plus(self.outputs).plus(Linear::fixed(2)), ..self }
    }

    /// One member or item, or null, of each.
    fn members(self) -> Self {
        let bytes = self.bytes.plus(self.outputs.times(SCALAR_BYTES));
        Self { bytes, ..self }.after(self.outputs)
    }

    /// Each member or item as an output; none is without a byte.
    fn items(self) -> Self {
        Self { outputs: self.bytes, ..self }.after(self.bytes)
    }
}

impl Count {
    /// `None`: it is not known, or not linear.
    fn term<'a>(&self, term: &'a Term<'a>, place: Place<'a>) -> Option<Made> {
        self.left_terms.set(self.left_terms.get().checked_sub(1)?);
        Some(match term {
            Term::Id => Made::INPUT,
            Term::Num(text) => Made::one(Linear::fixed(SCALAR_BYTES.max(text.len() as u64))),
            Term::Str(None, parts) => self.text(parts, place)?,
            Term::Arr(None) => Made::scalar(),
            Term::Arr(Some(inner)) => self.term(inner, place)?.gathered(),
            Term::Obj(entries) => self.object(entries, place)?,
            Term::Neg(inner) => self.term(inner, place)?,
            Term::BinOp(left, operator, right) => self.operation(left, operator, right, place)?,
            Term::TryCatch(attempt, None) => self.term(attempt, place)?,
            Term::IfThenElse(cases, otherwise) => {
                let otherwise = otherwise.as_ref().map_or(Some(Made::INPUT), |it| self.term(it, place))?;
                cases.iter().try_rfold(otherwise, |otherwise, (condition, then)| {
                    let condition = self.term(condition, place)?.single()?;
                    Some(self.term(then, place)?.or(otherwise).after(condition.steps))
                })?
            }
            Term::Def(definitions, inner) => self.with_definitions(definitions, inner, place)?,
            Term::Call(name, arguments) => self.call(name, arguments, place)?,
            Term::Var(name) => variable(name, place.names)?,
            Term::Path(from, path) => {
                path.0.iter().try_fold(self.term(from, place)?, |made, (part, _)| match part {
                    Part::Range(None, None) => Some(made.items()),
                    Part::Index(index) if is_literal(index) => Some(made.members()),
                    Part::Index(_) | Part::Range(..) => None,
                })?
            }
            Term::Recurse
            | Term::Str(Some(_), _)
            | Term::TryCatch(_, Some(_))
            | Term::Label(..)
            | Term::Break(_)
            | Term::Fold(..) => return None,
        })
    }

    fn text<'a>(&self, parts: &'a [StrPart<&'a str, Term<'a>>], place: Place<'a>) -> Option<Made> {
        parts.iter().try_fold(Made::one(Linear::fixed(3)), |made, part| {
            Some(match part {
                StrPart::Str(text) => Made { bytes: made.bytes.plus(Linear::fixed(text.len() as u64)), ..made },
                StrPart::Char(_) => Made { bytes: made.bytes.plus(Linear::fixed(4)), ..made },
                StrPart::Term(term) => {
                    let inner = self.term(term, place)?.single()?;
                    let bytes = inner.bytes.times(ESCAPED_BYTES);
                    Made { bytes: made.bytes.plus(bytes), ..made.after(inner.steps).after(bytes) }
                }
            })
        })
    }

    fn object<'a>(&self, entries: &'a [(Term<'a>, Option<Term<'a>>)], place: Place<'a>) -> Option<Made> {
        entries.iter().try_fold(Made::one(Linear::fixed(2)), |made, (key, value)| {
            let key = self.term(key, place)?.single()?;
            let value = match value {
                Some(value) => self.term(value, place)?.single()?,
                // `{name}` is the input's member.
                None => Made::INPUT.members().or(key),
            };
            let bytes = made.bytes.plus(key.bytes).plus(value.bytes).plus(Linear::fixed(1));
            Some(Made { bytes, ..made.after(key.steps).after(value.steps) })
        })
    }

    fn operation<'a>(
        &self,
        left: &'a Term<'a>,
        operator: &'a BinaryOp<&'a str>,
        right: &'a Term<'a>,
        place: Place<'a>,
    ) -> Option<Made> {
        let of_left = self.term(left, place)?;
        if let BinaryOp::Pipe(Some(pattern)) = operator {
            let of_left = of_left.single()?;
            let Pattern::Var(name) = pattern else { return None };
            let variable = Meaning::Variable(of_left.bytes.of(place.most));
            let named = Named { name, meaning: variable, outer: place.names };
            return Some(self.term(right, place.with(&named))?.after(of_left.steps));
        }
        if let BinaryOp::Pipe(None) = operator {
            let most = of_left.bytes.of(place.most);
            return Some(of_left.piped(self.term(right, Place { most, ..place })?));
        }
        let of_right = self.term(right, place)?;
        Some(match operator {
            BinaryOp::Comma => of_left.beside(of_right),
            // Those of the right one only if the left one has none that counts.
            BinaryOp::Alt => of_left.or(of_right).after(of_left.steps),
            BinaryOp::Math(Math::Add) => {
                let both = of_left.single()?.beside(of_right.single()?);
                Made { outputs: Linear::fixed(1), ..both }.after(both.bytes)
            }
            BinaryOp::And | BinaryOp::Or | BinaryOp::Cmp(_) => {
                let both = of_left.single()?.beside(of_right.single()?);
                Made::scalar().after(both.steps).after(of_left.bytes)
            }
            BinaryOp::Math(_)
            | BinaryOp::Pipe(_)
            | BinaryOp::Assign
            | BinaryOp::Update
            | BinaryOp::UpdateMath(_)
            | BinaryOp::UpdateAlt => return None,
        })
    }

    fn with_definitions<'a>(
        &self,
        definitions: &'a [Def<&'a str, Term<'a>>],
        inner: &'a Term<'a>,
        place: Place<'a>,
    ) -> Option<Made> {
        let Some((first, others)) = definitions.split_first() else { return self.term(inner, place) };
        let named = Named { name: first.name, meaning: Meaning::Definition(first), outer: place.names };
        self.with_definitions(others, inner, place.with(&named))
    }

    fn call<'a>(&self, name: &str, arguments: &'a [Term<'a>], place: Place<'a>) -> Option<Made> {
        let mut names = place.names;
        while let Some(named) = names {
            match named.meaning {
                Meaning::Argument(term, given_in) if named.name == name && arguments.is_empty() => {
                    return self.term(term, Place { names: given_in, ..place });
                }
                Meaning::Definition(it) if named.name == name && it.args.len() == arguments.len() => {
                    let given = it.args.iter().zip(arguments).collect::<Vec<_>>();
                    return self.body(&it.body, &given, place.names, Place { names, ..place });
                }
                _ => names = named.outer,
            }
        }
        self.own(name, arguments, place)
    }

    fn body<'a>(
        &self,
        body: &'a Term<'a>,
        given: &[(&'a &'a str, &'a Term<'a>)],
        given_in: Names<'a>,
        place: Place<'a>,
    ) -> Option<Made> {
        let Some(((name, argument), others)) = given.split_first() else { return self.term(body, place) };
        // `def f($x)` is run once for each output of its argument.
        if name.starts_with('$') {
            return None;
        }
        let named = Named { name, meaning: Meaning::Argument(argument, given_in), outer: place.names };
        self.body(body, others, given_in, place.with(&named))
    }

    /// The language's own.
    fn own<'a>(&self, name: &str, arguments: &'a [Term<'a>], place: Place<'a>) -> Option<Made> {
        let arguments = arguments.iter().map(|it| self.term(it, place)).collect::<Option<Vec<_>>>()?;
        Some(match (name, arguments.as_slice()) {
            ("empty", []) => Made { outputs: Linear::ZERO, bytes: Linear::ZERO, ..Made::scalar() },
            ("true" | "false" | "null" | "not" | "type", []) => Made::scalar(),
            ("length", []) => Made::INPUT.or(Made::scalar()).after(Linear::INPUT),
            ("first", []) => Made::INPUT.members(),
            ("ascii_downcase" | "ascii_upcase" | "error", []) => Made::INPUT.after(Linear::INPUT),
            ("values" | "nulls" | "strings" | "numbers" | "arrays" | "objects", []) => Made::INPUT.after(Linear::INPUT),
            ("tostring" | "tojson", []) => {
                let bytes = Linear::INPUT.times(ESCAPED_BYTES);
                Made::one(bytes).after(bytes)
            }
            ("error", [what]) => *what,
            ("select", [condition]) => Made::INPUT.after(condition.single()?.steps),
            ("map", [each]) => Made::INPUT.items().piped(*each).gathered(),
            ("has" | "startswith" | "endswith", [what]) => Made::scalar().after(what.single()?.steps).after(what.bytes),
            ("ltrimstr" | "rtrimstr", [what]) => Made::INPUT.after(what.single()?.steps).after(what.bytes),
            _ => return None,
        })
    }
}

impl<'a> Place<'a> {
    fn with(self, named: &'a Named<'a>) -> Self {
        Self { names: Some(named), ..self }
    }
}

fn variable(name: &str, mut names: Names<'_>) -> Option<Made> {
    while let Some(named) = names {
        match named.meaning {
            Meaning::Variable(bytes) if named.name == name => return Some(Made::one(Linear::fixed(bytes))),
            _ => names = named.outer,
        }
    }
    None
}

fn is_literal(term: &Term<'_>) -> bool {
    match term {
        Term::Num(_) => true,
        Term::Str(None, parts) => !parts.iter().any(|part| matches!(part, StrPart::Term(_))),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapter::{Filter, jq_values::text_bytes, worker_pool::run_here};
    use proptest::prelude::*;
    use serde_json::{Value, json};

    #[test]
    fn what_goes_over_its_input_once_is_brief() {
        for source in [
            ".",
            "null",
            "{answer: {a: .body.a, b: (.body[\"cr:b\"] | ascii_downcase)}, reference: .reference}",
            "[(.entries // [])[] | {name: .[\"@name\"], value: (.[\"#text\"] // \"\")}]",
            "def optional(key; value): if value then {(key): value} else {} end; {a: 1} + optional(\"b\"; .b)",
            ". as $asked | [.body.result[] | select(.event_id == $asked.reference)] | .[0]",
            "if .status == 200 and (.body | type) == \"object\" then .body elif .fault then error(\"x\") else empty end",
            ".body.list | map(select(.kind == \"a\") | {id, n: .name?})",
            "\"\\(.a) and \\(.b)\"",
            "def f: 1, 2; [f]",
            "def f(g): def h: g; h; f(.a)",
        ] {
            assert!(is_brief(source), "{source}");
        }
    }

    #[test]
    fn the_projects_own_filters_are_brief() {
        for file in [
            "civil-registry/person-lookup/answer.jq",
            "civil-registry/civil-status-extract/answer.jq",
            "legal-events/legal-event/answer.jq",
            "legal-events/legal-event/lookup.jq",
        ] {
            let source = std::fs::read_to_string(format!("{}/adapters/{file}", env!("CARGO_MANIFEST_DIR"))).unwrap();
            assert!(is_brief(&source), "{file}");
        }
    }

    #[test]
    fn what_may_take_longer_is_not_brief() {
        let doubled = vec![". + ."; 30].join(" | ");
        let quoted = vec!["\"\\(.)\\(.)\""; 30].join(" | ");
        let called: String = (1..30).map(|level| format!("def f{level}: f{}, f{}; ", level - 1, level - 1)).collect();
        let called = format!("def f0: 1; {called} [f29]");
        for source in [
            doubled.as_str(),
            &quoted,
            &called,
            "..",
            "[.[] as $x | .[] as $y | 1]",
            "[.[] | . as $x | $x]  | . as $all | map($all)",
            "{a: .[], b: .[]}",
            "(.[]) + (.[])",
            "if .[] then 1 else 2 end",
            "last(repeat(1))",
            "[range(1e9)]",
            "\"x\" * 1000000",
            "[limit(3; .[])]",
            "reduce .[] as $x (0; . + $x)",
            "until(false; .)",
            ".a |= 1",
            "test(\"(a+)+b\")",
            ".[.a]",
            "$ENV",
            "label $x | 1, break $x",
            "def f($x): $x; f(.[])",
            "no filter (",
        ] {
            assert!(!is_brief(source), "{source}");
        }
    }

    fn values() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            "[a\"\\\\é]{0,12}".prop_map(Value::from)
        ];
        leaf.prop_recursive(4, 60, 8, |inner| {
            let members = proptest::collection::vec(("[ab]", inner.clone()), 0..4);
            prop_oneof![
                proptest::collection::vec(inner, 0..8).prop_map(Value::from),
                members.prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    /// Filters of any shape, brief or not.
    fn filters() -> impl Strategy<Value = String> {
        let leaf = prop_oneof![
            Just(".".to_owned()),
            Just(".a?".to_owned()),
            Just(".[]?".to_owned()),
            Just("\"text\"".to_owned()),
            Just("empty".to_owned()),
            Just("type".to_owned()),
            Just("1".to_owned()),
            Just("tojson".to_owned()),
        ];
        leaf.prop_recursive(5, 24, 3, |inner| {
            let two = (inner.clone(), inner.clone());
            prop_oneof![
                two.clone().prop_map(|(a, b)| format!("({a} | {b})")),
                two.clone().prop_map(|(a, b)| format!("({a}, {b})")),
                two.clone().prop_map(|(a, b)| format!("({a} // {b})")),
                two.clone().prop_map(|(a, b)| format!("({a} + {b})?")),
                two.clone().prop_map(|(a, b)| format!("({a} as $x | {b} | [., $x])")),
                two.clone().prop_map(|(a, b)| format!("{{k: {a}, l: {b}}}")),
                two.prop_map(|(a, b)| format!("(def f(g): [g]; f({a}) | {b})")),
                inner.clone().prop_map(|a| format!("[{a}]")),
                inner.clone().prop_map(|a| format!("\"<\\({a})>\"")),
                inner.prop_map(|a| format!("(map({a})?)")),
            ]
        })
    }

    proptest! {
        /// Of brief ones: no output is larger than was counted.
        #[test]
        fn what_is_counted_is_not_less_than_what_is_made(source in filters(), input in values()) {
            let gathered = format!("[{source}]");
            let term = load::parse(&gathered, |parser| parser.term()).unwrap();
            let most = text_bytes(&input) as u64;
            let made = Count { left_terms: Cell::new(MAX_TERMS) }.term(&term, Place { names: None, most });
            let Some(most) = made.map(|it| it.bytes.of(most)) else { return Ok(()) };
            if let Ok(Some(output)) = Filter::compile(gathered.clone()).unwrap().run(&input) {
                prop_assert!(text_bytes(&output) as u64 <= most, "{gathered}: {} > {most}", text_bytes(&output));
            }
        }
    }

    /// A thread that serves the network has twice as much.
    #[test]
    fn no_depth_of_an_answer_takes_more_than_a_small_stack() {
        let deep = || {
            let opened: String = (0..100).map(|_| "<a b=\"c\">").collect();
            let text = format!("{opened}{}", "</a>".repeat(100));
            let document = crate::xml::parse(&text).unwrap();
            let from_xml = crate::soap::XmlToJson::default().children(document.root()).unwrap();
            let from_json = (0..126).fold(json!(1), |inner, _| json!({"a": inner}));
            let schema = json!({"$ref": "#/$defs/t", "$defs": {"t": {"properties": {"a": {"$ref": "#/$defs/t"}}}}});
            let schema = crate::catalogue::Schema::compile(schema).unwrap();
            for value in [from_xml, from_json] {
                assert!(text_bytes(&value) <= BRIEF_BYTES);
                for source in [".", "tojson", ". == .", "\"\\(.)\"", ". as $x | {a: $x.a}", ". + {b: .a}"] {
                    let filter = Filter::compile(source.to_owned()).unwrap();
                    assert!(filter.is_brief(), "{source}");
                    assert!(run_here(|| filter.run(&value)).unwrap().unwrap().is_some());
                }
                assert!(schema.faults(&value).is_empty());
            }
        };
        std::thread::Builder::new().stack_size(1 << 20).spawn(deep).unwrap().join().unwrap();
    }

    #[test]
    fn the_longest_that_is_brief_takes_milliseconds() {
        let filter = Filter::compile("[.[] | {a: ., b: [.], c: (. == \"\")}]".to_owned()).unwrap();
        assert!(filter.is_brief());
        let input = json!(vec![Value::Array(vec![]); BRIEF_BYTES / 2 - 1]);
        // Processor time: whatever else the machine does meanwhile does not count.
        let worked_ns = || -> u64 {
            let times = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
            times.split(' ').next().unwrap().parse().unwrap()
        };
        let before = worked_ns();
        assert!(run_here(|| filter.run(&input)).unwrap().unwrap().is_some());
        let took = std::time::Duration::from_nanos(worked_ns() - before);
        assert!(!took.is_zero(), "the kernel does not tell what this thread has worked");
        assert!(took < std::time::Duration::from_secs(1), "{took:?}");
    }
}
