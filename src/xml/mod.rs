//! XML: text comes in; a guarded tree, a canonical form or escaped text goes out. No I/O, no network.

mod canonical;
mod escape;
mod guard;

pub use canonical::{Planned, Sink, canonicalize, canonicalize_planned};
pub use escape::{ForbiddenCharacter, attribute, is_xml_char, text};
pub use guard::{XmlRefusal, declared, decode, parse};
