//! The JSON Schema of a channel file: the engine's own keys, and under the name of each connector what it says of
//! its settings. The check runs it, and editors use it from `schemas/channel.schema.json`.

use serde_json::{Map, Value, json};

use crate::connector::Connectors;
use crate::format::Formats;

/// How deep the definitions of a connector's schema are followed.
const MAX_DEPTH: usize = 16;

/// The charsets that a channel may name (`charset`). What is read may be in others that a message names itself.
pub const CHARSETS: [&str; 11] = [
    "utf-8",
    "us-ascii",
    "iso-8859-1",
    "iso-8859-2",
    "iso-8859-5",
    "iso-8859-15",
    "iso-8859-16",
    "windows-1250",
    "windows-1251",
    "windows-1252",
    "utf-16",
];

/// The verbs of steps, in the order in which they are told.
pub(super) const VERBS: [&str; 11] = [
    "split",
    "filter",
    "decode",
    "set",
    "deidentify",
    "new_uids",
    "transcode",
    "lookup",
    "script",
    "apply",
    "encode",
];

/// The JSON Schema of a channel file. Written to `schemas/channel.schema.json`; a test keeps both equal.
pub fn channel_schema(formats: &Formats, connectors: &Connectors) -> Value {
    let split = formats
        .splitter()
        .map_or(Value::Bool(true), |splitter| embedded(splitter.schema()));
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "channel",
        "description": "A channel of Punte: where messages come from, what happens to them, where they go.",
        "type": "object",
        "required": ["id", "source"],
        "additionalProperties": false,
        "properties": {
            "id": {
                "description": "The channel's name: letters, digits and hyphens. Unique in the folder.",
                "type": "string"
            },
            "description": {
                "description": "What the channel is for, in a sentence.",
                "type": "string"
            },
            "ack": {
                "description": "When the sender is told: \"stored\", once the message is stored, or { delivered = \"ris\", within = \"20s\" }, once that destination has answered, with its answer.",
                "default": "stored",
                "anyOf": [
                    { "enum": ["stored"] },
                    {
                        "title": "ack",
                        "type": "object",
                        "required": ["delivered"],
                        "additionalProperties": false,
                        "properties": {
                            "delivered": {
                                "description": "The name of the destination whose answer the sender gets.",
                                "type": "string"
                            },
                            "within": {
                                "description": "Later than that the sender is told to send it again, and waits for the same delivery.",
                                "type": "string",
                                "examples": ["20s"],
                                "default": "20s"
                            }
                        }
                    }
                ]
            },
            "dedup": {
                "description": "How long a repeat of a message is known again, as a duration.",
                "type": "string",
                "examples": ["7d"],
                "default": "7d"
            },
            "keep": {
                "title": "keep",
                "description": "How long its messages are kept, each as a duration or \"forever\"; what is not said is as in punte.toml. Nothing goes that is open, parked, or dead and not seen, and nothing before dedup is over.",
                "type": "object",
                "minProperties": 1,
                "additionalProperties": false,
                "properties": {
                    "messages": keep("Messages with all that belongs to them."),
                    "bodies": keep("Their bytes and those of their deliveries and answers: the rest stays."),
                    "failed": keep("Messages that failed; unless said as messages."),
                    "filtered": keep("Messages that a filter left out; unless said as messages."),
                    "answered": keep("Questions and their answers; unless said as messages.")
                }
            },
            "site": {
                "description": "The site of the clinic that the channel belongs to.",
                "type": "string",
                "minLength": 1
            },
            "charset": charset("The charset of messages that do not declare one."),
            "charset_of": {
                "description": "The same for single devices by their AE titles: one charset, which stands for the simpler ones too, or several, which stand for themselves alone.",
                "type": "object",
                "minProperties": 1,
                "additionalProperties": {
                    "anyOf": [
                        { "enum": CHARSETS },
                        { "type": "array", "minItems": 1, "items": { "enum": CHARSETS } }
                    ]
                }
            },
            "zone": {
                "description": "The zone of times without one, an IANA name.",
                "type": "string",
                "default": "Europe/Bucharest"
            },
            "source": source(connectors),
            "counter": counters(),
            "cache": caches(),
            "http": calls(connectors),
            "ask": script_asks(),
            "step": {
                "description": "What happens to each message, in this order.",
                "type": "array",
                "items": step(&split)
            },
            "destination": {
                "description": "Where messages go.",
                "type": "array",
                "items": destination(connectors, &split)
            }
        }
    })
}

