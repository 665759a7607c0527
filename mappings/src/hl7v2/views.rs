//! Borrowed views of a message: segments, fields, repetitions, components, sub-components. Cheap to make and to copy;
//! each knows where it stands, and none of them ever fails: what is not there is a view of nothing.

use std::borrow::Cow;
use std::fmt;

use clinic::exchange::Place;

use super::escape::unescape;
use super::normalise::{Delimiters, Dialect};

/// What a sender says of one value (HL7 v2.5.1 §2.5.3.8): nothing, that it is to be deleted, or what it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value<T> {
    /// Empty or not there: no statement.
    Absent,
    /// `""`: the sender deletes it.
    Null,
    /// What stands there.
    Present(T),
}

impl<T> Value<T> {
    /// What stands there, if anything does.
    pub fn present(self) -> Option<T> {
        match self {
            Value::Present(value) => Some(value),
            Value::Absent | Value::Null => None,
        }
    }

    /// True for `""`.
    pub fn is_null(&self) -> bool {
        matches!(self, Value::Null)
    }

    /// True where the sender says nothing.
    pub fn is_absent(&self) -> bool {
        matches!(self, Value::Absent)
    }

    /// The same with the value turned into another.
    pub fn map<U>(self, turn: impl FnOnce(T) -> U) -> Value<U> {
        match self {
            Value::Absent => Value::Absent,
            Value::Null => Value::Null,
            Value::Present(value) => Value::Present(turn(value)),
        }
    }
}

/// Where a view stands; 0 where a level is not named.
#[derive(Clone, Copy)]
struct Spot<'a> {
    name: &'a str,
    occurrence: u32,
    field: usize,
    repetition: usize,
    component: usize,
    subcomponent: usize,
}

impl Spot<'_> {
    fn place(&self) -> Place {
        Place(self.to_string())
    }
}

impl fmt::Display for Spot<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)?;
        if self.occurrence > 1 {
            write!(f, "[{}]", self.occurrence)?;
        }
        if self.field > 0 {
            write!(f, "-{}", self.field)?;
        }
        if self.repetition > 1 {
            write!(f, "[{}]", self.repetition)?;
        }
        if self.component > 0 {
            write!(f, ".{}", self.component)?;
        }
        if self.subcomponent > 0 {
            write!(f, ".{}", self.subcomponent)?;
        }
        Ok(())
    }
}

/// One segment.
#[derive(Clone, Copy)]
pub struct Segment<'a> {
    pub(super) text: &'a str,
    pub(super) start: u32,
    pub(super) end: u32,
    pub(super) separators: &'a [u32],
    pub(super) occurrence: u32,
    pub(super) position: usize,
    pub(super) dialect: Dialect,
}

impl<'a> Segment<'a> {
    /// Its name, three characters.
    pub fn name(&self) -> &'a str {
        self.raw().get(..3).unwrap_or("")
    }

    /// Its number among the segments of this name, from 1.
    pub fn occurrence(&self) -> u32 {
        self.occurrence
    }

    /// Its position among all segments, from 0.
    pub fn position(&self) -> usize {
        self.position
    }

    /// The whole segment as it stands in the text, without its end.
    pub fn raw(&self) -> &'a str {
        self.text
            .get(self.start as usize..self.end as usize)
            .unwrap_or("")
    }

    /// True for MSH, FHS and BHS, whose first field is the separator itself.
    fn is_header(&self) -> bool {
        matches!(self.name(), "MSH" | "FHS" | "BHS")
    }

    /// How many fields there are; trailing empty ones count.
    pub fn field_count(&self) -> usize {
        self.separators.len() + usize::from(self.is_header())
    }

    /// A field by its number, from 1. One that is not there is a view of nothing.
    pub fn field(&self, number: usize) -> Field<'a> {
        let spot = Spot {
            name: self.name(),
            occurrence: self.occurrence,
            field: number,
            repetition: 0,
            component: 0,
            subcomponent: 0,
        };
        let mut dialect = self.dialect;
        let header = self.is_header();
        if header && number <= 2 {
            // MSH-1 and MSH-2 name the delimiters; nothing in them delimits or escapes.
            dialect.delimiters = Delimiters {
                component: None,
                repetition: None,
                escape: None,
                subcomponent: None,
                truncation: None,
                ..dialect.delimiters
            };
        }
        let raw = match number {
            0 => None,
            1 if header => self
                .separators
                .first()
                .and_then(|&at| self.text.get(at as usize..at as usize + 1)),
            _ => {
                let index = number - 1 - usize::from(header);
                self.separators.get(index).and_then(|&at| {
                    let end = self.separators.get(index + 1).copied().unwrap_or(self.end);
                    self.text.get(at as usize + 1..end as usize)
                })
            }
        };
        Field { spot, raw, dialect }
    }

    /// All fields from the first.
    pub fn fields(&self) -> impl Iterator<Item = Field<'a>> + use<'a> {
        let segment = *self;
        (1..=segment.field_count()).map(move |number| segment.field(number))
    }

    /// Where it stands: `OBX[2]`.
    pub fn place(&self) -> Place {
        Spot {
            name: self.name(),
            occurrence: self.occurrence,
            field: 0,
            repetition: 0,
            component: 0,
            subcomponent: 0,
        }
        .place()
    }
}

