// Tables of class "sortable": a click on a heading sorts by it, a second one the other way round.
for (const table of document.querySelectorAll("table.sortable")) {
  const headings = [...table.tHead.rows[0].cells];
  headings.forEach((heading, column) => {
    heading.querySelector("button").addEventListener("click", () => {
      const largestFirst = heading.classList.contains("figure");
      const now = heading.getAttribute("aria-sort");
      const order = now === null ? (largestFirst ? "descending" : "ascending") : now === "ascending" ? "descending" : "ascending";
      const sign = order === "ascending" ? 1 : -1;
      const value = (row) => Number(row.cells[column].dataset.value);
      const rows = [...table.tBodies[0].rows].sort((a, b) => sign * (value(a) - value(b)));
      table.tBodies[0].append(...rows);
      headings.forEach((each) => each.removeAttribute("aria-sort"));
      heading.setAttribute("aria-sort", order);
    });
  });
}
