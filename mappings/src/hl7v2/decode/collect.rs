//! Reading a message so that nothing of it is dropped in silence.
//!
//! [`Seg`] and [`At`] are views of the message that remember what was read through them: [`At::text`] and its kin
//! *take* a value, [`At::peek`] only looks. What nobody took is in [`clinic::ChangeSet::extra`] at the end, with its
//! place. So a mapper takes exactly what it carries, and a value that turns out to be malformed is simply not taken
//! and gets a [`At::note`].
//!
//! [`Collected`] gathers what the mappers make: changes under keys that are unique within the message.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};

use clinic::change_set::{Find, Merge, Natural};
use clinic::exchange::{Extra, MapError, Place, Reason};
use clinic::patch::{Items, Patch};
use clinic::value::{Identifier, Ref};
use clinic::{About, Body, Change, ChangeSet};
use jiff::tz::{Offset, TimeZone};

use super::Profile;
use crate::hl7v2::{Component, Field, Message, Repetition, Segment, SubComponent, Tree};

/// How many values without a place one message may have; more is an error, never a cut.
const MAX_EXTRA: usize = 100_000;

/// How many repetitions of one field are read; further ones stay for `extra`.
const MAX_REPETITIONS: usize = 1_000;

/// Segment position, field, repetition, component, sub-component; 0 where a level is not named.
type Path = [u32; 5];

/// What was taken of a message, and what is to be said of the rest.
pub struct Ledger<'m> {
    message: &'m Message,
    profile: &'m Profile,
    used: RefCell<Vec<Path>>,
    notes: RefCell<BTreeMap<Path, String>>,
    remarks: RefCell<Vec<Extra>>,
    assumed_zone: Cell<bool>,
    sender_offset: Option<Offset>,
    zone: TimeZone,
}

impl<'m> Ledger<'m> {
    /// Nothing is taken yet.
    pub fn new(message: &'m Message, profile: &'m Profile) -> Self {
        let sent = message.msh().field(7).component(1).text();
        Ledger {
            message,
            profile,
            used: RefCell::default(),
            notes: RefCell::default(),
            remarks: RefCell::default(),
            assumed_zone: Cell::new(false),
            sender_offset: super::times::named_offset(&sent),
            zone: super::times::zone_of_message(&sent, profile),
        }
    }

    /// The message.
    pub fn message(&self) -> &'m Message {
        self.message
    }

    fn noted(&self, path: Path) -> Option<String> {
        let notes = self.notes.borrow();
        prefixes(path).find_map(|prefix| notes.get(&prefix).cloned())
    }
}

/// Those of a list in order whose part at a level is this number. What stands before them is passed.
fn run<'a>(rest: &mut &'a [Path], level: usize, number: u32) -> &'a [Path] {
    let list = *rest;
    let first = list
        .iter()
        .position(|path| number <= path[level])
        .unwrap_or(list.len());
    let length = list[first..].iter().position(|path| path[level] != number);
    let (run, behind) = list[first..].split_at(length.unwrap_or(list.len() - first));
    *rest = behind;
    run
}

/// True where the whole of a run was taken, not only something at this level of it.
fn is_whole(run: &[Path], level: usize) -> bool {
    run.first().is_some_and(|path| path[level] == 0)
}

/// The path itself and those of the levels above it.
fn prefixes(path: Path) -> impl Iterator<Item = Path> {
    (1..=5).rev().map(move |depth| {
        let mut prefix = path;
        prefix[depth..].fill(0);
        prefix
    })
}

/// A segment that remembers what was read.
#[derive(Clone, Copy)]
pub struct Seg<'m> {
    segment: Segment<'m>,
    ledger: &'m Ledger<'m>,
}

impl<'m> Seg<'m> {
    /// Its name.
    pub fn name(&self) -> &'m str {
        self.segment.name()
    }

    /// Its number among the segments of this name, from 1.
    pub fn occurrence(&self) -> u32 {
        self.segment.occurrence()
    }

    /// Its position among all segments, from 0.
    pub fn position(&self) -> usize {
        self.segment.position()
    }

    /// Where it stands.
    pub fn place(&self) -> Place {
        self.segment.place()
    }

    /// A field by its number, from 1.
    pub fn f(&self, number: usize) -> At<'m> {
        At {
            ledger: self.ledger,
            path: [self.position() as u32, number as u32, 0, 0, 0],
            node: Node::Field(self.segment.field(number)),
        }
    }
}

