// Any model with a tensor of pairs that point into another's rows is a graph, and what was sent of it can be drawn.
const DRAWN = 150; // nodes; more are a ball of wool
const COLOURS = ["#7d8790", "#3b4a54", "#2f5fd0", "#c2352b", "#1c8a4c", "#8a4fb0", "#b3661a", "#0b7d86"];
const SVG = find("namespace").namespaceURI;

function graphTensors(inputs) {
  const edges = inputs.find((input) => input.indexes && input.shape[0] === 2 && input.shape.length === 2);
  const nodes = edges && inputs.find((input) => !input.indexes && !input.owner_of && input.shape[0] === edges.indexes);
  return nodes ? { nodes, edges } : null;
}

function drawGraph(inputs, sent) {
  const { nodes, edges } = graphTensors(inputs);
  const rows = sent[nodes.name];
  const [sources, targets] = Array.isArray(sent[edges.name]) ? sent[edges.name] : [];
  if (!Array.isArray(rows) || !Array.isArray(sources) || !Array.isArray(targets) || !rows.length) return null;
  const pairs = sources.map((source, index) => [source, targets[index]]);
  if (pairs.some((pair) => pair.some((end) => !Number.isInteger(end) || end < 0 || end >= rows.length))) return null;
  const once = [...new Set(pairs.map((pair) => Math.min(...pair) + " " + Math.max(...pair)))];
  const bonds = once.map((key) => key.split(" ").map(Number)).filter(([a, b]) => a !== b);
  const caption = rows.length + " " + edges.indexes + ", " + bonds.length + " pairs of " + edges.shape[1];
  const figure = document.createDocumentFragment();
  if (rows.length <= DRAWN) figure.append(picture(rows.map((row) => mark(nodes, row)), bonds, caption));
  figure.append(Object.assign(document.createElement("figcaption"), { textContent: caption }));
  return figure;
}

// The first labelled column that is 1: of a one-hot the label, of other columns nothing to rely on.
function mark(nodes, row) {
  const place = nodes.labels && Array.isArray(row) ? row.indexOf(1) : -1;
  return { label: place < 0 ? "" : nodes.labels[place], colour: COLOURS[(place + COLOURS.length) % COLOURS.length] };
}

function picture(marks, bonds, caption) {
  const degree = marks.map((_, node) => bonds.filter((bond) => bond.includes(node)).length);
  const places = layout(distances(marks.length, bonds));
  const svg = shape("svg", { role: "img", "aria-label": caption, viewBox: frame(places) });
  for (const [a, b] of bonds) {
    svg.append(shape("line", { x1: places[a][0], y1: places[a][1], x2: places[b][0], y2: places[b][1] }));
  }
  places.forEach(([x, y], node) => {
    const circle = shape("circle", { cx: x, cy: y, r: degree[node] > 1 ? 0.3 : 0.22, fill: marks[node].colour });
    const text = shape("text", { x, y });
    text.textContent = marks[node].label;
    svg.append(circle, text);
  });
  return svg;
}

function shape(tag, attributes) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}

function frame(places) {
  const [xs, ys] = [0, 1].map((axis) => places.map((place) => place[axis]));
  const [left, top] = [Math.min(...xs) - 0.5, Math.min(...ys) - 0.5];
  return [left, top, Math.max(...xs) + 0.5 - left, Math.max(...ys) + 0.5 - top].join(" ");
}

// Edges between each two nodes, by breadth-first search; parts that do not hang together are set two edges apart.
function distances(count, bonds) {
  const next = Array.from({ length: count }, () => []);
  for (const [a, b] of bonds) { next[a].push(b); next[b].push(a); }
  const from = (start) => {
    const steps = new Array(count).fill(Infinity);
    steps[start] = 0;
    for (const queue = [start]; queue.length;) {
      const node = queue.shift();
      for (const other of next[node]) {
        if (steps[other] === Infinity) { steps[other] = steps[node] + 1; queue.push(other); }
      }
    }
    return steps;
  };
  const all = next.map((_, node) => from(node));
  const apart = Math.max(0, ...all.flat().filter(Number.isFinite)) + 2;
  return all.map((row) => row.map((steps) => (steps === Infinity ? apart : steps)));
}

// Stress majorization (Gansner, Koren and North, 2004): lengths on the page as close to the distances as they can be.
function layout(steps) {
  let best = null;
  for (let start = 0; start < 6; start++) {
    const places = settle(steps, start);
    const cost = stress(steps, places);
    if (!best || cost < best.cost) best = { places, cost };
  }
  return best.places;
}

function settle(steps, start) {
  const count = steps.length;
  let seed = 1 + start;
  const random = () => (seed = (seed * 48271) % 2147483647) / 2147483647;
  const places = steps.map(() => [random() * Math.sqrt(count), random() * Math.sqrt(count)]);
  for (let round = 0; round < 120 && count > 1; round++) {
    for (let i = 0; i < count; i++) {
      let [x, y, weights] = [0, 0, 0];
      for (let j = 0; j < count; j++) {
        if (i === j) continue;
        const [dx, dy] = [places[i][0] - places[j][0], places[i][1] - places[j][1]];
        const weight = steps[i][j] ** -2;
        const stretch = steps[i][j] / Math.max(1e-9, Math.hypot(dx, dy));
        x += weight * (places[j][0] + stretch * dx);
        y += weight * (places[j][1] + stretch * dy);
        weights += weight;
      }
      places[i] = [x / weights, y / weights];
    }
  }
  return places;
}

function stress(steps, places) {
  let sum = 0;
  places.forEach(([x, y], i) => places.slice(0, i).forEach(([u, v], j) => {
    sum += (Math.hypot(x - u, y - v) / steps[i][j] - 1) ** 2;
  }));
  return sum;
}
