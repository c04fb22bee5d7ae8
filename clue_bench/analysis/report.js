"use strict";
// Tables in an element of class "sortable": a press on a heading sorts by it, a second one the other way round. The
// first column keeps the order of the file, or its reverse; the others hold numbers.
for (const table of document.querySelectorAll(".sortable table")) {
  const headings = [...table.tHead.rows[0].cells];
  const rows = [...table.tBodies[0].rows];
  const value = (row, column) => (column ? Number(row.cells[column].textContent.replaceAll(",", "")) : rows.indexOf(row));
  headings.forEach((heading, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...heading.childNodes);
    const arrow = heading.appendChild(button).appendChild(document.createElement("span"));
    arrow.className = "arrow";
    arrow.ariaHidden = "true";
    button.addEventListener("click", () => {
      const now = heading.getAttribute("aria-sort");
      const order = now === null ? (column ? "descending" : "ascending") : now === "ascending" ? "descending" : "ascending";
      const sign = order === "ascending" ? 1 : -1;
      table.tBodies[0].append(...[...rows].sort((a, b) => sign * (value(a, column) - value(b, column))));
      headings.forEach((each) => each.removeAttribute("aria-sort"));
      heading.setAttribute("aria-sort", order);
    });
  });
}
