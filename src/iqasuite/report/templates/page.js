// Tables that sort, filter and can be saved, figures at full size, and the search of the first page. No network.
"use strict";
const number = (text) => {
  const first = text.trim().replace(/−/g, "-").replace(/,(?=\d{3})/g, "").split(/\s|\[/)[0].replace(/^[<>]/, "");
  return first !== "" && isFinite(first) ? Number(first) : NaN;
};
const rowsOf = (table) => [...(table.tBodies[0] || { rows: [] }).rows];

function sortBy(table, column, header) {
  const up = header.getAttribute("aria-sort") !== "ascending";
  for (const other of header.parentNode.cells) other.removeAttribute("aria-sort");
  header.setAttribute("aria-sort", up ? "ascending" : "descending");
  const text = (row) => (row.cells[column] ? row.cells[column].textContent : "");
  const order = (a, b) => {
    const [x, y] = [number(text(a)), number(text(b))];
    if (isNaN(x) !== isNaN(y)) return isNaN(x) ? 1 : -1; // what is no number stands last, both ways
    const found = isNaN(x) ? text(a).localeCompare(text(b), undefined, { numeric: true }) : x - y;
    return up ? found : -found;
  };
  rowsOf(table).sort(order).forEach((row) => table.tBodies[0].append(row));
}

function quoted(cell) {
  let text = cell.textContent.trim().replace(/\s+/g, " ");
  if (/^'*[=+@\-\t\r\n＝＋－＠]/.test(text) && isNaN(number(text))) text = "'" + text; // no formula for a spreadsheet
  return '"' + text.replace(/"/g, '""') + '"';
}

function save(table, name) {
  const lines = [...table.rows].map((row) => [...row.cells].map(quoted).join(","));
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([lines.join("\r\n") + "\r\n"], { type: "text/csv" }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

function tools(table, place) {
  const bar = document.createElement("p");
  bar.className = "tools";
  if (rowsOf(table).length > 5) {
    const field = document.createElement("input");
    field.type = "search";
    field.placeholder = "filter rows";
    field.setAttribute("aria-label", "filter the rows of this table");
    field.addEventListener("input", () => {
      const words = field.value.toLowerCase().split(/\s+/);
      for (const row of rowsOf(table)) {
        const text = row.textContent.toLowerCase();
        row.hidden = !words.every((word) => text.includes(word));
      }
    });
    bar.append(field);
  }
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = "CSV as shown";
  button.addEventListener("click", () => save(table, `table_${place + 1}.csv`));
  bar.append(button);
  (table.closest(".scroll, .output_subarea") || table).before(bar);
}

function workable(table, place) {
  if (!table.tHead || rowsOf(table).length < 2) return;
  const headers = [...table.tHead.rows[table.tHead.rows.length - 1].cells];
  headers.forEach((header, column) => {
    header.tabIndex = 0;
    header.classList.add("sorts");
    header.title = "sort";
    header.addEventListener("click", () => sortBy(table, column, header));
    header.addEventListener("keydown", (event) => {
      if (event.key === "Enter" || event.key === " ") event.preventDefault(), sortBy(table, column, header);
    });
  });
  tools(table, place);
}

function lightbox() {
  const box = document.createElement("dialog");
  box.className = "lightbox";
  const image = document.createElement("img"), close = document.createElement("button");
  close.textContent = "close";
  close.addEventListener("click", () => box.close());
  box.append(close, image);
  document.body.append(box);
  document.addEventListener("click", (event) => {
    if (event.target === box) box.close();
    const link = event.target.closest("figure a, .picture a");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
    const small = link.querySelector("img");
    if (!small) return;
    event.preventDefault();
    image.src = link.href;
    image.alt = small.alt;
    box.showModal();
  });
}

function search(field) {
  const list = document.getElementById("found"), count = document.getElementById("count");
  const entries = [...list.children].map((entry) => [entry, entry.textContent.toLowerCase()]);
  const show = () => {
    const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
    let matches = 0;
    for (const [entry, text] of entries) {
      entry.hidden = !words.length || !words.every((word) => text.includes(word));
      matches += !entry.hidden;
    }
    count.textContent = words.length ? `${matches} found` : "";
    list.hidden = !words.length;
  };
  field.addEventListener("input", show);
  show();
}

document.querySelectorAll("main table").forEach(workable);
document.querySelectorAll("input[data-search]").forEach(search);
lightbox();
