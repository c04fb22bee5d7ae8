"use strict";
// State lives in the address's hash, so that a link says what its sender saw. Nothing here makes a request, and text
// from records only ever enters the page as text.
const START = { view: "tables", q: "", task: "", kind: "", revision: "", floors: true, cell: "", sort: new Map() };
const at = (id) => document.getElementById(id);
const { tables: given, provenance } = JSON.parse(at("data").textContent);
const dialog = at("provenance");
const tables = given.map(build);
let state = { ...START, sort: new Map() };

function read() {
  const given = new URLSearchParams(location.hash.slice(1));
  const pick = (key, allowed) => (allowed.includes(given.get(key)) ? given.get(key) : START[key]);
  const options = (id) => [...at(id).options].map((option) => option.value);
  const sort = new Map();
  for (const each of given.getAll("sort")) {
    const [, address, column, order] = /^(.*)~(.*)~(ascending|descending)$/.exec(each) || [];
    if (order) sort.set(address, { column, order });
  }
  return {
    view: pick("view", ["tables", "pictures"]),
    q: given.get("q") || "",
    task: pick("task", options("task")),
    kind: pick("kind", options("kind")),
    revision: pick("revision", options("revision")),
    floors: given.get("floors") !== "0",
    cell: Object.hasOwn(provenance, given.get("cell") || "") ? given.get("cell") : "",
    sort,
  };
}

function hash() {
  const told = new URLSearchParams();
  for (const key of ["view", "q", "task", "kind", "revision", "cell"]) if (state[key] !== START[key]) told.set(key, state[key]);
  if (!state.floors) told.set("floors", "0");
  for (const [address, { column, order }] of state.sort) told.append("sort", `${address}~${column}~${order}`);
  return told.toString();
}

function change(news) {
  Object.assign(state, news);
  const told = hash();
  if (location.hash.slice(1) !== told) history.replaceState(null, "", told ? `#${told}` : location.pathname + location.search);
  show();
}

// A value that is missing stands last, whatever the order; rows that are equal keep the order of the table.
function compare(a, b, sign, isNumber) {
  if (a === "" || b === "") return (a === "") - (b === "");
  return sign * (isNumber ? Number(a) - Number(b) : a.localeCompare(b, "zh-CN", { numeric: true }));
}

function sortTable({ section, body, headings, rows }) {
  const asked = state.sort.get(section.dataset.address);
  const place = asked ? headings.findIndex((heading) => heading.dataset.name === asked.column) : -1;
  headings.forEach((heading, number) => {
    if (number === place) heading.setAttribute("aria-sort", asked.order);
    else heading.removeAttribute("aria-sort");
  });
  const isNumber = place >= 0 && headings[place].classList.contains("number");
  const sign = asked && asked.order === "descending" ? -1 : 1;
  const value = (row) => row.cells[place].dataset.value;
  const sorted = place < 0 ? rows : [...rows].sort((a, b) => compare(value(a), value(b), sign, isNumber));
  if (sorted.some((row, number) => body.rows[number] !== row)) body.append(...sorted);
}

function filterTable({ section, headings, rows }) {
  const words = state.q.toLowerCase().split(/\s+/).filter(Boolean);
  const columns = headings.map(({ dataset }) =>
    !(state.task && dataset.task && dataset.task !== state.task) && !(state.revision && dataset.revision && dataset.revision !== state.revision));
  const scored = headings.some(({ dataset }) => dataset.task);
  const asked = headings.findIndex(({ dataset }, number) => columns[number] && dataset.task && dataset.task === state.task);
  const here = !(state.kind && section.dataset.kind !== state.kind) && !(state.task && asked < 0) &&
    !(scored && !headings.some(({ dataset }, number) => columns[number] && dataset.task));
  let shown = 0;
  for (const row of rows) {
    const text = row.dataset.search.toLowerCase();
    const isShown = here && words.every((word) => text.includes(word)) && (state.floors || !row.classList.contains("floor")) &&
      (asked < 0 || row.cells[asked].dataset.value !== "");
    row.hidden = !isShown;
    shown += isShown;
    columns.forEach((isColumn, number) => { row.cells[number].hidden = !isColumn; });
  }
  columns.forEach((isColumn, number) => { headings[number].hidden = !isColumn; });
  section.hidden = !shown;
  return shown;
}