fn keep(description: &str) -> Value {
    json!({ "description": description, "type": "string", "examples": ["90d", "forever"] })
}

fn charset(description: &str) -> Value {
    json!({ "description": description, "enum": CHARSETS })
}

fn source(connectors: &Connectors) -> Value {
    let mut properties = Map::new();
    properties.insert(
        "format".to_owned(),
        json!({
            "description": "The format of what comes in, where no decode and no connector says it.",
            "type": "string"
        }),
    );
    let key = |description: &str| json!({ "description": description, "type": "string", "minLength": 1 });
    properties.insert(
        "keys".to_owned(),
        json!({
            "description": "Where in a message its keys stand, for formats that say nothing of themselves: paths of the message, or header:…, query:…, path:….",
            "type": "object",
            "additionalProperties": false,
            "minProperties": 1,
            "properties": {
                "control_id": key("The sender's number of the message: with it a repeat is known again."),
                "sender": key("Who sent it."),
                "type": key("What kind of message it is."),
                "patient": key("Patient numbers, by which it is found."),
                "visit": key("Visit numbers, by which it is found."),
                "order": key("Order, accession and appointment numbers, by which it is found.")
            }
        }),
    );
    properties.insert(
        "csv".to_owned(),
        json!({
            "description": "How CSV is written that comes in.",
            "type": "object",
            "additionalProperties": false,
            "properties": {
                "delimiter": {
                    "description": "What stands between two fields; unless said what the first line has most of.",
                    "enum": [",", ";", "\t", "|"]
                },
                "header": {
                    "description": "Whether the first line names the columns.",
                    "type": "boolean",
                    "default": true
                }
            }
        }),
    );
    properties.insert(
        "questions".to_owned(),
        json!({
            "description": "Who answers the questions that come by it (HL7 QBP^Q22): the clinic, from what it knows. Without it they are messages like the others.",
            "enum": ["clinic"]
        }),
    );
    properties.insert(
        "processing".to_owned(),
        json!({
            "description": "Which processing ids are taken (HL7 MSH-11; none there is P): P production, T training and tests, D debugging. Others are refused with 202 and kept as failed. Unless said all are taken.",
            "type": "array",
            "items": { "enum": ["P", "T", "D"] },
            "minItems": 1,
            "uniqueItems": true,
            "examples": [["P"]]
        }),
    );
    let mut names = Vec::new();
    for connector in connectors.all() {
        if let Some(schema) = connector.source_schema() {
            names.push(connector.name());
            properties.insert(connector.name().to_owned(), embedded(schema));
        }
    }
    json!({
        "title": "source",
        "description": "Where messages come from: one connector with its settings.",
        "type": "object",
        "additionalProperties": false,
        "properties": properties,
        "oneOf": one_of(&names),
    })
}

