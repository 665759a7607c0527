//! What a message says about a value: nothing, "clear it", or "it is this".

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What is said about one value. In JSON: the key is absent, `null`, or the value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Patch<T> {
    /// Nothing is said: what is there stays.
    #[default]
    Absent,
    /// The value is to be emptied (HL7 `""`).
    Clear,
    /// The value is this.
    Set(T),
}

impl<T> Patch<T> {
    /// True where nothing is said; for `skip_serializing_if`.
    pub fn is_absent(&self) -> bool {
        matches!(self, Patch::Absent)
    }

    /// The value, if one is said.
    pub fn value(&self) -> Option<&T> {
        match self {
            Patch::Set(value) => Some(value),
            Patch::Absent | Patch::Clear => None,
        }
    }
}

/// `None` says nothing.
impl<T> From<Option<T>> for Patch<T> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Patch::Absent, Patch::Set)
    }
}

impl<T: Serialize> Serialize for Patch<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Patch::Absent | Patch::Clear => serializer.serialize_none(),
            Patch::Set(value) => value.serialize(serializer),
        }
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Patch<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Option::<T>::deserialize(deserializer)?.map_or(Patch::Clear, Patch::Set))
    }
}

impl<T: JsonSchema> JsonSchema for Patch<T> {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        format!("Patch_{}", T::schema_name()).into()
    }
    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        Option::<T>::json_schema(generator)
    }
}

/// What is said about a list. In JSON: absent, `null`, `{"merge": […]}`, or the whole list `[…]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Items<T> {
    /// Nothing is said.
    #[default]
    Absent,
    /// The list is to be emptied.
    Clear,
    /// The list is exactly this.
    Replace(Vec<T>),
    /// These take the place of what stands in the same group (see [`Item::group`]); other groups stay. An entry without a value
    /// takes out what it is like: `{"use": "work"}` the telephone numbers at work.
    Merge(Vec<T>),
}

impl<T> Items<T> {
    /// True where nothing is said; for `skip_serializing_if`.
    pub fn is_absent(&self) -> bool {
        matches!(self, Items::Absent)
    }

    /// The values said, whichever way.
    pub fn values(&self) -> &[T] {
        match self {
            Items::Replace(values) | Items::Merge(values) => values,
            Items::Absent | Items::Clear => &[],
        }
    }

    /// An empty list says nothing.
    pub fn merge(values: Vec<T>) -> Self {
        if values.is_empty() {
            Items::Absent
        } else {
            Items::Merge(values)
        }
    }

    /// An empty list says nothing.
    pub fn replace(values: Vec<T>) -> Self {
        if values.is_empty() {
            Items::Absent
        } else {
            Items::Replace(values)
        }
    }
}

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
enum ItemsForm<T> {
    Merge { merge: Vec<T> },
    Replace(Vec<T>),
}

impl<T: Serialize> Serialize for Items<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Items::Absent | Items::Clear => serializer.serialize_none(),
            Items::Replace(values) => values.serialize(serializer),
            Items::Merge(values) => {
                use serde::ser::SerializeMap;
                let mut map = serializer.serialize_map(Some(1))?;
                map.serialize_entry("merge", values)?;
                map.end()
            }
        }
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Items<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(match Option::<ItemsForm<T>>::deserialize(deserializer)? {
            None => Items::Clear,
            Some(ItemsForm::Replace(values)) => Items::Replace(values),
            Some(ItemsForm::Merge { merge }) => Items::Merge(merge),
        })
    }
}

impl<T: JsonSchema> JsonSchema for Items<T> {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        format!("Items_{}", T::schema_name()).into()
    }
    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        Option::<ItemsForm<T>>::json_schema(generator)
    }
}

/// An entry of a list that can be merged.
pub trait Item {
    /// Entries of one group replace each other as a whole: a new mobile number takes the place of the old mobile
    /// number, and leaves the e-mail address alone. `None`: the entry is only ever added (when it isn't there yet).
    fn group(&self) -> Option<String>;