impl fmt::Debug for Segment<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}=•••", self.place())
    }
}

/// What all views below the segment share.
macro_rules! view {
    ($(#[$doc:meta])* $name:ident, $($below:ident),*) => {
        $(#[$doc])*
        #[derive(Clone, Copy)]
        pub struct $name<'a> {
            spot: Spot<'a>,
            raw: Option<&'a str>,
            dialect: Dialect,
        }

        impl<'a> $name<'a> {
            /// What stands there, as it stands there; nothing where the message ends before it.
            pub fn raw(&self) -> Option<&'a str> {
                self.raw
            }

            /// The text that stands there with its escapes undone, and nothing for empty and `""`. Delimiters of
            /// lower levels stay in it, so that a plain text in which somebody forgot to escape one keeps it.
            pub fn text(&self) -> Cow<'a, str> {
                match self.raw {
                    None | Some("\"\"") => Cow::Borrowed(""),
                    Some(raw) => unescape(raw, &self.dialect),
                }
            }

            /// Nothing, `""`, or the text. Nothing but delimiters of lower levels counts as nothing.
            pub fn value(&self) -> Value<Cow<'a, str>> {
                match self.raw {
                    _ if self.is_empty() => Value::Absent,
                    Some("\"\"") => Value::Null,
                    _ => Value::Present(self.text()),
                }
            }

            /// The text, if the sender gives one.
            pub fn present(&self) -> Option<Cow<'a, str>> {
                self.value().present()
            }

            /// True where nothing stands but delimiters of lower levels.
            pub fn is_empty(&self) -> bool {
                let below: &[Option<u8>] = &[$(self.dialect.delimiters.$below),*];
                self.raw.unwrap_or("").bytes().all(|byte| below.contains(&Some(byte)))
            }

            /// True for `""`.
            pub fn is_null(&self) -> bool {
                self.raw == Some("\"\"")
            }

            /// Where it stands.
            pub fn place(&self) -> Place {
                self.spot.place()
            }

            /// Delimiters and charset.
            pub fn dialect(&self) -> Dialect {
                self.dialect
            }
        }

        impl fmt::Debug for $name<'_> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}=•••", self.spot)
            }
        }
    };
}

view!(
    /// One field: `PID-3`, with all its repetitions.
    Field,
    repetition,
    component,
    subcomponent
);
view!(
    /// One repetition of a field: `PID-3[2]`.
    Repetition,
    component,
    subcomponent
);
view!(
    /// One component: `PID-3.1`.
    Component,
    subcomponent
);
view!(
    /// One sub-component: `PID-3.4.2`.
    SubComponent,
);

impl<'a> Field<'a> {
    /// Its number, from 1.
    pub fn number(&self) -> usize {
        self.spot.field
    }

