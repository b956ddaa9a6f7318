// Every field of every form against scripts, nothing and far too much. What is typed is shown as text and never runs, where it is typed and
// wherever it is stored; what is refused is told at the field, and what was typed (but passwords) is still there.

import { assert, main } from "./lib/harness.mjs";
import { ADA, ask, enter, logIn, over, PASSWORD, path, submit, TINY, visit, walkWizard } from "./lib/box.mjs";
import { explore } from "./lib/map.mjs";

/** Each would set `window.tbiRan` or open a dialog if it ran, or leave an element of its own if it were taken for markup. */
const PAYLOADS = [
  `<script>window.tbiRan=1</script><b data-tbi="1">x</b>`,
  `"><img src=x onerror="window.tbiRan=2" data-tbi="2">`,
  `' autofocus onfocus='window.tbiRan=3' data-tbi='3`,
  `</textarea></select></title><svg onload=window.tbiRan=4 data-tbi=4>`,
  `javascript:window.tbiRan=5`,
  `{{7*7}}\${7*7}<%= 7*7 %>`,
];
const HUGE = "ü".repeat(3000);
/** A browser writes what a filter asks for into the address, which no server takes at any length. */
const HUGE_IN_AN_ADDRESS = "x".repeat(4000);
const EMPTY = "";
/** Whose session a form must not end, and whose settings must not lock us out. */
const SPARED = /^\/(logout|preferences|step-up|login)/;

await main(async (story) => {
  const { page } = await story.person();
  await story.must("somebody is logged in", async () => {
    await enter(page);
    await walkWizard(page, async () => {});
    await visit(page, "/");
    const { json } = await ask(page, "/api/v1/agent/runs");
    for (const run of json) await over(page, run.id, 120_000);
  });

  await story.step("a run's plan cannot carry a script onto the pages", async () => {
    for (const payload of PAYLOADS) {
      const order = { ...TINY, plan: { ...TINY.plan, name: payload } };
      const { status, json } = await ask(page, "/api/v1/agent/runs", order);
      if (status === 202) {
        await page.goto(`/runs/${json.id}`);
        await harmless(page, payload, "stored as a run's name");
        // Not from the run's own page, which loads itself anew when the run is over and takes what it asked for along.
        await visit(page, "/audit");
        await page.evaluate(
          ([id, token]) => fetch(`/api/v1/agent/runs/${id}`, { method: "DELETE", headers: { "X-TBI-CSRF": token } }),
          [json.id, await page.inputValue("input[name=csrf] >> nth=0")],
        );
        await over(page, json.id, 60_000);
      } else {
        assert(status === 422, `answered with ${status}`);
      }
    }
  });

  /** Forms with something to type, by page, action and fields. @type {Map<string, { at: string, index: number, action: string, method: string }>} */
  const forms = new Map();
  const { page: scout } = await person(story);
  await explore(story, scout, async (at) => {
    const found = await scout.evaluate(() =>
      [...document.forms].map((form, index) => ({
        index,
        method: form.method,
        // A field may be called `action`, which hides the form's own.
        action: new URL(form.getAttribute("action") ?? "", location.href).pathname,
        fields: [...form.elements].filter((it) => it.matches("input:not([type=hidden], [type=checkbox], [type=radio], [type=submit], [type=file]), textarea")).map((it) => it.getAttribute("name")),
      })),
    );
    for (const { index, action, fields, method } of found) {
      if (fields.length > 0 && !SPARED.test(action)) forms.set(`${action} ${fields.join()}`, { at, index, action, method });
    }
  });
  await story.step("there are forms to attack", async () => assert(forms.size >= 3, `only ${forms.size} forms`));
  story.note(`forms: ${[...forms.values()].map((form) => form.action).join(", ")}`);
  await scout.context().close();

  for (const form of forms.values()) {
    for (const [what, value] of /** @type {[string, string][]} */ ([...PAYLOADS.map((it, at) => [`script ${at + 1}`, it]), ["nothing", EMPTY], ["far too much", form.method === "get" ? HUGE_IN_AN_ADDRESS : HUGE]])) {
      await story.step(`the form to ${form.action} on ${form.at} takes ${what} as text`, () => attack(page, form, value));
    }
  }

  await story.step("the login takes scripts as text", async () => {
    const { page: stranger } = await story.person();
    for (const payload of PAYLOADS) {
      await stranger.goto(`/login?next=${encodeURIComponent(payload)}`);
      await stranger.fill("form[action='/login'] [name=account]", payload.slice(0, 64));
      await stranger.fill("form[action='/login'] [name=password]", payload);
      await submit(stranger, stranger.locator("form[action='/login'] button.main"));
      await harmless(stranger, payload.slice(0, 64), "at the login");
      assert(path(stranger) === "/login", `led to ${stranger.url()}`);
    }
    await stranger.context().close();
  });

  for (const to of ["/runs?name=", "/audit?actor=", "/users/account/", "/runs/", "/login?next=", "/"]) {
    await story.step(`${to} reflects scripts as text`, async () => {
      for (const payload of PAYLOADS) {
        await page.goto(to + encodeURIComponent(payload));
        await harmless(page, payload, `after ${to}`);
      }
    });
  }

  await story.step("what was stored is text on every page", async () => {
    await again(page);
  });
  await explore(story, page, async (at) => {
    await story.step(`${at} runs nothing of what was typed`, () => harmless(page, "", `on ${at}`));
  });
});