#[derive(Clone, Copy)]
enum Node<'m> {
    Field(Field<'m>),
    Rep(Repetition<'m>),
    Comp(Component<'m>),
    Sub(SubComponent<'m>),
}

/// One field, repetition, component or sub-component, that remembers whether it was taken.
#[derive(Clone, Copy)]
pub struct At<'m> {
    ledger: &'m Ledger<'m>,
    path: Path,
    node: Node<'m>,
}

macro_rules! on_node {
    ($at:expr, $view:ident => $do:expr) => {
        match $at.node {
            Node::Field($view) => $do,
            Node::Rep($view) => $do,
            Node::Comp($view) => $do,
            Node::Sub($view) => $do,
        }
    };
}

impl<'m> At<'m> {
    /// The channel's settings.
    pub fn profile(&self) -> &'m Profile {
        self.ledger.profile
    }

    /// Where it stands.
    pub fn place(&self) -> Place {
        on_node!(self, view => view.place())
    }

    /// True where nothing is said.
    pub fn is_empty(&self) -> bool {
        on_node!(self, view => view.is_empty())
    }

    /// True where something stands, `""` or a value.
    pub fn is_there(&self) -> bool {
        !self.is_empty()
    }

    /// True for `""`.
    pub fn is_null(&self) -> bool {
        on_node!(self, view => view.is_null())
    }

    /// Its bytes as they stand in the message.
    pub fn raw(&self) -> &'m str {
        on_node!(self, view => view.raw()).unwrap_or("")
    }

    /// The part below, from 1: of a field and of a repetition a component, of a component a sub-component. So that
    /// a data type is read the same way wherever it stands. Part 1 of a sub-component is itself.
    pub fn part(&self, number: usize) -> At<'m> {
        let n = number as u32;
        let [segment, field, rep, comp, _] = self.path;
        let (path, node) = match self.node {
            Node::Field(view) => ([segment, field, 1, n, 0], Node::Comp(view.component(number))),
            Node::Rep(view) => ([segment, field, rep, n, 0], Node::Comp(view.component(number))),
            Node::Comp(view) => (
                [segment, field, rep, comp, n],
                Node::Sub(view.subcomponent(number)),
            ),
            Node::Sub(_) if number == 1 => (self.path, self.node),
            // A data type one level deeper than the standard allows: nothing stands there.
            Node::Sub(_) => return self.nothing(),
        };
        At {
            ledger: self.ledger,
            path,
            node,
        }
    }

    /// A view of nothing at the same segment.
    fn nothing(&self) -> At<'m> {
        let [segment, ..] = self.path;
        let far = usize::MAX / 2;
        At {
            ledger: self.ledger,
            path: [segment, u32::MAX, 0, 0, 0],
            node: Node::Field(self.ledger.message.msh().field(far)),
        }
    }

    /// The repetitions of a field, without empty ones; anything else is its own only one.
    pub fn reps(&self) -> Vec<At<'m>> {
        let [segment, field, ..] = self.path;
        match self.node {
            Node::Field(view) => view
                .repetitions()
                .map(|rep| At {
                    ledger: self.ledger,
                    path: [segment, field, rep.number() as u32, 0, 0],
                    node: Node::Rep(rep),
                })
                .filter(At::is_there)
                .take(MAX_REPETITIONS)
                .collect(),
            Node::Rep(_) | Node::Comp(_) | Node::Sub(_) => {
                if self.is_empty() {
                    vec![]
                } else {
                    vec![*self]
                }
            }
        }
    }

    /// The repetitions of a field, the empty ones among them too; of an empty field one.
    pub fn every_rep(&self) -> Vec<At<'m>> {
        let [segment, field, ..] = self.path;
        match self.node {
            Node::Field(view) if !self.is_empty() => view
                .repetitions()
                .map(|rep| At {
                    ledger: self.ledger,
                    path: [segment, field, rep.number() as u32, 0, 0],
                    node: Node::Rep(rep),
                })
                .take(MAX_REPETITIONS)
                .collect(),
            Node::Field(_) | Node::Rep(_) | Node::Comp(_) | Node::Sub(_) => vec![self.first()],
        }
    }

    /// The first repetition of a field; anything else is itself.
    pub fn first(&self) -> At<'m> {
        let [segment, field, ..] = self.path;
        match self.node {
            Node::Field(view) => At {
                ledger: self.ledger,
                path: [segment, field, 1, 0, 0],
                node: Node::Rep(view.repetition(1)),
            },
            Node::Rep(_) | Node::Comp(_) | Node::Sub(_) => *self,
        }
    }

    /// True where the other stands in the same field.
    pub fn holds(&self, other: &At<'_>) -> bool {
        self.path[..2] == other.path[..2]
    }

    /// The parts below, in order.
    pub fn parts(&self) -> Vec<At<'m>> {
        let count = match self.node {
            Node::Field(view) => view.components().count(),
            Node::Rep(view) => view.components().count(),
            Node::Comp(view) => view.subcomponents().count(),
            Node::Sub(_) => 1,
        };
        (1..=count).map(|number| self.part(number)).collect()
    }

    /// The text without blanks around it, not taken; nothing for empty, blank and `""`.
    pub fn peek(&self) -> Option<String> {
        self.look().map(Cow::into_owned)
    }

    /// As [`At::peek`], without a copy where the text stands in the message as it is.
    pub fn look(&self) -> Option<Cow<'m, str>> {
        let text = match on_node!(self, view => view.text()) {
            Cow::Borrowed(text) => Cow::Borrowed(text.trim()),
            Cow::Owned(text) => match text.trim() {
                trimmed if trimmed.len() < text.len() => Cow::Owned(trimmed.to_owned()),
                _ => Cow::Owned(text),
            },
        };
        (!text.is_empty()).then_some(text)
    }

    /// True where the text is this code.
    pub fn is(&self, code: &str) -> bool {
        self.look().is_some_and(|text| text == code)
    }

    /// Takes all that stands here, whatever it is.
    pub fn take(&self) {
        self.ledger.used.borrow_mut().push(self.path);
    }

    /// Takes the text, without blanks around it.
    pub fn text(&self) -> Option<String> {
        let text = self.peek()?;
        self.take();
        Some(text)
    }

    /// Takes the text as it is, with its blanks and line feeds.
    pub fn long_text(&self) -> Option<String> {
        self.look()?;
        self.take();
        Some(on_node!(self, view => view.text()).into_owned())
    }

    /// Takes the value if it reads as what it should be; otherwise it stays, with a note.
    pub fn read<T, E>(&self, read: impl FnOnce(&str) -> Result<T, E>) -> Option<T>
    where
        E: std::fmt::Display,
    {
        match read(&self.look()?) {
            Ok(value) => {
                self.take();
                Some(value)
            }
            Err(error) => {
                self.note(error.to_string());
                None
            }
        }
    }

    /// Why the value, or what is below it, is not carried. It shows with the value in `extra`.
    pub fn note(&self, why: impl Into<String>) {
        self.ledger.notes.borrow_mut().insert(self.path, why.into());
    }

    /// Something to say of a value that *is* carried: what was assumed in reading it. Shows in `about.notes`.
    pub fn remark(&self, what: impl Into<String>) {
        self.ledger.remarks.borrow_mut().push(Extra {
            place: self.place(),
            value: String::new(),
            note: Some(what.into()),
        });
    }

    /// A time named no zone, and was read as one of the message's or the channel's. Said once a message, in `about.notes`.
    pub fn assumed_zone(&self) {
        self.ledger.assumed_zone.set(true);
    }

    /// The zone of times that name none.
    pub fn zone(&self) -> &TimeZone {
        &self.ledger.zone
    }

    /// The offset that MSH-7 names.
    pub fn sender_offset(&self) -> Option<Offset> {
        self.ledger.sender_offset
    }

    /// True for `""`. It is carried as that, and stays in `extra` too: a document that tells a state can't say it.
    pub fn empties(&self) -> bool {
        let empties = self.is_null();
        if empties {
            self.note("empties what is stored");
        }
        empties
    }

    /// The three states of a single value: absent, `""`, or what `read` makes of the first repetition.
    pub fn patch<T>(self, read: impl FnOnce(At<'m>) -> Option<T>) -> Patch<T> {
        if self.empties() {
            return Patch::Clear;
        }
        if self.is_empty() {
            return Patch::Absent;
        }
        read(self).into()
    }

    /// The states of a list: absent, `""`, or what `read` makes of each repetition; replaced as a whole where the
    /// channel says that this field is a snapshot, else merged.
    pub fn items<T>(self, read: impl FnMut(At<'m>) -> Option<T>) -> Items<T> {
        if self.empties() {
            return Items::Clear;
        }
        let values: Vec<T> = self.reps().into_iter().filter_map(read).collect();
        if self.is_snapshot() {
            Items::replace(values)
        } else {
            Items::merge(values)
        }
    }

    /// True where the channel says that this field is a snapshot: what is missing is to go.
    pub fn is_snapshot(&self) -> bool {
        let snapshots = &self.profile().snapshots;
        if snapshots.is_empty() {
            return false;
        }
        let name = self
            .ledger
            .message
            .segment(self.path[0] as usize)
            .map(|s| format!("{}-{}", s.name(), self.path[1]));
        name.is_some_and(|name| snapshots.contains(&name))
    }
}

/// What the mappers have made so far.
pub struct Collected<'m> {
    ledger: &'m Ledger<'m>,
    /// The message itself.
    pub about: About,
    changes: Vec<Change>,
    merges: Vec<Merge>,
    extra: Vec<Extra>,
    counts: HashMap<&'static str, u32>,
    known: HashMap<String, usize>,
    places: HashMap<String, usize>,
    naturals: HashMap<(Option<Ref>, String), u32>,
}

