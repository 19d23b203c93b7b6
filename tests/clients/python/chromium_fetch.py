"""``fetch`` in a page of the server, in Chromium; run with a server's addresses and the folder of bodies."""

from __future__ import annotations

import base64
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

from tests.given.browser import CHROMIUM, FLAGS

CALLS = """
async ([photo, infer]) => {
  const done = [];
  const bytes = Uint8Array.from(atob(photo), (letter) => letter.charCodeAt(0));
  const expect = async (call, promise, status, text) => {
    const answer = await promise;
    const said = await answer.text();
    if (answer.status !== status || !said.includes(text)) throw new Error(`${call}: ${answer.status} ${said}`);
    done.push(call);
  };
  const post = (body, headers) => ({ method: "POST", body, ...(headers ? { headers } : {}) });
  const json = { "content-type": "application/json" };
  const file = new File([bytes], "photo.jpg", { type: "image/jpeg" });
  const form = new FormData();
  form.append("note", "a text field");
  form.append("image", file);
  await expect("ready", fetch("/v2/health/ready"), 200, "");
  await expect("picture (File)", fetch("/classify", post(file)), 200, '"red"');
  await expect("picture (Uint8Array)", fetch("/classify", post(bytes)), 200, '"red"');
  await expect("form (FormData)", fetch("/classify", post(form)), 200, '"red"');
  await expect("v2", fetch("/v2/models/small-colour/infer", post(infer, json)), 200, '"id":"7"');
  await expect("v2 as text/plain", fetch("/v2/models/small-colour/infer", post(infer)), 200, '"id":"7"');
  await expect("404", fetch("/v2/models/none/infer", post(infer, json)), 404, "no model 'none'");
  await expect("413", fetch("/classify", post(new Uint8Array(3000000))), 413, "bytes");
  return done;
}
"""


def main(url: str, folder: Path) -> None:
    """Fails with the browser's error where the server does not do what the page expects."""
    with sync_playwright() as started:
        chromium = started.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        print("version", chromium.version)
        page = chromium.new_page()
        page.goto(url)
        photo = base64.b64encode((folder / "photo.jpg").read_bytes()).decode()
        for call in page.evaluate(CALLS, [photo, (folder / "infer.json").read_text()]):
            print("call", call)
        chromium.close()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[3]))
