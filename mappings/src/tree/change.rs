//! What can be done to one value of a document, whatever its format.

/// What to do at a path.
#[derive(Clone, PartialEq, Eq)]
pub enum Change {
    /// Write this text there; what is missing on the way is made.
    Assign(String),
    /// Say that there is nothing: JSON `null`, XML and CSV an empty value.
    Clear,
    /// Write there what stands first at another path; nothing there clears it.
    Copy(String),
    /// Take it out.
    Remove,
}

impl std::fmt::Debug for Change {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Change::Assign(_) => f.write_str("assign •••"),
            Change::Clear => f.write_str("clear"),
            Change::Copy(from) => write!(f, "copy {from}"),
            Change::Remove => f.write_str("remove"),
        }
    }
}
