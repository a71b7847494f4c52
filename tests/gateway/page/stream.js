// The one live stream of this browser. All tabs share it, because a browser opens at most six
// connections to a site: one tab, the leader, reads it and passes on what comes. The leader holds a lock;
// when its tab closes, the browser gives the lock to another tab, which resumes where the last one stood.
//
//   const unsubscribe = subscribe("logs:web-1/nginx", ({ name, topic, data }) => …, { lines: 100 });
//
// Topics are "fleet", "instance:ID" and "logs:ID/CONTAINER". Names of events are those that the server
// sends (src/page/stream/mod.rs), and two of our own: "hello" on "fleet" once the stream is open (again),
// so whatever was missed has to be looked up, and "state" on "state" with "live" or "waiting".

const STREAM = "/page/stream";
const NAME = "vmkit-stream";
const MOST_LINES = 5000;
const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 30000;
// In which the other tabs tell a new leader what they want.
const ROLL_CALL_MS = 100;

const tab = Array.from(crypto.getRandomValues(new Uint32Array(3)), (n) => n.toString(36)).join("");
// Browsers have locks over TLS and on this machine alone. Elsewhere each tab has a stream of its own.
const channel = navigator.locks ? new BroadcastChannel(NAME) : { postMessage() {} };
// By topic: { handlers, lines, since }.
const subscriptions = new Map();
let lastId = null;
let leader = null;
// Whether this tab has its own lock, by which the leader knows that it is there.
let isHere = false;

export function subscribe(topic, handler, { lines, since } = {}) {
  let subscription = subscriptions.get(topic);
  if (!subscription) {
    subscription = { handlers: new Set(), lines, since };
    subscriptions.set(topic, subscription);
  }
  subscription.handlers.add(handler);
  subscription.ended = false;
  tellLeader([topic]);
  return () => {
    subscription.handlers.delete(handler);
    if (subscription.handlers.size === 0 && subscriptions.get(topic) === subscription) {
      subscriptions.delete(topic);
      tellLeader([]);
    }
  };
}

// All that this tab wants, so that a message which is lost does no harm. `fresh` are topics that have
// just been asked for: their "following" is to be said again.
function tellLeader(fresh) {
  const topics = [];
  for (const [topic, { lines, since, ended }] of subscriptions) {
    if (topic.includes(":") && !ended) {
      topics.push({ topic, lines, since });
    }
  }
  const wants = { kind: "wants", tab, topics, fresh };
  if (leader) {
    leader.wanted(wants);
  } else if (isHere) {
    channel.postMessage(wants);
  }
}

function deliver({ name, topic, data, id }) {
  if (id) {
    lastId = id;
  }
  const subscription = subscriptions.get(topic);
  if (!subscription) {
    return;
  }
  if (name === "lines" && data.lines.length > 0) {
    subscription.since = data.lines[data.lines.length - 1].ts;
  }
  // Whoever wants it again subscribes again.
  subscription.ended = name === "end";
  for (const handler of [...subscription.handlers]) {
    try {
      handler({ name, topic, data });
    } catch (error) {
      console.error(error);
    }
  }
}

channel.onmessage = ({ data: message }) => {
  switch (message.kind) {
    case "wants":
      leader?.wanted(message);
      break;
    case "who":
      tellLeader([]);
      break;
    case "event":
      deliver(message.event);
      break;
    case "last":
      lastId ??= message.id;
      break;
    case "signed-out":
      location.reload();
      break;
  }
};

class Leader {
  // By tab: a map of its topics.
  tabs = new Map();
  // What the server has been asked for on this connection.
  asked = new Map();
  // The last time stamp of each container's lines.
  seen = new Map();
  stream = null;
  // Requests go out one after the other.
  changes = Promise.resolve();

  async run() {
    channel.postMessage({ kind: "who" });
    tellLeader([]);
    await pause(ROLL_CALL_MS);
    let wait = FIRST_PAUSE_MS;
    for (;;) {
      const started = Date.now();
      const status = await this.read().catch(() => 0);
      this.stream = null;
      if (status === 401) {
        channel.postMessage({ kind: "signed-out" });
        location.reload();
        return;
      }
      if (status === 403) {
        return;
      }
      this.pass({ name: "state", topic: "state", data: { state: "waiting" } });
      wait = Date.now() - started > LONGEST_PAUSE_MS ? FIRST_PAUSE_MS : wait;
      await pause(wait * (0.5 + Math.random() / 2));
      wait = Math.min(2 * wait, LONGEST_PAUSE_MS);
    }
  }

