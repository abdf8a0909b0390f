// The page's script. It talks to the example application as any client would, and to /demo/ for what lies behind it.

const $ = (id) => document.getElementById(id);
const KEPT = "safeupload-demo-user";
const NAMES = { JPEG: "a JPEG", PNG: "a PNG", GIF: "a GIF", WEBP: "a WebP" };

let user = JSON.parse(sessionStorage.getItem(KEPT) ?? "null"); // {id, token, picture}
let busy = false;
let plugged = null; // what became of the row when the plug was pulled, until recovered
const gone = []; // keys of files that this visitor saw go, the last first
let seen = new Set();

// --- small helpers ---------------------------------------------------------------------------------------------------

function element(tag, text = "", properties = {}) {
  return Object.assign(document.createElement(tag), { textContent: text }, properties);
}

function say(where, text, kind = "") {
  where.className = `answer ${kind}`;
  where.textContent = text;
}

function size(bytes) {
  if (bytes < 10000) return `${bytes} bytes`;
  return bytes < 1e6 ? `${Math.round(bytes / 1e3)} kB` : `${(bytes / 1e6).toFixed(1)} MB`;
}

const short = (key) => `${key.slice(0, 8)}….jpg`;
const keyOf = (picture) => (picture ? picture.split("/").pop() : null);

// XMLHttpRequest, since fetch() does not tell how much has been sent.
function send(method, url, form, progress = () => {}) {
  return new Promise((resolve) => {
    const request = new XMLHttpRequest();
    request.open(method, url);
    request.responseType = "json";
    if (user) request.setRequestHeader("Authorization", `Bearer ${user.token}`);
    request.upload.addEventListener("progress", (event) => progress(event.loaded / event.total));
    request.addEventListener("load", () => resolve({ status: request.status, body: request.response }));
    request.addEventListener("error", () =>
      resolve({ status: 0, body: { title: "The connection was closed before an answer came." } }),
    );
    request.send(form);
  });
}

function remember(changed) {
  user = changed;
  if (user) sessionStorage.setItem(KEPT, JSON.stringify(user));
  else sessionStorage.removeItem(KEPT);
  const picture = user?.picture ?? null;
  $("after").hidden = !picture;
  $("after-none").hidden = Boolean(picture);
  if (picture) $("after").src = picture;
  else $("after-about").textContent = "";
  enable();
}

function enable() {
  $("file").disabled = busy;
  $("delete-picture").disabled = busy || !user?.picture;
  $("delete-account").disabled = busy || !user;
  $("pull").disabled = busy || !user?.picture;
  $("recover").disabled = busy || !plugged;
  for (const button of document.querySelectorAll("#samples button")) button.disabled = busy;
}

// One thing at a time: the page explains what happens, and that is easier to follow.
async function alone(work) {
  if (busy) return;
  busy = true;
  const focused = document.activeElement;
  enable();
  try {
    await work();
  } finally {
    busy = false;
    enable();
    // A button that is disabled loses the focus; somebody at the keyboard goes on where they were.
    if (document.activeElement === document.body) focused?.focus();
  }
}

// --- 1: a picture ----------------------------------------------------------------------------------------------------

async function upload(file) {
  const form = new FormData();
  if (!user) form.append("name", "You");
  form.append(user ? "file" : "picture", file, file.name);
  $("sending").hidden = false;
  $("progress").value = 0;
  $("percent").textContent = "sending";
  const answer = await send(user ? "PATCH" : "POST", user ? `/users/${user.id}/picture` : "/users", form, (part) => {
    $("progress").value = 100 * part;
    $("percent").textContent = part < 1 ? `${Math.round(100 * part)} %` : "checking";
  });
  $("sending").hidden = true;
  return answer;
}

function refusal({ status, body }) {
  const words = body?.detail ?? body?.title ?? "There was no answer.";
  return status ? `Refused (${status}${body?.code ? `, ${body.code}` : ""}): ${words}` : words;
}

