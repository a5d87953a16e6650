"use strict";
// Shows tables that the Python objectives have computed; no formula of an objective is in here.
// Names and docstrings only ever reach the page as text; nothing here parses markup.

const byId = (id) => document.getElementById(id);
const DATA = JSON.parse(byId("data").textContent);
const { ratios, probabilities, advantages, entropies, possible } = DATA;
const LOGS = ratios.map(Math.log), HALF = (ratios.length - 1) / 2;
const OBJECTIVES = new Map(DATA.objectives.map((o) => [o.name, o]));
const COLORS = ["blue", "orange", "green", "pink"], DASHES = ["", "7 4", "2 3", "10 3 2 3"];
let low, high, index;  // the tables

function svg(name, attributes, parent, text) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const key in attributes) node.setAttribute(key, attributes[key]);
  if (text !== undefined) node.textContent = text;
  return parent.appendChild(node);
}

function html(name, parent, text, attributes = {}) {
  const node = document.createElement(name);
  if (text !== undefined) node.textContent = text;
  for (const key in attributes) node.setAttribute(key, attributes[key]);
  return parent.appendChild(node);
}

// --- the tables ------------------------------------------------------------------------------

async function unpack() {
  const packed = Uint8Array.from(atob(byId("table").textContent), (c) => c.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  const bytes = new Uint8Array(await new Response(stream).arrayBuffer());
  let start = 0;
  return DATA.tables.map(([rows, columns, width]) => {
    const size = rows * columns, table = width === 2 ? new Uint16Array(size) : new Uint32Array(size);
    for (let plane = 0; plane < width; plane++, start += size)
      for (let i = 0; i < size; i++) table[i] |= bytes[start + i] << (8 * plane);
    for (let twice = 0; twice < 2; twice++)  // second differences along the rows, modulo the width
      for (let i = 0; i < size; i++) if (i % columns) table[i] += table[i - 1];
    return table;
  });
}

function decoded(bits) {
  const sign = bits & 0x8000 ? -1 : 1, exponent = (bits >> 10) & 31, fraction = bits & 1023;
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  return sign * (exponent ? (1 + fraction / 1024) * 2 ** (exponent - 15) : fraction * 2 ** -24);
}

const float16 = Float32Array.from({ length: 65536 }, (_, bits) => decoded(bits));

// Where an axis of the table has fewer entries than the slider, it makes no difference, or only its sign does.
function place(length, chosen, all) {
  if (length === all.length) return chosen;
  return length === 1 ? 0 : Number(all[chosen] > 0);
}

// The weight of a slot's objective at every ratio, NaN where π would exceed 1.
function curve(slot, p = state.p) {
  const { objective } = slot, [choices, hs, as, ps] = objective.shape;
  const at = ((slot.choice * hs + place(hs, state.h, entropies)) * as + place(as, state.a, advantages)) * ps + place(ps, p, probabilities);
  const below = index[objective.start + at] * HALF;
  const above = index[objective.start + choices * hs * as * ps + at] * (HALF + 1);
  return ratios.map((_, i) => {
    if (i >= possible[p]) return NaN;
    return float16[i < HALF ? low[below + i] : high[above + i - HALF]];
  });
}

// --- the state -------------------------------------------------------------------------------

const nearest = (all, value) => all.reduce((best, v, i) => (Math.abs(v - value) < Math.abs(all[best] - value) ? i : best), 0);
const BEGINNING = { p: nearest(probabilities, 0.1), a: nearest(advantages, 1), h: nearest(entropies, 1), r: nearest(ratios, 1.3), reach: 20 };
const state = { ...BEGINNING, slots: [] };

function choiceOf(objective, at) {
  const key = objective.dials.flatMap((d, i) => (at[i] === d.default ? [] : [i, at[i]])).join();
  return objective.keys.get(key);
}

function newSlot(name) {
  const objective = OBJECTIVES.get(name);
  objective.keys ??= new Map(objective.choices.map((c, i) => [c.join(), i]));
  return { objective, at: objective.dials.map((d) => d.default), moved: [], choice: 0, note: "" };
}

// Turns a dial. The table holds two turned dials at most: the one turned first goes back.
function turn(slot, dial, stop) {
  const { dials } = slot.objective, back = [];
  slot.at[dial] = stop;
  slot.moved = slot.moved.filter((d) => d !== dial);
  if (stop !== dials[dial].default) slot.moved.push(dial);
  while ((slot.choice = choiceOf(slot.objective, slot.at)) === undefined) {
    const first = slot.moved.shift();
    slot.at[first] = dials[first].default;
    back.push(dials[first].name);
  }
  slot.note = back.length ? `Back to its default, as two at most can be turned: ${back.join(", ")}.` : "";
}

// --- the address -----------------------------------------------------------------------------

// The state as #p=0.1&a=1&r=1.3&h=1&reach=20&objective=maspo:alpha=0.5&objective=grpo.
function address() {
  const axes = Object.keys(AXES).map((axis) => `${axis}=${+AXES[axis][state[axis]].toPrecision(4)}`);
  const slots = state.slots.map(({ objective, moved, at }) => {
    const turned = moved.map((d) => `${objective.dials[d].name}=${objective.dials[d].stops[at[d]]}`).join();
    const text = encodeURIComponent(turned ? `${objective.name}:${turned}` : objective.name);
    return `objective=${text.replace(/%3A/g, ":").replace(/%3D/g, "=").replace(/%2C/g, ",")}`;
  });
  return `#${[...axes, `reach=${state.reach}`, ...slots].join("&")}`;
}

// Takes the state from the address; what it does not say, or cannot be, is as the page begins.
function recall() {
  Object.assign(state, BEGINNING, { slots: [] });
  for (const part of location.hash.slice(1).split("&")) {
    const [, key, text] = part.match(/^(\w+)=(.+)$/) ?? [], value = Number(text);
    if (Object.hasOwn(AXES, key) && Number.isFinite(value)) state[key] = nearest(AXES[key], value);
    else if (key === "reach" && (value === 2 || value === 20)) state.reach = value;
    else if (key === "objective" && state.slots.length < COLORS.length) state.slots.push(...slotOf(text));
  }
  if (!state.slots.length) state.slots = DATA.first.map(newSlot);
  document.querySelector(`[name=range][value="${state.reach}"]`).checked = true;
}

// The slot that an address names, in a list; empty where there is no such objective.
function slotOf(text) {
  let name, settings;
  try { [, name, settings] = decodeURIComponent(text).match(/^([^:]*):?(.*)$/s); } catch { return []; }
  if (!OBJECTIVES.has(name)) return [];
  const slot = newSlot(name), { dials } = slot.objective;
  for (const setting of settings.split(",")) {
    const [word, value] = setting.split("="), d = dials.findIndex((dial) => dial.name === word);
    const stop = d < 0 ? -1 : dials[d].stops.indexOf(value);
    if (stop >= 0) turn(slot, d, stop);
  }
  return [slot];
}

// Writes the address a moment after the last change; browsers refuse to do it at every step of a slider.
function remember() {
  clearTimeout(remember.timer);
  remember.timer = setTimeout(() => {
    const now = address();
    if (now !== remember.first || location.hash) history.replaceState(null, "", now);
  }, 200);
}

// --- words -----------------------------------------------------------------------------------

function shown(value, digits = 4) {
  if (!Number.isFinite(value)) return "–";
  const text = Math.abs(value) >= 1e-3 || value === 0 ? String(+value.toPrecision(digits)) : value.toExponential(1);
  return text.replace("-", "−");
}

function describe() {
  const ratio = ratios[state.r], a = advantages[state.a], p = probabilities[state.p];
  if (state.r >= possible[state.p]) return `With π_old = ${shown(p)} a ratio of ${shown(ratio)} would put π above 1: there is no such token.`;
  const moved = state.r === HALF ? "has not moved" : (a > 0) === (ratio > 1) ? "has already moved the way A asks" : "has moved against A and has to come back";
  return `From π_old = ${shown(p)} to π = ${shown(p * ratio, 3)}, with A = ${a > 0 ? "+" : ""}${shown(a)}: the token ${moved}.`;
}

// --- curves ----------------------------------------------------------------------------------

const WIDTH = 440, HEIGHT = 250, LEFT = 40, RIGHT = 430, TOP = 12, BOTTOM = 206;
const RATIO_TICKS = { 20: [0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20], 2: [0.5, 0.6, 0.8, 1, 1.2, 1.5, 2] };
const xOf = (log) => LEFT + ((log / Math.log(state.reach) + 1) / 2) * (RIGHT - LEFT);
const within = (i) => Math.abs(LOGS[i]) <= Math.log(state.reach) * 1.0001;

function ticks(top) {
  const step = [0.05, 0.1, 0.2, 0.25, 0.5, 1, 2, 5].find((s) => top / s <= 6) ?? 10;
  return Array.from({ length: Math.floor(top / step + 1e-6) + 1 }, (_, i) => i * step);
}

function drawCurves(id, curves, most) {
  const figure = byId(id), old = figure.querySelector("svg");
  const root = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img" }, figure);
  old?.remove();
  const seen = curves.flat().filter((v, i) => Number.isFinite(v) && within(i % ratios.length));
  const highest = Math.max(1, ...seen), top = Math.min(highest * 1.16, most);
  const bottom = Math.min(0, ...seen.map((v) => Math.max(v, -most)));
  const y = (v) => BOTTOM - ((v - bottom) / (top - bottom)) * (BOTTOM - TOP);
  const clip = svg("clipPath", { id: `clip-${id}` }, svg("defs", {}, root));
  svg("rect", { x: LEFT, y: TOP - 3, width: RIGHT - LEFT, height: BOTTOM - TOP + 6 }, clip);

  const right = advantages[state.a] > 0;  // the side that A asks for
  svg("rect", { class: "zone", x: right ? xOf(0) : LEFT, y: TOP, width: (RIGHT - LEFT) / 2, height: BOTTOM - TOP }, root);
  svg("text", { x: right ? RIGHT - 6 : LEFT + 6, y: TOP + 14, "text-anchor": right ? "end" : "start" }, root, "moved as A asks");
  for (const t of ticks(top)) {
    svg("line", { class: "grid", x1: LEFT, x2: RIGHT, y1: y(t), y2: y(t) }, root);
    svg("text", { x: LEFT - 6, y: y(t) + 4, "text-anchor": "end" }, root, shown(t));
  }
  for (const t of RATIO_TICKS[state.reach]) svg("text", { x: xOf(Math.log(t)), y: BOTTOM + 16, "text-anchor": "middle" }, root, String(t));
  svg("text", { x: (LEFT + RIGHT) / 2, y: BOTTOM + 34, "text-anchor": "middle" }, root, "ratio ρ");
  const inside = svg("g", { "clip-path": `url(#clip-${id})` }, root);
  curves.forEach((values, n) => {
    const points = values.flatMap((v, i) => (Number.isFinite(v) && within(i) ? [[xOf(LOGS[i]), y(Math.max(bottom - 1, Math.min(v, top * 2)))]] : []));
    const stroke = `var(--${COLORS[n]})`;
    svg("path", { class: "curve", d: `M${points.map((q) => q.map((v) => v.toFixed(1)).join()).join("L")}`, fill: "none", stroke, "stroke-width": 2.6 - 0.25 * n, "stroke-dasharray": DASHES[n], "stroke-linejoin": "round" }, inside);
    const [x, last] = points.at(-1);
    if (possible[state.p] < ratios.length && x < RIGHT - 1) svg("circle", { cx: x, cy: last, r: 4, fill: stroke }, inside);
  });
  if (within(state.r)) {
    svg("line", { class: "aim", x1: xOf(LOGS[state.r]), x2: xOf(LOGS[state.r]), y1: TOP, y2: BOTTOM }, root);
    curves.forEach((values, n) => {
      const v = values[state.r];
      if (v <= top) svg("circle", { cx: xOf(LOGS[state.r]), cy: y(v), r: 3.5, fill: "var(--card)", stroke: `var(--${COLORS[n]})`, "stroke-width": 2 }, root);
    });
  }
  const words = curves.map((values, n) => `${state.slots[n].objective.title} ${shown(values[state.r])}`);
  root.setAttribute("aria-label", `${figure.querySelector("figcaption").textContent} against the ratio. At ratio ${shown(ratios[state.r])}: ${words.join(", ")}.`);
  root.addEventListener("pointerdown", (event) => {
    const box = root.getBoundingClientRect(), part = (((event.clientX - box.left) / box.width) * WIDTH - LEFT) / (RIGHT - LEFT);
    set("r", nearest(LOGS, (2 * Math.min(1, Math.max(0, part)) - 1) * Math.log(state.reach)));
  });
}

function lineSample(n, parent) {
  const root = svg("svg", { class: "line", viewBox: "0 0 26 10", "aria-hidden": "true" }, parent);
  svg("line", { x1: 0, x2: 26, y1: 5, y2: 5, stroke: `var(--${COLORS[n]})`, "stroke-width": 3, "stroke-dasharray": DASHES[n] }, root);
}

function drawNumbers(curves) {
  byId("where").textContent = describe();
  byId("numbers").replaceChildren();
  const ratio = ratios[state.r];
  curves.forEach((values, n) => {
    const row = html("tr", byId("numbers")), head = html("th", row, undefined, { scope: "row" });
    const { objective, moved, at } = state.slots[n], w = values[state.r];
    lineSample(n, head);
    const turned = moved.map((d) => `${objective.dials[d].symbol} ${objective.dials[d].stops[at[d]]}`);
    head.append(objective.title);
    if (turned.length) html("span", head, ` ${turned.join(", ")}`, { class: "quiet" });
    for (const value of [w, w / ratio, w * advantages[state.a]]) html("td", row, shown(value));
  });
}

// --- maps ------------------------------------------------------------------------------------

const MAP = { width: 300, height: 214, left: 52, right: 286, top: 6, bottom: 174 };
const rowTop = (p) => MAP.bottom - ((p + 1) / probabilities.length) * (MAP.bottom - MAP.top);
const mapX = (log) => MAP.left + ((log / Math.log(state.reach) + 1) / 2) * (MAP.right - MAP.left);
const middle = (p) => (rowTop(p) + rowTop(p - 1)) / 2;
const edge = (i) => (i === 0 ? LOGS[0] : i === ratios.length ? LOGS.at(-1) : (LOGS[i - 1] + LOGS[i]) / 2);

function palette() {
  const style = getComputedStyle(document.documentElement);
  const rgb = (name) => style.getPropertyValue(name).trim().match(/[0-9a-f]{2}/gi).map((x) => parseInt(x, 16));
  return { none: rgb("--orange"), all: rgb("--card"), more: rgb("--blue"), track: rgb("--track"), quiet: rgb("--line") };
}

// 0 is the first colour, 1 the middle one, 4 and beyond the last.
function color(colors, share) {
  const mix = (from, to, t) => `rgb(${from.map((v, i) => Math.round(v + (to[i] - v) * t)).join()})`;
  if (share <= 1) return mix(colors.none, colors.all, Math.max(0, share));
  return mix(colors.all, colors.more, Math.min(1, Math.log2(share) / 2));
}

function drawMap(slot, n, colors) {
  const shares = probabilities.map((_, p) => curve(slot, p).map((w, i) => w / ratios[i]));
  const figure = html("figure", byId("maps"), undefined, { class: "map-box" });
  const caption = html("figcaption", figure), box = html("div", figure, undefined, { class: "map" });
  const name = html("span", caption);
  lineSample(n, name);
  name.append(slot.objective.title);
  const canvas = html("canvas", box), wide = MAP.right - MAP.left, tall = MAP.bottom - MAP.top;
  canvas.width = 2 * wide; canvas.height = 2 * tall;
  const percent = (part, whole) => `${(100 * part) / whole}%`;
  Object.assign(canvas.style, { left: percent(MAP.left, MAP.width), top: percent(MAP.top, MAP.height), width: percent(wide, MAP.width), height: percent(tall, MAP.height) });
  paint(canvas.getContext("2d"), shares, colors);
  const root = svg("svg", { viewBox: `0 0 ${MAP.width} ${MAP.height}`, role: "img" }, box);
  for (const [level, kind] of [[0.5, "contour half"], [0.9, "contour most"]])
    svg("path", { class: kind, d: contour(shares, level) }, root);
  svg("rect", { class: "frame", x: MAP.left, y: MAP.top, width: wide, height: tall }, root);
  for (const t of [1e-4, 1e-3, 0.01, 0.1, 0.99]) svg("text", { x: MAP.left - 5, y: middle(nearest(probabilities, t)) + 4, "text-anchor": "end" }, root, String(t < 0.001 ? "0.0001" : t));
  for (const t of state.reach === 2 ? [0.5, 0.7, 1, 1.4, 2] : [0.05, 0.2, 1, 5, 20]) svg("text", { x: mapX(Math.log(t)), y: MAP.bottom + 15, "text-anchor": "middle" }, root, String(t));
  svg("text", { x: (MAP.left + MAP.right) / 2, y: MAP.bottom + 32, "text-anchor": "middle" }, root, "ratio ρ");
  svg("text", { x: 2, y: (MAP.top + MAP.bottom) / 2 + 24 }, root, "π_old");
  for (const way of ["across", "up"]) svg("line", { class: `aim ${way}` }, root);
  root.addEventListener("pointerdown", (event) => {
    const rect = root.getBoundingClientRect(), k = MAP.width / rect.width;
    const x = ((event.clientX - rect.left) * k - MAP.left) / wide, y = ((event.clientY - rect.top) * k - MAP.top) / tall;
    if (x < 0 || x > 1 || y < 0 || y > 1) return;
    set("p", Math.min(probabilities.length - 1, Math.floor((1 - y) * probabilities.length)));
    set("r", nearest(LOGS, (2 * x - 1) * Math.log(state.reach)));
  });
}

function paint(context, shares, colors) {
  const x = (log) => Math.round(2 * (mapX(log) - MAP.left)), y = (v) => Math.round(2 * (v - MAP.top));
  hatch(context, colors);
  shares.forEach((row, p) => row.forEach((share, i) => {
    if (!Number.isFinite(share)) return;
    const from = x(edge(i)), top = y(rowTop(p));
    context.fillStyle = color(colors, share);
    context.fillRect(from, top, x(edge(i + 1)) - from, y(rowTop(p - 1)) - top);
  }));
}

function hatch(context, colors) {
  const { width, height } = context.canvas;
  context.fillStyle = `rgb(${colors.track})`;
  context.fillRect(0, 0, width, height);
  context.strokeStyle = `rgb(${colors.quiet})`;
  context.lineWidth = 2;
  context.beginPath();
  for (let x = -height; x < width; x += 14) { context.moveTo(x, height); context.lineTo(x + height, 0); }
  context.stroke();
}

// Marching squares: the line on which the shares cross a level.
function contour(shares, level) {
  const parts = [];
  for (let p = 0; p + 1 < shares.length; p++)
    for (let i = 0; i + 1 < ratios.length; i++) {
      if (!within(i) || !within(i + 1)) continue;
      const corners = [[p, i], [p, i + 1], [p + 1, i + 1], [p + 1, i]];
      const values = corners.map(([q, j]) => shares[q][j]);
      if (values.some(Number.isNaN)) continue;
      const points = corners.flatMap(([q, j], n) => {
        const [q2, j2] = corners[(n + 1) % 4], a = values[n], b = values[(n + 1) % 4];
        if (a >= level === b >= level) return [];
        const t = (level - a) / (b - a);
        return [[mapX(LOGS[j] + t * (LOGS[j2] - LOGS[j])), middle(q) + (t * (q2 - q) * -(MAP.bottom - MAP.top)) / probabilities.length]];
      });
      for (let n = 0; n + 1 < points.length; n += 2) parts.push(`M${points[n].map((v) => v.toFixed(1))}L${points[n + 1].map((v) => v.toFixed(1))}`);
    }
  return parts.join("");
}

function drawScale(colors) {
  const context = byId("scale").getContext("2d");
  for (let x = 0; x < 256; x++) {
    context.fillStyle = color(colors, x < 128 ? x / 128 : 4 ** ((x - 128) / 128));
    context.fillRect(x, 0, 1, 1);
  }
  byId("scale-ticks").replaceChildren();
  for (const [at, text] of [[0, "0, cut"], [25, "½"], [50, "1"], [75, "2"], [100, "4 or more"]]) {
    html("span", byId("scale-ticks"), text).style.left = `${at}%`;
  }
}

// --- the controls ----------------------------------------------------------------------------

const AXES = { p: probabilities, a: advantages, r: ratios, h: entropies };

function set(axis, value) {
  state[axis] = value;
  draw();
}

function word(axis) {
  const value = AXES[axis][state[axis]];
  return axis === "a" && value > 0 ? `+${shown(value)}` : shown(value);
}

function slotCard(slot, n) {
  const { objective } = slot, card = html("article", byId("slots"), undefined, { class: "card slot", "aria-label": `Objective ${n + 1}` });
  card.style.setProperty("--accent", `var(--${COLORS[n]})`);
  const head = html("div", card, undefined, { class: "slot-head" });
  const select = html("select", head, undefined, { "aria-label": `Objective ${n + 1}` });
  for (const { name, title } of DATA.objectives) html("option", select, title, { value: name });
  select.value = objective.name;
  select.addEventListener("change", () => {
    state.slots[n] = newSlot(select.value);
    rebuild();
    byId("slots").children[n].querySelector("select").focus();
  });
  if (state.slots.length > 1) {
    const remove = html("button", head, "Remove", { type: "button", "aria-label": `Remove ${objective.title}` });
    remove.addEventListener("click", () => { state.slots.splice(n, 1); rebuild(); byId("add").focus(); });
  }
  const about = html("p", card, `${objective.about} `);
  html("a", about, `arXiv:${objective.arxiv}`, { href: `https://arxiv.org/abs/${objective.arxiv}`, rel: "noreferrer" });
  if (objective.sequence) html("p", card, "Its ratio is that of the whole sequence; shown for a sequence of one token.", { class: "quiet" });
  const dials = html("div", card, undefined, { class: "dials" });
  slot.rows = objective.dials.map((dial, d) => dialRow(slot, dial, d, `${n}-${dial.name}`, dials));
  slot.line = html("p", card, "", { class: "note", "aria-live": "polite" });
  const reset = html("button", card, "Defaults", { type: "button" });
  reset.addEventListener("click", () => { Object.assign(slot, newSlot(objective.name)); draw(); });
  more(objective, card);
}

function dialRow(slot, dial, d, id, parent) {
  const row = html("div", parent, undefined, { class: "dial", title: `${dial.symbol}: ${dial.doc}` });
  html("label", row, dial.name, { for: id });
  html("output", row, "", { for: id });
  const input = html("input", row, undefined, { type: "range", id, min: 0, max: dial.stops.length - 1, step: 1 });
  input.addEventListener("input", () => { turn(slot, d, Number(input.value)); draw(); });
  return row;
}

function more(objective, card) {
  const details = html("details", card);
  html("summary", details, "Equation and settings");
  html("pre", details, objective.equation.replace(/^ {4}/gm, ""), { tabindex: 0 });
  for (const paragraph of objective.more.split("\n\n")) if (paragraph) html("p", details, paragraph);
  const list = html("dl", details);
  for (const dial of objective.dials) {
    html("dt", list, `${dial.symbol} (${dial.name})`);
    html("dd", list, `${dial.doc}. Default ${dial.stops[dial.default]}; computed at ${dial.stops.join(", ")}.`);
  }
  if (objective.inert.length) html("p", details, `No slider, as at no computed value it changes any weight here: ${objective.inert.join(", ")}.`, { class: "quiet" });
}

function showDials(slot) {
  slot.rows.forEach((row, d) => {
    const dial = slot.objective.dials[d], input = row.querySelector("input"), text = dial.stops[slot.at[d]];
    input.value = slot.at[d];
    input.setAttribute("aria-valuetext", text);
    row.querySelector("output").textContent = text;
    row.classList.toggle("moved", slot.at[d] !== dial.default);
  });
  slot.line.textContent = slot.note;
}

function rebuild() {
  byId("slots").replaceChildren();
  state.slots.forEach(slotCard);
  byId("add").hidden = state.slots.length === COLORS.length;
  draw();
}

function draw() {
  for (const axis in AXES) {
    byId(axis).value = state[axis];
    byId(`${axis}-value`).textContent = word(axis);
    byId(axis).setAttribute("aria-valuetext", word(axis));
  }
  byId("entropy").hidden = !state.slots.some((slot) => slot.objective.shape[1] > 1);
  state.slots.forEach(showDials);
  const curves = state.slots.map((slot) => curve(slot));
  drawCurves("weight", curves, state.reach === 2 ? 3 : 5);
  drawCurves("share", curves.map((values) => values.map((w, i) => w / ratios[i])), state.reach === 2 ? 2 : 3);
  drawNumbers(curves);
  drawMaps();
  remember();
}

// Paints the maps where what they show has changed, and moves the cross hairs.
function drawMaps(always) {
  const key = JSON.stringify([state.a, state.h, state.reach, state.slots.map((s) => [s.objective.name, s.choice])]);
  if (always || key !== drawMaps.key) {
    const colors = palette();
    byId("maps").replaceChildren();
    state.slots.forEach((slot, n) => drawMap(slot, n, colors));
    drawScale(colors);
    drawMaps.key = key;
  }
  document.querySelectorAll(".map svg").forEach((root, n) => aim(root, state.slots[n]));
}

function aim(root, slot) {
  const place = (way, points) => Object.entries(points).forEach(([key, v]) => root.querySelector(way).setAttribute(key, v));
  const x = mapX(LOGS[state.r]), y = middle(state.p), share = curve(slot)[state.r] / ratios[state.r];
  place(".up", { x1: x, x2: x, y1: MAP.top, y2: within(state.r) ? MAP.bottom : MAP.top });
  place(".across", { x1: MAP.left, x2: MAP.right, y1: y, y2: y });
  root.setAttribute("aria-label", `${slot.objective.title}: share kept by ratio and probability; ${shown(share)} at the chosen token.`);
}

async function start() {
  [low, high, index] = await unpack();
  state.slots = DATA.first.map(newSlot);
  remember.first = address();
  recall();
  addEventListener("hashchange", () => { recall(); rebuild(); });
  for (const axis in AXES) {
    byId(axis).max = AXES[axis].length - 1;
    byId(axis).addEventListener("input", () => set(axis, Number(byId(axis).value)));
  }
  for (const radio of document.querySelectorAll("[name=range]"))
    radio.addEventListener("change", () => { state.reach = Number(radio.value); draw(); });
  byId("add").addEventListener("click", () => {
    const used = state.slots.map((slot) => slot.objective.name);
    state.slots.push(newSlot(DATA.objectives.find((o) => !used.includes(o.name)).name));
    rebuild();
    byId("slots").lastChild.querySelector("select").focus();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => drawMaps(true));
  byId("board").hidden = false;
  rebuild();
}

start().catch((error) => {
  byId("failed").hidden = false;
  byId("failed").textContent = `The page could not start; it needs a browser of 2023 or later. (${error})`;
});
