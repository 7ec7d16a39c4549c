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
    note(writeln!(io::stdout().lock(), "{text}"));
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
