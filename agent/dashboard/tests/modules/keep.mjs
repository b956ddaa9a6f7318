// keep.js and idle.js over a page of a few stand-ins: what is typed comes back after what came between, to its writer, and never a secret.
// Run by modules.rs with the folder of the assets as its argument.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";

/** Modules as the box serves them; Node takes a file without a package beside it for something else. */
const module = (name) => {
  const text = readFileSync(`${process.argv[2]}/${name}`, "utf8").replaceAll(/from "\.\/(\w+\.js)"/g, (_all, other) => `from "${module(other)}"`);
  return "data:text/javascript;base64," + Buffer.from(text).toString("base64");
};
const { keepTyped, mayBeKept } = await import(module("keep.js"));
const { due } = await import(module("idle.js"));

const store = new Map();
globalThis.sessionStorage = {
  getItem: (name) => store.get(name) ?? null,
  setItem: (name, text) => store.set(name, text),
  removeItem: (name) => store.delete(name),
};
const stored = () => store.get("tbi-kept");

class Stand {
  constructor(attributes, elements = []) {
    Object.assign(this, { attributes, elements, listeners: {}, checked: false, value: attributes.value ?? "" });
    this.type = attributes.type ?? "text";
  }
  getAttribute(name) { return this.attributes[name] ?? null; }
  hasAttribute(name) { return name in this.attributes; }
  removeAttribute(name) { delete this.attributes[name]; }
  addEventListener(name, heard) { (this.listeners[name] ??= []).push(heard); }
  fire(name) { for (const heard of this.listeners[name] ?? []) heard({}); }
  querySelector(wanted) {
    const fits = wanted.includes("aria-invalid") ? (it) => it.hasAttribute("aria-invalid") : (it) => it.attributes.name === "action";
    return this.elements.find(fits) ?? null;
  }
}

/** Loads a page; gives the words that say that something was put back. */
function load(path, person, forms = []) {
  const words = new Stand({ hidden: "" });
  globalThis.location = { pathname: path, search: "" };
  globalThis.document = {
    body: { dataset: person ? { person } : {} },
    querySelectorAll: (wanted) => (wanted.includes("/logout") ? forms.filter((form) => form.attributes.action === "/logout") : forms),
    getElementById: (id) => (id === "kept-typed" ? words : null),
  };
  keepTyped();
  return words;
}

const PATH = "/tokens/new";
const fields = () => [
  new Stand({ name: "purpose" }),
  new Stand({ name: "password", type: "password" }),
  new Stand({ name: "scope", type: "checkbox", value: "yes" }),
  new Stand({ name: "code", autocomplete: "one-time-code" }),
  new Stand({ name: "key", "data-unkept": "" }),
  new Stand({ name: "csrf", type: "hidden", value: "CANARY-token" }),
];
const form = () => new Stand({ action: PATH, method: "post" }, fields());

// The session is warned of in its last two minutes, and left at its end.
for (const [seconds, what] of [[0, "nothing"], [1679, "nothing"], [1680, "warn"], [1799, "warn"], [1800, "leave"], [90000, "leave"]]) {
  assert.equal(due(seconds * 1000, 0, 1800 * 1000), what, `${seconds} s`);
}

// What was sent and met a step-up comes back, without secrets, and is then forgotten.
let typed = form();
load(PATH, "anna", [typed]);
typed.elements[0].value = "nightly";
typed.elements[2].checked = true;
for (const secret of [1, 3, 4]) typed.elements[secret].value = `CANARY-${secret}`;
typed.fire("input");
typed.fire("submit");
assert.ok(stored().includes("nightly") && !stored().includes("CANARY"), stored());
load("/step-up", "anna");
let shown = form();
let words = load(PATH, "anna", [shown]);
assert.deepEqual([shown.elements[0].value, shown.elements[2].checked, shown.elements[1].value], ["nightly", true, ""]);
assert.ok(!words.hasAttribute("hidden"));
assert.equal(stored(), undefined);

// What was sent and taken is forgotten.
shown.fire("submit");
load("/tokens", "anna");
assert.equal(stored(), undefined);

// Somebody else at the same browser gets nothing of it.
typed = form();
load(PATH, "anna", [typed]);
typed.elements[0].value = "anna's";
typed.fire("input");
load("/login");
assert.ok(stored().includes("anna's"));
shown = form();
words = load(PATH, "olaf", [shown]);
assert.equal(shown.elements[0].value, "");
assert.ok(words.hasAttribute("hidden"));
assert.equal(stored(), undefined);

// A page that says what is wrong has what was typed from the server.
typed = form();
load(PATH, "anna", [typed]);
typed.elements[0].value = "typed";
typed.fire("submit");
shown = form();
shown.elements[0].attributes["aria-invalid"] = "true";
shown.elements[0].value = "of the server";
load(PATH, "anna", [shown]);
assert.equal(shown.elements[0].value, "of the server");

// A private key that was pasted into a field for something else is not kept, nor more than there is room for, nor anything after a logout.
for (const value of ["-----BEGIN PRIVATE KEY-----", "x".repeat(300_000)]) {
  typed = new Stand({ action: "/x", method: "post" }, [new Stand({ name: "chain" })]);
  load("/x", "anna", [typed]);
  typed.elements[0].value = value;
  typed.fire("input");
  assert.equal(stored()?.includes(value), undefined);
}
const out = new Stand({ action: "/logout", method: "post" });
typed = form();
load(PATH, "anna", [typed, out]);
typed.elements[0].value = "left";
typed.fire("input");
out.fire("submit");
assert.equal(stored(), undefined);

// A storage that somebody wrote nonsense into, or that throws, changes nothing.
for (const nonsense of ["{{{", "null", "[]", '{"forms":7}', '{"forms":null,"person":3}']) {
  store.set("tbi-kept", nonsense);
  load(PATH, "anna", [form()]);
}
globalThis.sessionStorage = { getItem: () => { throw new Error("off"); }, setItem: () => { throw new Error("off"); }, removeItem: () => { throw new Error("off"); } };
typed = form();
load(PATH, "anna", [typed]);
typed.fire("input");
assert.ok(mayBeKept(new Stand({ name: "a" })) && !mayBeKept(new Stand({})));
console.log("every promise was kept");
