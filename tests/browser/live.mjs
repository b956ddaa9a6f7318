// A run as it is followed. Nothing of it is kept in a page: a second browser, a reload, a tab that nobody saw for a while and a door that died
// show the whole history, and in the end all show the same numbers. The processes of the lab (below TBI_LAB) are killed and stopped by
// their ids.

import { readdirSync, readFileSync } from "node:fs";
import { ADA, ask, enter, logIn, over, PASSWORD, path, submit, visit } from "./lib/box.mjs";
import { assert, main, needed } from "./lib/harness.mjs";

const LAB = Number(needed("TBI_LAB"));
const TABS = 7;
/** The whole run on a busy machine, ms. */
const RUN_WITHIN = 300_000;
/** A page that follows shows what is new after this at the latest, ms: a trial, a renewal, a busy machine. */
const NEWS_WITHIN = 60_000;

/** How a run may end here: a machine that is busy with nine pages may be too slow to prove anything, which its page then says. */
const MEASURED = ["passed", "failed", "not_measured"];

/** The smallest run that is taken: some seconds from its first block to its last. */
const SECONDS = {
  profile: "quick",
  plan: {
    name: "seconds", pairs: 1, reference_blocks: 1, protocols: ["h2"], objects: ["1KB"],
    personas: 10, handshake_timeout: "20s", request_timeout: "30s", latency: { rate: "50/s" },
    phases: { ramp_up: "0ms", sustain: "200ms", ramp_down: "0ms" },
  },
};

/** Processes of the lab with this name, by their ids. @param {string} name */
function processes(name) {
  /** @type {Map<number, { name: string, parent: number }>} */
  const all = new Map();
  for (const entry of readdirSync("/proc")) {
    if (!/^\d+$/.test(entry)) continue;
    try {
      const stat = readFileSync(`/proc/${entry}/stat`, "utf8");
      const close = stat.lastIndexOf(")");
      const [state, parent] = stat.slice(close + 2).split(" ");
      if (state !== "Z") all.set(Number(entry), { name: stat.slice(stat.indexOf("(") + 1, close), parent: Number(parent) });
    } catch {
      // It ended between the listing and this.
    }
  }
  const below = (/** @type {number} */ pid) => {
    for (let at = pid; at > 1; at = all.get(at)?.parent ?? 0) if (at === LAB) return true;
    return false;
  };
  return [...all].filter(([pid, it]) => it.name === name.slice(0, 15) && below(pid)).map(([pid]) => pid);
}

/**
 * Waits until something holds.
 * @template T
 * @param {import("playwright-core").Page} page @param {string} what @param {number} within
 * @param {() => Promise<T | undefined | false>} look
 * @returns {Promise<T>}
 */
async function until(page, what, within, look) {
  const end = Date.now() + within;
  for (;;) {
    const found = await look();
    if (found) return found;
    assert(Date.now() < end, `${what}: not after ${within / 1000} s`);
    // A pause between two looks, not a guess at how long it takes.
    await page.waitForTimeout(250);
  }
}

/** What a page that follows shows: lines of its log, rows under its pictures, whether it goes on. @param {import("playwright-core").Page} page */
async function shown(page) {
  const look = () =>
    page.evaluate(() => {
      for (const twin of document.querySelectorAll("[data-charts] details")) if (twin instanceof HTMLDetailsElement) twin.open = true;
      return {
        log: [...document.querySelectorAll(".log li")].map((it) => it.textContent ?? ""),
        rows: document.querySelectorAll("[data-charts] tbody tr").length,
        live: document.querySelector("[data-live]") !== null,
        // The page of a run that is over has more on it, and loads itself again to have it.
        over: document.getElementById("verdict") !== null,
        stale: document.getElementById("stale")?.hidden === false,
        text: document.querySelector("main")?.textContent ?? "",
      };
    });
  // A page that loads itself again because its run is over has no document for a moment.
  return look().catch(() => ({ log: [], rows: 0, live: true, over: false, stale: false, text: "" }));
}

