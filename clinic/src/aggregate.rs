//! What all aggregates have in common, and the macro that makes an aggregate and its change out of one list of fields.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::held::Held;

/// Who or what made a version of an aggregate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// A message that came through a channel.
    Message {
        /// The channel.
        channel: String,
        /// The message.
        message: Uuid,
    },
    /// A person or a key.
    Actor {
        /// Which.
        name: String,
        /// The message by which it came (the write door), where there is one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        message: Option<Uuid>,
    },
}

impl Source {
    /// The message that it was done by; none: a person did it by no message.
    pub fn message(&self) -> Option<Uuid> {
        match self {
            Source::Message { message, .. } => Some(*message),
            Source::Actor { message, .. } => *message,
        }
    }
}

/// What every aggregate carries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Meta {
    /// UUIDv7; stays for ever, also after a merge.
    pub id: Uuid,
    /// The site that it belongs to, where it belongs to one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub site: Option<String>,
    /// 1 at first, +1 with each write.
    pub version: u64,
    /// When the first version was written.
    #[schemars(with = "String")]
    pub created_at: Timestamp,
    /// When this version was written.
    #[schemars(with = "String")]
    pub updated_at: Timestamp,
    /// Who made this version.
    pub source: Source,
    /// Which of its values a person wrote.
    #[serde(default, skip_serializing_if = "Held::is_empty")]
    pub held: Held,
}

impl Meta {
    /// Of what is known by hearsay only: the first version, made now by nobody.
    pub(crate) fn told(id: Uuid, now: Timestamp) -> Self {
        Meta {
            id,
            site: None,
            version: 1,
            created_at: now,
            updated_at: now,
            source: Source::Actor {
                name: String::new(),
                message: None,
            },
            held: Held::default(),
        }
    }
}

/// Declares an aggregate and its change. Fields are `Option<…>` or `Vec<…>`, so that each can be absent, clear or set.
macro_rules! aggregate {
    ($(#[$meta:meta])* $name:ident, $change:ident { $($(#[$fmeta:meta])* $field:ident : $outer:ident<$ty:ty>),* $(,)? }) => {
        $(#[$meta])*
        #[derive(Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
        #[serde(default, deny_unknown_fields)]
        pub struct $name {
            /// What others call it.
            #[serde(skip_serializing_if = "Vec::is_empty")]
            pub identifiers: Vec<$crate::value::Identifier>,
            $($(#[$fmeta])* #[serde(skip_serializing_if = "crate::aggregate::Empty::empty")] pub $field: $outer<$ty>,)*
        }

        #[doc = concat!("What is said about a [`", stringify!($name), "`].")]
        #[derive(Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
        #[serde(default, deny_unknown_fields)]
        pub struct $change {
            /// What others call it; also what it is found by.
            #[serde(skip_serializing_if = "crate::patch::Items::is_absent")]
            pub identifiers: $crate::patch::Items<$crate::value::Identifier>,
            $($(#[$fmeta])* #[serde(skip_serializing_if = "crate::aggregate::Silent::silent")]
            pub $field: <$outer<$ty> as $crate::patch::Field>::Patch,)*
        }

        impl $change {
            /// Takes what is said into the aggregate; true where that changed something.
            pub fn apply_to(&self, aggregate: &mut $name) -> bool {
                use $crate::patch::Field;
                let mut changed = Field::take(&mut aggregate.identifiers, &self.identifiers);
                $(changed |= Field::take(&mut aggregate.$field, &self.$field);)*
                changed
            }

            /// The same of words that nobody else needs.
            pub(crate) fn go_into(self, aggregate: &mut $name) -> bool {
                use $crate::patch::Field;
                let mut changed = Field::take_in(&mut aggregate.identifiers, self.identifiers);
                $(changed |= Field::take_in(&mut aggregate.$field, self.$field);)*
                changed
            }

            /// Leaves out what gives way to what a person wrote; the names of the fields of which something is left out.
            pub(crate) fn yield_to(&mut self, aggregate: &$name, held: &$crate::held::Held) -> Vec<&'static str> {
                use $crate::held::Holdable;
                let mut kept = vec![];
                if let Some(left) = aggregate.identifiers.yielding(&self.identifiers, held.of("identifiers")) {
                    self.identifiers = left;
                    kept.push("identifiers");
                }
                $(
                    let field = stringify!($field);
                    let groups = held.of(field).unless_it_moves(field, &aggregate.$field);
                    if let Some(left) = aggregate.$field.yielding(&self.$field, groups) {
                        self.$field = left;
                        kept.push(field);
                    }
                )*
                kept
            }

            /// The names of the fields that something is said about.
            pub fn fields(&self) -> Vec<&'static str> {
                let mut fields = vec![];
                if !self.identifiers.is_absent() { fields.push("identifiers"); }
                $(if !$crate::aggregate::Silent::silent(&self.$field) { fields.push(stringify!($field)); })*
                fields
            }
        }

        impl $name {
            /// The fields in which the two differ, and the groups of their lists.
            pub(crate) fn differing(&self, other: &Self) -> Vec<(&'static str, Vec<String>)> {
                use $crate::held::Holdable;
                let mut out = vec![("identifiers", self.identifiers.differing(&other.identifiers))];
                $(out.push((stringify!($field), self.$field.differing(&other.$field)));)*
                out.retain(|(_, groups)| !groups.is_empty());
                out
            }
        }

        impl $crate::refs::Refs for $name {
            fn refs(&self, visit: &mut dyn FnMut(&$crate::value::Ref)) { $($crate::refs::Refs::refs(&self.$field, visit);)* }
            fn refs_mut(&mut self, visit: &mut dyn FnMut(&mut $crate::value::Ref)) { $($crate::refs::Refs::refs_mut(&mut self.$field, visit);)* }
            fn settle(&mut self, keep: &mut dyn FnMut(&mut $crate::value::Ref) -> bool) -> bool {
                $($crate::refs::Refs::settle(&mut self.$field, keep);)*
                true
            }
        }
        impl $crate::refs::Refs for $change {
            fn refs(&self, visit: &mut dyn FnMut(&$crate::value::Ref)) { $($crate::refs::Refs::refs(&self.$field, visit);)* }
            fn refs_mut(&mut self, visit: &mut dyn FnMut(&mut $crate::value::Ref)) { $($crate::refs::Refs::refs_mut(&mut self.$field, visit);)* }
            fn settle(&mut self, keep: &mut dyn FnMut(&mut $crate::value::Ref) -> bool) -> bool {
                $($crate::refs::Refs::settle(&mut self.$field, keep);)*
                true
            }
        }

        $crate::value::private!($name, $change);
    };
}
pub(crate) use aggregate;

/// For `skip_serializing_if`: an empty field is left out.
pub(crate) trait Empty {
    fn empty(&self) -> bool;
}
impl<T> Empty for Option<T> {
    fn empty(&self) -> bool {
        self.is_none()
    }
}
impl<T> Empty for Vec<T> {
    fn empty(&self) -> bool {
        self.is_empty()
    }
}

/// For `skip_serializing_if`: a field about which nothing is said is left out.
pub(crate) trait Silent {
    fn silent(&self) -> bool;
}
impl<T> Silent for crate::patch::Patch<T> {
    fn silent(&self) -> bool {
        self.is_absent()
    }
}
impl<T> Silent for crate::patch::Items<T> {
    fn silent(&self) -> bool {
        self.is_absent()
    }
}
