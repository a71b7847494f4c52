// Values on the plots: under the pointer, or with the arrow keys. All plots of the page show the same
// moment. The values come from the API, at the first touch.

const STEPS = { 60: "minute", 600: "ten_minutes", 3600: "hour" };
// Of a plot's width, for an arrow key.
const SMALL = 144;
const LARGE = 12;

const plots = document.querySelector(".plots");
const figures = [...(plots?.querySelectorAll(".plot") ?? [])].map((figure) => ({
  figure,
  field: figure.querySelector(".field"),
  metric: figure.dataset.metric,
  unit: figure.dataset.unit,
  cursor: element("div", "cursor"),
  readout: element("div", "readout"),
}));
const count = Number(plots?.dataset.count ?? 0);
let history = null;
let place = count - 1;

function element(name, className) {
  const made = document.createElement(name);
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
  place = Math.max(0, Math.min(count - 1, at));
  const told = await load();
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

for (const { figure, field, cursor, readout } of figures) {
  field.append(cursor, readout);
  field.tabIndex = 0;
  field.setAttribute("role", "slider");
  field.setAttribute("aria-labelledby", figure.querySelector("figcaption strong").id);
  field.setAttribute("aria-valuemin", 0);
  field.setAttribute("aria-valuemax", count - 1);
  field.setAttribute("aria-valuenow", place);
  field.setAttribute("aria-valuetext", "the arrow keys go through the values");
  field.addEventListener("pointermove", (event) => show(placeOf(field, event)).catch(() => {}));
  field.addEventListener("pointerleave", hide);
  field.addEventListener("focus", () => show(place).catch(() => {}));
  field.addEventListener("blur", hide);
  field.addEventListener("keydown", (event) => {
    const by = step(event);
    if (by) {
      event.preventDefault();
      show(place + by).catch(() => {});
    } else if (event.key === "Escape") {
      field.blur();
    }
  });
}
