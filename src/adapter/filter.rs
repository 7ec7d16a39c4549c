//! A jq file comes in; from an agency's answer as JSON it makes what the answer means, and reaches nothing else.
//!
//! What goes in and out is bounded, and so are depth and time: a stack that ends would take the whole process along, and a
//! filter that never ends would keep the agency's place for ever. Each run is on a thread of the pool.

use super::{
    comments::without_comments,
    jq_values::{Unfit, from_jq, text_bytes, to_jq},
    natives,
    numbers_met::{NumbersMet, compares, has_long_decimal, has_made_long_decimal, made_while},
    recursion::recursive_definition,
    worker_pool::{self, JobSize, NotDone},
};
use jaq_core::{
    Compiler, Ctx, Exn, Vars, data,
    load::{self, Arena, File, Loader},
    native::Fun,
};
use jaq_json::Val;
use serde_json::Value;
use std::{collections::HashSet, path::Path, sync::Arc, time::Duration};

const MAX_INPUT_BYTES: usize = 64 << 20;
const MAX_OUTPUT_BYTES: usize = 16 << 20;
/// Less than what a worker's lease has to spare, so that a filter without end is a failed attempt and not a dead worker.
pub const MAX_TIME: Duration = Duration::from_secs(10);

/// What reaches out of the filter: the environment, the clock, the program's own end, standard error.
const FORBIDDEN_NATIVES: [&str; 8] =
    ["env", "now", "halt", "localtime", "strflocaltime", "debug_empty", "stderr_empty", "input_line_number"];
const FORBIDDEN_DEFINITIONS: [&str; 5] = ["halt", "halt_error", "debug", "stderr", "localtime"];

type Program = jaq_core::Filter<data::JustLut<Val>>;

pub struct Filter(Arc<Compiled>);

struct Compiled {
    program: Program,
    /// Without its comments.
    source: String,
    compares: bool,
    literals: NumbersMet,
}

impl Filter {
    pub fn load(file: &Path) -> Result<Self, String> {
        Self::compile(std::fs::read_to_string(file).map_err(|error| format!("cannot be read: {error}"))?)
    }

    pub fn compile(source: String) -> Result<Self, String> {
        if let Some(name) = recursive_definition(&source) {
            return Err(format!("`{name}` calls itself: use recurse, walk, reduce, until or while instead"));
        }
        let program = program(&source)?;
        let (compares, literals) = (compares(&source), NumbersMet::in_source(&source));
        let source = without_comments(&source);
        Ok(Self(Arc::new(Compiled { program, source, compares, literals })))
    }

    /// Its text without comments: by it is known what it looks at.
    pub fn source(&self) -> &str {
        &self.0.source
    }

    /// The one value that the filter gives, or `None` if it gives nothing. Errors never quote what was given to it.
    pub fn run(&self, input: &Value) -> Result<Option<Value>, String> {
        let size_bytes = text_bytes(input);
        if size_bytes > MAX_INPUT_BYTES {
            return Err("its input is too large".to_owned());
        }
        let had_long_decimal = has_long_decimal(input) || self.0.literals.has_long_decimal;
        let given_in = to_jq(input).ok_or("its input cannot be read")?;
        let compiled = self.0.clone();
        let work = move || made_while(|| compiled.run(given_in, had_long_decimal));
        let (given, made) =
            worker_pool::run(JobSize::of(size_bytes), MAX_TIME, work).map_err(|why| not_done(why).to_owned())?;
        if self.may_have_misjudged(input, had_long_decimal, made) {
            return Err(LOOKALIKES.to_owned());
        }
        given
    }

    /// Whether it compares, and two of the numbers that it meets are equal to it though they are not.
    fn may_have_misjudged(&self, input: &Value, had_long_decimal: bool, mut made: NumbersMet) -> bool {
        if !self.0.compares || !(had_long_decimal || made.has_long_decimal) {
            return false;
        }
        made.add_all(input);
        made.join(self.0.literals.clone());
        made.has_lookalikes
    }
}

