// What people do with a box: claim it, log in and out, order a run. By field names and addresses, which no language changes.

import { assert } from "./harness.mjs";

/** Of every account that a story makes. */
export const PASSWORD = "correct horse battery staple";
export const ADA = "ada";
/** Answers that a wizard may take at most; one that goes round in a circle is a defect. */
const MOST_TURNS = 80;

/** @param {import("playwright-core").Page} page */
export function path(page) {
  return new URL(page.url()).pathname;
}

/**
 * Goes to a page, proving once more who asks where the page wants that.
 * @param {import("playwright-core").Page} page
 * @param {string} to
 */
export async function visit(page, to) {
  let response = await patient(page, to);
  if (path(page) === "/step-up") {
    await prove(page);
    response = await patient(page, to);
  }
  return response;
}

/** A box lets an address ask so often and no more, and says when to come back. */
async function patient(page, to) {
  for (let tries = 0; ; tries += 1) {
    const response = await page.goto(to);
    if (response?.status() !== 429 || tries === 5) return response;
    const seconds = Number((await response.allHeaders())["retry-after"] ?? "1");
    await page.waitForTimeout(Math.min(seconds, 15) * 1000);
  }
}

/** @param {import("playwright-core").Page} page */
export async function prove(page) {
  await page.fill('form[action="/step-up"] [name=password]', PASSWORD);
  await page.click('form[action="/step-up"] button.main');
  await page.waitForURL((url) => url.pathname !== "/step-up");
}

/** @param {import("playwright-core").Page} page @param {string} code */
export async function claim(page, code) {
  const form = page.locator('form[action="/welcome"]');
  await form.locator("[name=claim_code]").fill(code);
  await form.locator("[name=account]").fill(ADA);
  for (const field of await form.locator("[type=password]").all()) await field.fill(PASSWORD);
  await form.locator("button.main").click();
  await page.waitForURL((url) => url.pathname !== "/welcome");
}

/** @param {import("playwright-core").Page} page @param {string} account @param {string} [password] */
export async function logIn(page, account, password = PASSWORD) {
  await visit(page, "/login");
  const form = page.locator('form[action="/login"]');
  await form.locator("[name=account]").fill(account);
  await form.locator("[name=password]").fill(password);
  await form.locator("button.main").click();
  await page.waitForURL((url) => url.pathname !== "/login");
}

/** @param {import("playwright-core").Page} page */
export async function logOut(page) {
  await page.click('form[action="/logout"] button');
  await page.waitForURL((url) => url.pathname === "/login");
}

/**
 * Makes sure that the page's reader is ada: claims the box when nobody has, logs in when she has been here.
 * @param {import("playwright-core").Page} page
 */
export async function enter(page) {
  await page.goto("/");
  if (path(page) === "/welcome") {
    await claim(page, process.env.TBI_CODE ?? "");
  } else if (path(page) === "/login") {
    await logIn(page, ADA);
  }
}

/** What a wizard's step can be answered with, in the order in which it is tried when the step stays. */
const ANSWERS = ["done", "keep", "done", "other", "done", "skip"];

/** The checks of the first pre-flight, the bench brought up among them. */
const CHECKED_WITHIN = 240_000;

/**
 * Walks whatever wizard is there, taking what it proposes. Gives the paths of the steps it saw.
 * @param {import("playwright-core").Page} page
 * @param {(name: string) => Promise<void>} seen called on each step
 */