async function give(file) {
  preview(file);
  $("checks").replaceChildren();
  say($("answer"), "");
  const old = keyOf(user?.picture);
  const answer = await upload(file);
  if (answer.status !== 200 && answer.status !== 201) {
    const kept = user ? "Nothing has changed." : "No account was created.";
    say($("answer"), `${refusal(answer)} ${kept}`, "bad");
  } else {
    remember({ ...user, ...answer.body });
    const went = old ? ` The old file, ${short(old)}, is gone.` : "";
    say($("answer"), `Stored as ${short(keyOf(user.picture))}.${went}`, "good");
    await explain(file);
  }
  await watch();
}

function preview(file) {
  const image = $("before");
  URL.revokeObjectURL(image.src);
  image.alt = `Preview of ${file.name}`;
  image.hidden = false;
  $("before-none").hidden = true;
  image.onerror = () => {
    image.hidden = true;
    $("before-none").hidden = false;
    $("before-none").textContent = "your browser cannot show this";
  };
  image.src = URL.createObjectURL(file);
  $("before-about").textContent = `${file.name}, ${size(file.size)}`;
}

async function explain(file) {
  const form = new FormData();
  form.append("file", file, file.name);
  const [{ status, body: info }, stored] = await Promise.all([
    send("POST", "/demo/look", form),
    fetch(user.picture).then((response) => response.blob()),
  ]);
  $("after-about").textContent = `300 × 300 pixels, ${size(stored.size)}`;
  if (status !== 200) return;
  const megapixels = (info.width * info.height) / 1e6;
  const checks = [
    `It is ${NAMES[info.format] ?? info.format}, by its bytes and not by its name.`,
    `${size(info.bytes)}, of ${size(info.max_bytes)} at most.`,
    `${info.width} × ${info.height} pixels (${megapixels.toFixed(1)} million), of ${info.max_pixels / 1e6} million at most.`,
    "Every part of the file is whole, and was decoded from a copy that holds nothing but pixels.",
    info.turned ? "It was stored on its side, and is upright now." : "It is upright.",
    info.profile ? "Its colour profile was applied; the colours are sRGB." : "Its colours are sRGB.",
    "No metadata is left: no place, no camera, no comment.",
  ];
  if (info.alpha) checks.push("What was transparent is white now.");
  if (info.animated) checks.push("Of the animation, the first picture was taken.");
  $("checks").replaceChildren(...checks.map((text) => element("li", text)));
}

$("file").addEventListener("change", () => {
  const [file] = $("file").files;
  if (file) alone(() => give(file)).then(() => ($("file").value = ""));
});
for (const name of ["dragenter", "dragover", "dragleave", "drop"]) {
  // On the whole document: a file that is dropped beside the field must not be opened by the browser.
  document.addEventListener(name, (event) => {
    event.preventDefault();
    $("drop").classList.toggle("over", name === "dragenter" || name === "dragover");
  });
}
$("drop").addEventListener("drop", (event) => {
  const [file] = event.dataTransfer.files;
  if (file) alone(() => give(file));
});
$("delete-picture").addEventListener("click", () =>
  alone(async () => {
    const { status } = await send("DELETE", `/users/${user.id}/picture`);
    if (status === 204) remember({ ...user, picture: null });
    $("checks").replaceChildren();
    say($("answer"), status === 204 ? "The picture is deleted: first the row, then the file." : "That failed.");
    await watch();
  }),
);
$("delete-account").addEventListener("click", () =>
  alone(async () => {
    const { status } = await send("DELETE", `/users/${user.id}`);
    if (status === 204) remember(null);
    $("checks").replaceChildren();
    say($("answer"), status === 204 ? "The account is deleted, and its file with it." : "That failed.");
    await watch();
  }),
);

// --- 2: the folder ---------------------------------------------------------------------------------------------------

async function watch() {
  const files = await (await fetch("/demo/folder")).json();
  const now = new Set(files.map((file) => file.key));
  for (const key of seen) if (!now.has(key)) gone.unshift(key);
  seen = now;
  const items = files.map((file) => {
    const item = element("li");
    const what = file.named
      ? file.marked ? "a row names it; on record" : "a row names it"
      : file.marked ? "no row names it; on record, to be settled" : "no row names it";
    const text = element("div");
    text.append(element("code", short(file.key)), element("span", what));
    item.append(element("img", "", { src: `/pictures/${file.key}`, alt: "" }), text);
    return item;
  });
  for (const key of gone.slice(0, 3)) {
    const item = element("li", "", { className: "gone" });
    const text = element("div");
    text.append(element("code", short(key)), element("span", "gone"));
    item.append(text);
    items.push(item);
  }
  $("files").replaceChildren(...(items.length ? items : [element("li", "The folder is empty.")]));
  return files;
}

