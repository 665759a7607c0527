//! JSON into a tree, within limits, without a key that stands twice.

use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use super::{MAX_BYTES, MAX_DEPTH, MAX_VALUES, Wrong};

/// Reads it, or says why not.
pub(super) fn read(bytes: &[u8]) -> Result<Value, Wrong> {
    if bytes.len() > MAX_BYTES {
        let what = format!(
            "is longer than {} MB; send it in parts",
            MAX_BYTES / (1024 * 1024)
        );
        return Err(Wrong::new("", what));
    }
    let refused = Cell::new(None);
    let left = Cell::new(MAX_VALUES);
    let seed = Node {
        path: Path::Root,
        depth: 0,
        left: &left,
        refused: &refused,
    };
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let value = seed
        .deserialize(&mut reader)
        .and_then(|value| reader.end().map(|()| value));
    value.map_err(|error| {
        refused.take().unwrap_or_else(|| {
            // The text of the error may quote what was sent; its place does not.
            let what = if error.is_eof() {
                "ends in the middle: the JSON is cut off"
            } else {
                "is no JSON"
            };
            Wrong::new(
                "",
                format!("{what} (line {}, column {})", error.line(), error.column()),
            )
        })
    })
}

/// Where we are, back to the root.
#[derive(Clone, Copy)]
enum Path<'p> {
    Root,
    Key(&'p Path<'p>, &'p str),
    Item(&'p Path<'p>, usize),
}

impl Path<'_> {
    fn pointer(&self) -> String {
        match self {
            Path::Root => String::new(),
            Path::Key(parent, key) => super::shape::join(&parent.pointer(), key),
            Path::Item(parent, idx) => format!("{}/{idx}", parent.pointer()),
        }
    }
}

#[derive(Clone, Copy)]
struct Node<'p> {
    path: Path<'p>,
    depth: usize,
    left: &'p Cell<usize>,
    refused: &'p Cell<Option<Wrong>>,
}

impl Node<'_> {
    fn refuse<E: Error>(&self, wrong: Wrong) -> E {
        self.refused.set(Some(wrong));
        E::custom("refused")
    }

    fn count<E: Error>(&self) -> Result<(), E> {
        let Some(left) = self.left.get().checked_sub(1) else {
            let what = format!("holds more than {MAX_VALUES} values; send it in parts");
            return Err(self.refuse(Wrong::new("", what)));
        };
        self.left.set(left);
        Ok(())
    }

    fn deeper<E: Error>(&self) -> Result<usize, E> {
        if self.depth == MAX_DEPTH {
            let what = format!("stands deeper than {MAX_DEPTH} values in each other");
            return Err(self.refuse(Wrong::new(self.path.pointer(), what)));
        }
        Ok(self.depth + 1)
    }
}

impl<'de> DeserializeSeed<'de> for Node<'_> {
    type Value = Value;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        self.count()?;
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }
    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }
    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }
    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }
    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }
    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }
    fn visit_string<E: Error>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }
    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let depth = self.deeper()?;
        let mut list = vec![];
        let mut idx = 0;
        loop {
            let path = Path::Item(&self.path, idx);
            match items.next_element_seed(Node { path, depth, ..self })? {
                Some(value) => list.push(value),
                None => return Ok(Value::Array(list)),
            }
            idx += 1;
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let depth = self.deeper()?;
        let mut map = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            let path = Path::Key(&self.path, &key);
            if map.contains_key(&key) {
                return Err(self.refuse(Wrong::new(path.pointer(), "stands here twice")));
            }
            let value = entries.next_value_seed(Node { path, depth, ..self })?;
            map.insert(key, value);
        }
        Ok(Value::Object(map))
    }
}
