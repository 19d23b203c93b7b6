const SHOWN = 5;
let model = null;
let latest = 0;
let address = "";
let loading = null;

async function send(path, body, contentType, show) {
  const turn = ++latest;
  find("error").hidden = true;
  find("answer").setAttribute("aria-busy", "true");
  find("send").disabled = true;
  const begin = performance.now();
  try {
    const response = await ask(path + naming(), { method: "POST", body, headers: contentType ? { "content-type": contentType } : {} });
    const answer = response.ok ? await response.json() : await problem(response);
    const milliseconds = performance.now() - begin;
    if (turn !== latest) return;
    if (response.ok) show(answer, milliseconds);
    else fail(...answer);
  } catch {
    if (turn === latest) fail("The server did not answer. Is it running?");
  } finally {
    if (turn === latest) {
      find("answer").setAttribute("aria-busy", "false");
      find("send").disabled = false;
    }
  }
}

function fail(sentence, requestId) {
  showError(sentence, requestId);
  find("result").hidden = true;
  find("empty").hidden = false;
}

function reveal(...children) {
  find("empty").hidden = true;
  find("result").replaceChildren(...children);
  find("result").hidden = false;
}

function bars(rows, largest) {
  const list = element("ul", "bars");
  for (const [name, value, top] of rows) {
    const item = element("li", top ? "top" : "");
    const track = element("div", "track");
    const fill = element("div", "fill");
    track.setAttribute("aria-hidden", "true");
    fill.style.width = Math.max(0, 100 * value / largest) + "%";
    track.append(fill);
    item.append(element("span", "name", name), track, element("span", "value", shown(value)));
    list.append(item);
  }
  return list;
}

function shown(value) {
  return model.probabilistic ? (100 * value).toFixed(1) + " %" : value.toPrecision(3);
}

function answeredIn(milliseconds) {
  return "answered in " + milliseconds.toFixed(0) + " ms";
}

function showLabels(content, milliseconds) {
  const values = content.probabilities || content.scores;
  const labels = Object.keys(values).map((output) => content[output]);
  let timing = answeredIn(milliseconds);
  if (content.confidence !== undefined) timing = shown(content.confidence) + " sure · " + timing;
  reveal(element("p", "answer", labels.join(" · ")), element("p", "timing", timing), ...charts(values, (output) => content[output]));
}

// A heading and bars for each output, the largest values open.
function charts(values, answer) {
  const children = [];
  for (const [output, byLabel] of Object.entries(values)) {
    const sorted = Object.entries(byLabel).sort((a, b) => b[1] - a[1]);
    const rows = sorted.map(([name, value]) => [name, value, name === answer(output)]);
    const largest = model.probabilistic ? 1 : Math.max(1e-9, rows[0][1]);
    children.push(element("h2", "", output), bars(rows.slice(0, SHOWN), largest));
    if (rows.length > SHOWN) {
      const more = element("details");
      more.append(element("summary", "", (rows.length - SHOWN) + " more"), bars(rows.slice(SHOWN), largest));
      children.push(more);
    }
  }
  return children;
}

function isGraph(inputs) {
  return Boolean(graphTensors(model.inputs)) && inputs && typeof inputs === "object";
}

function showGraph(inputs) {
  const drawn = isGraph(inputs) ? drawGraph(model.inputs, inputs) : null;
  find("graph").replaceChildren(...(drawn ? [drawn] : []));
  find("graph").hidden = !drawn;
}

// One number an output, of one example: a list of names, values and units.
function listed(outputs, units) {
  const rows = Object.entries(outputs).map(([name, value]) => [name, [value].flat(Infinity)]);
  if (rows.some(([, numbers]) => numbers.length !== 1)) return null;
  const list = element("dl", "values");
  for (const [name, [number]] of rows) {
    const value = element("dd", "", typeof number === "number" ? String(Number(number.toPrecision(4))) : String(number));
    const unit = units && units[name];
    if (unit) value.append(" ", element("small", "", unit));
    list.append(element("dt", "", name), value);
  }
  return list;
}

// The scores of one example by label, for each output whose best label the answer names.
function scoresByLabel(content) {
  const named = model.outputs.filter((spec) => spec.name in content.labels);
  const scores = ({ name, labels }) => labels.map((label, place) => [label, content.outputs[name][0][place]]);
  return Object.fromEntries(named.map((spec) => [spec.name, Object.fromEntries(scores(spec))]));
}

function numbers(outputs, units) {
  const rows = (text) => text.replace(/\[[^[\]{}]*\]/g, (row) => row.replace(/\s+/g, " ").replace("[ ", "[").replace(" ]", "]"));
  const pre = element("pre", "", rows(JSON.stringify(outputs, null, 2)));
  pre.tabIndex = 0;
  return listed(outputs, units) || pre;
}