// --- 3: hostile files ------------------------------------------------------------------------------------------------

function card({ name, about }) {
  const item = element("li");
  const safe = element("p", "", { className: "safe" });
  const plain = element("p", "", { className: "plain" });
  for (const each of [safe, plain]) each.setAttribute("role", "status");
  const button = element("button", "Try it", { type: "button" });
  button.setAttribute("aria-label", `Try ${name}`);
  button.addEventListener("click", () =>
    alone(async () => {
      plain.textContent = "";
      safe.textContent = "safeupload: …";
      const bytes = await (await fetch(`/demo/samples/${name}`)).blob();
      const began = performance.now();
      const answer = await upload(new File([bytes], name));
      const took = `in ${Math.round(performance.now() - began)} ms, over the network`;
      if (answer.status === 200 || answer.status === 201) {
        remember({ ...user, ...answer.body });
        verdict(safe, "safeupload: ", `a clean picture ${took}, without what it carried.`, true, user.picture);
      } else {
        verdict(safe, "safeupload: ", `${refusal(answer)} (${took})`, true);
      }
      await watch();
      plain.textContent = "The plain way: … (up to 8 seconds)";
      const { status, body } = await send("POST", `/demo/samples/${name}/plain`);
      if (status !== 200) plain.textContent = "The plain way could not be measured.";
      else {
        const { wrongs, seconds, picture } = body.plain;
        const harm = wrongs.length ? `${wrongs.join("; ")}.` : `${body.plain.verdict}: no harm seen this time.`;
        verdict(plain, "The plain way: ", `${harm} (${seconds.toFixed(1)} s)`, !wrongs.length, picture);
      }
    }),
  );
  item.append(element("h3", name), element("p", about, { className: "dim" }), safe, plain, button);
  return item;
}

function verdict(where, who, text, good, picture = null) {
  where.replaceChildren(element("b", who, { className: good ? "good" : "bad" }), text);
  if (picture) where.append(element("br"), element("img", "", { src: picture, alt: "The result" }));
}

// --- 4: the plug -----------------------------------------------------------------------------------------------------

$("pull").addEventListener("click", () =>
  alone(async () => {
    const step = document.querySelector("input[name=step]:checked").value;
    say($("plugged"), "Another process is at work …");
    const { status, body } = await send("POST", `/demo/users/${user.id}/plug?step=${step}`);
    if (status !== 200) return say($("plugged"), refusal({ status, body }), "bad");
    plugged = body;
    remember({ ...user, picture: `/pictures/${body.row}` });
    const files = await watch();
    const row = body.committed ? "the new one" : "still the old one";
    say(
      $("plugged"),
      `Process ${body.pid} is dead. ${files.length} files are on the disk; your row names ${row}, and it is there. ` +
        "What the dead process left is on record. Now recover.",
    );
  }),
);
$("recover").addEventListener("click", () =>
  alone(async () => {
    const before = await watch();
    const { status } = await send("POST", "/demo/recover");
    if (status !== 200) return say($("plugged"), "That failed.", "bad");
    plugged = null;
    const after = await watch();
    const removed = before.length - after.length;
    say(
      $("plugged"),
      `The database was asked which files its rows name. ${removed} file${removed === 1 ? " was" : "s were"} removed, ` +
        "and nothing that a row names was lost.",
      "good",
    );
  }),
);

// --- the beginning ---------------------------------------------------------------------------------------------------

if (user) {
  const known = await fetch(`/users/${user.id}`);
  remember(known.ok ? { ...user, ...(await known.json()) } : null);
}
$("samples").replaceChildren(...(await (await fetch("/demo/samples")).json()).map(card));
await watch();
enable();
