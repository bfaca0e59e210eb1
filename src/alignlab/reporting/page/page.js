"use strict";
// Draws the figures from the page's data and lets readers choose what they show. All words are in the HTML already.

const data = JSON.parse(document.getElementById("data").textContent);
const all = (selector, within = document) => [...within.querySelectorAll(selector)];
const PAPER = 680; // pixels of a figure on paper: A4 and Letter have room for it
const MOST_ROWS = 1000; // rows of a table on the page; its file has all
const root = document.documentElement;
const slider = document.getElementById("step");
const state = { all: "" };

// --- choices --------------------------------------------------------------------------------------------------------

// What belongs to one run, to one choice of thresholds or to one step shows with it only.
const BELONGS = ["run", "thresholds", "partsAt"];

function showWhatBelongs() {
  const selector = BELONGS.map((name) => `[data-${name.replace("A", "-a")}]`).join(",");
  for (const element of all(selector)) {
    element.hidden = BELONGS.some((name) => name in element.dataset && element.dataset[name] !== state[name]);
  }
}

function readChoices() {
  for (const name of ["until", "partsAt"]) delete state[name];
  for (let pass = 0; pass < 2; pass++) {
    // A control of another run is hidden, and says nothing: so the run is read first.
    for (const control of all("[data-state]")) {
      if (!control.closest("[hidden]") && (control.type !== "radio" || control.checked)) {
        state[control.dataset.state] = control.value;
      }
    }
    showWhatBelongs();
  }
}

function update() {
  const run = state.run;
  readChoices();
  if (state.run !== run) setSlider();
  sayStep();
  fillTransitions();
  drawAll();
}

// --- rows -----------------------------------------------------------------------------------------------------------

// The counts of a run at some thresholds, one object a row, in the columns of the tidy table.
function rowsOf(run, thresholds, parts) {
  const { name, rows } = data.runs[run];
  const found = [];
  for (const [step, tables] of Object.entries(rows.values[thresholds] ?? {})) {
    for (const part of parts.filter((part) => part in tables)) {
      rows.keys[part].forEach((key, place) => {
        const value = (column) => tables[part][column]?.[place] ?? null;
        if (value("value") === null) return;
        const row = { run: name, thresholds, step: Number(step) };
        data.keys.forEach((column, index) => { row[column] = key[index]; });
        data.values.forEach((column) => { row[column] = value(column); });
        row.denominator ??= rows.same[part][place];
        found.push(row);
      });
    }
  }
  return found;
}

function tableOf(figure) {
  if (!figure.parts.length) return figure.tables[state.run] ?? figure.tables[""] ?? { columns: [], rows: [] };
  const runs = figure.everyRun ? data.runs.keys() : [Number(state.run)];
  const columns = ["run", ...data.columns];
  const rows = [...runs].flatMap((run) => rowsOf(run, state.thresholds, figure.parts));
  return { columns, rows: rows.map((row) => columns.map((column) => row[column])) };
}

// --- figures --------------------------------------------------------------------------------------------------------

const isDark = () => root.dataset.theme === "dark";

// Figures come in light colours; every colour of the palette has its dark one.
function themed(value) {
  if (!isDark()) return value;
  return JSON.parse(data.dark.reduce((text, [light, dark]) => text.replaceAll(light, dark), JSON.stringify(value)));
}

function keyOf(figure) {
  return figure.by.map((name) => state[name]).join("|");
}

// On paper all figures are as wide as the sheet.
let printing = false;
const widthOf = (card) => (printing ? PAPER : card.clientWidth);
const sideOf = (card) => (widthOf(card) < data.figures[card.dataset.figure].narrowBelow ? 1 : 0);

function specOf(card) {
  const name = card.dataset.figure;
  const figure = data.figures[name];
  const own = figure.own[keyOf(figure)];
  if (!own) return null;
  const side = sideOf(card);
  const spec = structuredClone({
    data: own.traces.map((trace, place) => ({ ...figure.traces[place], ...trace })),
    layout: { ...figure.layouts[side], ...own.layouts[side], template: data.template },
  });
  if (name === "layers") fillStep(spec);
  if (name === "heatmaps") markStep(spec);
  fitNumbers(spec, widthOf(card));
  return { ...themed(spec), label: own.label };
}

