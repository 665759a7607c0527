//! XML 1.0: read strictly and without a document type, found by paths, changed in place.
//!
//! **Paths**: `/order/item[2]/name`, `/order/@id`. Elements and attributes are found by their names without prefix,
//! whatever the namespace; `*` is any element; `[2]` is the second of that name, without it each counts. `text()` at the
//! end is the text of an element, which it has without that too. A path without `/` at its start begins at the record
//! of a mapping, elsewhere at the document as well.
//!
//! **Read**: the charset that the byte order mark or the declaration says, else that of the channel, else UTF-8. Refused,
//! with line and column: a document type (and with it every entity beyond the five of XML), an attribute that stands
//! twice, tags that do not match, text after the end, more than 128 levels.

mod path;
mod read;
mod set;
mod tree;

pub use path::path;
pub use read::{is_name, read};
pub use set::{escaped, set};
pub use tree::{tree, with_tree};
