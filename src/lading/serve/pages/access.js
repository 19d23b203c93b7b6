"use strict";
const find = (id) => document.getElementById(id);
let key = ""; // in memory only: no storage, no address and no log has it
let keyed = false;

function element(tag, className, text) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

function showError(sentence, requestId) {
  const box = find("error");
  box.replaceChildren(element("span", "", sentence));
  if (requestId) box.append(element("small", "", "request " + requestId));
  box.hidden = false;
}

// Every request of the page: with the key, if there is one. An answer that asks for a key shows the field.
async function ask(path, init = {}) {
  const response = await fetch(path, { ...init, headers: { ...init.headers, ...(key && { authorization: "Bearer " + key }) } });
  if (response.status === 401) showKeyField();
  return response;
}

async function problem(response) {
  try {
    const content = await response.json();
    return [content.error, content.request_id];
  } catch {
    return ["The server answered " + response.status + "."];
  }
}

function showKeyField() {
  keyed = true;
  find("key-card").hidden = false;
  find("key-used").hidden = true;
}

find("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const typed = find("key").value.trim().replace(/^bearer\s+/i, "");
  find("key").value = "";
  if (!/^[\x21-\x7e]+$/.test(typed)) {
    showError("A key has no spaces and only ASCII characters. Type it again.");
    return;
  }
  key = typed;
  find("key-card").hidden = true;
  find("key-used").hidden = false;
  find("error").hidden = true;
  keyEntered();
});
find("key-change").addEventListener("click", () => {
  key = "";
  showKeyField();
  find("key").focus();
});

// A link cannot carry a key. So with one, the page asks, and opens the answer.
async function openWithKey(event) {
  if (!keyed) return;
  event.preventDefault();
  const { href } = event.currentTarget;
  find("error").hidden = true;
  try {
    const response = await ask(href);
    if (!response.ok) {
      showError(...await problem(response));
      return;
    }
    const opened = URL.createObjectURL(await response.blob());
    if (!window.open(opened)) location.href = opened;
  } catch {
    showError("The server did not answer. Is it running?");
  }
}
for (const link of document.querySelectorAll("a[data-keyed]")) link.addEventListener("click", openWithKey);