fn destination(connectors: &Connectors, split: &Value) -> Value {
    let mut properties = Map::new();
    let own = json!({
        "name": {
            "description": "The destination's name, unique in the channel: letters, digits and hyphens.",
            "type": "string"
        },
        "when": when(),
        "step": {
            "description": "What happens on the way there, in this order.",
            "type": "array",
            "items": step(split)
        },
        "encode": {
            "description": "The format to write: the same as a last step that encodes.",
            "type": "string"
        },
        "mapping": mapping(),
        "format": {
            "description": "The format of what is sent, where no encode and no connector says it.",
            "type": "string"
        },
        "retry": {
            "description": "How it is tried again.",
            "type": "object",
            "additionalProperties": false,
            "properties": {
                "first": {
                    "description": "The first pause; each next one is twice as long.",
                    "type": "string",
                    "examples": ["2s"],
                "default": "2s"
                },
                "max": {
                    "description": "The longest pause.",
                    "type": "string",
                    "examples": ["10m"],
                "default": "10m"
                },
                "give_up": {
                    "description": "When it ends, counted from the first try.",
                    "type": "string",
                    "examples": ["7d"],
                "default": "7d"
                },
                "put_off": {
                    "description": "DICOM: when one has been refused that the far side puts off (A700) while it takes others.",
                    "type": "string",
                    "examples": ["30m"],
                "default": "30m"
                }
            }
        },
        "on_error": {
            "description": "What happens to what was refused or ran out of retries: the queue waits for a person, or it is set aside and the next goes.",
            "enum": ["hold", "dead"],
            "default": "hold"
        },
        "response": {
            "description": "What happens to each answer that decides (accepted, refused), in this order: it becomes a message, written together with what became of the delivery.",
            "type": "array",
            "items": response_step(split)
        },
        "answers": {
            "title": "answers",
            "description": "How answers come that come later, by a source of ours (HL7 enhanced mode).",
            "type": "object",
            "minProperties": 1,
            "additionalProperties": false,
            "properties": {
                "by": {
                    "description": "The channel by which they come; without it any.",
                    "type": "string"
                },
                "within": {
                    "description": "How long a delivery may wait for its answer; then it goes the way of on_error. Without it for ever.",
                    "type": "string",
                    "examples": ["1d"]
                }
            }
        },
        "window": window(),
        "rate": {
            "title": "rate",
            "description": "The most tries in any span of time, as their receiver sees them. Without it as fast as it answers.",
            "type": "object",
            "required": ["most", "per"],
            "additionalProperties": false,
            "properties": {
                "most": {
                    "description": "How many, one behind the other or all at once.",
                    "type": "integer",
                    "minimum": 1,
                    "maximum": 10000
                },
                "per": {
                    "description": "In how long a span, at most an hour.",
                    "type": "string",
                    "examples": ["1s"]
                }
            }
        },
        "order_by": {
            "title": "order by",
            "description": "By which key the order goes, so that several are sent at once: \"patient\", \"visit\" or \"order\" of the message that came in, \"study\" or a path of what is sent. Without it one after the other.",
            "type": "string",
            "minLength": 1,
            "examples": ["patient"]
        },
        "parallel": {
            "description": "How many are sent at once, each of another key; with order_by.",
            "type": "integer",
            "minimum": 1,
            "maximum": 64,
            "default": 8
        },
        "breaker": {
            "title": "breaker",
            "description": "When it is left alone for a while, since it takes nothing. Without it never; with order_by by these defaults.",
            "type": "object",
            "additionalProperties": false,
            "properties": {
                "after": {
                    "description": "After how many tries in a row that were surely not taken.",
                    "type": "integer",
                    "minimum": 1,
                    "maximum": 10000,
                    "default": 10
                },
                "pause": {
                    "description": "How long until the next one is tried, at most an hour.",
                    "type": "string",
                    "examples": ["30s"],
                    "default": "30s"
                }
            }
        },
        "on_unsure": on_unsure()
    });
    if let Value::Object(own) = own {
        properties.extend(own);
    }
    let mut names = Vec::new();
    for connector in connectors.all() {
        if let Some(schema) = connector.destination_schema() {
            names.push(connector.name());
            properties.insert(connector.name().to_owned(), embedded(schema));
        }
    }
    json!({
        "title": "destination",
        "type": "object",
        "required": ["name"],
        "additionalProperties": false,
        "properties": properties,
        "oneOf": one_of(&names),
    })
}

/// What happens to what was sent and whose answer is lost.
fn on_unsure() -> Value {
    json!({
        "description": "\"repeat\", \"hold\" or { ask = \"…\", question = \"…\" }: what is done with what was sent and whose answer is lost",
        "anyOf": [
            { "enum": ["repeat", "hold"] },
            {
                "title": "on_unsure",
                "type": "object",
                "required": ["ask", "question"],
                "additionalProperties": false,
                "properties": {
                    "ask": {
                        "description": "The name of the destination that is asked: this one, or another one of the channel.",
                        "type": "string"
                    },
                    "question": {
                        "description": "What is asked, with values of what was sent in braces: \"?number={MSH-10}\". What is found is sent; what is not there is sent again.",
                        "type": "string"
                    },
                    "within": {
                        "description": "How long the answer may take, as a duration.",
                        "type": "string",
                        "default": "5s"
                    }
                }
            }
        ]
    })
}