  // Returns when the connection ends, with its status.
  async read() {
    const headers = { accept: "text/event-stream" };
    if (lastId) {
      headers["last-event-id"] = lastId;
    }
    const response = await fetch(STREAM, { headers, cache: "no-store" });
    if (!response.ok) {
      return response.status;
    }
    this.asked.clear();
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let text = "";
    for (;;) {
      const { done, value } = await reader.read();
      if (done) {
        return response.status;
      }
      text += value;
      // Events end with an empty line. The server writes no carriage returns.
      const parts = text.split("\n\n");
      text = parts.pop();
      parts.forEach((part) => this.received(part));
    }
  }

  received(part) {
    const event = { name: "message", id: null };
    let data = "";
    for (const line of part.split("\n")) {
      const colon = line.indexOf(":");
      const value = line.slice(colon + 1).replace(/^ /, "");
      switch (line.slice(0, colon)) {
        case "event":
          event.name = value;
          break;
        case "id":
          event.id = value;
          break;
        case "data":
          data += value;
          break;
      }
    }
    if (data === "") {
      return;
    }
    event.data = JSON.parse(data);
    event.topic = event.data.topic;
    if (event.name === "hello") {
      this.stream = event.data.stream;
      this.pass({ name: "state", topic: "state", data: { state: "live" } });
      this.settle([]);
    } else if (event.name === "lines" && event.data.lines.length > 0) {
      this.seen.set(event.topic, event.data.lines[event.data.lines.length - 1].ts);
    }
    this.pass(event);
  }

  pass(event) {
    const others = [...this.tabs].some(([name, topics]) => name !== tab && topics.has(event.topic));
    if (others || !event.topic.includes(":")) {
      channel.postMessage({ kind: "event", event });
    }
    // Once it is known who has to hear of the end, and before anyone hears of it and asks again.
    if (event.name === "end") {
      this.asked.delete(event.topic);
      this.tabs.forEach((topics) => topics.delete(event.topic));
    }
    deliver(event);
  }

  wanted({ tab: name, topics, fresh }) {
    if (!this.tabs.has(name) && name !== tab) {
      // The lock of a tab is free when the tab is gone.
      navigator.locks?.request(`${NAME}-${name}`, () => {
        this.tabs.delete(name);
        this.settle([]);
      });
      // Where to resume, should this tab lead before anything happens.
      channel.postMessage({ kind: "last", id: lastId });
    }
    this.tabs.set(name, new Map(topics.map((wanted) => [wanted.topic, wanted])));
    this.settle(fresh);
  }

  // Asks the server for what is wanted and has not been asked for, and the other way round.
  settle(fresh) {
    this.changes = this.changes.then(() => this.change(fresh)).catch((error) => console.error(error));
  }

  async change(fresh) {
    if (!this.stream) {
      return;
    }
    const wanted = new Map();
    for (const topics of this.tabs.values()) {
      topics.forEach((value, topic) => wanted.set(topic, value));
    }
    const add = [...wanted.values()]
      .filter(({ topic }) => !this.asked.has(topic) || fresh.includes(topic))
      .map(({ topic, lines, since }) => {
        const from = this.seen.get(topic) ?? since;
        return from ? { topic, lines: MOST_LINES, since: from } : { topic, lines };
      });
    const remove = [...this.asked.keys()].filter((topic) => !wanted.has(topic));
    if (add.length + remove.length === 0) {
      return;
    }
    remove.forEach((topic) => {
      this.asked.delete(topic);
      this.seen.delete(topic);
    });
    add.forEach(({ topic }) => this.asked.set(topic, true));
    const response = await fetch(`${STREAM}/${this.stream}/topics`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ add, remove }),
    });
    if (response.status === 404) {
      // The stream has ended meanwhile. The next one asks for all that is wanted.
      add.forEach(({ topic }) => this.asked.delete(topic));
    } else if (!response.ok) {
      const problem = await response.json().catch(() => ({}));
      const data = { ended: "error", detail: problem.detail ?? `status ${response.status}` };
      add.forEach(({ topic }) => this.pass({ name: "end", topic, data }));
    }
  }
}

function pause(ms) {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

function lead() {
  leader = new Leader();
  return leader.run();
}

if (navigator.locks) {
  // Held for as long as this tab lives. What it has asked for before waits for it.
  navigator.locks.request(`${NAME}-${tab}`, () => {
    isHere = true;
    tellLeader([...subscriptions.keys()]);
    return new Promise(() => {});
  });
  navigator.locks.request(NAME, () => lead());
} else {
  lead();
}
