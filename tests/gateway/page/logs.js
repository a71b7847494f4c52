// The log view: one container's lines as they come, held on wish; the search is in log-search.js, what is
// on the screen in log-lines.js.
//
// The shared stream follows the container for all tabs of this browser, so its first lines may have come
// long ago. The page asks for the last lines itself once it is told that the container is followed; what
// has come meanwhile is told apart by time and text.

import { LogLines, number } from "./log-lines.js";
import { Search } from "./log-search.js";
import { subscribe } from "./stream.js";

const FIRST_LINES = 1000;
// Kept to tell whether a line has come already.
const KNOWN = 5000;
// Where nothing tells that it is worth an attempt, it is made anyway, now and then.
const RETRY_MS = 15000;
// An end that comes so soon is the same end as before.
const SETTLED_MS = 1000;
const STATE_MS = 200;

const view = $("logs").dataset;
const lines = new LogLines($("lines"), () => planState());
const search = new Search(view.path);
const topic = `logs:${view.instance}/${view.container}`;

// What comes before the last lines that this page has asked for: it is shown after them.
let early = null;
let filled = false;
// Whether what comes next may have come before, and whether some of it did: then nothing is missing.
let resumed = false;
let overlaps = false;
let known = new Map();
let newest = "";
let connection = "Connecting…";
let unsubscribe = () => {};
let stateTimer = null;
let retryTimer = null;
let settleTimer = null;
// Ended, and worth an attempt as soon as something about the instance changes.
let isWaiting = false;
let isLost = false;

// ---- the lines ----

function follow() {
  clearTimeout(retryTimer);
  isWaiting = false;
  unsubscribe();
  unsubscribe = subscribe(topic, told, { lines: 1, since: newest || undefined });
}

function told({ name, data }) {
  switch (name) {
    case "following":
      clearTimeout(settleTimer);
      settleTimer = setTimeout(settled, $("notice").hidden ? 0 : SETTLED_MS);
      if (!filled) {
        filled = true;
        early = [];
        fill();
      } else {
        resume(false);
      }
      break;
    case "lines":
      if (early) {
        early.push(data);
      } else {
        add(data);
      }
      break;
    case "end":
      ended(data);
      break;
  }
  planState();
}

async function fill() {
  const last = await fetchLast();
  const waiting = early;
  early = null;
  if (last) {
    add({ lines: last.lines, dropped: 0 });
    // The container was followed before it was asked for these.
    resume(true);
  }
  waiting?.forEach(add);
}

async function fetchLast() {
  try {
    const response = await fetch(`${view.path}/last?lines=${FIRST_LINES}`, { cache: "no-store" });
    if (response.ok) {
      return await response.json();
    }
    const problem = await response.json().catch(() => ({}));
    setNotice(`The last lines can't be read: ${problem.detail ?? `status ${response.status}`}.`);
  } catch (error) {
    setNotice(`The last lines can't be read: ${error.message}.`);
  }
  return null;
}

function resume(hasAll) {
  resumed = true;
  overlaps = hasAll;
}

function add({ lines: more, dropped }) {
  const fresh = resumed ? more.filter((line) => !isKnown(line)) : more;
  overlaps ||= fresh.length < more.length;
  const entries = [];
  if (dropped > 0) {
    const words = dropped === 1 ? "1 line was" : `${number(dropped)} lines were`;
    entries.push({ note: `${words} dropped here: they came too fast`, count: dropped });
  } else if (resumed && !overlaps && newest !== "" && fresh.length > 0) {
    entries.push({ note: "Lines may be missing here" });
  }
  // From here on time alone tells that a line is new.
  resumed &&= !more.some((line) => line.ts > newest);
  lines.push([...entries, ...fresh]);
  remember(fresh);
}

function isKnown(line) {
  return line.ts <= newest && known.has(key(line));
}

function remember(fresh) {
  for (const line of fresh) {
    known.set(key(line), true);
    if (line.ts > newest) {
      newest = line.ts;
    }
  }
  if (known.size > 2 * KNOWN) {
    known = new Map([...known].slice(-KNOWN));
  }
}

function key({ ts, text, from }) {
  return `${ts} ${from ?? ""} ${text.slice(0, 200)}`;
}

// ---- its end ----

