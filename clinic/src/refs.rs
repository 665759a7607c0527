//! Walking over the references that a value contains, so that `Local` ones can be made `Id` and merged ones followed.

use crate::patch::{Items, Patch};
use crate::value::{Annotation, Ref};

/// A value that may contain references.
pub trait Refs {
    /// Shows each reference.
    fn refs(&self, visit: &mut dyn FnMut(&Ref));
    /// Shows each reference, to be changed.
    fn refs_mut(&mut self, visit: &mut dyn FnMut(&mut Ref));
    /// Shows each reference, to be changed, and takes out those for which the answer is false: an optional one becomes
    /// none, an entry of a list is removed, a value that says nothing without it goes with it. False: this value has
    /// to go itself.
    fn settle(&mut self, keep: &mut dyn FnMut(&mut Ref) -> bool) -> bool;
}

impl Refs for Ref {
    fn refs(&self, visit: &mut dyn FnMut(&Ref)) {
        visit(self);
    }
    fn refs_mut(&mut self, visit: &mut dyn FnMut(&mut Ref)) {
        visit(self);
    }
    fn settle(&mut self, keep: &mut dyn FnMut(&mut Ref) -> bool) -> bool {
        keep(self)
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
    fn settle(&mut self, keep: &mut dyn FnMut(&mut Ref) -> bool) -> bool {
        if self.as_mut().is_some_and(|value| !value.settle(keep)) {
            *self = None;
        }
        true
    }
}

impl<T: Refs> Refs for Vec<T> {
    fn refs(&self, visit: &mut dyn FnMut(&Ref)) {
        self.iter().for_each(|value| value.refs(visit));
    }
    fn refs_mut(&mut self, visit: &mut dyn FnMut(&mut Ref)) {
        self.iter_mut().for_each(|value| value.refs_mut(visit));
    }
    fn settle(&mut self, keep: &mut dyn FnMut(&mut Ref) -> bool) -> bool {
        self.retain_mut(|value| value.settle(keep));
        true
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
    /// What is said with a reference that goes is not said at all.
    fn settle(&mut self, keep: &mut dyn FnMut(&mut Ref) -> bool) -> bool {
        if let Patch::Set(value) = self
            && !value.settle(keep)
        {
            *self = Patch::Absent;
        }
        true
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
    /// A list of which nothing stays is not said at all: it must not empty what is there.
    fn settle(&mut self, keep: &mut dyn FnMut(&mut Ref) -> bool) -> bool {
        match self {
            Items::Replace(values) | Items::Merge(values) => {
                let said = values.len();
                values.settle(keep);
                if said > 0 && values.is_empty() {
                    *self = Items::Absent;
                }
            }
            Items::Absent | Items::Clear => {}
        }
        true
    }
}

impl Refs for Annotation {
    fn refs(&self, visit: &mut dyn FnMut(&Ref)) {
        self.author.refs(visit);
    }
    fn refs_mut(&mut self, visit: &mut dyn FnMut(&mut Ref)) {
        self.author.refs_mut(visit);
    }
    fn settle(&mut self, keep: &mut dyn FnMut(&mut Ref) -> bool) -> bool {
        self.author.settle(keep)
    }
}

/// Structs with some fields that hold references; without a mandatory one the struct goes.
macro_rules! refs_in {
    ($($name:ty { $($field:ident),* }),* $(,)?) => { $(impl $crate::refs::Refs for $name {
        fn refs(&self, visit: &mut dyn FnMut(&$crate::value::Ref)) { $($crate::refs::Refs::refs(&self.$field, visit);)* let _ = visit; }
        fn refs_mut(&mut self, visit: &mut dyn FnMut(&mut $crate::value::Ref)) { $($crate::refs::Refs::refs_mut(&mut self.$field, visit);)* let _ = visit; }
        fn settle(&mut self, keep: &mut dyn FnMut(&mut $crate::value::Ref) -> bool) -> bool {
            let mut stays = true;
            $(stays &= $crate::refs::Refs::settle(&mut self.$field, keep);)*
            stays
        }
    })* };
}
pub(crate) use refs_in;

/// Types without references.
macro_rules! no_refs {
    ($($name:ty),* $(,)?) => { $(impl $crate::refs::Refs for $name {
        fn refs(&self, _: &mut dyn FnMut(&$crate::value::Ref)) {}
        fn refs_mut(&mut self, _: &mut dyn FnMut(&mut $crate::value::Ref)) {}
        fn settle(&mut self, _: &mut dyn FnMut(&mut $crate::value::Ref) -> bool) -> bool { true }
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
