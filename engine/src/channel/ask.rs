//! Questions to a destination: what is asked, made of the message, and what the answer is for. A `lookup` step asks for
//! values, a destination with `on_unsure = { ask = … }` whether the far side has what was sent.

use std::time::Duration;

use clinic::exchange::{MapError, control_id};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use uuid::Uuid;

use crate::connector::Asks;
use crate::format::Format;

/// What a question may take unless the channel says otherwise.
pub const WITHIN: Duration = Duration::from_secs(5);

/// A destination, asked.
#[derive(Clone, Debug)]
pub struct Ask {
    /// Which destination of the channel.
    pub destination: String,
    /// What is asked.
    pub question: Template,
    /// What is written where: a path of the message, and the path of the answer whose value it gets.
    pub set: Vec<(String, String)>,
    /// What happens where nothing is found.
    pub missing: OrElse,
    /// What happens where there is no answer that can be believed.
    pub on_failure: OrElse,
    /// How long it may take, waiting for its turn included.
    pub within: Duration,
}

/// How it is asked whether the far side has what was sent and whose answer is lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inquiry {
    /// Which destination of the channel is asked: the same, or another one.
    pub destination: String,
    /// What is asked, with values of what was sent.
    pub question: Template,
    /// How long it may take, waiting for its turn included.
    pub within: Duration,
}

/// What happens to a message without the values that were asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrElse {
    /// It goes on as it is.
    Keep,
    /// It fails.
    Fail,
}

/// A question with values of the message in braces: `Patient?identifier={PID-3.1}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    pieces: Vec<Piece>,
    is_address: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    /// 20 digits and letters, another number for each question.
    Id,
    /// The time in the form of HL7, in the channel's zone.
    Now,
    /// Today, as 2026-05-05.
    Date,
    /// The first value at a path.
    Value(String),
}

/// What a question is made with beside the message.
#[derive(Clone, Copy, Debug)]
pub struct Stamped<'a> {
    /// Its number.
    pub id: Uuid,
    /// When it is asked.
    pub now: Timestamp,
    /// The channel's zone, an IANA name.
    pub zone: Option<&'a str>,
}

/// A question that was made of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Filled {
    /// It can be asked.
    Question(Vec<u8>),
    /// The message has no value at this path: without it the question would be for everybody.
    Lacks(String),
}

impl Template {
    /// Reads one. The error says what is wrong with it.
    pub fn parse(text: &str, asks: Asks) -> Result<Self, String> {
        let mut pieces = vec![];
        let mut plain = String::new();
        let mut letters = text.chars().peekable();
        while let Some(letter) = letters.next() {
            match letter {
                // Twice for one that is meant.
                '{' | '}' if letters.next_if_eq(&letter).is_some() => plain.push(letter),
                '}' => return Err("a `}` without its `{`; one that is meant is written twice".to_owned()),
                '{' => {
                    let inside: String = letters.by_ref().take_while(|next| *next != '}').collect();
                    if !text.contains(&format!("{{{inside}}}")) {
                        return Err("a `{` without its `}`; one that is meant is written twice".to_owned());
                    }
                    pieces.push(Piece::Text(std::mem::take(&mut plain)));
                    pieces.push(match inside.trim() {
                        "" => {
                            return Err(
                                "`{}` names no value; write {PID-3.1}, {id}, {now} or {date}".to_owned()
                            );
                        }
                        "id" => Piece::Id,
                        "now" => Piece::Now,
                        "date" => Piece::Date,
                        path => Piece::Value(path.to_owned()),
                    });
                }
                other => plain.push(other),
            }
        }
        pieces.push(Piece::Text(plain));
        pieces.retain(|piece| *piece != Piece::Text(String::new()));
        if pieces.is_empty() {
            return Err("empty; write what is asked".to_owned());
        }
        let is_address = match asks {
            Asks::Address => true,
            Asks::Message => false,
            Asks::Either => is_address(text),
        };
        Ok(Template { pieces, is_address })
    }

    /// The paths of the message that it names.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Value(path) => Some(path.as_str()),
            Piece::Text(_) | Piece::Id | Piece::Now | Piece::Date => None,
        })
    }

    /// Whether it is an address, which is fetched.
    pub fn is_address(&self) -> bool {
        self.is_address
    }

    /// How a question looks whose values are all `1`, for the check.
    pub fn example(&self) -> String {
        let piece = |piece: &Piece| match piece {
            Piece::Text(text) => text.clone(),
            Piece::Id | Piece::Now | Piece::Date | Piece::Value(_) => "1".to_owned(),
        };
        self.pieces.iter().map(piece).collect()
    }

    /// The question to one message. `value` finds the values of a path; `format` is that of the question.
    pub fn fill(
        &self,
        format: &dyn Format,
        stamped: Stamped<'_>,
        value: &dyn Fn(&str) -> Result<Vec<String>, MapError>,
    ) -> Result<Filled, MapError> {
        let zone = stamped.zone.unwrap_or("Europe/Bucharest");
        let zone = TimeZone::get(zone).unwrap_or(TimeZone::UTC);
        let now = stamped.now.to_zoned_datetime(zone);
        let mut text = String::new();
        for piece in &self.pieces {
            match piece {
                Piece::Text(piece) => text.push_str(piece),
                Piece::Id => text.push_str(&control_id(stamped.id)),
                Piece::Now => text.push_str(&now.strftime("%Y%m%d%H%M%S").to_string()),
                Piece::Date => text.push_str(&now.strftime("%Y-%m-%d").to_string()),
                Piece::Value(path) => {
                    let found = value(path)?.into_iter().find(|value| !value.trim().is_empty());
                    let Some(found) = found else {
                        return Ok(Filled::Lacks(path.clone()));
                    };
                    match self.is_address {
                        true => text.push_str(&percent(found.trim())),
                        false => text.push_str(&format.escaped(found.trim())),
                    }
                }
            }
        }
        Ok(Filled::Question(match self.is_address {
            true => text.into_bytes(),
            false => format.as_question(&text),
        }))
    }
}

/// Whether a question to a connector that takes both is an address to be fetched.
pub fn is_address(question: &str) -> bool {
    question.starts_with(['/', '?'])
}

/// A value as a part of an address: all but letters and digits of ASCII and `-._~` by percent (RFC 3986 §2.3).
fn percent(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    for byte in value.bytes() {
        match byte {
            b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            byte if byte.is_ascii_alphanumeric() => out.push(char::from(byte)),
            byte => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}