/** @param {import("./lib/harness.mjs").Story} story */
async function person(story) {
  const made = await story.person();
  await logIn(made.page, ADA);
  return made;
}

/** Logs in when an attack ended the session. @param {import("playwright-core").Page} page */
async function again(page) {
  await page.goto("/");
  if (path(page) === "/login") await logIn(page, ADA);
}

/** @param {import("playwright-core").Page} page @param {{ at: string, index: number, action: string }} which @param {string} value */
async function attack(page, which, value) {
  await again(page);
  const shown = await visit(page, which.at);
  if (!shown || shown.status() >= 400) return; // what it was about is gone: an account that an attack removed
  // Listening first: the answer may be there before the evaluation has told that it sent the form.
  const answered = page.waitForNavigation({ waitUntil: "load" });
  answered.catch(() => {});
  const typed = await page.evaluate(
    ([index, action, value, password]) => {
      const form = [...document.forms].find((form, at) => at === index && new URL(form.getAttribute("action") ?? "", location.href).pathname === action);
      if (!form) return undefined;
      form.noValidate = true;
      /** @type {Record<string, string>} */
      const typed = {};
      for (const it of form.elements) {
        if (!(it instanceof HTMLInputElement || it instanceof HTMLTextAreaElement)) continue;
        if (/^(hidden|checkbox|radio|submit|file)$/.test(it.type)) continue;
        for (const bound of ["maxlength", "minlength", "pattern", "required", "min", "max", "list"]) it.removeAttribute(bound);
        // A password that is taken would lock us out.
        if (it.type === "password") {
          it.value = value === "" ? "" : password;
          continue;
        }
        if (!/^(text|search|textarea)$/.test(it.type)) it.type = "text";
        it.value = value;
        // A private key is never sent back.
        if (!it.hasAttribute("data-unkept")) typed[it.name] = it.value;
      }
      const button = form.querySelector("button.main, button:not([type=button])");
      form.requestSubmit(button instanceof HTMLElement ? button : undefined);
      return typed;
    },
    /** @type {const} */ ([which.index, which.action, value, PASSWORD]),
  );
  assert(typed, `the form is not on ${which.at} any more`);
  const answer = await answered;
  assert(answer, "no answer");
  assert(answer.status() < 500, `answered with ${answer.status()}`);
  await harmless(page, value, "after the form was sent");
  if (answer.status() === 422) {
    const told = await page.evaluate(() => {
      const wrong = [...document.querySelectorAll("[aria-invalid=true]")];
      return {
        banner: document.querySelector("[role=alert]")?.textContent?.trim() ?? "",
        silent: wrong.filter((it) => !(it.getAttribute("aria-describedby") ?? "").split(" ").some((id) => document.getElementById(id)?.matches(".error") && document.getElementById(id)?.textContent?.trim())).map((it) => it.getAttribute("name")),
        wrong: wrong.length,
      };
    });
    assert(told.wrong > 0 || told.banner !== "", "refused without a word");
    assert(told.silent.length === 0, `nothing is said at ${told.silent.join(", ")}`);
    // Two forms of a page may ask for the same, a reason for example.
    const form = page.locator("form").nth(which.index);
    for (const [name, text] of Object.entries(typed)) {
      const named = `[name="${name}"]:not([type=hidden])`;
      const field = ((await form.locator(named).count()) > 0 ? form.locator(named) : page.locator(`main form ${named}`)).first();
      if ((await field.count()) === 0) continue;
      const kept = await field.inputValue();
      assert(kept.trim() === text.trim(), `what was typed into ${name} is lost: "${kept.slice(0, 40)}"`);
    }
  }
}

/** Nothing of it ran and nothing of it is an element. @param {import("playwright-core").Page} page @param {string} payload @param {string} where */
async function harmless(page, payload, where) {
  const found = await page.evaluate(() => ({
    // @ts-ignore: what a payload would set
    ran: window.tbiRan,
    elements: document.querySelectorAll("[data-tbi], [onerror], [onload], [onfocus], [autofocus][onfocus]").length,
    links: [...document.querySelectorAll("a[href], form[action]")].filter((it) => /^\s*javascript:/i.test(it.getAttribute("href") ?? it.getAttribute("action") ?? "")).length,
    sum: document.body.innerText.includes("49$49") || document.body.innerText.includes("4949"),
  }));
  assert(found.ran === undefined, `a script ran (${found.ran}) ${where}: ${payload}`);
  assert(found.elements === 0, `typed text became an element ${where}: ${payload}`);
  assert(found.links === 0, `typed text became a link that runs ${where}: ${payload}`);
  assert(!found.sum, `typed text was evaluated as a template ${where}: ${payload}`);
}