/// When a destination is sent to.
fn window() -> Value {
    let span = json!({
        "title": "window",
        "type": "object",
        "required": ["open"],
        "additionalProperties": false,
        "properties": {
            "open": {
                "description": "From when to when, by the clock of the channel's zone; \"19:00-07:00\" is over midnight.",
                "type": "string",
                "examples": ["07:00-19:00"]
            },
            "days": {
                "description": "The days on which it opens: \"mon-sat\", \"mon,wed,fri\". Without it all.",
                "type": "string",
                "examples": ["mon-sat"]
            }
        }
    });
    json!({
        "description": "{ open = \"07:00-19:00\", days = \"mon-sat\" }, or a list of such: when it is sent to",
        "anyOf": [span, { "type": "array", "minItems": 1, "maxItems": 50, "items": span }]
    })
}

fn counters() -> Value {
    json!({
        "description": "What the scripts of the channel may count, each by its name: context.counter(name).next(). The value moves with the commit of the message.",
        "type": "object",
        "minProperties": 1,
        "additionalProperties": {
            "title": "counter",
            "type": "object",
            "additionalProperties": false,
            "properties": {
                "first": {
                    "description": "The first number.",
                    "type": "integer",
                    "minimum": 0,
                    "default": 1
                },
                "last": {
                    "description": "The last number, after which the first comes again. Without it it goes on.",
                    "type": "integer",
                    "minimum": 1
                },
                "shared": {
                    "description": "True: one counter for all channels that declare it so.",
                    "type": "boolean",
                    "default": false
                }
            }
        }
    })
}

fn caches() -> Value {
    json!({
        "description": "What the scripts of the channel may keep for a while, in memory, each by its name: context.cache(name).",
        "type": "object",
        "minProperties": 1,
        "additionalProperties": {
            "title": "cache",
            "type": "object",
            "required": ["life"],
            "additionalProperties": false,
            "properties": {
                "life": {
                    "description": "How long what was written stays: a duration (\"10m\"), \"restart\" (until the program starts anew) or { messages = 100 }. Nothing of it outlives the program.",
                    "anyOf": [
                        { "type": "string" },
                        {
                            "title": "life",
                            "type": "object",
                            "required": ["messages"],
                            "additionalProperties": false,
                            "properties": {
                                "messages": {
                                    "description": "While the channel takes so many messages.",
                                    "type": "integer",
                                    "minimum": 1
                                }
                            }
                        }
                    ]
                },
                "memory": {
                    "description": "How much it may hold; what was written first goes first.",
                    "type": "string",
                    "default": "1 MB"
                }
            }
        }
    })
}

fn script_asks() -> Value {
    json!({
        "description": "Which destinations the scripts of the channel may ask, each by its name: context.ask(name, question).",
        "type": "object",
        "minProperties": 1,
        "additionalProperties": {
            "title": "ask",
            "type": "object",
            "additionalProperties": false,
            "properties": {
                "within": {
                    "description": "How long an answer may take, waiting for its turn included.",
                    "type": "string",
                    "default": "5s"
                }
            }
        }
    })
}

fn calls(connectors: &Connectors) -> Value {
    let table = connectors
        .calls()
        .map_or(Value::Bool(false), |calls| embedded(calls.schema()));
    json!({
        "description": "Whom the scripts of the channel may call by HTTP, each by a name: context.http(name).get(path).",
        "type": "object",
        "minProperties": 1,
        "additionalProperties": table
    })
}

fn mapping() -> Value {
    json!({
        "description": "With decode or encode of json, xml and csv: the mapping, a TOML file beside the channel.",
        "type": "string"
    })
}

