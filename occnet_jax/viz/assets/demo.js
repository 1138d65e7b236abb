// The page of `occnet demo`: sends a file, follows its job, shows and offers the mesh.

const POLL = 300; // milliseconds
const find = (id) => document.getElementById(id);
const sliders = ["resolution", "threshold"].map(find).filter(Boolean);
let current = null; // the job that is shown or worked on
let leave = () => {}; // stops listening to it
let turn = 0; // counts what was sent

function say(text, failed = false) {
  find("status").textContent = text;
  find("status").parentElement.classList.toggle("failed", failed);
}

function query(values) {
  const parameters = new URLSearchParams(values);
  for (const slider of sliders) parameters.set(slider.id, slider.value);
  return parameters.toString();
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
  if (current !== job.id) return; // another one was sent meanwhile
  if (job.state === "failed") throw new Error(job.message);
  say(`${job.name}: done, ${job.seconds.toFixed(1)} s`);
  for (const link of document.querySelectorAll("#downloads a")) {
    link.href = `/api/jobs/${job.id}/mesh.${link.dataset.form}`;
  }
  find("view").src = `/api/jobs/${job.id}/view`;
  for (const id of ["downloads", "view"]) find(id).hidden = false;
  find("again").disabled = false;
}

async function send(values, body) {
  turn += 1;
  const own = turn;
  find("progress").hidden = false;
  say(body ? "sending" : "waiting");
  try {
    await follow(await ask(`/api/jobs?${query(values)}`, { method: "POST", body }));
  } catch (error) {
    if (own === turn) say(error.message, true);
  } finally {
    if (own === turn) find("progress").hidden = true;
  }
}

function sendFile(file) {
  if (file) send({ name: file.name }, file);
}

find("view").addEventListener("load", ({ target }) => {
  target.style.height = `${target.contentDocument.documentElement.scrollHeight + 4}px`;
});
for (const slider of sliders) {
  slider.addEventListener("input", () => {
    find(`${slider.id}-shown`).textContent = slider.value;
  });
}
find("file").addEventListener("change", (event) => sendFile(event.target.files[0]));
find("again").addEventListener("click", () => send({ like: current }));

const drop = find("drop");
for (const kind of ["dragover", "dragleave", "drop"]) {
  drop.addEventListener(kind, (event) => {
    event.preventDefault();
    drop.classList.toggle("over", kind === "dragover");
    if (kind === "drop") sendFile(event.dataTransfer.files[0]);
  });
}
