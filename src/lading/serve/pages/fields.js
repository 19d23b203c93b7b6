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
