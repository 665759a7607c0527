//! Paths: what each format writes in its own way, taken apart.

/// One step of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// A member of an object, a column by its name.
    Name(String),
    /// An entry of a list, from 0.
    Nth(usize),
    /// Every entry of a list.
    Each,
    /// A column by its place, from 0.
    Column(usize),
    /// A child element by its name (`*`: any), and which of them, from 1.
    Child {
        /// Compared without its prefix.
        name: String,
        /// None: all of them.
        nth: Option<usize>,
    },
    /// An attribute.
    Attribute(String),
    /// The text of an element.
    Text,
}

/// A way to values.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Path {
    /// True where it begins at the document, not at the record that it is used in.
    pub from_root: bool,
    /// The steps.
    pub steps: Vec<Step>,
}

/// A name without its prefix.
pub(super) fn local(name: &str) -> &str {
    name.rsplit(':').next().unwrap_or(name)
}
