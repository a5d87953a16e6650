"use strict";
// Two parts: the curves, drawn from the JSON in #data, and the buttons of the sample browser.
// Model output only ever reaches the page as escaped HTML; nothing here parses markup.

// On a narrow screen a chart is drawn as wide as it is shown, so that its text keeps its size.
const WIDTH = innerWidth < 620 ? Math.max(innerWidth - 66, 240) : 480, HEIGHT = 224, LEFT = 48, TOP = 10, BOTTOM = 184;
const UNITS = { "Optimizer step": "step", Seconds: "second", k: "k =", Completions: "completion" };
const byId = (id) => document.getElementById(id);

function svg(name, attributes, parent, text) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const key in attributes) node.setAttribute(key, attributes[key]);
  if (text !== undefined) node.textContent = text;
  return parent.appendChild(node);
}

function html(name, parent, text, className) {
  const node = document.createElement(name);
  if (text !== undefined) node.textContent = text;
  if (className) node.className = className;
  return parent.appendChild(node);
}

function ticks(low, high, log) {
  if (log) {
    const found = [];
    for (let e = Math.floor(Math.log10(low)); e <= Math.log10(high); e++)
      for (const m of [1, 2, 5]) found.push(m * 10 ** e);
    const inside = found.filter((t) => t >= low && t <= high);
    if (inside.length > 1) return inside;
  }
  const rough = (high - low) / 5, power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 5, 10].find((m) => m * power >= rough);
  const found = [];
  for (let i = Math.ceil(low / step); i * step <= high; i++) found.push(i * step);
  return found;
}

const doublings = (high) => Array.from({ length: Math.floor(Math.log2(high)) + 1 }, (_, i) => 2 ** i);

function extent(values) {
  const known = values.filter((v) => v !== null);
  const low = Math.min(...known), high = Math.max(...known);
  return low === high ? [low - Math.abs(low) / 10, high + Math.abs(high || 1) / 10] : [low, high];
}

const shown = (value, percent) =>
  percent ? `${+(100 * value).toPrecision(3)}%` : String(+value.toPrecision(4));

function path(xs, ys, x, y) {
  const points = ys.flatMap((v, i) => (v === null ? [] : [`${x(xs[i]).toFixed(1)},${y(v).toFixed(1)}`]));
  // A lone point becomes a line of no length, which its round cap makes a dot.
  return (points.length === 1 ? [points[0], points[0]] : points).join("L");
}

const warp = (xName) => (xName === "k" ? Math.log2 : (v) => v);  // pass@k: every doubling is one step

function drawChart(chart, xs, xName, parent) {
  const figure = html("figure", parent), caption = html("figcaption", figure, chart.axis);
  const output = html("output", caption);
  const root = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img" }, figure);
  html("p", figure, chart.note, "quiet");

  // One line is named by the caption; several are named at their ends.
  const right = WIDTH - (chart.series.length > 1 ? 104 : 12);
  const [x0, x1] = extent(xs);
  const [y0, y1] = extent(chart.series.flatMap((s) => [...s.raw, ...s.low, ...s.high]));
  const scale = chart.log ? Math.log : (v) => v;
  const pad = chart.log ? 0 : (y1 - y0) * 0.04;
  const bottom = scale(y0 - pad), top = scale(y1 + pad);
  const flat = warp(xName);
  const x = (v) => LEFT + ((flat(v) - flat(x0)) / (flat(x1) - flat(x0))) * (right - LEFT);
  const y = (v) => BOTTOM - ((scale(v) - bottom) / (top - bottom)) * (BOTTOM - TOP);

  for (const t of ticks(y0 - pad, y1 + pad, chart.log)) {
    svg("line", { class: "grid", x1: LEFT, x2: right, y1: y(t), y2: y(t) }, root);
    svg("text", { x: LEFT - 6, y: y(t) + 4, "text-anchor": "end" }, root, shown(t, chart.percent));
  }
  for (const t of xName === "k" ? doublings(x1) : ticks(x0, x1, false))
    svg("text", { x: x(t), y: BOTTOM + 16, "text-anchor": "middle" }, root, shown(t));
  svg("text", { x: (LEFT + right) / 2, y: BOTTOM + 34, "text-anchor": "middle" }, root, xName);

  for (const s of chart.series) {
    const stroke = `var(--${s.color})`, thin = { fill: "none", stroke, "stroke-width": 1, opacity: 0.35 };
    if (s.low.length) {
      const back = path([...xs].reverse(), [...s.low].reverse(), x, y);
      svg("path", { d: `M${path(xs, s.high, x, y)}L${back}Z`, fill: stroke, opacity: 0.18 }, root);
    } else svg("path", { d: `M${path(xs, s.raw, x, y)}`, ...thin }, root);
    svg("path", { d: `M${path(xs, s.mean, x, y)}`, ...thin, opacity: 1, "stroke-width": xs.length > 1 ? 2.2 : 7, "stroke-linecap": "round" }, root);
  }
  if (chart.series.length > 1) labelEnds(chart, root, right, y);
  root.setAttribute("aria-label", describe(chart));
  const cursor = svg("line", { class: "cursor", y1: TOP, y2: BOTTOM }, root);
  return { root, cursor, output, chart, x, xs, right };
}

