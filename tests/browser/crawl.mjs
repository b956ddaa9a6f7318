// Every page an administrator can reach: accessible in three colour schemes, whole at 200 % and at 320 px, usable with the keyboard alone,
// quiet (nothing leaves the box, no broken policy, no failed script), light (JavaScript and style within their budgets).
// What a stranger sees and the refusals are pages as well.

import { assert, main } from "./lib/harness.mjs";
import { ask, enter, logIn, over, PASSWORD, path, submit, TINY, visit, walkWizard } from "./lib/box.mjs";
import { audit, COLOURS, keyboard, NARROW, WIDE, zoomed } from "./lib/checks.mjs";
import { explore } from "./lib/map.mjs";

const JS_BUDGET = 150_000;
const CSS_BUDGET = 40_000;

await main(async (story) => {
  const { page } = await story.person();

  /** @param {string} at */
  const look = async (at) => {
    await story.shoot(page, at);
    for (const [name, media] of COLOURS) {
      await story.step(`${at} has no serious finding of axe-core in ${name}`, async () => {
        await page.emulateMedia(media);
        await audit(page, name);
      });
    }
    await page.emulateMedia({ colorScheme: null, forcedColors: null });
    for (const size of NARROW) {
      await story.step(`${at} is whole at ${size.width} px`, () => zoomed(page, size));
    }
    await page.setViewportSize(WIDE);
    await story.step(`${at} can be used with the keyboard alone`, () => keyboard(page));
  };

  await story.must("the box is there", async () => {
    const response = await page.goto("/");
    assert(response && [200, 401].includes(response.status()), `/ is answered with ${response?.status()}`);
  });
  // Before anybody is there.
  await look(path(page));
  await story.must("the box is claimed", () => enter(page));
  await story.step("the wizard, when there is one, comes to its end", () => walkWizard(page, async () => look(path(page))));
  await story.must("there is something to see on the pages", async () => {
    await visit(page, "/");
    if (process.env.TBI_MEASURES !== "no") {
      const { json } = await ask(page, "/api/v1/agent/runs");
      for (const run of json) await over(page, run.id, 120_000);
      const second = await ask(page, "/api/v1/agent/runs", TINY);
      assert(second.status === 202, `a run was not taken: ${second.text}`);
      await visit(page, `/runs/${second.json.id}/stop`);
      if (path(page).endsWith("/stop")) await look("/runs/-/stop");
      await over(page, second.json.id, 120_000);
    }
    await visit(page, "/users/new");
    await page.fill("[name=account]", "grace");
    await page.fill("[name=password]", PASSWORD);
    await page.fill("[name=again]", PASSWORD);
    await page.click("form[action='/users/new'] button.main");
    await page.waitForURL((url) => url.pathname !== "/users/new");
    // What others have is ended on pages of its own.
    await logIn((await story.person()).page, "grace");
    await visit(page, "/tokens/new");
    await page.fill("[name=label]", "a program");
    await page.check("[name=scope_read]");
    await submit(page, page.locator("form[action='/tokens/new'] button.main"));
    await look("/tokens/made");
  });

  const seen = await explore(story, page, look);
  await story.step("more than a handful of pages were seen, and those that ask why", async () => {
    assert(seen.size >= 8, `only ${[...seen.keys()].join(", ")}`);
    for (const lead of ["/tokens/revoke/", "/sessions/end/"]) {
      assert([...seen.keys()].some((at) => at.startsWith(lead)), `no page ${lead}…`);
    }
  });
  await story.step("JavaScript and style of all pages are within their budgets", async () => {
    const { js, css } = story.weights();
    assert(js <= JS_BUDGET, `${js} bytes of JavaScript, ${JS_BUDGET} are the most`);
    assert(css > 0 && css <= CSS_BUDGET, `${css} bytes of style, ${CSS_BUDGET} are the most`);
  });

  for (const at of ["/no-such-page", "/runs/no-such-run"]) {
    await story.step(`${at} is refused with a page`, async () => {
      const response = await page.goto(at);
      assert(response?.status() === 404, `answered with ${response?.status()}`);
      await look(at);
    });
  }
});