function show() {
  at("q").value = state.q;
  for (const id of ["task", "kind", "revision"]) at(id).value = state[id];
  at("floors").checked = state.floors;
  for (const button of document.querySelectorAll("[data-view]")) button.setAttribute("aria-pressed", String(button.dataset.view === state.view));
  at("tables").hidden = state.view !== "tables";
  at("pictures").hidden = state.view !== "pictures";
  for (const id of ["q", "kind", "revision", "floors"]) at(id).disabled = state.view !== "tables";  // pictures have tasks only
  let shown = 0;
  for (const table of tables) {
    sortTable(table);
    shown += filterTable(table);
  }
  const total = tables.reduce((sum, table) => sum + table.rows.length, 0);
  at("count").textContent = state.view === "tables" ? `${shown} / ${total} 行 rows` : "";
  at("nothing").hidden = shown > 0;
  for (const chart of document.querySelectorAll(".chart[data-task]")) chart.hidden = Boolean(state.task) && chart.dataset.task !== state.task;
  for (const button of document.querySelectorAll(".cell[aria-current]")) button.removeAttribute("aria-current");
  if (state.cell) explain(state.cell);
  else if (dialog.open) dialog.close();
}

function element(name, text, className) {
  const made = document.createElement(name);
  if (text) made.textContent = text;
  if (className) made.className = className;
  return made;
}

function pair(name, [chinese, english]) {
  const made = element(name, chinese);
  if (english) {
    const other = element("span", ` ${english}`, "english");
    other.lang = "en";
    made.append(other);
  }
  return made;
}

// One table of the JSON as a section of the page; what filters and sorting need stands in data attributes.
function build(table, number) {
  const section = element("section", "", "table");
  Object.assign(section.dataset, { address: table.name, kind: table.kind });
  const title = pair("h2", [table.chinese, table.title]);
  title.id = `title-${number}`;
  section.setAttribute("aria-labelledby", title.id);
  const scroll = element("div", "", "scroll");
  scroll.tabIndex = 0;
  scroll.setAttribute("role", "group");
  scroll.setAttribute("aria-labelledby", title.id);
  const made = scroll.appendChild(element("table"));
  const head = made.createTHead().insertRow();
  const headings = table.columns.map((column) => head.appendChild(buildHeading(column)));
  const body = made.createTBody();
  const rows = table.rows.map((row) => body.appendChild(buildRow(row, table.columns)));
  section.append(title, scroll, ...table.legend.map((each) => Object.assign(pair("p", each), { className: "legend" })));
  if (table.notes.length) {
    const notes = section.appendChild(element("details", "", "notes"));
    notes.append(pair("summary", ["注", `Notes (${table.notes.length})`]));
    for (const text of table.notes) notes.append(Object.assign(element("p", text), { lang: "en" }));
  }
  at("tables").append(section);
  return { section, body, headings, rows };
}

function buildHeading({ name, note, is_number: isNumber, tags }) {
  const heading = element("th", "", isNumber ? "number" : "text");
  heading.scope = "col";
  Object.assign(heading.dataset, { name, ...tags });
  const button = heading.appendChild(element("button", name));
  button.type = "button";
  button.append(element("span", "", "arrow"));
  button.lastChild.setAttribute("aria-hidden", "true");
  if (note) {
    const condition = element("span", note, tags && tags.revision === "other" ? "condition other" : "condition");
    condition.lang = /[\u4e00-\u9fff]/.test(note) ? "zh-CN" : "en";
    heading.append(condition);
  }
  return heading;
}

function buildRow({ cells, tag, search }, columns) {
  const row = element("tr", "", tag ? "floor" : "");
  row.dataset.search = search || cells.map((cell) => cell.text).join(" ");
  cells.forEach((cell, number) => {
    const isNumber = Boolean(columns[number].is_number);
    const made = row.appendChild(element(number ? "td" : "th", "", number ? (isNumber ? "number" : "text") : ""));
    if (!number) made.scope = "row";
    if (cell.is_best) made.classList.add("best");
    if (cell.tooltip) made.title = cell.tooltip;
    made.dataset.value = cell.value ?? (isNumber || cell.text === "–" ? "" : cell.text);
    made.append(...(cell.address ? [cellButton(cell)] : shown(cell)));
    if (!number && tag) made.append(" ", Object.assign(pair("span", [tag, "floor"]), { className: "tag" }));
  });
  return row;
}

