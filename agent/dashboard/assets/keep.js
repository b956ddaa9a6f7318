// Keeps what is typed in forms while a login or a fresh proof comes between, and puts it back afterwards. It lives in this tab's
// sessionStorage, belongs to one account, and never has passwords, codes, keys or hidden fields in it. A form that was taken is forgotten.

/** @typedef {Record<string, string | boolean>} Values */
/** @typedef {{ values: Values, sent: boolean }} Kept */
/** @typedef {{ person: string, interrupted: boolean, forms: Record<string, Kept> }} State */

const NAME = "tbi-kept";
/** More than this is not kept, characters. */
const MOST = 200_000;
/** Pages that come between a form and its answer. */
const BETWEEN = ["/login", "/step-up"];

/** @returns {State} */
function empty() {
  return { person: "", interrupted: false, forms: {} };
}

/** @returns {State} */
function read() {
  try {
    const state = JSON.parse(sessionStorage.getItem(NAME) ?? "null");
    return state && typeof state.forms === "object" && state.forms ? state : empty();
  } catch {
    return empty();
  }
}

/** @param {State} state */
function write(state) {
  try {
    const text = JSON.stringify(state);
    if (Object.keys(state.forms).length === 0 || text.length > MOST) sessionStorage.removeItem(NAME);
    else sessionStorage.setItem(NAME, text);
  } catch {
    // Storage is full or switched off: what is typed is then kept as little as without this module.
  }
}

/**
 * Names a form on a page; two of one page differ by where they go or by what they do.
 * @param {string} path
 * @param {HTMLFormElement} form
 */
export function nameOf(path, form) {
  const deed = form.querySelector("input[type=hidden][name=action]");
  return [path, form.getAttribute("action") ?? "", deed?.getAttribute("value") ?? ""].join(" ");
}

/** @param {Element} field */
export function mayBeKept(field) {
  const kind = field.getAttribute("type") ?? "";
  const name = field.getAttribute("name") ?? "";
  const secret = ["password", "hidden", "file", "submit", "button"].includes(kind);
  const code = field.getAttribute("autocomplete") === "one-time-code" || field.hasAttribute("data-unkept");
  return name !== "" && !secret && !code;
}

/**
 * @param {Iterable<Element>} fields
 * @returns {Values}
 */
export function valuesOf(fields) {
  /** @type {Values} */
  const values = {};
  for (const field of fields) {
    if (!mayBeKept(field)) continue;
    const name = /** @type {string} */ (field.getAttribute("name"));
    const given = /** @type {HTMLInputElement} */ (field);
    if (given.type === "checkbox") values[name] = given.checked;
    else if (given.type === "radio") {
      if (given.checked) values[name] = given.value;
    } else if (!given.value.includes("PRIVATE KEY")) values[name] = given.value;
  }
  return values;
}

/**
 * @param {Iterable<Element>} fields
 * @param {Values} values
 */
export function fill(fields, values) {
  for (const field of fields) {
    if (!mayBeKept(field)) continue;
    const value = values[/** @type {string} */ (field.getAttribute("name"))];
    const given = /** @type {HTMLInputElement} */ (field);
    if (given.type === "checkbox") {
      if (typeof value === "boolean") given.checked = value;
    } else if (given.type === "radio") given.checked = given.value === value;
    else if (typeof value === "string") given.value = value;
  }
}

/** Forms whose fields are kept: those that change something, but not the ones around the login. */
function forms() {
  const all = [...document.querySelectorAll("form[method=post]")];
  return /** @type {HTMLFormElement[]} */ (all).filter(
    (form) => !["/logout", "/login", "/step-up", "/preferences", "/welcome"].includes(form.getAttribute("action") ?? ""),
  );
}

/**
 * @param {HTMLFormElement} form
 * @param {boolean} sent
 */
function keep(form, sent) {
  const values = valuesOf(form.elements);
  if (Object.keys(values).length === 0) return;
  const state = read();
  state.person = document.body.dataset.person ?? "";
  state.forms[nameOf(location.pathname, form)] = { values, sent };
  write(state);
}

/** Keeps all forms of this page as they are, because it is left without being asked. */
export function keepAll() {
  for (const form of forms()) keep(form, false);
  const state = read();
  state.interrupted = true;
  write(state);
}

/** Looks at what was kept before, and keeps what is typed from now on. */
export function keepTyped() {
  const state = read();
  if (BETWEEN.includes(location.pathname)) {
    // What nobody sent was left by the reader; what was sent did not arrive.
    state.interrupted = true;
    write(state);
    return;
  }
  const person = document.body.dataset.person;
  if (person === undefined) return;
  if (state.person !== "" && state.person !== person) {
    write(empty());
  } else {
    restore(state);
  }
  for (const form of forms()) {
    form.addEventListener("input", () => keep(form, false));
    form.addEventListener("submit", () => keep(form, true));
  }
  for (const form of document.querySelectorAll("form[action='/logout']")) {
    form.addEventListener("submit", () => write(empty()));
  }
}

/** @param {State} state */
function restore(state) {
  let filled = false;
  for (const form of forms()) {
    const name = nameOf(location.pathname, form);
    const kept = state.forms[name];
    // A page that says what is wrong has what was typed from the server.
    if (kept && state.interrupted && !form.querySelector("[aria-invalid=true]")) {
      fill(form.elements, kept.values);
      filled = true;
    }
    delete state.forms[name];
  }
  if (filled) {
    state.interrupted = false;
    document.getElementById("kept-typed")?.removeAttribute("hidden");
  }
  if (!state.interrupted) {
    for (const [name, kept] of Object.entries(state.forms)) {
      if (kept.sent) delete state.forms[name];
    }
  }
  write(state);
}
