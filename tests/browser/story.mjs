// An operator's day, from the first visit to the logout: claim, wizard, overview, new run, live, report, compare, audit, users, logout. In
// the language of TBI_LANGUAGE; with TBI_MEASURES=no on a box that measures nothing here, where the steps about runs are left out.
//
// Steps of pages that this build does not have yet are done by the API in the page, and said so in a note.

import { assert, main, needed } from "./lib/harness.mjs";
import { ADA, ask, claim, logIn, logOut, over, PASSWORD, path, prove, submit, TINY, visit, walkWizard } from "./lib/box.mjs";
import { declared } from "./lib/map.mjs";

const measures = process.env.TBI_MEASURES !== "no";
/** A quick run with its preparations on a busy machine. */
const RUN_WITHIN = Number(process.env.TBI_RUN_SECONDS ?? "150") * 1000;
const has = (/** @type {string} */ wanted) => declared().some((it) => it.path === wanted);

await main(async (story) => {
  const { context, page } = await story.person();

  await story.must("a new box leads to its first visit, over HTTP/2, in the reader's language", async () => {
    const response = await page.goto("/");
    assert(response, "no answer");
    assert(path(page) === "/welcome", `/ led to ${path(page)}`);
    const protocol = await page.evaluate(() => /** @type {PerformanceNavigationTiming} */ (performance.getEntriesByType("navigation")[0]).nextHopProtocol);
    assert(protocol === "h2", `the page came over ${protocol}`);
    const language = await page.getAttribute("html", "lang");
    assert(language === story.language, `the page is in ${language}`);
    await story.shoot(page, "welcome");
  });
  await story.step("a wrong code is refused at its field and nothing typed is lost", async () => {
    const form = page.locator('form[action="/welcome"]');
    await form.locator("[name=claim_code]").fill("WRONG-CODE");
    await form.locator("[name=account]").fill(ADA);
    for (const field of await form.locator("[type=password]").all()) await field.fill(PASSWORD);
    await submit(page, form.locator("button.main"));
    assert(path(page) === "/welcome", `led to ${path(page)}`);
    assert((await page.locator("#claim_code-error").innerText()) !== "", "nothing is said at the code");
    assert((await page.inputValue("[name=account]")) === ADA, "the account is lost");
    await story.shoot(page, "wrong-code");
  });
  await story.must("the code from the console makes the first administrator", () => claim(page, needed("TBI_CODE")));

  const steps = await story.step("the wizard, when there is one, comes to its end", async () => {
    if (has("/setup") && !path(page).startsWith("/setup")) await visit(page, "/setup");
    const steps = await walkWizard(page, (name) => story.shoot(page, name));
    assert(!has("/setup") || steps.length > 2, `only ${steps.join(", ")}`);
    return steps;
  });
  story.note(`steps of the wizard: ${steps?.join(" → ") || "none"}`);

  await story.must("the overview shows the box", async () => {
    await visit(page, "/");
    assert((await page.locator("main section").count()) >= 2, "the overview is empty");
    assert((await page.locator(".person").innerText()).includes(ADA), "nobody says who is logged in");
    await story.shoot(page, "overview");
  });

  const first = measures
    ? await story.step("the run that the lab began with is seen live", async () => {
        const { json } = await ask(page, "/api/v1/agent/runs");
        const run = json[0];
        assert(run, "there is no run");
        await page.click(`a[href="/runs/${run.id}"]`);
        await page.waitForURL(`**/runs/${run.id}`);
        if (!run.ended) assert((await page.locator("progress").count()) > 0, "no progress is shown");
        await story.shoot(page, "live");
        return run.id;
      })
    : undefined;
  if (first) {
    await story.step("reload and a second browser show the same run", async () => {
      await page.reload();
      const { context: other, page: second } = await story.person();
      await logIn(second, ADA);
      await second.goto(`/runs/${first}`);
      assert((await second.locator("main").innerText()).includes(first), "the second browser does not show it");
      await other.close();
    });
    await story.step("the first run ends measured", async () => {
      const run = await over(page, first, RUN_WITHIN);
      assert(["passed", "failed"].includes(run.state), `it is ${run.state}: ${run.sentence}`);
      await visit(page, `/runs/${first}`);
      await story.shoot(page, "run");
    });
    await story.step("its report opens, says what decryption costs, and runs nothing", async () => {
      const report = await page.getAttribute('main a[href$="/report"]', "href");
      assert(report, "no link to the report");
      const { context: reader, page: sheet } = await story.person({ storageState: await context.storageState() }, false);
      const response = await sheet.goto(report);
      assert(response?.status() === 200, `answered with ${response?.status()}`);
      assert((await sheet.locator("table").count()) > 0, "the report has no table");
      await story.shoot(sheet, "report");
      await reader.close();
      const [one, two] = [await page.request.get(report), await page.request.get(report)];
      assert((await one.body()).equals(await two.body()), "the report differs from one download to the next");
    });
  }

  const second = measures ? await story.step("the next run is ordered in the browser", () => order(story, page)) : undefined;
  if (second) {
    await story.step("it is seen live and ends measured", async () => {
      await visit(page, `/runs/${second}`);
      await story.shoot(page, "live-second");
      const run = await over(page, second, RUN_WITHIN);
      assert(["passed", "failed"].includes(run.state), `it is ${run.state}: ${run.sentence}`);
    });
    await story.step("both runs stand in the list", async () => {
      await visit(page, "/runs");
      for (const id of [first, second]) assert((await page.locator(`a[href="/runs/${id}"]`).count()) > 0, `${id} is missing`);
      await story.shoot(page, "runs");
    });
  }
  if (first && second && has("/runs/compare")) {
    await story.step("both are ticked in the list and compared, the older one as the baseline", async () => {
      await visit(page, "/runs");
      for (const id of [second, first]) await page.check(`[name="run-${id}"]`);
      await submit(page, page.locator('form[action="/runs/compare"] button').last());
      assert((await page.inputValue("[name=baseline]")) === first, "the baseline is not the one that was measured first");
      assert((await page.locator("#compared").count()) > 0, "no table compares them");
    });
  }
  if (first && second) {
    await story.step("the two are compared with their intervals", async () => {
      if (has("/runs/compare")) {
        await visit(page, "/runs/compare");
        const form = page.locator("main form", { has: page.locator("[name=baseline]") });
        await form.locator("[name=baseline]").selectOption(first);
        await form.locator(`[name="run-${second}"]`).check();
        await submit(page, form.locator("button").first());
        assert((await page.locator("main table").count()) > 0, "no table compares them");
        await story.shoot(page, "compare");
      } else {
        story.note("there is no page /runs/compare yet; compared by the API in the page");
        const { status, json } = await ask(page, `/api/v1/agent/runs/compare?baseline=${first}&runs=${second}`);
        assert(status === 200 && json, `answered with ${status}`);
      }
    });
  }

  await story.step("the audit chain tells of all this, and holds", async () => {
    await visit(page, "/audit");
    const text = await page.locator("main table").first().innerText();
    for (const word of [ADA, ...(second ? ["/v1/runs"] : [])]) assert(text.includes(word), `the chain does not name ${word}`);
    await submit(page, page.locator("main form button[name=verify]"));
    assert((await page.locator(".good").count()) > 0, "the chain is not found intact");
    await story.shoot(page, "audit");
  });

  await story.step("an answer that takes its time is said beside its form, which is not sent twice", async () => {
    await visit(page, "/preferences");
    let sent = 0;
    const slow = async (/** @type {import("playwright-core").Route} */ route) => {
      if (route.request().method() === "POST") {
        sent += 1;
        // What is slow here is the answer.
        await new Promise((done) => setTimeout(done, 2500));
      }
      await route.fallback();
    };
    await context.route("**/preferences", slow);
    const form = page.locator('main form[action="/preferences"]');
    const arrived = page.waitForNavigation({ waitUntil: "load" });
    // All of it in the page, which lives until the answer comes.
    const said = await form.evaluate((it) => new Promise((done) => {
      if (!(it instanceof HTMLFormElement)) return done("no form");
      it.requestSubmit();
      const end = Date.now() + 2200;
      const look = () => {
        const text = it.querySelector(".busy [role=status]")?.textContent ?? "";
        if (text === "" && Date.now() < end) return void setTimeout(look, 50);
        it.requestSubmit();
        done(text);
      };
      look();
    }));
    await arrived;
    await context.unroute("**/preferences", slow);
    assert(said !== "" && sent === 1, `it was sent ${sent} times, and said: ${said}`);
  });

  await story.step("an account is made, logs in, sees what its role may, and is removed", async () => {
    await visit(page, "/users/new");
    await page.fill("[name=account]", "grace");
    await page.selectOption("[name=role]", "viewer");
    await page.fill("[name=password]", PASSWORD);
    await page.fill("[name=again]", PASSWORD);
    await story.shoot(page, "new-user");
    await submit(page, page.locator('form[action="/users/new"] button.main'));
    await visit(page, "/users");
    assert((await page.locator("main table").innerText()).includes("grace"), "the account is not in the list");
    await story.shoot(page, "users");

    const { context: other, page: grace } = await story.person();
    await logIn(grace, "grace");
    assert((await grace.locator('nav a[href="/audit"]').count()) === 0, "a viewer is offered the audit chain");
    const refused = await grace.goto("/users");
    assert(refused?.status() === 403, `a viewer's /users is answered with ${refused?.status()}`);
    await story.shoot(grace, "refused");
    await other.close();

    await visit(page, "/users/account/grace");
    await story.shoot(page, "user");
    const removal = page.locator("form", { has: page.locator("[name=confirm]") });
    await removal.locator("[name=confirm]").fill("grace");
    const reason = removal.locator("[name=reason]");
    if ((await reason.count()) > 0) await reason.fill("the story is over");
    await submit(page, removal.locator("button").last());
    await visit(page, "/users");
    assert(!(await page.locator("main table").innerText()).includes("grace"), "the account is still there");
  });

  await story.step("sessions are shown, and a logout ends this one", async () => {
    await visit(page, "/sessions");
    await story.shoot(page, "sessions");
    await logOut(page);
    await page.goto("/runs");
    assert(path(page) === "/login", `/runs led to ${page.url()}`);
    await story.shoot(page, "login");
  });
  await story.step("the next morning's login leads to where it was asked for", async () => {
    await page.goto("/runs");
    await page.fill("form[action='/login'] [name=account]", ADA);
    await page.fill("form[action='/login'] [name=password]", PASSWORD);
    await submit(page, page.locator("form[action='/login'] button.main"));
    assert(path(page) === "/runs", `led to ${page.url()}`);
    assert((await page.getAttribute("html", "lang")) === story.language, "the language changed on the way");
  });
  await context.close();
});

/** On the page when there is one, else by the API. @param {import("./lib/harness.mjs").Story} story @param {import("playwright-core").Page} page */
async function order(story, page) {
  if (has("/runs/new")) {
    await visit(page, "/runs/new?profile=quick");
    await story.shoot(page, "new-run");
    // A page may show the plan once more before it is ordered.
    for (let turn = 0; turn < 4 && path(page).startsWith("/runs/new"); turn += 1) {
      const again = page.locator("main form button.main").last();
      await submit(page, again);
      if (path(page) === "/step-up") await prove(page);
      await story.shoot(page, `new-run-${turn + 1}`);
    }
    const id = /^\/runs\/(\d{8}T\d{6}Z)/.exec(path(page))?.[1];
    assert(id, `the order led to ${page.url()}: ${(await page.locator("main").innerText()).slice(0, 300)}`);
    return id;
  }
  story.note("there is no page /runs/new yet; ordered by the API in the page");
  await visit(page, "/");
  const { status, json, text } = await ask(page, "/api/v1/agent/runs", TINY);
  assert(status === 202, `answered with ${status}: ${text}`);
  return json.id;
}
