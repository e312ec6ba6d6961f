// The viewer: a list of sessions, and one of them live. Talks to /view/api and to one WebSocket a session.
// Everything from the server is put into the page as text, never as markup.

const byId = (id) => document.getElementById(id);
const csrf = document.querySelector("meta[name=csrf]").content;

function element(name, className, text) {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

function banner(text) {
  byId("banner").textContent = text ?? "";
  byId("banner").hidden = !text;
}

async function ask(path, body) {
  const options = body === undefined ? {} : {
    method: "POST",
    headers: { "content-type": "application/json", "x-deskhand-csrf": csrf },
    body: JSON.stringify(body),
  };
  const answer = await fetch(path, { ...options, credentials: "same-origin" });
  if (answer.status === 401) {
    location.href = `/sign-in?next=${encodeURIComponent(location.pathname)}`;
    throw new Error("signed out");
  }
  if (!answer.ok) throw new Error((await answer.text()).trim() || answer.statusText);
  return answer.headers.get("content-type")?.includes("json") ? answer.json() : answer.blob();
}

// ---- the list -----------------------------------------------------------------------------------------

const cards = new Map();

function age(ms) {
  const s = Math.round(ms / 1000);
  if (s < 60) return `${s} s`;
  return s < 3600 ? `${Math.floor(s / 60)} min` : `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
}

function card(session) {
  let made = cards.get(session.session);
  if (!made) {
    const link = element("a", "card");
    link.href = `#${session.session}`;
    const picture = element("div", "blank");
    const text = element("div");
    made = { link, picture, name: element("b"), meta: element("span", "meta") };
    text.append(made.name, made.meta);
    link.append(picture, text);
    cards.set(session.session, made);
    byId("cards").append(link);
  }
  const control = session.control ? ` · ${session.control.name} has control` : "";
  const reason = session.reason ? `: ${session.reason}` : "";
  made.name.textContent = session.target;
  made.meta.textContent = `${session.state}${reason} · ${age(session.age_ms)}${control}`;
  return made;
}

async function thumbnail(session, made) {
  if (session.state !== "ready" && session.state !== "degraded") return;
  const picture = await ask(`/view/api/sessions/${session.session}/thumbnail`);
  const image = element("img");
  image.alt = "";
  image.src = URL.createObjectURL(picture);
  await image.decode();
  if (made.picture.src) URL.revokeObjectURL(made.picture.src);
  made.picture.replaceWith(image);
  made.picture = image;
}

async function list() {
  const { sessions } = await ask("/view/api/sessions");
  const known = new Set(sessions.map((session) => session.session));
  for (const [id, made] of cards) {
    if (!known.has(id)) {
      made.link.remove();
      cards.delete(id);
    }
  }
  byId("none").hidden = sessions.length > 0;
  await Promise.allSettled(sessions.map((session) => thumbnail(session, card(session))));
}

// ---- requests that wait for a person ------------------------------------------------------------------

async function approvals() {
  const { approvals } = await ask("/view/api/approvals");
  const rows = approvals.map((one) => {
    const row = element("div");
    const reason = one.reason ? ` (${one.reason})` : "";
    row.append(element("span", "", `${one.name} asks to ${one.operation} on ${one.machine}${reason}.`), element("span", "space"));
    for (const [label, answer] of [["Once", "once"], ["For this session", "session"], ["Refuse", "refuse"]]) {
      const button = element("button", answer === "refuse" ? "danger" : "", label);
      button.onclick = async () => {
        for (const other of row.querySelectorAll("button")) other.disabled = true;
        await ask(`/view/api/approvals/${one.id}`, { answer }).catch((error) => banner(error.message));
        await approvals();
      };
      row.append(button);
    }
    return row;
  });
  byId("approvals").replaceChildren(...rows);
  byId("approvals").hidden = rows.length === 0;
}

// ---- one session, live --------------------------------------------------------------------------------

const CODECS = { 1: "vp8", 2: "vp9", 3: "av1", 4: "h264", 5: "h265" };
const VIDEO = 1;
const PICTURE = 2;

