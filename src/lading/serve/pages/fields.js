// A form with a box for each input, for a model that takes files which /classify does not read.
function fieldBox({ name, file, example }) {
  const box = element("input");
  box.type = file ? "file" : "text";
  box.name = name;
  box.id = "field-" + name;
  box.required = true;
  if (file) {
    box.accept = [...file.media_types, ...file.suffixes].join(",");
    box.addEventListener("change", () => preview(box));
  } else {
    box.value = example === undefined ? "" : JSON.stringify(example);
    box.spellcheck = false;
  }
  const label = element("label", "field", name + (file ? " (" + file.formats + ")" : " (JSON)"));
  label.htmlFor = box.id;
  const row = element("p", "row");
  row.append(label, box);
  return row;
}

function preview(box) {
  const old = box.parentNode.querySelector(".frame");
  if (old) {
    URL.revokeObjectURL(old.firstChild.src);
    old.remove();
  }
  const [file] = box.files;
  if (!file || !file.type.startsWith("image/")) return;
  const frame = element("span", "frame");
  const picture = element("img");
  picture.alt = "The " + box.name + " that was chosen";
  picture.addEventListener("error", () => frame.remove());
  picture.src = URL.createObjectURL(file);
  frame.append(picture);
  box.parentNode.append(frame);
}

// The same colours as those of a mask's PNG: the golden ratio spreads the hues.
function colour(place) {
  return place === 0 ? [0, 0, 0, 0] : [...hue((place * 0.618034) % 1), 150];
}

function hue(turn) {
  const part = (shift) => {
    const k = (shift + turn * 6) % 6;
    return Math.round(255 * (0.95 - 0.95 * 0.75 * Math.max(0, Math.min(k, 4 - k, 1))));
  };
  return [part(5), part(3), part(1)];
}

// Boxes and masks of the first example, over the first picture.
function drawFound(content) {
  const frame = document.querySelector("#fields .frame");
  if (!frame) return;
  frame.querySelectorAll(".box, canvas").forEach((old) => old.remove());
  for (const spec of model.outputs) {
    if (spec.content === "mask") frame.append(drawMask(content.outputs[spec.name][0]));
    if (spec.content === "boxes") for (const found of content.found[spec.name][0]) frame.append(drawBox(spec, found));
  }
}

function drawMask(rows) {
  const canvas = element("canvas");
  [canvas.width, canvas.height] = [rows[0].length, rows.length];
  const pixels = new ImageData(canvas.width, canvas.height);
  rows.forEach((row, y) => row.forEach((place, x) => pixels.data.set(colour(place), 4 * (y * row.length + x))));
  canvas.getContext("2d").putImageData(pixels, 0, 0);
  return canvas;
}

function drawBox(spec, found) {
  const box = element("span", "box", found.class + " " + (100 * found.score).toFixed(0) + " %");
  const [left, top, right, bottom] = found.box.map((share) => 100 * Math.max(0, Math.min(1, share)) + "%");
  Object.assign(box.style, { left, top, width: "calc(" + right + " - " + left + ")", height: "calc(" + bottom + " - " + top + ")" });
  box.style.borderColor = "rgb(" + hue(((1 + spec.classes.indexOf(found.class)) * 0.618034) % 1) + ")";
  return box;
}

// In words: the boxes with their scores, and the share of each class of a mask.
function foundIn(content, kinds) {
  const children = [];
  const rest = {};
  for (const spec of model.outputs) {
    if (kinds[spec.name] === "boxes") {
      const rows = content.found[spec.name][0].map((found) => [found.class, found.score, false]);
      children.push(element("h2", "", spec.name), rows.length ? bars(rows, 1) : element("p", "", "nothing was found"));
    } else if (kinds[spec.name] === "mask") {
      const pixels = content.outputs[spec.name][0].flat();
      const shares = spec.classes.map((name, place) => [name, pixels.filter((pixel) => pixel === place).length / pixels.length, false]);
      children.push(element("h2", "", spec.name), bars(shares.filter(([, share]) => share > 0), 1));
    } else {
      rest[spec.name] = content.outputs[spec.name];
    }
  }
  if (Object.keys(rest).length) children.push(numbers(rest, content.units));
  return children;
}

function showFields(query) {
  find("fields").hidden = !model.fields.length;
  if (!model.fields.length) return;
  const button = element("button", "button", "Predict");
  button.type = "submit";
  find("fields").replaceChildren(...model.fields.map(fieldBox), button);
  const sent = model.fields.map(({ name, file, example }) =>
    file ? "-F " + name + "=@" + file.sample : "-F '" + name + "=" + JSON.stringify(example === undefined ? [] : example) + "'");
  showCurl(sent.join(" "), "predict" + query);
}

find("fields").addEventListener("submit", (event) => {
  event.preventDefault();
  send("predict", new FormData(find("fields")), null, showOutputs);
});
