// @grpc/grpc-js with @grpc/proto-loader. Usage: grpc.cjs HTTP GRPC FOLDER, in the root of the repository
const fs = require("node:fs");
const path = require("node:path");
const grpc = require("@grpc/grpc-js");
const loader = require("@grpc/proto-loader");

const [, address, folder] = process.argv.slice(2);
const definition = loader.loadSync("src/lading/protocol/proto/inference.proto", { keepCase: true });
const Service = grpc.loadPackageDefinition(definition).inference.GRPCInferenceService;
const client = new Service(address, grpc.credentials.createInsecure());
const photo = fs.readFileSync(path.join(folder, "photo.jpg"));

const call = (method, message) =>
  new Promise((resolve, reject) => {
    const deadline = new Date(Date.now() + 20_000);
    client[method](message, { deadline }, (error, answer) => (error ? reject(error) : resolve(answer)));
  });

function expect(name, holds, shown) {
  if (!holds) throw new Error(`${name}: ${JSON.stringify(shown)}`);
  console.log(`call ${name}`);
}

function streamed(messages) {
  return new Promise((resolve, reject) => {
    const answers = [];
    const stream = client.ModelStreamInfer();
    stream.on("data", (answer) => answers.push(answer));
    stream.on("error", reject);
    stream.on("end", () => resolve(answers));
    for (const message of messages) stream.write(message);
    stream.end();
  });
}

async function main() {
  console.log(`version ${require("@grpc/grpc-js/package.json").version}`);
  expect("ready", (await call("ServerReady", {})).ready, "not ready");
  const encoded = { name: "image", datatype: "BYTES", shape: [1], contents: { bytes_contents: [photo] } };
  const request = (id) => ({ model_name: "small-colour", id, inputs: [encoded] });
  const answer = await call("ModelInfer", request("7"));
  expect("ModelInfer", answer.id === "7" && answer.outputs[0].name === "colour", answer);
  const pixels = { name: "image", datatype: "UINT8", shape: [1, 16, 16, 3] };
  const raw = { model_name: "small-colour", inputs: [pixels], raw_input_contents: [Buffer.alloc(16 * 16 * 3, 20)] };
  const rawAnswer = await call("ModelInfer", raw);
  expect("ModelInfer (raw)", rawAnswer.raw_output_contents[0].length === 12, rawAnswer);
  const ids = Array.from({ length: 10 }, (_, number) => String(number));
  const answers = await streamed(ids.map(request));
  const found = answers.map((one) => one.infer_response.id);
  expect("ModelStreamInfer", String(found) === String(ids), answers);
  const error = await call("ModelInfer", { ...request("7"), model_name: "none" }).catch((refused) => refused);
  expect("mistake", error.code === grpc.status.NOT_FOUND && error.details.includes("no model 'none'"), error);
  client.close();
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