function shown({ text, mark, links = [] }) {
  const parts = links.flatMap((link, number) => {
    const made = element(/^https?:/.test(link.url) ? "a" : "span", link.text);
    if (made.localName === "a") Object.assign(made, { href: link.url, rel: "noreferrer" });
    return number ? [" ", made] : [made];
  });
  if (!parts.length) parts.push(element("bdi", text));
  return mark ? [...parts, element("sup", mark)] : parts;
}

function cellButton({ text, mark, below, address }) {
  const button = element("button", "", "cell");
  button.type = "button";
  button.dataset.cell = address;
  button.setAttribute("aria-haspopup", "dialog");
  button.append(element("span", text, "shown"));
  if (mark) button.append(element("sup", mark));
  if (below) button.append(element("span", below, "rank"));
  return button;
}

function factList(facts) {
  const list = element("dl");
  for (const [chinese, english, value] of facts) list.append(pair("dt", [chinese, english]), element("dd", value));
  return list;
}

function factTable({ table, links }) {
  const scroll = element("div", "", "scroll");
  scroll.tabIndex = 0;
  const made = scroll.appendChild(element("table"));
  const head = made.createTHead().insertRow();
  for (const name of table.header) {
    const heading = head.appendChild(pair("th", name));
    heading.scope = "col";
  }
  const body = made.createTBody();
  table.rows.forEach((values, number) => {
    const row = body.insertRow();
    const name = row.appendChild(element("th"));
    name.scope = "row";
    if (links) {
      const link = name.appendChild(element("button", values[0], "cell"));
      link.type = "button";
      link.addEventListener("click", () => change({ cell: links[number] }));
    } else name.textContent = values[0];
    for (const value of values.slice(1)) row.append(element("td", value));
  });
  return scroll;
}

function explain(address) {
  const told = provenance[address];
  at("provenance-title").textContent = told.title;
  const parts = [element("p", told.lead, "lead"), ...told.warnings.map((text) => element("p", text, "warning"))];
  for (const section of told.sections) {
    parts.push(pair("h3", [section.zh, section.en]), section.table ? factTable(section) : factList(section.facts));
  }
  at("provenance-body").replaceChildren(...parts);
  const button = [...document.querySelectorAll("button[data-cell]")].find((each) => each.dataset.cell === address);
  if (button) button.setAttribute("aria-current", "true");
  if (!dialog.open) dialog.showModal();
  dialog.scrollTop = 0;
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("button[data-cell]");
  const point = event.target.closest(".chart a");
  if (button) change({ cell: button.dataset.cell });
  else if (point) {
    event.preventDefault();
    change({ cell: new URLSearchParams(point.getAttribute("href").slice(1)).get("cell") });
  }
  else if (event.target === dialog) dialog.close();
});
dialog.addEventListener("close", () => { if (state.cell) change({ cell: "" }); });
at("close").addEventListener("click", () => dialog.close());
at("controls").addEventListener("submit", (event) => event.preventDefault());
at("q").addEventListener("input", () => change({ q: at("q").value }));
for (const id of ["task", "kind", "revision"]) at(id).addEventListener("change", () => change({ [id]: at(id).value }));
at("floors").addEventListener("change", () => change({ floors: at("floors").checked }));
at("reset").addEventListener("click", () => change({ ...START, view: state.view, sort: new Map() }));
for (const button of document.querySelectorAll("[data-view]")) button.addEventListener("click", () => change({ view: button.dataset.view }));
for (const { section, headings } of tables) {
  for (const heading of headings) {
    heading.querySelector("button").addEventListener("click", () => {
      const first = heading.classList.contains("number") ? "descending" : "ascending";
      const now = heading.getAttribute("aria-sort");
      const order = now === null ? first : now === "ascending" ? "descending" : "ascending";
      change({ sort: new Map(state.sort).set(section.dataset.address, { column: heading.dataset.name, order }) });
    });
  }
}
addEventListener("hashchange", () => { state = read(); show(); });
state = read();
show();
