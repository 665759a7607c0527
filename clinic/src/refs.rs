//! Walking over the references that a value contains, so that `Local` ones can be made `Id` and merged ones followed.

use crate::patch::{Items, Patch};
use crate::value::{Annotation, Ref};

/// A value that may contain references.
pub trait Refs {
    /// Shows each reference.
    fn refs(&self, visit: &mut dyn FnMut(&Ref));
    /// Shows each reference, to be changed.
    fn refs_mut(&mut self, visit: &mut dyn FnMut(&mut Ref));
}

impl Refs for Ref {
    fn refs(&self, visit: &mut dyn FnMut(&Ref)) {
        visit(self);
    }
    fn refs_mut(&mut self, visit: &mut dyn FnMut(&mut Ref)) {
        visit(self);
    }
}

impl<T: Refs> Refs for Option<T> {
    fn refs(&self, visit: &mut dyn FnMut(&Ref)) {
        if let Some(value) = self {
            value.refs(visit);
        }
    }
    fn refs_mut(&mut self, visit: &mut dyn FnMut(&mut Ref)) {
        if let Some(value) = self {
            value.refs_mut(visit);
        }
    }
}

impl<T: Refs> Refs for Vec<T> {
    fn refs(&self, visit: &mut dyn FnMut(&Ref)) {
        self.iter().for_each(|value| value.refs(visit));
    }
    fn refs_mut(&mut self, visit: &mut dyn FnMut(&mut Ref)) {
        self.iter_mut().for_each(|value| value.refs_mut(visit));
    }
}

impl<T: Refs> Refs for Patch<T> {
    fn refs(&self, visit: &mut dyn FnMut(&Ref)) {
        if let Patch::Set(value) = self {
            value.refs(visit);
        }
    }
    fn refs_mut(&mut self, visit: &mut dyn FnMut(&mut Ref)) {
        if let Patch::Set(value) = self {
            value.refs_mut(visit);
        }
    }
}

impl<T: Refs> Refs for Items<T> {
    fn refs(&self, visit: &mut dyn FnMut(&Ref)) {
        self.values().iter().for_each(|value| value.refs(visit));
    }
    fn refs_mut(&mut self, visit: &mut dyn FnMut(&mut Ref)) {
        match self {
            Items::Replace(values) | Items::Merge(values) => values.refs_mut(visit),
            Items::Absent | Items::Clear => {}
        }
    }
}

impl Refs for Annotation {
    fn refs(&self, visit: &mut dyn FnMut(&Ref)) {
        self.author.refs(visit);
    }
    fn refs_mut(&mut self, visit: &mut dyn FnMut(&mut Ref)) {
        self.author.refs_mut(visit);
    }
}

/// Structs with some fields that hold references.
macro_rules! refs_in {
    ($($name:ty { $($field:ident),* }),* $(,)?) => { $(impl $crate::refs::Refs for $name {
        fn refs(&self, visit: &mut dyn FnMut(&$crate::value::Ref)) { $($crate::refs::Refs::refs(&self.$field, visit);)* let _ = visit; }
        fn refs_mut(&mut self, visit: &mut dyn FnMut(&mut $crate::value::Ref)) { $($crate::refs::Refs::refs_mut(&mut self.$field, visit);)* let _ = visit; }
    })* };
}
pub(crate) use refs_in;

/// Types without references.
macro_rules! no_refs {
    ($($name:ty),* $(,)?) => { $(impl $crate::refs::Refs for $name {
        fn refs(&self, _: &mut dyn FnMut(&$crate::value::Ref)) {}
        fn refs_mut(&mut self, _: &mut dyn FnMut(&mut $crate::value::Ref)) {}
    })* };
}
pub(crate) use no_refs;

use crate::value as v;
no_refs!(
    bool,
    u32,
    i64,
    String,
    v::Decimal,
    v::When,
    v::Period,
    v::Coding,
    v::Concept,
    v::Identifier,
    v::PersonName,
    v::Address,
    v::Telecom,
    v::Language,
    v::Quantity,
    v::Range,
    v::Ratio,
    v::Attachment,
    v::Timing,
);
