// The page of `occnet demo`: sends a file, follows its job, shows and offers the mesh.

const POLL = 300; // milliseconds
const find = (id) => document.getElementById(id);
const sliders = ["resolution", "threshold"].map(find).filter(Boolean);
const network = find("network").dataset;
const accepted = network.accepted.split(",").filter(Boolean);
const isRandom = "random" in network;
let current = null; // the job that is shown or worked on
let repeated = null; // what a new resolution, threshold or level is for
let uploads = []; // the last two jobs of files for the network
let leave = () => {}; // stops listening to the current job
let turn = 0; // counts what was sent

function say(text, failed = false) {
  find("status").textContent = text;
  find("status").parentElement.classList.toggle("failed", failed);
}

// A volume has a level of its own in place of resolution and threshold.
function query(values, isVolume) {
  const parameters = new URLSearchParams(values);
  for (const slider of isVolume ? [] : sliders) parameters.set(slider.id, slider.value);
  return parameters.toString();
}

function isVolumeFile(name) {
  const ends = (suffix) => name.toLowerCase().endsWith(suffix);
  return !accepted.some(ends) && network.volumes.split(",").some(ends);
}

async function ask(address, options) {
  const answer = await fetch(address, options);
  const content = await answer.json();
  if (!answer.ok) throw new Error(content.error);
  return content;
}

const isOver = (job) => ["done", "failed"].includes(job.state);

// Calls `show` at every change of a job, by server-sent events; resolves at its end.
function listen(job, show) {
  return new Promise((resolve, reject) => {
    const stream = new EventSource(`/api/jobs/${job.id}/events`);
    leave = () => {
      stream.close();
      resolve(job);
    };
    stream.addEventListener("message", ({ data }) => {
      const changed = JSON.parse(data);
      show(changed);
      if (!isOver(changed)) return;
      stream.close(); // or it would be asked for once more
      resolve(changed);
    });
    stream.addEventListener("error", () => {
      stream.close();
      reject(new Error("the stream of events broke"));
    });
  });
}

// The same by asking, where the stream broke.
async function poll(job, show) {
  while (!isOver(job) && current === job.id) {
    await new Promise((resolve) => setTimeout(resolve, POLL));
    job = await ask(`/api/jobs/${job.id}`);
    show(job);
  }
  return job;
}

async function follow(job) {
  current = job.id;
  leave(); // a job that was sent before
  let shown = job;
  const started = Date.now() - 1000 * job.seconds;
  const show = (changed = shown) => {
    shown = changed;
    if (isOver(shown) || current !== job.id) return;
    const seconds = (Date.now() - started) / 1000;
    say(`${shown.name}: ${shown.state}, ${seconds.toFixed(0)} s`);
  };
  const clock = setInterval(show, 1000);
  const followed = listen(job, show).catch(() => poll(job, show));
  job = await followed.finally(() => clearInterval(clock));
  if (current !== job.id) return null; // another one was sent meanwhile
  if (job.state === "failed") throw new Error(job.message);
  say(`${job.name}: done, ${job.seconds.toFixed(1)} s`);
  for (const link of document.querySelectorAll("#downloads a")) {
    link.href = `/api/jobs/${job.id}/mesh.${link.dataset.form}`;
  }
  find("view").src = `/api/jobs/${job.id}/view`;
  for (const id of ["downloads", "view"]) find(id).hidden = false;
  return job;
}

// The controls for what was made: of a file, a volume, or of what lies between two.
function offer(job, values) {
  const isFile = !("share" in values);
  repeated = isFile ? { like: job.id } : values;
  find("again").disabled = false;
  find("level-control").hidden = !job.levels;
  for (const slider of sliders) slider.parentElement.hidden = Boolean(job.levels);
  if (job.levels) {
    const { low, high, level } = job.levels;
    Object.assign(find("level"), { min: low, max: high, value: level });
    showNumber(find("level"));
    return;
  }
  if (!isFile) return;
  if (uploads.at(-1)?.name === job.name) uploads.pop(); // the same once more
  uploads = [...uploads, job].slice(-2);
  if (isRandom) {
    find("between").hidden = false;
  } else if (uploads.length > 1) {
    find("between").hidden = false;
    find("between-title").textContent = `Between ${uploads[0].name} and ${uploads[1].name}`;
  }
}

async function send(values, body) {
  turn += 1;
  const own = turn;
  find("progress").hidden = false;
  say(body ? "sending" : "waiting");
  const isVolume = "level" in values || (body && isVolumeFile(values.name));
  try {
    const address = `/api/jobs?${query(values, isVolume)}`;
    const job = await follow(await ask(address, { method: "POST", body }));
    if (job) offer(job, values);
  } catch (error) {
    if (own === turn) say(error.message, true);
  } finally {
    if (own === turn) find("progress").hidden = true;
  }
}

function sendFile(file) {
  if (file) send({ name: file.name }, file);
}

function sendAgain() {
  const level = find("level-control").hidden ? {} : { level: find("level").value };
  send({ ...repeated, ...level });
}

function sendBetween() {
  const values = { share: find("share").value };
  if (isRandom) values.seeds = `${find("seed-a").value},${find("seed-b").value}`;
  if (accepted.length) {
    const ends = isRandom ? uploads.slice(-1) : uploads;
    values.like = ends.map((job) => job.id).join();
  }
  send(values);
}

function showNumber(slider) {
  find(`${slider.id}-shown`).textContent = Number(Number(slider.value).toPrecision(4));
}

find("view").addEventListener("load", ({ target }) => {
  target.style.height = `${target.contentDocument.documentElement.scrollHeight + 4}px`;
});
for (const slider of [...sliders, find("level"), find("share")]) {
  slider.addEventListener("input", () => showNumber(slider));
}
find("level").addEventListener("change", sendAgain);
find("share").addEventListener("change", sendBetween);
find("make").addEventListener("click", sendBetween);
find("file").addEventListener("change", (event) => sendFile(event.target.files[0]));
find("again").addEventListener("click", sendAgain);
acceptDrops(find("drop"), sendFile);
