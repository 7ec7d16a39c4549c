//! A template file comes in; from a standard request it makes the agency's XML or JSON, in which no value can become markup.

use super::{Form, template_values::seen};
use crate::{
    json::{self, Rules},
    xml,
};
use minijinja::{AutoEscape, Environment, Error, ErrorKind, Output, State, UndefinedBehavior, value::Value};
use std::{io, path::Path};

/// Steps that one rendering may take: hundreds of times what a real template needs.
const FUEL: u64 = 200_000;
const MAX_OUTPUT_BYTES: usize = 16 << 20;
const NAME: &str = "request";
/// They mark text as safe that is not, or print in a form that is neither XML nor plain.
const UNSAFE_FILTERS: [&str; 6] = ["safe", "escape", "e", "tojson", "pprint", "urlencode"];

pub struct Template {
    form: Form,
    environment: Environment<'static>,
    source: String,
}

/// What is wrong with a template, or with what it was given. It quotes the template, never a value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {problem}")]
pub struct TemplateFault {
    pub line: u32,
    pub problem: String,
}

/// Why a value cannot be printed.
#[derive(Debug, thiserror::Error)]
enum Unprintable {
    #[error("a value is missing; if it may be, print it with the filter `opt`")]
    Undefined,
    #[error("a value is null; if it may be, print it with the filter `opt`")]
    Null,
    #[error("a list or an object cannot be printed as text")]
    Compound,
    #[error("a text holds a {0}")]
    Character(xml::ForbiddenCharacter),
    #[error("a value cannot be written as JSON")]
    NotJson,
}

impl Template {
    pub fn load(file: &Path, form: Form) -> Result<Self, TemplateFault> {
        let source = std::fs::read_to_string(file);
        let source = source.map_err(|error| TemplateFault { line: 0, problem: format!("cannot be read: {error}") })?;
        Self::compile(source, form)
    }

    pub fn compile(source: String, form: Form) -> Result<Self, TemplateFault> {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_fuel(Some(FUEL));
        environment.set_recursion_limit(32);
        for filter in UNSAFE_FILTERS {
            environment.remove_filter(filter);
        }
        match form {
            Form::Xml => {
                environment.set_auto_escape_callback(|_| AutoEscape::Html);
                environment.set_formatter(print_xml);
                environment.add_filter("opt", |value: Value| if is_absent(&value) { Value::from("") } else { value });
            }
            Form::Json => {
                environment.set_auto_escape_callback(|_| AutoEscape::Json);
                environment.set_formatter(print_json);
                environment.add_filter("opt", |value: Value| if is_absent(&value) { Value::from(()) } else { value });
            }
        }
        // Inside such a block the engine would take text for safe that was escaped by other rules, or not at all.
        if let Some(line) = source.lines().position(|line| line.contains("autoescape")) {
            let problem = "`autoescape` is not allowed: escaping is never switched".to_owned();
            return Err(TemplateFault { line: line as u32 + 1, problem });
        }
        environment.add_template_owned(NAME, source.clone()).map_err(|error| fault(&error, &source))?;
        Ok(Self { form, environment, source })
    }

    /// Whether it looks at this variable of its input.
    pub fn reads(&self, variable: &str) -> bool {
        let template = self.environment.get_template(NAME);
        template.is_ok_and(|template| template.undeclared_variables(false).contains(variable))
    }

    /// The rendered text; for JSON it has been read back and is one valid value.
    pub fn render(&self, input: &serde_json::Value) -> Result<Vec<u8>, TemplateFault> {
        self.render_seen(seen(input))
    }

    /// What most often is the reason that it makes no JSON.
    fn hint(&self) -> &'static str {
        match self.source.contains("\"{{") || self.source.contains("}}\"") {
            true => {
                "; a value is printed as JSON, a text with its quotes: write {{ a }} without quotes around it, and join \
                 texts inside, as in {{ a ~ \" \" ~ b }}"
            }
            false => "",
        }
    }

    /// The same, of values that may be made when the template looks at them.
    pub(super) fn render_seen(&self, input: Value) -> Result<Vec<u8>, TemplateFault> {
        let template = self.environment.get_template(NAME).map_err(|error| fault(&error, &self.source))?;
        let mut text = Capped(Vec::new());
        let rendered = template.render_captured_to(input, &mut text);
        rendered.map_err(|error| fault(&error, &self.source))?;
        match self.form {
            Form::Xml => Ok(text.0),
            Form::Json => match json::parse(&text.0, Rules::AGENCY) {
                Ok(value) => Ok(value.to_string().into_bytes()),
                Err(error) => Err(TemplateFault { line: 0, problem: format!("what it makes: {error}{}", self.hint()) }),
            },
        }
    }
}

impl std::fmt::Debug for Template {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Template").field("form", &self.form).finish_non_exhaustive()
    }
}