function showOutputs(content, milliseconds) {
  drawFound(content);
  const timing = element("p", "timing", answeredIn(milliseconds));
  const labels = Object.entries(content.labels || {});
  const kinds = Object.fromEntries(model.outputs.map((spec) => [spec.name, spec.content]));
  if (Object.values(kinds).some((kind) => kind === "boxes" || kind === "mask")) return reveal(...foundIn(content, kinds), timing);
  if (!labels.length) return reveal(numbers(content.outputs, content.units), timing);
  const best = labels.map(([, rows]) => rows.slice(0, SHOWN).join(", ") + (rows.length > SHOWN ? ", …" : "")).join(" · ");
  const children = [element("p", "answer", best), timing];
  if (labels.some(([, rows]) => rows.length !== 1)) {
    children.push(numbers(content.outputs, content.units));
  } else {
    children.push(...charts(scoresByLabel(content), (output) => content.labels[output][0]));
    const rest = Object.entries(content.outputs).filter(([name]) => !(name in content.labels));
    if (rest.length) children.push(numbers(Object.fromEntries(rest), content.units));
  }
  reveal(...children);
}

function showRead(content, milliseconds) {
  find("body").value = JSON.stringify(content.inputs);
  showGraph(content.inputs);
  showOutputs(content, milliseconds);
}

async function sendFile(file) {
  await loading; // a file may be chosen before the description of the model is here
  if (!file || !model || !model.classify) return;
  if (address) URL.revokeObjectURL(address);
  address = "";
  find("preview").hidden = !file.type.startsWith("image/");
  if (!find("preview").hidden) {
    address = URL.createObjectURL(file);
    find("preview").src = address;
  }
  send("classify", file, file.type || "application/octet-stream", showLabels);
}

function fact(name, value) {
  const row = element("div");
  row.append(element("dt", "", name), element("dd", "", value));
  return row;
}

function showModel(query) {
  document.title = model.name;
  find("title").textContent = model.name;
  find("description").textContent = model.description;
  find("description").hidden = !model.description;
  find("facts").replaceChildren(
    fact("version", model.version), fact("variant", model.variant), fact("precision", model.precision),
    fact("digest", model.digest.slice(0, 19)));
  find("facts").title = model.digest;
  find("report").hidden = !model.report;
  for (const id of ["facts", "columns", "example"]) find(id).hidden = false;
  const files = model.classify && !model.file.textual;
  find("drop").hidden = !files;
  find("inputs").hidden = files;
  if (files) {
    showFileKind(model.file);
    showCurl("--data-binary @" + model.file.sample, "classify" + query);
  } else {
    const example = JSON.stringify(model.example || Object.fromEntries(model.inputs.map((input) => [input.name, []])));
    find("body").value = example;
    showGraph(model.example);
    showTable();
    showCurl("-H 'content-type: application/json' -d '" + example + "'", "predict" + query);
    showTextForm(query);
    showFields(query);
    find("form").hidden = model.fields.length > 0;
  }
}

function showCurl(sent, path) {
  const url = new URL(path, location.href).href;
  const quoted = /[?&]/.test(url) ? "'" + url + "'" : url;
  find("curl").textContent = ["curl", ...(keyed ? ['-H "authorization: Bearer $KEY"'] : []), sent, quoted].join(" ");
}

function showFileKind(file) {
  const one = (/^[aeiou]/.test(file.noun) ? "an " : "a ") + file.noun;
  find("formats").replaceChildren("Drop " + one + " here, or paste one.", element("br"), file.formats + ".");
  find("choose").textContent = "Choose " + one;
  find("file").accept = [...file.media_types, ...file.suffixes].join(",");
  find("camera-button").hidden = !file.media_types.some((type) => type.startsWith("image/"));
  find("preview").alt = "The " + file.noun + " that was sent";
  find("drop").setAttribute("aria-label", file.noun);
}

// What the text field is for: a text to classify, or a form of text that an operator's function reads.
function textForm() {
  if (model.classify) {
    const [[example]] = Object.values(model.example);
    return { label: "Text", example, path: "classify", show: showLabels };
  }
  const [text] = model.texts;
  return text && { label: text.label, example: text.example, path: "predict/" + text.name, show: showRead };
}

function showTextForm(query) {
  const form = textForm();
  if (!form) return;
  find("text-form").hidden = false;
  find("text-label").textContent = form.label;
  find("text").value = form.example;
  showCurl("-d '" + form.example.replaceAll("'", "'\\''") + "'", form.path + query);
}

find("preview").addEventListener("error", () => { find("preview").hidden = true; });
for (const id of ["file", "camera"]) {
  find(id).addEventListener("change", (event) => {
    sendFile(event.target.files[0]);
    event.target.value = "";
  });
}
for (const kind of ["dragenter", "dragover"]) {
  document.addEventListener(kind, (event) => { event.preventDefault(); find("drop").classList.add("over"); });
}
document.addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) find("drop").classList.remove("over");
});
document.addEventListener("drop", (event) => {
  event.preventDefault();
  find("drop").classList.remove("over");
  sendFile(event.dataTransfer.files[0]);
});
document.addEventListener("paste", (event) => {
  const files = event.clipboardData ? event.clipboardData.files : [];
  if (files.length) sendFile(files[0]);
});
find("text-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const form = textForm();
  send(form.path, find("text").value, "text/plain", form.show);
});
find("form").addEventListener("submit", (event) => {
  event.preventDefault();
  try { showGraph(JSON.parse(find("body").value)); } catch { showGraph(null); }
  send("predict", find("body").value, "application/json", showOutputs);
});
