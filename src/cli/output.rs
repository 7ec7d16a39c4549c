//! What a subcommand has to say comes in and goes to standard output, line by line; a reader that has gone away
//! (`| head -1`) ends nothing halfway and is no failure.

use std::{
    fmt::Display,
    io::{self, ErrorKind, Write},
    sync::atomic::{AtomicBool, Ordering},
};

static HAS_FAILED: AtomicBool = AtomicBool::new(false);

/// `println!` panics when nobody reads any more.
pub fn line(text: impl Display) {
    note(writeln!(io::stdout().lock(), "{}", harmless(&text.to_string())));
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
            _ if character.is_control() || is_direction(character) => shown.extend(character.escape_default()),
            _ => shown.push(character),
        }
    }
    shown
}

/// Marks that turn the direction of what follows (Unicode Standard Annex 9, section 2).
fn is_direction(character: char) -> bool {
    matches!(character, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// The same for what is no result: it goes to standard error, which may be closed too.
pub fn aside(text: impl Display) {
    let _ = writeln!(io::stderr().lock(), "{text}");
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
        assert_eq!(harmless("Căușeni\r\n\tОпштина"), "Căușeni\r\n\tОпштина");
    }
}