fn is_absent(value: &Value) -> bool {
    value.is_undefined() || value.is_none()
}

/// Escaped so that it is right in an element as well as in an attribute.
fn print_xml(out: &mut Output, _: &mut State, value: &Value) -> Result<(), Error> {
    if value.is_safe() {
        // Only blocks and macros of the template itself are safe here, and their values were escaped one by one.
        return out.write_str(value.as_str().unwrap_or_default()).map_err(Error::from);
    }
    let text = match value.kind() {
        _ if value.is_undefined() => return Err(unprintable(Unprintable::Undefined)),
        _ if value.is_none() => return Err(unprintable(Unprintable::Null)),
        minijinja::value::ValueKind::String | minijinja::value::ValueKind::Number => value.to_string(),
        minijinja::value::ValueKind::Bool => value.is_true().to_string(),
        _ => return Err(unprintable(Unprintable::Compound)),
    };
    match xml::attribute(&text) {
        Ok(escaped) => out.write_str(&escaped).map_err(Error::from),
        Err(character) => Err(unprintable(Unprintable::Character(character))),
    }
}

/// Each value is printed as one JSON value, a text with its quotes.
fn print_json(out: &mut Output, _: &mut State, value: &Value) -> Result<(), Error> {
    if value.is_undefined() {
        return Err(unprintable(Unprintable::Undefined));
    }
    let json = serde_json::to_string(value).map_err(|_| unprintable(Unprintable::NotJson))?;
    out.write_str(&json).map_err(Error::from)
}

fn unprintable(why: Unprintable) -> Error {
    Error::new(ErrorKind::InvalidOperation, "").with_source(why)
}

/// The engine's own details may quote values, so only its kind of error is told, and the template's line.
fn fault(error: &Error, source: &str) -> TemplateFault {
    let own = std::error::Error::source(error).and_then(|cause| cause.downcast_ref::<Unprintable>());
    let problem = match (own, error.kind(), error.detail()) {
        (Some(own), ..) => own.to_string(),
        (None, ErrorKind::SyntaxError | ErrorKind::UnknownFilter | ErrorKind::UnknownFunction, Some(detail)) => {
            detail.to_owned()
        }
        (None, kind, _) => kind.to_string(),
    };
    let line = error.line().unwrap_or(0);
    let place = line.checked_sub(1).and_then(|index| source.lines().nth(index)).map_or("", str::trim);
    let place: String = place.chars().take(100).collect();
    let problem = if place.is_empty() { problem } else { format!("{problem}: `{place}`") };
    TemplateFault { line: line.try_into().unwrap_or(u32::MAX), problem }
}

struct Capped(Vec<u8>);

impl io::Write for Capped {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > MAX_OUTPUT_BYTES {
            return Err(io::Error::other("the output is too large"));
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value as Json, json};

    fn render(form: Form, source: &str, input: Json) -> Result<String, TemplateFault> {
        let template = Template::compile(source.to_owned(), form)?;
        template.render(&input).map(|bytes| String::from_utf8(bytes).unwrap())
    }

    fn xml(source: &str, input: Json) -> Result<String, TemplateFault> {
        render(Form::Xml, source, input)
    }

    #[test]
    fn no_value_becomes_markup_in_elements_attributes_or_sections() {
        let attacks =
            ["</x><evil/>", "]]><evil/>", "\" evil=\"1", "' evil='1", "&amp;<!--", "a\r\n\tb", "{{ data }}", "&#x0;"];
        for attack in attacks {
            let text = xml("<x a=\"{{ v }}\" b='{{ v }}'>{{ v }}</x>", json!({"v": attack})).unwrap();
            let document = roxmltree::Document::parse(&text).unwrap();
            let root = document.root_element();
            assert_eq!((root.attributes().len(), root.children().filter(|node| node.is_element()).count()), (2, 0));
            assert_eq!(root.attribute("a"), Some(attack), "{text}");
            assert_eq!(root.text(), Some(attack), "{text}");
            let section = xml("<x><![CDATA[{{ v }}]]></x>", json!({"v": attack})).unwrap();
            assert_eq!(
                roxmltree::Document::parse(&section).unwrap().descendants().filter(|n| n.is_element()).count(),
                1
            );
        }
    }

