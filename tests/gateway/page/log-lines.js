// The lines of a log on the screen: the last few thousand, however fast they come. Lines wait in a queue
// of bounded length and are drawn some at a time, so that a key is answered between two drawings.

// On the screen, and as many again may wait.
const MOST_LINES = 5000;
const MOST_CHARACTERS = 2 << 20;
// Drawn at once, and then cut off together.
const BLOCK = 250;
// At most a third of the time goes into drawing.
const SHORTEST_PAUSE_MS = 40;
const SHARE = 2;
// A reader of the screen is read new lines only where they come slower than this.
const READ_ALOUD_MS = 1000;
const NEAR_PX = 24;
// What a program writes to colour a terminal.
const COLOURS = /\u001b\[[0-9;:?]*[A-Za-z]/g;
// A scroll so soon after a wheel, a finger or a key is the reader's.
const INTENT_MS = 1000;

export class LogLines {
  // `changed` is called when what waits, or whether lines are held, has changed.
  constructor(box, changed) {
    this.box = box;
    this.changed = changed;
    this.queue = new Queue();
    this.characters = 0;
    this.lines = 0;
    // Why new lines wait: "" (they do not), "key" or "scroll".
    this.held = "";
    // The oldest first.
    this.blocks = [];
    this.last = null;
    this.intent = -Infinity;
    for (const kind of ["wheel", "touchmove", "pointerdown", "keydown"]) {
      box.addEventListener(kind, () => (this.intent = performance.now()), { passive: true });
    }
    box.addEventListener("scroll", () => this.scrolled(), { passive: true });
    new ResizeObserver(() => this.pin()).observe(box);
  }

  // Of lines, and of notes: { note: "…" }.
  push(entries) {
    entries.forEach((entry) => this.queue.push(entry));
    this.plan();
    this.changed();
  }

  get waiting() {
    return this.queue.lines;
  }

  hold(why) {
    this.held = why;
    this.setAloud(false);
    this.changed();
  }

  // At the end of the log, and on from there.
  go() {
    this.held = "";
    this.pin();
    this.plan();
    this.changed();
  }

  // As it is after the reader has turned a switch.
  pin() {
    if (!this.held) {
      this.box.scrollTop = this.box.scrollHeight;
    }
  }

  plan(pause = 0) {
    if (!this.timer && !this.held && this.queue.length > 0) {
      this.timer = setTimeout(() => this.draw(), pause);
    }
  }

  draw() {
    this.timer = null;
    if (this.held) {
      return;
    }
    const started = performance.now();
    const entries = this.queue.take(BLOCK);
    this.setAloud(started - (this.drawn ?? 0) > READ_ALOUD_MS && entries.length === 1);
    this.drawn = started;
    const block = this.block(entries.length);
    for (const entry of entries) {
      block.element.append(entry.note ? note(entry.note) : line(entry));
      this.count(block, 1, size(entry));
    }
    this.cut();
    this.pin();
    this.changed();
    const took = performance.now() - started;
    this.plan(Math.max(SHORTEST_PAUSE_MS, SHARE * took));
  }

  // The last one, if it has room.
  block(lines) {
    if (!this.last || this.last.lines + lines > BLOCK) {
      this.last = { element: document.createElement("div"), lines: 0, characters: 0 };
      this.last.element.className = "block";
      this.blocks.push(this.last);
      this.box.append(this.last.element);
    }
    return this.last;
  }

  count(block, lines, characters) {
    block.lines += lines;
    block.characters += characters;
    this.lines += lines;
    this.characters += characters;
  }

  cut() {
    const isFull = () => this.lines > MOST_LINES || this.characters > MOST_CHARACTERS;
    while (isFull() && this.blocks.length > 1) {
      const { element, lines, characters } = this.blocks.shift();
      element.remove();
      this.lines -= lines;
      this.characters -= characters;
    }
  }

  scrolled() {
    const below = this.box.scrollHeight - this.box.clientHeight - this.box.scrollTop;
    const meant = performance.now() - this.intent < INTENT_MS;
    if (!this.held && meant && below > NEAR_PX) {
      this.hold("scroll");
    } else if (this.held === "scroll" && below <= NEAR_PX / 4) {
      this.go();
    }
  }

  setAloud(is) {
    const value = is ? "polite" : "off";
    if (this.box.getAttribute("aria-live") !== value) {
      this.box.setAttribute("aria-live", value);
    }
  }
}

// First in, first out. Where it is full the oldest are left out, and a note says how many.
class Queue {
  entries = [];
  from = 0;
  characters = 0;
  lines = 0;
  left = 0;

  get length() {
    return this.entries.length - this.from + (this.left > 0 ? 1 : 0);
  }

  push(entry) {
    this.entries.push(entry);
    this.add(entry, 1);
    while (this.lines > MOST_LINES || (this.characters > MOST_CHARACTERS && this.lines > 1)) {
      const oldest = this.shift();
      this.left += oldest.note ? (oldest.count ?? 0) : 1;
    }
  }

  take(count) {
    const taken = [];
    if (this.left > 0) {
      taken.push({ note: `${number(this.left)} older lines were left out here: too many waited` });
      this.left = 0;
    }
    while (taken.length < count && this.from < this.entries.length) {
      taken.push(this.shift());
    }
    return taken;
  }

  shift() {
    const entry = this.entries[this.from];
    this.entries[this.from++] = undefined;
    if (this.from > MOST_LINES) {
      this.entries.splice(0, this.from);
      this.from = 0;
    }
    this.add(entry, -1);
    return entry;
  }

  add(entry, sign) {
    this.lines += entry.note ? 0 : sign;
    this.characters += sign * size(entry);
  }
}

export function number(value) {
  return value.toLocaleString("en-US");
}

// Of a line, for whoever copies it too.
export function line({ ts, text, from }) {
  const element = document.createElement("div");
  element.className = from === "stderr" ? "line stderr" : "line";
  const time = document.createElement("time");
  time.textContent = shown(ts) + " ";
  element.append(time, text.includes("\u001b") ? text.replace(COLOURS, "") : text);
  return element;
}

// A time stamp to the millisecond.
export function shown(ts) {
  return ts.slice(0, 23).replace("T", " ").replace("Z", "");
}

function note(text) {
  const element = document.createElement("div");
  element.className = "note";
  element.textContent = text;
  return element;
}

function size(entry) {
  return 64 + (entry.text ?? entry.note).length;
}