fn step(split: &Value) -> Value {
    json!({
        "title": "step",
        "type": "object",
        "additionalProperties": false,
        "properties": {
            "split": split,
            "filter": condition("Keeps the messages that match; the others end here as filtered."),
            "decode": {
                "description": "The format to read: the message becomes a change set.",
                "type": "string"
            },
            "codes": {
                "description": "With decode: the code table of the partner, a CSV file beside the channel.",
                "type": "string"
            },
            "charset": charset("With decode: the charset of messages that do not declare one."),
            "mapping": mapping(),
            "snapshot": {
                "description": "With decode: lists that a message says whole; what it leaves out is gone.",
                "type": "array",
                "items": { "type": "string" },
                "minItems": 1
            },
            "authority": {
                "description": "With decode: whose the numbers of patients, visits and people are that name no authority (HL7 CX-4, XCN-9), as if it stood there.",
                "type": "string",
                "minLength": 1
            },
            "set": {
                "description": "Changes values of the message; everything else stays byte for byte.",
                "type": "object",
                "minProperties": 1,
                "additionalProperties": {
                    "description": "a text, { clear = true }, { copy = \"PID-3\" } or { remove = true }",
                    "anyOf": [
                        { "type": "string" },
                        {
                            "title": "set",
                            "type": "object",
                            "additionalProperties": false,
                            "properties": {
                                "clear": {
                                    "description": "Tells the receiver to empty it.",
                                    "const": true
                                },
                                "copy": {
                                    "description": "The path whose value is written here.",
                                    "type": "string"
                                },
                                "remove": {
                                    "description": "Takes it out of the message.",
                                    "const": true
                                }
                            },
                            "oneOf": one_of(&["clear", "copy", "remove"]),
                        }
                    ]
                }
            },
            "deidentify": {
                "description": "Takes those whom the message is about out of it.",
                "title": "deidentify",
                "type": "object",
                "additionalProperties": false,
                "required": ["project"],
                "properties": {
                    "project": {
                        "description": "Under this name the same patients and numbers always become the same other ones.",
                        "type": "string",
                        "minLength": 1
                    },
                    "keep": {
                        "description": "What stays all the same; for DICOM: uids, device, institution, patient, dates, dates-shifted, descriptors, structured, graphics, safe-private.",
                        "type": "array",
                        "items": { "type": "string" },
                        "uniqueItems": true
                    },
                    "pixels": {
                        "description": "That pictures and documents were looked at and show nobody.",
                        "const": "clean"
                    }
                }
            },
            "new_uids": {
                "description": "Gives an object other UIDs, the same ones each time under this name: its own, and those of all that it refers to.",
                "type": "string",
                "minLength": 1
            },
            "transcode": {
                "description": "Writes the message in another coding that says the same; for DICOM: \"explicit-little\", explicit little endian with its pixels uncompressed.",
                "type": "string"
            },
            "lookup": lookup(),
            "script": {
                "description": "A JavaScript file beside the channel or in a folder under it: its default function gets each message.",
                "type": "string"
            },
            "timeout": {
                "description": "With script: how long it may take with one message, as a duration.",
                "type": "string",
                "default": "1s"
            },
            "memory": {
                "description": "With script: how much memory it may take.",
                "type": "string",
                "default": "64 MB"
            },
            "tables": {
                "description": "With script: the code tables that it may look into, CSV files beside the channel.",
                "type": "array",
                "items": { "type": "string" },
                "minItems": 1
            },
            "apply": {
                "description": "true or { on_unmatched = \"park\", overwrite = true }",
                "anyOf": [
                    { "const": true },
                    {
                        "type": "object",
                        "additionalProperties": false,
                        "properties": {
                            "on_unmatched": {
                                "description": "What to do with a patient who is not found: a new one, or a person decides. Images begin a chart only where \"create\" stands here.",
                                "enum": ["create", "park"],
                                "default": "create"
                            },
                            "overwrite": {
                                "description": "True: what a message says takes the place of what a person wrote. Else the person's value stays, and what was not taken is told with the message.",
                                "type": "boolean",
                                "default": false
                            }
                        }
                    }
                ]
            },
            "encode": {
                "description": "The format to write: the change set, as the clinic knows it now, becomes the message.",
                "type": "string"
            },
            "as": {
                "description": "With encode: the shape of what is written, where the format has several.",
                "type": "string"
            }
        },
        "oneOf": one_of(&VERBS),
    })
}