    /// Its repetitions in order; none where the field is empty, and empty ones between others count.
    pub fn repetitions(&self) -> impl Iterator<Item = Repetition<'a>> + use<'a> {
        let Field { spot, raw, dialect } = *self;
        let raw = raw.filter(|raw| !raw.is_empty());
        pieces(raw, dialect.delimiters.repetition)
            .enumerate()
            .map(move |(index, raw)| Repetition {
                spot: Spot {
                    repetition: index + 1,
                    ..spot
                },
                raw: Some(raw),
                dialect,
            })
    }

    /// A repetition by its number, from 1.
    pub fn repetition(&self, number: usize) -> Repetition<'a> {
        let Field { spot, raw, dialect } = *self;
        let raw = piece(raw, dialect.delimiters.repetition, number);
        Repetition {
            spot: Spot {
                repetition: number,
                ..spot
            },
            raw,
            dialect,
        }
    }

    /// A component of the first repetition, from 1.
    pub fn component(&self, number: usize) -> Component<'a> {
        self.repetition(1).component(number)
    }

    /// The components of the first repetition.
    pub fn components(&self) -> impl Iterator<Item = Component<'a>> + use<'a> {
        self.repetition(1).components()
    }
}

impl<'a> Repetition<'a> {
    /// Its number, from 1.
    pub fn number(&self) -> usize {
        self.spot.repetition
    }

    /// A component by its number, from 1.
    pub fn component(&self, number: usize) -> Component<'a> {
        let Repetition { spot, raw, dialect } = *self;
        let raw = piece(raw, dialect.delimiters.component, number);
        Component {
            spot: Spot {
                component: number,
                ..spot
            },
            raw,
            dialect,
        }
    }

    /// Its components in order.
    pub fn components(&self) -> impl Iterator<Item = Component<'a>> + use<'a> {
        let Repetition { spot, raw, dialect } = *self;
        pieces(raw, dialect.delimiters.component)
            .enumerate()
            .map(move |(index, raw)| Component {
                spot: Spot {
                    component: index + 1,
                    ..spot
                },
                raw: Some(raw),
                dialect,
            })
    }
}

impl<'a> Component<'a> {
    /// Its number, from 1.
    pub fn number(&self) -> usize {
        self.spot.component
    }

    /// A sub-component by its number, from 1.
    pub fn subcomponent(&self, number: usize) -> SubComponent<'a> {
        let Component { spot, raw, dialect } = *self;
        let raw = piece(raw, dialect.delimiters.subcomponent, number);
        SubComponent {
            spot: Spot {
                subcomponent: number,
                ..spot
            },
            raw,
            dialect,
        }
    }

    /// Its sub-components in order.
    pub fn subcomponents(&self) -> impl Iterator<Item = SubComponent<'a>> + use<'a> {
        let Component { spot, raw, dialect } = *self;
        pieces(raw, dialect.delimiters.subcomponent)
            .enumerate()
            .map(move |(index, raw)| SubComponent {
                spot: Spot {
                    subcomponent: index + 1,
                    ..spot
                },
                raw: Some(raw),
                dialect,
            })
    }
}

impl SubComponent<'_> {
    /// Its number, from 1.
    pub fn number(&self) -> usize {
        self.spot.subcomponent
    }
}

/// The pieces between a delimiter; where the message declares none there is one piece.
fn pieces(raw: Option<&str>, delimiter: Option<u8>) -> impl Iterator<Item = &str> {
    let mut rest = raw;
    std::iter::from_fn(move || {
        let text = rest?;
        match delimiter.and_then(|delimiter| first(delimiter, text.as_bytes())) {
            Some(at) => {
                rest = Some(&text[at + 1..]);
                Some(&text[..at])
            }
            None => rest.take(),
        }
    })
}

/// Where a byte stands first. Most texts are a few bytes long, where a plain loop is done before a search has begun.
fn first(wanted: u8, bytes: &[u8]) -> Option<usize> {
    const SHORT: usize = 32;
    let (begins, rest) = bytes.split_at(bytes.len().min(SHORT));
    let found = begins.iter().position(|byte| *byte == wanted);
    found.or_else(|| memchr::memchr(wanted, rest).map(|at| at + SHORT))
}

fn piece(raw: Option<&str>, delimiter: Option<u8>, number: usize) -> Option<&str> {
    pieces(raw, delimiter).nth(number.checked_sub(1)?)
}
