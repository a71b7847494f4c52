// Values on the plots: under the pointer, or with the arrow keys. All plots of the page show the same
// moment. The values come from the API, at the first touch.

const STEPS = { 60: "minute", 600: "ten_minutes", 3600: "hour" };
// Of a plot's width, for an arrow key.
const SMALL = 144;
const LARGE = 12;

let plots = null;
let figures = [];
let count = 0;
let history = null;
// `null`: nobody has looked yet.
let place = null;

function element(className) {
  const made = document.createElement("div");
  made.className = className;
  made.hidden = true;
  return made;
}

// Asked for once.
function load() {
  if (!history) {
    const { start, step } = plots.dataset;
    const end = new Date(Date.parse(start) + Number(step) * 1000 * count).toISOString();
    const query = new URLSearchParams({ step: STEPS[step], from: start, to: end });
    history = fetch(`${plots.dataset.history}?${query}`).then((response) => {
      if (!response.ok) {
        throw new Error(`status ${response.status}`);
      }
      return response.json();
    });
    history.catch(() => (history = null));
  }
  return history;
}

function number(value, unit) {
  return `${Number.isInteger(value) ? value : value.toFixed(1)}${unit}`;
}

function words(told, { metric, unit }) {
  const { mean, min, max } = told[metric];
  if (mean[place] === null || mean[place] === undefined) {
    return "no value";
  }
  const middle = number(mean[place], unit);
  return min && min[place] < max[place]
    ? `${middle} (${number(min[place], "")}–${number(max[place], unit)})`
    : middle;
}

function time(told) {
  const at = new Date(Date.parse(told.start) + place * told.step_secs * 1000).toISOString();
  return `${at.slice(0, 10)} ${at.slice(11, 16)} UTC`;
}

async function show(at) {
  const told = await load();
  place = Math.max(0, Math.min(count - 1, at ?? last(told)));
  const share = (place + 0.5) / count;
  for (const plot of figures) {
    const { field, cursor, readout } = plot;
    const text = words(told, plot);
    cursor.hidden = readout.hidden = false;
    cursor.style.left = `${100 * share}%`;
    readout.classList.toggle("left", share > 0.5);
    readout.textContent = `${text} · ${time(told)}`;
    field.setAttribute("aria-valuenow", place);
    field.setAttribute("aria-valuetext", `${time(told)}: ${text}`);
  }
}

// The present minute may have no value yet.
function last(told) {
  const place = told.count.findLastIndex((count) => count > 0);
  return place < 0 ? count - 1 : place;
}

function hide() {
  if (!plots.contains(document.activeElement)) {
    figures.forEach(({ cursor, readout }) => (cursor.hidden = readout.hidden = true));
  }
}

function placeOf(field, event) {
  const { left, width } = field.getBoundingClientRect();
  return Math.floor(((event.clientX - left) / width) * count);
}

function step({ key, shiftKey }) {
  const [small, large] = [shiftKey ? 1 : Math.round(count / SMALL), Math.round(count / LARGE)];
  const steps = {
    ArrowLeft: -small,
    ArrowDown: -small,
    ArrowRight: small,
    ArrowUp: small,
    PageDown: -large,
    PageUp: large,
    Home: -count,
    End: count,
  };
  return steps[key];
}

function equip({ figure, field, cursor, readout }) {
  field.append(cursor, readout);
  field.tabIndex = 0;
  field.setAttribute("role", "slider");
  field.setAttribute("aria-labelledby", figure.querySelector("figcaption strong").id);
  field.setAttribute("aria-valuemin", 0);
  field.setAttribute("aria-valuemax", count - 1);
  field.setAttribute("aria-valuenow", count - 1);
  field.setAttribute("aria-valuetext", "the arrow keys go through the values");
  field.addEventListener("pointermove", (event) => show(placeOf(field, event)).catch(() => {}));
  field.addEventListener("pointerleave", hide);
  field.addEventListener("focus", () => show(place).catch(() => {}));
  field.addEventListener("blur", hide);
  field.addEventListener("keydown", (event) => {
    const by = step(event);
    if (by) {
      event.preventDefault();
      show((place ?? count - 1) + by).catch(() => {});
    } else if (event.key === "Escape") {
      field.blur();
    }
  });
}

function begin() {
  plots = document.querySelector(".plots");
  if (!plots) {
    return;
  }
  count = Number(plots.dataset.count);
  history = place = null;
  figures = [...plots.querySelectorAll(".plot")].map((figure) => ({
    figure,
    field: figure.querySelector(".field"),
    metric: figure.dataset.metric,
    unit: figure.dataset.unit,
    cursor: element("cursor"),
    readout: element("readout"),
  }));
  figures.forEach(equip);
}

// The page has taken over fresh ones.
document.addEventListener("plots", begin);
begin();