/// A value looked up: a code in a table, or what a destination answers.
fn lookup() -> Value {
    json!({
        "description": "Replaces a code by that of a table, or asks a destination and writes what it answers into the message.",
        "title": "lookup",
        "type": "object",
        "additionalProperties": false,
        "properties": {
            "table": {
                "description": "The code table, a CSV file beside the channel.",
                "type": "string"
            },
            "from": { "description": "With table: the path of the code.", "type": "string" },
            "to": {
                "description": "With table: the path to write to; the same unless said.",
                "type": "string"
            },
            "ask": {
                "description": "The name of the destination that is asked.",
                "type": "string"
            },
            "question": {
                "description": "With ask: what is asked, with values of the message in braces: \"Patient?identifier={PID-3.1}\". {id} is a new number, {now} the time, {date} the day.",
                "type": "string"
            },
            "set": {
                "description": "With ask: the paths of the message that are written, each with the path of the answer whose value it gets.",
                "type": "object",
                "minProperties": 1,
                "additionalProperties": { "type": "string" }
            },
            "within": {
                "description": "With ask: how long the answer may take, as a duration.",
                "type": "string",
                "default": "5s"
            },
            "on_failure": {
                "description": "With ask, what happens where there is no answer that can be believed: the message fails, or goes on as it is.",
                "enum": ["fail", "keep"],
                "default": "fail"
            },
            "missing": {
                "description": "\"keep\", \"fail\" or { default = \"…\" }",
                "default": "keep",
                "anyOf": [
                    { "enum": ["keep", "fail"] },
                    {
                        "type": "object",
                        "required": ["default"],
                        "additionalProperties": false,
                        "properties": {
                            "default": {
                                "description": "With table: what is written for a code that is not in it.",
                                "type": "string"
                            }
                        }
                    }
                ]
            }
        },
        "oneOf": one_of(&["table", "ask"]),
        "dependentRequired": {
            "table": ["from"],
            "ask": ["question", "set"]
        }
    })
}

/// Which messages a destination gets.
fn when() -> Value {
    let mut condition = condition("");
    if let Value::Object(condition) = &mut condition {
        condition.remove("description");
    }
    json!({
        "description": "Which messages it gets, by paths and tests; without it all. \"asked\": none, it is only asked.",
        "anyOf": [{ "enum": ["asked"] }, condition]
    })
}

/// A step of an answer: as any other, but for `split`; and `channel`, which hands it on.
fn response_step(split: &Value) -> Value {
    let mut step = step(split);
    step["title"] = "response".into();
    if let Some(Value::Object(properties)) = step.get_mut("properties") {
        properties.remove("split");
        properties.insert(
            "channel".to_owned(),
            json!({
                "description": "Hands the answer on to this channel, whose source is [source.channel]; stands last.",
                "type": "string"
            }),
        );
    }
    let verbs: Vec<&str> = VERBS
        .iter()
        .copied()
        .filter(|verb| *verb != "split")
        .chain(["channel"])
        .collect();
    step["oneOf"] = one_of(&verbs);
    step
}

/// What a message must be: paths and tests.
fn condition(description: &str) -> Value {
    let one_or_more = json!([
        { "type": "string" },
        { "type": "array", "items": { "type": "string" }, "minItems": 1 }
    ]);
    json!({
        "description": description,
        "type": "object",
        "minProperties": 1,
        "additionalProperties": {
            "description": "a text, a list of texts, { not = … }, { matches = \"…\" } or { present = true }",
            "anyOf": [
                one_or_more[0],
                one_or_more[1],
                {
                    "title": "test",
                    "type": "object",
                    "additionalProperties": false,
                    "properties": {
                        "not": {
                            "description": "a text, a list of texts or { matches = \"…\" }",
                            "anyOf": [
                                one_or_more[0],
                                one_or_more[1],
                                {
                                    "type": "object",
                                    "required": ["matches"],
                                    "additionalProperties": false,
                                    "properties": {
                                        "matches": {
                                            "description": "A regular expression that no value may match.",
                                            "type": "string"
                                        }
                                    }
                                }
                            ]
                        },
                        "matches": {
                            "description": "A regular expression that a value must match, anywhere in it.",
                            "type": "string"
                        },
                        "present": {
                            "description": "Whether there must be a value, or none.",
                            "type": "boolean"
                        }
                    },
                    "oneOf": one_of(&["not", "matches", "present"]),
                }
            ]
        }
    })
}

/// Exactly one of these keys.
fn one_of(names: &[&str]) -> Value {
    names.iter().map(|name| json!({ "required": [name] })).collect()
}

