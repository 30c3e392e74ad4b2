"use strict";
const find = (id) => document.getElementById(id);
let token = sessionStorage.getItem("token") || "";

function headers(more = {}) {
  return token ? { ...more, authorization: `Bearer ${token}` } : more;
}

function problem(text) {
  find("problem").textContent = text;
  find("problem").hidden = !text;
}

async function ask(path, options = {}) {
  const answer = await fetch(path, { ...options, headers: headers(options.headers) });
  if (answer.ok) return answer;
  if (answer.status === 401) askForToken();
  const body = await answer.json().catch(() => ({}));
  throw new Error(body.error || `The service answers with status ${answer.status}.`);
}

function askForToken() {
  find("token-form").hidden = false;
  find("work").hidden = true;
}

async function begin() {
  let about;
  try {
    about = await (await ask("/about")).json();
  } catch (error) {
    if (find("token-form").hidden) problem(error.message);
    return;
  }
  find("token-form").hidden = true;
  find("work").hidden = false;
  problem("");
  const { bytes, seconds } = about.limits;
  find("limits").textContent = `up to ${Math.round(bytes / 1e6)} MB and ${Math.round(seconds / 6) / 10} minutes each`;
  find("model").replaceChildren(new Option("the default", ""), ...about.models.map((name) => new Option(name, name)));
}

// fetch cannot tell how much of an upload is through; XMLHttpRequest can.
function upload(file, query, progress) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", `/jobs?${query}`);
    for (const [name, value] of Object.entries(headers())) request.setRequestHeader(name, value);
    request.setRequestHeader("content-type", "application/octet-stream");
    request.upload.onprogress = (event) => event.lengthComputable && progress(event.loaded / event.total);
    request.onerror = () => reject(new Error("The upload was broken off."));
    request.onload = () => {
      let body = {};
      try { body = JSON.parse(request.responseText); } catch { /* no JSON: the status says enough */ }
      if (request.status === 201) resolve(body);
      else reject(new Error(body.error || `The service answers with status ${request.status}.`));
    };
    request.send(file);
  });
}

// EventSource sends no Authorization header, so the stream is read by hand.
async function* events(id) {
  const answer = await ask(`/jobs/${id}/events`);
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    text += value;
    let end;
    while ((end = text.indexOf("\n\n")) >= 0) {
      const data = text.slice(0, end).split("\n").filter((line) => line.startsWith("data: "));
      text = text.slice(end + 2);
      if (data.length) yield JSON.parse(data.map((line) => line.slice(6)).join("\n"));
    }
  }
}

async function run(file) {
  const item = find("job").content.firstElementChild.cloneNode(true);
  const [state, bar] = [item.querySelector(".state"), item.querySelector("progress")];
  item.querySelector(".name").textContent = file.name;
  find("jobs").prepend(item);
  try {
    const query = new URLSearchParams({ name: file.name, write: find("kind").value });
    if (find("model").value) query.set("model", find("model").value);
    state.textContent = "uploading";
    const job = await upload(file, query, (share) => { bar.value = share; });
    item.dataset.id = job.id;
    item.querySelector(".stop").onclick = () => ask(`/jobs/${job.id}`, { method: "DELETE" }).catch(() => {});
    await follow(job, item, state, bar);
  } catch (error) {
    fail(item, error.message);
  }
}

async function follow(job, item, state, bar) {
  for (let tries = 0; ; tries += 1) {
    try {
      for await (const now of events(job.id)) {
        tries = 0;
        if (show(now, item, state, bar)) {
          if (now.state === "done") await results(now, item);
          return;
        }
      }
    } catch (error) {
      if (tries >= 20) throw error;
    }
    await new Promise((resolve) => setTimeout(resolve, 1000));
  }
}

function show(now, item, state, bar) {
  if (now.state === "queued") {
    bar.removeAttribute("value");
    state.textContent = now.ahead ? `waiting, ${now.ahead} before it` : "waiting";
  } else if (now.state === "running") {
    if (now.total) bar.value = Math.min(1, now.frames / now.total); else bar.removeAttribute("value");
    state.textContent = `${now.frames} frames` + (now.total ? ` of about ${now.total}` : "");
  } else if (now.state === "failed" || now.state === "cancelled") {
    fail(item, now.error || "stopped");
    return true;
  } else if (now.state === "done") {
    bar.remove();
    item.querySelector(".stop").remove();
    state.textContent = `${now.figures.frames} frames in ${now.figures.seconds.toFixed(1)} s`;
    if (now.error) state.textContent += `; ${now.error}`;
    return true;
  }
  return false;
}

function fail(item, text) {
  item.classList.add("failed");
  item.querySelector("progress")?.remove();
  item.querySelector(".stop")?.remove();
  item.querySelector(".state").textContent = text;
}

async function results(now, item) {
  for (const [kind, path] of Object.entries(now.outputs)) {
    const answer = await ask(path);
    const name = /filename\*?="?(?:utf-8'')?([^";]+)/i.exec(answer.headers.get("content-disposition") || "");
    const address = URL.createObjectURL(await answer.blob());
    const place = item.querySelector(".result");
    if ((answer.headers.get("content-type") || "").startsWith("video/")) {
      const film = Object.assign(document.createElement("video"), { src: address, controls: true, loop: true, muted: true });
      place.append(film);
      film.play().catch(() => {});
    }
    const link = Object.assign(document.createElement("a"), { href: address, textContent: `Save the ${kind}` });
    link.download = name ? decodeURIComponent(name[1]) : kind;
    place.append(link);
  }
  item.dataset.ready = "yes";
}

find("token-form").onsubmit = (event) => {
  event.preventDefault();
  token = find("token").value.trim();
  sessionStorage.setItem("token", token);
  begin();
};
const drop = find("drop");
const take = (files) => [...files].forEach((file) => run(file));
find("file").onchange = (event) => { take(event.target.files); event.target.value = ""; };
for (const name of ["dragenter", "dragover"]) {
  drop.addEventListener(name, (event) => { event.preventDefault(); drop.classList.add("over"); });
}
for (const name of ["dragleave", "drop"]) drop.addEventListener(name, () => drop.classList.remove("over"));
drop.addEventListener("drop", (event) => { event.preventDefault(); take(event.dataTransfer.files); });
begin();