// One figure after another, the nearest first, so that the page answers in between; a newer call takes over.
let turn = 0;
async function drawAll() {
  const mine = ++turn;
  root.dataset.drawn = "some";
  const away = (card) => Math.abs(card.getBoundingClientRect().top - innerHeight / 3);
  const cards = all("[data-figure]").map((card) => ({ card, at: away(card) })).sort((a, b) => a.at - b.at);
  for (const { card } of cards) reserve(card);
  for (const { card } of cards) {
    draw(card);
    await new Promise((resolve) => { setTimeout(resolve); });
    if (mine !== turn) return;
  }
  root.dataset.drawn = "all";
}

// The height of a figure that is still to be drawn, so that nothing jumps when it is.
function reserve(card) {
  const figure = data.figures[card.dataset.figure];
  const own = figure.own[keyOf(figure)];
  const height = own?.layouts[sideOf(card)].height ?? figure.layouts[sideOf(card)].height ?? 0;
  card.querySelector(".plot").style.minHeight = own ? `${height}px` : "";
}

function draw(card) {
  const plot = card.querySelector(".plot");
  const spec = specOf(card);
  plot.hidden = !spec;
  plot.style.minHeight = "";
  card.querySelector(".tools").hidden = !spec;
  if (spec) {
    plot.setAttribute("aria-label", spec.label);
    plot.removeAttribute("aria-labelledby");
    const size = printing ? { width: PAPER } : {};
    Plotly.react(plot, spec.data, { ...spec.layout, ...size }, { displayModeBar: false, responsive: true, showTips: false });
  }
  const details = card.querySelector("details.data");
  if (details.open) fillTable(card);
}

// Paper cannot be unfolded: tables are open on it, and figures as wide as it is. It is white, whatever the screen is.
let folded = [];
let wasDark = false;
function toPaper() {
  turn++;
  printing = true;
  wasDark = isDark();
  setTheme(false);
  folded = all("details.fold:not([open])");
  for (const details of folded) details.open = true;
  for (const card of all("[data-figure]")) draw(card);
}

function fromPaper() {
  printing = false;
  setTheme(wasDark);
  for (const details of folded) details.open = false;
  for (const plot of all(".plot")) Plotly.purge(plot); // which would keep the width of paper
  drawAll();
}

// --- the step slider ------------------------------------------------------------------------------------------------

function layerRows() {
  return rowsOf(state.run, state.thresholds, ["layer"]);
}

function stepsOf(rows) {
  return [...new Set(rows.map((row) => row.step))].sort((a, b) => a - b);
}

function stepName(step) {
  return data.runs[state.run].stepNames[step] ?? `step ${count(step)}`;
}

function setSlider() {
  const steps = stepsOf(rowsOf(state.run, "anchored", ["layer"]));
  slider.max = Math.max(0, steps.length - 1);
  slider.value = slider.max;
  slider.disabled = steps.length < 2;
  slider.parentElement.hidden = !steps.length;
}

function chosenStep() {
  return stepsOf(rowsOf(state.run, "anchored", ["layer"]))[Number(slider.value)];
}

// The bars of the chosen step come from its rows: a figure for every step would be too much for the page.
function fillStep(spec) {
  const rows = layerRows();
  const at = (kind, step) =>
    rows.filter((row) => row.kind === kind && row.step === step).sort((a, b) => a.layer - b.layer);
  for (const trace of spec.data) {
    const { kind, at: when } = trace.meta;
    if (when === "first") continue; // the outline, the same at every step
    const found = at(kind, chosenStep());
    trace.x = found.map((row) => row.layer);
    trace.y = found.map((row) => row.value);
    if (!found.some((row) => row.low !== null && row.high !== null)) {
      delete trace.error_y;
      continue;
    }
    trace.error_y = {
      type: "data", symmetric: false, thickness: 1, width: 0, color: data.text,
      array: found.map((row) => (row.high ?? row.value) - row.value),
      arrayminus: found.map((row) => row.value - Math.max(0, row.low ?? row.value)),
    };
  }
}

