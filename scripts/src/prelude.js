// What every script finds: the message, its context, a console; a clock that stands still and chance that can be
// repeated. Run once in each fresh runtime, before anything of a channel. `host` is the Rust side.
(host) => {
  "use strict";

  const { parse, stringify } = JSON;
  const { isArray } = Array;

  /** An error that knows its place in the message. */
  class Failure extends Error {
    constructor(what, place, reason) {
      super(what);
      this.name = "Failure";
      if (place !== undefined && place !== null) this.place = String(place);
      if (reason) this.reason = reason;
    }
  }

  const sure = (answer) => {
    if (answer !== null && typeof answer === "object" && answer.fault !== undefined) {
      throw new Failure(answer.fault, answer.place, answer.reason);
    }
    return answer;
  };

  const path = (at) => {
    if (typeof at !== "string") throw new TypeError(`a path is a text, as in "PID-3.1", and not ${kind(at)}`);
    return at;
  };

  const text = (value) => {
    switch (typeof value) {
      case "string":
        return value;
      case "number":
      case "bigint":
      case "boolean":
        return String(value);
      default:
        throw new TypeError(`a value is a text or a number, and not ${kind(value)}; see clear and remove`);
    }
  };

  const kind = (value) => {
    if (value === null) return "null";
    if (isArray(value)) return "a list";
    const type = typeof value;
    return type === "undefined" ? type : `${type === "object" ? "an" : "a"} ${type}`;
  };

  const frozen = (value) => {
    if (value !== null && typeof value === "object" && !Object.isFrozen(value)) {
      Object.freeze(value);
      for (const key of Object.keys(value)) frozen(value[key]);
    }
    return value;
  };

  // A body as plain values. It is written back once they are no longer what was read.
  let shown = null;

  const show = (name, read, write) => {
    if (shown === null || shown.name !== name) {
      flush();
      const value = read();
      shown = { name, value, before: stringify(value), write };
    }
    return shown.value;
  };

  const flush = () => {
    if (shown === null) return;
    const now = stringify(shown.value);
    if (now === shown.before) return;
    if (now === undefined) throw new TypeError(`the ${shown.name} of the message is ${kind(shown.value)} now`);
    shown.write(now);
    shown.before = now;
  };

  // Another way of writing makes what was shown stale. Frozen, it says so instead of losing what is written to it.
  const stale = () => {
    flush();
    if (shown !== null) frozen(shown.value);
    shown = null;
  };

  const replace = (name, value, write) => {
    const now = stringify(value);
    if (now === undefined) throw new TypeError(`the ${name} of a message can't be ${kind(value)}`);
    if (shown !== null && shown.value !== value) frozen(shown.value);
    shown = null;
    write(now);
  };

  const setJson = (now) => sure(host.setText(now));
  const setTree = (now) => sure(host.setTree(now));
  const latin = (bytes) => {
    let out = "";
    for (let at = 0; at < bytes.length; at += 8192) {
      out += String.fromCharCode.apply(null, bytes.subarray(at, at + 8192));
    }
    return out;
  };
  const setLatin = (bytes) => sure(host.setBytes(latin(bytes)));

  class Message {
    /** The name of its format: "hl7v2", "json" … */
    get format() {
      return host.format();
    }

    /** The text at a path, the first where there are several; "" where there is none. */
    get(at) {
      const all = this.all(at);
      return all.length === 0 ? "" : all[0];
    }

    /** The texts at a path. */
    all(at) {
      path(at);
      flush();
      return sure(host.values(at));
    }

    /** Whether a text stands there that is not empty. */
    has(at) {
      return this.all(at).some((value) => value !== "");
    }

    /** Writes a text there; everything else stays as it came. */
    set(at, value) {
      stale();
      sure(host.set(path(at), "assign", text(value)));
      return this;
    }

    /** Tells the receiver to empty it. */
    clear(at) {
      stale();
      sure(host.set(path(at), "clear", ""));
      return this;
    }

    /** Writes there what stands at another path. */
    copy(to, from) {
      stale();
      sure(host.set(path(to), "copy", path(from)));
      return this;
    }

    /** Takes it out. */
    remove(at) {
      stale();
      sure(host.set(path(at), "remove", ""));
      return this;
    }

    /** The segments of a name (HL7), to be gone through. */
    segments(name) {
      const count = this.all(name).length;
      return Array.from({ length: count }, (_, idx) => new Segment(this, name, idx + 1));
    }

    /** The whole body as text. */
    get text() {
      flush();
      return sure(host.text());
    }

    set text(value) {
      if (typeof value !== "string") throw new TypeError(`the text of a message can't be ${kind(value)}`);
      stale();
      sure(host.setText(value));
    }

    /** The whole body as bytes. */
    get bytes() {
      flush();
      return host.bytes();
    }

    set bytes(value) {
      if (!(value instanceof Uint8Array)) throw new TypeError(`the bytes of a message can't be ${kind(value)}`);
      stale();
      setLatin(value);
    }

    /** The body as plain values. What is changed in them is changed in the message. */
    get json() {
      return show("json", () => parse(sure(host.text())), setJson);
    }

    set json(value) {
      replace("json", value, setJson);
    }

    /** The body as a tree of its format. What is changed in it is changed in the message. */
    get tree() {
      return show("tree", () => parse(sure(host.tree())), setTree);
    }

    set tree(value) {
      replace("tree", value, setTree);
    }
  }

  class Segment {
    #message;
    constructor(message, name, number) {
      this.#message = message;
      this.name = name;
      this.number = number;
      Object.freeze(this);
    }

    /** Its path: "OBX[2]". */
    get path() {
      return `${this.name}[${this.number}]`;
    }

    #at(field) {
      return `${this.path}-${field}`;
    }

    /** The text of a field: get(5), get("3.1"), get("3[2].1"). */
    get(field) {
      return this.#message.get(this.#at(field));
    }

    /** The texts of a field, one for each repetition. */
    all(field) {
      return this.#message.all(this.#at(field));
    }

    /** Whether a text stands there that is not empty. */
    has(field) {
      return this.#message.has(this.#at(field));
    }

    /** Writes a text there. */
    set(field, value) {
      this.#message.set(this.#at(field), value);
      return this;
    }

    /** Tells the receiver to empty it. */
    clear(field) {
      this.#message.clear(this.#at(field));
      return this;
    }

    /** Takes a field out, or without one the whole segment: those after it are counted anew. */
    remove(field) {
      this.#message.remove(field === undefined ? this.path : this.#at(field));
      return this;
    }
  }

  class Counter {
    #name;
    constructor(name) {
      this.#name = name;
      // An undeclared one is told where it is asked for.
      sure(host.count(name, false));
      Object.freeze(this);
    }

    /** Takes the next number. It counts once the message is stored. */
    next() {
      return sure(host.count(this.#name, true));
    }

    /** The number that was taken last; undefined where there was none. */
    get value() {
      return sure(host.count(this.#name, false)) ?? undefined;
    }
  }

  class Cache {
    #name;
    constructor(name) {
      this.#name = name;
      Object.freeze(this);
    }

    /** What stands under a key; undefined where there is nothing, or no more. */
    get(key) {
      const json = sure(host.cached(this.#name, text(key))) ?? undefined;
      return json === undefined ? undefined : parse(json);
    }

    /** Whether something stands there. */
    has(key) {
      return this.get(key) !== undefined;
    }

    /** Writes plain values there. It counts once the message is stored. */
    set(key, value) {
      const json = stringify(value);
      if (json === undefined) throw new TypeError(`a cache keeps plain values, and not ${kind(value)}`);
      sure(host.setCached(this.#name, text(key), json));
      return this;
    }

    /** Takes it out. */
    delete(key) {
      sure(host.setCached(this.#name, text(key), undefined));
      return this;
    }
  }

  /** The bytes of a text in UTF-8, as a text of letters below 256. */
  const utf8 = (value) =>
    encodeURIComponent(value.toWellFormed()).replace(/%([0-9A-F]{2})/g, (_, digits) =>
      String.fromCharCode(parseInt(digits, 16)),
    );

  /** A far side that the channel grants. */
  class FarSide {
    #name;
    constructor(name) {
      sure(host.granted(name));
      this.#name = name;
      Object.freeze(this);
    }

    get(at, options) {
      return this.request("GET", at, undefined, options);
    }

    post(at, body, options) {
      return this.request("POST", at, body, options);
    }

    put(at, body, options) {
      return this.request("PUT", at, body, options);
    }

    patch(at, body, options) {
      return this.request("PATCH", at, body, options);
    }

    delete(at, options) {
      return this.request("DELETE", at, undefined, options);
    }

    /** Calls it and waits for the answer, whatever its status. Throws where there is none. */
    request(method, at, body, options = {}) {
      const headers = Object.entries(options.headers ?? {}).map(([name, value]) => [name, text(value)]);
      let bytes = "";
      let type;
      if (body instanceof Uint8Array) {
        [bytes, type] = [latin(body), "application/octet-stream"];
      } else if (typeof body === "string") {
        [bytes, type] = [utf8(body), "text/plain; charset=utf-8"];
      } else if (body !== undefined) {
        const json = stringify(body);
        if (json === undefined) throw new TypeError(`a body is a text, bytes or plain values, and not ${kind(body)}`);
        [bytes, type] = [utf8(json), "application/json"];
      }
      const is_said = headers.some(([name]) => name.toLowerCase() === "content-type");
      if (type !== undefined && !is_said) headers.push(["content-type", type]);
      const request = stringify({ to: this.#name, method: text(method), path: path(at), headers });
      const answer = sure(host.call(request, bytes));
      if (answer.why !== undefined) throw new NoAnswer(this.#name, answer.why, answer.isSent);
      return new Answer(answer.status, answer.number, parse(answer.headers));
    }
  }

  /** A far side has not answered. */
  class NoAnswer extends Error {
    constructor(name, why, isSent) {
      super(`${name}: ${why}`);
      this.name = "NoAnswer";
      /** Whether the far side may have got it. */
      this.sent = isSent;
    }
  }

  /** What a far side answered. */
  class Answer {
    #number;
    constructor(status, number, headers) {
      this.#number = number;
      this.status = status;
      this.ok = 200 <= status && status < 300;
      this.headers = Object.freeze(Object.fromEntries(headers));
      Object.freeze(this);
    }

    get text() {
      return sure(host.answerText(this.#number));
    }

    get bytes() {
      return sure(host.answerBytes(this.#number));
    }

    get json() {
      return parse(this.text);
    }
  }

  // The change set, read when it is asked for.
  let changes = null;

  const context = {
    get channel() {
      return host.channel();
    },
    get message() {
      return host.message();
    },
    get received() {
      return new Date(host.now());
    },
    /** What the message answers, as text, where it is the answer of a destination. */
    get sent() {
      return host.sent();
    },
    get changes() {
      if (changes === null) {
        const json = host.changes();
        if (json === undefined) return undefined;
        const value = parse(json);
        changes = { value, before: stringify(value) };
      }
      return changes.value;
    },
    set changes(value) {
      changes = { value, before: "" };
    },
    /** What a code becomes by a table: { system, code, display }, or undefined. */
    lookup(table, system, code) {
      if (arguments.length === 2) [system, code] = ["", system];
      const found = sure(host.lookup(text(table), text(system), text(code)));
      if (found === null) return undefined;
      return { system: found[0], code: found[1], display: found[2] };
    },
    /** A counter that the channel declares. */
    counter(name) {
      return new Counter(text(name));
    },
    /** A cache that the channel declares. */
    cache(name) {
      return new Cache(text(name));
    },
    /** A far side that the channel grants. */
    http(name) {
      return new FarSide(text(name));
    },
    /** What a destination that the channel lets scripts ask has found, as text; undefined: nothing. */
    ask(destination, question) {
      return sure(host.ask(text(destination), text(question)));
    },
    /** Where a script is a destination: what the delivery is known by, the same at each try and of no other. */
    get delivery() {
      return parse(host.task()).deliver?.delivery;
    },
    /** Where a script is a source: what it said after the last time. */
    get cursor() {
      return parse(host.task()).poll?.cursor ?? undefined;
    },
    /** Ends the message as failed. */
    fail(what, place) {
      throw new Failure(text(what), place);
    },
  };
  Object.freeze(context);

  const shownValue = (value) => {
    if (typeof value === "string") return value;
    if (value instanceof Error) return `${value.name}: ${value.message}`;
    if (value !== null && typeof value === "object") {
      try {
        return stringify(value) ?? String(value);
      } catch {
        return String(value);
      }
    }
    return String(value);
  };
  const log = (...values) => host.log(values.map(shownValue).join(" "));
  globalThis.console = Object.freeze({ log, debug: log, info: log, warn: log, error: log });

  // A message that is run again gives the same: its own time and its own chance.
  const RealDate = Date;
  const now = () => host.now();
  function MessageDate(...parts) {
    if (new.target === undefined) return new RealDate(now()).toString();
    return Reflect.construct(RealDate, parts.length === 0 ? [now()] : parts, new.target);
  }
  MessageDate.prototype = RealDate.prototype;
  RealDate.prototype.constructor = MessageDate;
  MessageDate.now = now;
  MessageDate.parse = RealDate.parse;
  MessageDate.UTC = RealDate.UTC;
  Object.defineProperty(MessageDate, "name", { value: "Date" });
  Object.defineProperty(MessageDate, "length", { value: 7 });
  globalThis.Date = MessageDate;
  let chance = null;
  Math.random = () => {
    if (chance === null) chance = host.seed();
    chance = (chance + 0x6d2b79f5) | 0;
    let mixed = Math.imul(chance ^ (chance >>> 15), 1 | chance);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
  delete globalThis.performance;

  const message = new Message();
  Object.freeze(message);
  globalThis.Failure = Failure;

  const isPlain = (value) => {
    if (value === null || typeof value !== "object") return false;
    const proto = Object.getPrototypeOf(value);
    return proto === Object.prototype || proto === null;
  };

  const reason = (value, word) => {
    if (typeof value !== "string" || value === "") {
      throw new Failure(`the script says ${word} and not why; return { ${word}: "…" }`);
    }
    return value;
  };
  const SECONDS = { s: 1, m: 60, h: 3600 };
  const pause = (value) => {
    if (value === undefined) return null;
    const found = /^([0-9]{1,5})([smh])$/.exec(value);
    if (found === null) throw new Failure(`after is a duration such as "30s" or "5m"`);
    return { secs: Number(found[1]) * SECONDS[found[2]], nanos: 0 };
  };

  /** What became of a delivery. */
  const verdictOf = (returned) => {
    const words = isPlain(returned) ? Object.keys(returned).filter((word) => word !== "after") : [];
    const [word] = words;
    const value = words.length === 1 ? returned[word] : undefined;
    if (word === "accepted" && (value === true || typeof value === "string")) {
      return { accepted: { reference: value === true ? null : value } };
    }
    if (words.length === 1) {
      if (word === "refused") return { refused: { why: reason(value, word) } };
      if (word === "retry") return { retry: { why: reason(value, word), after: pause(returned.after) } };
      if (word === "unsure") return { unsure: { why: reason(value, word) } };
    }
    throw new Failure(
      `the script returned ${kind(returned)}, which does not say what became of the delivery; return { accepted: true }, { refused: "why" }, { retry: "why" } or { unsure: "why" }`,
    );
  };

  /** One message that was fetched. */
  const fetched = (one) => {
    if (!isPlain(one)) throw new Failure(`a message is { id, body }, and not ${kind(one)}`);
    const id = one.id === undefined || one.id === null ? "" : text(one.id);
    if (id === "" || 200 < id.length) {
      throw new Failure("each message has an id of 1 to 200 letters, by which it is known again");
    }
    const type = one.type === undefined ? undefined : text(one.type);
    const { body } = one;
    if (typeof body === "string") {
      sure(host.polled(id, type, body, false));
    } else if (body instanceof Uint8Array) {
      sure(host.polled(id, type, latin(body), true));
    } else if (isPlain(body) || isArray(body)) {
      sure(host.polled(id, type ?? "application/json", stringify(body), false));
    } else {
      throw new Failure(`the body of a message is a text, bytes or plain values, and not ${kind(body)}`);
    }
  };

  return {
    /** Of a delivery. */
    finishDelivery(returned) {
      sure(host.verdict(stringify(verdictOf(returned))));
      return true;
    },

    /** Of a poll. */
    finishPoll(returned) {
      if (returned === undefined || returned === null) return true;
      const { messages = [], cursor } = isArray(returned) ? { messages: returned } : returned;
      if (!isArray(messages) || typeof returned !== "object") {
        throw new Failure(
          `the script returned ${kind(returned)}; a source returns a list of { id, body }, or { messages: […], cursor: "…" }`,
        );
      }
      for (const one of messages) fetched(one);
      if (cursor !== undefined && cursor !== null) sure(host.cursor(text(cursor)));
      return true;
    },

    /** Calls the script's function. */
    call(script) {
      return script(message, context);
    },

    /** Makes of what it returned what the host has to know; false: the message ends here. */
    finish(returned) {
      if (changes !== null) {
        const after = stringify(changes.value);
        if (after !== changes.before) sure(host.setChanges(after === undefined ? "null" : after));
      }
      if (returned === false) return false;
      if (returned === undefined || returned === true || returned === message) {
        flush();
      } else if (typeof returned === "string") {
        message.text = returned;
      } else if (returned instanceof Uint8Array) {
        message.bytes = returned;
      } else if (isPlain(returned) && host.format() === "json") {
        message.json = returned;
      } else {
        throw new Failure(
          `the script returned ${kind(returned)}; it returns nothing (the message as it is now), a new body as text or bytes, or false (the message ends here)`,
        );
      }
      return true;
    },
  };
};