/** Whether the page's script still runs: a timer of it fires. @param {import("playwright-core").Page} page */
function moves(page) {
  return page.evaluate(() => new Promise((done) => setTimeout(() => done(true), 0))).catch(() => true);
}

/** Blocks that a page knows to be done. @param {{ log: string[] }} at */
const blocks = (at) => at.log.length;

/** What people see, from the tables of what was measured. @param {import("playwright-core").Page} page */
function numbers(page) {
  return page.evaluate(() => ["proof", "results", "points", "log"].map((part) => document.querySelector(`[data-part="${part}"]`)?.textContent?.replace(/\s+/g, " ")).join("\n"));
}

await main(async (story) => {
  const { context, page } = await story.person();
  await story.must("the box is claimed while its first run is under way", () => enter(page));
  const id = await story.must("the run is there", async () => {
    const run = await until(page, "a run", 30_000, async () => (await ask(page, "/api/v1/agent/runs")).json?.[0]);
    return run.id;
  });
  const address = `/runs/${id}`;
  const run = async () => (await ask(page, `/api/v1/agent/runs/${id}`)).json;
  await story.must("it measures", () =>
    until(page, "the first block", RUN_WITHIN, async () => (await run())?.state === "running" && (await run()).progress?.second));

  const tabs = await story.must("seven tabs follow it at once", async () => {
    const tabs = await Promise.all(Array.from({ length: TABS }, () => context.newPage()));
    await Promise.all(tabs.map((tab) => tab.goto(address, { timeout: NEWS_WITHIN * 2 })));
    for (const tab of tabs) assert((await shown(tab)).live, "a tab does not follow");
    return tabs;
  });

  await story.step("pictures move each second, also while a trial is under way", async () => {
    const tab = tabs[0];
    await until(tab, "a picture that moves within a trial", NEWS_WITHIN, async () => {
      const before = await run();
      const first = await shown(tab);
      if (!before?.progress) return false;
      await until(tab, "another second", 15_000, async () => (await run())?.progress?.second?.at_ms !== before.progress.second?.at_ms);
      await until(tab, "a picture that moves", 5_000, async () => (await shown(tab)).rows > first.rows).catch(() => undefined);
      const [after, second] = [await run(), await shown(tab)];
      return second.rows > first.rows && after?.progress?.trials_done === before.progress.trials_done;
    });
  });

  await story.step("all seven go on without loading themselves again, and none of them is frozen", async () => {
    const following = Date.now();
    const before = await Promise.all(tabs.map(shown));
    await Promise.all(tabs.map((tab, at) => until(tab, `tab ${at + 1} shows news`, NEWS_WITHIN, async () => (await shown(tab)).rows > before[at].rows)));
    for (const tab of tabs) assert(await moves(tab), "a tab is frozen");
    const loads = await Promise.all(tabs.map((tab) => tab.evaluate(() => performance.timeOrigin)));
    assert(loads.every((at) => at < following), "a tab loaded itself again although the run goes on");
    const streams = await Promise.all(tabs.map((tab) => tab.evaluate(() => performance.getEntriesByType("resource").filter((it) => it.name.endsWith("/events")).length)));
    assert(streams.reduce((sum, it) => sum + it, 0) <= 1, `the tabs hold ${streams} streams; one is enough for all`);
  });

  const { context: other, page: second } = await story.person();
  await story.must("a second browser in the middle shows the whole history", async () => {
    await logIn(second, ADA);
    await second.goto(address);
    const known = await shown(tabs[0]);
    const seen = await until(second, "as much as the first", NEWS_WITHIN, async () => {
      const now = await shown(second);
      return now.rows >= known.rows && blocks(now) >= blocks(known) && now;
    });
    // The newest line may have changed from open to done meanwhile; those before it are what they were.
    for (const line of known.log.slice(1)) assert(seen.log.includes(line), `the second browser does not know: ${line}`);
  });
  await story.step("a reload loses nothing", async () => {
    const known = await shown(tabs[1]);
    await tabs[1].reload();
    await until(tabs[1], "as much as before", NEWS_WITHIN, async () => {
      const now = await shown(tabs[1]);
      return now.rows >= known.rows && blocks(now) >= blocks(known);
    });
  });

  await story.step("a tab that nobody sees asks for nothing, and catches up when it is seen", async () => {
    const tab = tabs[2];
    const hide = (/** @type {boolean} */ hidden) =>
      tab.evaluate((hidden) => {
        Object.defineProperty(document, "hidden", { configurable: true, get: () => hidden });
        Object.defineProperty(document, "visibilityState", { configurable: true, get: () => (hidden ? "hidden" : "visible") });
        document.dispatchEvent(new Event("visibilitychange"));
      }, hidden);
    await hide(true);
    try {
      /** @type {string[]} */
      const asked = [];
      const count = (/** @type {import("playwright-core").Request} */ request) => { asked.push(request.url()); };
      tab.on("request", count);
      const [before, elsewhere] = [await shown(tab), await shown(tabs[0])];
      await until(tabs[0], "some seconds elsewhere", NEWS_WITHIN, async () => (await shown(tabs[0])).rows > elsewhere.rows + 3);
      tab.off("request", count);
      assert(asked.length === 0, `a hidden tab asked for ${asked.join(", ")}`);
      assert((await shown(tab)).rows <= before.rows + 1, "a hidden tab was drawn");
    } finally {
      await hide(false);
    }
    const known = await shown(tabs[0]);
    await until(tab, "what was missed", NEWS_WITHIN, async () => (await shown(tab)).rows >= known.rows);
  });

  await story.must("the run is still under way", async () => assert(!(await run())?.ended, "it ended before the door is killed; make it longer"));
  await story.step("the door is killed and started again, and every page comes back by itself with the whole history", async () => {
    const before = await Promise.all(tabs.map(shown));
    const doors = processes("tbi-dashboard");
    assert(doors.length === 1, `the lab has ${doors.length} doors`);
    await story.forgiving(/net::ERR_|status of 50\d/, async () => {
      process.kill(doors[0], "SIGKILL");
      await until(page, "another door", 30_000, async () => processes("tbi-dashboard").some((pid) => pid !== doors[0]));
      await Promise.all(
        [...tabs, second].map((tab, at) =>
          until(tab, `page ${at + 1} shows news`, NEWS_WITHIN, async () => {
            const now = await shown(tab);
            const known = before[at] ?? before[0];
            return now.rows > known.rows && blocks(now) >= blocks(known) && !now.stale;
          })),
      );
    });
    for (const tab of tabs) assert(path(tab) === address, `a tab was led to ${path(tab)}`);
    await story.shoot(tabs[0], "after-another-door");
  });

  await story.must("the run ends by itself, and every page shows its end by itself", async () => {
    // The agent makes the report of the run just then, and on a busy machine a page may find it silent once; it asks again.
    await story.forgiving(/status of 503/, async () => {
      const ended = await over(page, id, RUN_WITHIN);
      assert(MEASURED.includes(ended.state), `it is ${ended.state}: ${ended.sentence}`);
      await Promise.all([...tabs, second].map((tab) => until(tab, "the end", NEWS_WITHIN, async () => (await shown(tab)).over)));
    });
  });
  await story.step("all show the same numbers", async () => {
    const all = await Promise.all([...tabs, second].map(numbers));
    assert(all[0].length > 200, `there are no numbers: ${all[0]}`);
    all.forEach((text, at) => assert(text === all[0], `page ${at + 1} shows other numbers:\n${text}\n---\n${all[0]}`));
    const drawn = await Promise.all([...tabs, second].map((tab) => until(tab, "pictures", NEWS_WITHIN, async () => (await shown(tab)).rows)));
    assert(new Set(drawn).size === 1, `the pictures have ${drawn} rows`);
    await story.shoot(second, "the-same-numbers");
  });
  await Promise.all(tabs.slice(1).map((tab) => tab.close()));

  await story.step("a second operator is made", async () => {
    await visit(page, "/users/new");
    await page.fill("[name=account]", "grace");
    await page.selectOption("[name=role]", "operator");
    await page.fill("[name=password]", PASSWORD);
    await page.fill("[name=again]", PASSWORD);
    await submit(page, page.locator('form[action="/users/new"] button.main'));
    await other.clearCookies();
    await logIn(second, "grace");
  });
  const short = await story.must("the smallest run that is taken begins", async () => {
    await visit(page, "/");
    const { status, json, text } = await ask(page, "/api/v1/agent/runs", SECONDS);
    assert(status === 202, `answered with ${status}: ${text}`);
    return json.id;
  });
  await story.step("the second operator sees who runs what since when", async () => {
    await second.goto("/runs/new");
    const banner = await second.locator(".banner", { has: second.locator(`a[href="/runs/${short}"]`) }).first().innerText();
    for (const word of [ADA, SECONDS.plan.name, /\d{2}:\d{2}/]) {
      assert(typeof word === "string" ? banner.includes(word) : word.test(banner), `the banner does not say ${word}: ${banner}`);
    }
    await story.shoot(second, "who-runs-what");
    await second.goto(`/runs/${short}`);
    assert((await second.locator("main").innerText()).includes(ADA), "the page of the run does not say whose it is");
  });
  await story.step("a run of seconds has pictures, and its page says what cannot be claimed", async () => {
    const ended = await over(page, short, RUN_WITHIN);
    assert(MEASURED.includes(ended.state), `it is ${ended.state}: ${ended.sentence}`);
    await visit(page, `/runs/${short}`);
    await until(page, "pictures", NEWS_WITHIN, async () => (await shown(page)).rows > 0);
    assert((await page.locator("[data-charts] canvas").count()) > 0, "nothing is drawn");
    const cautions = await page.locator(".caution").allInnerTexts();
    assert(cautions.some((it) => /pair/i.test(it)), `nobody says how little one pair allows: ${cautions}`);
    await story.shoot(page, "a-run-of-seconds");
    const seconds = (Date.parse(ended.ended) - Date.parse(ended.started)) / 1000;
    story.note(`the smallest run took ${seconds} s with its preparations`);
  });

  await story.step("an agent that does not answer is named on a page that stands, and is back on the next", async () => {
    const agents = processes("tbi-agent");
    assert(agents.length > 0, "the lab has no agent");
    await page.goto("/");
    await story.forgiving(/status of 50\d/, async () => {
      for (const pid of agents) process.kill(pid, "SIGSTOP");
      try {
        const answer = await page.goto("/");
        const text = await page.locator("main").innerText();
        const banner = await page.locator(".banner").allInnerTexts();
        story.note(`while the agent is stopped the overview is answered with ${answer?.status()}: ${banner.join(" | ").slice(0, 300)}`);
        assert(/agent/i.test(banner.join(" ") + text), `nobody names the agent: ${text.slice(0, 300)}`);
        assert((await page.locator("header").count()) > 0 && (await page.locator("nav a, a[href='/']").count()) > 0, "the page does not stand");
        await story.shoot(page, "agent-silent");
      } finally {
        for (const pid of agents) process.kill(pid, "SIGCONT");
      }
      await until(page, "a page without a banner", NEWS_WITHIN, async () => {
        const answer = await page.goto("/");
        return answer?.status() === 200 && (await page.locator(".banner[role=alert], .banner .reason").count()) === 0;
      });
    });
  });
  await other.close();
  await context.close();
});