/// A connector's schema as a part of the whole: its definitions put in their places, nulls (which TOML has not) taken
/// out, unknown keys refused.
pub(super) fn embedded(schema: Value) -> Value {
    let definitions = match &schema {
        Value::Object(object) => ["$defs", "definitions"]
            .iter()
            .find_map(|key| object.get(*key))
            .cloned()
            .unwrap_or_default(),
        _ => Value::Null,
    };
    plain(schema, &definitions, MAX_DEPTH)
}

fn plain(schema: Value, definitions: &Value, depth: usize) -> Value {
    let Value::Object(mut object) = schema else {
        return schema;
    };
    if depth == 0 {
        return Value::Bool(true);
    }
    let reference = match object.get("$ref") {
        Some(Value::String(reference)) => reference.rsplit('/').next().map(str::to_owned),
        _ => None,
    };
    if let Some(name) = reference {
        object.remove("$ref");
        let name = name.replace("~1", "/").replace("~0", "~");
        if let Some(Value::Object(target)) = definitions.get(name) {
            for (key, value) in target {
                // What stands beside a reference (a description) is nearer to the place than what is behind it.
                object.entry(key.clone()).or_insert_with(|| value.clone());
            }
        }
        return plain(Value::Object(object), definitions, depth - 1);
    }
    for key in ["$defs", "definitions", "$schema"] {
        object.remove(key);
    }
    if let Some(Value::Array(types)) = object.get_mut("type") {
        types.retain(|kind| kind != "null");
        if let [one] = types.as_slice() {
            let one = one.clone();
            object.insert("type".to_owned(), one);
        }
    }
    if let Some(Value::Array(options)) = object.get_mut("enum") {
        options.retain(|option| !option.is_null());
    }
    if object.get("default").is_some_and(Value::is_null) {
        object.remove("default");
    }
    for key in ["anyOf", "oneOf"] {
        let Some(Value::Array(mut branches)) = object.remove(key) else {
            continue;
        };
        branches.retain(|branch| branch.get("type") != Some(&json!("null")));
        match branches.as_mut_slice() {
            [Value::Object(one)] => {
                let one = std::mem::take(one);
                for (key, value) in one {
                    object.entry(key).or_insert(value);
                }
                return plain(Value::Object(object), definitions, depth - 1);
            }
            _ => {
                let branches = branches
                    .into_iter()
                    .map(|branch| plain(branch, definitions, depth - 1))
                    .collect();
                object.insert(key.to_owned(), Value::Array(branches));
            }
        }
    }
    if let Some(Value::Object(properties)) = object.get_mut("properties") {
        for value in properties.values_mut() {
            *value = plain(value.take(), definitions, depth - 1);
        }
    }
    for key in ["items", "additionalProperties"] {
        if let Some(value) = object.get_mut(key) {
            *value = plain(value.take(), definitions, depth - 1);
        }
    }
    if let Some(Value::Array(parts)) = object.get_mut("allOf") {
        for part in parts {
            *part = plain(part.take(), definitions, depth - 1);
        }
    }
    let is_closed = ["additionalProperties", "unevaluatedProperties", "allOf"]
        .iter()
        .any(|key| object.contains_key(*key));
    if object.contains_key("properties") && !is_closed {
        object.insert("additionalProperties".to_owned(), Value::Bool(false));
    }
    Value::Object(object)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schema_of_a_connector_is_put_in_place() {
        let schema = json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "$defs": {
                "Auth": {
                    "description": "How to log in.",
                    "type": "object",
                    "properties": { "bearer_env": { "type": ["string", "null"], "default": null } }
                }
            },
            "type": "object",
            "properties": {
                "auth": {
                    "description": "Who we are.",
                    "anyOf": [{ "$ref": "#/$defs/Auth" }, { "type": "null" }]
                }
            }
        });
        assert_eq!(
            embedded(schema),
            json!({
                "type": "object",
                "additionalProperties": false,
                "properties": {
                    "auth": {
                        "description": "Who we are.",
                        "type": "object",
                        "additionalProperties": false,
                        "properties": { "bearer_env": { "type": "string" } }
                    }
                }
            })
        );
    }

    #[test]
    fn a_schema_that_names_itself_ends() {
        let schema = json!({
            "$defs": { "A": { "properties": { "a": { "$ref": "#/$defs/A" } } } },
            "$ref": "#/$defs/A"
        });
        let text = embedded(schema).to_string();
        assert!(!text.contains("$ref"), "{text}");
    }
}