const LOOKALIKES: &str = "it compares, and two numbers of the answer differ in digits that it does not see: compare them as text, or \
                          give them as they are";

fn not_done(why: NotDone) -> &'static str {
    match why {
        NotDone::NoThread => "no thread can be had for it",
        NotDone::TakesTooLong => "it takes too long",
        NotDone::Panicked => "it panicked",
    }
}

impl Compiled {
    fn run(&self, input: Val, had_long_decimal: bool) -> Result<Option<Value>, String> {
        let context = Ctx::<data::JustLut<Val>>::new(&self.program.lut, Vars::new([]));
        let mut outputs = self.program.id.run((context, input));
        let Some(output) = outputs.next() else { return Ok(None) };
        let output = output.map_err(|exception| self.raised(exception))?;
        match outputs.next() {
            None => from_jq(&output, MAX_OUTPUT_BYTES, had_long_decimal || has_made_long_decimal()).map(Some).map_err(
                |unfit| match unfit {
                    Unfit::TooLarge => "what it gives is too large".to_owned(),
                    Unfit::NoJson => "what it gives is no JSON".to_owned(),
                    Unfit::Rounded => {
                        "what it gives holds a number of which calculating has lost digits: give the agency's \
                                   number as it is, or as text with tostring"
                            .to_owned()
                    }
                },
            ),
            Some(_) => Err("it gives more than one value".to_owned()),
        }
    }

    /// An error's text may hold anything from the answer; it is told only if it stands in the filter itself.
    fn raised(&self, exception: Exn<'_, Val>) -> String {
        let Ok(error) = exception.get_err() else { return "it breaks off without an error".to_owned() };
        let text = error.to_string();
        let is_own = text.len() >= 4 && self.source.contains(text.as_str());
        if is_own {
            format!("it raises `{text}`")
        } else {
            "it meets a value of another kind than it expects".to_owned()
        }
    }
}

/// With those definitions of the language alone that it uses: a program keeps all that it was compiled with, and all of them
/// would take more memory in each agency than everything else of it together.
fn program(source: &str) -> Result<Program, String> {
    let definitions = jaq_core::defs().chain(jaq_std::defs()).chain(jaq_json::defs());
    let definitions: Vec<_> = definitions.filter(|it| !FORBIDDEN_DEFINITIONS.contains(&it.name)).collect();
    // Where there is a native function as well, its absence would not be noticed.
    let native: HashSet<&str> = natives().map(|native| native.0).collect();
    let mut used: HashSet<&str> = definitions.iter().map(|it| it.name).filter(|it| native.contains(it)).collect();
    loop {
        let arena = Arena::default();
        let prelude = definitions.iter().filter(|it| used.contains(it.name)).cloned();
        // A loader without a reader: `include` and `import` find nothing.
        let modules = Loader::new(prelude).load(&arena, File { code: source, path: () });
        let modules = modules.map_err(|faults| loading_fault(source, &faults))?;
        // Data that it imports as `$name` would be found missing only when it runs.
        load::import(&modules, |_| Err(String::new())).map_err(|faults| loading_fault(source, &faults))?;
        let faults = match Compiler::default().with_funs(natives()).compile(modules) {
            Ok(program) => return Ok(program),
            Err(faults) => faults,
        };
        let missing: Vec<&str> = faults.iter().flat_map(|(_, undefined)| undefined).map(|(name, _)| *name).collect();
        let found = definitions.iter().map(|it| it.name).filter(|name| missing.contains(name));
        let before = used.len();
        used.extend(found);
        if used.len() == before {
            let told: Vec<_> =
                missing.iter().map(|name| format!("`{name}` at line {}", line_of(source, name))).collect();
            return Err(format!("uses an undefined name: {}", told.join(", ")));
        }
    }
}

fn natives() -> impl Iterator<Item = Fun<data::JustLut<Val>>> {
    let natives = jaq_core::funs::<data::JustLut<Val>>().chain(jaq_std::funs()).chain(jaq_json::funs());
    let own = natives.filter(|it| !FORBIDDEN_NATIVES.contains(&it.0) && !natives::REPLACED.contains(&it.0));
    own.chain(natives::replacing())
}