// The numbers in the cells of heat maps are as large as the cells allow; where they could not be read, they are on hover.
const LEAST_LETTERS = 8; // pixels
const ruler = document.createElement("canvas").getContext("2d");
function fitNumbers(spec, width) {
  const names = 90; // pixels left of the panels, for the names of rows
  for (const trace of spec.data.filter((one) => one.texttemplate)) {
    const texts = (trace.text ?? trace.z).flat().map((value) => (typeof value === "number" ? count(value) : value ?? ""));
    const { size } = trace.textfont;
    ruler.font = `${size}px ${data.template.layout.font.family}`;
    const widest = Math.max(...texts.map((text) => ruler.measureText(text).width));
    const [left, right] = spec.layout[trace.xaxis.replace("x", "xaxis")].domain;
    const cell = ((right - left) * (width - names)) / trace.z[0].length;
    const fitting = Math.min(size, Math.floor((size * cell) / widest));
    if (fitting < LEAST_LETTERS) delete trace.texttemplate;
    else trace.textfont.size = fitting;
  }
}

// A frame around the chosen step in every heat map.
function markStep(spec) {
  const place = stepsOf(layerRows()).indexOf(chosenStep());
  if (place < 0) return;
  spec.layout.shapes = spec.data.map((trace) => ({
    type: "rect", xref: trace.xaxis, yref: `${trace.yaxis} domain`, x0: place - 0.5, x1: place + 0.5, y0: 0, y1: 1,
    line: { color: data.text, width: 1.5 },
  }));
}

function sayStep() {
  const step = chosenStep();
  const said = document.getElementById("step-said");
  if (step === undefined) {
    said.textContent = "";
    return;
  }
  const rowsAt = (part) => rowsOf(state.run, state.thresholds, [part]).filter((row) => row.step === step);
  const [rows, totals] = [rowsAt("layer"), rowsAt("total")];
  const words = data.kinds.map((kind) => {
    const of = rows.filter((row) => row.kind === kind);
    const total = totals.find((row) => row.kind === kind)?.value ?? 0;
    const most = of.reduce((best, row) => (row.value > (best?.value ?? 0) ? row : best), null);
    return `${count(total)} ${kind}` + (most ? ` (most in layer ${most.layer}: ${count(most.value)})` : "");
  });
  slider.setAttribute("aria-valuetext", stepName(step));
  said.textContent = `${stepName(step)}: ${words.join(", ")}`;
}

// --- the table of transitions ---------------------------------------------------------------------------------------

// The page has it for the last step; for the step that is chosen its cells are filled from the figure's rows.
function fillTransitions() {
  const shown = all("table.transitions").find((table) => !table.closest("[hidden]"));
  if (!shown || state.until === undefined) return;
  const run = data.runs[state.run];
  const step = Number(state.until);
  const digit = { minimumFractionDigits: 1, maximumFractionDigits: 1 };
  const end = (value) => written(value, digit);
  for (const [, thresholds, at, before, after, value, low, high] of data.figures.transitions.tables[state.run].rows) {
    if (thresholds !== state.thresholds || at !== step) continue;
    const cell = shown.querySelector(`[data-move="${before} ${after}"]`);
    cell.textContent = count(value);
    if (low === null || high === null) continue;
    const ends = document.createElement("small");
    ends.className = "interval";
    ends.textContent = `${end(low)} to ${end(high)}`;
    cell.append(ends);
  }
  const totals = rowsOf(state.run, state.thresholds, ["total"]).filter((row) => row.step === step);
  const none = run.neurons - totals.reduce((sum, row) => sum + row.value, 0);
  for (const { kind, value } of [...totals, { kind: "none", value: none }]) {
    shown.querySelector(`[data-total="${kind}"]`).textContent = count(value);
  }
  shown.querySelector(".until").textContent = stepName(step);
}

// --- tables and files -----------------------------------------------------------------------------------------------

// As the page says them elsewhere: a minus as long as the plus, and none before zero.
const written = (value, digits) => value.toLocaleString("en-US", { ...digits, signDisplay: "negative" }).replace("-", "−");
const count = (value) => written(value, { maximumFractionDigits: 4 });

function shownCell(value, column) {
  if (value === null || value === undefined || value === "") return "";
  if (typeof value === "boolean") return value ? "yes" : "no";
  return typeof value === "number" && column !== "layer" && column !== "degree" ? count(value) : String(value);
}

