//! The punte program.
fn main() {}