impl std::fmt::Debug for Filter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Filter(..)")
    }
}

fn loading_fault(source: &str, faults: &load::Errors<&str, ()>) -> String {
    let Some((_, fault)) = faults.first() else { return "cannot be loaded".to_owned() };
    match fault {
        load::Error::Io(paths) => {
            let names: Vec<_> = paths.iter().map(|(path, _)| format!("`{path}`")).collect();
            format!("includes or imports {}, which a filter may not", names.join(", "))
        }
        load::Error::Lex(faults) => {
            let line = faults.first().map_or(1, |(_, place)| line_of(source, place));
            format!("is not valid jq at line {line}")
        }
        load::Error::Parse(faults) => {
            let line = faults.first().map_or(1, |(_, place)| line_of(source, place));
            format!("is not valid jq at line {line}")
        }
    }
}

/// `place` is a part of `source`.
fn line_of(source: &str, place: &str) -> usize {
    let at = load::span(source, place).start.min(source.len());
    source.as_bytes()[..at].iter().filter(|byte| **byte == b'\n').count() + 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn run(source: &str, input: Value) -> Result<Option<Value>, String> {
        Filter::compile(source.to_owned())?.run(&input)
    }

    #[test]
    fn a_filter_can_neither_end_the_program_nor_see_what_is_around_it() {
        for reaching_out in [
            "halt",
            "halt_error",
            "halt_error(1)",
            "halt(0)",
            "env",
            "$ENV",
            "now",
            "input",
            "inputs",
            "debug",
            "stderr",
            "include \"x\"; 1",
            "import \"x\" as x; 1",
            "import \"x\" as $x; 1",
            "input_filename",
            "localtime",
            "$__loc__",
        ] {
            let compiled = Filter::compile(reaching_out.to_owned()).err();
            let problem = compiled.unwrap_or_else(|| panic!("{reaching_out} compiles"));
            assert!(!problem.is_empty());
        }
    }

    #[test]
    fn every_definition_of_the_language_can_be_used_though_a_program_keeps_only_those_that_it_uses() {
        let definitions: Vec<_> = jaq_core::defs().chain(jaq_std::defs()).chain(jaq_json::defs()).collect();
        let allowed = definitions.iter().filter(|it| !FORBIDDEN_DEFINITIONS.contains(&it.name));
        for definition in allowed {
            let arguments = vec!["."; definition.args.len()].join("; ");
            let call = if arguments.is_empty() { String::new() } else { format!("({arguments})") };
            let source = format!("{}{call}", definition.name);
            assert!(Filter::compile(source.clone()).is_ok(), "{source}");
        }
        assert_eq!(run("[.[] | tostring] | join(\"-\")", json!([1, 2])), Ok(Some(json!("1-2"))));
    }

    #[test]
    fn faults_in_a_filter_name_their_line() {
        assert!(Filter::compile(".a\n| nosuch".into()).unwrap_err().contains("`nosuch` at line 2"));
        assert!(Filter::compile(".a |\n\n| .b".into()).unwrap_err().contains("line 3"));
    }

    #[test]
    fn errors_never_quote_what_the_agency_sent() {
        for source in [".a + 1", ".a | error", "error(.a)", ".a.b", ".a | tonumber", "error({a: .a})"] {
            let problem = run(source, json!({"a": "canary"})).unwrap_err();
            assert!(!problem.contains("canary"), "{source}: {problem}");
        }
        assert_eq!(run("error(\"no record\")", json!({})).unwrap_err(), "it raises `\"no record\"`");
    }

    #[test]
    fn it_gives_one_value_or_nothing() {
        assert_eq!(run("empty", json!({})), Ok(None));
        assert_eq!(run(".a", json!({"a": [1]})), Ok(Some(json!([1]))));
        assert!(run(".[]", json!([1, 2])).is_err());
        assert!(run("break_out", json!(1)).is_err());
        assert!(run("label $x | 1, break $x", json!(1)).is_ok());
    }

    #[test]
    fn too_large_an_output_is_refused() {
        assert!(run("[limit(20; repeat(\"x\" * 1000000))]", json!(1)).unwrap_err().contains("too large"));
    }

    #[test]
    fn numbers_keep_their_digits_inside_the_filter() {
        let given = run(".n | fromjson | tojson", json!({"n": "12345678901234567890.10"}));
        assert_eq!(given, Ok(Some(json!("12345678901234567890.10"))));
    }

    /// As it was in the answer's text.
    fn kept(source: &str, number: &str) -> Result<Option<Value>, String> {
        run(source, serde_json::from_str(&format!("{{\"n\":{number}}}")).unwrap())
    }

    #[test]
    fn an_agencys_numbers_pass_through_a_filter_with_their_digits() {
        for number in ["12345678901234567890123", "-9007199254740993", "1.10", "0.12345678901234567891", "100.00", "-0"]
        {
            for source in [".n", "[.n] | map(.)[0]", "{a: .n} | .a", "(.n | tojson | fromjson)", ".n | select(. != 7)"]
            {
                if number != "-0" {
                    assert_eq!(kept(source, number).unwrap().unwrap().to_string(), number, "{source}");
                }
            }
            assert_eq!(kept(".n | tostring", number), Ok(Some(json!(number))));
            assert_eq!(kept(".n", number).unwrap().unwrap().to_string(), number);
        }
        assert_eq!(kept(".n + 1 | tostring", "12345678901234567890123"), Ok(Some(json!("12345678901234567890124"))));
        assert_eq!(
            kept("(.n | tostring | tonumber) - 1", "12345678901234567890123").unwrap().unwrap().to_string(),
            "12345678901234567890122"
        );
        assert_eq!(run(".n | tonumber? // .", json!({"n": "007"})), Ok(Some(json!("007"))));
    }

    #[test]
    fn calculating_keeps_digits_or_is_refused() {
        for (source, number) in [
            (".n + 0.5", "12345678901234567890123"),
            (".n / 1", "12345678901234567890123"),
            (".n * 1.0", "9007199254740993"),
            ("{a: [.n + 1]}", "0.12345678901234567891"),
            (".n | length", "12345678901234567890.10"),
            (".n | sqrt", "1e400"),
        ] {
            let refusal = kept(source, number);
            assert!(refusal.as_ref().is_err_and(|why| why.contains("lost digits")), "{source} {number}: {refusal:?}");
        }
        assert!(kept(".n | floor", "12345678901234567890.5").is_err());
        assert_eq!(kept("[(.n * 100 | round), .n + 1]", "1.10").unwrap().unwrap().to_string(), "[110,2.1]");
        assert_eq!(kept("[.n | floor, ceil, round]", "-2.5").unwrap().unwrap().to_string(), "[-3,-2,-3]");
        assert_eq!(
            kept("[.n | floor, . % 10]", "12345678901234567890123").unwrap().unwrap().to_string(),
            "[12345678901234567890123,3]"
        );
    }

    #[test]
    fn calculating_with_numbers_that_are_text_keeps_digits_or_is_refused() {
        for (source, text) in [
            (".n | tonumber * 100", "0.12345678901234567891"),
            ("[.n | tonumber | . + 1]", "12345678901234567890.5"),
            ("(.n | fromjson | .share) * 100", "{\"share\": 0.12345678901234567891}"),
        ] {
            let refusal = run(source, json!({"n": text}));
            assert!(refusal.as_ref().is_err_and(|why| why.contains("lost digits")), "{source} {text}: {refusal:?}");
        }
        assert_eq!(
            run(".n | tonumber * 100", json!({"n": "1.10"})).unwrap().unwrap().to_string(),
            "110.00000000000001"
        );
        // What one text has made says nothing about the next run on this thread.
        assert!(run(".n + 0.5", json!({"n": 1})).is_ok());
    }

    #[test]
    fn numbers_that_jq_cannot_tell_apart_are_not_compared() {
        let apart = |one: &str, other: &str| serde_json::from_str(&format!("{{\"n\":{one},\"m\":{other}}}")).unwrap();
        let long: Value = apart("0.12345678901234567891", "0.12345678901234567890");
        let as_text = json!({"n": "0.12345678901234567891", "m": "0.12345678901234567890"});
        for source in [".n > .m", "[.n, .m] | unique | length", "[.n, .m] | max", "{same: (.n == .m)}", "[.n] - [.m]"] {
            let refusal = run(source, long.clone());
            assert!(refusal.as_ref().is_err_and(|why| why.contains("compare them as text")), "{source}: {refusal:?}");
        }
        let refusal = run("(.n | tonumber) > (.m | tonumber)", as_text.clone());
        assert!(refusal.as_ref().is_err_and(|why| why.contains("compare them as text")), "{refusal:?}");
        assert!(run(".n > 0.12345678901234567890", long.clone()).is_err());
        assert_eq!(run(".n == .m", as_text), Ok(Some(json!(false))));
        assert_eq!(run("[.n, .m] | length", long), Ok(Some(json!(2))));
        assert_eq!(run(".n > .m", apart("0.12345678901234567891", "0.5")), Ok(Some(json!(false))));
        assert_eq!(run(".n > .m", apart("9007199254740993", "9007199254740992")), Ok(Some(json!(true))));
    }

    #[test]
    fn no_filter_makes_an_object_that_would_be_read_back_as_something_else() {
        let named = json!({"k": "$serde_json::private::Number", "v": "x"});
        assert!(run("{(.k): .v}", named).unwrap_err().contains("no JSON"));
    }

    fn nested(levels: usize) -> String {
        format!("{}1{}", "[".repeat(levels), "]".repeat(levels))
    }

    #[test]
    fn no_depth_of_an_answer_ends_the_process() {
        let deepest: Value = serde_json::from_str(&nested(126)).unwrap();
        for source in ["[..] | length", "walk(.)", "[paths] | length", "flatten", "tojson | fromjson", "."] {
            run(source, deepest.clone()).unwrap_or_else(|problem| panic!("{source}: {problem}"));
        }
    }

    #[test]
    fn text_that_is_deep_json_is_not_read() {
        let bomb = json!({"a": "[".repeat(4_000_000)});
        for source in [".a | fromjson", ".a | tonumber", ".a | toboolean"] {
            assert!(run(source, bomb.clone()).is_err(), "{source}");
        }
        assert_eq!(run(".a | fromjson", json!({"a": nested(100)})).unwrap().unwrap().to_string(), nested(100));
        assert_eq!(run("[.[] | tonumber]", json!(["7", "-1.5", 2])).unwrap().unwrap().to_string(), "[7,-1.5,2]");
    }

    #[test]
    fn a_definition_that_calls_itself_is_refused_when_it_is_loaded() {
        let problem = Filter::compile("def f: if . > 0 then 1 + (. - 1 | f) else 0 end; .n | f".into()).unwrap_err();
        assert!(problem.contains("`f` calls itself"), "{problem}");
        assert_eq!(
            run("[.n | recurse(if . > 0 then . - 1 else empty end)] | length", json!({"n": 100_000})),
            Ok(Some(json!(100_001)))
        );
    }

    #[test]
    fn a_filter_without_end_is_not_waited_for() {
        assert_eq!(run("last(repeat(1))", json!(1)).unwrap_err(), "it takes too long");
    }

    #[test]
    fn a_word_in_a_comment_is_no_use_of_what_it_names() {
        let filter = Filter::compile(".body # our reference\n# and the headers\n".into()).unwrap();
        assert!(!filter.source().contains("reference") && !filter.source().contains("headers"));
    }

    #[test]
    fn a_compiled_filter_may_be_shared() {
        fn shared<T: Send + Sync>() {}
        shared::<Filter>();
    }
}