export async function walkWizard(page, seen) {
  /** How often each step was answered. @type {Map<string, number>} */
  const tries = new Map();
  for (let turn = 0; turn < MOST_TURNS; turn += 1) {
    const at = path(page);
    if (at === "/step-up") await prove(page);
    if (!path(page).startsWith("/setup")) break;
    if (!tries.has(at)) await seen(at.replace("/setup", "setup"));
    const onward = page.locator("main a.onward, main a[rel=next]").first();
    const forms = await answers(page);
    if (forms.size === 0) {
      if ((await onward.count()) === 0) break;
      tries.set(at, 1);
      await Promise.all([page.waitForNavigation({ waitUntil: "load" }), onward.click()]);
      continue;
    }
    let tried = tries.get(at) ?? 0;
    const language = page.locator("main form select[name=language]");
    if (tried === 0 && forms.has("keep") && (await language.count()) > 0) {
      // The box speaks the language of who sets it up.
      await language.selectOption(process.env.TBI_LANGUAGE ?? "en");
      tried = ANSWERS.indexOf("keep");
    }
    while (tried < ANSWERS.length && !forms.has(ANSWERS[tried])) tried += 1;
    assert(tried < ANSWERS.length, `the wizard stays at ${at}: ${(await page.locator("main").innerText()).slice(0, 400)}`);
    tries.set(at, tried + 1);
    const button = /** @type {import("playwright-core").Locator} */ (forms.get(ANSWERS[tried]));
    await fillWhatIsEmpty(page, button);
    await submit(page, button);
    const refused = (await page.locator("main .banner[role=alert]").count()) > 0;
    if (at === "/setup/preflight" && path(page) === at && ANSWERS[tried] === "other" && !refused) {
      // The checks bring the bench up, and no run begins before they are over; the page asks for itself until then.
      const over = page.locator("main form input[name=action][value=done]");
      await over.waitFor({ state: "attached", timeout: CHECKED_WITHIN });
    }
  }
  assert(!path(page).startsWith("/setup/"), `the wizard ends at ${path(page)}`);
  return [...tries.keys()];
}

/** The buttons that answer a step, by what they mean. @param {import("playwright-core").Page} page */
async function answers(page) {
  /** @type {Map<string, import("playwright-core").Locator>} */
  const found = new Map();
  for (const form of await page.locator("main form[method=post]").all()) {
    const button = form.locator("button").first();
    const hidden = form.locator("input[type=hidden][name=action]");
    const action = (await hidden.count()) > 0 ? await hidden.first().inputValue() : ((await button.getAttribute("value")) ?? "keep");
    const kind = ["done", "keep", "skip"].includes(action) ? action : "other";
    if (!found.has(kind)) found.set(kind, button);
  }
  return found;
}

/** What a step wants and does not propose. */
async function fillWhatIsEmpty(page, button) {
  const form = page.locator("main form", { has: button }).first();
  const reason = form.locator("input[name=reason]");
  if ((await reason.count()) > 0) await reason.fill("a story goes on although a check failed");
  for (const field of await form.locator("input[required]:not([type=hidden], [type=radio], [type=checkbox])").all()) {
    if ((await field.inputValue()) !== "") continue;
    const type = await field.getAttribute("type");
    await field.fill(type === "password" ? PASSWORD : type === "number" ? "1" : "story");
  }
}

/** Clicks and waits for the page that answers, which may have the same address. */
export async function submit(page, button) {
  await Promise.all([page.waitForNavigation({ waitUntil: "load" }), button.click()]);
}

/**
 * Asks the API as the page's reader would; `body` makes it a POST.
 * @param {import("playwright-core").Page} page
 * @param {string} to
 * @param {unknown} [body]
 */
export async function ask(page, to, body) {
  return page.evaluate(
    async ([to, body]) => {
      const token = /** @type {HTMLInputElement | null} */ (document.querySelector("input[name=csrf]"))?.value ?? "";
      const init = body === undefined
        ? {}
        : { method: "POST", body: JSON.stringify(body), headers: { "Content-Type": "application/json", "X-TBI-CSRF": token } };
      const response = await fetch(to, init);
      const text = await response.text();
      let json;
      try {
        json = JSON.parse(text);
      } catch {
        json = undefined;
      }
      return { status: response.status, json, text };
    },
    /** @type {const} */ ([to, body]),
  );
}

/** The shortest run that has both arms: for stories that are not about its numbers. */
export const TINY = {
  profile: "quick",
  plan: { name: "story", pairs: 1, reference_blocks: 1, protocols: ["h2"], objects: ["1KB"], phases: { ramp_up: "50ms", sustain: "300ms" } },
};

/**
 * Waits until a run is over and gives it.
 * @param {import("playwright-core").Page} page @param {string} id @param {number} within milliseconds
 */
export async function over(page, id, within) {
  const end = Date.now() + within;
  for (;;) {
    // A page that follows a run loads itself again when it is over, and a question of ours with it.
    const { json } = await ask(page, `/api/v1/agent/runs/${id}`).catch(() => ({ json: undefined }));
    if (json?.ended) return json;
    assert(Date.now() < end, `run ${id} is not over after ${within / 1000} s: ${JSON.stringify(json)}`);
    // A pause between two looks, not a guess at how long it takes.
    await page.waitForTimeout(1000);
  }
}
