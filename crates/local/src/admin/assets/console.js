// Updates, ages and keys of the console. Every page works without them.
"use strict";

const REFRESH_MS = 250;
const live = () => document.getElementById("live");

// Loads the page again and takes over its live part; several changes at once are one load.
let loading = false;
let again = false;
async function refresh() {
  again = loading;
  if (loading) return;
  loading = true;
  try {
    await htmx.ajax("GET", location.pathname + location.search, { target: "#live", select: "#live", swap: "outerMorph" });
    await new Promise((resolve) => setTimeout(resolve, REFRESH_MS));
  } finally {
    loading = false;
    if (again) refresh();
  }
}

// A hidden page has no stream, because a browser opens only six connections to a host.
let stream;
function listen() {
  stream?.close();
  if (document.hidden || !live()) return;
  stream = new EventSource(`/events?since=${live().dataset.version ?? ""}`);
  const status = document.getElementById("connection");
  stream.onopen = () => (status.textContent = "");
  stream.onerror = () => (status.textContent = "Disconnected: is cargo local running?");
  for (const name of live().dataset.live?.split(" ") ?? []) {
    stream.addEventListener(name, (event) => {
      const { messages, more } = JSON.parse(event.data);
      const only = live()?.dataset.only;
      if (!only || more || messages.some((message) => message.id === only)) refresh();
    });
  }
}
document.addEventListener("visibilitychange", () => {
  if (!document.hidden) refresh();
  listen();
});

// A time shows how long ago it was.
function age(seconds) {
  if (seconds < 60) return `${Math.max(0, Math.floor(seconds))} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)} h`;
  return `${Math.floor(seconds / 86400)} d`;
}
function showAges() {
  for (const time of document.querySelectorAll(".age time")) {
    time.textContent = age((Date.now() - Date.parse(time.dateTime)) / 1000);
  }
}
document.addEventListener("htmx:after:swap", showAges);
setInterval(showAges, 1000);

// Empty fields are not part of the address.
document.addEventListener("formdata", (event) => {
  for (const [name, value] of [...event.formData]) if (value === "") event.formData.delete(name);
});

document.addEventListener("keydown", (event) => {
  const isTyping = event.target.closest?.("input, select, textarea");
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "Escape") {
    if (isTyping) event.target.blur();
    else document.getElementById("back")?.click();
  } else if (isTyping) {
    return;
  } else if (event.key === "/") {
    event.preventDefault();
    document.getElementById("filter-text")?.focus();
  } else if (event.key === "j" || event.key === "k") {
    const rows = [...document.querySelectorAll("a.open")];
    const at = rows.indexOf(document.activeElement);
    const next = at < 0 ? 0 : at + (event.key === "j" ? 1 : -1);
    rows[Math.min(Math.max(next, 0), rows.length - 1)]?.focus();
  }
});

showAges();
listen();