function ended({ ended, detail }) {
  // Until the agent is back, each attempt ends with an error.
  isLost = ended === "session" || (isLost && ended === "error");
  const why = isLost ? "session" : ended;
  const [words, state] = {
    container: ["The container has ended.", "The container has ended"],
    session: ["The agent was lost. The log goes on here when it is back.", "Agent lost"],
    cancelled: ["The log was cancelled on the gateway.", "Cancelled"],
  }[why] ?? [`The log can't be followed: ${detail}.`, "Not following"];
  clearTimeout(settleTimer);
  connection = state;
  setNotice(words, true);
  isWaiting = true;
  retryTimer = setTimeout(follow, RETRY_MS * (1 + Math.random()));
}

function settled() {
  isLost = false;
  connection = "Following";
  setNotice("");
  planState();
}

function setNotice(words, canRetry = false) {
  $("notice").hidden = words === "";
  if ($("notice-text").textContent !== words) {
    $("notice-text").textContent = words;
  }
  $("again").hidden = !canRetry;
}

// ---- what the page says of itself ----

function planState() {
  stateTimer ??= setTimeout(() => {
    stateTimer = null;
    showState();
  }, STATE_MS);
}

function showState() {
  const waiting = lines.held ? lines.waiting + lines.queue.left : 0;
  const wait = waiting === 1 ? "1 line waits" : `${number(waiting)} lines wait`;
  const why = lines.held === "scroll" ? "Paused, because you scrolled up" : "Paused";
  const words = lines.held ? `${why}: ${wait}` : connection;
  if ($("log-state").textContent !== words) {
    $("log-state").textContent = words;
  }
  $("log-state").classList.toggle("live", !lines.held && connection === "Following");
  const pressed = String(lines.held !== "");
  if ($("pause").getAttribute("aria-pressed") !== pressed) {
    $("pause").setAttribute("aria-pressed", pressed);
  }
}

// ---- switches and keys ----

function turn() {
  if (lines.held) {
    lines.go();
  } else {
    lines.hold("key");
  }
  showState();
}

// Is as the reader has left it, on any page of a log.
function bind(id, isOn, turned) {
  const box = $(id);
  box.checked = isOn;
  const kept = localStorage.getItem(`vmkit-logs-${id}`);
  if (kept !== null) {
    box.checked = kept === "true";
  }
  const apply = () => turned(box.checked);
  box.addEventListener("change", () => {
    localStorage.setItem(`vmkit-logs-${id}`, box.checked);
    apply();
  });
  apply();
}

function setClass(name, is) {
  $("logs").classList.toggle(name, is);
  lines.pin();
}

document.addEventListener("keydown", (event) => {
  const control = event.target.closest?.("a, button, input, select, summary, textarea");
  if (event.ctrlKey || event.altKey || event.metaKey || control || !$("keys").checked) {
    return;
  }
  const act = { " ": turn, "/": () => $("text").focus(), End: () => lines.go() }[event.key];
  if (act) {
    event.preventDefault();
    act();
    showState();
  }
});

$("pause").addEventListener("click", turn);
$("end").addEventListener("click", () => lines.go());
$("again").addEventListener("click", () => follow());
$("cancel").addEventListener("click", () => search.cancel());
$("close").addEventListener("click", () => {
  search.close();
  $("text").focus();
});
$("search").addEventListener("submit", (event) => {
  event.preventDefault();
  search.run($("text").value, $("ignore-case").checked);
});
$("text").addEventListener("keydown", (event) => {
  if (event.key === "Escape") {
    event.preventDefault();
    search.cancel();
    $("lines").focus();
  }
});
// A phone has no room for both a line and its time.
const isNarrow = matchMedia("(max-width: 600px)").matches;
bind("times", !isNarrow, (is) => setClass("no-times", !is));
bind("wrap", isNarrow, (is) => setClass("wrap", is));
bind("keys", true, () => {});

subscribe("state", ({ data }) => {
  if (data.state === "waiting") {
    connection = "The gateway can't be reached; trying again";
  } else if (connection.startsWith("The gateway")) {
    connection = "Following";
  }
  planState();
});

if (view.follow === "true") {
  follow();
  subscribe(`instance:${view.instance}`, () => isWaiting && follow());
} else {
  connection = "Not following";
  setNotice("The agent of this VM is too old to follow a log: load the page again for newer lines.");
  fill();
}

function $(id) {
  return document.getElementById(id);
}
