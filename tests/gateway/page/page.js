// What every page does with the stream: it shows the warning of lost agents as it comes and goes, and
// looks its own content up again when something has changed. All HTML is made by the server: what is new
// is the same page, of which the parts marked `data-live` are taken over.

import { subscribe } from "./stream.js";

// Times such as "2 min ago" grow old by themselves.
const REFRESH_MS = 60000;

const state = document.getElementById("state");
const topic = document.querySelector("[data-topic]")?.dataset.topic;
const fleet = document.getElementById("instances") !== null;

// One request at a time, and one more if something has changed meanwhile.
function once(work) {
  let running = false;
  let again = false;
  return async function start() {
    if (running) {
      again = true;
      return;
    }
    running = true;
    try {
      await work();
    } catch (error) {
      console.error(error);
    }
    running = false;
    if (again) {
      again = false;
      start();
    }
  };
}

async function load(url) {
  const response = await fetch(url, { headers: { accept: "text/html" }, cache: "no-store" });
  if (response.redirected) {
    // Signed out meanwhile.
    location.reload();
  }
  if (!response.ok) {
    throw new Error(`${url}: status ${response.status}`);
  }
  return new DOMParser().parseFromString(await response.text(), "text/html");
}

function takeOver(fresh, id) {
  const [from, to] = [fresh.getElementById(id), document.getElementById(id)];
  if (!from || !to || from.innerHTML === to.innerHTML) {
    return;
  }
  const focused = to.contains(document.activeElement) ? document.activeElement : null;
  to.replaceChildren(...from.childNodes);
  // Whoever goes through the page by keys stays where they are.
  const href = focused?.getAttribute("href");
  if (href) {
    const same = [...to.querySelectorAll("a[href]")].find((link) => link.getAttribute("href") === href);
    same?.focus({ preventScroll: true });
  }
}

let stale = false;

const refresh = once(async () => {
  if (document.hidden) {
    stale = true;
    return;
  }
  stale = false;
  const url = new URL(location.href);
  url.hash = "";
  if (topic) {
    url.search = "?part=live";
  }
  const fresh = await load(url);
  for (const { id } of document.querySelectorAll("[data-live]")) {
    takeOver(fresh, id);
  }
});

const warn = once(async () => takeOver(await load("/page/warnings"), "warnings"));

document.addEventListener("visibilitychange", () => {
  if (!document.hidden && stale) {
    refresh();
  }
});

subscribe("fleet", ({ name }) => {
  if (name === "warnings") {
    warn();
  }
  if (fleet && (name === "warnings" || name === "changed")) {
    refresh();
  }
  if (name === "hello" && (fleet || topic)) {
    refresh();
  }
});

if (topic) {
  subscribe(topic, ({ name }) => name === "changed" && refresh());
}

if (fleet || topic) {
  setInterval(refresh, REFRESH_MS);
}

// The history is drawn anew less often, and not under someone's hands.
const redraw = once(async () => {
  const plots = document.getElementById("plots");
  if (!plots || document.hidden || plots.matches(":hover, :focus-within")) {
    return;
  }
  const url = new URL(location.href);
  url.hash = "";
  const fresh = await load(url);
  takeOver(fresh, "plots");
  takeOver(fresh, "numbers");
  document.dispatchEvent(new Event("plots"));
});

if (topic) {
  setInterval(redraw, REFRESH_MS);
}

if (state) {
  subscribe("state", ({ data }) => {
    const live = data.state === "live";
    state.hidden = false;
    state.classList.toggle("live", live);
    state.textContent = live ? "Live" : "Connection lost. Trying again…";
  });
}
