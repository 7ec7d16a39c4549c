//! Sources: an error comes in, all that is inside it goes out.

use std::{error::Error, io};

/// The error and all that is inside it. What an I/O error was made of is no `source` of it.
pub fn sources<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    // Errors' chains are short; the bound only keeps a wrong implementation of `source` from looping.
    std::iter::successors(Some(error), |&error| {
        let inside = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        inside.map_or_else(|| error.source(), |inner| Some(inner as &(dyn Error + 'static)))
    })
    .take(32)
}
