// Searches a container's log on the server, which walks backwards and tells how far it is.

import { line, number, shown } from "./log-lines.js";

const REACH = 5000;

export class Search {
  // `path` is the log's.
  constructor(path) {
    this.path = path;
    this.aborter = null;
  }

  get isGoingOn() {
    return this.aborter !== null;
  }

  async run(text, ignoreCase) {
    this.cancel();
    const aborter = new AbortController();
    this.aborter = aborter;
    this.text = text;
    this.ignoreCase = ignoreCase;
    this.progress = { searched: 0, back_to: null, matches: 0 };
    $("matches").replaceChildren();
    $("results").hidden = false;
    $("cancel").hidden = false;
    $("bar").hidden = false;
    this.show(`Searching for “${text}”…`);
    let end = null;
    try {
      await this.read(aborter.signal, (name, data) => {
        end = this.told(name, data) ?? end;
      });
      // A stream that ends without its end: the gateway ends, or the key was revoked.
      end ??= "The search was broken off by the gateway. ";
    } catch (error) {
      end = aborter.signal.aborted ? "Cancelled. " : `The search failed: ${error.message}. `;
    }
    if (this.aborter === aborter) {
      this.aborter = null;
      $("cancel").hidden = true;
      $("bar").hidden = true;
      this.show(end + this.summary());
    }
  }

  cancel() {
    this.aborter?.abort();
  }

  close() {
    this.cancel();
    $("results").hidden = true;
    $("matches").replaceChildren();
  }

  async read(signal, told) {
    const query = new URLSearchParams({ text: this.text, ignore_case: this.ignoreCase });
    const headers = { accept: "text/event-stream" };
    const response = await fetch(`${this.path}/search?${query}`, { signal, headers, cache: "no-store" });
    if (!response.ok) {
      const problem = await response.json().catch(() => ({}));
      throw new Error(problem.detail ?? `status ${response.status}`);
    }
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (;;) {
      const { done, value } = await reader.read();
      if (done) {
        return;
      }
      const parts = (rest + value).split("\n\n");
      rest = parts.pop();
      for (const part of parts) {
        const [, name, data] = /^event: (\w+)\ndata: (.*)$/.exec(part) ?? [];
        if (name) {
          told(name, JSON.parse(data));
        }
      }
    }
  }

  // Returns the words for the end.
  told(name, data) {
    switch (name) {
      case "matches":
        $("matches").append(...data.map((match) => this.item(match)));
        break;
      case "progress":
        this.progress = data;
        this.show("Searching… " + this.summary());
        break;
      case "end":
        this.progress = data;
        return why(data) + (data.truncated ? "Very long lines were searched up to 64 KiB. " : "");
    }
    return null;
  }

  summary() {
    const { searched, back_to, matches } = this.progress;
    const back = back_to ? `, back to ${shown(back_to)}` : "";
    const found = matches === 1 ? "1 match" : `${number(matches)} matches`;
    return `${number(searched)} lines searched${back}: ${found}.`;
  }

  show(words) {
    $("progress").textContent = words;
    $("bar").value = Math.min(this.progress.searched, REACH);
  }

  item(match) {
    const item = document.createElement("li");
    const element = line({ ...match, text: "" });
    element.append(...this.marked(match.text));
    item.append(element);
    return item;
  }

  marked(text) {
    const fold = (text) => (this.ignoreCase ? text.toLowerCase() : text);
    const [folded, sought] = [fold(text), fold(this.text)];
    // Where folding changes the length, places do not fit any more.
    const places = folded.length === text.length && sought.length > 0;
    const parts = [];
    let from = 0;
    for (let at = folded.indexOf(sought); places && at >= 0; at = folded.indexOf(sought, from)) {
      const mark = document.createElement("mark");
      mark.textContent = text.slice(at, at + sought.length);
      parts.push(text.slice(from, at), mark);
      from = at + sought.length;
    }
    return [...parts, text.slice(from)];
  }
}

function why({ why, detail }) {
  switch (why) {
    case "start":
      return "The whole log was searched. ";
    case "reach":
      return `An agent gives the last ${number(REACH)} lines of a log; older lines were not searched. `;
    case "full":
      return "There are more matches than are shown; these are the newest. ";
    case "time":
      return "The search took too long and was ended. ";
    case "session":
      return "The agent was lost during the search. ";
    default:
      return `The agent could not search: ${detail}. `;
  }
}

function $(id) {
  return document.getElementById(id);
}
