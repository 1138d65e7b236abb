// The page of an exported network: hands clouds to the worker, shows and offers its meshes.

const find = (id) => document.getElementById(id);
const viewers = { cloud: find("cloud"), mesh: find("mesh") };
let about = null; // network.json
let id = 0; // of the last request
let cells = 0; // of the last grid
let stem = "mesh";

function say(text, isFailed = false) {
  find("status").textContent = text;
  find("status").parentElement.classList.toggle("failed", isFailed);
}

function setBusy(isBusy) {
  find("progress").hidden = find("stop").hidden = !isBusy;
  find("progress").removeAttribute("value");
}

// Addresses of files in memory, each in the place of the one before.
function address(element, name, buffer) {
  if (element[name]?.startsWith("blob:")) URL.revokeObjectURL(element[name]);
  element[name] = URL.createObjectURL(new Blob([buffer], { type: "model/gltf-binary" }));
}

// A probability of occupancy as a logit.
function level() {
  const p = Number(find("threshold").value);
  const isDefault = find("threshold").value === find("threshold").defaultValue;
  return isDefault ? about.level : Math.log(p / (1 - p));
}

function request(kind, values = {}, transfer = []) {
  id += 1;
  setBusy(kind !== "stop");
  if (kind === "cloud" || kind === "grid") cells = Number(find("cells").value);
  worker.postMessage({ kind, id, cells, ...(about && { level: level() }), ...values }, transfer);
}

async function sendFile(file) {
  if (!file || !about) return;
  stem = file.name.replace(/\.[^.]*$/, "") || "mesh";
  find("result").hidden = true;
  say(`reading ${file.name}`);
  const data = await file.arrayBuffer();
  request("cloud", { name: file.name, data }, [data]);
}

const number = (value) => value.toLocaleString("en");

const ANSWERS = {
  ready(message) {
    about = message.about;
    find("file").disabled = false;
    say("ready");
  },
  progress({ share }) {
    find("progress").value = share;
    say(`evaluating the network: ${Math.floor(100 * share)} %`);
  },
  cloud({ glb, points, used }) {
    address(viewers.cloud, "src", glb);
    const part = used < points ? `, ${number(used)} of them used, at random` : "";
    find("input-facts").textContent = `${number(points)} points${part}`;
  },
  mesh({ name, shown, file, vertices, faces, seconds }) {
    setBusy(false);
    find("result").hidden = false;
    address(viewers.mesh, "src", shown);
    address(find("download"), "href", file);
    find("download").download = `${stem}.glb`;
    find("mesh-facts").textContent = `${number(vertices)} vertices, ${number(faces)} faces`;
    const total = seconds.encoder + seconds.decoder + seconds.surface;
    find("times").textContent =
      `Network ${(seconds.encoder + seconds.decoder).toFixed(1)} s, ` +
      `surface ${seconds.surface.toFixed(1)} s, ${cells} cells a side`;
    say(`${name}: done, ${total.toFixed(1)} s`);
  },
  failed({ message }) {
    setBusy(false);
    say(message, true);
  },
  stopped() {},
};

// A worker from a blob has the content security policy of the page.
const script = `import ${JSON.stringify(new URL("worker.js", import.meta.url).href)};`;
const source = URL.createObjectURL(new Blob([script], { type: "text/javascript" }));
const worker = new Worker(source, { type: "module" });
say("loading the network");
worker.addEventListener("error", () => say("the network cannot be loaded", true));
worker.addEventListener("message", ({ data }) => {
  if (data.id === undefined || data.id === 0 || data.id === id) ANSWERS[data.kind](data);
});

for (const slider of [find("cells"), find("threshold")]) {
  slider.addEventListener("input", () => {
    find(`${slider.id}-shown`).textContent = Number(slider.value).toPrecision(3) / 1;
  });
}
const hasMesh = () => !find("result").hidden;
find("cells").addEventListener("change", () => hasMesh() && request("grid"));
find("threshold").addEventListener("change", () => hasMesh() && request("surface"));
find("stop").addEventListener("click", () => {
  request("stop");
  say("stopped");
});
find("file").addEventListener("change", ({ target }) => {
  sendFile(target.files[0]);
  target.value = ""; // so that the same file can be chosen again
});
acceptDrops(find("drop"), sendFile);
