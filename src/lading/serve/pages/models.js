// Which model the address names, and the list of all of them.
const NAMING = ["model", "version", "variant"];
const DESCRIBED = 30; // models of a longer list are only named

function naming() {
  const given = new URLSearchParams(location.search);
  const named = new URLSearchParams(NAMING.filter((name) => given.get(name)).map((name) => [name, given.get(name)]));
  return String(named) ? "?" + named : "";
}

function showModels(entries) {
  const versions = (name) => entries.filter((entry) => entry.name === name).length;
  const rows = entries.map((entry) => {
    const row = element("li");
    const ready = entry.state === "READY";
    if (ready) {
      const link = element("a", "", entry.name);
      const named = new URLSearchParams({ model: entry.name });
      if (versions(entry.name) > 1) named.set("version", entry.version);
      link.href = "?" + named;
      link.addEventListener("click", stay);
      row.append(link);
    } else {
      row.append(element("span", "name", entry.name));
    }
    if (entry.version) row.append(element("span", "version", "version " + entry.version));
    row.append(element("span", ready ? "state" : "state ill", ready ? "ready" : entry.reason));
    return row;
  });
  find("model-list").replaceChildren(...rows);
  find("models").hidden = false;
  entries.forEach((entry, index) => { if (entry.state === "READY" && index < DESCRIBED) describe(rows[index]); });
}

async function describe(row) {
  const query = row.querySelector("a").search;
  const response = await ask("model" + query).catch(() => null);
  if (!response || !response.ok) return;
  const { description, report } = await response.json();
  if (report) {
    const link = element("a", "", "Drift report");
    link.href = "report" + query;
    link.addEventListener("click", openWithKey);
    row.append(link);
  }
  if (description) row.append(element("p", "", description));
}

function clear() {
  model = null;
  latest++;
  document.title = find("title").textContent = "Lading";
  for (const id of [
    "description", "facts", "models", "columns", "error", "preview", "table-form", "text-form", "fields", "graph", "result", "example", "report",
  ]) {
    find(id).hidden = true;
  }
  find("empty").hidden = false;
  find("answer").setAttribute("aria-busy", "false");
  find("send").disabled = false;
}

async function read(path) {
  const known = Boolean(key);
  const response = await ask(path);
  if (response.ok) return response.json();
  if (response.status !== 401 || known) showError(...await problem(response)); // else the field for the key says it
  return null;
}

// Without a name in the address: the list, or the page of the only model.
async function load() {
  clear();
  const turn = latest;
  const query = naming();
  find("back").hidden = !query;
  for (const id of ["api", "explorer", "report-link"]) {
    const link = find(id);
    link.href = link.getAttribute("href").split("?")[0] + query;
  }
  try {
    const entries = query ? [] : await read("v2/repository/index");
    if (turn !== latest || !entries) return;
    if (entries.length > 1) {
      showModels(entries);
      return;
    }
    const content = await read("model" + query);
    if (turn !== latest || !content) return;
    model = content;
    showModel(query);
  } catch {
    if (turn === latest) showError("The server did not say which models it serves. Reload the page to ask again.");
  }
}

function start() {
  loading = load();
}

function keyEntered() {
  if (!model) start();
}

// Follow a link within the page: a new page would forget the key.
function stay(event) {
  if (event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  history.pushState(null, "", event.currentTarget.href);
  start();
}

find("back-link").addEventListener("click", stay);
window.addEventListener("popstate", start);
start();
