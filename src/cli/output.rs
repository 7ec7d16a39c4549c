//! What a subcommand has to say comes in and goes to standard output, line by line; a reader that has gone away
//! (`| head -1`) ends nothing halfway and is no failure.

use crate::{domain::is_invisible, settings::Effective};
use serde::Serialize;
use std::{
    borrow::Cow,
    fmt::{self, Display},
    io::{self, ErrorKind, Write},
    sync::atomic::{AtomicBool, Ordering},
};

static HAS_FAILED: AtomicBool = AtomicBool::new(false);

/// How a command prints its result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Lines for people.
    Text,
    /// One JSON value a line.
    Json,
}

impl Format {
    /// As the flag `--json` asks for it.
    pub fn from_flag(json: bool) -> Self {
        if json { Self::Json } else { Self::Text }
    }
}

/// What is meant for people. JSON is not: it has characters of its own to escape, and goes through [`json`].
pub trait Text: Display {}

impl Text for str {}
impl Text for String {}
impl Text for fmt::Arguments<'_> {}
impl Text for Cow<'_, str> {}
impl Text for Effective {}
impl<T: Text + ?Sized> Text for &T {}

/// `println!` panics when nobody reads any more.
pub fn line(text: impl Text) {
    note(writeln!(io::stdout().lock(), "{}", harmless(&text.to_string())));
}

/// One value a line. Inside of JSON, characters are escaped in JSON's own way.
pub fn json(value: &impl Serialize) {
    note(writeln!(io::stdout().lock(), "{}", escaped(&serde_json::to_string(value).unwrap_or_default())));
}

fn escaped(json: &str) -> String {
    json.chars().fold(String::with_capacity(json.len()), |mut escaped, character| {
        match is_invisible(character) {
            true => escaped.extend(format!("\\u{:04x}", u32::from(character)).chars()),
            false => escaped.push(character),
        }
        escaped
    })
}

/// What an agency or an office has written may hold commands to a terminal: they are shown, not obeyed.
fn harmless(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '\n' | '\t' => shown.push(character),
            // Messages of HTTP end their lines so.
            '\r' if characters.peek() == Some(&'\n') => shown.push(character),
            _ if is_invisible(character) => shown.extend(character.escape_default()),
            _ => shown.push(character),
        }
    }
    shown
}

/// The same for what is no result: it goes to standard error, which may be closed too.
pub fn aside(text: impl Display) {
    let _ = writeln!(io::stderr().lock(), "{}", harmless(&text.to_string()));
}

/// Whether something that was said did not arrive although somebody listens: a full disk, for example.
pub fn has_failed() -> bool {
    note(io::stdout().lock().flush());
    HAS_FAILED.load(Ordering::Relaxed)
}

fn note(written: io::Result<()>) {
    match written {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            if !HAS_FAILED.swap(true, Ordering::Relaxed) {
                aside(format_args!("punte: standard output: {error}"));
            }
        }
        Ok(()) | Err(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_to_a_terminal_are_shown_and_not_obeyed() {
        assert_eq!(harmless("a\u{1b}[2J\r\u{9b}31m\u{7}b"), "a\\u{1b}[2J\\r\\u{9b}31m\\u{7}b");
        assert_eq!(harmless("\u{202e}fdp.exe"), "\\u{202e}fdp.exe");
        assert_eq!(harmless("a\u{200f}b\u{2028}c"), "a\\u{200f}b\\u{2028}c");
        let said = escaped(&serde_json::to_string("a\u{1b}\u{202e}\u{9b}\u{7f}\"ă").unwrap());
        assert_eq!(said, "\"a\\u001b\\u202e\\u009b\\u007f\\\"ă\"");
        assert_eq!(serde_json::from_str::<String>(&said).unwrap(), "a\u{1b}\u{202e}\u{9b}\u{7f}\"ă");
        assert_eq!(harmless("Căușeni\r\n\tОпштина"), "Căușeni\r\n\tОпштина");
    }
}