    #[test]
    fn filters_blocks_and_macros_cannot_smuggle_markup() {
        let input = json!({"v": "<e a=\"1\">&", "l": ["<a>", "\"b"]});
        for source in [
            "<x a=\"{{ v|upper }}\"/>",
            "<x a=\"{{ v|replace('1', '\"') }}\"/>",
            "<x a=\"{{ l|join('\"<') }}\"/>",
            "<x a=\"{{ v|indent(2) }}{{ v|list|join }}{{ v ~ v }}{{ '%s'|format(v) }}{{ v|trim|first }}\"/>",
            "<x a=\"{% set b %}{{ v }}{% endset %}{{ b }}{{ b|replace('&', '<') }}\"/>",
            "{% macro m(w) %}<x a=\"{{ w }}\"/>{% endmacro %}{{ m(v) }}",
            "<x a=\"{{ v|reverse }}{{ v|title }}{{ v|string }}{{ v[0] }}{{ v|default('x') }}\"/>",
        ] {
            let text = xml(source, input.clone()).unwrap_or_else(|fault| panic!("{source}: {fault}"));
            let Ok(document) = roxmltree::Document::parse(&text) else { continue };
            assert_eq!(document.descendants().filter(|node| node.is_element()).count(), 1, "{text}");
            assert_eq!(document.root_element().attributes().len(), 1, "{text}");
        }
        for refused in
            ["{{ v|safe }}", "{{ v|e }}", "{{ v|tojson }}", "{% autoescape false %}{{ v }}{% endautoescape %}"]
        {
            assert!(xml(refused, input.clone()).is_err(), "{refused}");
        }
    }

    #[test]
    fn characters_that_xml_cannot_carry_are_refused_without_being_quoted() {
        let fault = xml("<x>\n{{ v }}</x>", json!({"v": "canary\u{1}"})).unwrap_err();
        assert_eq!(fault.line, 2);
        assert!(!fault.problem.contains("canary") && fault.problem.contains("U+0001"), "{fault}");
    }

    #[test]
    fn what_is_missing_or_null_or_no_text_is_an_error_unless_the_template_says_that_it_may_be() {
        let input = json!({"n": null, "l": [1], "t": true, "i": 7, "f": 1.5});
        for source in [
            "{{ n }}",
            "{{ gone }}",
            "{{ l }}",
            "{{ n.m }}",
            "{% if gone %}{% endif %}",
            "{% for a in gone %}{% endfor %}",
        ] {
            assert!(xml(source, input.clone()).is_err(), "{source}");
        }
        assert_eq!(xml("{{ n|opt }}{{ gone|opt }}|{{ t }}|{{ i }}|{{ f }}", input).unwrap(), "|true|7|1.5");
    }

    #[test]
    fn a_template_that_never_ends_or_grows_is_stopped() {
        for source in [
            "{% for a in range(99999) %}{% for b in range(99999) %}x{% endfor %}{% endfor %}",
            "{{ 'x' * 3000000000 }}",
            "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
            "{% include 'request' %}",
            "{% include '/etc/passwd' %}",
        ] {
            assert!(xml(source, json!({})).is_err(), "{source}");
        }
        let big = json!({"v": "x".repeat(1 << 20)});
        assert!(xml("{% for a in range(100) %}{{ v }}{% endfor %}", big).is_err());
    }

    #[test]
    fn json_values_print_with_their_quotes_and_the_whole_is_one_value() {
        let input = json!({"v": "a\"b</x>\u{1}", "n": null, "o": {"k": [1, 2.5]}});
        let text = render(
            Form::Json,
            "{\"v\": {{ v }}, \"n\": {{ n }}, \"o\": {{ o }}, \"g\": {{ gone|opt }}}",
            input.clone(),
        );
        let expected = json!({"v": input["v"], "n": null, "o": input["o"], "g": null});
        assert_eq!(serde_json::from_str::<Json>(&text.unwrap()).unwrap(), expected);
        for bad in ["{\"v\": \"{{ v }}\"}", "{\"v\": {{ v }}", "{\"a\": 1, \"a\": 2}", "", "{\"v\": {{ gone }}}"] {
            let fault = render(Form::Json, bad, input.clone()).unwrap_err();
            assert!(!fault.problem.contains("a\"b"), "{fault}");
        }
    }

    #[test]
    fn quotes_around_a_value_of_json_are_told_with_what_to_write() {
        let template = Template::compile("{\"a\": \"{{ a }}\"}".into(), Form::Json).unwrap();
        let fault = template.render(&serde_json::json!({"a": "b"})).unwrap_err().to_string();
        assert!(fault.contains("write {{ a }} without quotes around it"), "{fault}");
        assert!(template.render(&serde_json::json!({"a": 1})).is_ok(), "a number in quotes is a text");
    }

    #[test]
    fn a_fault_names_the_line_and_quotes_the_template_only() {
        let fault = xml("<x>\n  {{ v + 1 }}</x>", json!({"v": "canary"})).unwrap_err();
        assert_eq!(fault.line, 2);
        assert!(fault.problem.contains("{{ v + 1 }}") && !fault.problem.contains("canary"), "{fault}");
        assert_eq!(Template::compile("<x>\n{% if %}".into(), Form::Xml).unwrap_err().line, 2);
    }
}