function fillTable(card) {
  const box = card.querySelector("details.data .scroll");
  const { columns, rows } = tableOf(data.figures[card.dataset.figure]);
  const used = columns.map((_, place) => rows.some((row) => row[place] !== null && row[place] !== ""));
  const table = document.createElement("table");
  const head = table.createTHead().insertRow();
  const numeric = columns.map((_, place) => rows.some((row) => typeof row[place] === "number"));
  columns.forEach((column, place) => {
    if (!used[place]) return;
    const cell = document.createElement("th");
    cell.scope = "col";
    cell.textContent = column.replaceAll("_", " ");
    cell.className = numeric[place] ? "n" : "";
    head.append(cell);
  });
  const body = table.createTBody();
  for (const row of rows.slice(0, MOST_ROWS)) {
    const line = body.insertRow();
    row.forEach((value, place) => {
      if (!used[place]) return;
      const cell = line.insertCell();
      cell.textContent = shownCell(value, columns[place]);
      cell.className = numeric[place] ? "n" : "";
    });
  }
  const empty = columns.filter((_, place) => !used[place]).map((column) => column.replaceAll("_", " "));
  const caption = table.createCaption().appendChild(document.createElement("span"));
  caption.textContent =
    `${count(rows.length)} rows` +
    (rows.length > MOST_ROWS ? `, the first ${count(MOST_ROWS)} here, all in the CSV` : "") +
    (empty.length ? `; empty columns left out here: ${empty.join(", ")}` : "");
  box.replaceChildren(table);
}

// Texts that a spreadsheet would run as a formula have an apostrophe before them, as in table.csv; numbers have none.
const FORMULA = /^'*[=+\-@\t\r]/;

function csvOf({ columns, rows }) {
  const quoted = (value) => {
    const guard = typeof value === "string" && FORMULA.test(value) ? "'" : "";
    const text = value === null || value === undefined ? "" : guard + String(value);
    return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  return [columns, ...rows].map((row) => row.map(quoted).join(",")).join("\n") + "\n";
}

function save(text, type, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

async function saveFigure(card, kind) {
  const figure = data.figures[card.dataset.figure];
  const run = data.runs[state.run].name.replace(/[^\p{L}\p{N}._-]+/gu, "-") || "run";
  const name = `${run}-${card.dataset.figure}.${kind}`;
  if (kind === "csv") {
    save(csvOf(tableOf(figure)), "text/csv;charset=utf-8", name);
    return;
  }
  const spec = specOf(card);
  const plot = card.querySelector(".plot");
  spec.layout.paper_bgcolor = getComputedStyle(root).getPropertyValue("--page").trim();
  const size = { width: plot.clientWidth, height: spec.layout.height };
  const url = await Plotly.toImage({ data: spec.data, layout: { ...spec.layout, ...size } }, { format: "svg", ...size });
  save(decodeURIComponent(url.slice(url.indexOf(",") + 1)), "image/svg+xml", name);
}

// --- theme ----------------------------------------------------------------------------------------------------------

const button = document.getElementById("theme");
const system = matchMedia("(prefers-color-scheme: dark)");

function setTheme(dark) {
  root.dataset.theme = dark ? "dark" : "light";
  button.textContent = `Switch to the ${dark ? "light" : "dark"} theme`;
}

// --- start ----------------------------------------------------------------------------------------------------------

setTheme(system.matches);
document.getElementById("no-script").remove();
update();

button.addEventListener("click", () => { setTheme(!isDark()); drawAll(); });
system.addEventListener("change", () => { if (!printing) { setTheme(system.matches); drawAll(); } });
for (const control of all("[data-state]")) control.addEventListener("change", update);
slider.addEventListener("input", () => {
  all('[data-figure="layers"], [data-figure="heatmaps"]').forEach(draw);
  sayStep();
});
for (const card of all("[data-figure]")) {
  card.querySelector("details.data").addEventListener("toggle", (event) => { if (event.target.open) fillTable(card); });
  for (const saver of all("[data-save]", card)) saver.addEventListener("click", () => saveFigure(card, saver.dataset.save));
}
addEventListener("beforeprint", toPaper);
addEventListener("afterprint", fromPaper);
const sides = () => all("[data-figure]").map(sideOf).join("");
let laidOut = sides();
addEventListener("resize", () => {
  if (!printing && laidOut !== (laidOut = sides())) drawAll();
});
