// A form with a field for each column of a table. What is typed becomes one record for /predict.
let fields = [];

function field(column, place) {
  const id = "column-" + place;
  const row = element("div", "column");
  const label = element("label", "", column.name + (column.unit ? " (" + column.unit + ")" : ""));
  label.htmlFor = id;
  if (column.description) label.append(" ", element("small", "", column.description));
  const input = column.kind === "category" && !column.others ? choice(column) : entry(column, id);
  input.id = id;
  input.name = column.name;
  if (column.kind === "flag") input.checked = Boolean(column.example);
  else input.value = column.example ?? "";
  row.append(label, input);
  if (input.hasAttribute("list")) row.append(known(column, input.getAttribute("list")));
  fields.push([column, input]);
  return row;
}

function choice(column) {
  const select = element("select");
  for (const name of column.categories) select.append(new Option(name));
  return select;
}

function entry(column, id) {
  const input = element("input");
  input.autocomplete = "off";
  input.type = { number: "number", integer: "number", flag: "checkbox" }[column.kind] || "text";
  if (input.type === "number") {
    input.step = column.kind === "integer" ? "1" : "any";
    if (column.minimum !== null) input.min = column.minimum;
    if (column.maximum !== null) input.max = column.maximum;
    input.required = !column.missing;
  }
  if (column.missing) input.placeholder = "missing";
  if (column.categories) input.setAttribute("list", id + "-known");
  return input;
}

function known(column, id) {
  const list = element("datalist");
  list.id = id;
  for (const name of column.categories) list.append(new Option(name));
  return list;
}

function typed(column, input) {
  if (column.kind === "flag") return input.checked;
  if (column.kind === "text") return input.value;
  if (input.value === "") return column.missing ? null : "";
  return column.kind === "category" ? input.value : Number(input.value);
}

function showTable() {
  fields = [];
  find("table-form").hidden = !model.table;
  if (model.table) find("table-fields").replaceChildren(...model.table.map(field));
}

find("table-form").addEventListener("submit", (event) => {
  event.preventDefault();
  find("body").value = JSON.stringify([Object.fromEntries(fields.map(([column, input]) => [column.name, typed(column, input)]))]);
  send("predict", find("body").value, "application/json", showOutputs);
});
