//! Texts that mean something to a machine further on.