function labelEnds(chart, root, right, y) {
  const last = (s) => s.mean.filter((v) => v !== null).at(-1);
  const sorted = [...chart.series].sort((a, b) => last(a) - last(b)), at = [];
  for (const s of sorted) at.push(Math.min(y(last(s)) + 4, (at.at(-1) ?? Infinity) - 15));
  // What was pushed over the top comes back down, and pushes the rest before it.
  for (let i = at.length - 1, ceiling = TOP + 4; i >= 0; i--) ceiling = (at[i] = Math.max(at[i], ceiling)) + 15;
  sorted.forEach((s, i) =>
    svg("text", { class: "name", x: right + 8, y: at[i], style: `fill:var(--${s.color})` }, root, s.label));
}

function describe(chart) {
  const parts = chart.series.map((s) => {
    const known = s.mean.filter((v) => v !== null);
    return `${s.label} from ${shown(known[0], chart.percent)} to ${shown(known.at(-1), chart.percent)}`;
  });
  return `${chart.axis}: ${parts.join(", ")}`;
}

// The point of `xs` nearest to a value, as the axis shows it.
function nearest(xs, value, flat) {
  const away = (i) => Math.abs(flat(xs[i]) - flat(value));
  return xs.reduce((best, _, i) => (away(i) < away(best) ? i : best), 0);
}

function readAll(drawn, xName, value) {
  for (const { cursor, output, chart, x, xs } of drawn) {
    cursor.style.visibility = value === null ? "hidden" : "visible";
    if (value === null) { output.textContent = ""; continue; }
    const index = nearest(xs, value, warp(xName));
    cursor.setAttribute("x1", x(xs[index])); cursor.setAttribute("x2", x(xs[index]));
    const values = chart.series.filter((s) => s.raw[index] !== null)
      .map((s) => `${s.label} ${shown(s.raw[index], chart.percent)}`);
    output.textContent = [`${UNITS[xName]} ${xs[index]}`, ...values].join(" · ");
  }
}

function drawCharts(data, xName) {
  const parent = byId("charts"), drawn = [];
  parent.replaceChildren();
  let group = null;
  for (const chart of data.charts) {
    if (chart.group !== group) html("h3", parent, (group = chart.group));
    drawn.push(drawChart(chart, (chart.x ?? data.x)[xName], xName, parent));
  }
  for (const { root, xs, right } of drawn) {
    const read = (event) => {
      const box = root.getBoundingClientRect();
      const at = ((event.clientX - box.left) / box.width * WIDTH - LEFT) / (right - LEFT);
      const flat = warp(xName), [x0, x1] = extent(xs).map(flat), value = x0 + at * (x1 - x0);
      const away = (v) => Math.abs(flat(v) - value);
      readAll(drawn, xName, xs.reduce((best, v) => (away(v) < away(best) ? v : best)));
    };
    root.addEventListener("pointermove", read);
    root.addEventListener("pointerdown", read);
    root.addEventListener("pointerleave", () => readAll(drawn, xName, null));
  }
}

// A row of buttons of which one is pressed; `choose` gets the pressed one.
function pressOne(row, choose) {
  row.hidden = false;
  row.addEventListener("click", (event) => {
    if (event.target.tagName !== "BUTTON") return;
    for (const button of row.querySelectorAll("button")) button.setAttribute("aria-pressed", button === event.target);
    choose(event.target);
  });
}

function button(row, text, pressed) {
  const made = html("button", row, text);
  made.type = "button";
  made.setAttribute("aria-pressed", pressed);
}

if (byId("data")) {
  const data = JSON.parse(byId("data").textContent), names = Object.keys(data.x);
  drawCharts(data, names[0]);
  if (names.length > 1) {
    for (const name of names) button(byId("axis"), name, name === names[0]);
    pressOne(byId("axis"), (pressed) => drawCharts(data, pressed.textContent));
  }
}

function pickSample(problem, index) {
  for (const sample of problem.querySelectorAll(".sample")) sample.hidden = sample.dataset.sample !== index;
}

// Whether a sample came out otherwise after training than before.
function changed(problem, index) {
  const both = [...problem.querySelectorAll(`.sample[data-sample="${index}"]`)];
  return both.length === 2 && both[0].className !== both[1].className;
}

if (byId("filter")) {
  const problems = [...document.querySelectorAll(".problem")], more = byId("more"), PAGE = 12;
  let wanted = "all", limit = PAGE;
  const show = () => {
    const fitting = problems.filter((p) => wanted === "all" || p.dataset.change === wanted);
    for (const problem of problems) problem.hidden = true;
    for (const problem of fitting.slice(0, limit)) problem.hidden = false;
    more.hidden = fitting.length <= limit;
    more.textContent = `Show all ${fitting.length}`;
  };
  pressOne(byId("filter"), (pressed) => { wanted = pressed.dataset.show; limit = PAGE; show(); });
  more.addEventListener("click", () => { limit = Infinity; show(); });
  show();
  for (const problem of problems) {
    const indexes = [...new Set([...problem.querySelectorAll(".sample")].map((s) => s.dataset.sample))];
    if (indexes.length < 2) continue;
    const row = problem.querySelector(".picker");
    html("span", row, "Sample", "quiet");
    const first = indexes.find((index) => changed(problem, index)) ?? indexes[0];
    for (const index of indexes) button(row, String(Number(index) + 1), index === first);
    pressOne(row, (pressed) => pickSample(problem, String(Number(pressed.textContent) - 1)));
    pickSample(problem, first);
  }
}