    /// True for an entry that says no value: that there is none of its kind. It is not stored, and takes out those that it
    /// [takes out](Item::takes_out).
    fn says_none(&self) -> bool {
        false
    }

    /// Whether this one, which says that there is none, means the other.
    fn takes_out(&self, _other: &Self) -> bool {
        false
    }
}

/// A field of an aggregate: how a patch changes it.
pub trait Field {
    /// What can be said about it.
    type Patch;
    /// Takes what is said; true where that changed something.
    fn take(&mut self, patch: &Self::Patch) -> bool;
    /// The same, with values that nobody else needs: they are moved, not copied.
    fn take_in(&mut self, patch: Self::Patch) -> bool;
}

impl<T: Clone + PartialEq> Field for Option<T> {
    type Patch = Patch<T>;

    fn take(&mut self, patch: &Patch<T>) -> bool {
        match patch {
            Patch::Absent => false,
            Patch::Clear => self.take().is_some(),
            Patch::Set(value) if self.as_ref() == Some(value) => false,
            Patch::Set(value) => {
                *self = Some(value.clone());
                true
            }
        }
    }

    fn take_in(&mut self, patch: Patch<T>) -> bool {
        match patch {
            Patch::Set(value) if self.as_ref() != Some(&value) => {
                *self = Some(value);
                true
            }
            patch => Field::take(self, &patch),
        }
    }
}

impl<T: Clone + PartialEq + Item> Field for Vec<T> {
    type Patch = Items<T>;

    fn take(&mut self, patch: &Items<T>) -> bool {
        let after = match patch {
            Items::Absent => return false,
            Items::Clear => vec![],
            Items::Replace(values) => values
                .iter()
                .filter(|value| !value.says_none())
                .cloned()
                .collect(),
            Items::Merge(values) => merged(self, values),
        };
        let changed = *self != after;
        *self = after;
        changed
    }

    fn take_in(&mut self, patch: Items<T>) -> bool {
        match patch {
            Items::Merge(values) | Items::Replace(values)
                if self.is_empty() && is_distinct(&values) && !values.iter().any(Item::says_none) =>
            {
                *self = values;
                !self.is_empty()
            }
            patch => Field::take(self, &patch),
        }
    }
}

/// True where nothing is said twice.
fn is_distinct<T: PartialEq>(values: &[T]) -> bool {
    (1..values.len()).all(|idx| !values[..idx].contains(&values[idx]))
}

/// The old entries whose group is not spoken of, each at its place; where a group is spoken of, its first place gets
/// the first of the new ones, its second place the second, and so on; what is left goes to the end. Merging the same
/// entries again changes nothing.
fn merged<T: Clone + PartialEq + Item>(old: &[T], new: &[T]) -> Vec<T> {
    if new.iter().any(Item::says_none) {
        let (none, new): (Vec<T>, Vec<T>) = new.iter().cloned().partition(Item::says_none);
        let left = |entry: &&T| !none.iter().any(|none| none.takes_out(entry));
        let old: Vec<T> = old.iter().filter(left).cloned().collect();
        return merged(&old, &new);
    }
    // What is said twice is said once.
    let mut placed: Vec<bool> = (0..new.len()).map(|idx| new[..idx].contains(&new[idx])).collect();
    if old == new && !placed.contains(&true) {
        return old.to_vec();
    }
    // Where nothing stands yet, no groups are needed.
    let groups: Vec<Option<String>> = match old {
        [] => vec![],
        [_, ..] => new.iter().map(Item::group).collect(),
    };
    let mut out: Vec<T> = Vec::with_capacity(old.len() + new.len());
    for entry in old {
        let group = entry.group();
        if group.is_none() || !groups.contains(&group) {
            out.push(entry.clone());
        } else if let Some(idx) = (0..new.len()).find(|idx| !placed[*idx] && groups[*idx] == group) {
            placed[idx] = true;
            out.push(new[idx].clone());
        }
    }
    for (idx, entry) in new.iter().enumerate() {
        if !placed[idx] && !out.contains(entry) {
            out.push(entry.clone());
        }
    }
    out
}