/** What WebCodecs calls the stream that begins with this keyframe. */
function codecString(codec, data) {
  switch (codec) {
    case "vp8":
      return "vp8";
    case "vp9":
      // Two bits of marker, then the profile, low bit first.
      return `vp09.0${((data[0] >> 5) & 1) | (((data[0] >> 4) & 1) << 1)}.51.08`;
    case "av1": {
      // The sequence header follows the temporal delimiter; its first three bits are the profile.
      const profile = data[2] === 0x0a ? data[4] >> 5 : 0;
      return `av01.${profile}.13M.08`;
    }
    case "h264": {
      const at = data.findIndex((byte, i) => byte === 1 && data[i - 1] === 0 && data[i - 2] === 0 && (data[i + 1] & 31) === 7);
      const hex = [...data.slice(at + 2, at + 5)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
      return at < 0 ? undefined : `avc1.${hex}`;
    }
    default:
      return undefined;
  }
}

class Live {
  constructor(session) {
    this.session = session;
    this.canvas = byId("canvas");
    this.context = this.canvas.getContext("2d", { alpha: false, desynchronized: true });
    this.mine = false;
    this.video = "VideoDecoder" in window;
    this.painted = 0;
    this.pause = 500;
    this.open();
  }

  open() {
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    this.socket = new WebSocket(`${scheme}://${location.host}/view/api/sessions/${this.session}/live`);
    this.socket.binaryType = "arraybuffer";
    this.socket.onopen = () => {
      this.pause = 500;
      banner();
      this.watch();
    };
    this.socket.onmessage = ({ data }) => (typeof data === "string" ? this.told(JSON.parse(data)) : this.picture(new Uint8Array(data)));
    this.socket.onclose = ({ code, reason }) => this.lost(code, reason);
  }

  close() {
    this.over = true;
    this.socket.close();
    this.forget();
  }

  lost(code, reason) {
    this.forget();
    this.control(null);
    if (this.over) return;
    if (code === 4404 || code === 4403) {
      banner(reason);
      return;
    }
    banner("The connection to the gateway is lost. Trying again…");
    setTimeout(() => this.over || this.open(), this.pause);
    this.pause = Math.min(this.pause * 2, 8000);
  }

  send(message) {
    if (this.socket.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(message));
  }

  watch() {
    this.forget();
    this.send({ type: "watch", display: this.display, video: this.video });
  }

  // -- pictures

  forget() {
    if (this.decoder && this.decoder.state !== "closed") this.decoder.close();
    this.decoder = undefined;
  }

  picture(bytes) {
    const display = bytes[1];
    if (this.display !== undefined && display !== this.display) return;
    if (bytes[0] === VIDEO) this.decode(CODECS[bytes[2]], (bytes[3] & 1) === 1, bytes.subarray(4));
    else if (bytes[0] === PICTURE) this.still(bytes.subarray(2));
  }

  decode(codec, key, data) {
    if (key && (!this.decoder || this.codec !== codec)) {
      this.forget();
      const string = codecString(codec, data);
      this.codec = codec;
      this.decoder = this.newDecoder(string);
    }
    if (!this.decoder || this.decoder.state !== "configured") {
      if (!key) this.wantKey();
      return;
    }
    // A page that is behind goes on with the next keyframe.
    if (!key && (this.behind || this.decoder.decodeQueueSize > 30)) {
      this.behind = true;
      this.wantKey();
      return;
    }
    this.behind = false;
    this.decoder.decode(new EncodedVideoChunk({ type: key ? "key" : "delta", timestamp: performance.now() * 1000, data }));
  }

  newDecoder(codec) {
    const fail = (error) => {
      this.video = false;
      this.watch();
      console.warn(`video by pictures from now on: ${error}`);
    };
    const decoder = new VideoDecoder({
      output: (frame) => {
        this.paint(frame, frame.displayWidth, frame.displayHeight);
        frame.close();
      },
      error: fail,
    });
    try {
      if (!codec) throw new Error("an unknown stream");
      decoder.configure({ codec, optimizeForLatency: true });
    } catch (error) {
      queueMicrotask(() => fail(error));
      return undefined;
    }
    byId("video").textContent = `· ${codec}`;
    return decoder;
  }

  wantKey() {
    const now = performance.now();
    if (now - (this.askedKey ?? -1000) < 1000) return;
    this.askedKey = now;
    this.send({ type: "keyframe" });
  }

  async still(data) {
    const view = new DataView(data.buffer, data.byteOffset);
    const [width, height] = [view.getUint16(0), view.getUint16(2)];
    try {
      const bitmap = await createImageBitmap(new Blob([data.subarray(4)], { type: "image/jpeg" }));
      this.paint(bitmap, width, height);
      bitmap.close();
    } finally {
      this.send({ type: "seen" });
    }
    byId("video").textContent = "· pictures";
  }

  paint(source, width, height) {
    if (this.canvas.width !== width || this.canvas.height !== height) {
      [this.canvas.width, this.canvas.height] = [width, height];
    }
    this.context.drawImage(source, 0, 0, width, height);
    if (this.painted === 0) this.point();
    this.painted += 1;
    this.canvas.dataset.painted = this.painted;
  }

  /** The pointer is not in the video. */
  point() {
    const mark = byId("pointer");
    const at = this.pointer;
    mark.hidden = !at || !this.decoder || at.display !== (this.display ?? at.display);
    if (mark.hidden) return;
    const [box, around] = [this.canvas.getBoundingClientRect(), byId("screen").getBoundingClientRect()];
    mark.style.left = `${box.left - around.left + (at.x / this.canvas.width) * box.width}px`;
    mark.style.top = `${box.top - around.top + (at.y / this.canvas.height) * box.height}px`;
  }

  // -- what the gateway says

  told(message) {
    switch (message.type) {
      case "status":
        this.status(message);
        break;
      case "step":
        this.step(message);
        break;
      case "control":
        this.control(message.control);
        break;
      case "approvals":
        approvals().catch(() => {});
        break;
      case "cursor":
        this.pointer = message;
        this.point();
        break;
      case "missed":
        this.note(`${message.count} earlier events are not shown`);
        break;
      case "error":
        banner(message.message);
        break;
    }
  }

  status(status) {
    const reason = status.reason ? `: ${status.reason}` : "";
    byId("where").textContent = status.target;
    byId("state").textContent = `${status.state}${reason}`;
    byId("cover").hidden = status.state === "ready" || status.state === "degraded";
    byId("cover").textContent = status.message;
    byId("take").disabled = !status.may_interact;
    byId("stop").textContent = status.stopped ? "Let the model go on" : "Stop the model";
    this.stopped = status.stopped;
    const choice = byId("display");
    choice.hidden = status.displays.length < 2;
    choice.replaceChildren(...status.displays.map((display) => {
      const option = element("option", "", display.name || `Display ${display.display}`);
      option.value = display.display;
      option.selected = display.display === this.display;
      return option;
    }));
    if (status.control !== undefined) this.control(status.control);
  }

  control(control) {
    this.mine = control?.mine ?? false;
    byId("live").classList.toggle("yours", this.mine);
    byId("keys").hidden = !this.mine;
    byId("take").textContent = this.mine ? "Give back" : "Take over";
    if (this.mine) this.canvas.focus();
    else if (control) byId("cover").textContent = `${control.name} has control`;
    const running = byId("state").textContent;
    byId("cover").hidden = !(control && !this.mine) && (running === "ready" || running.startsWith("degraded"));
  }

  step(step) {
    let row = document.querySelector(`#steps li[data-step="${CSS.escape(String(step.id))}"]`);
    if (!row) {
      row = element("li");
      row.dataset.step = step.id;
      byId("steps").prepend(row);
      while (byId("steps").children.length > 400) byId("steps").lastChild.remove();
    }
    const time = element("time", "", new Date(step.at).toLocaleTimeString());
    const what = element("b", "", step.operation);
    const detail = step.detail ? ` ${step.detail}` : "";
    const outcome = element("div", step.code ? "bad" : "meta", step.outcome ?? "…");
    row.replaceChildren(time, what, detail, outcome, element("div", "meta", step.name));
  }

  note(text) {
    byId("steps").prepend(element("li", "meta", text));
  }

  // -- what the person does

  at(event) {
    const box = this.canvas.getBoundingClientRect();
    const scale = (value, from, span, pixels) => Math.max(0, Math.min(pixels - 1, Math.floor(((value - from) / span) * pixels)));
    return {
      x: scale(event.clientX, box.left, box.width, this.canvas.width),
      y: scale(event.clientY, box.top, box.height, this.canvas.height),
    };
  }

  act(inputs) {
    if (this.mine) this.send({ type: "input", inputs });
  }
}

function held(event) {
  const names = { shiftKey: "shift", ctrlKey: "control", altKey: "alt", metaKey: "meta" };
  return Object.keys(names).filter((name) => event[name]).map((name) => names[name]);
}

let live;

const BUTTONS = ["left", "middle", "right", "back", "forward"];

function operate(canvas) {
  let waiting;
  const flush = () => {
    if (waiting) live?.act([waiting]);
    waiting = undefined;
  };
  canvas.addEventListener("pointermove", (event) => {
    if (!live?.mine) return;
    if (!waiting) requestAnimationFrame(flush);
    waiting = { move: live.at(event) };
  });
  canvas.addEventListener("pointerdown", (event) => {
    if (!live?.mine || BUTTONS[event.button] === undefined) return;
    event.preventDefault();
    canvas.focus();
    canvas.setPointerCapture(event.pointerId);
    waiting = undefined;
    live.act([{ move: live.at(event) }, { down: BUTTONS[event.button], held: held(event) }]);
  });
  for (const kind of ["pointerup", "pointercancel"]) {
    canvas.addEventListener(kind, (event) => {
      if (!live?.mine || BUTTONS[event.button] === undefined) return;
      waiting = undefined;
      live.act([{ move: live.at(event) }, { up: BUTTONS[event.button] }]);
    });
  }
  canvas.addEventListener("contextmenu", (event) => event.preventDefault());
  let [turnedX, turnedY] = [0, 0];
  canvas.addEventListener("wheel", (event) => {
    if (!live?.mine) return;
    event.preventDefault();
    const notch = event.deltaMode === WheelEvent.DOM_DELTA_PIXEL ? 100 : 3;
    turnedX += event.deltaX / notch;
    turnedY += event.deltaY / notch;
    const [x, y] = [Math.trunc(turnedX), Math.trunc(turnedY)];
    if (x || y) {
      turnedX -= x;
      turnedY -= y;
      live.act([{ move: live.at(event) }, { scroll: [x, y], held: held(event) }]);
    }
  }, { passive: false });
  const MODIFIERS = ["Shift", "Control", "Alt", "Meta", "AltGraph"];
  canvas.addEventListener("keydown", (event) => {
    if (!live?.mine || event.isComposing || MODIFIERS.includes(event.key)) return;
    event.preventDefault();
    const text = event.key.length === 1 || [...event.key].length === 1;
    const plain = !event.ctrlKey && !event.altKey && !event.metaKey;
    if (text && (plain || event.getModifierState("AltGraph"))) live.act([{ text: event.key }]);
    else live.act([{ press: event.key, held: text ? held(event).filter((name) => name !== "shift") : held(event) }]);
  });
  canvas.addEventListener("paste", (event) => {
    const text = event.clipboardData?.getData("text/plain");
    if (live?.mine && text) live.act([{ text }]);
  });
}

function controls() {
  byId("take").onclick = () => live?.send({ type: live.mine ? "give" : "take" });
  byId("stop").onclick = () => live?.send({ type: live.stopped ? "resume" : "stop" });
  byId("display").onchange = (event) => {
    live.display = Number(event.target.value);
    live.watch();
  };
  for (const button of document.querySelectorAll("[data-key]")) {
    button.onclick = () => {
      live?.act([{ press: button.dataset.key, held: [] }]);
      byId("canvas").focus();
    };
  }
  byId("paste").onclick = () => byId("pasting").showModal();
  byId("pasting").onclose = () => {
    const text = byId("text").value;
    if (byId("pasting").returnValue === "type" && text) live?.act([{ text }]);
    byId("text").value = "";
    byId("canvas").focus();
  };
  // A phone shows its keyboard for a field alone. What stays in it is what was typed.
  const typed = byId("typed");
  byId("keyboard").onclick = () => typed.focus();
  typed.addEventListener("beforeinput", (event) => {
    const keys = { deleteContentBackward: "Backspace", insertLineBreak: "Enter", insertParagraph: "Enter" };
    if (keys[event.inputType]) live?.act([{ press: keys[event.inputType], held: [] }]);
  });
  typed.addEventListener("input", (event) => {
    if (!event.isComposing && typed.value) {
      live?.act([{ text: typed.value }]);
      typed.value = "";
    }
  });
  typed.addEventListener("keydown", (event) => {
    if (event.key === "Enter") live?.act([{ press: "Enter", held: [] }]);
  });
}

// ---- which of the two is shown ------------------------------------------------------------------------

function show() {
  const session = location.hash.slice(1);
  live?.close();
  live = undefined;
  byId("list").hidden = session !== "";
  byId("live").hidden = session === "";
  byId("where").textContent = "";
  byId("steps").replaceChildren();
  banner();
  if (session) live = new Live(session);
  else turn();
}

async function turn() {
  if (document.hidden) return;
  try {
    await Promise.all([approvals(), location.hash ? undefined : list()]);
    if (!live) banner();
  } catch (error) {
    if (!live) banner(`The gateway does not answer: ${error.message}`);
  }
}

window.addEventListener("hashchange", show);
operate(byId("canvas"));
controls();
show();
setInterval(turn, 2500);
