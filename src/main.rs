//! The door: the command line comes in, an exit code goes out.

fn main() {}
