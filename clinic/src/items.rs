//! How the entries of lists are told apart when a message brings some of them anew (see [`crate::patch::Item`]).

use crate::patch::Item;
use crate::value::{
    Address, Annotation, Attachment, Coding, Concept, Identifier, Language, NameRepresentation, PersonName,
    Ref, Telecom,
};

impl Item for Identifier {
    /// Authority, kind and value: a second number is added, the same one is put right.
    fn group(&self) -> Option<String> {
        Some(format!("{:?}|{:?}|{}", self.system, self.kind_code(), self.value))
    }
}
impl Item for PersonName {
    /// The same name in other letters is another one.
    fn group(&self) -> Option<String> {
        let letters = self.representation.unwrap_or(NameRepresentation::Alphabetic);
        Some(format!("{:?}|{letters:?}", self.usage))
    }
}
impl Item for Address {
    fn group(&self) -> Option<String> {
        Some(format!("{:?}", self.usage))
    }
}
impl Item for Telecom {
    fn group(&self) -> Option<String> {
        Some(format!("{:?}|{:?}", self.system, self.usage))
    }
    fn says_none(&self) -> bool {
        self.value.is_none() && self.system.is_none() && self.parts.is_none()
    }
    /// All of its use.
    fn takes_out(&self, other: &Self) -> bool {
        self.usage == other.usage
    }
}
impl Item for Language {
    fn group(&self) -> Option<String> {
        Some(String::new())
    }
}
impl Item for Coding {
    fn group(&self) -> Option<String> {
        Some(String::new())
    }
}
impl Item for Concept {
    /// A list of concepts is said as a whole.
    fn group(&self) -> Option<String> {
        Some(String::new())
    }
}
impl Item for Annotation {
    /// Remarks are said as a whole.
    fn group(&self) -> Option<String> {
        Some(String::new())
    }
}
impl Item for Attachment {
    fn group(&self) -> Option<String> {
        Some(format!("{:?}|{:?}", self.title, self.content_type))
    }
}
impl Item for Ref {
    /// References are added.
    fn group(&self) -> Option<String> {
        None
    }
}
impl Item for String {
    fn group(&self) -> Option<String> {
        None
    }
}
