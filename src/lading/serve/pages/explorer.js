// The page may have a slash at its end, and a proxy may put a path in front of it.
const root = new URL(location.pathname.endsWith("/") ? ".." : ".", location.href);
let explorer = null;
const dark = matchMedia("(prefers-color-scheme: dark)");

function loaded(tag, properties) {
  return new Promise((resolve, reject) => {
    const made = Object.assign(document.createElement(tag), properties, { onload: resolve, onerror: reject });
    document.head.append(made);
  });
}

function follow() {
  document.documentElement.classList.toggle("dark-mode", dark.matches);
}

async function start() {
  find("error").hidden = true;
  const known = Boolean(key);
  try {
    const response = await ask(new URL("docs.json" + location.search, root));
    if (!response.ok) {
      if (response.status !== 401 || known) showError(...await problem(response));
      return;
    }
    const spec = await response.json();
    await files;
    spec.servers = [{ url: root.href.replace(/\/$/, "") }];
    explorer = SwaggerUIBundle({
      spec,
      dom_id: "#swagger-ui",
      validatorUrl: null, // it would send the document to another host
      tryItOutEnabled: true,
      displayRequestDuration: true,
      syntaxHighlight: { activated: false }, // its colours have too little contrast
      onComplete: () => { if (key) explorer.preauthorizeApiKey("key", key); },
    });
  } catch {
    showError("The server did not answer. Is it running?");
  }
}

// Swagger UI gives the field of a body no name.
function nameFields() {
  for (const field of document.querySelectorAll("textarea:not([aria-label])")) field.setAttribute("aria-label", "Request body");
}

const keyEntered = start;
find("key-change").addEventListener("click", () => explorer?.authActions.logout(["key"]));
new MutationObserver(nameFields).observe(find("swagger-ui"), { childList: true, subtree: true });
const files = Promise.all([
  loaded("link", { rel: "stylesheet", href: new URL("docs/swagger-ui.css", root) }),
  loaded("script", { src: new URL("docs/swagger-ui-bundle.js", root) }),
]);
find("page-link").href = root.href + location.search;
dark.addEventListener("change", follow);
follow();
start();
