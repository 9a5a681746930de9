"use strict";
// The table of prompts: search, filter, sort, pages. Data gets onto the page as text nodes only.
(() => {
  const byId = (id) => document.getElementById(id);
  const data = JSON.parse(byId("prompt-data").textContent);
  const rows = data.rows, scores = data.scores, table = byId("table"), status = byId("status");
  const SIZES = [25, 50, 100, 500];
  const state = { words: [], hidden: new Set(), order: "flag", page: 0, size: 25, all: false, open: new Set() };
  let found = [], index = null, shownAll = false, headed = null;

  // make("td", {class: "x"}, "text", node): attributes and children; strings become text nodes.
  function make(name, attributes, ...children) {
    const node = document.createElement(name);
    for (const key in attributes) if (attributes[key] !== null) node.setAttribute(key, attributes[key]);
    node.append(...children);
    return node;
  }
  const marked = (parts) => parts.map((part, i) => (i % 2 ? make("mark", {}, part) : part));
  const flagOf = (name) => make("span", { class: "flag f-" + name }, name);
  const written = (count) => (count >= 10000 ? count.toLocaleString("en").replace(/,/g, "\u202f") : String(count));

  // Search -----------------------------------------------------------------------------------
  const folded = (text) => text.normalize("NFD").replace(/\p{M}/gu, "").toLowerCase();
  function indexed() {
    index ??= rows.map((row) =>
      folded([row.id, row.group, row.prompt, row.truth.join(""), row.why,
        ...row.responses.map((one) => one.text.join(""))].join("\n")));
    return index;
  }

  function select() {
    const texts = state.words.length ? indexed() : null;
    found = [];
    for (let i = 0; i < rows.length; i++) {
      if (state.hidden.has(rows[i].flag)) continue;
      if (texts && !state.words.every((word) => texts[i].includes(word))) continue;
      found.push(i);
    }
    if (state.order !== "flag") sort();
  }

  // Unscored prompts come last in either direction: no score is not a low score.
  function sort() {
    const [direction, column] = [state.order[0] === "+" ? 1 : -1, Number(state.order.slice(1))];
    if (column < 0) { found.reverse(); return; }
    const value = (i) => rows[i].scores[column][0];
    found.sort((a, b) => {
      const x = value(a), y = value(b);
      if (x === null || y === null) return (x === null) - (y === null) || a - b;
      return direction * (x - y) || a - b;
    });
  }

  // Rows -------------------------------------------------------------------------------------
  function rowOf(i, body) {
    const row = rows[i], open = state.all !== state.open.has(i);
    const button = make("button", { type: "button", class: "fold", "aria-expanded": String(open) },
      make("span", { dir: "auto" }, row.prompt || "(no prompt)"));
    if (open) button.setAttribute("aria-controls", "row-" + i);
    button.addEventListener("click", () => {
      state.open.has(i) ? state.open.delete(i) : state.open.add(i);
      render();
      table.querySelector(`[data-row="${i}"] .fold`).focus();
    });
    const about = row.group ? [make("bdi", {}, row.id), " · ", make("bdi", {}, row.group)] : [make("bdi", {}, row.id)];
    body.append(make("tr", { "data-row": i, class: open ? "is-open" : null },
      make("td", {}, flagOf(row.flag)),
      make("th", { scope: "row" }, button, make("span", { class: "about" }, ...about)),
      ...columns().map((k) => {
        const kind = "score" + (k === sortedColumn() ? " sorted" : "") + (row.scores[k][0] === null ? " unscored" : "");
        return make("td", { class: kind }, row.scores[k][1]);
      })));
    if (open) body.append(detailOf(row, i));
  }

  function detailOf(row, i) {
    const facts = row.facts.length
      ? [make("div", {}, make("dt", {}, "Distinguishing words"), make("dd", { dir: "auto" }, row.facts.join(", ")))] : [];
    const said = row.responses.map((one) =>
      make("div", { class: "response" }, make("p", { class: "by" }, one.by),
        make("p", { class: "text", dir: "auto" }, ...(one.text.join("").trim() ? marked(one.text) : [make("i", {}, "no words")])),
        ...(one.words.length ? [make("p", { class: "note" }, "Leaking words: ", make("bdi", {}, one.words.join(", ")))] : [])));
    const kind = "all-scores" + (scores.length > columns().length ? " more-scores" : "");
    const numbers = make("dl", { class: kind }, ...row.scores.map((score, k) =>
      make("div", {}, make("dt", {}, scores[k]), make("dd", {}, score[1]))));
    return make("tr", { class: "more", id: "row-" + i },
      make("td", { colspan: 2 + columns().length },
        make("dl", { class: "pairs" },
          make("div", {}, make("dt", {}, "Why this flag"), make("dd", {}, row.why)),
          make("div", {}, make("dt", {}, "True answer"), make("dd", { dir: "auto" }, ...marked(row.truth))), ...facts),
        make("div", { class: "responses" }, ...(said.length ? said : [make("p", { class: "note" }, "No response was recorded.")])),
        ...(scores.length ? [numbers] : [])));
  }

  // What is shown ----------------------------------------------------------------------------
  const sortedColumn = () => (state.order === "flag" ? -1 : Number(state.order.slice(1)));
  // Scores with a column: a few, and the one that is sorted by. All of them are in the details.
  const columns = () => {
    const sorted = sortedColumn();
    return sorted < 0 || data.columns.includes(sorted) ? data.columns : [...data.columns, sorted];
  };

  function render() {
    const pages = Math.max(1, Math.ceil(found.length / state.size));
    state.page = Math.min(state.page, pages - 1);
    const first = state.page * state.size, shown = found.slice(first, first + state.size);
    const body = make("tbody", {});
    for (const i of shown) rowOf(i, body);
    if (!shown.length) body.append(make("tr", {}, make("td", { colspan: 2 + columns().length, class: "empty" },
      rows.length ? "No prompt matches. " : "The audit recorded no prompts. ")));
    table.tBodies[0].replaceWith(body);
    status.textContent = `${written(found.length)} of ${written(rows.length)} prompts`;
    byId("print-note").textContent = `Printed: ${written(shown.length)} of ${written(rows.length)} prompts, the page that was open. `
      + "Choose filters and page size before printing, or export all of them as CSV.";
    if (columns().join() !== headed) head();
    for (const th of table.tHead.rows[0].cells) {
      const column = th.dataset.column;
      if (column === undefined) continue;
      const active = Number(column) === sortedColumn();
      th.setAttribute("aria-sort", !active ? "none" : state.order[0] === "-" ? "descending" : "ascending");
      th.classList.toggle("sorted", active);
    }
    byId("order").value = state.order;
    showPages(pages);
  }

  function update() { state.page = 0; select(); render(); }

  function showPages(pages) {
    byId("pages").hidden = found.length <= SIZES[0];
    byId("page").textContent = `Page ${state.page + 1} of ${pages}`;
    byId("previous").setAttribute("aria-disabled", String(state.page === 0));
    byId("next").setAttribute("aria-disabled", String(state.page + 1 >= pages));
  }

  function turn(by) {
    const page = state.page + by;
    if (page < 0 || page * state.size >= found.length) return;
    state.page = page;
    render();
    if (table.getBoundingClientRect().top < 0) byId("controls").scrollIntoView();
  }

  // Controls ---------------------------------------------------------------------------------
  function head() {
    const button = (title, column, first) => {
      const inside = make("button", { type: "button", class: "sort" }, title);
      inside.addEventListener("click", () => {
        const other = first[0] === "-" ? "+" + column : "-" + column;
        state.order = state.order === first ? (first === "flag" ? "-" + column : other) : first;
        update();
      });
      return make("th", { scope: "col", class: column < 0 ? null : "score", "data-column": column }, inside);
    };
    table.tHead.rows[0].replaceChildren(button("Flag", -1, "flag"), make("th", { scope: "col" }, "Prompt"),
      ...columns().map((k) => button(scores[k], k, "-" + k)));
    headed = columns().join();
  }

  function orders() {
    const option = (value, title) => make("option", { value }, title);
    byId("order").append(option("flag", "Flag, worst first"), option("--1", "Flag, worst last"),
      ...scores.flatMap((name, k) => [option("-" + k, name + ", highest first"), option("+" + k, name + ", lowest first")]));
    byId("order").addEventListener("change", (event) => { state.order = event.target.value; update(); });
  }

  function flags() {
    const counts = {};
    for (const row of rows) counts[row.flag] = (counts[row.flag] || 0) + 1;
    for (const name of data.flags) {
      if (!counts[name]) continue;
      const box = make("input", { type: "checkbox", checked: "" });
      box.addEventListener("change", () => {
        box.checked ? state.hidden.delete(name) : state.hidden.add(name);
        update();
      });
      byId("flags").append(make("label", {}, box, flagOf(name), make("span", { class: "of" }, written(counts[name]))));
    }
  }

  function pager() {
    const step = (id, title, by) => {
      const button = make("button", { type: "button", id }, title);
      button.addEventListener("click", () => turn(by));
      return button;
    };
    const size = make("select", { id: "size" }, ...SIZES.map((n) => make("option", { value: n }, String(n))));
    size.addEventListener("change", () => { state.size = Number(size.value); state.page = 0; render(); });
    byId("pages").append(step("previous", "Previous", -1), make("span", { id: "page" }), step("next", "Next", 1),
      make("label", { for: "size" }, "Prompts per page"), size);
  }

  function unfold(all) { state.all = all; state.open.clear(); render(); }

  function printing() {
    const closed = new Set();
    addEventListener("beforeprint", () => {
      shownAll = state.all;
      unfold(true);
      for (const one of document.querySelectorAll("details:not([open])")) { closed.add(one); one.open = true; }
    });
    addEventListener("afterprint", () => {
      unfold(shownAll);
      for (const one of closed) one.open = false;
      closed.clear();
    });
  }

  orders(); flags(); pager(); printing();
  byId("query").addEventListener("focus", indexed);
  byId("query").addEventListener("input", (event) => {
    state.words = folded(event.target.value).split(/\s+/).filter(Boolean);
    update();
  });
  byId("unfold").addEventListener("click", (event) => {
    unfold(!state.all);
    event.target.setAttribute("aria-pressed", String(state.all));
  });
  byId("controls").addEventListener("submit", (event) => event.preventDefault());
  byId("controls").hidden = false;
  byId("plain-note").remove();
  update();
  performance.mark("prompts-shown");
})();