impl<'m> Collected<'m> {
    /// Nothing yet.
    pub fn new(ledger: &'m Ledger<'m>) -> Self {
        Collected {
            ledger,
            about: About::default(),
            changes: vec![],
            merges: vec![],
            extra: vec![],
            counts: HashMap::new(),
            known: HashMap::new(),
            places: HashMap::new(),
            naturals: HashMap::new(),
        }
    }

    /// The channel's settings.
    pub fn profile(&self) -> &'m Profile {
        self.ledger.profile
    }

    /// All segments in order.
    pub fn segments(&self) -> Vec<Seg<'m>> {
        let ledger = self.ledger;
        ledger
            .message
            .segments()
            .map(|segment| Seg { segment, ledger })
            .collect()
    }

    /// A fresh key: `patient` at first, then `patient-2` …
    pub fn key(&mut self, name: &'static str) -> String {
        let count = self.counts.entry(name).or_default();
        *count += 1;
        if *count == 1 {
            name.to_owned()
        } else {
            format!("{name}-{count}")
        }
    }

    /// Adds a change under a fresh key, found by its own identifiers.
    pub fn add(&mut self, name: &'static str, say: impl Into<Body>) -> Ref {
        self.add_found(name, Find::default(), say)
    }

    /// Adds a change under a fresh key, found as `find` says.
    pub fn add_found(&mut self, name: &'static str, find: Find, say: impl Into<Body>) -> Ref {
        let key = self.key(name);
        self.push(Change {
            find,
            ..Change::new(key, say)
        })
    }

    /// Found by what it is within another aggregate; what a message names twice is told apart by its place among them.
    pub fn numbered(&mut self, owner: &Ref, key: String) -> Find {
        let count = self
            .naturals
            .entry((Some(owner.clone()), key.clone()))
            .or_default();
        *count += 1;
        match *count {
            1 => natural(Some(owner), key),
            count => natural(Some(owner), format!("{key}|#{count}")),
        }
    }

    /// Adds a change that has its key (from [`Collected::key`]).
    pub fn push(&mut self, change: Change) -> Ref {
        let key = Ref::Local(change.key.clone());
        self.places.insert(change.key.clone(), self.changes.len());
        self.changes.push(change);
        key
    }

    /// The change that was made of this thing earlier in the message, or a new one; `signature` tells the things of
    /// one kind apart.
    pub fn once(
        &mut self,
        name: &'static str,
        signature: &str,
        make: impl FnOnce() -> (Find, Body),
    ) -> (Ref, bool) {
        let signature = format!("{name}|{signature}");
        if let Some(change) = self.known.get(&signature).and_then(|&idx| self.changes.get(idx)) {
            return (Ref::Local(change.key.clone()), false);
        }
        let (find, say) = make();
        let key = self.add_found(name, find, say);
        self.known.insert(signature, self.changes.len() - 1);
        (key, true)
    }

    /// The change with this key.
    pub fn change_mut(&mut self, key: &Ref) -> Option<&mut Change> {
        match key {
            Ref::Local(key) => self.places.get(key).and_then(|&idx| self.changes.get_mut(idx)),
            Ref::Id(..) => None,
        }
    }

    /// The changes so far.
    pub fn changes(&self) -> &[Change] {
        &self.changes
    }

    /// Adds a merge of two records.
    pub fn merge(&mut self, merge: Merge) {
        self.merges.push(merge);
    }

    /// Adds something to `extra` that is not one value of the message.
    pub fn extra(&mut self, place: Place, value: impl Into<String>, note: impl Into<String>) {
        self.extra.push(Extra {
            place,
            value: value.into(),
            note: Some(note.into()),
        });
    }

    /// The change set: what was made, and every value that nobody took.
    pub fn finish(mut self) -> Result<ChangeSet, MapError> {
        let warnings = self.ledger.message.repairs().iter().filter(|r| r.is_warning());
        for repair in warnings {
            self.extra(repair.place(), "", repair.to_string());
        }
        let mut used = self.ledger.used.take();
        used.sort_unstable();
        let mut used = used.as_slice();
        for segment in self.segments() {
            self.leave(segment, run(&mut used, 0, segment.position() as u32))?;
        }
        if self.ledger.assumed_zone.get() {
            self.about.notes.push(Extra {
                place: "MSH-7".into(),
                value: super::times::zone_name(&self.ledger.zone),
                note: Some("times that name no zone were read as times of this one".to_owned()),
            });
        }
        self.about.notes.extend(self.ledger.remarks.take());
        Ok(ChangeSet {
            about: self.about,
            changes: self.changes,
            merges: self.merges,
            extra: self.extra,
        })
    }

    /// Puts every value of a segment that nobody took into `extra`. `used`: what was taken of it, in order.
    fn leave(&mut self, segment: Seg<'m>, mut used: &[Path]) -> Result<(), MapError> {
        let position = segment.position() as u32;
        if is_whole(used, 1) {
            return Ok(());
        }
        for field in segment.segment.fields() {
            let number = field.number() as u32;
            if field.is_empty() {
                continue;
            }
            let mut in_field = run(&mut used, 1, number);
            if is_whole(in_field, 2) {
                continue;
            }
            let header = segment.name() == "MSH" && number <= 2;
            for rep in field.repetitions() {
                let mut in_rep = run(&mut in_field, 2, rep.number() as u32);
                if is_whole(in_rep, 3) {
                    continue;
                }
                for comp in rep.components() {
                    let mut in_comp = run(&mut in_rep, 3, comp.number() as u32);
                    if is_whole(in_comp, 4) {
                        continue;
                    }
                    for sub in comp.subcomponents() {
                        let raw = sub.raw().unwrap_or("");
                        let taken = run(&mut in_comp, 4, sub.number() as u32);
                        if raw.is_empty() || !taken.is_empty() {
                            continue;
                        }
                        let path = [
                            position,
                            number,
                            rep.number() as u32,
                            comp.number() as u32,
                            sub.number() as u32,
                        ];
                        if self.extra.len() >= MAX_EXTRA {
                            let what = format!(
                                "more than {MAX_EXTRA} values that the clinic has no place for. Send less, or route the message without decoding it."
                            );
                            return Err(MapError::new(Reason::DataType, Some(&segment.place().0), what));
                        }
                        let alone = comp.raw().is_none_or(|whole| whole.len() <= raw.len());
                        let place = match (header, alone) {
                            (true, _) => field.place(),
                            (false, true) => comp.place(),
                            (false, false) => sub.place(),
                        };
                        let value = if sub.is_null() {
                            "\"\"".to_owned()
                        } else {
                            sub.text().into_owned()
                        };
                        self.extra.push(Extra {
                            place,
                            value,
                            note: self.ledger.noted(path),
                        });
                    }
                }
            }
        }
        Ok(())
    }
}

/// Found by that alone, whatever numbers it has: an identifier without a value is one that nobody has, and stands before those
/// that the change says.
pub fn not_by_number(find: Find) -> Find {
    Find {
        identifiers: vec![Identifier::default()],
        ..find
    }
}

/// Found by what it is within another aggregate, or within the clinic.
pub fn natural(owner: Option<&Ref>, key: impl Into<String>) -> Find {
    Find {
        natural: Some(Natural {
            owner: owner.cloned(),
            key: key.into(),
        }),
        ..Find::default()
    }
}
