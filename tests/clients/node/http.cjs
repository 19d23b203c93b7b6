// Node's fetch, its http module, undici's Pool and axios. Usage: http.cjs NAME HTTP GRPC FOLDER
const fs = require("node:fs");
const path = require("node:path");

const [name, url, , folder] = process.argv.slice(2);
const read = (file) => fs.readFileSync(path.join(folder, file));
const JSON_TYPE = { "content-type": "application/json" };

function expect(call, [status, text], wantedStatus, wanted) {
  if (status !== wantedStatus || !text.includes(wanted)) throw new Error(`${call}: ${status} ${text}`);
  console.log(`call ${call}`);
}

const senders = {
  fetch: () => {
    console.log(`version ${process.versions.node}`);
    return async (address, body, headers) => {
      const answer = await fetch(url + address, body === undefined ? {} : { method: "POST", body, headers });
      return [answer.status, await answer.text()];
    };
  },
  http: () => {
    console.log(`version ${process.versions.node}`);
    const http = require("node:http");
    const agent = new http.Agent({ keepAlive: true });
    return (address, body, headers) =>
      new Promise((resolve, reject) => {
        const method = body === undefined ? "GET" : "POST";
        const request = http.request(url + address, { method, headers, agent }, (answer) => {
          const pieces = [];
          answer.on("data", (piece) => pieces.push(piece));
          answer.on("end", () => resolve([answer.statusCode, Buffer.concat(pieces).toString()]));
          answer.on("error", reject);
        });
        request.on("error", reject);
        request.end(body);
      });
  },
  undici: () => {
    console.log(`version ${require("undici/package.json").version}`);
    const pool = new (require("undici").Pool)(url, { connections: 2, pipelining: 4 });
    return async (address, body, headers) => {
      const answer = await pool.request({ path: address, method: body === undefined ? "GET" : "POST", body, headers });
      return [answer.statusCode, await answer.body.text()];
    };
  },
  axios: () => {
    const axios = require("axios");
    console.log(`version ${axios.VERSION}`);
    return async (address, data, headers) => {
      const options = { url: url + address, method: data === undefined ? "GET" : "POST", data, headers };
      const answer = await axios({ ...options, responseType: "text", validateStatus: null });
      return [answer.status, answer.data];
    };
  },
};

async function main() {
  const send = senders[name]();
  const photo = read("photo.jpg");
  const infer = read("infer.json");
  expect("ready", await send("/v2/health/ready"), 200, "");
  expect("picture", await send("/classify", photo, { "content-type": "image/jpeg" }), 200, '"red"');
  if (name === "fetch" || name === "axios") {
    const form = new FormData();
    form.append("note", "a text field");
    form.append("image", new Blob([photo], { type: "image/jpeg" }), "photo.jpg");
    expect("form", await send("/classify", form), 200, '"red"');
  }
  expect("JSON", await send("/predict", read("predict.json"), JSON_TYPE), 200, '"small-colour"');
  if (name === "fetch") {
    const body = new Blob([infer]).stream();
    const answer = await fetch(`${url}/v2/models/small-colour/infer`, { method: "POST", body, headers: JSON_TYPE, duplex: "half" });
    expect("v2 (ReadableStream)", [answer.status, await answer.text()], 200, '"id":"7"');
  }
  const pixels = Object.values(Object.assign(new Float32Array(2 * 16 * 16 * 3).fill(20)));
  const tensor = { name: "image", shape: [2, 16, 16, 3], datatype: "UINT8", data: pixels };
  const built = JSON.stringify({ id: "7", inputs: [tensor] });
  expect("v2", await send("/v2/models/small-colour/infer", built, JSON_TYPE), 200, '"id":"7"');
  const typed = JSON.stringify({ inputs: [{ ...tensor, data: Uint8Array.from(pixels) }] });
  expect("mistake (a typed array)", await send("/v2/models/small-colour/infer", typed, JSON_TYPE), 400, "Array.from");
  const many = Array.from({ length: 20 }, () => send("/v2/models/small-colour/infer", infer, JSON_TYPE));
  for (const answer of await Promise.all(many)) {
    if (answer[0] !== 200) throw new Error(`20 at once: ${answer}`);
  }
  console.log("call 20 at once");
  expect("404", await send("/v2/models/none/infer", infer, JSON_TYPE), 404, "no model 'none'");
  expect("413", await send("/classify", read("large"), { "content-type": "image/jpeg" }), 413, "bytes");
  process.exit(0); // open pools
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
